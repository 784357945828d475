//! Tests of the HTTP client of actors: the requests it sends, the answers, the hosts it may reach, and interruptions.

#[path = "support/outside.rs"]
mod outside;
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use outside::{Server, say, tls_server};
use serde_json::{Value, json};
use support::{Stage, Theater, data_of, eventually, theater, verifies_and_replays};

const INTENT: &str = "intent ntwk:theater/http-client.send-http";
const HOST_CALL: &str = "host-call ntwk:theater/http-client.send-http";

/// An actor that has only this handler.
struct Courier {
    stage: Stage,
    running: Theater,
}

impl Courier {
    fn with(config: &str, more: &str) -> Self {
        let stage = Stage::new();
        let manifest = stage.manifest("courier", "courier", &handler(config, more));
        let running = stage.run(&[&manifest]);
        Self { stage, running }
    }

    /// An actor that may reach loopback addresses.
    fn local(more: &str) -> Self {
        Self::with(r#"{ allow = ["127.0.0.1"] }"#, more)
    }

    fn send(&self, request: &Value) -> Value {
        self.running.request("courier", &with_op(request)).expect("an answer of the courier")
    }

    fn get(&self, url: &str) -> Value {
        self.send(&json!({ "method": "GET", "uri": url }))
    }

    fn refusal(&self, url: &str) -> String {
        let answer = self.get(url);
        answer["err"].as_str().unwrap_or_else(|| panic!("{url} gave {answer}")).to_owned()
    }

    /// Checks that the chain replays, whatever has happened to the servers.
    fn replays(&self) {
        verifies_and_replays(&self.running.export(&self.stage, "courier"));
    }
}

fn handler(config: &str, more: &str) -> String {
    format!("{more}\n[[handlers]]\ntype = \"http-client\"\nconfig = {config}\n")
}

fn with_op(request: &Value) -> Value {
    let mut command = request.clone();
    command["op"] = json!("http");
    command
}

#[test]
fn any_method_goes_out_with_its_headers_and_body_and_any_status_comes_back() {
    let server = Server::answering(|request, stream| {
        let status = if request.starts_with("BREW") { "418 Teapot" } else { "200 OK" };
        say(
            stream,
            &format!("HTTP/1.1 {status}\r\nSet-Cookie: a\r\nX: y\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nhi"),
        );
    });
    let courier = Courier::local("");
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
        let headers = json!([["A", "1"], ["X-b", "3"], ["a", "2"], ["User-Agent", "me"], ["X-B", "4"]]);
        let request = json!({ "method": method, "uri": server.url("/p?q=1"), "headers": headers, "body": "hello" });
        let answer = courier.send(&request);
        let headers = json!([["Set-Cookie", "a"], ["X", "y"], ["Set-Cookie", "b"], ["Content-Length", "2"]]);
        let status = if method == "BREW" { 418 } else { 200 };
        assert_eq!(answer, json!({ "ok": { "status": status, "headers": headers, "body": "hi" } }), "{method}");
        let saw = server.saw();
        assert!(saw.starts_with(&format!("{method} /p?q=1 HTTP/1.1\r\n")), "{saw}");
        assert!(saw.contains("\r\nA: 1\r\nX-b: 3\r\na: 2\r\nUser-Agent: me\r\nX-B: 4\r\n\r\n"), "{saw}");
        assert!(saw.contains("\r\ncontent-length: 5\r\n") && saw.ends_with("\r\n\r\nhello"), "{saw}");
    }
    drop(server);
    courier.replays();
}

#[test]
fn a_request_without_a_body_says_so_and_names_who_asks() {
    let server = Server::saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let courier = Courier::local("");
    let answer = courier.send(&json!({ "method": "POST", "uri": server.url("/"), "headers": [["Host", "evil"]] }));
    assert_eq!(answer["ok"]["body"], json!(""));
    let saw = server.saw();
    assert!(saw.contains("\r\ncontent-length: 0\r\n") && saw.contains("\r\nuser-agent: theater/"), "{saw}");
    assert!(saw.contains(&format!("\r\nhost: {}\r\n", server.address)) && !saw.contains("evil"), "{saw}");
    courier.get(&server.url("/"));
    let saw = server.saw();
    assert!(!saw.contains("content-length") && !saw.contains("transfer-encoding"), "{saw}");
}

/// A request whose body fills every buffer between the two sides.
fn large(url: &str) -> Value {
    json!({ "method": "POST", "uri": url, "body_bytes": 8 << 20 })
}

