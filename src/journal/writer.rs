//! The thread `journal`: takes what waits, commits it once, then lets go what waited for the commit.
//!
//! It waits for nobody but the disk. What it cannot write ends it: appends fail from then on, nothing that waited is
//! released, and the layer above is told why.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crossbeam_channel::Receiver;
use rusqlite::{Connection, params};

use super::Listener;
use super::error::JournalError;
use super::mark::{MarkFile, Tip};
use super::parts::{self, Part};
use super::queue::Queue;
use super::reader::whole;
use super::record::{ActorKey, ActorStarted, Attached, Cause, Owed, Record, StateWrite};
use crate::base::fail;
use crate::base::id::ActorId;
use crate::base::limits::INLINE_STATE_BYTES;
use crate::chain::{ChainEvent, ComponentDigest, sha1 as data_sha1};

/// One commit takes at most this much, so that a release never waits for an endless batch.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Where the newest state of an actor stands; a kept one stands at its event's sequence and 1.
pub(super) const NEWEST_SLOT: i64 = 0;

/// Who needs a blob that a `started` names; no position is 0.
const FOR_GOOD: i64 = 0;

pub(super) struct Writer {
    connection: Connection,
    mark: MarkFile,
    tip: Tip,
    queue: Arc<Queue>,
    records: Receiver<Record>,
    listener: Listener,
    /// Components that are in the journal already: actors begin far more often than components change.
    components: HashSet<ComponentDigest>,
}

/// What one commit holds, beside the rows.
#[derive(Default)]
struct Batch {
    weight: usize,
    releases: Vec<Box<dyn FnOnce() + Send>>,
    touched: Vec<ActorId>,
    /// The newest state of each actor in the batch: the ones before it need not be written.
    states: Vec<(ActorKey, u64, Option<Arc<[u8]>>)>,
    /// Deliveries promised and not settled within the batch, with the position of their cause. Most are settled in the
    /// batch that promised them, and cost nothing.
    owed: HashMap<Cause, (Owed, u64)>,
    /// Deliveries settled that an earlier batch promised.
    settled: Vec<Cause>,
    /// Something is to be gone: not only from the rows, but from the pages and the log too.
    drops: bool,
    close: bool,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        mark: MarkFile,
        tip: Tip,
        queue: Arc<Queue>,
        records: Receiver<Record>,
        listener: Listener,
    ) -> Self {
        Self { connection, mark, tip, queue, records, listener, components: HashSet::new() }
    }

    pub(super) fn run(mut self) {
        let result = self.commit_until_closed();
        self.queue.close();
        // Whoever waits for a release must see it dropped, not wait for ever.
        while self.records.try_recv().is_ok() {}
        if let Err(error) = result {
            log::error!("{error}");
            (self.listener.failed)(&error);
        }
    }

    fn commit_until_closed(&mut self) -> Result<(), JournalError> {
        while let Ok(first) = self.records.recv() {
            let batch = self.commit(first)?;
            self.queue.free(batch.weight);
            if batch.drops {
                self.fold_in_the_log();
            }
            for release in batch.releases {
                release();
            }
            if !batch.touched.is_empty() {
                (self.listener.committed)(&batch.touched);
            }
            if batch.close {
                self.fold_in_the_log();
                break;
            }
        }
        Ok(())
    }

    /// After an end in order journal.db is whole by itself. What fails here is done at the next start.
    fn fold_in_the_log(&self) {
        let folded = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = folded {
            log::warn!("the journal's write-ahead log was not folded in: {error}");
        }
    }

    /// Applies `first` and what waits behind it, in one transaction.
    fn commit(&mut self, first: Record) -> Result<Batch, JournalError> {
        let mut batch = Batch::default();
        let before = self.tip;
        let transaction = self.connection.unchecked_transaction().map_err(JournalError::Write)?;
        let mut next = Some(first);
        while let Some(record) = next.take() {
            batch.weight += record.weight();
            if matches!(&record, Record::Component(digest, _) if !self.components.insert(*digest)) {
                next = self.records.try_recv().ok();
                continue;
            }
            apply(&transaction, &mut self.tip, &mut batch, record).map_err(JournalError::Write)?;
            if batch.weight < BATCH_BYTES && !batch.close {
                next = self.records.try_recv().ok();
            }
        }
        write_rest(&transaction, &mut batch).map_err(JournalError::Write)?;
        if self.tip != before {
            transaction
                .prepare_cached("UPDATE metadata SET value = ?1 WHERE key = 'digest'")
                .and_then(|mut update| update.execute([self.tip.digest]))
                .map_err(JournalError::Write)?;
        }
        fail::point("before-commit");
        transaction.commit().map_err(JournalError::Write)?;
        fail::point("committed");
        if self.tip != before {
            self.mark.write(&self.tip).map_err(JournalError::WriteMark)?;
        }
        fail::point("marked");
        Ok(batch)
    }
}

