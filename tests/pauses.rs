//! Tests of `theater pause` and `theater resume`: a paused actor takes nothing, what comes for it waits, and it goes on in order.

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use support::{Http, Management, Stage, Theater, data_of, eventually, theater, verifies_and_replays};

const SLEEPS: &str = "sleep_after_ms = 20\n";
const SEND: &str = "call ntwk:theater/message-server-client.handle-send";
const REQUEST: &str = "call ntwk:theater/message-server-client.handle-request";
const TIMER: &str = "[[handlers]]\ntype = \"timer\"\n";

fn audit(stage: &Stage) {
    let output = theater(&["verify", "--journal", stage.data_dir().to_str().expect("a path"), "--json"], None);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success(), "{found}");
    support::read_log_by_document(&stage.data_dir());
}

fn is_paused(running: &Theater, actor: &str) -> bool {
    running.json(&["status", actor])["paused"] == true
}

/// The sender is the probe `asker`.
fn send(running: &Theater, to: &str, message: &Value) -> Value {
    let command = json!({ "op": "send", "to": running.id(to), "msg": message });
    running.request("asker", &command).expect("the asker answers")
}

fn calls(running: &Theater, actor: &str) -> usize {
    running.event_types(actor).iter().filter(|kind| kind.starts_with("call ")).count()
}

/// What the counter was told to add, in order.
fn added(running: &Theater, actor: &str) -> Vec<u64> {
    let events = running.events(actor);
    data_of(&events, SEND).into_iter().map(|data| data["params"][0]["add"].as_u64().expect("a number")).collect()
}

fn count(running: &Theater, actor: &str) -> Value {
    running.json(&["state", actor])["state"]["count"].clone()
}

fn asleep(running: &Theater, actor: &str) {
    eventually("it sleeps", || (running.json(&["status", actor])["asleep"] == true).then_some(()));
}

#[test]
fn mail_waits_while_an_actor_is_paused_also_over_a_kill_and_an_end_and_is_taken_in_order_then() {
    for more in ["", SLEEPS] {
        let stage = Stage::new();
        let manifests = [stage.manifest("asker", "probe", ""), stage.manifest("counter", "counter", more)];
        let running = stage.run(&[&manifests[0], &manifests[1]]);
        let id = running.id("counter");
        assert_eq!(running.say(&["pause", "counter"]), format!("paused {id}"));
        assert!(is_paused(&running, "counter") && running.json(&["status", "counter"])["status"] == "running");
        assert_eq!(send(&running, "counter", &json!({ "add": 1 })), json!({ "ok": null }));
        if more == SLEEPS {
            asleep(&running, "counter");
        }
        assert_eq!(send(&running, "counter", &json!({ "add": 2 })), json!({ "ok": null }));
        assert_eq!(running.json(&["status", "counter"])["mailbox_depth"], 2);
        running.kill();

        let running = stage.run(&[]);
        assert!(is_paused(&running, "counter"));
        assert_eq!(send(&running, "counter", &json!({ "add": 3 })), json!({ "ok": null }));
        running.shut_down();

        let running = stage.run(&[&manifests[1]]);
        assert!(is_paused(&running, "counter"));
        assert_eq!(send(&running, "counter", &json!({ "add": 4 })), json!({ "ok": null }));
        for shown in [&["list"][..], &["tree"], &["top"], &["describe", "counter"], &["status", "counter"]] {
            assert!(running.say(shown).contains("paused") || shown[0] == "top", "{shown:?}");
        }
        let top = running.json(&["top"]);
        let of_counter = top["actors"].as_array().expect("actors").iter().find(|actor| actor["name"] == "counter");
        assert_eq!(of_counter.expect("it is there")["paused"], true);
        assert_eq!(
            (running.json(&["status", "counter"])["mailbox_depth"].clone(), calls(&running, "counter")),
            (json!(4), 1)
        );
        assert_eq!(running.say(&["resume", "counter"]), format!("resumed {id}"));
        eventually("all of it is taken", || (count(&running, "counter") == 10).then_some(()));
        assert_eq!(added(&running, "counter"), [1, 2, 3, 4]);
        assert!(!is_paused(&running, "counter"));
        let chain = running.export(&stage, "counter");
        running.kill();

        let running = stage.run(&[]);
        assert!(!is_paused(&running, "counter"), "the resumption is on disk");
        assert_eq!(running.request("counter", &json!({ "add": 1 })), Ok(json!({ "count": 11 })));
        running.shut_down();
        verifies_and_replays(&chain);
        audit(&stage);
    }
}

