//! The data directory: one runtime at a time, by a lock that dies with its process.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::JournalError;

/// A directory this process holds. Dropping it lets go, and removes it where it was ephemeral.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    ephemeral: bool,
    _lock: File,
}

impl DataDir {
    /// Takes the directory at `path`, making it where there is none (for its owner only: it holds what actors said).
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        Self::take(path, false)
    }

    /// Takes a new directory that is removed at the end.
    pub(crate) fn ephemeral() -> Result<Self, JournalError> {
        Self::take(&std::env::temp_dir().join(format!("theater-{}", uuid::Uuid::new_v4())), true)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn take(path: &Path, ephemeral: bool) -> Result<Self, JournalError> {
        use std::os::unix::fs::DirBuilderExt;
        let refused = |error| JournalError::directory(path, error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(refused)?;
        let path = path.canonicalize().map_err(refused)?;
        if let Some(parent) = path.parent() {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(refused)?;
        }
        let lock = path.join("lock");
        let mut lock =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(lock).map_err(refused)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder).map_err(refused)?;
                return Err(JournalError::InUse { path, holder: holder.trim().to_owned() });
            }
            Err(error) => return Err(JournalError::directory(&path, error.into())),
        }
        let signed =
            lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
        signed.map_err(refused)?;
        Ok(Self { path, ephemeral, _lock: lock })
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if self.ephemeral
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            log::warn!("cannot remove the temporary directory {}: {error}", self.path.display());
        }
    }
}
