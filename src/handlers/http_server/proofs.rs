//! Answers that carry a proof (`proofs = true`): a header says where in the tree the event of the answer is, and a path of the
//! listener gives the proof once a checkpoint covers it.
//!
//! The proof has the data of the event only for the client that got the answer: it gives the token that stood in the header. The token
//! follows from the salt of the event, which nobody else knows. Data that holds the state of the actor is left out all the same.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::chain::data::{NamedState, Return, StateAfter};
use crate::chain::{ChainEvent, DroppedData, EventKind, Link};
use crate::handlers::ActorRef;
use crate::journal::Placed;
use crate::net::http::{WireRequest, WireResponse};
use crate::proofs::NotProved;

/// The header of an answer.
pub(super) const THEATER_PROOF: &str = "Theater-Proof";
/// Where proofs are given.
const PATH: &str = "/.well-known/theater/proof/";
/// After how many seconds a client may ask again.
const RETRY_AFTER: &str = "1";

/// The header of the answer that an event gave; none if there is no tree, or the event is not on disk yet.
pub(super) fn header(actor: &ActorRef, link: &Link) -> Option<String> {
    let proofs = actor.theater.proofs.get()?;
    let key = actor.theater.key(actor.id)?;
    let placed = match proofs.event(key, link.sequence) {
        Ok(placed) => placed.filter(|placed| placed.event.hash == link.hash)?,
        Err(why) => {
            log::warn!("an answer of actor {} names no proof: {why}", actor.name);
            return None;
        }
    };
    let (origin, index, token) = (proofs.origin(), placed.position - 1, token(&placed.event)?);
    Some(format!("origin=\"{origin}\", index={index}, event=\"{}\", token=\"{token}\"", link.hash))
}

/// What the client shows that got the answer. It follows from the salt, and does not give it away.
fn token(event: &ChainEvent) -> Option<String> {
    let hash =
        Sha256::new().chain_update(b"theater: the token of a proof").chain_update(event.salt?.as_bytes()).finalize();
    Some(hex::encode(&hash[..16]))
}

/// The answer to a request for a proof; none if the request is another one.
pub(super) fn answer(actor: &ActorRef, request: &WireRequest) -> Option<WireResponse> {
    let (path, query) = request.uri.split_once('?').unwrap_or((&request.uri, ""));
    let index = path.strip_prefix(PATH)?;
    if !["GET", "HEAD"].contains(&request.method.as_str()) {
        return Some(WireResponse::text(405, "a proof is read by GET", &[("Allow", "GET, HEAD")]));
    }
    let Some(proofs) = actor.theater.proofs.get() else {
        return Some(WireResponse::text(404, "this runtime signs no checkpoints", &[]));
    };
    let given = query.split('&').find_map(|part| part.strip_prefix("token="));
    let (Ok(index), Some(given)) = (index.parse::<u64>(), given) else {
        return Some(WireResponse::text(
            400,
            "a proof is asked for by the index and the token of the header Theater-Proof",
            &[],
        ));
    };
    let gone = || WireResponse::text(404, "there is no such event, or it has another token", &[]);
    let placed = match proofs.event_at(index) {
        Ok(placed) => placed,
        Err(NotProved::NoSuchEvent) => return Some(gone()),
        Err(why) => return Some(not_proved(actor, &why)),
    };
    let is_right = token(&placed.event).is_some_and(|token| bool::from(token.as_bytes().ct_eq(given.as_bytes())));
    if placed.actor != actor.id || !is_right {
        return Some(gone());
    }
    Some(match proofs.path_of(&placed) {
        Ok(path) => {
            let Placed { actor, event, .. } = placed;
            WireResponse::text(200, path.with(actor, shown(event)).to_string().trim_end(), &[])
        }
        Err(why) => not_proved(actor, &why),
    })
}

fn not_proved(actor: &ActorRef, why: &NotProved) -> WireResponse {
    if matches!(why, NotProved::NotYet) {
        return WireResponse::text(425, "no checkpoint covers the event yet", &[("Retry-After", RETRY_AFTER)]);
    }
    log::warn!("a proof of actor {} cannot be given: {why}", actor.name);
    WireResponse::text(500, "the proof cannot be made", &[])
}

/// The event as a client may see it: without its data if that holds the state of the actor.
fn shown(event: ChainEvent) -> ChainEvent {
    let holds_state = match event.kind() {
        Some(EventKind::Return) => !matches!(
            event.read::<Return>().map(|returned| returned.state),
            Ok(StateAfter::Unchanged | StateAfter::Now(NamedState::None))
        ),
        // An answer that was put off is given by a host call, which has the answer and nothing else.
        Some(EventKind::HostCall | EventKind::Refused) => false,
        _ => true,
    };
    if !holds_state {
        return event;
    }
    let dropped = Some(DroppedData::of(&event));
    ChainEvent { data: Vec::new(), salt: None, dropped, ..event }
}
