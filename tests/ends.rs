//! What ends a runtime by itself: `--exit-when-roots-failed`.

mod support;

use serde_json::{Value, json};
use support::{Http, Stage, Theater, signal};

const TEMPORARY: &str = "restart = \"temporary\"\n";

fn fails(running: &Theater, actor: &str) {
    running.request(actor, &json!({ "op": "trap" })).expect_err("it fails");
}

#[test]
fn a_runtime_ends_once_every_root_has_ended_and_one_has_failed() {
    let stage = Stage::new();
    let manifests = [
        stage.manifest("ledger", "probe", TEMPORARY),
        stage.manifest("stopped", "counter", ""),
        stage.manifest("often", "probe", "restart = \"permanent\"\nmax_restarts = 1\nrestart_backoff_ms = 1\n"),
    ];
    let manifests: Vec<_> = manifests.iter().map(std::path::PathBuf::as_path).collect();
    let mut running = stage.run_with(&manifests, &["--exit-when-roots-failed"]).expect("it starts");
    fails(&running, "ledger");
    running.say(&["stop", "stopped"]);
    fails(&running, "often");
    running.until("often", "running");
    assert!(running.is_running(), "a root is alive");
    fails(&running, "often");
    assert_eq!(running.wait().code(), Some(3));
    let log = stage.log();
    let last = log.lines().last().expect("its last words");
    let named = "theater: every root actor has ended, and not all of them in order: ledger failed (trap: ";
    assert!(last.starts_with(named) && last.contains("; often failed (") && !last.contains("stopped failed"), "{log}");

    // What a container does next: the roots that are named begin again.
    let mut running = stage.run_with(&manifests[..1], &["--exit-when-roots-failed"]).expect("it starts");
    assert_eq!((running.status("ledger"), running.status("often")), ("running".into(), "failed".into()));
    assert!(running.is_running(), "the one that is not named had ended before");
    fails(&running, "ledger");
    assert_eq!(running.wait().code(), Some(3));
    assert!(!stage.log().lines().last().expect("its last words").contains("often"), "{}", stage.log());
}

#[test]
fn a_runtime_without_a_failed_root_goes_on_and_so_does_one_that_was_not_told_to_end() {
    for flags in [&["--exit-when-roots-failed"][..], &["--exit-when-roots-failed=false"], &[]] {
        let stage = Stage::new();
        let mut running = stage.run_with(&[&stage.manifest("probe", "probe", TEMPORARY)], flags).expect("it starts");
        if flags.len() == 1 && flags[0].len() == "--exit-when-roots-failed".len() {
            running.say(&["stop", "probe"]);
        } else {
            fails(&running, "probe");
            running.until("probe", "failed");
        }
        running.say(&["list"]);
        assert!(running.is_running(), "{flags:?}");
        running.shut_down();
    }
}

/// The actors below a root may take a while to end after it has failed.
#[test]
fn what_is_below_the_last_root_ends_or_is_suspended_in_order() {
    let stage = Stage::new();
    stage.file("theater.toml", "exit_when_roots_failed = true\n");
    let component = stage.copy_component("probe", "component");
    let child = stage.manifest_at("child", &component, "[limits]\ncpu_ms_per_call = 600000\nstop_grace_ms = 100\n");
    let more = format!("{TEMPORARY}[[handlers]]\ntype = \"supervisor\"\n");
    let nursery = stage.manifest("nursery", "nursery", &more);
    let mut running = stage.run_with(&[&nursery], &[]).expect("it starts");
    let id = running.request("nursery", &json!({ "op": "spawn", "manifest": child })).expect("a child");
    assert!(id.get("err").is_none(), "{id}");
    fails(&running, "nursery");
    assert_eq!(running.wait().code(), Some(3));
    let journal = stage.data_dir();
    let verified = support::theater(&["verify", "--journal", journal.to_str().expect("a path")], None);
    assert!(verified.status.success(), "{}", support::text(&verified.stderr));
}

