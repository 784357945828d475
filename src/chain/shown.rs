//! The events that the host call `get-chain` shows a guest: the newest events of its chain, limited in number and size.

use super::cbor::{Cbor, CborError, CborReader, CborWriter, Type, list, record};
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
