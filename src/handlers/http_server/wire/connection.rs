//! One connection, on its own thread, from the first request to the last answer.
//!
//! ```text
//!     ┌─> head ──> body ──> service ──> answer ──┬─> leave      asked for, closing, or its place is wanted
//!     └──────────────────────────────────────────┘
//!          └────────┴──────────┴──> refusal ────────> linger    whatever follows it is never read as a request
//! ```
//!
//! It decides nothing about other connections: when there are too many, the door dismisses one.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::base::thread::panic_message;

use super::answer::{Exchange, asks_to_close, write_refusal, write_response};
use super::body::{BodyShare, IncomingBody};
use super::date::DateText;
use super::deadline::Deadline;
use super::head::{Head, HeadScan};
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
/// The same for each [`PROGRESS_BYTES`] of a body, or of an answer.
const PATIENCE_MOVING: Duration = Duration::from_secs(1);
const PROGRESS_BYTES: usize = 32 * 1024;
/// How long a refused client may go on sending before its connection is closed under it.
const LINGER: Duration = Duration::from_secs(2);
/// Telling a client to go on, or that it is refused, fits any socket's buffer.
const SHORT_WRITE: Duration = Duration::from_secs(1);
/// Room for an answer's head that is kept for the next one.
const KEPT_BYTES: usize = 64 * 1024;

pub(crate) struct Connection {
    stream: Stream,
    peer: SocketAddr,
    presence: Arc<Presence>,
    shared: Arc<Shared>,
    /// Something of a request has been read that was not answered yet, and whether its method is HEAD.
    request: Option<PartOfRequest>,
    out: Vec<u8>,
    date: DateText,
}

#[derive(Clone, Copy, Debug, Default)]
struct PartOfRequest {
    is_head: bool,
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
    pub(crate) fn new(stream: Stream, peer: SocketAddr, presence: Arc<Presence>, shared: Arc<Shared>) -> Self {
        Self { stream, peer, presence, shared, request: None, out: Vec::new(), date: DateText::default() }
    }

    /// Serves the client until either side has had enough.
    pub(crate) fn run(mut self) {
        let mut timeout = self.shared.limits.head_timeout;
        let end = loop {
            match self.exchange(timeout) {
                Ok(Next::Request) => timeout = self.shared.limits.idle_timeout,
                Ok(Next::Leave) => return self.stream.leave(),
                Err(end) => break end,
            }
        };
        self.end(end);
    }

    fn exchange(&mut self, timeout: Duration) -> Result<Next, End> {
        let head = self.await_head(timeout)?;
        self.request = Some(PartOfRequest { is_head: head.method == "HEAD" });
        let shared = Arc::clone(&self.shared);
        let (body, _share) = self.read_body(&head, &shared)?.unzip();
        self.presence.engage()?;
        let Head { method, target, headers, is_http10, keep_alive, .. } = head;
        let closes = !keep_alive || method == "CONNECT";
        let (is_head, is_connect) = (method == "HEAD", method == "CONNECT");
        let exchange = Exchange { is_head, is_connect, closes, is_http10 };
        let response = self.call(WireRequest { method, uri: target, headers, body, peer: self.peer })?;
        self.answer(&response, exchange)
    }

    /// Waits for a request to begin, for `timeout`, and reads its head.
    fn await_head(&mut self, timeout: Duration) -> Result<Head, End> {
        let (mut deadline, mut scan) = (Deadline::after(timeout), HeadScan::default());
        self.presence.wait(Awaiting::Request, PATIENCE_SILENT)?;
        if self.shared.is_closing() {
            return Err(End::Dismissed);
        }
        loop {
            self.skip_empty_lines();
            if !matches!(self.stream.unread(), b"" | b"\r") {
                if let Some(end) = scan.end(self.stream.unread(), self.shared.limits.head_bytes)? {
                    let head = Head::parse(&self.stream.unread()[..end]);
                    self.stream.consume(end);
                    return Ok(head?);
                }
                if self.request.is_none() {
                    self.request = Some(PartOfRequest::default());
                    deadline = Deadline::after(self.shared.limits.head_timeout);
                    self.presence.wait(Awaiting::Request, PATIENCE_HEAD)?;
                }
            }
            self.stream.receive(&mut deadline)?;
        }
    }

    /// RFC 9112 §2.2: some clients send an empty line behind a body.
    fn skip_empty_lines(&mut self) {
        while self.stream.unread().starts_with(b"\r\n") {
            self.stream.consume(2);
        }
    }

    fn read_body<'a>(&mut self, head: &Head, shared: &'a Shared) -> Result<Option<(Vec<u8>, BodyShare<'a>)>, End> {
        let limit = shared.limits.body_bytes;
        let Some(mut body) = IncomingBody::announced(head.framing, limit, &shared.budget)? else {
            return Ok(None);
        };
        let already_sent = self.take(&mut body)? > 0;
        if !body.is_done() {
            self.presence.wait(Awaiting::Body, PATIENCE_MOVING)?;
            if head.expects_continue && !already_sent {
                self.send_shortly(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            self.receive_body(&mut body)?;
        }
        Ok(Some(body.finish()))
    }

    fn receive_body(&mut self, body: &mut IncomingBody) -> Result<(), End> {
        let mut deadline = Deadline::after(self.shared.limits.body_timeout);
        let mut moved = 0;
        while !body.is_done() {
            self.stream.receive(&mut deadline)?;
            moved += self.take(body)?;
            if moved >= PROGRESS_BYTES {
                moved = 0;
                self.presence.wait(Awaiting::Body, PATIENCE_MOVING)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, body: &mut IncomingBody) -> Result<usize, Refusal> {
        let used = body.take(self.stream.unread())?;
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

    fn answer(&mut self, response: &WireResponse, asked: Exchange) -> Result<Next, End> {
        let shared = &self.shared;
        let closes = asked.closes || asks_to_close(response) || shared.is_closing() || shared.should_leave();
        self.out.clear();
        let body = write_response(&mut self.out, response, Exchange { closes, ..asked }, &mut self.date);
        let presence = &self.presence;
        presence.wait(Awaiting::Taking, PATIENCE_MOVING)?;
        let moved = || match presence.wait(Awaiting::Taking, PATIENCE_MOVING) {
            Ok(()) => ControlFlow::Continue(()),
            Err(Dismissed) => ControlFlow::Break(()),
        };
        let sent = self.stream.send(&mut self.out, body, shared.limits.write_timeout, moved);
        sent.map_err(|error| {
            log::debug!("{} did not take its answer: {error}", self.peer);
            End::Unanswerable
        })?;
        self.request = None;
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
        let is_head = self.request.is_some_and(|request| request.is_head);
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
