//! What was measured, as a table on standard output and as JSON in a file.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// In what a figure is given, and which way is better.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds for one; less is better.
    Time,
    /// Things a second; more is better.
    Rate,
    Bytes,
    /// Bytes a second; more is better.
    Flow,
    Count,
}

impl Unit {
    fn more_is_better(self) -> bool {
        matches!(self, Self::Rate | Self::Flow)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Time => "ns",
            Self::Rate => "1/s",
            Self::Bytes => "bytes",
            Self::Flow => "bytes/s",
            Self::Count => "count",
        }
    }

    pub fn render(self, value: f64) -> String {
        match self {
            Self::Time => scaled(value, &[(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")]),
            Self::Rate => scaled(value, &[(1e6, "M/s"), (1e3, "k/s"), (1.0, "/s")]),
            Self::Bytes => scaled(value, &[(1048576.0, "MiB"), (1024.0, "KiB"), (1.0, "B")]),
            Self::Flow => scaled(value, &[(1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1.0, "B/s")]),
            Self::Count => format!("{value:.1}"),
        }
    }
}

/// Three digits, in the largest unit that keeps one before the point.
fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    let (size, word) = units.iter().find(|(size, _)| value.abs() >= *size).or(units.last()).expect("there are units");
    let value = value / size;
    let digits = if value.abs() >= 99.95 {
        0
    } else if value.abs() >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {word}")
}

/// What is aimed at.
#[derive(Clone, Copy)]
pub enum Target {
    /// This ratio to the floor: at most, or at least where more is better.
    Ratio(f64),
    /// At most this.
    Most(f64),
}

/// One figure of the product beside its floor.
pub struct Row {
    pub group: &'static str,
    pub name: String,
    pub unit: Unit,
    pub product: f64,
    pub floor: Option<f64>,
    /// Cores kept busy for each, where both were done by this process.
    pub busy: Option<(f64, f64)>,
    /// What the floor consists of, or what else there is to know.
    pub note: String,
    pub target: Option<Target>,
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.floor.filter(|floor| *floor > 0.0).map(|floor| self.product / floor)
    }

    fn reached(&self) -> Option<bool> {
        Some(match self.target? {
            Target::Ratio(target) if self.unit.more_is_better() => self.ratio()? >= target,
            Target::Ratio(target) => self.ratio()? <= target,
            Target::Most(most) => self.product <= most,
        })
    }

    fn target(&self) -> Option<String> {
        Some(match self.target? {
            Target::Ratio(ratio) if self.unit.more_is_better() => format!("≥ {ratio:.2}"),
            Target::Ratio(ratio) => format!("≤ {ratio:.2}"),
            Target::Most(most) => format!("≤ {}", self.unit.render(most)),
        })
    }

    /// Nanoseconds of CPU that one takes, of the product and of the floor.
    fn cpu(&self) -> Option<(f64, f64)> {
        let ((product, floor), (product_busy, floor_busy)) = ((self.product, self.floor?), self.busy?);
        match self.unit {
            Unit::Time => Some((product_busy * product, floor_busy * floor)),
            Unit::Rate => Some((1e9 * product_busy / product, 1e9 * floor_busy / floor)),
            Unit::Bytes | Unit::Flow | Unit::Count => None,
        }
    }

    fn line(&self) -> String {
        let floor = self.floor.map_or("".into(), |floor| self.unit.render(floor));
        let ratio = self.ratio().map_or("".into(), |ratio| format!("{ratio:.2}"));
        let reached = if self.reached() == Some(true) { "reached" } else { "not reached" };
        let target = self.target().map_or("".into(), |target| format!("{target}: {reached}"));
        let product = self.unit.render(self.product);
        let cpu = self.cpu().map_or("".into(), |(product, floor)| {
            format!("{} / {} = {:.2}", Unit::Time.render(product), Unit::Time.render(floor), product / floor)
        });
        format!(
            "| {:<52} | {product:>10} | {floor:>10} | {ratio:>6} | {target:<18} | {cpu:<26} | {} |",
            self.name, self.note
        )
    }

    fn json(&self) -> Value {
        json!({
            "group": self.group, "name": self.name, "unit": self.unit.word(), "product": self.product,
            "floor": self.floor, "ratio": self.ratio(), "target": self.target(), "reached": self.reached(),
            "note": self.note, "cpu_ns": self.cpu(),
        })
    }
}

#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    /// Prints a row at once: a whole run takes minutes.
    pub fn push(&mut self, row: Row) {
        if self.rows.last().is_none_or(|last| last.group != row.group) {
            println!("\n### {}\n", row.group);
            println!(
                "| {:<52} | {:>10} | {:>10} | {:>6} | {:<18} | {:<26} | floor |",
                "what", "product", "floor", "ratio", "target", "CPU of one"
            );
            println!("|---|--:|--:|--:|---|---|---|");
        }
        println!("{}", row.line());
        self.rows.push(row);
    }

    /// Says what was not measured, and why.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        println!("\n{note}");
        self.notes.push(note);
    }

    pub fn write(&self, path: &Path, quick: bool) -> std::io::Result<()> {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        let json = json!({ "machine": machine(), "quick": quick, "rows": rows, "notes": self.notes });
        fs::write(path, format!("{json:#}\n"))
    }
}

/// What the figures depend on.
pub fn machine() -> Value {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |key: &str| cpuinfo.lines().find(|line| line.starts_with(key)).and_then(|line| line.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "load_before": load.split(' ').next(), "place": std::env::var(crate::product::PLACE).ok(),
        "processor": field("model name"), "cores": cores, "kernel": kernel.trim(),
        "rustc": said("rustc", &["--version"]), "commit": said("git", &["describe", "--always", "--dirty"]),
    })
}

fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    match samples.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => samples[odd / 2],
        even => (samples[even / 2 - 1] + samples[even / 2]) / 2.0,
    }
}
