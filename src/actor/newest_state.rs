//! The newest state of an actor, wherever it is. A large state is not stored with each commit: where the one that a chain
//! has come to is not stored, the transitions since the last stored one are executed again, and each is compared.

use super::replay::{Recording, replay_until};
use crate::guest::GuestEngine;
use crate::journal::{ActorKey, JournalReader, Newest};

/// The newest state of `actor`.
///
/// # Errors
///
/// The text says what cannot be read, or which event came out otherwise when it was executed again.
pub(crate) fn newest_state(
    engine: &GuestEngine,
    reader: &JournalReader,
    actor: ActorKey,
) -> Result<Option<Vec<u8>>, String> {
    let behind = match reader.newest_state(actor).map_err(|error| error.to_string())? {
        Newest::Is(state) => return Ok(state),
        Newest::Behind(behind) => behind,
    };
    let recording = Recording::of_journal(reader.clone(), actor);
    let replayed = replay_until(engine, &recording, behind, None, &mut |_| Ok(()));
    let replayed = replayed.map_err(|error| format!("its newest state is to be computed again: {error}"))?;
    if replayed.events == behind + 1 {
        Ok(replayed.state)
    } else {
        Err(format!(
            "its newest state cannot be computed again: that comes to event {} and not to {behind}",
            replayed.events
        ))
    }
}
