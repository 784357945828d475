//! The promise of a timer: an actor owes itself a call of `handle-timer`. The host call that sets the timer promises the
//! first round; of a timer with several rounds, the call of each round promises the next one.

use std::sync::Arc;

use super::fates::{Chains, ReadResult};
use crate::base::clock::BootTime;
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Encoded, HostCall};
use crate::chain::{ChainEvent, EventKind, Function, Head, function};
use crate::journal::{Owed, Pending, TIMER};
use crate::system::{Cron, DueTime, Schedule, Timer};

pub(crate) const HANDLE_TIMER: &Function = function!("ntwk:theater/timer-handlers", "handle-timer");
pub(crate) const SET: &Function = function!("ntwk:theater/timer", "set");
pub(crate) const SET_AT: &Function = function!("ntwk:theater/timer", "set-at");
pub(crate) const EVERY: &Function = function!("ntwk:theater/timer", "every");
pub(crate) const CRON: &Function = function!("ntwk:theater/timer", "cron");

/// The parameters of `handle-timer`: the key, the time at which it was due, the message.
pub(crate) type TimerParams = (String, u64, Vec<u8>);

/// What the event that promises a firing is committed with. A firing that goes by the boot clock is due by it in every process
/// of this boot of the machine.
pub(crate) fn owed(actor: ActorId, due: DueTime) -> Owed {
    Owed { receiver: actor, notice: Some(TIMER), boot: due.boot_ms.and_then(BootTime::of) }
}

/// What an event says of the firing that it promises.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PromisedFiring {
    pub(crate) key: String,
    pub(crate) message: Vec<u8>,
    /// Milliseconds since the Unix epoch.
    pub(crate) due: u64,
    /// The sequence of the host call that has set the timer.
    pub(crate) of: u64,
    /// Counted from 1.
    pub(crate) round: u64,
}

impl PromisedFiring {
    /// The firing that an event promises; `None` if it promises none.
    pub(crate) fn of(event: &ChainEvent) -> Option<Self> {
        promised(event)
    }
}

