//! The budget for management answers that were not sent yet: how many bytes one connection may have, and how many all
//! connections together.
//!
//! The answers for a client that asks for much and reads nothing stay in memory until its patience, a limit, is over.
//! Without a bound in bytes a few such clients would fill the memory.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::base::limits::{ANSWER_WAIT, FRAME_BYTES, SMALL_ANSWER_BYTES};
use crate::base::{clock, wait};

/// A number of bytes, of which parts are taken and given back. Threads that wait for room get it in the order in which
/// they asked.
#[derive(Debug)]
pub(super) struct ManagementBudget {
    most: usize,
    state: Mutex<BudgetState>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct BudgetState {
    used: usize,
    /// The tickets of those that wait, in the order in which they asked.
    waiting: VecDeque<u64>,
    /// How many tickets were given out.
    tickets: u64,
}

/// Bytes of a budget, which are given back when this is dropped.
#[derive(Debug)]
struct HeldBytes {
    budget: Arc<ManagementBudget>,
    bytes: usize,
}

impl ManagementBudget {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, state: Mutex::default(), freed: Condvar::new() })
    }

    /// Takes `bytes` once there is room and every thread that asked before has got its bytes; `None` if that takes
    /// longer than `until`. If `bytes` is more than the whole budget, it is taken once no other bytes are.
    fn take(self: &Arc<Self>, bytes: usize, until: Option<Instant>) -> Option<HeldBytes> {
        let mut state = self.state.lock();
        let ticket = state.tickets;
        state.tickets += 1;
        state.waiting.push_back(ticket);
        let has_room = |state: &BudgetState| state.used == 0 || state.used + bytes <= self.most;
        let mut in_time = true;
        while in_time && !(state.waiting.front() == Some(&ticket) && has_room(&state)) {
            in_time = match until {
                Some(until) => wait::notified_until(&self.freed, &mut state, until),
                None => {
                    wait::notified(&self.freed, &mut state);
                    true
                }
            };
        }
        let is_mine = state.waiting.front() == Some(&ticket) && has_room(&state);
        state.waiting.retain(|waiting| *waiting != ticket);
        // There may be room for the next one in line as well.
        self.freed.notify_all();
        is_mine.then(|| self.hold(&mut state, bytes))
    }

    /// Takes `bytes`, if there is room now and nobody waits.
    fn take_at_once(self: &Arc<Self>, bytes: usize) -> Option<HeldBytes> {
        let mut state = self.state.lock();
        let has_room = state.waiting.is_empty() && state.used + bytes <= self.most;
        has_room.then(|| self.hold(&mut state, bytes))
    }

    /// Takes `bytes` even if the budget has no room for them.
    fn take_over(self: &Arc<Self>, bytes: usize) -> HeldBytes {
        self.hold(&mut self.state.lock(), bytes)
    }

    fn hold(self: &Arc<Self>, state: &mut BudgetState, bytes: usize) -> HeldBytes {
        state.used += bytes;
        HeldBytes { budget: Arc::clone(self), bytes }
    }
}

