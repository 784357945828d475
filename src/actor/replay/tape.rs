//! A tape: one stretch of a recorded chain as replay reads it, page by page, each event checked against its hash when
//! it is read; with the components and states that the events name but do not contain.

use std::sync::Arc;

use super::recording::{Recording, ReplayStretch};
use super::{ReplayError, read};
use crate::base::id::ActorId;
use crate::chain::data::{NamedState, Started};
use crate::chain::shown::shown_from;
use crate::chain::{
    ChainEvent, ComponentDigest, EventHash, FileRow, Head, Incarnations, Link, Salting, StateOnChain, check_link,
};
use crate::guest::{Cell, EventPages, Past, TableBase};
use crate::journal::{ActorKey, JournalReader};

const PAGE_EVENTS: u64 = 512;
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// One stretch of a chain that is to be replayed.
pub(super) struct Tape {
    pub(super) actor: ActorId,
    /// The state that the stretch begins with, if it does not begin at the beginning of the chain.
    pub(super) start: Option<Snapshot>,
    pub(super) pages: EventPages,
    pub(super) store: Store,
    /// The state that the actor first began with.
    pub(super) initial: NamedState,
    /// What the actor's table is where the stretch begins.
    pub(super) table: TableBase,
    /// For a fork: what the origin's chain says of the state at the forked event, if that chain is available.
    pub(super) origin: Option<StateOnChain>,
}

type Fetch<K> = Box<dyn Fn(K) -> Result<Option<Vec<u8>>, String>>;

/// The components and states that a chain names but does not contain.
pub(super) struct Store {
    pub(super) component: Fetch<ComponentDigest>,
    pub(super) blob: Fetch<[u8; 20]>,
}

/// A stored state that an event names. A replay can begin after that event.
pub(super) struct Snapshot {
    pub(super) head: Head,
    /// The events that a guest which reads its chain is shown from there, up to and including the named event.
    pub(super) past: Past,
    pub(super) state: Option<Vec<u8>>,
    /// The `started` of the incarnation that the event belongs to.
    pub(super) started: Started,
}

/// Reads events: from this sequence on, at most so many.
pub(super) type EventReading<'a> = dyn FnMut(u64, u64) -> Result<Vec<ChainEvent>, String> + Send + 'a;

impl Recording {
    pub(super) fn tape(&self, stretch: &ReplayStretch) -> Result<Tape, ReplayError> {
        let mut events = self.events()?;
        let first = events(0, 1).map_err(ReplayError::Unreadable)?.pop();
        let first: Started = match &first {
            Some(first) => read(first)?,
            None => return Err(ReplayError::Data { sequence: 0, why: "the chain has no events".into() }),
        };
        let start = stretch.start.map(|at| self.snapshot(at, &mut *events)).transpose()?;
        let origin = match (&start, &first.fork) {
            (None, Some(link)) => self.origin(link)?,
            _ => None,
        };
        let head = start.as_ref().map(|snapshot| snapshot.head);
        let begun = start.as_ref().map(|snapshot| Incarnations::within(&snapshot.started));
        let pages = pages(events, head, begun.unwrap_or_else(Incarnations::none), stretch.last);
        let table = self.table(stretch.start, first.fork.is_some())?;
        Ok(Tape { actor: self.actor(), start, pages, store: self.store()?, initial: first.state, table, origin })
    }

    /// The actor's table after event `start`, or as the chain begins: a fork begins with the rows of another actor.
    fn table(&self, start: Option<u64>, is_fork: bool) -> Result<TableBase, ReplayError> {
        if start.is_none() && !is_fork {
            return Ok(TableBase::Empty);
        }
        let after = start.unwrap_or(0);
        Ok(match self {
            Self::Journal { actor, reader } => {
                let at = reader.table_at(*actor, Some(after)).map_err(unreadable)?;
                TableBase::Past { reader: reader.clone(), at }
            }
            Self::File(file) => {
                let rows = file.lock().rows(after).map_err(unreadable)?.into_iter();
                let cell = |row: FileRow| (row.key.into(), Cell { value: row.value.into(), hash: row.hash });
                TableBase::Given(Arc::new(rows.map(cell).collect()))
            }
        })
    }

