//! A fork: a new root actor that begins with the state another actor had at one of its events.
//!
//! That state is replayed from the journal, from the nearest kept state on. The new actor runs the component that the
//! other actor ran then, unless the fork is given a manifest. Its `init` is not run: the other actor's `init` has already
//! led to this state.

use std::path::Path;
use std::sync::Arc;

use crate::actor::{self, Recording, Spec};
use crate::base::limits::ActorLimits;
use crate::base::thread;
use crate::base::wait;
use crate::chain::cbor::Cbor;
use crate::chain::data::Started;
use crate::chain::{ComponentDigest, Link, MIGRATE};
use crate::guest::{GuestEngine, THREAD_STACK_BYTES};
use crate::journal::{JournalDown, JournalError, JournalHandle, JournalReader, TableAt};
use crate::manifest::Manifest;
use crate::system::{ForkRequest, LifecycleError};

/// What a fork needs of the runtime.
pub(super) struct ForkGrounds {
    pub(super) journal: JournalHandle,
    /// The manifest that the other actor was started from.
    pub(super) manifest_path: String,
    pub(super) allowed: ActorLimits,
}

/// The new actor's program, handlers and first state, the event after which it begins, and the table that it begins with.
///
/// Replay runs guest code, which needs a large stack: it runs on a thread of its own while the asker waits.
pub(super) fn fork(
    engine: &Arc<GuestEngine>,
    grounds: ForkGrounds,
    request: ForkRequest,
) -> Result<(Spec, Link, TableAt), LifecycleError> {
    let (to, forked) = crossbeam_channel::bounded(1);
    let origin = Origin::find(grounds, request)?;
    let engine = Arc::clone(engine);
    let thread = thread::spawn_sized("fork", THREAD_STACK_BYTES, move || {
        let _ = to.send(origin.spec(&engine));
    });
    let thread = thread.map_err(|error| format!("no thread to fork on: {error}"))?;
    thread.join().map_err(|panic| panic.to_string())?;
    wait::receive(&forked).map_err(|_| "the fork was given up")?
}

/// The event that is forked from.
struct Origin {
    request: ForkRequest,
    link: Link,
    /// The start of the incarnation that the event belongs to.
    started: Started,
    manifest_path: String,
    reader: JournalReader,
    dir: std::path::PathBuf,
    allowed: ActorLimits,
}

impl Origin {
    fn find(
        ForkGrounds { journal, manifest_path, allowed }: ForkGrounds,
        request: ForkRequest,
    ) -> Result<Self, LifecycleError> {
        let ForkRequest { actor, at, .. } = request;
        let dir = journal.dir().to_owned();
        let unreadable = |error| JournalError::Read { path: dir.clone(), error }.to_string();
        // After this flush, all events that the actor has recorded so far are on disk, and each of them can be forked
        // from.
        journal.flush().map_err(|JournalDown| JournalDown.to_string())?;
        let reader = journal.reader().map_err(|error| error.to_string())?;
        let event = reader.events(actor, at, 1, usize::MAX).map_err(unreadable)?.pop();
        let Some(event) = event.filter(|event| event.sequence == at) else {
            let head = reader.head(actor).map_err(unreadable)?;
            let last = head.map_or("it has none".to_owned(), |head| format!("its last is event {}", head.sequence));
            return Err(format!("event {at} is not on the chain of actor {}: {last}", actor.id).into());
        };
        let started = reader.started_before(actor, at).map_err(unreadable)?;
        let started = started.ok_or_else(|| format!("the chain of actor {} has no beginning", actor.id))?;
        let started =
            Started::from_cbor(&started.data).map_err(|error| format!("event {}: {error}", started.sequence))?;
        let link = Link { actor: actor.id, sequence: at, hash: event.hash };
        Ok(Self { request, link, started, manifest_path, reader, dir, allowed })
    }

