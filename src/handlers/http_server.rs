//! `http-server`: an actor answers HTTP requests.
//!
//! A request becomes a delivery like any other. Its answer is sent once the events that it depends on are on disk. Each
//! kind of failure has a status of its own, and no error text of a guest reaches the client.

use std::net::SocketAddr;
use std::sync::Arc;

use serde::Deserialize;

use super::listen_address::{ListenAddress, ListenerTls, TlsKeys};
use super::{ActorRef, Foreseeable, Grant, Source};
use crate::base::id::ActorId;
use crate::base::limits::Limits;
use crate::chain::cbor::Cbor;
use crate::chain::data::Caller;
use crate::chain::{Function, function};
use crate::guest::wit::{HttpRequest, HttpResponse};
use crate::guest::{Capability, Export, GuestExport, StateAnd};
use crate::manifest::{HandlerEntry, ManifestError};
use crate::net::AcceptorHandle;
use crate::net::http::{HttpLimits, HttpListener, WireRequest, WireResponse};
use crate::system::{Address, NoAnswer, Outcome, Refusal, TheaterHandle};

pub(super) const NAME: &str = "http-server";

const HANDLE_REQUEST: &Function = function!("ntwk:theater/http-server", "handle-request");

/// After how many seconds a client may try again, when the actor had no room or was ending.
const RETRY_AFTER: &str = "1";

struct HttpServer {
    /// None if the actor answers only what the runtime's routes lead to it.
    address: Option<ListenAddress>,
    tls: Option<ListenerTls>,
}

#[derive(Deserialize)]
struct Config {
    host: Option<String>,
    port: Option<u16>,
    listen: Option<bool>,
    tls: Option<TlsKeys>,
}

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    let Some(entry) = entry else {
        return Ok(Box::new(HttpServer { address: Some(ListenAddress::new(NAME, None, 0)), tls: None }));
    };
    let Config { host, port, listen, tls } = entry.config(&["host", "port", "listen", "tls"])?;
    let address = match (listen, port) {
        (Some(false), None) if host.is_none() && tls.is_none() => None,
        (Some(false), _) => {
            return Err(entry.error("an actor that does not listen itself (listen = false) has no host, port or tls"));
        }
        (Some(true) | None, Some(port)) => Some(ListenAddress::new(NAME, host, port)),
        (Some(true) | None, None) => return Err(entry.missing_key("port")),
    };
    Ok(Box::new(HttpServer { address, tls: ListenerTls::of(entry, tls)? }))
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
    fn listens(&self) -> bool {
        self.address.is_some()
    }

    fn start(&self, actor: &ActorRef) -> Result<Option<Box<dyn Source>>, String> {
        let Some(address) = &self.address else { return Ok(None) };
        let limits = HttpLimits::of(&actor.limits);
        let answering = actor.clone();
        let service = Arc::new(move |request: WireRequest| answer(&answering, request));
        let mut tls = ListenerTls::read(self.tls.as_ref(), NAME)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listening = address.listen(actor, |address| {
            let listener = HttpListener::bind(address)?.secured(tls.take());
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

/// Answers one request of a listener that serves many actors, on the thread of its connection.
pub(crate) fn answer_http(theater: &TheaterHandle, id: ActorId, request: WireRequest) -> WireResponse {
    let found = theater.registry.entry(id, |entry| (entry.name.as_str().into(), Arc::clone(&entry.limits)));
    let Some((name, limits)) = found else { return refuse(&Refusal::Unknown(id)) };
    if request.body.as_ref().is_some_and(|body| body.len() as u64 > limits.http_body_bytes) {
        return WireResponse::text(413, "the body is larger than the actor takes", &[]);
    }
    answer(&ActorRef { id, name, limits, has_lived: true, theater: theater.clone() }, request)
}

/// Answers one request, on the thread of its connection.
fn answer(actor: &ActorRef, request: WireRequest) -> WireResponse {
    let WireRequest { method, uri, headers, body, .. } = request;
    let params = (HttpRequest { method, uri, headers, body },).to_cbor();
    let answer = match actor.theater.deliver(actor.id, HANDLE_REQUEST, params, Caller::Http) {
        Ok(delivered) => delivered,
        Err(refusal) => return refuse(&refusal),
    };
    match answer.within(actor.limits.request_deadline()) {
        Ok(answer) => respond(actor, answer.outcome),
        // If the actor has not taken the request, it never will. If the actor has begun, its chain will hold the
        // outcome.
        Err(NoAnswer::NotDelivered | NoAnswer::OutcomeUnknown) => {
            WireResponse::text(504, "the actor did not answer in time", &[])
        }
        // The answer was dropped: the journal takes no more events, or the actor's thread has ended without an answer.
        Err(NoAnswer::Gone) => ending(),
    }
}

fn refuse(refusal: &Refusal) -> WireResponse {
    let why = match refusal {
        Refusal::Full => "the actor has no room for more requests",
        Refusal::DiskLow(_) => "the server's disk is nearly full",
        Refusal::NotRunning(..) | Refusal::Closed | Refusal::Asleep | Refusal::Suspending | Refusal::Unknown(_) => {
            "the actor is ending"
        }
        Refusal::NeverFits { .. } => {
            return WireResponse::text(413, "the request is larger than the actor's whole mailbox", &[]);
        }
        Refusal::NotExported(..) | Refusal::NotReachable(..) | Refusal::TooLarge { .. } | Refusal::Deadlock(_) => {
            return WireResponse::text(500, "the actor cannot be asked", &[]);
        }
    };
    WireResponse::text(503, why, &[("Retry-After", RETRY_AFTER)])
}

fn respond(actor: &ActorRef, outcome: Outcome) -> WireResponse {
    match outcome {
        Outcome::Returned(result) => HttpResponse::from_cbor(&result)
            .map_err(|error| error.to_string())
            .and_then(|HttpResponse { status, headers, body }| {
                WireResponse::new(status, headers, body).map_err(|error| error.to_string())
            })
            .unwrap_or_else(|why| {
                log::warn!("actor {} gave an answer that cannot be sent: {why}", actor.name);
                WireResponse::text(502, "the actor gave an answer that cannot be sent", &[])
            }),
        // The actor's own words are on the chain, for those who may read it.
        Outcome::Refused(_) => WireResponse::text(500, "the actor refused the request", &[]),
        Outcome::Failed(_) => WireResponse::text(500, "the actor failed", &[]),
        Outcome::Stopped | Outcome::Dropped(_) => ending(),
    }
}

fn ending() -> WireResponse {
    WireResponse::text(503, "the actor is ending", &[("Retry-After", RETRY_AFTER)])
}