    pub(super) fn events(&self) -> Result<Box<EventReading<'static>>, ReplayError> {
        Ok(match self {
            Self::File(file) => {
                let file = Arc::clone(file);
                Box::new(move |from, limit| {
                    file.lock().events(from, limit, PAGE_BYTES).map_err(|error| error.to_string())
                })
            }
            Self::Journal { actor, reader } => {
                let (reader, actor) = (reader.clone(), *actor);
                Box::new(move |from, limit| {
                    reader.events(actor, from, limit, PAGE_BYTES).map_err(|error| error.to_string())
                })
            }
        })
    }

    fn store(&self) -> Result<Store, ReplayError> {
        Ok(match self {
            Self::File(file) => {
                let (components, blobs) = (Arc::clone(file), Arc::clone(file));
                Store {
                    component: Box::new(move |digest| {
                        components.lock().component(digest).map_err(|error| error.to_string())
                    }),
                    blob: Box::new(move |sha1| blobs.lock().blob(&sha1).map_err(|error| error.to_string())),
                }
            }
            Self::Journal { reader, .. } => {
                let (components, blobs) = (reader.clone(), reader.clone());
                Store {
                    component: Box::new(move |digest| components.component(digest).map_err(|error| error.to_string())),
                    blob: Box::new(move |sha1| blobs.blob(&sha1).map_err(|error| error.to_string())),
                }
            }
        })
    }

    /// The state after event `at`, with everything that a replay needs to begin there.
    fn snapshot(&self, at: u64, events: &mut EventReading<'_>) -> Result<Snapshot, ReplayError> {
        let (mut past, mut head) = (Past::default(), None);
        let mut from = shown_from(at + 1);
        while from <= at {
            let page = events(from, PAGE_EVENTS.min(at + 1 - from)).map_err(ReplayError::Unreadable)?;
            let Some(last) = page.last() else { break };
            from = last.sequence + 1;
            for event in page {
                check_hash(&event)?;
                head = Some(Head { sequence: event.sequence, hash: event.hash });
                past.push(event);
            }
        }
        let head = head.filter(|head| head.sequence == at);
        let lost = || ReplayError::Unreadable(format!("event {at} is not on the chain"));
        let head = head.ok_or_else(lost)?;
        let (state, begun) = match self {
            Self::File(file) => {
                let mut file = file.lock();
                let begun = &file.contents().begun;
                let begun = begun[..begun.partition_point(|begun| *begun <= at)].last().copied().ok_or_else(lost)?;
                let started = file.events(begun, 1, 0).map_err(unreadable)?.pop().ok_or_else(lost)?;
                (file.state(at).map_err(unreadable)?, started)
            }
            Self::Journal { actor, reader, .. } => {
                let started = reader.started_before(*actor, at).map_err(unreadable)?.ok_or_else(lost)?;
                (Some(reader.state_at_start(*actor, at).map_err(unreadable)?), started)
            }
        };
        let started: Started = read(&begun)?;
        let state = match state {
            Some(state) => state,
            // A file stores no state for a start, because the start itself has it.
            None => self.state_begun_with(at, &started)?,
        };
        Ok(Snapshot { head, past, state, started })
    }

    fn state_begun_with(&self, at: u64, started: &Started) -> Result<Option<Vec<u8>>, ReplayError> {
        match &started.state {
            NamedState::None => Ok(None),
            NamedState::Inline(bytes) => Ok(Some(bytes.clone())),
            NamedState::Digest { sha1, len } => {
                let bytes = (self.store()?.blob)(*sha1).map_err(ReplayError::Unreadable)?;
                bytes.map(Some).ok_or(ReplayError::NoState { sequence: at, len: *len })
            }
        }
    }

    /// What the origin's chain says of the state at the forked event. A file has only the fork's own chain, so it
    /// cannot tell.
    fn origin(&self, link: &Link) -> Result<Option<StateOnChain>, ReplayError> {
        let Self::Journal { reader, .. } = self else { return Ok(None) };
        let rows = reader.actors().map_err(unreadable)?;
        let Some(origin) = rows.into_iter().find(|row| row.actor.id == link.actor) else { return Ok(None) };
        state_at(reader, origin.actor, link).map(Some)
    }
}

/// What the chain of `actor` says of the state after the event that `link` names.
fn state_at(reader: &JournalReader, actor: ActorKey, link: &Link) -> Result<StateOnChain, ReplayError> {
    let event = reader.events(actor, link.sequence, 1, 0).map_err(unreadable)?.pop();
    let is_it = event.is_some_and(|event| event.sequence == link.sequence && event.hash == link.hash);
    if !is_it {
        let why = format!(
            "it is a fork of event {} of actor {} with hash {}, which that chain does not have",
            link.sequence, link.actor, link.hash
        );
        return Err(ReplayError::Data { sequence: 0, why });
    }
    reader.vouched_at(actor, link.sequence).map_err(unreadable)
}

/// The events after `head`, up to `last`. Each event is checked against the one before it.
fn pages(
    mut events: Box<EventReading<'static>>,
    mut head: Option<Head>,
    mut incarnations: Incarnations,
    last: Option<u64>,
) -> EventPages {
    let mut salting = Salting::default();
    // No two threads share this. The lock only satisfies the type, which must be `Sync`.
    let events = parking_lot::Mutex::new(move |from: u64, limit: u64| events(from, limit));
    Box::new(move |from| {
        let limit = last.map_or(PAGE_EVENTS, |last| PAGE_EVENTS.min((last + 1).saturating_sub(from)));
        if limit == 0 {
            return Ok(Vec::new());
        }
        let page = (events.lock())(from, limit)?;
        for event in &page {
            let checked = check_link(head.as_ref(), event).and_then(|head| salting.follow(event).map(|()| head));
            head = Some(checked.map_err(|broken| broken.to_string())?);
            incarnations.follow(event).map_err(|why| format!("event {}: {why}", event.sequence))?;
        }
        Ok(page)
    })
}

fn check_hash(event: &ChainEvent) -> Result<(), ReplayError> {
    match EventHash::of(event) == event.hash {
        true => Ok(()),
        false => Err(ReplayError::Unreadable(format!("event {} is not what was written", event.sequence))),
    }
}

fn unreadable(error: impl ToString) -> ReplayError {
    ReplayError::Unreadable(error.to_string())
}
