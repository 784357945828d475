//! What an actor's thread does when it has nothing to do: it parks, gives memory back after a while, and in the end falls asleep.
//!
//! An actor that an operator has paused has nothing to do until it is resumed, whatever waits for it. It falls asleep at once if
//! it may sleep, also while its own requests are open: what their deadlines lead to waits with the rest.

use std::time::{Duration, Instant};

use super::context::ActorContext;
use super::upgrade::UpgradeSlot;
use crate::base::clock;
use crate::base::fail;
use crate::base::stack;
use crate::base::wait;
use crate::journal::{JournalDown, Record};
use crate::system::{ActorRequests, ActorTimers, MailboxOwner, StopSignal};

/// An actor that has waited this long gives its stack's unused pages back to the system.
const IDLE: Duration = Duration::from_secs(1);

/// What a thread that has nothing to do looks at before it parks.
pub(super) struct Waiting<'a> {
    pub(super) context: &'a ActorContext,
    pub(super) mailbox: &'a MailboxOwner,
    pub(super) stop: &'a StopSignal,
    pub(super) upgrades: &'a UpgradeSlot,
    pub(super) has_monitors: bool,
    pub(super) replies: Option<&'a ActorRequests>,
    pub(super) timers: Option<&'a ActorTimers>,
}

impl Waiting<'_> {
    /// Whether something has come that is no delivery, and that the actor is to look at now.
    fn is_rung(&self) -> bool {
        if self.mailbox.is_paused() {
            return self.upgrades.is_waited_in();
        }
        (self.has_monitors && self.mailbox.is_rung())
            || self.replies.is_some_and(ActorRequests::is_rung)
            || self.timers.is_some_and(ActorTimers::is_rung)
            || self.upgrades.is_waited_in()
    }

    /// When the deadline of an asynchronous request may have passed; `None` if no request is open.
    fn deadline(&self) -> Option<Instant> {
        self.replies.and_then(|replies| replies.look_again_at(clock::moment()))
    }

    /// Falls asleep, unless something has come. What the actor has recorded is on disk by then, its newest state included, so
    /// that it can wake without waiting for a commit.
    #[inline(never)]
    pub(super) fn fall_asleep(&self) -> Result<bool, JournalDown> {
        let Self { context, mailbox, stop, .. } = self;
        let journal = &context.theater.journal;
        journal.enqueue(Record::Store(context.actor))?;
        journal.flush()?;
        if !mailbox.fall_asleep() {
            return Ok(false);
        }
        fail::point("falling-asleep");
        if self.is_rung() || stop.order().is_some() {
            mailbox.stay_awake();
            return Ok(false);
        }
        Ok(true)
    }
}

/// How long an actor that may sleep has had nothing to do.
pub(super) struct Idling {
    sleeps_after: Option<Duration>,
    /// Since when; none while there is work, and always of an actor that may not sleep.
    since: Option<Instant>,
}

impl Idling {
    pub(super) fn of(sleeps_after: Option<Duration>) -> Self {
        Self { sleeps_after, since: None }
    }

    /// There is work.
    pub(super) fn end(&mut self, stop: &StopSignal) {
        if self.since.take().is_some() {
            stop.note_busy();
        }
    }

    /// Looks whether the actor has had nothing to do for so long that it is to sleep; or for any time at all, if others wait for a
    /// thread. An actor with open requests stays awake: its own thread watches their deadlines.
    pub(super) fn look(&mut self, waiting: &Waiting<'_>) -> bool {
        let (Some(after), None) = (self.sleeps_after, waiting.stop.order()) else { return false };
        if waiting.mailbox.is_paused() {
            return true;
        }
        if waiting.deadline().is_some() {
            return false;
        }
        let since = *self.since.get_or_insert_with(|| {
            let since = clock::now();
            waiting.stop.note_idle(since);
            since
        });
        let is_wanted = waiting.stop.is_to_doze() || waiting.context.theater.registry.is_crowded();
        is_wanted || clock::since(since) >= after
    }

    /// Parks the thread. A new delivery, the end of a monitored actor, an answer, a timer that is due and a new order all unpark it. A
    /// thread that is being suspended wakes by itself every millisecond, to see whether its grace is over; a thread that may
    /// sleep, when the time for that has come; and one that has asked, at the first deadline.
    pub(super) fn wait(&self, waiting: &Waiting<'_>) {
        if waiting.stop.order().is_some() {
            return wait::park_until(clock::now() + Duration::from_millis(1));
        }
        if waiting.mailbox.is_paused() {
            return wait_for_resumption(waiting);
        }
        let sleep_at = self.since.zip(self.sleeps_after).map(|(since, after)| since + after);
        let wake_at = || sleep_at.into_iter().chain(waiting.deadline()).min();
        let idle_at = clock::now() + IDLE;
        if let Some(wake_at) = wake_at().filter(|at| *at <= idle_at) {
            return wait::park_until(wake_at);
        }
        wait::park_until(idle_at);
        let is_idle = clock::now() >= idle_at && waiting.mailbox.is_empty() && !waiting.is_rung();
        if is_idle && waiting.stop.order().is_none() {
            stack::give_back();
            waiting.mailbox.let_go_of_empty_lanes();
            // No wake-up is lost: if a delivery, an end, an answer, a timer or an order has come since the check above, its sender has
            // unparked this thread, and `park` returns at once.
            wake_at().map_or_else(wait::park, wait::park_until);
        }
    }
}

/// Parks the thread of a paused actor. The resumption, an order and an upgrade unpark it; mail does as well, for nothing.
#[cold]
fn wait_for_resumption(waiting: &Waiting<'_>) {
    let idle_at = clock::now() + IDLE;
    wait::park_until(idle_at);
    let is_paused = waiting.mailbox.is_paused() && waiting.stop.order().is_none() && !waiting.is_rung();
    if is_paused && clock::now() >= idle_at {
        stack::give_back();
        wait::park();
    }
}
