//! Comparison of outcomes: recorded calls are made again by another build, and what comes of each is compared: how it
//! ended, the state, the answer, the rows written, and the host calls that others notice.
//!
//! Each transition is compared by itself. It begins with the recorded state, on a new instance. Its host calls are answered
//! from the record (`answers`), so a build that draws one more random number, or logs one more line, is not different.
//! The recorded build is not needed: a chain file without components will do.

mod again;
pub(super) mod answers;

pub(crate) use again::record_again;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use self::answers::RecordedAnswers;
use super::recording::{Plan, ReplayStretch};
use super::{Recording, ReplayError, Snapshot, Stage, Store, Tape, limits, read};
use crate::actor::rehearse::{RehearsalStart, RehearsedActor, RehearsedCall, RehearsedEnd};
use crate::base::id::ActorId;
use crate::base::json_difference::first_difference;
use crate::base::limits::Limits;
use crate::chain::cbor::{Value, bytes_to_json};
use crate::chain::data::{
    Call, Failed, FailureReason, HostCall, Intent, NamedState, Refused, Return, Started, StateAfter,
};
use crate::chain::table::{self, TableWrite};
use crate::chain::{ChainEvent, EventKind, Head};
use crate::guest::{GuestEngine, Past, Program, Script, Table, Unread, trap_alone};
use crate::handlers::{INIT, is_noticed};
use crate::journal::RowWrite;

/// Which transitions of a chain are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ComparedTransitions {
    All,
    /// The newest ones, so many.
    Newest(u64),
}

/// What the other build has in place of what was recorded.
#[derive(Clone, Debug, Default)]
pub(crate) struct OtherBuild {
    /// The values of `[config]` of its manifest, each as JSON; none if it has no manifest, and the recorded values apply.
    pub(crate) config: Option<BTreeMap<String, Vec<u8>>>,
    /// The limits of its manifest; none if the recorded ones apply.
    pub(crate) limits: Option<Arc<Limits>>,
}

/// A transition that comes out otherwise.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OutcomeChange {
    /// The sequence of its `call`.
    pub(crate) sequence: u64,
    pub(crate) export: String,
    pub(crate) parts: Vec<ChangedPart>,
}

/// A part of an outcome that differs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChangedPart {
    /// `end`, `state`, `answer`, `rows`, `effects`, or `host call` if one had no answer, so that nothing after it is compared.
    pub(crate) what: &'static str,
    /// Where in that part: empty for the whole of it, or a JSON pointer.
    pub(crate) pointer: String,
    /// What was recorded there; null if nothing was.
    pub(crate) before: Json,
    pub(crate) after: Json,
}

/// What a comparison of outcomes has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutcomesCompared {
    /// How many transitions were compared.
    pub(crate) transitions: u64,
    /// How many of them come out otherwise.
    pub(crate) changed: u64,
    /// The calls that were not compared, each with the reason.
    pub(crate) skipped: Vec<(u64, String)>,
}

/// Links a component for a comparison: with every handler, as replay does.
pub(crate) fn program_to_compare(engine: &GuestEngine, component: &[u8]) -> Result<Arc<Program>, ReplayError> {
    Stage::new(engine).program(component)
}

/// Makes the recorded calls again by `program`, and calls `changed` for each that comes out otherwise.
pub(crate) fn compare_outcomes(
    recording: &Recording,
    which: ComparedTransitions,
    program: &Arc<Program>,
    other: &OtherBuild,
    changed: &mut dyn FnMut(OutcomeChange),
) -> Result<OutcomesCompared, ReplayError> {
    let mut compared = OutcomesCompared::default();
    let (stretches, from) = match which {
        ComparedTransitions::All => {
            let Plan { stretches, skipped, lost_from, .. } = recording.plan()?;
            let within =
                skipped.iter().map(|range| (*range.start(), format!("data was dropped up to event {}", range.end())));
            let behind = lost_from.map(|event| (event, "data was dropped, and no state is kept after it".to_owned()));
            compared.skipped.extend(within.chain(behind));
            (stretches, 0)
        }
        ComparedTransitions::Newest(count) => recording.newest(count)?,
    };
    for stretch in stretches {
        let Tape { start, pages, store, table, .. } = recording.tape(&stretch)?;
        let (head, past, limits, before) = match start {
            Some(Snapshot { head, past, state, started }) => {
                (Some(head), past, limits(&started), KnownState::Is(state.map(Arc::from)))
            }
            None => (None, Past::default(), Limits::default(), KnownState::Is(None)),
        };
        let mut walk = Walk {
            store,
            program,
            other,
            limits: Arc::new(limits),
            before,
            table: Some(Box::new(Table::new(table, false))),
            head,
            compared: &mut compared,
            changed,
        };
        walk.walk(Script::of_pages(past, pages), from)?;
    }
    Ok(compared)
}

