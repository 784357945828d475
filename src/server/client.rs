//! A blocking client of the management server, as the command line uses it.

use std::collections::VecDeque;
use std::io::{self, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::frame;
use super::protocol::{Request, Response};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a client got no answer, or not the one it asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error(
        "no runtime answers at {address}: {error}; start one with `theater run MANIFEST`, or name another with --server"
    )]
    Connect {
        /// Where it was looked for.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The connection broke.
    #[error("the connection to the runtime broke: {0}")]
    Broken(String),
    /// The runtime's own words.
    #[error("{0}")]
    Refused(String),
    /// The other side speaks something else.
    #[error("the runtime answered something else than asked for: {0}")]
    Unexpected(String),
}

/// A connection to a running theater.
pub struct Client {
    source: BufReader<TcpStream>,
    /// Events that came while an answer was awaited.
    pushed: VecDeque<Response>,
}

/// A stream of one actor's events.
pub struct Subscription {
    client: Client,
}

impl Client {
    /// Connects to the management server at `address`.
    pub fn connect(address: SocketAddr) -> Result<Self, ClientError> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|error| ClientError::Connect { address, error })?;
        Ok(Self { source: BufReader::new(stream), pushed: VecDeque::new() })
    }

    /// Asks, and waits for the answer; a refusal is an error.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        let broken = |error: io::Error| ClientError::Broken(error.to_string());
        frame::send(self.source.get_ref(), &frame::encode(request)).map_err(broken)?;
        loop {
            match self.receive()? {
                Response::Error { message } => return Err(ClientError::Refused(message)),
                event @ Response::ActorEvent { .. } => self.pushed.push_back(event),
                response => return Ok(response),
            }
        }
    }

    /// Subscribes to an actor's events from sequence `from` on, or from now.
    pub(crate) fn subscribe(mut self, id: String, from: Option<u64>) -> Result<Subscription, ClientError> {
        match self.ask(&Request::SubscribeToActor { id, from })? {
            Response::Subscribed { .. } => Ok(Subscription { client: self }),
            other => Err(unexpected(&other)),
        }
    }

    fn receive(&mut self) -> Result<Response, ClientError> {
        let json = frame::receive(&mut self.source).map_err(|error| ClientError::Broken(error.to_string()))?;
        let json = json.ok_or_else(|| ClientError::Broken("it was closed".into()))?;
        serde_json::from_slice(&json).map_err(|error| ClientError::Unexpected(error.to_string()))
    }
}

impl Subscription {
    /// The next event; waits for it.
    pub(crate) fn next(&mut self) -> Result<super::protocol::PushedEvent, ClientError> {
        let response = match self.client.pushed.pop_front() {
            Some(pushed) => pushed,
            None => self.client.receive()?,
        };
        match response {
            Response::ActorEvent { event, .. } => Ok(event),
            Response::Error { message } => Err(ClientError::Refused(message)),
            other => Err(unexpected(&other)),
        }
    }
}

pub(crate) fn unexpected(response: &Response) -> ClientError {
    ClientError::Unexpected(format!("{response:?}").chars().take(200).collect())
}
