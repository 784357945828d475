//! Tests of the handler `monitor`: an actor is told once of the end for good of another, whatever ends or starts in between.

mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{Stage, Theater, data_of, eventually, theater, verifies_and_replays};

const GRANTS: &str = "[[handlers]]\ntype = \"monitor\"\n[[handlers]]\ntype = \"supervisor\"\n";
const CALL: &str = "call ntwk:theater/monitor-handlers.handle-down";
const ASKED: &str = "host-call ntwk:theater/monitors.monitor";

/// A runtime with a sentry, which monitors, and other actors.
struct Post {
    stage: Stage,
    sentry: PathBuf,
    running: Theater,
}

impl Post {
    /// With a probe called `watched`; `of_sentry` and `of_watched` stand in their manifests.
    fn with(of_sentry: &str, of_watched: &str) -> Self {
        let stage = Stage::new();
        for name in ["sentry", "probe"] {
            stage.copy_component(name, name);
        }
        let sentry = stage.manifest_at("sentry", "sentry.wasm".as_ref(), &format!("{of_sentry}\n{GRANTS}"));
        let watched = stage.manifest_at("watched", "probe.wasm".as_ref(), of_watched);
        let running = stage.run(&[&sentry, &watched]);
        Self { stage, sentry, running }
    }

    fn new() -> Self {
        Self::with("", "")
    }

    fn ask(&self, command: &Value) -> Value {
        self.running.request("sentry", command).unwrap_or_else(|why| panic!("{command}: {why}"))
    }

    /// The reference of a new monitor.
    fn monitor(&self, actor: &str) -> u64 {
        let answer = self.ask(&monitor(actor));
        answer["ok"].as_u64().unwrap_or_else(|| panic!("{actor}: {answer}"))
    }

    fn refused(&self, actor: &str) -> String {
        let answer = self.ask(&monitor(actor));
        answer["err"].as_str().unwrap_or_else(|| panic!("{actor}: {answer}")).to_owned()
    }

    fn stop(&self, actor: &str) {
        self.running.say(&["stop", actor]);
        self.running.until(actor, "stopped");
    }

    /// Has an actor trap, and waits until it has failed for good.
    fn fails(&self, actor: &str) {
        self.running.request(actor, &json!("trap")).expect_err("a trap");
        self.running.until(actor, "failed");
    }

    fn downs(&self) -> Vec<Value> {
        downs_of(&self.running, "sentry")
    }

    fn after_downs(&self, n: usize) -> Vec<Value> {
        eventually(&format!("{n} ends were told of"), || Some(self.downs()).filter(|downs| downs.len() >= n))
    }

    /// Kills the process, and starts it again with the manifest of the sentry alone: an actor that has ended stays so.
    fn killed(self) -> Self {
        let Self { stage, sentry, running } = self;
        running.kill();
        let running = stage.run(&[&sentry]);
        Self { stage, sentry, running }
    }

    /// Whether the sentry is told of nothing more: it answers, and each end that was to come has come.
    fn is_told_no_more_than(&self, n: usize) {
        self.ask(&json!("count"));
        self.ask(&json!("count"));
        assert_eq!(self.downs().len(), n, "{:?}", self.downs());
    }

    /// Whether the chain of the sentry verifies and replays, and the journal has no fault.
    fn ends_sound(self) {
        let chain = self.running.export(&self.stage, "sentry");
        self.running.shut_down();
        verifies_and_replays(&chain);
        audit(&self.stage);
    }
}

fn audit(stage: &Stage) {
    let output = theater(&["verify", "--journal", stage.data_dir().to_str().expect("a path"), "--json"], None);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success(), "{found}");
}

/// The ends that an actor was told of, each as `[reference, actor, why it failed or null]`.
fn downs_of(running: &Theater, actor: &str) -> Vec<Value> {
    running.json(&["state", actor])["state"]["downs"].as_array().cloned().unwrap_or_default()
}

