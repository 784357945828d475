//! Dropping payloads that nobody needs any more, or that nobody is to read any more. The hashes stay, so the chain still
//! verifies.
//!
//! *Prune* drops what lies before a kept state, so that what follows can still be replayed. *Redact* drops one event's
//! data. Neither touches what a start after a crash would need: the transitions that are open, the deliveries that are
//! owed, the timers that are pending, the monitors that are open, the requests and the answers that are to come, and, as the
//! answer to someone who still waits may be among them, whatever is newer than the oldest open transition. What `get-chain` has shown the actor, and what a replay would have to show it again, goes only where that
//! is asked for.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use super::archive::Archive;
use super::carry::{CarryError, Lost, carry};
use super::error::{JournalError, ReadFault, ReadResult};
use super::log::SegmentSpan;
use super::reader::JournalReader;
use super::record::{ActorKey, EventPlace, Pending, Record};
use super::states::Newest;
use super::{JournalDown, JournalHandle};
use crate::base::fail;
use crate::base::id::ActorId;
use crate::base::limits::GUEST_CHAIN_EVENTS;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, HostCall};
use crate::chain::shown::{ShownEvents, ShownPast, shown_from};
use crate::chain::{ChainEvent, EventKind, StateOnChain};

/// What was dropped of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DataDropped {
    /// How many events have lost their data now and had it before.
    pub events: u64,
    /// The first event after the dropped data from whose state the chain can be replayed; none if there is none yet.
    pub replays_from: Option<u64>,
    /// Whether the data is gone from the files of the journal. (Who has opened a file before still reads what it held.)
    pub is_gone: bool,
}

/// Whether data may be dropped that a `get-chain` has shown to the actor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    /// Such data stays, because a replay has to show it to the actor again.
    #[default]
    Stays,
    /// Such data goes too: from then on, a replay of that `get-chain` may come out otherwise.
    Goes,
}

impl Shown {
    /// Whether it may go.
    pub(crate) fn goes_if(despite_get_chain: bool) -> Self {
        if despite_get_chain { Self::Goes } else { Self::Stays }
    }
}

