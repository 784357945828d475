//! Tests of requests that an actor does not wait for: it is told once of each answer, whatever ends or starts in between.

mod support;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::{Management, Stage, Theater, data_of, eventually, theater, verifies_and_replays};

const GRANTS: &str = "[[handlers]]\ntype = \"supervisor\"\n";
const CALL: &str = "call ntwk:theater/reply-handlers.handle-reply";
const ASKED: &str = "host-call ntwk:theater/async-requests.request-async";

/// A runtime with an actor that asks, and another that is asked.
struct Square {
    stage: Stage,
    manifests: [PathBuf; 2],
    running: Theater,
}

impl Square {
    /// `of_asker` and `of_other` stand in the manifests of the two.
    fn with(of_asker: &str, of_other: &str) -> Self {
        let stage = Stage::new();
        let asker = stage.manifest("asker", "gatherer", &format!("{of_asker}\n{GRANTS}"));
        let other = stage.manifest("other", "gatherer", &format!("{of_other}\n{GRANTS}"));
        let running = stage.run(&[&asker, &other]);
        Self { stage, manifests: [asker, other], running }
    }

    fn new() -> Self {
        Self::with("", "")
    }

    fn say(&self, actor: &str, command: &Value) -> Value {
        self.running.request(actor, command).unwrap_or_else(|why| panic!("{command}: {why}"))
    }

    fn ask(&self, message: &Value) -> u64 {
        token_of(&self.say("asker", &ask(message)))
    }

    /// Asks for something that the other one puts off, and returns the tokens of both.
    fn ask_put_off(&self) -> [u64; 2] {
        let token = self.ask(&json!("defer"));
        [token, eventually("it is put off", || put_off(&self.running, "other").pop())]
    }

    fn replies(&self) -> Vec<Value> {
        replies_of(&self.running, "asker")
    }

    fn after_replies(&self, n: usize) -> Vec<Value> {
        eventually(&format!("{n} answers were told of"), || Some(self.replies()).filter(|told| told.len() >= n))
    }

    /// Whether the asker is told of nothing more: it answers, and each answer that was to come has come.
    fn is_told_no_more_than(&self, n: usize) {
        self.say("asker", &json!("count"));
        self.say("asker", &json!("count"));
        assert_eq!(self.replies().len(), n, "{:?}", self.replies());
    }

    fn killed(self) -> Self {
        let Self { stage, manifests, running } = self;
        running.kill();
        let running = stage.run(&[&manifests[0], &manifests[1]]);
        Self { stage, manifests, running }
    }

    /// Whether the chains verify and replay, and the journal has no fault.
    fn ends_sound(self) {
        let chains = ["asker", "other"].map(|actor| self.running.export(&self.stage, actor));
        self.running.shut_down();
        chains.iter().for_each(|chain| _ = verifies_and_replays(chain));
        audit(&self.stage);
    }
}

fn audit(stage: &Stage) {
    let output = theater(&["verify", "--journal", stage.data_dir().to_str().expect("a path"), "--json"], None);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success(), "{found}");
}

fn ask(message: &Value) -> Value {
    json!({ "op": "ask", "to": "other", "msg": message })
}

fn ask_within(message: &Value, ms: u64) -> Value {
    json!({ "op": "ask", "to": "other", "msg": message, "within": ms })
}

fn many(ops: &[Value]) -> Value {
    json!({ "op": "many", "ops": ops })
}

fn reply(token: u64, value: &Value) -> Value {
    json!({ "op": "reply", "token": token, "value": value })
}

fn token_of(answer: &Value) -> u64 {
    answer["ok"].as_u64().unwrap_or_else(|| panic!("{answer}"))
}

/// The tokens of the answers that an actor has put off.
fn put_off(running: &Theater, actor: &str) -> Vec<u64> {
    let events = running.events(actor);
    let put_off = data_of(&events, "host-call ntwk:theater/deferred-replies.defer").into_iter();
    put_off.filter_map(|data| data["result"]["ok"].as_u64()).collect()
}

