//! Tests of supervision: spawning, notices, control over an actor's own children only, and restarts by policy.

mod support;

use serde_json::{Value, json};
use support::log_file::LogFile;
use support::{Http, Management, Stage, Theater, data_of, eventually, verifies_and_replays};

const SUPERVISOR: &str = "[[handlers]]\ntype = \"supervisor\"\n";

/// A nursery called `parent`, and manifests of children beside it.
struct Family {
    stage: Stage,
    running: Theater,
    management: Management,
    parent: String,
}

impl Family {
    fn new(more: &str) -> Self {
        Self::of(Stage::new(), more)
    }

    fn of(stage: Stage, more: &str) -> Self {
        for name in ["probe", "counter", "nursery"] {
            stage.copy_component(name, name);
        }
        let parent = stage.manifest_at("parent", "nursery.wasm".as_ref(), &format!("{more}\n{SUPERVISOR}"));
        let running = stage.run(&[&parent]);
        let management = Management::connect(running.management());
        let parent = running.id("parent");
        Self { stage, running, management, parent }
    }

    /// Writes the manifest of a child.
    fn child(&self, name: &str, more: &str) {
        self.stage.manifest_at(name, "probe.wasm".as_ref(), more);
    }

    fn tell(&mut self, actor: &str, command: &Value) -> Value {
        self.management.request(actor, command).unwrap_or_else(|why| panic!("{command} gave {why}"))
    }

    fn parent(&mut self, command: &Value) -> Value {
        let parent = self.parent.clone();
        self.tell(&parent, command)
    }

    /// Makes the parent spawn the child of this name; returns its id.
    fn spawn(&mut self, name: &str) -> String {
        let spawned = self.parent(&json!({ "op": "spawn", "manifest": format!("{name}.toml") }));
        spawned["ok"].as_str().unwrap_or_else(|| panic!("{name}: {spawned}")).to_owned()
    }

    fn state(&mut self) -> Value {
        self.running.json(&["state", &self.parent])["state"].clone()
    }

    /// Waits until the parent has received these notices about a child.
    fn heard(&mut self, child: &str, expected: &Value) {
        let expected = expected.as_array().expect("a list").clone();
        eventually(&format!("it has heard {expected:?} of {child}, and nothing else"), || {
            let state = self.state();
            let notices = state["notices"].as_array().expect("a list").iter();
            let got: Vec<_> = notices.filter(|it| it["child"] == child).map(|it| it["kind"].clone()).collect();
            (got == expected).then_some(())
        });
    }

    fn view(&self, actor: &str) -> Value {
        self.running.json(&["status", actor])
    }

    fn replays(&self, actors: &[&str]) {
        actors.iter().for_each(|actor| _ = verifies_and_replays(&self.running.export(&self.stage, actor)));
    }

    /// Makes the actor fail.
    fn trap(&mut self, actor: &str) {
        self.management.request(actor, &json!("trap")).expect_err("it traps");
    }
}

#[test]
fn a_parent_spawns_a_child_and_hears_of_it_and_both_chains_say_so() {
    let mut family = Family::new("");
    family.child("kid", "init_state = '{\"count\": 5}'\n");
    let kid = family.spawn("kid");
    family.heard(&kid, &json!(["started"]));
    assert_eq!(family.view(&kid)["parent"], json!(family.parent));
    assert_eq!(family.parent(&json!("list-children")), json!({ "ok": [kid] }));
    assert_eq!(family.tell(&kid, &json!("count")), json!(6));

    let state = family.parent(&json!({ "op": "child-state", "child": kid }));
    assert_eq!(state["ok"]["count"], 6);
    let seen = family.parent(&json!({ "op": "child-events", "child": kid }));
    let events = family.running.events(&kid);
    let shown: Vec<_> =
        seen["ok"].as_array().expect("a list").iter().map(|it| (it["type"].clone(), it["hash"].clone())).collect();
    let there: Vec<_> = events.iter().map(|it| (it["event_type"].clone(), it["hash"].clone())).collect();
    assert_eq!(shown, there);

    let parents = family.running.events("parent");
    let intent =
        parents.iter().find(|it| it["event_type"] == "intent ntwk:theater/supervisor.spawn").expect("an intent");
    let init = data_of(&events, "call ntwk:theater/actor.init")[0];
    assert_eq!((&init["cause"]["actor"], &init["cause"]["sequence"]), (&json!(family.parent), &intent["sequence"]));
    assert_eq!(events[0]["data"]["parent"], json!(family.parent));
    let spawned = data_of(&parents, "host-call ntwk:theater/supervisor.spawn")[0];
    assert_eq!((&spawned["answer"]["actor"], &spawned["answer"]["sequence"]), (&json!(kid), &json!(2)));
    let notice = data_of(&parents, "call ntwk:theater/supervisor-handlers.handle-child-event")[0];
    assert_eq!(notice["cause"]["actor"], json!(kid));
    family.replays(&["parent", &kid]);
}

