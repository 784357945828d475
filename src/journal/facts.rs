//! What committed batches mean to the index. The writer knows it from what was enqueued; here it is read from the log.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::error::{ReadFault, ReadResult, no_part, unfit};
use super::index::{EventFact, Fact, Index, IndexedTo, Landmark};
use super::log::{BatchLog, CommittedBatch, Entry, EventEntry, Payload, Tip};
use super::parts;
use super::record::{ActorKey, ActorRow, ActorStarted, Cause, Owed};
use super::rows::{CarriedRow, RowWrite, RowWrites};
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::Started;
use crate::chain::table::{self, TableWrite};
use crate::chain::{EventHash, EventKind, EventType, KeyDigest};

/// A rebuilding that takes longer than a moment is said.
const PROGRESS_EVENTS: u64 = 100_000;

/// Has the index hold what the log does. `indexed` is up to where it says that it does: what it says of that is compared with
/// what the log vouches for, and where it is not that, the index is made anew. Returns the sum of the index as it is then,
/// which is the log's, unless the log is damaged there.
pub(super) fn bring_up(log: &dyn BatchLog, index: &Index, indexed: Option<IndexedTo>) -> ReadResult<[u8; 16]> {
    let tip = log.tip();
    let mut from = indexed.filter(|indexed| indexed.batch <= tip.batch);
    if let Some(indexed) = from
        && !is_right(log, index, indexed)?
    {
        from = None;
    }
    let Some(indexed) = from else {
        if tip.position > PROGRESS_EVENTS {
            log::info!("the journal's index is made anew from the log: {} events", tip.position);
        }
        index.begin_again();
        make_anew(log, index)?;
        return summed_up(&tip, index);
    };
    if indexed.batch == tip.batch {
        return Ok(tip.sum);
    }
    FactReader::new(Some(index)).read(log, indexed.batch, &mut |facts, upto| index.feed(facts, upto))?;
    summed_up(&tip, index)
}

/// Whether an index holds what the log does up to a batch. One that cannot be read does not.
fn is_right(log: &dyn BatchLog, index: &Index, indexed: IndexedTo) -> ReadResult<bool> {
    let sum = sum_behind(log, indexed.batch)?;
    let (Ok(found), Ok(rows)) = (index.sum(), index.actors()) else { return Ok(false) };
    // What starts say of the actors is not summed up: it is in the log.
    let is_right = |row: &ActorRow| is_said(log, index, row) && led_to_a_state(log, index, row.actor.key);
    Ok(sum == Some(found) && rows.iter().all(is_right))
}

/// Whether the event that is said to have led to an actor's newest state names a state and is that actor's. The sum covers
/// its place and not its number.
fn led_to_a_state(log: &dyn BatchLog, index: &Index, actor: i64) -> bool {
    let Ok(end) = index.head(actor) else { return false };
    let Some(led) = end.and_then(|end| end.state) else { return true };
    let event = log.event(led.position).ok().flatten();
    event.is_none_or(|event| (event.actor, event.sequence) == (actor.unsigned_abs(), led.sequence))
}

/// Whether an actor's row is what its newest start says. Where that cannot be read, whoever needs it says so.
fn is_said(log: &dyn BatchLog, index: &Index, row: &ActorRow) -> bool {
    let Ok(place) = index.landmark(row.actor.key, Landmark::Started, u64::MAX) else { return false };
    let event = place.and_then(|place| log.event(place.position).ok()).flatten();
    let data = event.and_then(|event| whole(log, event.position, event.unsalted().to_vec()).ok());
    let started = data.and_then(|data| Started::from_cbor(&data).ok());
    started.is_none_or(|started| row.differs_from(&started).is_none())
}

/// The sum of an index that holds what the log does up to `tip`.
fn summed_up(tip: &Tip, index: &Index) -> ReadResult<[u8; 16]> {
    let sum = index.sum()?;
    if sum != tip.sum {
        log::warn!("the standing sum at the end of the log is not what its records come to; they are gone on from");
    }
    Ok(sum)
}

/// Rebuilds an index that is damaged.
pub(super) fn make_anew(log: &dyn BatchLog, index: &Index) -> ReadResult<()> {
    index.rebuild(|feed| FactReader::new(None).read(log, 0, &mut |facts, upto| feed(facts, upto)))
}

/// The standing sum behind a batch.
fn sum_behind(log: &dyn BatchLog, batch: u64) -> ReadResult<Option<[u8; 16]>> {
    let tip = log.tip();
    if tip.batch == batch {
        return Ok(Some(tip.sum));
    }
    Ok(log.sum_behind(batch)?)
}

