//! Live updates for a browser: server-sent events, one stream for each browser.
//!
//! A stream holds what its browser was sent, and sends what has changed since. A browser that reads slowly gets fewer updates, and
//! nothing is queued for it.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tiny_http::Request as HttpRequest;

use super::pulse::{Moment, Pulse};
use super::rows::Row;
use crate::base::{clock, thread};

/// So many browsers may look on.
const STREAMS: usize = 64;

/// A stream that has nothing to say says so, and finds out whether its browser is still there.
const HEARTBEAT: Duration = Duration::from_secs(10);

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
                      X-Accel-Buffering: no\r\nConnection: close\r\n\r\n";

/// The streams that are open.
pub(super) struct Streams {
    pulse: Arc<Pulse>,
    open: Mutex<usize>,
}

impl Streams {
    pub(super) fn new(pulse: Arc<Pulse>) -> Self {
        Self { pulse, open: Mutex::new(0) }
    }

    /// Answers a request by a stream, on a thread of its own; gives the request back if there are too many streams, or no thread
    /// is left.
    pub(super) fn begin(self: &Arc<Self>, request: HttpRequest) -> Result<(), (HttpRequest, String)> {
        {
            let mut open = self.open.lock();
            if *open >= STREAMS {
                return Err((request, format!("{STREAMS} browsers look on already: close one")));
            }
            *open += 1;
        }
        let streams = Arc::clone(self);
        let begun = thread::spawn_with("console-stream", thread::STACK_BYTES, request, move |request| {
            // The browser has gone if writing fails.
            _ = streams.write(&mut request.into_writer());
            *streams.open.lock() -= 1;
        });
        match begun {
            Ok(_) => Ok(()),
            Err((error, request)) => {
                *self.open.lock() -= 1;
                Err((request, error.to_string()))
            }
        }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let _watching = self.pulse.watch();
        out.write_all(HEAD)?;
        let (moment, samples) = self.pulse.now();
        let mut sent = Sent::default();
        let mut number = moment.number;
        let first = json!({ "samples": samples, "summary": &*moment.summary, "rows": shown(&sent.changes(&moment).0) });
        tell(out, "snapshot", &first.to_string())?;
        loop {
            let Some(moment) = self.pulse.after(number, clock::after(HEARTBEAT)) else {
                out.write_all(b": nothing new\n\n")?;
                out.flush()?;
                continue;
            };
            number = moment.number;
            let (rows, gone) = sent.changes(&moment);
            let update = json!({ "summary": &*moment.summary, "rows": shown(&rows), "gone": gone });
            tell(out, "update", &update.to_string())?;
        }
    }
}

fn shown(rows: &[Arc<Row>]) -> Vec<&Row> {
    rows.iter().map(AsRef::as_ref).collect()
}

/// JSON has no line feeds, so an event is one line of data.
fn tell(out: &mut impl Write, event: &str, json: &str) -> io::Result<()> {
    write!(out, "event: {event}\ndata: {json}\n\n")?;
    out.flush()
}

/// The rows that a browser has.
#[derive(Default)]
struct Sent(HashMap<String, Arc<Row>>);

impl Sent {
    /// The rows that the browser lacks, and the ids of those that are no more.
    fn changes(&mut self, moment: &Moment) -> (Vec<Arc<Row>>, Vec<String>) {
        let mut changed = Vec::new();
        for row in moment.rows.iter() {
            if self.0.get(&row.actor.id).is_none_or(|sent| !Arc::ptr_eq(sent, row)) {
                self.0.insert(row.actor.id.clone(), Arc::clone(row));
                changed.push(Arc::clone(row));
            }
        }
        let mut gone = Vec::new();
        if self.0.len() > moment.rows.len() {
            let there: HashSet<&str> = moment.rows.iter().map(|row| row.actor.id.as_str()).collect();
            gone = self.0.keys().filter(|id| !there.contains(id.as_str())).cloned().collect();
            gone.iter().for_each(|id| drop(self.0.remove(id)));
        }
        (changed, gone)
    }
}
