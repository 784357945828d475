//! Tests of the demo bank as it is shipped, in Rust, TypeScript and Python: a ledger over HTTP with an actor for each account. No
//! money is lost, whatever fails.

mod support;
#[path = "support/languages.rs"]
mod projects;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use projects::{Language, Python, Rust, TypeScript};
use serde_json::{Value, json};
use support::{Http, Stage, Theater, component, data_of, eventually, verifies_and_replays};

/// Writes the bank's own manifests, with free ports and the paths of the built components, and returns that of the ledger; `None`
/// if a tool of the language is missing.
fn manifests(stage: &Stage, language: Language) -> Option<PathBuf> {
    let (shipped, dist) = if language == Rust {
        let dist = component("ledger").parent().expect("a directory").to_owned();
        (Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests"), dist)
    } else {
        projects::example(language, "bank", "account.toml")?;
        projects::example(language, "bank", "ledger.toml")?;
        (language.example("bank"), language.example("bank").join("dist"))
    };
    let dist = dist.display().to_string();
    let copy = |name: &str| {
        let text = std::fs::read_to_string(shipped.join(name)).expect("a manifest");
        let text = text.replace("../actors/dist", &dist).replace("\"dist/", &format!("\"{dist}/"));
        assert!(text.contains(&dist), "{name}");
        let text = text.replace("port = 8082", "port = 0");
        // Where they are shipped, the components lie below the manifests.
        let allowed = format!("type = \"supervisor\"\nconfig = {{ allow = [\"{dist}\"] }}");
        let text = if text.contains("allow") { text } else { text.replace("type = \"supervisor\"", &allowed) };
        stage.file(name, text)
    };
    copy("account.toml");
    Some(copy("ledger.toml"))
}

fn open_bank(stage: &Stage, language: Language) -> Option<Theater> {
    Some(stage.run(&[&manifests(stage, language)?]))
}

/// Each test, with the bank in each language.
macro_rules! in_every_language {
    ($($test:ident,)*) => {
        in_every_language!(in_rust, Rust: $($test,)*);
        in_every_language!(in_typescript, TypeScript: $($test,)*);
        in_every_language!(in_python, Python: $($test,)*);
    };
    ($module:ident, $language:ident: $($test:ident,)*) => {
        mod $module {
            $(#[test]
            fn $test() {
                super::$test(super::$language);
            })*
        }
    };
}

in_every_language! {
    accounts_are_opened_and_money_goes_in_out_and_from_one_to_another,
    what_is_not_possible_is_refused_with_a_status_and_a_reason,
    an_account_that_crashes_is_restarted_by_policy_and_the_ledger_says_so,
    a_transfer_to_an_account_that_is_down_leaves_the_money_where_it_is,
    money_that_a_message_has_put_aside_arrives_where_it_was_sent,
    a_restart_of_the_runtime_keeps_every_balance,
    killing_the_runtime_amid_transfers_conserves_all_money_and_every_acknowledged_transfer,
    crashes_and_restarts_of_everyone_amid_transfers_conserve_all_money,
}

/// A customer of the bank, over HTTP.
struct Customer(Http);

impl Customer {
    fn of(bank: &Theater) -> Self {
        Self(Http::connect(bank.http("ledger")))
    }

    fn post(&mut self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.0.ask("POST", path, Some(&body.to_string()));
        (answer.status, answer.json())
    }

    fn get(&mut self, path: &str) -> (u16, Value) {
        let answer = self.0.ask("GET", path, None);
        (answer.status, answer.json())
    }

    /// Opens an account with this amount in it.
    fn open(&mut self, name: &str, cents: u64) {
        assert_eq!(self.post("/accounts", &json!({ "name": name })).0, 201);
        if cents > 0 {
            let deposited = self.post(&format!("/accounts/{name}/deposit"), &json!({ "cents": cents }));
            assert_eq!(deposited, (200, json!({ "account": name, "balance": cents })));
        }
    }

    fn transfer(&mut self, from: &str, to: &str, cents: u64) -> (u16, Value) {
        self.post("/transfers", &json!({ "from": from, "to": to, "cents": cents }))
    }

    fn balance(&mut self, name: &str) -> u64 {
        let (status, answer) = self.get(&format!("/accounts/{name}"));
        assert_eq!(status, 200, "{answer}");
        answer["balance"].as_u64().expect("cents")
    }

    fn overview(&mut self) -> Value {
        let (status, overview) = self.get("/");
        assert_eq!(status, 200, "{overview}");
        overview
    }

    fn crash(&mut self, name: &str) {
        let (status, answer) = self.post(&format!("/accounts/{name}/crash"), &json!({}));
        assert_eq!(status, 200, "{answer}");
        assert!(answer["crashed"].as_str().expect("a reason").contains("failed: trap"), "{answer}");
    }
}

/// The ids of the accounts, in the order in which they were opened.
fn accounts(bank: &Theater) -> Vec<String> {
    let listed = bank.json(&["list"]);
    let accounts = listed.as_array().expect("actors").iter().filter(|actor| actor["name"] == "account");
    accounts.map(|actor| actor["id"].as_str().expect("an id").to_owned()).collect()
}

/// Checks that the chains of the ledger and of every account verify and replay to the same head.
fn everything_verifies_and_replays(stage: &Stage, bank: &Theater) {
    let mut actors = accounts(bank);
    actors.push(bank.id("ledger"));
    let chains: Vec<PathBuf> = actors.iter().map(|actor| bank.export(stage, actor)).collect();
    chains.iter().for_each(|chain| _ = verifies_and_replays(chain));
}

fn accounts_are_opened_and_money_goes_in_out_and_from_one_to_another(language: Language) {
    let stage = Stage::new();
    let Some(bank) = open_bank(&stage, language) else { return };
    let mut customer = Customer::of(&bank);
    customer.open("alice", 10_000);
    customer.open("bob", 0);
    assert_eq!(accounts(&bank), ["ledger/alice", "ledger/bob"].map(|path| bank.id(path)), "an actor for each");
    let tree = bank.say(&["tree"]);
    assert!(tree.contains("alice (account)") && tree.contains("bob (account)"), "{tree}");

    let transferred = json!({ "from": "alice", "number": 1, "to": "bob", "cents": 2_500 });
    assert_eq!(customer.transfer("alice", "bob", 2_500), (201, transferred));
    assert_eq!((customer.balance("alice"), customer.balance("bob")), (7_500, 2_500));
    let withdrawn = customer.post("/accounts/bob/withdraw", &json!({ "cents": 500 }));
    assert_eq!(withdrawn, (200, json!({ "account": "bob", "balance": 2_000 })));

    let (_, statement) = customer.get("/accounts/bob/statement");
    let received = json!({ "movement": "received", "number": 1, "from": "alice", "cents": 2_500, "balance": 2_500 });
    let withdrawal = json!({ "movement": "withdrawal", "cents": 500, "balance": 2_000 });
    assert_eq!(statement["entries"], json!([received, withdrawal]));
    let accounts = json!({ "alice": { "balance": 7_500, "restarts": 0 }, "bob": { "balance": 2_000, "restarts": 0 } });
    let overview = json!({ "accounts": accounts, "total": 9_500, "unfinished": [], "notices": [] });
    assert_eq!(customer.overview(), overview);
    everything_verifies_and_replays(&stage, &bank);
}

fn what_is_not_possible_is_refused_with_a_status_and_a_reason(language: Language) {
    let stage = Stage::new();
    let Some(bank) = open_bank(&stage, language) else { return };
    let mut customer = Customer::of(&bank);
    customer.open("alice", 100);
    customer.open("rich", u64::MAX);
    let overdraft = json!({ "error": "101 cents are more than the balance of 100" });
    assert_eq!(customer.transfer("alice", "rich", 101), (409, overdraft));
    assert_eq!(customer.transfer("alice", "rich", 1).0, 409, "it has no room for one cent more");
    assert_eq!(customer.transfer("alice", "nobody", 1), (404, json!({ "error": "there is no account \"nobody\"" })));
    assert_eq!(customer.transfer("alice", "alice", 1).0, 400);
    assert_eq!(customer.post("/accounts", &json!({ "name": "alice" })).0, 409);
    assert_eq!(customer.post("/accounts", &json!({ "name": "a/b" })).0, 400);
    assert_eq!(customer.post("/accounts/alice/deposit", &json!({ "cents": 1.5 })).0, 400);
    assert_eq!(customer.post("/accounts/nobody/crash", &json!({})).0, 404);
    assert_eq!(customer.get("/accounts/nobody").0, 404);
    let wrong = customer.0.ask("PUT", "/transfers", None);
    assert_eq!(wrong.status, 405);
    assert!(wrong.head.to_lowercase().contains("allow: post\r\n"), "{}", wrong.head);
    assert_eq!((customer.balance("alice"), customer.balance("rich")), (100, u64::MAX));
}

fn an_account_that_crashes_is_restarted_by_policy_and_the_ledger_says_so(language: Language) {
    let stage = Stage::new();
    let Some(bank) = open_bank(&stage, language) else { return };
    let mut customer = Customer::of(&bank);
    customer.open("alice", 100);
    customer.open("bob", 0);
    customer.crash("alice");
    // The request waits for the restart, like the first request of a transfer.
    assert_eq!(customer.transfer("alice", "bob", 30).0, 201);
    let overview = eventually("the ledger tells of the restart", || {
        let overview = customer.overview();
        (overview["notices"].as_array().is_some_and(|notices| notices.len() == 2)).then_some(overview)
    });
    let notices = overview["notices"].as_array().expect("notices");
    assert_eq!((&notices[0]["account"], &notices[0]["event"]), (&json!("alice"), &json!("failed")));
    assert!(notices[0]["why"].as_str().expect("a reason").starts_with("trap"), "{overview}");
    assert_eq!(notices[1], json!({ "account": "alice", "event": "restarted" }));
    assert_eq!(overview["accounts"]["alice"], json!({ "balance": 70, "restarts": 1 }));
    let log = stage.log();
    assert!(log.contains("account alice: failed: trap") && log.contains("account alice: restarted"), "{log}");

    assert_eq!(bank.json(&["status", "ledger/alice"])["incarnation"], 2);
    everything_verifies_and_replays(&stage, &bank);
}

fn a_transfer_to_an_account_that_is_down_leaves_the_money_where_it_is(language: Language) {
    let stage = Stage::new();
    let Some(bank) = open_bank(&stage, language) else { return };
    let mut customer = Customer::of(&bank);
    customer.open("alice", 100);
    customer.open("bob", 5);
    bank.say(&["stop", "ledger/bob"]);
    let (status, answer) = customer.transfer("alice", "bob", 30);
    assert_eq!(status, 503, "{answer}");
    let overview = customer.overview();
    assert_eq!((&overview["total"], &overview["unfinished"]), (&json!(105), &json!([])));
    assert_eq!(overview["accounts"]["bob"]["balance"], 5, "as its books say: {overview}");
    assert!(overview["accounts"]["bob"]["unavailable"].is_string(), "{overview}");
    bank.say(&["restart", "ledger/bob"]);
    assert_eq!(customer.transfer("alice", "bob", 30).0, 201);
    assert_eq!((customer.balance("alice"), customer.balance("bob")), (70, 35));
}

fn money_that_a_message_has_put_aside_arrives_where_it_was_sent(language: Language) {
    let stage = Stage::new();
    let Some(bank) = open_bank(&stage, language) else { return };
    let mut customer = Customer::of(&bank);
    customer.open("alice", 100);
    customer.open("bob", 0);
    // The same situation as after a ledger that was interrupted after the first step of a transfer.
    let send = json!({ "send": { "number": 1, "to": "bob", "cents": 30 } });
    let status = bank.request("ledger/alice", &send).expect("it does");
    assert_eq!((&status["balance"], &status["open"]["cents"]), (&json!(70), &json!(30)));
    let overview = customer.overview();
    assert_eq!((&overview["total"], &overview["unfinished"]), (&json!(100), &json!([])));
    assert_eq!((customer.balance("alice"), customer.balance("bob")), (70, 30));
}

fn a_restart_of_the_runtime_keeps_every_balance(language: Language) {
    let stage = Stage::new();
    let Some(manifest) = manifests(&stage, language) else { return };
    let bank = stage.run(&[&manifest]);
    let mut customer = Customer::of(&bank);
    customer.open("alice", 10_000);
    customer.open("bob", 0);
    assert_eq!(customer.transfer("alice", "bob", 2_500).0, 201);
    let before = customer.overview();
    bank.shut_down();

    let bank = stage.run(&[&manifest]);
    let mut customer = Customer::of(&bank);
    assert_eq!(customer.overview(), before);
    assert_eq!(customer.transfer("bob", "alice", 500).0, 201);
    customer.crash("bob");
    assert_eq!((customer.balance("alice"), customer.balance("bob")), (8_000, 2_000));
    everything_verifies_and_replays(&stage, &bank);
}

/// Pairs of accounts that send money back and forth while the runtime is killed.
const PAIRS: [(&str, &str); 3] = [("a1", "a2"), ("b1", "b2"), ("c1", "c2")];
const EACH: u64 = 1_000;

/// Transfers single cents until the runtime is gone; returns how many were acknowledged.
fn transfer_until_the_end(address: SocketAddr, (from, to): (&str, &str), all: &AtomicU64) -> u64 {
    let mut http = Http::connect(address);
    let order = json!({ "from": from, "to": to, "cents": 1 }).to_string();
    let request = format!("POST /transfers HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n{order}", order.len());
    let mut acknowledged = 0;
    while http.send_raw(request.as_bytes()).is_ok() {
        let Some(answer) = http.receive() else { break };
        assert_eq!(answer.status, 201, "{}", answer.body);
        acknowledged += 1;
        all.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}

/// Kills the runtime while every connection makes transfers; returns how many were acknowledged for each pair.
fn kill_amid_transfers(bank: Theater, after: u64) -> Vec<u64> {
    let address = bank.http("ledger");
    let all = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let work = PAIRS.map(|pair| {
            scope.spawn({
                let all = &all;
                move || transfer_until_the_end(address, pair, all)
            })
        });
        eventually("transfers are acknowledged", || (all.load(Ordering::Relaxed) >= after).then_some(()));
        bank.kill();
        work.into_iter().map(|work| work.join().expect("no panic")).collect()
    })
}

