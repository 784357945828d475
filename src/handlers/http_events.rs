//! The events of an HTTP request: the `call` that delivers it to an actor, and the event that ends this call.

use serde_json::Value as Json;

use crate::chain::cbor::{Cbor, Value};
use crate::chain::data::{Call, Return};
use crate::chain::{ChainEvent, EventKind, Function, function};
use crate::promise::HANDLE_STREAM_REQUEST;

const HANDLE_REQUEST: &Function = function!("ntwk:theater/http-server", "handle-request");

/// The exports that requests are calls of.
const REQUESTS: [&Function; 2] = [HANDLE_REQUEST, HANDLE_STREAM_REQUEST];

/// Whether events of this type deliver a request.
pub(crate) fn is_request(event_type: &str) -> bool {
    REQUESTS.iter().any(|it| it.call == event_type)
}

/// Whether an event of this type ends the call for a request, if one is under way.
pub(crate) fn is_ending(event_type: &str) -> bool {
    let ends = [EventKind::Failed, EventKind::Stopped].map(EventKind::word);
    REQUESTS.iter().any(|it| it.returned == event_type || it.refused == event_type) || ends.contains(&event_type)
}

/// What `show` finds in the request that a `call` delivers.
pub(crate) fn of_request<T>(call: &ChainEvent, show: impl FnOnce(&Value<'_>) -> Option<T>) -> Option<T> {
    let call = Call::from_cbor(&call.data).ok()?;
    match Value::parse(&call.params.0).ok()? {
        // Before the request, an actor that can answer by a stream gets the stream's id.
        Value::Array(params) => show(params.last()?),
        _ => None,
    }
}

/// A text of the request that a `call` delivers: its `method`, or its `uri`.
pub(crate) fn text_of_request(call: &ChainEvent, key: &str) -> Option<String> {
    of_request(call, |request| match entry(request, key)? {
        Value::Text(text) => Some((*text).to_owned()),
        _ => None,
    })
}

/// The body of the request that a `call` delivers, as JSON for people.
pub(crate) fn body_of_request(call: &ChainEvent) -> Option<Json> {
    of_request(call, |request| entry(request, "body").map(Value::to_json)).filter(|body| !body.is_null())
}

/// What `show` finds in the response that a call for a request has returned.
pub(crate) fn of_response<T>(closing: &ChainEvent, show: impl FnOnce(&Value<'_>) -> Option<T>) -> Option<T> {
    let returned = Return::from_cbor(&closing.data).ok()?;
    let answer = Value::parse(&returned.result.0).ok()?;
    // An actor that can answer by a stream says which of the two its answer is.
    let inner = ["response", "stream"].into_iter().find_map(|which| entry(&answer, which));
    show(inner.unwrap_or(&answer))
}

/// The status of the response that a call for a request has returned.
pub(crate) fn status_of_response(closing: &ChainEvent) -> Option<u64> {
    of_response(closing, |response| match entry(response, "status")? {
        Value::Uint(status) => Some(*status),
        _ => None,
    })
}

/// The value of the only header of this name, in whatever case, of the request that a `call` delivers.
pub(crate) fn header_of_request(call: &ChainEvent, name: &str) -> Option<String> {
    of_request(call, |request| {
        let Value::Array(headers) = entry(request, "headers")? else { return None };
        let mut found = headers.iter().filter_map(|header| match header {
            Value::Array(pair) => match &pair[..] {
                [Value::Text(key), Value::Text(value)] if key.eq_ignore_ascii_case(name) => Some(*value),
                _ => None,
            },
            _ => None,
        });
        let value = found.next()?;
        found.next().is_none().then(|| value.to_owned())
    })
}

fn entry<'v, 'a>(map: &'v Value<'a>, key: &str) -> Option<&'v Value<'a>> {
    match map {
        Value::Map(entries) => entries.iter().find(|(other, _)| *other == key).map(|(_, value)| value),
        _ => None,
    }
}