fn monitor(actor: &str) -> Value {
    json!({ "op": "monitor", "actor": actor })
}

fn demonitor(reference: u64) -> Value {
    json!({ "op": "demonitor", "reference": reference })
}

fn many(ops: &[Value]) -> Value {
    json!({ "op": "many", "ops": ops })
}

#[test]
fn a_stop_is_told_of_once_with_the_reference_the_actor_and_the_event() {
    let post = Post::new();
    let id = post.running.id("watched");
    let reference = post.monitor("watched");
    post.stop("watched");
    assert_eq!(post.after_downs(1), [json!([reference, id, null])]);
    let events = post.running.events("sentry");
    let asked = events.iter().find(|event| event["event_type"] == ASKED).expect("it asked");
    assert_eq!((&asked["sequence"], &asked["data"]["result"]["ok"]), (&json!(reference), &json!(reference)));
    assert_eq!(asked["data"]["to"], json!(id), "which actor the path stood for");
    let call = data_of(&events, CALL)[0];
    let end = post.running.last_event("watched");
    assert_eq!((&call["of"], &call["caller"]), (&json!(reference), &json!("runtime")));
    assert_eq!((&call["cause"]["actor"], &call["cause"]["sequence"]), (&json!(id), &end["sequence"]));
    assert_eq!(end["event_type"], "stopped");
    post.running.say(&["restart", "watched"]);
    post.stop("watched");
    post.is_told_no_more_than(1);
    post.ends_sound();
}

#[test]
fn a_failure_without_a_restart_is_told_of_with_its_reason() {
    let post = Post::with("", "restart = \"temporary\"\n");
    let reference = post.monitor("watched");
    post.fails("watched");
    let downs = post.after_downs(1);
    let why = downs[0][2].as_str().expect("a reason");
    assert!(why.starts_with("trap: "), "{why}");
    assert_eq!(downs[0][0], json!(reference));
    post.is_told_no_more_than(1);
    post.ends_sound();
}

#[test]
fn a_restart_by_policy_or_by_hand_is_no_end_and_the_last_failure_is() {
    let policy = "restart = \"permanent\"\nmax_restarts = 2\nwithin_ms = 600000\nrestart_backoff_ms = 0\n";
    let post = Post::with("", policy);
    let reference = post.monitor("watched");
    for _ in 0..2 {
        post.running.request("watched", &json!("trap")).expect_err("a trap");
        post.running.until("watched", "running");
        post.running.request("watched", &json!("count")).expect("it is up");
    }
    post.running.say(&["restart", "watched"]);
    post.is_told_no_more_than(0);
    post.fails("watched");
    let downs = post.after_downs(1);
    assert_eq!(downs[0][0], json!(reference));
    assert!(downs[0][2].as_str().expect("a reason").starts_with("restarts: "), "{downs:?}");
    post.is_told_no_more_than(1);
    post.ends_sound();
}

#[test]
fn an_actor_that_has_ended_is_told_of_at_once_also_after_a_start_of_the_runtime() {
    let post = Post::with("", "restart = \"temporary\"\n");
    let id = post.running.id("watched");
    post.fails("watched");
    let first = post.monitor(&id);
    let second = post.monitor("watched");
    let downs = post.after_downs(2);
    assert_eq!((&downs[0][0], &downs[1][0]), (&json!(first), &json!(second)));
    let post = post.killed();
    let third = post.monitor("watched");
    let downs = post.after_downs(3);
    assert_eq!(downs[2], json!([third, id, downs[0][2]]), "the same reason");
    post.ends_sound();
}

