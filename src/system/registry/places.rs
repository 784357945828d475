//! Places for deliveries: finding an actor's mailbox, reserving a place in it, and putting back what an earlier process
//! had promised.

use std::sync::Arc;

use super::waiting::Wait;
use super::{Inner, Registry};
use crate::base::id::ActorId;
use crate::chain::Function;
use crate::system::answer::{Answer, Outcome};
use crate::system::delivery::Delivery;
use crate::system::mailbox::{Lane, Mailbox, Slot};
use crate::system::refusal::Refusal;
use crate::system::reply::Reply;
use crate::system::status::ActorStatus;

/// What became of a delivery that was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restored {
    /// It waits in the mailbox, or was answered.
    Settled,
    /// The receiver does not export the function. The mailbox keeps the delivery aside.
    KeptAside,
    /// The receiver is not alive.
    NobodyThere,
}

impl Registry {
    /// Reserves a place in the mailbox of `to` for a delivery that nobody inside the runtime will wait for.
    pub(crate) fn reserve(
        &self,
        to: ActorId,
        lane: Lane,
        function: &'static Function,
        bytes: usize,
    ) -> Result<Slot, Refusal> {
        let mailbox = self.0.read().mailbox_for(to, function)?;
        self.reserve_in(mailbox, to, lane, bytes)
    }

    /// Reserves a place for a message of another actor, whose chain is going to say that it was sent.
    pub(crate) fn reserve_for_actor(
        &self,
        from: ActorId,
        to: ActorId,
        function: &'static Function,
        bytes: usize,
    ) -> Result<Slot, Refusal> {
        let mailbox = self.0.read().mailbox_for_actors(from, to, function)?;
        self.reserve_in(mailbox, to, Lane::Mail, bytes)
    }

    /// Reserves a place for a request of `from`, and registers that `from` waits for `to`. Refused if the wait would
    /// close a circle of waits.
    pub(crate) fn begin_wait(
        self: &Arc<Self>,
        from: ActorId,
        to: ActorId,
        function: &'static Function,
        bytes: usize,
    ) -> Result<(Slot, Wait), Refusal> {
        let mut inner = self.0.write();
        let mailbox = inner.mailbox_for_actors(from, to, function)?;
        let begun = inner.begin(from, to);
        drop(inner);
        // If the mailbox has no place, the wait is dropped here, which ends it.
        let wait = Wait::new(self, begun?);
        Ok((self.reserve_in(mailbox, to, Lane::Mail, bytes)?, wait))
    }

    /// Reserves a place for a lifecycle notice, where the parent of `child` is alive and exports `function`.
    pub(crate) fn reserve_notice(&self, child: ActorId, function: &'static Function, bytes: usize) -> Option<Slot> {
        let inner = self.0.read();
        let parent = inner.actors.get(&inner.actors.get(&child)?.parent?)?;
        if !parent.status.is_alive() || !parent.exports.contains(function.full) {
            return None;
        }
        let (parent, mailbox) = (parent.actor.id, parent.mailbox.clone());
        drop(inner);
        self.reserve_in(mailbox, parent, Lane::Notice, bytes).ok()
    }

    /// Puts back a delivery that was promised before the runtime was started. A delivery that its receiver has no export for
    /// is kept aside, until the receiver ends and names it as dropped, or has the export at a later start.
    pub(crate) fn restore(&self, to: ActorId, lane: Lane, delivery: Delivery) -> Restored {
        let function = delivery.function.full;
        let living = self.entry(to, |entry| {
            entry.status.is_alive().then(|| (entry.mailbox.clone(), entry.exports.contains(function)))
        });
        match living.flatten() {
            Some((mailbox, true)) => {
                self.rouse(to, &mailbox);
                mailbox.restore(lane, delivery);
                Restored::Settled
            }
            Some((mailbox, false)) => match delivery.reply {
                Reply::Actor { wait, to: waiter } => {
                    let outcome = Outcome::Dropped(format!("does not export {function}"));
                    self.answer(wait, waiter, Answer { outcome, closing: None });
                    Restored::Settled
                }
                Reply::Later { to: asker } => {
                    let outcome = Outcome::Dropped(format!("does not export {function}"));
                    asker.give(Answer { outcome, closing: None });
                    Restored::Settled
                }
                Reply::Nobody | Reply::Outside { .. } => {
                    mailbox.keep_aside(delivery);
                    Restored::KeptAside
                }
            },
            None => Restored::NobodyThere,
        }
    }
}

impl Registry {
    /// Reserves a place in a mailbox, outside the registry's lock. An actor that is asleep is woken for it.
    fn reserve_in(&self, mailbox: Mailbox, to: ActorId, lane: Lane, bytes: usize) -> Result<Slot, Refusal> {
        match mailbox.reserve(to, lane, bytes) {
            Err(Refusal::Closed) => Err(Refusal::NotRunning(to, ActorStatus::Stopping.word())),
            Err(Refusal::Asleep) => self.rouse_and_reserve(to, lane, bytes),
            reserved => reserved,
        }
    }

    #[cold]
    fn rouse_and_reserve(&self, to: ActorId, lane: Lane, bytes: usize) -> Result<Slot, Refusal> {
        let mailbox = self.entry(to, |entry| entry.mailbox.clone()).ok_or(Refusal::Unknown(to))?;
        self.rouse(to, &mailbox);
        self.reserve_in(mailbox, to, lane, bytes)
    }
}

impl Inner {
    /// The mailbox of `to`, where it takes deliveries for `function`.
    fn mailbox_for(&self, to: ActorId, function: &'static Function) -> Result<Mailbox, Refusal> {
        if self.suspending {
            return Err(Refusal::Suspending);
        }
        let entry = self.actors.get(&to).ok_or(Refusal::Unknown(to))?;
        match entry.status {
            // A delivery that comes while the actor starts waits until `init` is over; one that comes while it restarts
            // waits until it has restarted.
            ActorStatus::Starting | ActorStatus::Running | ActorStatus::Restarting => {}
            ActorStatus::Stopping | ActorStatus::Stopped | ActorStatus::Failed { .. } => {
                return Err(Refusal::NotRunning(to, entry.status.word()));
            }
        }
        if !entry.exports.contains(function.full) {
            return Err(Refusal::NotExported(to, function.full));
        }
        Ok(entry.mailbox.clone())
    }

    /// The mailbox of `to` for what another actor's chain promises it. Before the receiver's chain says that the receiver
    /// lives, nobody can be sure that the receiver will be there after a crash.
    fn mailbox_for_actors(&self, from: ActorId, to: ActorId, function: &'static Function) -> Result<Mailbox, Refusal> {
        self.check_reachable(from, to)?;
        match self.actors.get(&to) {
            Some(entry) if !entry.has_begun => Err(Refusal::NotRunning(to, entry.status.word())),
            Some(_) | None => self.mailbox_for(to, function),
        }
    }
}
