//! A directory in which sealed segments are kept as they were before anything was dropped from them.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::error::JournalError;
use super::log;
use super::named::named;

/// Where the segments of one journal go: below the archive's directory, in one that is called by the journal, so that two
/// journals do not mix.
pub(super) struct Archive {
    dir: PathBuf,
}

impl Archive {
    pub(super) fn of(dir: &Path, journal: &[u8; 16]) -> Self {
        Self { dir: dir.join(hex::encode(journal)) }
    }

    /// Copies a segment, unless it is there: the first copy is the whole one. The copy is on disk when this returns.
    pub(super) fn take(&self, segment: &Path) -> Result<(), JournalError> {
        let kept = self.dir.join(segment.file_name().unwrap_or_default());
        self.copy(segment, &kept).map_err(|error| JournalError::Copy { path: self.dir.clone(), error })
    }

    fn copy(&self, segment: &Path, kept: &Path) -> io::Result<()> {
        make(&self.dir)?;
        if kept.try_exists().map_err(named(kept))? {
            return refuse_another(segment, kept);
        }
        let beside = kept.with_extension("partial");
        let copied = fs::copy(segment, &beside).and_then(|_| File::open(&beside)?.sync_all());
        // A part of a copy is of no use, and takes room.
        copied.inspect_err(|_| _ = fs::remove_file(&beside)).map_err(named(&beside))?;
        fs::rename(&beside, kept).map_err(named(kept))?;
        sync(&self.dir)
    }
}

/// A journal that was restored from a backup goes on under the same name, with other segments under the same numbers.
fn refuse_another(segment: &Path, kept: &Path) -> io::Result<()> {
    if log::end_of(segment).map_err(named(segment))? == log::end_of(kept).map_err(named(kept))? {
        return Ok(());
    }
    let why = format!("{} is another segment than the journal has now; move it away", kept.display());
    Err(io::Error::other(why))
}

/// Makes the directory for its owner only, as the data directory is: it holds what actors said. The one above it has to be
/// there, since it may be of another disk, which is to be mounted first.
fn make(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => dir.parent().map_or(Ok(()), sync),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(named(dir)(error)),
    }
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(named(dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOURNAL: [u8; 16] = [7; 16];

    fn segment(dir: &Path, bytes: &[u8]) -> PathBuf {
        let path = dir.join("00000001.log");
        fs::write(&path, bytes).expect("a segment");
        path
    }

    #[test]
    fn the_first_copy_stays_and_nothing_is_left_beside_it() {
        let (log, kept) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let archive = Archive::of(kept.path(), &JOURNAL);
        archive.take(&segment(log.path(), b"whole")).expect("copied");
        archive.take(&segment(log.path(), b"less")).expect("it is there");
        let dir = kept.path().join(hex::encode(JOURNAL));
        let found: Vec<_> =
            fs::read_dir(&dir).expect("a directory").map(|it| it.expect("a file").file_name()).collect();
        assert_eq!(found, ["00000001.log"]);
        assert_eq!(fs::read(dir.join("00000001.log")).expect("a copy"), b"whole");
    }

    #[test]
    fn a_copy_that_was_broken_off_is_begun_again() {
        let (log, kept) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let dir = kept.path().join(hex::encode(JOURNAL));
        fs::create_dir(&dir).expect("a directory");
        fs::write(dir.join("00000001.partial"), b"wh").expect("a part");
        Archive::of(kept.path(), &JOURNAL).take(&segment(log.path(), b"whole")).expect("copied");
        assert_eq!(fs::read(dir.join("00000001.log")).expect("a copy"), b"whole");
        assert!(!dir.join("00000001.partial").exists());
    }

    #[test]
    fn an_archive_that_is_not_there_is_not_made() {
        let place = tempfile::tempdir().expect("a directory");
        let archive = Archive::of(&place.path().join("not-mounted"), &JOURNAL);
        let why = archive.take(&segment(place.path(), b"whole")).expect_err("no archive").to_string();
        assert!(why.contains("not-mounted"), "{why}");
        assert!(!place.path().join("not-mounted").exists());
    }
}
