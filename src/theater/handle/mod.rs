//! What an embedder asks of a running theater: the methods of [`TheaterHandle`].
//!
//! The management server and the command line use these methods too. A lifecycle change goes to the supervisor, and its
//! answer is given once the change is on disk.

mod ask;
mod cursor;
mod describe;
mod follow;
mod health;
mod history;
mod letters;
pub(crate) mod measure;
mod proofs;
mod signing;
mod table;

pub(crate) use cursor::{Kinds, Members};
pub use describe::{ActorDescription, ChildBrief, GrantedHandler, OwedCall, PastFailure, RestartRules};
pub use follow::{EventStream, EventsOf, FollowedEvent};
pub(crate) use health::HealthCheck;
pub use history::{ActorState, ReadError};
pub use signing::{CheckpointSigner, SigningError, new_signing_key};
pub use table::TableRow;

use crate::base::fail;
use crate::base::id::ActorId;
use crate::base::one_shot::OneReceiver;
use crate::handlers;
use crate::journal::{JournalDown, Record};
use crate::manifest::{ActorSource, ManifestChanges};
use crate::system::{
    ActorInfo, Asked, DryRun, ForkRequest, LifecycleError, NotFound, Picker, SpawnRequest, TheaterHandle,
    UpgradeRequest,
};

/// The answer to a lifecycle change. If the supervisor is gone, the runtime has ended or is ending.
fn answer<T>(answer: &OneReceiver<Result<T, LifecycleError>>) -> Result<T, LifecycleError> {
    answer.receive().unwrap_or(Err(LifecycleError::ShuttingDown))
}

impl TheaterHandle {
    /// Starts an actor and waits until its `init` has returned and is on disk.
    ///
    /// # Errors
    ///
    /// [`LifecycleError::Manifest`] if the manifest or the component is wrong; nothing was started then.
    /// [`LifecycleError::Failed`] if `init` refused or failed. [`LifecycleError::Refused`] if the machine has no room.
    /// [`LifecycleError::DiskLow`] if the disk is nearly full.
    pub fn start(&self, source: impl Into<ActorSource>) -> Result<ActorId, LifecycleError> {
        self.journal.has_room()?;
        let asked = self.control.spawn(SpawnRequest { manifest: source.into(), parentage: None });
        self.once_on_disk(answer(&asked).map(|spawned| spawned.id))
    }

    /// Starts a new root actor called `name` from the state that the actor `id` had after its event `at`, and waits until
    /// it is up. The new actor runs what the actor `id` ran there, or what `source` says.
    ///
    /// # Errors
    ///
    /// As [`TheaterHandle::start`]; and [`LifecycleError::Refused`] if there is no event `at`, or if the state there
    /// cannot be computed again.
    pub fn fork(
        &self,
        id: ActorId,
        at: u64,
        name: &str,
        source: Option<ActorSource>,
    ) -> Result<ActorId, LifecycleError> {
        self.fork_changed(id, at, name, source, ManifestChanges::default())
    }

    /// Like [`TheaterHandle::fork`], with these changes of the manifest.
    pub(crate) fn fork_changed(
        &self,
        id: ActorId,
        at: u64,
        name: &str,
        manifest: Option<ActorSource>,
        changes: ManifestChanges,
    ) -> Result<ActorId, LifecycleError> {
        let actor = self.key(id).ok_or(LifecycleError::NoSuchActor(id))?;
        self.journal.has_room()?;
        let asked = self.control.fork(ForkRequest { actor, at, name: name.to_owned(), manifest, changes });
        self.once_on_disk(answer(&asked).map(|spawned| spawned.id))
    }

    /// Stops an actor and all actors below it, and waits until they have ended. An actor that has ended is left as it is.
    ///
    /// # Errors
    ///
    /// [`LifecycleError::NoSuchActor`]; [`LifecycleError::Refused`] if the end could not be recorded, or if the actor, or
    /// one below it, waits for the host function of a [`crate::Handler`] that asks for this.
    pub fn stop(&self, id: ActorId) -> Result<(), LifecycleError> {
        self.refuse_circle(id)?;
        self.once_on_disk(answer(&self.control.stop(id, Asked::BY_OPERATOR)).map(drop))
    }

    /// Starts an actor again, after stopping it if it runs, and waits until it is up. Its chain goes on in a new
    /// incarnation.
    ///
    /// # Errors
    ///
    /// As [`TheaterHandle::start`]; and [`LifecycleError::Refused`] if the actor is starting or ending already, or as
    /// [`TheaterHandle::stop`].
    pub fn restart(&self, id: ActorId) -> Result<(), LifecycleError> {
        self.refuse_circle(id)?;
        self.once_on_disk(answer(&self.control.restart(id, Asked::BY_OPERATOR)).map(drop))
    }

