//! Tests of a disk that loses unsynced data, fills up, fails, or cannot be written. Nothing acknowledged is lost, and
//! the operator is told.

mod support;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::disk::{Disk, Loss};
use support::log_file::{change_mark, segment_files};
use support::town::{Dice, Town};
use support::{Http, PATIENCE, Stage, THEATER, copy_journal, text, verifies_and_replays};

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
fn reboot(data: &Path) {
    change_mark(data, |words| words[7] = "another-boot".into());
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
    reboot(&stage.data_dir());
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
    let (full, broken) = ("No space left", "Input/output error");
    let failures = [("write", ENOSPC, full), ("write", EIO, broken), ("sync", EIO, broken)];
    for round in 1..=9 {
        let (call, errno, word) = failures[round as usize % failures.len()];
        let nth = 1 + dice.roll(if call == "sync" { 60 } else { 300 });
        match town.start(&disk.that_fails(call, nth, errno)) {
            Ok(running) => {
                let status = town.live_until(running, u64::MAX);
                let log = town.stage.log();
                assert_eq!(status.code(), Some(3), "{call} {nth}: {log}");
                let said = log.lines().rev().find(|line| line.contains("cannot write the journal"));
                let named = said.is_some_and(|said| said.contains(word));
                assert!(named, "{call} {nth}: {said:?} {log}");
            }
            Err(why) => {
                assert!(why.starts_with("exit status: 1") || why.starts_with("exit status: 3"), "{nth}: {why}");
                let last = why.lines().last().unwrap_or_default();
                assert!(last.contains(word), "the last line has the reason: {call} {nth}: {why}");
            }
        }
        town.holds(round);
    }
    town.replays();
}

/// The disk may be full from the first write on, or from any later one.
#[test]
fn a_start_on_a_full_disk_says_last_that_it_is_full_and_what_to_do() {
    let mut nth = 0;
    loop {
        nth += 1 + nth / 12;
        let stage = Stage::new();
        let manifests = ["first", "second"].map(|name| stage.manifest(name, "counter", ""));
        std::fs::create_dir_all(stage.data_dir()).expect("a directory");
        let launch = stage.command(&[&manifests[0], &manifests[1]], &[]).arg("--data-dir").arg(stage.data_dir());
        let failing = Disk::below(&stage).that_fails("write", nth, ENOSPC);
        let started = failing.iter().fold(launch, |launch, (key, value)| launch.env(key, value)).launch(&stage);
        let Err(why) = started else { break };
        assert!(why.starts_with("exit status: 1") || why.starts_with("exit status: 3"), "{nth}: {why}");
        let last = why.lines().last().unwrap_or_default();
        let is_full = last.contains("No space left") || last.contains("disk is full");
        let says_all = last.starts_with("theater: ") && is_full && last.contains("make room on");
        assert!(says_all, "{nth}: {why}");
        drop(stage.run(&[&manifests[0], &manifests[1]]));
    }
    assert!(nth > 12, "a start writes something");
}

