//! What a log has to do with the shared log of a realm: it appends through it, or is a copy of it, batch by batch.

use std::path::Path;
use std::sync::Arc;

use super::batch::{RawBatch, Tip};
use super::bytes::Malformed;
use super::dir::path_of;
use super::edited::Edited;
use super::mark::Marked;
use super::remote::{RemoteBatch, RemoteLog};
use super::segment::{self, FORMAT, SegmentBytes};
use super::segments::{OpenedLog, Segments};
use super::state::Sealed;
use super::{LogError, damaged_at, io_at};
use crate::journal::durability::Durability;

impl Segments {
    /// Opens the local copy of a realm's log, or makes one; all that it lacks comes from the shared log.
    pub(in crate::journal) fn open_copy(
        dir: &Path,
        journal: [u8; 16],
        marked: Option<&Marked>,
    ) -> Result<OpenedLog, LogError> {
        Self::open_if(dir, Durability::Relaxed, marked, true, Some(journal))
    }

    /// From here on, each batch goes to the shared log first.
    pub(in crate::journal) fn append_through(&self, remote: Arc<dyn RemoteLog>) {
        self.pen.as_ref().expect("who only reads appends nothing").lock().remote = Some(remote);
    }

    /// Appends a batch of the shared log as it is. One that is not what follows here is refused, and nothing is changed.
    pub(in crate::journal) fn append_copy(&self, bytes: &[u8], format: u8) -> Result<Tip, LogError> {
        let mut pen = self.pen.as_ref().expect("who only reads appends nothing").lock();
        pen.check(&self.dir)?;
        pen.tidy(&self.dir, &self.state.read())?;
        let refused = |Malformed(why)| {
            let why = format!("the shared log has another batch than the one that follows here: {why}");
            LogError::Damaged { path: self.dir.clone(), why }
        };
        let batch = RawBatch::first(bytes).map_err(refused)?;
        let (before, open, sealed) = {
            let state = self.state.read();
            let number = |sealed: &Sealed| sealed.header.number;
            (state.tip, state.open.as_ref().map(|open| open.header.number), state.sealed.last().map_or(0, number))
        };
        let segment = batch.header.segment;
        let begins_segment = segment == open.unwrap_or(sealed) + 1;
        if batch.length() != bytes.len() || !(begins_segment || open == Some(segment)) {
            return Err(refused(Malformed("a batch is of another segment or length")));
        }
        if format > FORMAT {
            return Err(refused(Malformed("it was written by a newer version of Theater")));
        }
        batch.check(&before, segment, segment::tag_of(pen.journal)).map_err(refused)?;
        if begins_segment {
            self.begin_segment(&mut pen, format)?;
        }
        // What is put together from here on begins with what this batch has brought.
        pen.dictionary = None;
        let tip = self.write(&mut pen, bytes, &batch.header, |directory, length| {
            let at = usize::try_from(length).expect("a segment is far below 4 GiB");
            segment::note_batch(directory, at, &batch).map_err(refused)
        })?;
        Ok(tip)
    }

    /// Shows each batch as a shared log keeps it, until `show` says no.
    pub(in crate::journal) fn each_batch(
        &self,
        show: &mut dyn FnMut(&RemoteBatch<'_>) -> bool,
    ) -> Result<(), LogError> {
        for (path, _) in self.files() {
            let bytes = SegmentBytes::read(&path).map_err(io_at(&path))?.map_err(damaged_at(&path))?;
            let (segment, format) = (bytes.header.number, bytes.header.format);
            // Whoever shall see no more stops the walk, which is no error.
            let _ = bytes.walk(|_, batch| {
                let Tip { batch: number, position, digest, .. } = batch.header.tip();
                let bytes = batch.bytes();
                let is_wanted = show(&RemoteBatch { number, segment, format, position, digest, bytes });
                if is_wanted { Ok(()) } else { Err(()) }
            });
        }
        Ok(())
    }

    /// How often each sealed segment was written anew.
    pub(in crate::journal) fn generations(&self) -> Vec<(u32, u32)> {
        let state = self.state.read();
        state.sealed.iter().map(|sealed| (sealed.header.number, sealed.generation)).collect()
    }

    /// Puts the batches of the shared log, from which data was dropped there, in the place of a sealed segment.
    pub(in crate::journal) fn replace(
        &self,
        number: u32,
        generation: u32,
        batches: &[Vec<u8>],
    ) -> Result<(), LogError> {
        let path = path_of(&self.dir, number);
        let damaged = damaged_at(&path);
        let (header, after) = {
            let state = self.state.read();
            let sealed = state.sealed.iter().find(|sealed| sealed.header.number == number);
            let sealed = sealed.ok_or_else(|| damaged(Malformed("it is to be written anew, and is not sealed")))?;
            (sealed.header, sealed.after)
        };
        let (mut tip, mut whole) = (header.before, Vec::new());
        for bytes in batches {
            let batch = RawBatch::first(bytes).map_err(&damaged)?;
            batch.check(&tip, number, header.tag()).map_err(&damaged)?;
            tip = batch.header.tip();
            whole.push((batch.header, bytes.clone()));
        }
        if tip != after {
            return Err(damaged(Malformed("the shared log has other batches in it")));
        }
        self.put_anew(&path, &Edited { header, batches: whole, generation, changed: Vec::new() })
    }
}
