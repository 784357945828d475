//! A gate for work that only a few may do at the same time: others wait for their turn, and not too many, and not too long.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{clock, wait};

/// How long somebody waits for a turn.
const PATIENCE: Duration = Duration::from_secs(30);

struct Counts {
    inside: usize,
    waiting: usize,
}

/// The gate.
pub(crate) struct Gate {
    at_once: usize,
    most_waiting: usize,
    counts: Mutex<Counts>,
    freed: Condvar,
}

/// A turn, until it is dropped.
pub(crate) struct GateTurn<'a>(&'a Gate);

impl Drop for GateTurn<'_> {
    fn drop(&mut self) {
        self.0.counts.lock().inside -= 1;
        self.0.freed.notify_one();
    }
}

impl Gate {
    /// A gate that lets `at_once` in at the same time, and `most_waiting` wait.
    pub(crate) const fn new(at_once: usize, most_waiting: usize) -> Self {
        let counts = Mutex::new(Counts { inside: 0, waiting: 0 });
        Self { at_once, most_waiting, counts, freed: Condvar::new() }
    }

    /// Waits for a turn; there is none if too many wait, or if it has taken too long.
    pub(crate) fn pass(&self) -> Option<GateTurn<'_>> {
        let mut counts = self.counts.lock();
        if counts.inside >= self.at_once {
            if counts.waiting >= self.most_waiting {
                return None;
            }
            counts.waiting += 1;
            let deadline = clock::after(PATIENCE);
            while counts.inside >= self.at_once && wait::notified_until(&self.freed, &mut counts, deadline) {}
            counts.waiting -= 1;
            if counts.inside >= self.at_once {
                return None;
            }
        }
        counts.inside += 1;
        Some(GateTurn(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pass_and_the_next_waits_until_one_has_gone() {
        let gate = Gate::new(2, 32);
        let (first, second) = (gate.pass(), gate.pass());
        assert!(first.is_some() && second.is_some());
        std::thread::scope(|scope| {
            let third = scope.spawn(|| gate.pass().is_some());
            while gate.counts.lock().waiting == 0 {
                std::thread::yield_now();
            }
            drop(first);
            assert!(third.join().expect("no panic"));
        });
    }

    #[test]
    fn too_many_do_not_wait() {
        let gate = Gate::new(2, 32);
        let _asked = (gate.pass(), gate.pass());
        gate.counts.lock().waiting = 32;
        assert!(gate.pass().is_none());
    }
}
