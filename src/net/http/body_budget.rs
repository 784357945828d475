//! The budget for request bodies: how many bytes all bodies of a listener may have together, and how many one body has.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The budget of one listener.
#[derive(Debug)]
pub(crate) struct BodyBudget {
    used: AtomicUsize,
    limit: usize,
}

impl BodyBudget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: AtomicUsize::new(0), limit }
    }

    /// Whether a share could grow by `bytes` now.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.limit.saturating_sub(self.used.load(Ordering::SeqCst)) >= bytes
    }
}

/// The bytes of the budget that one body has. They are free again when this is dropped.
#[derive(Debug)]
pub(crate) struct BodyShare {
    budget: Arc<BodyBudget>,
    bytes: usize,
}

impl BodyShare {
    /// A share that has no bytes yet.
    pub(crate) fn of(budget: &Arc<BodyBudget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Makes this a share of at least `bytes`. Where the budget has no room for that, the share stays as it is and this
    /// returns false.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let limit = self.budget.limit;
        let grown = |used: usize| used.checked_add(more).filter(|used| more == 0 || *used <= limit);
        let has_room = self.budget.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, grown).is_ok();
        self.bytes += if has_room { more } else { 0 };
        has_room
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_given_while_there_is_room_and_are_free_again_when_dropped() {
        let budget = Arc::new(BodyBudget::new(10));
        let (mut first, mut second) = (BodyShare::of(&budget), BodyShare::of(&budget));
        assert!(first.grow_to(6) && first.grow_to(6) && first.grow_to(3));
        assert!(!second.grow_to(5) && second.bytes() == 0 && !budget.has_room(5) && budget.has_room(4));
        drop(first);
        assert!(second.grow_to(5) && second.grow_to(10) && !second.grow_to(11));
    }
}
