//! The HTTP side of the console: each request is checked and answered, by the server that actors' listeners use.
//!
//! | path | answer |
//! |---|---|
//! | `GET /`, `/*.js`, `/*.css` | the page |
//! | `GET /api/live` | server-sent events |
//! | `GET /api/events`, `/api/event`, `/api/search`, `/api/state` | what is asked about an actor |
//! | `POST /api/command` | a command of the management protocol, and its answer |

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::access::{Access, AskedHeaders, Denied};
use super::answer::ConsoleAnswer;
use super::pulse::Pulse;
use super::runtime::Runtime;
use super::{commands, page, questions};
use crate::net::http::{HttpLimits, HttpListener, ServingHttp, WireAnswer, WireRequest, WireResponse};

/// The longest body of a request.
const BODY_BYTES: usize = 8 * 1024 * 1024;

/// What a browser is told with every answer: to load nothing from elsewhere and to run no script that stands in the page, to
/// show the page in no frame, and to keep no copy.
const HEADERS: [(&str, &str); 6] = [
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; worker-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
];

/// What answers the console's requests.
struct Console {
    access: Access,
    runtime: Arc<Runtime>,
    pulse: Arc<Pulse>,
}

/// Answers requests until what is returned is dropped.
pub(super) fn serve(
    listener: HttpListener,
    access: Access,
    runtime: Arc<Runtime>,
    pulse: Arc<Pulse>,
) -> io::Result<ServingHttp> {
    let limits = HttpLimits {
        body_bytes: BODY_BYTES,
        head_bytes: 16 * 1024,
        idle_timeout: Duration::from_secs(30),
        write_timeout: Duration::from_secs(30),
        ..HttpLimits::default()
    };
    let console = Console { access, runtime, pulse };
    listener.serve("console", limits, Arc::new(move |request| console.answer(&request)), true)
}

impl Console {
    fn answer(&self, request: &WireRequest) -> WireAnswer {
        let (path, query) = request.uri.split_once('?').unwrap_or((&request.uri, ""));
        let decide = ["host", "origin", "sec-fetch-site", "authorization", "content-type"];
        let count = |name: &str| request.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).count();
        if decide.iter().any(|name| count(name) > 1) {
            return as_json(&ConsoleAnswer::error(Denied::Twice.status(), Denied::Twice.text()));
        }
        let asked = AskedHeaders {
            host: header(request, "host"),
            origin: header(request, "origin"),
            site: header(request, "sec-fetch-site"),
            authorization: header(request, "authorization"),
        };
        let is_api = path.starts_with("/api/");
        let allowed = if is_api { self.access.to_runtime(&asked) } else { self.access.to_page(&asked) };
        if let Err(denied) = allowed {
            return as_json(&ConsoleAnswer::error(denied.status(), denied.text()));
        }
        let is_get = ["GET", "HEAD"].contains(&request.method.as_str());
        if !is_api {
            return match page::file(path) {
                Some(file) if is_get => response(200, file.content_type, file.bytes.to_vec()).into(),
                Some(_) => as_json(&ConsoleAnswer::error(405, "a file is read by GET")),
                None => as_json(&ConsoleAnswer::error(404, format!("there is nothing at {path}"))),
            };
        }
        if path == "/api/live" && request.method == "GET" {
            let head = response(200, "text/event-stream", Vec::new()).and_header("X-Accel-Buffering", "no");
            return self
                .pulse
                .join(head, request.framing)
                .unwrap_or_else(|why| as_json(&ConsoleAnswer::error(503, why)));
        }
        as_json(&match path {
            "/api/command" if request.method == "POST" => match header(request, "content-type") {
                Some(given) if given.split(';').next().is_some_and(|kind| kind.trim() == "application/json") => {
                    commands::answer(&self.runtime, request.body.as_deref().unwrap_or_default())
                }
                _ => ConsoleAnswer::error(415, "a command has the content type application/json"),
            },
            _ if is_get => questions::answer(&self.runtime, path, query),
            _ => ConsoleAnswer::error(405, "commands are sent by POST to /api/command"),
        })
    }
}

fn header<'a>(request: &'a WireRequest, name: &str) -> Option<&'a str> {
    request.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn as_json(answer: &ConsoleAnswer) -> WireAnswer {
    response(answer.status, "application/json", answer.json.to_string().into_bytes()).into()
}

fn response(status: u16, content_type: &str, body: Vec<u8>) -> WireResponse {
    let headers = HEADERS.iter().copied().chain([("Content-Type", content_type)]);
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    WireResponse::new(status, headers, Some(body)).expect("these are valid headers")
}
