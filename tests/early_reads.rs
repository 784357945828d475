//! Tests of `reads = "early"`: a read is answered while the disk hangs, if the state that it read is on disk. Every other
//! answer waits for its commit as ever.

mod support;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use support::disk::Disk;
use support::{Http, Management, Stage, Theater, eventually, verifies_and_replays};

const EARLY: &str = "reads = \"early\"\n";
const EIO: i32 = 5;

fn start(stage: &Stage, manifests: &[&Path], environment: &[(&'static str, String)]) -> Theater {
    let launch = stage.command(manifests, &["--data-dir"]).arg(stage.data_dir());
    let launch = environment.iter().fold(launch, |launch, (key, value)| launch.env(key, value));
    launch.launch(stage).unwrap_or_else(|why| panic!("{why}"))
}

/// How many calls the actor has finished, whether or not they are on disk.
fn calls(running: &Theater, actor: &str) -> u64 {
    let actors = running.json(&["top"])["actors"].clone();
    let found = actors.as_array().and_then(|actors| actors.iter().find(|found| found["name"] == actor)).cloned();
    found.and_then(|found| found["calls"].as_u64()).unwrap_or_else(|| panic!("no {actor} in {actors}"))
}

/// An actor on a disk that may hang, and two clients that ask it.
struct Asked<'a> {
    running: Theater,
    disk: Disk<'a>,
    actor: &'static str,
    id: String,
    first: Management,
    second: Management,
}

impl<'a> Asked<'a> {
    /// Starts the actor. It has answered a read since, so that its state is known to be on disk.
    fn start(stage: &'a Stage, actor: &'static str, manifests: &[&Path]) -> Self {
        let disk = Disk::below(stage);
        let running = start(stage, manifests, &disk.that_may_hang());
        let [first, second] = [0, 1].map(|_| Management::connect(running.management()));
        let id = running.id(actor);
        let mut asked = Self { running, disk, actor, id, first, second };
        asked.read();
        asked
    }

    fn read(&mut self) {
        assert_eq!(self.second.request(&self.id, &echo(1)), Ok(json!(1)));
    }

    /// Sends `command`, which must not be answered before the disk goes on; returns the answer.
    fn waits(&mut self, command: &Value) -> Value {
        self.disk.hang();
        let before = calls(&self.running, self.actor);
        self.first.send(command);
        // Once the actor has finished the second call, it has answered the first one or left that to the journal.
        eventually("the actor works", || (calls(&self.running, self.actor) > before).then_some(()));
        self.second.send_request(&self.id, &echo(1));
        eventually("the actor reads", || (calls(&self.running, self.actor) > before + 1).then_some(()));
        assert!(has_no_answer(&self.first), "{command} was answered before it was on disk");
        self.disk.go_on();
        assert_eq!(self.second.receive_reply(), Ok(json!(1)));
        let answer = self.first.receive().expect("an answer");
        self.read();
        answer
    }

    /// Sends `command`, which must be answered while the disk hangs; returns the answer.
    fn is_early(&mut self, command: &Value) -> Value {
        self.disk.hang();
        let answer = self.first.ask(command);
        self.disk.go_on();
        answer
    }

    fn command(&self, message: &Value) -> Value {
        json!({ "RequestMessage": { "id": self.id, "message": BASE64.encode(message.to_string()) } })
    }
}

fn has_no_answer(client: &Management) -> bool {
    client.0.set_nonblocking(true).expect("set");
    let found = client.0.peek(&mut [0]);
    client.0.set_nonblocking(false).expect("set");
    found.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn echo(value: u64) -> Value {
    json!({ "op": "echo", "value": value })
}

#[test]
fn a_read_of_a_committed_state_is_answered_and_no_write_is_and_a_crash_takes_back_nothing_that_was_told() {
    let stage = Stage::new();
    let disk = Disk::below(&stage);
    let manifest = stage.http_manifest("counter", "counter", EARLY);
    let running = start(&stage, &[&manifest], &disk.that_may_hang());
    let [mut reader, mut writer, mut late] = [0; 3].map(|_| Http::connect(running.http("counter")));
    assert_eq!(reader.ask("POST", "/increment", None).json(), json!({ "count": 1 }));

    disk.hang();
    for _ in 0..100 {
        assert_eq!(reader.ask("GET", "/", None).json(), json!({ "count": 1 }));
    }
    let before = calls(&running, "counter");
    writer.send("POST", "/increment", None);
    eventually("it has counted", || (calls(&running, "counter") > before).then_some(()));
    reader.send("GET", "/", None);
    eventually("it was read", || (calls(&running, "counter") > before + 1).then_some(()));
    late.send("GET", "/", None);
    eventually("it was read again", || (calls(&running, "counter") > before + 2).then_some(()));
    running.kill();
    assert!(writer.receive().is_none(), "the write is not on disk");
    assert!(reader.receive().is_none(), "it has read a state that is not on disk");
    disk.go_on();

    let running = stage.run(&[&manifest]);
    assert_eq!(Http::connect(running.http("counter")).ask("GET", "/", None).json(), json!({ "count": 1 }));
    let read = running.event_types("counter").iter().filter(|it| it.starts_with("return")).count();
    assert!(read < 100, "{read} transitions: the reads of the last moment are on no chain");
    verifies_and_replays(&running.export(&stage, "counter"));
}

#[test]
fn every_answer_waits_for_its_commit_if_the_manifest_says_nothing() {
    let stage = Stage::new();
    let mut asked = Asked::start(&stage, "probe", &[&stage.http_manifest("probe", "probe", "reads = \"commit\"\n")]);
    let read = asked.command(&echo(2));
    asked.waits(&read);
}

#[test]
fn what_changes_nothing_and_touches_nobody_is_answered_early() {
    let stage = Stage::new();
    let mut probe = Asked::start(&stage, "probe", &[&stage.manifest("probe", "probe", EARLY)]);
    let log = json!({ "op": "log", "text": "it is written although the disk hangs" });
    for message in [echo(7), json!("get"), log, json!({ "op": "many", "ops": ["get", "get"] })] {
        let answer = probe.is_early(&probe.command(&message));
        assert!(answer["Answer"].is_object(), "{message}: {answer}");
    }
    assert!(stage.log().contains("it is written although the disk hangs"));
    let refused = probe.is_early(&probe.command(&json!({ "op": "refuse", "message": "not that" })));
    assert_eq!(refused["Error"]["message"], "refused: not that", "a refusal changes nothing either");
    verifies_and_replays(&probe.running.export(&stage, "probe"));
}

#[test]
fn a_read_may_take_the_time_random_bytes_and_files() {
    let stage = Stage::new();
    let grants = "[[handlers]]\ntype = \"clock\"\n[[handlers]]\ntype = \"random\"\n";
    let mut chance =
        Asked::start(&stage, "chance", &[&stage.manifest("chance", "chance", &format!("{EARLY}{grants}"))]);
    for message in [json!("now"), json!({ "op": "random", "n": 8 })] {
        let answer = chance.is_early(&chance.command(&message));
        assert!(answer["Answer"].is_object(), "{message}: {answer}");
    }
    verifies_and_replays(&chance.running.export(&stage, "chance"));

    let stage = Stage::new();
    let grant = "[[handlers]]\ntype = \"filesystem\"\nconfig = { path = \"granted\" }\n";
    let mut files = Asked::start(&stage, "files", &[&stage.manifest("files", "files", &format!("{EARLY}{grant}"))]);
    std::fs::write(stage.path().join("granted/a.txt"), "here").expect("written");
    for message in [
        json!({ "op": "read-file", "path": "a.txt" }),
        json!({ "op": "list-files", "path": "." }),
        json!({ "op": "path-exists", "path": "b.txt" }),
    ] {
        let answer = files.is_early(&files.command(&message));
        assert!(answer["Answer"].is_object(), "{message}: {answer}");
    }
    verifies_and_replays(&files.running.export(&stage, "files"));
}

#[test]
fn what_changes_the_state_or_is_told_to_another_actor_waits_for_its_commit() {
    let stage = Stage::new();
    let manifests = ["probe", "other"].map(|name| stage.manifest(name, "probe", EARLY));
    let mut asked = Asked::start(&stage, "probe", &[&manifests[0], &manifests[1]]);
    let other = asked.running.id("other");
    for message in [
        json!("count"),
        json!({ "op": "send", "to": other, "msg": "get" }),
        json!({ "op": "request", "to": other, "msg": "get" }),
        json!({ "op": "send", "to": "no id", "msg": "get" }),
        json!({ "op": "many", "ops": ["get", { "op": "send", "to": other, "msg": "get" }, "get"] }),
    ] {
        let answer = asked.waits(&asked.command(&message));
        assert!(answer["Answer"].is_object(), "{message}: {answer}");
    }
    // A send asks for no answer: its sender wants to know that the actor has the message for good.
    let message = BASE64.encode(json!("get").to_string());
    let sent = asked.waits(&json!({ "SendMessage": { "id": asked.id, "message": message } }));
    assert!(sent["Sent"].is_object(), "{sent}");
    verifies_and_replays(&asked.running.export(&stage, "probe"));
}

#[test]
fn a_parent_that_looks_at_its_children_waits_for_its_commit() {
    let stage = Stage::new();
    let grant = "[[handlers]]\ntype = \"supervisor\"\n";
    let manifest = stage.manifest("nursery", "nursery", &format!("{EARLY}{grant}"));
    let mut asked = Asked::start(&stage, "nursery", &[&manifest]);
    let answer = asked.waits(&asked.command(&json!("list-children")));
    assert!(answer["Answer"].is_object(), "{answer}");
}

#[test]
fn an_actor_that_was_restarted_is_read_early_only_when_its_new_beginning_is_on_disk() {
    let stage = Stage::new();
    let more = format!("{EARLY}restart = \"permanent\"\nrestart_backoff_ms = 0\n");
    let mut asked = Asked::start(&stage, "probe", &[&stage.manifest("probe", "probe", &more)]);
    let answer = asked.waits(&asked.command(&json!("trap")));
    assert!(answer["Error"]["message"].as_str().is_some_and(|why| why.contains("trap")), "{answer}");
    let answer = asked.is_early(&asked.command(&echo(3)));
    assert!(answer["Answer"].is_object(), "{answer}");
}

#[test]
fn no_count_that_was_read_is_taken_back_when_the_process_is_killed_under_load() {
    let stage = Stage::new();
    let manifest = stage.http_manifest("counter", "counter", &format!("{EARLY}reuse = 10\n"));
    let mut highest = 0;
    for _ in 0..3 {
        let running = stage.run(&[&manifest]);
        let address = running.http("counter");
        let count = Http::connect(address).ask("GET", "/", None).json()["count"].as_u64().expect("a count");
        assert!(count >= highest, "{count} is less than {highest}, which was told before");
        let (told, over) = (AtomicU64::new(highest), AtomicBool::new(false));
        let client = |path: &str, method: &str| {
            let mut http = Http::connect(address);
            let mut before = 0;
            while !over.load(Ordering::SeqCst) && http.try_send(method, path).is_ok() {
                let Some(answer) = http.receive().filter(|answer| answer.status == 200) else { return };
                let count = answer.json()["count"].as_u64().expect("a count");
                assert!(count >= before, "{count} after {before}");
                before = count;
                told.fetch_max(count, Ordering::SeqCst);
            }
        };
        std::thread::scope(|scope| {
            (0..4).for_each(|_| _ = scope.spawn(|| client("/", "GET")));
            (0..2).for_each(|_| _ = scope.spawn(|| client("/increment", "POST")));
            eventually("it is under load", || (told.load(Ordering::SeqCst) >= count + 50).then_some(()));
            running.kill();
            over.store(true, Ordering::SeqCst);
        });
        highest = told.into_inner();
    }
    let running = stage.run(&[&manifest]);
    verifies_and_replays(&running.export(&stage, "counter"));
}

#[test]
fn nobody_is_answered_early_by_a_journal_that_has_failed() {
    let stage = Stage::new();
    let disk = Disk::below(&stage);
    let manifest = stage.http_manifest("counter", "counter", EARLY);
    let mut running = start(&stage, &[&manifest], &disk.that_fails("sync", 40, EIO));
    let mut http = Http::connect(running.http("counter"));
    let mut answered = 0;
    // Each read makes a commit of its own, or shares one with the reads after it.
    while http.try_send("GET", "/").is_ok() {
        match http.receive() {
            Some(answer) if answer.status == 200 => answered += 1,
            Some(answer) => assert_eq!(answer.status, 503, "{}", answer.body),
            None => break,
        }
    }
    assert!(answered > 0);
    assert_eq!(running.wait().code(), Some(3), "{}", stage.log());
}