impl Recording {
    /// The stretch with the newest transitions, so many, and the first event of them.
    fn newest(&self, count: u64) -> Result<(Vec<ReplayStretch>, u64), ReplayError> {
        const PAGE: u64 = 512;
        let mut events = self.events()?;
        let (mut upto, mut found, mut from) = (self.last()? + 1, 0, 0);
        while upto > 0 && found < count {
            let first = upto.saturating_sub(PAGE);
            let mut page = VecDeque::new();
            // A page may hold fewer events than were asked for.
            while first + (page.len() as u64) < upto {
                let next = first + page.len() as u64;
                let some = events(next, upto - next).map_err(ReplayError::Unreadable)?;
                if some.is_empty() {
                    break;
                }
                page.extend(some);
            }
            for event in page.iter().rev().filter(|event| event.kind() == Some(EventKind::Call)) {
                (found, from) = (found + 1, event.sequence);
                if found == count {
                    break;
                }
            }
            upto = first;
        }
        let stretch = match from {
            0 => ReplayStretch { start: None, last: None },
            _ => ReplayStretch { last: None, ..self.stretch_to(from - 1)? },
        };
        Ok((vec![stretch], from))
    }
}

/// The state before a transition.
enum KnownState {
    Is(Option<Arc<[u8]>>),
    /// An event names it by this digest, and it is stored nowhere.
    Named {
        len: u64,
    },
    /// The data that said it was dropped.
    Lost,
}

struct Walk<'a> {
    store: Store,
    program: &'a Arc<Program>,
    other: &'a OtherBuild,
    limits: Arc<Limits>,
    before: KnownState,
    /// The actor's table, as the recorded events make it. It is lent for each call.
    table: Option<Box<Table>>,
    /// The last event before the transition.
    head: Option<Head>,
    compared: &'a mut OutcomesCompared,
    changed: &'a mut dyn FnMut(OutcomeChange),
}

/// A recorded transition.
pub(super) struct RecordedTransition {
    /// The last event before it, and the events that the guest may be shown.
    pub(super) head: Option<Head>,
    pub(super) past: Past,
    pub(super) call: ChainEvent,
    pub(super) within: Vec<ChainEvent>,
}

