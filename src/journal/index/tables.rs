//! The tables in `index.db`: how they are opened, read and written.
//!
//! They hold what can be found out from the log at any time, so nothing here waits for a disk: a power loss may leave them
//! damaged, and then they are made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, OptionalExtension, Row, params};

use super::delta::{HeadPatch, Layer};
use super::fact::{
    ActorKey, ActorRow, Cause, ChainEnd, EventPlace, IndexedTo, Kept, Landmark, Listing, Promised, Unsaid,
    milestone_at_or_after,
};
use super::row_tables;
pub(super) use super::sql::landmark;
use super::sql::{capped, event_place, execute, signed, unsigned};
use crate::base::clock::boot_id;
use crate::base::id::{ActorId, Incarnation};
use crate::chain::{ComponentDigest, EventHash, KeyDigest};

type Result<T> = rusqlite::Result<T>;

/// "THEI", in the header of every index.
const APPLICATION_ID: i64 = 0x5448_4549;
/// Of these tables. An index of another version is made anew.
const VERSION: i64 = 3;
/// How long to wait for another process that opens the index at the same moment.
const BUSY: Duration = Duration::from_secs(10);
/// No lock of SQLite's own: a connection is one thread's at a time.
const WRITE: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
const READ: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

const TABLES: &str = "
    CREATE TABLE held (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        batch INTEGER NOT NULL,
        position INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE heads (
        actor INTEGER PRIMARY KEY,
        sequence INTEGER NOT NULL,
        position INTEGER NOT NULL,
        hash BLOB NOT NULL,
        state_sequence INTEGER,
        state_position INTEGER,
        dropped INTEGER
    ) STRICT;
    CREATE TABLE actors (
        actor INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        parent TEXT,
        incarnation INTEGER NOT NULL,
        component BLOB NOT NULL,
        manifest TEXT NOT NULL,
        manifest_path TEXT NOT NULL,
        alive INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        listed INTEGER NOT NULL,
        started INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE owed (
        cause_actor TEXT NOT NULL,
        cause_sequence INTEGER NOT NULL,
        receiver TEXT NOT NULL,
        position INTEGER NOT NULL,
        notice TEXT,
        PRIMARY KEY (cause_actor, cause_sequence)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE landmarks (
        actor INTEGER NOT NULL,
        landmark INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (actor, landmark, sequence)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE kept (
        actor INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        segment INTEGER,
        PRIMARY KEY (actor, sequence)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE keyed (
        key BLOB NOT NULL,
        actor INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (key, actor, sequence)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE paused (
        actor INTEGER PRIMARY KEY
    ) STRICT;
    CREATE TABLE milestones (
        actor INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        position INTEGER NOT NULL,
        PRIMARY KEY (actor, sequence)
    ) WITHOUT ROWID, STRICT;
";

/// The files of an index: the database, its write-ahead log, and that one's index.
fn files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        name.into()
    })
}

/// Opens the index at `path` for writing; the text says why there is none that can be used.
pub(super) fn open(path: &Path) -> std::result::Result<Connection, String> {
    check_file(path)?;
    let open = || {
        let connection = Connection::open_with_flags(path, WRITE)?;
        connection.busy_timeout(BUSY)?;
        Ok(connection)
    };
    let connection = open().map_err(|error: Error| error.to_string())?;
    check(&connection)?;
    prepare(&connection).map_err(|error| error.to_string())?;
    Ok(connection)
}

/// Removes what is at `path`, and makes an empty index.
pub(super) fn make(path: &Path) -> std::result::Result<Connection, String> {
    remove(path)?;
    let make = || {
        let connection = Connection::open_with_flags(path, WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        connection.busy_timeout(BUSY)?;
        prepare(&connection)?;
        create(&connection)?;
        row_tables::note_boot(&connection, Some(&boot_id()))?;
        Ok(connection)
    };
    make().map_err(|error: Error| error.to_string())
}

/// A second connection to an index that is open for writing.
pub(super) fn open_beside(path: &Path) -> Result<Connection> {
    let connection = open_for_reading(path)?;
    // The log is opened with what is first read, and by its name, which it may lose later.
    held(&connection)?;
    Ok(connection)
}

fn open_for_reading(path: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, READ)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Opens the index at `path` as it is at this moment, for reading alone.
pub(super) fn open_as_it_is(path: &Path) -> std::result::Result<Connection, String> {
    check_file(path)?;
    let is_unwritable = path.parent().is_some_and(|dir| rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_err());
    let connection = if is_unwritable { open_unwritable(path)? } else { open_for_reading(path).map_err(said)? };
    check(&connection)?;
    begin(&connection).map_err(said)?;
    Ok(connection)
}

/// Even to read a database with a write-ahead log SQLite wants to write: the log's index. Where it may not, a database
/// without a log is read as the plain file it then is.
pub(super) fn open_unwritable(path: &Path) -> std::result::Result<Connection, String> {
    let [_, log, _] = files(path);
    if log.metadata().is_ok_and(|log| log.len() > 0) {
        return Err("it has a write-ahead log, and nothing may be written beside it".into());
    }
    let mut uri = url::Url::from_file_path(std::path::absolute(path).map_err(|error| error.to_string())?)
        .map_err(|()| "its path cannot be written as a URI".to_owned())?;
    uri.set_query(Some("immutable=1"));
    let connection = Connection::open_with_flags(uri.as_str(), READ | OpenFlags::SQLITE_OPEN_URI).map_err(said)?;
    Ok(connection)
}

/// Tables of nothing, for where there is no file.
pub(super) fn nothing() -> Result<Connection> {
    let connection = Connection::open_in_memory()?;
    create(&connection)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

fn said(error: Error) -> String {
    error.to_string()
}

fn check_file(path: &Path) -> std::result::Result<(), String> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err("it is not a file".into()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err("there is none".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// Removes an index. The log goes first: beside another database it would be taken for that one's.
pub(super) fn remove(path: &Path) -> std::result::Result<(), String> {
    files(path).iter().rev().try_for_each(|file| match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(format!("{}: {error}", file.display())),
        Ok(()) | Err(_) => Ok(()),
    })
}

fn prepare(connection: &Connection) -> Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "off")?;
    // What is dropped from an actor's history is in no page any more.
    connection.pragma_update(None, "secure_delete", "on")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn create(connection: &Connection) -> Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.execute_batch(TABLES)?;
    transaction.execute_batch(row_tables::TABLES)?;
    transaction.commit()
}

/// Whether it is an index, and of this version.
fn check(connection: &Connection) -> std::result::Result<(), String> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(said);
    if number("application_id")? != APPLICATION_ID {
        return Err("it is not an index of a journal".into());
    }
    match number("user_version")? {
        VERSION => {}
        other => return Err(format!("its version is {other}, and this program's is {VERSION}")),
    }
    if row_tables::may_be_lost(connection, &boot_id()).map_err(said)? {
        return Err("the machine went down while it was written".into());
    }
    Ok(())
}

/// What is read from here on is what is there now. (A transaction begins with what it first reads.)
pub(super) fn begin(connection: &Connection) -> Result<()> {
    connection.prepare_cached("BEGIN")?.execute([])?;
    held(connection).map(drop)
}

pub(super) fn end(connection: &Connection) -> Result<()> {
    connection.prepare_cached("COMMIT")?.execute([]).map(drop)
}

/// Makes a copy of the database, whether or not its file still has a name.
pub(super) fn copy(connection: &Connection, to: &Path) -> Result<()> {
    let to = to.to_str().ok_or_else(|| Error::InvalidPath(to.to_owned()))?;
    connection.execute("VACUUM INTO ?1", [to]).map(drop)
}

/// Carries the write-ahead log over into the database, and cuts it off where nobody reads it.
pub(super) fn cut_off_the_log(connection: &Connection) -> Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

// Reading.

pub(super) fn held(connection: &Connection) -> Result<Option<IndexedTo>> {
    let mut select = connection.prepare_cached("SELECT batch, position FROM held")?;
    select.query_row([], |row| Ok(IndexedTo { batch: unsigned(row, 0)?, position: unsigned(row, 1)? })).optional()
}

pub(super) fn head(connection: &Connection, actor: i64) -> Result<Option<ChainEnd>> {
    let mut select = connection.prepare_cached(
        "SELECT sequence, position, hash, state_sequence, state_position, dropped FROM heads WHERE actor = ?1",
    )?;
    select.query_row([actor], |row| chain_end(row, 0)).optional()
}

pub(super) fn heads(connection: &Connection, mut visit: impl FnMut(i64, ChainEnd)) -> Result<()> {
    let mut select = connection
        .prepare("SELECT actor, sequence, position, hash, state_sequence, state_position, dropped FROM heads")?;
    each(&mut select.query([])?, |row| {
        visit(row.get(0)?, chain_end(row, 1)?);
        Ok(())
    })
}

const LISTING: &str = "SELECT actor, id, name, parent, incarnation, component, manifest, manifest_path, alive,
    attempts, listed, started FROM actors";

pub(super) fn actor(connection: &Connection, actor: i64) -> Result<Option<Listing>> {
    let mut select = connection.prepare_cached(&format!("{LISTING} WHERE actor = ?1"))?;
    select.query_row([actor], listing).optional()
}

pub(super) fn actors(connection: &Connection) -> Result<BTreeMap<i64, Listing>> {
    let mut select = connection.prepare(LISTING)?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, listing(row)?)))?;
    rows.collect()
}

