//! A golden chain recorded again: the present build is given the recorded calls, from the first on, and what it does is a
//! new chain of the same actor.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use parking_lot::Mutex;

use super::answers::RecordedAnswers;
use super::{OtherBuild, is_the_guests_own};
use crate::actor::rehearse::{RehearsalStart, RehearsedActor, RehearsedEnd};
use crate::actor::replay::{Recording, ReplayError, Tape, limits, read};
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, Failed, NamedState, Started};
use crate::chain::{ChainEvent, ChainFileWriter, EventKind, FileHeader};
use crate::guest::{AskedHost, HostAnswers, Interruption, Past, Program, Script, Table, TableBase};
use crate::promise::{
    HANDLE_CONNECTION_MESSAGE, HANDLE_DOWN, HANDLE_REPLY, HANDLE_STREAM_CLOSED, HANDLE_STREAM_REQUEST,
};

/// Why a chain cannot be recorded again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRecordedAgain {
    #[error(transparent)]
    Unread(#[from] ReplayError),
    #[error("{0}; record the chain anew from a running actor")]
    Because(String),
}

/// A chain that was recorded again.
pub(crate) struct RecordedAgain {
    events: Vec<ChainEvent>,
    started: Started,
    /// The large state that it begins with.
    blob: Option<([u8; 20], Vec<u8>)>,
}

impl RecordedAgain {
    /// Writes the chain file, without the component.
    pub(crate) fn write(&self, sink: impl Write) -> io::Result<()> {
        let last = self.events.last().ok_or_else(|| io::Error::other("the chain has no events"))?;
        let blobs: BTreeMap<_, _> = self.blob.clone().into_iter().collect();
        let header = FileHeader {
            actor: self.started.id,
            component: self.started.component,
            attachments: blobs.len() as u64,
            events: self.events.len() as u64,
            head: last.hash,
            version: 3,
        };
        let mut file = ChainFileWriter::begin(sink, &header, &BTreeMap::new(), &blobs, &BTreeMap::new())?;
        self.events.iter().try_for_each(|event| file.event(event))?;
        file.finish()?.flush()
    }
}

/// The answers for the call that is under way.
#[derive(Clone)]
struct AnswersOfCall(Arc<Mutex<RecordedAnswers>>);

impl HostAnswers for AnswersOfCall {
    fn answer(&mut self, call: &AskedHost<'_>) -> Result<Vec<u8>, Interruption> {
        self.0.lock().answer(call)
    }

    fn unix_ms(&self) -> u64 {
        self.0.lock().unix_ms()
    }
}

