//! A history executed again: whole journals, up to an event, against another build, and after data was dropped.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Stage, Theater, component, data_of, text, theater, verifies_and_replays, verify};

fn said(args: &[&str]) -> Value {
    let output = theater(args, None);
    assert!(output.status.success(), "theater {args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

fn refused(args: &[&str]) -> String {
    let output = theater(args, None);
    assert_eq!(output.status.code(), Some(1), "theater {args:?}: {}", text(&output.stdout));
    text(&output.stdout) + &text(&output.stderr)
}

fn dir(stage: &Stage) -> String {
    stage.data_dir().to_str().expect("a path").to_owned()
}

/// A probe that has counted to `n`, over two incarnations, and a second one that was asked by it.
fn counted(stage: &Stage, n: u64, more: &str) -> (Theater, std::path::PathBuf) {
    let manifest = stage.manifest("probe", "probe", more);
    let other = stage.manifest("other", "probe", "");
    let running = stage.run(&[&manifest, &other]);
    for expected in 1..=n / 2 {
        assert_eq!(running.request("probe", &json!("count")), Ok(json!(expected)));
    }
    let ask = json!({ "op": "request", "to": running.id("other"), "msg": "count" });
    assert_eq!(running.request("probe", &ask), Ok(json!({ "ok": 1 })));
    running.kill();
    let running = stage.run(&[&manifest, &other]);
    for expected in n / 2 + 1..=n {
        assert_eq!(running.request("probe", &json!("count")), Ok(json!(expected)));
    }
    (running, manifest)
}

#[test]
fn a_whole_journal_replays_and_every_kept_state_is_the_one_that_replay_comes_to() {
    let stage = Stage::new();
    let (running, _) = counted(&stage, 6, "");
    let events = running.events("probe").len() + running.events("other").len();
    running.shut_down();
    let replayed = said(&["replay", "--journal", &dir(&stage), "--verify-snapshots", "--json"]);
    assert_eq!((&replayed["actors"], &replayed["events"]), (&json!(2), &json!(events)));
    let one = said(&["replay", "--journal", &dir(&stage), "probe", "--verify-snapshots", "--json"]);
    assert_eq!(one["transitions"], json!(8));
}

#[test]
fn a_kept_state_that_was_altered_is_named() {
    let stage = Stage::new();
    let (running, _) = counted(&stage, 2, "");
    running.shut_down();
    let rows = rusqlite::Connection::open(stage.data_dir().join("journal.db")).expect("a journal");
    let altered = "UPDATE states SET state = CAST('{\"count\":7}' AS BLOB)
                   WHERE slot > 1 AND actor = (SELECT actor FROM actors WHERE name = 'probe')";
    assert!(rows.execute(altered, []).expect("updated") >= 1);
    drop(rows);
    let why = refused(&["replay", "--journal", &dir(&stage), "--verify-snapshots"]);
    assert!(why.contains("actor probe") && why.contains("is not the one that the event names"), "{why}");
    said(&["replay", "--journal", &dir(&stage), "--json"]);
}

#[test]
fn the_state_at_any_event_is_the_one_the_actor_had_there() {
    for more in ["", "reuse = 3\n"] {
        let stage = Stage::new();
        let (running, _) = counted(&stage, 6, more);
        let events = running.events("probe");
        let chain = running.export(&stage, "probe");
        running.shut_down();
        let mut count = Value::Null;
        for event in &events {
            if let Some(state) = event["data"]["state"].as_object() {
                count = state["count"].clone();
            }
            let until = event["sequence"].to_string();
            let from_journal = said(&["replay", "--journal", &dir(&stage), "probe", "--until", &until, "--json"]);
            assert_eq!(from_journal["state"]["count"], count, "event {until}");
            // The file brings no compiled code, which takes its time.
            if event["sequence"].as_u64().expect("a number") % 7 == 3 {
                let from_file = said(&["replay", chain.to_str().expect("a path"), "--until", &until, "--json"]);
                assert_eq!(from_journal["state"], from_file["state"], "event {until}");
            }
        }
        assert_eq!(count, json!(6));
    }
}

#[test]
fn another_build_is_compared_transition_by_transition() {
    let stage = Stage::new();
    let (running, _) = counted(&stage, 4, "");
    let chain = running.export(&stage, "probe");
    running.shut_down();
    let same = component("probe");
    let compare = |build: &Path| {
        let args =
            ["replay", chain.to_str().expect("a path"), "--component", build.to_str().expect("a path"), "--compare"];
        theater(&args, None)
    };
    let unchanged = compare(&same);
    assert!(unchanged.status.success(), "{}", text(&unchanged.stderr));
    assert!(text(&unchanged.stdout).contains("none of 6 transitions changes"), "{}", text(&unchanged.stdout));
    let changed = compare(&component("variant"));
    assert_eq!(changed.status.code(), Some(1));
    let lines = text(&changed.stdout);
    assert!(lines.lines().all(|line| line.starts_with("event ")) && lines.contains(" -> "), "{lines}");
    assert!(text(&changed.stderr).contains("of 6 transitions change"), "{}", text(&changed.stderr));
}

#[test]
fn pruned_data_is_gone_and_the_chain_still_verifies_and_replays_from_the_kept_state() {
    let stage = Stage::new();
    let (running, manifest) = counted(&stage, 6, "");
    let events = running.events("probe");
    let second = events.iter().rfind(|event| event["event_type"] == "started").expect("a start");
    let (head, kept) = (running.last_event("probe")["hash"].clone(), second["sequence"].as_u64().expect("a number"));
    let pruned = running.json(&["prune", "probe", "--before", "1000000"]);
    assert_eq!(pruned["replays_from"], kept);
    assert_eq!(pruned["events"], kept - 1, "all but the first start");
    let again = running.events("probe");
    assert_eq!(again.len(), events.len());
    assert_eq!(running.last_event("probe")["hash"], head, "no hash has changed");
    let chain = running.export(&stage, "probe");
    let replayed = verifies_and_replays(&chain);
    assert_eq!(replayed["from"], kept + 1);
    let until = (kept - 1).to_string();
    assert!(refused(&["replay", chain.to_str().expect("a path"), "--until", &until]).contains("was dropped"));
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(7)), "the actor has not noticed");
    running.kill();
    assert_eq!(stage.run(&[&manifest]).request("probe", &json!("count")), Ok(json!(8)));
    let audit = said(&["verify", "--journal", &dir(&stage), "--json"]);
    assert_eq!((&audit["findings"], &audit["dropped"]), (&json!([]), &json!(kept - 1)));
    said(&["replay", "--journal", &dir(&stage), "--verify-snapshots", "--json"]);
}

