//! Tests of sleep: an actor with nothing to do gives its thread back, and to everybody else it is a running one.

mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};
use support::{Http, Management, Stage, Theater, data_of, eventually, theater, verifies_and_replays};

const SOON: &str = "sleep_after_ms = 20\n";
const RESTARTED: &str = "sleep_after_ms = 20\nrestart = \"permanent\"\nrestart_backoff_ms = 0\n";
const TIMER: &str = "[[handlers]]\ntype = \"timer\"\n";
const SUPERVISOR: &str = "[[handlers]]\ntype = \"supervisor\"\n";

fn is_asleep(running: &Theater, actor: &str) -> bool {
    let status = running.json(&["status", actor]);
    assert_eq!(status["status"], "running", "to everybody else it runs");
    status["asleep"] == true
}

fn until_asleep(running: &Theater, actor: &str) {
    eventually(&format!("{actor} sleeps"), || is_asleep(running, actor).then_some(()));
    let thread = format!("a-{actor}");
    eventually("its thread is gone", || (!running.thread_names().contains(&thread)).then_some(()));
}

fn ask(running: &Theater, actor: &str, command: &Value) -> Value {
    running.request(actor, command).unwrap_or_else(|why| panic!("{command}: {why}"))
}

fn audit(stage: &Stage) {
    let output = theater(&["verify", "--journal", stage.data_dir().to_str().expect("a path"), "--json"], None);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success(), "{found}");
}

/// A nursery called `home`, whose manifest has `own`; its children are probes whose manifest has `of_child`.
struct Home {
    stage: Stage,
    manifest: PathBuf,
    running: Theater,
}

impl Home {
    fn with(own: &str, of_child: &str, more: &[&str]) -> Self {
        let stage = Stage::new();
        for name in ["probe", "nursery"] {
            stage.copy_component(name, name);
        }
        stage.manifest_at("child", "probe.wasm".as_ref(), of_child);
        let manifest = stage.manifest_at("home", "nursery.wasm".as_ref(), &format!("{own}{SUPERVISOR}"));
        let running = stage.run_with(&[&manifest], more).unwrap_or_else(|why| panic!("{why}"));
        Self { stage, manifest, running }
    }

    fn spawn(&self, label: &str) -> String {
        let spawned =
            ask(&self.running, "home", &json!({ "op": "spawn-as", "manifest": "child.toml", "label": label }));
        spawned["ok"].as_str().unwrap_or_else(|| panic!("{spawned}")).to_owned()
    }

    fn notices(&self) -> Vec<Value> {
        self.running.json(&["state", "home"])["state"]["notices"].as_array().cloned().unwrap_or_default()
    }

    /// Ends the process, in an orderly way or by a kill, and starts it again without naming a manifest.
    fn again(self, orderly: bool) -> Self {
        let Self { stage, manifest, running } = self;
        if orderly {
            running.shut_down()
        } else {
            running.kill()
        }
        let running = stage.run(&[]);
        Self { stage, manifest, running }
    }

    fn ends_sound(self, actors: &[&str]) {
        let chains: Vec<_> = actors.iter().map(|actor| self.running.export(&self.stage, actor)).collect();
        self.running.shut_down();
        chains.iter().for_each(|chain| _ = verifies_and_replays(chain));
        audit(&self.stage);
    }
}

#[test]
fn an_actor_with_nothing_to_do_gives_its_thread_back_and_a_message_wakes_it_without_an_event() {
    let stage = Stage::new();
    let manifest = stage.manifest("counter", "counter", SOON);
    let running = stage.run(&[&manifest]);
    for count in 1..=3 {
        until_asleep(&running, "counter");
        assert_eq!(running.request("counter", &json!({ "add": 1 })), Ok(json!({ "count": count })));
    }
    let types = running.event_types("counter");
    assert_eq!(types.iter().filter(|kind| *kind == "started").count(), 1, "{types:?}");
    assert_eq!(types.len(), 3 + 2 * 3, "neither sleep nor waking is an event: {types:?}");
    let status = running.json(&["status", "counter"]);
    assert_eq!(status["incarnation"], 1);
    let chain = running.export(&stage, "counter");
    running.shut_down();
    verifies_and_replays(&chain);
    audit(&stage);
}

