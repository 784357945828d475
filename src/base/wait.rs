//! Blocking waits: the one module in which a thread of this crate blocks until another thread acts or time has passed.
//!
//! Everything else calls these functions: `tests/house.rs` refuses a channel's `recv`, `select!`, `park`, a `Condvar`'s
//! wait and `sleep` in every other file. So a simulation can replace this one module by a scheduler that decides which
//! thread runs next. Reading a clock is `base::clock`. Joining a thread, and reading a socket, a pipe or a file, are
//! not waits in this sense.
//!
//! There are three kinds of wait:
//!
//! - for a **channel**: [`receive`], [`receive_within`], [`one_of`];
//! - for a **condition** that a lock guards: [`notified`], [`notified_until`];
//! - for **several things at once**, of which none is a channel: [`park`] and [`park_until`], the park protocol below.
//!
//! # The park protocol
//!
//! Each thread has one [`Parker`], which holds at most one token. [`park`] takes the token, and blocks until there is
//! one. A thread S that has something for another thread W first puts it where W looks, and then calls
//! [`Unparker::unpark`], which leaves a token.
//!
//! The waiting thread runs a loop: look at everything that it waits for; if nothing is there, park; look again.
//!
//! **No wakeup is lost.** Take an actor's thread W that waits, and a sender S that pushes a delivery and then unparks W.
//! W parks only after it has looked and found nothing, so S pushed after that look. S unparks after it has pushed, so
//! the token is left after that look too. Only W takes tokens, and W takes one only when it parks. So the token is there
//! when W parks, or comes while W is parked. In both cases `park` returns, and W looks again. W now sees the
//! delivery, because `unpark` releases what S wrote before it, and `park` acquires that when it takes the token.
//!
//! It does no harm that the token may be left by someone else, or be old: W then looks, finds nothing, and parks again.
//! Nor does it that two tokens become one: W looks at *everything* that it waits for after each `park`. And if W takes the
//! token of S while it waits for something else (the answer of a request, say), then W has returned from that `park` after S
//! has pushed. So the look that W makes before it next parks for its mailbox sees the delivery.
//!
//! One thing remains: S must know W's [`Unparker`] by the time it has pushed. There are two ways to ensure that:
//!
//! - The `Unparker` is there before anyone can push: a mailbox and a stop signal are made with it. [`adopt`] gives the
//!   thread, once it runs, the `Parker` that was made for it.
//! - The `Unparker` lies under the same lock as the value that W waits for: the receiver of a one-shot channel leaves
//!   its `Unparker` in the critical section in which it sees that there is no answer yet.

use std::cell::RefCell;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvError, RecvTimeoutError, Select};
pub(crate) use crossbeam_utils::sync::{Parker, Unparker};
use parking_lot::{Condvar, MutexGuard};

thread_local! {
    static PARKER: RefCell<Parker> = RefCell::new(Parker::new());
}

/// Makes `parker` the calling thread's own. From here on, every holder of an [`Unparker`] of it wakes this thread. If a
/// holder unparked before, its token is already there.
pub(crate) fn adopt(parker: Parker) {
    PARKER.set(parker);
}

/// Gives up the calling thread's `Parker`, for another thread to adopt. The calling thread gets a new one.
pub(crate) fn abandon() -> Parker {
    PARKER.replace(Parker::new())
}

/// What wakes the calling thread from [`park`] and [`park_until`].
pub(crate) fn unparker() -> Unparker {
    PARKER.with_borrow(|parker| parker.unparker().clone())
}

/// Waits until the calling thread is unparked; returns at once if it was unparked since it last parked.
pub(crate) fn park() {
    PARKER.with_borrow(Parker::park);
}

/// Like [`park`], but not beyond `deadline`.
pub(crate) fn park_until(deadline: Instant) {
    PARKER.with_borrow(|parker| parker.park_deadline(deadline));
}

/// Waits for the next item of a channel; an error says that every sender is gone.
pub(crate) fn receive<T>(channel: &Receiver<T>) -> Result<T, RecvError> {
    channel.recv()
}

/// Like [`receive`], for at most `limit`.
pub(crate) fn receive_within<T>(channel: &Receiver<T>, limit: Duration) -> Result<T, RecvTimeoutError> {
    channel.recv_timeout(limit)
}

/// A channel of items of any type, which [`one_of`] can wait for.
pub(crate) trait Channel {
    #[doc(hidden)]
    fn add_to<'a>(&'a self, select: &mut Select<'a>);
}

impl<T> Channel for Receiver<T> {
    fn add_to<'a>(&'a self, select: &mut Select<'a>) {
        select.recv(self);
    }
}

/// Waits until one of several channels has an item or has lost all its senders, and says which: its place in `channels`.
/// `None` once `deadline` has passed. The caller then takes the item by `try_recv`.
pub(crate) fn one_of(channels: &[&dyn Channel], deadline: Option<Instant>) -> Option<usize> {
    let mut select = Select::new();
    channels.iter().for_each(|channel| channel.add_to(&mut select));
    match deadline {
        None => Some(select.ready()),
        Some(deadline) => select.ready_deadline(deadline).ok(),
    }
}

/// Gives up the lock, waits until `condition` is notified, and takes the lock again. It may return without a notification,
/// so the caller looks again.
pub(crate) fn notified<T: ?Sized>(condition: &Condvar, guard: &mut MutexGuard<'_, T>) {
    condition.wait(guard);
}

/// Like [`notified`], but not beyond `deadline`; `false` where that has passed.
pub(crate) fn notified_until<T: ?Sized>(condition: &Condvar, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> bool {
    !condition.wait_until(guard, deadline).timed_out()
}

/// Waits until `time` has passed.
pub(crate) fn sleep(time: Duration) {
    thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::unbounded;

    use super::*;
    use crate::base::clock;

    #[test]
    fn a_thread_that_was_unparked_before_it_parks_does_not_wait() {
        unparker().unpark();
        park();
        let begun = clock::now();
        park_until(begun + Duration::from_millis(5));
        assert!(clock::since(begun) >= Duration::from_millis(5), "one token is taken once");
    }

    #[test]
    fn a_parker_that_was_made_for_a_thread_holds_what_came_before_the_thread_ran() {
        let parker = Parker::new();
        parker.unparker().unpark();
        let thread = thread::spawn(move || {
            adopt(parker);
            park();
        });
        thread.join().expect("it was unparked");
    }

    #[test]
    fn of_several_channels_the_one_is_named_that_has_something_or_has_lost_its_senders() {
        let ((send, numbers), (hold, words)) = (unbounded::<u8>(), unbounded::<String>());
        let both: [&dyn Channel; 2] = [&numbers, &words];
        assert_eq!(one_of(&both, Some(clock::now())), None);
        send.send(7).expect("the receiver is here");
        assert_eq!((one_of(&both, None), numbers.try_recv()), (Some(0), Ok(7)));
        drop(hold);
        assert_eq!(one_of(&both, None), Some(1));
    }
}
