//! The clocks. Every reading of a clock in this crate is here; `tests/house.rs` refuses one elsewhere.
//!
//! - The steady clock ([`now`], [`after`], [`since`], [`until`]) measures deadlines and durations.
//! - The wall clock ([`unix_ms`]) dates events and log lines.
//! - The boot clock ([`boot_ms`]) measures how long timers have to wait: it counts while the machine is suspended, too, and
//!   nobody can set it.
//! - The CPU clock of the current thread ([`thread_cpu`]) measures what a guest has used.
//!
//! A reading reaches a guest only through the recorder, which writes it down.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
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

const NS_PER_MS: u64 = 1_000_000;

/// Milliseconds since the Unix epoch, by the wall clock. A clock set before 1970 reads 0.
pub(crate) fn unix_ms() -> u64 {
    unix_ns() / NS_PER_MS
}

/// The same in nanoseconds, which 64 bits hold until the year 2554.
fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds since the machine was booted, the time included in which it was suspended.
pub(crate) fn boot_ms() -> u64 {
    boot_ns() / NS_PER_MS
}

fn boot_ns() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.unsigned_abs().saturating_mul(1_000 * NS_PER_MS) + time.tv_nsec.unsigned_abs()
}

/// One moment, by the two clocks that timers follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Milliseconds since the Unix epoch, by the wall clock, which may be set.
    pub(crate) unix_ms: u64,
    /// Milliseconds since the machine was booted, when the wall clock turned to `unix_ms`; rounded up.
    pub(crate) boot_ms: u64,
}

/// This moment, by the wall clock and by the boot clock.
///
/// Two moments are as far apart by one clock as by the other, unless the wall clock was set between them: so times that are
/// computed from them have the same order by both. Two clocks that were each cut to milliseconds would not give that.
pub(crate) fn moment() -> Moment {
    // A thread that is interrupted between two looks has not seen both clocks at one moment.
    const AT_ONCE_NS: u64 = 50_000;
    const TRIES: usize = 8;
    let look = || {
        let (before, unix_ns, after) = (boot_ns(), unix_ns(), boot_ns());
        (after - before, before, unix_ns)
    };
    let mut seen = look();
    for _ in 1..TRIES {
        if seen.0 > AT_ONCE_NS {
            seen = seen.min(look());
        }
    }
    let (_, boot_ns, unix_ns) = seen;
    Moment { unix_ms: unix_ns / NS_PER_MS, boot_ms: boot_ns.saturating_sub(unix_ns % NS_PER_MS).div_ceil(NS_PER_MS) }
}

/// Names this boot of the machine. Where the system does not tell, every boot looks the same, which refuses more.
pub(crate) fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let text: String = text.trim().chars().filter(char::is_ascii_graphic).take(64).collect();
    if text.is_empty() { "unknown".to_owned() } else { text }
}

/// Which boot of the machine this is; `None` if the system does not say.
pub(crate) fn boot() -> Option<u64> {
    static BOOT: OnceLock<Option<u64>> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let digits: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
        u64::from_str_radix(&digits, 16).ok()
    })
}

/// A time of the boot clock, for another process to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BootTime {
    boot: u64,
    ms: u64,
}

impl BootTime {
    /// A time of this boot's clock.
    pub(crate) fn of(boot_ms: u64) -> Option<Self> {
        boot().map(|boot| Self { boot, ms: boot_ms })
    }

    /// The time by the boot clock, if it is of this boot of the machine.
    pub(crate) fn boot_ms(self) -> Option<u64> {
        (boot() == Some(self.boot)).then_some(self.ms)
    }
}

impl fmt::Display for BootTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}:{}", self.boot, self.ms)
    }
}

impl FromStr for BootTime {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (boot, ms) = text.split_once(':').ok_or(())?;
        let read = Self { boot: u64::from_str_radix(boot, 16).map_err(drop)?, ms: ms.parse().map_err(drop)? };
        // Each time is written in one way.
        if read.to_string() == text { Ok(read) } else { Err(()) }
    }
}

/// CPU time the calling thread has used since it was started; waiting does not count.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_moments_are_as_far_apart_by_either_clock() {
        let apart = |moment: Moment| moment.unix_ms - moment.boot_ms;
        let first = apart(moment());
        // A wall clock that is set meanwhile moves by one step, and the two roundings differ in one moment at most.
        let others: std::collections::BTreeSet<u64> = (0..20_000).map(|_| apart(moment())).collect();
        assert!(others.len() <= 2 && others.iter().all(|other| other.abs_diff(first) <= 1), "{first}: {others:?}");
    }

    #[test]
    fn a_time_of_this_boot_is_read_back_and_one_of_another_boot_says_nothing() {
        let Some(time) = BootTime::of(7) else { return };
        assert_eq!(time.to_string().parse(), Ok(time));
        assert_eq!(time.boot_ms(), Some(7));
        let other = BootTime { boot: time.boot ^ 1, ms: 7 };
        assert_eq!(other.to_string().parse(), Ok(other));
        assert_eq!(other.boot_ms(), None);
        for bad in
            ["", ":", "1:7", "000000000000000g:7", "0000000000000001:+7", "0000000000000001:07", "0000000000000001"]
        {
            assert_eq!(bad.parse::<BootTime>(), Err(()), "{bad}");
        }
    }
}
