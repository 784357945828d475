//! Lifecycle changes as they are asked for: start, fork, stop, restart, upgrade and forget an actor, and shut the runtime down.
//!
//! The supervisor implements [`Control`]. Each request is answered through a one-shot channel, so that an actor that waits
//! for the answer can still be stopped.

use crossbeam_channel::Receiver;

use super::dry_run::DryRun;
use super::error::LifecycleError;
use super::requests::{ForkRequest, SpawnRequest, Spawned, UpgradeRequest};
use super::waits::WaitId;
use crate::base::id::ActorId;
use crate::base::one_shot::OneReceiver;
use crate::chain::Link;
use crate::chain::data::StoppedBy;
use crate::journal::ActorKey;

/// Lifecycle changes. None of these blocks for longer than the work takes that is done on the caller's own thread (reading
/// and compiling for a spawn); the answer comes through the channel.
pub(crate) trait Control: std::any::Any + Send + Sync {
    /// Starts a new actor. Reads the manifest and compiles the component on the calling thread.
    fn spawn(&self, request: SpawnRequest) -> OneReceiver<Result<Spawned, LifecycleError>>;

    /// Starts a new actor from a past state of another. Replays and compiles while the calling thread waits.
    fn fork(&self, request: ForkRequest) -> OneReceiver<Result<Spawned, LifecycleError>>;

    /// Ends an actor and everything below it. Answers when the actor's chain records the end.
    fn stop(&self, id: ActorId, asked: Asked) -> OneReceiver<Result<Option<Link>, LifecycleError>>;

    /// Ends an actor if it runs, and starts it again.
    fn restart(&self, id: ActorId, asked: Asked) -> OneReceiver<Result<Option<Link>, LifecycleError>>;

    /// Lets an actor go on with another manifest and component. Reads and compiles on the calling thread. Answers once the
    /// actor is up with them.
    fn upgrade(&self, request: UpgradeRequest) -> OneReceiver<Result<Spawned, LifecycleError>>;

    /// Makes the newest recorded calls of an actor again under what an upgrade would bring, at most `last` of them. Compiles and
    /// executes while the calling thread waits.
    fn dry_run(&self, request: UpgradeRequest, last: u64) -> Result<DryRun, LifecycleError>;

    /// Removes an actor that has ended, and all actors below it, from the list. Answers with these actors.
    fn forget(&self, id: ActorId) -> OneReceiver<Result<Vec<ActorKey>, LifecycleError>>;

    /// The newest state of an actor, as far as its events are on disk. If it is not stored, the transitions since the last
    /// stored one are executed again on the calling thread.
    fn newest_state(&self, actor: ActorKey) -> Result<Option<Vec<u8>>, String>;

    /// Has the supervisor say that it works.
    fn ping(&self) -> Receiver<()>;

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
