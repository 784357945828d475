//! Tests of messages between actors: the answers they get, and the links between their chains.

mod support;

use std::collections::HashMap;

use serde_json::{Value, json};
use support::{Management, Stage, Theater, data_of, eventually, verifies_and_replays};

const REQUEST: &str = "ntwk:theater/message-server-host.request";
const SEND: &str = "ntwk:theater/message-server-host.send";
const HANDLE_REQUEST: &str = "ntwk:theater/message-server-client.handle-request";
const HANDLE_SEND: &str = "ntwk:theater/message-server-client.handle-send";

/// Probes called `a`, `b`, … in one runtime.
struct Troupe {
    stage: Stage,
    running: Theater,
    ids: HashMap<String, String>,
    management: Management,
}

impl Troupe {
    fn of(names: &[&str], more: &str) -> Self {
        let stage = Stage::new();
        let running = stage.run(&[]);
        let mut management = Management::connect(running.management());
        let start = |name: &&str| ((*name).to_owned(), management.start(&stage.manifest(name, "probe", more)));
        let ids = names.iter().map(start).collect();
        Self { stage, running, ids, management }
    }

    fn id(&self, name: &str) -> &str {
        &self.ids[name]
    }

    /// Sends `name` a command from outside.
    fn tell(&mut self, name: &str, command: &Value) -> Value {
        let id = self.ids[name].clone();
        self.management.request(&id, command).unwrap_or_else(|why| panic!("{name} answers {command} with {why}"))
    }

    /// The command `{"op": "request", …}` with the receiver `to`.
    fn request(&self, to: &str, msg: &Value) -> Value {
        json!({ "op": "request", "to": self.id(to), "msg": msg })
    }

    fn send(&self, to: &str, msg: &Value) -> Value {
        json!({ "op": "send", "to": self.id(to), "msg": msg })
    }

    /// Checks that every link in every chain names an existing event, of a kind that can have that effect, and that
    /// every chain verifies and replays.
    fn chains_quote_each_other(&self) {
        let chains: HashMap<&str, Vec<Value>> =
            self.ids.iter().map(|(name, id)| (id.as_str(), self.running.events(name))).collect();
        let named = |link: &Value| {
            let of = &chains[link["actor"].as_str().expect("an id")];
            let event = &of[usize::try_from(link["sequence"].as_u64().expect("a number")).expect("small")];
            assert_eq!(link["hash"], event["hash"], "{link} names {event}");
            event["event_type"].as_str().expect("a type").to_owned()
        };
        for event in chains.values().flatten() {
            let (kind, data) = (event["event_type"].as_str().expect("a type"), &event["data"]);
            if data["cause"].is_object() && kind == format!("call {HANDLE_REQUEST}") {
                assert_eq!((named(&data["cause"]), &data["caller"]), (format!("intent {REQUEST}"), &json!("actor")));
            } else if data["cause"].is_object() && kind == format!("call {HANDLE_SEND}") {
                assert_eq!((named(&data["cause"]), &data["caller"]), (format!("host-call {SEND}"), &json!("actor")));
            }
            if data["answer"].is_object() {
                let closing = named(&data["answer"]);
                assert!(
                    ["return ", "refused ", "failed", "stopped"].iter().any(|kind| closing.starts_with(kind)),
                    "{closing}"
                );
            }
        }
        self.ids.keys().for_each(|name| _ = verifies_and_replays(&self.running.export(&self.stage, name)));
    }
}

