//! Tests of requests that may be repeated: with an `Idempotency-Key` over HTTP, and with an id of a message over management.

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use support::{
    Http, HttpAnswer, Stage, Theater, data_of, eventually, read_log_by_document, theater, verifies_and_replays,
    verify_by_document,
};

const KEYED: &str = "[[handlers]]\ntype = \"http-server\"\nconfig = { port = 0, idempotency = true }\n";

/// A runtime with one actor `shop` that heeds keys.
struct Shop {
    stage: Stage,
    manifest: PathBuf,
    running: Theater,
}

impl Shop {
    fn new(more: &str) -> Self {
        let stage = Stage::new();
        let manifest = stage.manifest("shop", "probe", &format!("{more}\n{KEYED}"));
        let running = stage.run(&[&manifest]);
        Self { stage, manifest, running }
    }

    fn killed(self) -> Self {
        let Self { stage, manifest, running } = self;
        running.kill();
        let running = stage.run(&[&manifest]);
        Self { stage, manifest, running }
    }

    fn post(&self, key: &str, command: &Value) -> HttpAnswer {
        post(self.running.http("shop"), key, command).expect("an answer")
    }

    fn count(&self) -> u64 {
        self.running.json(&["state", "shop"])["state"]["count"].as_u64().unwrap_or(0)
    }
}

fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Option<HttpAnswer> {
    let mut client = Http::connect(address);
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    client.send_raw(request.as_bytes()).ok()?;
    client.receive()
}

fn post(address: SocketAddr, key: &str, command: &Value) -> Option<HttpAnswer> {
    ask(address, "POST", "/op", &format!("Idempotency-Key: {key}\r\n"), &command.to_string())
}

fn is_replayed(answer: &HttpAnswer) -> bool {
    answer.head.lines().any(|line| line.eq_ignore_ascii_case("idempotency-replayed: true"))
}

#[test]
fn a_repeated_request_gets_the_recorded_answer_and_the_actor_is_called_once() {
    let shop = Shop::new("");
    let first = shop.post("order-17", &json!("count"));
    assert_eq!((first.status, first.json(), is_replayed(&first)), (200, json!(1), false));
    for key in ["order-17", "\"order-17\""] {
        let again = shop.post(key, &json!("count"));
        assert_eq!((again.status, again.json(), is_replayed(&again)), (200, json!(1), true));
        assert_eq!(
            again.head.lines().find(|line| line.starts_with("content-type")),
            first.head.lines().find(|line| line.starts_with("content-type"))
        );
    }
    let other = shop.post("order-18", &json!("count"));
    assert_eq!((other.status, other.json(), is_replayed(&other)), (200, json!(2), false));
    let shop = shop.killed();
    let again = shop.post("order-17", &json!("count"));
    assert_eq!((again.json(), is_replayed(&again), shop.count()), (json!(1), true, 2));
    let events = shop.running.events("shop");
    let calls = data_of(&events, "call ntwk:theater/http-server.handle-request");
    let keys: Vec<&Value> = calls.iter().map(|call| &call["key"]).collect();
    assert_eq!(keys, [&json!("order-17"), &json!("order-18")], "the calls say it");
    let chain = shop.running.export(&shop.stage, "shop");
    verify_by_document(&chain);
    verifies_and_replays(&chain);
    shop.running.shut_down();
    read_log_by_document(&shop.stage.data_dir());
}

#[test]
fn a_key_stands_for_one_request_and_what_is_no_key_is_refused() {
    let shop = Shop::new("");
    let address = shop.running.http("shop");
    assert_eq!(shop.post("k", &json!("count")).status, 200);
    let other = shop.post("k", &json!("get"));
    assert_eq!(other.status, 422, "another body: {}", other.body);
    let key = "Idempotency-Key: k\r\n";
    assert_eq!(ask(address, "POST", "/op?x", key, "\"count\"").expect("an answer").status, 422, "another target");
    assert_eq!(ask(address, "PUT", "/op", key, "\"count\"").expect("an answer").status, 422, "another method");
    assert_eq!(ask(address, "GET", "/echo", key, "").expect("an answer").status, 200, "of a GET it means nothing");
    let long = "k".repeat(256);
    for wrong in ["", "two words", &long, "k\r\nIdempotency-Key: k"] {
        assert_eq!(shop.post(wrong, &json!("count")).status, 400, "{wrong}");
    }
    assert_eq!(shop.count(), 1);
}