fn apply(rows: &Connection, tip: &mut Tip, batch: &mut Batch, record: Record) -> rusqlite::Result<()> {
    match record {
        Record::Event(actor, event, attached) => {
            if batch.touched.last() != Some(&actor.id) {
                batch.touched.push(actor.id);
            }
            tip.push(&event.hash.0);
            write_event(rows, tip.position, actor, &event)?;
            write_parts(rows, &attached.parts, signed(tip.position))?;
            write_attached(rows, batch, actor, (event.sequence, tip.position), attached)
        }
        Record::Ended(actor) => write_end(rows, actor),
        Record::Survived(actor) => {
            rows.prepare_cached("UPDATE actors SET attempts = 0 WHERE actor = ?1")?.execute([actor.key]).map(|_| ())
        }
        Record::Drop { actor, from, upto } => {
            batch.drops = true;
            drop_payloads(rows, actor, from, upto)
        }
        Record::Component(digest, bytes) => rows
            .prepare_cached("INSERT OR IGNORE INTO components VALUES (?1, ?2)")?
            .execute(params![digest.0, &*bytes])
            .map(|_| ()),
        Record::Blob(sha1, bytes) => write_blob(rows, &sha1, &bytes, FOR_GOOD),
        Record::Release(release) => {
            batch.releases.push(release);
            Ok(())
        }
        Record::Close => {
            batch.close = true;
            Ok(())
        }
    }
}

fn write_attached(
    rows: &Connection,
    batch: &mut Batch,
    actor: ActorKey,
    (sequence, position): (u64, u64),
    attached: Attached,
) -> rusqlite::Result<()> {
    let Attached { begins, state, owes, settles, ends, parts: _ } = attached;
    if let Some(row) = begins {
        write_actor(rows, actor, &row, sequence)?;
    }
    if let Some(write) = state {
        note_state(rows, batch, actor, (sequence, position), write)?;
    }
    for cause in settles {
        if batch.owed.remove(&cause).is_none() {
            batch.settled.push(cause);
        }
    }
    if let Some(owed) = owes {
        batch.owed.insert(Cause { actor: actor.id, sequence }, (owed, position));
    }
    if ends { write_end(rows, actor) } else { Ok(()) }
}

/// What is written once a batch, not once a record.
fn write_rest(rows: &Connection, batch: &mut Batch) -> rusqlite::Result<()> {
    for (actor, sequence, state) in batch.states.drain(..) {
        write_state(rows, actor, NEWEST_SLOT, sequence, (state.as_deref(), None))?;
    }
    for Cause { actor, sequence } in batch.settled.drain(..) {
        rows.prepare_cached("DELETE FROM pending WHERE cause_actor = ?1 AND cause_sequence = ?2")?
            .execute(params![actor.to_string(), signed(sequence)])?;
    }
    for (Cause { actor, sequence }, (Owed { receiver, notice }, position)) in batch.owed.drain() {
        rows.prepare_cached("INSERT INTO pending VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
            actor.to_string(),
            signed(sequence),
            receiver.to_string(),
            signed(position),
            notice,
        ])?;
    }
    Ok(())
}