/// Gives `program` the calls of a recording. Host calls are answered as in a comparison of outcomes.
pub(crate) fn record_again(
    recording: &Recording,
    program: &Arc<Program>,
    other: &OtherBuild,
) -> Result<RecordedAgain, NotRecordedAgain> {
    let because = |why: String| Err(NotRecordedAgain::Because(why));
    if !recording.dropped()?.is_empty() {
        return because("data of the chain was dropped".to_owned());
    }
    let stretches = recording.plan()?.stretches;
    let [stretch] = &stretches[..] else { return because("the chain is not whole".to_owned()) };
    let Tape { actor, pages, store, .. } = recording.tape(stretch)?;
    let mut script = Script::of_pages(Past::default(), pages);
    let Some(first) = script.peek().cloned() else { return because("the chain has no events".to_owned()) };
    let recorded: Started = read(&first)?;
    if recorded.fork.is_some() {
        return because("the chain is that of a fork".to_owned());
    }
    let limits = other.limits.clone().unwrap_or_else(|| Arc::new(limits(&recorded)));
    let (state, blob) = match &recorded.state {
        NamedState::None => (None, None),
        NamedState::Inline(bytes) => (Some(Arc::from(bytes.as_slice())), None),
        NamedState::Digest { sha1, len } => match (store.blob)(*sha1).map_err(ReplayError::Unreadable)? {
            Some(bytes) => (Some(Arc::from(bytes.as_slice())), Some((*sha1, bytes))),
            None => return Err(ReplayError::NoState { sequence: 0, len: *len }.into()),
        },
    };
    let started = Started { component: program.digest(), ..recorded };
    let answers = AnswersOfCall(Arc::new(Mutex::new(RecordedAnswers::of(&first, &[], &other.config))));
    let table = Box::new(Table::new(TableBase::Empty, false));
    let start = RehearsalStart { actor, head: None, past: Past::default(), state, table };
    let shared = Arc::clone(&answers.0);
    let mut rehearsed = RehearsedActor::new(Arc::clone(program), 1, limits, start, Box::new(answers));
    let mut events = rehearsed.record("started", started.to_cbor());
    // Where the recorded host calls stand now.
    let mut places: BTreeMap<u64, u64> = BTreeMap::new();
    script.advance();
    while let Some(call) = script.peek().cloned() {
        match call.kind() {
            Some(EventKind::Call) => {}
            Some(EventKind::Stopped) => {
                events.extend(rehearsed.record("stopped", call.data.clone()));
                script.advance();
                continue;
            }
            Some(EventKind::Started) => return because("the chain has several incarnations".to_owned()),
            _ => return because(format!("the actor was ended from outside by event {}", call.sequence)),
        }
        script.advance();
        let (within, closing) = rest_of(&mut script);
        let Some(closing) = closing else {
            return because(format!("the call of event {} has no end of its own", call.sequence));
        };
        let data: Call = read(&call)?;
        check_numbers(&call, &data, &places, events.len() as u64)?;
        let Some(function) = program.function(call.function()) else {
            return because(format!("the present build does not export {}", call.function()));
        };
        *shared.lock() = RecordedAnswers::of(&call, &within, &other.config);
        let made = rehearsed.call_again(function, data);
        places.extend(shared.lock().take_given());
        rehearsed.settle(&made);
        events.extend(made.events);
        match made.end {
            RehearsedEnd::Returned { .. } | RehearsedEnd::Refused(_) => {}
            RehearsedEnd::Failed(reason, detail) if closing.kind() == Some(EventKind::Failed) => {
                let failed = Failed { detail, reason, dropped: Vec::new() };
                events.extend(rehearsed.record("failed", failed.to_cbor()));
            }
            RehearsedEnd::Failed(reason, detail) => {
                return because(format!(
                    "the present build fails in the call of event {}: {reason}: {detail}",
                    call.sequence
                ));
            }
            RehearsedEnd::Unanswered(asked) => {
                return because(format!("in the call of event {}, nothing recorded answers {asked}", call.sequence));
            }
            RehearsedEnd::NotExecuted(what) => {
                return Err(ReplayError::NotExecuted { sequence: call.sequence, what }.into());
            }
        }
    }
    match script.broken() {
        Some(why) => Err(ReplayError::Unreadable(why.to_owned()).into()),
        None => Ok(RecordedAgain { events, started, blob }),
    }
}

/// The events of the open transition up to its end; the end, if it is the guest's own.
fn rest_of(script: &mut Script) -> (Vec<ChainEvent>, Option<ChainEvent>) {
    let mut within = Vec::new();
    while let Some(event) = script.peek().cloned() {
        match event.kind() {
            Some(EventKind::Intent | EventKind::HostCall) => within.push(event),
            Some(EventKind::Return | EventKind::Refused) => {
                script.advance();
                return (within, Some(event));
            }
            Some(EventKind::Failed) if is_the_guests_own(&event) => {
                script.advance();
                return (within, Some(event));
            }
            _ => return (within, None),
        }
        script.advance();
    }
    (within, None)
}

/// Refuses a call that names an event by its number if that event has another number now.
fn check_numbers(
    call: &ChainEvent,
    data: &Call,
    places: &BTreeMap<u64, u64>,
    now: u64,
) -> Result<(), NotRecordedAgain> {
    let names_numbers =
        [HANDLE_CONNECTION_MESSAGE, HANDLE_DOWN, HANDLE_REPLY, HANDLE_STREAM_CLOSED, HANDLE_STREAM_REQUEST];
    let is_moved = names_numbers.iter().any(|function| function.full == call.function()) && now != call.sequence;
    let is_lost = data.of.is_some_and(|of| places.get(&of) != Some(&of));
    if is_moved || is_lost {
        let why = format!(
            "the call of event {} names an earlier event by its number, and that event has another number now",
            call.sequence
        );
        return Err(NotRecordedAgain::Because(why));
    }
    Ok(())
}
