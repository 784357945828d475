//! Reading a log from one batch on, in order, and checking on the way that each segment is what was written.

use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::batch::{RawBatch, Tip};
use super::bytes::Malformed;
use super::directory::SegmentDirectory;
use super::entry::{Entry, Payload};
use super::segment::{self, Rest, SegmentBytes, note_batch};
use super::{CommittedBatch, LogError, damaged_at, damaged_behind, io_at};
use crate::base::pool;

/// Fewer batches than this many are not worth another core.
const SHARE: usize = 64;

/// A segment that is to be read.
pub(super) struct ToRead {
    pub(super) path: PathBuf,
    /// The file, where it is held.
    pub(super) file: Option<Arc<File>>,
    /// How often it may have been written anew, where that is to be as it was.
    pub(super) generation: Option<u32>,
    /// How far the log had come behind it.
    pub(super) upto: Tip,
    pub(super) is_sealed: bool,
    /// What was read of it before.
    pub(super) bytes: Option<SegmentBytes>,
}

/// A walk over the batches of a log, a few megabytes at a time. It holds one segment in memory.
pub(in crate::journal) struct SegmentWalk {
    segments: VecDeque<ToRead>,
    here: Option<Here>,
    /// What is wrong with segments and hinders nobody from reading them.
    faults: Vec<String>,
}

/// The segment that a walk is in.
struct Here {
    path: PathBuf,
    upto: Tip,
    is_sealed: bool,
    bytes: SegmentBytes,
    /// What the records say that were checked so far.
    directory: SegmentDirectory,
    /// Behind the last batch that was checked.
    end: usize,
    reached: Tip,
    /// Batches that were checked and not shown yet: where each begins, and how many names are known within it.
    waiting: VecDeque<(usize, usize)>,
}

/// Batches that follow each other in one segment.
pub(in crate::journal) struct Run<'a> {
    pub(in crate::journal) batches: Vec<CommittedBatch<'a>>,
    bytes: &'a SegmentBytes,
    directory: &'a SegmentDirectory,
}

impl<'a> Run<'a> {
    /// A large part of an event in these batches.
    pub(in crate::journal) fn part(&self, name: &[u8; 20]) -> Option<&'a [u8]> {
        let record = self.bytes.record(*self.directory.blobs.get(name)?).ok()?;
        match record.understand(&[]) {
            Ok(Entry::Blob { bytes: Payload::Kept(bytes), .. }) => Some(bytes),
            _ => None,
        }
    }
}

impl SegmentWalk {
    pub(super) fn over(segments: impl Iterator<Item = ToRead>) -> Self {
        Self { segments: segments.collect(), here: None, faults: Vec::new() }
    }

    /// The next batches that were not shown yet; none where the log ends. What fails, fails again.
    pub(in crate::journal) fn next_run(&mut self) -> Result<Option<Run<'_>>, LogError> {
        if !self.has_more()? {
            return Ok(None);
        }
        let here = self.here.as_ref().expect("batches wait there");
        Ok(Some(Run { batches: here.show()?, bytes: &here.bytes, directory: &here.directory }))
    }

    /// So many batches of the run were shown: the next run begins behind them.
    pub(in crate::journal) fn shown(&mut self, batches: usize) {
        if let Some(here) = &mut self.here {
            here.waiting.drain(..batches);
        }
    }

    /// Checks what was not read yet. All that is wrong with the segments of the walk, the first fault of each.
    pub(in crate::journal) fn faults(mut self) -> Vec<String> {
        loop {
            match self.next_run() {
                Ok(Some(run)) => {
                    let batches = run.batches.len();
                    self.shown(batches);
                }
                Ok(None) => return self.faults,
                Err(error) => {
                    self.faults.push(error.to_string());
                    if self.here.take().is_none() {
                        self.segments.pop_front();
                    }
                }
            }
        }
    }

    /// Checks the next batches, if all that were checked are shown. Whether there are any.
    fn has_more(&mut self) -> Result<bool, LogError> {
        loop {
            let here = match &mut self.here {
                Some(here) => here,
                None => {
                    let Some(segment) = self.segments.front_mut() else { return Ok(false) };
                    let here = Here::begin(segment)?;
                    self.segments.pop_front();
                    self.here.insert(here)
                }
            };
            if here.waiting.is_empty() && here.reached.batch >= here.upto.batch {
                self.faults.extend(here.check_end()?);
                self.here = None;
                continue;
            }
            here.check_more()?;
            return Ok(true);
        }
    }
}

