//! The work that all do for one request: a counter in the state goes up, two events are hashed behind the last, both and
//! the state are written by one thread that commits once for all that waited, and the answer leaves behind the commit.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, params};
use sha1::{Digest, Sha1};

const CALL: &str = "call ntwk:theater/message-server-client.handle-request";
const RETURN: &str = "return ntwk:theater/message-server-client.handle-request";

pub struct Event {
    actor: i64,
    sequence: i64,
    timestamp: i64,
    event_type: &'static str,
    hash: [u8; 20],
    data: Vec<u8>,
}

/// What one transition leaves to be written, and what is to happen once it is.
pub struct Record {
    events: [Event; 2],
    state: Arc<[u8]>,
    release: Box<dyn FnOnce() + Send>,
}

/// What an actor of any of the systems keeps.
pub struct Chain {
    actor: i64,
    sequence: i64,
    head: [u8; 20],
    state: Arc<[u8]>,
    log: Option<Sender<Record>>,
}

impl Chain {
    pub fn new(actor: usize, state_bytes: usize, log: Option<Sender<Record>>) -> Self {
        Self { actor: actor as i64, sequence: 0, head: [0; 20], state: vec![7; state_bytes].into(), log }
    }

    /// Works on one message; `reply` is called with the answer, at once or behind the commit.
    pub fn transition(&mut self, message: Vec<u8>, reply: impl FnOnce(Vec<u8>) + Send + 'static) {
        let call = self.event(CALL, message.clone());
        let mut state = self.state.to_vec();
        let count = u64::from_le_bytes(*state.first_chunk().expect("a counter")) + 1;
        state[..8].copy_from_slice(&count.to_le_bytes());
        self.state = state.into();
        let data = [&self.state[..], &message].concat();
        let events = [call, self.event(RETURN, data)];
        match &self.log {
            None => reply(message),
            Some(log) => {
                let release = Box::new(move || reply(message));
                log.send(Record { events, state: Arc::clone(&self.state), release }).expect("the writer is there");
            }
        }
    }

    fn event(&mut self, event_type: &'static str, data: Vec<u8>) -> Event {
        let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
        let mut hasher = Sha1::new();
        hasher.update(b"theater-chain-event-v1\0");
        hasher.update(self.sequence.to_be_bytes());
        hasher.update([1]);
        hasher.update(self.head);
        hasher.update(timestamp.to_be_bytes());
        hasher.update(event_type);
        hasher.update(data.len().to_be_bytes());
        hasher.update(Sha1::digest(&data));
        self.head = hasher.finalize().into();
        let (actor, sequence, hash) = (self.actor, self.sequence, self.head);
        self.sequence += 1;
        Event { actor, sequence, timestamp, event_type, hash, data }
    }
}

/// Starts the writer; it ends with the last sender.
pub fn writer(dir: &Path) -> Sender<Record> {
    let connection = Connection::open(dir.join("peer.db")).expect("a database");
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).expect("a log");
    connection.pragma_update(None, "synchronous", "full").expect("a setting");
    let tables = "
        CREATE TABLE events (position INTEGER PRIMARY KEY, actor INTEGER NOT NULL, sequence INTEGER NOT NULL,
            timestamp INTEGER NOT NULL, event_type TEXT NOT NULL, hash BLOB NOT NULL, data BLOB NOT NULL) STRICT;
        CREATE UNIQUE INDEX events_by_actor ON events (actor, sequence);
        CREATE TABLE states (actor INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, state BLOB) STRICT;";
    connection.execute_batch(tables).expect("tables");
    let (log, records) = channel();
    std::thread::spawn(move || write(&connection, &records));
    log
}

fn write(connection: &Connection, records: &Receiver<Record>) {
    let mut position = 0i64;
    while let Ok(first) = records.recv() {
        let (mut states, mut releases) = (HashMap::new(), Vec::new());
        let transaction = connection.unchecked_transaction().expect("a transaction");
        for Record { events, state, release } in std::iter::once(first).chain(records.try_iter()) {
            let mut insert = transaction
                .prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
                .expect("a statement");
            for Event { actor, sequence, timestamp, event_type, hash, data } in events {
                position += 1;
                insert.execute(params![position, actor, sequence, timestamp, event_type, hash, data]).expect("a row");
                states.insert(actor, (sequence, Arc::clone(&state)));
            }
            releases.push(release);
        }
        let mut replace =
            transaction.prepare_cached("INSERT OR REPLACE INTO states VALUES (?1, ?2, ?3)").expect("a statement");
        for (actor, (sequence, state)) in states {
            replace.execute(params![actor, sequence, &*state]).expect("a row");
        }
        drop(replace);
        transaction.commit().expect("committed");
        releases.into_iter().for_each(|release| release());
    }
}
