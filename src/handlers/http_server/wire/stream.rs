//! One client's socket with what it has sent and nobody has used yet; every wait on it ends by a deadline.
//!
//! It knows bytes, not HTTP.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{RecvFlags, recv};

use super::deadline::Deadline;

/// What is read at once, and what a connection's buffer is between requests.
const BUFFER_BYTES: usize = 16 * 1024;
/// What is written at once, so that a slow reader can be told from one that does not read.
const WRITE_BYTES: usize = 64 * 1024;
/// An answer's body up to this size is copied behind its head rather than gathered from two places.
const JOIN_BYTES: usize = 8 * 1024;
/// Reads that a client already answered is worth.
const DISCARDED_READS: usize = 8;

/// Why no more bytes came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    /// The client will send no more, or the connection broke.
    Closed,
    TimedOut,
}

#[derive(Debug)]
pub(crate) struct Stream {
    socket: Arc<TcpStream>,
    buffer: Vec<u8>,
    /// `buffer[unread.0..unread.1]` was received and not used yet.
    unread: (usize, usize),
    /// As the socket has them; `None` before the first wait.
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
}

impl Stream {
    /// Has no buffer before it receives something.
    pub(crate) fn new(socket: Arc<TcpStream>) -> Self {
        Self { socket, buffer: Vec::new(), unread: (0, 0), read_timeout: None, write_timeout: None }
    }

    pub(crate) fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }

    /// Gives the buffer back, if nothing is in it, until more is received.
    pub(crate) fn rest(&mut self) {
        if self.unread().is_empty() {
            self.buffer = Vec::new();
        }
    }

    /// Received and not used yet.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer[self.unread.0..self.unread.1]
    }

    /// The first `bytes` of [`unread`](Self::unread) have been used.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.unread.0 += bytes;
        assert!(self.unread.0 <= self.unread.1, "no more is used than was received");
        if self.unread.0 == self.unread.1 {
            self.unread = (0, 0);
            if self.buffer.len() > BUFFER_BYTES {
                self.buffer = vec![0; BUFFER_BYTES];
            }
        }
    }

    /// Waits for at least one byte more.
    pub(crate) fn receive(&mut self, deadline: &mut Deadline) -> Result<(), ReadEnd> {
        self.make_room();
        loop {
            let left = deadline.left().ok_or(ReadEnd::TimedOut)?;
            self.set_read_timeout(left).map_err(|_| ReadEnd::Closed)?;
            match (&*self.socket).read(&mut self.buffer[self.unread.1..]) {
                Ok(0) => return Err(ReadEnd::Closed),
                Ok(bytes) => {
                    self.unread.1 += bytes;
                    return Ok(());
                }
                Err(error) if is_transient(&error) => {}
                Err(_) => return Err(ReadEnd::Closed),
            }
        }
    }

    /// Room for at least a byte behind what is unread: by moving it to the front, else by growing.
    fn make_room(&mut self) {
        let (start, end) = self.unread;
        if end < self.buffer.len() {
            return;
        }
        if start > 0 {
            self.buffer.copy_within(start..end, 0);
            self.unread = (0, end - start);
        } else {
            self.buffer.resize((2 * end).max(BUFFER_BYTES), 0);
        }
    }

    /// Sends `head` and then `body`, by one call where they are small. `moved` is told of each further piece that
    /// the client took, and may end it.
    pub(crate) fn send(
        &mut self,
        head: &mut Vec<u8>,
        body: &[u8],
        timeout: Duration,
        mut moved: impl FnMut() -> ControlFlow<()>,
    ) -> io::Result<()> {
        let mut body = body;
        if body.len() <= JOIN_BYTES {
            head.extend_from_slice(body);
            body = &[];
        }
        let (mut head, mut deadline) = (&head[..], Deadline::after(timeout));
        loop {
            let left = deadline.left().ok_or(ErrorKind::TimedOut)?;
            self.set_write_timeout(left)?;
            match self.write_some(head, body) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(bytes) => {
                    let of_head = bytes.min(head.len());
                    (head, body) = (&head[of_head..], &body[bytes - of_head..]);
                }
                Err(error) if is_transient(&error) => continue,
                Err(error) => return Err(error),
            }
            if head.is_empty() && body.is_empty() {
                return Ok(());
            }
            if moved().is_break() {
                return Err(ErrorKind::Interrupted.into());
            }
        }
    }

    fn write_some(&self, head: &[u8], body: &[u8]) -> io::Result<usize> {
        if body.is_empty() {
            return (&*self.socket).write(head);
        }
        let piece = &body[..body.len().min(WRITE_BYTES)];
        (&*self.socket).write_vectored(&[IoSlice::new(head), IoSlice::new(piece)])
    }

    /// Says that nothing more will be sent, and reads on until the client has closed too. Closing a socket that has
    /// unread bytes resets the connection, and the client may lose the answer it was just sent.
    pub(crate) fn linger(&mut self, timeout: Duration) {
        let mut deadline = Deadline::after(timeout);
        if self.socket.shutdown(Shutdown::Write).is_err() {
            return;
        }
        while self.receive(&mut deadline).is_ok() {
            self.consume(self.unread().len());
        }
    }

    /// Like [`linger`](Self::linger), for a client that was answered in full: takes what is there, waits for nothing.
    pub(crate) fn leave(&mut self) {
        if self.socket.shutdown(Shutdown::Write).is_ok() {
            self.make_room();
            discard_received(&self.socket, &mut self.buffer);
        }
    }

    fn set_read_timeout(&mut self, left: Duration) -> io::Result<()> {
        if is_far_from(self.read_timeout, left) {
            self.socket.set_read_timeout(Some(left))?;
            self.read_timeout = Some(left);
        }
        Ok(())
    }

    fn set_write_timeout(&mut self, left: Duration) -> io::Result<()> {
        if is_far_from(self.write_timeout, left) {
            self.socket.set_write_timeout(Some(left))?;
            self.write_timeout = Some(left);
        }
        Ok(())
    }
}

/// Whether a wait for `left` needs another timeout than the socket has: one that is never longer, and never so much
/// shorter that the wait becomes a poll.
fn is_far_from(timeout: Option<Duration>, left: Duration) -> bool {
    timeout.is_none_or(|timeout| timeout > left || timeout < left / 2)
}

/// Takes what has been received, up to a bound, without waiting for more.
pub(crate) fn discard_received(socket: &TcpStream, scratch: &mut [u8]) {
    for _ in 0..DISCARDED_READS {
        if !matches!(recv(socket, &mut *scratch, RecvFlags::DONTWAIT), Ok((_, 1..))) {
            return;
        }
    }
}

/// A signal, or the timeout of the one call: the deadline says whether it was the end.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
