//! The WIT records of the package `ntwk:theater` as Rust types: a guest sees them as WIT, a chain holds them as CBOR.
//! `wit/` documents them.

use wasmtime::component::{ComponentType, Lift, Lower};

use crate::chain::cbor::{Cbor, CborError, CborReader, CborWriter, Type, list, record};

/// `http-types.http-request`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct HttpRequest {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

record!(HttpRequest { "uri": uri, "body": body, "method": method, "headers": headers });

/// `http-types.http-response`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

record!(HttpResponse { "body": body, "status": status, "headers": headers });

/// `stream-handlers.stream-head`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct StreamHead {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) first: Option<Vec<u8>>,
}

record!(StreamHead { "first": first, "status": status, "headers": headers });

/// `stream-handlers.http-answer`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum HttpAnswer {
    #[component(name = "response")]
    Response(HttpResponse),
    #[component(name = "stream")]
    Stream(StreamHead),
}

impl Cbor for HttpAnswer {
    fn write(&self, to: &mut CborWriter) {
        match self {
            Self::Response(response) => to.map(1).key("response").item(response),
            Self::Stream(head) => to.map(1).key("stream").item(head),
        };
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        from.map(|entries| match entries.read_if_there("stream")? {
            Some(head) => Ok(Self::Stream(head)),
            None => entries.read("response").map(Self::Response),
        })
    }
}

/// `streams.not-pushed`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum NotPushed {
    #[component(name = "gone")]
    Gone,
    #[component(name = "full")]
    Full,
    #[component(name = "refused")]
    Refused(String),
}

impl Cbor for NotPushed {
    fn write(&self, to: &mut CborWriter) {
        match self {
            Self::Gone => to.text("gone"),
            Self::Full => to.text("full"),
            Self::Refused(why) => to.map(1).key("refused").text(why),
        };
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        match from.next()? {
            Type::Text => match from.text()? {
                "gone" => Ok(Self::Gone),
                "full" => Ok(Self::Full),
                _ => Err(CborError::Mismatch("another word", "why a piece was not queued")),
            },
            _ => from.map(|entries| entries.read("refused").map(Self::Refused)),
        }
    }
}

/// The answer of `streams.push-chunk`, as a chain holds it.
impl Cbor for Result<(), NotPushed> {
    fn write(&self, to: &mut CborWriter) {
        match self {
            Ok(()) => to.map(1).key("ok").null(),
            Err(why) => to.map(1).key("err").item(why),
        };
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        from.map(|entries| match entries.read_if_there("err")? {
            Some(why) => Ok(Err(why)),
            None => entries.read("ok").map(Ok),
        })
    }
}

/// `connections.not-queued-reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum NotQueuedReason {
    #[component(name = "gone")]
    Gone,
    #[component(name = "full")]
    Full,
}

impl Cbor for NotQueuedReason {
    fn write(&self, to: &mut CborWriter) {
        to.text(match self {
            Self::Gone => "gone",
            Self::Full => "full",
        });
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        match from.text()? {
            "gone" => Ok(Self::Gone),
            "full" => Ok(Self::Full),
            _ => Err(CborError::Mismatch("another word", "why a message was not queued")),
        }
    }
}

/// `connections.not-queued`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct NotQueued {
    pub(crate) connection: u64,
    pub(crate) reason: NotQueuedReason,
}

record!(NotQueued { "reason": reason, "connection": connection });
list!(NotQueued);

/// `types.event`: an event as a guest sees its own chain.
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct Event {
    #[component(name = "event-type")]
    pub(crate) event_type: String,
    pub(crate) parent: Option<u64>,
    pub(crate) data: Vec<u8>,
}

/// `types.meta-event`.
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct MetaEvent {
    pub(crate) hash: u64,
    pub(crate) event: Event,
}

/// `types.chain`.
#[derive(Clone, Debug, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct Chain {
    pub(crate) events: Vec<MetaEvent>,
}