const UNSAID: &str = "SELECT alive, attempts, listed, started, manifest_path, actor FROM actors";

pub(super) fn unsaid(connection: &Connection, actor: i64) -> Result<Option<Unsaid>> {
    let mut select = connection.prepare_cached(&format!("{UNSAID} WHERE actor = ?1"))?;
    select.query_row([actor], unsaid_row).optional()
}

pub(super) fn all_unsaid(connection: &Connection, mut visit: impl FnMut(i64, Unsaid)) -> Result<()> {
    let mut select = connection.prepare(UNSAID)?;
    each(&mut select.query([])?, |row| {
        visit(row.get(5)?, unsaid_row(row)?);
        Ok(())
    })
}

pub(super) fn is_paused(connection: &Connection, actor: i64) -> Result<bool> {
    connection.prepare_cached("SELECT 1 FROM paused WHERE actor = ?1")?.exists([actor])
}

/// The keys of the actors that are paused.
pub(super) fn all_paused(connection: &Connection) -> Result<BTreeSet<i64>> {
    let mut select = connection.prepare("SELECT actor FROM paused")?;
    let rows = select.query_map([], |row| row.get(0))?;
    rows.collect()
}

pub(super) fn key_of(connection: &Connection, id: ActorId) -> Result<Option<i64>> {
    let mut select = connection.prepare_cached("SELECT actor FROM actors WHERE id = ?1")?;
    select.query_row([id.to_string()], |row| row.get(0)).optional()
}

