//! The promise of a monitor: an actor owes itself a call of `handle-down`, once another actor has ended for good.
//!
//! The row is written with the host call that asks for it, and it is settled by the call, or by the host call that gives it
//! up. The watched actor's end writes no row: its event and the watcher's row are all that a start needs.

use super::address::stood_for;
use super::fates::{Chains, OpenMonitor, ReadResult, link};
use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Failed, HostCall};
use crate::chain::{ChainEvent, EventKind, Function, function};
use crate::guest::wit::{EndReason, MonitoredEnd};
use crate::journal::Pending;
use crate::system::RecordedEnd;

pub(crate) const HANDLE_DOWN: &Function = function!("ntwk:theater/monitor-handlers", "handle-down");
pub(crate) const MONITOR: &Function = function!("ntwk:theater/monitors", "monitor");

/// The actor whose end an event asks to be told of, if it does and was not refused.
pub(crate) fn watched_by(event: &ChainEvent) -> Option<ActorId> {
    if event.function() != MONITOR.full || event.kind() != Some(EventKind::HostCall) {
        return None;
    }
    let HostCall { to, params, result, .. } = event.read().ok()?;
    let reference = Result::<u64, String>::from_cbor(result.whole()?).ok()?.ok()?;
    let (address,) = <(String,)>::from_cbor(&params?.0).ok()?;
    stood_for(to, &address).filter(|_| reference == event.sequence)
}

/// How an actor has ended, if this event of it is an end.
pub(crate) fn recorded_end(actor: ActorId, event: &ChainEvent) -> Option<RecordedEnd> {
    let failure = match event.kind()? {
        EventKind::Stopped => None,
        EventKind::Failed if event.dropped.is_some() => Some("the reason was dropped from its history".to_owned()),
        EventKind::Failed => {
            let Failed { reason, detail, .. } = Failed::from_cbor(&event.data).ok()?;
            Some(format!("{reason}: {detail}"))
        }
        _ => return None,
    };
    Some(RecordedEnd { event: link(actor, event), failure })
}

/// The parameters of the call that tells of an end.
pub(crate) fn told(reference: u64, RecordedEnd { event, failure }: &RecordedEnd) -> Vec<u8> {
    let reason = failure.clone().map_or(EndReason::Stopped, EndReason::Failed);
    (MonitoredEnd { reference, actor_id: event.actor.to_string(), reason },).to_cbor()
}

/// The monitor of a row; the inner error says why it cannot be read.
pub(super) fn open(chains: &dyn Chains, row: &Pending, event: &ChainEvent) -> ReadResult<Result<OpenMonitor, String>> {
    let Some(watched) = watched_by(event) else {
        return Ok(Err("the event does not say whose end it asked for".to_owned()));
    };
    let end = chains.end_since(watched, row.position)?;
    let end = end.and_then(|event| recorded_end(watched, &event));
    Ok(Ok(OpenMonitor { watcher: row.receiver, reference: event.sequence, watched, end }))
}

/// Whether `call` tells of the end that its cause, an event of another actor, is.
pub(super) fn is_what_was_told(call: &Call, cause: &ChainEvent) -> bool {
    let (Some(reference), Some(of)) = (call.of, &call.cause) else { return false };
    recorded_end(of.actor, cause).is_some_and(|end| told(reference, &end) == call.params.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::data::{Caller, Encoded, EventData, FailureReason, Stopped, StoppedBy};
    use crate::chain::{Salt, StateChain};

    fn event(chain: &mut StateChain, event_type: &'static str, data: &impl EventData) -> ChainEvent {
        chain.append_salted(event_type, data.to_cbor(), 0, Some(Salt([1; 16])))
    }

    fn asked(address: &str, to: Option<ActorId>, result: &Result<u64, String>) -> Option<ActorId> {
        let mut chain = StateChain::new(ActorId::random());
        let params = Encoded((address.to_owned(),).to_cbor());
        let asked = HostCall { to, ..HostCall::new(None, Some(params), Encoded(result.to_cbor())) };
        watched_by(&event(&mut chain, MONITOR.host_call, &asked))
    }

    #[test]
    fn a_monitor_is_of_the_actor_that_its_address_stood_for_unless_it_was_refused() {
        let actor = ActorId::random();
        assert_eq!(asked(&actor.to_string(), None, &Ok(0)), Some(actor));
        assert_eq!(asked("root/child", Some(actor), &Ok(0)), Some(actor));
        assert_eq!(asked("root/child", None, &Ok(0)), None, "nobody knows whom");
        assert_eq!(asked(&actor.to_string(), None, &Ok(1)), None, "no program gives that reference");
        assert_eq!(asked(&actor.to_string(), None, &Err("no".into())), None);
    }

    #[test]
    fn a_call_that_differs_in_anything_from_the_end_does_not_tell_of_it() {
        let actor = ActorId::random();
        let mut chain = StateChain::new(actor);
        let stopped = Stopped { by: StoppedBy::Operator, cause: None, dropped: Vec::new() };
        let failed = Failed { detail: "it broke".into(), reason: FailureReason::Trap, dropped: Vec::new() };
        let (stopped, failed) = (event(&mut chain, "stopped", &stopped), event(&mut chain, "failed", &failed));
        let call = |cause: &ChainEvent, reference: u64, of: Option<u64>, reason: EndReason| {
            let params = Encoded((MonitoredEnd { reference, actor_id: actor.to_string(), reason },).to_cbor());
            Call { of, ..Call::new(Some(link(actor, cause)), true, Caller::Runtime, params) }
        };
        let why = || EndReason::Failed("trap: it broke".into());
        assert!(is_what_was_told(&call(&failed, 3, Some(3), why()), &failed));
        assert!(is_what_was_told(&call(&stopped, 3, Some(3), EndReason::Stopped), &stopped));
        let other = EndReason::Failed("trap: nothing".into());
        for (forged, end) in [
            (call(&failed, 3, Some(3), EndReason::Stopped), &failed),
            (call(&failed, 3, Some(3), other), &failed),
            (call(&failed, 3, Some(4), why()), &failed),
            (call(&failed, 3, None, why()), &failed),
            (call(&failed, 3, Some(3), why()), &stopped),
        ] {
            assert!(!is_what_was_told(&forged, end), "{forged:?}");
        }
    }
}
