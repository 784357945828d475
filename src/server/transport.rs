//! The bytes of a connection, over TCP, TLS or a Unix socket: one half reads, another writes, each on its own thread
//! and each with a deadline for what it waits for.
//!
//! Under TLS the two halves share the session. Its lock is held while bytes are encrypted or decrypted in memory, never
//! while one waits for the network. After the handshake the writing half alone writes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::{ServerConfig, ServerConnection};

use crate::base::clock;

/// The kernel keeps twice as much. It is raised once, so that a last frame finds room behind what was not read.
const SEND_BUFFER: usize = 64 * 1024;
const LAST_SEND_BUFFER: usize = 192 * 1024;
/// Bytes encrypted at a time.
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
    /// Readies it for use: small frames leave at once, and the send buffer leaves room to be raised.
    pub(super) fn prepare(&self) -> io::Result<()> {
        if let Self::Tcp(stream) = self {
            stream.set_nodelay(true)?;
        }
        either!(self, stream => rustix::net::sockopt::set_socket_send_buffer_size(stream, SEND_BUFFER)?);
        Ok(())
    }

    /// Another handle of the same socket.
    pub(super) fn duplicate(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => stream.try_clone().map(Self::Tcp),
            Self::Unix(stream) => stream.try_clone().map(Self::Unix),
        }
    }

    /// Who is at the other end, for the log.
    pub(super) fn peer(&self) -> String {
        match self {
            Self::Tcp(stream) => stream.peer_addr().map_or_else(|_| "(gone)".into(), |peer| peer.to_string()),
            Self::Unix(_) => "the Unix socket".into(),
        }
    }

    /// It may be closed already.
    pub(super) fn shut(&self, how: Shutdown) {
        let _ = either!(self, stream => stream.shutdown(how));
    }

    /// Says one short thing, if there is room for it at once, and closes.
    pub(super) fn say_and_close(self, bytes: &[u8]) {
        // The other side may be gone already.
        let _ = either!(&self, stream => stream.set_nonblocking(true).and_then(|()| (&mut &*stream).write(bytes)));
        self.shut(Shutdown::Both);
    }

    fn read_within(&self, buffer: &mut [u8], deadline: Option<Instant>) -> io::Result<usize> {
        let left = deadline.map(left_until).transpose()?;
        either!(self, stream => {
            stream.set_read_timeout(left)?;
            (&mut &*stream).read(buffer)
        })
    }

    fn write_within(&self, bytes: &[u8], deadline: Instant) -> io::Result<usize> {
        let left = left_until(deadline)?;
        either!(self, stream => {
            stream.set_write_timeout(Some(left))?;
            (&mut &*stream).write(bytes)
        })
    }

    fn make_room(&self) {
        // Where it cannot be raised, the last frame waits for the reader.
        let _ = either!(self, stream => rustix::net::sockopt::set_socket_send_buffer_size(stream, LAST_SEND_BUFFER));
    }
}

fn left_until(deadline: Instant) -> io::Result<Duration> {
    let left = clock::until(deadline);
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

type Session = Arc<Mutex<ServerConnection>>;

/// Both halves of a connection over `socket`; under TLS after a handshake within `deadline`.
pub(super) fn halves(
    socket: Socket,
    tls: Option<Arc<ServerConfig>>,
    deadline: Instant,
) -> io::Result<(Reading, Writing)> {
    let writing = socket.duplicate()?;
    let session = match tls {
        Some(config) => Some(Arc::new(Mutex::new(shake_hands(&socket, config, deadline)?))),
        None => None,
    };
    let reading = Reading { socket, session: session.clone(), deadline: None, raw: Vec::new(), at: 0 };
    Ok((reading, Writing { socket: writing, session, backlog: Vec::new(), written: 0 }))
}

fn shake_hands(socket: &Socket, config: Arc<ServerConfig>, deadline: Instant) -> io::Result<ServerConnection> {
    struct Timed<'a>(&'a Socket, Instant);
    impl Read for Timed<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read_within(buffer, Some(self.1))
        }
    }
    impl Write for Timed<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write_within(bytes, self.1)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut session = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut timed = Timed(socket, deadline);
    while session.is_handshaking() {
        if let (0, 0) = session.complete_io(&mut timed)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    while session.wants_write() {
        session.write_tls(&mut timed)?;
    }
    Ok(session)
}

/// The half that reads.
pub(super) struct Reading {
    socket: Socket,
    session: Option<Session>,
    /// Until when the next byte has to come; none to wait for as long as it takes.
    pub(super) deadline: Option<Instant>,
    /// Encrypted bytes that came, and how many of them were taken.
    raw: Vec<u8>,
    at: usize,
}

impl Reading {
    /// Reads and throws away what still comes, so that the other side gets to read what it was told last.
    pub(super) fn linger(&mut self, deadline: Instant, mut bytes: usize) {
        let mut buffer = [0; 4096];
        while bytes > 0 {
            match self.socket.read_within(&mut buffer, Some(deadline)) {
                Ok(0) | Err(_) => return,
                Ok(read) => bytes = bytes.saturating_sub(read),
            }
        }
    }

    fn decrypted(&mut self, session: &Session, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut locked = session.lock();
            match locked.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            if self.at < self.raw.len() {
                let mut rest = &self.raw[self.at..];
                locked.read_tls(&mut rest)?;
                self.at = self.raw.len() - rest.len();
                locked.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                continue;
            }
            drop(locked);
            self.raw.resize(RECORD_BYTES, 0);
            self.at = 0;
            let read = self.socket.read_within(&mut self.raw, self.deadline);
            self.raw.truncate(*read.as_ref().unwrap_or(&0));
            if read? == 0 {
                return Ok(0);
            }
        }
    }
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.session.clone() {
            None => self.socket.read_within(buffer, self.deadline),
            Some(session) => self.decrypted(&session, buffer),
        }
    }
}

/// The half that writes. What it was given and could not write stays, so that a frame is never cut.
pub(super) struct Writing {
    pub(super) socket: Socket,
    session: Option<Session>,
    backlog: Vec<u8>,
    written: usize,
}

impl Writing {
    /// Puts a frame behind what is still to be written.
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
        for piece in bytes.chunks(RECORD_BYTES) {
            session.writer().write_all(piece)?;
            while session.wants_write() {
                session.write_tls(&mut self.backlog)?;
            }
        }
        Ok(())
    }

    /// Writes what is there, one deadline for all of it: who takes a byte now and then is too slow as well.
    pub(super) fn flush(&mut self, deadline: Instant) -> io::Result<()> {
        while self.written < self.backlog.len() {
            match self.socket.write_within(&self.backlog[self.written..], deadline) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.backlog.clear();
        // One large frame does not hold its memory for as long as the connection lasts.
        self.backlog.shrink_to(SEND_BUFFER);
        self.written = 0;
        Ok(())
    }

    /// Raises the socket's send buffer: what is put now finds room behind what the other side has not read.
    pub(super) fn make_room(&self) {
        self.socket.make_room();
    }
}

/// Whether a read or write was given up because its time was over.
pub(super) fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}
