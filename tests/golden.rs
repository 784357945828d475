//! Tests of chains that an earlier build made: every later build verifies them and replays them to the same head.
//!
//! The files `tests/golden/*.chain` are never written again, because they hold what this program did in the past. A
//! chain for a new feature is added with `cargo test --test golden -- --ignored`, which writes only missing files. Those of
//! version 3 were made from those of version 1 by `tests/golden/make_salted.py`, before the runtime wrote that version.

mod support;

use std::path::{Path, PathBuf};

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
    chains().iter().for_each(|chain| support::verify_by_document(chain));
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
    let chain = running.export(&stage, "counter");
    running.shut_down();
    assert!(verified().starts_with("verified: 1 actors, 111 events"), "{}", verified());
    went_over_to_version_3(&chain, 106);
    support::theater_says(&["replay", "--journal", journal]);
    support::read_log_by_document(&data_dir);
}

/// Checks that a chain holds so many events of version 1, and then events of version 3, and that it verifies and replays.
fn went_over_to_version_3(chain: &Path, of_version_1: usize) {
    let text = std::fs::read_to_string(chain).expect("a chain");
    assert!(text.starts_with("{\"format\":\"theater-chain\",\"version\":3,"), "{}", chain.display());
    let is_salted = |line: &str| line.contains("\"salt\":") || line.contains("\"data_sha256\":");
    let events: Vec<bool> = text.lines().filter(|line| line.starts_with("{\"sequence\":")).map(is_salted).collect();
    assert!(events.len() > of_version_1);
    assert!(events.iter().enumerate().all(|(at, salted)| *salted == (at >= of_version_1)), "{}", chain.display());
    verifies_and_replays(chain);
    support::verify_by_document(chain);
}

/// Copies a directory.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        let to = to.join(entry.file_name().expect("a name"));
        if entry.is_dir() { copy(&entry, &to) } else { _ = std::fs::copy(&entry, &to).expect("copied") }
    }
}

/// A golden journal in the data directory of a stage.
struct Landed {
    stage: Stage,
    name: &'static str,
    /// What the program said that wrote it: of each actor its id, a sequence, and the hash of that event.
    heads: String,
}

impl Landed {
    fn new(name: &'static str) -> Self {
        let (stage, golden) = (Stage::new(), dir().join(name));
        let data_dir = stage.data_dir();
        for part in ["log", "components"] {
            copy(&golden.join(part), &data_dir.join(part));
        }
        for file in ["journal.db", "journal.mark"] {
            std::fs::copy(golden.join(file), data_dir.join(file)).expect("copied");
        }
        let heads = std::fs::read_to_string(golden.join("heads")).expect("the heads");
        let landed = Self { stage, name, heads };
        landed.keeps_its_heads();
        landed.replays();
        landed
    }

    fn journal(&self) -> String {
        self.stage.data_dir().to_str().expect("a path").to_owned()
    }

    fn keeps_its_heads(&self) {
        support::theater_says(&["verify", "--journal", &self.journal()]);
        support::read_log_by_document(&self.stage.data_dir());
        for head in self.heads.lines() {
            let words: Vec<&str> = head.split(' ').collect();
            let events = support::theater_says(&["events", words[0], "--data-dir", &self.journal(), "--json"]);
            let event = events.lines().nth(words[1].parse().expect("a number")).unwrap_or_default();
            assert!(event.contains(words[2]), "{}: {head}: {event}", self.name);
        }
    }

    fn replays(&self) {
        support::theater_says(&["replay", "--journal", &self.journal(), "--verify-snapshots"]);
    }
}

/// One of format 5, with large parts and a large state that have no salt; and one whose chain was begun in journal format 3
/// and gone on with in format 6, where data of both was dropped, and the process was killed.
#[test]
fn golden_journals_of_format_5_and_6_keep_their_heads_replay_and_go_on() {
    for (name, actor, of_version_1) in [("journal-5", "probe", 35), ("journal-6-mixed", "counter", 106)] {
        let landed = Landed::new(name);
        let running = landed.stage.run(&[]);
        match actor {
            "counter" => {
                assert_eq!(running.json(&["state", actor])["state"], json!({ "count": 52 }));
                running.request(actor, &json!({ "add": 1 })).expect("an answer");
            }
            _ => assert_eq!(running.request(actor, &json!("count")), Ok(json!(6))),
        }
        let chain = running.export(&landed.stage, actor);
        running.shut_down();
        went_over_to_version_3(&chain, of_version_1);
        landed.keeps_its_heads();
        landed.replays();
    }
}

