//! The listener's own thread: lets clients in while there are places, turns others away, and closes.
//!
//! A thread for each client, and never more of them than there are places. Where all are taken, one that has not shaken
//! hands makes room for whoever comes; those that have are not disturbed.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::arriving::STEP_BYTES;
use super::connection::{Connection, Host};
use super::origin::Origins;
use crate::base::clock;
use crate::base::limits::WEBSOCKET_DRAIN;
use crate::base::seldom::Seldom;
use crate::base::thread::{self, JoinHandle};
use crate::handlers::ActorRef;
use crate::handlers::answers::AnswerBudget;
use crate::handlers::net::{self, Bell, Leaving, numbered};
use crate::handlers::wire::asks_for_a_head_alone;

/// How long to leave the system alone that gives no more sockets or threads.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// How long a client that has not shaken hands keeps a place that another wants.
const HANDSHAKE_WANTED: Duration = Duration::from_millis(500);
/// For a client that is turned away to have sent its request: closing before that would lose it the answer.
const GLANCE: Duration = Duration::from_millis(50);

const BUSY_HEAD: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: text/plain; charset=utf-8\r\n\
                      Content-Length: 30\r\nConnection: close\r\n\r\n";
const BUSY_BODY: &[u8] = b"all connections are taken now\n";

/// A listener that serves. Dropped, it lets nobody in, tells its clients, and has joined every thread.
pub(super) struct Serving {
    pub(super) socket: SocketAddr,
    closing: Arc<AtomicBool>,
    bell: Arc<Bell>,
    /// `None` only while being dropped.
    thread: Option<JoinHandle>,
}

impl Serving {
    pub(super) fn start(address: SocketAddr, actor: &ActorRef, origins: &Arc<Origins>) -> io::Result<Self> {
        let listener = net::bind(address)?;
        listener.set_nonblocking(true)?;
        let socket = listener.local_addr()?;
        let closing = Arc::new(AtomicBool::new(false));
        let (bell, rung) = Bell::new()?;
        let name = format!("ws-{}", socket.port());
        let limits = &actor.limits;
        let answers = limits.websocket_answers_bytes.max(limits.websocket_answer_bytes);
        let messages = limits
            .websocket_messages_bytes
            .max(limits.websocket_message_bytes.next_multiple_of(STEP_BYTES as u64) + STEP_BYTES as u64);
        let host = Host {
            actor: actor.clone(),
            origins: Arc::clone(origins),
            answers: AnswerBudget::new(usize::try_from(answers).unwrap_or(usize::MAX)),
            messages: AnswerBudget::new(usize::try_from(messages).unwrap_or(usize::MAX)),
            closing: Arc::clone(&closing),
        };
        let door = Door::new(listener, &name, host, (Arc::clone(&bell), rung));
        let thread = thread::spawn(&name, move || door.run())?;
        Ok(Self { socket, closing, bell, thread: Some(thread) })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            // Its panic was logged by the thread itself.
            let _ = thread.join();
        }
    }
}

struct Door {
    listener: TcpListener,
    name: String,
    host: Host,
    places: Vec<Option<Place>>,
    free: BTreeSet<usize>,
    bell: Arc<Bell>,
    rung: UnixStream,
    leave: Sender<usize>,
    left: Receiver<usize>,
    /// The system gives no more sockets or threads.
    shortages: Seldom,
}

/// One connection, as the door knows it.
struct Place {
    socket: Arc<TcpStream>,
    thread: JoinHandle,
    began: Instant,
    /// Whether it has shaken hands; its thread says so.
    shaken: Arc<AtomicBool>,
    /// Whether it was made to leave for another.
    dismissed: bool,
}

impl Door {
    fn new(listener: TcpListener, name: &str, host: Host, (bell, rung): (Arc<Bell>, UnixStream)) -> Self {
        let connections = usize::try_from(host.actor.limits.websocket_connections).unwrap_or(usize::MAX).max(1);
        let (leave, left) = bounded(connections);
        Self {
            listener,
            name: name.to_owned(),
            host,
            places: (0..connections).map(|_| None).collect(),
            free: (0..connections).collect(),
            bell,
            rung,
            leave,
            left,
            shortages: Seldom::default(),
        }
    }

    fn run(mut self) {
        while !self.host.closing.load(Ordering::SeqCst) {
            self.collect_left();
            if !self.wait(true, None) {
                continue;
            }
            if self.free.is_empty() && self.makes_room() {
                // Who comes waits in the listener's line meanwhile.
                self.wait(false, Some(GLANCE));
            } else {
                self.accept();
            }
        }
        self.drain();
    }

