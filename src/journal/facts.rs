//! What committed batches mean to the index. The writer knows it from what was enqueued; here it is read from the log.

use std::collections::HashMap;

use super::error::{ReadFault, ReadResult, unfit};
use super::index::{EventFact, Fact, Index, IndexedTo, Landmark};
use super::log::{BatchLog, CommittedBatch, Entry, EventEntry, Payload, Tip};
use super::parts;
use super::record::{ActorKey, ActorStarted, Cause, Owed};
use crate::base::id::ActorId;
use crate::chain::EventHash;
use crate::chain::cbor::Cbor;
use crate::chain::data::Started;

/// A rebuilding that takes longer than a moment is said.
const PROGRESS_EVENTS: u64 = 100_000;

/// Has the index hold what the log does. `indexed` is up to where it says that it does: what it says of that is compared with
/// what the log vouches for, and where it is not that, the index is made anew. Returns the sum of the index as it is then,
/// which is the log's, unless the log is damaged there.
pub(super) fn bring_up(log: &dyn BatchLog, index: &Index, indexed: Option<IndexedTo>) -> ReadResult<[u8; 16]> {
    let tip = log.tip();
    let mut from = indexed.filter(|indexed| indexed.batch <= tip.batch);
    // One that cannot be summed up is made anew likewise.
    if let Some(indexed) = from
        && sum_behind(log, indexed.batch)? != index.sum().ok()
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
    let mut facts = FactReader::new(log, index);
    facts.read(indexed.batch, &mut |facts, upto| index.feed(facts, upto))?;
    summed_up(&tip, index)
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
    index.rebuild(|feed| FactReader::new(log, index).read(0, &mut |facts, upto| feed(facts, upto)))
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
struct FactReader<'a> {
    log: &'a dyn BatchLog,
    index: &'a Index,
    /// The actors by their keys, as far as they are known.
    ids: HashMap<u64, ActorId>,
}

impl<'a> FactReader<'a> {
    fn new(log: &'a dyn BatchLog, index: &'a Index) -> Self {
        Self { log, index, ids: HashMap::new() }
    }

    fn read(&mut self, after: u64, feed: &mut dyn FnMut(Vec<Fact>, IndexedTo)) -> ReadResult<()> {
        let mut fault = None;
        let log = self.log;
        let read = log.read(after, &mut |batch| {
            if fault.is_none() {
                match self.facts(batch) {
                    Ok(facts) => feed(facts, IndexedTo { batch: batch.tip.batch, position: batch.tip.position }),
                    Err(error) => fault = Some(error),
                }
            }
            Ok(())
        });
        read?;
        fault.map_or(Ok(()), Err)
    }

    fn facts(&mut self, batch: &CommittedBatch<'_>) -> ReadResult<Vec<Fact>> {
        let mut facts = Vec::with_capacity(batch.entries.len());
        let mut position = batch.first;
        for entry in &batch.entries {
            match entry {
                Entry::Event(event) => {
                    facts.push(Fact::Event(self.event(event, position)?));
                    if let Payload::Dropped { .. } = event.data {
                        facts.push(Fact::Dropped { actor: key(event.actor), last: event.sequence });
                    }
                    position += 1;
                }
                Entry::State { actor, sequence, .. } => {
                    facts.push(Fact::State { actor: key(*actor), sequence: *sequence, segment: batch.segment });
                }
                Entry::Ended(actor) => facts.push(Fact::Ended(key(*actor))),
                Entry::Survived(actor) => facts.push(Fact::Survived(key(*actor))),
                Entry::Forgotten(actor) => facts.push(Fact::Forgotten(key(*actor))),
                Entry::Dropped { actor, from, upto, last } => {
                    facts.push(Fact::StatesDropped { actor: key(*actor), events: *from..*upto });
                    facts.push(Fact::Dropped { actor: key(*actor), last: *last });
                }
                Entry::Name { .. } | Entry::Blob { .. } => {}
            }
        }
        Ok(facts)
    }

    fn event(&mut self, event: &EventEntry<'_>, position: u64) -> ReadResult<EventFact> {
        if let Some(begins) = &event.begins {
            self.ids.insert(event.actor, ActorId::from_bytes(begins.id));
        }
        let begins = event.begins.as_ref().map(|begins| {
            let Payload::Kept(stored) = event.data else { return Err(unfit("the data of a start was dropped".into())) };
            let data = whole(self.log, position, unsalted(event, stored).to_vec())?;
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
            let notice = match owes.notice {
                "" => None,
                word => Some(Owed::word(word).ok_or_else(|| unfit(format!("a notice is called {word}")))?),
            };
            Ok::<_, ReadFault>(Owed { receiver: ActorId::from_bytes(owes.receiver), notice })
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
            ends: event.ends,
        })
    }

    fn id_of(&mut self, actor: u64) -> ReadResult<ActorId> {
        if let Some(id) = self.ids.get(&actor) {
            return Ok(*id);
        }
        let row = self.index.actor(key(actor))?;
        let id = row.ok_or_else(|| unfit(format!("the actor of key {actor} never began")))?.actor.id;
        self.ids.insert(actor, id);
        Ok(id)
    }
}

fn key(actor: u64) -> i64 {
    actor.cast_signed()
}

/// The data of an event, with the parts that are kept apart in the segment of the event at `position`.
pub(super) fn whole(log: &dyn BatchLog, position: u64, stored: Vec<u8>) -> ReadResult<Vec<u8>> {
    let whole = parts::put_back(stored, |name| log.part(position, name).map_err(ReadFault::from))?;
    whole.map_err(|name| unfit(format!("a part of an event's data is not there: SHA-1 {}", hex::encode(name))))
}

/// The data of an event that is kept, without its salt.
fn unsalted<'a>(event: &EventEntry<'_>, stored: &'a [u8]) -> &'a [u8] {
    if event.is_salted { stored.get(16..).unwrap_or_default() } else { stored }
}
