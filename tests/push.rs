//! Tests of pushing: an actor knows its WebSocket clients by their ids, sends to any of them at any time, and is told of the
//! end of each connection once.

mod support;
#[path = "support/lounge.rs"]
mod lounge;
#[path = "support/tls.rs"]
mod tls;
#[path = "support/websocket.rs"]
mod websocket;

use std::net::SocketAddr;
use std::time::Duration;

use lounge::{ask, ids, until_told};
use serde_json::{Value, json};
use support::{Http, Stage, Theater, data_of, eventually, verifies_and_replays};
use tungstenite::Message;
use websocket::Client;

const CALL: &str = "call ntwk:theater/connection-handlers.handle-connection-message";
const PUSH: &str = "host-call ntwk:theater/connections.push";

/// `slow` is what becomes of slow clients.
fn lounge_with(more: &str, slow: &str) -> (Stage, Theater) {
    lounge::lounge_with(more, slow, "")
}

fn lounge() -> (Stage, Theater) {
    lounge_with("", "")
}

fn state(running: &Theater) -> Value {
    ask(running, &json!("state"))
}

fn open(running: &Theater) -> Vec<u64> {
    ids(&ask(running, &json!("connections")))
}

/// A client that was welcomed, and its id.
fn join(address: SocketAddr) -> (Client, u64) {
    let mut client = Client::connect(address);
    let welcome = json_of(&client.hear());
    let id = welcome["you"].as_u64().unwrap_or_else(|| panic!("{welcome}"));
    (client, id)
}

fn json_of(message: &Message) -> Value {
    serde_json::from_str(message.to_text().expect("text")).expect("JSON")
}

/// The ids of the connections whose ends the actor was told of, in their order.
fn left(running: &Theater) -> Vec<u64> {
    ids(&state(running)["left"])
}

fn until_left(running: &Theater, ids: &[u64]) {
    until_told(|| left(running), ids);
}

#[test]
fn clients_stay_with_an_upgrade_unless_the_settings_of_their_listener_change() {
    let (stage, running) = lounge();
    let address = running.websocket("lounge");
    let (mut one, first) = join(address);
    let handlers = |of_websockets: &str| lounge::handlers(of_websockets, "");
    stage.manifest("lounge", "lounge", &format!("description = \"another\"\n{}", handlers("")));
    running.say(&["upgrade", "lounge"]);
    one.say("hello");
    assert_eq!(json_of(&one.hear())["text"], "hello");
    assert_eq!(open(&running), [first]);
    // The address stays, and the clients of then end.
    stage.manifest("lounge", "lounge", &handlers(", slow = \"drop\""));
    running.say(&["upgrade", "lounge"]);
    until_left(&running, &[first]);
    let (mut two, second) = join(address);
    assert_eq!(open(&running), [second]);
    two.say("hello again");
    assert_eq!(json_of(&two.hear())["text"], "hello again");
    let chain = running.export(&stage, "lounge");
    running.shut_down();
    verifies_and_replays(&chain);
}

#[test]
fn what_one_client_says_is_pushed_to_all_by_one_event() {
    let (stage, running) = lounge();
    let address = running.websocket("lounge");
    let (mut one, first) = join(address);
    let (mut two, second) = join(address);
    assert!(first < second);
    one.say("/name ada");
    one.say("hello");
    for client in [&mut one, &mut two] {
        assert_eq!(json_of(&client.hear()), json!({ "from": "ada", "text": "hello" }));
    }
    let mut late = Client::connect(address);
    let welcome = json_of(&late.hear());
    assert_eq!((&welcome["present"], &welcome["history"][0]["text"]), (&json!(2), &json!("hello")));
    assert_eq!(open(&running).len(), 3);
    let events = running.events("lounge");
    let calls = data_of(&events, CALL);
    assert_eq!(calls[0]["params"][0], json!(first), "the id is the sequence of the call of the connect");
    let sequence = events.iter().position(|event| event["event_type"] == CALL).expect("a call");
    assert_eq!(sequence as u64, first);
    let pushes = data_of(&events, PUSH);
    assert_eq!(pushes.len(), 1);
    assert_eq!(pushes[0]["params"][0], json!([first, second]));
    let chain = running.export(&stage, "lounge");
    running.shut_down();
    verifies_and_replays(&chain);
}

