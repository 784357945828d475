//! Replay: a verified chain is executed again, event by event, and must come out the same, hash for hash.
//!
//! Inputs are copied: `started`, timestamps, what host calls answered, ends that came from outside the guest. What the
//! guest makes of them is computed again and compared. No handler's effect happens.

use std::collections::HashMap;
use std::sync::Arc;

mod compare;
mod tape;

pub(crate) use compare::{Change, compare};
pub(crate) use tape::{Snapshot, Store, Tape};

use super::executor::{Executor, Job, Transition};
use crate::base::limits::Limits;
use crate::chain::cbor::{Cbor, CborError};
use crate::chain::data::{Call, Failed, FailureReason, NamedState, StartReason, Started};
use crate::chain::{ChainEvent, ComponentDigest, EventHash, EventKind, Head, StateChain};
use crate::guest::{
    Capability, Divergence, Guest, GuestEngine, GuestExport, HostState, Interruption, Program, Recorder, Script,
    was_recorded_as_a_trap,
};
use crate::handlers::{self, Handler};

/// What a replay came to.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Where the chain's events end that came out as they were recorded.
    pub events: u64,
    /// Where they begin: 0, or behind the kept state that replay began with.
    pub from: u64,
    /// Calls among them that were executed.
    pub transitions: u64,
    /// The hash of the last one.
    pub head: Option<EventHash>,
    /// The state at the end.
    pub state: Option<Vec<u8>>,
    /// What a reader of the chain should know beside it.
    pub notes: Vec<String>,
}

/// Why a replay did not come to its end.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ReplayError {
    #[error("{0}")]
    Diverged(Box<Divergence>),
    #[error("the component {digest} is neither in the chain file nor given; give it with --component FILE")]
    NoComponent { digest: String },
    #[error("event {sequence}: {why}")]
    Data { sequence: u64, why: String },
    #[error("event {sequence}: the state it begins with ({len} bytes) is not in the chain file")]
    NoState { sequence: u64, len: u64 },
    #[error("the kept state at event {sequence} is not the one that replay comes to: {what}")]
    Snapshot { sequence: u64, what: String },
    #[error(
        "the data of event {sequence} was dropped, and no state is kept behind it: nothing from there on can be replayed"
    )]
    Dropped { sequence: u64 },
    #[error("the state at event {until} cannot be had: data was dropped before event {kept}; from {kept} on it can")]
    Gone { until: u64, kept: u64 },
    #[error(
        "event {sequence} cannot be executed here, so nothing from there on was compared: the machine gave no more: {what}; see \"theater doctor\""
    )]
    NotExecuted { sequence: u64, what: String },
    #[error("{0}")]
    Unreadable(String),
    #[error("its replay panicked: {0}; this is a defect of Theater")]
    Panicked(String),
    #[error("{0}")]
    Sandbox(String),
}

/// Executes what `tape` holds, and compares. `component`, where given, runs instead of whatever the chain says ran;
/// `passed` is told of each boundary.
pub(crate) fn replay(
    engine: &GuestEngine,
    tape: Tape,
    component: Option<&[u8]>,
    passed: &mut dyn FnMut(Boundary<'_>) -> Result<(), ReplayError>,
) -> Result<Replayed, ReplayError> {
    let Tape { actor, start, pages, store } = tape;
    let player = Player { stage: Stage::new(engine), store, component, passed, notes: Vec::new() };
    let (chain, past) = match &start {
        Some(snapshot) => (StateChain::behind(actor, snapshot.head), snapshot.past.clone()),
        None => (StateChain::new(actor), Vec::new()),
    };
    player.play(Recorder::replaying(chain, Script::of_pages(past, pages)), start)
}

/// A place in a chain where no transition is open.
pub(crate) struct Boundary<'a> {
    /// The last event before it.
    pub(crate) head: Head,
    pub(crate) state: Option<&'a [u8]>,
}

struct Player<'a> {
    stage: Stage<'a>,
    store: Store,
    component: Option<&'a [u8]>,
    passed: &'a mut dyn FnMut(Boundary<'_>) -> Result<(), ReplayError>,
    notes: Vec<String>,
}

