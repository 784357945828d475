//! Admission of HTTP clients: who gets a thread, who waits for one, who is refused, and who is disconnected for others.
//!
//! ```text
//!     client ──> lobby ──┬─ a thread is free ─────────> served ──> back to the lobby, until more of its body has come
//!                        ├─ none for too long ────────> 503
//!                        ├─ no progress, others come ─> 503: its place in the lobby, or its room for a body, is needed
//!                        └─ its request is here and no thread is free: a connection whose client has kept it waiting for
//!                           too long is disconnected; and one connection for each request that waits is asked to leave
//!                           after its answer
//!     closing: 503 for everyone in the lobby, idle connections end at once, the others are waited for
//! ```
//!
//! There is one thread for each connection, up to a bound. When there are more clients than threads, the threads are
//! for those that have a request to make: a client that says nothing, or sends half of a head, takes no thread from
//! another. A connection whose body does not come needs no thread at all, and neither does one whose TLS handshake does
//! not go on.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::base::clock;
use crate::net::{Admission, Attention, ConnectionThreads, discard_received};

use super::answer::write_refusal;
use super::client_wait::{Awaiting, ClientWait};
use super::connection::{HttpConnection, no_room_for_bodies};
use super::date::DateText;
use super::lobby::{GLANCE, Lobby};
use super::refusal::{HttpRefusal, RefusalId};
use super::shared::HttpShared;
use super::stream::HttpStream;
use super::waiting::{Overdue, WaitingConnection};

/// How many connections may wait in the lobby for each thread that the listener may have.
const WAITING_PER_THREAD: usize = 4;
/// How many are disconnected at once to make room in a full lobby.
const DISMISSED_AT_ONCE: usize = 64;

const PLACE_NEEDED: &str = "the place of a waiting client was needed";
const CLOSING: &str = "the server is closing";

/// Decides about the clients of one HTTP listener.
pub(crate) struct HttpAdmission {
    shared: Arc<HttpShared>,
    lobby: Lobby,
    /// How many connections may wait in the lobby.
    most_waiting: usize,
    /// A connection's thread puts it here when its body, or its handshake, does not come; it goes back to the lobby.
    rest: Sender<HttpConnection>,
    resting: Receiver<HttpConnection>,
    /// Connections that were dismissed and whose threads have not ended yet.
    departing: usize,
}

/// A connection that has a thread, as the acceptor knows it.
pub(crate) struct ServedConnection {
    socket: Arc<TcpStream>,
    client_wait: Arc<ClientWait>,
}

type HttpThreads = ConnectionThreads<ServedConnection>;

impl HttpAdmission {
    pub(super) fn new(shared: Arc<HttpShared>) -> Self {
        let (rest, resting) = unbounded();
        let lobby = Lobby::new(shared.limits.admission_timeout, Arc::clone(&shared.bodies));
        let most_waiting = shared.limits.connections.max(1) * WAITING_PER_THREAD;
        Self { shared, lobby, most_waiting, rest, resting, departing: 0 }
    }

    fn has_room_in_lobby(&self) -> bool {
        self.lobby.len() < self.most_waiting
    }

    /// Gives the free threads to the connections in the lobby whose turn it is.
    fn start_waiting(&mut self, threads: &mut HttpThreads) {
        while threads.room() > 0
            && let Some(WaitingConnection { connection, .. }) = self.lobby.take_next()
        {
            self.start(connection, threads);
        }
    }

    fn start(&self, connection: HttpConnection, threads: &mut HttpThreads) {
        let (socket, peer) = (Arc::clone(connection.socket()), connection.peer());
        let served =
            ServedConnection { socket: Arc::clone(&socket), client_wait: Arc::clone(connection.client_wait()) };
        let rest = self.rest.clone();
        let body = move |_| {
            if let Some(resting) = connection.run() {
                // This fails only if the acceptor has ended, and then the listener is closed as well.
                let _ = rest.send(resting);
            }
        };
        let started = socket.set_nonblocking(false).and_then(|()| socket.set_nodelay(true));
        if started.and_then(|()| threads.start(peer, served, body).map_err(|(error, _)| error)).is_err() {
            self.refuse(&socket, &HttpRefusal::busy("the server has no thread to spare"), false);
        }
    }

