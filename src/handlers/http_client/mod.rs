//! `http-client`: an actor asks others over HTTP.
//!
//! A request is checked, its intent is on disk, and then it leaves, on a thread of its own: the actor waits for the
//! answer, the time it may take, or its order to end. What was cut off is never sent again.
//!
//! ```text
//!   outgoing ── checked ──▶ hops ── each hop ──▶ reach (resolved, checked) ──▶ connection ──▶ answer (read strictly)
//! ```

mod address;
mod answer;
mod connection;
mod explain;
mod hops;
mod outgoing;
mod permit;
mod reach;
mod target;

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use wasmtime::StoreContextMut;
use wasmtime::component::Linker;

use super::Grant;
use crate::base::limits::{
    HTTP_CONNECT_TIMEOUT_MS, HTTP_REDIRECTS, HTTP_REDIRECTS_CEILING, HTTP_TIMEOUT_CEILING_MS, HTTP_TIMEOUT_MS, Limits,
};
use crate::base::places::Places;
use crate::base::thread;
use crate::chain::{Function, function};
use crate::guest::wit::{HttpRequest, HttpResponse};
use crate::guest::{Capability, Effect, Extensions, HostState, Interruption, Live};
use crate::manifest::{HandlerEntry, ManifestError};
use crate::system::{OrderKind, Waited};
use explain::timed_out;
use hops::Exchange;
use outgoing::{Outgoing, bounded};
use permit::{Permit, Room};
use reach::{Allowed, Reach};

pub(super) const NAME: &str = "http-client";
pub(super) const IMPORTS: &[&str] = &["ntwk:theater/http-client"];

const SEND_HTTP: &Function = function!("ntwk:theater/http-client", "send-http");

const TIMED_OUT: &str = "timed out: no complete response within timeout_ms =";

/// A TLS handshake and the system's resolver need more than a listener does.
const STACK_BYTES: usize = 1024 * 1024;

/// What a manifest grants.
#[derive(Clone)]
struct Client {
    reach: Arc<Reach>,
    tls: Arc<ClientConfig>,
    connect: Duration,
    whole: Duration,
    redirects: u32,
    /// Exchanges of this actor that have not ended, whichever incarnation began them.
    under_way: Places,
}

/// The bounds of one exchange.
#[derive(Clone, Copy)]
struct Bounds {
    connect: Duration,
    whole: Duration,
    redirects: u32,
    head_bytes: u64,
    body_bytes: u64,
}

impl Bounds {
    /// Those of a manifest that says nothing.
    fn of_defaults() -> Self {
        let limits = Limits::default();
        Self {
            connect: Duration::from_millis(HTTP_CONNECT_TIMEOUT_MS),
            whole: Duration::from_millis(HTTP_TIMEOUT_MS),
            redirects: HTTP_REDIRECTS,
            head_bytes: limits.http_head_bytes,
            body_bytes: limits.http_body_bytes,
        }
    }
}

#[derive(Default, Deserialize)]
struct Config {
    allow: Option<Vec<String>>,
    connect_timeout_ms: Option<u64>,
    timeout_ms: Option<u64>,
    max_redirects: Option<u32>,
    roots: Option<String>,
}

const KEYS: &[&str] = &["allow", "connect_timeout_ms", "timeout_ms", "max_redirects", "roots"];

pub(super) fn make(entry: Option<&HandlerEntry>) -> Result<Box<dyn Grant>, ManifestError> {
    let Some(entry) = entry else {
        return Ok(Box::new(Client::new(&Config::default(), trusting_mozilla()).expect("defaults are valid")));
    };
    let config: Config = entry.config(KEYS)?;
    let tls = config.roots.as_ref().map_or_else(|| Ok(trusting_mozilla()), |file| trusting(&entry.beside(file)));
    let client = tls.and_then(|tls| Client::new(&config, tls));
    Ok(Box::new(client.map_err(|why| entry.error(why))?))
}

