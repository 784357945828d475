//! A connection that waits without a thread, and how much of its request has come: found out by peeking, which leaves
//! the bytes in the socket.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::io::{Errno, ioctl_fionread};
use rustix::net::{RecvFlags, recv};

use super::body_budget::BodyBudget;
use super::connection::{HttpConnection, HttpRest, PROGRESS_BYTES};
use super::framing::RequestFraming;
use super::head::{RequestHead, asks_for_a_head_alone};

use crate::base::clock;

/// How long a client that has sent nothing may keep its place in a full lobby when others need it.
pub(crate) const PATIENCE_SILENT: Duration = Duration::from_millis(500);
/// The same for a client that has sent a part: a head and a small body come as a few packets, one right after the
/// other, and of a large body more comes all the time.
pub(crate) const PATIENCE_PART: Duration = Duration::from_millis(100);
/// How many bytes of a request are searched for the end of its head.
const HEARD_BYTES: usize = 4 * 1024;
/// What a chunked body ends with, if nothing comes after it.
const LAST_BYTES: &[u8] = b"\r\n\r\n";

/// The head of a record of TLS: its type, its version in two bytes, and its length in two bytes.
const RECORD_HEAD_BYTES: usize = 5;
/// The types of records: a change of ciphers, an alert, a part of the handshake, data.
const RECORD_TYPES: std::ops::RangeInclusive<u8> = 20..=23;
/// The first byte of the version, the same for all versions of TLS.
const RECORD_VERSION: u8 = 3;
/// The most bytes of an encrypted record.
const RECORD_BYTES: usize = 16 * 1024 + 256;

/// A connection in the lobby.
pub(crate) struct WaitingConnection {
    pub(crate) connection: HttpConnection,
    /// The moment from which on it wants a thread: for a new connection, when it connected; for one that rests, when
    /// enough of its body had come.
    pub(crate) waiting_since: Option<Instant>,
    /// When it entered the lobby.
    pub(crate) entered: Instant,
    /// How much of its request has come.
    pub(crate) arrival: RequestArrival,
    /// How many bytes were in its socket at the last look.
    pub(crate) here: usize,
    /// How many bytes its whole request has, once that is known.
    whole: Option<usize>,
}

/// How much of a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestArrival {
    Nothing,
    /// Some of it, but not enough to give it a thread.
    Part,
    /// Enough of a large body to give it a thread.
    Much,
    /// All of it; or bytes that can only be refused; or the client will send no more.
    Whole,
}

/// Why a waiting client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// It got no thread in time.
    NoThread,
    /// Its body found no room in the budget in time.
    NoRoom,
}

impl WaitingConnection {
    pub(crate) fn new(connection: HttpConnection) -> Self {
        let entered = clock::now();
        let (arrival, waiting_since) = match connection.rest() {
            // It wakes the acceptor as soon as more comes: a handshake is not to wait for the next glance.
            Some(rest) if rest.in_head => (RequestArrival::Nothing, None),
            Some(_) => (RequestArrival::Part, None),
            None => (RequestArrival::Nothing, Some(entered)),
        };
        Self { connection, waiting_since, entered, arrival, here: 0, whole: None }
    }

    /// Whether it waits for more of a body, or over TLS for the next record of its handshake and first head.
    pub(crate) fn rests(&self) -> bool {
        self.connection.rest().is_some()
    }

    /// Whether it waits for more of a body.
    pub(crate) fn rests_in_body(&self) -> bool {
        self.connection.rest().is_some_and(|rest| !rest.in_head)
    }

    /// Whether enough has come to be worth a thread.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.arrival, RequestArrival::Much | RequestArrival::Whole)
    }

    /// Looks at what has come, and takes nothing of it.
    pub(crate) fn hear(&mut self, bodies: &BodyBudget) {
        let socket = self.connection.socket();
        let here = ioctl_fionread(&**socket).map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        self.arrival = match self.connection.rest() {
            Some(rest) if rest.is_overdue => RequestArrival::Whole,
            Some(rest) if rest.is_starving && finds_room(rest, bodies) => RequestArrival::Much,
            Some(rest) if rest.is_starving => RequestArrival::Part,
            _ if here == 0 => silence(socket),
            _ if here == self.here => self.arrival,
            Some(rest) if rest.in_head => hear_record(socket, here),
            Some(rest) if self.connection.is_encrypted() => hear_encrypted(here, rest.left),
            Some(rest) => hear_body(socket, here, rest.left),
            None => self.hear_request(here),
        };
        self.here = here;
        if self.rests() {
            self.waiting_since = self.is_ready().then(|| self.waiting_since.unwrap_or_else(clock::now));
        }
    }

    /// What has come of a request that is looked at from its first byte on.
    fn hear_request(&mut self, here: usize) -> RequestArrival {
        if self.whole.is_none() {
            let mut seen = [0; HEARD_BYTES];
            let peeked = recv(&**self.connection.socket(), &mut seen, RecvFlags::PEEK | RecvFlags::DONTWAIT);
            let Ok((_, bytes)) = peeked else { return RequestArrival::Whole };
            match announced(&seen[..bytes]) {
                Announced::Part if bytes < HEARD_BYTES => return RequestArrival::Part,
                Announced::Part | Announced::Whole => return RequestArrival::Whole,
                Announced::Chunked => return hear_body(self.connection.socket(), here, None),
                Announced::Length(whole) => self.whole = Some(whole),
            }
        }
        hear_body(self.connection.socket(), here, self.whole)
    }

    /// Since when it has made no progress.
    pub(crate) fn since(&self) -> Instant {
        self.connection.rest().map_or(self.entered, |rest| rest.since)
    }

    /// Whether it may be refused because others want its place in the lobby.
    pub(crate) fn is_in_the_way(&self) -> bool {
        let is_silent = self.arrival == RequestArrival::Nothing && !self.rests_in_body();
        let patience = if is_silent { PATIENCE_SILENT } else { PATIENCE_PART };
        !self.is_ready() && clock::since(self.since()) >= patience
    }

    /// Why it has waited for too long, if it has.
    pub(crate) fn overdue(&self, patience: Duration) -> Option<Overdue> {
        let is_starving = self.connection.rest().is_some_and(|rest| rest.is_starving);
        match self.waiting_since {
            Some(since) if clock::since(since) >= patience => Some(Overdue::NoThread),
            None if is_starving && clock::since(self.entered) >= patience => Some(Overdue::NoRoom),
            Some(_) | None => None,
        }
    }

    /// Whether its refusal is to have no body, because it asks for the head of an answer alone.
    pub(crate) fn asks_for_a_head_alone(&self) -> bool {
        let mut seen = [0; HEARD_BYTES];
        let is_new = self.connection.rest().is_none() && !self.connection.is_encrypted();
        let peeked = recv(&**self.connection.socket(), &mut seen, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        match peeked {
            Ok((_, bytes)) if is_new => asks_for_a_head_alone(&seen[..bytes]),
            Ok(_) | Err(_) => self.connection.asks_for_a_head_alone(),
        }
    }
}

