//! One connection to a server, with or without TLS. It sends and receives at the same time. Every wait ends by a
//! deadline, and when the exchange is given up.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::explain::ExchangeFailure;

use crate::net::{Deadline, Wakeup, wait_until_ready};

/// Bytes read at a time.
const PIECE_BYTES: usize = 16 * 1024;

/// How to connect to a server.
pub(super) struct Route<'a> {
    /// The name that the server's certificate has to have.
    pub(super) host: &'a str,
    /// The configuration of TLS, if TLS is spoken.
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) connect_until: Deadline,
    /// When the exchange has to end.
    pub(super) until: Deadline,
    /// Ends every wait when the exchange is given up.
    pub(super) give_up: &'a Wakeup,
}

/// A connection to a server.
pub(super) struct OutboundConnection<'a> {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    until: Deadline,
    give_up: &'a Wakeup,
}

impl<'a> OutboundConnection<'a> {
    /// Connects to the first of the addresses that accepts, and makes the TLS handshake if TLS is spoken.
    pub(super) fn open(addresses: &[SocketAddr], route: Route<'a>) -> Result<Self, ExchangeFailure> {
        let socket = connect(addresses, route.connect_until.min(route.until))?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let tls = route.tls.map(|config| {
            let name = ServerName::try_from(route.host.to_owned());
            let name = name.map_err(|_| rustls::Error::General(format!("{} is no name of a server", route.host)))?;
            ClientConnection::new(config, name).map(Box::new)
        });
        let tls = tls.transpose().map_err(ExchangeFailure::Tls)?;
        let mut connection = Self { socket, tls, until: route.connect_until.min(route.until), give_up: route.give_up };
        let shaken = connection.shake_hands();
        if matches!(shaken, Err(ExchangeFailure::Timeout)) && route.connect_until < route.until {
            return Err(ExchangeFailure::ConnectTimeout);
        }
        shaken?;
        connection.until = route.until;
        Ok(connection)
    }

    fn shake_hands(&mut self) -> Result<(), ExchangeFailure> {
        loop {
            let Some(tls) = &mut self.tls else { return Ok(()) };
            if !tls.is_handshaking() {
                return Ok(());
            }
            match tls.complete_io(&mut self.socket) {
                // The handshake has to wait for the socket, or it has used only a part of the bytes that came.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let writes = tls.wants_write();
                    self.wait(writes)?;
                }
                Err(error) => return Err(error.into()),
                Ok(_) => {}
            }
        }
    }

    /// Sends `request` and, at the same time, hands what comes back to `take`, until `take` returns true because it
    /// needs no more, or the other side ends the connection. A server may answer before it has read the whole request,
    /// read no more of it, and reset the connection. Then its answer counts, and the failure to send does not.
    pub(super) fn converse(
        &mut self,
        request: &[&[u8]],
        mut take: impl FnMut(&[u8]) -> Result<bool, ExchangeFailure>,
    ) -> Result<ConversationEnd, ExchangeFailure> {
        let mut unsent: Vec<&[u8]> = request.iter().copied().filter(|part| !part.is_empty()).collect();
        unsent.reverse();
        let mut sends = true;
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            match self.receive(&mut buffer) {
                Ok(0) => return Ok(ConversationEnd { by_reset: false, sent: sends && unsent.is_empty() }),
                Ok(came) => {
                    if take(&buffer[..came])? {
                        return Ok(ConversationEnd { by_reset: false, sent: sends && unsent.is_empty() });
                    }
                    continue;
                }
                Err(error) if is_for_later(&error) => {}
                Err(error) if super::explain::is_lost(error.kind()) => {
                    return Ok(ConversationEnd { by_reset: true, sent: sends && unsent.is_empty() });
                }
                Err(error) => return Err(error.into()),
            }
            let pending = sends && (!unsent.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.wants_write()));
            if pending {
                match self.transmit(&mut unsent) {
                    Ok(()) => continue,
                    Err(error) if is_for_later(&error) => {}
                    // The answer that the server sent before it stopped reading is still to be read.
                    Err(_) => sends = false,
                }
            }
            self.wait(pending && sends)?;
        }
    }

    /// Reads the bytes that have come, without waiting; 0 bytes mean the end.
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

    /// Sends some of the bytes that were not sent yet. The last element is sent first.
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

    /// Waits until something has come or, if something is to be sent, until there is room for it.
    fn wait(&self, sends: bool) -> Result<(), ExchangeFailure> {
        loop {
            let left = self.until.left().map_err(|_| ExchangeFailure::Timeout)?;
            let wanted = if sends { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            let mut fds = [PollFd::new(&self.socket, wanted), PollFd::new(self.give_up, PollFlags::IN)];
            wait_until_ready(&mut fds, Some(left))?;
            if !fds[1].revents().is_empty() {
                return Err(ExchangeFailure::GivenUp);
            }
            if !fds[0].revents().is_empty() {
                return Ok(());
            }
        }
    }
}

/// How a conversation with a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConversationEnd {
    /// The other side reset the connection. The bytes that came before the reset were handed over.
    pub(super) by_reset: bool,
    /// The whole request was sent.
    pub(super) sent: bool,
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Connects to the first address that accepts. Each address gets an equal share of the time that is left.
fn connect(addresses: &[SocketAddr], until: Deadline) -> Result<TcpStream, ExchangeFailure> {
    let mut last = ExchangeFailure::ConnectTimeout;
    for (at, address) in addresses.iter().enumerate() {
        let left = until.left().map_err(|_| ExchangeFailure::ConnectTimeout)?;
        let left = left / u32::try_from(addresses.len() - at).unwrap_or(1);
        if left.is_zero() {
            return Err(ExchangeFailure::ConnectTimeout);
        }
        match TcpStream::connect_timeout(address, left) {
            Ok(socket) => return Ok(socket),
            Err(error) if error.kind() == ErrorKind::TimedOut => last = ExchangeFailure::ConnectTimeout,
            Err(error) => last = ExchangeFailure::Io(error),
        }
    }
    Err(last)
}
