//! Tests of recovery: a killed runtime continues as if it had not been killed. Open transitions are finished, messages
//! arrive once, and everything that actors owe each other happens.

mod support;
#[path = "support/websocket.rs"]
mod websocket;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::{Http, Management, Stage, Theater, data_of, eventually, theater, verifies_and_replays};

const SUPERVISOR: &str = "[[handlers]]\ntype = \"supervisor\"\n";

/// Two probes, `asker` and `asked`, in a runtime that is killed.
struct Pair {
    stage: Stage,
    manifests: Vec<PathBuf>,
}

impl Pair {
    fn new(more: &str) -> Self {
        let stage = Stage::new();
        let manifests = ["asker", "asked"].map(|name| stage.manifest(name, "probe", more)).to_vec();
        Self { stage, manifests }
    }

    /// Starts the runtime; it will be killed when it reaches `point` for the nth time.
    fn until(&self, point: &str, nth: u32) -> Theater {
        let paths: Vec<_> = self.manifests.iter().map(PathBuf::as_path).collect();
        let launch = self.stage.command(&paths, &[]).arg("--data-dir").arg(self.stage.data_dir());
        launch.env("THEATER_FAIL", format!("{point}:{nth}")).launch(&self.stage).expect("it starts")
    }

    /// Starts the runtime again, without killing it.
    fn again(&self) -> Theater {
        let paths: Vec<_> = self.manifests.iter().map(PathBuf::as_path).collect();
        self.stage.run(&paths)
    }

    fn audit(&self) -> Value {
        audit(&self.stage)
    }
}

/// The answer of `theater verify --journal`, which must find no fault.
fn audit(stage: &Stage) -> Value {
    let output = theater(&["verify", "--journal", stage.data_dir().to_str().expect("a path"), "--json"], None);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success(), "{found}");
    found
}

/// Sends `actor` a command; the process is killed while it is handled.
fn tell_and_be_killed(mut running: Theater, actor: &str, command: &Value) {
    let mut management = Management::connect(running.management());
    let id = running.id(actor);
    management.send_request(&id, command);
    running.wait();
}

fn count(running: &Theater, actor: &str) -> u64 {
    running.json(&["state", actor])["state"]["count"].as_u64().unwrap_or(0)
}

/// Waits until the actor has counted to `expected`, so that nothing is in progress any more.
fn settled(running: &Theater, actor: &str, expected: u64) {
    eventually(&format!("{actor} has counted to {expected}"), || (count(running, actor) == expected).then_some(()));
}

fn ends_with_a_return(running: &Theater, actor: &str) {
    eventually("its transition is over", || {
        let types = running.event_types(actor);
        types.iter().rfind(|it| *it != "started")?.starts_with("return ").then_some(())
    });
}

/// Makes the asker count, request a count from the other, and count again.
fn count_together(running: &Theater) -> Value {
    let ask = json!({ "op": "request", "to": running.id("asked"), "msg": "count" });
    json!({ "op": "many", "ops": ["count", ask, "count"] })
}

#[test]
fn a_request_that_a_kill_cut_off_anywhere_is_completed_exactly_once_on_both_sides() {
    let moments = [
        ("intent-recorded", 1),
        ("intent-committed", 1),
        ("closed", 1),
        ("closed-committed", 1),
        ("answered", 1),
        ("effect-done", 1),
        ("effect-committed", 1),
        ("closed", 2),
        ("closed-committed", 2),
    ];
    for (point, nth) in moments {
        let pair = Pair::new("");
        let running = pair.again();
        let command = count_together(&running);
        running.shut_down();
        let running = pair.until(point, nth);
        tell_and_be_killed(running, "asker", &command);
        let running = pair.again();
        let begun = running.event_types("asker").iter().any(|it| it.starts_with("call ntwk:theater/message"));
        if begun {
            settled(&running, "asker", 2);
            settled(&running, "asked", 1);
            ends_with_a_return(&running, "asker");
        }
        assert_eq!(count(&running, "asker"), 2 * count(&running, "asked"), "{point}:{nth}");
        for actor in ["asker", "asked"] {
            let events = running.events(actor);
            assert_eq!(data_of(&events, "failed").len(), 0, "{point}:{nth}: {actor} did not fail");
            verifies_and_replays(&running.export(&pair.stage, actor));
        }
        running.shut_down();
        assert_eq!(pair.audit()["in_flight"], 0, "{point}:{nth}");
    }
}

#[test]
fn a_transition_that_two_kills_cut_off_goes_on_whatever_the_manifest_takes() {
    // A manifest above 4,096 bytes is stored apart from the `started` event that says whether the transition resumes.
    let pair = Pair::new(&format!("description = \"{}\"\n", "long ".repeat(1_000)));
    let running = pair.again();
    let ask = json!({ "op": "request", "to": running.id("asked"), "msg": "spin" });
    let mut management = Management::connect(running.management());
    management.send_request(&running.id("asker"), &ask);
    eventually("both are at work", || {
        running.last_event("asked")["event_type"].as_str()?.strip_prefix("call ").map(drop)
    });
    let resumed = |running: &Theater, times: usize| {
        eventually("it goes on", || {
            let events = running.events("asker");
            let resumed = events.iter().filter(|event| event["data"]["resumes"] == json!(true)).count();
            (resumed == times).then_some(())
        });
    };
    running.kill();
    let running = pair.again();
    resumed(&running, 1);
    running.kill();
    let running = pair.again();
    resumed(&running, 2);
    ends_with_a_return(&running, "asker");
    running.shut_down();
    assert_eq!(pair.audit()["in_flight"], 0);
}

#[test]
fn a_send_that_was_not_taken_is_delivered_once_and_in_order() {
    let pair = Pair::new("");
    let running = pair.again();
    let asked = running.id("asked");
    let sends: Vec<Value> = (0..20).map(|_| json!({ "op": "send", "to": asked, "msg": "count" })).collect();
    let command = json!({ "op": "many", "ops": sends });
    running.shut_down();
    // The receiver's fifth transition is closed; other messages wait in its mailbox.
    let running = pair.until("closed-committed", 5);
    tell_and_be_killed(running, "asker", &command);
    let running = pair.again();
    settled(&running, "asked", 20);
    let events = running.events("asked");
    let calls = data_of(&events, "call ntwk:theater/message-server-client.handle-send");
    let causes: Vec<u64> = calls.iter().map(|call| call["cause"]["sequence"].as_u64().expect("a cause")).collect();
    assert_eq!(causes.len(), 20, "each once");
    assert!(causes.is_sorted(), "in order: {causes:?}");
    verifies_and_replays(&running.export(&pair.stage, "asked"));
    running.shut_down();
    assert_eq!(pair.audit()["in_flight"], 0);
}

#[test]
fn an_actor_whose_instances_serve_several_calls_resumes_from_where_the_instance_was_new() {
    let pair = Pair::new("reuse = 100\n");
    let running = pair.again();
    for expected in 1..=5 {
        assert_eq!(running.request("asker", &json!("global")), Ok(json!(expected)));
    }
    let ask = json!({ "op": "request", "to": running.id("asked"), "msg": "count" });
    let command = json!({ "op": "many", "ops": ["global", ask, "global"] });
    running.shut_down();
    // After a start there is a new instance.
    let running = pair.until("effect-committed", 1);
    assert_eq!(running.request("asker", &json!("global")), Ok(json!(1)));
    assert_eq!(running.request("asker", &json!("global")), Ok(json!(2)));
    tell_and_be_killed(running, "asker", &command);
    let running = pair.again();
    ends_with_a_return(&running, "asker");
    let last = running.last_event("asker");
    assert_eq!(last["data"]["result"], json!([3, { "ok": 1 }, 4]), "{last}");
    assert_eq!(running.request("asker", &json!("global")), Ok(json!(5)), "it is the same instance");
    verifies_and_replays(&running.export(&pair.stage, "asker"));
}

#[test]
fn a_message_that_kills_the_process_does_not_kill_every_start() {
    let pair = Pair::new("");
    let mut running = pair.again();
    assert_eq!(running.request("asker", &json!("count")), Ok(json!(1)));
    let id = running.id("asker");
    Management::connect(running.management()).send_request(&id, &json!("spin"));
    eventually("it spins", || running.event_types("asker").last()?.starts_with("call ").then_some(()));
    for _ in 0..6 {
        support::signal(running.pid(), "KILL");
        running.wait();
        running = pair.again();
    }
    let events = running.events("asker");
    let failed = data_of(&events, "failed");
    assert_eq!(failed.len(), 1, "{events:#?}");
    assert_eq!(failed[0]["reason"], "interrupted");
    assert_eq!(running.request("asker", &json!("count")), Ok(json!(2)), "it goes on without");
    verifies_and_replays(&running.export(&pair.stage, "asker"));
}

/// A parent with children.
fn nursery(more: &str) -> (Stage, PathBuf) {
    let stage = Stage::new();
    for name in ["probe", "nursery"] {
        stage.copy_component(name, name);
    }
    stage.manifest_at("child", "probe.wasm".as_ref(), "");
    stage.manifest_at("sturdy", "probe.wasm".as_ref(), "restart = \"transient\"\n");
    let parent = stage.manifest_at("parent", "nursery.wasm".as_ref(), &format!("{more}\n{SUPERVISOR}"));
    (stage, parent)
}

fn until(stage: &Stage, manifest: &std::path::Path, point: &str, nth: u32) -> Theater {
    let launch = stage.command(&[manifest], &[]).arg("--data-dir").arg(stage.data_dir());
    launch.env("THEATER_FAIL", format!("{point}:{nth}")).launch(stage).expect("it starts")
}

