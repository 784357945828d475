//! Tests of limits that an operator sets: for actors whose manifest does not mention them, for manifests that ask for
//! more, for existing actors, and for the runtime as a whole.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{HTTP, Http, Management, Stage, Theater, data_of, eventually, text, theater, verifies_and_replays};

/// The limits that the last `started` of an actor recorded.
fn recorded(running: &Theater, actor: &str) -> Value {
    let events = running.events(actor);
    let started = events.iter().rfind(|event| event["event_type"] == "started").expect("it was started");
    started["data"]["limits"].clone()
}

/// Starts a runtime with this `theater.toml`.
fn configured(stage: &Stage, text: &str, manifests: &[&Path]) -> Result<Theater, String> {
    stage.file("theater.toml", text);
    stage.run_with(manifests, &[])
}

fn reply_of(running: &Theater, actor: &str, bytes: usize) -> Result<Value, String> {
    running.request(actor, &json!({ "op": "reply-bytes", "n": bytes }))
}

#[test]
fn an_actor_whose_manifest_is_silent_has_the_configured_limits() {
    let stage = Stage::new();
    let silent = stage.manifest("silent", "probe", "");
    let loud = stage.manifest("loud", "probe", "[limits]\nmessage_bytes = 5000\n");
    let running = configured(&stage, "[actor_limits]\nmessage_bytes = 1000\n", &[&silent, &loud]).expect("it starts");
    assert!(reply_of(&running, "loud", 4_000).is_ok());
    let why = reply_of(&running, "silent", 4_000).expect_err("too much");
    assert!(why.contains("message_bytes is 1000"), "{why}");
    assert_eq!(recorded(&running, "silent")["message_bytes"], 1_000);
    assert_eq!(recorded(&running, "loud")["message_bytes"], 5_000);
    verifies_and_replays(&running.export(&stage, "silent"));
}

#[test]
fn a_manifest_beyond_a_ceiling_is_refused_with_the_ceiling_and_where_to_raise_it() {
    let stage = Stage::new();
    let silent = stage.manifest("silent", "probe", "");
    let greedy = stage.manifest("greedy", "probe", "[limits]\nmessage_bytes = 5000\n");
    let toml = "[actor_ceilings]\nmessage_bytes = 1000\n";
    let running = configured(&stage, toml, &[&silent]).expect("it starts");
    assert_eq!(recorded(&running, "silent")["message_bytes"], 1_000, "the default is no more than the ceiling");
    let file = stage.path().join("theater.toml");
    let check = ["check", greedy.to_str().expect("a path"), "--config", file.to_str().expect("a path")];
    let checked = theater(&check, None);
    assert_eq!(checked.status.code(), Some(1));
    let other = Stage::new();
    let by_run = configured(&other, toml, &[&greedy]).err().expect("it is refused");
    for why in [running.start(&greedy).expect_err("it is refused"), text(&checked.stderr), by_run] {
        let expected = "greedy.toml:4: \"message_bytes\" of [limits] is 5000; this runtime allows at most 1000; \
                        [actor_ceilings] of its theater.toml raises that";
        assert!(why.contains(expected), "{why}");
    }
}

#[test]
fn a_limit_that_would_leave_nothing_working_is_refused() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    for (limit, least) in [("http_connections", 1), ("cpu_ms_per_call", 1), ("memory_bytes", 65_536)] {
        let manifest = stage.manifest("none", "probe", &format!("[limits]\n{limit} = 0\n"));
        let why = running.start(&manifest).expect_err("it is refused");
        assert!(why.contains(&format!("\"{limit}\" of [limits] is 0; it can be from {least} to ")), "{why}");
    }
}

