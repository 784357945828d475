//! The decision about each promise after a crash: it is delivered again, awaited, answered, done (again), or of unknown
//! outcome. This is a pure function of the chains and of the owed rows (`pending`), so that a model can test it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::Promise;
use super::circles::{Edge, newest_of_each_circle};
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Failed, Stopped};
use crate::chain::{ChainEvent, EventKind, Link};
pub(crate) use crate::journal::ReadResult;
use crate::journal::{Cause, Pending};
use crate::system::{Awaited, Delivery, DueTime, Lane, RecordedEnd, Timer};

/// The chains as a start of the runtime finds them, in the journal or in a model.
pub(crate) trait Chains {
    /// Whether there is a chain of this actor. The actor may be listed or forgotten.
    fn is_known(&self, actor: ActorId) -> bool;

    /// Whether the actor goes on running after the start.
    fn goes_on(&self, actor: ActorId) -> bool;

    /// The events of the transition that the actor is to resume, from its `call` on; empty if none is open.
    fn open(&self, actor: ActorId) -> &[ChainEvent];

    /// The place of an event in the order of all events.
    fn position(&self, actor: ActorId, sequence: u64) -> ReadResult<u64>;

    /// The actor's events after a place in the order of all events.
    fn events_after(&self, actor: ActorId, position: u64) -> ReadResult<Vec<ChainEvent>>;

    /// One event of the actor; `None` if its chain does not have it.
    fn event(&self, actor: ActorId, sequence: u64) -> ReadResult<Option<ChainEvent>>;

    /// A page of the actor's events, from a sequence on; empty at the end of its chain.
    fn page(&self, actor: ActorId, from: u64) -> ReadResult<Vec<ChainEvent>>;

    /// The event by which an actor has ended for good, if it was over for good at some time since a place in the order of all
    /// events. It may have ended before that place, and may live again.
    fn end_since(&self, actor: ActorId, position: u64) -> ReadResult<Option<ChainEvent>>;

    /// The event that promised what a row says is owed; `None` if its chain is not there.
    fn promise(&self, row: &Pending) -> ReadResult<Option<ChainEvent>>;
}

/// An intent that is the last event of a chain.
pub(crate) struct OpenIntent<'a> {
    pub(super) link: Link,
    pub(super) event: &'a ChainEvent,
    pub(super) position: u64,
}

/// What became of the promise of an intent that is the last event of a chain.
#[derive(Debug)]
pub(crate) enum Fate {
    /// The chains say nothing about the outcome, or cannot: the host function is called again.
    Again,
    /// The chains say what the outcome is, or that nobody can know it.
    Answered(Awaited),
    /// The outcome is still to come: the actor goes on waiting.
    Await { on: ActorId, through: Through },
}

/// Where an awaited answer will come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    /// The open transition of the receiver, which has taken the message.
    Transition,
    /// A delivery that is owed to the receiver.
    Delivery,
    /// The receiver has put off its answer, by the event of this sequence.
    Deferred(u64),
    /// The `init` of the new child.
    Init,
    /// The start of a child that is to be up again.
    Restart,
}

/// A delivery that a start puts back into a mailbox.
#[derive(Debug)]
pub(crate) struct Due {
    /// The place of the event that promised it.
    pub(crate) position: u64,
    pub(crate) to: ActorId,
    pub(crate) lane: Lane,
    pub(crate) delivery: Delivery,
    /// The actor that waits for its answer.
    pub(crate) awaited_by: Option<ActorId>,
    /// The event of an actor that is told of the answer later.
    pub(crate) asked_by: Option<Cause>,
}

/// An asynchronous request without an answer that was told of, as a start finds it.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    pub(crate) asker: ActorId,
    /// The sequence of the asker's event.
    pub(crate) token: u64,
    pub(crate) to: ActorId,
    pub(crate) within_ms: u64,
    pub(crate) due: DueTime,
    pub(crate) fate: Fate,
}

/// A monitor that is open, as a start finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenMonitor {
    pub(crate) watcher: ActorId,
    /// The sequence of the watcher's event that asked for it.
    pub(crate) reference: u64,
    pub(crate) watched: ActorId,
    /// How the watched actor has ended, if it has.
    pub(crate) end: Option<RecordedEnd>,
}

