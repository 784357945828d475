//! `http-server`: an actor answers HTTP requests.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod` | the handler: its configuration, and the actor's own listener |
//! | `exchange` | one request: the delivery to the actor, and the answer to the client |
//! | `idempotency` | the header `Idempotency-Key` |
//! | `uploads` | bodies that go to files |

mod exchange;
mod idempotency;
mod uploads;

use std::net::SocketAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::listen_address::{ListenAddress, ListenerTls, TlsKeys};
use super::{ActorRef, Foreseeable, Grant, Source};
use crate::base::limits::Limits;
use crate::chain::{Function, function};
use crate::guest::wit::{HttpRequest, HttpResponse};
use crate::guest::{Capability, Export, GuestExport, StateAnd};
use crate::manifest::{HandlerEntry, ManifestError};
use crate::net::AcceptorHandle;
use crate::net::http::{Compression, HttpLimits, HttpListener, UploadPlace, WireRequest};
use crate::system::Address;

pub(crate) use exchange::{AskedActor, answer_http};
pub(crate) use idempotency::is_repeatable;
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
}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    let Some(entry) = entry else {
        let address = Some(ListenAddress::new(NAME, None, 0));
        return Ok(Box::new(HttpServer { address, tls: None, idempotency: false, compress: false, uploads: None }));
    };
    let known = ["host", "port", "listen", "tls", "idempotency", "compress", "uploads"];
    let Config { host, port, listen, tls, idempotency, compress, uploads } = entry.config(&known)?;
    let ingress = idempotency.is_some() || compress.is_some() || uploads.is_some();
    uploads.iter().try_for_each(|uploads| uploads.check(entry))?;
    let address = match (listen, port) {
        (Some(false), None) if host.is_none() && tls.is_none() && !ingress => None,
        (Some(false), _) => {
            return Err(entry.error(
                "an actor that does not listen itself (listen = false) has no host, port, tls, idempotency, compress or \
                 uploads; the routes of the runtime's listeners have idempotency and compress of their own",
            ));
        }
        (Some(true) | None, Some(port)) => Some(ListenAddress::new(NAME, host, port)),
        (Some(true) | None, None) => return Err(entry.missing_key("port")),
    };
    let (idempotency, compress) = (idempotency.unwrap_or(false), compress.unwrap_or(false));
    Ok(Box::new(HttpServer { address, tls: ListenerTls::of(entry, tls)?, idempotency, compress, uploads }))
}

impl Capability for HttpServer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn exports(&self) -> Vec<Box<dyn GuestExport>> {
        // The result holds the headers and the body.
        let limit = |limits: &Limits| ("http_body_bytes", limits.http_body_bytes + limits.http_head_bytes);
        let export = Export::<(HttpRequest,), StateAnd<HttpResponse>>::with_result_limit(HANDLE_REQUEST, limit);
        vec![Box::new(export)]
    }
}

impl Grant for HttpServer {
    fn start(&self, actor: &ActorRef) -> Result<Option<Box<dyn Source>>, String> {
        let Some(address) = &self.address else { return Ok(None) };
        let limits = HttpLimits::of(&actor.limits);
        let answering = actor.clone();
        let (heeds_keys, compresses, uploads) = (self.idempotency, self.compress, self.uploads.is_some());
        let service = Arc::new(move |mut request: WireRequest| {
            if uploads {
                Uploads::introduce(&mut request);
            }
            let compression = compresses.then(|| Compression::wished_by(&request));
            let within = answering.limits.request_deadline();
            let AskedActor { response, .. } = exchange::answer(&answering, request, heeds_keys, within);
            match compression {
                Some(compression) => compression.apply(response),
                None => response,
            }
        });
        let place = self.uploads.as_ref().map(|keys| Uploads::of(keys, actor)).transpose()?;
        let mut place = place.map(|place| Arc::new(place) as Arc<dyn UploadPlace>);
        let mut tls = ListenerTls::read(self.tls.as_ref(), NAME)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listening = address.listen(actor, |address| {
            let listener = HttpListener::bind(address)?.secured(tls.take()).uploading(place.take());
            let address = listener.local_addr()?;
            let acceptor = listener.serve(&format!("http-{}", address.port()), limits, service)?;
            Ok(HttpSource { scheme, address, _acceptor: acceptor })
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
    _acceptor: AcceptorHandle,
}

impl Source for HttpSource {
    fn address(&self) -> Address {
        Address { scheme: self.scheme, socket: self.address }
    }
}
