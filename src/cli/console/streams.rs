//! Live updates for browsers: server-sent events, one stream for each browser.
//!
//! A stream holds what its browser was sent, and sends what has changed since. A browser that reads slowly misses updates, and is
//! sent everything once it reads again: only one queue of bounded size is kept for it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::json;

use super::moment::{Sample, ShownMoment};
use super::rows::TreeRow;
use crate::net::http::{StreamBody, WireAnswer, WireResponse};
use crate::net::{ClientQueue, PieceFraming};

/// So many browsers may look on.
const STREAMS: usize = 64;

/// What may wait for one browser: about the rows of 20,000 actors.
const QUEUED_BYTES: usize = 16 * 1024 * 1024;

/// The streams that are open.
#[derive(Default)]
pub(super) struct Streams(Mutex<Vec<Stream>>);

struct Stream {
    queue: Arc<ClientQueue>,
    sent: Sent,
}

impl Streams {
    /// How many browsers look on.
    pub(super) fn count(&self) -> usize {
        self.0.lock().len()
    }

    /// A new stream, which begins with everything; or why there is none. `head` is the head of the answer.
    pub(super) fn open(
        &self,
        head: WireResponse,
        framing: PieceFraming,
        moment: &ShownMoment,
        samples: &[Sample],
    ) -> Result<WireAnswer, String> {
        let mut open = self.0.lock();
        if open.len() >= STREAMS {
            return Err(format!("{STREAMS} browsers look on already: close one"));
        }
        let queue = ClientQueue::new(framing, QUEUED_BYTES);
        let mut sent = Sent::default();
        let first = snapshot(&mut sent, moment, samples);
        open.push(Stream { queue: Arc::clone(&queue), sent });
        let body = StreamBody::new(queue, || ());
        Ok(WireAnswer { response: head.with_body(first.into_bytes()), stream: Some(body) })
    }

    /// Tells every browser what has changed.
    pub(super) fn tell(&self, moment: &ShownMoment, samples: &[Sample]) {
        let mut open = self.0.lock();
        open.retain(|stream| !stream.queue.is_over());
        for Stream { queue, sent } in open.iter_mut() {
            let event = if sent.is_behind { snapshot(sent, moment, samples) } else { update(sent, moment) };
            let piece = queue.framed(event.as_bytes());
            let room = piece.len();
            sent.is_behind = queue.reserve(room).is_err();
            if !sent.is_behind {
                queue.put(piece, room);
                queue.flush_later();
            }
        }
    }
}

fn snapshot(sent: &mut Sent, moment: &ShownMoment, samples: &[Sample]) -> String {
    *sent = Sent::default();
    let rows = sent.changes(moment).0;
    event("snapshot", &json!({ "samples": samples, "summary": &*moment.summary, "rows": shown(&rows) }))
}

fn update(sent: &mut Sent, moment: &ShownMoment) -> String {
    let (rows, gone) = sent.changes(moment);
    event("update", &json!({ "summary": &*moment.summary, "rows": shown(&rows), "gone": gone }))
}

fn shown(rows: &[Arc<TreeRow>]) -> Vec<&TreeRow> {
    rows.iter().map(AsRef::as_ref).collect()
}

/// JSON has no line feeds, so an event is one line of data.
fn event(name: &str, json: &serde_json::Value) -> String {
    format!("event: {name}\ndata: {json}\n\n")
}

/// What a browser was sent.
#[derive(Default)]
struct Sent {
    rows: HashMap<String, Arc<TreeRow>>,
    /// Something that the browser needs did not fit its queue.
    is_behind: bool,
}

impl Sent {
    /// The rows that the browser lacks, and the ids of those that are no more.
    fn changes(&mut self, moment: &ShownMoment) -> (Vec<Arc<TreeRow>>, Vec<String>) {
        let mut changed = Vec::new();
        for row in moment.rows.iter() {
            if self.rows.get(&row.actor.id).is_none_or(|sent| !Arc::ptr_eq(sent, row)) {
                self.rows.insert(row.actor.id.clone(), Arc::clone(row));
                changed.push(Arc::clone(row));
            }
        }
        let mut gone = Vec::new();
        if self.rows.len() > moment.rows.len() {
            let there: HashSet<&str> = moment.rows.iter().map(|row| row.actor.id.as_str()).collect();
            gone = self.rows.keys().filter(|id| !there.contains(id.as_str())).cloned().collect();
            gone.iter().for_each(|id| drop(self.rows.remove(id)));
        }
        (changed, gone)
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::Before;
    use super::*;

    fn moment(number: u64, before: &mut Before, names: &[&str]) -> ShownMoment {
        let view = |name: &&str| {
            serde_json::from_value(json!({
                "id": name, "name": name, "parent": null, "status": "running", "failure": null, "incarnation": 1,
                "mailbox_depth": 0, "addresses": [], "manifest": "", "since_ms": 0
            }))
            .expect("an actor")
        };
        let rows = before.next(names.iter().map(view).collect(), Vec::new(), None);
        ShownMoment { number, rows: Arc::new(rows), summary: Arc::default() }
    }

    fn head() -> WireResponse {
        WireResponse::text(200, "", &[])
    }

    #[test]
    fn an_update_has_what_has_changed_and_what_has_gone() {
        let mut before = Before::default();
        let mut sent = Sent::default();
        assert_eq!(sent.changes(&moment(1, &mut before, &["a", "b"])).0.len(), 2);
        let (changed, gone) = sent.changes(&moment(2, &mut before, &["b", "c"]));
        assert_eq!(changed.iter().map(|row| row.actor.id.as_str()).collect::<Vec<_>>(), ["c"]);
        assert_eq!(gone, ["a"]);
    }

    #[test]
    fn a_browser_too_many_is_refused_and_one_that_has_gone_makes_room() {
        let streams = Streams::default();
        let first = moment(1, &mut Before::default(), &["a"]);
        let open = || streams.open(head(), PieceFraming::Chunked, &first, &[]);
        let mut answers: Vec<Option<WireAnswer>> = (0..STREAMS).map(|_| open().ok()).collect();
        assert!(answers.iter().all(Option::is_some), "there is room");
        assert!(open().is_err_and(|why| why.contains("close one")));
        drop(answers.pop());
        streams.tell(&first, &[]);
        assert_eq!(streams.count(), STREAMS - 1);
        assert!(open().is_ok());
    }

    #[test]
    fn a_browser_that_does_not_read_is_sent_everything_once_it_reads_again() {
        let streams = Streams::default();
        let mut before = Before::default();
        let name = "x".repeat(1024 * 1024);
        let first = moment(1, &mut before, &[&name]);
        let unread = streams.open(head(), PieceFraming::Bare, &first, &[]);
        assert!(unread.is_ok(), "there is room");
        for number in 0..40_u64 {
            // Each time another actor of a mebibyte.
            let other = format!("{number}{name}");
            streams.tell(&moment(number, &mut before, &[&other]), &[]);
        }
        let open = streams.0.lock();
        assert!(open[0].sent.is_behind, "no more than {QUEUED_BYTES} bytes are kept for it");
    }
}