/// One of format 6 whose process was killed while two timers were pending and a monitor was open.
#[test]
fn a_golden_journal_of_format_6_keeps_what_its_actors_owe_themselves() {
    let landed = Landed::new("journal-6-owed");
    let running = landed.stage.run(&[]);
    let timers = running.request("alarm", &json!("timers")).expect("a list");
    let pending = timers.as_array().expect("a list").iter().map(|timer| (&timer[0], &timer[1]));
    let (far, later) = (json!(2_111_346_217_267_u64), json!(4_102_444_800_000_u64));
    assert!(pending.eq([(&json!("far"), &far), (&json!("later"), &later)]), "{timers}");
    running.say(&["stop", "alarm"]);
    let downs = || running.json(&["state", "sentry"])["state"]["downs"].as_array().expect("a list").len();
    support::eventually("the second end was told of", || Some(()).filter(|()| downs() == 2));
    running.shut_down();
    landed.keeps_its_heads();
    landed.replays();
}

/// `journal.db` as two first starts of an older program left it that were killed: one on a journal, one on nothing.
#[test]
fn a_start_that_was_killed_while_it_wrote_journal_db_hinders_no_later_one() {
    for (left, is_journal) in [("old", true), ("new", false)] {
        let (stage, golden) = (Stage::new(), dir().join("journal-5"));
        let data_dir = stage.data_dir();
        copy(&dir().join("journal-5-killed").join(left), &data_dir);
        if is_journal {
            for part in ["log", "components"] {
                copy(&golden.join(part), &data_dir.join(part));
            }
            std::fs::copy(golden.join("journal.mark"), data_dir.join("journal.mark")).expect("copied");
            support::theater_says(&["verify", "--journal", data_dir.to_str().expect("a path")]);
            copy(&dir().join("journal-5-killed").join(left), &data_dir);
        }
        stage.run(&[]).shut_down();
        assert!(!data_dir.join("journal.db-journal").exists());
        support::theater_says(&["verify", "--journal", data_dir.to_str().expect("a path")]);
    }
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

/// `heads` is what the program said that wrote the journal: actor, sequence and hash of each chain's last event.
#[test]
fn a_journal_of_every_older_format_keeps_its_heads() {
    for name in ["journal-1", "journal-2", "journal-3", "journal-4", "journal-given-up"] {
        let stage = Stage::new();
        let data_dir = stage.data_dir();
        std::fs::create_dir_all(&data_dir).expect("a directory");
        let is_of_journal = |path: &PathBuf| path.file_name().is_some_and(|file| file != "heads");
        let files = std::fs::read_dir(dir().join(name)).expect("a journal").map(|file| file.expect("a file").path());
        for file in files.filter(is_of_journal) {
            std::fs::copy(&file, data_dir.join(file.file_name().expect("a name"))).expect("copied");
        }
        let journal = data_dir.to_str().expect("a path");
        let heads = std::fs::read_to_string(dir().join(name).join("heads")).expect("the heads");
        let keeps_its_heads = |when: &str| {
            let audit = support::theater(&["verify", "--journal", journal], None);
            assert!(audit.status.success(), "{name}, {when}: {}", text(&audit.stdout));
            for head in heads.lines() {
                let words: Vec<&str> = head.split(' ').collect();
                let events = support::theater(&["events", words[0], "--data-dir", journal, "--json"], None);
                let events = text(&events.stdout);
                let event = events.lines().nth(words[1].parse().expect("a number")).unwrap_or_default();
                assert!(event.contains(words[2]), "{name}, {when}: {head}: {event}");
            }
        };
        keeps_its_heads("read as it is");
        assert!(!data_dir.join("log").exists(), "who only reads it changes nothing");
        // An actor whose port or directory is not there fails, and the others go on.
        stage.run(&[]).shut_down();
        assert!(data_dir.join("log").exists() && !data_dir.join("upgrade").exists());
        keeps_its_heads("brought to this version");
    }
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
    let mixed = dir().join("journal-6-mixed");
    if !mixed.exists() {
        mixed_journal(&Stage::new(), &mixed);
    }
}

/// The golden journal of format 3, gone on with by this program.
fn mixed_journal(stage: &Stage, to: &Path) {
    let data_dir = stage.data_dir();
    std::fs::create_dir_all(&data_dir).expect("a directory");
    for file in ["journal.db", "journal.mark"] {
        std::fs::copy(dir().join("journal-3").join(file), data_dir.join(file)).expect("copied");
    }
    // The manifest stays the stored one, so the journal names no path of this machine.
    let running = stage.run(&[]);
    running.request("counter", &json!({ "add": 1 })).expect("an answer");
    running.kill();
    let running = stage.run(&[]);
    running.request("counter", &json!({ "add": 1 })).expect("an answer");
    running.json(&["redact", "counter", "--event", "100"]);
    running.json(&["redact", "counter", "--event", "107"]);
    let last = running.last_event("counter");
    let head = format!("{} {} {}\n", running.id("counter"), last["sequence"], last["hash"].as_str().expect("a hash"));
    running.kill();
    // The copy lacks the room that was reserved.
    let (from, copied) = (data_dir.to_str().expect("a path"), to.to_str().expect("a path"));
    support::theater_says(&["backup", copied, "--data-dir", from]);
    std::fs::copy(data_dir.join("journal.db"), to.join("journal.db")).expect("copied");
    std::fs::write(to.join("heads"), head).expect("written");
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
