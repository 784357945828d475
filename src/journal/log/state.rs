//! Which segments a log consists of, as they are found in its directory and as they grow.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch::Tip;
use super::bytes::Malformed;
use super::dir::{numbers_in, path_of};
use super::directory::SegmentDirectory;
use super::mark::Marked;
use super::segment::{self, Rest, SegmentBytes, SegmentHeader, Trailer};
use super::walk::ToRead;
use super::{LogError, Unsound, damaged_at, io_at};
use crate::base::clock::boot_id;
use crate::journal::durability::Durability;
use crate::journal::named::open_file;

/// What readers go by.
pub(super) struct State {
    pub(super) sealed: Vec<Sealed>,
    /// The segment that grows; none before the first batch.
    pub(super) open: Option<Open>,
    pub(super) tip: Tip,
}

pub(super) struct Sealed {
    pub(super) header: SegmentHeader,
    pub(super) after: Tip,
    pub(super) path: PathBuf,
    /// How often it was written anew.
    pub(super) generation: u32,
    /// The file as it was when the log was opened to be read: data may be dropped from it since. None where the log is
    /// written to, and where there are too many segments to hold them all.
    pub(super) file: Option<Arc<File>>,
}

pub(super) struct Open {
    pub(super) header: SegmentHeader,
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
    pub(super) length: u64,
    /// Bytes that were written behind its last good batch when it was opened.
    pub(super) unsound: usize,
    pub(super) directory: SegmentDirectory,
}

/// The files of a log, as they were found.
pub(super) struct Found {
    pub(super) state: State,
    /// Bytes that were written behind the last good batch.
    pub(super) cut: usize,
    /// A file that was begun and holds nothing yet.
    pub(super) stillborn: Option<PathBuf>,
    /// The segment that grows, as it was read.
    pub(super) last: Option<SegmentBytes>,
}

impl Sealed {
    pub(super) fn ends(&self) -> (Tip, u32) {
        (self.after, self.generation)
    }
}

impl Found {
    /// Looks at a log that nobody else writes to.
    pub(super) fn look(dir: &Path) -> Result<Self, LogError> {
        Self::look_holding(dir, 0)
    }

    /// The same while somebody may be writing to it and dropping data from it. Of the sealed segments, the last `most` are
    /// held open.
    ///
    /// Before data is dropped from a sealed segment, the log says so at its end. So the end is read last: it says what was
    /// dropped from any segment that was opened before.
    pub(super) fn look_holding(dir: &Path, most: usize) -> Result<Self, LogError> {
        let mut numbers = numbers_in(dir)?;
        loop {
            let found = Self::look_at(dir, &numbers, most)?;
            let now = numbers_in(dir)?;
            // A segment that was begun meanwhile may say more.
            let is_begun = |path: &PathBuf| !is_stillborn(path).unwrap_or(false);
            if now.last() <= numbers.last() && !found.stillborn.as_ref().is_some_and(is_begun) {
                return Ok(found);
            }
            numbers = now;
        }
    }

    fn look_at(dir: &Path, numbers: &[u32], most: usize) -> Result<Self, LogError> {
        let state = State { sealed: Vec::new(), open: None, tip: Tip::EMPTY };
        let mut found = Self { state, cut: 0, stillborn: None, last: None };
        let mut numbers = numbers;
        // One that holds nothing has no say in where the log ends: the one before it may be the one that grows.
        if let Some((last, before)) = numbers.split_last()
            && *last as usize == numbers.len()
        {
            let path = path_of(dir, *last);
            if is_stillborn(&path).map_err(io_at(&path))? {
                (found.stillborn, numbers) = (Some(path), before);
            }
        }
        for (at, (number, expected)) in numbers.iter().copied().zip(1..).enumerate() {
            let path = path_of(dir, number);
            if number != expected {
                let why = format!("the segment {expected} before it is missing");
                return Err(LogError::Damaged { path, why });
            }
            found.take(path, number, at + 1 == numbers.len())?;
            if at.saturating_add(most) < numbers.len()
                && let Some(sealed) = found.state.sealed.last_mut()
            {
                sealed.file = None;
            }
        }
        Ok(found)
    }