#[test]
fn its_setting_is_true_or_false_and_a_mistake_is_named_with_its_place() {
    for (text, words) in [
        (
            "exit_when_roots_failed = \"yes\"\n",
            "theater.toml:1: \"exit_when_roots_failed\" is true or false, without quotes",
        ),
        ("exit_when_roots_failed = 1\n", "theater.toml:1: \"exit_when_roots_failed\" is true or false"),
        ("[logging]\nformat = \"xml\"\n", "theater.toml:2: \"logging.format\" is \"text\" or \"json\"; it is \"xml\""),
    ] {
        let stage = Stage::new();
        stage.file("theater.toml", text);
        let why = stage.run_with(&[], &[]).err().expect("refused");
        assert!(why.contains(words), "{why}");
    }
    let stage = Stage::new();
    let why = stage.run_with(&[], &["--exit-when-roots-failed=maybe"]).err().expect("refused");
    assert!(why.contains("flag --exit-when-roots-failed: \"exit_when_roots_failed\" is true or false"), "{why}");
}

fn lines_of(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn with_the_format_json_each_line_of_standard_error_is_an_object_whatever_an_actor_says() {
    let stage = Stage::new();
    let name = "pro\"be] x";
    let manifest = stage.file(
        "probe.toml",
        format!("name = {name:?}\ncomponent_path = {:?}\n{TEMPORARY}", support::component("probe")),
    );
    let launch = stage.command(&[&manifest], &["--log-format", "json", "--exit-when-roots-failed"]);
    let mut running = launch.arg("--data-dir").arg(stage.data_dir()).launch(&stage).expect("it starts");
    let said = "first\nsecond \u{1b}[31m\"}\n{\"level\":\"ERROR\"} \u{9b}1m \u{7f}";
    running.request(name, &json!({ "op": "log", "text": said })).expect("an answer");
    fails(&running, name);
    assert_eq!(running.wait().code(), Some(3));
    let log = stage.log();
    assert!(!log.contains(|c: char| c.is_control() && c != '\n'), "{log:?}");
    let lines = lines_of(&log);
    let own = lines.iter().find(|line| line["target"] == "actor").expect("the actor's line");
    assert_eq!((&own["actor"], &own["level"], &own["message"]), (&json!(name), &json!("INFO"), &json!(said)));
    assert_eq!(own["thread"], "a-pro\"be] x");
    let failed = lines.iter().find(|line| line["level"] == "WARN").expect("a failure is logged");
    assert!(failed["target"].as_str().is_some_and(|target| target.starts_with("theater::")), "{failed}");
    assert!(failed.get("actor").is_none(), "only its own lines name an actor: {failed}");
    for line in &lines {
        let time = line["time"].as_str().expect("a time");
        assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{line}");
    }
    let last = lines.last().expect("its last words");
    let words = last["message"].as_str().expect("a text");
    assert!(last["level"] == "ERROR" && words.starts_with("theater: every root actor has ended"), "{last}");
}

#[test]
fn lines_of_json_that_were_not_read_in_time_are_counted_in_one() {
    let stage = Stage::new();
    let manifest = stage.http_manifest("probe", "probe", "[limits]\nlog_lines_per_second = 10000\n");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let launch = stage.command(&[&manifest], &["--ephemeral", "--log-format", "json"]).stderr(writer);
    let running = launch.launch(&stage).expect("it starts");
    let many = json!({ "op": "log", "text": "x".repeat(500), "times": 1_000 });
    assert_eq!(Http::connect(running.http("probe")).op(&many).status, 200);
    let reading = std::thread::spawn(move || std::io::read_to_string(reader).expect("UTF-8"));
    let once = json!({ "op": "log", "text": "again" });
    Http::connect(running.http("probe")).op(&once);
    signal(running.pid(), "INT");
    let mut running = running;
    assert!(running.wait().success());
    drop(running);
    let log = reading.join().expect("no panic");
    let missing = |line: &&str| line.contains("lines of the log are missing here");
    let line = log.lines().find(missing).expect("it is said");
    let read: Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(read["level"], "WARN");
}
