//! Why an actor could not be built.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::compose::ComposeError;
use crate::manifest::ManifestError;

/// Why an actor could not be built, or a project not be made.
#[derive(Debug, Error)]
pub(crate) enum BuildError {
    #[error(transparent)]
    Manifest(ManifestError),
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    File(PathBuf, io::Error),
    #[error("{path}: {why}", path = .0.display(), why = .1)]
    Project(PathBuf, String),
    #[error("{program} is not installed: {remedy}")]
    Missing { program: String, remedy: &'static str },
    #[error("{what} failed ({status}):\n{said}")]
    Tool { what: String, status: String, said: String },
    #[error(transparent)]
    Compose(#[from] ComposeError),
}

/// Adds the path to an error of the file system.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> BuildError + '_ {
    |error| BuildError::File(path.to_owned(), error)
}
