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
//! | `handshake` | from an HTTP request to a WebSocket, or a refusal |
//! | `frames` | where frames begin, and which length is none |
//! | `wire` | a socket whose every wait ends in time |
//!
//! `tungstenite` does the frames.

mod arriving;
mod connection;
mod door;
mod ending;
mod frames;
mod handshake;
mod origin;
mod wire;

use std::sync::Arc;

use serde::Deserialize;

use super::net::Place;
use super::{ActorRef, Grant, Source};
use crate::base::limits::Limits;
use crate::guest::wit::{WebSocketMessage, WebSocketResponse};
use crate::guest::{Capability, Export, GuestExport, StateAnd};
use crate::manifest::{HandlerEntry, ManifestError};
use crate::promise::HANDLE_MESSAGE;
use crate::system::Address;
use door::Serving;
use origin::Origins;

pub(super) const NAME: &str = "websocket-server";

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

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
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

impl Grant for WebSocketServer {
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
