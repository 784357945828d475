//! The actors' tables in `index.db`.
//!
//! `rows` has what a table holds now; `past_rows` has what a row was until an event, so that whoever executes a transition
//! again sees what it saw. A row that is absent in `rows` was never there, or `past_rows` says until when it was. A version
//! may come late (`RowVersion::is_carried`): then it goes to its place among those that are known.

use rusqlite::{Connection, OptionalExtension, Result, Row as SqlRow, params};

use super::fact::Landmark;
use super::row_layer::{RowVersion, RowsPatch, VersionsByKey};
use super::sql::{capped, execute, landmark, signed, unsigned};
use crate::chain::EventHash;
use crate::journal::rows::{KeyRange, Row, TableAt};

pub(super) const TABLES: &str = "
    CREATE TABLE rows (
        actor INTEGER NOT NULL,
        era INTEGER NOT NULL,
        key BLOB NOT NULL,
        closed INTEGER NOT NULL,
        written INTEGER NOT NULL,
        hash BLOB NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (actor, era, key)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE past_rows (
        actor INTEGER NOT NULL,
        era INTEGER NOT NULL,
        key BLOB NOT NULL,
        until INTEGER NOT NULL,
        closed INTEGER,
        written INTEGER,
        hash BLOB,
        value BLOB,
        PRIMARY KEY (actor, era, key, until)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE opened (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        boot TEXT
    ) STRICT;
    CREATE TABLE row_counts (
        actor INTEGER NOT NULL,
        era INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        last INTEGER NOT NULL,
        PRIMARY KEY (actor, era)
    ) WITHOUT ROWID, STRICT;
";

/// Says that the index is open on this boot of the machine, or that all of it is on the disk.
///
/// Nothing that is written here is synced, and the rows are not in the standing sum. So if the machine went down while an
/// index with rows was open, it is made anew.
pub(super) fn note_boot(connection: &Connection, boot: Option<&str>) -> Result<()> {
    execute(connection, "INSERT OR REPLACE INTO opened (one, boot) VALUES (1, ?1)", [boot])
}

/// Whether the rows may have been lost with the machine.
pub(super) fn may_be_lost(connection: &Connection, boot: &str) -> Result<bool> {
    let mut select = connection.prepare("SELECT boot FROM opened")?;
    let opened: Option<Option<String>> = select.query_row([], |row| row.get(0)).optional()?;
    let has_rows = connection.query_row("SELECT EXISTS (SELECT 1 FROM row_counts)", [], |row| row.get(0))?;
    Ok(has_rows && opened.flatten().is_some_and(|opened| opened != boot))
}

/// The end of a chain's last event, for which SQLite has no larger number.
fn upto(at: &TableAt) -> i64 {
    capped(at.upto)
}

/// The newest thing that is known of a key: the event that closed the transition which wrote or deleted it, and the row.
pub(super) type LastWrite = (u64, Option<Row>);

/// What the tables know of a key last. Where the row is not there, that it was deleted is only said to one who asks for that.
pub(super) fn last_write(
    connection: &Connection,
    at: &TableAt,
    key: &[u8],
    with_deletes: bool,
) -> Result<Option<LastWrite>> {
    let mut select = connection.prepare_cached(
        "SELECT closed, written, hash, value FROM rows WHERE actor = ?1 AND era = ?2 AND key = ?3 AND closed <= ?4",
    )?;
    let key_of = params![at.actor, capped(at.era), key, upto(at)];
    if let Some(row) = select.query_row(key_of, row_at_0).optional()? {
        return Ok(Some((row.closed, Some(row))));
    }
    if at.upto != u64::MAX {
        let mut select = connection.prepare_cached(
            "SELECT closed, written, hash, value FROM past_rows
             WHERE actor = ?1 AND era = ?2 AND key = ?3 AND until > ?4 ORDER BY until LIMIT 1",
        )?;
        let found = select.query_row(params![at.actor, capped(at.era), key, upto(at)], |row| {
            let is_there = row.get::<_, Option<i64>>(0)?.is_some();
            if is_there { row_at_0(row).map(Some) } else { Ok(None) }
        });
        if let Some(row) = found.optional()?.flatten().filter(|row| row.closed <= at.upto) {
            return Ok(Some((row.closed, Some(row))));
        }
    }
    if !with_deletes {
        return Ok(None);
    }
    let mut select = connection.prepare_cached(
        "SELECT until FROM past_rows
         WHERE actor = ?1 AND era = ?2 AND key = ?3 AND until <= ?4 ORDER BY until DESC LIMIT 1",
    )?;
    let until = select.query_row(params![at.actor, capped(at.era), key, upto(at)], |row| unsigned(row, 0));
    Ok(until.optional()?.map(|until| (until, None)))
}

/// How many rows there are in this era, and the last event that closed a transition which wrote.
pub(super) fn count(connection: &Connection, actor: i64, era: u64) -> Result<Option<(u64, u64)>> {
    let mut select = connection.prepare_cached("SELECT rows, last FROM row_counts WHERE actor = ?1 AND era = ?2")?;
    select.query_row(params![actor, capped(era)], |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?))).optional()
}

