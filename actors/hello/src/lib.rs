//! The smallest actor: it greets. It answers the message `"Ada"` with `"Hello, Ada!"`, and every HTTP request with
//! `Hello, world!`. It has no state.

use serde::{Deserialize, Serialize};
use theater_actor::{Actor, HttpHandler, HttpRequest, HttpResponse, MessageHandler};

#[derive(Serialize, Deserialize)]
struct Hello;

impl Actor for Hello {
    fn init(_state: Option<Self>, _id: &str) -> Result<Self, String> {
        Ok(Hello)
    }
}

impl MessageHandler for Hello {
    type Message = String;
    type Reply = String;

    fn handle_request(&mut self, name: String) -> Result<String, String> {
        Ok(format!("Hello, {name}!"))
    }
}

impl HttpHandler for Hello {
    fn handle(&mut self, _request: HttpRequest) -> Result<HttpResponse, String> {
        Ok(HttpResponse::text(200, "Hello, world!"))
    }
}

theater_actor::export!(Hello: messages, http);
