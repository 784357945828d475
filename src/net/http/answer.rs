//! Writing an answer as bytes: the status line, the headers, and the headers about framing, which this server adds
//! itself.
//!
//! It writes into a buffer; the connection sends it.

use std::io::Write;

use super::date::DateText;
use super::refusal::{HttpRefusal, RefusalId};
use super::response::WireResponse;

/// What the form of an answer depends on, apart from the answer itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerContext {
    /// The request was a HEAD: its answer has the headers of the answer to a GET, and no body.
    pub(crate) is_head: bool,
    /// The request was a CONNECT. After a 2xx the tunnel begins (RFC 9110 §9.3.6), so that a 2xx has neither length nor
    /// body. This server has no tunnels, so the connection ends.
    pub(crate) is_connect: bool,
    /// This answer is the connection's last.
    pub(crate) closes: bool,
    /// The client speaks HTTP/1.0: it expects the connection to be closed unless the answer says that it is kept.
    pub(crate) is_http10: bool,
}

/// Headers about the connection, the framing, or a request. The service cannot give them, and there is no trailer to
/// name.
const ENGINE_HEADERS: [&str; 7] =
    ["connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"];
const CONTENT_LENGTH: &str = "content-length";
const TAKES_ALL: &str = "a Vec takes everything";

/// Writes the head of `response`, and returns the body that is to be sent after it.
pub(crate) fn write_response<'a>(
    out: &mut Vec<u8>,
    response: &'a WireResponse,
    exchange: AnswerContext,
    date: &mut DateText,
) -> &'a [u8] {
    write_status_line(out, response.status());
    if !write_headers(out, response) {
        write_header(out, "Date", date.now());
    }
    let opens_tunnel = exchange.is_connect && response.status() < 300;
    if let Some(length) = content_length(response, exchange.is_head).filter(|_| !opens_tunnel) {
        write!(out, "Content-Length: {length}\r\n").expect(TAKES_ALL);
    }
    end_head(out, exchange, &connection_options(response));
    match response.body() {
        Some(body) if !exchange.is_head && !opens_tunnel && has_body(response.status()) => body,
        Some(_) | None => &[],
    }
}

/// Writes the head of an answer whose body is sent piece by piece, as the connection's last. Returns whether there is to be a
/// body.
pub(crate) fn write_stream_head(
    out: &mut Vec<u8>,
    response: &WireResponse,
    exchange: AnswerContext,
    date: &mut DateText,
) -> bool {
    let exchange = AnswerContext { closes: true, ..exchange };
    let is_tunnel = exchange.is_connect && response.status() < 300;
    if is_tunnel || !has_body(response.status()) {
        write_response(out, response, exchange, date);
        return false;
    }
    write_status_line(out, response.status());
    if !write_headers(out, response) {
        write_header(out, "Date", date.now());
    }
    if !exchange.is_http10 {
        write_header(out, "Transfer-Encoding", "chunked");
    }
    end_head(out, exchange, &connection_options(response));
    !exchange.is_head
}

/// Writes the headers that the service gives. Returns whether `Date` is among them.
fn write_headers(out: &mut Vec<u8>, response: &WireResponse) -> bool {
    let mut dated = false;
    for (name, value) in response.headers() {
        dated |= name.eq_ignore_ascii_case("date");
        if !is_of_the_engine(name) {
            write_header(out, name, value);
        }
    }
    dated
}

/// Writes a whole refusal, with the id that the owner of the listener has given it. The connection is closed after it.
pub(crate) fn write_refusal(
    out: &mut Vec<u8>,
    (refusal, id): (&HttpRefusal, Option<&RefusalId>),
    is_head: bool,
    date: &mut DateText,
) {
    let status = refusal.status;
    let body = format!("{status} {}: {}\n", reason(status), refusal.why);
    write_status_line(out, status);
    write_header(out, "Date", date.now());
    write_header(out, "Content-Type", "text/plain; charset=utf-8");
    if let Some(seconds) = refusal.retry_after() {
        write_header(out, "Retry-After", seconds);
    }
    if let Some(RefusalId { header, id }) = id {
        write_header(out, header, id);
    }
    write!(out, "Content-Length: {}\r\n", body.len()).expect(TAKES_ALL);
    end_head(out, AnswerContext { is_head, is_connect: false, closes: true, is_http10: false }, &[]);
    if !is_head {
        out.extend_from_slice(body.as_bytes());
    }
}

/// Whether the service wants this answer to be the connection's last.
pub(crate) fn asks_to_close(response: &WireResponse) -> bool {
    options_of(response).any(|option| option.eq_ignore_ascii_case("close"))
}

/// The options that the service gives in `Connection`.
fn options_of(response: &WireResponse) -> impl Iterator<Item = &str> {
    let lines = response.headers().iter().filter(|(name, _)| name.eq_ignore_ascii_case("connection"));
    lines.flat_map(|(_, value)| value.split(',').map(str::trim))
}

