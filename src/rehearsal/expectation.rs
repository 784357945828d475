//! What a step of a test expects, and the comparison with what the actor did.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::scripted::{ScriptedAnswer, WrittenCall, shown_params};
use super::stimulus::Stimulus;
use super::written::{WrittenValue, without_nulls};
use crate::actor::{RehearsedCall, RehearsedEnd};
use crate::base::json_difference::{first_difference, first_lack};
use crate::chain::cbor::{Cbor, Value, bytes_to_json};
use crate::chain::data::HostCall;
use crate::chain::{ChainEvent, EventKind};
use crate::guest::values::short_name;
use crate::guest::wit::{HttpAnswer, HttpResponse, MessageType, WebSocketMessage, WebSocketResponse};
use crate::handlers::is_noticed;
use crate::promise::{HANDLE_CONNECTION_MESSAGE, HANDLE_MESSAGE, HANDLE_STREAM_REQUEST, SEND};

/// What is expected. What is not said is not looked at, except that a call returns, unless it is to be refused or to fail.
#[derive(Default)]
pub(super) struct Expectation {
    written: ExpectedKeys,
    /// The host calls under `effects`.
    pub(super) calls_expected: Option<Vec<WrittenCall>>,
}

#[derive(Default, Deserialize)]
pub(super) struct ExpectedKeys {
    reply: Option<WrittenValue>,
    reply_contains: Option<WrittenValue>,
    status: Option<u16>,
    reply_headers: Option<BTreeMap<String, String>>,
    refused: Option<String>,
    failed: Option<String>,
    deferred: Option<bool>,
    state: Option<WrittenValue>,
    state_contains: Option<WrittenValue>,
    table: Option<BTreeMap<String, WrittenValue>>,
    logs: Option<Vec<String>>,
    logs_contain: Option<WrittenValue>,
    sent: Option<Vec<SentKeys>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SentKeys {
    to: String,
    message: WrittenValue,
}

/// What is known after a step.
pub(super) struct StepDone<'a> {
    pub(super) export: &'a str,
    pub(super) call: &'a RehearsedCall,
    pub(super) state: Option<&'a [u8]>,
    pub(super) table: BTreeMap<String, Json>,
}

