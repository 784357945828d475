//! A connection without a thread, and how much of its request is here: seen without taking any of it.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::io::{Errno, ioctl_fionread};
use rustix::net::{RecvFlags, recv};

use super::budget::Budget;
use super::connection::{Connection, PROGRESS_BYTES, Rest};
use super::head::{Framing, Head, asks_for_a_head_alone};

use crate::base::clock;

/// How long a guest that makes no request keeps others out of a full lobby.
pub(crate) const PATIENCE_SILENT: Duration = Duration::from_millis(500);
/// The same for one that has sent a part: a head and a small body are a few packets back to back, and of a large body
/// there is always some.
pub(crate) const PATIENCE_PART: Duration = Duration::from_millis(100);
/// How far into a request to look for the end of its head.
const HEARD_BYTES: usize = 4 * 1024;
/// What a chunked body ends with, if nothing follows it.
const LAST_BYTES: &[u8] = b"\r\n\r\n";

pub(crate) struct Guest {
    pub(crate) connection: Connection,
    /// Since when it wants a place: a new one since it came, one that rests since it has said enough.
    pub(crate) waiting_since: Option<Instant>,
    pub(crate) entered: Instant,
    pub(crate) said: Said,
    /// How much of what it has sent was there when it was last heard.
    pub(crate) heard: usize,
    /// How much must be there for its request to be whole, once that is known.
    whole: Option<usize>,
}

/// What of its request a guest has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Nothing,
    Part,
    /// So much of a large body that it is worth a thread.
    Much,
    /// All of it, or what can only be refused; or nothing more will come.
    Whole,
}

/// Why a guest is told to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// It found no place in time.
    NoPlace,
    /// Its body found no room in the budget in time.
    NoRoom,
}

impl Guest {
    pub(crate) fn new(connection: Connection) -> Self {
        let entered = clock::now();
        let (said, waiting_since) = match connection.rest() {
            Some(_) => (Said::Part, None),
            None => (Said::Nothing, Some(entered)),
        };
        Self { connection, waiting_since, entered, said, heard: 0, whole: None }
    }

    /// Whether it has had a place, and comes back when more of a body has come.
    pub(crate) fn rests(&self) -> bool {
        self.connection.rest().is_some()
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.said, Said::Much | Said::Whole)
    }

    /// Looks at what is here without taking it.
    pub(crate) fn hear(&mut self, bodies: &Budget) {
        let socket = self.connection.socket();
        let here = ioctl_fionread(&**socket).map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        self.said = match self.connection.rest() {
            Some(rest) if rest.is_overdue => Said::Whole,
            Some(rest) if rest.is_starving && finds_room(rest, bodies) => Said::Much,
            Some(rest) if rest.is_starving => Said::Part,
            _ if here == 0 => silence(socket),
            _ if here == self.heard => self.said,
            Some(rest) => hear_body(socket, here, rest.left),
            None => self.hear_request(here),
        };
        self.heard = here;
        if self.rests() {
            self.waiting_since = self.is_ready().then(|| self.waiting_since.unwrap_or_else(clock::now));
        }
    }

    /// A request from its first byte on.
    fn hear_request(&mut self, here: usize) -> Said {
        if self.whole.is_none() {
            let mut seen = [0; HEARD_BYTES];
            let peeked = recv(&**self.connection.socket(), &mut seen, RecvFlags::PEEK | RecvFlags::DONTWAIT);
            let Ok((_, bytes)) = peeked else { return Said::Whole };
            match heard_request(&seen[..bytes]) {
                Heard::Part if bytes < HEARD_BYTES => return Said::Part,
                Heard::Part | Heard::Whole => return Said::Whole,
                Heard::Chunked => return hear_body(self.connection.socket(), here, None),
                Heard::Length(whole) => self.whole = Some(whole),
            }
        }
        hear_body(self.connection.socket(), here, self.whole)
    }

    /// Since when it has made no progress.
    pub(crate) fn since(&self) -> Instant {
        self.connection.rest().map_or(self.entered, |rest| rest.since)
    }

    /// Whether it may be told to go for others that want its place in the lobby.
    pub(crate) fn is_in_the_way(&self) -> bool {
        let patience = if self.said == Said::Nothing && !self.rests() { PATIENCE_SILENT } else { PATIENCE_PART };
        !self.is_ready() && clock::since(self.since()) >= patience
    }

    /// Why it has waited for too long, if it has.
    pub(crate) fn overdue(&self, patience: Duration) -> Option<Overdue> {
        let is_starving = self.connection.rest().is_some_and(|rest| rest.is_starving);
        match self.waiting_since {
            Some(since) if clock::since(since) >= patience => Some(Overdue::NoPlace),
            None if is_starving && clock::since(self.entered) >= patience => Some(Overdue::NoRoom),
            Some(_) | None => None,
        }
    }

    /// Whether its refusal is to have no body.
    pub(crate) fn asks_for_a_head_alone(&self) -> bool {
        let mut seen = [0; HEARD_BYTES];
        let is_new = self.connection.rest().is_none();
        let peeked = recv(&**self.connection.socket(), &mut seen, RecvFlags::PEEK | RecvFlags::DONTWAIT);
        match peeked {
            Ok((_, bytes)) if is_new => asks_for_a_head_alone(&seen[..bytes]),
            Ok(_) | Err(_) => self.connection.asks_for_a_head_alone(),
        }
    }
}

/// What the bytes that a request begins with say of the rest.
enum Heard {
    Part,
    /// Its head is all, or has a fault, or its body is to be asked for.
    Whole,
    /// So many bytes, head and body.
    Length(usize),
    Chunked,
}

fn heard_request(seen: &[u8]) -> Heard {
    let empty = seen.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let Some(end) = seen[empty..].windows(4).position(|end| end == b"\r\n\r\n").map(|at| empty + at + 4) else {
        return Heard::Part;
    };
    match Head::parse(&seen[empty..end]) {
        Ok(head) if head.expects_continue => Heard::Whole,
        Ok(Head { framing: Framing::Length(length), .. }) => {
            usize::try_from(length).map_or(Heard::Whole, |length| Heard::Length(end.saturating_add(length)))
        }
        Ok(Head { framing: Framing::Chunked, .. }) => Heard::Chunked,
        Ok(Head { framing: Framing::Absent, .. }) | Err(_) => Heard::Whole,
    }
}

/// Whether a body that waits for the budget would find room for what comes next.
pub(crate) fn finds_room(rest: Rest, bodies: &Budget) -> bool {
    bodies.has_room(rest.left.unwrap_or(PROGRESS_BYTES).min(PROGRESS_BYTES))
}

/// Whether what is here of a body, `here` bytes of `left`, is worth a thread.
fn hear_body(socket: &TcpStream, here: usize, left: Option<usize>) -> Said {
    match left {
        Some(left) if here >= left => Said::Whole,
        _ if here >= PROGRESS_BYTES => Said::Much,
        Some(_) => Said::Part,
        None => {
            let mut seen = [0; PROGRESS_BYTES];
            let peeked = recv(socket, &mut seen, RecvFlags::PEEK | RecvFlags::DONTWAIT);
            let ends = peeked.is_ok_and(|(_, bytes)| seen[..bytes].ends_with(LAST_BYTES));
            if ends { Said::Whole } else { Said::Part }
        }
    }
}

/// Whether a client of whom nothing is here will say more.
fn silence(socket: &TcpStream) -> Said {
    match recv(socket, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Err(Errno::AGAIN) => Said::Nothing,
        // Its end, a failure, or what has come this very moment.
        Ok(_) | Err(_) => Said::Whole,
    }
}
