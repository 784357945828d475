//! Replay: a verified chain is executed again, event by event, and every event must come out the same, hash for hash.
//!
//! Inputs are copied from the chain: `started`, timestamps, the answers of host calls, ends that came from outside the
//! guest. What the guest computes from them is computed again and compared. No handler has an effect during a replay.

use std::ops::RangeInclusive;
use std::sync::Arc;

mod compare;
mod dry_run;
mod error;
mod outcomes;
mod past_state;
mod recording;
mod stage;
mod starts;
mod tape;

pub(crate) use compare::{BehaviourChange, compare};
pub(crate) use dry_run::dry_run;
pub use error::ReplayError;
pub(crate) use outcomes::{
    ChangedPart, ComparedTransitions, OtherBuild, OutcomeChange, OutcomesCompared, compare_outcomes,
    program_to_compare, record_again,
};
pub(crate) use past_state::{PastState, computed_state, past_state};
pub(crate) use recording::Recording;
use recording::{Plan, ReplayStretch};
use stage::Stage;
use starts::Starts;
use tape::{Snapshot, Store, Tape};

use super::executor::{Executor, Job, Transition};
use crate::base::limits::Limits;
use crate::chain::cbor::CborError;
use crate::chain::data::{Call, EventData, Failed, FailureReason, NamedState, StartReason, Started, Stopped};
use crate::chain::dropped::described;
use crate::chain::{ChainEvent, ComponentDigest, EventHash, EventKind, Head, StateChain};
use crate::guest::{
    Divergence, Guest, GuestEngine, HostState, Interruption, Past, Program, Recorder, Script, Unseen,
    is_the_recorded_detail, was_recorded_as_a_trap,
};
use crate::system::Outcome;

/// The result of a replay.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Replayed {
    /// The number of the chain's events up to the last one that came out as recorded.
    pub events: u64,
    /// Where the last unbroken run of these events begins: 0, or after the event whose state the replay began with.
    pub from: u64,
    /// How many of them are calls that were executed.
    pub transitions: u64,
    /// The hash of the last of these events.
    pub head: Option<EventHash>,
    /// The state after the last of these events.
    pub state: Option<Vec<u8>>,
    /// Remarks for a reader of the chain.
    pub notes: Vec<String>,
    /// The ranges of events that could not be replayed because data was dropped: each from an event whose data is gone
    /// to the next event after which the state is known.
    pub skipped: Vec<RangeInclusive<u64>>,
}

impl Replayed {
    /// How many events were compared and came out as recorded.
    pub fn compared(&self) -> u64 {
        let skipped: u64 = self.skipped.iter().map(|skipped| skipped.end() - skipped.start() + 1).sum();
        self.events.saturating_sub(skipped)
    }
}

/// A description of what was replayed before the first event that can no longer be replayed.
fn before_it(transitions: u64, skipped: &[RangeInclusive<u64>]) -> String {
    let except = skipped.iter().map(described).collect::<Vec<_>>().join(", ");
    match (transitions, skipped) {
        (0, _) => "nothing was executed before it".into(),
        (_, []) => format!("what lies before it came out as it was recorded ({transitions} transitions)"),
        (_, _) => {
            format!(
                "what lies before it came out as it was recorded ({transitions} transitions), except events {except}"
            )
        }
    }
}

/// Replays everything in a recording that can be replayed. If `component` is given, it runs in place of the component
/// that the chain names. `passed` is called at each boundary.
pub(crate) fn replay(
    engine: &GuestEngine,
    recording: &Recording,
    component: Option<&[u8]>,
    passed: &mut Passed<'_>,
) -> Result<Replayed, ReplayError> {
    let Plan { stretches, skipped, lost_from, dropped } = recording.plan()?;
    let mut stage = Stage::new(engine);
    let mut replayed: Option<Replayed> = None;
    for stretch in stretches {
        let mut next = replay_stretch(&mut stage, recording.tape(&stretch)?, component, passed)?;
        if let Some(before) = replayed {
            next.transitions += before.transitions;
            next.notes = [before.notes, next.notes].concat();
        }
        replayed = Some(next);
    }
    if let Some(sequence) = lost_from {
        let transitions = replayed.map_or(0, |replayed| replayed.transitions);
        return Err(ReplayError::Dropped { sequence, before: before_it(transitions, &skipped) });
    }
    let replayed = replayed.expect("what is not lost has an end");
    if replayed.transitions == 0 && !dropped.is_empty() && recording.has_calls()? {
        return Err(ReplayError::NothingExecuted { dropped: dropped.described(replayed.events) });
    }
    Ok(Replayed { skipped, ..replayed })
}

