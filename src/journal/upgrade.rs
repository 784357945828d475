//! Brings a journal of formats 1 to 4 to this one: all of it is written anew in a directory inside the data directory, which
//! then takes the place of the old files.
//!
//! ```text
//!   convert                                 upgrade/{log, components, journal.mark} ◀── journal.db (old, only read)
//!   the layer above verifies the new one
//!   take_place   log, components ◀── upgrade/      nothing is lost yet: a start begins anew
//!                journal.db      ◀── the stub      from here on the new journal counts
//!                journal.mark    ◀── upgrade/      done again by the next start, if need be
//! ```

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::dir::DataDir;
use super::durability::Durability;
use super::error::JournalError;
use super::format4;
use super::index;
use super::named::named;
use super::{Journal, Listener};

/// Bytes that may wait for the writer while a journal is converted.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// Where the new journal is written.
pub(crate) fn upgrade_dir(dir: &Path) -> PathBuf {
    dir.join("upgrade")
}

/// Whether `dir` has a journal of an older format.
pub(crate) fn is_older(dir: &Path) -> Result<bool, JournalError> {
    format4::is_in(dir)
}

/// Writes what the old journal in `from` holds into a new one in `to`. How many events there were.
pub(crate) fn convert(from: &Path, to: DataDir) -> Result<u64, JournalError> {
    let failed = Arc::<Mutex<Option<String>>>::default();
    let told = Arc::clone(&failed);
    let listener =
        Listener { committed: Box::new(|_| ()), failed: Box::new(move |error| *told.lock() = Some(error.to_string())) };
    let path = to.path().to_owned();
    let journal = Journal::open(to, Durability::Relaxed, QUEUE_BYTES, listener)?;
    let written = format4::upgrade(from, |record| {
        journal.handle().enqueue(record).map_err(|down| JournalError::Write(io::Error::other(down.to_string())))
    });
    journal.close();
    if let Some(why) = failed.lock().take() {
        return Err(JournalError::Write(io::Error::other(why)));
    }
    let events = written?.unwrap_or(0);
    // Nothing was synced on the way.
    sync_all(&path).map_err(|error| JournalError::directory(&path, error))?;
    Ok(events)
}

fn sync_all(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_all(&path)?;
        } else {
            File::open(&path).and_then(|file| file.sync_all()).map_err(named(&path))?;
        }
    }
    File::open(dir)?.sync_all()
}

/// The new journal, which is complete and verified, takes the place of the old one.
pub(crate) fn take_place(dir: &Path) -> Result<(), JournalError> {
    let of = |error| JournalError::directory(dir, error);
    let new = upgrade_dir(dir);
    // What the old database still has in its log must not be taken for the log of what comes in its place.
    format4::fold(dir)?;
    let moved = || -> io::Result<()> {
        for name in ["log", "components"] {
            remove_dir(&dir.join(name))?;
            if new.join(name).exists() {
                fs::rename(new.join(name), dir.join(name))?;
            }
        }
        File::open(dir)?.sync_all()
    };
    moved().map_err(of)?;
    let stub = new.join("journal.db");
    let _ = fs::remove_file(&stub);
    index::write_stub(&stub).map_err(of)?;
    let replaced = || -> io::Result<()> {
        File::open(&stub)?.sync_all()?;
        fs::rename(&stub, dir.join("journal.db"))?;
        File::open(dir)?.sync_all()
    };
    replaced().map_err(of)?;
    finish(dir)
}

/// Does what a process that ended within [`take_place`] has left to do.
pub(super) fn finish(dir: &Path) -> Result<(), JournalError> {
    let new = upgrade_dir(dir);
    if !new.exists() || format4::is_in(dir)? {
        return Ok(());
    }
    let finished = || -> io::Result<()> {
        for name in ["journal.db-wal", "journal.db-shm", "index.db", "index.db-wal", "index.db-shm"] {
            match fs::remove_file(dir.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if new.join("index.db").exists() {
            fs::rename(new.join("index.db"), dir.join("index.db"))?;
        }
        let mark = new.join("journal.mark");
        if mark.exists() {
            fs::rename(mark, dir.join("journal.mark"))?;
            File::open(dir)?.sync_all()?;
        }
        remove_dir(&new)
    };
    finished().map_err(|error| JournalError::directory(dir, error))
}

/// Removes what an earlier start has left that was broken off.
pub(crate) fn begin_anew(dir: &Path) -> Result<(), JournalError> {
    remove_dir(&upgrade_dir(dir)).map_err(|error| JournalError::directory(dir, error))
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(named(dir)(error)),
        _ => Ok(()),
    }
}

/// The journal in `dir` as this version reads it: itself, or, where it is older, a copy that is removed with the value.
pub(super) fn readable(dir: &Path) -> Result<Readable, JournalError> {
    if !format4::is_in(dir)? {
        return Ok(Readable { dir: dir.to_owned(), _copy: None });
    }
    let copy = DataDir::ephemeral()?;
    let inside = copy.path().join("journal");
    convert(dir, DataDir::open(&inside)?)?;
    Ok(Readable { dir: inside, _copy: Some(Arc::new(copy)) })
}

/// Where a journal is read.
#[derive(Clone)]
pub(super) struct Readable {
    pub(super) dir: PathBuf,
    /// Removed when nobody reads it any more.
    _copy: Option<Arc<DataDir>>,
}
