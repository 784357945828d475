//! Tests of large answers of the management server: the bytes of answers in progress are limited, lists that do not fit
//! a frame are given by pages, and commands that do not fit a frame are refused before they are sent.

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Management, Stage, THEATER, Theater, text};

const MIB: u64 = 1 << 20;

fn resident(running: &Theater) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid())).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kib: u64 = line.split_whitespace().next().expect("a number").parse().expect("a number");
    kib * 1024
}

/// A runtime whose clients may leave their socket full for a long time, with an actor whose state fills a page.
fn with_a_large_state(more: &str) -> (Stage, Theater, String) {
    let stage = Stage::new();
    stage.file("theater.toml", format!("[limits]\nmanagement_patience_ms = 600000\n{more}"));
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    running.request("probe", &json!({ "op": "state-bytes", "n": 4 * MIB })).expect("a large state");
    let id = running.id("probe");
    (stage, running, id)
}

#[test]
fn a_client_that_asks_for_much_and_reads_nothing_holds_no_more_than_its_budget() {
    let (_stage, running, id) = with_a_large_state("");
    let read = json!({ "GetActorState": { "id": id } });
    let mut reading = Management::connect(running.management());
    let state = |reading: &mut Management| {
        let answer = reading.ask(&read);
        assert_eq!(answer["ActorState"]["length"], 4 * MIB, "{:.200}", answer.to_string());
    };
    state(&mut reading);
    let before = resident(&running);
    let mut deaf = Management::connect(running.management());
    (0..40).for_each(|_| deaf.send(&read));
    for _ in 0..8 {
        state(&mut reading);
        let more = resident(&running).saturating_sub(before) / MIB;
        assert!(more < 120, "{more} MiB");
    }
    // Everything the client asked for can still be read.
    for at in 0..40 {
        let answer = deaf.receive().unwrap_or_else(|| panic!("answer {at}"));
        assert_eq!(answer["ActorState"]["length"], 4 * MIB);
    }
}

#[test]
fn clients_that_read_nothing_share_the_budget_of_all_and_keep_nobody_from_small_answers() {
    let (_stage, running, id) = with_a_large_state("management_answers_bytes = 33554432\n");
    let before = resident(&running);
    let read = json!({ "GetActorState": { "id": id } });
    let deaf: Vec<Management> = (0..24)
        .map(|_| {
            let mut deaf = Management::connect(running.management());
            (0..10).for_each(|_| deaf.send(&read));
            deaf
        })
        .collect();
    let mut other = Management::connect(running.management());
    for _ in 0..50 {
        other.request(&id, &json!("count")).expect("an answer");
        assert_eq!(other.ask(&json!("ListActors")), json!({ "ActorList": { "actors": [id] } }));
        assert_eq!(running.status("probe"), "running");
        let more = resident(&running).saturating_sub(before) / MIB;
        assert!(more < 250, "{more} MiB");
    }
    drop(deaf);
    // The client that waited for the room gets it.
    assert!(other.ask(&json!({ "GetActorState": { "id": id } }))["ActorState"].is_object());
}

/// So many failed actors, with such long reasons, that no frame holds them all.
fn more_than_a_frame() -> (Stage, Theater, Management) {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("counter", "counter", "")]);
    let mut management = Management::connect(running.management());
    let refusal = json!({ "init": { "op": "refuse", "message": "\u{1}".repeat(40_000) } }).to_string();
    stage.file("refusal.json", refusal);
    for at in 0..60 {
        let manifest = stage.manifest(&format!("failed-{at}"), "probe", "init_state = \"refusal.json\"\n");
        management.error(&json!({ "StartActor": { "manifest": manifest } }));
    }
    (stage, running, management)
}

#[test]
fn actors_that_do_not_fit_a_frame_are_given_by_pages_and_each_can_still_be_named() {
    let (_stage, running, mut management) = more_than_a_frame();
    let why = management.error(&json!("ActorTree"));
    assert!(why.contains("does not fit a frame") && why.ends_with("GetActors gives them by pages"), "{why:.300}");
    let mut names = Vec::new();
    let (mut from, mut pages) = (json!(0), 0);
    while !from.is_null() {
        let page = management.ask(&json!({ "GetActors": { "from": from, "limit": 50 } }));
        let actors = page["Actors"]["actors"].as_array().unwrap_or_else(|| panic!("{page:.300}"));
        assert!((1..=50).contains(&actors.len()));
        names.extend(actors.iter().map(|actor| actor["name"].as_str().expect("text").to_owned()));
        from = page["Actors"]["next"].clone();
        pages += 1;
    }
    let expected = std::iter::once("counter".to_owned()).chain((0..60).map(|at| format!("failed-{at}")));
    assert_eq!(names, expected.collect::<Vec<_>>(), "in the order in which they came");
    assert!(pages >= 3, "{pages}");
    assert_eq!(running.json(&["list"]).as_array().map(Vec::len), Some(61));
    assert_eq!(running.say(&["tree"]).lines().count(), 61);
    assert_eq!(running.request("counter", &json!({ "add": 1 })), Ok(json!({ "count": 1 })));
    assert_eq!(running.json(&["status", "failed-7"])["name"], "failed-7");
    assert_eq!(running.json(&["top"])["actors"].as_array().map(Vec::len), Some(61));
    assert!(running.say(&["events", "failed-7", "--last", "1"]).contains("failed"));
    assert!(running.refused(&["status", "failed-"]).contains("60 actors are called \"failed-\""));
    assert!(running.refused(&["status", "nobody"]).contains("`theater list` shows those there are"));
}

