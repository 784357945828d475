//! The order to end: a signal, not a message. It never queues behind work, and it wakes every wait.
//!
//! The supervisor gives it; the actor's thread meets it between deliveries, in each wait, and at each epoch tick while
//! the guest computes. Of several orders the earliest deadline holds.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::delivery::Answer;
use super::reply::AwaitedReply;
use crate::base::clock;
use crate::chain::Link;
use crate::chain::data::StoppedBy;

/// What the thread is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderKind {
    /// End: answer and name what is queued, write `stopped`.
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
    /// Nobody is left who could send.
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

/// One incarnation's signal.
#[derive(Debug)]
pub(crate) struct StopSignal {
    order: OnceLock<Order>,
    given: AtomicBool,
    /// Milliseconds after `made` at which the running transition is aborted.
    abort_after_ms: AtomicU64,
    made: Instant,
    /// For who waits for a channel.
    wake: Sender<()>,
    woken: Receiver<()>,
    /// For who parks.
    thread: OnceLock<Thread>,
}

impl Default for StopSignal {
    fn default() -> Self {
        let (wake, woken) = bounded(1);
        Self {
            order: OnceLock::new(),
            given: AtomicBool::new(false),
            abort_after_ms: AtomicU64::new(u64::MAX),
            made: clock::now(),
            wake,
            woken,
            thread: OnceLock::new(),
        }
    }
}

impl StopSignal {
    /// Gives the order; the running transition is aborted after `grace`. A second order can only hasten the first.
    pub(crate) fn give(&self, order: Order, grace: Duration) {
        let abort_after = clock::since(self.made).saturating_add(grace).as_millis();
        self.abort_after_ms.fetch_min(u64::try_from(abort_after).unwrap_or(u64::MAX), Ordering::AcqRel);
        // The first order stands; which it was is settled before anyone can see that there is one.
        let _ = self.order.set(order);
        self.given.store(true, Ordering::Release);
        let _ = self.wake.try_send(());
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// From here on an order unparks the calling thread, which is the actor's.
    pub(crate) fn is_heard_here(&self) {
        self.thread.get_or_init(thread::current);
    }

    /// The order, once there is one.
    pub(crate) fn order(&self) -> Option<&Order> {
        if self.given.load(Ordering::Acquire) { self.order.get() } else { None }
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

    /// Waits for something to come through `channel`, until `deadline`; an order shortens the wait to its grace.
    pub(crate) fn wait<T>(&self, channel: &Receiver<T>, deadline: Instant) -> Waited<T> {
        loop {
            if let Ok(item) = channel.try_recv() {
                return Waited::Came(item);
            }
            if let Some(order) = self.overdue() {
                return Waited::Overdue(order.kind);
            }
            let until = self.abort_at().map_or(deadline, |at| at.min(deadline));
            crossbeam_channel::select! {
                recv(channel) -> item => return item.map_or(Waited::Gone, Waited::Came),
                recv(self.woken) -> _ => {}
                default(clock::until(until)) => {
                    if self.overdue().is_none() && clock::now() >= deadline {
                        return Waited::Deadline;
                    }
                }
            }
        }
    }

    /// Like [`StopSignal::wait`] for an answer. On the thread that hears this signal.
    pub(crate) fn wait_for_reply(&self, reply: &AwaitedReply, deadline: Instant) -> Waited<Answer> {
        reply.is_awaited_here();
        loop {
            match reply.take() {
                Some(Ok(answer)) => return Waited::Came(answer),
                Some(Err(_)) => return Waited::Gone,
                None => {}
            }
            if let Some(order) = self.overdue() {
                return Waited::Overdue(order.kind);
            }
            let until = self.abort_at().map_or(deadline, |at| at.min(deadline));
            let left = clock::until(until);
            if left.is_zero() && clock::now() >= deadline {
                return Waited::Deadline;
            }
            thread::park_timeout(left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(kind: OrderKind) -> Order {
        Order { kind, by: StoppedBy::Operator, cause: None }
    }

    #[test]
    fn an_order_with_no_grace_is_overdue_at_once_and_wakes() {
        let signal = StopSignal::default();
        assert_eq!((signal.order(), signal.overdue()), (None, None));
        signal.give(order(OrderKind::Stop), Duration::ZERO);
        assert!(signal.woken.try_recv().is_ok());
        assert_eq!(signal.overdue().map(|order| order.kind), Some(OrderKind::Stop));
    }

    #[test]
    fn an_order_ends_a_wait_and_an_answer_in_time_is_taken_first() {
        let signal = StopSignal::default();
        let (send, receive) = bounded(1);
        let far = clock::now() + Duration::from_secs(600);
        assert_eq!(signal.wait(&receive, clock::now()), Waited::Deadline);
        signal.give(order(OrderKind::Stop), Duration::ZERO);
        assert_eq!(signal.wait(&receive, far), Waited::Overdue(OrderKind::Stop));
        send.send(7).expect("room");
        assert_eq!(signal.wait(&receive, far), Waited::Came(7));
    }

    #[test]
    fn a_second_order_hastens_the_first_but_does_not_change_it() {
        let signal = StopSignal::default();
        signal.give(order(OrderKind::Stop), Duration::from_secs(600));
        assert_eq!(signal.overdue(), None);
        signal.give(order(OrderKind::Suspend), Duration::ZERO);
        assert_eq!(signal.overdue().map(|order| order.kind), Some(OrderKind::Stop));
    }
}
