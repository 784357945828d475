//! Tests of subscriptions to one actor, to a tree and to all actors: past and new events without gaps or duplicates, by
//! kind, in large numbers, and with clients that do not read.

mod support;

use std::collections::HashMap;
use std::io::Read;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Management, Stage, Theater, eventually};

const SUPERVISOR: &str = "[[handlers]]\ntype = \"supervisor\"\n";

/// A nursery with one child called `child`, and a separate counter.
fn family() -> (Stage, Theater, [String; 3]) {
    let stage = Stage::new();
    ["probe", "nursery"].iter().for_each(|name| _ = stage.copy_component(name, name));
    let parent = stage.manifest_at("parent", "nursery.wasm".as_ref(), SUPERVISOR);
    stage.manifest_at("child", "probe.wasm".as_ref(), "");
    let running = stage.run(&[&parent, &stage.manifest("counter", "counter", "")]);
    let (parent, counter) = (running.id("parent"), running.id("counter"));
    let child = spawn(&running, &parent);
    (stage, running, [parent, child, counter])
}

fn spawn(running: &Theater, parent: &str) -> String {
    let mut management = Management::connect(running.management());
    let spawned = management.request(parent, &json!({ "op": "spawn", "manifest": "child.toml" })).expect("an answer");
    spawned["ok"].as_str().unwrap_or_else(|| panic!("{spawned}")).to_owned()
}

fn subscribe(management: &mut Management, command: &Value) -> (String, u64) {
    let answer = management.ask(&json!({ "Subscribe": command }));
    let subscribed = &answer["SubscribedFrom"];
    let id = subscribed["subscription_id"].as_str().unwrap_or_else(|| panic!("{answer}"));
    (id.to_owned(), subscribed["from"].as_u64().expect("a position"))
}

/// Reads events until `last` is true for one.
fn until(management: &mut Management, last: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let frame = management.receive().expect("an event");
        let event = frame["Event"].clone();
        assert!(event.is_object(), "{frame}");
        let is_last = last(&event);
        events.push(event);
        if is_last {
            return events;
        }
    }
}

fn event_type(event: &Value) -> &str {
    event["event"]["event_type"].as_str().expect("a type")
}

/// Checks that each actor's events are complete and in order, and that positions only grow.
fn are_in_order(events: &[Value], from: u64) -> HashMap<String, u64> {
    let mut next: HashMap<String, u64> = HashMap::new();
    let mut before = None;
    for event in events {
        let position = event["position"].as_u64().expect("a position");
        assert!(position >= from && before.is_none_or(|before| position > before), "{event}");
        before = Some(position);
        let id = event["id"].as_str().expect("an id").to_owned();
        let sequence = event["event"]["sequence"].as_u64().expect("a sequence");
        if let Some(expected) = next.insert(id, sequence + 1) {
            assert_eq!(sequence, expected, "no gap, nothing twice");
        }
    }
    next
}

#[test]
fn all_from_the_beginning_is_the_whole_journal_and_then_what_comes() {
    let (_stage, running, [parent, child, counter]) = family();
    let mut follower = Management::connect(running.management());
    let (_, from) = subscribe(&mut follower, &json!({ "scope": "All", "from": 0 }));
    assert_eq!(from, 0);
    let mut other = Management::connect(running.management());
    (0..50).for_each(|_| _ = other.request(&counter, &json!({ "add": 1 })).expect("an answer"));
    other.request(&child, &json!("count")).expect("an answer");
    let lengths: HashMap<String, u64> =
        [&parent, &child, &counter].map(|id| (id.clone(), running.events(id).len() as u64)).into();
    let of_child = lengths[&child] - 1;
    let events = until(&mut follower, |event| event["id"] == json!(child) && event["event"]["sequence"] == of_child);
    let seen = are_in_order(&events, 0);
    assert_eq!((seen[&child], seen[&counter]), (lengths[&child], lengths[&counter]));
    assert!(seen.len() == 3 && seen[&parent] <= lengths[&parent]);

    // Another subscription continues where the first one ended.
    let half = &events[events.len() / 2];
    let mut late = Management::connect(running.management());
    subscribe(&mut late, &json!({ "scope": "All", "from": half["position"] }));
    let rest = until(&mut late, |event| event["id"] == json!(child) && event["event"]["sequence"] == of_child);
    let without_subscription = |event: &Value| (event["position"].clone(), event["id"].clone(), event["event"].clone());
    let expected: Vec<_> = events[events.len() / 2..].iter().map(without_subscription).collect();
    assert_eq!(rest.iter().map(without_subscription).collect::<Vec<_>>(), expected);
}

