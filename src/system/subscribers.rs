//! Who wants to be woken when an actor has new events on disk.
//!
//! A subscription is a cursor into the journal, held by whoever reads; here is only its bell. A bell that rings before
//! the last ring was heard is the same ring, so a slow reader costs no memory.

use std::collections::HashMap;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::base::id::{ActorId, SubscriptionId};

/// Rings a reader's bell.
#[derive(Clone, Debug)]
pub(crate) struct Waker(Sender<()>);

impl Waker {
    /// A bell, and where to hear it.
    pub(crate) fn new() -> (Self, Receiver<()>) {
        let (ring, heard) = bounded(1);
        (Self(ring), heard)
    }

    pub(crate) fn wake(&self) {
        // Full: it rings already. Disconnected: nobody listens any more.
        let _ = self.0.try_send(());
    }
}

/// All bells, by the actor they are for.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(Mutex<HashMap<ActorId, Vec<(SubscriptionId, Waker)>>>);

impl Subscribers {
    pub(crate) fn add(&self, actor: ActorId, subscription: SubscriptionId, waker: Waker) {
        self.0.lock().entry(actor).or_default().push((subscription, waker));
    }

    pub(crate) fn remove(&self, actor: ActorId, subscription: SubscriptionId) {
        let mut subscribers = self.0.lock();
        if let Some(wakers) = subscribers.get_mut(&actor) {
            wakers.retain(|(other, _)| *other != subscription);
            if wakers.is_empty() {
                subscribers.remove(&actor);
            }
        }
    }

    /// Wakes whoever listens to one of `actors`. Never blocks.
    pub(crate) fn wake(&self, actors: &[ActorId]) {
        let subscribers = self.0.lock();
        if subscribers.is_empty() {
            return;
        }
        for (_, waker) in actors.iter().filter_map(|actor| subscribers.get(actor)).flatten() {
            waker.wake();
        }
    }
}
