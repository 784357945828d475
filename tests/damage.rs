//! Tests of a damaged data directory: bytes cut, flipped or zeroed at any place. A start either refuses with a reason
//! or continues with exactly what was acknowledged. `verify --journal` accepts no damaged journal. Intact chains can be
//! exported.
//!
//! `THEATER_DAMAGE_ROUNDS` sets the number of damages, `THEATER_DAMAGE_SEED` their places.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use support::town::{Dice, from_env};
use support::{Http, Management, Stage, Theater, eventually, text, theater, verify};

const PAGE: usize = 4096;

/// A data directory with some history, and the true values in it.
struct Past {
    stage: Stage,
    /// The state and the head of each actor.
    truth: BTreeMap<String, (Value, Value)>,
}

impl Past {
    /// Three actors with some history, one of them with a state of several pages; killed, or ended in an orderly way.
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

    /// A copy of the directory, in a stage of its own.
    fn copy(&self) -> Stage {
        let copy = Stage::new();
        for entry in std::fs::read_dir(self.stage.data_dir()).expect("a directory") {
            let entry = entry.expect("an entry");
            if entry.file_type().expect("a type").is_file() {
                std::fs::copy(entry.path(), copy.data_dir().join(entry.file_name())).expect("a copy");
            }
        }
        // SQLite builds this file again from the log at every start.
        let _ = std::fs::remove_file(copy.data_dir().join("journal.db-shm"));
        copy
    }
}

fn stands(running: &Theater, stage: &Stage, actor: &str) -> (Value, Value) {
    let state = running.json(&["state", actor])["state"].clone();
    (state, verify(&running.export(stage, actor)).expect("it verifies")["head"].clone())
}

/// Damages a file; returns a description of the damage.
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

/// Whether `verify` accepts the journal; if so, checks that its chains are unchanged.
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
                    // An actor whose own state is damaged fails and says so; no actor continues from a wrong state.
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

/// A directory that was killed while `asked` was busy, with sends and a request in its mailbox, one actor stopped and
/// one forgotten. It is copied for each forgery.
fn busy_past() -> Past {
    let stage = Stage::new();
    let names = ["asker", "asked", "reader", "stopped", "forgotten"];
    let manifests = names.map(|name| stage.manifest(name, "probe", ""));
    let counter = stage.http_manifest("counter", "counter", "");
    let mut all: Vec<&Path> = manifests.iter().map(PathBuf::as_path).collect();
    all.push(&counter);
    let running = stage.run(&all);
    let mut http = Http::connect(running.http("counter"));
    (0..30).for_each(|_| assert_eq!(http.ask("POST", "/increment", None).status, 200));
    let tell = |actor: &str, command: &Value| running.request(actor, command).expect("an answer");
    let send = json!({ "op": "send", "to": running.id("asked"), "msg": "count" });
    tell("asker", &send);
    (0..3).for_each(|_| _ = tell("asked", &json!("count")));
    (0..3).for_each(|_| _ = tell("reader", &json!("count")));
    (0..20).for_each(|_| _ = tell("reader", &json!({ "op": "many", "ops": [] })));
    running.say(&["stop", "stopped"]);
    running.say(&["stop", "forgotten"]);
    running.say(&["forget", "forgotten"]);
    let mut management = Management::connect(running.management());
    management.send_request(&running.id("asked"), &json!("spin"));
    let busy = || running.event_types("asked").last()?.starts_with("call ").then_some(());
    eventually("asked is busy", busy);
    (0..3).for_each(|_| _ = tell("asker", &send));
    let truth = ["counter", "reader"].map(|actor| (actor.to_owned(), stands(&running, &stage, actor)));
    running.kill();
    Past { stage, truth: truth.into_iter().collect() }
}

/// Computes the seals of `heads` again, as anyone can.
fn reseal(rows: &rusqlite::Connection) {
    let mut select = rows
        .prepare("SELECT actor, heads.position, state, heads.dropped, hash FROM heads JOIN events USING (actor) WHERE events.position = heads.position")
        .expect("rows");
    let sealed = select.query_map([], |row| {
        let (actor, position): (i64, i64) = (row.get(0)?, row.get(1)?);
        let (state, dropped): (Option<i64>, Option<i64>) = (row.get(2)?, row.get(3)?);
        let mut bytes = actor.to_be_bytes().to_vec();
        for number in [Some(position), state, dropped] {
            bytes.extend(number.unwrap_or(-1).to_be_bytes());
        }
        bytes.extend(row.get::<_, [u8; 20]>(4)?);
        let seal = Sha1::digest(&bytes)[..8].try_into().expect("8 bytes");
        Ok((actor, i64::from_be_bytes(seal)))
    });
    for sealed in sealed.expect("rows").collect::<Vec<_>>() {
        let (actor, seal) = sealed.expect("a row");
        rows.execute("UPDATE heads SET seal = ?2 WHERE actor = ?1", (actor, seal)).expect("sealed");
    }
}

const OF_COUNTER: &str = "actor = (SELECT actor FROM actors WHERE name = 'counter')";
const OF_READER: &str = "actor = (SELECT actor FROM actors WHERE name = 'reader')";

