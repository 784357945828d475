//! The journal: the durable, totally ordered log of all chains of one runtime, in one SQLite database.
//!
//! ```text
//!   any thread ── enqueue(record) ──▶ [ FIFO, bounded in bytes ] ──▶ thread `journal`
//!                                                                     │ one transaction for all that waited
//!                                                                     │ commit, then the mark
//!                                                                     ▼
//!                                                     release what waited · wake subscribers
//! ```
//!
//! *The order rule*: before another thread can see anything of an actor, `enqueue` of all its events so far has
//! returned. One queue feeds one writer, so every prefix of the journal is a consistent cut. The schema is described
//! in `docs/journal.md`. Nothing here knows of wasm.

mod backup;
mod chains;
mod checkpoint;
mod dir;
mod ends;
mod error;
mod forget;
#[allow(dead_code, reason = "the upgrade to format 5 reads with it")]
mod format4;
mod grounds;
#[allow(dead_code, unused_imports, reason = "the journal is about to be rebuilt on a log and this index of it")]
mod index;
mod integrity;
mod loss;
mod mark;
mod older;
mod ordered;
mod parts;
mod presence;
mod queue;
mod reader;
mod record;
mod rows;
mod schema;
mod seals;
mod starts;
mod states;
mod survey;
mod uses;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use rusqlite::Connection;

pub(crate) use backup::{copy, has_journal};
pub(crate) use dir::{DataDir, remove_ephemeral};
pub use error::{JournalDown, JournalError};
pub use forget::{DataDropped, DropError, Shown};
pub(crate) use forget::{prune, redact};
pub(crate) use integrity::quick_check;
pub(crate) use loss::Loss;
pub(crate) use ordered::{Placed, StretchBounds};
pub(crate) use reader::{ActorRow, JournalReader, Pending, is_unfit, unfit};
pub(crate) use record::{ActorKey, ActorStarted, Attached, Cause, Owed, Record, StateWrite};
pub(crate) use survey::{Survey, Surveyed};

use crate::base::id::ActorId;
use crate::base::metrics::JournalMetrics;
use crate::base::thread::{self, JoinHandle};
use crate::base::wait;
use mark::{MarkFile, Tip};
use queue::Queue;
use writer::Writer;

/// What is promised when something is acknowledged to the outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Nothing acknowledged is lost, by `kill -9` or by power loss: every commit is synced.
    #[default]
    Commit,
    /// `kill -9` loses nothing acknowledged; a power loss may lose the last moments, always leaving a consistent prefix.
    Relaxed,
}

impl Durability {
    /// The word for it in files and flags.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Relaxed => "relaxed",
        }
    }

    /// The durability called `word`.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Commit, Self::Relaxed].into_iter().find(|durability| durability.word() == word)
    }
}

/// What the journal tells the layers above, from its own thread; neither may block.
pub(crate) struct Listener {
    /// These actors have newly committed events.
    pub(crate) committed: Box<dyn Fn(&[ActorId]) + Send>,
    /// The journal cannot write any more; nothing will be acknowledged from here on.
    pub(crate) failed: Box<dyn FnOnce(&JournalError) + Send>,
}

/// The journal, open. Whoever has it closes it; everyone else has a [`JournalHandle`].
pub(crate) struct Journal {
    handle: JournalHandle,
    writer: JoinHandle,
    checkpoint: JoinHandle,
    /// Held until the journal is closed, whoever still has a handle.
    dir: DataDir,
}

impl Journal {
    /// Opens the journal in `dir`, or makes a new one, and starts its writer.
    ///
    /// Refuses a directory that another runtime holds, a newer format, and a journal that lost what its mark says was
    /// acknowledged.
    pub(crate) fn open(
        dir: DataDir,
        durability: Durability,
        queue_bytes: usize,
        listener: Listener,
    ) -> Result<Self, JournalError> {
        let opened = schema::open(&dir, durability)?;
        Self::begin(dir, opened, queue_bytes, listener)
    }

    /// Opens a journal that has lost something, to say so on its chains. Until it is closed in order, others still refuse it.
    pub(crate) fn open_despite_loss(
        dir: DataDir,
        queue_bytes: usize,
        listener: Listener,
    ) -> Result<Self, JournalError> {
        let opened = schema::open_despite_loss(&dir)?;
        Self::begin(dir, opened, queue_bytes, listener)
    }

