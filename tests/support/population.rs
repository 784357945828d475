//! A hundred thousand actors: a hatchery with children that may sleep, for the tests and the figures of sleep.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::support::{Management, Stage, Theater, eventually};

const ROUTED: &str = "[[handlers]]\ntype = \"http-server\"\nconfig = { listen = false }\n";

/// A hatchery called `home`, and its children: counters whose manifest has `of_child`.
pub struct Population {
    pub stage: Stage,
    pub manifest: PathBuf,
}

impl Population {
    pub fn new(of_child: &str) -> Self {
        let stage = Stage::new();
        for name in ["counter", "hatchery"] {
            stage.copy_component(name, name);
        }
        stage.manifest_at("child", "counter.wasm".as_ref(), &format!("{of_child}{ROUTED}"));
        let more = "[[handlers]]\ntype = \"supervisor\"\n[limits]\nchildren = 1_000_000\nrequest_deadline_ms = 3_600_000\ncpu_ms_per_call = 600_000\n";
        let manifest = stage.manifest_at("home", "hatchery.wasm".as_ref(), more);
        Self { stage, manifest }
    }

    pub fn run(&self, more: &[&str]) -> Theater {
        self.stage.run_with(&[&self.manifest], more).unwrap_or_else(|why| panic!("{why}"))
    }
}

/// Sees to it that the children with these numbers are there.
pub fn hatch(running: &Theater, numbers: std::ops::Range<u64>) {
    let (mut management, home) = (Management::connect(running.management()), running.id("home"));
    for from in numbers.clone().step_by(500) {
        let upto = (from + 500).min(numbers.end);
        assert_eq!(management.request(&home, &json!({ "from": from, "upto": upto })), Ok(json!(upto - from)));
    }
}

/// What the runtime says of all actors together: how many there are, how many sleep.
pub fn totals(running: &Theater) -> Value {
    Management::connect(running.management()).ask(&json!("Status"))["Status"]["total"].clone()
}

pub fn until_asleep(running: &Theater, actors: u64) {
    eventually("all children sleep", || (totals(running)["asleep"].as_u64() >= Some(actors)).then_some(()));
}

/// The number after `key` in the status of the process.
pub fn status(pid: u32, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with(key)).expect("the key");
    line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
}
