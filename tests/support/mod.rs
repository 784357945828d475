//! What the tests of the real binary share: a runtime in its own directory, HTTP and management clients written without
//! Theater's code, and waiting for conditions.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod disk;
pub mod forge;
pub mod log_file;
pub mod town;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// Long enough for a loaded machine; a passing test never waits this long.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const THEATER: &str = env!("CARGO_BIN_EXE_theater");

/// The path of a component that `make actors` or `make test-guests` has built.
pub fn component(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = [root.join("actors/dist"), root.join("tests/guests/dist")];
    let found = places.iter().map(|dir| dir.join(format!("{name}.wasm"))).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name}.wasm is not built: run `make test`, which builds it"))
}

/// Reports a test, or a part of one, that this machine cannot run. Writes past the capture of test output, so that
/// `.ci/run` can fail if it finds such a report.
pub fn skipped(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "\nskipped: {what}: {why}");
}

/// A manifest entry for an HTTP listener on any free port.
pub const HTTP: &str = "[[handlers]]\ntype = \"http-server\"\nconfig = { port = 0 }\n";

/// Waits until `condition` returns a value.
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sets a flag when it is dropped, even if a test panics; otherwise the threads of the test's scope would run on.
pub struct Over<'a>(pub &'a std::sync::atomic::AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// A directory with manifests and a data directory, removed at the end.
pub struct Stage {
    dir: tempfile::TempDir,
}

impl Stage {
    pub fn new() -> Self {
        let stage = Self { dir: tempfile::tempdir().expect("a directory") };
        std::fs::create_dir(stage.data_dir()).expect("a directory");
        stage
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Writes the manifest of an actor `name` that runs `component`, and appends `more`.
    pub fn manifest(&self, name: &str, component_name: &str, more: &str) -> PathBuf {
        self.manifest_at(name, &component(component_name), more)
    }

    /// Like [`Stage::manifest`], for a component at any path.
    pub fn manifest_at(&self, name: &str, component: &Path, more: &str) -> PathBuf {
        let text = format!("name = {name:?}\ncomponent_path = {component:?}\n{more}");
        self.file(&format!("{name}.toml"), &text)
    }

    /// Builds a component from its text form, as `NAME.wasm`.
    pub fn wat(&self, name: &str, text: &str) -> PathBuf {
        self.file(&format!("{name}.wasm"), wat::parse_str(text).expect("the text of a component"))
    }

    /// Copies a built component to `NAME.wasm` in the stage's own directory.
    pub fn copy_component(&self, component_name: &str, name: &str) -> PathBuf {
        self.file(&format!("{name}.wasm"), std::fs::read(component(component_name)).expect("it was built"))
    }

    /// Like [`Stage::manifest`], with an HTTP listener on any free port.
    pub fn http_manifest(&self, name: &str, component_name: &str, more: &str) -> PathBuf {
        self.manifest(name, component_name, &format!("{more}\n{HTTP}"))
    }

    pub fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, contents).expect("a file");
        path
    }

    /// Starts a runtime with these manifests, and waits until it is ready.
    pub fn run(&self, manifests: &[&Path]) -> Theater {
        self.run_with(manifests, &[]).unwrap_or_else(|output| panic!("it did not start: {output}"))
    }

    /// Like [`Stage::run`] with more arguments; if the runtime does not start, returns what it printed.
    pub fn run_with(&self, manifests: &[&Path], more: &[&str]) -> Result<Theater, String> {
        self.command(manifests, more).arg("--data-dir").arg(self.data_dir()).launch(self)
    }

    /// The command `theater run MANIFESTS… --listen 127.0.0.1:0 MORE…`, not started yet.
    pub fn command(&self, manifests: &[&Path], more: &[&str]) -> Launch {
        self.command_of(Command::new(THEATER), manifests, more)
    }

    /// Like [`Stage::command`], in a process whose addresses are limited to this many KiB.
    pub fn command_within(&self, address_kib: u64, manifests: &[&Path], more: &[&str]) -> Launch {
        self.command_of(within(address_kib), manifests, more)
    }

    fn command_of(&self, mut command: Command, manifests: &[&Path], more: &[&str]) -> Launch {
        let log = std::fs::File::options().create(true).append(true).open(self.path().join("log")).expect("a log");
        command.arg("run").args(manifests).args(["--listen", "127.0.0.1:0"]).args(more);
        command.current_dir(self.path()).env_remove("THEATER_DATA_DIR").env_remove("RUST_LOG");
        command.env("THEATER_CODE_CACHE", code_cache());
        command.stdout(Stdio::piped()).stderr(log);
        Launch(command)
    }

    /// The runtime's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }
}