/// What a start does about all promises that are not settled.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    /// For each chain that ends with an intent: that event, and what became of it.
    pub(crate) fates: BTreeMap<ActorId, (Link, Fate)>,
    /// The deliveries that are made again, in the order in which they were promised.
    pub(crate) due: Vec<Due>,
    /// The timers that are set again: each actor's own, with their keys.
    pub(crate) timers: Vec<(ActorId, Arc<str>, Timer)>,
    /// The monitors that are open again.
    pub(crate) monitors: Vec<OpenMonitor>,
    /// The asynchronous requests whose answers are still to be told.
    pub(crate) requests: Vec<OpenRequest>,
    /// The answers that actors have put off, by the events that did so. Whoever waits for one is among the fates and requests.
    pub(crate) deferred: Vec<Cause>,
    /// Why certain rows could not be delivered.
    pub(crate) unreadable: Vec<String>,
    /// The actors whose waits were part of a circle and are now of unknown outcome.
    pub(crate) given_up: Vec<ActorId>,
}

/// Decides about the open transitions of `actors`, and about the owed rows.
pub(crate) fn decide(chains: &dyn Chains, actors: &[ActorId], rows: &[Pending]) -> ReadResult<Decided> {
    let mut decided = Decided::default();
    let mut edges = BTreeMap::new();
    let (mut intents, mut receivers) = (BTreeMap::new(), Receivers::default());
    for actor in actors {
        let Some(intent) = open_intent(chains, *actor)? else { continue };
        let Some(promise) = Promise::of_intent(intent.event) else { continue };
        let fate = promise.fate(chains, &mut receivers, &intent)?;
        if let Fate::Await { on, .. } = &fate {
            edges.insert(*actor, Edge { on: *on, position: intent.position });
        }
        decided.fates.insert(*actor, (intent.link.clone(), fate));
        intents.insert(*actor, intent);
    }
    for waiter in newest_of_each_circle(&edges) {
        if let Some((_, fate)) = decided.fates.get_mut(&waiter) {
            let why = "outcome unknown: the actors waited for each other in a circle when the process ended";
            *fate = Fate::Answered(Awaited::Unknown(why.to_owned()));
            decided.given_up.push(waiter);
        }
    }
    for row in rows {
        decided.row(chains, &mut receivers, row)?;
    }
    decided.owed_without_a_row(chains, &intents, rows)?;
    decided.due.sort_by_key(|due| due.position);
    Ok(decided)
}

fn open_intent(chains: &dyn Chains, actor: ActorId) -> ReadResult<Option<OpenIntent<'_>>> {
    let last = chains.open(actor).iter().rfind(|event| event.kind() != Some(EventKind::Started));
    let Some(event) = last.filter(|event| event.kind() == Some(EventKind::Intent)) else { return Ok(None) };
    let position = chains.position(actor, event.sequence)?;
    Ok(Some(OpenIntent { link: link(actor, event), event, position }))
}

pub(super) fn link(actor: ActorId, event: &ChainEvent) -> Link {
    Link { actor, sequence: event.sequence, hash: event.hash }
}

impl Decided {
    /// Decides about a row: it is delivered, unless the receiver's chain says that it was taken.
    fn row(&mut self, chains: &dyn Chains, receivers: &mut Receivers, row: &Pending) -> ReadResult<()> {
        let Pending { cause, receiver, position, .. } = row;
        let nothing = |why: &str| {
            let Cause { actor, sequence } = cause;
            format!("what event {sequence} of actor {actor} owes actor {receiver} is not delivered: {why}")
        };
        if !chains.is_known(*receiver) {
            self.unreadable.push(nothing("that receiver has no chain here"));
            return Ok(());
        }
        let Some(event) = chains.promise(row)? else {
            self.unreadable.push(nothing("that actor has no chain here"));
            return Ok(());
        };
        let Some(promise) = Promise::of_row(row, &event) else {
            self.unreadable.push(nothing("the event does not say what it promised"));
            return Ok(());
        };
        if promise == Promise::Timer {
            match promise.timer(chains, row, &event)? {
                Ok((key, timer)) => self.timers.push((*receiver, key, timer)),
                Err(why) => self.unreadable.push(nothing(&why)),
            }
            return Ok(());
        }
        if promise == Promise::Monitor {
            match promise.monitor(chains, row, &event)? {
                Ok(open) => self.monitors.push(open),
                Err(why) => self.unreadable.push(nothing(&why)),
            }
            return Ok(());
        }
        if promise == Promise::AsyncReply {
            match promise.request(chains, receivers, row, &event)? {
                Ok(open) => self.asked(chains, open, &event, *position)?,
                Err(why) => self.unreadable.push(nothing(&why)),
            }
            return Ok(());
        }
        if promise == Promise::DeferredAnswer {
            // If the transition that puts it off is open, it is put off once that is over.
            if !chains.open(cause.actor).iter().any(|event| event.sequence == cause.sequence) {
                self.deferred.push(*cause);
            }
            return Ok(());
        }
        let link = link(cause.actor, &event);
        let mut awaited_by = None;
        if promise == Promise::Request
            && let Some((intent, fate)) = self.fates.get(&cause.actor)
            && *intent == link
        {
            match fate {
                Fate::Await { through: Through::Delivery, .. } => awaited_by = Some(cause.actor),
                Fate::Answered(Awaited::Unknown(_)) | Fate::Again => {}
                Fate::Await { .. } | Fate::Answered(_) => return Ok(()),
            }
        }
        let lane = promise.lane();
        match promise.delivery(chains, &event, link)? {
            Some(delivery) => {
                self.due.push(Due { position: *position, to: *receiver, lane, delivery, awaited_by, asked_by: None })
            }
            None => self.unreadable.push(nothing("the event does not say it")),
        }
        Ok(())
    }

