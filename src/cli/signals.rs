//! Signals to `theater run` (SIGINT, SIGTERM, SIGHUP): the first signal suspends all actors and ends the runtime; a second
//! one ends the process at once. The thread that receives signals acts before it prints, because printing may block: the
//! reader of standard error may have stopped reading.

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

/// What a signal does.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<Watched>);

#[derive(Default)]
struct Watched {
    /// The runtime that a signal shuts down. None before the first actor begins: until then no actor has to be
    /// suspended.
    theater: Mutex<Option<TheaterHandle>>,
    /// Whether the process follows a realm: then the first signal ends that in order.
    is_following: AtomicBool,
    was_asked: AtomicBool,
}

/// Lets a write that makes a file longer than `ulimit -f` allows fail as it does on a full disk, for every command. By default
/// the signal SIGXFSZ would end the process without a word.
pub(super) fn outlive_files_that_are_too_long() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(drop)
}

/// Begins to watch for signals. It is called before the process has anything to clean up.
pub(super) fn watch() -> io::Result<Watch> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    // `nohup` starts a program with SIGHUP ignored, and it stays ignored.
    if !is_ignored(SIGHUP) {
        signals.add_signal(SIGHUP)?;
    }
    let watch = Watch::default();
    let watched = watch.clone();
    // The thread watches until the process ends; nobody joins it.
    thread::spawn("signals", move || signals.forever().for_each(|signal| watched.heard(signal))).map(drop)?;
    Ok(watch)
}

impl Watch {
    /// From now on a signal shuts this runtime down, which suspends its actors.
    pub(super) fn steers(&self, theater: &TheaterHandle) {
        *self.0.theater.lock() = Some(theater.clone());
    }

    /// Shuts the runtime down, as the first signal does. None runs before the first actor begins: that one is shut down once it
    /// does.
    pub(super) fn end_theater(&self) {
        self.0.was_asked.store(true, Ordering::Release);
        if let Some(theater) = self.0.theater.lock().clone() {
            theater.shutdown();
        }
    }

    /// From now on, or no more, the process follows a realm: it asks itself whether it [was asked](Self::was_asked) to end.
    pub(super) fn follows(&self, is_following: bool) {
        self.0.is_following.store(is_following, Ordering::Release);
    }

    /// Whether a signal has asked for a shutdown.
    pub(super) fn was_asked(&self) -> bool {
        self.0.was_asked.load(Ordering::Acquire)
    }

    fn heard(&self, signal: i32) {
        let theater = self.0.theater.lock().clone();
        let is_following = self.0.is_following.load(Ordering::Acquire);
        if theater.is_none() && is_following && !self.0.was_asked.swap(true, Ordering::AcqRel) {
            return;
        }
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
            // A SIGHUP after the first signal is ignored: a closing terminal sends several, and service managers send one
            // after SIGTERM.
            let words = "theater: second signal: ending at once; the next start recovers";
            end_at_once(128 + signal, || stderr::hasty_words(words));
        }
    }
}

/// Ends the process at once, whatever its threads do. A temporary data directory is removed first.
pub(super) fn end_at_once(code: i32, say: impl FnOnce()) -> ! {
    journal::remove_ephemeral();
    say();
    std::process::exit(code)
}

/// Whether the program that started this process made it ignore the signal.
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
        // Rust makes every program ignore SIGPIPE.
        assert!(is_ignored(signal_hook::consts::SIGPIPE));
        assert!(!is_ignored(SIGTERM));
    }
}
