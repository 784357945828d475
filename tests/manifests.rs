//! Tests of mistakes in manifests: the error names file, line, key and remedy, in the same words for every command.

mod support;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use support::{Http, Management, Stage, component, text, theater};

/// The error for a manifest from `check`, `run` and StartActor, which must be the same.
fn refusal(stage: &Stage, management: &mut Management, manifest: &Path) -> String {
    let path = manifest.to_str().expect("a path");
    let checked = theater(&["check", path], None);
    assert_eq!(checked.status.code(), Some(1), "{path} is accepted by check");
    let by_check = text(&checked.stderr).trim().trim_start_matches("theater: ").to_owned();
    let by_start = management.error(&json!({ "StartActor": { "manifest": path } }));
    assert_eq!(by_start, by_check, "StartActor and check say the same");
    let elsewhere = stage.path().join("elsewhere");
    let data = elsewhere.to_str().expect("a path");
    let run = theater(&["run", path, "--listen", "127.0.0.1:0", "--data-dir", data], None);
    assert_eq!(run.status.code(), Some(1), "{path} is accepted by run");
    assert!(text(&run.stderr).contains(&by_check), "run says {:?}, check {by_check:?}", text(&run.stderr));
    by_check
}

#[test]
fn each_mistake_is_named_by_file_line_and_key_with_a_remedy() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    let mut management = Management::connect(running.management());
    for (name, more, line, expected) in [
        ("typo", "reuze = 2", ":3", "unknown key \"reuze\"; did you mean \"reuse\"?"),
        ("stranger", "colour = \"red\"", ":3", "unknown key \"colour\"; the keys here are: name, version"),
        (
            "type",
            "reuse = \"often\"",
            ":3",
            "\"reuse\": the text \"often\" stands where a whole number from 0 to 4294967295 belongs",
        ),
        ("range", "reuse = 0", ":3", "from 1 to 1000"),
        (
            "half",
            "[limits]\nmemory = \"64MB\"",
            ":4",
            "unknown key \"memory\" of [limits]; did you mean \"memory_bytes\"?",
        ),
        ("unit", "[limits]\nmemory_bytes = \"64MB\"", ":4", "in the unit it ends in: memory_bytes = 67108864"),
        ("half-limit", "memory = 1", ":3", "unknown key \"memory\"; did you mean \"memory_bytes\" of [limits]?"),
        ("top-key", "[limits]\nrestart = \"permanent\"", ":4", "\"restart\" is no limit: it stands at the top"),
        ("top-port", "port = 8080", ":3", "it is told to a handler: [[handlers]] type = \"http-server\""),
        ("kind", "[[handlers]]\ntype = \"http\"", ":3", "did you mean \"http-server\" or \"http-client\"?"),
        (
            "port-text",
            "[[handlers]]\ntype = \"http-server\"\nconfig = { port = \"8080\" }",
            ":5",
            "the text \"8080\" stands where a whole number from 0 to 65535 belongs",
        ),
        (
            "policy",
            "restart = \"always\"",
            ":3",
            "\"always\" is not one of \"temporary\", \"transient\", \"permanent\"",
        ),
        ("strategy", "strategy = \"all\"", ":3", "one-for-all"),
        ("reads", "reads = \"soon\"", ":3", "\"reads\": \"soon\" is not one of \"commit\", \"early\""),
        ("backoff", "restart_backoff_ms = -1", ":3", "restart_backoff_ms"),
        ("limit", "[limits]\nmemory_bites = 1", ":4", "did you mean \"memory_bytes\"?"),
        ("ceiling", "[limits]\nmemory_bytes = 10000000000", ":4", "at most 1073741824"),
        ("fraction", "[limits]\nstate_bytes = 1.5", ":4", "\"state_bytes\" of [limits] is a whole number"),
        ("misplaced", "memory_bytes = 1", ":3", "belongs under [limits]"),
        ("limits-value", "limits = 3", ":3", "[limits]"),
        (
            "handler",
            "[[handlers]]\ntype = \"http-sever\"",
            ":3",
            "did you mean \"http-server\"? the handlers are: runtime",
        ),
        ("unheard", "[[handlers]]\ntype = \"teleport\"", ":3", "unknown handler \"teleport\"; the handlers are:"),
        ("twice", "[[handlers]]\ntype = \"supervisor\"\n[[handlers]]\ntype = \"supervisor\"", ":5", "listed twice"),
        ("typeless", "[[handlers]]\nconfig = { port = 0 }", ":3", "needs a \"type\""),
        ("single", "[handlers]\ntype = \"supervisor\"", ":3", "[[handlers]]"),
        (
            "config",
            "[[handlers]]\ntype = \"http-server\"\nconfig = { prot = 1 }",
            ":5",
            "unknown key \"prot\" of handler \"http-server\"; did you mean \"port\"?",
        ),
        (
            "no-port",
            "[[handlers]]\ntype = \"http-server\"",
            ":3",
            "the key \"port\" of handler \"http-server\" is missing: config = { port = … }",
        ),
        (
            "no-path",
            "[[handlers]]\ntype = \"filesystem\"",
            ":3",
            "the key \"path\" of handler \"filesystem\" is missing",
        ),
        (
            "beside",
            "[[handlers]]\ntype = \"http-server\"\nport = 1",
            ":5",
            "stands in its config: config = { port = … }",
        ),
        ("keyless", "[[handlers]]\ntype = \"random\"\nconfig = { seed = 1 }", ":5", "there are no keys here"),
        (
            "port",
            "[[handlers]]\ntype = \"http-server\"\nconfig = { port = 99999 }",
            ":5",
            "\"port\" of handler \"http-server\"",
        ),
        (
            "port-type",
            "[[handlers]]\ntype = \"http-server\"\n[handlers.config]\nport = \"http\"",
            ":6",
            "\"port\" of handler \"http-server\"",
        ),
        ("config-type", "[[handlers]]\ntype = \"http-server\"\nconfig = 3", ":5", "not a table"),
        ("state-file", "init_state = \"nowhere.json\"", ":3", "\"init_state\": neither JSON nor the path of a file"),
        ("state-twice", "init_state = \"1\"\ninit_data = \"2\"", ":4", "older name of \"init_state\""),
        ("state-large", "init_state = \"[1,2,3,4,5]\"\n[limits]\nstate_bytes = 5", "", "state_bytes is 5"),
        ("unfinished", "reuse = ", ":3", ""),
        ("doubled", "reuse = 1\nreuse = 2", ":4", "reuse"),
        ("quote", "description = \"open", ":3", ""),
    ] {
        let manifest = stage.manifest(name, "probe", more);
        let why = refusal(&stage, &mut management, &manifest);
        let start = format!("{}{line}: ", manifest.display());
        assert!(why.starts_with(&start) && why.contains(expected), "{name}: {why}");
        assert!(why.len() < 800, "{name}: {why}");
    }
}

