//! What a prune or a redaction would drop: looked at, and nothing changed.

use super::forget::{DropError, Shown, to_prune, to_redact};
use super::log::StoredData;
use super::reader::JournalReader;
use super::record::{ActorKey, EventPlace};

/// What would be dropped of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataToDrop {
    /// How many events would lose their data.
    pub events: u64,
    /// How many bytes of data these have. The large states that are stored behind them come on top.
    pub bytes: u64,
    /// The first event after the dropped data from whose state the chain could still be replayed; none if there is none yet.
    pub replays_from: Option<u64>,
}

/// What [`prune`](super::prune) would drop.
pub(crate) fn foresee_prune(
    reader: &JournalReader,
    actor: ActorKey,
    before: u64,
    shown: Shown,
) -> Result<DataToDrop, DropError> {
    let (doomed, replays_from) = to_prune(reader, actor, before, shown)?;
    let (events, bytes) = (doomed.places.len() as u64, bytes_of(reader, actor, &doomed.places)?);
    Ok(DataToDrop { events, bytes, replays_from })
}

/// What [`redact`](super::redact) would drop.
pub(crate) fn foresee_redaction(
    reader: &JournalReader,
    actor: ActorKey,
    sequence: u64,
    shown: Shown,
) -> Result<DataToDrop, DropError> {
    let doomed = to_redact(reader, actor, sequence, shown)?;
    let bytes = bytes_of(reader, actor, &doomed.places)?;
    let mut replays_from = reader.next_start(actor, sequence + 1)?;
    // A state that the event itself names will be named by none.
    while let Some(start) = replays_from
        && reader.named_upto(actor, start)?.0 <= sequence
    {
        replays_from = reader.next_start(actor, start + 1)?;
    }
    Ok(DataToDrop { events: 1, bytes, replays_from })
}

fn bytes_of(reader: &JournalReader, actor: ActorKey, places: &[EventPlace]) -> Result<u64, DropError> {
    let mut bytes = 0;
    for place in places {
        let event = reader.stored_at(actor, *place)?;
        if matches!(event.data, StoredData::Kept(_)) {
            bytes += reader.data(&event)?.len() as u64;
        }
    }
    Ok(bytes)
}
