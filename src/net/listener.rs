//! Binding a TCP address, so that many clients may connect before they are accepted.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// How many connections the system keeps for a listener until they are accepted (its backlog). The standard library
/// asks for 128, which is less than a burst of clients.
pub(super) const BACKLOG: i32 = 1_024;

/// Listens at `address`; port 0 stands for any free port. Accepting a connection never blocks.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
