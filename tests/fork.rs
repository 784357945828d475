//! Tests of forks: a fork begins with the state that another actor had, runs by itself, and its chain names the event.

mod support;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::log_file::{LogRecord, forge_log};
use support::{Http, Stage, Theater, data_of, text, theater, verifies_and_replays};

fn fork(running: &Theater, actor: &str, at: u64, name: &str, more: &[&str]) -> Result<String, String> {
    let at = at.to_string();
    let output = running.cli(&[&["fork", actor, "--at", &at, "--name", name], more].concat());
    if output.status.success() { Ok(text(&output.stdout).trim().to_owned()) } else { Err(text(&output.stderr)) }
}

fn add(running: &Theater, actor: &str, n: u64) -> Value {
    running.request(actor, &json!({ "add": n })).expect("an answer")["count"].clone()
}

fn count(running: &Theater, actor: &str) -> Value {
    running.json(&["state", actor])["state"]["count"].clone()
}

/// Checks a chain with `docs/verify_chain.py`, if there is Python.
fn python_verifies(chain: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify_chain.py");
    match Command::new("python3").arg(script).arg(chain).output() {
        Ok(output) => assert!(output.status.success(), "{}", text(&output.stderr)),
        Err(_) => support::skipped("the verifier written from the document", "there is no python3"),
    }
}

fn audit(stage: &Stage) -> Value {
    let output = theater(&["verify", "--journal", stage.data_dir().to_str().expect("a path"), "--json"], None);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A counter that was restarted in between; returns its events, and the count at each of them.
fn counted(stage: &Stage, more: &str) -> (Theater, std::path::PathBuf, Vec<(Value, Value)>) {
    let manifest = stage.manifest("counter", "counter", more);
    let running = stage.run(&[&manifest]);
    (1..=3).for_each(|n| _ = add(&running, "counter", n));
    running.kill();
    let running = stage.run(&[&manifest]);
    (1..=3).for_each(|n| _ = add(&running, "counter", n));
    let mut count = Value::Null;
    let states = running.events("counter").into_iter().map(|event| {
        if let Some(state) = event["data"]["state"].as_object() {
            count = state["count"].clone();
        }
        (event, count.clone())
    });
    let states = states.collect();
    (running, manifest, states)
}

#[test]
fn a_fork_begins_with_the_state_at_any_event_and_quotes_it() {
    for more in ["", "reuse = 4\n"] {
        let stage = Stage::new();
        let (running, _, states) = counted(&stage, more);
        for (at, (event, expected)) in states.iter().enumerate() {
            let name = format!("fork-{at}");
            let id = fork(&running, "counter", at as u64, &name, &[]).expect("a fork");
            assert_eq!(running.id(&name), id);
            let begun = running.events(&name);
            assert_eq!(begun.len(), 1, "no init was run: {begun:?}");
            let started = &begun[0]["data"];
            assert_eq!((&started["reason"], &started["incarnation"]), (&json!("fork"), &json!(1)));
            assert_eq!((&started["name"], &started["parent"]), (&json!(name), &Value::Null));
            let origin = json!({ "actor": running.id("counter"), "sequence": at, "hash": event["hash"] });
            assert_eq!(started["fork"], origin);
            assert_eq!(&count(&running, &name), expected, "event {at}");
        }
    }
}

#[test]
fn a_fork_goes_on_by_itself_and_its_chain_verifies_and_replays() {
    let stage = Stage::new();
    let (running, manifest, states) = counted(&stage, "");
    let before = running.last_event("counter");
    // The event is in the first of two incarnations.
    let at = states.iter().position(|(_, count)| *count == json!(3)).expect("a count") as u64;
    fork(&running, "counter", at, "other", &[]).expect("a fork");
    assert_eq!(add(&running, "other", 10), json!(13));
    assert_eq!(running.last_event("counter"), before, "nothing has happened to the one it comes from");
    fork(&running, "other", 2, "third", &[]).expect("a fork of the fork");
    assert_eq!(add(&running, "third", 100), json!(113));
    for name in ["other", "third"] {
        let chain = running.export(&stage, name);
        verifies_and_replays(&chain);
        python_verifies(&chain);
    }
    running.kill();
    let running = stage.run(&[&manifest]);
    assert_eq!((count(&running, "other"), count(&running, "third")), (json!(13), json!(113)));
    assert_eq!(add(&running, "other", 1), json!(14));
    let events = running.events("other");
    assert_eq!(data_of(&events, "call ntwk:theater/actor.init").len(), 0, "its init is never run");
    let reasons: Vec<_> = data_of(&events, "started").iter().map(|it| it["reason"].clone()).collect();
    assert_eq!(reasons, ["fork", "recovery"]);
    assert_eq!(running.say(&["restart", "third"]), format!("restarted {}", running.id("third")));
    assert_eq!(count(&running, "third"), json!(113));
    verifies_and_replays(&running.export(&stage, "third"));
    running.shut_down();
    let audit = audit(&stage);
    assert_eq!((&audit["findings"], &audit["links"]), (&json!([]), &json!(2)), "{audit}");
}

#[test]
fn a_fork_whose_origin_was_rewritten_is_named_by_the_audit() {
    let stage = Stage::new();
    let (running, _, _) = counted(&stage, "");
    fork(&running, "counter", 4, "other", &[]).expect("a fork");
    running.shut_down();
    forge_log(&stage.data_dir(), |log| {
        let counter = log.key_of("counter");
        log.retain(|record| match record {
            LogRecord::Event(event) => event.actor != counter || event.sequence < 4,
            LogRecord::State { actor, sequence, .. } => *actor != counter || *sequence < 4,
            _ => true,
        });
        log.link();
    });
    let findings = audit(&stage)["findings"].to_string();
    assert!(findings.contains("its origin is event 4") && findings.contains("which lacks it"), "{findings}");
}

#[test]
fn a_fork_within_a_transition_begins_with_the_state_from_before_it() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(1)));
    let ops = json!({ "op": "many", "ops": ["count", { "op": "log", "text": "counted" }, "count"] });
    running.request("probe", &ops).expect("an answer");
    let events = running.events("probe");
    let log = events.iter().position(|event| event["event_type"].as_str().expect("a type").contains(".log"));
    let log = log.expect("it logged") as u64;
    fork(&running, "probe", log, "within", &[]).expect("a fork");
    assert_eq!(running.request("within", &json!("count")), Ok(json!(2)));
    fork(&running, "probe", log + 1, "after", &[]).expect("a fork");
    assert_eq!(running.request("after", &json!("count")), Ok(json!(4)));
}

