//! A dry run of an upgrade: the newest recorded calls are made again under the new build, and what comes out otherwise is listed.
//!
//! The recorded builds are replayed, so that the state before and after each call is known exactly. The new build begins each call
//! with that state, which it has migrated if it exports `migrate`, on a new instance. Its state after the call is compared with the
//! recorded one, migrated too. Its host calls are answered from the record ([`Rehearsal`]).

use std::sync::Arc;

use serde_json::Value as Json;

use super::{Boundary, Recording, ReplayError, ReplayStretch, Stage, read, replay_stretch};
use crate::actor::executor::{Executor, Job, Transition};
use crate::base::limits::Limits;
use crate::chain::cbor::{Cbor, Value, bytes_to_json};
use crate::chain::data::{Call, Caller, Failed, Refused, Return};
use crate::chain::{ChainEvent, ComponentDigest, EventKind, Head, MIGRATE, StateChain};
use crate::guest::{Guest, GuestEngine, HostState, Interruption, Past, Program, Recorder, Rehearsal, Script};
use crate::handlers::INIT;
use crate::system::{DryRun, Outcome, OutcomeChange};

/// So many changes are listed; the others are counted.
const LISTED: usize = 200;

/// The state of an actor.
type StateOf = Option<Arc<[u8]>>;

/// What a call came to: the answer, and the state after it.
enum Came {
    Closed { answer: Json, state: StateOf, left: Vec<String> },
    Failed(String),
    Unanswered(Json, Json),
}

/// Makes the calls of a recording again from event `from` on, under `component` with `limits`.
pub(crate) fn dry_run(
    engine: &GuestEngine,
    recording: &Recording,
    (component, limits): (&[u8], &Limits),
    from: u64,
) -> Result<DryRun, ReplayError> {
    let ReplayStretch { start, .. } = recording.stretch_to(from)?;
    let stretch = ReplayStretch { start, last: None };
    let mut stage = Stage::new(engine);
    let program = stage.program(component)?;
    let (tape, again) = (recording.tape(&stretch)?, recording.tape(&stretch)?);
    let past = again.start.as_ref().map(|snapshot| snapshot.past.clone()).unwrap_or_default();
    let ran = again.start.as_ref().map(|snapshot| snapshot.started.component);
    let events = Script::of_pages(past, again.pages);
    let mut trial = Rehearsing { program, limits, from, events, ran, before: None, found: DryRun::default() };
    replay_stretch(&mut stage, tape, None, &mut |boundary| trial.pass(&boundary))?;
    Ok(trial.found)
}

struct Rehearsing<'a> {
    program: Arc<Program>,
    limits: &'a Limits,
    from: u64,
    events: Script,
    /// The component that ran, as far as the events were read.
    ran: Option<ComponentDigest>,
    /// The previous boundary, and the state there.
    before: Option<(Head, StateOf)>,
    found: DryRun,
}

