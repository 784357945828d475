//! Reading a response as its bytes come: head, framing, body; RFC 9112, read strictly. It has no socket, so that tests
//! can cut its input anywhere.
//!
//! ```text
//!   Head ── interim (1xx) ──▶ Head
//!     └──── final ──▶ Length | Chunked | UntilEnd ──▶ Complete
//! ```
//!
//! A response that two readers might understand differently is refused. The other reader may be a proxy that keeps the
//! bytes that this one would take for the body.

use super::bounds::Bounds;
use super::explain::ExchangeFailure;
use crate::base::limits::{HTTP_INTERIM_RESPONSES, HTTP_RESPONSE_HEADERS};
use crate::net::http::ChunkedDecoder;

/// Headers in the order in which they were sent, with duplicates and with their names as sent.
pub(super) type Headers = Vec<(String, String)>;

/// A response, as far as it has come.
#[derive(Debug)]
pub(super) struct IncomingResponse {
    state: ResponseState,
    /// Whether the method of the request was HEAD. Then no body comes, whatever the head says.
    to_head: bool,
    head_bytes: u64,
    body_bytes: u64,
    interim: usize,
    head: Option<ResponseHead>,
    body: Vec<u8>,
}

#[derive(Debug)]
enum ResponseState {
    /// In a head: its bytes, and how many of them were searched for its end.
    ResponseHead(Vec<u8>, usize),
    /// In a body of which so many bytes are still to come.
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
    /// The body ends where the connection does.
    UntilEnd,
    Complete,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) headers: Headers,
    is_1_0: bool,
}

impl IncomingResponse {
    pub(super) fn new(to_head: bool, bounds: &Bounds) -> Self {
        let (head_bytes, body_bytes) = (bounds.head_bytes, bounds.body_bytes);
        let state = ResponseState::ResponseHead(Vec::new(), 0);
        Self { state, to_head, head_bytes, body_bytes, interim: 0, head: None, body: Vec::new() }
    }

