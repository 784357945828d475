//! Tests of the management server with existing clients: the exact form of answers, whole histories, and broken or
//! hostile clients.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use support::{Http, Management, Stage, Theater, eventually};

const NOBODY: &str = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";

fn counter() -> (Stage, Theater, Management) {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
    let management = Management::connect(running.management());
    (stage, running, management)
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap_or_else(|| panic!("{value}")).keys().map(String::as_str).collect()
}

fn is_uuid(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.len() == 36
        && text.chars().enumerate().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit() && !c.is_ascii_uppercase(),
        })
}

fn bytes(value: &Value) -> Vec<u8> {
    let numbers = value.as_array().unwrap_or_else(|| panic!("{value} is an array of numbers"));
    numbers.iter().map(|number| u8::try_from(number.as_u64().expect("a number")).expect("a byte")).collect()
}

/// The hash of a pushed event, computed from its other fields as `docs/chain-format.md` specifies.
fn hash_of(event: &Value) -> Vec<u8> {
    let number = |key: &str| event[key].as_u64().expect("a number").to_be_bytes();
    let (kind, data) = (event["event_type"].as_str().expect("text").as_bytes(), bytes(&event["data"]));
    let mut hash = Sha1::new();
    hash.update(b"theater-chain-event-v3\0");
    hash.update(number("sequence"));
    match &event["parent_hash"] {
        Value::Null => hash.update([0]),
        parent => {
            hash.update([1]);
            hash.update(bytes(parent));
        }
    }
    hash.update(number("timestamp"));
    hash.update(u32::try_from(kind.len()).expect("short").to_be_bytes());
    hash.update(kind);
    hash.update((data.len() as u64).to_be_bytes());
    hash.update(Sha256::new().chain_update(bytes(&event["salt"])).chain_update(&data).finalize());
    hash.finalize().to_vec()
}

/// Checks that pushed events form one chain from `from` on, and that each hash is right.
fn are_a_chain(events: &[Value], from: u64) {
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["sequence"], from + at as u64, "no gap, nothing twice");
        assert_eq!(bytes(&event["hash"]), hash_of(event), "{event}");
        if at > 0 {
            assert_eq!(event["parent_hash"], events[at - 1]["hash"]);
        }
    }
}

#[test]
fn the_fixed_rows_have_their_exact_shapes() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    let mut management = Management::connect(running.management());
    assert_eq!(management.ask(&json!("ListActors")), json!({ "ActorList": { "actors": [] } }));

    let manifest = stage.http_manifest("counter", "counter", "");
    let started = management.ask(&json!({ "StartActor": { "manifest": manifest } }));
    assert_eq!((keys(&started), keys(&started["ActorStarted"])), (vec!["ActorStarted"], vec!["id"]));
    let id = &started["ActorStarted"]["id"];
    assert!(is_uuid(id), "{id}");
    assert_eq!(management.ask(&json!("ListActors")), json!({ "ActorList": { "actors": [id] } }));

    let subscribed = management.ask(&json!({ "SubscribeToActor": { "id": id } }));
    assert_eq!(
        (keys(&subscribed), keys(&subscribed["Subscribed"])),
        (vec!["Subscribed"], vec!["id", "subscription_id"])
    );
    assert_eq!(&subscribed["Subscribed"]["id"], id);
    let subscription = &subscribed["Subscribed"]["subscription_id"];
    assert!(is_uuid(subscription), "{subscription}");

    let mut other = Management::connect(running.management());
    other.request(id.as_str().expect("text"), &json!({ "add": 1 })).expect("an answer");
    let pushed = management.receive().expect("an event");
    assert_eq!((keys(&pushed), keys(&pushed["ActorEvent"])), (vec!["ActorEvent"], vec!["event", "id"]));
    assert_eq!(&pushed["ActorEvent"]["id"], id);
    let event = &pushed["ActorEvent"]["event"];
    assert_eq!(event["event_type"], "call ntwk:theater/message-server-client.handle-request");
    assert_eq!((bytes(&event["hash"]).len(), bytes(&event["parent_hash"]).len()), (20, 20));
    assert!(event["timestamp"].as_u64().is_some_and(|at| at > 1_600_000_000_000), "{event}");
    are_a_chain(&[event.clone(), management.event()], 3);

    let unsubscribe = json!({ "UnsubscribeFromActor": { "id": id, "subscription_id": subscription } });
    assert_eq!(management.ask(&unsubscribe), json!({ "Unsubscribed": { "id": id } }));
    let again = management.ask(&unsubscribe);
    assert_eq!((keys(&again), keys(&again["Error"])), (vec!["Error"], vec!["message"]));
    other.request(id.as_str().expect("text"), &json!({ "add": 1 })).expect("an answer");

    let stopped = management.ask(&json!({ "StopActor": { "id": id } }));
    assert_eq!(stopped, json!({ "ActorStopped": { "id": id } }), "and no event came in between");
    assert_eq!(management.ask(&json!("ListActors")), json!({ "ActorList": { "actors": [] } }));
}

