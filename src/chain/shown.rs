//! What `get-chain` shows a guest of its own chain: the newest events before the call, within a number and a size.

use super::event::ChainEvent;
use super::function::{Function, function};
use crate::base::limits::{GUEST_CHAIN_BYTES, GUEST_CHAIN_EVENTS};

pub(crate) const GET_CHAIN: &Function = function!("ntwk:theater/runtime", "get-chain");

/// The first event that a guest may be shown by a call that is event `upto`.
pub(crate) fn shown_from(upto: u64) -> u64 {
    upto.saturating_sub(GUEST_CHAIN_EVENTS)
}

/// How many of `events`, which stand in their order, a guest is shown: the newest. What was dropped has no data.
pub(crate) fn shown<'a>(events: impl DoubleEndedIterator<Item = &'a ChainEvent>) -> usize {
    let mut bytes = 0_usize;
    let newest = events.rev().take(usize::try_from(GUEST_CHAIN_EVENTS).unwrap_or(usize::MAX));
    let within = newest.take_while(|event| {
        bytes = bytes.saturating_add(event.data.len());
        bytes <= GUEST_CHAIN_BYTES
    });
    within.count()
}
