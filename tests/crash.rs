//! Tests of crashes and orderly ends: everything acknowledged is still there, and the chain records how it continued.

mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};
use support::log_file::written;
use support::{HTTP, Http, Stage, Theater, data_of, eventually, signal, text, theater, verifies_and_replays, verify};

/// The clients' knowledge of a load that was interrupted.
#[derive(Default)]
struct Load {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    highest: AtomicU64,
    over: AtomicBool,
}

impl Load {
    /// One client: it increments until the connection breaks or it is told to end.
    fn increment(&self, mut http: Http) {
        while !self.over.load(Ordering::SeqCst) {
            self.sent.fetch_add(1, Ordering::SeqCst);
            if http.send_raw(b"POST /increment HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").is_err() {
                return;
            }
            let Some(answer) = http.receive() else { return };
            if answer.status != 200 {
                return;
            }
            self.acknowledged.fetch_add(1, Ordering::SeqCst);
            self.highest.fetch_max(answer.json()["count"].as_u64().expect("a count"), Ordering::SeqCst);
        }
    }

    /// Runs eight clients until `end` has ended the runtime.
    fn until(&self, running: Theater, enough: u64, end: impl FnOnce(Theater)) {
        let address = running.http("counter");
        let before = self.acknowledged.load(Ordering::SeqCst);
        // Wait until all clients are connected.
        let clients: Vec<_> = (0..8).map(|_| Http::connect(address)).collect();
        std::thread::scope(|scope| {
            clients.into_iter().for_each(|client| _ = scope.spawn(|| self.increment(client)));
            eventually("it is under load", || {
                (self.acknowledged.load(Ordering::SeqCst) >= before + enough).then_some(())
            });
            end(running);
        });
    }

    /// Checks the count that is found afterwards.
    fn holds(&self, count: u64) {
        let (sent, acknowledged) = (self.sent.load(Ordering::SeqCst), self.acknowledged.load(Ordering::SeqCst));
        assert!(acknowledged <= count && count <= sent, "{acknowledged} <= {count} <= {sent}");
        assert!(count >= self.highest.load(Ordering::SeqCst), "no count that was told is taken back");
    }
}

fn count(running: &Theater) -> u64 {
    running.json(&["state", "counter"])["state"]["count"].as_u64().expect("a count")
}

fn starts(events: &[Value]) -> Vec<(Value, Value)> {
    let starts = data_of(events, "started");
    starts.into_iter().map(|started| (started["reason"].clone(), started["incarnation"].clone())).collect()
}

fn killed_under_load(more: &[&str]) {
    let stage = Stage::new();
    let manifest = stage.http_manifest("counter", "counter", "");
    let load = Load::default();
    let start = || stage.run_with(&[&manifest], more).unwrap_or_else(|why| panic!("{why}"));
    let mut id = None;
    for round in 1..=4_u64 {
        let running = start();
        if round > 1 {
            load.holds(count(&running));
        }
        let status = running.json(&["status", "counter"]);
        assert_eq!(status["incarnation"], round);
        assert_eq!(id.get_or_insert(status["id"].clone()), &status["id"], "it is the same actor");
        load.until(running, 50, Theater::kill);
    }
    let running = start();
    load.holds(count(&running));
    let events = running.events("counter");
    let expected: Vec<_> = (1..=5).map(|at| (json!(if at == 1 { "spawn" } else { "recovery" }), json!(at))).collect();
    assert_eq!(starts(&events), expected);
    let returned = data_of(&events, "return ntwk:theater/http-server.handle-request").len() as u64;
    assert_eq!(returned, count(&running), "each count is a transition");
    for failed in data_of(&events, "failed") {
        assert_eq!(failed["reason"], "interrupted");
    }
    verifies_and_replays(&running.export(&stage, "counter"));
}

#[test]
fn a_process_killed_under_load_loses_nothing_acknowledged() {
    killed_under_load(&[]);
}

#[test]
fn a_process_killed_under_load_loses_nothing_acknowledged_when_relaxed() {
    killed_under_load(&["--durability", "relaxed"]);
}

#[test]
fn a_process_ended_in_order_under_load_loses_nothing_and_interrupts_nothing() {
    for name in ["TERM", "INT"] {
        let stage = Stage::new();
        let manifest = stage.http_manifest("counter", "counter", "");
        let load = Load::default();
        load.until(stage.run(&[&manifest]), 50, |mut running| {
            signal(running.pid(), name);
            let status = running.wait();
            assert_eq!(status.code(), Some(0), "{status}: {}", stage.log());
        });
        assert!(!stage.log().contains("panicked"), "{}", stage.log());
        let running = stage.run(&[&manifest]);
        load.holds(count(&running));
        let types = running.event_types("counter");
        assert!(!types.iter().any(|it| it == "failed" || it == "stopped"), "an end in order is no event");
        verifies_and_replays(&running.export(&stage, "counter"));
        running.shut_down();
    }
}

