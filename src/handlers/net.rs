//! What listeners have in common: where they listen, binding with a remedy, a bell for a thread that polls, numbered
//! threads.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::ActorRef;
use crate::base::thread::NAME_BYTES;
use crate::system::{ActorInfo, Registry};

/// Clients that the system lets wait to be accepted; what std asks for (128) is less than a burst.
pub(super) const BACKLOG: i32 = 1_024;

/// Where a handler listens: `host` and `port` of its configuration.
pub(super) struct Place {
    kind: &'static str,
    host: String,
    port: u16,
}

impl Place {
    /// Of the handler `kind`; without a host it is this machine alone that gets in.
    pub(super) fn new(kind: &'static str, host: Option<String>, port: u16) -> Self {
        Self { kind, host: host.unwrap_or_else(|| "127.0.0.1".to_owned()), port }
    }

    /// Has `serve` listen on the first address of the host. The error is for the person who started the actor.
    pub(super) fn listen<T>(
        &self,
        actor: &ActorRef,
        serve: impl FnOnce(SocketAddr) -> io::Result<T>,
    ) -> Result<T, String> {
        let address = self.resolve().map_err(|error| self.cannot(&error, None))?;
        serve(address).map_err(|error| self.cannot(&error, who_listens(&actor.theater.registry, address)))
    }

    fn resolve(&self) -> io::Result<SocketAddr> {
        let first = (self.host.as_str(), self.port).to_socket_addrs()?.next();
        first.ok_or_else(|| io::Error::other("the host has no address"))
    }

    fn cannot(&self, error: &io::Error, neighbour: Option<String>) -> String {
        let Self { kind, host, port } = self;
        let remedy = match (error.kind(), neighbour) {
            (io::ErrorKind::AddrInUse, Some(neighbour)) => {
                format!("; {neighbour} listens there: stop it, or give another port (0 takes any free one)")
            }
            (io::ErrorKind::AddrInUse, None) => {
                "; stop what listens there, or give another port (0 takes any free one)".to_owned()
            }
            (io::ErrorKind::PermissionDenied, _) => "; ports below 1024 take a privilege: give a higher one".to_owned(),
            (io::ErrorKind::AddrNotAvailable, _) => {
                "; that is no address of this machine: leave out \"host\" for this machine alone, or \"0.0.0.0\" lets \
                 others in"
                    .to_owned()
            }
            (io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory, _) => String::new(),
            _ if host.parse::<std::net::IpAddr>().is_err() && host != "localhost" => {
                "; is \"host\" the name of this machine?".to_owned()
            }
            _ => String::new(),
        };
        let host = if host.is_empty() { "\"\"" } else { host };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("{kind} cannot listen on {host}:{port}: {error}{remedy}")
    }
}

/// The actor of this runtime that is in the way at `address`, if it is one.
fn who_listens(registry: &Registry, address: SocketAddr) -> Option<String> {
    let is_in_the_way = |other: SocketAddr| {
        let (one, other_ip) = (address.ip(), other.ip());
        other.port() == address.port() && (one == other_ip || one.is_unspecified() || other_ip.is_unspecified())
    };
    let listens = |actor: &ActorInfo| actor.addresses.iter().any(|address| is_in_the_way(address.socket));
    registry.list().into_iter().find(listens).map(|actor| format!("actor \"{}\" ({})", actor.name, actor.id))
}

/// Binds `address`; port 0 is any free one.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// How much of what was written to a socket its other end has not taken (acknowledged) yet; 0 where the system does not
/// say.
pub(super) fn untaken(socket: &TcpStream) -> u64 {
    // SAFETY: SIOCOUTQ writes one `int`, and does nothing else.
    let untaken = unsafe { rustix::ioctl::ioctl(socket, rustix::ioctl::Getter::<SIOCOUTQ, i32>::new()) };
    untaken.ok().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0)
}

/// Of Linux's `asm-generic/ioctls.h`, where it is called `TIOCOUTQ`.
const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;

/// Wakes a thread that polls.
pub(super) struct Bell(UnixStream);

impl Bell {
    /// A bell and what it is heard by.
    pub(super) fn new() -> io::Result<(Arc<Self>, UnixStream)> {
        let (bell, rung) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rung.set_nonblocking(true)?;
        Ok((Arc::new(Self(bell)), rung))
    }

    /// Where it cannot be rung because it has been so often, the thread will wake anyway.
    pub(super) fn ring(&self) {
        let _ = (&self.0).write(&[0]);
    }
}

/// Gives a connection's place back, however it ended.
pub(super) struct Leaving {
    pub(super) place: usize,
    pub(super) leave: Sender<usize>,
    pub(super) bell: Arc<Bell>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let _ = self.leave.send(self.place);
        self.bell.ring();
    }
}

/// `http-8080-2`: the listener's name, cut where the number would not fit behind it.
pub(super) fn numbered(name: &str, number: usize) -> String {
    let number = format!("-{number}");
    let room = NAME_BYTES.saturating_sub(number.len());
    format!("{}{number}", &name[..name.floor_char_boundary(room)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_is_taken_is_named_with_what_to_do() {
        let taken = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let port = taken.local_addr().expect("bound").port();
        let place = Place::new("http-server", None, port);
        let why = place.resolve().and_then(bind).map_err(|error| place.cannot(&error, None)).expect_err("it is taken");
        assert!(why.starts_with(&format!("http-server cannot listen on 127.0.0.1:{port}: ")), "{why}");
        assert!(why.contains("another port"), "{why}");
        let place = Place::new("http-server", Some("::1".into()), 80);
        let why = place.cannot(&io::ErrorKind::PermissionDenied.into(), None);
        assert!(why.starts_with("http-server cannot listen on [::1]:80: "), "{why}");
        let why = place.cannot(&io::ErrorKind::AddrNotAvailable.into(), None);
        assert!(why.contains("no address of this machine"), "{why}");
        let place = Place::new("http-server", Some(String::new()), 80);
        let why = place.cannot(&io::Error::other("no such name"), None);
        assert!(why.contains("\"\":80: no such name; is \"host\" the name of this machine?"), "{why}");
    }

    #[test]
    fn the_number_of_a_connection_always_fits_its_threads_name() {
        assert_eq!(numbered("http-8080", 2), "http-8080-2");
        assert_eq!(numbered("http-65535", 16_384), "http-6553-16384");
        assert_eq!(numbered("http-åååååååååå", 256).len(), 15);
    }
}
