//! The socket of one HTTP client, with a buffer for what the client has sent and nobody has used yet. Every wait on it
//! ends by a deadline.
//!
//! It knows bytes, not HTTP.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::ioctl_fionread;

use crate::net::{Deadline, TlsSession, discard_received, read_until_closed, read_within};

/// How much is read at once, and how large the buffer of a connection is between two requests.
const BUFFER_BYTES: usize = 16 * 1024;
/// How much is written at once, so that a client that reads slowly can be told from one that does not read.
const WRITE_BYTES: usize = 64 * 1024;
/// The body of an answer up to this size is copied after its head. A larger body is sent from the memory that it lies
/// in.
const JOIN_BYTES: usize = 8 * 1024;
/// How much is encrypted before it is sent.
const ENCRYPTED_BYTES: usize = WRITE_BYTES;
/// How long what answers a record of the client may take to be sent: a part of the handshake, which fits the buffer of any
/// socket.
const ANSWERING: Duration = Duration::from_secs(1);
/// How long the last record of a TLS session may take to be sent, and an alert.
const PARTING: Duration = Duration::from_millis(100);
/// How much later than its deadline a wait may end. The system counts its timeouts in steps of a few milliseconds
/// anyway.
const SLACK: Duration = Duration::from_millis(10);

/// Why no more bytes came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    /// The client will send no more, or the connection broke.
    Closed,
    TimedOut,
}

/// The socket of one client, and its buffer.
#[derive(Debug)]
pub(crate) struct HttpStream {
    socket: Arc<TcpStream>,
    buffer: Vec<u8>,
    /// `buffer[unread.0..unread.1]` was received and not used yet.
    unread: (usize, usize),
    /// The timeouts that the socket has; `None` before the first wait.
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    /// The session, if TLS is spoken and the connection has a thread.
    tls: Option<Box<TlsSession>>,
}

impl HttpStream {
    /// A stream that has no buffer until it receives something.
    pub(crate) fn new(socket: Arc<TcpStream>) -> Self {
        Self { socket, buffer: Vec::new(), unread: (0, 0), read_timeout: None, write_timeout: None, tls: None }
    }

