//! The failure of an actor: the reason that its chain records, and the detail.

use crate::chain::data::FailureReason;

/// Why an incarnation of an actor ended itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
#[non_exhaustive]
pub struct ActorFailure {
    /// One of the closed set of reasons that a chain records.
    pub reason: FailureReason,
    /// What happened exactly, for a person to read.
    pub detail: String,
}

impl ActorFailure {
    pub(crate) fn new(reason: FailureReason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}
