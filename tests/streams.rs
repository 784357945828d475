//! Tests of HTTP answers that are streams: pieces that the actor pushes in later transitions, each end told once.

mod support;
#[path = "support/lounge.rs"]
mod lounge;
#[path = "support/tls.rs"]
mod tls;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use lounge::{ask, ids};
use serde_json::{Value, json};
use support::{Http, PATIENCE, Stage, Theater, data_of, eventually, verifies_and_replays};

const CALL: &str = "call ntwk:theater/stream-handlers.handle-request";
const CLOSED: &str = "call ntwk:theater/stream-handlers.handle-stream-closed";

/// `of_http` stands in the configuration of the HTTP server.
fn lounge_with(more: &str, of_http: &str) -> (Stage, Theater) {
    lounge::lounge_with(more, "", of_http)
}

fn lounge() -> (Stage, Theater) {
    lounge_with("", "")
}

fn open(running: &Theater) -> Vec<u64> {
    ids(&ask(running, &json!("streams")))
}

/// The streams whose ends the actor was told of, in their order.
fn told(running: &Theater) -> Vec<u64> {
    ids(&ask(running, &json!("state"))["unread"])
}

fn until_told(running: &Theater, ids: &[u64]) {
    lounge::until_told(|| told(running), ids);
}

/// A client of a stream: it reads the head, and then the body piece by piece.
struct Reader<S: Read>(BufReader<S>, String);

impl Reader<TcpStream> {
    fn open(address: SocketAddr, request: &str) -> Self {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(request.as_bytes()).expect("sent");
        Self::of(stream)
    }

    fn get(address: SocketAddr, path: &str) -> Self {
        Self::open(address, &format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
    }
}

impl<S: Read> Reader<S> {
    fn of(stream: S) -> Self {
        let (mut reader, mut head) = (BufReader::new(stream), String::new());
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(reader.read_line(&mut head).expect("a head"), 0, "the connection ended: {head:?}");
        }
        Self(reader, head)
    }

    fn head(&self) -> &str {
        &self.1
    }

    /// The id that the actor gave in `X-Stream`.
    fn id(&self) -> u64 {
        let id = self.1.lines().find_map(|line| line.to_lowercase().strip_prefix("x-stream: ")?.parse().ok());
        id.unwrap_or_else(|| panic!("{}", self.1))
    }

    /// The next chunk; empty at the end of the body.
    fn chunk(&mut self) -> String {
        let mut length = String::new();
        self.0.read_line(&mut length).expect("a chunk");
        let length = usize::from_str_radix(length.trim_end(), 16).unwrap_or_else(|_| panic!("{length:?}"));
        let mut chunk = vec![0; length + 2];
        self.0.read_exact(&mut chunk).expect("a chunk");
        assert!(chunk.ends_with(b"\r\n"));
        chunk.truncate(length);
        String::from_utf8(chunk).expect("text")
    }

    /// Everything that comes until the connection ends.
    fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("an orderly end");
        String::from_utf8(rest).expect("text")
    }
}

