//! Tests of the command line: its output for people and for programs, its exit codes, and how it finds an actor by
//! name.

mod support;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::{HTTP, Management, Stage, THEATER, Theater, text, theater};

fn counter() -> (Stage, Theater) {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("counter", "counter", "")]);
    (stage, running)
}

/// Runs `theater ARGS…` with these environment variables and no other variables of Theater.
fn with(args: &[&str], environment: &[(&str, &str)], stage: &Stage) -> Output {
    let mut command = Command::new(THEATER);
    for name in ["THEATER_SERVER", "THEATER_DATA_DIR", "NO_COLOR", "CLICOLOR_FORCE", "RUST_LOG", "THEATER_LOG"] {
        command.env_remove(name);
    }
    command.args(args).envs(environment.iter().copied()).current_dir(stage.path()).output().expect("the binary")
}

fn without_runtime(args: &[&str], stage: &Stage) -> Output {
    with(args, &[("THEATER_SERVER", "127.0.0.1:1")], stage)
}

#[test]
fn the_exit_code_says_how_it_went() {
    let (stage, running) = counter();
    let status = |args: &[&str]| running.cli(args).status.code();
    for args in [&["list"][..], &["--help"], &["help", "events"], &["--version"], &["completions", "bash"], &["config"]]
    {
        assert_eq!(status(args), Some(0), "{args:?}");
    }
    for args in [
        &["status", "nobody"][..],
        &["start", "nowhere.toml"],
        &["check", "nowhere.toml"],
        &["verify", "nowhere.chain"],
        &["request", "counter", "nonsense"],
        &["forget", "counter"],
        &["doctor", "--actors", "1000000000000"],
    ] {
        assert_eq!(status(args), Some(1), "{args:?}");
    }
    for args in [
        &[][..],
        &["config", "--durability", "perhaps"],
        &["dance"],
        &["list", "--dance"],
        &["events"],
        &["status"],
        &["list", "--server", "nowhere"],
        &["events", "counter", "--kind", "began"],
        &["top", "--interval", "0"],
        &["completions", "dosshell"],
    ] {
        assert_eq!(status(args), Some(2), "{args:?}");
    }
    assert_eq!(without_runtime(&["list"], &stage).status.code(), Some(1));
}

#[test]
fn the_help_alone_leads_to_why_an_actor_failed() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    let help = running.say(&["--help"]);
    let line = help.lines().find(|line| line.contains("Why did this actor fail?")).expect("it is asked there");
    assert!(line.contains("theater status ACTOR"), "{line}");
    running.request("probe", &json!({ "op": "trap" })).expect_err("it fails");
    running.until("probe", "failed");
    let list = running.say(&["list"]);
    assert!(list.contains("trap: UnreachableCodeReached"), "{list}");
    let status = running.say(&["status", "probe"]);
    for expected in [
        "failure      trap: UnreachableCodeReached",
        "call ntwk:theater/message-server-client.handle-request",
        "\"op\":\"trap\"",
        "theater events probe",
    ] {
        assert!(status.contains(expected), "{expected} in {status}");
    }
    for command in ["run", "start", "events", "top", "doctor", "config", "completions", "forget"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}");
        assert!(running.say(&[command, "--help"]).contains("Usage: theater"), "{command}");
    }
}

#[test]
fn every_shell_gets_a_completion_script_with_every_command() {
    let stage = Stage::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = text(&with(&["completions", shell], &[], &stage).stdout);
        for command in ["events", "doctor", "forget", "--follow"] {
            assert!(script.contains(command.trim_start_matches("--")), "{shell}: {command}");
        }
        // Where a command takes an actor, the script asks for those that there are.
        let asks = ["bash", "zsh", "fish"].contains(&shell);
        assert_eq!(script.contains("theater actor-names"), asks, "{shell}");
        let completed = script.lines().filter(|line| line.contains(":_theater_actors' ")).count();
        assert!(shell != "zsh" || completed > 10, "{completed} arguments of zsh");
    }
}