/// The answers that an actor was told of, each as `[token, {"ok": …} or {"err": text}]`.
fn replies_of(running: &Theater, actor: &str) -> Vec<Value> {
    running.json(&["state", actor])["state"]["replies"].as_array().cloned().unwrap_or_default()
}

#[test]
fn an_answer_comes_once_with_its_token_and_quotes_the_event_that_gave_it() {
    let square = Square::new();
    let other = square.running.id("other");
    let token = square.ask(&json!({ "op": "echo", "value": 7 }));
    assert_eq!(square.after_replies(1), [json!([token, { "ok": 7 }])]);
    let events = square.running.events("asker");
    let asked = events.iter().find(|event| event["event_type"] == ASKED).expect("it asked");
    assert_eq!((&asked["sequence"], &asked["data"]["result"]["ok"]), (&json!(token), &json!(token)));
    assert_eq!(asked["data"]["to"], json!(other), "which actor the path stood for");
    assert_eq!(asked["data"]["params"][2], json!(30_000), "the deadline that holds");
    let call = data_of(&events, CALL)[0];
    let given = square.running.last_event("other");
    assert_eq!((&call["of"], &call["caller"]), (&json!(token), &json!("runtime")));
    assert_eq!((&call["cause"]["actor"], &call["cause"]["sequence"]), (&json!(other), &given["sequence"]));
    assert_eq!(given["event_type"], "return ntwk:theater/message-server-client.handle-request");
    square.is_told_no_more_than(1);
    let square = square.killed();
    square.is_told_no_more_than(1);
    square.ends_sound();
}

#[test]
fn a_hundred_requests_are_open_at_once_and_hold_no_thread_and_the_answers_come_in_their_order() {
    let square = Square::new();
    // The command line's connections come and go, and so does who says that the runtime is ready.
    let threads = || {
        let mut names = square.running.thread_names();
        names.retain(|name| !name.starts_with("mgmt-") && name != "announce");
        names
    };
    // A thread has the name of the one that has begun it, until it has set its own: those of the process and the supervisor are alike.
    let named = |names: &Vec<String>| names.iter().filter(|name| *name == "theater").count() == 2;
    let before = eventually("each thread has its name", || Some(threads()).filter(named));
    square.say("asker", &json!({ "op": "ask-many", "to": "other", "msg": "defer", "n": 100 }));
    let tokens =
        eventually("all are put off", || Some(put_off(&square.running, "other")).filter(|all| all.len() == 100));
    assert_eq!(threads(), before);
    assert_eq!(square.say("asker", &json!("count")), 1, "it is not waiting");
    let ops: Vec<Value> = tokens.iter().rev().map(|token| reply(*token, &json!(token))).collect();
    square.say("other", &many(&ops));
    let told = square.after_replies(100);
    let values: Vec<u64> = told.iter().map(|told| told[1]["ok"].as_u64().expect("a value")).collect();
    assert_eq!(values, tokens.into_iter().rev().collect::<Vec<_>>());
    square.is_told_no_more_than(100);
    square.ends_sound();
}

