//! The bytes of one connection to PostgreSQL: plain or in TLS, always before a deadline.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use bytes::BytesMut;
use postgres_protocol::message::backend::Message;
use rustls::{ClientConnection, StreamOwned};

use crate::net::deadline::Deadline;
use crate::net::timed_io::{read_within, write_within};

/// So many bytes are read at a time.
const READ_BYTES: usize = 64 * 1024;

/// A socket whose every read and write ends by the deadline.
pub(super) struct TimedSocket {
    pub(super) tcp: TcpStream,
    pub(super) deadline: Deadline,
}

impl Read for TimedSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_within(&self.tcp, buffer, Some(self.deadline))
    }
}

impl Write for TimedSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_within(&self.tcp, bytes, self.deadline)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) enum PostgresStream {
    Plain(TimedSocket),
    Tls(Box<StreamOwned<ClientConnection, TimedSocket>>),
}

/// Sends and receives whole messages.
pub(super) struct Wire {
    stream: PostgresStream,
    received: BytesMut,
    /// What is to be sent next.
    pub(super) out: BytesMut,
    /// Room for what is read.
    room: Vec<u8>,
}

impl Wire {
    pub(super) fn over(stream: PostgresStream) -> Self {
        Self { stream, received: BytesMut::new(), out: BytesMut::new(), room: vec![0; READ_BYTES] }
    }

    /// From here on everything ends by this deadline.
    pub(super) fn until(&mut self, deadline: Deadline) {
        match &mut self.stream {
            PostgresStream::Plain(socket) => socket.deadline = deadline,
            PostgresStream::Tls(tls) => tls.sock.deadline = deadline,
        }
    }

    /// Sends what was put into `out`.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let sent = match &mut self.stream {
            PostgresStream::Plain(socket) => socket.write_all(&self.out),
            PostgresStream::Tls(tls) => tls.write_all(&self.out).and_then(|()| tls.flush()),
        };
        self.out.clear();
        sent
    }

    /// The next message of the server.
    pub(super) fn next(&mut self) -> io::Result<Message> {
        loop {
            if let Some(message) = Message::parse(&mut self.received)? {
                return Ok(message);
            }
            let read = match &mut self.stream {
                PostgresStream::Plain(socket) => socket.read(&mut self.room)?,
                PostgresStream::Tls(tls) => tls.read(&mut self.room)?,
            };
            if read == 0 {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, "the server has closed the connection"));
            }
            self.received.extend_from_slice(&self.room[..read]);
        }
    }
}