/// Forgeries as SQL, each with the words in which a start refuses it and `verify` names it.
fn forgeries() -> Vec<(String, &'static str)> {
    let counter = |sequence: u32| format!("(SELECT position FROM events WHERE {OF_COUNTER} AND sequence = {sequence})");
    let (fifth, eighth) = (counter(4), counter(8));
    let end = |of: &str, sequence: &str| {
        format!(
            "UPDATE heads SET position = (SELECT position FROM events WHERE {of} AND sequence = {sequence}) WHERE {of}"
        )
    };
    let taken = "(SELECT id FROM actors WHERE name = 'asker'), 4, (SELECT id FROM actors WHERE name = 'asked'),
                 (SELECT position FROM events JOIN actors USING (actor) WHERE name = 'asker' AND sequence = 4), NULL";
    vec![
        (format!("UPDATE heads SET state = {eighth} WHERE {OF_COUNTER}"), "actor counter led to its newest state"),
        (format!("UPDATE heads SET position = {eighth}, state = {fifth} WHERE {OF_COUNTER}"), "actor counter heads"),
        (end(OF_READER, "10"), "actor reader heads"),
        (
            format!("UPDATE heads SET state = (SELECT position FROM events WHERE {OF_READER} AND sequence = 4) WHERE {OF_READER}"),
            "actor reader led to its newest state",
        ),
        (
            format!(
                "UPDATE heads SET state = position WHERE {OF_READER};
                 INSERT INTO states SELECT actor, 0, sequence, x'7b7d', NULL FROM heads JOIN events USING (actor, position)
                 WHERE {OF_READER}"
            ),
            "actor reader the state behind event is not the one that names",
        ),
        (format!("DELETE FROM heads WHERE {OF_COUNTER}"), "actor counter heads"),
        (format!("DELETE FROM heads WHERE {OF_COUNTER}; DELETE FROM actors WHERE {OF_COUNTER}"), "table of actors"),
        (format!("INSERT INTO pending VALUES ({taken})"), "actor asker pending took it"),
        ("UPDATE pending SET receiver = (SELECT id FROM actors WHERE name = 'counter')".into(), "actor asker pending promises it to"),
        ("UPDATE pending SET notice = 'failed'".into(), "actor asker pending"),
        ("UPDATE pending SET position = position - 1".into(), "actor asker pending"),
        ("UPDATE pending SET cause_sequence = cause_sequence + 1 WHERE position = (SELECT max(position) FROM pending)".into(), "actor asker pending"),
        ("DELETE FROM pending WHERE position = (SELECT min(position) FROM pending)".into(), "pending taken away"),
        ("UPDATE actors SET alive = 0 WHERE name = 'counter'".into(), "actor counter alive"),
        ("UPDATE actors SET alive = 1 WHERE name = 'stopped'".into(), "actor stopped alive"),
        ("UPDATE actors SET listed = 0 WHERE name = 'counter'".into(), "actor counter listed"),
        ("UPDATE actors SET listed = 1 WHERE name = 'forgotten'".into(), "actor forgotten listed"),
        ("UPDATE actors SET attempts = 2 WHERE name = 'asked'".into(), "actor asked attempts"),
        ("UPDATE actors SET manifest_path = '/elsewhere/counter.toml' WHERE name = 'counter'".into(), "actor counter manifest_path"),
        ("UPDATE actors SET incarnation = 7 WHERE name = 'counter'".into(), "actor counter incarnation"),
        ("UPDATE actors SET name = 'other' WHERE name = 'counter'".into(), "actor other name"),
        ("UPDATE actors SET parent = id WHERE name = 'counter'".into(), "actor counter parent"),
        ("UPDATE metadata SET value = zeroblob(16) WHERE key = 'owed'".into(), "pending"),
        ("DELETE FROM metadata WHERE key LIKE 'actor %'".into(), "seal"),
        (format!("UPDATE events SET data = x'a0' WHERE {OF_COUNTER} AND sequence = 0"), "event 0"),
    ]
}

#[test]
fn a_forged_row_that_a_start_would_build_upon_is_refused_and_named_by_verify() {
    let past = busy_past();
    let stage = past.copy();
    assert!(
        is_called_whole(&past, &stage, "nothing was forged"),
        "{}",
        says(&["verify", "--journal", stage.data_dir().to_str().expect("a path")]).1
    );
    drop(stage.run(&[]));
    for (forgery, expected) in forgeries() {
        let stage = past.copy();
        let rows = rusqlite::Connection::open(stage.data_dir().join("journal.db")).expect("a database");
        rows.execute_batch(&forgery).expect("forged");
        assert!(rows.total_changes() > 0, "{forgery}");
        reseal(&rows);
        drop(rows);
        let (code, said) = says(&["verify", "--journal", stage.data_dir().to_str().expect("a path")]);
        assert_eq!(code, Some(1), "{forgery}: {said}");
        let names = |said: &str| said.lines().any(|line| expected.split(' ').all(|word| line.contains(word)));
        assert!(names(&said), "{forgery}: {said}");
        let why = stage.run_with(&[], &[]).err().unwrap_or_else(|| panic!("{forgery}: it was built upon"));
        assert!(why.starts_with("exit status: 1") && !why.contains("panicked") && names(&why), "{forgery}: {why}");
    }
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
        // Replacements: nothing, a map without keys, a word, half of the data, another byte somewhere.
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
