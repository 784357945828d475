//! Whether a journal still has what its mark says was acknowledged: quickly, at a start, from the mark on. The whole is
//! surveyed when it is asked for.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::error::JournalError;
use super::mark::{Marked, Tip};
use super::schema::open_to_read;
use super::{Durability, mark};

/// The tip that the journal has come to, if that is what its mark vouches for.
pub(super) fn check_against_mark(
    path: &Path,
    connection: &Connection,
    marked: Option<Result<Marked, String>>,
) -> Result<Tip, JournalError> {
    let tip = stored_tip(connection).map_err(|error| JournalError::read(path, error))?;
    let marked = match marked {
        Some(Ok(marked)) => marked,
        // Made, but nothing was ever acknowledged.
        None if tip.position == 0 => return Ok(tip),
        None => return Err(JournalError::Mark { path: path.to_owned(), why: "the file is missing".into() }),
        Some(Err(why)) => return Err(JournalError::Mark { path: path.to_owned(), why }),
    };
    if first_position(connection).map_err(|error| JournalError::read(path, error))? != (tip.position > 0).then_some(1) {
        return Err(JournalError::Altered { path: path.to_owned(), position: 1 });
    }
    if tip.position < marked.tip.position {
        return behind(path, tip, &marked);
    }
    let behind_mark = digest_from(connection, marked.tip).map_err(|error| JournalError::read(path, error))?;
    if behind_mark != tip {
        return Err(JournalError::Altered { path: path.to_owned(), position: marked.tip.position });
    }
    Ok(tip)
}

/// What SQLite finds wrong with the database's own structure.
pub(crate) fn quick_check(dir: &Path) -> Result<Option<String>, JournalError> {
    let connection = open_to_read(dir)?;
    let check: rusqlite::Result<String> = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    Ok(match check {
        Ok(verdict) if verdict == "ok" => None,
        Ok(verdict) => Some(format!("SQLite says: {verdict}")),
        Err(error) => Some(format!("SQLite says: {error}")),
    })
}

/// A power loss under `relaxed` may leave this; nothing else may.
fn behind(path: &Path, tip: Tip, marked: &Marked) -> Result<Tip, JournalError> {
    let (found, promised) = (tip.position, marked.tip.position);
    if marked.durability == Durability::Relaxed && marked.boot != mark::boot_id() {
        log::warn!(
            "the machine was restarted under durability \"relaxed\": the journal in {} ends at position {found}, {} \
             events before the last that was acknowledged",
            path.display(),
            promised - found
        );
        return Ok(tip);
    }
    Err(JournalError::Behind { path: path.to_owned(), found, promised })
}

/// Where the first row stands: 1, if there is any and none was put before it or taken away.
fn first_position(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection.query_row("SELECT min(position) FROM events", [], |row| row.get(0))
}

pub(super) fn stored_tip(connection: &Connection) -> rusqlite::Result<Tip> {
    let position =
        connection.query_row("SELECT ifnull(max(position), 0) FROM events", [], |row| row.get::<_, i64>(0))?;
    let digest = connection
        .query_row("SELECT value FROM metadata WHERE key = 'digest'", [], |row| row.get(0))
        .optional()?
        .unwrap_or(Tip::EMPTY.digest);
    Ok(Tip { position: position.unsigned_abs(), digest })
}

/// The tip that the events after `from` lead to.
fn digest_from(connection: &Connection, from: Tip) -> rusqlite::Result<Tip> {
    let mut tip = from;
    let mut hashes = connection.prepare("SELECT hash FROM events WHERE position > ?1 ORDER BY position")?;
    let mut rows = hashes.query([i64::try_from(from.position).unwrap_or(i64::MAX)])?;
    while let Some(row) = rows.next()? {
        tip.push(&row.get(0)?);
    }
    Ok(tip)
}
