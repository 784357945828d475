//! What a runtime does at the moment: measured once a second, however many browsers look on.
//!
//! A measurement asks for the totals, and, while a browser is there, for every actor. If one takes long, the next one comes later, but
//! not much: a page must not call old what it shows as live.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::moment::{Sample, ShownMoment, Summary};
use super::rows::{Before, TreeRow, recent_p99};
use super::runtime::Runtime;
use super::streams::Streams;
use crate::base::{clock, thread, wait};
use crate::net::PieceFraming;
use crate::net::http::{WireAnswer, WireResponse};
use crate::server::protocol::{
    ActorMetricsView, ActorView, JournalMetricsView, ProcessView, Request, Response, Totals,
};
use crate::server::{Client, ClientError, unexpected};

/// The time between two measurements while a browser is there, and while there is none.
const WATCHED: Duration = Duration::from_secs(1);
const UNWATCHED: Duration = Duration::from_secs(5);
/// A measurement is followed by so many times as much rest, and by no more than [`UNWATCHED`].
const REST: u32 = 15;

/// So many actors are shown, the oldest: a runtime that lists more, or for ever, does no harm.
const SHOWN_ACTORS: usize = 100_000;

/// The charts go back so far.
const CHARTED_MS: u64 = 15 * 60 * 1000;

struct Hub {
    moment: ShownMoment,
    samples: VecDeque<Sample>,
    /// Whether a browser has come since the last measurement began.
    has_joined: bool,
}

/// The measurements, and the browsers that are told of them.
pub(super) struct Pulse {
    hub: Mutex<Hub>,
    /// A browser has come.
    joined: Condvar,
    streams: Streams,
}

impl Pulse {
    /// Starts the thread that measures.
    pub(super) fn start(runtime: Arc<Runtime>) -> io::Result<Arc<Self>> {
        let moment = ShownMoment { number: 0, rows: Arc::default(), summary: Arc::default() };
        let hub = Mutex::new(Hub { moment, samples: VecDeque::new(), has_joined: false });
        let pulse = Arc::new(Self { hub, joined: Condvar::new(), streams: Streams::default() });
        let measuring = Arc::clone(&pulse);
        // The thread runs as long as the process does.
        drop(thread::spawn("console-pulse", move || measuring.run(&runtime))?);
        Ok(pulse)
    }

    /// A stream for a browser: `head` is the head of the answer. An error says why there is none.
    pub(super) fn join(&self, head: WireResponse, framing: PieceFraming) -> Result<WireAnswer, String> {
        let (moment, samples) = {
            let hub = self.hub.lock();
            (hub.moment.clone(), hub.samples.iter().copied().collect::<Vec<_>>())
        };
        let answer = self.streams.open(head, framing, &moment, &samples)?;
        self.hub.lock().has_joined = true;
        self.joined.notify_all();
        Ok(answer)
    }

    fn run(&self, runtime: &Runtime) {
        let mut earlier = Earlier::default();
        loop {
            let begun = clock::now();
            self.hub.lock().has_joined = false;
            let browsers = self.streams.count();
            let is_watched = browsers > 0;
            let measured = runtime.read(|client| measure(client, is_watched));
            self.publish(runtime, &mut earlier, measured, browsers);
            let rest = if is_watched { WATCHED } else { UNWATCHED }.max(clock::since(begun) * REST).min(UNWATCHED);
            let until = clock::after(rest);
            let mut hub = self.hub.lock();
            // The first browser does not wait for the next round.
            while is_watched || !hub.has_joined {
                if !wait::notified_until(&self.joined, &mut hub, until) {
                    break;
                }
            }
        }
    }

    fn publish(
        &self,
        runtime: &Runtime,
        earlier: &mut Earlier,
        measured: Result<Measured, ClientError>,
        browsers: usize,
    ) {
        let (number, rows) = {
            let hub = self.hub.lock();
            (hub.moment.number + 1, Arc::clone(&hub.moment.rows))
        };
        let server = runtime.endpoint();
        let (rows, summary) = match measured {
            Ok(measured) => {
                let role = *earlier.role.get_or_insert_with(|| runtime.role().unwrap_or("read"));
                earlier.take(measured, browsers > 0, rows, Summary { server, role, browsers, ..Summary::default() })
            }
            Err(why) => {
                *earlier = Earlier::default();
                (rows, Summary { error: Some(why.to_string()), server, ..Summary::default() })
            }
        };
        let mut hub = self.hub.lock();
        if let Some(sample) = summary.sample {
            hub.samples.push_back(sample);
            while hub.samples.front().is_some_and(|first| first.at + CHARTED_MS < sample.at) {
                hub.samples.pop_front();
            }
        }
        hub.moment = ShownMoment { number, rows, summary: Arc::new(summary) };
        let (moment, samples) = (hub.moment.clone(), hub.samples.iter().copied().collect::<Vec<_>>());
        drop(hub);
        self.streams.tell(&moment, &samples);
    }
}

