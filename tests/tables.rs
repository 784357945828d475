//! Tests of the handler `table`: an actor's rows are what its transitions have written that returned, whatever ends, starts,
//! is dropped or is made anew in between; and a replay reads the same rows.

mod support;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::{
    Stage, Theater, data_of, eventually, read_log_by_document, text, theater, verifies_and_replays, verify_by_document,
};

const TABLE: &str = "[[handlers]]\ntype = \"table\"\n";

/// A runtime with one actor `scribe` that may keep rows.
struct Scribe {
    stage: Stage,
    manifest: PathBuf,
    running: Theater,
}

impl Scribe {
    fn new() -> Self {
        Self::with("")
    }

    /// `more` stands in the manifest before the grant.
    fn with(more: &str) -> Self {
        let stage = Stage::new();
        let manifest = stage.manifest("scribe", "scribe", &format!("{more}\n{TABLE}"));
        let running = stage.run(&[&manifest]);
        Self { stage, manifest, running }
    }

    fn ask(&self, command: &Value) -> Value {
        self.running.request("scribe", command).unwrap_or_else(|why| panic!("{command}: {why}"))
    }

    /// Kills the process, does something, and starts it again.
    fn killed_and(self, between: impl FnOnce(&Stage)) -> Self {
        let Self { stage, manifest, running } = self;
        running.kill();
        between(&stage);
        let running = stage.run(&[&manifest]);
        Self { stage, manifest, running }
    }

    fn killed(self) -> Self {
        self.killed_and(|_| ())
    }

    fn put(&self, key: &str, value: &str) {
        assert_eq!(self.ask(&put(key, value)), json!({ "ok": null }));
    }

    fn get(&self, key: &str) -> Value {
        let answer = self.ask(&get(key));
        answer.get("ok").unwrap_or_else(|| panic!("{answer}")).clone()
    }

    /// All rows, as the actor sees them.
    fn rows(&self) -> Vec<(String, String)> {
        rows_of(&self.running, "scribe")
    }

    fn head(&self) -> u64 {
        self.running.last_event("scribe")["sequence"].as_u64().expect("a sequence")
    }

    /// Whether the chain verifies and replays, and the journal has no fault.
    fn ends_sound(self) -> Stage {
        let chain = self.running.export(&self.stage, "scribe");
        self.running.shut_down();
        verifies_and_replays(&chain);
        verify_by_document(&chain);
        audit(&self.stage);
        self.stage
    }
}

fn rows_of(running: &Theater, actor: &str) -> Vec<(String, String)> {
    let (mut rows, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let command = json!({ "op": "scan", "prefix": "", "limit": 100, "cursor": cursor });
        let page = running.request(actor, &command).unwrap_or_else(|why| panic!("{why}"));
        let page = page.get("ok").unwrap_or_else(|| panic!("{page}")).clone();
        let page_rows: Vec<(String, String)> = serde_json::from_value(page[0].clone()).expect("rows");
        rows.extend(page_rows);
        cursor = page[1].clone();
        if cursor.is_null() {
            return rows;
        }
    }
}

/// The answer of `theater verify --journal`, which must find no fault; and the log must be what its document says.
fn audit(stage: &Stage) {
    let output = theater(&["verify", "--journal", stage.data_dir().to_str().expect("a path"), "--json"], None);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    read_log_by_document(&stage.data_dir());
}

fn put(key: &str, value: &str) -> Value {
    json!({ "op": "put", "key": key, "value": value })
}

fn get(key: &str) -> Value {
    json!({ "op": "row-of", "key": key })
}

fn delete(key: &str) -> Value {
    json!({ "op": "delete", "key": key })
}

fn scan(prefix: &str, limit: u32, cursor: Option<&str>) -> Value {
    json!({ "op": "scan", "prefix": prefix, "limit": limit, "cursor": cursor })
}

