//! `theater console` in a real browser: Debian's chromium, headless.

mod support;
#[path = "support/browser.rs"]
mod browser;
#[path = "support/population.rs"]
#[expect(dead_code, reason = "what sleeps is other tests' concern")]
mod population;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use browser::Browser;
use population::{Population, hatch};
use serde_json::{Value, json};
use support::{HTTP, Http, Management, Stage, THEATER, Theater, component, eventually, skipped};

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
    let named = browser.value(&format!("{LINES}.map((line) => line.querySelector('.text').textContent)"));
    assert_eq!(named, json!(["ledger", "alice (account)", "bob (account)", "carol (account)"]));
    pictured(&mut browser, "console-tree.png");

    // The history of the ledger is live, and an HTTP call is shown as one.
    browser.until(&format!("{LINES}[0].click() ?? document.querySelector('.tabs')"));
    browser.click(".tabs a[href$='/history']");
    browser.until("document.querySelectorAll('.events li').length > 10");
    transfer(&running, "alice", "bob", 250);
    browser.until("[...document.querySelectorAll('.events .call .what')].some((it) => /^POST \\/transfers → 201, \\d+ ms \\{.*250/.test(it.textContent))");
    let refused = transfer(&running, "bob", "alice", 99_999);
    assert!(refused["error"].is_string(), "{refused}");
    browser.until("[...document.querySelectorAll('.events li .what')].some((it) => /→ 409 .*more than the balance.*, \\d+ ms .*99999/.test(it.textContent))");
    browser.click(".events li:first-child summary");
    browser.until("document.querySelector('.events li:first-child .hash')?.textContent.match(/hash [0-9a-f]{40}/)");
    // The first event can be reached, and found.
    browser.run("const select = document.querySelector('select[aria-label=Kind]'); select.value = 'started'; select.dispatchEvent(new Event('change'));");
    browser.until("document.querySelectorAll('.events li').length === 1 && document.querySelector('.events li').dataset.sequence === '0'");

    // A search finds a call by what became of it, and shows that, although the answer is another event.
    browser.run("const select = document.querySelector('select[aria-label=Kind]'); select.value = 'call'; document.querySelector('input[aria-label=Text]').value = '409'; select.dispatchEvent(new Event('change'));");
    browser.until("document.querySelectorAll('.events li').length === 1 && /→ 409 .*99999/.test(document.querySelector('.events li.refused .what').textContent)");

    // A trace leads across three actors: the ledger and two accounts.
    let moved = |event: &Value| event["data"]["params"][0]["body"]["cents"] == 250;
    let sequence =
        running.events("ledger").iter().find(|event| moved(event)).expect("the transfer's call")["sequence"].clone();
    let ledger = running.id("ledger");
    browser.run(&format!("location.hash = '#/trace/{ledger}/{sequence}'"));
    browser.until("document.querySelectorAll('.waterfall li').length >= 3");
    pictured(&mut browser, "console-trace.png");

    // The state at an earlier event, and what an event changed.
    let account = running.id("ledger/alice");
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
    let bob = running.id("ledger/bob");
    browser.run(&format!("location.hash = '#/actor/{bob}'"));
    browser.until("document.querySelector('.failure pre')?.textContent.includes('the account was asked to crash')");
    pictured(&mut browser, "console-actor.png");

    // What is forgotten is not shown as running.
    running.say(&["stop", "ledger/carol"]);
    let carol = running.id("ledger/carol");
    browser.run(&format!("location.hash = '#/actor/{carol}'"));
    browser.until("document.querySelector('.status')?.textContent.includes('stopped')");
    running.say(&["forget", "ledger/carol"]);
    browser.until("document.querySelector('.status').textContent.includes('No actor with this id is listed')");
    assert_eq!(browser.value("document.querySelectorAll('#view button').length"), 0);

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