#[test]
fn a_request_is_answered_and_both_chains_quote_each_other() {
    let mut troupe = Troupe::of(&["a", "b"], "");
    let request = troupe.request("b", &json!("count"));
    assert_eq!(troupe.tell("a", &request), json!({ "ok": 1 }));

    let (a, b) = (troupe.running.events("a"), troupe.running.events("b"));
    let call = &b[b.len() - 2];
    let intent = &a[a.len() - 3];
    assert_eq!(intent["event_type"], format!("intent {REQUEST}"));
    assert_eq!(call["event_type"], format!("call {HANDLE_REQUEST}"));
    let cause = &call["data"]["cause"];
    assert_eq!((&cause["actor"], &cause["sequence"]), (&json!(troupe.id("a")), &intent["sequence"]));
    assert_eq!(cause["hash"], intent["hash"]);
    let answer = &a[a.len() - 2]["data"]["answer"];
    let closing = &b[b.len() - 1];
    assert_eq!((&answer["actor"], &answer["sequence"]), (&json!(troupe.id("b")), &closing["sequence"]));
    assert_eq!(answer["hash"], closing["hash"]);
    troupe.chains_quote_each_other();
}

#[test]
fn what_goes_wrong_at_the_receiver_is_an_error_at_the_sender_with_the_event_it_came_from() {
    let mut troupe = Troupe::of(&["a", "refuser", "trapper", "spinner"], "[limits]\ncpu_ms_per_call = 50\n");
    for (to, msg, expected, closing) in [
        ("refuser", json!({ "op": "refuse", "message": "no" }), "no", "refused"),
        ("trapper", json!("trap"), "failed: trap: UnreachableCodeReached", "failed"),
        ("spinner", json!("spin"), "failed: deadline: used up its CPU time", "failed"),
    ] {
        let request = troupe.request(to, &msg);
        let answer = troupe.tell("a", &request);
        assert!(answer["err"].as_str().is_some_and(|why| why.contains(expected)), "{to}: {answer}");
        let (a, last) = (troupe.running.events("a"), troupe.running.last_event(to));
        let link = &data_of(&a, &format!("host-call {REQUEST}")).pop().expect("an answer")["answer"];
        assert_eq!(link["sequence"], last["sequence"], "{to}");
        assert!(last["event_type"].as_str().is_some_and(|kind| kind.starts_with(closing)), "{last}");
    }
    assert_eq!(troupe.tell("a", &json!("count")), json!(1), "the sender goes on");
    troupe.chains_quote_each_other();
}

#[test]
fn what_cannot_be_delivered_is_an_error_that_says_why() {
    let mut troupe = Troupe::of(&["a", "stopped", "failed"], "");
    let parrot = troupe.management.start(&troupe.stage.manifest("parrot", "hello", ""));
    let exports = troupe.running.cli(&["check", troupe.stage.path().join("parrot.toml").to_str().expect("a path")]);
    troupe.running.say(&["stop", "stopped"]);
    let failed = troupe.id("failed").to_owned();
    troupe.management.request(&failed, &json!("trap")).expect_err("it traps");
    troupe.running.until("failed", "failed");
    let nobody = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";
    let mut cases = vec![
        (nobody.to_owned(), "no such actor: 6ba7b810"),
        ("not an id".to_owned(), "not an id"),
        (String::new(), "actor"),
        ("6BA7B810-9DAD-41D1-80B4-00C04FD430C8".to_owned(), "actor"),
        ("x".repeat(100_000), "actor"),
        (troupe.id("stopped").to_owned(), "is stopped"),
        (failed, "is failed"),
    ];
    if !support::text(&exports.stdout).contains(HANDLE_REQUEST) {
        cases.push((parrot, "does not export"));
    }
    for (to, expected) in cases {
        for op in ["send", "request"] {
            let answer = troupe.tell("a", &json!({ "op": op, "to": to, "msg": "count" }));
            let why = answer["err"].as_str().unwrap_or_else(|| panic!("{op} to {to} gave {answer}"));
            assert!(why.contains(expected) && why.len() < 1_000, "{op} to {to}: {why}");
        }
    }
    let types = troupe.running.event_types("a");
    assert!(!types.iter().any(|kind| kind.starts_with("intent ")), "nothing was going to happen: {types:?}");
    troupe.chains_quote_each_other();
}

