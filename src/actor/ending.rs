//! How an incarnation ends, as far as the actor's own thread has to say: what is recorded, who is answered, who hears.

use std::sync::Arc;

use super::runtime::{ActorRuntime, Down, ReportKind, SpawnReply, Verdict};
use super::spec::Spec;
use crate::base::wait;
use crate::chain::Link;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Failed, FailureReason, Stopped, StoppedBy};
use crate::guest::Recorder;
use crate::guest::wit::ChildEventKind;
use crate::journal::{Attached, Cause, Record};
use crate::manifest::{RestartPolicy, RestartState};
use crate::promise::Notice;
use crate::system::{ActorFailure, ActorStatus, Answer, Delivery, OrderKind, Outcome, Reply};

/// What remains to be done after an incarnation's end was settled.
pub(super) enum Settled {
    /// The supervisor decides.
    Await,
    Over,
    /// Another incarnation follows at once.
    Succeeded(Arc<Spec>),
}

impl ActorRuntime {
    /// A restart keeps the queue; every other end refuses what comes from now on.
    pub(super) fn close_mailbox_unless_it_is_kept(&self, down: &Down) {
        let kept = match down {
            Down::Failed { .. } => self.may_be_restarted(),
            Down::Ordered { order, .. } => order.kind == OrderKind::Cycle,
            Down::Succeeded(_) => true,
            Down::Suspended | Down::Unrecorded => false,
        };
        if !kept {
            self.mailbox.close();
        }
    }

    /// By its policy. One that has never been up is not.
    fn may_be_restarted(&self) -> bool {
        match self.spec.manifest.supervision.restart {
            RestartPolicy::Temporary => false,
            RestartPolicy::Transient | RestartPolicy::Permanent => self.was_up,
        }
    }

    /// Records how the incarnation ended, as far as that is settled, and reports it.
    pub(super) fn settle(&mut self, recorder: &mut Recorder, down: Down) -> Settled {
        match down {
            Down::Failed { reason, detail, reply } => {
                let kept = self.may_be_restarted();
                let dropped = match self.spec.manifest.supervision.restart_state {
                    _ if !kept => self.mailbox.drain(),
                    RestartState::Last => Vec::new(),
                    // What was meant for the state that is given up does not reach the new one.
                    RestartState::Initial => self.mailbox.take_waiting(),
                };
                let failed = Failed { detail: detail.clone(), reason, dropped: causes(&dropped) };
                let notice = self.reserve_notice(ChildEventKind::Failed(format!("{reason}: {detail}")));
                // Where the supervisor cannot restart it, this is its end already.
                let ends = !kept && !self.recovering;
                let attached = attached(&dropped, notice.as_ref(), ends);
                log::warn!("actor {} failed: {reason}: {detail}", self.spec.manifest.name);
                self.theater.registry.metrics(self.actor.id).iter().for_each(|metrics| metrics.failures.add(1));
                let Ok(closing) = recorder.record("failed", failed.to_cbor(), attached) else { return Settled::Over };
                let status = ActorStatus::Failed { reason, detail: detail.clone() };
                self.recorded_end = Some(status.clone());
                if ends {
                    self.lives_no_more();
                }
                let set = self.set_status(if kept { ActorStatus::Restarting } else { status });
                let outcome = Outcome::Failed(ActorFailure::new(reason, detail.clone()));
                // The supervisor hears first: whoever is told may ask it at once for a restart.
                self.report(ReportKind::Failed { reason, detail });
                self.answer(reply, Answer { outcome, closing: Some(closing.clone()) });
                self.refuse(dropped, "failed", Some(&closing));
                if let Some(notice) = notice {
                    notice.fill(closing, set);
                }
                Settled::Await
            }
            Down::Ordered { order, reply } => {
                let mut told = None;
                if order.kind == OrderKind::Cycle {
                    let stopped = Stopped { by: order.by, cause: order.cause, dropped: Vec::new() };
                    let notice = self.reserve_notice(ChildEventKind::Stopped);
                    let attached = attached(&[], notice.as_ref(), false);
                    let Ok(closing) = recorder.record("stopped", stopped.to_cbor(), attached) else {
                        return Settled::Over;
                    };
                    self.recorded_end = Some(ActorStatus::Stopped);
                    let set = self.set_status(ActorStatus::Restarting);
                    told = notice.map(|notice| (notice, closing, set));
                    // Whoever waits is answered by this event; of a stop the event comes later.
                    if let Reply::Actor { wait, .. } = &reply {
                        self.theater.registry.end_wait(*wait);
                    }
                }
                self.report(ReportKind::Down);
                self.answer(reply, Answer { outcome: Outcome::Stopped, closing: None });
                if let Some((notice, closing, set)) = told {
                    notice.fill(closing, set);
                }
                Settled::Await
            }
            Down::Succeeded(spec) => Settled::Succeeded(spec),
            Down::Suspended | Down::Unrecorded => {
                if self.attempts > 0 {
                    // A journal that is down has said so.
                    let _ = self.theater.journal.enqueue(Record::Survived(self.actor));
                }
                for delivery in self.mailbox.drain() {
                    self.answer_now(
                        delivery.reply,
                        Outcome::Dropped("is suspended, since the runtime is shutting down".into()),
                    );
                }
                Settled::Over
            }
        }
    }

