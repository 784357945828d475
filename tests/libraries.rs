//! The libraries for TypeScript and Python: every interface of the host, called by an actor that calls what it is told to.

#[path = "support/outside.rs"]
mod outside;
mod support;
#[path = "support/languages.rs"]
mod projects;
#[path = "support/websocket.rs"]
mod websocket;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use outside::Server;
use projects::{Language, Python, TypeScript};
use serde_json::{Value, json};
use support::{Http, Stage, Theater, eventually, text, verifies_and_replays};
use websocket::Client;

/// The manifest of an actor of `tests/languages`, on a stage.
fn staged(stage: &Stage, language: Language, name: &str) -> Option<PathBuf> {
    let built = language.built(&format!("{name}.toml"))?;
    let shipped = std::fs::read_to_string(&built).expect("a manifest");
    let component = built.parent().expect("a directory").join("dist").join(format!("{name}.wasm"));
    Some(
        stage.file(
            &format!("{name}.toml"),
            shipped.replace(&format!("dist/{name}.wasm"), &component.display().to_string()),
        ),
    )
}

/// An actor that is told what to call.
struct Told {
    running: Theater,
}

impl Told {
    fn ask(&self, command: Value) -> Value {
        self.running.request("everything", &command).unwrap_or_else(|why| panic!("{command}: {why}"))
    }

    /// What the actor was told of, by the kind.
    fn of(&self, kind: &str) -> Vec<Value> {
        let told = self.ask(json!(["told"]));
        told.as_array().expect("a list").iter().filter(|it| it[0] == kind).cloned().collect()
    }

    fn until(&self, kind: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} of {kind}"), || Some(self.of(kind)).filter(|told| told.len() >= count))
    }
}

/// The text of an error that the host answered.
fn why(answer: &Value) -> &str {
    answer["error"].as_str().unwrap_or_else(|| panic!("no error: {answer}"))
}

fn everything(language: Language) {
    let stage = Stage::new();
    let Some(manifest) = staged(&stage, language, "everything") else { return };
    std::fs::create_dir(stage.path().join("files")).expect("a directory");
    stage.copy_component("counter", "counter");
    stage.file("child.toml", "name = \"child\"\ncomponent_path = \"counter.wasm\"\n");
    let running = stage.run(&[&manifest, &stage.manifest("counter", "counter", "")]);
    let actor = Told { running };
    supervises(&actor);
    asks_and_monitors(&actor);
    sets_timers(&actor);
    keeps_rows_and_files(&actor);
    fetches(&actor);
    answers_http(&actor);
    streams(&actor);
    pushes(&actor);
    assert_eq!(actor.ask(json!(["config", "greeting"])), json!("Grüße"));
    assert_eq!(actor.ask(json!(["history"]))[0], json!("started"));
    assert!(actor.ask(json!(["now"])).as_u64().expect("a time") > 1_700_000_000_000);
    let chain = actor.running.export(&stage, "everything");
    actor.running.shut_down();
    verifies_and_replays(&chain);
}

fn supervises(actor: &Told) {
    let one = actor.ask(json!(["spawn-as", "child.toml", "one", { "count": 5 }]));
    assert_eq!(actor.ask(json!(["get-or-spawn", "child.toml", "one"])), one);
    assert_eq!(actor.ask(json!(["ask", "everything/one", "get"])), json!({ "count": 5 }), "by its path");
    let two = actor.ask(json!(["spawn", "child.toml"]));
    assert_eq!(actor.ask(json!(["children"])), json!([one, two]));
    assert_eq!(actor.ask(json!(["child-state", one])), json!({ "count": 5 }));
    assert_eq!(actor.ask(json!(["child-events", one]))[0], json!("started"));
    assert_eq!(actor.ask(json!(["stop", two])), Value::Null);
    assert_eq!(actor.ask(json!(["restart", two])), Value::Null);
    assert_eq!(actor.ask(json!(["ask", two, "get"])), json!({ "count": 0 }));
    assert!(why(&actor.ask(json!(["stop", "nobody"]))).contains("not a child"));
    assert!(why(&actor.ask(json!(["spawn", "none.toml"]))).contains("none.toml"));
    let told = actor.until("child", 2);
    assert!(told.contains(&json!(["child", two, "stopped"])), "{told:?}");
}

