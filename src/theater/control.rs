//! Lifecycle changes (spawn, fork, stop, restart, upgrade, forget) as others ask for them.
//!
//! Reading and compiling take time, so they are done here, on the thread that asks. What has to be decided goes to the
//! supervisor's thread as a command.

use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::command::{ChangeReply, Command, Newborn};
use super::confinement::{Confined, kept_from_actors};
use super::dry_run::dry_run;
use super::fork::{ForkGrounds, fork};
use super::stored_spec::is_fork;
use crate::actor::{SharedSpecs, SpawnReply, Spec, newest_state};
use crate::base::fail;
use crate::base::id::ActorId;
use crate::base::limits::ActorLimits;
use crate::base::one_shot::{OneReceiver, one_shot};
use crate::chain::Link;
use crate::chain::data::StoppedBy;
use crate::guest::GuestEngine;
use crate::journal::{ActorKey, JournalHandle, TableAt};
use crate::manifest::{ActorSource, Manifest};
use crate::system::{
    Asked, Control, DryRun, ForkRequest, LifecycleError, Registry, SpawnRequest, Spawned, UpgradeRequest,
};

/// What a handle asks for lifecycle changes: it reads and compiles on the asking thread, and sends the rest to the
/// supervisor's thread.
pub(super) struct LifecycleControl {
    pub(super) engine: Arc<GuestEngine>,
    pub(super) commands: Sender<Command>,
    pub(super) journal: JournalHandle,
    pub(super) registry: Arc<Registry>,
    pub(super) actor_limits: ActorLimits,
    pub(super) specs: Arc<SharedSpecs>,
}

impl Control for LifecycleControl {
    fn spawn(&self, request: SpawnRequest) -> OneReceiver<Result<Spawned, LifecycleError>> {
        let (to, answer) = one_shot();
        let wait = request.parentage.as_ref().map(|parentage| parentage.wait);
        let reply = SpawnReply::new(to, wait);
        match self.load(&request) {
            Ok(spec) => {
                let id = request.parentage.as_ref().map_or_else(ActorId::random, |parentage| parentage.child);
                let newborn = Newborn {
                    actor: self.journal.new_actor(id),
                    spec: self.specs.share(spec).kept(),
                    parent: request.parentage.as_ref().map(|parentage| parentage.parent),
                    label: request.parentage.as_ref().and_then(|it| Some(it.named.as_ref()?.label.clone())),
                    cause: request.parentage.map(|parentage| parentage.cause),
                    is_fork: false,
                    rows: None,
                    before: None,
                    again: None,
                    reply: Some(reply),
                };
                // If the supervisor is gone, the reply is dropped with the command, and its drop tells the asker.
                let _ = self.commands.send(Command::Spawn(Box::new(newborn)));
            }
            Err(why) => {
                self.warn_of_refused(&request, &why);
                reply.answer(&self.registry, Err(why));
            }
        }
        answer
    }

    fn fork(&self, request: ForkRequest) -> OneReceiver<Result<Spawned, LifecycleError>> {
        let (to, answer) = one_shot();
        let reply = SpawnReply::new(to, None);
        match self.forked(request) {
            Ok((spec, origin, rows)) => {
                let actor = self.journal.new_actor(ActorId::random());
                let rows = match self.journal.copy_rows(&rows, actor) {
                    Ok(rows) => rows,
                    Err(why) => {
                        reply.answer(&self.registry, Err(why.into()));
                        return answer;
                    }
                };
                fail::point("rows-copied");
                fail::point_after("rows-copied-committed", || _ = self.journal.flush());
                let newborn = Newborn {
                    actor,
                    rows,
                    spec: Arc::new(spec),
                    parent: None,
                    label: None,
                    cause: Some(origin),
                    is_fork: true,
                    before: None,
                    again: None,
                    reply: Some(reply),
                };
                let _ = self.commands.send(Command::Spawn(Box::new(newborn)));
            }
            Err(why) => reply.answer(&self.registry, Err(why)),
        }
        answer
    }