/// All tests share the compiled code of the components, because compiling would be most of a test's time.
pub fn code_cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled")
}

/// The command `theater` in a process whose addresses are limited to this many KiB (`ulimit -v`).
pub fn within(address_kib: u64) -> Command {
    let mut shell = Command::new("sh");
    // Otherwise, on a large machine, the reservations for each core would use most of it.
    shell.env("MALLOC_ARENA_MAX", "1").env("RAYON_NUM_THREADS", "2");
    shell.args(["-c", "ulimit -v \"$0\" && exec \"$@\"", &address_kib.to_string(), THEATER]);
    shell
}

/// A runtime that is about to be started.
pub struct Launch(Command);

impl Launch {
    /// Sends its standard error to `to` instead of the stage's log.
    pub fn stderr(mut self, to: impl Into<Stdio>) -> Self {
        self.0.stderr(to);
        self
    }

    /// Runs it through another program that then executes it: `prlimit OPTIONS… theater run …`.
    pub fn through(self, program: &str, options: &[&str], stderr: impl Into<Stdio>) -> Self {
        let mut command = Command::new(program);
        command.args(options).arg(self.0.get_program()).args(self.0.get_args());
        for (key, value) in self.0.get_envs() {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(dir) = self.0.get_current_dir() {
            command.current_dir(dir);
        }
        command.stdout(Stdio::piped()).stderr(stderr);
        Self(command)
    }

    /// Gives it this as its standard input.
    pub fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.0.stdin(from);
        self
    }

    /// Starts it without waiting.
    pub fn begin(mut self) -> Begun {
        Begun(self.0.spawn().expect("the binary"))
    }

    pub fn arg(mut self, arg: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.arg(arg);
        self
    }

    pub fn env(mut self, key: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.0.env(key, value);
        self
    }

    /// Starts it and waits until it is ready; if it ends first, returns what it printed.
    pub fn launch(mut self, stage: &Stage) -> Result<Theater, String> {
        let child = self.0.spawn().expect("the binary");
        drop(self);
        let mut theater = Theater {
            child,
            management: None,
            metrics: None,
            http: Vec::new(),
            websocket: Vec::new(),
            said: Vec::new(),
        };
        let (to, lines) = mpsc::channel();
        let stdout = BufReader::new(theater.child.stdout.take().expect("piped"));
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        let mut said = Vec::new();
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) if line == "ready" => {
                    theater.understand(&said);
                    theater.said = said;
                    return Ok(theater);
                }
                Ok(line) => said.push(line),
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("not ready within {PATIENCE:?}: {}", stage.log()),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = theater.wait();
        Err(format!("{status}\n{}", stage.log()))
    }
}

/// A runtime that may not be ready yet; it is killed when this is dropped.
pub struct Begun(Child);

impl Begun {
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Waits for its end; returns its exit code, if it has one.
    pub fn code(&mut self) -> Option<i32> {
        eventually("the runtime ends", || self.0.try_wait().expect("a child")).code()
    }

