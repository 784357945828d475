//! The transport of a management connection: TCP, TLS or a Unix socket. One half reads and the other writes, each on a
//! thread of its own, and each with a deadline for its waits.
//!
//! Under TLS the two halves share the session. Its lock is held while bytes are encrypted or decrypted in memory, and
//! never during a wait for the network. After the handshake only the writing half writes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::net::{Deadline, ServerCertificate, TlsSession, read_until_closed, read_within, write_within};

/// Bytes of a socket's send buffer; the kernel keeps twice as much. The buffer is raised once, so that a last frame
/// finds room after what the client has not read.
const SEND_BUFFER: usize = 64 * 1024;
const LAST_SEND_BUFFER: usize = 192 * 1024;
/// How many encrypted bytes are read at a time.
const RECORD_BYTES: usize = 16 * 1024;

/// A connected socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! either {
    ($socket:expr, $stream:ident => $do:expr) => {
        match $socket {
            Socket::Tcp($stream) => $do,
            Socket::Unix($stream) => $do,
        }
    };
}

impl Socket {
    /// Prepares it for use: small frames are sent at once, and the send buffer is small enough to be raised later.
    pub(super) fn prepare(&self) -> io::Result<()> {
        if let Self::Tcp(stream) = self {
            stream.set_nodelay(true)?;
        }
        either!(self, stream => rustix::net::sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER)?);
        Ok(())
    }

    /// A second handle of the same socket.
    pub(super) fn duplicate(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
        }
    }

    /// The address of the client, for the log.
    pub(super) fn peer(&self) -> String {
        match self {
            Self::Tcp(stream) => stream.peer_addr().map_or_else(|_| "(gone)".into(), |peer| peer.to_string()),
            Self::Unix(_) => "the Unix socket".into(),
        }
    }

    /// Shuts one side of it, or both.
    pub(super) fn shut(&self, how: Shutdown) {
        // It may be closed already.
        let _ = either!(self, stream => stream.shutdown(how));
    }

    /// Sends a short text, if there is room for it at once, and closes.
    pub(super) fn say_and_close(self, bytes: &[u8]) {
        // The client may be gone already.
        let _ = either!(&self, stream => stream.set_nonblocking(true).and_then(|()| (&mut &*stream).write(bytes)));
        self.shut(Shutdown::Both);
    }

    fn read_within(&self, buffer: &mut [u8], deadline: Option<Deadline>) -> io::Result<usize> {
        either!(self, stream => read_within(stream, buffer, deadline))
    }

    fn write_within(&self, bytes: &[u8], deadline: Deadline) -> io::Result<usize> {
        either!(self, stream => write_within(stream, bytes, deadline))
    }

    fn make_room(&self) {
        // If the buffer cannot be raised, the last frame waits until the client reads.
        let _ = either!(self, stream => rustix::net::sockopt::set_socket_send_buffer_size(stream, LAST_SEND_BUFFER));
    }
}

type Session = Arc<Mutex<TlsSession>>;

/// Makes both halves of a connection over `socket`. Under TLS this makes the handshake first, which has to end before
/// `deadline`.
pub(super) fn halves(
    socket: Socket,
    tls: Option<&ServerCertificate>,
    deadline: Deadline,
) -> io::Result<(ReadingHalf, WritingHalf)> {
    let writing = socket.duplicate()?;
    let session = match tls {
        Some(certificate) => Some(Arc::new(Mutex::new(shake_hands(&socket, certificate, deadline)?))),
        None => None,
    };
    let reading = ReadingHalf { socket, session: session.clone(), deadline: None };
    Ok((reading, WritingHalf { socket: writing, session, backlog: Vec::new(), written: 0 }))
}

fn shake_hands(socket: &Socket, certificate: &ServerCertificate, deadline: Deadline) -> io::Result<TlsSession> {
    let mut session = certificate.session().map_err(io::Error::other)?;
    let mut raw = vec![0; RECORD_BYTES];
    while session.is_handshaking() {
        let came = socket.read_within(&mut raw, Some(deadline))?;
        if came == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let understood = session.feed(&raw[..came]);
        let mut out = &session.take_out()[..];
        while !out.is_empty() {
            match socket.write_within(out, deadline)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => out = &out[written..],
            }
        }
        understood?;
    }
    Ok(session)
}

/// The half that reads.
pub(super) struct ReadingHalf {
    socket: Socket,
    session: Option<Session>,
    /// When the next byte has to have come; none to wait for as long as that takes.
    pub(super) deadline: Option<Deadline>,
}

impl ReadingHalf {
    /// Reads and throws away the bytes that still come, so that the client does not lose the last answer.
    pub(super) fn linger(&mut self, deadline: Deadline, most_bytes: usize) {
        read_until_closed(|buffer| self.socket.read_within(buffer, Some(deadline)), most_bytes);
    }

    fn decrypted(&mut self, session: &Session, buffer: &mut [u8]) -> io::Result<usize> {
        let mut raw = vec![0; RECORD_BYTES];
        loop {
            if let Some(taken) = session.lock().take(buffer) {
                return Ok(taken);
            }
            let came = self.socket.read_within(&mut raw, self.deadline)?;
            if came == 0 {
                return Ok(0);
            }
            session.lock().feed(&raw[..came])?;
        }
    }
}

impl Read for ReadingHalf {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.session.clone() {
            None => self.socket.read_within(buffer, self.deadline),
            Some(session) => self.decrypted(&session, buffer),
        }
    }
}

/// The half that writes. Bytes that it could not write yet stay in its backlog, so that a frame is never cut.
pub(super) struct WritingHalf {
    pub(super) socket: Socket,
    session: Option<Session>,
    backlog: Vec<u8>,
    written: usize,
}

impl WritingHalf {
    /// Appends a frame to the bytes that are still to be written.
    pub(super) fn put_frame(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        let Some(session) = &self.session else {
            if self.backlog.is_empty() {
                self.backlog = bytes;
            } else {
                self.backlog.extend_from_slice(&bytes);
            }
            return Ok(());
        };
        let mut session = session.lock();
        session.encrypt(&bytes)?;
        self.backlog.append(&mut session.take_out());
        Ok(())
    }

    /// Writes the appended frames. One deadline holds for all of them, so that a client that reads a byte now and then
    /// is also too slow.
    pub(super) fn flush(&mut self, deadline: Deadline) -> io::Result<()> {
        while self.written < self.backlog.len() {
            match self.socket.write_within(&self.backlog[self.written..], deadline) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) => return Err(error),
            }
        }
        self.backlog.clear();
        // The memory of one large frame is not kept for as long as the connection lasts.
        self.backlog.shrink_to(SEND_BUFFER);
        self.written = 0;
        Ok(())
    }

    /// Raises the socket's send buffer, so that a frame that is put now finds room after what the client has not read.
    pub(super) fn make_room(&self) {
        self.socket.make_room();
    }
}

/// Whether a read or a write failed because its deadline had passed.
pub(super) fn is_late(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::TimedOut
}