#[test]
fn pages_of_actors_go_on_where_they_were_when_others_are_forgotten() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    let mut management = Management::connect(running.management());
    let manifests = (0..5).map(|at| stage.manifest(&format!("a{at}"), "counter", ""));
    let ids: Vec<String> = manifests.map(|manifest| management.start(&manifest)).collect();
    let page = |management: &mut Management, from: &Value| {
        let page = management.ask(&json!({ "GetActors": { "from": from, "limit": 2 } }))["Actors"].clone();
        let actors = page["actors"].as_array().expect("actors");
        (actors.iter().map(|actor| actor["id"].clone()).collect::<Vec<_>>(), page["next"].clone())
    };
    let (first, next) = page(&mut management, &json!(0));
    assert_eq!(first, [json!(ids[0]), json!(ids[1])]);
    for id in [&ids[0], &ids[2]] {
        running.say(&["stop", id]);
        running.say(&["forget", id]);
    }
    assert_eq!(page(&mut management, &next), (vec![json!(ids[3]), json!(ids[4])], Value::Null));
    let metrics = management.ask(&json!({ "GetMetrics": { "limit": 2 } }))["MetricsPage"].clone();
    assert_eq!(metrics["actors"][0]["id"], json!(ids[1]));
    assert!(metrics["next"].is_u64() && metrics["actors"][0]["calls"] == 1, "{metrics}");
    assert_eq!(management.ask(&json!("ActorTree"))["ActorTree"]["actors"].as_array().map(Vec::len), Some(3));
}

/// Runs `theater request counter -` with this message on its standard input.
fn request_of(running: &Theater, message: &[u8]) -> Result<String, String> {
    let mut command = Command::new(THEATER);
    command.args(["request", "counter", "-"]).env("THEATER_SERVER", running.management().to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary");
    // The command may refuse the message before it has read all of it.
    let _ = child.stdin.take().expect("piped").write_all(message);
    let output = child.wait_with_output().expect("an end");
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn a_message_beyond_the_frame_is_refused_before_it_is_sent_with_the_limit_and_what_to_do() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("counter", "counter", "")]);
    let most = (8 * 1024 * 1024 - 1024) / 4 * 3;
    for size in [most + 1, 9 << 20, 40 << 20] {
        let why = request_of(&running, &vec![b'x'; size]).expect_err("too long");
        assert!(why.contains("at most 8388608 bytes, so it was not sent") && why.contains("split it"), "{why}");
        assert!(why.contains(&format!("has at most {most} bytes")) && !why.contains("variant"), "{why}");
    }
    let fits = request_of(&running, &vec![b'x'; most]).expect_err("larger than the actor takes");
    assert!(fits.contains(&format!("message of {most} bytes: the limit message_bytes is 1048576")), "{fits}");
    let stage = Stage::new();
    stage.file("theater.toml", "[limits]\nmanagement_frame_bytes = 1024\n");
    let running = stage.run(&[&stage.manifest("counter", "counter", "")]);
    let why = request_of(&running, &[b'x'; 100_000]).expect_err("too long for this runtime");
    assert!(why.contains("the limit management_frame_bytes is 1024"), "{why}");
}

#[test]
fn a_runtime_that_does_not_know_a_command_or_an_answer_is_said_to_be_of_another_version() {
    let older = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = older.local_addr().expect("an address");
    let answers = [
        json!({ "Error": { "message": "not a command: unknown variant `FindActor`, expected one of `StartActor`" } }),
        json!({ "SomethingNew": {} }),
    ];
    let server = std::thread::spawn(move || {
        for answer in answers {
            let mut client = Management(older.accept().expect("a client").0);
            client.receive();
            client.send(&answer);
        }
    });
    for _ in 0..2 {
        let why = text(&support::theater(&["status", "x"], Some(address)).stderr);
        assert!(why.contains("of another version than this program, which is "), "{why}");
    }
    server.join().expect("both came");
}
