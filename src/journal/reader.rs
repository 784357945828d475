//! Reads what is committed. Readers do not hold up the writer, nor each other.

use std::ops::RangeInclusive;

use crossbeam_channel::Sender;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::record::{ActorKey, Cause};
use super::{parts, schema};
use crate::base::id::{ActorId, Incarnation};
use crate::chain::cbor::Cbor;
use crate::chain::data::Started;
use crate::chain::{ChainEvent, ComponentDigest, DroppedData, EventHash, EventKind, EventType, Head};

/// One actor as the journal knows it.
#[derive(Clone, Debug)]
pub(crate) struct ActorRow {
    pub(crate) actor: ActorKey,
    pub(crate) name: String,
    pub(crate) parent: Option<ActorId>,
    pub(crate) incarnation: Incarnation,
    pub(crate) component: ComponentDigest,
    pub(crate) manifest: String,
    pub(crate) manifest_path: String,
    /// Whether it is to be resumed.
    pub(crate) alive: bool,
}

impl ActorRow {
    /// What of it is not what the actor's last start says, on a chain that nobody can alter unseen.
    pub(crate) fn differs_from(&self, started: &Started) -> Option<&'static str> {
        let same = [
            (started.id == self.actor.id, "id"),
            (started.name == self.name, "name"),
            (started.parent == self.parent, "parent"),
            (started.incarnation == self.incarnation, "incarnation"),
            (started.manifest == self.manifest, "manifest"),
            (started.component == self.component, "component"),
        ];
        same.into_iter().find(|(same, _)| !same).map(|(_, what)| what)
    }
}

/// A delivery that was promised and is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) cause: Cause,
    pub(crate) receiver: ActorId,
    /// The word of a lifecycle notice; none for a message.
    pub(crate) notice: Option<String>,
}

/// A connection for reading; dropping it puts it back where it came from.
pub(crate) struct JournalReader {
    /// The format: version 1 could not drop anything, and only since version 3 a kept state may be a blob. A runtime
    /// brings its journal to the newest; others read it as it is.
    pub(super) version: i64,
    connection: Option<Connection>,
    back: Option<Sender<Connection>>,
}

impl Drop for JournalReader {
    fn drop(&mut self) {
        if let (Some(connection), Some(back)) = (self.connection.take(), self.back.take()) {
            // A full pool closes it.
            let _ = back.try_send(connection);
        }
    }
}

type Result<T> = rusqlite::Result<T>;

impl JournalReader {
    pub(super) fn new(connection: Connection, back: Option<Sender<Connection>>) -> Self {
        let version = schema::version(&connection).unwrap_or_else(|_| schema::VERSION.into());
        Self { version, connection: Some(connection), back }
    }

    pub(super) fn rows(&self) -> &Connection {
        self.connection.as_ref().expect("taken only by drop")
    }