#[test]
fn a_push_reaches_those_that_are_there_and_names_the_others() {
    let (_stage, running) = lounge();
    let address = running.websocket("lounge");
    let (mut one, first) = join(address);
    let (two, second) = join(address);
    drop(two);
    eventually("it is gone", || (open(&running) == [first]).then_some(()));
    let answer = ask(&running, &json!({ "push": [[second, first, 4_000_000_000_u64], "anybody?"] }));
    assert_eq!(
        answer,
        json!({ "ok": [[second, "NotQueuedReason::Gone"], [4_000_000_000_u64, "NotQueuedReason::Gone"]] })
    );
    assert_eq!(one.hear(), Message::text("anybody?"));
    assert_eq!(ask(&running, &json!({ "push": [[first, first], "twice"] })), json!({ "ok": [] }));
    assert_eq!([one.hear(), one.hear()], [Message::text("twice"), Message::text("twice")]);
    assert_eq!(ask(&running, &json!({ "push": [[], "nobody"] })), json!({ "ok": [] }));
}

#[test]
fn only_what_a_client_can_be_sent_is_pushed() {
    let (_stage, running) = lounge_with("[limits]\npush_bytes = 1000\n", "");
    let (mut client, id) = join(running.websocket("lounge"));
    let typed = |ty: &str, bytes: usize| ask(&running, &json!({ "push-typed": [[id], ty, vec![0xff_u8; bytes]] }));
    assert_eq!(typed("binary", 3), json!({ "ok": [] }));
    assert_eq!(client.hear(), Message::binary(vec![0xff; 3]));
    assert_eq!(typed("ping", 2), json!({ "ok": [] }));
    assert_eq!(client.hear(), Message::Ping(vec![0xff; 2].into()));
    let refused = |ty: &str, bytes: usize| typed(ty, bytes)["err"].as_str().expect("refused").to_owned();
    assert_eq!(refused("text", 1), "a text message that is not UTF-8");
    assert_eq!(refused("ping", 126), "a ping or pong of 126 bytes: the most is 125");
    assert_eq!(refused("connect", 0), "a \"connect\", which only comes in");
    assert_eq!(refused("close", 0), "a \"close\": close a connection with connections.close");
    assert_eq!(refused("strange", 0), "a message of no known type");
    assert_eq!(refused("binary", 1001), "a message of 1001 bytes: the limit push_bytes is 1000");
    let events = running.events("lounge");
    let recorded = data_of(&events, PUSH);
    let last = recorded.last().expect("a push");
    assert_eq!(last["params"][1]["data"], Value::Null, "what is too long is not recorded");
    let many = json!({ "push": [vec![id; 65_537], "x"] }).to_string();
    let many = Http::connect(running.http("lounge")).ask("POST", "/op", Some(&many)).json();
    assert_eq!(many, json!({ "err": "a push to 65537 connections: the most is 65536" }));
    assert_eq!(typed("binary", 1000), json!({ "ok": [] }), "one push of the whole limit fits");
    assert_eq!(client.hear().len(), 1000);
}

#[test]
fn answers_and_pushes_come_in_the_order_of_their_events() {
    let (_stage, running) = lounge();
    let (mut client, id) = join(running.websocket("lounge"));
    for round in 0..50 {
        client.say("/both");
        client.say(&format!("/echo {round}"));
        ask(&running, &json!({ "push": [[id], format!("later {round}")] }));
    }
    let heard: Vec<String> = (0..200).map(|_| client.hear().to_text().expect("text").to_owned()).collect();
    let events = running.events("lounge");
    let mut said = Vec::new();
    for event in &events {
        let data = &event["data"];
        if event["event_type"] == PUSH {
            said.push(data["params"][1]["text"].clone());
        }
        if event["event_type"] == "return ntwk:theater/connection-handlers.handle-connection-message" {
            said.extend(data["result"]["messages"].as_array().expect("a list").iter().map(|it| it["text"].clone()));
        }
    }
    assert_eq!(json!(heard), json!(said[1..]), "after the welcome");
}

