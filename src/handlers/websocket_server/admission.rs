//! Admission of WebSocket clients: the listener of an actor, who gets a thread, and who is turned away.
//!
//! There is one thread for each client, up to a bound. When no thread is free, a client that has not shaken hands is
//! disconnected for one that comes. Clients that have shaken hands are not disturbed.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::arriving::STEP_BYTES;
use super::connection::{WebSocketConnection, WebSocketShared};
use super::origin::Origins;
use crate::base::clock;
use crate::base::limits::WEBSOCKET_DRAIN;
use crate::handlers::ActorRef;
use crate::net::http::asks_for_a_head_alone;
use crate::net::{
    Acceptor, AcceptorHandle, Admission, AnswerBudget, Attention, ClientWriter, ConnectionThreads, ListenerClosing,
    ServerCertificate,
};
use crate::net::{ThreadNames, wait_until_ready};
use crate::promise::HANDLE_CONNECTION_MESSAGE;

/// How long a client that has not shaken hands keeps a thread that another client wants.
const HANDSHAKE_WANTED: Duration = Duration::from_millis(500);
/// How long a client that is turned away has to send its request. If its connection were closed before that, it would
/// lose the answer. Also how long a new client waits in the backlog until the acceptor looks again whether a thread is
/// free.
const GLANCE: Duration = Duration::from_millis(50);

const BUSY_HEAD: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: text/plain; charset=utf-8\r\n\
                      Content-Length: 30\r\nConnection: close\r\n\r\n";
const BUSY_BODY: &[u8] = b"all connections are taken now\n";

/// The running WebSocket listener of an actor. When it is dropped it accepts no more clients, tells its clients that
/// the actor is ending, and joins every thread.
pub(super) struct WebSocketListener {
    pub(super) scheme: &'static str,
    pub(super) address: SocketAddr,
    /// Dropped first: as long as somebody holds the socket, clients can connect.
    pub(super) socket: Arc<TcpListener>,
    /// Dropped before the writer: the connections' threads send through it until they have ended.
    _acceptor: AcceptorHandle,
    _writer: Option<ClientWriter>,
}

impl WebSocketListener {
    pub(super) fn start(
        listener: Arc<TcpListener>,
        actor: &ActorRef,
        origins: &Arc<Origins>,
        tls: Option<ServerCertificate>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let name = format!("ws-{}", address.port());
        let limits = &actor.limits;
        let bytes = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        let answers = limits.websocket_answers_bytes.max(limits.websocket_answer_bytes);
        let messages = limits
            .websocket_messages_bytes
            .max(limits.websocket_message_bytes.next_multiple_of(STEP_BYTES as u64) + STEP_BYTES as u64);
        let most_threads = bytes(limits.websocket_connections).max(1);
        let closing = ListenerClosing::default();
        let knows_ids = actor.exports.contains(HANDLE_CONNECTION_MESSAGE.full);
        let stall = Duration::from_millis(limits.websocket_stall_ms);
        let writer = knows_ids.then(|| ClientWriter::start(&format!("{name}-w"), stall, Duration::ZERO)).transpose()?;
        let scheme = if tls.is_some() { "wss" } else { "ws" };
        let shared = WebSocketShared {
            actor: actor.clone(),
            origins: Arc::clone(origins),
            tls: tls.map(Arc::new),
            answers: AnswerBudget::new(bytes(answers)),
            messages: AnswerBudget::new(bytes(messages)),
            closing: closing.clone(),
            writer: writer.as_ref().map(ClientWriter::handle),
        };
        let names = ThreadNames { acceptor: &name, suffix: "" };
        let admission = WebSocketAdmission { shared, is_full: false };
        let socket = Arc::clone(&listener);
        let acceptor = Acceptor::new(&names, vec![listener], most_threads, closing, admission)?.start()?;
        Ok(Self { scheme, address, socket, _acceptor: acceptor, _writer: writer })
    }
}

/// Decides about the clients of one WebSocket listener.
struct WebSocketAdmission {
    shared: WebSocketShared,
    /// Whether a client waits in the backlog because no thread was free at the last look. One will be free soon.
    is_full: bool,
}

/// A connection that has a thread, as the acceptor knows it.
struct WebSocketClient {
    socket: Arc<TcpStream>,
    began: Instant,
    /// Whether its handshake is over; the connection's thread sets this.
    has_shaken: Arc<AtomicBool>,
    /// Whether it was disconnected for another.
    is_dismissed: bool,
}

