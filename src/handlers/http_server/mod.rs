//! `http-server`: an actor answers HTTP requests.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod` | the handler: its configuration, and the actor's own listener |
//! | `exchange` | one request: the delivery to the actor, and the answer to the client |
//! | `streams` | the host functions for answers that are sent piece by piece |
//! | `idempotency` | the header `Idempotency-Key` |
//! | `uploads` | bodies that go to files |
//! | `proofs` | the header that names the place of an answer in the tree, and the proofs |

mod exchange;
mod idempotency;
mod proofs;
mod streams;
mod uploads;

use std::net::{SocketAddr, TcpListener};
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
use crate::net::http::{Compression, HttpLimits, HttpListener, ServingHttp, UploadPlace, WireRequest};
use crate::promise::{HANDLE_STREAM_CLOSED, HANDLE_STREAM_REQUEST};
use crate::system::Address;

use exchange::Ways;
pub(crate) use exchange::{AskedActor, answer_http};
pub(crate) use idempotency::is_repeatable;
pub(super) use streams::IMPORTS;
use streams::SlowStreams;
use uploads::{UploadKeys, Uploads};

pub(super) const NAME: &str = "http-server";

const HANDLE_REQUEST: &Function = function!("ntwk:theater/http-server", "handle-request");

struct HttpServer {
    /// None if the actor answers only what the runtime's routes lead to it.
    address: Option<ListenAddress>,
    tls: Option<ListenerTls>,
    /// Whether `Idempotency-Key` is heeded.
    idempotency: bool,
    /// Whether answers are compressed for clients that wish it.
    compress: bool,
    /// Where bodies beyond the limit go.
    uploads: Option<UploadKeys>,
    /// Whether answers name their place in the tree, and the listener gives proofs.
    proofs: bool,
    /// What becomes of a stream whose client is slow.
    slow: SlowClients,
}

#[derive(Deserialize)]
struct Config {
    host: Option<String>,
    port: Option<u16>,
    listen: Option<bool>,
    tls: Option<TlsKeys>,
    idempotency: Option<bool>,
    compress: Option<bool>,
    uploads: Option<UploadKeys>,
    proofs: Option<bool>,
    slow: Option<SlowClients>,
}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    let Some(entry) = entry else {
        let address = Some(ListenAddress::new(NAME, None, 0));
        let slow = SlowClients::default();
        return Ok(Box::new(HttpServer {
            address,
            tls: None,
            idempotency: false,
            compress: false,
            uploads: None,
            proofs: false,
            slow,
        }));
    };
    let known = ["host", "port", "listen", "tls", "idempotency", "compress", "uploads", "proofs", "slow"];
    let Config { host, port, listen, tls, idempotency, compress, uploads, proofs, slow } = entry.config(&known)?;
    let ingress = idempotency.is_some() || compress.is_some() || uploads.is_some() || proofs.is_some();
    uploads.iter().try_for_each(|uploads| uploads.check(entry))?;
    let address = match (listen, port) {
        (Some(false), None) if host.is_none() && tls.is_none() && !ingress => None,
        (Some(false), _) => {
            return Err(entry.error(
                "an actor that does not listen itself (listen = false) has no host, port, tls, idempotency, compress, \
                 uploads or proofs; the routes of the runtime's listeners have idempotency and compress of their own",
            ));
        }
        (Some(true) | None, Some(port)) => Some(ListenAddress::new(NAME, host, port)),
        (Some(true) | None, None) => return Err(entry.missing_key("port")),
    };
    let (idempotency, compress) = (idempotency.unwrap_or(false), compress.unwrap_or(false));
    let (tls, slow) = (ListenerTls::of(entry, tls)?, slow.unwrap_or_default());
    let proofs = proofs.unwrap_or(false);
    Ok(Box::new(HttpServer { address, tls, idempotency, compress, uploads, proofs, slow }))
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
    fn listen_address(&self) -> Option<&ListenAddress> {
        self.address.as_ref()
    }

    fn install(&self, extensions: &mut Extensions) {
        extensions.insert(SlowStreams(self.slow));
    }

    fn start(&self, actor: &ActorRef, socket: Option<Arc<TcpListener>>) -> Result<Option<Box<dyn Source>>, String> {
        let Some(address) = &self.address else { return Ok(None) };
        let limits = HttpLimits::of(&actor.limits);
        let answering = actor.clone();
        let streams = actor.exports.contains(HANDLE_STREAM_REQUEST.full);
        let proves = self.proofs;
        let ways = Ways { streams, heeds_keys: self.idempotency, proves };
        let (compresses, uploads) = (self.compress, self.uploads.is_some());
        let service = Arc::new(move |mut request: WireRequest| {
            if proves && let Some(response) = proofs::answer(&answering, &request) {
                return response.into();
            }
            if uploads {
                Uploads::introduce(&mut request);
            }
            let compression = compresses.then(|| Compression::wished_by(&request));
            let within = answering.limits.request_deadline();
            let AskedActor { answer, .. } = exchange::answer(&answering, request, ways, within);
            match compression {
                Some(compression) => compression.apply_to(answer),
                None => answer,
            }
        });
        let place = self.uploads.as_ref().map(|keys| Uploads::of(keys, actor)).transpose()?;
        let mut place = place.map(|place| Arc::new(place) as Arc<dyn UploadPlace>);
        let mut tls = ListenerTls::read(self.tls.as_ref(), NAME)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listening = address.listen(actor, |address| {
            let listener = socket.map_or_else(|| HttpListener::bind(address), |socket| Ok(HttpListener::on(socket)))?;
            let listener = listener.secured(tls.take()).uploading(place.take());
            let address = listener.local_addr()?;
            let serving = listener.serve(&format!("http-{}", address.port()), limits, service, streams)?;
            Ok(HttpSource { scheme, address, serving })
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
    serving: ServingHttp,
}

impl Source for HttpSource {
    fn address(&self) -> Address {
        Address { scheme: self.scheme, socket: self.address }
    }

    fn socket(&self) -> Arc<TcpListener> {
        self.serving.socket()
    }
}
