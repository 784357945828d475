//! The mark: a side file that says how far the journal had come when something was last acknowledged.
//!
//! SQLite takes a damaged frame of its write-ahead log for the log's end, and what followed is gone without a word. The
//! mark tells: it is written after each commit and before anything is released, so a journal that ends before its mark
//! has lost what was acknowledged. It need not be synced: a mark that is too old only promises less.
//!
//! Two slots are written in turn, each one line of text with its own checksum, so that a torn write leaves the other.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use super::Durability;
use super::error::named;

const FILE: &str = "journal.mark";
const SLOT_BYTES: usize = 256;
/// The word that a program writes that seals rows. Others leave it out, and do not mind it.
const SEALED: &str = "sealed";

/// A place in the journal, and a digest over the hashes of all events up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tip {
    pub(super) position: u64,
    pub(super) digest: [u8; 20],
}

impl Tip {
    pub(super) const EMPTY: Self = Self { position: 0, digest: [0; 20] };

    /// The place behind one more event.
    pub(super) fn push(&mut self, hash: &[u8; 20]) {
        let mut hasher = Sha1::new();
        hasher.update(self.digest);
        hasher.update(hash);
        self.digest = hasher.finalize().into();
        self.position += 1;
    }
}

/// What a mark said when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) tip: Tip,
    pub(super) durability: Durability,
    /// Names the boot of the machine under which it was written.
    pub(super) boot: String,
    /// Whether it was written by a program that seals rows: see `seals.rs`.
    pub(super) sealed: bool,
}

/// The open mark file.
pub(super) struct MarkFile {
    file: File,
    path: PathBuf,
    next_slot: u64,
    /// What stands behind the digest: durability, boot, and that rows are sealed.
    ending: String,
    line: Vec<u8>,
    /// The mark that was found stays until [`MarkFile::let_go`].
    held_back: bool,
}

impl MarkFile {
    /// Opens the mark in `dir`. `Ok(None)` where there is no file; an error text where there is one that says nothing.
    pub(super) fn read(dir: &Path) -> io::Result<Option<Result<Marked, String>>> {
        let Some(bytes) = Self::bytes(dir)? else { return Ok(None) };
        let newest = bytes.chunks(SLOT_BYTES).filter_map(parse).max_by_key(|marked| marked.tip.position);
        Ok(Some(newest.ok_or_else(|| "neither of its two lines is intact".to_owned())))
    }

    /// What is in the file, if there is one.
    pub(super) fn bytes(dir: &Path) -> io::Result<Option<Vec<u8>>> {
        let path = dir.join(FILE);
        check_is_file(&path)?;
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(named(&path)(error)),
        }
    }

    /// Opens the mark in `dir` for writing and writes `tip` into both slots.
    pub(super) fn begin(dir: &Path, tip: &Tip, durability: Durability) -> io::Result<Self> {
        let mut mark = Self::held_back(dir, durability)?;
        mark.let_go(tip)?;
        // Its name, too, has to outlive a power loss: a journal without its mark is refused.
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(named(dir))?;
        Ok(mark)
    }

    /// Opens the mark in `dir` and writes nothing: what it says, or that it is missing, is to be met again by whoever opens
    /// the journal, until [`MarkFile::let_go`].
    pub(super) fn held_back(dir: &Path, durability: Durability) -> io::Result<Self> {
        let path = dir.join(FILE);
        check_is_file(&path)?;
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(named(&path))?;
        let ending = ending(durability, &boot_id());
        Ok(Self { file, path, next_slot: 0, ending, line: Vec::with_capacity(SLOT_BYTES), held_back: true })
    }

    /// Writes `tip` into both slots, if the mark was held back.
    pub(super) fn let_go(&mut self, tip: &Tip) -> io::Result<()> {
        if std::mem::take(&mut self.held_back) {
            self.write(tip)?;
            self.write(tip)?;
            self.file.sync_all().map_err(named(&self.path))?;
        }
        Ok(())
    }

    pub(super) fn write(&mut self, tip: &Tip) -> io::Result<()> {
        if self.held_back {
            return Ok(());
        }
        render(&mut self.line, tip, &self.ending);
        let written = self.file.write_all_at(&self.line, self.next_slot * SLOT_BYTES as u64);
        written.map_err(named(&self.path))?;
        self.next_slot ^= 1;
        Ok(())
    }
}

/// To open a pipe may take for ever, and a directory says what it is when it is read.
fn check_is_file(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() && !found.is_dir() => {
            Err(named(path)(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")))
        }
        _ => Ok(()),
    }
}

/// Names this boot of the machine. Where the system does not tell, every boot looks the same, which refuses more.
pub(super) fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let text: String = text.trim().chars().filter(char::is_ascii_graphic).take(64).collect();
    if text.is_empty() { "unknown".to_owned() } else { text }
}

fn ending(durability: Durability, boot: &str) -> String {
    format!("{} {boot} {SEALED}", durability.word())
}

/// Once a commit, so into the same room each time.
fn render(line: &mut Vec<u8>, tip: &Tip, ending: &str) {
    let mut hex_digits = [0; 40];
    let digest = hex_of(&tip.digest, &mut hex_digits);
    line.clear();
    write!(line, "theater-mark 1 {} {digest} {ending}", tip.position).expect(INFALLIBLE);
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
    if checksum(body) != sum || words.next()? != "theater-mark" || words.next()? != "1" {
        return None;
    }
    let position = words.next()?.parse().ok()?;
    let mut digest = [0; 20];
    hex::decode_to_slice(words.next()?, &mut digest).ok()?;
    let durability = Durability::parse(words.next()?)?;
    let boot = words.next()?.to_owned();
    Some(Marked { tip: Tip { position, digest }, durability, boot, sealed: words.next() == Some(SEALED) })
}

fn checksum(body: &str) -> String {
    hex::encode(Sha1::digest(body.as_bytes()))
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
        let mut tip = Tip::EMPTY;
        let mut mark = MarkFile::begin(dir.path(), &tip, Durability::Commit).expect("a mark");
        tip.push(&[1; 20]);
        mark.write(&tip).expect("written");
        let older = tip;
        tip.push(&[2; 20]);
        mark.write(&tip).expect("written");
        assert_eq!(read(dir.path()).map(|marked| marked.tip), Ok(tip));

        let path = dir.path().join("journal.mark");
        let mut bytes = std::fs::read(&path).expect("the mark");
        bytes[SLOT_BYTES + 20] ^= 1; // the second slot, written last, is torn
        std::fs::write(&path, &bytes).expect("written");
        assert_eq!(read(dir.path()).map(|marked| marked.tip), Ok(older));

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
