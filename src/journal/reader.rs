//! Reads what is committed. Readers do not hold up the writer, nor each other.

use std::ops::ControlFlow::{Break, Continue};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use super::components;
use super::error::{ReadFault, ReadResult, unfit};
use super::facts::{make_anew, whole};
use super::index::{Index, IndexError, Landmark, Still};
use super::log::{BatchLog, StoredData, StoredEvent};
use super::newest::NewestStates;
use super::record::{ActorKey, ActorRow, EventPlace, Pending};
use super::upgrade::Readable;
use crate::chain::cbor::Cbor;
use crate::chain::data::Started;
use crate::chain::{
    ChainEvent, ComponentDigest, DataDigest, DroppedData, EventHash, EventKind, EventType, Head, Salt, sha1,
};

/// Reads the log by what the index says of it; cheap to make.
#[derive(Clone)]
pub(crate) struct JournalReader {
    pub(super) log: Arc<dyn BatchLog>,
    pub(super) index: Arc<Index>,
    /// The newest states that the running writer has not stored yet; empty where there is none.
    pub(super) newest: Arc<NewestStates>,
    pub(super) dir: Arc<Path>,
    /// What is removed when nobody reads it any more: the copy of a journal of an older format.
    #[expect(dead_code, reason = "it is held for its drop")]
    pub(super) readable: Option<Readable>,
}

type Result<T> = ReadResult<T>;

impl JournalReader {
    /// The data directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Asks the index. If it is found damaged, it is made anew from the log, and asked again.
    pub(super) fn ask<T>(&self, question: impl Fn(&Index) -> std::result::Result<T, IndexError>) -> Result<T> {
        match question(&self.index) {
            Err(error) if error.is_damage() => {
                make_anew(&*self.log, &self.index)?;
                Ok(question(&self.index)?)
            }
            answer => Ok(answer?),
        }
    }

    /// Makes many lookups faster, for a while in which little is written.
    pub(crate) fn keep_still(&self) -> Still {
        self.index.keep_still()
    }

    /// Every actor, in the order in which they were first started.
    pub(crate) fn actors(&self) -> Result<Vec<ActorRow>> {
        self.ask(|index| index.actors())
    }

    /// How many starts in a row have resumed the actor's open transition and got no further.
    pub(crate) fn attempts(&self, actor: ActorKey) -> Result<u64> {
        self.ask(|index| index.attempts(actor.key))
    }

    /// The `started` of the actor's newest incarnation.
    pub(crate) fn newest_started(&self, actor: ActorKey) -> Result<Option<ChainEvent>> {
        self.started_before(actor, u64::MAX)
    }

    /// The `started` of the actor's first incarnation, which is its first event.
    pub(crate) fn first_started(&self, actor: ActorKey) -> Result<Option<ChainEvent>> {
        self.started_before(actor, 0)
    }

    /// The same for one that somebody is to build upon: it is what was written.
    pub(crate) fn sound_first_started(&self, actor: ActorKey) -> Result<Option<ChainEvent>> {
        let Some(place) = self.landmark(actor, Landmark::Started, 0)? else { return Ok(None) };
        let event = self.event_at(actor, place)?;
        if EventHash::of(&event) == event.hash { Ok(Some(event)) } else { Err(self.altered(actor, place)) }
    }

    /// The error for an event whose hash does not cover what it says.
    pub(super) fn altered(&self, actor: ActorKey, place: EventPlace) -> ReadFault {
        let EventPlace { sequence, position } = place;
        let sealed = self.log.sealed();
        let holder = sealed.iter().find(|span| span.last >= position);
        let number = holder.map_or_else(|| sealed.last().map_or(1, |last| last.number + 1), |span| span.number);
        let file = self.log.file(number);
        unfit(format!("{}: event {sequence} of actor {} is not what was written", file.display(), actor.id))
    }

