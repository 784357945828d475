//! The headers of a request that decide how the exchange goes on: where its body ends, whether the connection is kept,
//! and whether the client waits for `100 Continue` before it sends the body. What two readers could understand
//! differently is refused.

use super::authority::Authority;
use super::framing::{RequestFraming, Version};
use super::refusal::HttpRefusal;
use super::response::is_token_byte;

/// The headers that decide how the exchange goes on.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a> {
    host: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    transfer_encoding: Option<&'a [u8]>,
    says_close: bool,
    says_keep_alive: bool,
    expects_continue: bool,
    expects_more: bool,
}

impl<'a> Fields<'a> {
    pub(crate) fn gather(headers: &[httparse::Header<'a>]) -> Result<Self, HttpRefusal> {
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
                name if name.eq_ignore_ascii_case("expect") => fields.add_expect(value),
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

    fn add_expect(&mut self, value: &[u8]) {
        for expectation in items(value) {
            let is_continue = expectation.eq_ignore_ascii_case(b"100-continue");
            self.expects_continue |= is_continue;
            self.expects_more |= !is_continue;
        }
    }

    /// There must be exactly one `Host`; a client of HTTP/1.0 may leave it out. A client whose target has no authority
    /// sends an empty one.
    pub(crate) fn check_host(&self, version: Version) -> Result<(), HttpRefusal> {
        let is_host = |host: &[u8]| std::str::from_utf8(host).is_ok_and(|host| Authority::parse(host).is_some());
        match self.host {
            None if version == Version::Http11 => Err(HttpRefusal::malformed("the Host header is missing")),
            Some(host) if !host.is_empty() && !is_host(host) => {
                Err(HttpRefusal::malformed("the Host header is no host"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// RFC 9112 §6.3. Where the end of the body is in doubt, nobody can tell which bytes belong to this request.
    pub(crate) fn framing(&self, version: Version) -> Result<RequestFraming, HttpRefusal> {
        match (self.transfer_encoding, self.content_length) {
            (None, None) => Ok(RequestFraming::Absent),
            (None, Some(length)) => content_length(length).map(RequestFraming::Length),
            (Some(_), Some(_)) => Err(HttpRefusal::malformed("both Content-Length and Transfer-Encoding are given")),
            (Some(_), None) if version == Version::Http10 => {
                Err(HttpRefusal::malformed("HTTP/1.0 has no Transfer-Encoding"))
            }
            (Some(coding), None) => chunked(coding),
        }
    }

    pub(crate) fn keep_alive(&self, version: Version) -> bool {
        !self.says_close && (version == Version::Http11 || self.says_keep_alive)
    }

    pub(crate) fn expects_continue(&self, version: Version) -> Result<bool, HttpRefusal> {
        match version {
            Version::Http11 if self.expects_more => {
                Err(HttpRefusal::new(417, "the only expectation met here is 100-continue"))
            }
            Version::Http11 => Ok(self.expects_continue),
            Version::Http10 => Ok(false),
        }
    }
}

fn set_once<'a>(slot: &mut Option<&'a [u8]>, value: &'a [u8], name: &str) -> Result<(), HttpRefusal> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(HttpRefusal::malformed(format!("there is more than one {name} header"))),
    }
}

/// Digits and nothing else: no sign, no list. A number too large for a `u64` is larger than every limit.
fn content_length(value: &[u8]) -> Result<u64, HttpRefusal> {
    match std::str::from_utf8(value) {
        Ok(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(digits.parse().unwrap_or(u64::MAX))
        }
        _ => Err(HttpRefusal::malformed("the Content-Length is not a number")),
    }
}

/// The only coding that is accepted is `chunked`, alone. Another coding before it is not known here (501). If `chunked`
/// is not the last coding, or occurs twice, nobody can tell where the body ends (400).
fn chunked(value: &[u8]) -> Result<RequestFraming, HttpRefusal> {
    let codings: Vec<_> = items(value).collect();
    let is_chunked = |coding: &&&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let is_token = |coding: &&[u8]| coding.iter().copied().all(is_token_byte);
    let last_alone = codings.last().as_ref().is_some_and(is_chunked) && codings.iter().filter(is_chunked).count() == 1;
    match codings[..] {
        [_] if last_alone => Ok(RequestFraming::Chunked),
        _ if last_alone && codings.iter().all(is_token) => {
            Err(HttpRefusal::new(501, "the only transfer coding known here is chunked"))
        }
        _ => Err(HttpRefusal::malformed("the Transfer-Encoding is not chunked")),
    }
}

/// The members of a comma-separated list, without the white space around them. Empty members are skipped: RFC 9110
/// §5.6.1.
fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trimmed).filter(|item| !item.is_empty())
}

/// The item without spaces and tabs around it. Other control characters stay, because they are white space to some
/// readers and part of a word to others.
fn trimmed(mut item: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = item {
        item = rest;
    }
    item
}
