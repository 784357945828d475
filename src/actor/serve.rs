//! The main loop of an actor: it takes one delivery after the other from its mailbox, or the end of an actor that it monitors,
//! or a timer that is due, and executes each as a transition.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::ActorContext;
use super::down::{Down, close};
use super::executor::{Executor, Firing, Job};
use crate::base::clock;
use crate::base::fail;
use crate::base::stack;
use crate::base::wait;
use crate::chain::cbor::Cbor;
use crate::chain::data::Caller;
use crate::chain::{Head, Link};
use crate::journal::{JournalDown, Record};
use crate::promise::{HANDLE_DOWN, HANDLE_TIMER, Promise, TimerParams, told};
use crate::system::{
    ActorTimers, Delivery, DueTimer, DueWatch, MailboxOwner, MissedRounds, OrderKind, Reply, StopSignal,
};

/// An actor that has waited this long gives its stack's unused pages back to the system.
const IDLE: Duration = Duration::from_secs(1);

/// Takes deliveries until something ends the incarnation, or until the actor has had nothing to do for `sleeps_after`.
///
/// An idle actor waits in this frame, so what it holds only while it works is in functions of their own.
pub(super) fn serve(
    context: &ActorContext,
    mailbox: &MailboxOwner,
    stop: &StopSignal,
    executor: &mut Executor,
    sleeps_after: Option<Duration>,
) -> Down {
    let monitors = ServedMonitors::of(context, mailbox);
    let timers = ServedTimers::of(context, mailbox);
    let mut rest = Rest::of(sleeps_after);
    // Ends, timers and mail take turns, so that none of them keeps another waiting for ever.
    let mut last = None;
    loop {
        if let Some(order) = stop.order() {
            match order.kind {
                OrderKind::Stop | OrderKind::Cycle => {
                    return Down::Ordered { order: order.clone(), reply: Reply::Nobody };
                }
                OrderKind::Fail => return Down::failed_by_children(context, Reply::Nobody),
                // Deliveries that actors sent each other before the shutdown are still worked on until the grace is over.
                OrderKind::Suspend if mailbox.is_empty() || stop.overdue().is_some() => return Down::Suspended,
                OrderKind::Suspend => {}
            }
        }
        let turn = std::mem::take(&mut last);
        if let Some(monitors) = monitors.as_ref().filter(|_| turn.is_none() && stop.order().is_none())
            && let Some(due) = monitors.first_due(context)
        {
            last = Some(OwnPromise::Monitor);
            rest.end(stop);
            if let Err(down) = monitors.tell(context, stop, executor, due) {
                return down;
            }
            continue;
        }
        let timers_wait = turn == Some(OwnPromise::Timer) || stop.order().is_some();
        if let Some(timers) = timers.as_ref().filter(|_| !timers_wait)
            && let Some(due) = timers.first_due(context)
        {
            last = Some(OwnPromise::Timer);
            rest.end(stop);
            if let Err(down) = timers.fire(context, stop, executor, due) {
                return down;
            }
            continue;
        }
        let Some(delivery) = mailbox.next() else {
            if turn.is_some() {
                continue;
            }
            let waiting = Waiting { context, mailbox, stop, has_monitors: monitors.is_some(), timers: timers.as_ref() };
            if rest.look(&waiting) {
                match waiting.fall_asleep() {
                    Ok(true) => return Down::Asleep,
                    Ok(false) => {}
                    Err(JournalDown) => return Down::Unrecorded,
                }
            }
            rest.wait(&waiting);
            continue;
        };
        rest.end(stop);
        if let Err(down) = handle(context, stop, executor, delivery) {
            return down;
        }
    }
}

/// Executes a delivery, if its sender has not given it up.
#[inline(never)]
fn handle(context: &ActorContext, stop: &StopSignal, executor: &mut Executor, delivery: Delivery) -> Result<(), Down> {
    if !delivery.reply.claim() {
        return Ok(());
    }
    fail::point("taken");
    let Delivery { function, params, caller, cause, reply } = delivery;
    let promised = Promise::of_call(function.full, &params);
    let owed = promised.and_then(|promised| promised.owed(context.actor.id));
    let end = executor.transition(Job::new(function, params, caller, cause), &mut || owed);
    close(context, stop, end, reply)
}

