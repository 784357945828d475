//! What the writer writes: rows, and the statements that write them.
//!
//! Every event passes a statement that is prepared once, and so does the end of each chain in a commit; the others are
//! rare, and come from SQLite's cache by their text.

use std::ops::ControlFlow::{Break, Continue};
use std::ops::Range;
use std::time::Duration;

use rusqlite::{Connection, Statement, params};

use super::chains::{ChainEnd, EventPlace, chain_end, stored_data, walk_from};
use super::checkpoint::carry_over;
use super::parts::{self, Part};
use super::reader::{unfit, whole};
use super::record::{ActorKey, ActorStarted, Cause, Owed};
use super::schema;
use super::seals::{OwedRow, OwedSum, seal_actor};
use super::states::names_state;
use crate::base::limits::INLINE_STATE_BYTES;
use crate::chain::data::NamedState;
use crate::chain::{ChainEvent, ComponentDigest, EventKind, EventType, sha1};

/// Where the newest state of an actor stands; a kept one stands at its event's sequence and 1.
pub(super) const NEWEST_SLOT: i64 = 0;

/// Who needs a blob that a `started` names; no position is 0.
const FOR_GOOD: i64 = 0;

type Written = rusqlite::Result<()>;

pub(super) struct Rows<'c> {
    connection: &'c Connection,
    begin: Statement<'c>,
    commit: Statement<'c>,
    event: Statement<'c>,
    head: Statement<'c>,
    state: Statement<'c>,
    digest: Statement<'c>,
    /// Over the rows of `pending`, and as it was written last.
    owed: OwedSum,
    owed_written: OwedSum,
}

