//! Every event of the journal, once, in the order in which they were committed: how a whole journal is checked.
//!
//! To read the batches as they lie costs a fraction of reading chain by chain. Each is checked against its checksum and its
//! digest on the way, and the digests go from batch to batch and from segment to segment.

use std::path::Path;

use super::error::{JournalError, ReadResult};
use super::log::{Entry, MarkFile, Marked, Payload, SegmentWalk, StoredData, StoredEvent};
use super::reader::JournalReader;
use super::upgrade::readable;
use super::{Opened, open_parts_to_read};
use crate::chain::ChainEvent;

const PAGE: usize = 4_096;
const PAGE_BYTES: usize = 16 * 1024 * 1024;

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
    marked: Option<Marked>,
    log: std::sync::Arc<super::log::Segments>,
    found: Vec<String>,
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
        let Opened { log, reader } = open_parts_to_read(&readable)?;
        let walk = log.walk();
        Ok(Self { reader, walk, marked, log, found })
    }

    /// Sees what the walk sees.
    pub(crate) fn reader(&self) -> &JournalReader {
        &self.reader
    }

    /// The next events; none where the journal ends.
    pub(crate) fn page(&mut self) -> ReadResult<Vec<Surveyed>> {
        let mut page = Vec::new();
        let mut bytes = 0usize;
        while page.len() < PAGE && bytes < PAGE_BYTES {
            let mut stored = Vec::new();
            let has_more = self.walk.next(&mut |batch| {
                let mut position = batch.first;
                for entry in &batch.entries {
                    let Entry::Event(event) = entry else { continue };
                    stored.push(StoredEvent {
                        actor: event.actor,
                        sequence: event.sequence,
                        position,
                        previous: None,
                        timestamp: event.timestamp,
                        event_type: event.event_type.into(),
                        hash: event.hash,
                        names_state: event.names_state,
                        is_salted: event.is_salted,
                        data: match event.data {
                            Payload::Kept(data) => StoredData::Kept(data.to_vec()),
                            Payload::Dropped { length, digest } => {
                                StoredData::Dropped { length, digest: digest.to_vec() }
                            }
                        },
                    });
                    position += 1;
                }
            })?;
            if !has_more {
                break;
            }
            for event in stored {
                let actor = event.actor.cast_signed();
                let event = self.reader.event(&event, None)?;
                bytes = bytes.saturating_add(event.data.len());
                page.push(Surveyed { actor, event });
            }
        }
        Ok(page)
    }

    /// What is wrong with the journal as a whole.
    pub(crate) fn findings(self) -> Vec<String> {
        let Self { reader, marked, log, mut found, .. } = self;
        for number in log.numbers() {
            match log.fault_in(number) {
                Ok(fault) => found.extend(fault),
                Err(error) => found.push(error.to_string()),
            }
        }
        match reader.index.sum() {
            Ok(sum) if sum == reader.log.tip().sum => {}
            Ok(_) => found.push("the standing sum at the end of the log is not what its records come to".to_owned()),
            Err(error) => found.push(format!("index.db: {error}")),
        }
        if let Some(marked) = marked {
            let tip = reader.log.tip();
            match log.check(&marked) {
                Ok(None) => {}
                Ok(Some(_)) | Err(super::log::LogError::Behind { .. }) => found.push(format!(
                    "the journal ends at position {}, but journal.mark says that {} was acknowledged",
                    tip.position, marked.position
                )),
                Err(super::log::LogError::Altered { position }) => {
                    let what = "are not those that journal.mark vouches for";
                    found.push(format!("the events up to position {position} {what}"));
                }
                Err(error) => found.push(error.to_string()),
            }
        }
        found
    }
}
