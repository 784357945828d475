//! What lies in a mailbox, and what can become of it.

use super::error::ActorFailure;
use super::reply::Reply;
use crate::chain::data::Caller;
use crate::chain::{Function, Link};

/// One export to be called, and who hears of it.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) function: &'static Function,
    /// The parameters, as one CBOR item.
    pub(crate) params: Vec<u8>,
    pub(crate) caller: Caller,
    /// The event of another actor that this comes from.
    pub(crate) cause: Option<Link>,
    pub(crate) reply: Reply,
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The export's result, as one CBOR item.
    Returned(Vec<u8>),
    /// The export's own error.
    Refused(String),
    /// The actor ended while it worked on it.
    Failed(ActorFailure),
    /// The actor was stopped while it worked on it.
    Stopped,
    /// The actor ended before it came to it.
    Dropped(String),
}

/// An outcome, and the event that closed the transition where there was one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) closing: Option<Link>,
}
