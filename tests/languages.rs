//! Actors in Rust, TypeScript, JavaScript and Python: built by `theater build` with the real toolchains, and asked the same.
//!
//! The projects are in `tests/languages/`. A toolchain that is missing is named, and what needs it is skipped. The components
//! are built once, and compiled into the code cache that all tests share.

mod support;
#[path = "support/languages.rs"]
mod projects;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use projects::{Language, Python, Rust, TypeScript, built, logged};
use serde_json::{Value, json};
use support::{Http, Stage, Theater, text, theater, verifies_and_replays};

fn refusal_of_a_build(path: &Path) -> String {
    let done = theater(&["build", path.to_str().expect("UTF-8")], None);
    assert_eq!(done.status.code(), Some(1), "{}", text(&done.stdout));
    text(&done.stderr).to_owned()
}

/// The shims that the program includes are made from the sources that lie here.
#[test]
fn the_shims_in_the_program_are_those_of_their_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources = Command::new("sh").arg(root.join("scripts/shim-sources.sh")).output().expect("sh");
    let locked = fs::read_to_string(root.join("src/build/shims/shims.lock")).expect("shims.lock");
    assert_eq!(text(&sources.stdout), locked, "run scripts/build-shims.sh, and commit what it writes");
}

/// What each of the three counters does.
fn counts(language: Language) {
    let Some(manifest) = language.built("counter.toml") else { return };
    let stage = Stage::new();
    let running = stage.run(&[&manifest]);
    let ask = |message: Value| running.request("counter", &message);
    assert_eq!(ask(json!("get")), Ok(json!({ "count": 0 })));
    assert_eq!(ask(json!({ "add": 3 })), Ok(json!({ "count": 3 })));
    assert_eq!(ask(json!("text")), Ok(json!("Grüße, 世界 🎭")));

    // A refusal leaves the state as it was, although the actor had changed it.
    let why = ask(json!({ "add": "x" })).expect_err("refused");
    assert!(why.contains("\"x\" cannot be added"), "{why}");
    assert_eq!(ask(json!("get")), Ok(json!({ "count": 3 })));
    assert!(running.refused(&["request", "counter", "no JSON"]).contains("refused"), "no JSON is no failure");

    let mut http = Http::connect(running.http("counter"));
    let answer = http.ask("POST", "/increment", None);
    assert_eq!((answer.status, answer.json()), (200, json!({ "count": 4 })));
    assert_eq!(http.ask("GET", "/?verbose", None).json(), json!({ "count": 4 }));
    assert_eq!(http.ask("GET", "/nothing", None).status, 404);
    assert_eq!(http.ask("GET", "/increment", None).status, 405);

    // Any other exception fails the actor, as a panic does; it goes on with its last state.
    assert!(ask(json!("crash")).expect_err("failed").contains("failed"));
    running.until("counter", "running");
    assert!(logged(&running, "counter").iter().any(|line| line.contains("crashed on purpose")));
    assert_eq!(ask(json!("get")), Ok(json!({ "count": 4 })));
    assert!(logged(&running, "counter")[0].contains("begins at 0"));
    let chain = running.export(&stage, "counter");
    running.shut_down();
    verifies_and_replays(&chain);
}

#[test]
fn the_counter_in_rust_counts() {
    counts(Rust);
}

#[test]
fn the_counter_in_typescript_counts() {
    counts(TypeScript);
}

/// What the program took from outside, in a first and a second run of the runtime, differs from call to call; and the chain
/// replays.
fn draws_and_replays(language: Language, drawn: &[&str], the_same: &[&str]) {
    let Some(manifest) = language.built("counter.toml") else { return };
    let stage = Stage::new();
    let chance = |running: &Theater| running.request("counter", &json!("chance")).expect("an answer");
    let running = stage.run(&[&manifest]);
    let mut answers = vec![chance(&running), chance(&running)];
    running.shut_down();
    let running = stage.run(&[&manifest]);
    answers.push(chance(&running));
    let chain = running.export(&stage, "counter");
    running.shut_down();
    for name in drawn {
        let values: BTreeSet<String> = answers.iter().map(|answer| answer[name].to_string()).collect();
        assert_eq!(values.len(), answers.len(), "{name} differs from instance to instance: {answers:?}");
    }
    for name in the_same {
        assert!(answers.iter().all(|answer| answer[name] == answers[0][name] && !answer[name].is_null()), "{name}");
    }
    verifies_and_replays(&chain);
}

