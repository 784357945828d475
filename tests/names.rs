//! Tests of labels and addresses: who is reached by which name, before and after crashes, and who may be reached.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use support::{Management, Stage, Theater, data_of, eventually, theater, verifies_and_replays};

const SUPERVISOR: &str = "[[handlers]]\ntype = \"supervisor\"\n";

/// A nursery called `ledger`, and the manifest of a child beside it.
struct Ledger {
    stage: Stage,
    manifest: std::path::PathBuf,
}

impl Ledger {
    fn new(child: &str) -> Self {
        let stage = Stage::new();
        for name in ["probe", "nursery"] {
            stage.copy_component(name, name);
        }
        stage.manifest_at("account", "probe.wasm".as_ref(), child);
        let manifest = stage.manifest_at("ledger", "nursery.wasm".as_ref(), SUPERVISOR);
        Self { stage, manifest }
    }

    fn run(&self) -> Theater {
        self.stage.run(&[&self.manifest])
    }
}

fn spawn(running: &Theater, op: &str, label: &str, state: &Value) -> Value {
    let command = json!({ "op": op, "manifest": "account.toml", "label": label, "state": state });
    running.request("ledger", &command).unwrap_or_else(|why| panic!("{command}: {why}"))
}

fn spawned(running: &Theater, label: &str) -> String {
    let answer = spawn(running, "spawn-as", label, &Value::Null);
    answer["ok"].as_str().unwrap_or_else(|| panic!("{label}: {answer}")).to_owned()
}

#[test]
fn a_child_with_a_label_is_reached_by_its_address_wherever_an_id_is_taken() {
    let ledger = Ledger::new("");
    let running = ledger.run();
    let alice = spawned(&running, "alice");
    let tell = |op: &str, more: &Value| {
        let mut command = json!({ "op": op, "to": "ledger/alice", "child": "ledger/alice" });
        command.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        running.request("ledger", &command).unwrap_or_else(|why| panic!("{command}: {why}"))
    };
    assert_eq!(tell("request", &json!({ "msg": "count" })), json!({ "ok": 1 }));
    assert_eq!(tell("send", &json!({ "msg": "count" })), json!({ "ok": null }));
    eventually("the send is taken", || (running.json(&["state", &alice])["state"]["count"] == 2).then_some(()));
    assert_eq!(tell("child-state", &json!({}))["ok"]["count"], 2);
    assert_eq!(tell("restart-child", &json!({})), json!({ "ok": null }));
    assert_eq!(running.request("ledger/alice", &json!("count")), Ok(json!(3)), "from outside, too");
    let text = std::fs::read_to_string(ledger.stage.path().join("account.toml")).expect("a manifest");
    ledger.stage.file("account.toml", format!("reuse = 10\n{text}"));
    assert_eq!(running.say(&["upgrade", "ledger/alice"]), format!("upgraded {alice}"));
    assert_eq!(running.request("ledger/alice", &json!("count")), Ok(json!(4)), "its state stays");
    assert_eq!(tell("stop-child", &json!({})), json!({ "ok": null }));
    running.until(&alice, "stopped");
    let events = running.events("ledger");
    for recorded in [
        "intent ntwk:theater/message-server-host.request",
        "host-call ntwk:theater/message-server-host.send",
        "host-call ntwk:theater/supervisor.get-child-state",
        "intent ntwk:theater/supervisor.restart-child",
        "intent ntwk:theater/supervisor.stop-child",
    ] {
        let stood_for: Vec<&Value> = data_of(&events, recorded).iter().map(|data| &data["to"]).collect();
        assert_eq!(stood_for, [&json!(alice)], "{recorded}: which actor it stood for is recorded");
    }
    let listed = running.json(&["list"]);
    let one = listed.as_array().and_then(|all| all.iter().find(|it| it["id"] == json!(alice))).expect("listed");
    assert_eq!((&one["label"], &one["path"]), (&json!("alice"), &json!("ledger/alice")));
    assert!(running.say(&["tree"]).contains("alice (account)"));
    for actor in ["ledger", &alice] {
        verifies_and_replays(&running.export(&ledger.stage, actor));
    }
}

