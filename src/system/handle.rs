//! What one may ask of a running theater: the handle that the management server, the handlers and embedders hold.
//!
//! Asking for a lifecycle change goes through [`Control`], which the supervisor implements; each such request answers
//! through a channel, so that an actor that waits for it can still be stopped.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};

use super::delivery::{Answer, Delivery};
use super::mailbox::Lane;
use super::registry::{ActorInfo, Refusal, Registry};
use super::reply::{AwaitedReply, Reply};
use super::subscribers::Subscribers;
use super::vouched::Vouched;
use super::waits::WaitId;
use crate::base::id::ActorId;
use crate::base::limits::RuntimeLimits;
use crate::base::places::Places;
use crate::base::thread::ThreadPanicked;
use crate::chain::data::{Caller, StoppedBy};
use crate::chain::{Function, Link};
use crate::journal::{ActorKey, JournalHandle, Record};

/// Lifecycle changes. None of these blocks beyond what the caller's own thread has to do (reading and compiling for a
/// spawn); the answer comes through the channel.
pub(crate) trait Control: Send + Sync {
    /// Starts a new actor. Reads the manifest and compiles the component on the calling thread.
    fn spawn(&self, request: SpawnRequest) -> Receiver<Result<Spawned, String>>;

    /// Starts a new actor from a past state of another. Replays and compiles while the calling thread waits.
    fn fork(&self, request: ForkRequest) -> Receiver<Result<Spawned, String>>;

    /// Ends an actor and everything below it. Answers when its chain says so.
    fn stop(&self, id: ActorId, asked: Asked) -> Receiver<Result<Option<Link>, String>>;

    /// Ends an actor if it runs, and starts it again.
    fn restart(&self, id: ActorId, asked: Asked) -> Receiver<Result<Option<Link>, String>>;

    /// Lists an actor that has ended, and all below it, no longer. Answers with whom that concerned.
    fn forget(&self, id: ActorId) -> Receiver<Result<Vec<ActorKey>, String>>;

    /// Suspends all actors and ends the runtime.
    fn shutdown(&self);
}

/// Who asks for an end or a restart.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) by: StoppedBy,
    /// The event of the ancestor that asks.
    pub(crate) cause: Option<Link>,
    /// The ancestor's wait, which is ended before it is answered.
    pub(crate) wait: Option<WaitId>,
}

impl Asked {
    const BY_OPERATOR: Self = Self { by: StoppedBy::Operator, cause: None, wait: None };
}

/// A new actor is wanted.
pub(crate) struct SpawnRequest {
    pub(crate) manifest: PathBuf,
    pub(crate) parentage: Option<Parentage>,
}

/// A new actor is wanted that begins where another was.
pub(crate) struct ForkRequest {
    pub(crate) actor: ActorKey,
    /// The event behind which it begins.
    pub(crate) at: u64,
    pub(crate) name: String,
    /// What it is to run, if not what the other ran there.
    pub(crate) manifest: Option<PathBuf>,
}

/// A new actor's place below another.
#[derive(Clone, Debug)]
pub(crate) struct Parentage {
    pub(crate) parent: ActorId,
    /// The id the child is to have.
    pub(crate) child: ActorId,
    /// The parent's event that spawns it.
    pub(crate) cause: Link,
    /// The parent's wait for the child's `init`.
    pub(crate) wait: WaitId,
    pub(crate) confinement: Confinement,
}

/// From where an actor may spawn: the manifest and what it names must lie in or below one of these directories, and
/// nowhere where any actor may write; or the operator vouches for them.
#[derive(Clone, Debug)]
pub(crate) struct Confinement {
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) vouched: Arc<[Vouched]>,
}

/// Where a listener is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// `http` or `ws`.
    pub scheme: &'static str,
    pub socket: SocketAddr,
}

/// As a URL.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/", self.scheme, self.socket)
    }
}

/// A new actor is there.
#[derive(Clone, Debug)]
pub(crate) struct Spawned {
    pub(crate) id: ActorId,
    /// The event that closed its `init`.
    pub(crate) closing: Option<Link>,
}

/// What recovery found of a host call that an earlier process left open.
#[derive(Debug)]
pub(crate) enum Awaited {
    /// A request that was answered.
    Answer { to: ActorId, answer: Answer },
    /// A request whose answer will come.
    Reply { to: ActorId, reply: AwaitedReply },
    /// A spawn whose child has said what came of it.
    Spawned(Result<Spawned, String>),
    /// A spawn or a restart whose child is on its way up.
    Child(Receiver<Result<Spawned, String>>),
    /// A stop or a restart that is done, and the event that says so: of a restart the one with which the child was up.
    Done(Link),
    /// It has failed, or nobody can know what came of it; the text says so to the guest.
    Unknown(String),
}

/// A running theater, to be asked. Cheap to clone; it does not keep the theater running.
#[derive(Clone)]
pub struct TheaterHandle {
    pub(crate) registry: Arc<Registry>,
    pub(crate) journal: JournalHandle,
    pub(crate) subscribers: Arc<Subscribers>,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) limits: RuntimeLimits,
    /// The HTTP exchanges that all actors have under way.
    pub(crate) http_exchanges: Places,
    /// Where a thread says that it panicked without which the runtime is of no use.
    pub(crate) failed: Sender<String>,
}