#[test]
fn a_fork_with_a_large_state_and_one_of_an_actor_that_reads_its_chain_replay() {
    let stage = Stage::new();
    let manifest = stage.manifest("probe", "probe", "");
    let running = stage.run(&[&manifest]);
    for command in [json!("count"), json!({ "op": "state-bytes", "n": 5000 }), json!("chain")] {
        running.request("probe", &command).expect("an answer");
    }
    running.kill();
    let running = stage.run(&[&manifest]);
    for command in [json!("chain"), json!("count"), json!("chain")] {
        running.request("probe", &command).expect("an answer");
    }
    let last = running.last_event("probe")["sequence"].as_u64().expect("a number");
    fork(&running, "probe", last, "large", &[]).expect("a fork");
    assert_eq!(running.request("large", &json!("count")), Ok(json!(3)));
    let chain = running.export(&stage, "large");
    verifies_and_replays(&chain);
    python_verifies(&chain);
}

#[test]
fn a_fork_can_run_another_manifest_and_another_build() {
    let stage = Stage::new();
    let (running, _, states) = counted(&stage, "");
    let last = states.len() as u64 - 1;
    let manifest = stage.http_manifest("another", "variant", "");
    let manifest = manifest.to_str().expect("a path");
    fork(&running, "counter", last, "wrong", &["--manifest", manifest]).expect("a fork");
    assert_eq!(add(&running, "wrong", 1), json!(14), "the other build adds one too many");
    let address = running.json(&["status", "wrong"])["addresses"][0].as_str().expect("it listens").to_owned();
    let address = address.trim_start_matches("http://").trim_end_matches('/').parse().expect("an address");
    assert_eq!(Http::connect(address).ask("POST", "/increment", None).json()["count"], 16);
    verifies_and_replays(&running.export(&stage, "wrong"));
}

