//! The registry: every live and listed actor, the tree that the actors form, who waits for whom, and who watches whom.
//!
//! One lock guards all of it. It is private to this file and its children, which hold it only to look something up or to
//! change an entry: they send nothing, join no thread, and read no file under it.

mod info;
mod names;
mod places;
mod rousing;
mod waiting;
mod watching;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;

pub use info::{ActorInfo, Restarts};
use names::ActorNames;
pub(crate) use places::Restored;
use rousing::Rousing;
pub(crate) use waiting::Wait;

use super::address::Address;
use super::label::Label;
use super::mailbox::Mailbox;
use super::on_disk::StartedFrom;
use super::status::ActorStatus;
use super::waits::Waits;
use super::watches::{RecordedEnd, Watches};
use crate::base::id::{ActorId, Incarnation};
use crate::base::limits::Limits;
use crate::base::metrics::{ActorMetrics, EntryMetrics};
use crate::base::rare::Rare;
use crate::journal::ActorKey;
use crate::manifest::{Reachable, Supervision};

/// What the registry knows of one actor.
#[derive(Debug)]
pub(crate) struct ActorEntry {
    pub(crate) actor: ActorKey,
    pub(crate) common: Arc<CommonEntry>,
    pub(crate) parent: Option<ActorId>,
    /// The name that its parent has given it.
    pub(crate) label: Option<Label>,
    /// In the order in which they were spawned.
    pub(crate) children: Vec<ActorId>,
    pub(crate) incarnation: Incarnation,
    pub(crate) status: ActorStatus,
    /// Whether the actor's chain says that it is alive: that a `started` is on it, and no end for good after that one.
    /// A restart by policy does not change this.
    pub(crate) has_begun: bool,
    /// How it has ended for good, if its chain says that it has.
    pub(crate) ended: Option<Arc<RecordedEnd>>,
    /// It had ended before this start of the runtime, and has not begun since: nobody has asked for it.
    pub(crate) ended_before: bool,
    pub(crate) mailbox: Mailbox,
    /// Where the actor's listeners are reached.
    pub(crate) addresses: Rare<Vec<Address>>,
    /// When this incarnation began, in milliseconds since the Unix epoch.
    pub(crate) since_ms: u64,
    pub(crate) metrics: EntryMetrics,
    /// When the actor's children were lately restarted by policy, in milliseconds since the Unix epoch; for a root, also when
    /// the root itself was.
    pub(crate) restarts: Rare<Vec<u64>>,
    /// Why the actor is not restarted, if it has failed and will not be.
    pub(crate) given_up: Option<String>,
}

/// What the registry knows of an actor, and what actors of one manifest have in common.
#[derive(Debug)]
pub(crate) struct CommonEntry {
    pub(crate) name: String,
    /// The exports that the actor can be called by.
    pub(crate) exports: Arc<HashSet<&'static str>>,
    pub(crate) manifest_path: String,
    pub(crate) limits: Arc<Limits>,
    /// The directory that the actor may write to.
    pub(crate) writes_below: Option<PathBuf>,
    pub(crate) started_from: StartedFrom,
    pub(crate) supervision: Supervision,
    /// Whose messages it takes.
    pub(crate) reachable: Reachable,
}

impl Deref for ActorEntry {
    type Target = CommonEntry;

    fn deref(&self) -> &CommonEntry {
        &self.common
    }
}

/// Proof that the registry has the status that an event gave to an actor. So the actor's parent, which is told of that
/// event, can rely on the status.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatusIsSet(());

/// All actors of one runtime; and how one that is asleep is woken.
#[derive(Debug, Default)]
pub(crate) struct Registry(RwLock<Inner>, Rousing);

#[derive(Debug, Default)]
struct Inner {
    /// Boxed, because a hash map keeps room for more than it holds.
    actors: HashMap<ActorId, Box<ActorEntry>>,
    /// In the order in which the actors came; each keeps its number.
    order: BTreeMap<u64, ActorId>,
    /// Those of them that may write to a directory.
    writers: BTreeMap<u64, ActorId>,
    /// The number of the next actor.
    next: u64,
    names: ActorNames,
    waits: Waits,
    watches: Watches,
    suspending: bool,
}

impl Registry {
    /// Adds an actor, below its parent.
    pub(crate) fn add(&self, entry: ActorEntry) {
        let mut inner = self.0.write();
        let id = entry.actor.id;
        if let Some(parent) = entry.parent.and_then(|parent| inner.actors.get_mut(&parent)) {
            parent.children.push(id);
        }
        let number = inner.next;
        inner.next += 1;
        inner.order.insert(number, id);
        if entry.writes_below.is_some() {
            inner.writers.insert(number, id);
        }
        inner.names.add(&entry);
        inner.actors.insert(id, Box::new(entry));
    }

