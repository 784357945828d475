//! A durable counter for each of many keys, behind one address, in Theater, workerd and Restate: `make bench-services`.
//!
//! All three get the same requests in the same order from one load generator: `POST /counters/k17/increment`, which answers the
//! new count. Each system is killed under load, started again, and asked for each count. What is printed is Markdown.

mod answer;
mod counts;
mod load;
mod processes;
mod syncs;
mod systems;
mod table;
mod trial;

use std::path::{Path, PathBuf};
use std::time::Duration;

use systems::{Restate, System, Theater, Workerd};
use trial::Effort;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Where the data of the systems lies, if not on the disk that `target` is on; the benchmarks of `benches/system` know it, too.
const PLACE: &str = "THEATER_BENCH_DIR";

const USAGE: &str = "usage: services [--quick] [--keys N]... [--only theater|workerd|restate]";

struct Args {
    quick: bool,
    /// One comparison for each number of keys.
    keys: Vec<usize>,
    only: Option<String>,
}

fn main() {
    let args = Args::read(std::env::args().skip(1)).unwrap_or_else(|why| {
        eprintln!("{why}\n{USAGE}");
        std::process::exit(2);
    });
    let effort = if args.quick { Effort::QUICK } else { Effort::FULL };
    allow_many_files();
    let place = std::env::var_os(PLACE).filter(|place| !place.is_empty());
    let place = place.map_or_else(|| Path::new(HERE).join("target/run"), PathBuf::from);
    std::fs::create_dir_all(&place)
        .unwrap_or_else(|why| panic!("cannot make the directory {}: {why}", place.display()));

    let (mut text, mut are_right) = (String::new(), true);
    for keys in &args.keys {
        let (part, is_right) = compare(&args, *keys, &effort, &place);
        println!("{part}");
        text += &part;
        are_right &= is_right;
    }
    let file = Path::new(HERE).join("target/services.md");
    std::fs::write(&file, text).unwrap_or_else(|why| panic!("cannot write {}: {why}", file.display()));
    eprintln!("Written to {}", file.display());
    if !are_right {
        std::process::exit(1);
    }
}

/// The systems get as many open files as this process may have: a Durable Object has three.
fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(why) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        eprintln!("cannot raise the number of open files: {why}");
    }
}

/// The results of all systems as Markdown, and whether all counts were right.
fn compare(args: &Args, keys: usize, effort: &Effort, place: &Path) -> (String, bool) {
    let (mut outcomes, mut left_out) = (Vec::new(), String::new());
    for system in [&Theater as &dyn System, &Workerd, &Restate] {
        let name = system.name();
        if args.only.as_deref().is_some_and(|only| !name.eq_ignore_ascii_case(only)) {
            continue;
        }
        if let Some(file) = system.needs().into_iter().find(|file| !file.is_file()) {
            left_out +=
                &format!("\n{name} is left out: {} is missing; `make bench-services` makes it.\n", file.display());
            continue;
        }
        // The directory goes when the trial is over, before the next system begins.
        let stage = tempfile::TempDir::new_in(place).expect("a directory");
        match trial::of(system, stage.path(), keys, effort) {
            Ok(outcome) => outcomes.push(outcome),
            Err(why) => left_out += &format!("\n{name} is left out: {why}\n"),
        }
    }
    let are_right = outcomes.iter().all(|outcome| outcome.verdict.is_right());
    (table::markdown(keys, effort, &outcomes) + &left_out, are_right)
}

impl Args {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = Self { quick: false, keys: Vec::new(), only: None };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => args.quick = true,
                "--keys" => {
                    let number = words.next().and_then(|number| number.replace('_', "").parse().ok());
                    let number = number.filter(|keys| (1..=10_000_000).contains(keys));
                    args.keys.push(number.ok_or("--keys takes 1 to 10,000,000")?);
                }
                "--only" => args.only = Some(words.next().ok_or("--only takes the name of a system")?),
                other => return Err(format!("{other:?} is no argument")),
            }
        }
        if args.keys.is_empty() {
            args.keys.push(64);
        }
        let names = ["theater", "workerd", "restate"];
        match &args.only {
            Some(only) if !names.contains(&only.as_str()) => Err(format!("--only takes one of {}", names.join(", "))),
            _ => Ok(args),
        }
    }
}

/// The longest time that anything takes that a trial waits for: a start, a recovery, the last answers of a load.
const PATIENCE: Duration = Duration::from_secs(120);