#[test]
fn a_fork_whose_first_start_fails_is_not_restarted_by_policy_but_by_hand_and_then_has_the_forked_state() {
    let stage = Stage::new();
    // The port that the original has, and that the fork would have too.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let more = format!(
        "restart = \"permanent\"\nrestart_backoff_ms = 1\n[[handlers]]\ntype = \"http-server\"\nconfig = {{ port = {port} }}\n"
    );
    let manifest = stage.manifest("counter", "counter", &more);
    let running = stage.run(&[&manifest]);
    add(&running, "counter", 3);
    let last = running.last_event("counter")["sequence"].as_u64().expect("a sequence");
    let why = fork(&running, "counter", last, "ghost", &[]).expect_err("the port is taken");
    assert!(why.contains("in use"), "{why}");
    assert_eq!(running.status("ghost"), "failed");
    assert_eq!(running.event_types("ghost"), ["started", "failed"]);
    let shown = running.json(&["status", "ghost"]).to_string();
    assert!(shown.contains("it has never been up"), "{shown}");
    // By hand it is tried again, and fails again for good.
    let again = running.refused(&["restart", "ghost"]);
    assert!(again.contains("in use"), "{again}");
    assert_eq!(running.status("ghost"), "failed");
    let tried = running.event_types("ghost");
    assert_eq!(tried, ["started", "failed", "started", "failed"]);
    running.say(&["stop", "counter"]);
    // Neither the free port nor another runtime brings it back.
    running.shut_down();
    let running = stage.run(&[]);
    assert_eq!((running.status("ghost"), running.event_types("ghost")), ("failed".into(), tried));
    running.say(&["restart", "ghost"]);
    assert_eq!((running.status("ghost"), count(&running, "ghost")), ("running".into(), json!(3)));
    assert!(!running.event_types("ghost").iter().any(|event| event.contains("init")), "its init is not run");
    assert_eq!(add(&running, "ghost", 1), json!(4));
    verifies_and_replays(&running.export(&stage, "ghost"));
    // It has been up now, so a kill of the runtime, and whatever comes after, is survived as by any actor.
    running.kill();
    let running = stage.run(&[]);
    assert_eq!((running.status("ghost"), count(&running, "ghost")), ("running".into(), json!(4)));
}

#[test]
fn a_fork_that_was_never_called_comes_back_after_a_kill() {
    let stage = Stage::new();
    let (running, _, states) = counted(&stage, "restart = \"permanent\"\n");
    fork(&running, "counter", states.len() as u64 - 1, "idle", &[]).expect("a fork");
    running.kill();
    let running = stage.run(&[]);
    assert_eq!((running.status("idle"), count(&running, "idle")), ("running".into(), json!(12)));
    running.say(&["stop", "idle"]);
    running.say(&["restart", "idle"]);
    assert_eq!((running.status("idle"), count(&running, "idle")), ("running".into(), json!(12)));
}

#[test]
fn what_cannot_be_forked_is_refused_with_the_reason() {
    let stage = Stage::new();
    let (running, _, states) = counted(&stage, "");
    let last = states.len() as u64 - 1;
    let why = fork(&running, "counter", 4711, "x", &[]).expect_err("there is no such event");
    assert!(
        why.contains("event 4711 is not on the chain") && why.contains(&format!("its last is event {last}")),
        "{why}"
    );
    assert!(fork(&running, "nobody", 0, "x", &[]).expect_err("nobody").contains("no actor is called \"nobody\""));
    assert!(fork(&running, "counter", 2, "", &[]).expect_err("no name").contains("\"name\" is empty"));
    let small = stage.manifest("small", "counter", "[limits]\nstate_bytes = 5\n");
    let why = fork(&running, "counter", last, "x", &["--manifest", small.to_str().expect("a path")]);
    assert!(why.as_ref().is_err_and(|why| why.contains("the limit state_bytes is 5")), "{why:?}");
    running.json(&["prune", "counter", "--before", "1000000"]);
    let why = fork(&running, "counter", 2, "x", &[]).expect_err("its data was dropped");
    assert!(why.contains("the state at event 2 cannot be had") && why.contains("was dropped before event"), "{why}");
    assert_eq!(running.json(&["list"]).as_array().expect("actors").len(), 1, "none was left behind");
    fork(&running, "counter", last, "x", &[]).expect("what is kept can be forked");
}

