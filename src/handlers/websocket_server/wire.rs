//! One client's socket; every wait on it ends by a deadline. It knows bytes, not frames.
//!
//! A client that sends one byte now and then is not idle, but neither is it done: from the first byte of a message on,
//! it has [`Patience::message`] for the rest, and pings in the middle of it win it no time. The handshake and what comes
//! after the close frames are no messages: they have a time of their own, whatever comes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::arriving::Arriving;
use super::frames::Frames;
use crate::base::clock;
use crate::base::limits::{Limits, WEBSOCKET_LINGER};
use crate::handlers::answers::{AnswerBudget, NoRoom, UnderWay};
use crate::handlers::net::untaken;

/// What is written at once, so that a slow reader can be told from one that does not read.
const WRITE_BYTES: usize = 64 * 1024;
/// How often, within the time that a client may take nothing, it is looked at whether it did.
const LOOKS: u32 = 10;

#[derive(Debug)]
pub(super) struct Wire {
    socket: Arc<TcpStream>,
    closing: Arc<AtomicBool>,
    read_until: Instant,
    /// The frames that follow the handshake, and the message that they are in the middle of; `None` before.
    messages: Option<(Frames, Arriving)>,
    /// What was received last begins with a frame that must not be.
    is_broken: bool,
    write_until: Instant,
    /// Bytes that the system has taken from us.
    written: u64,
    /// Bytes that the client has taken from the system, and when that was last seen to grow.
    taken: u64,
    moved: Instant,
    /// The answer that is being sent.
    under_way: Option<UnderWay>,
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
        let now = clock::now();
        let (read_until, write_until) = (now + patience.handshake, now + patience.answer);
        Self {
            socket,
            closing,
            read_until,
            messages: None,
            is_broken: false,
            write_until,
            written: 0,
            taken: 0,
            moved: now,
            under_way: None,
            patience,
        }
    }

    pub(super) fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }

    /// The handshake is over: frames follow, the first of them with these bytes. How many of them are good.
    pub(super) fn begin_frames(&mut self, first: &[u8], messages: &Arc<AnswerBudget>) -> usize {
        self.messages = Some((Frames::default(), Arriving::new(Arc::clone(messages))));
        // So few bytes need no room.
        self.good_of(first).unwrap_or(0)
    }

    /// How many of the bytes that were received are good, if there is room for them.
    fn good_of(&mut self, received: &[u8]) -> Result<usize, NoRoom> {
        let Some((frames, arriving)) = &mut self.messages else { return Ok(received.len()) };
        let good = frames.good(received);
        self.is_broken = good < received.len();
        arriving.came(&self.socket, good, frames.unfinished())?;
        Ok(good)
    }

    /// Between messages, the next byte has `patience` to come.
    pub(super) fn await_next(&mut self, patience: Duration) {
        self.read_until = clock::now() + patience;
    }

    /// The actor has worked on the message before: that was not the time of the client whose next one has begun.
    pub(super) fn begin_reading(&mut self) {
        self.messages.iter_mut().for_each(|(_, arriving)| arriving.begin_reading());
    }

    /// Whether a message has begun to come and is not whole.
    pub(super) fn is_in_the_middle(&self) -> bool {
        self.waited_since().is_some()
    }

    fn waited_since(&self) -> Option<Instant> {
        self.messages.as_ref().and_then(|(_, arriving)| arriving.since())
    }

    /// What is written next is to be taken from now on.
    pub(super) fn begin_writing(&mut self) {
        self.write_until = clock::now() + self.patience.answer;
        if self.look() == 0 {
            self.moved = clock::now();
        }
    }

    /// The same, of an answer that has room in the listener's budget until it is sent.
    pub(super) fn begin_answer(&mut self, under_way: UnderWay) {
        self.under_way = Some(under_way);
        self.begin_writing();
    }

    pub(super) fn end_answer(&mut self) {
        self.under_way = None;
    }

    /// Looks how much the client has taken: how much it has not. That the system takes bytes from us says nothing of the
    /// client: buffers grow while nobody reads.
    fn look(&mut self) -> u64 {
        let untaken = untaken(&self.socket).min(self.written);
        let taken = self.written - untaken;
        if taken > self.taken {
            (self.taken, self.moved) = (taken, clock::now());
            self.under_way.iter().for_each(UnderWay::moved);
        }
        untaken
    }

    /// Waits until the system takes more, for as long as the client goes on taking.
    fn wait_until_taken(&mut self) -> io::Result<()> {
        loop {
            self.look();
            let left = left(self.write_until.min(self.moved + self.patience.stall))?;
            let until_look = left.min(self.patience.stall / LOOKS);
            let until_look = Timespec::try_from(until_look).map_err(|_| ErrorKind::InvalidInput)?;
            match poll(&mut [PollFd::new(&self.socket, PollFlags::OUT)], Some(&until_look)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Lets go of a client that takes nothing.
    pub(super) fn drop_client(&mut self) {
        // It may be gone.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Says that nothing more will be sent, and reads on until the client has closed too. Closing a socket that has
    /// unread bytes resets the connection, and the client may lose what it was just sent.
    pub(super) fn linger(&mut self) {
        if self.socket.shutdown(Shutdown::Write).is_err() {
            return;
        }
        self.await_next(WEBSOCKET_LINGER);
        // Whatever it is: it is not looked at any more.
        (self.messages, self.is_broken) = (None, false);
        while matches!(self.read(&mut [0; 4096]), Ok(1..)) {}
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_broken {
            return Err(ErrorKind::InvalidData.into());
        }
        let until = self.waited_since().map_or(self.read_until, |since| since + self.patience.message);
        loop {
            self.socket.set_read_timeout(Some(left(until)?))?;
            match (&*self.socket).read(buffer) {
                // The door has shut this side to wake us. It is not the client's end, who is still to be told.
                Ok(0) if self.closing.load(Ordering::SeqCst) => return Err(ErrorKind::ConnectionAborted.into()),
                Ok(bytes) => {
                    return match self.good_of(&buffer[..bytes]) {
                        Ok(0) if bytes > 0 => Err(ErrorKind::InvalidData.into()),
                        Ok(good) => Ok(good),
                        Err(NoRoom) => Err(ErrorKind::QuotaExceeded.into()),
                    };
                }
                Err(error) if is_transient(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        left(self.write_until)?;
        loop {
            let piece = &bytes[..bytes.len().min(WRITE_BYTES)];
            match send(&*self.socket, piece, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(written) => {
                    self.written += written as u64;
                    return Ok(written);
                }
                Err(Errno::AGAIN) => self.wait_until_taken()?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = Some(clock::until(until)).filter(|left| !left.is_zero());
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
        assert_eq!(wire.begin_frames(b"", &AnswerBudget::new(0)), 0);
        client.write_all(b"\x81").expect("an open socket");
        assert_eq!(wire.read(&mut [0; 8]).expect("a byte"), 1);
        assert!(wire.is_in_the_middle());
        wire.patience.message = Duration::ZERO;
        assert_eq!(wire.read(&mut [0; 8]).expect_err("nothing came").kind(), ErrorKind::TimedOut);
        wire.patience.message = Duration::from_secs(60);
        client.write_all(b"\x80\0\0\0\0").expect("an open socket");
        assert_eq!(wire.read(&mut [0; 8]).expect("the rest"), 5);
        assert!(!wire.is_in_the_middle());
    }

    #[test]
    fn bytes_before_the_first_frame_and_after_the_last_win_a_client_no_time() {
        let (mut wire, mut client) = wire(Duration::from_millis(50));
        client.write_all(b"GET").expect("an open socket");
        assert_eq!(wire.read(&mut [0; 8]).expect("the beginning of a handshake"), 3);
        assert_eq!(wire.read(&mut [0; 8]).expect_err("nothing came").kind(), ErrorKind::TimedOut);
        assert_eq!(wire.begin_frames(b"\x81", &AnswerBudget::new(0)), 1);
        let drips = std::thread::spawn(move || while client.write_all(b"x").is_ok() {});
        let begun = clock::now();
        wire.linger();
        assert!(clock::since(begun) < WEBSOCKET_LINGER + Duration::from_secs(20), "the limit of a message is a minute");
        drop(wire);
        drips.join().expect("no panic");
    }

    #[test]
    fn a_client_that_takes_nothing_is_written_to_only_so_long() {
        let (mut wire, _client) = wire(Duration::from_secs(60));
        wire.write_until = clock::now() + Duration::from_millis(50);
        let refused = std::iter::repeat_with(|| wire.write(&[0; WRITE_BYTES])).find_map(Result::err);
        assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::TimedOut));
    }

    #[test]
    fn what_the_system_takes_is_no_sign_that_the_client_does() {
        let (mut wire, mut client) = wire(Duration::from_secs(60));
        wire.patience.stall = Duration::from_millis(300);
        wire.begin_writing();
        let begun = clock::now();
        let refused = std::iter::repeat_with(|| wire.write(&[0; WRITE_BYTES])).find_map(Result::err);
        assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::TimedOut));
        assert!(clock::since(begun) < 2 * wire.patience.stall + Duration::from_secs(1), "{:?}", clock::since(begun));
        // One that takes something is waited for again.
        let took = std::thread::spawn(move || {
            client.set_read_timeout(Some(Duration::from_secs(20))).expect("an open socket");
            let mut taken = 0;
            while taken < 8 << 20 {
                taken += client.read(&mut vec![0; 1 << 20]).expect("more comes");
            }
        });
        wire.begin_writing();
        wire.moved = clock::now();
        while !took.is_finished() && wire.write(&[0; WRITE_BYTES]).is_ok() {}
        took.join().expect("it took all");
    }

    #[test]
    fn a_frame_that_must_not_be_is_found_behind_those_before_it() {
        let (mut wire, mut client) = wire(Duration::from_secs(60));
        assert_eq!(wire.begin_frames(b"", &AnswerBudget::new(0)), 0);
        client.write_all(b"\x81\x81\0\0\0\0a\x81\xfe\0\x01\0\0\0\0b").expect("an open socket");
        assert_eq!(wire.read(&mut [0; 64]).expect("the first"), 10);
        assert_eq!(wire.read(&mut [0; 64]).expect_err("the second").kind(), ErrorKind::InvalidData);
    }
}
