//! One connection, from the first request to the last answer, on a thread while its client keeps it busy.
//!
//! ```text
//!     ┌─> head ──> body ──> service ──> answer ──┬─> leave      asked for, closing, or its place is wanted
//!     │             │ ^                          │
//!     │             v └── its rest has come      │
//!     │            rest      without a thread, in the lobby
//!     └──────────────────────────────────────────┘
//!          └────────┴──────────┴──> refusal ────────> linger    whatever follows it is never read as a request
//! ```
//!
//! It decides nothing about other connections: when there are too many, the door dismisses one.

use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::clock;
use crate::base::thread::panic_message;

use super::answer::{Exchange, asks_to_close, write_refusal, write_response};
use super::body::{IncomingBody, Taken};
use super::date::DateText;
use super::deadline::Deadline;
use super::head::{Head, HeadScan, asks_for_a_head_alone};
use super::presence::{Awaiting, Dismissed, Presence};
use super::refusal::Refusal;
use super::shared::Shared;
use super::stream::{ReadEnd, Stream};
use super::{WireRequest, WireResponse};

/// How long others wait, where all places are taken, for a client that is between requests, or has made none yet. Less
/// would take a client that the system did not let run for a moment for one that has nothing to say.
const PATIENCE_SILENT: Duration = Duration::from_millis(500);
/// The same for one with half a head sent: a head is one packet, or a few back to back.
const PATIENCE_HEAD: Duration = Duration::from_millis(100);
/// The same for each piece of an answer.
const PATIENCE_MOVING: Duration = Duration::from_secs(1);
/// How long a connection keeps its thread for each [`PROGRESS_BYTES`] of a body, whether anybody waits for it or not.
const TURN: Duration = Duration::from_millis(50);
pub(crate) const PROGRESS_BYTES: usize = 32 * 1024;
/// How long a refused client may go on sending before its connection is closed under it.
const LINGER: Duration = Duration::from_secs(2);
/// Telling a client to go on, or that it is refused, fits any socket's buffer.
const SHORT_WRITE: Duration = Duration::from_secs(1);
/// Empty lines before a request.
const EMPTY_LINES: usize = 64;
/// Room for an answer's head that is kept for the next one.
const KEPT_BYTES: usize = 64 * 1024;

pub(crate) struct Connection {
    stream: Stream,
    peer: SocketAddr,
    presence: Arc<Presence>,
    shared: Arc<Shared>,
    /// What has been read of a request that was not answered yet.
    request: Option<PartOfRequest>,
    /// The request whose body is being received.
    receiving: Option<Receiving>,
    out: Vec<u8>,
    date: DateText,
}

#[derive(Clone, Copy, Debug)]
enum PartOfRequest {
    HalfAHead,
    Head {
        /// The method is HEAD.
        is_head: bool,
    },
}

/// A request whose head is here.
struct Receiving {
    head: Head,
    /// `None` where the head announced none.
    body: Option<IncomingBody>,
    deadline: Deadline,
    /// When the last [`PROGRESS_BYTES`] of the body were complete.
    moved: Instant,
    /// What has come of the body found no room in the budget.
    is_starving: bool,
}

/// What a connection that rests waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Bytes to come of the body, where that is known.
    pub(crate) left: Option<usize>,
    /// What of the bodies' budget it has.
    pub(crate) held: usize,
    /// Since when it has made no progress.
    pub(crate) since: Instant,
    /// It needs room in the budget before anything else.
    pub(crate) is_starving: bool,
    pub(crate) is_overdue: bool,
}

/// Why a connection ends before its client wants it to.
#[derive(Debug)]
enum End {
    Refused(Refusal),
    Read(ReadEnd),
    Dismissed,
    /// The answer could not be sent.
    Unanswerable,
}

/// How an exchange leaves the connection.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Request,
    Leave,
    /// The rest of the body has not come; no thread is needed until it has.
    Rest,
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ReadEnd> for End {
    fn from(end: ReadEnd) -> Self {
        Self::Read(end)
    }
}

impl From<Dismissed> for End {
    fn from(_: Dismissed) -> Self {
        Self::Dismissed
    }
}

impl Connection {
    pub(crate) fn new(stream: Stream, peer: SocketAddr, shared: Arc<Shared>) -> Self {
        let presence = Arc::new(Presence::new(shared.epoch));
        let (out, date) = (Vec::new(), DateText::default());
        Self { stream, peer, presence, shared, request: None, receiving: None, out, date }
    }

    pub(crate) fn socket(&self) -> &Arc<TcpStream> {
        self.stream.socket()
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) fn presence(&self) -> &Arc<Presence> {
        &self.presence
    }

    /// What it waits for, where it has begun to receive a body.
    pub(crate) fn rest(&self) -> Option<Rest> {
        let Receiving { body, deadline, moved, is_starving, .. } = self.receiving.as_ref()?;
        Some(Rest {
            left: body.as_ref().and_then(IncomingBody::left),
            held: body.as_ref().map_or(0, IncomingBody::held),
            since: *moved,
            is_starving: *is_starving,
            is_overdue: deadline.has_passed(),
        })
    }

