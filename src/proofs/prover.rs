//! Proofs from what lies on the shelf and in the journal: of a running runtime, or of a directory that nobody uses.

use std::io;

use super::checkpoint::Checkpoint;
use super::fault::NotProved;
use super::leaf::LeafEntry;
use super::note::SignedNote;
use super::proof_file::ProofFile;
use super::tiles::TileDir;
use super::tree::{TreeHash, consistency, inclusion, root_above};
use crate::base::id::ActorId;
use crate::chain::ChainEvent;
use crate::journal::{JournalReader, Placed, StretchBounds};

/// The hashes from a leaf to the root of a checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct InclusionPath {
    pub(crate) index: u64,
    pub(crate) hashes: Vec<TreeHash>,
    pub(crate) note: SignedNote,
}

impl InclusionPath {
    /// The proof, with the event.
    pub(crate) fn with(self, actor: ActorId, event: ChainEvent) -> ProofFile {
        ProofFile { actor, event, index: self.index, path: self.hashes, note: self.note }
    }
}

/// The event at a position.
pub(crate) fn event_at(reader: &JournalReader, position: u64) -> Result<Placed, NotProved> {
    let bounds = StretchBounds { looked_at: 1, bytes: usize::MAX };
    if position == 0 || position >= reader.end()? {
        return Err(NotProved::NoSuchEvent);
    }
    reader.stretch(position, &bounds, |_, _| Ok(true))?.events.pop().ok_or(NotProved::NoSuchEvent)
}

/// Makes the path for an event, and checks it: damaged tiles give no proof that does not hold.
pub(crate) fn path_in(
    tiles: &TileDir,
    note: &SignedNote,
    checkpoint: &Checkpoint,
    placed: &Placed,
) -> Result<InclusionPath, NotProved> {
    let (index, size) = (placed.position - 1, checkpoint.size);
    if index >= size {
        return Err(NotProved::NotYet);
    }
    let hashes = inclusion(index, size, &mut |height, index| tiles.perfect(size, height, index))?;
    let leaf = LeafEntry::of(placed.actor, &placed.event).hashed();
    if root_above(leaf, index, size, &hashes) != Some(checkpoint.root) {
        return Err(NotProved::Damaged);
    }
    Ok(InclusionPath { index, hashes, note: note.clone() })
}

/// The hashes that show that the tree with `size` leaves begins with the one with `before` leaves.
pub(crate) fn consistency_in(tiles: &TileDir, before: u64, size: u64) -> io::Result<Vec<TreeHash>> {
    consistency(before, size, &mut |height, index| tiles.perfect(size, height, index))
}
