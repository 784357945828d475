//! Who watches whom: the monitors of all actors, each of which waits for one end for good. [`Watches`] is a plain value that
//! the registry keeps under its lock.
//!
//! The two sides are kept together: the watched actor's end finds its watchers, and marks each watch as due; only the
//! watcher's own thread takes a watch that is due. So a watch that was given up is gone before anything could come of it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::base::id::ActorId;
use crate::chain::Link;

/// An actor's end for good, as its chain says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordedEnd {
    /// The event by which it ended.
    pub(crate) event: Link,
    /// Why it failed; none if it was stopped.
    pub(crate) failure: Option<String>,
}

/// Why an actor cannot monitor another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoWatch {
    #[error("actor {0} is this actor itself: an actor is not told of its own end")]
    Itself(ActorId),
    #[error("no such actor: {0}")]
    Unknown(ActorId),
    #[error("actor {0} is {1}: its history has not begun")]
    NotBegun(ActorId, &'static str),
    /// With what its manifest says.
    #[error("actor {0} cannot be monitored by this actor: its manifest says reachable = {1}")]
    NotReachable(ActorId, String),
    #[error("this actor does not export {0}, so it could not be told of the end")]
    NotExported(&'static str),
    #[error("{limit} monitors are open already: the limit monitors is {limit}; demonitor one, or raise the limit")]
    TooMany { limit: u64 },
}

/// A watch whose watched actor has ended. It stays open until its call is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DueWatch {
    pub(crate) reference: u64,
    pub(crate) end: Arc<RecordedEnd>,
}

/// All watches. A watch is named by its watcher and its reference, which is the sequence of the watcher's event that began it.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    by_watcher: HashMap<ActorId, OfWatcher>,
    /// By watched actor, the watches that are not due yet.
    by_watched: HashMap<ActorId, BTreeSet<(ActorId, u64)>>,
}

#[derive(Debug, Default)]
struct OfWatcher {
    open: BTreeMap<u64, Watch>,
    /// The watches that are due, in the order in which they became so. Some may have been given up since.
    due: VecDeque<u64>,
}

#[derive(Debug)]
struct Watch {
    watched: ActorId,
    end: Option<Arc<RecordedEnd>>,
}

impl Watches {
    /// How many watches of an actor are open.
    pub(crate) fn count(&self, watcher: ActorId) -> usize {
        self.by_watcher.get(&watcher).map_or(0, |own| own.open.len())
    }

    /// Begins a watch. If the watched actor has ended already, it is due at once.
    pub(crate) fn begin(&mut self, watcher: ActorId, reference: u64, watched: ActorId, end: Option<Arc<RecordedEnd>>) {
        let own = self.by_watcher.entry(watcher).or_default();
        if end.is_some() {
            own.due.push_back(reference);
        } else {
            self.by_watched.entry(watched).or_default().insert((watcher, reference));
        }
        own.open.insert(reference, Watch { watched, end });
    }

    /// Marks each watch of an actor that has ended as due, and returns the watchers.
    pub(crate) fn ended(&mut self, watched: ActorId, end: &Arc<RecordedEnd>) -> BTreeSet<ActorId> {
        let mut watchers = BTreeSet::new();
        for (watcher, reference) in self.by_watched.remove(&watched).unwrap_or_default() {
            let Some(own) = self.by_watcher.get_mut(&watcher) else { continue };
            let Some(watch) = own.open.get_mut(&reference) else { continue };
            watch.end = Some(Arc::clone(end));
            own.due.push_back(reference);
            watchers.insert(watcher);
        }
        watchers
    }

    /// The watch of an actor that became due first, if one is due.
    pub(crate) fn first_due(&mut self, watcher: ActorId) -> Option<DueWatch> {
        let own = self.by_watcher.get_mut(&watcher)?;
        while let Some(reference) = own.due.front().copied() {
            if let Some(end) = own.open.get(&reference).and_then(|watch| watch.end.clone()) {
                return Some(DueWatch { reference, end });
            }
            own.due.pop_front();
        }
        None
    }

