//! A host for tests that run outside of a component, as `cargo test` runs them: [`Host`] answers the host functions.
//!
//! ```
//! use serde_json::json;
//! use theater_actor::testing::Host;
//! use theater_actor::{clock, messages};
//!
//! /// What is to be tested.
//! fn order_tea(cook: &str) -> Result<u64, String> {
//!     messages::send(cook, &json!({ "tea": 1 }))?;
//!     Ok(clock::now())
//! }
//!
//! let host = Host::begin();
//! host.set_now(1_000);
//! host.answer("message-server-host.send", ());
//! assert_eq!(order_tea("kitchen/cook"), Ok(1_000));
//! assert_eq!(host.calls()[0].function, "message-server-host.send");
//! assert_eq!(host.calls()[0].params, [json!("kitchen/cook"), json!({ "tea": 1 })]);
//!
//! host.fail("message-server-host.send", "no such actor");
//! assert_eq!(order_tea("nobody"), Err("no such actor".into()));
//! ```
//!
//! The clock stands at 2026-01-01 until the test sets it; random bytes come from a seed; lines of the log are collected; the
//! table is in memory; a timer that is set is listed, and never fires by itself. Every other call needs an answer: a call
//! without one panics, and so fails the test that made it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::marker::PhantomData;

use serde::Serialize;
use serde_json::{Value, json};

use crate::HttpResponse;
use crate::bindings::host::ntwk::theater::connections::{NotQueued, NotQueuedReason};
use crate::bindings::host::ntwk::theater::supervisor::ChainEvent;
use crate::bindings::host::ntwk::theater::timer::PendingTimer;
use crate::bindings::host::ntwk::theater::types::Chain;

/// 2026-01-01T00:00:00Z.
const BEGINNING: u64 = 1_767_225_600_000;

/// A call of a host function.
#[derive(Clone, Debug, PartialEq)]
pub struct HostCall {
    /// The function, as `timer.set`.
    pub function: String,
    /// The parameters: messages as the JSON that they hold.
    pub params: Vec<Value>,
}

/// The host of this thread, until it is dropped.
///
/// Each test has its own thread, and so its own host.
#[derive(Debug)]
pub struct Host {
    // A host belongs to the thread that began it.
    thread: PhantomData<*const ()>,
}

#[derive(Default)]
struct Stage {
    now: u64,
    random: u64,
    config: BTreeMap<String, Value>,
    answers: BTreeMap<String, VecDeque<Result<Value, Value>>>,
    calls: Vec<HostCall>,
    logs: Vec<String>,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    timers: BTreeMap<String, u64>,
    tokens: u64,
}

thread_local! {
    static STAGE: RefCell<Option<Stage>> = const { RefCell::new(None) };
}

impl Host {
    /// Begins: from here on, the host functions that this thread calls are answered.
    ///
    /// # Panics
    /// This thread has a host already.
    #[must_use = "the host answers until it is dropped"]
    pub fn begin() -> Self {
        STAGE.with_borrow_mut(|stage| {
            assert!(stage.is_none(), "this thread has a theater_actor::testing::Host already: drop that one first");
            *stage = Some(Stage { now: BEGINNING, ..Stage::default() });
        });
        Self { thread: PhantomData }
    }

    /// Sets the clock, in milliseconds since the Unix epoch.
    pub fn set_now(&self, unix_ms: u64) {
        on_stage(|stage| stage.now = unix_ms);
    }

    /// Sets what random bytes are made from.
    pub fn set_seed(&self, seed: u64) {
        on_stage(|stage| stage.random = seed);
    }

    /// Sets a value of `[config]`.
    ///
    /// # Panics
    /// The value cannot be written as JSON.
    pub fn set_config(&self, key: &str, value: impl Serialize) {
        let value = written(value);
        on_stage(|stage| _ = stage.config.insert(key.to_owned(), value));
    }

    /// Answers the next call of a function that has no answer yet. A function that may fail succeeds with this value.
    ///
    /// # Panics
    /// The value cannot be written as JSON.
    pub fn answer(&self, function: &str, value: impl Serialize) {
        let value = written(value);
        on_stage(|stage| stage.answers.entry(function.to_owned()).or_default().push_back(Ok(value)));
    }

