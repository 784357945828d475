//! What an actor is doing, as others may know it.

use std::fmt;

use crate::chain::data::FailureReason;

/// The state of an actor's life.
///
/// ```text
///   Starting ── init ok ──▶ Running ── stop ──▶ Stopping ──▶ Stopped
///      └── init failed ──────┴── fail ────────────┴────────▶ Failed
///                            Restarting stands between Failed or Stopped and Starting
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActorStatus {
    /// Its thread runs, and `init` has not returned yet.
    Starting,
    /// It takes deliveries.
    Running,
    /// It was asked to end and takes no more deliveries.
    Stopping,
    /// It ended because it was asked to.
    Stopped,
    /// It ended by a failure of its own.
    Failed {
        /// Why.
        reason: FailureReason,
        /// What exactly went wrong, for a person to read.
        detail: String,
    },
    /// It has ended and will be started again; deliveries wait until then.
    Restarting,
}

impl ActorStatus {
    /// The word for this status on the wire and on screen.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed { .. } => "failed",
            Self::Restarting => "restarting",
        }
    }

    /// Whether the actor has a thread.
    pub fn is_alive(&self) -> bool {
        match self {
            Self::Starting | Self::Running | Self::Stopping | Self::Restarting => true,
            Self::Stopped | Self::Failed { .. } => false,
        }
    }
}

impl fmt::Display for ActorStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { reason, detail } => write!(f, "failed ({reason}: {detail})"),
            other => f.write_str(other.word()),
        }
    }
}
