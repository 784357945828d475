//! Tests of chains that an earlier build made: every later build verifies them and replays them to the same head.
//!
//! The files `tests/golden/*.chain` are never written again, because they hold what this program did in the past. A
//! chain for a new feature is added with `cargo test --test golden -- --ignored`, which writes only missing files. Those of
//! version 3 were made from those of version 1 by `tests/golden/make_salted.py`, because no runtime writes that version yet.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::{Stage, Theater, eventually, text, verifies_and_replays, verify};

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn chains() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir()).expect("the golden chains").map(|entry| entry.expect("a file").path());
    let mut chains: Vec<_> = entries.filter(|path| path.extension().is_some_and(|kind| kind == "chain")).collect();
    chains.sort();
    chains
}

#[test]
fn every_golden_chain_still_verifies_and_replays_to_its_head() {
    let chains = chains();
    assert!(chains.len() >= 3, "{chains:?}");
    for chain in &chains {
        let replayed = verifies_and_replays(chain);
        let header = std::fs::read_to_string(chain).expect("a chain");
        let header: Value = serde_json::from_str(header.lines().next().expect("a header")).expect("JSON");
        assert_eq!(
            (&replayed["head"], &replayed["events"]),
            (&header["head"], &header["events"]),
            "{}",
            chain.display()
        );
    }
}

#[test]
fn every_golden_chain_verifies_by_the_document_alone() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify_chain.py");
    for chain in chains() {
        match Command::new("python3").arg(&script).arg(&chain).output() {
            Ok(output) => assert!(output.status.success(), "{}: {}", chain.display(), text(&output.stderr)),
            Err(_) => return support::skipped("the verifier written from the document", "there is no python3"),
        }
    }
}

#[test]
fn the_golden_chains_hold_every_kind_of_event_and_little_else() {
    let bytes: u64 = chains().iter().map(|chain| std::fs::metadata(chain).expect("a file").len()).sum();
    assert!(bytes < 1_500_000, "{bytes} bytes");
    let all: String = chains().iter().map(|chain| std::fs::read_to_string(chain).expect("a chain")).collect();
    for kind in ["started", "call ", "intent ", "host-call ", "return ", "refused ", "failed", "stopped"] {
        assert!(all.contains(&format!("\"event_type\":\"{kind}")), "none has {kind}");
    }
    assert!(all.contains("\"blob\":"), "none has a state that is named by its digest");
    for version in [1, 3] {
        assert!(all.contains(&format!("\"version\":{version}")), "none is of version {version}");
    }
    for part in ["salt", "data_sha1", "data_sha256"] {
        assert!(all.contains(&format!("\"{part}\":")), "none has {part}");
    }
}

#[test]
fn a_chain_of_version_3_is_a_chain_of_version_1_with_other_hashes_and_replays_to_the_same_states() {
    let state_at = |name: &str, until: &str| {
        let chain = dir().join(format!("{name}.chain"));
        support::replay(&chain, &["--until", until]).unwrap_or_else(|why| panic!("{name}, {until}: {why}"))["state"]
            .clone()
    };
    for until in ["2", "10", "12", "16", "20", "22"] {
        let state = state_at("counter", until);
        assert_eq!(state_at("counter-salted", until), state, "after event {until}");
        if ["2", "10", "12", "20", "22"].contains(&until) {
            assert_eq!(state_at("counter-dropped", until), state, "after event {until}");
        }
    }
    assert_eq!(state_at("probe-mixed", "49"), state_at("probe", "49"));
}

#[test]
fn a_chain_of_version_3_without_some_of_its_data_is_replayed_around_what_is_missing() {
    let chain = dir().join("counter-dropped.chain");
    let replayed = verifies_and_replays(&chain);
    assert_eq!(replayed["skipped"], json!([[3, 10], [13, 19], [21, 22]]));
    let why = support::replay(&chain, &["--until", "8"]).expect_err("what led there is gone");
    assert!(why.contains("event 7"), "{why}");
}