#[test]
fn a_second_runtime_on_the_same_directory_is_refused_and_the_first_goes_on() {
    let stage = Stage::new();
    let manifest = stage.http_manifest("counter", "counter", "");
    let running = stage.run(&[&manifest]);
    let why = stage.run_with(&[&manifest], &[]).err().expect("it is in use");
    assert!(why.starts_with("exit status: 1"), "{why}");
    assert!(why.contains(&format!("process {}", running.pid())) && why.contains("--data-dir"), "{why}");
    assert_eq!(Http::connect(running.http("counter")).ask("POST", "/increment", None).status, 200);
    running.kill();
    assert_eq!(count(&stage.run(&[])), 1, "the lock dies with its process");
}

#[test]
fn a_second_signal_ends_at_once_and_the_next_start_recovers() {
    let limits = "[limits]\ncpu_ms_per_call = 600000\nstop_grace_ms = 600000\n";
    for name in ["TERM", "INT"] {
        let stage = Stage::new();
        let manifest = stage.http_manifest("probe", "probe", limits);
        let mut running = stage.run(&[&manifest]);
        Http::connect(running.http("probe")).send("POST", "/op", Some("\"spin\""));
        eventually("it spins", || running.event_types("probe").last()?.starts_with("call ").then_some(()));
        signal(running.pid(), name);
        eventually("the first signal is heard", || stage.log().contains("a second signal ends at once").then_some(()));
        signal(running.pid(), name);
        let expected = if name == "TERM" { 128 + 15 } else { 128 + 2 };
        assert_eq!(running.wait().code(), Some(expected));
        let running = stage.run(&[&manifest]);
        let events = running.events("probe");
        assert_eq!(data_of(&events, "started")[1]["resumes"], true, "it goes on where it was");
        verifies_and_replays(&running.export(&stage, "probe"));
    }
}

#[test]
fn every_thread_is_joined_before_an_end_in_order() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("counter", "counter", ""), &stage.manifest("probe", "probe", "")]);
    // Clients that neither ask nor leave must not delay the end.
    let _idle: Vec<_> = (0..5).map(|_| Http::connect(running.http("counter"))).collect();
    let mut half = Http::connect(running.http("counter"));
    half.send_raw(b"POST /incr").expect("sent");
    let _silent: Vec<_> = (0..5).map(|_| support::Management::connect(running.management())).collect();
    let mut torn = support::Management::connect(running.management());
    torn.send_raw(&[0, 0]);
    let begun = std::time::Instant::now();
    running.shut_down();
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    assert!(!stage.log().contains("panicked"), "{}", stage.log());
}

#[test]
fn the_shutdown_command_is_answered_and_ends_in_order() {
    let stage = Stage::new();
    let mut running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
    assert_eq!(running.say(&["shutdown"]), "shutting down");
    assert_eq!(running.wait().code(), Some(0));
    assert_eq!(stage.run(&[]).status("counter"), "running");
}

#[test]
fn an_ephemeral_runtime_leaves_nothing_behind() {
    let stage = Stage::new();
    let tmp = stage.path().join("tmp");
    std::fs::create_dir(&tmp).expect("a directory");
    let manifest = stage.http_manifest("counter", "counter", "");
    let entries = |of: &Path| std::fs::read_dir(of).expect("a directory").count();
    let launch = |manifests: &[&Path]| stage.command(manifests, &["--ephemeral"]).env("TMPDIR", &tmp).launch(&stage);
    let before = entries(stage.path());

    let running = launch(&[&manifest]).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(Http::connect(running.http("counter")).ask("POST", "/increment", None).status, 200);
    assert_eq!(entries(&tmp), 1, "it has its journal somewhere");
    running.shut_down();
    assert_eq!(entries(&tmp), 0, "in order");

    let wrong = stage.manifest("wrong", "probe", "init_state = '{\"init\": \"trap\"}'\n");
    launch(&[&wrong]).err().expect("its init traps");
    assert_eq!(entries(&tmp), 0, "not even started");

    let limits = "[limits]\ncpu_ms_per_call = 600000\nstop_grace_ms = 600000\n";
    let spinner = stage.http_manifest("spinner", "probe", limits);
    let mut running = launch(&[&spinner]).unwrap_or_else(|why| panic!("{why}"));
    Http::connect(running.http("spinner")).send("POST", "/op", Some("\"spin\""));
    eventually("it spins", || running.event_types("spinner").last()?.starts_with("call ").then_some(()));
    signal(running.pid(), "TERM");
    // The previous runtime has logged it too. Two signals at the same time would be received as one.
    let heard = || stage.log().matches("a second signal ends at once").count() == 2;
    eventually("the first signal is heard", || heard().then_some(()));
    signal(running.pid(), "TERM");
    running.wait();
    assert_eq!(entries(&tmp), 0, "by force");
    // Three entries: the log and the manifests.
    assert_eq!(entries(stage.path()), before + 3, "nothing in the working directory");
}

