//! Tests of long histories and whole trees: they are replayed from the journal, and compared with another build.

mod support;

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};
use support::log_file::{LogRecord, Payload, alter_log};
use support::{Http, Stage, Theater, component, eventually, text, theater};

/// Runs `theater replay ARGS… --json`; returns its exit code and the lines it printed.
fn replay(args: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = theater(&[&["replay", "--json"], args].concat(), None);
    let lines = text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (output.status.code(), lines)
}

fn dir(stage: &Stage) -> String {
    stage.data_dir().to_str().expect("a path").to_owned()
}

/// A counter that was incremented `times` times, half of them before and half after its process was killed.
fn counted(stage: &Stage, times: u64, more: &str) -> Theater {
    let manifest = stage.http_manifest("counter", "counter", more);
    for kill in [true, false] {
        let running = stage.run(&[&manifest]);
        let mut http = Http::connect(running.http("counter"));
        (0..times / 2).for_each(|_| assert_eq!(http.ask("POST", "/increment", None).status, 200));
        if kill {
            running.kill();
        } else {
            return running;
        }
    }
    unreachable!("the second one is returned")
}

#[test]
fn the_state_at_any_event_of_a_long_history_is_had_from_the_kept_state_before_it() {
    for more in ["", "reuse = 7\n"] {
        let stage = Stage::new();
        let running = counted(&stage, 1_400, more);
        let events = running.events("counter");
        running.shut_down();
        let mut counts = Vec::new();
        let mut count = Value::Null;
        for event in &events {
            if let Some(state) = event["data"]["state"].as_object() {
                count = state["count"].clone();
            }
            counts.push(count.clone());
        }
        let last = events.len() - 1;
        let second = events.iter().rposition(|event| event["event_type"] == "started").expect("a start");
        let some = [0, 1, 2, 3, 999, 1_000, 1_001, 1_007, 1_008, second - 1, second, second + 1, 2_500, last];
        for at in some {
            let (code, lines) = replay(&["--journal", &dir(&stage), "counter", "--until", &at.to_string()]);
            assert_eq!((code, &lines[0]["state"]["count"]), (Some(0), &counts[at]), "event {at}");
            assert!(at as u64 - lines[0]["from"].as_u64().expect("a number").min(at as u64) < 1_010, "{at}: {lines:?}");
        }
        let begun = Instant::now();
        let (code, lines) = replay(&["--journal", &dir(&stage), "--verify-snapshots"]);
        let replayed = begun.elapsed().as_millis();
        assert_eq!((code, &lines[0]["events"]), (Some(0), &json!(events.len())));
        let at = |event: &Value| event["timestamp"].as_u64().expect("milliseconds");
        let lived = u128::from(at(&events[last]) - at(&events[0]));
        println!("{} events, lived in {lived} ms, replayed in {replayed} ms", events.len());
    }
}

#[test]
fn a_newest_state_that_was_altered_is_named() {
    let stage = Stage::new();
    counted(&stage, 4, "").shut_down();
    // The state stands in the event that led to it.
    alter_log(&stage.data_dir(), |log| {
        let last = log.events_mut().filter(|event| event.kind() == "return").last().expect("a return");
        let Payload::Kept(data) = &mut last.data else { panic!("its data is there") };
        let at = data.windows(9).position(|part| part == b"\"count\":4").expect("the state");
        data[at + 8] = b'7';
    });
    let (code, lines) = replay(&["--journal", &dir(&stage), "--verify-snapshots"]);
    let said = format!("{lines:?}");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("counter") && said.contains("but its contents hash to"), "{said}");
}

#[test]
fn a_large_newest_state_that_was_altered_is_named() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("holder", "probe", "")]);
    running.request("holder", &json!({ "op": "state-bytes", "n": 6000 })).expect("an answer");
    running.shut_down();
    alter_log(&stage.data_dir(), |log| {
        let stored = log.records_mut().filter_map(|record| match record {
            LogRecord::State { state, .. } => Some(state),
            _ => None,
        });
        *stored.last().expect("a state of its own") = Payload::Kept(vec![0; 6000]);
    });
    let (code, lines) = replay(&["--journal", &dir(&stage), "--verify-snapshots"]);
    let said = format!("{lines:?}");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("holder") && said.contains("is not the one that the event names"), "{said}");
}