    fn stop(&self, id: ActorId, Asked { by, cause, wait }: Asked) -> OneReceiver<Result<Option<Link>, LifecycleError>> {
        let (reply, answer) = ChangeReply::new(wait, &self.registry);
        let _ = self.commands.send(Command::Stop { id, by, cause, reply });
        answer
    }

    fn restart(
        &self,
        id: ActorId,
        Asked { by, cause, wait }: Asked,
    ) -> OneReceiver<Result<Option<Link>, LifecycleError>> {
        let (reply, answer) = ChangeReply::new(wait, &self.registry);
        if by == StoppedBy::Operator {
            self.warn_of_changes(id);
        }
        let _ = self.commands.send(Command::Restart { id, by, cause, reply });
        answer
    }

    fn upgrade(&self, request: UpgradeRequest) -> OneReceiver<Result<Spawned, LifecycleError>> {
        let (to, answer) = one_shot();
        let (id, reply) = (request.actor.id, SpawnReply::new(to, None));
        match self.upgraded(request) {
            Ok(spec) => _ = self.commands.send(Command::Upgrade { id, spec: self.specs.share(spec).kept(), reply }),
            Err(why) => reply.answer(&self.registry, Err(why)),
        }
        answer
    }

    fn dry_run(&self, request: UpgradeRequest, last: u64) -> Result<DryRun, LifecycleError> {
        let actor = request.actor;
        let spec = self.upgraded(request)?;
        dry_run(&self.engine, &self.journal, actor, &spec, last)
    }

    fn forget(&self, id: ActorId) -> OneReceiver<Result<Vec<ActorKey>, LifecycleError>> {
        let (reply, answer) = one_shot();
        let _ = self.commands.send(Command::Forget { id, reply });
        answer
    }

    fn ping(&self) -> Receiver<()> {
        let (reply, answer) = bounded(1);
        let _ = self.commands.send(Command::Ping(reply));
        answer
    }

    fn shutdown(&self) {
        let _ = self.commands.send(Command::Shutdown);
    }

    fn newest_state(&self, actor: ActorKey) -> Result<Option<Vec<u8>>, String> {
        let reader = self.journal.reader().map_err(|error| error.to_string())?;
        newest_state(&self.engine, &reader, actor)
    }
}

impl LifecycleControl {
    fn forked(&self, request: ForkRequest) -> Result<(Spec, Link, TableAt), LifecycleError> {
        let manifest_path = self.registry.entry(request.actor.id, |entry| entry.manifest_path.clone());
        let manifest_path = manifest_path.ok_or(LifecycleError::NoSuchActor(request.actor.id))?;
        let grounds = ForkGrounds { journal: self.journal.clone(), manifest_path, allowed: self.actor_limits.clone() };
        fork(&self.engine, grounds, request)
    }

    /// What an actor goes on with: read, checked and compiled, while it goes on with what it has.
    fn upgraded(&self, UpgradeRequest { actor, manifest }: UpgradeRequest) -> Result<Spec, LifecycleError> {
        let found = self.registry.entry(actor.id, |entry| (Arc::clone(&entry.common), entry.parent.is_some()));
        let (common, is_child) = found.ok_or(LifecycleError::NoSuchActor(actor.id))?;
        let name = &common.name;
        let is_named = manifest.is_some();
        let source = match manifest {
            Some(source) => source,
            None if common.started_from.is_in_memory => {
                let why = "has no manifest file that could be read again: give it a manifest";
                return Err(format!("actor \"{name}\" ({}) {why}", actor.id).into());
            }
            None => ActorSource::file(&common.manifest_path),
        };
        let mut manifest = Manifest::of(&source, &self.actor_limits)?;
        if manifest.name != *name {
            let reader = self.journal.reader().map_err(|error| error.to_string())?;
            // A fork has the manifest of another actor, and a name of its own.
            if !is_fork(&reader, actor).map_err(|error| error.to_string())? {
                let why = format!(
                    "an upgrade keeps the name \"{name}\", and this manifest names \"{}\": give the old name back, or start it \
                     as another actor",
                    manifest.name
                );
                return Err(manifest.error(why).into());
            }
            manifest = manifest.renamed(name)?;
        }
        if is_child && !is_named {
            // Nobody has vouched for the files as they are now, and an actor may have written them.
            let written = self.registry.written();
            for path in [manifest.path(), manifest.component_path.clone()] {
                kept_from_actors(&path, &written).map_err(|why| {
                    manifest.error(format!("{why}; name the manifest to have it upgraded all the same"))
                })?;
            }
        }
        load_spec(&self.engine, manifest, &|_| Ok(()))
    }