#[test]
fn nobody_waits_for_a_manifest_or_component_that_is_a_pipe() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    let pipe = stage.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let mut management = Management::connect(running.management());
    assert!(refusal(&stage, &mut management, &pipe).contains("not a regular file"));
    let of_it = stage.manifest_at("piped", &pipe, "");
    let why = refusal(&stage, &mut management, &of_it);
    assert!(why.contains("not a regular file") && !why.contains("is the component built?"), "{why}");
}

#[test]
fn a_core_module_is_told_how_to_become_a_component() {
    let stage = Stage::new();
    let module = stage.file("module.wasm", b"\0asm\x01\0\0\0");
    let why = support::theater(&["check", stage.manifest_at("core", &module, "").to_str().expect("a path")], None);
    assert!(text(&why.stderr).contains("it is a core module; link it as a component"), "{}", text(&why.stderr));
}

/// The warnings of `theater check`.
fn warnings(manifest: &Path) -> String {
    let output = theater(&["check", manifest.to_str().expect("a path")], None);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stderr)
}

#[test]
fn check_foresees_a_grant_with_which_every_start_fails() {
    let stage = Stage::new();
    stage.file("file", "");
    std::os::unix::fs::symlink("nowhere", stage.path().join("dangling")).expect("a link");
    let granting = |config: &str| {
        let more = format!("[[handlers]]\ntype = \"filesystem\"\nconfig = {{ {config} }}\n");
        stage.manifest("files", "files", &more)
    };
    for (config, expected) in [
        ("path = \"absent\", mode = \"read-only\"", "create it, or grant it with mode = \"read-write\""),
        ("path = \"file\"", "what lies there is no directory"),
        ("path = \"file\", mode = \"read-only\"", "what lies there is no directory"),
        ("path = \"dangling\"", "what lies there is no directory"),
    ] {
        let manifest = granting(config);
        let warned = warnings(&manifest);
        assert!(warned.contains("a start will fail: filesystem cannot") && warned.contains(expected), "{warned}");
        let refused = stage.run_with(&[&manifest], &[]).err().expect("a refusal");
        assert!(refused.contains(expected), "{refused}");
    }
    assert_eq!(warnings(&granting("path = \"absent\"")), "", "it is made");
    assert!(warnings(&granting("path = \".\"")).contains("it can grant itself anything for the next start"));
}