/// `websocket-types.message-type`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum MessageType {
    #[component(name = "text")]
    Text,
    #[component(name = "binary")]
    Binary,
    #[component(name = "connect")]
    Connect,
    #[component(name = "close")]
    Close,
    #[component(name = "ping")]
    Ping,
    #[component(name = "pong")]
    Pong,
    #[component(name = "other")]
    Other(String),
}

impl Cbor for MessageType {
    fn write(&self, to: &mut CborWriter) {
        match self {
            Self::Text => to.text("text"),
            Self::Binary => to.text("binary"),
            Self::Connect => to.text("connect"),
            Self::Close => to.text("close"),
            Self::Ping => to.text("ping"),
            Self::Pong => to.text("pong"),
            Self::Other(what) => to.map(1).key("other").text(what),
        };
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        match from.next()? {
            Type::Text => match from.text()? {
                "text" => Ok(Self::Text),
                "binary" => Ok(Self::Binary),
                "connect" => Ok(Self::Connect),
                "close" => Ok(Self::Close),
                "ping" => Ok(Self::Ping),
                "pong" => Ok(Self::Pong),
                _ => Err(CborError::Mismatch("another word", "a type of message")),
            },
            _ => from.map(|entries| entries.read("other").map(Self::Other)),
        }
    }
}

/// `websocket-types.websocket-message`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WebSocketMessage {
    pub(crate) ty: MessageType,
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) text: Option<String>,
}

record!(WebSocketMessage { "ty": ty, "data": data, "text": text });
list!(WebSocketMessage);

/// `websocket-types.websocket-response`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WebSocketResponse {
    pub(crate) messages: Vec<WebSocketMessage>,
}

record!(WebSocketResponse { "messages": messages });

/// `supervisor.chain-event`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct SupervisedEvent {
    pub(crate) hash: Vec<u8>,
    #[component(name = "parent-hash")]
    pub(crate) parent_hash: Option<Vec<u8>>,
    #[component(name = "event-type")]
    pub(crate) event_type: String,
    pub(crate) data: Vec<u8>,
    pub(crate) timestamp: u64,
}

record!(SupervisedEvent {
    "data": data,
    "hash": hash,
    "timestamp": timestamp,
    "event-type": event_type,
    "parent-hash": parent_hash,
});
list!(SupervisedEvent);

/// `supervisor-handlers.child-event-kind`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum ChildEventKind {
    #[component(name = "started")]
    Started,
    #[component(name = "stopped")]
    Stopped,
    #[component(name = "failed")]
    Failed(String),
    #[component(name = "restarted")]
    Restarted,
}

impl ChildEventKind {
    /// The word for this kind in the journal's table `pending`.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Stopped => "stopped",
            Self::Failed(_) => "failed",
            Self::Restarted => "restarted",
        }
    }
}

impl Cbor for ChildEventKind {
    fn write(&self, to: &mut CborWriter) {
        match self {
            Self::Started => to.text("started"),
            Self::Stopped => to.text("stopped"),
            Self::Restarted => to.text("restarted"),
            Self::Failed(why) => to.map(1).key("failed").text(why),
        };
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        match from.next()? {
            Type::Text => match from.text()? {
                "started" => Ok(Self::Started),
                "stopped" => Ok(Self::Stopped),
                "restarted" => Ok(Self::Restarted),
                _ => Err(CborError::Mismatch("another word", "a lifecycle event")),
            },
            _ => from.map(|entries| entries.read("failed").map(Self::Failed)),
        }
    }
}

/// `supervisor-handlers.child-event`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct ChildEvent {
    #[component(name = "child-id")]
    pub(crate) child_id: String,
    pub(crate) kind: ChildEventKind,
}

record!(ChildEvent { "kind": kind, "child-id": child_id });

/// `monitor-handlers.end-reason`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum EndReason {
    #[component(name = "stopped")]
    Stopped,
    #[component(name = "failed")]
    Failed(String),
}

