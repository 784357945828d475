//! A guest's request, checked: here everything is refused that can be refused before anything is sent.

use super::http_url::{HttpUrl, shortened};
use super::reach::Reach;
use super::revealed::Revealed;
use crate::base::limits::{HTTP_REQUEST_HEADERS, Limits};
use crate::guest::wit::HttpRequest;
use crate::net::http::is_token_byte;

#[derive(Debug)]
pub(super) struct OutgoingRequest {
    pub(super) method: String,
    pub(super) target: HttpUrl,
    pub(super) headers: GuestHeaders,
    pub(super) body: Option<Vec<u8>>,
}

/// The guest's headers without those of the connection, in the guest's order and with its spelling of the names.
type GuestHeaders = Vec<(String, String)>;

/// Headers of the connection, which this handler writes itself. `Host` is one of them, because the URL decides which
/// host is allowed.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl OutgoingRequest {
    pub(super) fn new(request: &HttpRequest, reach: &Reach) -> Result<Self, String> {
        let method = method(&request.method)?;
        let target = HttpUrl::parse(&request.uri)?;
        reach.check(&target)?;
        let headers = headers(&request.headers)?;
        // With these methods a server may wait for the length of a body.
        let carries = ["POST", "PUT", "PATCH"].contains(&method.as_str());
        let body = request.body.clone().or_else(|| carries.then(Vec::new));
        Ok(Self { method, target, headers, body })
    }

    /// The head as it is sent: first the headers of this handler, then those with `secrets`, then the guest's. Each
    /// exchange has a connection of its own, so the server is told that no other request comes.
    pub(super) fn head(&self, secrets: &Revealed) -> Vec<u8> {
        let Self { method, target, headers, body } = self;
        let (path, host) = (target.path_and_query(), target.authority());
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
        if let Some(body) = body {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent")) && !secrets.has("user-agent") {
            head.push_str(concat!("user-agent: theater/", env!("CARGO_PKG_VERSION"), "\r\n"));
        }
        head.push_str(&secrets.lines());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Removes the headers of these names.
    pub(super) fn drop_headers(&mut self, names: &[&str]) {
        self.headers.retain(|(given, _)| !names.iter().any(|name| given.eq_ignore_ascii_case(name)));
    }
}