#[test]
fn whatever_is_wrong_is_an_error_and_the_connection_goes_on() {
    let (stage, running, mut management) = counter();
    let id = running.id("counter");
    let subscription =
        management.ask(&json!({ "SubscribeToActor": { "id": id } }))["Subscribed"]["subscription_id"].clone();
    let mut other = Management::connect(running.management());
    for (command, expected) in [
        (json!("Dance"), "Dance"),
        (json!({ "Dance": {} }), "Dance"),
        (json!(null), "not a command"),
        (json!(17), "not a command"),
        (json!([]), "not a command"),
        (json!({}), "not a command"),
        (json!({ "StartActor": {} }), "manifest"),
        (json!({ "StartActor": { "manifest": 3 } }), "string"),
        (json!({ "StartActor": { "manifest": "" } }), "cannot read the manifest"),
        (json!({ "StartActor": { "manifest": "/nowhere/at/all.toml" } }), "/nowhere/at/all.toml"),
        (json!({ "StartActor": { "manifest": stage.path() } }), "not a regular file"),
        (json!({ "StartActor": { "manifest": "a\u{0}b" } }), "manifest"),
        (json!({ "StopActor": { "id": "" } }), ""),
        (json!({ "StopActor": { "id": "no-uuid" } }), "no-uuid"),
        (json!({ "StopActor": { "id": NOBODY } }), NOBODY),
        (json!({ "StopActor": { "id": id.to_uppercase() } }), ""),
        (json!({ "StopActor": { "id": [id] } }), "not a command"),
        (json!({ "SubscribeToActor": { "id": NOBODY } }), NOBODY),
        (json!({ "SubscribeToActor": { "id": id, "from": -1 } }), "not a command"),
        (json!({ "UnsubscribeFromActor": { "id": id, "subscription_id": NOBODY } }), NOBODY),
        (json!({ "UnsubscribeFromActor": { "id": NOBODY, "subscription_id": subscription } }), "subscription"),
        (json!({ "RestartActor": { "id": NOBODY } }), NOBODY),
        (json!({ "GetActorState": { "id": NOBODY } }), NOBODY),
        (json!({ "GetActorEvents": { "id": NOBODY, "from": 0, "limit": 1 } }), NOBODY),
        (json!({ "SendMessage": { "id": NOBODY, "message": "" } }), NOBODY),
        (json!({ "RequestMessage": { "id": id, "message": "!" } }), "base64"),
        (json!({ "GetEventData": { "id": id, "sequence": 999, "offset": 0 } }), "event 999 is not on the chain"),
        (json!({ "ListActors": {} }), "not a command"),
    ] {
        let why = management.error(&command);
        assert!(why.contains(expected) && why.len() < 500, "{command} gave {why}");
    }
    let others = json!({ "UnsubscribeFromActor": { "id": id, "subscription_id": subscription } });
    assert!(other.error(&others).contains("subscription"), "a subscription belongs to its connection");

    for json in ["", " ", "{", "\"ListActors", "\u{0}", "\"ListActors\" \"ListActors\"", &"[".repeat(100_000)] {
        management.send_raw(&u32::try_from(json.len()).expect("short").to_be_bytes());
        management.send_raw(json.as_bytes());
        let answer = management.receive().expect("an answer");
        assert!(answer["Error"]["message"].as_str().is_some_and(|why| why.starts_with("not a command")), "{answer}");
    }
    let long = json!("x".repeat(8 * 1024 * 1024 - 2));
    let why = management.error(&long);
    assert!(why.starts_with("not a command: unknown variant `xxx") && why.len() < 2_000, "{}", why.len());
    let nested = format!("{}{}", "{\"Subscribe\":".repeat(50_000), "}".repeat(50_000));
    management.send_raw(&u32::try_from(nested.len()).expect("short").to_be_bytes());
    management.send_raw(nested.as_bytes());
    assert!(management.receive().expect("an answer")["Error"].is_object(), "deep");
    management.send_raw(&[0, 0, 0, 2, 0xff, 0xfe]);
    assert!(management.receive().expect("an answer")["Error"].is_object(), "not UTF-8");
    assert_eq!(management.ask(&json!("ListActors")), json!({ "ActorList": { "actors": [id] } }));
    assert_eq!(management.ask(&others), json!({ "Unsubscribed": { "id": id } }));
}

