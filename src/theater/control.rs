//! Lifecycle changes as others ask for them: what takes time (reading, compiling) is done here, on the asker's thread;
//! what is to be decided goes to the supervisor's.

use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::command::{ChangeReply, Command, Newborn};
use super::confinement::{Confined, kept_from_actors};
use super::fork::fork;
use crate::actor::{SpawnReply, Spec};
use crate::base::id::ActorId;
use crate::base::limits::ActorLimits;
use crate::base::one_shot::{OneReceiver, one_shot};
use crate::chain::Link;
use crate::chain::data::StoppedBy;
use crate::guest::GuestEngine;
use crate::journal::{ActorKey, JournalHandle};
use crate::manifest::{Manifest, ManifestError};
use crate::system::{Asked, Control, ForkRequest, Registry, SpawnRequest, Spawned};

pub(super) struct Supervision {
    pub(super) engine: Arc<GuestEngine>,
    pub(super) commands: Sender<Command>,
    pub(super) journal: JournalHandle,
    pub(super) registry: Arc<Registry>,
    pub(super) actor_limits: ActorLimits,
}

impl Control for Supervision {
    fn spawn(&self, request: SpawnRequest) -> OneReceiver<Result<Spawned, String>> {
        let (to, answer) = one_shot();
        let wait = request.parentage.as_ref().map(|parentage| parentage.wait);
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
            Err(why) => {
                self.warn_of_refused(&request, &why);
                reply.answer(&self.registry, Err(why));
            }
        }
        answer
    }

    fn fork(&self, request: ForkRequest) -> OneReceiver<Result<Spawned, String>> {
        let (to, answer) = one_shot();
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

    fn stop(&self, id: ActorId, Asked { by, cause, wait }: Asked) -> OneReceiver<Result<Option<Link>, String>> {
        let (reply, answer) = ChangeReply::new(wait, &self.registry);
        let _ = self.commands.send(Command::Stop { id, by, cause, reply });
        answer
    }

    fn restart(&self, id: ActorId, Asked { by, cause, wait }: Asked) -> OneReceiver<Result<Option<Link>, String>> {
        let (reply, answer) = ChangeReply::new(wait, &self.registry);
        if by == StoppedBy::Operator {
            self.warn_of_changes(id);
        }
        let _ = self.commands.send(Command::Restart { id, by, cause, reply });
        answer
    }

    fn forget(&self, id: ActorId) -> OneReceiver<Result<Vec<ActorKey>, String>> {
        let (reply, answer) = one_shot();
        let _ = self.commands.send(Command::Forget { id, reply });
        answer
    }

    fn shutdown(&self) {
        let _ = self.commands.send(Command::Shutdown);
    }
}

impl Supervision {
    fn load(&self, request: &SpawnRequest) -> Result<Spec, String> {
        let said = |error: ManifestError| error.to_string();
        let Some(parentage) = &request.parentage else {
            let manifest = Manifest::load(&request.manifest, &self.actor_limits).map_err(said)?;
            return load_spec(&self.engine, manifest, &|_| Ok(()));
        };
        let written = self.registry.written();
        let mut confined = Confined::new(&parentage.confinement, &written);
        // Each file is opened once, judged by where the open file lies, and read from there: what lies at its path may be
        // another one by then.
        let opened = confined.open_manifest(&request.manifest)?;
        let manifest = Manifest::read(opened, &self.actor_limits).map_err(said)?;
        let component = manifest.component_in(confined.open(&manifest.component_path)?).map_err(said)?;
        let init_state = match manifest.init_state_path() {
            Some(path) => Some(manifest.init_state_in(confined.open(path)?).map_err(said)?),
            None => manifest.read_init_state().map_err(said)?,
        };
        let spec = Spec::admit(&self.engine, manifest, component, init_state.map(Arc::from)).map_err(said)?;
        let spec = ready(spec, &|path| kept_from_actors(path, &written))?;
        confined.check_vouched(&spec)?;
        Ok(spec)
    }

    /// A guest may keep to itself that it was refused a child; whoever runs it hears of it here.
    fn warn_of_refused(&self, request: &SpawnRequest, why: &str) {
        let Some(parentage) = &request.parentage else { return };
        let name = self.registry.info(parentage.parent).map_or_else(|| parentage.parent.to_string(), |info| info.name);
        log::warn!("actor {name} was refused the child {}: {why}", request.manifest.display());
    }

    /// What a restart goes on with is what the actor was started from, whatever lies there now.
    fn warn_of_changes(&self, id: ActorId) {
        let found = self.registry.entry(id, |entry| (entry.name.clone(), Arc::clone(&entry.started_from)));
        let Some((name, started_from)) = found else { return };
        for changed in started_from.changed() {
            log::warn!("actor {name} is restarted as it was started: {changed}");
        }
    }
}

/// Reads, compiles and links what a manifest names, and makes it ready.
pub(super) fn load_spec(
    engine: &GuestEngine,
    manifest: Manifest,
    is_trusted: &dyn Fn(&Path) -> Result<(), String>,
) -> Result<Spec, String> {
    ready(Spec::load(engine, manifest).map_err(|error| error.to_string())?, is_trusted)
}

/// Holds the `children` of a manifest to what they are now, as far as `is_trusted` says; says what of it has no effect.
fn ready(mut spec: Spec, is_trusted: &dyn Fn(&Path) -> Result<(), String>) -> Result<Spec, String> {
    spec.vouch(is_trusted).map_err(|error| error.to_string())?;
    for warning in spec.warnings() {
        log::warn!("{}: {warning}", spec.manifest.path().display());
    }
    Ok(spec)
}