#[test]
fn an_actor_that_does_not_ask_for_it_gets_each_request() {
    let stage = Stage::new();
    let manifest = stage.http_manifest("plain", "probe", "");
    let running = stage.run(&[&manifest]);
    for expected in [1, 2] {
        let answer = post(running.http("plain"), "k", &json!("count")).expect("an answer");
        assert_eq!((answer.json(), is_replayed(&answer)), (json!(expected), false));
    }
    let calls = running.events("plain");
    let calls = data_of(&calls, "call ntwk:theater/http-server.handle-request");
    assert!(calls.iter().all(|call| call.get("key").is_none()), "{calls:?}");
}

#[test]
fn a_request_that_is_at_work_is_not_made_a_second_time() {
    let shop = Shop::new("");
    let address = shop.running.http("shop");
    let mut seen = BTreeSet::new();
    eventually("one of two is refused", || {
        let key = format!("slow-{}", seen.len());
        let command = json!({ "op": "many", "ops": ["count", { "op": "work", "rounds": 100_000_000 }] });
        let before = shop.count();
        let both = [0, 1].map(|_| {
            let (key, command) = (key.clone(), command.clone());
            std::thread::spawn(move || post(address, &key, &command).expect("an answer"))
        });
        let both = both.map(|one| one.join().expect("an answer"));
        assert_eq!(shop.count(), before + 1, "one call");
        seen.insert(key);
        for answer in &both {
            assert!([200, 409].contains(&answer.status), "{}", answer.body);
            assert_eq!(answer.status == 409, answer.head.to_lowercase().contains("retry-after: 1"));
        }
        both.iter().any(|answer| answer.status == 409).then_some(())
    });
}

#[test]
fn what_was_no_answer_is_asked_again_and_a_refusal_is_an_answer() {
    let shop = Shop::new("restart = \"permanent\"\nrestart_backoff_ms = 1\nmax_restarts = 9\n");
    for _ in 0..2 {
        let failed = shop.post("trap", &json!("trap"));
        assert_eq!((failed.status, is_replayed(&failed)), (500, false));
        shop.running.until("shop", "running");
    }
    let types = shop.running.event_types("shop");
    assert_eq!(types.iter().filter(|it| *it == "failed").count(), 2, "it was called again");
    let refuse = json!({ "op": "refuse", "message": "no" });
    for is_again in [false, true] {
        let refused = shop.post("refuse", &refuse);
        assert_eq!((refused.status, is_replayed(&refused)), (500, is_again), "{}", refused.body);
    }
    let types = shop.running.event_types("shop");
    assert_eq!(types.iter().filter(|it| it.starts_with("refused")).count(), 1);
}

#[test]
fn a_key_whose_answer_was_dropped_is_refused_and_the_actor_is_not_called_again() {
    let shop = Shop::new("");
    assert_eq!(shop.post("k", &json!("count")).status, 200);
    let call =
        shop.running.event_types("shop").iter().position(|it| it.starts_with("call ntwk:theater/http")).expect("one");
    for event in [call + 1, call] {
        shop.running.say(&["redact", "shop", "--event", &event.to_string()]);
        let gone = shop.post("k", &json!("count"));
        assert_eq!((gone.status, shop.count()), (410, 1), "{}", gone.body);
    }
    let shop = shop.killed();
    assert_eq!((shop.post("k", &json!("count")).status, shop.count()), (410, 1));
    std::fs::remove_file(shop.stage.data_dir().join("index.db")).expect("removed");
    let shop = shop.killed();
    assert_eq!((shop.post("k", &json!("count")).status, shop.count()), (410, 1), "an index that was made anew");
}

#[test]
fn early_reads_are_no_exception() {
    let shop = Shop::new("reads = \"early\"\n");
    shop.post("a", &json!("count"));
    let first = shop.post("read", &json!("get"));
    shop.post("b", &json!("count"));
    let again = shop.post("read", &json!("get"));
    assert_eq!((again.json(), is_replayed(&again)), (first.json(), true), "the answer of then");
    let shop = shop.killed();
    assert_eq!(shop.post("read", &json!("get")).json(), first.json());
}

