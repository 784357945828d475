//! The admission of actors: a new actor, or one from an earlier runtime, is registered if the machine and its parent have
//! room for it, and listed if it does not run.

use std::sync::Arc;

use super::threads::{First, Unstarted};
use super::{Supervised, Supervisor};
use crate::actor::{Again, Beginning, Sleeper, SleptAt};
use crate::base::clock;
use crate::base::id::{ActorId, Incarnation};
use crate::base::metrics::EntryMetrics;
use crate::base::rare::Rare;
use crate::chain::StateChain;
use crate::chain::data::StartReason;
use crate::guest::wit::ChildEventKind;
use crate::manifest::RestartPolicy;
use crate::system::{
    ActorEntry, ActorStatus, Delivery, Lane, LifecycleError, Mailbox, MailboxOwner, Restored, StopSignal,
};
use crate::theater::command::{Comeback, FormerLife, Newborn};
use crate::theater::machine_budget::Cost;
use crate::theater::tree::{GivenUp, Input};

/// An actor that is registered and has no thread yet.
struct Registered {
    id: ActorId,
    mailbox: MailboxOwner,
    first: First,
    /// Whether its cost was taken out of the budget; else it waits for room.
    has_room: bool,
    /// Why the actor does not run now though it is registered: it is from an earlier runtime, and this machine has no room
    /// for it.
    left_out: Option<String>,
}

impl Supervisor {
    /// Registers all actors from an earlier runtime before any of them runs, so that an actor that asks for another one
    /// finds it.
    pub(super) fn recover(&mut self, newborns: Vec<(Newborn, Comeback)>, owed: Vec<(ActorId, Lane, Delivery)>) {
        let mut ready = Vec::new();
        for (newborn, comeback) in newborns {
            let parent_runs = newborn.parent.is_none_or(|parent| self.tree.takes_children(parent));
            match comeback {
                Comeback::Sleeps(at) if parent_runs && !self.suspending => self.put_to_bed(newborn, at),
                Comeback::Runs | Comeback::Sleeps(_) => ready.extend(self.admit(newborn)),
                Comeback::Listed(status) => self.list(newborn, status),
            }
        }
        for (to, lane, delivery) in owed {
            let function = delivery.function.full;
            match self.theater.registry.restore(to, lane, delivery) {
                Restored::Settled => {}
                Restored::KeptAside => log::warn!(
                    "actor {to} is owed a delivery to {function}, which it does not export now: it is kept until the \
                     actor exports that at a later start, or ends"
                ),
                Restored::NobodyThere => {
                    log::warn!("actor {to}, which could not be started, is owed a delivery: it waits in the journal");
                }
            }
        }
        ready.into_iter().for_each(|registered| self.start(registered));
    }

    pub(super) fn spawn(&mut self, newborn: Newborn) {
        if let Some(registered) = self.admit(newborn) {
            self.start(registered);
        }
    }

    /// Registers an actor that is to run. If there is no room for a new actor, the caller who waits for it is told why; if
    /// there is none for an actor from an earlier runtime, that actor is registered all the same, and is left out.
    fn admit(&mut self, mut newborn: Newborn) -> Option<Registered> {
        let has_lived = newborn.again.is_some();
        let mut has_room = true;
        let refusal = if self.suspending {
            Some(LifecycleError::ShuttingDown)
        } else if newborn.parent.is_some_and(|parent| !self.tree.takes_children(parent)) {
            Some(if has_lived { "its parent does not run" } else { "the parent is ending" }.into())
        } else if let Some(taken) = (!has_lived).then(|| self.name_is_taken(&newborn)).flatten() {
            Some(taken.into())
        } else {
            let spent = self.budget.spend(Cost::of(newborn.spec.manifest.reuse));
            has_room = spent.is_ok();
            spent.err().filter(|_| !self.may_become_room()).map(LifecycleError::from)
        };
        let is_left_out = refusal.is_some() && has_lived && !self.suspending;
        let (left_out, refusal) =
            if is_left_out { (refusal.map(|why| why.to_string()), None) } else { (None, refusal) };
        if let Some(why) = refusal {
            if let Some(reply) = newborn.reply.take() {
                reply.answer(&self.theater.registry, Err(why));
            }
            return None;
        }
        let (id, parent) = (newborn.actor.id, newborn.parent);
        let supervision = newborn.spec.manifest.supervision;
        let mailbox = self.register(&newborn, ActorStatus::Starting);
        if has_room {
            self.note_awake(id);
        }
        let was_up = newborn.again.as_ref().is_some_and(|before| before.was_up);
        self.decide(match left_out {
            None => Input::Spawned { id, parent, supervision, was_up },
            Some(_) => Input::Listed { id, parent, supervision, was_up },
        });
        if newborn.is_fork {
            self.decide(Input::Forked(id));
        }
        let Newborn { cause, is_fork, rows, again, reply, .. } = newborn;
        let first = match again {
            Some(before) => {
                let FormerLife { reason, from, incarnation, notice, open, successor, lately, .. } = before;
                self.decide(Input::Remembered { id, lately });
                let incarnation = incarnation.next();
                First::Again(Box::new(Again { reason, from, incarnation, reply, notice, cause, open, successor }))
            }
            None => First::Born(Box::new(Beginning {
                reason: if is_fork { StartReason::Fork } else { StartReason::Spawn },
                chain: StateChain::new(id),
                incarnation: Incarnation::FIRST,
                state: self.actors[&id].spec.init_state.clone(),
                run_init: !is_fork,
                migrates_from: None,
                successor: None,
                rows,
                cause,
                reply,
                notice: Some(ChildEventKind::Started),
                interrupted: false,
                open: None,
            })),
        };
        Some(Registered { id, mailbox, first, has_room, left_out })
    }