#[test]
fn a_start_whose_files_may_not_grow_says_last_which_limit_to_look_at() {
    let stage = Stage::new();
    let manifest = stage.manifest("counter", "counter", "");
    stage.run(&[&manifest]).shut_down();
    let length = segment_files(&stage.data_dir())[0].metadata().expect("a segment").len();
    let new = |name: &str| stage.path().join(name);
    let limits =
        [(length + 1, stage.data_dir()), (1, new("no-lock")), (300, new("no-mark")), (5_000, new("no-database"))];
    for (limit, dir) in limits {
        let mut command = Command::new("timeout");
        command.args(["60", "prlimit", &format!("--fsize={limit}"), THEATER, "run", "--listen", "127.0.0.1:0"]);
        command.arg(&manifest).arg("--data-dir").arg(dir).env_remove("THEATER_DATA_DIR");
        let output = command.output().expect("prlimit");
        let said = text(&output.stderr);
        let last = said.lines().last().unwrap_or_default();
        assert!(matches!(output.status.code(), Some(1 | 3)), "{:?}: {said}", output.status);
        assert!(last.starts_with("theater: ") && last.contains("`ulimit -f`"), "{limit}: {said}");
    }
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

fn component_files(dir: &Path) -> Vec<PathBuf> {
    let stored = std::fs::read_dir(dir.join("components")).expect("a directory");
    stored.map(|entry| entry.expect("an entry").path()).collect()
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
fn a_copy_that_cannot_be_written_can_be_read_with_or_without_an_index() {
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
        copy_journal(&stage.data_dir(), &copy);
        let all = ["", "log", "components"].map(|within| copy.join(within));
        let set = |mode| {
            let permissions = || std::fs::Permissions::from_mode(mode);
            all.iter().for_each(|dir| std::fs::set_permissions(dir, permissions()).expect("set"));
        };
        let files = all.iter().flat_map(|dir| std::fs::read_dir(dir).expect("a directory"));
        for file in files.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file()) {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o444)).expect("set");
        }
        set(0o555);
        for has_index in [true, false] {
            if !has_index {
                set(0o755);
                std::fs::remove_file(copy.join("index.db")).expect("removed");
                let _ = std::fs::remove_file(copy.join("index.db-wal"));
                set(0o555);
            }
            let verified = as_a_stranger(&stage, &["verify", "--journal", copy.to_str().expect("a path")]);
            let said = text(&verified.stdout) + &text(&verified.stderr);
            assert!(
                verified.status.success() && said.contains("verified: 1 actors"),
                "{is_killed} {has_index}: {said}"
            );
        }
        set(0o755);
    }
}

/// A copy of a data directory that belongs to the stranger, except for one file that the stranger may not read.
fn copy_without_a_right_to(stage: &Stage, unreadable: &str) -> std::path::PathBuf {
    use std::os::unix::fs::{PermissionsExt, chown};
    let am_root = std::fs::metadata("/proc/self").expect("proc").uid() == 0;
    let copy = stage.path().join(format!("without-{}", unreadable.replace('/', "-")));
    std::fs::create_dir(&copy).expect("a directory");
    copy_journal(&stage.data_dir(), &copy);
    let stranger = Some(65534);
    let mut paths = vec![copy.clone()];
    while let Some(path) = paths.pop() {
        let is_meant = path == copy.join(unreadable);
        if am_root && !is_meant {
            chown(&path, stranger, stranger).expect("given away");
        }
        if path.is_dir() {
            paths.extend(std::fs::read_dir(&path).expect("a directory").map(|entry| entry.expect("an entry").path()));
        }
        let mode = if is_meant {
            0o000
        } else if path.is_dir() {
            0o700
        } else {
            0o600
        };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
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
    for name in ["lock", "log", "log/00000001.log", "journal.mark"] {
        let copy = copy_without_a_right_to(&stage, name);
        let dir = copy.to_str().expect("a path");
        says(&["run", "--data-dir", dir, "--listen", "127.0.0.1:0"], &copy.join(name));
        if name != "lock" && name != "journal.mark" {
            says(&["events", "hello", "--data-dir", dir], &copy.join(name));
        }
    }
    // The index is made anew where it can be: nobody needs a right to it.
    let copy = copy_without_a_right_to(&stage, "index.db");
    let output = as_a_stranger(&stage, &["events", "hello", "--data-dir", copy.to_str().expect("a path")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let closed = copy_without_a_right_to(&stage, "nothing");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).expect("set");
    let dir = closed.to_str().expect("a path");
    says(&["verify", "--journal", dir], &closed);
    says(&["events", "hello", "--data-dir", dir], &closed);
    says(&["run", "--data-dir", dir, "--listen", "127.0.0.1:0"], &closed.join("lock"));
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o755)).expect("to be removed");
}

