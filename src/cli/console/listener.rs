//! The HTTP side of the console, by `tiny_http`: each request is checked, and answered by one of a few threads.
//!
//! | path | answer |
//! |---|---|
//! | `GET /`, `/*.js`, `/*.css` | the page |
//! | `GET /api/live` | server-sent events |
//! | `GET /api/events`, `/api/event`, `/api/search`, `/api/state` | what is asked about an actor |
//! | `POST /api/command` | a command of the management protocol, and its answer |

use std::io::{self, Read};
use std::net::TcpListener;
use std::sync::Arc;

use serde_json::{Value as Json, json};
use tiny_http::{Header, Method, Request as HttpRequest, Response as HttpResponse, Server};

use super::access::{Access, Asked};
use super::pulse::Pulse;
use super::runtime::Runtime;
use super::streams::Streams;
use super::{commands, page, questions};
use crate::base::thread;

/// So many requests are answered at the same time, streams apart.
const THREADS: usize = 8;

/// The longest body of a request.
const BODY_BYTES: u64 = 8 * 1024 * 1024;

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

/// An answer that is not the page's: its status, and what the text says.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) json: Json,
}

impl Answer {
    pub(super) fn ok(json: Json) -> Self {
        Self { status: 200, json }
    }

    pub(super) fn error(status: u16, why: impl ToString) -> Self {
        Self { status, json: json!({ "error": why.to_string() }) }
    }
}

/// The console's listener.
pub(super) struct Listener {
    server: Server,
    access: Access,
    runtime: Arc<Runtime>,
    streams: Arc<Streams>,
}

/// Starts to listen; from now on requests wait for [`Listener::serve`].
pub(super) fn start(
    socket: TcpListener,
    access: Access,
    runtime: Arc<Runtime>,
    pulse: Arc<Pulse>,
) -> io::Result<Arc<Listener>> {
    let server = Server::from_listener(socket, None).map_err(io::Error::other)?;
    Ok(Arc::new(Listener { server, access, runtime, streams: Arc::new(Streams::new(pulse)) }))
}

impl Listener {
    /// Answers requests, with threads of its own beside the calling one, until the process ends.
    pub(super) fn serve(self: &Arc<Self>) {
        for at in 1..THREADS {
            let listener = Arc::clone(self);
            if let Err(error) = thread::spawn(&format!("console-{at}"), move || listener.answer_requests()) {
                log::warn!("the console has {at} threads instead of {THREADS}: {error}");
                break;
            }
        }
        self.answer_requests();
    }

    fn answer_requests(&self) {
        for request in self.server.incoming_requests() {
            self.answer(request);
        }
    }

    fn answer(&self, mut request: HttpRequest) {
        let url = request.url().to_owned();
        let (path, query) = url.split_once('?').unwrap_or((&url, ""));
        let asked = Asked {
            host: header(&request, "host"),
            origin: header(&request, "origin"),
            site: header(&request, "sec-fetch-site"),
            authorization: header(&request, "authorization"),
        };
        let is_api = path.starts_with("/api/");
        let allowed = if is_api { self.access.to_runtime(&asked) } else { self.access.to_page(&asked) };
        if let Err(denied) = allowed {
            return respond(request, &Answer::error(denied.status(), denied.text()));
        }
        let is_get = matches!(request.method(), Method::Get | Method::Head);
        if !is_api {
            return match page::file(path) {
                Some(file) if is_get => send(request, 200, file.content_type, file.bytes),
                Some(_) => respond(request, &Answer::error(405, "a file is read by GET")),
                None => respond(request, &Answer::error(404, format!("there is nothing at {path}"))),
            };
        }
        if path == "/api/live" && is_get {
            if let Err((request, why)) = self.streams.begin(request) {
                respond(request, &Answer::error(503, why));
            }
            return;
        }
        let answer = match path {
            "/api/command" if matches!(request.method(), Method::Post) => match body(&mut request) {
                Ok(body) => commands::answer(&self.runtime, &body),
                Err(refused) => refused,
            },
            _ if is_get => questions::answer(&self.runtime, path, query),
            _ => Answer::error(405, "commands are sent by POST to /api/command"),
        };
        respond(request, &answer);
    }
}

fn header<'a>(request: &'a HttpRequest, name: &'static str) -> Option<&'a str> {
    request.headers().iter().find(|header| header.field.equiv(name)).map(|header| header.value.as_str())
}

fn body(request: &mut HttpRequest) -> Result<Vec<u8>, Answer> {
    if header(request, "content-type") != Some("application/json") {
        return Err(Answer::error(415, "a command has the content type application/json"));
    }
    let mut bytes = Vec::new();
    let read = request.as_reader().take(BODY_BYTES + 1).read_to_end(&mut bytes);
    match read {
        Ok(read) if read as u64 > BODY_BYTES => {
            Err(Answer::error(413, format!("a command has at most {BODY_BYTES} bytes")))
        }
        Ok(_) => Ok(bytes),
        Err(error) => Err(Answer::error(400, error)),
    }
}

fn respond(request: HttpRequest, answer: &Answer) {
    send(request, answer.status, "application/json", answer.json.to_string().as_bytes());
}

/// A browser that has gone is not told anything.
fn send(request: HttpRequest, status: u16, content_type: &str, bytes: &[u8]) {
    let mut response = HttpResponse::from_data(bytes).with_status_code(status);
    for (name, value) in HEADERS.iter().copied().chain([("Content-Type", content_type)]) {
        response.add_header(Header::from_bytes(name, value).expect("these are valid headers"));
    }
    if let Err(error) = request.respond(response) {
        log::debug!("a browser has gone: {error}");
    }
}
