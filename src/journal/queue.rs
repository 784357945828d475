//! The one FIFO queue into the writer, bounded in bytes.
//!
//! One lock keeps the order and the bound. It is held to add a record and to take all there are: a producer does not
//! wait for the writer's work, nor the writer for a producer's. While the disk is behind, producers wait for room.
//!
//! ```text
//!   empty ── a record ─▶ gathering ── somebody waits, or a moment has passed ─▶ the writer takes all there is
//! ```
//!
//! As long as nobody waits for what is there, the writer waits for a moment for more, which then shares the commit: the `call`
//! of a transition shares that of its `return`.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::error::JournalDown;
use super::record::Record;
use crate::base::{clock, wait};

/// How long records wait for others at most that nobody waits for.
const GATHERING: Duration = Duration::from_millis(1);
/// So many bytes do not wait.
const GATHERED_BYTES: usize = 1024 * 1024;

pub(super) struct Queue {
    /// The most that may wait.
    most: usize,
    waiting: Mutex<Waiting>,
    /// The writer waits for records.
    filled: Condvar,
    /// Producers wait for room.
    freed: Condvar,
}

#[derive(Default)]
struct Waiting {
    records: VecDeque<Record>,
    /// Bytes of what was pushed and is not committed yet.
    used: usize,
    closed: bool,
    /// The writer is to look up, whether or not there are records.
    woken: bool,
    writer_sleeps: bool,
    /// The writer waits for more records, or for one that is urgent.
    gathers: bool,
    /// Somebody waits for what is there to be committed.
    is_urgent: bool,
    producers_wait: bool,
}

impl Waiting {
    /// Whether the writer has to be notified.
    fn wakes_the_writer(&mut self) -> bool {
        let has_gathered = (self.is_urgent || self.woken) && std::mem::take(&mut self.gathers);
        std::mem::take(&mut self.writer_sleeps) || has_gathered
    }
}

impl Queue {
    /// A queue in which at most so many bytes wait.
    pub(super) fn new(most: usize) -> Self {
        Self { most, waiting: Mutex::default(), filled: Condvar::new(), freed: Condvar::new() }
    }

    /// Appends a record, waiting for room. A record larger than the whole bound enters an empty queue.
    pub(super) fn push(&self, record: Record) -> Result<(), JournalDown> {
        let weight = record.weight();
        let mut waiting = self.waiting.lock();
        while !waiting.closed && waiting.used > 0 && waiting.used + weight > self.most {
            waiting.producers_wait = true;
            waiting.is_urgent = true;
            if std::mem::take(&mut waiting.gathers) {
                self.filled.notify_one();
            }
            wait::notified(&self.freed, &mut waiting);
        }
        if waiting.closed {
            return Err(JournalDown);
        }
        waiting.used += weight;
        waiting.is_urgent |= record.is_urgent() || waiting.used >= GATHERED_BYTES;
        waiting.records.push_back(record);
        let wakes = waiting.wakes_the_writer();
        drop(waiting);
        // Without the lock, or the writer would wake only to wait for it.
        if wakes {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Moves everything that waits into `taken`, which is empty; waits until there is something, or the writer is woken.
    pub(super) fn take_all(&self, taken: &mut VecDeque<Record>) {
        let mut waiting = self.waiting.lock();
        while waiting.records.is_empty() && !waiting.woken {
            waiting.writer_sleeps = true;
            wait::notified(&self.filled, &mut waiting);
        }
        if !waiting.is_urgent && !waiting.woken {
            waiting.gathers = true;
            wait::notified_until(&self.filled, &mut waiting, clock::after(GATHERING));
            waiting.gathers = false;
        }
        (waiting.woken, waiting.is_urgent) = (false, false);
        std::mem::swap(&mut waiting.records, taken);
    }

    /// Has the writer look up, whether or not there is anything to write.
    pub(super) fn wake_the_writer(&self) {
        let mut waiting = self.waiting.lock();
        waiting.woken = true;
        let wakes = waiting.wakes_the_writer();
        drop(waiting);
        if wakes {
            self.filled.notify_one();
        }
    }

    /// Like [`Queue::take_all`], without waiting.
    pub(super) fn take_more(&self, taken: &mut VecDeque<Record>) {
        let mut waiting = self.waiting.lock();
        waiting.is_urgent = false;
        std::mem::swap(&mut waiting.records, taken);
    }

    /// Whether everything is refused from here on.
    pub(super) fn is_closed(&self) -> bool {
        self.waiting.lock().closed
    }

    /// The writer is through with `weight` bytes.
    pub(super) fn free(&self, weight: usize) {
        let mut waiting = self.waiting.lock();
        waiting.used -= weight;
        if std::mem::take(&mut waiting.producers_wait) {
            drop(waiting);
            self.freed.notify_all();
        }
    }

    /// Refuses everything from here on, wakes who waits, and drops what was not taken: whoever waits for a release
    /// sees it dropped.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting.lock();
        waiting.closed = true;
        let dropped = std::mem::take(&mut waiting.records);
        drop(waiting);
        self.freed.notify_all();
        drop(dropped);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::chain::ComponentDigest;

    fn record(bytes: usize) -> Record {
        Record::Component(ComponentDigest([0; 32]), vec![0; bytes].into())
    }

    #[test]
    fn who_records_more_than_may_wait_waits_until_it_is_on_disk() {
        let queue = Arc::new(Queue::new(1_000));
        queue.push(record(2_000)).expect("one alone enters, however large");
        let recording = Arc::clone(&queue);
        let producer = std::thread::spawn(move || recording.push(record(10)));
        while !queue.waiting.lock().producers_wait {
            std::thread::yield_now();
        }
        let mut taken = VecDeque::new();
        queue.take_all(&mut taken);
        assert_eq!((taken.len(), producer.is_finished()), (1, false), "what is taken is not on disk yet");
        queue.free(taken[0].weight());
        producer.join().expect("no panic").expect("there is room");
        assert_eq!(queue.waiting.lock().records.len(), 1);
    }

    #[test]
    fn who_waits_for_room_is_refused_when_the_journal_ends() {
        let queue = Arc::new(Queue::new(1_000));
        queue.push(record(1_000)).expect("room");
        let recording = Arc::clone(&queue);
        let producer = std::thread::spawn(move || recording.push(record(10)));
        while !queue.waiting.lock().producers_wait {
            std::thread::yield_now();
        }
        queue.close();
        assert!(producer.join().expect("no panic").is_err());
    }
}
