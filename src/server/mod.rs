//! The management server: what a [`TheaterHandle`] can do, over TCP, TLS or a Unix socket.
//!
//! Frames and commands are specified in `docs/management.md`. Nothing is done here that a handle cannot do.
//!
//! | file | what |
//! |---|---|
//! | `door` | the listeners' thread: who is let in, who has to go for others |
//! | `connection`, `writer` | the two threads of a connection: one reads and does, one answers and pushes |
//! | `commands`, `listing`, `first` | what a command does; lists by pages; the shapes of the first protocol |
//! | `subscription`, `auth`, `budget` | a cursor into the journal; who may do what; bytes of answers under way |
//! | `protocol`, `views`, `frame`, `transport` | the wire's types; frames; sockets with deadlines, plain and encrypted |
//! | `metrics`, `prometheus` | what is measured, as wire types and as text |
//! | `client` | the other side |

mod auth;
mod budget;
mod client;
mod commands;
mod connection;
mod door;
mod first;
mod frame;
mod listing;
mod metrics;
mod paging;
mod prometheus;
pub(crate) mod protocol;
mod subscription;
mod transport;
mod views;
mod writer;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) use auth::read_secret;
pub use auth::{Token, TokenError};
pub use client::{Client, ClientError, ClientOptions, Endpoint, NotAnEndpoint};
pub(crate) use client::{MESSAGE_BYTES, unexpected};
pub use door::{BoundServer, TheaterServer};
pub use prometheus::MetricsServer;

use crate::base::limits::ManagementLimits;

/// Where and for whom a management server listens.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ServerOptions {
    /// An address; off loopback it takes a token.
    pub listen: Option<SocketAddr>,
    /// A Unix socket, for the user who runs the runtime alone; no token is asked for there.
    pub socket: Option<PathBuf>,
    /// TLS for the address.
    pub tls: Option<TlsFiles>,
    /// Who gives it may do everything.
    pub control_token: Option<Token>,
    /// Who gives it may see everything and change nothing.
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
    /// The certificate, followed by those that vouch for it.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why the server could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {error}; {}", remedy(error))]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The Unix socket cannot be listened on.
    #[error("cannot listen on the Unix socket {}: {why}", path.display())]
    Socket {
        /// Its path.
        path: PathBuf,
        /// What is in the way.
        why: String,
    },
    /// Everyone could reach it.
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

/// What to do where an address cannot be listened on.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "is another runtime running? Give this one another address with --listen",
        io::ErrorKind::PermissionDenied => "ports below 1024 take a privilege: give it another address with --listen",
        _ => "give it another address with --listen",
    }
}

/// Frames as they might come, and the commands in them.
pub(crate) fn hostile_frames(mut bytes: &[u8]) {
    while let Ok(Some(json)) = frame::receive(&mut bytes) {
        let _ = serde_json::from_slice::<protocol::Request>(&json);
    }
}