/// Reads facts from a log.
pub(super) struct FactReader<'a> {
    /// What knows the actors that began before; none where all is read from the beginning.
    before: Option<&'a Index>,
    /// The actors by their keys, as far as they are known.
    ids: HashMap<u64, ActorId>,
    /// What the transitions that are open have written to tables, by the keys of their actors.
    writes: HashMap<u64, RowWrites>,
    /// Where not all is read: the actors of whose open transition it is known what it has written.
    met: HashSet<u64>,
}

impl<'a> FactReader<'a> {
    pub(super) fn new(before: Option<&'a Index>) -> Self {
        Self { before, ids: HashMap::new(), writes: HashMap::new(), met: HashSet::new() }
    }

    pub(super) fn read(
        &mut self,
        log: &dyn BatchLog,
        after: u64,
        feed: &mut dyn FnMut(Vec<Fact>, IndexedTo),
    ) -> ReadResult<()> {
        let mut fault = None;
        let read = log.read(after, &mut |batch| {
            if fault.is_none() {
                match self.facts(log, batch) {
                    Ok(facts) => feed(facts, IndexedTo { batch: batch.tip.batch, position: batch.tip.position }),
                    Err(error) => fault = Some(error),
                }
            }
            Ok(())
        });
        read?;
        fault.map_or(Ok(()), Err)
    }

    pub(super) fn facts(&mut self, log: &dyn BatchLog, batch: &CommittedBatch<'_>) -> ReadResult<Vec<Fact>> {
        let mut facts = Vec::with_capacity(batch.entries.len());
        let mut position = batch.first;
        for entry in &batch.entries {
            match entry {
                Entry::Event(event) => {
                    facts.push(Fact::Event(self.event(log, event, position)?));
                    facts.extend(self.rows(log, event, position)?);
                    if let Payload::Dropped { .. } = event.data {
                        facts.push(Fact::Dropped { actor: key(event.actor), last: event.sequence });
                    }
                    position += 1;
                }
                Entry::State { actor, sequence, .. } => {
                    facts.push(Fact::State { actor: key(*actor), sequence: *sequence, segment: batch.segment });
                }
                Entry::Row { actor, written, closed, hash, row: Payload::Kept(payload), .. } => {
                    let TableWrite { key: row, value } = CarriedRow::read(payload)
                        .ok_or_else(|| unfit(format!("a row of the actor of key {actor} cannot be read")))?;
                    let (hash, value) = (EventHash(*hash), value.map(Arc::from));
                    let write = RowWrite { key: row.into(), written: *written, hash, value };
                    let row = Box::new(CarriedRow { closed: *closed, write });
                    facts.push(Fact::Carried { actor: key(*actor), row });
                }
                // It was overwritten since, or deleted.
                Entry::Row { row: Payload::Dropped { .. }, .. } => {}
                Entry::Ended(actor) => facts.push(Fact::Ended(key(*actor))),
                Entry::Survived(actor) => facts.push(Fact::Survived(key(*actor))),
                Entry::Forgotten(actor) => facts.push(Fact::Forgotten(key(*actor))),
                Entry::Paused { actor, is_paused } => {
                    facts.push(Fact::Paused { actor: key(*actor), is_paused: *is_paused });
                }
                Entry::Dropped { actor, from, upto, last } => {
                    facts.push(Fact::StatesDropped { actor: key(*actor), events: *from..*upto });
                    facts.push(Fact::Dropped { actor: key(*actor), last: *last });
                }
                Entry::Name { .. } | Entry::Blob { .. } => {}
            }
        }
        Ok(facts)
    }

    /// What a transition has written to its actor's table, where the event closes it.
    fn rows(&mut self, log: &dyn BatchLog, event: &EventEntry<'_>, position: u64) -> ReadResult<Option<Fact>> {
        let kind = EventType::parse(event.event_type).map(|event_type| event_type.kind);
        match kind {
            Some(EventKind::Call) => {
                self.writes.remove(&event.actor);
                if self.before.is_some() {
                    self.met.insert(event.actor);
                }
            }
            Some(EventKind::Refused | EventKind::Failed | EventKind::Stopped) => {
                self.writes.remove(&event.actor);
            }
            Some(EventKind::HostCall) => {
                self.meet(log, event, position)?;
                let Payload::Kept(stored) = event.data else { return Ok(None) };
                if let Some(write) = written(log, event.event_type, position, unsalted(event.is_salted, stored))? {
                    let writes = self.writes.entry(event.actor).or_default();
                    writes.add(event.sequence, EventHash(event.hash), write);
                }
            }
            Some(EventKind::Return) => {
                self.meet(log, event, position)?;
                let Some(writes) = self.writes.remove(&event.actor) else { return Ok(None) };
                let (actor, closed, writes) = (key(event.actor), event.sequence, writes.into_writes());
                return Ok(Some(Fact::Rows { actor, closed, writes }));
            }
            Some(EventKind::Started | EventKind::Intent) | None => {}
        }
        Ok(None)
    }

