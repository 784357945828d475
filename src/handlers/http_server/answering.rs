//! From a request on the wire to the answer of an actor: whole, or a head whose body comes later.

use std::sync::Arc;

use super::HANDLE_REQUEST;
use crate::base::id::ActorId;
use crate::chain::Function;
use crate::chain::cbor::Cbor;
use crate::chain::data::Caller;
use crate::guest::wit::{HttpAnswer, HttpRequest, HttpResponse};
use crate::handlers::ActorRef;
use crate::net::ClientQueue;
use crate::net::http::{StreamBody, WireAnswer, WireRequest, WireResponse};
use crate::promise::{HANDLE_STREAM_REQUEST, stream_closed};
use crate::system::{ClientKind, NoAnswer, Outcome, Refusal, TheaterHandle};

/// After how many seconds a client may try again, when the actor had no room or was ending.
const RETRY_AFTER: &str = "1";

/// Answers one request of a listener that serves many actors, on the thread of its connection.
pub(crate) fn answer_http(theater: &TheaterHandle, id: ActorId, request: WireRequest) -> WireAnswer {
    let found = theater.registry.entry(id, |entry| {
        let streams = entry.exports.contains(HANDLE_STREAM_REQUEST.full);
        (entry.name.as_str().into(), Arc::clone(&entry.limits), streams)
    });
    let Some((name, limits, streams)) = found else { return refuse(&Refusal::Unknown(id)).into() };
    if request.body.as_ref().is_some_and(|body| body.len() as u64 > limits.http_body_bytes) {
        return WireResponse::text(413, "the body is larger than the actor takes", &[]).into();
    }
    answer(&ActorRef { id, name, limits, has_lived: true, theater: theater.clone() }, request, streams)
}

/// Answers one request, on the thread of its connection. `streams` says whether the actor may answer by a stream.
pub(super) fn answer(actor: &ActorRef, request: WireRequest, streams: bool) -> WireAnswer {
    let WireRequest { method, uri, headers, body, framing, .. } = request;
    let request = HttpRequest { method, uri, headers, body };
    if !streams {
        return ask(actor, HANDLE_REQUEST, (request,).to_cbor())
            .map_or_else(|failed| failed, |it| respond(actor, it))
            .into();
    }
    let most = usize::try_from(actor.limits.push_bytes).unwrap_or(usize::MAX);
    let queue = ClientQueue::new(framing, most);
    let ticket = actor.theater.clients.expect(ClientKind::Stream, &queue);
    let (telling, over) = (actor.clone(), Arc::clone(&queue));
    // However this ends, the actor is told of the end of a stream that it has opened.
    let body = StreamBody::new(queue, move || stream_is_over(&telling, &over));
    match ask(actor, HANDLE_STREAM_REQUEST, (ticket, request).to_cbor()) {
        Ok(outcome) => respond_by_a_stream(actor, outcome, body),
        Err(failed) => failed.into(),
    }
}

/// Has the actor called; the error is the answer if the actor gives none.
fn ask(actor: &ActorRef, function: &'static Function, params: Vec<u8>) -> Result<Outcome, WireResponse> {
    let answer = actor.theater.deliver(actor.id, function, params, Caller::Http).map_err(|refusal| refuse(&refusal))?;
    answer.within(actor.limits.request_deadline()).map(|answer| answer.outcome).map_err(|none| match none {
        // If the actor has not taken the request, it never will. If the actor has begun, its chain will hold the
        // outcome.
        NoAnswer::NotDelivered | NoAnswer::OutcomeUnknown => {
            WireResponse::text(504, "the actor did not answer in time", &[])
        }
        // The answer was dropped: the journal takes no more events, or the actor's thread has ended without an answer.
        NoAnswer::Gone => ending(),
    })
}

/// Tells the actor that a stream is over, if it was promised that and has not ended the stream itself.
fn stream_is_over(actor: &ActorRef, queue: &Arc<ClientQueue>) {
    if let (Some(opened), Some(id)) = (actor.theater.clients.over(actor.id, queue), queue.id()) {
        // If this is refused, the actor is ending: it needs no more notices, or gets this one at its next start.
        let _ = actor.theater.notify(actor.id, stream_closed(opened, id));
    }
}

fn respond_by_a_stream(actor: &ActorRef, outcome: Outcome, body: StreamBody) -> WireAnswer {
    let Outcome::Returned(result) = outcome else { return respond(actor, outcome).into() };
    let head = match HttpAnswer::from_cbor(&result) {
        Ok(HttpAnswer::Response(response)) => return sendable(actor, wire_response(response)).into(),
        Ok(HttpAnswer::Stream(head)) => head,
        Err(error) => return sendable(actor, Err(error.to_string())).into(),
    };
    if actor.theater.clients.count(actor.id, ClientKind::Stream) as u64 > actor.limits.http_streams {
        return WireResponse::text(
            503,
            "too many answers of the actor are streams now",
            &[("Retry-After", RETRY_AFTER)],
        )
        .into();
    }
    match WireResponse::new(head.status, head.headers, head.first) {
        Ok(response) => WireAnswer { response, stream: Some(body) },
        Err(error) => sendable(actor, Err(error.to_string())).into(),
    }
}

fn refuse(refusal: &Refusal) -> WireResponse {
    let why = match refusal {
        Refusal::Full => "the actor has no room for more requests",
        Refusal::DiskLow(_) => "the server's disk is nearly full",
        Refusal::NotRunning(..) | Refusal::Closed | Refusal::Asleep | Refusal::Suspending | Refusal::Unknown(_) => {
            "the actor is ending"
        }
        Refusal::NeverFits { .. } => {
            return WireResponse::text(413, "the request is larger than the actor's whole mailbox", &[]);
        }
        Refusal::NotExported(..) | Refusal::NotReachable(..) | Refusal::TooLarge { .. } | Refusal::Deadlock(_) => {
            return WireResponse::text(500, "the actor cannot be asked", &[]);
        }
    };
    WireResponse::text(503, why, &[("Retry-After", RETRY_AFTER)])
}

fn respond(actor: &ActorRef, outcome: Outcome) -> WireResponse {
    match outcome {
        Outcome::Returned(result) => {
            let response = HttpResponse::from_cbor(&result).map_err(|error| error.to_string());
            sendable(actor, response.and_then(wire_response))
        }
        // The actor's own words are on the chain, for those who may read it.
        Outcome::Refused(_) => WireResponse::text(500, "the actor refused the request", &[]),
        Outcome::Failed(_) => WireResponse::text(500, "the actor failed", &[]),
        Outcome::Stopped | Outcome::Dropped(_) => ending(),
    }
}

fn ending() -> WireResponse {
    WireResponse::text(503, "the actor is ending", &[("Retry-After", RETRY_AFTER)])
}

fn wire_response(HttpResponse { status, headers, body }: HttpResponse) -> Result<WireResponse, String> {
    WireResponse::new(status, headers, body).map_err(|error| error.to_string())
}

/// The response, or what the client gets in its place if it cannot be sent.
fn sendable(actor: &ActorRef, response: Result<WireResponse, String>) -> WireResponse {
    response.unwrap_or_else(|why| {
        log::warn!("actor {} gave an answer that cannot be sent: {why}", actor.name);
        WireResponse::text(502, "the actor gave an answer that cannot be sent", &[])
    })
}