#[test]
fn an_address_that_stands_for_nobody_is_an_error_that_names_it() {
    let ledger = Ledger::new("");
    let running = ledger.run();
    spawned(&running, "alice");
    for (to, why) in [
        ("ledger/bob", "no actor has the address \"ledger/bob\""),
        ("ledger/alice/x", "no actor has the address \"ledger/alice/x\""),
        ("bank", "no actor has the address \"bank\""),
        ("alice", "no actor has the address \"alice\""),
        ("Ledger/alice", "no actor has the address"),
        ("//bank/alice", "names a realm"),
        ("", "not an address"),
        ("ledger//alice", "not an address"),
        ("/ledger", "not an address"),
        ("ledger/", "not an address"),
    ] {
        for op in ["request", "send"] {
            let answer = running.request("ledger", &json!({ "op": op, "to": to, "msg": "count" })).expect("an answer");
            let said = answer["err"].as_str().unwrap_or_else(|| panic!("{to}: {answer}"));
            assert!(said.contains(why), "{op} {to:?}: {said}");
        }
        let stopped = running.request("ledger", &json!({ "op": "stop-child", "child": to })).expect("an answer");
        assert!(stopped["err"].as_str().is_some_and(|it| it.contains("not a child")), "{to}: {stopped}");
    }
    verifies_and_replays(&running.export(&ledger.stage, "ledger"));
}

#[test]
fn a_label_is_unique_among_living_siblings_and_free_again_after_an_end() {
    let ledger = Ledger::new("");
    let running = ledger.run();
    let first = spawned(&running, "alice");
    let again = spawn(&running, "spawn-as", "alice", &Value::Null);
    assert!(again["err"].as_str().is_some_and(|why| why.contains(&first) && why.contains("taken")), "{again}");
    running.say(&["stop", &first]);
    let second = spawned(&running, "alice");
    assert_ne!(first, second);
    assert_eq!(running.request("ledger/alice", &json!("count")), Ok(json!(1)), "it stands for the new one");
    let refused = running.refused(&["restart", &first]);
    assert!(refused.contains(&second) && refused.contains("name"), "{refused}");
    running.say(&["stop", &second]);
    running.say(&["restart", &first]);
    assert_eq!(running.request("ledger/alice", &json!("count")), Ok(json!(1)), "and for the old one, which is back");
}

#[test]
fn what_is_no_label_is_refused() {
    let ledger = Ledger::new("");
    let running = ledger.run();
    for label in ["", ".", "..", "a/b", "a b", "ä", "line\n", &"x".repeat(129), &"x".repeat(100_000)] {
        for op in ["spawn-as", "get-or-spawn"] {
            let answer = spawn(&running, op, label, &Value::Null);
            assert!(answer["err"].as_str().is_some_and(|why| why.contains("is no label")), "{label:?}: {answer}");
        }
    }
    spawned(&running, &"x".repeat(128));
    verifies_and_replays(&running.export(&ledger.stage, "ledger"));
}

#[test]
fn get_or_spawn_makes_one_child_for_each_key_with_the_state_that_it_is_given() {
    let ledger = Ledger::new("restart_state = \"initial\"\n[limits]\nstate_bytes = 1000\n");
    let running = ledger.run();
    let state = json!({ "count": 40 });
    let first = spawn(&running, "get-or-spawn", "order-17", &state);
    assert_eq!(running.request("ledger/order-17", &json!("count")), Ok(json!(41)), "{first}");
    assert_eq!(spawn(&running, "get-or-spawn", "order-17", &Value::Null), first, "it is there");
    assert_eq!(running.request("ledger/order-17", &json!("count")), Ok(json!(42)), "and has kept its state");
    let other = spawn(&running, "get-or-spawn", "order-18", &Value::Null);
    assert_ne!(first, other);
    running.say(&["restart", "ledger/order-17"]);
    assert_eq!(
        running.request("ledger/order-17", &json!("count")),
        Ok(json!(41)),
        "from the state it was spawned with"
    );
    running.kill();
    let running = ledger.run();
    running.say(&["restart", "ledger/order-17"]);
    assert_eq!(running.request("ledger/order-17", &json!("count")), Ok(json!(41)), "also after a crash");
    let large = spawn(&running, "spawn-as", "large", &json!("x".repeat(2_000)));
    assert!(large["err"].as_str().is_some_and(|why| why.contains("the limit state_bytes is 1000")), "{large}");
    verifies_and_replays(&running.export(&ledger.stage, "ledger"));
    verifies_and_replays(&running.export(&ledger.stage, &running.id("ledger/order-17")));
}

