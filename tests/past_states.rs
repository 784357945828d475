//! Tests of the states of the past, and of the differences between two: from a running runtime, from a data directory, and from a
//! chain file.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use support::{Management, Stage, Theater, text, theater};

/// A counter that has counted to 1, 3 and 6, was killed and started again, and has counted to 10.
fn counted(stage: &Stage) -> Theater {
    let manifest = stage.manifest("counter", "counter", "");
    let add = |running: &Theater, n: u64| _ = running.request("counter", &json!({ "add": n })).expect("an answer");
    let running = stage.run(&[&manifest]);
    (1..=3).for_each(|n| add(&running, n));
    running.kill();
    let running = stage.run(&[&manifest]);
    add(&running, 4);
    running
}

/// What the chain itself says of the state after each event.
fn named(running: &Theater, actor: &str) -> Vec<Value> {
    let mut state = Value::Null;
    let events = running.events(actor).into_iter().map(|event| {
        if event["data"]["state"].is_object() {
            state = event["data"]["state"].clone();
        }
        state.clone()
    });
    events.collect()
}

/// Runs a command that needs no runtime, for JSON.
fn without_runtime(args: &[&str]) -> Value {
    let output = theater(&[args, &["--json"]].concat(), None);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn the_state_after_any_event_is_the_same_from_a_runtime_a_directory_and_a_file() {
    let stage = Stage::new();
    let running = counted(&stage);
    let file = running.export(&stage, "counter");
    let (file, dir) = (file.to_str().expect("a path"), stage.data_dir());
    let dir = dir.to_str().expect("a path");
    let expected = named(&running, "counter");
    for (at, state) in expected.iter().enumerate() {
        let at = at.to_string();
        let expected = json!({ "state": state });
        assert_eq!(running.json(&["state", "counter", "--at", &at]), expected, "event {at}");
        assert_eq!(without_runtime(&["state", "counter", "--at", &at, "--data-dir", dir]), expected, "event {at}");
        assert_eq!(without_runtime(&["state", file, "--at", &at]), expected, "event {at}");
    }
    assert_eq!(without_runtime(&["state", file]), json!({ "state": { "count": 10 } }), "the newest");
    let none = running.refused(&["state", "counter", "--at", "4711"]);
    let last = format!("event 4711 is not on the chain: its last is event {}", expected.len() - 1);
    assert!(none.contains(&last), "{none}");
    let none = text(&theater(&["state", file, "--at", "4711"], None).stderr);
    assert!(none.contains(&last), "{none}");
}

#[test]
fn a_large_state_that_is_not_stored_any_more_is_computed_again() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    running.request("probe", &json!({ "op": "state-bytes", "n": 20_000 })).expect("an answer");
    let large = running.last_event("probe")["sequence"].as_u64().expect("a number");
    for n in [5_000_000, 6_000] {
        running.request("probe", &json!({ "op": "state-bytes", "n": n })).expect("an answer");
    }
    let file = running.export(&stage, "probe");
    let (dir, last) = (stage.data_dir(), large + 4);
    let length = |state: &Value| state["state"].to_string().len();
    for at in [large, large + 1, large + 2, last] {
        let at = at.to_string();
        let state = running.json(&["state", "probe", "--at", &at]);
        let there = ["state", "probe", "--at", &at, "--data-dir", dir.to_str().expect("a path")];
        assert!(without_runtime(&there) == state, "event {at}, from the directory");
        assert!(without_runtime(&["state", file.to_str().expect("a path"), "--at", &at]) == state, "event {at}");
    }
    let at = |at: u64| running.json(&["state", "probe", "--at", &at.to_string()]);
    assert!(length(&at(large)) >= 20_000 && length(&at(large)) < 30_000);
    assert_eq!(at(large + 1), at(large), "within a transition it is the state before it");
    assert!(length(&at(large + 2)) >= 5_000_000, "it comes in several pieces");
    assert!(length(&at(last)) < 10_000);
}

#[test]
fn a_state_that_is_gone_is_refused_with_the_event_and_the_remedy() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    for n in [5_000, 6_000] {
        running.request("probe", &json!({ "op": "state-bytes", "n": n })).expect("an answer");
    }
    let file = running.export(&stage, "probe");
    running.say(&["restart", "probe"]);
    running.request("probe", &json!("count")).expect("an answer");
    running.say(&["prune", "probe", "--before", "7"]);
    let dir = stage.data_dir();
    for why in [
        running.refused(&["state", "probe", "--at", "4"]),
        text(&theater(&["state", "probe", "--at", "4", "--data-dir", dir.to_str().expect("a path")], None).stderr),
        running.refused(&["diff", "probe", "4", "8"]),
    ] {
        assert!(why.contains("the state at event 4 cannot be had: the data of event "), "{why}");
        assert!(why.contains("an export or a backup from before the drop has it still"), "{why}");
    }
    let kept = without_runtime(&["state", file.to_str().expect("a path"), "--at", "4"]);
    assert!(kept["state"].to_string().len() >= 5_000, "the export has it");
    assert_eq!(running.json(&["state", "probe", "--at", "0"]), json!({ "state": null }), "what a start names stays");
}

