//! Waking a thread that waits for sockets: an event counter of the system (`eventfd`) that the thread polls beside
//! them.
//!
//! No wakeup is lost. A thread that has news for the polling thread first publishes the news (a flag, or an item in a
//! channel), and then wakes the polling thread. The thread resets the counter first and looks for news afterwards. If
//! the news was published before that look, the thread finds it. If it was published after that look, then the counter
//! was raised after the reset, because it is raised after the publishing; so the thread's next wait ends at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

/// Wakes the one thread that polls this. It stays ready until that thread resets it.
#[derive(Debug)]
pub(crate) struct Wakeup(OwnedFd);

impl Wakeup {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Ends the thread's wait, or its next wait if it does not wait now.
    pub(crate) fn wake(&self) {
        // This can fail only where the counter would overflow, and then the thread's wait ends anyway.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// The thread is awake: its next wait lasts until it is woken again.
    pub(crate) fn reset(&self) {
        // This fails if the counter is 0 already.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags};

    use super::super::readiness::wait_until_ready;
    use super::*;

    fn is_awake(wakeup: &Wakeup) -> bool {
        let mut sources = [PollFd::new(wakeup, PollFlags::IN)];
        wait_until_ready(&mut sources, Some(Duration::ZERO)).expect("it is polled") == 1
    }

    #[test]
    fn a_wakeup_lasts_until_it_is_reset_however_often_it_was_given() {
        let wakeup = Wakeup::new().expect("a descriptor");
        assert!(!is_awake(&wakeup));
        wakeup.wake();
        wakeup.wake();
        assert!(is_awake(&wakeup) && is_awake(&wakeup));
        wakeup.reset();
        wakeup.reset();
        assert!(!is_awake(&wakeup));
    }
}
