//! Replay: a verified chain is executed again, event by event, and must come out the same, hash for hash.
//!
//! Inputs are copied: `started`, timestamps, what host calls answered, ends that came from outside the guest. What the
//! guest makes of them is computed again and compared. No handler's effect happens.

use std::collections::HashMap;
use std::sync::Arc;

use super::executor::{Executor, Job, Transition};
use crate::base::limits::Limits;
use crate::chain::cbor::{Cbor, CborError};
use crate::chain::data::{Call, Failed, FailureReason, NamedState, StartReason, Started};
use crate::chain::{ChainEvent, ComponentDigest, EventHash, EventKind, StateChain, VerifiedChain};
use crate::guest::{
    Capability, Divergence, Guest, GuestEngine, GuestExport, HostState, Interruption, Program, Recorder, Script,
};
use crate::handlers::{self, Handler};

/// What a replay came to.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Events that came out as they were recorded.
    pub events: u64,
    /// Calls among them that were executed.
    pub transitions: u64,
    /// The hash of the last one.
    pub head: Option<EventHash>,
    /// The state at the end.
    pub state: Option<Vec<u8>>,
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
    #[error("{0}")]
    Sandbox(String),
}

/// Executes `chain` again up to and including event `until`, or to its end. `component`, where given, runs instead of
/// whatever the chain says ran.
pub(crate) fn replay(
    engine: &GuestEngine,
    chain: &VerifiedChain,
    component: Option<&[u8]>,
    until: Option<u64>,
) -> Result<Replayed, ReplayError> {
    let events = chain.events();
    let upto = until.map_or(events.len(), |until| events.len().min(usize::try_from(until).unwrap_or(usize::MAX) + 1));
    let script = Script::new(events[..upto].into());
    let player = Player { engine, chain, component, programs: HashMap::new(), handlers: handlers::every() };
    player.play(script)
}

struct Player<'a> {
    engine: &'a GuestEngine,
    chain: &'a VerifiedChain,
    component: Option<&'a [u8]>,
    programs: HashMap<ComponentDigest, Arc<Program>>,
    handlers: Vec<Box<dyn Handler>>,
}

impl Player<'_> {
    fn play(mut self, script: Script) -> Result<Replayed, ReplayError> {
        let mut recorder = Recorder::replaying(StateChain::new(self.chain.actor()), script);
        let mut state = None;
        let mut transitions = 0;
        while let Some(event) = recorder.upcoming() {
            if event.kind() != Some(EventKind::Started) {
                return Err(out_of_place(event));
            }
            let started = read::<Started>(event)?;
            state = self.initial_state(event.sequence, &started, state)?;
            recorder.copy();
            let program = self.program(started.component)?;
            let host = HostState::new(recorder, limits(&started), None);
            let mut executor = Executor::new(Guest::new(program, u32::MAX, host), state);
            transitions += play_incarnation(&mut executor)?;
            let (guest, last) = executor.into_parts();
            (recorder, state) = (guest.into_state().recorder, last);
        }
        Ok(Replayed {
            events: recorder.chain().next_sequence(),
            transitions,
            head: recorder.chain().head().map(|head| head.hash),
            state: state.map(|state| state.to_vec()),
        })
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
            NamedState::Digest { len, sha1 } => match self.chain.blob(sha1) {
                Some(bytes) => Ok(Some(bytes.as_slice().into())),
                None => Err(ReplayError::NoState { sequence, len: *len }),
            },
        }
    }

    fn program(&mut self, digest: ComponentDigest) -> Result<Arc<Program>, ReplayError> {
        if let Some(program) = self.programs.get(&digest) {
            return Ok(Arc::clone(program));
        }
        let bytes = self.component.or_else(|| self.chain.components().get(&digest).map(Vec::as_slice));
        let bytes = bytes.ok_or_else(|| ReplayError::NoComponent { digest: digest.to_string() })?;
        let sandbox = |error: &dyn std::error::Error| ReplayError::Sandbox(error.to_string());
        let compiled = self.engine.compile(bytes).map_err(|error| sandbox(&error))?;
        let granted: Vec<Optional<'_>> = self.handlers.iter().map(|handler| Optional(&**handler)).collect();
        let granted: Vec<&dyn Capability> = granted.iter().map(|capability| capability as &dyn Capability).collect();
        let program = Program::new(self.engine, compiled, &granted, &[]).map_err(|error| sandbox(&error))?;
        self.programs.insert(digest, Arc::clone(&program));
        Ok(program)
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

/// From behind a `started` to before the next; the number of calls executed.
fn play_incarnation(executor: &mut Executor) -> Result<u64, ReplayError> {
    let exports: HashMap<_, _> = handlers::every()
        .iter()
        .flat_map(|handler| handler.exports())
        .map(|export| (export.function().full, export.function()))
        .collect();
    let mut transitions = 0;
    loop {
        let Some(event) = executor.recorder().upcoming().cloned() else { return Ok(transitions) };
        match event.kind() {
            Some(EventKind::Started) => return Ok(transitions),
            Some(EventKind::Failed | EventKind::Stopped) => _ = executor.recorder().copy(),
            Some(EventKind::Call) => {
                let call = read::<Call>(&event)?;
                let sequence = event.sequence;
                let function = exports.get(event.function()).copied();
                let function = function.filter(|function| executor.guest().program().has_export(function));
                let Some(function) = function else {
                    let why = format!("the component does not export {}", event.function());
                    return Err(ReplayError::Data { sequence, why });
                };
                transitions += 1;
                executor.guest().set_fresh(call.fresh);
                let end = executor.transition(Job::recorded(function, call), &mut || None);
                if !go_on(executor, end)? {
                    return Ok(transitions);
                }
            }
            Some(EventKind::Intent | EventKind::HostCall | EventKind::Return | EventKind::Refused) | None => {
                return Err(out_of_place(&event));
            }
        }
    }
}

/// Whether the chain goes on behind this transition. A chain may end within one: it was cut there, or exported while
/// the actor was at work.
fn go_on(executor: &mut Executor, end: Transition) -> Result<bool, ReplayError> {
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

fn read<T: Cbor>(event: &ChainEvent) -> Result<T, ReplayError> {
    T::from_cbor(&event.data)
        .map_err(|error: CborError| ReplayError::Data { sequence: event.sequence, why: error.to_string() })
}

/// The limits that were in force. One this version does not know has no meaning here.
fn limits(started: &Started) -> Limits {
    let mut limits = Limits::default();
    for (name, value) in &started.limits.0 {
        if limits.set(name, *value).is_err() {
            log::warn!("the limit {name} = {value} of the chain is not known here");
        }
    }
    limits
}
