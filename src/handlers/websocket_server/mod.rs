//! `websocket-server`: an actor talks with WebSocket clients.
//!
//! Each message of a client is a delivery like any other. What the actor says to it goes to the same client, once the
//! events it depends on are on disk.
//!
//! | file | what |
//! |---|---|
//! | `door` | the listener's thread: who is let in, closing |
//! | `connection` | one client's thread: hear, ask the actor, say, and again |
//! | `ending` | why a connection ends, and what its client is told |
//! | `origin` | from which pages a browser may connect |
//! | `wire` | a socket whose every wait ends in time |
//!
//! `tungstenite` does the handshake and the frames.

mod connection;
mod door;
mod ending;
mod origin;
mod wire;

use std::sync::Arc;

use serde::Deserialize;

use super::net::Place;
use super::{ActorRef, Handler, Source};
use crate::base::limits::Limits;
use crate::chain::cbor::Cbor;
use crate::chain::data::Caller;
use crate::chain::{Function, Link, function};
use crate::guest::wit::{MessageType, WebSocketMessage, WebSocketResponse};
use crate::guest::{Capability, Export, GuestExport, StateAnd};
use crate::manifest::{HandlerEntry, ManifestError};
use crate::system::{Address, Delivery, Reply};
use door::Serving;
use origin::Origins;

pub(super) const NAME: &str = "websocket-server";

const HANDLE_MESSAGE: &Function = function!("ntwk:theater/websocket-server", "handle-message");

/// The word under which the end of a connection is owed to an actor: from the event on that answers the `connect`, until
/// the actor takes the `close`. So it hears of each end, also of those that a crash brings.
pub(crate) const CLOSE: &str = "close";

/// Whether a call is a client's `connect`, which owes the actor a `close`.
pub(crate) fn opens(function: &str, params: &[u8]) -> bool {
    function == HANDLE_MESSAGE.full && params == (bare(MessageType::Connect),).to_cbor()
}

/// The `close` of the connection whose `connect` the event `answered` has answered. There are never more of these than
/// connections, so they go before the mail and find room however full the mailbox is. The answer has nowhere to go.
pub(crate) fn close(answered: Link) -> Delivery {
    let params = (bare(MessageType::Close),).to_cbor();
    let (caller, cause, reply) = (Caller::WebSocket, Some(answered), Reply::Nobody);
    Delivery { function: HANDLE_MESSAGE, params, caller, cause, reply }
}

fn bare(ty: MessageType) -> WebSocketMessage {
    WebSocketMessage { ty, data: None, text: None }
}

struct WebSocketServer {
    place: Place,
    origins: Arc<Origins>,
}

#[derive(Deserialize)]
struct Config {
    host: Option<String>,
    port: u16,
    origins: Option<Vec<String>>,
}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Handler>, ManifestError> {
    let Some(entry) = entry else {
        return Ok(Box::new(WebSocketServer { place: Place::new(NAME, None, 0), origins: Arc::new(Origins::Any) }));
    };
    let Config { host, port, origins } = entry.config(&["host", "port", "origins"])?;
    let origins = Origins::new(origins.as_deref()).map_err(|why| entry.error(why))?;
    Ok(Box::new(WebSocketServer { place: Place::new(NAME, host, port), origins: Arc::new(origins) }))
}

impl Capability for WebSocketServer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn exports(&self) -> Vec<Box<dyn GuestExport>> {
        let limit = |limits: &Limits| ("websocket_answer_bytes", limits.websocket_answer_bytes);
        let export =
            Export::<(WebSocketMessage,), StateAnd<WebSocketResponse>>::with_result_limit(HANDLE_MESSAGE, limit);
        vec![Box::new(export)]
    }
}

impl Handler for WebSocketServer {
    fn start(&self, actor: &ActorRef) -> Result<Option<Box<dyn Source>>, String> {
        let serving = self.place.listen(actor, |address| Serving::start(address, actor, &self.origins))?;
        Ok(Some(Box::new(serving)))
    }
}

impl Source for Serving {
    fn address(&self) -> Address {
        Address { scheme: "ws", socket: self.socket }
    }
}
