//! Signals to `theater run`: the first asks for an end in order, another ends at once. The thread that hears them acts
//! before it says anything, since nobody may be there to hear it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

use super::stderr;
use crate::base::thread;
use crate::journal;
use crate::system::TheaterHandle;

/// What a signal is to do.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<Watched>);

#[derive(Default)]
struct Watched {
    /// Whom to ask for an end in order; before any actor begins there is nobody, and nothing to put in order.
    theater: Mutex<Option<TheaterHandle>>,
    was_asked: AtomicBool,
}

/// Begins to watch. To be called before there is anything to clean up.
pub(super) fn watch() -> io::Result<Watch> {
    // A file that is as long as `ulimit -f` allows is a disk that is full; by default it would end the process.
    signal_hook::flag::register(SIGXFSZ, Arc::default())?;
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    // `nohup` has it ignored.
    if !is_ignored(SIGHUP) {
        signals.add_signal(SIGHUP)?;
    }
    let watch = Watch::default();
    let watched = watch.clone();
    // It watches until the process ends.
    thread::spawn("signals", move || signals.forever().for_each(|signal| watched.heard(signal))).map(drop)?;
    Ok(watch)
}

impl Watch {
    /// From here on there are actors, which a signal suspends.
    pub(super) fn steers(&self, theater: &TheaterHandle) {
        *self.0.theater.lock() = Some(theater.clone());
    }

    /// Whether a signal has asked for the end.
    pub(super) fn was_asked(&self) -> bool {
        self.0.was_asked.load(Ordering::Acquire)
    }

    fn heard(&self, signal: i32) {
        let theater = self.0.theater.lock().clone();
        let Some(theater) = theater else {
            let words = "theater: ending before anything was started";
            end_at_once(128 + signal, || stderr::hasty_words(words));
        };
        let again = self.0.was_asked.swap(true, Ordering::AcqRel);
        if !again {
            theater.shutdown();
            let second = if signal == SIGHUP { "SIGINT or SIGTERM" } else { "a second signal" };
            log::info!("shutting down: actors are suspended and go on at the next start; {second} ends at once");
        } else if signal != SIGHUP {
            // A terminal that closes sends several of those, and service managers send one behind SIGTERM.
            let words = "theater: second signal: ending at once; the next start recovers";
            end_at_once(128 + signal, || stderr::hasty_words(words));
        }
    }
}

/// Ends the process, whatever its threads are at; a temporary directory goes with it.
pub(super) fn end_at_once(code: i32, say: impl FnOnce()) -> ! {
    journal::remove_ephemeral();
    say();
    std::process::exit(code)
}

/// Whether who started this process has had it ignore the signal.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_ignored_is_told_from_one_that_is_not() {
        // Rust has every program ignore it.
        assert!(is_ignored(signal_hook::consts::SIGPIPE));
        assert!(!is_ignored(SIGTERM));
    }
}