    /// Where not all is read: finds what the transition of an event has written before, unless that is known.
    fn meet(&mut self, log: &dyn BatchLog, event: &EventEntry<'_>, position: u64) -> ReadResult<()> {
        if self.before.is_none() || !self.met.insert(event.actor) {
            return Ok(());
        }
        let mut back = position.checked_sub(event.back).filter(|_| event.back > 0);
        let mut writes = RowWrites::default();
        while let Some(at) = back {
            let before = log.event(at)?.ok_or_else(|| unfit(format!("the event at position {at} is not there")))?;
            match EventType::parse(&before.event_type).map(|event_type| event_type.kind) {
                Some(EventKind::HostCall) => {
                    if let Some(write) = written(log, &before.event_type, at, before.unsalted())? {
                        writes.add_earlier(before.sequence, EventHash(before.hash), write);
                    }
                }
                Some(EventKind::Intent | EventKind::Started) => {}
                _ => break,
            }
            back = before.previous;
        }
        if !writes.is_empty() {
            self.writes.insert(event.actor, writes);
        }
        Ok(())
    }

    fn event(&mut self, log: &dyn BatchLog, event: &EventEntry<'_>, position: u64) -> ReadResult<EventFact> {
        if let Some(begins) = &event.begins {
            self.ids.insert(event.actor, ActorId::from_bytes(begins.id));
        }
        let begins = event.begins.as_ref().map(|begins| {
            let Payload::Kept(stored) = event.data else { return Err(unfit("the data of a start was dropped".into())) };
            let data = whole(log, position, unsalted(event.is_salted, stored).to_vec())?;
            let started = Started::from_cbor(&data)
                .map_err(|error| unfit(format!("the start at position {position} cannot be read: {error}")))?;
            Ok(Box::new(ActorStarted {
                name: started.name,
                parent: started.parent,
                incarnation: started.incarnation,
                component: started.component,
                manifest: started.manifest.into(),
                manifest_path: begins.manifest_path.to_owned(),
                attempts: begins.attempts,
            }))
        });
        let owes = event.owes.as_ref().map(|owes| {
            let owed = Owed::read(ActorId::from_bytes(owes.receiver), owes.notice);
            owed.ok_or_else(|| unfit(format!("a notice is called {}", owes.notice)))
        });
        let cause =
            |(actor, sequence): &([u8; 16], u64)| Cause { actor: ActorId::from_bytes(*actor), sequence: *sequence };
        Ok(EventFact {
            actor: ActorKey { key: key(event.actor), id: self.id_of(event.actor)? },
            sequence: event.sequence,
            position,
            hash: EventHash(event.hash),
            landmark: Landmark::of(event.event_type),
            names_state: event.names_state,
            keeps: event.keeps,
            begins: begins.transpose()?,
            owes: owes.transpose()?,
            settles: event.settles.iter().map(cause).collect(),
            key: event.key.map(KeyDigest),
            ends: event.ends,
        })
    }

    fn id_of(&mut self, actor: u64) -> ReadResult<ActorId> {
        if let Some(id) = self.ids.get(&actor) {
            return Ok(*id);
        }
        let row = self.before.map(|index| index.actor(key(actor))).transpose()?.flatten();
        let id = row.ok_or_else(|| unfit(format!("the actor of key {actor} never began")))?.actor.id;
        self.ids.insert(actor, id);
        Ok(id)
    }
}

fn key(actor: u64) -> i64 {
    actor.cast_signed()
}

/// What an event with this stored data, without its salt, writes to a table.
fn written(log: &dyn BatchLog, event_type: &str, position: u64, stored: &[u8]) -> ReadResult<Option<TableWrite>> {
    if !table::may_write(event_type) || stored.is_empty() {
        return Ok(None);
    }
    Ok(table::write_of(event_type, &whole(log, position, stored.to_vec())?))
}

/// The data of an event, with the parts that are kept apart in the segment of the event at `position`.
pub(super) fn whole(log: &dyn BatchLog, position: u64, stored: Vec<u8>) -> ReadResult<Vec<u8>> {
    let whole = parts::put_back(stored, |name| log.part(position, name).map_err(ReadFault::from))?;
    whole.map_err(no_part)
}

/// The data of an event that is kept, without its salt.
pub(super) fn unsalted(is_salted: bool, stored: &[u8]) -> &[u8] {
    if is_salted { stored.get(16..).unwrap_or_default() } else { stored }
}