#[test]
fn bash_completes_the_names_of_the_actors_that_there_are() {
    let (stage, running) = counter();
    let script = stage.file("theater.bash", with(&["completions", "bash"], &[], &stage).stdout);
    let bin = Path::new(THEATER).parent().expect("a directory");
    let complete = |words: &str, server: &str| {
        let steps = format!(
            "source {}; COMP_WORDS=({words}); COMP_CWORD=2; _theater_with_actors theater \"${{COMP_WORDS[2]}}\" \
             \"${{COMP_WORDS[1]}}\"; echo \"${{COMPREPLY[*]}}\"",
            script.display()
        );
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("a path"));
        let done = Command::new("bash").args(["-c", &steps]).env("PATH", path).env("THEATER_SERVER", server).output();
        text(&done.expect("bash").stdout).trim().to_owned()
    };
    let server = running.management().to_string();
    assert_eq!(complete("theater status cou", &server), "counter");
    assert_eq!(complete("theater status x", &server), "");
    assert!(complete("theater status --", &server).contains("--json"), "options as before");
    assert!(!complete("theater check cou", &server).contains("counter"), "it takes a manifest");
    running.kill();
    assert_eq!(complete("theater status cou", &server), "", "nobody answers");
}

#[test]
fn whatever_prints_data_prints_it_as_json_too() {
    let (stage, running) = counter();
    let id = running.id("counter");
    let chain = running.export(&stage, "counter");
    let (chain, manifest) = (chain.to_str().expect("a path"), stage.path().join("counter.toml"));
    let manifest = manifest.to_str().expect("a path");
    for args in [
        &["list"][..],
        &["tree"],
        &["status", "counter"],
        &["state", "counter"],
        &["state", "counter", "--at", "1"],
        &["diff", "counter", "0", "2"],
        &["trace", "counter", "1"],
        &["describe", "counter"],
        &["list", "--ended"],
        &["request", "counter", "{\"add\":1}"],
        &["send", "counter", "{\"add\":1}"],
        &["top"],
        &["doctor"],
        &["config"],
        &["check", manifest],
        &["verify", chain],
        &["replay", chain],
        &["restart", "counter"],
        &["fork", "counter", "--at", "2", "--name", "other"],
        &["stop", &id],
        &["forget", &id],
        &["start", manifest],
        &["shutdown"],
    ] {
        let printed = running.say(&[args, &["--json"]].concat());
        let lines: Vec<&str> = printed.lines().collect();
        assert_eq!(lines.len(), 1, "{args:?}: {printed}");
        serde_json::from_str::<Value>(lines[0]).unwrap_or_else(|error| panic!("{args:?}: {error}: {printed}"));
    }
}

#[test]
fn an_actor_is_named_by_any_beginning_that_is_its_own() {
    let stage = Stage::new();
    let names = ["counter", "courier", "probe"];
    let manifests = names.map(|name| stage.manifest(name, "counter", ""));
    let running = stage.run(&manifests.each_ref().map(|manifest| &**manifest));
    let id = running.id("courier");
    for text in ["courier", "cour", &id, &id[..13], &id[..35]] {
        for args in [&["status"][..], &["state"], &["events"], &["restart"]] {
            assert!(running.cli(&[args, &[text]].concat()).status.success(), "{args:?} {text}");
        }
    }
    assert_eq!(running.id("p"), running.id("probe"));
    let why = running.refused(&["stop", "cou"]);
    assert!(names[..2].iter().all(|name| why.contains(&format!("{name} ({})", running.id(name)))), "{why}");
    let none = running.refused(&["stop", "nobody"]);
    assert!(none.contains("theater list"), "{none}");
    let data = stage.data_dir();
    let data = data.to_str().expect("a path");
    assert!(running.refused(&["events", "cou", "--data-dir", data]).contains("courier ("));
    assert!(!running.say(&["events", "cour", "--data-dir", data]).is_empty());
}

