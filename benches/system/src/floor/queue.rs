//! The hand-off between threads: a queue and a place for an answer, each a mutex and a condition variable.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};

pub struct Queue<T> {
    items: Mutex<VecDeque<T>>,
    filled: Condvar,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { items: Mutex::default(), filled: Condvar::new() }
    }
}

impl<T> Queue<T> {
    pub fn push(&self, item: T) {
        let mut items = self.items.lock().expect("no panic");
        items.push_back(item);
        if items.len() == 1 {
            self.filled.notify_one();
        }
    }

    pub fn pop(&self) -> T {
        let mut items = self.items.lock().expect("no panic");
        loop {
            match items.pop_front() {
                Some(item) => return item,
                None => items = self.filled.wait(items).expect("no panic"),
            }
        }
    }

    /// Waits for something, then takes all there is.
    pub fn take(&self, into: &mut VecDeque<T>) {
        let mut items = self.items.lock().expect("no panic");
        while items.is_empty() {
            items = self.filled.wait(items).expect("no panic");
        }
        std::mem::swap(&mut *items, into);
    }
}

/// Where one client waits for one answer at a time.
pub struct Slot<T> {
    item: Mutex<Option<T>>,
    filled: Condvar,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { item: Mutex::default(), filled: Condvar::new() }
    }
}

impl<T> Slot<T> {
    pub fn put(&self, item: T) {
        *self.item.lock().expect("no panic") = Some(item);
        self.filled.notify_one();
    }

    pub fn wait(&self) -> T {
        let mut item = self.item.lock().expect("no panic");
        loop {
            match item.take() {
                Some(item) => return item,
                None => item = self.filled.wait(item).expect("no panic"),
            }
        }
    }
}