/// The state after a transition that has returned, as far as it is known.
pub(super) enum StateThen<'a> {
    Is(Option<&'a [u8]>),
    Named(&'a NamedState),
}

impl Walk<'_> {
    fn walk(&mut self, mut script: Script, from: u64) -> Result<(), ReplayError> {
        let mut open: Option<RecordedTransition> = None;
        while let Some(event) = script.peek().cloned() {
            match event.kind() {
                Some(EventKind::Started) if event.dropped.is_none() => {
                    let started = read::<Started>(&event)?;
                    self.limits = Arc::new(limits(&started));
                    if !started.resumes {
                        self.end_from_outside(open.take());
                        self.before = self.known(&started.state, None)?;
                    }
                }
                Some(EventKind::Call) => {
                    let (head, past) = (self.head, script.past().clone());
                    open = Some(RecordedTransition { head, past, call: event.clone(), within: Vec::new() });
                }
                Some(EventKind::Intent | EventKind::HostCall) => {
                    open.iter_mut().for_each(|open| open.within.push(event.clone()));
                }
                Some(EventKind::Return | EventKind::Refused) => {
                    if let Some(open) = open.take() {
                        self.close(&open, &event, from)?;
                    }
                }
                Some(EventKind::Failed) if is_the_guests_own(&event) => {
                    if let Some(open) = open.take() {
                        self.close(&open, &event, from)?;
                    }
                }
                Some(EventKind::Failed | EventKind::Stopped | EventKind::Started) | None => {
                    self.end_from_outside(open.take());
                }
            }
            self.head = Some(Head { sequence: event.sequence, hash: event.hash });
            script.advance();
        }
        match script.broken() {
            Some(why) => Err(ReplayError::Unreadable(why.to_owned())),
            None => Ok(()),
        }
    }

    /// A transition that was ended from outside has no outcome of the guest's own.
    fn end_from_outside(&mut self, open: Option<RecordedTransition>) {
        let reason = "it was ended from outside";
        self.compared.skipped.extend(open.map(|open| (open.call.sequence, reason.to_owned())));
    }

    /// Compares a transition that closed, unless it comes before those that are to be compared; and goes on with what was
    /// recorded.
    fn close(&mut self, open: &RecordedTransition, closing: &ChainEvent, from: u64) -> Result<(), ReplayError> {
        let mut own_state = None;
        if open.call.sequence >= from {
            match self.reason_to_skip(open, closing) {
                Some(why) => self.compared.skipped.push((open.call.sequence, why)),
                None => own_state = self.compare(open, closing)?,
            }
        }
        self.write_rows(open, closing)?;
        if closing.kind() == Some(EventKind::Return) {
            if closing.dropped.is_some() {
                self.before = KnownState::Lost;
            } else if let StateAfter::Now(named) = read::<Return>(closing)?.state {
                self.before = self.known(&named, own_state)?;
            }
        }
        Ok(())
    }

    fn reason_to_skip(&self, open: &RecordedTransition, closing: &ChainEvent) -> Option<String> {
        let mut events = open.within.iter().chain([&open.call, closing]);
        if let Some(dropped) = events.find(|event| event.dropped.is_some()) {
            return Some(format!("the data of event {} was dropped", dropped.sequence));
        }
        match &self.before {
            KnownState::Is(_) => None,
            KnownState::Named { len } => {
                Some(format!("the state before it ({len} bytes) is named by its digest, and is stored nowhere"))
            }
            KnownState::Lost => Some("the state before it is not known, since data was dropped".to_owned()),
        }
    }

    /// The state that an event names. `own` is what the other build has come to, which may be the same.
    fn known(&self, named: &NamedState, own: Option<Arc<[u8]>>) -> Result<KnownState, ReplayError> {
        Ok(match named {
            NamedState::None => KnownState::Is(None),
            NamedState::Inline(bytes) => KnownState::Is(Some(bytes.as_slice().into())),
            NamedState::Digest { .. } if own.is_some() && NamedState::of(own.as_deref()) == *named => {
                KnownState::Is(own)
            }
            NamedState::Digest { len, sha1 } => match (self.store.blob)(*sha1).map_err(ReplayError::Unreadable)? {
                Some(bytes) => KnownState::Is(Some(bytes.into())),
                None => KnownState::Named { len: *len },
            },
        })
    }

    /// Makes the call again, and returns the state that the other build comes to.
    fn compare(&mut self, open: &RecordedTransition, closing: &ChainEvent) -> Result<Option<Arc<[u8]>>, ReplayError> {
        let (sequence, export) = (open.call.sequence, open.call.function().to_owned());
        self.compared.transitions += 1;
        let Some(function) = self.program.function(&export) else {
            self.tell(sequence, &export, vec![not_exported(&export)]);
            return Ok(None);
        };
        let KnownState::Is(state) = &self.before else { return Ok(None) };
        let answers = Box::new(RecordedAnswers::of(&open.call, &open.within, &self.other.config));
        let table = self.table.take().expect("it was put back");
        // The chain only collects events, and its hashes are thrown away, so it may belong to nobody.
        let (actor, head, past) = (ActorId::of_nobody(), open.head, open.past.clone());
        let start = RehearsalStart { actor, head, past, state: state.clone(), table };
        let limits = self.other.limits.clone().unwrap_or_else(|| Arc::clone(&self.limits));
        let mut rehearsed = RehearsedActor::new(Arc::clone(self.program), 1, limits, start, answers);
        let made = rehearsed.call_again(function, read::<Call>(&open.call)?);
        let before = state.clone();
        let after = rehearsed.state();
        self.table = Some(rehearsed.into_table());
        if let RehearsedEnd::NotExecuted(what) = made.end {
            return Err(ReplayError::NotExecuted { sequence, what });
        }
        let recorded;
        let then = match closing.kind() {
            Some(EventKind::Return) => {
                recorded = read::<Return>(closing)?.state;
                match &recorded {
                    StateAfter::Unchanged => StateThen::Is(before.as_deref()),
                    StateAfter::Now(NamedState::None) => StateThen::Is(None),
                    StateAfter::Now(NamedState::Inline(bytes)) => StateThen::Is(Some(bytes)),
                    StateAfter::Now(named) => StateThen::Named(named),
                }
            }
            _ => StateThen::Is(before.as_deref()),
        };
        let parts = differing_parts(open, closing, &made, then, after.as_deref())?;
        self.tell(sequence, &export, parts);
        Ok(after)
    }

    fn tell(&mut self, sequence: u64, export: &str, parts: Vec<ChangedPart>) {
        if !parts.is_empty() {
            self.compared.changed += 1;
            (self.changed)(OutcomeChange { sequence, export: export.to_owned(), parts });
        }
    }

    /// Writes to the table what a recorded transition has written.
    fn write_rows(&mut self, open: &RecordedTransition, closing: &ChainEvent) -> Result<(), ReplayError> {
        write_rows(self.table.as_mut().expect("it was put back"), open, closing)
    }
}