#[test]
fn a_field_that_may_be_left_out_may_be_null() {
    let (_stage, running, mut management) = counter();
    let id = running.id("counter");
    for (command, answer) in [
        (json!({ "GetActors": { "from": null, "limit": null } }), "Actors"),
        (json!({ "GetMetrics": { "from": null, "limit": null } }), "MetricsPage"),
        (json!({ "GetActorEvents": { "id": id, "from": 0, "limit": null } }), "ActorEvents"),
        (json!({ "ForkActor": { "id": id, "at": 2, "name": "again", "manifest": null } }), "ActorForked"),
        (json!({ "SubscribeToActor": { "id": id, "from": null, "kinds": null } }), "Subscribed"),
        (json!({ "Subscribe": { "scope": "All", "from": null, "kinds": null } }), "SubscribedFrom"),
    ] {
        assert_eq!(keys(&management.ask(&command)), [answer], "{command}");
    }
    for command in ["PruneActor", "RedactEvent"] {
        let place = if command == "PruneActor" { "before" } else { "sequence" };
        let why = management.error(&json!({ command: { "id": id, place: 1_000_000, "despite_get_chain": null } }));
        assert!(why.contains("event 1000000"), "{command}: {why}");
    }
}

/// Reads until the connection ends; returns the frames.
fn to_the_end(management: &mut Management) -> Vec<Value> {
    std::iter::from_fn(|| management.receive()).collect()
}

#[test]
fn broken_framing_ends_the_connection_and_no_other() {
    let (_stage, running, mut management) = counter();
    let fresh = || Management::connect(running.management());

    let mut oversized = fresh();
    oversized.send_raw(&(8 * 1024 * 1024 + 1_u32).to_be_bytes());
    let frames = to_the_end(&mut oversized);
    assert_eq!(frames.len(), 1, "{frames:?}");
    assert!(frames[0]["Error"]["message"].as_str().is_some_and(|why| why.contains("8388608")), "{frames:?}");

    let mut largest = fresh();
    largest.send_raw(&u32::MAX.to_be_bytes());
    assert!(to_the_end(&mut largest)[0]["Error"].is_object());

    for cut in [&[0][..], &[0, 0, 0], &[0, 0, 0, 12, b'"', b'L']] {
        let mut truncated = fresh();
        truncated.send_raw(cut);
        truncated.0.shutdown(Shutdown::Write).expect("open");
        let frames = to_the_end(&mut truncated);
        assert!(frames.iter().all(|frame| frame["Error"].is_object()) && frames.len() <= 1, "{frames:?}");
    }

    let mut http = fresh();
    http.send_raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(to_the_end(&mut http).iter().all(|frame| frame["Error"].is_object()), "a browser strayed in");

    let half_open: Vec<Management> = (0..20)
        .map(|_| {
            let mut half = fresh();
            half.send_raw(&[0, 0, 0, 100, b'"']);
            half
        })
        .collect();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..50 {
        let mut random = TcpStream::connect(running.management()).expect("a connection");
        let noise: Vec<u8> = (0..200)
            .map(|_| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                seed.to_le_bytes()[0]
            })
            .collect();
        // The server may close the connection while this is sent.
        let _ = random.write_all(&noise);
    }
    let id = running.id("counter");
    assert_eq!(management.ask(&json!("ListActors")), json!({ "ActorList": { "actors": [id] } }), "others go on");
    assert_eq!(fresh().request(&id, &json!({ "add": 1 })), Ok(json!({ "count": 1 })));
    drop(half_open);
    let names = || running.thread_names();
    eventually("their threads end", || {
        // They are joined when the next client connects.
        fresh().ask(&json!("ListActors"));
        (names().iter().filter(|name| name.starts_with("mgmt-")).count() <= 8).then_some(())
    });
    assert!(!_stage.log().contains("panicked"));
}

