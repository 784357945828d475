//! The rows of the real binary, and of processes that are looked at from outside.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::child::{ask, begin};
use crate::load::Effort;
use crate::product::{self, Actor, Stage};
use crate::report::{Report, Row, Target, Unit};

/// `theater`, built beside this program.
pub fn theater() -> PathBuf {
    std::env::current_exe().expect("this program").with_file_name("theater")
}

/// `theater run`, ready; killed when dropped.
pub struct Running {
    child: Child,
    pub http: Option<SocketAddr>,
    pub took: Duration,
}

impl Running {
    pub fn start(data_dir: &Path, manifests: &[&Path], more: &[&str]) -> Self {
        let begun = Instant::now();
        let mut child = Command::new(theater())
            .arg("run")
            .args(manifests)
            .args(["--listen", "127.0.0.1:0"])
            .args(more)
            .arg("--data-dir")
            .arg(data_dir)
            .env("RUST_LOG", "warn")
            .env_remove("THEATER_DATA_DIR")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary is built beside this one");
        let mut http = None;
        for line in BufReader::new(child.stdout.take().expect("piped")).lines() {
            let line = line.expect("text");
            if let Some((_, address)) = line.split_once("http://") {
                http = address.trim_end_matches('/').parse().ok();
            }
            if line == "ready" {
                return Self { child, http, took: begun.elapsed() };
            }
        }
        panic!("the runtime ended before it was ready: {:?}", child.wait());
    }
}

/// The CPU time that a process has taken, in nanoseconds.
fn cpu_time(process: &Child) -> f64 {
    /// The system counts in hundredths of a second, whatever its clock ticks at.
    const TICK: f64 = 1e7;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).expect("it runs");
    // The name of the process, in parentheses, may hold spaces.
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks = |field: usize| fields.split_whitespace().nth(field).and_then(|text| text.parse::<f64>().ok());
    (ticks(11).expect("in user mode") + ticks(12).expect("in the kernel")) * TICK
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What an actor takes that has nothing to do.
pub fn idle(report: &mut Report, effort: &Effort) {
    let crowd = if effort.quick { &[1_000][..] } else { &[1_000, 20_000] };
    let threads = ask(&["idle-threads", "1000"]).expect("figures");
    for (count, reuse) in crowd.iter().flat_map(|count| [(count, 1), (count, 1_000)]) {
        let Some(actors) = ask(&["idle", &count.to_string(), &reuse.to_string()]) else {
            report.note(format!("{count} idle actors: the process ended before all were there"));
            continue;
        };
        let mut push = |what: &str, key: &str, unit, target| {
            report.push(Row {
                group: "an idle actor",
                name: format!("{what}, of {}, reuse {reuse}", actors["started"]),
                unit,
                product: actors[key].as_f64().expect("a number"),
                floor: threads[key].as_f64(),
                busy: None,
                note: "a parked thread".into(),
                target,
            });
        };
        push("resident", "resident", Unit::Bytes, (reuse == 1).then_some(Target::Most(24.0 * 1024.0)));
        push("of that, stack", "stacks", Unit::Bytes, None);
        push("of that, the allocator's heaps", "heaps", Unit::Bytes, None);
        push("of that, the rest", "rest", Unit::Bytes, None);
        push("threads", "threads", Unit::Count, None);
        push("maps", "maps", Unit::Count, None);
    }
}

/// A journal that a process left that died.
fn filled(actors: usize, events: usize) -> Stage {
    let stage = Stage::new();
    let dir = stage.path().to_str().expect("UTF-8");
    ask(&["fill", dir, &actors.to_string(), &events.to_string()]).expect("it filled the journal");
    stage
}

/// From the start of the process until it says that it is ready.
pub fn recovery(report: &mut Report, effort: &Effort) {
    let sizes: &[(usize, usize)] = if effort.quick {
        &[(10, 10_000), (1_000, 10_000), (10, 200_000)]
    } else {
        &[(10, 10_000), (1_000, 10_000), (10, 1_000_000), (1_000, 1_000_000)]
    };
    let empty = Stage::new();
    let none = effort.median(|| Running::start(&empty.data_dir(), &[], &[]).took.as_nanos() as f64);
    for (actors, events) in sizes {
        let stage = filled(*actors, *events);
        let product = effort.median(|| Running::start(&stage.data_dir(), &[], &[]).took.as_nanos() as f64);
        report.push(Row {
            group: "recovery after kill -9",
            name: format!("{actors} actors, {events} events"),
            unit: Unit::Time,
            product,
            floor: Some(none),
            busy: None,
            note: "a start with nothing to recover".into(),
            target: (*actors == 1_000).then_some(Target::Most(2e9)),
        });
    }
}