#[test]
fn what_an_actor_says_stays_text() {
    if !browser::is_there() {
        return skipped("hostile texts in a browser", "chromium and chromedriver are not installed");
    }
    const MARKUP: &str =
        "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>\u{1b}[2J\u{202e}";
    let stage = Stage::new();
    let name = "<img src=x onerror=alert(1)>";
    let manifest = stage.file(
        "forged.toml",
        format!("name = {name:?}\ncomponent_path = {:?}\nrestart = \"temporary\"\n", component("probe")),
    );
    let running = stage.run_with(&[&manifest], &["--socket", &socket(&stage)]).expect("it starts");
    let id = running.json(&["list"])[0]["id"].as_str().expect("an id").to_owned();
    running.request(&id, &json!({ "op": "echo", "value": MARKUP })).ok();
    let console = Console::start(&stage, &[]);
    let mut browser = Browser::open();
    browser.go(&console.url);
    browser.until(&format!("{LINES}.length === 1 && {LINES}[0].textContent.includes('<img src=x')"));
    for view in ["overview", "history", "travel"] {
        browser.run(&format!("location.hash = '#/actor/{id}/{view}'"));
        browser.until(&format!("document.querySelector('.tabs [aria-current]')?.href.endsWith('{view}') && document.querySelector('h1').textContent.includes('<img')"));
    }
    browser.run(&format!("location.hash = '#/actor/{id}/history'"));
    browser.until("document.querySelectorAll('.events li').length > 3");
    browser.run("document.querySelectorAll('.events summary').forEach((it) => it.click())");
    browser.until("[...document.querySelectorAll('.decoded pre')].length > 3");
    assert_eq!(browser.value("document.title"), "Theater console");
    assert_eq!(browser.value("document.querySelectorAll('img, #view script').length"), 0);
    let shown = browser.value("document.body.textContent");
    assert!(!shown.as_str().expect("text").contains(['\u{1b}', '\u{202e}']), "no text controls how others are shown");
    assert_eq!(browser.errors(), Vec::<String>::new(), "nothing was even tried");
}

#[test]
fn the_first_events_of_a_long_history_are_one_press_away() {
    if !browser::is_there() {
        return skipped("a long history in a browser", "chromium and chromedriver are not installed");
    }
    let bank = Bank::new();
    let running = bank.run();
    open_accounts(&running);
    (0..120).for_each(|_| drop(post(&running, "/accounts/bob/deposit", &json!({ "cents": 1 }))));
    let events = running.events("ledger").len();
    assert!(events > 420, "it has more than two pages: {events}");
    let console = Console::start(&bank.stage, &[]);
    let mut browser = Browser::open();
    browser.go(&console.url);
    browser.until(&format!("{LINES}.length === 3"));
    let ledger = running.id("ledger");
    browser.run(&format!("location.hash = '#/actor/{ledger}/history'"));
    let ends = "(() => { const found = [...document.querySelectorAll('.events li')]; return [found[0], found.at(-1)].map((it) => Number(it.dataset.sequence)).join(); })()";
    let press = |browser: &mut Browser, button: &str| {
        browser.run(&format!("[...document.querySelectorAll('#view button:not([hidden])')].find((it) => it.textContent === '{button}').click()"));
    };
    browser.until(&format!("{ends} === '{},{}'", events - 1, events - 200));
    press(&mut browser, "To the first event");
    browser.until(&format!("{ends} === '199,0'"));
    press(&mut browser, "Later events");
    browser.until(&format!("{ends} === '399,0'"));
    press(&mut browser, "To the newest events");
    browser.until(&format!("{ends} === '{},{}'", events - 1, events - 200));
    press(&mut browser, "Older events");
    browser.until(&format!("{ends} === '{},{}'", events - 1, events - 400));
}

#[test]
fn a_phone_and_a_keyboard_are_enough() {
    if !browser::is_there() {
        return skipped("the console on a phone", "chromium and chromedriver are not installed");
    }
    let bank = Bank::new();
    let running = bank.run();
    open_accounts(&running);
    let console = Console::start(&bank.stage, &[]);
    let mut browser = Browser::open();
    browser.go(&console.url);
    browser.until(&format!("{LINES}.length === 3"));
    // `/` goes to the search; what does not fit is not shown.
    browser.run("document.body.dispatchEvent(new KeyboardEvent('keydown', { key: '/', bubbles: true }))");
    browser.until("document.activeElement.type === 'search'");
    browser.write("#tree input", "bob");
    browser.until(&format!("{LINES}.map((line) => line.querySelector('.text').textContent).join() === 'ledger/bob'"));
    browser.run("const it = document.activeElement; it.value = ''; it.dispatchEvent(new Event('input'));");
    // The arrows move, left folds, Enter opens.
    browser.write(".lines", "\u{e015}");
    browser.until("document.querySelector('.line.selected .text').textContent === 'ledger'");
    browser.write(".lines", "\u{e012}");
    browser.until(&format!("{LINES}.length === 1"));
    browser.write(".lines", "\u{e014}\u{e015}\u{e007}");
    browser.until("document.querySelector('h1')?.textContent === 'ledger/alice'");
    browser.resize(390, 800);
    let ledger = running.id("ledger");
    for view in ["overview", "history", "travel"] {
        browser.run(&format!("location.hash = '#/actor/{ledger}/{view}'"));
        browser.until(&format!("document.querySelector('.tabs [aria-current]')?.href.endsWith('{view}')"));
        browser.until("document.querySelector('.events li, #state')");
        assert_eq!(browser.value("document.documentElement.scrollWidth <= innerWidth"), true, "{view} fits");
        assert_eq!(browser.value("document.getElementById('tree').offsetWidth"), 0, "one thing at a time");
    }
}

