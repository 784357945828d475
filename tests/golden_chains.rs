//! Comparison of outcomes: `theater replay --compare --outcomes`, and golden chains in `theater test`.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::{Stage, component, text};

fn theater(args: &[&str], dir: &Path) -> Output {
    let mut command = Command::new(support::THEATER);
    command.args(args).current_dir(dir).env("THEATER_CODE_CACHE", support::code_cache());
    command.output().expect("the binary")
}

/// A recorded chain of an actor that was asked these messages, without its component.
fn recorded(stage: &Stage, manifest: &Path, name: &str, messages: &[Value]) -> PathBuf {
    let running = stage.run(&[manifest]);
    messages.iter().for_each(|message| _ = running.request(name, message));
    running.shut_down();
    let data = stage.data_dir();
    let to = format!("{name}.chain");
    let export = ["export", name, "--without-components", "-o", &to, "--data-dir", data.to_str().expect("UTF-8")];
    let done = theater(&export, stage.path());
    assert!(done.status.success(), "{}", text(&done.stderr));
    stage.path().join(to)
}

fn compared(stage: &Stage, chain: &Path, more: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    let chain = chain.to_str().expect("UTF-8");
    let done = theater(&[&["replay", chain, "--compare", "--outcomes", "--json"], more].concat(), stage.path());
    let printed = text(&done.stdout);
    let lines = printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (done.status.code(), lines, text(&done.stderr))
}

#[test]
fn a_chain_without_component_is_small_verifies_and_is_compared_by_outcome() {
    let stage = Stage::new();
    let manifest = stage.manifest("counter", "counter", "");
    let messages = [json!({ "add": 40 }), json!("get"), json!({ "add": 2 }), json!({ "take": 1 })];
    let chain = recorded(&stage, &manifest, "counter", &messages);
    let size = std::fs::metadata(&chain).expect("a file").len();
    assert!(size < 10_000, "{size} bytes");
    let path = chain.to_str().expect("UTF-8");
    assert!(theater(&["verify", path], stage.path()).status.success());
    let done = theater(&["replay", path], stage.path());
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("--compare --outcomes --manifest MANIFEST"), "{}", text(&done.stderr));

    let same = compared(&stage, &chain, &["--manifest", "counter.toml"]);
    assert_eq!((same.0, same.1), (Some(0), vec![json!({ "transitions": 5, "changes": 0, "skipped": [] })]));

    let variant = component("variant");
    let (status, lines, said) = compared(&stage, &chain, &["--component", variant.to_str().expect("UTF-8")]);
    assert_eq!(status, Some(1), "{said}");
    assert_eq!(lines[0]["export"], "ntwk:theater/message-server-client.handle-request");
    let state = json!({ "what": "state", "pointer": "/count", "before": 40, "after": 41 });
    assert_eq!(lines[0]["parts"][0], state);
    assert_eq!(lines[0]["parts"][1]["what"], "answer");
    assert!(said.contains("of 5 transitions come out otherwise"), "{said}");
    let newest = compared(&stage, &chain, &["--newest", "2", "--manifest", "counter.toml"]);
    assert_eq!(newest.1, [json!({ "transitions": 2, "changes": 0, "skipped": [] })]);
    let unnamed = theater(&["replay", path, "--compare"], stage.path());
    assert_eq!(unnamed.status.code(), Some(2), "the other build is named");
}

#[test]
fn the_clock_and_random_bytes_are_answered_as_they_were_recorded() {
    let stage = Stage::new();
    let grants = "[[handlers]]\ntype = \"clock\"\n[[handlers]]\ntype = \"random\"\n";
    let manifest = stage.manifest("chance", "chance", grants);
    let draw = json!({ "op": "random", "n": 8 });
    let many = json!({ "op": "many", "ops": [draw, "now", draw, { "op": "log", "text": "x" }] });
    let chain = recorded(&stage, &manifest, "chance", &[many, json!("now"), json!("trap"), json!("get")]);
    let same = compared(&stage, &chain, &["--manifest", "chance.toml"]);
    assert_eq!(same.0, Some(0), "{same:?}");
}

#[test]
fn a_build_that_draws_reads_the_clock_and_logs_once_more_comes_to_the_same_outcomes() {
    let stage = Stage::new();
    let grants = "[[handlers]]\ntype = \"clock\"\n[[handlers]]\ntype = \"random\"\n";
    let manifest = stage.manifest("chance", "chance", grants);
    let chain =
        recorded(&stage, &manifest, "chance", &[json!({ "op": "random", "n": 8 }), json!("now"), json!("count")]);
    let chattier = component("chattier");
    let chattier = chattier.to_str().expect("UTF-8");
    let same = compared(&stage, &chain, &["--component", chattier]);
    assert_eq!(same.0, Some(0), "{same:?}");
    // Compared event by event, each call is another one.
    let whole = stage.path().join("whole.chain");
    let data = stage.data_dir();
    let export = ["export", "chance", "-o", "whole.chain", "--data-dir", data.to_str().expect("UTF-8")];
    assert!(theater(&export, stage.path()).status.success());
    let strict = ["replay", whole.to_str().expect("UTF-8"), "--compare", "--component", chattier];
    assert!(text(&theater(&strict, stage.path()).stderr).contains("3 of 4 transitions change"));
}

