//! Sleeping actors: an actor that has had nothing to do for a while has no thread; it gets one when somebody rouses it.
//!
//! ```text
//!   awake ── its thread falls asleep ──▶ asleep ── roused: a delivery, a ring, an order ──▶ waits for room ──▶ awake
//! ```
//!
//! To the tree, an actor that sleeps is up like any other. Of the budget of the machine it takes nothing. So more actors may
//! want to be awake than there is room for. Then those that were roused, and those that are new, wait in one queue; mail for
//! them is taken meanwhile. The actors that have been idle for the longest time are asked to fall asleep, and while even
//! that does not suffice, every actor that may sleep does so as soon as it has nothing to do.
//!
//! **No wakeup is lost.** The mark in the mailbox decides (`system/mailbox.rs`). Whoever takes it away sends `Wake`. If that
//! comes before the thread's own report, it finds an actor that has not fallen asleep yet, and nothing is done; the report then
//! finds that the mark is gone. Orders are given by the supervisor itself, which looks for one when the report comes.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use super::Supervisor;
use super::threads::{First, Unstarted};
use crate::actor::{Sleeper, SleptAt};
use crate::base::id::ActorId;
use crate::base::seldom::Seldom;
use crate::system::{Answer, LifecycleError, Outcome, Reply};
use crate::theater::machine_budget::Cost;

/// While actors wait for room, the supervisor looks at least so often for others that could fall asleep.
const LOOK_AGAIN_MS: u64 = 10;
/// At least so many actors are asked to fall asleep at a time, so that not each one that wakes leads to a search.
const ASKED_AT_ONCE: usize = 16;

/// The actors that wait for room, and those that could make some.
#[derive(Default)]
pub(super) struct Dormitory {
    queue: VecDeque<Queued>,
    /// The actors that have a thread and may give it back.
    may_sleep: HashSet<ActorId>,
    /// When the supervisor has looked for idle actors last, by the tree's clock.
    looked_at: u64,
    refusals: Seldom,
}

/// An actor that waits for room.
struct Queued {
    id: ActorId,
    /// Its runtime, if it does not sleep but has not begun.
    unstarted: Option<Unstarted>,
}

impl Dormitory {
    /// When the supervisor has to look again, by the tree's clock.
    pub(super) fn look_at(&self) -> Option<u64> {
        (!self.queue.is_empty()).then_some(self.looked_at + LOOK_AGAIN_MS)
    }

    pub(super) fn forget(&mut self, id: ActorId) {
        self.may_sleep.remove(&id);
    }
}

impl Supervisor {
    /// Notes that the actor has a thread now, which it may give back if it may sleep.
    pub(super) fn note_awake(&mut self, id: ActorId) {
        let sleeps = |spec: &crate::actor::Spec| spec.sleeps_after(&self.theater.limits).is_some();
        if self.actors.get(&id).is_some_and(|actor| sleeps(&actor.spec)) {
            self.dormitory.may_sleep.insert(id);
        }
    }

    /// Whether an actor that does not fit into the budget may hope for room.
    pub(super) fn may_become_room(&self) -> bool {
        !self.dormitory.may_sleep.is_empty() || !self.dormitory.queue.is_empty()
    }

    /// Keeps what is left of an actor that has fallen asleep. Its thread ends.
    pub(super) fn fell_asleep(&mut self, id: ActorId, sleeper: Box<Sleeper>) {
        self.join(id);
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let is_ordered = actor.stop.as_ref().is_some_and(|stop| stop.order().is_some());
        let is_called = is_ordered || !sleeper.mailbox.is_asleep() || actor.upgrade.is_some();
        actor.sleeper = Some(sleeper);
        if !is_ordered {
            actor.stop = None;
        }
        self.theater.registry.pack_metrics(id);
        if is_called {
            self.wake(id);
        }
    }

    /// Gives an actor that sleeps a thread, as soon as there is room. An actor that is awake is left alone.
    pub(super) fn wake(&mut self, id: ActorId) {
        let Some(sleeper) = self.actors.get_mut(&id).and_then(|actor| actor.sleeper.as_mut()) else { return };
        sleeper.mailbox.rouse();
        if self.suspending {
            return self.dismiss(id);
        }
        if !std::mem::replace(&mut sleeper.is_called, true) {
            self.start_later(id, None);
        }
    }