#[test]
fn a_tree_is_followed_with_whoever_comes_below_it_and_nobody_else() {
    let (_stage, running, [parent, child, counter]) = family();
    let mut follower = Management::connect(running.management());
    subscribe(&mut follower, &json!({ "scope": { "Tree": parent } }));
    let mut other = Management::connect(running.management());
    other.request(&counter, &json!({ "add": 1 })).expect("an answer");
    let newcomer = spawn(&running, &parent);
    other.request(&newcomer, &json!("count")).expect("an answer");
    other.request(&child, &json!("count")).expect("an answer");
    let last = running.events(&child).len() as u64 - 1;
    let events = until(&mut follower, |event| event["id"] == json!(child) && event["event"]["sequence"] == last);
    let seen = are_in_order(&events, 0);
    assert!(seen.contains_key(&newcomer) && seen.contains_key(&parent) && !seen.contains_key(&counter), "{seen:?}");
    let of_newcomer: Vec<&str> = events.iter().filter(|event| event["id"] == json!(newcomer)).map(event_type).collect();
    assert_eq!(of_newcomer[0], "started", "from its first event on");
}

#[test]
fn only_the_kinds_that_are_wanted_are_pushed() {
    let (_stage, running, [parent, child, counter]) = family();
    let mut follower = Management::connect(running.management());
    subscribe(&mut follower, &json!({ "scope": "All", "from": 0, "kinds": ["started", "stopped"] }));
    let mut one = Management::connect(running.management());
    let kinds = json!({ "SubscribeToActor": { "id": counter, "from": 0, "kinds": ["return", "stopped"] } });
    assert!(one.ask(&kinds)["Subscribed"].is_object());
    let mut other = Management::connect(running.management());
    (0..600).for_each(|_| _ = other.request(&counter, &json!({ "add": 1 })).expect("an answer"));
    running.say(&["stop", &counter]);
    let events = until(&mut follower, |event| event_type(event) == "stopped");
    let types: Vec<&str> = events.iter().map(event_type).collect();
    assert_eq!(types, ["started", "started", "started", "stopped"]);
    assert!(
        events.iter().any(|event| event["id"] == json!(parent))
            && events.iter().any(|event| event["id"] == json!(child))
    );
    let mut returns = 0;
    loop {
        let event = one.event();
        match event["event_type"].as_str().expect("a type") {
            "stopped" => break,
            other => assert!(other.starts_with("return "), "{other}"),
        }
        returns += 1;
    }
    assert_eq!(returns, 601);
    let why = one.error(&json!({ "Subscribe": { "scope": "All", "kinds": ["began"] } }));
    assert!(why.contains("began") && why.contains("host-call"), "{why}");
}

#[test]
fn a_wide_subscription_ends_when_it_is_told_to_and_their_number_is_bounded() {
    let (_stage, running, [parent, _, counter]) = family();
    let mut follower = Management::connect(running.management());
    let (id, _) = subscribe(&mut follower, &json!({ "scope": "All" }));
    let end = json!({ "Unsubscribe": { "subscription_id": id } });
    assert_eq!(follower.ask(&end), json!({ "UnsubscribedFrom": { "subscription_id": id } }));
    assert!(follower.error(&end).contains("no such subscription"));
    let mut other = Management::connect(running.management());
    other.request(&counter, &json!({ "add": 1 })).expect("an answer");
    (0..16).for_each(|_| _ = subscribe(&mut follower, &json!({ "scope": { "Tree": parent } })));
    let why = follower.error(&json!({ "Subscribe": { "scope": "All" } }));
    assert!(why.contains("the limit management_wide_subscriptions is 16"), "{why}");
}

