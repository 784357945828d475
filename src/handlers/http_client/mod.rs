//! `http-client`: an actor sends requests to HTTP servers.
//!
//! A request is checked first. Once its intent is on disk, it is sent on a thread of its own. The actor waits for the
//! response, until its time is over, or until it is ordered to end. A request that a crash has cut off is never sent
//! again.
//!
//! ```text
//!   outgoing_request ── checked ──▶ hops ── each hop ──▶ reach (resolved, checked) ──▶ connection ──▶ response (read strictly)
//! ```

mod address;
mod bounds;
mod connection;
mod explain;
mod hops;
mod http_url;
mod outgoing_request;
mod own_server;
mod permit;
mod reach;
mod response;
mod revealed;
mod secret_headers;

use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::ClientConfig;
use serde::Deserialize;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::{ActorRef, Grant, Source};
use crate::base::limits::{
    HTTP_CONNECT_TIMEOUT_MS, HTTP_REDIRECTS, HTTP_REDIRECTS_CEILING, HTTP_TIMEOUT_CEILING_MS, HTTP_TIMEOUT_MS, Limits,
    PEM_BYTES,
};
use crate::base::one_shot::one_shot;
use crate::base::places::Places;
use crate::base::thread;
use crate::chain::{Function, function};
use crate::guest::wit::{HttpRequest, HttpResponse};
use crate::guest::{Capability, Effect, Extensions, HostState, Interruption, Live};
use crate::manifest::{HandlerEntry, ManifestError, read_bounded};
use crate::net::{client_config, roots_in, well_known_roots};
use crate::system::{OrderKind, Waited};
pub(crate) use own_server::{OwnAnswer, OwnServer};

use bounds::Bounds;
use explain::timed_out;
use hops::HttpExchange;
use outgoing_request::{OutgoingRequest, bounded};
use permit::{ExchangeRoom, Permit};
use reach::{AllowedHost, Reach};
use secret_headers::SecretHeaders;

pub(super) const NAME: &str = "http-client";
pub(super) const IMPORTS: &[&str] = &["ntwk:theater/http-client"];

const SEND_HTTP: &Function = function!("ntwk:theater/http-client", "send-http");

/// A TLS handshake and the system's resolver need a larger stack than a listener does.
const STACK_BYTES: usize = 1024 * 1024;

/// The handler with its configuration: what a manifest grants.
#[derive(Clone)]
struct HttpClient {
    reach: Arc<Reach>,
    tls: Arc<ClientConfig>,
    headers: Arc<SecretHeaders>,
    connect: Duration,
    whole: Duration,
    redirects: u32,
    /// The exchanges of this actor that have not ended, also those that an earlier incarnation began.
    under_way: Places,
}

#[derive(Default, Deserialize)]
struct Config {
    allow: Option<Vec<String>>,
    connect_timeout_ms: Option<u64>,
    timeout_ms: Option<u64>,
    max_redirects: Option<u32>,
    roots: Option<String>,
    #[serde(default)]
    hosts: toml::Table,
}

const KEYS: &[&str] = &["allow", "connect_timeout_ms", "timeout_ms", "max_redirects", "roots", "hosts"];

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    let Some(entry) = entry else {
        return Ok(Box::new(HttpClient::new(&Config::default(), trusting_mozilla()).expect("defaults are valid")));
    };
    let config: Config = entry.config(KEYS)?;
    let tls = config.roots.as_ref().map_or_else(|| Ok(trusting_mozilla()), |file| trusting(&entry.beside(file)));
    let client = tls.and_then(|tls| HttpClient::new(&config, tls));
    Ok(Box::new(client.map_err(|why| entry.error(why))?))
}

impl HttpClient {
    fn new(config: &Config, tls: Arc<ClientConfig>) -> Result<Self, String> {
        let reach = match &config.allow {
            Some(allow) => {
                Reach::Only(allow.iter().map(|entry| AllowedHost::parse(entry, "allow")).collect::<Result<_, _>>()?)
            }
            None => Reach::Public,
        };
        let redirects = config.max_redirects.unwrap_or(HTTP_REDIRECTS);
        if redirects > HTTP_REDIRECTS_CEILING {
            return Err(format!("\"max_redirects\" is {redirects}; the most is {HTTP_REDIRECTS_CEILING}"));
        }
        let headers = SecretHeaders::of(&config.hosts, &reach)?;
        Ok(Self {
            reach: Arc::new(reach),
            tls,
            headers: Arc::new(headers),
            connect: timeout("connect_timeout_ms", config.connect_timeout_ms, HTTP_CONNECT_TIMEOUT_MS)?,
            whole: timeout("timeout_ms", config.timeout_ms, HTTP_TIMEOUT_MS)?,
            redirects,
            under_way: Places::default(),
        })
    }

    fn bounds(&self, limits: &Limits) -> Bounds {
        Bounds {
            connect: self.connect,
            whole: self.whole,
            redirects: self.redirects,
            head_bytes: limits.http_head_bytes,
            body_bytes: limits.http_body_bytes,
        }
    }
}

fn timeout(key: &str, given: Option<u64>, default: u64) -> Result<Duration, String> {
    match given.unwrap_or(default) {
        ms @ 1..=HTTP_TIMEOUT_CEILING_MS => Ok(Duration::from_millis(ms)),
        ms => Err(format!("\"{key}\" is {ms}; it is from 1 to {HTTP_TIMEOUT_CEILING_MS}")),
    }
}

/// TLS with servers whose certificate leads to one of Mozilla's roots. All actors share it.
fn trusting_mozilla() -> Arc<ClientConfig> {
    static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| client_config(well_known_roots()));
    Arc::clone(&TLS)
}