#[test]
fn a_spawn_that_a_kill_cut_off_makes_one_child_and_answers_with_it() {
    let ops = ["spawn", "spawn-as", "get-or-spawn"];
    let moments = ["intent-committed", "effect-committed"];
    for (op, point) in ops.into_iter().flat_map(|op| moments.map(|point| (op, point))) {
        let (stage, parent) = nursery("");
        let running = until(&stage, &parent, point, 1);
        tell_and_be_killed(running, "parent", &json!({ "op": op, "manifest": "child.toml", "label": "one" }));
        let running = stage.run(&[&parent]);
        eventually("the spawn is answered", || {
            let last = running
                .events("parent")
                .into_iter()
                .rfind(|it| it["event_type"] == "return ntwk:theater/message-server-client.handle-request")?;
            last["data"]["result"]["ok"].as_str().map(str::to_owned)
        });
        let children: Vec<Value> = running.json(&["list"]).as_array().expect("a list").clone();
        let children: Vec<&Value> = children.iter().filter(|actor| actor["name"] == "child").collect();
        assert_eq!(children.len(), 1, "{op}, {point}: {children:?}");
        let path = if op == "spawn" { Value::Null } else { json!("parent/one") };
        assert_eq!(children[0]["path"], path, "{op}, {point}");
        eventually("the parent has heard of it once", || {
            let heard = running.event_types("parent");
            let notices = heard.iter().filter(|it| *it == "call ntwk:theater/supervisor-handlers.handle-child-event");
            (notices.count() == 1).then_some(())
        });
        for actor in ["parent", "child"] {
            let inits = running.event_types(actor).iter().filter(|it| *it == "call ntwk:theater/actor.init").count();
            assert_eq!(inits, 1, "{point}: {actor} begins once");
            verifies_and_replays(&running.export(&stage, actor));
        }
        running.shut_down();
        assert_eq!(audit(&stage)["in_flight"], 0);
    }
}

#[test]
fn a_stop_and_a_restart_that_a_kill_cut_off_are_done_once() {
    for (op, point) in [
        ("stop-child", "intent-committed"),
        ("stop-child", "effect-committed"),
        ("restart-child", "intent-committed"),
        ("restart-child", "effect-committed"),
    ] {
        let (stage, parent) = nursery("");
        let running = stage.run(&[&parent]);
        let spawned = running.request("parent", &json!({ "op": "spawn", "manifest": "child.toml" })).expect("a child");
        let child = spawned["ok"].as_str().expect("an id").to_owned();
        running.shut_down();
        let running = until(&stage, &parent, point, 1);
        tell_and_be_killed(running, "parent", &json!({ "op": op, "child": child }));
        let running = stage.run(&[&parent]);
        let result = eventually("it is answered", || {
            let mut events = running.events("parent").into_iter();
            let answer = events.rfind(|it| it["event_type"] == "host-call ntwk:theater/supervisor.".to_owned() + op)?;
            Some(answer["data"]["result"].clone())
        });
        assert_eq!(result, json!({ "ok": null }), "{op}, {point}");
        running.until(&child, if op == "stop-child" { "stopped" } else { "running" });
        let stopped = running.event_types(&child).iter().filter(|it| *it == "stopped").count();
        assert_eq!(stopped, 1, "{op}, {point}: once");
        for actor in ["parent", &child] {
            verifies_and_replays(&running.export(&stage, actor));
        }
    }
}

#[test]
fn a_get_or_spawn_that_a_kill_cut_off_brings_the_ended_child_back_once() {
    for point in ["intent-committed", "effect-committed"] {
        let (stage, parent) = nursery("");
        let running = stage.run(&[&parent]);
        let wanted = json!({ "op": "get-or-spawn", "manifest": "child.toml", "label": "one" });
        let spawned = running.request("parent", &wanted).expect("an answer");
        let child = spawned["ok"].as_str().expect("an id").to_owned();
        assert_eq!(running.request("parent/one", &json!("count")), Ok(json!(1)));
        running.say(&["stop", "parent/one"]);
        running.shut_down();
        let running = until(&stage, &parent, point, 1);
        tell_and_be_killed(running, "parent", &wanted);
        let running = stage.run(&[&parent]);
        let answer = eventually("it is answered", || {
            let mut events = running.events("parent").into_iter();
            let answer = events.rfind(|it| it["event_type"] == "host-call ntwk:theater/labels.get-or-spawn")?;
            (answer["sequence"].as_u64()? > 8).then(|| answer["data"]["result"].clone())
        });
        assert_eq!(answer, spawned, "{point}");
        assert_eq!(running.request("parent/one", &json!("count")), Ok(json!(2)), "{point}");
        let starts = data_of(&running.events(&child), "started").len();
        assert_eq!(starts, 2 + usize::from(point == "effect-committed"), "{point}");
        for actor in ["parent", &child] {
            verifies_and_replays(&running.export(&stage, actor));
        }
        running.shut_down();
        assert_eq!(audit(&stage)["in_flight"], 0);
    }
}

/// What answered the newest `restart-child` of the parent.
fn answer_to_the_restart(running: &Theater) -> Value {
    eventually("it is answered", || {
        let mut events = running.events("parent").into_iter();
        let answer = events.rfind(|it| it["event_type"] == "host-call ntwk:theater/supervisor.restart-child")?;
        Some(answer["data"].clone())
    })
}

#[test]
fn a_restart_that_a_kill_cut_off_in_the_childs_init_is_answered_once_the_child_is_up() {
    let (stage, parent) = nursery("");
    let slow = json!({ "init": { "op": "work", "rounds": 100_000_000 } });
    let more = format!("init_state = '{slow}'\nrestart_state = \"initial\"\n[limits]\ncpu_ms_per_call = 600000\n");
    stage.manifest_at("slow", "probe.wasm".as_ref(), &more);
    let running = stage.run(&[&parent]);
    let spawned = running.request("parent", &json!({ "op": "spawn", "manifest": "slow.toml" })).expect("a child");
    let child = spawned["ok"].as_str().expect("an id").to_owned();
    let mut management = Management::connect(running.management());
    management.send_request(&running.id("parent"), &json!({ "op": "restart-child", "child": child }));
    eventually("its init runs again", || {
        let events = running.event_types(&child);
        (events.iter().filter(|it| *it == "call ntwk:theater/actor.init").count() == 2).then_some(())
    });
    running.kill();
    let running = stage.run(&[&parent]);
    let answer = answer_to_the_restart(&running);
    assert_eq!(answer["result"], json!({ "ok": null }));
    let inits = running.events(&child).into_iter().filter(|it| it["event_type"] == "return ntwk:theater/actor.init");
    let inits: Vec<Value> = inits.map(|it| it["sequence"].clone()).collect();
    assert_eq!(inits.len(), 2, "it began twice");
    assert_eq!((&answer["answer"]["actor"], &answer["answer"]["sequence"]), (&json!(child), &inits[1]), "by its init");
    for actor in ["parent", &child] {
        verifies_and_replays(&running.export(&stage, actor));
    }
    running.shut_down();
    assert_eq!(audit(&stage)["in_flight"], 0);
}

#[test]
fn a_restart_that_a_kill_cut_off_between_the_childs_end_and_its_start_is_answered_by_its_start() {
    let (stage, parent) = nursery("");
    let running = stage.run(&[&parent]);
    let spawned = running.request("parent", &json!({ "op": "spawn", "manifest": "child.toml" })).expect("a child");
    let child = spawned["ok"].as_str().expect("an id").to_owned();
    running.shut_down();
    // Both begin at this start, and then the child anew. What came before is committed, or the request itself may be lost.
    let running = until(&stage, &parent, "beginning-committed", 3);
    tell_and_be_killed(running, "parent", &json!({ "op": "restart-child", "child": child }));
    let running = stage.run(&[&parent]);
    let answer = answer_to_the_restart(&running);
    assert_eq!(answer["result"], json!({ "ok": null }));
    let events = running.events(&child);
    assert_eq!(data_of(&events, "stopped").len(), 1, "once");
    let answered_by = answer["answer"]["sequence"].as_u64().and_then(|at| events.get(usize::try_from(at).ok()?));
    assert_eq!(answered_by.map(|event| &event["event_type"]), Some(&json!("started")), "{answer}");
    verifies_and_replays(&running.export(&stage, "parent"));
    running.shut_down();
    assert_eq!(audit(&stage)["in_flight"], 0);
}

#[test]
fn a_wait_from_before_goes_with_the_incarnation_that_ends_before_it_takes_the_wait_up() {
    let stage = Stage::new();
    // A port that nobody has now, and this test has when the runtime starts again.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    drop(taken);
    let listens = format!("[[handlers]]\ntype = \"http-server\"\nconfig = {{ port = {port} }}\n");
    let lasting =
        "restart = \"permanent\"\nmax_restarts = 1000\nrestart_backoff_ms = 1\n[limits]\ncpu_ms_per_call = 600000\n";
    let asker = stage.manifest("asker", "probe", &format!("{lasting}{listens}"));
    let asked = stage.manifest("asked", "probe", lasting);
    let running = stage.run(&[&asker, &asked]);
    let (asker, asked) = (running.id("asker"), running.id("asked"));
    let work = json!({ "op": "request", "to": asked, "msg": { "op": "work", "rounds": 200_000_000 } });
    let mut management = Management::connect(running.management());
    management.send_request(&asker, &work);
    eventually("it is asked", || running.event_types(&asked).last()?.starts_with("call ").then_some(()));
    running.kill();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("it is free");
    let running = stage.run(&[]);
    eventually("it has failed by its port", || (data_of(&running.events(&asker), "failed").len() > 1).then_some(()));
    drop(taken);
    running.until(&asker, "running");
    let ask = |to: &str| json!({ "op": "request", "to": to, "msg": "count" });
    // In the other direction there would be a circle, if the wait were still there.
    assert_eq!(running.request(&asked, &ask(&asker)), Ok(json!({ "ok": 1 })));
    assert_eq!(running.request(&asker, &ask(&asked)), Ok(json!({ "ok": 1 })));
    assert!(!stage.log().contains("panicked at"), "{}", stage.log());
    for actor in [&asker, &asked] {
        verifies_and_replays(&running.export(&stage, actor));
    }
    running.shut_down();
    assert_eq!(audit(&stage)["in_flight"], 0);
}

