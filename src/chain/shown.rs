//! The events that the host call `get-chain` shows a guest: the newest events of its chain, limited in number and size.

use super::cbor::{Cbor, CborError, CborReader, CborWriter, Type, list, record};
use super::dropped::DroppedEvents;
use super::event::ChainEvent;
use super::function::{Function, function};
use crate::base::limits::{GUEST_CHAIN_BYTES, GUEST_CHAIN_EVENTS};

pub(crate) const GET_CHAIN: &Function = function!("ntwk:theater/runtime", "get-chain");

/// The first event that `get-chain` may show, if the call itself is event `upto`.
pub(crate) fn shown_from(upto: u64) -> u64 {
    upto.saturating_sub(GUEST_CHAIN_EVENTS)
}

/// How many of the newest of `events` (in order of sequence) a guest is shown. An event without data counts no bytes.
pub(crate) fn shown<'a>(events: impl DoubleEndedIterator<Item = &'a ChainEvent>) -> usize {
    let mut bytes = 0_usize;
    let newest = events.rev().take(usize::try_from(GUEST_CHAIN_EVENTS).unwrap_or(usize::MAX));
    let within = newest.take_while(|event| {
        bytes = bytes.saturating_add(event.data.len());
        bytes <= GUEST_CHAIN_BYTES
    });
    within.count()
}

/// What the event of a `get-chain` records in place of its result. The result itself is the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ShownPast {
    /// Version 1: the sequence of the call. Which events were shown, and which of them without data, follows from what the
    /// chain held then; after a drop nobody can tell.
    Upto(u64),
    /// Version 3.
    Events(ShownEvents),
}

/// The events that a `get-chain` has shown. Their hashes and types need no copy here: the hash of the call covers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShownEvents {
    /// First and last event of each stretch that was shown without data, because the data had been dropped by then.
    pub(crate) bare: Vec<(u64, u64)>,
    /// The sequence of the call; the event before it is the last one shown.
    pub(crate) upto: u64,
    /// The first event shown.
    pub(crate) first: u64,
}

record!(ShownEvents { "bare": bare, "upto": upto, "first": first });
list!((u64, u64));

impl ShownEvents {
    /// What a call that is event `upto` shows of the events before it. These are all that it may show.
    pub(crate) fn of(events: &[ChainEvent], upto: u64) -> Self {
        let shown = &events[events.len() - shown(events.iter())..];
        let mut bare = DroppedEvents::default();
        shown.iter().filter(|event| event.dropped.is_some()).for_each(|event| bare.add(event.sequence));
        let bare = bare.stretches().iter().map(|stretch| (*stretch.start(), *stretch.end())).collect();
        Self { bare, upto, first: shown.first().map_or(upto, |event| event.sequence) }
    }

    /// Whether the guest was shown this event with its data.
    pub(crate) fn is_whole(&self, sequence: u64) -> bool {
        (self.first..self.upto).contains(&sequence) && !self.is_bare(sequence)
    }

    /// Whether the guest was shown this event without data.
    pub(crate) fn is_bare(&self, sequence: u64) -> bool {
        self.bare.iter().any(|(first, last)| (*first..=*last).contains(&sequence))
    }
}

impl ShownPast {
    pub(crate) fn upto(&self) -> u64 {
        match self {
            Self::Upto(upto) | Self::Events(ShownEvents { upto, .. }) => *upto,
        }
    }
}

impl Cbor for ShownPast {
    fn write(&self, to: &mut CborWriter) {
        match self {
            Self::Upto(upto) => upto.write(to),
            Self::Events(events) => events.write(to),
        }
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        match from.next()? {
            Type::Uint => from.uint().map(Self::Upto),
            _ => ShownEvents::read(from).map(Self::Events),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::ActorId;
    use crate::chain::{DroppedData, StateChain};

    /// Events of one byte of data each, some without it.
    fn chain(events: u64, dropped: &[u64]) -> Vec<ChainEvent> {
        let mut chain = StateChain::new(ActorId::random());
        let mut events: Vec<_> = (0..events).map(|_| chain.append("call x.y", vec![0xf6], 0)).collect();
        for event in events.iter_mut().filter(|event| dropped.contains(&event.sequence)) {
            let kept = Some(DroppedData::of(event));
            *event = ChainEvent { data: Vec::new(), salt: None, dropped: kept, ..event.clone() };
        }
        events
    }

    #[test]
    fn a_call_records_from_where_on_it_shows_events_and_which_of_them_have_no_data() {
        let shown = ShownEvents::of(&chain(9, &[0, 1, 4, 6, 7]), 9);
        assert_eq!(shown, ShownEvents { bare: vec![(0, 1), (4, 4), (6, 7)], upto: 9, first: 0 });
        let whole: Vec<u64> = (0..12).filter(|sequence| shown.is_whole(*sequence)).collect();
        assert_eq!(whole, [2, 3, 5, 8]);

        let mut events = chain(4, &[0]);
        events[1].data = vec![0; GUEST_CHAIN_BYTES];
        assert_eq!(ShownEvents::of(&events, 4), ShownEvents { bare: vec![], upto: 4, first: 2 });
        assert_eq!(ShownEvents::of(&[], 0), ShownEvents { bare: vec![], upto: 0, first: 0 });
    }

    #[test]
    fn the_record_of_a_call_has_at_most_10_kib() {
        let dropped: Vec<u64> = (0..GUEST_CHAIN_EVENTS).filter(|sequence| sequence % 2 == 0).collect();
        let mut shown = ShownEvents::of(&chain(GUEST_CHAIN_EVENTS, &dropped), GUEST_CHAIN_EVENTS);
        assert_eq!(shown.bare.len(), 512);
        // On a chain that is so long that its sequences take 9 bytes each.
        shown.bare.iter_mut().for_each(|(first, last)| (*first, *last) = (*first + (1 << 40), *last + (1 << 40)));
        assert!(shown.to_cbor().len() <= 10 * 1024, "{}", shown.to_cbor().len());
    }
}
