//! The answer to a delivery: the outcome, and the event that records it.

use super::failure::ActorFailure;
use crate::chain::Link;

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The export's result, as one CBOR item.
    Returned(Vec<u8>),
    /// The export's own error.
    Refused(String),
    /// The actor failed while it worked on the delivery.
    Failed(ActorFailure),
    /// The actor was stopped while it worked on the delivery.
    Stopped,
    /// The actor ended before it took the delivery.
    Dropped(String),
}

/// An outcome, and the event that closed the transition, if there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) closing: Option<Link>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The receiver has ended without an answer.
    Gone,
    /// The receiver did not take the delivery in time, and now never will.
    NotDelivered,
    /// The receiver had taken the delivery, and did not finish it in time.
    OutcomeUnknown,
}
