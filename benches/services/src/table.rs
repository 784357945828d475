//! The results as Markdown: a table, how Theater stands to each of the others, and whether the counts were right.

use std::fmt::Write;

use crate::trial::{Effort, MANY, Outcome};

/// What is asked of Theater beside each of the others, at many connections.
const LEAST_RATE: f64 = 8.0;
const MOST_MEMORY: f64 = 0.1;

type Row = (String, fn(&Outcome) -> String);

pub fn markdown(keys: usize, effort: &Effort, outcomes: &[Outcome]) -> String {
    let rows: [Row; 14] = [
        ("keys".into(), |of| grouped(of.keys as u64)),
        ("until each key has its first count".into(), |of| seconds(of.first_counts)),
        ("increments/s, 1 connection".into(), |of| grouped(of.one.rate as u64)),
        ("p50, p99, 1 connection".into(), |of| pair(of.one.p50_micros, of.one.p99_micros)),
        (format!("increments/s, {MANY} connections"), |of| grouped(of.many.rate as u64)),
        (format!("p50, {MANY} connections"), |of| time(of.many.p50_micros)),
        (format!("p99, {MANY} connections"), |of| time(of.many.p99_micros)),
        ("CPU for one increment, all its processes".into(), |of| time(of.many.cpu_micros)),
        ("memory (PSS), all its processes".into(), |of| megabytes(of.memory)),
        ("syncs for one increment, 1 connection".into(), |of| match of.syncs {
            Some(syncs) => format!("{syncs:.1}"),
            None => "not counted".into(),
        }),
        ("files, and the increments until then".into(), |of| {
            format!("{}, {}", megabytes(of.disk.0), grouped(of.disk.1))
        }),
        ("`kill -9` to the first count".into(), |of| seconds(of.recovery)),
        ("increments answered and lost; made up; errors".into(), |of| {
            format!("{}; {}; {}", of.verdict.lost, of.verdict.invented, of.refused)
        }),
        ("counts after `kill -9`".into(), |of| if of.verdict.is_right() { "right".into() } else { "**wrong**".into() }),
    ];
    let mut text = format!(
        "Durable counters, {} keys, {} rounds of {} s, medians. {}\n\n",
        grouped(keys as u64),
        effort.rounds,
        effort.round.as_secs(),
        machine()
    );
    if outcomes.is_empty() {
        return text;
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    text += &line(std::iter::once(String::new()).chain(outcomes.iter().map(|of| of.name.to_owned())).collect());
    text += &format!("|---|{}\n", "--:|".repeat(outcomes.len()));
    for (name, cell) in rows {
        text += &line(std::iter::once(name).chain(outcomes.iter().map(cell)).collect());
    }
    text.push('\n');
    for of in outcomes {
        let _ = writeln!(text, "- {}: {}.", of.name, of.description);
        if let Some(why) = &of.why_fewer {
            let _ = writeln!(text, "  It has {} keys and not {}: {why}", grouped(of.keys as u64), grouped(keys as u64));
        }
        let _ = writeln!(text, "  After the kill: {}.", of.verdict);
    }
    text + &targets(outcomes)
}

/// How the first stands to each of the others.
fn targets(outcomes: &[Outcome]) -> String {
    let Some((theater, others)) = outcomes.split_first().filter(|(first, _)| first.name == "Theater") else {
        return String::new();
    };
    if others.is_empty() {
        return String::new();
    }
    let mut text = format!("\n| target, {MANY} connections | measured | |\n|---|---|---|\n");
    let mut row = |what: String, measured: String, is_reached: bool| {
        let reached = if is_reached { "reached" } else { "**not reached**" };
        let _ = writeln!(text, "| {what} | {measured} | {reached} |");
    };
    for other in others {
        let name = other.name;
        let rate = theater.many.rate / other.many.rate;
        row(format!("at least {LEAST_RATE} times the rate of {name}"), format!("{rate:.1} times"), rate >= LEAST_RATE);
        let (ours, its) = (theater.many.p99_micros, other.many.p99_micros);
        row(format!("p99 below that of {name}"), format!("{} to {}", time(ours), time(its)), ours < its);
        let memory = theater.memory as f64 / other.memory as f64;
        let measured = format!("{:.0} % of it", memory * 100.0);
        row(format!("at most a tenth of the memory of {name}"), measured, memory <= MOST_MEMORY);
    }
    text
}

fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown processor");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version = kernel.split('-').next().unwrap_or_default();
    format!("{cores} cores of {}, Linux {}.", model.trim_start_matches([':', '\t', ' ']), version.trim())
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn time(micros: f64) -> String {
    match micros {
        micros if micros < 1_000.0 => format!("{micros:.0} µs"),
        micros if micros < 9_950.0 => format!("{:.1} ms", micros / 1e3),
        micros => format!("{:.0} ms", micros / 1e3),
    }
}

fn pair(one: f64, other: f64) -> String {
    format!("{}, {}", time(one), time(other))
}

fn seconds(duration: std::time::Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}