#[test]
fn a_notice_and_a_restart_that_were_due_happen() {
    let (stage, parent) = nursery("max_restarts = 100\n");
    let running = stage.run(&[&parent]);
    let spawned = running.request("parent", &json!({ "op": "spawn", "manifest": "sturdy.toml" })).expect("a child");
    let child = spawned["ok"].as_str().expect("an id").to_owned();
    assert_eq!(running.request(&child, &json!("count")), Ok(json!(1)));
    // The child fails, and the process is killed while the child waits for its backoff.
    assert!(running.request(&child, &json!("trap")).is_err());
    running.kill();
    let running = stage.run(&[&parent]);
    running.until(&child, "running");
    assert_eq!(running.request(&child, &json!("count")), Ok(json!(2)), "with what it knew");
    let expected = ["failed", "restarted"];
    eventually("the parent has heard of both", || {
        let events = running.events("parent");
        let heard = data_of(&events, "call ntwk:theater/supervisor-handlers.handle-child-event");
        let kinds: Vec<String> = heard.iter().map(|call| call["params"][0]["kind"].to_string()).collect();
        expected.iter().all(|word| kinds.iter().filter(|kind| kind.contains(word)).count() == 1).then_some(())
    });
    verifies_and_replays(&running.export(&stage, "parent"));
    verifies_and_replays(&running.export(&stage, &child));
    running.shut_down();
    assert_eq!(audit(&stage)["in_flight"], 0);
}

#[test]
fn a_crash_does_not_make_the_supervisor_forget_how_often_it_has_restarted() {
    let (stage, parent) = nursery("max_restarts = 2\nwithin_ms = 600000\n");
    let running = stage.run(&[&parent]);
    let spawned = running.request("parent", &json!({ "op": "spawn", "manifest": "sturdy.toml" })).expect("a child");
    let child = spawned["ok"].as_str().expect("an id").to_owned();
    let fail = |running: &Theater, incarnation: u64| {
        assert!(running.request(&child, &json!("trap")).is_err());
        eventually("it is up again", || {
            (running.event_types(&child).iter().filter(|it| *it == "started").count() as u64 == incarnation)
                .then_some(())
        });
        running.until(&child, "running");
    };
    fail(&running, 2);
    running.kill();
    let running = stage.run(&[&parent]);
    running.until(&child, "running");
    fail(&running, 4);
    running.kill();
    let running = stage.run(&[&parent]);
    running.until(&child, "running");
    assert!(running.request(&child, &json!("trap")).is_err());
    running.until("parent", "failed");
    let last = running.events("parent").pop().expect("an event");
    assert!(last["data"]["detail"].as_str().is_some_and(|why| why.contains("max_restarts = 2")), "{last}");
    verifies_and_replays(&running.export(&stage, &child));
}

#[test]
fn a_websocket_connect_that_a_kill_cut_off_is_answered_and_followed_by_its_close() {
    let stage = Stage::new();
    for name in ["chatroom", "chatstore"] {
        stage.copy_component(name, name);
    }
    stage.manifest_at("store", "chatstore.wasm".as_ref(), "");
    let listener = |ty: &str| format!("[[handlers]]\ntype = \"{ty}\"\nconfig = {{ port = 0 }}\n");
    let handlers = format!(
        "init_state = '{{\"store\": \"store.toml\", \"oracle\": \"http://127.0.0.1:1/\"}}'\n{}{}{SUPERVISOR}\
         [[handlers]]\ntype = \"filesystem\"\nconfig = {{ path = \"assets\" }}\n[[handlers]]\ntype = \"http-client\"\n",
        listener("http-server"),
        listener("websocket-server")
    );
    std::fs::create_dir(stage.path().join("assets")).expect("a directory");
    let front = stage.manifest_at("chat", "chatroom.wasm".as_ref(), &handlers);
    stage.run(&[&front]).shut_down();
    // The room asks its store for the messages.
    let mut running = until(&stage, &front, "intent-committed", 1);
    let client = websocket::Client::connect(running.websocket("chat"));
    running.wait();
    drop(client);
    let running = stage.run(&[&front]);
    let seen = |event_type: &str| {
        let events = running.events("chat");
        let of_type = events.into_iter().filter(|event| event["event_type"] == event_type);
        of_type.collect::<Vec<_>>()
    };
    let call = "call ntwk:theater/websocket-server.handle-message";
    eventually("it hears of the end", || (seen(call).len() == 2).then_some(()));
    let answered = &seen("return ntwk:theater/websocket-server.handle-message")[0];
    let close = &seen(call)[1]["data"];
    assert_eq!((&close["params"][0]["ty"], &close["cause"]["sequence"]), (&json!("close"), &answered["sequence"]));
    assert_eq!(running.request("chat", &json!("summary")).expect("an answer")["connected"], 0);
    verifies_and_replays(&running.export(&stage, "chat"));
    running.shut_down();
    assert_eq!(audit(&stage)["in_flight"], 0);
}

#[test]
fn a_changed_component_takes_over_once_the_open_transition_is_over() {
    let stage = Stage::new();
    let asked = stage.manifest("asked", "probe", "");
    let asker = stage.manifest("asker", "probe", "");
    let running = stage.run(&[&asker, &asked]);
    let command = count_together(&running);
    running.shut_down();
    let launch = stage.command(&[&asker, &asked], &[]).arg("--data-dir").arg(stage.data_dir());
    let running = launch.env("THEATER_FAIL", "effect-committed:1").launch(&stage).expect("it starts");
    tell_and_be_killed(running, "asker", &command);
    let asker = stage.manifest("asker", "variant", "");
    let running = stage.run(&[&asker, &asked]);
    settled(&running, "asked", 1);
    eventually("the new component has taken over", || {
        let events = running.events("asker");
        let starts = data_of(&events, "started");
        let (resumed, last) = (starts.get(starts.len() - 2)?, starts.last()?);
        (resumed["resumes"] == true && last["resumes"] == false && resumed["component"] != last["component"])
            .then_some(())
    });
    assert_eq!(count(&running, "asker"), 2, "what was open was finished");
    verifies_and_replays(&running.export(&stage, "asker"));
}

#[test]
fn an_end_in_order_within_a_transition_is_no_attempt_that_failed() {
    let stage = Stage::new();
    let limits = "[limits]\ncpu_ms_per_call = 600000\nstop_grace_ms = 0\n";
    let manifest = stage.http_manifest("probe", "probe", limits);
    for _ in 0..5 {
        let mut running = stage.run(&[&manifest]);
        if running.event_types("probe").len() < 4 {
            Http::connect(running.http("probe")).send("POST", "/op", Some("\"spin\""));
        }
        eventually("it spins", || {
            running.event_types("probe").iter().any(|it| it.contains("http-server")).then_some(())
        });
        support::signal(running.pid(), "TERM");
        assert_eq!(running.wait().code(), Some(0));
    }
    let running = stage.run(&[&manifest]);
    let events = running.events("probe");
    assert_eq!(data_of(&events, "failed").len(), 0, "it is still at it");
    assert_eq!(data_of(&events, "started").iter().filter(|started| started["resumes"] == true).count(), 5);
    verifies_and_replays(&running.export(&stage, "probe"));
}

/// The outside is not inspected, because the actor or someone else may have changed it since.
#[test]
fn a_change_of_a_file_that_a_kill_cut_off_anywhere_is_of_unknown_outcome_and_not_made_again() {
    let write = json!({ "op": "write-file", "path": "note", "content": "new content" });
    let delete = json!({ "op": "delete-file", "path": "note" });
    for (command, point, left) in [
        (&write, "outside-committed", Some("old")),
        (&write, "file-half-written", Some("new c")),
        (&write, "outside-done", Some("new content")),
        (&delete, "outside-committed", Some("old")),
        (&delete, "outside-done", None),
    ] {
        let stage = Stage::new();
        let handler = "[[handlers]]\ntype = \"filesystem\"\nconfig = { path = \"kept\" }\n";
        let manifest = stage.manifest("files", "files", handler);
        std::fs::create_dir(stage.path().join("kept")).expect("a directory");
        let note = stage.path().join("kept/note");
        std::fs::write(&note, "old").expect("a file");
        stage.run(&[&manifest]).shut_down();
        tell_and_be_killed(until(&stage, &manifest, point, 1), "files", command);
        assert_eq!(std::fs::read_to_string(&note).ok().as_deref(), left, "{point}");
        std::fs::write(&note, "by another hand").expect("a file");
        let running = stage.run(&[&manifest]);
        ends_with_a_return(&running, "files");
        let result = running.last_event("files")["data"]["result"].clone();
        assert_eq!(result, json!({ "err": "interrupted: outcome unknown" }), "{point}");
        assert_eq!(std::fs::read_to_string(&note).expect("a file"), "by another hand", "{point}");
        verifies_and_replays(&running.export(&stage, "files"));
        running.shut_down();
        assert_eq!(audit(&stage)["in_flight"], 0);
    }
}

/// Two probes; the second handles its first message for as long as a test wants, and is owed its second.
fn owed_while_busy(pair: &Pair) -> Theater {
    let running = pair.again();
    let asked = running.id("asked");
    let send = |msg: &str| json!({ "op": "send", "to": asked, "msg": msg });
    let sent = json!({ "op": "many", "ops": [send("spin"), send("count"), send("count")] });
    running.request("asker", &sent).expect("both are sent");
    eventually("it is busy", || running.event_types("asked").last()?.starts_with("call ").then_some(()));
    running
}

const BUSY: &str = "[limits]\ncpu_ms_per_call = 1500\nstop_grace_ms = 0\n";

#[test]
fn what_is_owed_does_not_depend_on_whether_its_sender_is_still_listed() {
    for in_order in [false, true] {
        let pair = Pair::new(&format!("restart = \"permanent\"\n{BUSY}"));
        let running = owed_while_busy(&pair);
        running.say(&["stop", "asker"]);
        running.say(&["forget", "asker"]);
        if in_order {
            running.shut_down()
        } else {
            running.kill()
        }
        let running = pair.stage.run(&[&pair.manifests[1]]);
        settled(&running, "asked", 2);
        running.shut_down();
        assert_eq!(audit(&pair.stage)["in_flight"], 0);
    }
}

#[test]
fn the_notice_of_a_child_that_was_forgotten_reaches_its_parent_after_a_crash() {
    let (stage, parent) = nursery(&format!("restart = \"permanent\"\n{BUSY}"));
    let running = stage.run(&[&parent]);
    let spawned = running.request("parent", &json!({ "op": "spawn", "manifest": "child.toml" })).expect("a child");
    let child = spawned["ok"].as_str().expect("an id").to_owned();
    let mut outside = Management::connect(running.management());
    outside.send_request(&running.id("parent"), &json!("spin"));
    eventually("it is busy", || running.event_types("parent").last()?.ends_with("handle-request").then_some(()));
    running.say(&["stop", &child]);
    running.say(&["forget", &child]);
    running.kill();
    let running = stage.run(&[&parent]);
    let heard = || {
        let notices = running.json(&["state", "parent"])["state"]["notices"].as_array()?.clone();
        (notices.last()? == &json!({ "child": child, "kind": "stopped" })).then_some(())
    };
    eventually("the parent hears of it", heard);
    running.shut_down();
    assert_eq!(audit(&stage)["in_flight"], 0);
}