    /// Whether it has a thread of this name.
    pub fn has_thread(&self, name: &str) -> bool {
        thread_names(self.pid()).iter().any(|thread| thread == name)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Copies the journal in a data directory: its files, its log and its components.
pub fn copy_journal(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).expect("a directory").map(|entry| entry.expect("an entry")) {
        let (name, target) = (entry.file_name(), to.join(entry.file_name()));
        // SQLite builds the index of a write-ahead log again at every start.
        if name.to_string_lossy().ends_with("-shm") {
            continue;
        }
        if entry.file_type().expect("a type").is_dir() {
            std::fs::create_dir(&target).expect("a directory");
            copy_journal(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

fn thread_names(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.map(|name| name.trim_end().to_owned()).collect()
}

/// A running runtime; it is killed when this is dropped.
pub struct Theater {
    child: Child,
    management: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    http: Vec<(String, SocketAddr)>,
    websocket: Vec<(String, SocketAddr)>,
    said: Vec<String>,
}

impl Theater {
    /// The lines it printed before it was ready.
    pub fn said(&self) -> &[String] {
        &self.said
    }

    fn understand(&mut self, said: &[String]) {
        for line in said {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["management", address] => self.management = Some(address.parse().expect("an address")),
                ["metrics", url] => {
                    let address = url.trim_start_matches("http://").trim_end_matches("/metrics");
                    self.metrics = Some(address.parse().expect("an address"));
                }
                ["actor", name, url] => {
                    let Some((scheme, address)) = url.split_once("://") else { continue };
                    let address = address.trim_end_matches('/').parse().expect("an address");
                    match scheme {
                        "http" | "https" => self.http.push((name.to_owned(), address)),
                        "ws" | "wss" => self.websocket.push((name.to_owned(), address)),
                        other => panic!("nothing speaks {other}"),
                    }
                }
                _ => {}
            }
        }
    }

    /// The address of the management server.
    pub fn management(&self) -> SocketAddr {
        self.management.expect("the management address")
    }

    /// The address of the metrics.
    pub fn metrics(&self) -> SocketAddr {
        self.metrics.expect("the metrics' address")
    }

    /// The HTTP address of the first actor called `name`.
    pub fn http(&self, name: &str) -> SocketAddr {
        self.http.iter().find(|(other, _)| other == name).unwrap_or_else(|| panic!("{name} listens")).1
    }

    /// The WebSocket address of the first actor called `name`.
    pub fn websocket(&self, name: &str) -> SocketAddr {
        self.websocket.iter().find(|(other, _)| other == name).unwrap_or_else(|| panic!("{name} listens")).1
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Runs `theater ARGS…` against this runtime.
    pub fn cli(&self, args: &[&str]) -> Output {
        theater(args, Some(self.management()))
    }

    /// Like [`Theater::cli`], for a command that must fail; returns its standard error.
    pub fn refused(&self, args: &[&str]) -> String {
        let output = self.cli(args);
        assert_eq!(output.status.code(), Some(1), "theater {args:?}: {}", text(&output.stdout));
        text(&output.stderr)
    }

    /// Runs `theater start MANIFEST`; returns the new actor's id, or the error.
    pub fn start(&self, manifest: &Path) -> Result<String, String> {
        let output = self.cli(&["start", manifest.to_str().expect("a path")]);
        let (said, why) = (text(&output.stdout), text(&output.stderr));
        if output.status.success() { Ok(said.trim().to_owned()) } else { Err(why.trim().to_owned()) }
    }

    /// Like [`Theater::cli`], for a command that must succeed; returns its standard output.
    pub fn say(&self, args: &[&str]) -> String {
        let output = self.cli(args);
        assert!(output.status.success(), "theater {args:?}: {}", text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    }

    /// Like [`Theater::say`] with `--json`.
    pub fn json(&self, args: &[&str]) -> Value {
        let printed = self.say(&[args, &["--json"]].concat());
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
    }

    /// Sends an actor a request from outside; returns the answer, or the error.
    pub fn request(&self, actor: &str, message: &Value) -> Result<Value, String> {
        let output = self.cli(&["request", actor, &message.to_string(), "--json"]);
        if output.status.success() {
            let printed: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            Ok(printed["answer"].clone())
        } else {
            Err(text(&output.stderr))
        }
    }

    /// All events of an actor, decoded.
    pub fn events(&self, actor: &str) -> Vec<Value> {
        let printed = self.say(&["events", actor, "--json"]);
        printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    pub fn event_types(&self, actor: &str) -> Vec<String> {
        let events = self.events(actor);
        events.iter().map(|event| event["event_type"].as_str().expect("a type").to_owned()).collect()
    }

    /// The status of an actor.
    pub fn status(&self, actor: &str) -> String {
        self.json(&["status", actor])["status"].as_str().expect("a status").to_owned()
    }

    /// Waits until an actor has this status.
    pub fn until(&self, actor: &str, status: &str) {
        eventually(&format!("{actor} is {status}"), || (self.status(actor) == status).then_some(()));
    }

    /// The id of an actor.
    pub fn id(&self, actor: &str) -> String {
        self.json(&["status", actor])["id"].as_str().expect("an id").to_owned()
    }

    /// The last event of an actor.
    pub fn last_event(&self, actor: &str) -> Value {
        self.events(actor).pop().expect("an actor has events")
    }

    /// Exports an actor's chain into the stage's directory.
    pub fn export(&self, stage: &Stage, actor: &str) -> PathBuf {
        let file = stage.path().join(format!("{actor}.chain"));
        self.say(&["export", actor, "-o", file.to_str().expect("a path")]);
        file
    }

    /// The names of its threads.
    pub fn thread_names(&self) -> Vec<String> {
        thread_names(self.pid())
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Kills it with SIGKILL, so that no code in it runs any more.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("an exit status");
    }

    /// Ends it in an orderly way, and waits.
    pub fn shut_down(mut self) {
        signal(self.pid(), "INT");
        let status = self.wait();
        assert!(status.success(), "{status}");
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the runtime ends", || self.child.try_wait().expect("a child"))
    }
}

/// Runs `theater verify`; returns its output, or the error.
pub fn verify(chain: &Path) -> Result<Value, String> {
    json_of(&theater(&["verify", chain.to_str().expect("a path"), "--json"], None))
}

/// The output of a command that succeeds.
pub fn theater_says(args: &[&str]) -> String {
    let output = theater(args, None);
    assert!(output.status.success(), "{args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Checks that the verifier written from the document accepts a chain.
pub fn verify_by_document(chain: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify_chain.py");
    match Command::new("python3").arg(&script).arg(chain).output() {
        Ok(output) => assert!(output.status.success(), "{}: {}", chain.display(), text(&output.stderr)),
        Err(_) => skipped("the verifier written from the document", "there is no python3"),
    }
}

/// Checks that the reader of the log written from the document accepts the journal in a directory; returns what it says.
pub fn read_log_by_document(data_dir: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/read_log.py");
    match Command::new("python3").arg(&script).arg(data_dir).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}: {}", data_dir.display(), text(&output.stderr));
            text(&output.stdout)
        }
        Err(_) => {
            skipped("the reader of the log written from the document", "there is no python3");
            String::new()
        }
    }
}

/// Runs `theater replay` with more arguments; returns its output, or the error.
pub fn replay(chain: &Path, more: &[&str]) -> Result<Value, String> {
    json_of(&theater(&[&["replay", chain.to_str().expect("a path"), "--json"], more].concat(), None))
}

/// Checks that a chain verifies and that its replay gives the same head; returns the output of the replay.
pub fn verifies_and_replays(chain: &Path) -> Value {
    let verified = verify(chain).expect("it verifies");
    let replayed = replay(chain, &[]).expect("it replays");
    assert_eq!((&verified["head"], &verified["events"]), (&replayed["head"], &replayed["events"]));
    replayed
}

fn json_of(output: &Output) -> Result<Value, String> {
    if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).expect("JSON"))
    } else {
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        Err(format!("{}{}", text(&output.stdout), text(&output.stderr)))
    }
}

/// The data of the events of this type.
pub fn data_of<'a>(events: &'a [Value], event_type: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event_type"] == event_type).map(|event| &event["data"]).collect()
}

impl Drop for Theater {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().expect("kill");
    assert!(status.success());
}

/// Runs `theater ARGS…`.
pub fn theater(args: &[&str], server: Option<SocketAddr>) -> Output {
    let mut command = Command::new(THEATER);
    command.args(args).env_remove("THEATER_DATA_DIR").env("THEATER_CODE_CACHE", code_cache());
    if let Some(server) = server {
        command.env("THEATER_SERVER", server.to_string());
    }
    command.output().expect("the binary")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An HTTP answer.
#[derive(Debug)]
pub struct HttpAnswer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl HttpAnswer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// An HTTP connection that is kept open between requests.
pub struct Http(BufReader<TcpStream>);

impl Http {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        Self::of(stream)
    }

    /// A connection that was made already.
    pub fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(BufReader::new(stream))
    }

    /// Sends a command to a runtime that may have ended; `None` if there is no answer.
    pub fn try_op(&mut self, command: &Value) -> Option<HttpAnswer> {
        let body = command.to_string();
        let head = format!("POST /op HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.send_raw(head.as_bytes()).ok()?;
        self.receive()
    }

    /// Asks a runtime that may have ended; `None` if there is no answer.
    pub fn try_ask(&mut self, method: &str, path: &str, body: Option<&str>) -> Option<HttpAnswer> {
        let body = body.unwrap_or_default();
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}");
        self.send_raw(request.as_bytes()).ok()?;
        self.receive()
    }

    /// Reads the head of the next answer of a runtime that may have ended.
    pub fn receive_head_if_any(&mut self) -> Option<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        Some(head)
    }

