//! The reply to a delivery: one side is where the receiver answers, the other is where the sender waits for the answer.
//!
//! ```text
//!   claim:   waiting ── the receiver takes the delivery ──▶ taken ── the sender gives up ──▶ given up
//!               └────── the sender gives up ──────────────▶ withdrawn
//!   answer:  none ──▶ given
//!              └────▶ gone: the receiver has ended without an answer
//! ```
//!
//! The claim is one atomic value that leaves `waiting` once, by a compare-and-exchange. So a delivery is taken or
//! withdrawn, and never both. A sender that is told "not delivered" can therefore be sure that nobody works on the
//! delivery.
//!
//! The answer is a [`OneShot`], whose file says why no wakeup is lost. Claim and answer lie in one allocation.

use super::answer::{Answer, NoAnswer};
use super::async_requests::LaterReply;
use super::keyed::KeyedRequest;
use super::waits::WaitId;
use crate::base::clock;
use crate::base::one_shot::{Look, OneShot, SenderGone};
use crate::base::sync::{Arc, AtomicU8, Ordering};
use crate::base::wait;

use std::time::Duration;

/// Who gets the answer to a delivery.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Nobody: the delivery is a send or a notice.
    Nobody,
    /// An actor that waits: it is answered at once.
    Actor { wait: WaitId, to: ReplyTo },
    /// An actor that does not wait, and is told of the answer later: it gets the answer at once.
    Later { to: LaterReply },
    /// Someone outside the runtime: answered after the commit that the answer depends on. With the request, if that may be
    /// repeated.
    Outside { to: ReplyTo, key: Option<Box<KeyedRequest>> },
}

impl Reply {
    /// A reply for someone outside, and where to wait for it.
    pub(crate) fn outside() -> (Self, AwaitedReply) {
        let (to, awaited) = pair();
        (Self::Outside { to, key: None }, awaited)
    }

    /// The same for a request with an idempotency key.
    pub(super) fn keyed(request: KeyedRequest) -> (Self, AwaitedReply) {
        let (to, awaited) = pair();
        (Self::Outside { to, key: Some(Box::new(request.delivered())) }, awaited)
    }

    /// The idempotency key of the request, if it has one.
    pub(crate) fn key(&self) -> Option<&str> {
        match self {
            Self::Outside { key: Some(request), .. } => Some(request.key()),
            Self::Outside { key: None, .. } | Self::Actor { .. } | Self::Later { .. } | Self::Nobody => None,
        }
    }

    /// A reply for the actor whose wait this is, and where it waits.
    pub(crate) fn actor(wait: WaitId) -> (Self, AwaitedReply) {
        let (to, awaited) = pair();
        (Self::Actor { wait, to }, awaited)
    }

    /// The receiver takes the delivery; `false` where its sender has given up on it.
    pub(crate) fn claim(&self) -> bool {
        match self {
            Self::Nobody => true,
            Self::Actor { to, .. } | Self::Outside { to, .. } => to.claim(),
            Self::Later { to } => to.claim(),
        }
    }

    /// Whether somebody still wants the answer.
    pub(crate) fn is_awaited(&self) -> bool {
        match self {
            Self::Nobody => false,
            Self::Actor { to, .. } | Self::Outside { to, .. } => to.is_awaited(),
            Self::Later { to } => to.is_awaited(),
        }
    }
}

/// The side that answers. If it is dropped without an answer, it tells the waiting side that none will come.
#[derive(Debug)]
pub(crate) struct ReplyTo(Arc<ReplySlot>);

/// The side that waits: one thread at a time.
#[derive(Debug)]
pub(crate) struct AwaitedReply(Arc<ReplySlot>);

/// What both sides share.
#[derive(Debug)]
struct ReplySlot {
    claim: AtomicU8,
    answer: OneShot<Answer>,
}

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;
const GIVEN_UP: u8 = 3;

fn pair() -> (ReplyTo, AwaitedReply) {
    let shared = Arc::new(ReplySlot { claim: AtomicU8::new(WAITING), answer: OneShot::new() });
    (ReplyTo(Arc::clone(&shared)), AwaitedReply(shared))
}

impl ReplyTo {
    /// Gives the answer, and wakes the thread that waits for it.
    pub(crate) fn give(self, answer: Answer) {
        self.0.answer.give(answer);
    }

    pub(crate) fn claim(&self) -> bool {
        self.0.claim.compare_exchange(WAITING, TAKEN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl ReplyTo {
    /// Whether the sender still waits.
    fn is_awaited(&self) -> bool {
        matches!(self.0.claim.load(Ordering::Acquire), WAITING | TAKEN)
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        self.0.answer.close();
    }
}

impl AwaitedReply {
    /// Waits for the answer for at most `limit`; then the delivery is withdrawn.
    pub(crate) fn within(&self, limit: Duration) -> Result<Answer, NoAnswer> {
        let deadline = clock::after(limit);
        loop {
            if let Some(answer) = self.look() {
                return answer.map_err(|SenderGone| NoAnswer::Gone);
            }
            if clock::now() >= deadline {
                return Err(self.withdraw());
            }
            wait::park_until(deadline);
        }
    }

    /// Gives up on the answer.
    pub(crate) fn withdraw(&self) -> NoAnswer {
        match self.0.claim.compare_exchange(WAITING, WITHDRAWN, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => NoAnswer::NotDelivered,
            Err(_) => {
                self.0.claim.store(GIVEN_UP, Ordering::Release);
                NoAnswer::OutcomeUnknown
            }
        }
    }
}

impl Look<Answer> for AwaitedReply {
    fn look(&self) -> Option<Result<Answer, SenderGone>> {
        self.0.answer.look()
    }
}
