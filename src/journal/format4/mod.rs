//! Reads journals of formats 1 to 4, which were SQLite databases, so that the first start on one writes what it holds into
//! a new journal. The old files are only read. Nothing else needs this directory: the day nobody has such a journal, it goes.
//!
//! ```text
//!   open      the mark ── every event: place, hash, link ── every row that says more than the chains do
//!   records   every event again, in the order of positions, with what was written beside it
//! ```
//!
//! | version | what it brought |
//! |---|---|
//! | 1 | |
//! | 2 | deliveries that are owed, attempts, data that was dropped |
//! | 3 | large parts kept once, actors that are listed no longer |
//! | 4 | the table `heads`, seals over rows |
//!
//! Version 1 stored no messages that waited in mailboxes: they are lost, as they were at each start.

mod check;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

use super::error::JournalError;
use super::log::Segments;
use super::named::{named, open_file};
use super::parts;
use super::record::{ActorKey, ActorStarted, Attached, Cause, Owed, Record, StateWrite};
use crate::base::clock;
use crate::base::id::{ActorId, Incarnation};
use crate::chain::cbor::Cbor;
use crate::chain::data::{NamedState, Started};
use crate::chain::{
    ChainEvent, ComponentDigest, DataDigest, DroppedData, EventHash, EventKind, Head, StateOnChain, named_by_return,
    sha1,
};

const READ_ONLY: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
/// "THEA", in the header of every journal's database.
const APPLICATION_ID: i64 = 0x5448_4541;
/// The version of what a newer journal puts in the place of the database, so that older programs refuse it.
const LOG: i64 = 5;
/// The newest format that this program knows.
const NEWEST: i64 = 7;
/// The newest state of an actor; a kept one has its event's sequence and 1.
const NEWEST_SLOT: u64 = 0;
/// The words of the table `pending`; a message has none.
const NOTICES: [&str; 5] = ["started", "restarted", "stopped", "failed", CLOSE];
const CLOSE: &str = "close";
/// How often a long pass says how far it has come.
const SAY_EVERY: Duration = Duration::from_secs(2);
/// What a new journal of few events takes.
const LEAST_ROOM: u64 = 16 * 1024 * 1024;

type State = Option<Vec<u8>>;
type Outcome<T> = Result<T, Trouble>;

/// What stops a pass: rows that cannot be read, or what has been found in them.
enum Trouble {
    Rows(rusqlite::Error),
    Refused(JournalError),
}

