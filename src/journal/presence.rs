//! Whether the journal's files are still those that were opened, and the components still there. A process may write for ever to files that were removed,
//! or lie below a file system that was unmounted: nobody will find what is in them. One that was cut short is not what was
//! written either. The thread `watch` looks at them, and the writer asks it before anything is acknowledged. It looks at the
//! room of the disk too.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use rustix::io::Errno;

use super::components;
use super::error::JournalError;
use super::log::{BatchLog, Segments};
use super::queue::Queue;
use super::room::DiskRoom;
use crate::base::metrics::JournalMetrics;
use crate::base::thread::{self, JoinHandle};
use crate::base::wait;
use crate::chain::ComponentDigest;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What a start would look for, beside the segments and the components.
const FILES: [&str; 3] = ["log", "journal.mark", "lock"];

/// What the thread has found, and what it is told.
pub(super) struct FileWatch {
    gone: OnceLock<String>,
    stored: Sender<(ComponentDigest, Option<u64>)>,
}

impl FileWatch {
    /// What was missed first of the journal's files, as a path below the data directory, if something was. What is written
    /// then, nobody will find, or nobody could go on from it.
    pub(super) fn gone(&self) -> Option<&str> {
        self.gone.get().map(String::as_str)
    }

    /// From here on this component, which is stored and has so many bytes, has to stay.
    pub(super) fn remember(&self, component: ComponentDigest, bytes: usize) {
        // The thread takes all that it is told, until the journal is closed.
        let _ = self.stored.send((component, Some(bytes as u64)));
    }

    /// This component is about to be removed.
    pub(super) fn forget(&self, component: ComponentDigest) {
        let _ = self.stored.send((component, None));
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
    let (stored, told) = unbounded();
    let watch = Arc::new(FileWatch { gone: OnceLock::new(), stored });
    let mut presence = Presence::of(room.dir(), log, told);
    let (watching, room) = (Arc::clone(&watch), Arc::clone(room));
    let thread = thread::spawn("watch", move || {
        while matches!(wait::receive_within(&closing, LOOK), Err(RecvTimeoutError::Timeout)) {
            metrics.log_bytes.set(presence.log.bytes());
            room.look(&metrics);
            if let Err(missed) = presence.look() {
                // Only the first counts.
                let _ = watching.gone.set(presence.shown(&missed));
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
    /// The length of each component. They are stored one by one, and stay until a start removes them: without one that is needed,
    /// no start could go on.
    components: HashMap<PathBuf, u64>,
    /// Components that were stored meanwhile.
    stored: Receiver<(ComponentDigest, Option<u64>)>,
}

impl Presence {
    fn of(dir: &Path, log: Arc<Segments>, stored: Receiver<(ComponentDigest, Option<u64>)>) -> Self {
        let (seen, components) = (HashMap::new(), HashMap::new());
        let mut presence = Self { log, dir: dir.to_owned(), seen, components, stored };
        for name in FILES {
            let path = presence.dir.join(name);
            if let Ok(file) = std::fs::metadata(&path) {
                presence.seen.insert(path, (file.dev(), file.ino()));
            }
        }
        // What cannot be told now is said by whoever needs it.
        for path in components::files(dir).unwrap_or_default() {
            if let Ok(file) = std::fs::metadata(&path) {
                presence.components.insert(path, file.len());
            }
        }
        presence
    }

    /// Whether each of them is found where it was, and whole; else what is missed. What cannot be told is taken for yes: who
    /// writes meets it.
    fn look(&mut self) -> Result<(), PathBuf> {
        for (path, identity) in &self.seen {
            let same = match std::fs::metadata(path) {
                Ok(file) => (file.dev(), file.ino()) == *identity,
                Err(error) => !is_gone(&error),
            };
            there(same, path)?;
        }
        // A segment that is written anew is another file. It is as long as it has to be, or it is said when it is read.
        for (path, length) in self.log.files() {
            let is_whole = match std::fs::metadata(&path) {
                Ok(file) => {
                    length.is_none_or(|length| file.len() >= length) && self.log.is_the_open_one(&path, file.ino())
                }
                Err(error) => !is_gone(&error),
            };
            there(is_whole, &path)?;
        }
        self.hear();
        if let Some(path) = self.missed_component() {
            // It was told of before it was removed.
            self.hear();
            there(!self.components.contains_key(&path), &path)?;
        }
        Ok(())
    }

    /// Hears which components were stored, and which are removed.
    fn hear(&mut self) {
        for (component, bytes) in self.stored.try_iter() {
            let path = components::path_of(&self.dir, component);
            match bytes {
                Some(bytes) => _ = self.components.insert(path, bytes),
                None => _ = self.components.remove(&path),
            }
        }
    }

    fn missed_component(&self) -> Option<PathBuf> {
        let is_missed = |(path, length): &(&PathBuf, &u64)| match std::fs::metadata(path) {
            Ok(file) => file.len() < **length,
            Err(error) => is_gone(&error),
        };
        self.components.iter().find(is_missed).map(|(path, _)| path.clone())
    }

    /// How people are told of a path.
    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.dir).unwrap_or(path).display().to_string()
    }
}

fn there(is_there: bool, path: &Path) -> Result<(), PathBuf> {
    if is_there { Ok(()) } else { Err(path.to_owned()) }
}

fn is_gone(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(Errno::STALE.raw_os_error())
}
