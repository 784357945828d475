//! SQLite alone, with the tables that the journal had in format 4 and the rows that it wrote for a transition.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, params};
use sha1::{Digest, Sha1};
use theater::Durability;

pub type Hash = [u8; 20];

/// One row of `events`.
pub struct Event {
    pub actor: i64,
    pub sequence: i64,
    pub timestamp: i64,
    pub event_type: &'static str,
    pub hash: Hash,
    pub data: Vec<u8>,
}

pub struct Rows {
    connection: Connection,
    position: i64,
    /// By actor: where its last event stands, and which event led to its state.
    heads: HashMap<i64, (i64, Option<i64>)>,
    /// Of the open commit.
    touched: BTreeSet<i64>,
    states: HashMap<i64, (i64, Arc<[u8]>)>,
}

/// A state up to this size stands in the event alone.
pub const INLINE_STATE: usize = 4096;

/// The tables of the journal as it was in format 4, when it was a database: what peers with SQLite write too.
const TABLES: &str = "
    CREATE TABLE metadata (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;
    CREATE TABLE components (digest BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
    CREATE TABLE blobs (sha1 BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
    CREATE TABLE actors (
        actor INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        parent TEXT,
        incarnation INTEGER NOT NULL,
        component BLOB NOT NULL,
        manifest TEXT NOT NULL,
        manifest_path TEXT NOT NULL,
        alive INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        started INTEGER NOT NULL DEFAULT 0,
        listed INTEGER NOT NULL DEFAULT 1
    ) STRICT;
    CREATE TABLE events (
        position INTEGER PRIMARY KEY,
        actor INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        previous INTEGER,
        timestamp INTEGER NOT NULL,
        event_type TEXT NOT NULL,
        hash BLOB NOT NULL,
        data BLOB NOT NULL,
        dropped INTEGER
    ) STRICT;
    CREATE TABLE states (
        actor INTEGER NOT NULL,
        slot INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        state BLOB,
        sha1 BLOB,
        PRIMARY KEY (actor, slot)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE pending (
        cause_actor TEXT NOT NULL,
        cause_sequence INTEGER NOT NULL,
        receiver TEXT NOT NULL,
        position INTEGER NOT NULL,
        notice TEXT,
        PRIMARY KEY (cause_actor, cause_sequence)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE uses (
        sha1 BLOB NOT NULL,
        user INTEGER NOT NULL,
        PRIMARY KEY (sha1, user)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE heads (
        actor INTEGER PRIMARY KEY,
        position INTEGER NOT NULL,
        state INTEGER,
        dropped INTEGER,
        seal INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX milestones ON events (actor, sequence) WHERE sequence % 64 = 63;
    CREATE INDEX landmarks ON events (actor, event_type, sequence)
        WHERE (event_type = 'started' OR event_type = 'failed' OR event_type = 'return ntwk:theater/actor.init');
    INSERT INTO metadata VALUES ('digest', zeroblob(20));
";

impl Rows {
    pub fn open(dir: &Path, durability: Durability) -> Self {
        std::fs::create_dir_all(dir).expect("a directory");
        let connection = Connection::open(dir.join("rows.db")).expect("a database");
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).expect("a log");
        let synchronous = match durability {
            Durability::Commit => "full",
            Durability::Relaxed => "normal",
            other => unreachable!("{other:?} is not measured"),
        };
        connection.pragma_update(None, "synchronous", synchronous).expect("a setting");
        connection.execute_batch(TABLES).expect("tables");
        connection.set_prepared_statement_cache_capacity(32);
        let (heads, touched, states) = (HashMap::new(), BTreeSet::new(), HashMap::new());
        Self { connection, position: 0, heads, touched, states }
    }

    /// One commit of what `write` writes.
    pub fn commit(&mut self, write: impl FnOnce(&mut Self)) {
        self.run("BEGIN IMMEDIATE", ());
        write(self);
        for actor in std::mem::take(&mut self.touched) {
            let (position, state) = self.heads[&actor];
            self.run(
                "INSERT OR REPLACE INTO heads VALUES (?1, ?2, ?3, NULL, ?4)",
                params![actor, position, state, i64::MAX],
            );
        }
        for (actor, (sequence, state)) in std::mem::take(&mut self.states) {
            let replace = "INSERT OR REPLACE INTO states (actor, slot, sequence, state) VALUES (?1, 0, ?2, ?3)";
            self.run(replace, params![actor, sequence, state]);
        }
        let digest: Hash = [1; 20];
        self.run("UPDATE metadata SET value = ?1 WHERE key = 'digest'", [digest]);
        self.run("COMMIT", ());
    }

    /// An event, and the state it led to, if it did.
    pub fn event(&mut self, event: &Event, state: Option<Arc<[u8]>>) {
        self.position += 1;
        let Event { actor, sequence, timestamp, event_type, hash, data } = event;
        let before = self.heads.get(actor).copied();
        self.run(
            "INSERT INTO events (position, actor, sequence, previous, timestamp, event_type, hash, data)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![self.position, actor, sequence, before.map(|it| it.0), timestamp, event_type, hash, data],
        );
        let led = state.as_ref().map(|_| *sequence).or(before.and_then(|it| it.1));
        self.heads.insert(*actor, (self.position, led));
        self.touched.insert(*actor);
        if let Some(state) = state.filter(|state| state.len() > INLINE_STATE) {
            self.states.insert(*actor, (*sequence, state));
        }
    }

    fn run(&self, statement: &str, params: impl rusqlite::Params) {
        let ran = self.connection.prepare_cached(statement).and_then(|mut statement| statement.execute(params));
        ran.expect("a row");
    }
}

/// The chain's hash as `docs/chain-format.md` has it, of an event behind `parent`.
pub fn event_hash(sequence: i64, parent: &Hash, timestamp: i64, event_type: &str, data: &[u8]) -> Hash {
    let data_hash = Sha1::digest(data);
    let mut hasher = Sha1::new();
    hasher.update(b"theater-chain-event-v1\0");
    hasher.update(sequence.to_be_bytes());
    hasher.update([1]);
    hasher.update(parent);
    hasher.update(timestamp.to_be_bytes());
    hasher.update((event_type.len() as u32).to_be_bytes());
    hasher.update(event_type);
    hasher.update((data.len() as u64).to_be_bytes());
    hasher.update(data_hash);
    hasher.finalize().into()
}