pub(super) fn last_key(connection: &Connection) -> Result<Option<i64>> {
    let actors = connection.prepare_cached("SELECT max(actor) FROM actors")?.query_row([], |row| row.get(0))?;
    // Rows may have been written for a fork that never began.
    Ok(row_tables::last_key(connection)?.max(actors))
}

/// The last column is the key of the actor where it owes this to itself.
const OWED: &str = "SELECT cause_actor, cause_sequence, receiver, position, notice,
    CASE WHEN receiver = cause_actor THEN (SELECT actor FROM actors WHERE id = cause_actor) END FROM owed";

pub(super) fn promised(connection: &Connection, cause: Cause) -> Result<Option<Promised>> {
    let mut select = connection.prepare_cached(&format!("{OWED} WHERE cause_actor = ?1 AND cause_sequence = ?2"))?;
    let found = select.query_row(params![cause.actor.to_string(), capped(cause.sequence)], owed_row).optional()?;
    Ok(found.map(|(_, promised)| promised))
}

pub(super) fn owed(connection: &Connection, mut visit: impl FnMut(Cause, Promised)) -> Result<()> {
    let mut select = connection.prepare(OWED)?;
    each(&mut select.query([])?, |row| {
        let (cause, promised) = owed_row(row)?;
        visit(cause, promised);
        Ok(())
    })
}

const TO_ITSELF: &str = "receiver = cause_actor AND cause_actor = (SELECT id FROM actors WHERE actor = ?1)";

/// What an actor owes itself.
pub(super) fn owed_to_itself(connection: &Connection, actor: i64) -> Result<Vec<(Cause, Promised)>> {
    let mut select = connection.prepare_cached(&format!("{OWED} WHERE {TO_ITSELF}"))?;
    let rows = select.query_map([actor], owed_row)?;
    rows.collect()
}