impl Client {
    fn new(config: &Config, tls: Arc<ClientConfig>) -> Result<Self, String> {
        let reach = match &config.allow {
            Some(allow) => Reach::Only(allow.iter().map(|entry| Allowed::parse(entry)).collect::<Result<_, _>>()?),
            None => Reach::Public,
        };
        let redirects = config.max_redirects.unwrap_or(HTTP_REDIRECTS);
        if redirects > HTTP_REDIRECTS_CEILING {
            return Err(format!("\"max_redirects\" is {redirects}; the most is {HTTP_REDIRECTS_CEILING}"));
        }
        Ok(Self {
            reach: Arc::new(reach),
            tls,
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

/// TLS with servers whose certificate has one of Mozilla's roots, the same for all actors.
fn trusting_mozilla() -> Arc<ClientConfig> {
    static TLS: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        tls(roots)
    });
    Arc::clone(&TLS)
}

/// TLS with servers whose certificate has a root in a PEM file, and no others.
fn trusting(file: &Path) -> Result<Arc<ClientConfig>, String> {
    let bad = |why: &str| format!("\"roots\" {}: {why}", file.display());
    let pem = std::fs::read(file).map_err(|error| bad(&error.to_string()))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let mut roots = RootCertStore::empty();
    // Bundles of operating systems hold a few that webpki does not know what to do with.
    let (usable, _) = roots.add_parsable_certificates(certificates.map_err(|error| bad(&error.to_string()))?);
    if usable == 0 { Err(bad("holds no certificate in PEM form")) } else { Ok(tls(roots)) }
}

fn tls(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

impl Grant for Client {
    fn install(&self, extensions: &mut Extensions) {
        extensions.insert(self.clone());
    }
}

impl Capability for Client {
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

type Answered = Result<HttpResponse, String>;

fn send_http(
    mut store: StoreContextMut<'_, Box<HostState>>,
    (request,): (HttpRequest,),
) -> wasmtime::Result<(Answered,)> {
    let state = store.data_mut();
    let (live, limits) = (state.live().cloned(), state.limits.clone());
    let (request, refused) = bounded(request, &limits);
    let params = (request,);
    let answered = state.recorder.host_call(SEND_HTTP, &params, |attempt| {
        let live = live.as_deref().expect("effects run live");
        let client: &Client = live.extensions.get().expect("installed with the handler");
        Ok(Effect::outside(&attempt, || {
            refused.map_or(Ok(()), Err)?;
            let outgoing = Outgoing::new(&params.0, &client.reach)?;
            let most = usize::try_from(limits.http_exchanges).unwrap_or(usize::MAX);
            let own = Room { places: &client.under_way, most };
            let (places, most) = (&live.theater.http_exchanges, live.theater.limits.http_exchanges);
            let permit = Permit::take(&own, &Room { places, most })?;
            let bounds = client.bounds(&limits);
            Ok(Box::new(move || exchange(live, client, bounds, outgoing, permit)))
        }))
    })?;
    Ok((answered,))
}

/// Makes an exchange and waits for its end. One that is given up loses its connection, and its thread ends with that;
/// where it still resolves or connects, with the time this may take.
fn exchange(
    live: &Live,
    client: &Client,
    bounds: Bounds,
    outgoing: Outgoing,
    permit: Permit,
) -> Result<Answered, Interruption> {
    let exchange = match Exchange::new(client, bounds) {
        Ok(exchange) => exchange,
        Err(error) => return Ok(Err(format!("this machine has nothing left for the exchange: {error}"))),
    };
    let (until, stopper) = (exchange.until(), exchange.stopper());
    let (to, answer) = crossbeam_channel::bounded(1);
    let work = move || {
        let answered = exchange.run(outgoing);
        drop(permit);
        // Nobody waits for it any more where it was given up.
        let _ = to.send(answered);
    };
    let thread = match thread::spawn_sized(&format!("c-{}", live.name), STACK_BYTES, work) {
        Ok(thread) => thread,
        Err(error) => return Ok(Err(format!("this machine has no thread left for the exchange: {error}"))),
    };
    let answered = match live.stop.wait(&answer, until) {
        Waited::Came(answered) => Ok(answered),
        Waited::Gone => Ok(Err("outcome unknown: the exchange has ended without an answer".to_owned())),
        Waited::Deadline => {
            stopper.give_up();
            return Ok(Err(timed_out(&bounds)));
        }
        Waited::Overdue(order) => {
            stopper.give_up();
            return Err(match order {
                OrderKind::Stop | OrderKind::Cycle | OrderKind::Fail => Interruption::Ordered,
                OrderKind::Suspend => Interruption::Suspending,
            });
        }
    };
    // Its panic was logged, and is the answer already.
    let _ = thread.join();
    answered
}

/// What a guest might call a URL, a `Location`, or a host.
pub(crate) fn hostile_texts(text: &str) {
    let base = target::Target::parse("http://example.org/a/b?c").expect("a URL");
    for target in [target::Target::parse(text), base.join(text)].into_iter().flatten() {
        assert!(!target.host.is_empty() && target.port > 0, "{target:?}");
        assert_eq!(target.again().as_ref(), Ok(&target), "it reads itself as it is");
        let (sent, host) = (target.path_and_query(), target.authority());
        let is_visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(sent.starts_with('/') && is_visible(&sent) && is_visible(&host), "{target:?}");
        let _ = reach::Reach::Public.check(&target);
    }
    let _ = reach::Allowed::parse(text);
}

/// What a server might answer.
pub(crate) fn hostile_response(bytes: &[u8]) {
    answer::hostile_response(bytes);
}
