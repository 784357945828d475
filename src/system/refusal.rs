//! Refusals: why an actor's mailbox does not accept a delivery.

use crate::base::id::ActorId;
use crate::journal::DiskLow;

/// Why a delivery was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no such actor: {0}")]
    Unknown(ActorId),
    #[error("actor {0} is {1}")]
    NotRunning(ActorId, &'static str),
    #[error("actor {0} does not export {1}")]
    NotExported(ActorId, &'static str),
    /// With what its manifest says.
    #[error("actor {0} does not take messages from this actor: its manifest says reachable = {1}")]
    NotReachable(ActorId, String),
    #[error("mailbox full")]
    Full,
    #[error("{size} bytes can never fit: the receiver's limit mailbox_bytes is {limit}")]
    NeverFits { size: u64, limit: u64 },
    #[error("the actor is ending")]
    Closed,
    /// It is to be roused first. Nobody outside the registry sees this.
    #[error("the actor is asleep")]
    Asleep,
    #[error("message of {size} bytes: the limit message_bytes is {limit}")]
    TooLarge { size: usize, limit: u64 },
    #[error("would deadlock: {0}")]
    Deadlock(String),
    /// Actors are told this later than who is outside.
    #[error(transparent)]
    DiskLow(#[from] DiskLow),
    /// The runtime is being suspended. The transition that asks must not record this: it goes on after the next start.
    #[error("the runtime is shutting down")]
    Suspending,
}

impl Refusal {
    /// Whether the actor takes nothing until somebody starts it again: it has ended, or is not known.
    pub(crate) fn is_for_good(&self) -> bool {
        match self {
            Self::Unknown(_) => true,
            // The words of `ActorStatus` for an actor without a thread.
            Self::NotRunning(_, status) => ["stopped", "failed"].contains(status),
            Self::NotExported(..)
            | Self::NotReachable(..)
            | Self::Full
            | Self::NeverFits { .. }
            | Self::Closed
            | Self::Asleep
            | Self::TooLarge { .. }
            | Self::Deadlock(_)
            | Self::DiskLow(_)
            | Self::Suspending => false,
        }
    }
}
