//! The stop signal: the order to end, given to an actor by the supervisor.
//!
//! It is a signal and not a message, so it does not wait for other work, and it ends every wait of the actor. The
//! actor's thread sees it between deliveries, in each wait, and at each epoch tick while the guest computes. Of several
//! orders the earliest deadline holds.
//!
//! **No wakeup is lost.** Take the actor A that waits, and the supervisor S that gives the order. The signal is made with
//! A's `Unparker`, so S knows it from the beginning. S writes down the deadline, then the order, and then unparks A. A parks only
//! after it has looked for an order. By the park protocol ([`wait`]), A therefore sees the order: either in that look, or in
//! the look after S has unparked A. A look that sees the order also sees a deadline that is not later than the one of
//! that order, because S wrote the deadline first. A second order only brings the deadline forward: S unparks A again, and A
//! looks at the deadline again.

use std::time::{Duration, Instant};

use crate::base::clock;
use crate::base::one_shot::{Look, SenderGone};
use crate::base::sync::{AtomicU64, OnceLock, Ordering};
use crate::base::wait::{self, Unparker};
use crate::chain::Link;
use crate::chain::data::StoppedBy;

/// What the thread is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderKind {
    /// End: answer the deliveries in the mailbox or name them as dropped, and record `stopped`.
    Stop,
    /// End this incarnation, keep the queue, and wait to be started again.
    Cycle,
    /// Fail: its children failed more often than it allows.
    Fail,
    /// Leave the chain as it is: the next start of the runtime goes on from there.
    Suspend,
}

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waited<T> {
    Came(T),
    /// No sender is left: nothing will come.
    Gone,
    Deadline,
    /// The actor is to end, and its grace is over.
    Overdue(OrderKind),
}

/// Who ends an actor, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) kind: OrderKind,
    pub(crate) by: StoppedBy,
    /// The event of the ancestor that asked.
    pub(crate) cause: Option<Link>,
}

/// The signal of one incarnation.
#[derive(Debug)]
pub(crate) struct StopSignal {
    order: OnceLock<Order>,
    /// Milliseconds after `made` at which the running transition is aborted.
    abort_after_ms: AtomicU64,
    made: Instant,
    /// Of an actor that may sleep: when it began to wait for work, in milliseconds after `made`, counted from 1. [`BUSY`] while it
    /// works, [`DOZE`] once it was asked to fall asleep now.
    idle: AtomicU64,
    /// Wakes the actor's thread.
    thread: Unparker,
}

const BUSY: u64 = 0;
const DOZE: u64 = u64::MAX;

impl StopSignal {
    /// A signal for the actor whose thread `thread` wakes.
    pub(crate) fn new(thread: Unparker) -> Self {
        let (abort_after_ms, idle) = (AtomicU64::new(u64::MAX), AtomicU64::new(BUSY));
        Self { order: OnceLock::new(), abort_after_ms, made: clock::now(), idle, thread }
    }

    /// A signal for the next incarnation on the same thread.
    pub(crate) fn renewed(&self) -> Self {
        Self::new(self.thread.clone())
    }

    /// Gives the order; the running transition is aborted after `grace`. The first order counts: a second one can only
    /// make the deadline earlier.
    pub(crate) fn give(&self, order: Order, grace: Duration) {
        let abort_after = clock::since(self.made).saturating_add(grace).as_millis();
        self.abort_after_ms.fetch_min(u64::try_from(abort_after).unwrap_or(u64::MAX), Ordering::AcqRel);
        // Refused if there is an order already; that one counts.
        let _ = self.order.set(order);
        self.thread.unpark();
    }

    /// Wakes the thread, to look at something that is no order.
    pub(crate) fn knock(&self) {
        self.thread.unpark();
    }

    /// The order, once there is one.
    pub(crate) fn order(&self) -> Option<&Order> {
        self.order.get()
    }

    /// When the running transition is to be aborted, once there is an order.
    pub(crate) fn abort_at(&self) -> Option<Instant> {
        match self.abort_after_ms.load(Ordering::Acquire) {
            u64::MAX => None,
            after => Some(self.made + Duration::from_millis(after)),
        }
    }

    /// The order, once its grace is over.
    pub(crate) fn overdue(&self) -> Option<&Order> {
        self.order().filter(|_| self.abort_at().is_some_and(|at| clock::now() >= at))
    }

    /// Notes that the actor waits for work since `since`, and might as well sleep.
    pub(crate) fn note_idle(&self, since: Instant) {
        let since = u64::try_from(since.saturating_duration_since(self.made).as_millis()).unwrap_or(DOZE - 2);
        // If it was asked to fall asleep, it is about to see that.
        let _ = self.idle.compare_exchange(BUSY, since + 1, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Notes that the actor works. So it does not fall asleep although it was asked to.
    pub(crate) fn note_busy(&self) {
        self.idle.store(BUSY, Ordering::SeqCst);
    }

    /// Since when the actor has waited for work, if it may sleep and was not asked to yet.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        match self.idle.load(Ordering::SeqCst) {
            BUSY | DOZE => None,
            since => Some(self.made + Duration::from_millis(since - 1)),
        }
    }

    /// Asks an actor that waits for work to fall asleep now.
    pub(crate) fn doze(&self) {
        let idle = self.idle.load(Ordering::SeqCst);
        if !matches!(idle, BUSY | DOZE)
            && self.idle.compare_exchange(idle, DOZE, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        {
            self.thread.unpark();
        }
    }

    /// Whether the actor was asked to fall asleep now.
    pub(crate) fn is_to_doze(&self) -> bool {
        self.idle.load(Ordering::SeqCst) == DOZE
    }

    /// Waits on the actor's thread for something to come, until `deadline`; an order shortens the wait to its grace.
    pub(crate) fn wait<T>(&self, awaited: &impl Look<T>, deadline: Instant) -> Waited<T> {
        loop {
            match awaited.look() {
                Some(Ok(item)) => return Waited::Came(item),
                Some(Err(SenderGone)) => return Waited::Gone,
                None => {}
            }
            if let Some(order) = self.overdue() {
                return Waited::Overdue(order.kind);
            }
            if clock::now() >= deadline {
                return Waited::Deadline;
            }
            wait::park_until(self.abort_at().map_or(deadline, |at| at.min(deadline)));
        }
    }
}
