//! Tests of the HTTP server with real clients and of the chain: every request is answered once, and is one transition.

mod support;

use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::sync::Barrier;

use serde_json::{Value, json};
use support::{Http, Stage, Theater, data_of, eventually, verifies_and_replays};

const HANDLE: &str = "call ntwk:theater/http-server.handle-request";

fn probe() -> (Stage, Theater) {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("probe", "probe", "")]);
    (stage, running)
}

/// Sends these bytes on a new connection; returns the status and the body of the first answer.
fn status_of(address: SocketAddr, request: &str) -> (u16, String) {
    let mut http = Http::connect(address);
    http.send_raw(request.as_bytes()).expect("sent");
    let answer = http.receive().unwrap_or_else(|| panic!("no answer to {request:?}"));
    (answer.status, answer.body)
}

#[test]
fn the_actor_sees_the_request_as_it_was_sent() {
    let (_stage, running) = probe();
    let mut http = Http::connect(running.http("probe"));
    let request = "DELETE /echo?a=1&a=%20b#c HTTP/1.1\r\nHost: here\r\nX-One: 1\r\nx-two:  2 \r\nX-One: 3\r\nX-Empty:\r\n\
                   Content-Length: 5\r\n\r\nh\u{e9}lo";
    http.send_raw(request.as_bytes()).expect("sent");
    let answer = http.receive();
    // A fragment is not allowed in a request; a server may refuse it, but must not guess.
    let seen = match answer {
        Some(answer) if answer.status == 200 => answer.json(),
        Some(answer) if answer.status == 400 => {
            let request = request.replace("#c", "");
            let mut http = Http::connect(running.http("probe"));
            http.send_raw(request.as_bytes()).expect("sent");
            http.receive().expect("an answer").json()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(seen["method"], "DELETE");
    assert!(seen["uri"].as_str().is_some_and(|uri| uri.starts_with("/echo?a=1&a=%20b")), "{seen}");
    let headers = json!([
        ["Host", "here"],
        ["X-One", "1"],
        ["x-two", "2"],
        ["X-One", "3"],
        ["X-Empty", ""],
        ["Content-Length", "5"]
    ]);
    assert_eq!(seen["headers"], headers);
    assert_eq!(seen["body"], "h\u{e9}lo");
}

/// An absolute target, as a proxy or `curl -x` sends it.
#[test]
fn the_actor_sees_an_absolute_target_in_origin_form_and_its_authority_once() {
    let (stage, running) = probe();
    let ask = |request: &str| {
        let (status, body) = status_of(running.http("probe"), request);
        assert_eq!(status, 200, "{request:?}: {body}");
        let seen: Value = serde_json::from_str(&body).expect("JSON");
        (seen["uri"].clone(), seen["headers"].clone())
    };
    let (uri, headers) = ask("GET http://there:81/echo?a=b HTTP/1.1\r\nX: 1\r\nHost: here\r\n\r\n");
    assert_eq!((uri, headers), (json!("/echo?a=b"), json!([["X", "1"], ["Host", "there:81"]])));
    let (uri, headers) = ask("GET http://there/echo HTTP/1.0\r\nX: 1\r\n\r\n");
    assert_eq!((uri, headers), (json!("/echo"), json!([["Host", "there"], ["X", "1"]])));
    let events = running.events("probe");
    let recorded: Vec<_> = data_of(&events, HANDLE).iter().map(|call| call["params"][0]["uri"].clone()).collect();
    assert_eq!(recorded, ["/echo?a=b", "/echo"]);
    verifies_and_replays(&running.export(&stage, "probe"));
}

#[test]
fn headers_that_are_for_the_connection_alone_are_named_in_connection() {
    let (_stage, running) = probe();
    let mut http = Http::connect(running.http("probe"));
    let headers =
        json!([["Upgrade", "x"], ["TE", "trailers"], ["Trailer", "X"], ["X-Hop", "1"], ["Connection", "x-hop"]]);
    let response = json!({ "status": 426, "headers": headers });
    let head = http.ask("POST", "/respond", Some(&response.to_string())).head;
    assert!(head.contains("\r\nUpgrade: x\r\n") && head.contains("\r\nConnection: Upgrade, x-hop\r\n"), "{head}");
    assert!(!head.contains("\r\nTE: ") && !head.contains("\r\nTrailer: "), "{head}");
}

#[test]
fn no_body_an_empty_one_and_a_chunked_one_are_told_apart() {
    let (_stage, running) = probe();
    let ask = |more: &str| {
        let (status, body) = status_of(running.http("probe"), &format!("POST /echo HTTP/1.1\r\nHost: x\r\n{more}"));
        assert_eq!(status, 200, "{body}");
        serde_json::from_str::<Value>(&body).expect("JSON")["body"].clone()
    };
    assert_eq!(ask("\r\n"), Value::Null);
    assert_eq!(ask("Content-Length: 0\r\n\r\n"), json!(""));
    assert_eq!(
        ask("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n"),
        json!("abcde")
    );
    assert_eq!(ask("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), json!(""));
}

#[test]
fn an_answer_carries_status_headers_in_order_with_duplicates_and_body() {
    let (_stage, running) = probe();
    let mut http = Http::connect(running.http("probe"));
    let headers = json!([["set-cookie", "a=1"], ["x-b", "2"], ["set-cookie", "c=3"]]);
    let response = json!({ "status": 418, "headers": headers, "body": "short and stout" });
    let answer = http.ask("POST", "/respond", Some(&response.to_string()));
    assert_eq!((answer.status, answer.body.as_str()), (418, "short and stout"));
    let sent: Vec<&str> =
        answer.head.lines().filter(|line| line.starts_with("set-cookie") || line.starts_with("x-b")).collect();
    assert_eq!(sent, ["set-cookie: a=1", "x-b: 2", "set-cookie: c=3"]);
    for status in [200, 204, 304, 404, 599] {
        let answer = http.ask("POST", "/respond", Some(&json!({ "status": status }).to_string()));
        assert_eq!((answer.status, answer.body.as_str()), (status, ""), "{answer:?}");
    }
    assert_eq!(http.op(&json!("count")).json(), json!(1), "the connection is still in step");
}

#[test]
fn head_is_answered_by_a_head_alone() {
    let (_stage, running) = probe();
    let mut http = Http::connect(running.http("probe"));
    let length = http.ask("GET", "/echo", None).body.len();
    http.send("HEAD", "/echo", None);
    let head = http.receive_head();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    // The echoed "HEAD" is one letter longer than "GET".
    assert!(head.to_lowercase().contains(&format!("\r\ncontent-length: {}\r\n", length + 1)), "{head}");
    assert_eq!(http.op(&json!("count")).json(), json!(1), "no body came, so the next answer is the next");
    let events = running.events("probe");
    let methods: Vec<_> = data_of(&events, HANDLE).iter().map(|call| call["params"][0]["method"].clone()).collect();
    assert_eq!(methods, ["GET", "HEAD", "POST"]);
}

#[test]
fn requests_sent_ahead_are_answered_in_their_order() {
    let (_stage, running) = probe();
    let mut http = Http::connect(running.http("probe"));
    (0..50).for_each(|_| http.send("POST", "/op", Some("\"count\"")));
    for count in 1..=50 {
        assert_eq!(http.receive().expect("an answer").json(), json!(count));
    }
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    let (_stage, running) = probe();
    let mut http = Http::connect(running.http("probe"));
    let head = "POST /op HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n";
    http.send_raw(head.as_bytes()).expect("sent");
    assert!(http.receive_head().starts_with("HTTP/1.1 100 "));
    http.send_raw(b"\"count\"").expect("sent");
    assert_eq!(http.receive().expect("an answer").json(), json!(1));
}

#[test]
fn an_old_client_is_answered_and_left() {
    let (_stage, running) = probe();
    let mut http = Http::connect(running.http("probe"));
    http.send_raw(b"POST /op HTTP/1.0\r\nContent-Length: 7\r\n\r\n\"count\"").expect("sent");
    assert_eq!(http.receive().expect("an answer").json(), json!(1));
    assert!(http.is_over());
    let mut http = Http::connect(running.http("probe"));
    http.send_raw(b"POST /op HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 7\r\n\r\n\"count\"")
        .expect("sent");
    assert_eq!(http.receive().expect("an answer").json(), json!(2));
    assert!(http.is_over());
}

#[test]
fn what_two_readers_could_understand_differently_is_refused_and_never_reaches_the_actor() {
    let (_stage, running) = probe();
    let address = running.http("probe");
    for (request, expected) in [
        ("GET\r\n\r\n", 400),
        ("\u{0}\u{1}\u{2}\r\n\r\n", 400),
        ("GET /echo HTTP/1.1\r\n\r\n", 400),
        ("GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET /echo HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET /echo HTTP/3.1\r\nHost: a\r\n\r\n", 0),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", 400),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 0),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 0),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        ("GET /echo HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400),
    ] {
        let (status, _) = status_of(address, request);
        assert!((400..=505).contains(&status) && (expected == 0 || status == expected), "{request:?} gave {status}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000));
    assert_eq!(status_of(address, &long).0, 414);
    let fat = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    assert_eq!(status_of(address, &fat).0, 431);
    assert_eq!(running.events("probe").len(), 3, "started, and init");
    assert_eq!(Http::connect(address).op(&json!("count")).json(), json!(1));
}

#[test]
fn a_client_that_leaves_in_the_middle_costs_nobody_anything() {
    let (_stage, running) = probe();
    let address = running.http("probe");
    for request in ["POST /op HT", "POST /op HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n\"cou"] {
        let mut stream = std::net::TcpStream::connect(address).expect("a connection");
        stream.write_all(request.as_bytes()).expect("sent");
        stream.shutdown(Shutdown::Both).expect("open");
    }
    // This request is complete, so it is handled even if nobody reads the answer.
    let mut stream = std::net::TcpStream::connect(address).expect("a connection");
    stream.write_all(b"POST /op HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n\"count\"").expect("sent");
    eventually("it was worked on", || (running.events("probe").len() == 5).then_some(()));
    drop(stream);
    assert_eq!(Http::connect(address).op(&json!("count")).json(), json!(2));
}

/// Opens this many connections at once, sends this many requests on each, and reconnects if it is told to.
fn burst(address: SocketAddr, connections: usize, requests: usize) -> Vec<u64> {
    let all_connected = Barrier::new(connections);
    let client = || {
        let mut counts = Vec::new();
        let mut http = Http::connect(address);
        all_connected.wait();
        while counts.len() < requests {
            let answer = http.ask("POST", "/increment", None);
            assert_eq!(answer.status, 200, "{answer:?}");
            counts.push(answer.json()["count"].as_u64().expect("a count"));
            if answer.head.to_lowercase().contains("\r\nconnection: close\r\n") {
                http = Http::connect(address);
            }
        }
        counts
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..connections)
            .map(|_| std::thread::Builder::new().stack_size(256 * 1024).spawn_scoped(scope, client).expect("a thread"))
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("every request is answered")).collect()
    })
}

/// Checks that each request was answered once, with its own count, and that the chain holds one transition for each.
fn each_request_is_one_transition(stage: &Stage, running: &Theater, mut counts: Vec<u64>) {
    let sent = counts.len() as u64;
    counts.sort_unstable();
    assert!(counts.into_iter().eq(1..=sent), "each count was given once");
    assert_eq!(running.json(&["state", "counter"]), json!({ "state": { "count": sent } }));
    let events = running.events("counter");
    assert_eq!(data_of(&events, HANDLE).len() as u64, sent);
    assert_eq!(events.len() as u64, 3 + 2 * sent, "started, init, and a call with its return for each");
    let replayed = verifies_and_replays(&running.export(stage, "counter"));
    assert_eq!(replayed["transitions"], sent + 1);
}

#[test]
fn a_burst_of_200_connections_kept_busy_is_answered_to_the_last() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
    let counts = burst(running.http("counter"), 200, 25);
    each_request_is_one_transition(&stage, &running, counts);
}

#[test]
fn more_connections_than_there_are_places_take_turns() {
    let stage = Stage::new();
    let limits = "[limits]\nhttp_connections = 20\n";
    let running = stage.run(&[&stage.http_manifest("counter", "counter", limits)]);
    let counts = burst(running.http("counter"), 40, 25);
    each_request_is_one_transition(&stage, &running, counts);
}

#[test]
fn silent_connections_do_not_keep_others_out() {
    let stage = Stage::new();
    let limits = "[limits]\nhttp_connections = 4\n";
    let running = stage.run(&[&stage.http_manifest("counter", "counter", limits)]);
    let address = running.http("counter");
    let _silent: Vec<_> = (0..8).map(|_| Http::connect(address)).collect();
    let counted = eventually("someone with a request is let in", || {
        let mut http = Http::connect(address);
        http.send_raw(b"POST /increment HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").ok()?;
        http.receive().filter(|answer| answer.status == 200)
    });
    assert_eq!(counted.json(), json!({ "count": 1 }));
}

#[test]
fn a_port_that_is_taken_is_named_with_a_remedy_and_a_freed_one_can_be_had_again() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
    let port = running.http("counter").port();
    let http = format!("[[handlers]]\ntype = \"http-server\"\nconfig = {{ port = {port} }}\n");
    let second = stage.manifest("second", "counter", &http);
    let why = running.start(&second).expect_err("the port is taken");
    assert!(why.contains(&format!("127.0.0.1:{port}")) && why.contains("another port"), "{why}");
    running.say(&["stop", "counter"]);
    running.start(&second).expect("the port is free");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(Http::connect(address).ask("POST", "/increment", None).json(), json!({ "count": 1 }));
}

#[test]
fn a_request_that_can_never_fit_into_the_mailbox_is_not_told_to_come_back() {
    let stage = Stage::new();
    // The limit of a body is raised, but not the limit of the mailbox.
    let limits = "[limits]\nhttp_body_bytes = 33554432\nmemory_bytes = 268435456\n";
    let running = stage.run(&[&stage.http_manifest("probe", "probe", limits)]);
    let body = serde_json::to_string(&"x".repeat(20 << 20)).expect("JSON");
    let answer = Http::connect(running.http("probe")).ask("POST", "/op", Some(&body));
    assert_ne!(answer.status, 503, "it will not fit later either: {answer:?}");
}