type WebSocketThreads = ConnectionThreads<WebSocketClient>;

impl WebSocketAdmission {
    fn start(&self, socket: &Arc<TcpStream>, peer: SocketAddr, threads: &mut WebSocketThreads) -> io::Result<()> {
        socket.set_nonblocking(false)?;
        socket.set_nodelay(true)?;
        let has_shaken = Arc::new(AtomicBool::new(false));
        let client = WebSocketClient {
            socket: Arc::clone(socket),
            began: clock::now(),
            has_shaken: Arc::clone(&has_shaken),
            is_dismissed: false,
        };
        let (socket, shared) = (Arc::clone(socket), self.shared.clone());
        let started = threads.start(peer, client, move |_| {
            if let Some(connection) = WebSocketConnection::accept(&socket, shared) {
                has_shaken.store(true, Ordering::SeqCst);
                connection.run();
            }
        });
        started.map_err(|(error, _)| error)
    }
}

impl Admission for WebSocketAdmission {
    type Listener = Arc<TcpListener>;
    type Connection = WebSocketClient;

    fn drain_time(&self) -> Duration {
        WEBSOCKET_DRAIN
    }

    fn look_after(&mut self, _threads: &mut WebSocketThreads) -> Attention {
        let is_full = std::mem::take(&mut self.is_full);
        Attention { takes_clients: !is_full, at_most: is_full.then_some(GLANCE) }
    }

    /// If no thread is free and some client has not finished its handshake, a new client waits in the socket's backlog
    /// until that client's thread is free. If all clients have finished their handshakes, the new client is accepted
    /// and refused.
    fn clients_wanted(&mut self, _at: usize, threads: &mut WebSocketThreads) -> usize {
        match threads.room() {
            0 if dismiss_slowest(threads) => {
                self.is_full = true;
                0
            }
            0 => 1,
            room => room,
        }
    }

    fn admit(&mut self, (socket, peer): (TcpStream, SocketAddr), _at: usize, threads: &mut WebSocketThreads) {
        let socket = Arc::new(socket);
        let is_started = threads.room() > 0 && self.start(&socket, peer, threads).is_ok();
        if !is_started && self.shared.tls.is_none() {
            turn_away(&socket);
        }
    }

    fn free_a_descriptor(&mut self, threads: &mut WebSocketThreads) {
        dismiss_slowest(threads);
    }

    /// Connections that wait for their clients end at once, the others when they have answered their clients.
    fn close(&mut self, threads: &mut WebSocketThreads) {
        shut_all(threads, Shutdown::Read);
    }

    /// If a connection waits for the actor, the listener waits for that, because nothing here can stop the actor.
    fn close_by_force(&mut self, threads: &mut WebSocketThreads) {
        shut_all(threads, Shutdown::Both);
    }
}

/// Disconnects the client whose handshake has taken the longest, if it has taken too long. Returns whether any client's
/// handshake is not over, so that a thread will be free soon.
fn dismiss_slowest(threads: &mut WebSocketThreads) -> bool {
    let shaking = threads.iter_mut().filter(|client| !client.has_shaken.load(Ordering::SeqCst));
    let Some(slowest) = shaking.min_by_key(|client| (!client.is_dismissed, client.began)) else { return false };
    if !slowest.is_dismissed && clock::since(slowest.began) >= HANDSHAKE_WANTED {
        slowest.is_dismissed = true;
        // This fails if the client has gone already; its thread ends in that case too.
        let _ = slowest.socket.shutdown(Shutdown::Both);
    }
    true
}

fn shut_all(threads: &WebSocketThreads, how: Shutdown) {
    // This fails if the client has gone already; its thread ends in that case too.
    threads.iter().for_each(|(_, client)| _ = client.socket.shutdown(how));
}

/// Answers a client that gets no thread. (Over TLS nobody has shaken hands with it, and it gets no answer.)
fn turn_away(mut socket: &TcpStream) {
    // The client's request may not have come yet. After this time the client is answered anyway.
    let _ = wait_until_ready(&mut [PollFd::new(socket, PollFlags::IN)], Some(GLANCE));
    let answered = socket.set_nonblocking(true).and_then(|()| {
        let mut request = [0; 4096];
        let _ = socket.read(&mut request);
        socket.write_all(BUSY_HEAD)?;
        socket.write_all(if asks_for_a_head_alone(&request) { b"" } else { BUSY_BODY })
    });
    if answered.is_ok() {
        let _ = socket.shutdown(Shutdown::Write);
    }
}
