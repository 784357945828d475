//! Tests of a disk that loses unsynced data, fills up, fails, or cannot be written. Nothing acknowledged is lost, and
//! the operator is told.

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use support::disk::{Disk, Loss};
use support::town::{Dice, Town};
use support::{Http, PATIENCE, Stage, THEATER, eventually, text, verifies_and_replays};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

#[test]
fn what_was_acknowledged_survives_the_loss_of_everything_that_was_not_synced() {
    let town = Town::new();
    town.open_accounts();
    let disk = Disk::below(&town.stage);
    let mut dice = Dice(0x10ad);
    for round in 1..=8 {
        let running = town.start(&disk.that_may_lose_power()).unwrap_or_else(|why| panic!("round {round}: {why}"));
        town.live_until(running, 40 + dice.roll(200));
        disk.lose_power(if round % 2 == 0 { Loss::Any(&mut dice) } else { Loss::All });
        if round % 4 == 0 {
            town.holds(round);
        }
    }
    town.replays();
}

#[test]
fn a_new_journal_is_whole_or_new_when_the_power_fails_at_its_beginning() {
    for moment in [0, 1, 5] {
        let town = Town::new();
        let disk = Disk::below(&town.stage);
        let running = town.start(&disk.that_may_lose_power()).expect("it starts");
        town.live_until(running, moment);
        disk.lose_power(Loss::All);
        town.start(&[]).unwrap_or_else(|why| panic!("after {moment} answers: {why}")).shut_down();
    }
}

/// Changes the mark so that it was written before the last boot of the machine.
fn reboot(mark: &Path) {
    let text = std::fs::read_to_string(mark).expect("the mark");
    let line = text.lines().max_by_key(|line| line.split(' ').nth(2)?.parse::<u64>().ok()).expect("a line");
    let mut words: Vec<_> = line.trim_end().split(' ').collect();
    (_, words[5]) = (words.pop(), "another-boot");
    let body = words.join(" ");
    let mark_line = format!("{body} {}", hex::encode(Sha1::digest(body.as_bytes())));
    std::fs::write(mark, format!("{mark_line:<255}\n")).expect("written");
}

#[test]
fn under_relaxed_a_power_loss_leaves_a_consistent_cut_and_only_a_new_boot_excuses_it() {
    let stage = Stage::new();
    let manifest = stage.http_manifest("counter", "counter", "");
    let disk = Disk::below(&stage);
    let launch = stage.command(&[&manifest], &["--durability", "relaxed"]).arg("--data-dir").arg(stage.data_dir());
    let launch = disk.that_may_lose_power().iter().fold(launch, |launch, (key, value)| launch.env(key, value));
    let running = launch.launch(&stage).expect("it starts");
    let mut http = Http::connect(running.http("counter"));
    (0..100).for_each(|_| assert_eq!(http.ask("POST", "/increment", None).status, 200));
    running.kill();
    disk.lose_power(Loss::AllBut("journal.mark"));

    let why =
        stage.run_with(&[], &[]).err().expect("the machine was not started again: a disk that loses is no excuse");
    assert!(why.starts_with("exit status: 1") && why.contains("events are lost"), "{why}");
    reboot(&stage.data_dir().join("journal.mark"));
    let running = stage.run(&[&manifest]);
    assert!(stage.log().contains("before the last that was acknowledged"), "{}", stage.log());
    assert!(running.json(&["state", "counter"])["state"]["count"].as_u64().unwrap_or(0) < 100, "something was lost");
    verifies_and_replays(&running.export(&stage, "counter"));
}

#[test]
fn a_disk_that_fails_ends_the_runtime_with_a_reason_and_loses_nothing_acknowledged() {
    let town = Town::new();
    town.open_accounts();
    let disk = Disk::below(&town.stage);
    let mut dice = Dice(0xbad);
    let (full, broken) = (["full", "No space left"], ["disk I/O error", "Input/output error"]);
    let failures = [("write", ENOSPC, full), ("write", EIO, broken), ("sync", EIO, broken)];
    for round in 1..=9 {
        let (call, errno, words) = failures[round as usize % failures.len()];
        let nth = 1 + dice.roll(if call == "sync" { 60 } else { 300 });
        match town.start(&disk.that_fails(call, nth, errno)) {
            Ok(running) => {
                let status = town.live_until(running, u64::MAX);
                let log = town.stage.log();
                assert_eq!(status.code(), Some(3), "{call} {nth}: {log}");
                let said = log.lines().rev().find(|line| line.contains("cannot write the journal"));
                let named = said.is_some_and(|said| words.iter().any(|word| said.contains(word)));
                assert!(named, "{call} {nth}: {said:?} {log}");
            }
            Err(why) => assert!(why.starts_with("exit status: 1") || why.starts_with("exit status: 3"), "{nth}: {why}"),
        }
        town.holds(round);
    }
    town.replays();
}

