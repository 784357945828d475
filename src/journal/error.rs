//! What can be wrong with a journal, said so that a person knows what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::index::IndexError;
use super::log::{LogError, Unsound};
use super::named::named;

/// Why a journal could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The data directory cannot be made, opened or locked.
    #[error("cannot use the data directory {}: {error}{remedy}", path.display(), remedy = room(.error))]
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
    /// The directory holds the copy of a realm's journal, and was to be used as a journal of its own.
    #[error(
        "the data directory {} is a node's copy of the realm {realm}: run it with --cluster, or give another directory with --data-dir. To make it a journal of its own, which goes its own way from here, remove {}",
        path.display(), path.join("realm.json").display()
    )]
    OfARealm {
        /// The data directory.
        path: PathBuf,
        /// The realm's name.
        realm: String,
    },
    /// The directory belongs to another realm, or to none, and was to hold the copy of this one's journal.
    #[error("the data directory {} {found}, and not the copy of the realm {realm}: give another directory with --data-dir", path.display())]
    OfAnother {
        /// The data directory.
        path: PathBuf,
        /// The realm's name.
        realm: String,
        /// What it holds instead.
        found: String,
    },
    /// The shared log of the realm has not taken something. Nothing more is acknowledged here.
    #[error("{0}")]
    Remote(String),
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
    #[error("{} is not a journal of Theater, but another program's database: look whether this is the right directory. If it is, move that file away, or restore the directory from a backup; nothing was changed", path.display())]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// The journal has lost its end: events that were acknowledged are missing.
    #[error(
        "the journal in {} ends at position {found}, but {promised} was acknowledged before: {} events are lost. Restore the directory from a backup, or accept the loss with `theater repair`{}; nothing was changed",
        path.display(), promised - found, given_up(.unsound.as_ref())
    )]
    Behind {
        /// The data directory.
        path: PathBuf,
        /// The position of the last event that is there.
        found: u64,
        /// The position up to which events were acknowledged.
        promised: u64,
        /// What stands behind the last sound event, if something does.
        unsound: Option<UnsoundEnd>,
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
    /// The journal has a mark, and its log is missing or empty.
    #[error("the journal in {} has a mark, {why}: its events are not there, and nothing is left to repair. Restore the directory from a backup (see `theater restore --help`), or move it away to begin anew; nothing was changed", path.display())]
    NoLog {
        /// The data directory.
        path: PathBuf,
        /// What is wrong with the log, as the message goes on after "a mark,".
        why: &'static str,
    },
    /// The journal cannot be copied.
    #[error("cannot copy the journal into {}: {error}{remedy}", path.display(), remedy = room_for_a_copy(.error))]
    Copy {
        /// The directory that the copy was to be made in.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// The journal cannot be read.
    #[error("cannot read the journal in {}: {error}", path.display())]
    Read {
        /// The data directory.
        path: PathBuf,
        /// What is wrong.
        error: ReadFault,
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
    Write(#[source] io::Error),
    /// The files of the journal were removed or replaced while the runtime was at work.
    #[error(
        "cannot write the journal: its files in {} are not there any more: {what} was removed, replaced, cut short, or is no longer mounted; nothing more is acknowledged. Put back what is missing, from a backup if it is gone, before you start again",
        path.display()
    )]
    Gone {
        /// The data directory.
        path: PathBuf,
        /// What was missed first, as a path below the data directory.
        what: String,
    },
    /// The log answered an append with another batch. Whether this one is there, nobody knows.
    #[error(
        "cannot write the journal: the log answered batch {batch} with batch {found}; nothing more is acknowledged"
    )]
    Answered {
        /// The batch that was appended.
        batch: u64,
        /// The batch that the answer is about.
        found: u64,
    },
    /// The thread that writes the journal panicked; the text is its panic.
    #[error("the journal's writer panicked: {0}; nothing more is acknowledged")]
    Panicked(String),
    /// The operating system has no thread for the journal.
    #[error("cannot start the journal's thread: {0}")]
    Thread(#[source] io::Error),
}

/// Bytes at the end of a journal that are not what was written: whoever goes on without a backup gives up all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnsoundEnd {
    /// The last segment of the log.
    pub file: PathBuf,
    /// The place of the first of these bytes in the file, from 0.
    pub byte: u64,
    /// How many they are.
    pub bytes: u64,
}