    /// Bodies that do not come lose their room in the budget if other bodies need it.
    fn free_room_for_bodies(&mut self) {
        while let Some(waiting) = self.lobby.take_for_room() {
            self.dismiss_waiting(
                &waiting,
                &HttpRefusal::busy("the body did not come, and its room was needed for others"),
            );
            drop(waiting);
            self.lobby.glance_now();
        }
    }

    fn refuse_overdue(&mut self) {
        while let Some((waiting, why)) = self.lobby.take_overdue() {
            let refusal = match why {
                Overdue::NoThread => HttpRefusal::busy("all connections are taken"),
                Overdue::NoRoom => no_room_for_bodies(),
            };
            self.dismiss_waiting(&waiting, &refusal);
        }
        if !self.has_room_in_lobby() {
            let in_the_way = std::iter::from_fn(|| self.lobby.take_in_the_way()).take(DISMISSED_AT_ONCE);
            let in_the_way: Vec<_> = in_the_way.collect();
            in_the_way.iter().for_each(|waiting| self.dismiss_waiting(waiting, &HttpRefusal::busy(PLACE_NEEDED)));
        }
    }

    /// Makes threads free for the requests that wait in the lobby. Connections whose clients have kept them waiting for
    /// too long are disconnected now. If these are too few, other connections are asked to leave after their answers.
    fn free_threads(&mut self, threads: &HttpThreads) {
        let now = clock::now();
        let wanted = self.lobby.ready();
        while self.departing < wanted
            && let Some((number, overdue)) = longest_waited_for(threads)
            && overdue <= now
        {
            self.dismiss(threads, number, &Awaiting::ANY);
        }
        self.shared.want_thread(self.departing < wanted);
    }

    /// Disconnects the connection with this number, if it waits for its client to do one of `what`: its thread wakes
    /// from that wait and finds that it was dismissed.
    fn dismiss(&mut self, threads: &HttpThreads, number: usize, what: &[Awaiting]) {
        let Some(served) = threads.get(number) else { return };
        let Some(awaited) = served.client_wait.dismiss(what) else { return };
        self.departing += 1;
        let _ = served.socket.shutdown(match awaited {
            Awaiting::Request | Awaiting::Body => Shutdown::Read,
            Awaiting::Taking => Shutdown::Both,
        });
    }

    /// Refuses a client that waits in the lobby.
    fn dismiss_waiting(&self, waiting: &WaitingConnection, refusal: &HttpRefusal) {
        self.refuse(waiting.connection.socket(), refusal, waiting.asks_for_a_head_alone());
    }

    /// Refuses a client that has no thread. Over TLS it gets no answer: nobody has shaken hands with it, or the thread that
    /// encrypted for it is gone.
    fn refuse(&self, socket: &TcpStream, refusal: &HttpRefusal, is_head: bool) {
        let id = self.shared.on_refusal.as_ref().map(|on_refusal| on_refusal(None, refusal));
        if self.shared.tls.is_none() {
            refuse(socket, (refusal, id.as_ref()), is_head);
        }
    }

    fn dismiss_all(&mut self, threads: &HttpThreads, what: &[Awaiting]) {
        let numbers: Vec<usize> = threads.iter().map(|(number, _)| number).collect();
        numbers.into_iter().for_each(|number| self.dismiss(threads, number, what));
    }
}

impl Admission for HttpAdmission {
    type Listener = Arc<TcpListener>;
    type Connection = ServedConnection;

    fn drain_time(&self) -> Duration {
        self.shared.limits.drain_timeout
    }

