//! Finding the actor that a command names.

use crate::base::id::ActorId;
use crate::journal::ActorKey;
use crate::system::TheaterHandle;

/// The actor that an id or a path stands for, if the runtime knows it. The error is for the client.
pub(super) fn known(theater: &TheaterHandle, address: &str) -> Result<ActorKey, String> {
    let id: ActorId = theater.registry.resolve(address).map_err(|error| error.to_string())?;
    theater.key(id).ok_or_else(|| format!("no such actor: {id}"))
}
