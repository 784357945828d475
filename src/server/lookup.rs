//! Finding the actor that a command names.

use crate::base::id::ActorId;
use crate::journal::ActorKey;
use crate::system::TheaterHandle;

/// The actor with this id, if the runtime knows it. The error is for the client.
pub(super) fn known(theater: &TheaterHandle, id: &str) -> Result<ActorKey, String> {
    let id: ActorId = id.parse().map_err(|error| format!("{error}"))?;
    theater.key(id).ok_or_else(|| format!("no such actor: {id}"))
}