/// An answer that was put off belongs to the key of its request: who repeats the request gets it, also after a kill.
#[test]
fn an_answer_that_was_put_off_is_kept_for_who_repeats_its_request() {
    let (stage, running) = lounge_with("", ", idempotency = true");
    let later = |running: &Theater| {
        let mut client = Http::connect(running.http("lounge"));
        client.send_raw(b"POST /later HTTP/1.1\r\nHost: test\r\nIdempotency-Key: k\r\nTheater-Upload-Path: x\r\nContent-Length: 0\r\n\r\n").expect("sent");
        client
    };
    let _gone = later(&running);
    eventually("it is put off", || {
        let promised = ask(&running, &json!("state"))["promised"].clone();
        promised.as_array().is_some_and(|promised| !promised.is_empty()).then_some(())
    });
    let manifest = stage.path().join("lounge.toml");
    running.kill();
    let running = stage.run(&[&manifest]);
    assert_eq!(later(&running).receive().expect("an answer").status, 409, "the actor still owes it");
    assert_eq!(ask(&running, &json!({ "answer": "done" })), Value::Null, "it is kept");
    let answer = later(&running).receive().expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (200, "done"));
    let events = running.events("lounge");
    let calls = data_of(&events, CALL);
    assert_eq!(calls.len(), 1, "the actor was called once");
    assert!(!calls[0].to_string().to_lowercase().contains("theater-upload"), "a client names no file: {}", calls[0]);
    let sql = |statement: &str| {
        let journal = stage.data_dir();
        support::theater_says(&["sql", "--data-dir", journal.to_str().expect("a path"), "--json", statement])
    };
    let all = sql("SELECT count(*) AS n FROM http");
    assert!(all.contains("\"n\":1"), "{all}");
    assert_eq!(all, sql("SELECT count(*) AS n FROM http WHERE name = 'lounge'"));
    let chain = running.export(&stage, "lounge");
    running.shut_down();
    verifies_and_replays(&chain);
}

/// The actor puts off the answer, and what it returns meanwhile, the head of a stream, means nothing.
#[test]
fn an_actor_that_can_stream_can_put_off_a_whole_answer_too() {
    let (stage, running) = lounge();
    let mut client = Http::connect(running.http("lounge"));
    client.send("GET", "/later", None);
    eventually("it is put off", || {
        let promised = ask(&running, &json!("state"))["promised"].clone();
        promised.as_array().is_some_and(|promised| !promised.is_empty()).then_some(())
    });
    assert_eq!(open(&running), Vec::<u64>::new(), "no stream has opened");
    assert_eq!(ask(&running, &json!({ "answer": "done" })), Value::Null);
    let answer = client.receive().expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (200, "done"));
    assert_eq!(told(&running), Vec::<u64>::new(), "and none has ended");
    let chain = running.export(&stage, "lounge");
    running.shut_down();
    verifies_and_replays(&chain);
}

#[test]
fn pieces_that_later_transitions_push_are_chunks_of_the_answer_until_the_actor_ends_it() {
    let (stage, running) = lounge();
    let mut reader = Reader::get(running.http("lounge"), "/raw");
    let head = reader.head().to_lowercase();
    assert!(head.starts_with("http/1.1 200 ok\r\n") && head.contains("\r\ntransfer-encoding: chunked\r\n"), "{head}");
    assert!(head.contains("\r\nconnection: close\r\n") && !head.contains("content-length"), "{head}");
    let id = reader.id();
    assert_eq!(open(&running), [id]);
    for text in ["one", "two, which is longer"] {
        assert_eq!(ask(&running, &json!({ "chunk": [id, text] })), json!("Ok(())"));
        assert_eq!(reader.chunk(), text);
    }
    assert_eq!(ask(&running, &json!({ "chunk": [id, ""] })), json!("Ok(())"), "an empty piece does not end it");
    assert_eq!(ask(&running, &json!({ "end": id })), json!(true));
    assert_eq!((reader.chunk(), reader.rest()), (String::new(), String::new()));
    assert_eq!(ask(&running, &json!({ "end": id })), json!(false));
    assert_eq!(ask(&running, &json!({ "chunk": [id, "late"] })), json!("Err(NotPushed::Gone)"));
    assert_eq!((open(&running), told(&running)), (vec![], vec![]), "the actor knows of the end that it asked for");
    let events = running.events("lounge");
    let sequence = events.iter().position(|event| event["event_type"] == CALL).expect("a call") as u64;
    assert_eq!((sequence, &data_of(&events, CALL)[0]["params"][0]), (id, &json!(id)));
    let chain = running.export(&stage, "lounge");
    let dir = stage.data_dir();
    running.shut_down();
    verifies_and_replays(&chain);
    support::theater_says(&["verify", "--journal", dir.to_str().expect("a path")]);
}

