//! Requests that actors have made and do not wait for: for each actor, the ones without an answer yet, and the answers that
//! have come and that the actor has not taken.
//!
//! The receiver answers from its own thread: it puts the answer here, and wakes the actor that asked. Only that actor's own
//! thread takes answers, between two transitions, and nobody waits for it. So answers have a lane of their own, which mail
//! cannot fill, and in which there are never more than the actor has requests open.
//!
//! The claim is that of a request whose sender waits (`reply.rs`): a delivery is taken or withdrawn, and never both. No thread
//! watches the deadlines: the actor's own thread sleeps no longer than until the first of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::answer::Answer;
use super::schedule::DueTime;
use crate::base::clock::{self, Moment};
use crate::base::id::ActorId;
use crate::base::wait::Unparker;

/// An actor that waits for a deadline looks at the clocks at least as often as this: the wall clock may have been set, and the
/// clock that it sleeps by stands still while the machine is suspended.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;
/// The receiver had taken the request, and whoever asked does not wait for the answer any more.
const GIVEN_UP: u8 = 3;

/// The side that answers. If it is dropped without an answer, the asker is told that none will come.
#[derive(Debug)]
pub(crate) struct LaterReply {
    asker: Arc<ActorRequests>,
    token: u64,
    claim: Arc<AtomicU8>,
    is_given: bool,
}

impl LaterReply {
    pub(crate) fn claim(&self) -> bool {
        self.claim.compare_exchange(WAITING, TAKEN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether the asker still wants the answer.
    pub(crate) fn is_awaited(&self) -> bool {
        matches!(self.claim.load(Ordering::Acquire), WAITING | TAKEN)
    }

    pub(crate) fn give(mut self, answer: Answer) {
        self.is_given = true;
        self.asker.come(self.token, CameOf::Answer(answer));
    }
}

impl Drop for LaterReply {
    fn drop(&mut self) {
        if !self.is_given {
            self.asker.come(self.token, CameOf::Gone);
        }
    }
}

/// What came of a request, for its asker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CameOf {
    Answer(Answer),
    /// The receiver's thread has ended without an answer.
    Gone,
    /// The deadline passed, and the receiver has not taken the request and never will.
    NotDelivered,
    /// The deadline passed, and the receiver had taken the request.
    OutcomeUnknown,
}

/// A request whose answer is to be told. It stays open until the call that tells it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DueReply {
    pub(crate) token: u64,
    pub(crate) to: ActorId,
    /// The deadline, as it was asked for.
    pub(crate) within_ms: u64,
    pub(crate) came: CameOf,
}

#[derive(Debug)]
struct OpenRequest {
    to: ActorId,
    within_ms: u64,
    due: DueTime,
    claim: Arc<AtomicU8>,
    came: Option<CameOf>,
}

/// The requests of one actor that it does not wait for.
#[derive(Debug, Default)]
pub(crate) struct ActorRequests {
    held: Mutex<HeldRequests>,
    /// An answer may have come.
    is_rung: AtomicBool,
    /// Wakes the thread that serves the actor.
    owner: Mutex<Option<Unparker>>,
}

#[derive(Debug, Default)]
struct HeldRequests {
    open: BTreeMap<u64, OpenRequest>,
    /// The requests whose answers have come, in the order in which they came. Some may be over.
    came: VecDeque<u64>,
    /// The deadlines by the boot clock, and those by the wall clock, each with its token.
    by_boot: BTreeSet<(u64, u64)>,
    by_wall: BTreeSet<(u64, u64)>,
}

impl ActorRequests {
    /// From here on, `owner` wakes the thread that takes these answers. That thread looks once in any case.
    pub(crate) fn serve_by(&self, owner: Unparker) {
        *self.owner.lock() = Some(owner);
        self.is_rung.store(true, Ordering::SeqCst);
    }

    /// Whether an answer may have come.
    pub(crate) fn is_rung(&self) -> bool {
        self.is_rung.load(Ordering::SeqCst)
    }

    /// Notes that a request is open, and returns where its receiver answers.
    pub(crate) fn open(self: &Arc<Self>, token: u64, to: ActorId, within_ms: u64, due: DueTime) -> LaterReply {
        let claim = Arc::new(AtomicU8::new(WAITING));
        let mut held = self.held.lock();
        let (by, at) = held.deadlines(due, token);
        by.insert(at);
        held.open.insert(token, OpenRequest { to, within_ms, due, claim: Arc::clone(&claim), came: None });
        drop(held);
        LaterReply { asker: Arc::clone(self), token, claim, is_given: false }
    }