pub(super) fn milestone_from(connection: &Connection, actor: i64, sequence: u64) -> Result<Option<EventPlace>> {
    let mut select = connection.prepare_cached(
        "SELECT sequence, position FROM milestones WHERE actor = ?1 AND sequence >= ?2 ORDER BY sequence LIMIT 1",
    )?;
    select.query_row(params![actor, capped(milestone_at_or_after(sequence))], event_place).optional()
}

pub(super) fn next_landmark(
    connection: &Connection,
    actor: i64,
    landmark: Landmark,
    from: u64,
) -> Result<Option<EventPlace>> {
    let mut select = connection.prepare_cached(
        "SELECT sequence, position FROM landmarks
         WHERE actor = ?1 AND landmark = ?2 AND sequence >= ?3 ORDER BY sequence LIMIT 1",
    )?;
    select.query_row(params![actor, landmark.code(), capped(from)], event_place).optional()
}

/// Every landmark: the actor, the number for what it is, and where it stands.
pub(super) fn landmarks(connection: &Connection, mut visit: impl FnMut(i64, u8, EventPlace)) -> Result<()> {
    let mut select = connection.prepare("SELECT sequence, position, actor, landmark FROM landmarks")?;
    each(&mut select.query([])?, |row| {
        visit(row.get(2)?, row.get(3)?, event_place(row)?);
        Ok(())
    })
}

/// The last call of an actor with this idempotency key.
pub(super) fn keyed(connection: &Connection, key: KeyDigest, actor: i64) -> Result<Option<EventPlace>> {
    let mut select = connection.prepare_cached(
        "SELECT sequence, position FROM keyed WHERE key = ?1 AND actor = ?2 ORDER BY sequence DESC LIMIT 1",
    )?;
    select.query_row(params![key.0, actor], event_place).optional()
}

/// An actor with a call of this idempotency key.
pub(super) fn holder(connection: &Connection, key: KeyDigest) -> Result<Option<i64>> {
    connection
        .prepare_cached("SELECT actor FROM keyed WHERE key = ?1 LIMIT 1")?
        .query_row([key.0], |row| row.get(0))
        .optional()
}

/// Every call with an idempotency key: the key, the actor, and where it stands.
pub(super) fn all_keyed(connection: &Connection, mut visit: impl FnMut(KeyDigest, i64, EventPlace)) -> Result<()> {
    let mut select = connection.prepare("SELECT sequence, position, key, actor FROM keyed")?;
    each(&mut select.query([])?, |row| {
        visit(KeyDigest(row.get(2)?), row.get(3)?, event_place(row)?);
        Ok(())
    })
}

/// The states kept behind these events of an actor, in order.
pub(super) fn kept_within(connection: &Connection, actor: i64, events: Range<u64>) -> Result<BTreeMap<u64, Kept>> {
    let mut select = connection
        .prepare_cached("SELECT sequence, segment FROM kept WHERE actor = ?1 AND sequence >= ?2 AND sequence < ?3")?;
    let rows = select.query_map(params![actor, capped(events.start), capped(events.end)], |row| {
        Ok((unsigned(row, 0)?, kept_row(row)?))
    })?;
    rows.collect()
}

/// The last event before `before` behind which a state is kept.
pub(super) fn kept_before(connection: &Connection, actor: i64, before: u64) -> Result<Option<u64>> {
    let mut select = connection.prepare_cached(
        "SELECT sequence FROM kept WHERE actor = ?1 AND sequence < ?2 ORDER BY sequence DESC LIMIT 1",
    )?;
    select.query_row(params![actor, capped(before)], |row| unsigned(row, 0)).optional()
}

/// The first event from `from` on behind which a state is kept.
pub(super) fn kept_from(connection: &Connection, actor: i64, from: u64) -> Result<Option<u64>> {
    let mut select = connection
        .prepare_cached("SELECT sequence FROM kept WHERE actor = ?1 AND sequence >= ?2 ORDER BY sequence LIMIT 1")?;
    select.query_row(params![actor, capped(from)], |row| unsigned(row, 0)).optional()
}

pub(super) fn all_kept(connection: &Connection, mut visit: impl FnMut(i64, u64, Kept)) -> Result<()> {
    let mut select = connection.prepare("SELECT sequence, segment, actor FROM kept")?;
    each(&mut select.query([])?, |row| {
        visit(row.get(2)?, unsigned(row, 0)?, kept_row(row)?);
        Ok(())
    })
}

