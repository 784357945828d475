//! The thread `checkpoint`: carries what is in the write-ahead log over into the database, while the writer goes on, and
//! watches over the journal's files.
//!
//! ```text
//!   journal ── rings, every 2 MiB ──▶ checkpoint: carries over all there is by then
//!      ▲                                   │
//!      └───────────── "all but the rest" ──┘
//!   carries over the rest, which is little, and begins the log anew, or cuts it off
//! ```
//!
//! SQLite would have the writer do it all, in the middle of its commits: everyone who waits for one would wait for the disk
//! to take megabytes. While somebody reads the journal as it was at one moment, the log cannot begin anew: it grows, which
//! is said, and the writer does not wait for them. It is cut off once they are through.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, TrySendError, bounded};
use rusqlite::Connection;

use super::error::JournalError;
use super::presence::Presence;
use super::queue::Queue;
use super::schema;
use crate::base::metrics::JournalMetrics;
use crate::base::thread::{self, JoinHandle};
use crate::base::wait;

/// Bytes of the log, or nearly, from one carrying over to the next.
const EVERY_BYTES: usize = 2 * 1024 * 1024;
/// The log holds whole pages: those of a commit, whatever is in it, are the last of the events, of the heads, and of the
/// metadata.
const COMMIT_BYTES: usize = 3 * 4096;
/// A log of more bytes is cut off rather than written from its beginning again.
pub(super) const LONG_LOG_BYTES: u64 = 16 * 1024 * 1024;
/// A log of so many bytes is warned of; and again whenever it has doubled.
const WARNED_OF_BYTES: u64 = 64 * 1024 * 1024;
/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// The writer's side.
pub(super) struct Checkpointer {
    ring: Sender<()>,
    since: usize,
    shared: Arc<Shared>,
    metrics: Arc<JournalMetrics>,
}

#[derive(Default)]
struct Shared {
    /// Something was committed: before that, a journal that a start refuses stays as it is.
    is_at_work: AtomicBool,
    /// All of the log is carried over but what was written since the last ring.
    carried: AtomicBool,
    /// The log is to be cut off as soon as nobody reads it any more.
    to_be_cut: AtomicBool,
    /// The journal's files are not there any more.
    is_gone: AtomicBool,
}

/// Starts the thread. It ends when the bell is gone.
pub(super) fn start(
    dir: &Path,
    queue: Arc<Queue>,
    metrics: Arc<JournalMetrics>,
) -> Result<(Checkpointer, JoinHandle), JournalError> {
    let (ring, rung) = bounded(1);
    let connection = schema::open_to_carry_over(dir)?;
    let shared = Arc::<Shared>::default();
    let presence = Presence::of(dir);
    let log = Log { path: dir.join("journal.db-wal"), said: 0, metrics: Arc::clone(&metrics) };
    // What was dropped in an earlier process may still be in what that has left of it.
    shared.to_be_cut.store(log.bytes() > 0, Ordering::Relaxed);
    let mut keeper = Keeper { connection, presence, log, queue, shared: Arc::clone(&shared) };
    let thread = thread::spawn("checkpoint", move || {
        loop {
            let is_rung = match wait::receive_within(&rung, LOOK) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            keeper.look(is_rung, &|| rung.is_empty());
        }
    });
    Ok((Checkpointer { ring, since: 0, shared, metrics }, thread.map_err(JournalError::Thread)?))
}

/// The thread's own things.
struct Keeper {
    connection: Connection,
    presence: Presence,
    log: Log,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
}

impl Keeper {
    fn look(&mut self, is_rung: bool, has_rest: &dyn Fn() -> bool) {
        if !self.presence.is_there() {
            self.shared.is_gone.store(true, Ordering::Relaxed);
            return self.queue.wake_the_writer();
        }
        if !self.shared.is_at_work.load(Ordering::Relaxed) {
            return;
        }
        let bytes = self.log.watch();
        if bytes > LONG_LOG_BYTES {
            self.shared.to_be_cut.store(true, Ordering::Relaxed);
        }
        let is_to_be_cut = self.shared.to_be_cut.load(Ordering::Relaxed);
        if (is_rung || is_to_be_cut) && carry_over(&self.connection) && has_rest() {
            self.shared.carried.store(true, Ordering::Relaxed);
            if is_to_be_cut {
                self.queue.wake_the_writer();
            }
        }
    }
}

/// The file of the write-ahead log, and its size when it was last warned of.
struct Log {
    path: PathBuf,
    said: u64,
    metrics: Arc<JournalMetrics>,
}

impl Log {
    fn bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |log| log.len())
    }

    /// Says that it grows, and that it does not any more.
    fn watch(&mut self) -> u64 {
        let bytes = self.bytes();
        self.metrics.log_bytes.set(bytes);
        let mib = bytes / (1024 * 1024);
        if bytes >= WARNED_OF_BYTES.max(self.said * 2) {
            self.said = bytes;
            log::warn!(
                "the journal's write-ahead log has grown to {mib} MiB: something has been reading the journal for long (a \
                 backup, a verification, an SQLite tool), or the disk is slow; it shrinks once that is over"
            );
        } else if bytes <= LONG_LOG_BYTES && self.said > 0 {
            self.said = 0;
            log::info!("the journal's write-ahead log has shrunk to {mib} MiB");
        }
        bytes
    }
}

impl Checkpointer {
    /// Whether the writer is to carry over the rest: less than is written from one ring to the next. It writes the log
    /// from its beginning again once all of it is.
    pub(super) fn is_rest_due(&self) -> bool {
        self.shared.carried.swap(false, Ordering::Relaxed)
    }

    /// Whether the log is to be cut off then, rather than written again.
    pub(super) fn is_to_be_cut(&self) -> bool {
        self.shared.to_be_cut.load(Ordering::Relaxed)
    }

    /// The log is to be cut off as soon as nobody reads it.
    pub(super) fn have_it_cut(&self) {
        self.shared.to_be_cut.store(true, Ordering::Relaxed);
        self.ring();
    }

    /// It was.
    pub(super) fn was_cut(&self) {
        self.shared.to_be_cut.store(false, Ordering::Relaxed);
    }

    /// Whether the journal's files are there no longer: what is written then, nobody will find.
    pub(super) fn is_gone(&self) -> bool {
        self.shared.is_gone.load(Ordering::Relaxed)
    }

    /// Records of so many bytes were committed. Whether the writer is to carry over by itself, since the log grows faster
    /// than it is carried over.
    pub(super) fn written(&mut self, bytes: usize) -> bool {
        self.shared.is_at_work.store(true, Ordering::Relaxed);
        self.since += COMMIT_BYTES + bytes;
        if self.since < EVERY_BYTES {
            return false;
        }
        self.since = 0;
        !self.ring() && self.metrics.log_bytes.read() > LONG_LOG_BYTES
    }

    /// Whether somebody hears it: else they are still at work on the last ring, or gone.
    fn ring(&self) -> bool {
        match self.ring.try_send(()) {
            Ok(()) => true,
            Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => false,
        }
    }
}

/// Carries over what is there, unless somebody still reads as it was before. Whether that was all. What the disk refuses
/// here the next commit meets as well, and says.
pub(super) fn carry_over(connection: &Connection) -> bool {
    let carried: rusqlite::Result<(i64, i64)> =
        connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)));
    match carried {
        Ok((pages, carried)) => pages == carried,
        Err(error) => {
            log::debug!("the journal's log was not carried over: {error}");
            false
        }
    }
}
