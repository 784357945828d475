//! What is kept and said of failures: how an actor failed last, how many of its restarts are used, why there is none.

use std::time::Duration;

use super::Supervisor;
use crate::base::id::ActorId;
use crate::chain::data::FailureReason;
use crate::system::ActorStatus;
use crate::theater::tree::{Count, GivenUp, Input};

const UNRECORDED: &str = "its end could not be recorded, so the next start of the runtime brings it back";

impl Supervisor {
    /// What is in the way of forgetting `id`: an actor, of it and all below it, that is dead, and lives on disk.
    pub(super) fn unrecorded(&self, id: ActorId) -> Option<String> {
        let registry = &self.theater.registry;
        let concerned = |one: ActorId| one == id || registry.is_descendant(one, id);
        let one = *self.actors.iter().find(|(one, actor)| actor.is_unrecorded && concerned(**one))?.0;
        let name = registry.info(one).map_or_else(String::new, |info| info.name);
        Some(format!(
            "actor {name} ({one}) cannot be forgotten: {UNRECORDED}; restart it and stop it, or start the runtime anew"
        ))
    }

    pub(super) fn failed(&mut self, id: ActorId, reason: FailureReason, detail: String) {
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.failure = Some((reason, detail));
        }
    }

    pub(super) fn has_not_failed(&mut self, id: ActorId) {
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.failure = None;
        }
    }

    /// It has no thread, and could not say so itself: it has failed.
    pub(super) fn died(&mut self, id: ActorId, reason: FailureReason, detail: String) {
        self.failed(id, reason, detail.clone());
        self.theater.registry.update(id, |entry| {
            entry.addresses.clear();
            entry.status = ActorStatus::Failed { reason, detail };
        });
        self.decide(Input::Died(id));
    }

    /// It is there, and does not run since the runtime was started.
    pub(super) fn is_left_out(&mut self, id: ActorId, why: String) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        actor.is_unrecorded = true;
        actor.failure = Some((FailureReason::Interrupted, why.clone()));
        self.theater.registry.update(id, |entry| {
            entry.status = ActorStatus::Failed { reason: FailureReason::Interrupted, detail: why };
            entry.given_up = Some("the next start of the runtime brings it back".to_owned());
        });
    }

    /// Whoever stops an actor that does not run is told whether that is the last of it.
    pub(super) fn had_stopped(&mut self, id: ActorId) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        for stopper in actor.stoppers.drain(..) {
            let lives_on_disk = || Err(format!("actor {id} does not run; {UNRECORDED}").into());
            stopper.give(if actor.unstarted.is_some() { lives_on_disk() } else { Ok(None) });
        }
    }

    /// What a person is told of a failure that leads to a restart.
    pub(super) fn is_to_be_restarted(&mut self, id: ActorId, after: Duration, Count { used, allowed, within }: Count) {
        let Some(actor) = self.actors.get(&id) else { return };
        let (name, wait, within) = (&actor.spec.manifest.name, after.as_millis(), within.as_millis());
        log::warn!("actor {name} is restarted in {wait} ms: {used} of {allowed} restarts within {within} ms are used");
        if actor.thread.is_none() {
            self.theater.registry.update(id, |entry| entry.status = ActorStatus::Restarting);
        }
    }

    /// What a person is told of a failure that leads to none.
    pub(super) fn gave_up(&mut self, id: ActorId, why: GivenUp) {
        let Some(actor) = self.actors.get(&id) else { return };
        // A thread that ends unasked has said why.
        if why != GivenUp::ThreadEnded {
            log::warn!("actor {} is not restarted: {why}", actor.spec.manifest.name);
        }
        let failure = self.failure_by_limit(id, why).or_else(|| actor.failure.clone());
        self.theater.registry.update(id, |entry| {
            entry.given_up = Some(why.to_string());
            // It waited for a restart; what is below it may take a while to end.
            if let (ActorStatus::Restarting, Some((reason, detail))) = (&entry.status, failure) {
                entry.status = ActorStatus::Failed { reason, detail };
            }
        });
    }

    /// A root that failed once too often has failed for that reason: nobody above it does.
    pub(super) fn failure_by_limit(&self, id: ActorId, why: GivenUp) -> Option<(FailureReason, String)> {
        let (reason, detail) = self.actors.get(&id)?.failure.as_ref()?;
        let GivenUp::TooMany { is_root: true, .. } = why else { return None };
        Some((FailureReason::Restarts, format!("{why}; it failed last by {reason}: {detail}")))
    }

    /// An actor without a thread has ended.
    pub(super) fn gone(&mut self, id: ActorId) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let why = match actor.unstarted.take() {
            Some(_) => "it does not run, since the machine had no room or no thread for it",
            None => "its thread has died",
        };
        actor.is_unrecorded = self.theater.registry.entry(id, |entry| entry.has_begun) == Some(true);
        for stopper in actor.stoppers.drain(..) {
            stopper.give(if actor.is_unrecorded {
                Err(format!("actor {id}: {why}; {UNRECORDED}").into())
            } else {
                Ok(None)
            });
        }
        let failure = actor.failure.clone();
        self.theater.registry.update(id, |entry| {
            if entry.status.is_alive() {
                let failed = |(reason, detail)| ActorStatus::Failed { reason, detail };
                entry.status = failure.map_or(ActorStatus::Stopped, failed);
            }
        });
        self.is_over(id);
    }
}
