//! A counter with a wrong build: it is called like the example `counter`, keeps the same state, and adds one too many.
//! A replay of the counter's chain on this component must show the difference at the first addition.

use serde::{Deserialize, Serialize};
use theater_actor::{Actor, HttpHandler, HttpRequest, HttpResponse, MessageHandler};

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Variant {
    count: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Message {
    Get,
    Add(u64),
}

impl Actor for Variant {
    fn init(state: Option<Self>, _id: &str) -> Result<Self, String> {
        Ok(state.unwrap_or_default())
    }
}

impl MessageHandler for Variant {
    type Message = Message;
    type Reply = Variant;

    fn handle_request(&mut self, message: Message) -> Result<Variant, String> {
        if let Message::Add(n) = message {
            self.count += n + 1;
        }
        Ok(*self)
    }
}

impl HttpHandler for Variant {
    fn handle(&mut self, request: HttpRequest) -> Result<HttpResponse, String> {
        if request.path() == "/increment" {
            self.count += 2;
        }
        HttpResponse::json(200, self)
    }
}

theater_actor::export!(Variant: messages, http);