fn asks_and_monitors(actor: &Told) {
    let token = actor.ask(json!(["ask-later", "counter", { "add": 2 }]));
    let refused = actor.ask(json!(["ask-later", "counter", "no such message", 5000]));
    let replies = actor.until("reply", 2);
    assert_eq!(replies[0], json!(["reply", token, { "count": 2 }]));
    assert!(replies[1][1] == refused && replies[1][2].is_string(), "{replies:?}");
    assert!(why(&actor.ask(json!(["ask", "nobody", 1]))).contains("nobody"));
    assert_eq!(actor.ask(json!(["send", "counter", { "add": 1 }])), Value::Null);
    assert_eq!(actor.ask(json!(["ask", "counter", "get"])), json!({ "count": 3 }));
    let open = actor.ask(json!(["monitor", "counter"]));
    assert_eq!(actor.ask(json!(["demonitor", open])), json!(true));
    let reference = actor.ask(json!(["monitor", "counter"]));
    actor.running.say(&["stop", "counter"]);
    assert_eq!(actor.until("down", 1), [json!(["down", reference, "stopped"])]);
}

fn sets_timers(actor: &Told) {
    assert!(actor.ask(json!(["timer-set", "soon", 1, { "what": "tea" }])).is_u64());
    assert!(actor.ask(json!(["timer-at", "past", 1])).is_u64());
    let told = actor.until("timer", 2);
    assert!(told.contains(&json!(["timer", "soon", { "what": "tea" }])), "{told:?}");
    assert!(told.contains(&json!(["timer", "past", null])), "{told:?}");
    actor.ask(json!(["timer-every", "far", 3_600_000]));
    actor.ask(json!(["timer-cron", "new year", "0 0 1 1 *", "Europe/Berlin"]));
    let pending = actor.ask(json!(["timer-list"]));
    assert!(pending.as_array().is_some_and(|it| it.contains(&json!(["far", 1]))), "{pending}");
    assert_eq!(actor.ask(json!(["timer-cancel", "far"])), json!(true));
    assert_eq!(actor.ask(json!(["timer-cancel", "far"])), json!(false));
    assert!(why(&actor.ask(json!(["timer-cron", "never", "61 * * * *", "UTC"]))).contains("61"));
}

fn keeps_rows_and_files(actor: &Told) {
    for (key, value) in [("a/1", json!({ "name": "ada" })), ("a/2", json!([1, 2])), ("b/1", json!(null))] {
        assert_eq!(actor.ask(json!(["put", key, value])), Value::Null);
    }
    assert_eq!(actor.ask(json!(["get", "a/1"])), json!({ "name": "ada" }));
    assert_eq!(actor.ask(json!(["get", "none"])), Value::Null);
    assert_eq!(actor.ask(json!(["count"])), json!(3));
    assert_eq!(actor.ask(json!(["scan", "a/", 1])), json!({ "keys": ["a/1"], "cursor": "a/1" }));
    assert_eq!(actor.ask(json!(["scan", "a/", 9, "a/1"])), json!({ "keys": ["a/2"], "cursor": null }));
    assert_eq!(actor.ask(json!(["entries", "a/"])), json!([["a/1", { "name": "ada" }], ["a/2", [1, 2]]]));
    assert_eq!(actor.ask(json!(["delete", "b/1"])), json!(true));
    assert_eq!(actor.ask(json!(["delete", "b/1"])), json!(false));
    assert!(why(&actor.ask(json!(["get", "k".repeat(2000)]))).contains("table_key_bytes"));

    assert_eq!(actor.ask(json!(["mkdir", "notes"])), Value::Null);
    assert_eq!(actor.ask(json!(["write", "notes/one", "Grüße"])), Value::Null);
    assert_eq!(actor.ask(json!(["read", "notes/one"])), json!("Grüße"));
    assert_eq!(actor.ask(json!(["list", "notes"])), json!(["one"]));
    assert_eq!(actor.ask(json!(["exists", "notes/two"])), json!(false));
    assert_eq!(actor.ask(json!(["unlink", "notes/one"])), Value::Null);
    assert_eq!(actor.ask(json!(["rmdir", "notes"])), Value::Null);
    assert!(!why(&actor.ask(json!(["read", "../everything.toml"]))).is_empty());
}