#[test]
fn only_the_page_itself_with_the_key_is_answered() {
    let bank = Bank::new();
    let _running = bank.run();
    let console = Console::start(&bank.stage, &[]);
    let host = format!("Host: {}", console.address());
    let key = format!("Authorization: Bearer {}", console.key());
    let json = "Content-Type: application/json".to_owned();
    let get = |path: &str, head: &[&str]| {
        console.status("GET", path, &head.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>(), "")
    };
    assert_eq!(get("/", &[&host]), 200, "the page itself is no secret");
    assert_eq!(get("/api/live", &[&host]), 401, "without the key");
    assert_eq!(get("/api/live", &[&host, "Authorization: Bearer wrong"]), 401);
    assert_eq!(get("/", &["Host: evil.example"]), 421, "a name that leads here (DNS rebinding)");
    assert_eq!(get("/api/events?actor=ledger", &[&host, &key]), 200);
    assert_eq!(get("/api/events?actor=ledger", &[&host, &key, "Origin: http://evil.example"]), 403, "another page");
    assert_eq!(get("/api/events?actor=ledger", &[&host, &key, "Sec-Fetch-Site: cross-site"]), 403);
    assert_eq!(get("/api/events?actor=nobody", &[&host, &key]), 409);
    assert_eq!(get("/api/events?actor=ledger&from=x", &[&host, &key]), 400);
    assert_eq!(get("/api/nothing", &[&host, &key]), 404);
    assert_eq!(get("/../Cargo.toml", &[&host]), 404);
    let post = |head: &[&String], body: &str| {
        console.status("POST", "/api/command", &head.iter().map(|line| (*line).clone()).collect::<Vec<_>>(), body)
    };
    assert_eq!(post(&[&host, &key, &json], "{\"GetDeadLetters\":{}}"), 200);
    assert_eq!(post(&[&host, &key], "{\"GetDeadLetters\":{}}"), 415, "a form of another page cannot send this type");
    assert_eq!(post(&[&host, &key, &json], "\"Shutdown\""), 403, "the page ends no runtime");
    assert_eq!(post(&[&host, &key, &json], "{\"StartActor\":{\"manifest\":\"/etc/passwd\"}}"), 403);
    assert_eq!(post(&[&host, &key, &json], "{"), 400);
}

#[test]
fn a_console_that_only_shows_has_no_actions_and_takes_none() {
    if !browser::is_there() {
        return skipped("the actions of the console", "chromium and chromedriver are not installed");
    }
    let bank = Bank::new();
    let running = bank.run();
    open_accounts(&running);
    let ledger = running.id("ledger");
    let (controls, shows) = (Console::start(&bank.stage, &[]), Console::start(&bank.stage, &["--read-only"]));
    let mut browser = Browser::open();
    browser.go(&shows.url);
    browser.until(&format!("{LINES}.length === 3"));
    browser.run(&format!("location.hash = '#/actor/{ledger}'"));
    browser.until("document.getElementById('state')?.textContent.includes('accounts')");
    assert_eq!(texts(&mut browser, "#view button"), Vec::<String>::new());
    let stop = json!({ "StopActor": { "id": ledger } }).to_string();
    let head = [
        format!("Host: {}", shows.address()),
        format!("Authorization: Bearer {}", shows.key()),
        "Content-Type: application/json".to_owned(),
    ];
    assert_eq!(shows.status("POST", "/api/command", &head, &stop), 403);
    assert_eq!(running.status("ledger"), "running");

    browser.go(&controls.url);
    browser.until(&format!("{LINES}.length === 3"));
    browser.run(&format!("location.hash = '#/actor/{ledger}'"));
    browser.until("[...document.querySelectorAll('#view button')].some((it) => it.textContent === 'Stop…')");
    // Nothing happens before a person has said yes.
    browser.run("[...document.querySelectorAll('#view button')].find((it) => it.textContent === 'Stop…').click()");
    browser.until("document.querySelector('dialog[open] h2').textContent === 'Stop ledger'");
    browser.run("document.querySelector('dialog button[type=button]').click()");
    assert_eq!(running.status("ledger"), "running");
    browser.run("[...document.querySelectorAll('#view button')].find((it) => it.textContent === 'Stop…').click()");
    browser.click("dialog[open] button.go");
    browser.until("document.querySelector('dialog[open] .answer').textContent === 'It has stopped.'");
    running.until("ledger", "stopped");
    browser.run("document.querySelector('dialog[open]').close()");

    // What a prune would drop is said before, and then it is dropped. First there is nothing from which a replay could begin.
    let press = |browser: &mut Browser, button: &str| {
        let found =
            format!("[...document.querySelectorAll('#view button')].find((it) => it.textContent === '{button}')");
        browser.until(&format!("{found} !== undefined"));
        browser.run(&format!("{found}.click()"));
    };
    let told = |browser: &mut Browser, pattern: &str| {
        browser.click("dialog[open] button.go");
        browser.until(&format!("/{pattern}/.test(document.querySelector('dialog[open] .answer').textContent)"));
    };
    let close = "document.querySelector('dialog[open]').close()";
    press(&mut browser, "Prune…");
    told(&mut browser, "no kept state lies before event \\d+");
    browser.run(close);
    press(&mut browser, "Restart…");
    told(&mut browser, "It is up again");
    browser.run(close);
    running.until("ledger", "running");
    let events = running.events("ledger").len();
    browser.until(&format!("document.body.textContent.includes('events{events}')"));
    press(&mut browser, "Prune…");
    told(&mut browser, "The data of \\d+ events, .*, would go");
    told(&mut browser, "The data of \\d+ events is dropped");
}

