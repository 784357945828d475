//! Promises by messages: a send, and a request whose sender waits for the answer.

use super::Promise;
use super::address::stood_for;
use super::asked::asked_by;
use super::deferred::{begun_anew, given_by, let_go_by, put_off};
use super::fates::{Chains, Fate, OpenIntent, ReadResult, Receivers, Through, link};
use super::monitor::{self, HANDLE_DOWN};
use super::stream::{self, HANDLE_STREAM_CLOSED};
use super::timer::{self, HANDLE_TIMER};
use super::websocket::{self, HANDLE_CONNECTION_MESSAGE};
use crate::base::clock;
use crate::base::id::ActorId;
use crate::base::limits::Limits;
use crate::chain::cbor::{Cbor, CborError, CborReader};
use crate::chain::data::{Call, Caller, Failed, HostCall, Intent, Refused, Return, Started, Stopped};
use crate::chain::{ChainEvent, EventKind, Function, Link, function};
use crate::guest::{Answered, Interruption, Live};
use crate::journal::Owed;
use crate::system::{
    ActorFailure, Answer, Awaited, AwaitedReply, Delivery, NoAnswer, OrderKind, Outcome, Refusal, Reply, Slot, Wait,
    Waited,
};

pub(crate) const HANDLE_SEND: &Function = function!("ntwk:theater/message-server-client", "handle-send");
pub(crate) const HANDLE_REQUEST: &Function = function!("ntwk:theater/message-server-client", "handle-request");
pub(crate) const SEND: &Function = function!("ntwk:theater/message-server-host", "send");
pub(crate) const REQUEST: &Function = function!("ntwk:theater/message-server-host", "request");

/// The answer to the guest.
type Requested = Result<Vec<u8>, String>;

/// A send with a reserved place in the receiver's mailbox.
pub(crate) struct ReservedSend {
    slot: Slot,
    params: Vec<u8>,
}

impl ReservedSend {
    pub(crate) fn reserve(live: &Live, to: ActorId, params: Vec<u8>) -> Result<Self, Refusal> {
        live.theater.journal.has_room_within()?;
        let slot = live.theater.registry.reserve_for_actor(live.id, to, HANDLE_SEND, params.len())?;
        Ok(Self { slot, params })
    }

    pub(crate) fn owed(&self) -> Option<Owed> {
        Promise::Send.owed(self.slot.receiver)
    }

    /// Delivers the message; `event` is the event that promised it.
    pub(crate) fn fill(self, event: Link) {
        self.slot.fill(send_delivery(self.params, event));
    }
}

pub(super) fn send_delivery(params: Vec<u8>, cause: Link) -> Delivery {
    Delivery { function: HANDLE_SEND, params, caller: Caller::Actor, cause: Some(cause), reply: Reply::Nobody }
}

pub(super) fn request_delivery(params: Vec<u8>, cause: Link) -> Delivery {
    Delivery { function: HANDLE_REQUEST, params, caller: Caller::Actor, cause: Some(cause), reply: Reply::Nobody }
}

/// A request with a reserved place in the receiver's mailbox, and with its sender's wait registered.
pub(crate) struct ReservedRequest {
    slot: Slot,
    wait: Wait,
    params: Vec<u8>,
}

impl ReservedRequest {
    pub(crate) fn reserve(live: &Live, to: ActorId, params: Vec<u8>) -> Result<Self, Refusal> {
        live.theater.journal.has_room_within()?;
        let (slot, wait) = live.theater.registry.begin_wait(live.id, to, HANDLE_REQUEST, params.len())?;
        Ok(Self { slot, wait, params })
    }

    pub(crate) fn owed(&self) -> Option<Owed> {
        Promise::Request.owed(self.slot.receiver)
    }

    /// Delivers the message, and waits for the answer. The recorder keeps the registered wait in `held` until the
    /// answer is recorded.
    pub(crate) fn make(
        self,
        live: &Live,
        limits: &Limits,
        intent: Link,
        held: &mut Option<Wait>,
    ) -> Result<Answered<Requested>, Interruption> {
        let Self { slot, wait, params } = self;
        let (to, (reply, answer)) = (slot.receiver, Reply::actor(wait.id()));
        *held = Some(wait);
        slot.fill(Delivery { reply, ..request_delivery(params, intent) });
        wait_for_answer(live, limits, to, &answer, held)
    }
}

