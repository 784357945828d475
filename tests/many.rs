//! A test with a thousand actors of one manifest at once.

mod support;

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use support::{Http, Management, Stage};

const ACTORS: usize = 1_000;
const CLIENTS: usize = 40;

/// The number after `Threads:` or `VmRSS:` in the status of the process.
fn status(pid: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with(key)).expect("the key");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}

fn maps(pid: u32) -> usize {
    std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("a process").lines().count()
}

fn is_telling(name: &str) -> bool {
    let fixed = ["theater", "journal", "index", "watch", "timers", "tick", "mgmt", "signals"];
    fixed.contains(&name) || ["a-", "mgmt-", "http-", "core-"].iter().any(|prefix| name.starts_with(prefix))
}

#[test]
fn a_thousand_actors_run_at_once() {
    let stage = Stage::new();
    let named = |number: usize| stage.manifest(&format!("counter-{number}"), "counter", "");
    let manifests: Vec<PathBuf> = (0..ACTORS).map(named).collect();
    let running = stage.run(&[]);
    let begun = Instant::now();
    let ids: Vec<String> = std::thread::scope(|scope| {
        let client = |share: &[PathBuf]| {
            let mut management = Management::connect(running.management());
            share.iter().map(|manifest| management.start(manifest)).collect::<Vec<_>>()
        };
        let shares = manifests.chunks(ACTORS / CLIENTS);
        let clients: Vec<_> = shares.map(|share| scope.spawn(move || client(share))).collect();
        clients.into_iter().flat_map(|client| client.join().expect("started")).collect()
    });
    let started = begun.elapsed();
    let pid = running.pid();
    let names = running.thread_names();
    let strangers: Vec<_> = names.iter().filter(|name| !is_telling(name)).collect();
    assert!(strangers.is_empty(), "{strangers:?}");
    assert_eq!(names.iter().filter(|name| name.starts_with("a-counter-")).count(), ACTORS);

    let asked = Instant::now();
    std::thread::scope(|scope| {
        for share in ids.chunks(ACTORS / CLIENTS) {
            let mut management = Management::connect(running.management());
            scope.spawn(move || {
                for id in share {
                    assert_eq!(management.request(id, &json!({ "add": 1 })), Ok(json!({ "count": 1 })));
                }
            });
        }
    });
    let answered = asked.elapsed();
    let mut management = Management::connect(running.management());
    let listed = management.ask(&json!("ListActors"));
    assert_eq!(listed["ActorList"]["actors"].as_array().map(Vec::len), Some(ACTORS));
    let (threads, memory, maps) = (status(pid, "Threads:"), status(pid, "VmRSS:"), maps(pid));

    let stopping = Instant::now();
    std::thread::scope(|scope| {
        for share in ids.chunks(ACTORS / CLIENTS) {
            let mut management = Management::connect(running.management());
            scope.spawn(move || {
                for id in share {
                    let stopped = management.ask(&json!({ "StopActor": { "id": id } }));
                    assert_eq!(stopped, json!({ "ActorStopped": { "id": id } }));
                }
            });
        }
    });
    println!(
        "{ACTORS} actors: started in {started:?}, answered in {answered:?}, stopped in {:?}; {threads} threads, {} MiB, \
         {maps} maps",
        stopping.elapsed(),
        memory / 1024
    );
    assert_eq!(management.ask(&json!("ListActors")), json!({ "ActorList": { "actors": [] } }));
    assert!(!running.thread_names().iter().any(|name| name.starts_with("a-")), "their threads have ended");
    running.shut_down();
}

#[test]
fn a_hundred_actors_with_listeners_and_children_come_back_after_a_crash() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    let mut management = Management::connect(running.management());
    let named = |number: usize| stage.http_manifest(&format!("counter-{number}"), "counter", "");
    let ids: Vec<String> = (0..100).map(|number| management.start(&named(number))).collect();
    let addresses = |running: &support::Theater| {
        let actors = running.json(&["list"]);
        let actors = actors.as_array().expect("a list").clone();
        actors
            .iter()
            .map(|actor| actor["addresses"][0].as_str().expect("it listens").parse().expect("an address"))
            .collect::<Vec<_>>()
    };
    for address in addresses(&running) {
        assert_eq!(Http::connect(address).ask("POST", "/increment", None).json(), json!({ "count": 1 }));
    }
    running.kill();
    let running = stage.run(&[]);
    let listed = running.json(&["list"]);
    let listed: Vec<_> = listed.as_array().expect("a list").iter().map(|actor| actor["id"].clone()).collect();
    assert_eq!(listed, ids, "in the order in which they came");
    for address in addresses(&running) {
        assert_eq!(Http::connect(address).ask("POST", "/increment", None).json(), json!({ "count": 2 }));
    }
    let names = running.thread_names();
    let strangers: Vec<_> = names.iter().filter(|name| !is_telling(name)).collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}