/// TLS with servers whose certificate leads to a root in a PEM file, and with no others.
fn trusting(file: &Path) -> Result<Arc<ClientConfig>, String> {
    let bad = |why: &str| format!("\"roots\" {}: {why}", file.display());
    let pem = read_bounded(file, PEM_BYTES).map_err(|why| bad(&why))?;
    roots_in(&pem).map(client_config).map_err(|why| bad(&why))
}

impl Grant for HttpClient {
    fn install(&self, extensions: &mut Extensions) {
        extensions.insert(self.clone());
    }

    fn secrets(&self) -> Vec<&str> {
        self.headers.secrets().collect()
    }

    /// Opens no listener, but reads the secrets once, so that a mistake is told to whoever starts the actor. An actor that
    /// has lived before goes on without a value that cannot be had now: its requests get the error, until there is one.
    fn start(&self, actor: &ActorRef, _socket: Option<Arc<TcpListener>>) -> Result<Option<Box<dyn Source>>, String> {
        for name in self.headers.secrets() {
            match actor.theater.secrets.get(name) {
                Err(why) if why.is_unknown || !actor.has_lived => return Err(why.in_full()),
                Err(_) | Ok(_) => {}
            }
        }
        Ok(None)
    }
}

impl Capability for HttpClient {
    fn name(&self) -> &'static str {
        NAME
    }

    fn imports(&self) -> &'static [&'static str] {
        IMPORTS
    }

    fn link(&self, linker: &mut Linker<Box<HostState>>) -> wasmtime::Result<()> {
        linker.instance(IMPORTS[0])?.func_wrap("send-http", send_http)
    }
}

type ExchangeResult = Result<HttpResponse, String>;

fn send_http(
    mut store: StoreContextMut<'_, Box<HostState>>,
    (request,): (HttpRequest,),
) -> wasmtime::Result<(ExchangeResult,)> {
    let state = store.data_mut();
    let (live, limits) = (state.live().cloned(), state.limits.clone());
    let (request, refused) = bounded(request, &limits);
    let params = (request,);
    let answered = state.recorder.host_call(SEND_HTTP, &params, |attempt| {
        let live = live.as_deref().expect("effects run live");
        let client: &HttpClient = live.extensions.get().expect("installed with the handler");
        Ok(Effect::outside(&attempt, || {
            refused.map_or(Ok(()), Err)?;
            let outgoing = OutgoingRequest::new(&params.0, &client.reach)?;
            client.headers.check(&outgoing)?;
            let most = usize::try_from(limits.http_exchanges).unwrap_or(usize::MAX);
            let own = ExchangeRoom { places: &client.under_way, most };
            let (places, most) = (&live.theater.http_exchanges, live.theater.limits.http_exchanges);
            let permit = Permit::take(&own, &ExchangeRoom { places, most })?;
            let bounds = client.bounds(&limits);
            Ok(Box::new(move || exchange(live, client, bounds, outgoing, permit)))
        }))
    })?;
    Ok((answered,))
}

/// Makes an exchange and waits for its end. An exchange that is given up loses its connection, and its thread ends
/// then. While it still resolves a name or connects, the thread ends only when the time for that is over.
fn exchange(
    live: &Live,
    client: &HttpClient,
    bounds: Bounds,
    outgoing: OutgoingRequest,
    permit: Permit,
) -> Result<ExchangeResult, Interruption> {
    let exchange = match HttpExchange::new(client, bounds, live.theater.secrets.clone()) {
        Ok(exchange) => exchange,
        Err(error) => return Ok(Err(format!("this machine has nothing left for the exchange: {error}"))),
    };
    let (until, give_up) = (exchange.until(), exchange.give_up());
    let (to, answer) = one_shot();
    let work = move || {
        let answered = exchange.run(outgoing);
        drop(permit);
        // If the exchange was given up, nobody waits for this any more.
        to.give(answered);
    };
    let thread = match thread::spawn_sized(&format!("c-{}", live.name), STACK_BYTES, work) {
        Ok(thread) => thread,
        Err(error) => return Ok(Err(format!("this machine has no thread left for the exchange: {error}"))),
    };
    let answered = match live.stop.wait(&answer, until.moment()) {
        Waited::Came(answered) => Ok(answered),
        Waited::Gone => Ok(Err("outcome unknown: the exchange has ended without an answer".to_owned())),
        Waited::Deadline => {
            give_up.wake();
            return Ok(Err(timed_out(&bounds)));
        }
        Waited::Overdue(order) => {
            give_up.wake();
            return Err(match order {
                OrderKind::Stop | OrderKind::Cycle | OrderKind::Fail => Interruption::Ordered,
                OrderKind::Suspend => Interruption::Suspending,
            });
        }
    };
    // A panic was logged by the thread itself, and `answered` says already that the outcome is unknown.
    let _ = thread.join();
    answered
}

/// For the fuzzers: reads `text` as a URL, as a `Location`, and as a host of an allow-list.
pub(crate) fn hostile_texts(text: &str) {
    let base = http_url::HttpUrl::parse("http://example.org/a/b?c").expect("a URL");
    for target in [http_url::HttpUrl::parse(text), base.join(text)].into_iter().flatten() {
        assert!(!target.host.is_empty() && target.port > 0, "{target:?}");
        assert_eq!(target.again().as_ref(), Ok(&target), "it reads itself as it is");
        let (sent, host) = (target.path_and_query(), target.authority());
        let is_visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(sent.starts_with('/') && is_visible(&sent) && is_visible(&host), "{target:?}");
        let _ = reach::Reach::Public.check(&target);
    }
    let _ = reach::AllowedHost::parse(text, "allow");
}

/// For the fuzzers: reads `bytes` as the response of a server.
pub(crate) fn hostile_response(bytes: &[u8]) {
    response::hostile_response(bytes);
}