/// The files of the data directory that contain these bytes.
fn files_with(stage: &Stage, wanted: &[u8]) -> Vec<String> {
    let (mut dirs, mut found) = (vec![stage.data_dir()], Vec::new());
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry")) {
            let kind = entry.file_type().expect("a type");
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() {
                let bytes = std::fs::read(entry.path()).expect("a file");
                let is_there = bytes.windows(wanted.len()).any(|window| window == wanted);
                found.extend(is_there.then(|| entry.file_name().into_string().expect("text")));
            }
        }
    }
    found
}

#[test]
fn nobody_waits_while_data_is_dropped_and_who_reads_meanwhile_reads_on() {
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
    // It has opened the segment before it is written anew, and reads it behind that.
    let mut reader = std::fs::File::open(&segment_files(&stage.data_dir())[0]).expect("a segment");
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
        let readers = threads.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                assert!(running.events("probe").len() > 40);
            }
        });
        let over = support::Over(&is_over);
        let dropped = running.json(&["redact", "probe", "--event", &spoken.to_string()]);
        drop(over);
        readers.join().expect("readers");
        (dropped, others.join().expect("others"))
    });
    assert_eq!((&dropped["events"], &dropped["gone"]), (&json!(1), &json!(true)));
    assert!(longest < Duration::from_secs(5), "others waited {longest:?}");
    assert_eq!(files_with(&stage, secret.as_bytes()), [""; 0]);
    let mut before = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut before).expect("it reads");
    assert!(
        before.windows(secret.len()).any(|window| window == secret.as_bytes()),
        "who has it open reads what it held"
    );
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
    let files = segment_files(&stage.data_dir()).into_iter().chain([stage.data_dir().join("index.db")]);
    let bytes: Vec<u8> = files.flat_map(|file| std::fs::read(file).expect("a file")).collect();
    let is_pruned = |word: &&[u8]| {
        let round = text(&word[5..]).parse::<u64>();
        word.starts_with(b"word ") && round.is_ok_and(|round| 2 + 2 * round + 2 < kept)
    };
    let left: Vec<String> = bytes.windows(11).filter(is_pruned).map(text).collect();
    assert_eq!(left, [""; 0]);
    assert!(bytes.windows(11).any(|word| word == b"word 001299"), "what was not pruned is there");
}

#[test]
fn a_command_that_drops_data_without_room_says_why_and_can_be_given_again() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(1)));
    running.shut_down();
    let dir = stage.data_dir();
    let redact = ["redact", "probe", "--event", "3", "--data-dir", dir.to_str().expect("a path")];
    let length = segment_files(&dir)[0].metadata().expect("a segment").len();
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--fsize={}", length / 2)).arg(THEATER).args(redact).env_remove("THEATER_DATA_DIR");
    let refused = limited.output().expect("prlimit");
    let why = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{why}");
    let last = why.lines().last().unwrap_or_default();
    assert!(last.contains("File too large") && last.contains("`ulimit -f`"), "{why}");
    let again = Command::new(THEATER).args(redact).env_remove("THEATER_DATA_DIR").output().expect("the binary");
    let said = text(&again.stdout) + &text(&again.stderr);
    assert!(again.status.success() || said.contains("was dropped before"), "{said}");
}

