//! Tests of the commands by which an operator looks at actors: describe, events, logs, status, list and forget of what has ended,
//! and what a prune or a redaction would drop.

mod support;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{HTTP, Http, Management, Stage, THEATER, Theater, eventually, text, theater};

fn probe(more: &str) -> (Stage, Theater) {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", more)]);
    (stage, running)
}

fn panic(running: &Theater, message: &str) {
    running.request("probe", &json!({ "op": "panic", "message": message })).expect_err("it fails");
}

#[test]
fn an_actor_is_described_with_all_that_it_was_started_from_and_what_went_wrong() {
    let more = format!(
        "restart = \"permanent\"\nrestart_backoff_ms = 1\nmax_restarts = 7\n{HTTP}[limits]\nmessage_bytes = 4096\n"
    );
    let (_stage, running) = probe(&more);
    for message in ["the first", "the second\nof two lines"] {
        panic(&running, message);
        running.until("probe", "running");
    }
    let described = running.json(&["describe", "probe"]);
    let (actor, description) = (&described["actor"], &described["description"]);
    assert_eq!((&actor["name"], &actor["restarts"]["allowed"]), (&json!("probe"), &json!(7)));
    let last = running.last_event("probe");
    assert_eq!(description["head"], last["hash"]);
    assert_eq!(description["chain_length"].as_u64(), last["sequence"].as_u64().map(|last| last + 1));
    assert_eq!(description["limits"], json!({ "message_bytes": [4096, 1_048_576] }));
    assert_eq!(description["handlers"], json!([{ "type": "http-server", "config": { "port": 0 } }]));
    assert_eq!(
        (&description["restart"]["restart"], &description["restart"]["max_restarts"]),
        (&json!("permanent"), &json!(7))
    );
    let state = running.say(&["state", "probe"]);
    assert_eq!(description["state_bytes"], json!(state.len()));
    assert!(description["manifest_text"].as_str().expect("a text").contains("max_restarts = 7"));
    let failures = description["failures"].as_array().expect("a list");
    let why = |at: usize| failures[at]["detail"].as_str().expect("a text");
    assert!(why(0).contains("the second") && why(1).contains("the first"), "the newest first: {failures:?}");
    let said = running.say(&["describe", "probe"]);
    for line in [
        "limits         message_bytes = 4096 (usually 1048576)",
        "handlers       http-server {\"port\":0}",
        "restart        permanent, with its last state, after 1 ms",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
    assert!(said.contains("the second | of two lines (UnreachableCodeReached)"), "{said}");
    let failed = failures[0]["sequence"].to_string();
    assert!(said.ends_with(&format!("what led to it, and what came of it: theater trace probe {failed}")), "{said}");
    assert!(running.refused(&["describe", "nobody"]).contains("no actor is called \"nobody\""));
}

#[test]
fn children_and_what_an_actor_is_owed_are_described() {
    let stage = Stage::new();
    stage.manifest_at("child", &stage.copy_component("probe", "child"), "");
    let parent = stage.manifest("parent", "nursery", "[[handlers]]\ntype = \"supervisor\"\n");
    let alarm = stage.manifest("alarm", "alarm", "[[handlers]]\ntype = \"timer\"\n");
    let running = stage.run(&[&parent, &alarm]);
    let spawn = |label: &str| json!({ "op": "spawn-as", "manifest": "child.toml", "label": label });
    for label in ["ann", "bob"] {
        running.request("parent", &spawn(label)).expect("an answer");
    }
    running.say(&["stop", "parent/bob"]);
    let children = running.json(&["describe", "parent"])["description"]["children"].clone();
    let of = |at: usize| (children[at]["name"].clone(), children[at]["status"].clone());
    assert_eq!((of(0), of(1)), ((json!("ann"), json!("running")), (json!("bob"), json!("stopped"))));
    running.request("alarm", &json!({ "op": "set", "key": "later", "after": 3_600_000 })).expect("an answer");
    let owed = running.json(&["describe", "alarm"])["description"]["owed"].clone();
    assert_eq!((&owed[0]["what"], &owed[0]["actor"]), (&json!("timer"), &json!(running.id("alarm"))));
}

#[test]
fn an_http_call_is_shown_by_method_path_status_and_duration() {
    let (stage, running) = probe(HTTP);
    let mut client = Http::connect(running.http("probe"));
    client.op(&json!("count"));
    assert_eq!(client.op(&json!({ "op": "refuse", "message": "no" })).status, 500);
    assert_eq!(Http::connect(running.http("probe")).op(&json!({ "op": "panic", "message": "oh" })).status, 500);
    let lines = |said: &str| {
        said.lines().filter(|line| line.contains("call ntwk:theater/http")).map(str::to_owned).collect::<Vec<_>>()
    };
    let shown = lines(&running.say(&["events", "probe"]));
    assert!(shown[0].contains("  POST /op → 200, ") && shown[0].ends_with(" ms  \"count\""), "{shown:?}");
    assert!(shown[1].contains("  POST /op → 500 (refused), "), "{shown:?}");
    assert!(shown[2].contains("  POST /op → 500 (failed), "), "{shown:?}");
    let dir = stage.data_dir();
    let read = theater(&["events", "probe", "--data-dir", dir.to_str().expect("a path")], None);
    assert_eq!(lines(&text(&read.stdout)), shown);
    let file = running.export(&stage, "probe");
    assert_eq!(lines(&text(&theater(&["events", file.to_str().expect("a path")], None).stdout)), shown);
    let failed = running.say(&["events", "probe", "--kind", "failed"]);
    assert!(
        failed.contains("failed  trap: panicked at ") && failed.contains("| oh (UnreachableCodeReached)"),
        "{failed}"
    );
    assert_eq!(failed.lines().count(), 1);
}

#[test]
fn while_events_are_followed_the_status_comes_with_the_end_of_the_call() {
    let (_stage, running) = probe(HTTP);
    let mut command = Command::new(THEATER);
    command.args(["events", "probe", "--follow"]).env("THEATER_SERVER", running.management().to_string());
    let mut follower = command.stdout(Stdio::piped()).spawn().expect("the binary");
    let mut lines = BufReader::new(follower.stdout.take().expect("piped")).lines().map_while(Result::ok);
    Http::connect(running.http("probe")).op(&json!("count"));
    let call = lines.by_ref().find(|line| line.contains("call ntwk:theater/http")).expect("a call");
    assert!(call.ends_with("  POST /op  \"count\""), "{call}");
    let end = lines.by_ref().find(|line| line.contains("return ntwk:theater/http")).expect("its end");
    assert!(end.contains("  POST /op → 200, ") && end.ends_with(" ms"), "{end}");
    follower.kill().expect("killed");
    follower.wait().expect("an end");
}

#[test]
fn filters_come_before_the_last_events_are_counted_and_old_ones_can_be_left_out() {
    let (stage, running) = probe("");
    for _ in 0..3 {
        running.request("probe", &json!("count")).expect("an answer");
    }
    let sequences = |args: &[&str]| -> Vec<u64> {
        let printed = running.say(&[&["events", "probe", "--json"], args].concat());
        printed
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["sequence"].as_u64().expect("a number"))
            .collect()
    };
    assert_eq!(sequences(&["--kind", "call", "--last", "2"]), [5, 7]);
    assert_eq!(sequences(&["--last", "2"]), [7, 8]);
    assert_eq!(sequences(&["--last", "0"]), [0; 0]);
    assert_eq!(sequences(&["--kind", "started", "--last", "9"]), [0]);
    assert_eq!(sequences(&["--kind", "failed", "--last", "9"]), [0; 0]);
    assert_eq!(sequences(&["--since", "1h"]).len(), 9);
    assert_eq!(sequences(&["--since", "1h", "--kind", "return", "--last", "1"]), [8]);
    assert_eq!(sequences(&["--since", "0s"]), [0; 0]);
    let file = running.export(&stage, "probe");
    let read = theater(&["events", file.to_str().expect("a path"), "--kind", "call", "--last", "1"], None);
    assert!(text(&read.stdout).trim_start().starts_with("7  "), "{}", text(&read.stdout));
    for wrong in
        [&["--since", "soon"][..], &["--since", "1w"], &["--since", "1h", "--from", "2"], &["--since", "1h", "--all"]]
    {
        assert_eq!(running.cli(&[&["events", "probe"], wrong].concat()).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn a_hash_in_the_data_of_an_event_is_shown_in_hex() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("front", "probe", ""), &stage.manifest("back", "probe", "")]);
    running.request("front", &json!({ "op": "request", "to": "back", "msg": "count" })).expect("an answer");
    let (front, back) = (running.events("front"), running.events("back"));
    assert_eq!(back[3]["data"]["cause"]["hash"], front[4]["hash"], "the call quotes the intent");
    assert_eq!(front[5]["data"]["answer"]["hash"], back[4]["hash"], "and the answer its end");
    let component = front[0]["data"]["component"].as_str().expect("hex");
    assert!(component.len() == 64 && component.bytes().all(|byte| byte.is_ascii_hexdigit()), "{component}");
}

