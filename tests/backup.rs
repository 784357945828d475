//! Tests of backup, restore and repair: backups of a running runtime, their restoration, and accepting a loss if there
//! is no backup. An accepted loss is reported and recorded, and the runtime continues after it.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::disk::Disk;
use support::log_file::{alter_data, batch_places, segment_files};
use support::{Http, Management, Stage, THEATER, Theater, eventually, text, theater, verifies_and_replays};

fn path_of(path: &Path) -> &str {
    path.to_str().expect("a path")
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

/// The output of `theater ARGS…`, which must fail.
fn refused(args: &[&str]) -> String {
    let output = theater(args, None);
    assert_eq!(output.status.code(), Some(1), "theater {args:?}: {}", text(&output.stdout));
    text(&output.stdout) + &text(&output.stderr)
}

fn is_whole(dir: &Path) -> Value {
    let output = theater(&["verify", "--journal", path_of(dir), "--json"], None);
    assert!(output.status.success(), "{}", text(&output.stdout));
    json_of(&output)
}

fn count(running: &Theater, actor: &str) -> u64 {
    running.json(&["state", actor])["state"]["count"].as_u64().unwrap_or(0)
}

/// A runtime on another data directory of the stage.
fn run_on(stage: &Stage, dir: &Path, more: &[&str]) -> Result<Theater, String> {
    stage.command(&[], more).arg("--data-dir").arg(dir).launch(stage)
}

#[test]
fn a_backup_under_load_ends_is_whole_and_holds_what_was_acknowledged_before_it() {
    let stage = Stage::new();
    let names = ["a", "b", "c", "d"];
    let manifests = names.map(|name| stage.http_manifest(name, "counter", ""));
    let running = stage.run(&manifests.each_ref().map(PathBuf::as_path));
    let acknowledged = names.map(|_| AtomicU64::new(0));
    let is_over = AtomicBool::new(false);
    let backup = stage.path().join("backups").join("first");
    std::thread::scope(|threads| {
        for (name, acknowledged) in names.iter().zip(&acknowledged) {
            let (running, is_over) = (&running, &is_over);
            threads.spawn(move || {
                let mut http = Http::connect(running.http(name));
                while !is_over.load(Ordering::Relaxed) {
                    assert_eq!(http.ask("POST", "/increment", None).status, 200);
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let over = support::Over(&is_over);
        eventually("there is load", || acknowledged.iter().all(|it| it.load(Ordering::Relaxed) > 100).then_some(()));
        let before = acknowledged.each_ref().map(|it| it.load(Ordering::Relaxed));
        let begun = Instant::now();
        let made = running.json(&["backup", path_of(&backup)]);
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
        drop(over);
        assert_eq!(made["actors"], 4, "{made}");
        is_whole(&backup);
        let restored = stage.path().join("restored");
        let output = theater(&["restore", path_of(&backup), "--data-dir", path_of(&restored), "--json"], None);
        assert_eq!(json_of(&output)["events"], made["events"]);
        let again = run_on(&stage, &restored, &[]).expect("it starts");
        for (name, before) in names.iter().zip(before) {
            assert!(count(&again, name) >= before, "{name} had counted to {before}");
            verifies_and_replays(&again.export(&stage, name));
        }
    });
}

/// Restarts the actor and prunes it up to there, until it is over. Each prune seals a segment and writes segments anew.
fn prune_again_and_again(running: &Theater, actor: &str, is_over: &AtomicBool, pruned: &AtomicU64) {
    let id = running.id(actor);
    let mut management = Management::connect(running.management());
    while !is_over.load(Ordering::Relaxed) {
        (0..5).for_each(|_| _ = management.request(&id, &json!("count")));
        management.ask(&json!({ "RestartActor": { "id": id } }));
        let answer = management.ask(&json!({ "PruneActor": { "id": id, "before": 100_000_000 } }));
        pruned.fetch_add(u64::from(answer.get("Forgotten").is_some()), Ordering::Relaxed);
    }
}

#[test]
fn a_backup_and_a_verification_are_of_one_moment_though_data_is_dropped_meanwhile() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    let (is_over, pruned) = (AtomicBool::new(false), AtomicU64::new(0));
    let data = stage.data_dir();
    std::thread::scope(|threads| {
        threads.spawn(|| prune_again_and_again(&running, "probe", &is_over, &pruned));
        let over = support::Over(&is_over);
        for round in 0..12 {
            let before = pruned.load(Ordering::Relaxed);
            let backup = stage.path().join(format!("backup-{round}"));
            // Of the running runtime, and of a directory that somebody uses.
            if round % 2 == 0 {
                running.json(&["backup", path_of(&backup)]);
            } else {
                let output = theater(&["backup", path_of(&backup), "--data-dir", path_of(&data)], None);
                assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
            }
            is_whole(&data);
            eventually("data is dropped", || (pruned.load(Ordering::Relaxed) > before).then_some(()));
        }
        drop(over);
    });
    let last = stage.path().join("backup-11");
    assert!(is_whole(&last)["dropped"].as_u64() > Some(0), "some data was dropped before");
    let again = run_on(&stage, &last, &[]).expect("it starts");
    again.request("probe", &json!("count")).expect("an answer");
}

#[test]
fn a_backup_or_a_restoration_that_cannot_be_whole_leaves_nothing_behind() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
    let mut http = Http::connect(running.http("counter"));
    (0..20).for_each(|_| assert_eq!(http.ask("POST", "/increment", None).status, 200));
    let (data, backup, other) = (stage.data_dir(), stage.path().join("backup"), stage.path().join("other"));
    running.say(&["backup", path_of(&backup)]);
    assert!(running.refused(&["backup", path_of(&backup)]).contains("is there already"), "no backup is overwritten");
    assert!(refused(&["restore", path_of(&backup), "--data-dir", path_of(&data)]).contains("has a journal already"));
    running.shut_down();
    assert!(theater(&["backup", path_of(&other), "--data-dir", path_of(&data)], None).status.success(), "a dead one");
    is_whole(&other);

    for dir in [&data, &backup] {
        alter_data(dir, "counter", 5, &[0xa0]);
    }
    let (again, third) = (stage.path().join("again"), stage.path().join("third"));
    let said = refused(&["backup", path_of(&again), "--data-dir", path_of(&data)]);
    assert!(said.contains("event 5") && said.contains("is wrong") && said.contains("no copy was kept"), "{said}");
    assert!(refused(&["restore", path_of(&backup), "--data-dir", path_of(&third)]).contains("event 5"));
    assert!(!again.exists() && !stage.path().join("again.partial").exists() && !third.exists());
    assert!(refused(&["backup", path_of(&again), "--data-dir", path_of(stage.path())]).contains("there is no journal"));
}

#[test]
fn a_backup_without_room_says_what_to_do_and_leaves_nothing_behind() {
    let stage = Stage::new();
    stage.run(&[&stage.manifest("counter", "counter", "")]).shut_down();
    let copy = stage.path().join("copy");
    let mut limited = Command::new("prlimit");
    limited.args(["--fsize=1000", THEATER, "backup", path_of(&copy), "--data-dir", path_of(&stage.data_dir())]);
    let output = limited.output().expect("prlimit");
    let why = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{why}");
    assert!(
        why.contains("cannot copy the journal into") && why.contains("look at `ulimit -f`, and try again"),
        "{why}"
    );
    assert!(!copy.exists() && !copy.with_file_name("copy.partial").exists());
}

/// A stage whose data directory has lost its last events, although they were acknowledged. `asked` was within a
/// transition, and `asker` waited for it.
fn that_lost_its_end() -> Stage {
    let stage = Stage::new();
    let manifests = ["asker", "asked"].map(|name| stage.manifest(name, "probe", ""));
    let idle = stage.http_manifest("idle", "counter", "");
    let running = stage.run(&[&manifests[0], &manifests[1], &idle]);
    assert_eq!(Http::connect(running.http("idle")).ask("POST", "/increment", None).status, 200);
    running.request("asker", &json!("count")).expect("an answer");
    let mut management = Management::connect(running.management());
    let request = json!({ "op": "request", "to": running.id("asked"), "msg": "spin" });
    management.send_request(&running.id("asker"), &request);
    let busy = || running.event_types("asked").last()?.starts_with("call ").then_some(());
    eventually("asked is busy", busy);
    let here = stage.path().join("here");
    running.say(&["backup", path_of(&here)]);
    assert_eq!(Http::connect(running.http("idle")).ask("POST", "/increment", None).status, 200);
    running.kill();
    // The mark is the current one; the log is the earlier copy.
    for file in segment_files(&here) {
        let name = file.file_name().expect("a name");
        std::fs::copy(&file, stage.data_dir().join("log").join(name)).expect("copied");
    }
    stage
}

#[test]
fn an_accepted_loss_is_said_recorded_on_every_chain_it_concerns_and_gone_on_from() {
    for is_by_run in [false, true] {
        let stage = that_lost_its_end();
        let data = stage.data_dir();
        let why = stage.run_with(&[], &[]).err().expect("it is refused");
        assert!(why.contains("events are lost") && why.contains("theater repair"), "{why}");
        let said = refused(&["repair", "--data-dir", path_of(&data)]);
        assert!(
            said.contains("lost: 2 events that had been acknowledged") && said.contains("nothing was changed"),
            "{said}"
        );
        for named in ["actor asker", "actor asked", "within a call of", "actor idle"] {
            assert!(said.contains(named), "{said}");
        }
        stage.run_with(&[], &[]).err().expect("nothing was changed");

        let running = if is_by_run {
            let running = stage.run_with(&[], &["--accept-loss"]).expect("it starts");
            assert!(stage.log().contains("lost: 2 events"), "{}", stage.log());
            running
        } else {
            let output = theater(&["repair", "--accept-loss", "--data-dir", path_of(&data), "--json"], None);
            let said = json_of(&output);
            assert!(output.status.success() && said["accepted"] == true, "{said}");
            assert_eq!(said["concerned"].as_array().map(Vec::len), Some(3), "{said}");
            is_whole(&data);
            let again = theater(&["repair", "--data-dir", path_of(&data)], None);
            assert!(again.status.success() && text(&again.stdout).contains("nothing is lost"));
            stage.run(&[])
        };
        for actor in ["asker", "asked", "idle"] {
            let events = running.events(actor);
            let failed = events.iter().find(|event| event["event_type"] == "failed").expect("it is on the chain");
            assert_eq!(failed["data"]["reason"], "interrupted");
            assert!(
                failed["data"]["detail"].as_str().is_some_and(|it| it.contains("2 events that had been acknowledged"))
            );
            running.until(actor, "running");
            verifies_and_replays(&running.export(&stage, actor));
        }
        assert_eq!((count(&running, "idle"), count(&running, "asker")), (1, 1), "from what is left");
        running.request("asked", &json!("count")).expect("it goes on, and does not spin again");
        running.shut_down();
        is_whole(&data);
    }
}

#[test]
fn a_loss_that_could_not_be_recorded_is_still_a_loss() {
    for nth in 1..=6 {
        let stage = that_lost_its_end();
        let data = stage.data_dir();
        let mut repair = std::process::Command::new(support::THEATER);
        repair.args(["repair", "--accept-loss", "--data-dir", path_of(&data)]).env_remove("THEATER_DATA_DIR");
        let output = repair.envs(Disk::below(&stage).that_fails("write", nth, 5)).output().expect("the binary");
        let said = text(&output.stdout) + &text(&output.stderr);
        match stage.run_with(&[], &[]) {
            Err(why) => assert!(!output.status.success() && why.contains("are lost"), "write {nth}: {said}{why}"),
            Ok(running) => {
                // Only writes to the index have failed, which is not the journal; or what is lost was recorded before.
                for actor in ["asker", "asked", "idle"] {
                    let failed = running.event_types(actor).iter().any(|event| event == "failed");
                    assert!(failed, "write {nth}: {actor}: {said}");
                }
            }
        }
    }
}

#[test]
fn a_lost_mark_is_accepted_likewise_and_what_is_altered_is_not() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
    assert_eq!(Http::connect(running.http("counter")).ask("POST", "/increment", None).status, 200);
    running.shut_down();
    let (data, mark) = (stage.data_dir(), stage.data_dir().join("journal.mark"));
    for damage in [None, Some([b'x'; 512])] {
        match damage {
            None => std::fs::remove_file(&mark).expect("removed"),
            Some(bytes) => std::fs::write(&mark, bytes).expect("written"),
        }
        assert!(stage.run_with(&[], &[]).err().expect("it is refused").contains("no readable mark"));
        let said = refused(&["repair", "--data-dir", path_of(&data)]);
        assert!(said.contains("nobody can say") && said.contains("actor counter"), "{said}");
        assert!(theater(&["repair", "--accept-loss", "--data-dir", path_of(&data)], None).status.success());
        let running = stage.run(&[]);
        assert_eq!(count(&running, "counter"), 1);
        running.shut_down();
        is_whole(&data);
    }
    std::fs::remove_file(&mark).expect("removed");
    alter_data(&data, "counter", 2, &[0xa0]);
    let said = refused(&["repair", "--accept-loss", "--data-dir", path_of(&data)]);
    assert!(said.contains("more than its end is lost") && said.contains("event 2"), "{said}");
    assert!(!mark.exists(), "nothing was changed");
    let said = refused(&["repair", "--data-dir", path_of(stage.path())]);
    assert!(said.contains("there is no journal"), "{said}");
}

#[test]
fn an_older_journal_is_backed_up_and_restored_as_it_is_and_a_runtime_goes_on_with_it() {
    let stage = Stage::new();
    let older = stage.path().join("older");
    std::fs::create_dir(&older).expect("a directory");
    for name in ["journal.db", "journal.mark"] {
        let golden = Path::new("tests/golden/journal-3").join(name);
        std::fs::copy(golden, older.join(name)).expect("copied");
    }
    let (backup, restored) = (stage.path().join("backup"), stage.path().join("restored"));
    for args in [
        ["backup", path_of(&backup), "--data-dir", path_of(&older)],
        ["restore", path_of(&backup), "--data-dir", path_of(&restored)],
    ] {
        let output = theater(&args, None);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let events = is_whole(&older)["events"].clone();
    assert_eq!([&is_whole(&backup)["events"], &is_whole(&restored)["events"]], [&events; 2]);
    run_on(&stage, &restored, &[]).expect("it starts").shut_down();
    is_whole(&restored);
}

#[test]
fn a_backup_takes_nothing_away_that_is_not_of_a_backup_that_was_broken_off() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
    let (backup, partial) = (stage.path().join("backup"), stage.path().join("backup.partial"));
    std::fs::create_dir(&partial).expect("a directory");
    std::fs::create_dir(partial.join("log")).expect("a directory");
    std::fs::write(partial.join("log/00000001.log"), "half of one").expect("written");
    std::fs::write(partial.join("novel.txt"), "call me").expect("written");
    assert!(running.refused(&["backup", path_of(&backup)]).contains("move it away"));
    assert_eq!(std::fs::read(partial.join("novel.txt")).expect("it is there"), b"call me");
    std::fs::remove_file(partial.join("novel.txt")).expect("removed");
    running.say(&["backup", path_of(&backup)]);
    is_whole(&backup);
    assert!(!partial.exists());

    let (link, elsewhere) = (stage.path().join("link"), stage.path().join("elsewhere"));
    std::os::unix::fs::symlink(&elsewhere, &link).expect("a link that leads nowhere");
    assert!(running.refused(&["backup", path_of(&link)]).contains("is there already"));
    assert!(!elsewhere.exists());
}

#[test]
fn repair_does_not_say_that_nothing_is_lost_of_a_journal_that_is_damaged_elsewhere() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
    let mut http = Http::connect(running.http("counter"));
    (0..50).for_each(|_| assert_eq!(http.ask("POST", "/increment", None).status, 200));
    running.say(&["redact", "counter", "--event", "5"]);
    (0..50).for_each(|_| assert_eq!(http.ask("POST", "/increment", None).status, 200));
    running.shut_down();
    let data = stage.data_dir();
    let files = segment_files(&data);
    assert_eq!(files.len(), 2, "what was redacted was sealed");
    for (file, more, words) in [
        (&files[0], &["--json"][..], ["wrong", "damaged"]),
        (&files[0], &["--accept-loss"], ["wrong", "damaged"]),
        (&files[0], &[], ["wrong", "damaged"]),
        // Of what lies behind it, nobody can say that it is what was written: it counts as lost, all of it.
        (&files[1], &["--json"], ["\"promised\"", "\"lost\":"]),
        (&files[1], &[], ["events that had been acknowledged", "behind position"]),
    ] {
        let whole = std::fs::read(file).expect("a segment");
        let mut damaged = whole.clone();
        damaged[batch_places(&whole)[4] + 40] ^= 1;
        std::fs::write(file, &damaged).expect("damaged");
        let said = refused(&[&["repair", "--data-dir", path_of(&data)], more].concat());
        assert!(!said.contains("nothing is lost") && !said.contains("lost\": null"), "{said}");
        assert!(words.iter().any(|word| said.contains(word)), "{more:?}: {said}");
        assert!(std::fs::read(file).expect("a segment") == damaged, "nothing was changed");
        std::fs::write(file, &whole).expect("put back");
    }
    let output = theater(&["repair", "--data-dir", path_of(&data)], None);
    assert!(text(&output.stdout).contains("nothing is lost"), "{}", text(&output.stderr));
}

/// Covers every kind of thing that is not a file, and an actor with the same name as the mark.
#[test]
fn a_mark_that_is_no_file_is_refused_at_once_and_an_actor_called_like_it_hides_no_damage() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("journal.mark", "counter", "")]);
    assert_eq!(Http::connect(running.http("journal.mark")).ask("POST", "/increment", None).status, 200);
    running.shut_down();
    let (data, mark) = (stage.data_dir(), stage.data_dir().join("journal.mark"));
    std::fs::remove_file(&mark).expect("removed");
    let made = std::process::Command::new("mkfifo").arg(&mark).status().expect("it runs");
    assert!(made.success());
    for args in [
        &["verify", "--journal", path_of(&data)][..],
        &["repair", "--accept-loss", "--data-dir", path_of(&data)],
        &["backup", path_of(&stage.path().join("backup")), "--data-dir", path_of(&data)],
        &["run", "--data-dir", path_of(&data), "--listen", "127.0.0.1:0"],
    ] {
        let said = refused(args);
        assert!(said.contains("journal.mark: it is a pipe, a socket or a device, and no file"), "{args:?}: {said}");
    }
    std::fs::remove_file(&mark).expect("removed");
    alter_data(&data, "journal.mark", 2, &[0xa0]);
    let said = refused(&["repair", "--accept-loss", "--data-dir", path_of(&data)]);
    assert!(said.contains("more than its end is lost"), "{said}");
}
