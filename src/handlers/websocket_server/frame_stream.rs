//! The socket of one WebSocket client, below its frames. Every wait on it ends by a deadline.
//!
//! A client that sends one byte now and then is not idle, but it may never finish its message. So it has
//! [`Patience::message`] for the rest of a message from that message's first byte on, and pings in the middle of a
//! message do not prolong that. The handshake, and what comes after the close frames, are no messages: each has a time
//! of its own, which no byte prolongs.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::arriving::Arriving;
use super::frames::Frames;
use crate::base::clock;
use crate::base::limits::{Limits, WEBSOCKET_LINGER};
use crate::net::{
    AnswerBudget, ClientQueue, ClientWriterHandle, Deadline, Flushed, ListenerClosing, NoRoom, TlsSession, UnderWay,
};
use crate::net::{read_until_closed, read_within, untaken, wait_until_ready};

/// How much is written at once, so that a client that reads slowly can be told from one that does not read.
const WRITE_BYTES: usize = 64 * 1024;
/// How many encrypted bytes are read at a time.
const RAW_BYTES: usize = 16 * 1024;
/// How much is encrypted before it is sent.
const PLAIN_BYTES: usize = 16 * 1024;
/// How often the server checks, within the time in which a client may read nothing, whether the client has read
/// something.
const LOOKS: u32 = 10;

/// The socket of one client.
pub(super) struct FrameStream {
    socket: Arc<TcpStream>,
    /// The session, if TLS is spoken and nothing is pushed to the client; else the queue has it.
    tls: Option<Box<TlsSession>>,
    /// What everything is sent through, if the actor pushes to the client.
    queue: Option<Arc<ClientQueue>>,
    closing: ListenerClosing,
    read_until: Deadline,
    /// The frames that come after the handshake, and the message that has come in part; `None` before the first frame.
    messages: Option<(Frames, Arriving)>,
    /// The next byte begins a frame that is forbidden.
    is_broken: bool,
    write_until: Deadline,
    /// How many bytes the system has taken from this server.
    written: u64,
    /// How many bytes the client has taken from the system, and when that number was last seen to grow.
    taken: u64,
    moved: Instant,
    /// The answer that is being sent.
    under_way: Option<UnderWay>,
    patience: Patience,
}

/// How long the server waits for a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// To shake hands.
    pub(super) handshake: Duration,
    /// For the rest of a message, from its first byte on.
    pub(super) message: Duration,
    /// To read everything that is sent to it in answer to one message.
    pub(super) answer: Duration,
    /// To read anything at all of the bytes that are sent to it.
    pub(super) stall: Duration,
}

impl Patience {
    /// The same time for everything.
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

impl FrameStream {
    /// A stream on which the client has to shake hands first.
    pub(super) fn new(
        socket: Arc<TcpStream>,
        tls: Option<TlsSession>,
        closing: ListenerClosing,
        patience: Patience,
    ) -> Self {
        let (read_until, write_until) = (Deadline::after(patience.handshake), Deadline::after(patience.answer));
        Self {
            socket,
            tls: tls.map(Box::new),
            queue: None,
            closing,
            read_until,
            messages: None,
            is_broken: false,
            write_until,
            written: 0,
            taken: 0,
            moved: clock::now(),
            under_way: None,
            patience,
        }
    }

    pub(super) fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }

    /// The handshake is over, and frames come from now on, beginning with the bytes `first`. Returns how many of these
    /// bytes are permitted.
    pub(super) fn begin_frames(&mut self, first: &[u8], messages: &Arc<AnswerBudget>) -> usize {
        self.messages = Some((Frames::default(), Arriving::new(Arc::clone(messages))));
        // A budget always has room for these few bytes.
        self.good_of(first).unwrap_or(0)
    }

    /// How many of the bytes `received` are permitted, if the budget for messages has room for them.
    fn good_of(&mut self, received: &[u8]) -> Result<usize, NoRoom> {
        let Some((frames, arriving)) = &mut self.messages else { return Ok(received.len()) };
        let good = frames.good(received);
        self.is_broken = good < received.len();
        arriving.came(&self.socket, good, frames.unfinished())?;
        Ok(good)
    }