/// Why nothing was dropped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DropError {
    /// No state is kept before the event, so nothing can be dropped and the rest still be replayed.
    #[error(
        "no kept state lies before event {before}, so nothing can be dropped and the rest still be replayed. A state is kept \
         after 1,000 events and at each start: `theater restart ACTOR` keeps one now, and then an event behind that start can \
         be named"
    )]
    NoKeptState {
        /// The event before which data was to be dropped.
        before: u64,
    },
    /// Nothing is left to drop: the data before the event that names the kept state is gone already.
    #[error(
        "the state kept behind event {kept} is the one that event {named} names: nothing before that is left to drop; \
         after `theater restart ACTOR`, its `started` names the state anew"
    )]
    Unchanged {
        /// The event whose state is kept.
        kept: u64,
        /// The event that names that state.
        named: u64,
    },
    /// A `get-chain` has shown the data to the actor; [`Shown::Goes`] drops it all the same.
    #[error(
        "event {call} is a get-chain that has shown the actor event {event}: without its data the call may come out \
         otherwise in replay, and what follows it cannot be replayed or forked then. To drop it all the same: \
         --despite-get-chain"
    )]
    Shown {
        /// The event of the `get-chain`.
        call: u64,
        /// The event that it has shown.
        event: u64,
    },
    /// The chain has no such event.
    #[error("event {sequence} is not on the chain: its last is event {last}")]
    NoSuchEvent {
        /// The event.
        sequence: u64,
        /// The last event of the chain.
        last: u64,
    },
    /// The event begins an incarnation; verification needs it.
    #[error("event {sequence} is a `started`, which verification reads; it cannot be dropped")]
    Started {
        /// The event.
        sequence: u64,
    },
    /// A transition or a delivery that is under way, a timer that is pending, or a monitor that is open, needs the event.
    #[error(
        "event {sequence} is needed by a transition, a delivery, a request or a timer that is under way, or by a monitor that is open; \
         try again later"
    )]
    Needed {
        /// The event.
        sequence: u64,
    },
    /// The instance that the actor has now has served the calls since the event.
    #[error(
        "event {sequence} is needed as long as the instance goes on that the actor has now: it serves several calls (the \
         manifest says `reuse`), and a start after a crash would execute them again. `theater restart ACTOR` begins a new \
         instance; then what lies before that start can be dropped"
    )]
    NeededByInstance {
        /// The event.
        sequence: u64,
    },
    /// The data of the event was dropped before.
    #[error("the data of event {sequence} was dropped before")]
    Already {
        /// The event.
        sequence: u64,
    },
    /// A segment of the log could not be copied to the archive, so it stays as it is.
    #[error("nothing was dropped, because the archive does not take it: {0}")]
    Archive(JournalError),
    /// The journal cannot be read.
    #[error("{0}")]
    Read(#[from] ReadFault),
    /// The journal cannot write any more.
    #[error("{0}")]
    Down(#[from] JournalDown),
    /// No listed actor has this id.
    #[error("no such actor: {0}")]
    NoSuchActor(ActorId),
    /// The journal cannot be opened; the text says why.
    #[error("{0}")]
    Closed(String),
}

impl From<CarryError> for DropError {
    fn from(error: CarryError) -> Self {
        match error {
            CarryError::Read(fault) => Self::Read(fault),
            CarryError::Down(down) => Self::Down(down),
        }
    }
}

/// What is to be dropped of one chain.
pub(super) struct Doomed {
    pub(super) actor: ActorKey,
    /// The events, and the states stored behind them.
    pub(super) events: Range<u64>,
    /// Those among them that have data which can be dropped, in order: all but what a `started` says, and what a pending timer
    /// or an open monitor needs.
    pub(super) places: Vec<EventPlace>,
    /// The first of the events that keeps its data for a timer or a monitor.
    pub(super) stays: Option<u64>,
    /// What lies before these events was dropped before, or goes with them: nobody looks back any more.
    pub(super) is_prune: bool,
}

impl Doomed {
    pub(super) fn of(
        reader: &JournalReader,
        actor: ActorKey,
        events: Range<u64>,
        kept: &BTreeSet<u64>,
    ) -> ReadResult<Self> {
        let mut places = reader.doomed(actor, &events)?;
        places.retain(|place| !kept.contains(&place.sequence));
        let stays = if events.is_empty() { None } else { kept.range(events.clone()).next().copied() };
        Ok(Self { actor, events, places, stays, is_prune: true })
    }
}

/// Drops the data of all events that lie before the last kept state before event `before`; `started` events stay, and so
/// does what names that state.
pub(crate) fn prune(
    journal: &JournalHandle,
    reader: &JournalReader,
    actor: ActorKey,
    before: u64,
    shown: Shown,
) -> Result<DataDropped, DropError> {
    let (doomed, replays_from) = to_prune(reader, actor, before, shown)?;
    let events = doomed.places.len() as u64;
    let segments = set_apart(journal, std::slice::from_ref(&doomed))?;
    for span in &segments {
        archive(journal, span)?;
    }
    drop_data(journal, &doomed, &segments)?;
    Ok(DataDropped { events, replays_from, is_gone: true })
}

/// What a prune drops, and the event from whose state the chain can then be replayed.
pub(super) fn to_prune(
    reader: &JournalReader,
    actor: ActorKey,
    before: u64,
    shown: Shown,
) -> Result<(Doomed, Option<u64>), DropError> {
    let needs = Needs::of(reader)?;
    let needed = needs.first(reader, actor)?;
    let behind_the_first = |kept: &(u64, u64)| kept.0 > 0;
    let kept = last_named_before(reader, actor, before.min(needed.sequence))?.filter(behind_the_first);
    let Some((kept, upto)) = kept else {
        // A state may be kept there, and what is under way needs what lies before it.
        let is_needed = needed.sequence < before
            && last_named_before(reader, actor, before)?.is_some_and(|kept| behind_the_first(&kept));
        return Err(if is_needed { needed.refusal(needed.sequence) } else { DropError::NoKeptState { before } });
    };
    let doomed = Doomed::of(reader, actor, 0..upto, &needs.of_own_promises(reader, actor)?)?;
    if doomed.places.is_empty() && upto < kept {
        return Err(DropError::Unchanged { kept, named: upto });
    }
    let replays_from = reader.next_start(actor, upto)?;
    was_not_shown(reader, actor, 0..upto, replays_from, shown)?;
    Ok((doomed, replays_from))
}

/// The last kept state before an event that an event names, and the event that does.
pub(super) fn last_named_before(
    reader: &JournalReader,
    actor: ActorKey,
    mut before: u64,
) -> ReadResult<Option<(u64, u64)>> {
    while let Some(kept) = reader.last_kept_before(actor, before)? {
        if let (named, StateOnChain::Named(_)) = reader.named_upto(actor, kept)? {
            return Ok(Some((kept, named)));
        }
        before = kept;
    }
    Ok(None)
}

/// Drops the data of event `sequence`.
pub(crate) fn redact(
    journal: &JournalHandle,
    reader: &JournalReader,
    actor: ActorKey,
    sequence: u64,
    shown: Shown,
) -> Result<DataDropped, DropError> {
    let doomed = to_redact(reader, actor, sequence, shown)?;
    let segments = set_apart(journal, std::slice::from_ref(&doomed))?;
    drop_data(journal, &doomed, &segments)?;
    // Asked again: where the event named the state, what is kept behind it may be named by none now.
    let replays_from = reader.next_start(actor, sequence + 1)?;
    Ok(DataDropped { events: 1, replays_from, is_gone: true })
}

/// What a redaction of event `sequence` drops.
pub(super) fn to_redact(
    reader: &JournalReader,
    actor: ActorKey,
    sequence: u64,
    shown: Shown,
) -> Result<Doomed, DropError> {
    let last = reader.head(actor)?.map_or(0, |head| head.sequence);
    let event = reader.events(actor, sequence, 1, usize::MAX)?.pop().filter(|event| event.sequence == sequence);
    let Some(event) = event else { return Err(DropError::NoSuchEvent { sequence, last }) };
    if event.kind() == Some(EventKind::Started) {
        return Err(DropError::Started { sequence });
    }
    if event.dropped.is_some() {
        return Err(DropError::Already { sequence });
    }
    let needs = Needs::of(reader)?;
    let needed = needs.first(reader, actor)?;
    if sequence >= needed.sequence {
        return Err(needed.refusal(sequence));
    }
    if needs.of_own_promises(reader, actor)?.contains(&sequence) {
        return Err(DropError::Needed { sequence });
    }
    was_not_shown(reader, actor, sequence..sequence + 1, reader.next_start(actor, sequence + 1)?, shown)?;
    // What nobody is to read any more does not go to the archive.
    let doomed = Doomed::of(reader, actor, sequence..sequence + 1, &BTreeSet::new())?;
    Ok(Doomed { is_prune: false, ..doomed })
}

/// Drops the data of these events, and the states stored behind them, except what a `started` says.
///
/// First the log says that they are to be dropped, and the newest state is stored if an event among them names it. Then the
/// segments that hold them are written anew. If that is broken off, the data that is left is dropped by the next call.
fn drop_data(journal: &JournalHandle, doomed: &Doomed, segments: &[SegmentSpan]) -> Result<(), DropError> {
    condemn(journal, doomed)?;
    journal.flush()?;
    let _alone = journal.rewriting.lock();
    journal.reader.write_anew(segments, std::slice::from_ref(doomed), &|| false)?;
    if journal.reader.ask(|index| index.has_rows(doomed.actor.key))? {
        journal.reader.index.settle_and_cut();
    }
    Ok(())
}

/// Has the states stored that are in memory alone, and sees to it that all that is to be dropped lies in sealed segments:
/// those are what it returns.
pub(super) fn set_apart(journal: &JournalHandle, doomed: &[Doomed]) -> Result<Vec<SegmentSpan>, DropError> {
    for chain in doomed {
        journal.enqueue(Record::Store(chain.actor))?;
    }
    journal.flush()?;
    if journal.reader.reaches_the_end(doomed)? {
        journal.enqueue(Record::Seal)?;
        journal.flush()?;
    }
    Ok(journal.reader.segments_with(doomed)?)
}

/// Copies a segment to the archive, if there is one.
pub(super) fn archive(journal: &JournalHandle, span: &SegmentSpan) -> Result<(), DropError> {
    let log = &journal.reader.log;
    let (Some(dir), Some(id)) = (journal.archive.get(), log.journal()) else { return Ok(()) };
    let _alone = journal.rewriting.lock();
    Archive::of(dir, &id).take(&log.file(span.number)).map_err(DropError::Archive)
}

/// Writes to the log that this is dropped. The newest state outlives the event that holds it.
pub(super) fn condemn(journal: &JournalHandle, doomed: &Doomed) -> Result<(), DropError> {
    let (reader, Doomed { actor, events, places, .. }) = (&journal.reader, doomed);
    let led = reader.newest_state_at(*actor)?.filter(|led| events.contains(led));
    let newest = match led.map(|_| reader.newest_state(*actor)).transpose()? {
        Some(Newest::Behind(at)) => return Err(DropError::Needed { sequence: at }),
        Some(Newest::Is(state)) => led.map(|led| (led, state)),
        None => None,
    };
    let last = places.last().map_or(events.start, |place| place.sequence);
    journal.begin_era();
    // Of a redaction, what is carried takes the place of what the index then forgets.
    let prunes_upto = doomed.is_prune.then_some(events.end);
    let behind = carry(journal, &Lost { actor: *actor, places, prunes_upto })?;
    fail::point("rows-carried");
    fail::point_after("rows-carried-committed", || _ = journal.flush());
    let from = if doomed.is_prune { 0 } else { events.start };
    journal.enqueue(Record::Drop { actor: *actor, from, upto: events.end, last })?;
    behind.into_iter().try_for_each(|row| journal.enqueue(row))?;
    if let Some((led, state)) = newest {
        journal.enqueue(Record::State(*actor, led, state.map(Arc::from)))?;
    }
    Ok(())
}

/// Whether a `get-chain` behind `replays_from` has shown the actor one of these events. Of an open transition it must not,
/// since a start after a crash shows it again.
pub(super) fn was_not_shown(
    reader: &JournalReader,
    actor: ActorKey,
    dropped: Range<u64>,
    replays_from: Option<u64>,
    shown: Shown,
) -> Result<(), DropError> {
    let open = open_from(reader, actor)?;
    let from = replays_from.into_iter().chain(open).min();
    let Some(from) = from else { return Ok(()) };
    for (call, past) in reader.calls_of_get_chain(actor, from, dropped.end.saturating_add(GUEST_CHAIN_EVENTS))? {
        let first = shown_from(call);
        let events = reader.events(actor, first, call - first, usize::MAX)?;
        let was_shown = match past {
            ShownPast::Upto(_) => ShownEvents::of(&events, call),
            ShownPast::Events(shown) => shown,
        };
        let goes = |event: &&ChainEvent| {
            let is_there = event.dropped.is_none() && event.kind() != Some(EventKind::Started);
            is_there && dropped.contains(&event.sequence) && was_shown.is_whole(event.sequence)
        };
        let Some(event) = events.iter().find(goes).map(|event| event.sequence) else { continue };
        if open.is_some_and(|open| call >= open) {
            return Err(DropError::Needed { sequence: event });
        }
        if shown == Shown::Stays {
            return Err(DropError::Shown { call, event });
        }
    }
    Ok(())
}

/// The first event of what a start after a crash would execute again: of the open transition, if there is one.
fn open_from(reader: &JournalReader, actor: ActorKey) -> ReadResult<Option<u64>> {
    let open = reader.open_transition(actor)?;
    let Some(call) = open.first() else { return Ok(None) };
    if Call::from_cbor(&call.data).is_ok_and(|call| call.fresh) {
        return Ok(Some(call.sequence));
    }
    // Where an instance serves several calls, a resumed transition begins at the last kept state.
    Ok(Some(reader.last_kept_before(actor, call.sequence)?.map_or(0, |kept| kept + 1)))
}

/// The first event of a chain that a start after a crash might read.
pub(super) struct FirstNeeded {
    pub(super) sequence: u64,
    /// Only because the actor's instance has served the calls since.
    by_instance: bool,
}

impl FirstNeeded {
    /// Why an event behind it stays.
    fn refusal(&self, sequence: u64) -> DropError {
        if self.by_instance { DropError::NeededByInstance { sequence } } else { DropError::Needed { sequence } }
    }
}

/// What a start after a crash might read, of whichever chain.
pub(super) struct Needs {
    /// The first position that is needed on every chain: where the oldest open transition begins, or else what was committed
    /// since this was made. (What begins later needs nothing from before.)
    from: u64,
    /// The first event of an actor that another is owed.
    owed: HashMap<ActorId, u64>,
    /// By actor that is asked: the position behind which its answers to asynchronous requests may stand.
    asked: HashMap<ActorId, u64>,
    /// The rows of what an actor owes itself and a start reads: its timers, its monitors, its asynchronous requests, and the
    /// answers that it has put off.
    own: HashMap<ActorId, Vec<Pending>>,
}

impl Needs {
    pub(super) fn of(reader: &JournalReader) -> ReadResult<Self> {
        let mut from = reader.log.tip().position + 1;
        let mut keys = HashMap::new();
        for row in reader.actors()?.into_iter().filter(|row| row.alive) {
            keys.insert(row.actor.id, row.actor);
            if let Some(call) = reader.open_transition(row.actor)?.first() {
                from = from.min(reader.position(row.actor, call.sequence)?.unwrap_or(0));
            }
        }
        let mut owed: HashMap<ActorId, u64> = HashMap::new();
        let (mut own, mut asked) = (HashMap::<ActorId, Vec<Pending>>::new(), HashMap::new());
        for row in reader.pending()? {
            let Pending { cause, receiver, .. } = row;
            if cause.actor != receiver {
                let first = owed.entry(cause.actor).or_insert(u64::MAX);
                *first = cause.sequence.min(*first);
            } else if row.is_timer() || row.is_monitor() || row.is_reply() || row.is_deferred() {
                if row.is_reply()
                    && let Some(asker) = keys.get(&receiver)
                    && let Some(to) = asked_by(&reader.promise(*asker, &row)?)
                {
                    let oldest = asked.entry(to).or_insert(u64::MAX);
                    *oldest = row.position.min(*oldest);
                }
                own.entry(receiver).or_default().push(row);
            }
            // Of what else an actor owes itself only the hash is needed.
        }
        Ok(Self { from, owed, asked, own })
    }

    /// The events of the chain that a start after a crash reads for what the actor owes itself: those that promise the next
    /// firings of timers, and the host calls that have set the timers, asked to be told of an end or of an answer, or put off
    /// an answer.
    pub(super) fn of_own_promises(&self, reader: &JournalReader, actor: ActorKey) -> ReadResult<BTreeSet<u64>> {
        let mut events = BTreeSet::new();
        for row in self.own.get(&actor.id).into_iter().flatten() {
            events.insert(row.cause.sequence);
            let promise = reader.promise(actor, row)?;
            if promise.kind() == Some(EventKind::Call) {
                events.extend(Call::from_cbor(&promise.data).ok().and_then(|call| call.of));
            }
        }
        Ok(events)
    }

    /// The first event of the chain that a start after a crash might read, other than for what the actor owes itself.
    pub(super) fn first(&self, reader: &JournalReader, actor: ActorKey) -> ReadResult<FirstNeeded> {
        // Someone may wait for an answer that stands on this chain behind the oldest open transition.
        let mut needed = reader.first_behind(actor, self.from.saturating_sub(1))?;
        needed = needed.min(self.owed.get(&actor.id).copied().unwrap_or(u64::MAX));
        if let Some(position) = self.asked.get(&actor.id) {
            needed = needed.min(reader.first_behind(actor, *position)?);
        }
        // Where an instance serves several calls, a resumed transition begins at the last kept state. (A call whose data was
        // dropped could be, since its instance was new.)
        let mut by_instance = false;
        if let Some(call) = reader.last_call_of_the_instance(actor)?
            && call.dropped.is_none()
            && !Call::from_cbor(&call.data).is_ok_and(|call| call.fresh)
            && let Some(kept) = reader.last_kept_before(actor, call.sequence)?
        {
            by_instance = kept + 1 < needed;
            needed = needed.min(kept + 1);
        }
        Ok(FirstNeeded { sequence: needed, by_instance })
    }
}

/// The actor that the event of an asynchronous request asks.
fn asked_by(event: &ChainEvent) -> Option<ActorId> {
    let HostCall { to, params, .. } = HostCall::from_cbor(&event.data).ok()?;
    let address = || <(String, Vec<u8>, Option<u64>)>::from_cbor(&params?.0).ok()?.0.parse().ok();
    to.or_else(address)
}