    /// What is read from here on is what is there now, whatever is written meanwhile.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.rows().execute_batch("BEGIN")
    }

    /// Every actor, in the order in which they were first started.
    pub(crate) fn actors(&self) -> Result<Vec<ActorRow>> {
        let mut select = self.rows().prepare_cached(
            "SELECT actor, id, name, parent, incarnation, component, manifest, manifest_path, alive
             FROM actors ORDER BY actor",
        )?;
        select.query_map([], actor_row)?.collect()
    }

    /// How many starts in a row have resumed the actor's open transition and got no further.
    pub(crate) fn attempts(&self, actor: ActorKey) -> Result<u64> {
        self.rows()
            .prepare_cached("SELECT attempts FROM actors WHERE actor = ?1")?
            .query_row([actor.key], |row| unsigned(row, 0))
    }

    /// The `started` of the actor's newest incarnation. Only of a journal that a runtime has opened.
    pub(crate) fn newest_started(&self, actor: ActorKey) -> Result<Option<ChainEvent>> {
        let started = self
            .rows()
            .prepare_cached("SELECT started FROM actors WHERE actor = ?1")?
            .query_row([actor.key], |row| unsigned(row, 0))?;
        Ok(self.events(actor, started, 1, usize::MAX)?.pop().filter(|event| event.kind() == Some(EventKind::Started)))
    }

    /// The transition that the chain ends within: its `call` and what follows; nothing where none is open.
    pub(crate) fn open_transition(&self, actor: ActorKey) -> Result<Vec<ChainEvent>> {
        let mut backwards = self
            .rows()
            .prepare_cached("SELECT sequence, event_type, data FROM events WHERE actor = ?1 ORDER BY sequence DESC")?;
        let mut rows = backwards.query([actor.key])?;
        while let Some(row) = rows.next()? {
            match EventType::parse(&row.get::<_, String>(1)?).map(|event_type| event_type.kind) {
                Some(EventKind::Call) => return self.events(actor, unsigned(row, 0)?, u64::MAX, usize::MAX),
                Some(EventKind::Intent | EventKind::HostCall) => {}
                // It was resumed before.
                Some(EventKind::Started) if resumes(&row.get::<_, Vec<u8>>(2)?) => {}
                Some(
                    EventKind::Started
                    | EventKind::Return
                    | EventKind::Refused
                    | EventKind::Failed
                    | EventKind::Stopped,
                )
                | None => return Ok(Vec::new()),
            }
        }
        Ok(Vec::new())
    }

    /// Where an event stands in the order of all.
    pub(crate) fn position(&self, actor: ActorKey, sequence: u64) -> Result<Option<u64>> {
        self.rows()
            .prepare_cached("SELECT position FROM events WHERE actor = ?1 AND sequence = ?2")?
            .query_row(params![actor.key, i64::try_from(sequence).unwrap_or(i64::MAX)], |row| unsigned(row, 0))
            .optional()
    }

    /// The actor's events behind a position in the order of all. Looks from the end of the chain backwards, so that it
    /// takes as long as what it finds, however long the chain is.
    pub(crate) fn events_behind(&self, actor: ActorKey, position: u64) -> Result<Vec<ChainEvent>> {
        let mut backwards = self
            .rows()
            .prepare_cached("SELECT sequence, position FROM events WHERE actor = ?1 ORDER BY sequence DESC")?;
        let mut rows = backwards.query([actor.key])?;
        let mut from = None;
        while let Some(row) = rows.next()? {
            if unsigned(row, 1)? <= position {
                break;
            }
            from = Some(unsigned(row, 0)?);
        }
        from.map_or(Ok(Vec::new()), |from| self.events(actor, from, u64::MAX, usize::MAX))
    }

    /// The last event whose data was dropped.
    pub(crate) fn last_dropped(&self, actor: ActorKey) -> Result<Option<u64>> {
        if self.version == 1 {
            return Ok(None);
        }
        self.rows()
            .prepare_cached(
                "SELECT sequence FROM events WHERE actor = ?1 AND dropped IS NOT NULL ORDER BY sequence DESC LIMIT 1",
            )?
            .query_row([actor.key], |row| unsigned(row, 0))
            .optional()
    }

    /// The `started` of the incarnation that event `sequence` lies in.
    pub(crate) fn started_before(&self, actor: ActorKey, sequence: u64) -> Result<Option<ChainEvent>> {
        let started: Option<i64> = self
            .rows()
            .prepare_cached(
                "SELECT sequence FROM events WHERE actor = ?1 AND sequence <= ?2 AND event_type = 'started'
                 ORDER BY sequence DESC LIMIT 1",
            )?
            .query_row(params![actor.key, i64::try_from(sequence).unwrap_or(i64::MAX)], |row| row.get(0))
            .optional()?;
        started.map_or(Ok(None), |at| Ok(self.events(actor, at.unsigned_abs(), 1, usize::MAX)?.pop()))
    }

    /// The actor's failures at these times (milliseconds since the Unix epoch), oldest first. Looks from the end of the chain
    /// backwards, no farther than the earliest.
    pub(crate) fn failures(&self, actor: ActorKey, times: RangeInclusive<u64>) -> Result<Vec<ChainEvent>> {
        let mut backwards = self.rows().prepare_cached(
            "SELECT sequence, timestamp, event_type FROM events WHERE actor = ?1 ORDER BY sequence DESC",
        )?;
        let mut rows = backwards.query([actor.key])?;
        let mut failed = Vec::new();
        while let Some(row) = rows.next()? {
            let time = unsigned(row, 1)?;
            if time < *times.start() {
                break;
            }
            if times.contains(&time) && row.get_ref(2)?.as_str().is_ok_and(|it| it == EventKind::Failed.word()) {
                failed.extend(self.events(actor, unsigned(row, 0)?, 1, usize::MAX)?);
            }
        }
        failed.reverse();
        Ok(failed)
    }

    /// How many events before `upto` still have data that can be dropped.
    pub(crate) fn undropped(&self, actor: ActorKey, upto: u64) -> Result<u64> {
        self.rows()
            .prepare_cached(
                "SELECT count(*) FROM events
                 WHERE actor = ?1 AND sequence < ?2 AND dropped IS NULL AND event_type <> 'started'",
            )?
            .query_row(params![actor.key, i64::try_from(upto).unwrap_or(i64::MAX)], |row| unsigned(row, 0))
    }

    /// The newest call of a chain.
    pub(crate) fn last_call(&self, actor: ActorKey) -> Result<Option<ChainEvent>> {
        let last: Option<i64> = self
            .rows()
            .prepare_cached(
                "SELECT sequence FROM events WHERE actor = ?1 AND event_type LIKE 'call %' ORDER BY sequence DESC LIMIT 1",
            )?
            .query_row([actor.key], |row| row.get(0))
            .optional()?;
        last.map_or(Ok(None), |last| Ok(self.events(actor, last.unsigned_abs(), 1, usize::MAX)?.pop()))
    }

    /// Every delivery that is owed, in the order in which they were promised.
    pub(crate) fn pending(&self) -> Result<Vec<Pending>> {
        let mut select = self
            .rows()
            .prepare_cached("SELECT cause_actor, cause_sequence, receiver, notice FROM pending ORDER BY position")?;
        let pending = select.query_map([], |row| {
            let cause = Cause { actor: actor_id(&row.get::<_, String>(0)?, 0)?, sequence: unsigned(row, 1)? };
            Ok(Pending { cause, receiver: actor_id(&row.get::<_, String>(2)?, 2)?, notice: row.get(3)? })
        })?;
        pending.collect()
    }

    /// The last event of a chain.
    pub(crate) fn head(&self, actor: ActorKey) -> Result<Option<Head>> {
        self.last_event(actor).map(|event| event.map(|event| Head { sequence: event.sequence, hash: event.hash }))
    }

    pub(crate) fn last_event(&self, actor: ActorKey) -> Result<Option<ChainEvent>> {
        let last: Option<i64> = self
            .rows()
            .prepare_cached("SELECT max(sequence) FROM events WHERE actor = ?1")?
            .query_row([actor.key], |row| row.get(0))?;
        match last {
            None => Ok(None),
            Some(last) => Ok(self.events(actor, last.unsigned_abs(), 1, usize::MAX)?.pop()),
        }
    }

    /// Events from sequence `from` on: at most `limit`, and at most `max_bytes` of data beyond the first.
    pub(crate) fn events(&self, actor: ActorKey, from: u64, limit: u64, max_bytes: usize) -> Result<Vec<ChainEvent>> {
        let Ok(from) = i64::try_from(from) else { return Ok(Vec::new()) };
        let mut parent = match from {
            0 => None,
            _ => self.hash(actor, from - 1)?,
        };
        let mut select = self.rows().prepare_cached(if self.version == 1 {
            "SELECT sequence, timestamp, event_type, hash, data, NULL FROM events
             WHERE actor = ?1 AND sequence >= ?2 ORDER BY sequence LIMIT ?3"
        } else {
            "SELECT sequence, timestamp, event_type, hash, data, dropped FROM events
             WHERE actor = ?1 AND sequence >= ?2 ORDER BY sequence LIMIT ?3"
        })?;
        let mut rows = select.query(params![actor.key, from, i64::try_from(limit).unwrap_or(i64::MAX)])?;
        let mut page = Vec::new();
        let mut bytes = 0usize;
        while let Some(row) = rows.next()? {
            let event = self.event(row, parent)?;
            bytes = bytes.saturating_add(event.data.len());
            if bytes > max_bytes && !page.is_empty() {
                break;
            }
            parent = Some(event.hash);
            page.push(event);
        }
        Ok(page)
    }

    /// An event from a row of sequence, timestamp, type, hash, data, and what was dropped.
    pub(super) fn event(&self, row: &Row<'_>, parent_hash: Option<EventHash>) -> Result<ChainEvent> {
        let dropped = match row.get::<_, Option<i64>>(5)? {
            Some(length) => Some(DroppedData { length: length.unsigned_abs(), sha1: row.get(4)? }),
            None => None,
        };
        Ok(ChainEvent {
            sequence: unsigned(row, 0)?,
            timestamp: unsigned(row, 1)?,
            event_type: row.get::<_, String>(2)?.into(),
            parent_hash,
            hash: EventHash(row.get(3)?),
            data: if dropped.is_some() { Vec::new() } else { whole(self.rows(), row.get(4)?)? },
            dropped,
        })
    }

    /// Whether the chain has an event of this type. Looks from the beginning on.
    pub(crate) fn has_event(&self, actor: ActorKey, event_type: &str) -> Result<bool> {
        self.rows()
            .prepare_cached("SELECT 1 FROM events WHERE actor = ?1 AND event_type = ?2 ORDER BY sequence LIMIT 1")?
            .exists(params![actor.key, event_type])
    }

    pub(super) fn hash(&self, actor: ActorKey, sequence: i64) -> Result<Option<EventHash>> {
        self.rows()
            .prepare_cached("SELECT hash FROM events WHERE actor = ?1 AND sequence = ?2")?
            .query_row(params![actor.key, sequence], |row| row.get(0).map(EventHash))
            .optional()
    }

    pub(crate) fn component(&self, digest: ComponentDigest) -> Result<Option<Vec<u8>>> {
        self.rows()
            .prepare_cached("SELECT bytes FROM components WHERE digest = ?1")?
            .query_row([digest.0], |row| row.get(0))
            .optional()
    }

    pub(crate) fn blob(&self, sha1: &[u8; 20]) -> Result<Option<Vec<u8>>> {
        blob(self.rows(), sha1)
    }
}

