//! One HTTP connection, from its first request to its last answer. It has a thread while its client keeps it busy.
//!
//! ```text
//!     ┌─> head ──> body ──> service ──> answer ──┬─> leave      asked for, closing, or its thread is wanted
//!     │   │ ^       │ ^                          │
//!     │   v └────── v └── more of it has come    │
//!     │   rest     rest      without a thread, in the lobby; in a head only over TLS, before the first request
//!     └──────────────────────────────────────────┘
//!          └────────┴──────────┴──> refusal ────────> linger    what comes after it is never read as a request
//! ```
//!
//! A connection decides nothing about other connections: when there are too many, the acceptor dismisses one.

use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::sockopt;

use crate::base::clock;
use crate::base::thread::panic_message;

use super::answer::{AnswerContext, asks_to_close, write_refusal, write_response, write_stream_head};
use super::body::{IncomingBody, Taken};
use super::client_wait::{Awaiting, ClientWait, Dismissed};
use super::date::DateText;
use super::head::{HeadScan, RequestHead, asks_for_a_head_alone};
use super::refusal::HttpRefusal;
use super::shared::HttpShared;
use super::stream::{HttpStream, ReadEnd};
use super::{StreamBody, WireAnswer, WireRequest, WireResponse};
use crate::net::{Deadline, PieceFraming};

/// How long others wait, when no thread is free, for a client that is between two requests or has made none yet. A
/// shorter time would hit clients that have a request to make, and that the system has not let run for a moment.
const PATIENCE_SILENT: Duration = Duration::from_millis(500);
/// The same for a client that has sent half of a head: a head is one packet, or a few that come right after each other.
const PATIENCE_HEAD: Duration = Duration::from_millis(100);
/// The same for each piece of an answer that a client is to take, and for each piece of a body that it is to send.
const PATIENCE_MOVING: Duration = Duration::from_secs(1);
/// How long a connection keeps its thread for each [`PROGRESS_BYTES`] of a body, also when nobody waits for a thread.
const TURN: Duration = Duration::from_millis(50);
/// A body counts as making progress each time that this many bytes of it have come.
pub(crate) const PROGRESS_BYTES: usize = 32 * 1024;
/// How long a refused client may go on sending before its connection is closed.
const LINGER: Duration = Duration::from_secs(2);
/// How long the writing of a short text may take. Such a text fits the buffer of any socket.
const SHORT_WRITE: Duration = Duration::from_secs(1);
/// After how long a silence the client of a stream is probed, how often, and how many probes it may leave unanswered.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;
/// How many empty lines may come before a request.
const EMPTY_LINES: usize = 64;
/// How much room for the head of an answer is kept for the next answer.
const KEPT_BYTES: usize = 64 * 1024;

/// A connection with an HTTP client.
pub(crate) struct HttpConnection {
    stream: HttpStream,
    peer: SocketAddr,
    client_wait: Arc<ClientWait>,
    shared: Arc<HttpShared>,
    /// How much has been read of a request that was not answered yet.
    request: Option<PartOfRequest>,
    /// The head that is being received, while the connection rests.
    heading: Option<Heading>,
    /// The request whose body is being received.
    receiving: Option<Receiving>,
    /// Whether the head of a request has come.
    has_been_asked: bool,
    out: Vec<u8>,
    date: DateText,
}

/// A head that is being received; over TLS, before the first one, with the handshake.
struct Heading {
    deadline: Deadline,
    scan: HeadScan,
    /// How many empty lines came before it.
    skipped: usize,
    /// When something of it came last.
    moved: Instant,
}

impl Heading {
    /// A head of which nothing has come, and which has to begin within `timeout`.
    fn new(timeout: Duration) -> Self {
        let (deadline, moved) = (Deadline::after(timeout), clock::now());
        Self { deadline, scan: HeadScan::default(), skipped: 0, moved }
    }
}

/// How much of a request has been read.
#[derive(Clone, Copy, Debug)]
enum PartOfRequest {
    HalfAHead,
    Head {
        /// The method is HEAD.
        is_head: bool,
    },
}

/// A request whose head was read, and whose body is being received.
struct Receiving {
    head: RequestHead,
    /// `None` where the head announces no body.
    body: Option<IncomingBody>,
    deadline: Deadline,
    /// When the last [`PROGRESS_BYTES`] of the body had come.
    moved: Instant,
    /// The budget has no room for what has come of the body.
    is_starving: bool,
}