#[test]
fn get_or_spawn_brings_back_the_child_that_has_ended_with_its_state_and_spawn_as_begins_anew() {
    let ledger = Ledger::new("");
    let running = ledger.run();
    let first = spawn(&running, "get-or-spawn", "alice", &Value::Null);
    assert_eq!(running.request("ledger/alice", &json!("count")), Ok(json!(1)));
    running.say(&["stop", "ledger/alice"]);
    assert_eq!(spawn(&running, "get-or-spawn", "alice", &json!({ "count": 70 })), first, "it is the same actor");
    assert_eq!(running.request("ledger/alice", &json!("count")), Ok(json!(2)), "with what it knew");
    running.say(&["stop", "ledger"]);
    running.say(&["restart", "ledger"]);
    assert_eq!(spawn(&running, "get-or-spawn", "alice", &Value::Null), first, "also after its parent has been stopped");
    assert_eq!(running.request("ledger/alice", &json!("count")), Ok(json!(3)));
    running.say(&["stop", "ledger/alice"]);
    let second = spawn(&running, "spawn-as", "alice", &Value::Null);
    assert_ne!(first, second);
    assert_eq!(running.request("ledger/alice", &json!("count")), Ok(json!(1)));
    let first = first["ok"].as_str().expect("an id").to_owned();
    for actor in ["ledger", &first] {
        verifies_and_replays(&running.export(&ledger.stage, actor));
    }
    running.shut_down();
    let audit = theater(&["verify", "--journal", ledger.stage.data_dir().to_str().expect("a path")], None);
    assert!(audit.status.success(), "{}", support::text(&audit.stderr));
}

#[test]
fn get_or_spawn_answers_with_an_actor_while_somebody_else_stops_and_restarts_it() {
    let ledger = Ledger::new("");
    let running = ledger.run();
    let child = spawn(&running, "get-or-spawn", "alice", &Value::Null)["ok"].as_str().expect("an id").to_owned();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut management = Management::connect(running.management());
            for _ in 0..60 {
                management.ask(&json!({ "StopActor": { "id": child } }));
                management.ask(&json!({ "RestartActor": { "id": child } }));
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let mut management = Management::connect(running.management());
        let command = json!({ "op": "get-or-spawn", "manifest": "account.toml", "label": "alice" });
        let parent = running.id("ledger");
        let mut found = 0;
        while !is_over.load(Ordering::Relaxed) {
            let answer = management.request(&parent, &command).expect("an answer");
            let is_it = answer["ok"] == json!(child);
            let says_why = answer["err"]
                .as_str()
                .is_some_and(|why| why.contains("cannot be restarted") || why.contains("stopped"));
            assert!(is_it || says_why, "{answer}");
            found += usize::from(is_it);
        }
        assert!(found > 0, "no answer was the actor");
    });
    verifies_and_replays(&running.export(&ledger.stage, "ledger"));
}

#[test]
fn a_name_that_is_no_address_causes_a_warning_and_has_no_path() {
    let ledger = Ledger::new("");
    let odd = ledger.stage.path().join("odd.toml");
    let text = std::fs::read_to_string(ledger.stage.manifest("odd", "probe", "")).expect("a manifest");
    std::fs::write(&odd, text.replace("\"odd\"", "\"ledger/odd\"")).expect("written");
    let checked = theater(&["check", odd.to_str().expect("a path")], None);
    assert!(support::text(&checked.stderr).contains("no other actor can address"), "{checked:?}");
    let running = ledger.run();
    let id = running.start(&odd).expect("it starts");
    let listed = running.json(&["list"]);
    let one = listed.as_array().and_then(|all| all.iter().find(|it| it["id"] == json!(id))).expect("listed");
    assert_eq!(one.get("path"), None, "{one}");
}

#[test]
fn the_log_calls_an_actor_by_its_path() {
    let ledger = Ledger::new("restart = \"transient\"\n");
    let running = ledger.run();
    spawned(&running, "alice");
    running.request("ledger/alice", &json!("trap")).expect_err("it fails");
    eventually("the log says so", || ledger.stage.log().contains("actor ledger/alice failed").then_some(()));
    eventually("and that", || ledger.stage.log().contains("actor ledger/alice is restarted in").then_some(()));
}

