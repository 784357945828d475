//! Following events through a handle: history and what comes, without a gap and without an event twice.

use std::collections::VecDeque;
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::ReadError;
use super::cursor::{Kinds, Members};
use crate::base::id::ActorId;
use crate::base::{clock, wait};
use crate::chain::{ChainEvent, EventKind};
use crate::journal::{ActorKey, Placed, StretchBounds};
use crate::system::{Following, ListenerId, TheaterHandle};

/// Events read at a time, and bytes of their data.
const PAGE_EVENTS: u64 = 256;
const PAGE_BYTES: usize = 256 * 1024;
/// Events of the whole journal looked at at a time.
const STRETCH: StretchBounds = StretchBounds { looked_at: 1_024, bytes: PAGE_BYTES };

/// Whose events a stream gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventsOf {
    /// The events of one actor. A place in the stream is a sequence of that actor's chain.
    Actor(ActorId),
    /// The events of one actor, and of all actors that are below it now or later. A place in the stream is a position
    /// in the journal.
    Tree(ActorId),
    /// The events of every actor. A place in the stream is a position in the journal.
    Everybody,
}

/// An event that a stream gives. It is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FollowedEvent {
    /// Its place in the stream, as [`EventsOf`] counts.
    pub place: u64,
    /// Whose event it is.
    pub actor: ActorId,
    /// The event.
    pub event: ChainEvent,
}

/// Events as they come onto the disk, in the order in which they were committed.
///
/// The stream is a cursor into the journal: a reader that is slow costs no memory and loses nothing.
pub struct EventStream {
    theater: TheaterHandle,
    listener: ListenerId,
    bell: Receiver<()>,
    kinds: Kinds,
    cursor: StreamCursor,
    read: VecDeque<FollowedEvent>,
}

/// The next place that a stream reads.
enum StreamCursor {
    Actor(ActorKey, u64),
    Journal(Members, u64),
}

impl TheaterHandle {
    /// Follows events from place `from` on, or those that come from now on. `kinds` are the kinds of events wanted; an
    /// empty slice means all.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if no listed actor has this id, or if the journal cannot be read.
    pub fn subscribe(&self, whose: EventsOf, from: Option<u64>, kinds: &[EventKind]) -> Result<EventStream, ReadError> {
        let known = |id| self.key(id).ok_or(ReadError::NoSuchActor(id));
        let reader = self.journal.reader()?;
        let (cursor, following) = match whose {
            EventsOf::Actor(id) => {
                let actor = known(id)?;
                let end = || Ok::<_, ReadError>(reader.head(actor)?.map_or(0, |head| head.sequence + 1));
                (StreamCursor::Actor(actor, from.map_or_else(end, Ok)?), Following::Actor(id))
            }
            EventsOf::Tree(_) | EventsOf::Everybody => {
                let below = match whose {
                    EventsOf::Tree(id) => Some(known(id)?.id),
                    EventsOf::Actor(_) | EventsOf::Everybody => None,
                };
                let next = from.map_or_else(|| reader.end(), Ok)?;
                (StreamCursor::Journal(Members::new(below), next), Following::Everybody)
            }
        };
        let (listener, bell) = self.subscribers.listen();
        self.subscribers.follow(listener, following);
        let (theater, kinds, read) = (self.clone(), Kinds::of(kinds), VecDeque::new());
        Ok(EventStream { theater, listener, bell, kinds, cursor, read })
    }
}

impl EventStream {
    /// The next event; waits for it at most `within`. None if there was no event in that time. A
    /// stream of a theater that has ended gives what is on disk, and then None each time.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the journal cannot be read; the next call tries again.
    pub fn next_within(&mut self, within: Duration) -> Result<Option<FollowedEvent>, ReadError> {
        let until = clock::after(within);
        loop {
            if let Some(event) = self.read.pop_front() {
                return Ok(Some(event));
            }
            if self.read_on()? {
                continue;
            }
            let left = until.saturating_duration_since(clock::now());
            // The bell rings at a commit after the stream was made. The page above has every event that was committed
            // before it was read, so no event is missed in between.
            if left.is_zero() || wait::receive_within(&self.bell, left).is_err() {
                return Ok(None);
            }
        }
    }

    /// The place at which the stream goes on; a new subscription from there gives what this one has not given yet.
    pub fn place(&self) -> u64 {
        let next = match &self.cursor {
            StreamCursor::Actor(_, next) | StreamCursor::Journal(_, next) => *next,
        };
        self.read.front().map_or(next, |event| event.place)
    }

    /// Reads the next page; whether the cursor moved.
    fn read_on(&mut self) -> Result<bool, ReadError> {
        let Self { theater, kinds, cursor, read, .. } = self;
        let reader = theater.journal.reader()?;
        match cursor {
            StreamCursor::Actor(actor, next) => {
                let events = reader.events(*actor, *next, PAGE_EVENTS, PAGE_BYTES)?;
                let Some(last) = events.last() else { return Ok(false) };
                *next = last.sequence + 1;
                let wanted = events.into_iter().filter(|event| kinds.has(&event.event_type));
                read.extend(wanted.map(|event| FollowedEvent { place: event.sequence, actor: actor.id, event }));
                Ok(true)
            }
            StreamCursor::Journal(members, next) => {
                let wanted =
                    |actor: ActorKey, event_type: &str| Ok(kinds.has(event_type) && members.has(actor.id, &reader)?);
                let stretch = reader.stretch(*next, &STRETCH, wanted)?;
                *next = stretch.next;
                let events = stretch.events.into_iter();
                read.extend(events.map(|Placed { position: place, actor, event }| FollowedEvent {
                    place,
                    actor,
                    event,
                }));
                Ok(stretch.advanced)
            }
        }
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.theater.subscribers.leave(self.listener);
    }
}
