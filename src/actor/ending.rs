//! How an incarnation ends, as far as the actor's own thread has to say: what is recorded, who is answered, who hears.

use std::sync::Arc;

use super::runtime::{ActorRuntime, Down, ReportKind, SpawnReply, Verdict};
use super::spec::Spec;
use crate::chain::Link;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Failed, Stopped, StoppedBy};
use crate::guest::Recorder;
use crate::guest::wit::ChildEventKind;
use crate::journal::{Attached, Cause, Record};
use crate::manifest::{RestartPolicy, RestartState};
use crate::promise::Notice;
use crate::system::{ActorStatus, Answer, Delivery, OrderKind, Outcome, Reply};

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
            Down::Failed { by_init, .. } => !by_init && self.may_be_restarted(),
            Down::Ordered { order, .. } => order.kind == OrderKind::Cycle,
            Down::Succeeded(_) => true,
            Down::Suspended | Down::Unrecorded => false,
        };
        if !kept {
            self.mailbox.close();
        }
    }

    fn may_be_restarted(&self) -> bool {
        match self.spec.manifest.supervision.restart {
            RestartPolicy::Temporary => false,
            RestartPolicy::Transient | RestartPolicy::Permanent => true,
        }
    }

    /// Records how the incarnation ended, as far as that is settled, and reports it.
    pub(super) fn settle(&mut self, recorder: &mut Recorder, down: Down) -> Settled {
        match down {
            Down::Failed { reason, detail, by_init, reply } => {
                let kept = !by_init && self.may_be_restarted();
                let dropped = match self.spec.manifest.supervision.restart_state {
                    _ if !kept => self.mailbox.drain(),
                    RestartState::Last => Vec::new(),
                    // What was meant for the state that is given up does not reach the new one.
                    RestartState::Initial => self.mailbox.take_waiting(),
                };
                let failed = Failed { detail: detail.clone(), reason, dropped: causes(&dropped) };
                let notice = self.reserve_notice(ChildEventKind::Failed(format!("{reason}: {detail}")));
                // Where the supervisor cannot restart it, this is its end already.
                let ends = (!self.may_be_restarted() || (by_init && !self.was_up)) && !self.recovering;
                let attached = attached(&dropped, notice.as_ref(), ends);
                log::warn!("actor {} failed: {reason}: {detail}", self.spec.manifest.name);
                self.theater.registry.metrics(self.actor.id).iter().for_each(|metrics| metrics.failures.add(1));
                let Ok(closing) = recorder.record("failed", failed.to_cbor(), attached) else { return Settled::Over };
                let status = ActorStatus::Failed { reason, detail: detail.clone() };
                self.recorded_end = Some(status.clone());
                self.set_status(if kept { ActorStatus::Restarting } else { status });
                let outcome = Outcome::Failed(format!("{reason}: {detail}"));
                self.answer(reply, Answer { outcome, closing: Some(closing.clone()) });
                self.refuse(dropped, "failed", Some(&closing));
                if let Some(notice) = notice {
                    notice.fill(closing);
                }
                self.report(ReportKind::Failed { by_init });
                Settled::Await
            }
            Down::Ordered { order, reply } => {
                if order.kind == OrderKind::Cycle {
                    let stopped = Stopped { by: order.by, cause: order.cause, dropped: Vec::new() };
                    let notice = self.reserve_notice(ChildEventKind::Stopped);
                    let attached = attached(&[], notice.as_ref(), false);
                    let Ok(closing) = recorder.record("stopped", stopped.to_cbor(), attached) else {
                        return Settled::Over;
                    };
                    self.recorded_end = Some(ActorStatus::Stopped);
                    self.set_status(ActorStatus::Restarting);
                    if let Some(notice) = notice {
                        notice.fill(closing);
                    }
                    // Whoever waits is answered by this event; of a stop the event comes later.
                    if let Reply::Actor { wait, .. } = &reply {
                        self.theater.registry.end_wait(*wait);
                    }
                }
                self.answer(reply, Answer { outcome: Outcome::Stopped, closing: None });
                self.report(ReportKind::Down);
                Settled::Await
            }
            Down::Succeeded(spec) => Settled::Succeeded(spec),
            Down::Suspended | Down::Unrecorded => {
                if self.attempts > 0 {
                    // A journal that is down has said so.
                    let _ = self.theater.journal.enqueue(Record::Survived(self.actor));
                }
                for delivery in self.mailbox.drain() {
                    self.answer_now(delivery.reply, Outcome::Dropped("the runtime is shutting down".into()));
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
        match self.verdicts.recv() {
            Ok(Verdict::Restart { from, stop, reply }) => {
                self.stop = stop;
                self.recorded_end = None;
                Ok((from, reply))
            }
            Ok(Verdict::End { by, cause }) => Err(self.end(recorder, by, cause)),
            // The supervisor is gone: the runtime is suspended with this actor as it is.
            Err(_) => Err(None),
        }
    }

    /// Ends for good: what still waits is named and answered.
    fn end(&mut self, recorder: &mut Recorder, by: StoppedBy, cause: Option<Link>) -> Option<Link> {
        self.mailbox.close();
        let dropped = self.mailbox.drain();
        let mut closing = recorder.chain().head_link();
        match self.recorded_end.take() {
            // The end is on the chain, and nothing was lost since.
            Some(status) if dropped.is_empty() => self.set_status(status),
            Some(_) | None => {
                let stopped = Stopped { by, cause, dropped: causes(&dropped) };
                let notice = self.reserve_notice(ChildEventKind::Stopped);
                let attached = attached(&dropped, notice.as_ref(), true);
                let Ok(stopped) = recorder.record("stopped", stopped.to_cbor(), attached) else { return None };
                closing = Some(stopped.clone());
                self.set_status(ActorStatus::Stopped);
                if let Some(notice) = notice {
                    notice.fill(stopped);
                }
            }
        }
        if !self.recovering && self.theater.journal.enqueue(Record::Ended(self.actor)).is_err() {
            return None;
        }
        self.refuse(dropped, "was stopped", closing.as_ref());
        closing
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
            Reply::Actor { wait, to } => to.give_to_actor(&self.theater.registry, wait, answer),
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