#[test]
fn one_event_can_be_redacted_and_its_words_are_nowhere_any_more() {
    let stage = Stage::new();
    let manifest = stage.manifest("probe", "probe", "");
    let running = stage.run(&[&manifest]);
    let secret = "correct horse battery staple";
    assert_eq!(running.request("probe", &json!({ "op": "log", "text": secret })), Ok(Value::Null));
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(1)));
    let holding = |event: &&Value| event["data"].to_string().contains(secret);
    let sequences: Vec<u64> =
        running.events("probe").iter().filter(holding).map(|it| it["sequence"].as_u64().expect("a number")).collect();
    assert_eq!(sequences.len(), 2, "the call, and the log");
    for sequence in &sequences {
        assert_eq!(running.json(&["redact", "probe", "--event", &sequence.to_string()])["events"], 1);
    }
    assert!(running.refused(&["redact", "probe", "--event", "0"]).contains("`started`"));
    let twice = running.refused(&["redact", "probe", "--event", &sequences[0].to_string()]);
    assert!(twice.contains("was dropped before"), "{twice}");
    assert!(running.refused(&["redact", "probe", "--event", "4711"]).contains("is not on the chain"));
    let chain = running.export(&stage, "probe");
    verify(&chain).expect("it verifies");
    running.shut_down();
    for file in ["journal.db", "journal.db-wal"] {
        let bytes = std::fs::read(stage.data_dir().join(file)).unwrap_or_default();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{file} still has it");
    }
    assert_eq!(said(&["verify", "--journal", &dir(&stage), "--json"])["dropped"], 2);
    // Offline, and where a new incarnation has begun, the rest can be replayed again.
    stage.run(&[&manifest]).shut_down();
    said(&["replay", "--journal", &dir(&stage), "--json"]);
}

#[test]
fn a_directory_without_a_runtime_is_pruned_in_place() {
    let stage = Stage::new();
    let (running, _) = counted(&stage, 4, "");
    let why = theater(&["prune", "probe", "--before", "99", "--data-dir", &dir(&stage)], None);
    assert!(text(&why.stderr).contains("in use by another runtime"), "{}", text(&why.stderr));
    running.shut_down();
    let pruned = said(&["prune", "probe", "--before", "99", "--data-dir", &dir(&stage), "--json"]);
    assert!(pruned["events"].as_u64().expect("a number") > 0);
    assert_eq!(said(&["verify", "--journal", &dir(&stage), "--json"])["findings"], json!([]));
    let why = refused(&["prune", "probe", "--before", "1", "--data-dir", &dir(&stage)]);
    assert!(why.contains("no kept state lies before event 1"), "{why}");
}

#[test]
fn a_divergence_is_named_by_event_and_field_whichever_way_the_chain_is_read() {
    let stage = Stage::new();
    let (running, _) = counted(&stage, 2, "");
    let events = running.events("probe");
    running.shut_down();
    let variant = component("variant");
    let why =
        refused(&["replay", "--journal", &dir(&stage), "probe", "--component", variant.to_str().expect("a path")]);
    assert!(why.contains("event ") && why.contains("was recorded as") && why.contains("replay gives"), "{why}");
    assert!(!data_of(&events, "started").is_empty());
}