    pub(crate) fn is_open(&self, watcher: ActorId, reference: u64) -> bool {
        self.by_watcher.get(&watcher).is_some_and(|own| own.open.contains_key(&reference))
    }

    /// Ends a watch: it was taken, or is given up.
    pub(crate) fn end(&mut self, watcher: ActorId, reference: u64) {
        let Some(own) = self.by_watcher.get_mut(&watcher) else { return };
        let Some(watch) = own.open.remove(&reference) else { return };
        if own.open.is_empty() {
            self.by_watcher.remove(&watcher);
        }
        self.let_go(&watch, (watcher, reference));
    }

    /// The references of an actor's open watches, in the order in which they began.
    pub(crate) fn open(&self, watcher: ActorId) -> Vec<u64> {
        self.by_watcher.get(&watcher).map_or(Vec::new(), |own| own.open.keys().copied().collect())
    }

    /// Ends all watches of an actor.
    pub(crate) fn clear(&mut self, watcher: ActorId) {
        let own = self.by_watcher.remove(&watcher).unwrap_or_default();
        own.open.iter().for_each(|(reference, watch)| self.let_go(watch, (watcher, *reference)));
    }

    fn let_go(&mut self, watch: &Watch, named: (ActorId, u64)) {
        let Some(watchers) = self.by_watched.get_mut(&watch.watched) else { return };
        watchers.remove(&named);
        if watchers.is_empty() {
            self.by_watched.remove(&watch.watched);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::EventHash;

    fn end_of(actor: ActorId) -> Arc<RecordedEnd> {
        Arc::new(RecordedEnd { event: Link { actor, sequence: 9, hash: EventHash([0; 20]) }, failure: None })
    }

    fn references(watches: &mut Watches, watcher: ActorId) -> Vec<u64> {
        let mut taken = Vec::new();
        while let Some(DueWatch { reference, .. }) = watches.first_due(watcher) {
            watches.end(watcher, reference);
            taken.push(reference);
        }
        taken
    }

    #[test]
    fn an_end_makes_each_watch_of_it_due_once_and_they_are_taken_in_the_order_of_the_ends() {
        let mut watches = Watches::default();
        let [watcher, other, first, second] = std::array::from_fn(|_| ActorId::random());
        watches.begin(watcher, 3, second, None);
        watches.begin(watcher, 5, first, None);
        watches.begin(watcher, 7, first, None);
        watches.begin(other, 4, first, None);
        assert_eq!(watches.first_due(watcher), None);
        assert_eq!(watches.ended(first, &end_of(first)), [watcher, other].into());
        assert_eq!(watches.ended(second, &end_of(second)), [watcher].into());
        assert_eq!(watches.ended(first, &end_of(first)), [].into(), "a later end is another matter");
        assert_eq!(watches.first_due(watcher).map(|due| due.reference), Some(5), "it is due until it is taken");
        assert_eq!(references(&mut watches, watcher), [5, 7, 3]);
        assert_eq!(references(&mut watches, other), [4]);
        assert!(watches.by_watcher.is_empty() && watches.by_watched.is_empty(), "nothing is left: {watches:?}");
    }

    #[test]
    fn a_watch_that_is_given_up_is_not_due_whether_the_end_comes_before_or_after() {
        let mut watches = Watches::default();
        let [watcher, watched, dead] = std::array::from_fn(|_| ActorId::random());
        watches.begin(watcher, 1, watched, None);
        watches.begin(watcher, 2, watched, None);
        watches.begin(watcher, 3, dead, Some(end_of(dead)));
        assert_eq!((watches.count(watcher), watches.open(watcher)), (3, vec![1, 2, 3]));
        watches.end(watcher, 1);
        assert!(!watches.is_open(watcher, 1) && watches.is_open(watcher, 2));
        watches.ended(watched, &end_of(watched));
        watches.end(watcher, 2);
        assert_eq!(references(&mut watches, watcher), [3], "that one had ended before");
        watches.begin(watcher, 4, watched, None);
        watches.clear(watcher);
        assert_eq!(watches.ended(watched, &end_of(watched)), [].into());
        assert!(watches.by_watcher.is_empty() && watches.by_watched.is_empty(), "nothing is left: {watches:?}");
    }
}