#[test]
fn the_lines_that_an_actor_has_logged_are_shown_with_their_times() {
    let (stage, running) = probe("");
    for said in ["first", "second\nof two lines", "\u{1b}[2Jthird", ""] {
        running.request("probe", &json!({ "op": "log", "text": said })).expect("an answer");
    }
    let shown = running.say(&["logs", "probe"]);
    let lines: Vec<&str> = shown.lines().map(|line| line.split_once('Z').expect("a time").1.trim_start()).collect();
    assert_eq!(lines, ["first", "second", "of two lines", "\u{fffd}[2Jthird", ""]);
    assert_eq!(running.say(&["logs", "probe", "--last", "2"]).lines().count(), 2);
    assert_eq!(running.say(&["logs", "probe", "--since", "1h"]), shown);
    assert_eq!(running.say(&["logs", "probe", "--since", "0s"]), "");
    let json = running.say(&["logs", "probe", "--json", "--last", "3"]);
    let first: Value = serde_json::from_str(json.lines().next().expect("a line")).expect("JSON");
    assert_eq!(first["text"], "second\nof two lines");
    let dir = stage.data_dir();
    let read = theater(&["logs", "probe", "--data-dir", dir.to_str().expect("a path")], None);
    assert_eq!(text(&read.stdout).trim_end(), shown);
    let mut command = Command::new(THEATER);
    command.args(["logs", "probe", "--follow", "--last", "1"]).env("THEATER_SERVER", running.management().to_string());
    let mut follower = command.stdout(Stdio::piped()).spawn().expect("the binary");
    let mut lines = BufReader::new(follower.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.next().expect("the last line").ends_with('Z'));
    running.request("probe", &json!({ "op": "log", "text": "news" })).expect("an answer");
    assert!(lines.next().expect("the next line").ends_with("  news"));
    follower.kill().expect("killed");
    follower.wait().expect("an end");
}

