//! Listeners of the runtime: one HTTP port for many actors. Routes say which actor answers.
//!
//! ```text
//!   request ── first route that fits ──▶ address ──▶ the actor that has it now ──▶ its answer, once it is on disk
//!                     │ none: 404                        │ nobody: 404
//! ```

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use uuid::Uuid;

use super::TlsFiles;
use super::route::{RequestPath, RequestRoute};
use crate::base::clock;
use crate::base::limits::Limits;
use crate::handlers::answer_http;
use crate::net::http::{HttpLimits, HttpListener, ServingHttp, WireAnswer, WireRequest, WireResponse};
use crate::net::{CertificateError, ServerCertificate};
use crate::system::TheaterHandle;

/// The header that names a request, in the request that the actor gets, in the answer, and in the access log.
const REQUEST_ID: &str = "x-request-id";

/// A listener as `theater.toml` has it.
#[derive(Clone, Debug)]
pub(crate) struct RoutedListener {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: Option<TlsFiles>,
    /// Whether each request is logged.
    pub(crate) logs: bool,
    pub(crate) routes: Vec<RequestRoute>,
}

/// As `theater config` shows it: the address, and how many routes there are.
impl fmt::Display for RoutedListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}/ ({} routes)", self.listen, self.routes.len())
    }
}

/// A listener that has its address and answers nobody yet.
pub(crate) struct BoundListener {
    listener: HttpListener,
    address: SocketAddr,
    scheme: &'static str,
    logs: bool,
    routes: Vec<RequestRoute>,
}

/// A listener that answers. When it is dropped it closes.
pub(crate) struct ServingListener {
    address: SocketAddr,
    scheme: &'static str,
    _serving: ServingHttp,
}

/// As a URL.
impl fmt::Display for ServingListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/", self.scheme, self.address)
    }
}

impl BoundListener {
    /// Binds the address; port 0 stands for any free port. The error is for the operator.
    pub(crate) fn bind(listener: RoutedListener) -> Result<Self, String> {
        let RoutedListener { listen, tls, logs, routes } = listener;
        let certificate = tls.map(|TlsFiles { certificate, key }| ServerCertificate::read(&certificate, &key));
        let certificate = certificate.transpose().map_err(|CertificateError { path, why }| {
            format!("the listener at {listen} cannot use {} for TLS: {why}", path.display())
        })?;
        certificate.iter().filter_map(ServerCertificate::doubt).for_each(|doubt| log::warn!("{doubt}"));
        let scheme = if certificate.is_some() { "https" } else { "http" };
        let bound = HttpListener::bind(listen).and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|error| {
            let remedy = "stop what listens there, or give [[listeners]] another address (port 0 takes any free one)";
            format!("cannot listen on {listen} for actors: {error}; {remedy}")
        })?;
        Ok(Self { listener: listener.secured(certificate), address, scheme, logs, routes })
    }

    /// Answers from now on. `limits` are those that an actor has whose manifest sets none.
    pub(crate) fn serve(self, theater: TheaterHandle, limits: &Limits) -> io::Result<ServingListener> {
        let Self { listener, address, scheme, logs, routes } = self;
        let service = Arc::new(move |request: WireRequest| answer(&theater, &routes, logs, request));
        let serving = listener.serve(&format!("http-{}", address.port()), HttpLimits::of(limits), service, true)?;
        Ok(ServingListener { address, scheme, _serving: serving })
    }
}

/// Answers one request, on the thread of its connection.
fn answer(theater: &TheaterHandle, routes: &[RequestRoute], logs: bool, mut request: WireRequest) -> WireAnswer {
    let begun = clock::now();
    let id = name(&mut request);
    let line = logs.then(|| format!("{} {} {}", request.peer, request.method, request.uri));
    let address = lead(routes, &request);
    let answer = match address.as_deref().map(|address| theater.registry.resolve(address)) {
        Some(Ok(actor)) => answer_http(theater, actor, request),
        Some(Err(_)) => WireResponse::text(404, "no actor has this address", &[]).into(),
        None => WireResponse::text(404, "no route leads there", &[]).into(),
    };
    if let Some(line) = line {
        let (to, took) = (address.as_deref().unwrap_or("-"), clock::since(begun).as_secs_f64() * 1e3);
        let (size, status) = (answer.response.body().map_or(0, <[u8]>::len), answer.response.status());
        let streams = if answer.stream.is_some() { " (a stream)" } else { "" };
        log::info!(target: "theater::access", "{line:?} {status} {size} B {took:.1} ms {to} {id}{streams}");
    }
    answer.map(|response| response.with_header(REQUEST_ID, &id))
}

/// Gives a request its id: the client's, if it has sent one that is 1 to 128 visible ASCII characters, or a new one.
fn name(request: &mut WireRequest) -> String {
    let is_id = |text: &str| (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_named = |(name, _): &(String, String)| name.eq_ignore_ascii_case(REQUEST_ID);
    let mut given = request.headers.iter().filter(|header| is_named(header));
    if let (Some((_, id)), None) = (given.next(), given.next())
        && is_id(id)
    {
        return id.clone();
    }
    let id = Uuid::new_v4().to_string();
    request.headers.retain(|header| !is_named(header));
    request.headers.push((REQUEST_ID.to_owned(), id.clone()));
    id
}

/// The address that the first fitting route gives a request.
fn lead(routes: &[RequestRoute], request: &WireRequest) -> Option<String> {
    let host = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    let host = host.map(|(_, host)| host.as_str());
    let path = RequestPath::read(&request.uri)?;
    routes.iter().find_map(|route| route.address(host, &path))
}