/// Goes on with a request that was under way when an earlier process ended, as recovery has found it.
pub(crate) fn request_again(
    live: &Live,
    limits: &Limits,
    held: &mut Option<Wait>,
) -> Result<Answered<Requested>, Interruption> {
    let unknown = |why: &str| Ok(Answered { result: Err(why.to_owned()), answer: None });
    let recovered = live.recovered.lock().take();
    match recovered {
        Some(Awaited::Reply { to, reply }) => wait_for_answer(live, limits, to, &reply, held),
        Some(Awaited::Answer { to, answer }) => Ok(understand(to, answer)),
        Some(Awaited::Unknown(why)) => unknown(&why),
        Some(Awaited::Child(_) | Awaited::Spawned(_) | Awaited::Done(_)) | None => {
            unknown("outcome unknown: interrupted, and nothing says what came of it")
        }
    }
}

fn wait_for_answer(
    live: &Live,
    limits: &Limits,
    to: ActorId,
    answer: &AwaitedReply,
    held: &mut Option<Wait>,
) -> Result<Answered<Requested>, Interruption> {
    let deadline = clock::now() + limits.request_deadline();
    let unanswered = |why: String| Ok(Answered { result: Err(why), answer: None });
    match live.stop.wait(answer, deadline) {
        Waited::Came(answer) => {
            if answer.closing.is_some() {
                // The receiver has ended the wait, after it enqueued that event.
                held.take().into_iter().for_each(Wait::end_by_answer);
            }
            Ok(understand(to, answer))
        }
        // The receiver's thread ended without an answer. If the runtime is shutting down, the transition is left open
        // for the next start. Otherwise the thread has panicked.
        Waited::Gone if live.theater.registry.is_suspending() => Err(Interruption::Suspending),
        Waited::Gone => unanswered(format!("outcome unknown: actor {to} has ended without an answer")),
        Waited::Deadline => {
            let within = format!("within request_deadline_ms = {}", limits.request_deadline_ms);
            unanswered(match answer.withdraw() {
                NoAnswer::NotDelivered => format!("not delivered: actor {to} did not come to it {within}"),
                NoAnswer::OutcomeUnknown | NoAnswer::Gone => {
                    format!("outcome unknown: no answer of actor {to} {within}")
                }
            })
        }
        Waited::Overdue(order) => {
            answer.withdraw();
            Err(match order {
                OrderKind::Stop | OrderKind::Cycle | OrderKind::Fail => Interruption::Ordered,
                OrderKind::Suspend => Interruption::Suspending,
            })
        }
    }
}

/// The answer to the guest for each outcome.
pub(super) fn understand(to: ActorId, Answer { outcome, closing }: Answer) -> Answered<Requested> {
    let result = match outcome {
        Outcome::Returned(result) => Vec::from_cbor(&result).map_err(|error| error.to_string()),
        Outcome::Refused(message) => Err(message),
        Outcome::Failed(why) => Err(format!("actor {to} failed: {why}")),
        Outcome::Stopped => Err(format!("outcome unknown: actor {to} was stopped while it worked on it")),
        Outcome::Dropped(why) => Err(format!("not delivered: actor {to} {why}")),
    };
    Answered { result, answer: closing }
}

/// What became of a request whose intent is the last event of its sender's chain.
pub(super) fn fate(chains: &dyn Chains, receivers: &mut Receivers, intent: &OpenIntent<'_>) -> ReadResult<Fate> {
    let Some((to, _)) = requested(&intent.event.data) else {
        return Ok(unknown("the request cannot be read any more"));
    };
    course_of(chains, receivers, to, &intent.link, intent.position)
}

fn unknown(why: &str) -> Fate {
    Fate::Answered(Awaited::Unknown(format!("outcome unknown: {why}")))
}

