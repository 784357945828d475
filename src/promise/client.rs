//! Calls by which an actor meets a client: the ids in their parameters, and what their `return` promises.

use super::Promise;
use super::fates::{Chains, ReadResult};
use super::numbered::numbered;
use super::stream::{HANDLE_STREAM_REQUEST, is_stream, stream_closed};
use super::websocket::{close, connect_of, is_connect};
use crate::base::id::ActorId;
use crate::chain::data::Caller;
use crate::chain::{ChainEvent, EventKind, Link};
use crate::system::{ClientKind, Delivery};

/// A call whose `return` may promise the actor to tell it of the end of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientCall {
    /// A `connect`; with the id of the connection, if the actor is told it.
    Connect(Option<u64>),
    /// A request that may be answered by a stream with this id.
    Request(u64),
}

impl ClientCall {
    /// The call of `function` with these parameters, if it is one.
    pub(crate) fn of(function: &str, params: &[u8]) -> Option<Self> {
        if function == HANDLE_STREAM_REQUEST.full {
            return numbered(params).map(|(id, _)| Self::Request(id));
        }
        match connect_of(function, params) {
            Some(id) => Some(Self::Connect(Some(id))),
            None => is_connect(function, params).then_some(Self::Connect(None)),
        }
    }

    /// The same, for a delivery that is about to be a call. Most deliveries are told by their caller alone.
    pub(crate) fn of_delivery(delivery: &Delivery) -> Option<Self> {
        match delivery.caller {
            Caller::WebSocket | Caller::Http => Self::of(delivery.function.full, &delivery.params),
            Caller::Runtime | Caller::Actor | Caller::Management | Caller::Timer => None,
        }
    }

    /// The id, or before the call the ticket, of a client that the actor can send to.
    pub(crate) fn client(self) -> Option<(ClientKind, u64)> {
        match self {
            Self::Connect(id) => id.map(|id| (ClientKind::Connection, id)),
            Self::Request(id) => Some((ClientKind::Stream, id)),
        }
    }

    /// The same call of the client with this id.
    pub(crate) fn with_id(self, id: u64) -> Self {
        match self {
            Self::Connect(before) => Self::Connect(before.map(|_| id)),
            Self::Request(_) => Self::Request(id),
        }
    }

    /// What the `return` with this result promises the actor.
    pub(crate) fn promises(self, result: &[u8]) -> Option<Promise> {
        match self {
            Self::Connect(_) => Some(Promise::WebSocketClose),
            Self::Request(_) => is_stream(result).then_some(Promise::StreamEnd),
        }
    }

    /// The delivery that is due when the client is gone, after `closing` has promised it.
    pub(crate) fn told_of_its_end(self, closing: Link) -> Delivery {
        match self {
            Self::Connect(id) => close(closing, id),
            Self::Request(id) => stream_closed(closing, id),
        }
    }
}

/// The sequence of the call that `closing` closed; `None` if the chain does not have it.
pub(super) fn call_closed_by(chains: &dyn Chains, actor: ActorId, closing: &ChainEvent) -> ReadResult<Option<u64>> {
    for sequence in (0..closing.sequence).rev() {
        match chains.event(actor, sequence)?.map(|event| event.kind()) {
            Some(Some(EventKind::Call)) => return Ok(Some(sequence)),
            Some(_) => {}
            None => return Ok(None),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::cbor::Cbor;
    use crate::guest::wit::{HttpRequest, MessageType};
    use crate::promise::{HANDLE_CONNECTION_MESSAGE, HANDLE_MESSAGE, bare};

    #[test]
    fn a_connect_and_a_request_are_told_from_other_calls() {
        let connect = (7_u64, bare(MessageType::Connect)).to_cbor();
        let of = |function: &str, params: &[u8]| ClientCall::of(function, params);
        assert_eq!(of(HANDLE_CONNECTION_MESSAGE.full, &connect), Some(ClientCall::Connect(Some(7))));
        assert_eq!(of(HANDLE_CONNECTION_MESSAGE.full, &(7_u64, bare(MessageType::Ping)).to_cbor()), None);
        assert_eq!(of(HANDLE_MESSAGE.full, &(bare(MessageType::Connect),).to_cbor()), Some(ClientCall::Connect(None)));
        let request = HttpRequest { method: "GET".into(), uri: "/".into(), headers: vec![], body: None };
        assert_eq!(of(HANDLE_STREAM_REQUEST.full, &(8_u64, request).to_cbor()), Some(ClientCall::Request(8)));
        assert_eq!(ClientCall::Request(8).promises(b"\xa1\x68response"), None);
    }
}