/// Replays the events that lead to event `until`, from the nearest place where a replay can begin.
pub(crate) fn replay_until(
    engine: &GuestEngine,
    recording: &Recording,
    until: u64,
    component: Option<&[u8]>,
    passed: &mut Passed<'_>,
) -> Result<Replayed, ReplayError> {
    let tape = recording.tape(&recording.stretch_to(until)?)?;
    replay_stretch(&mut Stage::new(engine), tape, component, passed)
}

/// The function that is called at each boundary.
pub(crate) type Passed<'a> = dyn FnMut(Boundary<'_>) -> Result<(), ReplayError> + 'a;

fn replay_stretch(
    stage: &mut Stage<'_>,
    tape: Tape,
    component: Option<&[u8]>,
    passed: &mut Passed<'_>,
) -> Result<Replayed, ReplayError> {
    let starts = Starts::of(&tape);
    let Tape { actor, start, pages, store, table, .. } = tape;
    let mut player = Player { stage, store, component, passed, starts, notes: Vec::new() };
    let (chain, past) = match &start {
        Some(snapshot) => (StateChain::after(actor, snapshot.head), snapshot.past.clone()),
        None => (StateChain::new(actor), Past::default()),
    };
    player.play(Recorder::replaying(chain, Script::of_pages(past, pages)).with_table(table), start)
}

/// A place in a chain where no transition is open.
pub(crate) struct Boundary<'a> {
    /// The last event before the boundary.
    pub(crate) head: Head,
    pub(crate) state: Option<&'a [u8]>,
}

struct Player<'a, 'e> {
    stage: &'a mut Stage<'e>,
    store: Store,
    component: Option<&'a [u8]>,
    passed: &'a mut Passed<'a>,
    starts: Starts,
    notes: Vec<String>,
}

