//! Tests of answers that an actor puts off and gives later: to another actor, to who asks over the management interface, and to
//! an HTTP client.

mod support;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::{Http, Management, Stage, Theater, data_of, eventually, theater, verifies_and_replays};

const GRANTS: &str = "[[handlers]]\ntype = \"supervisor\"\n";
const HTTP: &str = "[[handlers]]\ntype = \"http-server\"\nconfig = { port = 0 }\n";
const DEFERRED: &str = "host-call ntwk:theater/deferred-replies.defer";

/// A runtime with a desk, which puts answers off, and a client.
struct Counter {
    stage: Stage,
    manifests: [PathBuf; 2],
    running: Theater,
}

impl Counter {
    /// `of_desk` and `of_client` stand in the manifests of the two.
    fn with(of_desk: &str, of_client: &str) -> Self {
        let stage = Stage::new();
        let desk = stage.manifest("desk", "gatherer", &format!("{of_desk}\n{GRANTS}{HTTP}"));
        let client = stage.manifest("client", "gatherer", &format!("{of_client}\n{GRANTS}"));
        let running = stage.run(&[&desk, &client]);
        Self { stage, manifests: [desk, client], running }
    }

    fn new() -> Self {
        Self::with("", "")
    }

    fn desk(&self, command: &Value) -> Value {
        self.running.request("desk", command).unwrap_or_else(|why| panic!("{command}: {why}"))
    }

    /// Why an answer cannot be given.
    fn refused(&self, command: &Value) -> String {
        let answer = self.desk(command);
        answer["err"].as_str().unwrap_or_else(|| panic!("{command}: {answer}")).to_owned()
    }

    /// Has the client request something of the desk, which puts it off. Returns the connection that waits for what the client
    /// gets, and the token.
    fn waiting(&self, command: &Value) -> (Management, u64) {
        let before = self.put_off().len();
        let mut management = Management::connect(self.running.management());
        let request = json!({ "op": "request", "to": "desk", "msg": command });
        management.send_request(&self.running.id("client"), &request);
        (management, self.next_put_off(before))
    }

    /// The tokens of the answers that the desk has put off.
    fn put_off(&self) -> Vec<u64> {
        let events = self.running.events("desk");
        data_of(&events, DEFERRED).into_iter().filter_map(|data| data["result"]["ok"].as_u64()).collect()
    }

    fn next_put_off(&self, before: usize) -> u64 {
        eventually("it is put off", || self.put_off().get(before).copied())
    }

    fn restarted(self, kill: bool) -> Self {
        let Self { stage, manifests, running } = self;
        if kill {
            running.kill()
        } else {
            running.shut_down()
        }
        let running = stage.run(&[&manifests[0], &manifests[1]]);
        Self { stage, manifests, running }
    }

    /// What the client got for its newest request.
    fn got(&self) -> Value {
        eventually("the client has an answer", || {
            let events = self.running.events("client");
            let asked = events
                .iter()
                .rposition(|event| event["event_type"] == "intent ntwk:theater/message-server-host.request")?;
            data_of(&events[asked..], "host-call ntwk:theater/message-server-host.request")
                .first()
                .map(|data| (*data).clone())
        })
    }

    /// Whether the chains verify and replay, and the journal has no fault.
    fn ends_sound(self) {
        let chains = ["desk", "client"].map(|actor| self.running.export(&self.stage, actor));
        self.running.shut_down();
        chains.iter().for_each(|chain| _ = verifies_and_replays(chain));
        audit(&self.stage);
    }
}

#[test]
fn an_upgrade_keeps_the_answers_that_were_put_off_and_the_requests_that_are_open() {
    let counter = Counter::new();
    let (mut waits, token) = counter.waiting(&json!("defer"));
    for (name, manifest) in ["desk", "client"].into_iter().zip(&counter.manifests) {
        let text = std::fs::read_to_string(manifest).expect("a manifest");
        std::fs::write(manifest, format!("description = \"another\"\n{text}")).expect("a manifest");
        if name == "desk" {
            counter.running.say(&["upgrade", name]);
        }
    }
    counter.desk(&reply(token, &json!("late")));
    waits.receive_reply().expect("an answer");
    assert!(counter.got().to_string().contains("late"), "{}", counter.got());
    counter.running.say(&["upgrade", "client"]);
    counter.ends_sound();
}