#[test]
fn a_child_is_stopped_and_restarted_by_its_parent() {
    let mut family = Family::new("");
    family.child("kid", "");
    let kid = family.spawn("kid");
    assert_eq!(family.tell(&kid, &json!("count")), json!(1));
    assert_eq!(family.parent(&json!({ "op": "stop-child", "child": kid })), json!({ "ok": null }));
    assert_eq!(family.view(&kid)["status"], "stopped");
    let last = family.running.last_event(&kid);
    assert_eq!((&last["event_type"], &last["data"]["by"]), (&json!("stopped"), &json!("parent")));
    assert_eq!(last["data"]["cause"]["actor"], json!(family.parent), "by which of the parent's events");
    assert_eq!(family.parent(&json!({ "op": "stop-child", "child": kid })), json!({ "ok": null }), "twice is once");
    assert_eq!(family.parent(&json!("list-children")), json!({ "ok": [kid] }), "it stays listed");
    assert_eq!(family.parent(&json!({ "op": "child-state", "child": kid }))["ok"]["count"], 1, "and readable");

    assert_eq!(family.parent(&json!({ "op": "restart-child", "child": kid })), json!({ "ok": null }));
    assert_eq!(family.tell(&kid, &json!("count")), json!(2), "with the state it had");
    assert_eq!(family.parent(&json!({ "op": "restart-child", "child": kid })), json!({ "ok": null }), "running, too");
    assert_eq!(family.view(&kid)["incarnation"], 3);
    family.heard(&kid, &json!(["started", "stopped", "restarted", "stopped", "restarted"]));
    family.replays(&["parent", &kid]);
}

#[test]
fn a_parent_hears_why_a_child_failed() {
    let mut family = Family::new("");
    family.child("kid", "");
    let kid = family.spawn("kid");
    family.trap(&kid);
    family.heard(&kid, &json!(["started", { "failed": "trap: UnreachableCodeReached" }]));
    assert_eq!(family.view(&kid)["status"], "failed");
    assert_eq!(family.parent(&json!({ "op": "restart-child", "child": kid })), json!({ "ok": null }));
    assert_eq!(family.tell(&kid, &json!("count")), json!(1));
    family.replays(&["parent", &kid]);
}

#[test]
fn a_parent_that_has_heard_can_rely_on_the_status_and_restart_the_child_at_once() {
    // The parent restarts its child at each notice, which leads to further notices; in the meantime the child traps.
    let stage = Stage::new();
    let care = json!({ "on_notice": { "op": "restart-child", "child": "THE-CHILD" } });
    let mut family = Family::of(stage, &format!("init_state = '{care}'\n"));
    family.child("kid", "");
    let kid = family.spawn("kid");
    let (result, notice) =
        ("host-call ntwk:theater/supervisor.restart-child", "call ntwk:theater/supervisor-handlers.handle-child-event");
    let results = eventually("it has heard of everything, and restarted it often", || {
        // The child may be ending for a restart.
        let _ = family.management.request(&kid, &json!("trap"));
        let events = family.running.events("parent");
        let heard: Vec<_> = data_of(&events, notice).iter().map(|call| call["params"].to_string()).collect();
        let heard_of = |kind: &&str| heard.iter().any(|params| params.contains(kind));
        let results: Vec<_> = data_of(&events, result).iter().map(|call| call["result"].clone()).collect();
        let enough = results.len() >= 60 && ["started", "stopped", "failed", "restarted"].iter().all(heard_of);
        enough.then_some(results)
    });
    let refused: Vec<_> = results.into_iter().filter(|result| *result != json!({ "ok": null })).collect();
    assert_eq!(refused, [Value::Null; 0]);
}

#[test]
fn the_status_of_a_child_is_set_before_its_parent_hears_of_it() {
    let mut family = Family::new("");
    family.child("kid", "");
    let mut expected = Vec::new();
    let kid = family.spawn("kid");
    let failed = json!({ "failed": "trap: UnreachableCodeReached" });
    for _ in 0..10 {
        expected.push(json!(if expected.is_empty() { "started" } else { "restarted" }));
        family.heard(&kid, &json!(expected));
        assert_eq!(family.view(&kid)["status"], "running");
        family.trap(&kid);
        expected.push(failed.clone());
        family.heard(&kid, &json!(expected));
        assert_eq!(family.view(&kid)["status"], "failed");
        assert_eq!(family.parent(&json!({ "op": "restart-child", "child": kid })), json!({ "ok": null }));
        assert_eq!(family.parent(&json!({ "op": "stop-child", "child": kid })), json!({ "ok": null }));
        expected.extend([json!("restarted"), json!("stopped")]);
        family.heard(&kid, &json!(expected));
        assert_eq!(family.view(&kid)["status"], "stopped");
        assert_eq!(family.parent(&json!({ "op": "restart-child", "child": kid })), json!({ "ok": null }));
    }
}

#[test]
fn a_child_that_fails_while_it_is_restarted_takes_messages_again() {
    // A restart during the child's failure is not a restart by its policy; its mailbox used to be closed for good then.
    let mut family = Family::new("");
    family.child("kid", "");
    let kid = family.spawn("kid");
    let mut client = Management::connect(family.running.management());
    for round in 1..=10 {
        client.send_request(&kid, &json!("trap"));
        family.running.say(&["restart", &kid]);
        // The message may arrive before the restart, during it, or after it.
        client.receive_reply().expect_err("it traps");
        family.running.say(&["restart", &kid]);
        assert_eq!(family.tell(&kid, &json!("count")), json!(round));
    }
}

