//! The head of a request: where it ends, what it says, and how its body is framed.
//!
//! `httparse` splits it into parts; this file refuses what httparse lets through and RFC 9112 does not, above all
//! whatever two readers of the same bytes could understand differently (request smuggling).

use std::mem::MaybeUninit;

use crate::base::limits::HTTP_REQUEST_LINES;

use super::refusal::Refusal;
use super::response::is_token_byte;

/// Where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// The request announced no body.
    Absent,
    Length(u64),
    Chunked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: String,
    /// As sent.
    pub(crate) target: String,
    /// In order, duplicates kept, names as sent. A value that is not UTF-8 is taken for Latin-1.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) framing: Framing,
    pub(crate) is_http10: bool,
    pub(crate) keep_alive: bool,
    /// The client sends the body only when it is told to go on.
    pub(crate) expects_continue: bool,
}

/// Finds the end of a head in bytes that come in pieces, looking at each byte once.
#[derive(Debug, Default)]
pub(crate) struct HeadScan {
    scanned: usize,
    lines: usize,
}

impl HeadScan {
    /// The length of the head that `received` begins with, once it is all there.
    pub(crate) fn end(&mut self, received: &[u8], limit: usize) -> Result<Option<usize>, Refusal> {
        if self.scanned == 0 {
            check_first_byte(received)?;
        }
        for at in self.scanned..received.len().min(limit) {
            if received[at] != b'\n' {
                continue;
            }
            if at == 0 || received[at - 1] != b'\r' {
                return Err(Refusal::malformed("a line ends in a bare line feed"));
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
        Err(Refusal::new(status, format!("the {what} is larger than {limit} bytes")))
    }
}

/// Tells what cannot be HTTP by its first byte: it may contain no line end at all to wait for.
fn check_first_byte(received: &[u8]) -> Result<(), Refusal> {
    match received.first() {
        Some(0x16) => Err(Refusal::malformed("this looks like TLS, and this port speaks plain HTTP")),
        Some(&byte) if !is_token_byte(byte) => Err(Refusal::malformed("the request begins with no method")),
        Some(_) | None => Ok(()),
    }
}

impl Head {
    /// Reads a whole head, as [`HeadScan`] found it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut lines = [const { MaybeUninit::uninit() }; HTTP_REQUEST_LINES];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(bytes, &mut lines).map_err(|error| refuse_head(error, bytes))?;
        if parsed != httparse::Status::Complete(bytes.len()) {
            return Err(Refusal::malformed("the head ends where it should not"));
        }
        let missing = || Refusal::malformed("the request line is incomplete");
        let (method, target) = (request.method.ok_or_else(missing)?, request.path.ok_or_else(missing)?);
        let version = if request.version == Some(0) { Version::Http10 } else { Version::Http11 };
        check_target(method, target)?;
        let fields = Fields::gather(request.headers)?;
        fields.check_host(version)?;
        Ok(Self {
            method: method.to_owned(),
            target: target.to_owned(),
            framing: fields.framing(version)?,
            is_http10: version == Version::Http10,
            keep_alive: fields.keep_alive(version),
            expects_continue: fields.expects_continue(version)?,
            headers: request.headers.iter().map(|line| (line.name.to_owned(), text(line.value))).collect(),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

fn refuse_head(error: httparse::Error, bytes: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => {
            Refusal::new(431, format!("there are more than {HTTP_REQUEST_LINES} headers"))
        }
        httparse::Error::Version if names_another_version(bytes) => {
            Refusal::new(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        }
        _ => Refusal::malformed(format!("the head is malformed: {error}")),
    }
}

/// Whether the request line is as it should be but for the digits of its version: httparse knows those of 1.0 and 1.1.
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

/// RFC 9112 §3.2: which form a target has depends on the method. Characters that every browser percent-encodes are
/// refused; those that browsers send as they are (`|`, `{`, `^` and the like) are not.
fn check_target(method: &str, target: &str) -> Result<(), Refusal> {
    if !target.is_ascii() || target.contains('#') {
        return Err(Refusal::malformed("the request target has a character that must be percent-encoded"));
    }
    let fits = match method {
        "CONNECT" => is_authority_with_port(target),
        "OPTIONS" if target == "*" => true,
        _ => target.starts_with('/') || is_absolute(target),
    };
    if fits { Ok(()) } else { Err(Refusal::malformed("the request target is not of a form that fits the method")) }
}

fn is_authority_with_port(target: &str) -> bool {
    target.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && is_host(host) && !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn is_absolute(target: &str) -> bool {
    target.split_once("://").is_some_and(|(scheme, rest)| {
        !rest.is_empty()
            && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(is_scheme_byte)
    })
}

fn is_scheme_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)
}

/// What a `Host` may be made of: a name or an address, and a port. A comma could stand in a name, but it means that
/// two `Host` lines were folded into one.
fn is_host(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=:[]".contains(&byte))
}

/// UTF-8 where it is, else Latin-1, which maps each byte to a character: no header is refused for its language.
fn text(value: &[u8]) -> String {
    match std::str::from_utf8(value) {
        Ok(value) => value.to_owned(),
        Err(_) => value.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// The lines that decide how the exchange goes on.
#[derive(Debug, Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    transfer_encoding: Option<&'a [u8]>,
    expect: Option<&'a [u8]>,
    says_close: bool,
    says_keep_alive: bool,
}

impl<'a> Fields<'a> {
    fn gather(headers: &[httparse::Header<'a>]) -> Result<Self, Refusal> {
        let mut fields = Self::default();
        for header in headers {
            let value = header.value;
            match header.name {
                name if name.eq_ignore_ascii_case("host") => set_once(&mut fields.host, value, "Host")?,
                name if name.eq_ignore_ascii_case("content-length") => {
                    set_once(&mut fields.content_length, value, "Content-Length")?;
                }
                name if name.eq_ignore_ascii_case("transfer-encoding") => {
                    set_once(&mut fields.transfer_encoding, value, "Transfer-Encoding")?;
                }
                name if name.eq_ignore_ascii_case("expect") => set_once(&mut fields.expect, value, "Expect")?,
                name if name.eq_ignore_ascii_case("connection") => fields.add_connection(value),
                _ => {}
            }
        }
        Ok(fields)
    }

    fn add_connection(&mut self, value: &[u8]) {
        for option in items(value) {
            self.says_close |= option.eq_ignore_ascii_case(b"close");
            self.says_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn check_host(&self, version: Version) -> Result<(), Refusal> {
        match self.host {
            None if version == Version::Http11 => Err(Refusal::malformed("the Host header is missing")),
            Some(host) if !std::str::from_utf8(host).is_ok_and(is_host) => {
                Err(Refusal::malformed("the Host header is no host"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// RFC 9112 §6.3. Where the end of the body is in any doubt, there is no telling what belongs to this request.
    fn framing(&self, version: Version) -> Result<Framing, Refusal> {
        match (self.transfer_encoding, self.content_length) {
            (None, None) => Ok(Framing::Absent),
            (None, Some(length)) => content_length(length).map(Framing::Length),
            (Some(_), Some(_)) => Err(Refusal::malformed("both Content-Length and Transfer-Encoding are given")),
            (Some(_), None) if version == Version::Http10 => {
                Err(Refusal::malformed("HTTP/1.0 has no Transfer-Encoding"))
            }
            (Some(coding), None) => chunked(coding),
        }
    }

    fn keep_alive(&self, version: Version) -> bool {
        !self.says_close && (version == Version::Http11 || self.says_keep_alive)
    }

    fn expects_continue(&self, version: Version) -> Result<bool, Refusal> {
        match self.expect {
            Some(expected) if version == Version::Http11 => match expected.eq_ignore_ascii_case(b"100-continue") {
                true => Ok(true),
                false => Err(Refusal::new(417, "the only expectation met here is 100-continue")),
            },
            Some(_) | None => Ok(false),
        }
    }
}

fn set_once<'a>(slot: &mut Option<&'a [u8]>, value: &'a [u8], name: &str) -> Result<(), Refusal> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::malformed(format!("there is more than one {name} header"))),
    }
}

/// Digits and nothing else: no sign, no list. What no `u64` holds is larger than every limit.
fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    match std::str::from_utf8(value) {
        Ok(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(digits.parse().unwrap_or(u64::MAX))
        }
        _ => Err(Refusal::malformed("the Content-Length is not a number")),
    }
}

/// `chunked`, alone. Another coding before it is merely not known here (501); without it at the end, or twice, nobody
/// can say where the body ends (400).
fn chunked(value: &[u8]) -> Result<Framing, Refusal> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(Framing::Chunked);
    }
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let ends_chunked = items(value).last().as_ref().is_some_and(is_chunked);
    let well_formed = items(value).all(|coding| !coding.is_empty() && coding.iter().copied().all(is_token_byte));
    if ends_chunked && well_formed && items(value).filter(is_chunked).count() == 1 {
        return Err(Refusal::new(501, "the only transfer coding known here is chunked"));
    }
    Err(Refusal::malformed("the Transfer-Encoding is not chunked"))
}

/// The items of a comma-separated list, without the white space around them.
fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<Head, Refusal> {
        let bytes = head.as_bytes();
        let end = HeadScan::default().end(bytes, 64 * 1024)?.expect("a whole head");
        assert_eq!(end, bytes.len());
        Head::parse(bytes)
    }

    fn status_of(head: &str) -> u16 {
        parse(head).map_or_else(|refusal| refusal.status, |_| 200)
    }

    /// A GET with `lines` behind a correct Host.
    fn with(lines: &str) -> Result<Head, Refusal> {
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
        let head =
            Head::parse(b"GET / HTTP/1.1\r\nHost: h\r\nA: caf\xe9\r\nB: caf\xc3\xa9\r\n\r\n").expect("a good head");
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
            ["PRI * HTTP/2.0", "GET / HTTP/2", "GET / HTTP/3", "GET / HTTP/0.9", "GET / HTTP/1.2", "GET / HTTP/9.9"]
        {
            assert_eq!(status_of_line(line), 505, "{line:?}");
        }
    }

    #[test]
    fn the_target_must_fit_the_method() {
        for line in [
            "OPTIONS * HTTP/1.1",
            "CONNECT h:443 HTTP/1.1",
            "GET http://h/x HTTP/1.1",
            "PURGE /a|b?{c}^ HTTP/1.1",
            "CONNECT [::1]:1 HTTP/1.1",
        ] {
            assert_eq!(status_of_line(line), 200, "{line:?}");
        }
        for line in
            ["GET * HTTP/1.1", "CONNECT / HTTP/1.1", "CONNECT h: HTTP/1.1", "CONNECT h HTTP/1.1", "GET x HTTP/1.1"]
        {
            assert_eq!(status_of_line(line), 400, "{line:?}");
        }
        for line in
            ["GET /a#b HTTP/1.1", "GET /ä HTTP/1.1", "GET /\0 HTTP/1.1", "GET /\x7f HTTP/1.1", "GET :// HTTP/1.1"]
        {
            assert_eq!(status_of_line(line), 400, "{line:?}");
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
        for host in ["a, b", "a/b", "user@h", "a b", "h?x", "ä"] {
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
        assert_eq!(with("Content-Length: 12\r\n").expect("good").framing, Framing::Length(12));
        assert_eq!(with("content-length:\t012 \r\n").expect("good").framing, Framing::Length(12));
        assert_eq!(with("Content-Length: 99999999999999999999\r\n").expect("good").framing, Framing::Length(u64::MAX));
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
        assert_eq!(with("Transfer-Encoding: Chunked\r\n").expect("good").framing, Framing::Chunked);
        assert_eq!(status_with("Transfer-Encoding: gzip, chunked\r\n"), 501);
        for coding in [
            "",
            "identity",
            "xchunked",
            "chunked, gzip",
            "chunked, chunked",
            ",chunked",
            "chunked,",
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
        assert_eq!(status_with("Expect: 200-ok\r\n"), 417);
        assert!(!parse("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").expect("good").expects_continue);
    }

    #[test]
    fn methods_of_any_name_pass_as_they_were_sent() {
        for method in ["GET", "get", "PROPFIND", "M-SEARCH", "x!#$%&'*+-.^_`|~1"] {
            assert_eq!(parse(&format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n")).expect("good").method, method);
        }
    }
}