#[test]
fn what_goes_wrong_at_the_other_actor_is_told_in_the_words_of_a_request() {
    let square = Square::with("", "restart = \"temporary\"\n");
    let other = square.running.id("other");
    square.ask(&json!({ "op": "refuse", "message": "not today" }));
    assert_eq!(square.after_replies(1)[0][1], json!({ "err": "not today" }));
    // The last of them waits when the actor fails at the one before it: it is busy until both are there.
    let busy = ask(&json!({ "op": "work", "rounds": 30_000_000 }));
    let ops = [ask(&json!("defer")), busy, ask(&json!("trap")), ask(&json!("count"))];
    square.say("asker", &many(&ops));
    let told = square.after_replies(5);
    let mut errors: Vec<&str> = told[1..].iter().filter_map(|told| told[1]["err"].as_str()).collect();
    errors.sort_unstable();
    assert!(errors[0].starts_with(&format!("actor {other} failed: trap: ")), "{errors:?}");
    assert!(errors[1].starts_with(&format!("actor {other} failed: trap: ")), "what was put off: {errors:?}");
    assert_eq!(errors[2], format!("not delivered: actor {other} failed"));
    square.running.until("other", "failed");
    let refused = square.say("asker", &ask(&json!("count")));
    assert_eq!(refused, json!({ "err": format!("actor {other} is failed") }));
    square.is_told_no_more_than(5);
    square.ends_sound();
}

#[test]
fn what_cannot_be_delivered_is_an_error_at_once_and_no_answer_comes() {
    let square = Square::with("[limits]\nasync_requests = 3\nmessage_bytes = 1000\n", "reachable = [\"children\"]\n");
    let refused = |to: &str, msg: &Value| {
        let answer = square.say("asker", &json!({ "op": "ask", "to": to, "msg": msg }));
        answer["err"].as_str().unwrap_or_else(|| panic!("{to}: {answer}")).to_owned()
    };
    let why = refused("other", &json!("count"));
    assert!(why.contains("does not take messages from this actor: its manifest says reachable = "), "{why}");
    for (address, why) in [
        ("nobody", "no actor has the address \"nobody\""),
        ("", "not an address"),
        ("00000000-0000-0000-0000-000000000000", "no such actor"),
    ] {
        let said = refused(address, &json!("count"));
        assert!(said.contains(why), "{address:?}: {said}");
    }
    assert!(refused(&"x".repeat(700), &json!(1)).len() < 600, "only the beginning is recorded");
    let long = square.say("asker", &json!({ "op": "ask", "to": "asker", "msg": "x".repeat(900) }));
    assert!(long["ok"].is_u64(), "{long}");
    square.after_replies(1);
    let third = square.stage.manifest("third", "gatherer", GRANTS);
    square.running.start(&third).expect("it starts");
    let defer = json!({ "op": "ask", "to": "third", "msg": "defer" });
    (0..3).for_each(|_| _ = token_of(&square.say("asker", &defer)));
    let full =
        "3 asynchronous requests have no answer yet: the limit async_requests is 3; wait for some, or raise the limit";
    assert_eq!(refused("third", &json!("count")), full);
    let tokens = eventually("all are put off", || Some(put_off(&square.running, "third")).filter(|all| all.len() == 3));
    square.say("third", &reply(tokens[0], &json!(1)));
    square.after_replies(2);
    token_of(&square.say("asker", &defer));
    square.ends_sound();
}

#[test]
fn a_message_that_is_too_large_or_finds_a_full_mailbox_is_an_error_and_not_recorded_whole() {
    let square = Square::with("[limits]\nmessage_bytes = 300\n", "[limits]\nmailbox_deliveries = 1\n");
    let long = square.stage.file("long.json", json!({ "on_reply": ask(&json!("x".repeat(400))) }).to_string());
    let manifest = square.stage.manifest(
        "long",
        "gatherer",
        &format!("init_state = {long:?}\n[limits]\nmessage_bytes = 300\n{GRANTS}"),
    );
    square.running.start(&manifest).expect("it starts");
    square.say("long", &ask(&json!("count")));
    let recorded = eventually("it asked twice", || {
        let events = square.running.events("long");
        data_of(&events, ASKED).get(1).map(|data| (*data).clone())
    });
    assert_eq!(recorded["result"]["err"], "message of 402 bytes: the limit message_bytes is 300");
    assert_eq!(recorded["params"][1], json!(""), "{recorded}");
    // The other one is busy while it waits for an answer that does not come.
    let mut management = Management::connect(square.running.management());
    let wait = json!({ "op": "request", "to": "asker", "msg": "defer" });
    management.send_request(&square.running.id("other"), &wait);
    eventually("it waits", || put_off(&square.running, "asker").pop());
    let answers = square.say("asker", &many(&[ask(&json!("count")), ask(&json!("count"))]));
    assert!(answers[0]["ok"].is_u64(), "{answers}");
    assert_eq!(answers[1], json!({ "err": "mailbox full" }));
    square.running.kill();
}

