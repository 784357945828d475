//! Whether a journal still has what its mark says was acknowledged: quickly at a start, from the mark on; wholly when it is
//! asked for.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::error::JournalError;
use super::mark::{MarkFile, Marked, Tip};
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
    if tip.position < marked.tip.position {
        return behind(path, tip, &marked);
    }
    let behind_mark = digest_from(connection, marked.tip).map_err(|error| JournalError::read(path, error))?;
    if behind_mark != tip {
        return Err(JournalError::Altered { path: path.to_owned(), position: marked.tip.position });
    }
    Ok(tip)
}

/// Rolls the digest over all events, and says where it does not come to what the database and the mark hold.
pub(super) fn examine(dir: &Path) -> Result<Vec<String>, JournalError> {
    // Read first: while a runtime is at work the rows are never behind it.
    let marked = MarkFile::read(dir).map_err(|error| JournalError::directory(dir, error))?;
    let connection = open_to_read(dir)?;
    let mut found = Vec::new();
    let marked = match marked {
        Some(Ok(marked)) => Some(marked),
        Some(Err(why)) => {
            found.push(format!("journal.mark: {why}"));
            None
        }
        None => {
            found.push("journal.mark is missing".to_owned());
            None
        }
    };
    if let Err(error) = roll(&connection, marked.as_ref(), &mut found) {
        found.push(format!("the table of events cannot be read: {error}"));
    }
    let check: rusqlite::Result<String> = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    match check {
        Ok(verdict) if verdict == "ok" => {}
        Ok(verdict) => found.push(format!("SQLite says: {verdict}")),
        Err(error) => found.push(format!("SQLite says: {error}")),
    }
    Ok(found)
}

fn roll(connection: &Connection, marked: Option<&Marked>, found: &mut Vec<String>) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    let stored = stored_tip(&transaction)?;
    let mut tip = Tip::EMPTY;
    let mut select = transaction.prepare("SELECT position, hash FROM events ORDER BY position")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let position = row.get::<_, i64>(0)?.unsigned_abs();
        if position != tip.position + 1 {
            found.push(format!("the event at position {} is missing", tip.position + 1));
            return Ok(());
        }
        tip.push(&row.get(1)?);
        if let Some(marked) = marked.filter(|marked| marked.tip.position == position)
            && marked.tip != tip
        {
            found.push(format!("the events up to position {position} are not those that journal.mark vouches for"));
        }
    }
    if let Some(marked) = marked.filter(|marked| marked.tip.position > tip.position) {
        found.push(format!(
            "the journal ends at position {}, but journal.mark says that {} was acknowledged",
            tip.position, marked.tip.position
        ));
    }
    if stored.digest != tip.digest {
        found.push("the events are not those that the journal's own digest vouches for".to_owned());
    }
    Ok(())
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

fn stored_tip(connection: &Connection) -> rusqlite::Result<Tip> {
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