#[test]
fn the_status_says_whether_it_was_the_limit_and_what_starts_the_actor_again() {
    let (_stage, running) = probe("");
    panic(&running, "oh");
    running.until("probe", "failed");
    let said = running.say(&["status", "probe"]);
    assert!(said.contains("limit        it was not the limit of restarts"), "{said}");
    assert!(
        said.contains(
            "start again  theater restart probe; by itself it starts again only with restart = \"transient\""
        ),
        "{said}"
    );
    assert!(
        said.contains("failure      trap: panicked at ") && said.contains(" | oh (UnreachableCodeReached)"),
        "{said}"
    );
    running.say(&["restart", "probe"]);
    assert!(!running.say(&["status", "probe"]).contains("start again"));
    running.say(&["stop", "probe"]);
    assert!(
        running.say(&["status", "probe"]).contains("start again  theater restart probe\n")
            || running.say(&["status", "probe"]).ends_with("start again  theater restart probe")
    );
    let (_stage, running) =
        probe("restart = \"permanent\"\nrestart_backoff_ms = 1\nmax_restarts = 1\nwithin_ms = 60000\n");
    for _ in 0..2 {
        panic(&running, "oh");
        eventually("it is over", || ["running", "failed"].contains(&&*running.status("probe")).then_some(()));
    }
    running.until("probe", "failed");
    let said = running.say(&["status", "probe"]);
    assert!(
        said.contains("limit        it was the limit of restarts: more than max_restarts = 1 within within_ms = 60000"),
        "{said}"
    );
    assert!(said.contains("start again  theater restart probe, once the cause of its failures is gone"), "{said}");
}