/// The headers in `response` that are for this connection alone, and so must be named in `Connection`: `Upgrade` (RFC
/// 9110 §7.8), and those that the service names there itself.
fn connection_options(response: &WireResponse) -> Vec<&str> {
    let names = || response.headers().iter().map(|(name, _)| name.as_str()).filter(|name| !is_of_the_engine(name));
    let mut options: Vec<&str> = names().filter(|name| name.eq_ignore_ascii_case("upgrade")).take(1).collect();
    for option in options_of(response) {
        let is_new = !options.iter().any(|other| other.eq_ignore_ascii_case(option));
        if is_new && names().any(|name| name.eq_ignore_ascii_case(option)) {
            options.push(option);
        }
    }
    options
}

fn is_of_the_engine(name: &str) -> bool {
    ENGINE_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own))
}

fn has_body(status: u16) -> bool {
    !matches!(status, 204 | 205 | 304)
}

/// The length to announce. Where this kind of answer has no body, only the service may know a length: of the answer to
/// a GET (for a HEAD), or of what the client has already (for a 304).
fn content_length(response: &WireResponse, is_head: bool) -> Option<u64> {
    match (response.status(), response.body()) {
        (204, _) => None,
        (205, _) => Some(0),
        (304, _) => claimed_length(response),
        (_, Some(body)) => Some(body.len() as u64),
        (_, None) if is_head => claimed_length(response),
        (_, None) => Some(0),
    }
}

fn claimed_length(response: &WireResponse) -> Option<u64> {
    let mut lengths = response.headers().iter().filter(|(name, _)| name.eq_ignore_ascii_case(CONTENT_LENGTH));
    lengths.next().and_then(|(_, value)| value.parse().ok())
}

fn end_head(out: &mut Vec<u8>, exchange: AnswerContext, options: &[&str]) {
    let fate = match exchange {
        AnswerContext { closes: true, .. } => Some("close"),
        AnswerContext { is_http10: true, .. } => Some("keep-alive"),
        AnswerContext { .. } => None,
    };
    let options: Vec<&str> = fate.into_iter().chain(options.iter().copied()).collect();
    if !options.is_empty() {
        write_header(out, "Connection", &options.join(", "));
    }
    out.extend_from_slice(b"\r\n");
}

fn write_status_line(out: &mut Vec<u8>, status: u16) {
    write!(out, "HTTP/1.1 {status} {}\r\n", reason(status)).expect(TAKES_ALL);
}