    fn spec(mut self, engine: &GuestEngine) -> Result<(Spec, Link, TableAt), LifecycleError> {
        let ForkRequest { actor, at, ref manifest, .. } = self.request;
        let is_given = manifest.is_some();
        let unreadable = |error| JournalError::Read { path: self.dir.clone(), error }.to_string();
        let trial = self.reader.upgrade_trial_at(actor, at).map_err(unreadable)?;
        let before = trial.filter(|trial| trial.unmigrated.is_some() && !is_given).map(|trial| trial.before_at);
        let table = self.reader.table_at(actor, Some(at)).map_err(unreadable)?;
        let state = self.state(engine)?;
        let mut spec = self.with_state(engine, state.clone())?;
        if is_given {
            spec.check_exports().and_then(|()| spec.vouch(&|_| Ok(())))?;
        }
        // As long as `migrate` has not returned, the state is one of the build before the upgrade.
        if let Some(before) = before.filter(|_| spec.program.function(MIGRATE.full).is_some()) {
            let unreadable = |error| JournalError::Read { path: self.dir.clone(), error }.to_string();
            let started = self.reader.started_before(actor, before).map_err(unreadable)?;
            let started =
                started.ok_or_else(|| format!("the start of the build before event {at} is not on the chain"))?;
            self.started = started.read().map_err(|error| format!("event {before}: {error}"))?;
            spec = self.with_state(engine, state)?;
        }
        Ok((spec, self.link, table))
    }

    fn with_state(&self, engine: &GuestEngine, state: Option<Vec<u8>>) -> Result<Spec, LifecycleError> {
        let (manifest, component) = self.runs()?;
        let (len, limit) = (state.as_ref().map_or(0, Vec::len), manifest.limits.state_bytes);
        if len as u64 > limit {
            let at = self.request.at;
            let why = format!("the state at event {at} has {len} bytes; the limit state_bytes is {limit}");
            return Err(manifest.error(why).into());
        }
        Ok(Spec::assemble(engine, manifest, component, state.map(Into::into))?)
    }

    /// The given manifest and the component it names; without one, the manifest, the component and the limits of the
    /// incarnation that is forked.
    fn runs(&self) -> Result<(Manifest, Vec<u8>), LifecycleError> {
        let name = &self.request.name;
        if let Some(source) = &self.request.manifest {
            let manifest = Manifest::of(source, &self.allowed)?.renamed(name)?.changed(&self.request.changes)?;
            for warning in &manifest.warnings {
                log::warn!("{}: {warning}", manifest.path().display());
            }
            let component = manifest.read_component()?;
            return Ok((manifest, component));
        }
        let (path, digest) = (Path::new(&self.manifest_path), self.started.component);
        let limits = actor::recorded_limits(&self.started);
        let beyond =
            |error| format!("{error}; this is what the actor was started with: give a manifest with --manifest FILE");
        self.allowed.admit(&limits).map_err(beyond)?;
        let manifest = Manifest::recorded(path, self.started.manifest.as_str().into(), &limits)?;
        let manifest = manifest.renamed(name)?.changed(&self.request.changes)?;
        let unreadable = |error| JournalError::Read { path: self.dir.clone(), error }.to_string();
        let component = self.reader.component(digest).map_err(unreadable)?;
        match component.filter(|component| ComponentDigest::of(component) == digest) {
            Some(component) => Ok((manifest, component)),
            None => {
                Err(format!("the component {digest} is not in the journal; give a manifest with --manifest FILE")
                    .into())
            }
        }
    }

    /// The state after the event. If the event lies within a transition, that is the state before the transition.
    fn state(&self, engine: &GuestEngine) -> Result<Option<Vec<u8>>, LifecycleError> {
        let ForkRequest { actor, at, .. } = self.request;
        let recording = Recording::of_journal(self.reader.clone(), actor);
        let replayed = actor::replay_until(engine, &recording, at, None, &mut |_| Ok(()));
        let replayed = replayed.map_err(|error| error.to_string())?;
        if replayed.events != at + 1 {
            let last = replayed.events.saturating_sub(1);
            return Err(format!("replay came to the end of event {last} and not of {at}").into());
        }
        Ok(replayed.state)
    }
}