    pub fn send(&mut self, method: &str, path: &str, body: Option<&str>) {
        let length = body.map(|body| format!("Content-Length: {}\r\n", body.len())).unwrap_or_default();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{length}\r\n{}", body.unwrap_or_default());
        self.0.get_mut().write_all(request.as_bytes()).expect("sent");
    }

    /// Sends a request without a body to a runtime that may have ended.
    pub fn try_send(&mut self, method: &str, path: &str) -> std::io::Result<()> {
        self.send_raw(format!("{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes())
    }

    /// Reads the next answer; `None` if the connection ended instead.
    pub fn receive(&mut self) -> Option<HttpAnswer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body).ok()?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(HttpAnswer { status, head, body: text(&body) })
    }

    /// Reads the head of the next answer, for a HEAD request, whose answer has no body.
    pub fn receive_head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).expect("a head"), 0, "the connection ended: {head:?}");
        }
        head
    }

    /// Whether the other side has closed the connection without sending more.
    pub fn is_over(&mut self) -> bool {
        self.0.read(&mut [0]).expect("an end") == 0
    }

    pub fn send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Sends a command with `POST /op`; returns the answer.
    pub fn op(&mut self, command: &Value) -> HttpAnswer {
        self.ask("POST", "/op", Some(&command.to_string()))
    }

    pub fn ask(&mut self, method: &str, path: &str, body: Option<&str>) -> HttpAnswer {
        self.send(method, path, body);
        self.receive().expect("an answer")
    }
}