    fn begin(
        dir: DataDir,
        (connection, mark, tip): (Connection, MarkFile, Tip),
        queue_bytes: usize,
        listener: Listener,
    ) -> Result<Self, JournalError> {
        let next_key = reader::next_actor_key(&connection).map_err(|error| JournalError::read(dir.path(), error))?;
        let queue = Arc::new(Queue::new(queue_bytes));
        let handle = JournalHandle {
            queue: Arc::clone(&queue),
            next_key: Arc::new(AtomicI64::new(next_key)),
            readers: ReaderPool::new(),
            dir: dir.path().into(),
            metrics: Arc::default(),
        };
        let metrics = Arc::clone(&handle.metrics);
        let (bell, checkpoint) = checkpoint::start(dir.path(), Arc::clone(&queue), Arc::clone(&metrics))?;
        let path = dir.path().to_owned();
        let writer = Writer { path, connection, mark, tip, queue, listener, bell, metrics };
        let writer = thread::spawn("journal", move || writer.run()).map_err(JournalError::Thread)?;
        Ok(Self { handle, writer, checkpoint, dir })
    }

    pub(crate) fn handle(&self) -> &JournalHandle {
        &self.handle
    }

    /// Writes what was enqueued, then ends the writer. What is enqueued afterwards is refused.
    pub(crate) fn close(self) {
        // A writer that failed is gone already and has said why.
        let _ = self.handle.queue.push(Record::Close);
        let _ = self.writer.join();
        let _ = self.checkpoint.join();
        drop(self.dir);
    }
}

/// Enqueues and reads; cheap to clone.
#[derive(Clone)]
pub(crate) struct JournalHandle {
    queue: Arc<Queue>,
    next_key: Arc<AtomicI64>,
    readers: ReaderPool,
    dir: Arc<Path>,
    /// What the writer counts.
    pub(crate) metrics: Arc<JournalMetrics>,
}

impl JournalHandle {
    /// The key under which a new actor's rows will stand.
    pub(crate) fn new_actor(&self, id: ActorId) -> ActorKey {
        ActorKey { key: self.next_key.fetch_add(1, Ordering::Relaxed), id }
    }

    /// Puts a record behind all those enqueued before. Blocks while the disk is behind; once it has returned, the
    /// record cannot be overtaken.
    pub(crate) fn enqueue(&self, mut record: Record) -> Result<(), JournalDown> {
        // On the thread that has something to say: the writer is everybody's.
        if let Record::Event(_, event, attached) = &mut record {
            attached.parts = parts::take_out(&mut event.data);
        }
        self.queue.push(record)
    }

    /// Has the writer run `release` once everything enqueued so far is committed. It must not block.
    pub(crate) fn release(&self, release: impl FnOnce() + Send + 'static) -> Result<(), JournalDown> {
        self.queue.push(Record::Release(Box::new(release)))
    }

    /// Waits until everything enqueued so far is committed.
    pub(crate) fn flush(&self) -> Result<(), JournalDown> {
        let (done, committed) = bounded::<()>(1);
        self.release(move || _ = done.try_send(()))?;
        wait::receive(&committed).map_err(|_| JournalDown)
    }

    /// A reader of what is committed; it does not hold up the writer.
    pub(crate) fn reader(&self) -> Result<JournalReader, JournalError> {
        let connection = match self.readers.idle.try_recv() {
            Ok(connection) => connection,
            Err(_) => schema::open_to_read(&self.dir)?,
        };
        Ok(JournalReader::new(connection, Some(self.readers.back.clone())))
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Opens the journal in `dir` for reading alone, with or without a runtime at work on it.
pub(crate) fn open_to_read(dir: &Path) -> Result<JournalReader, JournalError> {
    Ok(JournalReader::new(schema::open_to_read(dir)?, None))
}

/// Data as an event might have it, and as a damaged row might hold it.
pub(crate) fn hostile_parts(bytes: &[u8]) {
    let mut stored = bytes.to_vec();
    let parts = parts::take_out(&mut stored);
    let find = |name: &[u8; 20]| {
        let found = parts.iter().find(|(other, _)| other == name).map(|(_, part)| part.clone());
        Ok::<_, std::convert::Infallible>(found)
    };
    let back = parts::put_back(stored, find).expect("infallible");
    if !parts.is_empty() && crate::chain::cbor::Value::parse(bytes).is_ok() {
        assert_eq!(back.as_deref(), Ok(bytes), "what is put back is what was taken out");
    }
    parts::names(bytes);
}

/// Connections that wait to be used again: opening one costs more than most reads.
#[derive(Clone)]
struct ReaderPool {
    back: Sender<Connection>,
    idle: Receiver<Connection>,
}

impl ReaderPool {
    const IDLE: usize = 8;

    fn new() -> Self {
        let (back, idle) = bounded(Self::IDLE);
        Self { back, idle }
    }
}

#[cfg(test)]
mod tests;
