//! Tests of the end of a runtime, by signals or by a full disk, whether or not anyone reads its output. They also check
//! that `--ephemeral` leaves nothing behind, however the runtime ends.

mod support;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use support::{Begun, Http, Stage, Theater, data_of, eventually, signal, verifies_and_replays};

/// Limits of an actor that computes until it is ended by force.
const ENDLESS: &str = "[limits]\ncpu_ms_per_call = 600000\nstop_grace_ms = 600000\n";
/// Limits of an actor that is ended at once.
const GRACELESS: &str = "[limits]\ncpu_ms_per_call = 600000\nstop_grace_ms = 0\n";

/// The reader of standard error.
enum Reader {
    /// The reader has gone, like `tee` after Ctrl-C.
    Gone,
    /// The reader exists but reads nothing, and its pipe is full.
    Stuck(std::io::PipeReader),
}

/// A standard error that nobody reads, and the value that keeps it in this condition.
fn unread(stuck: bool) -> (Stdio, Reader) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    if !stuck {
        return (writer.into(), Reader::Gone);
    }
    waits_for_nobody(&writer, true);
    while std::io::Write::write(&mut writer, &[b'.'; 4096]).is_ok() {}
    waits_for_nobody(&writer, false);
    (writer.into(), Reader::Stuck(reader))
}

fn waits_for_nobody(pipe: &std::io::PipeWriter, on: bool) {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let flags = fcntl_getfl(pipe).expect("its flags");
    fcntl_setfl(pipe, if on { flags | OFlags::NONBLOCK } else { flags - OFlags::NONBLOCK }).expect("set");
}

fn spins(running: &Theater) {
    Http::connect(running.http("probe")).send("POST", "/op", Some("\"spin\""));
    eventually("it spins", || running.event_types("probe").last()?.starts_with("call ").then_some(()));
}

/// Waits until the runtime has acted on a signal, which it may be unable to report.
fn is_ending(running: &Theater, stage: &Stage) {
    let hello = stage.manifest("hello", "hello", "");
    eventually("it takes no new actors", || running.start(&hello).is_err().then_some(()));
}

#[test]
fn a_second_signal_ends_at_once_whoever_reads_standard_error() {
    for (stuck, first, second, code) in [
        (false, "INT", "INT", 130),
        (false, "HUP", "TERM", 143),
        (true, "TERM", "INT", 130),
        (true, "INT", "TERM", 143),
    ] {
        let stage = Stage::new();
        let manifest = stage.http_manifest("probe", "probe", ENDLESS);
        let (stderr, reader) = unread(stuck);
        let launch = stage.command(&[&manifest], &["--log", "trace"]).arg("--data-dir").arg(stage.data_dir());
        let mut running = launch.stderr(stderr).launch(&stage).expect("it starts");
        spins(&running);
        signal(running.pid(), first);
        is_ending(&running, &stage);
        signal(running.pid(), second);
        assert_eq!(running.wait().code(), Some(code), "{first}, {second}");
        drop(reader);
        let running = stage.run(&[&manifest]);
        assert_eq!(data_of(&running.events("probe"), "started")[1]["resumes"], true, "it goes on where it was");
    }
}

#[test]
fn one_signal_ends_in_order_whoever_reads_standard_error() {
    for (name, stuck) in [("INT", false), ("TERM", true), ("HUP", false), ("HUP", true)] {
        let stage = Stage::new();
        let manifest = stage.http_manifest("counter", "counter", "");
        let (stderr, _reader) = unread(stuck);
        let launch = stage.command(&[&manifest], &["--log", "debug"]).arg("--data-dir").arg(stage.data_dir());
        let mut running = launch.stderr(stderr).launch(&stage).expect("it starts");
        assert_eq!(Http::connect(running.http("counter")).ask("POST", "/increment", None).status, 200);
        signal(running.pid(), name);
        assert_eq!(running.wait().code(), Some(0), "{name}");
        let running = stage.run(&[&manifest]);
        assert_eq!(running.say(&["state", "counter"]), "{\"count\":1}");
        verifies_and_replays(&running.export(&stage, "counter"));
    }
}

