//! One HTTP request: it becomes a delivery like any other, and its answer is sent once the events that it depends on are on
//! disk. Each kind of failure has a status of its own, and no error text of a guest reaches the client.

use std::sync::Arc;
use std::time::Duration;

use super::HANDLE_REQUEST;
use super::idempotency::{self, REPLAYED};
use super::uploads::Uploads;
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::Caller;
use crate::guest::wit::{HttpRequest, HttpResponse};
use crate::handlers::ActorRef;
use crate::net::http::{Upload, WireRequest, WireResponse};
use crate::system::{KeyRefusal, Keyed, KeyedDelivery, NoAnswer, Outcome, Refusal, TheaterHandle};

/// After how many seconds a client may try again, when the actor had no room or was ending.
const RETRY_AFTER: &str = "1";

/// What came of asking an actor by a request.
pub(crate) struct AskedActor {
    pub(crate) response: WireResponse,
    /// The actor has given no answer, and may give one if it is asked again.
    pub(crate) is_passing: bool,
    /// The actor may have kept something of the request: it has answered, or may still answer.
    is_taken: bool,
}

impl AskedActor {
    /// The answer of the runtime itself, which another attempt would not change.
    pub(crate) fn lasting(response: WireResponse) -> Self {
        Self { response, is_passing: false, is_taken: false }
    }

    fn passing(response: WireResponse) -> Self {
        Self { response, is_passing: true, is_taken: false }
    }

    fn taken(self) -> Self {
        Self { is_taken: true, ..self }
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
    let found = theater.registry.entry(id, |entry| (entry.name.as_str().into(), Arc::clone(&entry.limits)));
    let Some((name, limits)) = found else { return refuse(&Refusal::Unknown(id)) };
    if request.body.as_ref().is_some_and(|body| body.len() as u64 > limits.http_body_bytes) {
        return AskedActor::lasting(WireResponse::text(413, "the body is larger than the actor takes", &[]));
    }
    let within = within.min(limits.request_deadline());
    answer(&ActorRef { id, name, limits, has_lived: true, theater: theater.clone() }, request, heeds_keys, within)
}

/// Answers one request. A file that its body went to stays if the actor may have kept its name.
pub(super) fn answer(actor: &ActorRef, mut request: WireRequest, heeds_keys: bool, within: Duration) -> AskedActor {
    let upload = request.upload.take();
    let exchange = exchange(actor, request, heeds_keys, within);
    if let Some(Upload(file)) = upload.filter(|_| exchange.is_taken) {
        file.keep();
    }
    exchange
}

/// Answers one request, on the thread of its connection. `heeds_keys` says whether the header `Idempotency-Key` has a meaning
/// here.
fn exchange(actor: &ActorRef, request: WireRequest, heeds_keys: bool, within: Duration) -> AskedActor {
    let key = match idempotency::key_of(&request).filter(|_| heeds_keys).transpose() {
        Ok(key) => key,
        Err(why) => return AskedActor::lasting(WireResponse::text(400, why, &[])),
    };
    let WireRequest { method, uri, headers, body, .. } = request;
    let params = (HttpRequest { method, uri, headers, body },);
    let answer = match key {
        None => {
            actor.theater.deliver(actor.id, HANDLE_REQUEST, params.to_cbor(), Caller::Http).map_err(|why| refuse(&why))
        }
        Some(key) => match deliver_once(actor, &params, &key) {
            Ok(Keyed::New(answer)) => Ok(answer),
            Ok(Keyed::Before(outcome)) => {
                let AskedActor { response, .. } = respond(actor, outcome);
                return AskedActor::lasting(response.with_header(REPLAYED, "true"));
            }
            Err(why) => Err(refuse_key(actor, &why)),
        },
    };
    match answer.map(|answer| answer.within(within)) {
        Err(refused) => refused,
        Ok(Ok(answer)) => respond(actor, answer.outcome),
        // If the actor has not taken the request, it never will. If the actor has begun, its chain will hold the
        // outcome.
        Ok(Err(none @ (NoAnswer::NotDelivered | NoAnswer::OutcomeUnknown))) => {
            let late = AskedActor::lasting(WireResponse::text(504, "the actor did not answer in time", &[]));
            if none == NoAnswer::OutcomeUnknown { late.taken() } else { late }
        }
        // The answer was dropped: the journal takes no more events, or the actor's thread has ended without an answer.
        Ok(Err(NoAnswer::Gone)) => ending().taken(),
    }
}

/// Delivers a request whose key may say that it was made before: with the same method, the same target and the same body, or
/// the same contents of a file.
fn deliver_once(actor: &ActorRef, params: &(HttpRequest,), key: &str) -> Result<Keyed, KeyRefusal> {
    let (request,) = params;
    let is_same = |recorded: &[u8]| {
        <(HttpRequest,)>::from_cbor(recorded).is_ok_and(|(before,)| {
            let parts = |request: &HttpRequest| {
                (request.method.clone(), request.uri.clone(), Uploads::digest(&request.headers))
            };
            parts(&before) == parts(request) && before.body == request.body
        })
    };
    let (function, caller) = (HANDLE_REQUEST, Caller::Http);
    actor
        .theater
        .deliver_once(actor.id, KeyedDelivery { function, params: params.to_cbor(), caller, key, is_same: &is_same })
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
        Refusal::NotRunning(..) | Refusal::Closed | Refusal::Suspending | Refusal::Unknown(_) => "the actor is ending",
        Refusal::NeverFits { .. } => {
            let why = "the request is larger than the actor's whole mailbox";
            return AskedActor::lasting(WireResponse::text(413, why, &[]));
        }
        Refusal::NotExported(..) | Refusal::NotReachable(..) | Refusal::TooLarge { .. } | Refusal::Deadlock(_) => {
            return AskedActor::lasting(WireResponse::text(500, "the actor cannot be asked", &[]));
        }
    };
    let is_passing = !matches!(refusal, Refusal::DiskLow(_) | Refusal::Suspending);
    let response = WireResponse::text(503, why, &[("Retry-After", RETRY_AFTER)]);
    AskedActor { response, is_passing, is_taken: false }
}

fn respond(actor: &ActorRef, outcome: Outcome) -> AskedActor {
    match outcome {
        Outcome::Returned(result) => AskedActor::lasting(
            HttpResponse::from_cbor(&result)
                .map_err(|error| error.to_string())
                .and_then(|HttpResponse { status, headers, body }| {
                    WireResponse::new(status, headers, body).map_err(|error| error.to_string())
                })
                .unwrap_or_else(|why| {
                    log::warn!("actor {} gave an answer that cannot be sent: {why}", actor.name);
                    WireResponse::text(502, "the actor gave an answer that cannot be sent", &[])
                }),
        )
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
