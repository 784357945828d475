//! The thread `otlp`: gathers spans that are ready, and sends them; and the metrics, every interval.
//!
//! ```text
//!   queue of spans ── 512, or a second has passed ──▶ /v1/traces ── not taken for now ──▶ twice more, 1 s and 3 s later
//!   every interval ── the metrics, 500 actors a request ──▶ /v1/metrics      │ nor then
//!                                                                            ▼
//!                                                              dropped, and counted
//! ```
//!
//! It is the only thread that waits for a collector. While it does, the queue fills up, and further spans are dropped.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::collector::{Collector, NotTaken};
use super::otlp::{self, Counted, Resource};
use super::span::Span;
use crate::base::seldom::Seldom;
use crate::base::{clock, wait};
use crate::system::TheaterHandle;
use crate::theater::measure::{ActorMetricsView, gather};

/// The spans of one request.
const SPANS: usize = 512;
/// How long a span waits for others.
const GATHERING: Duration = Duration::from_secs(1);
/// When a request that was not taken is sent again.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// The actors of one request.
const ACTORS: usize = 500;

pub(super) struct Sender {
    pub(super) theater: TheaterHandle,
    pub(super) collector: Collector,
    pub(super) resource: Resource,
    pub(super) interval: Duration,
    pub(super) spans: Receiver<Span>,
    /// Disconnected once the telemetry ends.
    pub(super) ending: Receiver<()>,
    /// When the counting began, in milliseconds since the Unix epoch.
    pub(super) began_ms: u64,
    pub(super) trouble: Trouble,
}

/// What was told in the log about a collector that does not take what it is sent.
#[derive(Default)]
pub(super) struct Trouble {
    seldom: Seldom,
    is_in: bool,
}

impl Sender {
    /// The thread's body: it returns once nobody can put a span into the queue any more, and what was there was sent.
    pub(super) fn run(mut self) {
        let mut metrics_due = clock::after(self.interval);
        loop {
            let first = wait::receive_within(&self.spans, clock::until(metrics_due));
            let is_over = first == Err(RecvTimeoutError::Disconnected);
            if let Ok(first) = first {
                let spans = self.gathered(first);
                self.send_spans(&spans);
            }
            if is_over || clock::until(metrics_due).is_zero() {
                self.send_metrics();
                metrics_due = clock::after(self.interval);
            }
            if is_over {
                return;
            }
        }
    }

    /// The first span, and those that come soon.
    fn gathered(&self, first: Span) -> Vec<Span> {
        let (mut spans, until) = (vec![first], clock::after(GATHERING));
        while spans.len() < SPANS {
            match wait::receive_within(&self.spans, clock::until(until)) {
                Ok(span) => spans.push(span),
                Err(_) => break,
            }
        }
        spans
    }

    fn send_spans(&mut self, spans: &[Span]) {
        let (count, document) = (spans.len() as u64, otlp::of_spans(&self.resource, spans));
        let dropped = match self.send("/v1/traces", document) {
            Ok(rejected) => rejected.min(count),
            Err(why) => {
                self.trouble.tell(&format!("{count} spans are dropped: {why}"));
                count
            }
        };
        self.theater.telemetry.dropped.add(dropped);
        self.theater.telemetry.spans.add(count - dropped);
    }

    fn send_metrics(&mut self) {
        let time = Counted { from_ms: self.began_ms, to_ms: clock::unix_ms() };
        let (theater, mut actors, mut failed) = (self.theater.clone(), Vec::with_capacity(ACTORS), None);
        let totals = gather(&theater, |actor| {
            // Once the collector has not taken one request, it is not asked to take the next.
            if failed.is_some() {
                return;
            }
            actors.push(actor);
            if actors.len() == ACTORS {
                failed = self.send_actors(&mut actors, time).err();
            }
        });
        if failed.is_none() {
            failed = self.send_actors(&mut actors, time).err();
        }
        if failed.is_none() {
            failed = self.send("/v1/metrics", otlp::of_totals(&self.resource, &totals, time)).err();
        }
        if let Some(why) = failed {
            self.trouble.tell(&format!("the metrics are not sent until the next interval: {why}"));
        }
    }

    fn send_actors(&mut self, actors: &mut Vec<ActorMetricsView>, time: Counted) -> Result<(), String> {
        if actors.is_empty() {
            return Ok(());
        }
        let document = otlp::of_actors(&self.resource, actors, time);
        actors.clear();
        self.send("/v1/metrics", document).map(drop)
    }

    /// Sends a document, and again if the collector may take it later. The error is the last one.
    fn send(&mut self, path: &str, document: Vec<u8>) -> Result<u64, String> {
        let mut again = AGAIN.iter();
        loop {
            let why = match self.collector.send(path, document.clone()) {
                Ok(rejected) => {
                    self.trouble.ends();
                    return Ok(rejected);
                }
                Err(NotTaken::Never(why)) => return Err(why),
                Err(NotTaken::ForNow(why)) => why,
            };
            let Some(pause) = again.next() else { return Err(why) };
            if !self.pause(*pause) {
                return Err(why);
            }
        }
    }

    /// Waits; false if the telemetry ends meanwhile.
    fn pause(&self, time: Duration) -> bool {
        let until: Instant = clock::after(time);
        wait::receive_within(&self.ending, clock::until(until)) == Err(RecvTimeoutError::Timeout)
    }
}

impl Trouble {
    fn tell(&mut self, why: &str) {
        self.is_in = true;
        self.seldom.warn(format!("telemetry: {why}"));
    }

    fn ends(&mut self) {
        if std::mem::take(&mut self.is_in) {
            log::info!("telemetry: the collector takes what it is sent again");
        }
    }
}
