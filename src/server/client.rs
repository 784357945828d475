//! A blocking client of the management server, as the command line uses it.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConnection, StreamOwned};

use super::frame::{self, FrameError};
use super::protocol::{ActorView, Request, Response, Scope};
use super::read_at_most;
use crate::base::id::ActorId;
use crate::base::limits::{FRAME_BYTES, PEM_BYTES};
use crate::net::{client_config, roots_in, well_known_roots};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The longest message that fits a frame as base64, with room for the rest of the command.
pub(crate) const MESSAGE_BYTES: usize = (FRAME_BYTES - 1024) / 4 * 3;

/// The address of a management server: `HOST:PORT`, `tls:HOST:PORT` or `unix:PATH`.
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

/// A text is not the address of a management server; the text of the error says what is missing.
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
        let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains('/'));
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
    /// The address of its management server.
    pub endpoint: Endpoint,
    /// The token with which to authenticate.
    pub token: Option<String>,
    /// A file of certificates in PEM that are trusted instead of those of the well-known authorities.
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

/// What to do if no server answers.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "a runtime's socket is for the user who runs it: ask as that user",
        _ => "start one with `theater run MANIFEST`, or name another with --server",
    }
}

/// Why a client got no answer, or another answer than it expected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No server listens at the address.
    #[error("no runtime answers at {endpoint}: {error}; {}", remedy(error))]
    Connect {
        /// The address.
        endpoint: Endpoint,
        /// What the system said.
        error: io::Error,
    },
    /// The trusted certificates, or the name of the server, cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// The connection broke.
    #[error("the connection to the runtime broke: {0}")]
    Broken(String),
    /// The runtime refused the command, with this text.
    #[error("{0}")]
    Refused(String),
    /// The command does not fit a frame. Nothing was sent.
    #[error(
        "this command does not fit a frame, which has at most {FRAME_BYTES} bytes, so it was not sent; a message is sent as \
         base64 and has at most {MESSAGE_BYTES} bytes: split it, or hand a larger one over in a file or over HTTP"
    )]
    TooLong,
    /// The other side speaks another protocol, or gave another answer than the command has.
    #[error("the runtime answered something else than asked for: {0}")]
    Unexpected(String),
}

enum ClientStream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for ClientStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for ClientStream {
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
    source: BufReader<ClientStream>,
    /// Events that came while the client waited for an answer.
    pushed: VecDeque<Response>,
}

/// A stream of events.
pub struct Subscription {
    client: Client,
}

impl Client {
    /// Connects to a management server, and authenticates if there is a token.
    pub fn connect(options: &ClientOptions) -> Result<Self, ClientError> {
        let failed = |error| ClientError::Connect { endpoint: options.endpoint.clone(), error };
        let stream = match &options.endpoint {
            Endpoint::Unix(path) => ClientStream::Unix(UnixStream::connect(path).map_err(failed)?),
            Endpoint::Tcp(address) => ClientStream::Tcp(tcp(address).map_err(failed)?),
            Endpoint::Tls(address) => {
                let session = session(address, options.authorities.as_deref())?;
                ClientStream::Tls(Box::new(StreamOwned::new(session, tcp(address).map_err(failed)?)))
            }
        };
        let mut client = Self { source: BufReader::new(stream), pushed: VecDeque::new() };
        if let (Some(token), false) = (&options.token, matches!(options.endpoint, Endpoint::Unix(_))) {
            client.ask(&Request::Authenticate { token: token.clone() })?;
        }
        Ok(client)
    }

    /// Gives up an answer of which nothing comes for so long; without this, the client waits for ever.
    pub(crate) fn wait_at_most(&self, time: Duration) -> Result<(), ClientError> {
        let set = match self.source.get_ref() {
            ClientStream::Tcp(stream) => stream.set_read_timeout(Some(time)),
            ClientStream::Unix(stream) => stream.set_read_timeout(Some(time)),
            ClientStream::Tls(stream) => stream.sock.set_read_timeout(Some(time)),
        };
        set.map_err(|error| ClientError::Broken(error.to_string()))
    }

    /// Starts the actor of a manifest, and waits for its `init`. The path is one of the machine on which the runtime
    /// runs.
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

    /// Pauses an actor: what comes for it waits until it is resumed. Says whether it was not paused before.
    pub fn pause(&mut self, id: ActorId) -> Result<bool, ClientError> {
        match self.ask(&Request::PauseActor { id: id.to_string() })? {
            Response::ActorPaused { already, .. } => Ok(!already),
            other => Err(unexpected(&other)),
        }
    }

    /// Resumes an actor that was paused. Says whether it was.
    pub fn resume(&mut self, id: ActorId) -> Result<bool, ClientError> {
        match self.ask(&Request::ResumeActor { id: id.to_string() })? {
            Response::ActorResumed { already, .. } => Ok(!already),
            other => Err(unexpected(&other)),
        }
    }

