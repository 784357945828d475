//! The log: what is committed. It knows bytes, places and digests, and nothing of chains or of SQLite.
//!
//! ```text
//!   writer ── begin ─▶ BatchBuilding ── push… ─▶ append: one write, one sync, the mark
//!   reader ── read batches from one on · one event by its position · a large part, a stored state
//! ```
//!
//! `docs/journal.md` describes the files byte by byte.

mod batch;
mod building;
mod bytes;
mod copying;
mod dir;
mod directory;
mod edited;
#[cfg(test)]
mod double;
mod entry;
mod forward;
mod mark;
mod remote;
mod segment;
mod segments;
mod state;
#[cfg(test)]
mod tests;
mod walk;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Malformed;

pub(super) use batch::{Tip, tip_of};
pub(super) use building::BatchBuilding;
pub(super) use dir::make as make_dir;
#[cfg(test)]
pub(super) use double::{Double, Mischief};
pub(super) use entry::{BeginsEntry, Entry, EventEntry, OwesEntry, Payload};
pub(super) use forward::{LogPlace, ShowBatches};
pub(super) use mark::{MarkFile, Marked};
pub(crate) use remote::{RemoteBatch, RemoteFault, RemoteLog};
pub(super) use segment::end_of;
pub(super) use segments::{HeldFile, OpenedLog, Segments, held_at_most};
pub(super) use walk::{Run, SegmentWalk};

/// What went wrong with the log.
#[derive(Debug, thiserror::Error)]
pub(in crate::journal) enum LogError {
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    /// The files are not what was written.
    #[error("{}: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    /// It ends before what was acknowledged.
    #[error("it ends at position {found}, but {promised} was acknowledged")]
    Behind { found: u64, promised: u64, unsound: Option<Unsound> },
    /// It holds something else than what was acknowledged.
    #[error("it disagrees with its mark at position {position}")]
    Altered { position: u64 },
    /// The shared log of the realm has not taken a batch, and the journal goes no further.
    #[error(transparent)]
    Remote(RemoteFault),
    /// Data was dropped from a segment after the log was opened to be read as it was then.
    #[error("{}: data was dropped from it while it was read; try again", path.display())]
    Rewritten { path: PathBuf },
}

/// What stands behind the last good batch of the segment that grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::journal) struct Unsound {
    pub(in crate::journal) path: PathBuf,
    /// The byte behind that batch.
    pub(in crate::journal) at: u64,
    pub(in crate::journal) bytes: usize,
}

fn damaged_at(path: &Path) -> impl Fn(Malformed) -> LogError {
    move |Malformed(why)| LogError::Damaged { path: path.to_owned(), why: why.to_owned() }
}

fn damaged_behind(path: &Path, at: usize) -> impl Fn(Malformed) -> LogError {
    move |Malformed(why)| LogError::Damaged { path: path.to_owned(), why: format!("behind byte {at}: {why}") }
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> LogError {
    move |error| LogError::Io { path: path.to_owned(), error }
}

/// One batch that is committed.
pub(in crate::journal) struct CommittedBatch<'a> {
    pub(in crate::journal) segment: u32,
    /// The position of its first event.
    pub(in crate::journal) first: u64,
    pub(in crate::journal) entries: Vec<Entry<'a>>,
    /// How far the log has come behind it.
    pub(in crate::journal) tip: Tip,
}

/// The data of an event as it is stored: large parts by their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::journal) enum StoredData {
    Kept(Vec<u8>),
    Dropped { length: u64, digest: Vec<u8> },
}

/// An event as it is stored.
#[derive(Clone, Debug)]
pub(in crate::journal) struct StoredEvent {
    pub(in crate::journal) actor: u64,
    pub(in crate::journal) sequence: u64,
    pub(in crate::journal) position: u64,
    /// Where the event before it on its chain stands.
    pub(in crate::journal) previous: Option<u64>,
    pub(in crate::journal) timestamp: u64,
    pub(in crate::journal) event_type: Arc<str>,
    pub(in crate::journal) hash: [u8; 20],
    pub(in crate::journal) names_state: bool,
    /// The data begins with 16 bytes of salt.
    pub(in crate::journal) is_salted: bool,
    pub(in crate::journal) data: StoredData,
}

