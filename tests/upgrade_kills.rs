//! Tests of upgrades that a kill cuts off: the next start goes on with the old build or the new one, with the state of that build.

mod support;

use serde_json::{Value, json};
use support::{HTTP, Stage, Theater, eventually, theater, theater_says, verifies_and_replays, verify_by_document};

const ROLLBACK: &str = "on_upgrade_failure = \"rollback\"\n";

/// The answer of `theater verify --journal`, which must find no fault.
fn audit(stage: &Stage) -> Value {
    let output = theater(&["verify", "--journal", stage.data_dir().to_str().expect("a path"), "--json"], None);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success(), "{found}");
    found
}

/// Upgrades a counter at `count` to the tally, in a runtime that is killed at `point`; `then` is sent after the upgrade.
fn killed(stage: &Stage, point: &str, count: u64, then: Option<&Value>) {
    let manifest = stage.manifest("counter", "counter", HTTP);
    let launch = stage.command(&[&manifest], &[]).arg("--data-dir").arg(stage.data_dir());
    let mut running = launch.env("THEATER_FAIL", point).launch(stage).expect("it starts");
    running.request("counter", &json!({ "add": count })).expect("an answer");
    stage.manifest("counter", "tally", &format!("{ROLLBACK}{HTTP}"));
    running.cli(&["upgrade", "counter"]);
    then.into_iter().for_each(|message| _ = running.request("counter", message));
    eventually(&format!("it is killed at {point}"), || (!running.is_running()).then_some(()));
}

/// Checks that the counter is at work, what it answers, and its history in every way.
fn goes_on(stage: &Stage, running: Theater, point: &str, answers: &[Value]) {
    let answer = running.request("counter", &json!("get")).unwrap_or_else(|why| panic!("{point}: {why}"));
    assert!(answers.contains(&answer), "{point}: {answer}");
    let chain = running.export(stage, "counter");
    verifies_and_replays(&chain);
    verify_by_document(&chain);
    running.shut_down();
    audit(stage);
    theater_says(&["replay", "--journal", stage.data_dir().to_str().expect("a path")]);
}

#[test]
fn a_kill_at_any_point_of_an_upgrade_leaves_the_old_build_or_the_new_one() {
    let (old, new) = (json!({ "count": 5 }), json!({ "total": 5 }));
    for (point, answers) in [
        ("upgrading:1", vec![old.clone()]),
        ("beginning:2", vec![old.clone()]),
        ("beginning-committed:2", vec![old.clone()]),
        ("begun:2", vec![old.clone(), new.clone()]),
        ("begun-committed:2", vec![new.clone()]),
        ("first-called:2", vec![old, new.clone()]),
        ("first-called-committed:2", vec![new]),
    ] {
        let stage = Stage::new();
        killed(&stage, point, 5, None);
        let running = stage.run(&[]);
        goes_on(&stage, running, point, &answers);
    }
}

#[test]
fn a_kill_while_an_upgrade_is_taken_back_leaves_the_old_build() {
    for point in ["ended:2", "taking-back:1", "taking-back-committed:1", "begun:3", "begun-committed:3"] {
        let stage = Stage::new();
        killed(&stage, point, 13, None);
        let running = stage.run(&[]);
        goes_on(&stage, running, point, &[json!({ "count": 13 })]);
        // With the manifest it is tried again, and refused again.
        let stage = Stage::new();
        killed(&stage, point, 13, None);
        let manifest = stage.path().join("counter.toml");
        let refused = stage.run_with(&[&manifest], &[]).err().expect("it does not start");
        assert!(refused.contains("13 is no number to go on with"), "{refused}");
        let running = stage.run(&[]);
        goes_on(&stage, running, point, &[json!({ "count": 13 })]);
    }
}

#[test]
fn a_kill_while_a_first_call_fails_leaves_the_old_build() {
    for point in ["ended:2", "taking-back:1", "taking-back-committed:1", "begun:3", "begun-committed:3"] {
        let stage = Stage::new();
        killed(&stage, point, 5, Some(&json!("panic")));
        let running = stage.run(&[]);
        // The call is made again, and fails again, if its end was not on disk; and if the call was not either, nobody was told of
        // it, and the new build is still on trial.
        eventually("it goes on", || (running.status("counter") == "running").then_some(()));
        let mut answers = vec![json!({ "count": 5 })];
        if !point.contains("committed") {
            answers.push(json!({ "total": 5 }));
        }
        goes_on(&stage, running, point, &answers);
    }
}