#[test]
fn typescript_draws_from_the_host_and_its_chain_replays_after_a_restart() {
    draws_and_replays(TypeScript, &["mathRandom", "randomValues", "uuid"], &["set"]);
}

#[test]
fn rust_draws_from_the_host_and_its_chain_replays_after_a_restart() {
    draws_and_replays(Rust, &["bytes"], &[]);
}

/// One test, so that the component is compiled once.
#[test]
fn the_counter_in_python_counts_draws_from_the_host_and_replays() {
    counts(Python);
    draws_and_replays(Python, &["random", "secrets", "uuid"], &["set", "hash"]);
    let Some(manifest) = Python.built("counter.toml") else { return };
    let stage = Stage::new();
    let running = stage.run(&[&manifest]);
    running.request("counter", &json!("get")).expect("an answer");
    let types = running.event_types("counter");
    assert!(!types.iter().any(|it| it.contains("random.bytes")), "an actor that does not ask draws nothing: {types:?}");
    for (message, why) in [(json!({ "sleep": 1 }), "an actor cannot sleep"), (json!("exit"), "an actor cannot exit")] {
        running.request("counter", &message).expect_err("failed");
        running.until("counter", "running");
        assert!(logged(&running, "counter").iter().any(|line| line.contains(why)), "{why}");
    }
    verifies_and_replays(&running.export(&stage, "counter"));
}

#[test]
fn a_manifest_that_grants_no_clock_and_no_randomness_has_a_component_that_refuses_them_by_name() {
    let Some(manifest) = TypeScript.built("bare.toml") else { return };
    let stage = Stage::new();
    let running = stage.run(&[&manifest]);
    assert_eq!(running.request("bare", &json!({ "add": 2 })), Ok(json!({ "count": 2 })));
    running.request("bare", &json!("chance")).expect_err("failed");
    running.until("bare", "running");
    let lines = logged(&running, "bare");
    assert!(lines.iter().any(|line| line.contains("needs the handler \"random\"")), "{lines:?}");
    running.request("bare", &json!("time")).expect_err("failed");
    running.until("bare", "running");
    let lines = logged(&running, "bare");
    assert!(lines.iter().any(|line| line.contains("grant the handler `clock`")), "{lines:?}");
    assert_eq!(running.request("bare", &json!("get")), Ok(json!({ "count": 2 })));
    verifies_and_replays(&running.export(&stage, "bare"));
}

/// A project in JavaScript with this code, and a manifest that grants these handlers.
fn javascript(stage: &Stage, code: &str, more: &str) -> PathBuf {
    fs::create_dir_all(stage.path().join("project/src")).expect("a directory");
    stage.file("project/package.json", "{}");
    stage.file("project/src/main.js", code);
    stage.file("project/a.toml", format!("name = \"a\"\ncomponent_path = \"dist/a.wasm\"\n{more}"))
}

#[test]
fn a_build_is_skipped_until_a_source_or_a_grant_changes() {
    if let Some(tool) = TypeScript.missing_tool() {
        return support::skipped("a build of JavaScript", &format!("there is no {tool}"));
    }
    let stage = Stage::new();
    let code = "import { Actor } from 'theater-actor';\nexport default class A extends Actor {}\n";
    let manifest = javascript(&stage, code, "");
    let changed = || built(&manifest)["changed"] == true;
    assert!(changed());
    assert!(!changed());
    stage.file("project/a.toml", "# A comment.\nname = \"a\"\ncomponent_path = \"dist/a.wasm\"\n");
    assert!(!changed(), "a manifest with the same world builds the same");
    fs::create_dir(stage.path().join("project/tests")).expect("a directory");
    stage.file("project/tests/main.test.js", "// A test.\n");
    assert!(!changed(), "a test is no part of the component");
    stage.file("project/src/main.js", format!("{code}// Another comment.\n"));
    assert!(changed());
    stage.file("project/a.toml", "name = \"a\"\ncomponent_path = \"dist/a.wasm\"\n[[handlers]]\ntype = \"clock\"\n");
    assert!(changed());
    stage.file("project/dist/a.wasm", "damaged");
    assert!(changed());
    assert!(!changed());
}