/// A terminal that closes sends SIGHUP more than once, and systemd may send it after SIGTERM.
#[test]
fn a_hangup_ends_in_order_and_hurries_nothing() {
    for first in ["HUP", "TERM"] {
        let stage = Stage::new();
        let manifest = stage.http_manifest("probe", "probe", ENDLESS);
        let mut running = stage.run(&[&manifest]);
        spins(&running);
        signal(running.pid(), first);
        is_ending(&running, &stage);
        for _ in 0..3 {
            signal(running.pid(), "HUP");
            is_ending(&running, &stage);
        }
        assert!(running.is_running(), "the call may go on within its grace");
        signal(running.pid(), "TERM");
        assert_eq!(running.wait().code(), Some(143));
    }
}

#[test]
fn a_hangup_that_is_ignored_stays_so() {
    let stage = Stage::new();
    let launch = stage.command(&[], &[]).arg("--data-dir").arg(stage.data_dir());
    let log = File::create(stage.path().join("log")).expect("a log");
    let launch = launch.through("sh", &["-c", "trap '' HUP; exec \"$@\"", "sh"], log);
    let running = launch.launch(&stage).expect("it starts");
    signal(running.pid(), "HUP");
    let hello = stage.manifest("hello", "hello", "");
    running.start(&hello).expect("it goes on, as under nohup");
    running.shut_down();
}

/// Ends a runtime by a limit on the size of its files; returns its exit code.
fn outgrows_its_files(stage: &Stage, more: &[&str], stderr: impl Into<Stdio>, tmp: &Path) -> Option<i32> {
    let manifest = stage.http_manifest("counter", "counter", "");
    let launch = stage.command(&[&manifest], more).env("TMPDIR", tmp);
    let launch = launch.through("prlimit", &["--fsize=1000000"], stderr);
    let mut running = launch.launch(stage).expect("it starts");
    let mut http = Http::connect(running.http("counter"));
    loop {
        http.send("POST", "/increment", None);
        if http.receive().is_none() {
            return running.wait().code();
        }
    }
}

#[test]
fn a_disk_that_is_full_ends_with_its_code_whoever_reads_standard_error() {
    for stuck in [false, true] {
        let stage = Stage::new();
        let (stderr, _reader) = unread(stuck);
        let data = stage.data_dir();
        let more = ["--data-dir", data.to_str().expect("a path"), "--durability", "relaxed"];
        assert_eq!(outgrows_its_files(&stage, &more, stderr, stage.path()), Some(3), "stuck: {stuck}");
        verifies_and_replays(&stage.run(&[]).export(&stage, "counter"));
    }
}

/// A directory for temporary directories.
struct Tmp(Stage, PathBuf);

impl Tmp {
    fn new() -> Self {
        let stage = Stage::new();
        let tmp = stage.path().join("tmp");
        std::fs::create_dir(&tmp).expect("a directory");
        Self(stage, tmp)
    }

    fn entries(&self) -> Vec<PathBuf> {
        std::fs::read_dir(&self.1).expect("a directory").map(|entry| entry.expect("an entry").path()).collect()
    }

    fn begin(&self, manifest: &Path) -> Begun {
        self.0.command(&[manifest], &["--ephemeral"]).env("TMPDIR", &self.1).begin()
    }

    fn launch(&self, manifest: &Path) -> Theater {
        let launch = self.0.command(&[manifest], &["--ephemeral"]).env("TMPDIR", &self.1);
        launch.launch(&self.0).expect("it starts")
    }

    fn is_empty(&self, how: &str) {
        assert_eq!(self.entries(), Vec::<PathBuf>::new(), "{how}");
    }
}

#[test]
fn an_ephemeral_runtime_that_is_ended_while_it_starts_leaves_nothing_behind() {
    let tmp = Tmp::new();
    let manifest = tmp.0.manifest("probe", "probe", &format!("init_state = '{{\"init\": \"spin\"}}'\n{GRACELESS}"));
    let a_file = |name: &'static str| tmp.entries().first().is_some_and(|dir| dir.join(name).exists());
    for stage in ["a directory", "a lock", "a journal", "an actor"] {
        for name in ["INT", "TERM", "HUP"] {
            let mut process = tmp.begin(&manifest);
            eventually(stage, || {
                let is_there = match stage {
                    "a directory" => !tmp.entries().is_empty(),
                    "a lock" => a_file("lock"),
                    "a journal" => a_file("log"),
                    _ => process.has_thread("a-probe"),
                };
                is_there.then_some(())
            });
            signal(process.pid(), name);
            let code = process.code();
            tmp.is_empty(&format!("{name} with {stage}"));
            assert!(stage != "an actor" || code == Some(0), "in order: {code:?}");
        }
    }
}