/// What the first bytes of a request say about the rest of it.
enum Announced {
    Part,
    /// The client will send nothing more by itself: the request has no body, or its head is wrong, or the client waits
    /// for `100 Continue`.
    Whole,
    /// The request has this many bytes, the head and the body together.
    Length(usize),
    Chunked,
}

fn announced(seen: &[u8]) -> Announced {
    let empty = seen.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let Some(end) = seen[empty..].windows(4).position(|end| end == b"\r\n\r\n").map(|at| empty + at + 4) else {
        return Announced::Part;
    };
    match RequestHead::parse(&seen[empty..end]) {
        Ok(head) if head.expects_continue => Announced::Whole,
        Ok(RequestHead { framing: RequestFraming::Length(length), .. }) => {
            usize::try_from(length).map_or(Announced::Whole, |length| Announced::Length(end.saturating_add(length)))
        }
        Ok(RequestHead { framing: RequestFraming::Chunked, .. }) => Announced::Chunked,
        Ok(RequestHead { framing: RequestFraming::Absent, .. }) | Err(_) => Announced::Whole,
    }
}

/// Whether a body that waits for room in the budget would find room for what comes next.
pub(crate) fn finds_room(rest: HttpRest, bodies: &BodyBudget) -> bool {
    bodies.has_room(rest.left.unwrap_or(PROGRESS_BYTES).min(PROGRESS_BYTES))
}

/// How much of a body has come: `here` bytes, of the `left` bytes that were missing, if that number is known.
fn hear_body(socket: &TcpStream, here: usize, left: Option<usize>) -> RequestArrival {
    match left {
        Some(left) if here >= left => RequestArrival::Whole,
        _ if here >= PROGRESS_BYTES => RequestArrival::Much,
        Some(_) => RequestArrival::Part,
        None => {
            let mut seen = [0; PROGRESS_BYTES];
            let peeked = recv(socket, &mut seen, RecvFlags::PEEK | RecvFlags::DONTWAIT);
            let ends = peeked.is_ok_and(|(_, bytes)| seen[..bytes].ends_with(LAST_BYTES));
            if ends { RequestArrival::Whole } else { RequestArrival::Part }
        }
    }
}

/// How much of a body has come at most: what is encrypted is no shorter than what it holds. If too little was in it, the
/// connection rests again.
fn hear_encrypted(here: usize, left: Option<usize>) -> RequestArrival {
    match left {
        Some(left) if here >= left => RequestArrival::Whole,
        Some(_) if here < PROGRESS_BYTES => RequestArrival::Part,
        // Nobody sees from outside whether the last chunk is in it.
        Some(_) | None => RequestArrival::Much,
    }
}

/// How much has come of the next record of TLS, of `here` bytes: a thread can do nothing with less than a whole one, but
/// refuse what is no record.
fn hear_record(socket: &TcpStream, here: usize) -> RequestArrival {
    let mut head = [0; RECORD_HEAD_BYTES];
    let peeked = recv(socket, &mut head, RecvFlags::PEEK | RecvFlags::DONTWAIT);
    let Ok((_, bytes)) = peeked else { return RequestArrival::Whole };
    let is_record = RECORD_TYPES.contains(&head[0]) && (bytes < 2 || head[1] == RECORD_VERSION);
    let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
    match is_record && length <= RECORD_BYTES {
        true if bytes < RECORD_HEAD_BYTES || here < RECORD_HEAD_BYTES + length => RequestArrival::Part,
        true | false => RequestArrival::Whole,
    }
}

/// Whether a client that has sent nothing can still send something.
fn silence(socket: &TcpStream) -> RequestArrival {
    match recv(socket, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Err(Errno::AGAIN) => RequestArrival::Nothing,
        // The client has closed the connection, or the connection has failed, or bytes have come at this moment.
        Ok(_) | Err(_) => RequestArrival::Whole,
    }
}