#[test]
fn what_has_ended_is_listed_and_forgotten_together() {
    let stage = Stage::new();
    stage.manifest_at("child", &stage.copy_component("probe", "child"), "");
    let parent = stage.manifest("parent", "nursery", "[[handlers]]\ntype = \"supervisor\"\n");
    let manifests = [parent, stage.manifest("gone", "probe", ""), stage.manifest("alive", "probe", "")];
    let running = stage.run(&[&manifests[0], &manifests[1], &manifests[2]]);
    assert_eq!(running.say(&["list", "--ended"]), "no actor has ended");
    assert_eq!(running.say(&["forget", "--ended"]), "no actor has ended");
    for label in ["ann", "bob"] {
        let spawn = json!({ "op": "spawn-as", "manifest": "child.toml", "label": label });
        running.request("parent", &spawn).expect("an answer");
    }
    running.say(&["stop", "gone"]);
    running.say(&["stop", "parent/bob"]);
    let ended = running.say(&["list", "--ended"]);
    assert_eq!(ended.lines().count(), 3, "{ended}");
    assert!(ended.contains("parent/bob") && ended.contains("gone") && !ended.contains("alive"), "{ended}");
    let forgotten = running.json(&["forget", "--ended"]);
    assert_eq!((forgotten["forgotten"].as_array().map(Vec::len), &forgotten["refused"]), (Some(2), &json!([])));
    assert_eq!(running.json(&["list", "--ended"]), json!([]));
    assert_eq!(running.json(&["list"]).as_array().map(Vec::len), Some(3), "the others stay");
    running.say(&["stop", "parent"]);
    assert_eq!(running.say(&["forget", "--ended"]).lines().count(), 1, "a child goes with its parent");
    assert_eq!(running.json(&["list"]).as_array().map(Vec::len), Some(1));
    assert_eq!(running.cli(&["forget"]).status.code(), Some(2), "which?");
    assert_eq!(running.cli(&["forget", "alive", "--ended"]).status.code(), Some(2));
}

#[test]
fn a_prune_and_a_redaction_say_first_what_they_would_drop() {
    let (stage, running) = probe("");
    for n in 0..3 {
        running.request("probe", &json!({ "op": "echo", "value": n })).expect("an answer");
    }
    running.say(&["restart", "probe"]);
    running.request("probe", &json!("count")).expect("an answer");
    let before = running.events("probe");
    let dir = stage.data_dir();
    let foreseen = running.json(&["prune", "probe", "--before", "11", "--dry-run"]);
    let there = theater(
        &["prune", "probe", "--before", "11", "--dry-run", "--json", "--data-dir", dir.to_str().expect("a path")],
        None,
    );
    assert_eq!(serde_json::from_slice::<Value>(&there.stdout).expect("JSON"), foreseen, "while the runtime runs");
    let redaction = running.json(&["redact", "probe", "--event", "4", "--dry-run"]);
    assert_eq!(redaction["events"], 1);
    assert_eq!(running.events("probe"), before, "nothing was changed");
    let said = running.say(&["prune", "probe", "--before", "11", "--dry-run"]);
    let (events, bytes) = (&foreseen["events"], &foreseen["bytes"]);
    assert!(
        said.starts_with(&format!("the data of {events} events would be dropped, {bytes} bytes; nothing was changed")),
        "{said}"
    );
    assert!(
        running
            .refused(&["prune", "probe", "--before", "1", "--dry-run"])
            .contains("no kept state lies before event 1")
    );
    assert!(running.refused(&["redact", "probe", "--event", "0", "--dry-run"]).contains("is a `started`"));
    let redacted = running.json(&["redact", "probe", "--event", "4"]);
    assert_eq!(redacted["replays_from"], redaction["replays_from"], "{redaction}");
    let left = running.json(&["prune", "probe", "--before", "11", "--dry-run"]);
    let pruned = running.json(&["prune", "probe", "--before", "11"]);
    assert_eq!((&pruned["events"], &pruned["replays_from"]), (&left["events"], &left["replays_from"]));
    assert_eq!(left["events"].as_u64().map(|events| events + 1), foreseen["events"].as_u64());
    assert!(left["bytes"].as_u64() < foreseen["bytes"].as_u64());
}

/// `script` gives the command a terminal, whose keys are what is written to it.
#[test]
fn top_ends_with_the_key_q_and_gives_the_terminal_back() {
    let (_stage, running) = probe("");
    let command = format!("stty -g; {THEATER} top --interval 0.1 > /dev/tty; echo ended $?; stty -g");
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &command, "/dev/null"]).env("THEATER_SERVER", running.management().to_string());
    let Ok(mut terminal) = terminal.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() else {
        support::skipped("the keys of top", "there is no `script`");
        return;
    };
    let mut keys = terminal.stdin.take().expect("piped");
    let mut lines = BufReader::new(terminal.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let before = lines.next().expect("the settings of the terminal");
    lines.by_ref().find(|line| line.contains("probe")).expect("the actor is shown");
    lines.by_ref().find(|line| line.contains("probe")).expect("it is refreshed");
    std::io::Write::write_all(&mut keys, b"xq").expect("pressed");
    lines.by_ref().find(|line| line.trim_end().ends_with("ended 0")).expect("it ends");
    assert_eq!(lines.next().map(|line| line.trim().to_owned()), Some(before.trim().to_owned()));
    drop(keys);
    terminal.wait().expect("an end");
}

