//! Every event of the journal, once, in the order in which they were committed: how a whole journal is checked.
//!
//! To read the batches as they lie costs a fraction of reading chain by chain. Each is checked against its checksum and its
//! digest on the way, and the digests go from batch to batch and from segment to segment.

use std::path::Path;
use std::sync::Arc;

use super::error::{JournalError, ReadFault, ReadResult, no_part};
use super::facts::{FactReader, unsalted};
use super::index::Standing;
use super::log::{
    BatchLog, CommittedBatch, Entry, EventEntry, LogError, MarkFile, Marked, Payload, Run, SegmentWalk, Segments,
};
use super::reader::{JournalReader, dropped};
use super::upgrade::readable;
use super::{Opened, open_parts_to_read, parts};
use crate::base::pool;
use crate::chain::{ChainEvent, EventHash, Salt};

/// A page ends with the batch in which the data of its events, large parts put back, comes to so many bytes; in the unit
/// tests so few that a page ends within what is read at once.
const PAGE_BYTES: usize = if cfg!(test) { 1_000 } else { 16 * 1024 * 1024 };
/// Fewer events than so many are not worth another core.
const SHARE: usize = 64;

/// An event as the log has it.
pub(crate) struct Surveyed {
    /// The key of its actor.
    pub(crate) actor: i64,
    /// Whoever knows the chain knows its parent; here it has none.
    pub(crate) event: ChainEvent,
}

/// A walk over all events of a journal, as it is at one moment.
pub(crate) struct Survey {
    reader: JournalReader,
    walk: SegmentWalk,
    sums: Sums,
    marked: Option<Marked>,
    log: Arc<Segments>,
    found: Vec<String>,
}

/// The standing sums, as they come to by the records of the batches so far.
struct Sums {
    facts: FactReader<'static>,
    standing: Standing,
    wrong: Option<WrongSum>,
    /// Why they cannot be followed any further.
    lost: Option<String>,
}

/// The first batch with another standing sum than its records come to, and how many others there are.
struct WrongSum {
    batch: u64,
    others: u64,
}

impl Survey {
    /// Opens the journal in `dir` for a walk, with or without a runtime at work on it.
    pub(crate) fn begin(dir: &Path) -> Result<Self, JournalError> {
        let readable = readable(dir)?;
        let dir = &*readable.dir;
        // Read first: while a runtime is at work the log is never behind it.
        let marked = MarkFile::read(dir).map_err(|error| JournalError::directory(dir, error))?;
        let mut found = Vec::new();
        let marked = match marked {
            Some(Ok(marked)) => Some(marked),
            Some(Err(why)) => {
                found.push(format!("journal.mark: {why}"));
                None
            }
            None => {
                found.push("journal.mark is missing".to_owned());
                None
            }
        };
        let Opened { log, walk, reader } = open_parts_to_read(&readable)?;
        Ok(Self { reader, walk, sums: Sums::begin(), marked, log, found })
    }

    /// Sees what the walk sees.
    pub(crate) fn reader(&self) -> &JournalReader {
        &self.reader
    }

    /// The events of the next batches, of each batch in a list of its own; none where the journal ends.
    pub(crate) fn page(&mut self) -> ReadResult<Option<Vec<Vec<Surveyed>>>> {
        let Self { reader, walk, sums, .. } = self;
        let Some(run) = walk.next_run()? else { return Ok(None) };
        let mut bytes = 0;
        let fits = run.batches.iter().position(|batch| {
            let is_full = bytes > PAGE_BYTES;
            bytes += data_bytes(batch, &run);
            is_full
        });
        let batches = &run.batches[..fits.unwrap_or(run.batches.len())];
        let events: usize = batches.iter().map(|batch| batch.entries.len()).sum();
        let (page, ()) = rayon::join(
            || pool::map(batches, events / SHARE, |batch| surveyed(batch, &run)),
            || sums.follow(&*reader.log, batches),
        );
        let page = page.into_iter().collect::<ReadResult<_>>()?;
        let shown = batches.len();
        walk.shown(shown);
        Ok(Some(page))
    }

