//! Waiting until one of several sockets is ready to be read or written, with a timeout: the system call `poll`.

use std::io;
use std::time::Duration;

use rustix::event::{PollFd, Timespec, poll};
use rustix::io::Errno;

/// Waits until one of `sources` is ready, or for `timeout`; without a timeout it waits for as long as that takes.
/// Returns how many are ready: 0 after the timeout, and 0 when a signal interrupted the wait.
pub(crate) fn wait_until_ready(sources: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    // A timeout that is too long for the system is cut to the longest one.
    let longest = Timespec { tv_sec: i64::from(i32::MAX), tv_nsec: 0 };
    let timeout = timeout.map(|timeout| Timespec::try_from(timeout).unwrap_or(longest));
    match poll(sources, timeout.as_ref()) {
        Err(Errno::INTR) => Ok(0),
        ready => Ok(ready?),
    }
}