/// Said where the supervisor is gone: the runtime has ended or is ending.
const ENDED: &str = "the runtime is shutting down";

impl TheaterHandle {
    /// Starts the actor of a manifest and waits for its `init`. The text of the error names what is wrong and where.
    pub fn start(&self, manifest: PathBuf) -> Result<ActorId, String> {
        let answer = self.control.spawn(SpawnRequest { manifest, parentage: None });
        let spawned = answer.recv().unwrap_or_else(|_| Err(ENDED.into()));
        self.once_on_disk(spawned.map(|spawned| spawned.id))
    }

    /// Starts a new root called `name` from the state that an actor had at its event `at`, and waits until it is up.
    /// It runs what that actor ran there, or what `manifest` says.
    pub fn fork(&self, id: ActorId, at: u64, name: &str, manifest: Option<PathBuf>) -> Result<ActorId, String> {
        let actor = self.key(id).ok_or_else(|| format!("no such actor: {id}"))?;
        let answer = self.control.fork(ForkRequest { actor, at, name: name.to_owned(), manifest });
        let spawned = answer.recv().unwrap_or_else(|_| Err(ENDED.into()));
        self.once_on_disk(spawned.map(|spawned| spawned.id))
    }

    /// Stops an actor and everything below it, and waits for the end.
    pub fn stop(&self, id: ActorId) -> Result<(), String> {
        let answer = self.control.stop(id, Asked::BY_OPERATOR);
        self.once_on_disk(answer.recv().unwrap_or_else(|_| Err(ENDED.into())).map(drop))
    }

    /// Starts an actor again, stopping it first if it runs, and waits until it is there.
    pub fn restart(&self, id: ActorId) -> Result<(), String> {
        let answer = self.control.restart(id, Asked::BY_OPERATOR);
        self.once_on_disk(answer.recv().unwrap_or_else(|_| Err(ENDED.into())).map(drop))
    }

    /// Lists an actor that has ended, and all below it, no longer, at later starts either. Their histories stay.
    pub fn forget(&self, id: ActorId) -> Result<(), String> {
        let answer = self.control.forget(id).recv().unwrap_or_else(|_| Err(ENDED.into()));
        // Those below first: whoever is listed after a crash has its parent.
        for actor in answer?.into_iter().rev() {
            // One that failed before it was up again was to be tried again by the next start.
            for record in [Record::Ended(actor), Record::Forgotten(actor)] {
                self.journal.enqueue(record).map_err(|error| error.to_string())?;
            }
        }
        self.once_on_disk(Ok(()))
    }

    /// Every live and listed actor, in the order in which they came.
    pub fn actors(&self) -> Vec<ActorInfo> {
        self.registry.list()
    }

    /// At most `most` of them from the place `from` on, each with its place.
    pub(crate) fn actors_from(&self, from: u64, most: usize) -> Vec<(u64, ActorInfo)> {
        self.registry.page(from, most)
    }

    /// One actor.
    pub fn actor(&self, id: ActorId) -> Option<ActorInfo> {
        self.registry.info(id)
    }

    /// Ends the runtime: every actor is suspended where it is, and goes on at the next start.
    pub fn shutdown(&self) {
        self.control.shutdown();
    }

    /// A thread has panicked without which the runtime is of no use: it is to end, and to say so.
    pub(crate) fn thread_failed(&self, panicked: Option<ThreadPanicked>) {
        // One that was said before is enough.
        panicked.into_iter().for_each(|panicked| _ = self.failed.try_send(panicked.to_string()));
    }

    /// What is acknowledged to the outside is on disk.
    fn once_on_disk<T>(&self, answer: Result<T, String>) -> Result<T, String> {
        self.journal.flush().map_err(|error| error.to_string())?;
        answer
    }

    pub(crate) fn key(&self, id: ActorId) -> Option<ActorKey> {
        self.registry.entry(id, |entry| entry.actor)
    }

    /// Has an export of `to` called for someone outside; the answer comes once it is on disk.
    pub(crate) fn deliver(
        &self,
        to: ActorId,
        function: &'static Function,
        params: Vec<u8>,
        caller: Caller,
    ) -> Result<AwaitedReply, Refusal> {
        let slot = self.registry.reserve(to, Lane::Mail, function, params.len())?;
        let (reply, answer) = Reply::outside();
        slot.fill(Delivery { function, params, caller, cause: None, reply });
        Ok(answer)
    }

    /// Has an export of `to` called, for something that it must hear of however full its mailbox is, and whose answer
    /// goes nowhere. Whoever notifies sees to it that there are only so many.
    pub(crate) fn notify(&self, to: ActorId, notice: Delivery) -> Result<(), Refusal> {
        let slot = self.registry.reserve(to, Lane::Notice, notice.function, notice.params.len())?;
        slot.fill(notice);
        Ok(())
    }
}