#[test]
fn a_build_that_cannot_be_made_says_what_to_do() {
    if let Some(tool) = TypeScript.missing_tool() {
        return support::skipped("a build of JavaScript", &format!("there is no {tool}"));
    }
    let stage = Stage::new();
    let why = |code: &str| refusal_of_a_build(&javascript(&stage, code, ""));
    let unreadable = why("export default class {");
    assert!(unreadable.contains("src/main.js:1:"), "the tool's own error: {unreadable}");
    let ungranted = why("import { now } from 'theater-actor/clock';\nexport default class A { t = now(); }\n");
    assert!(ungranted.contains("src/main.js uses") && ungranted.contains("type = \"clock\""), "{ungranted}");
    let no_class = why("export const nothing = 1;\n");
    assert!(no_class.contains("export default"), "{no_class}");
    let absent = why("import 'no-such-package';\n");
    assert!(absent.contains("no-such-package"), "{absent}");
}

#[test]
fn a_directory_that_is_no_project_says_what_is_missing() {
    let stage = Stage::new();
    assert!(refusal_of_a_build(stage.path()).contains("no manifest is here"));
    let manifest = stage.file("a.toml", "name = \"a\"\ncomponent_path = \"a.wasm\"\n");
    let why = refusal_of_a_build(&manifest);
    assert!(why.contains("no Cargo.toml, package.json or pyproject.toml"), "{why}");
    stage.file("package.json", "{}");
    let why = refusal_of_a_build(&manifest);
    assert!(why.contains("src/main.ts"), "{why}");
    stage.file("package.json", "{ no JSON");
    assert!(refusal_of_a_build(&manifest).contains("package.json"));
    stage.file("package.json", "{}");
    stage.file("pyproject.toml", "");
    let why = refusal_of_a_build(&manifest);
    assert!(why.contains("package.json and pyproject.toml are both here"), "{why}");
    stage.file("a.toml", "name = \"a\"\ncomponent_path = \"a.wasm\"\n[[handlers]]\ntype = \"clok\"\n");
    assert!(refusal_of_a_build(&manifest).contains("did you mean \"clock\""));
}

#[test]
fn a_toolchain_that_is_missing_is_named_with_the_remedy() {
    let stage = Stage::new();
    let empty = stage.path().join("empty");
    fs::create_dir(&empty).expect("a directory");
    for (project_file, entry, remedy) in [
        ("package.json", "main.js", "install Node.js"),
        ("pyproject.toml", "main.py", "install Python"),
        ("Cargo.toml", "main.rs", "install Rust"),
    ] {
        let project = stage.path().join(project_file.replace('.', "-"));
        fs::create_dir(&project).expect("a directory");
        fs::write(project.join(project_file), if project_file == "package.json" { "{}" } else { "" }).expect("written");
        fs::write(project.join(entry), "").expect("written");
        fs::write(project.join("a.toml"), "name = \"a\"\ncomponent_path = \"a.wasm\"\n").expect("written");
        let mut build = Command::new(support::THEATER);
        build.arg("build").arg(&project).arg("--toolchains").arg(stage.path().join("toolchains")).env("PATH", &empty);
        let done = build.output().expect("the program runs");
        let said = text(&done.stderr);
        assert!(done.status.code() == Some(1) && said.contains("is not installed") && said.contains(remedy), "{said}");
    }
}

#[test]
fn a_name_for_a_project_that_is_none_is_refused() {
    let done = theater(&["new", "Till!", "--lang", "python"], None);
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("no name for a project"), "{}", text(&done.stderr));
    assert_eq!(theater(&["new", "till"], None).status.code(), Some(2), "a language is needed");
}