#[test]
fn an_actor_that_sleeps_is_not_roused_by_anything_while_it_is_paused() {
    let stage = Stage::new();
    let manifests = [stage.manifest("asker", "probe", ""), stage.manifest("counter", "counter", SLEEPS)];
    let running = stage.run(&[&manifests[0], &manifests[1]]);
    asleep(&running, "counter");
    running.say(&["pause", "counter"]);
    send(&running, "counter", &json!({ "add": 1 }));
    running.say(&["restart", "asker"]);
    assert!(running.json(&["status", "counter"])["asleep"] == true);
    assert!(!running.thread_names().contains(&"a-counter".to_owned()));
    running.say(&["resume", "counter"]);
    eventually("it has woken", || (count(&running, "counter") == 1).then_some(()));
    running.shut_down();
    audit(&stage);
}

#[test]
fn a_paused_actor_finishes_its_call_and_takes_no_other() {
    let stage = Stage::new();
    let manifests = ["asker", "asked"].map(|name| stage.manifest(name, "probe", ""));
    let running = stage.run(&[&manifests[0], &manifests[1]]);
    let mut outside = Management::connect(running.management());
    running.say(&["pause", "asked"]);
    let ask = json!({ "op": "request", "to": running.id("asked"), "msg": "count" });
    outside.send_request(&running.id("asker"), &ask);
    eventually("asker waits for asked", || (running.json(&["status", "asked"])["mailbox_depth"] == 1).then_some(()));
    running.say(&["pause", "asker"]);
    let mut other = Management::connect(running.management());
    other.send_request(&running.id("asker"), &json!("count"));
    eventually("the other request waits", || (running.json(&["status", "asker"])["mailbox_depth"] == 1).then_some(()));
    running.say(&["resume", "asked"]);
    assert_eq!(outside.receive_reply(), Ok(json!({ "ok": 1 })), "the call under way is finished");
    let events = running.events("asker");
    assert_eq!(data_of(&events, REQUEST).len(), 1, "the other request is not taken");
    running.say(&["resume", "asker"]);
    assert_eq!(other.receive_reply(), Ok(json!(1)));
    running.shut_down();
    audit(&stage);
}

#[test]
fn a_paused_mailbox_has_its_bounds_and_http_clients_get_504_and_then_503() {
    let stage = Stage::new();
    let limits = "[limits]\nmailbox_deliveries = 2\nrequest_deadline_ms = 200\n";
    let manifests = [stage.manifest("asker", "probe", ""), stage.http_manifest("counter", "counter", limits)];
    let running = stage.run(&[&manifests[0], &manifests[1]]);
    running.say(&["pause", "counter"]);
    let late = Http::connect(running.http("counter")).ask("POST", "/increment", None);
    assert_eq!(late.status, 504, "{}", late.head);
    let sent: Vec<_> = (0..3).map(|n| send(&running, "counter", &json!({ "add": n }))).collect();
    assert!(sent.contains(&json!({ "err": "mailbox full" })), "{sent:?}");
    let full = Http::connect(running.http("counter")).ask("POST", "/increment", None);
    assert_eq!(full.status, 503, "{}", full.head);
    assert_eq!(calls(&running, "counter"), 1, "only init was called");
    running.say(&["resume", "counter"]);
    let now = eventually("it answers", || {
        Some(Http::connect(running.http("counter")).ask("POST", "/increment", None))
            .filter(|answer| answer.status == 200)
    });
    assert!(now.json()["count"].as_u64().is_some_and(|count| count >= 1));
    running.shut_down();
    audit(&stage);
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis().try_into().expect("not that late")
}

#[test]
fn timers_that_are_due_meanwhile_call_the_actor_after_it_is_resumed() {
    for more in ["", SLEEPS] {
        let stage = Stage::new();
        let manifest = stage.manifest("alarm", "alarm", &format!("{more}{TIMER}"));
        let running = stage.run(&[&manifest]);
        let set = json!({ "op": "set", "key": "tea", "after": 300, "msg": "count" });
        let due = running.request("alarm", &set).expect("it is set")["ok"].as_u64().expect("a time");
        running.say(&["pause", "alarm"]);
        eventually("the time has come", || (unix_ms() > due + 100).then_some(()));
        let timer = |running: &Theater| {
            running.event_types("alarm").iter().filter(|kind| kind.contains("timer-handlers")).count()
        };
        assert_eq!(timer(&running), 0);
        running.kill();
        let running = stage.run(&[]);
        assert!(is_paused(&running, "alarm") && timer(&running) == 0);
        running.say(&["resume", "alarm"]);
        eventually("the timer has called", || (timer(&running) > 0).then_some(()));
        running.shut_down();
        audit(&stage);
    }
}