    /// Lets an actor go on with another manifest and component, between two calls: its id, its history and its state stay, and
    /// so does all that waits for it or that it waits for. Waits until it is up with them. Without `source`, the manifest file
    /// that the actor was started from is read again. An actor that has ended begins again.
    ///
    /// If the new component exports `migrate`, it makes the new state of the old one. If it refuses or fails, the actor goes on as
    /// before.
    ///
    /// # Errors
    ///
    /// [`LifecycleError::Manifest`] if the manifest or the component is wrong; [`LifecycleError::Refused`] if the actor cannot
    /// be upgraded now, if a listener cannot be started, or if `migrate` refused or failed. The actor goes on as before.
    pub fn upgrade(&self, id: ActorId, source: Option<ActorSource>) -> Result<(), LifecycleError> {
        let actor = self.key(id).ok_or(LifecycleError::NoSuchActor(id))?;
        self.refuse_circle(id)?;
        self.journal.has_room()?;
        let has_ended = self.actor(id).is_some_and(|actor| !actor.status.is_alive());
        let asked = self.control.upgrade(UpgradeRequest { actor, manifest: source });
        let upgraded = self.once_on_disk(answer(&asked).map(drop));
        // An upgrade that is taken back leaves the actor as it was: ended.
        if upgraded.is_err() && has_ended && self.actor(id).is_some_and(|actor| actor.status.is_alive()) {
            self.stop(id)?;
        }
        upgraded
    }

    /// Whether an actor has been started from another manifest or component than lie on disk now.
    pub(crate) fn is_outdated(&self, id: ActorId) -> bool {
        let common = self.registry.entry(id, |entry| std::sync::Arc::clone(&entry.common));
        common.is_some_and(|common| common.started_from.is_outdated())
    }

    /// What an upgrade would change: the newest recorded calls of the actor, at most `last` of them, are made again under the new
    /// build. The actor is not touched, and nothing has an effect: host calls are answered from the record, each by its
    /// function, its parameters, and how often it was made before.
    ///
    /// # Errors
    ///
    /// [`LifecycleError::Manifest`] as in [`TheaterHandle::upgrade`]; [`LifecycleError::Refused`] if the recorded calls cannot be
    /// executed again.
    pub fn dry_run(&self, id: ActorId, source: Option<ActorSource>, last: u64) -> Result<DryRun, LifecycleError> {
        let actor = self.key(id).ok_or(LifecycleError::NoSuchActor(id))?;
        self.control.dry_run(UpgradeRequest { actor, manifest: source }, last)
    }

    /// Removes an actor that has ended, and all actors below it, from the list of actors, also at later starts. Their
    /// histories stay in the journal.
    ///
    /// # Errors
    ///
    /// [`LifecycleError::NoSuchActor`], also if the actor was forgotten before; [`LifecycleError::Refused`] if one of them
    /// has not ended.
    pub fn forget(&self, id: ActorId) -> Result<(), LifecycleError> {
        let _no_pause_meanwhile = self.pauses.lock();
        self.key(id).ok_or(LifecycleError::NoSuchActor(id))?;
        // The actors at the bottom of the tree come first. So if a crash interrupts this, every actor that is still
        // listed has a parent that is listed.
        for actor in answer(&self.control.forget(id))?.into_iter().rev() {
            // The next start would try an actor again that has failed before it was up again: it is marked as ended first.
            for record in [Record::Ended(actor), Record::Forgotten(actor)] {
                self.journal.enqueue(record)?;
            }
        }
        self.once_on_disk(Ok(()))
    }

    /// Pauses an actor: it finishes the call that it works on, and takes nothing more until it is [resumed](TheaterHandle::resume).
    /// What comes for it meanwhile waits, within the bounds of its mailbox: messages, requests, timers, the ends of actors that it
    /// monitors. The actors below it go on. The pause outlives restarts, upgrades and starts of the runtime. Says whether the actor
    /// was not paused before.
    ///
    /// # Errors
    ///
    /// [`LifecycleError::NoSuchActor`]; [`LifecycleError::Refused`] if the actor has ended.
    pub fn pause(&self, id: ActorId) -> Result<bool, LifecycleError> {
        let one_at_a_time = self.pauses.lock();
        let actor = self.key(id).ok_or(LifecycleError::NoSuchActor(id))?;
        let info = self.actor(id).ok_or(LifecycleError::NoSuchActor(id))?;
        if !info.status.is_alive() && !info.paused {
            let why = "has ended: only an actor that lives can be paused";
            return Err(LifecycleError::Refused(format!("actor {} ({id}) {why}", info.name)));
        }
        let is_new = self.registry.set_paused(id, true).ok_or(LifecycleError::NoSuchActor(id))?;
        fail::point("pausing");
        if is_new {
            self.journal.enqueue(Record::Paused { actor, is_paused: true })?;
        }
        drop(one_at_a_time);
        fail::point("pause-enqueued");
        let paused = self.once_on_disk(Ok(is_new));
        fail::point("pause-committed");
        paused
    }

