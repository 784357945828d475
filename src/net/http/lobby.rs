//! The lobby: the queue of connections that have a socket and no thread. These are clients that have connected and got
//! no thread yet, and connections that rest until more of a body, or of a TLS handshake and its first head, has come.
//!
//! It knows whose turn is next: clients whose whole request is here come before clients that have said nothing, or sent
//! only a part. It starts no threads.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::body_budget::BodyBudget;
use super::connection::HttpRest;
use super::waiting::{Overdue, RequestArrival, WaitingConnection, finds_room};

use crate::base::clock;

/// How often to look again at what has come from clients that have sent a part.
pub(crate) const GLANCE: Duration = Duration::from_millis(20);
/// How long a body that rests keeps its room in the budget when other bodies need it.
const PATIENCE_BUDGET: Duration = Duration::from_millis(100);
/// After how long a resting connection gets a free thread that no other connection wants, even if it has sent too
/// little to need one.
const RESTS: Duration = Duration::from_secs(1);

/// The connections of one listener that have no thread.
pub(crate) struct Lobby {
    /// In the order in which they came.
    waiting: VecDeque<WaitingConnection>,
    /// The longest time that one of them may wait for a thread.
    patience: Duration,
    bodies: Arc<BodyBudget>,
    /// When the lobby last looked at what has come from all clients that have sent a part.
    glanced: Instant,
}

impl Lobby {
    /// A lobby in which no client waits for a thread longer than `patience`.
    pub(crate) fn new(patience: Duration, bodies: Arc<BodyBudget>) -> Self {
        Self { waiting: VecDeque::new(), patience, bodies, glanced: clock::now() }
    }

