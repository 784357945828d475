//! What is done in a process of its own, because it is measured from outside or dies on purpose.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::Builder;
use std::time::{Duration, Instant};

use clap::Subcommand;
use serde_json::{Value, json};
use theater::{Config, Durability, TheaterRuntime};

use crate::load::Effort;
use crate::net::http::{HttpLimits, HttpListener, WireAnswer, WireRequest, WireResponse};
use crate::product::{self, Actor, Stage, command, echo, start};
use crate::rows::{Actors, MESSAGE};

#[derive(Subcommand)]
pub enum Role {
    /// Starts so many idle actors, and says what each takes
    Idle { actors: usize, reuse: u32 },
    /// The same of threads that do nothing
    IdleThreads { threads: usize },
    /// Makes a journal of so many actors and events, and dies as by `kill -9`
    Fill { dir: PathBuf, actors: usize, events: usize },
    /// Requests a second of so many actors and as many clients, durable
    Rate { actors: usize, state_bytes: usize, reuse: u32, milliseconds: u64 },
    /// Answers HTTP with a constant, by the engine that Theater uses
    Constant { body: String },
}

impl Role {
    pub fn run(self) -> std::io::Result<()> {
        match self {
            Self::Idle { actors, reuse } => idle(actors, reuse),
            Self::IdleThreads { threads } => idle_threads(threads),
            Self::Fill { dir, actors, events } => fill(&dir, actors, events),
            Self::Rate { actors, state_bytes, reuse, milliseconds } => rate(actors, state_bytes, reuse, milliseconds),
            Self::Constant { body } => return constant(&body),
        }
        Ok(())
    }
}

/// Runs this program again in another role, and reads the JSON it prints.
pub fn ask(args: &[&str]) -> Option<Value> {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).arg("child").args(args).stderr(Stdio::inherit()).output().expect("it runs");
    serde_json::from_slice(&output.stdout).ok()
}

/// Another role that goes on until it is killed; the first line it printed.
pub fn begin(args: &[&str]) -> (Child, String) {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .arg("child")
        .args(args)
        .stdout(Stdio::piped())
        .stdin(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut stdout, &mut line).expect("a line");
    (child, line.trim().to_owned())
}

/// Resident bytes, threads and maps of this process, and what of the resident bytes lies in threads' stacks and in glibc's heaps.
fn usage() -> [f64; 5] {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let field = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key)).expect("a field");
        line.split_whitespace().nth(1).and_then(|word| word.parse::<f64>().ok()).expect("a number")
    };
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux").lines().count();
    let (stacks, heaps) = stacks_and_heaps(&std::fs::read_to_string("/proc/self/smaps").expect("Linux"));
    [field("VmRSS:") * 1024.0, field("Threads:"), maps as f64, stacks, heaps]
}

/// Resident bytes of stacks and of the allocator's heaps, as `/proc/self/smaps` says: a stack by its size, which is that of the
/// threads that are counted here; an arena of glibc's by where it begins, at a multiple of 64 MiB.
fn stacks_and_heaps(smaps: &str) -> (f64, f64) {
    const STACK: std::ops::RangeInclusive<u64> = 512 * 1024..=520 * 1024;
    const ARENA: u64 = 64 * 1024 * 1024;
    let (mut stacks, mut heaps, mut is_stack, mut is_heap) = (0.0, 0.0, false, false);
    for line in smaps.lines() {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        if let Some((from, to)) = range.and_then(|(from, to)| Some((number(from)?, number(to)?))) {
            is_stack = STACK.contains(&(to - from));
            is_heap = line.ends_with("[heap]") || from.is_multiple_of(ARENA);
        } else if let Some(resident) = line.strip_prefix("Rss:") {
            let kib: f64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
            stacks += if is_stack { kib * 1024.0 } else { 0.0 };
            heaps += if is_heap { kib * 1024.0 } else { 0.0 };
        }
    }
    (stacks, heaps)
}

fn say_difference(before: [f64; 5], count: usize, started: usize) {
    let after = usage();
    let each: [f64; 5] = std::array::from_fn(|at| (after[at] - before[at]) / count as f64);
    let [resident, threads, maps, stacks, heaps] = each;
    let rest = resident - stacks - heaps;
    println!(
        "{}",
        json!({ "resident": resident, "stacks": stacks, "heaps": heaps, "rest": rest, "threads": threads, "maps": maps, "started": started })
    );
}

