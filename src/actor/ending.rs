//! The recording of an actor's end: the actor's own thread records `failed` or `stopped`, answers the senders whose
//! messages it drops, and tells the supervisor and the parent.

use std::sync::Arc;

use super::context::ActorContext;
use super::down::Down;
use super::listeners::ChangedListeners;
use super::progress::Progress;
use super::spec::Spec;
use super::upgrade::Upgrade;
use super::verdict::ReportKind;
use crate::chain::Link;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Failed, FailureReason, Stopped, StoppedBy};
use crate::guest::Recorder;
use crate::guest::wit::ChildEventKind;
use crate::journal::{Attached, Cause, Record};
use crate::manifest::{RestartPolicy, RestartState};
use crate::promise::Notice;
use crate::system::{
    ActorFailure, ActorStatus, Answer, Delivery, MailboxOwner, Order, OrderKind, Outcome, Reply, StatusIsSet,
};

/// What follows the end of an incarnation.
pub(super) enum Settled {
    /// The supervisor decides.
    Await,
    /// The thread ends.
    Over,
    /// Another incarnation begins at once, with this manifest and component.
    Succeeded(Arc<Spec>),
    /// Another incarnation begins at once, with the manifest and component that were asked for.
    Upgraded(Box<(Upgrade, ChangedListeners)>),
    /// Another incarnation begins at once, with the build and the state from before the upgrade.
    TakenBack,
    /// The thread ends, and the incarnation does not.
    Asleep,
}

/// An end that is on the chain, and the status that it gave the actor.
struct Ended {
    status: ActorStatus,
    closing: Link,
    set: StatusIsSet,
}

/// The parts of an actor's thread that are needed to end an incarnation.
pub(super) struct IncarnationEnd<'a> {
    pub(super) context: &'a ActorContext,
    pub(super) mailbox: &'a MailboxOwner,
    pub(super) progress: &'a mut Progress,
}