    /// The head of the final response, once it has come.
    pub(super) fn head(&self) -> Option<&ResponseHead> {
        self.head.as_ref()
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, ResponseState::Complete)
    }

    /// Takes what came next. Bytes after the end of the response are ignored, because no second response was asked for.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), ExchangeFailure> {
        while !bytes.is_empty() {
            match &mut self.state {
                ResponseState::ResponseHead(head, searched) => {
                    let Some(end) = end_of_head(head, searched, bytes) else {
                        return self.head_goes_on(bytes);
                    };
                    head.extend_from_slice(&bytes[..end]);
                    bytes = &bytes[end..];
                    let head = std::mem::take(head);
                    self.take_head(&head)?;
                }
                ResponseState::Length(left) => {
                    let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    self.body.extend_from_slice(&bytes[..taken]);
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = ResponseState::Complete;
                    }
                    return Ok(());
                }
                ResponseState::Chunked(decoder) => {
                    let limit = usize::try_from(self.body_bytes).unwrap_or(usize::MAX);
                    let decoded = decoder.decode(bytes, &mut self.body, limit);
                    decoded.map_err(|refusal| match refusal.status {
                        413 => ExchangeFailure::BodyTooLarge,
                        _ => ExchangeFailure::NotHttp(refusal.why.into_owned()),
                    })?;
                    if decoder.is_done() {
                        self.state = ResponseState::Complete;
                    }
                    return Ok(());
                }
                ResponseState::UntilEnd => {
                    if (self.body.len() + bytes.len()) as u64 > self.body_bytes {
                        return Err(ExchangeFailure::BodyTooLarge);
                    }
                    self.body.extend_from_slice(bytes);
                    return Ok(());
                }
                ResponseState::Complete => return Ok(()),
            }
        }
        Ok(())
    }

    /// The connection has ended. Returns whether the response is complete with that.
    pub(super) fn end(&mut self) -> bool {
        if matches!(self.state, ResponseState::UntilEnd) {
            self.state = ResponseState::Complete;
        }
        self.is_complete()
    }

    /// Whether the response ends only when the connection ends.
    pub(super) fn is_until_end(&self) -> bool {
        matches!(self.state, ResponseState::UntilEnd)
    }

    /// The parts of a complete response; no body if it cannot have one.
    pub(super) fn into_parts(self) -> (ResponseHead, Option<Vec<u8>>) {
        let head = self.head.expect("a complete response has a head");
        let body = (!has_no_body(self.to_head, head.status)).then_some(self.body);
        (head, body)
    }

    fn head_goes_on(&mut self, bytes: &[u8]) -> Result<(), ExchangeFailure> {
        let ResponseState::ResponseHead(head, _) = &mut self.state else { unreachable!("called in a head") };
        head.extend_from_slice(bytes);
        // A server that speaks another protocol may wait for an answer, so this does not wait for the whole head.
        check_begin(head)?;
        if head.len() as u64 > self.head_bytes { Err(ExchangeFailure::HeadTooLarge) } else { Ok(()) }
    }

    fn take_head(&mut self, bytes: &[u8]) -> Result<(), ExchangeFailure> {
        if bytes.len() as u64 > self.head_bytes {
            return Err(ExchangeFailure::HeadTooLarge);
        }
        check_begin(bytes)?;
        let head = parse(bytes)?;
        match head.status {
            101 => {
                return Err(ExchangeFailure::NotHttp(
                    "it switches to another protocol, which nobody asked for".to_owned(),
                ));
            }
            100..200 => {
                self.interim += 1;
                if self.interim > HTTP_INTERIM_RESPONSES {
                    let why = format!("more than {HTTP_INTERIM_RESPONSES} interim responses and no final one");
                    return Err(ExchangeFailure::NotHttp(why));
                }
                self.state = ResponseState::ResponseHead(Vec::new(), 0);
                return Ok(());
            }
            _ => {}
        }
        // The head is kept although its framing may be wrong: whoever tells of that has to see what the head repeats.
        let head = self.head.insert(head);
        self.state = match framing(head).map_err(ExchangeFailure::NotHttp)? {
            _ if has_no_body(self.to_head, head.status) => ResponseState::Complete,
            ResponseFraming::Length(0) => ResponseState::Complete,
            ResponseFraming::Length(length) if length > self.body_bytes => return Err(ExchangeFailure::BodyTooLarge),
            ResponseFraming::Length(length) => ResponseState::Length(length),
            ResponseFraming::Chunked => {
                let limit = usize::try_from(self.body_bytes).unwrap_or(usize::MAX);
                ResponseState::Chunked(Box::new(ChunkedDecoder::new(limit)))
            }
            ResponseFraming::UntilEnd => ResponseState::UntilEnd,
        };
        Ok(())
    }
}

/// Checks that a head, as far as it has come, begins like one of HTTP/1.0 or HTTP/1.1.
fn check_begin(head: &[u8]) -> Result<(), ExchangeFailure> {
    if head.iter().zip(b"HTTP/1.").all(|(came, expected)| came == expected) {
        return Ok(());
    }
    Err(ExchangeFailure::NotHttp("it does not begin with HTTP/1".to_owned()))
}

/// RFC 9112 §6.3: a response to a HEAD, a 204 and a 304 end with their head.
fn has_no_body(to_head: bool, status: u16) -> bool {
    to_head || matches!(status, 204 | 304)
}

/// How many of `bytes` belong to the head that `head` begins, if it ends within them. It ends after an empty line.
fn end_of_head(head: &[u8], searched: &mut usize, bytes: &[u8]) -> Option<usize> {
    let at = |index: usize| if index < head.len() { head[index] } else { bytes[index - head.len()] };
    for index in *searched..head.len() + bytes.len() {
        let line_before =
            index >= 1 && at(index - 1) == b'\n' || index >= 2 && at(index - 2) == b'\n' && at(index - 1) == b'\r';
        if at(index) == b'\n' && line_before {
            return Some(index + 1 - head.len());
        }
    }
    *searched = head.len() + bytes.len();
    None
}

