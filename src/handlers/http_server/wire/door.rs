//! The listener's own thread: lets clients in while there are places, and sees that there are.
//!
//! ```text
//!     client ──> lobby ──┬─ a place is free ─────────> a thread for the connection ──> back, until more of a body comes
//!                        ├─ none for too long ───────> 503
//!                        ├─ no progress, others come ─> 503: for a place in the lobby, or for room for their bodies
//!                        └─ its request is here: whoever has kept its connection waiting for too long is dismissed,
//!                           and who is served is asked to leave after its answer, one for each that waits
//!     closing: 503 for the lobby, the idle dismissed, the rest waited for
//! ```
//!
//! A thread for each connection, and never more of them than there are places. When there are more clients, places are
//! for those that have a request to make: one that says nothing, or only half of it, takes no place from another. A body
//! that does not come needs no place at all.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::base::clock;
use crate::base::seldom::Seldom;
use crate::base::thread::{self, JoinHandle};
use crate::handlers::net::{BACKLOG, Bell, Leaving, numbered};

use super::answer::write_refusal;
use super::connection::{Connection, no_room_for_bodies};
use super::date::DateText;
use super::guest::{Guest, Overdue};
use super::lobby::{GLANCE, Lobby};
use super::presence::{Awaiting, Presence};
use super::refusal::Refusal;
use super::shared::Shared;
use super::stream::{Stream, discard_received};

/// How long to leave the system alone that gives no more sockets.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// Clients let into the lobby between two looks round.
const ACCEPTED_AT_ONCE: usize = 64;
/// How many there is room for in the lobby, for each place.
const LOBBY_PER_PLACE: usize = 4;

pub(crate) struct Door {
    listener: TcpListener,
    name: String,
    shared: Arc<Shared>,
    places: Vec<Option<Place>>,
    free: BTreeSet<usize>,
    bell: Arc<Bell>,
    rung: UnixStream,
    leave: Sender<usize>,
    left: Receiver<usize>,
    rest: Sender<Connection>,
    resting: Receiver<Connection>,
    /// Others wait in the system's backlog.
    lobby: Lobby,
    /// Connections that were dismissed and are not gone yet.
    departing: usize,
    /// The system gives no more sockets or threads.
    shortages: Seldom,
}

/// One connection, as the door knows it.
struct Place {
    socket: Arc<TcpStream>,
    presence: Arc<Presence>,
    thread: JoinHandle,
}

impl Door {
    pub(crate) fn new(
        listener: TcpListener,
        name: &str,
        shared: Arc<Shared>,
        (bell, rung): (Arc<Bell>, UnixStream),
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let connections = shared.limits.connections.max(1);
        let (leave, left) = bounded(connections);
        let (rest, resting) = unbounded();
        let lobby = Lobby::new(shared.limits.admission_timeout, Arc::clone(&shared.bodies));
        Ok(Self {
            listener,
            name: name.to_owned(),
            shared,
            places: (0..connections).map(|_| None).collect(),
            free: (0..connections).collect(),
            bell,
            rung,
            leave,
            left,
            rest,
            resting,
            lobby,
            departing: 0,
            shortages: Seldom::default(),
        })
    }

    pub(crate) fn run(mut self) {
        while !self.shared.is_closing() {
            self.collect_left();
            self.lobby.glance();
            self.give_way();
            self.admit_waiting();
            self.refuse_overdue();
            self.make_room();
            let until_glance = (!self.lobby.is_empty()).then_some(GLANCE);
            let has_room = self.has_room_in_lobby();
            if self.wait(has_room, until_glance) {
                self.accept();
            }
        }
        self.drain();
    }

    /// Waits until the bell rings, one of the lobby speaks, a client comes (if `for_clients`), or for `timeout`. True if
    /// a client came.
    fn wait(&mut self, for_clients: bool, timeout: Option<Duration>) -> bool {
        let for_clients = if for_clients { PollFlags::IN } else { PollFlags::empty() };
        let mut sources = vec![PollFd::new(&self.rung, PollFlags::IN), PollFd::new(&self.listener, for_clients)];
        sources.extend(self.lobby.silent().map(|(_, socket)| PollFd::new(socket, PollFlags::IN)));
        let timeout = timeout.map(|timeout| Timespec::try_from(timeout).expect("no wait is an age"));
        if poll(&mut sources, timeout.as_ref()).is_err() {
            return false;
        }
        let woken: Vec<_> = sources.iter().map(|source| !source.revents().is_empty()).collect();
        let speaking = self.lobby.silent().zip(&woken[2..]).filter(|(_, spoke)| **spoke);
        let speaking: Vec<_> = speaking.map(|((at, _), _)| at).collect();
        speaking.into_iter().for_each(|at| self.lobby.hear(at));
        if woken[0] {
            while matches!((&self.rung).read(&mut [0; 64]), Ok(1..)) {}
        }
        woken[1]
    }

