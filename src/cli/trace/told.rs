//! What an event tells a reader: parameters and results as JSON that fits a line or two, outcomes, HTTP requests.

use serde_json::Value as Json;

use super::tree::{CausalOutcome, TracedRequest};
use crate::chain::cbor::{Cbor, Value};
use crate::chain::data::{Call, Failed, HostCall, Intent, Refused, Return, Stopped};
use crate::chain::{ChainEvent, EventKind};
use crate::handlers::http_events::{is_request, status_of_response, text_of_request};
use crate::promise::{GET_OR_SPAWN, MONITOR, REQUEST, REQUEST_ASYNC, RESTART_CHILD, SEND, SPAWN, SPAWN_AS, STOP_CHILD};

/// Longer JSON is cut.
const SHOWN: usize = 2_000;

const SEND_HTTP: &str = "ntwk:theater/http-client.send-http";

/// Host functions that are about another actor, or that the world outside notices: what else an actor asks is its own affair.
const OUTWARD: [&str; 10] = [
    SEND.full,
    REQUEST.full,
    REQUEST_ASYNC.full,
    SPAWN.full,
    SPAWN_AS.full,
    GET_OR_SPAWN.full,
    STOP_CHILD.full,
    RESTART_CHILD.full,
    MONITOR.full,
    SEND_HTTP,
];

pub(super) fn is_outward(function: &str) -> bool {
    OUTWARD.contains(&function)
}

pub(super) fn is_message(function: &str) -> bool {
    [SEND.full, REQUEST.full, REQUEST_ASYNC.full].contains(&function)
}

/// The encoded parameters of a call, an intent or a host call.
fn params(event: &ChainEvent) -> Option<Vec<u8>> {
    Some(match event.kind()? {
        EventKind::Call => Call::from_cbor(&event.data).ok()?.params.0,
        EventKind::Intent => Intent::from_cbor(&event.data).ok()?.params.0,
        EventKind::HostCall => HostCall::from_cbor(&event.data).ok()?.params?.0,
        _ => return None,
    })
}

/// The actor that a host call is about: the recorded one, or the address that was given.
pub(super) fn addressee(event: &ChainEvent) -> Option<String> {
    let recorded = match event.kind()? {
        EventKind::Intent => Intent::from_cbor(&event.data).ok()?.to,
        EventKind::HostCall => HostCall::from_cbor(&event.data).ok()?.to,
        _ => None,
    };
    if let Some(id) = recorded {
        return Some(id.to_string());
    }
    let function = event.function();
    if !is_message(function) && ![STOP_CHILD.full, RESTART_CHILD.full, MONITOR.full].contains(&function) {
        return None;
    }
    match Value::parse(&params(event)?).ok()? {
        Value::Array(params) => match params.first()? {
            Value::Text(address) => Some((*address).to_owned()),
            _ => None,
        },
        _ => None,
    }
}

/// What was said: of a message the message alone, of one parameter that parameter, else all of them.
pub(super) fn message(event: &ChainEvent) -> Json {
    let Some(params) = params(event) else { return Json::Null };
    let shown = match Value::parse(&params) {
        Ok(Value::Array(params)) => match &params[..] {
            [_, message, ..] if is_message(event.function()) => message.to_json(),
            [only] => only.to_json(),
            _ => Value::Array(params).to_json(),
        },
        Ok(other) => other.to_json(),
        Err(_) => Json::Null,
    };
    shortened(shown)
}

fn shortened(json: Json) -> Json {
    let text = json.to_string();
    if text.len() <= SHOWN {
        return json;
    }
    Json::String(format!("{}…", &text[..text.floor_char_boundary(SHOWN)]))
}

/// How a call has ended: the outcome, the text of a refusal or a failure, and the answer.
pub(super) fn end(closing: &ChainEvent) -> (CausalOutcome, Option<String>, Json) {
    let gone = || (CausalOutcome::Unknown, Some("its data was dropped".to_owned()), Json::Null);
    if closing.dropped.is_some() {
        return gone();
    }
    match closing.kind() {
        Some(EventKind::Return) => match Return::from_cbor(&closing.data) {
            Ok(returned) => (CausalOutcome::Done, None, result(&returned.result.0)),
            Err(_) => gone(),
        },
        Some(EventKind::Refused) => match Refused::from_cbor(&closing.data) {
            Ok(refused) => (CausalOutcome::Refused, Some(refused.message), Json::Null),
            Err(_) => gone(),
        },
        Some(EventKind::Failed) => match Failed::from_cbor(&closing.data) {
            Ok(failed) => (CausalOutcome::Failed, Some(format!("{}: {}", failed.reason, failed.detail)), Json::Null),
            Err(_) => gone(),
        },
        Some(EventKind::Stopped) => {
            let by = Stopped::from_cbor(&closing.data).map(|stopped| format!("by {}", stopped.by)).ok();
            (CausalOutcome::Stopped, by, Json::Null)
        }
        _ => (CausalOutcome::Done, None, Json::Null),
    }
}

fn result(encoded: &[u8]) -> Json {
    Value::parse(encoded).map_or(Json::Null, |value| shortened(value.to_json()))
}

/// How a host call was answered.
pub(super) fn answer(host_call: &ChainEvent) -> (CausalOutcome, Option<String>, Json) {
    let Ok(answered) = HostCall::from_cbor(&host_call.data) else {
        return (CausalOutcome::Unknown, Some("its data was dropped".to_owned()), Json::Null);
    };
    // A result that is a digest is read from the actor's own table or history.
    let Some(encoded) = answered.result.whole() else { return (CausalOutcome::Done, None, Json::Null) };
    match Value::parse(encoded) {
        Ok(Value::Map(entries)) => match &entries[..] {
            [("err", Value::Text(why))] => (CausalOutcome::Error, Some((*why).to_owned()), Json::Null),
            [("ok", answer)] => (CausalOutcome::Done, None, shortened(answer.to_json())),
            _ => (CausalOutcome::Done, None, result(encoded)),
        },
        _ => (CausalOutcome::Done, None, result(encoded)),
    }
}

/// The HTTP request that a call delivers.
pub(super) fn request(call: &ChainEvent, closing: Option<&ChainEvent>) -> Option<TracedRequest> {
    if !is_request(&call.event_type) {
        return None;
    }
    let text = |key| text_of_request(call, key).unwrap_or_default();
    let status = closing.and_then(|closing| match closing.kind() {
        Some(EventKind::Refused | EventKind::Failed) => Some(500),
        _ => status_of_response(closing),
    });
    Some(TracedRequest { method: text("method"), path: text("uri"), status })
}

/// The HTTP request that a host call makes.
pub(super) fn request_made(asked: &ChainEvent, answered: Option<&ChainEvent>) -> Option<TracedRequest> {
    if asked.function() != SEND_HTTP {
        return None;
    }
    let params = params(asked)?;
    let Ok(Value::Array(params)) = Value::parse(&params) else { return None };
    let made = params.first()?.to_json();
    let text = |key: &str| made[key].as_str().unwrap_or_default().to_owned();
    let status = answered.and_then(|answered| {
        let answered = HostCall::from_cbor(&answered.data).ok()?;
        Value::parse(answered.result.whole()?).ok()?.to_json()["ok"]["status"].as_u64()
    });
    Some(TracedRequest { method: text("method"), path: text("uri"), status })
}
