//! The thread `checkpoint`: carries what is in the write-ahead log over into the database, while the writer goes on.
//!
//! ```text
//!   journal ── rings, every 2 MiB ──▶ checkpoint: carries over all there is by then
//!      ▲                                   │
//!      └───────────── "all but the rest" ──┘
//!   carries over the rest, which is little, and begins the log anew
//! ```
//!
//! SQLite would have the writer do it all, in the middle of its commits: everyone who waits for one would wait for the disk
//! to take megabytes. Nothing depends on this thread: a log that was not carried over is part of the journal, and what has
//! become long all the same the writer carries over by itself.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Sender, TrySendError, bounded};
use rusqlite::Connection;

use super::error::JournalError;
use super::schema;
use crate::base::thread::{self, JoinHandle};

/// Bytes of the log, or nearly, from one carrying over to the next.
const EVERY_BYTES: usize = 2 * 1024 * 1024;
/// The log holds whole pages: those of a commit, whatever is in it, are the last of the events, of the heads, and of the
/// metadata.
const COMMIT_BYTES: usize = 3 * 4096;
/// Pages of the log at which the writer begins it anew.
pub(super) const LOG_PAGES: u32 = 4_096;

/// The writer's side.
pub(super) struct Bell {
    ring: Sender<()>,
    since: usize,
    /// All of the log is carried over but what was written since the last ring.
    carried: Arc<AtomicBool>,
}

/// Starts the thread. It ends when the bell is gone.
pub(super) fn start(dir: &Path) -> Result<(Bell, JoinHandle), JournalError> {
    let (ring, rung) = bounded(1);
    let connection = schema::open_to_carry_over(dir)?;
    let carried = Arc::<AtomicBool>::default();
    let done = Arc::clone(&carried);
    let thread = thread::spawn("checkpoint", move || {
        while rung.recv().is_ok() {
            if carry_over(&connection) && rung.is_empty() {
                done.store(true, Ordering::Relaxed);
            }
        }
    });
    Ok((Bell { ring, since: 0, carried }, thread.map_err(JournalError::Thread)?))
}

impl Bell {
    /// Whether the writer is to carry over the rest: less than is written from one ring to the next. It writes the log
    /// from its beginning again once all of it is.
    pub(super) fn is_rest_due(&self) -> bool {
        self.carried.swap(false, Ordering::Relaxed)
    }

    /// Records of so many bytes were committed.
    pub(super) fn written(&mut self, bytes: usize) {
        self.since += COMMIT_BYTES + bytes;
        if self.since >= EVERY_BYTES {
            self.since = 0;
            match self.ring.try_send(()) {
                // Still at work on the last ring, or gone: the writer does what is left.
                Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
            }
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
