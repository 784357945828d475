//! One subscription: a cursor into the journal. History and live are one, without gap or double.
//!
//! One that follows an actor counts in that actor's sequence; one that follows more counts in the journal's own order,
//! so that what it is shown of several actors stands in the order in which it was committed.

use std::rc::Rc;

use super::protocol::{EventView, PushedEvent, Response};
use crate::base::id::{ActorId, SubscriptionId};
use crate::chain::ChainEvent;
use crate::journal::{ActorKey, JournalReader, Placed, StretchBounds};
use crate::system::Following;
pub(super) use crate::theater::Kinds;
use crate::theater::Members;

/// Events read at a time.
const PAGE_EVENTS: u64 = 256;
const PAGE_BYTES: usize = 256 * 1024;
/// Events of the whole journal looked at at a time.
const STRETCH: StretchBounds = StretchBounds { looked_at: 1_024, bytes: PAGE_BYTES };

pub(super) struct Cursor {
    pub(super) id: SubscriptionId,
    kinds: Kinds,
    place: Place,
}

/// Where it stands.
enum Place {
    /// At this sequence of one actor.
    Actor(ActorKey, u64),
    /// At this position of the journal.
    Journal(Members, u64),
}

/// What a cursor comes upon.
#[derive(Default)]
pub(super) struct Page {
    pub(super) events: Vec<Found>,
    /// There may be more behind it.
    pub(super) more: bool,
}

/// An event to be pushed.
pub(super) enum Found {
    /// It is shared with the other subscriptions to its actor.
    OfActor(ActorId, Rc<[ChainEvent]>, usize),
    OfJournal(SubscriptionId, Placed),
}

impl Found {
    pub(super) fn into_frame(self) -> Response {
        match self {
            Self::OfActor(actor, events, at) => of_actor(actor, events[at].clone()),
            Self::OfJournal(subscription, placed) => of_journal(subscription, placed),
        }
    }
}

/// The pages of one turn. Subscriptions to one actor mostly stand at the same event: it is read once for all of them.
pub(super) struct Pages<'a> {
    reader: &'a JournalReader,
    last: Option<(ActorId, u64, Rc<[ChainEvent]>)>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(reader: &'a JournalReader) -> Self {
        Self { reader, last: None }
    }

    fn of_actor(&mut self, actor: ActorKey, from: u64) -> rusqlite::Result<Rc<[ChainEvent]>> {
        match &self.last {
            Some((id, at, events)) if (*id, *at) == (actor.id, from) => Ok(Rc::clone(events)),
            _ => {
                let events: Rc<[ChainEvent]> = self.reader.events(actor, from, PAGE_EVENTS, PAGE_BYTES)?.into();
                self.last = Some((actor.id, from, Rc::clone(&events)));
                Ok(events)
            }
        }
    }
}

impl Cursor {
    /// A cursor at event `from` of one actor, or behind what is committed now.
    pub(super) fn on_actor(
        reader: &JournalReader,
        actor: ActorKey,
        from: Option<u64>,
        kinds: Kinds,
    ) -> rusqlite::Result<Self> {
        let next = match from {
            Some(from) => from,
            None => reader.head(actor)?.map_or(0, |head| head.sequence + 1),
        };
        Ok(Self { id: SubscriptionId::random(), kinds, place: Place::Actor(actor, next) })
    }

    /// A cursor at position `from` of the journal, or at its end.
    pub(super) fn on_journal(
        reader: &JournalReader,
        below: Option<ActorId>,
        from: Option<u64>,
        kinds: Kinds,
    ) -> rusqlite::Result<Self> {
        let next = from.map_or_else(|| reader.end(), Ok)?;
        let members = Members::new(below);
        Ok(Self { id: SubscriptionId::random(), kinds, place: Place::Journal(members, next) })
    }

    pub(super) fn follows(&self) -> Following {
        match &self.place {
            Place::Actor(actor, _) => Following::Actor(actor.id),
            Place::Journal(..) => Following::Everybody,
        }
    }

    /// Where it stands: a sequence, or a position.
    pub(super) fn next(&self) -> u64 {
        match &self.place {
            Place::Actor(_, next) | Place::Journal(_, next) => *next,
        }
    }

    /// The events that have come since, in order; none where there are none yet.
    pub(super) fn advance(&mut self, pages: &mut Pages<'_>) -> rusqlite::Result<Page> {
        let Self { id, kinds, place } = self;
        let reader = pages.reader;
        match place {
            Place::Actor(actor, next) => {
                let events = pages.of_actor(*actor, *next)?;
                let Some(last) = events.last() else { return Ok(Page::default()) };
                *next = last.sequence + 1;
                let wanted = (0..events.len()).filter(|at| kinds.has(&events[*at].event_type));
                let found = wanted.map(|at| Found::OfActor(actor.id, Rc::clone(&events), at));
                Ok(Page { events: found.collect(), more: true })
            }
            Place::Journal(members, next) => {
                let wanted =
                    |actor: ActorKey, event_type: &str| Ok(kinds.has(event_type) && members.has(actor.id, reader)?);
                let stretch = reader.stretch(*next, &STRETCH, wanted)?;
                *next = stretch.next;
                let events = stretch.events.into_iter().map(|placed| Found::OfJournal(*id, placed)).collect();
                Ok(Page { events, more: stretch.advanced })
            }
        }
    }

    pub(super) fn is_of(&self, actor: ActorId) -> bool {
        matches!(&self.place, Place::Actor(own, _) if own.id == actor)
    }
}

fn of_actor(actor: ActorId, event: ChainEvent) -> Response {
    Response::ActorEvent { id: actor.to_string(), event: PushedEvent::from(event) }
}

fn of_journal(subscription: SubscriptionId, Placed { position, actor, event }: Placed) -> Response {
    let (subscription_id, id) = (subscription.to_string(), actor.to_string());
    Response::Event { subscription_id, position, id, event: EventView::from(event) }
}
