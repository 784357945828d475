//! Tests of the HTTP server under strain: malicious clients, slow clients, many normal clients, and every way in which
//! a request can be malformed.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use support::{Http, PATIENCE, Stage, Theater, data_of, eventually, verifies_and_replays};

const HANDLE: &str = "call ntwk:theater/http-server.handle-request";

fn probe() -> (Stage, Theater) {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("probe", "probe", "")]);
    (stage, running)
}

/// Sends this many requests on new connections; each must be answered. Retries if it is told to.
fn is_answered(address: SocketAddr, times: usize) {
    for _ in 0..times {
        eventually("an answer", || {
            let mut http = Http::connect(address);
            http.send_raw(b"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
            let answer = http.receive().expect("an answer");
            assert!([200, 503].contains(&answer.status), "{answer:?}");
            (answer.status == 200).then_some(())
        });
    }
}

#[test]
fn five_hundred_clients_that_never_finish_a_request_keep_nobody_waiting_for_good() {
    let (stage, running) = probe();
    let address = running.http("probe");
    let done = AtomicBool::new(false);
    let beginnings =
        ["GET /echo HTTP/1.1\r\nHost: x\r\n", "POST /op HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n"];
    std::thread::scope(|scope| {
        for beginning in beginnings {
            let done = &done;
            scope.spawn(move || {
                let begin = || {
                    let mut slow = TcpStream::connect(address).ok()?;
                    slow.set_nonblocking(true).ok()?;
                    slow.write_all(beginning.as_bytes()).ok()?;
                    Some(slow)
                };
                let mut all: Vec<_> = (0..250).map(|_| begin()).collect();
                // Send one more byte now and then; begin again after being disconnected.
                while !done.load(Ordering::Relaxed) {
                    for slow in &mut all {
                        if slow.as_mut().is_none_or(|slow| slow.write_all(b"x").is_err()) {
                            *slow = begin();
                        }
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let over = support::Over(&done);
        is_answered(address, 30);
        drop(over);
    });
    is_answered(address, 30);
    let events = running.events("probe");
    assert_eq!(data_of(&events, HANDLE).len(), 60, "nothing half was delivered");
    verifies_and_replays(&running.export(&stage, "probe"));
}

/// The resources of a process: threads, open files, and memory in KiB.
fn held(running: &Theater) -> (usize, usize, u64) {
    let fds = std::fs::read_dir(format!("/proc/{}/fd", running.pid())).expect("a process").count();
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).expect("a process");
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    (running.thread_names().len(), fds, rss.expect("a size"))
}

#[test]
fn thousands_of_requests_on_many_connections_leave_nothing_behind() {
    let (_stage, running) = probe();
    let address = running.http("probe");
    let before = held(&running);
    let burst = || {
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    let mut http = Http::connect(address);
                    for _ in 0..40 {
                        let answer = http.ask("POST", "/op", Some("{\"op\":\"echo\",\"value\":1}"));
                        assert_eq!((answer.status, answer.body.as_str()), (200, "1"));
                        if answer.head.to_lowercase().contains("\r\nconnection: close\r\n") {
                            http = Http::connect(address);
                        }
                    }
                });
            }
        });
        eventually("threads and sockets are given back", || {
            let (threads, fds, rss) = held(&running);
            (threads <= before.0 && fds <= before.1 + 8).then_some(rss)
        })
    };
    // The first bursts fill caches and memory arenas.
    let [.., warm] = [(); 3].map(|()| burst());
    let [.., then] = [(); 6].map(|()| burst());
    assert!(then < warm + 24 * 1024, "{warm} KiB after three bursts, {then} KiB after nine");
}

/// Sends this many requests on new connections; returns how long each answer took.
fn times(address: SocketAddr, times: usize) -> Vec<Duration> {
    let ask = || {
        let begun = Instant::now();
        is_answered(address, 1);
        begun.elapsed()
    };
    let mut all: Vec<_> = std::iter::repeat_with(ask).take(times).collect();
    all.sort_unstable();
    all
}