#[test]
fn a_monitor_that_is_given_up_before_or_after_the_end_tells_of_nothing() {
    let post = Post::new();
    post.stage.manifest_at("child", "probe.wasm".as_ref(), "");
    let reference = post.monitor("watched");
    assert_eq!(post.ask(&demonitor(reference + 1)), false, "there is no such monitor");
    assert_eq!(post.ask(&demonitor(reference)), true);
    assert_eq!(post.ask(&demonitor(reference)), false);
    post.stop("watched");
    // The next events are the call, the monitor, and its end.
    let next = post.running.last_event("sentry")["sequence"].as_u64().expect("a number") + 2;
    assert_eq!(post.ask(&many(&[monitor("watched"), demonitor(next)])), json!([{ "ok": next }, true]));
    // The call, and the intent and the answer of the spawn, come first.
    let next = post.running.last_event("sentry")["sequence"].as_u64().expect("a number") + 4;
    let ops = [
        json!({ "op": "spawn-as", "manifest": "child.toml", "label": "c" }),
        monitor("sentry/c"),
        json!({ "op": "stop-child", "child": "sentry/c" }),
        demonitor(next),
    ];
    let answers = post.ask(&many(&ops));
    assert_eq!((&answers[1]["ok"], &answers[2], &answers[3]), (&json!(next), &json!({ "ok": null }), &json!(true)));
    let reference = post.monitor("watched");
    post.after_downs(1);
    assert_eq!(post.ask(&demonitor(reference)), false, "it was told already");
    post.is_told_no_more_than(1);
    let events = post.running.events("sentry");
    let given_up = data_of(&events, "host-call ntwk:theater/monitors.demonitor");
    assert_eq!(given_up[4]["of"], json!(next), "what it settles is named");
    post.ends_sound();
}

#[test]
fn a_parent_that_monitors_its_child_gets_the_notice_and_the_end_and_each_settles_its_own() {
    let post = Post::new();
    post.stage.manifest_at("child", "probe.wasm".as_ref(), "");
    let child = post.ask(&json!({ "op": "spawn-as", "manifest": "child.toml", "label": "c" }))["ok"].clone();
    let reference = post.monitor("sentry/c");
    assert_eq!(post.ask(&json!({ "op": "restart-child", "child": "sentry/c" })), json!({ "ok": null }));
    post.is_told_no_more_than(0);
    post.ask(&json!({ "op": "stop-child", "child": child }));
    assert_eq!(post.after_downs(1), [json!([reference, child, null])]);
    let kinds = || {
        let state = post.running.json(&["state", "sentry"])["state"].clone();
        state["notices"].as_array().expect("a list").iter().map(|it| it["kind"].clone()).collect::<Vec<_>>()
    };
    let expected = ["started", "stopped", "restarted", "stopped"];
    eventually("all notices have come", || (kinds() == expected).then_some(()));
    // Nothing is owed any more, so nothing comes after a kill.
    let post = post.killed();
    post.is_told_no_more_than(1);
    post.ends_sound();
}

#[test]
fn what_cannot_be_monitored_is_an_error_that_says_why() {
    let post = Post::with("[limits]\nmonitors = 3\n", "reachable = [\"children\"]\n");
    let id = post.running.id("sentry");
    assert_eq!(post.refused("sentry"), format!("actor {id} is this actor itself: an actor is not told of its own end"));
    assert_eq!(post.refused(&id), post.refused("sentry"));
    let why = post.refused("watched");
    assert!(why.contains("cannot be monitored by this actor: its manifest says reachable = "), "{why}");
    for (address, why) in [
        ("nobody", "no actor has the address \"nobody\""),
        ("", "not an address"),
        ("00000000-0000-0000-0000-000000000000", "no such actor"),
    ] {
        let said = post.refused(address);
        assert!(said.contains(why), "{address:?}: {said}");
    }
    let long = post.refused(&"x".repeat(100_000));
    assert!(long.len() < 10_000, "only the beginning is recorded");
    let other = post.stage.manifest("other", "probe", "");
    post.running.start(&other).expect("it starts");
    let references: Vec<u64> = (0..3).map(|_| post.monitor("other")).collect();
    let full = "3 monitors are open already: the limit monitors is 3; demonitor one, or raise the limit";
    assert_eq!(post.refused("other"), full);
    assert_eq!(post.ask(&demonitor(references[1])), true);
    post.monitor("other");
    assert_eq!(post.refused("other"), full);
    post.stop("other");
    post.after_downs(3);
    post.monitor("other");
    post.after_downs(4);
    post.ends_sound();
}