#[test]
fn what_is_granted_and_leads_nowhere_is_warned_of() {
    let stage = Stage::new();
    let more = "[[handlers]]\ntype = \"supervisor\"\nconfig = { allow = [\"nowhere\"] }\n";
    assert!(
        warnings(&stage.manifest("nursery", "nursery", more))
            .contains("nowhere, which the handler \"supervisor\" allows")
    );
    for (state, expected) in [("2020-01-01", "a date or time"), ("{ a = [nan] }", "nan or inf")] {
        let warned = warnings(&stage.manifest("probe", "probe", &format!("init_state = {state}\n")));
        assert!(warned.contains(expected), "{warned}");
    }
}

#[test]
fn a_manifest_that_is_none_is_named() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    let mut management = Management::connect(running.management());
    let large = format!("name = \"x\" # {}", "x".repeat(2 << 20));
    let wasm = component("probe");
    for (manifest, expected) in [
        (stage.path().join("nowhere.toml"), "cannot read the manifest: No such file"),
        (stage.file("empty.toml", ""), "the key \"name\" is missing"),
        (stage.file("nameless.toml", "component_path = \"x\""), "the key \"name\" is missing: the actor's name"),
        (stage.file("bodiless.toml", "name = \"x\""), "the key \"component_path\" is missing"),
        (stage.file("blank.toml", "name = \" \"\ncomponent_path = \"x\""), "\"name\" is empty"),
        (stage.file("long.toml", format!("name = \"{}\"\ncomponent_path = \"x\"", "n".repeat(129))), "the most is 128"),
        (stage.file("bell.toml", "name = \"a\\u0007\"\ncomponent_path = \"x\""), "control character"),
        (stage.file("latin.toml", b"name = \"\xe9\""), "not UTF-8"),
        (stage.file("large.toml", large), "larger than 1048576 bytes"),
        (stage.file("absent.toml", "name = \"x\"\ncomponent_path = \"x.wasm\""), "is the component built?"),
        (
            stage.file("number.toml", "name = 3\ncomponent_path = \"x.wasm\""),
            "\"name\": the number 3 stands where a text belongs",
        ),
        (wasm, ""),
        ("/dev/zero".into(), "not a regular file"),
    ] {
        let why = refusal(&stage, &mut management, &manifest);
        assert!(why.contains(manifest.to_str().expect("a path")) && why.contains(expected), "{why}");
        assert!(why.len() < 800, "{}: {why}", manifest.display());
    }
    // To `run`, a directory stands for the manifests in it.
    let directory = theater(&["check", stage.path().to_str().expect("a path")], None);
    assert!(text(&directory.stderr).contains("not a regular file"), "{}", text(&directory.stderr));
}

#[test]
fn a_port_in_use_is_named_with_the_manifest_and_a_remedy() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let http = format!("[[handlers]]\ntype = \"http-server\"\nconfig = {{ port = {port} }}\n");
    let manifest = stage.manifest("latecomer", "counter", &http);
    let by_start = running.start(&manifest).expect_err("the port is taken");
    let other = Stage::new();
    let by_run = other.run_with(&[&manifest], &[]).err().expect("the port is taken");
    for why in [&by_start, &by_run] {
        assert!(why.contains(&format!("127.0.0.1:{port}")), "{why}");
        assert!(why.contains("another port (0 takes any free one)"), "{why}");
        assert!(why.contains("latecomer"), "which of many manifests it is: {why}");
    }
    assert_eq!(running.status("latecomer"), "failed");
    drop(taken);
    running.say(&["restart", "latecomer"]);
    assert_eq!(running.status("latecomer"), "running");
}

