//! Listeners of the runtime: one HTTP port for many actors. Routes say which actor answers.
//!
//! ```text
//!   request ── first route that fits ──▶ address ──▶ the actor that has it now ──▶ its answer, once it is on disk
//!                     │ none: 404   too many: 429, 503   │ nobody: 404          no answer: once more, if the route says so
//! ```

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use uuid::Uuid;

use super::TlsFiles;
use super::route::{RequestPath, RequestRoute};
use super::route_limits::{RouteLimits, RouteSettings};
use super::shares::ListenerShares;
use crate::base::clock;
use crate::base::limits::Limits;
use crate::base::seldom::Seldom;
use crate::base::wait;
use crate::handlers::{AskedActor, answer_http, is_repeatable};
use crate::net::http::{
    Compression, HttpLimits, HttpListener, HttpRefusal, RefusalId, ServingHttp, WireAnswer, WireRequest, WireResponse,
};
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
    /// Whether answers are compressed for clients that wish it.
    pub(crate) compresses: bool,
    pub(crate) routes: Vec<(RequestRoute, RouteSettings)>,
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
    answering: Answering,
}

/// How a listener answers.
struct Answering {
    logs: bool,
    compresses: bool,
    routes: Vec<(RequestRoute, RouteLimits)>,
    shares: ListenerShares,
    /// When it was logged last that clients found no place, and that a route leads to an actor that takes no requests.
    no_place: Mutex<Seldom>,
    no_server: Mutex<Seldom>,
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
        let RoutedListener { listen, tls, logs, compresses, routes } = listener;
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
        let routes = routes.into_iter().map(|(route, settings)| (route, RouteLimits::new(settings))).collect();
        let (no_place, no_server) = (Mutex::default(), Mutex::default());
        let answering = Answering { logs, compresses, routes, shares: ListenerShares::default(), no_place, no_server };
        Ok(Self { listener: listener.secured(certificate), address, scheme, answering })
    }

    /// Answers from now on. `limits` are those that an actor has whose manifest sets none.
    pub(crate) fn serve(self, theater: TheaterHandle, limits: &Limits) -> io::Result<ServingListener> {
        let Self { listener, address, scheme, answering } = self;
        let (within, limits) = (limits.request_deadline(), HttpLimits::of(limits));
        answering.shares.divide(limits.connections);
        let answering = Arc::new(answering);
        let refusing = Arc::clone(&answering);
        let listener =
            listener.telling_of_refusals(Arc::new(move |peer, refusal: &HttpRefusal| refusing.refused(peer, refusal)));
        let service = Arc::new(move |request: WireRequest| answering.answer(&theater, within, request));
        let serving = listener.serve(&format!("http-{}", address.port()), limits, service, true)?;
        Ok(ServingListener { address, scheme, _serving: serving })
    }
}

impl Answering {
    /// Answers one request, on the thread of its connection.
    fn answer(&self, theater: &TheaterHandle, within: Duration, mut request: WireRequest) -> WireAnswer {
        let begun = clock::now();
        let id = name(&mut request);
        let is_head = request.method == "HEAD";
        let line = self.logs.then(|| format!("{} {} {}", request.peer, request.method, request.uri));
        let compression = self.compresses.then(|| Compression::wished_by(&request));
        let led = self.lead(&request);
        let (address, answer) = match led {
            Some((address, limits)) => {
                let answer = self.limited(theater, limits, &address, within, request);
                (Some(address), answer)
            }
            None => (None, WireResponse::text(404, "no route leads there", &[]).into()),
        };
        let answer = match compression {
            Some(compression) => compression.apply_to(answer),
            None => answer,
        };
        if let Some(line) = line {
            let (to, took) = (address.as_deref().unwrap_or("-"), clock::since(begun).as_secs_f64() * 1e3);
            let (size, status) = (answer.response.body().map_or(0, <[u8]>::len), answer.response.status());
            let size = if is_head { 0 } else { size };
            let streams = if answer.stream.is_some() { " (a stream)" } else { "" };
            log::info!(target: "theater::access", "{line:?} {status} {size} B {took:.1} ms {to} {id}{streams}");
        }
        answer.map(|response| response.with_header(REQUEST_ID, &id))
    }