#[test]
fn without_the_setting_nobody_sleeps_and_a_manifest_overrides_the_runtime() {
    let stage = Stage::new();
    let [plain, never, soon] = [("plain", ""), ("never", "sleep_after_ms = 0\n"), ("soon", SOON)]
        .map(|(name, more)| stage.manifest(name, "counter", more));
    let running = stage.run(&[&plain, &never, &soon]);
    until_asleep(&running, "soon");
    assert!(!is_asleep(&running, "plain") && !is_asleep(&running, "never"));
    running.shut_down();
    let running = stage
        .command(&[&plain, &never, &soon], &[])
        .env("THEATER_SLEEP_AFTER_MS", "20")
        .arg("--data-dir")
        .arg(stage.data_dir())
        .launch(&stage)
        .unwrap_or_else(|why| panic!("{why}"));
    until_asleep(&running, "plain");
    until_asleep(&running, "soon");
    assert!(!is_asleep(&running, "never"));
    assert!(running.thread_names().contains(&"a-never".to_owned()));
    assert_eq!(running.request("plain", &json!({ "add": 1 })), Ok(json!({ "count": 1 })));
    let metrics = running.json(&["top"]);
    assert_eq!(metrics["total"]["alive"], 3);
    assert!(metrics["total"]["asleep"].as_u64().is_some_and(|asleep| asleep >= 1), "{}", metrics["total"]);
    assert!(running.say(&["list"]).contains("asleep"));
    running.shut_down();
}

#[test]
fn a_mistake_in_the_setting_is_named_and_the_owner_of_a_listener_never_sleeps() {
    let stage = Stage::new();
    let long = stage.manifest("long", "counter", "sleep_after_ms = 2592000001\n");
    let why = stage.run_with(&[&long], &[]).err().expect("too long");
    assert!(why.contains("\"sleep_after_ms\" is 2592000001") && why.contains("thirty days"), "{why}");
    let word = stage.manifest("word", "counter", "sleep_after_ms = \"soon\"\n");
    let why = stage.run_with(&[&word], &[]).err().expect("no number");
    assert!(why.contains("sleep_after_ms"), "{why}");
    let listening = stage.http_manifest("counter", "counter", SOON);
    let beside = stage.manifest("beside", "counter", SOON);
    let running = stage.run(&[&listening, &beside]);
    assert!(stage.log().contains("the owner of a listener never sleeps"), "{}", stage.log());
    until_asleep(&running, "beside");
    assert!(!is_asleep(&running, "counter"));
    assert_eq!(Http::connect(running.http("counter")).ask("POST", "/increment", None).json(), json!({ "count": 1 }));
    running.shut_down();
}

#[test]
fn a_timer_wakes_its_actor_also_after_a_start_of_the_runtime_that_has_left_it_asleep() {
    for orderly in [true, false] {
        let stage = Stage::new();
        let manifest = stage.manifest("alarm", "alarm", &format!("{SOON}{TIMER}"));
        let running = stage.run(&[&manifest]);
        let set = |key: &str, ms: u64| json!({ "op": "set", "key": key, "after": ms });
        assert!(ask(&running, "alarm", &set("soon", 300))["ok"].is_u64());
        until_asleep(&running, "alarm");
        let fired = |running: &Theater| running.json(&["state", "alarm"])["state"]["fired"].clone();
        eventually("it was called", || fired(&running)[0][0].as_str().map(str::to_owned));
        assert!(ask(&running, "alarm", &set("later", 2_000))["ok"].is_u64());
        until_asleep(&running, "alarm");
        let events = running.events("alarm").len();
        if orderly {
            running.shut_down()
        } else {
            running.kill()
        }
        let running = stage.run(&[]);
        if fired(&running).as_array().is_some_and(|fired| fired.len() < 2) {
            assert_eq!(running.events("alarm").len(), events, "the start recorded nothing");
        }
        eventually("it was called again", || (fired(&running)[1][0] == "later").then_some(()));
        let chain = running.export(&stage, "alarm");
        running.shut_down();
        verifies_and_replays(&chain);
        audit(&stage);
    }
}

