//! The same work done by OTP, ractor, kameo and Theater, in turn: `make bench-peers` prints a table.
//!
//! One client for each actor asks as fast as it is answered. Each request changes the state, hashes two events behind the
//! last, and, where it is durable, is answered behind a synced commit. Only Theater runs the actor in a sandbox, records
//! parameters and results whole, and can execute it again.

mod tokio_peers;
mod work;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    Otp,
    Ractor,
    Kameo,
    TheaterReused,
    TheaterFresh,
}

impl Peer {
    const ALL: [Self; 5] = [Self::Otp, Self::Ractor, Self::Kameo, Self::TheaterReused, Self::TheaterFresh];

    fn name(self) -> &'static str {
        match self {
            Self::Otp => "OTP gen_server, disk_log",
            Self::Ractor => "ractor, SQLite",
            Self::Kameo => "kameo, SQLite",
            Self::TheaterReused => "Theater, reuse 1000",
            Self::TheaterFresh => "Theater, reuse 1",
        }
    }

    /// Requests a second; nothing where it is not installed or has no such mode.
    fn measure(self, work: Work, time: Duration) -> Option<f64> {
        match self {
            Self::Otp => otp(work, time),
            Self::Ractor | Self::Kameo => again(self, work, time),
            Self::TheaterReused => theater(work, 1_000, time),
            Self::TheaterFresh => theater(work, 1, time),
        }
    }
}

#[derive(Clone, Copy)]
struct Work {
    actors: usize,
    state_bytes: usize,
    durable: bool,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(5, Duration::from_secs(3)),
        ["--quick"] => compare(3, Duration::from_secs(1)),
        [peer @ ("ractor" | "kameo"), actors, state, mode, millis] => {
            let number = |text: &str| text.parse().expect("a number");
            let work = Work { actors: number(actors), state_bytes: number(state), durable: mode == "durable" };
            println!("{}", in_this_process(peer, work, Duration::from_millis(number(millis) as u64)));
        }
        _ => {
            eprintln!("usage: peers [--quick]");
            std::process::exit(2);
        }
    }
}

fn compare(samples: usize, time: Duration) {
    let mut rows = Vec::new();
    println!("| work | {} |", Peer::ALL.map(Peer::name).join(" | "));
    println!("|---|{}", "--:|".repeat(Peer::ALL.len()));
    for durable in [true, false] {
        for (actors, state_bytes) in [(1, 64), (64, 1024), (1_000, 1024)] {
            let work = Work { actors, state_bytes, durable };
            let mut samples_of = Peer::ALL.map(|_| Vec::new());
            for _ in 0..samples {
                for (at, peer) in Peer::ALL.into_iter().enumerate() {
                    samples_of[at].extend(peer.measure(work, time));
                }
            }
            let medians = samples_of.map(median);
            let mode = if durable { "durable" } else { "chain in memory" };
            let what = format!("{actors} actors, a client each, state {state_bytes} B, {mode}");
            println!("| {what} | {} |", medians.map(|rate| render(rate, actors)).join(" | "));
            let rates: Vec<Value> =
                Peer::ALL.iter().zip(medians).map(|(peer, rate)| json!([peer.name(), rate])).collect();
            rows.push(json!({ "work": what, "requests_per_second": rates }));
        }
    }
    let file = Path::new(HERE).join("target/peers.json");
    std::fs::write(&file, format!("{:#}\n", json!(rows))).expect("written");
    println!("\nA `-` is a peer that is not installed, or has no such mode: Theater always keeps what it did.");
    println!("Written to {}", file.display());
}

fn render(rate: Option<f64>, actors: usize) -> String {
    match rate {
        None => "-".into(),
        Some(rate) if actors == 1 => format!("{:.1} µs", 1e6 / rate),
        Some(rate) => format!("{:.1} k/s", rate / 1e3),
    }
}

fn median(mut samples: Vec<f64>) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied()
}

/// On the disk that `target` is on; a temporary directory may lie in memory.
fn place() -> tempfile::TempDir {
    tempfile::TempDir::new_in(Path::new(HERE).join("target")).expect("a directory")
}

fn in_this_process(peer: &str, work: Work, time: Duration) -> f64 {
    let place = place();
    let Work { actors, state_bytes, durable } = work;
    let log = durable.then(|| work::writer(place.path()));
    tokio_peers::runtime().block_on(async {
        match peer {
            "ractor" => tokio_peers::ractor(actors, state_bytes, log, time).await,
            _ => tokio_peers::kameo(actors, state_bytes, log, time).await,
        }
    })
}

fn mode(work: Work) -> &'static str {
    if work.durable { "durable" } else { "memory" }
}

/// A process of its own, as the others have.
fn again(peer: Peer, work: Work, time: Duration) -> Option<f64> {
    let name = if peer == Peer::Ractor { "ractor" } else { "kameo" };
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([name, &work.actors.to_string(), &work.state_bytes.to_string(), mode(work)]);
    said(command.arg(time.as_millis().to_string())).and_then(|said| said.trim().parse().ok())
}

fn otp(work: Work, time: Duration) -> Option<f64> {
    let place = place();
    let compiled =
        Command::new("erlc").arg("-o").arg(place.path()).arg(Path::new(HERE).join("otp/chained.erl")).status();
    if !compiled.is_ok_and(|status| status.success()) {
        return None;
    }
    let mut command = Command::new("erl");
    command.args(["-noshell", "-pa"]).arg(place.path()).args(["-run", "chained", "main"]);
    command.args([&work.actors.to_string(), mode(work), &time.as_millis().to_string(), &work.state_bytes.to_string()]);
    let said = said(command.arg(place.path().join("chain.log")))?;
    let (done, micros) = said.trim().split_once(' ')?;
    Some(done.parse::<f64>().ok()? * 1e6 / micros.parse::<f64>().ok()?)
}

fn theater(work: Work, reuse: u32, time: Duration) -> Option<f64> {
    if !work.durable {
        return None;
    }
    let program: PathBuf = Path::new(HERE).join("../system/target/release/system");
    let mut command = Command::new(program);
    command.args(["child", "rate", &work.actors.to_string(), &work.state_bytes.to_string(), &reuse.to_string()]);
    said(command.arg(time.as_millis().to_string())).and_then(|said| said.trim().parse().ok())
}

fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