/// A journal of format version 3: a counter over two incarnations, one event redacted, then pruned.
#[test]
fn a_golden_journal_is_read_as_it_is_and_goes_on_when_it_is_opened() {
    let stage = Stage::new();
    let data_dir = stage.data_dir();
    std::fs::create_dir_all(&data_dir).expect("a directory");
    for file in ["journal.db", "journal.mark"] {
        std::fs::copy(dir().join("journal-3").join(file), data_dir.join(file)).expect("copied");
    }
    let journal = data_dir.to_str().expect("a path");
    let verified = || {
        let audit = support::theater(&["verify", "--journal", journal], None);
        assert!(audit.status.success(), "{}", text(&audit.stdout));
        text(&audit.stdout)
    };
    assert!(verified().starts_with("verified: 1 actors, 106 events"), "{}", verified());
    let counted = support::theater(&["events", "counter", "--data-dir", journal, "--json"], None);
    assert_eq!(text(&counted.stdout).lines().count(), 106);
    let state = support::theater(&["state", "counter", "--data-dir", journal], None);
    assert_eq!(text(&state.stdout).trim(), "{\"count\":50}");

    let manifest = write_manifest(&stage, "counter", "counter", support::HTTP);
    let running = stage.run(&[&manifest]);
    assert_eq!(running.id("counter"), "67ebbe52-3a5d-4e80-9db3-e056d22b250e");
    let mut http = support::Http::connect(running.http("counter"));
    assert_eq!(http.ask("GET", "/", None).json(), json!({ "count": 50 }));
    assert_eq!(http.ask("POST", "/increment", None).json(), json!({ "count": 51 }));
    assert_eq!(running.events("counter").len(), 106 + 1 + 4);
    running.shut_down();
    assert!(verified().starts_with("verified: 1 actors, 111 events"), "{}", verified());
}

/// A journal of format version 4, written when a transition that was given up still used an incarnation's number.
/// `given-up.chain` is exported from it.
#[test]
fn a_golden_journal_that_lacks_an_incarnation_is_judged_as_its_export_is() {
    let stage = Stage::new();
    let data_dir = stage.data_dir();
    for file in ["journal.db", "journal.mark"] {
        std::fs::copy(dir().join("journal-given-up").join(file), data_dir.join(file)).expect("copied");
    }
    let journal = data_dir.to_str().expect("a path");
    let said = |args: &[&str]| {
        let output = support::theater(args, None);
        assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    };
    let replayed = "replayed: 1 actors, 8 events";
    assert!(said(&["verify", "--journal", journal]).starts_with("verified: 1 actors, 8 events"));
    assert!(said(&["replay", "--journal", journal]).starts_with(replayed));
    assert!(said(&["replay", "--journal", journal, "--verify-snapshots"]).starts_with(replayed));
    let file = stage.path().join("again.chain");
    said(&["export", "spinner", "--data-dir", journal, "-o", file.to_str().expect("a path")]);
    assert!(std::fs::read(&file).expect("a chain") == std::fs::read(dir().join("given-up.chain")).expect("a chain"));
}

#[test]
#[ignore = "writes the golden chains that are missing"]
fn write_the_golden_chains_that_are_missing() {
    std::fs::create_dir_all(dir()).expect("a directory");
    for (name, make) in [("probe", probe as fn(&Stage, &Path)), ("counter", counter), ("fork", fork)] {
        let file = dir().join(format!("{name}.chain"));
        if !file.exists() {
            make(&Stage::new(), &file);
            verify(&file).expect("it verifies");
            verifies_and_replays(&file);
        }
    }
}

/// A manifest without a path of this machine, because a chain contains the manifest's text.
fn write_manifest(stage: &Stage, name: &str, component: &str, more: &str) -> PathBuf {
    stage.copy_component(component, component);
    stage.file(&format!("{name}.toml"), format!("name = {name:?}\ncomponent_path = \"{component}.wasm\"\n{more}"))
}

fn export(running: &Theater, actor: &str, to: &Path) {
    running.say(&["export", actor, "-o", to.to_str().expect("a path")]);
}