/// A start that has compiled code in its cache, until HTTP answers.
pub fn warm_start(report: &mut Report, effort: &Effort) {
    let Some(counter) = product::example("counter") else {
        return report.note("No start with HTTP: `make actors` has not been run.");
    };
    let stage = Stage::new();
    let manifest = http_manifest(&stage, &counter, 1);
    drop(Running::start(&stage.data_dir(), &[&manifest], &[]));
    let product = effort.median(|| {
        let begun = Instant::now();
        let running = Running::start(&stage.data_dir(), &[&manifest], &[]);
        let mut stream = TcpStream::connect(running.http.expect("it listens")).expect("a connection");
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        begun.elapsed().as_nanos() as f64
    });
    report.push(Row {
        group: "spawn to first answer",
        name: "process, cached component, to the first HTTP answer".into(),
        unit: Unit::Time,
        product,
        floor: None,
        busy: None,
        note: String::new(),
        target: Some(Target::Most(150e6)),
    });
}

fn http_manifest(stage: &Stage, counter: &[u8], reuse: u32) -> PathBuf {
    let more = "http_connections = 1024\n[[handlers]]\ntype = \"http-server\"\nconfig = { port = 0 }\n";
    stage.manifest(&Actor { name: "counter", component: counter, state_bytes: None, reuse, more })
}

/// Requests a second and latencies, by `wrk`.
pub fn http(report: &mut Report, effort: &Effort) {
    let Some(counter) = product::example("counter") else {
        return report.note("No HTTP: `make actors` has not been run.");
    };
    if Command::new("wrk").arg("-v").output().is_err() {
        return report.note("No HTTP: `wrk` is not installed (Debian's package of that name).");
    }
    let (mut constant, address) = begin(&["constant", "{\"count\":12345}"]);
    let address: SocketAddr = address.parse().expect("an address");
    let connections: &[usize] = if effort.quick { &[1, 64] } else { &[1, 16, 64, 256] };
    for (reuse, durability) in [(1, "commit"), (1_000, "commit"), (1_000, "relaxed")] {
        let stage = Stage::new();
        let manifest = http_manifest(&stage, &counter, reuse);
        let script = stage.path().join("post.lua");
        std::fs::write(&script, "wrk.method = \"POST\"\nwrk.path = \"/increment\"\n").expect("a file");
        let running = Running::start(&stage.data_dir(), &[&manifest], &["--durability", durability]);
        let target = running.http.expect("it listens");
        for connections in connections {
            let product = || wrk(effort, (target, &running.child), *connections, &script);
            let floor = || wrk(effort, (address, &constant), *connections, &script);
            let mut best = (product(), floor());
            if !effort.quick {
                best = (best.0.better(product()), best.1.better(floor()));
            }
            push_http(report, (reuse, durability, *connections), &best);
        }
    }
    drop(constant.stdin.take());
    let _ = constant.wait();
}

#[derive(Clone, Copy)]
struct Wrk {
    rate: f64,
    p50: f64,
    p99: f64,
    /// What the server took of the CPU for one request.
    cpu: f64,
}

impl Wrk {
    fn better(self, other: Self) -> Self {
        if other.rate > self.rate { other } else { self }
    }
}

fn push_http(report: &mut Report, (reuse, durability, connections): (u32, &str, usize), best: &(Wrk, Wrk)) {
    let (product, floor) = best;
    let mut push = |what: &str, unit, product, floor, target| {
        report.push(Row {
            group: "HTTP, POST /increment of a Rust guest",
            name: format!("{connections} connections, {durability}, reuse {reuse}, {what}"),
            unit,
            product,
            floor: Some(floor),
            busy: None,
            note: "the same server answering a constant".into(),
            target,
        });
    };
    let target = (connections == 64 && durability == "commit").then_some(Target::Ratio(0.4));
    push("requests", Unit::Rate, product.rate, floor.rate, target);
    push("p50", Unit::Time, product.p50, floor.p50, None);
    push("p99", Unit::Time, product.p99, floor.p99, None);
    push("CPU for one", Unit::Time, product.cpu, floor.cpu, None);
}

fn wrk(effort: &Effort, (address, server): (SocketAddr, &Child), connections: usize, script: &Path) -> Wrk {
    let before = cpu_time(server);
    let seconds = if effort.quick { "2s" } else { "5s" };
    let output = Command::new("wrk")
        .args(["-t", "1", "-c", &connections.to_string(), "-d", seconds, "--latency", "-s"])
        .arg(script)
        .arg(format!("http://{address}/"))
        .output()
        .expect("wrk runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let after = |key: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(key));
        line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or_else(|| panic!("no {key} in: {text}")).to_owned()
    };
    assert!(!text.contains("Non-2xx"), "{text}");
    let cpu = cpu_time(server) - before;
    let requests: f64 = text
        .lines()
        .find_map(|line| line.trim_start().split_once(" requests in "))
        .and_then(|(count, _)| count.parse().ok())
        .unwrap_or_else(|| panic!("no count of requests in: {text}"));
    let time = |text: String| {
        let digits = text.trim_end_matches(char::is_alphabetic);
        let unit = match &text[digits.len()..] {
            "us" => 1e3,
            "ms" => 1e6,
            _ => 1e9,
        };
        digits.parse::<f64>().expect("a number") * unit
    };
    Wrk {
        rate: after("Requests/sec:").parse().expect("a number"),
        p50: time(after("50%")),
        p99: time(after("99%")),
        cpu: cpu / requests,
    }
}