#[test]
fn an_actor_closes_a_connection_after_what_it_has_pushed_and_hears_of_the_end() {
    let (_stage, running) = lounge();
    let address = running.websocket("lounge");
    let (mut one, first) = join(address);
    one.say("/leave 4001");
    assert_eq!(one.hear(), Message::text("leaving"));
    assert_eq!(one.hear_the_end().0, 4001);
    until_left(&running, &[first]);
    let (mut two, second) = join(address);
    assert_eq!(ask(&running, &json!({ "close": [second, 1000] })), json!(true));
    assert_eq!(ask(&running, &json!({ "close": [second, 1000] })), json!(false), "it is closed once");
    assert_eq!(two.hear_the_end().0, 1000);
    until_left(&running, &[first, second]);
    assert_eq!(ask(&running, &json!({ "close": [second, 1000] })), json!(false));
    for code in [0, 999, 1004, 1005, 1006, 1014, 1015, 2999, 5000] {
        let why = ask(&running, &json!({ "close": [second, code] }))["err"].clone();
        assert!(
            why.as_str().is_some_and(|why| why.starts_with(&format!("{code} is no code that may be sent"))),
            "{why}"
        );
    }
    let (mut three, third) = join(address);
    three.say("/bye");
    assert_eq!(three.hear(), Message::text("bye"));
    assert_eq!(three.hear_the_end().0, 1000, "an answer can close a connection, too");
    until_left(&running, &[first, second, third]);
}

#[test]
fn a_message_that_is_refused_ends_its_connection() {
    let (_stage, running) = lounge();
    let (mut client, id) = join(running.websocket("lounge"));
    client.say("/refuse");
    assert_eq!(client.hear_the_end().0, 1011);
    until_left(&running, &[id]);
    assert!(open(&running).is_empty());
}

/// A client that does not read, for which as much is queued as fits. Returns how much that was.
fn flood(running: &Theater, id: u64) -> Value {
    // The buffers of the system take the first megabytes.
    eventually("the queue is full", || {
        let answer = ask(running, &json!({ "flood": [[id], 60_000, 20] }));
        (answer != json!({ "ok": [] })).then_some(answer)
    })
}

#[test]
fn a_slow_client_is_disconnected_and_the_actor_hears_of_it() {
    let (_stage, running) = lounge_with("[limits]\npush_bytes = 100_000\n", "");
    let address = running.websocket("lounge");
    let (slow, first) = join(address);
    let (mut quick, second) = join(address);
    let reader = std::thread::spawn(move || {
        let heard = std::iter::from_fn(|| quick.0.read().ok()).take_while(|heard| *heard != Message::text("last"));
        (heard.count(), quick)
    });
    let answer = flood(&running, first);
    // The push that finds no room says that the queue is full; one after it may find the client gone.
    let why = ["NotQueuedReason::Full", "NotQueuedReason::Gone"].map(|why| json!({ "ok": [[first, why]] }));
    assert!(why.contains(&answer), "{answer}");
    until_left(&running, &[first]);
    assert_eq!(ask(&running, &json!({ "push": [[first, second], "last"] }))["ok"][0][0], json!(first));
    let (heard, _quick) = reader.join().expect("no panic");
    assert_eq!(heard, 0, "the slow one alone was flooded");
    drop(slow);
}