impl Player<'_> {
    fn play(mut self, mut recorder: Recorder, start: Option<Snapshot>) -> Result<Replayed, ReplayError> {
        let first = recorder.chain().next_sequence();
        let mut state = None;
        let mut transitions = 0;
        let mut begun = start.map(|snapshot| {
            state = snapshot.state.map(Arc::from);
            snapshot.started
        });
        loop {
            let started = match begun.take() {
                Some(started) => started,
                None => {
                    let Some(event) = recorder.upcoming() else { break };
                    if event.kind() != Some(EventKind::Started) {
                        return Err(out_of_place(event));
                    }
                    let started = read::<Started>(event)?;
                    state = self.initial_state(event.sequence, &started, state)?;
                    recorder.copy();
                    started
                }
            };
            self.boundary(&recorder, state.as_deref())?;
            let program = self.program(started.component)?;
            let host = HostState::new(recorder, limits(&started), None);
            let mut executor = Executor::new(Guest::new(program, u32::MAX, host), state);
            transitions += self.play_incarnation(&mut executor)?;
            let (guest, last) = executor.into_parts();
            (recorder, state) = (guest.into_state().recorder, last);
        }
        if let Some(why) = recorder.broken() {
            return Err(ReplayError::Unreadable(why.to_owned()));
        }
        Ok(Replayed {
            events: recorder.chain().next_sequence(),
            from: first,
            transitions,
            head: recorder.chain().head().map(|head| head.hash),
            state: state.map(|state| state.to_vec()),
            notes: self.notes,
        })
    }

    fn boundary(&mut self, recorder: &Recorder, state: Option<&[u8]>) -> Result<(), ReplayError> {
        let head = recorder.chain().head().expect("an event came before");
        (self.passed)(Boundary { head, state })
    }

    /// A `started` names the state: a new one by its bytes, one from before by being the same.
    fn initial_state(
        &self,
        sequence: u64,
        started: &Started,
        last: Option<Arc<[u8]>>,
    ) -> Result<Option<Arc<[u8]>>, ReplayError> {
        if NamedState::of(last.as_deref()) == started.state && started.reason != StartReason::Spawn {
            return Ok(last);
        }
        match &started.state {
            NamedState::None => Ok(None),
            NamedState::Inline(bytes) => Ok(Some(bytes.as_slice().into())),
            NamedState::Digest { len, sha1 } => match (self.store.blob)(*sha1).map_err(ReplayError::Unreadable)? {
                Some(bytes) => Ok(Some(bytes.into())),
                None => Err(ReplayError::NoState { sequence, len: *len }),
            },
        }
    }

    fn program(&mut self, digest: ComponentDigest) -> Result<Arc<Program>, ReplayError> {
        if let Some(program) = self.stage.programs.get(&digest) {
            return Ok(Arc::clone(program));
        }
        let stored = match self.component {
            Some(given) => Some(given.to_vec()),
            None => (self.store.component)(digest).map_err(ReplayError::Unreadable)?,
        };
        let bytes = stored.ok_or_else(|| ReplayError::NoComponent { digest: digest.to_string() })?;
        let program = self.stage.program(&bytes)?;
        self.stage.programs.insert(digest, Arc::clone(&program));
        Ok(program)
    }

    /// From behind a `started` to before the next; the number of calls executed.
    fn play_incarnation(&mut self, executor: &mut Executor) -> Result<u64, ReplayError> {
        let mut transitions = 0;
        loop {
            let Some(event) = executor.recorder().upcoming().cloned() else { return Ok(transitions) };
            match event.kind() {
                Some(EventKind::Started) => return Ok(transitions),
                Some(EventKind::Failed | EventKind::Stopped) => {
                    self.notes.extend(recorded_shortage(&event));
                    executor.recorder().copy();
                }
                Some(EventKind::Call) => {
                    let call = read::<Call>(&event)?;
                    let function = executor.guest().program().function(event.function());
                    let Some(function) = function else {
                        let why = format!("the component does not export {}", event.function());
                        return Err(ReplayError::Data { sequence: event.sequence, why });
                    };
                    transitions += 1;
                    executor.guest().set_fresh(call.fresh);
                    let end = executor.transition(Job::recorded(function, call), &mut || None);
                    let closed = matches!(end, Transition::Closed { .. });
                    let goes_on = go_on(executor, end)?;
                    // The last transition of a chain ends at a boundary too, unless the chain was cut within it.
                    if goes_on || closed {
                        let state = executor.state();
                        self.boundary(executor.recorder(), state.as_deref())?;
                    }
                    if !goes_on {
                        return Ok(transitions);
                    }
                }
                Some(EventKind::Intent | EventKind::HostCall | EventKind::Return | EventKind::Refused) | None => {
                    return Err(out_of_place(&event));
                }
            }
        }
    }
}

/// What programs are made with when nothing they do has an effect: every handler, with defaults.
pub(super) struct Stage<'a> {
    engine: &'a GuestEngine,
    handlers: Vec<Box<dyn Handler>>,
    programs: HashMap<ComponentDigest, Arc<Program>>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(engine: &'a GuestEngine) -> Self {
        Self { engine, handlers: handlers::every(), programs: HashMap::new() }
    }

    pub(super) fn program(&self, component: &[u8]) -> Result<Arc<Program>, ReplayError> {
        let sandbox = |error: &dyn std::error::Error| ReplayError::Sandbox(error.to_string());
        let compiled = self.engine.compile(component).map_err(|error| sandbox(&error))?;
        let granted: Vec<Optional<'_>> = self.handlers.iter().map(|handler| Optional(&**handler)).collect();
        let granted: Vec<&dyn Capability> = granted.iter().map(|capability| capability as &dyn Capability).collect();
        Program::new(self.engine, compiled, &granted, &[]).map_err(|error| sandbox(&error))
    }
}