/// What an actor has promised itself and was taken last, so that something else has its turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OwnPromise {
    Monitor,
    Timer,
}

/// The monitors of an actor that can be told of ends: its manifest grants the handler, and its component has the export.
struct ServedMonitors<'a> {
    mailbox: &'a MailboxOwner,
}

impl<'a> ServedMonitors<'a> {
    #[inline(never)]
    fn of(context: &ActorContext, mailbox: &'a MailboxOwner) -> Option<Self> {
        let ActorContext { actor, spec, theater, .. } = context;
        if spec.takes_ends() {
            // What became due before this incarnation is looked for once in any case.
            mailbox.ring();
            return Some(Self { mailbox });
        }
        let open = theater.registry.open_watches(actor.id).len();
        if open > 0 {
            log::warn!(
                "{open} monitors of actor {} are open, and it cannot be told of an end now: its manifest must grant the \
                 handler \"monitor\", and its component export {}; they wait for a start with both, or for the actor's end",
                context.name(),
                HANDLE_DOWN.full
            );
        }
        None
    }

    /// The end that the actor is to be told of first.
    #[inline(never)]
    fn first_due(&self, context: &ActorContext) -> Option<DueWatch> {
        if !self.mailbox.is_rung() {
            return None;
        }
        self.mailbox.hush();
        let due = context.theater.registry.first_due_watch(context.actor.id)?;
        // There may be another one.
        self.mailbox.ring();
        Some(due)
    }

    /// Calls the actor for an end. The call settles the monitor.
    #[inline(never)]
    fn tell(
        &self,
        context: &ActorContext,
        stop: &StopSignal,
        executor: &mut Executor,
        DueWatch { reference, end }: DueWatch,
    ) -> Result<(), Down> {
        fail::point("down-taken");
        let (params, cause) = (told(reference, &end), Some(end.event.clone()));
        let job = Job { of: Some(reference), ..Job::new(HANDLE_DOWN, params, Caller::Runtime, cause) };
        let theater = &context.theater;
        let end = executor.transition_taken(job, &mut || None, |_| {
            theater.registry.end_watch(context.actor.id, reference);
            fail::point("down-called");
            fail::point_after("down-committed", || _ = theater.journal.flush());
        });
        close(context, stop, end, Reply::Nobody)
    }
}

/// The timers of an actor that can take them: its manifest grants the handler, and its component has the export.
struct ServedTimers {
    own: Arc<ActorTimers>,
    missed: MissedRounds,
}

impl ServedTimers {
    #[inline(never)]
    fn of(context: &ActorContext, mailbox: &MailboxOwner) -> Option<Self> {
        let ActorContext { actor, spec, theater, .. } = context;
        let Some(missed) = spec.takes_timers() else {
            let pending = theater.timers.promised_by(actor.id).len();
            if pending > 0 {
                log::warn!(
                    "{pending} timers of actor {} are pending, and it cannot take them now: its manifest must grant the handler \
                     \"timer\", and its component export {}; they wait for a start with both, or for the actor's end",
                    context.name(),
                    HANDLE_TIMER.full
                );
            }
            return None;
        };
        let own = theater.timers.of(actor.id);
        own.serve_by(mailbox.mailbox());
        Some(Self { own, missed })
    }

    /// The timer that is due first. While the disk is nearly full, there is none: a timer is new work, which can wait.
    #[inline(never)]
    fn first_due(&self, context: &ActorContext) -> Option<DueTimer> {
        if !self.own.is_rung() {
            return None;
        }
        let theater = &context.theater;
        if theater.journal.has_room().is_err() {
            theater.timers.look_again(&self.own);
            return None;
        }
        theater.timers.first_due(&self.own, self.missed)
    }

