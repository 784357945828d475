//! The tree's hashes in files (C2SP `tlog-tiles`): a tile holds 256 hashes that stand beside each other, and the files have the
//! names under which a web server serves them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::tree::{TreeHash, above};

/// Hashes of a full tile.
pub(crate) const TILE_WIDTH: usize = 256;
/// A tile stands above so many levels of the tree.
pub(crate) const TILE_HEIGHT: u32 = 8;

/// The tiles of one tree.
#[derive(Clone, Debug)]
pub(crate) struct TileDir {
    dir: PathBuf,
}

/// The path of a tile: `tile/0/x001/x234/067`, or `tile/0/x001/x234/067.p/12` if it is partial.
pub(crate) fn tile_path(level: u32, index: u64, width: usize) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    let partial = if width < TILE_WIDTH { format!(".p/{width}") } else { String::new() };
    format!("tile/{level}/{path}{partial}")
}

/// How many hashes the tile at `index` of a level has in the tree with `size` leaves.
pub(crate) fn width_in(size: u64, level: u32, index: u64) -> usize {
    let hashes = size.checked_shr(TILE_HEIGHT * level).unwrap_or(0);
    let before = index.saturating_mul(TILE_WIDTH as u64);
    usize::try_from(hashes.saturating_sub(before)).unwrap_or(usize::MAX).min(TILE_WIDTH)
}

impl TileDir {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The first `width` hashes of a tile.
    pub(crate) fn read(&self, level: u32, index: u64, width: usize) -> io::Result<Vec<TreeHash>> {
        let first = |width_of_file: usize| -> io::Result<Vec<TreeHash>> {
            let path = self.dir.join(tile_path(level, index, width_of_file));
            let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            let bytes = fs::read(&path).map_err(named)?;
            let hashes: Vec<_> = bytes.as_chunks::<32>().0.iter().take(width).copied().map(TreeHash).collect();
            let is_enough = hashes.len() == width;
            let cut = || named(io::Error::new(io::ErrorKind::InvalidData, "the tile is cut short"));
            if is_enough { Ok(hashes) } else { Err(cut()) }
        };
        // A full tile may be about to be written. Once it is, its partial files go.
        first(TILE_WIDTH).or_else(|_| first(width)).or_else(|_| first(TILE_WIDTH))
    }

    /// Writes a tile, or as much of it as there is.
    pub(crate) fn write(&self, level: u32, index: u64, hashes: &[TreeHash]) -> io::Result<()> {
        let path = self.dir.join(tile_path(level, index, hashes.len()));
        let bytes = hashes.iter().map(|hash| hash.0).collect::<Vec<_>>().concat();
        match fs::write(&path, &bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                fs::write(&path, &bytes)
            }
            written => written,
        }
    }

    /// Removes what was written of a tile before it was full.
    pub(crate) fn remove_partial(&self, level: u32, index: u64) -> io::Result<()> {
        let path = self.dir.join(format!("{}.p", tile_path(level, index, TILE_WIDTH)));
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes all tiles.
    pub(crate) fn clear(&self) -> io::Result<()> {
        match fs::remove_dir_all(self.dir.join("tile")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The hash above the 2^`height` leaves at `index`, in the tree with `size` leaves.
    pub(crate) fn perfect(&self, size: u64, height: u32, index: u64) -> io::Result<TreeHash> {
        let (level, within) = (height / TILE_HEIGHT, height % TILE_HEIGHT);
        let first = index << within;
        let (tile, at) = (first / TILE_WIDTH as u64, (first % TILE_WIDTH as u64) as usize);
        let hashes = self.read(level, tile, width_in(size, level, tile))?;
        let under = hashes.get(at..at + (1 << within));
        under.map(above).ok_or_else(|| io::Error::other("the tree has no such hash"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_has_the_path_that_the_specification_gives_it() {
        assert_eq!(tile_path(0, 0, 256), "tile/0/000");
        assert_eq!(tile_path(0, 1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(tile_path(2, 1_000, 17), "tile/2/x001/000.p/17");
    }

    #[test]
    fn tiles_are_as_wide_as_the_tree_of_the_specification_has_them() {
        let widths = [(0, 272, 256), (0, 273, 112), (1, 0, 256), (1, 1, 17), (2, 0, 1), (0, 274, 0), (3, 0, 0)];
        for (level, index, width) in widths {
            assert_eq!(width_in(70_000, level, index), width, "level {level}, tile {index}");
        }
        assert_eq!((width_in(256, 0, 0), width_in(256, 1, 0), width_in(256, 0, 1)), (256, 1, 0));
    }
}
