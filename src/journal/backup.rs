//! Copies of a journal, with or without a runtime at work on it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::components;
use super::error::JournalError;
use super::log::{self, MarkFile, Segments};
use super::named::named;
use super::upgrade::readable;

/// Copies the journal in `from`, as it is at one moment, into the directory `to`, which has none: the sealed segments, the
/// one that grows as far as it is committed, and the components. It is on disk when this returns. The index is not copied: it
/// comes from the log.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), JournalError> {
    let written = |error| JournalError::Copy { path: to.to_owned(), error };
    let readable = readable(from)?;
    let from = &*readable.dir;
    // Read first: what it vouches for is in the copy then, and perhaps more.
    let mark = MarkFile::bytes(from).map_err(|error| JournalError::directory(from, error))?;
    super::check_is_there(from)?;
    let segments = Segments::open_to_read(from).map_err(|error| JournalError::of_log(from, error))?;
    if let Some(mark) = mark {
        let path = to.join("journal.mark");
        let write = || {
            let mut file = File::create(&path)?;
            file.write_all(&mark).and_then(|()| file.sync_all())
        };
        write().map_err(named(&path)).map_err(written)?;
    }
    log::make_dir(to).map_err(written)?;
    for (path, length) in segments.files() {
        copy_file(&path, &to.join("log").join(path.file_name().unwrap_or_default()), length).map_err(written)?;
    }
    let stored = components::files(from).map_err(|error| JournalError::directory(from, error))?;
    make(&to.join("components")).map_err(written)?;
    for path in stored {
        copy_file(&path, &to.join("components").join(path.file_name().unwrap_or_default()), None).map_err(written)?;
    }
    for dir in [to.join("log"), to.join("components"), to.to_owned()] {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(written)?;
    }
    Ok(())
}

/// Copies a file, or so many bytes of its beginning.
fn copy_file(from: &Path, to: &Path, length: Option<u64>) -> io::Result<()> {
    let source = File::open(from).map_err(named(from))?;
    let mut target = File::create(to).map_err(named(to))?;
    io::copy(&mut source.take(length.unwrap_or(u64::MAX)), &mut target).map_err(named(to))?;
    target.sync_all().map_err(named(to))
}

fn make(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
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

/// Whether anything of a journal is in `dir`.
pub(crate) fn has_journal(dir: &Path) -> bool {
    let files = ["journal.mark", "journal.db", "journal.db-wal"];
    dir.join("log").is_dir() || files.iter().any(|name| dir.join(name).exists())
}
