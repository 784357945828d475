//! Locks, atomics and channels that loom knows of, under the names that Theater's `base::sync` gives.

use std::collections::VecDeque;
pub use std::sync::Arc;

use loom::sync::MutexGuard;
pub use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// A lock without poison.
#[derive(Debug)]
pub struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("no thread panics with the lock")
    }
}

/// A value that is set once. That it is set is what the threads see of it, so that is loom's.
#[derive(Debug)]
pub struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    is_set: AtomicBool,
}

impl<T> OnceLock<T> {
    pub fn new() -> Self {
        Self { value: std::sync::OnceLock::new(), is_set: AtomicBool::new(false) }
    }

    pub fn set(&self, value: T) -> Result<(), T> {
        let set = self.value.set(value);
        self.is_set.store(true, Ordering::Release);
        set
    }

    pub fn get(&self) -> Option<&T> {
        if self.is_set.load(Ordering::Acquire) { self.value.get() } else { None }
    }
}

/// An unbounded channel, as `crossbeam_channel` describes it: sending fails once every receiver is gone, and what waits
/// goes with the last receiver.
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Mutex::new(Shared { waiting: VecDeque::new(), receivers: 1 }));
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

#[derive(Debug)]
struct Shared<T> {
    waiting: VecDeque<T>,
    receivers: usize,
}

#[derive(Debug)]
pub struct Sender<T>(Arc<Mutex<Shared<T>>>);

#[derive(Debug)]
pub struct Receiver<T>(Arc<Mutex<Shared<T>>>);

#[derive(Debug)]
pub struct Empty;

impl<T> Sender<T> {
    pub fn send(&self, item: T) -> Result<(), T> {
        let mut shared = self.0.lock();
        if shared.receivers == 0 {
            return Err(item);
        }
        shared.waiting.push_back(item);
        Ok(())
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Receiver<T> {
    pub fn try_recv(&self) -> Result<T, Empty> {
        self.0.lock().waiting.pop_front().ok_or(Empty)
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        self.0.lock().receivers += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut shared = self.0.lock();
        shared.receivers -= 1;
        let left = if shared.receivers == 0 { std::mem::take(&mut shared.waiting) } else { VecDeque::new() };
        drop(shared);
        drop(left);
    }
}
