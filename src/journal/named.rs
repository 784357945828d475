//! An error of the operating system, with the file that it is about.

use std::fs::File;
use std::io;
use std::path::Path;

/// The system's words do not name the file they are about.
pub(super) fn named(file: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

/// Opens a file to read it. What has its name and is no file is refused: to open a pipe may take for ever.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    check_is_file(path)?;
    File::open(path)
}

/// Refuses what is there under a file's name and is no file. That nothing is there, whoever opens it is told.
pub(super) fn check_is_file(path: &Path) -> io::Result<()> {
    let why = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => "it is a directory, and no file",
        Ok(found) if !found.is_file() => "it is a pipe, a socket or a device, and no file",
        _ => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}
