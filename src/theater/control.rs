//! Lifecycle changes as others ask for them: what takes time (reading, compiling) is done here, on the asker's thread;
//! what is to be decided goes to the supervisor's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::fork::fork;
use super::supervisor::{Command, Newborn};
use crate::actor::{SpawnReply, Spec};
use crate::base::id::ActorId;
use crate::base::limits::ActorLimits;
use crate::chain::Link;
use crate::chain::data::StoppedBy;
use crate::guest::GuestEngine;
use crate::journal::{ActorKey, JournalHandle};
use crate::manifest::Manifest;
use crate::system::{Confinement, Control, ForkRequest, Registry, SpawnRequest, Spawned};

pub(super) struct Supervision {
    pub(super) engine: Arc<GuestEngine>,
    pub(super) commands: Sender<Command>,
    pub(super) journal: JournalHandle,
    pub(super) registry: Arc<Registry>,
    pub(super) actor_limits: ActorLimits,
}

impl Control for Supervision {
    fn spawn(&self, request: SpawnRequest) -> Receiver<Result<Spawned, String>> {
        let (to, answer) = bounded(1);
        let wait = request.parentage.as_ref().map(|parentage| (parentage.parent, parentage.wait));
        let reply = SpawnReply::new(to, wait);
        match self.load(&request) {
            Ok(spec) => {
                let id = request.parentage.as_ref().map_or_else(ActorId::random, |parentage| parentage.child);
                let newborn = Newborn {
                    actor: self.journal.new_actor(id),
                    spec: Arc::new(spec),
                    parent: request.parentage.as_ref().map(|parentage| parentage.parent),
                    cause: request.parentage.map(|parentage| parentage.cause),
                    is_fork: false,
                    again: None,
                    reply: Some(reply),
                };
                // Where the supervisor is gone the reply goes with the command, and whoever waits sees it.
                let _ = self.commands.send(Command::Spawn(Box::new(newborn)));
            }
            Err(why) => reply.answer(&self.registry, Err(why)),
        }
        answer
    }

    fn fork(&self, request: ForkRequest) -> Receiver<Result<Spawned, String>> {
        let (to, answer) = bounded(1);
        let reply = SpawnReply::new(to, None);
        match fork(self, request) {
            Ok((spec, origin)) => {
                let newborn = Newborn {
                    actor: self.journal.new_actor(ActorId::random()),
                    spec: Arc::new(spec),
                    parent: None,
                    cause: Some(origin),
                    is_fork: true,
                    again: None,
                    reply: Some(reply),
                };
                let _ = self.commands.send(Command::Spawn(Box::new(newborn)));
            }
            Err(why) => reply.answer(&self.registry, Err(why)),
        }
        answer
    }

    fn stop(&self, id: ActorId, by: StoppedBy, cause: Option<Link>) -> Receiver<Result<Option<Link>, String>> {
        let (reply, answer) = bounded(1);
        let _ = self.commands.send(Command::Stop { id, by, cause, reply });
        answer
    }

    fn restart(&self, id: ActorId, by: StoppedBy, cause: Option<Link>) -> Receiver<Result<Option<Link>, String>> {
        let (reply, answer) = bounded(1);
        let _ = self.commands.send(Command::Restart { id, by, cause, reply });
        answer
    }

    fn forget(&self, id: ActorId) -> Receiver<Result<Vec<ActorKey>, String>> {
        let (reply, answer) = bounded(1);
        let _ = self.commands.send(Command::Forget { id, reply });
        answer
    }

    fn shutdown(&self) {
        let _ = self.commands.send(Command::Shutdown);
    }
}

impl Supervision {
    fn load(&self, request: &SpawnRequest) -> Result<Spec, String> {
        let confinement = request.parentage.as_ref().map(|parentage| &parentage.confinement);
        let confined = |path: &Path| confinement.map_or(Ok(()), |it| confined(path, it, &self.registry));
        confined(&request.manifest)?;
        let manifest = Manifest::load(&request.manifest, &self.actor_limits).map_err(|error| error.to_string())?;
        confined(&manifest.component_path)?;
        manifest.init_state_path().map_or(Ok(()), confined)?;
        load_spec(&self.engine, manifest)
    }
}

/// Reads, compiles and links what a manifest names; says what of it has no effect.
pub(super) fn load_spec(engine: &GuestEngine, manifest: Manifest) -> Result<Spec, String> {
    for warning in &manifest.warnings {
        log::warn!("{}: {warning}", manifest.path().display());
    }
    Spec::load(engine, manifest).map_err(|error| error.to_string())
}

/// Whether `path`, with every link followed, lies in or below one of the allowed directories, and nowhere where an actor
/// could have put it: what actors write for each other to spawn would grant them anything.
fn confined(path: &Path, confinement: &Confinement, registry: &Registry) -> Result<(), String> {
    let real = path.canonicalize().map_err(|error| format!("cannot find {}: {error}", path.display()))?;
    let allowed: Vec<PathBuf> =
        confinement.directories.iter().filter_map(|directory| directory.canonicalize().ok()).collect();
    for (written, name) in registry.written() {
        if written.canonicalize().is_ok_and(|written| real.starts_with(written)) {
            return Err(format!(
                "{} lies in {}, where the actor {name} may write: it could have written it itself; spawn from elsewhere",
                path.display(),
                written.display()
            ));
        }
    }
    if allowed.iter().any(|directory| real.starts_with(directory)) {
        return Ok(());
    }
    Err(format!(
        "{} lies outside the directories this actor may spawn from; the supervisor handler's config = {{ allow = [\"dir\"] }} widens them",
        path.display()
    ))
}
