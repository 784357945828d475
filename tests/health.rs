//! What a runtime says of itself over HTTP: whether it lives and is ready, as a probe of Kubernetes or a load balancer asks, and
//! the metrics that a dashboard shows.

mod support;

use std::net::{SocketAddr, TcpListener};

use serde_json::json;
use support::disk::Disk;
use support::{Http, HttpAnswer, Stage, Theater, eventually, signal};

const METRICS: [&str; 2] = ["--metrics-listen", "127.0.0.1:0"];

fn asked(address: SocketAddr, path: &str) -> HttpAnswer {
    Http::connect(address).ask("GET", path, None)
}

fn told(running: &Theater, path: &str) -> (u16, String) {
    let answer = asked(running.metrics(), path);
    (answer.status, answer.body)
}

fn ok() -> (u16, String) {
    (200, "ok\n".to_owned())
}

#[test]
fn a_runtime_that_works_lives_and_is_ready() {
    let stage = Stage::new();
    let running = stage.run_with(&[&stage.manifest("counter", "counter", "")], &METRICS).expect("it starts");
    assert_eq!((told(&running, "/livez"), told(&running, "/readyz")), (ok(), ok()));
    let (status, all) = told(&running, "/readyz?verbose");
    let lines: Vec<&str> = all.lines().collect();
    let expected = [
        "[+] start: every start is done",
        "[+] runtime: the runtime takes work",
        "[+] journal: the journal commits",
        "[+] disk: the disk has room",
        "[+] roots: 1 of 1 root actors are alive, and none has failed",
    ];
    assert_eq!((status, &lines[..]), (200, &expected[..]));
    let live = "[+] supervisor: the supervisor answers\n[+] journal: the writer of the journal lives\n";
    assert_eq!(told(&running, "/livez?a=b&verbose"), (200, live.to_owned()));
    // Who asks by HEAD gets no body, and nothing keeps an answer.
    let mut http = Http::connect(running.metrics());
    http.send("HEAD", "/readyz", None);
    let head = http.receive_head();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("Cache-Control: no-store\r\n"), "{head}");
    assert_eq!(http.ask("POST", "/livez", None).status, 405);
    let (status, said) = told(&running, "/healthz");
    assert!(status == 404 && said.contains("/livez and /readyz"), "{said}");
    running.shut_down();
}

#[test]
fn a_root_that_has_failed_for_good_is_named_until_it_runs_again_or_is_forgotten() {
    let stage = Stage::new();
    let ledger = stage.manifest("ledger", "probe", "restart = \"temporary\"\n");
    let other = stage.manifest("other", "counter", "");
    let running = stage.run_with(&[&ledger, &other], &METRICS).expect("it starts");
    let hostile = "not\nready\u{1b}[31m <b>";
    running.request("ledger", &json!({ "op": "panic", "message": hostile })).expect_err("it fails");
    let (status, why) = eventually("it is not ready", || Some(told(&running, "/readyz")).filter(|it| it.0 == 503));
    assert!(why.starts_with("root ledger has failed: ") && why.lines().count() == 1, "{status} {why}");
    assert!(!why.contains('\u{1b}'), "{why:?}");
    let (_, all) = told(&running, "/readyz?verbose");
    assert!(all.contains("\n[-] roots: root ledger has failed: ") && all.contains("[+] disk: "), "{all}");
    assert_eq!(told(&running, "/livez"), ok(), "a new process would not help");
    running.say(&["restart", "ledger"]);
    assert_eq!(told(&running, "/readyz"), ok());

    running.request("ledger", &json!({ "op": "trap" })).expect_err("it fails");
    eventually("it is not ready", || (told(&running, "/readyz").0 == 503).then_some(()));
    running.shut_down();
    // A root that had ended before this start, and that nobody has asked for, is not one that should run.
    let running = stage.run_with(&[&other], &METRICS).expect("it starts");
    assert_eq!((running.status("ledger"), told(&running, "/readyz")), ("failed".to_owned(), ok()));
    running.shut_down();
    let running = stage.run_with(&[&ledger, &other], &METRICS).expect("it starts");
    assert_eq!((running.status("ledger"), told(&running, "/readyz")), ("running".to_owned(), ok()));
    running.request("ledger", &json!({ "op": "trap" })).expect_err("it fails");
    eventually("it is not ready", || (told(&running, "/readyz").0 == 503).then_some(()));
    running.say(&["forget", "ledger"]);
    assert_eq!(told(&running, "/readyz"), ok());
    running.shut_down();
}

#[test]
fn neither_a_root_that_was_stopped_nor_one_that_is_restarted_nor_a_child_makes_it_unready() {
    let stage = Stage::new();
    let component = stage.copy_component("probe", "component");
    let child = stage.manifest_at("child", &component, "restart = \"temporary\"\n");
    let running = stage.run_with(
        &[
            &stage.manifest("stopped", "counter", ""),
            &stage.manifest("again", "probe", "restart = \"permanent\"\nrestart_backoff_ms = 1\n"),
            &stage.manifest("parent", "nursery", "[[handlers]]\ntype = \"supervisor\"\n"),
        ],
        &METRICS,
    );
    let running = running.expect("it starts");
    running.say(&["stop", "stopped"]);
    running.request("again", &json!({ "op": "trap" })).expect_err("it fails");
    running.until("again", "running");
    let spawned = running.request("parent", &json!({ "op": "spawn", "manifest": child })).expect("an answer");
    assert!(spawned.get("ok").is_some(), "{spawned}");
    running.request("child", &json!({ "op": "trap" })).expect_err("it fails");
    running.until("child", "failed");
    assert_eq!(told(&running, "/readyz"), ok());
    running.shut_down();
}