#[test]
fn a_directory_that_cannot_be_written_is_refused_and_nothing_is_lost_by_it() {
    let town = Town::new();
    town.open_accounts();
    let disk = Disk::below(&town.stage);
    let why = town.start(&disk.that_fails("open", 1, EROFS)).err().expect("it is read-only");
    assert!(why.starts_with("exit status: 1") && why.contains("data directory") && why.contains("Read-only"), "{why}");
    town.holds(1);
}

/// Runs `theater ARGS…` as a user who may read what everyone may read, and may write nowhere.
fn as_a_stranger(stage: &Stage, args: &[&str]) -> Output {
    use std::os::unix::fs::PermissionsExt;
    let binary = stage.path().join("theater");
    if !binary.exists() {
        std::fs::copy(THEATER, &binary).expect("a copy where a stranger may come");
        std::fs::set_permissions(stage.path(), std::fs::Permissions::from_mode(0o755)).expect("set");
    }
    let am_root = std::fs::metadata("/proc/self").expect("proc").uid() == 0;
    let mut command = if am_root {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary);
        command
    } else {
        Command::new(binary)
    };
    command.args(args).env_remove("THEATER_DATA_DIR").output().expect("setpriv, where the tests are run by root")
}

#[test]
fn a_copy_that_cannot_be_written_can_be_read_or_says_why_not() {
    use std::os::unix::fs::PermissionsExt;
    for is_killed in [false, true] {
        let stage = Stage::new();
        let running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
        assert_eq!(Http::connect(running.http("counter")).ask("POST", "/increment", None).status, 200);
        if is_killed {
            running.kill()
        } else {
            running.shut_down()
        }
        let copy = stage.path().join("copy");
        std::fs::create_dir(&copy).expect("a directory");
        // A copy as a backup program might make it: without the log's index, and without an empty log.
        for name in ["journal.db", "journal.mark", "journal.db-wal"] {
            let bytes = std::fs::read(stage.data_dir().join(name)).unwrap_or_default();
            if !bytes.is_empty() {
                std::fs::write(copy.join(name), bytes).expect("a copy");
            }
        }
        std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o555)).expect("set");
        let copy = copy.to_str().expect("a path");
        let verified = as_a_stranger(&stage, &["verify", "--journal", copy]);
        let said = text(&verified.stdout) + &text(&verified.stderr);
        // A runtime truncates the log soon after its start; if it is killed after that, there is no log.
        let has_log = std::path::Path::new(copy).join("journal.db-wal").exists();
        assert!(is_killed || !has_log);
        if has_log {
            assert!(said.contains("copy the directory to where you may write"), "{said}");
        } else {
            assert!(verified.status.success() && said.contains("verified: 1 actors"), "{said}");
        }
        std::fs::set_permissions(copy, std::fs::Permissions::from_mode(0o755)).expect("to be removed");
    }
}

/// A copy of a data directory that belongs to the stranger, except for one file that the stranger may not read.
fn copy_without_a_right_to(stage: &Stage, unreadable: &str) -> std::path::PathBuf {
    use std::os::unix::fs::{PermissionsExt, chown};
    let am_root = std::fs::metadata("/proc/self").expect("proc").uid() == 0;
    let copy = stage.path().join(format!("without-{unreadable}"));
    std::fs::create_dir(&copy).expect("a directory");
    for name in ["journal.db", "journal.db-wal", "journal.mark", "lock"] {
        let file = copy.join(name);
        std::fs::write(&file, std::fs::read(stage.data_dir().join(name)).unwrap_or_default()).expect("a copy");
        if am_root && name != unreadable {
            chown(&file, Some(65534), Some(65534)).expect("given away");
        }
        let mode = if name == unreadable { 0o000 } else { 0o600 };
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("set");
    }
    if am_root {
        chown(&copy, Some(65534), Some(65534)).expect("given away");
    }
    copy
}

