//! Tests of a damaged data directory: bytes cut, flipped or zeroed at any place. A start either refuses with a reason
//! or continues with exactly what was acknowledged. `verify --journal` accepts no damaged journal. Intact chains can be
//! exported.
//!
//! `THEATER_DAMAGE_ROUNDS` sets the number of damages, `THEATER_DAMAGE_SEED` their places.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::forge::{Item, sha1};
use support::log_file::{
    Footer, LogFile, LogRecord, Payload, alter_data, alter_log, batch_places, forge_log, segment_files,
};
use support::town::{Dice, from_env};
use support::{Http, Management, Stage, Theater, copy_journal, eventually, text, theater, verify};

const PAGE: usize = 4096;

/// A data directory with some history, and the true values in it.
struct Past {
    stage: Stage,
    /// The state and the head of each actor.
    truth: BTreeMap<String, (Value, Value)>,
}

impl Past {
    /// Three actors with some history in two segments; killed, or ended in an orderly way.
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
        for round in 0..40 {
            assert_eq!(counter.ask("POST", "/increment", None).status, 200);
            let request = json!({ "op": "request", "to": asked, "msg": "count" });
            assert_eq!(asker.op(&json!({ "op": "many", "ops": ["count", request] })).status, 200);
            if round == 20 {
                // What was written before is sealed with that.
                running.say(&["redact", "counter", "--event", "3"]);
            }
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
        copy_journal(&self.stage.data_dir(), &copy.data_dir());
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

/// The log, the mark and the components, byte for byte.
fn stands_in(stage: &Stage) -> BTreeMap<PathBuf, Vec<u8>> {
    let data = stage.data_dir();
    let inside = |name: &str| {
        let entries = std::fs::read_dir(data.join(name)).into_iter().flatten();
        entries.map(|entry| entry.expect("an entry").path()).collect::<Vec<_>>()
    };
    let mark = data.join("journal.mark");
    let files = inside("log").into_iter().chain(inside("components")).chain(mark.exists().then_some(mark));
    files.map(|file| (file.clone(), std::fs::read(&file).expect("a file"))).collect()
}

fn damaged_anywhere(is_killed: bool, seed: u64) {
    let past = Past::new(is_killed);
    let mut dice = Dice(seed);
    let (mut refused, mut went_on) = (0, 0);
    for round in 0..from_env("THEATER_DAMAGE_ROUNDS", 25) {
        let stage = past.copy();
        let segments = segment_files(&stage.data_dir());
        assert_eq!(segments.len(), 2);
        let file = match dice.roll(8) {
            0 => stage.data_dir().join("journal.mark"),
            1 => stage.data_dir().join("index.db"),
            2..5 => segments[0].clone(),
            _ => segments[1].clone(),
        };
        let what = format!("round {round}: {}", damage(&file, &mut dice));
        let whole = is_called_whole(&past, &stage, &what);
        assert!(whole || !file.ends_with("index.db"), "{what}: the log says it all");
        let before = stands_in(&stage);
        match stage.run_with(&[], &[]) {
            Err(why) => {
                refused += 1;
                assert!(!whole, "{what}: refused, and yet called whole: {why}");
                assert!(why.starts_with("exit status: 1") && why.contains("journal"), "{what}: {why}");
                assert!(!why.contains("panicked"), "{what}: {why}");
                assert!(stands_in(&stage) == before, "{what}: a journal that is refused stays as it is");
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
    alter_data(&stage.data_dir(), "asker", 5, &[0xa0]);
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
    (0..40).for_each(|_| assert_eq!(http.ask("POST", "/increment", None).status, 200));
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
    eventually("the index holds what the log does", || {
        let index = index_of(&stage);
        let held: i64 = index.query_row("SELECT batch FROM held", [], |row| row.get(0)).ok()?;
        (held.cast_unsigned() == LogFile::read(&stage.data_dir()).tip().batch).then_some(())
    });
    running.kill();
    Past { stage, truth: truth.into_iter().collect() }
}

fn index_of(stage: &Stage) -> rusqlite::Connection {
    rusqlite::Connection::open(stage.data_dir().join("index.db")).expect("a database")
}

const COUNTER: &str = "(SELECT actor FROM actors WHERE name = 'counter')";
const ASKED: &str = "(SELECT id FROM actors WHERE name = 'asked')";

/// Lies of the index, as SQL.
fn lies() -> Vec<String> {
    let of_counter = format!("WHERE actor = {COUNTER}");
    let actor = |change: &str, name: &str| format!("UPDATE actors SET {change} WHERE name = '{name}'");
    vec![
        format!("UPDATE heads SET position = 3, sequence = 0 {of_counter}"),
        format!("UPDATE heads SET state_position = 3, state_sequence = 0 {of_counter}"),
        format!("UPDATE heads SET state_position = NULL, state_sequence = NULL {of_counter}"),
        format!("UPDATE heads SET hash = zeroblob(20) {of_counter}"),
        format!("DELETE FROM heads {of_counter}"),
        format!("DELETE FROM heads {of_counter}; DELETE FROM actors {of_counter}"),
        format!("INSERT INTO owed VALUES ((SELECT id FROM actors WHERE name = 'asker'), 4, {ASKED}, 5, NULL)"),
        "UPDATE owed SET receiver = (SELECT id FROM actors WHERE name = 'counter')".into(),
        "UPDATE owed SET notice = 'failed'".into(),
        "UPDATE owed SET position = position - 1".into(),
        "DELETE FROM owed".into(),
        actor("alive = 0", "counter"),
        actor("alive = 1", "stopped"),
        actor("listed = 0", "counter"),
        actor("listed = 1", "forgotten"),
        actor("attempts = 2", "asked"),
        actor("manifest_path = '/elsewhere/counter.toml'", "counter"),
        actor("started = started + 1", "counter"),
        actor("incarnation = 7", "counter"),
        actor("name = 'other'", "counter"),
        actor("parent = id", "counter"),
        actor("component = zeroblob(32)", "counter"),
        actor("manifest = ''", "counter"),
        actor("id = '00000000-0000-4000-8000-000000000000'", "counter"),
        "DELETE FROM landmarks".into(),
        "UPDATE landmarks SET position = position - 1".into(),
        "DELETE FROM kept".into(),
        "UPDATE kept SET segment = 7".into(),
        "UPDATE milestones SET position = position - 1".into(),
        "UPDATE milestones SET sequence = sequence - 1".into(),
        "DELETE FROM milestones".into(),
        "UPDATE held SET batch = batch + 1".into(),
        "UPDATE held SET batch = batch - 1, position = position - 1".into(),
        "DELETE FROM held".into(),
        "DROP TABLE owed".into(),
        "PRAGMA user_version = 99".into(),
    ]
}

#[test]
fn an_index_that_lies_is_made_anew_and_nothing_is_refused_or_answered_wrong() {
    let past = busy_past();
    let stage = past.copy();
    let directory = |stage: &Stage| stage.data_dir().to_str().expect("a path").to_owned();
    assert!(
        is_called_whole(&past, &stage, "nothing was changed"),
        "{}",
        says(&["verify", "--journal", &directory(&stage)]).1
    );
    let listed = |stage: &Stage| {
        let running = stage.run(&[]);
        for (actor, (state, _)) in &past.truth {
            assert_eq!(&running.json(&["state", actor])["state"], state, "{actor}");
            assert_eq!(
                running.events(actor).len(),
                running.last_event(actor)["sequence"].as_u64().unwrap_or(0) as usize + 1
            );
        }
        let names: Vec<(String, String)> = running
            .json(&["list"])
            .as_array()
            .expect("actors")
            .iter()
            .map(|actor| (actor["name"].to_string(), actor["status"].to_string()))
            .collect();
        drop(running);
        names
    };
    let honest = listed(&stage);
    for lie in lies() {
        let stage = past.copy();
        let index = index_of(&stage);
        index.execute_batch(&lie).expect("changed");
        assert!(index.total_changes() > 0 || lie.starts_with("DROP") || lie.starts_with("PRAGMA"), "{lie}");
        drop(index);
        assert!(
            is_called_whole(&past, &stage, &lie),
            "{lie}: {}",
            says(&["verify", "--journal", &directory(&stage)]).1
        );
        assert_eq!(listed(&stage), honest, "{lie}");
    }
    for damage in [b"".to_vec(), vec![b'x'; 5000]] {
        let stage = past.copy();
        std::fs::write(stage.data_dir().join("index.db"), damage).expect("written");
        let _ = std::fs::remove_file(stage.data_dir().join("index.db-wal"));
        assert_eq!(listed(&stage), honest);
    }
}

/// A forgery, and the words in which `verify` names it and, where `is_seen` says so, a start refuses it.
struct Forgery {
    what: &'static str,
    words: &'static str,
    is_seen: bool,
    change: fn(&mut LogFile),
}

fn pending_of_asker(log: &mut LogFile) -> &mut ([u8; 16], String) {
    let asker = log.key_of("asker");
    log.chain(asker).filter_map(|event| event.owes.as_mut()).last().expect("a promise")
}

fn last_of<'a>(log: &'a mut LogFile, name: &str) -> &'a mut support::log_file::LogEvent {
    let key = log.key_of(name);
    log.chain(key).last().expect("an event")
}

fn forgeries() -> Vec<Forgery> {
    let forgery = |what, words, is_seen, change| Forgery { what, words, is_seen, change };
    vec![
        forgery("a start says something else", "start at position cannot be read", true, |log| {
            let counter = log.key_of("counter");
            log.event(counter, 0).says(&[0xa0]);
        }),
        forgery("a promise goes to another", "actor asker pending promises it to", true, |log| {
            let counter = log.id_of(log.key_of("counter"));
            pending_of_asker(log).0 = counter;
        }),
        forgery("a promise is a notice", "actor asker pending", true, |log| {
            pending_of_asker(log).1 = "failed".into();
        }),
        forgery("what was taken is owed", "actor asker pending took it", true, |log| {
            let asked = log.key_of("asked");
            log.chain(asked).find(|event| !event.settles.is_empty()).expect("it took one").settles.clear();
        }),
        forgery("it has ended, but not on its chain", "actor counter alive", true, |log| {
            let counter = log.key_of("counter");
            log.append(vec![LogRecord::Ended(counter)]);
        }),
        forgery("an event ends it that is no end", "actor counter alive", true, |log| {
            last_of(log, "counter").ends = true;
        }),
        forgery("its newest state is an earlier one", "actor counter led to its newest state", true, |log| {
            last_of(log, "counter").names_state = false;
        }),
        forgery(
            "a state is stored that no event names",
            "actor reader the state behind event is not the one that names",
            true,
            |log| {
                let actor = log.key_of("reader");
                let last = last_of(log, "reader");
                last.names_state = true;
                let (sequence, name) = (last.sequence, Some(sha1(b"{}")));
                log.append(vec![LogRecord::State {
                    actor,
                    sequence,
                    name,
                    is_salted: false,
                    state: Payload::Kept(b"{}".to_vec()),
                }]);
            },
        ),
        forgery("a state is stored for an event to come", "actor reader which is not on the chain", false, |log| {
            let (actor, name) = (log.key_of("reader"), Some(sha1(b"{}")));
            log.append(vec![LogRecord::State {
                actor,
                sequence: 999,
                name,
                is_salted: false,
                state: Payload::Kept(b"{}".to_vec()),
            }]);
        }),
        forgery("an event does not follow the one before it", "does not stand where it should", true, |log| {
            last_of(log, "counter").back += 1;
        }),
        forgery("an event is called another's", "does not stand where it should", true, |log| {
            last_of(log, "counter").sequence += 1;
        }),
        forgery("an actor never began", "never began", true, |log| {
            let counter = log.key_of("counter");
            log.event(counter, 0).begins = None;
        }),
        forgery("an actor has another's id", "counter id", true, |log| {
            let counter = log.key_of("counter");
            log.event(counter, 0).begins.as_mut().expect("it begins").id[0] ^= 1;
        }),
        forgery("an event is on another's chain", "actor reader event", false, |log| {
            let reader = log.key_of("reader");
            last_of(log, "counter").actor = reader;
        }),
        forgery("an event says another state", "event", true, |log| {
            let last = last_of(log, "counter");
            let mut item = Item::read(last.said());
            *item.get("state") = Item::state(Some(b"{\"count\":1000000}"));
            last.says(&item.write());
        }),
    ]
}

fn names(said: &str, words: &str) -> bool {
    said.lines().any(|line| words.split(' ').all(|word| line.contains(word)))
}

#[test]
fn a_forged_record_that_a_start_would_build_upon_is_refused_and_named_by_verify() {
    let past = busy_past();
    for Forgery { what, words, is_seen, change } in forgeries() {
        let stage = past.copy();
        let honest = LogFile::read(&stage.data_dir());
        forge_log(&stage.data_dir(), change);
        // Who forges the log takes away the index that knew better.
        let _ = std::fs::remove_file(stage.data_dir().join("index.db"));
        let _ = std::fs::remove_file(stage.data_dir().join("index.db-wal"));
        assert_ne!(LogFile::read(&stage.data_dir()), honest, "{what}");
        let (code, said) = says(&["verify", "--journal", stage.data_dir().to_str().expect("a path")]);
        assert_eq!(code, Some(1), "{what}: {said}");
        assert!(names(&said, words), "{what}: {said}");
        // A runtime that was killed may leave this: bytes that nobody was told of, and half a segment written anew.
        let last = segment_files(&stage.data_dir()).pop().expect("a segment");
        let written = std::fs::read(&last).expect("a segment");
        std::fs::write(&last, [&written[..support::log_file::written(&written)], &[7; 100]].concat()).expect("written");
        std::fs::write(stage.data_dir().join("log/00000001.new"), "half").expect("written");
        let before = stands_in(&stage);
        match stage.run_with(&[], &[]) {
            Ok(_) => assert!(!is_seen, "{what}: it was built upon"),
            Err(why) => {
                let is_so = why.starts_with("exit status: 1") && !why.contains("panicked") && names(&why, words);
                assert!(is_so, "{what}: {why}");
                assert!(stands_in(&stage) == before, "{what}: a journal that is refused stays as it is");
            }
        }
    }
}

/// Whatever a record says for good is covered by what the mark vouches for; what it holds beside that, by the hash of
/// its event or by its name.
#[test]
fn a_record_that_was_altered_is_refused_by_the_mark_and_named_by_verify() {
    let past = busy_past();
    let changes: [(&str, fn(&mut LogFile)); 10] = [
        ("attempts", |log| {
            let asked = log.key_of("asked");
            log.event(asked, 0).begins.as_mut().expect("it begins").attempts = 2;
        }),
        ("the path of a manifest", |log| {
            let counter = log.key_of("counter");
            log.event(counter, 0).begins.as_mut().expect("it begins").manifest_path = "/elsewhere".into();
        }),
        ("one that was stopped lives", |log| {
            let stopped = log.key_of("stopped");
            log.chain(stopped).for_each(|event| event.ends = false);
            log.retain(|record| *record != LogRecord::Ended(stopped));
        }),
        ("one is forgotten", |log| {
            let stopped = log.key_of("stopped");
            log.segments[0].batches.last_mut().expect("a batch").records.push(LogRecord::Forgotten(stopped));
        }),
        ("one was not forgotten", |log| log.retain(|record| !matches!(record, LogRecord::Forgotten(_)))),
        ("nothing is promised", |log| log.events_mut().for_each(|event| event.owes = None)),
        ("nothing is settled", |log| log.events_mut().for_each(|event| event.settles.clear())),
        ("a time", |log| last_of(log, "counter").timestamp += 1),
        ("a hash", |log| last_of(log, "counter").hash[0] ^= 1),
        ("an event is gone", |log| {
            let counter = log.key_of("counter");
            let last = last_of(log, "counter").sequence;
            log.retain(
                |record| !matches!(record, LogRecord::Event(event) if (event.actor, event.sequence) == (counter, last)),
            );
            log.link();
        }),
    ];
    for (what, change) in changes {
        let stage = past.copy();
        alter_log(&stage.data_dir(), change);
        let (code, said) = says(&["verify", "--journal", stage.data_dir().to_str().expect("a path")]);
        assert!(code == Some(1) && said.contains("journal.mark vouches for"), "{what}: {said}");
        let why = stage.run_with(&[], &[]).err().unwrap_or_else(|| panic!("{what}: it was built upon"));
        assert!(why.starts_with("exit status: 1") && why.contains("disagrees with its mark"), "{what}: {why}");
    }
}

#[test]
fn a_log_that_sums_up_its_index_wrongly_is_named_and_gone_on_from_by_its_records() {
    let past = Past::new(true);
    let stage = past.copy();
    let mut log = LogFile::read(&stage.data_dir());
    log.segments.last_mut().expect("a segment").batches.last_mut().expect("a batch").sum = [7; 16];
    log.write(&stage.data_dir());
    log.mark(&stage.data_dir());
    let last = log.tip().batch;
    let directory = stage.data_dir();
    let directory = directory.to_str().expect("a path");
    let (code, said) = says(&["verify", "--journal", directory]);
    assert!(code == Some(1) && said.contains(&format!("the standing sum of batch {last} is not")), "{said}");
    let running = stage.run(&[]);
    for (actor, (state, _)) in &past.truth {
        assert_eq!(&running.json(&["state", actor])["state"], state, "{actor}");
    }
    running.shut_down();
    let (code, said) = says(&["verify", "--journal", directory]);
    let named = format!("the standing sum of batch {last} is not what the records come to\n");
    assert!(code == Some(1) && said.starts_with(&named), "what follows is summed up rightly: {said}");
    assert!(said.contains("1 thing is wrong"), "{said}");
}

#[test]
fn a_wrong_standing_sum_in_the_middle_of_a_log_is_named_by_both_readers() {
    let past = busy_past();
    let stage = past.copy();
    let data = stage.data_dir();
    support::read_log_by_document(&data);
    let mut log = LogFile::read(&data);
    let batches = &mut log.segments[0].batches;
    let middle = batches.len() / 2;
    assert!(middle > 2 && middle + 2 < batches.len(), "there are batches before it and behind it");
    for at in [middle, middle + 2] {
        batches[at].sum[15] ^= 1;
    }
    log.write(&data);
    log.mark(&data);
    let (code, said) = says(&["verify", "--journal", data.to_str().expect("a path")]);
    let named = format!("the standing sum of batch {} is not what the records come to", middle + 1);
    assert!(code == Some(1) && said.starts_with(&format!("{named}, nor is that of 1 batch behind it\n")), "{said}");
    assert!(said.contains("1 thing is wrong"), "{said}");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/read_log.py");
    if let Ok(read) = std::process::Command::new("python3").arg(script).arg("--quiet").arg(&data).output() {
        let said = text(&read.stderr);
        assert!(read.status.code() == Some(1) && said.contains(&named), "{said}");
    }
}

/// How a start finds this log: with the words of its refusal, or with exactly what was acknowledged.
fn starts(past: &Past, stage: &Stage, what: &str) -> Option<String> {
    let before = stands_in(stage);
    match stage.run_with(&[], &[]) {
        Ok(running) => {
            for (actor, (state, _)) in &past.truth {
                assert_eq!(&running.json(&["state", actor])["state"], state, "{what}: {actor}");
            }
            None
        }
        Err(why) => {
            assert!(why.starts_with("exit status: 1") && !why.contains("panicked"), "{what}: {why}");
            assert!(stands_in(stage) == before, "{what}: a journal that is refused stays as it is");
            Some(why)
        }
    }
}

#[test]
fn a_log_that_is_cut_off_anywhere_in_what_was_acknowledged_is_refused() {
    let past = Past::new(true);
    let last = segment_files(&past.stage.data_dir()).pop().expect("a segment");
    let bytes = std::fs::read(&last).expect("a segment");
    let places = batch_places(&bytes);
    let end = *places.last().expect("an end");
    assert!(bytes[end..].iter().all(|byte| *byte == 0), "nothing follows the last batch but room that was reserved");
    let near = places.iter().rev().take(3).flat_map(|place| [place - 1, *place, place + 1, place + 50]);
    let cuts = [0, 1, 40, 83, 84, 85].into_iter().chain(near).filter(|cut| *cut < end);
    for cut in cuts {
        let stage = past.copy();
        let file = segment_files(&stage.data_dir()).pop().expect("a segment");
        std::fs::write(file, &bytes[..cut]).expect("cut");
        let why = starts(&past, &stage, &format!("cut at {cut}")).unwrap_or_else(|| panic!("cut at {cut}: accepted"));
        assert!(why.contains("are lost") && why.contains("theater repair"), "cut at {cut}: {why}");
        let whole = is_called_whole(&past, &stage, &format!("cut at {cut}"));
        assert!(!whole, "cut at {cut}");
    }
}

#[test]
fn what_follows_the_mark_and_is_not_whole_was_never_acknowledged_and_goes() {
    let past = Past::new(true);
    let honest = LogFile::read(&past.stage.data_dir());
    let mut longer = honest.clone();
    let counter = longer.key_of("counter");
    longer.append(vec![LogRecord::Survived(counter)]);
    longer.sum_up();
    let (before, after) = (honest.encoded().0.pop().expect("bytes"), longer.encoded().0.pop().expect("bytes"));
    assert!(after.starts_with(&before));
    let next = &after[before.len()..];
    let mut flipped = next.to_vec();
    *flipped.last_mut().expect("a byte") ^= 1;
    let endings: [(&str, Vec<u8>); 8] = [
        ("the magic word", next[..4].to_vec()),
        ("half a header", next[..44].to_vec()),
        ("a header", next[..88].to_vec()),
        ("all but a byte", next[..next.len() - 1].to_vec()),
        ("a flipped bit", flipped),
        ("zeros", vec![0; 9_000]),
        ("an earlier batch once more", before[before.len() - 500..].to_vec()),
        ("a whole batch", next.to_vec()),
    ];
    for (what, ending) in endings {
        let stage = past.copy();
        let file = segment_files(&stage.data_dir()).pop().expect("a segment");
        std::fs::write(&file, [&before[..], &ending].concat()).expect("written");
        assert!(is_called_whole(&past, &stage, what), "{what}");
        assert_eq!(starts(&past, &stage, what), None, "{what}");
        assert!(is_called_whole_still(&stage), "{what}");
    }
}

fn is_called_whole_still(stage: &Stage) -> bool {
    let (code, said) = says(&["verify", "--journal", stage.data_dir().to_str().expect("a path")]);
    assert_eq!(code, Some(0), "{said}");
    LogFile::read(&stage.data_dir()).tip().position > 0
}

#[test]
fn a_segment_that_is_missing_swapped_doubled_or_of_another_journal_is_refused_by_its_name() {
    let past = Past::new(false);
    let other = Past::new(false);
    let of = |stage: &Stage, number: u32| stage.data_dir().join("log").join(format!("{number:08}.log"));
    let copy = |from: &Path, to: &Path| _ = std::fs::copy(from, to).expect("a copy");
    let other_first = of(&other.stage, 1);
    type Way<'a> = (&'static str, &'static str, Box<dyn Fn(&Stage) + 'a>);
    let ways: Vec<Way<'_>> = vec![
        (
            "the first is missing",
            "00000002.log",
            Box::new(|stage| std::fs::remove_file(of(stage, 1)).expect("removed")),
        ),
        ("the last is missing", "are lost", Box::new(|stage| std::fs::remove_file(of(stage, 2)).expect("removed"))),
        (
            "all are missing",
            "a mark",
            Box::new(|stage| std::fs::remove_dir_all(stage.data_dir().join("log")).expect("removed")),
        ),
        (
            "they are swapped",
            "under another's name",
            Box::new(|stage| {
                copy(&of(stage, 1), &of(stage, 3));
                copy(&of(stage, 2), &of(stage, 1));
                copy(&of(stage, 3), &of(stage, 2));
                std::fs::remove_file(of(stage, 3)).expect("removed");
            }),
        ),
        ("one is there twice", "under another's name", Box::new(|stage| copy(&of(stage, 2), &of(stage, 3)))),
        (
            "one is missing in between",
            "is missing",
            Box::new(|stage| {
                std::fs::rename(of(stage, 2), of(stage, 3)).expect("renamed");
            }),
        ),
        ("the first is another journal's", "another journal", Box::new(|stage| copy(&other_first, &of(stage, 1)))),
        ("the first is nothing", "00000001.log", Box::new(|stage| std::fs::write(of(stage, 1), b"").expect("written"))),
    ];
    for (what, words, damage) in ways {
        let stage = past.copy();
        damage(&stage);
        let (code, said) = says(&["verify", "--journal", stage.data_dir().to_str().expect("a path")]);
        assert_eq!(code, Some(1), "{what}: {said}");
        let why = match stage.run_with(&[], &[]) {
            Ok(_) => panic!("{what}: it was built upon"),
            Err(why) => why,
        };
        assert!(why.starts_with("exit status: 1") && why.contains(words), "{what}: {why}");
    }
}

#[test]
fn a_footer_that_is_lost_or_lies_is_named_and_what_it_said_is_made_of_the_records() {
    let past = Past::new(true);
    let cases: [(&str, fn(&mut Vec<u8>)); 5] = [
        ("cut off", |bytes| bytes.truncate(*batch_places(bytes).last().expect("an end"))),
        ("half cut off", |bytes| bytes.truncate(*batch_places(bytes).last().expect("an end") + 20)),
        ("its trailer is flipped", |bytes| {
            let at = bytes.len() - 30;
            bytes[at] ^= 1;
        }),
        ("its directory is flipped", |bytes| {
            let at = *batch_places(bytes).last().expect("an end") + 12;
            bytes[at] ^= 1;
        }),
        ("its end is zeros", |bytes| {
            let at = bytes.len() - 80;
            bytes[at..].fill(0);
        }),
    ];
    for (what, damage) in cases {
        let stage = past.copy();
        let file = &segment_files(&stage.data_dir())[0];
        let mut bytes = std::fs::read(file).expect("a segment");
        damage(&mut bytes);
        std::fs::write(file, bytes).expect("written");
        for has_index in [true, false] {
            if !has_index {
                // Who has no index reads it all.
                let _ = std::fs::remove_file(stage.data_dir().join("index.db"));
            }
            let directory = stage.data_dir();
            let (code, said) = says(&["verify", "--journal", directory.to_str().expect("a path"), "--json"]);
            let found: Value =
                serde_json::from_str(said.lines().next().expect("a line")).unwrap_or_else(|_| panic!("{said}"));
            let findings = found["findings"].as_array().expect("findings");
            assert_eq!((code, findings.len()), (Some(1), 1), "{what}: {said}");
            assert!(findings[0].as_str().is_some_and(|finding| finding.contains("00000001.log")), "{what}: {said}");
            assert_eq!(starts(&past, &stage, what), None, "{what}");
        }
    }
    let stage = past.copy();
    alter_log(&stage.data_dir(), |log| log.segments[0].footer = Footer::Lying { generation: 1, off_by: 3 });
    let (code, said) = says(&["verify", "--journal", stage.data_dir().to_str().expect("a path")]);
    assert!(code == Some(1) && said.contains("its directory is not what its records say"), "{said}");
    if let Ok(running) = stage.run_with(&[], &[]) {
        for (actor, (state, _)) in &past.truth {
            let said = running.cli(&["events", actor, "--json"]);
            let said = text(&said.stdout) + &text(&said.stderr);
            assert!(said.contains("00000001.log") || said.contains("does not stand"), "{actor}: {said}");
            assert_eq!(&running.json(&["state", actor])["state"], state, "{actor}");
        }
    }
}

#[test]
fn a_component_that_was_altered_or_taken_away_is_named() {
    let past = Past::new(true);
    for is_altered in [true, false] {
        let stage = past.copy();
        let components = std::fs::read_dir(stage.data_dir().join("components")).expect("a directory");
        for file in components.map(|entry| entry.expect("an entry").path()) {
            if is_altered {
                let mut bytes = std::fs::read(&file).expect("a component");
                *bytes.last_mut().expect("a byte") ^= 1;
                std::fs::write(file, bytes).expect("written");
            } else {
                std::fs::remove_file(file).expect("removed");
            }
        }
        let (code, said) = says(&["verify", "--journal", stage.data_dir().to_str().expect("a path")]);
        let words = if is_altered { "was altered" } else { "is not in the journal" };
        assert!(code == Some(1) && names(&said, &format!("actor counter component {words}")), "{said}");
        let why = stage.run_with(&[], &[]).err().unwrap_or_else(|| panic!("{words}: it ran"));
        assert!(why.contains("component"), "{words}: {why}");
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
    let honest = LogFile::read(&stage.data_dir());
    let events: Vec<Vec<u8>> = honest.events().map(|event| event.said().to_vec()).collect();
    let file = stage.path().join("damaged.chain");
    let file = file.to_str().expect("a path");
    let mut dice = Dice(from_env("THEATER_DAMAGE_SEED", 0xda7a));
    for (at, data) in events.iter().enumerate() {
        // Replacements: nothing, a map without keys, a word, half of the data, another byte somewhere.
        let mut flipped = data.clone();
        flipped[dice.roll(data.len() as u64) as usize] ^= 1 << dice.roll(8);
        let damaged = [Vec::new(), vec![0xa0], vec![0x61, b'x'], data[..data.len() / 2].to_vec(), flipped];
        let damaged = &damaged[dice.roll(5) as usize];
        let mut log = honest.clone();
        log.events_mut().nth(at).expect("an event").says(damaged);
        log.write(&stage.data_dir());
        let what = format!("event {at} as {damaged:?}");
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
    }
}

/// A command that only reads, for each way to read a journal.
fn readers(directory: &Path) -> Vec<Vec<String>> {
    let directory = directory.to_str().expect("a path");
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    vec![
        words(&["verify", "--journal", directory]),
        words(&["events", "counter", "--data-dir", directory]),
        words(&["replay", "asked", "--journal", directory]),
        words(&["sql", "SELECT name FROM actors", "--data-dir", directory]),
    ]
}

fn said_by(args: &[String]) -> (Option<i32>, String) {
    says(&args.iter().map(String::as_str).collect::<Vec<_>>())
}

fn set(file: &Path, pragma: &str, value: i64) {
    let database = rusqlite::Connection::open(file).expect("a database");
    database.pragma_update(None, pragma, value).expect("set");
}

fn overwrite(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).expect("a file");
    bytes[at..at + 8].fill(0xff);
    std::fs::write(file, bytes).expect("written");
}

#[test]
fn a_damaged_journal_db_beside_a_log_hinders_nobody_and_is_made_anew_by_a_start() {
    let past = Past::new(true);
    let version = |file: &Path| {
        let found = rusqlite::Connection::open(file).and_then(|database| {
            let table = "SELECT count(*) FROM the_journal_is_in_the_directory_log";
            database.query_row(table, [], |row| row.get::<_, i64>(0))?;
            database.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
        });
        found.expect("a database")
    };
    let ways: [(&str, fn(&Path)); 10] = [
        ("no database", |file| std::fs::write(file, "no database at all").expect("written")),
        ("half of one", |file| {
            let bytes = std::fs::read(file).expect("a file");
            std::fs::write(file, &bytes[..bytes.len() / 2]).expect("written");
        }),
        ("its first bytes", |file| overwrite(file, 3)),
        ("the versions in its head", |file| overwrite(file, 16)),
        ("its schema format", |file| overwrite(file, 40)),
        ("its table", |file| overwrite(file, 100)),
        ("its version is none", |file| set(file, "user_version", 0)),
        ("its version is less than none", |file| set(file, "user_version", -1)),
        ("its version is one from before the log", |file| set(file, "user_version", 3)),
        ("its application", |file| set(file, "application_id", 7)),
    ];
    for (what, damage) in ways {
        let stage = past.copy();
        let file = stage.data_dir().join("journal.db");
        damage(&file);
        let damaged = std::fs::read(&file).expect("a file");
        for args in readers(&stage.data_dir()) {
            let (code, said) = said_by(&args);
            assert_eq!(code, Some(0), "{what}: {args:?}: {said}");
        }
        assert_eq!(std::fs::read(&file).expect("a file"), damaged, "{what}: who reads changes nothing");
        assert_eq!(starts(&past, &stage, what), None, "{what}");
        assert_eq!(version(&file), 7, "{what}: older programs refuse it again");
    }
}

#[test]
fn a_journal_db_that_may_be_all_there_is_or_is_anothers_is_refused_by_its_name() {
    let past = Past::new(true);
    let stage = past.copy();
    let (data, file) = (stage.data_dir(), stage.data_dir().join("journal.db"));
    let refused = |words: &str| {
        let why = stage.run_with(&[], &[]).err().unwrap_or_else(|| panic!("{words}: it ran"));
        let all = readers(&data).iter().map(|args| said_by(args)).collect::<Vec<_>>();
        for said in std::iter::once(&why).chain(all.iter().map(|(_, said)| said)) {
            assert!(said.contains("journal.db") && said.contains(words), "not {words:?}: {said}");
        }
    };
    std::fs::remove_file(&file).expect("removed");
    let database = rusqlite::Connection::open(&file).expect("a database");
    database.execute_batch("CREATE TABLE novels (title TEXT); PRAGMA user_version = 3").expect("made");
    drop(database);
    refused("move that file away");
    std::fs::remove_file(&file).expect("removed");
    std::fs::create_dir(&file).expect("a directory");
    refused("it is a directory");
    std::fs::remove_dir(&file).expect("removed");
    assert!(std::process::Command::new("mkfifo").arg(&file).status().expect("it runs").success());
    refused("it is a pipe");
    std::fs::remove_file(&file).expect("removed");
    for name in ["log", "components"] {
        std::fs::remove_dir_all(data.join(name)).expect("removed");
    }
    std::fs::write(&file, [7; 4096]).expect("written");
    refused("restore the directory from a backup");
}

#[test]
fn what_is_no_file_and_has_the_name_of_one_is_refused_at_once_by_its_name() {
    let past = Past::new(true);
    type Make = fn(&Path);
    let ways: [(&str, Make); 2] = [
        ("it is a directory, and no file", |path| std::fs::create_dir(path).expect("a directory")),
        ("it is a pipe, a socket or a device, and no file", |path| {
            assert!(std::process::Command::new("mkfifo").arg(path).status().expect("it runs").success());
        }),
    ];
    for (words, make) in ways {
        for of in ["log", "components", "journal.mark"] {
            let path = past.stage.data_dir().join(of);
            let all = if path.is_dir() {
                std::fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()).collect()
            } else {
                vec![path]
            };
            for file in all {
                let stage = past.copy();
                let file = stage.data_dir().join(file.strip_prefix(past.stage.data_dir()).expect("it is in there"));
                std::fs::remove_file(&file).expect("removed");
                make(&file);
                let named = format!("{}: {words}", file.display());
                let why = stage.run_with(&[], &[]).err().unwrap_or_else(|| panic!("{named}: it ran"));
                let (_, verified) = said_by(&readers(&stage.data_dir())[0]);
                let copy = stage.path().join("copy");
                let backup = ["backup", copy.to_str().expect("a path"), "--data-dir"];
                let directory = stage.data_dir();
                let (_, backed) = says(&[&backup[..], &[directory.to_str().expect("a path")]].concat());
                for said in [&why, &verified, &backed] {
                    assert!(said.contains(&named), "not {named:?}: {said}");
                }
            }
        }
    }
}