#[test]
fn an_actor_that_can_stream_answers_other_requests_as_before_on_one_connection() {
    let (_stage, running) = lounge();
    let mut client = Http::connect(running.http("lounge"));
    assert_eq!(client.ask("GET", "/nothing", None).status, 404);
    assert_eq!(client.op(&json!("streams")).json(), json!([]));
    assert_eq!(client.ask("GET", "/refuse", None).status, 500);
    assert_eq!(client.ask("GET", "/nothing", None).status, 404, "the connection is kept");
    assert_eq!((open(&running), told(&running)), (vec![], vec![]));
}

#[test]
fn browsers_read_what_is_said_as_server_sent_events() {
    let (_stage, running) = lounge();
    let mut reader = Reader::get(running.http("lounge"), "/events");
    assert!(reader.head().to_lowercase().contains("\r\ncontent-type: text/event-stream\r\n"), "{}", reader.head());
    let hello = reader.chunk();
    let id: u64 = hello.strip_prefix("event: hello\ndata: ").expect(&hello).trim_end().parse().expect("an id");
    ask(&running, &json!({ "say": "two\nlines" }));
    assert_eq!(reader.chunk(), "id: 1\ndata: {\"text\":\"two\\nlines\"}\n\n");
    drop(reader);
    until_told(&running, &[id]);
    assert!(ask(&running, &json!("state"))["readers"].as_array().is_some_and(Vec::is_empty));
}

#[test]
fn a_stream_opens_with_its_head_and_its_first_piece() {
    let (_stage, running) = lounge();
    let mut reader = Reader::get(running.http("lounge"), "/early");
    assert!(reader.head().contains("x-refused: true"), "nothing can be pushed before: {}", reader.head());
    assert_eq!(reader.chunk(), "first ");
    ask(&running, &json!({ "chunk": [reader.id(), "second"] }));
    assert_eq!(reader.chunk(), "second");
}

#[test]
fn a_client_of_http_1_0_gets_the_bare_pieces_until_the_connection_ends() {
    let (_stage, running) = lounge();
    let mut reader = Reader::open(running.http("lounge"), "GET /early HTTP/1.0\r\nHost: test\r\n\r\n");
    assert!(!reader.head().to_lowercase().contains("transfer-encoding"), "{}", reader.head());
    let id = reader.id();
    ask(&running, &json!({ "chunk": [id, "second"] }));
    ask(&running, &json!({ "end": id }));
    assert_eq!(reader.rest(), "first second");
}

