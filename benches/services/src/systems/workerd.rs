//! workerd, the runtime of Cloudflare's Workers: a Durable Object for each key.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Running, System, here, npm, version};
use crate::processes::Processes;

pub struct Workerd;

impl Workerd {
    fn program() -> PathBuf {
        let processor = if cfg!(target_arch = "aarch64") { "arm64" } else { "64" };
        npm(&format!("@cloudflare/workerd-linux-{processor}"), "workerd")
    }
}

impl System for Workerd {
    fn name(&self) -> &'static str {
        "workerd"
    }

    fn description(&self) -> String {
        let version = version("workerd");
        format!("{version}, a Durable Object for each key; `localDisk` (SQLite), output gates as they are; JavaScript")
    }

    fn needs(&self) -> Vec<PathBuf> {
        vec![Self::program()]
    }

    fn start(&self, dir: &Path, is_new: bool) -> io::Result<Running> {
        if is_new {
            std::fs::create_dir(dir.join("workerd"))?;
        }
        let mut processes = Processes::default();
        let mut command = Command::new(Self::program());
        command.arg("serve").arg(here("workerd/counters.capnp")).args(["--directory-path", "storage=workerd"]);
        // It says its port on this descriptor, which is its standard output.
        let port = processes.start(command.args(["--control-fd", "1"]), dir, |line| {
            let event: serde_json::Value = serde_json::from_str(line).ok()?;
            (event["event"] == "listen").then(|| event["port"].as_u64()?.try_into().ok()).flatten()
        })?;
        let port: u16 = port;
        Ok(Running { processes, address: ([127, 0, 0, 1], port).into() })
    }

    fn count_request(&self) -> (&'static str, &'static str) {
        ("GET", "/")
    }
}
