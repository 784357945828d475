//! Nodes of a realm as processes, for tests of realms and for their figures.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::postgres::{Database, database};
use super::support::{self, Http, Stage, THEATER, code_cache, eventually, text, theater};

/// A node: a process that follows a realm, or owns it.
pub struct Node {
    pub name: String,
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

/// What all nodes of a realm are started with.
pub struct Realm {
    pub stage: Arc<Stage>,
    pub url: String,
    pub manifest: PathBuf,
    pub more: Vec<String>,
}

impl Realm {
    /// A realm with the actor `probe`.
    pub fn of_probe(url: String) -> Self {
        let stage = Arc::new(Stage::new());
        let manifest = stage.http_manifest("probe", "probe", "");
        Self { stage, url, manifest, more: vec!["--single-server".into()] }
    }

    /// A realm whose servers keep what they commit, and whose nodes share a stage with others.
    pub fn in_stage(stage: Arc<Stage>, url: String, manifest: PathBuf) -> Self {
        Self { stage, url, manifest, more: Vec::new() }
    }

    pub fn init(&self) {
        let output = theater(&["cluster", "init", "--cluster", &self.url], None);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    pub fn dir(&self, node: &str) -> PathBuf {
        self.stage.path().join(node)
    }

    pub fn command(&self, node: &str) -> Command {
        let log =
            std::fs::File::options().create(true).append(true).open(self.stage.path().join(format!("{node}.log")));
        let mut command = Command::new(THEATER);
        command.arg("run").arg(&self.manifest).args(["--cluster", &self.url, "--realm", "bank", "--node", node]);
        command.args(["--listen", "127.0.0.1:0", "--data-dir"]).arg(self.dir(node)).args(&self.more);
        command.current_dir(self.stage.path()).env_remove("THEATER_DATA_DIR").env_remove("RUST_LOG");
        command.env("THEATER_CODE_CACHE", code_cache()).env("THEATER_CLUSTER_LEASE_MS", "1000");
        command.stdout(Stdio::piped()).stderr(log.expect("a log"));
        command
    }

    pub fn node(&self, name: &str) -> Node {
        let mut child = self.command(name).spawn().expect("the binary");
        let (said, heard) = (Arc::<Mutex<Vec<String>>>::default(), child.stdout.take().expect("piped"));
        let lines = Arc::clone(&said);
        std::thread::spawn(move || {
            BufReader::new(heard)
                .lines()
                .map_while(Result::ok)
                .for_each(|line| lines.lock().expect("whole").push(line));
        });
        Node { name: name.into(), child, said }
    }

    /// How long an owner's beat stands still before another node takes the realm.
    pub fn lease_ms(&self) -> u64 {
        1_000
    }

    pub fn log(&self, node: &str) -> String {
        std::fs::read_to_string(self.stage.path().join(format!("{node}.log"))).unwrap_or_default()
    }

    /// What `theater run` says when it refuses to start.
    pub fn refused(&self, node: &str) -> String {
        let output = self.command(node).stderr(Stdio::piped()).output().expect("the binary");
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
        text(&output.stderr)
    }

    pub fn realms(&self) -> Value {
        let output = theater(&["realms", "--cluster", &self.url, "--json"], None);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")[0].clone()
    }

    /// The realm in place of a data directory.
    pub fn place(&self) -> String {
        format!("{}#bank", self.url)
    }

    /// Checks every chain and every link between them, as the cluster has them.
    pub fn verify(&self) {
        let output = theater(&["verify", "--journal", &self.place()], None);
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    }

    pub fn replay(&self) {
        let output = theater(&["replay", "--journal", &self.place()], None);
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    }
}

impl Node {
    /// The lines since it last said what realm it belongs to: the process becomes itself anew when it loses that.
    pub fn lines(&self) -> Vec<String> {
        let said = self.said.lock().expect("whole");
        let begun = said.iter().rposition(|line| line.starts_with("realm ")).unwrap_or(0);
        said[begun..].to_vec()
    }

    pub fn has_said(&self, words: &str) -> bool {
        self.lines().iter().any(|line| line.starts_with(words))
    }

