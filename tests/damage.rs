//! A damaged data directory: cut, flipped, zeroed, anywhere. A start either refuses with a reason or goes on with exactly
//! what was acknowledged; `verify --journal` does not call whole what is not; what is still whole can be exported.
//!
//! `THEATER_DAMAGE_ROUNDS` says how often, `THEATER_DAMAGE_SEED` where.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::town::{Dice, from_env};
use support::{Http, Stage, Theater, text, theater, verify};

const PAGE: usize = 4096;

/// A directory with a past, and what is true of it.
struct Past {
    stage: Stage,
    /// Where each actor was: state and head.
    truth: BTreeMap<String, (Value, Value)>,
}

impl Past {
    /// Three actors with some history, one with a state of several pages; killed, or ended in order.
    fn new(is_killed: bool) -> Self {
        let stage = Stage::new();
        let manifests = [
            stage.http_manifest("counter", "counter", ""),
            stage.http_manifest("asker", "probe", ""),
            stage.manifest("asked", "probe", ""),
        ];
        let running = stage.run(&manifests.each_ref().map(PathBuf::as_path));
        let mut counter = Http::connect(running.http("counter"));
        let mut asker = Http::connect(running.http("asker"));
        let asked = running.id("asked");
        for _ in 0..40 {
            assert_eq!(counter.ask("POST", "/increment", None).status, 200);
            let request = json!({ "op": "request", "to": asked, "msg": "count" });
            assert_eq!(asker.op(&json!({ "op": "many", "ops": ["count", request] })).status, 200);
        }
        let actors = ["counter", "asker", "asked"];
        let truth = actors.into_iter().map(|actor| (actor.to_owned(), stands(&running, &stage, actor))).collect();
        if is_killed {
            running.kill()
        } else {
            running.shut_down()
        }
        Self { stage, truth }
    }

    /// The same directory again, in a stage of its own.
    fn copy(&self) -> Stage {
        let copy = Stage::new();
        for entry in std::fs::read_dir(self.stage.data_dir()).expect("a directory") {
            let entry = entry.expect("an entry");
            if entry.file_type().expect("a type").is_file() {
                std::fs::copy(entry.path(), copy.data_dir().join(entry.file_name())).expect("a copy");
            }
        }
        // It is made anew from the log at every start.
        let _ = std::fs::remove_file(copy.data_dir().join("journal.db-shm"));
        copy
    }
}

fn stands(running: &Theater, stage: &Stage, actor: &str) -> (Value, Value) {
    let state = running.json(&["state", actor])["state"].clone();
    (state, verify(&running.export(stage, actor)).expect("it verifies")["head"].clone())
}

/// Does something to a file; what, in words.
fn damage(path: &Path, dice: &mut Dice) -> String {
    let mut bytes = std::fs::read(path).expect("a file");
    let at = dice.roll(bytes.len() as u64) as usize;
    let what = match dice.roll(4) {
        0 => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
        1 | 2 => {
            bytes[at] ^= 1 << dice.roll(8);
            format!("flipped at {at}")
        }
        _ => {
            let page = at / PAGE * PAGE;
            let end = bytes.len().min(page + PAGE);
            bytes[page..end].fill(0);
            format!("page {} zeroed", at / PAGE)
        }
    };
    std::fs::write(path, bytes).expect("written");
    format!("{} {what}", path.file_name().expect("a name").display())
}

