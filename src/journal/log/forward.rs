//! Reading a log forward from a place that the reader keeps: what was read once is not read again, however often it is asked for
//! more. Who follows a log that grows reads it in this way.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;

use super::batch::{RawBatch, Tip, TypeNames};
use super::bytes::Malformed;
use super::dir::path_of;
use super::segment::{self, SegmentHeader, read_upto};
use super::state::State;
use super::walk::understand;
use super::{CommittedBatch, LogError, damaged_behind, io_at};
use crate::base::pool;
use crate::journal::named::open_file;

/// About so many bytes are read at a time.
const PIECE_BYTES: usize = if cfg!(test) { 1_000 } else { 4 * 1024 * 1024 };
/// Fewer bytes are not worth another core.
const SHARE_BYTES: usize = 256 * 1024;

/// Takes batches that follow each other.
pub(in crate::journal) type ShowBatches<'a> = &'a mut dyn FnMut(&[CommittedBatch<'_>]) -> Result<(), LogError>;

/// Where a reader goes on: behind a batch that it was shown.
pub(in crate::journal) struct LogPlace {
    /// None before the first segment.
    segment: Option<PlaceInSegment>,
    tip: Tip,
}

struct PlaceInSegment {
    number: u32,
    journal: u64,
    /// As it was when the reader came to it: if it is written anew, what was read before and what follows still fit.
    file: Arc<File>,
    at: u64,
    names: TypeNames,
}

/// A segment as far as it is committed.
struct Committed {
    header: SegmentHeader,
    upto: Tip,
    /// How long the segment is that grows; what follows in the file is room that was not written to yet.
    growing: Option<u64>,
    file: Option<Arc<File>>,
}

impl LogPlace {
    /// How far the reader has come.
    pub(in crate::journal) fn tip(&self) -> &Tip {
        &self.tip
    }

    /// Has the disk hold what the segment holds that the reader is in.
    pub(in crate::journal) fn sync(&self) -> std::io::Result<()> {
        self.segment.as_ref().map_or(Ok(()), |segment| segment.file.sync_data())
    }
}

impl State {
    fn committed(&self, wanted: impl Fn(&SegmentHeader, &Tip) -> bool) -> Option<Committed> {
        let sealed = self.sealed.iter().map(|sealed| (sealed.header, sealed.after, None, sealed.file.as_ref()));
        let open = self.open.iter().map(|open| (open.header, self.tip, Some(open.length), Some(&open.file)));
        let (header, upto, growing, file) = sealed.chain(open).find(|(header, upto, ..)| wanted(header, upto))?;
        Some(Committed { header, upto, growing, file: file.cloned() })
    }
}

/// The segments that are read, and where their files are.
#[derive(Clone, Copy)]
pub(super) struct CommittedSegments<'a> {
    pub(super) dir: &'a Path,
    pub(super) state: &'a RwLock<State>,
}

impl CommittedSegments<'_> {
    /// The beginning of the segment that has the event at `position`, or of the one that will have it.
    pub(super) fn place_before(self, position: u64) -> Result<LogPlace, LogError> {
        let state = self.state.read();
        let holds = |_: &SegmentHeader, upto: &Tip| upto.position >= position;
        let segment = state.committed(holds).or_else(|| state.committed(|_, upto| *upto == state.tip));
        drop(state);
        match segment {
            None => Ok(LogPlace { segment: None, tip: Tip::EMPTY }),
            Some(segment) => self.place_in(segment),
        }
    }

    fn place_in(self, segment: Committed) -> Result<LogPlace, LogError> {
        let Committed { header, file, .. } = segment;
        let path = path_of(self.dir, header.number);
        let file = match file {
            Some(file) => file,
            None => Arc::new(open_file(&path).map_err(io_at(&path))?),
        };
        let (at, names) = (segment::HEADER_BYTES as u64, TypeNames::default());
        let segment = PlaceInSegment { number: header.number, journal: header.tag(), file, at, names };
        Ok(LogPlace { segment: Some(segment), tip: header.before })
    }

    /// Shows the committed batches that follow a place, a few megabytes of them at most, and moves the place behind them. Whether
    /// there were any. After an error the place is where it was.
    pub(super) fn read_on(self, place: &mut LogPlace, show: ShowBatches<'_>) -> Result<bool, LogError> {
        loop {
            let number = place.segment.as_ref().map_or(1, |segment| segment.number);
            let Some(found) = self.state.read().committed(|header, _| header.number == number) else {
                return Ok(false);
            };
            if place.segment.is_none() {
                *place = self.place_in(found)?;
                continue;
            }
            if place.tip.batch < found.upto.batch {
                return self.show_next(place, &found, show).map(|()| true);
            }
            let next = self.state.read().committed(|header, _| header.number == number + 1);
            match next.filter(|_| found.growing.is_none()) {
                Some(next) => *place = self.place_in(next)?,
                None => return Ok(false),
            }
        }
    }

    fn show_next(self, place: &mut LogPlace, found: &Committed, show: ShowBatches<'_>) -> Result<(), LogError> {
        let before = place.tip;
        let here = place.segment.as_mut().expect("it is in a segment");
        let path = path_of(self.dir, here.number);
        let damaged = |at: u64| damaged_behind(&path, usize::try_from(at).unwrap_or(usize::MAX));
        let length = match found.growing {
            Some(length) => length,
            None => here.file.metadata().map_err(io_at(&path))?.len(),
        };
        let left = length.saturating_sub(here.at);
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES)];
        let (mut tip, mut length) = (before, 0);
        let mut batches: Vec<(Tip, RawBatch<'_>)> = Vec::new();
        let read = read_upto(&here.file, &mut bytes, here.at).map_err(io_at(&path))?;
        if let Some(whole) = RawBatch::length_of_first(&bytes[..read]).filter(|whole| *whole > bytes.len()) {
            bytes.resize(whole, 0);
            read_upto(&here.file, &mut bytes, here.at).map_err(io_at(&path))?;
        }
        while tip.batch < found.upto.batch
            && let Ok(batch) = RawBatch::first(&bytes[length..])
        {
            batches.push((tip, batch));
            (length, tip) = (length + batch.length(), batch.header.tip());
        }
        if batches.is_empty() {
            return Err(damaged(here.at)(Malformed("a batch that was committed is not there")));
        }
        let check = |(before, batch): &(Tip, RawBatch<'_>)| batch.check(before, here.number, here.journal);
        let checked = pool::map(&batches, length / SHARE_BYTES, check).into_iter().collect::<Result<Vec<()>, _>>();
        checked.map_err(damaged(here.at))?;
        let mut names = here.names.clone();
        let known = |(_, batch): &(Tip, RawBatch<'_>)| -> Result<usize, Malformed> {
            for entry in batch.entries() {
                if let Some(name) = entry?.1.name_of_type()? {
                    names.learn(name)?;
                }
            }
            Ok(names.texts().len())
        };
        let known = batches.iter().map(known).collect::<Result<Vec<_>, _>>().map_err(damaged(here.at))?;
        let batches: Vec<_> = batches.into_iter().zip(known).collect();
        let each = |((_, batch), known): &_| understand(batch, &names.texts()[..*known]);
        let shown = pool::map(&batches, length / SHARE_BYTES, each).into_iter().collect::<Result<Vec<_>, _>>();
        show(&shown.map_err(damaged(here.at))?)?;
        (here.at, here.names) = (here.at + length as u64, names);
        place.tip = tip;
        Ok(())
    }
}
