//! A bounded number of places: how many of something (connections, exchanges) there may be at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// All places of one kind. A clone counts the same places.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Arc<AtomicUsize>);

/// One place that is taken. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Places {
    /// Takes a place, unless `most` are taken already; the error is how many are taken.
    pub(crate) fn take(&self, most: usize) -> Result<Place, usize> {
        let more = |taken| (taken < most).then_some(taken + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, more)?;
        Ok(Place(Arc::clone(&self.0)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
