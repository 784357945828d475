//! Tests of the WebSocket server with clients and the chain: every message is one transition, answered to its sender.

mod support;
#[path = "support/websocket.rs"]
mod websocket;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};
use support::{PATIENCE, Stage, Theater, data_of, eventually, text, theater, verifies_and_replays};
use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;
use websocket::Client;

const CALL: &str = "call ntwk:theater/websocket-server.handle-message";
const RETURN: &str = "return ntwk:theater/websocket-server.handle-message";
const WEBSOCKET: &str = "[[handlers]]\ntype = \"websocket-server\"\nconfig = { port = 0 }\n";

fn parrot(limits: &str) -> (Stage, Theater) {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("parrot", "parrot", &format!("{limits}{WEBSOCKET}"))]);
    (stage, running)
}

/// The types of the messages that the actor has received, in order.
fn types(running: &Theater) -> Vec<Value> {
    let events = running.events("parrot");
    data_of(&events, CALL).iter().map(|call| call["params"][0]["ty"].clone()).collect()
}

/// Sends these bytes on a new connection; returns everything that comes back until its end.
fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(request).expect("sent");
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn what_a_client_says_reaches_the_actor_and_the_answer_comes_back_to_that_client() {
    let (stage, running) = parrot("");
    let address = running.websocket("parrot");
    let (mut one, mut two) = (Client::connect(address), Client::connect(address));
    assert_eq!(one.ask("hello"), "hello");
    assert_eq!(two.ask("grüße"), "grüße");
    two.0.send(Message::binary(vec![0, 0xff])).expect("sent");
    assert_eq!(two.hear(), Message::binary(vec![0, 0xff]));
    two.0.send(Message::Ping(b"now".as_slice().into())).expect("sent");
    assert_eq!(two.hear(), Message::Pong(b"now".as_slice().into()));
    two.0.send(Message::Pong(b"unasked".as_slice().into())).expect("sent");
    assert_eq!(two.ask("count"), "2 0 4 2");
    one.0.close(None).expect("closed");
    assert!(matches!(one.0.read(), Ok(Message::Close(_))));
    assert!(one.is_over());
    eventually("the actor hears of it", || two.ask("count").starts_with("2 1 ").then_some(()));
    drop(two);
    eventually("the actor hears of it", || types(&running).iter().filter(|ty| *ty == "close").nth(1).map(drop));
    let seen = types(&running);
    for ty in ["connect", "text", "binary", "ping", "pong", "close"] {
        assert!(seen.contains(&json!(ty)), "{ty} in {seen:?}");
    }
    let events = running.events("parrot");
    assert!(data_of(&events, CALL).iter().all(|call| call["caller"] == "websocket"));
    let chain = running.export(&stage, "parrot");
    running.shut_down();
    verifies_and_replays(&chain);
}

#[test]
fn many_clients_at_once_each_get_their_own_answers() {
    let (_stage, running) = parrot("");
    let address = running.websocket("parrot");
    std::thread::scope(|scope| {
        for client in 0..50 {
            scope.spawn(move || {
                let mut socket = Client::connect(address);
                for message in 0..20 {
                    let text = format!("{client}: {message}");
                    assert_eq!(socket.ask(&text), text);
                }
            });
        }
    });
    let names = running.thread_names();
    assert!(names.contains(&format!("ws-{}", address.port())), "{names:?}");
}

#[test]
fn each_way_to_end_is_told_by_its_code_and_nothing_of_the_actors_words() {
    let (_stage, running) = parrot("[limits]\nwebsocket_message_bytes = 1000\n");
    let address = running.websocket("parrot");
    let mut client = Client::connect(address);
    assert_eq!(client.ask("bye"), "bye", "what was said before the close comes first");
    assert_eq!(client.hear_the_end().0, 1000);
    assert!(client.is_over());
    for (said, code) in [("refuse", 1011), ("nonsense", 1011), (&*"x".repeat(1001), 1009)] {
        let mut client = Client::connect(address);
        client.say(said);
        let (told, why) = client.hear_the_end();
        assert_eq!(told, code, "{why}");
        assert!(!why.contains("secret"), "{why}");
    }
    let mut client = Client::connect(address);
    assert_eq!(client.ask(&"x".repeat(1000)).len(), 1000);
    client.say("trap");
    assert_eq!(client.hear_the_end(), (1011, "the actor failed".to_owned()));
    running.until("parrot", "failed");
}

