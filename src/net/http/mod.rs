//! A blocking HTTP/1.1 server: it makes a [`WireRequest`] of the bytes on a socket, has a service answer it, and makes
//! bytes of the [`WireResponse`]. It knows no actor.
//!
//! | file | what it holds |
//! |---|---|
//! | `listener` | binding an address, and serving until the handle is dropped |
//! | `admission` | who gets a thread, who waits, who is disconnected for others, and closing |
//! | `lobby`, `waiting` | the lobby, which is the queue of connections without a thread; one of them |
//! | `connection` | one connection: a request, the service, the answer, and the next request |
//! | `client_wait`, `shared` | what the acceptor and the connections know of each other |
//! | `stream` | a socket with a buffer, whose every wait ends by a deadline |
//! | `head`, `request_target`, `authority`, `fields`, `framing` | the head of a request, from its bytes alone |
//! | `upload` | bodies that go to files |
//! | `body`, `chunked`, `extension` | the body of a request, from its bytes alone |
//! | `body_budget`, `limits` | how many bytes all bodies may have together; all limits of a listener |
//! | `response`, `refusal`, `answer`, `date` | answers of the service, refusals of the server, and their bytes |
//! | `compression` | answers compressed for clients that wish it |
//!
//! `httparse` splits heads into their parts. Everything here is bounded by [`HttpLimits`] or by a constant beside its
//! use. A request that two readers might understand differently is refused.

mod admission;
mod answer;
mod authority;
mod body;
mod body_budget;
mod chunked;
mod client_wait;
mod compression;
mod connection;
mod date;
mod extension;
mod fields;
mod framing;
mod head;
mod limits;
mod listener;
mod lobby;
mod refusal;
mod request_target;
mod response;
mod shared;
mod stream;
mod upload;
mod waiting;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use crate::net::PieceFraming;

pub(crate) use answer::{AnswerContext, write_response};
pub(crate) use authority::Authority;
pub(crate) use chunked::ChunkedDecoder;
pub(crate) use compression::Compression;
pub(crate) use date::DateText;
pub(crate) use framing::RequestFraming;
pub(crate) use head::{HeadScan, RequestHead, asks_for_a_head_alone};
pub(crate) use limits::HttpLimits;
pub(crate) use listener::{HttpListener, ServingHttp};
pub(crate) use refusal::{HttpRefusal, RefusalId};
pub(crate) use response::{StreamBody, WireAnswer, WireResponse, is_token_byte};
pub(crate) use upload::{IncomingFile, ReceivedFile, Upload, UploadPlace};

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireRequest {
    /// As it was sent: methods are case-sensitive, and any token is one.
    pub(crate) method: String,
    /// The request target in origin form: path and query, or `*`. `Host` holds the authority of an absolute target.
    pub(crate) uri: String,
    /// In the order in which they were sent, with duplicates and with their names as sent. Values that are not UTF-8
    /// are read as Latin-1.
    pub(crate) headers: Vec<(String, String)>,
    /// `None` where the request announced no body. A transfer coding is decoded, trailers are dropped.
    pub(crate) body: Option<Vec<u8>>,
    /// The file that the body went to, if it was larger than a body in memory may be; `body` is empty then.
    pub(crate) upload: Option<Upload>,
    pub(crate) peer: SocketAddr,
    /// How a body that is sent piece by piece has to be framed for this client.
    pub(crate) framing: PieceFraming,
}

/// For the fuzzers: reads `bytes` as the head of a request, and as a chunked body.
pub(crate) fn hostile_http(bytes: &[u8]) {
    const LIMIT: usize = 64 * 1024;
    if let Ok(Some(end)) = head::HeadScan::default().end(bytes, LIMIT) {
        assert!(end <= bytes.len(), "a head ends where it was received");
        let _ = head::RequestHead::parse(&bytes[..end]);
    }
    let (mut decoder, mut body, mut rest) = (chunked::ChunkedDecoder::new(LIMIT), Vec::new(), bytes);
    while let Ok(taken @ 1..) = decoder.decode(rest, &mut body, LIMIT) {
        rest = &rest[taken..];
        assert!(body.len() <= LIMIT, "a body keeps to its limit");
    }
}
