//! How many questions that are work for the runtime are asked at the same time: past states, differences, searches, traces.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::base::{clock, wait};

/// So many are asked at the same time. Others wait.
const AT_ONCE: usize = 2;
/// So many may wait.
const WAITING: usize = 32;
/// And so long.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Counts {
    asked: usize,
    waiting: usize,
}

/// The gate that such questions pass.
#[derive(Default)]
pub(super) struct Gate {
    counts: Mutex<Counts>,
    freed: Condvar,
}

/// Leave to ask, until it is dropped.
pub(super) struct Passed<'a>(&'a Gate);

impl Drop for Passed<'_> {
    fn drop(&mut self) {
        self.0.counts.lock().asked -= 1;
        self.0.freed.notify_one();
    }
}

impl Gate {
    /// Waits until the question may be asked; none if too many wait, or it has waited too long.
    pub(super) fn pass(&self) -> Option<Passed<'_>> {
        let mut counts = self.counts.lock();
        if counts.asked >= AT_ONCE {
            if counts.waiting >= WAITING {
                return None;
            }
            counts.waiting += 1;
            let deadline = clock::after(PATIENCE);
            while counts.asked >= AT_ONCE && wait::notified_until(&self.freed, &mut counts, deadline) {}
            counts.waiting -= 1;
            if counts.asked >= AT_ONCE {
                return None;
            }
        }
        counts.asked += 1;
        Some(Passed(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pass_and_the_next_waits_until_one_has_gone() {
        let gate = Gate::default();
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
        let gate = Gate::default();
        let _asked = (gate.pass(), gate.pass());
        gate.counts.lock().waiting = WAITING;
        assert!(gate.pass().is_none());
    }
}
