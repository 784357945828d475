//! Who has a socket and no thread: clients that have connected and got no place yet, and those that rest until more of a
//! body has come.
//!
//! It lets those that have a whole request to make go before those that say nothing, or only a part. It gives no places.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::connection::{Connection, Rest};
use super::guest::{Guest, Overdue, Said, finds_room};

use crate::base::clock;

/// How often to listen again to those that have said a part.
pub(crate) const GLANCE: Duration = Duration::from_millis(20);
/// How long a body that rests keeps its room in the budget when others need it.
const PATIENCE_BUDGET: Duration = Duration::from_millis(100);
/// After so long a guest that rests gets a place that nobody else wants, for whatever it has sent.
const RESTS: Duration = Duration::from_secs(1);

pub(crate) struct Lobby {
    guests: VecDeque<Guest>,
    patience: Duration,
    bodies: Arc<Budget>,
    glanced: Instant,
}

impl Lobby {
    /// A lobby in which nobody waits for a place longer than `patience`.
    pub(crate) fn new(patience: Duration, bodies: Arc<Budget>) -> Self {
        Self { guests: VecDeque::new(), patience, bodies, glanced: clock::now() }
    }

    pub(crate) fn enter(&mut self, connection: Connection) {
        self.guests.push_back(Guest::new(connection));
    }

    pub(crate) fn len(&self) -> usize {
        self.guests.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.guests.is_empty()
    }

    /// How many have something to be given a place for.
    pub(crate) fn ready(&self) -> usize {
        self.guests.iter().filter(|guest| guest.is_ready()).count()
    }

    /// Who is to have the next place: the first with a whole request, else with much of a body, else the first that has
    /// had none yet, else one that has rested for long.
    pub(crate) fn take_next(&mut self) -> Option<Guest> {
        let rank = |guest: &Guest| match guest.said {
            Said::Whole => Some(0),
            Said::Much => Some(1),
            _ if !guest.rests() => Some(2),
            Said::Part if guest.heard > 0 && clock::since(guest.entered) >= RESTS => Some(3),
            Said::Part | Said::Nothing => None,
        };
        let line = self.guests.iter().enumerate();
        let (_, first) = line.filter_map(|(at, guest)| Some((rank(guest)?, at))).min()?;
        self.guests.remove(first)
    }

    /// The first of those that were let in and have no place.
    pub(crate) fn take_first(&mut self, which: impl Fn(&Guest) -> bool) -> Option<Guest> {
        let first = self.guests.iter().position(which)?;
        self.guests.remove(first)
    }

    /// One that has waited for too long.
    pub(crate) fn take_overdue(&mut self) -> Option<(Guest, Overdue)> {
        let mut line = self.guests.iter().enumerate();
        let (at, why) = line.find_map(|(at, guest)| Some((at, guest.overdue(self.patience)?)))?;
        Some((self.guests.remove(at)?, why))
    }

    /// The one that has made no progress for the longest, if that is long enough to be told to go for others.
    pub(crate) fn take_in_the_way(&mut self) -> Option<Guest> {
        let line = self.guests.iter().enumerate().filter(|(_, guest)| guest.is_in_the_way());
        let (at, _) = line.min_by_key(|(_, guest)| guest.since())?;
        self.guests.remove(at)
    }

    /// Where a body waits for room in the budget: the one that has some of it, and has made no progress for the longest.
    pub(crate) fn take_for_room(&mut self) -> Option<Guest> {
        let rests = || self.guests.iter().enumerate().filter_map(|(at, guest)| Some((at, guest.connection.rest()?)));
        let starving = rests().filter(|(_, rest)| rest.is_starving && !finds_room(*rest, &self.bodies));
        let alone = match starving.map(|(at, _)| at).collect::<Vec<_>>()[..] {
            [] => return None,
            [at] => Some(at),
            _ => None,
        };
        let may_go = |(at, rest): &(usize, Rest)| {
            rest.held > 0 && Some(*at) != alone && clock::since(rest.since) >= PATIENCE_BUDGET
        };
        let (at, _) = rests().filter(may_go).min_by_key(|(_, rest)| rest.since)?;
        self.guests.remove(at)
    }

