//! The thread `checkpoint`: carries what is in the write-ahead log over into the database, while the writer goes on.
//!
//! SQLite would have the writer do it, in the middle of its commits: everyone who waits for one would wait for the disk to
//! take megabytes. Here the writer rings when so much was written, and does itself only what is left when the log has
//! become long; then it begins the log anew. Nothing depends on this thread: a log that was not carried over is part
//! of the journal.

use std::path::Path;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rusqlite::Connection;

use super::error::JournalError;
use super::schema;
use crate::base::thread::{self, JoinHandle};

/// Records written, in bytes, from one carrying over to the next.
const EVERY_BYTES: usize = 2 * 1024 * 1024;
/// Pages of the log at which the writer begins it anew.
pub(super) const LOG_PAGES: u32 = 4_096;

/// The writer's side.
pub(super) struct Bell {
    ring: Sender<()>,
    since: usize,
}

/// Starts the thread. It ends when the bell is gone.
pub(super) fn start(dir: &Path) -> Result<(Bell, JoinHandle), JournalError> {
    let (ring, rung) = bounded(1);
    let connection = schema::open_to_carry_over(dir)?;
    let thread = thread::spawn("checkpoint", move || carry_over(&connection, &rung)).map_err(JournalError::Thread)?;
    Ok((Bell { ring, since: 0 }, thread))
}

impl Bell {
    /// So many bytes of records were committed.
    pub(super) fn written(&mut self, bytes: usize) {
        self.since += bytes;
        if self.since >= EVERY_BYTES {
            self.since = 0;
            match self.ring.try_send(()) {
                // Still at work on the last ring, or gone: the writer does what is left.
                Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
            }
        }
    }
}

fn carry_over(connection: &Connection, rung: &Receiver<()>) {
    while rung.recv().is_ok() {
        // What the disk refuses here the writer meets as well, and says.
        if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            log::debug!("the journal's log was not carried over: {error}");
        }
    }
}
