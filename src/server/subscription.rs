//! One subscription: a cursor into the journal. History and live are one, without gap or double.

use crate::base::id::{ActorId, SubscriptionId};
use crate::chain::ChainEvent;
use crate::journal::ActorKey;
use crate::system::{Subscribers, TheaterHandle, Waker};

/// Events read at a time.
const PAGE_EVENTS: u64 = 256;
const PAGE_BYTES: usize = 1024 * 1024;

pub(super) struct Cursor {
    pub(super) id: SubscriptionId,
    pub(super) actor: ActorKey,
    next: u64,
}

impl Cursor {
    /// A cursor at event `from`, or behind what is committed now; `waker` rings at each commit from before on.
    pub(super) fn open(
        theater: &TheaterHandle,
        actor: ActorKey,
        from: Option<u64>,
        waker: Waker,
    ) -> Result<Self, String> {
        let id = SubscriptionId::random();
        theater.subscribers.add(actor.id, id, waker);
        let next = match from {
            Some(from) => Ok(from),
            None => committed(theater, actor),
        };
        match next {
            Ok(next) => Ok(Self { id, actor, next }),
            Err(error) => {
                theater.subscribers.remove(actor.id, id);
                Err(error)
            }
        }
    }

    /// The events that have come since, in order; empty where there are none yet.
    pub(super) fn advance(&mut self, theater: &TheaterHandle) -> Result<Vec<ChainEvent>, String> {
        let reader = theater.journal.reader().map_err(|error| error.to_string())?;
        let events =
            reader.events(self.actor, self.next, PAGE_EVENTS, PAGE_BYTES).map_err(|error| error.to_string())?;
        if let Some(last) = events.last() {
            self.next = last.sequence + 1;
        }
        Ok(events)
    }

    pub(super) fn close(&self, subscribers: &Subscribers) {
        subscribers.remove(self.actor.id, self.id);
    }

    pub(super) fn is(&self, actor: ActorId, id: &str) -> bool {
        self.actor.id == actor && self.id.to_string() == id
    }
}

/// The sequence behind the last committed event.
fn committed(theater: &TheaterHandle, actor: ActorKey) -> Result<u64, String> {
    let reader = theater.journal.reader().map_err(|error| error.to_string())?;
    let head = reader.head(actor).map_err(|error| error.to_string())?;
    Ok(head.map_or(0, |head| head.sequence + 1))
}