fn killing_the_runtime_amid_transfers_conserves_all_money_and_every_acknowledged_transfer(language: Language) {
    let stage = Stage::new();
    let Some(manifest) = manifests(&stage, language) else { return };
    let mut bank = stage.run(&[&manifest]);
    let mut customer = Customer::of(&bank);
    for (from, to) in PAIRS {
        customer.open(from, EACH);
        customer.open(to, 0);
    }
    drop(customer);
    let mut acknowledged = [0; PAIRS.len()];
    let mut half_done = 0;
    for round in 1..=6 {
        let now = kill_amid_transfers(bank, 3 * round);
        bank = stage.run(&[&manifest]);
        half_done += accounts(&bank).iter().filter(|id| !bank.json(&["state", id])["state"]["open"].is_null()).count();
        let mut customer = Customer::of(&bank);
        let overview = customer.overview();
        let total = EACH * PAIRS.len() as u64;
        assert_eq!((&overview["total"], &overview["unfinished"]), (&json!(total), &json!([])), "{overview}");
        for (at, (from, to)) in PAIRS.into_iter().enumerate() {
            acknowledged[at] += now[at];
            let arrived = customer.balance(to);
            assert_eq!(customer.balance(from) + arrived, EACH, "{overview}");
            let unanswered = arrived.checked_sub(acknowledged[at]).expect("what was acknowledged has happened");
            assert!(
                unanswered <= 1,
                "a transfer without an answer happened once or not at all, not {unanswered} times"
            );
            acknowledged[at] = arrived;
        }
    }
    let interrupted = data_of(&bank.events("ledger"), "failed").len();
    println!("6 kills interrupted the ledger in {interrupted} transitions, and left {half_done} transfers half done");
    everything_verifies_and_replays(&stage, &bank);
}

