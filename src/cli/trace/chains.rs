//! The chains that a trace follows: events by their sequence, and the calls by what caused them.
//!
//! From a call to its cause there is a link. From a cause to the call there is none: the receiver's chain is searched, from
//! about the time of the cause on. What is read is kept and indexed, so that a second search costs little.

use std::collections::HashMap;
use std::rc::Rc;

use super::super::Failure;
use super::source::EventSource;
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Failed, HostCall, Stopped};
use crate::chain::{ChainEvent, EventKind, Link};
use crate::promise::{HANDLE_REPLY, REPLY, REPLY_HTTP};

/// Events are read in blocks of so many.
const BLOCK: u64 = 256;
/// A search for the call that an event caused looks at so many events.
pub(super) const SEARCHED: u64 = 20_000;
/// All that one trace reads, and keeps until it is done.
const READ: u64 = 500_000;
const READ_BYTES: u64 = 256 * 1024 * 1024;
/// Clocks are sometimes set back: a search begins this much before the cause.
const SLACK_MS: u64 = 10_000;

/// One event, by its place.
pub(super) type ChainPlace = (ActorId, u64);

pub(super) struct TracedChains<'s> {
    source: &'s mut dyn EventSource,
    blocks: HashMap<(ActorId, u64), Vec<Rc<ChainEvent>>>,
    names: HashMap<ActorId, String>,
    /// The call that an event has caused, by the receiver and the event.
    caused: HashMap<(ActorId, ChainPlace), u64>,
    /// The end that has dropped what an event has sent, in the same way.
    dropped: HashMap<(ActorId, ChainPlace), u64>,
    /// The event by which an actor is told of an answer, or gives one that was put off, by the actor's own event that asked.
    settled: HashMap<ChainPlace, u64>,
    /// How many events were read, and how many bytes of data they have.
    read: u64,
    bytes: u64,
}

/// What a search has found.
pub(super) enum Search {
    /// The call is this event of the receiver.
    Taken(u64),
    /// This end of the receiver has dropped it.
    Dropped(u64),
    /// It is nowhere up to the end of the chain, which has so many events.
    NotYet,
    /// It is not among the events that were looked at.
    GivenUp { from: u64, upto: u64 },
}

impl<'s> TracedChains<'s> {
    pub(super) fn of(source: &'s mut dyn EventSource) -> Self {
        let (blocks, names) = (HashMap::new(), HashMap::new());
        let (caused, dropped, settled) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { source, blocks, names, caused, dropped, settled, read: 0, bytes: 0 }
    }

    /// Whether so much was read that nothing more is searched for.
    pub(super) fn is_exhausted(&self) -> bool {
        self.read >= READ || self.bytes >= READ_BYTES
    }

    pub(super) fn name(&mut self, actor: ActorId) -> String {
        if let Some(name) = self.names.get(&actor) {
            return name.clone();
        }
        let name = self.source.name(actor).unwrap_or_else(|| actor.to_string());
        self.names.insert(actor, name.clone());
        name
    }

    /// One event; none behind the end of the chain.
    pub(super) fn event(&mut self, (actor, sequence): ChainPlace) -> Result<Option<Rc<ChainEvent>>, Failure> {
        let block = self.block(actor, sequence / BLOCK)?;
        let at = usize::try_from(sequence % BLOCK).unwrap_or(usize::MAX);
        Ok(block.get(at).filter(|event| event.sequence == sequence).cloned())
    }

    fn block(&mut self, actor: ActorId, number: u64) -> Result<&[Rc<ChainEvent>], Failure> {
        let key = (actor, number);
        if !self.blocks.contains_key(&key) {
            let (first, mut events) = (number * BLOCK, Vec::new());
            while (events.len() as u64) < BLOCK {
                let have = events.len() as u64;
                let page = self.source.page(actor, first + have, BLOCK - have)?;
                if page.is_empty() {
                    break;
                }
                events.extend(page);
            }
            self.read += events.len() as u64;
            self.bytes += events.iter().map(|event| event.data.len() as u64).sum::<u64>();
            events.iter().for_each(|event| self.note(actor, event));
            self.blocks.insert(key, events.into_iter().map(Rc::new).collect());
        }
        Ok(&self.blocks[&key])
    }