#[test]
fn an_answer_beyond_its_limit_fails_the_actor_by_the_limits_name() {
    let (_stage, running) = parrot("[limits]\nwebsocket_answer_bytes = 1_000_000\n");
    let mut client = Client::connect(running.websocket("parrot"));
    assert_eq!(client.ask("hello"), "hello");
    client.say("flood");
    assert_eq!(client.hear_the_end().0, 1011);
    running.until("parrot", "failed");
    let failure = running.json(&["status", "parrot"])["failure"].clone();
    assert!(
        failure.as_str().is_some_and(|why| why.contains("the limit websocket_answer_bytes is 1000000")),
        "{failure}"
    );
}

#[test]
fn a_stopped_actor_tells_its_clients_and_the_runtime_too() {
    let (_stage, running) = parrot("");
    let mut client = Client::connect(running.websocket("parrot"));
    assert_eq!(client.ask("hello"), "hello");
    running.say(&["stop", "parrot"]);
    assert_eq!(client.hear_the_end().0, u16::from(CloseCode::Away));
    assert!(running.thread_names().iter().all(|name| !name.starts_with("ws-")), "all threads were joined");
    let address = {
        let (_stage, running) = parrot("");
        let mut client = Client::connect(running.websocket("parrot"));
        assert_eq!(client.ask("hello"), "hello");
        let address = running.websocket("parrot");
        running.shut_down();
        assert_eq!(client.hear_the_end().0, u16::from(CloseCode::Away));
        address
    };
    TcpStream::connect(address).expect_err("nobody listens");
}

#[test]
fn what_is_no_handshake_is_refused_and_never_reaches_the_actor() {
    let (_stage, running) = parrot("");
    let address = running.websocket("parrot");
    let upgrade = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    for request in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "\u{0}\u{1}\r\n\r\n".to_owned(),
        format!("POST / HTTP/1.1\r\n{upgrade}{key}{version}\r\n"),
        format!("GET / HTTP/1.0\r\n{upgrade}{key}{version}\r\n"),
        format!("GET / HTTP/1.1\r\n{upgrade}{version}\r\n"),
        format!("GET / HTTP/1.1\r\n{upgrade}Sec-WebSocket-Key: x\r\n{version}\r\n"),
        format!("GET / HTTP/1.1\r\n{upgrade}{key}{key}{version}\r\n"),
        format!("GET / HTTP/1.1\r\n{upgrade}Host: x\r\n{key}{version}\r\n"),
        format!("GET / HTTP/1.1\r\n{}{key}{version}\r\n", upgrade.replace("Host: x\r\n", "")),
        format!("GET / HTTP/1.1\r\n{upgrade}{key}{version}\r\n").replace("\r\n", "\n"),
        format!("GET / HTTP/1.1\r\n{upgrade}{key}{version}Content-Length: 1\r\n\r\nx"),
    ] {
        let answer = raw(address, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?} gave {answer:?}");
    }
    for version in ["", "Sec-WebSocket-Version: 8\r\n"] {
        let answer = raw(address, format!("GET / HTTP/1.1\r\n{upgrade}{key}{version}\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer:?}");
        assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{answer:?}");
    }
    let refused_head = raw(address, format!("HEAD / HTTP/1.1\r\n{upgrade}{key}{version}\r\n").as_bytes());
    assert!(refused_head.starts_with("HTTP/1.1 400 ") && refused_head.ends_with("\r\n\r\n"), "{refused_head:?}");
    let fat = format!("GET / HTTP/1.1\r\n{upgrade}{key}X: {}\r\n\r\n", "x".repeat(100_000));
    let answer = raw(address, fat.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer:?}");
    assert!(types(&running).is_empty());
    assert_eq!(Client::connect(address).ask("hello"), "hello");
}