    /// Adds the next segment.
    pub(super) fn take(&mut self, path: PathBuf, number: u32, is_last: bool) -> Result<(), LogError> {
        let damaged = |why: &str| Err(LogError::Damaged { path: path.clone(), why: why.to_owned() });
        let file = Arc::new(open_file(&path).map_err(io_at(&path))?);
        let header = match header_of(&file).map_err(io_at(&path))? {
            Ok(header) => header,
            Err(Malformed(why)) => return damaged(why),
        };
        if header.number != number {
            return damaged(&format!("it is the segment {}, under another's name", header.number));
        }
        if self.state.journal().is_some_and(|journal| journal != header.journal) {
            return damaged("it is a segment of another journal");
        }
        if header.before != self.state.tip {
            return damaged("it does not go on where the segment before it ends");
        }
        // The last may not be sealed, and end with data of an event that looks like a trailer.
        if !is_last && let Some(Trailer { after, generation, .. }) = Trailer::of(&file).map_err(io_at(&path))? {
            self.state.tip = after;
            self.state.sealed.push(Sealed { header, after, path, generation, file: Some(file) });
            return Ok(());
        }
        let mut bytes = segment::whole(&file).map_err(io_at(&path))?.map_err(damaged_at(&path))?;
        let (directory, walked) = bytes.directory().map_err(damaged_at(&path))?;
        let after = walked.tip;
        self.state.tip = after;
        match walked.rest {
            Rest::Footer(Trailer { generation, .. }) => {
                self.state.sealed.push(Sealed { header, after, path, generation, file: Some(file) });
            }
            Rest::Nothing | Rest::Fault(_) if is_last => {
                self.cut = bytes.written_behind(walked.end);
                let length = walked.end as u64;
                self.state.open = Some(Open { header, file, path, length, unsound: self.cut, directory });
                bytes.were_checked_upto(walked.end);
                self.last = Some(bytes);
            }
            Rest::Nothing | Rest::Fault(_) => {
                // The batches tell, or the next segment does not go on from there.
                log::warn!("the footer of {} is damaged; what it says is read from the records", path.display());
                self.state.sealed.push(Sealed { header, after, path, generation: 0, file: Some(file) });
            }
        }
        Ok(())
    }
}

impl State {
    pub(super) fn journal(&self) -> Option<[u8; 16]> {
        let first = self.sealed.first().map(|first| first.header.journal);
        first.or_else(|| self.open.as_ref().map(|open| open.header.journal))
    }

    /// All segments.
    pub(super) fn segments(&self) -> impl Iterator<Item = ToRead> {
        let sealed = self.sealed.iter().map(|sealed| ToRead {
            path: sealed.path.clone(),
            file: sealed.file.clone(),
            generation: Some(sealed.generation),
            upto: sealed.after,
            is_sealed: true,
            bytes: None,
        });
        sealed.chain(self.open.iter().map(|open| ToRead {
            path: open.path.clone(),
            file: None,
            generation: None,
            upto: self.tip,
            is_sealed: false,
            bytes: None,
        }))
    }

    /// How far the log had come behind batch `number`; none where there is no such batch.
    pub(super) fn tip_behind(&self, number: u64) -> Result<Option<Tip>, LogError> {
        let ends = || [Tip::EMPTY].into_iter().chain(self.segments().map(|segment| segment.upto));
        if let Some(tip) = ends().find(|tip| tip.batch == number) {
            return Ok(Some(tip));
        }
        let Some(ToRead { path, .. }) = self.segments().find(|segment| segment.upto.batch > number) else {
            return Ok(None);
        };
        let bytes = SegmentBytes::read(&path).map_err(io_at(&path))?;
        Ok(bytes.ok().and_then(|bytes| bytes.tip_behind(number)))
    }

    /// What was found behind the last good batch of the segment that grows.
    pub(super) fn unsound_end(&self) -> Option<Unsound> {
        let open = self.open.as_ref().filter(|open| open.unsound > 0)?;
        Some(Unsound { path: open.path.clone(), at: open.length, bytes: open.unsound })
    }

    /// Whether the log has what its mark vouches for. How many events a power loss under `relaxed` has taken, where that
    /// may be.
    pub(super) fn check(&self, marked: &Marked) -> Result<Option<u64>, LogError> {
        let altered = LogError::Altered { position: marked.position };
        if self.journal().is_some_and(|journal| journal != marked.journal) {
            return Err(altered);
        }
        if self.tip.batch < marked.batch {
            let (found, promised) = (self.tip.position, marked.position);
            if marked.durability == Durability::Relaxed && marked.boot != boot_id() {
                return Ok(Some(promised.saturating_sub(found)));
            }
            return Err(LogError::Behind { found, promised, unsound: self.unsound_end() });
        }
        // The mark may be older than the log: then its batch is looked up.
        match self.tip_behind(marked.batch)? {
            Some(found) if (found.position, found.digest) == (marked.position, marked.digest) => Ok(None),
            Some(_) | None => Err(altered),
        }
    }
}

/// Whether a file has no header, and holds nothing behind the place of one.
fn is_stillborn(path: &Path) -> io::Result<bool> {
    let mut file = open_file(path)?;
    if header_of(&file)?.is_ok() {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes.iter().skip(segment::HEADER_BYTES).all(|byte| *byte == 0))
}

fn header_of(file: &File) -> io::Result<Result<SegmentHeader, Malformed>> {
    let mut bytes = [0; segment::HEADER_BYTES];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(SegmentHeader::read(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(Malformed("it ends within its header"))),
        Err(error) => Err(error),
    }
}
