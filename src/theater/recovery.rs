//! The start of a runtime on a data directory that has been used: every actor comes back as it was.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::control::load_spec;
use super::supervisor::{Before, Newborn};
use crate::actor::Spec;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Failed, NamedState, StartReason, Started};
use crate::chain::{ChainEvent, ComponentDigest, EventKind};
use crate::guest::GuestEngine;
use crate::handlers::INIT;
use crate::journal::{ActorKey, ActorRow, JournalError, JournalReader};
use crate::manifest::Manifest;
use crate::system::ActorStatus;

/// What is to be started.
pub(super) struct Recovered {
    /// Who was there, parents before their children.
    pub(super) before: Vec<(Newborn, Return)>,
    /// Manifests to be run whose root is not there yet.
    pub(super) new: Vec<Spec>,
}

/// How an actor comes back.
pub(super) enum Return {
    /// A root that the manifests name, whether it was alive or not.
    AskedFor,
    /// It was alive when the runtime ended.
    Resumed,
    /// It had stopped or failed: it is listed, and can be restarted.
    Listed(ActorStatus),
}

/// Reads who there was. A root that one of `manifests` names goes on with that manifest and the component it names now.
pub(super) fn recover(
    engine: &GuestEngine,
    reader: &JournalReader,
    dir: &Path,
    manifests: Vec<Manifest>,
) -> Result<Recovered, String> {
    let unreadable = |error| JournalError::Read { path: dir.to_owned(), error }.to_string();
    let mut wanted: HashMap<String, Spec> = HashMap::new();
    let mut order = Vec::new();
    for manifest in manifests {
        let name = manifest.name.clone();
        order.push(name.clone());
        if wanted.insert(name.clone(), load_spec(engine, manifest)?).is_some() {
            return Err(format!("two of the manifests have the name \"{name}\"; give each actor its own"));
        }
    }
    let mut recovered = Recovered { before: Vec::new(), new: Vec::new() };
    for row in reader.actors().map_err(unreadable)? {
        let replaced = if row.parent.is_none() { wanted.remove(&row.name) } else { None };
        let (asked_for, actor, parent, alive) = (replaced.is_some(), row.actor, row.parent, row.alive);
        let last = reader.last_event(actor).map_err(unreadable)?;
        let incarnation = row.incarnation;
        let spec = match replaced {
            Some(spec) => keep_initial_state(reader, actor, spec).map_err(unreadable)?,
            None => stored_spec(engine, reader, dir, row)?,
        };
        let reason = if alive { StartReason::Recovery } else { StartReason::Restart };
        let incarnation = if alive || asked_for { incarnation.next() } else { incarnation };
        let was_up = reader.has_event(actor, INIT.returned).map_err(unreadable)?;
        let again = Some(Before { reason, incarnation, was_up });
        let newborn = Newborn { actor, spec: Arc::new(spec), parent, cause: None, again, reply: None };
        let how = match (asked_for, alive) {
            (true, _) => Return::AskedFor,
            (false, true) => Return::Resumed,
            (false, false) => Return::Listed(status_after(last.as_ref())),
        };
        recovered.before.push((newborn, how));
    }
    recovered.new = order.into_iter().filter_map(|name| wanted.remove(&name)).collect();
    Ok(recovered)
}

/// What an actor ran is in the journal: manifest, component, and the state it first began with.
fn stored_spec(engine: &GuestEngine, reader: &JournalReader, dir: &Path, row: ActorRow) -> Result<Spec, String> {
    let missing = |what: &str| {
        let why = format!("actor {} ({}): {what}", row.name, row.actor.id);
        JournalError::Damaged { path: dir.to_owned(), why }.to_string()
    };
    let unreadable = |error| JournalError::Read { path: dir.to_owned(), error }.to_string();
    let manifest = Manifest::parse(Path::new(&row.manifest_path), row.manifest.as_str().into())
        .map_err(|error| missing(&format!("its stored manifest is not understood: {error}")))?;
    let component = reader.component(row.component).map_err(unreadable)?;
    let component = component.ok_or_else(|| missing("its component is not in the journal"))?;
    if ComponentDigest::of(&component) != row.component {
        return Err(missing("its component was altered"));
    }
    let init_state = first_state(reader, row.actor).map_err(unreadable)?;
    Spec::assemble(engine, manifest, component, init_state).map_err(|error| error.to_string())
}

/// A changed manifest does not change what the actor began with.
fn keep_initial_state(reader: &JournalReader, actor: ActorKey, mut spec: Spec) -> rusqlite::Result<Spec> {
    spec.init_state = first_state(reader, actor)?;
    Ok(spec)
}

fn first_state(reader: &JournalReader, actor: ActorKey) -> rusqlite::Result<Option<Arc<[u8]>>> {
    let first = reader.events(actor, 0, 1, usize::MAX)?.pop();
    let started = first.and_then(|event| Started::from_cbor(&event.data).ok());
    Ok(match started.map(|started| started.state) {
        None | Some(NamedState::None) => None,
        Some(NamedState::Inline(bytes)) => Some(bytes.into()),
        Some(NamedState::Digest { sha1, .. }) => reader.blob(&sha1)?.map(Arc::from),
    })
}

fn status_after(last: Option<&ChainEvent>) -> ActorStatus {
    let failed = last.filter(|event| event.kind() == Some(EventKind::Failed));
    match failed.and_then(|event| Failed::from_cbor(&event.data).ok()) {
        Some(Failed { reason, detail, .. }) => ActorStatus::Failed { reason, detail },
        None => ActorStatus::Stopped,
    }
}

/// For the log: how much came back.
pub(super) fn summary(recovered: &Recovered) -> Option<String> {
    let count = recovered.before.iter().filter(|(_, how)| !matches!(how, Return::Listed(_))).count();
    (count > 0).then(|| format!("resuming {count} actors"))
}
