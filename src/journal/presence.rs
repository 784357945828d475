//! Whether the journal's files are still those that were opened. A process may write for ever to files that were removed,
//! or lie below a file system that was unmounted: nobody will find what is in them. One that was cut short is not what was
//! written either. The thread `watch` looks at them, and the writer asks it before anything is acknowledged. It looks at the
//! room of the disk too.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use rustix::io::Errno;

use super::error::JournalError;
use super::log::{BatchLog, Segments};
use super::queue::Queue;
use super::room::DiskRoom;
use crate::base::metrics::JournalMetrics;
use crate::base::thread::{self, JoinHandle};
use crate::base::wait;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What a start would look for, beside the segments.
const FILES: [&str; 3] = ["log", "journal.mark", "lock"];

/// What the thread has found.
#[derive(Default)]
pub(super) struct FileWatch {
    is_gone: AtomicBool,
}

impl FileWatch {
    /// Whether the journal's files are there no longer: what is written then, nobody will find.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }
}

/// Starts the thread. It ends when the sender of `closing` is gone.
pub(super) fn watch(
    room: &Arc<DiskRoom>,
    log: Arc<Segments>,
    queue: Arc<Queue>,
    metrics: Arc<JournalMetrics>,
    closing: Receiver<()>,
) -> Result<(Arc<FileWatch>, JoinHandle), JournalError> {
    let watch = Arc::<FileWatch>::default();
    let mut presence = Presence::of(room.dir(), log);
    let (watching, room) = (Arc::clone(&watch), Arc::clone(room));
    let thread = thread::spawn("watch", move || {
        while matches!(wait::receive_within(&closing, LOOK), Err(RecvTimeoutError::Timeout)) {
            metrics.log_bytes.set(presence.log.bytes());
            room.look(&metrics);
            if !presence.look() {
                watching.is_gone.store(true, Ordering::Relaxed);
                queue.wake_the_writer();
            }
        }
    });
    Ok((watch, thread.map_err(JournalError::Thread)?))
}

struct Presence {
    log: Arc<Segments>,
    dir: PathBuf,
    /// Each file as it was seen last: device and number.
    seen: HashMap<PathBuf, (u64, u64)>,
}

impl Presence {
    fn of(dir: &Path, log: Arc<Segments>) -> Self {
        let mut presence = Self { log, dir: dir.to_owned(), seen: HashMap::new() };
        for name in FILES {
            let path = presence.dir.join(name);
            if let Ok(file) = std::fs::metadata(&path) {
                presence.seen.insert(path, (file.dev(), file.ino()));
            }
        }
        presence
    }

    /// Whether each of them is found where it was, and whole. What cannot be told is taken for yes: who writes meets it.
    fn look(&mut self) -> bool {
        let same = |(path, identity): (&PathBuf, &(u64, u64))| match std::fs::metadata(path) {
            Ok(file) => (file.dev(), file.ino()) == *identity,
            Err(error) => !is_gone(&error),
        };
        if !self.seen.iter().all(same) {
            return false;
        }
        // A segment that is written anew is another file. It is as long as it has to be, or it is said when it is read.
        self.log.files().iter().all(|(path, length)| match std::fs::metadata(path) {
            Ok(file) => length.is_none_or(|length| file.len() >= length) && self.log.is_the_open_one(path, file.ino()),
            Err(error) => !is_gone(&error),
        })
    }
}

fn is_gone(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(Errno::STALE.raw_os_error())
}