impl Rehearsing<'_> {
    /// Takes the events up to `boundary`, which the recorded build has just reached.
    fn pass(&mut self, boundary: &Boundary<'_>) -> Result<(), ReplayError> {
        let (mut transition, mut past) = (Vec::<ChainEvent>::new(), Past::default());
        while let Some(event) = self.events.peek().filter(|event| event.sequence <= boundary.head.sequence).cloned() {
            match event.kind() {
                Some(EventKind::Started) => {
                    self.ran = Some(read::<crate::chain::data::Started>(&event)?.component);
                }
                Some(EventKind::Call) => {
                    transition = vec![event.clone()];
                    past = self.events.past().clone();
                    past.push(event);
                }
                _ => transition.push(event),
            }
            self.events.advance();
        }
        let after: StateOf = boundary.state.map(Arc::from);
        if let Some((head, state)) = self.before.take()
            && let [call, .., closing] = &transition[..]
            && call.kind() == Some(EventKind::Call)
            && call.sequence >= self.from
            && ![INIT.full, MIGRATE.full].contains(&call.function())
        {
            self.found.transitions += 1;
            let listed = self.found.changes.len();
            let changes = self.compare(head, (state, after.clone()), past, (&transition, closing))?;
            self.found.changed += u64::from(!changes.is_empty());
            self.found.changes.extend(changes.into_iter().take(LISTED.saturating_sub(listed)));
        }
        self.before = Some((boundary.head, after));
        Ok(())
    }

    /// What comes out otherwise in one transition.
    fn compare(
        &self,
        head: Head,
        (before, after): (StateOf, StateOf),
        past: Past,
        (transition, closing): (&[ChainEvent], &ChainEvent),
    ) -> Result<Vec<OutcomeChange>, ReplayError> {
        let call = &transition[0];
        let change = |what, recorded: Json, actual: Json| {
            OutcomeChange::new(call.sequence, call.function(), what, recorded, actual)
        };
        let Some(function) = self.program.function(call.function()) else {
            return Ok(vec![change("export", call.function().into(), Json::Null)]);
        };
        let (before, after) = match (self.migrated(head, before)?, self.migrated(head, after)?) {
            (Ok(before), Ok(after)) => (before, after),
            (Err(why), _) | (_, Err(why)) => return Ok(vec![change("migrate", Json::Null, why.into())]),
        };
        let job = Job::recorded(function, Call { fresh: true, ..read::<Call>(call)? });
        let came = self.run(head, before, Rehearsal::of(transition, past), job, call.sequence)?;
        let was = recorded(closing);
        Ok(match (came, was) {
            (Came::Unanswered(recorded, actual), _) => vec![change("effect", recorded, actual)],
            (Came::Failed(now), Err(was)) if now == was => Vec::new(),
            (Came::Failed(now), Err(was)) => vec![change("end", was.into(), now.into())],
            (Came::Failed(now), Ok(was)) => vec![change("end", was, now.into())],
            (Came::Closed { answer, .. }, Err(was)) => vec![change("end", was.into(), answer)],
            (Came::Closed { answer, state, left }, Ok(was)) => {
                let mut changes = Vec::new();
                if answer != was {
                    changes.push(change("answer", was, answer));
                }
                if state != after {
                    changes.push(change("state", shown(&after), shown(&state)));
                }
                changes.extend(left.into_iter().map(|left| change("effect", left.into(), Json::Null)));
                changes
            }
        })
    }

    /// A recorded state, as the new build would have it.
    fn migrated(&self, head: Head, state: StateOf) -> Result<Result<StateOf, String>, ReplayError> {
        let from = self.ran.filter(|ran| *ran != self.program.digest());
        let (Some(from), Some(function)) = (from, self.program.function(MIGRATE.full)) else { return Ok(Ok(state)) };
        let job = Job::new(function, (from.to_string(),).to_cbor(), Caller::Runtime, None);
        Ok(match self.run(head, state, Rehearsal::default(), job, head.sequence)? {
            Came::Closed { answer, state, .. } if answer["refused"].is_null() => Ok(state),
            Came::Closed { answer, .. } => Err(answer.to_string()),
            Came::Failed(why) => Err(why),
            Came::Unanswered(_, call) => Err(format!("it calls {call}, which a dry run cannot answer")),
        })
    }

    fn run(
        &self,
        head: Head,
        state: StateOf,
        rehearsal: Rehearsal,
        job: Job,
        sequence: u64,
    ) -> Result<Came, ReplayError> {
        // The chain only collects events and its hashes are thrown away, so it may belong to nobody.
        let chain = StateChain::after(crate::base::id::ActorId::of_nobody(), head);
        let host = HostState::new(Recorder::rehearsing(chain, rehearsal), self.limits.clone(), None);
        let mut executor = Executor::new(Guest::new(Arc::clone(&self.program), 1, host), state);
        Ok(match executor.transition(job, &mut |_| None) {
            Transition::Closed { outcome, .. } => {
                let answer = match outcome {
                    Outcome::Returned(result) => json(&result),
                    Outcome::Refused(message) => serde_json::json!({ "refused": message }),
                    other => format!("{other:?}").into(),
                };
                Came::Closed { answer, state: executor.state(), left: executor.recorder().left() }
            }
            Transition::Failed { reason, detail } => Came::Failed(format!("failed: {reason}: {detail}")),
            Transition::Interrupted(Interruption::Diverged(at)) => Came::Unanswered(at.recorded, at.actual),
            Transition::Interrupted(Interruption::Shortage(what)) => {
                return Err(ReplayError::NotExecuted { sequence, what });
            }
            Transition::Interrupted(other) => return Err(ReplayError::Sandbox(other.to_string())),
        })
    }
}

/// The recorded answer, or how the incarnation ended in this call.
fn recorded(closing: &ChainEvent) -> Result<Json, String> {
    match closing.kind() {
        Some(EventKind::Return) => Ok(closing.read::<Return>().map_or(Json::Null, |returned| json(&returned.result.0))),
        Some(EventKind::Refused) => {
            let message = closing.read::<Refused>().map(|refused| refused.message).unwrap_or_default();
            Ok(serde_json::json!({ "refused": message }))
        }
        Some(EventKind::Failed) => {
            let failed = closing.read::<Failed>().map(|failed| format!("failed: {}: {}", failed.reason, failed.detail));
            Err(failed.unwrap_or_else(|_| "failed".to_owned()))
        }
        _ => Err(closing.event_type.to_string()),
    }
}

fn json(cbor: &[u8]) -> Json {
    Value::parse(cbor).map_or(Json::Null, |value| value.to_json())
}

fn shown(state: &StateOf) -> Json {
    state.as_deref().map_or(Json::Null, bytes_to_json)
}
