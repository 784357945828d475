//! The promise of a WebSocket `close`: an actor that answers a client's `connect` is promised a `close`, until it takes
//! it. So the actor is told of every end of a connection, including the ends that a crash causes.
//!
//! An actor that knows its connections by their ids is told the id. It is the sequence of the call of the `connect`, so it
//! follows from the chain, and the row of `pending` does not have it.

use super::numbered::numbered;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Caller};
use crate::chain::{ChainEvent, EventKind, Function, Link, function};
use crate::guest::wit::{MessageType, WebSocketMessage};
use crate::system::{Delivery, Reply};

pub(crate) const HANDLE_MESSAGE: &Function = function!("ntwk:theater/websocket-server", "handle-message");
pub(crate) const HANDLE_CONNECTION_MESSAGE: &Function =
    function!("ntwk:theater/connection-handlers", "handle-connection-message");

/// The word of its row in `pending`.
pub(super) const WORD: &str = "close";

/// Whether a call is a client's `connect`, which promises the actor a `close`.
pub(super) fn is_connect(function: &str, params: &[u8]) -> bool {
    function == HANDLE_MESSAGE.full && params == (bare(MessageType::Connect),).to_cbor()
}

/// The id in a call that is a client's `connect` to an actor that knows its connections by their ids.
pub(super) fn connect_of(function: &str, params: &[u8]) -> Option<u64> {
    if function != HANDLE_CONNECTION_MESSAGE.full {
        return None;
    }
    let (id, message) = numbered(params)?;
    (message == bare(MessageType::Connect).to_cbor()).then_some(id)
}

/// The delivery of the `close` for the connection whose `connect` the event `answered` answered, with its id if the actor
/// knows it by that. It goes into the lane for notices: there are never more `close`s than connections, so it finds room
/// however full the mailbox is. Nobody gets its answer.
pub(crate) fn close(answered: Link, id: Option<u64>) -> Delivery {
    let message = bare(MessageType::Close);
    let (function, params) = match id {
        Some(id) => (HANDLE_CONNECTION_MESSAGE, (id, message).to_cbor()),
        None => (HANDLE_MESSAGE, (message,).to_cbor()),
    };
    let (caller, cause, reply) = (Caller::WebSocket, Some(answered), Reply::Nobody);
    Delivery { function, params, caller, cause, reply }
}

/// Whether `call` is the `close` of a connection whose `connect` the event `answered`, its cause, answered.
pub(super) fn is_what_was_promised(call: &Call, answered: &ChainEvent) -> bool {
    let is_answer = answered.kind() == Some(EventKind::Return) && answered.function() == HANDLE_CONNECTION_MESSAGE.full;
    let told = numbered(&call.params.0).filter(|(_, message)| *message == bare(MessageType::Close).to_cbor());
    is_answer && told.is_some_and(|(id, _)| id < answered.sequence)
}

/// A message with only a type.
pub(crate) fn bare(ty: MessageType) -> WebSocketMessage {
    WebSocketMessage { ty, data: None, text: None }
}