#[test]
fn a_child_whose_init_goes_wrong_is_an_error_at_its_parent() {
    let mut family = Family::new("");
    for (name, op, expected) in [
        ("refuser", json!({ "op": "refuse", "message": "not today" }), "not today"),
        ("trapper", json!("trap"), "UnreachableCodeReached"),
        ("spinner", json!("spin"), "cpu_ms_per_call is 50"),
    ] {
        let state = json!({ "init": op });
        family.child(name, &format!("init_state = '{state}'\n[limits]\ncpu_ms_per_call = 50\n"));
        let answer = family.parent(&json!({ "op": "spawn", "manifest": format!("{name}.toml") }));
        assert!(answer["err"].as_str().is_some_and(|why| why.contains(expected)), "{name}: {answer}");
        assert_eq!(family.view(name)["status"], "failed");
        family.replays(&[name]);
    }
    family.replays(&["parent"]);
}

#[test]
fn children_can_be_spawned_in_init_and_their_children_too() {
    let stage = Stage::new();
    let spawn = |name: &str| json!({ "init": { "op": "spawn", "manifest": format!("{name}.toml") } });
    stage.manifest_at("kid", "nursery.wasm".as_ref(), &format!("init_state = '{}'\n{SUPERVISOR}", spawn("grandkid")));
    stage.manifest_at("grandkid", "probe.wasm".as_ref(), "");
    let mut family = Family::of(stage, &format!("init_state = '{}'\n", spawn("kid")));
    let kid = family.state()["init"]["ok"].as_str().expect("an id").to_owned();
    let grandkid = family.running.json(&["state", &kid])["state"]["init"]["ok"].as_str().expect("an id").to_owned();
    assert_eq!(family.tell(&grandkid, &json!("count")), json!(1));
    assert_eq!(family.view(&grandkid)["parent"], json!(kid));
    assert_eq!(family.parent(&json!("list-children")), json!({ "ok": [kid] }), "not their children");
    family.heard(&kid, &json!(["started"]));
    let grand = family.parent(&json!({ "op": "child-state", "child": grandkid }));
    assert_eq!(grand["ok"]["count"], 1, "a descendant is controlled as a child is");
    assert_eq!(family.parent(&json!({ "op": "stop-child", "child": grandkid })), json!({ "ok": null }));
    family.replays(&["parent", &kid, &grandkid]);
}

#[test]
fn an_actor_that_spawns_itself_without_end_is_stopped_by_a_limit_and_not_by_the_machine() {
    let stage = Stage::new();
    let spawn = json!({ "init": { "op": "spawn", "manifest": "self.toml" } });
    // Each actor is told what happens to its child. The innermost one reaches a limit, and all others are up.
    let more = format!("init_state = '{spawn}'\n{SUPERVISOR}[limits]\nchildren = 0\n");
    stage.manifest_at("self", "nursery.wasm".as_ref(), &more);
    let mut family = Family::of(stage, "");
    let inner = family.spawn("self");
    let why = family.running.json(&["state", &inner])["state"]["init"]["err"].clone();
    assert!(why.as_str().is_some_and(|why| why.contains("children is 0")), "{why}");
}

#[test]
fn a_spawn_is_confined_to_the_directory_of_the_manifest() {
    let mut family = Family::new("");
    let elsewhere = Stage::new();
    let outside = elsewhere.manifest("outside", "probe", "");
    std::os::unix::fs::symlink(&outside, family.stage.path().join("link.toml")).expect("a link");
    family.stage.manifest("by-component", "probe", "");
    let state = elsewhere.file("state.json", "{}");
    family.child("by-state", &format!("init_state = {state:?}\n"));
    let name = elsewhere.path().file_name().expect("a name").to_str().expect("text").to_owned();
    for manifest in [
        outside.to_str().expect("a path").to_owned(),
        format!("../{name}/outside.toml"),
        "link.toml".into(),
        "by-component.toml".into(),
        "by-state.toml".into(),
    ] {
        let answer = family.parent(&json!({ "op": "spawn", "manifest": manifest }));
        assert!(
            answer["err"].as_str().is_some_and(|why| why.contains("outside the directories")),
            "{manifest}: {answer}"
        );
    }
    for (manifest, expected) in [("nowhere.toml", "cannot find"), ("", ""), ("\u{0}", ""), (".", "regular file")] {
        let answer = family.parent(&json!({ "op": "spawn", "manifest": manifest }));
        assert!(answer["err"].as_str().is_some_and(|why| why.contains(expected)), "{manifest:?}: {answer}");
    }
    assert_eq!(family.parent(&json!("list-children")), json!({ "ok": [] }));
    family.replays(&["parent"]);
}

#[test]
fn a_spawn_may_go_where_the_manifest_allows() {
    let elsewhere = Stage::new();
    elsewhere.copy_component("probe", "probe");
    let outside = elsewhere.manifest_at("outside", "probe.wasm".as_ref(), "");
    let stage = Stage::new();
    stage.copy_component("nursery", "nursery");
    let allow = format!("[[handlers]]\ntype = \"supervisor\"\nconfig = {{ allow = [{:?}] }}\n", elsewhere.path());
    let running = stage.run(&[&stage.manifest_at("parent", "nursery.wasm".as_ref(), &allow)]);
    let answer = running.request("parent", &json!({ "op": "spawn", "manifest": outside })).expect("an answer");
    assert!(answer["ok"].is_string(), "{answer}");
}

