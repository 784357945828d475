//! `theater console` in a real browser: Debian's chromium, headless.

mod support;
#[path = "support/browser.rs"]
mod browser;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use browser::Browser;
use serde_json::{Value, json};
use support::{HTTP, Http, Stage, THEATER, Theater, component, eventually, skipped};

/// A console; it is ended when this is dropped.
struct Console {
    process: Child,
    url: String,
}

impl Drop for Console {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

impl Console {
    fn start(stage: &Stage, more: &[&str]) -> Self {
        let server = format!("unix:{}", socket(stage));
        let mut process = Command::new(THEATER)
            .args(["console", "--json", "--listen", "127.0.0.1:0", "--server", &server])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .expect("theater");
        let mut line = String::new();
        let mut said = BufReader::new(process.stdout.take().expect("its output"));
        said.read_line(&mut line).expect("a line");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { process, url: said["url"].as_str().expect("an address").to_owned() }
    }

    fn address(&self) -> &str {
        self.url.strip_prefix("http://").and_then(|rest| rest.split('/').next()).expect("an address")
    }

    fn key(&self) -> &str {
        self.url.split_once("#key=").expect("a key").1
    }

    /// The status of an answer to a request with these lines of a head.
    fn status(&self, method: &str, path: &str, head: &[String], body: &str) -> u16 {
        let mut http = Http::connect(self.address().parse().expect("an address"));
        let head: String = head.iter().map(|line| format!("{line}\r\n")).collect();
        let length = body.len();
        let request =
            format!("{method} {path} HTTP/1.1\r\n{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        http.send_raw(request.as_bytes()).expect("sent");
        let head = http.receive_head();
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{head}"))
    }
}

fn socket(stage: &Stage) -> String {
    stage.path().join("theater.sock").display().to_string()
}

/// A bank whose management server is a socket: its address stays the same when the runtime is started again.
struct Bank {
    stage: Stage,
    manifests: Vec<std::path::PathBuf>,
}

impl Bank {
    fn new() -> Self {
        let stage = Stage::new();
        let ledger = format!(
            "{HTTP}[[handlers]]\ntype = \"supervisor\"\nconfig = {{ allow = [\"{}\"] }}\n",
            component("account").parent().expect("a directory").display()
        );
        let manifest = stage.manifest("ledger", "ledger", &ledger);
        let account = stage.manifest("account", "account", "restart = \"permanent\"\nrestart_backoff_ms = 0\n");
        assert!(account.exists(), "the ledger spawns its accounts from account.toml beside its manifest");
        Self { stage, manifests: vec![manifest] }
    }

