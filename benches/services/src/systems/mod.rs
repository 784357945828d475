//! The systems that are compared: how each is started, and where it has its counters.

mod restate;
mod theater;
mod workerd;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::HERE;
use crate::processes::Processes;

pub use restate::Restate;
pub use theater::Theater;
pub use workerd::Workerd;

/// A system that is up.
pub struct Running {
    pub processes: Processes,
    /// Where it answers the requests of all keys.
    pub address: SocketAddr,
}

pub trait System {
    fn name(&self) -> &'static str;

    /// What it is, for the table: version, and what the counter is there.
    fn description(&self) -> String;

    /// Files without which it cannot be started.
    fn needs(&self) -> Vec<PathBuf>;

    /// Starts it on the data in `dir`, which is empty at first, and waits until it answers. `is_new` is false after a crash.
    fn start(&self, dir: &Path, is_new: bool) -> io::Result<Running>;

    /// Makes what has to be there before a key can be counted. How many keys there are then, and why not more.
    fn prepare(&self, _running: &Running, keys: usize) -> io::Result<(usize, Option<String>)> {
        Ok((keys, None))
    }

    /// Method and end of the path of the request that tells a count.
    fn count_request(&self) -> (&'static str, &'static str);
}

fn here(path: &str) -> PathBuf {
    Path::new(HERE).join(path)
}

/// A program that a package of npm brings for this machine.
fn npm(package: &str, program: &str) -> PathBuf {
    here("node_modules").join(package).join("bin").join(program)
}

/// What npm calls this processor.
fn processor() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" }
}

/// The version of a package that is installed.
fn version(package: &str) -> String {
    let text = std::fs::read_to_string(here("node_modules").join(package).join("package.json")).unwrap_or_default();
    let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    package["version"].as_str().unwrap_or("of an unknown version").to_owned()
}