    /// From now on everything is sent through `queue`, into which others put something too.
    pub(super) fn send_through(&mut self, queue: &Arc<ClientQueue>, writer: ClientWriterHandle) {
        queue.connect(Arc::clone(&self.socket), self.tls.take(), writer, None);
        self.queue = Some(Arc::clone(queue));
    }

    /// Has everything sent that waits in the queue, as long as the client takes it, and then says that nothing more comes.
    pub(super) fn end_queue(&mut self) {
        let Some(queue) = self.queue.clone() else { return };
        queue.finish();
        let deadline = Deadline::after(self.patience.stall);
        while queue.flush() == Flushed::Blocked
            && let Ok(left) = deadline.left()
            && wait_until_ready(&mut [PollFd::new(&self.socket, PollFlags::OUT)], Some(left)).is_ok()
        {}
        if !queue.is_over() {
            queue.cut();
        }
    }

    /// The client is refused: it has this long to take the answer.
    pub(super) fn begin_refusal(&mut self, patience: Duration) {
        self.patience = Patience::within(patience);
        self.begin_writing();
    }

    /// Between two messages, the next byte has to come within `patience`.
    pub(super) fn await_next(&mut self, patience: Duration) {
        self.read_until = Deadline::after(patience);
    }

    /// The actor has worked on the last message. That time is not counted for a client whose next message has begun.
    pub(super) fn begin_reading(&mut self) {
        self.messages.iter_mut().for_each(|(_, arriving)| arriving.begin_reading());
    }

    /// Whether a message has come in part.
    pub(super) fn is_in_the_middle(&self) -> bool {
        self.waited_since().is_some()
    }

    fn waited_since(&self) -> Option<Instant> {
        self.messages.as_ref().and_then(|(_, arriving)| arriving.since())
    }

    /// From now on the client has to read the bytes that are written next.
    pub(super) fn begin_writing(&mut self) {
        self.write_until = Deadline::after(self.patience.answer);
        if self.look() == 0 {
            self.moved = clock::now();
        }
    }

    /// The same, for an answer that keeps its room in the listener's budget until it is sent.
    pub(super) fn begin_answer(&mut self, under_way: UnderWay) {
        self.under_way = Some(under_way);
        self.begin_writing();
    }

    pub(super) fn end_answer(&mut self) {
        self.under_way = None;
    }

    /// Measures how much the client has read, and returns how much it has not read yet. That the system takes bytes
    /// from this server says nothing about the client, because the system's buffers grow while nobody reads.
    fn look(&mut self) -> u64 {
        let untaken = untaken(&self.socket).min(self.written);
        let taken = self.written - untaken;
        if taken > self.taken {
            (self.taken, self.moved) = (taken, clock::now());
            self.under_way.iter().for_each(UnderWay::moved);
        }
        untaken
    }

    /// Waits until the system takes more bytes, as long as the client goes on reading.
    fn wait_until_taken(&mut self) -> io::Result<()> {
        loop {
            self.look();
            let left = self.write_until.min(Deadline::at(self.moved + self.patience.stall)).left()?;
            let until_look = left.min(self.patience.stall / LOOKS);
            if wait_until_ready(&mut [PollFd::new(&self.socket, PollFlags::OUT)], Some(until_look))? > 0 {
                return Ok(());
            }
        }
    }

