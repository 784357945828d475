//! Comparison with another build: the recorded inputs are given to another build of the component, and every difference
//! in what it does is listed.
//!
//! Each transition is compared by itself. The recorded build is replayed, so that the state before each transition is
//! known exactly. The other build begins with that state, on a new instance, and its host calls are answered from the
//! record. If it makes another host call than was recorded, that is the difference, and the comparison of this
//! transition ends there.

use std::sync::Arc;

use serde_json::Value as Json;

use super::{Boundary, Plan, Recording, ReplayError, Stage, before_it, limits, read, replay_stretch};
use crate::actor::executor::{Executor, Job, Transition};
use crate::base::limits::Limits;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Failed, Started};
use crate::chain::table::{self, TableWrite};
use crate::chain::{ChainEvent, EventKind, Head, StateChain};
use crate::guest::{
    Guest, GuestEngine, HostState, Interruption, Past, Program, Recorder, Script, Table, Unread, is_the_recorded_detail,
};
use crate::handlers::INIT;
use crate::journal::RowWrite;

/// A transition in which the other build does something else.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BehaviourChange {
    /// The sequence of its `call`.
    pub(crate) sequence: u64,
    pub(crate) export: String,
    /// The part that differs: `state`, `result`, `message`, or a host call.
    pub(crate) what: String,
    pub(crate) recorded: Json,
    pub(crate) actual: Json,
}

/// Replays what can be replayed of a recording, and runs `component` beside it. `changed` is called with each
/// difference.
pub(crate) fn compare(
    engine: &GuestEngine,
    recording: &Recording,
    component: &[u8],
    changed: &mut dyn FnMut(BehaviourChange),
) -> Result<u64, ReplayError> {
    let Plan { stretches, lost_from, dropped, .. } = recording.plan()?;
    let mut stage = Stage::new(engine);
    let program = stage.program(component)?;
    let mut transitions = 0;
    for stretch in stretches {
        let (tape, again) = (recording.tape(&stretch)?, recording.tape(&stretch)?);
        let past = again.start.as_ref().map(|snapshot| snapshot.past.clone()).unwrap_or_default();
        let mut beside = Beside {
            program: Arc::clone(&program),
            events: Script::of_pages(past, again.pages),
            limits: again.start.as_ref().map(|snapshot| limits(&snapshot.started)).unwrap_or_default(),
            before: None,
            table: Some(Box::new(Table::new(again.table, false))),
            changed,
        };
        transitions += replay_stretch(&mut stage, tape, None, &mut |boundary| beside.pass(&boundary))?.transitions;
    }
    match lost_from {
        Some(sequence) => Err(ReplayError::Dropped { sequence, before: before_it(transitions, &[]) }),
        None if transitions == 0 && !dropped.is_empty() && recording.has_calls()? => {
            Err(ReplayError::NothingExecuted { dropped: dropped.described(recording.last()? + 1) })
        }
        None => Ok(transitions),
    }
}

struct Beside<'a> {
    program: Arc<Program>,
    events: Script,
    limits: Limits,
    /// The previous boundary, and the state there.
    before: Option<(Head, Option<Arc<[u8]>>)>,
    /// The actor's table there, as the recorded events make it. It is lent for each call.
    table: Option<Box<Table>>,
    changed: &'a mut dyn FnMut(BehaviourChange),
}

impl Beside<'_> {
    /// Runs the other build on the events before `boundary`, which the recorded build has just reached.
    fn pass(&mut self, boundary: &Boundary<'_>) -> Result<(), ReplayError> {
        let (mut transition, mut past) = (Vec::new(), Past::default());
        while let Some(event) = self.events.peek().filter(|event| event.sequence <= boundary.head.sequence) {
            if event.kind() == Some(EventKind::Started) {
                self.limits = limits(&read::<Started>(event)?);
            }
            if event.kind() == Some(EventKind::Call) {
                transition = vec![anew(event)?];
                past = self.events.past().clone();
                // The guest is shown its chain as it was recorded, so the unchanged event goes there.
                past.push(event.clone());
            } else {
                transition.push(event.clone());
            }
            self.events.advance();
        }
        if let Some((head, state)) = self.before.take()
            && transition.first().is_some_and(|event| event.kind() == Some(EventKind::Call))
            && let Some(change) = self.run(head, state, past, transition.clone())?
        {
            (self.changed)(change);
        }
        self.write(&transition)?;
        self.before = Some((boundary.head, boundary.state.map(Arc::from)));
        Ok(())
    }

    /// Writes to the table what a recorded transition has written.
    fn write(&mut self, transition: &[ChainEvent]) -> Result<(), ReplayError> {
        let (Some(table), [call, .., closing]) = (&mut self.table, transition) else { return Ok(()) };
        table.begin_call(call.function() == INIT.full);
        for event in transition {
            if let Some(TableWrite { key, value }) = table::write_of(&event.event_type, &event.data) {
                let (written, hash, value) = (event.sequence, event.hash, value.map(Arc::from));
                table.write(RowWrite { key: key.into(), written, hash, value });
            }
        }
        if closing.kind() == Some(EventKind::Return) {
            let unread = |unread: Unread| ReplayError::Unreadable(unread.interruption(false).to_string());
            table.close(closing.sequence).map_err(unread)?;
        }
        table.begin_call(false);
        Ok(())
    }

    fn run(
        &mut self,
        head: Head,
        state: Option<Arc<[u8]>>,
        past: Past,
        events: Vec<ChainEvent>,
    ) -> Result<Option<BehaviourChange>, ReplayError> {
        let first = events[0].clone();
        let (sequence, export) = (first.sequence, first.function().to_owned());
        let change = |what: &str, recorded: Json, actual: Json| {
            Some(BehaviourChange { sequence, export: export.clone(), what: what.to_owned(), recorded, actual })
        };
        let call = read::<Call>(&first)?;
        let Some(function) = self.program.function(&export) else {
            return Ok(change("export", export.as_str().into(), "not exported".into()));
        };
        let closing = events.last().cloned();
        // The chain only collects events and its hashes are thrown away, so it may belong to nobody.
        let chain = StateChain::after(crate::base::id::ActorId::of_nobody(), head);
        let mut recorder = Recorder::replaying(chain, Script::after(past, events));
        if let Some(table) = self.table.take() {
            recorder.lend_table(table);
        }
        let host = HostState::new(recorder, self.limits.clone(), None);
        let mut executor = Executor::new(Guest::new(Arc::clone(&self.program), 1, host), state);
        let end = executor.transition(Job::recorded(function, call), &mut |_| None);
        self.table = executor.recorder().take_table();
        Ok(match end {
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
                let before = failed.and_then(|event| event.read::<Failed>().ok());
                if before
                    .as_ref()
                    .is_some_and(|before| before.reason == reason && is_the_recorded_detail(&before.detail, &detail))
                {
                    return Ok(None);
                }
                let recorded = closing.map_or(Json::Null, |event| event.event_type.as_ref().into());
                change("end", recorded, format!("failed: {reason}: {detail}").into())
            }
        })
    }
}

/// The call as the other build makes it: on a new instance.
fn anew(call: &ChainEvent) -> Result<ChainEvent, ReplayError> {
    let data = Call { fresh: true, ..read::<Call>(call)? }.to_cbor();
    Ok(ChainEvent { data, ..call.clone() })
}
