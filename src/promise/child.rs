//! Promises about children: a parent spawns a child and waits for the child's `init`, or stops or restarts a child and
//! waits until that is done.

use std::path::PathBuf;

use super::address::stood_for;
use super::fates::{Chains, Fate, OpenIntent, ReadResult, Through, link};
use crate::base::clock;
use crate::base::id::ActorId;
use crate::base::limits::Limits;
use crate::base::one_shot::OneReceiver;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Failed, Intent, Refused, Stopped, StoppedBy};
use crate::chain::{ChainEvent, EventKind, Function, Link, MIGRATE, function};
use crate::guest::{Answered, Interruption, Live};
use crate::system::{
    ActorFailure, Asked, Awaited, Confinement, LifecycleError, NamedChild, OrderKind, Parentage, SpawnRequest, Spawned,
    Wait, Waited,
};

pub(crate) const SPAWN: &Function = function!("ntwk:theater/supervisor", "spawn");
pub(crate) const SPAWN_AS: &Function = function!("ntwk:theater/labels", "spawn-as");
pub(crate) const GET_OR_SPAWN: &Function = function!("ntwk:theater/labels", "get-or-spawn");
pub(crate) const STOP_CHILD: &Function = function!("ntwk:theater/supervisor", "stop-child");
pub(crate) const RESTART_CHILD: &Function = function!("ntwk:theater/supervisor", "restart-child");

const INIT: &str = "ntwk:theater/actor.init";

/// The answer to the guest: the child's id.
type SpawnAnswer = Result<Answered<Result<String, String>>, Interruption>;
type ChangeAnswer = Result<Answered<Result<(), String>>, Interruption>;

/// Spawns a child, and waits for its `init`. The recorder keeps the registered wait in `held` until the answer is
/// recorded.
pub(crate) fn spawn_child(
    live: &Live,
    limits: &Limits,
    (manifest, confinement, named): (PathBuf, Confinement, Option<NamedChild>),
    intent: Link,
    held: &mut Option<Wait>,
) -> SpawnAnswer {
    let child = ActorId::of_child(live.id, intent.sequence);
    let recovered = live.recovered.lock().take();
    let spawned = match recovered {
        // The spawn was under way when an earlier process ended.
        Some(Awaited::Child(spawned)) => spawned,
        Some(Awaited::Spawned(over)) => return Ok(answered_by_child(over)),
        Some(Awaited::Unknown(why)) => return Ok(answered_by_child(Err(LifecycleError::OutcomeUnknown(why)))),
        Some(Awaited::Answer { .. } | Awaited::Reply { .. } | Awaited::Done(_)) | None => {
            let wait = match live.theater.registry.begin_wait_for_init(live.id, child) {
                Ok(wait) => wait,
                Err(refusal) => return Ok(answered_by_child(Err(refusal.to_string().into()))),
            };
            let parentage = Parentage { parent: live.id, child, cause: intent, wait: wait.id(), confinement, named };
            *held = Some(wait);
            live.theater.control.spawn(SpawnRequest { manifest: manifest.into(), parentage: Some(parentage) })
        }
    };
    let late = || format!("the init of child {child} has not answered");
    Ok(answered_by_child(wait_for(live, limits, &spawned, late)?))
}

fn answered_by_child(spawned: Result<Spawned, LifecycleError>) -> Answered<Result<String, String>> {
    match spawned {
        Ok(Spawned { id, closing }) => Answered { result: Ok(id.to_string()), answer: closing },
        Err(why) => Answered { result: Err(why.to_string()), answer: None },
    }
}

/// Restarts the child that had a label last, for who wants an actor with that label. The answer is its id.
pub(crate) fn revive_child(
    live: &Live,
    limits: &Limits,
    child: ActorId,
    intent: Link,
    held: &mut Option<Wait>,
) -> SpawnAnswer {
    let Answered { result, answer } = match change_again(live) {
        Some(found) => changed_again(live, limits, &child.to_string(), found)?,
        None => change_child(live, limits, (RESTART_CHILD, child), intent, held)?,
    };
    Ok(Answered { result: result.map(|()| child.to_string()), answer })
}

