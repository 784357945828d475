//! Reading a log from one batch on, in order.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::batch::{BatchHeader, RawBatch, Tip, TypeNames};
use super::bytes::Malformed;
use super::entry::Names;
use super::segment::{self, Rest, SegmentBytes};
use super::{CommittedBatch, LogError, damaged_at, damaged_behind, io_at};

/// A walk over the batches of a log, one at a time.
pub(in crate::journal) struct SegmentWalk {
    /// The segments that are still to be read, each with how far the log had come behind it.
    files: VecDeque<(PathBuf, Tip)>,
    here: Option<Here>,
}

/// The segment that a walk is in.
struct Here {
    path: PathBuf,
    bytes: SegmentBytes,
    names: TypeNames,
    at: usize,
    reached: Tip,
    upto: Tip,
}

impl SegmentWalk {
    /// A walk over these segments, each with how far the log had come behind it.
    pub(super) fn over<'a>(segments: impl Iterator<Item = (&'a Path, Tip)>) -> Self {
        Self { files: segments.map(|(path, upto)| (path.to_owned(), upto)).collect(), here: None }
    }

    /// Shows the next batch. Whether there was one.
    pub(in crate::journal) fn next(&mut self, show: &mut dyn FnMut(&CommittedBatch<'_>)) -> Result<bool, LogError> {
        loop {
            let mut here = match self.here.take() {
                Some(here) => here,
                None => match self.files.pop_front() {
                    Some((path, upto)) => Here::begin(path, upto)?,
                    None => return Ok(false),
                },
            };
            if here.reached.batch < here.upto.batch {
                here.show_next(show)?;
                self.here = Some(here);
                return Ok(true);
            }
            if here.reached != here.upto {
                return Err(here.damaged(Malformed("its batches are not those that were there when it was opened")));
            }
        }
    }
}

impl Here {
    fn begin(path: PathBuf, upto: Tip) -> Result<Self, LogError> {
        let bytes = SegmentBytes::read(&path).map_err(io_at(&path))?.map_err(damaged_at(&path))?;
        let reached = bytes.header.before;
        Ok(Self { path, bytes, names: TypeNames::default(), at: segment::HEADER_BYTES, reached, upto })
    }

    fn show_next(&mut self, show: &mut dyn FnMut(&CommittedBatch<'_>)) -> Result<(), LogError> {
        let batch = self.bytes.batch_at(self.at, &self.reached).map_err(|rest| match rest {
            Rest::Fault(fault) => self.damaged(fault),
            Rest::Nothing | Rest::Footer(_) => self.damaged(Malformed("it ends too early")),
        })?;
        let (length, tip) = (batch.length(), batch.header.tip());
        let damaged = damaged_behind(&self.path, self.at);
        show(&understand(&batch, &mut self.names).map_err(damaged)?);
        self.at += length;
        self.reached = tip;
        Ok(())
    }

    fn damaged(&self, fault: Malformed) -> LogError {
        damaged_behind(&self.path, self.at)(fault)
    }
}

/// The records of a batch; the names of types that it brings are added to `names`.
fn understand<'a>(batch: &RawBatch<'a>, names: &'a mut TypeNames) -> Result<CommittedBatch<'a>, Malformed> {
    for entry in batch.entries() {
        if let Some(name) = entry?.1.name_of_type()? {
            names.learn(name)?;
        }
    }
    let names: &'a dyn Names = names;
    let entries = batch.entries().map(|entry| entry?.1.understand(names)).collect::<Result<_, _>>()?;
    let BatchHeader { segment, first, .. } = batch.header;
    Ok(CommittedBatch { segment, first, entries, tip: batch.header.tip() })
}
