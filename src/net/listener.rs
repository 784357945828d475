//! Binding a TCP address, so that many clients may connect before they are accepted.

use std::io;
use std::net::{SocketAddr, TcpListener};

use super::inherited;

/// How many connections the system keeps for a listener until they are accepted (its backlog). The standard library
/// asks for 128, which is less than a burst of clients.
pub(super) const BACKLOG: i32 = 1_024;

/// Listens at `address`; port 0 stands for any free port. Accepting a connection never blocks. A socket of this address that the
/// process was started with is used as it is.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = match inherited::take(address) {
        Some(inherited) => inherited?,
        None => TcpListener::bind(address).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => inherited::in_the_way_of(address).unwrap_or(error),
            _ => error,
        })?,
    };
    rustix::net::listen(&listener, BACKLOG)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