impl Expectation {
    pub(super) const KEYS: &'static [&'static str] = &[
        "reply",
        "reply_contains",
        "status",
        "reply_headers",
        "refused",
        "failed",
        "deferred",
        "state",
        "state_contains",
        "table",
        "logs",
        "logs_contain",
        "sent",
        "effects",
    ];

    pub(super) fn of(written: ExpectedKeys) -> Result<Self, String> {
        if written.refused.is_some() && written.failed.is_some() {
            return Err("\"refused\" and \"failed\" exclude each other".to_owned());
        }
        let ends = written.refused.is_some() || written.failed.is_some();
        let answers = written.reply.is_some() || written.reply_contains.is_some() || written.status.is_some();
        if ends && (answers || written.reply_headers.is_some()) {
            return Err("a call that is refused, or fails, has no reply: leave one of them".to_owned());
        }
        Ok(Self { written, calls_expected: None })
    }

    /// Why the expectation cannot be met by such a step.
    pub(super) fn does_not_fit(&self, stimulus: &Stimulus) -> Option<String> {
        let Self { written, .. } = self;
        if (written.status.is_some() || written.reply_headers.is_some()) && !matches!(stimulus, Stimulus::Http(_)) {
            return Some("\"status\" and \"reply_headers\" belong to a step with \"http\"".to_owned());
        }
        let expects_reply = written.reply.is_some() || written.reply_contains.is_some();
        (expects_reply && !stimulus.is_answered())
            .then(|| format!("nobody is answered after {}: \"reply\" does not belong here", stimulus.described()))
    }

    /// The host calls that are expected, each with its answer.
    pub(super) fn answers(&self) -> Vec<ScriptedAnswer> {
        if let Some(calls) = &self.calls_expected {
            return calls.iter().map(|WrittenCall(call)| call.clone()).collect();
        }
        let sent = self.written.sent.iter().flatten();
        let answer = || ScriptedAnswer::of("message-server-host.send", None, None, None, false, 0);
        sent.filter_map(|_| answer().ok()).collect()
    }

    /// Compares, and returns what differs, each as a text of some lines.
    pub(super) fn judge(&self, done: &StepDone<'_>) -> Vec<String> {
        let mut found = Vec::new();
        let Self { written, calls_expected } = self;
        if let Some(wrong) = self.end_differs(&done.call.end) {
            found.push(wrong);
        } else if let RehearsedEnd::Returned { result, deferred } = &done.call.end {
            found.extend(self.answer_differs(done.export, result, *deferred));
        }
        let state = || done.state.map_or(Json::Null, bytes_to_json);
        found.extend(written.state.as_ref().and_then(|expected| differs("state", &expected.shown(), &state())));
        let part = written.state_contains.as_ref();
        found.extend(part.and_then(|expected| lacks("state_contains", &expected.shown(), &state())));
        if let Some(expected) = &written.table {
            let expected = expected.iter().map(|(key, value)| (key.clone(), value.shown())).collect();
            let actual = done.table.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            found.extend(differs("table", &Json::Object(expected), &Json::Object(actual)));
        }
        let logged = logs(&done.call.events);
        if let Some(expected) = &written.logs {
            found.extend(differs("logs", &json!(expected), &json!(logged)));
        }
        for part in texts(written.logs_contain.as_ref()) {
            if !logged.iter().any(|line| line.contains(&part)) {
                found.push(format!("no line of the log contains {part:?}\n  logged    {}", json!(logged)));
            }
        }
        if let Some(expected) = &written.sent {
            let expected = expected.iter().map(|sent| json!({ "to": sent.to, "message": sent.message.shown() }));
            let sends = host_calls(&done.call.events).filter(|(name, _)| name == SEND.full);
            let actual = sends.map(|(_, params)| json!({ "to": params.first(), "message": params.get(1) }));
            found.extend(differs("sent", &expected.collect(), &actual.collect()));
        }
        if let Some(expected) = calls_expected {
            found.extend(effects_differ(expected, &done.call.events));
        }
        found
    }

    fn end_differs(&self, end: &RehearsedEnd) -> Option<String> {
        let ExpectedKeys { refused, failed, .. } = &self.written;
        let actual = match end {
            RehearsedEnd::Returned { .. } => "it returned".to_owned(),
            RehearsedEnd::Refused(message) => format!("it refused: {message}"),
            RehearsedEnd::Failed(reason, detail) => format!("it failed: {reason}: {detail}"),
            RehearsedEnd::Unanswered(advice) => return Some(advice.clone()),
            RehearsedEnd::NotExecuted(why) => return Some(format!("the call could not be made: {why}")),
        };
        let wanted = match (refused, failed, end) {
            (None, None, RehearsedEnd::Returned { .. }) => return None,
            (Some(part), None, RehearsedEnd::Refused(message)) if message.contains(part) => return None,
            (None, Some(part), RehearsedEnd::Failed(reason, detail))
                if format!("{reason}: {detail}").contains(part) =>
            {
                return None;
            }
            (Some(part), ..) => format!("a refusal that contains {part:?}"),
            (None, Some(part), _) => format!("a failure that contains {part:?}"),
            (None, None, _) => "the call returns".to_owned(),
        };
        Some(format!("the call ended otherwise\n  expected  {wanted}\n  actual    {actual}"))
    }

    fn answer_differs(&self, export: &str, result: &[u8], deferred: Option<u64>) -> Vec<String> {
        let ExpectedKeys { reply, reply_contains, status, reply_headers, .. } = &self.written;
        let mut found = Vec::new();
        match (self.written.deferred, deferred) {
            (Some(true), None) => found.push("the answer was to be put off, and the call returned it".to_owned()),
            (Some(false), Some(_)) => found.push("the answer was put off".to_owned()),
            _ => {}
        }
        let expects = reply.is_some() || reply_contains.is_some() || status.is_some() || reply_headers.is_some();
        if deferred.is_some() {
            if expects {
                found.push("there is no reply: the answer was put off, to be given later".to_owned());
            }
            return found;
        }
        let answer = ShownAnswer::of(export, result);
        if let Some(expected) = status {
            found.extend(differs("status", &json!(expected), &json!(answer.status)));
        }
        for (name, expected) in reply_headers.iter().flatten() {
            let of_name = answer.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
            let values: Vec<&str> = of_name.map(|(_, value)| value.as_str()).collect();
            if !values.contains(&expected.as_str()) {
                let actual = if values.is_empty() { "no such header".to_owned() } else { json!(values).to_string() };
                found.push(format!("the header {name} differs\n  expected  {expected:?}\n  actual    {actual}"));
            }
        }
        found.extend(reply.as_ref().and_then(|expected| differs("reply", &expected.shown(), &answer.body)));
        let part = reply_contains.as_ref();
        found.extend(part.and_then(|expected| lacks("reply_contains", &expected.shown(), &answer.body)));
        found
    }
}

