//! The rules of the house: which layer may use which, what may not be depended on, what pages stay pages.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each layer may use those before it, and itself.
const LAYERS: [&str; 20] = [
    "base",
    "net",
    "chain",
    "manifest",
    "journal",
    "realm",
    "proofs",
    "system",
    "guest",
    "promise",
    "handlers",
    "actor",
    "theater",
    "server",
    "telemetry",
    "config",
    "build",
    "rehearsal",
    "cli",
    "fuzzing",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The layer a file belongs to: `src/chain/hash.rs` and `src/manifest.rs` to `chain` and `manifest`.
fn layer_of(path: &Path) -> Option<usize> {
    let inside = path.strip_prefix(root().join("src")).expect("a source file");
    let first = inside.components().next()?.as_os_str().to_str()?;
    LAYERS.iter().position(|layer| first == *layer || first == format!("{layer}.rs"))
}

/// The crate's own modules a text names, as `crate::layer` and inside `use crate::{…}`.
fn used_layers(text: &str) -> Vec<&str> {
    text.split("crate::")
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default())
        .collect()
}

#[test]
fn imports_point_left_only() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    assert!(files.len() > 40, "the sources are looked at");
    let mut upward = Vec::new();
    for file in files {
        let Some(own) = layer_of(&file) else { continue };
        let text = std::fs::read_to_string(&file).expect("a source file");
        // A link in a comment imports nothing.
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for used in used_layers(&code.join("\n")) {
            match LAYERS.iter().position(|layer| *layer == used) {
                Some(layer) if layer > own => upward.push(format!("{} uses {used}", file.display())),
                Some(_) => {}
                None => assert!(used.is_empty() || used == "VERSION", "{}: crate::{used} is no layer", file.display()),
            }
        }
    }
    assert_eq!(upward, [""; 0], "imports that point up");
}

#[test]
fn every_module_of_the_library_is_a_layer() {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs");
    let modules: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .collect();
    assert_eq!(modules, LAYERS);
}

#[test]
fn lib_and_main_stay_a_page() {
    for (file, lines) in [("src/lib.rs", 60), ("src/main.rs", 20)] {
        let text = std::fs::read_to_string(root().join(file)).expect(file);
        assert!(text.lines().count() <= lines, "{file} has {} lines", text.lines().count());
    }
}

/// `println!` and its like panic where nobody reads any more, on a thread that may have to act: `cli::show` and
/// `cli::stderr` print.
#[test]
fn nothing_prints_by_a_macro_that_panics_where_nobody_reads() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source");
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let found: Vec<&str> = code.filter(|line| line.contains("print!(") || line.contains("println!(")).collect();
        assert!(found.is_empty(), "{}: {found:?}", file.display());
        assert!(!text.contains("dbg!("), "{}", file.display());
    }
}

/// One place reads the clocks, so that a simulation can put its own time there.
#[test]
fn only_base_clock_reads_a_clock() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    for file in files.iter().filter(|file| !file.ends_with("base/clock.rs")) {
        let text = std::fs::read_to_string(file).expect("a source");
        let readings = ["Instant::now", "SystemTime::now", ".elapsed()", "clock_gettime"];
        let found: Vec<&str> = text.lines().filter(|line| readings.iter().any(|it| line.contains(it))).collect();
        assert!(found.is_empty(), "{} reads a clock by itself: {found:?}", file.display());
    }
}

/// The signatures of the public functions of a source: what stands between `pub fn` and the body.
fn public_signatures(text: &str) -> impl Iterator<Item = &str> {
    let starts = text.match_indices("pub fn ").map(|(at, _)| &text[at..]);
    starts.map(|rest| rest.split(['{', ';']).next().unwrap_or_default().trim_end())
}

/// An embedder handles an error by its type; a text is for a person.
#[test]
fn no_public_function_has_a_text_for_an_error() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source");
        let texts: Vec<&str> = public_signatures(&text).filter(|signature| signature.ends_with(", String>")).collect();
        assert!(texts.is_empty(), "{}: {texts:?}", file.display());
    }
    let sample = "pub fn a(&self) -> Result<(), String> {\n}\npub fn b() -> Result<\n    (),\n    Error,\n> {";
    assert_eq!(public_signatures(sample).filter(|signature| signature.ends_with(", String>")).count(), 1);
}

/// How a thread blocks until another one acts, or until time has passed.
const BLOCKING: [&str; 16] = [
    ".recv()",
    ".recv_timeout(",
    ".recv_deadline(",
    "select!",
    "Select::new",
    "mpsc",
    "Barrier",
    "thread::park",
    "park_timeout(",
    "Parker",
    "Unparker",
    ".wait(&mut ",
    ".wait_while(",
    ".wait_for(&mut ",
    ".wait_until(&mut ",
    "thread::sleep",
];

/// Files that name a parker, and wait by `base::wait` alone: a parker is made with a mailbox, and lies where it is used.
const NAME_PARKERS: [&str; 5] =
    ["base/one_shot.rs", "system/async_requests.rs", "system/mailbox.rs", "system/signal.rs", "system/timers.rs"];

/// One module makes threads wait, so that a simulation can decide there which thread runs next. Tests wait as they like.
#[test]
fn only_base_wait_blocks_until_another_thread_acts() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let is_test = |file: &Path| file.ends_with("tests.rs") || file.components().any(|part| part.as_os_str() == "tests");
    for file in files.iter().filter(|file| !file.ends_with("base/wait.rs") && !is_test(file)) {
        let text = std::fs::read_to_string(file).expect("a source");
        let product = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let names_parkers = NAME_PARKERS.iter().any(|named| file.ends_with(named));
        let blocks = |line: &&str| {
            let is_code = !line.trim_start().starts_with("//");
            is_code && BLOCKING.iter().any(|it| line.contains(it) && !(names_parkers && it.ends_with("arker")))
        };
        let found: Vec<&str> = product.lines().filter(blocks).collect();
        assert!(found.is_empty(), "{} waits by itself instead of by base::wait: {found:?}", file.display());
    }
}

/// What runs futures, or is there for something that does.
const ASYNC_RUNTIMES: [&str; 13] = [
    "tokio",
    "async-std",
    "smol",
    "async-executor",
    "async-io",
    "async-global-executor",
    "futures-executor",
    "mio",
    "hyper",
    "reqwest",
    "actix-rt",
    "glommio",
    "monoio",
];

/// What is only of use to async code.
const ASYNC_PARTS: [&str; 3] = ["futures", "futures-util", "wasmtime-internal-fiber"];

fn cargo(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(args).current_dir(root()).output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn no_async_runtime_is_in_the_dependency_tree() {
    let metadata = cargo(&["metadata", "--format-version", "1", "--locked"]);
    let metadata: serde_json::Value = serde_json::from_str(&metadata).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let names: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    assert!(names.contains("wasmtime"), "the tree is looked at");
    let found: Vec<_> = ASYNC_RUNTIMES.iter().filter(|name| names.contains(**name)).collect();
    assert!(found.is_empty(), "async runtimes in the dependency tree: {found:?}");
}

/// `cargo metadata` also names optional dependencies that are off; `cargo tree` names what is compiled.
#[test]
fn nothing_async_is_compiled() {
    let tree = cargo(&["tree", "--locked", "--target", "all", "--edges", "normal,build", "--prefix", "none"]);
    let names: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("wasmtime"), "the tree is looked at");
    let found: Vec<_> = ASYNC_RUNTIMES.iter().chain(&ASYNC_PARTS).filter(|name| names.contains(**name)).collect();
    assert!(found.is_empty(), "compiled in: {found:?}");
}
