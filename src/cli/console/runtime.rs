//! The runtime that the console shows: connections to its management server, which are made when they are needed.

use std::time::Duration;

use parking_lot::Mutex;

use crate::base::gate::Gate;
use crate::server::protocol::{Request, Response};
use crate::server::{Client, ClientError, ClientOptions};

/// So many idle connections are kept.
const KEPT_CONNECTIONS: usize = 4;
/// So many questions that are work for the runtime are asked at the same time, and so many wait: past states, differences,
/// searches, traces.
const AT_ONCE: usize = 2;
const WAITING: usize = 32;
/// A runtime that sends nothing for so long does not answer. An actor may take this long for a request.
const PATIENCE: Duration = Duration::from_secs(60);

/// A runtime that may be down now, and be there again later.
pub(super) struct Runtime {
    options: ClientOptions,
    read_only: bool,
    idle: Mutex<Vec<Client>>,
    /// What is work for the runtime passes it.
    pub(super) gate: Gate,
}

impl Runtime {
    pub(super) fn new(options: ClientOptions, read_only: bool) -> Self {
        Self { options, read_only, idle: Mutex::new(Vec::new()), gate: Gate::new(AT_ONCE, WAITING) }
    }

    /// What the console may do: `read` or `control`.
    pub(super) fn role(&self) -> Result<&'static str, ClientError> {
        let answer = match &self.options.token {
            Some(token) => self.ask(&Request::Authenticate { token: token.clone() })?,
            None => self.ask(&Request::Status)?,
        };
        let may_control = !matches!(&answer, Response::Authenticated { role } if role != "control");
        Ok(if may_control && !self.read_only { "control" } else { "read" })
    }

    /// The address of the management server, as a person writes it.
    pub(super) fn endpoint(&self) -> String {
        self.options.endpoint.to_string()
    }

    /// Sends a command that changes nothing, and returns the answer.
    pub(super) fn ask(&self, request: &Request) -> Result<Response, ClientError> {
        self.read(|client| client.ask(request))
    }

    /// A new connection, for what asks several commands in a row.
    pub(super) fn connect(&self) -> Result<Client, ClientError> {
        let client = Client::connect(&self.options)?;
        client.wait_at_most(PATIENCE)?;
        Ok(client)
    }

    /// Sends a command that may change something, once: on a new connection, because an idle one may have broken.
    pub(super) fn tell(&self, request: &Request) -> Result<Response, ClientError> {
        self.connect()?.ask(request)
    }

    /// Lends a connection to `work`, which changes nothing. If an idle connection turns out to have broken, `work` is repeated
    /// on a new one.
    pub(super) fn read<T>(
        &self,
        mut work: impl FnMut(&mut Client) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let idle = self.idle.lock().pop();
        if let Some(mut client) = idle {
            let done = work(&mut client);
            if !is_broken(&done) {
                self.keep(client);
                return done;
            }
        }
        let mut client = self.connect()?;
        let done = work(&mut client);
        if !is_broken(&done) {
            self.keep(client);
        }
        done
    }

    fn keep(&self, client: Client) {
        let mut idle = self.idle.lock();
        if idle.len() < KEPT_CONNECTIONS {
            idle.push(client);
        }
    }
}

/// Whether the connection is of no more use.
fn is_broken<T>(done: &Result<T, ClientError>) -> bool {
    !matches!(done, Ok(_) | Err(ClientError::Refused(_) | ClientError::TooLong))
}
