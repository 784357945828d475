//! What a parent does to a child and waits for: a spawn, until the child's `init` has answered; a stop or a restart, until
//! that is done.

use std::path::PathBuf;

use crossbeam_channel::Receiver;

use super::fates::{Chains, Fate, OpenIntent, Read, Through, link};
use crate::base::clock;
use crate::base::id::ActorId;
use crate::base::limits::Limits;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Failed, Intent, Refused, Stopped, StoppedBy};
use crate::chain::{ChainEvent, EventKind, Function, Link, function};
use crate::guest::{Answered, Interruption, Live};
use crate::system::{
    ActorFailure, Asked, Awaited, Confinement, LifecycleError, OrderKind, Parentage, SpawnRequest, Spawned, Wait,
    Waited,
};

pub(crate) const SPAWN: &Function = function!("ntwk:theater/supervisor", "spawn");
pub(crate) const STOP_CHILD: &Function = function!("ntwk:theater/supervisor", "stop-child");
pub(crate) const RESTART_CHILD: &Function = function!("ntwk:theater/supervisor", "restart-child");

/// What the guest gets: the child's id.
type SpawnAnswer = Result<Answered<Result<String, String>>, Interruption>;
type ChangeAnswer = Result<Answered<Result<(), String>>, Interruption>;

