//! Guards the message path and verification against decay: `make guard` counts the instructions of each under valgrind,
//! and compares them with those in `baseline.json`.
//!
//! Counts, not seconds: they hardly depend on what else the machine does. The build is the one of `make test`, so that
//! nothing is built twice; what matters is that a count does not grow, not what it is. `make guard RECORD=1` takes the
//! counts of now as the new baseline.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use theater::{ActorId, Config, Durability, TheaterHandle, TheaterRuntime, UnverifiedChain};

/// More than this times the baseline is decay. Batches differ from run to run, which is worth some hundredths.
const TOLERANCE: f64 = 1.25;
/// Under half the baseline is progress that should be kept: the baseline is to be recorded anew.
const PROGRESS: f64 = 0.5;

/// What is counted, and how often it is done. Enough that what is done once does not show.
const WORKS: [(&str, u32); 5] = [
    ("request from outside, instance reused", 300),
    ("request from outside, instance of its own", 100),
    ("request from actor to actor", 500),
    ("send from actor to actor", 1_000),
    ("chain of 23 events read and verified", 30),
];

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => guard(false),
        Some("--record") => guard(true),
        Some("work") => {
            work();
            ExitCode::SUCCESS
        }
        Some(_) => {
            eprintln!("usage: guard [--record]");
            ExitCode::from(2)
        }
    }
}

/// Valgrind writes down what it has counted whenever this is called.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn guard_mark() {
    std::hint::black_box(());
}

fn guard(record: bool) -> ExitCode {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("guard: valgrind is not installed, so instructions are not counted (Debian's package of that name)");
        return ExitCode::SUCCESS;
    }
    let counts = match count() {
        Ok(counts) => counts,
        Err(why) => {
            eprintln!("guard: {why}");
            return ExitCode::FAILURE;
        }
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/guard/baseline.json");
    if record {
        let text = serde_json::to_string_pretty(&counts).expect("a map");
        fs::write(&file, text + "\n").expect("the baseline is written");
    }
    let baseline = fs::read_to_string(&file).expect("the baseline is there");
    let baseline: BTreeMap<String, u64> = serde_json::from_str(&baseline).expect("the baseline is a map of counts");
    compare(&counts, &baseline)
}