fn audit(stage: &Stage) {
    let output = theater(&["verify", "--journal", stage.data_dir().to_str().expect("a path"), "--json"], None);
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(output.status.success(), "{found}");
}

fn reply(token: u64, value: &Value) -> Value {
    json!({ "op": "reply", "token": token, "value": value })
}

fn reply_http(token: u64, body: &str) -> Value {
    json!({ "op": "reply-http", "token": token, "status": 202, "body": body })
}

fn many(ops: &[Value]) -> Value {
    json!({ "op": "many", "ops": ops })
}

fn given() -> Value {
    json!({ "ok": null })
}

#[test]
fn an_answer_that_was_put_off_is_given_later_and_the_asker_quotes_the_event_that_gave_it() {
    let counter = Counter::new();
    let (mut client, token) = counter.waiting(&many(&[json!("defer"), json!("count")]));
    assert_eq!(counter.desk(&json!("count")), 2, "the state of the call that put it off counts");
    let events = counter.running.events("desk");
    let returned = data_of(&events, "return ntwk:theater/message-server-client.handle-request");
    assert_eq!((&returned[0]["deferred"], returned[1].get("deferred")), (&json!(token), None));
    assert_eq!(counter.desk(&reply(token, &json!("done"))), given());
    assert_eq!(client.receive_reply(), Ok(json!({ "ok": "done" })));
    let events = counter.running.events("desk");
    let gave =
        events.iter().find(|it| it["event_type"] == "host-call ntwk:theater/deferred-replies.reply").expect("it did");
    assert_eq!(gave["data"]["of"], json!(token));
    let got = counter.got();
    assert_eq!(got["answer"]["sequence"], gave["sequence"]);
    let (mut client, token) = counter.waiting(&json!("defer"));
    assert_eq!(counter.desk(&json!({ "op": "reply-error", "token": token, "message": "no" })), given());
    assert_eq!(client.receive_reply(), Ok(json!({ "err": "no" })));
    counter.ends_sound();
}

#[test]
fn whoever_waits_for_an_answer_that_was_put_off_can_not_be_waited_for() {
    let counter = Counter::new();
    let (mut client, token) = counter.waiting(&json!("defer"));
    let asked = counter.desk(&json!({ "op": "request", "to": "client", "msg": "count" }));
    assert_eq!(asked, json!({ "err": "would deadlock: desk -> client -> desk" }));
    assert_eq!(counter.desk(&reply(token, &json!(1))), given());
    client.receive_reply().expect("an answer");
    assert_eq!(counter.desk(&json!({ "op": "request", "to": "client", "msg": "count" })), json!({ "ok": 1 }));
    // In the transition that answers, the asker waits no more.
    let (mut client, token) = counter.waiting(&json!("defer"));
    let asked =
        counter.desk(&many(&[reply(token, &json!(1)), json!({ "op": "request", "to": "client", "msg": "count" })]));
    assert_eq!(asked[1], json!({ "ok": 2 }));
    client.receive_reply().expect("an answer");
    counter.ends_sound();
}