    /// The places in line, and sockets, of those that have said nothing: the only ones to be polled, for what others
    /// have said is still there and would wake the door again and again.
    pub(crate) fn silent(&self) -> impl Iterator<Item = (usize, &TcpStream)> {
        let line = self.guests.iter().enumerate();
        line.filter(|(_, guest)| guest.said == Said::Nothing).map(|(at, guest)| (at, &**guest.connection.socket()))
    }

    /// The guest at this place in line has said something.
    pub(crate) fn hear(&mut self, at: usize) {
        self.guests[at].hear(&self.bodies);
    }

    /// Hears again, from time to time, those that have said a part or rest.
    pub(crate) fn glance(&mut self) {
        if clock::since(self.glanced) >= GLANCE {
            self.glance_now();
        }
    }

    /// The same at once.
    pub(crate) fn glance_now(&mut self) {
        let heard_again = |guest: &&mut Guest| guest.said == Said::Part || guest.rests() && guest.said != Said::Whole;
        self.guests.iter_mut().filter(heard_again).for_each(|guest| guest.hear(&self.bodies));
        self.glanced = clock::now();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{Shutdown, TcpListener};

    use rustix::io::ioctl_fionread;

    use super::super::connection::PROGRESS_BYTES;
    use super::super::guest::{PATIENCE_PART, PATIENCE_SILENT};
    use super::super::limits::WireLimits;
    use super::super::response::WireResponse;
    use super::super::shared::Shared;
    use super::super::stream::Stream;
    use super::*;

    /// A lobby with a guest for each of `said`, who has said that, and the guests' own ends.
    fn lobby(said: &[&str]) -> (Lobby, Vec<TcpStream>) {
        let service = Arc::new(|_| WireResponse::new(200, Vec::new(), None).expect("valid"));
        let limits = WireLimits { bodies_bytes: 40_000, body_bytes: 40_000, ..WireLimits::default() };
        let shared = Arc::new(Shared::new(limits, service));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let mut lobby = Lobby::new(Duration::from_secs(60), Arc::clone(&shared.bodies));
        let clients = said.iter().map(|said| {
            let mut client = TcpStream::connect(address).expect("the listener is there");
            let (socket, peer) = listener.accept().expect("it connected");
            client.write_all(said.as_bytes()).expect("an open socket");
            while ioctl_fionread(&socket).expect("a socket") < said.len() as u64 {
                std::thread::yield_now();
            }
            lobby.enter(Connection::new(Stream::new(Arc::new(socket)), peer, Arc::clone(&shared)));
            client
        });
        let clients = clients.collect();
        (0..said.len()).for_each(|at| lobby.hear(at));
        (lobby, clients)
    }

    fn said(text: &str) -> Said {
        let (lobby, _clients) = lobby(&[text]);
        lobby.guests[0].said
    }

    /// Has the guest at this place in line run until it rests.
    fn rest(lobby: &mut Lobby, at: usize) {
        let guest = lobby.guests.remove(at).expect("a guest");
        let resting = guest.connection.run().expect("its body is not there");
        lobby.guests.insert(at, Guest::new(resting));
    }

    const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\n";

    #[test]
    fn a_head_alone_is_not_a_request_while_its_body_is_not_there() {
        assert_eq!(said(""), Said::Nothing);
        for part in ["GET", "GET / HTTP/1.1\r\n", "\r\n"] {
            assert_eq!(said(part), Said::Part, "{part:?}");
        }
        for (body, expected) in [
            ("\r\n", Said::Whole),
            ("Content-Length: 3\r\n\r\nab", Said::Part),
            ("Content-Length: 3\r\n\r\nabc", Said::Whole),
            ("Content-Length: 3\r\n\r\nabcGET", Said::Whole),
            ("Content-Length: x\r\n\r\n", Said::Whole),
            ("Content-Length: 3\r\nExpect: 100-continue\r\n\r\n", Said::Whole),
            ("Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", Said::Part),
            ("Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", Said::Whole),
        ] {
            assert_eq!(said(&format!("{POST}{body}")), expected, "{body:?}");
        }
        let much = "x".repeat(PROGRESS_BYTES);
        assert_eq!(said(&format!("{POST}Content-Length: 40000\r\n\r\n{much}")), Said::Much);
        assert_eq!(said(&format!("{POST}A: {much}")), Said::Whole, "a thread is to refuse it");
    }

    #[test]
    fn a_whole_request_goes_before_much_of_one_before_silence_and_half_a_request() {
        let much = format!("{POST}Content-Length: 40000\r\n\r\n{}", "x".repeat(PROGRESS_BYTES));
        let (mut lobby, clients) = lobby(&["", "GET / HTTP/1.1\r\n", &much, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"]);
        assert_eq!((lobby.len(), lobby.ready()), (4, 2));
        let next: Vec<_> = std::iter::from_fn(|| lobby.take_next()).map(|guest| guest.connection.peer()).collect();
        let expected = [3, 2, 0, 1].map(|at: usize| clients[at].local_addr().expect("an open socket"));
        assert_eq!(next, expected);
    }

    #[test]
    fn a_body_that_rests_gets_a_place_only_when_more_of_it_has_come() {
        let (mut lobby, mut clients) = lobby(&[&format!("{POST}Content-Length: 3\r\n\r\na")]);
        rest(&mut lobby, 0);
        lobby.hear(0);
        assert!(lobby.ready() == 0 && lobby.take_next().is_none());
        clients[0].write_all(b"bc").expect("an open socket");
        while lobby.ready() == 0 {
            lobby.hear(0);
        }
        let guest = lobby.take_next().expect("its body is all there");
        drop(clients);
        assert!(guest.connection.run().is_none(), "it was answered, and has left");
    }

    #[test]
    fn of_a_body_that_rests_for_long_anything_is_taken_where_a_place_is_free() {
        let (mut lobby, mut clients) = lobby(&[&format!("{POST}Transfer-Encoding: chunked\r\n\r\n3\r\n")]);
        rest(&mut lobby, 0);
        clients[0].write_all(b"abc").expect("an open socket");
        while lobby.guests[0].heard == 0 {
            lobby.hear(0);
        }
        assert!(lobby.take_next().is_none());
        lobby.guests[0].entered -= RESTS;
        assert!(lobby.take_next().is_some());
    }

    #[test]
    fn the_body_that_has_made_no_progress_for_the_longest_gives_way_when_another_needs_its_room() {
        let much = "x".repeat(25_000);
        let half = format!("{POST}Content-Length: 40000\r\n\r\n{much}");
        let (mut lobby, _clients) = lobby(&[&half, &half]);
        rest(&mut lobby, 0);
        assert!(lobby.take_for_room().is_none(), "nobody needs it");
        rest(&mut lobby, 1);
        assert!(lobby.guests[1].connection.rest().is_some_and(|rest| rest.is_starving));
        let stalled = lobby.guests[0].connection.peer();
        while clock::since(lobby.guests[0].since()) < PATIENCE_BUDGET {
            std::thread::yield_now();
        }
        let gone = lobby.take_for_room().expect("it gives way");
        assert_eq!(gone.connection.peer(), stalled);
        drop(gone);
        lobby.hear(0);
        assert!(lobby.ready() == 1 && lobby.take_for_room().is_none(), "there is room now");
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
        lobby.guests[0].connection.socket().peek(&mut [0]).expect("its end arrives");
        lobby.hear(0);
        assert_eq!(lobby.ready(), 1);
    }

    #[test]
    fn nobody_waits_longer_than_the_lobby_has_patience() {
        let (mut lobby, _clients) = lobby(&["", ""]);
        assert!(lobby.take_overdue().is_none());
        lobby.guests[1].waiting_since = clock::now().checked_sub(lobby.patience);
        let (_, why) = lobby.take_overdue().expect("the second");
        assert!(why == Overdue::NoPlace && lobby.take_overdue().is_none());
    }

    #[test]
    fn those_that_make_no_request_are_told_to_go_for_others_and_a_part_of_one_is_waited_for_less_long() {
        let (mut lobby, clients) = lobby(&["GET / HTTP/1.1\r\nHost: h\r\n\r\n", "", "GET"]);
        assert!(lobby.take_in_the_way().is_none());
        lobby.guests.iter_mut().for_each(|guest| guest.entered -= PATIENCE_PART);
        let half = lobby.take_in_the_way().expect("half a head");
        assert_eq!(half.connection.peer(), clients[2].local_addr().expect("an open socket"));
        assert!(lobby.take_in_the_way().is_none());
        lobby.guests.iter_mut().for_each(|guest| guest.entered -= PATIENCE_SILENT);
        assert!(lobby.take_in_the_way().is_some() && lobby.take_in_the_way().is_none());
    }
}