    /// Lets the next call of a function that has no answer yet fail with this text.
    pub fn fail(&self, function: &str, why: &str) {
        let why = Err(json!(why));
        on_stage(|stage| stage.answers.entry(function.to_owned()).or_default().push_back(why));
    }

    /// The calls so far, in order, without those of the log, the clock, random bytes, `[config]` and the table.
    pub fn calls(&self) -> Vec<HostCall> {
        on_stage(|stage| stage.calls.clone())
    }

    /// The lines of the log so far.
    pub fn logs(&self) -> Vec<String> {
        on_stage(|stage| stage.logs.clone())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A thread that ends may have dropped the place already.
        let _ = STAGE.try_with(|stage| stage.take());
    }
}

fn written(value: impl Serialize) -> Value {
    serde_json::to_value(value).expect("an answer that can be written as JSON")
}

fn on_stage<T>(act: impl FnOnce(&mut Stage) -> T) -> T {
    STAGE.with_borrow_mut(|stage| act(stage.as_mut().expect("a host is there until it is dropped")))
}

/// The rows of the table.
pub(crate) fn with_table<T>(act: impl FnOnce(&mut BTreeMap<Vec<u8>, Vec<u8>>) -> T) -> T {
    STAGE.with_borrow_mut(|stage| match stage {
        Some(stage) => act(&mut stage.rows),
        None => nobody_answers("table"),
    })
}

/// Whether a host collects the lines of the log.
pub(crate) fn collects(line: &str) -> bool {
    STAGE.with_borrow_mut(|stage| match stage {
        Some(stage) => {
            stage.logs.push(line.to_owned());
            true
        }
        None => false,
    })
}

fn nobody_answers(function: &str) -> ! {
    panic!(
        "{function} was called outside of a component: begin the test with `let host = theater_actor::testing::Host::begin();`"
    )
}

/// Calls a host function.
pub(crate) fn ask<T: Answer>(function: &str, params: Vec<Value>) -> T {
    if function == "runtime.log" {
        let line = params[0].as_str().unwrap_or_default();
        if !collects(line) {
            std::println!("{line}");
        }
        return T::of(&Ok(Value::Null)).unwrap_or_else(|why| wrong(function, &why));
    }
    let answer = STAGE.with_borrow_mut(|stage| match stage {
        Some(stage) => stage.answer(function, &params),
        None => nobody_answers(function),
    });
    let Some(answer) = answer else {
        let params = Value::Array(params);
        panic!(
            "{function} has no answer; it was called with {params}; add `host.answer(\"{function}\", …)` or \
             `host.fail(\"{function}\", \"…\")` before the call"
        )
    };
    T::of(&answer).unwrap_or_else(|why| wrong(function, &why))
}

fn wrong(function: &str, why: &str) -> ! {
    panic!("the answer to {function} is not of its type: {why}")
}