#[test]
fn what_cannot_be_put_off_or_given_is_an_error_that_says_why() {
    let counter = Counter::with(
        "[limits]\nmessage_bytes = 1000\ndeferred_replies = 2\n",
        "[limits]\nrequest_deadline_ms = 300\n",
    );
    let (_client, token) = counter.waiting(&json!("defer"));
    let got = counter.got()["result"]["err"].clone();
    assert!(got.as_str().is_some_and(|why| why.starts_with("outcome unknown: no answer of actor ")), "{got}");
    let late =
        format!("nobody waits for the answer with the token {token} any more: the deadline of the request has passed");
    assert_eq!(counter.refused(&reply(token, &json!(1))), late);
    assert_eq!(counter.refused(&reply(token, &json!(1))), late, "it stays so");
    let unknown =
        |token: u64| format!("no answer of actor {} was put off with the token {token}", counter.running.id("desk"));
    assert_eq!(counter.refused(&reply(0, &json!(1))), unknown(0));
    assert_eq!(counter.refused(&reply(u64::MAX, &json!(1))), unknown(u64::MAX));
    // What is put off cannot be answered in the same call, nor put off twice.
    let next = counter.running.last_event("desk")["sequence"].as_u64().expect("a number") + 2;
    let mut management = Management::connect(counter.running.management());
    let ops = [json!("defer"), json!("defer"), reply(next, &json!(1)), json!({ "op": "raw-state", "text": "{}" })];
    management.send_request(&counter.running.id("desk"), &many(&ops));
    assert_eq!(counter.next_put_off(1), next);
    let results: Vec<Value> = eventually("the call is over", || {
        let events = counter.running.events("desk");
        let all: Vec<_> = events.iter().filter(|it| it["sequence"].as_u64() > Some(next)).collect();
        let over = all.iter().any(|it| it["event_type"].as_str().is_some_and(|it| it.starts_with("return ")));
        over.then(|| all.iter().take(2).map(|it| it["data"]["result"]["err"].clone()).collect())
    });
    assert_eq!(results[0], json!(format!("the answer to this call was put off already, with the token {next}")));
    assert_eq!(
        results[1],
        json!(format!("the call that put off the answer with the token {next} is not over: return the answer"))
    );
    assert_eq!(
        counter.refused(&reply_http(next, "x")),
        format!("the answer with the token {next} is for a message: give it with reply")
    );
    let long = counter.refused(&json!({ "op": "reply-long", "token": next, "n": 1000 }));
    assert_eq!(long, "message of 1002 bytes: the limit message_bytes is 1000");
    assert_eq!(counter.desk(&reply(next, &json!("short"))), given());
    assert_eq!(management.receive_reply(), Ok(json!("short")));
    assert_eq!(counter.refused(&reply(next, &json!(1))), format!("the answer with the token {next} was given already"));
    // In calls that nobody waits for.
    let send = json!({ "op": "send", "to": "desk", "msg": "defer" });
    counter.running.request("client", &send).expect("an answer");
    let why = eventually("it was refused", || {
        let events = counter.running.events("desk");
        data_of(&events, DEFERRED)
            .into_iter()
            .find_map(|data| data["result"]["err"].as_str().filter(|it| it.starts_with("nobody")).map(str::to_owned))
    });
    assert_eq!(why, "nobody waits for the answer to ntwk:theater/message-server-client.handle-send");
    counter.ends_sound();
}

#[test]
fn as_many_answers_are_put_off_as_the_limit_says_and_one_that_nobody_waits_for_gives_way() {
    let counter = Counter::with("[limits]\ndeferred_replies = 2\n", "[limits]\nrequest_deadline_ms = 300\n");
    let (_client, passed) = counter.waiting(&json!("defer"));
    assert!(counter.got()["result"]["err"].is_string(), "the deadline has passed");
    let mut waiting: Vec<Management> = Vec::new();
    for n in 1..=2 {
        let mut management = Management::connect(counter.running.management());
        management.send_request(&counter.running.id("desk"), &json!("defer"));
        counter.next_put_off(n);
        waiting.push(management);
    }
    let events = counter.running.events("desk");
    assert_eq!(data_of(&events, DEFERRED)[2]["of"], json!(passed), "whose place it took");
    let full = "2 answers are put off already: the limit deferred_replies is 2; give some of them, or raise the limit";
    assert_eq!(counter.desk(&json!("defer")), json!({ "err": full }), "it is answered as usual");
    for (token, management) in counter.put_off()[1..].iter().zip(&mut waiting) {
        assert_eq!(counter.desk(&reply(*token, &json!(token))), given());
        assert_eq!(management.receive_reply(), Ok(json!(token)));
    }
    counter.ends_sound();
}

