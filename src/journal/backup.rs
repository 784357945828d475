//! Copies of a journal, with or without a runtime at work on it.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use super::error::JournalError;
use super::mark::MarkFile;
use super::schema::open_as_it_is;

/// Copies the journal in `from`, as it is at one moment, into the directory `to`, which has none. It takes as long as its
/// size says, whatever is written meanwhile, and is on disk when this returns.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), JournalError> {
    let written = |error| JournalError::directory(to, error);
    // Read first: what it vouches for is in the copy then, and perhaps more.
    let mark = MarkFile::bytes(from).map_err(|error| JournalError::directory(from, error))?;
    let file = to.join("journal.db");
    let name =
        file.to_str().ok_or_else(|| written(io::Error::new(io::ErrorKind::InvalidFilename, "it is not text")))?;
    // An older version stays one: a runtime brings it to this one.
    open_as_it_is(from)?
        .execute("VACUUM INTO ?1", [name])
        .map_err(|error| JournalError::Copy { path: to.into(), error })?;
    if let Some(mark) = mark {
        File::create(to.join("journal.mark")).and_then(|mut file| file.write_all(&mark)).map_err(written)?;
        File::open(to.join("journal.mark")).and_then(|file| file.sync_all()).map_err(written)?;
    }
    File::open(file).and_then(|file| file.sync_all()).map_err(written)?;
    File::open(to).and_then(|dir| dir.sync_all()).map_err(written)
}

/// Whether anything of a journal is in `dir`.
pub(crate) fn has_journal(dir: &Path) -> bool {
    ["journal.db", "journal.db-wal", "journal.mark"].iter().any(|name| dir.join(name).exists())
}
