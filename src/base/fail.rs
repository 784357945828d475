//! Fail points: places in the code where a test can have the process killed, to see that the next start goes on as if nothing
//! had happened; or have the thread panic that reaches the place, to see that the panic is noticed.
//!
//! They are compiled in only with the feature `fail-points`. `THEATER_FAIL=NAME:N` kills the process, as `kill -9` does, when a
//! thread reaches the point NAME for the Nth time. With `THEATER_FAIL=NAME:N:panic` that thread panics instead; with
//! `NAME:N:panics` every thread panics that reaches the point for the Nth time or later. With `THEATER_REFUSE=NAME:N-M`, starting
//! the thread NAME fails from the Nth up to the Mth time, as if the system had no thread left.

/// The process ends here if a test has asked for that.
#[inline]
pub(crate) fn point(name: &'static str) {
    point_after(name, || ());
}

/// The process ends here if a test has asked for that, after `prepare` has run.
#[cfg(not(feature = "fail-points"))]
#[inline]
pub(crate) fn point_after(_name: &'static str, _prepare: impl FnOnce()) {}

/// The process ends here if a test has asked for that, after `prepare` has run.
#[cfg(feature = "fail-points")]
pub(crate) fn point_after(name: &'static str, prepare: impl FnOnce()) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Asked {
        name: String,
        count: u64,
        how: String,
    }

    static ASKED: OnceLock<Option<Asked>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    let asked = ASKED.get_or_init(|| {
        let text = std::env::var("THEATER_FAIL").ok()?;
        let mut words = text.split(':').map(str::to_owned);
        let (name, count) = words.next().zip(words.next()).expect("THEATER_FAIL is NAME:N");
        let count = count.parse().expect("THEATER_FAIL is NAME:N");
        Some(Asked { name, count, how: words.next().unwrap_or_default() })
    });
    let Some(Asked { count, how, .. }) = asked.as_ref().filter(|asked| asked.name == name) else { return };
    let passed = PASSED.fetch_add(1, Ordering::SeqCst) + 1;
    if passed != *count && (passed < *count || how != "panics") {
        return;
    }
    prepare();
    if !how.is_empty() {
        panic!("asked for at {name}");
    }
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).expect("ourselves");
    loop {
        super::wait::park();
    }
}

/// Whether a test has asked that this thread be refused.
#[cfg(not(feature = "fail-points"))]
#[inline]
pub(crate) fn is_refused(_thread: &str) -> bool {
    false
}

/// Whether a test has asked that this thread be refused.
#[cfg(feature = "fail-points")]
pub(crate) fn is_refused(thread: &str) -> bool {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ASKED: OnceLock<Option<(String, u64, u64)>> = OnceLock::new();
    static WANTED: AtomicU64 = AtomicU64::new(0);

    let asked = ASKED.get_or_init(|| {
        let text = std::env::var("THEATER_REFUSE").ok()?;
        let (name, times) = text.rsplit_once(':').expect("THEATER_REFUSE is NAME:N-M");
        let (from, to) = times.split_once('-').expect("THEATER_REFUSE is NAME:N-M");
        let number = |text: &str| text.parse().expect("THEATER_REFUSE is NAME:N-M");
        Some((name.to_owned(), number(from), number(to)))
    });
    let Some((name, from, to)) = asked else { return false };
    name == thread && (*from..=*to).contains(&(WANTED.fetch_add(1, Ordering::SeqCst) + 1))
}
