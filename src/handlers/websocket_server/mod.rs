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
//! | `wire` | a socket whose every wait ends in time |
//!
//! `tungstenite` does the handshake and the frames.

mod connection;
mod door;
mod ending;
mod wire;

use serde::Deserialize;
use wasmtime::component::Linker;

use super::net::{cannot_listen, resolve};
use super::{ActorRef, Handler, Source};
use crate::base::limits::Limits;
use crate::chain::{Function, function};
use crate::guest::wit::{WebSocketMessage, WebSocketResponse};
use crate::guest::{Capability, Export, GuestExport, HostState, StateAnd};
use crate::manifest::{HandlerEntry, ManifestError};
use crate::system::Address;
use door::Serving;

pub(super) const NAME: &str = "websocket-server";

const HANDLE_MESSAGE: &Function = function!("ntwk:theater/websocket-server", "handle-message");

struct WebSocketServer {
    host: String,
    port: u16,
}

#[derive(Deserialize)]
struct Config {
    host: Option<String>,
    port: u16,
}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Handler>, ManifestError> {
    let config = match entry {
        Some(entry) => entry.config(&["host", "port"])?,
        None => Config { host: None, port: 0 },
    };
    let host = config.host.unwrap_or_else(|| "127.0.0.1".to_owned());
    Ok(Box::new(WebSocketServer { host, port: config.port }))
}

impl Capability for WebSocketServer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn imports(&self) -> &'static [&'static str] {
        &[]
    }

    fn link(&self, _linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        Ok(())
    }

    fn exports(&self) -> Vec<Box<dyn GuestExport>> {
        let limit = |limits: &Limits| ("websocket_answer_bytes", limits.websocket_answer_bytes);
        let export =
            Export::<(WebSocketMessage,), StateAnd<WebSocketResponse>>::with_result_limit(HANDLE_MESSAGE, limit);
        vec![Box::new(export)]
    }

    fn exports_are_optional(&self) -> bool {
        false
    }
}

impl Handler for WebSocketServer {
    fn start(&self, actor: &ActorRef) -> Result<Option<Box<dyn Source>>, String> {
        let serving = resolve(&self.host, self.port).and_then(|address| Serving::start(address, actor));
        let serving = serving.map_err(|error| cannot_listen(NAME, &self.host, self.port, &error))?;
        Ok(Some(Box::new(serving)))
    }
}

impl Source for Serving {
    fn address(&self) -> Address {
        Address { scheme: "ws", socket: self.socket }
    }
}
