//! The metrics as text for Prometheus.

use std::fmt::Write;
use std::ops::RangeInclusive;

use super::metrics::{ActorMetricsView, DistributionView, MetricsView, gather};
use crate::base::metrics::Distribution;
use crate::system::TheaterHandle;

/// Reads one number of an actor.
type OfActor = fn(&ActorMetricsView) -> u64;

const OF_ACTORS: [(&str, &str, &str, OfActor); 7] = [
    ("theater_actor_calls_total", "counter", "Transitions since the runtime was started.", |actor| actor.counts.calls),
    ("theater_actor_refusals_total", "counter", "Transitions that the guest refused.", |actor| actor.counts.refusals),
    ("theater_actor_failures_total", "counter", "Incarnations that ended themselves.", |actor| actor.counts.failures),
    ("theater_actor_restarts_total", "counter", "Incarnations that followed another.", |actor| actor.counts.restarts),
    ("theater_actor_mailbox_depth", "gauge", "Deliveries that wait.", |actor| actor.counts.mailbox_depth),
    ("theater_actor_chain_events", "gauge", "Events on the actor's chain.", |actor| actor.counts.chain_length),
    ("theater_actor_memory_bytes", "gauge", "Linear memory that the last call ended with.", |actor| {
        actor.counts.memory_bytes
    }),
];

/// Every metric as it is now.
pub(super) fn text(theater: &TheaterHandle) -> String {
    let mut actors = Vec::new();
    let totals = gather(theater, |actor| actors.push(actor));
    spelled(&MetricsView { actors, ..totals })
}

fn spelled(metrics: &MetricsView) -> String {
    let mut out = String::new();
    let labels: Vec<String> = metrics.actors.iter().map(labels).collect();
    for (name, kind, help, value) in OF_ACTORS {
        head(&mut out, name, kind, help);
        for (actor, labels) in metrics.actors.iter().zip(&labels) {
            line(&mut out, &format!("{name}{{{labels}}}"), value(actor) as f64);
        }
    }
    let name = "theater_actor_call_seconds";
    head(&mut out, name, "histogram", "How long transitions took; waiting for others is part of it.");
    for (actor, labels) in metrics.actors.iter().zip(&labels) {
        histogram(&mut out, name, labels, &actor.counts.latency_us, &SECONDS);
    }
    let (total, journal, process) = (&metrics.total, &metrics.journal, &metrics.process);
    head(&mut out, "theater_actors", "gauge", "Actors, by whether they have ended.");
    line(&mut out, "theater_actors{alive=\"true\"}", total.alive as f64);
    line(&mut out, "theater_actors{alive=\"false\"}", (total.actors - total.alive) as f64);
    for (name, kind, help, value) in [
        ("theater_actors_asleep", "gauge", "Actors that are alive and have no thread.", total.asleep),
        ("theater_journal_events_total", "counter", "Events written to the journal.", journal.events),
        ("theater_journal_log_bytes", "gauge", "Bytes of the journal's log.", journal.log_bytes),
        ("theater_disk_free_bytes", "gauge", "Bytes free on the disk of the data directory.", journal.free_bytes),
        ("theater_disk_low", "gauge", "1 while new work is refused for lack of room.", journal.refuses_work.into()),
        ("theater_resident_bytes", "gauge", "Resident memory of the process.", process.resident_bytes),
        ("theater_threads", "gauge", "Threads of the process.", process.threads),
        ("theater_open_files", "gauge", "Files and sockets open.", process.open_files),
        ("theater_memory_maps", "gauge", "Memory maps of the process.", process.memory_maps),
    ] {
        head(&mut out, name, kind, help);
        line(&mut out, name, value as f64);
    }
    for (name, help, values, scale) in [
        ("theater_journal_commit_seconds", "How long commits took.", &journal.commit_us, SECONDS),
        ("theater_journal_commit_bytes", "Bytes of records in a commit.", &journal.commit_bytes, BYTES),
    ] {
        head(&mut out, name, "histogram", help);
        histogram(&mut out, name, "", values, &scale);
    }
    out
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, value: f64) {
    let _ = writeln!(out, "{name} {value}");
}

fn labels(actor: &ActorMetricsView) -> String {
    // The name of an actor may contain any character.
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let path = actor.path.as_deref().map(|path| format!(",path=\"{}\"", escaped(path))).unwrap_or_default();
    format!("actor=\"{}\",id=\"{}\"{path}", escaped(&actor.name), actor.id)
}

/// Writes every other power of two as a bound. With thousands of actors, each bound is a line for each actor.
fn histogram(out: &mut String, name: &str, labels: &str, values: &DistributionView, scale: &Scale) {
    let comma = if labels.is_empty() { "" } else { "," };
    let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    for bucket in scale.buckets.clone().step_by(2) {
        let below: u64 = values.buckets.iter().take(bucket + 1).sum();
        let bound = Distribution::upper(bucket) as f64 / scale.in_one;
        line(out, &format!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}}"), below as f64);
    }
    line(out, &format!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}}"), values.count as f64);
    line(out, &format!("{name}_sum{braced}"), values.sum as f64 / scale.in_one);
    line(out, &format!("{name}_count{braced}"), values.count as f64);
}

/// Which bounds are written, and how many of the counted units make one written unit. Dividing by that number gives the
/// nearest decimal, which is written as a person would write it.
struct Scale {
    buckets: RangeInclusive<usize>,
    in_one: f64,
}

/// From 63 microseconds to 16 seconds.
const SECONDS: Scale = Scale { buckets: 6..=24, in_one: 1e6 };
/// From 255 bytes to 64 MiB.
const BYTES: Scale = Scale { buckets: 8..=26, in_one: 1.0 };