#[test]
fn a_parent_sleeps_while_its_children_live_and_a_notice_wakes_it() {
    let home = Home::with(SOON, RESTARTED, &[]);
    let child = home.spawn("ann");
    let running = &home.running;
    until_asleep(running, "home/ann");
    until_asleep(running, "home");
    running.request("home/ann", &json!("trap")).expect_err("a trap");
    eventually("the parent was told", || (home.notices().len() >= 3).then_some(()));
    let kinds: Vec<String> = home.notices().iter().map(|notice| notice["kind"].to_string()).collect();
    assert!(kinds[0].contains("started") && kinds[1].contains("failed") && kinds[2].contains("restarted"), "{kinds:?}");
    assert_eq!(running.json(&["status", &child])["incarnation"], 2);
    until_asleep(running, "home/ann");
    until_asleep(running, "home");
    running.say(&["stop", "home/ann"]);
    eventually("the parent was told", || (home.notices().len() >= 4).then_some(()));
    until_asleep(running, "home");
    home.ends_sound(&["home", &child]);
}

#[test]
fn a_sleeping_sibling_is_cycled_with_its_group() {
    let home = Home::with(&format!("{SOON}strategy = \"one-for-all\"\n"), RESTARTED, &[]);
    let [first, second] = ["ann", "bob"].map(|label| home.spawn(label));
    let running = &home.running;
    for child in ["home/ann", "home/bob", "home"] {
        until_asleep(running, child);
    }
    running.request("home/ann", &json!("trap")).expect_err("a trap");
    for child in [&first, &second] {
        eventually("it was restarted", || (running.json(&["status", child])["incarnation"] == 2).then_some(()));
        running.until(child, "running");
    }
    assert_eq!(ask(running, &second, &json!("count")), json!(1));
    home.ends_sound(&["home", &first, &second]);
}

#[test]
fn a_sleeping_actor_is_stopped_restarted_forked_and_read_like_a_running_one() {
    let stage = Stage::new();
    let manifest = stage.manifest("counter", "counter", SOON);
    let running = stage.run(&[&manifest]);
    running.request("counter", &json!({ "add": 4 })).expect("an answer");
    until_asleep(&running, "counter");
    assert_eq!(running.json(&["state", "counter"])["state"], json!({ "count": 4 }));
    let fork = running.say(&["fork", "counter", "--at", "4", "--name", "copy"]);
    assert!(is_asleep(&running, "counter"), "a fork wakes nobody: {fork}");
    assert_eq!(running.request("copy", &json!({ "add": 1 })), Ok(json!({ "count": 5 })));
    running.say(&["restart", "counter"]);
    assert_eq!(running.json(&["status", "counter"])["incarnation"], 2);
    until_asleep(&running, "counter");
    assert_eq!(running.request("counter", &json!({ "add": 1 })), Ok(json!({ "count": 5 })));
    until_asleep(&running, "counter");
    running.say(&["stop", "counter"]);
    assert_eq!(running.status("counter"), "stopped");
    assert_eq!(running.last_event("counter")["event_type"], "stopped");
    running.say(&["restart", "counter"]);
    until_asleep(&running, "counter");
    assert_eq!(running.request("counter", &json!({ "add": 1 })), Ok(json!({ "count": 6 })));
    let chain = running.export(&stage, "counter");
    running.shut_down();
    verifies_and_replays(&chain);
    audit(&stage);
}