#[test]
fn a_raised_ceiling_gives_a_guest_more_memory_than_any_had() {
    let stage = Stage::new();
    // One page more than the built-in ceiling of 1 GiB; none of it is written. Its `init` traps when it is run.
    let component = stage.wat(
        "large",
        r#"(component
            (core module $m
                (memory (export "memory") 16385)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
                (func (export "init") (param i32 i32 i32 i32 i32) (result i32) unreachable))
            (core instance $i (instantiate $m))
            (type $state (option (list u8)))
            (func $init (param "state" $state) (param "params" (tuple string)) (result (result (tuple $state) (error string)))
                (canon lift (core func $i "init") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
            (instance $actor (export "init" (func $init)))
            (export "ntwk:theater/actor" (instance $actor)))"#,
    );
    let large = stage.manifest_at("large", &component, "[limits]\nmemory_bytes = 2147483648\n");
    let small = stage.manifest_at("small", &component, "[limits]\nmemory_bytes = 1073741824\n");
    let running = configured(&stage, "[actor_ceilings]\nmemory_bytes = 4294967296\n", &[]).expect("it starts");
    let why = running.start(&small).expect_err("it has a page too little");
    assert!(why.contains("memory_bytes is 1073741824"), "{why}");
    let why = running.start(&large).expect_err("its init traps");
    assert!(why.contains("trap: UnreachableCodeReached"), "{why}");
    verifies_and_replays(&running.export(&stage, "large"));
}

#[test]
fn an_actor_from_before_keeps_its_limits_and_one_that_is_named_takes_the_new() {
    let stage = Stage::new();
    let more = "[limits]\nmessage_bytes = 5000\n";
    let named = stage.manifest("named", "probe", "");
    let running = configured(&stage, "[actor_limits]\nmessage_bytes = 6000\n", &[&named]).expect("it starts");
    running.start(&stage.manifest("before", "probe", more)).expect("it starts");
    running.shut_down();

    let running = configured(&stage, "[actor_ceilings]\nmessage_bytes = 1000\n", &[&named]).expect("it starts");
    assert_eq!(recorded(&running, "before")["message_bytes"], 5_000);
    assert_eq!(recorded(&running, "named")["message_bytes"], 1_000);
    assert!(reply_of(&running, "before", 4_000).is_ok());
    let why = running.refused(&["fork", "before", "--at", "1", "--name", "again"]);
    assert!(why.contains("the limit message_bytes cannot be 5000: this runtime allows at most 1000"), "{why}");
    assert!(why.contains("--manifest FILE"), "{why}");
    running.say(&["restart", "before"]);
    assert_eq!(recorded(&running, "before")["message_bytes"], 5_000, "a restart runs what was started");
    for actor in ["before", "named"] {
        verifies_and_replays(&running.export(&stage, actor));
    }
}

#[test]
fn a_transition_that_was_open_ends_within_the_limits_that_began_it() {
    let stage = Stage::new();
    let named = stage.manifest("named", "probe", "");
    let running = configured(&stage, "[actor_limits]\ncpu_ms_per_call = 1000\n", &[&named]).expect("it starts");
    let mut management = Management::connect(running.management());
    management.send_request(&running.id("named"), &json!("spin"));
    eventually("it spins", || running.last_event("named")["event_type"].as_str()?.starts_with("call ").then_some(()));
    running.kill();

    let text = "[actor_limits]\ncpu_ms_per_call = 600000\n";
    let why = configured(&stage, text, &[&named]).err().expect("what it resumes comes to no end");
    assert!(why.contains("cpu_ms_per_call is 1000"), "{why}");
    let dir = stage.data_dir();
    let output = theater(&["events", "named", "--json", "--data-dir", dir.to_str().expect("a path")], None);
    let events: Vec<Value> =
        support::text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let started: Vec<_> =
        data_of(&events, "started").iter().map(|it| it["limits"]["cpu_ms_per_call"].clone()).collect();
    assert_eq!(started, [1_000, 1_000]);
}

#[test]
fn the_configuration_shows_the_limits_of_actors_and_where_they_come_from() {
    let stage = Stage::new();
    let file = stage.file("theater.toml", "[actor_limits]\nchildren = 7\n\n[actor_ceilings]\nmemory_bytes = 65536\n");
    let output = theater(&["config", "--json", "--config", file.to_str().expect("a path")], None);
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let shown = |key: &str| {
        let row = all.iter().find(|row| row["key"] == key).unwrap_or_else(|| panic!("it shows {key}"));
        let origin = row["origin"].as_str().expect("text").rsplit('/').next().expect("a name").to_owned();
        (row["value"].clone(), origin)
    };
    assert_eq!(shown("actor_limits.children"), (json!("7"), "theater.toml:2".into()));
    assert_eq!(shown("actor_limits.memory_bytes"), (json!("65536"), "theater.toml:5".into()));
    assert_eq!(shown("actor_ceilings.children"), (json!("1048576"), "default".into()));
}

#[test]
fn records_that_wait_for_the_disk_are_bounded_and_nothing_larger_is_lost() {
    let stage = Stage::new();
    let probe = stage.manifest("probe", "probe", "");
    let running = configured(&stage, "[limits]\njournal_queue_bytes = 65536\n", &[&probe]).expect("it starts");
    for _ in 0..5 {
        assert!(reply_of(&running, "probe", 500_000).is_ok(), "one record is larger than all that may wait");
    }
    verifies_and_replays(&running.export(&stage, "probe"));
}

#[test]
fn a_frame_that_was_begun_comes_in_time_or_its_connection_ends() {
    let stage = Stage::new();
    let running = configured(&stage, "[limits]\nmanagement_frame_ms = 100\n", &[]).expect("it starts");
    let mut patient = Management::connect(running.management());
    for half in [&[0][..], &[0, 0, 0, 40], &[0, 0, 0, 40, b'{', b'"']] {
        let mut client = Management::connect(running.management());
        client.send_raw(half);
        let last = client.receive().expect("a last frame");
        let why = last["Error"]["message"].as_str().expect("an error");
        assert_eq!(why, "a frame that was begun has not come in time: the limit management_frame_ms is 100");
        assert!(client.receive().is_none(), "it is closed");
    }
    assert!(patient.ask(&json!("ListActors"))["ActorList"].is_object(), "who has begun nothing is not late");
}

#[test]
fn a_frame_larger_than_the_limit_ends_its_connection() {
    let stage = Stage::new();
    let running = configured(&stage, "[limits]\nmanagement_frame_bytes = 2000\n", &[]).expect("it starts");
    let command = |bytes: usize| json!({ "StartActor": { "manifest": "x".repeat(bytes) } });
    let mut client = Management::connect(running.management());
    assert!(client.error(&command(1_900)).contains("cannot read the manifest"));
    assert!(client.error(&command(2_000)).contains("the limit management_frame_bytes is 2000"));
    assert!(client.receive().is_none(), "it is closed");
}

#[test]
fn subscriptions_to_more_than_one_actor_have_a_bound_of_their_own() {
    let stage = Stage::new();
    let running = configured(&stage, "[limits]\nmanagement_wide_subscriptions = 1\n", &[]).expect("it starts");
    let mut client = Management::connect(running.management());
    let all = json!({ "Subscribe": { "scope": "All" } });
    assert!(client.ask(&all)["SubscribedFrom"].is_object());
    assert!(client.error(&all).contains("the limit management_wide_subscriptions is 1"));
}

/// A counter with an HTTP listener and these limits.
fn listening(limits: &str) -> (Stage, Theater) {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", &format!("[limits]\n{limits}\n{HTTP}"))]);
    (stage, running)
}

#[test]
fn an_http_client_has_as_long_as_the_limits_say() {
    let (_stage, running) = listening("http_head_ms = 100\nhttp_body_ms = 100\nhttp_idle_ms = 100\n");
    let address = running.http("probe");
    for begun in ["GET / HTTP/1.1\r\nHost:", "POST /op HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"] {
        let mut http = Http::connect(address);
        http.send_raw(begun.as_bytes()).expect("sent");
        assert_eq!(http.receive().expect("an answer").status, 408, "{begun:?}");
        assert!(http.is_over());
    }
    let mut http = Http::connect(address);
    assert_eq!(http.op(&json!("count")).status, 200);
    assert!(http.is_over(), "nothing came for as long as it may be idle");
}

#[test]
fn an_http_client_that_does_not_take_its_answer_in_time_is_left() {
    let (_stage, running) = listening("http_answer_ms = 100\n");
    let connections = || running.thread_names().iter().filter(|name| name.starts_with("http-")).count();
    let before = connections();
    let mut http = Http::connect(running.http("probe"));
    http.send("POST", "/op", Some(&json!({ "op": "reply-bytes", "n": 8_000_000 }).to_string()));
    eventually("it is answered", || {
        running.last_event("probe")["event_type"].as_str()?.starts_with("return ").then_some(())
    });
    eventually("its connection is closed", || (connections() <= before).then_some(()));
}

#[test]
fn the_bodies_under_way_at_a_listener_are_bounded_together() {
    let (_stage, running) = listening("http_body_bytes = 100\nhttp_bodies_bytes = 100\ncpu_ms_per_call = 600000\n");
    let address = running.http("probe");
    let mut busy = Http::connect(address);
    busy.send("POST", "/op", Some(&format!("{:60}", "\"spin\"")));
    eventually("it is being worked on", || {
        running.last_event("probe")["event_type"].as_str()?.starts_with("call ").then_some(())
    });
    let mut other = Http::connect(address);
    assert_eq!(other.ask("POST", "/op", Some(&format!("{:60}", "\"count\""))).status, 503);
}

#[test]
fn an_embedder_says_what_actors_may_use() {
    let stage = Stage::new();
    let (mut defaults, mut ceilings) = (theater::Limits::default(), theater::Limits::ceilings());
    (defaults.message_bytes, ceilings.message_bytes) = (1_000, 2_000);
    let mut limits = theater::RuntimeLimits::default();
    limits.http_exchanges = 1;
    let actor_limits = theater::ActorLimits::new(defaults, ceilings.clone()).expect("possible");
    let config = theater::Config::new().data_dir(stage.data_dir()).actor_limits(actor_limits).limits(limits);
    let runtime = theater::TheaterRuntime::start(config).expect("a runtime");
    let start = |more: &str| runtime.handle().start(stage.manifest("probe", "probe", more));
    start("").expect("it starts");
    let why = start("[limits]\nmessage_bytes = 2001\n").expect_err("it is refused").to_string();
    assert!(why.contains("at most 2000"), "{why}");
    runtime.shutdown();
    let why = theater::ActorLimits::new(theater::Limits::default(), ceilings).expect_err("the default lies above");
    assert_eq!((why.name, why.value), ("message_bytes", 1_048_576));
}