    /// Waits for the supervisor. `Err` is the end, with the last event.
    pub(super) fn await_verdict(
        &mut self,
        recorder: &mut Recorder,
    ) -> Result<(RestartState, Option<SpawnReply>), Option<Link>> {
        match wait::receive(&self.verdicts) {
            Ok(Verdict::Restart { from, stop, reply }) => {
                self.stop = stop;
                self.recorded_end = None;
                // It may have been asked for where no policy would have restarted it.
                self.mailbox.open();
                self.set_status(ActorStatus::Restarting);
                Ok((from, reply))
            }
            Ok(Verdict::End { by, cause, failure }) => Err(self.end(recorder, by, cause, failure)),
            // The supervisor is gone: the runtime is suspended with this actor as it is.
            Err(_) => Err(None),
        }
    }

    /// Ends for good: what still waits is named and answered. What failed has failed, whatever was still to be said.
    fn end(
        &mut self,
        recorder: &mut Recorder,
        by: StoppedBy,
        cause: Option<Link>,
        failure: Option<(FailureReason, String)>,
    ) -> Option<Link> {
        self.mailbox.close();
        let dropped = self.mailbox.drain();
        let closing = match self.recorded_end.take() {
            // The end is on the chain, and nothing was lost since.
            Some(status) if dropped.is_empty() && failure.is_none() => {
                self.set_status(status);
                recorder.chain().head_link()
            }
            Some(ActorStatus::Failed { reason, detail }) => {
                Some(self.record_failure_again(recorder, failure.unwrap_or((reason, detail)), &dropped)?)
            }
            ended => Some(self.record_stop(recorder, (by, cause), &dropped, ended.is_none())?),
        };
        if !self.recovering {
            self.theater.journal.enqueue(Record::Ended(self.actor)).ok()?;
            self.lives_no_more();
        }
        self.refuse(dropped, "was stopped", closing.as_ref());
        closing
    }

    /// The failure that is its end for good: with what was lost since it was recorded, or why it is not restarted.
    fn record_failure_again(
        &self,
        recorder: &mut Recorder,
        (reason, detail): (FailureReason, String),
        dropped: &[Delivery],
    ) -> Option<Link> {
        let failed = Failed { detail: detail.clone(), reason, dropped: causes(dropped) };
        let attached = attached(dropped, None, !self.recovering);
        let closing = recorder.record("failed", failed.to_cbor(), attached).ok()?;
        self.set_status(ActorStatus::Failed { reason, detail });
        Some(closing)
    }

    /// `is_news` where the parent has not heard of this end.
    fn record_stop(
        &self,
        recorder: &mut Recorder,
        (by, cause): (StoppedBy, Option<Link>),
        dropped: &[Delivery],
        is_news: bool,
    ) -> Option<Link> {
        let stopped = Stopped { by, cause, dropped: causes(dropped) };
        let notice = if is_news { self.reserve_notice(ChildEventKind::Stopped) } else { None };
        let attached = attached(dropped, notice.as_ref(), true);
        let closing = recorder.record("stopped", stopped.to_cbor(), attached).ok()?;
        let set = self.set_status(ActorStatus::Stopped);
        if let Some(notice) = notice {
            notice.fill(closing.clone(), set);
        }
        Some(closing)
    }

    /// Its chain says so: the next `started` has to say otherwise before others may count on it.
    fn lives_no_more(&self) {
        self.theater.registry.update(self.actor.id, |entry| entry.has_begun = false);
    }

    /// A place in the parent's lane for notices, where the parent wants to know.
    pub(super) fn reserve_notice(&self, kind: ChildEventKind) -> Option<Notice> {
        Notice::reserve(&self.theater.registry, self.actor.id, kind)
    }

    pub(super) fn refuse(&self, dropped: Vec<Delivery>, why: &str, closing: Option<&Link>) {
        for delivery in dropped {
            let outcome = Outcome::Dropped(why.to_owned());
            self.answer(delivery.reply, Answer { outcome, closing: closing.cloned() });
        }
    }

    /// Answers what the chain has an event for: actors at once, the outside after the commit.
    pub(super) fn answer(&self, reply: Reply, answer: Answer) {
        match reply {
            Reply::Nobody => {}
            Reply::Actor { wait, to } => self.theater.registry.answer(wait, to, answer),
            Reply::Outside { to } => {
                // Nobody may be left to hear it. A journal that is down drops the answer, as it must.
                let _ = self.theater.journal.release(move || to.give(answer));
            }
        }
    }

    /// Answers something that leaves no trace: the runtime is being suspended.
    pub(super) fn answer_now(&self, reply: Reply, outcome: Outcome) {
        match reply {
            Reply::Outside { to } => to.give(Answer { outcome, closing: None }),
            // An actor that waits is suspended itself; dropping its reply tells it.
            Reply::Actor { .. } | Reply::Nobody => {}
        }
    }
}

fn causes(dropped: &[Delivery]) -> Vec<Option<Link>> {
    dropped.iter().map(|delivery| delivery.cause.clone()).collect()
}

/// What belongs to an event that ends an incarnation.
fn attached(dropped: &[Delivery], notice: Option<&Notice>, ends: bool) -> Attached {
    let settles = dropped.iter().filter_map(|delivery| delivery.cause.as_ref()).map(Cause::from).collect();
    Attached { settles, owes: notice.map(Notice::owed), ends, ..Attached::default() }
}
