//! Projects from every template of `theater new`, in every language: each builds with the real toolchain, and its own tests pass.

mod support;
#[path = "support/languages.rs"]
mod projects;
#[path = "support/websocket.rs"]
mod websocket;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use projects::{Python, Rust, TypeScript, built};
use serde_json::{Value, json};
use support::{Stage, text, theater, verifies_and_replays};
use websocket::Client;

/// A new project called `till`; `None` if a tool is missing.
fn begun(stage: &Stage, lang: &str, template: &str) -> Option<PathBuf> {
    let needed = match lang {
        "rust" => Rust,
        "python" => Python,
        _ => TypeScript,
    };
    if let Some(tool) = needed.missing_tool() {
        support::skipped(&format!("a new project in {lang}"), &format!("there is no {tool}"));
        return None;
    }
    let directory = stage.path().join("till");
    let at = directory.to_str().expect("UTF-8");
    let done = theater(&["new", "till", "--lang", lang, "--template", template, "--dir", at], None);
    assert!(done.status.success(), "{}", text(&done.stderr));
    Some(directory)
}

/// What cargo has built of the packages that all projects in Rust have in common. Each project's own package has the same name, so
/// one project at a time is built there.
static BUILT_BY_CARGO: Mutex<&str> = Mutex::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/new-projects"));

/// A new project builds, and its own test passes.
fn passes_its_test(lang: &str, template: &str) {
    let stage = Stage::new();
    let Some(directory) = begun(&stage, lang, template) else { return };
    let target = (lang == "rust").then(|| BUILT_BY_CARGO.lock().unwrap_or_else(PoisonError::into_inner));
    let run = |program: &str| {
        let mut command = Command::new(program);
        target.iter().for_each(|target| _ = command.env("CARGO_TARGET_DIR", **target));
        command
    };
    let mut test = run("sh");
    test.arg(directory.join("test.sh")).env("THEATER", support::THEATER);
    let tested = test.env("THEATER_CODE_CACHE", support::code_cache()).output().expect("sh");
    let said = (text(&tested.stdout), text(&tested.stderr));
    assert!(tested.status.success() && said.0.contains("the tests pass"), "{lang}, {template}: {said:?}");
    // Those of its language are another test's.
    let mut test = run(support::THEATER);
    test.arg("test").arg(&directory).arg("--scripted").env("THEATER_CODE_CACHE", support::code_cache());
    let tested = test.output().expect("the binary");
    assert!(tested.status.success(), "{lang}, {template}: {}{}", text(&tested.stdout), text(&tested.stderr));
    assert!(text(&tested.stdout).contains("ok      till.toml: "), "{}", text(&tested.stdout));
    let left = std::fs::read_dir(&directory).expect("a directory").map(|it| it.expect("a file").file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().contains("-test.toml")), "the test leaves nothing");
    drop(target);
    if template == "chat" {
        talks(&stage, &directory);
    }
}

/// The tests of an actor's own logic pass, outside of a component.
fn passes_its_own_tests(lang: &str) {
    let stage = Stage::new();
    let Some(directory) = begun(&stage, lang, "worker") else { return };
    let mut test = match lang {
        "rust" => Command::new("cargo"),
        "python" => Command::new("python3"),
        _ => Command::new("npm"),
    };
    match lang {
        "python" => {
            test.args(["-m", "unittest", "discover", "-s", "tests"]).env("PYTHONPATH", ".theater/sdk/python:src")
        }
        _ => test.arg("test"),
    };
    // The loader compiles TypeScript with esbuild, of the toolchain that a build installs.
    if lang == "ts" {
        built(&directory.join("till.toml"));
    }
    let tested = test.current_dir(&directory).output().expect("it runs");
    assert!(tested.status.success(), "{lang}: {}{}", text(&tested.stdout), text(&tested.stderr));
}

#[test]
fn the_logic_of_a_worker_passes_its_own_tests_in_each_language() {
    for lang in ["rust", "ts", "js", "python"] {
        passes_its_own_tests(lang);
    }
}

macro_rules! passes {
    ($($test:ident: $lang:literal, $template:literal;)*) => {
        $(#[test]
        fn $test() {
            passes_its_test($lang, $template);
        })*
    };
}

passes! {
    an_http_actor_in_rust: "rust", "http";
    an_http_actor_in_typescript: "ts", "http";
    an_http_actor_in_javascript: "js", "http";
    an_http_actor_in_python: "python", "http";
    a_worker_in_rust: "rust", "worker";
    a_worker_in_typescript: "ts", "worker";
    a_worker_in_javascript: "js", "worker";
    a_worker_in_python: "python", "worker";
    a_supervisor_in_rust: "rust", "supervisor";
    a_supervisor_in_typescript: "ts", "supervisor";
    a_supervisor_in_javascript: "js", "supervisor";
    a_supervisor_in_python: "python", "supervisor";
    a_chat_in_rust: "rust", "chat";
    a_chat_in_typescript: "ts", "chat";
    a_chat_in_javascript: "js", "chat";
    a_chat_in_python: "python", "chat";
    an_empty_actor_in_rust: "rust", "empty";
    an_empty_actor_in_typescript: "ts", "empty";
    an_empty_actor_in_javascript: "js", "empty";
    an_empty_actor_in_python: "python", "empty";
}

/// The rooms of the template `chat`, which is built, talk over WebSocket, and go on after a kill.
fn talks(stage: &Stage, directory: &Path) {
    let manifest = directory.join("till.toml");
    let shipped = std::fs::read_to_string(&manifest).expect("a manifest");
    std::fs::write(&manifest, shipped.replace("port = 8080", "port = 0").replace("port = 8081", "port = 0"))
        .expect("it");
    let running = stage.run(&[&manifest]);
    let heard = |client: &mut Client| -> Value {
        serde_json::from_str(&client.hear().into_text().expect("text")).expect("JSON")
    };
    let line = |name: &str, text: &str| json!({ "name": name, "text": text });
    let (mut ada, mut bob) = (Client::connect(running.websocket("till")), Client::connect(running.websocket("till")));
    support::eventually("both are there", || {
        (running.request("till", &json!("present")) == Ok(json!(2))).then_some(())
    });
    ada.say(&line("ada", "hello").to_string());
    assert_eq!((heard(&mut ada), heard(&mut bob)), (line("ada", "hello"), line("ada", "hello")));
    assert_eq!(running.request("till", &json!({ "say": line("clock", "noon") })), Ok(Value::Null));
    assert_eq!(heard(&mut bob), line("clock", "noon"));
    running.kill();

    let running = stage.run(&[&manifest]);
    support::eventually("nobody is there", || {
        (running.request("till", &json!("present")) == Ok(json!(0))).then_some(())
    });
    let mut late = Client::connect(running.websocket("till"));
    assert_eq!((heard(&mut late), heard(&mut late)), (line("ada", "hello"), line("clock", "noon")));
    late.say("no line");
    late.hear_the_end();
    let chain = running.export(stage, "till");
    running.shut_down();
    verifies_and_replays(&chain);
}
