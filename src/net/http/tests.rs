//! Tests of the HTTP server by clients over sockets. A slow client is tested with a short deadline. No test sleeps to
//! wait for something.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use proptest::prelude::*;

use super::*;

use crate::base::clock;

/// How long a test waits for an answer at most.
const WATCHDOG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

/// A listener and its address.
struct Site {
    address: SocketAddr,
    serving: ServingHttp,
}

fn site(limits: HttpLimits, service: impl Fn(WireRequest) -> WireResponse + Send + Sync + 'static) -> Site {
    site_at(IpAddr::V4(Ipv4Addr::LOCALHOST), "http-test", limits, service)
}

fn site_at(
    ip: IpAddr,
    name: &str,
    limits: HttpLimits,
    service: impl Fn(WireRequest) -> WireResponse + Send + Sync + 'static,
) -> Site {
    let listener = HttpListener::bind(SocketAddr::new(ip, 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    let service = Arc::new(move |request| service(request).into());
    Site { address, serving: listener.serve(name, limits, service, false).expect("a thread") }
}

/// Answers each request with its method, its target and its body.
fn echo(request: WireRequest) -> WireResponse {
    let body = request.body.as_deref().map(|body| String::from_utf8_lossy(body).into_owned());
    text(format!("{} {} {body:?}", request.method, request.uri))
}

fn text(body: impl Into<String>) -> WireResponse {
    WireResponse::new(200, Vec::new(), Some(body.into().into_bytes())).expect("valid")
}

fn echo_site() -> Site {
    site(HttpLimits::default(), echo)
}

#[derive(Debug)]
struct Client(TcpStream);

impl Client {
    fn of(site: &Site) -> Self {
        let socket = TcpStream::connect(site.address).expect("the listener is there");
        socket.set_read_timeout(Some(WATCHDOG)).expect("an open socket");
        socket.set_write_timeout(Some(WATCHDOG)).expect("an open socket");
        Self(socket)
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("the server reads");
    }

    fn get(&mut self, target: &str) {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
    }

    /// The next answer to anything but a HEAD.
    fn answer(&mut self) -> Answer {
        let head = self.head();
        let length = header(&head, "Content-Length").map_or(0, |length| length.parse().expect("a number"));
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("the whole body");
        Answer { head, body: String::from_utf8(body).expect("text") }
    }

    /// The answer to a GET, unless the server closed the connection before or instead.
    fn try_get(&mut self, target: &str) -> Option<Answer> {
        write!(self.0, "GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").ok()?;
        match self.0.peek(&mut [0]) {
            Ok(0) => None,
            Ok(_) => Some(self.answer()),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "an answer comes in time");
                None
            }
        }
    }

    /// Reads a head byte by byte, so that no byte after it is taken.
    fn head(&mut self) -> String {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            self.0.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {head:?}"));
            head.push(byte[0]);
        }
        String::from_utf8(head).expect("text")
    }

    /// Reads everything that comes until the server closes.
    fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("closed, not reset, and in time");
        String::from_utf8(rest).expect("text")
    }

    /// Whether the server has closed or reset the connection without sending anything more.
    fn is_left(&mut self) -> bool {
        match self.0.read(&mut [0]) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

#[derive(Debug)]
struct Answer {
    head: String,
    body: String,
}

impl Answer {
    fn status(&self) -> u16 {
        status(&self.head)
    }

    fn closes(&self) -> bool {
        header(&self.head, "Connection") == Some("close")
    }
}

fn status(head: &str) -> u16 {
    head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status in {head:?}"))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// What the server answers to `bytes` before it closes.
fn said_to(site: &Site, bytes: impl AsRef<[u8]>) -> String {
    let mut client = Client::of(site);
    client.send(bytes);
    client.rest()
}

/// The names of this process's threads that begin with this prefix, without duplicates: the system lists a thread for a
/// moment after it was joined, beside the thread that has taken its name.
fn threads_called(name: &str) -> BTreeSet<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux").flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.map(|comm| comm.trim_end().to_owned()).filter(|comm| comm.starts_with(name)).collect()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = clock::now() + WATCHDOG;
    while !holds() {
        assert!(clock::now() < deadline, "{what}: not within {WATCHDOG:?}");
        thread::yield_now();
    }
}

/// A service that tells the test when a request has come, and answers it when the test tells it to.
fn held() -> (impl Fn(WireRequest) -> WireResponse + Send + Sync + 'static, Receiver<()>, Sender<()>) {
    let (came, has_come) = unbounded();
    let (go_on, may_go_on) = unbounded();
    let service = move |request| {
        came.send(()).expect("the test listens");
        may_go_on.recv_timeout(WATCHDOG).expect("the test goes on");
        echo(request)
    };
    (service, has_come, go_on)
}

// Connections and requests.

#[test]
fn a_connection_serves_one_request_after_another() {
    let site = echo_site();
    let mut client = Client::of(&site);
    for target in ["/a", "/b?c=d", "/e"] {
        client.get(target);
        let answer = client.answer();
        assert_eq!((answer.status(), answer.body), (200, format!("GET {target} None")));
        assert_eq!(header(&answer.head, "Connection"), None);
        assert!(header(&answer.head, "Date").is_some_and(|date| date.ends_with(" GMT")));
    }
}

#[test]
fn an_http_1_0_connection_is_kept_only_if_asked() {
    let site = echo_site();
    assert!(said_to(&site, "GET / HTTP/1.0\r\n\r\n").contains("\r\nConnection: close\r\n"));
    let mut client = Client::of(&site);
    for _ in 0..2 {
        client.send("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        assert_eq!(header(&client.answer().head, "Connection"), Some("keep-alive"));
    }
}

#[test]
fn a_client_that_asks_for_it_has_its_connection_closed() {
    let site = echo_site();
    let said =
        said_to(&site, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(said.contains("\r\nConnection: close\r\n") && said.ends_with("GET / None"), "{said}");
}

#[test]
fn a_service_that_asks_for_it_has_the_connection_closed() {
    let closing = vec![("Connection".to_owned(), "close".to_owned())];
    let site = site(HttpLimits::default(), move |_| WireResponse::new(200, closing.clone(), None).expect("valid"));
    assert!(said_to(&site, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").contains("\r\nConnection: close\r\n"));
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let site = echo_site();
    let mut client = Client::of(&site);
    let one = |at: usize| format!("POST /{at} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\r\n");
    client.send((0..1000).map(one).collect::<String>());
    for at in 0..1000 {
        assert_eq!(client.answer().body, format!("POST /{at} Some(\"abc\")"));
    }
}

#[test]
fn empty_lines_before_a_request_are_skipped() {
    let site = echo_site();
    let mut client = Client::of(&site);
    for piece in ["\r", "\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n"] {
        client.send(piece);
    }
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn headers_reach_the_service_as_they_were_sent() {
    let site = site(HttpLimits::default(), |request| text(format!("{:?}", request.headers)));
    let mut client = Client::of(&site);
    client.send(b"GET / HTTP/1.1\r\nhOst: h\r\nB: 1\r\nA: \xe9\r\nb: 2\r\n\r\n");
    assert_eq!(client.answer().body, r#"[("hOst", "h"), ("B", "1"), ("A", "é"), ("b", "2")]"#);
}

#[test]
fn an_announced_empty_body_differs_from_none() {
    let site = echo_site();
    let mut client = Client::of(&site);
    client.send("POST / HTTP/1.1\r\nHost: h\r\n\r\nPOST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.answer().body, "POST / None");
    assert_eq!(client.answer().body, "POST / Some(\"\")");
}

#[test]
fn a_chunked_body_arrives_whole_and_the_next_request_behind_it() {
    let site = echo_site();
    let mut client = Client::of(&site);
    client.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=");
    client.send("y\r\nde\r\n0\r\nTrailer: t\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.answer().body, "POST / Some(\"abcde\")");
    assert_eq!(client.answer().body, "GET /next None");
}

#[test]
fn a_large_body_goes_both_ways() {
    let site = site(HttpLimits::default(), |request| WireResponse::new(200, Vec::new(), request.body).expect("valid"));
    let body = "0123456789abcdef".repeat(8 * 1024 * 1024 / 16);
    let mut client = Client::of(&site);
    client.send(format!("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    assert!(client.answer().body == body);
}

#[test]
fn a_client_is_told_to_continue_only_if_its_body_is_wanted() {
    let site = site(HttpLimits { body_bytes: 5, ..HttpLimits::default() }, echo);
    let request = |length: usize| {
        format!("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n")
    };
    let mut client = Client::of(&site);
    client.send(request(5));
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abcde");
    assert_eq!(client.answer().body, "POST / Some(\"abcde\")");
    client.send(request(5) + "abcde");
    assert_eq!(client.answer().status(), 200);
    client.send(request(6));
    assert_eq!(client.answer().status(), 413);
    assert_eq!(status(&said_to(&site, "GET / HTTP/1.1\r\nHost: h\r\nExpect: a-miracle\r\n\r\n")), 417);
}

#[test]
fn a_head_request_is_answered_without_a_body() {
    let site = echo_site();
    let mut client = Client::of(&site);
    client.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(header(&client.head(), "Content-Length"), Some("11"));
    client.get("/");
    assert_eq!(client.answer().body, "GET / None");
    client.send("HEAD / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n");
    assert!(client.rest().ends_with("\r\n\r\n"), "a refused HEAD has no body either");
}

#[test]
fn methods_and_targets_of_every_kind_reach_the_service() {
    let site = echo_site();
    let mut client = Client::of(&site);
    for line in ["OPTIONS *", "OPTIONS /", "TRACE /", "PROPFIND /x", "brew /pot", "DELETE /"] {
        client.send(format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(client.answer().body, format!("{line} None"));
    }
    client.send("GET http://h/y?z HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.answer().body, "GET /y?z None", "an absolute target arrives in origin form");
    let said = said_to(&site, "CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(said.starts_with("HTTP/1.1 200 ") && said.ends_with("\r\nConnection: close\r\n\r\n"), "{said}");
    assert!(!said.contains("Content-Length"), "there is no tunnel to be kept, and nothing goes through it: {said}");
}

#[test]
fn an_absolute_target_says_whom_the_request_is_for() {
    let site = site(HttpLimits::default(), |request| text(format!("{} {:?}", request.uri, request.headers)));
    let mut client = Client::of(&site);
    client.send("GET http://there:80/a?b HTTP/1.1\r\nA: b\r\nHost: here\r\n\r\n");
    assert_eq!(client.answer().body, r#"/a?b [("A", "b"), ("Host", "there:80")]"#);
    client.send("GET http://there HTTP/1.0\r\n\r\n");
    assert_eq!(client.answer().body, r#"/ [("Host", "there")]"#);
}

#[test]
fn a_refused_head_has_no_body_wherever_it_is_refused() {
    let refusing = site(HttpLimits { head_bytes: 100, head_timeout: SHORT, ..HttpLimits::default() }, echo);
    let too_large = format!("HEAD / HTTP/1.1\r\nA: {}", "x".repeat(200));
    for (request, expected) in [
        ("HEAD / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("HEAD / HTTP/1.1\r\nHost: h\nA: b", 400),
        ("HEAD / HTTP/2.0\r\n\r\n", 505),
        ("HEAD / HTTP/1.1\r\nHost: h\r\nExpect: x\r\n\r\n", 417),
        ("HEAD / HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n", 413),
        (&too_large, 431),
        ("HEAD / HTTP/1.1\r\nHo", 408),
    ] {
        let said = said_to(&refusing, request);
        assert!(status(&said) == expected && said.ends_with("\r\n\r\n"), "{request:?} gave {said}");
    }
    let (service, has_come, go_on) = held();
    let full = site(HttpLimits { connections: 1, admission_timeout: SHORT, ..HttpLimits::default() }, service);
    let mut first = Client::of(&full);
    first.get("/");
    has_come.recv_timeout(WATCHDOG).expect("the first request comes");
    let said = said_to(&full, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(status(&said) == 503 && said.ends_with("\r\n\r\n"), "by the door: {said}");
    go_on.send(()).expect("the service waits");
}

#[test]
fn a_refused_request_has_its_body_whatever_is_sent_behind_it() {
    let said = said_to(&echo_site(), "GET / HTTP/1.1\r\nHost: a/b\r\n\r\nHEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(said.ends_with("the Host header is no host\n"), "{said}");
}

#[test]
fn a_client_that_sends_nothing_but_empty_lines_is_refused() {
    let site = echo_site();
    let mut client = Client::of(&site);
    let _ = client.0.write_all("\r\n".repeat(1_000).as_bytes());
    assert_eq!(status(&client.rest()), 400);
}

#[test]
fn it_serves_ipv6() {
    let site = site_at(IpAddr::V6(Ipv6Addr::LOCALHOST), "http-v6", HttpLimits::default(), |request| {
        text(request.peer.ip().to_string())
    });
    let mut client = Client::of(&site);
    client.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", site.address));
    assert_eq!(client.answer().body, "::1");
}

#[test]
fn a_client_that_has_said_all_it_will_is_still_answered() {
    let site = echo_site();
    let mut client = Client::of(&site);
    client.get("/");
    client.0.shutdown(Shutdown::Write).expect("an open socket");
    assert!(client.rest().ends_with("GET / None"));
}

// What is refused.

#[test]
fn nothing_behind_a_refused_request_is_read_as_another() {
    let site = echo_site();
    let hidden = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";
    for (request, expected) in [
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n", 400),
        ("GET / HTTP/1.1\nHost: h\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("\x16\x03\x01\x02\x00\x01\x00\x01", 400),
    ] {
        let said = said_to(&site, format!("{request}{hidden}"));
        assert_eq!(status(&said), expected, "{request:?}");
        assert!(said.contains("\r\nConnection: close\r\n") && !said.contains("hidden"), "{said}");
        assert_eq!(said.matches("HTTP/1.1 ").count() - usize::from(expected == 505), 1, "{said}");
    }
}

#[test]
fn a_head_that_is_too_large_is_refused_and_the_client_reads_why() {
    let site = echo_site();
    let line = |what: &str| format!("{what}{}", "x".repeat(16 * 1024 * 1024));
    assert_eq!(status(&said_to(&site, line("GET / HTTP/1.1\r\nHost: h\r\nA: "))), 431);
    assert_eq!(status(&said_to(&site, line("GET /"))), 414);
}

#[test]
fn a_body_that_is_too_large_is_refused_and_the_client_reads_why() {
    let site = echo_site();
    let body = "x".repeat(32 * 1024 * 1024);
    let head = "POST / HTTP/1.1\r\nHost: h\r\n";
    let said = said_to(&site, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()));
    assert_eq!(status(&said), 413);
    assert!(said.ends_with("413 Content Too Large: the body is larger than 8388608 bytes\n"), "{said}");
    let chunks = format!("100000\r\n{}\r\n", &body[..1 << 20]).repeat(32);
    assert_eq!(status(&said_to(&site, format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}"))), 413);
}

#[test]
fn bodies_that_are_too_large_together_are_refused() {
    let (service, has_come, go_on) = held();
    let site = site(HttpLimits { body_bytes: 100, bodies_bytes: 100, ..HttpLimits::default() }, service);
    let post = format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 60\r\n\r\n{}", "x".repeat(60));
    let mut first = Client::of(&site);
    first.send(&post);
    has_come.recv_timeout(WATCHDOG).expect("the first request comes");
    assert_eq!(status(&said_to(&site, &post)), 503);
    go_on.send(()).expect("the service waits");
    assert_eq!(first.answer().status(), 200);
}

/// Sends all but the last byte of a body of this many bytes, and stops.
fn stall(site: &Site, bytes: usize) -> Client {
    let mut client = Client::of(site);
    client.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {bytes}\r\n\r\n{}", "x".repeat(bytes - 1)));
    client
}

#[test]
fn bodies_that_stall_give_way_when_others_need_their_room() {
    let limits = HttpLimits { body_bytes: 100_000, bodies_bytes: 300_000, ..HttpLimits::default() };
    let site = site(limits, |request| text(request.body.map_or(0, |body| body.len()).to_string()));
    let mut stalled: Vec<_> = (0..3).map(|_| stall(&site, 100_000)).collect();
    let is_told_to_go = |client: &Client| {
        client.0.set_nonblocking(true).expect("an open socket");
        let is_told = client.0.peek(&mut [0]).is_ok();
        client.0.set_nonblocking(false).expect("an open socket");
        is_told
    };
    wait_until("one that stalls is told to go, when all of them have come", || {
        let mut client = Client::of(&site);
        client.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 90000\r\n\r\n{}", "x".repeat(90_000)));
        assert_eq!(client.answer().body, "90000");
        stalled.iter().any(is_told_to_go)
    });
    let mut statuses = Vec::new();
    for client in &mut stalled {
        if !is_told_to_go(client) {
            client.send("x");
        }
        let said = client.answer();
        assert!(said.body == "100000" || said.body.contains("its room was needed"), "{said:?}");
        statuses.push(said.status());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503], "one was enough, and the others could still end");
}

#[test]
fn a_body_has_given_its_room_back_before_its_answer_is_taken() {
    let limits = HttpLimits { body_bytes: 100_000, bodies_bytes: 100_000, ..HttpLimits::default() };
    let site = site(limits, |_| text("x".repeat(32 << 20)));
    for _ in 0..2 {
        let mut client = Client::of(&site);
        client.send(format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000)));
        assert_eq!(status(&client.head()), 200);
        // The client reads no further, and keeps its connection.
        std::mem::forget(client);
    }
}

#[test]
fn answers_that_nobody_takes_give_way_when_others_need_their_room() {
    let limits = HttpLimits { body_bytes: 32 << 20, answers_bytes: 70 << 20, ..HttpLimits::default() };
    let site = site(limits, |_| text("x".repeat(32 << 20)));
    let mut stalled: Vec<_> = (0..6).map(|_| Client::of(&site)).collect();
    for client in &mut stalled {
        client.get("/");
        assert_eq!(status(&client.head()), 200);
    }
    let mut client = Client::of(&site);
    client.get("/");
    assert_eq!(client.answer().body.len(), 32 << 20);
    let cut = stalled.iter_mut().filter_map(|client| client.0.read_to_end(&mut Vec::new()).ok());
    assert!(cut.take(4).all(|bytes| bytes < 32 << 20), "four of six had to go");
}

#[test]
fn an_answer_for_which_no_room_can_be_made_is_refused() {
    let limits = HttpLimits { body_bytes: 0, head_bytes: 1000, answers_bytes: 20_000, ..HttpLimits::default() };
    let site = site(limits, |request| text("x".repeat(request.uri.len() * 1000)));
    let mut client = Client::of(&site);
    client.get("/234567890123456789");
    assert_eq!(client.answer().status(), 200);
    client.get("/23456789012345678901");
    let refused = client.answer();
    assert!(refused.status() == 503 && refused.body.contains("the request was carried out"), "{refused:?}");
}

#[test]
fn bodies_that_drip_hold_no_place_that_a_whole_request_needs() {
    let limits =
        HttpLimits { connections: 3, admission_timeout: WATCHDOG, body_timeout: WATCHDOG, ..HttpLimits::default() };
    let site = site(limits, |request| text(request.body.map_or(0, |body| body.len()).to_string()));
    let mut dripping: Vec<_> = (0..4).map(|_| Client::of(&site)).collect();
    dripping.iter_mut().for_each(|client| client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n"));
    for _ in 0..19 {
        dripping.iter_mut().for_each(|client| client.send("x"));
        let mut client = Client::of(&site);
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx");
        assert_eq!(client.answer().body, "1");
    }
    for client in &mut dripping {
        client.send("x");
        assert_eq!(client.answer().body, "20", "nobody was told to go");
    }
}

// Slow clients.

#[test]
fn a_head_that_trickles_in_has_one_deadline_for_the_whole() {
    let site = site(HttpLimits { head_timeout: 5 * SHORT, ..HttpLimits::default() }, echo);
    let mut client = Client::of(&site);
    let mut dripping = client.0.try_clone().expect("an open socket");
    let drip = thread::spawn(move || {
        let head = "GET / HTTP/1.1\r\nHost: h\r\nA: ".bytes().chain(std::iter::repeat(b'x'));
        for byte in head {
            if dripping.write_all(&[byte]).is_err() {
                return;
            }
            thread::sleep(SHORT / 20);
        }
    });
    assert_eq!(client.answer().status(), 408);
    client.0.shutdown(Shutdown::Both).expect("an open socket");
    drip.join().expect("it stops when nobody listens");
}

#[test]
fn a_body_that_stops_has_a_deadline() {
    let site = site(HttpLimits { body_timeout: SHORT, ..HttpLimits::default() }, echo);
    let said = said_to(&site, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
    assert_eq!(status(&said), 408);
    assert_eq!(status(&said_to(&site, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")), 408);
}

#[test]
fn a_request_that_ends_before_it_is_complete_is_refused() {
    let site = echo_site();
    for part in ["GET / HT", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc"] {
        let mut client = Client::of(&site);
        client.send(part);
        client.0.shutdown(Shutdown::Write).expect("an open socket");
        assert_eq!(status(&client.rest()), 400);
    }
}

#[test]
fn a_client_that_says_nothing_is_left_without_a_word() {
    let fresh = site(HttpLimits { head_timeout: SHORT, ..HttpLimits::default() }, echo);
    assert_eq!(Client::of(&fresh).rest(), "");
    let kept = site(HttpLimits { idle_timeout: SHORT, ..HttpLimits::default() }, echo);
    let mut client = Client::of(&kept);
    client.get("/");
    client.answer();
    assert_eq!(client.rest(), "");
}

#[test]
fn a_client_that_never_reads_its_answer_is_given_up() {
    let patient = HttpLimits { drain_timeout: WATCHDOG, write_timeout: SHORT, ..HttpLimits::default() };
    let site = site(patient, |_| WireResponse::new(200, Vec::new(), Some(vec![b'x'; 64 << 20])).expect("valid"));
    let mut client = Client::of(&site);
    client.get("/");
    assert_eq!(status(&client.head()), 200);
    let begun = clock::now();
    drop(site);
    assert!(clock::since(begun) < WATCHDOG, "its write deadline ended it, not that of the drain");
}

#[test]
fn a_slow_reader_that_goes_on_reading_gets_all() {
    let site = site(HttpLimits::default(), |_| text("x".repeat(1 << 20)));
    let mut client = Client::of(&site);
    client.get("/");
    assert_eq!(status(&client.head()), 200);
    let (mut piece, mut taken) = ([0; 4096], 0);
    while taken < 1 << 20 {
        taken += client.0.read(&mut piece).expect("more comes");
        thread::yield_now();
    }
}

// Services.

#[test]
fn a_service_that_panics_costs_one_answer() {
    let site = site(HttpLimits::default(), |request| match request.uri.as_str() {
        "/panic" => panic!("on purpose"),
        _ => echo(request),
    });
    for _ in 0..10 {
        let said = said_to(&site, "GET /panic HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(status(&said) == 500 && !said.contains("on purpose"), "{said}");
    }
    let mut client = Client::of(&site);
    client.get("/");
    assert_eq!(client.answer().status(), 200);
}

#[test]
fn a_client_gone_before_its_answer_is_nobodys_trouble() {
    let (service, has_come, go_on) = held();
    let site = site(HttpLimits { connections: 1, ..HttpLimits::default() }, service);
    let mut gone = Client::of(&site);
    gone.get("/");
    has_come.recv_timeout(WATCHDOG).expect("the request comes");
    drop(gone);
    go_on.send(()).expect("the service waits");
    go_on.send(()).expect("the service waits");
    let mut client = Client::of(&site);
    client.get("/");
    assert_eq!(client.answer().status(), 200);
}

// Many clients.

/// Opens `clients` connections before any is used; then each gets answers to `requests` requests, one after the other.
/// A client whose connection was closed connects anew and asks again, as clients do. Returns how many connections that
/// took.
fn crowd(site: &Site, clients: usize, requests: usize) -> usize {
    let opened = AtomicUsize::new(clients);
    let open: Vec<_> = (0..clients).map(|_| Client::of(site)).collect();
    thread::scope(|scope| {
        for mut client in open {
            let opened = &opened;
            scope.spawn(move || {
                let mut answered = 0;
                while answered < requests {
                    let answer = client.try_get("/");
                    answered += usize::from(answer.as_ref().is_some_and(|answer| answer.status() == 200));
                    if answer.is_none_or(|answer| answer.closes()) {
                        client = Client::of(site);
                        opened.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    opened.into_inner()
}

#[test]
fn two_hundred_connections_opened_at_once_and_kept_busy_are_all_answered() {
    let site = echo_site();
    assert_eq!(crowd(&site, 200, 10), 200);
}

#[test]
fn more_clients_than_places_take_turns() {
    let limits = HttpLimits { connections: 8, admission_timeout: WATCHDOG, ..HttpLimits::default() };
    let site = site_at(IpAddr::V4(Ipv4Addr::LOCALHOST), "turns", limits, |request| {
        assert!(threads_called("turns").len() <= 9, "eight connections and the door");
        echo(request)
    });
    assert!(crowd(&site, 100, 10) > 100, "some had to leave for others");
}

#[test]
fn an_idle_connection_is_closed_for_a_client_that_waits() {
    let site = site(HttpLimits { connections: 2, ..HttpLimits::default() }, echo);
    let mut idle: Vec<_> = (0..2).map(|_| Client::of(&site)).collect();
    for client in &mut idle {
        client.get("/");
        assert!(!client.answer().closes());
    }
    let mut client = Client::of(&site);
    client.get("/");
    assert_eq!(client.answer().status(), 200);
    assert!(idle[0].is_left(), "the one that has been idle for longest goes");
    idle[1].get("/");
    assert_eq!(idle[1].answer().status(), 200);
}

/// Clients that each send `begun`, so that each takes a thread, and then stop, do not keep out a client with a request.
fn is_served_beside(limits: HttpLimits, begun: &str) -> bool {
    let places = limits.connections;
    let site = site(limits, |request| match request.uri.as_str() {
        "/big" => text("x".repeat(32 << 20)),
        _ => echo(request),
    });
    let mut stalled: Vec<_> = (0..places + 1).map(|_| Client::of(&site)).collect();
    stalled.iter_mut().for_each(|client| client.send(begun));
    let mut client = Client::of(&site);
    client.get("/");
    client.answer().status() == 200
}

#[test]
fn clients_that_never_finish_their_heads_keep_nobody_out() {
    assert!(is_served_beside(HttpLimits { connections: 4, ..HttpLimits::default() }, "GET / HTTP/1.1\r\nHost:"));
}

#[test]
fn clients_that_never_send_their_bodies_keep_nobody_out() {
    let limits = HttpLimits { connections: 4, admission_timeout: WATCHDOG, ..HttpLimits::default() };
    assert!(is_served_beside(limits, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n"));
}

#[test]
fn clients_that_never_read_their_answers_keep_nobody_out() {
    let limits = HttpLimits { connections: 4, admission_timeout: WATCHDOG, ..HttpLimits::default() };
    assert!(is_served_beside(limits, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n"));
}

#[test]
fn a_client_that_finds_no_place_in_time_is_told_when_to_come_back() {
    let (service, has_come, go_on) = held();
    let site = site(HttpLimits { connections: 1, admission_timeout: SHORT, ..HttpLimits::default() }, service);
    let mut first = Client::of(&site);
    first.get("/");
    has_come.recv_timeout(WATCHDOG).expect("the first request comes");
    let mut others: Vec<_> = (0..20).map(|_| Client::of(&site)).collect();
    others.iter_mut().for_each(|client| client.get("/"));
    for client in &mut others {
        let answer = client.answer();
        assert_eq!((answer.status(), header(&answer.head, "Retry-After")), (503, Some("1")));
    }
    go_on.send(()).expect("the service waits");
    assert_eq!(first.answer().status(), 200);
}

#[test]
fn every_connection_has_a_thread_with_a_number_in_its_name() {
    let site = site_at(IpAddr::V4(Ipv4Addr::LOCALHOST), "named", HttpLimits::default(), |_| {
        text(thread::current().name().unwrap_or_default())
    });
    let mut clients: Vec<_> = (0..3).map(|_| Client::of(&site)).collect();
    for (at, client) in clients.iter_mut().enumerate() {
        client.get("/");
        assert_eq!(client.answer().body, format!("named-{}", at + 1));
    }
    drop(clients);
    wait_until("the threads end with their connections", || threads_called("named").len() == 1);
    drop(site);
    wait_until("the door's thread ends", || threads_called("named").is_empty());
}

// Closing.

#[test]
fn a_listener_that_closes_answers_what_is_in_the_service() {
    let (service, has_come, go_on) = held();
    let site = site(HttpLimits::default(), service);
    let address = site.address;
    let (mut busy, mut idle) = (Client::of(&site), Client::of(&site));
    busy.get("/busy");
    has_come.recv_timeout(WATCHDOG).expect("the request comes");
    let closing = thread::spawn(move || drop(site.serving));
    assert_eq!(idle.rest(), "", "an idle connection is closed at once");
    go_on.send(()).expect("the service waits");
    let answer = busy.answer();
    assert!(answer.closes() && answer.body == "GET /busy None");
    closing.join().expect("it closes");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_listener_that_closes_gives_unfinished_requests_until_its_deadline() {
    let site = site(HttpLimits { drain_timeout: SHORT, ..HttpLimits::default() }, echo);
    let mut stalled = Client::of(&site);
    stalled.send("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n");
    assert_eq!(status(&stalled.head()), 100);
    let begun = clock::now();
    drop(site.serving);
    assert!(clock::since(begun) >= SHORT && clock::since(begun) < WATCHDOG, "{:?}", clock::since(begun));
    assert_eq!(status(&stalled.rest()), 503);
}

#[test]
fn a_listener_closes_at_once_when_nobody_is_being_served() {
    let limits = HttpLimits { drain_timeout: WATCHDOG, ..HttpLimits::default() };
    let site = site(limits, echo);
    let mut clients: Vec<_> = (0..50).map(|_| Client::of(&site)).collect();
    clients.iter_mut().for_each(|client| {
        client.get("/");
        client.answer();
    });
    let begun = clock::now();
    drop(site.serving);
    assert!(clock::since(begun) < WATCHDOG / 4);
    assert!(clients.iter_mut().all(Client::is_left));
}

#[test]
fn a_listener_may_close_under_load_and_every_request_is_answered_or_none() {
    let site = echo_site();
    let (address, served) = (site.address, Arc::new(AtomicUsize::new(0)));
    let bad = Arc::new(Mutex::new(Vec::new()));
    let (started, has_started) = bounded(16);
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let mut client = Client::of(&site);
            let (served, bad, started) = (Arc::clone(&served), Arc::clone(&bad), started.clone());
            thread::spawn(move || {
                loop {
                    let sent = client.0.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
                    let mut said = [0; 1024];
                    match client.0.read(&mut said) {
                        Ok(bytes @ 1..) if said.starts_with(b"HTTP/1.1 200") || said.starts_with(b"HTTP/1.1 503") => {
                            served.fetch_add(1, Ordering::Relaxed);
                            let _ = started.try_send(());
                            if said[..bytes].windows(17).any(|part| part == b"Connection: close") {
                                return;
                            }
                        }
                        Ok(0) | Err(_) => return,
                        Ok(bytes) => bad.lock().expect("no panic").push((sent.is_ok(), said[..bytes].to_vec())),
                    }
                }
            })
        })
        .collect();
    (0..16).for_each(|_| has_started.recv_timeout(WATCHDOG).expect("clients are served"));
    drop(site.serving);
    clients.into_iter().for_each(|client| client.join().expect("no panic"));
    assert_eq!(bad.lock().expect("no panic").as_slice(), []);
    assert!(TcpStream::connect(address).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_make_a_head_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = head::RequestHead::parse(&bytes);
        let _ = head::HeadScan::default().end(&bytes, 100);
    }

    #[test]
    fn no_bytes_make_a_chunked_body_panic(bytes in "[0-9a-f;:= \r\nxX]{0,60}") {
        let mut decoder = chunked::ChunkedDecoder::new(100);
        let _ = decoder.decode(bytes.as_bytes(), &mut Vec::new(), 100);
    }
}