fn many(ops: &[Value]) -> Value {
    json!({ "op": "many", "ops": ops })
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn remove_the_index(stage: &Stage) {
    for file in ["index.db", "index.db-wal", "index.db-shm"] {
        // Not all of them are always there.
        let _ = std::fs::remove_file(stage.data_dir().join(file));
    }
}

#[test]
fn rows_are_written_read_overwritten_and_deleted() {
    let scribe = Scribe::new();
    assert_eq!(scribe.get("a"), Value::Null);
    scribe.put("a", "1");
    scribe.put("b", "2");
    assert_eq!(scribe.get("a"), "1");
    scribe.put("a", "3");
    assert_eq!(scribe.get("a"), "3");
    assert_eq!(scribe.ask(&json!("count-rows")), 2);
    assert_eq!(scribe.ask(&delete("a")), json!({ "ok": true }));
    assert_eq!(scribe.ask(&delete("a")), json!({ "ok": false }));
    assert_eq!(scribe.rows(), pairs(&[("b", "2")]));
    assert_eq!(scribe.ask(&json!("count-rows")), 1);
    scribe.put("", "the empty key");
    assert_eq!(scribe.get(""), "the empty key");
    scribe.put("empty", "");
    assert_eq!(scribe.get("empty"), "");
    scribe.ends_sound();
}

#[test]
fn a_scan_goes_in_the_order_of_the_keys_by_prefix_and_by_pages() {
    let scribe = Scribe::new();
    let ops: Vec<_> = ["b/2", "a/1", "b/1", "c", "b/10", "b"].into_iter().map(|key| put(key, "x")).collect();
    scribe.ask(&many(&ops));
    let page = scribe.ask(&scan("b/", 2, None));
    assert_eq!(page, json!({ "ok": [[["b/1", "x"], ["b/10", "x"]], "b/10"] }));
    assert_eq!(scribe.ask(&scan("b/", 2, Some("b/10"))), json!({ "ok": [[["b/2", "x"]], null] }));
    assert_eq!(scribe.ask(&scan("b/", 3, None))["ok"][1], Value::Null, "no row follows");
    assert_eq!(scribe.ask(&scan("", 1, None)), json!({ "ok": [[["a/1", "x"]], "a/1"] }));
    assert_eq!(scribe.ask(&scan("d", 1, None)), json!({ "ok": [[], null] }));
    assert_eq!(scribe.ask(&scan("b/", 9, Some("a")))["ok"][0].as_array().map(Vec::len), Some(3), "a cursor before");
    assert_eq!(scribe.ask(&scan("b/", 9, Some("z")))["ok"][0], json!([]), "a cursor behind");
    scribe.ends_sound();
}

#[test]
fn a_call_sees_what_it_has_written_and_a_refusal_or_a_trap_undoes_it() {
    let scribe = Scribe::with("restart = \"permanent\"");
    scribe.ask(&many(&[put("a", "1"), put("b", "2")]));
    let seen = scribe.ask(&many(&[put("c", "3"), delete("a"), put("b", "4"), scan("", 9, None), json!("count-rows")]));
    assert_eq!(seen[3], json!({ "ok": [[["b", "4"], ["c", "3"]], null] }));
    assert_eq!(seen[4], 2);
    let before = scribe.rows();
    for end in [json!({ "op": "refuse", "message": "no" }), json!("trap")] {
        let undone = many(&[put("d", "5"), delete("b"), put("c", "6"), get("c"), end]);
        scribe.running.request("scribe", &undone).expect_err("it does not return");
        eventually("the actor runs", || (scribe.running.status("scribe") == "running").then_some(()));
        assert_eq!(scribe.rows(), before);
        assert_eq!(scribe.ask(&json!("count-rows")), 2);
    }
    scribe.ends_sound();
}

#[test]
fn the_chain_names_what_a_read_has_shown_by_the_events_that_wrote_it() {
    let scribe = Scribe::new();
    scribe.put("a", "the value");
    scribe.get("a");
    scribe.ask(&scan("", 9, None));
    let events = scribe.running.events("scribe");
    for read in ["get", "scan"] {
        let said = data_of(&events, &format!("host-call ntwk:theater/table.{read}"))[0];
        assert!(said.get("result").is_none() && said.get("digest").is_some(), "{said}");
        assert!(!said.to_string().contains("the value"));
    }
    scribe.ends_sound();
}

#[test]
fn rows_outlive_a_kill_an_orderly_end_a_restart_and_the_index() {
    let mut scribe = Scribe::new();
    scribe.ask(&many(&[put("a", "1"), put("b", &"2".repeat(20_000))]));
    let rows = scribe.rows();
    scribe = scribe.killed();
    assert_eq!(scribe.rows(), rows);
    scribe.running.say(&["restart", "scribe"]);
    assert_eq!(scribe.rows(), rows);
    scribe = scribe.killed_and(remove_the_index);
    assert_eq!(scribe.rows(), rows);
    assert_eq!(scribe.ask(&json!("count-rows")), 2);
    let Scribe { stage, manifest, running } = scribe;
    running.shut_down();
    remove_the_index(&stage);
    let running = stage.run(&[&manifest]);
    let scribe = Scribe { stage, manifest, running };
    assert_eq!(scribe.rows(), rows);
    scribe.running.say(&["stop", "scribe"]);
    scribe.running.say(&["restart", "scribe"]);
    assert_eq!(scribe.rows(), rows);
    scribe.ends_sound();
}

#[test]
fn what_is_read_is_the_same_in_a_replay_after_many_writes_and_kills() {
    let mut scribe = Scribe::with("restart = \"permanent\"\nmax_restarts = 100");
    for seed in 0..12 {
        let churn = json!({ "op": "churn", "seed": seed, "rounds": 200 });
        scribe.ask(&churn);
        if seed % 3 == 1 {
            scribe.running.request("scribe", &many(&[churn.clone(), json!("trap")])).expect_err("a trap");
            scribe.running.until("scribe", "running");
        }
        if seed % 4 == 2 {
            let rows = scribe.rows();
            let count = scribe.ask(&json!("count-rows"));
            assert_eq!(count, rows.len());
            scribe = scribe.killed_and(|stage| {
                if seed % 8 == 2 {
                    remove_the_index(stage)
                }
            });
            assert_eq!(scribe.rows(), rows);
            assert_eq!(scribe.ask(&json!("count-rows")), count);
        }
    }
    scribe.ends_sound();
}

#[test]
fn limits_are_told_by_name_and_change_nothing() {
    let limits = "[limits]\ntable_key_bytes = 10\ntable_value_bytes = 20\ntable_writes = 3\ntable_scan_rows = 2\ntable_scan_bytes = 25\n";
    let scribe = Scribe::with(limits);
    let err = |command: &Value| scribe.ask(command)["err"].as_str().unwrap_or_default().to_owned();
    assert_eq!(err(&put("12345678901", "x")), "a key of 11 bytes: the limit table_key_bytes is 10");
    assert_eq!(
        err(&json!({ "op": "long-key", "n": 1_000_000 })),
        "a key of 1000000 bytes: the limit table_key_bytes is 10"
    );
    assert_eq!(err(&delete("12345678901")), "a key of 11 bytes: the limit table_key_bytes is 10");
    assert_eq!(
        err(&json!({ "op": "put-bytes", "key": "k", "n": 21 })),
        "a value of 21 bytes: the limit table_value_bytes is 20"
    );
    assert_eq!(err(&scan("12345678901", 1, None)), "a prefix of 11 bytes: the limit table_key_bytes is 10");
    assert_eq!(err(&scan("", 1, Some("12345678901"))), "a cursor of 11 bytes: the limit table_key_bytes is 10");
    assert_eq!(err(&scan("", 0, None)), "a scan of 0 rows: ask for at least 1");
    let answers = scribe.ask(&many(&[put("a", "1"), put("b", "2"), delete("b"), put("c", "3"), delete("a")]));
    assert_eq!(answers[3]["err"], "this call has written 3 times: the limit table_writes is 3");
    assert_eq!(answers[4]["err"], "this call has written 3 times: the limit table_writes is 3");
    assert_eq!(scribe.rows(), pairs(&[("a", "1")]));
    scribe.ask(&many(&[put("b", "2"), put("c", "3"), put("d", "4")]));
    assert_eq!(scribe.ask(&scan("", 9, None)), json!({ "ok": [[["a", "1"], ["b", "2"]], "b"] }), "two rows");
    scribe.ask(&many(&[put("e", &"x".repeat(20)), put("f", &"y".repeat(20)), put("g", "z")]));
    assert_eq!(scribe.ask(&scan("e", 9, None))["ok"][0].as_array().map(Vec::len), Some(1));
    let large = scribe.ask(&scan("", 9, Some("d")));
    assert_eq!(large["ok"][0].as_array().map(Vec::len), Some(2), "bytes are full with the second: {large}");
    let recorded = scribe.running.events("scribe");
    let refused = data_of(&recorded, "host-call ntwk:theater/table.get")[0];
    assert!(refused.to_string().len() < 400, "of what is too long the beginning is recorded");
    scribe.ends_sound();
}

#[test]
fn without_the_grant_the_manifest_is_refused_with_the_remedy() {
    let stage = Stage::new();
    let manifest = stage.manifest("scribe", "scribe", "");
    let why = stage.run_with(&[&manifest], &[]).err().expect("it needs the handler");
    assert!(why.contains("ntwk:theater/table") && why.contains("type = \"table\""), "{why}");
}

#[test]
fn a_restart_from_the_initial_state_begins_with_an_empty_table_also_across_a_kill() {
    let scribe = Scribe::with("restart = \"permanent\"\nrestart_state = \"initial\"");
    scribe.ask(&many(&[put("a", "1"), put("b", "2")]));
    scribe.running.request("scribe", &json!("trap")).expect_err("a trap");
    scribe.running.until("scribe", "running");
    assert_eq!(scribe.rows(), []);
    assert_eq!(scribe.ask(&json!("count-rows")), 0);
    scribe.put("c", "3");
    let scribe = scribe.killed_and(remove_the_index);
    assert_eq!(scribe.rows(), pairs(&[("c", "3")]));
    assert_eq!(scribe.ask(&json!("count-rows")), 1);
    scribe.ends_sound();
}

#[test]
fn what_init_writes_is_there_afterwards() {
    let stage = Stage::new();
    let init = json!({ "init": many(&[put("a", "1"), json!("count-rows"), get("a")]) });
    let init = stage.file("init.json", init.to_string());
    let manifest = stage.manifest(
        "scribe",
        "scribe",
        &format!("init_state = {init:?}\nrestart = \"permanent\"\nrestart_state = \"initial\"\n{TABLE}"),
    );
    let running = stage.run(&[&manifest]);
    let scribe = Scribe { stage, manifest, running };
    assert_eq!(scribe.rows(), pairs(&[("a", "1")]));
    scribe.put("b", "2");
    scribe.running.request("scribe", &json!("trap")).expect_err("a trap");
    scribe.running.until("scribe", "running");
    assert_eq!(scribe.rows(), pairs(&[("a", "1")]));
    assert_eq!(scribe.ask(&json!("count-rows")), 1);
    scribe.ends_sound();
}

#[test]
fn an_instance_that_serves_several_calls_is_executed_again_with_the_rows_of_then() {
    let mut scribe = Scribe::with("reuse = 100");
    for n in 0..30 {
        scribe.ask(&json!({ "op": "churn", "seed": n, "rounds": 20 }));
        scribe.ask(&json!("global"));
        if n % 5 == 4 {
            scribe = scribe.killed();
        }
    }
    scribe.ends_sound();
}

fn prune(running: &Theater, before: u64) -> Value {
    running.json(&["prune", "scribe", "--before", &before.to_string()])
}

fn bytes_of_the_journal(stage: &Stage) -> Vec<u8> {
    let dir = stage.data_dir();
    let logs = std::fs::read_dir(dir.join("log")).expect("a log").map(|file| file.expect("an entry").path());
    let index = ["index.db", "index.db-wal"].map(|name| dir.join(name)).into_iter();
    logs.chain(index).flat_map(|file| std::fs::read(file).unwrap_or_default()).collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Rows that a first incarnation has written, overwritten and deleted, then those of a second.
fn with_a_past() -> (Scribe, Vec<(String, String)>) {
    let scribe = Scribe::new();
    scribe.ask(&many(&[put("stays", "stays-value"), put("goes", "goes-value"), put("changes", "before-value")]));
    scribe.ask(&many(&[delete("goes"), put("changes", "after-value")]));
    scribe.running.say(&["restart", "scribe"]);
    scribe.ask(&many(&[put("later", "later-value"), delete("never")]));
    let rows = scribe.rows();
    (scribe, rows)
}

#[test]
fn a_prune_carries_the_rows_that_would_be_lost_and_drops_the_others() {
    let (scribe, rows) = with_a_past();
    let pruned = prune(&scribe.running, scribe.head());
    assert!(pruned["events"].as_u64() > Some(5), "{pruned}");
    assert_eq!(scribe.rows(), rows);
    let bytes = bytes_of_the_journal(&scribe.stage);
    assert!(holds(&bytes, "stays-value") && holds(&bytes, "after-value"));
    assert!(!holds(&bytes, "goes-value") && !holds(&bytes, "before-value"), "what is in no table any more is gone");
    let mut scribe = scribe.killed_and(remove_the_index);
    assert_eq!(scribe.rows(), rows);
    assert_eq!(scribe.ask(&json!("count-rows")), 3);
    // What was carried is overwritten and deleted, and the rest is carried again.
    scribe.ask(&many(&[delete("stays"), put("changes", "third-value")]));
    scribe.running.say(&["restart", "scribe"]);
    prune(&scribe.running, scribe.head());
    let rows = pairs(&[("changes", "third-value"), ("later", "later-value")]);
    assert_eq!(scribe.rows(), rows);
    scribe = scribe.killed_and(remove_the_index);
    assert_eq!(scribe.rows(), rows);
    scribe.ends_sound();
}

#[test]
fn what_was_pruned_is_exported_with_the_rows_that_a_replay_begins_with() {
    let (scribe, _) = with_a_past();
    prune(&scribe.running, scribe.head());
    scribe.ask(&many(&[get("stays"), get("goes"), scan("", 9, None), json!("count-rows")]));
    let chain = scribe.running.export(&scribe.stage, "scribe");
    let text = std::fs::read_to_string(&chain).expect("a chain");
    assert_eq!(text.matches("{\"row\":").count(), 2, "those of the first incarnation that are there");
    let replayed = verifies_and_replays(&chain);
    assert!(replayed["transitions"].as_u64() >= Some(2), "{replayed}");
    verify_by_document(&chain);
    // A file with another row comes to another digest.
    let forged = scribe.stage.path().join("forged.chain");
    let key = text.lines().find(|line| line.starts_with("{\"row\":")).expect("a row").to_owned();
    let hash = key.split("\"hash\":\"").nth(1).expect("a hash")[..40].to_owned();
    std::fs::write(
        &forged,
        text.replacen(
            &format!("\"hash\":\"{hash}\",\"data\""),
            &format!("\"hash\":\"{}\",\"data\"", "0".repeat(40)),
            1,
        ),
    )
    .expect("written");
    let why = support::replay(&forged, &[]).expect_err("another row");
    assert!(why.contains("data.digest"), "{why}");
    scribe.ends_sound();
}

#[test]
fn a_redaction_keeps_the_row_that_is_there_and_forgets_what_was() {
    let (scribe, rows) = with_a_past();
    let events = scribe.running.events("scribe");
    let written = |what: &str| {
        let is_it = |event: &&Value| {
            event["event_type"] == "host-call ntwk:theater/table.put" && event["data"]["params"][1] == what
        };
        events.iter().find(is_it).unwrap_or_else(|| panic!("no {what}"))["sequence"].to_string()
    };
    let deleted = events.iter().find(|event| event["event_type"] == "host-call ntwk:theater/table.delete");
    let deleted = deleted.expect("a delete")["sequence"].to_string();
    // The calls say what the actor was asked to write.
    let calls = events.iter().filter(|event| {
        let kind = event["event_type"].as_str().unwrap_or_default();
        kind.starts_with("call") && event["data"].to_string().contains("before-value")
    });
    let calls = calls.map(|event| event["sequence"].to_string());
    for event in [written("before-value"), written("stays-value"), deleted].into_iter().chain(calls) {
        scribe.running.say(&["redact", "scribe", "--event", &event]);
        assert_eq!(scribe.rows(), rows);
    }
    let bytes = bytes_of_the_journal(&scribe.stage);
    assert!(!holds(&bytes, "before-value"), "it was overwritten");
    assert!(holds(&bytes, "stays-value"), "it is there");
    let scribe = scribe.killed_and(remove_the_index);
    assert_eq!(scribe.rows(), rows);
    assert_eq!(scribe.ask(&json!("count-rows")), 3);
    scribe.ends_sound();
}

#[test]
fn a_table_of_the_past_is_shown_and_refused_by_name_after_a_prune() {
    let (scribe, _) = with_a_past();
    let returned = scribe.running.events("scribe");
    let first = returned
        .iter()
        .find(|event| {
            event["event_type"].as_str().is_some_and(|it| it.ends_with("handle-request") && it.starts_with("return"))
        })
        .expect("a return")["sequence"]
        .as_u64()
        .expect("a sequence");
    let shown = |at: u64| scribe.running.json(&["table", "scribe", "scan", "--at", &at.to_string()])["rows"].clone();
    let keys = |rows: &Value| -> Vec<String> {
        rows.as_array().expect("rows").iter().map(|row| row["key"].as_str().expect("a key").to_owned()).collect()
    };
    assert_eq!(keys(&shown(first)), ["changes", "goes", "stays"]);
    assert_eq!(keys(&shown(first - 1)), [""; 0], "the call had not returned");
    assert_eq!(
        scribe.running.json(&["table", "scribe", "get", "changes", "--at", &first.to_string()])["value"],
        "before-value"
    );
    prune(&scribe.running, scribe.head());
    let why = scribe.running.refused(&["table", "scribe", "scan", "--at", &first.to_string()]);
    assert!(why.contains(&format!("the table after event {first} cannot be had: the data of event")), "{why}");
    let why = scribe.running.refused(&["fork", "scribe", "--at", &first.to_string(), "--name", "past"]);
    assert!(why.contains("was dropped"), "{why}");
    scribe.ends_sound();
}

#[test]
fn a_fork_begins_with_the_rows_of_its_event_and_goes_its_own_way() {
    let (mut scribe, _) = with_a_past();
    let events = scribe.running.events("scribe");
    let returns: Vec<u64> = events
        .iter()
        .filter(|event| {
            event["event_type"].as_str().is_some_and(|it| it.starts_with("return") && it.contains("request"))
        })
        .map(|event| event["sequence"].as_u64().expect("a sequence"))
        .collect();
    scribe.running.say(&["fork", "scribe", "--at", &returns[0].to_string(), "--name", "early"]);
    let early = pairs(&[("changes", "before-value"), ("goes", "goes-value"), ("stays", "stays-value")]);
    assert_eq!(rows_of(&scribe.running, "early"), early);
    scribe.running.request("early", &many(&[put("own", "1"), delete("goes"), json!("count-rows")])).expect("an answer");
    let own = pairs(&[("changes", "before-value"), ("own", "1"), ("stays", "stays-value")]);
    prune(&scribe.running, scribe.head());
    assert_eq!(rows_of(&scribe.running, "early"), own);
    scribe = scribe.killed_and(remove_the_index);
    assert_eq!(rows_of(&scribe.running, "early"), own);
    let chain = scribe.running.export(&scribe.stage, "early");
    verifies_and_replays(&chain);
    verify_by_document(&chain);
    let text = std::fs::read_to_string(&chain).expect("a chain");
    assert_eq!(text.matches("{\"row\":0,").count(), 3);
    // A fork that begins with other rows than it names is refused.
    let forged = scribe.stage.path().join("forged.chain");
    let line = text.lines().find(|line| line.starts_with("{\"row\":0,")).expect("a row");
    let kept = text.replacen(&format!("{line}\n"), "", 1);
    let count = |n: usize| format!("\"attachments\":{n},");
    let kept = (3..9).fold(kept, |kept, n| {
        if kept.contains(&count(n)) && !kept.contains(&count(n - 1)) {
            kept.replacen(&count(n), &count(n - 1), 1)
        } else {
            kept
        }
    });
    std::fs::write(&forged, kept).expect("written");
    let why = support::verify(&forged).expect_err("a row is missing");
    assert!(why.contains("the rows after event 0") || why.contains("attachments"), "{why}");
    // Pruned, the fork still has what it began with.
    scribe.running.say(&["restart", "early"]);
    scribe.running.request("early", &put("own", "2")).expect("an answer");
    let head = scribe.running.last_event("early")["sequence"].to_string();
    scribe.running.say(&["prune", "early", "--before", &head]);
    let scribe = scribe.killed_and(remove_the_index);
    assert_eq!(
        rows_of(&scribe.running, "early"),
        pairs(&[("changes", "before-value"), ("own", "2"), ("stays", "stays-value")])
    );
    let chain = scribe.running.export(&scribe.stage, "early");
    verifies_and_replays(&chain);
    verify_by_document(&chain);
    scribe.ends_sound();
}

#[test]
fn the_command_and_the_sql_table_show_rows_of_a_runtime_and_of_a_directory() {
    let scribe = Scribe::new();
    scribe.ask(&many(&[put("a/1", "{\"x\":1}"), put("a/2", "two"), put("b", &"x".repeat(60_000))]));
    let dir = scribe.stage.data_dir();
    let dir = dir.to_str().expect("a path").to_owned();
    for more in [vec![], vec!["--data-dir", dir.as_str()]] {
        let say = |args: &[&str]| scribe.running.say(&[&["table", "scribe"], args, &more[..]].concat());
        assert_eq!(say(&["get", "a/2"]).trim(), "two");
        assert_eq!(say(&["count"]).trim(), "3");
        assert_eq!(say(&["scan", "--prefix", "a/"]), "a/1\t{\"x\":1}\na/2\t\"two\"");
        assert_eq!(say(&["scan", "--prefix", "612f", "--hex", "--limit", "1"]), "612f31\t{\"x\":1}");
        let page = scribe.running.json(&[&["table", "scribe", "scan", "--limit", "1"], &more[..]].concat());
        assert_eq!((&page["cursor"], &page["rows"][0]["key"]), (&json!("a/1"), &json!("a/1")));
        let rest = scribe.running.json(&[&["table", "scribe", "scan", "--cursor", "a/1"], &more[..]].concat());
        assert_eq!((rest["rows"].as_array().map(Vec::len), &rest["cursor"]), (Some(2), &Value::Null));
        let none = scribe.running.refused(&[&["table", "scribe", "get", "none"], &more[..]].concat());
        assert!(none.contains("the table has no row with the key none"), "{none}");
    }
    let rows = support::theater_says(&[
        "sql",
        "--json",
        "--data-dir",
        &dir,
        "SELECT key, bytes, value ->> '$.x' AS x FROM table_rows WHERE name = 'scribe'",
    ]);
    let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).expect("JSON")).collect();
    assert_eq!(rows[0], json!({ "key": "a/1", "bytes": 7, "x": 1 }));
    assert_eq!(rows.len(), 3);
    scribe.ends_sound();
}