    fn run(&self) -> Theater {
        let manifests: Vec<&Path> = self.manifests.iter().map(std::path::PathBuf::as_path).collect();
        self.stage.run_with(&manifests, &["--socket", &socket(&self.stage)]).expect("it starts")
    }
}

fn post(running: &Theater, path: &str, body: &Value) -> Value {
    let answer = Http::connect(running.http("ledger")).ask("POST", path, Some(&body.to_string()));
    answer.json()
}

fn transfer(running: &Theater, from: &str, to: &str, cents: u64) -> Value {
    post(running, "/transfers", &json!({ "from": from, "to": to, "cents": cents }))
}

fn open_accounts(running: &Theater) {
    for name in ["alice", "bob"] {
        post(running, "/accounts", &json!({ "name": name }));
        post(running, &format!("/accounts/{name}/deposit"), &json!({ "cents": 1000 }));
    }
}

/// The texts of all elements that a selector finds.
fn texts(browser: &mut Browser, selector: &str) -> Vec<String> {
    let found =
        browser.value(&format!("[...document.querySelectorAll({})].map((it) => it.textContent)", json!(selector)));
    serde_json::from_value(found).expect("texts")
}

const LINES: &str = "[...document.querySelectorAll('#tree .lines .line:not([hidden])')]";

fn pictured(browser: &mut Browser, name: &str) {
    if let Ok(directory) = std::env::var("THEATER_PICTURES") {
        browser.picture(&Path::new(&directory).join(name));
    }
}

#[test]
fn a_person_sees_what_happens_and_what_happened() {
    if !browser::is_there() {
        return skipped("the console in a browser", "chromium and chromedriver are not installed");
    }
    let bank = Bank::new();
    let running = bank.run();
    open_accounts(&running);
    let console = Console::start(&bank.stage, &[]);
    let mut browser = Browser::open();
    browser.go(&console.url);

    // The tree fills, and an actor that comes later appears.
    browser.until(&format!("{LINES}.length === 3"));
    browser.until("document.getElementById('connection').textContent === 'live'");
    assert_eq!(browser.value("location.hash"), "#/", "the key does not stay in the address");
    post(&running, "/accounts", &json!({ "name": "carol" }));
    browser.until(&format!("{LINES}.length === 4"));
    assert_eq!(browser.value(&format!("{LINES}.map((line) => line.ariaLevel)")), json!(["1", "2", "2", "2"]));
    pictured(&mut browser, "console-tree.png");

    // The history of the ledger is live, and an HTTP call is shown as one.
    browser.until(&format!("{LINES}[0].click() ?? document.querySelector('.tabs')"));
    browser.click(".tabs a[href$='/history']");
    browser.until("document.querySelectorAll('.events li').length > 10");
    transfer(&running, "alice", "bob", 250);
    browser.until("[...document.querySelectorAll('.events .call .what')].some((it) => /^POST \\/transfers \\{.*250.*\\} → 201, \\d+ ms$/.test(it.textContent))");
    let refused = transfer(&running, "bob", "alice", 99_999);
    assert!(refused["error"].is_string(), "{refused}");
    browser.until("[...document.querySelectorAll('.events .call .what')].some((it) => /99999.* → 409 .*more than the balance/.test(it.textContent))");
    browser.click(".events li:first-child summary");
    browser.until("document.querySelector('.events li:first-child .hash')?.textContent.match(/hash [0-9a-f]{40}/)");
    // The first event can be reached, and found.
    browser.run("const select = document.querySelector('select[aria-label=Kind]'); select.value = 'started'; select.dispatchEvent(new Event('change'));");
    browser.until("document.querySelectorAll('.events li').length === 1 && document.querySelector('.events li').dataset.sequence === '0'");

    // A trace leads across three actors: the ledger and two accounts.
    let moved = |event: &Value| event["data"]["params"][0]["body"]["cents"] == 250;
    let sequence =
        running.events("ledger").iter().find(|event| moved(event)).expect("the transfer's call")["sequence"].clone();
    let ledger = running.id("ledger");
    browser.run(&format!("location.hash = '#/trace/{ledger}/{sequence}'"));
    browser.until("document.querySelectorAll('.waterfall li').length >= 3");
    pictured(&mut browser, "console-trace.png");

    // The state at an earlier event, and what an event changed.
    let accounts = running.json(&["list"]);
    let account =
        accounts.as_array().expect("a list").iter().find(|actor| actor["name"] == "account").expect("an account");
    let account = account["id"].as_str().expect("an id").to_owned();
    browser.run(&format!("location.hash = '#/actor/{account}/travel'"));
    browser.until("JSON.parse(document.getElementById('state').textContent).balance === 750");
    let changes = running.events(&account);
    let deposit = changes.iter().find(|event| event["data"]["state"]["balance"] == 1000).expect("the deposit's return");
    browser.run(&format!(
        "const slider = document.querySelector('input[type=range]'); slider.value = {}; slider.dispatchEvent(new Event('input'));",
        deposit["sequence"]
    ));
    browser.until("JSON.parse(document.getElementById('state').textContent).balance === 1000");
    browser.until("document.querySelector('#changes tbody td')?.textContent === '/balance'");
    assert_eq!(texts(&mut browser, "#changes tbody td")[..3], ["/balance", "0", "1000"]);

    // An actor that failed says so by its own text.
    post(&running, "/accounts/bob/crash", &json!({}));
    browser.run(&format!("location.hash = '#/actor/{ledger}'"));
    let failed = running.json(&["list"]);
    assert!(failed.is_array());
    let bob = failed
        .as_array()
        .expect("a list")
        .iter()
        .rfind(|actor| actor["name"] == "account" && actor["incarnation"] == 2);
    let bob = bob.expect("bob")["id"].as_str().expect("an id").to_owned();
    browser.run(&format!("location.hash = '#/actor/{bob}'"));
    browser.until("document.querySelector('.failure pre')?.textContent.includes('the account was asked to crash')");
    pictured(&mut browser, "console-actor.png");

    // The runtime is killed and started again: the page goes on.
    running.kill();
    browser.until("document.getElementById('connection').textContent === 'reconnecting'");
    let running = bank.run();
    browser.until("document.getElementById('connection').textContent === 'live'");
    browser.run("location.hash = '#/journal'");
    browser.until("document.querySelectorAll('.charts svg').length === 8");
    browser.run("location.hash = '#/messages'");
    browser.until("document.body.textContent.includes('There is no dead letter.')");
    drop(running);
}
