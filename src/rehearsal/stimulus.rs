//! What happens to the actor in a step of a test: a message, a request, a timer.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::simulated::Simulated;
use super::written::WrittenValue;
use crate::chain::cbor::Cbor;
use crate::chain::data::Caller;
use crate::guest::Program;
use crate::guest::values::{self, full_name, json_bytes, plain_bytes, short_name};
use crate::guest::wit::{HttpRequest, MessageType, WebSocketMessage};
use crate::handlers::INIT;
use crate::promise::{
    HANDLE_CHILD_EVENT, HANDLE_CONNECTION_MESSAGE, HANDLE_DOWN, HANDLE_MESSAGE, HANDLE_REPLY, HANDLE_REQUEST,
    HANDLE_SEND, HANDLE_STREAM_CLOSED, HANDLE_STREAM_REQUEST, HANDLE_TIMER,
};

const HANDLE_HTTP: &str = "ntwk:theater/http-server.handle-request";

pub(super) enum Stimulus {
    Init,
    Request(Vec<u8>),
    Send(Vec<u8>),
    Http(HttpRequest),
    WebSocket {
        connection: u64,
        message: WebSocketMessage,
    },
    Timer(String),
    AsyncReply {
        token: Option<u64>,
        answer: Result<Vec<u8>, String>,
    },
    ChildEvent(Vec<u8>),
    ActorDown {
        actor: String,
        reason: Json,
    },
    StreamClosed(u64),
    /// Any export, by its full name.
    Call {
        export: String,
        params: Vec<u8>,
    },
}

