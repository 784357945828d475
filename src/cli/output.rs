//! Output files of commands: a command either writes its whole file, or leaves the file as it was before.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// What a place to write to is called in an error.
pub(super) fn named(path: &Path) -> String {
    if path == Path::new("-") { "to standard output".into() } else { path.display().to_string() }
}

/// A file that is being written. Until it is whole it lies beside its final place, under another name.
pub(super) enum Output {
    Replacing {
        file: BufWriter<File>,
        partial: Partial,
        target: PathBuf,
    },
    /// A pipe, a device or standard output: it is written directly, because no file can replace it.
    Into(BufWriter<Box<dyn Write>>),
}

/// A file that is not whole yet. If it is dropped before it is whole, it is removed, and the file that it was to replace
/// is untouched.
pub(super) struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // After the file was renamed to its final place, there is nothing left to remove.
        let _ = fs::remove_file(&self.0);
    }
}

impl Output {
    /// Begins to write the file `path`; `-` stands for standard output.
    pub(super) fn to(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Into(BufWriter::new(Box::new(io::stdout()))));
        }
        // If `path` is a symbolic link, the link stays, and the file that it leads to is replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let before = fs::metadata(&target).ok();
        if before.as_ref().is_some_and(|before| !before.is_file()) {
            return Ok(Self::Into(BufWriter::new(Box::new(File::options().write(true).open(&target)?))));
        }
        let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename)?.to_string_lossy();
        let partial = Partial(target.with_file_name(format!(".{name}.partial-{}", std::process::id())));
        let file = File::create(&partial.0)?;
        if let Some(before) = before {
            file.set_permissions(before.permissions())?;
        }
        Ok(Self::Replacing { file: BufWriter::new(file), partial, target })
    }

    /// Ends the file: syncs it to the disk, then renames it to its final place.
    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Into(mut sink) => sink.flush(),
            Self::Replacing { file, partial, target } => {
                file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
                fs::rename(&partial.0, &target)?;
                let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
                File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Replacing { file, .. } => file.write(bytes),
            Self::Into(sink) => sink.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Replacing { file, .. } => file.flush(),
            Self::Into(sink) => sink.flush(),
        }
    }
}