fn each(rows: &mut rusqlite::Rows<'_>, mut visit: impl FnMut(&Row<'_>) -> Result<()>) -> Result<()> {
    while let Some(row) = rows.next()? {
        visit(row)?;
    }
    Ok(())
}

fn chain_end(row: &Row<'_>, first: usize) -> Result<ChainEnd> {
    let last = EventPlace { sequence: unsigned(row, first)?, position: unsigned(row, first + 1)? };
    let hash = EventHash(row.get(first + 2)?);
    let state = match (unsigned_or_none(row, first + 3)?, unsigned_or_none(row, first + 4)?) {
        (Some(sequence), Some(position)) => Some(EventPlace { sequence, position }),
        (None, None) => None,
        _ => return Err(Error::InvalidColumnType(first + 4, "state_position".into(), Type::Null)),
    };
    Ok(ChainEnd { last, hash, state, dropped: unsigned_or_none(row, first + 5)? })
}

fn listing(row: &Row<'_>) -> Result<Listing> {
    let parent: Option<String> = row.get(3)?;
    Ok(Listing {
        row: ActorRow {
            actor: ActorKey { key: row.get(0)?, id: actor_id(&row.get::<_, String>(1)?, 1)? },
            name: row.get(2)?,
            parent: parent.map(|text| actor_id(&text, 3)).transpose()?,
            incarnation: Incarnation(unsigned(row, 4)?),
            component: ComponentDigest(row.get(5)?),
            manifest: row.get(6)?,
            manifest_path: row.get(7)?,
            alive: flag(row, 8)?,
        },
        attempts: unsigned(row, 9)?,
        listed: flag(row, 10)?,
        started: unsigned(row, 11)?,
    })
}

fn unsaid_row(row: &Row<'_>) -> Result<Unsaid> {
    Ok(Unsaid {
        alive: flag(row, 0)?,
        attempts: unsigned(row, 1)?,
        listed: flag(row, 2)?,
        started: unsigned(row, 3)?,
        manifest_path: row.get(4)?,
    })
}

fn owed_row(row: &Row<'_>) -> Result<(Cause, Promised)> {
    let cause = Cause { actor: actor_id(&row.get::<_, String>(0)?, 0)?, sequence: unsigned(row, 1)? };
    let receiver = actor_id(&row.get::<_, String>(2)?, 2)?;
    Ok((cause, Promised { receiver, position: unsigned(row, 3)?, notice: row.get(4)?, own: row.get(5)? }))
}

fn kept_row(row: &Row<'_>) -> Result<Kept> {
    Ok(row.get::<_, Option<u32>>(1)?.map_or(Kept::InEvent, Kept::InSegment))
}

/// A number that no program of ours writes there is not taken for the nearest that one does.
fn flag(row: &Row<'_>, column: usize) -> Result<bool> {
    match row.get::<_, i64>(column)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Error::IntegralValueOutOfRange(column, other)),
    }
}

fn unsigned_or_none(row: &Row<'_>, column: usize) -> Result<Option<u64>> {
    let value: Option<i64> = row.get(column)?;
    value.map(|value| u64::try_from(value).map_err(|_| Error::IntegralValueOutOfRange(column, value))).transpose()
}

fn actor_id(text: &str, column: usize) -> Result<ActorId> {
    text.parse().map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

fn signed_or_none(count: Option<u64>) -> Result<Option<i64>> {
    count.map(signed).transpose()
}

// Writing.

/// Writes a layer in one transaction: all of it or nothing.
pub(super) fn write(connection: &Connection, layer: &Layer) -> Result<()> {
    let transaction = connection.unchecked_transaction()?;
    write_heads(&transaction, layer)?;
    // What an actor owes itself is found by its row.
    write_actors(&transaction, layer)?;
    write_owed(&transaction, layer)?;
    write_places(&transaction, layer)?;
    write_kept(&transaction, layer)?;
    write_paused(&transaction, layer)?;
    row_tables::write(&transaction, &layer.rows)?;
    if let Some(IndexedTo { batch, position }) = layer.upto {
        execute(
            &transaction,
            "INSERT OR REPLACE INTO held (one, batch, position) VALUES (1, ?1, ?2)",
            params![signed(batch)?, signed(position)?],
        )?;
    }
    transaction.commit()
}

fn write_heads(connection: &Connection, layer: &Layer) -> Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO heads (actor, sequence, position, hash, state_sequence, state_position, dropped)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (actor) DO UPDATE SET
             sequence = ?2, position = ?3, hash = ?4,
             state_sequence = ifnull(?5, state_sequence), state_position = ifnull(?6, state_position),
             dropped = CASE WHEN ?7 > ifnull(dropped, -1) THEN ?7 ELSE dropped END",
    )?;
    // By key, so that pages are written once.
    let heads: BTreeMap<i64, &HeadPatch> = layer.heads.iter().map(|(actor, head)| (*actor, head)).collect();
    for (actor, HeadPatch { last, state, dropped, .. }) in heads {
        let dropped = signed_or_none(*dropped)?;
        match last {
            Some((last, hash)) => upsert.execute(params![
                actor,
                signed(last.sequence)?,
                signed(last.position)?,
                hash.0,
                signed_or_none(state.map(|state| state.sequence))?,
                signed_or_none(state.map(|state| state.position))?,
                dropped,
            ])?,
            None => connection
                .prepare_cached("UPDATE heads SET dropped = max(ifnull(dropped, -1), ?2) WHERE actor = ?1")?
                .execute(params![actor, dropped])?,
        };
    }
    Ok(())
}

