//! Actor listings: what a handle shows of actors, for one actor, for all, or page by page.

use super::{ActorEntry, Inner, Registry};
use crate::base::clock;
use crate::base::id::{ActorId, Incarnation};
use crate::manifest::{RestartPolicy, Supervision};
use crate::system::address::Address;
use crate::system::status::ActorStatus;

/// What a handle shows of one actor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ActorInfo {
    /// Its identity.
    pub id: ActorId,
    /// Its name, from the manifest; not necessarily unique.
    pub name: String,
    /// The label that its parent has given it, if it has one: unique among its living siblings.
    pub label: Option<String>,
    /// The name of its root and the labels down to it, such as `ledger/alice`; none if an actor on the way has no label.
    pub path: Option<String>,
    /// Who spawned it; none for a root.
    pub parent: Option<ActorId>,
    /// What it is doing.
    pub status: ActorStatus,
    /// Whether it sleeps: it has no thread, and gets one as soon as something is there for it. Its status is `running`.
    pub asleep: bool,
    /// Whether an operator has paused it: what is there for it waits until it is resumed.
    pub paused: bool,
    /// The number of the actor's newest incarnation.
    pub incarnation: Incarnation,
    /// Deliveries that wait.
    pub mailbox_depth: u64,
    /// Where its listeners are reached.
    pub addresses: Vec<Address>,
    /// The manifest it was started from.
    pub manifest_path: String,
    /// When this incarnation began, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// How many of the restarts that its policy allows are used up; none if its policy allows no restart.
    pub restarts: Option<Restarts>,
    /// Why it is not restarted, if it has failed and will not be.
    pub given_up: Option<String>,
}

/// Restarts by policy within the window in which they are counted: those of all children of one parent together, or of a
/// root with its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restarts {
    /// How many restarts there were.
    pub used: u64,
    /// How many there may be: one more is too many.
    pub allowed: u32,
    /// The window, in milliseconds.
    pub within_ms: u64,
}

impl Registry {
    /// One actor.
    pub(crate) fn info(&self, id: ActorId) -> Option<ActorInfo> {
        let inner = self.0.read();
        inner.actors.get(&id).map(|entry| inner.info(entry))
    }

    /// Every actor, in the order in which they came.
    pub(crate) fn list(&self) -> Vec<ActorInfo> {
        let inner = self.0.read();
        inner.order.values().filter_map(|id| inner.actors.get(id)).map(|entry| inner.info(entry)).collect()
    }

    /// At most `most` actors from the number `from` on, in the order in which they came, each with its number. An actor
    /// keeps its number when other actors are removed from the list.
    pub(crate) fn page(&self, from: u64, most: usize) -> Vec<(u64, ActorInfo)> {
        let inner = self.0.read();
        let entries = inner.order.range(from..).filter_map(|(number, id)| Some((*number, inner.actors.get(id)?)));
        entries.take(most).map(|(number, entry)| (number, inner.info(entry))).collect()
    }
}

impl Inner {
    pub(super) fn info(&self, entry: &ActorEntry) -> ActorInfo {
        ActorInfo {
            id: entry.actor.id,
            name: entry.name.clone(),
            label: entry.label.as_ref().map(ToString::to_string),
            path: self.path(entry.actor.id),
            parent: entry.parent,
            status: entry.status.clone(),
            asleep: entry.mailbox.is_asleep(),
            paused: entry.mailbox.is_paused(),
            incarnation: entry.incarnation,
            mailbox_depth: entry.mailbox.depth(),
            addresses: entry.addresses.to_vec(),
            manifest_path: entry.manifest_path.clone(),
            since_ms: entry.since_ms,
            restarts: self.restarts(entry),
            given_up: entry.given_up.clone(),
        }
    }

    fn restarts(&self, entry: &ActorEntry) -> Option<Restarts> {
        let supervisor = entry.parent.map_or(Some(entry), |parent| self.actors.get(&parent).map(Box::as_ref))?;
        if entry.supervision.restart == RestartPolicy::Temporary {
            return None;
        }
        let Supervision { max_restarts: allowed, within, .. } = supervisor.supervision;
        let (now, within_ms) = (clock::unix_ms(), u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        let recent = supervisor.restarts.iter().filter(|at| now.saturating_sub(**at) <= within_ms);
        Some(Restarts { used: recent.count() as u64, allowed, within_ms })
    }
}
