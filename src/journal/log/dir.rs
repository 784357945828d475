//! The directory of the segments: the names in it, and why it is made behind the mark.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::segment::sync_dir;
use super::{LogError, io_at};
use crate::base::dirs;

/// Makes the directory of the segments in the data directory `dir`, if it is not there.
///
/// `cp -r` copies what is in a directory in the order of the inode numbers. A copy of a journal that grows opens if the mark
/// was copied first, because then the log holds at least what the mark vouches for. So the directory gets a higher number
/// than the mark's file, if that can be had in a few attempts.
pub(in crate::journal) fn make(dir: &Path) -> io::Result<()> {
    const ATTEMPTS: usize = 16;
    let log = dir.join("log");
    if log.is_dir() {
        return Ok(());
    }
    let number = |path: &Path| fs::metadata(path).map_or(0, |found| found.ino());
    let mark = number(&dir.join("journal.mark"));
    let mut made = Vec::<PathBuf>::new();
    // The ones before stay until the end, so that the next does not get their numbers.
    while made.len() < ATTEMPTS && made.last().is_none_or(|last| number(last) < mark) {
        let next = log.with_extension(format!("new{}", made.len()));
        dirs::make(&next)?;
        made.push(next);
    }
    let last = made.pop().expect("one at least was made");
    made.iter().try_for_each(fs::remove_dir)?;
    fs::rename(last, &log)?;
    sync_dir(&log)
}

pub(super) fn path_of(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.log"))
}

/// The numbers of the segments in `dir`, in order.
pub(super) fn numbers_in(dir: &Path) -> Result<Vec<u32>, LogError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(io_at(dir)(error)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(io_at(dir))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log")).filter(|digits| digits.len() >= 8);
        numbers.extend(number.and_then(|digits| digits.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes what a rewrite has left that did not come to its end.
pub(super) fn remove_unfinished(dir: &Path) -> Result<(), LogError> {
    for entry in fs::read_dir(dir).map_err(io_at(dir))? {
        let path = entry.map_err(io_at(dir))?.path();
        if path.extension().is_some_and(|extension| extension == "new") {
            fs::remove_file(&path).map_err(io_at(&path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_stands_behind_the_mark_for_who_copies_by_inode_number() {
        let dir = tempfile::tempdir().expect("a directory");
        // Numbers that are free again are given out again: the mark gets a high one here, and some lower ones are free.
        let lower: Vec<PathBuf> = (0..4).map(|at| dir.path().join(format!("lower-{at}"))).collect();
        lower.iter().for_each(|path| fs::create_dir(path).expect("made"));
        fs::write(dir.path().join("journal.mark"), "").expect("written");
        lower.iter().for_each(|path| fs::remove_dir(path).expect("removed"));

        make(dir.path()).expect("made");
        make(dir.path()).expect("it is there");
        let number = |name| fs::metadata(dir.path().join(name)).expect("it is there").ino();
        assert!(number("log") > number("journal.mark"));
        assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 2, "nothing else is left");
    }
}
