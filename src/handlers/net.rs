//! What listeners have in common: binding with a remedy, a bell for a thread that polls, numbered threads.

use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crossbeam_channel::Sender;

use crate::base::thread::NAME_BYTES;

/// Clients that the system lets wait to be accepted; what std asks for (128) is less than a burst.
pub(super) const BACKLOG: i32 = 1_024;

/// The first address of `host`.
pub(super) fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let first = (host, port).to_socket_addrs()?.next();
    first.ok_or_else(|| io::Error::other("the host has no address"))
}

/// Why the handler `kind` does not listen, for the person who started the actor.
pub(super) fn cannot_listen(kind: &str, host: &str, port: u16, error: &io::Error) -> String {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => "; stop what listens there, or give another port (0 takes any free one)",
        _ => "",
    };
    format!("{kind} cannot listen on {host}:{port}: {error}{remedy}")
}

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
    fn the_number_of_a_connection_always_fits_its_threads_name() {
        assert_eq!(numbered("http-8080", 2), "http-8080-2");
        assert_eq!(numbered("http-65535", 16_384), "http-6553-16384");
        assert_eq!(numbered("http-åååååååååå", 256).len(), 15);
    }
}
