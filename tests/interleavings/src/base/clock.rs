//! A clock that stands still.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub fn now() -> Instant {
    static NOW: OnceLock<Instant> = OnceLock::new();
    *NOW.get_or_init(Instant::now)
}

pub fn since(then: Instant) -> Duration {
    now().saturating_duration_since(then)
}

/// The moment that lies `time` after now. As the clock stands still, a deadline passes only if it is now.
pub fn after(time: Duration) -> Instant {
    now() + time
}