#[test]
fn a_child_whose_parent_failed_while_it_was_busy_names_what_had_waited_when_a_kill_cut_off_its_grace() {
    let (stage, parent) = nursery("");
    let slow = "[limits]\ncpu_ms_per_call = 600000\nstop_grace_ms = 600000\n";
    stage.manifest_at("child", "probe.wasm".as_ref(), slow);
    let running = stage.run(&[&parent]);
    let spawned = running.request("parent", &json!({ "op": "spawn", "manifest": "child.toml" })).expect("a child");
    let child = spawned["ok"].as_str().expect("an id").to_owned();
    let send = |msg: &str| json!({ "op": "send", "to": child, "msg": msg });
    let sent = json!({ "op": "many", "ops": [send("spin"), send("count"), send("count")] });
    running.request("parent", &sent).expect("all are sent");
    eventually("it is busy", || running.event_types(&child).last()?.starts_with("call ").then_some(()));
    running.request("parent", &json!("trap")).expect_err("it fails");
    eventually("its end is written", || (running.last_event("parent")["event_type"] == "failed").then_some(()));
    running.kill();
    let running = stage.run_with(&[], &[]).expect("it starts");
    let last = running.last_event(&child);
    let dropped = last["data"]["dropped"].as_array().expect("a list");
    assert_eq!((&last["event_type"], dropped.len()), (&json!("stopped"), 2), "{last}");
    assert!(dropped.iter().all(|link| link["actor"] == running.id("parent")), "each is named: {last}");
    running.shut_down();
    assert_eq!(audit(&stage)["in_flight"], 0);
}

/// Starts a runtime on a machine that refuses the thread called `name`, from the first to the last of `times`.
fn without_thread(stage: &Stage, manifests: &[&std::path::Path], times: &str) -> Result<Theater, String> {
    let launch = stage.command(manifests, &[]).arg("--data-dir").arg(stage.data_dir());
    launch.env("THEATER_REFUSE", times).launch(stage)
}

#[test]
fn a_spawn_whose_child_gets_no_thread_is_refused_with_the_reason_and_the_parent_goes_on() {
    let (stage, parent) = nursery("");
    let running = without_thread(&stage, &[&parent], "a-child:1-1").expect("it starts");
    let spawn = json!({ "op": "spawn", "manifest": "child.toml" });
    let refused = running.request("parent", &spawn).expect("an answer");
    let why = refused["err"].as_str().expect("refused");
    assert!(why.starts_with("this machine has no thread left for it"), "{why}");
    assert_eq!(running.json(&["list"]).as_array().map(Vec::len), Some(1), "it was never there");
    assert_eq!(running.request("parent", &json!("list-children")), Ok(json!({ "ok": [] })));
    let spawned = running.request("parent", &spawn).expect("an answer");
    assert!(spawned["ok"].is_string(), "there is one now: {spawned}");
    assert_eq!(running.status("parent"), "running");
    verifies_and_replays(&running.export(&stage, "parent"));
    running.shut_down();
    audit(&stage);
}

#[test]
fn an_actor_that_gets_no_thread_at_a_start_is_tried_again_as_its_policy_says() {
    let (stage, parent) = nursery("");
    let running = stage.run(&[&parent]);
    running.request("parent", &json!({ "op": "spawn", "manifest": "sturdy.toml" })).expect("a child");
    let child = running.id("sturdy");
    running.request("sturdy", &json!("count")).expect("a count");
    running.kill();
    let running = without_thread(&stage, &[&parent], "a-sturdy:1-1").expect("it starts");
    running.until(&child, "running");
    assert_eq!(running.request("sturdy", &json!("count")), Ok(json!(2)));
    verifies_and_replays(&running.export(&stage, "sturdy"));
    running.shut_down();
    audit(&stage);
}

#[test]
fn a_stop_of_an_actor_without_a_thread_says_what_is_true_and_the_next_start_brings_it_back() {
    let (stage, parent) = nursery("");
    let running = stage.run(&[&parent]);
    running.request("parent", &json!({ "op": "spawn", "manifest": "child.toml" })).expect("a child");
    let child = running.id("child");
    running.request("child", &json!("count")).expect("a count");
    running.kill();
    let running = without_thread(&stage, &[&parent], "a-child:1-1000").expect("it starts");
    running.until(&child, "failed");
    let status = running.json(&["status", &child]).to_string();
    assert!(status.contains("this machine has no thread left for it"), "{status}");
    let why = running.refused(&["restart", &child]);
    assert!(why.contains("this machine has no thread left for it"), "{why}");
    running.shut_down();
    audit(&stage);
    let running = stage.run(&[&parent]);
    assert_eq!(running.request("child", &json!("count")), Ok(json!(2)));
}

/// A runtime in which a thread panics when it reaches a point: from the nth time on, or only then.
fn panicking(stage: &Stage, manifests: &[&std::path::Path], fail: &str) -> Theater {
    let launch = stage.command(manifests, &[]).arg("--data-dir").arg(stage.data_dir());
    launch.env("THEATER_FAIL", fail).launch(stage).expect("it starts")
}

#[test]
fn a_panic_of_a_thread_that_the_runtime_cannot_do_without_ends_the_process_with_a_failure() {
    // The supervisor is told that an actor starts and that it is up, and then of another actor.
    for (fail, thread, in_order) in [
        ("supervising:4:panic", "theater", false),
        ("before-commit:6:panic", "journal", false),
        ("admitting:3:panic", "mgmt", true),
    ] {
        let stage = Stage::new();
        let one = stage.manifest("one", "probe", "");
        let mut running = panicking(&stage, &[&one], fail);
        for number in 0..5 {
            // After the end of the process, a client gets an error or no answer.
            let other = stage.manifest(&format!("other-{number}"), "probe", "");
            running.cli(&["start", other.to_str().expect("a path")]);
        }
        assert_eq!(running.wait().code(), Some(3), "{fail}: {}", stage.log());
        let log = stage.log();
        let said = log.lines().find(|line| line.starts_with("theater: ")).unwrap_or_else(|| panic!("{fail}: {log}"));
        assert!(said.contains("panicked: asked for at "), "{fail}: {said}");
        assert!(thread == "journal" || said.contains(&format!("thread {thread} panicked")), "{fail}: {said}");
        assert_eq!(said.contains("All actors were suspended"), in_order, "{fail}: {said}");
        let running = stage.run(&[]);
        assert_eq!(running.request("one", &json!("count")), Ok(json!(1)), "{fail}: the next start goes on");
        verifies_and_replays(&running.export(&stage, "one"));
        running.shut_down();
        audit(&stage);
    }
}

#[test]
fn a_replay_whose_worker_panics_ends_and_says_which_actor_it_was() {
    let stage = Stage::new();
    let manifests = ["one", "two", "three"].map(|name| stage.manifest(name, "probe", ""));
    let manifests: Vec<_> = manifests.iter().map(PathBuf::as_path).collect();
    stage.run(&manifests).shut_down();
    for (fail, wrong) in [("replaying:2:panic", 1), ("replaying:1:panics", 3)] {
        let mut replay = std::process::Command::new(support::THEATER);
        replay.args(["replay", "--json", "--journal"]).arg(stage.data_dir()).env("THEATER_FAIL", fail);
        let mut replay = replay
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("it starts");
        let status = eventually("the replay ends", || replay.try_wait().expect("a child"));
        assert_eq!(status.code(), Some(1));
        let output = replay.wait_with_output().expect("it has ended");
        let (said, why) = (support::text(&output.stdout), support::text(&output.stderr));
        assert_eq!(said.matches("its replay panicked: asked for at replaying").count(), wrong, "{said}");
        assert!(why.contains(&format!("{wrong} of 3 actors do not replay")), "{why}");
    }
}

/// A parent with a child of each restart policy, in which a thread panics.
fn families(fail: &str, of_parent: &str) -> (Stage, Theater, Vec<String>) {
    let (stage, parent) = nursery(of_parent);
    let running = panicking(&stage, &[&parent], fail);
    let spawn = |name: &str| {
        let spawned = running.request("parent", &json!({ "op": "spawn", "manifest": format!("{name}.toml") }));
        spawned.expect("an answer")["ok"].as_str().expect("an id").to_owned()
    };
    let kids = vec![spawn("child"), spawn("sturdy")];
    (stage, running, kids)
}

#[test]
fn an_actor_whose_thread_panics_has_failed_and_leaves_no_living_child() {
    // The parent takes two messages, and the notices of two children that started.
    let (stage, running, kids) = families("taken:5:panic", "");
    running.request("parent", &json!("count")).expect_err("its thread panics");
    running.until("parent", "failed");
    for kid in &kids {
        running.until(kid, "stopped");
        eventually("its chain says so", || (running.last_event(kid)["data"]["by"] == "supervisor").then_some(()));
    }
    let view = running.json(&["status", "parent"]);
    assert_eq!(view["failure"], json!("panic: asked for at taken"));
    running.say(&["stop", "parent"]);
    let last = running.last_event("parent");
    assert_eq!((&last["event_type"], &last["data"]["reason"]), (&json!("failed"), &json!("panic")));
    running.say(&["restart", "parent"]);
    assert_eq!(running.request("parent", &json!("count")), Ok(json!(1)), "with the state it had");
    for actor in ["parent", &kids[0], &kids[1]] {
        verifies_and_replays(&running.export(&stage, actor));
    }
    running.shut_down();
    audit(&stage);
}

