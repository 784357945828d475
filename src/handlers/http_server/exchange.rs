//! One HTTP request: it becomes a delivery like any other, and its answer is sent once the events that it depends on are on
//! disk. The answer is whole, or it is a head whose body comes later. Each kind of failure has a status of its own, and no error
//! text of a guest reaches the client.

use std::sync::Arc;
use std::time::Duration;

use super::HANDLE_REQUEST;
use super::idempotency::{self, REPLAYED};
use super::proofs;
use super::uploads::{Uploads, strip};
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::Caller;
use crate::chain::{Function, Link};
use crate::guest::wit::{HttpAnswer, HttpRequest, HttpResponse};
use crate::handlers::ActorRef;
use crate::net::ClientQueue;
use crate::net::http::{StreamBody, Upload, WireAnswer, WireRequest, WireResponse};
use crate::promise::{HANDLE_STREAM_REQUEST, answered_later, stream_closed};
use crate::system::{ClientKind, KeyRefusal, Keyed, KeyedDelivery, NoAnswer, Outcome, Refusal, TheaterHandle};

/// After how many seconds a client may try again, when the actor had no room or was ending.
const RETRY_AFTER: &str = "1";

/// What came of asking an actor by a request.
pub(crate) struct AskedActor {
    pub(crate) answer: WireAnswer,
    /// The actor has given no answer, and may give one if it is asked again.
    pub(crate) is_passing: bool,
    /// The actor takes no HTTP requests at all, or its manifest does not let it.
    pub(crate) takes_no_http: bool,
    /// The actor may have kept something of the request: it has answered, or may still answer.
    is_taken: bool,
}

impl AskedActor {
    /// The answer of the runtime itself, which another attempt would not change.
    pub(crate) fn lasting(answer: impl Into<WireAnswer>) -> Self {
        Self { answer: answer.into(), is_passing: false, takes_no_http: false, is_taken: false }
    }

    /// No answer of the actor, which another attempt may get.
    pub(crate) fn passing(answer: impl Into<WireAnswer>) -> Self {
        Self { answer: answer.into(), is_passing: true, takes_no_http: false, is_taken: false }
    }

    fn taken(self) -> Self {
        Self { is_taken: true, ..self }
    }

    /// The same answer, with the header that names the event that gave it.
    fn proved(self, actor: &ActorRef, closing: Option<Link>) -> Self {
        match closing.and_then(|link| proofs::header(actor, &link)) {
            Some(value) => {
                let answer = self.answer.map(|response| response.with_header(proofs::THEATER_PROOF, &value));
                Self { answer, ..self }
            }
            None => self,
        }
    }

    /// The same answer, with the mark of one that was recorded before. Who repeats a request keeps no file of it.
    fn marked(self, was_before: bool) -> Self {
        if !was_before {
            return self;
        }
        Self::lasting(self.answer.map(|response| response.with_header(REPLAYED, "true")))
    }
}

/// Answers one request of a listener that serves many actors, on the thread of its connection, within a time that the actor's
/// own limit may shorten.
pub(crate) fn answer_http(
    theater: &TheaterHandle,
    id: ActorId,
    request: WireRequest,
    heeds_keys: bool,
    within: Duration,
) -> AskedActor {
    let found = theater.registry.entry(id, |entry| {
        let streams = entry.exports.contains(HANDLE_STREAM_REQUEST.full);
        (entry.name.as_str().into(), Arc::clone(&entry.limits), Arc::clone(&entry.exports), streams)
    });
    let Some((name, limits, exports, streams)) = found else { return refuse(&Refusal::Unknown(id)) };
    if request.body.as_ref().is_some_and(|body| body.len() as u64 > limits.http_body_bytes) {
        return AskedActor::lasting(WireResponse::text(413, "the body is larger than the actor takes", &[]));
    }
    let within = within.min(limits.request_deadline());
    let actor = ActorRef { id, name, limits, exports, has_lived: true, theater: theater.clone() };
    answer(&actor, request, Ways { streams, heeds_keys, proves: false }, within)
}

/// How an actor answers.
#[derive(Clone, Copy)]
pub(super) struct Ways {
    /// It may answer by a stream.
    pub(super) streams: bool,
    /// The header `Idempotency-Key` has a meaning.
    pub(super) heeds_keys: bool,
    /// Answers name their place in the tree.
    pub(super) proves: bool,
}

/// Answers one request. A file that its body went to stays if the actor may have kept its name.
pub(super) fn answer(actor: &ActorRef, mut request: WireRequest, ways: Ways, within: Duration) -> AskedActor {
    let upload = request.upload.take();
    if upload.is_none() {
        strip(&mut request.headers);
    }
    let exchange = exchange(actor, request, ways, within);
    if let Some(Upload(file)) = upload.filter(|_| exchange.is_taken) {
        file.keep();
    }
    exchange
}