#[test]
fn an_event_is_one_line_that_shows_json_as_json() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    running.request("probe", &json!({ "op": "echo", "value": "a\nb\u{1b}[31m\u{9b}" })).expect("an answer");
    let printed = running.say(&["events", "probe"]);
    assert_eq!(printed.lines().count(), 5, "{printed}");
    let call = printed.lines().nth(3).expect("a call");
    assert!(
        call.starts_with("     3  ") && call.contains("call ntwk:theater/message-server-client.handle-request"),
        "{call}"
    );
    assert!(call.contains("{\"op\":\"echo\",\"value\":\"a\\nb\\u001b[31m"), "{call}");
    assert!(!printed.chars().any(|character| character.is_control() && character != '\n'), "{printed:?}");
    assert_eq!(running.say(&["events", "probe", "--last", "2"]).lines().count(), 2);
    let calls = running.say(&["events", "probe", "--kind", "call", "--kind", "failed"]);
    assert_eq!(calls.lines().count(), 2, "{calls}");
    assert!(running.say(&["events", "probe", "--from", "4"]).starts_with("     4  "));
}

#[test]
fn colours_are_for_terminals_and_for_whoever_insists_unless_they_are_not_wanted() {
    let (stage, running) = counter();
    let server = running.management().to_string();
    let print = |environment: &[(&str, &str)]| {
        let environment = [&[("THEATER_SERVER", server.as_str())], environment].concat();
        text(&with(&["events", "counter"], &environment, &stage).stdout)
    };
    assert!(!print(&[]).contains('\x1b'), "this is no terminal");
    assert!(print(&[("CLICOLOR_FORCE", "1")]).contains("\x1b[32mstarted\x1b[0m"));
    assert!(!print(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).contains('\x1b'));
}

#[test]
fn a_tree_is_drawn_as_one() {
    let stage = Stage::new();
    ["probe", "nursery"].iter().for_each(|name| _ = stage.copy_component(name, name));
    let supervisor = "[[handlers]]\ntype = \"supervisor\"\n";
    let parent = stage.manifest_at("parent", "nursery.wasm".as_ref(), supervisor);
    ["first", "second"].iter().for_each(|name| _ = stage.manifest_at(name, "probe.wasm".as_ref(), ""));
    let running = stage.run(&[&parent]);
    for name in ["first", "second"] {
        running.request("parent", &json!({ "op": "spawn", "manifest": format!("{name}.toml") })).expect("an answer");
    }
    let tree = running.say(&["tree"]);
    let begins: Vec<&str> = tree.lines().filter_map(|line| line.split("  ").next()).collect();
    assert_eq!(begins, ["parent", "├── first", "└── second"], "{tree}");
}

#[test]
fn what_has_ended_can_be_forgotten_and_stays_so() {
    let stage = Stage::new();
    let manifests = [stage.manifest("old", "counter", ""), stage.manifest("new", "counter", "")];
    let running = stage.run(&[&manifests[0], &manifests[1]]);
    let id = running.id("old");
    assert!(running.refused(&["forget", "old"]).contains("has not ended"));
    running.say(&["stop", "old"]);
    assert_eq!(running.say(&["forget", "old"]), format!("forgotten {id}"));
    assert!(running.refused(&["status", "old"]).contains("no actor is called"));
    assert!(!running.say(&["tree"]).contains(&id));
    running.shut_down();

    let running = stage.run(&[]);
    assert_eq!(running.json(&["list"]).as_array().map(Vec::len), Some(1), "nor is it listed at later starts");
    let data = stage.data_dir();
    let events = running.say(&["events", &id, "--data-dir", data.to_str().expect("a path")]);
    assert_eq!(events.lines().count(), 4, "its history stays: {events}");
    running.shut_down();
    // Another actor of the same name is a new one.
    let running = stage.run(&[&manifests[0]]);
    assert_ne!(running.id("old"), id);
    let verified = theater(&["verify", "--journal", data.to_str().expect("a path")], None);
    assert!(verified.status.success(), "{}", text(&verified.stderr));
}