#[test]
fn an_answer_that_has_no_body_is_a_stream_that_ends_at_once() {
    let (_stage, running) = lounge();
    let address = running.http("lounge");
    let mut head = Reader::open(address, "HEAD /early HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(head.head().starts_with("HTTP/1.1 200 OK\r\n"), "{}", head.head());
    assert_eq!(head.rest(), "");
    let mut empty = Reader::get(address, "/empty");
    assert!(empty.head().starts_with("HTTP/1.1 204 No Content\r\n"), "{}", empty.head());
    assert_eq!(empty.rest(), "");
    until_told(&running, &[head.id(), empty.id()]);
    let mut client = Http::connect(address);
    assert_eq!(client.ask("GET", "/forbidden", None).status, 502, "a head that cannot be sent");
    eventually("its stream is over", || (told(&running).len() == 3).then_some(()));
    assert!(open(&running).is_empty());
}

#[test]
fn a_client_that_leaves_is_noticed_and_told_of_once() {
    let (_stage, running) = lounge();
    let address = running.http("lounge");
    let (one, mut two) = (Reader::get(address, "/raw"), Reader::get(address, "/raw"));
    let (first, second) = (one.id(), two.id());
    drop(one);
    until_told(&running, &[first]);
    assert_eq!(open(&running), [second]);
    ask(&running, &json!({ "chunk": [second, "still here"] }));
    assert_eq!(two.chunk(), "still here");
    let events = running.events("lounge");
    assert_eq!(data_of(&events, CLOSED).len(), 1);
    assert_eq!(data_of(&events, CLOSED)[0]["cause"]["sequence"].as_u64().map(|it| it > first), Some(true));
}

#[test]
fn a_stream_that_has_nothing_to_say_outlives_the_patience_for_requests_and_needs_no_thread() {
    let limits = "[limits]\nhttp_idle_ms = 50\nhttp_answer_ms = 50\nhttp_head_ms = 50\nhttp_connections = 2\n";
    let (_stage, running) = lounge_with(limits, "");
    let address = running.http("lounge");
    let mut readers: Vec<_> = (0..20).map(|_| Reader::get(address, "/raw")).collect();
    let ids: Vec<u64> = readers.iter().map(Reader::id).collect();
    assert_eq!(open(&running), ids, "more than the listener has threads");
    // An idle connection that was not a stream is closed meanwhile.
    let mut idle = Http::connect(address);
    assert_eq!(idle.ask("GET", "/nothing", None).status, 404);
    assert!(idle.is_over());
    for (reader, id) in readers.iter_mut().zip(&ids) {
        ask(&running, &json!({ "chunk": [id, "at last"] }));
        assert_eq!(reader.chunk(), "at last");
    }
    let name = format!("http-{}", address.port());
    let busy = running.thread_names().iter().filter(|it| it.starts_with(&name) && **it != name).count();
    assert!(busy <= 3, "{:?}", running.thread_names());
}

/// Pushes to a stream whose client does not read until there is no room for more.
fn flood(running: &Theater, id: u64, until: &[&str]) {
    eventually("the queue is full", || {
        let answer = ask(running, &json!({ "flood-stream": [id, 60_000, 20] }));
        until.contains(&answer.as_str().expect("text")).then_some(())
    });
}

#[test]
fn the_stream_of_a_slow_client_is_closed_and_the_actor_hears_of_it() {
    let (_stage, running) = lounge_with("[limits]\npush_bytes = 100_000\n", "");
    let reader = Reader::get(running.http("lounge"), "/raw");
    let id = reader.id();
    flood(&running, id, &["Err(NotPushed::Full)", "Err(NotPushed::Gone)"]);
    until_told(&running, &[id]);
    let too_long = ask(&running, &json!({ "flood-stream": [id, 100_001, 1] }));
    assert_eq!(too_long, json!("Err(NotPushed::Refused(\"a piece of 100001 bytes: the limit push_bytes is 100000\"))"));
}

#[test]
fn a_slow_client_that_is_kept_misses_whole_pieces() {
    let (_stage, running) = lounge_with("[limits]\npush_bytes = 100_000\n", ", slow = \"drop\"");
    let mut reader = Reader::get(running.http("lounge"), "/raw");
    let id = reader.id();
    flood(&running, id, &["Err(NotPushed::Full)"]);
    let events = running.events("lounge");
    let pushed = data_of(&events, "host-call ntwk:theater/streams.push-chunk");
    let pushed = pushed.iter().filter(|push| push["result"].get("ok").is_some()).count();
    for _ in 0..pushed {
        assert_eq!(reader.chunk().len(), 60_000);
    }
    eventually("there is room", || (ask(&running, &json!({ "chunk": [id, "last"] })) == json!("Ok(())")).then_some(()));
    assert_eq!(reader.chunk(), "last");
}

#[test]
fn a_client_that_takes_nothing_for_too_long_loses_its_stream() {
    let (_stage, running) = lounge_with("[limits]\nhttp_answer_ms = 200\npush_bytes = 67_108_864\n", "");
    let reader = Reader::get(running.http("lounge"), "/raw");
    ask(&running, &json!({ "flood-stream": [reader.id(), 1_000_000, 20] }));
    until_told(&running, &[reader.id()]);
}

#[test]
fn an_actor_has_only_so_many_streams() {
    let (_stage, running) = lounge_with("[limits]\nhttp_streams = 2\n", "");
    let address = running.http("lounge");
    let readers = [Reader::get(address, "/raw"), Reader::get(address, "/raw")];
    let refused = Http::connect(address).ask("GET", "/raw", None);
    assert_eq!(refused.status, 503);
    eventually("the actor hears of it", || (told(&running).len() == 1).then_some(()));
    assert_eq!(open(&running), readers.iter().map(Reader::id).collect::<Vec<_>>());
}

#[test]
fn after_a_kill_the_actor_is_told_of_the_end_of_each_stream_once() {
    let (stage, running) = lounge();
    let address = running.http("lounge");
    let readers: Vec<_> = (0..3).map(|_| Reader::get(address, "/raw")).collect();
    let ended = readers[1].id();
    assert_eq!(ask(&running, &json!({ "end": ended })), json!(true));
    running.kill();
    let running = stage.run(&[&stage.path().join("lounge.toml")]);
    until_told(&running, &[readers[0].id(), readers[2].id()]);
    assert!(open(&running).is_empty());
    let chain = running.export(&stage, "lounge");
    running.kill();
    let running = stage.run(&[&stage.path().join("lounge.toml")]);
    until_told(&running, &[readers[0].id(), readers[2].id()]);
    let dir = stage.data_dir();
    running.shut_down();
    verifies_and_replays(&chain);
    support::theater_says(&["verify", "--journal", dir.to_str().expect("a path")]);
}

#[test]
fn an_orderly_end_ends_streams_properly_and_the_next_start_tells_the_actor() {
    let (stage, running) = lounge();
    let mut reader = Reader::get(running.http("lounge"), "/raw");
    let id = reader.id();
    ask(&running, &json!({ "chunk": [id, "last"] }));
    running.shut_down();
    assert_eq!((reader.chunk(), reader.chunk(), reader.rest()), ("last".into(), String::new(), String::new()));
    let running = stage.run(&[&stage.path().join("lounge.toml")]);
    until_told(&running, &[id]);
}

#[test]
fn a_restart_keeps_streams_and_a_stop_ends_them() {
    let stage = Stage::new();
    let more = "restart = \"permanent\"\n";
    let running = stage.run(&[&stage.manifest("lounge", "lounge", &format!("{more}{}", lounge::handlers("", "")))]);
    let mut reader = Reader::get(running.http("lounge"), "/raw");
    let id = reader.id();
    running.request("lounge", &json!("trap")).expect_err("a trap");
    let open = eventually("it runs again", || running.request("lounge", &json!("streams")).ok());
    assert_eq!(open, json!([id]));
    ask(&running, &json!({ "chunk": [id, "still there"] }));
    assert_eq!(reader.chunk(), "still there");
    running.say(&["stop", "lounge"]);
    assert_eq!((reader.chunk(), reader.rest()), (String::new(), String::new()));
}

#[test]
fn a_restart_from_the_initial_state_keeps_streams_which_the_actor_can_ask_for() {
    let stage = Stage::new();
    let more = "restart = \"permanent\"\nrestart_state = \"initial\"\n";
    let running = stage.run(&[&stage.manifest("lounge", "lounge", &format!("{more}{}", lounge::handlers("", "")))]);
    let reader = Reader::get(running.http("lounge"), "/raw");
    let id = reader.id();
    running.request("lounge", &json!("trap")).expect_err("a trap");
    let open = eventually("it runs again", || running.request("lounge", &json!("streams")).ok());
    assert_eq!(open, json!([id]));
    drop(reader);
    until_told(&running, &[id]);
}

#[test]
fn neither_a_prune_nor_a_change_of_the_manifest_takes_the_end_of_a_stream_from_the_actor() {
    let (stage, running) = lounge();
    let reader = Reader::get(running.http("lounge"), "/raw");
    let id = reader.id();
    for _ in 0..40 {
        ask(&running, &json!({ "chunk": [id, "x"] }));
    }
    running.say(&["restart", "lounge"]);
    running.until("lounge", "running");
    ask(&running, &json!({ "chunk": [id, "x"] }));
    let last = running.last_event("lounge")["sequence"].to_string();
    running.say(&["prune", "lounge", "--before", &last]);
    running.kill();
    let more = format!("[limits]\nhttp_streams = 7\n{}", lounge::handlers("", ""));
    let running = stage.run(&[&stage.manifest("lounge", "lounge", &more)]);
    until_told(&running, &[id]);
    let dir = stage.data_dir();
    running.shut_down();
    support::theater_says(&["verify", "--journal", dir.to_str().expect("a path")]);
}

#[test]
fn what_has_ended_for_good_is_told_of_nothing_and_can_be_forgotten() {
    let (stage, running) = lounge();
    let _reader = Reader::get(running.http("lounge"), "/raw");
    let id = running.id("lounge");
    running.say(&["stop", "lounge"]);
    running.until("lounge", "stopped");
    let types = running.event_types("lounge");
    assert!(!types.iter().any(|ty| ty == CLOSED), "{types:?}");
    running.say(&["forget", &id]);
    running.shut_down();
    let dir = stage.data_dir();
    support::theater_says(&["verify", "--journal", dir.to_str().expect("a path")]);
}

#[test]
fn a_fork_has_no_streams() {
    let (_stage, running) = lounge();
    let reader = Reader::get(running.http("lounge"), "/raw");
    assert_eq!(open(&running), [reader.id()]);
    let at = running.last_event("lounge")["sequence"].to_string();
    running.say(&["fork", "lounge", "--at", &at, "--name", "copy"]);
    assert_eq!(running.request("copy", &json!("streams")), Ok(json!([])));
}

#[test]
fn a_listener_of_the_runtime_leads_to_streams_and_an_actor_that_stops_ends_them() {
    let stage = Stage::new();
    stage.file(
        "theater.toml",
        "[[listeners]]\nlisten = \"127.0.0.1:0\"\nroutes = [{ path = \"/*\", to = \"lounge\" }]\n",
    );
    let manifest =
        stage.manifest("lounge", "lounge", &lounge::handlers("", "").replace("port = 0 }\n[[", "listen = false }\n[["));
    let config = stage.path().join("theater.toml");
    let running = stage.run_with(&[&manifest], &["--config", config.to_str().expect("a path")]).expect("it starts");
    let address = running.said().iter().find_map(|line| line.strip_prefix("listener    http://"));
    let address = address.unwrap_or_else(|| panic!("{:?}", running.said())).trim_end_matches('/');
    let address: SocketAddr = address.parse().expect("an address");
    let (mut one, two) = (Reader::get(address, "/early"), Reader::get(address, "/raw"));
    assert_eq!(one.chunk(), "first ");
    ask(&running, &json!({ "chunk": [one.id(), "over a route"] }));
    assert_eq!(one.chunk(), "over a route");
    let second = two.id();
    drop(two);
    until_told(&running, &[second]);
    running.say(&["stop", "lounge"]);
    assert_eq!((one.chunk(), one.rest()), (String::new(), String::new()));
    assert_eq!(
        Http::connect(address).ask("GET", "/raw", None).status,
        503,
        "the listener goes on, and the actor has ended"
    );
}

#[test]
fn a_stream_over_tls_is_encrypted_from_the_first_byte_to_the_last() {
    let stage = Stage::new();
    tls::certify(&stage, "server");
    let handlers = lounge::handlers("", ", tls = { cert = \"cert.pem\", key = \"key.pem\" }");
    let running = stage.run(&[&stage.manifest("lounge", "lounge", &handlers)]);
    let mut session = tls::connect(running.http("lounge"), "roots.pem").expect("a session");
    session.write_all(b"GET /early HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut reader = Reader::of(session);
    let id = reader.id();
    assert_eq!(reader.chunk(), "first ");
    for round in 0..20 {
        let text = format!("{round}: {}", "x".repeat(round * 1_000));
        ask(&running, &json!({ "chunk": [id, text] }));
        assert_eq!(reader.chunk(), text);
    }
    ask(&running, &json!({ "end": id }));
    assert_eq!((reader.chunk(), reader.rest()), (String::new(), String::new()), "with a close_notify");
}