    /// Why a new actor cannot have its name, if a living one has it.
    fn name_is_taken(&self, Newborn { spec, parent, label, .. }: &Newborn) -> Option<String> {
        let registry = &self.theater.registry;
        match (parent, label) {
            (None, _) => {
                let (name, holder) = (&spec.manifest.name, registry.root_named(&spec.manifest.name)?);
                let remedy = "stop that one first, or give the manifest another name";
                Some(format!("a root actor called \"{name}\" is there already ({holder}): {remedy}"))
            }
            (Some(parent), Some(label)) => {
                let holder = registry.labelled(*parent, label)?;
                Some(format!("the label \"{label}\" is taken by actor {holder}"))
            }
            (Some(_), None) => None,
        }
    }

    fn start(&mut self, Registered { id, mailbox, first, has_room, left_out }: Registered) {
        let unstarted = self.unstarted(id, mailbox, first);
        match left_out {
            None => self.start_if(has_room, id, unstarted),
            Some(why) => self.leave_out(id, unstarted, why),
        }
    }

    /// Lists an actor from an earlier runtime as failed, because it does not run in this one. The actor keeps what it
    /// has: it can be restarted, and otherwise the next start of the runtime brings it back. The restart policies of
    /// the actor and of its parent are not applied, because they could end a whole family of actors for good only
    /// because the machine has little room today.
    fn leave_out(&mut self, id: ActorId, mut unstarted: Unstarted, why: String) {
        if let First::Again(again) = &mut unstarted.first
            && let Some(reply) = again.reply.take()
        {
            let left = format!("it is left as it was: {why}");
            reply.answer(&self.theater.registry, Err(left.into()));
        }
        self.mark_left_out(id, why);
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.unstarted = Some(unstarted);
        }
    }

    /// Registers an actor that slept when the runtime ended, or that has nothing to do now. It sleeps until it is roused: by
    /// one of its timers, for example.
    fn put_to_bed(&mut self, newborn: Newborn, at: SleptAt) {
        let (id, parent, is_fork) = (newborn.actor.id, newborn.parent, newborn.is_fork);
        let supervision = newborn.spec.manifest.supervision;
        let mailbox = self.register(&newborn, ActorStatus::Running);
        mailbox.fall_asleep();
        if newborn.spec.takes_timers().is_some() {
            self.theater.timers.sleep_until_due(id, mailbox.mailbox());
        }
        let Some(FormerLife { lately, began_ms, .. }) = newborn.again else { return };
        self.theater.registry.update(id, |entry| entry.since_ms = began_ms);
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.sleeper = Some(Box::new(Sleeper { mailbox: mailbox.rest(), at, is_called: false }));
            actor.stop = None;
        }
        self.decide(Input::Spawned { id, parent, supervision, was_up: true });
        if is_fork {
            self.decide(Input::Forked(id));
        }
        self.decide(Input::Remembered { id, lately });
        self.decide(Input::Up(id));
    }

    /// Registers an actor that does not run.
    fn list(&mut self, newborn: Newborn, status: ActorStatus) {
        let (id, parent) = (newborn.actor.id, newborn.parent);
        let supervision = newborn.spec.manifest.supervision;
        let is_temporary = supervision.restart == RestartPolicy::Temporary;
        let given_up = (is_temporary && matches!(status, ActorStatus::Failed { .. })).then_some(GivenUp::Temporary);
        drop(self.register(&newborn, status));
        self.theater.registry.update(id, |entry| {
            (entry.given_up, entry.ended_before) = (given_up.map(|why| why.to_string()), true);
        });
        let is_fork = newborn.is_fork;
        let (was_up, lately) = newborn.again.map(|before| (before.was_up, before.lately)).unwrap_or_default();
        self.decide(Input::Listed { id, parent, supervision, was_up });
        if is_fork {
            self.decide(Input::Forked(id));
        }
        self.decide(Input::Remembered { id, lately });
    }

    fn register(&mut self, newborn: &Newborn, status: ActorStatus) -> MailboxOwner {
        let Newborn { actor, spec, parent, label, before, again, .. } = newborn;
        let limits = &spec.manifest.limits;
        let (mailbox, owner) = Mailbox::new(limits.mailbox_deliveries, limits.mailbox_bytes);
        if again.as_ref().is_some_and(|before| before.is_paused) {
            mailbox.pause();
        }
        let stop = Some(Arc::new(StopSignal::new(owner.unparker())));
        self.theater.registry.add(ActorEntry {
            actor: *actor,
            common: spec.common_entry(),
            parent: *parent,
            label: label.clone(),
            children: Vec::new(),
            incarnation: again.as_ref().map_or(Incarnation::FIRST, |before| before.incarnation),
            status,
            has_begun: again.as_ref().is_some_and(|before| before.was_alive),
            ended: again.as_ref().and_then(|before| before.ended.clone()).map(Arc::new),
            ended_before: false,
            mailbox,
            addresses: Rare::default(),
            since_ms: clock::unix_ms(),
            metrics: EntryMetrics::default(),
            restarts: Rare::default(),
            given_up: None,
        });
        let supervised = Supervised {
            actor: *actor,
            spec: Arc::clone(spec),
            parent: *parent,
            stop,
            thread: None,
            sleeper: None,
            unstarted: None,
            before: before.clone(),
            upgrade: None,
            thread_number: 0,
            failure: None,
            is_unrecorded: false,
            stoppers: Rare::default(),
            restarters: Rare::default(),
        };
        self.actors.insert(actor.id, Box::new(supervised));
        owner
    }
}
