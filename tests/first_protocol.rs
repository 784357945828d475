//! Tests of the first management protocol, that of `colinrozzi/theater` in February 2025: its clients get the answers
//! they know.

mod support;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use support::{Management, Stage};

/// Bytes as arrays of numbers, as in that protocol.
fn numbers(text: &str) -> Value {
    json!(text.as_bytes())
}

fn from_numbers(value: &Value) -> Vec<u8> {
    serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"))
}

#[test]
fn messages_are_arrays_of_numbers_both_ways() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("counter", "counter", "")]);
    let mut management = Management::connect(running.management());
    let id = running.id("counter");
    let answer = management.ask(&json!({ "RequestActorMessage": { "id": id, "data": numbers("{\"add\":2}") } }));
    assert_eq!(answer, json!({ "RequestedMessage": { "id": id, "message": numbers("{\"count\":2}") } }));
    let sent = management.ask(&json!({ "SendActorMessage": { "id": id, "data": numbers("{\"add\":3}") } }));
    assert_eq!(sent, json!({ "SentMessage": { "id": id } }));
    assert_eq!(running.json(&["state", "counter"])["state"], json!({ "count": 5 }));
    running.say(&["stop", "counter"]);
    for (command, what) in [
        (json!({ "RequestActorMessage": { "id": "x", "data": [] } }), "no actor has the address"),
        (json!({ "RequestActorMessage": { "id": "a//b", "data": [] } }), "not an address"),
        (json!({ "RequestActorMessage": { "id": id, "data": [256] } }), "not a command"),
        (json!({ "RequestActorMessage": { "id": id, "data": [1] } }), "is stopped"),
        (json!({ "SendActorMessage": { "id": id, "data": [1] } }), "is stopped"),
    ] {
        let why = management.error(&command);
        assert!(why.contains(what), "{command}: {why}");
    }
}

#[test]
fn a_status_is_one_of_three_words() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("counter", "counter", "")]);
    let mut management = Management::connect(running.management());
    let id = running.id("counter");
    let status = json!({ "GetActorStatus": { "id": id } });
    assert_eq!(management.ask(&status), json!({ "ActorStatus": { "id": id, "status": "Running" } }));
    running.say(&["stop", &id]);
    assert_eq!(management.ask(&status), json!({ "ActorStatus": { "id": id, "status": "Stopped" } }));
    stage.file("refusal.json", json!({ "init": { "op": "refuse", "message": "no" } }).to_string());
    let failing = stage.manifest("failing", "probe", "init_state = \"refusal.json\"\n");
    management.error(&json!({ "StartActor": { "manifest": failing } }));
    let failed = running.id("failing");
    let status = management.ask(&json!({ "GetActorStatus": { "id": failed } }));
    assert_eq!(status, json!({ "ActorStatus": { "id": failed, "status": "Failed" } }));
    let ours = management.ask(&json!({ "ActorStatus": { "id": failed } }));
    assert_eq!(ours["ActorStatus"]["actor"]["status"], "failed", "beside the command of here");
}

#[test]
fn without_from_all_events_are_one_answer_and_bytes_are_numbers() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("counter", "counter", "")]);
    let mut management = Management::connect(running.management());
    let id = running.id("counter");
    management.request(&id, &json!({ "add": 2 })).expect("an answer");
    let answer = management.ask(&json!({ "GetActorEvents": { "id": id } }));
    assert_eq!(answer["ActorEvents"].as_object().map(|fields| fields.len()), Some(2), "id and events: {answer}");
    let events = answer["ActorEvents"]["events"].as_array().expect("events");
    let page = management.ask(&json!({ "GetActorEvents": { "id": id, "from": 0 } }))["ActorEvents"].clone();
    let paged = page["events"].as_array().expect("events");
    assert_eq!((events.len(), paged.len(), page["next"].as_u64()), (5, 5, Some(5)));
    for (event, paged) in events.iter().zip(paged) {
        assert_eq!(hex::encode(from_numbers(&event["hash"])), paged["hash"].as_str().expect("text"));
        assert_eq!(BASE64.encode(from_numbers(&event["data"])), paged["data"].as_str().expect("text"));
        assert_eq!((&event["event_type"], &event["timestamp"]), (&paged["event_type"], &paged["timestamp"]));
    }
    assert_eq!((&events[0]["parent_hash"], &events[1]["parent_hash"]), (&Value::Null, &events[0]["hash"]));
}

#[test]
fn a_history_that_does_not_fit_a_frame_is_refused_with_how_to_get_it() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    let mut management = Management::connect(running.management());
    let id = running.id("probe");
    for _ in 0..6 {
        management.request(&id, &json!({ "op": "echo", "value": "x".repeat(900_000) })).expect("an answer");
    }
    let why = management.error(&json!({ "GetActorEvents": { "id": id } }));
    assert!(why.contains("frame") && why.contains("give \"from\" and \"limit\""), "{why}");
    let first = management.ask(&json!({ "GetActorEvents": { "id": id, "limit": 3 } }));
    assert_eq!(first["ActorEvents"]["events"].as_array().map(Vec::len), Some(3));
}

#[test]
fn metrics_have_the_names_those_clients_show_and_ours_beside() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("counter", "counter", "")]);
    let mut management = Management::connect(running.management());
    let id = running.id("counter");
    management.request(&id, &json!({ "add": 2 })).expect("an answer");
    let metrics = management.ask(&json!({ "GetActorMetrics": { "id": id } }))["ActorMetrics"].clone();
    assert_eq!(metrics["id"], json!(id));
    let metrics = &metrics["metrics"];
    let operations = &metrics["operation_metrics"];
    assert_eq!((&operations["total_operations"], &operations["failed_operations"]), (&json!(2), &json!(0)));
    let time = |key: &str| operations[key].as_u64().unwrap_or_else(|| panic!("{key}: {metrics}"));
    assert!(time("min_processing_time") <= time("max_processing_time"), "{metrics}");
    assert!(time("total_processing_time") <= 2 * time("max_processing_time"), "{metrics}");
    assert!(metrics["resource_metrics"]["memory_usage"].as_u64().is_some_and(|bytes| bytes > 0), "{metrics}");
    assert_eq!(metrics["resource_metrics"]["operation_queue_size"], 0);
    assert!(metrics["start_time"].is_u64() && metrics["uptime_secs"].is_u64(), "{metrics}");
    assert_eq!((&metrics["calls"], &metrics["chain_length"]), (&json!(2), &json!(5)));
}

#[test]
fn an_initial_state_is_refused_rather_than_ignored() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    let mut management = Management::connect(running.management());
    let manifest = stage.manifest("counter", "counter", "");
    let start = |state: Value| json!({ "StartActor": { "manifest": manifest, "initial_state": state } });
    let none = management.ask(&start(Value::Null));
    assert!(none["ActorStarted"]["id"].is_string(), "null is none: {none}");
    let why = management.error(&start(numbers("{}")));
    assert!(why.contains("\"init_state\" of its manifest"), "{why}");
}