const TOO_LARGE: &str = "HTTP/1.1 413 X\r\nContent-Length: 3\r\n\r\nbig";

fn is_refused_as_too_large(courier: &Courier, server: &Server) {
    let answer = courier.send(&large(&server.url("/")));
    assert_eq!((&answer["ok"]["status"], &answer["ok"]["body"]), (&json!(413), &json!("big")), "{answer}");
}

#[test]
fn an_answer_that_comes_before_the_body_was_sent_reaches_the_guest() {
    let courier = Courier::local("");
    let holding = Server::answering_at_once(|_, stream| {
        say(stream, TOO_LARGE);
        // The server reads no byte of the body and keeps the connection open.
        std::thread::park_timeout(support::PATIENCE);
    });
    is_refused_as_too_large(&courier, &holding);
    // Closing a socket with unread bytes resets the connection.
    is_refused_as_too_large(&courier, &Server::answering_at_once(|_, stream| say(stream, TOO_LARGE)));
    let half_closing = Server::answering_at_once(|_, stream| {
        say(stream, TOO_LARGE);
        stream.shutdown(std::net::Shutdown::Write).expect("open");
        while stream.read(&mut [0; 65536]).is_ok_and(|read| read > 0) {}
    });
    is_refused_as_too_large(&courier, &half_closing);
    let until_the_end = Server::answering_at_once(|_, stream| say(stream, "HTTP/1.1 413 X\r\n\r\nbig"));
    is_refused_as_too_large(&courier, &until_the_end);
    let chunked = "HTTP/1.1 413 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbig\r\n0\r\n\r\n";
    is_refused_as_too_large(&courier, &Server::answering_at_once(move |_, stream| say(stream, chunked)));
    courier.replays();
}

