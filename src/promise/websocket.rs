//! The promise of a WebSocket `close`: an actor that answers a client's `connect` is promised a `close`, until it takes
//! it. So the actor is told of every end of a connection, including the ends that a crash causes.

use crate::chain::cbor::Cbor;
use crate::chain::data::Caller;
use crate::chain::{Function, Link, function};
use crate::guest::wit::{MessageType, WebSocketMessage};
use crate::system::{Delivery, Reply};

pub(crate) const HANDLE_MESSAGE: &Function = function!("ntwk:theater/websocket-server", "handle-message");

/// The word of its row in `pending`.
pub(super) const WORD: &str = "close";

/// Whether a call is a client's `connect`, which promises the actor a `close`.
pub(super) fn is_connect(function: &str, params: &[u8]) -> bool {
    function == HANDLE_MESSAGE.full && params == (bare(MessageType::Connect),).to_cbor()
}

/// The delivery of the `close` for the connection whose `connect` the event `answered` answered. It goes into the lane
/// for notices: there are never more `close`s than connections, so it finds room however full the mailbox is. Nobody
/// gets its answer.
pub(crate) fn close(answered: Link) -> Delivery {
    let params = (bare(MessageType::Close),).to_cbor();
    let (caller, cause, reply) = (Caller::WebSocket, Some(answered), Reply::Nobody);
    Delivery { function: HANDLE_MESSAGE, params, caller, cause, reply }
}

/// A message with only a type.
pub(crate) fn bare(ty: MessageType) -> WebSocketMessage {
    WebSocketMessage { ty, data: None, text: None }
}