#[test]
fn damage_within_the_segment_that_grows_is_named_with_what_would_be_given_up() {
    let past = Past::new(true);
    let stage = past.copy();
    let (data, file) = (stage.data_dir(), segment_files(&stage.data_dir()).pop().expect("a segment"));
    let mut bytes = std::fs::read(&file).expect("a segment");
    let places = batch_places(&bytes);
    let (at, end) = (places[places.len() / 2], *places.last().expect("an end"));
    bytes[at + 90] ^= 1;
    std::fs::write(&file, &bytes).expect("written");
    let named = format!(
        "the batch at byte {at} of {} does not check: it and all that follows it, {} bytes",
        file.display(),
        end - at
    );
    let why = stage.run_with(&[], &[]).err().expect("it is refused");
    assert!(why.contains("are lost") && why.contains(&named), "not {named:?}: {why}");
    let directory = data.to_str().expect("a path");
    let (code, said) = says(&["repair", "--data-dir", directory]);
    assert!(code == Some(1) && said.contains(&format!("given up: {named}")), "{said}");
    let said: Value =
        serde_json::from_str(says(&["repair", "--data-dir", directory, "--json"]).1.lines().next().expect("a line"))
            .expect("JSON");
    assert_eq!(said["given_up"], json!({ "file": file, "byte": at, "bytes": end - at }));
}