/// A management client that knows only frames and JSON.
pub struct Management(pub TcpStream);

impl Management {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(stream)
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("sent");
    }

    pub fn send(&mut self, command: &Value) {
        let json = command.to_string();
        let length = u32::try_from(json.len()).expect("a short command");
        // Send one piece: the second of two small ones would wait until the first is acknowledged.
        self.send_raw(&[&length.to_be_bytes(), json.as_bytes()].concat());
    }

    /// Reads the next frame; `None` if the connection ended.
    pub fn receive(&mut self) -> Option<Value> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let mut json = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut json).ok()?;
        Some(serde_json::from_slice(&json).expect("JSON"))
    }

    pub fn ask(&mut self, command: &Value) -> Value {
        self.send(command);
        self.receive().expect("an answer")
    }

    /// Reads the next pushed event.
    pub fn event(&mut self) -> Value {
        let frame = self.receive().expect("an event");
        frame["ActorEvent"]["event"].clone()
    }

    /// Sends a command that must fail; returns the error's text.
    pub fn error(&mut self, command: &Value) -> String {
        let answer = self.ask(command);
        answer["Error"]["message"].as_str().unwrap_or_else(|| panic!("{command} gave {answer}")).to_owned()
    }

    /// Sends a request to an actor; returns its answer, or the error's text.
    pub fn request(&mut self, id: &str, message: &Value) -> Result<Value, String> {
        self.send_request(id, message);
        self.receive_reply()
    }

    pub fn send_request(&mut self, id: &str, message: &Value) {
        let message = BASE64.encode(message.to_string());
        self.send(&json!({ "RequestMessage": { "id": id, "message": message } }));
    }

    pub fn receive_reply(&mut self) -> Result<Value, String> {
        let answer = self.receive().expect("an answer");
        match answer["Error"]["message"].as_str() {
            Some(message) => Err(message.to_owned()),
            None => {
                let message = answer["Answer"]["message"].as_str().unwrap_or_else(|| panic!("{answer}"));
                Ok(serde_json::from_slice(&BASE64.decode(message).expect("base64")).expect("JSON"))
            }
        }
    }

    pub fn start(&mut self, manifest: &Path) -> String {
        let answer = self.ask(&json!({ "StartActor": { "manifest": manifest } }));
        answer["ActorStarted"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }
}
