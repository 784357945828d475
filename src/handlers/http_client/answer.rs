//! A response as its bytes come: head, framing, body; RFC 9112, read strictly. No socket here, so that it can be cut
//! anywhere in tests.
//!
//! ```text
//!   Head ── interim (1xx) ──▶ Head
//!     └──── final ──▶ Length | Chunked | UntilEnd ──▶ Complete
//! ```
//!
//! A response that two readers might understand differently is refused, not guessed at: the other one may be a proxy
//! that keeps what this one would take for the body.

use super::Bounds;
use super::explain::Failure;
use crate::base::limits::{HTTP_INTERIM_RESPONSES, HTTP_RESPONSE_HEADERS};
use crate::handlers::wire::ChunkedDecoder;

/// Headers in order, duplicates kept, names as sent.
pub(super) type Headers = Vec<(String, String)>;

/// A response, as far as it has come.
#[derive(Debug)]
pub(super) struct Answer {
    state: State,
    /// Whether the request's method was HEAD: then no body follows, whatever the head says.
    to_head: bool,
    head_bytes: u64,
    body_bytes: u64,
    interim: usize,
    head: Option<Head>,
    body: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// The bytes of a head, and how many of them were searched for its end.
    Head(Vec<u8>, usize),
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Box<ChunkedDecoder>),
    /// The body ends where the connection does.
    UntilEnd,
    Complete,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) headers: Headers,
    is_1_0: bool,
}

impl Answer {
    pub(super) fn new(to_head: bool, bounds: &Bounds) -> Self {
        let (head_bytes, body_bytes) = (bounds.head_bytes, bounds.body_bytes);
        let state = State::Head(Vec::new(), 0);
        Self { state, to_head, head_bytes, body_bytes, interim: 0, head: None, body: Vec::new() }
    }

    /// The head of the final response, once it is there.
    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// Takes what came next. What comes behind the end is not looked at: no second response was asked for.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Head(head, searched) => {
                    let Some(end) = end_of_head(head, searched, bytes) else {
                        return self.head_goes_on(bytes);
                    };
                    head.extend_from_slice(&bytes[..end]);
                    bytes = &bytes[end..];
                    let head = std::mem::take(head);
                    self.take_head(&head)?;
                }
                State::Length(left) => {
                    let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    self.body.extend_from_slice(&bytes[..taken]);
                    *left -= taken as u64;
                    if *left == 0 {
                        self.state = State::Complete;
                    }
                    return Ok(());
                }
                State::Chunked(decoder) => {
                    let limit = usize::try_from(self.body_bytes).unwrap_or(usize::MAX);
                    let decoded = decoder.decode(bytes, &mut self.body, limit);
                    decoded.map_err(|refusal| match refusal.status {
                        413 => Failure::BodyTooLarge,
                        _ => Failure::NotHttp(refusal.why.into_owned()),
                    })?;
                    if decoder.is_done() {
                        self.state = State::Complete;
                    }
                    return Ok(());
                }
                State::UntilEnd => {
                    if (self.body.len() + bytes.len()) as u64 > self.body_bytes {
                        return Err(Failure::BodyTooLarge);
                    }
                    self.body.extend_from_slice(bytes);
                    return Ok(());
                }
                State::Complete => return Ok(()),
            }
        }
        Ok(())
    }

    /// The connection has ended: whether the response is complete with that.
    pub(super) fn end(&mut self) -> bool {
        if matches!(self.state, State::UntilEnd) {
            self.state = State::Complete;
        }
        self.is_complete()
    }

    /// Whether its end is the connection's end.
    pub(super) fn is_until_end(&self) -> bool {
        matches!(self.state, State::UntilEnd)
    }

    /// The parts of a complete response; no body where it cannot have one.
    pub(super) fn into_parts(self) -> (Head, Option<Vec<u8>>) {
        let head = self.head.expect("a complete response has a head");
        let body = (!has_no_body(self.to_head, head.status)).then_some(self.body);
        (head, body)
    }

    fn head_goes_on(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let State::Head(head, _) = &mut self.state else { unreachable!("called in a head") };
        head.extend_from_slice(bytes);
        // A server that speaks something else may wait for an answer to it.
        check_begin(head)?;
        if head.len() as u64 > self.head_bytes { Err(Failure::HeadTooLarge) } else { Ok(()) }
    }

    fn take_head(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.len() as u64 > self.head_bytes {
            return Err(Failure::HeadTooLarge);
        }
        check_begin(bytes)?;
        let head = parse(bytes)?;
        match head.status {
            101 => {
                return Err(Failure::NotHttp("it switches to another protocol, which nobody asked for".to_owned()));
            }
            100..200 => {
                self.interim += 1;
                if self.interim > HTTP_INTERIM_RESPONSES {
                    let why = format!("more than {HTTP_INTERIM_RESPONSES} interim responses and no final one");
                    return Err(Failure::NotHttp(why));
                }
                self.state = State::Head(Vec::new(), 0);
                return Ok(());
            }
            _ => {}
        }
        let framing = framing(&head).map_err(Failure::NotHttp)?;
        self.state = match framing {
            _ if has_no_body(self.to_head, head.status) => State::Complete,
            Framing::Length(0) => State::Complete,
            Framing::Length(length) if length > self.body_bytes => return Err(Failure::BodyTooLarge),
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => {
                let limit = usize::try_from(self.body_bytes).unwrap_or(usize::MAX);
                State::Chunked(Box::new(ChunkedDecoder::new(limit)))
            }
            Framing::UntilEnd => State::UntilEnd,
        };
        self.head = Some(head);
        Ok(())
    }
}