#[test]
fn a_request_to_oneself_would_deadlock_and_a_send_comes_later() {
    let mut troupe = Troupe::of(&["a"], "");
    let (request, send) = (troupe.request("a", &json!("count")), troupe.send("a", &json!("count")));
    let answer = troupe.tell("a", &request);
    assert_eq!(answer, json!({ "err": "would deadlock: a -> a" }));
    assert_eq!(troupe.tell("a", &send), json!({ "ok": null }));
    eventually("the send is worked on", || {
        let kind = format!("call {HANDLE_SEND}");
        troupe.running.event_types("a").contains(&kind).then_some(())
    });
    eventually("it is done", || {
        troupe.running.event_types("a").last().is_some_and(|kind| kind.ends_with("handle-send")).then_some(())
    });
    troupe.chains_quote_each_other();
}

#[test]
fn a_circle_of_requests_is_refused_at_once_and_spelled_out() {
    let mut troupe = Troupe::of(&["a", "b", "c"], "");
    let back = troupe.request("a", &json!("count"));
    let on = troupe.request("c", &back);
    let first = troupe.request("b", &on);
    let begun = std::time::Instant::now();
    let answer = troupe.tell("a", &first);
    assert!(begun.elapsed().as_secs() < 10, "at once, not at the deadline");
    assert_eq!(answer, json!({ "ok": { "ok": { "err": "would deadlock: c -> a -> b -> c" } } }));
    assert_eq!(troupe.tell("a", &json!("count")), json!(1), "nobody is stuck");
    troupe.chains_quote_each_other();
}

#[test]
fn actors_that_keep_requesting_each_other_never_hang() {
    let troupe = Troupe::of(&["a", "b"], "");
    let rounds = 40;
    std::thread::scope(|scope| {
        for (from, to) in [("a", "b"), ("b", "a")] {
            let request = troupe.request(to, &json!("count"));
            let (address, id) = (troupe.running.management(), troupe.id(from).to_owned());
            scope.spawn(move || {
                let mut management = Management::connect(address);
                for _ in 0..rounds {
                    let answer = management.request(&id, &request).expect("an answer");
                    let deadlock = answer["err"].as_str().is_some_and(|why| why.starts_with("would deadlock: "));
                    assert!(answer["ok"].is_u64() || deadlock, "{answer}");
                }
            });
        }
    });
    troupe.chains_quote_each_other();
}

#[test]
fn sends_arrive_in_the_order_in_which_they_were_sent() {
    let mut troupe = Troupe::of(&["a", "b"], "");
    let sends: Vec<Value> = (0..100).map(|n| troupe.send("b", &json!({ "op": "echo", "value": n }))).collect();
    assert_eq!(troupe.tell("a", &json!({ "op": "many", "ops": sends })), json!(vec![json!({ "ok": null }); 100]));
    let request = troupe.request("b", &json!({ "op": "echo", "value": "last" }));
    assert_eq!(troupe.tell("a", &request), json!({ "ok": "last" }), "a request queues behind them");
    let b = troupe.running.events("b");
    let got: Vec<_> =
        data_of(&b, &format!("call {HANDLE_SEND}")).iter().map(|call| call["params"][0]["value"].clone()).collect();
    assert_eq!(got, (0..100).map(|n| json!(n)).collect::<Vec<_>>());
    troupe.chains_quote_each_other();
}

#[test]
fn a_send_is_not_delivered_when_the_transition_that_sent_it_is_refused_later_or_it_is_and_the_chain_says_so() {
    let mut troupe = Troupe::of(&["a", "b"], "");
    let send = troupe.send("b", &json!({ "op": "echo", "value": "sent" }));
    let both = json!({ "op": "many", "ops": [send, { "op": "refuse", "message": "changed my mind" }] });
    let id = troupe.id("a").to_owned();
    troupe.management.request(&id, &both).expect_err("it refuses");
    eventually("what was sent was sent", || {
        let kind = format!("call {HANDLE_SEND}");
        troupe.running.event_types("b").contains(&kind).then_some(())
    });
    eventually("and done", || (!troupe.running.event_types("b").last()?.starts_with("call ")).then_some(()));
    troupe.chains_quote_each_other();
}

