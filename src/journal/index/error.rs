//! Why the index cannot answer.

use rusqlite::{Error, ErrorCode};

/// The index cannot answer, or cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(in crate::journal) enum IndexError {
    /// It does not hold what was written. It is to be rebuilt from the log.
    #[error("the journal's index, index.db, is damaged: {why}")]
    Damaged { why: String },
    /// SQLite cannot read it at the moment.
    #[error("cannot read the journal's index, index.db: {0}")]
    Sqlite(#[source] Error),
}

impl IndexError {
    pub(in crate::journal) fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    /// An error of reading. A file that cannot be read is as good as damaged: rebuilt, it lies elsewhere on the disk.
    pub(super) fn of_reading(error: Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::OutOfMemory) => Self::Sqlite(error),
            _ => Self::Damaged { why: error.to_string() },
        }
    }
}

/// Whether the file cannot be written at the moment, and is sound as far as anyone knows.
pub(super) fn is_passing(error: &Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
        )
    )
}