/// The answers of a runtime.
struct Measured {
    version: String,
    data_dir: String,
    total: Totals,
    process: ProcessView,
    journal: Option<JournalMetricsView>,
    actors: Vec<ActorView>,
    metrics: Vec<ActorMetricsView>,
}

fn measure(client: &mut Client, with_actors: bool) -> Result<Measured, ClientError> {
    let (version, data_dir, total, process, journal) = match client.ask(&Request::Status)? {
        Response::Status { version, data_dir, total, process, journal, .. } => {
            (version, data_dir, *total, process, journal.map(|journal| *journal))
        }
        other => return Err(unexpected(&other)),
    };
    let (mut actors, mut metrics) = (Vec::new(), Vec::new());
    if with_actors {
        let (mut from, mut pages) = (Some(0), 0);
        while let Some(at) = from.filter(|_| actors.len() < SHOWN_ACTORS && pages < SHOWN_ACTORS / 100) {
            match client.ask(&Request::GetActors { from: at, limit: None })? {
                Response::Actors { actors: page, next } => {
                    actors.extend(page);
                    from = next.filter(|next| *next > at);
                }
                other => return Err(unexpected(&other)),
            }
            pages += 1;
        }
        (from, pages) = (Some(0), 0);
        while let Some(at) = from.filter(|_| metrics.len() < SHOWN_ACTORS && pages < SHOWN_ACTORS / 100) {
            match client.ask(&Request::GetMetrics { from: at, limit: None })? {
                Response::MetricsPage { actors: page, next } => {
                    metrics.extend(page);
                    from = next.filter(|next| *next > at);
                }
                other => return Err(unexpected(&other)),
            }
            pages += 1;
        }
    }
    Ok(Measured { version, data_dir, total, process, journal, actors, metrics })
}

/// What the rates of the next measurement are computed from.
#[derive(Default)]
struct Earlier {
    /// What the console may do; asked again after the runtime was gone.
    role: Option<&'static str>,
    rows: Before,
    rows_at: Option<Instant>,
    counted: Option<(Instant, Totals, JournalMetricsView)>,
}

impl Earlier {
    fn take(
        &mut self,
        measured: Measured,
        with_actors: bool,
        rows: Arc<Vec<Arc<TreeRow>>>,
        summary: Summary,
    ) -> (Arc<Vec<Arc<TreeRow>>>, Summary) {
        let now = clock::now();
        let Measured { version, data_dir, total, process, journal, actors, metrics } = measured;
        let rows = if with_actors {
            let time = self.rows_at.replace(now).map(|then| now - then);
            Arc::new(self.rows.next(actors, metrics, time))
        } else {
            rows
        };
        let sample = journal.as_ref().and_then(|journal| {
            let before = self.counted.replace((now, total.clone(), journal.clone()));
            let (then, total_then, journal_then) = before?;
            let per_second =
                |now: u64, before: u64| now.saturating_sub(before) as f64 / (clock::since(then)).as_secs_f64();
            let (count, count_then) = (&total.counts, &total_then.counts);
            Some(Sample {
                at: clock::unix_ms(),
                calls: per_second(count.calls, count_then.calls),
                refusals: per_second(count.refusals, count_then.refusals),
                events: per_second(journal.events, journal_then.events),
                commits: per_second(journal.commit_us.count, journal_then.commit_us.count),
                commit_p99_us: recent_p99(&journal.commit_us, &journal_then.commit_us.buckets).unwrap_or(0),
                log_bytes: journal.log_bytes,
                waiting: count.mailbox_depth,
                resident_bytes: process.resident_bytes,
            })
        });
        (rows, Summary { version, data_dir, total: Some(total), process, journal, sample, ..summary })
    }
}
