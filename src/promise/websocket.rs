//! The `close` of a WebSocket connection: promised to an actor by its answer to the `connect`, until it takes it. So it
//! hears of each end, also of those that a crash brings.

use crate::chain::cbor::Cbor;
use crate::chain::data::Caller;
use crate::chain::{Function, Link, function};
use crate::guest::wit::{MessageType, WebSocketMessage};
use crate::system::{Delivery, Reply};

pub(crate) const HANDLE_MESSAGE: &Function = function!("ntwk:theater/websocket-server", "handle-message");

/// The word of its row in `pending`.
pub(super) const WORD: &str = "close";

/// Whether a call is a client's `connect`, which owes the actor a `close`.
pub(super) fn is_connect(function: &str, params: &[u8]) -> bool {
    function == HANDLE_MESSAGE.full && params == (bare(MessageType::Connect),).to_cbor()
}

/// The `close` of the connection whose `connect` the event `answered` has answered. There are never more of these than
/// connections, so they go before the mail and find room however full the mailbox is. The answer has nowhere to go.
pub(crate) fn close(answered: Link) -> Delivery {
    let params = (bare(MessageType::Close),).to_cbor();
    let (caller, cause, reply) = (Caller::WebSocket, Some(answered), Reply::Nobody);
    Delivery { function: HANDLE_MESSAGE, params, caller, cause, reply }
}

/// A message of nothing but its type.
pub(crate) fn bare(ty: MessageType) -> WebSocketMessage {
    WebSocketMessage { ty, data: None, text: None }
}
