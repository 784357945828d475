//! Reads what is committed. Readers do not hold up the writer, nor each other.

use std::ops::ControlFlow::{Break, Continue};
use std::ops::RangeInclusive;

use crossbeam_channel::Sender;
use rusqlite::{Connection, OptionalExtension, Row, Statement};

use super::chains::{EventPlace, capped, stored_data};
use super::record::{ActorKey, Cause};
use super::{parts, schema};
use crate::base::id::{ActorId, Incarnation};
use crate::chain::cbor::Cbor;
use crate::chain::data::Started;
use crate::chain::{ChainEvent, ComponentDigest, DataDigest, DroppedData, EventHash, EventKind, EventType, Head, sha1};

/// One event; no other than the one that should stand there.
const EVENT_AT: &str = "SELECT sequence, timestamp, event_type, hash, data, dropped, previous FROM events
                        WHERE position = ?1 AND actor = ?2 AND sequence = ?3";

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
    /// Where the event stands that promised it.
    pub(crate) position: u64,
    /// The word of a lifecycle notice; none for a message.
    pub(crate) notice: Option<String>,
}

/// A connection for reading; dropping it puts it back where it came from.
pub(crate) struct JournalReader {
    /// The format. A runtime brings its journal to the newest; for others an older one looks like that.
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

