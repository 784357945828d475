//! Places where a test can have the process killed, to see that the next start goes on as if it had not been.
//!
//! Compiled in with the feature `fail-points` alone. `THEATER_FAIL=NAME:N` kills the process, as `kill -9` does, when it
//! comes to the point NAME for the Nth time.

/// The process ends here where a test has asked for it.
#[cfg(not(feature = "fail-points"))]
#[inline]
pub(crate) fn point(_name: &'static str) {}

/// The process ends here where a test has asked for it.
#[cfg(feature = "fail-points")]
pub(crate) fn point(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ASKED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    let asked = ASKED.get_or_init(|| {
        let text = std::env::var("THEATER_FAIL").ok()?;
        let (name, count) = text.split_once(':').expect("THEATER_FAIL is NAME:N");
        Some((name.to_owned(), count.parse().expect("THEATER_FAIL is NAME:N")))
    });
    if let Some((asked, count)) = asked
        && asked == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *count
    {
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).expect("ourselves");
        loop {
            std::thread::park();
        }
    }
}
