//! One subscription: a cursor into the journal. It reads the events of the past and those that are committed later in
//! the same way, so that none is missing and none comes twice.
//!
//! A subscription to one actor counts in the sequence of that actor. A subscription to several actors counts in
//! positions of the journal, so that the events of several actors come in the order in which they were committed.

use std::rc::Rc;

use super::protocol::{EventView, PushedEvent, Response};
use crate::base::id::{ActorId, SubscriptionId};
use crate::chain::ChainEvent;
use crate::journal::{ActorKey, JournalReader, Placed, ReadResult, StretchBounds};
use crate::system::Following;
pub(super) use crate::theater::Kinds;
use crate::theater::Members;

/// How many events, and how many bytes of their data, are read at a time.
const PAGE_EVENTS: u64 = 256;
const PAGE_BYTES: usize = 256 * 1024;
/// How much of the whole journal is looked at at a time.
const STRETCH: StretchBounds = StretchBounds { looked_at: 1_024, bytes: PAGE_BYTES };

/// One subscription, and the place of its next event.
pub(super) struct Cursor {
    pub(super) id: SubscriptionId,
    kinds: Kinds,
    position: CursorPosition,
}

/// The next place that a cursor reads.
enum CursorPosition {
    /// At this sequence of one actor.
    Actor(ActorKey, u64),
    /// At this position of the journal.
    Journal(Members, u64),
}

/// The events that a cursor has found.
#[derive(Default)]
pub(super) struct Page {
    pub(super) events: Vec<FoundEvent>,
    /// Whether there may be more events after these.
    pub(super) more: bool,
}

/// An event to be pushed.
pub(super) enum FoundEvent {
    /// An event of one actor. It is shared with other subscriptions to that actor.
    OfActor(ActorId, Rc<[ChainEvent]>, usize),
    OfJournal(SubscriptionId, Placed),
}

impl FoundEvent {
    pub(super) fn into_frame(self) -> Response {
        match self {
            Self::OfActor(actor, events, at) => of_actor(actor, events[at].clone()),
            Self::OfJournal(subscription, placed) => of_journal(subscription, placed),
        }
    }
}

/// The pages of events that are read in one turn. Subscriptions to one actor mostly wait for the same event. Then one
/// page is read for all of them.
pub(super) struct JournalPages<'a> {
    reader: &'a JournalReader,
    last: Option<(ActorId, u64, Rc<[ChainEvent]>)>,
}

impl<'a> JournalPages<'a> {
    pub(super) fn new(reader: &'a JournalReader) -> Self {
        Self { reader, last: None }
    }

    fn of_actor(&mut self, actor: ActorKey, from: u64) -> ReadResult<Rc<[ChainEvent]>> {
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
    /// A cursor at event `from` of one actor, or after the last event that is committed now.
    pub(super) fn on_actor(
        reader: &JournalReader,
        actor: ActorKey,
        from: Option<u64>,
        kinds: Kinds,
    ) -> ReadResult<Self> {
        let next = match from {
            Some(from) => from,
            None => reader.head(actor)?.map_or(0, |head| head.sequence + 1),
        };
        Ok(Self { id: SubscriptionId::random(), kinds, position: CursorPosition::Actor(actor, next) })
    }

    /// A cursor at position `from` of the journal, or at its end.
    pub(super) fn on_journal(
        reader: &JournalReader,
        below: Option<ActorId>,
        from: Option<u64>,
        kinds: Kinds,
    ) -> ReadResult<Self> {
        let next = from.map_or_else(|| reader.end(), Ok)?;
        let members = Members::new(below);
        Ok(Self { id: SubscriptionId::random(), kinds, position: CursorPosition::Journal(members, next) })
    }

    pub(super) fn follows(&self) -> Following {
        match &self.position {
            CursorPosition::Actor(actor, _) => Following::Actor(actor.id),
            CursorPosition::Journal(..) => Following::Everybody,
        }
    }

    /// The next place that it reads: a sequence number, or a position of the journal.
    pub(super) fn next(&self) -> u64 {
        match &self.position {
            CursorPosition::Actor(_, next) | CursorPosition::Journal(_, next) => *next,
        }
    }

    /// The events that have come since the last call, in order.
    pub(super) fn advance(&mut self, pages: &mut JournalPages<'_>) -> ReadResult<Page> {
        let Self { id, kinds, position } = self;
        let reader = pages.reader;
        match position {
            CursorPosition::Actor(actor, next) => {
                let events = pages.of_actor(*actor, *next)?;
                let Some(last) = events.last() else { return Ok(Page::default()) };
                *next = last.sequence + 1;
                let wanted = (0..events.len()).filter(|at| kinds.has(&events[*at].event_type));
                let found = wanted.map(|at| FoundEvent::OfActor(actor.id, Rc::clone(&events), at));
                Ok(Page { events: found.collect(), more: true })
            }
            CursorPosition::Journal(members, next) => {
                let wanted =
                    |actor: ActorKey, event_type: &str| Ok(kinds.has(event_type) && members.has(actor.id, reader)?);
                let stretch = reader.stretch(*next, &STRETCH, wanted)?;
                *next = stretch.next;
                let events = stretch.events.into_iter().map(|placed| FoundEvent::OfJournal(*id, placed)).collect();
                Ok(Page { events, more: stretch.advanced })
            }
        }
    }

    pub(super) fn is_of(&self, actor: ActorId) -> bool {
        matches!(&self.position, CursorPosition::Actor(own, _) if own.id == actor)
    }
}

fn of_actor(actor: ActorId, event: ChainEvent) -> Response {
    Response::ActorEvent { id: actor.to_string(), event: PushedEvent::from(event) }
}

fn of_journal(subscription: SubscriptionId, Placed { position, actor, event }: Placed) -> Response {
    let (subscription_id, id) = (subscription.to_string(), actor.to_string());
    Response::Event { subscription_id, position, id, event: EventView::from(event) }
}
