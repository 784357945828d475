//! Carrying rows over: before the data of events is dropped, the rows that would be lost with it are written into the log by
//! records of their own.
//!
//! ```text
//!   put a, put b, put a', delete b │ kept state │ …          prune before the kept state: a' is carried, b is not
//! ```
//!
//! A row is carried if a table that somebody may still ask for has it: of a prune, the tables from the kept state on. A row that
//! was carried before and is deleted since is carried as deleted, since its record stays in the log.

use std::sync::Arc;

use super::JournalHandle;
use super::error::{JournalDown, ReadFault, unfit};
use super::index::StoredRow;
use super::reader::JournalReader;
use super::record::{ActorKey, EventPlace, Record};
use super::rows::{CarriedRow, Row, RowWrite, TableAt};
use crate::chain::table::write_of;
use crate::chain::{EventHash, EventKind};

/// The events that are about to lose their data.
pub(super) struct Lost<'a> {
    pub(super) actor: ActorKey,
    pub(super) places: &'a [EventPlace],
    /// Of a prune: the first event that is not concerned. What lies before was dropped before, or is now.
    pub(super) prunes_upto: Option<u64>,
}

/// Why rows could not be carried.
pub(super) enum CarryError {
    Read(ReadFault),
    Down(JournalDown),
}

impl From<ReadFault> for CarryError {
    fn from(fault: ReadFault) -> Self {
        Self::Read(fault)
    }
}

impl From<JournalDown> for CarryError {
    fn from(down: JournalDown) -> Self {
        Self::Down(down)
    }
}

/// Writes into the log what would be lost of the actor's table. Returns what is to be written behind the record that says what
/// is dropped: that makes the index forget what a redacted event has written.
pub(super) fn carry(journal: &JournalHandle, doomed: &Lost<'_>) -> Result<Vec<Record>, CarryError> {
    let (reader, actor) = (&journal.reader, doomed.actor);
    if doomed.places.is_empty() || !reader.ask(|index| index.has_rows(actor.key))? {
        return Ok(Vec::new());
    }
    if !reader.index.settle() {
        return Err(unfit("index.db cannot be written, so it is not known which rows would be lost".into()).into());
    }
    if let Some(upto) = doomed.prunes_upto {
        carry_before(journal, reader, doomed, upto)?;
        return Ok(Vec::new());
    }
    let rows = doomed.places.iter().map(|place| carried(reader, actor, place.sequence));
    rows.filter_map(Result::transpose).collect()
}

fn record(actor: ActorKey, closed: u64, write: RowWrite) -> Record {
    Record::Row(actor, Box::new(CarriedRow { closed, write }))
}

fn write(journal: &JournalHandle, actor: ActorKey, closed: u64, write: RowWrite) -> Result<(), CarryError> {
    Ok(journal.enqueue(record(actor, closed, write))?)
}

fn row_write(key: &[u8], row: &Row) -> RowWrite {
    RowWrite { key: key.into(), written: row.written, hash: row.hash, value: Some(Arc::clone(&row.value)) }
}

/// The record that says that a row was deleted.
fn deleted(key: &[u8], written: u64, hash: EventHash) -> RowWrite {
    RowWrite { key: key.into(), written, hash, value: None }
}

/// Carries what is there after the last of the events, and was written by one of them.
fn carry_before(
    journal: &JournalHandle,
    reader: &JournalReader,
    doomed: &Lost<'_>,
    upto: u64,
) -> Result<(), CarryError> {
    let actor = doomed.actor;
    let newest = reader.ask(|index| index.row_era(actor.key, upto))?;
    let is_lost = |row: &Row| doomed.places.binary_search_by_key(&row.written, |place| place.sequence).is_ok();
    each_stored(reader, actor, false, |StoredRow { era, key, row, .. }| match row {
        Some(row) if era >= newest && is_lost(&row) => write(journal, actor, row.closed, row_write(&key, &row)),
        _ => Ok(()),
    })?;
    each_stored(reader, actor, true, |StoredRow { era, key, until, row }| {
        let (Some(row), Some(until)) = (row, until) else { return Ok(()) };
        if era < newest {
            return Ok(());
        }
        if until > upto {
            return if is_lost(&row) { write(journal, actor, row.closed, row_write(&key, &row)) } else { Ok(()) };
        }
        // It lost its event before, so the log has it by a record.
        let was_carried = row.written < upto && !is_lost(&row);
        let at = TableAt { actor: actor.key, era, upto };
        if was_carried && reader.row(&at, &key)?.is_none() {
            write(journal, actor, until, deleted(&key, until, row.hash))?;
        }
        Ok(())
    })
}

/// What one event has written, if it would be missed.
fn carried(reader: &JournalReader, actor: ActorKey, sequence: u64) -> Result<Option<Record>, CarryError> {
    let event = reader.events(actor, sequence, 1, usize::MAX)?.pop();
    let written = event.as_ref().and_then(|event| write_of(&event.event_type, &event.data));
    let (Some(event), Some(written)) = (event, written) else { return Ok(None) };
    let Some(closed) = closed_by(reader, actor, sequence)? else { return Ok(None) };
    if written.value.is_none() {
        return Ok(Some(record(actor, closed, deleted(&written.key, sequence, event.hash))));
    }
    // The first moment from which on a replay can begin.
    let next = reader.next_start(actor, sequence + 1)?;
    for upto in next.into_iter().chain([u64::MAX]) {
        let era = reader.ask(|index| index.row_era(actor.key, upto))?;
        let row = reader.row(&TableAt { actor: actor.key, era, upto }, &written.key)?;
        if let Some(row) = row.filter(|row| row.written == sequence) {
            return Ok(Some(record(actor, closed, row_write(&written.key, &row))));
        }
    }
    Ok(None)
}

/// The `return` of the transition that an event belongs to.
fn closed_by(reader: &JournalReader, actor: ActorKey, sequence: u64) -> Result<Option<u64>, ReadFault> {
    let mut from = sequence + 1;
    loop {
        let page = reader.events(actor, from, 64, 1 << 20)?;
        let Some(last) = page.last() else { return Ok(None) };
        from = last.sequence + 1;
        for event in page {
            match event.kind() {
                Some(EventKind::Return) => return Ok(Some(event.sequence)),
                Some(EventKind::Refused | EventKind::Failed | EventKind::Stopped | EventKind::Call) => return Ok(None),
                Some(EventKind::HostCall | EventKind::Intent | EventKind::Started) | None => {}
            }
        }
    }
}

/// Visits the versions of all rows of an actor that the tables of the index have: those that are there, or those that were.
fn each_stored(
    reader: &JournalReader,
    actor: ActorKey,
    of_the_past: bool,
    mut visit: impl FnMut(StoredRow) -> Result<(), CarryError>,
) -> Result<(), CarryError> {
    let mut last: Option<(u64, Vec<u8>, u64)> = None;
    loop {
        let page = reader.ask(|index| {
            let behind = last.as_ref().map(|(era, key, until)| (*era, &**key, *until));
            if of_the_past {
                index.stored_past_rows(actor.key, behind)
            } else {
                index.stored_rows(actor.key, behind.map(|(era, key, _)| (era, key)))
            }
        })?;
        let Some(end) = page.last() else { return Ok(()) };
        last = Some((end.era, end.key.clone(), end.until.unwrap_or(0)));
        page.into_iter().try_for_each(&mut visit)?;
    }
}
