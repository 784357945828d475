//! What lies in a mailbox, and how it is answered.
//!
//! ```text
//!   Claim:  waiting ── the receiver takes it ──▶ taken
//!              └───── the sender gives up ─────▶ withdrawn
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::waits::WaitId;
use crate::base::id::ActorId;
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
    Failed(String),
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

/// Who hears what became of a delivery.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A send, a notice.
    Nobody,
    /// An actor that waits: it is answered at once, after its wait was taken back.
    Actor { waiter: ActorId, wait: WaitId, to: Sender<Answer>, claim: Arc<Claim> },
    /// Someone outside the runtime: answered after the commit the answer depends on.
    Outside { to: Sender<Answer>, claim: Arc<Claim> },
}

impl Reply {
    /// A reply for someone outside, and where to wait for it.
    pub(crate) fn outside() -> (Self, Receiver<Answer>, Arc<Claim>) {
        let (to, answer) = bounded(1);
        let claim = Arc::new(Claim::default());
        (Self::Outside { to, claim: Arc::clone(&claim) }, answer, claim)
    }

    /// A reply for the waiting actor `waiter`, and where it waits.
    pub(crate) fn actor(waiter: ActorId, wait: WaitId) -> (Self, Receiver<Answer>, Arc<Claim>) {
        let (to, answer) = bounded(1);
        let claim = Arc::new(Claim::default());
        (Self::Actor { waiter, wait, to, claim: Arc::clone(&claim) }, answer, claim)
    }

    /// The receiver takes the delivery; `false` where its sender has given up on it.
    pub(crate) fn claim(&self) -> bool {
        match self {
            Self::Nobody => true,
            Self::Actor { claim, .. } | Self::Outside { claim, .. } => claim.take(),
        }
    }
}

/// Decides between a receiver that takes a delivery and a sender that stops waiting for it.
#[derive(Debug, Default)]
pub(crate) struct Claim(AtomicU8);

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

/// How a sender's giving up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withdrawn {
    /// The delivery will never be worked on.
    NotDelivered,
    /// The receiver had taken it: what comes of it is not known.
    OutcomeUnknown,
}

impl Claim {
    /// The receiver takes the delivery; `false` where its sender has given up on it.
    pub(crate) fn take(&self) -> bool {
        self.0.compare_exchange(WAITING, TAKEN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(crate) fn withdraw(&self) -> Withdrawn {
        match self.0.compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Withdrawn::NotDelivered,
            Err(_) => Withdrawn::OutcomeUnknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_taken_or_withdrawn_but_never_both() {
        let taken = Claim::default();
        assert!(taken.take());
        assert_eq!(taken.withdraw(), Withdrawn::OutcomeUnknown);
        let withdrawn = Claim::default();
        assert_eq!(withdrawn.withdraw(), Withdrawn::NotDelivered);
        assert!(!withdrawn.take());
    }
}
