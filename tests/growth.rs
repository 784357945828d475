//! Tests of a journal's growth: large bodies and states are stored once, and dropped data gives its room back.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Http, Stage, Theater, text, theater, verifies_and_replays};

const LARGE: usize = 200_000;

fn rows(stage: &Stage, query: &str) -> i64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let journal = rusqlite::Connection::open_with_flags(stage.data_dir().join("journal.db"), flags).expect("a journal");
    journal.query_row(query, [], |row| row.get(0)).expect("a number")
}

fn stored_bytes(stage: &Stage) -> i64 {
    let events = rows(stage, "SELECT sum(length(data)) FROM events");
    let states = rows(stage, "SELECT ifnull(sum(length(state)), 0) FROM states");
    events + states + rows(stage, "SELECT ifnull(sum(length(bytes)), 0) FROM blobs")
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
    assert_eq!(rows(&stage, "SELECT count(*) FROM states WHERE slot > 0 AND sha1 IS NOT NULL"), 5);
    let size = i64::try_from(LARGE).expect("small");
    let stored = rows(&stage, &format!("SELECT sum(length(bytes)) FROM blobs WHERE length(bytes) = {size}"));
    assert_eq!(stored, size, "each start kept it, and it is there once");
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
    let large = format!("SELECT count(*) FROM blobs WHERE length(bytes) > {LARGE}");
    let before = rows(&stage, &large);
    assert!(before > 0);
    let directory = stage.data_dir();
    let directory = directory.to_str().expect("a path");
    let prune = |actor: &str| {
        let output = theater(&["prune", actor, "--before", "1000000", "--data-dir", directory, "--json"], None);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let pruned: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(pruned["events"].as_u64().expect("a number") > 0, "{pruned}");
    };
    prune("asker");
    assert!(rows(&stage, &large) > 0, "the other's chain has it still");
    prune("asked");
    assert_eq!(rows(&stage, &large), 0);
    assert_eq!(rows(&stage, "SELECT count(*) FROM uses WHERE user <> 0"), 0);
    let audit = theater(&["verify", "--journal", directory], None);
    assert!(audit.status.success(), "{}", text(&audit.stdout));
    let found = std::fs::read(stage.data_dir().join("journal.db")).expect("a journal");
    assert!(!found.windows(64).any(|window| window == [b'x'; 64]), "nothing of it is left in the file");
}

/// The table `uses` decides what is deleted, so a forged row of it would remove data that an event needs.
#[test]
fn a_use_of_a_blob_that_was_added_altered_or_taken_away_is_named() {
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
    let database = rusqlite::Connection::open(directory.join("journal.db")).expect("a database");
    let one = "(SELECT user FROM uses WHERE user > 0 ORDER BY user LIMIT 1)";
    for (forge, said) in [
        (format!("DELETE FROM uses WHERE user = {one}"), "needs a blob, which may be deleted under it"),
        (format!("UPDATE uses SET user = user + 1000000 WHERE user = {one}"), "for a blob it does not need"),
        (format!("UPDATE uses SET sha1 = x'' WHERE user = {one}"), "for a blob it does not need"),
        ("INSERT INTO uses SELECT sha1, 1 FROM blobs LIMIT 1".to_owned(), "for a blob it does not need"),
        ("INSERT INTO blobs VALUES (zeroblob(20), x'00')".to_owned(), "one that nobody needs"),
    ] {
        database.execute_batch("CREATE TABLE IF NOT EXISTS temp.u AS SELECT * FROM uses").expect("kept");
        assert!(database.execute(&forge, []).expect("forged") > 0, "{forge}");
        let (is_right, found) = verify();
        assert!(!is_right && found.contains(said), "{forge}: {found}");
        database
            .execute_batch(
                "DELETE FROM uses; INSERT INTO uses SELECT * FROM u; DELETE FROM blobs WHERE sha1 = zeroblob(20)",
            )
            .expect("put back");
    }
    assert!(verify().0, "{}", verify().1);
}
