//! Failures of actors, as the supervisor keeps and reports them: how an actor failed last, how many of its restarts are
//! used up, why it is not restarted.

use std::time::Duration;

use super::Supervisor;
use crate::base::id::ActorId;
use crate::chain::data::FailureReason;
use crate::system::ActorStatus;
use crate::theater::tree::{Count, GivenUp, Input};

const UNRECORDED: &str = "its end could not be recorded, so the next start of the runtime brings it back";

impl Supervisor {
    /// Why `id` cannot be forgotten, if it or an actor below it has ended while its chain says that it is alive: the next
    /// start of the runtime would bring that actor back.
    pub(super) fn unrecorded(&self, id: ActorId) -> Option<String> {
        let registry = &self.theater.registry;
        let concerned = |one: ActorId| one == id || registry.is_descendant(one, id);
        let one = *self.actors.iter().find(|(one, actor)| actor.is_unrecorded && concerned(**one))?.0;
        let name = registry.info(one).map_or_else(String::new, |info| info.name);
        Some(format!(
            "actor {name} ({one}) cannot be forgotten: {UNRECORDED}; restart it and stop it, or start the runtime anew"
        ))
    }

    pub(super) fn note_failure(&mut self, id: ActorId, reason: FailureReason, detail: String) {
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.failure = Some(Box::new((reason, detail)));
        }
    }

    pub(super) fn clear_failure(&mut self, id: ActorId) {
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.failure = None;
        }
    }

    /// Marks an actor as failed that has no thread, and therefore could not report its failure itself.
    pub(super) fn died(&mut self, id: ActorId, reason: FailureReason, detail: String) {
        self.note_failure(id, reason, detail.clone());
        self.theater.registry.update(id, |entry| {
            entry.addresses.take();
            entry.status = ActorStatus::Failed { reason, detail };
        });
        self.decide(Input::Died(id));
    }

    /// Marks an actor from an earlier runtime as failed that does not run in this one. The restart policies of the
    /// actor and of its parent are not applied.
    pub(super) fn mark_left_out(&mut self, id: ActorId, why: String) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        actor.is_unrecorded = true;
        actor.failure = Some(Box::new((FailureReason::Interrupted, why.clone())));
        self.theater.registry.update(id, |entry| {
            entry.status = ActorStatus::Failed { reason: FailureReason::Interrupted, detail: why };
            entry.given_up = Some("the next start of the runtime brings it back".to_owned());
        });
        self.ring_for_root(id);
    }

    /// Answers the callers who stop an actor that does not run: an error if the next start of the runtime brings it back.
    pub(super) fn answer_stoppers(&mut self, id: ActorId) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        for stopper in actor.stoppers.take() {
            let lives_on_disk = || Err(format!("actor {id} does not run; {UNRECORDED}").into());
            stopper.give(if actor.unstarted.is_some() { lives_on_disk() } else { Ok(None) });
        }
    }

    /// Logs that a failed actor will be restarted.
    pub(super) fn announce_restart(&mut self, id: ActorId, after: Duration, Count { used, allowed, within }: Count) {
        let Some(actor) = self.actors.get(&id) else { return };
        let name = self.theater.registry.shown_name(id).unwrap_or_default();
        let (wait, within) = (after.as_millis(), within.as_millis());
        log::warn!("actor {name} is restarted in {wait} ms: {used} of {allowed} restarts within {within} ms are used");
        if actor.thread.is_none() {
            self.theater.registry.update(id, |entry| entry.status = ActorStatus::Restarting);
        }
    }

    /// Logs that a failed actor will not be restarted, and shows why in its status.
    pub(super) fn gave_up(&mut self, id: ActorId, why: GivenUp) {
        let Some(actor) = self.actors.get(&id) else { return };
        // If the thread ended without an order, it has logged the reason itself.
        if why != GivenUp::ThreadEnded {
            let name = self.theater.registry.shown_name(id).unwrap_or_default();
            log::warn!("actor {name} is not restarted: {why}");
        }
        let failure = self.failure_by_limit(id, why).or_else(|| actor.failure.as_deref().cloned());
        self.theater.registry.update(id, |entry| {
            entry.given_up = Some(why.to_string());
            // The status still promises a restart. It changes here and not at the actor's end, because the actors below
            // it may take a while to end first.
            if let (ActorStatus::Restarting, Some((reason, detail))) = (&entry.status, failure) {
                entry.status = ActorStatus::Failed { reason, detail };
            }
        });
        self.ring_for_root(id);
    }

    /// The failure of a root that was restarted too often: `restarts`. For other actors this is `None`, because their
    /// parent fails for that reason instead.
    pub(super) fn failure_by_limit(&self, id: ActorId, why: GivenUp) -> Option<(FailureReason, String)> {
        let (reason, detail) = self.actors.get(&id)?.failure.as_deref()?;
        let GivenUp::TooMany { is_root: true, .. } = why else { return None };
        Some((FailureReason::Restarts, format!("{why}; it failed last by {reason}: {detail}")))
    }

    /// Settles the end of an actor that has no thread: answers the callers who wait for it, and corrects its status.
    pub(super) fn gone(&mut self, id: ActorId) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let why = match actor.unstarted.take() {
            Some(_) => "it does not run, since the machine had no room or no thread for it",
            None => "its thread has died",
        };
        actor.is_unrecorded = self.theater.registry.entry(id, |entry| entry.has_begun) == Some(true);
        for stopper in actor.stoppers.take() {
            stopper.give(if actor.is_unrecorded {
                Err(format!("actor {id}: {why}; {UNRECORDED}").into())
            } else {
                Ok(None)
            });
        }
        let failure = actor.failure.as_deref().cloned();
        self.theater.registry.update(id, |entry| {
            if entry.status.is_alive() {
                let failed = |(reason, detail)| ActorStatus::Failed { reason, detail };
                entry.status = failure.map_or(ActorStatus::Stopped, failed);
            }
        });
        self.ring_for_root(id);
        self.disappoint_restarters(id);
        self.refuse_upgrade(id, why);
    }
}