/// What became of the message that the event `cause`, at `position`, has promised to `to`, and that is to be answered.
pub(super) fn course_of(
    chains: &dyn Chains,
    receivers: &mut Receivers,
    to: ActorId,
    cause: &Link,
    position: u64,
) -> ReadResult<Fate> {
    if chains.open(to).first().is_some_and(|call| is_caused_by(call, cause)) {
        return Ok(Fate::Await { on: to, through: Through::Transition });
    }
    let goes_on = chains.goes_on(to);
    let events = receivers.since(chains, to, cause, position)?;
    Ok(match answer_to(events, to, cause, goes_on) {
        MessageTrace::Answer(answer) => Fate::Answered(Awaited::Answer { to, answer }),
        MessageTrace::TakenAlone => unknown("the receiver took it, and its chain does not say what came of it"),
        MessageTrace::LetGo => unknown("the deadline had passed, and the receiver has put off no answer any more"),
        MessageTrace::Deferred(token) if goes_on => Fate::Await { on: to, through: Through::Deferred(token) },
        MessageTrace::Deferred(_) => {
            Fate::Answered(Awaited::Answer { to, answer: Answer { outcome: Outcome::Stopped, closing: None } })
        }
        MessageTrace::Nothing if goes_on => Fate::Await { on: to, through: Through::Delivery },
        MessageTrace::Nothing => {
            let why = if chains.is_known(to) { "has ended" } else { "is not in this journal" };
            let answer = Answer { outcome: Outcome::Dropped(why.into()), closing: None };
            Fate::Answered(Awaited::Answer { to, answer })
        }
    })
}

/// What the receiver's chain says of a message.
enum MessageTrace {
    Nothing,
    Answer(Answer),
    /// The receiver took the message, and the events that follow cannot be read.
    TakenAlone,
    /// The receiver has put off its answer, by the event of this sequence.
    Deferred(u64),
    /// The receiver had put off its answer, and has let go of it, because the sender had given up.
    LetGo,
}

/// Looks for the outcome of a message among the receiver's events since it was sent. `goes_on` says that the receiver's last
/// end is none for good.
fn answer_to(events: &[ChainEvent], receiver: ActorId, cause: &Link, goes_on: bool) -> MessageTrace {
    let (mut taken, mut ever_taken) = (false, false);
    for (at, event) in events.iter().enumerate() {
        let is_dropped = |causes: &[Option<Link>]| causes.iter().flatten().any(|dropped| dropped == cause);
        let outcome = match event.kind() {
            Some(EventKind::Call) => {
                taken = is_caused_by(event, cause);
                ever_taken |= taken;
                None
            }
            Some(EventKind::Return) if taken => {
                if let Some(token) = put_off(event) {
                    return answer_put_off(&events[at + 1..], receiver, token, goes_on);
                }
                Return::from_cbor(&event.data).ok().map(|returned| Outcome::Returned(returned.result.0))
            }
            Some(EventKind::Refused) if taken => {
                Refused::from_cbor(&event.data).ok().map(|refused| Outcome::Refused(refused.message))
            }
            Some(EventKind::Failed) => Failed::from_cbor(&event.data).ok().and_then(|failed| {
                let dropped = || is_dropped(&failed.dropped).then(|| Outcome::Dropped("failed".into()));
                if taken {
                    Some(Outcome::Failed(ActorFailure::new(failed.reason, failed.detail.clone())))
                } else {
                    dropped()
                }
            }),
            Some(EventKind::Stopped) if taken => Some(Outcome::Stopped),
            Some(EventKind::Stopped) => Stopped::from_cbor(&event.data)
                .ok()
                .and_then(|stopped| is_dropped(&stopped.dropped).then(|| Outcome::Dropped("was stopped".into()))),
            Some(
                EventKind::Started | EventKind::Intent | EventKind::HostCall | EventKind::Return | EventKind::Refused,
            )
            | None => None,
        };
        if let Some(outcome) = outcome {
            let closing = (outcome != Outcome::Stopped).then(|| link(receiver, event));
            return MessageTrace::Answer(Answer { outcome, closing });
        }
    }
    if ever_taken { MessageTrace::TakenAlone } else { MessageTrace::Nothing }
}