    pub(crate) fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }

    /// Speaks TLS from now on. The handshake is a part of what is received first.
    pub(crate) fn secure(&mut self, session: TlsSession) {
        self.tls = Some(Box::new(session));
    }

    /// Gives away the socket, and the session if TLS is spoken, for the rest of an answer. Nothing is received any more.
    pub(crate) fn give_away(&mut self) -> (Arc<TcpStream>, Option<Box<TlsSession>>) {
        (Arc::clone(&self.socket), self.tls.take())
    }

    pub(crate) fn is_secured(&self) -> bool {
        self.tls.is_some()
    }

    /// Frees the buffer, if nothing is in it, until more is received.
    pub(crate) fn rest(&mut self) {
        if self.unread().is_empty() {
            self.buffer = Vec::new();
        }
    }

    /// What was received and not used yet.
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

    /// Waits for at least one byte more; over TLS perhaps for a part of the handshake.
    pub(crate) fn receive(&mut self, deadline: Deadline) -> Result<(), ReadEnd> {
        if self.tls.is_some() {
            return self.receive_encrypted(deadline);
        }
        self.make_room();
        loop {
            let left = deadline.left().map_err(|_| ReadEnd::TimedOut)?;
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

    /// Like [`receive`](Self::receive), and what is here already is taken also after the deadline.
    pub(crate) fn receive_at_once_or(&mut self, deadline: Deadline) -> Result<(), ReadEnd> {
        let here = ioctl_fionread(&*self.socket).unwrap_or(0);
        self.receive(if here > 0 { deadline.max(Deadline::after(SLACK)) } else { deadline })
    }

    /// Like [`receive`](Self::receive), over TLS. Also returns when the handshake has come further. All that was decrypted is in the buffer afterwards: what stayed in the
    /// session would not be seen by who looks at the socket.
    fn receive_encrypted(&mut self, deadline: Deadline) -> Result<(), ReadEnd> {
        let mut raw = vec![0; BUFFER_BYTES];
        loop {
            let left = deadline.left().map_err(|_| ReadEnd::TimedOut)?;
            self.set_read_timeout(left).map_err(|_| ReadEnd::Closed)?;
            let came = match (&*self.socket).read(&mut raw) {
                Ok(0) => return Err(ReadEnd::Closed),
                Ok(came) => came,
                Err(error) if is_transient(&error) => continue,
                Err(_) => return Err(ReadEnd::Closed),
            };
            let tls = self.tls.as_mut().expect("it speaks TLS");
            let was_shaking_hands = tls.is_handshaking();
            let understood = tls.feed(&raw[..came]);
            let (plain, out) = (tls.take_plain(), tls.take_out());
            let has_ended = tls.has_ended();
            // Answers of the handshake, or the alert that says what is wrong.
            let until = Deadline::after(if understood.is_ok() { ANSWERING } else { PARTING });
            self.write_until(&out, until, &mut || ControlFlow::Continue(())).map_err(|_| ReadEnd::Closed)?;
            if !plain.is_empty() {
                self.append(&plain);
                return Ok(());
            }
            if understood.is_err() || has_ended {
                return Err(ReadEnd::Closed);
            }
            if was_shaking_hands {
                return Ok(());
            }
        }
    }

    fn append(&mut self, plain: &[u8]) {
        let (start, end) = self.unread;
        self.buffer.copy_within(start..end, 0);
        self.unread = (0, end - start);
        let whole = self.unread.1 + plain.len();
        if self.buffer.len() < whole {
            self.buffer.resize(whole.max(BUFFER_BYTES), 0);
        }
        self.buffer[self.unread.1..whole].copy_from_slice(plain);
        self.unread.1 = whole;
    }

    /// Makes room for at least one byte after the unread bytes: it moves the unread bytes to the front, or else grows
    /// the buffer.
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

    /// Sends `head` and then `body`, by one system call where they are small. `moved` is called whenever the client has
    /// taken a piece and more is to come; it may end the sending.
    pub(crate) fn send(
        &mut self,
        head: &mut Vec<u8>,
        body: &[u8],
        timeout: Duration,
        mut moved: impl FnMut() -> ControlFlow<()>,
    ) -> io::Result<()> {
        if self.tls.is_some() {
            let until = Deadline::after(timeout);
            head.extend_from_slice(&body[..body.len().min(JOIN_BYTES)]);
            let rest = &body[body.len().min(JOIN_BYTES)..];
            for piece in std::iter::once(&head[..]).chain(rest.chunks(ENCRYPTED_BYTES)) {
                let tls = self.tls.as_mut().expect("it speaks TLS");
                tls.encrypt(piece)?;
                let out = tls.take_out();
                self.write_until(&out, until, &mut moved)?;
            }
            return Ok(());
        }
        let mut body = body;
        if body.len() <= JOIN_BYTES {
            head.extend_from_slice(body);
            body = &[];
        }
        let (mut head, deadline) = (&head[..], Deadline::after(timeout));
        loop {
            let left = deadline.left()?;
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

    /// Writes all of `bytes`. `moved` is called whenever the client has taken a piece.
    fn write_until(
        &mut self,
        mut bytes: &[u8],
        until: Deadline,
        moved: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            let left = until.left()?;
            self.set_write_timeout(left)?;
            match (&*self.socket).write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if is_transient(&error) => continue,
                Err(error) => return Err(error),
            }
            if moved().is_break() {
                return Err(ErrorKind::Interrupted.into());
            }
        }
        Ok(())
    }

    /// Over TLS, says that nothing more will be sent. Without it, the client could not tell the end from a cut.
    fn say_end(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        tls.say_end();
        let out = tls.take_out();
        // The client may be gone, or may not take it.
        let _ = self.write_until(&out, Deadline::after(PARTING), &mut || ControlFlow::Continue(()));
    }

    fn write_some(&self, head: &[u8], body: &[u8]) -> io::Result<usize> {
        if body.is_empty() {
            return (&*self.socket).write(head);
        }
        let piece = &body[..body.len().min(WRITE_BYTES)];
        (&*self.socket).write_vectored(&[IoSlice::new(head), IoSlice::new(piece)])
    }

    /// Tells the client that nothing more will be sent, and reads on until the client has closed too, so that it does
    /// not lose the answer it was just sent.
    pub(crate) fn linger(&mut self, timeout: Duration) {
        let deadline = Deadline::after(timeout);
        self.say_end();
        if self.socket.shutdown(Shutdown::Write).is_ok() {
            read_until_closed(|buffer| read_within(&*self.socket, buffer, Some(deadline)), usize::MAX);
        }
    }

    /// Like [`linger`](Self::linger), for a client that was answered in full: throws away what is there and waits for
    /// nothing.
    pub(crate) fn leave(&mut self) {
        self.say_end();
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

/// Whether a wait for `left` needs another timeout than the socket has. A timeout that is a little longer is good
/// enough, and so is one that is at least half as long. So a connection that waits for the same time again and again
/// sets its socket's timeout once, and no wait is cut into many short ones.
fn is_far_from(timeout: Option<Duration>, left: Duration) -> bool {
    timeout.is_none_or(|timeout| timeout > left + SLACK || timeout < left / 2)
}

/// Whether the system call was ended by a signal or by its timeout. The deadline decides whether that is the end.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_waits_for_the_same_time_again_sets_its_timeout_once() {
        let minute = Duration::from_secs(60);
        assert!(is_far_from(None, minute));
        assert!(!is_far_from(Some(minute), minute - Duration::from_millis(1)));
        assert!(!is_far_from(Some(minute), minute + minute / 2));
        assert!(is_far_from(Some(minute), minute - Duration::from_secs(1)), "the wait would be longer than it may be");
        assert!(is_far_from(Some(Duration::from_secs(1)), minute), "the wait would be cut into many");
    }
}