impl Cbor for EndReason {
    fn write(&self, to: &mut CborWriter) {
        match self {
            Self::Stopped => to.text("stopped"),
            Self::Failed(why) => to.map(1).key("failed").text(why),
        };
    }

    fn read(from: &mut CborReader<'_>) -> Result<Self, CborError> {
        match from.next()? {
            Type::Text => match from.text()? {
                "stopped" => Ok(Self::Stopped),
                _ => Err(CborError::Mismatch("another word", "the reason of an end")),
            },
            _ => from.map(|entries| entries.read("failed").map(Self::Failed)),
        }
    }
}

/// `monitor-handlers.down`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct MonitoredEnd {
    pub(crate) reference: u64,
    #[component(name = "actor-id")]
    pub(crate) actor_id: String,
    pub(crate) reason: EndReason,
}

record!(MonitoredEnd { "reason": reason, "actor-id": actor_id, "reference": reference });

/// `timer.pending-timer`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct PendingTimer {
    pub(crate) key: String,
    pub(crate) due: u64,
    pub(crate) round: u64,
}

record!(PendingTimer { "due": due, "key": key, "round": round });
list!(PendingTimer);

/// `table.row`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct WitRow {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

record!(WitRow { "key": key, "value": value });
list!(WitRow);

/// `table.page`.
#[derive(Clone, Debug, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(record)]
pub(crate) struct TablePage {
    pub(crate) rows: Vec<WitRow>,
    pub(crate) cursor: Option<Vec<u8>>,
}

record!(TablePage { "rows": rows, "cursor": cursor });

#[cfg(test)]
mod tests {
    use super::*;

    /// In tests, writing also asserts that the keys stand in canonical order.
    fn survives<T: Cbor + PartialEq + std::fmt::Debug>(item: &T) {
        assert_eq!(&T::from_cbor(&item.to_cbor()).expect("what was written"), item);
    }

    #[test]
    fn every_record_is_read_back_as_it_was_written() {
        let headers = vec![("a".to_owned(), "1".to_owned()), ("A".to_owned(), "2".to_owned())];
        survives(&HttpRequest { method: "GET".into(), uri: "/".into(), headers: headers.clone(), body: None });
        survives(&HttpResponse { status: 200, headers, body: Some(vec![0xff]) });
        survives(&HttpAnswer::Stream(StreamHead { status: 200, headers: vec![], first: Some(vec![1]) }));
        survives(&HttpAnswer::Response(HttpResponse { status: 200, headers: vec![], body: None }));
        for pushed in [Ok(()), Err(NotPushed::Gone), Err(NotPushed::Full), Err(NotPushed::Refused("x".into()))] {
            survives(&pushed);
        }
        for reason in [NotQueuedReason::Gone, NotQueuedReason::Full] {
            survives(&vec![NotQueued { connection: 7, reason }]);
        }
        survives(&SupervisedEvent {
            hash: vec![1; 20],
            parent_hash: None,
            event_type: "started".into(),
            data: vec![],
            timestamp: 1,
        });
        let types = [MessageType::Text, MessageType::Ping, MessageType::Connect, MessageType::Other("x".into())];
        let message = |ty| WebSocketMessage { ty, data: Some(vec![0xff]), text: Some("a".into()) };
        survives(&WebSocketResponse { messages: types.into_iter().map(message).collect() });
        survives(&vec![PendingTimer { key: "tea".into(), due: u64::MAX, round: 1 }]);
        let rows = vec![WitRow { key: b"a".to_vec(), value: vec![0xff] }];
        survives(&TablePage { rows, cursor: Some(b"a".to_vec()) });
        for reason in [EndReason::Stopped, EndReason::Failed("trap".into())] {
            survives(&MonitoredEnd { reference: 7, actor_id: "x".into(), reason });
        }
        for kind in [ChildEventKind::Started, ChildEventKind::Failed("trap".into())] {
            survives(&ChildEvent { child_id: "x".into(), kind });
        }
    }
}