    /// Starts an actor as soon as there is room for it.
    pub(super) fn start_later(&mut self, id: ActorId, unstarted: Option<Unstarted>) {
        self.dormitory.queue.push_back(Queued { id, unstarted });
        self.start_queued();
    }

    /// Starts the actors that wait for room, as far as there is room.
    pub(super) fn start_queued(&mut self) {
        while !self.suspending
            && let Some(Queued { id, .. }) = self.dormitory.queue.front()
        {
            let id = *id;
            let reuse = self.actors.get(&id).map(|actor| actor.spec.manifest.reuse);
            if reuse.is_some_and(|reuse| self.budget.spend(Cost::of(reuse)).is_err()) {
                self.make_room();
                break;
            }
            let Some(Queued { unstarted, .. }) = self.dormitory.queue.pop_front() else { break };
            let Some(reuse) = reuse else { continue };
            match (unstarted, self.actors.get_mut(&id).and_then(|actor| actor.sleeper.take())) {
                (Some(unstarted), _) => self.run_on_a_thread(id, unstarted),
                (None, Some(sleeper)) => {
                    let Sleeper { mailbox, at, .. } = *sleeper;
                    let unstarted = self.unstarted(id, mailbox.rise(), First::Woken(at));
                    self.run_on_a_thread(id, unstarted);
                }
                (None, None) => self.budget.give_back(Cost::of(reuse)),
            }
            if self.actors.get(&id).is_some_and(|actor| actor.sleeper.is_some()) {
                // The system had no thread for it. It is at the head of the queue again.
                break;
            }
        }
        if self.dormitory.queue.is_empty() {
            self.theater.registry.set_crowded(false);
        }
    }

    /// Puts an actor that could not be woken back, and tries again in a while.
    pub(super) fn could_not_wake(&mut self, id: ActorId, unstarted: Unstarted, at: SleptAt, why: &str) {
        let name = self.theater.registry.shown_name(id).unwrap_or_default();
        self.dormitory.refusals.warn(format_args!("actor {name} ({id}) is woken later: {why}"));
        let sleeper = Sleeper { mailbox: unstarted.into_mailbox().rest(), at, is_called: true };
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.sleeper = Some(Box::new(sleeper));
        }
        self.dormitory.queue.push_front(Queued { id, unstarted: None });
        self.make_room();
    }

    /// Asks the actors that have been idle for the longest time to fall asleep, and if these are too few, all that may sleep
    /// to do so as soon as they are idle.
    fn make_room(&mut self) {
        let now = self.now();
        if std::mem::replace(&mut self.dormitory.looked_at, now) == now {
            return;
        }
        let wanted = self.dormitory.queue.len().max(ASKED_AT_ONCE);
        let idle = |id: &ActorId| Some((self.actors.get(id)?.stop.as_ref()?.idle_since()?, *id));
        let mut idle: Vec<(Instant, ActorId)> = self.dormitory.may_sleep.iter().filter_map(idle).collect();
        if idle.len() > wanted {
            idle.select_nth_unstable(wanted);
            idle.truncate(wanted);
        }
        let signals = idle.iter().filter_map(|(_, id)| self.actors.get(id)?.stop.as_ref());
        signals.for_each(|stop| stop.doze());
        self.theater.registry.set_crowded(idle.len() < self.dormitory.queue.len());
    }

    /// The runtime is being suspended: tells everyone who waits for an actor that has no thread, or for its answer.
    pub(super) fn dismiss_queued(&mut self) {
        for Queued { id, unstarted } in std::mem::take(&mut self.dormitory.queue) {
            if let Some(reply) = unstarted.and_then(Unstarted::into_reply) {
                reply.answer(&self.theater.registry, Err(LifecycleError::ShuttingDown));
            }
            self.dismiss(id);
        }
    }

    /// Answers what waits in the mailbox of an actor that is not woken any more. What actors have sent it is in the journal.
    fn dismiss(&mut self, id: ActorId) {
        let Some(sleeper) = self.actors.get_mut(&id).and_then(|actor| actor.sleeper.take()) else { return };
        let mailbox = sleeper.mailbox.rise();
        mailbox.close();
        while let Some(delivery) = mailbox.next() {
            if let Reply::Outside { to, .. } = delivery.reply {
                let outcome = Outcome::Dropped("is suspended, since the runtime is shutting down".into());
                to.give(Answer { outcome, closing: None });
            }
        }
    }
}
