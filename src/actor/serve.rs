//! The main loop of an actor: it takes one delivery after the other from its mailbox, or the end of an actor that it monitors,
//! or a timer that is due, and executes each as a transition.

use std::sync::Arc;
use std::time::Duration;

use super::clients::{handle_client, is_of_a_client};
use super::context::ActorContext;
use super::down::{Down, close};
use super::executor::{Executor, Firing, Job};
use super::idling::{Idling, Waiting};
use super::upgrade::{Upgrade, UpgradeSlot};
use crate::base::clock;
use crate::base::fail;
use crate::chain::cbor::Cbor;
use crate::chain::data::Caller;
use crate::chain::{Head, Link};
use crate::journal::JournalDown;
use crate::promise::{HANDLE_DOWN, HANDLE_REPLY, HANDLE_TIMER, TimerParams, told, told_reply};
use crate::system::{
    ActorRequests, ActorTimers, Answer, CameOf, Delivery, DueReply, DueTimer, DueWatch, Lane, MailboxOwner,
    MissedRounds, OrderKind, Outcome, Reply, StopSignal,
};

/// Why the actor takes no further deliveries for now.
pub(super) enum Served {
    /// The incarnation is over, or the actor sleeps.
    Down(Down),
    /// An upgrade waits.
    Upgrade(Box<Upgrade>),
    /// A call has returned under a build that is on trial.
    Proven,
}

/// What the supervisor may have for the actor, and what it is to tell.
pub(super) struct Upgrading<'a> {
    pub(super) slot: &'a UpgradeSlot,
    pub(super) is_on_trial: bool,
}

/// Takes deliveries until something ends the incarnation, or until the actor has had nothing to do for `sleeps_after`.
///
/// An idle actor waits in this frame, so what it holds only while it works is in functions of their own.
pub(super) fn serve(
    context: &ActorContext,
    mailbox: &MailboxOwner,
    stop: &StopSignal,
    executor: &mut Executor,
    sleeps_after: Option<Duration>,
    upgrading: &Upgrading<'_>,
) -> Served {
    let monitors = ServedMonitors::of(context, mailbox);
    let replies = ServedReplies::of(context, mailbox);
    let timers = ServedTimers::of(context, mailbox);
    let mut idling = Idling::of(sleeps_after);
    // Ends, replies, timers and mail take turns, so that none of them keeps another waiting for ever.
    let mut last = None;
    loop {
        if let Some(order) = stop.order() {
            match order.kind {
                OrderKind::Stop | OrderKind::Cycle => {
                    return Served::Down(Down::Ordered { order: order.clone(), reply: Reply::Nobody });
                }
                OrderKind::Fail => return Served::Down(Down::failed_by_children(context, Reply::Nobody)),
                // Deliveries that actors sent each other before the shutdown are still worked on until the grace is over. Those
                // for a paused actor wait for the next start.
                OrderKind::Suspend if mailbox.is_empty() || mailbox.is_paused() || stop.overdue().is_some() => {
                    return Served::Down(Down::Suspended);
                }
                OrderKind::Suspend => {}
            }
        } else if let Some(upgrade) = upgrading.slot.take() {
            idling.end(stop);
            return Served::Upgrade(upgrade);
        }
        if upgrading.is_on_trial && executor.has_returned() {
            return Served::Proven;
        }
        let turn = std::mem::take(&mut last);
        // A paused actor takes nothing that waits for it.
        let takes = !mailbox.is_paused();
        if let Some(monitors) = monitors.as_ref().filter(|_| takes && turn.is_none() && stop.order().is_none())
            && let Some(due) = monitors.first_due(context)
        {
            last = Some(OwnPromise::Monitor);
            idling.end(stop);
            if let Err(down) = monitors.tell(context, stop, executor, due) {
                return Served::Down(down);
            }
            continue;
        }
        let replies_wait = !takes || turn >= Some(OwnPromise::Reply) || stop.order().is_some();
        if let Some(replies) = replies.as_ref().filter(|_| !replies_wait)
            && let Some(due) = replies.first_due(context)
        {
            last = Some(OwnPromise::Reply);
            idling.end(stop);
            if let Err(down) = replies.tell(context, stop, executor, due) {
                return Served::Down(down);
            }
            continue;
        }
        let timers_wait = !takes || turn == Some(OwnPromise::Timer) || stop.order().is_some();
        if let Some(timers) = timers.as_ref().filter(|_| !timers_wait)
            && let Some(due) = timers.first_due(context)
        {
            last = Some(OwnPromise::Timer);
            idling.end(stop);
            if let Err(down) = timers.fire(context, stop, executor, due) {
                return Served::Down(down);
            }
            continue;
        }
        let Some(delivery) = takes.then(|| mailbox.next()).flatten() else {
            if turn.is_some() {
                continue;
            }
            let waiting = Waiting {
                context,
                mailbox,
                stop,
                upgrades: upgrading.slot,
                has_monitors: monitors.is_some(),
                replies: replies.as_ref().map(|replies| &*replies.own),
                timers: timers.as_ref().map(|timers| &*timers.own),
            };
            if idling.look(&waiting) {
                match waiting.fall_asleep() {
                    Ok(true) => return Served::Down(Down::Asleep),
                    Ok(false) => {}
                    Err(JournalDown) => return Served::Down(Down::Unrecorded),
                }
            }
            idling.wait(&waiting);
            continue;
        };
        idling.end(stop);
        if let Err(down) = handle(context, (mailbox, stop), executor, delivery) {
            return Served::Down(down);
        }
    }
}

