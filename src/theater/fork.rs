//! A fork: a new root that begins with the state another actor had at one of its events.
//!
//! That state is replayed from the journal, from the nearest kept state on. The new actor runs what the other ran then,
//! unless it is given a manifest; its `init` is not run, since the state is one that an `init` has led to already.

use std::path::Path;

use super::control::Supervision;
use crate::actor::{self, Recording, Spec};
use crate::base::limits::ActorLimits;
use crate::base::thread;
use crate::base::wait;
use crate::chain::cbor::Cbor;
use crate::chain::data::Started;
use crate::chain::{ComponentDigest, Link};
use crate::guest::THREAD_STACK_BYTES;
use crate::journal::{JournalError, JournalReader};
use crate::manifest::Manifest;
use crate::system::ForkRequest;

/// What the fork runs, its state included, and the event it begins behind.
///
/// Guest code runs, so it runs on a thread that has the stack for it; the asker waits.
pub(super) fn fork(supervision: &Supervision, request: ForkRequest) -> Result<(Spec, Link), String> {
    let (to, forked) = crossbeam_channel::bounded(1);
    let origin = Origin::find(supervision, request)?;
    let engine = std::sync::Arc::clone(&supervision.engine);
    let thread = thread::spawn_sized("fork", THREAD_STACK_BYTES, move || {
        let _ = to.send(origin.spec(&engine));
    });
    thread.map_err(|error| format!("no thread to fork on: {error}"))?.join().map_err(|panic| panic.to_string())?;
    wait::receive(&forked).map_err(|_| "the fork was given up".to_owned())?
}

/// The event that is forked from.
struct Origin {
    request: ForkRequest,
    link: Link,
    /// The incarnation it lies in.
    started: Started,
    manifest_path: String,
    reader: JournalReader,
    dir: std::path::PathBuf,
    allowed: ActorLimits,
}

impl Origin {
    fn find(supervision: &Supervision, request: ForkRequest) -> Result<Self, String> {
        let ForkRequest { actor, at, .. } = request;
        let dir = supervision.journal.dir().to_owned();
        let unreadable = |error| JournalError::Read { path: dir.clone(), error }.to_string();
        // What the actor has done so far can be forked from, whoever has been told of it.
        supervision.journal.flush().map_err(|error| error.to_string())?;
        let reader = supervision.journal.reader().map_err(|error| error.to_string())?;
        let event = reader.events(actor, at, 1, usize::MAX).map_err(unreadable)?.pop();
        let Some(event) = event.filter(|event| event.sequence == at) else {
            let head = reader.head(actor).map_err(unreadable)?;
            let last = head.map_or("it has none".to_owned(), |head| format!("its last is event {}", head.sequence));
            return Err(format!("event {at} is not on the chain of actor {}: {last}", actor.id));
        };
        let started = reader.started_before(actor, at).map_err(unreadable)?;
        let started = started.ok_or_else(|| format!("the chain of actor {} has no beginning", actor.id))?;
        let started =
            Started::from_cbor(&started.data).map_err(|error| format!("event {}: {error}", started.sequence))?;
        let manifest_path = supervision.registry.entry(actor.id, |entry| entry.manifest_path.clone());
        let manifest_path = manifest_path.ok_or_else(|| format!("no such actor: {}", actor.id))?;
        let link = Link { actor: actor.id, sequence: at, hash: event.hash };
        let allowed = supervision.actor_limits.clone();
        Ok(Self { request, link, started, manifest_path, reader, dir, allowed })
    }

    fn spec(self, engine: &crate::guest::GuestEngine) -> Result<(Spec, Link), String> {
        let (manifest, component) = self.runs()?;
        let state = self.state(engine)?;
        let (len, limit) = (state.as_ref().map_or(0, Vec::len), manifest.limits.state_bytes);
        if len as u64 > limit {
            let at = self.request.at;
            let why = format!("the state at event {at} has {len} bytes; the limit state_bytes is {limit}");
            return Err(manifest.error(why).to_string());
        }
        let spec = Spec::assemble(engine, manifest, component, state.map(Into::into));
        let mut spec = spec.map_err(|error| error.to_string())?;
        if self.request.manifest.is_some() {
            spec.check_exports().and_then(|()| spec.vouch(&|_| Ok(()))).map_err(|error| error.to_string())?;
        }
        Ok((spec, self.link))
    }

    /// The manifest that is given, and the component it names; else those of the incarnation that is forked, and its
    /// limits.
    fn runs(&self) -> Result<(Manifest, Vec<u8>), String> {
        let name = &self.request.name;
        if let Some(path) = &self.request.manifest {
            let manifest = Manifest::load(path, &self.allowed).and_then(|manifest| manifest.renamed(name));
            let manifest = manifest.map_err(|error| error.to_string())?;
            for warning in &manifest.warnings {
                log::warn!("{}: {warning}", manifest.path().display());
            }
            let component = manifest.read_component().map_err(|error| error.to_string())?;
            return Ok((manifest, component));
        }
        let (path, digest) = (Path::new(&self.manifest_path), self.started.component);
        let limits = actor::recorded_limits(&self.started);
        let beyond =
            |error| format!("{error}; this is what the actor was started with: give a manifest with --manifest FILE");
        self.allowed.admit(&limits).map_err(beyond)?;
        let manifest = Manifest::recorded(path, self.started.manifest.as_str().into(), &limits);
        let manifest = manifest.and_then(|manifest| manifest.renamed(name)).map_err(|error| error.to_string())?;
        let unreadable = |error| JournalError::Read { path: self.dir.clone(), error }.to_string();
        let component = self.reader.component(digest).map_err(unreadable)?;
        match component.filter(|component| ComponentDigest::of(component) == digest) {
            Some(component) => Ok((manifest, component)),
            None => Err(format!("the component {digest} is not in the journal; give a manifest with --manifest FILE")),
        }
    }

    /// The state as of the event; within a transition that is the one from before it.
    fn state(&self, engine: &crate::guest::GuestEngine) -> Result<Option<Vec<u8>>, String> {
        let ForkRequest { actor, at, .. } = self.request;
        let recording = Recording::of_journal(&self.dir, actor).map_err(|error| error.to_string())?;
        let replayed = actor::replay_until(engine, &recording, at, None, &mut |_| Ok(()));
        let replayed = replayed.map_err(|error| error.to_string())?;
        if replayed.events != at + 1 {
            return Err(format!(
                "replay came to the end of event {} and not of {at}",
                replayed.events.saturating_sub(1)
            ));
        }
        Ok(replayed.state)
    }
}