#[test]
fn permission_denied_names_the_file_that_it_is_about() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::new();
    stage.run(&[&stage.manifest("hello", "hello", "")]).kill();
    let says = |args: &[&str], file: &Path| {
        let output = as_a_stranger(&stage, args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        let named = format!("{}: Permission denied", file.display());
        assert!(said.contains(&named), "{args:?}: not {named:?}: {said}");
    };
    for name in ["lock", "journal.db", "journal.db-wal", "journal.mark"] {
        let copy = copy_without_a_right_to(&stage, name);
        let dir = copy.to_str().expect("a path");
        says(&["run", "--data-dir", dir, "--listen", "127.0.0.1:0"], &copy.join(name));
        if name != "lock" && name != "journal.mark" {
            says(&["events", "hello", "--data-dir", dir], &copy.join(name));
        }
    }
    let closed = copy_without_a_right_to(&stage, "nothing");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).expect("set");
    let dir = closed.to_str().expect("a path");
    says(&["verify", "--journal", dir], &closed.join("journal.mark"));
    says(&["events", "hello", "--data-dir", dir], &closed.join("journal.db"));
    says(&["run", "--data-dir", dir, "--listen", "127.0.0.1:0"], &closed.join("lock"));
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o755)).expect("to be removed");
}

/// A connection that reads the journal as it is now, until the connection is dropped.
fn reader_of(stage: &Stage) -> rusqlite::Connection {
    let rows = rusqlite::Connection::open(stage.data_dir().join("journal.db")).expect("a database");
    rows.execute_batch("BEGIN").expect("a transaction");
    rows.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0)).expect("a number");
    rows
}

/// The files of the data directory that contain these bytes.
fn files_with(stage: &Stage, wanted: &[u8]) -> Vec<String> {
    let entries = std::fs::read_dir(stage.data_dir()).expect("a directory").map(|entry| entry.expect("an entry"));
    let files = entries.filter(|entry| entry.file_type().expect("a type").is_file());
    let holding = files.filter(|entry| {
        let bytes = std::fs::read(entry.path()).expect("a file");
        bytes.windows(wanted.len()).any(|window| window == wanted)
    });
    holding.map(|entry| entry.file_name().into_string().expect("text")).collect()
}

#[test]
fn nobody_waits_for_a_reader_when_data_is_dropped_and_it_is_gone_once_the_reader_is_through() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("probe", "probe", "")]);
    let mut http = Http::connect(running.http("probe"));
    let secret = "the word that nobody is to read";
    let say = |http: &mut Http, word: &str| {
        assert_eq!(http.op(&json!({ "op": "many", "ops": [], "word": word })).status, 200);
    };
    say(&mut http, secret);
    let spoken = running.last_event("probe")["sequence"].as_u64().expect("a number") - 1;
    (0..20).for_each(|_| say(&mut http, "count"));
    let reader = reader_of(&stage);
    let is_over = AtomicBool::new(false);
    let (dropped, longest) = std::thread::scope(|threads| {
        let others = threads.spawn(|| {
            let mut longest = Duration::ZERO;
            while !is_over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                say(&mut http, "count");
                longest = longest.max(begun.elapsed());
            }
            longest
        });
        let over = support::Over(&is_over);
        let dropped = running.json(&["redact", "probe", "--event", &spoken.to_string()]);
        drop(over);
        (dropped, others.join().expect("others"))
    });
    assert_eq!((&dropped["events"], &dropped["gone"]), (&json!(1), &json!(false)), "it says so");
    assert!(longest < Duration::from_secs(5), "others waited {longest:?} for a reader");
    assert_ne!(files_with(&stage, secret.as_bytes()), [""; 0], "the reader still sees it");
    assert!(stage.log().contains("what was dropped is still in the journal's write-ahead log"), "{}", stage.log());
    drop(reader);
    eventually("what was dropped is gone", || files_with(&stage, secret.as_bytes()).is_empty().then_some(()));
    eventually("that is said", || stage.log().contains("what was dropped is gone from the disk").then_some(()));

    say(&mut http, secret);
    let spoken = running.last_event("probe")["sequence"].as_u64().expect("a number") - 1;
    say(&mut http, "count");
    assert_eq!(running.json(&["redact", "probe", "--event", &spoken.to_string()])["gone"], true);
    assert_eq!(files_with(&stage, secret.as_bytes()), [""; 0]);
}