/// Executes a delivery, if its sender has not given it up.
#[inline(never)]
fn handle(
    context: &ActorContext,
    (mailbox, stop): (&MailboxOwner, &StopSignal),
    executor: &mut Executor,
    delivery: Delivery,
) -> Result<(), Down> {
    if !delivery.reply.claim() {
        return Ok(());
    }
    if context.spec.program.function(delivery.function.full).is_none() {
        keep_aside(context, mailbox, delivery);
        return Ok(());
    }
    fail::point("taken");
    if is_of_a_client(&delivery) {
        return handle_client(context, stop, executor, delivery);
    }
    let Delivery { function, params, caller, cause, reply } = delivery;
    let is_async = matches!(reply, Reply::Later { .. });
    let key = reply.key().map(str::to_owned);
    let end = executor.transition(Job { is_async, key, ..Job::new(function, params, caller, cause) }, &mut |_| None);
    close(context, stop, end, reply)
}

/// Settles a delivery that was accepted for an earlier build, and that this one has no export for. Whoever waits is told. A
/// message that nobody waits for is kept, as after a start: until the actor exports the function again, or ends.
#[cold]
#[inline(never)]
fn keep_aside(context: &ActorContext, mailbox: &MailboxOwner, delivery: Delivery) {
    let function = delivery.function.full;
    if matches!(delivery.reply, Reply::Nobody) {
        log::warn!(
            "actor {} is owed a delivery to {function}, which it does not export now: it is kept until the actor exports that \
             again, or ends",
            context.name()
        );
        return mailbox.mailbox().keep_aside(delivery);
    }
    let outcome = Outcome::Dropped(format!("does not export {function}"));
    context.answer(delivery.reply, Answer { outcome, closing: None });
}

/// Puts what was kept aside back into the mailbox, as far as this build has the exports.
#[inline(never)]
pub(super) fn take_from_aside(context: &ActorContext, mailbox: &MailboxOwner) {
    for delivery in mailbox.take_aside() {
        let lane = match delivery.caller {
            Caller::Actor | Caller::Management => Lane::Mail,
            Caller::Runtime | Caller::Http | Caller::WebSocket | Caller::Timer => Lane::Notice,
        };
        match context.spec.program.function(delivery.function.full) {
            Some(_) => mailbox.mailbox().restore(lane, delivery),
            None => mailbox.mailbox().keep_aside(delivery),
        }
    }
}

/// What an actor has promised itself and was taken last, so that something else has its turn: what comes later here, or mail.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum OwnPromise {
    Monitor,
    Reply,
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
        let end = executor.transition_taken(job, &mut |_| None, |_| {
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
            key: None,
            firing: Some(Firing { of: timer.of, round: timer.round, next: due.next }),
            is_async: false,
        };
        let end = executor.transition_taken(job, &mut |_| None, |Link { sequence, hash, .. }| {
            context.theater.timers.taken(&self.own, due, Head { sequence, hash });
            fail::point("timer-called");
            fail::point_after("timer-committed", || _ = context.theater.journal.flush());
        });
        close(context, stop, end, Reply::Nobody)
    }
}

/// The asynchronous requests of an actor that can be told of answers: its component has the export.
struct ServedReplies {
    own: Arc<ActorRequests>,
}

impl ServedReplies {
    #[inline(never)]
    fn of(context: &ActorContext, mailbox: &MailboxOwner) -> Option<Self> {
        let ActorContext { actor, spec, theater, .. } = context;
        if spec.program.function(HANDLE_REPLY.full).is_some() {
            let own = theater.async_requests.of(actor.id);
            own.serve_by(mailbox.unparker());
            return Some(Self { own });
        }
        let open = theater.async_requests.open(actor.id).len();
        if open > 0 {
            log::warn!(
                "{open} asynchronous requests of actor {} are open, and it cannot be told of the answers now: its component must \
                 export {}; they wait for a start with it, or for the actor's end",
                context.name(),
                HANDLE_REPLY.full
            );
        }
        None
    }

    /// The answer that the actor is to be told first.
    #[inline(never)]
    fn first_due(&self, context: &ActorContext) -> Option<DueReply> {
        if !self.own.is_rung() && self.own.count() == 0 {
            return None;
        }
        let due = self.own.first_due(clock::moment())?;
        // A receiver that is being suspended has not ended: after the next start it goes on.
        let is_over = due.came != CameOf::Gone || !context.theater.registry.is_suspending();
        Some(due).filter(|_| is_over)
    }

    /// Calls the actor for an answer. The call settles the request.
    #[inline(never)]
    fn tell(
        &self,
        context: &ActorContext,
        stop: &StopSignal,
        executor: &mut Executor,
        due: DueReply,
    ) -> Result<(), Down> {
        fail::point("reply-taken");
        let token = due.token;
        let (params, cause) = told_reply(due);
        let job = Job { of: Some(token), ..Job::new(HANDLE_REPLY, params, Caller::Runtime, cause) };
        let end = executor.transition_taken(job, &mut |_| None, |_| {
            self.own.end(token);
            fail::point("reply-called");
            fail::point_after("reply-committed", || _ = context.theater.journal.flush());
        });
        close(context, stop, end, Reply::Nobody)
    }
}
