//! The tree of a journal as it grows: events become leaves, and what was reached is signed. It reads what is committed and
//! nothing else, so a crash leaves no checkpoint over an event that is not there.

use std::sync::Arc;

use super::checkpoint::Checkpoint;
use super::fault::TreeFault;
use super::growing::GrowingTree;
use super::leaf::LeafEntry;
use super::note::{PrivateKey, SignedNote, SigningRole};
use super::shelf::Shelf;
use super::tree::TreeHash;
use crate::base::clock;
use crate::journal::{CommittedEvent, CommittedEvents, JournalReader, ReadFault};

/// What was signed.
#[derive(Clone, Debug)]
pub(crate) struct Signed {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) note: SignedNote,
}

/// The tree of a journal, and the key that signs it.
pub(super) struct TreeKeeper {
    reader: JournalReader,
    key: PrivateKey,
    origin: String,
    shelf: Shelf,
    tree: GrowingTree,
    events: CommittedEvents,
    newest: Option<Arc<Signed>>,
}

/// The leaf of an event.
pub(crate) fn leaf_of(event: &CommittedEvent<'_>) -> TreeHash {
    thread_local! {
        static ROOM: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    let CommittedEvent { actor, sequence, timestamp, parent, hash, event_type, data, .. } = *event;
    let entry = LeafEntry { actor, sequence, timestamp, parent, hash, event_type, data };
    ROOM.with_borrow_mut(|room| entry.hashed_in(room))
}

impl TreeKeeper {
    /// Goes on with the tree of a journal, or begins one. What was signed is compared with the log: see [`TreeFault`].
    pub(super) fn open(reader: JournalReader, key: PrivateKey, origin: String) -> Result<Self, TreeFault> {
        let shelf = Shelf::of(reader.dir());
        let boot = clock::boot_id();
        let in_order = shelf.was_left_in_order(&boot)?;
        let newest = match shelf.checkpoint()? {
            None => None,
            Some(note) => Some(Self::own(&shelf, &key, &origin, note)?),
        };
        let size = newest.as_ref().map_or(0, |newest| newest.checkpoint.size);
        let end = reader.end()?.saturating_sub(1);
        if end < size {
            return Err(TreeFault::RolledBack { found: end, signed: size, path: shelf.dir().to_owned() });
        }
        shelf.begin(&boot)?;
        let events = CommittedEvents::after(&reader, size)?;
        let tree = GrowingTree::empty();
        let mut keeper = Self { reader, key, origin, shelf, tree, events, newest: newest.map(Arc::new) };
        keeper.go_on(in_order)?;
        Ok(keeper)
    }

    /// The checkpoint that this key has signed for this origin.
    fn own(shelf: &Shelf, key: &PrivateKey, origin: &str, note: SignedNote) -> Result<Signed, TreeFault> {
        let path = || shelf.dir().join("checkpoint");
        let checkpoint = Checkpoint::of_note(&note, &key.public(SigningRole::Log));
        let checkpoint = checkpoint.map_err(|error| TreeFault::Key { path: path(), error })?;
        if checkpoint.origin != origin {
            let (found, expected) = (checkpoint.origin, origin.to_owned());
            return Err(TreeFault::Origin { path: path(), found, expected });
        }
        Ok(Signed { checkpoint, note })
    }

    /// Takes up the tree where it was signed last, and compares it with the log.
    fn go_on(&mut self, in_order: bool) -> Result<(), TreeFault> {
        let Some(newest) = &self.newest else {
            self.shelf.tiles().clear()?;
            return Ok(());
        };
        let Checkpoint { size, root, .. } = newest.checkpoint;
        let edge = GrowingTree::of_tiles(&self.shelf.tiles(), size).ok().filter(|edge| edge.root() == root);
        match edge.filter(|_| in_order) {
            Some(edge) => {
                self.tree = edge;
                let Err(fault) = self.check_last_segment(size) else { return Ok(()) };
                // Either the history was rewritten, or a tile was damaged: the log tells.
                match compare_with_log(&self.reader, size, &mut |_| None)?.root {
                    Some(found) if found == root => {
                        log::warn!("tiles of the proofs are damaged, and are made anew from the log: {fault}");
                        self.shelf.tiles().clear()?;
                        self.make_anew(size, root)
                    }
                    Some(_) | None => Err(fault),
                }
            }
            None => {
                log::info!("the tree of the proofs is made anew from the log: {size} events");
                self.shelf.tiles().clear()?;
                self.make_anew(size, root)
            }
        }
    }

    /// Compares the newest leaves of the tree with the events of the segment that has the last of them.
    fn check_last_segment(&self, size: u64) -> Result<(), TreeFault> {
        let tiles = self.shelf.tiles();
        let mut events = CommittedEvents::of_segment_with(&self.reader, size)?;
        let mut known: Option<(u64, Vec<TreeHash>)> = None;
        while let Some(run) = events.next_run(|event| (event.position, leaf_of(event)))? {
            for (position, leaf) in run {
                if position > size {
                    return Ok(());
                }
                let index = position - 1;
                let tile = index / 256;
                if known.as_ref().is_none_or(|(known, _)| *known != tile) {
                    known = Some((tile, tiles.read(0, tile, super::tiles::width_in(size, 0, tile))?));
                }
                let signed = known.as_ref().and_then(|(_, hashes)| hashes.get((index % 256) as usize));
                if signed != Some(&leaf) {
                    return Err(TreeFault::Rewritten { position, path: self.shelf.dir().to_owned() });
                }
            }
        }
        Ok(())
    }

    /// Makes the tiles anew, up to what was signed.
    fn make_anew(&mut self, size: u64, root: TreeHash) -> Result<(), TreeFault> {
        let (mut events, tiles) = (CommittedEvents::after(&self.reader, 0)?, self.shelf.tiles());
        let mut tree = GrowingTree::empty();
        while tree.size() < size
            && let Some(leaves) = events.next_run(leaf_of)?
        {
            let wanted = usize::try_from(size - tree.size()).unwrap_or(usize::MAX).min(leaves.len());
            tree.extend(&leaves[..wanted], Some(&tiles))?;
        }
        if tree.size() < size || tree.root() != root {
            return Err(TreeFault::RewrittenSomewhere { signed: size, path: self.shelf.dir().to_owned() });
        }
        tree.write_partial(&tiles)?;
        self.tree = tree;
        Ok(())
    }

    pub(super) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    pub(super) fn newest(&self) -> Option<&Arc<Signed>> {
        self.newest.as_ref()
    }

    pub(super) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// How many events are committed.
    pub(super) fn committed(&self) -> Result<u64, TreeFault> {
        Ok(self.reader.end()?.saturating_sub(1))
    }

    /// Adds events that were committed since; whether there were any. One call does not take long.
    pub(super) fn catch_up(&mut self) -> Result<bool, TreeFault> {
        let Some(leaves) = self.events.next_run(leaf_of)? else { return Ok(false) };
        self.tree.extend(&leaves, Some(&self.shelf.tiles()))?;
        Ok(true)
    }

    /// Signs what was reached, unless that was signed before.
    pub(super) fn sign(&mut self) -> Result<Option<Arc<Signed>>, TreeFault> {
        let signed = self.newest.as_ref().map_or(0, |newest| newest.checkpoint.size);
        if self.tree.size() == signed {
            return Ok(None);
        }
        // Under durability "relaxed", the log may not be on disk yet. Nothing is signed that a power loss could take away.
        self.events.sync()?;
        self.tree.write_partial(&self.shelf.tiles())?;
        let (origin, size, root) = (self.origin.clone(), self.tree.size(), self.tree.root());
        let checkpoint = Checkpoint { origin, size, root };
        let text = checkpoint.to_string();
        let note = SignedNote { signatures: vec![self.key.sign(&text)], text };
        // It is on disk before anyone sees it: a start that finds less in the log refuses to go on.
        self.shelf.keep_checkpoint(&note)?;
        let signed = Arc::new(Signed { checkpoint, note });
        self.newest = Some(Arc::clone(&signed));
        Ok(Some(signed))
    }

    /// Goes back to what was signed, after an error has left the tree at some place beyond it.
    pub(super) fn step_back(&mut self) -> Result<(), TreeFault> {
        let size = self.newest.as_ref().map_or(0, |newest| newest.checkpoint.size);
        self.tree = GrowingTree::of_tiles(&self.shelf.tiles(), size)?;
        self.events = CommittedEvents::after(&self.reader, size)?;
        Ok(())
    }

    /// Leaves the tiles as they are for the next start.
    pub(super) fn leave(&self) -> std::io::Result<()> {
        self.shelf.leave_in_order()
    }
}

/// The root over the first `size` events of a journal, as the log has them, and the leaf that differs first from `known`, if one
/// does. `known` says what a leaf was, if that is known.
pub(crate) fn compare_with_log(
    reader: &JournalReader,
    size: u64,
    known: &mut dyn FnMut(u64) -> Option<TreeHash>,
) -> Result<Compared, ReadFault> {
    let (mut events, mut tree) = (CommittedEvents::after(reader, 0)?, GrowingTree::empty());
    let mut differs = None;
    let mut seen = 0_u64;
    while let Some(leaves) = events.next_run(leaf_of)? {
        for (index, leaf) in (seen..).zip(&leaves) {
            if differs.is_none() && index < size && known(index).is_some_and(|known| known != *leaf) {
                differs = Some(index + 1);
            }
        }
        seen += leaves.len() as u64;
        let wanted = usize::try_from(size - tree.size()).unwrap_or(usize::MAX).min(leaves.len());
        tree.extend(&leaves[..wanted], None).expect("nothing is written");
    }
    let root = (tree.size() == size).then(|| tree.root());
    Ok(Compared { events: seen, root, differs })
}

/// What a log has in comparison with a checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct Compared {
    pub(crate) events: u64,
    /// The root at the size of the checkpoint; none if the log ends before that.
    pub(crate) root: Option<TreeHash>,
    /// The position of the first event that is not the one in the tiles.
    pub(crate) differs: Option<u64>,
}
