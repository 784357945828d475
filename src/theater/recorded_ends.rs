//! Ends that a start of the runtime writes into chains: for actors whose parent has ended, and for ended actors that
//! are still owed a delivery. The deliveries that waited for them are named as dropped, so that no delivery is owed for
//! ever.

use std::collections::{BTreeMap, HashMap};

use super::former::FormerActor;
use crate::base::clock;
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Failed, FailureReason, Refused, Stopped, StoppedBy};
use crate::chain::{ChainEvent, EventKind, Head, Link, StateChain};
use crate::handlers::INIT;
use crate::journal::{ActorKey, Attached, Cause, JournalReader, Pending, ReadFault, ReadResult, Record};
use crate::system::TheaterHandle;

/// Writes the ends that are due, children before their parents, and waits until they are on disk.
pub(super) fn write_ends(
    theater: &TheaterHandle,
    reader: &JournalReader,
    former: &mut [FormerActor],
    keys: &HashMap<ActorId, ActorKey>,
) -> Result<(), String> {
    let unreadable = |error: ReadFault| error.to_string();
    let mut owed: BTreeMap<ActorId, Vec<Pending>> = BTreeMap::new();
    for row in reader.pending().map_err(unreadable)? {
        // What an actor owes itself (a WebSocket `close`, a timer, a monitor) ends with the actor and was never delivered. A
        // message to itself is a delivery like any other.
        if row.cause.actor != row.receiver || row.notice.is_none() {
            owed.entry(row.receiver).or_default().push(row);
        }
    }
    let mut written = false;
    for actor in former.iter_mut().rev() {
        let rows = owed.remove(&actor.row.actor.id).unwrap_or_default();
        if !actor.ends && (actor.runs() || rows.is_empty()) {
            continue;
        }
        let dropped = Dropped::read(reader, keys, rows).map_err(unreadable)?;
        let end = End { last: &actor.last, open: &actor.open, is_new: actor.row.alive };
        actor.last = end.write(theater, actor.row.actor, dropped)?;
        actor.row.alive = false;
        actor.open.clear();
        written = true;
    }
    // The rows that are left belong to actors that are not listed any more.
    for (id, rows) in owed {
        let Some(actor) = keys.get(&id) else { continue };
        let Some(last) = reader.last_event(*actor).map_err(unreadable)? else { continue };
        let dropped = Dropped::read(reader, keys, rows).map_err(unreadable)?;
        End { last: &last, open: &[], is_new: false }.write(theater, *actor, dropped)?;
        written = true;
    }
    if written { theater.journal.flush().map_err(|error| error.to_string()) } else { Ok(()) }
}

/// The deliveries that an ended actor will not take.
struct Dropped {
    settles: Vec<Cause>,
    /// The events that promised them; `None` for an event that cannot be found.
    causes: Vec<Option<Link>>,
}

impl Dropped {
    fn read(reader: &JournalReader, keys: &HashMap<ActorId, ActorKey>, rows: Vec<Pending>) -> ReadResult<Self> {
        let mut dropped = Self { settles: Vec::new(), causes: Vec::new() };
        for row in rows {
            let Cause { actor, sequence } = row.cause;
            let promise = keys.get(&actor).map(|key| reader.promise(*key, &row)).transpose()?;
            dropped.causes.push(promise.map(|event| Link { actor, sequence, hash: event.hash }));
            dropped.settles.push(row.cause);
        }
        Ok(dropped)
    }
}

/// An end to be written.
struct End<'a> {
    /// The event that the end follows on the chain.
    last: &'a ChainEvent,
    /// The open transition that the end cuts off.
    open: &'a [ChainEvent],
    /// Whether the actor was alive until now.
    is_new: bool,
}

impl End<'_> {
    fn write(
        self,
        theater: &TheaterHandle,
        actor: ActorKey,
        Dropped { mut settles, causes: dropped }: Dropped,
    ) -> Result<ChainEvent, String> {
        // If the actor waits for the answer to a request, that request is withdrawn.
        let promised = self.open.iter().rfind(|event| event.kind() != Some(EventKind::Started));
        let promised = promised.filter(|event| event.kind() == Some(EventKind::Intent));
        settles.extend(promised.map(|intent| Cause { actor: actor.id, sequence: intent.sequence }));
        let head = Head { sequence: self.last.sequence, hash: self.last.hash };
        let mut chain = StateChain::after(actor.id, head);
        let (event_type, data) = self.data(dropped);
        let event = chain.append(event_type, data, clock::unix_ms());
        let attached = Attached { settles, ends: true, ..Attached::default() };
        let record = Record::Event(actor, event.clone(), attached);
        theater.journal.enqueue(record).map_err(|error| error.to_string())?;
        Ok(event)
    }

    fn data(&self, dropped: Vec<Option<Link>>) -> (&'static str, Vec<u8>) {
        let Self { last, is_new, .. } = self;
        if last.event_type == INIT.refused {
            let detail = Refused::from_cbor(&last.data).map_or_else(|error| error.to_string(), |it| it.message);
            return ("failed", Failed { detail, reason: FailureReason::Init, dropped }.to_cbor());
        }
        let failed = Failed::from_cbor(&last.data).ok().filter(|_| last.kind() == Some(EventKind::Failed));
        if let Some(failed) = failed.filter(|_| !is_new) {
            // The actor had failed already, and stays failed.
            return ("failed", Failed { dropped, ..failed }.to_cbor());
        }
        ("stopped", Stopped { by: StoppedBy::Supervisor, cause: None, dropped }.to_cbor())
    }
}