#[test]
fn an_actor_whose_thread_panics_is_restarted_by_its_policy_with_what_waits_in_its_mailbox() {
    let more = "restart = \"permanent\"\nrestart_backoff_ms = 1\nmax_restarts = 3\n[limits]\ncpu_ms_per_call = 60000\n";
    let stage = Stage::new();
    let manifest = stage.http_manifest("probe", "probe", more);
    let running = panicking(&stage, &[&manifest], "taken:2:panic");
    let id = running.id("probe");
    let mut clients: Vec<_> = (0..3).map(|_| Management::connect(running.management())).collect();
    clients[0].send_request(&id, &json!({ "op": "work", "rounds": 300_000_000 }));
    eventually("it is at work", || running.event_types("probe").last()?.starts_with("call ").then_some(()));
    clients[1].send_request(&id, &json!("count"));
    eventually("it waits", || (running.json(&["status", "probe"])["mailbox_depth"] == 1).then_some(()));
    clients[2].send_request(&id, &json!("count"));
    clients[0].receive_reply().expect("it was done");
    let counts: Vec<_> = clients[1..].iter_mut().map(Management::receive_reply).collect();
    assert!(counts.contains(&Ok(json!(1))) && counts.iter().any(Result::is_err), "{counts:?}");
    assert_eq!(Http::connect(running.http("probe")).op(&json!("count")).json(), json!(2), "the same listener");
    let view = running.json(&["status", "probe"]);
    assert_eq!(
        (&view["status"], &view["incarnation"], &view["restarts"]["used"]),
        (&json!("running"), &json!(2), &json!(1))
    );
    verifies_and_replays(&running.export(&stage, "probe"));
    running.shut_down();
    audit(&stage);
}

#[test]
fn an_actor_whose_thread_panics_while_it_restarts_is_tried_again_and_runs() {
    let more = "restart = \"permanent\"\nrestart_backoff_ms = 1\nmax_restarts = 3\n";
    for restart_state in ["last", "initial"] {
        let stage = Stage::new();
        let manifest = stage.manifest("probe", "probe", &format!("{more}restart_state = {restart_state:?}\n"));
        let running = panicking(&stage, &[&manifest], "beginning:2:panic");
        running.request("probe", &json!("trap")).expect_err("it traps");
        // A message that waits at the next failure is dropped before a restart from `initial`.
        let counted = eventually("it is up again", || running.request("probe", &json!("count")).ok());
        assert_eq!(counted, json!(1));
        let view = running.json(&["status", "probe"]);
        assert_eq!((&view["status"], &view["restarts"]["used"]), (&json!("running"), &json!(2)), "{restart_state}");
        let numbers: Vec<_> =
            data_of(&running.events("probe"), "started").iter().map(|it| it["incarnation"].clone()).collect();
        assert_eq!(numbers, [1, 2], "no number is used up");
        verifies_and_replays(&running.export(&stage, "probe"));
    }
}

#[test]
fn an_actor_whose_thread_dies_again_and_again_uses_up_its_restarts_and_is_given_up() {
    // The parent and two children begin. Each later beginning panics, also on a new thread.
    let (stage, running, kids) = families("beginning:4:panics", "max_restarts = 4\nwithin_ms = 60000\n");
    running.request(&kids[1], &json!("trap")).expect_err("it traps");
    running.until("parent", "failed");
    let log = stage.log();
    assert!(log.contains("panicked again, and ends"), "{log}");
    let sturdy = running.json(&["status", &kids[1]]);
    let limit = "more than max_restarts = 4 within within_ms = 60000";
    assert_eq!((&sturdy["status"], &sturdy["given_up"]), (&json!("failed"), &json!(format!("{limit} of its parent"))));
    assert_eq!(running.json(&["status", "parent"])["failure"], json!(format!("restarts: {limit}")));
    running.until(&kids[0], "stopped");
    for actor in ["parent", &kids[0], &kids[1]] {
        running.say(&["stop", actor]);
        verifies_and_replays(&running.export(&stage, actor));
    }
    let why = running.refused(&["forget", "parent"]);
    assert!(why.contains("actor sturdy (") && why.contains("its end could not be recorded"), "{why}");
    running.shut_down();
    audit(&stage);
    let running = stage.run(&[]);
    running.until(&kids[1], "stopped");
    running.say(&["forget", "parent"]);
    running.shut_down();
    audit(&stage);
}

#[test]
fn an_actor_that_failed_while_it_was_brought_back_can_be_forgotten() {
    let stage = Stage::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("an address");
    drop(port);
    let handler = format!("[[handlers]]\ntype = \"http-server\"\nconfig = {{ port = {} }}\n", address.port());
    stage.run(&[&stage.manifest("probe", "probe", &handler)]).shut_down();
    let taken = std::net::TcpListener::bind(address).expect("nobody else has taken it");
    let running = stage.run(&[]);
    running.until("probe", "failed");
    running.say(&["forget", "probe"]);
    running.shut_down();
    audit(&stage);
    drop(taken);
    assert_eq!(stage.run(&[]).json(&["list"]), json!([]));
}

/// The timers that have called the alarm, each as its key and its round.
fn timer_calls(running: &Theater) -> Vec<(String, u64)> {
    let events = running.events("alarm");
    let calls = data_of(&events, "call ntwk:theater/timer-handlers.handle-timer").into_iter();
    let key = |data: &Value| data["params"][0].as_str().expect("a key").to_owned();
    calls.map(|data| (key(data), data["round"].as_u64().expect("a round"))).collect()
}

#[test]
fn a_timer_calls_once_although_the_actors_thread_panics_before_the_call() {
    let stage = Stage::new();
    let grant = "restart = \"permanent\"\n[[handlers]]\ntype = \"timer\"\n";
    let manifest = stage.manifest("alarm", "alarm", grant);
    let launch = stage.command(&[&manifest], &[]).arg("--data-dir").arg(stage.data_dir());
    let running = launch.env("THEATER_FAIL", "timer-taken:1:panic").launch(&stage).expect("it starts");
    let set = json!({ "op": "set", "key": "a", "after": 1, "msg": "count" });
    running.request("alarm", &set).expect("an answer");
    settled(&running, "alarm", 1);
    assert!(running.event_types("alarm").contains(&"failed".to_owned()));
    assert_eq!(timer_calls(&running), [("a".to_owned(), 1)]);
    let chain = running.export(&stage, "alarm");
    running.shut_down();
    verifies_and_replays(&chain);
    audit(&stage);
}

#[test]
fn a_timer_calls_once_wherever_the_process_is_killed_while_it_calls() {
    let points = ["timer-taken", "timer-called", "timer-committed", "closed", "closed-committed"];
    for point in points {
        let stage = Stage::new();
        let grant = "[[handlers]]\ntype = \"timer\"\n";
        let manifest = stage.manifest("alarm", "alarm", grant);
        let running = stage.run(&[&manifest]);
        let set = |key: &str, at: u64| json!({ "op": "set-at", "key": key, "at": at, "msg": "count" });
        let soon = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
        let soon = u64::try_from(soon).expect("not that late") + 400;
        let ops =
            [set("b", soon + 1), set("a", soon), json!({ "op": "every", "key": "tick", "ms": 400, "msg": "count" })];
        running.request("alarm", &json!({ "op": "many", "ops": ops })).expect("an answer");
        running.kill();
        let launch = stage.command(&[&manifest], &[]).arg("--data-dir").arg(stage.data_dir());
        // It may be killed before it is ready.
        if let Ok(mut running) = launch.env("THEATER_FAIL", format!("{point}:2")).launch(&stage) {
            running.wait();
        }
        let running = stage.run(&[&manifest]);
        eventually("all of them have called", || {
            let calls = timer_calls(&running);
            (calls.len() >= 5 && count(&running, "alarm") >= 5).then_some(())
        });
        running.request("alarm", &json!({ "op": "cancel", "key": "tick" })).expect("an answer");
        let calls = timer_calls(&running);
        let once = |key: &str| calls.iter().filter(|(other, _)| other == key).count() == 1;
        assert!(once("a") && once("b"), "{point}: {calls:?}");
        let ticks: Vec<u64> = calls.iter().filter(|(key, _)| key == "tick").map(|(_, round)| *round).collect();
        assert_eq!(ticks, (1..=ticks.len() as u64).collect::<Vec<_>>(), "{point}");
        assert_eq!(count(&running, "alarm"), calls.len() as u64, "{point}: each call was carried out once");
        let chain = running.export(&stage, "alarm");
        running.shut_down();
        verifies_and_replays(&chain);
        audit(&stage);
    }
}

/// The ends that the sentry was told of, each as its reference, by its calls.
fn down_calls(running: &Theater) -> Vec<u64> {
    let events = running.events("sentry");
    let calls = data_of(&events, "call ntwk:theater/monitor-handlers.handle-down").into_iter();
    calls.map(|data| data["params"][0]["reference"].as_u64().expect("a reference")).collect()
}

const MONITOR: &str = "[[handlers]]\ntype = \"monitor\"\n[[handlers]]\ntype = \"supervisor\"\n";

/// A sentry that counts the ends it is told of, and a probe called `watched`.
fn sentry_and_watched(of_watched: &str) -> (Stage, [PathBuf; 2]) {
    let stage = Stage::new();
    let state = stage.file("state.json", json!({ "on_down": "count" }).to_string());
    let sentry =
        stage.manifest("sentry", "sentry", &format!("restart = \"permanent\"\ninit_state = {state:?}\n{MONITOR}"));
    let watched = stage.manifest("watched", "probe", of_watched);
    (stage, [sentry, watched])
}

/// Starts the runtime; it will be killed at `point`, perhaps before it is ready.
fn launch_until(stage: &Stage, manifests: &[PathBuf], point: &str) -> Option<Theater> {
    let paths: Vec<_> = manifests.iter().map(PathBuf::as_path).collect();
    let launch = stage.command(&paths, &[]).arg("--data-dir").arg(stage.data_dir());
    launch.env("THEATER_FAIL", point).launch(stage).ok()
}