/// What is dropped leaves its length and its SHA-1. SQLite overwrites the freed room with zeros.
fn drop_payloads(rows: &Connection, actor: ActorKey, from: u64, upto: u64) -> rusqlite::Result<()> {
    rows.pragma_update(None, "secure_delete", "on")?;
    let mut select = rows.prepare_cached(
        "SELECT position, data FROM events
         WHERE actor = ?1 AND sequence >= ?2 AND sequence < ?3 AND dropped IS NULL AND event_type <> 'started'",
    )?;
    let found: Vec<(i64, Vec<u8>)> = select
        .query_map(params![actor.key, signed(from), signed(upto)], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (position, stored) in found {
        let names = parts::names(&stored);
        let data = whole(rows, stored)?;
        rows.prepare_cached("UPDATE events SET data = ?2, dropped = ?3 WHERE position = ?1")?.execute(params![
            position,
            data_sha1(&data),
            signed(data.len() as u64)
        ])?;
        names.iter().try_for_each(|name| release_blob(rows, name, position))?;
    }
    drop_states(rows, actor, signed(from).max(NEWEST_SLOT), signed(upto))?;
    rows.pragma_update(None, "secure_delete", "fast")
}

/// Drops the states kept in the slots behind `from`, up to `upto`.
fn drop_states(rows: &Connection, actor: ActorKey, from: i64, upto: i64) -> rusqlite::Result<()> {
    let mut select = rows.prepare_cached(
        "SELECT states.sha1, position FROM states JOIN events USING (actor, sequence)
         WHERE actor = ?1 AND slot > ?2 AND slot <= ?3 AND states.sha1 IS NOT NULL",
    )?;
    let named: Vec<([u8; 20], i64)> = select
        .query_map(params![actor.key, from, upto], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    named.iter().try_for_each(|(name, position)| release_blob(rows, name, -position))?;
    rows.prepare_cached("DELETE FROM states WHERE actor = ?1 AND slot > ?2 AND slot <= ?3")?
        .execute(params![actor.key, from, upto])
        .map(|_| ())
}

fn write_end(rows: &Connection, actor: ActorKey) -> rusqlite::Result<()> {
    rows.prepare_cached("UPDATE actors SET alive = 0 WHERE actor = ?1")?.execute([actor.key]).map(|_| ())
}

fn note_state(
    rows: &Connection,
    batch: &mut Batch,
    actor: ActorKey,
    (sequence, position): (u64, u64),
    write: StateWrite,
) -> rusqlite::Result<()> {
    if write.keep {
        let slot = signed(sequence + 1);
        match write.state.as_deref() {
            // The same state is often kept again: at the start of each incarnation, or where an actor only reads.
            Some(large) if large.len() > INLINE_STATE_BYTES => {
                let name = data_sha1(large);
                write_blob(rows, &name, large, -signed(position))?;
                write_state(rows, actor, slot, sequence, (None, Some(name)))?;
            }
            state => write_state(rows, actor, slot, sequence, (state, None))?,
        }
    }
    match batch.states.iter_mut().find(|(other, ..)| *other == actor) {
        Some(newest) => (newest.1, newest.2) = (sequence, write.state),
        None => batch.states.push((actor, sequence, write.state)),
    }
    Ok(())
}

fn write_actor(rows: &Connection, actor: ActorKey, row: &ActorStarted, started: u64) -> rusqlite::Result<()> {
    rows.prepare_cached(
        "INSERT INTO actors
             (actor, id, name, parent, incarnation, component, manifest, manifest_path, alive, attempts, started)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?9, ?10)
         ON CONFLICT (actor) DO UPDATE SET
             incarnation = ?5, component = ?6, manifest = ?7, manifest_path = ?8, alive = 1, attempts = ?9, started = ?10",
    )?
    .execute(params![
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
    ])
    .map(|_| ())
}

fn write_event(rows: &Connection, position: u64, actor: ActorKey, event: &ChainEvent) -> rusqlite::Result<()> {
    rows.prepare_cached(
        "INSERT INTO events (position, actor, sequence, timestamp, event_type, hash, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        signed(position),
        actor.key,
        signed(event.sequence),
        signed(event.timestamp),
        event.event_type,
        event.hash.0,
        event.data,
    ])
    .map(|_| ())
}

fn write_state(
    rows: &Connection,
    actor: ActorKey,
    slot: i64,
    sequence: u64,
    (state, name): (Option<&[u8]>, Option<[u8; 20]>),
) -> rusqlite::Result<()> {
    rows.prepare_cached(
        "INSERT OR REPLACE INTO states (actor, slot, sequence, state, sha1) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?
    .execute(params![actor.key, slot, signed(sequence), state, name])
    .map(|_| ())
}

fn write_parts(rows: &Connection, parts: &[Part], position: i64) -> rusqlite::Result<()> {
    parts.iter().try_for_each(|(name, part)| write_blob(rows, name, part, position))
}

/// A blob is written once, however many need it.
fn write_blob(rows: &Connection, name: &[u8; 20], bytes: &[u8], user: i64) -> rusqlite::Result<()> {
    rows.prepare_cached("INSERT OR IGNORE INTO blobs VALUES (?1, ?2)")?.execute(params![name, bytes])?;
    rows.prepare_cached("INSERT OR IGNORE INTO uses VALUES (?1, ?2)")?.execute(params![name, user]).map(|_| ())
}

/// One that needed a blob does not any more; when nobody does, it goes.
fn release_blob(rows: &Connection, name: &[u8; 20], user: i64) -> rusqlite::Result<()> {
    rows.prepare_cached("DELETE FROM uses WHERE sha1 = ?1 AND user = ?2")?.execute(params![name, user])?;
    rows.prepare_cached("DELETE FROM blobs WHERE sha1 = ?1 AND NOT EXISTS (SELECT 1 FROM uses WHERE sha1 = ?1)")?
        .execute([name])
        .map(|_| ())
}

/// SQLite's integers are signed; what we count does not reach 2^63.
fn signed(count: u64) -> i64 {
    i64::try_from(count).expect("positions, sequences and milliseconds stay below 2^63")
}