    pub(crate) fn enter(&mut self, waiting: WaitingConnection) {
        self.waiting.push_back(waiting);
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many have sent enough to be worth a thread.
    pub(crate) fn ready(&self) -> usize {
        self.waiting.iter().filter(|waiting| waiting.is_ready()).count()
    }

    /// Takes the one that is to have the next thread: the first whose whole request is here, else one with much of a
    /// body, else the first that has had no thread yet, else one that has rested for long.
    pub(crate) fn take_next(&mut self) -> Option<WaitingConnection> {
        let rank = |waiting: &WaitingConnection| match waiting.arrival {
            RequestArrival::Whole => Some(0),
            RequestArrival::Much => Some(1),
            _ if !waiting.rests() => Some(2),
            // A thread can do nothing with a part of a record.
            RequestArrival::Part if !waiting.rests_in_body() => None,
            RequestArrival::Part if waiting.here > 0 && clock::since(waiting.entered) >= RESTS => Some(3),
            RequestArrival::Part | RequestArrival::Nothing => None,
        };
        let line = self.waiting.iter().enumerate();
        let (_, first) = line.filter_map(|(at, waiting)| Some((rank(waiting)?, at))).min()?;
        self.waiting.remove(first)
    }

    /// Takes the first one of which `which` is true.
    pub(crate) fn take_first(&mut self, which: impl Fn(&WaitingConnection) -> bool) -> Option<WaitingConnection> {
        let first = self.waiting.iter().position(which)?;
        self.waiting.remove(first)
    }

    /// Takes one that has waited for too long.
    pub(crate) fn take_overdue(&mut self) -> Option<(WaitingConnection, Overdue)> {
        let mut line = self.waiting.iter().enumerate();
        let (at, why) = line.find_map(|(at, waiting)| Some((at, waiting.overdue(self.patience)?)))?;
        Some((self.waiting.remove(at)?, why))
    }

    /// Takes out the connection that has made no progress for the longest time, if that time is long enough to refuse
    /// it so that others get its place.
    pub(crate) fn take_in_the_way(&mut self) -> Option<WaitingConnection> {
        let line = self.waiting.iter().enumerate().filter(|(_, waiting)| waiting.is_in_the_way());
        let (at, _) = line.min_by_key(|(_, waiting)| waiting.since())?;
        self.waiting.remove(at)
    }

    /// If a body waits for room in the budget: takes out the connection that holds some of that room and has made no
    /// progress for the longest time.
    pub(crate) fn take_for_room(&mut self) -> Option<WaitingConnection> {
        let rests =
            || self.waiting.iter().enumerate().filter_map(|(at, waiting)| Some((at, waiting.connection.rest()?)));
        let starving = rests().filter(|(_, rest)| rest.is_starving && !finds_room(*rest, &self.bodies));
        let alone = match starving.map(|(at, _)| at).collect::<Vec<_>>()[..] {
            [] => return None,
            [at] => Some(at),
            _ => None,
        };
        let may_go = |(at, rest): &(usize, HttpRest)| {
            rest.held > 0 && Some(*at) != alone && clock::since(rest.since) >= PATIENCE_BUDGET
        };
        let (at, _) = rests().filter(may_go).min_by_key(|(_, rest)| rest.since)?;
        self.waiting.remove(at)
    }

    /// The clients that have sent nothing: their places in the queue, and their sockets. Only these are polled. The
    /// bytes that other clients have sent are still in their sockets, and would wake the acceptor again and again.
    pub(crate) fn silent(&self) -> impl Iterator<Item = (usize, &TcpStream)> {
        let line = self.waiting.iter().enumerate();
        let silent = line.filter(|(_, waiting)| waiting.arrival == RequestArrival::Nothing);
        silent.map(|(at, waiting)| (at, &**waiting.connection.socket()))
    }

    /// The client at this place in the queue has sent something.
    pub(crate) fn hear(&mut self, at: usize) {
        self.waiting[at].hear(&self.bodies);
    }

    /// Looks again at what has come from clients that have sent a part or rest, if the last look was a while ago.
    pub(crate) fn glance(&mut self) {
        if clock::since(self.glanced) >= GLANCE {
            self.glance_now();
        }
    }

    /// The same at once.
    pub(crate) fn glance_now(&mut self) {
        let is_incomplete = |waiting: &&mut WaitingConnection| {
            waiting.arrival == RequestArrival::Part || waiting.rests() && waiting.arrival != RequestArrival::Whole
        };
        self.waiting.iter_mut().filter(is_incomplete).for_each(|waiting| waiting.hear(&self.bodies));
        self.glanced = clock::now();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{Shutdown, TcpListener};

    use rustix::io::ioctl_fionread;

    use super::super::connection::{HttpConnection, PROGRESS_BYTES};
    use super::super::limits::HttpLimits;
    use super::super::response::WireResponse;
    use super::super::shared::HttpShared;
    use super::super::stream::HttpStream;
    use super::super::waiting::{PATIENCE_PART, PATIENCE_SILENT};
    use super::*;

    /// A lobby with one client for each text of `said`, which that client has sent; and the clients' ends of the
    /// connections.
    fn lobby(said: &[&str]) -> (Lobby, Vec<TcpStream>) {
        let service = Arc::new(|_| WireResponse::new(200, Vec::new(), None).expect("valid").into());
        let limits = HttpLimits { bodies_bytes: 40_000, body_bytes: 40_000, ..HttpLimits::default() };
        let shared = Arc::new(HttpShared::new(limits, None, None, service, None));
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
            let connection = HttpConnection::new(HttpStream::new(Arc::new(socket)), peer, Arc::clone(&shared));
            lobby.enter(WaitingConnection::new(connection));
            client
        });
        let clients = clients.collect();
        (0..said.len()).for_each(|at| lobby.hear(at));
        (lobby, clients)
    }

    fn said(text: &str) -> RequestArrival {
        let (lobby, _clients) = lobby(&[text]);
        lobby.waiting[0].arrival
    }

    /// Has the connection at this place in the queue run until it rests.
    fn rest(lobby: &mut Lobby, at: usize) {
        let waiting = lobby.waiting.remove(at).expect("a connection");
        let resting = waiting.connection.run().expect("its body is not there");
        lobby.waiting.insert(at, WaitingConnection::new(resting));
    }

    const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\n";