#[test]
fn monitors_outlive_restarts_that_keep_the_state_and_what_becomes_of_the_transition() {
    let post = Post::with("restart = \"permanent\"\nrestart_backoff_ms = 0\n", "");
    post.running
        .request("sentry", &many(&[monitor("watched"), json!({ "op": "refuse", "message": "no" })]))
        .expect_err("no");
    post.running.request("sentry", &many(&[monitor("watched"), json!("trap")])).expect_err("a trap");
    post.running.until("sentry", "running");
    post.running.say(&["restart", "sentry"]);
    let Post { stage, sentry, running } = post;
    running.shut_down();
    let post = Post { running: stage.run(&[&sentry]), stage, sentry };
    post.stop("watched");
    post.after_downs(2);
    post.is_told_no_more_than(2);
    post.ends_sound();
}

#[test]
fn a_restart_from_the_initial_state_ends_monitors_also_across_a_kill() {
    let post = Post::with("restart = \"permanent\"\nrestart_state = \"initial\"\nrestart_backoff_ms = 0\n", "");
    post.ask(&many(&[monitor("watched"), monitor("watched")]));
    post.running.request("sentry", &json!("trap")).expect_err("a trap");
    post.running.until("sentry", "running");
    let reference = post.monitor("watched");
    let post = post.killed();
    post.stop("watched");
    let downs = post.after_downs(1);
    assert_eq!(downs[0][0], json!(reference), "only what was asked for since");
    post.is_told_no_more_than(1);
    post.ends_sound();
}

#[test]
fn the_end_of_the_actor_that_monitors_ends_its_monitors() {
    let post = Post::new();
    post.monitor("watched");
    post.stop("sentry");
    post.running.say(&["restart", "sentry"]);
    post.stop("watched");
    post.is_told_no_more_than(0);
    let post = post.killed();
    post.is_told_no_more_than(0);
    post.ends_sound();
    let post = Post::with("restart = \"temporary\"\n", "");
    post.monitor("watched");
    post.fails("sentry");
    let post = post.killed();
    post.stop("watched");
    post.is_told_no_more_than(0);
    post.ends_sound();
}

#[test]
fn a_fork_takes_no_monitors() {
    let post = Post::new();
    post.monitor("watched");
    let at = post.running.last_event("sentry")["sequence"].to_string();
    post.running.say(&["fork", "sentry", "--at", &at, "--name", "twin"]);
    post.stop("watched");
    post.after_downs(1);
    post.running.request("twin", &json!("count")).expect("an answer");
    assert!(downs_of(&post.running, "twin").is_empty());
    post.ends_sound();
}

#[test]
fn without_the_grant_or_the_export_monitors_wait_also_for_what_is_forgotten_meanwhile() {
    let post = Post::new();
    let (reference, id) = (post.monitor("watched"), post.running.id("watched"));
    let Post { stage, sentry, running } = post;
    running.shut_down();
    // Another component and no grant.
    let without = stage.manifest("sentry", "probe", "");
    let running = stage.run(&[&without]);
    running.say(&["stop", "watched"]);
    running.say(&["forget", "watched"]);
    let said = "1 monitors of actor sentry are open, and it cannot be told of an end now";
    assert!(stage.log().contains(said), "{}", stage.log());
    running.request("sentry", &json!("count")).expect("an answer");
    running.shut_down();
    let with = stage.manifest_at("sentry", "sentry.wasm".as_ref(), GRANTS);
    let post = Post { running: stage.run(&[&with]), stage, sentry };
    assert_eq!(post.after_downs(1), [json!([reference, id, null])]);
    post.is_told_no_more_than(1);
    post.ends_sound();
}