#[test]
fn answers_come_in_the_order_of_the_commands() {
    let (_stage, running, mut management) = counter();
    let id = running.id("counter");
    (0..200).for_each(|_| management.send_request(&id, &json!({ "add": 1 })));
    for count in 1..=200 {
        assert_eq!(management.receive_reply(), Ok(json!({ "count": count })));
    }
}

#[test]
fn subscribers_get_every_event_in_order_without_gaps_under_load() {
    let (stage, running, _) = counter();
    let id = running.id("counter");
    let address = running.http("counter");
    let (clients, requests) = (4, 250);
    let last = 3 + 2 * clients * requests - 1;
    let follow = |from: Option<u64>| {
        let mut management = Management::connect(running.management());
        management.send(&json!({ "SubscribeToActor": { "id": id, "from": from } }));
        assert!(management.receive().expect("an answer")["Subscribed"].is_object());
        let mut events = vec![management.event()];
        while events[events.len() - 1]["sequence"] != last {
            events.push(management.event());
        }
        events
    };
    let halfway = AtomicBool::new(false);
    let followed = std::thread::scope(|scope| {
        let early: Vec<_> = [Some(0), Some(2), None].map(|from| scope.spawn(move || follow(from))).into();
        // The early subscriptions exist before the load begins.
        eventually("they have subscribed", || {
            (running.thread_names().iter().filter(|name| name.starts_with("mgmt-")).count() >= 6).then_some(())
        });
        for client in 0..clients {
            let halfway = &halfway;
            scope.spawn(move || {
                let mut http = Http::connect(address);
                for at in 0..requests {
                    assert_eq!(http.ask("POST", "/increment", None).status, 200);
                    if client == 0 && at == requests / 2 {
                        halfway.store(true, Ordering::SeqCst);
                    }
                }
            });
        }
        eventually("it is under load", || halfway.load(Ordering::SeqCst).then_some(()));
        let late: Vec<_> = [Some(0), Some(100), None].map(|from| scope.spawn(move || follow(from))).into();
        early.into_iter().chain(late).map(|thread| thread.join().expect("every event")).collect::<Vec<_>>()
    });
    for events in &followed {
        let from = events[0]["sequence"].as_u64().expect("a number");
        are_a_chain(events, from);
    }
    let from: Vec<_> = followed.iter().map(|events| events[0]["sequence"].as_u64().expect("a number")).collect();
    assert_eq!((from[0], from[1], from[3], from[4]), (0, 2, 0, 100));
    assert!(from[5] > 3, "from now on");
    let exported = std::fs::read_to_string(running.export(&stage, "counter")).expect("a chain");
    let head: Value = serde_json::from_str(exported.lines().next().expect("a header")).expect("JSON");
    let newest = &followed[0][followed[0].len() - 1];
    assert_eq!(head["head"], hex::encode(bytes(&newest["hash"])));
}