#[test]
fn a_deadline_says_whether_the_message_was_taken() {
    let mut troupe = Troupe::of(
        &["a", "b", "c"],
        "[limits]\nrequest_deadline_ms = 150\ncpu_ms_per_call = 60000\nstop_grace_ms = 0\n",
    );
    let (spin, count) = (troupe.request("b", &json!("spin")), troupe.request("b", &json!("count")));
    for (name, command, expected) in [("a", spin, "outcome unknown"), ("c", count, "not delivered")] {
        // The client outside has the same deadline, and reaches it first; the chain records what the actor was told.
        let id = troupe.id(name).to_owned();
        let _ = troupe.management.request(&id, &command);
        let told = eventually("it is told", || {
            let events = troupe.running.events(name);
            data_of(&events, &format!("host-call {REQUEST}")).first().map(|call| call["result"].clone())
        });
        assert!(told["err"].as_str().is_some_and(|why| why.contains(expected)), "{told}");
    }
    troupe.running.say(&["restart", "b"]);
    assert_eq!(troupe.tell("b", &json!("count")), json!(1), "what was withdrawn did not count");
    troupe.chains_quote_each_other();
}

#[test]
fn a_full_mailbox_is_an_answer() {
    let mut troupe =
        Troupe::of(&["a", "b"], "[limits]\nmailbox_deliveries = 3\ncpu_ms_per_call = 60000\nstop_grace_ms = 0\n");
    let spin = troupe.send("b", &json!("spin"));
    let mut outside = Management::connect(troupe.running.management());
    outside.send_request(troupe.id("b"), &json!("spin"));
    eventually("b is busy", || troupe.running.event_types("b").last()?.starts_with("call ").then_some(()));
    let answers = troupe.tell("a", &json!({ "op": "many", "ops": vec![spin; 5] }));
    let full = json!({ "err": "mailbox full" });
    assert_eq!(answers, json!([{ "ok": null }, { "ok": null }, { "ok": null }, full, full]));
    let request = troupe.request("b", &json!("count"));
    assert_eq!(troupe.tell("a", &request), full);

    troupe.running.say(&["stop", "b"]);
    let last = troupe.running.last_event("b");
    let a = troupe.running.events("a");
    let sent = a.iter().filter(|event| event["event_type"] == format!("host-call {SEND}")).take(3);
    let dropped = last["data"]["dropped"].as_array().expect("a list");
    let named: Vec<_> = dropped.iter().map(|link| link["sequence"].clone()).collect();
    assert_eq!(named, sent.map(|event| event["sequence"].clone()).collect::<Vec<_>>(), "each is named as dropped");
    outside.receive_reply().expect_err("it was stopped");
    troupe.chains_quote_each_other();
}

#[test]
fn a_mailbox_is_bounded_in_bytes_too() {
    let mut troupe = Troupe::of(&["a"], "");
    let limits = "[limits]\nmailbox_bytes = 1000\ncpu_ms_per_call = 60000\nstop_grace_ms = 0\n";
    let b = troupe.management.start(&troupe.stage.manifest("b", "probe", limits));
    troupe.ids.insert("b".into(), b);
    let mut outside = Management::connect(troupe.running.management());
    outside.send_request(troupe.id("b"), &json!("spin"));
    eventually("b is busy", || troupe.running.event_types("b").last()?.starts_with("call ").then_some(()));
    let send = troupe.send("b", &json!("x".repeat(400)));
    let answers = troupe.tell("a", &json!({ "op": "many", "ops": vec![send; 3] }));
    assert_eq!(answers, json!([{ "ok": null }, { "ok": null }, { "err": "mailbox full" }]));
}

#[test]
fn a_message_that_can_never_fit_is_not_told_to_come_back() {
    let mut troupe = Troupe::of(&["a"], "");
    let b = troupe.management.start(&troupe.stage.manifest("b", "probe", "[limits]\nmailbox_bytes = 1000\n"));
    troupe.ids.insert("b".into(), b);
    let send = troupe.send("b", &json!("x".repeat(2_000)));
    let answer = troupe.tell("a", &send);
    let why = answer["err"].as_str().expect("an error");
    assert!(why != "mailbox full" && why.contains("mailbox_bytes"), "the mailbox is empty: {why}");
}