    /// Notes what came of a request, unless it is over, and wakes its asker.
    fn come(&self, token: u64, came: CameOf) {
        let mut held = self.held.lock();
        let Some(open) = held.open.get_mut(&token) else { return };
        open.came = Some(came);
        held.came.push_back(token);
        drop(held);
        self.is_rung.store(true, Ordering::SeqCst);
        let owner = self.owner.lock().clone();
        owner.iter().for_each(Unparker::unpark);
    }

    /// The answer that is to be told first; or a deadline that has passed, whose request is withdrawn.
    pub(crate) fn first_due(&self, now: Moment) -> Option<DueReply> {
        self.is_rung.store(false, Ordering::SeqCst);
        let mut held = self.held.lock();
        let due = held.first_due(now);
        drop(held);
        if due.is_some() {
            // There may be another one.
            self.is_rung.store(true, Ordering::SeqCst);
        }
        due
    }

    /// When the actor has to look again, although nothing has come; `None` if no request is open.
    pub(crate) fn look_again_at(&self, now: Moment) -> Option<Instant> {
        let held = self.held.lock();
        let first = |by: &BTreeSet<(u64, u64)>, now: u64| by.first().map(|(at, _)| at.saturating_sub(now));
        let ms = first(&held.by_boot, now.boot_ms).into_iter().chain(first(&held.by_wall, now.unix_ms)).min();
        drop(held);
        ms.map(|ms| clock::after(Duration::from_millis(ms).min(LOOK_AGAIN)))
    }

    /// Ends a request: the call that tells of it is recorded.
    pub(crate) fn end(&self, token: u64) {
        self.held.lock().end(token);
    }

    /// How many requests are open.
    pub(crate) fn count(&self) -> usize {
        self.held.lock().open.len()
    }

    /// The tokens of the requests that are open, in the order in which they were made.
    fn tokens(&self) -> Vec<u64> {
        self.held.lock().open.keys().copied().collect()
    }

    /// Ends all requests. What was not taken yet is withdrawn.
    fn clear(&self) {
        let mut held = self.held.lock();
        let held = std::mem::take(&mut *held);
        held.open.values().for_each(OpenRequest::withdraw);
    }
}

impl OpenRequest {
    /// Gives up on the answer.
    fn withdraw(&self) {
        if self.claim.compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire) == Err(TAKEN) {
            self.claim.store(GIVEN_UP, Ordering::Release);
        }
    }
}

impl HeldRequests {
    /// The deadlines by the clock of `due`, and the place of this one among them.
    fn deadlines(&mut self, due: DueTime, token: u64) -> (&mut BTreeSet<(u64, u64)>, (u64, u64)) {
        match due.boot_ms {
            Some(boot_ms) => (&mut self.by_boot, (boot_ms, token)),
            None => (&mut self.by_wall, (due.unix_ms, token)),
        }
    }

    fn first_due(&mut self, now: Moment) -> Option<DueReply> {
        while let Some(token) = self.came.front().copied() {
            if let Some(OpenRequest { to, within_ms, came: Some(came), .. }) = self.open.get(&token) {
                return Some(DueReply { token, to: *to, within_ms: *within_ms, came: came.clone() });
            }
            self.came.pop_front();
        }
        let by_boot = self.by_boot.first().filter(|(at, _)| *at <= now.boot_ms);
        let by_wall = || self.by_wall.first().filter(|(at, _)| *at <= now.unix_ms);
        let (_, token) = by_boot.or_else(by_wall).copied()?;
        let open = self.open.get(&token)?;
        open.withdraw();
        let is_taken = open.claim.load(Ordering::Acquire) != WITHDRAWN;
        let came = if is_taken { CameOf::OutcomeUnknown } else { CameOf::NotDelivered };
        Some(DueReply { token, to: open.to, within_ms: open.within_ms, came })
    }

    fn end(&mut self, token: u64) {
        let Some(open) = self.open.remove(&token) else { return };
        open.withdraw();
        let (by, at) = self.deadlines(open.due, token);
        by.remove(&at);
    }
}