#[test]
fn the_protocol_describes_an_actor_and_foresees_a_prune() {
    let (_stage, running) = probe("");
    let (id, mut management) = (running.id("probe"), Management::connect(running.management()));
    let described = management.ask(&json!({ "DescribeActor": { "id": "probe" } }));
    assert_eq!(described["ActorDescription"]["actor"]["id"], json!(id));
    assert!(described["ActorDescription"]["description"]["component"].is_string());
    let foreseen = management.error(&json!({ "ForeseePrune": { "id": id, "before": 1 } }));
    assert!(foreseen.contains("no kept state lies before event 1"), "{foreseen}");
    let unknown = json!({ "DescribeActor": { "id": "67e55044-10b1-426f-9247-bb680e5fe0c8" } });
    assert!(management.error(&unknown).contains("no such actor"));
    assert!(management.error(&json!({ "ForeseeRedaction": { "id": id } })).contains("missing field `sequence`"));
}

#[test]
fn a_data_directory_tells_who_is_there_although_no_runtime_runs() {
    let stage = Stage::new();
    for name in ["probe", "nursery"] {
        stage.copy_component(name, name);
    }
    stage.manifest_at("child", "probe.wasm".as_ref(), "");
    let home = stage.manifest_at("home", "nursery.wasm".as_ref(), "[[handlers]]\ntype = \"supervisor\"\n");
    let others = ["failed", "gone", "waits"].map(|name| stage.manifest(name, "probe", ""));
    let running = stage.run(&[&home, &others[0], &others[1], &others[2]]);
    let spawn = json!({ "op": "spawn-as", "manifest": "child.toml", "label": "one" });
    running.request("home", &spawn).expect("it is spawned");
    running.refused(&["request", "failed", "\"trap\""]);
    running.until("failed", "failed");
    running.say(&["stop", "gone"]);
    running.say(&["forget", "gone"]);
    running.say(&["pause", "waits"]);
    let send = json!({ "op": "send", "to": running.id("waits"), "msg": "count" });
    running.request("home/one", &send).expect("it is sent");
    let names = |list: &Value| -> Vec<String> {
        let shown = |it: &Value| it["path"].as_str().expect("a path").to_owned();
        list.as_array().expect("a list").iter().map(shown).collect()
    };
    let before = running.json(&["list"]);
    running.kill();
    let dir = stage.data_dir();
    let at_rest = |args: &[&str]| {
        let output = theater(&[args, &["--data-dir", dir.to_str().expect("a path")]].concat(), None);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let list: Value = serde_json::from_str(&at_rest(&["list", "--json"])).expect("JSON");
    assert_eq!(names(&list), names(&before));
    let status = |actor: &str| -> Value { serde_json::from_str(&at_rest(&["status", actor, "--json"])).expect("JSON") };
    assert_eq!((&status("home")["status"], &status("home/one")["status"]), (&json!("suspended"), &json!("suspended")));
    let waits = status("waits");
    assert_eq!((&waits["paused"], &waits["mailbox_depth"]), (&json!(true), &json!(1)));
    assert!(at_rest(&["list"]).contains("paused "), "it is shown as such");
    let failed = at_rest(&["status", "failed"]);
    assert!(failed.contains("failure      trap: ") && failed.contains("what led to it"), "{failed}");
    assert!(failed.contains(&format!("--data-dir {}", dir.display())), "{failed}");
    let tree = at_rest(&["tree"]);
    assert!(tree.contains("└── one (child)  suspended"), "{tree}");
    assert!(at_rest(&["list", "--ended"]).contains("failed") && !at_rest(&["list", "--ended"]).contains("suspended"));
    let why = theater(&["status", "gone", "--data-dir", dir.to_str().expect("a path")], None);
    assert!(text(&why.stderr).contains("was forgotten"), "{}", text(&why.stderr));
}
