//! Whether the journal's files are still those that were opened. A process may write for ever to files that were removed,
//! or lie below a file system that was unmounted: nobody will find what is in them. One that was cut short is not what was
//! written either.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// What a start would look for, and the log's index, which others would make anew.
const FILES: [&str; 5] = ["journal.db", "journal.db-wal", "journal.db-shm", "journal.mark", "lock"];

/// The one that only grows while a runtime is at work. (The mark is written anew at each commit, and the log is cut off.)
const GROWING: &str = "journal.db";

pub(super) struct Presence(Vec<Seen>);

/// One of the files, as it was seen last.
struct Seen {
    path: PathBuf,
    identity: (u64, u64),
    /// The size of one that only grows.
    bytes: Option<u64>,
}

impl Presence {
    /// The files that are in `dir` now.
    pub(super) fn of(dir: &Path) -> Self {
        let seen = |name: &&str| {
            let path = dir.join(name);
            let file = std::fs::metadata(&path).ok()?;
            let bytes = (*name == GROWING).then_some(file.len());
            Some(Seen { path, identity: (file.dev(), file.ino()), bytes })
        };
        Self(FILES.iter().filter_map(seen).collect())
    }

    /// Whether each of them is found where it was, and whole. What cannot be told is taken for yes: who writes meets it.
    pub(super) fn look(&mut self) -> bool {
        self.0.iter_mut().all(|seen| match std::fs::metadata(&seen.path) {
            Ok(file) => {
                let is_whole = seen.bytes.is_none_or(|bytes| file.len() >= bytes);
                seen.bytes = seen.bytes.map(|_| file.len());
                (file.dev(), file.ino()) == seen.identity && is_whole
            }
            Err(error) => {
                !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
                    && error.raw_os_error() != Some(Errno::STALE.raw_os_error())
            }
        })
    }
}