#[test]
fn an_end_is_told_of_once_wherever_the_process_is_killed_while_the_actor_ends_or_the_other_is_told() {
    let points = ["end-recorded:1", "end-committed:1", "down-taken:1", "down-called:1", "down-committed:1"];
    let later = ["down-called:2", "down-committed:2"];
    for (point, fails) in points.into_iter().chain(later).flat_map(|point| [(point, false), (point, true)]) {
        let (stage, manifests) = sentry_and_watched("restart = \"temporary\"\n");
        let mut running = launch_until(&stage, &manifests, point).expect("it starts");
        let watch = json!({ "op": "monitor-many", "actor": "watched", "n": 2 });
        running.request("sentry", &watch).expect("an answer");
        let mut management = Management::connect(running.management());
        let id = running.id("watched");
        if fails {
            management.send_request(&id, &json!("trap"));
        } else {
            management.send(&json!({ "StopActor": { "id": id } }));
        }
        running.wait();
        // The sentry alone, so that an actor that has ended stays so.
        let running = stage.run(&[&manifests[0]]);
        if running.status("watched") == "running" {
            // The end was not committed, and with it nothing that rests on it.
            assert!(down_calls(&running).is_empty(), "{point}");
            running.say(&["stop", "watched"]);
        }
        settled(&running, "sentry", 2);
        let calls = down_calls(&running);
        assert!(calls.len() == 2 && calls[0] < calls[1], "{point}: {calls:?}");
        let chain = running.export(&stage, "sentry");
        running.kill();
        verifies_and_replays(&chain);
        let running = stage.run(&[&manifests[0]]);
        running.request("sentry", &json!("get")).expect("an answer");
        assert_eq!(down_calls(&running), calls, "{point}: nothing is told of twice");
        running.shut_down();
        audit(&stage);
    }
}

#[test]
fn a_monitor_and_its_end_are_each_there_or_not_wherever_the_process_is_killed() {
    for point in ["monitor-recorded", "monitor-committed", "demonitor-recorded", "demonitor-committed"] {
        let (stage, manifests) = sentry_and_watched("");
        let mut running = launch_until(&stage, &manifests, &format!("{point}:1")).expect("it starts");
        // The call comes first, and then the monitor.
        let reference = running.last_event("sentry")["sequence"].as_u64().expect("a number") + 2;
        let ops =
            [json!({ "op": "monitor", "actor": "watched" }), json!({ "op": "demonitor", "reference": reference })];
        let ops = if point.starts_with("monitor") { &ops[..1] } else { &ops[..] };
        let mut management = Management::connect(running.management());
        management.send_request(&running.id("sentry"), &json!({ "op": "many", "ops": ops }));
        running.wait();
        let running = stage.run(&[&manifests[0], &manifests[1]]);
        running.request("sentry", &json!("get")).expect("its transition is over");
        let asked = running.event_types("sentry").iter().any(|it| it.ends_with("monitors.monitor"));
        assert!(asked || point.ends_with("recorded"), "{point}: what was committed is there");
        running.say(&["stop", "watched"]);
        let expected = usize::from(asked && point.starts_with("monitor"));
        settled(&running, "sentry", expected as u64);
        assert_eq!(down_calls(&running).len(), expected, "{point}");
        let chain = running.export(&stage, "sentry");
        running.shut_down();
        verifies_and_replays(&chain);
        audit(&stage);
    }
}

#[test]
fn an_end_is_told_of_once_although_the_thread_of_the_actor_panics_before_it_is_called() {
    let (stage, manifests) = sentry_and_watched("");
    let running = launch_until(&stage, &manifests, "down-taken:1:panic").expect("it starts");
    running.request("sentry", &json!({ "op": "monitor", "actor": "watched" })).expect("an answer");
    running.say(&["stop", "watched"]);
    settled(&running, "sentry", 1);
    assert!(running.event_types("sentry").contains(&"failed".to_owned()));
    assert_eq!(down_calls(&running).len(), 1);
    running.shut_down();
    audit(&stage);
}

#[test]
fn an_actor_that_a_start_ends_because_its_parent_has_ended_is_told_of() {
    let (stage, manifests) = sentry_and_watched("");
    stage.copy_component("probe", "probe");
    stage.manifest_at("child", "probe.wasm".as_ref(), "");
    let nursery =
        stage.manifest("nursery", "nursery", "restart = \"temporary\"\n[[handlers]]\ntype = \"supervisor\"\n");
    let manifests = [manifests[0].clone(), nursery];
    let running = launch_until(&stage, &manifests, "end-committed:1").expect("it starts");
    let child = running.request("nursery", &json!({ "op": "spawn", "manifest": "child.toml" })).expect("an answer");
    let child = child["ok"].as_str().expect("an id").to_owned();
    running.request("sentry", &json!({ "op": "monitor", "actor": child })).expect("an answer");
    tell_and_be_killed(running, "nursery", &json!("trap"));
    let running = stage.run(&[&manifests[0]]);
    settled(&running, "sentry", 1);
    assert_eq!(running.status(&child), "stopped");
    running.shut_down();
    audit(&stage);
}

#[test]
fn a_start_that_ends_a_child_with_its_parent_names_the_messages_that_it_had_sent_to_itself() {
    let stage = Stage::new();
    stage.copy_component("probe", "probe");
    stage.manifest_at("child", "probe.wasm".as_ref(), "");
    let manifest = stage.manifest("nursery", "nursery", &format!("restart = \"temporary\"\n{SUPERVISOR}"));
    let running = launch_until(&stage, std::slice::from_ref(&manifest), "end-committed:1").expect("it starts");
    let child = running.request("nursery", &json!({ "op": "spawn", "manifest": "child.toml" })).expect("an answer");
    let child = child["ok"].as_str().expect("an id").to_owned();
    // The child is busy with the first of them when its parent ends.
    let send = |message: &str| json!({ "op": "send", "to": child, "msg": message });
    running
        .request(&child, &json!({ "op": "many", "ops": [send("spin"), send("count"), send("count")] }))
        .expect("sent");
    eventually("it is at work", || {
        running.last_event(&child)["event_type"].as_str()?.strip_prefix("call ntwk:theater/message").map(drop)
    });
    tell_and_be_killed(running, "nursery", &json!("trap"));
    let running = stage.run(&[]);
    let end = running.last_event(&child);
    assert_eq!(end["event_type"], "stopped");
    assert_eq!(end["data"]["dropped"].as_array().map(Vec::len), Some(2), "{end}");
    running.shut_down();
    assert_eq!(audit(&stage)["in_flight"], 0);
}

const REPLIES: &str = "[[handlers]]\ntype = \"supervisor\"\n";

/// An actor that asks, and counts the answers that it is told of; and another one that is asked.
fn asker_and_other() -> (Stage, [PathBuf; 2]) {
    let stage = Stage::new();
    let state = stage.file("state.json", json!({ "on_reply": "count" }).to_string());
    let asker =
        stage.manifest("asker", "gatherer", &format!("restart = \"permanent\"\ninit_state = {state:?}\n{REPLIES}"));
    let other = stage.manifest("other", "gatherer", &format!("restart = \"permanent\"\n{REPLIES}"));
    (stage, [asker, other])
}

fn both(manifests: &[PathBuf; 2]) -> [&std::path::Path; 2] {
    [&manifests[0], &manifests[1]]
}

/// The answers that the asker was told of, each as its token and the answer, by its calls.
fn reply_calls(running: &Theater) -> Vec<(u64, Value)> {
    let events = running.events("asker");
    let calls = data_of(&events, "call ntwk:theater/reply-handlers.handle-reply").into_iter();
    calls.map(|data| (data["params"][0].as_u64().expect("a token"), data["params"][1].clone())).collect()
}

#[test]
fn an_answer_is_told_of_once_and_the_message_taken_once_wherever_the_process_is_killed() {
    let of_asker = ["async-recorded:1", "async-committed:1", "async-recorded:2", "async-committed:2"];
    let of_other = ["taken:2", "closed:2", "closed-committed:2", "closed:3", "closed-committed:3", "answered:3"];
    let of_told = ["reply-taken:1", "reply-called:1", "reply-committed:1", "reply-called:2", "reply-committed:2"];
    for point in of_asker.into_iter().chain(of_other).chain(of_told) {
        let (stage, manifests) = asker_and_other();
        let mut running = launch_until(&stage, &manifests, point).expect("it starts");
        let mut management = Management::connect(running.management());
        let ask = |n: u64| json!({ "op": "ask", "to": "other", "msg": { "op": "many", "ops": ["count", { "op": "echo", "value": n }] } });
        let asker = running.id("asker");
        management.send_request(&asker, &json!({ "op": "many", "ops": [ask(1), ask(2)] }));
        running.wait();
        let running = stage.run(&both(&manifests));
        let was_asked = || running.event_types("asker").iter().filter(|it| it.ends_with(".request-async")).count();
        // If the call of the asker was not committed, nothing was asked.
        running.request("asker", &json!("get")).expect("its transition is over");
        let asked = was_asked() as u64;
        assert!(asked == 2 || asked == 0, "{point}: {asked}");
        settled(&running, "asker", asked);
        let calls = reply_calls(&running);
        assert_eq!(calls.len() as u64, asked, "{point}: {calls:?}");
        for (at, (_, answer)) in calls.iter().enumerate() {
            let n = at as u64 + 1;
            assert_eq!(*answer, json!({ "ok": [n, n] }), "{point}: each was taken once, in order");
        }
        let chains = ["asker", "other"].map(|actor| running.export(&stage, actor));
        running.kill();
        chains.iter().for_each(|chain| _ = verifies_and_replays(chain));
        let running = stage.run(&both(&manifests));
        running.request("asker", &json!("get")).expect("an answer");
        assert_eq!(reply_calls(&running), calls, "{point}: nothing is told of twice");
        running.shut_down();
        audit(&stage);
    }
}

