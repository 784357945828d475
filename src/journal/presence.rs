//! Whether the journal's files are still those that were opened. A process may write for ever to files that were removed,
//! or lie below a file system that was unmounted: nobody will find what is in them.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// What a start would look for, and the log's index, which others would make anew.
const FILES: [&str; 5] = ["journal.db", "journal.db-wal", "journal.db-shm", "journal.mark", "lock"];

pub(super) struct Presence(Vec<(PathBuf, (u64, u64))>);

impl Presence {
    /// The files that are in `dir` now.
    pub(super) fn of(dir: &Path) -> Self {
        let files = FILES.iter().map(|name| dir.join(name));
        Self(
            files
                .filter_map(|path| std::fs::metadata(&path).ok().map(|file| (path, (file.dev(), file.ino()))))
                .collect(),
        )
    }

    /// Whether each of them is found where it was. What cannot be told is taken for yes: who writes meets it.
    pub(super) fn is_there(&self) -> bool {
        self.0.iter().all(|(path, identity)| match std::fs::metadata(path) {
            Ok(file) => (file.dev(), file.ino()) == *identity,
            Err(error) => {
                !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
                    && error.raw_os_error() != Some(Errno::STALE.raw_os_error())
            }
        })
    }
}
