//! Files that commands write: a file is there whole, or as it was before.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// What a place to write to is called in an error.
pub(super) fn named(path: &Path) -> String {
    if path == Path::new("-") { "to standard output".into() } else { path.display().to_string() }
}

/// A file being written, beside its place until it is whole.
pub(super) enum Output {
    Replacing {
        file: BufWriter<File>,
        partial: Partial,
        target: PathBuf,
    },
    /// A pipe, a device, standard output: nothing can be put in its place.
    Into(BufWriter<Box<dyn Write>>),
}

/// A file that is not whole: it goes where it is given up. What it was to replace is untouched.
pub(super) struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        // After it has taken its place there is none.
        let _ = fs::remove_file(&self.0);
    }
}

impl Output {
    /// Begins to write `path`; `-` is standard output.
    pub(super) fn to(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Into(BufWriter::new(Box::new(io::stdout()))));
        }
        // A link stays, and the file it leads to is replaced.
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

    /// It is whole: it takes its place once it is on the disk.
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
