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
        assert!(said.get("result").is_none() && said["digest"].is_string(), "{said}");
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
    let mut scribe = Scribe::with("restart = \"permanent\"");
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
            scribe = scribe.killed_and(|stage| if seed % 8 == 2 { remove_the_index(stage) });
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
    assert_eq!(err(&json!({ "op": "long-key", "n": 1_000_000 })), "a key of 1000000 bytes: the limit table_key_bytes is 10");
    assert_eq!(err(&delete("12345678901")), "a key of 11 bytes: the limit table_key_bytes is 10");
    assert_eq!(err(&json!({ "op": "put-bytes", "key": "k", "n": 21 })), "a value of 21 bytes: the limit table_value_bytes is 20");
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
