//! The state of an actor after any of its events: the event names it, or it is stored, or the transitions that led to it are
//! executed again.

use super::recording::unreadable;
use super::{Recording, ReplayError, replay_until};
use crate::chain::data::NamedState;
use crate::chain::{ChainEvent, StateOnChain, vouched_after};
use crate::guest::GuestEngine;

/// How many events are read at once in search of the one that names the state.
const PAGE_EVENTS: u64 = 256;

/// What is known of a past state before anything is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PastState {
    Is(Option<Vec<u8>>),
    /// It is the state after this event, and is to be computed.
    Behind(u64),
}

/// The state after event `at`, as far as the recording holds it. Within a transition, that is the state before it.
pub(crate) fn past_state(recording: &Recording, at: u64) -> Result<PastState, ReplayError> {
    let last = recording.last()?;
    if at > last {
        return Err(ReplayError::NoSuchEvent { sequence: at, last });
    }
    let (led, named) = named_upto(recording, at)?;
    let held = match named {
        // No event names it, but the replay of later events may come to it.
        StateOnChain::Lost(_) => return Ok(PastState::Behind(at)),
        StateOnChain::Named(NamedState::None) => return Ok(PastState::Is(None)),
        StateOnChain::Named(NamedState::Inline(state)) => return Ok(PastState::Is(Some(state))),
        StateOnChain::Named(NamedState::Digest { sha1, .. }) => recording.held(led, &sha1)?,
    };
    Ok(held.map_or(PastState::Behind(led), |state| PastState::Is(Some(state))))
}

/// Executes the transitions that led to the state after event `at`. Guests need a large stack: the caller is on a thread that
/// has one.
pub(crate) fn computed_state(
    engine: &GuestEngine,
    recording: &Recording,
    at: u64,
) -> Result<Option<Vec<u8>>, ReplayError> {
    let replayed = replay_until(engine, recording, at, None, &mut |_| Ok(()))?;
    if replayed.events != at + 1 {
        let last = replayed.events.saturating_sub(1);
        return Err(ReplayError::Unreadable(format!("replay came to the end of event {last} and not of {at}")));
    }
    Ok(replayed.state)
}

/// What the chain says of the state after event `at`, and the last event up to there that says something.
fn named_upto(recording: &Recording, at: u64) -> Result<(u64, StateOnChain), ReplayError> {
    if let Recording::Journal { actor, reader } = recording {
        return reader.named_upto(*actor, at).map_err(unreadable);
    }
    let mut events = recording.events()?;
    let mut behind = at + 1;
    while behind > 0 {
        let from = behind.saturating_sub(PAGE_EVENTS);
        let mut page: Vec<ChainEvent> = Vec::new();
        while from + (page.len() as u64) < behind {
            let next = from + page.len() as u64;
            let more = events(next, behind - next).map_err(ReplayError::Unreadable)?;
            if more.is_empty() {
                return Err(ReplayError::Unreadable(format!("event {next} is not there")));
            }
            page.extend(more);
        }
        for event in page.iter().rev() {
            // A `Lost` of an event that says nothing is what it is given.
            match vouched_after(StateOnChain::Lost(u64::MAX), event) {
                StateOnChain::Lost(u64::MAX) => {}
                says => return Ok((event.sequence, says)),
            }
        }
        behind = from;
    }
    Ok((0, StateOnChain::Lost(0)))
}