#[test]
fn an_actor_controls_its_own_descendants_and_nobody_else() {
    let mut family = Family::new("");
    family.child("kid", "");
    let kid = family.spawn("kid");
    let manifest = family.stage.manifest("stranger", "counter", "");
    let stranger = family.management.start(&manifest);
    let other = family.stage.manifest_at("other", "nursery.wasm".as_ref(), SUPERVISOR);
    let other = family.management.start(&other);
    let (parent, nobody) = (family.parent.clone(), "6ba7b810-9dad-41d1-80b4-00c04fd430c8".to_owned());
    for op in ["stop-child", "restart-child", "child-state", "child-events"] {
        for (who, target) in [
            (&parent, &stranger),
            (&parent, &parent),
            (&parent, &nobody),
            (&other, &kid),
            (&parent, &"no id".to_owned()),
        ] {
            let answer = family.tell(who, &json!({ "op": op, "child": target }));
            assert_eq!(answer, json!({ "err": format!("not a child of this actor: {target}") }), "{op}");
        }
    }
    assert_eq!(family.view(&stranger)["status"], "running");
    assert_eq!(family.view(&kid)["status"], "running");
    family.replays(&[&parent, &other]);
}

#[test]
fn children_stop_before_their_parent_newest_first() {
    let mut family = Family::new("");
    family.stage.manifest_at("kid", "nursery.wasm".as_ref(), SUPERVISOR);
    family.child("grandkid", "");
    let kids = [family.spawn("kid"), family.spawn("kid")];
    let grandkid = family.tell(&kids[0], &json!({ "op": "spawn", "manifest": "grandkid.toml" }))["ok"]
        .as_str()
        .expect("an id")
        .to_owned();
    family.running.say(&["stop", "parent"]);
    for actor in [&family.parent, &kids[0], &kids[1], &grandkid] {
        assert_eq!(family.view(actor)["status"], "stopped");
    }
    let journal = last_positions(&family.stage, &[&kids[1], &grandkid, &kids[0], &family.parent]);
    assert!(journal[1] < journal[2] && journal[2] < journal[3] && journal[0] < journal[3], "{journal:?}");
    for (actor, by) in [(&grandkid, "supervisor"), (&kids[0], "supervisor"), (&family.parent.clone(), "operator")] {
        assert_eq!(family.running.last_event(actor)["data"]["by"], by);
    }
    let parent = family.parent.clone();
    family.replays(&[&parent, &kids[0], &kids[1], &grandkid]);
}

/// The position in the journal of each actor's last event.
fn last_positions(stage: &Stage, actors: &[&str]) -> Vec<u64> {
    let log = LogFile::read(&stage.data_dir());
    let last = |id: &&str| {
        let key = log.key_of_id(id);
        let newest = log.events().filter(|event| event.actor == key).last().expect("an event").sequence;
        log.position(key, newest)
    };
    actors.iter().map(last).collect()
}

#[test]
fn a_failed_parent_takes_its_children_with_it() {
    let mut family = Family::new("");
    family.child("kid", "");
    let kid = family.spawn("kid");
    let parent = family.parent.clone();
    family.trap(&parent);
    family.running.until(&kid, "stopped");
    family.running.until("parent", "failed");
    let why = family.running.refused(&["restart", &kid]);
    assert!(why.contains("its parent is not running"), "{why}");
    family.replays(&[&parent, &kid]);
}

#[test]
fn a_transient_child_is_restarted_after_a_failure_and_not_after_a_stop() {
    let mut family = Family::new("max_restarts = 10\n");
    family.child("kid", "restart = \"transient\"\nrestart_backoff_ms = 1\n");
    let kid = family.spawn("kid");
    for round in 1..=3 {
        assert_eq!(family.tell(&kid, &json!("count")), json!(round));
        family.trap(&kid);
    }
    assert_eq!(family.tell(&kid, &json!("count")), json!(4), "what comes while it restarts waits");
    assert_eq!(family.view(&kid)["incarnation"], 4);
    assert_eq!(family.parent(&json!({ "op": "stop-child", "child": kid })), json!({ "ok": null }));
    let failed = json!({ "failed": "trap: UnreachableCodeReached" });
    family.heard(&kid, &json!(["started", failed, "restarted", failed, "restarted", failed, "restarted", "stopped"]));
    assert_eq!(family.view(&kid)["status"], "stopped");
    let parent = family.parent.clone();
    family.replays(&[&parent, &kid]);
}

#[test]
fn a_temporary_child_is_left_to_its_parent() {
    let mut family = Family::new("max_restarts = 10\n");
    family.child("kid", "");
    let kid = family.spawn("kid");
    family.trap(&kid);
    family.running.until(&kid, "failed");
    assert_eq!(family.view(&kid)["incarnation"], 1);
}

#[test]
fn a_restart_from_the_initial_state_runs_init_again() {
    let mut family = Family::new("max_restarts = 10\n");
    let more = "init_state = '{\"count\": 40}'\nrestart = \"transient\"\nrestart_backoff_ms = 1\nrestart_state = \"initial\"\n";
    family.child("kid", more);
    let kid = family.spawn("kid");
    assert_eq!(family.tell(&kid, &json!("count")), json!(41));
    family.trap(&kid);
    assert_eq!(family.tell(&kid, &json!("count")), json!(41));
    let types = family.running.event_types(&kid);
    assert_eq!(types.iter().filter(|kind| *kind == "call ntwk:theater/actor.init").count(), 2, "{types:?}");
    let parent = family.parent.clone();
    family.replays(&[&parent, &kid]);
}

