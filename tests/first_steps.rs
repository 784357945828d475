//! A test of a newcomer's first steps: run, ask over HTTP, look at the history, export it, verify it, replay it.

mod support;

use serde_json::json;
use support::{Http, Stage, text, theater};

#[test]
fn an_actor_answers_over_http_and_its_history_verifies_and_replays() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
    let mut http = Http::connect(running.http("counter"));
    assert_eq!(http.ask("POST", "/increment", None).json(), json!({ "count": 1 }));
    assert_eq!(http.ask("GET", "/", None).json(), json!({ "count": 1 }));

    assert_eq!(running.say(&["state", "counter"]), "{\"count\":1}");
    let chain = stage.path().join("counter.chain");
    let chain = chain.to_str().expect("a path");
    running.say(&["export", "counter", "-o", chain]);
    running.shut_down();

    let verified = theater(&["verify", chain, "--json"], None);
    assert!(verified.status.success(), "{}", text(&verified.stderr));
    let replayed = theater(&["replay", chain, "--json"], None);
    assert!(replayed.status.success(), "{}", text(&replayed.stderr));
    let head = |output: &[u8]| serde_json::from_slice::<serde_json::Value>(output).expect("JSON")["head"].clone();
    assert_eq!(head(&verified.stdout), head(&replayed.stdout));
}

#[test]
fn the_chain_says_what_happened_in_order() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
    Http::connect(running.http("counter")).ask("POST", "/increment", None);
    let expected = [
        "started",
        "call ntwk:theater/actor.init",
        "return ntwk:theater/actor.init",
        "call ntwk:theater/http-server.handle-request",
        "return ntwk:theater/http-server.handle-request",
    ];
    assert_eq!(running.event_types("counter"), expected);
    assert_eq!(running.events("counter")[4]["data"]["state"], json!({ "count": 1 }));
}

#[test]
fn a_restarted_runtime_goes_on_where_it_was() {
    let stage = Stage::new();
    let manifest = stage.http_manifest("counter", "counter", "");
    let running = stage.run(&[&manifest]);
    Http::connect(running.http("counter")).ask("POST", "/increment", None);
    let before = running.json(&["status", "counter"]);
    running.shut_down();

    let running = stage.run(&[&manifest]);
    assert_eq!(Http::connect(running.http("counter")).ask("POST", "/increment", None).json(), json!({ "count": 2 }));
    let after = running.json(&["status", "counter"]);
    assert_eq!((&after["id"], &after["incarnation"]), (&before["id"], &json!(2)));
    assert_eq!(running.json(&["list"]).as_array().map(Vec::len), Some(1), "no second actor of the same name");
}