impl Here {
    fn begin(segment: &mut ToRead) -> Result<Self, LogError> {
        let ToRead { path, file, generation, upto, is_sealed, bytes } = segment;
        let bytes = match (bytes.take(), file) {
            (Some(bytes), _) => bytes,
            (None, Some(file)) => segment::whole(file).map_err(io_at(path))?.map_err(damaged_at(path))?,
            (None, None) => SegmentBytes::read(path).map_err(io_at(path))?.map_err(damaged_at(path))?,
        };
        if let (Some(was), Some(is)) = (*generation, bytes.generation())
            && was != is
        {
            return Err(LogError::Rewritten { path: path.clone() });
        }
        let reached = bytes.header.before;
        Ok(Self {
            path: path.clone(),
            upto: *upto,
            is_sealed: *is_sealed,
            bytes,
            directory: SegmentDirectory::begin(reached.position + 1),
            end: segment::HEADER_BYTES,
            reached,
            waiting: VecDeque::new(),
        })
    }

    /// Checks the next batches, if all that were checked are shown.
    fn check_more(&mut self) -> Result<(), LogError> {
        if !self.waiting.is_empty() {
            return Ok(());
        }
        let run = self.bytes.run(self.end, &self.reached).map_err(|rest| self.damaged(rest.why()))?;
        // Behind the end, there may be more by now.
        for batch in run.into_iter().take_while(|batch| batch.header.number <= self.upto.batch) {
            note_batch(&mut self.directory, self.end, &batch).map_err(damaged_behind(&self.path, self.end))?;
            self.waiting.push_back((self.end, self.directory.names.texts().len()));
            (self.end, self.reached) = (self.end + batch.length(), batch.header.tip());
        }
        Ok(())
    }

    fn show(&self) -> Result<Vec<CommittedBatch<'_>>, LogError> {
        let names = self.directory.names.texts();
        let waiting: Vec<_> = self.waiting.iter().copied().collect();
        let show = |(at, known): &(usize, usize)| {
            let shown = self.bytes.known(*at).and_then(|batch| understand(&batch, &names[..*known]));
            shown.map_err(damaged_behind(&self.path, *at))
        };
        pool::map(&waiting, waiting.len() / SHARE, show).into_iter().collect()
    }

    /// Checks what follows the last batch. What is wrong there concerns no batch.
    fn check_end(&self) -> Result<Option<String>, LogError> {
        if self.reached != self.upto {
            return Err(self.damaged(Malformed("its batches are not those that were there when it was opened")));
        }
        if !self.is_sealed {
            return Ok(None);
        }
        let fault = match self.bytes.run(self.end, &self.reached) {
            Err(Rest::Footer(trailer)) => match self.bytes.stated_directory(self.end, &trailer) {
                Ok(stated) if stated == self.directory => return Ok(None),
                Ok(_) => "its directory is not what its records say",
                Err(Malformed(why)) => why,
            },
            Ok(_) => "batches follow the one that is its last",
            Err(Rest::Nothing | Rest::Fault(_)) => "its footer is damaged; the records are whole",
        };
        Ok(Some(format!("{}: {fault}", self.path.display())))
    }

    fn damaged(&self, fault: Malformed) -> LogError {
        damaged_behind(&self.path, self.end)(fault)
    }
}

/// The records of a batch.
pub(super) fn understand<'a>(batch: &RawBatch<'a>, names: &'a [String]) -> Result<CommittedBatch<'a>, Malformed> {
    let entries = batch.entries().map(|entry| entry?.1.understand(names)).collect::<Result<_, _>>()?;
    Ok(CommittedBatch { segment: batch.header.segment, first: batch.header.first, entries, tip: batch.header.tip() })
}