#[test]
fn a_host_that_is_none_of_ours_is_named() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    for host in ["no.such.host.invalid", "192.0.2.1", "", "::1::"] {
        let http = format!("[[handlers]]\ntype = \"http-server\"\nconfig = {{ host = {host:?}, port = 0 }}\n");
        let why = running.start(&stage.manifest("nowhere", "counter", &http)).expect_err("it cannot listen there");
        assert!(why.contains("http-server cannot listen on") && why.contains(host), "{host:?}: {why}");
    }
}

#[test]
fn two_manifests_of_one_name_are_refused_at_a_run() {
    let stage = Stage::new();
    let (a, b) = (stage.manifest("same", "counter", ""), stage.file("b.toml", ""));
    std::fs::copy(&a, &b).expect("a copy");
    let why = stage.run_with(&[&a, &b], &[]).err().expect("one name, two actors");
    assert!(why.contains("\"same\""), "{why}");
}

#[test]
fn an_older_manifest_is_accepted_with_a_warning() {
    let stage = Stage::new();
    let more = "version = \"0.1.0\"\ndescription = \"old\"\ninit_data = \"{}\"\n[interface]\nimplements = [\"a\", \"b\"]\n\
                requires = []\n[logging]\nchain_events = true\n[event_server]\nport = 3030\n[[handlers]]\n\
                type = \"message-server\"\nconfig = { port = 8091 }\n[[handlers]]\ntype = \"runtime\"\nconfig = {}\n";
    let manifest = stage.manifest("old", "probe", more);
    let checked = theater(&["check", manifest.to_str().expect("a path")], None);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let warnings = text(&checked.stderr);
    assert!(warnings.contains("[logging]") && warnings.contains("[event_server]"), "{warnings}");
    let running = stage.run(&[&manifest]);
    assert_eq!(running.request("old", &json!("count")), Ok(json!(1)));
    assert!(stage.log().contains("[event_server]"), "{}", stage.log());
}

#[test]
fn paths_are_relative_to_the_manifest_and_not_to_the_working_directory() {
    let stage = Stage::new();
    std::fs::create_dir_all(stage.path().join("sub/wasm")).expect("a directory");
    let to = stage.path().join("sub/wasm/c.wasm");
    std::fs::copy(component("probe"), to).expect("a copy");
    stage.file("sub/state.json", "{\"count\": 7}");
    let text = "name = \"c\"\ncomponent_path = \"wasm/c.wasm\"\ninit_state = \"state.json\"\n";
    stage.file("sub/c.toml", text);
    let running = stage.run(&[Path::new("sub/c.toml")]);
    assert_eq!(running.request("c", &json!("count")), Ok(json!(8)));
}

/// A component whose functions do nothing: its `init` has the type `init`, and the response of its HTTP
/// `handle-request` has a status of the type `status`.
fn of_types(stage: &Stage, name: &str, init: &str, init_core: &str, status: &str) -> std::path::PathBuf {
    let state = "(option (list u8))";
    stage.wat(
        name,
        &format!(
            r#"(component
              (import "ntwk:theater/http-types" (instance $types
                (type $request-is (record (field "method" string) (field "uri" string)
                  (field "headers" (list (tuple string string))) (field "body" {state})))
                (export "http-request" (type (eq $request-is)))
                (type $response-is (record (field "status" {status})
                  (field "headers" (list (tuple string string))) (field "body" {state})))
                (export "http-response" (type (eq $response-is)))))
              (alias export $types "http-request" (type $request))
              (alias export $types "http-response" (type $response))
              (core module $code
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
                ;; Both answer ok, with no state.
                (func (export "init") (param i32 i32 i32 {init_core}) (result i32) (i32.const 64))
                (func (export "handle") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
                  (i32.const 64)))
              (core instance $code (instantiate $code))
              (func $init {init}
                (canon lift (core func $code "init") (memory (core memory $code "memory")) (realloc (core func $code "realloc"))))
              (func $handle (param "state" {state}) (param "params" (tuple $request))
                (result (result (tuple {state} (tuple $response)) (error string)))
                (canon lift (core func $code "handle") (memory (core memory $code "memory")) (realloc (core func $code "realloc"))))
              (instance $actor (export "init" (func $init)))
              (instance $http (export "handle-request" (func $handle)))
              (export "ntwk:theater/actor" (instance $actor))
              (export "ntwk:theater/http-server" (instance $http)))"#
        ),
    )
}

const INIT: &str = "(param \"before\" (option (list u8))) (param \"params\" (tuple string)) \
                    (result (result (tuple (option (list u8))) (error string)))";

