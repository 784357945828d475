//! `http-server`: an actor answers HTTP requests.
//!
//! A request becomes a delivery like any other. Its answer is sent once the events that it depends on are on disk. Each
//! kind of failure has a status of its own, and no error text of a guest reaches the client. `answering` makes an answer of
//! what became of the delivery; `streams` has the host functions for answers that are sent piece by piece.

mod answering;
mod streams;

use std::net::SocketAddr;
use std::sync::Arc;

use serde::Deserialize;
use wasmtime::component::Linker;

use super::listen_address::{ListenAddress, ListenerTls, TlsKeys};
use super::slow_clients::SlowClients;
use super::{ActorRef, Foreseeable, Grant, Source};
use crate::base::limits::Limits;
use crate::chain::{Function, function};
use crate::guest::wit::{HttpAnswer, HttpRequest, HttpResponse};
use crate::guest::{Capability, Export, Extensions, GuestExport, HostState, StateAnd, StateOnly};
use crate::manifest::{HandlerEntry, ManifestError};
use crate::net::http::{HttpLimits, HttpListener, ServingHttp, WireRequest};
use crate::promise::{HANDLE_STREAM_CLOSED, HANDLE_STREAM_REQUEST};
use crate::system::{ActorEntry, Address};
use answering::answer;
pub(crate) use answering::answer_http;
pub(super) use streams::IMPORTS;
use streams::SlowStreams;

pub(super) const NAME: &str = "http-server";

const HANDLE_REQUEST: &Function = function!("ntwk:theater/http-server", "handle-request");

struct HttpServer {
    /// None if the actor answers only what the runtime's routes lead to it.
    address: Option<ListenAddress>,
    tls: Option<ListenerTls>,
    slow: SlowClients,
}

#[derive(Deserialize)]
struct Config {
    host: Option<String>,
    port: Option<u16>,
    listen: Option<bool>,
    tls: Option<TlsKeys>,
    slow: Option<SlowClients>,
}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    let Some(entry) = entry else {
        let address = Some(ListenAddress::new(NAME, None, 0));
        return Ok(Box::new(HttpServer { address, tls: None, slow: SlowClients::default() }));
    };
    let Config { host, port, listen, tls, slow } = entry.config(&["host", "port", "listen", "tls", "slow"])?;
    let address = match (listen, port) {
        (Some(false), None) if host.is_none() && tls.is_none() => None,
        (Some(false), _) => {
            return Err(entry.error("an actor that does not listen itself (listen = false) has no host, port or tls"));
        }
        (Some(true) | None, Some(port)) => Some(ListenAddress::new(NAME, host, port)),
        (Some(true) | None, None) => return Err(entry.missing_key("port")),
    };
    Ok(Box::new(HttpServer { address, tls: ListenerTls::of(entry, tls)?, slow: slow.unwrap_or_default() }))
}

impl Capability for HttpServer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn imports(&self) -> &'static [&'static str] {
        IMPORTS
    }

    fn link(&self, linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        streams::link(linker)
    }

    fn exports(&self) -> Vec<Box<dyn GuestExport>> {
        // The result holds the headers and the body.
        let limit = |limits: &Limits| ("http_body_bytes", limits.http_body_bytes + limits.http_head_bytes);
        vec![
            Box::new(Export::<(HttpRequest,), StateAnd<HttpResponse>>::with_result_limit(HANDLE_REQUEST, limit)),
            Box::new(Export::<(u64, HttpRequest), StateAnd<HttpAnswer>>::with_result_limit(
                HANDLE_STREAM_REQUEST,
                limit,
            )),
            Box::new(Export::<(u64,), StateOnly>::new(HANDLE_STREAM_CLOSED)),
        ]
    }

    fn one_interface_is_enough(&self) -> bool {
        true
    }
}

impl Grant for HttpServer {
    fn listens(&self) -> bool {
        self.address.is_some()
    }

    fn install(&self, extensions: &mut Extensions) {
        extensions.insert(SlowStreams(self.slow));
    }

    fn start(&self, actor: &ActorRef) -> Result<Option<Box<dyn Source>>, String> {
        let Some(address) = &self.address else { return Ok(None) };
        let limits = HttpLimits::of(&actor.limits);
        let answering = actor.clone();
        let streams = |entry: &ActorEntry| entry.exports.contains(HANDLE_STREAM_REQUEST.full);
        let streams = actor.theater.registry.entry(actor.id, streams) == Some(true);
        let service = Arc::new(move |request: WireRequest| answer(&answering, request, streams));
        let mut tls = ListenerTls::read(self.tls.as_ref(), NAME)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listening = address.listen(actor, |address| {
            let listener = HttpListener::bind(address)?.secured(tls.take());
            let address = listener.local_addr()?;
            let serving = listener.serve(&format!("http-{}", address.port()), limits, service, streams)?;
            Ok(HttpSource { scheme, address, _serving: serving })
        })?;
        Ok(Some(Box::new(listening)))
    }

    fn doubts(&self) -> Vec<String> {
        ListenerTls::doubts(self.tls.as_ref())
    }

    fn foreseen(&self, _runtime: &Foreseeable<'_>) -> Option<String> {
        ListenerTls::read(self.tls.as_ref(), NAME).err()
    }
}

/// The running HTTP listener of an actor.
struct HttpSource {
    scheme: &'static str,
    address: SocketAddr,
    _serving: ServingHttp,
}

impl Source for HttpSource {
    fn address(&self) -> Address {
        Address { scheme: self.scheme, socket: self.address }
    }
}
