//! The address of a listener: the scheme and the socket by which an actor is reached over the network.

use std::fmt;
use std::net::SocketAddr;

/// Where a listener of an actor is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Address {
    /// `http` or `ws`, and `https` or `wss` over TLS.
    pub scheme: &'static str,
    /// The IP address and the port.
    pub socket: SocketAddr,
}

/// As a URL.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/", self.scheme, self.socket)
    }
}
