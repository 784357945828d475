//! Finding the actor that a command names, and reading its history from the journal.

use crate::base::id::ActorId;
use crate::journal::{ActorKey, JournalReader};
use crate::system::TheaterHandle;

/// The actor with this id, if the runtime knows it. The error is for the client.
pub(super) fn known(theater: &TheaterHandle, id: &str) -> Result<ActorKey, String> {
    let id: ActorId = id.parse().map_err(|error| format!("{error}"))?;
    theater.key(id).ok_or_else(|| format!("no such actor: {id}"))
}

/// Reads from the journal, by `read`.
pub(super) fn read_journal<T>(
    theater: &TheaterHandle,
    actor: ActorKey,
    read: impl FnOnce(&JournalReader, ActorKey) -> rusqlite::Result<T>,
) -> Result<T, String> {
    let reader = theater.journal.reader().map_err(|error| error.to_string())?;
    read(&reader, actor).map_err(|error| error.to_string())
}
