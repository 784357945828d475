//! The promise of an answer that was put off: an actor owes the answer to a request that it has taken, and gives it in a later
//! transition.
//!
//! The host call that puts it off writes the row, if an actor waits for the answer. The `return` of that call says that it does
//! not answer. The host call that answers settles the row, and is the event that the asker quotes.

use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Caller, HostCall, Return};
use crate::chain::{ChainEvent, EventKind, Function, Link, function};
use crate::guest::wit::HttpResponse;
use crate::journal::ReadResult;
use crate::system::{Answer, Outcome};

pub(crate) const DEFER: &Function = function!("ntwk:theater/deferred-replies", "defer");
pub(crate) const REPLY: &Function = function!("ntwk:theater/deferred-replies", "reply");
pub(crate) const REPLY_HTTP: &Function = function!("ntwk:theater/deferred-replies", "reply-http");

/// The token by which an event puts off the answer of its call, if it does.
pub(super) fn put_off_by(event: &ChainEvent) -> Option<u64> {
    if event.function() != DEFER.full || event.kind() != Some(EventKind::HostCall) {
        return None;
    }
    let put_off: HostCall = event.read().ok()?;
    let token = Result::<u64, String>::from_cbor(put_off.result.whole()?).ok()?.ok()?;
    Some(token).filter(|token| *token == event.sequence)
}

/// The token and the outcome of the answer that an event gives, if it gives one that was put off.
pub(super) fn given_by(event: &ChainEvent) -> Option<(u64, Outcome)> {
    let (token, is_given, outcome) = tried_by(event)?;
    Some((token, outcome)).filter(|_| is_given)
}

/// The token and the outcome of the answer that an event gives, to who waits or to who asks again.
pub(crate) fn answered_later(event: &ChainEvent) -> Option<(u64, Outcome)> {
    said_by(event).filter(|(_, is_given, _)| *is_given).map(|(token, _, outcome)| (token, outcome))
}

/// Whether the answer with a token is kept for who repeats its request, although nobody waits: the request has a key, and the
/// answer was not given yet. `page` reads the actor's own events from a sequence on.
pub(crate) fn is_kept_for_a_key(token: u64, page: impl Fn(u64) -> ReadResult<Vec<ChainEvent>>) -> ReadResult<bool> {
    let mut events = page(token)?;
    let was_put_off = events.first().is_some_and(|event| event.sequence == token && put_off_by(event) == Some(token));
    if !was_put_off || call_of(token, &page)?.is_none_or(|call| call.key.is_none()) {
        return Ok(false);
    }
    for _ in 0..PAGES {
        if events.iter().filter_map(answered_later).any(|(of, _)| of == token) {
            return Ok(false);
        }
        let Some(last) = events.last() else { return Ok(true) };
        events = page(last.sequence + 1)?;
    }
    Ok(false)
}

/// The token of an answer that an event ends without giving it, because nobody waited for it any more: the actor has tried to
/// give it, or has put off another one in its place.
pub(super) fn let_go_by(event: &ChainEvent) -> Option<u64> {
    match tried_by(event) {
        Some((token, is_given, _)) => Some(token).filter(|_| !is_given),
        None => put_off_by(event).and_then(|_| event.read::<HostCall>().ok()?.of),
    }
}

/// The token, whether it was taken, and the outcome of the answer that a host call tries to give, if the answer was open.
fn tried_by(event: &ChainEvent) -> Option<(u64, bool, Outcome)> {
    let HostCall { of, .. } = event.read().ok()?;
    let (token, is_given, outcome) = said_by(event)?;
    (of == Some(token)).then_some((token, is_given, outcome))
}

/// The same, whether or not the answer was open.
fn said_by(event: &ChainEvent) -> Option<(u64, bool, Outcome)> {
    let function = event.function();
    if event.kind() != Some(EventKind::HostCall) || ![REPLY.full, REPLY_HTTP.full].contains(&function) {
        return None;
    }
    let HostCall { params, result, .. } = event.read().ok()?;
    let params = params?;
    let (token, outcome) = if function == REPLY.full {
        let (token, answer) = <(u64, Result<Vec<u8>, String>)>::from_cbor(&params.0).ok()?;
        (token, outcome_of(answer))
    } else {
        let (token, response) = <(u64, HttpResponse)>::from_cbor(&params.0).ok()?;
        (token, Outcome::Returned(response.to_cbor()))
    };
    let is_given = result.whole() == Some(&Ok::<(), String>(()).to_cbor());
    Some((token, is_given, outcome))
}

/// What the asker gets for an answer that was put off.
pub(crate) fn outcome_of(answer: Result<Vec<u8>, String>) -> Outcome {
    match answer {
        Ok(answer) => Outcome::Returned(answer.to_cbor()),
        Err(why) => Outcome::Refused(why),
    }
}

/// What the askers get whose answers an actor had put off when it began anew, as the event `started` says.
pub(crate) fn begun_anew(started: Link) -> Answer {
    let why =
        format!("outcome unknown: actor {} began anew, from its initial state, before it answered", started.actor);
    Answer { outcome: Outcome::Refused(why), closing: Some(started) }
}

/// How many pages are searched for what became of a token, so that a guest cannot have its whole chain read.
const PAGES: usize = 64;

/// Why an actor cannot give the answer with a token that is not open. `page` reads the actor's own events from a sequence on.
pub(crate) fn why_not_open(
    actor: ActorId,
    token: u64,
    page: impl Fn(u64) -> ReadResult<Vec<ChainEvent>>,
) -> ReadResult<String> {
    let unknown = || format!("no answer of actor {actor} was put off with the token {token}");
    let mut events = page(token)?;
    if !events.first().is_some_and(|event| event.sequence == token && put_off_by(event) == Some(token)) {
        return Ok(unknown());
    }
    let caller = call_of(token, &page)?.map(|call| call.caller);
    for _ in 0..PAGES {
        for event in &events {
            if answered_later(event).is_some_and(|(of, _)| of == token) {
                return Ok(format!("the answer with the token {token} was given already"));
            }
            if tried_by(event).is_some_and(|(of, ..)| of == token) {
                return Ok(too_late(token));
            }
        }
        let Some(last) = events.last() else { break };
        events = page(last.sequence + 1)?;
    }
    Ok(match caller {
        Some(Caller::Http | Caller::Management) => {
            format!(
                "the client went with the process that took its request: nobody waits for the answer with the token {token}"
            )
        }
        _ => format!("the answer with the token {token} is not open any more"),
    })
}

/// The error for an answer that nobody waits for any more.
pub(crate) fn too_late(token: u64) -> String {
    format!("nobody waits for the answer with the token {token} any more: the deadline of the request has passed")
}

/// The call that an event is a part of.
fn call_of(sequence: u64, page: &impl Fn(u64) -> ReadResult<Vec<ChainEvent>>) -> ReadResult<Option<Call>> {
    /// How far back the call is looked for.
    const BACK: u64 = 256;
    let before = page(sequence.saturating_sub(BACK))?;
    let call = before.iter().rfind(|event| event.sequence < sequence && event.kind() == Some(EventKind::Call));
    Ok(call.and_then(|call| call.read::<Call>().ok()))
}

/// The host call that has put off the answer of a call that ended with `returned`, if one has.
pub(super) fn put_off(returned: &ChainEvent) -> Option<u64> {
    returned.read::<Return>().ok()?.deferred
}