/// Spawns a child, and waits for its `init`. The recorder holds the wait, in `held`, until the answer is recorded.
pub(crate) fn spawn_child(
    live: &Live,
    limits: &Limits,
    (manifest, confinement): (PathBuf, Confinement),
    intent: Link,
    held: &mut Option<Wait>,
) -> SpawnAnswer {
    let child = ActorId::of_child(live.id, intent.sequence);
    let spawned = match live.recovered.try_recv() {
        // It was under way when an earlier process ended.
        Ok(Awaited::Child(spawned)) => spawned,
        Ok(Awaited::Spawned(over)) => return Ok(answered_by_child(over)),
        Ok(Awaited::Unknown(why)) => return Ok(answered_by_child(Err(LifecycleError::OutcomeUnknown(why)))),
        Ok(Awaited::Answer { .. } | Awaited::Reply { .. } | Awaited::Done(_)) | Err(_) => {
            let wait = match live.theater.registry.begin_wait_for_init(live.id, child) {
                Ok(wait) => wait,
                Err(refusal) => return Ok(answered_by_child(Err(refusal.to_string().into()))),
            };
            let parentage = Parentage { parent: live.id, child, cause: intent, wait: wait.id(), confinement };
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

/// Stops or restarts a child, and waits until that is done.
pub(crate) fn change_child(
    live: &Live,
    limits: &Limits,
    (function, child): (&'static Function, ActorId),
    intent: Link,
    held: &mut Option<Wait>,
) -> ChangeAnswer {
    // From here on, what the child asks of this actor would wait for ever: its `init` above all.
    let wait = live.theater.registry.begin_wait_for_change(live.id, child);
    let asked = Asked { by: StoppedBy::Parent, cause: Some(intent), wait: Some(wait.id()) };
    *held = Some(wait);
    let (control, stops) = (&live.theater.control, function.full == STOP_CHILD.full);
    let answer = if stops { control.stop(child, asked) } else { control.restart(child, asked) };
    let late = || format!("child {child} {}", if stops { "has not ended" } else { "is not up again" });
    Ok(match wait_for(live, limits, &answer, late)? {
        Ok(answer) => Answered { result: Ok(()), answer },
        Err(why) => Answered { result: Err(why.to_string()), answer: None },
    })
}

/// A stop or a restart of which recovery has found that it is done.
pub(crate) fn change_again(live: &Live) -> Option<Answered<Result<(), String>>> {
    match live.recovered.try_recv() {
        Ok(Awaited::Done(event)) => Some(Answered { result: Ok(()), answer: Some(event) }),
        Ok(Awaited::Unknown(why)) => Some(Answered { result: Err(why), answer: None }),
        Ok(Awaited::Answer { .. } | Awaited::Reply { .. } | Awaited::Child(_) | Awaited::Spawned(_)) | Err(_) => None,
    }
}

/// Waits for the supervisor's answer, for the deadline, or for the order to end.
fn wait_for<T>(
    live: &Live,
    limits: &Limits,
    answer: &Receiver<Result<T, LifecycleError>>,
    late: impl FnOnce() -> String,
) -> Result<Result<T, LifecycleError>, Interruption> {
    let is_suspending = || live.theater.registry.is_suspending();
    match live.stop.wait(answer, clock::now() + limits.request_deadline()) {
        // What a runtime that is being suspended does not do is no answer: the next start goes on with it.
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

/// What a spawn is that ends the parent's chain: the child's id says whether the child is there.
pub(super) fn spawn_fate(chains: &dyn Chains, intent: &OpenIntent<'_>) -> Read<Fate> {
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

/// What the child's first `init` came to; nothing while it is not over.
fn initialised(chains: &dyn Chains, child: ActorId) -> Read<Option<Result<Spawned, LifecycleError>>> {
    let mut next = 0;
    loop {
        let page = chains.page(child, next)?;
        let Some(last) = page.last() else { return Ok(None) };
        next = last.sequence + 1;
        for event in &page {
            let end = match event.kind() {
                Some(EventKind::Return) => Ok(Spawned { id: child, closing: Some(link(child, event)) }),
                Some(EventKind::Refused) => {
                    Err(Refused::from_cbor(&event.data).map_or_else(text, |it| it.message.into()))
                }
                Some(EventKind::Failed) => Err(match Failed::from_cbor(&event.data) {
                    Ok(Failed { reason, detail, .. }) => LifecycleError::Failed(ActorFailure { reason, detail }),
                    Err(error) => text(error),
                }),
                Some(EventKind::Stopped) => Err("stopped before it was up".into()),
                Some(EventKind::Started | EventKind::Call | EventKind::Intent | EventKind::HostCall) | None => continue,
            };
            return Ok(Some(end));
        }
    }
}

fn text(error: impl std::fmt::Display) -> LifecycleError {
    error.to_string().into()
}

/// What a stop or a restart is that ends the parent's chain: done where an event of the child says so.
pub(super) fn change_fate(chains: &dyn Chains, intent: &OpenIntent<'_>) -> Read<Fate> {
    let done = |child, event: &ChainEvent| Ok(Fate::Answered(Awaited::Done(link(child, event))));
    let params = Intent::from_cbor(&intent.event.data).ok().map(|intent| intent.params.0);
    let child = params.and_then(|params| <(String,)>::from_cbor(&params).ok());
    let Some(child) = child.and_then(|(child,)| child.parse::<ActorId>().ok()) else { return Ok(Fate::Again) };
    let behind = chains.events_behind(child, intent.position)?;
    let is_stop = |event: &&ChainEvent| {
        event.kind() == Some(EventKind::Stopped)
            && Stopped::from_cbor(&event.data).is_ok_and(|stopped| stopped.cause.as_ref() == Some(&intent.link))
    };
    if let Some(stopped) = behind.iter().find(is_stop) {
        return done(child, stopped);
    }
    if intent.event.function() == STOP_CHILD.full {
        return Ok(Fate::Again);
    }
    // A child that did not run is started without an end before it.
    let first = behind.first().filter(|event| event.kind() == Some(EventKind::Started) && event.sequence > 0);
    let Some(started) = first else { return Ok(Fate::Again) };
    let before = chains.page(child, started.sequence - 1)?;
    let has_ended = before.first().is_some_and(|it| matches!(it.kind(), Some(EventKind::Failed | EventKind::Stopped)));
    if has_ended { done(child, started) } else { Ok(Fate::Again) }
}