#[test]
fn what_is_measured_is_what_happened() {
    let stage = Stage::new();
    let restarts = "restart = \"permanent\"\nrestart_backoff_ms = 1\n";
    let running = stage.run_with(
        &[&stage.manifest("probe", "probe", restarts), &stage.manifest("idle", "counter", "")],
        &["--metrics-listen", "127.0.0.1:0"],
    );
    let running = running.expect("it starts");
    (0..5).for_each(|_| _ = running.request("probe", &json!("count")).expect("an answer"));
    (0..2).for_each(|_| _ = running.request("probe", &json!({ "op": "refuse" })).expect_err("it refuses"));
    running.request("probe", &json!({ "op": "trap" })).expect_err("it fails");
    running.until("probe", "running");
    let top = running.json(&["top"]);
    let probe = &top["actors"][0];
    let expected = json!({ "calls": 9, "refusals": 2, "failures": 1, "restarts": 1, "mailbox_depth": 0 });
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&probe[key], value, "{key}: {probe}");
    }
    support::eventually("all its events are on disk and counted", || {
        let counted = running.json(&["top"])["actors"][0]["chain_length"].clone();
        (counted == running.events("probe").len()).then_some(())
    });
    assert_eq!(probe["latency_us"]["count"], 9);
    assert!(probe["memory_bytes"].as_u64().is_some_and(|bytes| bytes >= 65_536), "{probe}");
    assert_eq!((&top["total"]["calls"], &top["total"]["alive"]), (&json!(10), &json!(2)));
    assert!(top["journal"]["events"].as_u64().is_some_and(|events| events > 20), "{top}");
    assert!(top["process"]["threads"].as_u64().is_some_and(|threads| threads > 4), "{top}");
    let plain = running.say(&["top"]);
    assert!(plain.contains("NAME") && plain.contains("probe") && !plain.contains('\x1b'), "{plain}");
    let status = Management::connect(running.management()).ask(&json!("Status"));
    assert_eq!((&status["Status"]["alive"], &status["Status"]["total"]["failures"]), (&json!(2), &json!(1)));

    let scraped = support::Http::connect(running.metrics()).ask("GET", "/metrics", None);
    assert_eq!(scraped.status, 200);
    let id = running.id("probe");
    for line in [
        format!("theater_actor_calls_total{{actor=\"probe\",id=\"{id}\"}} 9"),
        format!("theater_actor_refusals_total{{actor=\"probe\",id=\"{id}\"}} 2"),
        format!("theater_actor_failures_total{{actor=\"probe\",id=\"{id}\"}} 1"),
        format!("theater_actor_call_seconds_bucket{{actor=\"probe\",id=\"{id}\",le=\"+Inf\"}} 9"),
        format!("theater_actor_call_seconds_bucket{{actor=\"probe\",id=\"{id}\",le=\"16.777215\"}} 9"),
        "theater_actors{alive=\"true\"} 2".to_owned(),
    ] {
        assert!(scraped.body.lines().any(|other| other == line), "{line} in\n{}", scraped.body);
    }
    for line in scraped.body.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        assert!(!line.contains("99999999"), "written as a person would: {line}");
    }
    assert_eq!(support::Http::connect(running.metrics()).ask("GET", "/", None).status, 404);
}

