//! What is counted while the runtime works: plain atomics, added to with relaxed order, read by whoever asks.
//!
//! A call costs two additions and a store. Nothing here is event data, and nothing of it reaches a guest.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Powers of two up to 2^30: microseconds up to eighteen minutes, bytes up to a gibibyte. The last bucket takes the rest.
const BUCKETS: usize = 32;

/// How often each magnitude came: bucket `n` counts the values of `n` bits, those below 2^n and not below 2^(n-1).
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl Histogram {
    pub(crate) fn observe(&self, value: u64) {
        let bits = (u64::BITS - value.leading_zeros()) as usize;
        self.buckets[bits.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// A length of time, in microseconds.
    pub(crate) fn observe_time(&self, time: Duration) {
        self.observe(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    pub(crate) fn read(&self) -> Distribution {
        let counts = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        Distribution { counts, sum: self.sum.load(Ordering::Relaxed) }
    }
}

/// A histogram as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Distribution {
    /// Bucket `n` has the values below 2^n that the one before has not.
    pub(crate) counts: Vec<u64>,
    pub(crate) sum: u64,
}

impl Distribution {
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        self.counts.iter_mut().zip(&other.counts).for_each(|(own, others)| *own += others);
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// A bound that `of` in `within` values do not exceed, to the power of two; none where there are no values.
    pub(crate) fn quantile(&self, of: u64, within: u64) -> Option<u64> {
        let count = self.count();
        let rank = count.checked_mul(of)?.div_ceil(within).max(1);
        let mut seen = 0;
        let at = self.counts.iter().position(|bucket| {
            seen += bucket;
            seen >= rank
        })?;
        (count > 0).then(|| Self::upper(at))
    }

    /// The largest value of a bucket.
    pub(crate) fn upper(bucket: usize) -> u64 {
        (1u64 << bucket.min(63)) - 1
    }
}

/// What is counted of one actor, over all its incarnations in this process.
#[derive(Debug, Default)]
pub(crate) struct ActorMetrics {
    /// Transitions by the microseconds they took; waiting for others is part of it.
    pub(crate) calls: Histogram,
    /// Transitions in which the guest returned its own error.
    pub(crate) refusals: Counter,
    /// Incarnations that ended themselves.
    pub(crate) failures: Counter,
    /// Incarnations that followed another in this process.
    pub(crate) restarts: Counter,
    /// Linear memory that the last call ended with.
    pub(crate) memory_bytes: Gauge,
}

/// What is counted of the journal.
#[derive(Debug, Default)]
pub(crate) struct JournalMetrics {
    /// Commits by the microseconds they took, the disk's part included.
    pub(crate) commits: Histogram,
    /// Commits by the bytes of the records they held.
    pub(crate) commit_bytes: Histogram,
    /// Events written.
    pub(crate) events: Counter,
    /// Bytes of the file of the write-ahead log.
    pub(crate) log_bytes: Gauge,
}

/// A number that grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number as it is now.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_falls_into_the_bucket_of_its_magnitude() {
        let histogram = Histogram::default();
        [0, 1, 2, 3, 4, 1_000, u64::MAX / 2].into_iter().for_each(|value| histogram.observe(value));
        let read = histogram.read();
        assert_eq!((&read.counts[..4], read.counts[10], read.counts[31]), (&[1, 1, 2, 1][..], 1, 1));
        assert_eq!(read.count(), 7);
        for (bucket, count) in read.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            assert!(*count > 0 && Distribution::upper(bucket) + 1 == 1 << bucket);
        }
    }

    #[test]
    fn a_quantile_is_bounded_by_its_bucket() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read().quantile(1, 2), None);
        (0..99).for_each(|_| histogram.observe(100));
        histogram.observe(5_000);
        let read = histogram.read();
        assert_eq!(
            (read.quantile(1, 2), read.quantile(99, 100), read.quantile(1, 1)),
            (Some(127), Some(127), Some(8191))
        );
        let mut twice = read.clone();
        twice.add(&read);
        assert_eq!((twice.count(), twice.sum), (200, 2 * read.sum));
    }
}