/// The highest key of an actor with rows.
pub(super) fn last_key(connection: &Connection) -> Result<Option<i64>> {
    connection.prepare_cached("SELECT max(actor) FROM row_counts")?.query_row([], |row| row.get(0))
}

pub(super) fn has_any(connection: &Connection, actor: i64) -> Result<bool> {
    let mut select = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM row_counts WHERE actor = ?1)")?;
    select.query_row([actor], |row| row.get(0))
}

/// Visits the rows that are there now, in the order of their keys, until `visit` says that it is enough.
pub(super) fn each_now(
    connection: &Connection,
    at: &TableAt,
    range: KeyRange<'_>,
    mut visit: impl FnMut(&[u8], Row) -> Result<bool>,
) -> Result<()> {
    // Each form has a plan of its own, which begins and ends in the right place.
    let mut select = connection.prepare_cached(match (range.is_behind, range.end.is_some()) {
        (false, false) => {
            "SELECT closed, written, hash, value, key FROM rows
             WHERE actor = ?1 AND era = ?2 AND key >= ?3 AND ?4 IS NULL ORDER BY key"
        }
        (true, false) => {
            "SELECT closed, written, hash, value, key FROM rows
             WHERE actor = ?1 AND era = ?2 AND key > ?3 AND ?4 IS NULL ORDER BY key"
        }
        (false, true) => {
            "SELECT closed, written, hash, value, key FROM rows
             WHERE actor = ?1 AND era = ?2 AND key >= ?3 AND key < ?4 ORDER BY key"
        }
        (true, true) => {
            "SELECT closed, written, hash, value, key FROM rows
             WHERE actor = ?1 AND era = ?2 AND key > ?3 AND key < ?4 ORDER BY key"
        }
    })?;
    let mut rows = select.query(params![at.actor, capped(at.era), range.from, range.end])?;
    while let Some(row) = rows.next()? {
        let key = row.get_ref(4)?.as_blob()?;
        if !visit(key, row_at_0(row)?)? {
            break;
        }
    }
    Ok(())
}

/// Visits the keys of rows that are there now or were there after event `at.upto`, in order, until `visit` says that it is
/// enough.
pub(super) fn each_key(
    connection: &Connection,
    at: &TableAt,
    range: KeyRange<'_>,
    mut visit: impl FnMut(&[u8]) -> Result<bool>,
) -> Result<()> {
    let mut select = connection.prepare_cached(
        "SELECT key FROM rows WHERE actor = ?1 AND era = ?2 AND key >= ?3
         UNION
         SELECT key FROM past_rows WHERE actor = ?1 AND era = ?2 AND key >= ?3 AND until > ?4
         ORDER BY 1",
    )?;
    let mut rows = select.query(params![at.actor, capped(at.era), range.from, upto(at)])?;
    while let Some(row) = rows.next()? {
        let key = row.get_ref(0)?.as_blob()?;
        if range.end.is_some_and(|end| key >= end) {
            break;
        }
        if range.contains(key) && !visit(key)? {
            break;
        }
    }
    Ok(())
}

/// A version that the tables hold, with its key.
#[derive(Clone, Debug)]
pub(in crate::journal) struct StoredRow {
    pub(in crate::journal) era: u64,
    pub(in crate::journal) key: Vec<u8>,
    /// None: the row is there.
    pub(in crate::journal) until: Option<u64>,
    /// None: the row was not there until then.
    pub(in crate::journal) row: Option<Row>,
}

