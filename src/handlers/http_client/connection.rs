//! One connection to a server, plain or TLS: it sends and receives at once, and every wait ends in time or when the
//! exchange is given up.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::explain::Failure;

use crate::base::clock;

/// Bytes read at a time.
const PIECE_BYTES: usize = 16 * 1024;

/// Gives an exchange up, from another thread. A clone gives up the same one.
#[derive(Clone, Debug)]
pub(super) struct Stopper(Arc<OwnedFd>);

impl Stopper {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?)))
    }

    /// The exchange's wait ends at once, and each of its later waits.
    pub(super) fn give_up(&self) {
        // It can only fail where the count would overflow, and then it was given up already.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }
}

/// What a connection is made with.
pub(super) struct Way<'a> {
    pub(super) host: &'a str,
    /// Where TLS is spoken.
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) connect_until: Instant,
    /// The end of the exchange.
    pub(super) until: Instant,
    pub(super) stopper: &'a Stopper,
}

pub(super) struct Connection<'a> {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    until: Instant,
    stopper: &'a Stopper,
}

impl<'a> Connection<'a> {
    /// Connects to the first of the addresses that accepts, and shakes hands where that is TLS.
    pub(super) fn open(addresses: &[SocketAddr], way: Way<'a>) -> Result<Self, Failure> {
        let socket = connect(addresses, way.connect_until.min(way.until))?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let tls = way.tls.map(|config| {
            let name = ServerName::try_from(way.host.to_owned());
            let name = name.map_err(|_| rustls::Error::General(format!("{} is no name of a server", way.host)))?;
            ClientConnection::new(config, name).map(Box::new)
        });
        let tls = tls.transpose().map_err(Failure::Tls)?;
        let mut connection = Self { socket, tls, until: way.connect_until.min(way.until), stopper: way.stopper };
        let shaken = connection.shake_hands();
        if matches!(shaken, Err(Failure::Timeout)) && way.connect_until < way.until {
            return Err(Failure::ConnectTimeout);
        }
        shaken?;
        connection.until = way.until;
        Ok(connection)
    }

    fn shake_hands(&mut self) -> Result<(), Failure> {
        loop {
            let Some(tls) = &mut self.tls else { return Ok(()) };
            if !tls.is_handshaking() {
                return Ok(());
            }
            match tls.complete_io(&mut self.socket) {
                // It has to wait for the socket, or took a part of what came.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let writes = tls.wants_write();
                    self.wait(writes)?;
                }
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
        }
    }

    /// Sends `request` and hands what comes back to `take`, both at once, until `take` says that it is enough, or the
    /// other side ends the connection. A server may answer before it has read the request, read no more of it, and
    /// reset the connection: its answer counts, the sending does not.
    pub(super) fn converse(
        &mut self,
        request: &[&[u8]],
        mut take: impl FnMut(&[u8]) -> Result<bool, Failure>,
    ) -> Result<Ended, Failure> {
        let mut unsent: Vec<&[u8]> = request.iter().copied().filter(|part| !part.is_empty()).collect();
        unsent.reverse();
        let mut sends = true;
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            match self.receive(&mut buffer) {
                Ok(0) => return Ok(Ended { by_reset: false, sent: sends && unsent.is_empty() }),
                Ok(came) => {
                    if take(&buffer[..came])? {
                        return Ok(Ended { by_reset: false, sent: sends && unsent.is_empty() });
                    }
                    continue;
                }
                Err(error) if is_for_later(&error) => {}
                Err(error) if super::explain::is_lost(error.kind()) => {
                    return Ok(Ended { by_reset: true, sent: sends && unsent.is_empty() });
                }
                Err(error) => return Err(error.into()),
            }
            let pending = sends && (!unsent.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write()));
            if pending {
                match self.transmit(&mut unsent) {
                    Ok(()) => continue,
                    Err(error) if is_for_later(&error) => {}
                    // What the server said before it stopped reading is still to be read.
                    Err(_) => sends = false,
                }
            }
            self.wait(pending && sends)?;
        }
    }

    /// What has come, as far as there is anything now; 0 at the end.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else { return self.socket.read(buffer) };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                done => return done,
            }
            tls.read_tls(&mut self.socket)?;
            tls.process_new_packets().map_err(|wrong| io::Error::new(ErrorKind::InvalidData, wrong))?;
        }
    }

    /// Sends some of what is unsent; the last element comes first.
    fn transmit(&mut self, unsent: &mut Vec<&[u8]>) -> io::Result<()> {
        let sent = match &mut self.tls {
            None => match unsent.last() {
                Some(next) => self.socket.write(next)?,
                None => 0,
            },
            Some(tls) if tls.wants_write() => {
                tls.write_tls(&mut self.socket)?;
                0
            }
            Some(tls) => match unsent.last() {
                Some(next) => tls.writer().write(next)?,
                None => 0,
            },
        };
        if let Some(next) = unsent.pop() {
            let left = &next[sent..];
            if !left.is_empty() {
                unsent.push(left);
            }
        }
        Ok(())
    }

    /// Waits until something has come, or, where something is to be sent, until there is room for it.
    fn wait(&self, sends: bool) -> Result<(), Failure> {
        loop {
            let left = clock::until(self.until);
            if left.is_zero() {
                return Err(Failure::Timeout);
            }
            let wanted = if sends { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            let mut fds = [PollFd::new(&self.socket, wanted), PollFd::new(&*self.stopper.0, PollFlags::IN)];
            match poll(&mut fds, Some(&timespec(left))) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
            if !fds[1].revents().is_empty() {
                return Err(Failure::GivenUp);
            }
            if !fds[0].revents().is_empty() {
                return Ok(());
            }
        }
    }
}

/// How a conversation came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// The other side broke the connection off; what it said before was taken.
    pub(super) by_reset: bool,
    /// The whole request was sent.
    pub(super) sent: bool,
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Rounded up: a wait that ends a moment early would be made again for nothing.
fn timespec(time: Duration) -> Timespec {
    let ms = time.as_millis() + 1;
    Timespec { tv_sec: i64::try_from(ms / 1_000).unwrap_or(i64::MAX), tv_nsec: (ms % 1_000 * 1_000_000) as _ }
}

/// Each address gets an equal share of the time that is left.
fn connect(addresses: &[SocketAddr], until: Instant) -> Result<TcpStream, Failure> {
    let mut last = Failure::ConnectTimeout;
    for (at, address) in addresses.iter().enumerate() {
        let left = clock::until(until) / u32::try_from(addresses.len() - at).unwrap_or(1);
        if left.is_zero() {
            return Err(Failure::ConnectTimeout);
        }
        match TcpStream::connect_timeout(address, left) {
            Ok(socket) => return Ok(socket),
            Err(error) if error.kind() == ErrorKind::TimedOut => last = Failure::ConnectTimeout,
            Err(error) => last = Failure::Io(error),
        }
    }
    Err(last)
}
