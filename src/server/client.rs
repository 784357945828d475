//! A blocking client of the management server, as the command line uses it.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::frame::{self, FrameError};
use super::protocol::{ActorView, Request, Response, Scope};
use crate::base::id::ActorId;
use crate::base::limits::FRAME_BYTES;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The longest message that fits a frame as base64, with room for the rest of the command.
pub(crate) const MESSAGE_BYTES: usize = (FRAME_BYTES - 1024) / 4 * 3;

/// Where a management server is: `HOST:PORT`, `tls:HOST:PORT` or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Endpoint {
    /// Plain TCP.
    Tcp(String),
    /// TLS.
    Tls(String),
    /// A Unix socket.
    Unix(PathBuf),
}

/// A text does not say where a management server is; the text of the error says what it lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAnEndpoint(&'static str);

impl FromStr for Endpoint {
    type Err = NotAnEndpoint;

    fn from_str(text: &str) -> Result<Self, NotAnEndpoint> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(NotAnEndpoint("unix: lacks a path"))
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let (address, tls) = match text.strip_prefix("tls:") {
            Some(address) => (address, true),
            None => (text, false),
        };
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            return Err(NotAnEndpoint("expected HOST:PORT, tls:HOST:PORT or unix:PATH"));
        }
        Ok(if tls { Self::Tls(address.to_owned()) } else { Self::Tcp(address.to_owned()) })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Tls(address) => write!(f, "tls:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How to reach a runtime.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Where.
    pub endpoint: Endpoint,
    /// What to authenticate with.
    pub token: Option<String>,
    /// Whom to trust instead of the well-known authorities: a file of certificates in PEM.
    pub authorities: Option<PathBuf>,
}

impl ClientOptions {
    /// Reaches the runtime at `endpoint`, without a token, trusting the well-known authorities.
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, token: None, authorities: None }
    }

    /// Authenticates with `token`.
    #[must_use]
    pub fn token(self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self }
    }

    /// Trusts the certificates in the PEM file at `path` instead of the well-known authorities.
    #[must_use]
    pub fn authorities(self, path: impl Into<PathBuf>) -> Self {
        Self { authorities: Some(path.into()), ..self }
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("ClientOptions").field("endpoint", &self.endpoint).field("token", &token).finish_non_exhaustive()
    }
}

/// What to do where nobody answers.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "a runtime's socket is for the user who runs it: ask as that user",
        _ => "start one with `theater run MANIFEST`, or name another with --server",
    }
}

/// Why a client got no answer, or not the one it asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no runtime answers at {endpoint}: {error}; {}", remedy(error))]
    Connect {
        /// Where it was looked for.
        endpoint: Endpoint,
        /// What the system said.
        error: io::Error,
    },
    /// The certificates to trust, or the server's name, cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// The connection broke.
    #[error("the connection to the runtime broke: {0}")]
    Broken(String),
    /// The runtime's own words.
    #[error("{0}")]
    Refused(String),
    /// It would not fit a frame: nothing was sent.
    #[error(
        "this command does not fit a frame, which has at most {FRAME_BYTES} bytes, so it was not sent; a message is sent as \
         base64 and has at most {MESSAGE_BYTES} bytes: split it, or hand a larger one over in a file or over HTTP"
    )]
    TooLong,
    /// The other side speaks something else.
    #[error("the runtime answered something else than asked for: {0}")]
    Unexpected(String),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A connection to a running theater.
pub struct Client {
    source: BufReader<Stream>,
    /// Events that came while an answer was awaited.
    pushed: VecDeque<Response>,
}

/// A stream of events.
pub struct Subscription {
    client: Client,
}

impl Client {
    /// Connects to a management server, and authenticates where there is a token.
    pub fn connect(options: &ClientOptions) -> Result<Self, ClientError> {
        let failed = |error| ClientError::Connect { endpoint: options.endpoint.clone(), error };
        let stream = match &options.endpoint {
            Endpoint::Unix(path) => Stream::Unix(UnixStream::connect(path).map_err(failed)?),
            Endpoint::Tcp(address) => Stream::Tcp(tcp(address).map_err(failed)?),
            Endpoint::Tls(address) => {
                let session = session(address, options.authorities.as_deref())?;
                Stream::Tls(Box::new(StreamOwned::new(session, tcp(address).map_err(failed)?)))
            }
        };
        let mut client = Self { source: BufReader::new(stream), pushed: VecDeque::new() };
        if let (Some(token), false) = (&options.token, matches!(options.endpoint, Endpoint::Unix(_))) {
            client.ask(&Request::Authenticate { token: token.clone() })?;
        }
        Ok(client)
    }

    /// Starts the actor of a manifest, whose path is the runtime's, and waits for its `init`.
    pub fn start(&mut self, manifest: &Path) -> Result<ActorId, ClientError> {
        let manifest = manifest.display().to_string();
        match self.ask(&Request::StartActor { manifest, initial_state: None })? {
            Response::ActorStarted { id } => id.parse().map_err(|_| ClientError::Unexpected(id)),
            other => Err(unexpected(&other)),
        }
    }

    /// Stops an actor and everything below it.
    pub fn stop(&mut self, id: ActorId) -> Result<(), ClientError> {
        self.ask(&Request::StopActor { id: id.to_string() }).map(drop)
    }

    /// Starts an actor again, in a new incarnation.
    pub fn restart(&mut self, id: ActorId) -> Result<(), ClientError> {
        self.ask(&Request::RestartActor { id: id.to_string() }).map(drop)
    }

