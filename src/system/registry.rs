//! The registry: every live and listed actor, the tree they form, and who waits for whom. One lock, no I/O under it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;

use super::delivery::{Answer, Delivery, Outcome};
use super::handle::Address;
use super::mailbox::{Lane, Mailbox, Slot};
use super::on_disk::StartedFrom;
use super::reply::Reply;
use super::status::ActorStatus;
use super::waits::{Wait, WaitId, Waits};
use crate::base::clock;
use crate::base::id::{ActorId, Incarnation};
use crate::base::limits::Limits;
use crate::base::metrics::ActorMetrics;
use crate::chain::Function;
use crate::journal::ActorKey;
use crate::manifest::{RestartPolicy, Supervision};

/// What the registry knows of one actor.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) actor: ActorKey,
    pub(crate) name: String,
    pub(crate) parent: Option<ActorId>,
    /// In the order in which they were spawned.
    pub(crate) children: Vec<ActorId>,
    pub(crate) incarnation: Incarnation,
    pub(crate) status: ActorStatus,
    /// Its chain says that it lives: it has the first event of this life. A restart within a life leaves that as it is.
    pub(crate) has_begun: bool,
    /// The exports it can be called by.
    pub(crate) exports: Arc<HashSet<&'static str>>,
    pub(crate) mailbox: Mailbox,
    /// Where its listeners listen.
    pub(crate) addresses: Vec<Address>,
    pub(crate) manifest_path: String,
    /// When this incarnation began, in milliseconds since the Unix epoch.
    pub(crate) since_ms: u64,
    pub(crate) limits: Arc<Limits>,
    /// The directory it may write to.
    pub(crate) writes_below: Option<PathBuf>,
    pub(crate) started_from: Arc<StartedFrom>,
    pub(crate) metrics: Arc<ActorMetrics>,
    pub(crate) supervision: Supervision,
    /// When its children were restarted by policy lately, in milliseconds since the Unix epoch; a root itself, too.
    pub(crate) restarts: Vec<u64>,
    /// Why it is not restarted, where it failed and is not.
    pub(crate) given_up: Option<String>,
}

/// What anyone may know of one actor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ActorInfo {
    /// Its identity.
    pub id: ActorId,
    /// Its name, from the manifest; not necessarily unique.
    pub name: String,
    /// Who spawned it; none for a root.
    pub parent: Option<ActorId>,
    /// What it is doing.
    pub status: ActorStatus,
    /// Which run this is.
    pub incarnation: Incarnation,
    /// Deliveries that wait.
    pub mailbox_depth: u64,
    /// Where its listeners listen.
    pub addresses: Vec<Address>,
    /// The manifest it was started from.
    pub manifest_path: String,
    /// When this incarnation began, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// How many restarts are used of those that it may have by its policy; none where its policy allows none.
    pub restarts: Option<Restarts>,
    /// Why it is not restarted, where it failed and is not.
    pub given_up: Option<String>,
}

/// Restarts by policy within the window in which they are counted: those of all children of one parent together, or of a
/// root with its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restarts {
    /// So many there were.
    pub used: u64,
    /// One more than these is too many.
    pub allowed: u32,
    /// The window, in milliseconds.
    pub within_ms: u64,
}

