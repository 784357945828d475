//! The mark: a side file that says how far the log had come when something was last acknowledged.
//!
//! A log that breaks off in the middle of a batch looks the same whether that batch was never acknowledged, or was and then
//! damaged. The mark tells: it is written after each append and before anything is released, so a log that ends before
//! its mark has lost what was acknowledged. It need not be synced: a mark that is too old only promises less.
//!
//! Two slots are written in turn, each one line of text with its own checksum, so that a torn write leaves the other.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use super::batch::Tip;
use crate::base::clock::boot_id;
use crate::journal::durability::Durability;
use crate::journal::named::{check_is_file, named};

const FILE: &str = "journal.mark";
const SLOT_BYTES: usize = 256;

/// What a mark said when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::journal) struct Marked {
    pub(in crate::journal) journal: [u8; 16],
    pub(in crate::journal) batch: u64,
    pub(in crate::journal) position: u64,
    pub(in crate::journal) digest: [u8; 20],
    pub(in crate::journal) durability: Durability,
    /// Names the boot of the machine under which it was written.
    pub(in crate::journal) boot: String,
}

/// The open mark file.
pub(in crate::journal) struct MarkFile {
    file: File,
    path: PathBuf,
    next_slot: u64,
    /// The journal, as the line names it.
    journal: String,
    /// What stands behind the digest: durability and boot.
    ending: String,
    line: Vec<u8>,
}

impl MarkFile {
    /// Reads the mark in `dir`. `Ok(None)` where there is no file; an error text where there is one that says nothing.
    pub(in crate::journal) fn read(dir: &Path) -> io::Result<Option<Result<Marked, String>>> {
        let Some(bytes) = Self::bytes(dir)? else { return Ok(None) };
        let newest = bytes.chunks(SLOT_BYTES).filter_map(parse).max_by_key(|marked| marked.batch);
        Ok(Some(newest.ok_or_else(|| "neither of its two lines is intact".to_owned())))
    }

    /// What is in the file, if there is one.
    pub(in crate::journal) fn bytes(dir: &Path) -> io::Result<Option<Vec<u8>>> {
        let path = dir.join(FILE);
        check_is_file(&path).map_err(named(&path))?;
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(named(&path)(error)),
        }
    }

    /// Opens the mark in `dir` for writing and writes `tip` into both slots.
    pub(in crate::journal) fn begin(
        dir: &Path,
        journal: &[u8; 16],
        tip: &Tip,
        durability: Durability,
    ) -> io::Result<Self> {
        let path = dir.join(FILE);
        check_is_file(&path).map_err(named(&path))?;
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(named(&path))?;
        let ending = format!("{} {}", durability.word(), boot_id());
        let line = Vec::with_capacity(SLOT_BYTES);
        let mut mark = Self { file, path, next_slot: 0, journal: hex::encode(journal), ending, line };
        mark.write(tip)?;
        mark.write(tip)?;
        mark.file.sync_all().map_err(named(&mark.path))?;
        // Its name, too, has to outlive a power loss: a journal without its mark is refused.
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(named(dir))?;
        Ok(mark)
    }

    pub(in crate::journal) fn write(&mut self, tip: &Tip) -> io::Result<()> {
        render(&mut self.line, &self.journal, tip, &self.ending);
        let written = self.file.write_all_at(&self.line, self.next_slot * SLOT_BYTES as u64);
        written.map_err(named(&self.path))?;
        self.next_slot ^= 1;
        Ok(())
    }
}

/// Once a commit, so into the same room each time.
fn render(line: &mut Vec<u8>, journal: &str, tip: &Tip, ending: &str) {
    let mut hex_digits = [0; 40];
    let digest = hex_of(&tip.digest, &mut hex_digits);
    line.clear();
    write!(line, "theater-mark 2 {journal} {} {} {digest} {ending}", tip.batch, tip.position).expect(INFALLIBLE);
    let sum = Sha1::digest(&line);
    write!(line, " {}", hex_of(&sum.into(), &mut hex_digits)).expect(INFALLIBLE);
    debug_assert!(line.len() < SLOT_BYTES, "a mark fits its slot");
    line.resize(SLOT_BYTES - 1, b' ');
    line.push(b'\n');
}

const INFALLIBLE: &str = "writing to memory cannot fail";

fn hex_of<'a>(bytes: &[u8; 20], digits: &'a mut [u8; 40]) -> &'a str {
    hex::encode_to_slice(bytes, digits).expect("two digits a byte");
    std::str::from_utf8(digits).expect("hexadecimal digits are text")
}

fn parse(slot: &[u8]) -> Option<Marked> {
    let line = std::str::from_utf8(slot).ok()?.trim_end();
    let (body, sum) = line.rsplit_once(' ')?;
    let mut words = body.split(' ');
    if hex::encode(Sha1::digest(body.as_bytes())) != sum || words.next()? != "theater-mark" || words.next()? != "2" {
        return None;
    }
    let journal = array(words.next()?)?;
    let (batch, position) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let digest = array(words.next()?)?;
    let durability = Durability::parse(words.next()?)?;
    Some(Marked { journal, batch, position, digest, durability, boot: words.next()?.to_owned() })
}

fn array<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(dir: &Path) -> Result<Marked, String> {
        MarkFile::read(dir).expect("a readable directory").expect("a mark")
    }

    #[test]
    fn the_newest_intact_slot_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let tip = |batch| Tip { batch, position: batch * 3, digest: [7; 20], sum: [0; 16] };
        let mut mark = MarkFile::begin(dir.path(), &[1; 16], &Tip::EMPTY, Durability::Commit).expect("a mark");
        mark.write(&tip(1)).expect("written");
        mark.write(&tip(2)).expect("written");
        assert_eq!(read(dir.path()).map(|marked| (marked.batch, marked.position)), Ok((2, 6)));

        let path = dir.path().join("journal.mark");
        let mut bytes = std::fs::read(&path).expect("the mark");
        bytes[SLOT_BYTES + 20] ^= 1; // the second slot, written last, is torn
        std::fs::write(&path, &bytes).expect("written");
        assert_eq!(read(dir.path()).map(|marked| marked.batch), Ok(1));

        bytes[20] ^= 1;
        std::fs::write(&path, &bytes).expect("written");
        assert!(read(dir.path()).is_err());
    }

    #[test]
    fn a_missing_mark_is_told_from_a_damaged_one() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(MarkFile::read(dir.path()).expect("a readable directory").is_none());
    }
}
