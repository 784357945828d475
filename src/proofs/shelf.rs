//! What lies in the directory `proofs` of a data directory: the tiles, and the checkpoints that were signed.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::note::{NOTE_BYTES, NoteError, SignedNote};
use super::tiles::TileDir;
use crate::base::whole_file::replace;

/// The newest checkpoint that was signed.
const CHECKPOINT: &str = "checkpoint";
/// The newest one that enough witnesses have cosigned.
const WITNESSED: &str = "checkpoint.witnessed";
/// How it was left; see [`Shelf::was_left_in_order`].
const STATE: &str = "state";
const DAMAGED: &str = "damaged\n";

/// The directory, which a runtime writes to and anyone may read.
#[derive(Clone, Debug)]
pub(crate) struct Shelf {
    dir: PathBuf,
}

impl Shelf {
    /// That of a data directory. It need not be there.
    pub(crate) fn of(data_dir: &Path) -> Self {
        Self { dir: data_dir.join("proofs") }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn tiles(&self) -> TileDir {
        TileDir::new(&self.dir)
    }

    /// The newest signed checkpoint, if there is one.
    pub(crate) fn checkpoint(&self) -> io::Result<Option<SignedNote>> {
        read_note(&self.dir.join(CHECKPOINT))
    }

    /// The newest checkpoint that enough witnesses have cosigned, if there is one.
    pub(crate) fn witnessed(&self) -> io::Result<Option<SignedNote>> {
        read_note(&self.dir.join(WITNESSED))
    }

    /// Keeps a checkpoint. When this returns, it is on disk.
    pub(super) fn keep_checkpoint(&self, note: &SignedNote) -> io::Result<()> {
        replace(&self.dir.join(CHECKPOINT), note.to_string().as_bytes())
    }

    pub(super) fn keep_witnessed(&self, note: &SignedNote) -> io::Result<()> {
        replace(&self.dir.join(WITNESSED), note.to_string().as_bytes())
    }

    /// Whether the tiles are what was written: the runtime before has ended in order, or the machine has been up since it wrote
    /// them. (Tiles are not synced: they follow from the log.)
    pub(super) fn was_left_in_order(&self, boot: &str) -> io::Result<bool> {
        match fs::read_to_string(self.dir.join(STATE)) {
            Ok(state) => Ok(state == "in order\n" || state == format!("boot {boot}\n")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Says that tiles are being written.
    pub(super) fn begin(&self, boot: &str) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        replace(&self.dir.join(STATE), format!("boot {boot}\n").as_bytes())
    }

    /// Says that tiles are damaged: the next start makes them anew.
    pub(super) fn distrust(&self) -> io::Result<()> {
        replace(&self.dir.join(STATE), DAMAGED.as_bytes())
    }

    /// Has the disk hold the tiles, and says so, unless they are known to be damaged.
    pub(super) fn leave_in_order(&self) -> io::Result<()> {
        if fs::read_to_string(self.dir.join(STATE)).is_ok_and(|state| state == DAMAGED) {
            return Ok(());
        }
        rustix::fs::syncfs(File::open(&self.dir)?)?;
        replace(&self.dir.join(STATE), b"in order\n")
    }
}

/// Reads a file that holds a signed note.
pub(crate) fn read_note(path: &Path) -> io::Result<Option<SignedNote>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(named)?,
    };
    let mut text = String::new();
    file.take(NOTE_BYTES as u64 + 1).read_to_string(&mut text).map_err(named)?;
    let wrong = |error: NoteError| named(io::Error::new(io::ErrorKind::InvalidData, error.to_string()));
    SignedNote::parse(&text).map(Some).map_err(wrong)
}