/// Looks for the answer that the receiver has put off, among its events since then.
fn answer_put_off(events: &[ChainEvent], receiver: ActorId, token: u64, goes_on: bool) -> MessageTrace {
    const INIT: &str = "ntwk:theater/actor.init";
    let (mut ended, mut started) = (None, None);
    for event in events {
        match event.kind() {
            Some(EventKind::HostCall) => match given_by(event) {
                Some((of, outcome)) if of == token => {
                    return MessageTrace::Answer(Answer { outcome, closing: Some(link(receiver, event)) });
                }
                _ if let_go_by(event) == Some(token) => return MessageTrace::LetGo,
                _ => {}
            },
            Some(EventKind::Failed) => {
                let failed =
                    Failed::from_cbor(&event.data).map(|it| Outcome::Failed(ActorFailure::new(it.reason, it.detail)));
                let closing = Some(link(receiver, event));
                ended = Some(failed.map_or(stopped(), |outcome| Answer { outcome, closing }));
            }
            Some(EventKind::Stopped) => ended = Some(stopped()),
            Some(EventKind::Started) => {
                if Started::from_cbor(&event.data).is_ok_and(|started| started.ended)
                    && let Some(ended) = ended
                {
                    return MessageTrace::Answer(ended);
                }
                (ended, started) = (None, Some(event));
            }
            // It has begun anew, and knows nothing of what it has put off.
            Some(EventKind::Call) if event.function() == INIT => {
                if let Some(started) = started {
                    return MessageTrace::Answer(begun_anew(link(receiver, started)));
                }
            }
            _ => {}
        }
    }
    match ended {
        Some(ended) if !goes_on => MessageTrace::Answer(ended),
        _ => MessageTrace::Deferred(token),
    }
}

fn stopped() -> Answer {
    Answer { outcome: Outcome::Stopped, closing: None }
}

/// The outcomes that an event of a receiver can mean for a message that it answers or drops.
pub(super) fn outcomes(closing: &Link, event: &ChainEvent) -> Vec<Outcome> {
    match event.kind() {
        Some(EventKind::Return) if put_off(event).is_none() => {
            Return::from_cbor(&event.data).into_iter().map(|returned| Outcome::Returned(returned.result.0)).collect()
        }
        Some(EventKind::Refused) => {
            Refused::from_cbor(&event.data).into_iter().map(|refused| Outcome::Refused(refused.message)).collect()
        }
        Some(EventKind::Failed) => {
            let failed = Failed::from_cbor(&event.data).ok();
            let failed = failed.map(|failed| Outcome::Failed(ActorFailure::new(failed.reason, failed.detail)));
            // The last end of an actor that had failed drops what came since then, in other words.
            failed.into_iter().chain(["failed", "was stopped"].map(|how| Outcome::Dropped(how.into()))).collect()
        }
        Some(EventKind::Stopped) => vec![Outcome::Stopped, Outcome::Dropped("was stopped".into())],
        Some(EventKind::Started) => vec![begun_anew(closing.clone()).outcome],
        Some(EventKind::HostCall) => given_by(event).into_iter().map(|(_, outcome)| outcome).collect(),
        _ => Vec::new(),
    }
}

pub(super) fn is_caused_by(call: &ChainEvent, cause: &Link) -> bool {
    Call::from_cbor(&call.data).is_ok_and(|call| call.cause.as_ref() == Some(cause))
}

/// The receiver of the request in an intent, and the message as parameters of the receiver's export.
pub(super) fn requested(intent: &[u8]) -> Option<(ActorId, Vec<u8>)> {
    let intent = Intent::from_cbor(intent).ok()?;
    let (address, message) = addressed(&intent.params.0)?;
    Some((stood_for(intent.to, &address)?, (message,).to_cbor()))
}

/// The message of a send, as parameters of the receiver's export.
pub(super) fn sent(host_call: &[u8]) -> Option<Vec<u8>> {
    message_sent(host_call).map(|message| (message,).to_cbor())
}

/// The message of a send.
pub(crate) fn message_sent(host_call: &[u8]) -> Option<Vec<u8>> {
    addressed(&HostCall::from_cbor(host_call).ok()?.params?.0).map(|(_, message)| message)
}

/// The receiver of the send that an event records, if the send was accepted.
pub(crate) fn sent_to(event: &ChainEvent) -> Option<ActorId> {
    accepted_send(event, &HostCall::from_cbor(&event.data).ok()?)
}

/// The receiver of the request that an intent announces.
pub(super) fn requested_of(intent: &ChainEvent) -> Option<ActorId> {
    requested(&intent.data).map(|(to, _)| to).filter(|_| intent.function() == REQUEST.full)
}

