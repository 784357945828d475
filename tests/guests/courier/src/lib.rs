//! Sends HTTP requests on command. It imports nothing else of the world outside, so that it can be granted that alone.

use commanded::{Commanded, More, outcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use theater_actor::{HttpRequest, HttpResponse, http_client};

/// Answers with `{"ok": {"status", "headers", "body"}}` or `{"err": text}`.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
enum Call {
    Http {
        method: String,
        uri: String,
        #[serde(default)]
        headers: Vec<(String, String)>,
        body: Option<String>,
        /// A body of so many bytes instead.
        body_bytes: Option<usize>,
    },
}

#[derive(Serialize)]
struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Option<String>,
}

impl More for Call {
    fn obey(self) -> Result<Value, String> {
        let Call::Http { method, uri, headers, body, body_bytes } = self;
        let body = body_bytes.map(|bytes| vec![b'x'; bytes]).or(body.map(String::into_bytes));
        Ok(outcome(http_client::send(&HttpRequest { method, uri, headers, body }).map(readable)))
    }
}

fn readable(HttpResponse { status, headers, body }: HttpResponse) -> Response {
    Response { status, headers, body: body.map(|body| String::from_utf8_lossy(&body).into_owned()) }
}

type Courier = Commanded<Call>;

theater_actor::export!(Courier: messages);