/// The runtime is asked by its address, which is known before it has one of its own: a socket that it inherits.
#[test]
fn a_runtime_that_starts_lives_and_is_not_ready_yet() {
    let stage = Stage::new();
    let disk = Disk::below(&stage);
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("an address");
    let manifest = stage.manifest("counter", "counter", "");
    let launch = stage.command(&[&manifest], &["--metrics-listen", &address.to_string()]);
    let log = std::fs::File::create(stage.path().join("log")).expect("a log");
    let launch = launch.arg("--data-dir").arg(stage.data_dir());
    let with_the_socket = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"";
    let launch = launch.through("sh", &["-c", with_the_socket, "sh"], log).stdin(std::os::fd::OwnedFd::from(socket));
    let launch = disk.that_may_hang().into_iter().fold(launch, |launch, (key, value)| launch.env(key, value));
    disk.hang();
    let mut begun = launch.begin();
    assert_eq!(asked(address, "/livez").status, 200);
    let unready = asked(address, "/readyz");
    assert!(unready.status == 503 && unready.body.starts_with("the runtime is starting"), "{}", unready.body);
    let metrics = asked(address, "/metrics");
    assert!([200, 503].contains(&metrics.status), "{}", metrics.body);
    disk.go_on();
    eventually("it is ready", || (asked(address, "/readyz").status == 200).then_some(()));
    signal(begun.pid(), "INT");
    assert_eq!(begun.code(), Some(0));
}

#[test]
fn a_disk_that_hangs_makes_it_unready_and_does_not_keep_anybody_from_asking() {
    let stage = Stage::new();
    let disk = Disk::below(&stage);
    let launch = stage.command(&[&stage.manifest("counter", "counter", "")], &METRICS);
    let launch = launch.arg("--data-dir").arg(stage.data_dir());
    let launch = disk.that_may_hang().into_iter().fold(launch, |launch, (key, value)| launch.env(key, value));
    let running = launch.launch(&stage).expect("it starts");
    assert_eq!(told(&running, "/readyz"), ok());
    disk.hang();
    let message = json!({ "SendMessage": { "id": running.id("counter"), "message": "e30=" } });
    let mut client = support::Management::connect(running.management());
    client.send(&message);
    let (_, why) = eventually("the commit takes too long", || Some(told(&running, "/readyz")).filter(|it| it.0 == 503));
    assert!(why.starts_with("a commit has taken 1") && why.contains("the disk is slow, or hangs"), "{why}");
    assert_eq!(told(&running, "/livez"), ok(), "a new process would meet the same disk");
    disk.go_on();
    eventually("it is ready again", || (told(&running, "/readyz") == ok()).then_some(()));
    assert!(client.receive().is_some());
    running.shut_down();
}

#[test]
fn a_runtime_that_is_shutting_down_is_not_ready() {
    let stage = Stage::new();
    let slow = "[limits]\ncpu_ms_per_call = 600000\nstop_grace_ms = 600000\n";
    let running = stage.run_with(&[&stage.http_manifest("probe", "probe", slow)], &METRICS).expect("it starts");
    Http::connect(running.http("probe")).send("POST", "/op", Some("\"spin\""));
    eventually("it spins", || running.event_types("probe").last()?.starts_with("call ").then_some(()));
    signal(running.pid(), "INT");
    let unready = || Some(told(&running, "/readyz")).filter(|it| it.0 == 503);
    assert_eq!(eventually("it is not ready", unready).1, "the runtime is shutting down\n");
    signal(running.pid(), "INT");
}

/// The metrics that an expression of Prometheus names.
fn metrics_in(expression: &str) -> Vec<&str> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("theater_")).collect()
}

#[test]
fn every_metric_of_the_dashboard_is_one_that_the_runtime_has_with_the_labels_that_are_asked_for() {
    let stage = Stage::new();
    let running = stage.run_with(&[&stage.manifest("counter", "counter", "")], &METRICS).expect("it starts");
    let (_, shown) = told(&running, "/metrics");
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/grafana-dashboard.json")).expect("the dashboard");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let of = |of: &serde_json::Value, key: &str| of[key].as_array().cloned().unwrap_or_default();
    let panels = of(&dashboard, "panels");
    let targets = panels.iter().flat_map(|panel| of(panel, "targets"));
    let mut expressions: Vec<String> =
        targets.map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect();
    let variables = of(&dashboard["templating"], "list").into_iter();
    expressions.extend(variables.filter_map(|variable| variable["query"]["query"].as_str().map(str::to_owned)));
    let mut named = std::collections::BTreeSet::new();
    for expression in &expressions {
        for metric in metrics_in(expression) {
            let lines = || shown.lines().filter(|line| line.split(['{', ' ']).next() == Some(metric));
            assert!(lines().next().is_some(), "{metric} in {expression}");
            // `job` and `instance` are Prometheus' own.
            for label in ["actor", "le", "alive"] {
                if expression.contains(&format!("{label}=")) || expression.contains(&format!("({label})")) {
                    assert!(
                        lines().all(|line| line.contains(&format!("{label}=\""))),
                        "{label} of {metric} in {expression}"
                    );
                }
            }
            named.insert(metric);
        }
    }
    let ids: std::collections::BTreeSet<_> = panels.iter().map(|panel| panel["id"].to_string()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    // Every metric can be seen there.
    for (name, kind) in shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')) {
        let is_named = named.contains(name) || kind == "histogram" && named.contains(&*format!("{name}_bucket"));
        assert!(is_named, "{name} is on no panel");
    }
    running.shut_down();
}
