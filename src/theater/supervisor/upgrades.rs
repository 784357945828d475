//! Upgrades, as the supervisor hands them to the threads of actors and hears what became of them.
//!
//! An actor takes an upgrade between two transitions, on its own thread. To the tree it is up all the while, also if the upgrade
//! is taken back. An actor that has ended begins again with its upgrade.

use std::sync::Arc;

use super::Supervisor;
use crate::actor::{Spec, Upgrade};
use crate::base::id::ActorId;
use crate::chain::data::StoppedBy;
use crate::system::LifecycleError;
use crate::theater::machine_budget::Cost;
use crate::theater::tree::Input;

impl Supervisor {
    /// Hands an upgrade to the actor's thread. An actor that sleeps is woken for it, one that has ended begins again.
    pub(super) fn upgrade(&mut self, id: ActorId, upgrade: Box<Upgrade>) {
        if let Some(why) = self.refuses_upgrade(id) {
            return upgrade.reply.answer(&self.theater.registry, Err(why));
        }
        let is_dead = self.tree.is_dead(id);
        let cost = Cost::of(upgrade.spec.manifest.reuse);
        let actor = self.actors.get_mut(&id).expect("it was looked for");
        let Some(thread) = actor.thread.as_ref() else {
            actor.upgrade = Some(upgrade);
            return match is_dead {
                true => self.decide(Input::Restart { id, by: StoppedBy::Operator, cause: None }),
                false => self.wake(id),
            };
        };
        // An instance that is kept between calls costs more.
        if let Err(why) = self.budget.has_room_for(thread.cost, cost) {
            return upgrade.reply.answer(&self.theater.registry, Err(why.into()));
        }
        if let Err(refused) = thread.upgrades.put(upgrade) {
            return refused.reply.answer(&self.theater.registry, Err(BEING_UPGRADED.into()));
        }
        actor.signal().knock();
    }

    /// Why an actor cannot be upgraded now.
    fn refuses_upgrade(&self, id: ActorId) -> Option<LifecycleError> {
        let Some(actor) = self.actors.get(&id) else { return Some(LifecycleError::NoSuchActor(id)) };
        let waits_already = || {
            let with_thread = actor.thread.as_ref().is_some_and(|thread| thread.upgrades.is_waited_in());
            with_thread || actor.upgrade.is_some()
        };
        if self.suspending {
            Some(LifecycleError::ShuttingDown)
        } else if waits_already() {
            Some(BEING_UPGRADED.into())
        } else if let Some(other) = self.successor_in_name(id) {
            let why = format!("actor {other} has its name now: stop that one first");
            Some(format!("actor {id} cannot be upgraded: {why}").into())
        } else if self.tree.is_to_end(id) {
            Some(format!("actor {id} cannot be upgraded: it is ending").into())
        } else {
            None
        }
    }

    /// The actor runs another build now. `before` is the one that it can go back to.
    pub(super) fn upgraded(&mut self, id: ActorId, spec: Arc<Spec>, before: Option<Arc<Spec>>) {
        let supervision = spec.manifest.supervision;
        let Some(actor) = self.actors.get_mut(&id) else { return };
        if let Some(thread) = &mut actor.thread {
            let before = std::mem::replace(&mut thread.cost, Cost::of(spec.manifest.reuse));
            self.budget.exchange(before, thread.cost);
        }
        (actor.spec, actor.before) = (spec, before);
        self.dormitory.forget(id);
        self.note_awake(id);
        self.decide(Input::Upgraded { id, supervision });
    }

    pub(super) fn disappoint_upgrader(&mut self, id: ActorId) {
        if self.tree.is_dead(id) {
            self.refuse_upgrade(id, "it has ended meanwhile");
        }
    }

    /// Tells the caller who waits for an upgrade why there is none.
    pub(super) fn refuse_upgrade(&mut self, id: ActorId, why: &str) {
        if let Some(upgrade) = self.actors.get_mut(&id).and_then(|actor| actor.upgrade.take()) {
            let why = format!("actor {id} was not upgraded: {why}");
            upgrade.reply.answer(&self.theater.registry, Err(why.into()));
        }
    }
}

const BEING_UPGRADED: &str = "the actor is being upgraded already: try again once that is done";