#[test]
fn a_call_that_returns_an_error_or_traps_after_it_put_off_its_answer_has_answered() {
    let counter = Counter::with("restart = \"permanent\"\nrestart_backoff_ms = 0\n", "");
    let (mut client, token) =
        counter.waiting(&many(&[json!("defer"), json!({ "op": "refuse", "message": "after all" })]));
    assert_eq!(client.receive_reply(), Ok(json!({ "err": "after all" })));
    assert_eq!(
        counter.refused(&reply(token, &json!(1))),
        format!("the answer with the token {token} is not open any more")
    );
    let (mut client, token) = counter.waiting(&many(&[json!("defer"), json!("trap")]));
    let failed = client.receive_reply().expect("an answer");
    assert!(failed["err"].as_str().is_some_and(|why| why.contains(" failed: trap: ")), "{failed}");
    counter.running.until("desk", "running");
    assert_eq!(
        counter.refused(&reply(token, &json!(1))),
        format!("the answer with the token {token} is not open any more")
    );
    let counter = counter.restarted(true);
    assert_eq!(
        counter.refused(&reply(token, &json!(1))),
        format!("the answer with the token {token} is not open any more")
    );
    counter.ends_sound();
}

#[test]
fn whoever_waits_goes_on_waiting_when_the_runtime_is_killed_or_ends_and_gets_the_answer_then() {
    let mut counter = Counter::new();
    for kill in [true, false] {
        let (_client, token) = counter.waiting(&json!("defer"));
        let begun = std::time::Instant::now();
        counter = counter.restarted(kill);
        assert!(begun.elapsed().as_secs() < 20, "an end in order does not wait for the answer");
        let asked = counter.desk(&json!({ "op": "request", "to": "client", "msg": "count" }));
        assert_eq!(asked, json!({ "err": "would deadlock: desk -> client -> desk" }), "it waits again");
        assert_eq!(counter.desk(&reply(token, &json!("done"))), given());
        let got = counter.got();
        assert_eq!((&got["result"]["ok"], got["answer"]["sequence"].is_u64()), (&json!("done"), true));
        assert_eq!(
            counter.refused(&reply(token, &json!(1))),
            format!("the answer with the token {token} was given already")
        );
    }
    counter.ends_sound();
}

#[test]
fn the_end_of_the_actor_that_put_off_its_answers_and_a_restart_from_the_initial_state_are_told() {
    let counter = Counter::new();
    let desk = counter.running.id("desk");
    let (mut client, token) = counter.waiting(&json!("defer"));
    counter.running.say(&["restart", "desk"]);
    assert_eq!(counter.desk(&json!("count")), 1);
    assert_eq!(counter.desk(&reply(token, &json!("kept"))), given());
    assert_eq!(client.receive_reply(), Ok(json!({ "ok": "kept" })));
    let (mut client, token) = counter.waiting(&json!("defer"));
    counter.running.say(&["stop", "desk"]);
    let stopped = format!("outcome unknown: actor {desk} was stopped while it worked on it");
    assert_eq!(client.receive_reply(), Ok(json!({ "err": stopped })));
    counter.running.say(&["restart", "desk"]);
    assert_eq!(
        counter.refused(&reply(token, &json!(1))),
        format!("the answer with the token {token} is not open any more")
    );
    counter.ends_sound();

    let initial = "restart = \"permanent\"\nrestart_state = \"initial\"\nrestart_backoff_ms = 0\n";
    let counter = Counter::with(initial, "");
    let desk = counter.running.id("desk");
    let (mut client, _) = counter.waiting(&json!("defer"));
    counter.running.request("desk", &json!("trap")).expect_err("a trap");
    let anew = format!("outcome unknown: actor {desk} began anew, from its initial state, before it answered");
    assert_eq!(client.receive_reply(), Ok(json!({ "err": anew })));
    counter.running.until("desk", "running");
    counter.ends_sound();
}