impl<'c> Rows<'c> {
    pub(super) fn prepare(connection: &'c Connection) -> rusqlite::Result<Self> {
        let owed = OwedSum::stored(connection)?;
        Ok(Self {
            connection,
            owed,
            owed_written: owed,
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            commit: connection.prepare("COMMIT")?,
            event: connection.prepare(
                "INSERT INTO events (position, actor, sequence, previous, timestamp, event_type, hash, data)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?,
            head: connection.prepare(
                "INSERT OR REPLACE INTO heads (actor, position, state, dropped, seal) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?,
            state: connection.prepare(
                "INSERT OR REPLACE INTO states (actor, slot, sequence, state, sha1) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?,
            digest: connection.prepare("UPDATE metadata SET value = ?1 WHERE key = 'digest'")?,
        })
    }

    /// Everything up to [`Rows::commit`] is written at once or not at all.
    pub(super) fn begin(&mut self) -> Written {
        self.begin.raw_execute().map(drop)
    }

    pub(super) fn commit(&mut self) -> Written {
        self.commit.raw_execute().map(drop)
    }

    /// What is left of the log: see `checkpoint.rs`.
    pub(super) fn carry_over_the_rest(&self) {
        carry_over(self.connection);
    }

    /// Carries all of the log over and cuts it off, unless somebody reads what is in it for longer than that. Whether it was
    /// done.
    pub(super) fn cut_off_the_log(&self, patience: Duration) -> rusqlite::Result<bool> {
        self.connection.busy_timeout(patience)?;
        let busy: rusqlite::Result<i64> =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        self.connection.busy_timeout(schema::BUSY)?;
        match busy {
            Ok(busy) => Ok(busy == 0),
            Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn digest(&mut self, digest: &[u8; 20]) -> Written {
        self.digest.raw_bind_parameter(1, digest)?;
        self.digest.raw_execute().map(drop)
    }

    /// An event, behind the one at `previous` on its chain.
    pub(super) fn event(
        &mut self,
        position: u64,
        previous: Option<u64>,
        actor: ActorKey,
        event: &ChainEvent,
        parts: &[Part],
    ) -> Written {
        self.event.raw_bind_parameter(1, signed(position))?;
        self.event.raw_bind_parameter(2, actor.key)?;
        self.event.raw_bind_parameter(3, signed(event.sequence))?;
        self.event.raw_bind_parameter(4, previous.map(signed))?;
        self.event.raw_bind_parameter(5, signed(event.timestamp))?;
        self.event.raw_bind_parameter(6, &*event.event_type)?;
        self.event.raw_bind_parameter(7, &event.hash.0[..])?;
        self.event.raw_bind_parameter(8, &event.data[..])?;
        self.event.raw_execute()?;
        parts.iter().try_for_each(|(name, part)| self.blob(name, part, signed(position)))
    }

    /// Where a chain ends now.
    pub(super) fn head(&mut self, actor: i64, end: &ChainEnd) -> Written {
        self.head.raw_bind_parameter(1, actor)?;
        self.head.raw_bind_parameter(2, signed(end.last.position))?;
        self.head.raw_bind_parameter(3, end.state.map(|state| signed(state.position)))?;
        self.head.raw_bind_parameter(4, end.dropped.map(signed))?;
        self.head.raw_bind_parameter(5, end.seal(actor))?;
        self.head.raw_execute().map(drop)
    }

    /// Where a chain ended before this batch, and whether its newest state is kept apart.
    pub(super) fn chain_end(&self, actor: i64) -> rusqlite::Result<Option<(ChainEnd, bool)>> {
        let Some(end) = chain_end(self.connection, actor)? else { return Ok(None) };
        let mut select =
            self.connection.prepare_cached("SELECT 1 FROM states WHERE actor = ?1 AND slot = ?2 AND sequence = ?3")?;
        let led = end.state.map(|state| signed(state.sequence));
        Ok(Some((end, select.exists(params![actor, NEWEST_SLOT, led])?)))
    }

    /// The newest state, where its event does not hold it; replaces the one before.
    pub(super) fn newest_state(&mut self, actor: i64, sequence: u64, state: Option<&[u8]>) -> Written {
        self.write_state(actor, NEWEST_SLOT, sequence, (state, None))
    }

    /// The newest state stands in its event.
    pub(super) fn no_newest_state(&self, actor: i64) -> Written {
        self.rare("DELETE FROM states WHERE actor = ?1 AND slot = ?2", params![actor, NEWEST_SLOT])
    }

    /// The newest state, as its event names it in full.
    pub(super) fn state_in_event(&self, place: EventPlace) -> rusqlite::Result<Option<Vec<u8>>> {
        let mut select = self.connection.prepare_cached("SELECT event_type, data FROM events WHERE position = ?1")?;
        let named = select.query_row([signed(place.position)], |row| {
            let kind = EventType::parse(row.get_ref(0)?.as_str()?).map(|event_type| event_type.kind);
            let data = whole(self.connection, row.get(1)?)?;
            Ok(kind.and_then(|kind| names_state(kind, &data)))
        })?;
        match named {
            Some(NamedState::None) => Ok(None),
            Some(NamedState::Inline(state)) => Ok(Some(state)),
            Some(NamedState::Digest { .. }) | None => {
                Err(unfit(format!("event {} does not hold the state that it led to", place.sequence)))
            }
        }
    }

    /// A state that stays, behind the event at `place`.
    pub(super) fn kept_state(&mut self, actor: i64, place: EventPlace, state: Option<&[u8]>) -> Written {
        let EventPlace { sequence, position } = place;
        let slot = signed(sequence + 1);
        match state {
            // The same state is often kept again: at the start of each incarnation, or where an actor only reads.
            Some(large) if large.len() > INLINE_STATE_BYTES => {
                let name = sha1(large);
                self.blob(&name, large, -signed(position))?;
                self.write_state(actor, slot, sequence, (None, Some(name)))
            }
            state => self.write_state(actor, slot, sequence, (state, None)),
        }
    }

    fn write_state(
        &mut self,
        actor: i64,
        slot: i64,
        sequence: u64,
        (state, name): (Option<&[u8]>, Option<[u8; 20]>),
    ) -> Written {
        self.state.raw_bind_parameter(1, actor)?;
        self.state.raw_bind_parameter(2, slot)?;
        self.state.raw_bind_parameter(3, signed(sequence))?;
        self.state.raw_bind_parameter(4, state)?;
        self.state.raw_bind_parameter(5, name.as_ref().map(|name| &name[..]))?;
        self.state.raw_execute().map(drop)
    }

    /// The row of an actor whose incarnation begins with event `started`.
    pub(super) fn actor(&self, actor: ActorKey, row: &ActorStarted, started: u64) -> Written {
        self.rare(
            "INSERT INTO actors
                 (actor, id, name, parent, incarnation, component, manifest, manifest_path, alive, attempts, started)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?9, ?10)
             ON CONFLICT (actor) DO UPDATE SET
                 incarnation = ?5, component = ?6, manifest = ?7, manifest_path = ?8, alive = 1, attempts = ?9,
                 started = ?10",
            params![
                actor.key,
                actor.id.to_string(),
                row.name,
                row.parent.map(|parent| parent.to_string()),
                signed(row.incarnation.0),
                row.component.0,
                &*row.manifest,
                row.manifest_path,
                signed(row.attempts),
                signed(started),
            ],
        )?;
        seal_actor(self.connection, actor.key)
    }

    pub(super) fn end(&mut self, actor: ActorKey) -> Written {
        self.rare("UPDATE actors SET alive = 0 WHERE actor = ?1", [actor.key])?;
        seal_actor(self.connection, actor.key)?;
        self.no_longer_owed("cause_actor = ?1 AND receiver = ?1", [actor.id.to_string()])
    }

    pub(super) fn survived(&self, actor: ActorKey) -> Written {
        self.rare("UPDATE actors SET attempts = 0 WHERE actor = ?1", [actor.key])?;
        seal_actor(self.connection, actor.key)
    }

    /// The actor is listed no longer.
    pub(super) fn forgotten(&self, actor: ActorKey) -> Written {
        self.rare("UPDATE actors SET listed = 0 WHERE actor = ?1", [actor.key])?;
        seal_actor(self.connection, actor.key)
    }

    /// The event at `position` has promised a delivery.
    pub(super) fn owed(&mut self, cause: Cause, owed: Owed, position: u64) -> Written {
        let row = OwedRow {
            cause_actor: cause.actor.to_string(),
            cause_sequence: signed(cause.sequence),
            receiver: owed.receiver.to_string(),
            position: signed(position),
            notice: owed.notice.map(str::to_owned),
        };
        let OwedRow { cause_actor, cause_sequence, receiver, position, notice } = &row;
        self.rare(
            "INSERT INTO pending VALUES (?1, ?2, ?3, ?4, ?5)",
            params![cause_actor, cause_sequence, receiver, position, notice],
        )?;
        self.owed.add(&row);
        Ok(())
    }

    pub(super) fn settled(&mut self, cause: Cause) -> Written {
        let cause = params![cause.actor.to_string(), signed(cause.sequence)];
        self.no_longer_owed("cause_actor = ?1 AND cause_sequence = ?2", cause)
    }

    fn no_longer_owed(&mut self, which: &str, params: impl rusqlite::Params) -> Written {
        let mut delete = self.connection.prepare_cached(&format!(
            "DELETE FROM pending WHERE {which} RETURNING cause_actor, cause_sequence, receiver, position, notice"
        ))?;
        let mut gone = delete.query(params)?;
        while let Some(row) = gone.next()? {
            self.owed.take(&OwedRow::read(row)?);
        }
        Ok(())
    }

    /// What is owed is summed up once a commit, where it has changed.
    pub(super) fn seal_what_is_owed(&mut self) -> Written {
        if self.owed != self.owed_written {
            self.owed.write(self.connection)?;
            self.owed_written = self.owed;
        }
        Ok(())
    }

    pub(super) fn component(&self, digest: ComponentDigest, bytes: &[u8]) -> Written {
        self.rare("INSERT OR IGNORE INTO components VALUES (?1, ?2)", params![digest.0, bytes])
    }

    /// A blob that a `started` names.
    pub(super) fn blob_for_good(&self, name: &[u8; 20], bytes: &[u8]) -> Written {
        self.blob(name, bytes, FOR_GOOD)
    }

    /// A blob is written once, however many need it.
    fn blob(&self, name: &[u8; 20], bytes: &[u8], user: i64) -> Written {
        self.rare("INSERT OR IGNORE INTO blobs VALUES (?1, ?2)", params![name, bytes])?;
        self.rare("INSERT OR IGNORE INTO uses VALUES (?1, ?2)", params![name, user])
    }

    /// One that needed a blob does not any more; when nobody does, it goes.
    fn release_blob(&self, name: &[u8; 20], user: i64) -> Written {
        self.rare("DELETE FROM uses WHERE sha1 = ?1 AND user = ?2", params![name, user])?;
        self.rare("DELETE FROM blobs WHERE sha1 = ?1 AND NOT EXISTS (SELECT 1 FROM uses WHERE sha1 = ?1)", [name])
    }

    /// What is dropped leaves its length and its SHA-1. SQLite overwrites the freed room with zeros. The last event of which
    /// anything was dropped.
    pub(super) fn drop_payloads(&self, actor: ActorKey, events: Range<u64>) -> rusqlite::Result<Option<u64>> {
        let Some(last) = events.end.checked_sub(1) else { return Ok(None) };
        let (mut places, mut found) = (Vec::new(), Vec::new());
        walk_from(self.connection, actor.key, last, |place, row| {
            if place.sequence >= events.start {
                places.push(place);
                if row.get::<_, Option<i64>>(5)?.is_none() && row.get_ref(4)?.as_str()? != EventKind::Started.word() {
                    found.push(place);
                }
            }
            Ok(if place.sequence > events.start { Continue(()) } else { Break(()) })
        })?;
        for place in &found {
            let stored = stored_data(self.connection, place.position)?;
            let names = parts::names(&stored);
            let data = whole(self.connection, stored)?;
            self.rare(
                "UPDATE events SET data = ?2, dropped = ?3 WHERE position = ?1",
                params![signed(place.position), sha1(&data), signed(data.len() as u64)],
            )?;
            names.iter().try_for_each(|name| self.release_blob(name, signed(place.position)))?;
        }
        self.drop_kept_states(actor, &events, &places)?;
        // The walk began with the last.
        Ok(found.first().map(|place| place.sequence))
    }

    /// Drops the states that were kept behind these events, which stand at `places`.
    fn drop_kept_states(&self, actor: ActorKey, events: &Range<u64>, places: &[EventPlace]) -> Written {
        let slots = params![actor.key, signed(events.start), signed(events.end)];
        let mut select = self.connection.prepare_cached(
            "SELECT sequence, sha1 FROM states
             WHERE actor = ?1 AND slot > ?2 AND slot <= ?3 AND slot > 0 AND sha1 IS NOT NULL",
        )?;
        let named: Vec<(i64, [u8; 20])> =
            select.query_map(slots, |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
        for (sequence, name) in named {
            if let Some(place) = places.iter().find(|place| signed(place.sequence) == sequence) {
                self.release_blob(&name, -signed(place.position))?;
            }
        }
        self.rare("DELETE FROM states WHERE actor = ?1 AND slot > ?2 AND slot <= ?3 AND slot > 0", slots)
    }

    fn rare(&self, statement: &str, params: impl rusqlite::Params) -> Written {
        self.connection.prepare_cached(statement)?.execute(params).map(drop)
    }
}

/// SQLite's integers are signed; what we count does not reach 2^63.
fn signed(count: u64) -> i64 {
    i64::try_from(count).expect("positions, sequences and milliseconds stay below 2^63")
}