/// The requests of all actors that they do not wait for.
#[derive(Debug, Default)]
pub(crate) struct AsyncRequests(Mutex<HashMap<ActorId, Arc<ActorRequests>>>);

impl AsyncRequests {
    /// The requests of an actor.
    pub(crate) fn of(&self, actor: ActorId) -> Arc<ActorRequests> {
        Arc::clone(self.0.lock().entry(actor).or_default())
    }

    /// The tokens of an actor's open requests.
    pub(crate) fn open(&self, actor: ActorId) -> Vec<u64> {
        let known = self.0.lock().get(&actor).cloned();
        known.map_or(Vec::new(), |requests| requests.tokens())
    }

    /// Ends all requests of an actor. What was not taken yet is withdrawn.
    pub(crate) fn clear(&self, actor: ActorId) {
        let known = self.0.lock().get(&actor).cloned();
        known.iter().for_each(|requests| requests.clear());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::answer::Outcome;

    const NOW: Moment = Moment { unix_ms: 1_000, boot_ms: 100 };

    fn answer() -> Answer {
        Answer { outcome: Outcome::Refused("no".into()), closing: None }
    }

    fn soon() -> DueTime {
        DueTime::after(NOW, 10)
    }

    fn told(requests: &ActorRequests, now: Moment) -> Option<(u64, CameOf)> {
        let due = requests.first_due(now)?;
        requests.end(due.token);
        Some((due.token, due.came))
    }

    #[test]
    fn answers_are_told_in_the_order_in_which_they_came_and_each_once() {
        let requests: Arc<ActorRequests> = Arc::default();
        let to = ActorId::random();
        let [first, second] = [1, 2].map(|token| requests.open(token, to, 10, soon()));
        assert_eq!(told(&requests, NOW), None);
        assert!(first.claim() && second.claim() && !first.claim());
        second.give(answer());
        drop(first);
        assert!(requests.is_rung());
        assert_eq!(requests.first_due(NOW), requests.first_due(NOW), "it is due until its call is recorded");
        assert_eq!(told(&requests, NOW), Some((2, CameOf::Answer(answer()))));
        assert_eq!(told(&requests, NOW), Some((1, CameOf::Gone)));
        assert_eq!((told(&requests, NOW), requests.count()), (None, 0));
        assert_eq!(requests.look_again_at(NOW), None);
    }

    #[test]
    fn after_its_deadline_a_request_is_withdrawn_or_given_up_and_its_answer_comes_too_late() {
        let requests: Arc<ActorRequests> = Arc::default();
        let to = ActorId::random();
        let [taken, waiting] = [1, 2].map(|token| requests.open(token, to, 10, soon()));
        let other_boot = requests.open(3, to, 10, DueTime::at(1_020));
        assert!(taken.claim() && taken.is_awaited());
        assert!(requests.look_again_at(NOW).is_some());
        assert_eq!(requests.first_due(Moment { boot_ms: 109, ..NOW }), None);
        let late = Moment { boot_ms: 111, ..NOW };
        assert_eq!(told(&requests, late), Some((1, CameOf::OutcomeUnknown)));
        assert_eq!(told(&requests, late), Some((2, CameOf::NotDelivered)));
        assert!(!taken.is_awaited() && !waiting.claim());
        taken.give(answer());
        assert_eq!(told(&requests, late), None, "it was told of the deadline");
        assert_eq!(told(&requests, Moment { unix_ms: 1_020, ..NOW }), Some((3, CameOf::NotDelivered)));
        assert!(!other_boot.claim());
    }

    #[test]
    fn an_actor_that_ends_asks_for_nothing_any_more() {
        let all = AsyncRequests::default();
        let (actor, to) = (ActorId::random(), ActorId::random());
        let [taken, waiting] = [1, 2].map(|token| all.of(actor).open(token, to, 10, soon()));
        assert!(taken.claim());
        assert_eq!((all.open(actor), all.open(to)), (vec![1, 2], vec![]));
        all.clear(actor);
        assert!(!taken.is_awaited() && !waiting.claim() && all.open(actor).is_empty());
        drop(taken);
        assert_eq!(all.of(actor).first_due(Moment { boot_ms: u64::MAX, unix_ms: u64::MAX }), None);
    }
}