#[test]
fn an_actor_that_cannot_be_told_of_answers_cannot_ask() {
    let square = Square::new();
    let deaf = square.stage.manifest("deaf", "deaf", GRANTS);
    square.running.start(&deaf).expect("it starts");
    let why =
        "this actor does not export ntwk:theater/reply-handlers.handle-reply, so it could not be told of the answer";
    assert_eq!(square.say("deaf", &ask(&json!("count"))), json!({ "err": why }));
    square.ends_sound();
}

#[test]
fn after_the_deadline_the_error_says_whether_the_message_was_taken_and_a_later_answer_is_not_told_of() {
    let square = Square::new();
    let other = square.running.id("other");
    let token = token_of(&square.say("asker", &ask_within(&json!("defer"), 100)));
    let unknown = format!("outcome unknown: no answer of actor {other} within its deadline of 100 ms");
    assert_eq!(square.after_replies(1), [json!([token, { "err": unknown }])]);
    let call = data_of(&square.running.events("asker"), CALL)[0].clone();
    assert_eq!((&call["of"], &call["cause"]), (&json!(token), &Value::Null));
    let late = square.say("other", &reply(put_off(&square.running, "other")[0], &json!(1)));
    assert!(late["err"].as_str().is_some_and(|why| why.starts_with("nobody waits for the answer")), "{late}");
    // The other one is busy while it waits for an answer that does not come.
    let mut management = Management::connect(square.running.management());
    management.send_request(&other, &json!({ "op": "request", "to": "asker", "msg": "defer" }));
    let deferred = eventually("it waits", || put_off(&square.running, "asker").pop());
    let token = token_of(&square.say("asker", &ask_within(&json!("count"), 0)));
    let not = format!("not delivered: actor {other} did not come to it within its deadline of 0 ms");
    assert_eq!(square.after_replies(2)[1], json!([token, { "err": not }]));
    square.say("asker", &reply(deferred, &json!(null)));
    management.receive_reply().expect("an answer");
    assert_eq!(square.say("other", &json!("count")), 1, "it was withdrawn");
    square.is_told_no_more_than(2);
    square.ends_sound();
}

#[test]
fn an_actor_may_ask_itself_and_two_may_ask_each_other() {
    let square = Square::new();
    let own = json!({ "op": "ask", "to": "asker", "msg": { "op": "ask", "to": "asker", "msg": "count" } });
    square.say("asker", &own);
    let told = square.after_replies(2);
    assert_eq!(told[1][1], json!({ "ok": 1 }), "{told:?}");
    square.ask(&json!({ "op": "ask", "to": "asker", "msg": { "op": "ask", "to": "other", "msg": "count" } }));
    square.after_replies(4);
    let told = eventually("both were told", || replies_of(&square.running, "other").pop());
    assert!(told[1]["ok"].is_u64() || told[1]["ok"]["ok"].is_u64(), "{told}");
    square.ends_sound();
}