    /// The transition that the chain ends within: its `call` and what follows; nothing where none is open.
    pub(crate) fn open_transition(&self, actor: ActorKey) -> Result<Vec<ChainEvent>> {
        let mut call = None;
        self.walk_from_the_end(actor, |event| {
            Ok(match kind(event) {
                Some(EventKind::Call) => {
                    call = Some(event.sequence);
                    Break(())
                }
                Some(EventKind::Intent | EventKind::HostCall) => Continue(()),
                // It was resumed before.
                Some(EventKind::Started) if self.resumes(event)? => Continue(()),
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
    fn resumes(&self, event: &StoredEvent) -> Result<bool> {
        Ok(Started::from_cbor(&self.data(event)?).is_ok_and(|started| started.resumes))
    }

    /// Where an event stands in the order of all.
    pub(crate) fn position(&self, actor: ActorKey, sequence: u64) -> Result<Option<u64>> {
        Ok(self.place(actor, sequence)?.map(|place| place.position))
    }

    /// The actor's events behind a position in the order of all. Looks from the end of the chain backwards, so that it
    /// takes as long as what it finds, however long the chain is.
    pub(crate) fn events_after(&self, actor: ActorKey, position: u64) -> Result<Vec<ChainEvent>> {
        let mut from = None;
        self.walk_from_the_end(actor, |event| {
            if event.position <= position {
                return Ok(Break(()));
            }
            from = Some(event.sequence);
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
        self.walk_from_the_end(actor, |event| {
            if event.position <= behind || most == 0 {
                return Ok(Break(()));
            }
            most -= 1;
            show(&self.event(event, self.hash_before(actor, event)?)?);
            Ok(Continue(()))
        })
    }

    /// The last event whose data was dropped.
    pub(crate) fn last_dropped(&self, actor: ActorKey) -> Result<Option<u64>> {
        Ok(self.chain_end(actor)?.and_then(|end| end.dropped))
    }

    /// The `started` of the incarnation that event `sequence` lies in.
    pub(crate) fn started_before(&self, actor: ActorKey, sequence: u64) -> Result<Option<ChainEvent>> {
        let started = self.landmark(actor, Landmark::Started, sequence)?;
        started.map(|place| self.event_at(actor, place)).transpose()
    }

    /// Whether `init` has returned, in whichever incarnation.
    pub(crate) fn has_begun(&self, actor: ActorKey) -> Result<bool> {
        Ok(self.landmark(actor, Landmark::InitReturned, u64::MAX)?.is_some())
    }

    /// The newest call that may have been served by the instance that the actor has now. An incarnation begins with a new
    /// instance, unless it resumes a transition.
    pub(crate) fn last_call_of_the_instance(&self, actor: ActorKey) -> Result<Option<ChainEvent>> {
        let mut call = None;
        self.walk_from_the_end(actor, |event| {
            match kind(event) {
                Some(EventKind::Call) => {}
                Some(EventKind::Started) if !self.resumes(event)? => return Ok(Break(())),
                _ => return Ok(Continue(())),
            }
            call = Some(self.event(event, self.hash_before(actor, event)?)?);
            Ok(Break(()))
        })?;
        Ok(call)
    }

    /// The actor's failures at these times (milliseconds since the Unix epoch), oldest first.
    pub(crate) fn failures(&self, actor: ActorKey, times: RangeInclusive<u64>) -> Result<Vec<ChainEvent>> {
        let mut failed = Vec::new();
        let mut before = u64::MAX;
        while let Some(place) = self.landmark(actor, Landmark::Failed, before)? {
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

    /// The actor's newest failures, the newest first: at most `most`.
    pub(crate) fn newest_failures(&self, actor: ActorKey, most: u64) -> Result<Vec<ChainEvent>> {
        let (mut failed, mut before) = (Vec::new(), u64::MAX);
        while (failed.len() as u64) < most
            && let Some(place) = self.landmark(actor, Landmark::Failed, before)?
        {
            failed.push(self.event_at(actor, place)?);
            let Some(earlier) = place.sequence.checked_sub(1) else { break };
            before = earlier;
        }
        Ok(failed)
    }

    /// Every delivery that is owed, in the order in which they were promised.
    pub(crate) fn pending(&self) -> Result<Vec<Pending>> {
        self.ask(|index| index.owed())
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
        let mut page: Vec<ChainEvent> = Vec::new();
        let (mut next, mut bytes) = (from, 0usize);
        while let Some(run) = self.run_from(actor, next)? {
            for stored in run.iter().rev() {
                if page.len() as u64 >= limit {
                    return Ok(page);
                }
                let parent = match page.last() {
                    Some(before) => Some(before.hash),
                    None => self.hash_before(actor, stored)?,
                };
                let event = self.event(stored, parent)?;
                bytes = bytes.saturating_add(event.data.len());
                if bytes > max_bytes && !page.is_empty() {
                    return Ok(page);
                }
                next = event.sequence + 1;
                page.push(event);
            }
        }
        Ok(page)
    }

    /// The event of which it is known where it stands.
    pub(super) fn event_at(&self, actor: ActorKey, place: EventPlace) -> Result<ChainEvent> {
        let stored = self.stored_at(actor, place)?;
        let parent = self.hash_before(actor, &stored)?;
        self.event(&stored, parent)
    }

    /// The event that promised a delivery.
    pub(crate) fn promise(&self, actor: ActorKey, pending: &Pending) -> Result<ChainEvent> {
        self.event_at(actor, EventPlace { sequence: pending.cause.sequence, position: pending.position })
    }

    /// An event as its chain has it.
    pub(super) fn event(&self, stored: &StoredEvent, parent_hash: Option<EventHash>) -> Result<ChainEvent> {
        let dropped = match &stored.data {
            StoredData::Kept(_) => None,
            StoredData::Dropped { length, digest } => Some(dropped(stored.sequence, *length, digest)?),
        };
        Ok(ChainEvent {
            sequence: stored.sequence,
            timestamp: stored.timestamp,
            event_type: stored.event_type.to_string().into(),
            parent_hash,
            hash: EventHash(stored.hash),
            data: self.data(stored)?,
            salt: stored.salt().map(Salt),
            dropped,
        })
    }

    /// The data of an event, with its large parts; empty where it was dropped.
    pub(super) fn data(&self, event: &StoredEvent) -> Result<Vec<u8>> {
        match &event.data {
            StoredData::Kept(_) => whole(&*self.log, event.position, event.unsalted().to_vec()),
            StoredData::Dropped { .. } => Ok(Vec::new()),
        }
    }

    /// The hash of the event before one on its chain.
    pub(super) fn hash_before(&self, actor: ActorKey, event: &StoredEvent) -> Result<Option<EventHash>> {
        before(event)?.map(|place| Ok(EventHash(self.stored_at(actor, place)?.hash))).transpose()
    }

    /// The bytes of a component. Whether they are what its name says, the caller checks.
    pub(crate) fn component(&self, digest: ComponentDigest) -> Result<Option<Vec<u8>>> {
        Ok(components::read(&self.dir, digest)?)
    }

    /// A state that a `started` names.
    pub(crate) fn blob(&self, sha1: &[u8; 20]) -> Result<Option<Vec<u8>>> {
        Ok(self.log.blob(sha1)?)
    }

    /// A blob that somebody is to build upon: its name is what it hashes to.
    pub(crate) fn sound_blob(&self, name: &[u8; 20]) -> Result<Option<Vec<u8>>> {
        match self.blob(name)? {
            Some(bytes) if sha1(&bytes) != *name => Err(unfit(format!("the blob {} was altered", hex::encode(name)))),
            found => Ok(found),
        }
    }
}

/// The kind of an event that a walk has come to; none where it is of no kind.
pub(super) fn kind(event: &StoredEvent) -> Option<EventKind> {
    EventType::parse(&event.event_type).map(|event_type| event_type.kind)
}

/// What is left of the data of an event.
pub(super) fn dropped(sequence: u64, length: u64, digest: &[u8]) -> ReadResult<DroppedData> {
    let digest = match (digest.as_array(), digest.as_array()) {
        (Some(sha1), _) => DataDigest::Plain(*sha1),
        (_, Some(sha256)) => DataDigest::Salted(*sha256),
        _ => return Err(unfit(format!("what is left of the data of event {sequence} is no digest"))),
    };
    Ok(DroppedData { length, digest })
}

pub(super) fn place_of(event: &StoredEvent) -> EventPlace {
    EventPlace { sequence: event.sequence, position: event.position }
}

/// Where the event before it on its chain stands.
pub(super) fn before(event: &StoredEvent) -> ReadResult<Option<EventPlace>> {
    match (event.sequence.checked_sub(1), event.previous) {
        (None, None) => Ok(None),
        (Some(sequence), Some(position)) if position > 0 => Ok(Some(EventPlace { sequence, position })),
        _ => Err(unfit(format!("event {} does not say where the one before it stands", event.sequence))),
    }
}