    /// The actor of a key, as a finding names it.
    pub(super) fn who(&self, key: i64) -> Result<String> {
        let mut select = self.rows().prepare_cached("SELECT name, id FROM actors WHERE actor = ?1")?;
        let named = select
            .query_row([key], |row| Ok(format!("actor {} ({})", row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
        Ok(named.optional()?.unwrap_or_else(|| format!("the actor of key {key}, which is not in the table of actors,")))
    }

    /// How many starts in a row have resumed the actor's open transition and got no further.
    pub(crate) fn attempts(&self, actor: ActorKey) -> Result<u64> {
        self.rows()
            .prepare_cached("SELECT attempts FROM actors WHERE actor = ?1")?
            .query_row([actor.key], |row| unsigned(row, 0))
    }

    /// The `started` of the actor's newest incarnation.
    pub(crate) fn newest_started(&self, actor: ActorKey) -> Result<Option<ChainEvent>> {
        self.started_before(actor, u64::MAX)
    }

    /// The `started` of the actor's first incarnation, which is its first event.
    pub(crate) fn first_started(&self, actor: ActorKey) -> Result<Option<ChainEvent>> {
        self.started_before(actor, 0)
    }

    /// The transition that the chain ends within: its `call` and what follows; nothing where none is open.
    pub(crate) fn open_transition(&self, actor: ActorKey) -> Result<Vec<ChainEvent>> {
        let mut call = None;
        self.walk_from_the_end(actor, |place, row| {
            Ok(match kind(row)? {
                Some(EventKind::Call) => {
                    call = Some(place.sequence);
                    Break(())
                }
                Some(EventKind::Intent | EventKind::HostCall) => Continue(()),
                // It was resumed before.
                Some(EventKind::Started) if self.resumes(place)? => Continue(()),
                Some(
                    EventKind::Started
                    | EventKind::Return
                    | EventKind::Refused
                    | EventKind::Failed
                    | EventKind::Stopped,
                )
                | None => Break(()),
            })
        })?;
        call.map_or(Ok(Vec::new()), |call| self.events(actor, call, u64::MAX, usize::MAX))
    }

    /// Whether the `started` there goes on with the transition before it.
    fn resumes(&self, place: EventPlace) -> Result<bool> {
        let data = whole(self.rows(), stored_data(self.rows(), place.position)?)?;
        Ok(Started::from_cbor(&data).is_ok_and(|started| started.resumes))
    }

    /// Where an event stands in the order of all.
    pub(crate) fn position(&self, actor: ActorKey, sequence: u64) -> Result<Option<u64>> {
        Ok(self.place(actor, sequence)?.map(|place| place.position))
    }

    /// The actor's events behind a position in the order of all. Looks from the end of the chain backwards, so that it
    /// takes as long as what it finds, however long the chain is.
    pub(crate) fn events_after(&self, actor: ActorKey, position: u64) -> Result<Vec<ChainEvent>> {
        let mut from = None;
        self.walk_from_the_end(actor, |place, _| {
            if place.position <= position {
                return Ok(Break(()));
            }
            from = Some(place.sequence);
            Ok(Continue(()))
        })?;
        from.map_or(Ok(Vec::new()), |from| self.events(actor, from, u64::MAX, usize::MAX))
    }

    /// Shows the actor's newest events behind a position in the order of all, the last first, and at most so many.
    pub(crate) fn newest_events(
        &self,
        actor: ActorKey,
        behind: u64,
        mut most: u64,
        mut show: impl FnMut(&ChainEvent),
    ) -> Result<()> {
        self.walk_from_the_end(actor, |place, _| {
            if place.position <= behind || most == 0 {
                return Ok(Break(()));
            }
            most -= 1;
            show(&self.event_at(actor, place)?);
            Ok(Continue(()))
        })
    }

    /// The last event whose data was dropped.
    pub(crate) fn last_dropped(&self, actor: ActorKey) -> Result<Option<u64>> {
        if self.version >= 4 {
            return Ok(self.chain_end(actor)?.and_then(|end| end.dropped));
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
        let started = self.landmark(actor, EventKind::Started.word(), sequence)?;
        started.map(|place| self.event_at(actor, place)).transpose()
    }

    /// Whether `init` has returned, in whichever incarnation.
    pub(crate) fn has_begun(&self, actor: ActorKey, returned: &str) -> Result<bool> {
        Ok(self.landmark(actor, returned, u64::MAX)?.is_some())
    }

    /// The newest call of a chain.
    pub(crate) fn last_call(&self, actor: ActorKey) -> Result<Option<ChainEvent>> {
        let mut call = None;
        self.walk_from_the_end(actor, |place, row| {
            if kind(row)? != Some(EventKind::Call) {
                return Ok(Continue(()));
            }
            call = Some(self.event_at(actor, place)?);
            Ok(Break(()))
        })?;
        Ok(call)
    }

    /// The actor's failures at these times (milliseconds since the Unix epoch), oldest first.
    pub(crate) fn failures(&self, actor: ActorKey, times: RangeInclusive<u64>) -> Result<Vec<ChainEvent>> {
        let mut failed = Vec::new();
        let mut before = u64::MAX;
        while let Some(place) = self.landmark(actor, EventKind::Failed.word(), before)? {
            let event = self.event_at(actor, place)?;
            if event.timestamp < *times.start() {
                break;
            }
            if times.contains(&event.timestamp) {
                failed.push(event);
            }
            let Some(earlier) = place.sequence.checked_sub(1) else { break };
            before = earlier;
        }
        failed.reverse();
        Ok(failed)
    }

    /// How many events before `upto` still have data that can be dropped.
    pub(crate) fn undropped(&self, actor: ActorKey, upto: u64) -> Result<u64> {
        let Some(last) = upto.checked_sub(1) else { return Ok(0) };
        let mut undropped = 0;
        self.walk_from(actor, last, |_, row| {
            let has_data = row.get::<_, Option<i64>>(5)?.is_none();
            let can_go = kind(row)? != Some(EventKind::Started);
            undropped += u64::from(has_data && can_go);
            Ok(Continue(()))
        })?;
        Ok(undropped)
    }

    /// Every delivery that is owed, in the order in which they were promised.
    pub(crate) fn pending(&self) -> Result<Vec<Pending>> {
        let mut select = self.rows().prepare_cached(
            "SELECT cause_actor, cause_sequence, receiver, notice, position FROM pending ORDER BY position",
        )?;
        let pending = select.query_map([], |row| {
            let cause = Cause { actor: actor_id(&row.get::<_, String>(0)?, 0)?, sequence: unsigned(row, 1)? };
            let receiver = actor_id(&row.get::<_, String>(2)?, 2)?;
            Ok(Pending { cause, receiver, position: unsigned(row, 4)?, notice: row.get(3)? })
        })?;
        pending.collect()
    }

    /// The last event of a chain, as it is linked to.
    pub(crate) fn head(&self, actor: ActorKey) -> Result<Option<Head>> {
        Ok(self.chain_end(actor)?.map(|end| Head { sequence: end.last.sequence, hash: end.hash }))
    }

    pub(crate) fn last_event(&self, actor: ActorKey) -> Result<Option<ChainEvent>> {
        match self.head(actor)? {
            None => Ok(None),
            Some(head) => Ok(self.events(actor, head.sequence, 1, usize::MAX)?.pop()),
        }
    }

    /// Events from sequence `from` on: at most `limit`, and at most `max_bytes` of data beyond the first.
    pub(crate) fn events(&self, actor: ActorKey, from: u64, limit: u64, max_bytes: usize) -> Result<Vec<ChainEvent>> {
        let _moment = self.at_one_moment()?;
        let mut select = self.rows().prepare_cached(EVENT_AT)?;
        let mut page: Vec<ChainEvent> = Vec::new();
        let (mut next, mut bytes, mut run) = (from, 0usize, Vec::new());
        loop {
            run.clear();
            let found = self.walk_run(actor, next, |place, _| {
                run.push(place);
                Ok(())
            })?;
            match found {
                Some(behind) => next = behind,
                None => return Ok(page),
            }
            for place in run.iter().rev() {
                if page.len() as u64 >= limit {
                    return Ok(page);
                }
                let parent = page.last().map(|before| before.hash);
                let event = self.event_behind(&mut select, actor, *place, parent)?;
                bytes = bytes.saturating_add(event.data.len());
                if bytes > max_bytes && !page.is_empty() {
                    return Ok(page);
                }
                page.push(event);
            }
        }
    }

    /// The event of which it is known where it stands.
    pub(super) fn event_at(&self, actor: ActorKey, place: EventPlace) -> Result<ChainEvent> {
        let mut select = self.rows().prepare_cached(EVENT_AT)?;
        self.event_behind(&mut select, actor, place, None)
    }

    /// The same by [`EVENT_AT`], where the hash of the event before it may be known too.
    fn event_behind(
        &self,
        select: &mut Statement<'_>,
        actor: ActorKey,
        place: EventPlace,
        parent: Option<EventHash>,
    ) -> Result<ChainEvent> {
        let event = select.query_row([capped(place.position), actor.key, capped(place.sequence)], |row| {
            let parent = match parent {
                Some(parent) => Some(parent),
                None => self.hash_at(row.get(6)?)?,
            };
            self.event(row, parent)
        });
        event.optional()?.ok_or_else(|| unfit(format!("event {} does not stand where it should", place.sequence)))
    }

    /// The event that promised a delivery.
    pub(crate) fn promise(&self, actor: ActorKey, pending: &Pending) -> Result<ChainEvent> {
        self.event_at(actor, EventPlace { sequence: pending.cause.sequence, position: pending.position })
    }

    /// An event from a row of sequence, timestamp, type, hash, data, and what was dropped.
    pub(super) fn event(&self, row: &Row<'_>, parent_hash: Option<EventHash>) -> Result<ChainEvent> {
        let dropped = match row.get::<_, Option<i64>>(5)? {
            Some(length) => Some(DroppedData { length: length.unsigned_abs(), digest: DataDigest::Plain(row.get(4)?) }),
            None => None,
        };
        Ok(ChainEvent {
            sequence: unsigned(row, 0)?,
            timestamp: unsigned(row, 1)?,
            event_type: row.get::<_, String>(2)?.into(),
            parent_hash,
            hash: EventHash(row.get(3)?),
            data: if dropped.is_some() { Vec::new() } else { whole(self.rows(), row.get(4)?)? },
            salt: None,
            dropped,
        })
    }

    /// The hash of the event at a position, if there is one.
    pub(super) fn hash_at(&self, position: Option<i64>) -> Result<Option<EventHash>> {
        let Some(position) = position else { return Ok(None) };
        self.rows()
            .prepare_cached("SELECT hash FROM events WHERE position = ?1")?
            .query_row([position], |row| row.get(0).map(EventHash))
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

    /// A blob that somebody is to build upon: its name is what it hashes to.
    pub(crate) fn sound_blob(&self, name: &[u8; 20]) -> Result<Option<Vec<u8>>> {
        match blob(self.rows(), name)? {
            Some(bytes) if sha1(&bytes) != *name => Err(unfit(format!("the blob {} was altered", hex::encode(name)))),
            found => Ok(found),
        }
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
pub(crate) fn unfit(why: String) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(why.into())
}

/// The kind of an event that a walk has come to; none where it is of no kind.
pub(super) fn kind(row: &Row<'_>) -> Result<Option<EventKind>> {
    Ok(EventType::parse(row.get_ref(4)?.as_str()?).map(|event_type| event_type.kind))
}

/// Whether the rows are not what was written; else they could not be read.
pub(crate) fn is_unfit(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::ToSqlConversionFailure(_))
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