/// Nearly everything that an actor can do, in one chain: sends, requests, refusals, traps, limits, states of each kind,
/// bits of floats, reading its own chain, and a process that was killed while a transition was open.
fn probe(stage: &Stage, file: &Path) {
    let manifest = write_manifest(stage, "probe", "probe", "reuse = 3\nrestart = \"permanent\"\nmax_restarts = 9\n");
    let other = write_manifest(stage, "other", "probe", "");
    let running = stage.run(&[&manifest, &other]);
    let other_id = running.id("other");
    let tell = |running: &Theater, command: &Value| running.request("probe", command);
    for command in [
        json!("count"),
        json!({ "op": "float", "x": 0.0 }),
        json!({ "op": "float", "x": -1.0 }),
        json!({ "op": "log", "text": "été ✓" }),
        json!({ "op": "send", "to": other_id, "msg": "count" }),
        json!({ "op": "request", "to": other_id, "msg": "count" }),
        json!({ "op": "request", "to": other_id, "msg": { "op": "refuse", "message": "no" } }),
        json!("global"),
        json!("chain"),
        json!({ "op": "state-bytes", "n": 6000 }),
        json!("count"),
    ] {
        tell(&running, &command).unwrap_or_else(|why| panic!("{command}: {why}"));
    }
    tell(&running, &json!({ "op": "refuse", "message": "not this" })).expect_err("refused");
    tell(&running, &json!("trap")).expect_err("trapped");
    running.until("probe", "running");
    tell(&running, &json!({ "op": "panic", "message": "on purpose" })).expect_err("panicked");
    running.until("probe", "running");
    assert_eq!(tell(&running, &json!("count")), Ok(json!(3)));
    // The other actor never answers, because the process is killed while both work.
    let management = running.management();
    let id = running.id("probe");
    let asked = json!({ "op": "request", "to": other_id, "msg": "spin" });
    let mut client = support::Management::connect(management);
    client.send_request(&id, &json!({ "op": "many", "ops": ["count", asked, "count"] }));
    eventually("both are at work", || {
        let last = running.last_event("other")["event_type"].as_str().map(str::to_owned);
        last.filter(|last| last.starts_with("call ")).map(drop)
    });
    running.kill();
    let running = stage.run(&[&manifest, &other]);
    eventually("what was open is over", || {
        let last = running.last_event("probe")["event_type"].as_str().map(str::to_owned);
        last.filter(|last| last.starts_with("return ") || last.starts_with("refused ")).map(drop)
    });
    let resumed = running.events("probe").iter().any(|event| event["data"]["resumes"] == json!(true));
    assert!(resumed, "the open transition went on");
    tell(&running, &json!("count")).expect("an answer");
    tell(&running, &json!("drop-state")).expect("an answer");
    running.say(&["stop", "probe"]);
    export(&running, "probe", file);
}

/// The shipped counter, over several incarnations.
fn counter(stage: &Stage, file: &Path) {
    let manifest = write_manifest(stage, "counter", "counter", support::HTTP);
    for _ in 0..2 {
        let running = stage.run(&[&manifest]);
        let mut http = support::Http::connect(running.http("counter"));
        http.ask("POST", "/increment", None);
        http.ask("GET", "/", None);
        http.ask("DELETE", "/nowhere", None);
        running.request("counter", &json!({ "add": 40 })).expect("an answer");
        running.kill();
    }
    let running = stage.run(&[&manifest]);
    running.say(&["restart", "counter"]);
    export(&running, "counter", file);
}

/// A fork of a counter.
fn fork(stage: &Stage, file: &Path) {
    let running = stage.run(&[&write_manifest(stage, "counter", "counter", "")]);
    running.request("counter", &json!({ "add": 40 })).expect("an answer");
    running.say(&["fork", "counter", "--at", "4", "--name", "fork"]);
    running.request("fork", &json!({ "add": 2 })).expect("an answer");
    export(&running, "fork", file);
}