fn compare(counts: &BTreeMap<String, u64>, baseline: &BTreeMap<String, u64>) -> ExitCode {
    let mut decayed = false;
    println!(
        "| {:<42} | {:>12} | {:>12} | {:>5} |\n|---|--:|--:|--:|",
        "instructions of one", "now", "baseline", "ratio"
    );
    for (name, now) in counts {
        let Some(before) = baseline.get(name) else {
            println!("| {name:<42} | {now:>12} | {:>12} | {:>5} |", "none", "");
            decayed = true;
            continue;
        };
        let ratio = *now as f64 / *before as f64;
        println!("| {name:<42} | {now:>12} | {before:>12} | {ratio:>5.2} |");
        decayed |= ratio > TOLERANCE;
        if ratio < PROGRESS {
            println!("{name}: less than half; `make guard RECORD=1` keeps it so");
        }
    }
    if decayed {
        eprintln!(
            "guard: more than {TOLERANCE} times the baseline, or no baseline. If that is meant: make guard RECORD=1"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The instructions of each work, once.
fn count() -> Result<BTreeMap<String, u64>, String> {
    let place = tempfile::tempdir().map_err(|error| error.to_string())?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let out = place.path().join("counted");
    let mut valgrind = Command::new("valgrind");
    hide_the_kernels_auxv(&mut valgrind);
    let output = valgrind
        .args(["--tool=callgrind", "--dump-before=guard_mark", "--fair-sched=yes", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .arg("work")
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("the work failed under valgrind: {}", String::from_utf8_lossy(&output.stderr)));
    }
    // The first part is what comes before the first mark.
    let part = |number: usize| total(&place.path().join(format!("counted.{number}")));
    let mut counts = BTreeMap::new();
    for (number, (name, times)) in WORKS.iter().enumerate() {
        let between = part(2 * number + 2).ok_or("valgrind did not write what it counted")?;
        counts.insert((*name).to_owned(), between / u64::from(*times));
    }
    Ok(counts)
}

/// Valgrind moves what the kernel placed, and shows the program a changed auxiliary vector; but older ones do not know the
/// newer way of asking for it, by which the `rustix` crate would be told of addresses that are not there. Under this filter
/// that way does not exist, and the older is taken.
fn hide_the_kernels_auxv(command: &mut Command) {
    use std::os::unix::process::CommandExt;

    const PRCTL: u32 = if cfg!(target_arch = "x86_64") { 157 } else { 167 };
    const PR_GET_AUXV: u32 = 0x4155_5856;
    // As in seccomp(2): load the call's number, compare, load the first argument, compare; EINVAL; allow.
    static FILTER: [Step; 6] = [
        Step { code: 0x20, jump_true: 0, jump_false: 0, operand: 0 },
        Step { code: 0x15, jump_true: 0, jump_false: 3, operand: PRCTL },
        Step { code: 0x20, jump_true: 0, jump_false: 0, operand: 16 },
        Step { code: 0x15, jump_true: 0, jump_false: 1, operand: PR_GET_AUXV },
        Step { code: 0x06, jump_true: 0, jump_false: 0, operand: 0x0005_0016 },
        Step { code: 0x06, jump_true: 0, jump_false: 0, operand: 0x7fff_0000 },
    ];
    const PR_SET_NO_NEW_PRIVS: i32 = 38;
    const PR_SET_SECCOMP: i32 = 22;
    const SECCOMP_MODE_FILTER: usize = 2;
    let install = || {
        let program = Program { length: FILTER.len() as u16, steps: FILTER.as_ptr() };
        // SAFETY: the program and its steps live through the calls, which copy them.
        let installed = unsafe {
            prctl(PR_SET_NO_NEW_PRIVS, 1usize, 0usize, 0usize, 0usize) == 0
                && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &raw const program, 0usize, 0usize) == 0
        };
        if installed { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: between fork and exec there are only these two system calls.
    unsafe { command.pre_exec(install) };
}

/// One instruction of a filter, and a filter: `sock_filter` and `sock_fprog`.
#[repr(C)]
struct Step {
    code: u16,
    jump_true: u8,
    jump_false: u8,
    operand: u32,
}

#[repr(C)]
struct Program {
    length: u16,
    steps: *const Step,
}

unsafe extern "C" {
    fn prctl(option: i32, ...) -> i32;
}

fn total(part: &Path) -> Option<u64> {
    let text = fs::read_to_string(part).ok()?;
    text.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

/// All works, each between two marks, with something of it done before.
fn work() {
    let place = tempfile::tempdir().expect("a directory");
    let config = Config::new().data_dir(place.path().join("data")).durability(Durability::Relaxed);
    let theater = TheaterRuntime::start(config).expect("a runtime");
    let handle = theater.handle();
    let start = |name, reuse| handle.start(manifest(place.path(), name, reuse)).expect("it starts");
    let (one, other, fresh) = (start("one", 1_000), start("other", 1_000), start("fresh", 1));
    let message = vec![b'e'; 64];
    let chain = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/counter.chain")).expect("a chain");
    let works: [&dyn Fn(u32); 5] = [
        &|times| (0..times).for_each(|_| ask(handle, one, message.clone())),
        &|times| (0..times).for_each(|_| ask(handle, fresh, message.clone())),
        &|times| ask(handle, one, command(b'f', times, other, &message)),
        &|times| {
            ask(handle, one, command(b's', times, other, &message));
            ask(handle, other, message.clone());
        },
        &|times| (0..times).for_each(|_| verify(&chain)),
    ];
    for (work, (_, times)) in works.iter().zip(WORKS) {
        work(10);
        guard_mark();
        work(times);
        guard_mark();
    }
    theater.shutdown();
}

fn ask(handle: &TheaterHandle, actor: ActorId, message: Vec<u8>) {
    handle.request(actor, message).expect("an answer");
}

fn verify(chain: &[u8]) {
    UnverifiedChain::read(chain).expect("a chain").verify().expect("it holds");
}

/// Has the guest make `times` requests (`f`) or sends (`s`) of `payload` to another actor.
fn command(kind: u8, times: u32, to: ActorId, payload: &[u8]) -> Vec<u8> {
    [&[kind], &times.to_le_bytes()[..], to.to_string().as_bytes(), payload].concat()
}

fn manifest(dir: &Path, name: &str, reuse: u32) -> PathBuf {
    let component = wat::parse_str(include_str!("../system/src/guest.wat")).expect("the text of a component");
    fs::write(dir.join("guest.wasm"), component).expect("a file");
    let text = format!(
        "name = \"{name}\"\ncomponent_path = \"guest.wasm\"\nreuse = {reuse}\ninit_state = \"\"\"\n{}\"\"\"\n",
        "\"a state that is JSON, and of 64 bytes in all, as it happens\""
    );
    let path = dir.join(format!("{name}.toml"));
    fs::write(&path, text).expect("a file");
    path
}