/// A frame that is not masked, which a client must not send.
#[test]
fn a_client_that_breaks_the_protocol_is_told_so_and_dropped() {
    let (_stage, running) = parrot("");
    let address = running.websocket("parrot");
    let frames = [
        (&b"\x81\x01a"[..], 1002),
        (b"\x8f\x80\0\0\0\0", 1002),
        (b"\x81\x81\0\0\0\0\xff", 1007),
        // Lengths that use more bytes than necessary.
        (b"\x81\xfe\0\x01\0\0\0\0a", 1002),
        (b"\x81\xff\0\0\0\0\0\0\0\x01\0\0\0\0a", 1002),
        // Reserved bits; a control frame in pieces, and one too long; a continuation of nothing; one message inside
        // another.
        (b"\xc1\x81\0\0\0\0a", 1002),
        (b"\x09\x80\0\0\0\0", 1002),
        (b"\x89\xfe\0\x7e\0\0\0\0", 1002),
        (b"\x80\x81\0\0\0\0a", 1002),
        (b"\x01\x81\0\0\0\0a\x01\x81\0\0\0\0a", 1002),
        // Text whose pieces together are not UTF-8; a close with half a code.
        (b"\x01\x81\0\0\0\0\xc3\x80\x81\0\0\0\0a", 1007),
        (b"\x88\x81\0\0\0\0\x03", 1002),
        // A code that nobody may send.
        (b"\x88\x82\0\0\0\0\x03\xed", 1002),
        (b"\x88\x84\0\0\0\0\x03\xe8\xff\xff", 1007),
    ];
    for (frame, code) in frames {
        let mut client = Client::connect(address);
        client.0.get_mut().write_all(frame).expect("sent");
        assert_eq!(client.hear_the_end().0, code, "{frame:?}");
    }
    eventually("the actor hears of each end", || {
        let mut client = Client::connect(address);
        let said = client.ask("count");
        let ended = said.split(' ').nth(1).and_then(|ended| ended.parse::<usize>().ok());
        (ended >= Some(frames.len())).then_some(())
    });
}