/// A capability whose exports may be missing: replay grants every handler to every component.
struct Optional<'a>(&'a dyn Handler);

impl Capability for Optional<'_> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn imports(&self) -> &'static [&'static str] {
        self.0.imports()
    }

    fn link(&self, linker: &mut wasmtime::component::Linker<Box<HostState>>) -> wasmtime::Result<()> {
        self.0.link(linker)
    }

    fn exports(&self) -> Vec<Box<dyn GuestExport>> {
        self.0.exports()
    }

    fn exports_are_optional(&self) -> bool {
        true
    }
}

/// Whether the chain goes on behind this transition. A chain may end within one: it was cut there, or exported while
/// the actor was at work.
fn go_on(executor: &mut Executor, end: Transition) -> Result<bool, ReplayError> {
    if let Transition::Interrupted(Interruption::Shortage(what)) = end {
        let sequence = executor.recorder().chain().next_sequence();
        return Err(ReplayError::NotExecuted { sequence, what });
    }
    let Some(upcoming) = executor.recorder().upcoming().cloned() else {
        return match end {
            Transition::Interrupted(Interruption::Diverged(divergence)) if divergence.recorded.is_null() => Ok(false),
            Transition::Interrupted(Interruption::Diverged(divergence)) => Err(ReplayError::Diverged(divergence)),
            Transition::Closed { .. } | Transition::Failed { .. } | Transition::Interrupted(_) => Ok(false),
        };
    };
    match end {
        Transition::Closed { .. } | Transition::Interrupted(Interruption::RecordedEnd) => Ok(true),
        Transition::Failed { reason, detail } => {
            check_failure(&upcoming, reason, &detail)?;
            executor.recorder().copy();
            Ok(true)
        }
        Transition::Interrupted(Interruption::Diverged(divergence)) => Err(ReplayError::Diverged(divergence)),
        Transition::Interrupted(other) => Err(ReplayError::Sandbox(other.to_string())),
    }
}

/// What is said of a `failed` that blames the guest for what the machine could not give, as earlier versions did.
fn recorded_shortage(event: &ChainEvent) -> Option<String> {
    let failed = Failed::from_cbor(&event.data).ok().filter(|_| event.kind() == Some(EventKind::Failed))?;
    let is_one = failed.reason == FailureReason::Trap && was_recorded_as_a_trap(&failed.detail);
    is_one.then(|| {
        format!(
            "event {}: \"trap: {}\" was the machine's doing and not the guest's: it is taken as an end from outside",
            event.sequence, failed.detail
        )
    })
}

/// The guest failed in replay: so it must have in the chain, for the same reason. What it dropped is an input.
fn check_failure(recorded: &ChainEvent, reason: FailureReason, detail: &str) -> Result<(), ReplayError> {
    let sequence = recorded.sequence;
    if recorded.kind() != Some(EventKind::Failed) {
        return Err(differs(sequence, "event_type", recorded.event_type.as_ref().into(), "failed".into()));
    }
    let before = read::<Failed>(recorded)?;
    if (before.reason, before.detail.as_str()) == (reason, detail) {
        return Ok(());
    }
    let shown = |reason: FailureReason, detail: &str| serde_json::json!({ "reason": reason.word(), "detail": detail });
    Err(differs(sequence, "data", shown(before.reason, &before.detail), shown(reason, detail)))
}

fn differs(sequence: u64, field: &str, recorded: serde_json::Value, actual: serde_json::Value) -> ReplayError {
    ReplayError::Diverged(Box::new(Divergence { sequence, field: field.into(), recorded, actual }))
}

fn out_of_place(event: &ChainEvent) -> ReplayError {
    let why = format!("\"{}\" stands where no transition is open", event.event_type);
    ReplayError::Data { sequence: event.sequence, why }
}

pub(super) fn read<T: Cbor>(event: &ChainEvent) -> Result<T, ReplayError> {
    T::from_cbor(&event.data)
        .map_err(|error: CborError| ReplayError::Data { sequence: event.sequence, why: error.to_string() })
}

/// The limits that were in force. One this version does not know has no meaning here, and what none can be is a
/// stranger's word.
pub(crate) fn limits(started: &Started) -> Limits {
    let mut limits = Limits::default();
    for (name, value) in &started.limits.0 {
        match limits.named(name).zip(Limits::possible(name)) {
            Some((limit, possible)) => *limit = (*value).clamp(*possible.start(), *possible.end()),
            None => log::warn!("the limit {name} = {value} of the chain is not known here"),
        }
    }
    limits
}