#[test]
fn several_actors_are_chosen_and_changed_after_one_question() {
    if !browser::is_there() {
        return skipped("actions on several actors", "chromium and chromedriver are not installed");
    }
    let bank = Bank::new();
    let running = bank.run();
    open_accounts(&running);
    let console = Console::start(&bank.stage, &[]);
    let mut browser = Browser::open();
    browser.go(&console.url);
    browser.until(&format!("{LINES}.length === 3"));
    let line =
        |name: &str| format!("{LINES}.find((line) => line.querySelector('.text').textContent.startsWith('{name}'))");
    for name in ["alice", "bob"] {
        let click = "dispatchEvent(new MouseEvent('click', { ctrlKey: true, bubbles: true }))";
        browser.run(&format!("{}.{click}", line(name)));
    }
    browser.until("document.querySelector('[role=toolbar]').textContent.startsWith('2 chosen')");
    let press = |browser: &mut Browser, button: &str| {
        let all = "[...document.querySelectorAll('[role=toolbar] button')]";
        let found = format!("{all}.find((it) => it.textContent === '{button}')");
        browser.until(&format!("{found} !== undefined"));
        browser.run(&format!("{found}.click()"));
    };
    let done = "document.querySelector('dialog[open] .answer').textContent === 'Done for 2 of 2.'";
    let close = "document.querySelector('dialog[open]').close()";
    let paused = |actor: &str| running.json(&["status", actor])["paused"] == true;
    press(&mut browser, "Pause…");
    assert_eq!(texts(&mut browser, "dialog[open] h2"), ["Pause 2 actors"]);
    assert_eq!(texts(&mut browser, "dialog[open] .chosen li"), ["ledger/alice running", "ledger/bob running"]);
    pictured(&mut browser, "console-several.png");
    assert!(!paused("ledger/alice"), "nothing happens before a person has said yes");
    browser.click("dialog[open] button.go");
    browser.until(done);
    browser.run(close);
    assert!(paused("ledger/alice") && paused("ledger/bob"));
    browser.until(&format!("{}.querySelector('.c-status').textContent === 'paused'", line("alice")));
    press(&mut browser, "Resume…");
    browser.click("dialog[open] button.go");
    browser.until(done);
    browser.run(close);
    assert!(!paused("ledger/alice") && !paused("ledger/bob"));
    press(&mut browser, "Choose none");
    browser.until("document.querySelector('[role=toolbar]').hidden");

    // The history between two moments: none of it is of tomorrow.
    let alice = running.id("ledger/alice");
    browser.run(&format!("location.hash = '#/actor/{alice}/history'"));
    browser.until("document.querySelectorAll('.events li').length > 2");
    let set = |browser: &mut Browser, label: &str, value: &str| {
        let script = format!("const it = document.querySelector('[aria-label={label}]'); it.value = {value};");
        browser.run(&format!("{script} it.dispatchEvent(new Event('change'));"));
    };
    set(&mut browser, "Time", "'between'");
    set(&mut browser, "From", "'2999-01-01T00:00:00'");
    browser.until("document.querySelectorAll('.events li').length === 0");
    set(&mut browser, "From", "'1999-01-01T00:00:00'");
    browser.until("document.querySelectorAll('.events li').length > 2");
    set(&mut browser, "To", "'1999-01-02T00:00:00'");
    browser.until("document.querySelectorAll('.events li').length === 0");
    assert_eq!(browser.errors(), Vec::<String>::new());
}