/// Whoever redacts is told that it is done, or does it again.
#[test]
fn a_redaction_that_was_broken_off_can_be_done_again_and_leaves_nothing() {
    for nth in 1..=6 {
        let stage = Stage::new();
        let running = stage.run(&[&stage.http_manifest("probe", "probe", "")]);
        let mut http = Http::connect(running.http("probe"));
        let secret = "another word that nobody is to read";
        assert_eq!(http.op(&json!({ "op": "many", "ops": [], "word": secret })).status, 200);
        let spoken = running.last_event("probe")["sequence"].as_u64().expect("a number") - 1;
        assert_eq!(http.op(&json!("count")).status, 200);
        running.shut_down();
        let event = spoken.to_string();
        let dir = stage.data_dir();
        let redact = || {
            let mut redact = Command::new(THEATER);
            redact.args(["redact", "probe", "--event", &event, "--data-dir", dir.to_str().expect("a path")]);
            redact.env_remove("THEATER_DATA_DIR");
            redact
        };
        let failing = Disk::below(&stage).that_fails("sync", nth, EIO);
        let broken = redact().envs(failing).output().expect("the binary");
        let again = redact().output().expect("the binary");
        let said = text(&again.stdout) + &text(&again.stderr);
        assert!(again.status.success() || said.contains("was dropped before"), "sync {nth}: {said}");
        assert!(!broken.status.success() || said.contains("was dropped before"), "sync {nth}: {said}");
        assert_eq!(files_with(&stage, secret.as_bytes()), [""; 0], "sync {nth}");
        let running = stage.run(&[]);
        verifies_and_replays(&running.export(&stage, "probe"));
        assert_eq!(files_with(&stage, b"THEALOG7").len(), segment_files(&stage.data_dir()).len(), "and no other copy");
    }
}

fn cut(file: &Path, bytes: u64) {
    std::fs::File::options().write(true).open(file).and_then(|file| file.set_len(bytes)).expect("cut short");
}

#[test]
fn a_data_directory_that_goes_away_ends_the_runtime_within_a_second_and_nothing_is_acknowledged_after() {
    let component = |dir: &Path| component_files(dir)[0].clone();
    let ways: [(&str, &dyn Fn(&Path)); 8] = [
        ("removed", &|dir| std::fs::remove_dir_all(dir).expect("removed")),
        ("renamed", &|dir| std::fs::rename(dir, dir.with_file_name("elsewhere")).expect("renamed")),
        ("without its log", &|dir| std::fs::remove_dir_all(dir.join("log")).expect("removed")),
        ("cut short", &|dir| cut(&segment_files(dir)[0], 100)),
        ("replaced", &|dir| {
            let segment = &segment_files(dir)[0];
            std::fs::copy(segment, dir.join("copy")).expect("copied");
            std::fs::rename(dir.join("copy"), segment).expect("renamed");
        }),
        ("without its components", &|dir| std::fs::remove_dir_all(dir.join("components")).expect("removed")),
        ("without a component", &|dir| std::fs::remove_file(component(dir)).expect("removed")),
        ("with a component cut short", &|dir| cut(&component(dir), 100)),
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
            let why = match what {
                "cut short" => "cannot write the journal",
                "without its components" | "without a component" => "are not there any more: components/",
                _ => "are not there any more",
            };
            assert!(stage.log().contains(why), "{what}: {}", stage.log());
        }
    }
}

/// SQLite has the file mapped into memory, so the system may end the process; a file that is removed is no harm.
#[test]
fn an_index_whose_shared_memory_is_cut_short_or_removed_costs_nothing_that_was_acknowledged() {
    let ways: [fn(&Path); 2] = [|file| cut(file, 0), |file| std::fs::remove_file(file).expect("removed")];
    for (go_away, may_end) in ways.into_iter().zip([true, false]) {
        let stage = Stage::new();
        let manifest = stage.http_manifest("counter", "counter", "");
        let mut running = stage.run(&[&manifest]);
        let mut http = Http::connect(running.http("counter"));
        let mut counted = 0;
        let since = Instant::now();
        // The thread that writes the index does so once a second.
        while since.elapsed() < Duration::from_secs(3) {
            let answered = http.try_send("POST", "/increment").ok().and_then(|()| http.receive());
            if answered.is_none_or(|answer| answer.status != 200) {
                break;
            }
            counted += 1;
            if counted == 1 {
                go_away(&stage.data_dir().join("index.db-shm"));
            }
        }
        assert!(may_end || running.is_running(), "{}", stage.log());
        running.kill();
        let running = stage.run(&[&manifest]);
        let state = running.json(&["state", "counter"])["state"]["count"].as_u64();
        assert!(state.is_some_and(|count| count == counted || count == counted + 1), "{state:?}, {counted}");
        verifies_and_replays(&running.export(&stage, "counter"));
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
