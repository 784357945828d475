//! Tests of `[config]`: the plain values of a manifest, as an actor reads them.

mod support;

use serde_json::{Value, json};
use support::{Stage, Theater, data_of, verifies_and_replays};

const GET: &str = "host-call ntwk:theater/config.get";

fn ask(running: &Theater, key: &str) -> Value {
    running.request("configured", &json!({ "op": "config", "key": key })).expect("an answer")["ok"].clone()
}

#[test]
fn an_actor_reads_every_kind_of_value_that_its_manifest_has() {
    let stage = Stage::new();
    let config = "[config]\ntext = \"ä \\\"b\\\"\"\nnumber = -3\nhalf = 0.5\non = true\nlist = [1, \"x\", [2]]\n\"a.b\" = 1\n\
                  [config.table]\nz = 1\na = { b = [] }\n";
    let running = stage.run(&[&stage.manifest("configured", "configured", config)]);
    for (key, value) in [
        ("text", json!("ä \"b\"")),
        ("number", json!(-3)),
        ("half", json!(0.5)),
        ("on", json!(true)),
        ("list", json!([1, "x", [2]])),
        ("table", json!({ "z": 1, "a": { "b": [] } })),
        ("a.b", json!(1)),
        ("table.z", Value::Null),
        ("none", Value::Null),
        ("", Value::Null),
    ] {
        assert_eq!(ask(&running, key), value, "{key}");
    }
    let wrong = running.request("configured", &json!({ "op": "number", "key": "text" })).expect("an answer");
    let why = wrong["err"].as_str().unwrap_or_else(|| panic!("{wrong}"));
    assert!(why.starts_with("the value of \"text\" in [config] is not of type u32: "), "{why}");
    let events = running.events("configured");
    let read = data_of(&events, GET);
    assert_eq!((&read[5]["params"], &read[5]["result"]), (&json!(["table"]), &json!({ "z": 1, "a": { "b": [] } })));
    verifies_and_replays(&running.export(&stage, "configured"));
}

#[test]
fn a_manifest_without_values_has_none() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("configured", "configured", "")]);
    assert_eq!(ask(&running, "text"), Value::Null);
}

#[test]
fn a_manifest_that_has_changed_gives_its_new_values_and_the_chain_replays() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("configured", "configured", "[config]\nkey = \"old\"\ngone = 1\n")]);
    assert_eq!((ask(&running, "key"), ask(&running, "gone")), (json!("old"), json!(1)));
    let manifest = stage.manifest("configured", "configured", "[config]\nkey = \"new\"\n");
    running.say(&["restart", "configured"]);
    assert_eq!(ask(&running, "key"), json!("old"), "a restart runs what was started");
    running.shut_down();
    let running = stage.run(&[&manifest]);
    assert_eq!((ask(&running, "key"), ask(&running, "gone")), (json!("new"), Value::Null));
    verifies_and_replays(&running.export(&stage, "configured"));
}

#[test]
fn a_key_that_is_longer_than_any_makes_the_actor_fail_and_is_not_recorded() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("configured", "configured", "")]);
    let longest = running.request("configured", &json!({ "op": "long-key", "n": 256 }));
    assert_eq!(longest, Ok(Value::Null));
    let failed = running.request("configured", &json!({ "op": "long-key", "n": 257 })).expect_err("too long");
    assert!(failed.contains("limit: asked for a key of 257 bytes: a key of [config] has at most 256"), "{failed}");
    running.until("configured", "failed");
    assert!(!running.say(&["events", "configured", "--json"]).contains(&"k".repeat(257)));
}

#[test]
fn what_cannot_be_a_plain_value_is_refused_by_its_line() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    // With {"a":""} around it.
    let text = |bytes: usize| format!("[config]\na = {:?}\n", "x".repeat(bytes - 8));
    let long = text(64 * 1024 + 1);
    let key = format!("[config]\n{} = 1\n", "k".repeat(257));
    for (config, why) in [
        ("config = 1\n", "configured.toml:3: \"config\" is a table: [config]"),
        ("[[config]]\n", "configured.toml:3: \"config\" is a table: [config]"),
        (
            "[config]\nday = 1979-05-27\n",
            "configured.toml:4: \"day\" of [config] has a date or time, which JSON has not",
        ),
        (
            "[config]\nlist = [{ a = nan }]\n",
            "configured.toml:4: \"list\" of [config] has nan or inf, which JSON has not",
        ),
        ("[config]\nbig = 9223372036854775808\n", "configured.toml:4: \"big\" of [config]: "),
        (&long, "configured.toml:3: [config] has 65537 bytes as JSON; the most is 65536"),
        (&key, "configured.toml:4: a key of [config] has 257 bytes; the most is 256"),
        ("[[handlers]]\ntype = \"config\"\nconfig = { a = 1 }\n", "unknown key \"a\" of handler \"config\""),
    ] {
        let refused = running.start(&stage.manifest("configured", "configured", config)).expect_err(why);
        assert!(refused.contains(why), "{refused}");
    }
    running.start(&stage.manifest("configured", "configured", &text(64 * 1024))).expect("it is just short enough");
}