/// The redacted word must also disappear from replaced states, for which no row exists any more that could be searched.
#[test]
fn nothing_of_a_redacted_word_is_left_where_earlier_and_larger_states_were_stored() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    let request = |message: &Value| _ = running.request("probe", message).expect("an answer");
    let secrets = [41, 1_000, 4_097, 5_000, 65_537, 100_003]
        .map(|bytes| format!("secret of {bytes} {}", "s3cr3t".repeat(bytes / 6)));
    for secret in &secrets {
        let state = json!({ "count": 0, "blob": secret }).to_string();
        request(&json!({ "op": "raw-state", "text": state }));
        request(&json!({ "op": "state-bytes", "n": 200 }));
    }
    request(&json!("count"));
    let holds = |event: &&Value| event["data"].to_string().contains("s3cr3t");
    for event in running.events("probe").iter().filter(holds) {
        let dropped = running.json(&["redact", "probe", "--event", &event["sequence"].to_string()]);
        assert_eq!((&dropped["events"], &dropped["gone"]), (&json!(1), &json!(true)));
    }
    assert_eq!(files_with(&stage, b"s3cr3t"), [""; 0]);
}

#[test]
fn nothing_of_a_thousand_pruned_events_is_left_in_any_file() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("probe", "probe", ""), &stage.http_manifest("other", "probe", "")]);
    let (mut http, mut other) = (Http::connect(running.http("probe")), Http::connect(running.http("other")));
    for round in 0..1_300 {
        let word = format!("word {round:06} {}", "x".repeat(round % 700));
        assert_eq!(http.op(&json!({ "op": "many", "ops": ["count"], "word": word })).status, 200);
        assert_eq!(other.op(&json!("count")).status, 200);
    }
    let dropped = running.json(&["prune", "probe", "--before", "2500"]);
    assert_eq!(dropped["gone"], true, "{dropped}");
    let kept = dropped["replays_from"].as_u64().expect("a state is kept");
    let in_file = |name: &str| std::fs::read(stage.data_dir().join(name)).expect("a file");
    let bytes = [in_file("journal.db"), in_file("journal.db-wal")].concat();
    let is_pruned = |word: &&[u8]| {
        let round = text(&word[5..]).parse::<u64>();
        word.starts_with(b"word ") && round.is_ok_and(|round| 2 + 2 * round + 2 < kept)
    };
    let left: Vec<String> = bytes.windows(11).filter(is_pruned).map(text).collect();
    assert_eq!(left, [""; 0]);
    assert!(bytes.windows(11).any(|word| word == b"word 001299"), "what was not pruned is there");
}

#[test]
fn what_a_killed_runtime_left_of_dropped_data_in_the_log_goes_at_the_next_start() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("probe", "probe", "")]);
    let mut http = Http::connect(running.http("probe"));
    let secret = "another word that nobody is to read";
    assert_eq!(http.op(&json!({ "op": "many", "ops": [], "word": secret })).status, 200);
    let spoken = running.last_event("probe")["sequence"].as_u64().expect("a number") - 1;
    assert_eq!(http.op(&json!("count")).status, 200);
    let reader = reader_of(&stage);
    assert_eq!(running.json(&["redact", "probe", "--event", &spoken.to_string()])["gone"], false);
    running.kill();
    drop(reader);
    let _running = stage.run(&[]);
    eventually("what was dropped is gone", || files_with(&stage, secret.as_bytes()).is_empty().then_some(()));
}

