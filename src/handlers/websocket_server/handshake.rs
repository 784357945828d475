//! The WebSocket handshake: it reads the head of an HTTP request, with the parser of the HTTP server, and answers with
//! a WebSocket or a refusal.

use std::io::{ErrorKind, Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tungstenite::handshake::derive_accept_key;

use super::origin::Origins;
use crate::net::http::{AnswerContext, DateText, HeadScan, HttpRefusal, RequestFraming, RequestHead, WireResponse};
use crate::net::http::{asks_for_a_head_alone, write_response};

/// The most bytes of the request line and the headers.
const HEAD_BYTES: usize = 64 * 1024;
const PIECE_BYTES: usize = 4 * 1024;
/// How many bytes a key is the base64 of.
const KEY_BYTES: usize = 16;
const VERSION: &str = "13";

/// Why there is no WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoHandshake {
    /// The client is to get this refusal; without its body if the method is HEAD.
    Refused { refusal: HttpRefusal, is_head: bool },
    /// The client is gone.
    Gone,
}

/// Reads a handshake and answers it. Returns what the client has sent after it, which belongs to its first frames.
pub(super) fn shake_hands(wire: &mut (impl Read + Write), origins: &Origins) -> Result<Vec<u8>, NoHandshake> {
    let mut received = Vec::new();
    let read = read_head(wire, &mut received).ok_or(NoHandshake::Gone)?;
    let accepted = read.and_then(|end| Ok((end, check(&RequestHead::parse(&received[..end])?, origins)?)));
    let is_head = asks_for_a_head_alone(&received);
    let (end, accepted) = accepted.map_err(|refusal| NoHandshake::Refused { refusal, is_head })?;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accepted}\r\n\r\n"
    );
    wire.write_all(answer.as_bytes()).map_err(|_| NoHandshake::Gone)?;
    Ok(received.split_off(end))
}

/// Reads until the head is whole, and returns where it ends; `None` if the client is gone.
fn read_head(wire: &mut impl Read, received: &mut Vec<u8>) -> Option<Result<usize, HttpRefusal>> {
    let (mut scan, mut piece) = (HeadScan::default(), [0; PIECE_BYTES]);
    loop {
        let bytes = match wire.read(&mut piece) {
            Ok(0) => return None,
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::TimedOut => return Some(Err(HttpRefusal::new(408, "too slow"))),
            Err(_) => return None,
        };
        received.extend_from_slice(&piece[..bytes]);
        if let Some(end) = scan.end(received, HEAD_BYTES).transpose() {
            return Some(end);
        }
    }
}

/// Checks that a request is a handshake (RFC 6455 §4.2.1), and returns what to answer in `Sec-WebSocket-Accept`.
fn check(head: &RequestHead, origins: &Origins) -> Result<String, HttpRefusal> {
    let RequestHead { method, framing, is_http10, .. } = head;
    let is_get = method == "GET" && !is_http10 && matches!(framing, RequestFraming::Absent | RequestFraming::Length(0));
    if !is_get || !names(head, "upgrade", "websocket") || !names(head, "connection", "upgrade") {
        return Err(HttpRefusal::malformed("not a WebSocket handshake; a WebSocket is what is here"));
    }
    if once(head, "sec-websocket-version") != Some(VERSION) {
        return Err(HttpRefusal::new(426, "the only version of WebSocket spoken here is 13"));
    }
    let key = once(head, "sec-websocket-key").filter(|key| is_key(key));
    let key =
        key.ok_or_else(|| HttpRefusal::malformed("the Sec-WebSocket-Key is not 16 bytes in base64, given once"))?;
    // A client that names two origins is refused.
    let named: Vec<&str> = values(head, "origin").collect();
    if named.len() > 1 || !origins.admit(named.first().map(|named| named.as_bytes())) {
        return Err(HttpRefusal::new(403, "pages of this origin may not connect"));
    }
    Ok(derive_accept_key(key.as_bytes()))
}

fn is_key(key: &str) -> bool {
    STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == KEY_BYTES)
}