#[test]
fn labels_survive_crashes_and_what_was_sent_to_an_address_arrives() {
    let ledger = Ledger::new("[limits]\ncpu_ms_per_call = 600000\n");
    let running = ledger.run();
    let alice = spawned(&running, "alice");
    let slow = json!({ "op": "request", "to": "ledger/alice", "msg": { "op": "work", "rounds": 200_000_000 } });
    let mut management = Management::connect(running.management());
    management.send_request(&running.id("ledger"), &slow);
    eventually("it is asked", || running.event_types(&alice).last()?.starts_with("call ").then_some(()));
    running.kill();
    let running = ledger.run();
    eventually("it is answered", || {
        let events = running.events("ledger");
        let answers = data_of(&events, "host-call ntwk:theater/message-server-host.request");
        answers.last().filter(|it| it["result"]["ok"].is_array() || it["result"].get("ok").is_some()).map(|_| ())
    });
    assert_eq!(running.request("ledger/alice", &json!("count")), Ok(json!(1)));
    assert_eq!(running.id("ledger/alice"), alice);
    for actor in ["ledger", &alice] {
        verifies_and_replays(&running.export(&ledger.stage, actor));
    }
    running.shut_down();
    let dir = ledger.stage.data_dir();
    let state = theater(&["state", "ledger/alice", "--data-dir", dir.to_str().expect("a path"), "--json"], None);
    let state: Value = serde_json::from_slice(&state.stdout).expect("JSON");
    assert_eq!(state["state"]["count"], 1, "the path names it in a data directory, too");
    let audit = theater(&["verify", "--journal", ledger.stage.data_dir().to_str().expect("a path")], None);
    assert!(audit.status.success(), "{}", support::text(&audit.stderr));
}

#[test]
fn a_second_root_of_a_living_ones_name_is_refused() {
    let ledger = Ledger::new("");
    let running = ledger.run();
    let refused = running.start(&ledger.manifest).expect_err("there is one");
    assert!(refused.contains("called \"ledger\"") && refused.contains(&running.id("ledger")), "{refused}");
    running.say(&["stop", "ledger"]);
    running.start(&ledger.manifest).expect("the name is free");
}

#[test]
fn a_manifest_says_whose_messages_an_actor_takes() {
    let children = "[[handlers]]\ntype = \"supervisor\"\n";
    for (reachable, parent, sibling, stranger) in [
        ("[\"parent\"]", true, false, false),
        ("[\"siblings\"]", false, true, false),
        ("[\"parent\", \"siblings\"]", true, true, false),
        ("[\"children\"]", false, false, false),
        ("[\"any\"]", true, true, true),
    ] {
        let ledger = Ledger::new(&format!("reachable = {reachable}\n"));
        ledger.stage.manifest_at("other", "probe.wasm".as_ref(), "");
        let running = ledger.run();
        spawned(&running, "alice");
        let bob = spawned(&running, "bob");
        running.start(&ledger.stage.path().join("other.toml")).expect("a stranger");
        let ask = json!({ "op": "request", "to": "ledger/alice", "msg": "count" });
        for (from, is_let_in) in [("ledger", parent), (bob.as_str(), sibling), ("other", stranger)] {
            let answer = running.request(from, &ask).expect("an answer");
            let is_refused = answer["err"].as_str().is_some_and(|why| why.contains("reachable"));
            assert_eq!(
                (answer.get("ok").is_some(), is_refused),
                (is_let_in, !is_let_in),
                "{reachable} {from}: {answer}"
            );
        }
        assert!(running.request("ledger/alice", &json!("count")).is_ok(), "what comes from outside is let in");
    }
    let stage = Stage::new();
    for (wrong, why) in [("[]", "nobody"), ("[\"world\"]", "world"), ("\"parent\"", "reachable")] {
        let manifest = stage.manifest("wrong", "probe", &format!("reachable = {wrong}\n{children}"));
        let checked = theater(&["check", manifest.to_str().expect("a path")], None);
        let said = support::text(&checked.stderr);
        assert!(!checked.status.success() && said.contains(why), "{wrong}: {said}");
    }
}