fn fetches(actor: &Told) {
    let outside = Server::saying(
        "HTTP/1.1 418 Teapot\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"tea\":true}",
    );
    let options = json!({ "method": "POST", "headers": { "X-Kind": "green" }, "body": "leaves" });
    let got = actor.ask(json!(["fetch", outside.url("/pot"), options]));
    assert_eq!(got, json!([418, "application/json", { "tea": true }]));
    let asked = outside.saw();
    assert!(asked.starts_with("POST /pot HTTP/1.1\r\n") && asked.ends_with("leaves"), "{asked}");
    assert!(asked.to_lowercase().contains("x-kind: green\r\n"), "{asked}");
    let refused = actor.ask(json!(["fetch", "http://example.invalid/"]));
    assert!(!why(&refused).is_empty(), "{refused}");
}

fn answers_http(actor: &Told) {
    let mut http = Http::connect(actor.running.http("everything"));
    let answer = http.ask("GET", "/", None);
    assert!(answer.status == 303 && answer.head.contains("location: /hello/you"), "{}", answer.head);
    let answer = http.ask("GET", "/hello/J%C3%B6rg%20B?a=1&b=x+y%26z", None);
    assert_eq!(answer.json(), json!({ "name": "Jörg B", "query": { "a": "1", "b": "x y&z" }, "cookies": {} }));
    assert!(answer.head.contains("set-cookie: seen=yes; Path=/; HttpOnly; SameSite=Lax"), "{}", answer.head);
    http.send_raw(b"GET /hello/a HTTP/1.1\r\nHost: test\r\nCookie: a=1; b=2=3\r\n\r\n").expect("sent");
    assert_eq!(http.receive().expect("an answer").json()["cookies"], json!({ "a": "1", "b": "2=3" }));
    let big = "{\"n\":18446744073709551615}";
    let answer = http.ask("POST", "/echo", Some(big));
    assert_eq!((answer.status, answer.body.as_str()), (201, big), "no digit is lost");
    assert_eq!(http.ask("POST", "/echo", Some("{")).status, 400);
    let answer = http.ask("DELETE", "/echo", None);
    assert!(answer.status == 405 && answer.head.contains("allow: POST"), "{}", answer.head);
    assert_eq!(http.ask("GET", "/none", None).status, 404);
}

fn streams(actor: &Told) {
    let mut client = TcpStream::connect(actor.running.http("everything")).expect("a connection");
    client.set_read_timeout(Some(support::PATIENCE)).expect("a timeout");
    client.write_all(b"GET /events HTTP/1.1\r\nHost: test\r\nLast-Event-ID: 7\r\n\r\n").expect("sent");
    let mut reader = BufReader::new(client);
    let mut heard = String::new();
    let mut until = |wanted: &str| {
        while !heard.contains(wanted) {
            assert!(reader.read_line(&mut heard).expect("a line") > 0, "it is over: {heard}");
        }
        heard.clone()
    };
    let head = until("data: welcome");
    assert!(head.contains("content-type: text/event-stream") && head.contains("id: 7"), "{head}");
    let open = eventually("the stream is open", || Some(actor.ask(json!(["streams"]))).filter(|it| it != &json!([])));
    let stream = &open[0];
    assert_eq!(actor.ask(json!(["push-event", stream, "two\nlines", "news"])), Value::Null);
    assert!(until("data: lines").contains("event: news\ndata: two\n"));
    assert_eq!(actor.ask(json!(["push-stream", stream, ": a comment\n\n"])), Value::Null);
    until(": a comment");
    assert_eq!(actor.ask(json!(["end-stream", stream])), json!(true));
    reader.read_to_string(&mut heard).ok();
    let gone = actor.ask(json!(["push-stream", stream, "late"]));
    assert_eq!(gone["reason"], json!("gone"), "{gone}");

    let lost = {
        let mut client = TcpStream::connect(actor.running.http("everything")).expect("a connection");
        client.write_all(b"GET /events HTTP/1.1\r\nHost: test\r\n\r\n").expect("sent");
        let open = eventually("another is open", || Some(actor.ask(json!(["streams"]))).filter(|it| it != &json!([])));
        open[0].clone()
    };
    assert_eq!(actor.until("stream-closed", 1), [json!(["stream-closed", lost])]);
}

