//! Tests of traces: from any event, the call that led to it, and everything that came of it at other actors.

mod support;

use std::path::PathBuf;

use serde_json::{Value, json};
use support::{Stage, Theater, eventually, text, theater};

/// Actors that do what they are told, one for each of these names, in one runtime.
fn troupe(names: &[&str], more: &str) -> (Stage, Theater) {
    let (stage, more) = (Stage::new(), format!("{more}\n{GRANTS}"));
    let manifests: Vec<PathBuf> = names.iter().map(|name| stage.manifest(name, "gatherer", &more)).collect();
    let manifests: Vec<_> = manifests.iter().map(PathBuf::as_path).collect();
    let running = stage.run(&manifests);
    (stage, running)
}

const GRANTS: &str = "[[handlers]]\ntype = \"supervisor\"\n";

/// The sequence of the last event of this type.
fn last(running: &Theater, actor: &str, event_type: &str) -> u64 {
    let events = running.events(actor);
    let found = events.iter().rfind(|event| event["event_type"] == event_type);
    found.unwrap_or_else(|| panic!("{actor} has no {event_type}"))["sequence"].as_u64().expect("a number")
}

fn trace(running: &Theater, actor: &str, event: u64) -> Value {
    running.json(&["trace", actor, &event.to_string()])
}

/// The nodes of a tree as lines: how deep, the actor, the function without its interface, the outcome.
fn outline(tree: &Value) -> Vec<String> {
    fn add(node: &Value, depth: usize, lines: &mut Vec<String>) {
        let text = |key: &str| node[key].as_str().expect("a text").to_owned();
        let function = text("function");
        let short = function.rsplit('.').next().expect("a word");
        lines.push(format!("{}{} {short} {}", "  ".repeat(depth), text("name"), text("outcome")));
        node["children"].as_array().into_iter().flatten().for_each(|child| add(child, depth + 1, lines));
    }
    let mut lines = Vec::new();
    add(&tree["root"], 0, &mut lines);
    lines
}

/// The nodes that hold the event that was asked about.
fn asked(node: &Value) -> Vec<(String, u64)> {
    let own = (node["asked"] == json!(true))
        .then(|| (node["name"].as_str().expect("a name").to_owned(), node["sequence"].as_u64().expect("a number")));
    let below = node["children"].as_array().into_iter().flatten().flat_map(asked);
    own.into_iter().chain(below).collect()
}

const HANDLE_REQUEST: &str = "ntwk:theater/message-server-client.handle-request";

#[test]
fn a_trace_across_three_actors_is_the_same_from_each_of_its_events() {
    let (stage, running) = troupe(&["front", "middle", "back"], "");
    let command = json!({ "op": "request", "to": "middle", "msg":
        { "op": "many", "ops": [{ "op": "request", "to": "back", "msg": "count" }, { "op": "log", "text": "so far" },
            { "op": "send", "to": "back", "msg": "count" }] } });
    running.request("front", &command).expect("an answer");
    let handle_send = "return ntwk:theater/message-server-client.handle-send".to_owned();
    eventually("the message is worked on", || running.event_types("back").contains(&handle_send).then_some(()));
    let expected = [
        "front handle-request done",
        "  front request done",
        "    middle handle-request done",
        "      middle request done",
        "        back handle-request done",
        "      middle log done",
        "      middle send done",
        "        back handle-send done",
    ];
    let whole = trace(&running, "front", last(&running, "front", &format!("call {HANDLE_REQUEST}")));
    assert_eq!(outline(&whole), expected);
    assert_eq!((&whole["nodes"], &whole["left_out"], &whole["notes"]), (&json!(8), &json!(0), &json!([])));
    assert_eq!(whole["root"]["caller"], "management");
    let dir = stage.data_dir();
    for (actor, first) in [("front", 3), ("middle", 3), ("back", 3)] {
        for event in running.events(actor).iter().filter(|event| event["sequence"].as_u64() >= Some(first)) {
            let sequence = event["sequence"].as_u64().expect("a number");
            let tree = trace(&running, actor, sequence);
            assert_eq!(outline(&tree), expected, "{actor} {sequence}");
            let marked = asked(&tree["root"]);
            assert_eq!((marked.len(), &*marked[0].0), (1, actor), "{actor} {sequence}");
            let args = ["trace", actor, &sequence.to_string(), "--json", "--data-dir", dir.to_str().expect("a path")];
            let read = theater(&args, None);
            assert_eq!(serde_json::from_slice::<Value>(&read.stdout).expect("JSON"), tree, "{}", text(&read.stderr));
        }
    }
    let said = running.say(&["trace", "back", "3"]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains("front 3-6  handle-request (by management)"), "{said}");
    assert!(
        lines[4].contains("back 3-4  handle-request  \"count\"  → 1") && lines[4].contains("<- this event"),
        "{said}"
    );
}

