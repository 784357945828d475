//! One client's socket; every wait on it ends by a deadline. It knows bytes, not frames.
//!
//! A client that sends one byte now and then is not idle, but neither is it done: from the first byte of a message on,
//! it has [`Patience::message`] for the rest.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::base::limits::{Limits, WEBSOCKET_LINGER};

/// What is written at once, so that a slow reader can be told from one that does not read.
const WRITE_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Wire {
    socket: Arc<TcpStream>,
    closing: Arc<AtomicBool>,
    read_until: Instant,
    /// When the first byte came of what is not whole yet.
    begun: Option<Instant>,
    write_until: Instant,
    patience: Patience,
}

/// How long a client is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// To shake hands.
    pub(super) handshake: Duration,
    /// For the rest of a message, from its first byte on.
    pub(super) message: Duration,
    /// To take all that it is sent in answer to one message.
    pub(super) answer: Duration,
    /// To take anything of what it is sent.
    pub(super) stall: Duration,
}

impl Patience {
    /// The same for everything.
    pub(super) fn within(time: Duration) -> Self {
        Self { handshake: time, message: time, answer: time, stall: time }
    }

    pub(super) fn of(limits: &Limits) -> Self {
        Self {
            handshake: Duration::from_millis(limits.websocket_handshake_ms),
            message: Duration::from_millis(limits.websocket_message_ms),
            answer: Duration::from_millis(limits.websocket_answer_ms),
            stall: Duration::from_millis(limits.websocket_stall_ms),
        }
    }
}

impl Wire {
    /// A wire on which the client is to shake hands first.
    pub(super) fn new(socket: Arc<TcpStream>, closing: Arc<AtomicBool>, patience: Patience) -> Self {
        let now = Instant::now();
        let (read_until, write_until) = (now + patience.handshake, now + patience.answer);
        Self { socket, closing, read_until, begun: None, write_until, patience }
    }

    /// What was being read is whole; the next byte has `patience` to come.
    pub(super) fn await_next(&mut self, patience: Duration) {
        self.begun = None;
        self.read_until = Instant::now() + patience;
    }

    /// Whether something has begun to come and is not whole.
    pub(super) fn is_in_the_middle(&self) -> bool {
        self.begun.is_some()
    }

    /// What is written next is to be taken from now on.
    pub(super) fn begin_writing(&mut self) {
        self.write_until = Instant::now() + self.patience.answer;
    }

    /// Says that nothing more will be sent, and reads on until the client has closed too. Closing a socket that has
    /// unread bytes resets the connection, and the client may lose what it was just sent.
    pub(super) fn linger(&mut self) {
        if self.socket.shutdown(Shutdown::Write).is_err() {
            return;
        }
        self.await_next(WEBSOCKET_LINGER);
        while matches!(self.read(&mut [0; 4096]), Ok(1..)) {}
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let until = self.begun.map_or(self.read_until, |begun| begun + self.patience.message);
        loop {
            self.socket.set_read_timeout(Some(left(until)?))?;
            match (&*self.socket).read(buffer) {
                // The door has shut this side to wake us. It is not the client's end, who is still to be told.
                Ok(0) if self.closing.load(Ordering::SeqCst) => return Err(ErrorKind::ConnectionAborted.into()),
                Ok(bytes) => {
                    self.begun.get_or_insert_with(Instant::now);
                    return Ok(bytes);
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let until = self.write_until.min(Instant::now() + self.patience.stall);
        loop {
            self.socket.set_write_timeout(Some(left(until)?))?;
            match (&*self.socket).write(&bytes[..bytes.len().min(WRITE_BYTES)]) {
                Err(error) if is_transient(&error) => {}
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
    left.ok_or_else(|| ErrorKind::TimedOut.into())
}

/// A signal, or the timeout of the one call: the deadline says whether it was the end.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn wire(handshake: Duration) -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (socket, _) = listener.accept().expect("a client");
        let patience = Patience { handshake, ..Patience::of(&Limits::default()) };
        (Wire::new(Arc::new(socket), Arc::default(), patience), client)
    }

    #[test]
    fn a_client_that_says_nothing_is_waited_for_only_so_long() {
        let (mut wire, _client) = wire(Duration::from_millis(20));
        assert_eq!(wire.read(&mut [0; 8]).expect_err("nothing came").kind(), ErrorKind::TimedOut);
        assert!(!wire.is_in_the_middle());
    }

    #[test]
    fn a_client_that_has_begun_is_waited_for_by_the_messages_patience() {
        let (mut wire, mut client) = wire(Duration::from_secs(60));
        client.write_all(b"x").expect("an open socket");
        assert_eq!(wire.read(&mut [0; 8]).expect("a byte"), 1);
        assert!(wire.is_in_the_middle());
        wire.patience.message = Duration::ZERO;
        assert_eq!(wire.read(&mut [0; 8]).expect_err("nothing came").kind(), ErrorKind::TimedOut);
        wire.await_next(Duration::from_secs(60));
        assert!(!wire.is_in_the_middle());
    }

    #[test]
    fn a_client_that_takes_nothing_is_written_to_only_so_long() {
        let (mut wire, _client) = wire(Duration::from_secs(60));
        wire.write_until = Instant::now() + Duration::from_millis(50);
        let refused = std::iter::repeat_with(|| wire.write(&[0; WRITE_BYTES])).find_map(Result::err);
        assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::TimedOut));
    }
}
