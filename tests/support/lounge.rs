//! A runtime with a lounge: the guest that sends to its WebSocket clients, and to the readers of its streams, at any time.

use serde_json::Value;

use crate::support::{Stage, Theater, eventually};

/// The handlers of a lounge, with these in their configurations.
pub fn handlers(of_websockets: &str, of_http: &str) -> String {
    let handler =
        |kind: &str, config: &str| format!("[[handlers]]\ntype = \"{kind}\"\nconfig = {{ port = 0{config} }}\n");
    handler("http-server", of_http) + &handler("websocket-server", of_websockets)
}

/// A lounge on a stage of its own; `more` stands in its manifest before its handlers.
pub fn lounge_with(more: &str, of_websockets: &str, of_http: &str) -> (Stage, Theater) {
    let stage = Stage::new();
    let more = format!("{more}{}", handlers(of_websockets, of_http));
    let running = stage.run(&[&stage.manifest("lounge", "lounge", &more)]);
    (stage, running)
}

pub fn ask(running: &Theater, command: &Value) -> Value {
    running.request("lounge", command).unwrap_or_else(|why| panic!("{command}: {why}"))
}

/// The ids in an answer.
pub fn ids(answer: &Value) -> Vec<u64> {
    serde_json::from_value(answer.clone()).expect("ids")
}

/// Waits until the lounge was told of the ends of these clients, each once.
pub fn until_told(told: impl Fn() -> Vec<u64>, ids: &[u64]) {
    eventually("the ends were told of", || Some(()).filter(|()| told().len() >= ids.len()));
    let mut told = told();
    told.sort_unstable();
    assert_eq!(told, ids, "each once");
}