#[test]
fn more_restarts_than_allowed_fail_the_parent() {
    let mut family = Family::new("max_restarts = 2\nwithin_ms = 60000\n");
    family.child("kid", "restart = \"permanent\"\nrestart_backoff_ms = 1\n");
    let kid = family.spawn("kid");
    for _ in 0..3 {
        // A restarting actor takes messages, so this message waits and then traps.
        family.trap(&kid);
    }
    family.running.until("parent", "failed");
    let last = eventually("its end is recorded", || {
        Some(family.running.last_event("parent")).filter(|last| last["event_type"] == "failed")
    });
    assert_eq!(last["data"]["reason"], json!("restarts"));
    assert!(last["data"]["detail"].as_str().is_some_and(|why| why.contains("max_restarts = 2")), "{last}");
    assert!(!["running", "restarting"].contains(&family.view(&kid)["status"].as_str().expect("text")));
    let parent = family.parent.clone();
    family.replays(&[&parent, &kid]);
}

#[test]
fn a_root_with_a_policy_is_restarted_as_often_as_it_allows_itself() {
    let stage = Stage::new();
    let more = "restart = \"transient\"\nrestart_backoff_ms = 1\nmax_restarts = 2\nwithin_ms = 60000\n";
    let running = stage.run(&[&stage.http_manifest("probe", "probe", more)]);
    let address = running.http("probe");
    for round in 1..=3 {
        assert_eq!(Http::connect(address).op(&json!("count")).json(), json!(round), "the same listener");
        assert_eq!(Http::connect(address).op(&json!("trap")).status, 500);
    }
    running.until("probe", "failed");
    assert_eq!(running.json(&["status", "probe"])["incarnation"], 3);
    verifies_and_replays(&running.export(&stage, "probe"));
}

/// Checks that the status, the log and the events give the restart limit as the reason of an actor's failure, also
/// after the next start.
fn gave_up_by_its_limit(stage: &Stage, running: Theater, actor: &str, dropped: usize) {
    running.until(actor, "failed");
    let (limit, last) = ("more than max_restarts = 1 within within_ms = 60000", "trap: UnreachableCodeReached");
    let says_so = |text: &Value| text.as_str().is_some_and(|text| text.contains(limit) && text.contains(last));
    let view = running.json(&["status", actor]);
    assert!(says_so(&view["failure"]) && view["given_up"] == json!(limit), "{view}");
    assert_eq!(view["restarts"], json!({ "used": 2, "allowed": 1, "within_ms": 60000 }));
    let event = eventually("its chain says so, once its children have ended", || {
        let event = running.last_event(actor);
        (event["data"]["reason"] == "restarts").then_some(event)
    });
    assert_eq!(event["event_type"], "failed");
    assert!(says_so(&event["data"]["detail"]), "{event}");
    assert_eq!(event["data"]["dropped"].as_array().map(Vec::len), Some(dropped), "{event}");
    let log = stage.log();
    for line in
        ["is restarted in 1 ms: 1 of 1 restarts within 60000 ms are used", &format!("is not restarted: {limit}")]
    {
        assert!(log.contains(&format!("actor {actor} {line}")), "{line}: {log}");
    }
    for command in ["list", "tree"] {
        assert!(says_so(&json!(running.say(&[command]))), "{command}");
    }
    verifies_and_replays(&running.export(stage, actor));
    running.shut_down();
    let running = stage.run(&[]);
    let again = running.json(&["status", actor]);
    assert_eq!((&again["status"], &again["failure"]), (&json!("failed"), &view["failure"]));
    assert_eq!(again["restarts"], view["restarts"], "each failure counts once, also when it was said again");
}

const ONCE: &str = "restart = \"permanent\"\nrestart_backoff_ms = 1\nmax_restarts = 1\nwithin_ms = 60000\n";

#[test]
fn a_root_that_exceeds_max_restarts_has_failed_for_that_reason_whatever_waits_in_its_mailbox() {
    for waiting in [0, 3] {
        let stage = Stage::new();
        let more = format!("{ONCE}[limits]\ncpu_ms_per_call = 60000\n");
        let running = stage.run(&[&stage.manifest("probe", "probe", &more)]);
        let (id, address) = (running.id("probe"), running.management());
        running.request("probe", &json!("trap")).expect_err("it traps");
        let mut busy = Management::connect(address);
        busy.send_request(&id, &json!({ "op": "many", "ops": [{ "op": "work", "rounds": 400_000_000 }, "trap"] }));
        let types = || running.event_types("probe");
        eventually("it is at work", || (types().last()?.starts_with("call ") && types().len() > 5).then_some(()));
        let mut clients: Vec<_> = (0..waiting).map(|_| Management::connect(address)).collect();
        for client in &mut clients {
            client.send_request(&id, &json!("count"));
        }
        eventually("they wait", || (running.json(&["status", "probe"])["mailbox_depth"] == waiting).then_some(()));
        busy.receive_reply().expect_err("it traps");
        for client in &mut clients {
            let why = client.receive_reply().expect_err("it has failed");
            assert!(why.contains("not delivered"), "{why}");
        }
        gave_up_by_its_limit(&stage, running, "probe", waiting);
    }
}