    /// Frees the places of connections that have ended, and joins their threads.
    fn collect_left(&mut self) {
        while let Ok(place) = self.left.try_recv() {
            if let Some(gone) = self.places[place].take() {
                self.departing -= usize::from(gone.presence.is_dismissed());
                // A panic was logged by the thread itself, and is no concern of other connections.
                let _ = gone.thread.join();
            }
            self.free.insert(place);
        }
        while let Ok(connection) = self.resting.try_recv() {
            self.lobby.enter(connection);
        }
    }

    fn has_room_in_lobby(&self) -> bool {
        self.lobby.len() < self.places.len() * LOBBY_PER_PLACE
    }

    fn accept(&mut self) {
        let room = (self.places.len() * LOBBY_PER_PLACE).saturating_sub(self.lobby.len());
        for _ in 0..room.min(ACCEPTED_AT_ONCE) {
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    let stream = Stream::new(Arc::new(socket));
                    self.lobby.enter(Connection::new(stream, peer, Arc::clone(&self.shared)));
                }
                Err(error) if is_passing(&error) => return,
                Err(error) => return self.back_off(&error),
            }
        }
    }

    fn admit_waiting(&mut self) {
        while !self.free.is_empty()
            && let Some(guest) = self.lobby.take_next()
        {
            self.admit(guest);
        }
    }

    fn admit(&mut self, Guest { connection, .. }: Guest) {
        let place = self.free.pop_first().expect("guests are let in only where there is a place");
        let (socket, peer) = (Arc::clone(connection.socket()), connection.peer());
        match self.start(place, connection) {
            Ok(taken) => self.places[place] = Some(taken),
            // The place comes back as those of other connections do: the thread's body was dropped unrun.
            Err(error) => {
                self.shortages.warn(format_args!("no thread for the connection of {peer}: {error}"));
                refuse(&socket, &Refusal::busy("the server has no thread to spare"), false);
            }
        }
    }

    /// Bodies that do not come lose what they have of the budget where others need it.
    fn give_way(&mut self) {
        while let Some(guest) = self.lobby.take_for_room() {
            dismiss_guest(&guest, &Refusal::busy("the body did not come, and its room was needed for others"));
            drop(guest);
            self.lobby.glance_now();
        }
    }

    fn refuse_overdue(&mut self) {
        while let Some((guest, why)) = self.lobby.take_overdue() {
            let refusal = match why {
                Overdue::NoPlace => Refusal::busy("all connections are taken"),
                Overdue::NoRoom => no_room_for_bodies(),
            };
            dismiss_guest(&guest, &refusal);
        }
        if !self.has_room_in_lobby() {
            let in_the_way = std::iter::from_fn(|| self.lobby.take_in_the_way()).take(ACCEPTED_AT_ONCE);
            in_the_way
                .for_each(|guest| dismiss_guest(&guest, &Refusal::busy("the place of a waiting client was needed")));
        }
    }

    fn start(&self, place: usize, connection: Connection) -> io::Result<Place> {
        let (socket, presence) = (Arc::clone(connection.socket()), Arc::clone(connection.presence()));
        socket.set_nonblocking(false)?;
        socket.set_nodelay(true)?;
        let leaving = Leaving { place, leave: self.leave.clone(), bell: Arc::clone(&self.bell) };
        let rest = self.rest.clone();
        let thread = thread::spawn(&numbered(&self.name, place + 1), move || {
            let _leaving = leaving;
            if let Some(resting) = connection.run() {
                // The door has gone only if the listener has.
                let _ = rest.send(resting);
            }
        })?;
        Ok(Place { socket, presence, thread })
    }

    /// Sees to a place for each who waits with a request: those that were waited for too long go now, and if they are
    /// too few, others when they have been answered.
    fn make_room(&mut self) {
        let now = clock::now();
        let wanted = self.lobby.ready();
        while self.departing < wanted
            && let Some((place, overdue)) = self.longest_waited_for()
            && overdue <= now
        {
            self.dismiss(place, &Awaiting::ANY);
        }
        self.shared.want_place(self.departing < wanted);
    }

    fn longest_waited_for(&self) -> Option<(usize, Instant)> {
        let taken = self.places.iter().enumerate();
        let waiting = taken.filter_map(|(place, taken)| Some((place, taken.as_ref()?.presence.overdue_from()?)));
        waiting.min_by_key(|(_, overdue)| *overdue)
    }

    /// Wakes the connection from its wait, if it waits for one of `what`, to find that it has been dismissed.
    fn dismiss(&mut self, place: usize, what: &[Awaiting]) {
        let Some(place) = &self.places[place] else { return };
        let Some(awaited) = place.presence.dismiss(what) else { return };
        self.departing += 1;
        let _ = place.socket.shutdown(match awaited {
            Awaiting::Request | Awaiting::Body => Shutdown::Read,
            Awaiting::Taking => Shutdown::Both,
        });
    }

    /// The process or the system has no more sockets. A connection that ends is one; so the idlest is asked to, and who
    /// waits without making a request goes.
    fn back_off(&mut self, error: &io::Error) {
        self.shortages.warn(format_args!("{} cannot let clients in for now: {error}", self.name));
        if let Some((place, _)) = self.longest_waited_for() {
            self.dismiss(place, &[Awaiting::Request]);
        }
        if let Some(guest) = self.lobby.take_in_the_way() {
            dismiss_guest(&guest, &Refusal::busy("the place of a waiting client was needed"));
        }
        self.wait(false, Some(EXHAUSTED));
    }

    /// Refuses whoever has not got further than the lobby, or the backlog.
    fn refuse_all(&mut self, refusal: &Refusal) {
        while let Some(guest) = self.lobby.take_first(|guest| !guest.rests()) {
            dismiss_guest(&guest, refusal);
        }
        let arriving = (0..BACKLOG).map_while(|_| self.listener.accept().ok()).map(|(socket, _)| socket);
        arriving.for_each(|socket| refuse(&socket, refusal, false));
    }

    /// Ends all connections: those that wait for a request at once, the others when they are through, or at the drain
    /// deadline. A request that is in the service by then is waited for, and answered: there is no stopping it from here.
    fn drain(mut self) {
        self.refuse_all(&Refusal::busy("the server is closing"));
        self.dismiss_all(&[Awaiting::Request]);
        let deadline = clock::now() + self.shared.limits.drain_timeout;
        self.collect_left();
        while self.free.len() < self.places.len() || !self.lobby.is_empty() {
            // Whose body comes in time is answered.
            self.lobby.glance();
            self.admit_waiting();
            let left = clock::until(deadline);
            if left.is_zero() {
                self.dismiss_all(&Awaiting::ANY);
                while let Some(guest) = self.lobby.take_first(|_| true) {
                    dismiss_guest(&guest, &Refusal::busy("the server is closing"));
                }
            }
            let until_glance = if self.lobby.is_empty() { left.max(GLANCE) } else { GLANCE };
            self.wait(false, Some(until_glance));
            self.collect_left();
        }
    }

    fn dismiss_all(&mut self, what: &[Awaiting]) {
        (0..self.places.len()).for_each(|place| self.dismiss(place, what));
    }
}

/// A client gone already, a signal, or nobody there: no trouble.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted | ErrorKind::Interrupted)
}

/// Answers a client that gets no thread any more.
fn dismiss_guest(guest: &Guest, refusal: &Refusal) {
    refuse(guest.connection.socket(), refusal, guest.asks_for_a_head_alone());
}

/// Answers a client that has no thread. It has waited, so what it sent is here: taken, for a socket closed with unread
/// bytes resets the connection, and the answer may be lost with it.
fn refuse(mut socket: &TcpStream, refusal: &Refusal, is_head: bool) {
    let mut text = Vec::new();
    write_refusal(&mut text, refusal, is_head, &mut DateText::default());
    discard_received(socket, &mut [0; 4096]);
    let _ = socket.set_nonblocking(true).and_then(|()| socket.write_all(&text));
    let _ = socket.shutdown(Shutdown::Write);
}