fn promised(event: &ChainEvent) -> Option<PromisedFiring> {
    match event.kind() {
        Some(EventKind::HostCall) => {
            let set: HostCall = event.read().ok()?;
            let due = Result::<u64, String>::from_cbor(set.result.whole()?).ok()?.ok()?;
            let (key, message, _) = wanted(event.function(), &set.params?)?;
            Some(PromisedFiring { key, message, due, of: event.sequence, round: 1 })
        }
        Some(EventKind::Call) if event.function() == HANDLE_TIMER.full => {
            let call: Call = event.read().ok()?;
            let (key, _, message) = TimerParams::from_cbor(&call.params.0).ok()?;
            Some(PromisedFiring { key, message, due: call.next?, of: call.of?, round: call.round? + 1 })
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

/// How a timer repeats, as the host call that has set it says it; `None` for a timer that is due once.
pub(crate) fn repeats(set: &ChainEvent) -> Option<String> {
    let params = set.read::<HostCall>().ok()?.params?;
    match wanted(set.function(), &params)?.2 {
        Rounds::Once => None,
        Rounds::Every(ms) => Some(format!("every {ms} ms")),
        Rounds::Cron { expression, zone } => Some(format!("{expression} {zone}")),
    }
}

/// Whether an event promises a firing.
pub(super) fn is_promised_by(event: &ChainEvent) -> bool {
    promised(event).is_some()
}

/// The timer that an event promises to fire, as a row says, with its key; the inner error says why it cannot be read.
pub(super) fn timer(
    chains: &dyn Chains,
    row: &Pending,
    event: &ChainEvent,
) -> ReadResult<Result<(Arc<str>, Timer), String>> {
    let of = promised(event).map(|promised| promised.of).filter(|of| *of != event.sequence);
    let set = of.map(|of| chains.event(row.receiver, of)).transpose()?.flatten();
    Ok(understood(row, event, set.as_ref().unwrap_or(event)))
}

/// The timer of a row, from the event that promises the firing, and from the host call that has set it.
fn understood(row: &Pending, promise: &ChainEvent, set: &ChainEvent) -> Result<(Arc<str>, Timer), String> {
    let unsaid = || "the event does not say which timer it promised".to_owned();
    let PromisedFiring { key, message, due, of, round } = promised(promise).ok_or_else(unsaid)?;
    let params = set.read::<HostCall>().ok().and_then(|set| set.params).filter(|_| set.sequence == of);
    let (_, _, rounds) = params.and_then(|params| wanted(set.function(), &params)).ok_or_else(unsaid)?;
    let schedule = match rounds {
        Rounds::Once => Schedule::Once,
        Rounds::Every(ms) => Schedule::Every { ms },
        Rounds::Cron { expression, zone } => Schedule::Cron(Arc::new(Cron::parse(&expression, &zone)?)),
    };
    let boot = row.owed().and_then(|owed| owed.boot);
    let due = DueTime { unix_ms: due, boot_ms: boot.and_then(BootTime::boot_ms) };
    let promised_by = Head { sequence: promise.sequence, hash: promise.hash };
    Ok((key.into(), Timer { message: message.into(), due, schedule, of, round, promised_by }))
}

/// Whether `call` is the firing that its cause, an earlier event of the same chain, has promised.
pub(super) fn is_what_was_promised(call: &Call, cause: &ChainEvent) -> bool {
    let Ok((key, due, message)) = TimerParams::from_cbor(&call.params.0) else { return false };
    let (Some(of), Some(round)) = (call.of, call.round) else { return false };
    promised(cause) == Some(PromisedFiring { key, message, due, of, round })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::data::{Caller, EventData};
    use crate::chain::{EventHash, Link, Salt, StateChain};
    use crate::journal::Cause;

    fn event(chain: &mut StateChain, event_type: &'static str, data: &impl EventData) -> ChainEvent {
        chain.append_salted(event_type, data.to_cbor(), 0, Some(Salt([1; 16])))
    }

    /// The host call that sets a timer of 10 ms, and the call of its second round, which promises the third.
    fn set_and_called() -> (ActorId, ChainEvent, ChainEvent) {
        let actor = ActorId::random();
        let mut chain = StateChain::new(actor);
        let params = Encoded(("tick".to_owned(), 10_u64, b"m".to_vec()).to_cbor());
        let result = Encoded(Ok::<u64, String>(1_000).to_cbor());
        let set = event(&mut chain, EVERY.host_call, &HostCall::new(None, Some(params), result));
        let params = Encoded(("tick".to_owned(), 1_010_u64, b"m".to_vec()).to_cbor());
        let call = Call {
            of: Some(set.sequence),
            round: Some(2),
            next: Some(1_020),
            ..Call::new(None, true, Caller::Timer, params)
        };
        let called = event(&mut chain, HANDLE_TIMER.call, &call);
        (actor, set, called)
    }

    fn row(actor: ActorId, promise: &ChainEvent, notice: &str) -> Pending {
        let cause = Cause { actor, sequence: promise.sequence };
        Pending { cause, receiver: actor, position: 1, notice: Some(notice.to_owned()) }
    }

    #[test]
    fn a_timer_is_read_from_the_host_call_and_each_later_round_from_the_call_before() {
        let (actor, set, called) = set_and_called();
        let read =
            |promise: &ChainEvent| understood(&row(actor, promise, "timer"), promise, &set).expect("it says all");
        let ((key, first), (_, third)) = (read(&set), read(&called));
        assert_eq!((&*key, first.round, first.of, first.due), ("tick", 1, set.sequence, DueTime::at(1_000)));
        assert_eq!((third.round, third.of, third.due), (3, set.sequence, DueTime::at(1_020)));
        assert_eq!(third.promised_by, Head { sequence: called.sequence, hash: called.hash });
        assert!(matches!(third.schedule, Schedule::Every { ms: 10 }));
        assert!(understood(&row(actor, &called, "timer"), &called, &called).is_err(), "that did not set it");
    }

    #[test]
    fn the_boot_clock_counts_in_the_same_boot_and_the_recorded_time_in_another() {
        let (actor, set, _) = set_and_called();
        let due = |notice: &str| understood(&row(actor, &set, notice), &set, &set).expect("it says all").1.due;
        if let Some(time) = BootTime::of(77) {
            assert_eq!(due(&format!("timer {time}")), DueTime { unix_ms: 1_000, boot_ms: Some(77) });
        }
        assert_eq!(due("timer 0000000000000001:77"), DueTime::at(1_000), "the machine was booted since");
        assert_eq!(row(actor, &set, "timer 1:77").owed(), None, "no program writes that");
    }

    #[test]
    fn a_call_that_differs_in_anything_from_the_promise_is_not_what_was_promised() {
        let (actor, set, called) = set_and_called();
        let call = |key: &str, due: u64, message: &[u8]| {
            let params = Encoded((key.to_owned(), due, message.to_vec()).to_cbor());
            let cause = Link { actor, sequence: called.sequence, hash: EventHash([0; 20]) };
            Call { of: Some(set.sequence), round: Some(3), ..Call::new(Some(cause), true, Caller::Timer, params) }
        };
        let honest = call("tick", 1_020, b"m");
        assert!(is_what_was_promised(&honest, &called));
        assert!(!is_what_was_promised(&honest, &set), "that promised the first round");
        let forged = [
            call("tock", 1_020, b"m"),
            call("tick", 1_019, b"m"),
            call("tick", 1_020, b"n"),
            Call { of: Some(9), ..honest.clone() },
            Call { round: Some(4), ..honest.clone() },
            Call { of: None, ..honest },
        ];
        assert!(forged.iter().all(|call| !is_what_was_promised(call, &called)));
    }
}
