//! Who waits for whom (the wait-for graph), and the circles that a wait would close (deadlock).
//!
//! An actor waits for at most one other, so a circle is found by following the edges from where the new one would lead.
//! [`Waits`] is a plain value that the registry keeps under its lock; a [`Wait`] is one edge, held by whoever waits. It
//! goes when the wait is dropped, and that must not be before the event that settles it was enqueued: else another actor
//! could begin a wait in the other direction, and a prefix of the journal would hold both.

use std::collections::HashMap;
use std::sync::Arc;

use super::registry::Registry;
use crate::base::id::ActorId;

#[derive(Debug, Default)]
pub(crate) struct Waits {
    edges: HashMap<ActorId, (ActorId, WaitId)>,
    begun: u64,
}

/// Names one wait. An answer that comes late ends the wait that it answers, never the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitId {
    waiter: ActorId,
    number: u64,
}

/// An actor waits, until this is dropped.
#[derive(Debug)]
#[must_use = "a wait ends when it is dropped"]
pub(crate) struct Wait {
    id: WaitId,
    registry: Option<Arc<Registry>>,
}

impl Wait {
    pub(super) fn new(registry: &Arc<Registry>, id: WaitId) -> Self {
        Self { id, registry: Some(Arc::clone(registry)) }
    }

    /// For whoever answers: it ends the wait before it does.
    pub(crate) fn id(&self) -> WaitId {
        self.id
    }

    /// Whoever answered has ended it already.
    pub(crate) fn end_by_answer(mut self) {
        self.registry = None;
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.take() {
            registry.end_wait(self.id);
        }
    }
}

impl Waits {
    /// Notes that `from` waits for `to`; or the circle that this would close, beginning and ending with `from`.
    pub(crate) fn begin(&mut self, from: ActorId, to: ActorId) -> Result<WaitId, Vec<ActorId>> {
        match self.circle(from, to) {
            Some(circle) => Err(circle),
            None => Ok(self.begin_anyway(from, to)),
        }
    }

    /// Notes that `from` waits for `to`, whatever `to` waits for. That is for an end or a restart of `to`: the order to
    /// end cuts off what `to` waits for now, and what it waits for from now on is refused where it leads back.
    pub(crate) fn begin_anyway(&mut self, from: ActorId, to: ActorId) -> WaitId {
        self.begun += 1;
        let id = WaitId { waiter: from, number: self.begun };
        // Its one thread waits for one thing at a time: if there was an earlier wait, it is over.
        self.edges.insert(from, (to, id));
        id
    }

    /// The circle that a wait of `from` for `to` would close.
    fn circle(&self, from: ActorId, to: ActorId) -> Option<Vec<ActorId>> {
        let mut circle = vec![from, to];
        let mut at = to;
        while at != from {
            at = self.edges.get(&at)?.0;
            circle.push(at);
            // A circle without `from`: an order is about to cut it.
            if circle.len() > self.edges.len() + 2 {
                return None;
            }
        }
        Some(circle)
    }

    /// The wait is over, if its waiter has not begun another since.
    pub(crate) fn end(&mut self, wait: WaitId) {
        if self.edges.get(&wait.waiter).is_some_and(|(_, current)| *current == wait) {
            self.edges.remove(&wait.waiter);
        }
    }

    /// Whether nobody waits.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.edges.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_of_any_length_is_found_and_spelled_out() {
        let ids: Vec<ActorId> = (0..5).map(|_| ActorId::random()).collect();
        let mut waits = Waits::default();
        let begun: Vec<WaitId> = ids.windows(2).map(|pair| waits.begin(pair[0], pair[1]).expect("no circle")).collect();
        let circle: Vec<ActorId> = [&ids[4..], &ids[..]].concat();
        assert_eq!(waits.begin(ids[4], ids[0]), Err(circle));
        assert_eq!(waits.begin(ids[4], ids[4]), Err(vec![ids[4], ids[4]]));
        waits.end(begun[2]);
        assert!(waits.begin(ids[4], ids[0]).is_ok());
    }

    #[test]
    fn a_late_answer_does_not_take_back_the_next_wait() {
        let (a, b) = (ActorId::random(), ActorId::random());
        let mut waits = Waits::default();
        let first = waits.begin(a, b).expect("no circle");
        waits.end(first);
        waits.begin(a, b).expect("no circle");
        waits.end(first);
        assert!(waits.begin(b, a).is_err());
    }

    #[test]
    fn a_wait_for_a_restart_begins_whatever_the_child_waits_for_and_what_leads_back_from_then_on_is_refused() {
        let (parent, child, other) = (ActorId::random(), ActorId::random(), ActorId::random());
        let mut waits = Waits::default();
        let asked = waits.begin(child, parent).expect("no circle");
        let restart = waits.begin_anyway(parent, child);
        assert!(waits.begin(other, child).is_ok(), "a circle that others are in is none of its own");
        waits.end(asked);
        assert_eq!(waits.begin(child, parent), Err(vec![child, parent, child]));
        waits.end(restart);
        assert!(waits.begin(child, parent).is_ok());
    }

    proptest::proptest! {
        /// Against the definition: a wait is refused exactly when following the edges leads back.
        #[test]
        fn no_circle_is_missed_and_none_is_imagined(
            steps in proptest::collection::vec((0usize..6, 0usize..6, proptest::bool::ANY), 0..200)
        ) {
            let ids: Vec<ActorId> = (0..6).map(|_| ActorId::random()).collect();
            let mut waits = Waits::default();
            let mut model: [Option<(usize, WaitId)>; 6] = [None; 6];
            for (from, to, begin) in steps {
                if let Some((_, wait)) = model[from].take() {
                    waits.end(wait);
                }
                if !begin {
                    continue;
                }
                let mut seen = vec![to];
                while let Some((next, _)) = model[*seen.last().expect("not empty")] {
                    if seen.contains(&next) { break; }
                    seen.push(next);
                }
                let begun = waits.begin(ids[from], ids[to]);
                proptest::prop_assert_eq!(begun.is_err(), seen.contains(&from));
                model[from] = begun.ok().map(|wait| (to, wait));
            }
        }
    }
}
