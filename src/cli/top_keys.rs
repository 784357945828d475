//! Single keys of a terminal, for a view that is refreshed: without them, a key counts only once Enter is pressed.
//!
//! `stty` changes the terminal and gives it back. Where there is none, or standard input is no terminal, no key is read, and
//! Ctrl-C ends the view as it ends any program.

use std::io::{IsTerminal, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::base::{clock, wait};

/// A terminal whose keys are read one by one. It is as it was before once this is dropped.
pub(super) struct Keys {
    /// The settings from before, as `stty` writes them; none if keys are not read.
    saved: Option<String>,
    /// Whether a signal has asked for the end.
    is_over: Arc<AtomicBool>,
}

impl Keys {
    pub(super) fn begin() -> Self {
        let saved = std::io::stdin().is_terminal().then(|| stty(&["-g"])).flatten();
        let is_over = Arc::new(AtomicBool::new(false));
        let Some(saved) = saved else { return Self { saved: None, is_over } };
        // From here on a signal may not simply end the process: the terminal is to be given back.
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            if signal_hook::flag::register(signal, Arc::clone(&is_over)).is_err() {
                return Self { saved: None, is_over };
            }
        }
        // A terminal that keeps its keys until Enter would hold up the view.
        let is_set = stty(&["-icanon", "-echo", "min", "0", "time", "0"]).is_some();
        Self { saved: Some(saved).filter(|_| is_set), is_over }
    }

    /// Waits so long, or until the key `q` is pressed or a signal arrives. Returns whether the view is to end.
    pub(super) fn wait(&self, time: Duration) -> bool {
        if self.saved.is_none() {
            wait::sleep(time);
            return self.is_over.load(Ordering::Relaxed);
        }
        let until = clock::now() + time;
        loop {
            if self.is_over.load(Ordering::Relaxed) || is_q_pressed() {
                return true;
            }
            let left = until.saturating_duration_since(clock::now());
            let Ok(timeout) = Timespec::try_from(left) else { return false };
            if left.is_zero() {
                return false;
            }
            let input = std::io::stdin();
            let mut keyboard = [PollFd::new(&input, PollFlags::IN)];
            // A signal ends the wait early; then it is looked at above.
            let _ = poll(&mut keyboard, Some(&timeout));
            if keyboard[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) {
                return true;
            }
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            let _ = stty(&[saved]);
        }
    }
}

/// Whether `q` is among the keys that were pressed and not read yet.
fn is_q_pressed() -> bool {
    let mut pressed = [0; 64];
    let mut input = std::io::stdin().lock();
    loop {
        match input.read(&mut pressed) {
            Ok(0) | Err(_) => return false,
            Ok(read) if pressed[..read].iter().any(|key| matches!(key, b'q' | b'Q')) => return true,
            Ok(_) => {}
        }
    }
}

/// What `stty` prints; none if it fails, or if there is none.
fn stty(args: &[&str]) -> Option<String> {
    let output = Command::new("stty").args(args).stdin(Stdio::inherit()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