#[test]
fn a_start_of_the_runtime_wakes_nobody_who_has_nothing_to_do() {
    for orderly in [true, false] {
        let home = Home::with(SOON, SOON, &[]);
        let children: Vec<String> = (0..5).map(|number| home.spawn(&format!("child-{number}"))).collect();
        assert_eq!(ask(&home.running, &children[2], &json!("count")), json!(1));
        let lengths = |running: &Theater| -> Vec<usize> {
            let own = [running.id("home")];
            own.iter().chain(&children).map(|actor| running.events(actor).len()).collect()
        };
        eventually("all sleep", || {
            let listed = home.running.json(&["list"]);
            listed.as_array().expect("a list").iter().all(|actor| actor["asleep"] == true).then_some(())
        });
        let before = lengths(&home.running);
        let home = home.again(orderly);
        let listed = home.running.json(&["list"]);
        let listed = listed.as_array().expect("a list").clone();
        assert!(listed.len() == 6 && listed.iter().all(|actor| actor["asleep"] == true), "{listed:?}");
        let names = home.running.thread_names();
        assert!(!names.iter().any(|name| name.starts_with("a-")), "{names:?}");
        assert_eq!(lengths(&home.running), before, "nothing was recorded");
        assert_eq!(ask(&home.running, "home/child-2", &json!("count")), json!(2));
        assert_eq!(ask(&home.running, "home/child-4", &json!("count")), json!(1));
        assert_eq!(home.spawn("another").len(), 36, "the parent works on");
        let (second, fourth) = (children[2].clone(), children[4].clone());
        home.ends_sound(&["home", &second, &fourth]);
    }
}

#[test]
fn an_instance_that_serves_many_calls_is_given_up_with_the_thread_and_the_chain_says_so() {
    let stage = Stage::new();
    let manifest = stage.manifest("counter", "counter", &format!("reuse = 1000\n{SOON}"));
    let running = stage.run(&[&manifest]);
    let add = |running: &Theater| running.request("counter", &json!({ "add": 1 })).expect("an answer");
    add(&running);
    add(&running);
    until_asleep(&running, "counter");
    add(&running);
    let events = running.events("counter");
    let calls = data_of(&events, "call ntwk:theater/message-server-client.handle-request");
    let fresh: Vec<bool> = calls.iter().map(|call| call["fresh"] == true).collect();
    assert_eq!(fresh.last(), Some(&true), "{fresh:?}");
    let chain = running.export(&stage, "counter");
    running.kill();
    verifies_and_replays(&chain);
    let running = stage.run(&[]);
    assert_eq!(running.request("counter", &json!({ "add": 1 })), Ok(json!({ "count": 4 })));
    running.shut_down();
    audit(&stage);
}

#[test]
fn a_large_state_is_on_disk_before_its_actor_sleeps() {
    let stage = Stage::new();
    let manifest = stage.manifest("probe", "probe", SOON);
    let running = stage.run(&[&manifest]);
    ask(&running, "probe", &json!({ "op": "state-bytes", "n": 300_000 }));
    until_asleep(&running, "probe");
    running.kill();
    let running = stage.run(&[]);
    assert!(is_asleep(&running, "probe"));
    assert_eq!(ask(&running, "probe", &json!("count")), json!(1));
    running.shut_down();
    audit(&stage);
}

#[test]
fn more_actors_than_may_be_awake_wait_for_each_other_and_none_is_refused() {
    const ACTORS: usize = 24;
    let stage = Stage::new();
    let manifests: Vec<PathBuf> = (0..ACTORS)
        .map(|number| stage.manifest(&format!("counter-{number}"), "counter", "sleep_after_ms = 600000\n"))
        .collect();
    stage.file("theater.toml", "[limits]\nawake_actors = 3\n");
    let toml = stage.path().join("theater.toml");
    let more = ["--config", toml.to_str().expect("a path")];
    let running = stage.run_with(&[], &more).unwrap_or_else(|why| panic!("{why}"));
    let mut management = Management::connect(running.management());
    let ids: Vec<String> = manifests.iter().map(|manifest| management.start(manifest)).collect();
    for round in 1..=2 {
        std::thread::scope(|scope| {
            for share in ids.chunks(6) {
                let mut management = Management::connect(running.management());
                scope.spawn(move || {
                    for id in share {
                        assert_eq!(management.request(id, &json!({ "add": 1 })), Ok(json!({ "count": round })));
                    }
                });
            }
        });
    }
    let awake: BTreeSet<String> = running.thread_names().into_iter().filter(|name| name.starts_with("a-")).collect();
    assert!(awake.len() <= 3, "{awake:?}");
    running.say(&["stop", "counter-0"]);
    assert_eq!(running.status("counter-0"), "stopped");
    running.shut_down();
    let running = stage.run_with(&[], &more).unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(running.request("counter-7", &json!({ "add": 1 })), Ok(json!({ "count": 3 })));
    running.shut_down();
    audit(&stage);
}

