//! The promise of the end of a stream: an actor that answers an HTTP request by a stream is told once when the stream ends,
//! unless it ends the stream itself.
//!
//! The row is written with the `return` that has the stream's head. It is settled by the call of `handle-stream-closed`, or
//! by the host call `end`. The stream's id is the sequence of the call of the request, so it follows from the chain.

use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Caller, Return};
use crate::chain::{ChainEvent, EventKind, Function, Link, function};
use crate::system::{Delivery, Reply};

pub(crate) const HANDLE_STREAM_REQUEST: &Function = function!("ntwk:theater/stream-handlers", "handle-request");
pub(crate) const HANDLE_STREAM_CLOSED: &Function = function!("ntwk:theater/stream-handlers", "handle-stream-closed");

/// What the encoding of an `http-answer` begins with if it is the head of a stream: a map of one entry, and its key.
const STREAM: &[u8] = b"\xa1\x66stream";

/// Whether a result of `handle-request` is the head of a stream.
pub(super) fn is_stream(result: &[u8]) -> bool {
    result.starts_with(STREAM)
}

/// Whether an event promises the actor to tell it of the end of a stream.
pub(super) fn is_promised_by(event: &ChainEvent) -> bool {
    let is_answer = event.kind() == Some(EventKind::Return) && event.function() == HANDLE_STREAM_REQUEST.full;
    is_answer && event.read::<Return>().is_ok_and(|returned| is_stream(&returned.result.0))
}

/// The delivery that tells of the end of the stream with this id, whose head the event `opened` has. It goes into the lane
/// for notices: there are never more of them than streams. Nobody gets its answer.
pub(crate) fn stream_closed(opened: Link, id: u64) -> Delivery {
    let (caller, cause, reply) = (Caller::Runtime, Some(opened), Reply::Nobody);
    Delivery { function: HANDLE_STREAM_CLOSED, params: (id,).to_cbor(), caller, cause, reply }
}

/// Whether `call` tells of the end of a stream that the event `opened`, its cause, opened.
pub(super) fn is_what_was_promised(call: &Call, opened: &ChainEvent) -> bool {
    let told = <(u64,)>::from_cbor(&call.params.0);
    is_promised_by(opened) && told.is_ok_and(|(id,)| id < opened.sequence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::wit::{HttpAnswer, HttpResponse, StreamHead};

    #[test]
    fn a_stream_is_told_from_a_response_by_the_beginning_of_its_encoding() {
        assert!(is_stream(&HttpAnswer::Stream(StreamHead { status: 200, headers: vec![], first: None }).to_cbor()));
        let response = HttpResponse { status: 200, headers: vec![], body: Some(STREAM.to_vec()) };
        assert!(!is_stream(&HttpAnswer::Response(response).to_cbor()));
    }
}