    fn load(&self, request: &SpawnRequest) -> Result<Spec, LifecycleError> {
        let Some(parentage) = &request.parentage else {
            let manifest = Manifest::of(&request.manifest, &self.actor_limits)?;
            return load_spec(&self.engine, manifest, &|_| Ok(()));
        };
        let written = self.registry.written();
        let mut confined = Confined::new(&parentage.confinement, &written);
        // Each file is opened once, judged by where the open file lies, and read through the open file: another file may
        // lie at the path by then.
        let opened = confined.open_manifest(request.manifest.path())?;
        let manifest = Manifest::read(opened, &self.actor_limits)?;
        let component = manifest.component_in(confined.open(&manifest.component_path)?)?;
        let given = parentage.named.as_ref().and_then(|named| named.init_state.clone());
        let init_state = match manifest.init_state_path() {
            _ if given.is_some() => given.map(|state| manifest.bounded_init_state(state)).transpose()?,
            Some(path) => Some(manifest.init_state_in(confined.open(path)?)?),
            None => manifest.read_init_state()?,
        };
        let spec = Spec::admit(&self.engine, manifest, component, init_state.map(Arc::from))?;
        let spec = ready(spec, &|path| kept_from_actors(path, &written))?;
        confined.check_vouched(&spec)?;
        Ok(spec)
    }

    /// Logs that an actor was refused a child: the guest may tell nobody, and the operator should know.
    fn warn_of_refused(&self, request: &SpawnRequest, why: &LifecycleError) {
        let Some(parentage) = &request.parentage else { return };
        let name = self.registry.info(parentage.parent).map_or_else(|| parentage.parent.to_string(), |info| info.name);
        log::warn!("actor {name} was refused the child {}: {why}", request.manifest.path().display());
    }

    /// Logs which files of an actor have changed: a restart goes on with what the actor was started from.
    fn warn_of_changes(&self, id: ActorId) {
        let found = self.registry.entry(id, |entry| Arc::clone(&entry.common));
        let Some(common) = found else { return };
        for changed in common.started_from.changed() {
            let name = &common.name;
            log::warn!("actor {name} is restarted as it was started: {changed}");
        }
    }
}

/// Reads, compiles and links the component that a manifest names, and makes the actor ready to be started.
pub(super) fn load_spec(
    engine: &GuestEngine,
    manifest: Manifest,
    is_trusted: &dyn Fn(&Path) -> Result<(), String>,
) -> Result<Spec, LifecycleError> {
    ready(Spec::load(engine, manifest)?, is_trusted)
}

/// Remembers the `children` of a manifest as they are now, where `is_trusted` trusts them, and logs what in the manifest
/// has no effect.
fn ready(mut spec: Spec, is_trusted: &dyn Fn(&Path) -> Result<(), String>) -> Result<Spec, LifecycleError> {
    spec.vouch(is_trusted)?;
    for warning in spec.warnings() {
        log::warn!("{}: {warning}", spec.manifest.path().display());
    }
    Ok(spec)
}
