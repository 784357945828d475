//! What the page shows of each actor in its tree, from two measurements.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::server::protocol::{ActorMetricsView, ActorView, DistributionView};

/// One actor.
#[derive(Clone, Debug, Serialize)]
pub(super) struct TreeRow {
    #[serde(flatten)]
    pub(super) actor: ActorView,
    pub(super) calls: u64,
    pub(super) refusals: u64,
    pub(super) failures: u64,
    pub(super) events: u64,
    pub(super) memory_bytes: u64,
    /// In the time since the measurement before; none in the first one.
    pub(super) calls_per_second: Option<f64>,
    pub(super) refusals_per_second: Option<f64>,
    /// A bound, in microseconds, that 99 of 100 calls of that time do not exceed; if there were none, of all calls.
    pub(super) p99_us: Option<u64>,
}

/// What a measurement leaves for the next one.
#[derive(Default)]
pub(super) struct Before {
    counts: HashMap<String, Counted>,
    rows: HashMap<String, (String, Arc<TreeRow>)>,
}

struct Counted {
    calls: u64,
    refusals: u64,
    buckets: Vec<u64>,
}

impl Before {
    /// The rows of a measurement, which is `time` after the one before. A row that shows what it showed before is the same one.
    pub(super) fn next(
        &mut self,
        actors: Vec<ActorView>,
        metrics: Vec<ActorMetricsView>,
        time: Option<Duration>,
    ) -> Vec<Arc<TreeRow>> {
        let mut metrics: HashMap<String, ActorMetricsView> =
            metrics.into_iter().map(|view| (view.id.clone(), view)).collect();
        let mut next = Self::default();
        let mut rows = Vec::with_capacity(actors.len());
        for actor in actors {
            let counts = metrics.remove(&actor.id).map(|view| view.counts).unwrap_or_default();
            let id = actor.id.clone();
            let before = self.counts.get(&id);
            let rate = |now: u64, then: Option<u64>| Some(now.saturating_sub(then?) as f64 / time?.as_secs_f64());
            let row = TreeRow {
                calls: counts.calls,
                refusals: counts.refusals,
                failures: counts.failures,
                events: counts.chain_length,
                memory_bytes: counts.memory_bytes,
                calls_per_second: rate(counts.calls, before.map(|it| it.calls)),
                refusals_per_second: rate(counts.refusals, before.map(|it| it.refusals)),
                p99_us: recent_p99(&counts.latency_us, before.map(|it| it.buckets.as_slice()).unwrap_or_default()),
                actor,
            };
            let counted =
                Counted { calls: row.calls, refusals: row.refusals, buckets: counts.latency_us.buckets.clone() };
            next.counts.insert(id.clone(), counted);
            let text = serde_json::to_string(&row).expect("a row serialises");
            let row = match self.rows.remove(&id) {
                Some((same, row)) if same == text => row,
                _ => Arc::new(row),
            };
            next.rows.insert(id, (text, Arc::clone(&row)));
            rows.push(row);
        }
        *self = next;
        rows
    }
}

/// The bound of the values that are in `now` and were not in `before`.
pub(super) fn recent_p99(now: &DistributionView, before: &[u64]) -> Option<u64> {
    let more = |at: usize| now.buckets[at].saturating_sub(before.get(at).copied().unwrap_or(0));
    let count: u64 = (0..now.buckets.len()).map(more).sum();
    if count == 0 {
        return now.p99;
    }
    let wanted = count - count / 100;
    let mut seen = 0;
    for at in 0..now.buckets.len() {
        seen += more(at);
        if seen >= wanted {
            return Some((1_u64 << at) - 1);
        }
    }
    now.p99
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::protocol::ActorMetricsView;

    fn view(name: &str) -> ActorView {
        serde_json::from_value(serde_json::json!({
            "id": name, "name": name, "parent": null, "status": "running", "failure": null, "incarnation": 1,
            "mailbox_depth": 0, "addresses": [], "manifest": "", "since_ms": 0
        }))
        .expect("an actor")
    }

    fn metrics(name: &str, calls: u64, buckets: &[u64]) -> ActorMetricsView {
        serde_json::from_value(serde_json::json!({
            "id": name, "name": name, "parent": null, "status": "running", "calls": calls, "refusals": 0, "failures": 0,
            "restarts": 0, "mailbox_depth": 0, "chain_length": calls, "memory_bytes": 0,
            "latency_us": { "count": calls, "sum": 0, "p50": null, "p99": null, "buckets": buckets }
        }))
        .expect("metrics")
    }

    #[test]
    fn rates_are_those_between_two_measurements() {
        let mut before = Before::default();
        let first = before.next(vec![view("a")], vec![metrics("a", 10, &[0, 10])], None);
        assert_eq!((first[0].calls, first[0].calls_per_second), (10, None));
        let second =
            before.next(vec![view("a")], vec![metrics("a", 30, &[0, 10, 0, 20])], Some(Duration::from_secs(2)));
        assert_eq!((second[0].calls_per_second, second[0].p99_us), (Some(10.0), Some(7)));
    }

    #[test]
    fn a_row_that_shows_what_it_showed_is_the_same_one() {
        let mut before = Before::default();
        let time = Some(Duration::from_secs(1));
        before.next(vec![view("a"), view("b")], vec![metrics("a", 1, &[1]), metrics("b", 1, &[1])], None);
        let first = before.next(vec![view("a"), view("b")], vec![metrics("a", 1, &[1]), metrics("b", 1, &[1])], time);
        let second = before.next(vec![view("a"), view("b")], vec![metrics("a", 1, &[1]), metrics("b", 2, &[2])], time);
        assert!(Arc::ptr_eq(&first[0], &second[0]) && !Arc::ptr_eq(&first[1], &second[1]));
    }

    #[test]
    fn an_actor_without_metrics_is_shown_too() {
        let rows = Before::default().next(vec![view("a")], Vec::new(), None);
        assert_eq!((rows.len(), rows[0].calls), (1, 0));
    }
}