#[test]
fn a_changed_component_is_a_new_incarnation_that_keeps_the_state() {
    let stage = Stage::new();
    let component = stage.copy_component("counter", "mine");
    let manifest = stage.manifest_at("counter", &component, HTTP);
    let running = stage.run(&[&manifest]);
    let increment = |running: &Theater| Http::connect(running.http("counter")).ask("POST", "/increment", None).json();
    assert_eq!(increment(&running), json!({ "count": 1 }));
    stage.copy_component("variant", "mine");
    assert_eq!(increment(&running), json!({ "count": 2 }), "a running actor keeps its component");
    running.kill();

    // Without the manifest, the actor continues unchanged. Naming the manifest uses its present component.
    let running = stage.run(&[]);
    assert_eq!(increment(&running), json!({ "count": 3 }));
    running.shut_down();
    let running = stage.run(&[&manifest]);
    assert_eq!(increment(&running), json!({ "count": 5 }), "the variant adds two");
    let events = running.events("counter");
    let components: Vec<_> = data_of(&events, "started").iter().map(|started| started["component"].clone()).collect();
    assert_eq!(components.len(), 3);
    assert!(components[0] == components[1] && components[1] != components[2], "{components:?}");
    verifies_and_replays(&running.export(&stage, "counter"));
    running.shut_down();

    std::fs::remove_file(&component).expect("it was there");
    std::fs::remove_file(&manifest).expect("it was there");
    let running = stage.run(&[]);
    assert_eq!(increment(&running), json!({ "count": 7 }), "what ran is kept in the journal");
    verifies_and_replays(&running.export(&stage, "counter"));
}

#[test]
fn a_changed_manifest_is_a_new_incarnation_that_keeps_the_state() {
    let stage = Stage::new();
    let manifest = |limit: u64| {
        let more = format!("init_state = '{{\"count\":{limit}}}'\n[limits]\nhttp_body_bytes = {limit}\n");
        stage.http_manifest("counter", "counter", &more)
    };
    let running = stage.run(&[&manifest(100)]);
    Http::connect(running.http("counter")).ask("POST", "/increment", None);
    running.shut_down();
    let running = stage.run(&[&manifest(200)]);
    assert_eq!(count(&running), 101, "its state is its own by now");
    let events = running.events("counter");
    let limits: Vec<_> =
        data_of(&events, "started").iter().map(|started| started["limits"]["http_body_bytes"].clone()).collect();
    assert_eq!(limits, [100, 200]);
    verifies_and_replays(&running.export(&stage, "counter"));
}

#[test]
fn a_stopped_actor_stays_stopped_and_a_failed_one_failed_until_someone_restarts_it() {
    let stage = Stage::new();
    let (stopped, failed) = (stage.manifest("stopped", "counter", ""), stage.http_manifest("failed", "probe", ""));
    let running = stage.run(&[&stopped, &failed]);
    assert_eq!(running.request("failed", &json!("count")), Ok(json!(1)));
    running.say(&["stop", "stopped"]);
    Http::connect(running.http("failed")).op(&json!("trap"));
    running.until("failed", "failed");
    running.kill();

    let running = stage.run(&[]);
    assert_eq!(running.status("stopped"), "stopped");
    let view = running.json(&["status", "failed"]);
    assert_eq!((&view["status"], &view["failure"]), (&json!("failed"), &json!("trap: UnreachableCodeReached")));
    running.say(&["restart", "stopped"]);
    running.say(&["restart", "failed"]);
    assert_eq!(running.request("failed", &json!("count")), Ok(json!(2)), "with the state it had");
    for actor in ["stopped", "failed"] {
        let events = running.events(actor);
        assert_eq!(starts(&events), [(json!("spawn"), json!(1)), (json!("restart"), json!(2))], "{actor}");
        verifies_and_replays(&running.export(&stage, actor));
    }
}

/// Kills the runtime while `spinner` handles the same message, until that transition is given up.
fn given_up(stage: &Stage, manifest: &Path) -> Theater {
    let mut running = stage.run(&[manifest]);
    assert_eq!(running.request("spinner", &json!("count")), Ok(json!(1)));
    let id = running.id("spinner");
    support::Management::connect(running.management()).send_request(&id, &json!("spin"));
    eventually("it spins", || running.event_types("spinner").last()?.starts_with("call ").then_some(()));
    for _ in 0..6 {
        running.kill();
        // The manifest is not named, so the actor's policy decides.
        running = stage.run(&[]);
    }
    running
}

