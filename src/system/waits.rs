//! Who waits for whom. An actor waits for at most one other, so a wait that would close a circle is found by following
//! the edges from where it would lead. A plain value: the registry keeps it under its lock.

use std::collections::HashMap;

use crate::base::id::ActorId;

#[derive(Debug, Default)]
pub(super) struct Waits {
    edges: HashMap<ActorId, (ActorId, WaitId)>,
    begun: u64,
}

/// Names one wait. An answer that comes late takes back the wait it answers, never the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitId(u64);

impl WaitId {
    /// A wait that is over.
    pub(crate) const OVER: Self = Self(0);
}

impl Waits {
    /// Notes that `from` waits for `to`; or the circle that this would close, beginning and ending with `from`.
    pub(super) fn begin(&mut self, from: ActorId, to: ActorId) -> Result<WaitId, Vec<ActorId>> {
        let mut circle = vec![from, to];
        let mut at = to;
        while at != from {
            match self.edges.get(&at) {
                Some((next, _)) => at = *next,
                None => {
                    self.begun += 1;
                    let earlier = self.edges.insert(from, (to, WaitId(self.begun)));
                    assert!(earlier.is_none(), "an actor's one thread waits for one thing at a time");
                    return Ok(WaitId(self.begun));
                }
            }
            circle.push(at);
        }
        Err(circle)
    }

    /// The wait of `from` is over, if it is still this one.
    pub(super) fn end(&mut self, from: ActorId, wait: WaitId) {
        if self.edges.get(&from).is_some_and(|(_, current)| *current == wait) {
            self.edges.remove(&from);
        }
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
        waits.end(ids[2], begun[2]);
        assert!(waits.begin(ids[4], ids[0]).is_ok());
    }

    #[test]
    fn a_late_answer_does_not_take_back_the_next_wait() {
        let (a, b) = (ActorId::random(), ActorId::random());
        let mut waits = Waits::default();
        let first = waits.begin(a, b).expect("no circle");
        waits.end(a, first);
        waits.begin(a, b).expect("no circle");
        waits.end(a, first);
        assert!(waits.begin(b, a).is_err());
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
                    waits.end(ids[from], wait);
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
