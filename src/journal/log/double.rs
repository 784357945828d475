//! A log for tests, which does what a log does, until it does what disks and networks do.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use parking_lot::Mutex;

use super::{
    BatchBuilding, BatchLog, CommittedBatch, Entry, LogError, LogPlace, Remains, SegmentSpan, Segments, ShowBatches,
    StoredEvent, Tip,
};
use crate::base::wait;

/// What a log does in place of an append.
pub(in crate::journal) enum Mischief {
    /// It appends nothing and says that it failed, as a power loss before the sync has it at the next start.
    Loses,
    /// It appends and says that it failed.
    Fails,
    /// It appends once the sender says so, or is gone.
    Delays(Receiver<()>),
    /// It appends and repeats its answer to the append before.
    Repeats,
}

/// A log on segments that does one mischief at one append.
pub(in crate::journal) struct Double {
    segments: Arc<Segments>,
    /// How many appends come before the mischief.
    plan: Mutex<(usize, Option<Mischief>)>,
}

impl Double {
    pub(in crate::journal) fn new(segments: Arc<Segments>, appends_before: usize, mischief: Mischief) -> Self {
        Self { segments, plan: Mutex::new((appends_before, Some(mischief))) }
    }

    fn due(&self) -> Option<Mischief> {
        let mut plan = self.plan.lock();
        let is_due = plan.0 == 0;
        plan.0 = plan.0.saturating_sub(1);
        if is_due { plan.1.take() } else { None }
    }
}

fn failure() -> LogError {
    LogError::Io { path: "double".into(), error: std::io::Error::other("a mischief of the test") }
}

impl BatchLog for Double {
    fn append(&self, batch: BatchBuilding, sum: [u8; 16]) -> Result<Tip, LogError> {
        let before = self.segments.tip();
        match self.due() {
            None => self.segments.append(batch, sum),
            Some(Mischief::Loses) => Err(failure()),
            Some(Mischief::Fails) => self.segments.append(batch, sum).and(Err(failure())),
            Some(Mischief::Delays(until)) => {
                let _ = wait::receive(&until);
                self.segments.append(batch, sum)
            }
            Some(Mischief::Repeats) => self.segments.append(batch, sum).map(|_| before),
        }
    }

    fn tip(&self) -> Tip {
        self.segments.tip()
    }

    fn begin(&self) -> Result<BatchBuilding, LogError> {
        self.segments.begin()
    }

    fn close(&self) -> Result<(), LogError> {
        self.segments.close()
    }

    fn read(
        &self,
        after: u64,
        show: &mut dyn FnMut(&CommittedBatch<'_>) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        self.segments.read(after, show)
    }

    fn place_before(&self, position: u64) -> Result<LogPlace, LogError> {
        self.segments.place_before(position)
    }

    fn read_on(&self, place: &mut LogPlace, show: ShowBatches<'_>) -> Result<bool, LogError> {
        self.segments.read_on(place, show)
    }

    fn sum_behind(&self, batch: u64) -> Result<Option<[u8; 16]>, LogError> {
        self.segments.sum_behind(batch)
    }

    fn event(&self, position: u64) -> Result<Option<StoredEvent>, LogError> {
        self.segments.event(position)
    }

    fn manifest_path(&self, position: u64) -> Result<Option<String>, LogError> {
        self.segments.manifest_path(position)
    }

    fn part(&self, position: u64, name: &[u8; 20]) -> Result<Option<Vec<u8>>, LogError> {
        self.segments.part(position, name)
    }

    fn blob(&self, name: &[u8; 20]) -> Result<Option<Vec<u8>>, LogError> {
        self.segments.blob(name)
    }

    fn state(&self, segment: u32, actor: u64, sequence: u64) -> Result<Option<Option<Vec<u8>>>, LogError> {
        self.segments.state(segment, actor, sequence)
    }

    fn states_in(&self, segment: u32, actor: u64, events: &Range<u64>) -> Result<Vec<u64>, LogError> {
        self.segments.states_in(segment, actor, events)
    }

    fn sealed(&self) -> Vec<SegmentSpan> {
        self.segments.sealed()
    }

    fn file(&self, segment: u32) -> PathBuf {
        self.segments.file(segment)
    }

    fn bytes(&self) -> u64 {
        self.segments.bytes()
    }

    fn journal(&self) -> Option<[u8; 16]> {
        self.segments.journal()
    }

    fn seal(&self) -> Result<(), LogError> {
        self.segments.seal()
    }

    fn rewrite(&self, segment: u32, edit: &mut dyn FnMut(&Entry<'_>) -> Option<Remains>) -> Result<(), LogError> {
        self.segments.rewrite(segment, edit)
    }
}