#[test]
fn an_export_of_another_type_is_refused_at_check_and_at_start_by_its_place_with_expected_and_found() {
    let stage = Stage::new();
    let running = stage.run(&[]);
    let mut management = Management::connect(running.management());
    let http = "[[handlers]]\ntype = \"http-server\"\nconfig = { port = 0 }\n";
    let other_init = INIT.replace("(tuple string)", "string").replace("(error string)", "");
    let cases = [
        (
            of_types(&stage, "status", INIT, "i32 i32", "u32"),
            http,
            "the export \"ntwk:theater/http-server.handle-request\" is not of the type that this runtime calls: result > \
             ok > element 2 of the tuple > element 1 of the tuple > record http-response > field \"status\": expected \
             u16, found u32; build the component against the wit/ of this runtime",
        ),
        (
            of_types(&stage, "init", &other_init, "i32 i32", "u16"),
            "",
            "the export \"ntwk:theater/actor.init\" is not of the type that this runtime calls: parameter \"params\": \
             expected tuple<string>, found string",
        ),
    ];
    for (component, more, expected) in cases {
        let name = component.file_stem().expect("a name").to_str().expect("text").to_owned();
        let why = refusal(&stage, &mut management, &stage.manifest_at(&name, &component, more));
        assert!(why.contains(expected), "{why}");
    }
    // Names of parameters do not matter, and functions that nothing calls may have any type.
    let fits = of_types(&stage, "fits", INIT, "i32 i32", "u16");
    running.start(&stage.manifest_at("fits", &fits, http)).expect("it starts");
    let uncalled = of_types(&stage, "uncalled", INIT, "i32 i32", "u32");
    running.start(&stage.manifest_at("uncalled", &uncalled, "")).expect("it starts");
}

#[test]
fn a_component_that_exports_what_its_manifest_does_not_grant_is_told_of() {
    let stage = Stage::new();
    let forgotten = stage.manifest("forgotten", "counter", "");
    let what = "the component exports \"ntwk:theater/http-server.handle-request\", and nothing will call it: the \
                manifest does not grant the handler \"http-server\"";
    let checked = theater(&["check", forgotten.to_str().expect("a path"), "--json"], None);
    assert!(checked.status.success() && text(&checked.stderr).contains(what), "{}", text(&checked.stderr));
    let json: serde_json::Value = serde_json::from_slice(&checked.stdout).expect("JSON");
    assert!(json["warnings"].to_string().contains("nothing will call it"), "{json}");
    let granted = stage.http_manifest("granted", "counter", "");
    let checked = theater(&["check", granted.to_str().expect("a path")], None);
    assert_eq!(text(&checked.stderr), "", "there is nothing to say");
    stage.run(&[&forgotten]);
    assert!(stage.log().contains(what), "{}", stage.log());
}

#[test]
fn a_component_that_is_built_for_wasi_is_told_what_to_do_about_printing() {
    let stage = Stage::new();
    let wasi = stage.wat(
        "wasi",
        r#"(component (import "wasi:cli/stdout@0.2.0" (instance (export "get-stdout" (func (result u32))))))"#,
    );
    let checked = theater(&["check", stage.manifest_at("wasi", &wasi, "").to_str().expect("a path")], None);
    let why = text(&checked.stderr);
    assert!(why.contains("\"wasi:cli/stdout@0.2.0\": this runtime offers no WASI"), "{why}");
    assert!(why.contains("wasm32-unknown-unknown") && why.contains("runtime.log"), "{why}");
}

#[test]
fn a_changed_init_state_or_component_is_told_of_where_it_does_not_reach_the_actor() {
    let stage = Stage::new();
    let component = stage.copy_component("probe", "own");
    let with = |state: &str| stage.manifest_at("probe", &component, &format!("init_state = '{state}'\n"));
    let running = stage.run(&[&with("{\"count\": 1}")]);
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(2)));
    running.say(&["restart", "probe"]);
    assert!(!stage.log().contains("has changed"), "{}", stage.log());
    let manifest = with("{\"count\": 10}");
    stage.copy_component("variant", "own");
    running.say(&["restart", "probe"]);
    let log = stage.log();
    for what in ["its manifest", "its component"] {
        let line =
            log.lines().find(|line| line.contains("actor probe is restarted as it was started") && line.contains(what));
        assert!(line.is_some_and(|line| line.contains("which a restart does not take up")), "{what}: {log}");
    }
    assert_eq!(running.request("probe", &json!("count")), Ok(json!(3)));
    std::fs::remove_file(&manifest).expect("it was there");
    running.say(&["restart", "probe"]);
    assert!(stage.log().contains("probe.toml cannot be read any more (No such file"), "{}", stage.log());
    with("{\"count\": 10}");
    running.shut_down();
    let running = stage.run(&[&manifest]);
    let log = stage.log();
    assert!(
        log.contains("\"init_state\" has changed since the actor probe first began, and it keeps its state"),
        "{log}"
    );
    assert!(log.contains("the actor probe goes on with another component"), "{log}");
    assert_eq!(running.json(&["state", "probe"])["state"]["count"], json!(3));
}

