//! The head of a request: where it ends, what it says, and how its body is framed.
//!
//! `httparse` splits it into parts. This file refuses what httparse lets through and RFC 9112 does not, above all what
//! two readers of the same bytes could understand differently (request smuggling).

use std::borrow::Cow;
use std::mem::MaybeUninit;

use crate::base::limits::HTTP_REQUEST_LINES;

use super::fields::Fields;
use super::framing::{RequestFraming, Version};
use super::refusal::HttpRefusal;
use super::request_target::RequestTarget;
use super::response::is_token_byte;

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestHead {
    pub(crate) method: String,
    /// In origin form: the path with its query, `*`, or the authority of a CONNECT.
    pub(crate) target: String,
    /// In the order in which they were sent, with duplicates and with their names as sent. A value that is not UTF-8 is
    /// read as Latin-1. `Host` holds the authority of an absolute target, in place of what the client wrote there.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) framing: RequestFraming,
    pub(crate) is_http10: bool,
    pub(crate) keep_alive: bool,
    /// The client sends the body only after it was told to go on.
    pub(crate) expects_continue: bool,
}

/// Finds the end of a head in bytes that come in pieces. It looks at each byte once.
#[derive(Debug, Default)]
pub(crate) struct HeadScan {
    scanned: usize,
    lines: usize,
}

impl HeadScan {
    /// The length of the head that `received` begins with, once all of it is there.
    pub(crate) fn end(&mut self, received: &[u8], limit: usize) -> Result<Option<usize>, HttpRefusal> {
        if self.scanned == 0 {
            check_first_byte(received)?;
        }
        for at in self.scanned..received.len().min(limit) {
            if received[at] != b'\n' {
                continue;
            }
            if at == 0 || received[at - 1] != b'\r' {
                return Err(HttpRefusal::malformed("a line ends in a bare line feed"));
            }
            self.lines += 1;
            if received[..=at].ends_with(b"\r\n\r\n") {
                return Ok(Some(at + 1));
            }
        }
        self.scanned = received.len();
        if received.len() < limit {
            return Ok(None);
        }
        let (status, what) = if self.lines == 0 { (414, "request line") } else { (431, "head") };
        Err(HttpRefusal::new(status, format!("the {what} is larger than {limit} bytes")))
    }
}

/// Refuses bytes that cannot be HTTP as soon as the first byte shows it. It may contain no end of a line at all, so
/// that waiting for one would not end.
fn check_first_byte(received: &[u8]) -> Result<(), HttpRefusal> {
    match received.first() {
        Some(0x16) => Err(HttpRefusal::malformed("this looks like TLS, and this port speaks plain HTTP")),
        Some(&byte) if !is_token_byte(byte) => Err(HttpRefusal::malformed("the request begins with no method")),
        Some(_) | None => Ok(()),
    }
}

impl RequestHead {
    /// Reads a whole head, which ends where [`HeadScan`] says.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, HttpRefusal> {
        Self::parse_over("http", bytes)
    }

    /// Like [`parse`](Self::parse), on a connection over which targets of this scheme are asked for.
    pub(crate) fn parse_over(scheme: &str, bytes: &[u8]) -> Result<Self, HttpRefusal> {
        let bytes = &with_a_known_version(bytes)[..];
        let mut lines = [const { MaybeUninit::uninit() }; HTTP_REQUEST_LINES];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(bytes, &mut lines).map_err(|error| refuse_head(error, bytes))?;
        if parsed != httparse::Status::Complete(bytes.len()) {
            return Err(HttpRefusal::malformed("the head ends where it should not"));
        }
        let missing = || HttpRefusal::malformed("the request line is incomplete");
        let (method, target) = (request.method.ok_or_else(missing)?, request.path.ok_or_else(missing)?);
        let version = if request.version == Some(0) { Version::Http10 } else { Version::Http11 };
        let target = RequestTarget::parse(method, target, scheme)?;
        let fields = Fields::gather(request.headers)?;
        fields.check_host(version)?;
        let mut headers = request.headers.iter().map(|line| (line.name.to_owned(), text(line.value))).collect();
        if let Some(authority) = target.authority {
            replace_host(&mut headers, authority);
        }
        Ok(Self {
            method: method.to_owned(),
            target: target.uri,
            framing: fields.framing(version)?,
            is_http10: version == Version::Http10,
            keep_alive: fields.keep_alive(version),
            expects_continue: fields.expects_continue(version)?,
            headers,
        })
    }
}

/// RFC 9112 §3.2.2: if the target is absolute, it says whom the request is for, and `Host` does not count.
fn replace_host(headers: &mut Vec<(String, String)>, authority: &str) {
    match headers.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case("host")) {
        Some((_, host)) => authority.clone_into(host),
        None => headers.insert(0, ("Host".to_owned(), authority.to_owned())),
    }
}

