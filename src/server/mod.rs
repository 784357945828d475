//! The management server: what a [`TheaterHandle`] can do, over TCP, TLS or a Unix socket. This layer also has the
//! client of that server, the metrics endpoint, and the HTTP listeners of the runtime.
//!
//! `docs/management.md` specifies frames and commands. The server does nothing that a handle cannot do.
//!
//! | file | what it holds |
//! |---|---|
//! | `bind` | binding the address and the Unix socket, and serving until the server is dropped |
//! | `admission`, `shared` | who gets a thread, and who is disconnected for others; what all connections share |
//! | `connection`, `writer` | the two threads of a connection: one carries out commands, one sends answers and events |
//! | `commands`, `listing`, `lookup`, `first` | what each command does; lists by pages; the shapes of the first protocol |
//! | `subscription`, `paging` | a cursor into the journal; bytes that do not fit a frame, piece by piece |
//! | `auth`, `answer_charge` | tokens and roles; how many bytes of answers may wait to be sent |
//! | `protocol`, `views`, `frame`, `transport` | the types of the protocol; frames; sockets with deadlines, with and without TLS |
//! | `metrics`, `families`, `prometheus` | what is measured, as types of the protocol, by the names of the metrics, and as text for Prometheus |
//! | `metrics_endpoint`, `health` | the HTTP server for the metrics, and for who asks whether the runtime lives and is ready |
//! | `listeners`, `route`, `route_limits` | HTTP listeners of the runtime, whose routes lead to actors, and what a route lets through |
//! | `client` | the client |

mod admission;
mod answer_charge;
mod auth;
mod bind;
mod client;
mod commands;
mod connection;
pub(crate) mod families;
mod first;
mod frame;
mod health;
mod listeners;
mod listing;
mod lookup;
mod metrics;
mod metrics_endpoint;
mod paging;
mod prometheus;
pub(crate) mod protocol;
mod route;
mod route_limits;
mod shares;
mod rows;
mod shared;
mod subscription;
mod transport;
mod views;
mod writer;

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use auth::{Token, TokenError};
pub(crate) use auth::{open_to_others, read_secret, read_token};
pub use bind::{BoundServer, TheaterServer};
pub use client::{Client, ClientError, ClientOptions, Endpoint, NotAnEndpoint};
pub(crate) use client::{MESSAGE_BYTES, unexpected};
pub(crate) use listeners::{BoundListener, RoutedListener, ServingListener};
pub use metrics_endpoint::{BoundMetrics, MetricsServer};
pub(crate) use route::RequestRoute;
pub(crate) use route_limits::{RateBy, RouteConcurrency, RouteRate, RouteRetry, RouteSettings};

use crate::base::limits::ManagementLimits;

/// Where a management server listens, and who may do what there.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The address at which it listens over TCP. One that is not a loopback address needs a token.
    pub listen: Option<SocketAddr>,
    /// The path of a Unix socket, for the user alone who runs the runtime. No token is needed there.
    pub socket: Option<PathBuf>,
    /// TLS for the address.
    pub tls: Option<TlsFiles>,
    /// A client that gives this token may do everything.
    pub control_token: Option<Token>,
    /// A client that gives this token may see everything and change nothing.
    pub read_token: Option<Token>,
    /// The bounds.
    pub limits: ManagementLimits,
}

impl ServerOptions {
    /// A server that listens nowhere yet, with default bounds.
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens on a TCP address; port 0 takes any free port.
    #[must_use]
    pub fn listen(self, address: SocketAddr) -> Self {
        Self { listen: Some(address), ..self }
    }

    /// Listens on a Unix socket at `path`.
    #[must_use]
    pub fn socket(self, path: impl Into<PathBuf>) -> Self {
        Self { socket: Some(path.into()), ..self }
    }

    /// Encrypts the TCP address.
    #[must_use]
    pub fn tls(self, files: TlsFiles) -> Self {
        Self { tls: Some(files), ..self }
    }

    /// Lets a client that gives `token` do everything.
    #[must_use]
    pub fn control_token(self, token: Token) -> Self {
        Self { control_token: Some(token), ..self }
    }

    /// Lets a client that gives `token` see everything and change nothing.
    #[must_use]
    pub fn read_token(self, token: Token) -> Self {
        Self { read_token: Some(token), ..self }
    }

    /// Bounds what clients may use.
    #[must_use]
    pub fn limits(self, limits: ManagementLimits) -> Self {
        Self { limits, ..self }
    }
}

impl TlsFiles {
    /// The certificate at one path and its private key at the other.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self { certificate: certificate.into(), key: key.into() }
    }
}

/// A certificate and its key, in PEM.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The certificate, and after it those that vouch for it.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why the server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The server cannot listen on the address.
    #[error("cannot listen on {address}: {error}; {}", remedy(error))]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The server cannot listen on the Unix socket.
    #[error("cannot listen on the Unix socket {}: {why}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// Everyone could reach the server, and no token protects it.
    #[error(
        "the management server will not listen on {0} without a token: whoever reaches it could start any actor. \
         Give it one with --token-file, or use an address of this machine alone, such as 127.0.0.1"
    )]
    Exposed(SocketAddr),
    /// The certificate or the key cannot be used.
    #[error("TLS: {}: {why}", path.display())]
    Tls {
        /// The file concerned.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system has no thread left.
    #[error("cannot start the management server's thread: {0}")]
    Thread(io::Error),
}

/// Reads a file that the operator names, of at most `most` bytes. The file may be a pipe, such as a shell's `<(…)`.
fn read_at_most(most: u64, path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 > most { Err(format!("it is longer than {most} bytes")) } else { Ok(bytes) }
}

/// What to do when the server cannot listen on an address.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "is another runtime running? Give this one another address with --listen",
        io::ErrorKind::PermissionDenied => "ports below 1024 take a privilege: give it another address with --listen",
        _ => "give it another address with --listen",
    }
}

/// For the fuzzers: reads `bytes` as frames, and the commands in them.
pub(crate) fn hostile_frames(mut bytes: &[u8]) {
    while let Ok(Some(json)) = frame::receive(&mut bytes) {
        let _ = serde_json::from_slice::<protocol::Request>(&json);
    }
}
