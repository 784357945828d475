//! Requests from outside that carry an idempotency key: who makes one again is answered as before, and the actor is called once.
//!
//! ```text
//!   key ─▶ under way here? ── yes ─▶ refused: it is at work
//!             │ no: it is now
//!             ▼
//!          a call on the chain? ── none ─▶ delivered, with the key
//!             ├─ of another request ─────▶ refused
//!             ├─ its data was dropped ───▶ refused
//!             ├─ not closed yet ─────────▶ refused: it is at work
//!             ├─ returned or refused ────▶ the recorded outcome
//!             ├─ put off ────────────────▶ the answer that was given later; refused if there is none yet: it is at work
//!             └─ failed or stopped ──────▶ delivered again: there was no answer
//! ```
//!
//! No request is made twice. Its place among those under way is taken before the chain is looked at, and is given back only
//! after everything is committed that the actor recorded of it. So whoever takes the place next finds that on the chain.

use super::answer::Outcome;
use super::delivery::Delivery;
use super::handle::TheaterHandle;
use super::key_refusal::KeyRefusal;
use super::keyed::KeyedRequest;
use super::mailbox::Lane;
use super::refusal::Refusal;
use super::reply::{AwaitedReply, Reply};
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Caller, Refused, Return};
use crate::chain::{ChainEvent, EventKind, Function, KeyDigest};
use crate::journal::{ActorKey, JournalReader, KeyedCall, ReadResult};

/// What becomes of a keyed request.
pub(crate) enum Keyed {
    /// It was delivered.
    New(AwaitedReply),
    /// It was made before: the recorded outcome.
    Before(Outcome),
}

/// A call that is to be made once for its key.
pub(crate) struct KeyedDelivery<'a> {
    pub(crate) function: &'static Function,
    pub(crate) params: Vec<u8>,
    pub(crate) caller: Caller,
    pub(crate) key: &'a str,
    /// Whether a recorded call, of which it gets the parameters, is this request made before.
    pub(crate) is_same: &'a dyn Fn(&[u8]) -> bool,
    /// The token and the answer that an event gives, if it gives one that was put off; or tried to, and nobody waited.
    pub(crate) given_later: fn(&ChainEvent) -> Option<(u64, Outcome)>,
}

impl TheaterHandle {
    /// Delivers a call for a caller outside the runtime, unless its key says that it was made before.
    pub(crate) fn deliver_once(&self, to: ActorId, delivery: KeyedDelivery<'_>) -> Result<Keyed, KeyRefusal> {
        let KeyedDelivery { function, params, caller, key, is_same, given_later } = delivery;
        let digest = KeyDigest::of(caller, key);
        let request = self.keyed.begin(&self.journal, to, digest, key).ok_or(KeyRefusal::UnderWay)?;
        let actor = self.key(to).ok_or(Refusal::Unknown(to))?;
        let unreadable = |error: &dyn ToString| KeyRefusal::Unreadable(error.to_string());
        let reader = self.journal.reader().map_err(|error| unreadable(&error))?;
        if let Some(before) = reader.keyed_call(actor, digest).map_err(|error| unreadable(&error))?
            && let Some(recorded) = recorded(&before, function, key, is_same)?
        {
            return match recorded {
                Recorded::Outcome(outcome) => Ok(Keyed::Before(outcome)),
                Recorded::PutOff { token } => {
                    let given = answer_given(&reader, actor, token, given_later);
                    given.map_err(|error| unreadable(&error))?.map(Keyed::Before).ok_or(KeyRefusal::UnderWay)
                }
            };
        }
        self.deliver_keyed(to, (function, params, caller), request).map(Keyed::New)
    }

    /// Delivers a call whose key is known to be new.
    pub(crate) fn deliver_keyed(
        &self,
        to: ActorId,
        (function, params, caller): (&'static Function, Vec<u8>, Caller),
        request: KeyedRequest,
    ) -> Result<AwaitedReply, KeyRefusal> {
        self.journal.has_room().map_err(Refusal::from)?;
        let slot = self.registry.reserve(to, Lane::Mail, function, params.len())?;
        let (reply, answer) = Reply::keyed(request);
        slot.fill(Delivery { function, params, caller, cause: None, reply });
        Ok(answer)
    }
}

/// What the chain says of a request that was made.
enum Recorded {
    Outcome(Outcome),
    /// Its answer was put off.
    PutOff {
        token: u64,
    },
}

/// The answer that an actor has given, or tried to give, after it had put it off.
fn answer_given(
    reader: &JournalReader,
    actor: ActorKey,
    token: u64,
    given_later: fn(&ChainEvent) -> Option<(u64, Outcome)>,
) -> ReadResult<Option<Outcome>> {
    const PAGE: u64 = 1_000;
    let mut from = token + 1;
    loop {
        let events = reader.events(actor, from, PAGE, usize::MAX)?;
        let Some(last) = events.last() else { return Ok(None) };
        from = last.sequence + 1;
        let given = events.iter().filter_map(given_later).find(|(of, _)| *of == token);
        if let Some((_, outcome)) = given {
            return Ok(Some(outcome));
        }
    }
}

/// What the chain says of a request; none if it was made without an answer.
fn recorded(
    KeyedCall { call, closing }: &KeyedCall,
    function: &Function,
    key: &str,
    is_same: &dyn Fn(&[u8]) -> bool,
) -> Result<Option<Recorded>, KeyRefusal> {
    if call.dropped.is_some() || closing.as_ref().is_some_and(|closing| closing.dropped.is_some()) {
        return Err(KeyRefusal::AnswerDropped);
    }
    let unreadable = |event: &ChainEvent| KeyRefusal::Unreadable(format!("event {} is damaged", event.sequence));
    let made: Call = call.read().map_err(|_| unreadable(call))?;
    if made.key.as_deref() != Some(key) || call.function() != function.full || !is_same(&made.params.0) {
        return Err(KeyRefusal::OfAnother);
    }
    let Some(closing) = closing else { return Err(KeyRefusal::UnderWay) };
    match closing.kind() {
        Some(EventKind::Return) => {
            let returned: Return = closing.read().map_err(|_| unreadable(closing))?;
            match returned.deferred {
                None => Ok(Some(Recorded::Outcome(Outcome::Returned(returned.result.0)))),
                Some(token) => Ok(Some(Recorded::PutOff { token })),
            }
        }
        Some(EventKind::Refused) => Refused::from_cbor(&closing.data)
            .map(|refused| Some(Recorded::Outcome(Outcome::Refused(refused.message))))
            .map_err(|_| unreadable(closing)),
        _ => Ok(None),
    }
}