#[test]
fn a_refusal_and_a_panic_are_shown_where_they_happened_with_the_state_before() {
    let (_stage, running) = troupe(&["front", "back"], "restart = \"permanent\"\nrestart_backoff_ms = 1\n");
    for message in [json!({ "op": "refuse", "message": "not today" }), json!({ "op": "panic", "message": "oh\nno" })] {
        let answer = running.request("front", &json!({ "op": "request", "to": "back", "msg": message }));
        assert!(answer.expect("an answer")["err"].is_string());
    }
    let calls: Vec<u64> = running
        .events("front")
        .iter()
        .filter(|event| event["event_type"] == format!("call {HANDLE_REQUEST}"))
        .map(|event| event["sequence"].as_u64().expect("a number"))
        .collect();
    let said = running.say(&["trace", "front", &calls[0].to_string()]);
    assert!(said.contains("back 3-4  handle-request") && said.contains("→ refused: not today"), "{said}");
    assert!(said.ends_with("the state of back before that: theater state back --at 2"), "{said}");
    let failed = eventually("it is started again", || {
        let tree = trace(&running, "front", calls[1]);
        tree.to_string().contains("restart, incarnation 2").then_some(tree)
    });
    let back = &failed["root"]["children"][0]["children"][0];
    assert_eq!((&back["name"], &back["outcome"]), (&json!("back"), &json!("failed")));
    assert!(back["detail"].as_str().expect("a text").starts_with("trap: panicked at "), "{back}");
    assert_eq!(failed["root"]["children"][0]["outcome"], "error", "what the front was told");
    let said = running.say(&["trace", "front", &calls[1].to_string()]);
    assert!(said.contains("→ FAILED: trap: panicked at ") && said.contains("oh | no"), "one line each: {said}");
    assert!(said.contains("the state of back before that: theater state back --at 4"), "{said}");
}

#[test]
fn an_answer_that_is_not_waited_for_or_is_put_off_is_found_in_a_later_call() {
    let (_stage, running) = troupe(&["asker", "desk"], "");
    let ask = json!({ "op": "ask", "to": "desk", "msg": "defer", "within": 60_000 });
    running.request("asker", &ask).expect("an answer");
    let deferred = "host-call ntwk:theater/deferred-replies.defer";
    let token = eventually("it is put off", || {
        running.event_types("desk").iter().any(|it| it == deferred).then(|| last(&running, "desk", deferred))
    });
    let open = outline(&trace(&running, "desk", token));
    assert_eq!(open[2], "    desk handle-request open", "{open:?}");
    running.request("desk", &json!({ "op": "reply", "token": token, "value": 7 })).expect("an answer");
    let told = "return ntwk:theater/reply-handlers.handle-reply".to_owned();
    eventually("the asker is told", || running.event_types("asker").contains(&told).then_some(()));
    let tree = trace(&running, "asker", last(&running, "asker", &told));
    let expected = [
        "asker handle-request done",
        "  asker request-async done",
        "    desk handle-request done",
        "      desk defer done",
        "      desk reply done",
        "    asker handle-reply done",
    ];
    assert_eq!(outline(&tree), expected, "{tree}");
}

#[test]
fn a_message_that_nobody_takes_says_where_it_stopped() {
    let (_stage, running) = troupe(&["front", "back"], "[limits]\nrequest_deadline_ms = 300\n");
    let unknown = json!({ "op": "send", "to": "nobody", "msg": "count" });
    running.request("front", &unknown).expect("an answer");
    let send = "host-call ntwk:theater/message-server-host.send";
    let refused = trace(&running, "front", last(&running, "front", send));
    let node = &refused["root"]["children"][0];
    assert_eq!((&node["outcome"], node.get("children")), (&json!("error"), None), "{refused}");
    // While it spins it takes nothing; it is stopped before it comes to the second message.
    running.request("front", &json!({ "op": "send", "to": "back", "msg": "spin" })).expect("an answer");
    running.request("front", &json!({ "op": "send", "to": "back", "msg": "count" })).expect("an answer");
    let second = last(&running, "front", send);
    let waiting = trace(&running, "front", second);
    let node = &waiting["root"]["children"][0];
    assert_eq!(node["outcome"], "open", "{waiting}");
    assert!(node["detail"].as_str().expect("a text").contains("back has not taken it"), "{waiting}");
    running.say(&["stop", "back"]);
    let lost = trace(&running, "front", second);
    let node = &lost["root"]["children"][0];
    assert_eq!(node["outcome"], "dropped", "{lost}");
    assert!(node["detail"].as_str().expect("a text").contains("it stopped in the mailbox of back"), "{lost}");
    running.say(&["forget", "back"]);
    let gone = trace(&running, "front", second);
    assert!(gone.to_string().contains("what became of it is not known here: no such actor"), "{gone}");
}

#[test]
fn what_was_dropped_is_shown_as_that_and_the_rest_is_followed() {
    let (_stage, running) = troupe(&["front", "back"], "");
    running.request("front", &json!({ "op": "request", "to": "back", "msg": "count" })).expect("an answer");
    running.say(&["restart", "back"]);
    running.request("back", &json!("count")).expect("an answer");
    running.say(&["prune", "back", "--before", "7"]);
    let tree = trace(&running, "front", 3);
    let expected = ["front handle-request done", "  front request done", "    back handle-request unknown"];
    assert_eq!(outline(&tree), expected, "by the link of the answer: {tree}");
    let tree = trace(&running, "back", 4);
    assert_eq!(outline(&tree), ["back handle-request unknown"], "its own link is gone");
    let note = tree["notes"][0].as_str().expect("a note");
    assert_eq!(note, "what led to event 3 of back is not known: its data was dropped");
}