#[test]
fn a_root_that_exceeds_max_restarts_has_failed_for_that_reason_though_its_child_ends_with_it() {
    let mut family = Family::new(ONCE);
    family.child("kid", "");
    let kid = family.spawn("kid");
    let parent = family.parent.clone();
    family.trap(&parent);
    family.trap(&parent);
    family.running.until(&kid, "stopped");
    let Family { stage, running, .. } = family;
    gave_up_by_its_limit(&stage, running, "parent", 0);
}

#[test]
fn a_child_whose_parent_fails_for_its_sake_has_failed_whatever_waits_in_its_mailbox() {
    let mut family = Family::new("max_restarts = 0\n");
    family.child("kid", "restart = \"permanent\"\n[limits]\ncpu_ms_per_call = 60000\n");
    let kid = family.spawn("kid");
    let (mut busy, mut waiting) =
        (Management::connect(family.running.management()), Management::connect(family.running.management()));
    busy.send_request(&kid, &json!({ "op": "many", "ops": [{ "op": "work", "rounds": 400_000_000 }, "trap"] }));
    eventually("it is at work", || family.running.event_types(&kid).last()?.starts_with("call ").then_some(()));
    waiting.send_request(&kid, &json!("count"));
    eventually("it waits", || (family.view(&kid)["mailbox_depth"] == 1).then_some(()));
    waiting.receive_reply().expect_err("it has failed");
    family.running.until("parent", "failed");
    let view = family.view(&kid);
    assert_eq!((&view["status"], &view["failure"]), (&json!("failed"), &json!("trap: UnreachableCodeReached")));
    let why = "more than max_restarts = 0 within within_ms = 5000 of its parent";
    assert_eq!(view["given_up"], json!(why));
    assert!(family.running.say(&["list"]).contains(why));
    family.replays(&[&kid]);
}

#[test]
fn an_actor_that_is_not_restarted_says_why_and_one_that_is_how_often() {
    let stage = Stage::new();
    let service = "restart = \"permanent\"\nrestart_backoff_ms = 1\nmax_restarts = 10\nwithin_ms = 60000\n";
    let running = stage.run(&[&stage.manifest("plain", "probe", ""), &stage.manifest("service", "probe", service)]);
    for name in ["plain", "service"] {
        running.request(name, &json!("trap")).expect_err("it traps");
    }
    running.until("plain", "failed");
    running.until("service", "running");
    assert_eq!(running.json(&["status", "plain"])["given_up"], json!("restart = \"temporary\""));
    assert!(stage.log().contains("actor plain is not restarted: restart = \"temporary\""), "{}", stage.log());
    assert!(running.say(&["status", "service"]).contains("1 of 10 used within 60000 ms"));
    assert!(running.say(&["tree"]).contains("(1 of 10 used)"));
    running.shut_down();
    let running = stage.run(&[]);
    assert_eq!(running.json(&["status", "plain"])["given_up"], json!("restart = \"temporary\""), "after a start, too");
    assert_eq!(running.json(&["status", "service"])["restarts"]["used"], 1);
    running.say(&["restart", "plain"]);
    assert_eq!(running.json(&["status", "plain"])["given_up"], Value::Null, "it runs");
}

#[test]
fn an_actor_that_is_stopped_before_its_restart_has_failed_and_says_that_it_was_stopped() {
    let stage = Stage::new();
    let more = "restart = \"permanent\"\nrestart_backoff_ms = 600000\n";
    let running = stage.run(&[&stage.manifest("probe", "probe", more)]);
    running.request("probe", &json!("trap")).expect_err("it traps");
    assert_eq!(running.status("probe"), "restarting");
    let mut waiting = Management::connect(running.management());
    waiting.send_request(&running.id("probe"), &json!("count"));
    eventually("it waits", || (running.json(&["status", "probe"])["mailbox_depth"] == 1).then_some(()));
    running.say(&["stop", "probe"]);
    waiting.receive_reply().expect_err("nobody works on it");
    let view = running.json(&["status", "probe"]);
    assert_eq!((&view["status"], &view["failure"]), (&json!("failed"), &json!("trap: UnreachableCodeReached")));
    assert_eq!(view["given_up"], json!("it was stopped before its restart"));
    assert_eq!(running.last_event("probe")["data"]["dropped"], json!([null]), "what waited is named");
    running.say(&["restart", "probe"]);
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(1)));
    assert!(stage.log().contains("actor probe runs again: incarnation 2"), "{}", stage.log());
}

#[test]
fn a_service_with_the_documented_manifest_outlives_requests_that_make_it_panic() {
    let stage = Stage::new();
    let running =
        stage.run(&[&stage.http_manifest("service", "probe", "restart = \"permanent\"\nmax_restarts = 10\n")]);
    let mut http = Http::connect(running.http("service"));
    for round in 1..=4 {
        assert_eq!(http.op(&json!("count")).json(), json!(round));
        assert_eq!(http.op(&json!({ "op": "panic", "message": "my own fault" })).status, 500);
    }
    assert_eq!(http.op(&json!("count")).json(), json!(5), "at the same listener, with what it knew");
    let view = running.json(&["status", "service"]);
    assert_eq!(
        (&view["status"], &view["incarnation"], &view["given_up"]),
        (&json!("running"), &json!(5), &Value::Null)
    );
}