    /// Disconnects a client that takes nothing.
    pub(super) fn drop_client(&mut self) {
        // The client may be gone.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Tells the client that nothing more will be sent, and reads on until the client has closed too, so that it does
    /// not lose what it was just sent.
    pub(super) fn linger(&mut self) {
        self.say_end();
        if self.socket.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let deadline = Deadline::after(WEBSOCKET_LINGER);
        read_until_closed(|buffer| read_within(&*self.socket, buffer, Some(deadline)), usize::MAX);
    }
}

impl FrameStream {
    /// Reads what comes next, decrypted if TLS is spoken. The handshake is a part of what is read first.
    fn read_plain(&mut self, buffer: &mut [u8], until: Deadline) -> io::Result<usize> {
        if let Some(queue) = self.queue.clone().filter(|queue| queue.with_session(|_| ()).is_some()) {
            return self.read_by(&queue, buffer, until);
        }
        if self.tls.is_none() {
            return read_within(&*self.socket, buffer, Some(until));
        }
        let mut raw = Vec::new();
        loop {
            let tls = self.tls.as_mut().expect("it speaks TLS");
            if let Some(taken) = tls.take(buffer) {
                return Ok(taken);
            }
            raw.resize(RAW_BYTES, 0);
            let came = read_within(&*self.socket, &mut raw, Some(until))?;
            if came == 0 {
                return Ok(0);
            }
            let understood = tls.feed(&raw[..came]);
            let out = tls.take_out();
            self.send_all(&out)?;
            // Such bytes are no frames; a client that breaks TLS is gone.
            understood.map_err(|error| io::Error::new(ErrorKind::ConnectionAborted, error))?;
        }
    }

    /// Reads what comes next, decrypted by the session that the queue has.
    fn read_by(&mut self, queue: &Arc<ClientQueue>, buffer: &mut [u8], until: Deadline) -> io::Result<usize> {
        let mut raw = Vec::new();
        loop {
            if let Some(taken) = queue.with_session(|tls| tls.take(buffer)).flatten() {
                return Ok(taken);
            }
            raw.resize(RAW_BYTES, 0);
            let came = read_within(&*self.socket, &mut raw, Some(until))?;
            if came == 0 {
                return Ok(0);
            }
            let understood = queue.with_session(|tls| tls.feed(&raw[..came])).unwrap_or(Ok(()));
            // What the session answers is sent, too.
            queue.flush();
            understood.map_err(|error| io::Error::new(ErrorKind::ConnectionAborted, error))?;
        }
    }

    fn send_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            bytes = &bytes[self.send_some(bytes)?..];
        }
        Ok(())
    }

    /// Sends some of `bytes`, as they are.
    fn send_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_until.left()?;
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

    /// Over TLS, says that nothing more will be sent.
    fn say_end(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        tls.say_end();
        let out = tls.take_out();
        // The client may be gone. The few bytes fit the socket's buffer, unless the client does not read.
        let _ = send(&*self.socket, &out, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
}

impl Read for FrameStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_broken {
            return Err(ErrorKind::InvalidData.into());
        }
        let message_ends = |since| Deadline::at(since + self.patience.message);
        let until = self.waited_since().map_or(self.read_until, message_ends);
        let bytes = self.read_plain(buffer, until)?;
        let is_asked_to_close = self.queue.as_ref().is_some_and(|queue| queue.close_code().is_some());
        if bytes == 0 && (self.closing.has_begun() || is_asked_to_close) {
            // The acceptor, or the actor, has shut this side to wake this thread. The client has not closed the connection, and is
            // still to be told why it ends.
            return Err(ErrorKind::ConnectionAborted.into());
        }
        match self.good_of(&buffer[..bytes]) {
            Ok(0) if bytes > 0 => Err(ErrorKind::InvalidData.into()),
            Ok(good) => Ok(good),
            Err(NoRoom) => Err(ErrorKind::QuotaExceeded.into()),
        }
    }
}

