//! The bounded queue of bytes that are to be sent to one client of a listener, and the sending, which never blocks.
//!
//! Whoever has something for the client reserves room, puts bytes into the queue, and lets them be sent as far as the
//! system takes them at once. If the system takes no more, the thread of the [`ClientWriter`](super::ClientWriter) watches
//! the socket and goes on when it does. So no thread waits for a client but that one, and that one waits for all.
//!
//! ```text
//!   reserve ──▶ put ──▶ flush ──┬─ all is sent
//!                               ├─ the socket is full ──▶ watched by the writer ──▶ flush
//!                               └─ the client is gone ──▶ over
//! ```
//!
//! Bytes are put by the thread that has committed them. So two locks guard a queue: `waiting`, which is held for a moment, and
//! `sending`, which is held while bytes are encrypted and given to the system, and under which `waiting` may be taken. A TLS
//! session encrypts what it sends in the order in which it sends it, so it lies under `sending`.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::client_orders::ClientOrders;
use super::tls::TlsSession;
use crate::base::clock;

/// How much is given to the system, or encrypted, at once.
const PIECE_BYTES: usize = 64 * 1024;
/// What ends a body that is sent in chunks.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How the pieces of a queue are told from each other on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PieceFraming {
    /// The pieces bring their own framing, or end with the connection.
    Bare,
    /// HTTP/1.1 chunks.
    Chunked,
}

/// Gives orders to the writer of a listener's clients.
pub(crate) type ClientWriterHandle = ClientOrders<ClientQueue>;

/// What is to be sent to one client.
pub(crate) struct ClientQueue {
    framing: PieceFraming,
    /// How many bytes may be queued. One piece always fits into an empty queue.
    most: usize,
    /// How many bytes are reserved, or queued and not taken by the system yet.
    queued: AtomicUsize,
    /// The number by which the actor knows the client; 0 before it knows the client.
    id: AtomicU64,
    /// Nothing can be sent any more.
    is_over: AtomicBool,
    /// The actor has closed the connection.
    is_closing: AtomicBool,
    /// The status code with which the actor wants the connection closed; 0 if it does not.
    close_code: AtomicU16,
    /// Empty until the beginning of the answer was sent.
    connected: OnceLock<Connected>,
    /// Held for a moment, to put something or to take it out.
    waiting: Mutex<Waiting>,
    /// Held by who sends.
    sending: Mutex<Sending>,
    /// Told once when the queue is over.
    over: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

struct Connected {
    socket: Arc<TcpStream>,
    writer: ClientWriterHandle,
    /// Whether nobody reads from the client.
    is_written_only: bool,
}

#[derive(Default)]
struct Waiting {
    pieces: VecDeque<Piece>,
    /// Nothing is put after what waits.
    has_ended: bool,
}

#[derive(Default)]
struct Sending {
    tls: Option<Box<TlsSession>>,
    /// What is being sent, and how much of it was.
    current: Option<(Piece, usize)>,
    /// When the system last took something.
    moved: Option<Instant>,
}

struct Piece {
    bytes: Bytes,
    /// How much room of the queue it gives back once it is sent.
    room: usize,
}

enum Bytes {
    /// Sent to many clients, perhaps.
    Shared(Arc<[u8]>),
    Own(Vec<u8>),
}

impl Bytes {
    fn all(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }
}

/// How far a queue was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// All that was in it.
    All,
    /// The system takes no more now.
    Blocked,
    /// Nothing can be sent any more.
    Over,
}

/// The queue has no room for so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueFull;

impl ClientQueue {
    /// A queue that nothing is sent from until [`ClientQueue::connect`].
    pub(crate) fn new(framing: PieceFraming, most: usize) -> Arc<Self> {
        Arc::new(Self {
            framing,
            most,
            queued: AtomicUsize::new(0),
            id: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            close_code: AtomicU16::new(0),
            connected: OnceLock::new(),
            waiting: Mutex::default(),
            sending: Mutex::default(),
            over: Mutex::default(),
        })
    }

    /// The actor knows the client by this number from now on.
    pub(crate) fn name(&self, id: u64) {
        self.id.store(id, Ordering::Release);
    }

    /// The number by which the actor knows the client, if it does.
    pub(crate) fn id(&self) -> Option<u64> {
        Some(self.id.load(Ordering::Acquire)).filter(|id| *id > 0)
    }