#[test]
fn requests_outlive_a_kill_whether_the_message_was_taken_put_off_or_answered() {
    let square = Square::new();
    let [first, deferred] = square.ask_put_off();
    // The other one is busy when the process is killed, and a message waits for it.
    let mut management = Management::connect(square.running.management());
    management.send_request(&square.running.id("other"), &json!({ "op": "request", "to": "asker", "msg": "defer" }));
    let waits = eventually("it waits", || put_off(&square.running, "asker").pop());
    let second = square.ask(&json!("count"));
    let square = square.killed();
    assert!(square.replies().is_empty());
    square.say("asker", &reply(waits, &json!(null)));
    assert_eq!(square.after_replies(1), [json!([second, { "ok": 1 }])]);
    let square = square.killed();
    square.is_told_no_more_than(1);
    assert_eq!(square.say("other", &reply(deferred, &json!("late"))), json!({ "ok": null }));
    assert_eq!(square.after_replies(2)[1], json!([first, { "ok": "late" }]));
    square.ends_sound();
}

#[test]
fn a_deadline_that_passes_while_the_runtime_is_down_is_told_of_after_the_start() {
    let square = Square::new();
    let token = token_of(&square.say("asker", &ask_within(&json!("defer"), 1_000)));
    eventually("it is put off", || put_off(&square.running, "other").pop());
    let Square { stage, manifests, running } = square;
    running.kill();
    let begun = std::time::Instant::now();
    eventually("the deadline has passed", || (begun.elapsed().as_millis() > 1_000).then_some(()));
    let square = Square { running: stage.run(&[&manifests[0], &manifests[1]]), stage, manifests };
    let told = square.after_replies(1);
    assert_eq!(told[0][0], json!(token));
    assert!(told[0][1]["err"].as_str().is_some_and(|why| why.starts_with("outcome unknown: no answer")), "{told:?}");
    square.ends_sound();
}

#[test]
fn requests_outlive_restarts_that_keep_the_state_and_what_becomes_of_the_transition() {
    let square = Square::with("restart = \"permanent\"\nrestart_backoff_ms = 0\n", "");
    let refuse = json!({ "op": "refuse", "message": "no" });
    square.running.request("asker", &many(&[ask(&json!("defer")), refuse])).expect_err("no");
    square.running.request("asker", &many(&[ask(&json!("defer")), json!("trap")])).expect_err("a trap");
    square.running.until("asker", "running");
    square.running.say(&["restart", "asker"]);
    let Square { stage, manifests, running } = square;
    running.shut_down();
    let square = Square { running: stage.run(&[&manifests[0], &manifests[1]]), stage, manifests };
    for token in put_off(&square.running, "other") {
        square.say("other", &reply(token, &json!(1)));
    }
    square.after_replies(2);
    square.is_told_no_more_than(2);
    square.ends_sound();
}

#[test]
fn a_restart_from_the_initial_state_and_an_end_drop_requests_also_across_a_kill() {
    let initial = "restart = \"permanent\"\nrestart_state = \"initial\"\nrestart_backoff_ms = 0\n";
    let square = Square::with(initial, "");
    let [_, deferred] = square.ask_put_off();
    square.running.request("asker", &json!("trap")).expect_err("a trap");
    square.running.until("asker", "running");
    let square = square.killed();
    let late = square.say("other", &reply(deferred, &json!(1)));
    assert!(late["err"].as_str().is_some_and(|why| why.starts_with("nobody waits for the answer")), "{late}");
    square.is_told_no_more_than(0);
    let [_, deferred] = square.ask_put_off();
    square.running.say(&["stop", "asker"]);
    let late = square.say("other", &reply(deferred, &json!(1)));
    assert!(late["err"].as_str().is_some_and(|why| why.starts_with("nobody waits for the answer")), "{late}");
    square.running.say(&["restart", "asker"]);
    square.is_told_no_more_than(0);
    square.ends_sound();
}

#[test]
fn a_fork_takes_no_requests_and_no_answers_that_were_put_off() {
    let square = Square::new();
    let [token, deferred] = square.ask_put_off();
    for (actor, twin) in [("asker", "twin"), ("other", "double")] {
        let at = square.running.last_event(actor)["sequence"].to_string();
        square.running.say(&["fork", actor, "--at", &at, "--name", twin]);
    }
    let refused = square.say("double", &reply(deferred, &json!("mine")));
    assert!(refused["err"].as_str().is_some_and(|why| why.starts_with("no answer of actor ")), "{refused}");
    square.say("other", &reply(deferred, &json!("theirs")));
    assert_eq!(square.after_replies(1), [json!([token, { "ok": "theirs" }])]);
    square.running.request("twin", &json!("count")).expect("an answer");
    assert!(replies_of(&square.running, "twin").is_empty());
    square.ends_sound();
}