fn write_actors(connection: &Connection, layer: &Layer) -> Result<()> {
    for (actor, patch) in &layer.actors {
        if let Some(Listing { row, attempts, listed, started }) = patch.begun.as_deref() {
            execute(
                connection,
                "INSERT OR REPLACE INTO actors (actor, id, name, parent, incarnation, component, manifest,
                     manifest_path, alive, attempts, listed, started)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                params![
                    actor,
                    row.actor.id.to_string(),
                    row.name,
                    row.parent.map(|parent| parent.to_string()),
                    signed(row.incarnation.number())?,
                    row.component.0,
                    row.manifest,
                    row.manifest_path,
                    row.alive,
                    signed(*attempts)?,
                    listed,
                    signed(*started)?,
                ],
            )?;
        }
        execute(
            connection,
            "UPDATE actors SET alive = ifnull(?2, alive), attempts = ifnull(?3, attempts), listed = ifnull(?4, listed)
             WHERE actor = ?1",
            params![actor, patch.alive, signed_or_none(patch.attempts)?, patch.listed],
        )?;
    }
    Ok(())
}

fn write_owed(connection: &Connection, layer: &Layer) -> Result<()> {
    for actor in &layer.owed.ended {
        execute(connection, &format!("DELETE FROM owed WHERE {TO_ITSELF}"), [actor])?;
    }
    for (cause, row) in &layer.owed.rows {
        let (actor, sequence) = (cause.actor.to_string(), signed(cause.sequence)?);
        match row {
            None => execute(
                connection,
                "DELETE FROM owed WHERE cause_actor = ?1 AND cause_sequence = ?2",
                params![actor, sequence],
            )?,
            Some(Promised { receiver, position, notice, own: _ }) => execute(
                connection,
                "INSERT OR REPLACE INTO owed (cause_actor, cause_sequence, receiver, position, notice)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![actor, sequence, receiver.to_string(), signed(*position)?, notice],
            )?,
        }
    }
    Ok(())
}

fn write_places(connection: &Connection, layer: &Layer) -> Result<()> {
    for ((actor, sequence), position) in &layer.milestones {
        execute(
            connection,
            "INSERT OR REPLACE INTO milestones (actor, sequence, position) VALUES (?1, ?2, ?3)",
            params![actor, signed(*sequence)?, signed(*position)?],
        )?;
    }
    for ((actor, landmark, sequence), position) in &layer.landmarks {
        execute(
            connection,
            "INSERT OR REPLACE INTO landmarks (actor, landmark, sequence, position) VALUES (?1, ?2, ?3, ?4)",
            params![actor, landmark.code(), signed(*sequence)?, signed(*position)?],
        )?;
    }
    for ((key, actor, sequence), position) in &layer.keyed {
        execute(
            connection,
            "INSERT OR REPLACE INTO keyed (key, actor, sequence, position) VALUES (?1, ?2, ?3, ?4)",
            params![key.0, actor, signed(*sequence)?, signed(*position)?],
        )?;
    }
    Ok(())
}

fn write_paused(connection: &Connection, layer: &Layer) -> Result<()> {
    for (actor, is_paused) in layer.paused() {
        let statement = match is_paused {
            true => "INSERT OR IGNORE INTO paused (actor) VALUES (?1)",
            false => "DELETE FROM paused WHERE actor = ?1",
        };
        execute(connection, statement, [actor])?;
    }
    Ok(())
}

