//! The promise of a timer: an actor owes itself a call of `handle-timer`. The host call that sets the timer promises the
//! first round; of a timer with several rounds, the call of each round promises the next one.

use std::sync::Arc;

use super::fates::{Chains, ReadResult};
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Encoded, HostCall};
use crate::chain::{ChainEvent, EventKind, Function, Head, function};
use crate::journal::{Owed, TIMER};
use crate::system::{Cron, DueTime, Schedule, Timer};

pub(crate) const HANDLE_TIMER: &Function = function!("ntwk:theater/timer-handlers", "handle-timer");
pub(crate) const SET: &Function = function!("ntwk:theater/timer", "set");
pub(crate) const SET_AT: &Function = function!("ntwk:theater/timer", "set-at");
pub(crate) const EVERY: &Function = function!("ntwk:theater/timer", "every");
pub(crate) const CRON: &Function = function!("ntwk:theater/timer", "cron");

/// The parameters of `handle-timer`: the key, the time at which it was due, the message.
pub(crate) type TimerParams = (String, u64, Vec<u8>);

/// What the event that promises a firing is committed with.
pub(crate) fn owed(actor: ActorId) -> Owed {
    Owed { receiver: actor, notice: Some(TIMER) }
}

/// What an event says of the firing that it promises.
#[derive(Debug, PartialEq, Eq)]
struct Promised {
    key: String,
    message: Vec<u8>,
    due: u64,
    of: u64,
    round: u64,
}

/// The firing that an event promises; `None` if it promises none.
fn promised(event: &ChainEvent) -> Option<Promised> {
    match event.kind() {
        Some(EventKind::HostCall) => {
            let set: HostCall = event.read().ok()?;
            let due = Result::<u64, String>::from_cbor(set.result.whole()?).ok()?.ok()?;
            let (key, message, _) = wanted(event.function(), &set.params?)?;
            Some(Promised { key, message, due, of: event.sequence, round: 1 })
        }
        Some(EventKind::Call) if event.function() == HANDLE_TIMER.full => {
            let call: Call = event.read().ok()?;
            let (key, _, message) = TimerParams::from_cbor(&call.params.0).ok()?;
            Some(Promised { key, message, due: call.next?, of: call.of?, round: call.round? + 1 })
        }
        _ => None,
    }
}

/// The rounds that a host call asks for, as it names them.
enum Rounds {
    Once,
    Every(u64),
    Cron { expression: String, zone: String },
}

/// The key and the message in the parameters of a host call that sets a timer, and the rounds.
fn wanted(function: &str, params: &Encoded) -> Option<(String, Vec<u8>, Rounds)> {
    if function == CRON.full {
        let (key, expression, zone, message) = <(String, String, String, Vec<u8>)>::from_cbor(&params.0).ok()?;
        return Some((key, message, Rounds::Cron { expression, zone }));
    }
    let is_once = [SET.full, SET_AT.full].contains(&function);
    if !is_once && function != EVERY.full {
        return None;
    }
    let (key, time, message) = <(String, u64, Vec<u8>)>::from_cbor(&params.0).ok()?;
    Some((key, message, if is_once { Rounds::Once } else { Rounds::Every(time) }))
}

/// Whether an event promises a firing.
pub(super) fn is_promised_by(event: &ChainEvent) -> bool {
    promised(event).is_some()
}

/// The timer that an event of `actor` promises to fire, with its key; the inner error says why it cannot be read.
pub(super) fn timer(
    chains: &dyn Chains,
    actor: ActorId,
    event: &ChainEvent,
) -> ReadResult<Result<(Arc<str>, Timer), String>> {
    let unsaid = || Ok(Err("the event does not say which timer it promised".to_owned()));
    let Some(Promised { key, message, due, of, round }) = promised(event) else { return unsaid() };
    let earlier = if of == event.sequence { None } else { chains.event(actor, of)? };
    let set = earlier.as_ref().unwrap_or(event);
    let params = if set.sequence == of { set.read::<HostCall>().ok().and_then(|set| set.params) } else { None };
    let Some((_, _, rounds)) = params.and_then(|params| wanted(set.function(), &params)) else { return unsaid() };
    let schedule = match rounds {
        Rounds::Once => Schedule::Once,
        Rounds::Every(ms) => Schedule::Every { ms },
        Rounds::Cron { expression, zone } => match Cron::parse(&expression, &zone) {
            Ok(cron) => Schedule::Cron(Arc::new(cron)),
            Err(why) => return Ok(Err(why)),
        },
    };
    let promised_by = Head { sequence: event.sequence, hash: event.hash };
    let timer = Timer { message: message.into(), due: DueTime::at(due), schedule, of, round, promised_by };
    Ok(Ok((key.into(), timer)))
}

/// Whether `call` is the firing that its cause, an earlier event of the same chain, has promised.
pub(super) fn is_what_was_promised(call: &Call, cause: &ChainEvent) -> bool {
    let Ok((key, due, message)) = TimerParams::from_cbor(&call.params.0) else { return false };
    let (Some(of), Some(round)) = (call.of, call.round) else { return false };
    promised(cause) == Some(Promised { key, message, due, of, round })
}