    /// Adds an asynchronous request, and its message if the receiver has not taken it.
    fn asked(&mut self, chains: &dyn Chains, open: OpenRequest, event: &ChainEvent, position: u64) -> ReadResult<()> {
        let cause = link(open.asker, event);
        if let Fate::Await { on, through: Through::Delivery } = open.fate
            && let Some(delivery) = Promise::AsyncReply.delivery(chains, event, cause.clone())?
        {
            let (lane, asked_by) = (Promise::AsyncReply.lane(), Some(Cause::from(&cause)));
            self.due.push(Due { position, to: on, lane, delivery, awaited_by: None, asked_by });
        }
        self.requests.push(open);
        Ok(())
    }

    /// Adds the requests of a journal of an earlier version, which had no rows for what it owed.
    fn owed_without_a_row(
        &mut self,
        chains: &dyn Chains,
        intents: &BTreeMap<ActorId, OpenIntent<'_>>,
        rows: &[Pending],
    ) -> ReadResult<()> {
        let owed: HashSet<Cause> = rows.iter().map(|row| row.cause).collect();
        for (actor, OpenIntent { link, event, position }) in intents {
            let fate = self.fates.get(actor).map(|(_, fate)| fate);
            if let Some(Fate::Await { on, through: Through::Delivery }) = fate
                && !owed.contains(&Cause::from(link))
                && let Some(delivery) = Promise::Request.delivery(chains, event, link.clone())?
            {
                let (position, to, lane) = (*position, *on, Promise::Request.lane());
                self.due.push(Due { position, to, lane, delivery, awaited_by: Some(*actor), asked_by: None });
            }
        }
        Ok(())
    }
}

/// The events of receivers since the oldest message that was looked for: each receiver is read once, however many messages
/// wait for its answer.
#[derive(Default)]
pub(super) struct Receivers(HashMap<ActorId, ReadReceiver>);

struct ReadReceiver {
    /// After which place they were read.
    after: u64,
    events: Vec<ChainEvent>,
    /// By message: the event that took it or dropped it, by its place among these.
    at: HashMap<Cause, usize>,
}

impl Receivers {
    /// The receiver's events from the one on that took or dropped the message; none if no event did.
    pub(super) fn since(
        &mut self,
        chains: &dyn Chains,
        receiver: ActorId,
        cause: &Link,
        position: u64,
    ) -> ReadResult<&[ChainEvent]> {
        if self.0.get(&receiver).is_none_or(|read| read.after > position) {
            self.0.insert(receiver, ReadReceiver::read(chains, receiver, position)?);
        }
        let ReadReceiver { events, at, .. } = &self.0[&receiver];
        Ok(at.get(&Cause::from(cause)).map_or(&[], |at| &events[*at..]))
    }
}

impl ReadReceiver {
    fn read(chains: &dyn Chains, receiver: ActorId, after: u64) -> ReadResult<Self> {
        let events = chains.events_after(receiver, after)?;
        let mut at = HashMap::new();
        for (place, event) in events.iter().enumerate() {
            let dropped = match event.kind() {
                Some(EventKind::Call) => Call::from_cbor(&event.data).map_or(Vec::new(), |call| vec![call.cause]),
                Some(EventKind::Failed) => Failed::from_cbor(&event.data).map_or(Vec::new(), |failed| failed.dropped),
                Some(EventKind::Stopped) => {
                    Stopped::from_cbor(&event.data).map_or(Vec::new(), |stopped| stopped.dropped)
                }
                _ => Vec::new(),
            };
            dropped.iter().flatten().for_each(|cause| _ = at.entry(Cause::from(cause)).or_insert(place));
        }
        Ok(Self { after, events, at })
    }
}