#[test]
fn without_the_export_answers_wait_and_the_answer_of_an_actor_that_is_forgotten_comes_too() {
    let square = Square::new();
    let [token, _] = square.ask_put_off();
    let other = square.running.id("other");
    let Square { stage, manifests, running } = square;
    running.shut_down();
    let without = stage.manifest("asker", "probe", "");
    let running = stage.run(&[&without]);
    running.say(&["stop", "other"]);
    running.say(&["forget", "other"]);
    let said = "1 asynchronous requests of actor asker are open, and it cannot be told of the answers now";
    assert!(stage.log().contains(said), "{}", stage.log());
    running.request("asker", &json!("count")).expect("an answer");
    running.shut_down();
    let asker = stage.manifest("asker", "gatherer", GRANTS);
    let square = Square { running: stage.run(&[&asker]), stage, manifests };
    let stopped = format!("outcome unknown: actor {other} was stopped while it worked on it");
    assert_eq!(square.after_replies(1), [json!([token, { "err": stopped }])]);
    square.is_told_no_more_than(1);
    square.running.shut_down();
    audit(&square.stage);
}

#[test]
fn an_open_request_keeps_the_data_that_it_needs_on_both_chains() {
    let square = Square::new();
    let [token, deferred] = square.ask_put_off();
    for actor in ["asker", "other"] {
        square.running.say(&["restart", actor]);
        square.say(actor, &json!("count"));
    }
    square.running.say(&["prune", "asker", "--before", "9999"]);
    let why = square.running.refused(&["prune", "other", "--before", "9999"]);
    assert!(why.contains("is needed by a transition, a delivery, a request or a timer"), "{why}");
    let data = |actor: &str, sequence: u64| {
        let events = square.running.events(actor);
        events.into_iter().find(|event| event["sequence"] == sequence).expect("it is there")["data"].clone()
    };
    assert!(data("asker", token).is_object() && data("other", deferred).is_object());
    let why = square.running.refused(&["redact", "other", "--event", &deferred.to_string()]);
    assert!(why.contains("is needed by a transition, a delivery, a request or a timer"), "{why}");
    let square = square.killed();
    assert_eq!(square.say("other", &reply(deferred, &json!("kept"))), json!({ "ok": null }));
    assert_eq!(square.after_replies(1), [json!([token, { "ok": "kept" }])]);
    square.running.shut_down();
    audit(&square.stage);
}

#[test]
fn across_kills_each_request_is_answered_once_and_no_message_is_taken_twice() {
    let mut square = Square::new();
    let mut asked = Vec::new();
    for round in 0..4 {
        let ops: Vec<Value> = (0..10).map(|_| ask(&json!("count"))).collect();
        let answers = square.say("asker", &many(&ops));
        asked.extend(answers.as_array().expect("a list").iter().map(token_of));
        if round % 2 == 0 {
            square.say("other", &json!("count"));
        }
        square = square.killed();
    }
    let told = square.after_replies(asked.len());
    let mut tokens: Vec<u64> = told.iter().map(|told| told[0].as_u64().expect("a token")).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, asked, "each once");
    let mut counts: Vec<u64> = told.iter().map(|told| told[1]["ok"].as_u64().expect("a count")).collect();
    counts.sort_unstable();
    counts.dedup();
    assert_eq!(counts.len(), asked.len(), "the other one has counted each once: {told:?}");
    square.is_told_no_more_than(asked.len());
    square.ends_sound();
}