/// What a resting connection waits for: more of a body, or of a TLS handshake and the head after it. The connection has no
/// thread until more has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HttpRest {
    /// It waits for more of its handshake or of its first head, and has no body.
    pub(crate) in_head: bool,
    /// How many bytes of the body are still to come, if that is known.
    pub(crate) left: Option<usize>,
    /// How many bytes of the budget for bodies it has.
    pub(crate) held: usize,
    /// Since when it has made no progress.
    pub(crate) since: Instant,
    /// Whether the budget has no room for the bytes that have come.
    pub(crate) is_starving: bool,
    /// Whether the head or the body has not come in time.
    pub(crate) is_overdue: bool,
}

/// Why a connection ends before its client ends it.
#[derive(Debug)]
enum EarlyEnd {
    Refused(HttpRefusal),
    Read(ReadEnd),
    Dismissed,
    /// The answer could not be sent.
    Unanswerable,
}

/// What comes after a request was answered, or could not be received yet.
#[derive(Debug, PartialEq, Eq)]
enum AfterExchange {
    Request,
    Leave,
    /// The rest of the answer is sent without this connection.
    Streams,
    /// The rest of the head or of the body has not come; no thread is needed until it has.
    Rest,
}

impl From<HttpRefusal> for EarlyEnd {
    fn from(refusal: HttpRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ReadEnd> for EarlyEnd {
    fn from(end: ReadEnd) -> Self {
        Self::Read(end)
    }
}

impl From<Dismissed> for EarlyEnd {
    fn from(_: Dismissed) -> Self {
        Self::Dismissed
    }
}

impl HttpConnection {
    pub(crate) fn new(stream: HttpStream, peer: SocketAddr, shared: Arc<HttpShared>) -> Self {
        let client_wait = Arc::new(ClientWait::new(shared.epoch));
        // A thread can do nothing for a TLS client before its hello is here, so the connection rests from the beginning.
        let heading = shared.tls.is_some().then(|| Heading::new(shared.limits.head_timeout));
        let (out, date) = (Vec::new(), DateText::default());
        Self {
            stream,
            peer,
            client_wait,
            shared,
            request: None,
            heading,
            receiving: None,
            has_been_asked: false,
            out,
            date,
        }
    }

    pub(crate) fn socket(&self) -> &Arc<TcpStream> {
        self.stream.socket()
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) fn client_wait(&self) -> &Arc<ClientWait> {
        &self.client_wait
    }

    /// Whether the bytes in its socket are encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.shared.tls.is_some()
    }

    /// What it waits for, if it has begun to receive a body, or over TLS its first head.
    pub(crate) fn rest(&self) -> Option<HttpRest> {
        if let Some(Heading { deadline, moved, .. }) = &self.heading {
            let is_overdue = deadline.has_passed();
            return Some(HttpRest {
                in_head: true,
                left: None,
                held: 0,
                since: *moved,
                is_starving: false,
                is_overdue,
            });
        }
        let Receiving { body, deadline, moved, is_starving, .. } = self.receiving.as_ref()?;
        Some(HttpRest {
            in_head: false,
            left: body.as_ref().and_then(IncomingBody::left),
            held: body.as_ref().map_or(0, IncomingBody::held),
            since: *moved,
            is_starving: *is_starving,
            is_overdue: deadline.has_passed(),
        })
    }

    /// Whether the request that was read in part has the method HEAD, so that its refusal has no body.
    pub(crate) fn asks_for_a_head_alone(&self) -> bool {
        match self.request {
            Some(PartOfRequest::Head { is_head }) => is_head,
            Some(PartOfRequest::HalfAHead) | None => asks_for_a_head_alone(self.stream.unread()),
        }
    }

    /// Serves the client until either side ends the connection. If it has to wait for the rest of a body, or over TLS for
    /// the rest of the handshake or the first head, it returns itself; it is run again when more has come.
    pub(crate) fn run(mut self) -> Option<Self> {
        if let Some(certificate) = self.shared.tls.as_ref().filter(|_| !self.stream.is_secured()) {
            match certificate.session() {
                Ok(session) => self.stream.secure(session),
                Err(error) => {
                    log::warn!("no TLS session with {}: {error}", self.peer);
                    return None;
                }
            }
        }
        let mut timeout = self.shared.limits.head_timeout;
        let end = loop {
            match self.exchange(timeout) {
                Ok(AfterExchange::Request) => timeout = self.shared.limits.idle_timeout,
                Ok(AfterExchange::Leave) => {
                    self.stream.leave();
                    return None;
                }
                Ok(AfterExchange::Streams) => return None,
                // In the lobby it waits for nothing that it could be dismissed for, and it brings no dismissal there.
                Ok(AfterExchange::Rest) => match self.client_wait.engage() {
                    Ok(()) => {
                        self.stream.rest();
                        return Some(self);
                    }
                    Err(dismissed) => break dismissed.into(),
                },
                Err(end) => break end,
            }
        };
        self.end(end);
        None
    }

    fn exchange(&mut self, timeout: Duration) -> Result<AfterExchange, EarlyEnd> {
        let mut receiving = match self.receiving.take() {
            Some(receiving) => receiving,
            None => match self.begin(timeout)? {
                Some(receiving) => receiving,
                None => return Ok(AfterExchange::Rest),
            },
        };
        if !self.receive(&mut receiving)? {
            self.receiving = Some(receiving);
            return Ok(AfterExchange::Rest);
        }
        self.client_wait.engage()?;
        let Receiving { head: RequestHead { method, target, headers, is_http10, keep_alive, .. }, body, .. } =
            receiving;
        let (is_head, is_connect) = (method == "HEAD", method == "CONNECT");
        let exchange = AnswerContext { is_head, is_connect, closes: !keep_alive || is_connect, is_http10 };
        let (body, upload, share) = match body.map(IncomingBody::finish).transpose()? {
            Some((body, upload, share)) => (Some(body), upload, Some(share)),
            None => (None, None, None),
        };
        let framing = if is_http10 { PieceFraming::Bare } else { PieceFraming::Chunked };
        let request = WireRequest { method, uri: target, headers, body, upload, peer: self.peer, framing };
        let WireAnswer { response, stream } = self.call(request)?;
        // From here on the body's room in the budget is free, so a client that does not read its answer keeps no room
        // from other bodies.
        drop(share);
        match stream {
            Some(body) => self.answer_by_a_stream(&response, body, exchange),
            None => self.answer(response, exchange),
        }
    }

    /// Waits for a request, reads its head, and takes what has come of its body. Returns nothing if the connection is to
    /// wait for the head without a thread.
    fn begin(&mut self, timeout: Duration) -> Result<Option<Receiving>, EarlyEnd> {
        let Some(head) = self.await_head(timeout)? else { return Ok(None) };
        let shared = &self.shared;
        let body =
            IncomingBody::announced(head.framing, shared.limits.body_bytes, &shared.bodies, shared.uploads.as_ref())?;
        let deadline = Deadline::after(shared.limits.body_timeout);
        let mut receiving = Receiving { head, body, deadline, moved: clock::now(), is_starving: false };
        let has_begun = self.take(&mut receiving)? > 0;
        if receiving.head.expects_continue && !has_begun && !receiving.is_whole() {
            self.client_wait.wait(Awaiting::Body, PATIENCE_MOVING)?;
            self.send_shortly(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        Ok(Some(receiving))
    }

    /// Waits for `timeout` for a request to begin, and reads its head. Returns nothing if the connection is to wait without a
    /// thread: over TLS, before its first request, when nothing has come for a moment. (Without TLS, the lobby sees when
    /// the head is here, and a connection gets its thread only then, unless nobody else wants it.)
    fn await_head(&mut self, timeout: Duration) -> Result<Option<RequestHead>, EarlyEnd> {
        let mut heading = self.heading.take().unwrap_or_else(|| Heading::new(timeout));
        let may_rest = self.stream.is_secured() && !self.has_been_asked;
        self.client_wait.wait(Awaiting::Request, PATIENCE_SILENT)?;
        if self.shared.is_closing() {
            return Err(EarlyEnd::Dismissed);
        }
        loop {
            self.skip_empty_lines(&mut heading.skipped)?;
            if !matches!(self.stream.unread(), b"" | b"\r") {
                if let Some(end) = heading.scan.end(self.stream.unread(), self.shared.limits.head_bytes)? {
                    let head = &self.stream.unread()[..end];
                    self.request = Some(PartOfRequest::Head { is_head: asks_for_a_head_alone(head) });
                    let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
                    let head = RequestHead::parse_over(scheme, head);
                    self.stream.consume(end);
                    self.has_been_asked = true;
                    return Ok(Some(head?));
                }
                if self.request.is_none() {
                    self.request = Some(PartOfRequest::HalfAHead);
                    heading.deadline = Deadline::after(self.shared.limits.head_timeout);
                    self.client_wait.wait(Awaiting::Request, PATIENCE_HEAD)?;
                }
            }
            if !may_rest || self.shared.is_closing() {
                self.stream.receive(heading.deadline)?;
                continue;
            }
            let turn = if self.shared.is_thread_wanted() { Duration::ZERO } else { TURN };
            match self.stream.receive_at_once_or(Deadline::after(turn).min(heading.deadline)) {
                Ok(()) => heading.moved = clock::now(),
                Err(ReadEnd::TimedOut) if !heading.deadline.has_passed() => {
                    self.heading = Some(heading);
                    return Ok(None);
                }
                Err(end) => return Err(end.into()),
            }
        }
    }

    /// RFC 9112 §2.2: some clients send an empty line after a body. A client that sends only empty lines means harm.
    fn skip_empty_lines(&mut self, skipped: &mut usize) -> Result<(), HttpRefusal> {
        while self.stream.unread().starts_with(b"\r\n") {
            self.stream.consume(2);
            *skipped += 1;
            if *skipped > EMPTY_LINES {
                return Err(HttpRefusal::malformed("there are too many empty lines before the request"));
            }
        }
        Ok(())
    }

    /// Receives the body as it comes. Returns false if the connection is to wait for the rest without a thread: because
    /// nothing, or little, has come for a while; because a request waits for the thread; or because the budget has no
    /// room.
    fn receive(&mut self, receiving: &mut Receiving) -> Result<bool, EarlyEnd> {
        let (mut turn, mut moved) = (Deadline::after(TURN), 0);
        loop {
            moved += self.take(receiving)?;
            if receiving.is_whole() {
                return Ok(true);
            }
            self.client_wait.wait(Awaiting::Body, PATIENCE_MOVING)?;
            let may_rest = !self.shared.is_closing();
            if may_rest && receiving.is_starving {
                return Ok(false);
            }
            if moved >= PROGRESS_BYTES {
                (turn, moved) = (Deadline::after(TURN), 0);
                receiving.moved = clock::now();
                if may_rest && self.shared.take_wish_to_leave() {
                    return Ok(false);
                }
            }
            if receiving.deadline.has_passed() {
                return Err(ReadEnd::TimedOut.into());
            }
            if may_rest && turn.has_passed() {
                return Ok(false);
            }
            match self.stream.receive(Deadline::after(TURN)) {
                Ok(()) | Err(ReadEnd::TimedOut) => {}
                Err(ReadEnd::Closed) => return Err(ReadEnd::Closed.into()),
            }
        }
    }

    /// Hands what has come to the body, if the budget has room for it, and returns how many bytes belonged to the body.
    fn take(&mut self, receiving: &mut Receiving) -> Result<usize, EarlyEnd> {
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

    /// Has the service answer. If it panics, this one request is answered with an error; other requests do not notice.
    fn call(&self, request: WireRequest) -> Result<WireAnswer, HttpRefusal> {
        let service = &self.shared.service;
        catch_unwind(AssertUnwindSafe(|| service(request))).map_err(|panic| {
            log::error!("the service panicked on a request of {}: {}", self.peer, panic_message(&*panic));
            HttpRefusal::new(500, "the request could not be answered")
        })
    }

    fn answer(&mut self, response: WireResponse, asked: AnswerContext) -> Result<AfterExchange, EarlyEnd> {
        let shared = &self.shared;
        let Ok(under_way) = shared.answers.admit(self.stream.socket(), response.bytes()) else {
            drop(response);
            return Err(HttpRefusal::busy("the request was carried out, but too many answers are under way").into());
        };
        let closes = asked.closes || asks_to_close(&response) || shared.is_closing() || shared.take_wish_to_leave();
        self.out.clear();
        let body = write_response(&mut self.out, &response, AnswerContext { closes, ..asked }, &mut self.date);
        let client_wait = &self.client_wait;
        client_wait.wait(Awaiting::Taking, PATIENCE_MOVING)?;
        let moved = || {
            under_way.moved();
            match client_wait.wait(Awaiting::Taking, PATIENCE_MOVING) {
                Ok(()) => ControlFlow::Continue(()),
                Err(Dismissed) => ControlFlow::Break(()),
            }
        };
        let sent = self.stream.send(&mut self.out, body, shared.limits.write_timeout, moved);
        sent.map_err(|error| {
            log::debug!("{} did not take its answer: {error}", self.peer);
            EarlyEnd::Unanswerable
        })?;
        self.request = None;
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        Ok(if closes { AfterExchange::Leave } else { AfterExchange::Request })
    }

    /// Sends the head of an answer, and has the rest of it sent by the listener's writer: the connection needs no thread any
    /// more.
    fn answer_by_a_stream(
        &mut self,
        response: &WireResponse,
        body: StreamBody,
        asked: AnswerContext,
    ) -> Result<AfterExchange, EarlyEnd> {
        let Ok(under_way) = self.shared.answers.admit(self.stream.socket(), response.bytes()) else {
            return Err(HttpRefusal::busy("the request was carried out, but too many answers are under way").into());
        };
        self.out.clear();
        let has_body = write_stream_head(&mut self.out, response, asked, &mut self.date);
        let first = body.framed(response.body().filter(|_| has_body));
        let timeout = self.shared.limits.write_timeout;
        self.client_wait.wait(Awaiting::Taking, PATIENCE_MOVING)?;
        let client_wait = &self.client_wait;
        let moved = || {
            under_way.moved();
            match client_wait.wait(Awaiting::Taking, PATIENCE_MOVING) {
                Ok(()) => ControlFlow::Continue(()),
                Err(Dismissed) => ControlFlow::Break(()),
            }
        };
        self.stream.send(&mut self.out, &first, timeout, moved).map_err(|_| EarlyEnd::Unanswerable)?;
        drop(under_way);
        self.client_wait.engage()?;
        self.request = None;
        let writer = self.shared.writer.clone().filter(|_| has_body && !self.shared.is_closing());
        let Some(writer) = writer else { return Ok(AfterExchange::Leave) };
        let (socket, tls) = self.stream.give_away();
        notice_who_is_gone(&socket);
        body.begin(socket, tls, writer);
        Ok(AfterExchange::Streams)
    }

    fn send_shortly(&mut self, text: &[u8]) -> Result<(), EarlyEnd> {
        let mut text = text.to_vec();
        let sent = self.stream.send(&mut text, &[], SHORT_WRITE, || ControlFlow::Continue(()));
        sent.map_err(|_| EarlyEnd::Unanswerable)
    }

    /// Tells the client why its connection ends, if it has asked for something.
    fn end(mut self, end: EarlyEnd) {
        log::debug!("{}: {end:?}", self.peer);
        let Some(refusal) = self.last_word(end) else { return };
        let is_head = self.asks_for_a_head_alone();
        let mut text = Vec::new();
        let id = self.shared.on_refusal.as_ref().map(|on_refusal| on_refusal(Some(self.peer), &refusal));
        write_refusal(&mut text, (&refusal, id.as_ref()), is_head, &mut self.date);
        if self.send_shortly(&text).is_err() {
            return;
        }
        let may_stay = !self.shared.is_closing() && self.client_wait.wait(Awaiting::Request, Duration::ZERO).is_ok();
        if may_stay { self.stream.linger(LINGER) } else { self.stream.leave() }
    }

    /// The answer that says why the connection ends. A client that has asked for nothing gets none: it may be about to
    /// ask, and would take that for the answer.
    fn last_word(&self, end: EarlyEnd) -> Option<HttpRefusal> {
        let refusal = match end {
            EarlyEnd::Unanswerable => return None,
            EarlyEnd::Refused(refusal) => return Some(refusal),
            EarlyEnd::Read(ReadEnd::TimedOut) => HttpRefusal::new(408, "the request was not complete in time"),
            EarlyEnd::Read(ReadEnd::Closed) if !self.client_wait.is_dismissed() => {
                HttpRefusal::malformed("the request ended before it was complete")
            }
            EarlyEnd::Read(ReadEnd::Closed) | EarlyEnd::Dismissed => {
                HttpRefusal::busy("the place of a waiting client was needed")
            }
        };
        self.request.map(|_| refusal)
    }
}

impl Receiving {
    fn is_whole(&self) -> bool {
        self.body.as_ref().is_none_or(IncomingBody::is_done)
    }
}

/// Has the system find out whether the client of a stream is still there, when nothing is said for long.
fn notice_who_is_gone(socket: &TcpStream) {
    let set = sockopt::set_socket_keepalive(socket, true)
        .and_then(|()| sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE))
        .and_then(|()| sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL))
        .and_then(|()| sockopt::set_tcp_keepcnt(socket, KEEPALIVE_PROBES));
    if let Err(error) = set {
        log::debug!("a client that vanishes is not noticed: {error}");
    }
}

/// The refusal for a client whose body found no room in the budget, because no other body gave up its room.
pub(crate) fn no_room_for_bodies() -> HttpRefusal {
    HttpRefusal::busy("too many bodies are being received")
}
