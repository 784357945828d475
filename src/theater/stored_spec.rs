//! What an actor ran before the runtime was started again, read from the journal: its manifest, its limits, its component,
//! and the state that it first began with.

use std::path::Path;
use std::sync::Arc;

use crate::actor::{SharedSpecs, Spec};
use crate::base::limits::Limits;
use crate::chain::ComponentDigest;
use crate::chain::cbor::Cbor;
use crate::chain::data::{NamedState, StartReason, Started};
use crate::guest::GuestEngine;
use crate::journal::{ActorKey, ActorRow, JournalError, JournalReader, ReadResult};
use crate::manifest::Manifest;

/// The error for an actor whose stored history cannot be what a runtime has written.
pub(super) fn damaged(dir: &Path, row: &ActorRow, what: &str) -> String {
    let why = format!("actor {} ({}): {what}", row.name, row.actor.id);
    JournalError::Damaged { path: dir.to_owned(), why }.to_string()
}

/// The spec of an actor, made of what the journal stores.
pub(super) fn stored_spec(
    (engine, specs): (&GuestEngine, &SharedSpecs),
    reader: &JournalReader,
    dir: &Path,
    row: &ActorRow,
    limits: &Limits,
) -> Result<Spec, String> {
    let missing = |what: &str| damaged(dir, row, what);
    let unreadable = |error| JournalError::Read { path: dir.to_owned(), error }.to_string();
    let init_state = first_state(reader, row.actor).map_err(unreadable)?;
    let (path, text) = (Path::new(&row.manifest_path), row.manifest.as_str().into());
    let contents = (path.to_owned(), text, row.component);
    if let Some(spec) = specs.find(&contents, limits, init_state.as_ref()) {
        return Ok(spec);
    }
    let (_, text, _) = contents;
    let manifest = Manifest::recorded(path, text, limits)
        .map_err(|error| missing(&format!("its stored manifest is not understood: {error}")))?;
    let component = reader.component(row.component).map_err(unreadable)?;
    let component = component.ok_or_else(|| missing("its component is not in the journal"))?;
    if ComponentDigest::of(&component) != row.component {
        return Err(missing("its component was altered"));
    }
    let spec = Spec::assemble(engine, manifest, component, init_state).map_err(|error| {
        format!(
            "actor {} ({}) of the data directory cannot go on, and neither can the theater without it: {error}",
            row.name, row.actor.id
        )
    })?;
    if let Err(error) = spec.check_exports() {
        // An earlier version of Theater, which did not check exports, has started this actor. The export may never be
        // called, so the actor goes on.
        log::warn!("actor {} goes on, and fails when it is called so: {error}", row.name);
    }
    Ok(specs.share(spec))
}

/// Gives `spec` the state that the actor first began with, even if the manifest has changed since. Logs what has
/// changed.
pub(super) fn keep_initial_state(reader: &JournalReader, row: &ActorRow, mut spec: Spec) -> ReadResult<Spec> {
    let first = first_state(reader, row.actor)?;
    let path = spec.manifest.path();
    let path = path.display();
    if spec.init_state != first && !is_fork(reader, row.actor)? {
        log::warn!(
            "{path}: \"init_state\" has changed since the actor {} first began, and it keeps its state: only an actor that \
             is not there yet begins with it (\"theater stop\" and \"theater forget\" this one, or give another name)",
            row.name
        );
    }
    if spec.digest() != row.component {
        log::info!("{path}: the actor {} goes on with another component, {}", row.name, spec.digest());
    }
    spec.init_state = first;
    Ok(spec)
}

/// Whether an actor is a fork. A fork begins with the state of another actor, and without an `init` of its own.
pub(super) fn is_fork(reader: &JournalReader, actor: ActorKey) -> ReadResult<bool> {
    Ok(first_started(reader, actor)?.is_some_and(|started| started.reason == StartReason::Fork))
}

fn first_started(reader: &JournalReader, actor: ActorKey) -> ReadResult<Option<Started>> {
    let first = reader.sound_first_started(actor)?;
    Ok(first.and_then(|event| Started::from_cbor(&event.data).ok()))
}

fn first_state(reader: &JournalReader, actor: ActorKey) -> ReadResult<Option<Arc<[u8]>>> {
    Ok(match first_started(reader, actor)?.map(|started| started.state) {
        None | Some(NamedState::None) => None,
        Some(NamedState::Inline(bytes)) => Some(bytes.into()),
        Some(NamedState::Digest { sha1, .. }) => reader.sound_blob(&sha1)?.map(Arc::from),
    })
}
