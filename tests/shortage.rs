//! Tests of a machine that gives too little: a shortage of memory or addresses (`ulimit -v`) is not the guest's fault.
//! It ends a transition from outside, the actor's policy restarts it, and its history replays on any machine with
//! enough.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use support::{
    HTTP, Http, Management, Stage, THEATER, Theater, data_of, eventually, replay, text, verifies_and_replays, verify,
    within,
};

/// A `ulimit -v` that leaves room for the process itself and some hundred MiB.
const TIGHT_KIB: u64 = 1_000_000;
/// An amount of memory that never fits there, but is within `memory_bytes`.
const TOO_MUCH_MIB: u64 = 1_000;

const LASTING: &str =
    "restart = \"permanent\"\nmax_restarts = 10\n[limits]\nmemory_bytes = 1073741824\ncpu_ms_per_call = 60000\n";

fn grow(mib: u64) -> Value {
    json!({ "op": "grow", "mib": mib })
}

/// Checks that the newest `failed` of an actor records an end from outside because of a shortage.
fn was_ended_by_a_shortage(running: &Theater, actor: &str) {
    let events = running.events(actor);
    let failed = data_of(&events, "failed").pop().cloned().expect("it failed");
    assert_eq!(failed["reason"], "interrupted", "{failed}");
    let detail = failed["detail"].as_str().expect("text");
    assert!(detail.starts_with("the machine could not give what it needs to run: Cannot allocate memory"), "{detail}");
}

#[test]
fn memory_that_the_machine_refuses_ends_the_guest_from_outside_and_its_policy_restarts_it() {
    let stage = Stage::new();
    let probe = stage.manifest("probe", "probe", LASTING);
    let running = stage.command_within(TIGHT_KIB, &[&probe], &["--data-dir", "data"]).launch(&stage).expect("it runs");
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(1)));
    let why = running.request("probe", &grow(TOO_MUCH_MIB)).expect_err("there is no room for that");
    assert!(why.contains("interrupted") && why.contains("the machine could not give"), "{why}");
    running.until("probe", "running");
    was_ended_by_a_shortage(&running, "probe");
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(2)), "it goes on with its state");
    assert_eq!(running.request("probe", &grow(100)), Ok(json!(100)), "what there is, it gets");
    verifies_and_replays(&running.export(&stage, "probe"));
    assert!(stage.log().contains("ulimit -v is 1000000 KiB"), "{}", stage.log());
}

/// Restarts that the machine caused do not count at the next start either.
#[test]
fn an_instance_that_the_machine_has_no_addresses_for_is_no_trap_of_the_guest() {
    let stage = Stage::new();
    let probe = stage.manifest("probe", "probe", &format!("restart_backoff_ms = 1\n{LASTING}{HTTP}"));
    let running = stage.command_within(4_000_000, &[&probe], &["--data-dir", "data"]).launch(&stage).expect("it runs");
    let mut http = Http::connect(running.http("probe"));
    assert_eq!(http.op(&json!("count")).json(), json!(1));
    let pid = Pid::from_raw(running.pid().cast_signed());
    let before = Rlimit { current: Some(4_000_000 * 1024), maximum: Some(4_000_000 * 1024) };
    let status = std::fs::read_to_string(format!("/proc/{}/statm", running.pid())).expect("a process");
    let pages: u64 = status.split(' ').next().expect("a size").parse().expect("a number");
    // Leaves room for the runtime itself, but not for an instance.
    let tight = Rlimit { current: Some(pages * 4096 + (16 << 20)), maximum: before.maximum };
    prlimit(pid, Resource::As, tight).expect("set");
    assert_eq!(http.op(&json!("count")).status, 500);
    prlimit(pid, Resource::As, before).expect("set back");
    eventually("it runs again", || (running.status("probe") == "running").then_some(()));
    was_ended_by_a_shortage(&running, "probe");
    assert_eq!(http.op(&json!("count")).json(), json!(2));
    verifies_and_replays(&running.export(&stage, "probe"));
}

