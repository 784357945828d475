//! Who has connected and has no place yet: in order, with a socket each but no thread.
//!
//! It tells those that have a request to make from those that say nothing, or only half of one. It gives no places.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

/// How often to listen again to those that have said a part.
pub(crate) const GLANCE: Duration = Duration::from_millis(20);
/// How long a guest that makes no request keeps others out of a full lobby.
const PATIENCE_SILENT: Duration = Duration::from_millis(500);
/// How far into a request to look for the end of its head.
const HEARD_BYTES: usize = 4 * 1024;

#[derive(Debug)]
pub(crate) struct Guest {
    pub(crate) socket: TcpStream,
    pub(crate) peer: SocketAddr,
    entered: Instant,
    said: Said,
}

/// What of its request a guest has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Part,
    /// A whole head, or more than is looked at; or nothing more will come.
    Enough,
}

impl Guest {
    /// Looks at what is here without taking it.
    fn hear(&mut self) {
        let mut seen = [0; HEARD_BYTES];
        self.said = match recv(&self.socket, &mut seen, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok((_, bytes @ 1..HEARD_BYTES)) if !seen[..bytes].windows(4).any(|end| end == b"\r\n\r\n") => Said::Part,
            Err(Errno::AGAIN) => Said::Nothing,
            Ok(_) | Err(_) => Said::Enough,
        };
    }
}

#[derive(Debug)]
pub(crate) struct Lobby {
    guests: VecDeque<Guest>,
    patience: Duration,
    glanced: Instant,
}

impl Lobby {
    /// A lobby in which nobody waits longer than `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { guests: VecDeque::new(), patience, glanced: Instant::now() }
    }

    pub(crate) fn enter(&mut self, socket: TcpStream, peer: SocketAddr) {
        self.guests.push_back(Guest { socket, peer, entered: Instant::now(), said: Said::Nothing });
    }

    pub(crate) fn len(&self) -> usize {
        self.guests.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.guests.is_empty()
    }

    /// How many have a request to make.
    pub(crate) fn ready(&self) -> usize {
        self.guests.iter().filter(|guest| guest.said == Said::Enough).count()
    }

    /// Who is to have the next place: the first that has a request to make, else the first.
    pub(crate) fn take_next(&mut self) -> Option<Guest> {
        let ready = self.guests.iter().position(|guest| guest.said == Said::Enough);
        self.guests.remove(ready.unwrap_or(0))
    }

    /// One that has waited for too long: for a place, or, where the lobby is full, without having made a request.
    pub(crate) fn take_overdue(&mut self, is_full: bool) -> Option<Guest> {
        let overdue = self.guests.iter().position(|guest| {
            let waited = guest.entered.elapsed();
            waited >= self.patience || is_full && guest.said != Said::Enough && waited >= PATIENCE_SILENT
        });
        self.guests.remove(overdue?)
    }

    /// The places in line, and sockets, of those that have said nothing: the only ones to be polled, for what others
    /// have said is still there and would wake the door again and again.
    pub(crate) fn silent(&self) -> impl Iterator<Item = (usize, &TcpStream)> {
        let line = self.guests.iter().enumerate();
        line.filter(|(_, guest)| guest.said == Said::Nothing).map(|(at, guest)| (at, &guest.socket))
    }

    /// The guest at this place in line has said something.
    pub(crate) fn hear(&mut self, at: usize) {
        self.guests[at].hear();
    }

    /// Hears again, from time to time, those that have said a part.
    pub(crate) fn glance(&mut self) {
        if self.glanced.elapsed() >= GLANCE {
            self.guests.iter_mut().filter(|guest| guest.said == Said::Part).for_each(Guest::hear);
            self.glanced = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{Shutdown, TcpListener};

    use super::*;

    /// A lobby with a guest for each of `said`, who has said that, and the guests' own ends.
    fn lobby(said: &[&str]) -> (Lobby, Vec<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let mut lobby = Lobby::new(Duration::from_secs(60));
        let clients = said.iter().map(|said| {
            let mut client = TcpStream::connect(address).expect("the listener is there");
            let (socket, peer) = listener.accept().expect("it connected");
            client.write_all(said.as_bytes()).expect("an open socket");
            if !said.is_empty() {
                socket.peek(&mut [0]).expect("it arrives");
            }
            lobby.enter(socket, peer);
            client
        });
        let clients = clients.collect();
        (0..said.len()).for_each(|at| lobby.hear(at));
        (lobby, clients)
    }

    #[test]
    fn a_request_goes_before_silence_and_before_half_a_request() {
        let (mut lobby, clients) = lobby(&["", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\n\r\n"]);
        assert_eq!((lobby.len(), lobby.ready()), (3, 1));
        let next: Vec<_> = std::iter::from_fn(|| lobby.take_next()).map(|guest| guest.peer).collect();
        let expected = [2, 0, 1].map(|at: usize| clients[at].local_addr().expect("an open socket"));
        assert_eq!(next, expected);
    }

    #[test]
    fn only_the_silent_are_polled() {
        let (lobby, _clients) = lobby(&["GET", "", "GET / HTTP/1.1\r\n\r\n", ""]);
        assert_eq!(lobby.silent().map(|(at, _)| at).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn a_guest_that_has_left_is_not_waited_for() {
        let (mut lobby, clients) = lobby(&[""]);
        clients[0].shutdown(Shutdown::Write).expect("an open socket");
        lobby.guests[0].socket.peek(&mut [0]).expect("its end arrives");
        lobby.hear(0);
        assert_eq!(lobby.ready(), 1);
    }

    #[test]
    fn nobody_waits_longer_than_the_lobby_has_patience() {
        let (mut lobby, _clients) = lobby(&["", ""]);
        assert!(lobby.take_overdue(false).is_none());
        lobby.guests[1].entered -= lobby.patience;
        assert!(lobby.take_overdue(false).is_some() && lobby.take_overdue(false).is_none());
    }

    #[test]
    fn in_a_full_lobby_those_that_make_no_request_wait_less_long() {
        let (mut lobby, _clients) = lobby(&["GET / HTTP/1.1\r\n\r\n", "", "GET"]);
        lobby.guests.iter_mut().for_each(|guest| guest.entered -= PATIENCE_SILENT);
        assert!(lobby.take_overdue(false).is_none());
        assert!(lobby.take_overdue(true).is_some() && lobby.take_overdue(true).is_some());
        assert!(lobby.take_overdue(true).is_none());
    }
}
