//! A point in time by which something whole must be done, for sockets that only know timeouts of one call.

use std::time::{Duration, Instant};

use crate::base::clock;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    whole: Duration,
    at: Instant,
    asked: bool,
}

impl Deadline {
    pub(crate) fn after(whole: Duration) -> Self {
        Self { whole, at: clock::now() + whole, asked: false }
    }

    pub(crate) fn has_passed(&self) -> bool {
        self.at <= clock::now()
    }

    /// The time left, `None` when it has passed. Asked the first time it is the whole, to the nanosecond: so a
    /// connection that waits alike each time need not set its socket's timeout each time.
    pub(crate) fn left(&mut self) -> Option<Duration> {
        if !std::mem::replace(&mut self.asked, true) {
            return Some(self.whole);
        }
        Some(clock::until(self.at)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_gives_its_whole_time_first_and_less_and_less_after() {
        let mut deadline = Deadline::after(Duration::from_secs(5));
        assert_eq!(deadline.left(), Some(Duration::from_secs(5)));
        let second = deadline.left().expect("five seconds have not passed");
        assert!(second < Duration::from_secs(5) && deadline.left().expect("nor now") <= second);
    }

    #[test]
    fn a_passed_deadline_leaves_nothing() {
        let mut deadline = Deadline::after(Duration::ZERO);
        deadline.left();
        assert_eq!(deadline.left(), None);
    }
}
