//! What can be enqueued, and the places and rows by which it is found again.

use std::borrow::Cow;
use std::sync::Arc;

use super::parts::Part;
use super::rows::{CarriedRow, RowWrite};
use crate::base::clock::BootTime;
use crate::base::id::{ActorId, Incarnation};
use crate::chain::data::Started;
use crate::chain::{ChainEvent, ComponentDigest, EventHash, KeyDigest, Link};

/// An actor as its rows are keyed, and as everyone else knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ActorKey {
    pub(crate) key: i64,
    pub(crate) id: ActorId,
}

/// Names the event that a delivery comes from, without its hash: the key of an obligation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cause {
    pub(crate) actor: ActorId,
    pub(crate) sequence: u64,
}

impl From<&Link> for Cause {
    fn from(link: &Link) -> Self {
        Self { actor: link.actor, sequence: link.sequence }
    }
}

/// A delivery that an event promises: until the receiver has taken it, or named it as dropped, or the sender has
/// withdrawn it, it is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owed {
    pub(crate) receiver: ActorId,
    /// The word of a lifecycle notice, of the end of a connection or a stream, or of what an actor owes itself; none for a
    /// message, which the event itself holds.
    pub(crate) notice: Option<&'static str>,
    /// Of a timer and of an asynchronous request: when it is due by the boot clock, if that is what it goes by.
    pub(crate) boot: Option<BootTime>,
}

/// The word of a timer's row.
pub(crate) const TIMER: &str = "timer";

/// The word of the row of an actor that asked to be told of the end of another.
pub(crate) const MONITOR: &str = "monitor";

/// The word of the row of an actor that has asked another for something and does not wait for the answer.
pub(crate) const REPLY: &str = "reply";

/// The word of the row of an actor that has put off its answer to another.
pub(crate) const DEFERRED: &str = "deferred";

/// The word of the row of an actor that is to be told of the end of a stream.
pub(crate) const STREAM: &str = "stream";

impl Owed {
    /// What the log and the index say of it besides the receiver: nothing of a message, and else the word. That of a
    /// timer, or of an asynchronous request, may be followed by a time.
    pub(super) fn text(&self) -> Option<Cow<'static, str>> {
        let word = self.notice?;
        Some(self.boot.map_or(Cow::Borrowed(word), |boot| Cow::Owned(format!("{word} {boot}"))))
    }

    /// Reads what [`Owed::text`] has written; `None` if it is of no known kind.
    pub(super) fn read(receiver: ActorId, text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self { receiver, notice: None, boot: None });
        }
        let timed = |word: &str| text.strip_prefix(word).and_then(|rest| rest.strip_prefix(' '));
        if let Some((word, time)) = [TIMER, REPLY].into_iter().find_map(|word| Some((word, timed(word)?))) {
            return Some(Self { receiver, notice: Some(word), boot: Some(time.parse().ok()?) });
        }
        let words = ["started", "stopped", "failed", "restarted", "close", TIMER, MONITOR, REPLY, DEFERRED, STREAM];
        let known = words.into_iter().find(|known| *known == text);
        known.map(|word| Self { receiver, notice: Some(word), boot: None })
    }
}

/// The actor's row at the start of an incarnation.
#[derive(Clone, Debug)]
pub(crate) struct ActorStarted {
    pub(crate) name: String,
    pub(crate) parent: Option<ActorId>,
    pub(crate) incarnation: Incarnation,
    pub(crate) component: ComponentDigest,
    pub(crate) manifest: Arc<str>,
    pub(crate) manifest_path: String,
    /// How many starts in a row have resumed the open transition and got no further.
    pub(crate) attempts: u64,
}

/// The state an event led to.
#[derive(Clone, Debug)]
pub(crate) struct StateWrite {
    pub(crate) state: Option<Arc<[u8]>>,
    /// Whether the event names it, and so leads to it; else it is the one that an earlier event led to.
    pub(crate) named: bool,
    /// Whether it is kept, so that a replay can begin behind the event. A state that is too large to stand in the event and
    /// is not kept is stored when that is due: see `newest.rs`.
    pub(crate) keep: bool,
}

/// What is written in one commit with an event, so that neither is ever on disk without the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attached {
    /// The incarnation that begins with it.
    pub(crate) begins: Option<Box<ActorStarted>>,
    /// The state it led to, where that changed or is due to be kept.
    pub(crate) state: Option<StateWrite>,
    /// The delivery it promises.
    pub(crate) owes: Option<Owed>,
    /// The deliveries that are settled by it.
    pub(crate) settles: Vec<Cause>,
    /// The actor has ended with it, and is not to be resumed.
    pub(crate) ends: bool,
    /// What the transition that it closes has written to the actor's table.
    pub(crate) rows: Vec<RowWrite>,
    /// The call is found again by this idempotency key.
    pub(crate) key: Option<Box<KeyDigest>>,
    /// Taken out of its data when it is enqueued.
    pub(crate) parts: Vec<Part>,
    /// The state that the incarnation begins with, by its SHA-1, where it is too large to stand in the event.
    pub(crate) begins_with: Option<([u8; 20], Arc<[u8]>)>,
}

