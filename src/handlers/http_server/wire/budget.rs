//! A number of bytes that all bodies of a listener share, and what one of them has of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    limit: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    /// Whether a share could grow by so many bytes now.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.limit.saturating_sub(self.used.load(Ordering::SeqCst)) >= bytes
    }
}

/// What one body has of the budget. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Share {
    /// Nothing yet.
    pub(crate) fn of(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes this a share of at least `bytes`. False, and as it was, where the budget has no room for that.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let limit = self.budget.limit;
        let grown = |used: usize| used.checked_add(more).filter(|used| more == 0 || *used <= limit);
        let has_room = self.budget.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, grown).is_ok();
        self.bytes += if has_room { more } else { 0 };
        has_room
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_given_while_there_is_room_and_are_free_again_when_dropped() {
        let budget = Arc::new(Budget::new(10));
        let (mut first, mut second) = (Share::of(&budget), Share::of(&budget));
        assert!(first.grow_to(6) && first.grow_to(6) && first.grow_to(3));
        assert!(!second.grow_to(5) && second.bytes() == 0 && !budget.has_room(5) && budget.has_room(4));
        drop(first);
        assert!(second.grow_to(5) && second.grow_to(10) && !second.grow_to(11));
    }
}
