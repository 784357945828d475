//! SQLite alone, with the journal's own tables (made by the product, so that they cannot differ) and the rows that it
//! writes for a transition.

use std::path::Path;

use rusqlite::{Connection, params};
use sha1::{Digest, Sha1};
use theater::{Config, Durability, TheaterRuntime};

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
}

/// An empty journal in `dir`, made and closed by the product.
pub fn make_journal(dir: &Path) {
    let config = Config { data_dir: Some(dir.to_owned()), ..Config::default() };
    TheaterRuntime::start(config).expect("a journal").shutdown();
}

impl Rows {
    pub fn open(dir: &Path, durability: Durability) -> Self {
        make_journal(dir);
        let connection = Connection::open(dir.join("journal.db")).expect("the journal");
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).expect("a log");
        let synchronous = match durability {
            Durability::Commit => "full",
            Durability::Relaxed => "normal",
        };
        connection.pragma_update(None, "synchronous", synchronous).expect("a setting");
        connection.set_prepared_statement_cache_capacity(32);
        Self { connection, position: 0 }
    }

    /// One commit of what `write` writes.
    pub fn commit(&mut self, write: impl FnOnce(&Connection, &mut i64)) {
        let transaction = self.connection.unchecked_transaction().expect("a transaction");
        write(&transaction, &mut self.position);
        let digest: Hash = [1; 20];
        let mut update =
            transaction.prepare_cached("UPDATE metadata SET value = ?1 WHERE key = 'digest'").expect("a statement");
        update.execute([digest]).expect("a row");
        drop(update);
        transaction.commit().expect("committed");
    }
}

pub fn write_event(rows: &Connection, position: &mut i64, event: &Event) {
    *position += 1;
    rows.prepare_cached(
        "INSERT INTO events (position, actor, sequence, timestamp, event_type, hash, data)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .and_then(|mut insert| {
        let Event { actor, sequence, timestamp, event_type, hash, data } = event;
        insert.execute(params![*position, actor, sequence, timestamp, event_type, hash, data])
    })
    .expect("a row");
}

pub fn write_state(rows: &Connection, actor: i64, sequence: i64, state: &[u8]) {
    rows.prepare_cached("INSERT OR REPLACE INTO states (actor, slot, sequence, state) VALUES (?1, 0, ?2, ?3)")
        .and_then(|mut insert| insert.execute(params![actor, sequence, state]))
        .expect("a row");
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
