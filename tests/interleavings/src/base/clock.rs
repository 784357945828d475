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