/// Whether a request has the method HEAD, as far as it has come. Its answer has no body, not even that of a refusal.
pub(crate) fn asks_for_a_head_alone(received: &[u8]) -> bool {
    received.trim_ascii_start().starts_with(b"HEAD ")
}

/// The same head. The version of a later minor number is replaced by HTTP/1.1, the latest version that httparse knows.
fn with_a_known_version(bytes: &[u8]) -> Cow<'_, [u8]> {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    match line {
        [.., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => {
            let mut known = bytes.to_vec();
            known[line.len() - 1] = b'1';
            Cow::Owned(known)
        }
        _ => Cow::Borrowed(bytes),
    }
}

fn refuse_head(error: httparse::Error, bytes: &[u8]) -> HttpRefusal {
    match error {
        httparse::Error::TooManyHeaders => {
            HttpRefusal::new(431, format!("there are more than {HTTP_REQUEST_LINES} headers"))
        }
        httparse::Error::Version if names_another_version(bytes) => {
            HttpRefusal::new(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        }
        _ => HttpRefusal::malformed(format!("the head is malformed: {error}")),
    }
}

/// Whether the request line is right except for the digits of its version. httparse knows only 1.0 and 1.1.
fn names_another_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let version = words.nth(2).and_then(|word| word.strip_prefix(b"HTTP/"));
    let other = match version {
        Some([major, b'.', minor]) => major.is_ascii_digit() && minor.is_ascii_digit(),
        Some([major]) => major.is_ascii_digit(),
        _ => false,
    };
    other && words.next().is_none()
}