#[test]
fn a_state_that_data_was_dropped_before_is_refused_and_not_another_shown_in_its_place() {
    let stage = Stage::new();
    let running = counted(&stage, 4, "");
    running.json(&["prune", "counter", "--before", "1000000"]);
    let chain = running.export(&stage, "counter");
    running.shut_down();
    for subject in [&[chain.to_str().expect("a path")][..], &["--journal", &dir(&stage), "counter"]] {
        let (code, lines) = replay(&[subject, &["--until", "3"]].concat());
        assert_eq!((code, lines), (Some(1), vec![]));
    }
}

/// Compares the counter's history with another build; returns the differences and the exit code.
fn compared(subject: &[&str], build: &str) -> (Option<i32>, Vec<(u64, String)>) {
    let build = component(build);
    let (code, lines) = replay(&[subject, &["--compare", "--component", build.to_str().expect("a path")]].concat());
    let changed = lines.iter().filter(|line| line["sequence"].is_u64());
    let changed = changed.map(|line| (line["sequence"].as_u64().expect("a number"), line["what"].to_string()));
    (code, changed.collect())
}

#[test]
fn a_comparison_lists_exactly_the_transitions_that_change() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
    let mut http = Http::connect(running.http("counter"));
    for (method, path) in [("GET", "/"), ("POST", "/increment"), ("GET", "/"), ("POST", "/increment"), ("GET", "/")] {
        assert_eq!(http.ask(method, path, None).status, 200);
    }
    running.request("counter", &json!({ "add": 3 })).expect("an answer");
    let calls: Vec<u64> = running
        .events("counter")
        .iter()
        .filter(|event| {
            let params = event["data"]["params"].to_string();
            let call = event["event_type"].as_str().is_some_and(|kind| kind.starts_with("call "));
            call && (params.contains("/increment") || params.contains("add"))
        })
        .map(|event| event["sequence"].as_u64().expect("a number"))
        .collect();
    let chain = running.export(&stage, "counter");
    running.shut_down();
    let (file, journal) = (chain.to_str().expect("a path"), dir(&stage));
    for subject in [&[file][..], &["--journal", &journal, "counter"]] {
        assert_eq!(compared(subject, "counter"), (Some(0), vec![]));
        let (code, changed) = compared(subject, "variant");
        let sequences: Vec<u64> = changed.iter().map(|(sequence, _)| *sequence).collect();
        assert_eq!((code, &sequences), (Some(1), &calls), "each is judged by itself: {changed:?}");
    }
}

fn bank(stage: &Stage) -> std::path::PathBuf {
    let dist = component("ledger").parent().expect("a directory").display().to_string();
    let copy = |name: &str| {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests").join(name);
        let text = std::fs::read_to_string(shipped).expect("a manifest");
        stage.file(name, text.replace("../actors/dist", &dist).replace("port = 8082", "port = 0"))
    };
    copy("account.toml");
    copy("ledger.toml")
}

#[test]
fn a_whole_tree_with_failures_and_restarts_replays() {
    let stage = Stage::new();
    let manifest = bank(&stage);
    for (round, more) in [(0, "alice"), (1, "bob")] {
        let running = stage.run(&[&manifest]);
        let mut http = Http::connect(running.http("ledger"));
        let mut post = |path: &str, body: Value| http.ask("POST", path, Some(&body.to_string())).status;
        assert_eq!(post("/accounts", json!({ "name": more })), 201);
        assert_eq!(post(&format!("/accounts/{more}/deposit"), json!({ "cents": 1_000 })), 200);
        assert_eq!(post(&format!("/accounts/{more}/crash"), json!({})), 200);
        if round == 1 {
            assert_eq!(post("/transfers", json!({ "from": "alice", "to": "bob", "cents": 10 })), 201);
        }
        eventually("it has restarted", || {
            let actors = running.json(&["list"]);
            let up = actors.as_array().expect("actors").iter().all(|actor| actor["status"] == "running");
            up.then_some(())
        });
        running.kill();
    }
    let (code, lines) = replay(&["--journal", &dir(&stage), "--verify-snapshots"]);
    assert_eq!((code, &lines[0]["actors"]), (Some(0), &json!(3)), "{lines:?}");
    let variant = component("variant");
    let (code, lines) = replay(&["--journal", &dir(&stage), "--component", variant.to_str().expect("a path")]);
    assert_eq!(code, Some(1));
    assert!(!lines.is_empty() && lines.iter().all(|line| line["name"].is_string() && line["error"].is_string()));
}