#[test]
fn one_for_all_restarts_the_siblings_and_rest_for_one_the_younger_ones() {
    for (strategy, expected) in [("one-for-one", [1, 2, 1]), ("one-for-all", [2, 2, 2]), ("rest-for-one", [1, 2, 2])] {
        let mut family = Family::new(&format!("strategy = {strategy:?}\nmax_restarts = 10\n"));
        family.child("kid", "restart = \"permanent\"\nrestart_backoff_ms = 1\n");
        let kids: Vec<String> = (0..3).map(|_| family.spawn("kid")).collect();
        family.trap(&kids[1]);
        eventually(&format!("{strategy} has restarted them"), || {
            let views = || kids.iter().map(|kid| family.view(kid));
            (views().all(|view| view["status"] == "running")
                && views().map(|view| view["incarnation"].as_u64().expect("a number")).eq(expected))
            .then_some(())
        });
        for kid in &kids {
            assert_eq!(family.tell(kid, &json!("count")), json!(1));
        }
        let parent = family.parent.clone();
        family.replays(&[&parent, &kids[1]]);
    }
}

#[test]
fn mail_waits_through_a_restart_and_the_message_that_failed_is_consumed() {
    let mut family = Family::new("max_restarts = 10\n");
    let more = "restart = \"transient\"\nrestart_backoff_ms = 50\n[limits]\ncpu_ms_per_call = 60000\n";
    family.child("kid", more);
    let kid = family.spawn("kid");
    let mut clients: Vec<Management> = (0..4).map(|_| Management::connect(family.running.management())).collect();
    clients[0].send_request(&kid, &json!({ "op": "many", "ops": [{ "op": "work", "rounds": 400_000_000 }, "trap"] }));
    eventually("it is at work", || family.running.event_types(&kid).last()?.starts_with("call ").then_some(()));
    for client in &mut clients[1..] {
        client.send_request(&kid, &json!("count"));
    }
    clients[0].receive_reply().expect_err("it trapped");
    let mut counts: Vec<Value> =
        clients[1..].iter_mut().map(|client| client.receive_reply().expect("a count")).collect();
    counts.sort_by_key(Value::as_u64);
    assert_eq!(counts, [json!(1), json!(2), json!(3)]);
    assert_eq!(family.view(&kid)["incarnation"], 2);
    let parent = family.parent.clone();
    family.replays(&[&parent, &kid]);
}

#[test]
fn notices_go_before_mail_and_a_full_mailbox_loses_none() {
    let mut family = Family::new("[limits]\nmailbox_deliveries = 1\ncpu_ms_per_call = 60000\n");
    family.child("kid", "");
    let kids: Vec<String> = (0..5).map(|_| family.spawn("kid")).collect();
    let parent = family.parent.clone();
    let mut busy = Management::connect(family.running.management());
    let mut waiting = Management::connect(family.running.management());
    busy.send_request(&parent, &json!({ "op": "work", "rounds": 400_000_000_u64 }));
    // A notice is a call too, but ends at once.
    let is_work = |event: &String| event.starts_with("call ") && event.ends_with(".handle-request");
    eventually("it is at work", || family.running.event_types("parent").last().filter(|it| is_work(it)).map(drop));
    waiting.send_request(&parent, &json!("count"));
    kids.iter().for_each(|kid| family.trap(kid));
    busy.receive_reply().expect("it was only work");
    waiting.receive_reply().expect("a count");
    for kid in &kids {
        family.heard(kid, &json!(["started", { "failed": "trap: UnreachableCodeReached" }]));
    }
    family.replays(&[&parent]);
}

#[test]
fn a_child_that_requests_its_parent_from_init_would_deadlock_and_is_told() {
    let mut family = Family::new("");
    let parent = family.parent.clone();
    let ask = json!({ "init": { "op": "request", "to": parent, "msg": "count" } });
    family.child("kid", &format!("init_state = '{ask}'\n"));
    let kid = family.spawn("kid");
    let answer = family.running.json(&["state", &kid])["state"]["init"].clone();
    assert_eq!(answer, json!({ "err": "would deadlock: kid -> parent -> kid" }));
    family.replays(&[&parent, &kid]);
}

#[test]
fn a_family_comes_back_after_a_crash_as_it_was() {
    let mut family = Family::new("");
    family.child("kid", "");
    let kids = [family.spawn("kid"), family.spawn("kid")];
    assert_eq!(family.tell(&kids[0], &json!("count")), json!(1));
    assert_eq!(family.parent(&json!({ "op": "stop-child", "child": kids[1] })), json!({ "ok": null }));
    family.heard(&kids[1], &json!(["started", "stopped"]));
    let Family { stage, running, parent, .. } = family;
    running.kill();
    std::fs::remove_file(stage.path().join("kid.toml")).expect("it was there");
    let running = stage.run(&[&stage.path().join("parent.toml")]);
    let management = Management::connect(running.management());
    let mut family = Family { stage, running, management, parent };
    assert_eq!(family.tell(&kids[0], &json!("count")), json!(2));
    assert_eq!(family.view(&kids[1])["status"], "stopped");
    assert_eq!(family.parent(&json!({ "op": "restart-child", "child": kids[1] })), json!({ "ok": null }));
    assert_eq!(family.tell(&kids[1], &json!("count")), json!(1));
    assert_eq!(family.running.json(&["list"]).as_array().map(Vec::len), Some(3));
    let parent = family.parent.clone();
    family.replays(&[&parent, &kids[0], &kids[1]]);
    assert_eq!(
        family.parent(&json!("list-children")),
        json!({ "ok": kids }),
        "in the order in which they were spawned"
    );
    family.running.say(&["stop", "parent"]);
    for kid in &kids {
        assert_eq!(family.view(kid)["status"], "stopped", "none outlives its parent");
    }
}