#[test]
fn thousands_of_subscriptions_push_each_event_once_to_each() {
    let (_stage, running, [parent, child, counter]) = family();
    let mut management = Management::connect(running.management());
    let actors = [&parent, &child, &counter];
    let mut ids = Vec::new();
    for at in 0..3_000 {
        let answer = management.ask(&json!({ "SubscribeToActor": { "id": actors[at % 3] } }));
        ids.push(answer["Subscribed"]["subscription_id"].clone());
    }
    let others: Vec<Management> = (0..100)
        .map(|_| {
            let mut one = Management::connect(running.management());
            (0..10).for_each(|_| _ = one.ask(&json!({ "SubscribeToActor": { "id": counter } })));
            one
        })
        .collect();
    let mut other = Management::connect(running.management());
    other.request(&counter, &json!({ "add": 1 })).expect("an answer");
    let count = |management: &mut Management, expected: usize| {
        let mut seen: HashMap<u64, usize> = HashMap::new();
        (0..2 * expected).for_each(|_| {
            let frame = management.receive().expect("an event");
            assert_eq!(frame["ActorEvent"]["id"], json!(counter), "{frame}");
            *seen.entry(frame["ActorEvent"]["event"]["sequence"].as_u64().expect("a number")).or_default() += 1;
        });
        assert_eq!(seen.into_values().collect::<Vec<_>>(), [expected, expected]);
    };
    count(&mut management, 1_000);
    others.into_iter().for_each(|mut one| count(&mut one, 10));
    for (at, id) in ids.iter().enumerate() {
        let end = json!({ "UnsubscribeFromActor": { "id": actors[at % 3], "subscription_id": id } });
        assert_eq!(management.ask(&end), json!({ "Unsubscribed": { "id": actors[at % 3] } }));
    }
    other.request(&counter, &json!({ "add": 1 })).expect("an answer");
    assert!(management.ask(&json!("ListActors"))["ActorList"].is_object(), "and no event came in between");
}

#[test]
fn one_that_does_not_read_gets_a_last_frame_and_is_dropped() {
    let stage = Stage::new();
    let manifest = stage.manifest("counter", "counter", "");
    let launch = stage.command(&[&manifest], &["--data-dir"]).arg(stage.data_dir());
    let running = launch.env("THEATER_MANAGEMENT_PATIENCE_MS", "300").launch(&stage).expect("it starts");
    let counter = running.id("counter");
    let mut other = Management::connect(running.management());
    (0..200).for_each(|_| _ = other.request(&counter, &json!({ "add": 1 })).expect("an answer"));
    let mut deaf = Management::connect(running.management());
    // Each of these pushes the whole history, which is far more than a socket's buffer holds.
    (0..200).for_each(|_| deaf.send(&json!({ "SubscribeToActor": { "id": counter, "from": 0 } })));
    eventually("it is dropped", || {
        other.request(&counter, &json!({ "add": 1 })).expect("others are answered");
        stage.log().contains("does not read").then_some(())
    });
    let mut frames = Vec::new();
    while let Some(frame) = deaf.receive() {
        frames.push(frame);
    }
    let last = frames.pop().expect("a last frame");
    assert!(last["Error"]["message"].as_str().is_some_and(|why| why.starts_with("dropped: ")), "{last}");
    assert!(frames.iter().all(|frame| frame.get("Error").is_none()), "and whole frames before it");
    assert_eq!(deaf.0.read(&mut [0]).unwrap_or(0), 0);
    eventually("its threads end", || {
        (running.thread_names().iter().filter(|name| name.starts_with("mgmt-")).count() <= 2).then_some(())
    });
}

#[test]
fn whoever_leaves_leaves_nothing_behind() {
    let (_stage, running, [parent, _, counter]) = family();
    for _ in 0..20 {
        let mut one = Management::connect(running.management());
        one.ask(&json!({ "SubscribeToActor": { "id": counter } }));
        subscribe(&mut one, &json!({ "scope": { "Tree": parent } }));
        if one.0.set_read_timeout(Some(Duration::from_secs(60))).is_ok() {
            drop(one);
        }
    }
    eventually("their threads end", || {
        (!running.thread_names().iter().any(|name| name.starts_with("mgmt-"))).then_some(())
    });
    let mut other = Management::connect(running.management());
    other.request(&counter, &json!({ "add": 1 })).expect("an answer");
}