/// Sets the flag when it is dropped.
struct AtTheEnd<'a>(&'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn crashes_and_restarts_of_everyone_amid_transfers_conserve_all_money(language: Language) {
    let stage = Stage::new();
    let Some(bank) = open_bank(&stage, language) else { return };
    let mut customer = Customer::of(&bank);
    for (from, to) in PAIRS {
        customer.open(from, EACH);
        customer.open(to, EACH);
    }
    let (address, over) = (bank.http("ledger"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // Ends the transfers even if something below panics. Otherwise they, and this test, would run for ever.
        let _over = AtTheEnd(&over);
        for (from, to) in PAIRS {
            let over = &over;
            scope.spawn(move || {
                let mut customer = Customer(Http::connect(address));
                while !over.load(Ordering::Relaxed) {
                    customer.transfer(from, to, 7);
                    customer.transfer(to, from, 5);
                }
            });
        }
        for (from, to) in PAIRS {
            let crashed = bank.refused(&["send", "ledger/a1", "\"crash\""]);
            assert!(crashed.contains("failed: trap"), "{crashed}");
            customer.post(&format!("/accounts/{from}/crash"), &json!({}));
            bank.say(&["restart", "ledger"]);
            bank.say(&["restart", "ledger/a2"]);
            customer.post(&format!("/accounts/{to}/crash"), &json!({}));
            assert_eq!(customer.overview()["total"], EACH * 6);
        }
    });
    let overview = customer.overview();
    assert_eq!((&overview["total"], &overview["unfinished"]), (&json!(EACH * 6), &json!([])), "{overview}");
    everything_verifies_and_replays(&stage, &bank);
}