    /// Calls the actor for a timer. The call settles this round, and promises the next one if there is one.
    #[inline(never)]
    fn fire(
        &self,
        context: &ActorContext,
        stop: &StopSignal,
        executor: &mut Executor,
        due: DueTimer,
    ) -> Result<(), Down> {
        fail::point("timer-taken");
        let (timer, actor) = (&due.timer, context.actor.id);
        let params: TimerParams = (due.key.to_string(), timer.due.unix_ms, timer.message.to_vec());
        let Head { sequence, hash } = timer.promised_by;
        let job = Job {
            function: HANDLE_TIMER,
            params: params.to_cbor(),
            caller: Caller::Timer,
            cause: Some(Link { actor, sequence, hash }),
            of: None,
            firing: Some(Firing { of: timer.of, round: timer.round, next: due.next }),
        };
        let end = executor.transition_taken(job, &mut || None, |Link { sequence, hash, .. }| {
            context.theater.timers.taken(&self.own, due, Head { sequence, hash });
            fail::point("timer-called");
            fail::point_after("timer-committed", || _ = context.theater.journal.flush());
        });
        close(context, stop, end, Reply::Nobody)
    }
}

/// What a thread that has nothing to do looks at before it parks.
struct Waiting<'a> {
    context: &'a ActorContext,
    mailbox: &'a MailboxOwner,
    stop: &'a StopSignal,
    has_monitors: bool,
    timers: Option<&'a ServedTimers>,
}

impl Waiting<'_> {
    fn is_rung(&self) -> bool {
        (self.has_monitors && self.mailbox.is_rung()) || self.timers.is_some_and(|timers| timers.own.is_rung())
    }

    /// Falls asleep, unless something has come. What the actor has recorded is on disk by then, its newest state included, so
    /// that it can wake without waiting for a commit.
    #[inline(never)]
    fn fall_asleep(&self) -> Result<bool, JournalDown> {
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
struct Rest {
    sleeps_after: Option<Duration>,
    /// Since when; none while there is work, and always of an actor that may not sleep.
    since: Option<Instant>,
}

impl Rest {
    fn of(sleeps_after: Option<Duration>) -> Self {
        Self { sleeps_after, since: None }
    }

    /// There is work.
    fn end(&mut self, stop: &StopSignal) {
        if self.since.take().is_some() {
            stop.note_busy();
        }
    }

    /// Looks whether the actor has had nothing to do for so long that it is to sleep; or for any time at all, if others wait for a
    /// thread.
    fn look(&mut self, waiting: &Waiting<'_>) -> bool {
        let (Some(after), None) = (self.sleeps_after, waiting.stop.order()) else { return false };
        let since = *self.since.get_or_insert_with(|| {
            let since = clock::now();
            waiting.stop.note_idle(since);
            since
        });
        let is_wanted = waiting.stop.is_to_doze() || waiting.context.theater.registry.is_crowded();
        is_wanted || clock::since(since) >= after
    }

    /// Parks the thread. A new delivery, the end of a monitored actor, a timer that is due and a new order all unpark it. A
    /// thread that is being suspended wakes by itself every millisecond, to see whether its grace is over; and a thread that
    /// may sleep, when the time for that has come.
    fn wait(&self, waiting: &Waiting<'_>) {
        if waiting.stop.order().is_some() {
            return wait::park_until(clock::now() + Duration::from_millis(1));
        }
        let sleep_at = self.since.zip(self.sleeps_after).map(|(since, after)| since + after);
        let idle_at = clock::now() + IDLE;
        if let Some(sleep_at) = sleep_at.filter(|at| *at <= idle_at) {
            return wait::park_until(sleep_at);
        }
        wait::park_until(idle_at);
        let is_idle = clock::now() >= idle_at && waiting.mailbox.is_empty() && !waiting.is_rung();
        if is_idle && waiting.stop.order().is_none() {
            stack::give_back();
            waiting.mailbox.let_go_of_empty_lanes();
            // No wake-up is lost: if a delivery, an end, a timer or an order has come since the check above, its sender has unparked
            // this thread, and `park` returns at once.
            sleep_at.map_or_else(wait::park, wait::park_until);
        }
    }
}