#[test]
fn the_log_names_thread_and_actor_and_holds_nothing_of_a_payload() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", HTTP), &stage.manifest("other", "probe", "")]);
    let secret = "hunter2-very-secret";
    running.request("probe", &json!({ "op": "echo", "value": secret })).expect("an answer");
    running.request("probe", &json!({ "op": "refuse", "message": "its own words" })).expect_err("refused");
    support::Http::connect(running.http("probe")).op(&json!({ "op": "echo", "value": secret }));
    running.request("probe", &json!({ "op": "log", "text": "first\nsecond \u{1b}[31m" })).expect("an answer");
    running.request("probe", &json!({ "op": "raw-state", "text": secret })).expect("an answer");
    running.request("other", &json!({ "op": "trap" })).expect_err("it fails");
    running.until("other", "failed");
    let log = stage.log();
    assert!(!log.contains(secret), "{log}");
    let line = log.lines().find(|line| line.contains("first")).expect("the actor's line");
    assert!(line.contains("INFO  a-probe") && line.contains("actor [probe] first\\nsecond"), "{line}");
    assert!(!line.contains('\x1b'), "{line:?}");
    let failed = log.lines().find(|line| line.contains("failed")).expect("a failure is logged");
    assert!(failed.contains("WARN  a-other"), "{failed}");
}

#[test]
fn the_doctor_says_what_is_too_small_and_what_to_do() {
    let stage = Stage::new();
    let few = with(&["doctor", "--actors", "10", "--json"], &[], &stage);
    assert!(few.status.success(), "{}", text(&few.stderr));
    let few: Value = serde_json::from_slice(&few.stdout).expect("JSON");
    assert_eq!((&few["wanted"], &few["enough"]), (&json!(10), &json!(true)));
    let many = with(&["doctor", "--actors", "1000000000"], &[], &stage);
    assert_eq!(many.status.code(), Some(1));
    let said = text(&many.stdout);
    assert!(said.contains("vm.max_map_count") && said.contains("sysctl -w vm.max_map_count="), "{said}");
}

#[test]
fn the_doctor_looks_at_the_addresses_the_control_groups_and_the_threads_of_its_user() {
    let found = |command: &mut Command| {
        let output = command.args(["doctor", "--actors", "10", "--json"]).output().expect("the binary");
        let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        found["checks"].as_array().expect("a list").clone()
    };
    let of = |checks: &[Value], setting: &str| {
        let check = checks.iter().find(|check| check["setting"] == setting);
        check.unwrap_or_else(|| panic!("{setting} is not looked at")).clone()
    };
    let tight = found(&mut support::within(2_500_000));
    let addresses = of(&tight, "ulimit -v");
    assert_eq!((&addresses["value"], &addresses["enough"]), (&json!(2_500_000_u64 * 1024), &json!(false)));
    assert!(addresses["remedy"].as_str().is_some_and(|remedy| remedy.starts_with("ulimit -v ")), "{addresses}");
    let checks = found(&mut Command::new(THEATER));
    assert_eq!(of(&checks, "ulimit -v")["enough"], json!(true));
    // What other processes use is included in the need.
    let threads = of(&checks, "kernel.threads-max");
    assert!(threads["needed"].as_u64().expect("a number") > 1_010, "{threads}");
    // Every control group of this process that has a limit is examined, at each level.
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).map(|path| path.trim_start_matches('/'));
    for path in paths.filter(|path| !path.is_empty() && !path.contains("..")) {
        for at in ["", "pids/", "unified/"] {
            let file = format!("/sys/fs/cgroup/{at}{path}/pids.max");
            if std::fs::read_to_string(&file).is_ok_and(|limit| limit.trim().parse::<u64>().is_ok()) {
                of(&checks, &file);
            }
        }
    }
}

#[test]
fn the_doctor_counts_the_connections_that_are_configured() {
    let stage = Stage::new();
    let files = || {
        let found = with(&["doctor", "--actors", "1", "--json"], &[], &stage);
        let found: Value = serde_json::from_slice(&found.stdout).expect("JSON");
        let checks = found["checks"].as_array().expect("a list").clone();
        let files = checks.into_iter().find(|check| check["setting"].to_string().contains("files"));
        files.expect("it looks at files")["needed"].as_u64().expect("a number")
    };
    let few = files();
    stage.file("theater.toml", "[limits]\nmanagement_connections = 4096\n");
    assert_eq!(files(), few - 1_024 + 4_096);
}