#[test]
fn a_slow_client_that_is_kept_misses_what_has_no_room_and_gets_the_rest() {
    let (_stage, running) = lounge_with("[limits]\npush_bytes = 100_000\n", ", slow = \"drop\"");
    let (mut slow, id) = join(running.websocket("lounge"));
    let answer = flood(&running, id);
    assert_eq!(answer, json!({ "ok": [[id, "NotQueuedReason::Full"]] }));
    assert_eq!(open(&running), [id], "it stays");
    let pushed = data_of(&running.events("lounge"), PUSH).iter().filter(|it| it["result"]["ok"] == json!([])).count();
    for _ in 0..pushed {
        assert_eq!(slow.hear().len(), 60_000);
    }
    eventually("there is room again", || {
        (ask(&running, &json!({ "push": [[id], "last"] })) == json!({ "ok": [] })).then_some(())
    });
    assert_eq!(slow.hear(), Message::text("last"));
}

#[test]
fn a_client_that_takes_nothing_for_too_long_is_disconnected() {
    let (_stage, running) = lounge_with("[limits]\nwebsocket_stall_ms = 200\npush_bytes = 67_108_864\n", "");
    let (_slow, id) = join(running.websocket("lounge"));
    ask(&running, &json!({ "flood": [[id], 1_000_000, 20] }));
    until_left(&running, &[id]);
}

#[test]
fn after_a_kill_the_actor_is_told_of_the_end_of_each_connection_once() {
    let (stage, running) = lounge();
    let address = running.websocket("lounge");
    let clients: Vec<(Client, u64)> = (0..5).map(|_| join(address)).collect();
    let ids: Vec<u64> = clients.iter().map(|(_, id)| *id).collect();
    running.kill();
    let manifest = stage.path().join("lounge.toml");
    let running = stage.run(&[&manifest]);
    until_left(&running, &ids);
    assert!(open(&running).is_empty());
    let (_new, id) = join(running.websocket("lounge"));
    assert!(!ids.contains(&id), "no id is used twice");
    running.kill();
    let running = stage.run(&[&manifest]);
    let all: Vec<u64> = ids.iter().copied().chain([id]).collect();
    until_left(&running, &all);
    let chain = running.export(&stage, "lounge");
    let dir = stage.data_dir();
    running.shut_down();
    verifies_and_replays(&chain);
    support::theater_says(&["verify", "--journal", dir.to_str().expect("a path")]);
}

#[test]
fn an_orderly_end_tells_the_clients_and_the_next_start_tells_the_actor() {
    let (stage, running) = lounge();
    let (mut client, id) = join(running.websocket("lounge"));
    running.shut_down();
    assert_eq!(client.hear_the_end().0, 1001);
    let running = stage.run(&[&stage.path().join("lounge.toml")]);
    until_left(&running, &[id]);
}

#[test]
fn a_restart_keeps_connections_and_a_stop_closes_them() {
    let stage = Stage::new();
    let more = "restart = \"permanent\"\n";
    let running = stage.run(&[&stage.manifest("lounge", "lounge", &format!("{more}{}", lounge::handlers("", "")))]);
    let address = running.websocket("lounge");
    let (mut one, first) = join(address);
    let (mut two, second) = join(address);
    one.say("/trap");
    assert_eq!(one.hear_the_end().0, 1011, "the message that failed ends its connection");
    running.until("lounge", "running");
    assert_eq!(eventually("it runs", || running.request("lounge", &json!("connections")).ok()), json!([second]));
    until_left(&running, &[first]);
    ask(&running, &json!({ "push": [[second], "still there"] }));
    assert_eq!(two.hear(), Message::text("still there"));
    running.say(&["stop", "lounge"]);
    assert_eq!(two.hear_the_end().0, 1001);
}

#[test]
fn a_fork_has_no_connections() {
    let (_stage, running) = lounge();
    let (_client, id) = join(running.websocket("lounge"));
    assert_eq!(open(&running), [id]);
    let at = running.last_event("lounge")["sequence"].to_string();
    running.say(&["fork", "lounge", "--at", &at, "--name", "copy"]);
    assert_eq!(running.request("copy", &json!("connections")), Ok(json!([])));
}