/// Answers one request, on the thread of its connection.
fn exchange(actor: &ActorRef, request: WireRequest, ways: Ways, within: Duration) -> AskedActor {
    let key = match idempotency::key_of(&request).filter(|_| ways.heeds_keys).transpose() {
        Ok(key) => key,
        Err(why) => return AskedActor::lasting(WireResponse::text(400, why, &[])),
    };
    let WireRequest { method, uri, headers, body, framing, .. } = request;
    let request = HttpRequest { method, uri, headers, body };
    if !ways.streams {
        let params = (request,);
        let call = HttpCall { function: HANDLE_REQUEST, params: params.to_cbor(), key, request: &params.0 };
        return match call.made(actor, within) {
            Err(failed) => failed,
            Ok(mut made) => {
                let closing = made.closing.take().filter(|_| ways.proves);
                made.response(actor).proved(actor, closing)
            }
        };
    }
    let most = usize::try_from(actor.limits.push_bytes).unwrap_or(usize::MAX);
    let queue = ClientQueue::new(framing, most);
    let ticket = actor.theater.clients.expect(ClientKind::Stream, &queue);
    let (telling, over) = (actor.clone(), Arc::clone(&queue));
    // However this ends, the actor is told of the end of a stream that it has opened.
    let body = StreamBody::new(queue, move || stream_is_over(&telling, &over));
    let params = (ticket, request);
    let call = HttpCall { function: HANDLE_STREAM_REQUEST, params: params.to_cbor(), key, request: &params.1 };
    match call.made(actor, within) {
        Err(failed) => failed,
        Ok(mut made) => {
            let closing = made.closing.take().filter(|_| ways.proves);
            made.response_or_stream(actor, body).proved(actor, closing)
        }
    }
}

/// A call of an actor for a request.
struct HttpCall<'a> {
    function: &'static Function,
    params: Vec<u8>,
    key: Option<String>,
    request: &'a HttpRequest,
}

/// The outcome of such a call.
struct MadeCall {
    outcome: Outcome,
    /// The call was made before, for the same key.
    was_before: bool,
    /// The event that gave the answer, of a call that was made now.
    closing: Option<Link>,
}

impl HttpCall<'_> {
    /// Has the actor called; the error is the answer if the actor gives none.
    fn made(self, actor: &ActorRef, within: Duration) -> Result<MadeCall, AskedActor> {
        let answer = match &self.key {
            None => actor
                .theater
                .deliver(actor.id, self.function, self.params, Caller::Http)
                .map_err(|refusal| refuse(&refusal))?,
            Some(key) => match self.made_once(actor, key).map_err(|refusal| refuse_key(actor, &refusal))? {
                Keyed::New(answer) => answer,
                Keyed::Before(outcome) => return Ok(MadeCall { outcome, was_before: true, closing: None }),
            },
        };
        match answer.within(within) {
            Ok(answer) => Ok(MadeCall { outcome: answer.outcome, was_before: false, closing: answer.closing }),
            // If the actor has not taken the request, it never will. If the actor has begun, its chain will hold the
            // outcome.
            Err(none @ (NoAnswer::NotDelivered | NoAnswer::OutcomeUnknown)) => {
                let late = AskedActor::lasting(WireResponse::text(504, "the actor did not answer in time", &[]));
                Err(if none == NoAnswer::OutcomeUnknown { late.taken() } else { late })
            }
            // The answer was dropped: the journal takes no more events, or the actor's thread has ended without an answer.
            Err(NoAnswer::Gone) => Err(ending().taken()),
        }
    }

    /// Delivers a request whose key may say that it was made before: with the same method, the same target and the same body, or
    /// the same contents of a file.
    fn made_once(&self, actor: &ActorRef, key: &str) -> Result<Keyed, KeyRefusal> {
        let Self { function, request, .. } = *self;
        let is_same = |recorded: &[u8]| {
            let before = if function.full == HANDLE_STREAM_REQUEST.full {
                <(u64, HttpRequest)>::from_cbor(recorded).map(|(_, request)| request)
            } else {
                <(HttpRequest,)>::from_cbor(recorded).map(|(request,)| request)
            };
            before.is_ok_and(|before| {
                let parts = |request: &HttpRequest| {
                    (request.method.clone(), request.uri.clone(), Uploads::digest(&request.headers))
                };
                parts(&before) == parts(request) && before.body == request.body
            })
        };
        let (params, caller) = (self.params.clone(), Caller::Http);
        let delivery = KeyedDelivery { function, params, caller, key, is_same: &is_same, given_later: answered_later };
        actor.theater.deliver_once(actor.id, delivery)
    }
}

impl MadeCall {
    /// The answer of an actor that answers whole.
    fn response(self, actor: &ActorRef) -> AskedActor {
        let was_before = self.was_before;
        let asked = respond(actor, self.outcome, |result| {
            let response = HttpResponse::from_cbor(result).map_err(|error| error.to_string());
            response.and_then(wire_response).map(WireAnswer::from)
        });
        asked.marked(was_before)
    }

