//! `websocket-server`: an actor talks with WebSocket clients.
//!
//! Each message of a client is a delivery like any other. The actor's answer goes to the same client, once the events
//! that it depends on are on disk.
//!
//! | file | what it holds |
//! |---|---|
//! | `admission` | the listener: who gets a thread, who is turned away, and closing |
//! | `connection` | one client's thread: it receives a message, asks the actor, sends the answer, and so on |
//! | `ending` | why a connection ends, and what its client is told |
//! | `origin` | from which pages a browser may connect |
//! | `push`, `outgoing` | the host functions by which the actor sends at any time; what may be sent, and its frames |
//! | `handshake` | from an HTTP request to a WebSocket, or a refusal |
//! | `frames` | where frames begin and end, and which lengths are forbidden |
//! | `arriving` | the message that a client has sent in part |
//! | `frame_stream` | a socket whose every wait ends by a deadline |
//!
//! `tungstenite` reads and writes the frames.

mod admission;
mod arriving;
mod connection;
mod ending;
mod frame_stream;
mod frames;
mod handshake;
mod origin;
mod outgoing;
mod push;

use std::net::TcpListener;
use std::sync::Arc;

use serde::Deserialize;
use wasmtime::component::Linker;

use super::listen_address::{ListenAddress, ListenerTls, TlsKeys};
use super::slow_clients::SlowClients;
use super::{ActorRef, Foreseeable, Grant, Source};
use crate::base::limits::Limits;
use crate::guest::wit::{WebSocketMessage, WebSocketResponse};
use crate::guest::{Capability, Export, Extensions, GuestExport, HostState, StateAnd};
use crate::manifest::{HandlerEntry, ManifestError};
use crate::net;
use crate::promise::{HANDLE_CONNECTION_MESSAGE, HANDLE_MESSAGE};
use crate::system::Address;
use admission::WebSocketListener;
use origin::Origins;
pub(super) use push::IMPORTS;
use push::SlowConnections;
pub(crate) use push::send_answer;

pub(super) const NAME: &str = "websocket-server";

struct WebSocketServer {
    address: ListenAddress,
    tls: Option<ListenerTls>,
    origins: Arc<Origins>,
    slow: SlowClients,
}

#[derive(Deserialize)]
struct Config {
    host: Option<String>,
    port: u16,
    origins: Option<Vec<String>>,
    tls: Option<TlsKeys>,
    slow: Option<SlowClients>,
}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    let Some(entry) = entry else {
        return Ok(Box::new(WebSocketServer {
            address: ListenAddress::new(NAME, None, 0),
            tls: None,
            origins: Arc::new(Origins::Any),
            slow: SlowClients::default(),
        }));
    };
    let Config { host, port, origins, tls, slow } = entry.config(&["host", "port", "origins", "tls", "slow"])?;
    let tls = ListenerTls::of(entry, tls)?;
    let origins = Origins::new(origins.as_deref()).map_err(|why| entry.error(why))?;
    let address = ListenAddress::new(NAME, host, port);
    let slow = slow.unwrap_or_default();
    Ok(Box::new(WebSocketServer { address, tls, origins: Arc::new(origins), slow }))
}

impl Capability for WebSocketServer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn imports(&self) -> &'static [&'static str] {
        IMPORTS
    }

    fn link(&self, linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        push::link(linker)
    }

    fn exports(&self) -> Vec<Box<dyn GuestExport>> {
        let limit = |limits: &Limits| ("websocket_answer_bytes", limits.websocket_answer_bytes);
        type Answered = StateAnd<WebSocketResponse>;
        vec![
            Box::new(Export::<(WebSocketMessage,), Answered>::with_result_limit(HANDLE_MESSAGE, limit)),
            Box::new(Export::<(u64, WebSocketMessage), Answered>::with_result_limit(HANDLE_CONNECTION_MESSAGE, limit)),
        ]
    }

    fn one_interface_is_enough(&self) -> bool {
        true
    }
}

impl Grant for WebSocketServer {
    fn install(&self, extensions: &mut Extensions) {
        extensions.insert(SlowConnections(self.slow));
    }

    fn listen_address(&self) -> Option<&ListenAddress> {
        Some(&self.address)
    }

    fn start(&self, actor: &ActorRef, socket: Option<Arc<TcpListener>>) -> Result<Option<Box<dyn Source>>, String> {
        let mut tls = ListenerTls::read(self.tls.as_ref(), NAME)?;
        let listener = self.address.listen(actor, |address| {
            let socket = socket.map_or_else(|| net::bind(address).map(Arc::new), Ok)?;
            WebSocketListener::start(socket, actor, &self.origins, tls.take())
        })?;
        Ok(Some(Box::new(listener)))
    }

    fn doubts(&self) -> Vec<String> {
        ListenerTls::doubts(self.tls.as_ref())
    }

    fn foreseen(&self, _runtime: &Foreseeable<'_>) -> Option<String> {
        ListenerTls::read(self.tls.as_ref(), NAME).err()
    }
}

impl Source for WebSocketListener {
    fn address(&self) -> Address {
        Address { scheme: self.scheme, socket: self.address }
    }

    fn socket(&self) -> Arc<TcpListener> {
        Arc::clone(&self.socket)
    }
}
