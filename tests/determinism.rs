//! What a program in TypeScript or Python takes from outside, and in which order its language gives its keys: a chain replays, in a
//! new process, after a kill, after a prune, and as a fork.

mod support;
#[path = "support/languages.rs"]
mod projects;

use std::collections::BTreeSet;
use std::path::Path;

use projects::{Language, Python, TypeScript, logged};
use serde_json::{Value, json};
use support::{Stage, Theater, text, theater, verifies_and_replays};

fn chance(running: &Theater, actor: &str) -> Value {
    running.request(actor, &json!("chance")).unwrap_or_else(|why| panic!("{actor}: {why}"))
}

/// The journal of a directory verifies, and each of its chains replays.
fn all_of_it_replays(data_dir: &Path) {
    for command in ["verify", "replay"] {
        let done = theater(&[command, "--journal", data_dir.to_str().expect("UTF-8"), "--json"], None);
        assert!(done.status.success(), "{command}: {}{}", text(&done.stdout), text(&done.stderr));
    }
}

/// Draws in three runs of the runtime, of which two are killed. `drawn` names what differs each time, `ordered` what never does.
fn draws_the_same_again(language: Language, drawn: &[&str], ordered: &[&str]) {
    let Some(manifest) = language.built("counter.toml") else { return };
    let stage = Stage::new();
    let (mut draws, mut orders) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let running = stage.run(&[&manifest]);
        draws.extend([chance(&running, "counter"), chance(&running, "counter")]);
        orders.push(running.request("counter", &json!("keys")).expect("an answer"));
        running.kill();
        all_of_it_replays(&stage.data_dir());
    }
    for name in drawn {
        let values: BTreeSet<String> = draws.iter().map(|it| it[name].to_string()).collect();
        assert_eq!(values.len(), draws.len(), "{name} differs each time: {draws:?}");
    }
    for name in ordered {
        assert!(
            !orders[0][name].is_null() && orders.iter().all(|it| it[name] == orders[0][name]),
            "{name}: {orders:?}"
        );
    }

    let running = stage.run(&[&manifest]);
    let before = running.request("counter", &json!({ "add": 5 })).expect("an answer");
    let last = running.last_event("counter")["sequence"].to_string();
    running.say(&["fork", "counter", "--at", &last, "--name", "twin"]);
    assert_eq!(running.request("twin", &json!("get")), Ok(before.clone()));
    assert_ne!(chance(&running, "twin")[drawn[0]], chance(&running, "counter")[drawn[0]]);
    let last = running.last_event("counter")["sequence"].to_string();
    running.say(&["prune", "counter", "--before", &last]);
    assert_eq!(running.request("counter", &json!("get")), Ok(before.clone()));
    chance(&running, "counter");
    running.kill();
    all_of_it_replays(&stage.data_dir());
    let running = stage.run(&[&manifest]);
    assert_eq!(running.request("counter", &json!("get")), Ok(before));
    let chains = ["counter", "twin"].map(|actor| running.export(&stage, actor));
    running.shut_down();
    for chain in chains {
        verifies_and_replays(&chain);
    }
}

#[test]
fn an_actor_in_typescript_draws_and_orders_the_same_again() {
    let drawn = ["mathRandom", "randomValues", "uuid"];
    draws_the_same_again(TypeScript, &drawn, &["object", "map", "set"]);
}

#[test]
fn an_actor_in_python_draws_and_orders_the_same_again() {
    draws_the_same_again(Python, &["random", "secrets", "uuid"], &["dict", "set", "hash"]);
}

/// The lines that an actor has logged since it was asked.
fn lines_after(running: &Theater, message: &Value) -> Vec<String> {
    let before = logged(running, "counter").len();
    running.request("counter", message).expect_err("failed");
    running.until("counter", "running");
    logged(running, "counter").split_off(before)
}

#[test]
fn an_exception_in_typescript_is_logged_with_the_files_and_lines_of_the_sources() {
    let Some(manifest) = TypeScript.built("counter.toml") else { return };
    let source = std::fs::read_to_string(TypeScript.project().join("src/main.ts")).expect("the source");
    let line = source.lines().position(|line| line.contains("crashed on purpose")).expect("it crashes") + 1;
    let stage = Stage::new();
    let running = stage.run(&[&manifest]);
    let lines = lines_after(&running, &json!("crash"));
    assert_eq!(lines[0], "uncaught TypeError: crashed on purpose");
    assert!(lines[1].contains("handleRequest") && lines[1].contains(&format!("(src/main.ts:{line})")), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains(".theater/")), "the library is left out: {lines:?}");
    let events = running.events("counter");
    let failed = events.iter().rfind(|event| event["event_type"] == "failed").expect("a failure");
    let detail = failed["data"]["detail"].as_str().expect("text");
    assert!(detail.starts_with(&format!("{}\n{}", lines[0], lines[1])), "the failure says it too: {detail}");

    let lines = lines_after(&running, &json!("wait"));
    assert!(lines[0].contains("a promise that nothing will settle"), "{lines:?}");
    let lines = lines_after(&running, &json!("fetch"));
    assert!(lines[0].contains("fetch needs the handler \"http-client\""), "{lines:?}");
}

#[test]
fn an_exception_in_python_is_logged_with_the_files_and_lines_of_the_sources() {
    let Some(manifest) = Python.built("counter.toml") else { return };
    let source = std::fs::read_to_string(Python.project().join("src/main.py")).expect("the source");
    let line = source.lines().position(|line| line.contains("crashed on purpose")).expect("it crashes") + 1;
    let stage = Stage::new();
    let running = stage.run(&[&manifest]);
    let lines = lines_after(&running, &json!("crash"));
    let wanted = format!("main.py\", line {line}, in handle_request");
    assert!(lines.iter().any(|it| it.contains(&wanted)), "{wanted}: {lines:?}");
    assert!(lines.iter().any(|it| it.contains("TypeError: crashed on purpose")), "{lines:?}");
    let events = running.events("counter");
    let failed = events.iter().rfind(|event| event["event_type"] == "failed").expect("a failure");
    let detail = failed["data"]["detail"].as_str().expect("text");
    assert!(detail.contains(&wanted) && detail.contains("TypeError: crashed on purpose"), "{detail}");

    let before = running.events("counter").len();
    assert_eq!(running.request("counter", &json!("log")), Ok(Value::Null));
    assert_eq!(logged(&running, "counter").last().map(String::as_str), Some("WARNING counter: counted 0"));
    let asked = running.event_types("counter").split_off(before);
    assert!(!asked.iter().any(|it| it.contains("clock")), "a line of logging asks for no time: {asked:?}");
}
