//! The places of a listener of the runtime, shared among the actors behind it: one slow actor does not take them all.
//!
//! A request holds its place until it is answered. While a listener is crowded, which means that three quarters of its places are
//! taken by requests under way, an actor that has half of all places gets no more of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::base::id::ActorId;

/// The requests of one listener that are under way, by the actor that is asked.
#[derive(Debug, Default)]
pub(super) struct ListenerShares {
    places: AtomicUsize,
    under_way: Mutex<UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    all: usize,
    by_actor: HashMap<ActorId, usize>,
}

/// A request that is under way, until this is dropped.
pub(super) struct HeldShare<'a> {
    shares: &'a ListenerShares,
    actor: ActorId,
}

impl ListenerShares {
    /// From here on the listener has so many places.
    pub(super) fn divide(&self, places: usize) {
        self.places.store(places, Ordering::Relaxed);
    }

    /// A request to an actor begins; `None` if the actor has too many under way already.
    pub(super) fn enter(&self, actor: ActorId) -> Option<HeldShare<'_>> {
        let places = self.places.load(Ordering::Relaxed);
        let mut under_way = self.under_way.lock();
        let own = under_way.by_actor.get(&actor).copied().unwrap_or(0);
        if 4 * under_way.all >= 3 * places && 2 * own >= places {
            return None;
        }
        under_way.all += 1;
        *under_way.by_actor.entry(actor).or_default() += 1;
        Some(HeldShare { shares: self, actor })
    }
}

impl Drop for HeldShare<'_> {
    fn drop(&mut self) {
        let mut under_way = self.shares.under_way.lock();
        under_way.all -= 1;
        if let Some(own) = under_way.by_actor.get_mut(&self.actor) {
            *own -= 1;
            if *own == 0 {
                under_way.by_actor.remove(&self.actor);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_has_at_most_half_of_the_places_while_the_listener_is_crowded() {
        let shares = ListenerShares::default();
        shares.divide(8);
        let (slow, other) = (ActorId::random(), ActorId::random());
        let mut held: Vec<_> = (0..6).map(|_| shares.enter(slow).expect("there is room")).collect();
        assert!(shares.enter(slow).is_none());
        held.push(shares.enter(other).expect("the other has none"));
        held.truncate(4);
        assert!(shares.enter(slow).is_some(), "the listener is not crowded any more");
        drop(held);
        assert!(shares.under_way.lock().by_actor.is_empty());
    }
}
