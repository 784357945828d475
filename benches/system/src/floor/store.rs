//! A log alone: a file that batches are appended to, each with one write and one sync, room reserved ahead.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use sha1::{Digest, Sha1};
use theater::Durability;

pub type Hash = [u8; 20];

/// What one event says.
pub struct Event {
    pub actor: i64,
    pub sequence: i64,
    pub timestamp: i64,
    pub event_type: &'static str,
    pub hash: Hash,
    pub data: Vec<u8>,
}

pub struct PlainLog {
    file: File,
    durability: Durability,
    /// Of the open batch.
    bytes: Vec<u8>,
    length: u64,
    reserved: u64,
}

/// A state up to this size stands in the event alone. A larger one is named there, and stays in memory.
pub const INLINE_STATE: usize = 4096;

/// As much as the journal reserves behind its last batch.
const AHEAD: u64 = 4 * 1024 * 1024;

impl PlainLog {
    pub fn open(dir: &Path, durability: Durability) -> Self {
        std::fs::create_dir_all(dir).expect("a directory");
        let file = File::create(dir.join("floor.log")).expect("a file");
        Self { file, durability, bytes: Vec::new(), length: 0, reserved: 0 }
    }

    /// One commit of what `write` writes.
    pub fn commit(&mut self, write: impl FnOnce(&mut Self)) {
        write(self);
        let end = self.length + self.bytes.len() as u64;
        if end > self.reserved {
            self.reserved = end + AHEAD;
            fallocate(&self.file, FallocateFlags::empty(), 0, self.reserved).expect("room");
        }
        self.file.write_all_at(&self.bytes, self.length).expect("written");
        if self.durability == Durability::Commit {
            self.file.sync_data().expect("synced");
        }
        self.length = end;
        self.bytes.clear();
    }

    /// An event, with its type as one byte, as if all readers knew the list of types.
    pub fn event(&mut self, event: &Event) {
        let Event { actor, sequence, timestamp, event_type, hash, data } = event;
        let [actor, sequence, length] = [*actor, *sequence, data.len() as i64].map(|number| number as u32);
        self.bytes.extend([actor, sequence, length].map(u32::to_be_bytes).as_flattened());
        self.bytes.extend(timestamp.to_be_bytes());
        self.bytes.push(event_type.len() as u8);
        self.bytes.extend(hash);
        self.bytes.extend(data);
    }
}

impl Drop for PlainLog {
    fn drop(&mut self) {
        self.file.set_len(self.length).expect("given back");
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