/// Silent clients never kept others out. Clients with a head and no body used to hold all places for a second each, so
/// that a client with a request waited two or three seconds.
#[test]
fn clients_that_drip_their_bodies_hold_no_place_that_a_whole_request_needs() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("probe", "probe", "[limits]\nhttp_connections = 32\n")]);
    let address = running.http("probe");
    let done = AtomicBool::new(false);
    let beginnings = [
        ("POST /op HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n".to_owned(), "x"),
        ("POST /op HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), "1\r\nx\r\n"),
        (format!("POST /op HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n{}", "x".repeat(20_000)), "x"),
    ];
    std::thread::scope(|scope| {
        for (beginning, drip) in &beginnings {
            let done = &done;
            scope.spawn(move || {
                let begin = || {
                    let mut slow = TcpStream::connect(address).ok()?;
                    slow.set_nonblocking(true).ok()?;
                    slow.write_all(beginning.as_bytes()).ok()?;
                    Some(slow)
                };
                let mut all: Vec<_> = (0..60).map(|_| begin()).collect();
                while !done.load(Ordering::Relaxed) {
                    for slow in &mut all {
                        if slow.as_mut().is_none_or(|slow| slow.write_all(drip.as_bytes()).is_err()) {
                            *slow = begin();
                        }
                    }
                    // The clients are slow but not busy, so that the processor is free for the runtime.
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let over = support::Over(&done);
        let all = times(address, 21);
        drop(over);
        assert!(all[10] < Duration::from_secs(1), "half took longer than {:?}", all[10]);
    });
    assert_eq!(data_of(&running.events("probe"), HANDLE).len(), 21, "nothing half was delivered");
}

/// Sends a body except for its last byte.
fn stall(address: SocketAddr, bytes: usize) -> TcpStream {
    let mut stalled = TcpStream::connect(address).expect("a connection");
    let head = format!("POST /op HTTP/1.1\r\nHost: x\r\nContent-Length: {bytes}\r\n\r\n");
    stalled.write_all(head.as_bytes()).expect("sent");
    stalled.write_all(&vec![b'x'; bytes - 1]).expect("sent");
    stalled
}

#[test]
fn eight_bodies_that_stall_a_byte_before_their_end_block_no_other() {
    let (_stage, running) = probe();
    let address = running.http("probe");
    let _stalled: Vec<_> = (0..8).map(|_| stall(address, 8 << 20)).collect();
    for _ in 0..20 {
        let answer = Http::connect(address).ask("POST", "/op", Some("{\"op\":\"echo\",\"value\":1}"));
        assert_eq!((answer.status, answer.body.as_str()), (200, "1"));
    }
}

#[test]
fn answers_that_nobody_reads_keep_to_their_budget_and_their_memory_is_given_back() {
    const MIB: u64 = 1024;
    let stage = Stage::new();
    let limits = "[limits]\nhttp_answers_bytes = 16777216\n";
    let running = stage.run(&[&stage.http_manifest("probe", "probe", limits)]);
    let address = running.http("probe");
    let large = "{\"op\":\"reply-bytes\",\"n\":8000000}";
    let whole = || Http::connect(address).ask("POST", "/op", Some(large));
    assert_eq!(whole().body.len(), 8_000_000);
    let (_, _, before) = held(&running);
    let unread: Vec<_> = (0..30)
        .map(|_| {
            let mut http = Http::connect(address);
            http.send("POST", "/op", Some(large));
            http
        })
        .collect();
    // Requests are handled in order, so the last answer is there when this one is.
    let answer = eventually("an answer among those that nobody reads", || Some(whole()).filter(|it| it.status == 200));
    assert_eq!(answer.body.len(), 8_000_000);
    let (_, _, during) = held(&running);
    assert!(during < before + 100 * MIB, "{before} KiB before, {during} KiB while 30 clients read nothing");
    drop(unread);
    eventually("memory is given back", || (held(&running).2 < before + 30 * MIB).then_some(()));
}

/// Sends these bytes on a connection; returns the statuses of all answers.
fn statuses(address: SocketAddr, request: &[u8]) -> Vec<u16> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // The server may refuse the request and close the connection before everything is sent.
    let _ = stream.write_all(request).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    let heard = String::from_utf8_lossy(&heard).into_owned();
    let lines = heard.split("HTTP/1.1 ").skip(1);
    lines.filter_map(|line| line.get(..4)?.strip_suffix(' ')?.parse().ok()).collect()
}

/// Requests that must be refused with one answer; nothing after them is read as another request.
const REFUSED: &[(&str, u16)] = &[
    // The end of the body could be understood in two ways.
    ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\nabcd", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0x4\r\n\r\nabcd", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    // Chunks.
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\na\n0\n\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;\r\na\r\n0\r\n\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;=x\r\na\r\n0\r\n\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x=\r\na\r\n0\r\n\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x=\"y\r\na\r\n0\r\n\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x y\r\na\r\n0\r\n\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x@\r\na\r\n0\r\n\r\n", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", 413),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n", 400),
    // Lines and headers.
    ("GET /echo HTTP/1.1\nHost: a\n\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: a\r\nX: b\r\n folded\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: a\r\nX\u{e9}: b\r\n\r\n", 400),
    // The host of the request is unclear.
    ("GET /echo HTTP/1.1\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: a, b\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: :80\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: a%zz\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: [1.2.3.4]\r\n\r\n", 400),
    ("GET /echo HTTP/1.1\r\nHost: ::1\r\n\r\n", 400),
    ("GET http://u@a/echo HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http://a:80:80/echo HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http:///echo HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http://a/echo#x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http://a/echo HTTP/1.1\r\n\r\n", 400),
    ("GET https://a/echo HTTP/1.1\r\nHost: a\r\n\r\n", 421),
    ("CONNECT a:0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    // The request line.
    ("GET /echo\r\n", 400),
    ("GET /echo\r\n\r\n", 400),
    ("GET  /echo HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /echo  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /ec ho HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /ec\u{e9}ho HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /echo#x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET echo HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("CONNECT /echo HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("G@T /echo HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /echo HTTP/2.1\r\nHost: a\r\n\r\n", 505),
    ("GET /echo HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("GET /echo http/1.1\r\nHost: a\r\n\r\n", 400),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    ("\u{16}\u{3}\u{1}\u{2}\0", 400),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\na", 417),
    ("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\nContent-Length: 1\r\n\r\na", 417),
];

#[test]
fn every_malformed_request_is_refused_once_and_never_reaches_the_actor() {
    let (_stage, running) = probe();
    let address = running.http("probe");
    let behind = "GET /echo HTTP/1.1\r\nHost: smuggled\r\n\r\n";
    for (request, status) in REFUSED {
        assert_eq!(statuses(address, request.as_bytes()), [*status], "{request:?}");
        assert_eq!(statuses(address, format!("{request}{behind}").as_bytes()), [*status], "{request:?} and another");
    }
    let long = "x".repeat(70_000);
    assert_eq!(statuses(address, format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()), [414]);
    assert_eq!(statuses(address, format!("{long} / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()), [414]);
    assert_eq!(statuses(address, format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n").as_bytes()), [431]);
    let many = "X: y\r\n".repeat(300);
    assert_eq!(statuses(address, format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n").as_bytes()), [431]);
    let large = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n";
    assert_eq!(statuses(address, large.as_bytes()), [413]);
    assert_eq!(running.events("probe").len(), 3, "started, and init");
    is_answered(address, 1);
}

#[test]
fn every_well_formed_request_is_answered_however_unusual() {
    let (_stage, running) = probe();
    let address = running.http("probe");
    for (request, expected) in [
        ("GET http://elsewhere/echo HTTP/1.1\r\nHost: a\r\n\r\n", &[200][..]),
        ("GET http://elsewhere HTTP/1.1\r\nHost: a\r\n\r\n", &[404]),
        ("GET HTTP://elsewhere:8080/echo?x HTTP/1.0\r\n\r\n", &[200]),
        ("GET /echo HTTP/1.2\r\nHost: a\r\n\r\n", &[200]),
        ("GET /echo HTTP/1.1\r\nHost: [::1]:65535\r\n\r\n", &[200]),
        ("GET /echo HTTP/1.1\r\nHost: a%41:\r\n\r\n", &[200]),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , chunked,\r\n\r\n0\r\n\r\n", &[200]),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &[404]),
        ("OPTIONS /echo HTTP/1.1\r\nHost: a\r\n\r\n", &[200]),
        ("HEAD /echo HTTP/1.1\r\nHost: a\r\n\r\n", &[200]),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", &[404]),
        ("M-SEARCH /echo HTTP/1.1\r\nHost: a\r\n\r\n", &[200]),
        ("GET /echo HTTP/1.1\r\nHost:\r\n\r\n", &[200]),
        ("GET /echo HTTP/1.0\r\n\r\n", &[200]),
        ("\r\n\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n", &[200]),
        ("GET /echo HTTP/1.1\r\nhOST:a\r\nX:\r\nY: \t\u{e9} \r\n\r\n", &[200]),
        (
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n1;x=\"y\"\r\na\r\n0\r\nT: u\r\n\r\n",
            &[200],
        ),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0000000001\r\n\r\na", &[200]),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na", &[200]),
        (
            "GET /echo HTTP/1.1\r\nHost: a\r\n\r\nHEAD /echo HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n",
            &[200, 200, 404],
        ),
        ("GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n", &[200]),
    ] {
        let mut statuses = statuses(address, request.as_bytes());
        // The interim answer 100 is sent only if the body has not arrived yet.
        statuses.retain(|status| *status != 100);
        assert_eq!(statuses, expected, "{request:?}");
    }
}

#[test]
fn a_listener_on_ipv6_answers() {
    if TcpListener::bind("[::1]:0").is_err() {
        println!("this machine has no IPv6");
        return;
    }
    let stage = Stage::new();
    let http = "[[handlers]]\ntype = \"http-server\"\nconfig = { host = \"::1\", port = 0 }\n";
    let manifest: PathBuf = stage.manifest("probe", "probe", http);
    let running = stage.run(&[&manifest]);
    let address = running.http("probe");
    assert!(address.is_ipv6());
    assert_eq!(Http::connect(address).op(&json!("count")).json(), json!(1));
    let taken = stage.manifest("second", "probe", &http.replace("port = 0", &format!("port = {}", address.port())));
    let why = running.start(&taken).expect_err("the port is taken");
    assert!(why.contains(&format!("http-server cannot listen on [::1]:{}: ", address.port())), "{why}");
}
