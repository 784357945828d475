//! A tree that grows by leaves: in memory are only the hashes that are in no full tile yet, a few hundred of them. A tile that is
//! full is written at once, a partial one when a checkpoint needs it.

use std::io;

use super::tiles::{TILE_HEIGHT, TILE_WIDTH, TileDir, width_in};
use super::tree::{TreeHash, above, range};
use crate::base::pool;

/// Fewer tiles are not worth another core.
const SHARE: usize = 8;

/// The right edge of a tree.
#[derive(Clone, Debug)]
pub(super) struct GrowingTree {
    size: u64,
    /// The levels of tiles, the lowest first.
    levels: Vec<LevelEdge>,
}

/// The right edge of a level of tiles.
#[derive(Clone, Debug, Default)]
struct LevelEdge {
    full_tiles: u64,
    /// The hashes behind them.
    loose: Vec<TreeHash>,
}

impl GrowingTree {
    pub(super) fn empty() -> Self {
        Self { size: 0, levels: Vec::new() }
    }

    /// The edge of the tree with `size` leaves that these tiles hold.
    pub(super) fn of_tiles(tiles: &TileDir, size: u64) -> io::Result<Self> {
        let mut levels = Vec::new();
        for level in 0..64 / TILE_HEIGHT {
            let hashes = size >> (TILE_HEIGHT * level);
            if hashes == 0 {
                break;
            }
            let index = hashes / TILE_WIDTH as u64;
            let width = width_in(size, level, index);
            let loose = if width == 0 { Vec::new() } else { tiles.read(level, index, width)? };
            levels.push(LevelEdge { full_tiles: index, loose });
        }
        Ok(Self { size, levels })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds leaves. `tiles` takes each tile that is full by that; if there are none, the tree is only computed.
    pub(super) fn extend(&mut self, mut leaves: &[TreeHash], tiles: Option<&TileDir>) -> io::Result<()> {
        let loose = self.levels.first().map_or(0, |level| level.loose.len());
        if loose > 0 {
            let (first, rest) = leaves.split_at(leaves.len().min(TILE_WIDTH - loose));
            self.push(0, first, tiles)?;
            leaves = rest;
        }
        let (full, last) = leaves.as_chunks::<TILE_WIDTH>();
        let begin = self.size / TILE_WIDTH as u64;
        let numbered: Vec<_> = (begin..).zip(full).collect();
        let write = |(index, tile): &(u64, &[TreeHash; TILE_WIDTH])| {
            tiles.map_or(Ok(()), |tiles| tiles.write(0, *index, &tile[..]))?;
            Ok::<_, io::Error>(above(&tile[..]))
        };
        let above = pool::map(&numbered, numbered.len() / SHARE, write).into_iter().collect::<io::Result<Vec<_>>>()?;
        self.size += (full.len() * TILE_WIDTH) as u64;
        self.level(0).full_tiles += full.len() as u64;
        self.push(1, &above, tiles)?;
        self.push(0, last, tiles)
    }

    fn level(&mut self, level: u32) -> &mut LevelEdge {
        let level = level as usize;
        if self.levels.len() <= level {
            self.levels.resize(level + 1, LevelEdge::default());
        }
        &mut self.levels[level]
    }

    fn push(&mut self, level: u32, hashes: &[TreeHash], tiles: Option<&TileDir>) -> io::Result<()> {
        for hash in hashes {
            self.size += u64::from(level == 0);
            let edge = self.level(level);
            edge.loose.push(*hash);
            if edge.loose.len() == TILE_WIDTH {
                let (index, tile) = (edge.full_tiles, std::mem::take(&mut edge.loose));
                edge.full_tiles += 1;
                if let Some(tiles) = tiles {
                    tiles.write(level, index, &tile)?;
                    tiles.remove_partial(level, index)?;
                }
                self.push(level + 1, &[above(&tile)], tiles)?;
            }
        }
        Ok(())
    }

    /// Writes the partial tiles, which proofs in the tree as it is need.
    pub(super) fn write_partial(&self, tiles: &TileDir) -> io::Result<()> {
        for (level, LevelEdge { full_tiles, loose }) in (0..).zip(&self.levels) {
            if !loose.is_empty() {
                tiles.write(level, *full_tiles, loose)?;
            }
        }
        Ok(())
    }

    /// The root of the tree as it is.
    pub(super) fn root(&self) -> TreeHash {
        // The subtrees that a root is made of end with the last hashes of a level.
        let at_edge = |height: u32, index: u64| -> Option<TreeHash> {
            let (level, within) = (height / TILE_HEIGHT, height % TILE_HEIGHT);
            let edge = self.levels.get(level as usize)?;
            let at = usize::try_from((index << within) % TILE_WIDTH as u64).ok()?;
            edge.loose.get(at..at + (1 << within)).map(above)
        };
        let root = range(0, self.size, &mut |height, index| at_edge(height, index).ok_or(()));
        root.expect("an edge has the hashes of its root")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u64) -> Vec<TreeHash> {
        (0..count).map(|index| TreeHash::leaf(&index.to_be_bytes())).collect()
    }

    fn naive(leaves: &[TreeHash]) -> TreeHash {
        let perfect = &mut |height: u32, index: u64| {
            let from = (index << height) as usize;
            Ok::<_, ()>(above(&leaves[from..from + (1 << height)]))
        };
        range(0, leaves.len() as u64, perfect).expect("infallible")
    }

    #[test]
    fn a_tree_has_the_root_of_its_leaves_however_they_were_added_and_goes_on_from_its_tiles() {
        let dir = tempfile::tempdir().expect("a directory");
        let tiles = TileDir::new(dir.path());
        let all = leaves(66_000);
        let (mut tree, mut size) = (GrowingTree::empty(), 0);
        for step in [0, 1, 2, 253, 1, 255, 257, 512, 1_000, 63_000, 300, 419] {
            let to = (size + step).min(all.len());
            tree.extend(&all[size..to], Some(&tiles)).expect("room");
            size = to;
            assert_eq!((tree.size(), tree.root()), (size as u64, naive(&all[..size])), "{size} leaves");
            tree.write_partial(&tiles).expect("room");
            let read = GrowingTree::of_tiles(&tiles, tree.size()).expect("tiles");
            assert_eq!(read.root(), tree.root(), "{size} leaves");
            if size > 0 {
                let perfect = &mut |height, index| tiles.perfect(size as u64, height, index);
                assert_eq!(range(0, size as u64, perfect).expect("tiles"), tree.root());
            }
            if step == 512 {
                tree = read;
            }
        }
        assert_eq!(size, all.len());
        let mut computed = GrowingTree::empty();
        computed.extend(&all, None).expect("nothing is written");
        assert_eq!(computed.root(), tree.root());
        assert!(!dir.path().join("tile/0/000.p").exists(), "a full tile has no partial files");
    }

    #[test]
    fn an_earlier_checkpoint_finds_its_hashes_after_its_tiles_are_full() {
        let dir = tempfile::tempdir().expect("a directory");
        let tiles = TileDir::new(dir.path());
        let all = leaves(700);
        let mut tree = GrowingTree::empty();
        tree.extend(&all[..300], Some(&tiles)).expect("room");
        tree.write_partial(&tiles).expect("room");
        let before = tree.root();
        tree.extend(&all[300..], Some(&tiles)).expect("room");
        let root = range(0, 300, &mut |height, index| tiles.perfect(300, height, index)).expect("tiles");
        assert_eq!(root, before);
    }
}