impl StoredEvent {
    /// The salt of the data, if it has one and is there.
    pub(in crate::journal) fn salt(&self) -> Option<[u8; 16]> {
        match &self.data {
            StoredData::Kept(bytes) if self.is_salted => bytes.first_chunk().copied(),
            StoredData::Kept(_) | StoredData::Dropped { .. } => None,
        }
    }

    /// The data without its salt; empty where it was dropped.
    pub(in crate::journal) fn unsalted(&self) -> &[u8] {
        match &self.data {
            StoredData::Kept(bytes) if self.is_salted => bytes.get(16..).unwrap_or_default(),
            StoredData::Kept(bytes) => bytes,
            StoredData::Dropped { .. } => &[],
        }
    }
}

/// A segment: its number, and the positions of the events in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::journal) struct SegmentSpan {
    pub(in crate::journal) number: u32,
    pub(in crate::journal) first: u64,
    pub(in crate::journal) last: u64,
}

/// What an edit leaves of a record whose payload it drops: the length, and the digest that vouches for it.
pub(in crate::journal) type Remains = (u64, Vec<u8>);

/// An append-only sequence of batches. One thread appends; any number read what is committed.
pub(in crate::journal) trait BatchLog: Send + Sync {
    /// How far it has come.
    fn tip(&self) -> Tip;

    /// Begins the next batch.
    fn begin(&self) -> Result<BatchBuilding, LogError>;

    /// Appends a batch. When this returns, the batch is as durable as was asked for, and readers see it. After an error
    /// nothing can be appended any more.
    fn append(&self, batch: BatchBuilding, sum: [u8; 16]) -> Result<Tip, LogError>;

    /// Gives back what was reserved, and has the mark vouch for what is there, where the log was opened despite a loss.
    fn close(&self) -> Result<(), LogError>;

    /// Shows every committed batch behind batch `after`, in order.
    fn read(
        &self,
        after: u64,
        show: &mut dyn FnMut(&CommittedBatch<'_>) -> Result<(), LogError>,
    ) -> Result<(), LogError>;

    /// The beginning of the segment that has the event at `position`, or of the one that will have it.
    fn place_before(&self, position: u64) -> Result<LogPlace, LogError>;

    /// Shows the committed batches that follow a place, a few megabytes of them at most, and moves the place behind them.
    /// Whether there were any. After an error the place is where it was.
    fn read_on(&self, place: &mut LogPlace, show: ShowBatches<'_>) -> Result<bool, LogError>;

    /// The standing sum behind a batch; none where there is no such batch.
    fn sum_behind(&self, batch: u64) -> Result<Option<[u8; 16]>, LogError>;

    /// The event at a position.
    fn event(&self, position: u64) -> Result<Option<StoredEvent>, LogError>;

    /// Where the manifest lay of the incarnation that begins at a position; none if none begins there.
    fn manifest_path(&self, position: u64) -> Result<Option<String>, LogError>;

    /// A large part of the event at a position.
    fn part(&self, position: u64, name: &[u8; 20]) -> Result<Option<Vec<u8>>, LogError>;

    /// A blob, in whichever segment it is.
    fn blob(&self, name: &[u8; 20]) -> Result<Option<Vec<u8>>, LogError>;

    /// A state that is stored in a segment; the inner option is the state, which may be none.
    fn state(&self, segment: u32, actor: u64, sequence: u64) -> Result<Option<Option<Vec<u8>>>, LogError>;

    /// The events of an actor, among these, behind which a segment stores a state.
    fn states_in(&self, segment: u32, actor: u64, events: &Range<u64>) -> Result<Vec<u64>, LogError>;

    /// The segments that can be written anew, oldest first: all but the one that grows.
    fn sealed(&self) -> Vec<SegmentSpan>;

    /// The file of a segment.
    fn file(&self, segment: u32) -> PathBuf;

    /// Bytes of all segments.
    fn bytes(&self) -> u64;

    /// What all its segments call the journal; none before the first.
    fn journal(&self) -> Option<[u8; 16]>;

    /// Seals the segment that grows, between two batches, and begins another.
    fn seal(&self) -> Result<(), LogError>;

    /// Writes a sealed segment anew: `edit` says what is left of a record's payload, or nothing where it stays.
    fn rewrite(&self, segment: u32, edit: &mut dyn FnMut(&Entry<'_>) -> Option<Remains>) -> Result<(), LogError>;
}
