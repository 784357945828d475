//! Tests of the salts in events: every event has one of its own, and without it nobody finds again what was dropped.

mod support;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use support::forge::Item;
use support::log_file::{LogFile, LogRecord};
use support::{
    Stage, Theater, read_log_by_document, text, theater, theater_says, verifies_and_replays, verify_by_document,
};

/// The lines of a chain file that hold events.
fn events(chain: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(chain).expect("a chain");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.filter(|line| line.get("sequence").is_some()).collect()
}

fn salt(event: &Value) -> Vec<u8> {
    hex::decode(event["salt"].as_str().unwrap_or_else(|| panic!("no salt: {event}"))).expect("hex")
}

fn data(event: &Value) -> Vec<u8> {
    BASE64.decode(event["data"].as_str().unwrap_or_else(|| panic!("no data: {event}"))).expect("base64")
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// The files below a directory that contain these bytes.
fn containing(dir: &Path, bytes: &[u8]) -> Vec<PathBuf> {
    let mut all = Vec::new();
    files(dir, &mut all);
    let contains = |path: &PathBuf| {
        let content = std::fs::read(path).unwrap_or_default();
        content.windows(bytes.len()).any(|window| window == bytes)
    };
    all.retain(contains);
    all
}

#[test]
fn every_event_of_every_actor_has_a_salt_of_its_own_however_the_actor_begins_and_ends() {
    let stage = Stage::new();
    let manifests = [
        stage.manifest("probe", "probe", "restart = \"permanent\"\nmax_restarts = 9\n"),
        stage.manifest("other", "probe", ""),
    ];
    let running = stage.run(&[&manifests[0], &manifests[1]]);
    let request = json!({ "op": "request", "to": running.id("other"), "msg": "count" });
    running.request("probe", &request).expect("an answer");
    running.request("probe", &json!({ "op": "refuse", "message": "no" })).expect_err("refused");
    running.request("probe", &json!("trap")).expect_err("trapped");
    running.until("probe", "running");
    running.request("probe", &json!("chain")).expect("an answer");
    running.kill();
    let running = stage.run(&[&manifests[0], &manifests[1]]);
    running.say(&["restart", "probe"]);
    running.json(&["fork", "probe", "--at", "2", "--name", "fork"]);
    running.request("fork", &json!("count")).expect("an answer");
    running.say(&["stop", "other"]);
    let mut salts = HashSet::new();
    let mut kinds = HashSet::new();
    let mut count = 0;
    for name in ["probe", "other", "fork"] {
        let chain = running.export(&stage, name);
        verifies_and_replays(&chain);
        verify_by_document(&chain);
        let header = std::fs::read_to_string(&chain).expect("a chain");
        assert!(header.starts_with("{\"format\":\"theater-chain\",\"version\":3,"), "{name}");
        for event in events(&chain) {
            count += 1;
            kinds.insert(event["event_type"].as_str().expect("a type").split(' ').next().map(str::to_owned));
            salts.insert(salt(&event));
        }
    }
    assert_eq!(salts.len(), count, "no two events have the same salt");
    assert_eq!(kinds.len(), 8, "every kind of event: {kinds:?}");
}

/// Everything that someone would compute of a guess and look for.
fn traces(guess: &[u8]) -> Vec<Vec<u8>> {
    let digests = [Sha1::digest(guess).to_vec(), Sha256::digest(guess).to_vec()];
    let in_hex = digests.iter().map(|digest| hex::encode(digest).into_bytes()).collect::<Vec<_>>();
    digests.into_iter().chain(in_hex).chain([guess.to_vec()]).collect()
}

#[test]
fn a_payload_of_few_possible_values_is_not_found_again_once_it_was_dropped() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    let vote = |value: &str| json!({ "op": "echo", "value": value });
    running.request("probe", &vote("yes-to-all-of-it")).expect("an answer");
    let whole = events(&running.export(&stage, "probe"));
    running.request("probe", &json!("count")).expect("an answer");
    let dir = stage.data_dir();
    let secret: Vec<&Value> = whole.iter().filter(|event| event["sequence"].as_u64() >= Some(3)).collect();
    assert_eq!(secret.len(), 2, "the call and the return");
    for event in &secret {
        assert!(!containing(&dir, &salt(event)).is_empty(), "as long as the data is there, so is its salt");
    }
    for event in &secret {
        running.json(&["redact", "probe", "--event", &event["sequence"].to_string()]);
    }
    let gone = events(&running.export(&stage, "probe"));
    running.shut_down();
    for before in &secret {
        let at = usize::try_from(before["sequence"].as_u64().expect("a number")).expect("small");
        let after = &gone[at];
        assert_eq!((&before["hash"], after.get("salt"), after.get("data")), (&after["hash"], None, None));
        let digest = Sha256::new().chain_update(salt(before)).chain_update(data(before)).finalize();
        assert_eq!(after["data_sha256"], hex::encode(digest), "what stays is the salted digest");
        assert!(!containing(&dir, &digest).is_empty(), "it is on disk");
        assert_eq!(containing(&dir, &salt(before)), [] as [PathBuf; 0], "the salt is gone");
        // Who guesses right has no way to see it.
        for trace in traces(&data(before)) {
            assert_eq!(containing(&dir, &trace), [] as [PathBuf; 0], "{}", hex::encode(&trace));
        }
    }
    assert_eq!(containing(&dir, b"yes-to-all-of-it"), [] as [PathBuf; 0]);
    read_log_by_document(&dir);
    let dir = dir.to_str().expect("a path");
    assert!(theater_says(&["verify", "--journal", dir]).starts_with("verified: 1 actors"));
}