/// A fork has a manifest that names another actor, and a start must not take that for a name that was changed.
#[test]
fn a_fork_is_not_taken_for_an_older_name_of_its_manifest() {
    let stage = Stage::new();
    let (running, manifest, _) = counted(&stage, "");
    fork(&running, "counter", 2, "copy", &[]).expect("a fork");
    running.say(&["stop", "counter"]);
    running.say(&["forget", "counter"]);
    running.kill();
    let running = stage.run(&[&manifest]);
    assert_eq!(count(&running, "counter"), json!(0));
    assert!(!stage.log().contains("and named \"copy\" before"), "{}", stage.log());
}

#[test]
fn a_fork_of_an_actor_with_a_fixed_port_listens_on_another_one() {
    let stage = Stage::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let server = format!("[[handlers]]\ntype = \"http-server\"\nconfig = {{ port = {free} }}\n");
    let running = stage.run(&[&stage.manifest("counter", "counter", &server)]);
    add(&running, "counter", 5);
    let why = fork(&running, "counter", 4, "same", &[]).expect_err("its port is taken");
    assert!(why.contains(&free.to_string()), "{why}");
    fork(&running, "counter", 4, "other", &["--port", "0"]).expect("it is forked");
    fork(&running, "counter", 4, "third", &["--set", "handlers.http-server.port=0"]).expect("it is forked");
    for name in ["other", "third"] {
        let address = running.json(&["status", name])["addresses"][0].as_str().expect("an address").to_owned();
        let answer = Http::connect(address.parse().expect("an address")).ask("POST", "/increment", None);
        assert_eq!(answer.json(), json!({ "count": 6 }), "{name}");
        assert_ne!(address, format!("127.0.0.1:{free}"));
    }
    assert_eq!(count(&running, "counter"), json!(5));
    running.kill();
    let running = stage.run(&[]);
    assert_eq!((running.status("other"), count(&running, "other")), ("running".to_owned(), json!(6)));
    verifies_and_replays(&running.export(&stage, "other"));
    running.shut_down();
}

#[test]
fn a_fork_has_other_values_where_it_is_told_so_and_a_mistake_is_named() {
    let stage = Stage::new();
    let config = "[[handlers]]\ntype = \"config\"\n[config]\nregion = \"eu\"\nmost = 3\n";
    let running = stage.run(&[&stage.manifest("shop", "configured", config)]);
    let at = (running.events("shop").len() - 1) as u64;
    fork(&running, "shop", at, "copy", &["--set", "region=us", "--set", "most=4"]).expect("it is forked");
    let manifest = |actor: &str| {
        let events = running.events(actor);
        data_of(&events, "started")[0]["manifest"].as_str().expect("a manifest").to_owned()
    };
    let of_copy: toml::Table = manifest("copy").parse().expect("TOML");
    assert_eq!(of_copy["name"].as_str(), Some("copy"));
    assert_eq!((of_copy["config"]["region"].as_str(), of_copy["config"]["most"].as_integer()), (Some("us"), Some(4)));
    assert!(manifest("shop").contains("region = \"eu\""));
    for (setting, expected) in [
        ("regoin=us", "did you mean \"region\"?"),
        ("handlers.http-server.port=0", "no handler \"http-server\"; it has config"),
        ("most=many", "a value of the type integer"),
    ] {
        let why = fork(&running, "shop", at, "wrong", &["--set", setting]).expect_err("it is refused");
        assert!(why.contains(expected), "{setting}: {why}");
    }
    let why = fork(&running, "shop", at, "wrong", &["--set", "region"]).expect_err("no value");
    assert!(why.contains("KEY=VALUE"), "{why}");
    let why = fork(&running, "shop", at, "wrong", &["--port", "0"]).expect_err("no listener");
    assert!(why.contains("no handler with a \"port\""), "{why}");
    assert!(running.refused(&["status", "wrong"]).contains("no actor"), "nothing was forked");
    running.shut_down();
}