fn write_header(out: &mut Vec<u8>, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// The registered name of a status; empty for other statuses, as RFC 9112 §4 permits.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: AnswerContext = AnswerContext { is_head: false, is_connect: false, closes: false, is_http10: false };
    const HEAD: AnswerContext = AnswerContext { is_head: true, ..PLAIN };

    /// The whole answer, with a `Date` that does not change.
    fn written(status: u16, headers: &[(&str, &str)], body: Option<&str>, exchange: AnswerContext) -> String {
        let named = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let dated = named.chain([("Date".to_owned(), "now".to_owned())]).collect();
        let response = WireResponse::new(status, dated, body.map(|body| body.as_bytes().to_vec())).expect("valid");
        let mut out = Vec::new();
        let body = write_response(&mut out, &response, exchange, &mut DateText::default());
        out.extend_from_slice(body);
        String::from_utf8(out).expect("the tests send text").replace("Date: now\r\n", "")
    }

    #[test]
    fn headers_leave_in_order_with_their_duplicates() {
        let headers = [("b", "1"), ("A", "2"), ("b", "3")];
        assert_eq!(
            written(200, &headers, Some("hi"), PLAIN),
            "HTTP/1.1 200 OK\r\nb: 1\r\nA: 2\r\nb: 3\r\nContent-Length: 2\r\n\r\nhi"
        );
    }

    #[test]
    fn framing_is_the_engines_whatever_the_service_says() {
        let headers = [("content-length", "9"), ("Transfer-Encoding", "chunked"), ("CONNECTION", "keep-alive")];
        assert_eq!(written(200, &headers, Some("hi"), PLAIN), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(written(200, &headers, None, PLAIN), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn a_head_is_answered_like_a_get_without_the_body() {
        assert_eq!(written(200, &[], Some("hi"), HEAD), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
        let claimed = [("Content-Length", "17")];
        assert_eq!(written(200, &claimed, None, HEAD), "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n");
        assert_eq!(written(200, &[("Content-Length", "x")], None, HEAD), "HTTP/1.1 200 OK\r\n\r\n");
    }

    #[test]
    fn statuses_without_a_body_are_sent_without_one() {
        assert_eq!(written(204, &[], Some("hi"), PLAIN), "HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(written(304, &[], Some("hi"), PLAIN), "HTTP/1.1 304 Not Modified\r\n\r\n");
        assert_eq!(written(205, &[], Some("hi"), PLAIN), "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n");
        let claimed = [("Content-Length", "17")];
        assert_eq!(written(304, &claimed, None, PLAIN), "HTTP/1.1 304 Not Modified\r\nContent-Length: 17\r\n\r\n");
    }

    #[test]
    fn a_status_without_a_registered_name_has_none() {
        assert_eq!(written(299, &[], None, PLAIN), "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn the_client_is_told_what_it_would_not_assume_of_the_connection() {
        let last = AnswerContext { closes: true, ..PLAIN };
        assert!(written(200, &[], None, last).ends_with("Connection: close\r\n\r\n"));
        let kept = AnswerContext { is_http10: true, ..PLAIN };
        assert!(written(200, &[], None, kept).ends_with("Connection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn a_header_for_the_connection_alone_is_named_in_connection() {
        let upgrade = [("upgrade", "websocket")];
        assert_eq!(
            written(426, &upgrade, None, PLAIN),
            "HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\nContent-Length: 0\r\nConnection: upgrade\r\n\r\n"
        );
        let last = AnswerContext { closes: true, ..PLAIN };
        assert!(written(426, &upgrade, None, last).ends_with("Connection: close, upgrade\r\n\r\n"));
        let own = [("X-Hop", "1"), ("Connection", "x-hop, Content-Length, absent, X-HOP"), ("Upgrade", "a")];
        let said = written(200, &own, None, PLAIN);
        assert!(said.contains("X-Hop: 1\r\n") && said.ends_with("Connection: Upgrade, x-hop\r\n\r\n"), "{said}");
    }

    #[test]
    fn a_request_header_and_a_trailer_that_never_comes_are_not_sent() {
        let headers =
            [("TE", "trailers"), ("Trailer", "X-Sum"), ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "close")];
        assert_eq!(written(200, &headers, Some("hi"), PLAIN), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    }

    #[test]
    fn a_connect_that_is_granted_has_neither_length_nor_body() {
        let connect = AnswerContext { is_connect: true, closes: true, ..PLAIN };
        for status in [200, 204, 299] {
            let said = written(status, &[("Content-Length", "2")], Some("hi"), connect);
            assert!(said.ends_with("\r\nConnection: close\r\n\r\n") && !said.contains("Length"), "{said}");
        }
        assert!(written(405, &[], Some("hi"), connect).ends_with("Content-Length: 2\r\nConnection: close\r\n\r\nhi"));
    }

    #[test]
    fn the_head_of_a_stream_announces_chunks_to_a_client_that_knows_them_and_the_end_of_the_connection() {
        let head = |status: u16, exchange: AnswerContext| {
            let headers = [("Content-Length", "9"), ("X-A", "1"), ("Date", "now")];
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
            let response = WireResponse::new(status, headers, None).expect("valid");
            let mut out = Vec::new();
            let has_body = write_stream_head(&mut out, &response, exchange, &mut DateText::default());
            (String::from_utf8(out).expect("text").replace("Date: now\r\n", ""), has_body)
        };
        let chunked = "HTTP/1.1 200 OK\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        assert_eq!(head(200, PLAIN), (chunked.into(), true));
        assert_eq!(head(200, HEAD), (chunked.into(), false));
        let bare = "HTTP/1.1 200 OK\r\nX-A: 1\r\nConnection: close\r\n\r\n";
        assert_eq!(head(200, AnswerContext { is_http10: true, ..PLAIN }), (bare.into(), true));
        assert_eq!(head(200, AnswerContext { is_connect: true, ..PLAIN }), (bare.into(), false));
        let none = "HTTP/1.1 204 No Content\r\nX-A: 1\r\nConnection: close\r\n\r\n";
        assert_eq!(head(204, PLAIN), (none.into(), false));
    }

    #[test]
    fn a_date_is_given_unless_the_service_gave_one() {
        let response = WireResponse::new(200, Vec::new(), None).expect("valid");
        let mut out = Vec::new();
        write_response(&mut out, &response, PLAIN, &mut DateText::default());
        assert_eq!(String::from_utf8(out).expect("text").matches("Date: ").count(), 1);
    }

    #[test]
    fn a_refusal_says_what_is_wrong_and_when_to_come_back() {
        let mut out = Vec::new();
        let id = RefusalId { header: "X-Request-Id", id: "7".to_owned() };
        let refusal = HttpRefusal::busy("all places are taken");
        write_refusal(&mut out, (&refusal, Some(&id)), false, &mut DateText::default());
        let text = String::from_utf8(out).expect("text");
        assert!(
            text.starts_with("HTTP/1.1 503 Service Unavailable\r\n")
                && text.contains("\r\nRetry-After: 1\r\nX-Request-Id: 7\r\n")
        );
        assert!(text.ends_with("Connection: close\r\n\r\n503 Service Unavailable: all places are taken\n"), "{text}");
    }

    #[test]
    fn the_service_may_ask_for_the_connection_to_be_closed() {
        let answer = |value: &str| WireResponse::new(200, vec![("connection".to_owned(), value.to_owned())], None);
        assert!(asks_to_close(&answer("x, Close").expect("valid")));
        assert!(!asks_to_close(&answer("keep-alive").expect("valid")));
    }
}