#[test]
fn a_stopped_child_is_still_its_parents_after_a_crash() {
    let mut family = Family::new("");
    family.child("kid", "");
    let kid = family.spawn("kid");
    assert_eq!(family.parent(&json!({ "op": "stop-child", "child": kid })), json!({ "ok": null }));
    let Family { stage, running, parent, .. } = family;
    running.kill();
    let running = stage.run(&[]);
    running.say(&["restart", &kid]);
    running.until(&kid, "running");
    running.say(&["stop", &parent]);
    assert_eq!(running.status(&kid), "stopped", "it does not outlive its parent");
    drop(stage);
}

#[test]
fn a_stop_does_not_wait_behind_the_childs_work() {
    let mut family = Family::new("");
    family.child("kid", "[limits]\ncpu_ms_per_call = 60000\nstop_grace_ms = 0\n");
    let kid = family.spawn("kid");
    let mut busy = Management::connect(family.running.management());
    busy.send_request(&kid, &json!("spin"));
    eventually("it spins", || family.running.event_types(&kid).last()?.starts_with("call ").then_some(()));
    assert_eq!(family.parent(&json!({ "op": "child-state", "child": kid }))["ok"]["count"], 0, "read past its work");
    assert_eq!(family.parent(&json!({ "op": "stop-child", "child": kid })), json!({ "ok": null }));
    busy.receive_reply().expect_err("it was stopped");
    let parent = family.parent.clone();
    family.replays(&[&parent, &kid]);
}

#[test]
fn a_restart_from_the_initial_state_whose_init_requests_the_parent_would_deadlock_and_does_not_stall() {
    let mut family = Family::new("");
    let parent = family.parent.clone();
    let ask = json!({ "init": { "op": "request", "to": parent, "msg": "count" } });
    family.child("kid", &format!("init_state = '{ask}'\nrestart_state = \"initial\"\n"));
    let kid = family.spawn("kid");
    assert_eq!(family.parent(&json!({ "op": "restart-child", "child": kid })), json!({ "ok": null }));
    let answer = family.running.json(&["state", &kid])["state"]["init"].clone();
    assert_eq!(answer, json!({ "err": "would deadlock: kid -> parent -> kid" }));
    family.replays(&[&parent, &kid]);
}

#[test]
fn a_child_that_waits_for_its_parent_can_be_stopped_and_restarted_by_it() {
    let mut family = Family::new("[limits]\ncpu_ms_per_call = 60000\n");
    let parent = family.parent.clone();
    family.child("kid", "[limits]\nstop_grace_ms = 0\n");
    for op in ["restart-child", "stop-child"] {
        let kid = family.spawn("kid");
        let mut outside = Management::connect(family.running.management());
        // Its request waits until the parent has finished its present work, which is to end this child.
        let ask = json!({ "op": "request", "to": parent, "msg": "count" });
        let send = json!({ "op": "send", "to": kid, "msg": ask });
        let work = json!({ "op": "work", "rounds": 30_000_000 });
        let done = family.parent(&json!({ "op": "many", "ops": [send, work, { "op": op, "child": kid }] }));
        assert_eq!(done[2], json!({ "ok": null }), "{op}: {done}");
        outside.request(&parent, &json!("count")).expect("the parent goes on");
        family.replays(&[&parent, &kid]);
    }
}

#[test]
fn a_spawn_whose_init_does_not_answer_within_the_request_deadline_is_of_unknown_outcome() {
    let mut family = Family::new("[limits]\nrequest_deadline_ms = 200\n");
    let state = json!({ "init": "spin" });
    family.child("slow", &format!("init_state = '{state}'\n[limits]\ncpu_ms_per_call = 600000\nstop_grace_ms = 0\n"));
    let (parent, spawn) = (family.parent.clone(), json!({ "op": "spawn", "manifest": "slow.toml" }));
    // The client outside has the same deadline, and may reach it first.
    let _ = family.management.request(&parent, &spawn);
    let told = eventually("the parent is told", || {
        let events = family.running.events(&parent);
        data_of(&events, "host-call ntwk:theater/supervisor.spawn").first().map(|call| call["result"].clone())
    });
    let slow = family.running.id("slow");
    let expected =
        format!("outcome unknown: the init of child {slow} has not answered within request_deadline_ms = 200");
    assert_eq!(told, json!({ "err": expected }));
    assert_eq!(family.view("slow")["status"], "starting", "it is not stopped for that");
    family.running.say(&["stop", &slow]);
    family.replays(&[&parent, &slow]);
}
