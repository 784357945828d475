//! A counter, which also draws what differs from run to run. The actors beside this directory do the same in other languages.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use theater_actor::{Actor, HttpHandler, HttpRequest, HttpResponse, MessageHandler, clock, random, runtime};

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Counter {
    count: i64,
}

impl Counter {
    fn add(&mut self, n: &Value) -> Result<Value, String> {
        self.count += n.as_i64().unwrap_or_default();
        n.as_i64().ok_or_else(|| format!("{n} cannot be added"))?;
        Ok(json!(self))
    }
}

impl Actor for Counter {
    fn init(state: Option<Self>, id: &str) -> Result<Self, String> {
        let counter = state.unwrap_or_default();
        runtime::log(&format!("counter {id} begins at {}", counter.count));
        Ok(counter)
    }
}

impl MessageHandler for Counter {
    type Message = Value;
    type Reply = Value;

    fn handle_request(&mut self, message: Value) -> Result<Value, String> {
        match message.as_str() {
            Some("get") => Ok(json!(self)),
            Some("chance") => Ok(json!({ "now": clock::now(), "bytes": random::bytes(16) })),
            Some("text") => Ok(json!("Grüße, 世界 🎭")),
            Some("crash") => panic!("crashed on purpose"),
            _ => match message.get("add") {
                Some(n) => self.add(n),
                None => Err(format!("unknown message {message}")),
            },
        }
    }
}

impl HttpHandler for Counter {
    fn handle(&mut self, request: HttpRequest) -> Result<HttpResponse, String> {
        match (request.path(), request.method.as_str()) {
            ("/", "GET") => HttpResponse::json(200, self),
            ("/", _) => Ok(HttpResponse::method_not_allowed("GET")),
            ("/increment", "POST") => HttpResponse::json(200, &self.add(&json!(1))?),
            ("/increment", _) => Ok(HttpResponse::method_not_allowed("POST")),
            (path, _) => Ok(HttpResponse::error(404, &format!("nothing at {path}"))),
        }
    }
}

theater_actor::export!(Counter: messages, http);