    /// The actors that are alive.
    pub fn actors(&mut self) -> Result<Vec<ActorId>, ClientError> {
        let mut alive = Vec::new();
        self.each_actor(|actor| {
            if actor.is_alive() {
                alive.push(actor.id.parse().map_err(|_| ClientError::Unexpected(actor.id))?);
            }
            Ok(())
        })?;
        Ok(alive)
    }

    /// Every actor, page by page.
    pub(crate) fn each_actor(
        &mut self,
        mut take: impl FnMut(ActorView) -> Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        let mut from = Some(0);
        while let Some(at) = from {
            match self.ask(&Request::GetActors { from: at, limit: None })? {
                Response::Actors { actors, next } => {
                    actors.into_iter().try_for_each(&mut take)?;
                    from = next.filter(|next| *next > at);
                }
                other => return Err(unexpected(&other)),
            }
        }
        Ok(())
    }

    /// Any command of `docs/management.md` that no method here is for; its answer as it came.
    pub fn command(&mut self, command: &serde_json::Value) -> Result<serde_json::Value, ClientError> {
        let request = serde_json::from_value(command.clone());
        let request = request.map_err(|error| ClientError::Refused(format!("not a command: {error}")))?;
        let answer = self.ask(&request)?;
        serde_json::to_value(answer).map_err(|error| ClientError::Unexpected(error.to_string()))
    }

    /// Asks, and waits for the answer; a refusal is an error.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        let frame = frame::encode(request).map_err(|_| ClientError::TooLong)?;
        let sent = frame::send(self.source.get_mut(), &frame);
        loop {
            match self.receive() {
                Ok(Response::Error { message }) => return Err(ClientError::Refused(of_another_version(message))),
                Ok(event @ (Response::ActorEvent { .. } | Response::Event { .. })) => self.pushed.push_back(event),
                Ok(response) => return Ok(response),
                // Who is sent away is told why before, though it may not get to ask any more.
                Err(broken) => {
                    return Err(sent.err().map_or(broken, |error| ClientError::Broken(error.to_string())));
                }
            }
        }
    }

    /// Subscribes to an actor's events from sequence `from` on, or from now.
    pub(crate) fn subscribe(mut self, id: String, from: Option<u64>) -> Result<Subscription, ClientError> {
        match self.ask(&Request::SubscribeToActor { id, from, kinds: None })? {
            Response::Subscribed { .. } => Ok(Subscription { client: self }),
            other => Err(unexpected(&other)),
        }
    }

    /// Subscribes to the events of several actors from position `from` on, or from now.
    pub(crate) fn subscribe_to(
        mut self,
        scope: Scope,
        from: Option<u64>,
        kinds: Option<Vec<String>>,
    ) -> Result<Subscription, ClientError> {
        match self.ask(&Request::Subscribe { scope, from, kinds })? {
            Response::SubscribedFrom { .. } => Ok(Subscription { client: self }),
            other => Err(unexpected(&other)),
        }
    }

    fn receive(&mut self) -> Result<Response, ClientError> {
        let json = frame::receive(&mut self.source).map_err(|error| match error {
            FrameError::TooLarge { .. } => ClientError::Unexpected(format!(
                "{error}; what listens there speaks another protocol: name a runtime's management address with --server"
            )),
            other => ClientError::Broken(other.to_string()),
        })?;
        let json = json.ok_or_else(|| ClientError::Broken("it was closed".into()))?;
        serde_json::from_slice(&json).map_err(|error| {
            let why = format!("{error}; it may be of another version than this program, which is {VERSION}");
            ClientError::Unexpected(why)
        })
    }
}

impl Subscription {
    /// The next event's frame; waits for it.
    pub(crate) fn next(&mut self) -> Result<Response, ClientError> {
        let response = match self.client.pushed.pop_front() {
            Some(pushed) => pushed,
            None => self.client.receive()?,
        };
        match response {
            Response::Error { message } => Err(ClientError::Refused(message)),
            event => Ok(event),
        }
    }
}

/// What a runtime says that does not know a command, with what that means.
fn of_another_version(message: String) -> String {
    if !message.starts_with("not a command: unknown variant") {
        return message;
    }
    format!("the runtime does not know this command: it is of another version than this program, which is {VERSION}")
}

/// The first of the name's addresses that answers.
fn tcp(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn session(address: &str, authorities: Option<&Path>) -> Result<ClientConnection, ClientError> {
    let wrong = |why: &dyn fmt::Display| ClientError::Tls(why.to_string());
    let mut roots = RootCertStore::empty();
    match authorities {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let named = |why: &dyn fmt::Display| ClientError::Tls(format!("{}: {why}", path.display()));
            for certificate in CertificateDer::pem_file_iter(path).map_err(|error| named(&error))? {
                let certificate = certificate.map_err(|error| named(&error))?;
                roots.add(certificate).map_err(|error| named(&error))?;
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| wrong(&error))?;
    ClientConnection::new(Arc::new(config), name).map_err(|error| wrong(&error))
}

pub(crate) fn unexpected(response: &Response) -> ClientError {
    ClientError::Unexpected(format!("{response:?}").chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_written_as_it_is_read() {
        for text in
            ["127.0.0.1:9000", "[::1]:9000", "localhost:1", "tls:theater.example:9000", "unix:/run/theater.sock"]
        {
            assert_eq!(text.parse::<Endpoint>().expect(text).to_string(), text);
        }
        for wrong in ["", ":9000", "localhost", "localhost:x", "localhost:70000", "unix:", "tls:", "tls:host"] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }
}