#[test]
fn children_are_part_of_the_call_that_spawned_them_and_an_unlabelled_one_is_told_by_its_id() {
    let stage = Stage::new();
    stage.manifest_at("child", &stage.copy_component("probe", "child"), "");
    let running = stage.run(&[&stage.manifest("parent", "nursery", GRANTS)]);
    let child = running.request("parent", &json!({ "op": "spawn", "manifest": "child.toml" })).expect("an answer");
    let child = child["ok"].as_str().unwrap_or_else(|| panic!("{child}")).to_owned();
    let tree = trace(&running, &child, 0);
    let name = format!("child {}", &child[..8]);
    assert_eq!(
        outline(&tree)[..3],
        ["parent handle-request done".to_owned(), "  parent spawn done".to_owned(), format!("    {name} init done"),]
    );
    running.request("parent", &json!({ "op": "stop-child", "child": child })).expect("an answer");
    let stopped = last(&running, &child, "stopped");
    let tree = outline(&trace(&running, &child, stopped));
    assert_eq!(
        tree[..3],
        [
            "parent handle-request done".to_owned(),
            "  parent stop-child done".to_owned(),
            format!("    {name} stopped stopped"),
        ]
    );
}

#[test]
fn a_timer_begins_a_trace_of_its_own_and_names_what_set_it() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("alarm", "alarm", "[[handlers]]\ntype = \"timer\"\n")]);
    running.request("alarm", &json!({ "op": "set", "key": "tick", "after": 1 })).expect("an answer");
    let fired = "return ntwk:theater/timer-handlers.handle-timer".to_owned();
    eventually("it fires", || running.event_types("alarm").contains(&fired).then_some(()));
    let tree = trace(&running, "alarm", last(&running, "alarm", &fired));
    let set = last(&running, "alarm", "host-call ntwk:theater/timer.set");
    assert_eq!(outline(&tree), ["alarm handle-timer done"], "{tree}");
    assert!(tree["notes"][0].as_str().expect("a note").ends_with(&format!("theater trace alarm {set}")), "{tree}");
}

#[test]
fn a_trace_is_bounded_and_says_what_it_leaves_out() {
    let (_stage, running) = troupe(&["front", "back"], "");
    let send = json!({ "op": "send", "to": "back", "msg": "count" });
    let many = json!({ "op": "many", "ops": vec![send; 950] });
    running.request("front", &json!({ "op": "log", "text": "again", "times": 300 })).expect("an answer");
    let tree = trace(&running, "front", 3);
    assert_eq!((&tree["nodes"], &tree["left_out"]), (&json!(101), &json!(200)), "its own affairs");
    assert!(tree["notes"].to_string().contains("200 nodes were left out"), "{}", tree["notes"]);
    for _ in 0..2 {
        running.request("front", &json!({ "op": "request", "to": "front", "msg": "count" })).expect("an answer");
    }
    running.request("front", &many).expect("an answer");
    let events = running.events("front");
    let at = events.last().expect("an event")["sequence"].as_u64().expect("a number");
    let tree = trace(&running, "front", at);
    assert_eq!((&tree["nodes"], &tree["left_out"]), (&json!(1_901), &json!(0)));
    let twice = json!({ "op": "many", "ops": vec![json!({ "op": "send", "to": "back", "msg": "count" }); 1_020] });
    eventually("the mailbox is empty", || {
        (running.json(&["status", "back"])["mailbox_depth"] == json!(0)).then_some(())
    });
    running.request("front", &twice).expect("an answer");
    let at = running.events("front").last().expect("an event")["sequence"].as_u64().expect("a number");
    let tree = eventually("all are taken", || {
        Some(trace(&running, "front", at)).filter(|tree| tree["left_out"].as_u64() >= Some(41))
    });
    assert_eq!((&tree["nodes"], &tree["left_out"]), (&json!(2_000), &json!(41)));
}

#[test]
fn what_an_actor_says_stays_text_and_what_is_not_there_is_named() {
    let (_stage, running) = troupe(&["front", "back"], "");
    let hostile = "\u{1b}[2J\r\n└── forged  <- this event\u{202e}";
    let refuse = json!({ "op": "request", "to": "back", "msg": { "op": "refuse", "message": hostile } });
    running.request("front", &refuse).expect("an answer");
    let said = running.say(&["trace", "front", "3"]);
    assert!(!said.contains('\u{1b}') && !said.contains('\r'), "{said:?}");
    assert_eq!(said.lines().filter(|line| line.trim_start().starts_with("└── forged")).count(), 0, "{said}");
    let why = running.refused(&["trace", "front", "4711"]);
    assert!(why.contains("event 4711 is not on the chain of front"), "{why}");
    let output = running.cli(&["trace", "front", "minus-one"]);
    assert_eq!(output.status.code(), Some(2));
}