fn write_kept(connection: &Connection, layer: &Layer) -> Result<()> {
    for (actor, events) in &layer.kept.gone {
        execute(
            connection,
            "DELETE FROM kept WHERE actor = ?1 AND sequence >= ?2 AND sequence < ?3",
            params![actor, capped(events.start), capped(events.end)],
        )?;
    }
    for ((actor, sequence), kept) in &layer.kept.rows {
        let segment = match kept {
            Kept::InEvent => None,
            Kept::InSegment(segment) => Some(segment),
        };
        execute(
            connection,
            "INSERT OR REPLACE INTO kept (actor, sequence, segment) VALUES (?1, ?2, ?3)",
            params![actor, signed(*sequence)?, segment],
        )?;
    }
    Ok(())
}

/// The format of the journal; and the first that was a log, too.
const FORMAT: i64 = 7;
const FIRST_LOG: i64 = 5;
const NEWEST_BUT_ONE: i64 = FORMAT - 1;
/// "THEA".
const STUB_ID: i64 = 0x5448_4541;
/// What a program left that was killed while it wrote the file.
const UNFINISHED: i64 = 0;

/// Makes `journal.db` in `dir` where it is missing or says an older format: older programs look for a database of this name,
/// and refuse the journal by the version that it has.
pub(in crate::journal) fn make_stub(dir: &Path) -> std::io::Result<()> {
    let path = dir.join("journal.db");
    let is_missing = path.metadata().map_or(true, |file| file.len() == 0);
    let look = || -> Result<(i64, i64, bool)> {
        let stub = Connection::open(&path)?;
        let pragma = |name| stub.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let has_table = "SELECT count(*) > 0 FROM sqlite_schema WHERE name = 'the_journal_is_in_the_directory_log'";
        Ok((pragma("user_version")?, pragma("application_id")?, stub.query_row(has_table, [], |row| row.get(0))?))
    };
    if !is_missing {
        match look() {
            Ok((FORMAT, STUB_ID, true)) => return Ok(()),
            // Whoever opens the journal has refused it.
            Ok((found, STUB_ID, _)) if found > FORMAT => return Ok(()),
            Ok((FIRST_LOG..=NEWEST_BUT_ONE | UNFINISHED, ..)) => {}
            _ => log::warn!("{} is damaged, and is made anew: all of the journal is in the log", path.display()),
        }
    }
    // Beside, and then renamed: who is killed while SQLite writes leaves a file that cannot be read without writing.
    let new = dir.join("journal.db.new");
    for file in [&new, &dir.join("journal.db.new-journal"), &dir.join("journal.db-journal")] {
        // What is left of it would be taken for a part of the new file.
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    write_stub(&new)?;
    std::fs::File::open(&new)?.sync_all()?;
    // What SQLite has left beside a damaged one belongs to that one.
    for name in ["journal.db-wal", "journal.db-shm"] {
        let _ = std::fs::remove_file(dir.join(name));
    }
    std::fs::rename(&new, &path)?;
    std::fs::File::open(dir)?.sync_all()
}

/// Writes that database.
pub(in crate::journal) fn write_stub(path: &Path) -> std::io::Result<()> {
    let write = || {
        let stub = Connection::open(path)?;
        stub.pragma_update(None, "application_id", STUB_ID)?;
        stub.pragma_update(None, "user_version", FORMAT)?;
        // Those programs take a database without a table for one that has lost everything.
        stub.execute_batch("CREATE TABLE IF NOT EXISTS the_journal_is_in_the_directory_log (path TEXT)")
    };
    write().map_err(|error: Error| as_the_system_says(path, &error))
}

/// What SQLite says of a file, as an error of the system, whose kind has a remedy.
fn as_the_system_says(path: &Path, error: &Error) -> std::io::Error {
    let (kind, hint) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => (ErrorKind::StorageFull, ""),
        // SQLite keeps to itself what the system said.
        Some(ErrorCode::SystemIoFailure) => {
            (ErrorKind::Other, " (a fault of the device, or a file that is larger than `ulimit -f` allows)")
        }
        _ => (ErrorKind::Other, ""),
    };
    std::io::Error::new(kind, format!("{}: {error}{hint}", path.display()))
}