#[test]
fn whoever_waits_for_an_actor_that_is_stopped_is_told_and_whoever_waits_can_be_stopped() {
    let mut troupe = Troupe::of(&["a", "b"], "[limits]\ncpu_ms_per_call = 60000\nstop_grace_ms = 0\n");
    let spin = troupe.request("b", &json!("spin"));
    let mut outside = Management::connect(troupe.running.management());
    let at_work = |troupe: &Troupe| {
        eventually("b is busy", || troupe.running.event_types("b").last()?.starts_with("call ").then_some(()));
    };
    outside.send_request(troupe.id("a"), &spin);
    at_work(&troupe);
    troupe.running.say(&["stop", "b"]);
    let answer = outside.receive_reply().expect("a goes on");
    assert!(answer["err"].as_str().is_some_and(|why| why.contains("stopped")), "{answer}");
    assert!(
        !answer["err"].as_str().is_some_and(|why| why.contains("failed")),
        "it was stopped, it did not fail: {answer}"
    );

    troupe.running.say(&["restart", "b"]);
    outside.send_request(troupe.id("a"), &spin);
    at_work(&troupe);
    let begun = std::time::Instant::now();
    troupe.running.say(&["stop", "a"]);
    assert!(begun.elapsed().as_secs() < 5, "a wait ends with the order: {:?}", begun.elapsed());
    outside.receive_reply().expect_err("a was stopped");
    troupe.running.say(&["restart", "b"]);
    assert_eq!(troupe.tell("b", &json!("count")), json!(1));
    troupe.chains_quote_each_other();
}

#[test]
fn an_actor_reads_its_own_chain_and_replay_shows_it_the_same() {
    let mut troupe = Troupe::of(&["a"], "");
    troupe.tell("a", &json!("count"));
    let seen = troupe.tell("a", &json!("chain"));
    let events = troupe.running.events("a");
    let types: Vec<_> = events.iter().map(|event| event["event_type"].clone()).collect();
    let shown = seen["types"].as_array().expect("a list");
    assert_eq!(shown[..], types[..6], "everything up to the call itself");
    let hashes: Vec<_> = events[..6].iter().map(|event| json!(event["hash"].as_str().expect("hex")[..16])).collect();
    assert_eq!(seen["hashes"].as_array().expect("a list")[..], hashes[..]);
    assert_eq!(seen["parents"][0], Value::Null);
    assert_eq!(seen["parents"].as_array().expect("a list")[1..], hashes[..5]);
    troupe.chains_quote_each_other();
}

#[test]
fn a_send_from_outside_is_a_transition_that_management_called() {
    let troupe = Troupe::of(&["a"], "");
    troupe.running.say(&["send", "a", "\"count\""]);
    let events = troupe.running.events("a");
    let calls = data_of(&events, &format!("call {HANDLE_SEND}"));
    assert_eq!((&calls[0]["caller"], &calls[0]["cause"]), (&json!("management"), &Value::Null));
}

#[test]
fn messages_survive_a_crash_together_with_what_caused_them() {
    let mut troupe = Troupe::of(&["a", "b"], "");
    let send = troupe.send("b", &json!("count"));
    let mut answered = 0;
    for _ in 0..20 {
        assert_eq!(troupe.tell("a", &send), json!({ "ok": null }));
        answered += 1;
    }
    let request = troupe.request("b", &json!({ "op": "echo", "value": 0 }));
    assert_eq!(troupe.tell("a", &request), json!({ "ok": 0 }));
    let Troupe { stage, running, ids, .. } = troupe;
    running.kill();
    let running = stage.run(&[]);
    let management = Management::connect(running.management());
    let troupe = Troupe { stage, running, ids, management };
    let b = troupe.running.events("b");
    assert_eq!(data_of(&b, &format!("call {HANDLE_SEND}")).len(), answered);
    troupe.chains_quote_each_other();
}