#[test]
fn a_second_signal_while_an_ephemeral_runtime_removes_its_directory_leaves_nothing_behind() {
    let tmp = Tmp::new();
    let manifest = tmp.0.manifest("counter", "counter", "");
    for round in 0..24 {
        let mut running = tmp.launch(&manifest);
        let own = tmp.entries().pop().expect("its directory");
        signal(running.pid(), if round % 2 == 0 { "HUP" } else { "TERM" });
        // Wait until a part of it is removed, perhaps not all.
        while own.join("lock").exists() && own.join("log").exists() {
            std::hint::spin_loop();
        }
        signal(running.pid(), "INT");
        running.wait();
        tmp.is_empty(&format!("round {round}"));
    }
}

#[test]
fn an_ephemeral_runtime_makes_no_directory_that_tmpdir_names_and_that_is_not_there() {
    let tmp = Tmp::new();
    let absent = tmp.1.join("absent");
    let why = tmp.0.command(&[], &["--ephemeral"]).env("TMPDIR", &absent).launch(&tmp.0).err().expect("a refusal");
    assert!(why.contains("TMPDIR") && why.contains("absent"), "{why}");
    tmp.is_empty("it was refused");
}

#[test]
fn an_ephemeral_runtime_leaves_nothing_behind_when_it_fails() {
    let tmp = Tmp::new();
    let wrong = tmp.0.manifest("wrong", "probe", "init_state = '{\"init\": \"trap\"}'\n");
    assert_eq!(tmp.begin(&wrong).code(), Some(1));
    tmp.is_empty("its actor's init traps");
    let ungranted = tmp.0.manifest("ungranted", "files", "");
    assert_eq!(tmp.begin(&ungranted).code(), Some(1));
    tmp.is_empty("its component does not fit");
    let code = outgrows_its_files(&tmp.0, &["--ephemeral"], Stdio::null(), &tmp.1);
    assert_eq!(code, Some(3));
    tmp.is_empty("its journal cannot be written");
}

#[test]
fn an_ephemeral_runtime_removes_what_one_that_was_killed_has_left_and_nothing_else() {
    let tmp = Tmp::new();
    let manifest = tmp.0.manifest("counter", "counter", "");
    let kept = tmp.1.join("theater-data");
    std::fs::create_dir(&kept).expect("a directory");
    std::fs::write(kept.join("lock"), "1\n").expect("a file");
    let alive = tmp.launch(&manifest);
    let killed = tmp.launch(&manifest);
    assert_eq!(tmp.entries().len(), 3);
    killed.kill();
    assert_eq!(tmp.entries().len(), 3, "nobody could remove it");
    let next = tmp.launch(&manifest);
    assert_eq!(tmp.entries().len(), 3, "of the killed one nothing is left");
    assert_eq!(alive.status("counter"), "running");
    next.shut_down();
    alive.shut_down();
    assert_eq!(tmp.entries(), [kept]);
}

#[test]
fn what_is_said_while_nobody_reads_is_counted_once_somebody_does() {
    let stage = Stage::new();
    let (stderr, reader) = unread(true);
    let manifest = stage.http_manifest("counter", "counter", "");
    let launch = stage.command(&[&manifest], &["--log", "trace"]).arg("--data-dir").arg(stage.data_dir());
    let running = launch.stderr(stderr).launch(&stage).expect("it starts");
    let Reader::Stuck(mut reader) = reader else { unreachable!("it is") };
    // Somebody does read before the runtime ends: a runtime that ends does not wait long for a reader.
    let mut dots = vec![0; 4096];
    reader.read_exact(&mut dots).expect("what the pipe was filled with");
    let heard = std::thread::spawn(move || {
        let mut heard = String::new();
        reader.read_to_string(&mut heard).expect("text");
        heard
    });
    running.shut_down();
    let heard = heard.join().expect("no panic");
    let counted =
        heard.lines().find(|line| line.ends_with("lines of the log are missing here: they were not read in time"));
    assert!(counted.is_some(), "{heard}");
    assert!(heard.contains("shutting down"), "{heard}");
}
