//! Who waits for whom (the wait-for graph), and the circles that a wait would close (deadlock).
//!
//! An actor waits for at most one other. So a circle is found by following the edges, from the actor that the new edge would
//! lead to. [`Waits`] is a plain value that the registry keeps under its lock.

use std::collections::HashMap;

use crate::base::id::ActorId;

/// All waits between actors.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// From each actor that waits to the one that it waits for.
    edges: HashMap<ActorId, (ActorId, WaitId)>,
    begun: u64,
}

/// Names one wait. An answer that comes late ends the wait that it answers, and never the waiter's next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitId {
    waiter: ActorId,
    number: u64,
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
    /// end cuts off the wait that `to` is in now, and a later wait of `to` is refused if it leads back.
    pub(crate) fn begin_anyway(&mut self, from: ActorId, to: ActorId) -> WaitId {
        self.begun += 1;
        let id = WaitId { waiter: from, number: self.begun };
        // The actor's one thread waits for one thing at a time: if there was an earlier wait, it is over.
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
            // These steps go round in a circle that does not contain `from`. An order to end is about to cut that
            // circle.
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