#[test]
fn an_empty_file_behind_the_segment_that_grows_is_no_damage() {
    let past = Past::new(true);
    for bytes in [0, 84, 4096] {
        let stage = past.copy();
        let last = segment_files(&stage.data_dir()).pop().expect("a segment");
        let stray = last.with_file_name("00000003.log");
        std::fs::write(&stray, vec![0; bytes]).expect("written");
        assert!(is_called_whole(&past, &stage, "an empty segment"));
        let output =
            std::process::Command::new("python3").args(["docs/read_log.py", "--quiet"]).arg(stage.data_dir()).output();
        let output = output.expect("python3");
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(starts(&past, &stage, "an empty segment"), None);
        assert!(is_called_whole_still(&stage));
    }
}

#[test]
fn an_altered_event_that_a_start_builds_upon_is_named_with_its_actor_and_its_segment() {
    let past = Past::new(false);
    let stage = past.copy();
    // The newest start of each actor is another event then.
    stage.run(&[]).shut_down();
    let first = segment_files(&stage.data_dir())[0].clone();
    alter_data(&stage.data_dir(), "counter", 0, &[0xa0]);
    let why = stage.run_with(&[], &[]).err().expect("it is refused");
    let named = format!("{}: event 0 of actor ", first.display());
    assert!(why.contains(&named) && why.contains("is not what was written"), "not {named:?}: {why}");
}
