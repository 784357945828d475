//! Theater: an actor for each key, behind a listener of the runtime.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Running, System, here};
use crate::load::{ask, name_of};
use crate::processes::Processes;

pub struct Theater;

/// How many counters one request makes.
const BATCH: usize = 100;

impl Theater {
    fn program() -> PathBuf {
        here("../system/target/release/theater")
    }
}

impl System for Theater {
    fn name(&self) -> &'static str {
        "Theater"
    }

    fn description(&self) -> String {
        "an actor for each key, behind one listener with a route; `durability = \"commit\"`; a guest in Rust".into()
    }

    fn needs(&self) -> Vec<PathBuf> {
        [Self::program(), here("../../actors/dist/counters.wasm"), here("../../actors/dist/counter.wasm")].into()
    }

    fn start(&self, dir: &Path, _is_new: bool) -> io::Result<Running> {
        let mut processes = Processes::default();
        let mut command = Command::new(Self::program());
        command.arg("run").arg(here("theater/counters.toml")).arg("--config").arg(here("theater/theater.toml"));
        command.args(["--data-dir", "theater", "--log", "warn"]);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("THEATER_")) {
            command.env_remove(name);
        }
        let mut address = None;
        let address = processes.start(&mut command, dir, |line| {
            let listener = line.strip_prefix("listener ").and_then(|rest| rest.trim().strip_prefix("http://"));
            address = listener.and_then(|text| text.trim_end_matches('/').parse().ok()).or(address);
            if line == "ready" { address } else { None }
        })?;
        Ok(Running { processes, address })
    }

    fn prepare(&self, running: &Running, keys: usize) -> io::Result<(usize, Option<String>)> {
        let mut made = 0;
        while made < keys {
            let labels: Vec<String> = (made..keys.min(made + BATCH)).map(name_of).collect();
            let body = serde_json::to_string(&labels).expect("text");
            let (status, answer) = ask(running.address, "POST", "/counters", &body)?;
            if status != 200 {
                return Ok((made, Some(String::from_utf8_lossy(&answer).into_owned())));
            }
            made += labels.len();
        }
        Ok((made, None))
    }

    fn count_request(&self) -> (&'static str, &'static str) {
        ("GET", "/")
    }
}