#[test]
fn a_transition_that_is_given_up_uses_up_no_incarnation_whoever_restarts_the_actor() {
    for (restart, more) in [("permanent", "restart_backoff_ms = 1\n"), ("temporary", "")] {
        let stage = Stage::new();
        let more = format!("restart = \"{restart}\"\n{more}[limits]\ncpu_ms_per_call = 600000\n");
        let running = given_up(&stage, &stage.manifest("spinner", "probe", &more));
        if restart == "temporary" {
            running.until("spinner", "failed");
            running.say(&["restart", "spinner"]);
        }
        assert_eq!(running.request("spinner", &json!("count")), Ok(json!(2)), "it goes on without");
        let events = running.events("spinner");
        let numbers: Vec<_> = starts(&events).into_iter().map(|(_, number)| number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7], "{restart}");
        assert_eq!(data_of(&events, "failed")[0]["reason"], "interrupted");
        assert_eq!(running.json(&["status", "spinner"])["incarnation"], 7);
        verifies_and_replays(&running.export(&stage, "spinner"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify_chain.py");
        match std::process::Command::new("python3").arg(script).arg(stage.path().join("spinner.chain")).output() {
            Ok(output) => assert!(output.status.success(), "{}", text(&output.stderr)),
            Err(_) => println!("skipped: there is no python3"),
        }
        running.shut_down();
        let dir = stage.data_dir();
        for command in ["verify", "replay"] {
            let output = theater(&[command, "--journal", dir.to_str().expect("a path")], None);
            assert!(output.status.success(), "{command}: {}{}", text(&output.stdout), text(&output.stderr));
        }
    }
}

#[test]
fn the_history_can_be_read_without_a_runtime() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
    Http::connect(running.http("counter")).ask("POST", "/increment", None);
    let live = running.events("counter");
    let by_server = std::fs::read(running.export(&stage, "counter")).expect("a chain");
    let dir = stage.data_dir();
    let dir = dir.to_str().expect("a path");
    let read = || {
        let read = theater(&["events", "counter", "--data-dir", dir, "--json"], None);
        assert!(read.status.success(), "{}", text(&read.stderr));
        text(&read.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<Value>>()
    };
    assert_eq!(read(), live, "beside a running one");
    running.kill();
    assert_eq!(read(), live, "after a crash");
    let file = stage.path().join("offline.chain");
    let exported = theater(&["export", "counter", "--data-dir", dir, "-o", file.to_str().expect("a path")], None);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    assert_eq!(std::fs::read(&file).expect("a chain"), by_server);
    verifies_and_replays(&file);
}

/// The files of a journal that was killed during its work.
fn crashed() -> (Stage, PathBuf) {
    let stage = Stage::new();
    let manifest = stage.http_manifest("counter", "counter", "");
    let running = stage.run(&[&manifest]);
    let mut http = Http::connect(running.http("counter"));
    (0..20).for_each(|_| assert_eq!(http.ask("POST", "/increment", None).status, 200));
    running.kill();
    let log = stage.data_dir().join("log").join("00000001.log");
    (stage, log)
}

#[test]
fn a_journal_that_lost_what_was_acknowledged_is_refused_with_the_place() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 3] = [
        ("the log is gone", |log| std::fs::remove_file(log).expect("it was there")),
        ("the log is cut", |log| {
            let bytes = std::fs::read(log).expect("it is there");
            std::fs::write(log, &bytes[..written(&bytes) / 2]).expect("cut");
        }),
        ("a byte of the log is flipped", |log| {
            let mut bytes = std::fs::read(log).expect("it is there");
            let middle = written(&bytes) / 2;
            bytes[middle] ^= 1;
            std::fs::write(log, bytes).expect("written");
        }),
    ];
    for (what, damage) in damages {
        let (stage, log) = crashed();
        damage(&log);
        let why = stage.run_with(&[], &[]).err().unwrap_or_else(|| panic!("{what}, and nobody noticed"));
        assert!(why.starts_with("exit status: 1"), "{what}: {why}");
        assert!(why.contains("journal"), "{what}: {why}");
        assert!(!why.contains("panicked"), "{what}: {why}");
    }
    let (stage, _) = crashed();
    assert_eq!(count(&stage.run(&[])), 20, "undamaged, it is whole");
}

#[test]
fn a_chain_that_grows_while_it_is_exported_is_exported_whole() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
    let load = Load::default();
    let address = running.http("counter");
    std::thread::scope(|scope| {
        (0..4).for_each(|_| _ = scope.spawn(|| load.increment(Http::connect(address))));
        for _ in 0..5 {
            verify(&running.export(&stage, "counter")).expect("it verifies");
        }
        load.over.store(true, Ordering::SeqCst);
    });
    verifies_and_replays(&running.export(&stage, "counter"));
}