impl Write for FrameStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(queue) = &self.queue {
            queue.put_own(bytes)?;
            queue.flush();
            return Ok(bytes.len());
        }
        let Some(tls) = &mut self.tls else { return self.send_some(bytes) };
        let piece = &bytes[..bytes.len().min(PLAIN_BYTES)];
        tls.encrypt(piece)?;
        let out = tls.take_out();
        self.send_all(&out)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn stream(handshake: Duration) -> (FrameStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (socket, _) = listener.accept().expect("a client");
        let patience = Patience { handshake, ..Patience::of(&Limits::default()) };
        (FrameStream::new(Arc::new(socket), None, ListenerClosing::default(), patience), client)
    }

    #[test]
    fn a_client_that_says_nothing_is_waited_for_only_so_long() {
        let (mut stream, _client) = stream(Duration::from_millis(20));
        assert_eq!(stream.read(&mut [0; 8]).expect_err("nothing came").kind(), ErrorKind::TimedOut);
        assert!(!stream.is_in_the_middle());
    }

    #[test]
    fn a_client_that_has_begun_is_waited_for_by_the_messages_patience() {
        let (mut stream, mut client) = stream(Duration::from_secs(60));
        assert_eq!(stream.begin_frames(b"", &AnswerBudget::new(0)), 0);
        client.write_all(b"\x81").expect("an open socket");
        assert_eq!(stream.read(&mut [0; 8]).expect("a byte"), 1);
        assert!(stream.is_in_the_middle());
        stream.patience.message = Duration::ZERO;
        assert_eq!(stream.read(&mut [0; 8]).expect_err("nothing came").kind(), ErrorKind::TimedOut);
        stream.patience.message = Duration::from_secs(60);
        client.write_all(b"\x80\0\0\0\0").expect("an open socket");
        assert_eq!(stream.read(&mut [0; 8]).expect("the rest"), 5);
        assert!(!stream.is_in_the_middle());
    }

    #[test]
    fn bytes_before_the_first_frame_and_after_the_last_win_a_client_no_time() {
        let (mut stream, mut client) = stream(Duration::from_millis(50));
        client.write_all(b"GET").expect("an open socket");
        assert_eq!(stream.read(&mut [0; 8]).expect("the beginning of a handshake"), 3);
        assert_eq!(stream.read(&mut [0; 8]).expect_err("nothing came").kind(), ErrorKind::TimedOut);
        assert_eq!(stream.begin_frames(b"\x81", &AnswerBudget::new(0)), 1);
        let drips = std::thread::spawn(move || while client.write_all(b"x").is_ok() {});
        let begun = clock::now();
        stream.linger();
        assert!(clock::since(begun) < WEBSOCKET_LINGER + Duration::from_secs(20), "the limit of a message is a minute");
        drop(stream);
        drips.join().expect("no panic");
    }

    #[test]
    fn a_client_that_takes_nothing_is_written_to_only_so_long() {
        let (mut stream, _client) = stream(Duration::from_secs(60));
        stream.write_until = Deadline::after(Duration::from_millis(50));
        let refused = std::iter::repeat_with(|| stream.write(&[0; WRITE_BYTES])).find_map(Result::err);
        assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::TimedOut));
    }

    #[test]
    fn what_the_system_takes_is_no_sign_that_the_client_does() {
        let (mut stream, mut client) = stream(Duration::from_secs(60));
        stream.patience.stall = Duration::from_millis(300);
        stream.begin_writing();
        let begun = clock::now();
        let refused = std::iter::repeat_with(|| stream.write(&[0; WRITE_BYTES])).find_map(Result::err);
        assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::TimedOut));
        assert!(clock::since(begun) < 2 * stream.patience.stall + Duration::from_secs(1), "{:?}", clock::since(begun));
        // The wait begins again for a client that has read something.
        let took = std::thread::spawn(move || {
            client.set_read_timeout(Some(Duration::from_secs(20))).expect("an open socket");
            let mut taken = 0;
            while taken < 8 << 20 {
                taken += client.read(&mut vec![0; 1 << 20]).expect("more comes");
            }
        });
        stream.begin_writing();
        stream.moved = clock::now();
        while !took.is_finished() && stream.write(&[0; WRITE_BYTES]).is_ok() {}
        took.join().expect("it took all");
    }

    #[test]
    fn a_frame_that_must_not_be_is_found_behind_those_before_it() {
        let (mut stream, mut client) = stream(Duration::from_secs(60));
        assert_eq!(stream.begin_frames(b"", &AnswerBudget::new(0)), 0);
        client.write_all(b"\x81\x81\0\0\0\0a\x81\xfe\0\x01\0\0\0\0b").expect("an open socket");
        assert_eq!(stream.read(&mut [0; 64]).expect("the first"), 10);
        assert_eq!(stream.read(&mut [0; 64]).expect_err("the second").kind(), ErrorKind::InvalidData);
    }
}