    /// Whether the request that has been read in part is a HEAD, so that its refusal has no body.
    pub(crate) fn asks_for_a_head_alone(&self) -> bool {
        match self.request {
            Some(PartOfRequest::Head { is_head }) => is_head,
            Some(PartOfRequest::HalfAHead) | None => asks_for_a_head_alone(self.stream.unread()),
        }
    }

    /// Serves the client until either side has had enough, or until it must wait for the rest of a body: then it comes
    /// back, to be run again.
    pub(crate) fn run(mut self) -> Option<Self> {
        let mut timeout = self.shared.limits.head_timeout;
        let end = loop {
            match self.exchange(timeout) {
                Ok(Next::Request) => timeout = self.shared.limits.idle_timeout,
                Ok(Next::Leave) => {
                    self.stream.leave();
                    return None;
                }
                Ok(Next::Rest) => {
                    self.stream.rest();
                    return Some(self);
                }
                Err(end) => break end,
            }
        };
        self.end(end);
        None
    }

    fn exchange(&mut self, timeout: Duration) -> Result<Next, End> {
        let mut receiving = match self.receiving.take() {
            Some(receiving) => receiving,
            None => self.begin(timeout)?,
        };
        if !self.receive(&mut receiving)? {
            self.receiving = Some(receiving);
            return Ok(Next::Rest);
        }
        self.presence.engage()?;
        let Receiving { head: Head { method, target, headers, is_http10, keep_alive, .. }, body, .. } = receiving;
        let (is_head, is_connect) = (method == "HEAD", method == "CONNECT");
        let exchange = Exchange { is_head, is_connect, closes: !keep_alive || is_connect, is_http10 };
        let (body, share) = body.map(IncomingBody::finish).unzip();
        let response = self.call(WireRequest { method, uri: target, headers, body, peer: self.peer })?;
        // Who does not take the answer keeps no other body out.
        drop(share);
        self.answer(response, exchange)
    }