/// Why a delivery was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no such actor: {0}")]
    Unknown(ActorId),
    #[error("actor {0} is {1}")]
    NotRunning(ActorId, &'static str),
    #[error("actor {0} does not export {1}")]
    NotExported(ActorId, &'static str),
    #[error("mailbox full")]
    Full,
    #[error("{size} bytes can never fit: the receiver's limit mailbox_bytes is {limit}")]
    NeverFits { size: u64, limit: u64 },
    #[error("the actor is ending")]
    Closed,
    #[error("message of {size} bytes: the limit message_bytes is {limit}")]
    TooLarge { size: usize, limit: u64 },
    #[error("would deadlock: {0}")]
    Deadlock(String),
    /// The runtime is being suspended: the asking transition must not record this, it goes on after the next start.
    #[error("the runtime is shutting down")]
    Suspending,
}

/// The registry says what an event has made of an actor: its parent, who hears of it, can rely on that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatusIsSet(());

#[derive(Debug, Default)]
pub(crate) struct Registry(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    actors: HashMap<ActorId, Entry>,
    /// In the order in which they came, each at the place it keeps.
    order: BTreeMap<u64, ActorId>,
    /// The place of the next one.
    next: u64,
    waits: Waits,
    suspending: bool,
}

impl Registry {
    /// Adds an actor, below its parent.
    pub(crate) fn add(&self, entry: Entry) {
        let mut inner = self.0.write();
        let id = entry.actor.id;
        if let Some(parent) = entry.parent.and_then(|parent| inner.actors.get_mut(&parent)) {
            parent.children.push(id);
        }
        let place = inner.next;
        inner.next += 1;
        inner.order.insert(place, id);
        inner.actors.insert(id, entry);
    }

    /// Changes an actor's entry.
    pub(crate) fn update(&self, id: ActorId, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.0.write().actors.get_mut(&id) {
            change(entry);
        }
    }

    /// What is said of an actor from here on, by its own thread. Only then its parent may be told.
    pub(crate) fn set_status(&self, id: ActorId, status: ActorStatus) -> StatusIsSet {
        self.update(id, |entry| {
            // An order to stop may have come meanwhile; it stands until the actor has ended.
            let goes_on = matches!(status, ActorStatus::Running | ActorStatus::Restarting);
            if !goes_on || entry.status != ActorStatus::Stopping {
                entry.status = status;
            }
        });
        StatusIsSet(())
    }

    /// From here on nothing from outside is accepted, and what actors ask of each other waits for the next start.
    pub(crate) fn suspend(&self) {
        self.0.write().suspending = true;
    }

    pub(crate) fn is_suspending(&self) -> bool {
        self.0.read().suspending
    }

    pub(crate) fn entry<T>(&self, id: ActorId, look: impl FnOnce(&Entry) -> T) -> Option<T> {
        self.0.read().actors.get(&id).map(look)
    }

    /// Where an actor's work is counted.
    pub(crate) fn metrics(&self, id: ActorId) -> Option<Arc<ActorMetrics>> {
        self.entry(id, |entry| Arc::clone(&entry.metrics))
    }

    /// Lists an actor no longer.
    pub(crate) fn remove(&self, id: ActorId) {
        let mut inner = self.0.write();
        let Some(entry) = inner.actors.remove(&id) else { return };
        inner.order.retain(|_, other| *other != id);
        if let Some(parent) = entry.parent.and_then(|parent| inner.actors.get_mut(&parent)) {
            parent.children.retain(|child| *child != id);
        }
    }

    pub(crate) fn info(&self, id: ActorId) -> Option<ActorInfo> {
        let inner = self.0.read();
        inner.actors.get(&id).map(|entry| inner.info(entry))
    }

    /// Every actor, in the order in which they came.
    pub(crate) fn list(&self) -> Vec<ActorInfo> {
        let inner = self.0.read();
        inner.order.values().filter_map(|id| inner.actors.get(id)).map(|entry| inner.info(entry)).collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.read().actors.len()
    }

    /// At most `most` actors from the place `from` on, in the order in which they came, each with its place. Places stay
    /// as they are when others are listed no longer.
    pub(crate) fn page(&self, from: u64, most: usize) -> Vec<(u64, ActorInfo)> {
        let inner = self.0.read();
        let entries = inner.order.range(from..).filter_map(|(place, id)| Some((*place, inner.actors.get(id)?)));
        entries.take(most).map(|(place, entry)| (place, inner.info(entry))).collect()
    }

    /// The directories that actors may write to, or could before they ended, each with the name of one that may.
    pub(crate) fn written(&self) -> BTreeMap<PathBuf, String> {
        let inner = self.0.read();
        let mut written = BTreeMap::new();
        for entry in inner.order.values().filter_map(|id| inner.actors.get(id)) {
            if let Some(directory) = &entry.writes_below {
                written.entry(directory.clone()).or_insert_with(|| entry.name.clone());
            }
        }
        written
    }

    pub(crate) fn children(&self, id: ActorId) -> Vec<ActorId> {
        self.entry(id, |entry| entry.children.clone()).unwrap_or_default()
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

    /// Reserves a place in the mailbox of `to` for a delivery that nobody will wait for inside the runtime.
    pub(crate) fn reserve(
        &self,
        to: ActorId,
        lane: Lane,
        function: &'static Function,
        bytes: usize,
    ) -> Result<Slot, Refusal> {
        let mailbox = self.0.read().mailbox_for(to, function)?;
        reserve(mailbox, to, lane, bytes)
    }

    /// Reserves a place for a message of another actor, whose chain is going to say that it was sent.
    pub(crate) fn reserve_for_actor(
        &self,
        to: ActorId,
        function: &'static Function,
        bytes: usize,
    ) -> Result<Slot, Refusal> {
        let mailbox = self.0.read().mailbox_for_actors(to, function)?;
        reserve(mailbox, to, Lane::Mail, bytes)
    }

    /// Reserves a place for a request of `from`, which will wait: refused where that would close a circle of waits.
    pub(crate) fn begin_wait(
        self: &Arc<Self>,
        from: ActorId,
        to: ActorId,
        function: &'static Function,
        bytes: usize,
    ) -> Result<(Slot, Wait), Refusal> {
        let mut inner = self.0.write();
        let mailbox = inner.mailbox_for_actors(to, function)?;
        let begun = inner.waits.begin(from, to).map_err(|circle| Refusal::Deadlock(inner.spell(&circle)));
        drop(inner);
        // Dropped again where there is no place.
        let wait = Wait::new(self, begun?);
        Ok((reserve(mailbox, to, Lane::Mail, bytes)?, wait))
    }

    /// `from` waits for the `init` of its new child `to`, which may not be registered yet.
    pub(crate) fn begin_wait_for_init(self: &Arc<Self>, from: ActorId, to: ActorId) -> Result<Wait, Refusal> {
        let mut inner = self.0.write();
        let begun = inner.waits.begin(from, to).map_err(|circle| Refusal::Deadlock(inner.spell(&circle)));
        drop(inner);
        Ok(Wait::new(self, begun?))
    }

    /// `from` waits for an end or a restart of `to`, whatever `to` waits for: the order to end cuts that off.
    pub(crate) fn begin_wait_for_change(self: &Arc<Self>, from: ActorId, to: ActorId) -> Wait {
        let begun = self.0.write().waits.begin_anyway(from, to);
        Wait::new(self, begun)
    }

    /// A wait that was under way when an earlier process ended. That none of them is in a circle was seen to before.
    pub(crate) fn resume_wait(self: &Arc<Self>, from: ActorId, to: ActorId) -> Wait {
        self.begin_wait_for_change(from, to)
    }

    /// Puts back a delivery that was promised before the runtime was started. One that its receiver has no export for is
    /// kept aside, until the receiver ends and names it as dropped, or has the export at a later start.
    pub(crate) fn restore(&self, to: ActorId, lane: Lane, delivery: Delivery) -> Restored {
        let function = delivery.function.full;
        let living = self.entry(to, |entry| {
            entry.status.is_alive().then(|| (entry.mailbox.clone(), entry.exports.contains(function)))
        });
        match living.flatten() {
            Some((mailbox, true)) => {
                mailbox.restore(lane, delivery);
                Restored::Settled
            }
            Some((mailbox, false)) => match delivery.reply {
                Reply::Actor { wait, to: waiter } => {
                    let outcome = Outcome::Dropped(format!("does not export {function}"));
                    waiter.give_to_actor(self, wait, Answer { outcome, closing: None });
                    Restored::Settled
                }
                Reply::Nobody | Reply::Outside { .. } => {
                    mailbox.keep_aside(delivery);
                    Restored::KeptAside
                }
            },
            None => Restored::NobodyThere,
        }
    }

    /// The wait is over, if its waiter has not begun another since.
    pub(crate) fn end_wait(&self, wait: WaitId) {
        self.0.write().waits.end(wait);
    }

    /// A place for a lifecycle notice, where the parent of `child` is alive and exports `function`.
    pub(crate) fn reserve_notice(&self, child: ActorId, function: &'static Function, bytes: usize) -> Option<Slot> {
        let inner = self.0.read();
        let parent = inner.actors.get(&inner.actors.get(&child)?.parent?)?;
        if !parent.status.is_alive() || !parent.exports.contains(function.full) {
            return None;
        }
        let (parent, mailbox) = (parent.actor.id, parent.mailbox.clone());
        drop(inner);
        mailbox.reserve(parent, Lane::Notice, bytes).ok()
    }
}

impl Inner {
    /// The mailbox of `to`, where it takes deliveries for `function`.
    fn mailbox_for(&self, to: ActorId, function: &'static Function) -> Result<Mailbox, Refusal> {
        if self.suspending {
            return Err(Refusal::Suspending);
        }
        let entry = self.actors.get(&to).ok_or(Refusal::Unknown(to))?;
        match entry.status {
            // What comes while it starts waits behind `init`; what comes while it restarts waits for that.
            ActorStatus::Starting | ActorStatus::Running | ActorStatus::Restarting => {}
            ActorStatus::Stopping | ActorStatus::Stopped | ActorStatus::Failed { .. } => {
                return Err(Refusal::NotRunning(to, entry.status.word()));
            }
        }
        if !entry.exports.contains(function.full) {
            return Err(Refusal::NotExported(to, function.full));
        }
        Ok(entry.mailbox.clone())
    }

    /// The same for what another actor's chain promises it. Before the receiver's chain says that it lives, nobody can be
    /// sure that it will be there after a crash.
    fn mailbox_for_actors(&self, to: ActorId, function: &'static Function) -> Result<Mailbox, Refusal> {
        match self.actors.get(&to) {
            Some(entry) if !entry.has_begun => Err(Refusal::NotRunning(to, entry.status.word())),
            Some(_) | None => self.mailbox_for(to, function),
        }
    }

    /// The circle by names; an id beside a name that more than one of them has.
    fn spell(&self, circle: &[ActorId]) -> String {
        let name = |id: &ActorId| self.actors.get(id).map_or("(new child)", |entry| entry.name.as_str());
        let spell = |id: &ActorId| {
            let shared = circle.iter().any(|other| other != id && name(other) == name(id));
            if shared { format!("{} ({id})", name(id)) } else { name(id).to_owned() }
        };
        circle.iter().map(spell).collect::<Vec<_>>().join(" -> ")
    }

    fn info(&self, entry: &Entry) -> ActorInfo {
        ActorInfo {
            id: entry.actor.id,
            name: entry.name.clone(),
            parent: entry.parent,
            status: entry.status.clone(),
            incarnation: entry.incarnation,
            mailbox_depth: entry.mailbox.depth(),
            addresses: entry.addresses.clone(),
            manifest_path: entry.manifest_path.clone(),
            since_ms: entry.since_ms,
            restarts: self.restarts(entry),
            given_up: entry.given_up.clone(),
        }
    }

    fn restarts(&self, entry: &Entry) -> Option<Restarts> {
        let supervisor = entry.parent.map_or(Some(entry), |parent| self.actors.get(&parent))?;
        if entry.supervision.restart == RestartPolicy::Temporary {
            return None;
        }
        let Supervision { max_restarts: allowed, within, .. } = supervisor.supervision;
        let (now, within_ms) = (clock::unix_ms(), u64::try_from(within.as_millis()).unwrap_or(u64::MAX));
        let recent = supervisor.restarts.iter().filter(|at| now.saturating_sub(**at) <= within_ms);
        Some(Restarts { used: recent.count() as u64, allowed, within_ms })
    }
}

/// What became of a delivery that was put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restored {
    /// It waits in the mailbox, or was answered.
    Settled,
    /// Its receiver does not export the function.
    KeptAside,
    NobodyThere,
}

/// A place in a mailbox, taken outside the registry's lock.
fn reserve(mailbox: Mailbox, to: ActorId, lane: Lane, bytes: usize) -> Result<Slot, Refusal> {
    mailbox.reserve(to, lane, bytes).map_err(|refusal| match refusal {
        Refusal::Closed => Refusal::NotRunning(to, ActorStatus::Stopping.word()),
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::chain::{EventHash, Link};

    const LONG: Duration = Duration::from_secs(600);

    fn answer(closing: Option<Link>) -> Answer {
        Answer { outcome: Outcome::Stopped, closing }
    }

    /// `THEATER_ROUNDS` says how often.
    #[test]
    fn who_answers_a_request_and_at_once_requests_who_asked_is_never_refused() {
        let rounds = std::env::var("THEATER_ROUNDS").map_or(20_000, |text| text.parse().expect("a number"));
        let registry = Arc::new(Registry::default());
        let (a, b) = (ActorId::random(), ActorId::random());
        let closing = Link { actor: b, sequence: 1, hash: EventHash([0; 20]) };
        let ((send, requests), (done, over)) = (mpsc::channel::<Reply>(), mpsc::channel());
        let asked = Arc::clone(&registry);
        let other = std::thread::spawn(move || {
            for reply in requests {
                let Reply::Actor { wait, to } = reply else { unreachable!("an actor asks") };
                to.give_to_actor(&asked, wait, answer(Some(closing.clone())));
                drop(asked.begin_wait_for_init(b, a).expect("whoever was answered waits no more"));
                done.send(()).expect("the other one is there");
            }
        });
        for _ in 0..rounds {
            let wait = registry.begin_wait_for_init(a, b).expect("nobody else waits");
            let (reply, awaited) = Reply::actor(wait.id());
            send.send(reply).expect("the other one is there");
            awaited.within(LONG).expect("an answer");
            wait.end_by_answer();
            over.recv().expect("the other one is there");
        }
        drop(send);
        other.join().expect("it was never refused");
        assert!(registry.0.read().waits.is_empty(), "no wait is left");
    }

    /// Else a third could begin a wait that leads back, and a prefix of the journal would hold a circle.
    #[test]
    fn a_wait_that_no_event_of_the_receiver_settles_ends_when_its_waiter_lets_go_of_it() {
        let registry = Arc::new(Registry::default());
        let (a, b) = (ActorId::random(), ActorId::random());
        let wait = registry.begin_wait_for_init(a, b).expect("no circle");
        let (reply, awaited) = Reply::actor(wait.id());
        let Reply::Actor { wait: id, to } = reply else { unreachable!("an actor asks") };
        to.give_to_actor(&registry, id, answer(None));
        assert_eq!(awaited.within(LONG), Ok(answer(None)));
        assert!(registry.begin_wait_for_init(b, a).is_err(), "it waits still: its own event is not enqueued");
        drop(wait);
        assert!(registry.begin_wait_for_init(b, a).is_ok());
    }
}