/// What a call has answered, as it is compared.
struct ShownAnswer {
    status: Option<u16>,
    headers: Vec<(String, String)>,
    body: Json,
}

impl ShownAnswer {
    fn of(export: &str, result: &[u8]) -> Self {
        let http = |status, headers, body: Option<Vec<u8>>| Self {
            status: Some(status),
            headers,
            body: body.as_deref().map_or(Json::Null, bytes_to_json),
        };
        let other = |body| Self { status: None, headers: Vec::new(), body };
        if export == HANDLE_STREAM_REQUEST.full {
            match HttpAnswer::from_cbor(result) {
                Ok(HttpAnswer::Response(it)) => return http(it.status, it.headers, it.body),
                Ok(HttpAnswer::Stream(it)) => return http(it.status, it.headers, it.first),
                Err(_) => {}
            }
        }
        if let Ok(HttpResponse { status, headers, body }) = HttpResponse::from_cbor(result) {
            return http(status, headers, body);
        }
        if [HANDLE_MESSAGE.full, HANDLE_CONNECTION_MESSAGE.full].contains(&export)
            && let Ok(WebSocketResponse { messages }) = WebSocketResponse::from_cbor(result)
        {
            return other(messages.iter().map(shown_frame).collect());
        }
        other(Value::parse(result).map_or(Json::Null, |value| value.to_json()))
    }
}

/// A WebSocket message: its text or its bytes as what they hold; another kind by its name.
fn shown_frame(message: &WebSocketMessage) -> Json {
    match (&message.ty, &message.text, &message.data) {
        (MessageType::Text, Some(text), _) => bytes_to_json(text.as_bytes()),
        (MessageType::Binary, _, Some(data)) => bytes_to_json(data),
        _ => Value::parse(&message.to_cbor()).map_or(Json::Null, |value| value.to_json()),
    }
}

/// The lines that an actor has logged.
pub(super) fn logs(events: &[ChainEvent]) -> Vec<String> {
    let logged = host_calls(events).filter(|(name, _)| short_name(name) == "runtime.log");
    logged.filter_map(|(_, params)| Some(params.first()?.as_str()?.to_owned())).collect()
}

/// The host calls, each with its parameters.
fn host_calls(events: &[ChainEvent]) -> impl Iterator<Item = (String, Vec<Json>)> + '_ {
    events.iter().filter(|event| event.kind() == Some(EventKind::HostCall)).map(|event| {
        let params = event.read::<HostCall>().ok().and_then(|call| call.params);
        (event.function().to_owned(), params.map_or_else(Vec::new, |params| shown_params(&params.0)))
    })
}

fn effects_differ(expected: &[WrittenCall], events: &[ChainEvent]) -> Option<String> {
    let actual: Vec<_> = host_calls(events).filter(|(name, _)| is_noticed(name)).collect();
    let full = |name: &str, params: &[Json]| json!({ "call": short_name(name), "params": params });
    let shown = |at: usize, WrittenCall(call): &WrittenCall| match (&call.params, actual.get(at)) {
        (Some(params), _) => full(&call.function, params),
        // Any parameters fit.
        (None, Some((name, params))) if *name == call.function => full(name, params),
        (None, _) => json!({ "call": call.short_name() }),
    };
    let expected: Json = expected.iter().enumerate().map(|(at, call)| shown(at, call)).collect();
    differs("effects", &expected, &actual.iter().map(|(name, params)| full(name, params)).collect())
}

fn texts(value: Option<&WrittenValue>) -> Vec<String> {
    match value.map(WrittenValue::shown) {
        None => Vec::new(),
        Some(Json::Array(items)) => items.iter().map(|it| it.as_str().map_or(it.to_string(), str::to_owned)).collect(),
        Some(Json::String(text)) => vec![text],
        Some(other) => vec![other.to_string()],
    }
}

fn differs(key: &str, expected: &Json, actual: &Json) -> Option<String> {
    let difference = first_difference(&without_nulls(expected), &without_nulls(actual))?;
    let at = if difference.pointer.is_empty() { String::new() } else { format!(" at {}", difference.pointer) };
    Some(format!("{key} differs{at}\n  expected  {expected}\n  actual    {actual}"))
}

fn lacks(key: &str, expected: &Json, actual: &Json) -> Option<String> {
    let lack = first_lack(&without_nulls(expected), &without_nulls(actual))?;
    let at = if lack.pointer.is_empty() { String::new() } else { format!(" at {}", lack.pointer) };
    Some(format!("{key} is not met{at}\n  expected  {expected}\n  actual    {actual}"))
}