/// The text of a value: UTF-8 if it is that, else Latin-1, in which each byte is a character. So no header is refused
/// for its language.
fn text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(value) => value.to_owned(),
        Err(_) => value.iter().map(|byte| char::from(*byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<RequestHead, HttpRefusal> {
        let bytes = head.as_bytes();
        let end = HeadScan::default().end(bytes, 64 * 1024)?.expect("a whole head");
        assert_eq!(end, bytes.len());
        RequestHead::parse(bytes)
    }

    fn status_of(head: &str) -> u16 {
        parse(head).map_or_else(|refusal| refusal.status, |_| 200)
    }

    /// A GET with `lines` after a correct Host.
    fn with(lines: &str) -> Result<RequestHead, HttpRefusal> {
        parse(&format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n"))
    }

    fn status_with(lines: &str) -> u16 {
        with(lines).map_or_else(|refusal| refusal.status, |_| 200)
    }

    fn status_of_line(line: &str) -> u16 {
        status_of(&format!("{line}\r\nHost: h\r\n\r\n"))
    }

    #[test]
    fn headers_keep_their_order_their_duplicates_and_their_spelling() {
        let head = with("x-B: 1\r\nX-a: 2\r\nx-b: 3 \r\nEmpty:\r\n").expect("a good head");
        let headers: Vec<_> = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(headers, [("Host", "h"), ("x-B", "1"), ("X-a", "2"), ("x-b", "3"), ("Empty", "")]);
    }

    #[test]
    fn a_value_that_is_not_utf8_is_read_as_latin_1() {
        let head = RequestHead::parse(b"GET / HTTP/1.1\r\nHost: h\r\nA: caf\xe9\r\nB: caf\xc3\xa9\r\n\r\n")
            .expect("a good head");
        assert_eq!(head.headers[1].1, "café");
        assert_eq!(head.headers[2].1, "café");
    }

    #[test]
    fn the_end_of_a_head_is_found_wherever_the_pieces_are_cut() {
        let bytes = b"GET / HTTP/1.1\r\nHost: h\r\n\r\nrest";
        for cut in 0..bytes.len() {
            let mut scan = HeadScan::default();
            let early = scan.end(&bytes[..cut], 1024).expect("good so far");
            assert_eq!(early.is_some(), cut >= 27, "cut at {cut}");
            if early.is_none() {
                assert_eq!(scan.end(bytes, 1024), Ok(Some(27)));
            }
        }
    }

    #[test]
    fn a_bare_line_feed_is_refused_as_soon_as_it_is_seen() {
        for head in ["GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nHost: h\n", "GET / HTTP/1.1\r\nHost: h\r\n\n", "\n"] {
            let refused = HeadScan::default().end(head.as_bytes(), 1024).expect_err(head);
            assert_eq!(refused.status, 400, "{head:?}");
        }
    }

    #[test]
    fn what_cannot_be_http_is_refused_by_its_first_byte() {
        for first in [0x16, 0x00, b' ', b'{', 0x80] {
            assert_eq!(HeadScan::default().end(&[first], 1024).expect_err("not HTTP").status, 400);
        }
    }

    #[test]
    fn a_head_beyond_the_limit_is_refused_and_a_request_line_has_its_own_status() {
        let refusal = |head: &[u8]| HeadScan::default().end(head, 32).expect_err("too large").status;
        assert_eq!(refusal(&[b'a'; 32]), 414);
        assert_eq!(refusal(b"GET / HTTP/1.1\r\nHost: hhhhhhhhhhhhhhhhhhhhhhhhhhh\r\n\r\n"), 431);
    }

    #[test]
    fn too_many_headers_are_refused() {
        assert_eq!(status_with(&"A: b\r\n".repeat(HTTP_REQUEST_LINES - 1)), 200);
        assert_eq!(status_with(&"A: b\r\n".repeat(HTTP_REQUEST_LINES)), 431);
    }

    #[test]
    fn the_request_line_must_be_exactly_so() {
        for line in [
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "GET /",
            "GET",
            "GET / x HTTP/1.1",
        ] {
            assert_eq!(status_of_line(line), 400, "{line:?}");
        }
        for line in
            ["GET / HTP/1.1", "GET / HTTP/1.x", "GET / http/1.1", "GET / HTTP/11", "GET / HTTP/1.1.1", "G(T / HTTP/1.1"]
        {
            assert_eq!(status_of_line(line), 400, "{line:?}");
        }
    }

    #[test]
    fn other_versions_are_told_that_they_are_not_spoken() {
        for line in
            ["PRI * HTTP/2.0", "GET / HTTP/2", "GET / HTTP/3", "GET / HTTP/0.9", "GET / HTTP/2.1", "GET / HTTP/9.9"]
        {
            assert_eq!(status_of_line(line), 505, "{line:?}");
        }
    }

    #[test]
    fn a_later_minor_version_is_read_as_the_latest_known_one() {
        for version in ["1.2", "1.9"] {
            let head = parse(&format!("GET / HTTP/{version}\r\nHost: h\r\nExpect: 100-continue\r\n\r\n"));
            let head = head.expect("a good head");
            assert!(!head.is_http10 && head.keep_alive && head.expects_continue, "{version}");
            assert_eq!(status_of(&format!("GET / HTTP/{version}\r\n\r\n")), 400, "{version} needs a Host too");
        }
    }

    #[test]
    fn the_target_must_fit_the_method() {
        for line in
            ["OPTIONS * HTTP/1.1", "CONNECT h:443 HTTP/1.1", "GET http://h/x HTTP/1.1", "PURGE /a|b?{c}^ HTTP/1.1"]
        {
            assert_eq!(status_of_line(line), 200, "{line:?}");
        }
        for line in ["GET * HTTP/1.1", "CONNECT / HTTP/1.1", "GET /\0 HTTP/1.1", "GET /\x7f HTTP/1.1"] {
            assert_eq!(status_of_line(line), 400, "{line:?}");
        }
    }

    #[test]
    fn the_authority_of_an_absolute_target_replaces_the_host() {
        let seen = |head: &str| {
            let head = parse(head).expect("a good head");
            (head.target, head.headers)
        };
        let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let (target, headers) = seen("GET http://there:8080/x HTTP/1.1\r\nA: b\r\nhost: here\r\nC: d\r\n\r\n");
        assert_eq!(target, "/x");
        assert_eq!(headers, [line("A", "b"), line("host", "there:8080"), line("C", "d")]);
        let (_, headers) = seen("GET http://there/x HTTP/1.0\r\nA: b\r\n\r\n");
        assert_eq!(headers, [line("Host", "there"), line("A", "b")]);
        assert_eq!(status_of("GET http://there/x HTTP/1.1\r\n\r\n"), 400, "the Host header must be there all the same");
        assert_eq!(status_of("GET http://there/x HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400);
    }

    #[test]
    fn a_head_request_is_known_before_it_is_whole() {
        for begun in ["HEAD ", "HEAD / HTTP/1.1\r\nHo", "\r\nHEAD /"] {
            assert!(asks_for_a_head_alone(begun.as_bytes()), "{begun:?}");
        }
        for begun in ["", "HEAD", "GET /HEAD ", "HEADS ", "head "] {
            assert!(!asks_for_a_head_alone(begun.as_bytes()), "{begun:?}");
        }
    }

    #[test]
    fn exactly_one_host_is_wanted() {
        assert_eq!(status_of("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status_of("GET / HTTP/1.0\r\n\r\n"), 200);
        assert_eq!(status_with("Host: h\r\n"), 400);
        for host in ["", "h", "h:80", "[::1]:8080", "192.0.2.1", "a-b.example."] {
            assert_eq!(status_of(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), 200, "{host:?}");
        }
        for host in ["a, b", "a/b", "user@h", "a b", "h?x", "ä", "a:80:80", "[::1", "a%zz", ":80", "a:65536"] {
            assert_eq!(status_of(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), 400, "{host:?}");
        }
    }

    #[test]
    fn lines_that_readers_disagree_about_are_refused() {
        for lines in
            ["A : b\r\n", " A: b\r\n", "A: b\r\n folded\r\n", "A: b\r\n\tfolded\r\n", "A\r\n", ": b\r\n", "A B: c\r\n"]
        {
            assert_eq!(status_with(lines), 400, "{lines:?}");
        }
        for lines in
            ["A: b\0c\r\n", "A: b\rc\r\n", "A: b\x01c\r\n", "A: b\x7fc\r\n", "\0: b\r\n", "Ä: b\r\n", "A\0: b\r\n"]
        {
            assert_eq!(status_with(lines), 400, "{lines:?}");
        }
    }

    #[test]
    fn a_length_is_digits_given_once() {
        assert_eq!(with("Content-Length: 12\r\n").expect("good").framing, RequestFraming::Length(12));
        assert_eq!(with("content-length:\t012 \r\n").expect("good").framing, RequestFraming::Length(12));
        assert_eq!(
            with("Content-Length: 99999999999999999999\r\n").expect("good").framing,
            RequestFraming::Length(u64::MAX)
        );
        for length in ["", "+1", "-1", "1,1", "1, 2", "0x1", "1 2", "1.0", "a", "１"] {
            assert_eq!(status_with(&format!("Content-Length: {length}\r\n")), 400, "{length:?}");
        }
        for second in ["1", "2"] {
            assert_eq!(status_with(&format!("Content-Length: 1\r\nContent-Length: {second}\r\n")), 400);
        }
    }

    #[test]
    fn a_length_beside_a_transfer_encoding_is_refused() {
        assert_eq!(status_with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400);
        assert_eq!(status_with("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"), 400);
    }

    #[test]
    fn the_only_transfer_encoding_is_chunked() {
        assert_eq!(with("Transfer-Encoding: Chunked\r\n").expect("good").framing, RequestFraming::Chunked);
        assert_eq!(status_with("Transfer-Encoding: gzip, chunked\r\n"), 501);
        for coding in ["chunked,", ",chunked", " , chunked\t,,", ",CHUNKED"] {
            assert_eq!(
                with(&format!("Transfer-Encoding: {coding}\r\n")).expect("good").framing,
                RequestFraming::Chunked
            );
        }
        for coding in ["gzip,,chunked", ",gzip, chunked,"] {
            assert_eq!(status_with(&format!("Transfer-Encoding: {coding}\r\n")), 501, "{coding:?}");
        }
        for coding in [
            "",
            ",",
            "identity",
            "xchunked",
            "chunked, gzip",
            "chunked, chunked",
            "chunked,,chunked",
            "\u{a0}chunked",
            "chunked\x0c,",
            "\"chunked\"",
            "chunked;a",
            "\x0bchunked",
        ] {
            assert_eq!(status_with(&format!("Transfer-Encoding: {coding}\r\n")), 400, "{coding:?}");
        }
        assert_eq!(status_with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400);
        assert_eq!(status_of("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    }

    #[test]
    fn a_connection_is_kept_alive_unless_its_version_or_the_client_says_otherwise() {
        let kept = |version: &str, connection: &str| {
            let head = format!("GET / HTTP/{version}\r\nHost: h\r\nConnection: {connection}\r\n\r\n");
            parse(&head).expect("a good head").keep_alive
        };
        assert!(kept("1.1", "") && kept("1.1", "keep-alive") && kept("1.0", "Keep-Alive"));
        assert!(!kept("1.1", "close") && !kept("1.0", "") && !kept("1.0", "keep-alive, close"));
        assert!(!kept("1.1", "upgrade, Close"));
    }

    #[test]
    fn the_only_expectation_is_to_be_told_to_continue() {
        assert!(with("Expect: 100-Continue\r\n").expect("good").expects_continue);
        assert!(with("Expect: 100-continue, ,\r\nExpect: 100-continue\r\n").expect("good").expects_continue);
        for expected in ["200-ok", "100-continue, 200-ok", "100-continue\r\nExpect: x", "100-continue;a=b"] {
            assert_eq!(status_with(&format!("Expect: {expected}\r\n")), 417, "{expected:?}");
        }
        assert!(!parse("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expect("good").expects_continue);
    }

    #[test]
    fn methods_of_any_name_pass_as_they_were_sent() {
        for method in ["GET", "get", "PROPFIND", "M-SEARCH", "x!#$%&'*+-.^_`|~1"] {
            assert_eq!(parse(&format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n")).expect("good").method, method);
        }
    }
}