/// Whether this handler writes the header of this name itself.
pub(super) fn is_connection_header(name: &str) -> bool {
    OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn method(text: &str) -> Result<String, String> {
    let bad = |why: &str| format!("bad method {:?}: {why}", shortened(text));
    match text {
        "CONNECT" => Err(bad("it asks for a tunnel, not for a response")),
        method if is_token(method) => Ok(method.to_owned()),
        _ => Err(bad("not a token")),
    }
}

fn headers(given: &[(String, String)]) -> Result<GuestHeaders, String> {
    if given.len() > HTTP_REQUEST_HEADERS {
        return Err(format!("{} headers: the most is {HTTP_REQUEST_HEADERS}", given.len()));
    }
    let mut headers = GuestHeaders::new();
    for (name, value) in given {
        let bad = |what: &str| format!("bad header {:?}: its {what}", shortened(name));
        if !is_token(name) {
            return Err(bad("name is not a token"));
        }
        if is_connection_header(name) {
            continue;
        }
        if value.chars().any(|c| c.is_ascii_control() && c != '\t') {
            return Err(bad("value contains a control character"));
        }
        headers.push((name.clone(), value.clone()));
    }
    Ok(headers)
}

/// The part of a request that is recorded: all of it, unless it is refused for its size. Then only its method and the
/// beginning of its URL are recorded, so that a guest cannot fill the disk with refused requests.
pub(super) fn bounded(mut request: HttpRequest, limits: &Limits) -> (HttpRequest, Option<String>) {
    let head = request.headers.iter().map(|(name, value)| name.len() + value.len() + ": \r\n".len()).sum::<usize>()
        + request.method.len()
        + request.uri.len();
    let body = request.body.as_ref().map_or(0, Vec::len);
    let refused = if head as u64 > limits.http_head_bytes {
        format!("request head of {head} bytes: the limit http_head_bytes is {}", limits.http_head_bytes)
    } else if body as u64 > limits.http_body_bytes {
        format!("request body of {body} bytes: the limit http_body_bytes is {}", limits.http_body_bytes)
    } else {
        return (request, None);
    };
    request.method.truncate(shortened(&request.method).len());
    request.uri.truncate(shortened(&request.uri).len());
    let HttpRequest { method, uri, .. } = request;
    (HttpRequest { method, uri, headers: Vec::new(), body: None }, Some(refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> HttpRequest {
        HttpRequest {
            method: method.to_owned(),
            uri: "http://example.org/".to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: body.map(<[u8]>::to_vec),
        }
    }

    fn outgoing(method: &str, headers: &[(&str, &str)]) -> Result<OutgoingRequest, String> {
        OutgoingRequest::new(&request(method, headers, None), &Reach::Public)
    }

    #[test]
    fn a_request_that_cannot_be_sent_is_refused_by_what_is_wrong_in_it() {
        let why = |method, headers: &[_]| outgoing(method, headers).expect_err("refused");
        assert_eq!(why("GE T", &[]), "bad method \"GE T\": not a token");
        assert_eq!(why("CONNECT", &[]), "bad method \"CONNECT\": it asks for a tunnel, not for a response");
        assert_eq!(why("GET", &[("a b", "c")]), "bad header \"a b\": its name is not a token");
        assert_eq!(why("GET", &[("a", "b\r\nc: d")]), "bad header \"a\": its value contains a control character");
    }

    #[test]
    fn headers_of_the_connection_are_left_to_this_end() {
        let sent = outgoing("GET", &[("Host", "evil"), ("content-length", "7"), ("a", "1"), ("A", "2")]).expect("fine");
        let sent: Vec<_> = sent.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(sent, [("a", "1"), ("A", "2")]);
    }

    #[test]
    fn a_guests_headers_are_sent_as_it_gave_them_behind_what_this_end_adds() {
        let headers = [("X-B", "1"), ("Accept", "ä"), ("x-b", "2"), ("Connection", "keep-alive")];
        let head =
            String::from_utf8(outgoing("POST", &headers).expect("fine").head(&Revealed::default())).expect("UTF-8");
        let ours = concat!("user-agent: theater/", env!("CARGO_PKG_VERSION"));
        let lines = ["POST / HTTP/1.1", "host: example.org", "connection: close", "content-length: 0", ours];
        let all = [&lines[..], &["X-B: 1", "Accept: ä", "x-b: 2", "", ""]].concat();
        assert_eq!(head, all.join("\r\n"));
        let head = outgoing("GET", &[("USER-AGENT", "me")]).expect("fine").head(&Revealed::default());
        assert_eq!(head, b"GET / HTTP/1.1\r\nhost: example.org\r\nconnection: close\r\nUSER-AGENT: me\r\n\r\n");
    }

    #[test]
    fn methods_that_carry_something_announce_an_empty_body() {
        assert_eq!(outgoing("POST", &[]).expect("fine").body, Some(Vec::new()));
        assert_eq!(outgoing("BREW", &[]).expect("fine").body, None);
    }

    #[test]
    fn of_a_request_that_is_too_large_only_the_beginning_is_kept() {
        let limits = Limits { http_body_bytes: 3, http_head_bytes: 100, ..Limits::default() };
        let fits = request("GET", &[("a", "b")], Some(b"abc"));
        assert_eq!(bounded(fits.clone(), &limits), (fits, None));
        let (kept, why) = bounded(request("GET", &[("a", "b")], Some(b"abcd")), &limits);
        assert_eq!((kept.headers, kept.body), (vec![], None));
        assert_eq!(why.as_deref(), Some("request body of 4 bytes: the limit http_body_bytes is 3"));
        let (kept, why) = bounded(request(&"M".repeat(300), &[], None), &limits);
        assert_eq!(kept.method.len(), 200);
        assert_eq!(why.as_deref(), Some("request head of 319 bytes: the limit http_head_bytes is 100"));
    }
}
