//! Tests of retention and of the room on the disk: old data goes by itself, what is left verifies and replays, nothing that
//! is under way loses what it needs, what was archived is whole; and a disk that is nearly full takes no new work until
//! there is room.

mod support;
#[path = "support/websocket.rs"]
mod websocket;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};
use support::log_file::{segment_files, written};
use support::{
    Http, Management, Stage, Theater, copy_journal, eventually, skipped, text, theater, verifies_and_replays,
};
use theater::{ActorSource, Config, Retention, TheaterRuntime, UnverifiedChain};

const GREETER: &[u8] = include_bytes!("../docs/greeter.wasm");
const LONG: Duration = Duration::from_secs(60);
const LARGE: usize = 200_000;
const MIB: u64 = 1024 * 1024;
/// The settings of a runtime that drops what it can.
const SMALL: &str = "[retention]\nkeep_bytes = 1_048_576\n";

fn start(stage: &Stage, settings: &str) -> Theater {
    let patient = "[limits]\nrequest_deadline_ms = 600_000\ncpu_ms_per_call = 600_000\n";
    let manifests = [stage.http_manifest("probe", "probe", patient), stage.manifest("asked", "probe", patient)];
    launch(stage, settings, &manifests).unwrap_or_else(|why| panic!("{why}"))
}

fn launch(stage: &Stage, settings: &str, manifests: &[PathBuf]) -> Result<Theater, String> {
    stage.file("theater.toml", settings);
    let manifests: Vec<&Path> = manifests.iter().map(PathBuf::as_path).collect();
    stage.command(&manifests, &[]).arg("--data-dir").arg(stage.data_dir()).launch(stage)
}

fn small_with_archive(archive: &Path) -> String {
    format!("{SMALL}archive = {archive:?}\n")
}

