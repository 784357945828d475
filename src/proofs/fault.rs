//! Why there are no proofs, in words that say what to do.

use std::io;
use std::path::PathBuf;

use super::note::NoteError;
use crate::journal::ReadFault;

/// Why a tree cannot be gone on with. Nothing is signed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeFault {
    #[error("the journal cannot be read: {0}")]
    Journal(#[from] ReadFault),
    #[error("the directory of the proofs: {0}")]
    Files(#[from] io::Error),
    #[error("{}: {error}. Name the key that has signed it; for another log, move the directory away", path.display())]
    Key { path: PathBuf, error: NoteError },
    #[error("{} is of the log \"{found}\", and the origin of this one is \"{expected}\": move the directory away for another log", path.display())]
    Origin { path: PathBuf, found: String, expected: String },
    /// The journal is older than the checkpoint.
    #[error(
        "the journal was rolled back: it has {found} events, and a checkpoint of {signed} was signed. Restore the newer journal; if it is \
         lost for good, move {} away and sign with another origin from now on: the old one has promised a history that is not there any more",
        path.display()
    )]
    RolledBack { found: u64, signed: u64, path: PathBuf },
    /// Events are others than those that were signed.
    #[error(
        "the history was rewritten: the event at position {position} is not the one in the tree that was signed. Restore the journal; \
         if it is lost for good, move {} away and sign with another origin from now on", path.display()
    )]
    Rewritten { position: u64, path: PathBuf },
    /// The same, where nobody knows which.
    #[error(
        "the history was rewritten: the first {signed} events do not have the root that was signed. Restore the journal; if it is lost \
         for good, move {} away and sign with another origin from now on", path.display()
    )]
    RewrittenSomewhere { signed: u64, path: PathBuf },
}

/// Why an event cannot be proved now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotProved {
    #[error("there is no event at this place")]
    NoSuchEvent,
    #[error("no checkpoint covers the event yet: try again in a second")]
    NotYet,
    #[error("{0}")]
    Journal(#[from] ReadFault),
    #[error("the tiles of the tree cannot be read: {0}; they are made anew at the next start")]
    Tiles(#[from] io::Error),
    #[error("the tiles of the tree are not those that were signed; they are made anew at the next start")]
    Damaged,
    #[error("the thread that makes checkpoints has ended")]
    Ended,
}
