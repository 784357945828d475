//! The counter in another build: its state is `{"total":1}`, which `migrate` makes of the counter's `{"count":1}`.
//!
//! A count of 13 is refused, and one of 14 traps. Over HTTP and by message it does what the counter does; the message `"panic"`
//! traps, and `"refuse"` is refused.

use serde::{Deserialize, Serialize};
use theater_actor::{Actor, HttpHandler, HttpRequest, HttpResponse, MessageHandler, Migration};

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Tally {
    total: u64,
}

#[derive(Deserialize)]
struct Counter {
    count: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Message {
    Get,
    Add(u64),
    Panic,
    Refuse,
}

impl Actor for Tally {
    fn init(state: Option<Self>, _id: &str) -> Result<Self, String> {
        Ok(state.unwrap_or_default())
    }
}

impl Migration for Tally {
    type Before = Counter;

    fn migrate(before: Counter, from: &str) -> Result<Self, String> {
        assert_eq!(from.len(), 64, "a SHA-256");
        match before.count {
            13 => Err("13 is no number to go on with".into()),
            14 => panic!("14 is worse"),
            total => Ok(Self { total }),
        }
    }
}

impl MessageHandler for Tally {
    type Message = Message;
    type Reply = Tally;

    fn handle_request(&mut self, message: Message) -> Result<Tally, String> {
        match message {
            Message::Get => {}
            Message::Add(n) => self.total += n,
            Message::Panic => panic!("as it was told"),
            Message::Refuse => return Err("as it was told".into()),
        }
        Ok(*self)
    }
}

impl HttpHandler for Tally {
    fn handle(&mut self, request: HttpRequest) -> Result<HttpResponse, String> {
        match (request.path(), request.method.as_str()) {
            ("/panic", _) => panic!("as it was told"),
            ("/increment", "POST") => self.total += 1,
            _ => {}
        }
        HttpResponse::json(200, self)
    }
}

theater_actor::export!(Tally: messages, http, migration);