fn says(args: &[&str]) -> (Option<i32>, String) {
    let output = theater(args, None);
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// Whether the journal is called whole; then its chains are what they were.
fn is_called_whole(past: &Past, stage: &Stage, what: &str) -> bool {
    let directory = stage.data_dir();
    let directory = directory.to_str().expect("a path");
    let (code, said) = says(&["verify", "--journal", directory]);
    assert!(!said.contains("panicked"), "{what}: {said}");
    assert!(matches!(code, Some(0 | 1)), "{what}: {code:?} {said}");
    for (actor, (_, head)) in &past.truth {
        let file = stage.path().join(format!("{actor}.chain"));
        let (exported, why) = says(&["export", actor, "--data-dir", directory, "-o", file.to_str().expect("a path")]);
        assert!(!why.contains("panicked"), "{what}: {why}");
        match exported {
            Some(0) if code == Some(0) => {
                assert_eq!(
                    &verify(&file).expect("it verifies")["head"],
                    head,
                    "{what}: {actor}, and verify saw nothing"
                );
            }
            Some(0) => {}
            _ => assert_eq!((exported, code), (Some(1), Some(1)), "{what}: {actor}: {why}"),
        }
    }
    code == Some(0)
}

fn damaged_anywhere(is_killed: bool, seed: u64) {
    let past = Past::new(is_killed);
    let mut dice = Dice(seed);
    let (mut refused, mut went_on) = (0, 0);
    for round in 0..from_env("THEATER_DAMAGE_ROUNDS", 25) {
        let stage = past.copy();
        let file = if is_killed && dice.roll(4) > 0 { "journal.db-wal" } else { "journal.db" };
        let what = format!("round {round}: {}", damage(&stage.data_dir().join(file), &mut dice));
        let whole = is_called_whole(&past, &stage, &what);
        let before = stage.data_dir().join("journal.db").metadata().expect("a file").len();
        match stage.run_with(&[], &[]) {
            Err(why) => {
                refused += 1;
                assert!(!whole, "{what}: refused, and yet called whole: {why}");
                assert!(why.starts_with("exit status: 1") && why.contains("journal"), "{what}: {why}");
                assert!(!why.contains("panicked"), "{what}: {why}");
                let after = stage.data_dir().join("journal.db").metadata().expect("a file").len();
                assert_eq!(before, after, "{what}: a journal that is refused stays as it is");
            }
            Ok(running) => {
                went_on += 1;
                for (actor, (state, _)) in &past.truth {
                    // One whose own state is damaged fails, and says so; nobody goes on from what was not.
                    if running.status(actor) == "running" {
                        assert_eq!(&running.json(&["state", actor])["state"], state, "{what}: {actor}");
                    } else {
                        assert!(!whole, "{what}: {actor} is {}, and yet called whole", running.status(actor));
                    }
                }
            }
        }
    }
    eprintln!("{refused} refused, {went_on} went on (seed {seed})");
}

#[test]
fn a_journal_that_ended_in_order_and_was_damaged_is_refused_or_goes_on_unharmed() {
    damaged_anywhere(false, from_env("THEATER_DAMAGE_SEED", 0xdab));
}

#[test]
fn a_journal_that_was_killed_and_damaged_is_refused_or_goes_on_unharmed() {
    damaged_anywhere(true, from_env("THEATER_DAMAGE_SEED", 0xbad));
}

#[test]
fn an_intact_chain_is_exported_from_a_journal_where_another_is_damaged() {
    let past = Past::new(false);
    let stage = past.copy();
    let journal = rusqlite::Connection::open(stage.data_dir().join("journal.db")).expect("a database");
    let altered = journal.execute(
        "UPDATE events SET data = x'a0' WHERE sequence = 5 AND actor = (SELECT actor FROM actors WHERE name = 'asker')",
        [],
    );
    assert_eq!(altered.expect("altered"), 1);
    drop(journal);
    let directory = stage.data_dir();
    let directory = directory.to_str().expect("a path");
    let (code, said) = says(&["verify", "--journal", directory]);
    assert!(code == Some(1) && said.contains("actor asker") && said.contains("event 5"), "{said}");
    assert!(!said.contains("actor counter"), "{said}");
    let file = stage.path().join("counter.chain");
    assert_eq!(says(&["export", "counter", "--data-dir", directory, "-o", file.to_str().expect("a path")]).0, Some(0));
    assert_eq!(verify(&file).expect("it verifies")["head"], past.truth["counter"].1);
}

#[test]
fn no_reader_panics_on_an_event_whose_data_is_damaged() {
    let stage = Stage::new();
    let manifest = stage.manifest("probe", "probe", "");
    for _ in 0..2 {
        let running = stage.run(&[&manifest]);
        let other = running.id("probe");
        for command in [
            json!("count"),
            json!("chain"),
            json!({ "op": "log", "text": "a line" }),
            json!({ "op": "request", "to": other, "msg": "count" }),
            json!({ "op": "state-bytes", "n": 5000 }),
        ] {
            running.request("probe", &command).expect("an answer");
        }
        let _ = running.request("probe", &json!({ "op": "refuse", "message": "no" }));
        let _ = running.request("probe", &json!("trap"));
        running.kill();
    }
    let directory = stage.data_dir();
    let directory = directory.to_str().expect("a path");
    let rows = rusqlite::Connection::open(stage.data_dir().join("journal.db")).expect("a database");
    let events: Vec<(i64, Vec<u8>)> = rows
        .prepare("SELECT position, data FROM events ORDER BY position")
        .expect("a query")
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("rows")
        .collect::<Result<_, _>>()
        .expect("rows");
    let file = stage.path().join("damaged.chain");
    let file = file.to_str().expect("a path");
    let mut dice = Dice(from_env("THEATER_DAMAGE_SEED", 0xda7a));
    for (position, data) in &events {
        // Nothing, a map with no keys, a word, half of it, another byte somewhere.
        let mut flipped = data.clone();
        flipped[dice.roll(data.len() as u64) as usize] ^= 1 << dice.roll(8);
        let damaged = [Vec::new(), vec![0xa0], vec![0x61, b'x'], data[..data.len() / 2].to_vec(), flipped];
        let damaged = &damaged[dice.roll(5) as usize];
        let write = |data: &[u8]| {
            rows.execute("UPDATE events SET data = ?2 WHERE position = ?1", rusqlite::params![position, data])
        };
        write(damaged).expect("damaged");
        let what = format!("event {} as {damaged:?}", position - 1);
        let (code, said) = says(&["verify", "--journal", directory]);
        assert_eq!(code, Some(1), "{what}: {said}");
        for args in [
            &["events", "probe", "--data-dir", directory][..],
            &["events", "probe", "--data-dir", directory, "--json"],
            &["state", "probe", "--data-dir", directory],
            &["export", "probe", "--data-dir", directory, "-o", file],
            &["verify", file],
            &["replay", file],
            &["replay", "--journal", directory, "--verify-snapshots"],
            &["replay", "--journal", directory, "probe", "--until", "9"],
        ] {
            let (code, said) = says(args);
            assert!(matches!(code, Some(0 | 1)) && !said.contains("panicked"), "{what}: {args:?}: {said}");
        }
        write(data).expect("mended");
    }
}