#[test]
fn all_tabs_of_a_browser_share_one_stream() {
    if !browser::is_there() {
        return skipped("tabs of a browser", "chromium and chromedriver are not installed");
    }
    let bank = Bank::new();
    let running = bank.run();
    let console = Console::start(&bank.stage, &[]);
    let mut browser = Browser::open();
    for _ in 0..4 {
        browser.go(&console.url);
        browser.until(&format!("{LINES}.length === 1"));
        browser.new_tab();
    }
    browser.go(&console.url);
    open_accounts(&running);
    browser.until(&format!("{LINES}.length === 3"));
    let streams = "return (await import('/live.js')).known.summary.browsers;";
    assert_eq!(browser.run_async(streams), 1);
    drop(browser);
    let mut another = Browser::open();
    another.go(&console.url);
    another.until(&format!("{LINES}.length === 3"));
    eventually("the stream of a browser that has gone ends", || (another.run_async(streams) == 1).then_some(()));
}

/// The CPU time of a process so far, in clock ticks.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("the fields").split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum()
}

/// Prints what 5,000 actors with about 2,000 events a second cost the runtime, without and with a browser that looks on, and how
/// the page does meanwhile: `make bench-console`.
#[test]
#[ignore = "a measurement"]
fn what_looking_on_costs() {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    const ACTORS: u64 = 5_000;
    const SPAN: Duration = Duration::from_secs(20);
    let population = Population::new("");
    let running = population.run(&["--socket", &socket(&population.stage)]);
    hatch(&running, 0..ACTORS);
    let ids: Vec<String> = running
        .json(&["list"])
        .as_array()
        .expect("a list")
        .iter()
        .filter(|actor| actor["name"] == "child")
        .map(|actor| actor["id"].as_str().expect("an id").to_owned())
        .collect();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = support::Over(&over);
        scope.spawn(|| {
            let mut management = Management::connect(running.management());
            let (begun, mut sent) = (Instant::now(), 0_u64);
            while !over.load(Ordering::Relaxed) {
                let id = &ids[usize::try_from(sent * 7919 % ACTORS).expect("small")];
                management.request(id, &json!({ "add": 1 })).expect("an answer");
                sent += 1;
                // A call and its return are two events.
                let due = begun + Duration::from_millis(sent);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        let events = || running.json(&["top"])["journal"]["events"].as_u64().expect("a number");
        let share = |what: &str| {
            let (before, counted, begun) = (ticks(running.pid()), events(), Instant::now());
            std::thread::sleep(SPAN);
            let seconds = begun.elapsed().as_secs_f64();
            let used = (ticks(running.pid()) - before) as f64 / seconds;
            let made = (events() - counted) as f64 / seconds;
            println!("{what}: {used:.1} % of a core, {made:.0} events a second");
        };
        std::thread::sleep(Duration::from_secs(3));
        share("nobody looks on");
        let console = Console::start(&population.stage, &[]);
        let mut browser = Browser::open();
        browser.go(&console.url);
        browser.until("document.querySelectorAll('#tree .lines .line:not([hidden])').length > 10");
        browser.run(
            "window.frames_ = []; let last; const frame = (now) => { if (last !== undefined) window.frames_.push(now - last); last = now; \
             requestAnimationFrame(frame); }; requestAnimationFrame(frame);",
        );
        share("a browser looks on");
        let frames = browser.value("window.frames_.sort((a, b) => a - b).map(Math.round)");
        let frames: Vec<u64> = serde_json::from_value(frames).expect("numbers");
        let at = |part: usize| frames[(frames.len() - 1) * part / 1000];
        println!(
            "frames: {}, the median {} ms, p99 {} ms, the longest {} ms",
            frames.len(),
            at(500),
            at(990),
            at(1000)
        );
        let before = ticks(console.process.id());
        std::thread::sleep(Duration::from_secs(5));
        println!("the console: {:.1} % of a core", (ticks(console.process.id()) - before) as f64 / 5.0);
    });
}