#[test]
fn what_cannot_be_printed_is_an_error_unless_the_reader_has_gone() {
    let stage = Stage::new();
    let print = |args: &[&str], to: Stdio| {
        let output =
            Command::new(THEATER).args(args).current_dir(stage.path()).stdout(to).stderr(Stdio::piped()).spawn();
        let output = output.and_then(|child| child.wait_with_output()).expect("the binary");
        (output.status.code(), text(&output.stderr))
    };
    for args in [
        &["config"][..],
        &["completions", "bash"],
        &["doctor", "--actors", "1"],
        &["--help"],
        &["--version"],
        &["help", "run"],
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("a device that is full");
        let (code, said) = print(args, full.into());
        assert_eq!(code, Some(1), "{args:?}");
        assert!(said.starts_with("theater: cannot write to standard output: "), "{said}");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        assert_eq!(print(args, writer.into()), (Some(0), String::new()), "{args:?}");
    }
}

#[test]
fn following_ends_with_whoever_reads_it_though_nothing_more_happens() {
    let (_stage, running) = counter();
    let server = running.management().to_string();
    for args in [&["events", "counter", "--follow"][..], &["events", "counter", "--below"], &["events", "--all"]] {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let mut following = Command::new(THEATER);
        let following = following.args(args).args(["--from", "0", "--server", &server]).stdout(writer);
        let mut child = following.spawn().expect("the binary");
        following.stdout(Stdio::null()); // The command held the other end of the pipe.
        std::io::Read::read_exact(&mut reader, &mut [0]).expect("an event");
        drop(reader);
        let ended = support::eventually("it has ended", || child.try_wait().expect("a child"));
        assert!(ended.success(), "{args:?}: {ended}");
    }
}

#[test]
fn the_configuration_in_force_is_shown_with_where_it_comes_from() {
    let stage = Stage::new();
    stage.file("theater.toml", "durability = \"relaxed\"\n\n[management]\nlisten = \"127.0.0.1:9123\"\n");
    let environment = [("THEATER_DATA_DIR", "elsewhere"), ("THEATER_TOKEN", "0123456789abcdef")];
    let printed = with(&["config", "--log", "warn"], &environment, &stage);
    let said = text(&printed.stdout);
    for (key, value, origin) in [
        ("data_dir", "elsewhere", "environment variable THEATER_DATA_DIR"),
        ("durability", "relaxed", "theater.toml:1"),
        ("management.listen", "127.0.0.1:9123", "theater.toml:4"),
        ("management.token", "(set)", "environment variable THEATER_TOKEN"),
        ("metrics.listen", "off", "default"),
        ("logging.filter", "warn", "flag --log"),
    ] {
        let line = said.lines().find(|line| line.split_whitespace().next() == Some(key)).expect(key);
        assert!(line.contains(value) && line.ends_with(origin), "{line}");
    }
    assert!(!said.contains("0123456789abcdef"));
    // Clients ask the runtime that is configured here.
    let list = with(&["list"], &[], &stage);
    assert!(text(&list.stderr).contains("127.0.0.1:9123"), "{}", text(&list.stderr));

    stage.file("theater.toml", "\n[management]\nlistn = \"127.0.0.1:1\"\n");
    for args in [&["config"][..], &["run"], &["list"]] {
        let refused = with(args, &[], &stage);
        assert_eq!(refused.status.code(), Some(1));
        let why = text(&refused.stderr);
        assert!(
            why.contains("theater.toml:3: unknown key \"listn\" of [management]; did you mean \"listen\"?"),
            "{why}"
        );
    }
}

#[test]
fn a_wrong_value_of_a_flag_is_a_wrong_command_line_and_one_from_elsewhere_is_not() {
    let stage = Stage::new();
    for args in [&["run", "--listen", "nowhere"][..], &["config", "--durability", "maybe"]] {
        let refused = with(args, &[], &stage);
        let why = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{why}");
        assert!(why.contains(&format!("flag {}: ", args[1])), "{why}");
    }
    let refused = with(&["config"], &[("THEATER_LISTEN", "nowhere")], &stage);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stderr));
}