/// The receiver of a send, if the send was accepted.
pub(crate) fn accepted_send(event: &ChainEvent, host_call: &HostCall) -> Option<ActorId> {
    let accepted = event.function() == SEND.full && host_call.result.whole() == Some(&Ok::<(), String>(()).to_cbor());
    let (address, _) = addressed(&host_call.params.as_ref().filter(|_| accepted)?.0)?;
    stood_for(host_call.to, &address)
}

/// Whether `call` of `receiver` took the message that its cause, the event `promised` of another chain, had sent to it.
pub(crate) fn is_what_was_sent(receiver: ActorId, event: &ChainEvent, call: &Call, promised: &ChainEvent) -> bool {
    let message = match event.function() {
        function if function == HANDLE_SEND.full => {
            let sent = HostCall::from_cbor(&promised.data).ok().filter(|_| promised.function() == SEND.full);
            sent.and_then(|sent| Some((sent.to, sent.params?)))
        }
        function if function == HANDLE_REQUEST.full => {
            if let Some(asked) = asked_by(promised) {
                return asked.to == receiver && message_of(&call.params.0).is_some_and(|taken| taken == asked.message);
            }
            let intent = Intent::from_cbor(&promised.data).ok().filter(|_| promised.function() == REQUEST.full);
            intent.map(|intent| (intent.to, intent.params))
        }
        function if function == HANDLE_TIMER.full => {
            let is_own = call.cause.as_ref().is_some_and(|cause| cause.actor == receiver);
            return is_own && timer::is_what_was_promised(call, promised);
        }
        function if function == HANDLE_DOWN.full => {
            return monitor::is_what_was_told(call, promised);
        }
        function if function == HANDLE_STREAM_CLOSED.full => {
            let is_own = call.cause.as_ref().is_some_and(|cause| cause.actor == receiver);
            return is_own && stream::is_what_was_promised(call, promised);
        }
        function if function == HANDLE_CONNECTION_MESSAGE.full => {
            let is_own = call.cause.as_ref().is_some_and(|cause| cause.actor == receiver);
            return is_own && websocket::is_what_was_promised(call, promised);
        }
        // For a notice or an `init`, it is enough that the call quotes the event.
        _ => return true,
    };
    let read = message.and_then(|(to, params)| Some((to, addressed(&params.0)?)));
    let Some((to, (address, message))) = read else { return false };
    stood_for(to, &address) == Some(receiver) && message_of(&call.params.0).is_some_and(|taken| taken == message)
}

/// Whether a host call has the result that the answering event `closing`, of another chain, gave. Only the result of a
/// request is compared, if it was returned, or given later.
pub(crate) fn is_what_was_answered(event: &ChainEvent, host_call: &HostCall, closing: &ChainEvent) -> bool {
    if event.function() != REQUEST.full {
        return true;
    }
    let got = || host_call.result.whole().and_then(|got| Result::<Vec<u8>, String>::from_cbor(got).ok());
    if closing.kind() == Some(EventKind::HostCall) {
        // It was put off. What an actor gets for it does not depend on who gave it.
        let given = given_by(closing).map(|(_, outcome)| Answer { outcome, closing: None });
        let given = given.map(|given| understand(ActorId::of_nobody(), given).result);
        return given.is_some() && given == got();
    }
    if closing.kind() != Some(EventKind::Return) {
        return true;
    }
    if put_off(closing).is_some() {
        return false;
    }
    let given = Return::from_cbor(&closing.data).ok().and_then(|given| Vec::<u8>::from_cbor(&given.result.0).ok());
    given.is_some() && given == got().and_then(Result::ok)
}

/// The receiver and the message in the parameters of a send or a request.
fn addressed(params: &[u8]) -> Option<(String, Vec<u8>)> {
    <(String, Vec<u8>)>::from_cbor(params).ok()
}

/// The message in the parameters of the export that takes it.
fn message_of(params: &[u8]) -> Option<Vec<u8>> {
    let last = |from: &mut CborReader<'_>, length: u64| {
        if length == 0 {
            return Err(CborError::Mismatch("no parameters", "a message"));
        }
        (1..length).try_for_each(|_| from.item().map(drop))?;
        from.bytes().map(<[u8]>::to_vec)
    };
    CborReader::only(params, |from| from.array(last)).ok()
}