#[derive(Deserialize)]
pub(super) struct StimulusKeys {
    request: Option<WrittenValue>,
    send: Option<WrittenValue>,
    http: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<WrittenValue>,
    json: Option<WrittenValue>,
    websocket: Option<WrittenValue>,
    websocket_event: Option<String>,
    connection: Option<u64>,
    timer: Option<String>,
    async_reply: Option<ReplyKeys>,
    child_event: Option<ChildKeys>,
    actor_down: Option<DownKeys>,
    stream_closed: Option<u64>,
    call: Option<String>,
    params: Option<Vec<WrittenValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplyKeys {
    token: Option<u64>,
    ok: Option<WrittenValue>,
    err: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChildKeys {
    child: String,
    kind: WrittenValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DownKeys {
    actor: String,
    reason: WrittenValue,
}

/// A call that is to be made.
pub(super) struct StimulatedCall {
    pub(super) export: String,
    pub(super) params: Vec<u8>,
    pub(super) caller: Caller,
    /// The event that set the timer which calls, and the round.
    pub(super) timer: Option<(u64, u64)>,
}

impl Stimulus {
    /// The keys that say what happens, and what belongs to them.
    pub(super) const KEYS: &'static [&'static str] = &[
        "request",
        "send",
        "http",
        "headers",
        "body",
        "json",
        "websocket",
        "websocket_event",
        "connection",
        "timer",
        "async_reply",
        "child_event",
        "actor_down",
        "stream_closed",
        "call",
        "params",
    ];

    pub(super) fn of(keys: StimulusKeys) -> Result<Self, String> {
        const ONE_OF: &str = "request, send, http, websocket, websocket_event, timer, async_reply, child_event, actor_down, \
                              stream_closed or call";
        let happens = [
            keys.request.is_some(),
            keys.send.is_some(),
            keys.http.is_some(),
            keys.websocket.is_some(),
            keys.websocket_event.is_some(),
            keys.timer.is_some(),
            keys.async_reply.is_some(),
            keys.child_event.is_some(),
            keys.actor_down.is_some(),
            keys.stream_closed.is_some(),
            keys.call.is_some(),
        ];
        match happens.into_iter().filter(|happens| *happens).count() {
            0 => return Err(format!("the step says nothing that happens: it needs one of {ONE_OF}")),
            1 => {}
            _ => return Err(format!("one thing happens in a step: leave one of {ONE_OF}")),
        }
        keys.check_belongings()?;
        let connection = keys.connection.unwrap_or(1);
        if let Some(message) = keys.request {
            return message.bytes().map(Self::Request);
        }
        if let Some(message) = keys.send {
            return message.bytes().map(Self::Send);
        }
        if let Some(line) = keys.http {
            return http(&line, keys.headers, keys.body, keys.json).map(Self::Http);
        }
        if let Some(value) = keys.websocket {
            return Ok(Self::WebSocket { connection, message: frame(&value.0)? });
        }
        if let Some(word) = keys.websocket_event {
            let ty = match word.as_str() {
                "connect" => MessageType::Connect,
                "close" => MessageType::Close,
                "ping" => MessageType::Ping,
                "pong" => MessageType::Pong,
                _ => return Err(format!("\"websocket_event\" is connect, close, ping or pong, and not \"{word}\"")),
            };
            return Ok(Self::WebSocket { connection, message: WebSocketMessage { ty, data: None, text: None } });
        }
        if let Some(key) = keys.timer {
            return Ok(Self::Timer(key));
        }
        if let Some(ReplyKeys { token, ok, err }) = keys.async_reply {
            let answer = match (ok, err) {
                (Some(ok), None) => Ok(ok.bytes()?),
                (None, Some(err)) => Err(err),
                _ => return Err("\"async_reply\" is { ok = … } or { err = \"…\" }".to_owned()),
            };
            return Ok(Self::AsyncReply { token, answer });
        }
        if let Some(ChildKeys { child, kind }) = keys.child_event {
            let event = json!({ "child-id": child, "kind": kind.0 });
            return values::params(HANDLE_CHILD_EVENT.full, &[event]).map(Self::ChildEvent);
        }
        if let Some(DownKeys { actor, reason }) = keys.actor_down {
            down_params(0, &actor, &reason.0)?;
            return Ok(Self::ActorDown { actor, reason: reason.0 });
        }
        if let Some(stream) = keys.stream_closed {
            return Ok(Self::StreamClosed(stream));
        }
        let export = full_name(&keys.call.expect("one of them is there"));
        let params: Vec<Json> = keys.params.unwrap_or_default().into_iter().map(|it| it.0).collect();
        Ok(Self::Call { params: values::params(&export, &params)?, export })
    }

    /// Whether the caller gets something that the actor returns.
    pub(super) fn is_answered(&self) -> bool {
        matches!(self, Self::Request(_) | Self::Http(_) | Self::WebSocket { .. } | Self::Call { .. })
    }

    /// The call of this step, at the end of which `id` is the sequence of its event.
    pub(super) fn call(
        &self,
        program: &Program,
        simulated: &mut Simulated,
        actor: &str,
        id: u64,
    ) -> Result<StimulatedCall, String> {
        let plain = |export: &str, params: Vec<u8>, caller| {
            Ok(StimulatedCall { export: export.to_owned(), params, caller, timer: None })
        };
        match self {
            Self::Init => plain(INIT.full, (actor.to_owned(),).to_cbor(), Caller::Runtime),
            Self::Request(message) => plain(HANDLE_REQUEST.full, (message.clone(),).to_cbor(), Caller::Management),
            Self::Send(message) => plain(HANDLE_SEND.full, (message.clone(),).to_cbor(), Caller::Management),
            Self::Http(request) if program.function(HANDLE_STREAM_REQUEST.full).is_some() => {
                plain(HANDLE_STREAM_REQUEST.full, (id, request.clone()).to_cbor(), Caller::Http)
            }
            Self::Http(request) => plain(HANDLE_HTTP, (request.clone(),).to_cbor(), Caller::Http),
            Self::WebSocket { connection, message } if program.function(HANDLE_CONNECTION_MESSAGE.full).is_some() => {
                let params = (*connection, message.clone()).to_cbor();
                plain(HANDLE_CONNECTION_MESSAGE.full, params, Caller::WebSocket)
            }
            Self::WebSocket { message, .. } => {
                plain(HANDLE_MESSAGE.full, (message.clone(),).to_cbor(), Caller::WebSocket)
            }
            Self::Timer(key) => {
                let fired = simulated.fire(key)?;
                let params = (key.clone(), fired.due, fired.message).to_cbor();
                let timer = Some((fired.of, fired.round));
                Ok(StimulatedCall { export: HANDLE_TIMER.full.to_owned(), params, caller: Caller::Timer, timer })
            }
            Self::AsyncReply { token, answer } => {
                let token = simulated.answered(*token)?;
                plain(HANDLE_REPLY.full, (token, answer.clone()).to_cbor(), Caller::Actor)
            }
            Self::ChildEvent(params) => plain(HANDLE_CHILD_EVENT.full, params.clone(), Caller::Runtime),
            Self::ActorDown { actor, reason } => {
                let reference = simulated.down(actor)?;
                plain(HANDLE_DOWN.full, down_params(reference, actor, reason)?, Caller::Runtime)
            }
            Self::StreamClosed(stream) => plain(HANDLE_STREAM_CLOSED.full, (*stream,).to_cbor(), Caller::Http),
            Self::Call { export, params } => plain(export, params.clone(), Caller::Management),
        }
    }

    /// The step in a few words, for a report.
    pub(super) fn described(&self) -> String {
        let bytes = |bytes: &[u8]| crate::chain::cbor::bytes_to_json(bytes).to_string();
        let text = match self {
            Self::Init => "init".to_owned(),
            Self::Request(message) => format!("request {}", bytes(message)),
            Self::Send(message) => format!("send {}", bytes(message)),
            Self::Http(request) => format!("http {} {}", request.method, request.uri),
            Self::WebSocket { message, .. } => match (&message.text, &message.data) {
                (Some(text), _) => format!("websocket {text}"),
                (None, Some(data)) => format!("websocket {}", bytes(data)),
                (None, None) => "websocket event".to_owned(),
            },
            Self::Timer(key) => format!("timer \"{key}\""),
            Self::AsyncReply { answer: Ok(message), .. } => format!("async_reply {}", bytes(message)),
            Self::AsyncReply { answer: Err(why), .. } => format!("async_reply err \"{why}\""),
            Self::ChildEvent(_) => "child_event".to_owned(),
            Self::ActorDown { actor, .. } => format!("actor_down {actor}"),
            Self::StreamClosed(stream) => format!("stream_closed {stream}"),
            Self::Call { export, .. } => format!("call {}", short_name(export)),
        };
        const SHOWN: usize = 80;
        let cut = &text[..text.floor_char_boundary(SHOWN)];
        format!("{cut}{}", if cut.len() < text.len() { "…" } else { "" })
    }
}

impl StimulusKeys {
    /// Refuses a key that belongs to something else than what happens.
    fn check_belongings(&self) -> Result<(), String> {
        let is_http = self.http.is_some();
        let is_websocket = self.websocket.is_some() || self.websocket_event.is_some();
        let belongs = [
            ("headers", !self.headers.is_empty(), is_http, "http"),
            ("body", self.body.is_some(), is_http, "http"),
            ("json", self.json.is_some(), is_http, "http"),
            ("connection", self.connection.is_some(), is_websocket, "websocket"),
            ("params", self.params.is_some(), self.call.is_some(), "call"),
        ];
        match belongs.into_iter().find(|(_, is_there, fits, _)| *is_there && !*fits) {
            Some((key, _, _, to)) => Err(format!("\"{key}\" belongs to a step with \"{to}\"")),
            None => Ok(()),
        }
    }
}

fn http(
    line: &str,
    headers: BTreeMap<String, String>,
    body: Option<WrittenValue>,
    json: Option<WrittenValue>,
) -> Result<HttpRequest, String> {
    let split = line.split_once(' ').filter(|(method, uri)| !method.is_empty() && uri.starts_with('/'));
    let (method, uri) = split.ok_or("\"http\" is a method and a path, such as \"GET /items?page=2\"")?;
    let mut headers: Vec<(String, String)> = headers.into_iter().collect();
    let body = match (body, json) {
        (Some(_), Some(_)) => return Err("\"body\" and \"json\" exclude each other".to_owned()),
        (Some(body), None) => Some(plain_bytes(&body.0)?),
        (None, Some(json)) => {
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
            }
            Some(json_bytes(&json.0)?)
        }
        (None, None) => None,
    };
    Ok(HttpRequest { method: method.to_owned(), uri: uri.to_owned(), headers, body })
}

/// A WebSocket message: a text as it is, `{"$base64": …}` as a binary message, anything else as JSON in a text.
fn frame(value: &Json) -> Result<WebSocketMessage, String> {
    let bytes = plain_bytes(value)?;
    let is_binary = value.as_object().is_some_and(|object| object.contains_key("$base64"));
    if is_binary {
        return Ok(WebSocketMessage { ty: MessageType::Binary, data: Some(bytes), text: None });
    }
    let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
    Ok(WebSocketMessage { ty: MessageType::Text, data: None, text: Some(text) })
}

fn down_params(reference: u64, actor: &str, reason: &Json) -> Result<Vec<u8>, String> {
    let down = json!({ "reference": reference, "actor-id": actor, "reason": reason });
    values::params(HANDLE_DOWN.full, &[down])
}