#[test]
fn a_runtime_is_what_its_configuration_says() {
    let stage = Stage::new();
    let token = "0123456789abcdef";
    stage.file("token", token);
    stage.file("theater.toml", "data_dir = \"data\"\n[management]\ntoken_file = \"token\"\nsocket = \"sock\"\n[limits]\nmanagement_subscriptions = 1\n");
    let launch = stage.command(&[&stage.manifest("counter", "counter", "")], &[]);
    let running = launch.launch(&stage).expect("it starts");
    assert!(stage.data_dir().join("log").exists());
    let mut management = Management::connect(running.management());
    assert!(management.error(&json!("ListActors")).starts_with("not authenticated"));
    assert!(management.ask(&json!({ "Authenticate": { "token": token } }))["Authenticated"].is_object());
    let id = management.ask(&json!("ListActors"))["ActorList"]["actors"][0].clone();
    let subscribe = json!({ "SubscribeToActor": { "id": id } });
    assert!(management.ask(&subscribe)["Subscribed"].is_object());
    assert!(management.error(&subscribe).contains("management_subscriptions is 1"));
    // In the runtime's directory no flag is needed.
    let list = with(&["list"], &[], &stage);
    assert!(list.status.success() && text(&list.stdout).contains("counter"), "{}", text(&list.stderr));
    // A token in the file is used for this runtime, not for another one that is named.
    let elsewhere = with(&["list", "--server", &running.management().to_string()], &[], &stage);
    assert!(text(&elsewhere.stderr).contains("not authenticated"), "{}", text(&elsewhere.stderr));
}

#[test]
fn all_actors_are_followed_in_the_order_in_which_it_happens() {
    use std::io::{BufRead, BufReader};
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("first", "counter", ""), &stage.manifest("second", "counter", "")]);
    for name in ["first", "second", "first"] {
        running.request(name, &json!({ "add": 1 })).expect("an answer");
    }
    let mut command = Command::new(THEATER);
    command.args(["events", "--all", "--from", "0", "--kind", "call", "--server", &running.management().to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut seen: Vec<String> = Vec::new();
    for line in lines {
        let line = line.expect("text");
        assert!(line.contains("  call ntwk:theater/"), "{line}");
        if line.contains("handle-request") {
            seen.push(line.split_whitespace().nth(2).expect("a name").to_owned());
        }
        if seen.len() == 3 {
            running.request("second", &json!({ "add": 1 })).expect("an answer");
        }
        if seen.len() == 4 {
            break;
        }
    }
    child.kill().and_then(|()| child.wait()).expect("ended");
    assert_eq!(seen, ["first", "second", "first", "second"]);
}

#[test]
fn a_file_that_a_command_writes_is_whole_or_as_it_was_before() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("counter", "counter", "")]);
    let file = running.export(&stage, "counter");
    let before = std::fs::read(&file).expect("a chain");
    running.request("counter", &json!({ "add": 1 })).expect("an answer");
    running.shut_down();
    let (data_dir, path) = (stage.data_dir(), file.to_str().expect("a path").to_owned());
    let export = |to: &str| format!("{} export counter --data-dir {} -o {to}", support::THEATER, data_dir.display());
    let sh = |script: &str| Command::new("sh").args(["-c", script]).output().expect("sh");
    // The file may grow to only half its size.
    let half = sh(&format!("ulimit -f {}; exec {}", before.len() / 2 / 512, export(&path)));
    assert_eq!(half.status.code(), Some(1), "{}", text(&half.stderr));
    assert!(text(&half.stderr).contains("File too large"), "{}", text(&half.stderr));
    assert_eq!(std::fs::read(&file).expect("a chain"), before, "as it was before");
    // The file survives an error too.
    let full = sh(&format!("trap '' XFSZ; ulimit -f {}; exec {}", before.len() / 2 / 512, export(&path)));
    assert_eq!(full.status.code(), Some(1), "{}", text(&full.stderr));
    assert!(text(&full.stderr).contains(&path), "{}", text(&full.stderr));
    assert_eq!(std::fs::read(&file).expect("a chain"), before, "as it was before");
    // The program writes to a target that is not a regular file, and a link stays a link.
    let link = stage.path().join("link.chain");
    std::os::unix::fs::symlink(&file, &link).expect("a link");
    assert!(sh(&export(link.to_str().expect("a path"))).status.success());
    let after = std::fs::read(&file).expect("a chain");
    assert!(after.len() > before.len() && link.symlink_metadata().expect("a link").is_symlink());
    let piped = sh(&export("/dev/stdout"));
    assert!(piped.status.success() && piped.stdout == after, "{}", text(&piped.stderr));
}