/// Data of which no two pieces are the same, so that the log holds each.
fn echo(running: &Theater, times: usize) {
    let mut http = Http::connect(running.http("probe"));
    for time in 0..times {
        let value = format!("{time:06}").repeat(LARGE / 6);
        assert_eq!(http.op(&json!({ "op": "echo", "value": value })).status, 200);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path")
}

fn verifies(journal: &Path) {
    let verified = theater(&["verify", "--journal", path(journal)], None);
    assert!(verified.status.success(), "{}{}", text(&verified.stdout), text(&verified.stderr));
}

/// Without the room that is reserved in the segment that grows.
fn log_bytes(stage: &Stage) -> u64 {
    let segments = segment_files(&stage.data_dir()).into_iter().map(|file| std::fs::read(file).expect("a segment"));
    segments.map(|segment| written(&segment) as u64).sum()
}

/// How many events have lost their data.
fn dropped(events: &[Value]) -> usize {
    events.iter().filter(|event| event["data"] == "").count()
}

/// A log of more than 2 MiB, most of which a new incarnation needs no more.
fn grown(stage: &Stage) {
    let running = start(stage, "");
    echo(&running, 12);
    running.shut_down();
    assert!(log_bytes(stage) > 2 * MIB);
}

/// How often a pass has dropped something.
fn passes(stage: &Stage) -> usize {
    stage.log().matches("retention: dropped the data of").count()
}

fn passed(stage: &Stage) {
    eventually("a pass has dropped something", || (passes(stage) > 0).then_some(()));
}

fn read_log(of: &Path) -> Output {
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/read_log.py");
    Command::new("python3").arg(reader).arg("--quiet").arg(of).output().expect("python3")
}

// Size.

#[test]
fn a_log_that_is_too_large_loses_its_oldest_data_under_load_and_still_verifies_and_replays() {
    let stage = Stage::new();
    grown(&stage);
    let running = start(&stage, SMALL);
    let mut http = Http::connect(running.http("probe"));
    eventually("it is small enough", || {
        assert_eq!(http.op(&json!({ "op": "echo", "value": 1 })).status, 200, "work goes on meanwhile");
        (log_bytes(&stage) < MIB).then_some(())
    });
    passed(&stage);
    assert!(dropped(&running.events("probe")) > 12);
    verifies_and_replays(&running.export(&stage, "probe"));
    assert!(running.thread_names().iter().any(|name| name == "retention"));
    running.shut_down();
    verifies(&stage.data_dir());
    let running = start(&stage, "");
    assert_eq!(Http::connect(running.http("probe")).op(&json!({ "op": "echo", "value": 2 })).status, 200);
    assert!(!running.thread_names().iter().any(|name| name == "retention"), "nobody asked for it");
}

#[test]
fn a_log_that_cannot_become_small_enough_is_said_to_be_too_large_and_keeps_what_is_needed() {
    let stage = Stage::new();
    let running = start(&stage, "");
    assert!(running.request("probe", &json!({ "op": "state-bytes", "n": 3 * MIB })).is_ok());
    running.shut_down();
    let running = start(&stage, SMALL);
    eventually("it is said", || stage.log().contains("more than keep_bytes (1048576)").then_some(()));
    let state = running.say(&["state", "probe"]);
    assert!(state.len() as u64 >= 3 * MIB, "the newest state stays: {} bytes", state.len());
    assert!(running.request("probe", &json!("count")).is_ok());
    verifies_and_replays(&running.export(&stage, "probe"));
}

// What is under way.

/// The actor `probe` waits for `asked`, which is busy; a message that `third` has sent to `asked` waits in its mailbox.
fn busy(stage: &Stage) -> (Theater, Management) {
    let running = start(stage, "");
    running.start(&stage.manifest("third", "probe", "")).expect("a start");
    echo(&running, 12);
    for name in ["probe", "asked", "third"] {
        running.say(&["restart", name]);
    }
    let (probe, asked) = (running.id("probe"), running.id("asked"));
    let work = json!({ "op": "many", "ops": [{ "op": "work", "rounds": 2_000_000_000_u64 }, "count"] });
    let mut client = Management::connect(running.management());
    client.send_request(&probe, &json!({ "op": "request", "to": asked, "msg": work }));
    eventually("asked works", || {
        let last = running.event_types("asked").pop()?;
        last.contains("handle-request").then_some(())
    });
    let sent = running.request("third", &json!({ "op": "send", "to": asked, "msg": "count" }));
    assert_eq!(sent, Ok(json!({ "ok": null })));
    (running, client)
}

#[test]
fn what_a_running_transition_and_its_answer_need_outlives_a_pass_and_kills() {
    let stage = Stage::new();
    let (running, _client) = busy(&stage);
    running.kill();
    let running = start(&stage, SMALL);
    eventually("a pass was made", || (log_bytes(&stage) < MIB).then_some(()));
    let last = running.event_types("probe").pop().expect("an event");
    assert!(!last.starts_with("return"), "it still waits: {last}");
    running.kill();
    verifies(&stage.data_dir());
    let running = start(&stage, SMALL);
    let returned = eventually("the answer has come", || {
        let events = running.events("probe");
        events.last().filter(|event| event["data"]["result"].is_object()).cloned()
    });
    assert_eq!(returned["data"]["result"]["ok"][1], 1, "{returned}");
    let state = running.request("asked", &json!({ "op": "get" })).expect("an answer");
    assert_eq!(state["count"], 2, "one by the request, one by what was owed: {state}");
    assert!(dropped(&running.events("probe")) > 12, "what nobody needs is gone");
    verifies_and_replays(&running.export(&stage, "probe"));
    verifies_and_replays(&running.export(&stage, "asked"));
    running.shut_down();
    verifies(&stage.data_dir());
}

#[test]
fn a_runtime_that_is_killed_in_the_middle_of_a_pass_leaves_a_whole_journal_and_goes_on() {
    let stage = Stage::new();
    grown(&stage);
    let grown = stage.path().join("grown");
    std::fs::create_dir(&grown).expect("a directory");
    copy_journal(&stage.data_dir(), &grown);
    let archive = stage.path().join("archive");
    let files_like = |dir: &Path, ending: &str| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == ending)).count() > 0
    };
    let journal_in = |archive: &Path| {
        let mut entries = std::fs::read_dir(archive).expect("an archive").flatten();
        entries.next().map(|entry| entry.path())
    };
    let is_small = || log_bytes(&stage) < MIB;
    let is_copying = || journal_in(&archive).is_some_and(|dir| files_like(&dir, "partial"));
    let is_copied = || journal_in(&archive).is_some_and(|dir| files_like(&dir, "log"));
    let is_writing = || files_like(&stage.data_dir().join("log"), "new");
    let is_begun = |running: &Theater| running.thread_names().iter().any(|name| name == "retention");
    // A moment that was too short to be seen is over when the log is small.
    let moments: [&dyn Fn(&Theater) -> bool; 5] = [
        &|running| is_begun(running) || is_small(),
        &|_| is_copying() || is_small(),
        &|_| is_copied() || is_small(),
        &|_| is_writing() || is_small(),
        &|_| is_small(),
    ];
    for moment in moments {
        for name in ["log", "components"] {
            std::fs::remove_dir_all(stage.data_dir().join(name)).expect("removed");
        }
        for name in ["index.db", "index.db-wal", "index.db-shm"] {
            let _ = std::fs::remove_file(stage.data_dir().join(name));
        }
        copy_journal(&grown, &stage.data_dir());
        let _ = std::fs::remove_dir_all(&archive);
        std::fs::create_dir(&archive).expect("a directory");
        let settings = small_with_archive(&archive);
        let running = start(&stage, &settings);
        eventually("the moment has come", || moment(&running).then_some(()));
        running.kill();
        verifies(&stage.data_dir());
        let running = start(&stage, &settings);
        eventually("the rest is dropped", || is_small().then_some(()));
        echo(&running, 1);
        verifies_and_replays(&running.export(&stage, "probe"));
        running.kill();
        verifies(&stage.data_dir());
        let kept = segment_in(&archive, "00000001.log");
        assert!(std::fs::metadata(kept).expect("it was copied").len() > 2 * MIB, "the copy is of the whole segment");
    }
}

