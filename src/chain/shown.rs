//! The events that the host call `get-chain` shows a guest: the newest events of its chain, limited in number and size.

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