fn pushes(actor: &Told) {
    let mut client = Client::connect(actor.running.websocket("everything"));
    let id = actor.until("connect", 1)[0][1].clone();
    assert_eq!(client.ask("hello"), "heard hello");
    assert_eq!(actor.ask(json!(["connections"])), json!([id]));
    let missed = actor.ask(json!(["push", [id, 1], "to all"]));
    assert_eq!(missed, json!([{ "connection": 1, "reason": "gone" }]));
    assert_eq!(client.hear().into_text().expect("text").as_str(), "to all");
    assert!(!why(&actor.ask(json!(["close", id, 5]))).is_empty(), "no code that may be sent");
    assert_eq!(actor.ask(json!(["close", id, 4000])), json!(true));
    assert_eq!(client.hear_the_end().0, 4000);
    actor.until("close", 1);
}

#[test]
fn an_actor_in_typescript_calls_every_interface() {
    everything(TypeScript);
}

#[test]
fn an_actor_in_python_calls_every_interface() {
    everything(Python);
}

/// Questions are answered later, also those that came by HTTP.
fn answers_later(language: Language) {
    let stage = Stage::new();
    let Some(manifest) = staged(&stage, language, "desk") else { return };
    let running = stage.run(&[&manifest]);
    let ask = |message: Value| running.request("desk", &message);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| ask(json!("question")));
        let waiting = |count: usize| {
            eventually("they wait", || {
                (running.json(&["state", "desk"])["state"]["waiting"].as_array()?.len() == count).then_some(())
            });
        };
        waiting(1);
        assert_eq!(ask(json!({ "answer": "42" })), Ok(json!(1)));
        assert_eq!(first.join().expect("no panic"), Ok(json!("42")));
        let second = scope.spawn(|| ask(json!("question")));
        waiting(1);
        assert_eq!(ask(json!({ "refuse": "not today" })), Ok(json!(1)));
        assert!(second.join().expect("no panic").expect_err("refused").contains("not today"));
        let client = scope.spawn(|| Http::connect(running.http("desk")).ask("GET", "/", None));
        eventually("the client waits", || {
            (running.json(&["state", "desk"])["state"]["clients"] != json!([])).then_some(())
        });
        assert_eq!(ask(json!({ "answer": "by post" })), Ok(json!(1)));
        let answer = client.join().expect("no panic");
        assert_eq!((answer.status, answer.body.as_str()), (200, "by post"));
    });
    assert!(ask(json!({ "answer": 7 })).expect_err("refused").contains("expected a text, got 7"));
    let chain = running.export(&stage, "desk");
    running.shut_down();
    verifies_and_replays(&chain);
}

#[test]
fn an_actor_in_typescript_answers_later() {
    answers_later(TypeScript);
}

#[test]
fn an_actor_in_python_answers_later() {
    answers_later(Python);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn succeeds(command: &mut Command) {
    let done = command.output().expect("it runs");
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
}

#[test]
fn the_declarations_for_typescript_are_those_of_the_interfaces() {
    if Python.missing_tool().is_some() {
        return support::skipped("the declarations for TypeScript", "there is no python3");
    }
    succeeds(Command::new("python3").arg(root().join("scripts/wit-types.py")).arg("--check"));
}

/// The native tests of the libraries, with the loader and the host that an author's own tests have.
#[test]
fn the_library_for_typescript_passes_its_own_tests() {
    // The loader compiles TypeScript with esbuild, of the toolchain that a build installs.
    if TypeScript.built("bare.toml").is_none() {
        return;
    }
    let mut node = Command::new("node");
    node.current_dir(root().join("tests/languages/typescript"));
    node.args(["--no-warnings", "--import", "./.theater/sdk/ts/testing/register.mjs", "--test", "tests/"]);
    succeeds(&mut node);
}

#[test]
fn the_library_for_python_passes_its_own_tests() {
    if Python.missing_tool().is_some() {
        return support::skipped("the tests of the library for Python", "there is no python3");
    }
    let mut python = Command::new("python3");
    python.current_dir(root().join("tests/languages/python"));
    python.args(["-B", "-m", "unittest", "discover", "-s", "tests"]);
    python.env("PYTHONPATH", format!("{}:src", root().join("sdk/python").display()));
    succeeds(&mut python);
}