// Age.

#[test]
fn data_goes_with_age_and_what_is_left_verifies_and_replays() -> Result<(), Box<dyn std::error::Error>> {
    let place = tempfile::tempdir()?;
    let greeter = || ActorSource::in_memory("name = \"greeter\"\ncomponent_path = \"greeter.wasm\"\n", GREETER);
    let config = || Config::new().data_dir(place.path().join("data")).actor(greeter());
    let runtime = TheaterRuntime::start(config())?;
    let greeter = runtime.handle().find("greeter")?.id;
    for _ in 0..5 {
        runtime.handle().request_within(greeter, "you", LONG)?;
    }
    runtime.shutdown();

    let long = Retention::new().keep_for(Duration::from_secs(24 * 60 * 60)).every(Duration::from_millis(20));
    let runtime = TheaterRuntime::start(config().retention(long))?;
    for _ in 0..20 {
        runtime.handle().request_within(greeter, "young", LONG)?;
    }
    let events = runtime.handle().events(greeter, 0, 1_000)?;
    assert!(events.iter().all(|event| event.dropped.is_none()), "what is young stays");
    runtime.shutdown();

    let often = Retention::new().keep_for(Duration::from_millis(1)).every(Duration::from_millis(20));
    let runtime = TheaterRuntime::start(config().retention(often))?;
    let theater = runtime.handle();
    let dropped = || {
        let events = theater.events(greeter, 0, 1_000).expect("events");
        events.iter().filter(|event| event.dropped.is_some()).count()
    };
    eventually("what is behind the kept state goes", || {
        theater.request_within(greeter, "again", LONG).expect("work goes on meanwhile");
        (dropped() >= 50).then_some(())
    });
    let mut file = Vec::new();
    let exported = theater.export(greeter, &mut file)?;
    assert_eq!(UnverifiedChain::read(&file[..])?.verify()?.head(), exported.head);
    assert_eq!(theater.replay(greeter)?.head, Some(exported.head));
    runtime.shutdown();
    verifies(&place.path().join("data"));
    Ok(())
}

// The archive.

/// A segment of the only journal in an archive.
fn segment_in(archive: &Path, name: &str) -> PathBuf {
    let journals: Vec<_> = std::fs::read_dir(archive).expect("an archive").map(|it| it.expect("one").path()).collect();
    let [journal] = journals.as_slice() else { panic!("{journals:?}") };
    journal.join(name)
}