#[test]
fn an_answer_that_a_reset_cut_is_an_error_that_names_its_status() {
    let courier = Courier::local("");
    let cut = Server::answering_at_once(|_, stream| say(stream, "HTTP/1.1 413 X\r\nContent-Length: 9\r\n\r\nbig"));
    let answer = courier.send(&large(&cut.url("/")));
    let why = answer["err"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(why.starts_with(&format!("connection lost: {} ended it before", cut.address)), "{why}");
    assert!(why.ends_with("it had answered with status 413"), "{why}");
    let mute = Server::answering_at_once(|_, _| ());
    let answer = courier.send(&large(&mute.url("/")));
    let why = answer["err"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(why, format!("connection lost: {} ended it before the response was complete", mute.address));
}

#[test]
fn a_server_that_answers_while_it_reads_gets_the_whole_body() {
    let echo = Server::answering_at_once(|_, stream| {
        say(stream, &format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 4 << 20));
        let (mut buffer, mut left) = (vec![0; 65536], 4 << 20);
        while left > 0 {
            let read = stream.read(&mut buffer).expect("the body");
            assert!(read > 0, "the body ends early");
            stream.write_all(&buffer[..read]).expect("it is taken");
            left -= read;
        }
    });
    let courier = Courier::local("[limits]\nmessage_bytes = 8388608");
    let answer = courier.send(&json!({ "method": "POST", "uri": echo.url("/"), "body_bytes": 4 << 20 }));
    let body = &answer["ok"]["body"];
    assert!(body.as_str().is_some_and(|body| body.len() == 4 << 20), "{}", answer["err"]);
}

#[test]
fn a_redirect_that_comes_before_the_body_was_sent_is_followed() {
    let courier = Courier::local("");
    let taking = Server::saying("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    let away = format!("HTTP/1.1 307 X\r\nLocation: {}\r\nContent-Length: 9\r\n\r\nelse", taking.url("/there"));
    let sending_on = Server::answering_at_once(move |_, stream| say(stream, &away));
    let answer = courier.send(&json!({ "method": "PUT", "uri": sending_on.url("/"), "body_bytes": 4 << 20 }));
    assert_eq!(answer["ok"]["body"], "hi", "{answer}");
    assert!(taking.saw().contains("\r\ncontent-length: 4194304\r\n"));
}

#[test]
fn each_request_says_that_its_connection_is_not_kept() {
    let server = redirecting(302);
    let courier = Courier::local("");
    let headers = json!([["Connection", "keep-alive"], ["Keep-Alive", "timeout=5"]]);
    courier.send(&json!({ "method": "GET", "uri": server.url("/to?/end"), "headers": headers }));
    for saw in [server.saw(), server.saw()] {
        assert!(saw.contains("\r\nconnection: close\r\n") && !saw.to_lowercase().contains("keep-alive"), "{saw}");
    }
}

#[test]
fn what_is_not_ascii_in_a_url_leaves_percent_encoded() {
    let server = redirecting(302);
    let courier = Courier::local("");
    courier.get(&server.url("/é/日本?q=ü#nowhere"));
    assert!(server.saw().starts_with("GET /%C3%A9/%E6%97%A5%E6%9C%AC?q=%C3%BC HTTP/1.1\r\n"));
    courier.get(&server.url("/to?/ä b"));
    assert!(server.saw().starts_with("GET /to?/%C3%A4%20b HTTP/1.1\r\n"));
    assert!(server.saw().starts_with("GET /%C3%A4%20b HTTP/1.1\r\n"), "the Location is what it was sent");
    let refused = courier.refusal("http://bücher.example/");
    assert!(refused.starts_with("refused: xn--bcher-kva.example:80 is not in the allow-list"), "{refused}");
}

#[test]
fn a_response_that_can_be_read_in_two_ways_or_is_not_finished_is_an_error() {
    let courier = Courier::local("");
    let chunked = "Transfer-Encoding: chunked\r\n\r\n";
    for (headers, why) in [
        (format!("{chunked}3\r\nabc\r\n0\r\n"), "connection lost"),
        (format!("{chunked}3\r\nabc\r\n0"), "connection lost"),
        (format!("{chunked}3\r\nab"), "connection lost"),
        (format!("{chunked}+3\r\nabc\r\n0\r\n\r\n"), "not an HTTP response"),
        (format!("{chunked}0x3\r\nabc\r\n0\r\n\r\n"), "not an HTTP response"),
        (format!("{chunked}3 \r\nabc\r\n0\r\n\r\n"), "not an HTTP response"),
        (format!("Content-Length: 3\r\n{chunked}3\r\nabc\r\n0\r\n\r\n"), "not an HTTP response"),
        ("Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd".to_owned(), "not an HTTP response"),
        ("Content-Length: -3\r\n\r\nabc".to_owned(), "not an HTTP response"),
        ("Content-Length: +3\r\n\r\nabc".to_owned(), "not an HTTP response"),
        ("Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".to_owned(), "not an HTTP response"),
    ] {
        let text = format!("HTTP/1.1 200 OK\r\n{headers}");
        let server = Server::answering(move |_, stream| say(stream, &text));
        let refused = courier.refusal(&server.url("/"));
        assert!(refused.starts_with(&format!("{why}: {}", server.address)), "{headers:?}: {refused}");
    }
    courier.replays();
}

#[test]
fn chunked_bodies_are_put_together_and_head_204_and_304_have_none() {
    let courier = Courier::local("");
    let chunked =
        Server::saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_eq!(courier.get(&chunked.url("/"))["ok"]["body"], json!("abcde"));
    let closing = Server::saying("HTTP/1.0 200 OK\r\n\r\nuntil the end");
    assert_eq!(courier.get(&closing.url("/"))["ok"]["body"], json!("until the end"));
    let head = Server::saying("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
    let answer = courier.send(&json!({ "method": "HEAD", "uri": head.url("/") }));
    assert_eq!(answer["ok"]["body"], Value::Null, "{answer}");
    assert_eq!(answer["ok"]["headers"], json!([["Content-Length", "7"]]));
    for status in [204, 304] {
        let text = format!("HTTP/1.1 {status} X\r\n\r\n");
        let server = Server::answering(move |_, stream| say(stream, &text));
        let answer = courier.get(&server.url("/"));
        assert_eq!(answer, json!({ "ok": { "status": status, "headers": [], "body": null } }));
    }
}

#[test]
fn interim_responses_are_passed_over() {
    let courier = Courier::local("");
    for interim in [
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
        "HTTP/1.1 102 Processing\r\n\r\n",
    ] {
        for times in 1..=2 {
            let text = format!("{}HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2\r\n\r\nhi", interim.repeat(times));
            let server = Server::answering(move |_, stream| say(stream, &text));
            let answer = courier.send(&json!({ "method": "POST", "uri": server.url("/"), "body": "hello" }));
            let headers = json!([["X", "y"], ["Content-Length", "2"]]);
            assert_eq!(answer, json!({ "ok": { "status": 200, "headers": headers, "body": "hi" } }), "{interim}");
        }
    }
    let switching = Server::saying("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nnot HTTP any more");
    let refused = courier.refusal(&switching.url("/"));
    assert!(refused.starts_with("not an HTTP response: "), "{refused}");
}

#[test]
fn what_is_larger_than_a_limit_is_refused_by_the_name_of_the_limit() {
    let courier = Courier::local("[limits]\nhttp_body_bytes = 10\nhttp_head_bytes = 400");
    let announced = Server::saying("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n");
    let body = "the body of the response is larger than the limit http_body_bytes = 10";
    assert_eq!(courier.refusal(&announced.url("/")), body);
    let endless = Server::answering(|_, stream| {
        say(stream, "HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 1024]).is_ok() {}
    });
    assert_eq!(courier.refusal(&endless.url("/")), body);
    let exact = Server::saying("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789");
    assert_eq!(courier.get(&exact.url("/"))["ok"]["body"], json!("0123456789"));
    let verbose =
        Server::answering(|_, stream| say(stream, &format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(500))));
    let head = "the head of the response is larger than the limit http_head_bytes = 400";
    assert_eq!(courier.refusal(&verbose.url("/")), head);
    let answer = courier.send(&json!({ "method": "PUT", "uri": exact.url("/"), "body_bytes": 11 }));
    assert_eq!(answer, json!({ "err": "request body of 11 bytes: the limit http_body_bytes is 10" }));
    let events = courier.running.events("courier");
    let refused = data_of(&events, HOST_CALL).pop().expect("a host call");
    assert_eq!(refused["params"][0]["body"], Value::Null, "what was refused is not on the chain: {refused}");
}

#[test]
fn a_request_that_never_left_is_one_host_call_and_one_that_did_is_preceded_by_its_intent() {
    let server = Server::saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let courier = Courier::local("");
    courier.refusal("http://example.invalid/");
    let types = courier.running.event_types("courier");
    assert!(types.contains(&HOST_CALL.to_owned()) && !types.contains(&INTENT.to_owned()), "{types:?}");
    courier.get(&server.url("/"));
    let types = courier.running.event_types("courier");
    let at = types.iter().position(|event| event == INTENT).expect("an intent");
    assert_eq!(types[at + 1], HOST_CALL);
}

#[test]
fn without_an_allow_list_nothing_of_this_machine_or_its_network_is_reached() {
    let server = Server::saying("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let courier = Courier::with("{}", "");
    let port = server.address.port();
    let only = "without an allow-list only public addresses are reached";
    for (host, what) in [
        ("127.0.0.1", "127.0.0.1 is a loopback address"),
        ("[::1]", "::1 is a loopback address"),
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1 is the IPv4-mapped form of a loopback address"),
        ("169.254.169.254", "169.254.169.254 is a metadata address"),
        ("0.0.0.0", "0.0.0.0 is the unspecified address"),
        ("[::ffff:7f00:1]", "::ffff:127.0.0.1 is the IPv4-mapped form of a loopback address"),
        ("[::ffff:169.254.169.254]", "::ffff:169.254.169.254 is the IPv4-mapped form of a metadata address"),
        ("[64:ff9b::7f00:1]", "64:ff9b::7f00:1 is the NAT64 form of a loopback address"),
        ("[2002:7f00:1::]", "2002:7f00:1:: is the 6to4 form of a loopback address"),
        ("[fd00:ec2::254]", "fd00:ec2::254 is a metadata address"),
        ("127.0.0.1.", "127.0.0.1 is a loopback address"),
    ] {
        assert_eq!(courier.refusal(&format!("http://{host}:{port}/")), format!("refused: {what}; {only}"));
    }
    for name in ["localhost", "LOCALHOST.", "LocalHost"] {
        let named = courier.refusal(&format!("http://{name}:{port}/"));
        assert!(named.starts_with("refused: localhost is ") && named.ends_with(only), "{named}");
    }
    // A resolver may or may not read these forms as an address; in both cases nothing on this machine is reached.
    for name in ["[::1%25lo]", "127%2e0.0.1", "\u{ff11}27.0.0.1", "127.0.0.1\u{3002}"] {
        courier.refusal(&format!("http://{name}:{port}/"));
    }
    for odd in [
        "2130706433",
        "0x7f000001",
        "0X7F000001",
        "017700000001",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "127.0.0.0x1",
        "127.0.0.01",
        "4294967297",
        "0",
    ] {
        let refused = courier.refusal(&format!("http://{odd}:{port}/"));
        assert!(refused.contains("an IPv4 address is written as four decimal numbers"), "{refused}");
    }
    assert!(server.seen.try_recv().is_err(), "nothing came");
    courier.replays();
}

#[test]
fn with_an_allow_list_its_hosts_and_no_others_are_reached() {
    let (named, other) = (Server::saying("HTTP/1.1 200 OK\r\n\r\n"), Server::saying("HTTP/1.1 200 OK\r\n\r\n"));
    let courier = Courier::with(&format!("{{ allow = [\"localhost\", \"{}\"] }}", named.address), "");
    assert_eq!(courier.get(&named.url("/"))["ok"]["status"], 200);
    assert_eq!(courier.get(&format!("http://localhost:{}/", other.address.port()))["ok"]["status"], 200);
    let refused = courier.refusal(&other.url("/"));
    assert!(refused.starts_with(&format!("refused: {} is not in the allow-list; ", other.address)), "{refused}");
    assert!(courier.refusal("http://1.1.1.1/").starts_with("refused: 1.1.1.1:80 is not in the allow-list"));
}

/// A server whose path `/to` redirects to the URL in the query.
fn redirecting(status: u16) -> Server {
    Server::answering(move |request, stream| {
        let target = request.split(' ').nth(1).expect("a target");
        let answer = match target.strip_prefix("/to?") {
            Some(location) => format!("HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"),
            None => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len()),
        };
        say(stream, &answer);
    })
}

#[test]
fn redirects_are_followed_as_the_status_says() {
    let courier = Courier::local("");
    for (status, method, becomes, body) in [
        (301, "POST", "GET", ""),
        (302, "PUT", "PUT", "hello"),
        (303, "PUT", "GET", ""),
        (307, "POST", "POST", "hello"),
        (308, "BREW", "BREW", "hello"),
    ] {
        let server = redirecting(status);
        let answer = courier.send(&json!({ "method": method, "uri": server.url("/to?end"), "body": "hello" }));
        assert_eq!(answer["ok"]["body"], "/end", "{status}: {answer}");
        server.saw();
        let second = server.saw();
        assert!(
            second.starts_with(&format!("{becomes} /end ")) && second.ends_with(&format!("\r\n\r\n{body}")),
            "{second}"
        );
    }
}

#[test]
fn credentials_do_not_follow_to_another_origin() {
    let courier = Courier::local("");
    let (first, other) = (redirecting(302), redirecting(302));
    let headers = json!([["Authorization", "secret"], ["Cookie", "secret"], ["X", "kept"]]);
    let carries = |saw: &str| (saw.contains("secret"), saw.contains("\r\nX: kept\r\n"));
    courier.send(&json!({ "method": "GET", "uri": first.url("/to?/end"), "headers": headers }));
    assert_eq!([carries(&first.saw()), carries(&first.saw())], [(true, true); 2]);
    let away = first.url(&format!("/to?{}", other.url("/end")));
    courier.send(&json!({ "method": "GET", "uri": away, "headers": headers }));
    assert_eq!([carries(&first.saw()), carries(&other.saw())], [(true, true), (false, true)]);
}

#[test]
fn redirects_are_counted_and_each_is_checked() {
    let courier = Courier::with(r#"{ allow = ["127.0.0.1"], max_redirects = 3 }"#, "");
    let around = Server::saying("HTTP/1.1 302 X\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(courier.refusal(&around.url("/")), "too many redirects: max_redirects is 3");
    let away = redirecting(302);
    let by = format!("redirected by {}: ", away.address);
    let refused = courier.refusal(&away.url("/to?http://169.254.169.254/latest"));
    assert!(refused.starts_with(&format!("{by}refused: 169.254.169.254:80 is not in the allow-list")), "{refused}");
    let refused = courier.refusal(&away.url("/to?file:///etc/passwd"));
    assert!(refused.starts_with(&format!("{by}bad URL \"file:///etc/passwd\"")), "{refused}");
    let still = Courier::with(r#"{ allow = ["127.0.0.1"], max_redirects = 0 }"#, "");
    assert_eq!(still.get(&away.url("/to?/end"))["ok"]["status"], 302, "with none allowed it is a response");
}

#[test]
fn a_redirect_to_several_places_is_an_error_and_the_same_place_twice_is_not() {
    let courier = Courier::local("");
    let several = Server::saying("HTTP/1.1 302 X\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n");
    let refused = courier.refusal(&several.url("/"));
    assert_eq!(refused, format!("not an HTTP response: {}: it redirects to several places", several.address));
    let twice = Server::answering(|request, stream| {
        let location = if request.starts_with("GET /a ") { "" } else { "Location: /a\r\nlocation: /a\r\n" };
        let status = if location.is_empty() { "200 OK" } else { "302 X" };
        say(stream, &format!("HTTP/1.1 {status}\r\n{location}Content-Length: 0\r\n\r\n"));
    });
    assert_eq!(courier.get(&twice.url("/"))["ok"]["status"], 200);
}

#[test]
fn what_goes_wrong_outside_is_named() {
    let courier = Courier::with(r#"{ allow = ["127.0.0.1", "no.invalid"], timeout_ms = 20000 }"#, "");
    let gone = TcpListener::bind("127.0.0.1:0").expect("a listener").local_addr().expect("an address");
    assert_eq!(courier.refusal(&format!("http://{gone}/")), format!("connection refused: nothing listens on {gone}"));
    assert!(courier.refusal("http://no.invalid/").starts_with("name not found: no.invalid: "));
    let garbled = Server::saying("SSH-2.0-OpenSSH\r\n\r\n");
    let refused = courier.refusal(&garbled.url("/"));
    assert!(refused.starts_with(&format!("not an HTTP response: {}: ", garbled.address)), "{refused}");
    for cut in ["", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"] {
        let server = Server::saying(cut);
        let lost = format!("connection lost: {} ended it before the response was complete", server.address);
        assert_eq!(courier.refusal(&server.url("/")), lost, "{cut:?}");
    }
    let plain = Server::saying("HTTP/1.1 400 X\r\n\r\n");
    let refused = courier.refusal(&format!("https://{}/", plain.address));
    assert!(refused.starts_with(&format!("TLS failed: {}: ", plain.address)), "{refused}");
    courier.replays();
}

#[test]
fn an_answer_that_does_not_come_in_time_is_given_up() {
    let courier = Courier::with(r#"{ allow = ["127.0.0.1"], timeout_ms = 300 }"#, "");
    let timed_out = "timed out: no complete response within timeout_ms = 300";
    assert_eq!(courier.refusal(&Server::silent().url("/")), timed_out);
    let half = Server::answering(|_, stream| {
        say(stream, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
        _ = stream.read(&mut [0]);
    });
    assert_eq!(courier.refusal(&half.url("/")), timed_out);
    eventually("the exchange's thread has ended", || {
        (!courier.running.thread_names().iter().any(|name| name.starts_with("c-"))).then_some(())
    });
}

/// A listener that accepts nobody: its backlog is full, so further clients wait to be connected.
struct Crowded {
    address: SocketAddr,
    _held: (TcpListener, Vec<TcpStream>),
}

fn crowded() -> Crowded {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    rustix::net::listen(&listener, 0).expect("a shorter line");
    let address = listener.local_addr().expect("an address");
    let connected = std::iter::from_fn(|| TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok());
    let held = connected.take(1_000).collect();
    Crowded { address, _held: (listener, held) }
}

#[test]
fn a_host_that_does_not_let_one_in_is_given_up_by_the_connect_timeout() {
    let crowded = crowded();
    let courier = Courier::with(r#"{ allow = ["127.0.0.1"], connect_timeout_ms = 200, timeout_ms = 60000 }"#, "");
    let why = format!("connect timed out: {} did not accept within connect_timeout_ms = 200", crowded.address);
    assert_eq!(courier.refusal(&format!("http://{}/", crowded.address)), why);
    courier.replays();
}

/// An exchange that is given up while it connects ends when it is connected, or when its time is over.
#[test]
fn exchanges_that_hang_are_counted_against_the_actor_that_began_them_and_nobody_else() {
    let (crowded, server) = (crowded(), Server::saying("HTTP/1.1 200 OK\r\n\r\n"));
    let config = r#"{ allow = ["127.0.0.1"], connect_timeout_ms = 3600000, timeout_ms = 3600000 }"#;
    let courier = Courier::with(config, "[limits]\nstop_grace_ms = 0\nhttp_exchanges = 2");
    for hanging in 1..=2 {
        send_and_forget(&courier.running, &format!("http://{}/", crowded.address));
        eventually("it is connecting", || {
            let names = courier.running.thread_names();
            (names.iter().filter(|name| *name == "c-courier").count() == hanging).then_some(())
        });
        courier.running.say(&["restart", "courier"]);
    }
    let why =
        "too many exchanges: 2 of this actor have not ended, given up ones included; the limit http_exchanges is 2";
    assert_eq!(courier.refusal(&server.url("/")), why);
    let other = courier.stage.manifest("other", "courier", &handler(r#"{ allow = ["127.0.0.1"] }"#, ""));
    courier.running.start(&other).expect("it starts");
    let ask = with_op(&json!({ "method": "GET", "uri": server.url("/") }));
    assert_eq!(courier.running.request("other", &ask).expect("an answer")["ok"]["status"], 200);
    courier.replays();
}

#[test]
fn exchanges_of_all_actors_together_are_bounded_by_the_runtime() {
    let (hangs, answers) = (Server::silent(), Server::saying("HTTP/1.1 200 OK\r\n\r\n"));
    let stage = Stage::new();
    let config = handler(r#"{ allow = ["127.0.0.1"] }"#, "[limits]\nstop_grace_ms = 0\n");
    let manifests = [stage.manifest("courier", "courier", &config), stage.manifest("other", "courier", &config)];
    stage.file("theater.toml", "[limits]\nhttp_exchanges = 1\n");
    let running = stage.run(&[&manifests[0], &manifests[1]]);
    let ask = with_op(&json!({ "method": "GET", "uri": answers.url("/") }));
    assert_eq!(running.request("other", &ask).expect("an answer")["ok"]["status"], 200);
    send_and_forget(&running, &hangs.url("/"));
    hangs.saw();
    let refused = running.request("other", &ask).expect("an answer");
    let why = "too many exchanges: 1 are under way in this runtime, whose limit http_exchanges is 1; try again later";
    assert_eq!(refused, json!({ "err": why }));
    running.say(&["stop", "courier"]);
    eventually("there is room again", || {
        let answer = running.request("other", &ask).expect("an answer");
        (answer["ok"]["status"] == 200).then_some(())
    });
}

#[test]
fn a_runtime_that_ends_in_order_does_not_wait_for_an_answer_nor_ask_again() {
    let server = Server::silent();
    let config = r#"{ allow = ["127.0.0.1"], timeout_ms = 3600000 }"#;
    let Courier { stage, mut running } = Courier::with(config, "[limits]\nstop_grace_ms = 0");
    send_and_forget(&running, &server.url("/"));
    server.saw();
    support::signal(running.pid(), "TERM");
    assert_eq!(running.wait().code(), Some(0));
    let running = stage.run(&[&stage.path().join("courier.toml")]);
    let courier = Courier { stage, running };
    eventually("the transition is closed", || {
        courier.running.event_types("courier").last()?.starts_with("return ").then_some(())
    });
    let events = courier.running.events("courier");
    assert_eq!(data_of(&events, HOST_CALL)[0]["result"], json!({ "err": "interrupted: outcome unknown" }));
    assert!(server.seen.try_recv().is_err(), "one request was sent");
    courier.replays();
}

/// Makes the courier send a request, and does not wait for the outcome.
fn send_and_forget(running: &Theater, url: &str) {
    let (server, command) = (running.management(), with_op(&json!({ "method": "POST", "uri": url })).to_string());
    std::thread::spawn(move || theater(&["request", "courier", &command], Some(server)));
}

#[test]
fn a_stop_ends_the_wait_for_an_answer() {
    let server = Server::silent();
    let config = r#"{ allow = ["127.0.0.1"], timeout_ms = 3600000 }"#;
    let courier = Courier::with(config, "[limits]\nstop_grace_ms = 50");
    send_and_forget(&courier.running, &server.url("/"));
    server.saw();
    assert!(courier.running.thread_names().contains(&"c-courier".to_owned()));
    let began = Instant::now();
    courier.running.say(&["stop", "courier"]);
    courier.running.until("courier", "stopped");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    eventually("its thread has ended", || {
        (!courier.running.thread_names().contains(&"c-courier".to_owned())).then_some(())
    });
    courier.replays();
}

#[test]
fn a_request_that_a_crash_cut_off_is_not_sent_again_and_its_outcome_is_unknown() {
    let server = Server::silent();
    let Courier { stage, running } = Courier::local("");
    send_and_forget(&running, &server.url("/"));
    server.saw();
    running.kill();
    let running = stage.run(&[&stage.path().join("courier.toml")]);
    eventually("the transition is closed", || {
        running.event_types("courier").last().is_some_and(|event| event.starts_with("return ")).then_some(())
    });
    let events = running.events("courier");
    assert_eq!(data_of(&events, INTENT).len(), 1);
    let answered = data_of(&events, HOST_CALL);
    assert_eq!(answered.len(), 1);
    assert_eq!(answered[0]["result"], json!({ "err": "interrupted: outcome unknown" }));
    assert!(server.seen.try_recv().is_err(), "one request was sent");
    let courier = Courier { stage, running };
    drop(server);
    courier.replays();
}

#[test]
fn an_answer_that_comes_before_the_body_was_sent_reaches_the_guest_over_tls() {
    let port = tls_server(|_| "HTTP/1.1 413 X\r\nContent-Length: 3\r\n\r\nbig".to_owned());
    let stage = Stage::new();
    stage.file("roots.pem", include_bytes!("tls/roots.pem"));
    let manifest =
        stage.manifest("courier", "courier", &handler(r#"{ allow = ["localhost"], roots = "roots.pem" }"#, ""));
    let courier = Courier { running: stage.run(&[&manifest]), stage };
    let answer = courier.send(&large(&format!("https://localhost:{port}/")));
    assert_eq!((&answer["ok"]["status"], &answer["ok"]["body"]), (&json!(413), &json!("big")), "{answer}");
}

const SECRET: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret";

#[test]
fn a_redirect_from_https_to_http_is_not_followed() {
    let open = Server::saying("HTTP/1.1 200 OK\r\n\r\n");
    let away = format!("HTTP/1.1 307 X\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", open.url("/"));
    let port = tls_server(move |_| away.clone());
    let stage = Stage::new();
    stage.file("roots.pem", include_bytes!("tls/roots.pem"));
    let config = r#"{ allow = ["localhost", "127.0.0.1"], roots = "roots.pem" }"#;
    let manifest = stage.manifest("courier", "courier", &handler(config, ""));
    let courier = Courier { running: stage.run(&[&manifest]), stage };
    let refused = courier.refusal(&format!("https://localhost:{port}/"));
    assert!(refused.starts_with(&format!("redirected by localhost:{port}: from https to http: ")), "{refused}");
    assert!(open.seen.try_recv().is_err(), "nothing came");
}

#[test]
fn https_is_spoken_with_servers_whose_certificate_has_a_trusted_root_and_their_name() {
    let port = tls_server(|_| SECRET.to_owned());
    let roots = include_bytes!("tls/roots.pem");
    let stage = Stage::new();
    stage.file("roots.pem", roots);
    let allow = r#"allow = ["localhost", "127.0.0.1"]"#;
    let config = format!("{{ {allow}, roots = \"roots.pem\" }}");
    let manifest = stage.manifest("courier", "courier", &handler(&config, ""));
    let trusting = Courier { running: stage.run(&[&manifest]), stage };
    assert_eq!(trusting.get(&format!("https://localhost:{port}/"))["ok"]["body"], "secret");
    let refused = trusting.refusal(&format!("https://127.0.0.1:{port}/"));
    assert!(
        refused.starts_with(&format!("TLS failed: 127.0.0.1:{port}: ")) && refused.contains("not valid for name"),
        "{refused}"
    );
    let refused = Courier::with(&format!("{{ {allow} }}"), "").refusal(&format!("https://localhost:{port}/"));
    assert!(
        refused.starts_with(&format!("TLS failed: localhost:{port}: ")) && refused.contains("UnknownIssuer"),
        "{refused}"
    );
}

#[test]
fn a_configuration_that_cannot_be_is_refused_with_the_reason() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    stage.file("empty.pem", "");
    stage.file("endless.pem", vec![b'\n'; 4 * 1024 * 1024 + 1]);
    for (config, why) in [
        (r#"{ alow = [] }"#, "did you mean \"allow\"?"),
        (r#"{ allow = ["http://h/"] }"#, "\"http://h/\" in \"allow\" is not a host; expected example.org"),
        (r#"{ timeout_ms = 0 }"#, "\"timeout_ms\" is 0; it is from 1 to 3600000"),
        (r#"{ connect_timeout_ms = 3600001 }"#, "\"connect_timeout_ms\" is 3600001; it is from 1 to 3600000"),
        (r#"{ max_redirects = 101 }"#, "\"max_redirects\" is 101; the most is 100"),
        (r#"{ roots = "none.pem" }"#, "No such file or directory"),
        (r#"{ roots = "empty.pem" }"#, "holds no certificate in PEM form"),
        (r#"{ roots = "/dev/zero" }"#, "not a regular file"),
        (r#"{ roots = "endless.pem" }"#, "larger than 4194304 bytes"),
    ] {
        let refused = running.start(&stage.manifest("courier", "courier", &handler(config, ""))).expect_err(config);
        assert!(refused.contains(why), "{config}: {refused}");
    }
}