#[test]
fn the_write_ahead_log_is_warned_of_while_a_reader_makes_it_grow_and_shrinks_when_the_reader_is_through() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("probe", "probe", "")]);
    let mut http = Http::connect(running.http("probe"));
    let log_bytes = || std::fs::metadata(stage.data_dir().join("journal.db-wal")).map_or(0, |log| log.len());
    let reader = reader_of(&stage);
    let mut round = 0;
    while log_bytes() < 80 << 20 {
        round += 1;
        let padded = json!({ "op": "many", "ops": [], "word": format!("{round}{}", "x".repeat(2 << 20)) });
        assert_eq!(http.op(&padded).status, 200);
    }
    eventually("it is warned of", || stage.log().contains("write-ahead log has grown to").then_some(()));
    let counted = running.json(&["top"]);
    assert!(counted["journal"]["log_bytes"].as_u64() >= Some(64 << 20), "{}", counted["journal"]);
    drop(reader);
    eventually("it shrinks, without a further commit", || (log_bytes() <= 16 << 20).then_some(()));
    eventually("that is said", || stage.log().contains("write-ahead log has shrunk").then_some(()));
    assert_eq!(http.op(&json!("count")).status, 200);
}

fn cut(file: &Path, bytes: u64) {
    std::fs::File::options().write(true).open(file).and_then(|file| file.set_len(bytes)).expect("cut short");
}

#[test]
fn a_data_directory_that_goes_away_ends_the_runtime_within_a_second_and_nothing_is_acknowledged_after() {
    let ways: [(&str, fn(&Path)); 5] = [
        ("removed", |dir| std::fs::remove_dir_all(dir).expect("removed")),
        ("renamed", |dir| std::fs::rename(dir, dir.with_file_name("elsewhere")).expect("renamed")),
        ("without its log", |dir| std::fs::remove_file(dir.join("journal.db-wal")).expect("removed")),
        ("cut short", |dir| cut(&dir.join("journal.db"), 4096)),
        ("replaced", |dir| {
            std::fs::copy(dir.join("journal.db"), dir.join("copy")).expect("copied");
            std::fs::rename(dir.join("copy"), dir.join("journal.db")).expect("renamed");
        }),
    ];
    for (what, go_away) in ways {
        for is_busy in [true, false] {
            let stage = Stage::new();
            let mut running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
            let mut http = Http::connect(running.http("counter"));
            assert_eq!(http.ask("POST", "/increment", None).status, 200);
            go_away(&stage.data_dir());
            let since = Instant::now();
            let mut last = Duration::ZERO;
            while is_busy && since.elapsed() < PATIENCE {
                if http.try_send("POST", "/increment").is_err()
                    || http.receive().is_none_or(|answer| answer.status != 200)
                {
                    break;
                }
                last = since.elapsed();
            }
            assert_eq!(running.wait().code(), Some(3), "{what}: {}", stage.log());
            // The promise is one second; the rest is tolerance for a loaded machine.
            assert!(last < Duration::from_secs(4) && since.elapsed() < Duration::from_secs(10), "{what}: {last:?}");
            // The writer may notice the damage before the check does.
            let why = if what == "cut short" { "cannot write the journal" } else { "are not there any more" };
            assert!(stage.log().contains(why), "{what}: {}", stage.log());
        }
    }
}

#[test]
fn a_request_whose_answer_a_failing_journal_drops_is_told_503() {
    let stage = Stage::new();
    let manifest = stage.http_manifest("counter", "counter", "");
    let config = theater::Config::new().data_dir(stage.data_dir()).actor(manifest);
    let runtime = theater::TheaterRuntime::start(config).expect("a runtime");
    let address = runtime.handle().actors()[0].addresses[0].socket;
    let statuses = std::thread::scope(|threads| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                threads.spawn(|| {
                    let mut http = Http::connect(address);
                    let ask = |http: &mut Http| {
                        http.try_send("POST", "/increment").ok()?;
                        http.receive().map(|answer| answer.status)
                    };
                    std::iter::from_fn(|| ask(&mut http)).find(|status| *status != 200)
                })
            })
            .collect();
        std::fs::remove_dir_all(stage.data_dir()).expect("removed");
        assert!(matches!(runtime.wait(), Err(theater::TheaterError::JournalFailed(_))));
        clients.into_iter().map(|client| client.join().expect("a client")).collect::<Vec<_>>()
    });
    assert!(statuses.iter().flatten().all(|status| *status == 503), "{statuses:?}");
    assert!(statuses.iter().any(Option::is_some), "somebody was told");
}