    fn look_after(&mut self, threads: &mut HttpThreads) -> Attention {
        while let Ok(connection) = self.resting.try_recv() {
            let waiting = WaitingConnection::new(connection);
            if self.shared.is_closing() && !waiting.rests_in_body() {
                self.dismiss_waiting(&waiting, &HttpRefusal::busy(CLOSING));
            } else {
                self.lobby.enter(waiting);
            }
        }
        self.lobby.glance();
        if self.shared.is_closing() {
            // A request whose body comes in time is answered.
            self.start_waiting(threads);
        } else {
            self.free_room_for_bodies();
            self.start_waiting(threads);
            self.refuse_overdue();
            self.free_threads(threads);
        }
        Attention { takes_clients: self.has_room_in_lobby(), at_most: (!self.lobby.is_empty()).then_some(GLANCE) }
    }

    fn clients_wanted(&mut self, _at: usize, _threads: &mut HttpThreads) -> usize {
        self.most_waiting.saturating_sub(self.lobby.len())
    }

    fn admit(&mut self, (socket, peer): (TcpStream, SocketAddr), _at: usize, _threads: &mut HttpThreads) {
        let stream = HttpStream::new(Arc::new(socket));
        self.lobby.enter(WaitingConnection::new(HttpConnection::new(stream, peer, Arc::clone(&self.shared))));
    }

    fn silent(&self) -> Vec<BorrowedFd<'_>> {
        self.lobby.silent().map(|(_, socket)| socket.as_fd()).collect()
    }

    fn clients_spoke(&mut self, places: &[usize]) {
        let silent: Vec<usize> = self.lobby.silent().map(|(at, _)| at).collect();
        places.iter().for_each(|place| self.lobby.hear(silent[*place]));
    }

    fn connection_ended(&mut self, connection: ServedConnection) {
        self.departing -= usize::from(connection.client_wait.is_dismissed());
    }

    /// The connection that has waited longest for a request is asked to end, and a client that waits in the lobby
    /// without making a request is refused.
    fn free_a_descriptor(&mut self, threads: &mut HttpThreads) {
        if let Some((number, _)) = longest_waited_for(threads) {
            self.dismiss(threads, number, &[Awaiting::Request]);
        }
        if let Some(waiting) = self.lobby.take_in_the_way() {
            self.dismiss_waiting(&waiting, &HttpRefusal::busy(PLACE_NEEDED));
        }
    }

    fn close(&mut self, threads: &mut HttpThreads) {
        while let Some(waiting) = self.lobby.take_first(|waiting| !waiting.rests_in_body()) {
            self.dismiss_waiting(&waiting, &HttpRefusal::busy(CLOSING));
        }
        self.dismiss_all(threads, &[Awaiting::Request]);
    }

    fn refuse_at_close(&mut self, (socket, _): (TcpStream, SocketAddr)) {
        self.refuse(&socket, &HttpRefusal::busy(CLOSING), false);
    }

    /// If the service works on a request, the listener waits for that and answers it, because nothing here can stop the
    /// service.
    fn close_by_force(&mut self, threads: &mut HttpThreads) {
        self.dismiss_all(threads, &Awaiting::ANY);
        while let Some(waiting) = self.lobby.take_first(|_| true) {
            self.dismiss_waiting(&waiting, &HttpRefusal::busy(CLOSING));
        }
    }

    fn has_waiting_clients(&self) -> bool {
        !self.lobby.is_empty()
    }
}

fn longest_waited_for(threads: &HttpThreads) -> Option<(usize, Instant)> {
    let waiting = threads.iter().filter_map(|(number, served)| Some((number, served.client_wait.overdue_from()?)));
    waiting.min_by_key(|(_, overdue)| *overdue)
}

/// Refuses a client that has no thread. The client has waited, so the bytes that it sent have arrived. They are read
/// first: a socket that is closed with unread bytes resets the connection, and the client may lose the answer.
fn refuse(mut socket: &TcpStream, refusal: (&HttpRefusal, Option<&RefusalId>), is_head: bool) {
    let mut text = Vec::new();
    write_refusal(&mut text, refusal, is_head, &mut DateText::default());
    discard_received(socket, &mut [0; 4096]);
    let _ = socket.set_nonblocking(true).and_then(|()| socket.write_all(&text));
    let _ = socket.shutdown(Shutdown::Write);
}