fn idle(count: usize, reuse: u32) {
    let stage = Stage::new();
    let component = product::guest();
    let manifest =
        stage.manifest(&Actor { name: "bench", component: &component, state_bytes: Some(64), reuse, more: "" });
    let theater = stage.runtime(Durability::Relaxed);
    // The first brings what all share.
    start(theater.handle(), &manifest, 1);
    let before = usage();
    let started = start_as_many(&theater, &manifest, count);
    // An actor is idle when it has had nothing to do for a second; then it gives its stack back.
    std::thread::sleep(Duration::from_secs(3));
    say_difference(before, started, started);
    theater.shutdown();
}

/// Stops where the machine has no room for more.
fn start_as_many(theater: &TheaterRuntime, manifest: &Path, count: usize) -> usize {
    const STARTERS: usize = 8;
    let started = std::sync::atomic::AtomicUsize::new(0);
    let starter = || {
        for _ in 0..count / STARTERS {
            if let Err(why) = product::start_another(theater.handle(), manifest) {
                return eprintln!("no more actors: {why}");
            }
            started.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| (0..STARTERS).for_each(|_| _ = scope.spawn(starter)));
    started.into_inner()
}

fn idle_threads(count: usize) {
    let over = Arc::new((Mutex::new(false), Condvar::new()));
    let before = usage();
    let threads: Vec<_> = (0..count)
        .map(|_| {
            let over = Arc::clone(&over);
            let wait = move || drop(over.1.wait_while(over.0.lock().expect("no panic"), |over| !*over));
            Builder::new().stack_size(512 * 1024).spawn(wait).expect("a thread")
        })
        .collect();
    say_difference(before, count, count);
    *over.0.lock().expect("no panic") = true;
    over.1.notify_all();
    threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
}

/// Actors that send to themselves; three events a message.
fn fill(dir: &Path, actors: usize, events: usize) {
    const SENDS: usize = 100;
    let component = product::guest();
    let actor = Actor { name: "bench", component: &component, state_bytes: Some(64), reuse: 1_000, more: "" };
    let manifest = Stage::manifest_in(dir, &actor);
    let config = Config::new().data_dir(dir.join("data")).durability(Durability::Commit);
    let theater = TheaterRuntime::start(config).expect("a runtime");
    let handle = theater.handle();
    let ids = start(handle, &manifest, actors);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for share in ids.chunks(ids.len().div_ceil(16)) {
            scope.spawn(move || {
                let each = events / actors;
                for id in share {
                    for _ in 0..each / (3 * SENDS) {
                        let sends = command(b's', SENDS as u32, *id, &echo(64));
                        handle.request(*id, sends).expect("it sends");
                    }
                    (0..each % (3 * SENDS) / 2).for_each(|_| _ = handle.request(*id, echo(64)).expect("it answers"));
                }
            });
        }
    });
    println!("{}", json!({ "seconds": begun.elapsed().as_secs_f64() }));
    std::io::stdout().flush().expect("printed");
    std::process::abort();
}

/// For the comparison with others, in `benches/peers`.
fn rate(actors: usize, state_bytes: usize, reuse: u32, milliseconds: u64) {
    let running = Actors::start(actors, state_bytes, reuse, Durability::Commit);
    let rate = |milliseconds| {
        let effort = Effort { sample: Duration::from_millis(milliseconds), ..Effort::QUICK };
        effort.rate(actors, |client| _ = running.request(client, &echo(MESSAGE)))
    };
    rate(milliseconds / 5);
    println!("{}", rate(milliseconds));
}

fn constant(body: &str) -> std::io::Result<()> {
    let listener = HttpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;
    let body = body.as_bytes().to_vec();
    let service = move |_: WireRequest| {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        WireAnswer::from(WireResponse::new(200, headers, Some(body.clone())).expect("a valid answer"))
    };
    let limits = HttpLimits { connections: 1024, ..HttpLimits::default() };
    let _serving = listener.serve("http", limits, Arc::new(service), false)?;
    println!("{address}");
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new()).map(drop)
}