    /// Resumes an actor that was paused: it takes what has waited, in the order in which it came. Says whether it was paused.
    ///
    /// # Errors
    ///
    /// [`LifecycleError::NoSuchActor`].
    pub fn resume(&self, id: ActorId) -> Result<bool, LifecycleError> {
        let one_at_a_time = self.pauses.lock();
        let actor = self.key(id).ok_or(LifecycleError::NoSuchActor(id))?;
        let was_paused = self.actor(id).is_some_and(|info| info.paused);
        fail::point("resuming");
        if was_paused {
            // Before everything that the actor does from here on.
            self.journal.enqueue(Record::Paused { actor, is_paused: false })?;
            fail::point("resume-enqueued");
            self.registry.set_paused(id, false);
        }
        drop(one_at_a_time);
        let resumed = self.once_on_disk(Ok(was_paused));
        fail::point("resume-committed");
        resumed
    }

    /// Every listed actor, alive or not, in the order in which they came.
    pub fn actors(&self) -> Vec<ActorInfo> {
        self.registry.list()
    }

    /// One actor, or none if no listed actor has this id.
    pub fn actor(&self, id: ActorId) -> Option<ActorInfo> {
        self.registry.info(id)
    }

    /// The actor that `text` names: its path (`ledger/alice`), its id, its name, or the beginning of id or name. Of several that fit equally well, the
    /// one that is alive is meant.
    ///
    /// # Errors
    ///
    /// [`NotFound`] if no actor fits, or several do.
    pub fn find(&self, text: &str) -> Result<ActorInfo, NotFound> {
        const LOOKED_AT_ONCE: usize = 1_000;
        if text.contains('/')
            && let Some(info) = self.registry.resolve(text).ok().and_then(|id| self.registry.info(id))
        {
            return Ok(info);
        }
        let mut picker = Picker::new(text);
        let mut from = 0;
        loop {
            let page = self.actors_from(from, LOOKED_AT_ONCE);
            let Some((last, _)) = page.last() else { return picker.pick() };
            from = last + 1;
            for (_, info) in page {
                let (id, name, alive) = (info.id.to_string(), info.name.clone(), info.status.is_alive());
                let label = info.label.clone();
                let label = label.as_deref();
                let is_root = info.parent.is_none();
                picker.offer(&crate::system::Candidate { id: &id, name: &name, label, is_root, alive }, || info);
            }
        }
    }

    /// The children of an actor, in the order in which they were spawned; none for an actor that is not listed.
    pub fn children(&self, id: ActorId) -> Vec<ActorId> {
        self.registry.children(id)
    }

    /// Ends the runtime: every actor is suspended where it is, and goes on at the next start. It does not wait;
    /// [`crate::TheaterRuntime::shutdown`] does.
    pub fn shutdown(&self) {
        self.control.shutdown();
    }

    /// Refuses to wait for the end of `id` in a host function that `id`, or an actor below it, waits for.
    fn refuse_circle(&self, id: ActorId) -> Result<(), LifecycleError> {
        let Some(caller) = handlers::caller() else { return Ok(()) };
        let mut above = Some(caller);
        while let Some(actor) = above {
            if actor == id {
                let why = format!(
                    "actor {caller} waits for this host function, so the function cannot wait for the end of {id}"
                );
                return Err(LifecycleError::Refused(format!("{why}; ask for it on another thread")));
            }
            above = self.registry.info(actor).and_then(|info| info.parent);
        }
        Ok(())
    }

    /// Gives `answer` once everything that was recorded so far is on disk.
    fn once_on_disk<T>(&self, answer: Result<T, LifecycleError>) -> Result<T, LifecycleError> {
        match self.journal.flush() {
            Ok(()) => answer,
            // A runtime that ends closes its journal.
            Err(JournalDown) if self.registry.is_suspending() => Err(LifecycleError::ShuttingDown),
            Err(JournalDown) => Err(JournalDown.into()),
        }
    }
}