impl std::fmt::Display for UnsoundEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, byte, bytes } = self;
        write!(
            f,
            "the batch at byte {byte} of {} does not check: it and all that follows it, {bytes} bytes",
            file.display()
        )
    }
}

fn given_up(end: Option<&UnsoundEnd>) -> String {
    end.map_or(String::new(), |end| format!("; {end}, are given up by that, even what is sound"))
}

impl JournalError {
    pub(super) fn directory(path: &Path, error: io::Error) -> Self {
        Self::Directory { path: path.to_owned(), error }
    }
}

/// What to do where a write failed, as far as the system says why.
fn room(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room on the file system of the data directory, and start again: what was acknowledged is there"
        }
        io::ErrorKind::FileTooLarge => "; look at `ulimit -f`, and start again: what was acknowledged is there",
        _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
            "; look for a fault of the device (the system's log)"
        }
        _ => "",
    }
}

/// What to do where a copy could not be written.
fn room_for_a_copy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room there, and try again",
        io::ErrorKind::FileTooLarge => "; look at `ulimit -f`, and try again",
        _ => "",
    }
}

/// Something of a journal cannot be read, or is not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct ReadFault {
    why: String,
    is_unfit: bool,
}

pub(crate) type ReadResult<T> = Result<T, ReadFault>;

/// What is there is not what was written.
pub(crate) fn unfit(why: String) -> ReadFault {
    ReadFault { why, is_unfit: true }
}

/// A large part that stored data refers to is not to be found.
pub(super) fn no_part(name: [u8; 20]) -> ReadFault {
    unfit(format!("a part of an event's data is not there: SHA-1 {}", hex::encode(name)))
}

/// Whether something is not what was written; else it could not be read.
pub(crate) fn is_unfit(fault: &ReadFault) -> bool {
    fault.is_unfit
}

impl From<Unsound> for UnsoundEnd {
    fn from(Unsound { path, at, bytes }: Unsound) -> Self {
        Self { file: path, byte: at, bytes: bytes as u64 }
    }
}

impl From<LogError> for ReadFault {
    fn from(error: LogError) -> Self {
        let is_unfit = !matches!(error, LogError::Io { .. } | LogError::Rewritten { .. });
        Self { why: error.to_string(), is_unfit }
    }
}

impl From<IndexError> for ReadFault {
    fn from(error: IndexError) -> Self {
        Self { why: format!("index.db: {error}"), is_unfit: false }
    }
}

impl From<io::Error> for ReadFault {
    fn from(error: io::Error) -> Self {
        Self { why: error.to_string(), is_unfit: false }
    }
}

impl JournalError {
    /// What the log in the data directory `path` says when it is opened.
    pub(super) fn of_log(path: &Path, error: LogError) -> Self {
        let path = path.to_owned();
        match error {
            // The error names a file in it already.
            LogError::Io { path: file, error } if file == path => Self::directory(&path, error),
            LogError::Io { path: file, error } => Self::directory(&path, named(&file)(error)),
            LogError::Damaged { .. } => Self::Damaged { path, why: error.to_string() },
            LogError::Behind { found, promised, unsound } => {
                Self::Behind { path, found, promised, unsound: unsound.map(UnsoundEnd::from) }
            }
            LogError::Rewritten { .. } => Self::Read { path, error: error.into() },
            LogError::Altered { position } => Self::Altered { path, position },
            LogError::Remote(fault) => Self::Remote(fault.to_string()),
        }
    }

    /// What went wrong when something was appended.
    pub(super) fn of_append(error: LogError) -> Self {
        match error {
            LogError::Io { path, error } => Self::Write(with_name(&path, error)),
            LogError::Remote(fault) => Self::Remote(fault.to_string()),
            other => Self::Write(io::Error::other(other.to_string())),
        }
    }
}

/// An error that keeps its number, so that the remedy is found, and is said with its file.
fn with_name(path: &Path, error: io::Error) -> io::Error {
    // The system's number says more than a text of ours would; the file is the log's in any case.
    if error.raw_os_error().is_some() { error } else { named(path)(error) }
}

/// The journal's writer has ended: it failed, or the runtime is shutting down. Nothing was enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the journal takes no more records: it could not write one, or the runtime is ending; what the runtime said last has the \
     reason"
)]
pub struct JournalDown;