fn parse(bytes: &[u8]) -> Result<ResponseHead, ExchangeFailure> {
    let mut headers = [httparse::EMPTY_HEADER; HTTP_RESPONSE_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(ExchangeFailure::NotHttp("its head is malformed".to_owned())),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(ExchangeFailure::NotHttp(format!("it has more than {HTTP_RESPONSE_HEADERS} headers")));
        }
        Err(error) => return Err(ExchangeFailure::NotHttp(error.to_string())),
    }
    let status = response.code.expect("a complete head has a status");
    if status < 100 {
        return Err(ExchangeFailure::NotHttp(format!("there is no status {status}")));
    }
    let header = |header: &httparse::Header<'_>| (header.name.to_owned(), text(header.value));
    let headers = response.headers.iter().map(header).collect();
    Ok(ResponseHead { status, headers, is_1_0: response.version == Some(0) })
}

/// A value that is not UTF-8 is read as Latin-1.
fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().copied().map(char::from).collect(), str::to_owned)
}

impl ResponseHead {
    /// The values of the headers called `name`, in order.
    pub(super) fn values(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let is_it = move |given: &&(String, String)| given.0.eq_ignore_ascii_case(name);
        self.headers.iter().filter(is_it).map(|(_, value)| value.as_str())
    }
}

enum ResponseFraming {
    Length(u64),
    Chunked,
    UntilEnd,
}

/// Reads from the head where the body ends: RFC 9112 §6.3.
fn framing(head: &ResponseHead) -> Result<ResponseFraming, String> {
    let lengths: Vec<&str> = head.values("content-length").collect();
    let codings: Vec<&str> = head.values("transfer-encoding").collect();
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(ResponseFraming::UntilEnd),
        ([_, ..], [_, ..]) => Err("it has both Content-Length and Transfer-Encoding".to_owned()),
        ([], _) if head.is_1_0 => Err("HTTP/1.0 has no Transfer-Encoding".to_owned()),
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(ResponseFraming::Chunked),
        ([], codings) => {
            Err(format!("its Transfer-Encoding is {:?}; only \"chunked\" is understood", codings.join(", ")))
        }
        (lengths, []) => length(lengths).map(ResponseFraming::Length),
    }
}

/// The one length that all these values give, in digits and nothing else.
fn length(values: &[&str]) -> Result<u64, String> {
    let mut said = None;
    for value in values.iter().flat_map(|value| value.split(',')).map(|value| value.trim_matches([' ', '\t'])) {
        let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        let length = value.parse::<u64>().ok().filter(|_| digits);
        let length = length.ok_or_else(|| format!("its Content-Length is {:?}", values.join(", ")))?;
        if said.is_some_and(|said| said != length) {
            return Err(format!("it has several lengths: {}", values.join(", ")));
        }
        said = Some(length);
    }
    Ok(said.expect("split gives at least one piece"))
}

/// For the fuzzers: reads `bytes` as a response, whole and byte by byte.
pub(super) fn hostile_response(bytes: &[u8]) {
    let bounds = Bounds::of_defaults();
    let understand = |piece: usize, to_head: bool| {
        let mut answer = IncomingResponse::new(to_head, &bounds);
        let taken = bytes.chunks(piece).try_for_each(|piece| answer.push(piece));
        assert!(answer.body.len() as u64 <= bounds.body_bytes, "a body keeps to its limit");
        taken.map(|()| answer.end().then(|| answer.into_parts())).map_err(|failure| format!("{failure:?}"))
    };
    for to_head in [false, true] {
        let whole = understand(bytes.len().max(1), to_head);
        if whole.is_ok() {
            assert_eq!(understand(1, to_head), whole, "pieces are understood as the whole is");
        }
    }
}

#[cfg(test)]
mod tests;