#[test]
fn an_end_that_was_not_told_of_before_a_kill_is_told_of_although_the_actor_runs_again() {
    let again = |stage: &Stage, sentry: &Path| stage.run(&[sentry, &stage.path().join("watched.toml")]);
    let post = Post::new();
    let (first, id) = (post.monitor("watched"), post.running.id("watched"));
    let Post { stage, sentry, running } = post;
    running.shut_down();
    let running = stage.run(&[&stage.manifest("sentry", "probe", "")]);
    // It ends, runs again, and ends by policy in between: only the end for good counts.
    running.say(&["stop", "watched"]);
    let end = running.last_event("watched")["sequence"].clone();
    running.say(&["restart", "watched"]);
    running.say(&["restart", "watched"]);
    let started = running.events("watched");
    let ended: Vec<_> = data_of(&started, "started").iter().map(|data| data.get("ended").cloned()).collect();
    assert_eq!(ended[ended.len() - 2..], [Some(json!(true)), None], "by hand, and in passing: {ended:?}");
    running.kill();
    stage.manifest_at("sentry", "sentry.wasm".as_ref(), GRANTS);
    let post = Post { running: again(&stage, &sentry), stage, sentry };
    assert_eq!(post.after_downs(1), [json!([first, id, null])]);
    let call = data_of(&post.running.events("sentry"), CALL)[0].clone();
    assert_eq!(call["cause"]["sequence"], end);
    // What is asked for now is of the next end.
    let second = post.monitor("watched");
    post.is_told_no_more_than(1);
    let Post { stage, sentry, running } = post;
    running.kill();
    let post = Post { running: again(&stage, &sentry), stage, sentry };
    post.is_told_no_more_than(1);
    post.stop("watched");
    assert_eq!(post.after_downs(2)[1], json!([second, id, null]));
    post.ends_sound();
}