#[test]
fn one_client_too_many_is_turned_away_and_let_in_when_there_is_room() {
    let (_stage, running) = parrot("[limits]\nwebsocket_connections = 2\n");
    let address = running.websocket("parrot");
    let (mut one, mut two) = (Client::connect(address), Client::connect(address));
    assert_eq!((one.ask("a"), two.ask("b")), ("a".to_owned(), "b".to_owned()));
    let answer = raw(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer:?}");
    let answer = raw(address, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("\r\n\r\n"), "no body for a HEAD: {answer:?}");
    one.0.close(None).expect("closed");
    while one.0.read().is_ok() {}
    drop(one);
    let answer = eventually("there is room", || {
        let answer = raw(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        (!answer.starts_with("HTTP/1.1 503 ")).then_some(answer)
    });
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
}

/// These clients would have ten seconds each, but a client with a complete handshake does not wait so long.
#[test]
fn clients_that_never_finish_their_handshakes_keep_nobody_out() {
    let (_stage, running) = parrot("[limits]\nwebsocket_connections = 4\n");
    let address = running.websocket("parrot");
    let mut slow = Vec::new();
    for beginning in ["", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        for _ in 0..10 {
            let mut stream = TcpStream::connect(address).expect("a connection");
            stream.write_all(beginning.as_bytes()).expect("sent");
            slow.push(stream);
        }
    }
    let mut clients: Vec<_> = (0..4).map(|_| Client::connect(address)).collect();
    clients.iter_mut().for_each(|client| assert_eq!(client.ask("hello"), "hello"));
    let answer = raw(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 503 "), "those that are in stay: {answer:?}");
    clients.iter_mut().for_each(|client| assert_eq!(client.ask("still"), "still"));
}

#[test]
fn a_silent_client_is_asked_and_one_that_is_gone_without_a_word_is_dropped() {
    let (_stage, running) = parrot("[limits]\nwebsocket_idle_ms = 100\n");
    let address = running.websocket("parrot");
    let mut alive = Client::connect(address);
    // While it reads, the client answers pings. The runtime sends these itself, and the actor does not see them.
    for _ in 0..3 {
        assert!(matches!(alive.hear(), Message::Ping(_)));
        alive.0.flush().expect("the pong is sent");
    }
    assert_eq!(types(&running), [json!("connect")]);
    // When it does not read, it answers nothing.
    eventually("it is dropped", || types(&running).contains(&json!("close")).then_some(()));
    assert_eq!(alive.hear_the_end().0, u16::from(CloseCode::Policy));
}

/// A client that reads nothing delays only its own connection.
#[test]
fn a_slow_reader_keeps_nobody_else_waiting() {
    let (_stage, running) = parrot("");
    let address = running.websocket("parrot");
    let mut slow = Client::connect(address);
    slow.say("flood");
    slow.say("flood");
    let mut other = Client::connect(address);
    assert_eq!(other.ask("hello"), "hello");
    let floods = (0..14).map(|_| slow.hear().len()).collect::<Vec<_>>();
    assert_eq!(floods, [1 << 20; 14], "all comes once it reads");
}

/// The runtime does not wait for a client that reads nothing: it disconnects the client, and the actor is told.
#[test]
fn a_reader_that_takes_nothing_for_too_long_is_dropped() {
    let (_stage, running) = parrot("[limits]\nwebsocket_stall_ms = 100\n");
    let address = running.websocket("parrot");
    let mut stuck = Client::connect(address);
    for _ in 0..8 {
        // More than all buffers on the way hold.
        stuck.say("flood");
    }
    eventually("it is dropped", || types(&running).contains(&json!("close")).then_some(()));
    assert_eq!(Client::connect(address).ask("hello"), "hello");
    let heard = std::iter::repeat_with(|| stuck.0.read()).take_while(Result::is_ok).count();
    assert!(heard < 8 * 7, "not all of it came");
}

/// The system's buffers grow while it sends to a client that reads nothing; this does not count as reading.
#[test]
fn a_stall_is_over_when_the_limit_says_whatever_the_system_buffers() {
    let (_stage, running) = parrot("[limits]\nwebsocket_stall_ms = 1000\n");
    let mut stuck = Client::connect(running.websocket("parrot"));
    for _ in 0..8 {
        stuck.say("flood");
    }
    eventually("it is dropped", || types(&running).contains(&json!("close")).then_some(()));
    let events = running.events("parrot");
    let closed = events.iter().rposition(|event| event["event_type"] == CALL).expect("the close");
    let answered = events[..closed].iter().rfind(|event| event["event_type"] == RETURN).expect("the last answer");
    let at = |event: &Value| event["timestamp"].as_u64().expect("milliseconds");
    let waited = at(&events[closed]) - at(answered);
    assert!(waited < 2_900, "it was dropped {waited} ms after the last answer to it");
}

#[test]
fn answers_that_clients_do_not_take_keep_to_their_budget() {
    let limits = "[limits]\nwebsocket_answers_bytes = 20000000\n";
    let (_stage, running) = parrot(limits);
    let address = running.websocket("parrot");
    // Each client stops an answer of 7 MiB when the buffers on the way are full.
    let mut stuck: Vec<_> = (0..5).map(|_| Client::connect(address)).collect();
    for client in &mut stuck {
        client.say("flood");
        client.say("flood");
    }
    eventually("some are dropped for others", || {
        (types(&running).iter().filter(|ty| *ty == "close").count() >= 2).then_some(())
    });
    let mut reader = Client::connect(address);
    reader.say("flood");
    assert_eq!((0..7).map(|_| reader.hear().len()).sum::<usize>(), 7 << 20);
}

#[test]
fn a_client_has_as_long_as_the_limits_say_for_its_handshake_and_for_a_message() {
    let (_stage, running) = parrot("[limits]\nwebsocket_handshake_ms = 100\nwebsocket_message_ms = 100\n");
    let address = running.websocket("parrot");
    let answer = raw(address, b"GET / HTTP/1.1\r\nHost: x\r\n");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
    let mut client = Client::connect(address);
    assert_eq!(client.ask("hello"), "hello");
    // The head of a masked text of five bytes, and nothing after it.
    client.0.get_mut().write_all(&[0x81, 0x85]).expect("sent");
    assert_eq!(client.hear_the_end().0, u16::from(CloseCode::Policy), "the rest did not come");
    eventually("the actor hears of it", || types(&running).contains(&json!("close")).then_some(()));
}

/// The limit for a message, an hour here, does not apply to the handshake.
#[test]
fn a_handshake_that_has_begun_has_no_longer_than_one_that_has_not() {
    let (_stage, running) = parrot("[limits]\nwebsocket_handshake_ms = 200\nwebsocket_message_ms = 3600000\n");
    let answer = raw(running.websocket("parrot"), b"GET / HTTP/1.1\r\nHost: x\r\n");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer:?}");
}

#[test]
fn pings_in_the_middle_of_a_message_win_a_client_no_time() {
    let (_stage, running) = parrot("[limits]\nwebsocket_message_ms = 300\n");
    let address = running.websocket("parrot");
    for control in [&b"\x89\x80\0\0\0\0"[..], b"\x8a\x80\0\0\0\0"] {
        let mut client = Client::connect(address);
        client.0.get_mut().write_all(b"\x01\x81\0\0\0\0a").expect("sent");
        let mut sender = client.0.get_mut().try_clone().expect("a second handle");
        let sends = std::thread::spawn(move || {
            while sender.write_all(control).is_ok() {
                std::thread::yield_now();
            }
        });
        assert_eq!(client.hear_the_end().0, u16::from(CloseCode::Policy));
        drop(client);
        sends.join().expect("no panic");
    }
    // A client whose messages are complete may ping as long as it likes.
    let mut client = Client::connect(address);
    let begun = std::time::Instant::now();
    while begun.elapsed().as_millis() < 1_000 {
        client.0.send(Message::Ping(b"still".as_slice().into())).expect("sent");
        assert_eq!(client.hear(), Message::Pong(b"still".as_slice().into()));
    }
    assert_eq!(client.ask("hello"), "hello");
}

/// The limit for a message, an hour here, does not apply to what follows the close frames.
#[test]
fn a_client_that_goes_on_sending_after_the_close_keeps_its_place_no_longer() {
    let limits = "[limits]\nwebsocket_connections = 1\nwebsocket_message_ms = 3600000\n";
    let (_stage, running) = parrot(limits);
    let address = running.websocket("parrot");
    let mut client = Client::connect(address);
    client.say("bye");
    assert_eq!(client.hear_the_end().0, 1000);
    let mut sender = client.0.get_mut().try_clone().expect("a second handle");
    std::thread::scope(|scope| {
        scope.spawn(move || while sender.write_all(b"x").is_ok() {});
        let answer = eventually("there is room", || {
            let answer = raw(address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            (!answer.starts_with("HTTP/1.1 503 ")).then_some(answer)
        });
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer:?}");
    });
}

#[test]
fn messages_that_have_come_in_part_keep_to_their_budget() {
    let (_stage, running) = parrot("[limits]\nwebsocket_messages_bytes = 2500000\n");
    let address = running.websocket("parrot");
    let mut stuck: Vec<_> = (0..6).map(|_| Client::connect(address)).collect();
    for client in &mut stuck {
        // A message of 1 MiB except for its last byte. A client that loses its room in the meantime cannot send all of
        // it.
        let message = [&b"\x82\xff\0\0\0\0\0\x10\0\0\0\0\0\0"[..], &[7; (1 << 20) - 1]].concat();
        let _ = client.0.get_mut().write_all(&message);
    }
    eventually("some are dropped for others", || {
        (types(&running).iter().filter(|ty| *ty == "close").count() >= 4).then_some(())
    });
    assert_eq!(Client::connect(address).ask(&"x".repeat(1 << 20)).len(), 1 << 20);
    drop(stuck);
}

/// The client reads a little now and then, so it is not stuck; but it does not read its answer in time.
#[test]
fn a_client_that_takes_its_answer_too_slowly_is_dropped() {
    let (_stage, running) = parrot("[limits]\nwebsocket_answer_ms = 300\n");
    let address = running.websocket("parrot");
    let mut slow = Client::connect(address);
    for _ in 0..8 {
        slow.say("flood");
    }
    eventually("it is dropped", || {
        let taken = slow.0.get_mut().read(&mut [0; 16]).expect("bytes of the flood");
        assert!(taken > 0, "it takes what it gets");
        types(&running).contains(&json!("close")).then_some(())
    });
    assert_eq!(Client::connect(address).ask("hello"), "hello");
}

#[test]
fn every_client_that_the_actor_has_met_is_said_goodbye_to_however_full_its_mailbox_is() {
    let (_stage, running) = parrot("[limits]\nmailbox_deliveries = 1\n");
    let address = running.websocket("parrot");
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(move || {
                let mut client = Client::connect(address);
                // Some clients find no room, and are told so by a close.
                while client.0.send(Message::text("hello")).is_ok() && matches!(client.0.read(), Ok(Message::Text(_))) {
                    if client.0.send(Message::text("bye")).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let count = |ty: &str| types(&running).iter().filter(|it| *it == ty).count();
    eventually("as many leave as came", || (count("connect") == count("close")).then_some(()));
    assert!(count("connect") > 0);
}

/// How many clients the actor knows to be gone.
fn gone(running: &Theater) -> usize {
    types(running).iter().filter(|ty| *ty == "close").count()
}

#[test]
fn who_was_connected_when_the_runtime_ended_is_known_to_be_gone_after_the_next_start() {
    let stage = Stage::new();
    let manifest = stage.manifest("parrot", "parrot", WEBSOCKET);
    let mut running = stage.run(&[&manifest]);
    for (before, killed) in [(0, true), (3, false)] {
        let address = running.websocket("parrot");
        let clients: Vec<Client> = (0..3).map(|_| Client::connect(address)).collect();
        let met = clients.into_iter().map(|mut client| (client.ask("hello"), client)).collect::<Vec<_>>();
        if killed {
            running.kill();
        } else {
            running.shut_down();
        }
        drop(met);
        running = stage.run(&[&manifest]);
        eventually("the actor hears of all", || (gone(&running) == before + 3).then_some(()));
    }
    let events = running.events("parrot");
    let answered: Vec<&Value> =
        events.iter().filter(|it| it["event_type"] == RETURN).map(|it| &it["sequence"]).collect();
    let calls = data_of(&events, CALL);
    let closes: Vec<&Value> =
        calls.iter().filter(|it| it["params"][0]["ty"] == "close").map(|it| &it["cause"]).collect();
    assert!(closes.iter().all(|cause| answered.contains(&&cause["sequence"])), "{closes:?}");
    let chain = running.export(&stage, "parrot");
    running.shut_down();
    verifies_and_replays(&chain);
    let running = stage.run(&[&manifest]);
    assert_eq!(Client::connect(running.websocket("parrot")).ask("count"), "7 6 7 0", "each is gone once");
    let audit = theater(&["verify", "--journal", stage.data_dir().to_str().expect("a path")], None);
    assert!(audit.status.success(), "{}", text(&audit.stdout));
}

#[test]
fn an_actor_that_was_stopped_is_owed_no_goodbyes() {
    let stage = Stage::new();
    let manifest = stage.manifest("parrot", "parrot", WEBSOCKET);
    let running = stage.run(&[&manifest]);
    let mut client = Client::connect(running.websocket("parrot"));
    assert_eq!(client.ask("hello"), "hello");
    running.say(&["stop", "parrot"]);
    running.kill();
    let running = stage.run(&[&manifest]);
    assert_eq!(Client::connect(running.websocket("parrot")).ask("count"), "2 0 2 0");
}

fn shaken_from(address: SocketAddr, origin: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let request = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{origin}\r\n"
    );
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stream), &mut answer).expect("an answer");
    answer.trim_end().to_owned()
}

#[test]
fn a_page_from_elsewhere_is_kept_out_where_the_configuration_says_so() {
    let stage = Stage::new();
    let config = "config = { port = 0, origins = [\"https://chat.example\", \"http://localhost:8080\"] }";
    let websocket = WEBSOCKET.replace("config = { port = 0 }", config);
    let running = stage.run(&[&stage.manifest("parrot", "parrot", &websocket)]);
    let address = running.websocket("parrot");
    for origin in ["", "Origin: https://chat.example\r\n", "origin: HTTP://LOCALHOST:8080\r\n"] {
        assert_eq!(shaken_from(address, origin), "HTTP/1.1 101 Switching Protocols", "{origin}");
    }
    for origin in [
        "Origin: http://chat.example\r\n",
        "Origin: https://chat.example.evil\r\n",
        "Origin: null\r\n",
        "Origin: https://chat.example\r\nOrigin: https://evil.example\r\n",
    ] {
        assert_eq!(shaken_from(address, origin), "HTTP/1.1 403 Forbidden", "{origin}");
    }
    let answer = raw(address, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://evil\r\n\r\n");
    assert!(answer.ends_with("\r\n\r\npages of this origin may not connect\n"), "{answer}");
    eventually("only three were met", || {
        (types(&running).iter().filter(|ty| *ty == "connect").count() == 3).then_some(())
    });
    let (_stage, open) = parrot("");
    assert_eq!(shaken_from(open.websocket("parrot"), "Origin: http://evil\r\n"), "HTTP/1.1 101 Switching Protocols");
    let bad = stage.manifest("bad", "parrot", &WEBSOCKET.replace("port = 0", "port = 0, origins = [\"chat.example\"]"));
    let why = running.start(&bad).expect_err("no origin");
    assert!(why.contains("bad.toml:") && why.contains("\"chat.example\" in \"origins\" is no origin"), "{why}");
}

#[test]
fn a_full_mailbox_closes_with_try_again_later() {
    let (_stage, running) = parrot("[limits]\nmailbox_deliveries = 0\n");
    let (code, why) = Client::connect(running.websocket("parrot")).hear_the_end();
    assert_eq!(code, 1013, "{why}");
}

#[test]
fn an_actor_that_exports_no_websocket_server_is_refused_by_name() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    let why = running.start(&stage.manifest("probe", "probe", WEBSOCKET)).expect_err("it does not export it");
    assert!(why.contains("ntwk:theater/websocket-server.handle-message"), "{why}");
}
