//! What a journal has lost of what was acknowledged, as far as anyone can tell.

use std::path::Path;

use super::error::{JournalError, UnsoundEnd};
use super::log::{BatchLog as _, LogError, MarkFile, Segments};
use super::upgrade::readable;

/// What is gone, or may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The events behind this position, up to that.
    Events { found: u64, promised: u64 },
    /// Nobody can say: there is no mark that is of this journal.
    Unknown { found: u64 },
}

impl Loss {
    /// What the journal in `dir` has lost by its mark; nothing where it has all that the mark vouches for.
    pub(crate) fn of(dir: &Path) -> Result<Option<Self>, JournalError> {
        let readable = readable(dir)?;
        let dir = &*readable.dir;
        let marked = MarkFile::read(dir).map_err(|error| JournalError::directory(dir, error))?;
        let log = Segments::open_to_read(dir).map_err(|error| JournalError::of_log(dir, error))?;
        let found = log.tip().position;
        let marked = match marked {
            Some(Ok(marked)) => marked,
            None if found == 0 => return Ok(None),
            Some(Err(_)) | None => return Ok(Some(Self::Unknown { found })),
        };
        match log.check(&marked) {
            // A power loss under `relaxed` may leave this, and a start says so.
            Ok(_) => Ok(None),
            Err(LogError::Behind { found, promised, .. }) => Ok(Some(Self::Events { found, promised })),
            Err(LogError::Altered { .. }) => Ok(Some(Self::Unknown { found })),
            Err(other) => Err(JournalError::of_log(dir, other)),
        }
    }
}

/// What stands at the end of the log in `dir` and is not what was written: whoever accepts a loss gives it up.
pub(crate) fn unsound_end(dir: &Path) -> Result<Option<UnsoundEnd>, JournalError> {
    let readable = readable(dir)?;
    let log = Segments::open_to_read(&readable.dir).map_err(|error| JournalError::of_log(dir, error))?;
    Ok(log.unsound_end().map(UnsoundEnd::from))
}

/// As it is said to people, and on the chains.
impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Events { found, promised } => {
                let count = promised - found;
                let events = if count == 1 { "event" } else { "events" };
                write!(f, "{count} {events} that had been acknowledged, behind position {found} of the journal")
            }
            Self::Unknown { found } => write!(
                f,
                "the journal's mark, so that nobody can say whether events that had been acknowledged were lost behind \
                 position {found} of the journal"
            ),
        }
    }
}