/// Stops or restarts a child, and waits until that is done.
pub(crate) fn change_child(
    live: &Live,
    limits: &Limits,
    (function, child): (&'static Function, ActorId),
    intent: Link,
    held: &mut Option<Wait>,
) -> ChangeAnswer {
    // From here on the parent waits for the child. A request of the child to its parent would wait for ever, above all
    // one in its `init`, so it is refused.
    let wait = live.theater.registry.begin_wait_for_change(live.id, child);
    let asked = Asked { by: StoppedBy::Parent, cause: Some(intent), wait: Some(wait.id()) };
    *held = Some(wait);
    let (control, stops) = (&live.theater.control, function.full == STOP_CHILD.full);
    let answer = if stops { control.stop(child, asked) } else { control.restart(child, asked) };
    let late = || format!("child {child} {}", if stops { "has not ended" } else { "is not up again" });
    Ok(changed(wait_for(live, limits, &answer, late)?))
}

/// What recovery has found for a stop or a restart that an earlier process left open: that it is over, or that the
/// restarted child is on its way up.
pub(crate) fn change_again(live: &Live) -> Option<Awaited> {
    let is_change = |it: &Awaited| matches!(it, Awaited::Done(_) | Awaited::Unknown(_) | Awaited::Child(_));
    live.recovered.lock().take().filter(is_change)
}

/// The answer to a stop or a restart for which [`change_again`] has found something: at once, or once the child is up.
pub(crate) fn changed_again(live: &Live, limits: &Limits, child: &str, found: Awaited) -> ChangeAnswer {
    let over = match found {
        Awaited::Done(event) => Ok(Some(event)),
        Awaited::Child(up) => {
            let late = || format!("child {child} is not up again");
            wait_for(live, limits, &up, late)?.map(|up| up.closing)
        }
        Awaited::Unknown(why) => Err(LifecycleError::OutcomeUnknown(why)),
        Awaited::Answer { .. } | Awaited::Reply { .. } | Awaited::Spawned(_) => {
            unreachable!("no stop and no restart is answered so")
        }
    };
    Ok(changed(over))
}

fn changed(over: Result<Option<Link>, LifecycleError>) -> Answered<Result<(), String>> {
    match over {
        Ok(answer) => Answered { result: Ok(()), answer },
        Err(why) => Answered { result: Err(why.to_string()), answer: None },
    }
}

/// Waits for the supervisor's answer, for the deadline, or for an order to end.
fn wait_for<T>(
    live: &Live,
    limits: &Limits,
    answer: &OneReceiver<Result<T, LifecycleError>>,
    late: impl FnOnce() -> String,
) -> Result<Result<T, LifecycleError>, Interruption> {
    let is_suspending = || live.theater.registry.is_suspending();
    match live.stop.wait(answer, clock::now() + limits.request_deadline()) {
        // If the runtime is shutting down, an error does not count as an answer: the next start goes on with the
        // change.
        Waited::Came(Err(_)) | Waited::Gone if is_suspending() => Err(Interruption::Suspending),
        Waited::Came(answer) => Ok(answer),
        Waited::Gone => Ok(Err(unknown("the supervisor has not answered"))),
        Waited::Deadline => {
            let within = limits.request_deadline_ms;
            Ok(Err(unknown(&format!("{} within request_deadline_ms = {within}", late()))))
        }
        Waited::Overdue(OrderKind::Suspend) => Err(Interruption::Suspending),
        Waited::Overdue(OrderKind::Stop | OrderKind::Cycle | OrderKind::Fail) => Err(Interruption::Ordered),
    }
}

fn unknown(why: &str) -> LifecycleError {
    LifecycleError::OutcomeUnknown(format!("outcome unknown: {why}"))
}

/// What became of a spawn whose intent is the last event of the parent's chain. The child's id follows from the intent,
/// so its chain shows whether the child exists.
pub(super) fn spawn_fate(chains: &dyn Chains, intent: &OpenIntent<'_>) -> ReadResult<Fate> {
    let child = ActorId::of_child(intent.link.actor, intent.link.sequence);
    if !chains.is_known(child) {
        return Ok(Fate::Again);
    }
    let over = match initialised(chains, child)? {
        Some(over) => over,
        None if chains.goes_on(child) => return Ok(Fate::Await { on: child, through: Through::Init }),
        None => Err("it has ended".into()),
    };
    Ok(Fate::Answered(Awaited::Spawned(over)))
}

/// The outcome of the child's first `init`; `None` while the `init` is not over.
fn initialised(chains: &dyn Chains, child: ActorId) -> ReadResult<Option<Result<Spawned, LifecycleError>>> {
    let mut next = 0;
    loop {
        let page = chains.page(child, next)?;
        let Some(last) = page.last() else { return Ok(None) };
        next = last.sequence + 1;
        for event in &page {
            let end = match event.kind() {
                Some(EventKind::Return) => Ok(Spawned { id: child, closing: Some(link(child, event)) }),
                Some(EventKind::Refused) => Err(refused(event)),
                Some(EventKind::Failed) => Err(failed(event)),
                Some(EventKind::Stopped) => Err("stopped before it was up".into()),
                Some(EventKind::Started | EventKind::Call | EventKind::Intent | EventKind::HostCall) | None => continue,
            };
            return Ok(Some(end));
        }
    }
}

/// The error for a caller who waits for an actor whose `init` refused.
fn refused(event: &ChainEvent) -> LifecycleError {
    Refused::from_cbor(&event.data).map_or_else(text, |it| it.message.into())
}

/// The error for a caller who waits for an actor that failed before it was up.
fn failed(event: &ChainEvent) -> LifecycleError {
    match Failed::from_cbor(&event.data) {
        Ok(Failed { reason, detail, .. }) => LifecycleError::Failed(ActorFailure { reason, detail }),
        Err(error) => text(error),
    }
}

fn text(error: impl std::fmt::Display) -> LifecycleError {
    error.to_string().into()
}

/// What became of a stop or a restart whose intent is the last event of the parent's chain. A stop is done if an event of
/// the child says so. A restart is done once the child is up again, and over if the child failed instead.
pub(super) fn change_fate(chains: &dyn Chains, intent: &OpenIntent<'_>) -> ReadResult<Fate> {
    let changed = Intent::from_cbor(&intent.event.data).ok().and_then(|intent| {
        let address = || <(String,)>::from_cbor(&intent.params.0).ok().map(|(address,)| address);
        intent.to.or_else(|| stood_for(None, &address()?))
    });
    let Some(child) = changed else { return Ok(Fate::Again) };
    let later = chains.events_after(child, intent.position)?;
    let is_stop = |event: &ChainEvent| {
        event.kind() == Some(EventKind::Stopped)
            && Stopped::from_cbor(&event.data).is_ok_and(|stopped| stopped.cause.as_ref() == Some(&intent.link))
    };
    let stopped = later.iter().position(is_stop);
    if intent.event.function() == STOP_CHILD.full {
        let done = |at: usize| Fate::Answered(Awaited::Done(link(child, &later[at])));
        return Ok(stopped.map_or(Fate::Again, done));
    }
    let since = match stopped {
        Some(at) => &later[at + 1..],
        None if begins_after_an_end(chains, child, &later)? => &later[..],
        None => return Ok(Fate::Again),
    };
    Ok(match came_up(since) {
        Some(Ok(event)) => Fate::Answered(Awaited::Done(link(child, event))),
        Some(Err(why)) => Fate::Answered(Awaited::Unknown(why.to_string())),
        None if chains.goes_on(child) => Fate::Await { on: child, through: Through::Restart },
        None => Fate::Answered(Awaited::Unknown("it was stopped meanwhile".to_owned())),
    })
}

/// Whether the events `later` begin with a start of the child right after an end of it. A child that did not run is
/// restarted without a new end before its start, so no event names the intent.
fn begins_after_an_end(chains: &dyn Chains, child: ActorId, later: &[ChainEvent]) -> ReadResult<bool> {
    let first = later.first().filter(|event| event.kind() == Some(EventKind::Started) && event.sequence > 0);
    let Some(started) = first else { return Ok(false) };
    let before = chains.page(child, started.sequence - 1)?;
    Ok(before.first().is_some_and(|it| matches!(it.kind(), Some(EventKind::Failed | EventKind::Stopped))))
}

/// The event that shows that a restarted child was up, or the reason why it did not come up. `None` if the events `since` the
/// restart show neither: after a `started` an `init` may still be due.
fn came_up(since: &[ChainEvent]) -> Option<Result<&ChainEvent, LifecycleError>> {
    let mut started = None;
    for event in since {
        return Some(match event.kind() {
            Some(EventKind::Started) => {
                started = Some(event);
                continue;
            }
            Some(EventKind::Return) => Ok(event),
            Some(EventKind::Refused) => Err(refused(event)),
            Some(EventKind::Failed) => Err(failed(event)),
            Some(EventKind::Stopped) => Err("it was stopped meanwhile".into()),
            Some(EventKind::Call) if event.function() != INIT && event.function() != MIGRATE.full => Ok(started?),
            Some(EventKind::Call | EventKind::Intent | EventKind::HostCall) | None => continue,
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::StateChain;
    use crate::chain::data::FailureReason;

    #[test]
    fn a_child_that_is_started_anew_is_up_with_its_init_or_with_what_shows_that_none_was_due() {
        let nothing = Vec::new;
        let refused = || Refused { message: "not today".into() }.to_cbor();
        let failed = |reason| Failed { detail: "it broke".into(), reason, dropped: Vec::new() }.to_cbor();
        let started = ("started", nothing());
        let call = ("call ntwk:theater/actor.init", nothing());
        let other = ("call ntwk:theater/message-server-client.handle-send", nothing());
        let asks = ("intent ntwk:theater/message-server-host.request", nothing());
        let returned = ("return ntwk:theater/actor.init", nothing());
        let no = ("refused ntwk:theater/actor.init", refused());
        let up = |lived: &[&(&'static str, Vec<u8>)]| {
            let mut chain = StateChain::new(ActorId::random());
            let events: Vec<ChainEvent> =
                lived.iter().map(|(kind, data)| chain.append(*kind, data.clone(), 0)).collect();
            came_up(&events).map(|up| up.map(|event| event.sequence).map_err(|why| why.to_string()))
        };
        let not_up = |why: &str| Some(Err(why.to_owned()));
        assert_eq!(up(&[]), None);
        assert_eq!(up(&[&started]), None);
        assert_eq!(up(&[&started, &call, &asks, &started]), None);
        assert_eq!(up(&[&started, &call, &asks, &started, &returned]), Some(Ok(4)));
        assert_eq!(up(&[&started, &other]), Some(Ok(0)));
        assert_eq!(up(&[&started, &call, &no]), not_up("not today"));
        assert_eq!(up(&[&started, &("failed", failed(FailureReason::Init))]), not_up("it broke"));
        assert_eq!(up(&[&started, &call, &("failed", failed(FailureReason::Trap))]), not_up("trap: it broke"));
        assert_eq!(up(&[&started, &("stopped", nothing())]), not_up("it was stopped meanwhile"));
    }
}
