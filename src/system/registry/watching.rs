//! Monitors, as the registry keeps them: who may watch whom, which end each watch has, and when a watch is over.

use std::sync::Arc;

use super::{Registry, StatusIsSet};
use crate::base::id::ActorId;
use crate::chain::Function;
use crate::system::watches::{DueWatch, NoWatch, RecordedEnd};

impl Registry {
    /// Begins a watch of `watcher`, which records it as its event `reference` next. If `watched` has ended for good, the
    /// watch is due at once. `told` is the export that the watcher is told of the end by.
    ///
    /// The watch begins before its event is recorded, so that no end can come between the look and the watch. Only the
    /// watcher's own thread takes what is due, and it is recording the event now.
    pub(crate) fn watch(
        &self,
        (watcher, reference): (ActorId, u64),
        watched: ActorId,
        told: &'static Function,
        limit: u64,
    ) -> Result<(), NoWatch> {
        if watcher == watched {
            return Err(NoWatch::Itself(watched));
        }
        let mut inner = self.0.write();
        let own = inner.actors.get(&watcher).filter(|own| own.exports.contains(told.full));
        let mailbox = own.ok_or(NoWatch::NotExported(told.full))?.mailbox.clone();
        let entry = inner.actors.get(&watched).ok_or(NoWatch::Unknown(watched))?;
        if inner.check_reachable(watcher, watched).is_err() {
            return Err(NoWatch::NotReachable(watched, entry.reachable.to_string()));
        }
        let end = entry.ended.clone();
        if end.is_none() && !entry.has_begun {
            return Err(NoWatch::NotBegun(watched, entry.status.word()));
        }
        if inner.watches.count(watcher) as u64 >= limit {
            return Err(NoWatch::TooMany { limit });
        }
        let is_due = end.is_some();
        inner.watches.begin(watcher, reference, watched, end);
        drop(inner);
        if is_due {
            // The watcher looks when its transition is over.
            // The watcher is awake: it asks.
            let _ = mailbox.ring();
        }
        Ok(())
    }

    /// Puts back a watch that an earlier process left. No actor runs yet: each looks when it begins to serve.
    pub(crate) fn restore_watch(
        &self,
        (watcher, reference): (ActorId, u64),
        watched: ActorId,
        end: Option<RecordedEnd>,
    ) {
        self.0.write().watches.begin(watcher, reference, watched, end.map(Arc::new));
    }

    /// Notes that an actor has ended for good: its chain says so now. Wakes the actors that watched it, and ends its own
    /// watches. A later record of the same end changes nothing.
    pub(crate) fn ended_for_good(&self, id: ActorId, end: RecordedEnd, _set: StatusIsSet) {
        let mut inner = self.0.write();
        let end = Arc::new(end);
        if let Some(entry) = inner.actors.get_mut(&id) {
            entry.has_begun = false;
            entry.ended.get_or_insert_with(|| Arc::clone(&end));
        }
        inner.watches.clear(id);
        let watchers = inner.watches.ended(id, &end);
        let mailbox = |watcher: &ActorId| Some((*watcher, inner.actors.get(watcher)?.mailbox.clone()));
        let told: Vec<_> = watchers.iter().filter_map(mailbox).collect();
        drop(inner);
        told.iter().filter(|(_, mailbox)| mailbox.ring()).for_each(|(watcher, _)| self.wake(*watcher));
    }

    /// The watch of an actor that became due first, if one is due.
    pub(crate) fn first_due_watch(&self, watcher: ActorId) -> Option<DueWatch> {
        self.0.write().watches.first_due(watcher)
    }

    pub(crate) fn is_watch_open(&self, watcher: ActorId, reference: u64) -> bool {
        self.0.read().watches.is_open(watcher, reference)
    }

    /// Ends a watch, whose call is recorded, or which the watcher gives up.
    pub(crate) fn end_watch(&self, watcher: ActorId, reference: u64) {
        self.0.write().watches.end(watcher, reference);
    }

    /// The events of an actor that its open watches began with.
    pub(crate) fn open_watches(&self, watcher: ActorId) -> Vec<u64> {
        self.0.read().watches.open(watcher)
    }

    /// Ends all watches of an actor.
    pub(crate) fn clear_watches(&self, watcher: ActorId) {
        self.0.write().watches.clear(watcher);
    }
}