#[test]
fn several_subscriptions_of_one_connection_do_not_disturb_each_other() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    let mut management = Management::connect(running.management());
    let mut other = Management::connect(running.management());
    let ids: Vec<String> = ["a", "b"].iter().map(|name| management.start(&stage.manifest(name, "probe", ""))).collect();
    for id in &ids {
        management.ask(&json!({ "SubscribeToActor": { "id": id } }));
    }
    for _ in 0..20 {
        ids.iter().for_each(|id| _ = other.request(id, &json!("count")).expect("an answer"));
    }
    let mut events = [Vec::new(), Vec::new()];
    while events.iter().any(|events| events.len() < 40) {
        let frame = management.receive().expect("an event");
        let at = ids.iter().position(|id| frame["ActorEvent"]["id"] == *id).expect("one of them");
        events[at].push(frame["ActorEvent"]["event"].clone());
    }
    events.iter().for_each(|events| are_a_chain(events, 3));
}

#[test]
fn a_subscription_outlives_a_restart_and_shows_the_end() {
    let (_stage, running, mut management) = counter();
    let id = running.id("counter");
    management.ask(&json!({ "SubscribeToActor": { "id": id, "from": 0 } }));
    running.say(&["restart", "counter"]);
    running.say(&["stop", "counter"]);
    let events: Vec<Value> = (0..6).map(|_| management.event()).collect();
    are_a_chain(&events, 0);
    let types: Vec<_> = events.iter().map(|event| event["event_type"].as_str().expect("text")).collect();
    let init = ["call ntwk:theater/actor.init", "return ntwk:theater/actor.init"];
    assert_eq!(types, ["started", init[0], init[1], "stopped", "started", "stopped"]);
    let mut late = Management::connect(running.management());
    late.ask(&json!({ "SubscribeToActor": { "id": id, "from": 4 } }));
    are_a_chain(&[late.event(), late.event()], 4);
}

#[test]
fn a_large_event_is_pushed_cut_with_its_true_length() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("probe", "probe", "")]);
    let id = running.id("probe");
    let mut management = Management::connect(running.management());
    management.ask(&json!({ "SubscribeToActor": { "id": id } }));
    let body = "x".repeat(3 << 20);
    assert_eq!(Http::connect(running.http("probe")).ask("POST", "/respond", Some(&body)).status, 500, "not a command");
    let event = management.event();
    assert_eq!(bytes(&event["data"]).len(), 1 << 20);
    assert!(event["data_length"].as_u64().is_some_and(|length| length > 3 << 20), "{}", event["data_length"]);
    assert!(management.event()["event_type"].as_str().is_some_and(|kind| kind.starts_with("refused ")));
}

#[test]
fn a_subscriber_that_does_not_read_is_dropped_without_slowing_the_actor() {
    let stage = Stage::new();
    let limits = "[limits]\nmemory_bytes = 268435456\n";
    let running =
        stage.run(&[&stage.http_manifest("probe", "probe", limits), &stage.manifest("counter", "counter", "")]);
    let (id, quick) = (running.id("probe"), running.id("counter"));
    let mut deaf = Management::connect(running.management());
    deaf.send(&json!({ "SubscribeToActor": { "id": id, "from": 0 } }));
    // This client's own commands wait while its socket is full; other clients' commands do not.
    let mut http = Http::connect(running.http("probe"));
    let body = json!({ "op": "echo", "value": "x".repeat(1 << 20) });
    (0..12).for_each(|_| assert_eq!(http.op(&body).status, 200));
    let mut other = Management::connect(running.management());
    // Until the server gives up on it, others are answered again and again. If they waited for it, the first of them
    // would be answered when it is dropped, and no second one would come before that.
    let mut answered = 0;
    eventually("it is dropped", || {
        other.request(&quick, &json!({ "add": 1 })).expect("an answer");
        assert_eq!(http.op(&json!("count")).status, 200);
        answered += 1;
        stage.log().contains("does not read").then_some(())
    });
    assert!(answered > 2, "{answered}");
    // The client can still read what it was sent; then the connection ends.
    let mut rest = Vec::new();
    let ended = deaf.0.read_to_end(&mut rest);
    assert!(ended.is_ok() || !rest.is_empty(), "{ended:?}");
    eventually("its threads end", || {
        Management::connect(running.management()).ask(&json!("ListActors"));
        (running.thread_names().iter().filter(|name| name.starts_with("mgmt-")).count() <= 8).then_some(())
    });
}