fn values<'a>(head: &'a RequestHead, name: &'a str) -> impl Iterator<Item = &'a str> {
    head.headers.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// The value of a header that the request has exactly once.
fn once<'a>(head: &'a RequestHead, name: &'a str) -> Option<&'a str> {
    let mut values = values(head, name);
    values.next().filter(|_| values.next().is_none())
}

/// Whether a header that is a list has this member, on any of its lines.
fn names(head: &RequestHead, name: &str, member: &str) -> bool {
    values(head, name).flat_map(|value| value.split(',')).any(|other| other.trim().eq_ignore_ascii_case(member))
}

/// Writes a refusal. The connection is to be closed after it.
pub(super) fn write_refusal(out: &mut Vec<u8>, refusal: &HttpRefusal, is_head: bool) {
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut headers = vec![header("Content-Type", "text/plain; charset=utf-8")];
    if refusal.status == 426 {
        headers.extend([header("Upgrade", "websocket"), header("Sec-WebSocket-Version", VERSION)]);
    }
    headers.extend(refusal.retry_after().map(|seconds| header("Retry-After", seconds)));
    let body = format!("{}\n", refusal.why).into_bytes();
    let response = WireResponse::new(refusal.status, headers, Some(body)).expect("our own answers are valid");
    let exchange = AnswerContext { is_head, is_connect: false, closes: true, is_http10: false };
    let body = write_response(out, &response, exchange, &mut DateText::default());
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const UPGRADE: &str = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const THIRTEEN: &str = "Sec-WebSocket-Version: 13\r\n";

    /// The answer to a request, and the bytes that are left for the frames.
    fn shaken(request: &str) -> Result<(String, Vec<u8>), u16> {
        let mut wire = Cursor::new(request.as_bytes().to_vec());
        match shake_hands(&mut wire, &Origins::Any) {
            Ok(rest) => {
                let all = wire.into_inner();
                Ok((String::from_utf8_lossy(&all[request.len()..]).into_owned(), rest))
            }
            Err(NoHandshake::Refused { refusal, .. }) => Err(refusal.status),
            Err(NoHandshake::Gone) => Err(0),
        }
    }

    fn status_of(request: &str) -> u16 {
        shaken(request).map_or_else(|status| status, |_| 101)
    }

    #[test]
    fn a_handshake_is_answered_by_the_key_and_what_follows_it_is_left() {
        let (answer, rest) = shaken(&format!("GET /any?x HTTP/1.1\r\n{UPGRADE}{KEY}{THIRTEEN}\r\n")).expect("good");
        assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{answer}");
        // RFC 6455 §1.3.
        assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
        assert!(rest.is_empty());
        let (_, rest) = shaken(&format!("GET / HTTP/1.1\r\n{UPGRADE}{KEY}{THIRTEEN}\r\nframes")).expect("good");
        assert_eq!(rest, b"frames");
    }

    #[test]
    fn options_may_stand_on_several_lines_and_beside_others() {
        for upgrade in [
            "Host: x\r\nConnection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
            "Host: x\r\nConnection: keep-alive, UPGRADE\r\nUpgrade: h2c, WebSocket\r\n",
            "Host: x\r\nConnection: ,upgrade,\r\nUpgrade: h2c\r\nUpgrade: websocket\r\nContent-Length: 0\r\n",
        ] {
            assert_eq!(status_of(&format!("GET / HTTP/1.1\r\n{upgrade}{KEY}{THIRTEEN}\r\n")), 101, "{upgrade:?}");
        }
        let absolute = format!("GET http://h/chat HTTP/1.1\r\n{UPGRADE}{KEY}{THIRTEEN}\r\n");
        assert_eq!(status_of(&absolute), 101);
    }

    #[test]
    fn a_key_is_16_bytes_in_base64_given_once() {
        for key in [
            "",
            "Sec-WebSocket-Key:\r\n",
            "Sec-WebSocket-Key: x\r\n",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWU=\r\n",
            "Sec-WebSocket-Key: dGhlIHNhbXBs ZSBub25jZQ==\r\n",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n",
            &KEY.repeat(2),
        ] {
            assert_eq!(status_of(&format!("GET / HTTP/1.1\r\n{UPGRADE}{key}{THIRTEEN}\r\n")), 400, "{key:?}");
        }
    }

    #[test]
    fn another_version_is_told_which_one_is_spoken() {
        for version in ["", "Sec-WebSocket-Version: 8\r\n", "Sec-WebSocket-Version: 13, 8\r\n", &THIRTEEN.repeat(2)] {
            assert_eq!(status_of(&format!("GET / HTTP/1.1\r\n{UPGRADE}{KEY}{version}\r\n")), 426, "{version:?}");
        }
        let mut out = Vec::new();
        write_refusal(&mut out, &HttpRefusal::new(426, "why"), false);
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{text}");
        assert!(text.contains("\r\nUpgrade: websocket\r\n") && text.contains("\r\nConnection: close, Upgrade\r\n"));
    }

    #[test]
    fn a_handshake_is_read_as_strictly_as_any_request() {
        let rest = format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{KEY}{THIRTEEN}");
        for request in [
            format!("GET / HTTP/1.1\r\n{rest}\r\n"),
            format!("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n{rest}\r\n"),
            format!("GET / HTTP/1.1\r\nHost: a:80:80\r\n{rest}\r\n"),
            format!("GET / HTTP/1.1\r\nHost: x\r\n{rest}\r\n").replace("\r\n", "\n"),
            format!("GET / HTTP/1.1\r\nHost: x\r\n{rest} folded\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost : x\r\n{rest}\r\n"),
            format!("GET / HTTP/1.0\r\nHost: x\r\n{rest}\r\n"),
            format!("POST / HTTP/1.1\r\nHost: x\r\n{rest}\r\n"),
            format!("GET / HTTP/1.1\r\nHost: x\r\n{rest}Content-Length: 1\r\n\r\nx"),
            format!("GET / HTTP/1.1\r\nHost: x\r\n{rest}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nUpgrade: websocket\r\n{KEY}{THIRTEEN}\r\n"),
            format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n{KEY}{THIRTEEN}\r\n"),
        ] {
            assert_eq!(status_of(&request), 400, "{request:?}");
        }
        assert_eq!(status_of(&format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(HEAD_BYTES))), 431);
        assert_eq!(status_of("GET / HTTP/1.1\r\nHost"), 0, "it is gone");
    }
}