#[test]
fn a_prune_takes_the_salts_of_all_that_it_drops() {
    let stage = Stage::new();
    let manifest = stage.manifest("counter", "counter", "");
    let running = stage.run(&[&manifest]);
    running.request("counter", &json!({ "add": 41 })).expect("an answer");
    running.say(&["restart", "counter"]);
    let whole = events(&running.export(&stage, "counter"));
    running.json(&["prune", "counter", "--before", "999"]);
    let left = events(&running.export(&stage, "counter"));
    let dropped: Vec<_> = whole.iter().zip(&left).filter(|(_, left)| left.get("data_sha256").is_some()).collect();
    assert!(dropped.len() >= 3, "{left:?}");
    for (before, _) in dropped {
        assert_eq!(containing(&stage.data_dir(), &salt(before)), [] as [PathBuf; 0], "{before}");
    }
    running.shut_down();
}

/// What the newest `get-chain` of the actor has recorded.
fn recorded(running: &Theater, actor: &str) -> Value {
    let calls = running.events(actor).into_iter();
    let mut calls = calls.filter(|event| event["event_type"] == "host-call ntwk:theater/runtime.get-chain");
    calls.next_back().expect("a get-chain")["data"]["result"].clone()
}

#[test]
fn a_get_chain_shows_in_replay_which_events_had_no_data_then_and_replay_knows_what_was_dropped_later() {
    let stage = Stage::new();
    let manifest = stage.manifest("probe", "probe", "");
    let running = stage.run(&[&manifest]);
    for _ in 0..3 {
        running.request("probe", &json!("count")).expect("an answer");
    }
    running.kill();
    let running = stage.run(&[&manifest]);
    for event in ["1", "3", "4", "6"] {
        running.json(&["redact", "probe", "--event", event]);
    }
    running.request("probe", &json!("chain-data")).expect("an answer");
    assert_eq!(recorded(&running, "probe"), json!({ "bare": [[1, 1], [3, 4], [6, 6]], "first": 0, "upto": 11 }));
    let chain = running.export(&stage, "probe");
    verifies_and_replays(&chain);
    verify_by_document(&chain);
    let dir = stage.data_dir();
    let dir = dir.to_str().expect("a path");
    theater_says(&["verify", "--journal", dir]);
    theater_says(&["replay", "--journal", dir, "--verify-snapshots"]);

    let why = running.refused(&["redact", "probe", "--event", "7"]);
    assert!(why.contains("event 11 is a get-chain that has shown the actor event 7"), "{why}");
    running.json(&["redact", "probe", "--event", "7", "--despite-get-chain"]);
    running.shut_down();
    let output = theater(&["replay", "--journal", dir, "probe"], None);
    let why = text(&output.stderr);
    assert!(why.contains("event 11, a get-chain, is shown event 7 without its data"), "{why}");
}

/// A large body is kept once beside the events that have it, and a state that outlives its event in a record of its own.
/// The names of both stay when they are dropped.
#[test]
fn a_large_payload_and_a_stored_state_are_not_found_again_either_once_they_were_dropped() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    let value = "yes, to all of it. ".repeat(1_000);
    running.request("probe", &json!({ "op": "echo", "value": value })).expect("an answer");
    let in_event = json!({ "op": "echo", "value": value }).to_string();
    running.request("probe", &json!("count")).expect("an answer");
    let counted = running.last_event("probe");
    running.request("probe", &json!({ "op": "state-bytes", "n": 6_000 })).expect("an answer");
    let large = running.last_event("probe");
    let whole = events(&running.export(&stage, "probe"));
    let named = |event: &Value| {
        let at = usize::try_from(event["sequence"].as_u64().expect("a number")).expect("small");
        Item::read(&data(&whole[at])).get("state").clone()
    };
    let Item::Bytes(small) = named(&counted) else { panic!("{counted}") };
    let Item::Bytes(sha1) = named(&large).get("sha1").clone() else { panic!("{large}") };
    // The newest state is stored before the event that led to it loses its data.
    running.json(&["redact", "probe", "--event", &large["sequence"].to_string()]);
    running.request("probe", &json!("drop-state")).expect("an answer");
    running.say(&["restart", "probe"]);
    running.json(&["prune", "probe", "--before", "999"]);
    running.shut_down();
    let dir = stage.data_dir();
    let log = LogFile::read(&dir);
    let has = |wanted: fn(&LogRecord) -> bool| log.records().any(wanted);
    assert!(has(|record| matches!(record, LogRecord::State { is_salted: true, state, .. } if state.kept().is_none())));
    assert!(has(|record| matches!(record, LogRecord::Blob { bytes, .. } if bytes.kept().is_none())));
    for guess in [in_event.as_bytes(), value.as_bytes(), json!(value).to_string().as_bytes(), &small] {
        for trace in traces(guess) {
            assert_eq!(containing(&dir, &trace), [] as [PathBuf; 0], "{}", hex::encode(&trace[..20.min(trace.len())]));
        }
    }
    for trace in [sha1.clone(), hex::encode(&sha1).into_bytes()] {
        assert_eq!(containing(&dir, &trace), [] as [PathBuf; 0], "the SHA-1 of a large state");
    }
    read_log_by_document(&dir);
    theater_says(&["verify", "--journal", dir.to_str().expect("a path")]);
}