    /// Changes an actor's entry.
    pub(crate) fn update(&self, id: ActorId, change: impl FnOnce(&mut ActorEntry)) {
        if let Some(entry) = self.0.write().actors.get_mut(&id) {
            change(entry);
        }
    }

    /// From here on the actor has this manifest and component.
    pub(crate) fn adopt(&self, id: ActorId, common: Arc<CommonEntry>) {
        let mut inner = self.0.write();
        let Inner { actors, order, writers, .. } = &mut *inner;
        let Some(entry) = actors.get_mut(&id) else { return };
        if entry.writes_below.is_some() != common.writes_below.is_some()
            && let Some((number, _)) = order.iter().find(|(_, other)| **other == id)
        {
            if common.writes_below.is_some() {
                writers.insert(*number, id)
            } else {
                writers.remove(number)
            };
        }
        entry.common = common;
    }

    /// Sets the status of an actor; the actor's own thread calls it. The actor's parent may be told only afterwards.
    pub(crate) fn set_status(&self, id: ActorId, status: ActorStatus) -> StatusIsSet {
        self.update(id, |entry| {
            // An order to stop may have come meanwhile; the status stays `Stopping` until the actor has ended.
            let goes_on = matches!(status, ActorStatus::Running | ActorStatus::Restarting);
            if !goes_on || entry.status != ActorStatus::Stopping {
                entry.status = status;
            }
        });
        StatusIsSet(())
    }

    /// From here on, nothing from outside is accepted, and the requests of actors to each other wait for the next
    /// start.
    pub(crate) fn suspend(&self) {
        self.0.write().suspending = true;
    }

    pub(crate) fn is_suspending(&self) -> bool {
        self.0.read().suspending
    }

    pub(crate) fn entry<T>(&self, id: ActorId, look: impl FnOnce(&ActorEntry) -> T) -> Option<T> {
        self.0.read().actors.get(&id).map(|entry| look(entry))
    }

    /// What was counted of an actor's work.
    pub(crate) fn metrics(&self, id: ActorId) -> Option<Arc<ActorMetrics>> {
        self.entry(id, |entry| entry.metrics.read())
    }

    /// Where an actor's work is counted.
    pub(crate) fn counters(&self, id: ActorId) -> Option<Arc<ActorMetrics>> {
        self.0.write().actors.get_mut(&id).map(|entry| entry.metrics.counters())
    }

    /// Packs what was counted of an actor that works no more for now.
    pub(crate) fn pack_metrics(&self, id: ActorId) {
        self.update(id, |entry| entry.metrics.pack());
    }

    /// Removes an actor from the list.
    pub(crate) fn remove(&self, id: ActorId) {
        let mut inner = self.0.write();
        let Some(entry) = inner.actors.remove(&id) else { return };
        inner.order.retain(|_, other| *other != id);
        inner.writers.retain(|_, other| *other != id);
        inner.names.remove(&entry);
        inner.watches.clear(id);
        if let Some(parent) = entry.parent.and_then(|parent| inner.actors.get_mut(&parent)) {
            parent.children.retain(|child| *child != id);
        }
    }

    /// How many actors there are.
    pub(crate) fn count(&self) -> usize {
        self.0.read().actors.len()
    }

    /// The directories that actors may write to, or could write to before they ended, each with the name of one such
    /// actor.
    pub(crate) fn written(&self) -> BTreeMap<PathBuf, String> {
        let inner = self.0.read();
        let mut written = BTreeMap::new();
        for entry in inner.writers.values().filter_map(|id| inner.actors.get(id)) {
            if let Some(directory) = &entry.writes_below {
                written.entry(directory.clone()).or_insert_with(|| entry.name.clone());
            }
        }
        written
    }

    pub(crate) fn children(&self, id: ActorId) -> Vec<ActorId> {
        self.entry(id, |entry| entry.children.clone()).unwrap_or_default()
    }

    pub(crate) fn count_of_children(&self, id: ActorId) -> usize {
        self.entry(id, |entry| entry.children.len()).unwrap_or_default()
    }

    /// Whether `id` stands anywhere below `ancestor`.
    pub(crate) fn is_descendant(&self, id: ActorId, ancestor: ActorId) -> bool {
        let inner = self.0.read();
        let mut at = inner.actors.get(&id).and_then(|entry| entry.parent);
        while let Some(parent) = at {
            if parent == ancestor {
                return true;
            }
            at = inner.actors.get(&parent).and_then(|entry| entry.parent);
        }
        false
    }
}