/// Writes to a table what a recorded transition has written.
pub(super) fn write_rows(
    table: &mut Table,
    open: &RecordedTransition,
    closing: &ChainEvent,
) -> Result<(), ReplayError> {
    table.begin_call(open.call.function() == INIT.full);
    if closing.kind() == Some(EventKind::Return) {
        for event in &open.within {
            if let Some(TableWrite { key, value }) = table::write_of(&event.event_type, &event.data) {
                let (written, hash, value) = (event.sequence, event.hash, value.map(Arc::from));
                table.write(RowWrite { key: key.into(), written, hash, value });
            }
        }
        let unread = |unread: Unread| ReplayError::Unreadable(unread.interruption(false).to_string());
        table.close(closing.sequence).map_err(unread)?;
    }
    table.begin_call(false);
    Ok(())
}

/// The other build does not export the function that was called.
pub(super) fn not_exported(export: &str) -> ChangedPart {
    let (before, after) = (json!(export), json!("not exported"));
    ChangedPart { what: "end", pointer: String::new(), before, after }
}

/// Whether a failure came from the guest, or from a limit, and not from the runtime.
fn is_the_guests_own(failed: &ChainEvent) -> bool {
    match failed.read::<Failed>() {
        Ok(Failed { reason: FailureReason::Trap | FailureReason::Limit | FailureReason::Deadline, .. }) => true,
        Ok(_) => false,
        // The data was dropped: the transition is skipped for that.
        Err(_) => true,
    }
}