    /// What is put into the queue is sent to `socket` from now on. If `over` is there, nobody reads from the client: `over` is
    /// called once, without a lock, when nothing can be sent any more.
    pub(crate) fn connect(
        self: &Arc<Self>,
        socket: Arc<TcpStream>,
        tls: Option<Box<TlsSession>>,
        writer: ClientWriterHandle,
        over: Option<Box<dyn FnOnce() + Send>>,
    ) {
        let is_written_only = over.is_some();
        *self.over.lock() = over;
        self.sending.lock().tls = tls;
        let connected = self.connected.set(Connected { socket, writer: writer.clone(), is_written_only });
        assert!(connected.is_ok(), "a client connects once");
        if self.is_over() {
            self.cut();
        } else {
            // The writer sends what waits already, and watches a client that nobody reads from.
            writer.flush(vec![Arc::clone(self)]);
        }
    }

    /// Takes room for `bytes`. They are to be put into the queue, or the room is lost.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<(), QueueFull> {
        let more = |queued: usize| {
            let sum = queued.saturating_add(bytes);
            (queued == 0 || sum <= self.most).then_some(sum)
        };
        self.queued.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).map(drop).map_err(|_| QueueFull)
    }

    /// A piece as it is put into this queue.
    pub(crate) fn framed(&self, bytes: &[u8]) -> Arc<[u8]> {
        match self.framing {
            PieceFraming::Bare => bytes.into(),
            PieceFraming::Chunked => {
                let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
                chunk.extend_from_slice(bytes);
                chunk.extend_from_slice(b"\r\n");
                chunk.into()
            }
        }
    }

    /// Puts bytes that have `room` bytes of reserved room behind those that wait. It blocks on nothing.
    pub(crate) fn put(&self, bytes: Arc<[u8]>, room: usize) {
        self.put_piece(Piece { bytes: Bytes::Shared(bytes), room });
    }

    /// Puts bytes of the runtime's own behind those that wait, if there is room.
    pub(crate) fn put_own(&self, bytes: &[u8]) -> Result<(), QueueFull> {
        self.reserve(bytes.len())?;
        self.put_piece(Piece { bytes: Bytes::Own(bytes.to_vec()), room: bytes.len() });
        Ok(())
    }

    fn put_piece(&self, piece: Piece) {
        let mut waiting = self.waiting.lock();
        if waiting.has_ended || self.is_over() {
            drop(waiting);
            self.free(piece.room);
        } else {
            waiting.pieces.push_back(piece);
        }
    }

    fn free(&self, room: usize) {
        self.queued.fetch_sub(room, Ordering::AcqRel);
    }

    /// Has the writer send what waits. It blocks on nothing. A client that is not connected yet gets it when it is.
    pub(crate) fn flush_later(self: &Arc<Self>) {
        if let Some(writer) = self.writer() {
            writer.flush(vec![Arc::clone(self)]);
        }
    }

    /// Sends what waits, as far as the system takes it at once. If it does not take all, the writer goes on.
    pub(crate) fn flush(self: &Arc<Self>) -> Flushed {
        let flushed = self.send_what_waits();
        match flushed {
            Flushed::All => {}
            Flushed::Blocked => self.flush_later(),
            Flushed::Over => self.tell_over(),
        }
        flushed
    }

    /// Sends what waits, as far as the system takes it at once.
    pub(super) fn send_what_waits(&self) -> Flushed {
        let Some(Connected { socket, .. }) = self.connected.get() else { return Flushed::All };
        let mut sending = self.sending.lock();
        let Sending { tls, current, moved } = &mut *sending;
        let mut freed = 0;
        let sent = loop {
            if self.is_over() {
                break Ok(Flushed::Over);
            }
            let (piece, at) = match current {
                Some(current) => current,
                None => match self.next_piece(tls.as_deref_mut()) {
                    Ok(Some(piece)) => current.insert((piece, 0)),
                    Ok(None) => break Ok(Flushed::All),
                    Err(error) => break Err(error),
                },
            };
            let all = piece.bytes.all();
            if *at == all.len() {
                freed += piece.room;
                *current = None;
                continue;
            }
            let some = &all[*at..all.len().min(*at + PIECE_BYTES)];
            match send(&**socket, some, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(taken) => {
                    *at += taken;
                    *moved = Some(clock::now());
                }
                Err(Errno::AGAIN) => break Ok(Flushed::Blocked),
                Err(Errno::INTR) => {}
                Err(error) => break Err(error.into()),
            }
        };
        let flushed = match sent {
            Ok(Flushed::All) if self.has_ended() => {
                say_end(socket, tls.as_deref_mut());
                self.is_over.store(true, Ordering::Release);
                Flushed::Over
            }
            Ok(flushed) => flushed,
            Err(error) => {
                log::debug!("a client is gone: {error}");
                self.disconnect();
                Flushed::Over
            }
        };
        if flushed == Flushed::Over {
            *current = None;
        }
        drop(sending);
        self.free(freed);
        flushed
    }

    /// The next piece that is to be sent, encrypted if TLS is spoken.
    fn next_piece(&self, tls: Option<&mut TlsSession>) -> io::Result<Option<Piece>> {
        let next = || self.waiting.lock().pieces.pop_front();
        let Some(tls) = tls else { return Ok(next()) };
        let own = |bytes: Vec<u8>, room| Some(Piece { bytes: Bytes::Own(bytes), room });
        let before = tls.take_out();
        if !before.is_empty() {
            return Ok(own(before, 0));
        }
        let Some(Piece { bytes, room }) = next() else { return Ok(None) };
        tls.encrypt(bytes.all())?;
        Ok(own(tls.take_out(), room))
    }

    /// Whether everything was sent, and nothing follows.
    fn has_ended(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.has_ended && waiting.pieces.is_empty()
    }

    /// Nothing is sent any more, and what waits is dropped.
    fn disconnect(&self) {
        self.is_over.store(true, Ordering::Release);
        self.waiting.lock().pieces.clear();
        // This wakes the thread that reads from the client, if there is one. It fails if the client has gone already.
        self.connected.get().into_iter().for_each(|connected| _ = connected.socket.shutdown(Shutdown::Both));
    }

    /// Nothing is put into the queue any more: the connection ends after what waits.
    pub(crate) fn finish(&self) {
        let mut waiting = self.waiting.lock();
        if !waiting.has_ended && self.framing == PieceFraming::Chunked {
            waiting.pieces.push_back(Piece { bytes: Bytes::Own(LAST_CHUNK.to_vec()), room: 0 });
        }
        waiting.has_ended = true;
    }

    /// Ends the connection after everything that was put into the queue, as far as its client takes it. It blocks on nothing.
    pub(crate) fn end(self: &Arc<Self>) {
        self.finish();
        self.flush_later();
    }

    /// Disconnects the client. It blocks on nothing.
    pub(crate) fn cut(&self) {
        self.disconnect();
        self.tell_over();
    }

    /// Asks the thread that reads from the client to close the connection with this status code, after what waits, and wakes
    /// it.
    pub(crate) fn ask_to_close(&self, code: u16) {
        self.close_code.store(code, Ordering::Release);
        // This fails if the client has gone already; its thread ends in that case too.
        self.connected.get().into_iter().for_each(|connected| _ = connected.socket.shutdown(Shutdown::Read));
    }

    /// The status code with which the connection is to be closed, if it is.
    pub(crate) fn close_code(&self) -> Option<u16> {
        Some(self.close_code.load(Ordering::Acquire)).filter(|code| *code > 0)
    }

    /// The actor closes the connection: from now on nothing more is sent to it, and it is not open.
    pub(crate) fn begin_closing(&self) {
        self.is_closing.store(true, Ordering::Release);
    }

    /// Whether the client can be sent nothing more.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire) || self.is_over()
    }

    /// The writer that sends what is put into the queue, once the client is connected.
    pub(crate) fn writer(&self) -> Option<&ClientWriterHandle> {
        self.connected.get().map(|connected| &connected.writer)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Tells that the queue is over, once.
    pub(super) fn tell_over(&self) {
        let over = self.over.lock().take();
        if let Some(over) = over {
            over();
        }
    }

    /// Lets `use_it` use the TLS session, if TLS is spoken. What the session wants to send after it is sent with what
    /// comes next.
    pub(crate) fn with_session<T>(&self, use_it: impl FnOnce(&mut TlsSession) -> T) -> Option<T> {
        self.sending.lock().tls.as_deref_mut().map(use_it)
    }

    /// The socket, once it is known, and whether nobody reads from it.
    pub(super) fn socket(&self) -> Option<(&Arc<TcpStream>, bool)> {
        self.connected.get().map(|connected| (&connected.socket, connected.is_written_only))
    }

    /// When the system last took something.
    pub(super) fn moved(&self) -> Option<Instant> {
        self.sending.lock().moved
    }
}

/// Tells the client that nothing more will be sent.
fn say_end(socket: &TcpStream, tls: Option<&mut TlsSession>) {
    if let Some(tls) = tls {
        tls.say_end();
        // The few bytes fit the socket's buffer, or the client does not read.
        let _ = send(socket, &tls.take_out(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }
    // This fails if the client has gone already.
    let _ = socket.shutdown(Shutdown::Write);
}

impl From<QueueFull> for io::Error {
    fn from(QueueFull: QueueFull) -> Self {
        ErrorKind::TimedOut.into()
    }
}
