//! What one committed record means to the index.

use std::borrow::Cow;
use std::ops::Range;

use crate::base::id::ActorId;
use crate::chain::{EventHash, EventKind, KeyDigest};
pub(in crate::journal) use crate::journal::record::{
    ActorKey, ActorRow, ActorStarted, Cause, ChainEnd, EventPlace, Owed, Pending,
};

use crate::journal::rows::{CarriedRow, RowWrite};

/// One event in so many is a milestone, from which a walk into the middle of a chain begins.
const MILESTONE_EVERY: u64 = 64;

/// One thing that a committed batch says. The facts of a batch are told in the order of its records.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all are events; a box would be an allocation for each")]
pub(in crate::journal) enum Fact {
    Event(EventFact),
    /// The actor is not to be resumed, and what it owes itself ends with it.
    Ended(i64),
    /// The attempts to get the actor's open transition done are counted from 0 again.
    Survived(i64),
    /// The actor is listed no longer.
    Forgotten(i64),
    /// The actor is paused from here on, or not.
    Paused {
        actor: i64,
        is_paused: bool,
    },
    /// The state behind an event is stored in a segment, apart from the event.
    State {
        actor: i64,
        sequence: u64,
        segment: u32,
    },
    /// The data of events was dropped, the last of them at sequence `last`.
    Dropped {
        actor: i64,
        last: u64,
    },
    /// A transition that closed with this event has written to the actor's table.
    Rows {
        actor: i64,
        closed: u64,
        writes: Vec<RowWrite>,
    },
    /// The same of a row that the log has by a record of its own.
    Carried {
        actor: i64,
        row: Box<CarriedRow>,
    },
    /// The states that were kept behind these events are not stored any more.
    StatesDropped {
        actor: i64,
        events: Range<u64>,
    },
}

/// An event, and what was written with it.
#[derive(Clone, Debug)]
pub(in crate::journal) struct EventFact {
    pub(in crate::journal) actor: ActorKey,
    pub(in crate::journal) sequence: u64,
    pub(in crate::journal) position: u64,
    pub(in crate::journal) hash: EventHash,
    pub(in crate::journal) landmark: Option<Landmark>,
    /// The event says which state it led to.
    pub(in crate::journal) names_state: bool,
    /// A state is kept behind the event, and the event itself holds it.
    pub(in crate::journal) keeps: bool,
    pub(in crate::journal) begins: Option<Box<ActorStarted>>,
    pub(in crate::journal) owes: Option<Owed>,
    pub(in crate::journal) settles: Vec<Cause>,
    /// The call is found by this idempotency key.
    pub(in crate::journal) key: Option<KeyDigest>,
    pub(in crate::journal) ends: bool,
}

impl EventFact {
    pub(super) fn place(&self) -> EventPlace {
        EventPlace { sequence: self.sequence, position: self.position }
    }

    /// The delivery that the event promises.
    pub(super) fn promise(&self) -> Option<(Cause, Promised)> {
        let owes = self.owes?;
        let (receiver, notice) = (owes.receiver, owes.text().map(Cow::into_owned));
        let own = (receiver == self.actor.id).then_some(self.actor.key);
        let promised = Promised { receiver, position: self.position, notice, own };
        Some((Cause { actor: self.actor.id, sequence: self.sequence }, promised))
    }

    /// The row of the actor whose incarnation begins with the event.
    pub(super) fn listing(&self) -> Option<Listing> {
        let row = self.begins.as_deref()?;
        Some(Listing {
            row: ActorRow {
                actor: self.actor,
                name: row.name.clone(),
                parent: row.parent,
                incarnation: row.incarnation,
                component: row.component,
                manifest: row.manifest.to_string(),
                manifest_path: row.manifest_path.clone(),
                alive: true,
            },
            attempts: row.attempts,
            listed: true,
            started: self.position,
        })
    }
}

/// Events that a start looks for, on chains of any length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::journal) enum Landmark {
    /// An incarnation begins.
    Started,
    /// The actor failed.
    Failed,
    /// `init` has returned.
    InitReturned,
}

impl Landmark {
    /// What an event of this type is.
    pub(in crate::journal) fn of(event_type: &str) -> Option<Self> {
        match event_type {
            "return ntwk:theater/actor.init" => Some(Self::InitReturned),
            word if word == EventKind::Started.word() => Some(Self::Started),
            word if word == EventKind::Failed.word() => Some(Self::Failed),
            _ => None,
        }
    }

    /// The number for it in tables and sums.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Started => 0,
            Self::Failed => 1,
            Self::InitReturned => 2,
        }
    }
}

/// Where a kept state is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::journal) enum Kept {
    /// In the event that led to it.
    InEvent,
    /// By a record of its own, in this segment of the log.
    InSegment(u32),
}

/// Up to where the index holds what the log does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::journal) struct IndexedTo {
    /// The number of the last batch.
    pub(in crate::journal) batch: u64,
    /// The position of the last event.
    pub(in crate::journal) position: u64,
}

/// An actor's row in full.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    pub(super) row: ActorRow,
    pub(super) attempts: u64,
    pub(super) listed: bool,
    /// The position of the event with which the newest incarnation begins.
    pub(super) started: u64,
}

impl Listing {
    pub(super) fn unsaid(&self) -> Unsaid {
        Unsaid {
            alive: self.row.alive,
            attempts: self.attempts,
            listed: self.listed,
            started: self.started,
            manifest_path: self.row.manifest_path.clone(),
        }
    }
}

/// What an actor's row says and its chain does not, and which event begins its newest incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unsaid {
    pub(super) alive: bool,
    pub(super) attempts: u64,
    pub(super) listed: bool,
    pub(super) started: u64,
    pub(super) manifest_path: String,
}

/// What is owed, by its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Promised {
    pub(super) receiver: ActorId,
    pub(super) position: u64,
    pub(super) notice: Option<String>,
    /// The key of the actor, where it owes this to itself.
    pub(super) own: Option<i64>,
}

impl Promised {
    pub(super) fn pending(self, cause: Cause) -> Pending {
        let Self { receiver, position, notice, own: _ } = self;
        Pending { cause, receiver, position, notice }
    }
}

/// Whether a walk into the middle of a chain can begin at the event.
pub(super) const fn is_milestone(sequence: u64) -> bool {
    sequence % MILESTONE_EVERY == MILESTONE_EVERY - 1
}

/// The first sequence from `sequence` on that is a milestone's.
pub(super) const fn milestone_at_or_after(sequence: u64) -> u64 {
    sequence | (MILESTONE_EVERY - 1)
}