/// Puts what was archived in the place of what is left of it in a backup, as docs/journal.md says.
fn made_whole(stage: &Stage, archive: &Path) -> PathBuf {
    let whole = stage.path().join("whole");
    let backup = theater(&["backup", path(&whole), "--data-dir", path(&stage.data_dir())], None);
    assert!(backup.status.success(), "{}", text(&backup.stderr));
    for segment in std::fs::read_dir(segment_in(archive, "")).expect("a journal").map(|entry| entry.expect("a segment"))
    {
        let name = segment.file_name();
        assert!(name.to_string_lossy().ends_with(".log"), "{name:?}");
        std::fs::copy(segment.path(), whole.join("log").join(name)).expect("copied back");
    }
    whole
}

/// That a backup with the archived segments put back has all data of `probe`, and replays from its beginning.
fn is_whole_with(stage: &Stage, archive: &Path) {
    let whole = made_whole(stage, archive);
    verifies(&whole);
    let chain = stage.path().join("whole.chain");
    let exported = theater(&["export", "probe", "--data-dir", path(&whole), "-o", path(&chain)], None);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    let replayed = verifies_and_replays(&chain);
    assert_eq!(replayed["from"], 0, "from its beginning: {replayed}");
    let events = theater(&["events", "probe", "--data-dir", path(&whole), "--json"], None);
    let events: Vec<Value> =
        text(&events.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(dropped(&events), 0);
}

fn archive_of(stage: &Stage) -> PathBuf {
    let archive = stage.path().join("archive");
    std::fs::create_dir(&archive).expect("a directory");
    archive
}

#[test]
fn what_was_archived_can_be_read_alone_and_makes_a_whole_journal_again() {
    let stage = Stage::new();
    grown(&stage);
    let archive = archive_of(&stage);
    let running = start(&stage, &small_with_archive(&archive));
    passed(&stage);
    assert!(dropped(&running.events("probe")) > 12);
    running.shut_down();

    let read = read_log(&segment_in(&archive, "00000001.log"));
    let said = text(&read.stdout);
    assert!(said.starts_with("whole: segment 1, positions 1 to ") && said.contains("(0 dropped)"), "{said}{read:?}");
    is_whole_with(&stage, &archive);
}

#[test]
fn a_prune_by_hand_is_archived_too_and_a_redaction_is_not() {
    let stage = Stage::new();
    let archive = archive_of(&stage);
    let running = start(&stage, &format!("[retention]\narchive = {archive:?}\n"));
    echo(&running, 3);
    running.say(&["redact", "probe", "--event", "1"]);
    assert_eq!(std::fs::read_dir(&archive).expect("an archive").count(), 0, "nobody is to read that");
    running.say(&["restart", "probe"]);
    running.say(&["prune", "probe", "--before", "1000"]);
    let read = read_log(&segment_in(&archive, "00000001.log"));
    assert!(text(&read.stdout).contains("(1 dropped)"), "{read:?}");
    assert_eq!(read_log(&stage.data_dir()).status.code(), Some(0));
}

#[test]
fn nothing_is_dropped_while_the_archive_takes_nothing() {
    let stage = Stage::new();
    grown(&stage);
    let archive = archive_of(&stage);
    let segment = std::fs::read(&segment_files(&stage.data_dir())[0]).expect("a segment");
    let journal = segment[12..28].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    std::fs::write(archive.join(&journal), "a file is in the way").expect("a file");
    let running = start(&stage, &small_with_archive(&archive));
    eventually("it is said", || stage.log().contains("nothing was dropped, because the archive").then_some(()));
    assert!(stage.log().contains(&journal), "the place is named: {}", stage.log());
    assert_eq!(dropped(&running.events("probe")), 0);
    let why = running.refused(&["prune", "probe", "--before", "1000"]);
    assert!(why.contains("the archive does not take it"), "{why}");
    assert!(log_bytes(&stage) > 2 * MIB);
}

#[test]
fn a_segment_of_another_history_in_the_archive_is_never_taken_for_this_one() {
    let stage = Stage::new();
    grown(&stage);
    let backup = stage.path().join("backup");
    copy_journal(&stage.data_dir(), {
        std::fs::create_dir(&backup).expect("a directory");
        &backup
    });
    let archive = archive_of(&stage);
    let running = start(&stage, &small_with_archive(&archive));
    passed(&stage);
    running.shut_down();
    // The same journal goes on otherwise from the backup.
    std::fs::remove_dir_all(stage.data_dir()).expect("removed");
    std::fs::rename(&backup, stage.data_dir()).expect("restored");
    let running = start(&stage, "");
    echo(&running, 2);
    running.shut_down();
    let _running = start(&stage, &small_with_archive(&archive));
    eventually("it is said", || {
        stage.log().contains("00000001.log is another segment than the journal has now").then_some(())
    });
    assert!(log_bytes(&stage) > 2 * MIB);
}

// Settings.

/// What `theater config` says of these settings.
fn config(stage: &Stage, settings: &str) -> Output {
    let file = stage.file("theater.toml", format!("data_dir = {:?}\n{settings}", stage.data_dir()));
    theater(&["config", "--config", path(&file)], None)
}

#[test]
fn the_settings_are_shown_with_their_places() {
    let stage = Stage::new();
    let archive = archive_of(&stage);
    let settings = format!(
        "[retention]\nkeep_days = 30\nkeep_bytes = 2_000_000\narchive = {archive:?}\nevery_minutes = 5\n\
         [limits]\nmin_free_bytes = 1_000\n"
    );
    let output = config(&stage, &settings);
    let said = text(&output.stdout);
    for (key, value, line) in [
        ("retention.keep_days", "30", 3),
        ("retention.keep_bytes", "2000000", 4),
        ("retention.archive", path(&archive), 5),
        ("retention.every_minutes", "5", 6),
        ("limits.min_free_bytes", "1000", 8),
    ] {
        let place = format!("theater.toml:{line}");
        let is_it = |shown: &str| shown.starts_with(key) && shown.contains(value) && shown.ends_with(&place);
        assert!(said.lines().any(is_it), "{key}: {said}{}", text(&output.stderr));
    }
}

#[test]
fn a_setting_that_cannot_be_is_refused_by_its_name() {
    let stage = Stage::new();
    let inside = stage.data_dir().join("archive");
    std::fs::create_dir(&inside).expect("a directory");
    let file = stage.file("file", "");
    let absent = stage.path().join("absent");
    for (settings, words) in [
        ("[retention]\nkeep_days = 0\n".into(), ["retention.keep_days", "from 1 to 36500"]),
        ("[retention]\nkeep_days = -1\n".into(), ["retention.keep_days", "-1"]),
        ("[retention]\nkeep_days = 36_501\n".into(), ["retention.keep_days", "36501"]),
        ("[retention]\nkeep_days = \"thirty\"\n".into(), ["retention.keep_days", "is a whole number from 1 to 36500"]),
        ("[retention]\nkeep_bytes = 0\n".into(), ["retention.keep_bytes", "from 1048576 to"]),
        ("[retention]\nkeep_bytes = -5\n".into(), ["retention.keep_bytes", "-5"]),
        ("[retention]\nevery_minutes = 0\n".into(), ["retention.every_minutes", "from 1 to 10080"]),
        (
            "[retention]\nevery_minutes = 5\n".into(),
            ["theater.toml:3: \"retention.every_minutes\"", "set \"retention.keep_days\""],
        ),
        (
            "[retention]\nkeep_days = \"\"\nkeep_bytes = \"off\"\nevery_minutes = 5\n".into(),
            ["theater.toml:5: \"retention.every_minutes\"", "leave this one out"],
        ),
        ("[retention]\nkeep_day = 3\n".into(), ["unknown key \"keep_day\" of [retention]", "\"keep_days\""]),
        ("[limits]\nmin_free_bytes = -1\n".into(), ["limits.min_free_bytes", "-1"]),
        (format!("[retention]\narchive = {inside:?}\n"), ["retention.archive", "lies in the data directory"]),
        (format!("[retention]\narchive = {:?}\n", stage.data_dir()), ["retention.archive", "data directory"]),
        (format!("[retention]\narchive = {file:?}\n"), ["retention.archive", "which is a file: name a directory"]),
        (
            format!("[retention]\narchive = {absent:?}\n"),
            ["retention.archive", "Make the directory, or mount its disk"],
        ),
    ] {
        let output = config(&stage, &settings);
        let why = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{settings}: {}", text(&output.stdout));
        assert!(words.iter().all(|word| why.contains(word)), "{settings}: {why}");
    }
    let why = launch(&stage, "[retention]\nevery_minutes = 5\n", &[]).err().expect("no start");
    assert!(why.starts_with("exit status: 1") && why.contains("nothing says what is old"), "{why}");
    let why = launch(&stage, &format!("[retention]\narchive = {inside:?}\n"), &[]).err().expect("no start");
    assert!(why.contains("lies in the data directory"), "{why}");
    assert_eq!(std::fs::read_dir(&inside).expect("a directory").count(), 0);
}

#[test]
fn an_archive_alone_takes_what_a_person_prunes_and_a_warning_says_that_nothing_is_dropped_by_itself() {
    let stage = Stage::new();
    let archive = archive_of(&stage);
    let running = start(&stage, &format!("[retention]\narchive = {archive:?}\n"));
    assert!(stage.log().contains("neither retention.keep_days nor retention.keep_bytes is set"), "{}", stage.log());
    echo(&running, 2);
    running.json(&["restart", "probe"]);
    running.json(&["prune", "probe", "--before", "999999"]);
    let journals: Vec<_> = std::fs::read_dir(&archive).expect("a directory").collect();
    assert_eq!(journals.len(), 1, "the pruned segment was copied first");
    running.shut_down();
    let running = start(&stage, "[retention]\nkeep_days = 30\n");
    running.shut_down();
    assert_eq!(stage.log().matches("neither retention.keep_days").count(), 1, "{}", stage.log());
}

#[test]
fn an_embedder_is_refused_an_archive_in_the_data_directory_and_more_free_room_than_the_disk_has() {
    let place = tempfile::tempdir().expect("a directory");
    let data = place.path().join("data");
    std::fs::create_dir_all(data.join("archive")).expect("a directory");
    let inside = Config::new().data_dir(&data).retention(Retention::new().archive(data.join("archive")));
    let why = TheaterRuntime::start(inside).err().expect("no start").to_string();
    assert!(why.contains("lies in the data directory"), "{why}");
    let mut limits = theater::RuntimeLimits::default();
    limits.min_free_bytes = u64::MAX;
    let why = TheaterRuntime::start(Config::new().data_dir(&data).limits(limits)).err().expect("no start").to_string();
    assert!(why.contains("min_free_bytes is 18446744073709551615, but the whole disk"), "{why}");
}

// The room on the disk.

/// A file system of so many MiB in memory, unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mounted(stage: &Stage, mib: u64) -> Option<Self> {
        let at = stage.path().join("small");
        std::fs::create_dir(&at).expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(&at);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Self(at))
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// Leaves less room.
    fn fill(&self, mib: u64) {
        let status = Command::new("fallocate").args(["-l", &format!("{mib}M")]).arg(self.0.join("filling")).status();
        assert!(status.expect("fallocate").success());
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("filling")).expect("removed");
    }

    fn launch(&self, stage: &Stage, manifests: &[PathBuf], settings: &str) -> Result<Theater, String> {
        stage.file("theater.toml", settings);
        let manifests: Vec<&Path> = manifests.iter().map(PathBuf::as_path).collect();
        let launch = stage.command(&manifests, &["--metrics-listen", "127.0.0.1:0"]);
        launch.arg("--data-dir").arg(self.data()).launch(stage)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // What holds it ends before the test does; a mount that is left is the machine's to see.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

const NO_MOUNT: &str = "only root can mount a small file system";
/// 32 MiB of the 96 are to stay free.
const WATERMARK: &str = "[limits]\nmin_free_bytes = 33_554_432\n";

fn has_metric(running: &Theater, line: &str) -> bool {
    let metrics = Http::connect(running.metrics()).ask("GET", "/metrics", None).body;
    metrics.lines().any(|found| found == line)
}

fn is_refused_for_the_disk(why: &str) {
    assert!(why.contains("the disk is nearly full") && why.contains("min_free_bytes is 33554432"), "{why}");
}

#[test]
fn a_disk_that_is_nearly_full_takes_no_new_work_until_there_is_room() {
    let stage = Stage::new();
    let Some(disk) = SmallDisk::mounted(&stage, 96) else {
        return skipped("a disk that is nearly full", NO_MOUNT);
    };
    let child = stage.manifest("child", "probe", "");
    let patient = "[limits]\ncpu_ms_per_call = 600_000\n";
    let manifests = [
        stage.http_manifest("probe", "probe", ""),
        stage.manifest("asked", "probe", patient),
        stage.manifest("nursery", "nursery", "[[handlers]]\ntype = \"supervisor\"\n"),
        stage.manifest("parrot", "parrot", "[[handlers]]\ntype = \"websocket-server\"\nconfig = { port = 0 }\n"),
    ];
    let mut running = disk.launch(&stage, &manifests, WATERMARK).unwrap_or_else(|why| panic!("{why}"));
    let mut http = Http::connect(running.http("probe"));
    let echo = json!({ "op": "echo", "value": 1 });
    assert_eq!(http.op(&echo).status, 200);
    assert!(has_metric(&running, "theater_disk_low 0"));
    let asked = running.id("asked");
    let mut begun = Management::connect(running.management());
    begun.send_request(
        &asked,
        &json!({ "op": "many", "ops": [{ "op": "work", "rounds": 1_000_000_000_u64 }, "count"] }),
    );
    eventually("it is under way", || running.event_types("asked").last()?.starts_with("call").then_some(()));

    disk.fill(70);
    let refused = eventually("new work is refused", || {
        let answer = http.op(&echo);
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(refused.body, "the server's disk is nearly full\n");
    assert!(refused.head.contains("Retry-After: 1\r\n"), "{}", refused.head);
    let (code, why) = websocket::Client::connect(running.websocket("parrot")).hear_the_end();
    assert_eq!((code, why.as_str()), (1013, "the server's disk is nearly full"));
    is_refused_for_the_disk(&running.request("probe", &echo).expect_err("no requests"));
    is_refused_for_the_disk(&running.refused(&["send", "probe", &echo.to_string()]));
    is_refused_for_the_disk(&running.start(&stage.manifest("late", "probe", "")).expect_err("no new actors"));
    is_refused_for_the_disk(&running.refused(&["fork", "probe", "--at", "0", "--name", "other"]));

    let finished = begun.receive_reply();
    assert_eq!(finished.expect("what was under way comes to its end")[1], 1);
    assert!(running.event_types("asked").last().is_some_and(|last| last.starts_with("return")), "and is recorded");
    assert!(has_metric(&running, "theater_disk_low 1"));
    let unready = Http::connect(running.metrics()).ask("GET", "/readyz", None);
    assert_eq!((unready.status, unready.body.lines().count()), (503, 1), "{}", unready.body);
    is_refused_for_the_disk(&unready.body);
    let status = running.json(&["top"]);
    assert_eq!(status["journal"]["refuses_work"], true, "{status}");
    assert!(status["journal"]["free_bytes"].as_u64().is_some_and(|free| free < 33_554_432), "{status}");
    assert!(!running.events("probe").is_empty(), "it is read all the same");
    running.say(&["restart", "probe"]);
    running.say(&["prune", "probe", "--before", "1000"]);
    verifies(&disk.data());
    assert!(running.is_running());

    disk.make_room();
    let mut http = Http::connect(running.http("probe"));
    eventually("new work is taken again", || (http.op(&echo).status == 200).then_some(()));
    assert_eq!(running.request("nursery", &json!({ "op": "spawn", "manifest": child })).map(|_| ()), Ok(()));
    eventually("it is said", || stage.log().contains("has room again").then_some(()));
    for once in ["is nearly full:", "has room again:"] {
        assert_eq!(stage.log().matches(once).count(), 1, "{}", stage.log());
    }
    running.shut_down();
}

#[test]
fn timers_that_are_due_wait_until_the_disk_has_room_again() {
    let stage = Stage::new();
    let Some(disk) = SmallDisk::mounted(&stage, 96) else {
        return skipped("timers on a disk that is nearly full", NO_MOUNT);
    };
    let manifests = [stage.manifest("alarm", "alarm", "[[handlers]]\ntype = \"timer\"\n")];
    let running = disk.launch(&stage, &manifests, WATERMARK).unwrap_or_else(|why| panic!("{why}"));
    let every = json!({ "op": "every", "key": "tick", "ms": 20, "msg": "count" });
    running.request("alarm", &every).expect("an answer");
    let calls = || {
        let types = running.event_types("alarm");
        types.iter().filter(|it| it.ends_with("handle-timer") && it.starts_with("call ")).count()
    };
    eventually("it is called", || (calls() > 2).then_some(()));
    disk.fill(70);
    eventually("the disk is low", || has_metric(&running, "theater_disk_low 1").then_some(()));
    let before = calls();
    // Nothing tells that a timer does not call, so the time of 15 rounds has to pass.
    std::thread::sleep(Duration::from_millis(300));
    // One may have been under way.
    assert!(calls() <= before + 1, "{} calls after {before}", calls());
    disk.make_room();
    eventually("it is called again", || (calls() > before + 5).then_some(()));
    running.shut_down();
    verifies(&disk.data());
}

#[test]
fn what_is_under_way_may_ask_other_actors_but_not_spawn_until_half_of_the_room_is_gone_too() {
    let stage = Stage::new();
    let Some(disk) = SmallDisk::mounted(&stage, 96) else {
        return skipped("what is under way on a disk that is nearly full", NO_MOUNT);
    };
    let child = stage.manifest("child", "probe", "");
    let patient = "[limits]\ncpu_ms_per_call = 600_000\n[[handlers]]\ntype = \"supervisor\"\n";
    let manifests = [stage.manifest("asked", "probe", ""), stage.manifest("nursery", "nursery", patient)];
    let running = disk.launch(&stage, &manifests, WATERMARK).unwrap_or_else(|why| panic!("{why}"));
    let (asked, nursery) = (running.id("asked"), running.id("nursery"));
    for (mib, is_heard) in [(70, true), (84, false)] {
        let mut client = Management::connect(running.management());
        let ops = json!([
            { "op": "work", "rounds": 1_000_000_000_u64 },
            { "op": "spawn", "manifest": child },
            { "op": "send", "to": asked, "msg": "count" },
            { "op": "request", "to": asked, "msg": "count" },
        ]);
        client.send_request(&nursery, &json!({ "op": "many", "ops": ops }));
        eventually("it is under way", || running.event_types("nursery").last()?.starts_with("call").then_some(()));
        disk.fill(mib);
        let answers = client.receive_reply().expect("it comes to its end");
        is_refused_for_the_disk(answers[1]["err"].as_str().expect("no new actors"));
        for answer in [&answers[2], &answers[3]] {
            match is_heard {
                true => assert!(answer["err"].is_null(), "{answers}"),
                false => is_refused_for_the_disk(answer["err"].as_str().expect("nothing that never ends")),
            }
        }
        disk.make_room();
        eventually("there is room", || running.request("asked", &json!("get")).ok());
    }
    verifies_and_replays(&running.export(&stage, "nursery"));
    running.shut_down();
    verifies(&disk.data());
}

#[test]
fn a_start_on_a_disk_that_is_nearly_full_resumes_actors_and_refuses_new_ones() {
    let stage = Stage::new();
    let Some(disk) = SmallDisk::mounted(&stage, 96) else {
        return skipped("a start on a disk that is nearly full", NO_MOUNT);
    };
    let [old, new] = ["old", "new"].map(|name| stage.manifest(name, "probe", ""));
    disk.launch(&stage, std::slice::from_ref(&old), WATERMARK).unwrap_or_else(|why| panic!("{why}")).shut_down();
    disk.fill(70);
    let why = disk.launch(&stage, &[old.clone(), new], WATERMARK).err().expect("no start");
    is_refused_for_the_disk(&why);
    assert!(why.contains("\"new\""), "{why}");
    let running = disk.launch(&stage, &[old], WATERMARK).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(running.status("old"), "running");
    is_refused_for_the_disk(&running.request("old", &json!("get")).expect_err("no new work"));
    running.shut_down();
    verifies(&disk.data());
}

#[test]
fn more_free_room_than_the_whole_disk_has_is_refused_at_the_start() {
    let stage = Stage::new();
    let Some(disk) = SmallDisk::mounted(&stage, 16) else {
        return skipped("more free room than the whole disk has", NO_MOUNT);
    };
    let why = disk.launch(&stage, &[], WATERMARK).err().expect("no start");
    let told = "min_free_bytes is 33554432, but the whole disk of";
    assert!(why.contains(told) && why.contains("has 16777216 bytes"), "{why}");
    assert!(why.contains("set limits.min_free_bytes to less, or to 0 to turn it off"), "{why}");
    disk.launch(&stage, &[], "[limits]\nmin_free_bytes = 0\n").unwrap_or_else(|why| panic!("{why}")).shut_down();
}
