//! The metrics by name: each with its kind, its meaning and its values, whoever shows them. Prometheus gets them as text, and a
//! collector of OpenTelemetry as JSON.

use std::ops::RangeInclusive;

use super::metrics::{ActorMetricsView, DistributionView, MetricsView};
use crate::base::metrics::Distribution;

/// What all values of a metric have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: FamilyKind,
    pub(crate) help: &'static str,
    /// The unit, as UCUM writes it.
    pub(crate) unit: &'static str,
}

/// How the values of a metric are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FamilyKind {
    /// It only grows.
    Counter,
    Gauge,
    Histogram,
}

/// One value of a metric.
pub(crate) enum FamilyValue<'a> {
    Number(u64),
    Distribution(&'a DistributionView, &'static Scale),
}

/// Which bounds are shown of a distribution, and how many of the counted units make one shown unit. Dividing by that number
/// gives the nearest decimal, which is written as a person would write it.
pub(crate) struct Scale {
    buckets: RangeInclusive<usize>,
    in_one: f64,
}

/// From 63 microseconds to 16 seconds.
const SECONDS: Scale = Scale { buckets: 6..=24, in_one: 1e6 };
/// From 255 bytes to 64 MiB.
const BYTES: Scale = Scale { buckets: 8..=26, in_one: 1.0 };

impl Scale {
    /// Every other power of two, in the shown unit: with thousands of actors, each bound is a number for each actor. With each
    /// bound comes how many values lie below it.
    pub(crate) fn below<'v>(&self, values: &'v DistributionView) -> impl Iterator<Item = (f64, u64)> + use<'v> {
        let in_one = self.in_one;
        self.buckets.clone().step_by(2).map(move |bucket| {
            let below = values.buckets.iter().take(bucket + 1).sum();
            (Distribution::upper(bucket) as f64 / in_one, below)
        })
    }

    /// The sum of all values, in the shown unit.
    pub(crate) fn sum(&self, values: &DistributionView) -> f64 {
        values.sum as f64 / self.in_one
    }
}

/// The values of a metric of the runtime as a whole, each with a label where there are several.
pub(crate) type LabelledValues<'a> = Vec<(Option<(&'static str, &'static str)>, FamilyValue<'a>)>;

/// Reads one value of an actor.
type OfActor = fn(&ActorMetricsView) -> FamilyValue<'_>;

const fn family(name: &'static str, kind: FamilyKind, unit: &'static str, help: &'static str) -> Family {
    Family { name, kind, help, unit }
}

use FamilyKind::{Counter, Gauge, Histogram};
use FamilyValue::{Distribution as Values, Number};

/// What is known of each actor.
pub(crate) const OF_ACTORS: [(Family, OfActor); 8] = [
    (family("theater_actor_calls_total", Counter, "1", "Transitions since the runtime was started."), |actor| {
        Number(actor.counts.calls)
    }),
    (family("theater_actor_refusals_total", Counter, "1", "Transitions that the guest refused."), |actor| {
        Number(actor.counts.refusals)
    }),
    (family("theater_actor_failures_total", Counter, "1", "Incarnations that ended themselves."), |actor| {
        Number(actor.counts.failures)
    }),
    (family("theater_actor_restarts_total", Counter, "1", "Incarnations that followed another."), |actor| {
        Number(actor.counts.restarts)
    }),
    (family("theater_actor_mailbox_depth", Gauge, "1", "Deliveries that wait."), |actor| {
        Number(actor.counts.mailbox_depth)
    }),
    (family("theater_actor_chain_events", Gauge, "1", "Events on the actor's chain."), |actor| {
        Number(actor.counts.chain_length)
    }),
    (family("theater_actor_memory_bytes", Gauge, "By", "Linear memory that the last call ended with."), |actor| {
        Number(actor.counts.memory_bytes)
    }),
    (
        family(
            "theater_actor_call_seconds",
            Histogram,
            "s",
            "How long transitions took; waiting for others is part of it.",
        ),
        |actor| Values(&actor.counts.latency_us, &SECONDS),
    ),
];

/// By which labels the values of an actor are told apart.
pub(crate) fn labels_of(actor: &ActorMetricsView) -> Vec<(&'static str, &str)> {
    let mut labels = vec![("actor", actor.name.as_str()), ("id", actor.id.as_str())];
    labels.extend(actor.path.as_deref().map(|path| ("path", path)));
    labels
}

/// What is known of the runtime as a whole.
pub(crate) fn of_runtime(metrics: &MetricsView) -> Vec<(Family, LabelledValues<'_>)> {
    let MetricsView { total, journal, process, telemetry, .. } = metrics;
    let alive = family("theater_actors", Gauge, "1", "Actors, by whether they have ended.");
    let by_life = vec![
        (Some(("alive", "true")), Number(total.alive)),
        (Some(("alive", "false")), Number(total.actors - total.alive)),
    ];
    let numbers = [
        ("theater_actors_asleep", Gauge, "1", "Actors that are alive and have no thread.", total.asleep),
        ("theater_journal_events_total", Counter, "1", "Events written to the journal.", journal.events),
        ("theater_journal_log_bytes", Gauge, "By", "Bytes of the journal's log.", journal.log_bytes),
        ("theater_disk_free_bytes", Gauge, "By", "Bytes free on the disk of the data directory.", journal.free_bytes),
        ("theater_disk_low", Gauge, "1", "1 while new work is refused for lack of room.", journal.refuses_work.into()),
        ("theater_resident_bytes", Gauge, "By", "Resident memory of the process.", process.resident_bytes),
        ("theater_threads", Gauge, "1", "Threads of the process.", process.threads),
        ("theater_open_files", Gauge, "1", "Files and sockets open.", process.open_files),
        ("theater_memory_maps", Gauge, "1", "Memory maps of the process.", process.memory_maps),
        ("theater_telemetry_spans_total", Counter, "1", "Spans that a collector has taken.", telemetry.spans),
        (
            "theater_telemetry_dropped_total",
            Counter,
            "1",
            "Spans that no collector has got, and events that were not looked at.",
            telemetry.dropped,
        ),
    ];
    let numbers =
        numbers.map(|(name, kind, unit, help, value)| (family(name, kind, unit, help), vec![(None, Number(value))]));
    let distributions = [
        ("theater_journal_commit_seconds", "s", "How long commits took.", &journal.commit_us, &SECONDS),
        ("theater_journal_commit_bytes", "By", "Bytes of records in a commit.", &journal.commit_bytes, &BYTES),
    ];
    let distributions = distributions.map(|(name, unit, help, values, scale)| {
        (family(name, Histogram, unit, help), vec![(None, Values(values, scale))])
    });
    [(alive, by_life)].into_iter().chain(numbers).chain(distributions).collect()
}