impl HeldBytes {
    /// Gives back what lies above `bytes`.
    fn shrink_to(&mut self, bytes: usize) {
        let given_back = self.bytes.saturating_sub(bytes);
        self.bytes -= given_back;
        self.budget.state.lock().used -= given_back;
        self.budget.freed.notify_all();
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// The two budgets to which the answers of one connection are charged: its own, and the one of all connections.
pub(super) struct Purse {
    own: Arc<ManagementBudget>,
    all: Arc<ManagementBudget>,
}

/// The bytes of one answer in both budgets, which are given back when it was sent, or never will be.
#[derive(Debug)]
pub(super) struct AnswerCharge {
    own: HeldBytes,
    all: HeldBytes,
}

impl Purse {
    pub(super) fn new(own_bytes: usize, all: Arc<ManagementBudget>) -> Self {
        Self { own: ManagementBudget::new(own_bytes), all }
    }

    /// Takes room for an answer of any size, before the answer is read from anywhere. It waits for the answers of this
    /// connection that were not sent yet, and for those of others. `None` if there is no room within [`ANSWER_WAIT`].
    pub(super) fn reserve(&self) -> Option<AnswerCharge> {
        let own = self.own.take(FRAME_BYTES, None)?;
        let all = self.all.take(FRAME_BYTES, Some(clock::now() + ANSWER_WAIT))?;
        Some(AnswerCharge { own, all })
    }

    /// Charges an answer that exists already. If the budget of all connections has no room, a small answer waits until
    /// all other answers of this connection were sent, and then passes without room. So each connection has at most one
    /// such answer.
    pub(super) fn charge(&self, bytes: usize) -> AnswerCharge {
        let no_end = "a wait without an end gives what it waits for";
        let own = self.own.take(bytes, None).expect(no_end);
        if let Some(all) = self.all.take_at_once(bytes) {
            return AnswerCharge { own, all };
        }
        if bytes > SMALL_ANSWER_BYTES {
            let all = self.all.take(bytes, None).expect(no_end);
            return AnswerCharge { own, all };
        }
        drop(own);
        let own = self.own.take(self.own.most, None).expect(no_end);
        let mut charge = AnswerCharge { own, all: self.all.take_over(bytes) };
        charge.shrink_to(bytes);
        charge
    }
}

impl AnswerCharge {
    /// Gives back the room above `bytes`, because the finished answer has this many bytes.
    pub(super) fn shrink_to(&mut self, bytes: usize) {
        self.own.shrink_to(bytes);
        self.all.shrink_to(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn used(budget: &ManagementBudget) -> usize {
        budget.state.lock().used
    }

    fn waiting(budget: &ManagementBudget) -> usize {
        budget.state.lock().waiting.len()
    }

    fn until(condition: impl Fn() -> bool) {
        while !condition() {
            thread::yield_now();
        }
    }

    #[test]
    fn what_is_taken_is_given_back_and_no_more_is_had_at_once() {
        let budget = ManagementBudget::new(10);
        let first = budget.take(6, None).expect("room");
        assert!(budget.take_at_once(5).is_none());
        assert!(budget.take(5, Some(clock::now())).is_none(), "not in time");
        assert_eq!((used(&budget), waiting(&budget)), (6, 0));
        let mut second = budget.take_at_once(4).expect("room");
        second.shrink_to(1);
        assert_eq!(used(&budget), 7);
        drop((first, second));
        assert_eq!(used(&budget), 0);
        assert_eq!(budget.take(99, None).expect("nothing else is under way").bytes, 99);
    }

    #[test]
    fn room_is_had_in_the_order_in_which_it_was_asked_for() {
        let budget = ManagementBudget::new(10);
        let first = budget.take(8, None).expect("room");
        let (to, order) = crossbeam_channel::unbounded();
        let ask = |bytes: usize| {
            let (own, to, ahead) = (Arc::clone(&budget), to.clone(), waiting(&budget));
            let asked = thread::spawn(move || {
                let held = own.take(bytes, None);
                to.send(bytes).expect("the test waits");
                held
            });
            until(|| waiting(&budget) > ahead);
            asked
        };
        // The second does not fit beside the first: which of two threads is the first to say so would be chance.
        let (large, small) = (ask(9), ask(2));
        assert!(order.try_recv().is_err() && budget.take_at_once(1).is_none(), "a small one does not overtake");
        drop(first);
        assert_eq!(order.recv(), Ok(9));
        drop(large.join().expect("held"));
        assert_eq!(order.recv(), Ok(2));
        drop(small.join().expect("held"));
        assert_eq!(used(&budget), 0);
    }

    #[test]
    fn one_small_answer_of_each_connection_passes_where_all_others_have_used_up_the_room() {
        let all = ManagementBudget::new(FRAME_BYTES);
        let (slow, quick) = (Purse::new(FRAME_BYTES, Arc::clone(&all)), Purse::new(FRAME_BYTES, Arc::clone(&all)));
        let full = slow.reserve().expect("room");
        let passed = quick.charge(100);
        assert_eq!((used(&all), used(&quick.own)), (FRAME_BYTES + 100, 100));
        thread::scope(|scope| {
            let second = scope.spawn(|| drop(quick.charge(100)));
            until(|| waiting(&quick.own) == 1);
            assert!(!second.is_finished(), "it waits for the first");
            drop(passed);
        });
        drop(full);
        assert_eq!((used(&all), used(&quick.own), used(&slow.own)), (0, 0, 0));
    }

    #[test]
    fn a_large_answer_waits_for_room_in_all() {
        let all = ManagementBudget::new(FRAME_BYTES);
        let (slow, quick) = (Purse::new(FRAME_BYTES, Arc::clone(&all)), Purse::new(FRAME_BYTES, Arc::clone(&all)));
        let mut full = slow.reserve().expect("room");
        thread::scope(|scope| {
            let waits = scope.spawn(|| quick.charge(SMALL_ANSWER_BYTES + 1));
            until(|| waiting(&all) == 1);
            full.shrink_to(1_000);
            assert_eq!(waits.join().expect("room").all.bytes, SMALL_ANSWER_BYTES + 1);
        });
        assert!(all.take(1, Some(clock::now() + Duration::from_secs(60))).is_some());
    }
}
