//! A blocking HTTP/1.1 server: bytes on a socket to a [`WireRequest`], a [`WireResponse`] to bytes. It knows no actor.
//!
//! | file | what |
//! |---|---|
//! | `listener` | bind, serve, drop |
//! | `door`, `lobby`, `guest` | the listener's thread: who is let in, who waits, who is dismissed for others, closing |
//! | `connection` | one connection's thread: request, service, answer, again |
//! | `presence`, `shared` | what door and connections know of each other |
//! | `stream`, `deadline` | a socket whose every wait ends in time |
//! | `head`, `target`, `authority`, `fields` | the head of a request: pure functions of the bytes received |
//! | `body`, `chunked`, `extension` | its body, the same |
//! | `budget` | what all bodies may have together |
//! | `response`, `refusal`, `answer`, `date` | answers: the service's, the engine's own, and their bytes |
//!
//! `httparse` does the splitting of heads. Everything here is bounded by [`WireLimits`] or a constant beside its use,
//! and a request that two readers might understand differently is refused, not guessed at.

mod answer;
mod authority;
mod body;
mod budget;
mod chunked;
mod connection;
mod date;
mod deadline;
mod door;
mod extension;
mod fields;
mod guest;
mod head;
mod limits;
mod listener;
mod lobby;
mod presence;
mod refusal;
mod response;
mod shared;
mod stream;
mod target;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub(crate) use answer::{Exchange, write_response};
pub(crate) use chunked::ChunkedDecoder;
pub(crate) use date::DateText;
pub(crate) use head::{Framing, Head, HeadScan, asks_for_a_head_alone};
pub(crate) use limits::WireLimits;
pub(crate) use listener::{HttpListener, Serving};
pub(crate) use refusal::Refusal;
pub(crate) use response::{WireResponse, is_token_byte};

/// A request, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireRequest {
    /// As sent: methods are case-sensitive, and any token is one.
    pub(crate) method: String,
    /// The request target in origin form: path and query, or `*`. The authority of an absolute one stands in `Host`.
    pub(crate) uri: String,
    /// In order, duplicates kept, names as sent. Values that are not UTF-8 are taken for Latin-1.
    pub(crate) headers: Vec<(String, String)>,
    /// `None` where the request announced no body; a coding is undone, trailers are dropped.
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) peer: SocketAddr,
}

/// A request as a client might send it: its head, and a chunked body behind it.
pub(crate) fn hostile_http(bytes: &[u8]) {
    const LIMIT: usize = 64 * 1024;
    if let Ok(Some(end)) = head::HeadScan::default().end(bytes, LIMIT) {
        assert!(end <= bytes.len(), "a head ends where it was received");
        let _ = head::Head::parse(&bytes[..end]);
    }
    let (mut decoder, mut body, mut rest) = (chunked::ChunkedDecoder::new(LIMIT), Vec::new(), bytes);
    while let Ok(taken @ 1..) = decoder.decode(rest, &mut body, LIMIT) {
        rest = &rest[taken..];
        assert!(body.len() <= LIMIT, "a body keeps to its limit");
    }
}
