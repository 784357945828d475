//! Reading from and writing to a socket before a deadline, and asking how much of what was written its client has
//! taken.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{SendFlags, send};

use super::deadline::Deadline;

/// Reads what comes next; 0 bytes are the end. Without a deadline it waits for as long as that takes. After the
/// deadline this is an error of the kind [`io::ErrorKind::TimedOut`].
pub(crate) fn read_within(socket: impl AsFd, buffer: &mut [u8], deadline: Option<Deadline>) -> io::Result<usize> {
    loop {
        set_socket_timeout(&socket, Timeout::Recv, deadline.map(Deadline::left).transpose()?)?;
        match rustix::io::read(&socket, &mut *buffer) {
            // A signal, or the timeout of this one call: the deadline decides whether that was the end.
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

/// Writes some of `bytes`, and returns how many. After the deadline this is an error of the kind
/// [`io::ErrorKind::TimedOut`].
pub(crate) fn write_within(socket: impl AsFd, bytes: &[u8], deadline: Deadline) -> io::Result<usize> {
    loop {
        set_socket_timeout(&socket, Timeout::Send, Some(deadline.left()?))?;
        match send(&socket, bytes, SendFlags::NOSIGNAL) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            done => return Ok(done?),
        }
    }
}

/// How many of the bytes written to `socket` its other end has not taken (acknowledged) yet; 0 where the system does
/// not tell.
pub(crate) fn untaken(socket: &TcpStream) -> u64 {
    // SAFETY: SIOCOUTQ writes one `int`, and does nothing else.
    let untaken = unsafe { rustix::ioctl::ioctl(socket, rustix::ioctl::Getter::<SIOCOUTQ, i32>::new()) };
    untaken.ok().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0)
}

/// From Linux's `asm-generic/ioctls.h`, where it is called `TIOCOUTQ`.
const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
