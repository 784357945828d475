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
use super::mark::{Marked, boot_id};
use super::segment::{self, Rest, SegmentBytes, SegmentHeader, Trailer};
use super::walk::ToRead;
use super::{LogError, damaged_at, io_at};
use crate::journal::durability::Durability;

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
}

pub(super) struct Open {
    pub(super) header: SegmentHeader,
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
    pub(super) length: u64,
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
    pub(super) fn look(dir: &Path) -> Result<Self, LogError> {
        let numbers = numbers_in(dir)?;
        let state = State { sealed: Vec::new(), open: None, tip: Tip::EMPTY };
        let mut found = Self { state, cut: 0, stillborn: None, last: None };
        for (number, expected) in numbers.iter().copied().zip(1..) {
            let path = path_of(dir, number);
            if number != expected {
                let why = format!("the segment {expected} before it is missing");
                return Err(LogError::Damaged { path, why });
            }
            found.take(path, number, numbers.last() == Some(&number))?;
        }
        Ok(found)
    }

    /// Adds the next segment.
    pub(super) fn take(&mut self, path: PathBuf, number: u32, is_last: bool) -> Result<(), LogError> {
        let damaged = |why: &str| Err(LogError::Damaged { path: path.clone(), why: why.to_owned() });
        let file = File::open(&path).map_err(io_at(&path))?;
        let header = match header_of(&file).map_err(io_at(&path))? {
            Ok(header) => header,
            Err(_) if is_last && holds_nothing(&file).map_err(io_at(&path))? => {
                self.stillborn = Some(path);
                return Ok(());
            }
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
            self.state.sealed.push(Sealed { header, after, path, generation });
            return Ok(());
        }
        let mut bytes = segment::whole(&file).map_err(io_at(&path))?.map_err(damaged_at(&path))?;
        let (directory, walked) = bytes.directory().map_err(damaged_at(&path))?;
        let after = walked.tip;
        self.state.tip = after;
        match walked.rest {
            Rest::Footer(Trailer { generation, .. }) => {
                self.state.sealed.push(Sealed { header, after, path, generation });
            }
            Rest::Nothing | Rest::Fault(_) if is_last => {
                self.cut = bytes.written_behind(walked.end);
                let (file, length) = (Arc::new(file), walked.end as u64);
                self.state.open = Some(Open { header, file, path, length, directory });
                bytes.were_checked_upto(walked.end);
                self.last = Some(bytes);
            }
            Rest::Nothing | Rest::Fault(_) => {
                // The batches tell, or the next segment does not go on from there.
                log::warn!("the footer of {} is damaged; what it says is read from the records", path.display());
                self.state.sealed.push(Sealed { header, after, path, generation: 0 });
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
        let to_read = |path: &Path, upto, is_sealed| ToRead { path: path.to_owned(), upto, is_sealed, bytes: None };
        let sealed = self.sealed.iter().map(move |sealed| to_read(&sealed.path, sealed.after, true));
        sealed.chain(self.open.iter().map(move |open| to_read(&open.path, self.tip, false)))
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
            return Err(LogError::Behind { found, promised });
        }
        // The mark may be older than the log: then its batch is looked up.
        match self.tip_behind(marked.batch)? {
            Some(found) if (found.position, found.digest) == (marked.position, marked.digest) => Ok(None),
            Some(_) | None => Err(altered),
        }
    }
}

/// Whether a file holds nothing behind the place of a segment's header.
fn holds_nothing(mut file: &File) -> io::Result<bool> {
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
