//! Metrics: gathering what is measured, for each actor and for all actors together.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::base::metrics::Distribution;
use crate::journal::JournalReader;
use crate::system::{ActorInfo, TheaterHandle};

/// Everything that is measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MetricsView {
    /// In the order in which the actors were started first.
    pub(crate) actors: Vec<ActorMetricsView>,
    pub(crate) total: Totals,
    pub(crate) journal: JournalMetricsView,
    pub(crate) process: ProcessView,
}

/// The metrics of one actor, over all its incarnations since the runtime was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ActorMetricsView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) parent: Option<String>,
    pub(crate) status: String,
    #[serde(flatten)]
    pub(crate) counts: Counts,
}

/// The metrics of all actors together, except for those that were forgotten.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) actors: u64,
    pub(crate) alive: u64,
    #[serde(flatten)]
    pub(crate) counts: Counts,
}

/// What is counted, for one actor or for several together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) refusals: u64,
    pub(crate) failures: u64,
    pub(crate) restarts: u64,
    pub(crate) mailbox_depth: u64,
    /// How many of its events are on disk.
    pub(crate) chain_length: u64,
    /// How many bytes of linear memory the last call ended with.
    pub(crate) memory_bytes: u64,
    pub(crate) latency_us: DistributionView,
}

impl Counts {
    /// Adds the counts of another actor. It does not add latencies: their distributions are added elsewhere.
    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.refusals += other.refusals;
        self.failures += other.failures;
        self.restarts += other.restarts;
        self.mailbox_depth += other.mailbox_depth;
        self.chain_length += other.chain_length;
        self.memory_bytes += other.memory_bytes;
    }
}

/// The metrics of the journal since the runtime was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JournalMetricsView {
    pub(crate) events: u64,
    pub(crate) commit_us: DistributionView,
    pub(crate) commit_bytes: DistributionView,
    /// The bytes of the write-ahead log.
    #[serde(default)]
    pub(crate) log_bytes: u64,
}

/// The metrics of the process, from the system.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ProcessView {
    pub(crate) resident_bytes: u64,
    pub(crate) threads: u64,
    pub(crate) open_files: u64,
    pub(crate) memory_maps: u64,
}

/// How many values have which magnitude: `buckets[n]` counts those below 2^n that the bucket before it does not count.
/// The thirty-second bucket counts the rest. Empty buckets at the end are left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct DistributionView {
    pub(crate) count: u64,
    pub(crate) sum: u64,
    /// The bound that half of the values do not exceed, as a power of two; null if there are no values.
    pub(crate) p50: Option<u64>,
    pub(crate) p99: Option<u64>,
    pub(crate) buckets: Vec<u64>,
}

impl From<&Distribution> for DistributionView {
    fn from(read: &Distribution) -> Self {
        let (p50, p99) = (read.quantile(50, 100), read.quantile(99, 100));
        let mut buckets = read.counts.clone();
        buckets.truncate(buckets.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1));
        Self { count: read.count(), sum: read.sum, p50, p99, buckets }
    }
}

/// Reads every counter. It hands the metrics of each actor to `each`, and returns the totals without the actors. The
/// counters go on counting meanwhile, so the result is not that of one moment.
pub(super) fn gather(theater: &TheaterHandle, mut each: impl FnMut(ActorMetricsView)) -> MetricsView {
    let reader = theater.journal.reader().ok();
    let mut total = Totals::default();
    let mut latency = Distribution::default();
    let mut from = 0;
    loop {
        let page = theater.actors_from(from, GATHERED_AT_ONCE);
        let Some((last, _)) = page.last() else { break };
        from = last + 1;
        for (_, info) in page {
            let is_alive = info.status.is_alive();
            let Some((view, calls)) = of_actor(theater, reader.as_ref(), info) else { continue };
            latency.add(&calls);
            total.actors += 1;
            total.alive += u64::from(is_alive);
            total.counts.add(&view.counts);
            each(view);
        }
    }
    total.counts.latency_us = (&latency).into();
    let journal = &theater.journal.metrics;
    let journal = JournalMetricsView {
        events: journal.events.read(),
        commit_us: (&journal.commits.read()).into(),
        commit_bytes: (&journal.commit_bytes.read()).into(),
        log_bytes: journal.log_bytes.read(),
    };
    MetricsView { actors: Vec::new(), total, journal, process: process() }
}

const GATHERED_AT_ONCE: usize = 1_000;

/// The metrics of one actor, and the distribution of the times of its calls; nothing if the actor was forgotten
/// meanwhile.
pub(super) fn of_actor(
    theater: &TheaterHandle,
    reader: Option<&JournalReader>,
    info: ActorInfo,
) -> Option<(ActorMetricsView, Distribution)> {
    let (key, metrics) = theater.key(info.id).zip(theater.registry.metrics(info.id))?;
    let head = reader.and_then(|reader| reader.head_sequence(key).ok().flatten());
    let calls = metrics.calls.read();
    let view = ActorMetricsView {
        id: info.id.to_string(),
        name: info.name,
        parent: info.parent.map(|parent| parent.to_string()),
        status: info.status.word().to_owned(),
        counts: Counts {
            calls: calls.count(),
            refusals: metrics.refusals.read(),
            failures: metrics.failures.read(),
            restarts: metrics.restarts.read(),
            mailbox_depth: info.mailbox_depth,
            chain_length: head.map_or(0, |last| last + 1),
            memory_bytes: metrics.memory_bytes.read(),
            latency_us: (&calls).into(),
        },
    };
    Some((view, calls))
}

/// The metrics of the process. One that cannot be read is 0.
pub(super) fn process() -> ProcessView {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    ProcessView {
        resident_bytes: field("VmRSS:") * 1024,
        threads: field("Threads:"),
        open_files: fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64),
        memory_maps: fs::read_to_string("/proc/self/maps").map_or(0, |maps| maps.lines().count() as u64),
    }
}
