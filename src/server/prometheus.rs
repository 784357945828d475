//! The metrics as text for Prometheus.

use std::fmt::Write;

use super::families::{Family, FamilyKind, FamilyValue, OF_ACTORS, labels_of, of_runtime};
use super::metrics::{MetricsView, gather};
use crate::system::TheaterHandle;

/// Every metric as it is now.
pub(super) fn text(theater: &TheaterHandle) -> String {
    let mut actors = Vec::new();
    let totals = gather(theater, |actor| actors.push(actor));
    spelled(&MetricsView { actors, ..totals })
}

fn spelled(metrics: &MetricsView) -> String {
    let mut out = String::new();
    let labels: Vec<String> = metrics.actors.iter().map(|actor| spelled_labels(&labels_of(actor))).collect();
    for (family, value) in OF_ACTORS {
        head(&mut out, &family);
        for (actor, labels) in metrics.actors.iter().zip(&labels) {
            put(&mut out, family.name, labels, &value(actor));
        }
    }
    for (family, values) in of_runtime(metrics) {
        head(&mut out, &family);
        for (label, value) in values {
            put(&mut out, family.name, &spelled_labels(label.as_slice()), &value);
        }
    }
    out
}

fn head(out: &mut String, Family { name, kind, help, .. }: &Family) {
    let kind = match kind {
        FamilyKind::Counter => "counter",
        FamilyKind::Gauge => "gauge",
        FamilyKind::Histogram => "histogram",
    };
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn put(out: &mut String, name: &str, labels: &str, value: &FamilyValue<'_>) {
    let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    let (values, scale) = match value {
        FamilyValue::Number(number) => return line(out, &format!("{name}{braced}"), *number as f64),
        FamilyValue::Distribution(values, scale) => (values, scale),
    };
    let comma = if labels.is_empty() { "" } else { "," };
    for (bound, below) in scale.below(values) {
        line(out, &format!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}}"), below as f64);
    }
    line(out, &format!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}}"), values.count as f64);
    line(out, &format!("{name}_sum{braced}"), scale.sum(values));
    line(out, &format!("{name}_count{braced}"), values.count as f64);
}

fn line(out: &mut String, name: &str, value: f64) {
    let _ = writeln!(out, "{name} {value}");
}

fn spelled_labels(labels: &[(&str, &str)]) -> String {
    // The name of an actor may contain any character.
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let spelled: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    spelled.join(",")
}
