//! Tests of commands about several actors: names and patterns, the list before anything is done, and what became of each.

mod support;

use serde_json::{Value, json};
use support::{Stage, Theater, text};

const SUPERVISOR: &str = "[[handlers]]\ntype = \"supervisor\"\n";

/// A root `home` with the children `alice`, `bob` and `carol`, and a root `counter`.
fn home() -> (Stage, Theater) {
    let stage = Stage::new();
    for name in ["probe", "nursery"] {
        stage.copy_component(name, name);
    }
    stage.manifest_at("child", "probe.wasm".as_ref(), "");
    let home = stage.manifest_at("home", "nursery.wasm".as_ref(), SUPERVISOR);
    let running = stage.run(&[&home, &stage.manifest("counter", "counter", "")]);
    for label in ["alice", "bob", "carol"] {
        let spawn = json!({ "op": "spawn-as", "manifest": "child.toml", "label": label });
        running.request("home", &spawn).expect("it is spawned");
    }
    (stage, running)
}

fn statuses(running: &Theater) -> Vec<String> {
    ["home/alice", "home/bob", "home/carol"].map(|actor| running.status(actor)).to_vec()
}

#[test]
fn where_nobody_can_be_asked_several_actors_are_listed_and_nothing_is_done() {
    let (_stage, running) = home();
    let output = running.cli(&["stop", "home/*"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("stop these 3 actors, and everything below them:") && said.contains("--yes"), "{said}");
    for name in ["home/alice", "home/bob", "home/carol"] {
        assert!(said.contains(&format!("running    {name}")), "{said}");
    }
    assert_eq!(statuses(&running), ["running"; 3]);
    running.shut_down();
}

#[test]
fn with_yes_each_actor_that_is_meant_is_changed_and_named() {
    let (_stage, running) = home();
    let said = running.say(&["pause", "home/*", "--yes"]);
    assert_eq!(said.lines().filter(|line| line.starts_with("paused ")).count(), 3, "{said}");
    // Those that are paused already are left out, and one is done without a question.
    running.say(&["resume", "home/bob"]);
    let paused = running.json(&["pause", "home/*"]);
    assert_eq!(paused, json!({ "paused": [running.id("home/bob")], "refused": [] }));
    let resumed = running.json(&["resume", "home/alice", "*o*", "--yes"]);
    assert_eq!(resumed["resumed"].as_array().map(Vec::len), Some(3), "bob and carol by their labels: {resumed}");
    let why = running.refused(&["resume", "home/*", "--yes"]);
    assert!(why.contains("of the actors that match home/*, there is none to resume"), "{why}");
    let stopped = running.json(&["stop", "home/alice", "home/bob", "home/alice", "--yes"]);
    assert_eq!(stopped["stopped"].as_array().map(Vec::len), Some(2));
    assert_eq!(statuses(&running), ["stopped", "stopped", "running"]);
    let restarted = running.json(&["restart", "home/?????", "--yes"]);
    assert_eq!(restarted["restarted"].as_array().map(Vec::len), Some(2), "alice and carol: {restarted}");
    assert_eq!(statuses(&running), ["running", "stopped", "running"]);
    running.shut_down();
}

#[test]
fn a_name_of_nobody_and_a_pattern_without_a_match_are_errors_before_anything_is_done() {
    let (_stage, running) = home();
    assert!(running.refused(&["stop", "counter", "nobody", "--yes"]).contains("no actor is called \"nobody\""));
    assert!(running.refused(&["stop", "counter", "nowhere/*", "--yes"]).contains("no actor matches nowhere/*"));
    assert_eq!(running.status("counter"), "running");
    running.shut_down();
}

#[test]
fn who_is_below_another_goes_with_it_and_what_is_refused_is_named() {
    let (_stage, running) = home();
    let stopped = running.json(&["stop", "**", "--yes"]);
    assert_eq!(stopped["stopped"].as_array().map(Vec::len), Some(2), "the roots: {stopped}");
    assert_eq!(statuses(&running), ["stopped"; 3]);
    running.say(&["restart", "counter"]);
    let output = running.cli(&["forget", "home/alice", "counter", "--yes", "--json"]);
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), said["forgotten"].as_array().map(Vec::len)), (Some(1), Some(1)));
    assert!(said["refused"][0]["why"].as_str().is_some_and(|why| why.contains("has not ended")), "{said}");
    let forgotten = running.json(&["forget", "**", "--yes"]);
    assert_eq!(forgotten["forgotten"].as_array().map(Vec::len), Some(1), "home, with its children: {forgotten}");
    let left = running.json(&["list"]);
    assert_eq!(left.as_array().map(Vec::len), Some(1), "the counter: {left}");
    running.shut_down();
}

#[test]
fn a_prune_of_several_says_first_what_each_would_lose() {
    let (stage, running) = home();
    for actor in ["home/alice", "home/bob", "home/carol"] {
        (0..3).for_each(|_| _ = running.request(actor, &json!("count")).expect("it counts"));
        running.say(&["restart", actor]);
    }
    let foreseen = running.json(&["prune", "home/*", "--before", "99", "--dry-run"]);
    let would = foreseen["would_drop"].as_array().expect("a list");
    assert_eq!(would.len(), 3, "{foreseen}");
    assert!(would.iter().all(|one| one["bytes"].is_u64() && one["events"].is_u64()), "{foreseen}");
    let output = running.cli(&["prune", "home/*", "--before", "99"]);
    let said = text(&output.stderr);
    assert!(said.contains("drop old data of these 3 actors:") && said.contains(" events, "), "{said}");
    let again = running.json(&["prune", "home/*", "--before", "99", "--dry-run"]);
    assert_eq!(again, foreseen, "nothing was dropped");
    let pruned = running.json(&["prune", "home/*", "--before", "99", "--yes"]);
    let dropped: u64 =
        pruned["dropped"].as_array().expect("a list").iter().filter_map(|one| one["events"].as_u64()).sum();
    assert!(dropped >= 6, "{pruned}");
    let dir = stage.data_dir();
    running.shut_down();
    let why =
        support::theater(&["prune", "a", "b", "--before", "1", "--data-dir", dir.to_str().expect("a path")], None);
    assert!(text(&why.stderr).contains("one actor is pruned at a time"), "{}", text(&why.stderr));
}