#[test]
fn an_answer_that_was_put_off_is_given_once_wherever_the_process_is_killed() {
    let points =
        ["defer-recorded", "defer-committed", "deferred", "deferred-committed", "reply-given", "reply-given-committed"];
    for (point, is_async) in points.into_iter().flat_map(|point| [(point, false), (point, true)]) {
        let (stage, manifests) = asker_and_other();
        let mut running = launch_until(&stage, &manifests, &format!("{point}:1")).expect("it starts");
        let op = if is_async { "ask" } else { "request" };
        let mut management = Management::connect(running.management());
        management.send_request(&running.id("asker"), &json!({ "op": op, "to": "other", "msg": "defer" }));
        let put_off = |running: &Theater| {
            let events = running.events("other");
            let put_off = data_of(&events, "host-call ntwk:theater/deferred-replies.defer");
            put_off.first().and_then(|data| data["result"]["ok"].as_u64())
        };
        let answer = |token: u64| json!({ "op": "reply", "token": token, "value": "done" });
        if point.starts_with("reply") {
            let token = eventually("it is put off", || put_off(&running));
            let mut other = Management::connect(running.management());
            other.send_request(&running.id("other"), &answer(token));
            running.wait();
        } else {
            running.wait();
        }
        let running = stage.run(&both(&manifests));
        let was_asked = || {
            let types = running.event_types("asker");
            types.iter().any(|it| it.ends_with(".request-async") || it.starts_with("intent "))
        };
        if !was_asked() {
            // The kill came before the first commit: nobody has asked.
            assert!(point.ends_with("recorded") || point == "deferred", "{point}");
            running.shut_down();
            audit(&stage);
            continue;
        }
        let token = eventually("it is put off", || put_off(&running));
        let gave = || {
            let events = running.events("other");
            data_of(&events, "host-call ntwk:theater/deferred-replies.reply").len()
        };
        running.request("other", &json!("count")).expect("its transition is over");
        if gave() == 0 {
            assert_eq!(running.request("other", &answer(token)), Ok(json!({ "ok": null })), "{point}");
        }
        let got = eventually("the asker has the answer", || {
            let events = running.events("asker");
            let got = data_of(&events, "host-call ntwk:theater/message-server-host.request");
            let got: Vec<_> = got.into_iter().map(|data| data["result"].clone()).collect();
            let told = reply_calls(&running).into_iter().map(|(_, answer)| answer);
            Some(got.into_iter().chain(told).collect::<Vec<_>>()).filter(|all| !all.is_empty())
        });
        assert_eq!(got, [json!({ "ok": "done" })], "{point}");
        let again = running.request("other", &answer(token)).expect("an answer");
        assert_eq!(again["err"], json!(format!("the answer with the token {token} was given already")), "{point}");
        let chains = ["asker", "other"].map(|actor| running.export(&stage, actor));
        running.shut_down();
        chains.iter().for_each(|chain| _ = verifies_and_replays(chain));
        audit(&stage);
    }
}

#[test]
fn an_answer_is_told_of_once_although_the_thread_of_the_actor_panics_before_it_is_called() {
    let (stage, manifests) = asker_and_other();
    let running = launch_until(&stage, &manifests, "reply-taken:1:panic").expect("it starts");
    running.request("asker", &json!({ "op": "ask", "to": "other", "msg": "count" })).expect("an answer");
    settled(&running, "asker", 1);
    assert!(running.event_types("asker").contains(&"failed".to_owned()));
    assert_eq!(reply_calls(&running).len(), 1);
    running.shut_down();
    audit(&stage);
}

const LOUNGE: &str = "[[handlers]]\ntype = \"http-server\"\nconfig = { port = 0 }\n[[handlers]]\ntype = \
                      \"websocket-server\"\nconfig = { port = 0 }\n";

/// The ids in the calls of a lounge that tell of the ends of connections, and of streams.
fn ends_told(running: &Theater) -> (Vec<u64>, Vec<u64>) {
    let events = running.events("lounge");
    let id = |call: &&Value| call["params"][0].as_u64().expect("an id");
    let messages = data_of(&events, "call ntwk:theater/connection-handlers.handle-connection-message");
    let closes = messages.iter().filter(|call| call["params"][1]["ty"] == "close").map(id).collect();
    let closed = data_of(&events, "call ntwk:theater/stream-handlers.handle-stream-closed").iter().map(id).collect();
    (closes, closed)
}

/// The ids that a chain has promised the lounge to tell of: connections whose `connect` was answered, and streams that have a
/// head and were not ended by the lounge.
fn ends_promised(running: &Theater) -> (Vec<u64>, Vec<u64>) {
    let (mut connections, mut streams, mut open) = (Vec::new(), Vec::new(), None);
    for event in running.events("lounge") {
        let (ty, data) = (event["event_type"].as_str().expect("a type"), &event["data"]);
        let is_connect = data["params"][1]["ty"] == "connect";
        let Some((kind, function)) = ty.split_once(' ') else { continue };
        match (kind, function) {
            ("call", function) if function.ends_with("handle-connection-message") && is_connect => {
                open = data["params"][0].as_u64();
            }
            ("call", function) if function.ends_with("stream-handlers.handle-request") => {
                open = data["params"][0].as_u64()
            }
            ("call", _) => open = None,
            ("return", function) if function.ends_with("handle-connection-message") => connections.extend(open.take()),
            ("return", _) if data["result"].get("stream").is_some() => streams.extend(open.take()),
            ("host-call", function) if function.ends_with("streams.end") && data["result"] == true => {
                streams.retain(|id| Some(*id) != data["params"][0].as_u64());
            }
            _ => {}
        }
    }
    (connections, streams)
}

#[test]
fn the_end_of_each_client_is_told_of_once_wherever_the_process_is_killed() {
    let points = [
        "client-promised",
        "client-promised-committed",
        "closed",
        "closed-committed",
        "answered",
        "push-recorded",
        "push-committed",
        "chunk-recorded",
        "chunk-committed",
        "end-of-stream-recorded",
        "end-of-stream-committed",
        "taken",
    ];
    for point in points {
        for nth in [1, 2] {
            let stage = Stage::new();
            let manifest = stage.manifest("lounge", "lounge", LOUNGE);
            stage.run(&[&manifest]).shut_down();
            let mut running = until(&stage, &manifest, point, nth);
            let (ws, http) = (running.websocket("lounge"), running.http("lounge"));
            // Each of these may be cut off by the kill.
            let using = std::thread::spawn(move || {
                let mut clients = Vec::new();
                for _ in 0..2 {
                    let Ok(stream) = std::net::TcpStream::connect(ws) else { return clients };
                    let Ok((mut client, _)) = tungstenite::client(format!("ws://{ws}/"), stream) else {
                        return clients;
                    };
                    let _ = client.read();
                    let _ = client.send(tungstenite::Message::text("hello"));
                    let _ = client.read();
                    clients.push(client);
                }
                for _ in 0..2 {
                    let Ok(mut reader) = std::net::TcpStream::connect(http).map(Http::of) else { return clients };
                    if reader.try_send("GET", "/raw").is_err() {
                        return clients;
                    }
                    let Some(answer) = reader.receive_head_if_any() else { return clients };
                    let id = answer.lines().find_map(|line| line.strip_prefix("x-stream: ")?.parse::<u64>().ok());
                    let Ok(mut asker) = std::net::TcpStream::connect(http).map(Http::of) else { return clients };
                    for command in [json!({ "chunk": [id, "x"] }), json!({ "end": id })] {
                        if asker.try_op(&command).is_none() {
                            return clients;
                        }
                    }
                }
                clients
            });
            running.wait();
            drop(using.join().expect("no panic"));
            let running = stage.run(&[&manifest]);
            let promised = eventually("all ends were told of", || {
                let (promised, mut told) = (ends_promised(&running), ends_told(&running));
                (told.0.sort_unstable(), told.1.sort_unstable());
                (told == promised).then_some(promised)
            });
            let left = running.request("lounge", &json!("state")).expect("its state");
            assert!(left["present"].as_object().is_some_and(serde_json::Map::is_empty), "{point}: {left}");
            assert!(promised.0.len() + promised.1.len() <= 4, "{point}");
            let chain = running.export(&stage, "lounge");
            running.shut_down();
            verifies_and_replays(&chain);
            audit(&stage);
        }
    }
}

const TABLE: &str = "[[handlers]]\ntype = \"table\"\n";

/// Starts the runtime with an actor that keeps rows; it will be killed when it reaches `point` for the nth time.
fn scribe_until(stage: &Stage, manifest: &std::path::Path, point: &str, nth: u32) -> Theater {
    let launch = stage.command(&[manifest], &[]).arg("--data-dir").arg(stage.data_dir());
    launch.env("THEATER_FAIL", format!("{point}:{nth}")).launch(stage).expect("it starts")
}

fn rows_of(running: &Theater, actor: &str) -> Value {
    let scan = json!({ "op": "scan", "prefix": "", "limit": 100, "cursor": null });
    running.request(actor, &scan).expect("an answer")["ok"][0].clone()
}

fn without_the_index(stage: &Stage) {
    for file in ["index.db", "index.db-wal", "index.db-shm"] {
        // Not all of them are always there.
        let _ = std::fs::remove_file(stage.data_dir().join(file));
    }
}

#[test]
fn the_rows_of_a_call_are_written_once_wherever_the_process_is_killed_while_it_writes() {
    let moments = [
        ("row-recorded", 1),
        ("row-committed", 1),
        ("row-recorded", 2),
        ("row-committed", 3),
        ("closed", 1),
        ("closed-committed", 1),
    ];
    for (number, (point, nth)) in moments.into_iter().enumerate() {
        for reuse in ["", "reuse = 9\n"] {
            let stage = Stage::new();
            let manifest = stage.manifest("scribe", "scribe", &format!("{reuse}{TABLE}"));
            let running = stage.run(&[&manifest]);
            let put = |key: &str, value: &str| json!({ "op": "put", "key": key, "value": value });
            let before = json!({ "op": "many", "ops": [put("a", "1"), put("b", "2")] });
            running.request("scribe", &before).expect("an answer");
            running.kill();
            let running = scribe_until(&stage, &manifest, point, nth);
            let read = json!({ "op": "row-of", "key": "a" });
            let delete = json!({ "op": "delete", "key": "b" });
            let ops = [put("a", "3"), read.clone(), delete, put("c", "4"), json!("count-rows"), json!("count")];
            tell_and_be_killed(running, "scribe", &json!({ "op": "many", "ops": ops }));
            if number % 2 == 1 {
                without_the_index(&stage);
            }
            let running = stage.run(&[&manifest]);
            let begun =
                running.event_types("scribe").iter().filter(|it| it.starts_with("call ntwk:theater/message")).count();
            if begun > 1 {
                settled(&running, "scribe", 1);
                assert_eq!(rows_of(&running, "scribe"), json!([["a", "3"], ["c", "4"]]), "{point}:{nth}");
            } else {
                assert_eq!(rows_of(&running, "scribe"), json!([["a", "1"], ["b", "2"]]), "{point}:{nth}");
            }
            assert_eq!(data_of(&running.events("scribe"), "failed").len(), 0, "{point}:{nth}");
            verifies_and_replays(&running.export(&stage, "scribe"));
            running.shut_down();
            audit(&stage);
        }
    }
}