/// Versions of an actor's rows, in the order of eras, keys and time, behind one: at most so many of those that are there, and
/// of those that were.
pub(super) fn stored_now(connection: &Connection, actor: i64, behind: Option<(u64, &[u8])>) -> Result<Vec<StoredRow>> {
    let mut select = connection.prepare_cached(
        "SELECT closed, written, hash, value, era, key FROM rows
         WHERE actor = ?1 AND (era, key) > (?2, ?3) ORDER BY era, key LIMIT 1000",
    )?;
    let (era, key) = behind.map_or((-1, &[][..]), |(era, key)| (capped(era), key));
    let rows = select.query_map(params![actor, era, key], |row| {
        Ok(StoredRow { era: unsigned(row, 4)?, key: row.get(5)?, until: None, row: Some(row_at_0(row)?) })
    })?;
    rows.collect()
}

/// The same for what was.
pub(super) fn stored_past(
    connection: &Connection,
    actor: i64,
    behind: Option<(u64, &[u8], u64)>,
) -> Result<Vec<StoredRow>> {
    let mut select = connection.prepare_cached(
        "SELECT closed, written, hash, value, era, key, until FROM past_rows
         WHERE actor = ?1 AND (era, key, until) > (?2, ?3, ?4) ORDER BY era, key, until LIMIT 1000",
    )?;
    let (era, key, until) = behind.map_or((-1, &[][..], 0), |(era, key, until)| (capped(era), key, capped(until)));
    let rows = select.query_map(params![actor, era, key, until], |row| {
        let is_there = row.get::<_, Option<i64>>(0)?.is_some();
        let found = is_there.then(|| row_at_0(row)).transpose()?;
        Ok(StoredRow { era: unsigned(row, 4)?, key: row.get(5)?, until: Some(unsigned(row, 6)?), row: found })
    })?;
    rows.collect()
}

fn row_at_0(row: &SqlRow<'_>) -> Result<Row> {
    let hash = EventHash(row.get(2)?);
    let value = row.get_ref(3)?.as_blob()?.into();
    Ok(Row { closed: unsigned(row, 0)?, written: unsigned(row, 1)?, hash, value })
}

// Writing.

/// Writes what is new. The landmarks of the same layer are written before.
pub(super) fn write(connection: &Connection, patch: &RowsPatch) -> Result<()> {
    for (actor, events) in &patch.redacted {
        // What somebody may still ask for is carried, and comes after this.
        let gone = params![actor, capped(events.start), capped(events.end)];
        execute(
            connection,
            "UPDATE past_rows SET closed = NULL, written = NULL, hash = NULL, value = NULL
             WHERE actor = ?1 AND written >= ?2 AND written < ?3",
            gone,
        )?;
    }
    for (actor, versions) in &patch.written {
        write_actor(connection, *actor, versions)?;
    }
    for (actor, upto) in &patch.pruned {
        let gone = params![actor, capped(*upto)];
        execute(connection, "DELETE FROM past_rows WHERE actor = ?1 AND until <= ?2", gone)?;
        // A table that was emptied before is never read any more.
        let era = era_at(connection, *actor, *upto)?;
        for table in ["rows", "past_rows", "row_counts"] {
            let statement = format!("DELETE FROM {table} WHERE actor = ?1 AND era < ?2");
            execute(connection, &statement, params![actor, capped(era)])?;
        }
    }
    Ok(())
}

fn era_at(connection: &Connection, actor: i64, closed: u64) -> Result<u64> {
    Ok(landmark(connection, actor, Landmark::InitReturned, closed)?.map_or(0, |place| place.sequence))
}

fn write_actor(connection: &Connection, actor: i64, versions: &VersionsByKey) -> Result<()> {
    let closed = || versions.values().flatten().map(|version| version.closed);
    let (Some(first), Some(last)) = (closed().min(), closed().max()) else { return Ok(()) };
    let newest = era_at(connection, actor, last)?;
    // All of one era, unless an `init` has returned in between.
    let is_one = newest <= first;
    let mut counts = std::collections::BTreeMap::<u64, (i64, u64)>::new();
    for (key, versions) in versions {
        for version in versions {
            let era = if is_one { newest } else { era_at(connection, actor, version.closed)? };
            let added = write_version(connection, actor, era, key, version)?;
            let (rows, last) = counts.entry(era).or_default();
            *rows += added;
            *last = version.closed.max(*last);
        }
    }
    for (era, (added, last)) in counts {
        execute(
            connection,
            "INSERT INTO row_counts (actor, era, rows, last) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (actor, era) DO UPDATE SET rows = rows + ?3, last = max(last, ?4)",
            params![actor, capped(era), added, signed(last)?],
        )?;
    }
    Ok(())
}