impl Player<'_, '_> {
    fn play(&mut self, mut recorder: Recorder, start: Option<Snapshot>) -> Result<Replayed, ReplayError> {
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
                    self.starts.begins(event.sequence, &started, state.as_deref())?;
                    state = self.initial_state(event.sequence, &started, state)?;
                    recorder.copy();
                    started
                }
            };
            self.boundary(&recorder, state.as_deref())?;
            if !self.has_calls(&mut recorder)? {
                continue;
            }
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
            notes: std::mem::take(&mut self.notes),
            skipped: Vec::new(),
        })
    }

    /// Whether a call comes before the next start. If none does, the component is not needed: it may be gone, if all else that
    /// it did was dropped.
    fn has_calls(&mut self, recorder: &mut Recorder) -> Result<bool, ReplayError> {
        let mut has_ended = false;
        while let Some(event) = recorder.upcoming().cloned() {
            match event.kind() {
                Some(EventKind::Failed | EventKind::Stopped) => {
                    check_end(&event)?;
                    self.notes.extend(recorded_shortage(&event));
                    recorder.copy();
                    has_ended = true;
                }
                Some(EventKind::Started) => return Ok(false),
                Some(EventKind::Call) if has_ended => return Err(after_the_end(&event)),
                _ => return Ok(true),
            }
        }
        Ok(false)
    }

    fn boundary(&mut self, recorder: &Recorder, state: Option<&[u8]>) -> Result<(), ReplayError> {
        let head = recorder.chain().head().expect("an event came before");
        (self.passed)(Boundary { head, state })
    }

    /// The state that a `started` begins with. A new state is named by its bytes; a state that the chain has already
    /// come to is named by being the same.
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

    /// Plays the events after a `started` up to the next one, and returns how many calls were executed.
    fn play_incarnation(&mut self, executor: &mut Executor) -> Result<u64, ReplayError> {
        let (mut transitions, mut has_ended) = (0, false);
        loop {
            let Some(event) = executor.recorder().upcoming().cloned() else { return Ok(transitions) };
            match event.kind() {
                Some(EventKind::Started) => return Ok(transitions),
                Some(EventKind::Failed | EventKind::Stopped) => {
                    check_end(&event)?;
                    has_ended = true;
                    self.notes.extend(recorded_shortage(&event));
                    executor.recorder().copy();
                }
                Some(EventKind::Call) if has_ended => return Err(after_the_end(&event)),
                Some(EventKind::Call) => {
                    let call = read::<Call>(&event)?;
                    let function = executor.guest().program().function(event.function());
                    let Some(function) = function else {
                        let why = format!("the component does not export {}", event.function());
                        return Err(ReplayError::Data { sequence: event.sequence, why });
                    };
                    transitions += 1;
                    self.starts.calls(&event, &call, executor.guest().program())?;
                    let before = executor.state();
                    executor.guest().set_fresh(call.fresh);
                    if call.fresh {
                        executor.recorder().nothing_is_remembered();
                    }
                    let end = executor.transition(Job::recorded(function, call), &mut |_| None);
                    for started in executor.recorder().take_resumed() {
                        self.starts.resumes(&started, before.as_deref())?;
                    }
                    let closed = matches!(end, Transition::Closed { .. });
                    has_ended = matches!(end, Transition::Failed { .. });
                    if let Transition::Closed { outcome, .. } = &end {
                        self.starts.closed(function.full, matches!(outcome, Outcome::Refused(_)));
                    }
                    let unseen = executor.recorder().unseen();
                    let goes_on = go_on(executor, end).map_err(|error| explained(error, unseen))?;
                    // The end of the chain's last transition is a boundary too, unless the chain was cut within it.
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

/// Adds to a divergence that the guest was shown an event without its data before: the divergence may come from that.
fn explained(error: ReplayError, unseen: Option<Unseen>) -> ReplayError {
    match (error, unseen) {
        (ReplayError::Diverged(diverged), Some(Unseen { call, event, was_seen })) => {
            ReplayError::Unseen { diverged, shown: (call, event), was_seen }
        }
        (error, _) => error,
    }
}

/// Whether the chain goes on after this transition. A chain may end within a transition: it was cut there, or exported
/// while the actor was working.
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

/// The remark about a `failed` of an earlier version, which recorded a shortage of the machine as a fault of the guest.
fn recorded_shortage(event: &ChainEvent) -> Option<String> {
    let failed = event.read::<Failed>().ok().filter(|_| event.kind() == Some(EventKind::Failed))?;
    let is_one = failed.reason == FailureReason::Trap && was_recorded_as_a_trap(&failed.detail);
    is_one.then(|| {
        format!(
            "event {}: \"trap: {}\" was the machine's doing and not the guest's: it is taken as an end from outside",
            event.sequence, failed.detail
        )
    })
}

/// Checks that the data of a recorded end can be read. An end is an input, so nothing is compared with it. If its data
/// was dropped, there is nothing to check.
fn check_end(event: &ChainEvent) -> Result<(), ReplayError> {
    match event.kind() {
        _ if event.dropped.is_some() => Ok(()),
        Some(EventKind::Failed) => read::<Failed>(event).map(drop),
        _ => read::<Stopped>(event).map(drop),
    }
}

/// Checks a failure of the guest in replay: the chain must have a failure there too, for the same reason and with the
/// same detail. The deliveries that the recorded failure dropped are an input and are not compared.
fn check_failure(recorded: &ChainEvent, reason: FailureReason, detail: &str) -> Result<(), ReplayError> {
    let sequence = recorded.sequence;
    if recorded.kind() != Some(EventKind::Failed) {
        return Err(differs(sequence, "event_type", recorded.event_type.as_ref().into(), "failed".into()));
    }
    let before = read::<Failed>(recorded)?;
    if before.reason == reason && is_the_recorded_detail(&before.detail, detail) {
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

fn after_the_end(event: &ChainEvent) -> ReplayError {
    let why = format!("\"{}\" stands after the end of its incarnation, where only another start can", event.event_type);
    ReplayError::Data { sequence: event.sequence, why }
}

pub(super) fn read<T: EventData>(event: &ChainEvent) -> Result<T, ReplayError> {
    event.read().map_err(|error: CborError| ReplayError::Data { sequence: event.sequence, why: error.to_string() })
}

/// The limits that were in force. A limit that this version does not know has no effect here. A value outside the
/// possible range is moved to the nearest possible one, because a chain may come from anyone.
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
