//! What the door and the connections of one listener have in common. Flags, budgets, and what never
//! changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::base::clock;
use crate::handlers::answers::AnswerBudget;

use super::budget::Budget;
use super::limits::WireLimits;
use super::{WireRequest, WireResponse};

/// Answers requests, on the threads of the connections they came by, many at a time. It must return: a listener that
/// closes waits for it.
pub(crate) type Service = Arc<dyn Fn(WireRequest) -> WireResponse + Send + Sync>;

pub(crate) struct Shared {
    pub(crate) limits: WireLimits,
    pub(crate) service: Service,
    /// Of the bodies that are received.
    pub(crate) bodies: Arc<Budget>,
    pub(crate) answers: Arc<AnswerBudget>,
    /// What presences count from.
    pub(crate) epoch: Instant,
    closing: AtomicBool,
    place_wanted: AtomicBool,
}

impl Shared {
    pub(crate) fn new(limits: WireLimits, service: Service) -> Self {
        Self {
            bodies: Arc::new(Budget::new(limits.bodies_bytes.max(limits.body_bytes))),
            answers: AnswerBudget::new(limits.answers_bytes.max(limits.body_bytes.saturating_add(limits.head_bytes))),
            limits,
            service,
            epoch: clock::now(),
            closing: AtomicBool::new(false),
            place_wanted: AtomicBool::new(false),
        }
    }

    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// Sequentially consistent with [`Presence`](super::presence::Presence): a connection that begins to wait either
    /// sees that the listener closes, or is seen waiting and dismissed.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Someone waits for a place: the next connection that has been served should leave its own.
    pub(crate) fn want_place(&self, wanted: bool) {
        self.place_wanted.store(wanted, Ordering::Relaxed);
    }

    /// Whether the caller should leave its place. Asked for once, it is given by one.
    pub(crate) fn should_leave(&self) -> bool {
        self.place_wanted.load(Ordering::Relaxed) && self.place_wanted.swap(false, Ordering::Relaxed)
    }
}
