//! The data directory: one runtime at a time, by a lock that dies with its process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::JournalError;
use super::named::named;
use crate::base::dirs;

/// What the name of a directory begins with that is removed at the end.
const EPHEMERAL: &str = "theater-ephemeral-";

/// Those of this process that are there now; none is made any more once it is `None`.
static EPHEMERAL_NOW: Mutex<Option<Vec<PathBuf>>> = Mutex::new(Some(Vec::new()));

/// A directory this process holds. Dropping it lets go, and removes it where it was ephemeral.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    ephemeral: bool,
    _lock: File,
    /// Locked too: people delete files that are called `lock`.
    _held: File,
}

impl DataDir {
    /// Takes the directory at `path`, making it where there is none (for its owner only: it holds what actors said).
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        make(path).map_err(|error| JournalError::directory(path, error))?;
        Self::take(path, false)
    }

    /// Takes a new directory that is removed at the end. What processes that were killed have left is removed now.
    pub(crate) fn ephemeral() -> Result<Self, JournalError> {
        let beside = std::env::temp_dir();
        sweep(&beside);
        let path = beside.join(format!("{EPHEMERAL}{}", uuid::Uuid::new_v4()));
        let refused = |error| JournalError::directory(&path, error);
        if !beside.is_dir() {
            let why = format!("{}, which TMPDIR names, is no directory: create it, or name another", beside.display());
            return Err(refused(io::Error::other(why)));
        }
        {
            let mut now = EPHEMERAL_NOW.lock();
            let Some(now) = now.as_mut() else { return Err(refused(io::Error::other("the process is ending"))) };
            now.push(path.clone());
            // Under the lock: whoever ends the process finds it there, or hinders it from being made.
            make(&path).map_err(refused)?;
        }
        // However it goes on: what is there by then goes with the process.
        Self::take(&path, true).inspect_err(|_| _ = remove(&path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a directory that is there. It makes none: an ephemeral one may have been removed meanwhile, because the process
    /// ends, and stays away then.
    fn take(path: &Path, ephemeral: bool) -> Result<Self, JournalError> {
        let refused = |error| JournalError::directory(path, error);
        let path = path.canonicalize().map_err(refused)?;
        let of = |file: &Path, error| JournalError::directory(&path, named(file)(error));
        if let Some(parent) = path.parent() {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(|error| of(parent, error))?;
        }
        let file = path.join("lock");
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&file);
        let mut lock = opened.map_err(|error| of(&file, error))?;
        if !is_ours(&lock).map_err(|error| of(&file, error))? {
            let mut holder = String::new();
            lock.read_to_string(&mut holder).map_err(|error| of(&file, error))?;
            return Err(JournalError::InUse { path, holder: holder.trim().to_owned() });
        }
        let held = File::open(&path).map_err(|error| of(&path, error))?;
        if !is_ours(&held).map_err(|error| of(&path, error))? {
            let holder = "unknown, since its file `lock` was removed".to_owned();
            return Err(JournalError::InUse { path, holder });
        }
        let signed =
            lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| writeln!(lock, "{}", std::process::id()));
        signed.map_err(|error| of(&file, error))?;
        Ok(Self { path, ephemeral, _lock: lock, _held: held })
    }
}

/// Locks a file for as long as it is open. Whether that is possible: nobody else has locked it.
fn is_ours(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Makes a directory for its owner only, where there is none.
fn make(path: &Path) -> io::Result<()> {
    dirs::make_all(path).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            io::Error::new(error.kind(), format!("{error}: a file is in the way; name another with --data-dir"))
        }
        _ => error,
    })
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if self.ephemeral
            && let Err(error) = remove(&self.path)
        {
            log::warn!("cannot remove the temporary directory {}: {error}", self.path.display());
        }
    }
}

/// For a process that ends at once, whatever its threads are at: its temporary directories go, and no new one comes.
pub(crate) fn remove_ephemeral() {
    let now = EPHEMERAL_NOW.lock().take();
    for path in now.unwrap_or_default() {
        // There is nobody left to tell.
        let _ = remove(&path);
    }
}

/// Removes a directory in which another thread may still make a file, or that it removes as well. Until it is gone it
/// stays among those that an end at once removes: a second signal may come in the middle of this.
fn remove(path: &Path) -> io::Result<()> {
    const TRIES: usize = 10;
    let mut removed = Ok(());
    for _ in 0..TRIES {
        removed = fs::remove_dir_all(path);
        if removed.is_ok() || !path.exists() {
            removed = Ok(());
            break;
        }
    }
    if let (Ok(()), Some(now)) = (&removed, EPHEMERAL_NOW.lock().as_mut()) {
        now.retain(|other| other != path);
    }
    removed
}

/// Removes this user's temporary directories of processes that were killed: their lock was held once, and nobody holds
/// it now.
fn sweep(beside: &Path) {
    let is_own = |entry: &fs::DirEntry| {
        let metadata = entry.metadata();
        metadata.is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == rustix::process::geteuid().as_raw())
    };
    let entries = fs::read_dir(beside).into_iter().flatten().flatten();
    let named = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(EPHEMERAL);
    for path in entries.filter(|entry| named(entry) && is_own(entry)).map(|entry| entry.path()) {
        let Ok(lock) = File::open(path.join("lock")) else { continue };
        let was_held = lock.metadata().is_ok_and(|metadata| metadata.len() > 0);
        if was_held && is_ours(&lock).unwrap_or(false) {
            log::info!("removing {}, which a runtime left that was killed", path.display());
            // Another's, perhaps: then it stays.
            let _ = remove(&path);
        }
    }
}