    /// Answers a request if its route lets it through.
    fn limited(
        &self,
        theater: &TheaterHandle,
        limits: &RouteLimits,
        address: &str,
        within: Duration,
        request: WireRequest,
    ) -> WireAnswer {
        if let Err(seconds) = limits.count(request.peer.ip()) {
            let later = seconds.to_string();
            return WireResponse::text(429, "there were too many requests", &[("Retry-After", &later)]).into();
        }
        match limits.enter() {
            Some(_under_way) => self.repeated(theater, &limits.settings, address, within, request),
            None => WireResponse::text(503, "too many requests are under way", &[("Retry-After", "1")]).into(),
        }
    }

    /// Answers a request. If the actor gives no answer, it is asked again as the route says, if the request may be repeated.
    fn repeated(
        &self,
        theater: &TheaterHandle,
        settings: &RouteSettings,
        address: &str,
        within: Duration,
        request: WireRequest,
    ) -> WireAnswer {
        let heeds_keys = settings.idempotency;
        let retry = settings.retry.filter(|_| is_repeatable(&request, heeds_keys));
        let (mut left, mut pause) = retry.map_or((0, Duration::ZERO), |retry| (retry.attempts - 1, retry.backoff));
        let deadline = clock::after(within);
        while left > 0 {
            let within = deadline.saturating_duration_since(clock::now());
            let AskedActor { answer, is_passing, .. } = self.ask(theater, address, request.clone(), heeds_keys, within);
            if !is_passing || clock::after(pause) >= deadline {
                return answer;
            }
            wait::sleep(pause);
            (left, pause) = (left - 1, pause.saturating_mul(2));
        }
        let within = deadline.saturating_duration_since(clock::now());
        self.ask(theater, address, request, heeds_keys, within).answer
    }

    /// Asks the actor that has the address now.
    fn ask(
        &self,
        theater: &TheaterHandle,
        address: &str,
        request: WireRequest,
        heeds_keys: bool,
        within: Duration,
    ) -> AskedActor {
        let Ok(actor) = theater.registry.resolve(address) else {
            return AskedActor::lasting(WireResponse::text(404, "no actor has this address", &[]));
        };
        let Some(_share) = self.shares.enter(actor) else {
            let why = "too many requests to this actor are under way, and others need the listener's places";
            return AskedActor::passing(WireResponse::text(503, why, &[("Retry-After", "1")]));
        };
        let asked = answer_http(theater, actor, request, heeds_keys, within);
        if asked.takes_no_http {
            self.no_server.lock().warn(format_args!(
                "a route of [[listeners]] leads to the actor {address}, and that takes no HTTP requests: its manifest must grant \
                 the handler \"http-server\" (with listen = false it needs no port), and its component export it"
            ));
        }
        asked
    }

    /// Notes a request that does not get as far as the routes, and gives it an id.
    fn refused(&self, peer: Option<SocketAddr>, refusal: &HttpRefusal) -> RefusalId {
        let id = Uuid::new_v4().to_string();
        let HttpRefusal { status, why } = refusal;
        match peer {
            Some(peer) if self.logs => log::info!(target: "theater::access", "\"{peer} -\" {status} - - - {id}: {why}"),
            Some(_) => {}
            // There may be thousands of them, and the acceptor must not wait for the log.
            None => self.no_place.lock().warn(format_args!("a client of a listener is refused with {status}: {why}")),
        }
        RefusalId { header: "X-Request-Id", id }
    }

    /// The address that the first fitting route gives a request, and what that route lets through.
    fn lead(&self, request: &WireRequest) -> Option<(String, &RouteLimits)> {
        let host = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = host.map(|(_, host)| host.as_str());
        let path = RequestPath::read(&request.uri)?;
        self.routes.iter().find_map(|(route, limits)| Some((route.address(host, &path)?, limits)))
    }
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
