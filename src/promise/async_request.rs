//! The promise of an asynchronous request: an actor owes itself a call of `handle-reply`, with what another actor has answered.
//!
//! The host call that asks is one event with one row: the actor's own. It promises the receiver a message too, which needs no
//! row. As long as the row is there, a start looks at the receiver's chain: that has taken the message and perhaps answered it,
//! or else the message is delivered again.

use super::asked::{AskedMessage, asked_by};
use super::fates::{Chains, Fate, OpenRequest, ReadResult, Receivers, link};
use super::message::{HANDLE_REQUEST, course_of, outcomes, request_delivery, understand};
use crate::base::clock::BootTime;
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::Call;
use crate::chain::{ChainEvent, Function, Link, function};
use crate::guest::Live;
use crate::journal::{self, Owed, Pending};
use crate::system::{Answer, Awaited, CameOf, Delivery, DueReply, DueTime, Outcome, Refusal, Reply, Slot};

pub(crate) const HANDLE_REPLY: &Function = function!("ntwk:theater/reply-handlers", "handle-reply");

/// The parameters of `handle-reply`: the token, the answer.
pub(crate) type ReplyParams = (u64, Result<Vec<u8>, String>);

/// An asynchronous request with a reserved place in the receiver's mailbox.
pub(crate) struct ReservedAsync {
    slot: Slot,
    params: Vec<u8>,
    within_ms: u64,
    due: DueTime,
}

impl ReservedAsync {
    pub(crate) fn reserve(
        live: &Live,
        to: ActorId,
        message: Vec<u8>,
        within_ms: u64,
        due: DueTime,
    ) -> Result<Self, Refusal> {
        live.theater.journal.has_room_within()?;
        let params = (message,).to_cbor();
        let slot = live.theater.registry.reserve_for_actor(live.id, to, HANDLE_REQUEST, params.len())?;
        Ok(Self { slot, params, within_ms, due })
    }

    /// The receiver.
    pub(crate) fn to(&self) -> ActorId {
        self.slot.receiver
    }

    pub(crate) fn owed(&self, asker: ActorId) -> Owed {
        owed(asker, self.due)
    }

    /// Delivers the message; `event` is the event that promised it.
    pub(crate) fn fill(self, live: &Live, event: Link) {
        let Self { slot, params, within_ms, due } = self;
        let to = live.theater.async_requests.of(live.id).open(event.sequence, slot.receiver, within_ms, due);
        slot.fill(Delivery { reply: Reply::Later { to }, ..request_delivery(params, event) });
    }
}

/// What the event that asks is committed with. The deadline goes by the boot clock, in every process of this boot.
fn owed(asker: ActorId, due: DueTime) -> Owed {
    Owed { receiver: asker, notice: Some(journal::REPLY), boot: due.boot_ms.and_then(BootTime::of) }
}

/// When the answer to a request is due at the latest, as the row and the event that asked say it.
fn deadline(row: &Pending, event: &ChainEvent, within_ms: u64) -> DueTime {
    let boot_ms = row.owed().and_then(|owed| owed.boot).and_then(BootTime::boot_ms);
    DueTime { unix_ms: event.timestamp.saturating_add(within_ms), boot_ms }
}

/// The request of a row, and what became of it; the inner error says why it cannot be read.
pub(super) fn open(
    chains: &dyn Chains,
    receivers: &mut Receivers,
    row: &Pending,
    event: &ChainEvent,
) -> ReadResult<Result<OpenRequest, String>> {
    let Some(AskedMessage { to, within_ms, .. }) = asked_by(event) else {
        return Ok(Err("the event does not say what it asked for".to_owned()));
    };
    let (asker, cause) = (row.receiver, link(row.receiver, event));
    let fate = course_of(chains, receivers, to, &cause, row.position)?;
    Ok(Ok(OpenRequest { asker, token: event.sequence, to, within_ms, due: deadline(row, event, within_ms), fate }))
}

/// The delivery that an event promises to the actor that it asks.
pub(super) fn delivery(event: &ChainEvent, cause: Link) -> Option<Delivery> {
    asked_by(event).map(|asked| request_delivery((asked.message,).to_cbor(), cause))
}

/// The parameters of the call that tells an actor of the answer, and the event that gave it.
pub(crate) fn told_reply(DueReply { token, to, within_ms, came }: DueReply) -> (Vec<u8>, Option<Link>) {
    let within = || format!("within its deadline of {within_ms} ms");
    let (result, cause) = match came {
        CameOf::Answer(answer) => {
            let answered = understand(to, answer);
            (answered.result, answered.answer)
        }
        CameOf::Gone => (Err(format!("outcome unknown: actor {to} has ended without an answer")), None),
        CameOf::NotDelivered => (Err(format!("not delivered: actor {to} did not come to it {}", within())), None),
        CameOf::OutcomeUnknown => (Err(format!("outcome unknown: no answer of actor {to} {}", within())), None),
    };
    let params: ReplyParams = (token, result);
    (params.to_cbor(), cause)
}

/// The answer of a request whose outcome recovery has decided.
pub(crate) fn decided(fate: Fate) -> Option<Answer> {
    match fate {
        Fate::Answered(Awaited::Answer { answer, .. }) => Some(answer),
        Fate::Answered(Awaited::Unknown(why)) => Some(Answer { outcome: Outcome::Refused(why), closing: None }),
        Fate::Answered(_) | Fate::Again | Fate::Await { .. } => None,
    }
}

/// Whether `call` tells of an answer that its cause, an event of another actor, has given; or, without a cause, of none.
pub(crate) fn is_what_was_replied(call: &Call, cause: Option<&ChainEvent>) -> bool {
    let Ok((token, told)) = ReplyParams::from_cbor(&call.params.0) else { return false };
    if call.of != Some(token) {
        return false;
    }
    match (&call.cause, cause) {
        (Some(link), Some(closing)) => outcomes(link, closing)
            .into_iter()
            .any(|outcome| understand(link.actor, Answer { outcome, closing: None }).result == told),
        (None, None) => told.is_err(),
        (Some(_), None) | (None, Some(_)) => false,
    }
}
