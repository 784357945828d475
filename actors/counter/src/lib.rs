//! An actor that counts, over HTTP or by message.
//!
//! | HTTP | message | does |
//! |---|---|---|
//! | `GET /` | `"get"` | returns the count |
//! | `POST /increment` | `{"add": 1}` | adds to the count and returns it |
//!
//! The answer is `{"count": 1}`, and so is the state. A manifest may start the count at another number:
//! `init_state = '{"count": 41}'`.
//!
//! Only what follows the last slash of the path counts, so a listener of the runtime may lead `/counters/alice/increment` here.

use serde::{Deserialize, Serialize};
use theater_actor::{Actor, HttpHandler, HttpRequest, HttpResponse, MessageHandler};

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Counter {
    count: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Message {
    Get,
    Add(u64),
}

impl Counter {
    fn add(&mut self, n: u64) -> Result<Self, String> {
        let sum = self.count.checked_add(n);
        self.count = sum.ok_or_else(|| format!("{} + {n} is more than can be counted", self.count))?;
        Ok(*self)
    }
}

impl Actor for Counter {
    fn init(state: Option<Self>, _id: &str) -> Result<Self, String> {
        Ok(state.unwrap_or_default())
    }
}

impl MessageHandler for Counter {
    type Message = Message;
    type Reply = Counter;

    fn handle_request(&mut self, message: Message) -> Result<Counter, String> {
        match message {
            Message::Get => Ok(*self),
            Message::Add(n) => self.add(n),
        }
    }
}

impl HttpHandler for Counter {
    fn handle(&mut self, request: HttpRequest) -> Result<HttpResponse, String> {
        let path = request.path();
        match (path.rsplit('/').next(), request.method.as_str()) {
            (Some(""), "GET") => HttpResponse::json(200, self),
            (Some(""), _) => Ok(HttpResponse::method_not_allowed("GET")),
            (Some("increment"), "POST") => HttpResponse::json(200, &self.add(1)?),
            (Some("increment"), _) => Ok(HttpResponse::method_not_allowed("POST")),
            _ => Ok(HttpResponse::error(404, &format!("nothing at {path}"))),
        }
    }
}

theater_actor::export!(Counter: messages, http);

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(counter: &mut Counter, message: &str) -> Result<Counter, String> {
        counter.handle_request(serde_json::from_str(message).unwrap())
    }

    fn http(counter: &mut Counter, method: &str, uri: &str) -> HttpResponse {
        let request = HttpRequest { method: method.into(), uri: uri.into(), headers: Vec::new(), body: None };
        counter.handle(request).unwrap()
    }

    fn body(response: &HttpResponse) -> &str {
        std::str::from_utf8(response.body.as_deref().unwrap()).unwrap()
    }

    #[test]
    fn it_starts_at_zero_or_where_the_manifest_says() {
        assert_eq!(Counter::init(None, "id"), Ok(Counter { count: 0 }));
        let state = Counter::load(Some(br#"{"count": 41}"#.to_vec())).unwrap();
        assert_eq!(Counter::init(state, "id"), Ok(Counter { count: 41 }));
    }

    #[test]
    fn messages_read_the_count_and_add_to_it() {
        let mut counter = Counter::default();
        assert_eq!(ask(&mut counter, r#"{"add": 3}"#), Ok(Counter { count: 3 }));
        assert_eq!(ask(&mut counter, r#""get""#), Ok(Counter { count: 3 }));
    }

    #[test]
    fn a_count_that_would_not_fit_is_refused_and_kept() {
        let mut counter = Counter { count: u64::MAX };
        assert!(ask(&mut counter, r#"{"add": 1}"#).is_err());
        assert_eq!(counter.count, u64::MAX);
    }

    #[test]
    fn http_increments_and_tells_the_count_as_json() {
        let mut counter = Counter::default();
        let response = http(&mut counter, "POST", "/increment");
        assert_eq!((response.status, body(&response)), (200, r#"{"count":1}"#));
        assert_eq!(response.headers, [("content-type".into(), "application/json".into())]);
        assert_eq!(body(&http(&mut counter, "GET", "/?verbose")), r#"{"count":1}"#);
    }

    #[test]
    fn http_answers_alike_below_any_path() {
        let mut counter = Counter::default();
        assert_eq!(body(&http(&mut counter, "POST", "/counters/alice/increment")), r#"{"count":1}"#);
        assert_eq!(body(&http(&mut counter, "GET", "/counters/alice/")), r#"{"count":1}"#);
        assert_eq!(http(&mut counter, "GET", "/counters/alice").status, 404);
    }

    #[test]
    fn http_tells_a_wrong_method_from_a_wrong_path() {
        let mut counter = Counter::default();
        let response = http(&mut counter, "GET", "/increment");
        assert_eq!(response.status, 405);
        assert!(response.headers.contains(&("allow".into(), "POST".into())));
        assert_eq!(http(&mut counter, "GET", "/decrement").status, 404);
        assert_eq!(counter.count, 0);
    }
}