#[test]
fn who_asks_over_the_management_interface_gets_an_answer_that_was_put_off_and_goes_with_the_process() {
    let counter = Counter::new();
    let ask = |counter: &Counter, before: usize| {
        let mut management = Management::connect(counter.running.management());
        management.send_request(&counter.running.id("desk"), &json!("defer"));
        (management, counter.next_put_off(before))
    };
    let (mut management, token) = ask(&counter, 0);
    assert_eq!(counter.desk(&reply(token, &json!({ "a": 1 }))), given());
    assert_eq!(management.receive_reply(), Ok(json!({ "a": 1 })));
    let (_management, token) = ask(&counter, 1);
    let counter = counter.restarted(true);
    let gone = format!(
        "the client went with the process that took its request: nobody waits for the answer with the token {token}"
    );
    assert_eq!(counter.refused(&reply(token, &json!(1))), gone);
    counter.ends_sound();
}

#[test]
fn an_http_client_gets_a_response_that_was_put_off_or_the_deadline_and_goes_with_the_process() {
    let counter =
        Counter::with("[limits]\nrequest_deadline_ms = 1000\nhttp_body_bytes = 1000\nhttp_head_bytes = 4096\n", "");
    let post = |counter: &Counter, before: usize| {
        let mut http = Http::connect(counter.running.http("desk"));
        http.send("POST", "/op", Some("\"defer\""));
        (http, counter.next_put_off(before))
    };
    let (mut http, token) = post(&counter, 0);
    assert_eq!(
        counter.refused(&reply(token, &json!(1))),
        format!("the answer with the token {token} is for an HTTP client: give it with reply-http")
    );
    let long = counter.refused(&reply_http(token, &"x".repeat(6_000)));
    assert!(
        long.starts_with("a response of 6000 bytes: the limits http_body_bytes and http_head_bytes are "),
        "{long}"
    );
    assert_eq!(counter.desk(&reply_http(token, "later")), given());
    let response = http.receive().expect("a response");
    assert_eq!((response.status, response.body.as_str()), (202, "later"));
    assert_eq!(
        counter.refused(&reply_http(token, "x")),
        format!("the answer with the token {token} was given already")
    );
    let (mut http, token) = post(&counter, 1);
    assert_eq!(http.receive().expect("a response").status, 504);
    let late =
        format!("nobody waits for the answer with the token {token} any more: the deadline of the request has passed");
    assert_eq!(counter.refused(&reply_http(token, "x")), late);
    let (_http, token) = post(&counter, 2);
    let counter = counter.restarted(true);
    let gone = format!(
        "the client went with the process that took its request: nobody waits for the answer with the token {token}"
    );
    assert_eq!(counter.refused(&reply_http(token, "x")), gone);
    counter.ends_sound();
}

#[test]
fn a_request_whose_answer_was_put_off_is_answered_by_an_actor_that_a_third_one_has_asked() {
    // The desk asks a third one in its turn, without waiting, and answers when it is told: neither of the two waits.
    let counter = Counter::new();
    let third = counter.stage.manifest("third", "gatherer", GRANTS);
    counter.running.start(&third).expect("it starts");
    let ask = json!({ "op": "ask", "to": "third", "msg": "count" });
    let (mut client, token) = counter.waiting(&many(&[json!("defer"), ask]));
    eventually("the desk was told", || {
        counter.running.json(&["state", "desk"])["state"]["replies"].as_array().map(Vec::len).filter(|n| *n == 1)
    });
    assert_eq!(counter.desk(&reply(token, &json!(1))), given());
    assert_eq!(client.receive_reply(), Ok(json!({ "ok": 1 })));
    counter.ends_sound();
}
