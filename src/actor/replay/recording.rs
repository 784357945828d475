//! A recording: a chain to be replayed, from a verified file or from an actor's chain in a journal; and the plan of
//! which stretches of it can be replayed if data was dropped.
//!
//! ```text
//!   0 started … transitions … │ dropped … │ kept state … transitions … │ dropped … │ started … transitions … end
//!   └──── a stretch ──────────┘           └──── a stretch ─────────────┘           └──── a stretch ────────────┘
//! ```
//!
//! The first stretch begins at the beginning of the chain. Each further one begins after the first event whose state is
//! stored and is named by an event. A file and the journal that it was exported from have the same stretches.

use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::Mutex;

use super::ReplayError;
use crate::base::id::ActorId;
use crate::chain::{ChainFile, DroppedEvents, sha1};
use crate::journal::{ActorKey, JournalReader, Newest};

/// A chain to be replayed, by the place where it is stored.
pub(crate) enum Recording {
    /// Several readers read the file piece by piece; the lock is held for one piece.
    File(Arc<Mutex<ChainFile>>),
    Journal {
        actor: ActorKey,
        reader: JournalReader,
    },
}

/// A range of consecutive events that can be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReplayStretch {
    /// The event after which the stretch begins; none if that is the beginning of the chain.
    pub(super) start: Option<u64>,
    /// The stretch's last event; none if the stretch goes to the end of the chain, wherever that is by then.
    pub(super) last: Option<u64>,
}

/// The plan of a replay: which parts of the chain can be replayed.
pub(super) struct Plan {
    pub(super) stretches: Vec<ReplayStretch>,
    /// The ranges between the stretches.
    pub(super) skipped: Vec<RangeInclusive<u64>>,
    /// The first event from which on nothing can be replayed.
    pub(super) lost_from: Option<u64>,
    pub(super) dropped: DroppedEvents,
}

pub(super) fn unreadable(error: impl ToString) -> ReplayError {
    ReplayError::Unreadable(error.to_string())
}

impl Recording {
    pub(crate) fn of_file(file: ChainFile) -> Self {
        Self::File(Arc::new(Mutex::new(file)))
    }

    pub(crate) fn of_journal(reader: JournalReader, actor: ActorKey) -> Self {
        Self::Journal { actor, reader }
    }

    /// Why a replay could not follow the chain. Only the first page is read, which holds all of a short chain.
    #[cfg(test)]
    pub(crate) fn why_it_is_not_followed(&self) -> Option<String> {
        let mut tape = self.tape(&ReplayStretch { start: None, last: None }).expect("it can be read");
        (tape.pages)(0).err()
    }

    pub(super) fn actor(&self) -> ActorId {
        match self {
            Self::File(file) => file.lock().contents().header.actor,
            Self::Journal { actor, .. } => actor.id,
        }
    }

    pub(super) fn dropped(&self) -> Result<DroppedEvents, ReplayError> {
        match self {
            Self::File(file) => Ok(file.lock().contents().dropped.clone()),
            Self::Journal { actor, reader } => reader.dropped_events(*actor).map_err(unreadable),
        }
    }

    pub(super) fn has_calls(&self) -> Result<bool, ReplayError> {
        match self {
            Self::File(file) => Ok(file.lock().contents().calls > 0),
            Self::Journal { actor, reader } => reader.has_calls(*actor).map_err(unreadable),
        }
    }

    pub(super) fn last(&self) -> Result<u64, ReplayError> {
        match self {
            Self::File(file) => Ok(file.lock().contents().head.sequence),
            Self::Journal { actor, reader } => {
                Ok(reader.head(*actor).map_err(unreadable)?.map_or(0, |head| head.sequence))
            }
        }
    }

    /// The large state with this SHA-1 that event `sequence` names, if it is stored.
    pub(super) fn held(&self, sequence: u64, digest: &[u8; 20]) -> Result<Option<Vec<u8>>, ReplayError> {
        match self {
            Self::File(file) => {
                let mut file = file.lock();
                let attached = file.state(sequence).map_err(unreadable)?.flatten();
                let attached = attached.filter(|state| sha1(state) == *digest);
                attached.map_or_else(|| file.blob(digest), |state| Ok(Some(state))).map_err(unreadable)
            }
            Self::Journal { actor, reader } => {
                if reader.newest_state_at(*actor).map_err(unreadable)? == Some(sequence)
                    && let Newest::Is(newest) = reader.newest_state(*actor).map_err(unreadable)?
                    && newest.as_ref().is_some_and(|state| sha1(state) == *digest)
                {
                    return Ok(newest);
                }
                let kept = reader.kept_state_at(*actor, sequence).map_err(unreadable)?.flatten();
                kept.map_or_else(|| reader.sound_blob(digest), |state| Ok(Some(state))).map_err(unreadable)
            }
        }
    }

    /// The last event in `range` after which a replay can begin.
    fn last_start(&self, low: u64, high: u64) -> Result<Option<u64>, ReplayError> {
        match self {
            Self::File(file) => {
                let file = file.lock();
                let starts = &file.contents().starts;
                let upto = starts.partition_point(|start| *start <= high);
                Ok(starts[..upto].last().copied().filter(|start| *start >= low))
            }
            Self::Journal { actor, reader } => reader.last_start(*actor, low, high).map_err(unreadable),
        }
    }

    /// The first event from `from` on after which a replay can begin.
    fn next_start(&self, from: u64) -> Result<Option<u64>, ReplayError> {
        match self {
            Self::File(file) => {
                let file = file.lock();
                let starts = &file.contents().starts;
                Ok(starts.get(starts.partition_point(|start| *start < from)).copied())
            }
            Self::Journal { actor, reader } => reader.next_start(*actor, from).map_err(unreadable),
        }
    }

    /// The stretch for a replay up to event `until`. It begins as near to that event as possible.
    pub(super) fn stretch_to(&self, until: u64) -> Result<ReplayStretch, ReplayError> {
        let until = until.min(self.last()?);
        let gap = self.dropped()?.last_upto(until);
        let start = self.last_start(gap.unwrap_or(0), until)?;
        match (start, gap) {
            (None, Some(dropped)) => Err(ReplayError::Gone { until, dropped, next: self.next_start(until)? }),
            // The beginning of the chain is at least as near.
            (Some(0), None) | (None, None) => Ok(ReplayStretch { start: None, last: Some(until) }),
            (Some(start), _) => Ok(ReplayStretch { start: Some(start), last: Some(until) }),
        }
    }

    /// The plan of a replay of everything that can be replayed.
    pub(super) fn plan(&self) -> Result<Plan, ReplayError> {
        let dropped = self.dropped()?;
        let (mut stretches, mut skipped, mut lost_from) = (Vec::new(), Vec::<RangeInclusive<u64>>::new(), None);
        let (mut start, mut from) = (None, 0);
        while let Some(gap) = dropped.first_from(from) {
            if gap > from {
                stretches.push(ReplayStretch { start, last: Some(gap - 1) });
            }
            let Some(next) = self.next_start(gap)? else {
                lost_from = Some(gap);
                break;
            };
            match skipped.last_mut().filter(|last| last.end() + 1 == gap) {
                Some(last) => *last = *last.start()..=next,
                None => skipped.push(gap..=next),
            }
            (start, from) = (Some(next), next + 1);
        }
        if lost_from.is_none() {
            stretches.push(ReplayStretch { start, last: None });
        }
        Ok(Plan { stretches, skipped, lost_from, dropped })
    }
}
