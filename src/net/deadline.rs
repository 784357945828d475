//! A deadline: the moment by which an operation has to end, however many reads and writes it takes.
//!
//! A socket knows only a timeout for one system call. A client that sends one byte before each timeout would never run
//! into it. So every loop over such calls asks its deadline how much time is left before each call.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use crate::base::clock;

/// A moment of the steady clock. The earlier of two deadlines is the smaller one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// The deadline that passes `time` from now.
    pub(crate) fn after(time: Duration) -> Self {
        Self(clock::after(time))
    }

    /// The deadline that passes at `moment`.
    pub(crate) fn at(moment: Instant) -> Self {
        Self(moment)
    }

    /// The moment at which it passes.
    pub(crate) fn moment(self) -> Instant {
        self.0
    }

    pub(crate) fn has_passed(self) -> bool {
        self.0 <= clock::now()
    }

    /// The time that is left, never zero. After the deadline this is an error of the kind [`ErrorKind::TimedOut`].
    pub(crate) fn left(self) -> io::Result<Duration> {
        let left = clock::until(self.0);
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_leaves_less_and_less_time() {
        let deadline = Deadline::after(Duration::from_secs(5));
        let first = deadline.left().expect("five seconds have not passed");
        assert!(first <= Duration::from_secs(5) && deadline.left().expect("nor now") <= first);
        assert!(!deadline.has_passed() && deadline < Deadline::after(Duration::from_secs(6)));
    }

    #[test]
    fn a_passed_deadline_leaves_no_time() {
        let deadline = Deadline::after(Duration::ZERO);
        assert_eq!(deadline.left().expect_err("it has passed").kind(), ErrorKind::TimedOut);
        assert!(deadline.has_passed());
    }
}
