//! Counters and histograms of a running theater: atomic numbers that the runtime adds to, and that anyone may read.
//!
//! They are added to with relaxed order: a reader sees each number as it was at some moment, and two numbers perhaps of
//! different moments. Each call of a guest costs two additions and a store. Nothing here is recorded in a chain, and
//! nothing of it reaches a guest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// One bucket for each power of two up to 2^30: microseconds up to eighteen minutes, bytes up to a gibibyte. The last bucket
/// also counts what is larger.
const BUCKETS: usize = 32;

/// A histogram: how often values of each magnitude came. Bucket `n` counts the values that have `n` bits: those below 2^n and
/// not below 2^(n-1).
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

    /// Counts a length of time, in microseconds.
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
    /// Bucket `n` counts the values below 2^n that bucket `n - 1` does not count.
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

    /// A quantile: the smallest bound of a bucket such that at least `of` out of every `within` values lie below it.
    /// None if there are no values.
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

    /// The largest value that a bucket counts.
    pub(crate) fn upper(bucket: usize) -> u64 {
        (1u64 << bucket.min(63)) - 1
    }
}

/// What is counted about one actor, over all its incarnations in this process.
#[derive(Debug, Default)]
pub(crate) struct ActorMetrics {
    /// Transitions, by the microseconds that they took, the time in which the actor waited for others included.
    pub(crate) calls: Histogram,
    /// Transitions in which the guest returned its own error.
    pub(crate) refusals: Counter,
    /// Incarnations that failed.
    pub(crate) failures: Counter,
    /// Incarnations that followed another in this process.
    pub(crate) restarts: Counter,
    /// Bytes of linear memory that the guest had at the end of its last call.
    pub(crate) memory_bytes: Gauge,
}

impl ActorMetrics {
    /// Every number, in the order of the fields.
    fn numbers(&self) -> Vec<u64> {
        let Self { calls, refusals, failures, restarts, memory_bytes } = self;
        let buckets = calls.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let rest = [calls.sum.load(Ordering::Relaxed), refusals.read(), failures.read(), restarts.read()];
        buckets.chain(rest).chain([memory_bytes.read()]).collect()
    }

    fn of_numbers(numbers: &[u64]) -> Self {
        let metrics = Self::default();
        let Self { calls, refusals, failures, restarts, memory_bytes } = &metrics;
        let rest = [&calls.sum, &refusals.0, &failures.0, &restarts.0, &memory_bytes.0];
        let all = calls.buckets.iter().chain(rest);
        all.zip(numbers).for_each(|(own, number)| own.store(*number, Ordering::Relaxed));
        metrics
    }
}

/// The metrics of one actor: as they are counted, or packed while nothing is.
#[derive(Debug)]
pub(crate) enum EntryMetrics {
    Counted(Arc<ActorMetrics>),
    /// Each number that is not 0, as its place and its value, both of as few bytes as it needs.
    Packed(Box<[u8]>),
}

impl Default for EntryMetrics {
    fn default() -> Self {
        Self::Packed(Box::default())
    }
}

impl EntryMetrics {
    /// What was counted.
    pub(crate) fn read(&self) -> Arc<ActorMetrics> {
        match self {
            Self::Counted(metrics) => Arc::clone(metrics),
            Self::Packed(packed) => Arc::new(unpacked(packed)),
        }
    }

    /// Where it is counted.
    pub(crate) fn counters(&mut self) -> Arc<ActorMetrics> {
        let metrics = self.read();
        *self = Self::Counted(Arc::clone(&metrics));
        metrics
    }

    /// Packs what was counted, unless somebody may count on.
    pub(crate) fn pack(&mut self) {
        if let Self::Counted(metrics) = self
            && Arc::strong_count(metrics) == 1
        {
            *self = Self::Packed(packed(metrics));
        }
    }
}

fn packed(metrics: &ActorMetrics) -> Box<[u8]> {
    let mut bytes = Vec::new();
    for (place, number) in (0..).zip(metrics.numbers()).filter(|(_, number)| *number > 0) {
        let length = 8 - number.leading_zeros() as usize / 8;
        bytes.extend([place, length as u8]);
        bytes.extend(&number.to_le_bytes()[..length]);
    }
    bytes.into()
}

fn unpacked(mut packed: &[u8]) -> ActorMetrics {
    let mut numbers = vec![0; BUCKETS + 5];
    while let [place, length, rest @ ..] = packed
        && let Some((number, rest)) = rest.split_at_checked(usize::from(*length))
    {
        let mut bytes = [0; 8];
        bytes[..number.len()].copy_from_slice(number);
        if let Some(own) = numbers.get_mut(usize::from(*place)) {
            *own = u64::from_le_bytes(bytes);
        }
        packed = rest;
    }
    ActorMetrics::of_numbers(&numbers)
}

/// What is counted about the journal.
#[derive(Debug, Default)]
pub(crate) struct JournalMetrics {
    /// Commits, by the microseconds that they took, the time that the disk needs included.
    pub(crate) commits: Histogram,
    /// Commits, by the bytes of the records in them.
    pub(crate) commit_bytes: Histogram,
    /// Events written.
    pub(crate) events: Counter,
    /// Bytes of the log's segments.
    pub(crate) log_bytes: Gauge,
    /// Bytes that are free on the disk.
    pub(crate) free_bytes: Gauge,
    /// 1 while new work is refused because the disk is nearly full, else 0.
    pub(crate) refuses_work: Gauge,
    /// When the writer began with the commit that is under way, by the boot clock in milliseconds; 0 while there is none.
    pub(crate) commit_began: Gauge,
}

/// What is counted about telemetry that is sent to a collector.
#[derive(Debug, Default)]
pub(crate) struct TelemetryMetrics {
    /// Spans that a collector has taken.
    pub(crate) spans: Counter,
    /// Spans that no collector has got, and events that were not looked at.
    pub(crate) dropped: Counter,
}

/// A number that only grows.
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

/// A number that goes up and down.
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
    fn what_was_counted_is_packed_into_few_bytes_and_counted_on() {
        let mut metrics = EntryMetrics::default();
        assert_eq!(metrics.read().numbers(), vec![0; BUCKETS + 5]);
        let counters = metrics.counters();
        [3, 700, u64::MAX / 2].into_iter().for_each(|value| counters.calls.observe(value));
        counters.refusals.add(70_000);
        counters.memory_bytes.set(1 << 40);
        metrics.pack();
        assert!(matches!(metrics, EntryMetrics::Counted(_)), "somebody counts");
        let numbers = counters.numbers();
        drop(counters);
        metrics.pack();
        let EntryMetrics::Packed(packed) = &metrics else { unreachable!("nobody counts") };
        assert!(packed.len() < 40, "{} bytes", packed.len());
        assert_eq!(metrics.read().numbers(), numbers);
        metrics.counters().calls.observe(3);
        assert_eq!(metrics.read().calls.read().count(), 4);
    }

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
