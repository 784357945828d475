//! Actors as a data directory has them, for `list`, `tree` and `status` when no runtime runs there.

use std::collections::HashMap;
use std::path::Path;

use super::Failure;
use crate::base::id::ActorId;
use crate::chain::data::{Failed, Started};
use crate::chain::{EventKind, cbor::Cbor};
use crate::journal::{self, ActorRow, JournalReader};
use crate::server::protocol::ActorView;

/// The status of an actor that the next start resumes.
const SUSPENDED: &str = "suspended";

/// The listed actors, in the order in which they first began.
pub(super) fn actors(dir: &Path) -> Result<Vec<ActorView>, Failure> {
    let reader = journal::open_to_read(dir).map_err(Failure::no)?;
    let rows = reader.actors().map_err(Failure::no)?;
    let mut waiting: HashMap<ActorId, u64> = HashMap::new();
    for owed in reader.pending().map_err(Failure::no)? {
        // What an actor owes itself is no mail.
        if owed.receiver != owed.cause.actor {
            *waiting.entry(owed.receiver).or_default() += 1;
        }
    }
    let mut paths: HashMap<ActorId, Option<String>> = HashMap::new();
    let mut views = Vec::new();
    // Parents come before their children.
    for row in &rows {
        let mut view = view(&reader, row)?;
        view.path = match (row.parent, &view.label) {
            (None, _) => Some(row.name.clone()),
            (Some(parent), Some(label)) => {
                paths.get(&parent).cloned().flatten().map(|above| format!("{above}/{label}"))
            }
            (Some(_), None) => None,
        };
        paths.insert(row.actor.id, view.path.clone());
        view.mailbox_depth = waiting.get(&row.actor.id).copied().unwrap_or(0);
        if !reader.is_forgotten(row.actor).map_err(Failure::no)? {
            views.push(view);
        }
    }
    Ok(views)
}

/// The actor that `text` names.
pub(super) fn find(dir: &Path, text: &str) -> Result<ActorView, Failure> {
    let reader = journal::open_to_read(dir).map_err(Failure::no)?;
    let id = super::past::find_row(&reader, text, dir)?.actor.id.to_string();
    drop(reader);
    let found = actors(dir)?.into_iter().find(|actor| actor.id == id);
    found.ok_or_else(|| Failure::no(format!("actor {id} was forgotten: `theater events` still shows its history")))
}

fn view(reader: &JournalReader, row: &ActorRow) -> Result<ActorView, Failure> {
    let started = reader.newest_started(row.actor).map_err(Failure::no)?;
    let since_ms = started.as_ref().map_or(0, |event| event.timestamp);
    let label = started.and_then(|event| Started::from_cbor(&event.data).ok()).and_then(|started| started.label);
    let last = if row.alive { None } else { reader.last_event(row.actor).map_err(Failure::no)? };
    let failed = last.filter(|event| event.kind() == Some(EventKind::Failed));
    let status = match (row.alive, &failed) {
        (true, _) => SUSPENDED,
        (false, Some(_)) => "failed",
        (false, None) => "stopped",
    };
    let failure = failed.and_then(|event| Failed::from_cbor(&event.data).ok());
    Ok(ActorView {
        id: row.actor.id.to_string(),
        name: row.name.clone(),
        label,
        path: None,
        parent: row.parent.map(|parent| parent.to_string()),
        status: status.to_owned(),
        asleep: false,
        paused: reader.is_paused(row.actor).map_err(Failure::no)?,
        failure: failure.map(|failed| format!("{}: {}", failed.reason, failed.detail)),
        incarnation: row.incarnation.number(),
        mailbox_depth: 0,
        addresses: Vec::new(),
        urls: Vec::new(),
        manifest: row.manifest_path.clone(),
        since_ms,
        restarts: None,
        given_up: None,
    })
}