#[test]
fn a_connection_too_many_is_told_so_and_a_place_that_is_left_can_be_had() {
    let (_stage, running, mut management) = counter();
    // A client that has not sent a command would have to give way to others.
    management.ask(&json!("ListActors"));
    let mut held = Vec::new();
    let refused = loop {
        let mut one = Management::connect(running.management());
        let answer = one.receive_or_ask();
        if answer["Error"].is_object() {
            break answer;
        }
        held.push(one);
        assert!(held.len() <= 1_024, "there is a bound");
    };
    assert!(refused["Error"]["message"].as_str().is_some_and(|why| why.contains("1024")), "{refused}");
    assert!(held.len() > 900, "{}", held.len());
    assert!(management.ask(&json!("ListActors"))["ActorList"].is_object(), "whoever is in is served");
    drop(held);
    eventually("there is room again", || {
        let mut one = Management::connect(running.management());
        one.receive_or_ask()["ActorList"].is_object().then_some(())
    });
}

trait ReceiveOrAsk {
    /// Asks for the list; returns an error if the connection was refused, even before it could ask.
    fn receive_or_ask(&mut self) -> Value;
}

impl ReceiveOrAsk for Management {
    fn receive_or_ask(&mut self) -> Value {
        let frame = b"\0\0\0\x0c\"ListActors\"";
        // Refused connections are closed at once, but their last frame can still be read.
        let _ = self.0.write_all(frame);
        self.receive().unwrap_or_else(|| json!({ "Error": { "message": "closed: 1024" } }))
    }
}

#[test]
fn the_server_is_not_reachable_from_elsewhere() {
    let stage = Stage::new();
    let data = stage.data_dir();
    let run = support::theater(&["run", "--listen", "0.0.0.0:0", "--data-dir", data.to_str().expect("a path")], None);
    assert_eq!(run.status.code(), Some(1));
    let why = support::text(&run.stderr);
    assert!(why.contains("0.0.0.0") && why.contains("127.0.0.1"), "{why}");
}

#[test]
fn a_management_port_that_is_taken_is_named_with_a_remedy() {
    let (_stage, running, _) = counter();
    let other = Stage::new();
    let (listen, data) = (running.management().to_string(), other.data_dir());
    let run = support::theater(&["run", "--listen", &listen, "--data-dir", data.to_str().expect("a path")], None);
    assert_eq!(run.status.code(), Some(1));
    let why = support::text(&run.stderr);
    assert!(why.contains(&listen) && why.contains("--listen"), "{why}");
    assert!(!other.data_dir().join("log").exists(), "and nothing was begun");
}

#[test]
fn a_metrics_port_that_is_taken_is_named_with_a_remedy_before_any_actor_begins() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = taken.local_addr().expect("its address").to_string();
    let stage = Stage::new();
    let counter = stage.manifest("counter", "counter", "");
    let refused = stage.run_with(&[&counter], &["--metrics-listen", &address]).err().expect("the port is taken");
    let said = refused + &stage.log();
    assert!(said.contains(&address) && said.contains("--metrics-listen"), "{said}");
    assert!(!stage.data_dir().join("log").exists(), "and nothing was begun");
}

#[test]
fn a_command_without_a_runtime_says_how_to_start_one() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("an address");
    for args in [&["list"][..], &["state", "x"], &["stop", "x"], &["events", "x"], &["start", "x.toml"]] {
        let output = support::theater(args, Some(nobody));
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let why = support::text(&output.stderr);
        assert!(why.contains(&nobody.to_string()) && why.contains("theater run"), "{args:?}: {why}");
    }
}