#[test]
fn an_export_that_is_async_is_refused_in_words_that_say_so() {
    let stage = Stage::new();
    let component = stage.wat(
        "async",
        r#"(component
  (core module $m (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "init") (param i32 i32 i32 i32 i32) (result i32) (i32.const 64)))
  (core instance $c (instantiate $m))
  (type $f (func async (param "state" (option (list u8))) (param "params" (tuple string)) (result (result (tuple (option (list u8))) (error string)))))
  (func $init (type $f) (canon lift (core func $c "init") (memory (core memory $c "memory")) (realloc (core func $c "realloc"))))
  (instance $actor (export "init" (func $init)))
  (export "ntwk:theater/actor" (instance $actor)))"#,
    );
    let checked = theater(&["check", stage.manifest_at("async", &component, "").to_str().expect("a path")], None);
    let why = text(&checked.stderr);
    assert!(why.contains("async functions, streams or futures, which this runtime does not run"), "{why}");
}

/// A manifest with a listener on an address that no other test uses (all of 127.0.0.0/8 is this machine).
fn at(stage: &Stage, file: &str, name: &str, address: SocketAddr) -> PathBuf {
    let (host, port) = (address.ip(), address.port());
    let counter = component("counter");
    let text = format!(
        "name = {name:?}\ncomponent_path = {counter:?}\n[[handlers]]\ntype = \"http-server\"\nconfig = {{ host = \
         \"{host}\", port = {port} }}\n"
    );
    stage.file(file, text)
}

fn free_port(host: &str) -> SocketAddr {
    TcpListener::bind((host, 0)).and_then(|listener| listener.local_addr()).expect("a port")
}

#[test]
fn after_a_rename_in_a_manifest_the_old_actor_keeps_its_port_and_the_start_says_what_is_in_the_way() {
    let stage = Stage::new();
    let address = free_port("127.83.7.1");
    let running = stage.run(&[&at(&stage, "counter.toml", "counter", address)]);
    assert_eq!(Http::connect(address).ask("POST", "/increment", None).status, 200);
    running.shut_down();

    let renamed = at(&stage, "counter.toml", "tally", address);
    for _ in 0..5 {
        let why = stage.run_with(&[&renamed], &[]).err().expect("both want one port");
        assert!(why.starts_with("exit status: 1"), "{why}");
        let why = why.lines().rfind(|line| line.starts_with("theater: ")).expect("a reason");
        for part in
            ["actor \"tally\"", "actor \"counter\" (", "listens there", "named \"counter\" before", "forget counter"]
        {
            assert!(why.contains(part), "{part}: {why}");
        }
        assert_eq!(running_alone(&stage), [("counter".to_owned(), "running".to_owned())], "nothing new is left listed");
    }
    // If both can run, both do, and the log says so.
    let elsewhere = at(&stage, "counter.toml", "tally", free_port("127.83.7.1"));
    let running = stage.run(&[&elsewhere]);
    assert!(stage.log().contains("names the actor \"tally\" now, and named \"counter\" before"), "{}", stage.log());
    assert_eq!((running.status("counter"), running.status("tally")), ("running".into(), "running".into()));
}

fn running_alone(stage: &Stage) -> Vec<(String, String)> {
    let running = stage.run(&[]);
    let list = running.json(&["list"]);
    let actors = list.as_array().expect("a list").iter();
    let named = |actor: &serde_json::Value, key: &str| actor[key].as_str().expect("text").to_owned();
    let found = actors.map(|actor| (named(actor, "name"), named(actor, "status"))).collect();
    running.shut_down();
    found
}