impl Stage {
    fn answer(&mut self, function: &str, params: &[Value]) -> Option<Result<Value, Value>> {
        let is_quiet = matches!(function, "clock.now" | "random.bytes" | "config.get");
        if !is_quiet {
            self.calls.push(HostCall { function: function.to_owned(), params: params.to_vec() });
        }
        if let Some(answer) = self.answers.get_mut(function).and_then(VecDeque::pop_front) {
            return Some(answer);
        }
        let text = |at: usize| params.get(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |at: usize| params.get(at).and_then(Value::as_u64).unwrap_or_default();
        Some(Ok(match function {
            "clock.now" => json!(self.now),
            "random.bytes" => json!(self.draw(number(0))),
            "config.get" => self.config.get(&text(0)).cloned().unwrap_or(Value::Null),
            "timer.set" | "timer.every" => json!(self.set_timer(text(0), self.now.saturating_add(number(1)))),
            "timer.set-at" => json!(self.set_timer(text(0), number(1))),
            "timer.cancel" => json!(self.timers.remove(&text(0)).is_some()),
            "timer.list" => {
                self.timers.iter().map(|(key, due)| json!({ "key": key, "due": due, "round": 1 })).collect()
            }
            "deferred-replies.defer" => {
                self.tokens += 1;
                json!(self.tokens)
            }
            _ => return None,
        }))
    }

    fn set_timer(&mut self, key: String, due: u64) -> u64 {
        self.timers.insert(key, due);
        due
    }

    /// Bytes of the generator SplitMix64.
    fn draw(&mut self, n: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < n {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.random;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bytes.extend_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
        }
        bytes.truncate(usize::try_from(n).unwrap_or(usize::MAX));
        bytes
    }
}

/// JSON, as bytes.
pub(crate) struct Json(pub(crate) Vec<u8>);

/// Bytes: a text as it is, a list of numbers as those bytes, and anything else as JSON.
pub(crate) struct Bytes(pub(crate) Vec<u8>);

/// A response as a test sees it.
pub(crate) fn http_response(response: &HttpResponse) -> Value {
    let HttpResponse { status, headers, body } = response;
    let body = body.as_deref().map(|body| String::from_utf8_lossy(body).into_owned());
    json!({ "status": status, "headers": headers, "body": body })
}

/// A type that an answer can have.
pub(crate) trait Answer: Sized {
    fn of(answer: &Result<Value, Value>) -> Result<Self, String>;
}

/// A type that a value of JSON can have.
pub(crate) trait FromValue: Sized {
    fn from_value(value: &Value) -> Result<Self, String>;
}

impl<T: FromValue> Answer for Result<T, String> {
    fn of(answer: &Result<Value, Value>) -> Result<Self, String> {
        match answer {
            Ok(value) => T::from_value(value).map(Ok),
            Err(why) => Ok(Err(why.as_str().unwrap_or_default().to_owned())),
        }
    }
}

/// Implements both for types that cannot fail.
macro_rules! plain {
    ($($type:ty: $read:expr),* $(,)?) => {$(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Result<Self, String> {
                let read: fn(&Value) -> Option<$type> = $read;
                read(value).ok_or_else(|| format!("{value} cannot be read as {}", stringify!($type)))
            }
        }
        impl Answer for $type {
            fn of(answer: &Result<Value, Value>) -> Result<Self, String> {
                match answer {
                    Ok(value) => Self::from_value(value),
                    Err(_) => Err("the function cannot fail".to_owned()),
                }
            }
        }
    )*};
}

plain! {
    (): |value| value.is_null().then_some(()),
    bool: Value::as_bool,
    u64: Value::as_u64,
    String: |value| value.as_str().map(str::to_owned),
    Vec<String>: |value| serde_json::from_value(value.clone()).ok(),
    Vec<u64>: |value| serde_json::from_value(value.clone()).ok(),
    Json: |value| serde_json::to_vec(value).ok().map(Json),
    Option<Json>: |value| Some(if value.is_null() { None } else { Some(Json(serde_json::to_vec(value).ok()?)) }),
    Bytes: |value| Some(Bytes(bytes(value)?)),
    HttpResponse: response,
    Vec<PendingTimer>: |value| each(value, |it| {
        Some(PendingTimer { key: it["key"].as_str()?.to_owned(), due: it["due"].as_u64()?, round: it["round"].as_u64()? })
    }),
    Vec<NotQueued>: |value| each(value, |it| {
        let reason = match it["reason"].as_str()? {
            "gone" => NotQueuedReason::Gone,
            "full" => NotQueuedReason::Full,
            _ => return None,
        };
        Some(NotQueued { connection: it["connection"].as_u64()?, reason })
    }),
    Vec<ChainEvent>: |value| each(value, |it| Some(ChainEvent {
        hash: bytes(&it["hash"])?,
        parent_hash: if it["parent-hash"].is_null() { None } else { Some(bytes(&it["parent-hash"])?) },
        event_type: it["event-type"].as_str()?.to_owned(),
        data: bytes(&it["data"])?,
        timestamp: it["timestamp"].as_u64()?,
    })),
    Chain: |value| (value.as_array()?.is_empty()).then_some(Chain { events: Vec::new() }),
}

fn each<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    value.as_array()?.iter().map(read).collect()
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        Value::Array(items) if items.iter().all(Value::is_u64) => {
            items.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect()
        }
        other => serde_json::to_vec(other).ok(),
    }
}