    pub fn until(self, words: &str, realm: &Realm) -> Self {
        let deadline = Instant::now() + support::PATIENCE;
        while !self.has_said(words) {
            let all = (self.lines(), realm.log(&self.name));
            assert!(Instant::now() < deadline, "{} does not say {words:?}: {all:?}", self.name);
            std::thread::sleep(Duration::from_millis(5));
        }
        self
    }

    pub fn owns(self, realm: &Realm) -> Self {
        self.until("ready", realm)
    }

    pub fn follows(self, realm: &Realm) -> Self {
        self.until("following", realm)
    }

    /// Where its first actor serves HTTP, once it owns the realm.
    pub fn http_if_any(&self) -> Option<SocketAddr> {
        let lines = self.lines();
        if !lines.iter().any(|line| line == "ready") {
            return None;
        }
        let url = lines
            .iter()
            .find_map(|line| line.starts_with("actor ").then(|| line.rsplit("http://").next()).flatten())?;
        url.trim_end_matches('/').parse().ok()
    }

    /// Where all of its actors serve HTTP.
    pub fn all_http(&self) -> Vec<SocketAddr> {
        let lines = self.lines();
        let urls = lines.iter().filter(|line| line.starts_with("actor ")).filter_map(|line| line.split_once("http://"));
        urls.filter_map(|(_, address)| address.trim_end_matches('/').parse().ok()).collect()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn http(&self) -> SocketAddr {
        eventually("it serves", || self.http_if_any())
    }

    pub fn management(&self) -> SocketAddr {
        let lines = self.lines();
        let line = lines.iter().find_map(|line| line.strip_prefix("management")).expect("an address");
        line.trim().parse().expect("an address")
    }

    pub fn metrics(&self) -> SocketAddr {
        let lines = self.lines();
        let line = lines.iter().find_map(|line| line.strip_prefix("metrics")).expect("an address");
        line.trim().trim_start_matches("http://").trim_end_matches("/metrics").parse().expect("an address")
    }

    pub fn cli(&self, args: &[&str]) -> String {
        let output = theater(args, Some(self.management()));
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    }

    pub fn request(&self, message: &Value) -> Value {
        let answer = self.cli(&["request", "probe", &message.to_string(), "--json"]);
        serde_json::from_str::<Value>(&answer).expect("JSON")["answer"].clone()
    }

    pub fn signal(&self, signal: &str) {
        support::signal(self.child.id(), signal);
    }

    pub fn is_running(&self) -> bool {
        let has_files = || Path::new(&format!("/proc/{}/fd/1", self.child.id())).symlink_metadata().is_ok();
        // A process that becomes itself anew has none for a moment.
        (0..100).any(|_| {
            has_files() || {
                std::thread::sleep(Duration::from_millis(5));
                false
            }
        })
    }

    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("a status");
    }

    pub fn ends(mut self) -> Option<i32> {
        eventually("the node ends", || self.child.try_wait().expect("a child")).code()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn realm_of_probe(what: &str) -> Option<(Database, Realm)> {
    let database = database(what)?;
    let realm = Realm::of_probe(database.url());
    realm.init();
    Some((database, realm))
}

/// Adds one to the count, and returns it.
pub fn count(node: &Node) -> u64 {
    node.request(&json!("count")).as_u64().expect("a number")
}

/// Counts until it is over; the counts that were acknowledged.
pub fn count_until(realm: &[&Node], over: &AtomicBool, acknowledged: &AtomicU64) -> Vec<u64> {
    let mut done = Vec::new();
    let mut at = 0;
    let mut http: Option<Http> = None;
    while !over.load(Ordering::Relaxed) {
        let Some(connection) = &mut http else {
            http = realm[at % realm.len()].http_if_any().and_then(|address| {
                let stream = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()?;
                let socket = stream.try_clone().ok()?;
                let http = Http::of(stream);
                // A node that is frozen says nothing.
                socket.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
                Some(http)
            });
            at += 1;
            std::thread::sleep(Duration::from_millis(2));
            continue;
        };
        match connection.try_op(&json!("count")) {
            Some(answer) if answer.status == 200 => {
                done.push(answer.json().as_u64().expect("a number"));
                acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            _ => http = None,
        }
    }
    done
}