/// Everything that an account can be asked, with what it refuses.
fn questions() -> Vec<Value> {
    let send = |number: u64, cents: u64| json!({ "send": { "number": number, "to": "bob", "cents": cents } });
    let receive = |number: u64| json!({ "receive": { "number": number, "from": "carol", "cents": 7 } });
    vec![
        json!("balance"),
        json!({ "deposit": { "cents": 1 } }),
        json!({ "open": { "owner": "not a name" } }),
        json!({ "open": { "owner": "alice" } }),
        json!({ "open": { "owner": "bob" } }),
        json!({ "deposit": { "cents": u64::MAX } }),
        json!({ "deposit": { "cents": 1 } }),
        json!({ "withdraw": { "cents": 0 } }),
        json!({ "withdraw": { "cents": 100 } }),
        send(2, 5),
        send(1, 5),
        send(1, 5),
        send(2, 5),
        receive(1),
        receive(1),
        json!({ "take-back": { "number": 1 } }),
        json!({ "settle": { "number": 1 } }),
        json!({ "settle": { "number": 9 } }),
        json!("statement"),
        json!("balance"),
    ]
}

/// What an account in this language answers to all questions, and the states that it has gone through.
fn outcomes(language: Language) -> Option<(Vec<Result<Value, String>>, Vec<Value>)> {
    let stage = Stage::new();
    manifests(&stage, language)?;
    let running = stage.run(&[&stage.path().join("account.toml")]);
    let answers = questions().iter().map(|question| running.request("account", question)).collect();
    let states = running.events("account").into_iter().map(|event| event["data"]["state"].clone());
    let states = states.filter(|state| !state.is_null()).collect();
    let chain = running.export(&stage, "account");
    running.shut_down();
    verifies_and_replays(&chain);
    Some((answers, states))
}