    /// Remembers what an event says of events before it.
    fn note(&mut self, actor: ActorId, event: &ChainEvent) {
        let place = |link: &Link| (link.actor, link.sequence);
        match event.kind() {
            Some(EventKind::Call) => {
                let Ok(call) = Call::from_cbor(&event.data) else { return };
                if let Some(cause) = &call.cause {
                    self.caused.entry((actor, place(cause))).or_insert(event.sequence);
                }
                if let Some(of) = call.of.filter(|_| event.function() == HANDLE_REPLY.full) {
                    self.settled.insert((actor, of), event.sequence);
                }
            }
            Some(EventKind::HostCall) if [REPLY.full, REPLY_HTTP.full].contains(&event.function()) => {
                if let Some(of) = HostCall::from_cbor(&event.data).ok().and_then(|call| call.of) {
                    self.settled.insert((actor, of), event.sequence);
                }
            }
            Some(EventKind::Failed | EventKind::Stopped) => {
                let failed = Failed::from_cbor(&event.data).map(|failed| failed.dropped);
                let dropped = failed.or_else(|_| Stopped::from_cbor(&event.data).map(|stopped| stopped.dropped));
                for link in dropped.unwrap_or_default().iter().flatten() {
                    self.dropped.entry((actor, place(link))).or_insert(event.sequence);
                }
            }
            _ => {}
        }
    }

    /// The call of `receiver` that `cause` has caused, an event of `unix_ms`.
    pub(super) fn call_caused_by(
        &mut self,
        receiver: ActorId,
        cause: ChainPlace,
        unix_ms: u64,
        within: u64,
    ) -> Result<Search, Failure> {
        let key = (receiver, cause);
        self.search(receiver, unix_ms, within, |chains| {
            let taken = chains.caused.get(&key).copied().map(Search::Taken);
            taken.or_else(|| chains.dropped.get(&key).copied().map(Search::Dropped))
        })
    }

    /// The event by which the actor of `asked` is told of the answer, or gives an answer that it had put off.
    pub(super) fn settlement_of(&mut self, asked: ChainPlace) -> Result<Search, Failure> {
        let from = asked.1;
        self.search_from(asked.0, from, SEARCHED, |chains| chains.settled.get(&asked).copied().map(Search::Taken))
    }

    fn search(
        &mut self,
        receiver: ActorId,
        unix_ms: u64,
        within: u64,
        found: impl Fn(&Self) -> Option<Search>,
    ) -> Result<Search, Failure> {
        if let Some(found) = found(self) {
            return Ok(found);
        }
        let from = self.first_since(receiver, unix_ms.saturating_sub(SLACK_MS))?;
        self.search_from(receiver, from, within, found)
    }

    fn search_from(
        &mut self,
        receiver: ActorId,
        from: u64,
        within: u64,
        found: impl Fn(&Self) -> Option<Search>,
    ) -> Result<Search, Failure> {
        let first = from / BLOCK;
        for number in first..=first + within.div_ceil(BLOCK) {
            if let Some(found) = found(self) {
                return Ok(found);
            }
            if self.is_exhausted() {
                return Ok(Search::GivenUp { from, upto: number * BLOCK });
            }
            let is_last = (self.block(receiver, number)?.len() as u64) < BLOCK;
            if is_last {
                return Ok(found(self).unwrap_or(Search::NotYet));
            }
        }
        Ok(found(self).unwrap_or(Search::GivenUp { from, upto: (first + within.div_ceil(BLOCK) + 1) * BLOCK }))
    }

    /// About the first event at or after a time, as if the times of a chain never decreased.
    fn first_since(&mut self, actor: ActorId, unix_ms: u64) -> Result<u64, Failure> {
        let (mut low, mut high) = (0, self.source.length(actor)?);
        while low < high {
            let middle = low + (high - low) / 2;
            let time = match self.blocks.get(&(actor, middle / BLOCK)) {
                Some(_) => self.event((actor, middle))?.map(|event| event.timestamp),
                None => {
                    self.read += 1;
                    self.source.page(actor, middle, 1)?.pop().map(|event| event.timestamp)
                }
            };
            match time {
                Some(time) if time < unix_ms => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }
}