    #[test]
    fn a_head_alone_is_not_a_request_while_its_body_is_not_there() {
        assert_eq!(said(""), RequestArrival::Nothing);
        for part in ["GET", "GET / HTTP/1.1\r\n", "\r\n"] {
            assert_eq!(said(part), RequestArrival::Part, "{part:?}");
        }
        for (body, expected) in [
            ("\r\n", RequestArrival::Whole),
            ("Content-Length: 3\r\n\r\nab", RequestArrival::Part),
            ("Content-Length: 3\r\n\r\nabc", RequestArrival::Whole),
            ("Content-Length: 3\r\n\r\nabcGET", RequestArrival::Whole),
            ("Content-Length: x\r\n\r\n", RequestArrival::Whole),
            ("Content-Length: 3\r\nExpect: 100-continue\r\n\r\n", RequestArrival::Whole),
            ("Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", RequestArrival::Part),
            ("Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", RequestArrival::Whole),
        ] {
            assert_eq!(said(&format!("{POST}{body}")), expected, "{body:?}");
        }
        let much = "x".repeat(PROGRESS_BYTES);
        assert_eq!(said(&format!("{POST}Content-Length: 40000\r\n\r\n{much}")), RequestArrival::Much);
        assert_eq!(said(&format!("{POST}A: {much}")), RequestArrival::Whole, "a thread is to refuse it");
    }

    #[test]
    fn a_whole_request_goes_before_much_of_one_before_silence_and_half_a_request() {
        let much = format!("{POST}Content-Length: 40000\r\n\r\n{}", "x".repeat(PROGRESS_BYTES));
        let (mut lobby, clients) = lobby(&["", "GET / HTTP/1.1\r\n", &much, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"]);
        assert_eq!((lobby.len(), lobby.ready()), (4, 2));
        let next: Vec<_> = std::iter::from_fn(|| lobby.take_next()).map(|waiting| waiting.connection.peer()).collect();
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
        let waiting = lobby.take_next().expect("its body is all there");
        drop(clients);
        assert!(waiting.connection.run().is_none(), "it was answered, and has left");
    }

    #[test]
    fn of_a_body_that_rests_for_long_anything_is_taken_where_a_place_is_free() {
        let (mut lobby, mut clients) = lobby(&[&format!("{POST}Transfer-Encoding: chunked\r\n\r\n3\r\n")]);
        rest(&mut lobby, 0);
        clients[0].write_all(b"abc").expect("an open socket");
        while lobby.waiting[0].here == 0 {
            lobby.hear(0);
        }
        assert!(lobby.take_next().is_none());
        lobby.waiting[0].entered -= RESTS;
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
        assert!(lobby.waiting[1].connection.rest().is_some_and(|rest| rest.is_starving));
        let stalled = lobby.waiting[0].connection.peer();
        while clock::since(lobby.waiting[0].since()) < PATIENCE_BUDGET {
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
    fn a_client_that_has_left_is_not_waited_for() {
        let (mut lobby, clients) = lobby(&[""]);
        clients[0].shutdown(Shutdown::Write).expect("an open socket");
        lobby.waiting[0].connection.socket().peek(&mut [0]).expect("its end arrives");
        lobby.hear(0);
        assert_eq!(lobby.ready(), 1);
    }

    #[test]
    fn nobody_waits_longer_than_the_lobby_has_patience() {
        let (mut lobby, _clients) = lobby(&["", ""]);
        assert!(lobby.take_overdue().is_none());
        lobby.waiting[1].waiting_since = clock::now().checked_sub(lobby.patience);
        let (_, why) = lobby.take_overdue().expect("the second");
        assert!(why == Overdue::NoThread && lobby.take_overdue().is_none());
    }

    #[test]
    fn those_that_make_no_request_are_told_to_go_for_others_and_a_part_of_one_is_waited_for_less_long() {
        let (mut lobby, clients) = lobby(&["GET / HTTP/1.1\r\nHost: h\r\n\r\n", "", "GET"]);
        assert!(lobby.take_in_the_way().is_none());
        lobby.waiting.iter_mut().for_each(|waiting| waiting.entered -= PATIENCE_PART);
        let half = lobby.take_in_the_way().expect("half a head");
        assert_eq!(half.connection.peer(), clients[2].local_addr().expect("an open socket"));
        assert!(lobby.take_in_the_way().is_none());
        lobby.waiting.iter_mut().for_each(|waiting| waiting.entered -= PATIENCE_SILENT);
        assert!(lobby.take_in_the_way().is_some() && lobby.take_in_the_way().is_none());
    }
}
