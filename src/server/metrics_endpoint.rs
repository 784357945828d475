//! The metrics endpoint: over HTTP, the metrics for Prometheus, and whether the runtime lives and is ready. It listens only if
//! it is asked for.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::health::{self, Subject};
use super::prometheus;
use crate::base::places::Places;
use crate::net::http::{HttpLimits, HttpListener, ServingHttp, WireRequest, WireResponse};
use crate::system::TheaterHandle;

/// The connections that are served at a time.
const CONNECTIONS: usize = 16;
/// The scrapes among them. Each reads the index, which may wait for a disk: the others are for who asks for the health.
const SCRAPES: usize = 8;

/// A metrics endpoint that has its address and answers nobody yet.
pub struct BoundMetrics {
    listener: HttpListener,
    address: SocketAddr,
}

/// A listening metrics endpoint. When it is dropped it closes.
pub struct MetricsServer {
    address: SocketAddr,
    observed: Arc<Observed>,
    _serving: ServingHttp,
}

/// The theater that is asked about.
#[derive(Default)]
struct Observed {
    theater: OnceLock<TheaterHandle>,
    has_started: AtomicBool,
    /// Which node to ask, while this one follows a realm.
    elsewhere: Mutex<Option<String>>,
    scrapes: Places,
}

impl BoundMetrics {
    /// Binds `address`; port 0 stands for any free port.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = HttpListener::bind(address)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Answers `GET /metrics`, `GET /livez` and `GET /readyz` from now on, about a theater that has started.
    pub fn serve(self, theater: TheaterHandle) -> io::Result<MetricsServer> {
        let server = self.serve_early()?;
        server.begins(&theater);
        server.has_started();
        Ok(server)
    }

    /// Answers from now on, though there is no theater yet: who asks is told that it starts.
    pub(crate) fn serve_early(self) -> io::Result<MetricsServer> {
        let limits = HttpLimits {
            body_bytes: 0,
            head_bytes: 8 * 1024,
            connections: CONNECTIONS,
            idle_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            ..HttpLimits::default()
        };
        let observed = Arc::<Observed>::default();
        let asked = Arc::clone(&observed);
        let service = Arc::new(move |request: WireRequest| asked.answer(&request).into());
        let _serving = self.listener.serve("metrics", limits, service, false)?;
        Ok(MetricsServer { address: self.address, observed, _serving })
    }
}

impl MetricsServer {
    /// Answers `GET /metrics`, `GET /livez` and `GET /readyz` at `address`, about a theater that has started; port 0 stands for
    /// any free port.
    pub fn start(address: SocketAddr, theater: TheaterHandle) -> io::Result<Self> {
        BoundMetrics::bind(address)?.serve(theater)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The theater has a handle, and its actors are about to begin.
    pub(crate) fn begins(&self, theater: &TheaterHandle) {
        // There is one theater for each endpoint.
        let _ = self.observed.theater.set(theater.clone());
    }

    /// This node has no theater, because another one owns the realm: `owner` says which.
    pub(crate) fn follows(&self, owner: String) {
        *self.observed.elsewhere.lock() = Some(owner);
    }

    /// Every start is done.
    pub(crate) fn has_started(&self) {
        self.observed.has_started.store(true, Ordering::Release);
    }
}

impl Observed {
    fn answer(&self, request: &WireRequest) -> WireResponse {
        let (path, query) = request.uri.split_once('?').unwrap_or((&request.uri, ""));
        let verbose = query.split('&').any(|part| part == "verbose" || part.starts_with("verbose="));
        match (request.method.as_str(), path) {
            ("GET" | "HEAD", "/metrics") => self.metrics(),
            ("GET" | "HEAD", "/livez") => health::liveness(&self.subject(), verbose),
            ("GET" | "HEAD", "/readyz") => health::readiness(&self.subject(), verbose),
            ("GET" | "HEAD", _) => {
                WireResponse::text(404, "the metrics are at /metrics, and the health is at /livez and /readyz", &[])
            }
            _ => WireResponse::text(405, "only GET", &[]),
        }
    }

    fn subject(&self) -> Subject<'_> {
        if let Some(owner) = self.elsewhere.lock().clone() {
            return Subject::Elsewhere(owner);
        }
        let has_started = self.has_started.load(Ordering::Acquire);
        self.theater.get().map_or(Subject::Nothing, |theater| match has_started {
            true => Subject::Started(theater),
            false => Subject::Starting(theater),
        })
    }

    fn metrics(&self) -> WireResponse {
        if let Some(owner) = &*self.elsewhere.lock() {
            return WireResponse::text(503, owner, &[]);
        }
        let Some(theater) = self.theater.get() else {
            return WireResponse::text(503, "the runtime is starting", &[]);
        };
        let Ok(_place) = self.scrapes.take(SCRAPES) else {
            let why =
                format!("{SCRAPES} others are reading the metrics: is a disk slow, or does somebody ask too often?");
            return WireResponse::text(503, &why, &[]);
        };
        let headers = vec![("Content-Type".to_owned(), "text/plain; version=0.0.4; charset=utf-8".to_owned())];
        let text = prometheus::text(theater).into_bytes();
        WireResponse::new(200, headers, Some(text)).expect("the parts are valid")
    }
}