impl Trouble {
    fn of(self, dir: &Path) -> JournalError {
        match self {
            Self::Rows(error) => unreadable(dir, error),
            Self::Refused(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Rows(error)
    }
}

impl From<JournalError> for Trouble {
    fn from(error: JournalError) -> Self {
        Self::Refused(error)
    }
}

/// Writes what an old journal in `dir` holds to `write`, if there is one: first every component, then [`OldJournal::records`].
/// All of it is checked before, and so is the room on the disk. How many events there were.
pub(super) fn upgrade(
    dir: &Path,
    mut write: impl FnMut(Record) -> Result<(), JournalError>,
) -> Result<Option<u64>, JournalError> {
    if !OldJournal::found_in(dir)? {
        return Ok(None);
    }
    let old = OldJournal::open(dir)?;
    log::info!("the journal has format version {}: its {} events are written into a new one", old.version, old.events);
    check_room(dir, old.room_needed()?)?;
    old.components(|digest, bytes| write(Record::Component(digest, bytes.into())))?;
    old.records(write)?;
    Ok(Some(old.events))
}

/// Whether the directory holds a journal of these formats.
pub(super) fn is_in(dir: &Path) -> Result<bool, JournalError> {
    OldJournal::found_in(dir)
}

/// Carries what the old database has in its write-ahead log over into it: nothing but the database counts then.
pub(super) fn fold(dir: &Path) -> Result<(), JournalError> {
    let folded = || {
        let rows = Connection::open(dir.join("journal.db"))?;
        rows.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
    };
    match folded().map_err(|error| unreadable(dir, error))? {
        0 => Ok(()),
        _ => Err(JournalError::directory(dir, std::io::Error::other("somebody else reads journal.db: end that first"))),
    }
}

/// Rows that cannot be read.
fn unreadable(dir: &Path, error: rusqlite::Error) -> JournalError {
    let file = dir.join("journal.db");
    JournalError::Read { path: dir.to_owned(), error: super::error::unfit(format!("{}: {error}", file.display())) }
}

/// Whether what is in a file that can be read is not what SQLite has written. Damage has many faces: a word in the head of the
/// file may ask for what SQLite cannot do.
fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode;
    let of_the_system = [
        ErrorCode::SystemIoFailure,
        ErrorCode::DiskFull,
        ErrorCode::OutOfMemory,
        ErrorCode::DatabaseBusy,
        ErrorCode::DatabaseLocked,
    ];
    error.sqlite_error_code().is_none_or(|code| !of_the_system.contains(&code))
}

/// Refuses a disk that is too full, before anything is written.
fn check_room(dir: &Path, needed: u64) -> Result<(), JournalError> {
    let of = |error| JournalError::directory(dir, error);
    let disk = rustix::fs::statvfs(dir).map_err(|error| of(error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free >= needed {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1024 * 1024);
    let why = format!(
        "the journal is to be written anew, which takes {} MiB beside the old one, and {} MiB are free: make room, and \
         start again; nothing was changed",
        mib(needed),
        mib(free)
    );
    Err(of(std::io::Error::new(std::io::ErrorKind::StorageFull, why)))
}

/// An old journal. Every event of it has been checked, and every row that something will be built on.
pub(super) struct OldJournal {
    dir: PathBuf,
    rows: Connection,
    version: i64,
    events: u64,
    actors: BTreeMap<i64, OldActor>,
    pending: HashMap<Cause, OldPending>,
}

/// A delivery that is owed.
struct OldPending {
    position: u64,
    owed: Owed,
}

/// An actor: what its row says, and what its chain has come to.
struct OldActor {
    actor: ActorKey,
    row: ActorStarted,
    is_alive: bool,
    is_listed: bool,
    /// The event that is said to have led to the newest state.
    led: Option<u64>,
    /// The events behind which a state is kept for good.
    kept: BTreeSet<u64>,
    head: Option<Head>,
    last_position: u64,
    last_kind: Option<EventKind>,
    newest_start: Option<(u64, Started)>,
    /// What the chain says of the state, and which event says it.
    now: (StateOnChain, u64),
    /// The newest state, and the event that is taken to have led to it: one that names a state.
    newest: Option<(NamedState, u64)>,
}

impl OldActor {
    fn has_ended(&self) -> bool {
        matches!(self.last_kind, Some(EventKind::Failed | EventKind::Stopped))
    }
}

/// An event, and where it stands among those of all actors.
struct OldEvent {
    position: u64,
    key: i64,
    event: ChainEvent,
}

impl OldJournal {
    /// Whether the directory holds a journal of these formats.
    pub(super) fn found_in(dir: &Path) -> Result<bool, JournalError> {
        let file = dir.join("journal.db");
        if !file.try_exists().map_err(|error| JournalError::directory(dir, error))? {
            return Ok(false);
        }
        // Whether it can be read at all; SQLite keeps to itself what the system says.
        open_file(&file).map_err(|error| JournalError::directory(dir, named(&file)(error)))?;
        let look = || {
            // A program that was killed while it wrote the file left it to SQLite to undo that, which is to write.
            let is_unfinished = dir.join("journal.db-journal").exists();
            let rows =
                if is_unfinished { Connection::open(&file)? } else { Connection::open_with_flags(&file, READ_ONLY)? };
            let (is_empty, is_beside_a_log) = rows.query_row(
                "SELECT count(*) = 0, total(name = 'the_journal_is_in_the_directory_log') > 0 FROM sqlite_schema",
                [],
                |row| Ok((row.get::<_, bool>(0)?, row.get::<_, bool>(1)?)),
            )?;
            let application = rows.pragma_query_value(None, "application_id", |row| row.get::<_, i64>(0))?;
            rusqlite::Result::Ok((is_empty, is_beside_a_log, application, version(&rows)?))
        };
        let has_log = || Segments::is_in(dir).map_err(|error| JournalError::of_log(dir, error));
        let found = match look() {
            Ok(found) => found,
            // All is in the log then, and a start makes the file anew.
            Err(error) if is_damage(&error) && has_log()? => return Ok(false),
            Err(error) if is_damage(&error) => {
                let error = super::error::unfit(format!(
                    "{}: {error}. There is no log beside it, so it may be a journal of an older version: restore the directory \
                     from a backup; nothing was changed",
                    file.display()
                ));
                return Err(JournalError::Read { path: dir.to_owned(), error });
            }
            Err(error) => return Err(unreadable(dir, error)),
        };
        match found {
            // No program has written such a version, or such a number, beside a log: that is damage, too.
            (_, true, application, found) if (found < LOG || application != APPLICATION_ID) && has_log()? => Ok(false),
            (_, _, APPLICATION_ID, 1..LOG) => Ok(true),
            // Made and never written to; or what stands there beside a newer journal.
            (true, _, 0 | APPLICATION_ID, 0) | (_, _, APPLICATION_ID, LOG..=NEWEST) => Ok(false),
            (_, _, APPLICATION_ID, found) => {
                let known = u32::try_from(NEWEST).expect("a small number");
                Err(JournalError::Version { path: dir.to_owned(), found: found.to_string(), known })
            }
            _ => Err(JournalError::NotAJournal { path: file }),
        }
    }

    /// Opens the journal and checks all of it. What a start of its own program would refuse is refused in the same words.
    pub(super) fn open(dir: &Path) -> Result<Self, JournalError> {
        Self::read(dir).and_then(Self::checked).map_err(|trouble| trouble.of(dir))
    }

    /// The size of the database, with what is in its write-ahead log.
    pub(super) fn bytes(&self) -> Result<u64, JournalError> {
        let pragma = |name| self.rows.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let bytes = pragma("page_count").and_then(|pages| Ok(pages * pragma("page_size")?));
        bytes.map(i64::unsigned_abs).map_err(|error| unreadable(&self.dir, error))
    }

    /// The room that a new journal of this is given: a part that several events share is there once more in each segment,
    /// and the index comes beside.
    pub(super) fn room_needed(&self) -> Result<u64, JournalError> {
        self.bytes().map(|bytes| bytes + bytes / 2 + LEAST_ROOM)
    }

    /// Shows every component that has run.
    pub(super) fn components(
        &self,
        mut visit: impl FnMut(ComponentDigest, Vec<u8>) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let mut all = || {
            let mut select = self.rows.prepare("SELECT digest, bytes FROM components ORDER BY digest")?;
            let mut found = select.query([])?;
            while let Some(row) = found.next()? {
                visit(ComponentDigest(row.get(0)?), row.get(1)?)?;
            }
            Ok(())
        };
        all().map_err(|trouble: Trouble| trouble.of(&self.dir))
    }

    /// Shows what a new journal is to hold, in the order of positions: each event has the position that it had.
    ///
    /// A state that its event does not hold comes with the event behind which it was stored: where it was kept for good, and
    /// where it is the actor's newest.
    pub(super) fn records(
        &self,
        mut visit: impl FnMut(Record) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let events = self.walk("written", |OldEvent { position, key, event }| {
            let actor = self.actors.get(&key).ok_or_else(|| unfit(format!("there is no actor of key {key}")))?;
            let mut attached = self.attached(actor, &event, position)?;
            if let (Some(_), Some(name)) = (&attached.begins, large_state(&event)) {
                attached.begins_with = Some((name, self.blob(&name)?.into()));
            }
            Ok(visit(Record::Event(actor.actor, event, attached))?)
        });
        events.map_err(|trouble| trouble.of(&self.dir))?;
        for actor in self.actors.values() {
            if !actor.is_alive && !actor.has_ended() {
                visit(Record::Ended(actor.actor))?;
            }
            if !actor.is_listed {
                visit(Record::Forgotten(actor.actor))?;
            }
        }
        Ok(())
    }

    fn attached(&self, actor: &OldActor, event: &ChainEvent, position: u64) -> Outcome<Attached> {
        let sequence = event.sequence;
        let cause = Cause { actor: actor.actor.id, sequence };
        let owes = self.pending.get(&cause).filter(|pending| pending.position == position).map(|pending| pending.owed);
        let begins = begins(event).map(|started| {
            let is_newest = actor.newest_start.as_ref().is_some_and(|(newest, _)| *newest == sequence);
            Box::new(ActorStarted {
                name: started.name,
                parent: started.parent,
                incarnation: started.incarnation,
                component: started.component,
                manifest: started.manifest.into(),
                manifest_path: actor.row.manifest_path.clone(),
                attempts: if is_newest { actor.row.attempts } else { 0 },
            })
        });
        let is_last = actor.head.is_some_and(|head| head.sequence == sequence);
        let ends = is_last && !actor.is_alive && actor.has_ended();
        Ok(Attached { begins, state: self.state_write(actor, event)?, owes, ends, ..Attached::default() })
    }

    fn state_write(&self, actor: &OldActor, event: &ChainEvent) -> Outcome<Option<StateWrite>> {
        let keep = actor.kept.contains(&event.sequence);
        let is_newest = actor.newest.as_ref().is_some_and(|(_, home)| *home == event.sequence);
        let said = said_by(event);
        // Of a `return` whose data was dropped, only the rows tell whether it named a state.
        let named = is_newest || matches!(said, Some(StateOnChain::Named(_)));
        if !named && !keep {
            return Ok(None);
        }
        let slot = if keep { Some(event.sequence + 1) } else { is_newest.then_some(NEWEST_SLOT) };
        let stored = slot.map_or(Ok(None), |slot| self.stored_state(actor.actor.key, slot))?;
        let state = match (stored, said) {
            (Some((_, state)), _) => state,
            (None, Some(StateOnChain::Named(NamedState::Inline(state)))) => Some(state),
            (None, _) => None,
        };
        Ok(Some(StateWrite { state: state.map(Arc::from), named, keep }))
    }

    /// Shows every event in the order of positions, its data whole.
    fn walk(&self, done: &str, mut visit: impl FnMut(OldEvent) -> Outcome<()>) -> Outcome<()> {
        let dropped = if self.version < 2 { "NULL" } else { "dropped" };
        let mut select = self.rows.prepare(&format!(
            "SELECT position, actor, sequence, timestamp, event_type, hash, data, {dropped} FROM events ORDER BY position"
        ))?;
        let mut found = select.query([])?;
        let mut parents: HashMap<i64, EventHash> = HashMap::new();
        let mut pace = Pace { done, events: self.events, said: clock::now() };
        while let Some(row) = found.next()? {
            let mut old = self.event(row)?;
            old.event.parent_hash = parents.insert(old.key, old.event.hash);
            pace.reached(old.position);
            visit(old)?;
        }
        Ok(())
    }

    fn event(&self, row: &Row<'_>) -> Outcome<OldEvent> {
        let dropped = match row.get::<_, Option<i64>>(7)? {
            Some(length) => Some(DroppedData { length: length.unsigned_abs(), digest: DataDigest::Plain(row.get(6)?) }),
            None => None,
        };
        let event = ChainEvent {
            salt: None,
            sequence: unsigned(row, 2)?,
            timestamp: unsigned(row, 3)?,
            event_type: row.get::<_, String>(4)?.into(),
            parent_hash: None,
            hash: EventHash(row.get(5)?),
            data: if dropped.is_some() { Vec::new() } else { self.whole(row.get(6)?)? },
            dropped,
        };
        Ok(OldEvent { position: unsigned(row, 0)?, key: row.get(1)?, event })
    }

    /// The data of an event, with the parts that were stored apart.
    fn whole(&self, stored: Vec<u8>) -> Outcome<Vec<u8>> {
        let whole = parts::put_back(stored, |name| self.blob(name).map(Some))?;
        whole.map_err(|name| {
            unfit(format!("a part of an event's data is not there: SHA-1 {}", hex::encode(name))).into()
        })
    }

    /// Bytes that are stored under their SHA-1.
    fn blob(&self, name: &[u8; 20]) -> Outcome<Vec<u8>> {
        let mut select = self.rows.prepare_cached("SELECT bytes FROM blobs WHERE sha1 = ?1")?;
        let bytes: Option<Vec<u8>> = select.query_row([name], |row| row.get(0)).optional()?;
        let hex = || hex::encode(name);
        match bytes {
            Some(bytes) if sha1(&bytes) == *name => Ok(bytes),
            Some(_) => Err(unfit(format!("the blob {} was altered", hex())).into()),
            None => Err(unfit(format!("the blob {} is not there", hex())).into()),
        }
    }

    /// The state in a slot, and the event behind which it is stored.
    fn stored_state(&self, key: i64, slot: u64) -> Outcome<Option<(u64, State)>> {
        let name = if self.version < 3 { "NULL" } else { "sha1" };
        let select = format!("SELECT sequence, state, {name} FROM states WHERE actor = ?1 AND slot = ?2");
        let mut select = self.rows.prepare_cached(&select)?;
        let found = select.query_row((key, slot.cast_signed()), |row| {
            Ok((unsigned(row, 0)?, row.get::<_, State>(1)?, row.get::<_, Option<[u8; 20]>>(2)?))
        });
        Ok(match found.optional()? {
            Some((sequence, _, Some(name))) => Some((sequence, Some(self.blob(&name)?))),
            Some((sequence, state, None)) => Some((sequence, state)),
            None => None,
        })
    }

    /// Opens the database and reads the rows that stand beside the chains.
    fn read(dir: &Path) -> Outcome<Self> {
        if !Self::found_in(dir)? {
            return Err(JournalError::Absent { path: dir.to_owned() }.into());
        }
        let rows = Connection::open_with_flags(dir.join("journal.db"), READ_ONLY)?;
        let version = version(&rows)?;
        let events = rows.query_row("SELECT ifnull(max(position), 0) FROM events", [], |row| unsigned(row, 0))?;
        let (dir, actors, pending) = (dir.to_owned(), BTreeMap::new(), HashMap::new());
        let mut journal = Self { dir, rows, version, events, actors, pending };
        journal.actors = journal.read_actors()?;
        journal.read_states()?;
        if version >= 2 {
            journal.pending = journal.read_pending()?;
        }
        Ok(journal)
    }

    fn read_actors(&self) -> Outcome<BTreeMap<i64, OldActor>> {
        let attempts = if self.version < 2 { "0" } else { "attempts" };
        let listed = if self.version < 3 { "1" } else { "listed" };
        let mut select = self.rows.prepare(&format!(
            "SELECT actor, id, name, parent, incarnation, component, manifest, manifest_path, alive, {attempts}, {listed}
             FROM actors"
        ))?;
        let actors = select.query_map([], |row| {
            let actor = ActorKey { key: row.get(0)?, id: id(&row.get::<_, String>(1)?)? };
            let parent: Option<String> = row.get(3)?;
            let started = ActorStarted {
                name: row.get(2)?,
                parent: parent.as_deref().map(id).transpose()?,
                incarnation: Incarnation(unsigned(row, 4)?),
                component: ComponentDigest(row.get(5)?),
                manifest: row.get::<_, String>(6)?.into(),
                manifest_path: row.get(7)?,
                attempts: unsigned(row, 9)?,
            };
            let actor = OldActor {
                actor,
                row: started,
                is_alive: row.get(8)?,
                is_listed: row.get(10)?,
                led: None,
                kept: BTreeSet::new(),
                head: None,
                last_position: 0,
                last_kind: None,
                newest_start: None,
                now: (StateOnChain::Lost(0), 0),
                newest: None,
            };
            Ok((actor.actor.key, actor))
        })?;
        Ok(actors.collect::<rusqlite::Result<_>>()?)
    }

    /// Which events have led to the newest states, and behind which others are kept.
    fn read_states(&mut self) -> Outcome<()> {
        let led = if self.version < 4 {
            "SELECT actor, sequence FROM states WHERE slot = 0"
        } else {
            "SELECT heads.actor, led.sequence FROM heads JOIN events AS led ON led.position = heads.state"
        };
        for (select, is_newest) in [(led, true), ("SELECT actor, slot - 1 FROM states WHERE slot > 0", false)] {
            let mut select = self.rows.prepare(select)?;
            let mut found = select.query([])?;
            while let Some(row) = found.next()? {
                let (key, sequence) = (row.get::<_, i64>(0)?, unsigned(row, 1)?);
                let actor =
                    self.actors.get_mut(&key).ok_or_else(|| unfit(format!("a state is of no actor: key {key}")))?;
                if is_newest {
                    actor.led = Some(sequence);
                } else {
                    actor.kept.insert(sequence);
                }
            }
        }
        Ok(())
    }

    fn read_pending(&self) -> Outcome<HashMap<Cause, OldPending>> {
        let mut select =
            self.rows.prepare("SELECT cause_actor, cause_sequence, receiver, position, notice FROM pending")?;
        let pending = select.query_map([], |row| {
            let cause = Cause { actor: id(&row.get::<_, String>(0)?)?, sequence: unsigned(row, 1)? };
            let word: Option<String> = row.get(4)?;
            let notice = word.map(|word| {
                let known = NOTICES.into_iter().find(|known| *known == word);
                known.ok_or_else(|| unfit(format!("the table of pending has a notice of no kind: {word:?}")))
            });
            let owed = Owed { receiver: id(&row.get::<_, String>(2)?)?, notice: notice.transpose()?, boot: None };
            Ok((cause, OldPending { position: unsigned(row, 3)?, owed }))
        })?;
        Ok(pending.collect::<rusqlite::Result<_>>()?)
    }
}

/// What an incarnation began with, of the event that began it.
fn begins(event: &ChainEvent) -> Option<Started> {
    Started::from_cbor(&event.data).ok().filter(|_| event.kind() == Some(EventKind::Started))
}

/// The name of the state that an incarnation began with, if its event does not hold it.
fn large_state(event: &ChainEvent) -> Option<[u8; 20]> {
    match begins(event)?.state {
        NamedState::Digest { sha1, .. } => Some(sha1),
        NamedState::None | NamedState::Inline(_) => None,
    }
}

/// What an event says the state is from here on; nothing where it leaves it as it was.
fn said_by(event: &ChainEvent) -> Option<StateOnChain> {
    match begins(event) {
        Some(started) => Some(StateOnChain::Named(started.state)),
        None => named_by_return(event),
    }
}

/// Says how far a long pass has come.
struct Pace<'a> {
    done: &'a str,
    events: u64,
    said: Instant,
}

impl Pace<'_> {
    fn reached(&mut self, position: u64) {
        /// The clock is not looked at for each event.
        const LOOK_EVERY: u64 = 256;
        if position.is_multiple_of(LOOK_EVERY) && clock::since(self.said) >= SAY_EVERY {
            self.said = clock::now();
            log::info!("{} {position} of {} events of the old journal", self.done, self.events);
        }
    }
}

/// Rows that are not what was written.
fn unfit(why: String) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(why.into())
}

fn version(rows: &Connection) -> rusqlite::Result<i64> {
    rows.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn id(text: &str) -> rusqlite::Result<ActorId> {
    text.parse().map_err(|_| unfit(format!("{text:?} is not the id of an actor")))
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}
