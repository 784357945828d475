//! The one FIFO queue into the writer, bounded in bytes.
//!
//! The channel keeps the order; the budget beside it makes a producer wait while the disk is behind. The budget's lock
//! is held for an addition and a comparison, and for nothing else.

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::{Condvar, Mutex};

use super::error::JournalDown;
use super::record::Record;
use crate::base::limits::JOURNAL_QUEUE_BYTES;

pub(super) struct Queue {
    records: Sender<Record>,
    budget: Mutex<Budget>,
    freed: Condvar,
}

#[derive(Default)]
struct Budget {
    used: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new() -> (Self, Receiver<Record>) {
        let (records, receiver) = unbounded();
        (Self { records, budget: Mutex::default(), freed: Condvar::new() }, receiver)
    }

    /// Appends a record, waiting for room. A record larger than the whole bound enters an empty queue.
    pub(super) fn push(&self, record: Record) -> Result<(), JournalDown> {
        let weight = record.weight();
        let mut budget = self.budget.lock();
        while !budget.closed && budget.used > 0 && budget.used + weight > JOURNAL_QUEUE_BYTES {
            self.freed.wait(&mut budget);
        }
        if budget.closed {
            return Err(JournalDown);
        }
        budget.used += weight;
        // An unbounded channel takes at once; sending under the lock keeps `close` from falling between.
        self.records.send(record).map_err(|_| JournalDown)
    }

    /// The writer is through with `weight` bytes.
    pub(super) fn free(&self, weight: usize) {
        self.budget.lock().used -= weight;
        self.freed.notify_all();
    }

    /// Refuses everything from here on, and wakes who waits.
    pub(super) fn close(&self) {
        self.budget.lock().closed = true;
        self.freed.notify_all();
    }
}