#[test]
fn a_paused_actor_can_be_stopped_and_begins_paused_again() {
    for more in ["", SLEEPS] {
        let stage = Stage::new();
        let manifests = [stage.manifest("asker", "probe", ""), stage.manifest("counter", "counter", more)];
        let running = stage.run(&[&manifests[0], &manifests[1]]);
        running.say(&["pause", "counter"]);
        send(&running, "counter", &json!({ "add": 1 }));
        if more == SLEEPS {
            asleep(&running, "counter");
        }
        running.say(&["stop", "counter"]);
        assert_eq!(running.status("counter"), "stopped");
        let letters = running.json(&["dead-letters"]);
        assert_eq!(letters.as_array().map(Vec::len), Some(1), "what waited is a dead letter: {letters}");
        running.say(&["restart", "counter"]);
        assert!(is_paused(&running, "counter"), "only resume takes a pause away");
        send(&running, "counter", &json!({ "add": 2 }));
        running.say(&["restart", "counter"]);
        assert!(is_paused(&running, "counter"));
        running.say(&["upgrade", "counter"]);
        assert!(is_paused(&running, "counter"));
        assert_eq!(running.json(&["status", "counter"])["mailbox_depth"], 1, "the mail has outlived both");
        running.say(&["resume", "counter"]);
        eventually("it is taken", || (count(&running, "counter") == 2).then_some(()));
        running.shut_down();
        audit(&stage);
    }
}

#[test]
fn what_cannot_be_paused_is_said_and_what_is_paused_already_is_no_error() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("counter", "counter", "")]);
    let id = running.id("counter");
    assert!(running.refused(&["pause", "nobody"]).contains("no actor is called \"nobody\""));
    assert!(running.refused(&["resume", "nobody"]).contains("no actor is called \"nobody\""));
    assert_eq!(running.say(&["resume", "counter"]), format!("resumed {id} (it was not paused)"));
    running.say(&["pause", "counter"]);
    assert_eq!(running.say(&["pause", "counter"]), format!("paused {id} (it was paused already)"));
    running.say(&["resume", "counter"]);
    running.say(&["stop", "counter"]);
    let why = running.refused(&["pause", "counter"]);
    assert!(why.contains("has ended: only an actor that lives can be paused"), "{why}");
    let mut management = Management::connect(running.management());
    let unknown = json!({ "PauseActor": { "id": "67e55044-10b1-426f-9247-bb680e5fe0c8" } });
    assert!(management.error(&unknown).contains("no such actor"));
    running.shut_down();
    audit(&stage);
}

#[test]
fn the_children_of_a_paused_actor_go_on_and_what_it_is_told_of_them_waits() {
    let stage = Stage::new();
    for name in ["probe", "nursery"] {
        stage.copy_component(name, name);
    }
    stage.manifest_at("child", "probe.wasm".as_ref(), "");
    let supervisor = "[[handlers]]\ntype = \"supervisor\"\n";
    let running = stage.run(&[&stage.manifest_at("home", "nursery.wasm".as_ref(), supervisor)]);
    let spawn = json!({ "op": "spawn-as", "manifest": "child.toml", "label": "one" });
    running.request("home", &spawn).expect("it is spawned");
    running.say(&["pause", "home"]);
    assert_eq!(running.request("home/one", &json!("count")), Ok(json!(1)));
    assert!(!is_paused(&running, "home/one"));
    running.say(&["stop", "home/one"]);
    let before = calls(&running, "home");
    running.kill();
    let running = stage.run(&[]);
    assert_eq!((is_paused(&running, "home"), calls(&running, "home")), (true, before));
    running.say(&["resume", "home"]);
    eventually("it is told of the end", || (calls(&running, "home") > before).then_some(()));
    running.shut_down();
    audit(&stage);
}

#[test]
fn a_pause_goes_with_an_actor_that_is_forgotten_and_not_to_a_fork() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("counter", "counter", "")]);
    running.say(&["pause", "counter"]);
    running.say(&["fork", "counter", "--at", "2", "--name", "copy"]);
    assert!(!is_paused(&running, "copy"));
    running.say(&["stop", "counter"]);
    running.say(&["forget", "counter"]);
    running.kill();
    let running = stage.run(&[]);
    assert_eq!(running.request("copy", &json!({ "add": 1 })), Ok(json!({ "count": 1 })));
    running.shut_down();
    audit(&stage);
}