#[test]
fn eight_busy_actors_have_room_under_an_address_limit_of_20_gigabytes() {
    let stage = Stage::new();
    let names: Vec<String> = (0..8).map(|at| format!("probe-{at}")).collect();
    let manifests: Vec<_> = names.iter().map(|name| stage.http_manifest(name, "probe", "")).collect();
    let manifests: Vec<&Path> = manifests.iter().map(|path| path.as_path()).collect();
    let launch = stage.command_within(20_000_000, &manifests, &["--data-dir", "data"]);
    let running = launch.launch(&stage).expect("it runs");
    std::thread::scope(|scope| {
        for name in &names {
            let mut http = Http::connect(running.http(name));
            scope.spawn(move || {
                for expected in 1..=20 {
                    // Long enough that all eight instances exist at the same time.
                    let both = json!({ "op": "many", "ops": [{ "op": "work", "rounds": 200_000 }, "count"] });
                    assert_eq!(http.op(&both).json()[1], json!(expected));
                }
            });
        }
    });
    for name in &names {
        assert_eq!(running.status(name), "running");
    }
}

/// A chain whose replay needs more memory than that limit allows.
fn large(stage: &Stage) -> std::path::PathBuf {
    let running = stage.run(&[&stage.manifest("probe", "probe", LASTING)]);
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(1)));
    assert_eq!(running.request("probe", &grow(TOO_MUCH_MIB)), Ok(json!(TOO_MUCH_MIB)));
    running.export(stage, "probe")
}

#[test]
fn a_replay_that_cannot_be_executed_here_says_that_and_not_that_it_diverged() {
    let stage = Stage::new();
    let chain = large(&stage);
    let output = within(TIGHT_KIB).arg("replay").arg(&chain).output().expect("theater");
    let why = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{}{why}", text(&output.stdout));
    assert!(why.contains("cannot be executed here") && why.contains("Cannot allocate memory"), "{why}");
    assert!(!why.contains("was recorded as"), "{why}");
    verifies_and_replays(&chain);
}

/// Earlier versions recorded an error of the operating system as a trap of the guest.
#[test]
fn a_shortage_that_was_recorded_as_a_trap_replays_as_an_end_from_outside_with_a_note() {
    let stage = Stage::new();
    let probe = stage.manifest("probe", "probe", LASTING);
    let running = stage.run(&[&probe]);
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(1)));
    running.request("probe", &json!("trap")).expect_err("it traps");
    running.until("probe", "running");
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(2)));
    let chain = running.export(&stage, "probe");
    drop(running);
    let altered = Altered::read(&chain);
    let other_trap = altered.with_failure(&stage, "IntegerDivisionByZero");
    assert!(replay(&other_trap, &[]).expect_err("it traps otherwise").contains("was recorded as"));
    let shortage = altered.with_failure(&stage, "Cannot allocate memory (os error 12)");
    verify(&shortage).expect("it verifies");
    // Here the guest would trap, but the recording says that it did not come this far.
    let replayed = verifies_and_replays(&shortage);
    assert_eq!(replayed["transitions"], 4);
    let said = support::theater(&["replay", shortage.to_str().expect("a path")], None);
    let note = text(&said.stderr);
    assert!(note.contains("was the machine's doing and not the guest's"), "{note}");
}

/// A chain file whose `failed` is changed; every later hash is computed again.
struct Altered(Vec<Value>);