#[test]
fn an_account_gives_the_same_answers_and_has_the_same_states_in_each_language() {
    let expected = outcomes(Rust).expect("Rust is there");
    assert!(expected.0.iter().filter(|answer| answer.is_err()).count() > 5, "much is refused: {expected:?}");
    for language in [TypeScript, Python] {
        let Some(got) = outcomes(language) else { continue };
        for (at, question) in questions().iter().enumerate() {
            assert_eq!(got.0[at], expected.0[at], "{language:?}, asked {question}");
        }
        assert_eq!(got.1, expected.1, "the states in {language:?}");
    }
}

/// Gives what was recorded in Rust to each build: it must answer the same, come to the same states, and send the same. Returns the
/// fewest transitions that were compared.
fn fewest_compared(chain: &Path, actor: &str) -> u64 {
    let compared = |language: Language| {
        let built = || projects::example(language, "bank", &format!("{actor}.toml"));
        let component = if language == Rust { component(actor) } else { built()? };
        let component = component.to_str().expect("UTF-8");
        let compared = support::replay(chain, &["--component", component, "--compare", "--outcomes"]);
        let compared = compared.unwrap_or_else(|differences| panic!("{language:?}: {differences}"));
        Some(compared["transitions"].as_u64().expect("a number"))
    };
    [Rust, TypeScript, Python].into_iter().filter_map(compared).min().expect("Rust is there")
}

#[test]
fn the_recorded_chain_of_a_ledger_gives_the_same_outcomes_in_each_language() {
    let stage = Stage::new();
    let bank = open_bank(&stage, Rust).expect("Rust is there");
    let mut customer = Customer::of(&bank);
    customer.open("alice", 100);
    customer.open("bob", 0);
    assert_eq!(customer.post("/accounts", &json!({ "name": "bob" })).0, 409);
    assert_eq!(customer.post("/accounts", &json!({ "name": ".." })).0, 400);
    assert_eq!(customer.transfer("alice", "bob", 30).0, 201);
    // Names that objects of JavaScript have by themselves, or keep in an order of their own.
    for name in ["9", "10", "constructor", "__proto__"] {
        assert_eq!(customer.get(&format!("/accounts/{name}")).0, 404, "{name}");
        customer.open(name, 0);
        assert_eq!(customer.transfer("alice", name, 1).0, 201, "{name}");
        assert_eq!(customer.transfer(name, "bob", 1).0, 201, "{name}");
    }
    assert_eq!(customer.overview()["total"], 100);
    customer.crash("bob");
    eventually("the ledger tells of the restart", || {
        (customer.overview()["accounts"]["bob"]["restarts"] == 1).then_some(())
    });
    let chain = bank.export(&stage, "ledger");
    bank.shut_down();
    assert!(fewest_compared(&chain, "ledger") > 9);
}

#[test]
fn the_recorded_chain_of_an_account_gives_the_same_outcomes_in_each_language() {
    let stage = Stage::new();
    manifests(&stage, Rust);
    let running = stage.run(&[&stage.path().join("account.toml")]);
    for question in questions() {
        // A refusal is an outcome, too.
        let _ = running.request("account", &question);
    }
    let chain = running.export(&stage, "account");
    running.shut_down();
    assert!(fewest_compared(&chain, "account") >= questions().len() as u64);
}