#[test]
fn the_protocol_gives_a_past_state_in_pieces_and_says_of_which_event() {
    let stage = Stage::new();
    let running = counted(&stage);
    let (id, mut management) = (running.id("counter"), Management::connect(running.management()));
    let mut ask = |at: Value, offset: u64| {
        management.ask(&json!({ "GetStateBytes": { "id": id, "offset": offset, "at": at } }))["Bytes"].clone()
    };
    let data = |bytes: &Value| BASE64.decode(bytes["data"].as_str().expect("base64")).expect("base64");
    let past = ask(json!(4), 0);
    assert_eq!((data(&past), &past["size"], &past["at"]), (b"{\"count\":1}".to_vec(), &json!(11), &json!(4)));
    assert_eq!(data(&ask(json!(4), 9)), b"1}");
    let none = ask(json!(0), 0);
    assert_eq!((&none["no_state"], &none["size"], &none["at"]), (&json!(true), &json!(0), &json!(0)));
    let newest = ask(Value::Null, 0);
    assert_eq!((data(&newest), newest.get("at")), (b"{\"count\":10}".to_vec(), None), "as without the field");
    let why = management.error(&json!({ "GetStateBytes": { "id": id, "offset": 0, "at": 99 } }));
    assert!(why.contains("event 99 is not on the chain"), "{why}");
    assert!(
        management.error(&json!({ "GetStateBytes": { "id": id, "offset": 0, "at": -1 } })).contains("not a command")
    );
}

#[test]
fn the_differences_between_two_states_are_listed_by_their_places() {
    let stage = Stage::new();
    let running = counted(&stage);
    assert_eq!(running.say(&["diff", "counter", "2", "6"]), "/count  0 -> 3");
    assert_eq!(running.say(&["diff", "counter", "6", "2"]), "/count  3 -> 0");
    assert_eq!(running.say(&["diff", "counter", "6", "7"]), "the state after event 7 is that after event 6");
    assert_eq!(running.say(&["diff", "counter", "0", "2"]), "(the whole state)  (nothing) -> {\"count\":0}");
    let expected = json!({
        "before": 2, "after": 6, "more": 0, "differences": [{ "pointer": "/count", "before": 0, "after": 3 }],
    });
    assert_eq!(running.json(&["diff", "counter", "2", "6"]), expected);
    let file = running.export(&stage, "counter");
    assert_eq!(without_runtime(&["diff", file.to_str().expect("a path"), "2", "6"]), expected);
    let nothing = running.json(&["diff", "counter", "0", "2"])["differences"][0].clone();
    assert_eq!(nothing, json!({ "pointer": "", "after": { "count": 0 } }), "a side that has nothing lacks its key");
    assert!(running.refused(&["diff", "counter", "2", "4711"]).contains("event 4711 is not on the chain"));
}

#[test]
fn of_states_that_are_not_json_sizes_and_hashes_are_shown() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    let raw = json!({ "op": "raw-state", "text": "\u{1b}[2J first" });
    running.request("probe", &raw).expect("an answer");
    let shown = running.say(&["diff", "probe", "2", "4"]);
    assert!(shown.contains("the states are not JSON; they differ"), "{shown}");
    assert!(shown.contains("after event 2: ") && shown.contains("after event 4: 10 bytes, SHA-1 "), "{shown}");
    let json = running.json(&["diff", "probe", "2", "4"]);
    assert_eq!((&json["not_json"][1]["bytes"], &json["same"]), (&json!(10), &json!(false)));
}

/// A server of an earlier version ignores the field `at`, and answers with the newest state.
#[test]
fn the_newest_state_of_an_earlier_version_is_not_taken_for_one_of_the_past() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let actor = json!({
        "id": id, "name": "counter", "parent": null, "status": "running", "failure": null, "incarnation": 1,
        "mailbox_depth": 0, "addresses": [], "manifest": "counter.toml", "since_ms": 0,
    });
    let bytes = json!({ "Bytes": { "digest": id, "size": 2, "offset": 0, "data": BASE64.encode("{}") } });
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        for answer in [json!({ "ActorStatus": { "actor": actor } }), bytes] {
            let mut length = [0; 4];
            stream.read_exact(&mut length).expect("a frame");
            let mut command = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut command).expect("a frame");
            let answer = answer.to_string();
            let length = u32::try_from(answer.len()).expect("a short answer").to_be_bytes();
            stream.write_all(&[&length, answer.as_bytes()].concat()).expect("sent");
        }
    });
    let output = theater(&["state", "counter", "--at", "4"], Some(address));
    let why = text(&output.stderr);
    assert!(why.contains("the runtime is of an earlier version and does not show past states"), "{why}");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
    server.join().expect("it answered");
}
