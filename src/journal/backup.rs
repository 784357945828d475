//! Copies of a journal, with or without a runtime at work on it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::components;
use super::error::JournalError;
use super::log::{self, HeldFile, MarkFile, Segments};
use super::named::{named, open_file};
use super::upgrade::readable;
use crate::base::dirs;

/// Copies the journal in `from`, as it is at one moment, into the directory `to`, which has none: the sealed segments, the
/// one that grows as far as it is committed, and the components. It is on disk when this returns. The index is not copied: it
/// comes from the log.
///
/// A prune may write segments anew meanwhile. What is copied are the files that were opened first, while the end of the log
/// was read last: so the copy says that it lacks what it lacks.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), JournalError> {
    let written = |error| JournalError::Copy { path: to.to_owned(), error };
    let readable = readable(from)?;
    let from = &*readable.dir;
    // Read first: what it vouches for is in the copy then, and perhaps more.
    let mark = MarkFile::bytes(from).map_err(|error| JournalError::directory(from, error))?;
    super::check_is_there(from)?;
    if let Some(mark) = mark {
        let path = to.join("journal.mark");
        let write = || {
            let mut file = File::create(&path)?;
            file.write_all(&mark).and_then(|()| file.sync_all())
        };
        write().map_err(named(&path)).map_err(written)?;
    }
    log::make_dir(to).map_err(written)?;
    copy_log(from, to, log::held_at_most())?;
    let stored = components::files(from).map_err(|error| JournalError::directory(from, error))?;
    dirs::make(&to.join("components")).map_err(written)?;
    for path in stored {
        let source = open_file(&path).map_err(|error| JournalError::directory(from, named(&path)(error)))?;
        copy_file(source, &in_dir(&to.join("components"), &path), None).map_err(written)?;
    }
    for dir in [to.join("log"), to.join("components"), to.to_owned()] {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(written)?;
    }
    Ok(())
}

/// Copies the segments, of which so many are held open at most.
pub(super) fn copy_log(from: &Path, to: &Path, most: usize) -> Result<(), JournalError> {
    let written = |error| JournalError::Copy { path: to.to_owned(), error };
    let to = to.join("log");
    let mut copied = HashSet::new();
    loop {
        let (log, _) = Segments::open_holding(from, most).map_err(|error| JournalError::of_log(from, error))?;
        let files: Vec<_> = log.held_files().into_iter().filter(|held| !copied.contains(&held.path)).collect();
        // Of very many segments only some are held. The others are copied before the end of the log is read again.
        let mut is_all_held = true;
        for HeldFile { path, .. } in files.iter().filter(|held| held.file.is_none()) {
            let source = open_file(path).map_err(|error| JournalError::directory(from, named(path)(error)))?;
            copy_file(source, &in_dir(&to, path), None).map_err(written)?;
            copied.insert(path.clone());
            is_all_held = false;
        }
        if is_all_held {
            for HeldFile { path, file, length } in files {
                let Some(file) = file else { continue };
                let source = file.try_clone().map_err(|error| JournalError::directory(from, named(&path)(error)))?;
                copy_file(source, &in_dir(&to, &path), length).map_err(written)?;
            }
            return Ok(());
        }
    }
}

/// Where a file goes that keeps its name.
fn in_dir(dir: &Path, file: &Path) -> PathBuf {
    dir.join(file.file_name().unwrap_or_default())
}

/// Copies a file from its beginning, or so many bytes of it.
fn copy_file(mut source: File, to: &Path, length: Option<u64>) -> io::Result<()> {
    source.rewind().map_err(named(to))?;
    let mut target = File::create(to).map_err(named(to))?;
    io::copy(&mut source.take(length.unwrap_or(u64::MAX)), &mut target).map_err(named(to))?;
    target.sync_all().map_err(named(to))
}

/// Removes what a copy consists of from `dir`, and what a journal of an older version left of itself when it was copied. What
/// cannot be removed stays.
pub(crate) fn remove_copied(dir: &Path) {
    for name in ["log", "components"] {
        let _ = fs::remove_dir_all(dir.join(name));
    }
    let old = ["journal.db", "journal.db-journal", "journal.db-wal", "journal.db-shm"];
    for name in ["journal.mark", "index.db", "index.db-wal", "index.db-shm"].iter().chain(&old) {
        let _ = fs::remove_file(dir.join(name));
    }
}

/// Bytes of the log and of the components in `dir`.
pub(crate) fn bytes_in(dir: &Path) -> u64 {
    let files = ["log", "components"].iter().filter_map(|name| fs::read_dir(dir.join(name)).ok());
    files.flatten().flatten().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

/// Whether `dir` is the data directory of a runtime, whatever it is called.
pub(crate) fn is_data_directory(dir: &Path) -> bool {
    dir.join("journal.mark").is_file()
}

/// Whether anything of a journal is in `dir`.
pub(crate) fn has_journal(dir: &Path) -> bool {
    let files = ["journal.mark", "journal.db", "journal.db-wal"];
    dir.join("log").is_dir() || files.iter().any(|name| dir.join(name).exists())
}