#[test]
fn what_did_not_come_up_is_said_before_ready_and_a_manifest_that_did_not_is_refused() {
    let stage = Stage::new();
    let address = free_port("127.83.7.2");
    let manifest = at(&stage, "counter.toml", "counter", address);
    stage.run(&[&manifest, &stage.manifest("hello", "hello", "")]).shut_down();
    let taken = TcpListener::bind(address).expect("a port");

    let running = stage.run(&[]);
    let said = running.said().join("\n");
    let line = running.said().iter().find(|line| line.starts_with("actor       counter ")).expect(&said);
    assert!(line.contains("did not come up: ") && line.contains("Address already in use"), "{line}");
    assert!(stage.log().contains("actor \"counter\" was not resumed"), "{}", stage.log());
    assert_eq!(running.status("hello"), "running", "the others go on");
    running.shut_down();

    let why = stage.run_with(&[&manifest], &[]).err().expect("it was asked for by name");
    assert!(why.starts_with("exit status: 1") && why.contains("Address already in use"), "{why}");
    drop(taken);
    assert_eq!(stage.run(&[&manifest]).status("counter"), "running");
}

/// A service manager, SELinux or a seccomp filter may forbid a process to make memory executable. Here Python sets the
/// kernel's own flag for this and then executes the program.
#[test]
fn a_process_that_may_not_make_code_executable_says_that_and_not_that_the_component_is_none() {
    let stage = Stage::new();
    let script = stage.file(
        "deny.py",
        "import ctypes, os, sys\nPR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1\n\
         if ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0): sys.exit(99)\n\
         os.execv(sys.argv[1], sys.argv[1:])\n",
    );
    let manifest = stage.manifest("counter", "counter", "");
    for args in [&["check"][..], &["run", "--ephemeral", "--listen", "127.0.0.1:0"]] {
        let denied = Command::new("python3").arg(&script).arg(support::THEATER).args(args).arg(&manifest).output();
        let Ok(denied) = denied else { return support::skipped("mprotect denied", "there is no python3") };
        if denied.status.code() == Some(99) {
            return support::skipped("mprotect denied", "this kernel is older than Linux 6.3");
        }
        let why = text(&denied.stderr);
        assert_eq!(denied.status.code(), Some(1), "{why}");
        assert!(why.contains("MemoryDenyWriteExecute") && why.contains("Permission denied"), "{why}");
        assert!(!why.contains("not a WebAssembly component"), "{why}");
    }
}

/// The manifests of `manifests/`, and those that the documents show completely, each with its place.
fn shown_manifests() -> Vec<(String, toml::Table)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = |dir: &str, kind: &str| {
        let entries =
            std::fs::read_dir(root.join(dir)).expect("a directory").map(|entry| entry.expect("a file").path());
        entries.filter(|path| path.extension().is_some_and(|it| it == kind)).collect::<Vec<_>>()
    };
    let mut texts = Vec::new();
    for path in files("manifests", "toml") {
        texts.push((path.display().to_string(), std::fs::read_to_string(&path).expect("text")));
    }
    for path in files("docs", "md").into_iter().chain([root.join("README.md")]) {
        let text = std::fs::read_to_string(&path).expect("text");
        let blocks = text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        texts.extend(blocks.map(|block| (path.display().to_string(), block.to_owned())));
    }
    let whole = texts.into_iter().filter_map(|(place, text)| Some((place, text.parse::<toml::Table>().ok()?)));
    whole.filter(|(_, table)| table.contains_key("component_path")).collect()
}

#[test]
fn every_service_among_the_manifests_and_in_the_documents_is_restarted_by_itself() {
    let mut services = 0;
    for (place, manifest) in shown_manifests() {
        let handlers = manifest.get("handlers").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let listens = |handler: &toml::Value| {
            let kind = handler.get("type").and_then(toml::Value::as_str).expect("a type");
            ["http-server", "websocket-server"].contains(&kind)
        };
        if handlers.iter().any(listens) {
            services += 1;
            assert_eq!(manifest.get("restart").and_then(toml::Value::as_str), Some("permanent"), "{place}: {manifest}");
            let most = manifest.get("max_restarts").and_then(toml::Value::as_integer);
            assert!(most >= Some(10), "{place}: max_restarts is {most:?}: {manifest}");
        }
    }
    assert!(services >= 5, "{services} were found");
}