#[test]
fn what_the_actor_read_is_answered_from_the_record_and_nothing_outside_is_touched() {
    let stage = Stage::new();
    let grant = "[[handlers]]\ntype = \"filesystem\"\nconfig = { path = \"kept\" }\n";
    let manifest = stage.manifest("files", "files", grant);
    std::fs::create_dir(stage.path().join("kept")).expect("a directory");
    let file = stage.file("kept/a.txt", "hello");
    let write = json!({ "op": "write-file", "path": "b.txt", "content": "x" });
    let chain = recorded(&stage, &manifest, "files", &[json!({ "op": "read-file", "path": "a.txt" }), write]);
    std::fs::remove_file(file).expect("removed");
    std::fs::remove_file(stage.path().join("kept/b.txt")).expect("the actor wrote it");
    let same = compared(&stage, &chain, &["--manifest", "files.toml"]);
    assert_eq!((same.0, same.1[0]["transitions"].clone()), (Some(0), json!(3)), "{}", same.2);
    assert!(!stage.path().join("kept/b.txt").exists());
}

#[test]
fn the_newest_calls_of_a_journal_are_compared_from_the_nearest_state_that_is_kept() {
    let stage = Stage::new();
    let manifest = stage.manifest("counter", "counter", "");
    let running = stage.run(&[&manifest]);
    (0..200).for_each(|_| assert!(running.request("counter", &json!({ "add": 1 })).is_ok()));
    running.shut_down();
    let again = stage.run(&[&manifest]);
    assert_eq!(again.request("counter", &json!({ "add": 1 })), Ok(json!({ "count": 201 })));
    again.shut_down();
    let (data, variant) = (stage.data_dir(), component("variant"));
    let (data, variant) = (data.to_str().expect("UTF-8"), variant.to_str().expect("UTF-8"));
    let of_journal = ["replay", "counter", "--journal", data, "--compare", "--outcomes", "--json", "--newest", "3"];
    let same = theater(&[&of_journal[..], &["--manifest", "counter.toml"]].concat(), stage.path());
    assert_eq!(same.status.code(), Some(0), "{}", text(&same.stderr));
    let printed: Value = serde_json::from_str(&text(&same.stdout)).expect("JSON");
    assert_eq!(printed, json!({ "transitions": 3, "changes": 0, "skipped": [] }));
    let other = theater(&[&of_journal[..], &["--component", variant]].concat(), stage.path());
    assert_eq!(text(&other.stdout).lines().count(), 4, "{}", text(&other.stdout));
    assert!(text(&other.stdout).contains("\"after\":202,\"before\":201"), "{}", text(&other.stdout));
}

/// A project whose golden chain the counter has recorded.
fn project_with_chain() -> (Stage, PathBuf) {
    let stage = Stage::new();
    let manifest = stage.manifest("counter", "counter", "");
    let chain = recorded(&stage, &manifest, "counter", &[json!({ "add": 40 }), json!({ "add": 2 })]);
    std::fs::create_dir(stage.path().join("tests")).expect("a directory");
    let golden = stage.path().join("tests/adds.chain");
    std::fs::rename(chain, &golden).expect("moved");
    (stage, golden)
}

#[test]
fn a_golden_chain_passes_until_the_build_comes_to_something_else_and_is_then_written_anew() {
    let (stage, golden) = project_with_chain();
    let run = |more: &[&str]| theater(&[&["test", "--no-build", "."], more].concat(), stage.path());
    let passed = run(&[]);
    assert_eq!(passed.status.code(), Some(0), "{}", text(&passed.stderr));
    assert!(
        text(&passed.stdout).contains("ok      adds.chain: the present build comes to"),
        "{}",
        text(&passed.stdout)
    );

    stage.manifest("counter", "variant", "");
    let failed = run(&["--chains"]);
    assert_eq!(failed.status.code(), Some(1));
    let said = text(&failed.stdout);
    for part in ["FAILED  adds.chain", "state differs at /count", "before  40", "after   41"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let old = std::fs::read(&golden).expect("a file");
    let updated = run(&["--update"]);
    assert_eq!(updated.status.code(), Some(0), "{}", text(&updated.stdout));
    assert!(text(&updated.stderr).contains("written anew"), "{}", text(&updated.stderr));
    assert_ne!(std::fs::read(&golden).expect("a file"), old);
    let verified = theater(&["verify", golden.to_str().expect("UTF-8")], stage.path());
    assert!(verified.status.success(), "{}", text(&verified.stderr));
    assert_eq!(run(&[]).status.code(), Some(0), "the chain is what the build does");
    let replayed = theater(
        &["replay", golden.to_str().expect("UTF-8"), "--component", component("variant").to_str().expect("UTF-8")],
        stage.path(),
    );
    assert!(replayed.status.success(), "{}", text(&replayed.stderr));
    stage.manifest("counter", "counter", "");
    assert_eq!(run(&[]).status.code(), Some(1), "the former build does something else");
}

#[test]
fn a_golden_chain_that_does_not_verify_fails_its_test() {
    let (stage, golden) = project_with_chain();
    let text_of = std::fs::read_to_string(&golden).expect("text");
    std::fs::write(&golden, text_of.replace("\"sequence\":2", "\"sequence\":3")).expect("written");
    let failed = theater(&["test", "--no-build", "."], stage.path());
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stdout).contains("FAILED  adds.chain"), "{}", text(&failed.stdout));
}