#[test]
fn pushes_over_tls_are_encrypted_in_their_order_beside_answers_and_pongs() {
    let stage = Stage::new();
    tls::certify(&stage, "server");
    let handlers = lounge::handlers(", tls = { cert = \"cert.pem\", key = \"key.pem\" }", "");
    let running = stage.run(&[&stage.manifest("lounge", "lounge", &handlers)]);
    let wire = tls::connect(running.websocket("lounge"), "roots.pem").expect("a session");
    let (mut client, _) = tungstenite::client("ws://localhost/", wire).expect("a handshake");
    let id = json_of(&client.read().expect("a welcome"))["you"].as_u64().expect("an id");
    for round in 0..10 {
        let text = format!("{round}: {}", "x".repeat(round * 10_000));
        ask(&running, &json!({ "push": [[id], text] }));
        client.send(Message::Ping(vec![7].into())).expect("sent");
        let heard = [client.read().expect("a message"), client.read().expect("a message")];
        assert!(heard.contains(&Message::text(text)) && heard.contains(&Message::Pong(vec![7].into())), "{heard:?}");
        client.send(Message::text("/echo back")).expect("sent");
        assert_eq!(client.read().expect("an answer"), Message::text("back"));
    }
    ask(&running, &json!({ "close": [id, 4000] }));
    let Ok(Message::Close(Some(frame))) = client.read() else { panic!("it is told why") };
    assert_eq!(u16::from(frame.code), 4000);
    until_left(&running, &[id]);
}

#[test]
fn hundreds_of_connections_hear_what_one_says() {
    const CLIENTS: usize = 300;
    let (_stage, running) = lounge_with("[limits]\nwebsocket_connections = 400\n", "");
    let address = running.websocket("lounge");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| join(address).0).collect();
    for round in 0..3 {
        clients[round].say(&format!("round {round}"));
        for client in &mut clients {
            assert_eq!(json_of(&client.hear())["text"], json!(format!("round {round}")));
        }
    }
    let events = running.events("lounge");
    let pushes = data_of(&events, PUSH);
    assert_eq!(pushes.len(), 3, "a room is one event");
    assert!(pushes.iter().all(|push| push["params"][0].as_array().is_some_and(|to| to.len() == CLIENTS)));
    let writers = running.thread_names().iter().filter(|name| name.starts_with("ws-") && name.ends_with("-w")).count();
    assert_eq!(writers, 1, "one thread sends to all");
    clients.truncate(CLIENTS / 2);
    eventually("the others are gone", || (open(&running).len() == CLIENTS / 2).then_some(()));
    eventually("the actor knows", || {
        (state(&running)["present"].as_object().expect("a map").len() == CLIENTS / 2).then_some(())
    });
}

/// Prints how long a message of one client takes to all of a thousand; `cargo test --release --test push -- --ignored
/// --nocapture` is the measurement of docs/performance.md.
#[test]
#[ignore = "a measurement"]
fn a_thousand_connections_measured() {
    const CLIENTS: usize = 1_000;
    const ROUNDS: usize = 100;
    let (_stage, running) = lounge_with("[limits]\nwebsocket_connections = 1_100\n", "");
    let address = running.websocket("lounge");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| join(address).0).collect();
    clients
        .iter_mut()
        .for_each(|client| client.0.get_mut().set_read_timeout(Some(Duration::from_secs(60))).expect("set"));
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let begun = std::time::Instant::now();
        clients[round % CLIENTS].say("to everybody");
        for (at, client) in clients.iter_mut().enumerate() {
            client.hear();
            if at == 0 {
                first.push(begun.elapsed());
            }
        }
        last.push(begun.elapsed());
    }
    for (what, mut took) in [("the first client", first), ("all clients", last)] {
        took.sort();
        let ms = |at: usize| took[at].as_secs_f64() * 1e3;
        println!(
            "{CLIENTS} connections, {what} heard it: p50 {:.1} ms, p99 {:.1} ms",
            ms(ROUNDS / 2),
            ms(ROUNDS * 99 / 100)
        );
    }
}