#[test]
fn rows_are_all_there_wherever_the_process_is_killed_while_their_events_are_pruned_or_redacted() {
    for point in ["rows-carried", "rows-carried-committed", "sealed", "marked"] {
        for is_prune in [true, false] {
            let stage = Stage::new();
            let manifest = stage.manifest("scribe", "scribe", TABLE);
            let running = stage.run(&[&manifest]);
            let put = |key: &str| json!({ "op": "put", "key": key, "value": "x" });
            let delete = json!({ "op": "delete", "key": "b" });
            running
                .request("scribe", &json!({ "op": "many", "ops": [put("a"), put("b"), put("c")] }))
                .expect("an answer");
            running.request("scribe", &delete).expect("an answer");
            running.say(&["restart", "scribe"]);
            running.request("scribe", &put("d")).expect("an answer");
            let events = running.events("scribe");
            let head = events.len().to_string();
            let written = events.iter().find(|it| it["event_type"] == "host-call ntwk:theater/table.delete");
            let written = written.expect("a delete")["sequence"].to_string();
            running.shut_down();
            let running = scribe_until(&stage, &manifest, point, if point == "marked" { 2 } else { 1 });
            let args = if is_prune {
                ["prune", "scribe", "--before", &head]
            } else {
                ["redact", "scribe", "--event", &written]
            };
            running.cli(&args);
            running.kill();
            without_the_index(&stage);
            let running = stage.run(&[&manifest]);
            let rows = json!([["a", "x"], ["c", "x"], ["d", "x"]]);
            assert_eq!(rows_of(&running, "scribe"), rows, "{point}");
            running.say(&args);
            assert_eq!(rows_of(&running, "scribe"), rows, "{point}");
            verifies_and_replays(&running.export(&stage, "scribe"));
            running.shut_down();
            audit(&stage);
        }
    }
}

#[test]
fn a_fork_has_all_rows_or_does_not_exist_wherever_the_process_is_killed_while_they_are_copied() {
    for point in ["rows-copied", "rows-copied-committed", "beginning", "beginning-committed"] {
        let stage = Stage::new();
        let manifest = stage.manifest("scribe", "scribe", TABLE);
        let running = stage.run(&[&manifest]);
        let many = json!({ "op": "put-many", "prefix": "r", "from": 0, "upto": 20, "n": 3 });
        running.request("scribe", &many).expect("an answer");
        let rows = rows_of(&running, "scribe");
        let head = running.last_event("scribe")["sequence"].to_string();
        running.shut_down();
        let nth = if point.starts_with("beginning") { 2 } else { 1 };
        let mut running = scribe_until(&stage, &manifest, point, nth);
        running.cli(&["fork", "scribe", "--at", &head, "--name", "other"]);
        running.wait();
        let running = stage.run(&[&manifest]);
        let known = running.json(&["list"]).to_string().contains("\"other\"");
        if known {
            assert_eq!(rows_of(&running, "other"), rows, "{point}");
        }
        // Whoever begins now is not taken for the one that never did.
        running.say(&["fork", "scribe", "--at", &head, "--name", "third"]);
        let spawned = stage.manifest("empty", "scribe", TABLE);
        running.start(&spawned).expect("it starts");
        assert_eq!((rows_of(&running, "third"), rows_of(&running, "empty")), (rows.clone(), json!([])), "{point}");
        verifies_and_replays(&running.export(&stage, "third"));
        running.shut_down();
        audit(&stage);
    }
}

const SLEEPS_SOON: &str = "sleep_after_ms = 20\n";

fn until_asleep(running: &Theater, actor: &str) {
    eventually(&format!("{actor} sleeps"), || (running.json(&["status", actor])["asleep"] == true).then_some(()));
}

#[test]
fn a_message_to_an_actor_that_sleeps_is_taken_once_wherever_the_process_is_killed_while_it_wakes() {
    // The asker wakes for the command from outside, and the asked one for its message.
    for (point, nth) in [("falling-asleep", 3), ("waking", 2), ("taken", 2), ("closed-committed", 2)] {
        let pair = Pair::new(SLEEPS_SOON);
        let running = pair.until(point, nth);
        until_asleep(&running, "asked");
        until_asleep(&running, "asker");
        let send = json!({ "op": "send", "to": running.id("asked"), "msg": "count" });
        tell_and_be_killed(running, "asker", &send);
        let running = pair.again();
        let sent = data_of(&running.events("asker"), "host-call ntwk:theater/message-server-host.send").len() as u64;
        settled(&running, "asked", sent);
        // Until the asker's events are committed, the kill takes them too.
        assert!(sent == 1 || (sent == 0 && point != "closed-committed"), "{point}: {sent}");
        assert_eq!(running.request("asked", &json!("count")), Ok(json!(sent + 1)), "{point}");
        let chain = running.export(&pair.stage, "asked");
        running.shut_down();
        verifies_and_replays(&chain);
        assert_eq!(pair.audit()["in_flight"], 0, "{point}");
    }
}

#[test]
fn an_actor_that_gets_no_thread_to_wake_keeps_its_mail_and_is_woken_later() {
    let stage = Stage::new();
    let manifest = stage.manifest("probe", "probe", SLEEPS_SOON);
    let running = without_thread(&stage, &[&manifest], "a-probe:2-4").expect("it starts");
    until_asleep(&running, "probe");
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(1)));
    let log = stage.log();
    assert!(log.contains("is woken later: this machine has no thread left for it"), "{log}");
    let types = running.event_types("probe");
    assert!(!types.iter().any(|kind| kind == "failed"), "{types:?}");
    verifies_and_replays(&running.export(&stage, "probe"));
    running.shut_down();
    audit(&stage);
}

#[test]
fn an_actor_whose_thread_panics_while_it_falls_asleep_or_wakes_is_restarted_and_takes_its_mail() {
    for point in ["falling-asleep:1:panic", "waking:1:panic"] {
        let stage = Stage::new();
        let more = format!("{SLEEPS_SOON}restart = \"permanent\"\nrestart_backoff_ms = 1\n");
        let manifest = stage.manifest("probe", "probe", &more);
        let running = panicking(&stage, &[&manifest], point);
        until_asleep(&running, "probe");
        let counted = running.request("probe", &json!("count"));
        assert_eq!(counted, Ok(json!(1)), "{point}");
        assert_eq!(running.json(&["status", "probe"])["incarnation"], 2, "{point}");
        verifies_and_replays(&running.export(&stage, "probe"));
        running.shut_down();
        audit(&stage);
    }
}

const KEYED: &str = "[[handlers]]\ntype = \"http-server\"\nconfig = { port = 0, idempotency = true }\n";

/// The answer to a count with this key; none if the runtime ended meanwhile.
fn count_once(running: &Theater, key: &str) -> Option<support::HttpAnswer> {
    let mut client = Http::connect(running.http("asked"));
    let head = format!("POST /op HTTP/1.1\r\nHost: h\r\nIdempotency-Key: {key}\r\nContent-Length: 7\r\n\r\n\"count\"");
    client.send_raw(head.as_bytes()).ok()?;
    client.receive()
}

#[test]
fn a_request_with_a_key_is_made_once_wherever_the_process_is_killed() {
    let moments = ["taken:1", "closed:1", "closed-committed:1", "answered:1"].map(str::to_owned);
    let commits = (3..9).map(|nth| format!("marked:{nth}"));
    for moment in moments.into_iter().chain(commits) {
        let stage = Stage::new();
        let manifest = stage.manifest("asked", "probe", KEYED);
        let launch = stage.command(&[&manifest], &[]).arg("--data-dir").arg(stage.data_dir());
        // It may be killed before it is ready.
        if let Ok(mut running) = launch.env("THEATER_FAIL", &moment).launch(&stage) {
            let answered = count_once(&running, "k");
            if answered.is_none() {
                running.wait();
            }
        }
        let running = stage.run(&[&manifest]);
        let answer = eventually("an answer", || count_once(&running, "k").filter(|answer| answer.status != 409));
        assert_eq!((answer.status, answer.json(), count(&running, "asked")), (200, json!(1), 1), "{moment}");
        let again = count_once(&running, "k").expect("an answer");
        assert!(
            again.head.contains("Idempotency-Replayed: true") && again.body == answer.body,
            "{moment}: {}",
            again.head
        );
        verifies_and_replays(&running.export(&stage, "asked"));
        running.shut_down();
        audit(&stage);
        support::read_log_by_document(&stage.data_dir());
    }
}

#[test]
fn a_dead_letter_is_taken_once_wherever_the_process_is_killed_while_it_is_sent_again() {
    for point in ["taken", "closed", "closed-committed", "answered"] {
        let pair = Pair::new("[limits]\ncpu_ms_per_call = 60000\nstop_grace_ms = 0\n");
        let running = pair.again();
        let asked = running.id("asked");
        let mut outside = Management::connect(running.management());
        outside.send_request(&asked, &json!("spin"));
        eventually("it is busy", || running.event_types("asked").last()?.starts_with("call ").then_some(()));
        running.request("asker", &json!({ "op": "send", "to": asked, "msg": "count" })).expect("sent");
        running.say(&["stop", "asked"]);
        let letters = running.json(&["dead-letters"]);
        let letter = letters[0]["letter"].as_str().expect("a dead letter").to_owned();
        running.shut_down();

        let mut running = pair.until(point, 1);
        running.cli(&["dead-letters", "send", &letter, "--to", "asker"]);
        running.wait();
        let running = pair.again();
        ends_with_a_return(&running, "asker");
        let is_dead = !running.json(&["dead-letters"]).as_array().expect("a list").is_empty();
        assert_eq!(count(&running, "asker"), u64::from(!is_dead), "at {point}, it is dead or was taken");
        if is_dead {
            running.say(&["dead-letters", "send", &letter, "--to", "asker"]);
        }
        running.refused(&["dead-letters", "send", &letter, "--to", "asker"]);
        assert_eq!((count(&running, "asker"), running.json(&["dead-letters"])), (1, json!([])), "{point}");
        running.shut_down();
        pair.audit();
    }
}