/// Whether a head, as far as it has come, begins as one of HTTP/1.0 and HTTP/1.1 does.
fn check_begin(head: &[u8]) -> Result<(), Failure> {
    if head.iter().zip(b"HTTP/1.").all(|(came, expected)| came == expected) {
        return Ok(());
    }
    Err(Failure::NotHttp("it does not begin with HTTP/1".to_owned()))
}

/// RFC 9112 §6.3: answers to HEAD, and 204 and 304, end with their head.
fn has_no_body(to_head: bool, status: u16) -> bool {
    to_head || matches!(status, 204 | 304)
}

/// How many of `bytes` belong to the head that `head` begins, if it ends in them: behind an empty line.
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

fn parse(bytes: &[u8]) -> Result<Head, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; HTTP_RESPONSE_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(Failure::NotHttp("its head is malformed".to_owned())),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Failure::NotHttp(format!("it has more than {HTTP_RESPONSE_HEADERS} headers")));
        }
        Err(error) => return Err(Failure::NotHttp(error.to_string())),
    }
    let status = response.code.expect("a complete head has a status");
    if status < 100 {
        return Err(Failure::NotHttp(format!("there is no status {status}")));
    }
    let header = |header: &httparse::Header<'_>| (header.name.to_owned(), text(header.value));
    let headers = response.headers.iter().map(header).collect();
    Ok(Head { status, headers, is_1_0: response.version == Some(0) })
}

/// A value that is not UTF-8 is read as Latin-1.
fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().copied().map(char::from).collect(), str::to_owned)
}

impl Head {
    /// The values of the headers called `name`, in order.
    pub(super) fn values(&self, name: &'static str) -> impl Iterator<Item = &str> {
        let is_it = move |given: &&(String, String)| given.0.eq_ignore_ascii_case(name);
        self.headers.iter().filter(is_it).map(|(_, value)| value.as_str())
    }
}

enum Framing {
    Length(u64),
    Chunked,
    UntilEnd,
}

/// Where the body ends: RFC 9112 §6.3.
fn framing(head: &Head) -> Result<Framing, String> {
    let lengths: Vec<&str> = head.values("content-length").collect();
    let codings: Vec<&str> = head.values("transfer-encoding").collect();
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(Framing::UntilEnd),
        ([_, ..], [_, ..]) => Err("it has both Content-Length and Transfer-Encoding".to_owned()),
        ([], _) if head.is_1_0 => Err("HTTP/1.0 has no Transfer-Encoding".to_owned()),
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => Ok(Framing::Chunked),
        ([], codings) => {
            Err(format!("its Transfer-Encoding is {:?}; only \"chunked\" is understood", codings.join(", ")))
        }
        (lengths, []) => length(lengths).map(Framing::Length),
    }
}

/// The one length that all of these say, in digits and nothing else.
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

/// A response as a server might send it, in pieces of each size.
pub(super) fn hostile_response(bytes: &[u8]) {
    let bounds = Bounds::of_defaults();
    let understand = |piece: usize, to_head: bool| {
        let mut answer = Answer::new(to_head, &bounds);
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