/// The data of an event, with the parts that are kept apart.
pub(super) fn whole(rows: &Connection, stored: Vec<u8>) -> Result<Vec<u8>> {
    let whole = parts::put_back(stored, |name| blob(rows, name))?;
    whole.map_err(|name| unfit(format!("a part of an event's data is not there: SHA-1 {}", hex::encode(name))))
}

fn blob(rows: &Connection, name: &[u8; 20]) -> Result<Option<Vec<u8>>> {
    rows.prepare_cached("SELECT bytes FROM blobs WHERE sha1 = ?1")?.query_row([name], |row| row.get(0)).optional()
}

/// Rows that are not what was written. Of the database's own errors this is the one that says `why` and nothing else.
pub(super) fn unfit(why: String) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(why.into())
}

fn resumes(data: &[u8]) -> bool {
    Started::from_cbor(data).is_ok_and(|started| started.resumes)
}

/// The key after the last.
pub(super) fn next_actor_key(connection: &Connection) -> Result<i64> {
    connection.query_row("SELECT ifnull(max(actor), 0) + 1 FROM actors", [], |row| row.get(0))
}

fn actor_row(row: &Row<'_>) -> Result<ActorRow> {
    let parent: Option<String> = row.get(3)?;
    Ok(ActorRow {
        actor: ActorKey { key: row.get(0)?, id: actor_id(&row.get::<_, String>(1)?, 1)? },
        name: row.get(2)?,
        parent: parent.map(|text| actor_id(&text, 3)).transpose()?,
        incarnation: Incarnation(unsigned(row, 4)?),
        component: ComponentDigest(row.get(5)?),
        manifest: row.get(6)?,
        manifest_path: row.get(7)?,
        alive: row.get(8)?,
    })
}

pub(super) fn actor_id(text: &str, column: usize) -> Result<ActorId> {
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}
