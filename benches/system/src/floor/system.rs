//! Actors made of the bare parts: a thread and a queue each, the same guest, the same hashes, a plain log, one commit
//! for all that waited, answers behind the commit.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use theater::Durability;

use super::guest::{FloorGuest, Standing};
use super::queue::{Queue, Slot};
use super::store::{Event, Hash, INLINE_STATE, PlainLog, event_hash};

pub const CALL: &str = "call ntwk:theater/message-server-client.handle-request";
pub const RETURN: &str = "return ntwk:theater/message-server-client.handle-request";
/// What the recorded parameters and results have around them.
const CALL_FRAMING: usize = 56;
const RETURN_FRAMING: usize = 40;

/// What the actors are to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Layers {
    /// One instance serves all calls; else each call gets its own.
    pub reuse: bool,
    pub chain: bool,
    /// Events are appended to a log, synced or not.
    pub log: Option<Durability>,
}

pub type Answer = Arc<Slot<Vec<u8>>>;

/// A message, and who waits for its answer.
type Delivery = Option<(Vec<u8>, Option<Answer>)>;

enum Record {
    Event(Event),
    Release(Answer, Vec<u8>),
    Close,
}

pub struct System {
    actors: Vec<Arc<Queue<Delivery>>>,
    threads: Vec<JoinHandle<()>>,
    log: Option<(Arc<Queue<Record>>, JoinHandle<()>)>,
    sent: AtomicI64,
}

impl System {
    pub fn start(dir: &Path, guest: &Arc<FloorGuest>, actors: usize, state_bytes: usize, layers: Layers) -> Self {
        let log = layers.log.map(|durability| {
            let queue = Arc::new(Queue::default());
            let (dir, records) = (dir.to_owned(), Arc::clone(&queue));
            let writer = Builder::new().name("floor-log".into()).spawn(move || append(PlainLog::open(&dir, durability), &records));
            (queue, writer.expect("a thread"))
        });
        let mut queues = Vec::new();
        let threads = (0..actors)
            .map(|number| {
                let queue = Arc::new(Queue::default());
                queues.push(Arc::clone(&queue));
                let actor = Actor {
                    key: number as i64 + 1,
                    guest: Arc::clone(guest),
                    standing: None,
                    layers,
                    log: log.as_ref().map(|(queue, _)| Arc::clone(queue)),
                    sequence: 0,
                    head: [0; 20],
                    state: vec![7; state_bytes].into(),
                };
                let builder = Builder::new().name(format!("floor-{number}")).stack_size(512 * 1024);
                builder.spawn(move || actor.serve(&queue)).expect("a thread")
            })
            .collect();
        Self { actors: queues, threads, log, sent: AtomicI64::new(0) }
    }

    pub fn request(&self, actor: usize, answer: &Answer, message: &[u8]) -> Vec<u8> {
        self.actors[actor].push(Some((message.to_vec(), Some(Arc::clone(answer)))));
        answer.wait()
    }

    /// Sends without an answer; what the sender records of it is the caller's.
    pub fn send(&self, actor: usize, message: &[u8]) {
        self.actors[actor].push(Some((message.to_vec(), None)));
    }

    /// Records a send, as its sender would.
    pub fn record_send(&self, head: &mut Hash, message: &[u8]) {
        let sequence = self.sent.fetch_add(1, Ordering::Relaxed);
        let data = [&[0; 96], message].concat();
        let event_type = "host-call ntwk:theater/message-server-host.send";
        *head = event_hash(sequence, head, now(), event_type, &data);
        if let Some((log, _)) = &self.log {
            let event = Event { actor: 0, sequence, timestamp: now(), event_type, hash: *head, data };
            log.push(Record::Event(event));
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.actors.iter().for_each(|actor| actor.push(None));
        self.threads.drain(..).for_each(|thread| thread.join().expect("an actor"));
        if let Some((queue, writer)) = self.log.take() {
            queue.push(Record::Close);
            writer.join().expect("the writer");
        }
    }
}

struct Actor {
    key: i64,
    guest: Arc<FloorGuest>,
    standing: Option<Standing>,
    layers: Layers,
    log: Option<Arc<Queue<Record>>>,
    sequence: i64,
    head: Hash,
    state: Arc<[u8]>,
}

impl Actor {
    fn serve(mut self, queue: &Queue<Delivery>) {
        while let Some((message, answer)) = queue.pop() {
            let reply = self.transition(&message);
            match (answer, &self.log) {
                (Some(answer), Some(log)) => log.push(Record::Release(answer, reply)),
                (Some(answer), None) => answer.put(reply),
                (None, _) => {}
            }
        }
    }

    fn transition(&mut self, message: &[u8]) -> Vec<u8> {
        self.record(CALL, CALL_FRAMING, &[message]);
        if self.standing.is_none() || !self.layers.reuse {
            self.standing = None;
            self.standing = Some(self.guest.stand());
        }
        let standing = self.standing.as_mut().expect("just made");
        let (state, reply) = standing.call(Some(&self.state), message);
        self.state = state.expect("it keeps one").into();
        let state = Arc::clone(&self.state);
        if state.len() <= INLINE_STATE {
            self.record(RETURN, RETURN_FRAMING, &[&state, &reply]);
        } else {
            let named = if self.layers.chain { super::parts::plain_sha1(&state) } else { [0; 20] };
            self.record(RETURN, RETURN_FRAMING, &[&named, &reply]);
        }
        reply
    }

    fn record(&mut self, event_type: &'static str, framing: usize, parts: &[&[u8]]) {
        if !self.layers.chain {
            return;
        }
        let mut data = vec![0; framing];
        parts.iter().for_each(|part| data.extend_from_slice(part));
        let timestamp = now();
        self.head = event_hash(self.sequence, &self.head, timestamp, event_type, &data);
        if let Some(log) = &self.log {
            let (actor, sequence, hash) = (self.key, self.sequence, self.head);
            log.push(Record::Event(Event { actor, sequence, timestamp, event_type, hash, data }));
        }
        self.sequence += 1;
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

fn append(mut log: PlainLog, records: &Queue<Record>) {
    let mut batch = VecDeque::new();
    let mut releases = Vec::new();
    let mut open = true;
    while open {
        records.take(&mut batch);
        log.commit(|log| {
            for record in batch.drain(..) {
                match record {
                    Record::Event(event) => log.event(&event),
                    Record::Release(answer, reply) => releases.push((answer, reply)),
                    Record::Close => open = false,
                }
            }
        });
        releases.drain(..).for_each(|(answer, reply)| answer.put(reply));
    }
}
