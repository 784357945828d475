//! Every event of the journal in its order, from a position on, and what is committed later: read forward, each batch once, and
//! worked on by all cores. Who needs the data of events reads them otherwise: here is only the data's digest.

use std::collections::HashMap;
use std::io;

use super::error::{ReadFault, ReadResult, no_part, unfit};
use super::log::{CommittedBatch, Entry, EventEntry, LogError, LogPlace, Payload};
use super::reader::{JournalReader, dropped};
use super::{facts, parts};
use crate::base::id::ActorId;
use crate::base::pool;
use crate::chain::{DroppedData, EventHash};

/// Fewer events are not worth another core.
const SHARE: usize = 512;
/// Of so many actors it is held where their chains end. What is not held is looked up.
const KNOWN_ACTORS: usize = 262_144;

/// An event with what an event keeps when its data is dropped.
#[derive(Clone, Debug)]
pub(crate) struct CommittedEvent<'a> {
    pub(crate) position: u64,
    pub(crate) actor: ActorId,
    pub(crate) sequence: u64,
    pub(crate) timestamp: u64,
    pub(crate) parent: Option<EventHash>,
    pub(crate) hash: EventHash,
    pub(crate) event_type: &'a str,
    /// The length and the digest of the data, whether it is there or was dropped.
    pub(crate) data: DroppedData,
}

/// A reader of all events that are committed, now and later.
pub(crate) struct CommittedEvents {
    reader: JournalReader,
    place: LogPlace,
    /// Events up to this position are left out.
    after: u64,
    actors: HashMap<u64, ChainEndHere>,
}

/// Where a chain ends as far as it was read.
#[derive(Clone, Copy)]
struct ChainEndHere {
    id: ActorId,
    last: Option<EventHash>,
}

/// An event whose data was not looked at yet.
struct Linked<'a> {
    position: u64,
    actor: ActorId,
    parent: Option<EventHash>,
    event: &'a EventEntry<'a>,
}

impl CommittedEvents {
    /// The events behind a position.
    pub(crate) fn after(reader: &JournalReader, position: u64) -> ReadResult<Self> {
        let place = reader.log.place_before(position + 1)?;
        Ok(Self { reader: reader.clone(), place, after: position, actors: HashMap::new() })
    }

    /// The events of the whole segment that has the event at a position, or that will have the next one.
    pub(crate) fn of_segment_with(reader: &JournalReader, position: u64) -> ReadResult<Self> {
        let place = reader.log.place_before(position)?;
        let after = place.tip().position;
        Ok(Self { reader: reader.clone(), place, after, actors: HashMap::new() })
    }

    /// Has the disk hold what was read.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        self.place.sync()
    }

    /// What `of` makes of each of the next events, in their order; none where nothing more is committed. It may be empty.
    pub(crate) fn next_run<T: Send>(
        &mut self,
        of: impl Fn(&CommittedEvent<'_>) -> T + Send + Sync,
    ) -> ReadResult<Option<Vec<T>>> {
        let Self { reader, place, after, actors } = self;
        let (mut made, mut fault) = (Vec::new(), None);
        let more = reader.log.read_on(place, &mut |batches| {
            let each = |linked: &Linked<'_>| Ok(of(&with_data(reader, linked)?));
            let linked = link(reader, actors, *after, batches);
            match linked.and_then(|linked| pool::map(&linked, linked.len() / SHARE, each).into_iter().collect()) {
                Ok(all) => made = all,
                Err(error) => fault = Some(error),
            }
            match &fault {
                None => Ok(()),
                // The place stays where it is.
                Some(_) => {
                    Err(LogError::Io { path: reader.dir.to_path_buf(), error: io::ErrorKind::InvalidData.into() })
                }
            }
        });
        if let Some(fault) = fault {
            actors.clear();
            return Err(fault);
        }
        Ok(more?.then_some(made))
    }
}

/// Finds the actor and the parent of each event.
fn link<'a>(
    reader: &JournalReader,
    actors: &mut HashMap<u64, ChainEndHere>,
    after: u64,
    batches: &'a [CommittedBatch<'a>],
) -> ReadResult<Vec<Linked<'a>>> {
    if actors.len() > KNOWN_ACTORS {
        actors.clear();
    }
    let mut linked = Vec::new();
    for batch in batches {
        let events = batch.entries.iter().filter_map(|entry| match entry {
            Entry::Event(event) => Some(event),
            _ => None,
        });
        for (position, event) in (batch.first..).zip(events) {
            let end = match actors.get_mut(&event.actor) {
                Some(end) => end,
                None => {
                    let id = id_of(reader, event)?;
                    actors.entry(event.actor).or_insert(ChainEndHere { id, last: None })
                }
            };
            let parent = match end.last {
                Some(last) => Some(last),
                None => parent_of(reader, event, position)?,
            };
            end.last = Some(EventHash(event.hash));
            if position > after {
                linked.push(Linked { position, actor: end.id, parent, event });
            }
        }
    }
    Ok(linked)
}

fn id_of(reader: &JournalReader, event: &EventEntry<'_>) -> ReadResult<ActorId> {
    if let Some(begins) = &event.begins {
        return Ok(ActorId::from_bytes(begins.id));
    }
    let row = reader.ask(|index| index.actor(event.actor.cast_signed()))?;
    Ok(row.ok_or_else(|| unfit(format!("the actor of key {} never began", event.actor)))?.actor.id)
}

fn parent_of(reader: &JournalReader, event: &EventEntry<'_>, position: u64) -> ReadResult<Option<EventHash>> {
    if event.back == 0 {
        return Ok(None);
    }
    let parent = position.checked_sub(event.back).map(|position| reader.log.event(position)).transpose()?.flatten();
    let lost = || unfit(format!("the event before the one at position {position} on its chain is not there"));
    Ok(Some(EventHash(parent.ok_or_else(lost)?.hash)))
}

fn with_data<'a>(reader: &JournalReader, linked: &Linked<'a>) -> ReadResult<CommittedEvent<'a>> {
    let Linked { position, actor, parent, event } = linked;
    let data = match event.data {
        Payload::Kept(stored) => {
            let unsalted = facts::unsalted(event.is_salted, stored);
            if parts::were_taken_out(unsalted) {
                let find = |name: &[u8; 20]| reader.log.part(*position, name).map_err(ReadFault::from);
                let whole = parts::put_back(unsalted.to_vec(), find)?.map_err(no_part)?;
                let salt = if event.is_salted { stored.get(..16).unwrap_or_default() } else { &[] };
                DroppedData::of_salted(event.is_salted, &[salt, &whole].concat())
            } else {
                DroppedData::of_salted(event.is_salted, stored)
            }
        }
        Payload::Dropped { length, digest } => dropped(event.sequence, length, digest)?,
    };
    Ok(CommittedEvent {
        position: *position,
        actor: *actor,
        sequence: event.sequence,
        timestamp: event.timestamp,
        parent: *parent,
        hash: EventHash(event.hash),
        event_type: event.event_type,
        data,
    })
}