#[test]
fn many_watchers_are_each_told_once_and_the_ends_come_in_their_order() {
    let stage = Stage::new();
    let names: Vec<String> = (0..6).map(|n| format!("sentry{n}")).collect();
    let mut manifests: Vec<PathBuf> = names.iter().map(|name| stage.manifest(name, "sentry", GRANTS)).collect();
    manifests.extend(["first", "second"].map(|name| stage.manifest(name, "probe", "")));
    let running = stage.run(&manifests.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    let ids = ["first", "second"].map(|name| running.id(name));
    for name in &names {
        let watch = |actor: &str, n: u64| json!({ "op": "monitor-many", "actor": actor, "n": n });
        running.request(name, &many(&[watch("second", 20), watch("first", 30)])).expect("an answer");
    }
    running.say(&["stop", "first"]);
    running.say(&["stop", "second"]);
    for name in &names {
        let downs = eventually(&format!("{name} was told of all"), || {
            Some(downs_of(&running, name)).filter(|downs| downs.len() >= 50)
        });
        let of: Vec<&Value> = downs.iter().map(|down| &down[1]).collect();
        assert!(of[..30].iter().all(|id| **id == json!(ids[0])) && of[30..].iter().all(|id| **id == json!(ids[1])));
        let mut references: Vec<u64> = downs.iter().map(|down| down[0].as_u64().expect("a number")).collect();
        references.sort_unstable();
        references.dedup();
        assert_eq!(references.len(), 50, "{name} is told once for each monitor");
        verifies_and_replays(&running.export(&stage, name));
    }
    running.shut_down();
    audit(&stage);
}

#[test]
fn ends_and_mail_take_turns_so_that_an_actor_which_monitors_without_end_still_answers() {
    let post = Post::new();
    post.stop("watched");
    let state = post.stage.file("again.json", json!({ "on_down": monitor("THE-ACTOR") }).to_string());
    let manifest = post.stage.manifest("restless", "sentry", &format!("init_state = {state:?}\n{GRANTS}"));
    post.running.start(&manifest).expect("it starts");
    post.running.request("restless", &monitor("watched")).expect("an answer");
    for n in 1..=5 {
        assert_eq!(post.running.request("restless", &json!("count")), Ok(json!(n)));
    }
    let told = || downs_of(&post.running, "restless").len();
    let before = told();
    eventually("it is told again and again", || (told() > before + 5).then_some(()));
    post.running.say(&["stop", "restless"]);
    post.ends_sound();
}

#[test]
fn a_call_that_fails_or_is_refused_has_told_of_the_end_all_the_same() {
    for command in [json!("trap"), json!({ "op": "refuse", "message": "not now" })] {
        let stage = Stage::new();
        let state = stage.file("state.json", json!({ "on_down": command }).to_string());
        let keys = format!("restart = \"permanent\"\nrestart_backoff_ms = 0\ninit_state = {state:?}\n{GRANTS}");
        let sentry = stage.manifest("sentry", "sentry", &keys);
        let running = stage.run(&[&sentry, &stage.manifest("watched", "probe", "")]);
        let post = Post { stage, sentry, running };
        post.monitor("watched");
        post.stop("watched");
        let calls = |post: &Post| data_of(&post.running.events("sentry"), CALL).len();
        eventually("it was told", || (calls(&post) == 1).then_some(()));
        post.running.until("sentry", "running");
        let post = post.killed();
        post.running.until("sentry", "running");
        post.ask(&json!("count"));
        assert_eq!(calls(&post), 1, "and is not told again");
        post.ends_sound();
    }
}

#[test]
fn an_open_monitor_keeps_the_data_that_it_needs() {
    let post = Post::new();
    let reference = post.monitor("watched");
    post.running.say(&["restart", "sentry"]);
    post.ask(&json!("count"));
    post.running.say(&["prune", "sentry", "--before", "9999"]);
    let events = post.running.events("sentry");
    let asked = events.iter().find(|event| event["event_type"] == ASKED).expect("it asked");
    assert!(asked["data"].is_object(), "{asked}");
    let why = post.running.refused(&["redact", "sentry", "--event", &reference.to_string()]);
    assert!(why.contains("or by a monitor that is open"), "{why}");
    let post = post.killed();
    post.stop("watched");
    post.after_downs(1);
    post.running.say(&["redact", "sentry", "--event", &reference.to_string()]);
    post.running.shut_down();
    audit(&post.stage);
}

#[test]
fn the_reason_of_a_failure_that_was_redacted_before_it_was_told_of_is_said_to_be_gone() {
    let post = Post::with("", "restart = \"temporary\"\n");
    post.monitor("watched");
    let Post { stage, sentry, running } = post;
    running.shut_down();
    let running = stage.run(&[&stage.manifest("sentry", "probe", "")]);
    running.request("watched", &json!("trap")).expect_err("a trap");
    running.until("watched", "failed");
    let at = running.last_event("watched")["sequence"].to_string();
    running.say(&["redact", "watched", "--event", &at]);
    running.kill();
    stage.manifest_at("sentry", "sentry.wasm".as_ref(), GRANTS);
    let post = Post { running: stage.run(&[&sentry]), stage, sentry };
    assert_eq!(post.after_downs(1)[0][2], "the reason was dropped from its history");
    post.ends_sound();
}

#[test]
fn open_monitors_are_shown_by_sql_while_the_actor_runs_and_afterwards() {
    let post = Post::new();
    let (first, second, id) = (post.monitor("watched"), post.monitor("watched"), post.running.id("watched"));
    post.ask(&demonitor(first));
    let sql = || -> Value {
        let dir = post.stage.data_dir();
        let statement = "SELECT name, watched, watched_name, sequence FROM monitors";
        let output =
            theater(&["sql", "--data-dir", dir.to_str().expect("a path"), "--format", "json", statement], None);
        assert!(output.status.success(), "{}", support::text(&output.stderr));
        let lines = support::text(&output.stdout);
        lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).collect()
    };
    let row = json!({ "name": "sentry", "watched": id, "watched_name": "watched", "sequence": second });
    assert_eq!(sql(), json!([row]));
    post.stop("sentry");
    assert_eq!(sql(), json!([]));
}
