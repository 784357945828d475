//! The database: its tables, and how it is opened.
//!
//! `docs/journal.md` describes the tables for people; a change here is a new format version.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::Durability;
use super::checkpoint::LONG_LOG_BYTES;
use super::dir::DataDir;
use super::error::{JournalError, named};
use super::integrity::{check_against_mark, stored_tip};
use super::mark::{MarkFile, Marked, Tip};
use super::{older, seals};

pub(super) const VERSION: u32 = 4;
/// How long to wait for somebody else who writes; there is to be nobody.
pub(super) const BUSY: Duration = Duration::from_secs(10);
/// No lock of SQLite's own: a connection is one thread's at a time.
const READ_ONLY: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
/// "THEA", in the header of every journal: tells it from any other SQLite file.
const APPLICATION_ID: i64 = 0x5448_4541;

const TABLES: &str = "
    CREATE TABLE metadata (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;
    CREATE TABLE components (digest BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
    CREATE TABLE blobs (sha1 BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
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
        attempts INTEGER NOT NULL DEFAULT 0,
        started INTEGER NOT NULL DEFAULT 0,
        listed INTEGER NOT NULL DEFAULT 1
    ) STRICT;
    CREATE TABLE events (
        position INTEGER PRIMARY KEY,
        actor INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        previous INTEGER,
        timestamp INTEGER NOT NULL,
        event_type TEXT NOT NULL,
        hash BLOB NOT NULL,
        data BLOB NOT NULL,
        dropped INTEGER
    ) STRICT;
    CREATE TABLE states (
        actor INTEGER NOT NULL,
        slot INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        state BLOB,
        sha1 BLOB,
        PRIMARY KEY (actor, slot)
    ) WITHOUT ROWID, STRICT;
";

/// Deliveries that are owed; since version 2.
pub(super) const PENDING: &str = "
    CREATE TABLE pending (
        cause_actor TEXT NOT NULL,
        cause_sequence INTEGER NOT NULL,
        receiver TEXT NOT NULL,
        position INTEGER NOT NULL,
        notice TEXT,
        PRIMARY KEY (cause_actor, cause_sequence)
    ) WITHOUT ROWID, STRICT;
";

/// Who needs a blob: the position of an event whose data holds it, that of the event behind which a kept state is it
/// (negative), or 0: a `started` names it. Since version 3.
pub(super) const USES: &str = "
    CREATE TABLE uses (
        sha1 BLOB NOT NULL,
        user INTEGER NOT NULL,
        PRIMARY KEY (sha1, user)
    ) WITHOUT ROWID, STRICT;
";

/// An index over some events serves only who asks for them in these very words, so there is one place for them.
macro_rules! milestones {
    () => {
        "sequence % 64 = 63"
    };
}

macro_rules! landmarks {
    () => {
        "(event_type = 'started' OR event_type = 'failed' OR event_type = 'return ntwk:theater/actor.init')"
    };
}

/// Which events lead into the middle of a chain.
pub(super) const MILESTONES: &str = milestones!();
/// Which events a start looks for, on chains of any length. (For `IN` SQLite would make a table, once for each event.)
pub(super) const LANDMARKS: &str = landmarks!();

/// Where chains end, and what leads into their middle: see `chains.rs`. Since version 4.
pub(super) const CHAINS: &str = concat!(
    "CREATE TABLE heads (
        actor INTEGER PRIMARY KEY,
        position INTEGER NOT NULL,
        state INTEGER,
        dropped INTEGER,
        seal INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX milestones ON events (actor, sequence) WHERE ",
    milestones!(),
    ";
    CREATE INDEX landmarks ON events (actor, event_type, sequence) WHERE ",
    landmarks!(),
    ";"
);

/// Opens the journal in `dir` for writing, whatever its mark says. The mark stays as it is until the journal is closed.
pub(super) fn open_despite_loss(dir: &DataDir) -> Result<(Connection, MarkFile, Tip), JournalError> {
    let (path, durability) = (dir.path(), Durability::Commit);
    let read = |error| JournalError::read(path, error);
    let connection = Connection::open(path.join("journal.db")).map_err(read)?;
    prepare(&connection, durability).map_err(read)?;
    older::upgrade(&connection).map_err(read)?;
    seals::seal_all(&connection).map_err(read)?;
    let tip = stored_tip(&connection).map_err(read)?;
    let mark = MarkFile::held_back(path, durability).map_err(|error| JournalError::directory(path, error))?;
    Ok((connection, mark, tip))
}

/// Opens or makes the journal in `dir` for writing, and checks it against its mark.
pub(super) fn open(dir: &DataDir, durability: Durability) -> Result<(Connection, MarkFile, Tip), JournalError> {
    let path = dir.path();
    let file = path.join("journal.db");
    let marked = MarkFile::read(path).map_err(|error| JournalError::directory(path, error))?;
    if !file.exists() && marked.is_some() {
        return Err(JournalError::NoDatabase { path: path.to_owned(), why: "but no journal.db" });
    }
    let read = |error| JournalError::read(path, error);
    let mut is_sealed = matches!(&marked, Some(Ok(marked)) if marked.sealed);
    let tip = match look(path, &file, marked)? {
        Some(tip) => tip,
        None => {
            let connection = Connection::open(&file).map_err(read)?;
            prepare(&connection, durability).map_err(read)?;
            create(&connection).map_err(read)?;
            Tip::EMPTY
        }
    };
    let connection = Connection::open(&file).map_err(read)?;
    prepare(&connection, durability).map_err(read)?;
    is_sealed &= !older::upgrade(&connection).map_err(read)?;
    if !is_sealed {
        seals::seal_all(&connection).map_err(read)?;
    }
    let mark = MarkFile::begin(path, &tip, durability).map_err(|error| JournalError::directory(path, error))?;
    Ok((connection, mark, tip))
}

/// Checks a journal through a connection that cannot write: opening one for writing folds in what is left of the log,
/// and a journal that is refused must stay as it is. `None` where there is none yet.
fn look(path: &Path, file: &Path, marked: Option<Result<Marked, String>>) -> Result<Option<Tip>, JournalError> {
    let read = |error| JournalError::read(path, error);
    if !file.exists() {
        return Ok(None);
    }
    let connection = Connection::open_with_flags(file, READ_ONLY).map_err(read)?;
    if is_empty(&connection).map_err(read)? {
        return match marked {
            None => Ok(None),
            Some(_) => Err(JournalError::NoDatabase { path: path.to_owned(), why: "but journal.db is empty" }),
        };
    }
    check_version(path, &connection)?;
    check_against_mark(path, &connection, marked).map(Some)
}

/// Opens the journal in `dir` for reading what is committed.
pub(super) fn open_to_read(dir: &Path) -> Result<Connection, JournalError> {
    let connection = open_as_it_is(dir)?;
    older::read_as_new(&connection).map_err(|error| JournalError::read(dir, error))?;
    Ok(connection)
}

/// The same, with the tables of the version it has.
pub(super) fn open_as_it_is(dir: &Path) -> Result<Connection, JournalError> {
    let file = dir.join("journal.db");
    if !file.try_exists().map_err(|error| JournalError::directory(dir, named(&file)(error)))? {
        return Err(JournalError::Absent { path: dir.to_owned() });
    }
    let connection = match Connection::open_with_flags(&file, READ_ONLY) {
        Ok(connection) if version(&connection).is_ok() => connection,
        first => open_unwritable(dir, &file, first)?,
    };
    connection.busy_timeout(BUSY).map_err(|error| JournalError::read(dir, error))?;
    check_version(dir, &connection)?;
    Ok(connection)
}

/// Even to read a database with a log SQLite wants to write: the log's index. Where it may not (a copy on a medium that
/// cannot be written), a database that has no log is read as the plain file it then is.
fn open_unwritable(dir: &Path, file: &Path, first: rusqlite::Result<Connection>) -> Result<Connection, JournalError> {
    let has_log = file.with_extension("db-wal").metadata().is_ok_and(|log| log.len() > 0);
    let is_unwritable = rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_err();
    match first {
        _ if is_unwritable && has_log => Err(JournalError::Unwritable { path: dir.to_owned() }),
        _ if is_unwritable => Connection::open_with_flags(uri_of(file), READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
            .map_err(|error| JournalError::read(dir, error)),
        // Whatever is wrong with it is said when its version is read.
        Ok(connection) => Ok(connection),
        Err(error) => Err(JournalError::read(dir, error)),
    }
}

fn uri_of(file: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt;
    let mut uri = String::from("file:");
    for byte in file.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            other => write!(uri, "%{other:02x}").expect("a string takes what is written"),
        }
    }
    uri + "?immutable=1"
}

/// A connection that carries the log over into the database, and does nothing else.
pub(super) fn open_to_carry_over(dir: &Path) -> Result<Connection, JournalError> {
    let connection = Connection::open(dir.join("journal.db")).map_err(|error| JournalError::read(dir, error))?;
    // A carrying over syncs what it carries, whatever a commit does.
    connection.pragma_update(None, "synchronous", "full").map_err(|error| JournalError::read(dir, error))?;
    Ok(connection)
}

fn prepare(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    let synchronous = match durability {
        Durability::Commit => "full",
        Durability::Relaxed => "normal",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // The log is carried over elsewhere: see `checkpoint.rs`. Written from its beginning again, it is cut to this.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", LONG_LOG_BYTES.cast_signed())?;
    // What goes leaves nothing of itself where it was, in free pages neither: whatever was dropped, an earlier state, of
    // which nothing tells any more, may have said the same.
    connection.pragma_update_and_check(None, "secure_delete", "on", |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(())
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.execute_batch(TABLES)?;
    transaction.execute_batch(PENDING)?;
    transaction.execute_batch(USES)?;
    transaction.execute_batch(CHAINS)?;
    transaction.execute("INSERT INTO metadata VALUES ('digest', ?1)", [Tip::EMPTY.digest])?;
    transaction.commit()
}

pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn check_version(path: &Path, connection: &Connection) -> Result<(), JournalError> {
    let unreadable = |error| JournalError::read(path, error);
    let application: i64 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(unreadable)?;
    if application != APPLICATION_ID {
        return Err(JournalError::NotAJournal { path: path.join("journal.db") });
    }
    let found = version(connection).map_err(unreadable)?;
    if !(1..=i64::from(VERSION)).contains(&found) {
        return Err(JournalError::Version { path: path.to_owned(), found: found.to_string(), known: VERSION });
    }
    Ok(())
}
