//! The management server: what a [`TheaterHandle`] can do, over TCP.
//!
//! Frames and commands are specified in `docs/management.md`. Each connection has two threads: one reads and carries
//! out commands, one writes answers and pushes events. Nothing is done here that a handle cannot do.

mod client;
mod connection;
mod frame;
pub(crate) mod protocol;
mod subscription;

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

pub(crate) use client::unexpected;
pub use client::{Client, ClientError};

use crate::base::limits::MANAGEMENT_CONNECTIONS;
use crate::base::thread::{self, JoinHandle};
use crate::system::TheaterHandle;
use connection::Connection;

/// A listening management server. Dropping it closes every connection and joins every thread.
pub struct TheaterServer {
    address: SocketAddr,
    listener: Arc<TcpListener>,
    acceptor: Option<JoinHandle>,
}

/// Why the server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: {error}; is another runtime running? Give this one another address with --listen"
    )]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// Anyone could steer the runtime.
    #[error(
        "{0} can be reached from other machines, and the management server has no authentication yet: listen on 127.0.0.1 or [::1]"
    )]
    NotLoopback(SocketAddr),
    /// No thread to be had.
    #[error("cannot start the management server: {0}")]
    Thread(io::Error),
}

impl TheaterServer {
    /// Listens on `address`; port 0 takes any free one.
    pub fn start(address: SocketAddr, theater: TheaterHandle) -> Result<Self, ServerError> {
        if !address.ip().is_loopback() {
            return Err(ServerError::NotLoopback(address));
        }
        let listener = TcpListener::bind(address).map_err(|error| ServerError::Bind { address, error })?;
        let address = listener.local_addr().map_err(|error| ServerError::Bind { address, error })?;
        let listener = Arc::new(listener);
        let accepting = Arc::clone(&listener);
        let acceptor = thread::spawn("mgmt", move || accept(&accepting, &theater)).map_err(ServerError::Thread)?;
        Ok(Self { address, listener, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TheaterServer {
    fn drop(&mut self) {
        // Shutting a listening socket down wakes the thread that accepts on it.
        let _ = rustix::net::shutdown(&*self.listener, rustix::net::Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            // Its panic was logged.
            let _ = acceptor.join();
        }
    }
}

/// Takes connections until the listener is shut down; then closes and joins those that are left.
fn accept(listener: &TcpListener, theater: &TheaterHandle) {
    let mut connections: Vec<Connection> = Vec::new();
    let mut number = 0;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                connections = reap(connections);
                if connections.len() >= MANAGEMENT_CONNECTIONS {
                    refuse(stream);
                    continue;
                }
                number += 1;
                match Connection::start(number, stream, theater.clone()) {
                    Ok(connection) => connections.push(connection),
                    Err(error) => log::warn!("cannot serve a management connection: {error}"),
                }
            }
            // The listener was shut down.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => break,
            Err(error) => {
                log::warn!("cannot accept a management connection: {error}");
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
    }
    connections.into_iter().for_each(Connection::close);
}

/// Joins the connections that have ended.
fn reap(connections: Vec<Connection>) -> Vec<Connection> {
    let (ended, open): (Vec<_>, Vec<_>) = connections.into_iter().partition(Connection::has_ended);
    ended.into_iter().for_each(Connection::close);
    open
}

fn refuse(stream: TcpStream) {
    let message = format!("too many connections: the limit is {MANAGEMENT_CONNECTIONS}");
    let frame = frame::encode(&protocol::Response::Error { message });
    // The client may be gone already.
    let _ = frame::send(&stream, &frame);
    let _ = stream.shutdown(Shutdown::Both);
}
