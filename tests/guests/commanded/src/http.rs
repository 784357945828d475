//! Commands over HTTP, and commands that echo a request or send a given response.

use serde::Deserialize;
use serde_json::json;
use theater_actor::{HttpHandler, HttpRequest, HttpResponse};

use crate::{Commanded, More};

/// A response that is sent exactly as given, whether or not HTTP allows it.
#[derive(Deserialize)]
struct Respond {
    status: u16,
    #[serde(default)]
    headers: Vec<(String, String)>,
    body: Option<String>,
}

impl<X: More> HttpHandler for Commanded<X> {
    fn handle(&mut self, request: HttpRequest) -> Result<HttpResponse, String> {
        // A route may lead here from any path.
        let last = request.path().rsplit('/').next().unwrap_or_default();
        match (last, request.method.as_str()) {
            ("echo", _) => echo(&request),
            ("respond", "POST") => respond(&request),
            ("op", "POST") => HttpResponse::json(200, &self.obey(request.json()?)?),
            ("respond" | "op", _) => Ok(HttpResponse::method_not_allowed("POST")),
            _ => Ok(HttpResponse::error(404, &format!("nothing at {}", request.path()))),
        }
    }
}

fn echo(request: &HttpRequest) -> Result<HttpResponse, String> {
    let body = request.body.as_deref().map(String::from_utf8_lossy);
    let seen = json!({
        "method": request.method,
        "uri": request.uri,
        "headers": request.headers,
        "body": body,
    });
    HttpResponse::json(200, &seen)
}

fn respond(request: &HttpRequest) -> Result<HttpResponse, String> {
    let Respond { status, headers, body } = request.json()?;
    Ok(HttpResponse { status, headers, body: body.map(String::into_bytes) })
}
