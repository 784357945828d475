//! Tests of a journal's growth: large bodies and states are stored once, and dropped data gives its room back.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::log_file::{LogFile, LogRecord, Payload, segment_files};
use support::{Http, Stage, Theater, text, theater, verifies_and_replays};

const LARGE: usize = 200_000;

fn stored_bytes(stage: &Stage) -> usize {
    LogFile::read(&stage.data_dir()).records().filter_map(LogRecord::payload).map(Payload::len).sum()
}

/// How many records hold more than so many bytes.
fn larger_than(stage: &Stage, bytes: usize) -> usize {
    let log = LogFile::read(&stage.data_dir());
    log.records().filter_map(LogRecord::payload).filter(|payload| payload.len() > bytes).count()
}

fn pair(stage: &Stage) -> Theater {
    let manifests = [stage.http_manifest("asker", "probe", ""), stage.manifest("asked", "probe", "")];
    stage.run(&manifests.each_ref().map(Path::new))
}

/// Sends the same large text over HTTP to one actor, on to another and back, `times` times.
fn pass_on(running: &Theater, times: usize) {
    let echo = json!({ "op": "echo", "value": "x".repeat(LARGE) });
    let request = json!({ "op": "request", "to": running.id("asked"), "msg": echo });
    let mut http = Http::connect(running.http("asker"));
    for _ in 0..times {
        assert_eq!(http.op(&request).status, 200);
    }
}

#[test]
fn a_large_body_is_stored_once_however_often_it_crosses_a_boundary() {
    let stage = Stage::new();
    let running = pair(&stage);
    pass_on(&running, 1);
    let once = stored_bytes(&stage);
    // Each time the text is in six events: call, intent, call, return, host-call, return.
    pass_on(&running, 20);
    let grown = stored_bytes(&stage) - once;
    assert!(grown < 20 * 10_000, "{grown} bytes more for what is there");
    for actor in ["asker", "asked"] {
        verifies_and_replays(&running.export(&stage, actor));
    }
    running.kill();
    let running = pair(&stage);
    pass_on(&running, 1);
    running.shut_down();
    let directory = stage.data_dir();
    let audit = theater(&["verify", "--journal", directory.to_str().expect("a path")], None);
    assert!(audit.status.success(), "{}", text(&audit.stdout));
}

#[test]
fn who_follows_everybody_is_told_a_large_body_whole() {
    let stage = Stage::new();
    let running = pair(&stage);
    pass_on(&running, 1);
    let mut management = support::Management::connect(running.management());
    management.ask(&json!({ "Subscribe": { "scope": "All", "from": 1 } }));
    let mut large = 0;
    while large < 6 {
        let pushed = management.receive().expect("an event");
        let data = pushed["Event"]["event"]["data"].as_str().expect("data");
        large += usize::from(data.len() > LARGE);
    }
}

#[test]
fn a_large_state_that_stays_is_kept_once() {
    let stage = Stage::new();
    let running = pair(&stage);
    let mut http = Http::connect(running.http("asker"));
    assert_eq!(http.op(&json!({ "op": "state-bytes", "n": LARGE })).status, 200);
    running.shut_down();
    for _ in 0..5 {
        pair(&stage).shut_down();
    }
    assert!(larger_than(&stage, LARGE / 2) <= 2, "at its end, and for those that begin with it");
    let running = pair(&stage);
    let state = running.json(&["state", "asker"]);
    assert!(state.to_string().len() > LARGE / 2, "{state}");
    verifies_and_replays(&running.export(&stage, "asker"));
}

#[test]
fn what_nobody_needs_any_more_is_gone_and_what_somebody_needs_stays() {
    let stage = Stage::new();
    let running = pair(&stage);
    pass_on(&running, 3);
    running.shut_down();
    pair(&stage).shut_down();
    assert!(larger_than(&stage, LARGE - 1) > 0);
    let directory = stage.data_dir();
    let directory = directory.to_str().expect("a path");
    let prune = |actor: &str| {
        let output = theater(&["prune", actor, "--before", "1000000", "--data-dir", directory, "--json"], None);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let pruned: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(pruned["events"].as_u64().expect("a number") > 0, "{pruned}");
    };
    prune("asker");
    assert!(larger_than(&stage, LARGE - 1) > 0, "the other's chain has it still");
    prune("asked");
    assert_eq!(larger_than(&stage, 5_000), 0);
    let audit = theater(&["verify", "--journal", directory], None);
    assert!(audit.status.success(), "{}", text(&audit.stdout));
    for file in segment_files(&stage.data_dir()) {
        let found = std::fs::read(&file).expect("a segment");
        assert!(!found.windows(64).any(|window| window == [b'x'; 64]), "nothing of it is left in {file:?}");
    }
}

#[test]
fn a_large_part_that_was_altered_or_taken_away_is_named() {
    let stage = Stage::new();
    let running = pair(&stage);
    pass_on(&running, 2);
    running.shut_down();
    let directory = stage.data_dir();
    let verify = || {
        let output = theater(&["verify", "--journal", directory.to_str().expect("a path")], None);
        (output.status.success(), text(&output.stdout))
    };
    assert!(verify().0, "{}", verify().1);
    let honest = LogFile::read(&directory);
    let is_part = |record: &LogRecord| matches!(record, LogRecord::Blob { .. });
    let forge = |said: &str, change: &dyn Fn(&mut LogFile)| {
        let mut log = honest.clone();
        change(&mut log);
        assert_ne!(log, honest);
        log.write(&directory);
        log.mark(&directory);
        let (is_right, found) = verify();
        assert!(!is_right && found.contains(said), "{said}: {found}");
    };
    let parts = |log: &mut LogFile, change: &dyn Fn(&mut Payload)| {
        log.records_mut().for_each(|record| {
            if let LogRecord::Blob { bytes, .. } = record {
                change(bytes);
            }
        });
    };
    forge("a part of an event's data is not there", &|log| log.retain(|record| !is_part(record)));
    forge("a part of an event's data is not there", &|log| {
        parts(log, &|bytes| *bytes = Payload::Dropped { length: bytes.len() as u64, digest: vec![0; 20] });
    });
    forge("event ", &|log| parts(log, &|bytes| *bytes = Payload::Kept(vec![b'y'; bytes.len()])));
    honest.write(&directory);
    honest.mark(&directory);
    assert!(verify().0, "{}", verify().1);
}
