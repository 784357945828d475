//! The result of a host call that a crash cut off: what recovery has found of it, for the actor that goes on with it.

use super::answer::Answer;
use super::error::LifecycleError;
use super::reply::AwaitedReply;
use super::requests::Spawned;
use crate::base::id::ActorId;
use crate::base::one_shot::OneReceiver;
use crate::chain::Link;

/// What recovery found of a host call that an earlier process left open.
#[derive(Debug)]
pub(crate) enum Awaited {
    /// A request that was answered.
    Answer { to: ActorId, answer: Answer },
    /// A request whose answer will come.
    Reply { to: ActorId, reply: AwaitedReply },
    /// A spawn whose child has come up or has failed.
    Spawned(Result<Spawned, LifecycleError>),
    /// A spawn or a restart whose child is not up yet.
    Child(OneReceiver<Result<Spawned, LifecycleError>>),
    /// A stop or a restart that is done, and the event that says so. For a restart, it is the event with which the
    /// child was up.
    Done(Link),
    /// The host call has failed, or its outcome cannot be known; the text is for the guest.
    Unknown(String),
}
