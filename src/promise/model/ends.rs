//! How an incarnation of the model ends: it fails, or it obeys an order to end.

use super::actors::{At, Given, Mail, Ordered};
use super::runtime::{ModelRuntime, More};
use crate::chain::Link;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Failed, FailureReason, Stopped, StoppedBy};
use crate::guest::wit::ChildEventKind;
use crate::journal::Cause;
use crate::promise::REQUEST;
use crate::system::{ActorFailure, Answer, Outcome, WaitId};

impl ModelRuntime {
    pub(super) fn promised(&self, i: usize) -> Option<Cause> {
        match &self.actors[i].at {
            At::Awaiting(open) | At::Decided { open, .. } if open.function.full == REQUEST.full => {
                Some(Cause::from(&open.intent))
            }
            _ => None,
        }
    }

    pub(super) fn held(&self, i: usize) -> Option<WaitId> {
        match &self.actors[i].at {
            At::Awaiting(open) | At::Decided { open, .. } => Some(self.replies[open.reply].wait),
            At::Recorded { wait } => Some(*wait),
            _ => None,
        }
    }

    pub(super) fn fail(&mut self, i: usize, reason: FailureReason) {
        let for_good = !self.actors[i].was_up || self.rng.one_in(2);
        let detail = String::from("it failed");
        let dropped: Vec<Mail> = if for_good { self.drain(i) } else { Vec::new() };
        let kind = ChildEventKind::Failed(format!("{reason}: {detail}"));
        let owes = self.notice(i, &kind);
        let more = More { owes, settles: self.settled(&dropped, self.promised(i)), ends: for_good };
        let failed = Failed { detail: detail.clone(), reason, dropped: causes(&dropped) };
        let held = self.held(i);
        let closing = self.record(i, "failed", failed.to_cbor(), more);
        held.into_iter().for_each(|wait| self.waits.end(wait));
        self.tell(i, owes, kind, &closing);
        let work = self.actors[i].work.take();
        self.refuse(dropped, "failed", &closing);
        if for_good || !self.actors[i].was_up {
            self.not_up(i, "it failed");
        }
        let then = if for_good {
            self.end_children(i);
            At::Ended
        } else {
            // An order to stop stays in force.
            self.actors[i].order = self.actors[i].order.take().filter(|order| !order.cycle);
            self.not_up(i, "it failed");
            At::Down
        };
        if for_good {
            let outcome = Outcome::Failed(ActorFailure::new(FailureReason::Trap, "it failed"));
            self.nothing_later(i, &Answer { outcome, closing: Some(closing.clone()) });
            self.ended_for_good(i, closing.clone(), Some(format!("{reason}: {detail}")));
            self.stopped(i, Some(closing.clone()));
        }
        let answer = Given::Answer(Answer {
            outcome: Outcome::Failed(ActorFailure::new(FailureReason::Trap, "it failed")),
            closing: Some(closing),
        });
        let reply = work.and_then(|work| work.reply);
        self.actors[i].at = At::Closed { reply, answer, is_enqueued: true, then: Box::new(then) };
    }

    pub(super) fn drain(&mut self, i: usize) -> Vec<Mail> {
        let actor = &mut self.actors[i];
        actor.notices.drain(..).chain(actor.mail.drain(..)).collect()
    }

    pub(super) fn refuse(&mut self, dropped: Vec<Mail>, why: &str, closing: &Link) {
        for reply in dropped.into_iter().filter_map(|mail| mail.reply) {
            self.waits.end(self.replies[reply].wait);
            let answer = Answer { outcome: Outcome::Dropped(why.into()), closing: Some(closing.clone()) };
            self.replies[reply].given = Some(Given::Answer(answer));
        }
    }

    pub(super) fn end_children(&mut self, i: usize) {
        for child in 0..self.actors.len() {
            if self.actors[child].parent == Some(i) && self.actors[child].takes() {
                self.actors[child].order = Some(Ordered { cycle: false, by: StoppedBy::Supervisor, cause: None });
            }
        }
    }

    pub(super) fn stopped(&mut self, i: usize, closing: Option<Link>) {
        for reply in std::mem::take(&mut self.actors[i].stoppers) {
            self.waits.end(self.replies[reply].wait);
            self.replies[reply].given = Some(Given::Changed(closing.clone()));
        }
    }

    pub(super) fn end_as_ordered(&mut self, i: usize) -> bool {
        let Some(Ordered { cycle, by, cause }) = self.actors[i].order.clone() else { return false };
        let (held, promised) = (self.held(i), self.promised(i));
        let reply = self.actors[i].work.take().and_then(|work| work.reply);
        let answer = Given::Answer(Answer { outcome: Outcome::Stopped, closing: None });
        if !cycle {
            // The end is recorded later. The sender that waits is told now, and its own event settles the wait.
            self.end_children(i);
            let then = At::Ending { by, cause, held, promised };
            self.actors[i].at = At::Closed { reply, answer, is_enqueued: self.ends_waits_early, then: Box::new(then) };
            return true;
        }
        let owes = self.notice(i, &ChildEventKind::Stopped);
        let stopped = Stopped { by, cause, dropped: Vec::new() };
        let more = More { owes, settles: promised.into_iter().collect(), ends: false };
        let closing = self.record(i, "stopped", stopped.to_cbor(), more);
        held.into_iter().for_each(|wait| self.waits.end(wait));
        self.tell(i, owes, ChildEventKind::Stopped, &closing);
        self.actors[i].order = None;
        self.actors[i].at = At::Closed { reply, answer, is_enqueued: true, then: Box::new(At::Down) };
        true
    }

    pub(super) fn end_for_good(
        &mut self,
        i: usize,
        (by, cause): (StoppedBy, Option<Link>),
        held: Option<WaitId>,
        promised: Option<Cause>,
    ) -> bool {
        if self.actors.iter().any(|other| other.parent == Some(i) && !matches!(other.at, At::Ended)) {
            return false;
        }
        let dropped = self.drain(i);
        let owes = self.notice(i, &ChildEventKind::Stopped);
        let more = More { owes, settles: self.settled(&dropped, promised), ends: true };
        let stopped = Stopped { by, cause, dropped: causes(&dropped) };
        let closing = self.record(i, "stopped", stopped.to_cbor(), more);
        held.into_iter().for_each(|wait| self.waits.end(wait));
        self.tell(i, owes, ChildEventKind::Stopped, &closing);
        self.refuse(dropped, "was stopped", &closing);
        self.not_up(i, "stopped before it was up");
        self.nothing_later(i, &Answer { outcome: Outcome::Stopped, closing: None });
        self.ended_for_good(i, closing.clone(), None);
        self.stopped(i, Some(closing));
        self.actors[i].order = None;
        self.actors[i].at = At::Ended;
        true
    }

    /// What an end settles: the deliveries that it drops, unless the row is their sender's own, and what was promised.
    fn settled(&self, dropped: &[Mail], promised: Option<Cause>) -> Vec<Cause> {
        let owed = dropped.iter().filter(|mail| !self.is_later(mail.reply));
        owed.map(|mail| Cause::from(&mail.cause)).chain(promised).collect()
    }
}

fn causes(dropped: &[Mail]) -> Vec<Option<Link>> {
    dropped.iter().map(|mail| Some(mail.cause.clone())).collect()
}