impl Altered {
    fn read(chain: &Path) -> Self {
        let text = std::fs::read_to_string(chain).expect("a chain");
        Self(text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
    }

    fn with_failure(&self, stage: &Stage, detail: &str) -> std::path::PathBuf {
        let mut lines = self.0.clone();
        let mut parent: Option<String> = None;
        for line in lines.iter_mut().filter(|line| line.get("event_type").is_some()) {
            if line["event_type"] == "failed" {
                line["data"] = json!(BASE64.encode(failed(detail)));
            }
            line["parent_hash"] = json!(parent);
            let hash = hash(line, parent.as_deref());
            line["hash"] = json!(hash);
            parent = Some(hash);
        }
        lines[0]["head"] = json!(parent);
        stage.file("altered.chain", lines.iter().map(spelled).collect::<String>())
    }
}

/// `{detail, reason: "trap", dropped: []}` in deterministic CBOR.
fn failed(detail: &str) -> Vec<u8> {
    let mut data = b"\xa3\x66detail\x78".to_vec();
    assert!((24..256).contains(&detail.len()) || detail.len() < 24);
    if detail.len() < 24 {
        *data.last_mut().expect("a head") = 0x60 + u8::try_from(detail.len()).expect("short");
    } else {
        data.push(u8::try_from(detail.len()).expect("short"));
    }
    [&data, detail.as_bytes(), b"\x66reason\x64trap\x67dropped\x80"].concat()
}

/// The hash as `docs/chain-format.md` specifies it.
fn hash(line: &Value, parent: Option<&str>) -> String {
    let data = BASE64.decode(line["data"].as_str().expect("data")).expect("base64");
    let event_type = line["event_type"].as_str().expect("a type");
    let mut hasher = Sha1::new();
    hasher.update(b"theater-chain-event-v3\0");
    hasher.update(line["sequence"].as_u64().expect("a number").to_be_bytes());
    match parent {
        None => hasher.update([0]),
        Some(parent) => {
            hasher.update([1]);
            hasher.update(hex::decode(parent).expect("hex"));
        }
    }
    hasher.update(line["timestamp"].as_u64().expect("a number").to_be_bytes());
    hasher.update(u32::try_from(event_type.len()).expect("short").to_be_bytes());
    hasher.update(event_type);
    hasher.update((data.len() as u64).to_be_bytes());
    let salt = hex::decode(line["salt"].as_str().expect("a salt")).expect("hex");
    hasher.update(Sha256::new().chain_update(salt).chain_update(&data).finalize());
    hex::encode(hasher.finalize())
}

/// Writes a line in its one spelling, with its keys in the order of the document.
fn spelled(line: &Value) -> String {
    let orders: [&[&str]; 5] = [
        &["format", "version", "actor", "component", "attachments", "events", "head"],
        &["sequence", "hash", "parent_hash", "event_type", "salt", "data", "timestamp"],
        &["component", "data"],
        &["blob", "data"],
        &["state", "data"],
    ];
    let keys = orders.into_iter().find(|keys| line.get(keys[0]).is_some()).expect("a line of a chain file");
    let entries: Vec<String> = keys.iter().map(|key| format!("\"{key}\":{}", line[*key])).collect();
    format!("{{{}}}\n", entries.join(","))
}

/// Without these limits, clients that open connections and say nothing could fill the disk with log lines and keep
/// others out.
#[test]
fn clients_beyond_the_descriptors_fill_no_log_and_those_that_say_nothing_give_way() {
    let stage = Stage::new();
    let probe = stage.http_manifest("probe", "probe", "");
    let websocket = "[[handlers]]\ntype = \"websocket-server\"\nconfig = { port = 0 }\n";
    let running = stage.run(&[&probe, &stage.manifest("parrot", "parrot", websocket)]);
    let (http, websocket) = (running.http("probe"), running.websocket("parrot"));
    let open = std::fs::read_dir(format!("/proc/{}/fd", running.pid())).expect("a process").count() as u64;
    let few = Rlimit { current: Some(open + 20), maximum: Some(open + 20) };
    prlimit(Pid::from_raw(running.pid().cast_signed()), Resource::Nofile, few).expect("set");
    let connect = |address| TcpStream::connect(address).expect("the system takes it in");
    let mut silent: Vec<TcpStream> = (0..40).map(|_| connect(websocket)).collect();
    silent.extend((0..40).map(|_| connect(http)));
    eventually("it is said", || stage.log().contains("cannot let clients in").then_some(()));
    for _ in 0..10 {
        eventually("who asks is answered", || {
            let mut stream = connect(http);
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
            stream.write_all(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            (!answer.starts_with("HTTP/1.1 503 ")).then(|| assert!(answer.starts_with("HTTP/1.1 "), "{answer:?}"))
        });
    }
    let said = stage.log().matches("cannot let clients in").count();
    assert!(said < 20, "{said} lines");
}

/// A user who has no other process, for whom the bound on threads (`ulimit -u`) counts.
struct Tenant(u32);

impl Tenant {
    /// One who may run what was built here; nobody where this machine has no such user for us.
    fn of(stage: &Stage) -> Option<Self> {
        static TENANTS: AtomicU32 = AtomicU32::new(0);
        let tenant = Self(1_000_000 + std::process::id() * 8 + TENANTS.fetch_add(1, Ordering::Relaxed));
        let is_given = |path: &Path| std::os::unix::fs::chown(path, Some(tenant.0), None).is_ok();
        let data = stage.data_dir();
        let moves_in = is_given(stage.path()) && (is_given(&data) || !data.exists());
        let is_let_in =
            || Command::new("setpriv").args(tenant.becomes()).args([THEATER, "--version"]).output().map(|it| it.status);
        if moves_in && is_let_in().is_ok_and(|status| status.success()) {
            return Some(tenant);
        }
        support::skipped("the bound on threads of a user", "this user may become no other (`setpriv`)");
        None
    }

    fn becomes(&self) -> Vec<String> {
        let user = ["--reuid".to_owned(), self.0.to_string()];
        user.into_iter()
            .chain(["--clear-groups", "--bounding-set=-all", "--inh-caps=-all"].map(str::to_owned))
            .collect()
    }

    /// `theater run`, by this user, who may have so many threads.
    fn run(&self, stage: &Stage, manifests: &[&Path], threads: &str) -> Theater {
        let log = std::fs::File::options().create(true).append(true).open(stage.path().join("log")).expect("a log");
        let launch = stage.command(manifests, &["--data-dir", "data"]).env("RAYON_NUM_THREADS", "2");
        let launch = launch.through("prlimit", &[&format!("--nproc={threads}:")], log.try_clone().expect("it"));
        let becomes = self.becomes();
        let becomes: Vec<&str> = becomes.iter().map(String::as_str).collect();
        launch.through("setpriv", &becomes, log).launch(stage).unwrap_or_else(|why| panic!("it did not start: {why}"))
    }

    /// From now on the runtime may have so many threads.
    fn allow(&self, running: &Theater, threads: &str) {
        let mut limited = Command::new("setpriv");
        limited.args(self.becomes()).args(["prlimit", "--pid", &running.pid().to_string()]);
        assert!(limited.arg(format!("--nproc={threads}:")).status().expect("prlimit").success());
    }
}

const FAMILY: &str = "[[handlers]]\ntype = \"supervisor\"\n";

fn family(stage: &Stage) -> std::path::PathBuf {
    for name in ["probe", "nursery"] {
        stage.copy_component(name, name);
    }
    stage.manifest_at("child", "probe.wasm".as_ref(), "restart = \"permanent\"\n[limits]\ncpu_ms_per_call = 600000\n");
    stage.manifest_at("parent", "nursery.wasm".as_ref(), &format!("restart = \"permanent\"\n{FAMILY}"))
}

#[test]
fn a_user_who_may_have_no_more_threads_is_told_so_everywhere_and_nothing_else_fails() {
    let stage = Stage::new();
    let Some(tenant) = Tenant::of(&stage) else { return };
    let running = tenant.run(&stage, &[&family(&stage)], "1000");
    let (parent, spawn) = (running.id("parent"), json!({ "op": "spawn", "manifest": "child.toml" }));
    let mut management = Management::connect(running.management());
    let spawned = management.request(&parent, &spawn).expect("a child");
    let child = spawned["ok"].as_str().expect("an id").to_owned();
    tenant.allow(&running, "1");
    let refused = management.request(&parent, &spawn).expect("an answer");
    let why = refused["err"].as_str().expect("refused");
    assert!(why.starts_with("this machine has no thread left for it") && why.contains("ulimit -u"), "{why}");
    assert_eq!(management.request(&parent, &json!("list-children")), Ok(json!({ "ok": [child] })));
    management.request(&child, &json!("trap")).expect_err("it fails");
    let counted = eventually("it runs again", || management.request(&child, &json!("count")).ok());
    assert_eq!(counted, json!(1));
    // Whom nobody can serve is told that, whichever of the two threads of a connection there is none for.
    let why = running.refused(&["list"]);
    assert!(why.contains("the runtime has no thread for this connection") && why.contains("ulimit -u"), "{why}");
    tenant.allow(&running, "1000");
    assert!(management.request(&parent, &spawn).expect("an answer")["ok"].is_string());
    assert_eq!(running.json(&["list"]).as_array().map(Vec::len), Some(3));
    for actor in [&parent, &child] {
        verifies_and_replays(&running.export(&stage, actor));
    }
}

/// Half of what is left of the bound is for actors, and their number is what a start finds.
#[test]
fn a_start_with_room_for_fewer_actors_leaves_the_others_listed_and_as_they_were() {
    let stage = Stage::new();
    let Some(tenant) = Tenant::of(&stage) else { return };
    let manifest = family(&stage);
    let running = tenant.run(&stage, &[&manifest], "1000");
    let spawn = json!({ "op": "spawn", "manifest": "child.toml" });
    let spawned = |_| running.request("parent", &spawn).expect("a child")["ok"].as_str().expect("an id").to_owned();
    let children: Vec<String> = (0..12).map(spawned).collect();
    let (first, last) = (&children[0], &children[11]);
    // The last is busy, and owed a message.
    let tell = |msg: Value| json!({ "op": "send", "to": last, "msg": msg });
    let busy = tell(json!({ "op": "work", "rounds": 300_000_000 }));
    running.request("parent", &json!({ "op": "many", "ops": [busy, tell(json!("count"))] })).expect("both are sent");
    eventually("it works", || running.event_types(last).last()?.starts_with("call ").then_some(()));
    running.kill();

    let running = tenant.run(&stage, &[&manifest], "24");
    assert!(
        running.said().iter().any(|line| line.contains("did not come up: it is left as it was: ")),
        "{:?}",
        running.said()
    );
    let parent = running.id("parent");
    assert_eq!(running.request(&parent, &json!("list-children")), Ok(json!({ "ok": children })), "all are there");
    let status = running.json(&["status", last]);
    assert_eq!(status["status"], "failed", "{status}");
    let why = status["failure"].to_string();
    assert!(why.contains("interrupted: this machine holds no more actors: raise ulimit -u"), "{status}");
    let told = running.request(&parent, &json!({ "op": "request", "to": last, "msg": "count" }));
    assert_eq!(told, Ok(json!({ "err": format!("actor {last} is failed") })));
    let stopped = running.request(&parent, &json!({ "op": "stop-child", "child": last })).expect("an answer");
    assert!(stopped["err"].as_str().is_some_and(|why| why.contains("the next start of the runtime brings it back")));
    running.refused(&["forget", last]);
    // Where another makes room, it goes on with what it was doing and with what it is owed.
    running.say(&["stop", first]);
    running.say(&["restart", last]);
    eventually("it counts", || (running.json(&["state", last])["state"]["count"] == 1).then_some(()));
    running.shut_down();

    let running = tenant.run(&stage, &[&manifest], "1000");
    for child in &children[1..] {
        assert_eq!(running.status(child), "running");
    }
    assert_eq!(running.request(last, &json!("count")), Ok(json!(2)), "once");
    assert_eq!(running.status(first), "stopped");
    verifies_and_replays(&running.export(&stage, last));
    running.shut_down();
    let data = stage.data_dir();
    let verified = support::theater(&["verify", "--journal", data.to_str().expect("a path")], None);
    assert!(verified.status.success(), "{}", text(&verified.stderr));
}