#[test]
fn a_message_beyond_a_frame_is_refused_by_the_limit_before_it_is_sent() {
    let (stage, running) = counter();
    let large = stage.file("large", vec![b'x'; 9_000_000]);
    for command in ["send", "request"] {
        let from = std::fs::File::open(&large).expect("a file");
        let server = running.management().to_string();
        let args = [command, "counter", "-", "--server", &server];
        let output = Command::new(THEATER).args(args).stdin(from).output().expect("the binary");
        let why = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{why}");
        assert!(why.contains("does not fit a frame, which has at most 8388608 bytes"), "{why}");
    }
    assert_eq!(running.request("counter", &serde_json::json!("get")), Ok(serde_json::json!({ "count": 0 })));
}

#[test]
fn what_speaks_another_protocol_than_management_is_told_of() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.http_manifest("counter", "counter", "")]);
    let why = theater(&["list"], Some(running.http("counter")));
    assert!(text(&why.stderr).contains("speaks another protocol"), "{}", text(&why.stderr));
}

#[test]
fn who_asks_an_actor_that_is_not_up_is_told_its_name_and_what_to_do() {
    let stage = Stage::new();
    let running = stage.run(&[&stage.manifest("probe", "probe", "")]);
    let why = running.refused(&["request", "probe", "\"trap\""]);
    assert!(why.contains("failed: trap") && why.contains("theater status probe"), "{why}");
    running.say(&["restart", "probe"]);
    running.say(&["stop", "probe"]);
    for command in ["send", "request"] {
        let why = running.refused(&[command, "probe", "\"count\""]);
        assert!(why.contains("is stopped (probe); theater restart probe"), "{why}");
    }
}

#[test]
fn a_log_filter_that_lets_nothing_through_is_told_of() {
    let stage = Stage::new();
    let running = stage.run_with(&[], &["--log", "infoo"]).expect("it starts");
    assert!(stage.log().contains("the log filter \"infoo\" names no level"), "{}", stage.log());
    running.shut_down();
}

#[test]
fn a_value_that_cannot_be_read_is_answered_with_what_is_expected() {
    let refused = |args: &[&str]| {
        let output = theater(args, None);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        text(&output.stderr)
    };
    let number = "a whole number is expected, such as 7";
    for (args, expected) in [
        (&["state", "a", "--at", "x"][..], number),
        (&["events", "a", "--last", ""], number),
        (&["fork", "a", "--at", "1", "--name", "b", "--port", "any"], number),
        (&["diff", "a", "99999999999999999999", "1"], "the number is too large"),
        (&["console", "--listen", "foo"], "an address and a port are expected, such as 127.0.0.1:9001"),
        (&["top", "--interval", "often"], "a number is expected, such as 0.5"),
    ] {
        let said = refused(args);
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    // What a person wrote stays as it was written.
    let said = refused(&["state", "a", "--at", "invalid digit found in string"]);
    assert!(said.contains("value 'invalid digit found in string' for") && said.contains(number), "{said}");
}