    /// What is wrong with the journal as a whole.
    pub(crate) fn findings(self) -> Vec<String> {
        let Self { reader, walk, sums, marked, log, mut found } = self;
        found.extend(walk.faults());
        found.extend(sums.finding());
        if let Some(marked) = marked {
            let tip = reader.log.tip();
            match log.check(&marked) {
                Ok(None) => {}
                Ok(Some(_)) | Err(LogError::Behind { .. }) => found.push(format!(
                    "the journal ends at position {}, but journal.mark says that {} was acknowledged",
                    tip.position, marked.position
                )),
                Err(LogError::Altered { position }) => {
                    let what = "are not those that journal.mark vouches for";
                    found.push(format!("the events up to position {position} {what}"));
                }
                Err(error) => found.push(error.to_string()),
            }
        }
        found
    }
}

/// How many bytes the data of a batch's events has, large parts put back.
fn data_bytes(batch: &CommittedBatch<'_>, run: &Run<'_>) -> usize {
    let of_part = |name: &[u8; 20]| run.part(name).map_or(0, <[u8]>::len);
    let of_entry = |entry: &Entry<'_>| match entry {
        Entry::Event(EventEntry { data: Payload::Kept(stored), is_salted, .. }) => {
            let stored = unsalted(*is_salted, stored);
            stored.len() + parts::names(stored).iter().map(of_part).sum::<usize>()
        }
        _ => 0,
    };
    batch.entries.iter().map(of_entry).sum()
}

fn surveyed(batch: &CommittedBatch<'_>, run: &Run<'_>) -> ReadResult<Vec<Surveyed>> {
    let events = batch.entries.iter().filter_map(|entry| match entry {
        Entry::Event(event) => Some(event),
        _ => None,
    });
    events.map(|event| Ok(Surveyed { actor: event.actor.cast_signed(), event: on_its_chain(event, run)? })).collect()
}

/// An event as its chain has it, but for its parent.
fn on_its_chain(event: &EventEntry<'_>, run: &Run<'_>) -> ReadResult<ChainEvent> {
    let (mut data, mut salt, mut gone) = (Vec::new(), None, None);
    match event.data {
        Payload::Kept(stored) => {
            salt = stored.first_chunk().filter(|_| event.is_salted).copied().map(Salt);
            let find = |name: &[u8; 20]| Ok::<_, ReadFault>(run.part(name).map(<[u8]>::to_vec));
            data = parts::put_back(unsalted(event.is_salted, stored).to_vec(), find)?.map_err(no_part)?;
        }
        Payload::Dropped { length, digest } => gone = Some(dropped(event.sequence, length, digest)?),
    }
    Ok(ChainEvent {
        sequence: event.sequence,
        timestamp: event.timestamp,
        event_type: event.event_type.to_owned().into(),
        parent_hash: None,
        hash: EventHash(event.hash),
        data,
        salt,
        dropped: gone,
    })
}

impl Sums {
    fn begin() -> Self {
        Self { facts: FactReader::new(None), standing: Standing::of_nothing(), wrong: None, lost: None }
    }

    /// Compares the sum behind each of these batches, which follow those before.
    fn follow(&mut self, log: &dyn BatchLog, batches: &[CommittedBatch<'_>]) {
        for batch in batches {
            if self.lost.is_some() {
                return;
            }
            match self.behind(log, batch) {
                Ok(sum) if sum == batch.tip.sum => {}
                Ok(_) => match &mut self.wrong {
                    Some(wrong) => wrong.others += 1,
                    None => self.wrong = Some(WrongSum { batch: batch.tip.batch, others: 0 }),
                },
                Err(error) => self.lost = Some(error.to_string()),
            }
        }
    }

    fn behind(&mut self, log: &dyn BatchLog, batch: &CommittedBatch<'_>) -> ReadResult<[u8; 16]> {
        for fact in self.facts.facts(log, batch)? {
            self.standing.apply(&fact)?;
        }
        let sum = self.standing.sum();
        self.standing.forget_told();
        Ok(sum)
    }

    fn finding(self) -> Option<String> {
        if let Some(WrongSum { batch, others }) = self.wrong {
            let others = match others {
                0 => String::new(),
                1 => ", nor is that of 1 batch behind it".to_owned(),
                others => format!(", nor are those of {others} batches behind it"),
            };
            return Some(format!("the standing sum of batch {batch} is not what the records come to{others}"));
        }
        self.lost.map(|why| format!("the standing sums cannot be followed: {why}"))
    }
}
