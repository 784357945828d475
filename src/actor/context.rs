//! An actor's identity and its outgoing side: the status that others see, reports to the supervisor, answers to senders,
//! notices to the parent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::spec::Spec;
use super::verdict::{Report, ReportKind};
use crate::base::fail;
use crate::base::id::ActorId;
use crate::base::metrics::ActorMetrics;
use crate::chain::Link;
use crate::guest::PutOff;
use crate::guest::wit::ChildEventKind;
use crate::journal::ActorKey;
use crate::manifest::Reads;
use crate::promise::Notice;
use crate::system::{
    ActorFailure, ActorStatus, Answer, Delivery, Outcome, RecordedEnd, Reply, StatusIsSet, TheaterHandle,
};

/// What every part of an actor's thread needs: what it knows of the actor, and the ways to report for the actor.
pub(super) struct ActorContext {
    pub(super) actor: ActorKey,
    pub(super) parent: Option<ActorId>,
    pub(super) spec: Arc<Spec>,
    pub(super) theater: TheaterHandle,
    pub(super) report: Box<dyn Fn(Report) + Send>,
    /// How many events of the chain, counted from its beginning, are known to be committed.
    pub(super) committed: Arc<AtomicU64>,
}

impl ActorContext {
    /// What logs call the actor: its path if it has a label, or else its name.
    pub(super) fn name(&self) -> String {
        self.theater.registry.shown_name(self.actor.id).unwrap_or_else(|| self.spec.manifest.name.clone())
    }

    pub(super) fn metrics(&self) -> Option<Arc<ActorMetrics>> {
        self.theater.registry.counters(self.actor.id)
    }

    /// After how long without anything to do the actor gives its thread back; `None` if it never does.
    pub(super) fn sleeps_after(&self) -> Option<Duration> {
        self.spec.sleeps_after(&self.theater.limits)
    }

    pub(super) fn set_status(&self, status: ActorStatus) -> StatusIsSet {
        self.theater.registry.set_status(self.actor.id, status)
    }

    pub(super) fn report(&self, kind: ReportKind) {
        (self.report)(Report { id: self.actor.id, kind });
    }

    /// Notes that the actor has ended for good, as `closing` says on its chain: what it owes itself is over, who waits
    /// for an answer that it has put off is told, and so are the actors that monitor it. Other actors' messages to this actor are refused until the chain's next `started`.
    pub(super) fn ended_for_good(&self, closing: Link, status: &ActorStatus, set: StatusIsSet) {
        fail::point("end-recorded");
        fail::point_after("end-committed", || _ = self.theater.journal.flush());
        let failure = match status {
            ActorStatus::Failed { reason, detail } => Some(format!("{reason}: {detail}")),
            _ => None,
        };
        self.theater.timers.clear(self.actor.id);
        self.theater.async_requests.clear(self.actor.id);
        // As after a transition that the end has cut off.
        let (outcome, closing_event) = match status {
            ActorStatus::Failed { reason, detail } => {
                (Outcome::Failed(ActorFailure::new(*reason, detail.as_str())), Some(closing.clone()))
            }
            _ => (Outcome::Stopped, None),
        };
        self.refuse_deferred(&Answer { outcome, closing: closing_event });
        self.theater.registry.ended_for_good(self.actor.id, RecordedEnd { event: closing, failure }, set);
    }

    /// Reserves a place for a notice in the parent's mailbox, if there is a parent that wants notices.
    pub(super) fn reserve_notice(&self, kind: ChildEventKind) -> Option<Notice> {
        Notice::reserve(&self.theater.registry, self.actor.id, kind)
    }

    /// Tells the senders of `dropped` that the actor ended for the reason `why`, and that `closing` says so.
    pub(super) fn refuse(&self, dropped: Vec<Delivery>, why: &str, closing: Option<&Link>) {
        for delivery in dropped {
            let outcome = Outcome::Dropped(why.to_owned());
            self.answer(delivery.reply, Answer { outcome, closing: closing.cloned() });
        }
    }

    /// Gives the answer of a transition, which rests on the first `rests_on` events of the chain. If these are known to be
    /// committed, and the manifest allows it, a sender outside does not wait for the commit of the later events.
    pub(super) fn answer_as_early(&self, reply: Reply, answer: Answer, rests_on: u64) {
        match reply {
            Reply::Outside { to, key: None } if self.is_early(rests_on) => to.give(answer),
            reply => self.answer(reply, answer),
        }
    }

    fn is_early(&self, rests_on: u64) -> bool {
        self.spec.manifest.reads == Reads::Early && rests_on <= self.committed.load(Ordering::Acquire)
    }

    /// Gives an answer that rests on a recorded event: to an actor at once, to a sender outside the runtime after the
    /// commit that holds the event.
    pub(super) fn answer(&self, reply: Reply, answer: Answer) {
        match reply {
            Reply::Outside { to, key } => {
                let committed = Arc::clone(&self.committed);
                let upto = answer.closing.as_ref().map_or(0, |closing| closing.sequence + 1);
                // The error of a journal that is down is ignored: an answer that rests on an event which was never
                // committed must not leave.
                let _ = self.theater.journal.release(move || {
                    committed.fetch_max(upto, Ordering::Release);
                    key.into_iter().for_each(|request| request.end());
                    to.give(answer);
                });
            }
            reply => self.theater.give(reply, answer),
        }
    }

    /// Keeps the reply to a call whose answer was put off. A client that went with an earlier process waits for nothing.
    pub(super) fn put_off(&self, PutOff { token, is_http, is_owed }: PutOff, reply: Reply) {
        if is_owed || !matches!(reply, Reply::Nobody) {
            self.theater.deferrals.put(self.actor.id, token, reply, is_http);
        }
    }

    /// Tells everyone who waits for an answer that the actor has put off that it will not come.
    pub(super) fn refuse_deferred(&self, answer: &Answer) {
        for reply in self.theater.deferrals.take_all(self.actor.id) {
            self.answer(reply, answer.clone());
        }
    }

    /// Gives an answer that rests on no event, because the runtime is being suspended.
    pub(super) fn answer_unrecorded(&self, reply: Reply, outcome: Outcome) {
        match reply {
            Reply::Outside { to, .. } => to.give(Answer { outcome, closing: None }),
            // An actor that waits is being suspended too. Dropping its reply tells it so.
            // An actor that does not wait finds the answer on this actor's chain after the next start, or asks again then.
            Reply::Actor { .. } | Reply::Later { .. } | Reply::Nobody => {}
        }
    }
}
