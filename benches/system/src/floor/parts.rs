//! The parts one at a time.

use std::path::Path;
use std::sync::Arc;

use sha1::{Digest, Sha1};
use theater::Durability;

use super::guest::FloorGuest;
use super::queue::{Queue, Slot};
use super::store::{Event, Hash, PlainLog, event_hash};
use super::system::{CALL, RETURN};
use crate::load::Effort;

pub fn plain_sha1(bytes: &[u8]) -> Hash {
    Sha1::digest(bytes).into()
}

pub fn checked_sha1(bytes: &[u8]) -> Hash {
    let mut hasher = sha1_checked::Sha1::builder().safe_hash(false).build();
    sha1_checked::Digest::update(&mut hasher, bytes);
    (*hasher.try_finalize().hash()).into()
}

/// Nanoseconds for a hand-off to a parked thread and back.
pub fn hand_off(effort: &Effort) -> f64 {
    let (queue, answer) = (Arc::new(Queue::<bool>::default()), Arc::new(Slot::<()>::default()));
    let (served, answered) = (Arc::clone(&queue), Arc::clone(&answer));
    let server = std::thread::spawn(move || {
        while served.pop() {
            answered.put(());
        }
    });
    let time = effort.median(|| {
        effort.time(|| {
            queue.push(true);
            answer.wait();
        })
    });
    queue.push(false);
    server.join().expect("the server");
    time
}

/// Nanoseconds for a call, on one instance or each on its own.
pub fn guest_call(effort: &Effort, guest: &FloorGuest, state_bytes: usize, message: &[u8], reuse: bool) -> f64 {
    call_with(effort, guest, &vec![7; state_bytes], message, reuse)
}

/// The same of a guest whose state has to make sense to it.
pub fn call_with(effort: &Effort, guest: &FloorGuest, state: &[u8], message: &[u8], reuse: bool) -> f64 {
    let mut standing = None;
    effort.median(|| {
        effort.time(|| {
            if !reuse {
                standing = None;
            }
            standing.get_or_insert_with(|| guest.stand()).call(Some(state), message);
        })
    })
}

/// Nanoseconds to hash one event with data of so many bytes.
pub fn event(effort: &Effort, data_bytes: usize) -> f64 {
    let data = vec![7; data_bytes];
    let mut head = [0; 20];
    effort.median(|| effort.time(|| head = event_hash(1, &head, 1, RETURN, &data)))
}

/// One thread, one commit a transition: two events.
pub struct Commits {
    log: PlainLog,
    sequence: i64,
}

impl Commits {
    pub fn open(dir: &Path, durability: Durability) -> Self {
        Self { log: PlainLog::open(dir, durability), sequence: 0 }
    }

    /// `transitions` in one commit.
    pub fn commit(&mut self, transitions: usize, data: &[u8]) {
        let sequence = &mut self.sequence;
        self.log.commit(|log| {
            for _ in 0..transitions {
                for event_type in [CALL, RETURN] {
                    let (hash, data) = ([3; 20], data.to_vec());
                    log.event(&Event { actor: 1, sequence: *sequence, timestamp: 1, event_type, hash, data });
                    *sequence += 1;
                }
            }
        });
    }
}
