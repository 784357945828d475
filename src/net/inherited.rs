//! Listening sockets that this process was started with, as systemd's socket activation gives them: their addresses are not
//! bound, but taken from here. Clients can connect to them while nobody listens, and wait.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd as _;

use listenfd::ListenFd;
use parking_lot::Mutex;

/// They are kept until the process ends: an actor that listens again after a restart finds its socket here.
static INHERITED: Mutex<Vec<TcpListener>> = Mutex::new(Vec::new());

/// Takes over the TCP sockets that the environment announces (`LISTEN_FDS`), and returns their addresses. It is called once, before
/// other threads run. An error names a socket that is not one of TCP, or does not listen.
pub(crate) fn inherit() -> io::Result<Vec<SocketAddr>> {
    let mut announced = ListenFd::from_env();
    let mut inherited = INHERITED.lock();
    for number in 0..announced.len() {
        let socket = announced.take_tcp_listener(number).map_err(|error| {
            io::Error::new(error.kind(), format!("the inherited socket {number} is no listening TCP socket: {error}"))
        })?;
        inherited.extend(socket);
    }
    inherited.iter().map(TcpListener::local_addr).collect()
}

/// The addresses of the sockets that were taken over.
pub(crate) fn inherited_addresses() -> Vec<SocketAddr> {
    INHERITED.lock().iter().filter_map(|socket| socket.local_addr().ok()).collect()
}

/// The inherited socket of this address, if there is one.
pub(super) fn take(address: SocketAddr) -> Option<io::Result<TcpListener>> {
    let inherited = INHERITED.lock();
    let socket = inherited.iter().find(|socket| socket.local_addr().is_ok_and(|its| its == address))?;
    Some(match is_lent(socket) {
        Ok(false) => socket.try_clone(),
        Ok(true) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    })
}

/// The addresses of the sockets that nobody in this process has taken: their clients wait.
pub(crate) fn unused_addresses() -> Vec<SocketAddr> {
    let inherited = INHERITED.lock();
    let unused = inherited.iter().filter(|socket| is_lent(socket).is_ok_and(|is_lent| !is_lent));
    unused.filter_map(|socket| socket.local_addr().ok()).collect()
}

/// What to say if `address` cannot be bound because a socket of another address, with the same port, was inherited.
pub(super) fn in_the_way_of(address: SocketAddr) -> Option<io::Error> {
    let covers =
        |its: &SocketAddr| its.port() == address.port() && (its.ip().is_unspecified() || address.ip().is_unspecified());
    let its = inherited_addresses().into_iter().find(covers)?;
    let why = format!(
        "the service manager has opened {its} for this process, which is another address: use {} here, or have it open {address}",
        its.ip()
    );
    Some(io::Error::new(io::ErrorKind::ResourceBusy, why))
}

/// Whether somebody in this process has a copy of the socket: more of its descriptors than this one stand for the same socket.
fn is_lent(socket: &TcpListener) -> io::Result<bool> {
    let own = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd()))?;
    let entries = fs::read_dir("/proc/self/fd")?.flatten();
    Ok(entries.filter(|entry| fs::read_link(entry.path()).is_ok_and(|other| other == own)).count() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inherited_socket_is_lent_to_one_listener_at_a_time() {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("an address");
        assert!(take(address).is_none());
        INHERITED.lock().push(socket);
        let first = take(address).expect("inherited").expect("lent");
        assert_eq!(take(address).expect("inherited").expect_err("lent already").kind(), io::ErrorKind::AddrInUse);
        assert!(!unused_addresses().contains(&address));
        drop(first);
        assert!(unused_addresses().contains(&address));
        take(address).expect("inherited").expect("lent again");
    }
}