#[test]
fn who_never_sleeps_makes_no_room_and_a_new_actor_is_refused_by_the_setting() {
    let stage = Stage::new();
    let [first, second] = ["first", "second"].map(|name| stage.manifest(name, "counter", ""));
    stage.file("theater.toml", "[limits]\nawake_actors = 1\n");
    let toml = stage.path().join("theater.toml");
    let running =
        stage.run_with(&[&first], &["--config", toml.to_str().expect("a path")]).unwrap_or_else(|why| panic!("{why}"));
    let why = running.start(&second).expect_err("there is no room");
    assert!(why.contains("raise limits.awake_actors"), "{why}");
    running.shut_down();
}

#[test]
fn an_end_wakes_the_actor_that_monitors_it() {
    let stage = Stage::new();
    let grants = "[[handlers]]\ntype = \"monitor\"\n";
    let sentry = stage.manifest("sentry", "sentry", &format!("{SOON}{grants}{SUPERVISOR}"));
    let watched = stage.manifest("watched", "probe", SOON);
    let running = stage.run(&[&sentry, &watched]);
    let reference = ask(&running, "sentry", &json!({ "op": "monitor", "actor": "watched" }))["ok"].clone();
    for actor in ["sentry", "watched"] {
        until_asleep(&running, actor);
    }
    running.say(&["stop", "watched"]);
    let downs = |running: &Theater| running.json(&["state", "sentry"])["state"]["downs"].clone();
    eventually("it was told", || (downs(&running)[0][0] == reference).then_some(()));
    until_asleep(&running, "sentry");
    let chain = running.export(&stage, "sentry");
    running.kill();
    verifies_and_replays(&chain);
    let running = stage.run(&[]);
    assert!(is_asleep(&running, "sentry"), "it was told of the end already");
    running.shut_down();
    audit(&stage);
}

/// The instance that an actor gets when it wakes is younger than its last kept state: a start resumes on an instance like it.
#[test]
fn a_transition_of_an_actor_that_has_slept_is_resumed_although_its_instance_serves_many_calls() {
    let stage = Stage::new();
    let other = stage.manifest("other", "probe", "");
    let actor = stage.manifest("actor", "probe", &format!("reuse = 20\n{SOON}"));
    let running = stage.run(&[&actor, &other]);
    for _ in 0..3 {
        ask(&running, "actor", &json!("count"));
    }
    until_asleep(&running, "actor");
    ask(&running, "actor", &json!("count"));
    let message =
        json!({ "op": "request", "to": running.id("other"), "msg": { "op": "work", "rounds": 400_000_000_u64 } });
    let mut management = Management::connect(running.management());
    management.send_request(&running.id("actor"), &message);
    let is_open = |running: &Theater| running.event_types("actor").last().is_some_and(|it| it.starts_with("intent "));
    eventually("it waits for the other", || is_open(&running).then_some(()));
    let fresh = |running: &Theater| {
        let events = running.events("actor");
        let calls =
            events.iter().filter(|event| event["event_type"].as_str().is_some_and(|it| it.starts_with("call ")));
        calls.map(|event| event["data"]["fresh"] == true).collect::<Vec<_>>()
    };
    let before = fresh(&running);
    running.kill();
    let running = stage.run(&[&actor, &other]);
    eventually("it has gone on", || (!is_open(&running)).then_some(()));
    ask(&running, "actor", &json!("count"));
    assert!(!running.event_types("actor").contains(&"failed".to_owned()), "{before:?}");
    assert!(before.iter().skip(1).any(|fresh| *fresh), "it got an instance when it woke: {before:?}");
    let chain = running.export(&stage, "actor");
    running.shut_down();
    verifies_and_replays(&chain);
    audit(&stage);
}
