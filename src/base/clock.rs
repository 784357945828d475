//! The clocks. Every reading of a clock in this crate is here; `tests/house.rs` refuses one elsewhere.
//!
//! - The steady clock ([`now`], [`after`], [`since`], [`until`]) measures deadlines and durations.
//! - The wall clock ([`unix_ms`]) dates events and log lines.
//! - The boot clock ([`boot_ms`]) measures how long timers have to wait: it counts while the machine is suspended, too, and
//!   nobody can set it.
//! - The CPU clock of the current thread ([`thread_cpu`]) measures what a guest has used.
//!
//! A reading reaches a guest only through the recorder, which writes it down.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// This moment, by the steady clock.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The moment that lies `time` after now. A time that the clock cannot add ends a hundred years from now.
pub(crate) fn after(time: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    let now = now();
    now.checked_add(time).unwrap_or_else(|| now + CENTURY)
}

/// How long ago `then` was.
pub(crate) fn since(then: Instant) -> Duration {
    now().saturating_duration_since(then)
}

/// How long it is until `deadline`; zero once that has passed.
pub(crate) fn until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(now())
}

/// Milliseconds since the Unix epoch, by the wall clock. A clock set before 1970 reads 0.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds since the machine was booted, the time included in which it was suspended.
pub(crate) fn boot_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.unsigned_abs().saturating_mul(1_000) + time.tv_nsec.unsigned_abs() / 1_000_000
}

/// One moment, by the two clocks that timers follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Milliseconds since the Unix epoch, by the wall clock, which may be set.
    pub(crate) unix_ms: u64,
    /// Milliseconds since the machine was booted.
    pub(crate) boot_ms: u64,
}

/// This moment, by the wall clock and by the boot clock.
pub(crate) fn moment() -> Moment {
    Moment { unix_ms: unix_ms(), boot_ms: boot_ms() }
}

/// CPU time the calling thread has used since it was started; waiting does not count.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