/// Writes one version, and returns by how much it changes the number of rows.
fn write_version(connection: &Connection, actor: i64, era: u64, key: &[u8], version: &RowVersion) -> Result<i64> {
    let closed = signed(version.closed)?;
    let newest = TableAt { actor, era, upto: u64::MAX };
    if version.is_carried {
        if version.value.is_none() {
            // What was there before, and comes later still, ends here.
            execute(
                connection,
                "INSERT OR IGNORE INTO past_rows (actor, era, key, until) VALUES (?1, ?2, ?3, ?4)",
                params![actor, capped(era), key, closed],
            )?;
        }
        // The first thing that is known to have happened to the row afterwards.
        let mut select = connection.prepare_cached(
            "SELECT until, closed FROM past_rows
             WHERE actor = ?1 AND era = ?2 AND key = ?3 AND until > ?4 ORDER BY until LIMIT 1",
        )?;
        let next = select.query_row(params![actor, capped(era), key, closed], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?))
        });
        if let Some((until, known)) = next.optional()? {
            match known {
                Some(known) if known == closed => {}
                Some(known) if known > closed => {
                    put_past(connection, (actor, era, key, known), version.row().as_ref())?;
                }
                Some(_) => {
                    execute(
                        connection,
                        "UPDATE OR REPLACE past_rows SET until = ?5
                         WHERE actor = ?1 AND era = ?2 AND key = ?3 AND until = ?4",
                        params![actor, capped(era), key, until, closed],
                    )?;
                    put_past(connection, (actor, era, key, until), version.row().as_ref())?;
                }
                None => put_past(connection, (actor, era, key, until), version.row().as_ref())?,
            }
            return Ok(0);
        }
    }
    match last_write(connection, &newest, key, false)?.and_then(|(_, row)| row) {
        Some(now) if now.closed == version.closed && now.written >= version.written => Ok(0),
        Some(now) if now.closed > version.closed => {
            put_past(connection, (actor, era, key, signed(now.closed)?), version.row().as_ref())?;
            Ok(0)
        }
        Some(now) => {
            if now.closed < version.closed {
                put_past(connection, (actor, era, key, closed), Some(&now))?;
            }
            let removed = if version.value.is_some() { 0 } else { -1 };
            put_now(connection, (actor, era, key), version)?;
            Ok(removed)
        }
        None => {
            if version.value.is_none() {
                // It may have been there, and come late.
                put_past(connection, (actor, era, key, closed), None)?;
                return Ok(0);
            }
            put_now(connection, (actor, era, key), version)?;
            Ok(1)
        }
    }
}

fn put_now(connection: &Connection, (actor, era, key): (i64, u64, &[u8]), version: &RowVersion) -> Result<()> {
    let Some(value) = &version.value else {
        let gone = params![actor, capped(era), key];
        return execute(connection, "DELETE FROM rows WHERE actor = ?1 AND era = ?2 AND key = ?3", gone);
    };
    execute(
        connection,
        "INSERT OR REPLACE INTO rows (actor, era, key, closed, written, hash, value)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![actor, capped(era), key, signed(version.closed)?, signed(version.written)?, version.hash.0, &**value],
    )
}

fn put_past(
    connection: &Connection,
    (actor, era, key, until): (i64, u64, &[u8], i64),
    row: Option<&Row>,
) -> Result<()> {
    let number = |of: fn(&Row) -> u64| row.map(|row| signed(of(row))).transpose();
    execute(
        connection,
        "INSERT OR REPLACE INTO past_rows (actor, era, key, until, closed, written, hash, value)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            actor,
            capped(era),
            key,
            until,
            number(|row| row.closed)?,
            number(|row| row.written)?,
            row.map(|row| row.hash.0),
            row.map(|row| &*row.value),
        ],
    )
}