    /// The answer of an actor that may answer by a stream, which `body` is for.
    fn response_or_stream(self, actor: &ActorRef, body: StreamBody) -> AskedActor {
        let was_before = self.was_before;
        let asked = respond(actor, self.outcome, |result| {
            // An answer that was put off is whole.
            let answer = HttpAnswer::from_cbor(result)
                .or_else(|error| HttpResponse::from_cbor(result).map(HttpAnswer::Response).map_err(|_| error));
            match answer.map_err(|error| error.to_string())? {
                HttpAnswer::Response(response) => wire_response(response).map(WireAnswer::from),
                HttpAnswer::Stream(_) if was_before => {
                    Ok(WireResponse::text(410, "the answer was a stream, which is not sent again", &[]).into())
                }
                HttpAnswer::Stream(_) if has_too_many_streams(actor) => {
                    let retry = [("Retry-After", RETRY_AFTER)];
                    Ok(WireResponse::text(503, "too many answers of the actor are streams now", &retry).into())
                }
                HttpAnswer::Stream(head) => WireResponse::new(head.status, head.headers, head.first)
                    .map(|response| WireAnswer { response, stream: Some(body) })
                    .map_err(|error| error.to_string()),
            }
        });
        asked.marked(was_before)
    }
}

fn has_too_many_streams(actor: &ActorRef) -> bool {
    actor.theater.clients.count(actor.id, ClientKind::Stream) as u64 > actor.limits.http_streams
}

fn wire_response(HttpResponse { status, headers, body }: HttpResponse) -> Result<WireResponse, String> {
    WireResponse::new(status, headers, body).map_err(|error| error.to_string())
}

/// Tells the actor that a stream is over, if it was promised that and has not ended the stream itself.
fn stream_is_over(actor: &ActorRef, queue: &Arc<ClientQueue>) {
    if let (Some(opened), Some(id)) = (actor.theater.clients.over(actor.id, queue), queue.id()) {
        // If this is refused, the actor is ending: it needs no more notices, or gets this one at its next start.
        let _ = actor.theater.notify(actor.id, stream_closed(opened, id));
    }
}

fn refuse_key(actor: &ActorRef, refusal: &KeyRefusal) -> AskedActor {
    let status = match refusal {
        KeyRefusal::NotTaken(refusal) => return refuse(refusal),
        KeyRefusal::UnderWay => {
            let retry = [("Retry-After", RETRY_AFTER)];
            return AskedActor::passing(WireResponse::text(409, &refusal.to_string(), &retry));
        }
        KeyRefusal::OfAnother => 422,
        KeyRefusal::AnswerDropped => 410,
        KeyRefusal::Unreadable(_) => {
            log::error!("a request with an Idempotency-Key to actor {} cannot be looked up: {refusal}", actor.name);
            return AskedActor::lasting(WireResponse::text(500, "the recorded answer cannot be read", &[]));
        }
    };
    AskedActor::lasting(WireResponse::text(status, &refusal.to_string(), &[]))
}

fn refuse(refusal: &Refusal) -> AskedActor {
    let why = match refusal {
        Refusal::Full => "the actor has no room for more requests",
        Refusal::DiskLow(_) => "the server's disk is nearly full",
        gone if gone.is_for_good() => {
            return AskedActor::lasting(WireResponse::text(503, "the actor has ended", &[]));
        }
        Refusal::Unknown(_) | Refusal::NotRunning(..) | Refusal::Closed | Refusal::Asleep | Refusal::Suspending => {
            "the actor is ending"
        }
        Refusal::NeverFits { .. } => {
            let why = "the request is larger than the actor's whole mailbox";
            return AskedActor::lasting(WireResponse::text(413, why, &[]));
        }
        Refusal::NotExported(..) => {
            let asked = AskedActor::lasting(WireResponse::text(500, "the actor takes no HTTP requests", &[]));
            return AskedActor { takes_no_http: true, ..asked };
        }
        Refusal::NotReachable(..) | Refusal::TooLarge { .. } | Refusal::Deadlock(_) => {
            return AskedActor::lasting(WireResponse::text(500, "the actor cannot be asked", &[]));
        }
    };
    let is_passing = !matches!(refusal, Refusal::DiskLow(_) | Refusal::Suspending);
    let response = WireResponse::text(503, why, &[("Retry-After", RETRY_AFTER)]);
    AskedActor { answer: response.into(), is_passing, takes_no_http: false, is_taken: false }
}

/// The answer to an outcome. `read` makes an answer of a result.
fn respond(actor: &ActorRef, outcome: Outcome, read: impl FnOnce(&[u8]) -> Result<WireAnswer, String>) -> AskedActor {
    match outcome {
        Outcome::Returned(result) => AskedActor::lasting(read(&result).unwrap_or_else(|why| {
            log::warn!("actor {} gave an answer that cannot be sent: {why}", actor.name);
            WireResponse::text(502, "the actor gave an answer that cannot be sent", &[]).into()
        }))
        .taken(),
        // The actor's own words are on the chain, for those who may read it.
        Outcome::Refused(_) => AskedActor::lasting(WireResponse::text(500, "the actor refused the request", &[])),
        Outcome::Failed(_) => AskedActor::passing(WireResponse::text(500, "the actor failed", &[])),
        Outcome::Stopped => ending().taken(),
        Outcome::Dropped(_) => ending(),
    }
}

fn ending() -> AskedActor {
    AskedActor::passing(WireResponse::text(503, "the actor is ending", &[("Retry-After", RETRY_AFTER)]))
}