/// One item of the queue.
#[allow(clippy::large_enum_variant, reason = "nearly all are events; a box would be an allocation for each")]
pub(crate) enum Record {
    /// One event, and what belongs to it.
    Event(ActorKey, ChainEvent, Attached),
    /// The actor has ended and is not to be resumed.
    Ended(ActorKey),
    /// The transition that the actor resumed is still open at an end in order: it was not its fault.
    Survived(ActorKey),
    /// The actor's newest state is stored, if it is not yet.
    Store(ActorKey),
    /// A state is stored behind an event whose data is about to be dropped.
    State(ActorKey, u64, Option<Arc<[u8]>>),
    /// The data of the events from one sequence to before another is about to be dropped, `started` excepted, and so are
    /// the states kept there. The last event that loses its data is `last`.
    Drop { actor: ActorKey, from: u64, upto: u64, last: u64 },
    /// A row of an actor's table, whose event loses its data or is on another chain.
    Row(ActorKey, Box<CarriedRow>),
    /// What was written before it can be written anew from then on: its segment is sealed.
    Seal,
    /// The actor, which has ended, is listed no longer.
    Forgotten(ActorKey),
    /// From here on an operator has the actor paused, or not: its mail waits until it is resumed.
    Paused { actor: ActorKey, is_paused: bool },
    /// A component's bytes; stored once.
    Component(ComponentDigest, Arc<[u8]>),
    /// Run once everything before it is committed.
    Release(Box<dyn FnOnce() + Send>),
    /// Nothing follows.
    Close,
}

impl Record {
    /// Whether somebody waits for it, and for what stands before it.
    pub(super) fn is_urgent(&self) -> bool {
        matches!(self, Self::Release(_) | Self::Close | Self::Seal)
    }

    /// What it counts for in the queue's bound: its payload and a little for its place.
    pub(super) fn weight(&self) -> usize {
        const PLACE: usize = 128;
        PLACE
            + match self {
                Self::Event(_, event, attached) => {
                    let state = attached.state.as_ref().and_then(|write| write.state.as_ref());
                    let manifest = attached.begins.as_ref().map_or(0, |row| row.manifest.len());
                    let parts: usize = attached.parts.iter().map(|(_, part)| part.len()).sum();
                    let parts = parts + attached.begins_with.as_ref().map_or(0, |(_, state)| state.len());
                    let rows: usize = attached.rows.iter().map(|row| row.key.len()).sum();
                    event.data.len() + parts + rows + state.map_or(0, |bytes| bytes.len()) + manifest
                }
                Self::Component(_, bytes) => bytes.len(),
                Self::Row(_, row) => row.write.key.len() + row.write.value.as_ref().map_or(0, |value| value.len()),
                Self::State(_, _, state) => state.as_ref().map_or(0, |state| state.len()),
                Self::Ended(_)
                | Self::Survived(_)
                | Self::Forgotten(_)
                | Self::Paused { .. }
                | Self::Store(_)
                | Self::Drop { .. }
                | Self::Seal
                | Self::Release(_)
                | Self::Close => 0,
            }
    }
}

/// An event's place on its chain, and among the events of all actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventPlace {
    pub(super) sequence: u64,
    pub(super) position: u64,
}

/// How far a chain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChainEnd {
    pub(super) last: EventPlace,
    pub(super) hash: EventHash,
    /// The newest event that names a state; none where no state was named yet.
    pub(super) state: Option<EventPlace>,
    /// The last event whose data was dropped.
    pub(super) dropped: Option<u64>,
}

/// One actor as the journal knows it.
#[derive(Clone, Debug)]
pub(crate) struct ActorRow {
    pub(crate) actor: ActorKey,
    pub(crate) name: String,
    pub(crate) parent: Option<ActorId>,
    pub(crate) incarnation: Incarnation,
    pub(crate) component: ComponentDigest,
    pub(crate) manifest: String,
    pub(crate) manifest_path: String,
    /// Whether it is to be resumed.
    pub(crate) alive: bool,
}

impl ActorRow {
    /// What of it is not what the actor's last start says, on a chain that nobody can alter unseen.
    pub(crate) fn differs_from(&self, started: &Started) -> Option<&'static str> {
        let same = [
            (started.id == self.actor.id, "id"),
            (started.name == self.name, "name"),
            (started.parent == self.parent, "parent"),
            (started.incarnation == self.incarnation, "incarnation"),
            (started.manifest == self.manifest, "manifest"),
            (started.component == self.component, "component"),
        ];
        same.into_iter().find(|(same, _)| !same).map(|(_, what)| what)
    }
}

/// A delivery that was promised and is not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) cause: Cause,
    pub(crate) receiver: ActorId,
    /// Where the event stands that promised it.
    pub(crate) position: u64,
    /// The word of a lifecycle notice, of the end of a connection or a stream, or of what an actor owes itself, which a time may
    /// follow; none for a message.
    pub(crate) notice: Option<String>,
}

impl Pending {
    /// The delivery that is owed; `None` if its kind is not known.
    pub(crate) fn owed(&self) -> Option<Owed> {
        Owed::read(self.receiver, self.notice.as_deref().unwrap_or_default())
    }

    /// Whether it is a timer that the actor has set for itself.
    pub(crate) fn is_timer(&self) -> bool {
        self.owed().is_some_and(|owed| owed.notice == Some(TIMER))
    }

    /// Whether the actor has asked to be told of the end of another.
    pub(crate) fn is_monitor(&self) -> bool {
        self.notice.as_deref() == Some(MONITOR)
    }

    /// Whether the actor is to be told of the answer to a request that it does not wait for.
    pub(crate) fn is_reply(&self) -> bool {
        self.owed().is_some_and(|owed| owed.notice == Some(REPLY))
    }

    /// Whether the actor has put off its answer to another.
    pub(crate) fn is_deferred(&self) -> bool {
        self.notice.as_deref() == Some(DEFERRED)
    }
}