    /// Lets an actor go on with another manifest and its component, or with the manifest file that it was started from, and waits
    /// until it is up with them. The path is one of the machine on which the runtime runs.
    pub fn upgrade(&mut self, id: ActorId, manifest: Option<&Path>) -> Result<(), ClientError> {
        let manifest = manifest.map(|manifest| manifest.display().to_string());
        self.ask(&Request::UpgradeActor { id: id.to_string(), manifest }).map(drop)
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

    /// Hands every actor to `take`, page by page.
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

    /// Sends any command of `docs/management.md`, also one for which there is no method here. Returns the answer as it
    /// came.
    pub fn command(&mut self, command: &serde_json::Value) -> Result<serde_json::Value, ClientError> {
        let request = serde_json::from_value(command.clone());
        let request = request.map_err(|error| ClientError::Refused(format!("not a command: {error}")))?;
        let answer = self.ask(&request)?;
        serde_json::to_value(answer).map_err(|error| ClientError::Unexpected(error.to_string()))
    }

    /// Sends a command and waits for the answer. A refusal is an error.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        let frame = frame::encode(request).map_err(|_| ClientError::TooLong)?;
        let sent = frame::send(self.source.get_mut(), &frame);
        loop {
            match self.receive() {
                Ok(Response::Error { message }) => {
                    return Err(ClientError::Refused(how_to_authenticate(of_another_version(message))));
                }
                Ok(event @ (Response::ActorEvent { .. } | Response::Event { .. })) => self.pushed.push_back(event),
                Ok(response) => return Ok(response),
                // A client that is refused by the server gets the reason first, although sending its command may fail.
                Err(why) => {
                    return Err(sent.err().map_or(why, |error| broken(&FrameError::Io(error))));
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
        let json = frame::receive(&mut self.source).map_err(|error| broken(&error))?;
        let json = json.ok_or_else(|| ClientError::Broken("it was closed".into()))?;
        serde_json::from_slice(&json).map_err(|error| {
            let why = format!("{error}; it may be of another version than this program, which is {VERSION}");
            ClientError::Unexpected(why)
        })
    }
}

impl Subscription {
    /// Waits for the frame of the next event.
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

/// The message of a runtime; if it does not know a command, what that means.
fn of_another_version(message: String) -> String {
    if !message.starts_with("not a command: unknown variant") {
        return message;
    }
    format!("the runtime does not know this command: it is of another version than this program, which is {VERSION}")
}

/// The message of a runtime. If the client has not authenticated, it says how a person does that.
fn how_to_authenticate(message: String) -> String {
    if !message.starts_with("not authenticated: send ") {
        return message;
    }
    "not authenticated: this runtime asks for a token; give it with --token-file FILE, or in THEATER_TOKEN".into()
}

/// Why a connection broke. If the two sides do not agree about TLS, it says what to do.
fn broken(error: &FrameError) -> ClientError {
    let of_tls = |error: &io::Error| {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        inner.and_then(|error| match error {
            rustls::Error::InvalidMessage(_) => Some("what listens there does not speak TLS: name it without tls:"),
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                Some("trust who issued its certificate by --authorities FILE")
            }
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => Some("reach it by a name that its certificate is for"),
            _ => None,
        })
    };
    match error {
        FrameError::TooLarge { size, .. } if is_tls_alert(*size) => {
            ClientError::Unexpected("what listens there speaks TLS: name it with --server tls:HOST:PORT".into())
        }
        FrameError::TooLarge { .. } => ClientError::Unexpected(format!(
            "{error}; what listens there speaks another protocol: name a runtime's management address with --server"
        )),
        FrameError::Io(io) => match of_tls(io) {
            Some(remedy) => ClientError::Broken(format!("{io}; {remedy}")),
            None => ClientError::Broken(io.to_string()),
        },
        other => ClientError::Broken(other.to_string()),
    }
}

/// Whether a length is really the first four bytes of a TLS alert, with which a TLS server refuses bytes that are no
/// handshake.
fn is_tls_alert(size: usize) -> bool {
    size >> 16 == 0x1503
}

/// Connects to the first address of the name that answers.
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
    let roots = match authorities {
        None => well_known_roots(),
        Some(path) => {
            let named = |why: String| ClientError::Tls(format!("{}: {why}", path.display()));
            read_at_most(PEM_BYTES, path).and_then(|pem| roots_in(&pem)).map_err(named)?
        }
    };
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned()).map_err(|error| wrong(&error))?;
    ClientConnection::new(client_config(roots), name).map_err(|error| wrong(&error))
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
        for wrong in [
            "",
            ":9000",
            "localhost",
            "localhost:x",
            "localhost:70000",
            "unix:",
            "tls:",
            "tls:host",
            "http://localhost:80",
        ] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }
}
