//! An error of the operating system, with the file that it is about.

use std::io;
use std::path::Path;

/// The system's words do not name the file they are about.
pub(super) fn named(file: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}