    /// Waits until the bell rings, a client comes (if `for_clients`), or for `timeout`. True if a client came.
    fn wait(&mut self, for_clients: bool, timeout: Option<Duration>) -> bool {
        let for_clients = if for_clients { PollFlags::IN } else { PollFlags::empty() };
        let mut sources = [PollFd::new(&self.rung, PollFlags::IN), PollFd::new(&self.listener, for_clients)];
        let timeout = timeout.map(|timeout| Timespec::try_from(timeout).expect("no wait is an age"));
        if poll(&mut sources, timeout.as_ref()).is_err() {
            return false;
        }
        let [rung, came] = sources.map(|source| !source.revents().is_empty());
        if rung {
            while matches!((&self.rung).read(&mut [0; 64]), Ok(1..)) {}
        }
        came
    }

    /// Frees the places of connections that have ended, and joins their threads.
    fn collect_left(&mut self) {
        while let Ok(place) = self.left.try_recv() {
            if let Some(gone) = self.places[place].take() {
                // A panic was logged by the thread itself, and is no concern of other connections.
                let _ = gone.thread.join();
            }
            self.free.insert(place);
        }
    }

    /// Whether a place will soon be free: the client that has not shaken hands for the longest leaves its own.
    fn makes_room(&mut self) -> bool {
        let shaking = self.places.iter_mut().flatten().filter(|place| !place.shaken.load(Ordering::SeqCst));
        let Some(slowest) = shaking.min_by_key(|place| (!place.dismissed, place.began)) else { return false };
        if !slowest.dismissed && clock::since(slowest.began) >= HANDSHAKE_WANTED {
            slowest.dismissed = true;
            // One that is gone already is as good.
            let _ = slowest.socket.shutdown(Shutdown::Both);
        }
        true
    }

    fn accept(&mut self) {
        match self.listener.accept() {
            Ok((socket, peer)) => match self.free.pop_first() {
                Some(place) => self.admit(place, socket, peer),
                None => turn_away(&socket),
            },
            // A client gone already, a signal, or nobody there: no trouble.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                ) => {}
            Err(error) => {
                self.shortages.warn(format_args!("{} cannot let clients in for now: {error}", self.name));
                // A connection that ends is a socket.
                self.makes_room();
                self.wait(false, Some(EXHAUSTED));
            }
        }
    }

    fn admit(&mut self, place: usize, socket: TcpStream, peer: SocketAddr) {
        let (socket, shaken) = (Arc::new(socket), Arc::new(AtomicBool::new(false)));
        match self.start(place, &socket, &shaken) {
            Ok(thread) => {
                let began = clock::now();
                self.places[place] = Some(Place { socket, thread, began, shaken, dismissed: false });
            }
            // The place comes back as those of other connections do: the thread's body was dropped unrun.
            Err(error) => {
                self.shortages.warn(format_args!("no thread for the connection of {peer}: {error}"));
                turn_away(&socket);
            }
        }
    }

    fn start(&self, place: usize, socket: &Arc<TcpStream>, shaken: &Arc<AtomicBool>) -> io::Result<JoinHandle> {
        let leaving = Leaving { place, leave: self.leave.clone(), bell: Arc::clone(&self.bell) };
        socket.set_nonblocking(false)?;
        socket.set_nodelay(true)?;
        let (socket, shaken, host) = (Arc::clone(socket), Arc::clone(shaken), self.host.clone());
        thread::spawn(&numbered(&self.name, place + 1), move || {
            let _leaving = leaving;
            if let Some(connection) = Connection::accept(&socket, host) {
                shaken.store(true, Ordering::SeqCst);
                connection.run();
            }
        })
    }

    /// Ends all connections: those that wait for their client at once, the others when they are through with what they
    /// do, or by force. One that waits for the actor is waited for: there is no stopping it from here.
    fn drain(mut self) {
        self.shut_all(Shutdown::Read);
        let deadline = clock::now() + WEBSOCKET_DRAIN;
        self.collect_left();
        while self.free.len() < self.places.len() {
            let left = clock::until(deadline);
            if left.is_zero() {
                self.shut_all(Shutdown::Both);
            }
            self.wait(false, Some(left.max(EXHAUSTED)));
            self.collect_left();
        }
    }

    fn shut_all(&self, how: Shutdown) {
        // One that is gone already is as good.
        self.places.iter().flatten().for_each(|place| _ = place.socket.shutdown(how));
    }
}

/// Answers a client that never gets a thread.
fn turn_away(mut socket: &TcpStream) {
    let patience = Timespec::try_from(GLANCE).expect("no age");
    let _ = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&patience));
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
