//! Telemetry: spans and metrics for a collector of OpenTelemetry, by OTLP over HTTP.
//!
//! ```text
//!   journal ── commits ──▶ thread `telemetry`: transitions ──▶ queue, bounded ──▶ thread `otlp` ──▶ collector
//!                                                │ full: dropped, counted              └─ metrics, every interval
//! ```
//!
//! It reads what is committed, by a subscription such as a client of the management server has, and what a handle measures.
//! Nothing on the way of a message knows of it, nothing waits for it, and nothing of it reaches a chain. A collector that is
//! slow, or gone, costs spans and nothing else. Without `[telemetry]` nothing of this exists.
//!
//! | file | what it holds |
//! |---|---|
//! | `ids`, `span` | the ids of traces and spans, which follow from the chains; a span |
//! | `transitions` | spans from events; which transition has caused which |
//! | `events`, `sender` | the two threads |
//! | `otlp`, `collector` | the documents in OTLP's JSON; sending one |

#![cfg(feature = "cli")]

mod collector;
mod events;
mod ids;
mod otlp;
mod sender;
mod span;
mod transitions;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use uuid::Uuid;

use self::collector::Collector;
use self::events::SpanReader;
use self::otlp::Resource;
use self::sender::Trouble;
use crate::base::machine;
use crate::base::thread::{self, JoinHandle};
use crate::base::{clock, wait};
use crate::handlers::OwnServer;
use crate::net::Wakeup;
use crate::system::TheaterHandle;

/// The spans that wait for the collector at most.
const QUEUE: usize = 8_192;
/// A TLS handshake and the system's resolver need a larger stack than other threads do.
const STACK_BYTES: usize = 1024 * 1024;
/// How long an end waits until what there is was sent.
const LAST_SENDING: Duration = Duration::from_secs(3);
/// How long it waits for the threads after that. One that resolves a name cannot be woken.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// What is sent, and where.
#[derive(Clone, Debug)]
pub(crate) struct TelemetryOptions {
    /// The URL of the collector, without `/v1/traces`.
    pub(crate) endpoint: String,
    /// The share of traces that is sent, from 0 to 1.
    pub(crate) sample: f64,
    /// The time between two looks at the metrics.
    pub(crate) interval: Duration,
    /// A file with headers, such as one for authentication.
    pub(crate) headers: Option<PathBuf>,
    /// `service.name`.
    pub(crate) service: String,
    /// `service.instance.id`; none for one that follows from the machine and the data directory.
    pub(crate) instance: Option<String>,
}

/// What is wrong with a URL as that of a collector, if anything is.
pub(crate) fn check_endpoint(url: &str) -> Result<(), String> {
    OwnServer::new(url, Duration::ZERO).map(drop)
}

/// The telemetry that is sent, until it is ended.
pub(crate) struct Telemetry {
    /// Dropped to end both threads.
    going_on: Sender<()>,
    give_up: Arc<Wakeup>,
    threads: [JoinHandle; 2],
    /// Disconnected once the thread that sends has ended.
    sent: Receiver<()>,
}

/// Telemetry whose options were checked, before there is a theater.
pub(crate) struct PreparedTelemetry {
    options: TelemetryOptions,
    collector: Collector,
    give_up: Arc<Wakeup>,
}

impl PreparedTelemetry {
    /// Checks the options. The error is for the operator.
    pub(crate) fn new(options: TelemetryOptions) -> Result<Self, String> {
        let give_up = Wakeup::new().map_err(|error| format!("no telemetry can be sent: {error}"))?;
        let collector = Collector::new(&options.endpoint, options.headers.clone(), Arc::clone(&give_up))?;
        Ok(Self { options, collector, give_up })
    }

    /// Sends what happens from now on. The error is for the operator.
    pub(crate) fn start(self, theater: &TheaterHandle) -> Result<Telemetry, String> {
        let Self { options, collector, give_up } = self;
        let TelemetryOptions { endpoint, sample, interval, service, instance, .. } = options;
        let instance = instance.unwrap_or_else(|| instance_of(theater));
        let (going_on, ending) = bounded(0);
        let (queue, spans) = bounded(QUEUE);
        let reader = SpanReader::new(theater, sample, queue, ending.clone())
            .map_err(|why| format!("no telemetry can be sent: the journal cannot be read: {why}"))?;
        let sender = sender::Sender {
            theater: theater.clone(),
            collector,
            resource: Resource { service, instance },
            interval,
            spans,
            ending,
            began_ms: clock::unix_ms(),
            trouble: Trouble::default(),
        };
        let (sending, sent) = bounded::<()>(0);
        let no_thread = |error| format!("cannot start a thread for telemetry: {error}");
        let reading = thread::spawn("telemetry", move || reader.run()).map_err(no_thread)?;
        let sending = thread::spawn_sized("otlp", STACK_BYTES, move || {
            sender.run();
            drop(sending);
        });
        let threads = [reading, sending.map_err(no_thread)?];
        log::info!("telemetry is sent to {endpoint}");
        Ok(Telemetry { going_on, give_up, threads, sent })
    }
}

impl Telemetry {
    /// Sends what there is, as far as that does not take long, and ends.
    pub(crate) fn end(self) {
        let Self { going_on, give_up, threads, sent } = self;
        drop(going_on);
        // Nothing is ever sent through this channel: it is disconnected when the thread ends.
        let is_running = || wait::receive_within(&sent, LAST_SENDING).is_err_and(|error| error.is_timeout());
        if is_running() {
            give_up.wake();
            if wait::receive_within(&sent, LAST_WAIT).is_err_and(|error| error.is_timeout()) {
                // It ends with the process.
                return;
            }
        }
        threads.into_iter().for_each(|thread| _ = thread.join());
    }
}

/// Names this runtime among others: it stays the same when it is started again.
fn instance_of(theater: &TheaterHandle) -> String {
    let host = machine::host_name();
    let dir = theater.journal.dir();
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("theater://{}{}", host, dir.display()).as_bytes()).to_string()
}
