//! What if: the recorded inputs are given to another build, and what it does otherwise is listed.
//!
//! Each transition is judged by itself. The recorded build is replayed, so that the state before each transition is known
//! exactly; the other one begins there, on a new instance, and is answered from the record. Where it asks something
//! else than was recorded, that is the change, and the transition ends there.

use std::sync::Arc;

use serde_json::Value as Json;

use super::{Boundary, ReplayError, Replayed, Stage, Tape, limits, read, replay};
use crate::actor::executor::{Executor, Job, Transition};
use crate::base::limits::Limits;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Failed, Started};
use crate::chain::{ChainEvent, EventKind, Head, StateChain};
use crate::guest::{Guest, GuestEngine, HostState, Interruption, Pages, Program, Recorder, Script};

/// A transition that the other build makes otherwise.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// Its `call`.
    pub(crate) sequence: u64,
    pub(crate) export: String,
    /// What of it: `state`, `result`, `message`, or a host call.
    pub(crate) what: String,
    pub(crate) recorded: Json,
    pub(crate) actual: Json,
}

/// Replays `tape` and runs `component` beside it; `events` gives the same chain again. `changed` is told of each change.
pub(crate) fn compare(
    engine: &GuestEngine,
    tape: Tape,
    events: Pages,
    component: &[u8],
    changed: &mut dyn FnMut(Change),
) -> Result<Replayed, ReplayError> {
    let program = Stage::new(engine).program(component)?;
    let mut beside = Beside {
        program,
        events: Script::of_pages(past(&tape), events),
        limits: Limits::default(),
        before: None,
        changed,
    };
    if let Some(snapshot) = &tape.start {
        beside.limits = limits(&snapshot.started);
    }
    replay(engine, tape, None, &mut |boundary| beside.pass(&boundary))
}

fn past(tape: &Tape) -> Vec<ChainEvent> {
    tape.start.iter().flat_map(|snapshot| snapshot.past.clone()).collect()
}

struct Beside<'a> {
    program: Arc<Program>,
    events: Script,
    limits: Limits,
    /// The boundary before, and the state there.
    before: Option<(Head, Option<Arc<[u8]>>)>,
    changed: &'a mut dyn FnMut(Change),
}

impl Beside<'_> {
    /// The recorded build has come to a boundary: what lies before it is run again.
    fn pass(&mut self, boundary: &Boundary<'_>) -> Result<(), ReplayError> {
        let mut transition = Vec::new();
        while let Some(event) = self.events.peek().filter(|event| event.sequence <= boundary.head.sequence) {
            match event.kind() {
                Some(EventKind::Started) => self.limits = limits(&read::<Started>(event)?),
                Some(EventKind::Call) => transition = vec![anew(event)?],
                _ => transition.push(event.clone()),
            }
            self.events.advance();
        }
        if let Some((head, state)) = self.before.take()
            && transition.first().is_some_and(|event| event.kind() == Some(EventKind::Call))
            && let Some(change) = self.run(head, state, transition)?
        {
            (self.changed)(change);
        }
        self.before = Some((boundary.head, boundary.state.map(Arc::from)));
        Ok(())
    }

    fn run(
        &self,
        head: Head,
        state: Option<Arc<[u8]>>,
        events: Vec<ChainEvent>,
    ) -> Result<Option<Change>, ReplayError> {
        let first = events[0].clone();
        let (sequence, export) = (first.sequence, first.function().to_owned());
        let change = |what: &str, recorded: Json, actual: Json| {
            Some(Change { sequence, export: export.clone(), what: what.to_owned(), recorded, actual })
        };
        let call = read::<Call>(&first)?;
        let Some(function) = self.program.function(&export) else {
            return Ok(change("export", export.as_str().into(), "not exported".into()));
        };
        let closing = events.last().cloned();
        // Whose chain it is does not matter: its hashes are not kept.
        let chain = StateChain::behind(crate::base::id::ActorId::of_nobody(), head);
        let recorder = Recorder::replaying(chain, Script::new(events));
        let host = HostState::new(recorder, self.limits.clone(), None);
        let mut executor = Executor::new(Guest::new(Arc::clone(&self.program), 1, host), state);
        Ok(match executor.transition(Job::recorded(function, call), &mut || None) {
            Transition::Closed { .. } | Transition::Interrupted(Interruption::RecordedEnd) => None,
            Transition::Interrupted(Interruption::Diverged(divergence)) => {
                let what = divergence.field.trim_start_matches("data.").to_owned();
                change(&what, divergence.recorded, divergence.actual)
            }
            Transition::Interrupted(Interruption::Shortage(what)) => {
                return Err(ReplayError::NotExecuted { sequence, what });
            }
            Transition::Interrupted(other) => return Err(ReplayError::Sandbox(other.to_string())),
            Transition::Failed { reason, detail } => {
                let failed = closing.as_ref().filter(|event| event.kind() == Some(EventKind::Failed));
                let before = failed.and_then(|event| Failed::from_cbor(&event.data).ok());
                if before.as_ref().is_some_and(|before| before.reason == reason && before.detail == detail) {
                    return Ok(None);
                }
                let recorded = closing.map_or(Json::Null, |event| event.event_type.as_ref().into());
                change("end", recorded, format!("failed: {reason}: {detail}").into())
            }
        })
    }
}

/// The other build begins each transition on a new instance.
fn anew(call: &ChainEvent) -> Result<ChainEvent, ReplayError> {
    let data = Call { fresh: true, ..read::<Call>(call)? }.to_cbor();
    Ok(ChainEvent { data, ..call.clone() })
}