#[test]
fn a_message_with_an_id_is_worked_on_once_and_answered_as_before() {
    let stage = Stage::new();
    let manifest = stage.manifest("counter", "probe", "");
    let running = stage.run(&[&manifest]);
    let request = |running: &Theater, id: &str, message: &str| {
        running.json(&["request", "counter", message, "--message-id", id])["answer"].clone()
    };
    assert_eq!(request(&running, "m-1", "\"count\""), json!(1));
    assert_eq!(request(&running, "m-1", "\"count\""), json!(1));
    assert_eq!(request(&running, "m-2", "\"count\""), json!(2));
    for _ in 0..2 {
        running.say(&["send", "counter", "\"count\"", "--message-id", "m-3"]);
    }
    let refused = running.refused(&["request", "counter", "\"get\"", "--message-id", "m-1"]);
    assert!(refused.contains("this id was given to another message"), "{refused}");
    let refused = running.refused(&["send", "counter", "\"count\"", "--message-id", "m-1"]);
    assert!(refused.contains("this id was given to another message"), "{refused}");
    let refused = running.refused(&["request", "counter", "\"get\"", "--message-id", "two words"]);
    assert!(refused.contains("visible ASCII"), "{refused}");
    running.kill();
    let running = stage.run(&[&manifest]);
    assert_eq!(request(&running, "m-2", "\"count\""), json!(2));
    assert_eq!(running.json(&["state", "counter"])["state"]["count"], 3);
    verifies_and_replays(&running.export(&stage, "counter"));
}

/// Kills a runtime again and again while clients repeat each of their requests until it is answered.
#[test]
fn across_kills_each_key_is_counted_once() {
    const CLIENTS: usize = 4;
    const KILLS: usize = 4;
    let mut shop = Shop::new("reuse = 1\n");
    let address = Arc::new(Mutex::new(shop.running.http("shop")));
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (address, is_over) = (Arc::clone(&address), Arc::clone(&is_over));
            std::thread::spawn(move || {
                let mut answers = Vec::new();
                while !is_over.load(Ordering::SeqCst) {
                    let key = format!("{client}-{}", answers.len());
                    answers.push(until_answered(&address, &key));
                }
                answers
            })
        })
        .collect();
    for kill in 1..=KILLS {
        let before = shop.count();
        eventually("more is counted", || (shop.count() >= before + 20).then_some(()));
        let Shop { stage, manifest, running } = shop;
        running.kill();
        let running = stage.run(&[&manifest]);
        *address.lock().expect("not poisoned") = running.http("shop");
        shop = Shop { stage, manifest, running };
        assert!(kill <= KILLS);
    }
    is_over.store(true, Ordering::SeqCst);
    let answers: Vec<u64> = clients.into_iter().flat_map(|client| client.join().expect("a client")).collect();
    let distinct: BTreeSet<u64> = answers.iter().copied().collect();
    assert_eq!((distinct.len(), shop.count()), (answers.len(), answers.len() as u64), "each key has its own number");
    let Shop { stage, running, .. } = shop;
    running.shut_down();
    let audit = theater(&["verify", "--journal", stage.data_dir().to_str().expect("a path")], None);
    assert!(audit.status.success(), "{}", support::text(&audit.stdout));
}

fn until_answered(address: &Mutex<SocketAddr>, key: &str) -> u64 {
    eventually("an answer", || {
        let now = *address.lock().expect("not poisoned");
        let mut stream = std::net::TcpStream::connect(now).ok()?;
        let request = format!(
            "POST /op HTTP/1.1\r\nHost: h\r\nConnection: close\r\nIdempotency-Key: {key}\r\nContent-Length: 7\r\n\r\n\"count\""
        );
        std::io::Write::write_all(&mut stream, request.as_bytes()).ok()?;
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).ok()?;
        let body = answer.strip_prefix("HTTP/1.1 200 OK\r\n")?.split("\r\n\r\n").nth(1)?;
        body.parse().ok()
    })
}
