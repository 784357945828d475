//! What browsers are shown of a runtime at one time.

use std::sync::Arc;

use serde::Serialize;

use super::rows::TreeRow;
use crate::server::protocol::{JournalMetricsView, ProcessView, Totals};

/// The state of a runtime at one time.
#[derive(Clone)]
pub(super) struct ShownMoment {
    /// Counts the measurements of this process.
    pub(super) number: u64,
    /// The actors, in the order in which they were created; those of the last measurement, if the runtime does not answer now.
    pub(super) rows: Arc<Vec<Arc<TreeRow>>>,
    pub(super) summary: Arc<Summary>,
}

/// What is shown of the runtime as a whole.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Summary {
    /// Why the runtime does not answer, if it does not.
    pub(super) error: Option<String>,
    /// Its address.
    pub(super) server: String,
    /// What this console may do: `read` or `control`.
    pub(super) role: &'static str,
    /// How many browsers look on.
    pub(super) browsers: usize,
    pub(super) version: String,
    pub(super) data_dir: String,
    pub(super) total: Option<Totals>,
    pub(super) process: ProcessView,
    pub(super) journal: Option<JournalMetricsView>,
    pub(super) sample: Option<Sample>,
}

/// One point of the charts.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Sample {
    /// In milliseconds since the Unix epoch.
    pub(super) at: u64,
    /// Since the point before, in a second.
    pub(super) calls: f64,
    pub(super) refusals: f64,
    pub(super) events: f64,
    pub(super) commits: f64,
    /// A bound, in microseconds, that 99 of 100 commits since the point before did not exceed.
    pub(super) commit_p99_us: u64,
    pub(super) log_bytes: u64,
    pub(super) waiting: u64,
    pub(super) resident_bytes: u64,
}
