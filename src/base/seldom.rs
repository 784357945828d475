//! Warnings at a bounded rate: of something that may happen a thousand times a second, one line is logged in ten seconds, with
//! the number of those that were left out.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::base::clock;

/// The least time between two lines of the log about the same thing.
const PAUSE: Duration = Duration::from_secs(10);

/// When the last warning was logged, and how many were left out since.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    said: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// Logs `warning`, unless one was logged less than ten seconds ago.
    pub(crate) fn warn(&mut self, warning: impl Display) {
        if let Some(line) = self.line(warning) {
            log::warn!("{line}");
        }
    }

    /// The line to be logged, for a caller that holds a lock and logs after it has given up the lock.
    pub(crate) fn line(&mut self, warning: impl Display) -> Option<String> {
        self.told(clock::now()).map(|unsaid| match unsaid {
            0 => warning.to_string(),
            _ => format!("{warning} ({unsaid} more like it since the last such line)"),
        })
    }

    /// How many warnings were left out, if it is time to log one.
    fn told(&mut self, now: Instant) -> Option<u64> {
        if self.said.is_some_and(|said| now.duration_since(said) < PAUSE) {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_all_the_time_is_said_once_in_a_while_with_how_often_it_happened() {
        let (mut seldom, begun) = (Seldom::default(), clock::now());
        assert_eq!(seldom.told(begun), Some(0));
        assert!((0..1_000).all(|_| seldom.told(begun + PAUSE / 2).is_none()));
        assert_eq!(seldom.told(begun + PAUSE), Some(1_000));
        assert_eq!(seldom.told(begun + PAUSE), None);
        assert_eq!(seldom.told(begun + 3 * PAUSE), Some(1));
    }
}
