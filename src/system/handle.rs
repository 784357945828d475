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
use super::error::LifecycleError;
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
use crate::journal::{ActorKey, JournalHandle};
use crate::manifest::ActorSource;

/// Lifecycle changes. None of these blocks beyond what the caller's own thread has to do (reading and compiling for a
/// spawn); the answer comes through the channel.
pub(crate) trait Control: std::any::Any + Send + Sync {
    /// Starts a new actor. Reads the manifest and compiles the component on the calling thread.
    fn spawn(&self, request: SpawnRequest) -> Receiver<Result<Spawned, LifecycleError>>;

    /// Starts a new actor from a past state of another. Replays and compiles while the calling thread waits.
    fn fork(&self, request: ForkRequest) -> Receiver<Result<Spawned, LifecycleError>>;

    /// Ends an actor and everything below it. Answers when its chain says so.
    fn stop(&self, id: ActorId, asked: Asked) -> Receiver<Result<Option<Link>, LifecycleError>>;

    /// Ends an actor if it runs, and starts it again.
    fn restart(&self, id: ActorId, asked: Asked) -> Receiver<Result<Option<Link>, LifecycleError>>;

    /// Lists an actor that has ended, and all below it, no longer. Answers with whom that concerned.
    fn forget(&self, id: ActorId) -> Receiver<Result<Vec<ActorKey>, LifecycleError>>;

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
    pub(crate) const BY_OPERATOR: Self = Self { by: StoppedBy::Operator, cause: None, wait: None };
}

/// A new actor is wanted.
pub(crate) struct SpawnRequest {
    pub(crate) manifest: ActorSource,
    pub(crate) parentage: Option<Parentage>,
}

/// A new actor is wanted that begins where another was.
pub(crate) struct ForkRequest {
    pub(crate) actor: ActorKey,
    /// The event behind which it begins.
    pub(crate) at: u64,
    pub(crate) name: String,
    /// What it is to run, if not what the other ran there.
    pub(crate) manifest: Option<ActorSource>,
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

/// Where a listener of an actor is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Address {
    /// `http` or `ws`.
    pub scheme: &'static str,
    /// The IP address and the port.
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
    Spawned(Result<Spawned, LifecycleError>),
    /// A spawn whose child is on its way.
    Child(Receiver<Result<Spawned, LifecycleError>>),
    /// A stop or a restart that is done, and the event that says so.
    Done(Link),
    /// Nobody can know what came of it; the text says so to the guest.
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

impl TheaterHandle {
    /// At most `most` actors from the place `from` on, in the order in which they came, each with its place.
    pub(crate) fn actors_from(&self, from: u64, most: usize) -> Vec<(u64, ActorInfo)> {
        self.registry.page(from, most)
    }

    /// A thread has panicked without which the runtime is of no use: it is to end, and to say so.
    pub(crate) fn thread_failed(&self, panicked: Option<ThreadPanicked>) {
        // One that was said before is enough.
        panicked.into_iter().for_each(|panicked| _ = self.failed.try_send(panicked.to_string()));
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
