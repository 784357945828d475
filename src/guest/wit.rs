//! The WIT records of package `ntwk:theater`, as Rust types: what a guest sees on one side, what a chain holds on the
//! other. `wit/` documents them.

use wasmtime::component::{ComponentType, Lift, Lower};

use crate::chain::cbor::{Cbor, list, record};

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
    /// The word for it in the journal's table `pending`.
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
    fn write(&self, to: &mut crate::chain::cbor::Writer) {
        match self {
            Self::Started => to.text("started"),
            Self::Stopped => to.text("stopped"),
            Self::Restarted => to.text("restarted"),
            Self::Failed(why) => to.map(1).key("failed").text(why),
        };
    }

    fn read(value: crate::chain::cbor::Value) -> Result<Self, crate::chain::cbor::CborError> {
        use crate::chain::cbor::{CborError, Value};
        match value {
            Value::Text(word) => match word.as_str() {
                "started" => Ok(Self::Started),
                "stopped" => Ok(Self::Stopped),
                "restarted" => Ok(Self::Restarted),
                _ => Err(CborError::Mismatch("another word", "a lifecycle event")),
            },
            value => Ok(Self::Failed(value.into_fields()?.read("failed")?)),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Writing asserts (in tests) that the keys stand in canonical order.
    fn survives<T: Cbor + PartialEq + std::fmt::Debug>(item: &T) {
        assert_eq!(&T::from_cbor(&item.to_cbor()).expect("what was written"), item);
    }

    #[test]
    fn every_record_is_read_back_as_it_was_written() {
        let headers = vec![("a".to_owned(), "1".to_owned()), ("A".to_owned(), "2".to_owned())];
        survives(&HttpRequest { method: "GET".into(), uri: "/".into(), headers: headers.clone(), body: None });
        survives(&HttpResponse { status: 200, headers, body: Some(vec![0xff]) });
        survives(&SupervisedEvent {
            hash: vec![1; 20],
            parent_hash: None,
            event_type: "started".into(),
            data: vec![],
            timestamp: 1,
        });
        for kind in [ChildEventKind::Started, ChildEventKind::Failed("trap".into())] {
            survives(&ChildEvent { child_id: "x".into(), kind });
        }
    }
}