fn response(value: &Value) -> Option<HttpResponse> {
    let headers = match &value["headers"] {
        Value::Null => Vec::new(),
        headers => serde_json::from_value(headers.clone()).ok()?,
    };
    let body = if value["body"].is_null() { None } else { Some(bytes(&value["body"])?) };
    Some(HttpResponse { status: u16::try_from(value["status"].as_u64()?).ok()?, headers, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HttpRequest, clock, config, filesystem, http_client, messages, monitors, random, table, timer};

    fn panics(act: impl FnOnce() + std::panic::UnwindSafe) -> String {
        let panic = std::panic::catch_unwind(act).expect_err("it panics");
        panic.downcast_ref::<String>().cloned().unwrap_or_default()
    }

    #[test]
    fn a_call_without_an_answer_panics_with_the_function_and_the_remedy() {
        let said = panics(|| {
            let _host = Host::begin();
            let _ = messages::send("bob", &"hello");
        });
        assert!(said.contains("message-server-host.send has no answer"), "{said}");
        assert!(said.contains("called with [\"bob\",\"hello\"]; add `host.answer("), "{said}");
        let said = panics(|| _ = clock::now());
        assert!(said.contains("begin the test with `let host = theater_actor::testing::Host::begin();`"), "{said}");
    }

    #[test]
    fn answers_are_given_in_order_and_calls_are_kept() {
        let host = Host::begin();
        host.answer("message-server-host.request", json!({ "sum": 3 }));
        host.fail("message-server-host.request", "full");
        let first: Result<Value, String> = messages::request("adder", &[1, 2]);
        assert_eq!(first, Ok(json!({ "sum": 3 })));
        assert_eq!(messages::request::<_, Value>("adder", &1), Err("full".into()));
        let functions: Vec<String> = host.calls().into_iter().map(|call| call.function).collect();
        assert_eq!(functions, ["message-server-host.request"; 2]);
        assert_eq!(host.calls()[0].params, [json!("adder"), json!([1, 2])]);
    }

    #[test]
    fn the_clock_stands_randomness_has_a_seed_and_the_table_is_in_memory() {
        let host = Host::begin();
        assert_eq!(clock::now(), BEGINNING);
        host.set_now(5);
        assert_eq!((clock::now(), timer::set("tea", 10, &()), timer::list().len()), (5, Ok(15), 1));
        assert!(timer::cancel("tea") && !timer::cancel("tea"));
        host.set_seed(1);
        let drawn = random::bytes(20);
        host.set_seed(1);
        assert_eq!((drawn.len(), random::bytes(20)), (20, drawn));
        host.set_config("greeting", "hello");
        assert_eq!(config::required::<String>("greeting"), Ok("hello".into()));
        table::put("a", &1).and_then(|()| table::put("b", &2)).expect("written");
        assert_eq!(table::get::<u64>("b"), Ok(Some(2)));
        let page = table::scan("", 1, None).expect("a page");
        assert_eq!((page.rows.len(), page.cursor), (1, Some(b"a".to_vec())));
        crate::log!("{} rows", table::count());
        assert_eq!(host.logs(), ["2 rows"]);
    }

    #[test]
    fn answers_of_other_types_are_read_from_json() {
        let host = Host::begin();
        host.answer("http-client.send-http", json!({ "status": 200, "body": { "id": 7 } }));
        let request = HttpRequest { method: "GET".into(), uri: "http://x/".into(), headers: Vec::new(), body: None };
        let response = http_client::send(&request).expect("a response");
        assert_eq!((response.status, response.body), (200, Some(br#"{"id":7}"#.to_vec())));
        host.answer("filesystem.read-file", "text");
        assert_eq!(filesystem::read_file("a"), Ok(b"text".to_vec()));
        host.answer("monitors.monitor", 4);
        assert_eq!(monitors::monitor("bob"), Ok(4));
        host.answer("filesystem.path-exists", "yes");
        let said = panics(|| _ = filesystem::path_exists("a"));
        assert!(said.contains("the answer to filesystem.path-exists is not of its type: \"yes\""), "{said}");
    }
}
