//! Upward: the call that an event is a part of, and the outermost call that led to it.

use super::super::Failure;
use super::chains::{ChainPlace, TracedChains};
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, HostCall, Started, Stopped};
use crate::chain::{ChainEvent, EventKind, Link};
use crate::promise::{REPLY, REPLY_HTTP};

/// A cause is followed so far up.
const STEPS: usize = 64;
/// A call is looked for so far back from one of its events.
const BACK: u64 = 100_000;

/// Where a trace begins, and what there is to say about that.
pub(super) struct Outermost {
    pub(super) place: ChainPlace,
    pub(super) note: Option<String>,
}

/// The outermost call that led to an event.
pub(super) fn outermost(chains: &mut TracedChains<'_>, asked: ChainPlace) -> Result<Outermost, Failure> {
    let mut place = beginning_of(chains, asked)?;
    for _ in 0..STEPS {
        let Some(cause) = cause_of(chains, place)? else {
            let is_gone = chains.event(place)?.is_some_and(|event| event.dropped.is_some());
            let name = chains.name(place.0);
            let note = format!("what led to event {} of {name} is not known: its data was dropped", place.1);
            return Ok(Outermost { place, note: is_gone.then_some(note) });
        };
        let name = chains.name(cause.actor);
        if cause.actor == place.0 {
            let note = format!(
                "event {} of {name} was set off by its own event {} (a timer, a stream or a connection): theater trace {name} {}",
                place.1, cause.sequence, cause.sequence
            );
            return Ok(Outermost { place, note: Some(note) });
        }
        let why = match chains.event((cause.actor, cause.sequence)) {
            Ok(Some(event)) if event.hash == cause.hash => {
                place = beginning_of(chains, (cause.actor, cause.sequence))?;
                continue;
            }
            Ok(Some(_)) => "has another hash there than its effect quotes".to_owned(),
            Ok(None) => "has no such event".to_owned(),
            Err(failure) => format!("cannot be read: {failure}"),
        };
        let note = format!(
            "what led to event {} is event {} of actor {}, whose chain {why}",
            place.1, cause.sequence, cause.actor
        );
        return Ok(Outermost { place, note: Some(note) });
    }
    let note = format!("the cause lies further up: only {STEPS} calls above the event were followed");
    Ok(Outermost { place, note: Some(note) })
}

/// The event of another actor that led to a call, or to an end or a start.
fn cause_of(chains: &mut TracedChains<'_>, place: ChainPlace) -> Result<Option<Link>, Failure> {
    let Some(event) = chains.event(place)? else { return Ok(None) };
    Ok(match event.kind() {
        Some(EventKind::Call) => Call::from_cbor(&event.data).ok().and_then(|call| call.cause),
        Some(EventKind::Stopped) => Stopped::from_cbor(&event.data).ok().and_then(|stopped| stopped.cause),
        _ => None,
    })
}

/// The call that an event is a part of; or the event itself if it is no part of one. An answer that was put off is a part of
/// the call that put it off.
pub(super) fn beginning_of(chains: &mut TracedChains<'_>, place: ChainPlace) -> Result<ChainPlace, Failure> {
    let (actor, sequence) = place;
    let Some(event) = chains.event(place)? else {
        let name = chains.name(actor);
        return Err(Failure::no(format!("event {sequence} is not on the chain of {name}")));
    };
    if let Some(token) = put_off_before(&event).filter(|token| *token < sequence) {
        return Ok(call_of(chains, actor, token)?.unwrap_or(place));
    }
    if event.kind() == Some(EventKind::Started) && !is_resumption(&event) {
        // The `init` of a new actor says who spawned it.
        let next = chains.event((actor, sequence + 1))?;
        let is_caused = |event: &ChainEvent| Call::from_cbor(&event.data).is_ok_and(|call| call.cause.is_some());
        let init = next.filter(|next| next.kind() == Some(EventKind::Call) && sequence == 0 && is_caused(next));
        return Ok(init.map_or(place, |init| (actor, init.sequence)));
    }
    Ok(call_of(chains, actor, sequence)?.unwrap_or(place))
}

/// The call that event `sequence` is a part of.
pub(super) fn call_of(
    chains: &mut TracedChains<'_>,
    actor: ActorId,
    sequence: u64,
) -> Result<Option<ChainPlace>, Failure> {
    for back in 0..=sequence.min(BACK) {
        if back > 0 && chains.is_exhausted() {
            return Ok(None);
        }
        let place = (actor, sequence - back);
        let Some(event) = chains.event(place)? else { return Ok(None) };
        match event.kind() {
            Some(EventKind::Call) => return Ok(Some(place)),
            Some(EventKind::Intent | EventKind::HostCall) => {}
            Some(EventKind::Started) if is_resumption(&event) => {}
            // A closing event belongs to the call before it.
            Some(EventKind::Return | EventKind::Refused | EventKind::Failed | EventKind::Stopped) if back == 0 => {}
            _ => return Ok(None),
        }
    }
    Ok(None)
}

pub(super) fn is_resumption(event: &ChainEvent) -> bool {
    Started::from_cbor(&event.data).is_ok_and(|started| started.resumes)
}

/// The actor's own event that put off the answer which an event gives now.
fn put_off_before(event: &ChainEvent) -> Option<u64> {
    let gives = event.kind() == Some(EventKind::HostCall) && [REPLY.full, REPLY_HTTP.full].contains(&event.function());
    HostCall::from_cbor(&event.data).ok().filter(|_| gives)?.of
}
