//! Metrics: what a runtime measures of each actor, and the totals. They are gathered when someone asks.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::base::id::ActorId;
use crate::base::metrics::Distribution;
use crate::journal::JournalReader;
use crate::system::{ActorInfo, TheaterHandle};

/// Everything that a runtime measures, since it was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MetricsView {
    /// Each listed actor, in the order in which the actors came.
    pub actors: Vec<ActorMetricsView>,
    /// All listed actors together.
    pub total: Totals,
    /// The journal.
    pub journal: JournalMetricsView,
    /// The process, as the operating system sees it.
    pub process: ProcessView,
    /// The telemetry that is sent to a collector.
    #[serde(default, skip_serializing_if = "TelemetryView::is_nothing")]
    pub telemetry: TelemetryView,
}

/// What became of the telemetry since the runtime was started. All is 0 if none is sent.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TelemetryView {
    /// Spans that a collector has taken.
    pub spans: u64,
    /// Spans that no collector has got, and events that were not looked at because there were too many.
    pub dropped: u64,
}

/// The metrics of one actor, over all its incarnations since the runtime was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ActorMetricsView {
    /// The actor's id, as text.
    pub id: String,
    /// The actor's name, from its manifest.
    pub name: String,
    /// The path of an actor that has a label, such as `ledger/alice`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The id of the actor that spawned it; none for a root.
    pub parent: Option<String>,
    /// The word for what it is doing: [`crate::ActorStatus::word`].
    pub status: String,
    /// Whether it is running and sleeps.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asleep: bool,
    /// Whether an operator has paused it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// The counts.
    #[serde(flatten)]
    pub counts: Counts,
}

/// All listed actors together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Totals {
    /// How many actors are listed.
    pub actors: u64,
    /// How many of them are alive.
    pub alive: u64,
    /// How many of these sleep.
    #[serde(default)]
    pub asleep: u64,
    /// The counts of all of them.
    #[serde(flatten)]
    pub counts: Counts,
}

/// The counters of one actor, or their sums over several.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counts {
    /// Calls of exports.
    pub calls: u64,
    /// Calls that the guest answered with its own error.
    pub refusals: u64,
    /// Incarnations that ended by a failure of their own.
    pub failures: u64,
    /// Incarnations that began after an earlier one of the same actor.
    pub restarts: u64,
    /// Deliveries that wait now.
    pub mailbox_depth: u64,
    /// Events on disk.
    pub chain_length: u64,
    /// Bytes of linear memory at the end of the last call.
    pub memory_bytes: u64,
    /// How long calls took, in microseconds; waiting for others is part of it.
    pub latency_us: DistributionView,
}

impl Counts {
    /// Adds the counts of another actor to these. Latencies cannot be added like this; their distributions are merged
    /// instead.
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
#[non_exhaustive]
pub struct JournalMetricsView {
    /// Events written.
    pub events: u64,
    /// How long commits took, in microseconds, the disk's part included.
    pub commit_us: DistributionView,
    /// Bytes of the records of each commit.
    pub commit_bytes: DistributionView,
    /// Bytes of the log's segments now.
    #[serde(default)]
    pub log_bytes: u64,
    /// Bytes that are free on the disk now.
    #[serde(default)]
    pub free_bytes: u64,
    /// Whether new work from outside is refused, because less is free than `min_free_bytes`.
    #[serde(default)]
    pub refuses_work: bool,
}

/// The process as the operating system sees it. A number that cannot be read is 0.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProcessView {
    /// Bytes of memory that are resident.
    pub resident_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_files: u64,
    /// Memory maps.
    pub memory_maps: u64,
}

impl TelemetryView {
    fn is_nothing(&self) -> bool {
        self.spans == 0 && self.dropped == 0
    }
}

/// Values by magnitude: `buckets[n]` counts the values below 2^n that no earlier bucket counts, and the thirty-second
/// bucket counts the rest. Empty buckets at the end are left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DistributionView {
    /// How many values there are.
    pub count: u64,
    /// All values together.
    pub sum: u64,
    /// A bound, to the power of two, that half of the values do not exceed; none if there are no values.
    pub p50: Option<u64>,
    /// A bound, to the power of two, that 99 of 100 values do not exceed; none if there are no values.
    pub p99: Option<u64>,
    /// The counts, by magnitude.
    pub buckets: Vec<u64>,
}

impl From<&Distribution> for DistributionView {
    fn from(read: &Distribution) -> Self {
        let (p50, p99) = (read.quantile(50, 100), read.quantile(99, 100));
        let mut buckets = read.counts.clone();
        buckets.truncate(buckets.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1));
        Self { count: read.count(), sum: read.sum, p50, p99, buckets }
    }
}

impl TheaterHandle {
    /// Everything that is measured, of every listed actor. The counters go on counting while they are read, so the numbers
    /// are not of one moment.
    pub fn metrics(&self) -> MetricsView {
        let mut actors = Vec::new();
        let totals = gather(self, |actor| actors.push(actor));
        MetricsView { actors, ..totals }
    }

    /// The metrics of one actor; none if no listed actor has this id.
    pub fn actor_metrics(&self, id: ActorId) -> Option<ActorMetricsView> {
        let reader = self.journal.reader().ok();
        of_actor(self, reader.as_ref(), self.actor(id)?).map(|(view, _)| view)
    }
}

/// Reads every counter, and gives those of each actor to `each`: the totals, without the actors.
pub(crate) fn gather(theater: &TheaterHandle, mut each: impl FnMut(ActorMetricsView)) -> MetricsView {
    let reader = theater.journal.reader().ok();
    let mut total = Totals::default();
    let mut latency = Distribution::default();
    let mut from = 0;
    loop {
        let page = theater.actors_from(from, GATHERED_AT_ONCE);
        let Some((last, _)) = page.last() else { break };
        from = last + 1;
        for (_, info) in page {
            let (is_alive, is_asleep) = (info.status.is_alive(), info.asleep);
            let Some((view, calls)) = of_actor(theater, reader.as_ref(), info) else { continue };
            latency.add(&calls);
            total.actors += 1;
            total.alive += u64::from(is_alive);
            total.asleep += u64::from(is_asleep);
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
        free_bytes: journal.free_bytes.read(),
        refuses_work: journal.refuses_work.read() > 0,
    };
    let telemetry = TelemetryView { spans: theater.telemetry.spans.read(), dropped: theater.telemetry.dropped.read() };
    MetricsView { actors: Vec::new(), total, journal, process: process(), telemetry }
}

const GATHERED_AT_ONCE: usize = 1_000;

/// The counters of one actor, and how long its calls took; none if the actor was forgotten meanwhile.
pub(crate) fn of_actor(
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
        path: info.path.filter(|_| info.label.is_some()),
        parent: info.parent.map(|parent| parent.to_string()),
        status: info.status.word().to_owned(),
        asleep: info.asleep,
        paused: info.paused,
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

/// A number that cannot be read is 0.
pub(crate) fn process() -> ProcessView {
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