#[test]
fn retention_carries_rows_too_and_what_was_deleted_goes() {
    let (scribe, _) = with_a_past();
    scribe.ask(&json!({ "op": "put-many", "prefix": "bulk/", "from": 0, "upto": 2_000, "n": 1_000 }));
    scribe.running.say(&["restart", "scribe"]);
    scribe.put("newest", "1");
    let rows = scribe.rows();
    let Scribe { stage, manifest, running } = scribe;
    running.shut_down();
    stage.file("theater.toml", "[retention]\nkeep_bytes = 1_048_576\n");
    let dir = stage.data_dir();
    let running = stage.command(&[&manifest], &[]).arg("--data-dir").arg(&dir).launch(&stage).expect("it starts");
    eventually("the first incarnation's data is gone", || {
        // While the segments are written anew, a part of an event may be gone already.
        let events = running.cli(&["events", "scribe", "--json"]);
        text(&events.stdout).contains("\"data\":\"\"").then_some(())
    });
    let scribe = Scribe { stage, manifest, running };
    assert_eq!(scribe.rows(), rows);
    let scribe = scribe.killed_and(remove_the_index);
    assert_eq!(scribe.rows(), rows);
    scribe.ends_sound();
}

/// Prints what a call costs that touches three rows of few or many, and how long an index of many rows takes to be made anew.
/// THEATER_ROWS sets how many; 1,000,000 by default.
#[test]
#[ignore = "it measures, and takes minutes"]
fn what_a_table_of_many_rows_costs() {
    let rows: u64 = std::env::var("THEATER_ROWS").map_or(1_000_000, |rows| rows.parse().expect("a number"));
    let mut scribe = Scribe::with("[limits]\ncpu_ms_per_call = 600_000\nrequest_deadline_ms = 600_000\n");
    scribe.ask(&json!({ "op": "put-many", "prefix": "r/", "from": 0, "upto": 10, "n": 100 }));
    let three_rows = |scribe: &Scribe, among: u64| {
        let mut http = support::Management::connect(scribe.running.management());
        let id = scribe.running.id("scribe");
        let begun = std::time::Instant::now();
        let times = 500;
        for time in 0..times {
            let key = |n: u64| format!("r/{:08}", (time * 7_919 + n * 104_729) % among);
            let value = "y".repeat(100);
            http.send_request(&id, &many(&[get(&key(0)), put(&key(1), &value), put(&key(2), &value)]));
            http.receive_reply().expect("an answer");
        }
        begun.elapsed() / u32::try_from(times).expect("a few")
    };
    let memory = |scribe: &Scribe| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", scribe.running.pid())).expect("a process");
        let of = |what: &str| status.lines().find(|line| line.starts_with(what)).expect("a line").to_owned();
        format!("{}, {}", of("VmHWM"), of("VmRSS"))
    };
    println!("three rows among 10: {:?} a call; {}", three_rows(&scribe, 10), memory(&scribe));
    let begun = std::time::Instant::now();
    for from in (10..rows).step_by(10_000) {
        let upto = rows.min(from + 10_000);
        scribe.ask(&json!({ "op": "put-many", "prefix": "r/", "from": from, "upto": upto, "n": 100 }));
    }
    println!("{rows} rows written in {:?}; {}", begun.elapsed(), memory(&scribe));
    println!("three rows among {rows}: {:?} a call; {}", three_rows(&scribe, rows), memory(&scribe));
    let begun = std::time::Instant::now();
    assert_eq!(scribe.ask(&json!("count-rows")), rows);
    println!("count: {:?}", begun.elapsed());
    let size = |file: &str| std::fs::metadata(scribe.stage.data_dir().join(file)).map_or(0, |file| file.len() >> 20);
    println!("index.db: {} MiB", size("index.db"));
    let Scribe { stage, manifest, running } = scribe;
    running.kill();
    remove_the_index(&stage);
    let begun = std::time::Instant::now();
    let running = stage.run(&[&manifest]);
    scribe = Scribe { stage, manifest, running };
    println!("a start that makes the index anew: {:?}; {}", begun.elapsed(), memory(&scribe));
    println!("three rows among {rows}: {:?} a call", three_rows(&scribe, rows));
    assert_eq!(scribe.ask(&json!("count-rows")), rows);
}
