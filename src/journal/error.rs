//! What can be wrong with a journal, said so that a person knows what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Why a journal could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The data directory cannot be made, opened or locked.
    #[error("cannot use the data directory {}: {error}", path.display())]
    Directory {
        /// The data directory.
        path: PathBuf,
        /// What the operating system or SQLite said.
        error: io::Error,
    },
    /// Another runtime holds the data directory.
    #[error(
        "the data directory {} is in use by another runtime (process {holder}); stop that one, or give this one another directory with --data-dir",
        path.display()
    )]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// The process that holds it.
        holder: String,
    },
    /// There is no journal in the directory, and it was to be read.
    #[error("there is no journal in {}; name the directory that `theater run` used with --data-dir", path.display())]
    Absent {
        /// The data directory.
        path: PathBuf,
    },
    /// The journal has a format that this program does not know.
    #[error("the journal in {} has format version {found}; this program knows version {known}: use the program that wrote it, or a newer one", path.display())]
    Version {
        /// The data directory.
        path: PathBuf,
        /// What was found.
        found: String,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The file is no journal of Theater.
    #[error("{} is not a journal of Theater", path.display())]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// The journal has lost its end: events that were acknowledged are missing.
    #[error(
        "the journal in {} ends at position {found}, but {promised} was acknowledged before: {} events are lost. Restore the directory from a backup, or accept the loss with `theater repair`; nothing was changed",
        path.display(), promised - found
    )]
    Behind {
        /// The data directory.
        path: PathBuf,
        /// The position of the last event that is there.
        found: u64,
        /// The position up to which events were acknowledged.
        promised: u64,
    },
    /// The journal holds other events than those that were acknowledged.
    #[error("the journal in {} disagrees with its mark at position {position}: its events were altered. Restore the directory from a backup, or see what `theater repair` says; nothing was changed", path.display())]
    Altered {
        /// The data directory.
        path: PathBuf,
        /// The position in the journal.
        position: u64,
    },
    /// The journal has no readable mark, so nobody can say whether it is complete.
    #[error("the journal in {} has no readable mark ({why}), so that nobody can say whether it is complete. Restore {} from a backup, or accept that with `theater repair`; nothing was changed", path.display(), path.join("journal.mark").display())]
    Mark {
        /// The data directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The journal has a mark, and its database is missing or empty.
    #[error("the journal in {} has a mark, {why}: its events are not there, and nothing is left to repair. Restore the directory from a backup (see `theater restore --help`), or move it away to begin anew; nothing was changed", path.display())]
    NoDatabase {
        /// The data directory.
        path: PathBuf,
        /// What is wrong with the database, as the message goes on after "a mark,".
        why: &'static str,
    },
    /// The journal cannot be copied.
    #[error("cannot copy the journal into {}: {error}", path.display())]
    Copy {
        /// The directory that the copy was to be made in.
        path: PathBuf,
        /// What the operating system or SQLite said.
        error: rusqlite::Error,
    },
    /// The journal cannot be read.
    #[error("cannot read the journal in {}: {error}{remedy}", path.display(), remedy = fault(.error))]
    Read {
        /// The data directory.
        path: PathBuf,
        /// What the operating system or SQLite said.
        error: rusqlite::Error,
    },
    /// The journal has a write-ahead log that SQLite cannot read where nothing may be written.
    #[error(
        "the journal in {} has a log, journal.db-wal, that cannot be read where nothing may be written: copy the directory to where you may write, and read the copy",
        path.display()
    )]
    Unwritable {
        /// The data directory.
        path: PathBuf,
    },
    /// The journal contradicts itself.
    #[error("the journal in {} is damaged: {why}", path.display())]
    Damaged {
        /// The data directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A commit failed. Nothing more is acknowledged.
    #[error("cannot write the journal: {0}; nothing more is acknowledged{remedy}", remedy = room(.0))]
    Write(#[source] rusqlite::Error),
    /// The mark, which says how much was acknowledged, cannot be written. Nothing more is acknowledged.
    #[error("cannot write the journal's mark: {0}; nothing more is acknowledged")]
    WriteMark(#[source] io::Error),
    /// The files of the journal were removed or replaced while the runtime was at work.
    #[error(
        "cannot write the journal: its files in {} are not there any more (removed, replaced, cut short, or no longer mounted); nothing more is acknowledged",
        path.display()
    )]
    Gone {
        /// The data directory.
        path: PathBuf,
    },
    /// The thread that writes the journal panicked; the text is its panic.
    #[error("the journal's writer panicked: {0}; nothing more is acknowledged")]
    Panicked(String),
    /// The operating system has no thread for the journal.
    #[error("cannot start the journal's thread: {0}")]
    Thread(#[source] io::Error),
}

impl JournalError {
    /// Of a journal in `path`. SQLite does not say which of its files it may not open: that is looked up.
    pub(super) fn read(path: &Path, error: rusqlite::Error) -> Self {
        if error.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen)
            && let Some(error) = FILES.iter().find_map(|file| refusal(&path.join(file)))
        {
            return Self::directory(path, error);
        }
        Self::Read { path: path.to_owned(), error }
    }

    pub(super) fn directory(path: &Path, error: io::Error) -> Self {
        Self::Directory { path: path.to_owned(), error }
    }
}

/// What to do where a write failed, as far as SQLite says why.
fn room(error: &rusqlite::Error) -> &'static str {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => {
            "; make room on the file system of the data directory, and start again: what was acknowledged is there"
        }
        _ => fault(error),
    }
}

/// What to look for where the system refused to read or write a file, and SQLite does not say why.
fn fault(error: &rusqlite::Error) -> &'static str {
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure) {
        "; look for a fault of the device (the system's log), and at `ulimit -f` and quotas, which SQLite does not name"
    } else {
        ""
    }
}

/// What SQLite opens.
const FILES: [&str; 3] = ["journal.db", "journal.db-wal", "journal.db-shm"];

/// Why a file that is there cannot be read.
fn refusal(file: &Path) -> Option<io::Error> {
    let error = std::fs::File::open(file).err()?;
    (error.kind() != io::ErrorKind::NotFound).then(|| named(file)(error))
}

/// The system's words do not name the file they are about.
pub(super) fn named(file: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

/// The journal's writer has ended: it failed, or the runtime is shutting down. Nothing was enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal takes no more records")]
pub struct JournalDown;