/// In what a call that was made again differs from the recorded one. `then` is the state after the recorded one, `after` that
/// after the other.
pub(super) fn differing_parts(
    open: &RecordedTransition,
    closing: &ChainEvent,
    made: &RehearsedCall,
    then: StateThen<'_>,
    after: Option<&[u8]>,
) -> Result<Vec<ChangedPart>, ReplayError> {
    let mut parts = Vec::new();
    let mut compare = |what, recorded: &Json, actual: &Json| {
        if let Some(found) = first_difference(recorded, actual) {
            let (before, after) = (found.before.unwrap_or(Json::Null), found.after.unwrap_or(Json::Null));
            parts.push(ChangedPart { what, pointer: found.pointer, before, after });
        }
    };
    if let RehearsedEnd::Unanswered(asked) = &made.end {
        let asked = serde_json::from_str(asked).unwrap_or_else(|_| json!(asked));
        compare("host call", &Json::Null, &asked);
        return Ok(parts);
    }
    compare("end", &recorded_end(closing)?, &end_of(&made.end));
    compare("effects", &effects(&open.within), &effects(&made.events));
    if let (Some(EventKind::Return), RehearsedEnd::Returned { result, deferred }) = (closing.kind(), &made.end) {
        let recorded = read::<Return>(closing)?;
        match then {
            StateThen::Is(state) => compare("state", &shown_state(state), &shown_state(after)),
            StateThen::Named(named) if NamedState::of(after) == *named => {}
            StateThen::Named(named) => {
                compare("state", &json!(named.to_string()), &json!(NamedState::of(after).to_string()));
            }
        }
        let shown = |result: &[u8]| Value::parse(result).map_or(Json::Null, |value| value.to_json());
        if recorded.deferred.is_some() || deferred.is_some() {
            let is_put_off = |deferred: bool| json!(if deferred { "put off" } else { "given" });
            compare("answer", &is_put_off(recorded.deferred.is_some()), &is_put_off(deferred.is_some()));
        } else {
            compare("answer", &shown(&recorded.result.0), &shown(result));
        }
        compare("rows", &rows(&open.within), &rows(&made.events));
    }
    Ok(parts)
}

fn shown_state(state: Option<&[u8]>) -> Json {
    state.map_or(Json::Null, bytes_to_json)
}

fn recorded_end(closing: &ChainEvent) -> Result<Json, ReplayError> {
    Ok(match closing.kind() {
        Some(EventKind::Refused) => json!({ "refused": read::<Refused>(closing)?.message }),
        Some(EventKind::Failed) => {
            let Failed { reason, detail, .. } = read(closing)?;
            failed(reason, &detail)
        }
        _ => json!("returned"),
    })
}

fn end_of(end: &RehearsedEnd) -> Json {
    match end {
        RehearsedEnd::Returned { .. } => json!("returned"),
        RehearsedEnd::Refused(message) => json!({ "refused": message }),
        RehearsedEnd::Failed(reason, detail) => failed(*reason, detail),
        RehearsedEnd::Unanswered(why) | RehearsedEnd::NotExecuted(why) => json!(why),
    }
}

fn failed(reason: FailureReason, detail: &str) -> Json {
    json!({ "failed": format!("{reason}: {}", trap_alone(detail)) })
}

/// The host calls that others notice, in order, with their parameters.
fn effects(events: &[ChainEvent]) -> Json {
    let mut effects = Vec::new();
    for event in events.iter().filter(|event| is_noticed(event.function())) {
        let params = match event.kind() {
            Some(EventKind::Intent) => event.read::<Intent>().ok().map(|intent| intent.params),
            // The parameters of a call with an intent stand there.
            Some(EventKind::HostCall) => event.read::<HostCall>().ok().and_then(|call| call.params),
            _ => None,
        };
        let shown = params.map(|params| Value::parse(&params.0).map_or(Json::Null, |value| value.to_json()));
        effects.extend(shown.map(|params| json!({ "call": event.function(), "params": params })));
    }
    effects.into()
}

/// What a transition has written to the table: the last value of each key; null if it was deleted.
fn rows(events: &[ChainEvent]) -> Json {
    let writes = events.iter().filter_map(|event| table::write_of(&event.event_type, &event.data));
    let row = |TableWrite { key, value }: TableWrite| {
        let key = bytes_to_json(&key);
        (
            key.as_str().map_or_else(|| key.to_string(), str::to_owned),
            value.as_deref().map_or(Json::Null, bytes_to_json),
        )
    };
    let rows: BTreeMap<String, Json> = writes.map(row).collect();
    Json::Object(rows.into_iter().collect())
}