    /// Waits for a request, and reads its head.
    fn begin(&mut self, timeout: Duration) -> Result<Receiving, End> {
        let head = self.await_head(timeout)?;
        let shared = &self.shared;
        let body = IncomingBody::announced(head.framing, shared.limits.body_bytes, &shared.bodies)?;
        let deadline = Deadline::after(shared.limits.body_timeout);
        let mut receiving = Receiving { head, body, deadline, moved: clock::now(), is_starving: false };
        let has_begun = self.take(&mut receiving)? > 0;
        if receiving.head.expects_continue && !has_begun && !receiving.is_whole() {
            self.presence.wait(Awaiting::Body, PATIENCE_MOVING)?;
            self.send_shortly(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        Ok(receiving)
    }

    /// Waits for a request to begin, for `timeout`, and reads its head.
    fn await_head(&mut self, timeout: Duration) -> Result<Head, End> {
        let (mut deadline, mut scan, mut skipped) = (Deadline::after(timeout), HeadScan::default(), 0);
        self.presence.wait(Awaiting::Request, PATIENCE_SILENT)?;
        if self.shared.is_closing() {
            return Err(End::Dismissed);
        }
        loop {
            self.skip_empty_lines(&mut skipped)?;
            if !matches!(self.stream.unread(), b"" | b"\r") {
                if let Some(end) = scan.end(self.stream.unread(), self.shared.limits.head_bytes)? {
                    let head = &self.stream.unread()[..end];
                    self.request = Some(PartOfRequest::Head { is_head: asks_for_a_head_alone(head) });
                    let head = Head::parse(head);
                    self.stream.consume(end);
                    return Ok(head?);
                }
                if self.request.is_none() {
                    self.request = Some(PartOfRequest::HalfAHead);
                    deadline = Deadline::after(self.shared.limits.head_timeout);
                    self.presence.wait(Awaiting::Request, PATIENCE_HEAD)?;
                }
            }
            self.stream.receive(&mut deadline)?;
        }
    }

    /// RFC 9112 §2.2: some clients send an empty line behind a body. One who sends nothing else means harm.
    fn skip_empty_lines(&mut self, skipped: &mut usize) -> Result<(), Refusal> {
        while self.stream.unread().starts_with(b"\r\n") {
            self.stream.consume(2);
            *skipped += 1;
            if *skipped > EMPTY_LINES {
                return Err(Refusal::malformed("there are too many empty lines before the request"));
            }
        }
        Ok(())
    }

    /// Receives the body while it comes. False where it is to be waited for without a thread: nothing, or little, has come
    /// for a turn; somebody waits for the place; or there is no room for it.
    fn receive(&mut self, receiving: &mut Receiving) -> Result<bool, End> {
        let (mut turn, mut moved) = (Deadline::after(TURN), 0);
        loop {
            moved += self.take(receiving)?;
            if receiving.is_whole() {
                return Ok(true);
            }
            self.presence.wait(Awaiting::Body, PATIENCE_MOVING)?;
            let may_rest = !self.shared.is_closing();
            if may_rest && receiving.is_starving {
                return Ok(false);
            }
            if moved >= PROGRESS_BYTES {
                (turn, moved) = (Deadline::after(TURN), 0);
                receiving.moved = clock::now();
                if may_rest && self.shared.should_leave() {
                    return Ok(false);
                }
            }
            if receiving.deadline.has_passed() {
                return Err(ReadEnd::TimedOut.into());
            }
            if may_rest && turn.has_passed() {
                return Ok(false);
            }
            match self.stream.receive(&mut Deadline::after(TURN)) {
                Ok(()) | Err(ReadEnd::TimedOut) => {}
                Err(ReadEnd::Closed) => return Err(ReadEnd::Closed.into()),
            }
        }
    }

    /// Hands what has come to the body, if there is room for it: how much of it was the body's.
    fn take(&mut self, receiving: &mut Receiving) -> Result<usize, End> {
        let Some(body) = receiving.body.as_mut().filter(|body| !body.is_done()) else { return Ok(0) };
        let taken = body.take(self.stream.unread())?;
        receiving.is_starving = taken == Taken::NoRoom;
        let used = match taken {
            Taken::Bytes(used) => used,
            Taken::NoRoom if self.shared.is_closing() => return Err(no_room_for_bodies().into()),
            Taken::NoRoom => 0,
        };
        self.stream.consume(used);
        Ok(used)
    }

    /// A service that panics has answered this one request badly; the others are none of its business.
    fn call(&self, request: WireRequest) -> Result<WireResponse, Refusal> {
        let service = &self.shared.service;
        catch_unwind(AssertUnwindSafe(|| service(request))).map_err(|panic| {
            log::error!("the service panicked on a request of {}: {}", self.peer, panic_message(&*panic));
            Refusal::new(500, "the request could not be answered")
        })
    }

    fn answer(&mut self, response: WireResponse, asked: Exchange) -> Result<Next, End> {
        let shared = &self.shared;
        let Ok(under_way) = shared.answers.admit(self.stream.socket(), response.bytes()) else {
            drop(response);
            return Err(Refusal::busy("the request was carried out, but too many answers are under way").into());
        };
        let closes = asked.closes || asks_to_close(&response) || shared.is_closing() || shared.should_leave();
        self.out.clear();
        let body = write_response(&mut self.out, &response, Exchange { closes, ..asked }, &mut self.date);
        let presence = &self.presence;
        presence.wait(Awaiting::Taking, PATIENCE_MOVING)?;
        let moved = || {
            under_way.moved();
            match presence.wait(Awaiting::Taking, PATIENCE_MOVING) {
                Ok(()) => ControlFlow::Continue(()),
                Err(Dismissed) => ControlFlow::Break(()),
            }
        };
        let sent = self.stream.send(&mut self.out, body, shared.limits.write_timeout, moved);
        sent.map_err(|error| {
            log::debug!("{} did not take its answer: {error}", self.peer);
            End::Unanswerable
        })?;
        self.request = None;
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        Ok(if closes { Next::Leave } else { Next::Request })
    }

    fn send_shortly(&mut self, text: &[u8]) -> Result<(), End> {
        let mut text = text.to_vec();
        let sent = self.stream.send(&mut text, &[], SHORT_WRITE, || ControlFlow::Continue(()));
        sent.map_err(|_| End::Unanswerable)
    }

    /// Tells the client why its connection ends, if it is owed a word.
    fn end(mut self, end: End) {
        log::debug!("{}: {end:?}", self.peer);
        let Some(refusal) = self.last_word(end) else { return };
        let is_head = self.asks_for_a_head_alone();
        let mut text = Vec::new();
        write_refusal(&mut text, &refusal, is_head, &mut self.date);
        if self.send_shortly(&text).is_err() {
            return;
        }
        let may_stay = !self.shared.is_closing() && self.presence.wait(Awaiting::Request, Duration::ZERO).is_ok();
        if may_stay { self.stream.linger(LINGER) } else { self.stream.leave() }
    }

    /// Nothing is said to a client that asked for nothing: it may be about to, and would take it for the answer.
    fn last_word(&self, end: End) -> Option<Refusal> {
        let refusal = match end {
            End::Unanswerable => return None,
            End::Refused(refusal) => return Some(refusal),
            End::Read(ReadEnd::TimedOut) => Refusal::new(408, "the request was not complete in time"),
            End::Read(ReadEnd::Closed) if !self.presence.is_dismissed() => {
                Refusal::malformed("the request ended before it was complete")
            }
            End::Read(ReadEnd::Closed) | End::Dismissed => Refusal::busy("the place of a waiting client was needed"),
        };
        self.request.map(|_| refusal)
    }
}

impl Receiving {
    fn is_whole(&self) -> bool {
        self.body.as_ref().is_none_or(IncomingBody::is_done)
    }
}

/// What a client is told whose body found no room, nor anybody who could give way.
pub(crate) fn no_room_for_bodies() -> Refusal {
    Refusal::busy("too many bodies are being received")
}