impl IncarnationEnd<'_> {
    /// Closes the mailbox to new deliveries, unless the actor may be restarted: a restart keeps the queue.
    pub(super) fn close_mailbox_unless_restarted(&self, down: &Down) {
        let kept = match down {
            Down::Failed { .. } => self.may_be_restarted() || self.progress.takes_back,
            Down::Ordered { order, .. } => order.kind == OrderKind::Cycle,
            Down::Succeeded(_) | Down::Upgraded(_) | Down::Asleep => true,
            Down::Suspended | Down::Unrecorded => false,
        };
        if !kept {
            self.mailbox.close();
        }
    }

    /// Whether the actor's policy allows a restart. An actor that has never been up is not restarted.
    fn may_be_restarted(&self) -> bool {
        match self.context.spec.manifest.supervision.restart {
            RestartPolicy::Temporary => false,
            RestartPolicy::Transient | RestartPolicy::Permanent => self.progress.was_up,
        }
    }

    /// Records how the incarnation ended, as far as that is decided already, and reports it to the supervisor.
    pub(super) fn settle(&mut self, recorder: &mut Recorder, down: Down) -> Settled {
        match down {
            Down::Failed { reason, detail, reply } => self.settle_failure(recorder, (reason, detail), reply),
            Down::Ordered { order, reply } => self.settle_order(recorder, order, reply),
            Down::Succeeded(spec) => Settled::Succeeded(spec),
            Down::Upgraded(upgrade) => Settled::Upgraded(upgrade),
            Down::Asleep => {
                self.note_survival();
                Settled::Asleep
            }
            Down::Suspended | Down::Unrecorded => {
                self.note_survival();
                // Whoever waits for an answer that was put off waits on after the next start.
                drop(self.context.theater.deferrals.take_all(self.context.actor.id));
                for delivery in self.mailbox.drain() {
                    let outcome = Outcome::Dropped("is suspended, since the runtime is shutting down".into());
                    self.context.answer_unrecorded(delivery.reply, outcome);
                }
                Settled::Over
            }
        }
    }

    /// Notes that the transition which the actor resumed last was not what ended the process.
    fn note_survival(&mut self) {
        if std::mem::take(&mut self.progress.attempts) > 0 {
            // The error of a journal that is down is ignored here: the journal itself has reported it.
            let _ = self.context.theater.journal.enqueue(Record::Survived(self.context.actor));
        }
    }

    fn settle_failure(
        &mut self,
        recorder: &mut Recorder,
        (reason, detail): (FailureReason, String),
        reply: Reply,
    ) -> Settled {
        let context = self.context;
        let takes_back = self.progress.takes_back;
        let kept = self.may_be_restarted() || takes_back;
        let dropped = match context.spec.manifest.supervision.restart_state {
            _ if takes_back => Vec::new(),
            _ if !kept => self.mailbox.drain(),
            RestartState::Last => Vec::new(),
            // The restarted actor begins from its initial state. The messages that wait were sent to the state that is
            // given up, so they are dropped.
            RestartState::Initial => self.mailbox.take_waiting(),
        };
        let failed = Failed { detail: detail.clone(), reason, dropped: causes(&dropped) };
        let notice = context.reserve_notice(ChildEventKind::Failed(format!("{reason}: {detail}")));
        // If the supervisor cannot restart the actor, this failure is its end already.
        let ends = !kept && !self.progress.recovering;
        let attached = attached(&dropped, notice.as_ref(), ends);
        log::warn!("actor {} failed: {reason}: {detail}", context.name());
        context.metrics().iter().for_each(|metrics| metrics.failures.add(1));
        let Ok(closing) = recorder.record("failed", failed.to_cbor(), attached) else { return Settled::Over };
        let status = ActorStatus::Failed { reason, detail: detail.clone() };
        self.progress.recorded_end = Some(status.clone());
        let set = context.set_status(if kept { ActorStatus::Restarting } else { status.clone() });
        let outcome = Outcome::Failed(ActorFailure::new(reason, detail.clone()));
        // The supervisor is told first, because a sender or the parent may ask it for a restart as soon as they hear of
        // the failure.
        if !takes_back {
            context.report(ReportKind::Failed { reason, detail });
        }
        context.answer(reply, Answer { outcome, closing: Some(closing.clone()) });
        context.refuse(dropped, "failed", Some(&closing));
        if ends {
            context.ended_for_good(closing.clone(), &status, set);
        }
        if let Some(notice) = notice {
            notice.fill(closing, set);
        }
        if takes_back { Settled::TakenBack } else { Settled::Await }
    }

    fn settle_order(&mut self, recorder: &mut Recorder, order: Order, reply: Reply) -> Settled {
        let context = self.context;
        let mut told = None;
        if order.kind == OrderKind::Cycle {
            let stopped = Stopped { by: order.by, cause: order.cause, dropped: Vec::new() };
            let notice = context.reserve_notice(ChildEventKind::Stopped);
            let attached = attached(&[], notice.as_ref(), false);
            let Ok(closing) = recorder.record("stopped", stopped.to_cbor(), attached) else { return Settled::Over };
            self.progress.recorded_end = Some(ActorStatus::Stopped);
            let set = context.set_status(ActorStatus::Restarting);
            told = notice.map(|notice| (notice, closing, set));
            // This event answers the sender of the aborted transition, so its wait ends here. After an order to stop, the
            // event comes later, with the verdict.
            if let Reply::Actor { wait, .. } = &reply {
                context.theater.registry.end_wait(*wait);
            }
        }
        context.report(ReportKind::Down);
        context.answer(reply, Answer { outcome: Outcome::Stopped, closing: None });
        if let Some((notice, closing, set)) = told {
            notice.fill(closing, set);
        }
        Settled::Await
    }

    /// Ends the actor for good, and returns its last event. The deliveries that still wait are named in that event, and
    /// their senders are answered. If a failure is on the chain already, the actor stays failed, whatever the order said.
    pub(super) fn end(
        &mut self,
        recorder: &mut Recorder,
        by: StoppedBy,
        cause: Option<Link>,
        failure: Option<(FailureReason, String)>,
    ) -> Option<Link> {
        self.mailbox.close();
        let dropped = self.mailbox.drain();
        let Ended { status, closing, set } = match self.progress.recorded_end.take() {
            // The chain says already how the actor ended, and nothing has been dropped since.
            Some(status) if dropped.is_empty() && failure.is_none() => {
                let set = self.context.set_status(status.clone());
                Ended { status, closing: recorder.chain().head_link()?, set }
            }
            Some(ActorStatus::Failed { reason, detail }) => {
                self.record_failure_again(recorder, failure.unwrap_or((reason, detail)), &dropped)?
            }
            ended => self.record_stop(recorder, (by, cause), &dropped, ended.is_none())?,
        };
        if !self.progress.recovering {
            self.context.theater.journal.enqueue(Record::Ended(self.context.actor)).ok()?;
        }
        // An actor that failed while it was recovered is tried again by the next start. A stop is its end in any case.
        if !self.progress.recovering || status == ActorStatus::Stopped {
            self.context.ended_for_good(closing.clone(), &status, set);
        }
        self.context.refuse(dropped, "was stopped", Some(&closing));
        Some(closing)
    }

    /// Records the failure a second time, now as the actor's end: with the deliveries dropped since the first record, or
    /// with the reason why there is no restart.
    fn record_failure_again(
        &self,
        recorder: &mut Recorder,
        (reason, detail): (FailureReason, String),
        dropped: &[Delivery],
    ) -> Option<Ended> {
        let failed = Failed { detail: detail.clone(), reason, dropped: causes(dropped) };
        let attached = attached(dropped, None, !self.progress.recovering);
        let closing = recorder.record("failed", failed.to_cbor(), attached).ok()?;
        let status = ActorStatus::Failed { reason, detail };
        let set = self.context.set_status(status.clone());
        Some(Ended { status, closing, set })
    }

    /// Records `stopped`. `is_news` says that the parent has not been told of this end yet.
    fn record_stop(
        &self,
        recorder: &mut Recorder,
        (by, cause): (StoppedBy, Option<Link>),
        dropped: &[Delivery],
        is_news: bool,
    ) -> Option<Ended> {
        let stopped = Stopped { by, cause, dropped: causes(dropped) };
        let notice = if is_news { self.context.reserve_notice(ChildEventKind::Stopped) } else { None };
        let attached = attached(dropped, notice.as_ref(), true);
        let closing = recorder.record("stopped", stopped.to_cbor(), attached).ok()?;
        let (status, set) = (ActorStatus::Stopped, self.context.set_status(ActorStatus::Stopped));
        if let Some(notice) = notice {
            notice.fill(closing.clone(), set);
        }
        Some(Ended { status, closing, set })
    }
}

fn causes(dropped: &[Delivery]) -> Vec<Option<Link>> {
    dropped.iter().map(|delivery| delivery.cause.clone()).collect()
}

/// What the journal commits together with an event that ends an incarnation.
fn attached(dropped: &[Delivery], notice: Option<&Notice>, ends: bool) -> Attached {
    // The row of an asynchronous request is its sender's, which is told of this.
    let is_own = |delivery: &&Delivery| matches!(delivery.reply, Reply::Later { .. });
    let owed = dropped.iter().filter(|delivery| !is_own(delivery));
    let settles = owed.filter_map(|delivery| delivery.cause.as_ref()).map(Cause::from).collect();
    Attached { settles, owes: notice.map(Notice::owed), ends, ..Attached::default() }
}
