//! Circles of waits in a journal of an earlier version of Theater, and the choice of the wait that is given up in each.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::id::ActorId;

/// A wait that a start is to put back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) on: ActorId,
    /// The place of its intent in the journal.
    pub(super) position: u64,
}

/// The waiters whose waits must be given up so that no circle is left: in each circle, the one whose wait began last.
/// Each actor waits for at most one other, so two circles have no wait in common.
pub(super) fn newest_of_each_circle(edges: &BTreeMap<ActorId, Edge>) -> Vec<ActorId> {
    let mut seen = BTreeSet::new();
    let mut given_up = Vec::new();
    for start in edges.keys() {
        let (mut path, mut at) = (Vec::new(), *start);
        while let Some(edge) = edges.get(&at) {
            if !seen.insert(at) {
                break;
            }
            path.push((at, edge.position));
            at = edge.on;
        }
        // The path led back into itself, or to a place where an earlier path has been.
        let circle = path.iter().position(|(waiter, _)| *waiter == at).map_or(&[][..], |first| &path[first..]);
        given_up.extend(circle.iter().max_by_key(|(waiter, position)| (*position, *waiter)).map(|(waiter, _)| *waiter));
    }
    given_up
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_given_up_is_the_newest_of_a_circle_and_no_circle_is_left(
            waits in proptest::collection::vec(proptest::option::of(0usize..6), 6)
        ) {
            let ids: Vec<ActorId> = (0..6).map(|_| ActorId::random()).collect();
            let mut edges: BTreeMap<ActorId, Edge> = BTreeMap::new();
            for (from, to) in waits.iter().enumerate() {
                if let Some(to) = to {
                    edges.insert(ids[from], Edge { on: ids[*to], position: from as u64 });
                }
            }
            let circle_of = |edges: &BTreeMap<ActorId, Edge>, waiter: ActorId| {
                let (mut circle, mut at) = (vec![waiter], edges.get(&waiter)?.on);
                while at != waiter {
                    if circle.len() > 6 { return None; }
                    circle.push(at);
                    at = edges.get(&at)?.on;
                }
                Some(circle)
            };
            for waiter in newest_of_each_circle(&edges) {
                let circle = circle_of(&edges, waiter).expect("only a wait in a circle is given up");
                proptest::prop_assert!(circle.iter().all(|other| edges[other].position <= edges[&waiter].position));
                edges.remove(&waiter);
            }
            proptest::prop_assert!(ids.iter().all(|id| circle_of(&edges, *id).is_none()));
        }
    }
}
