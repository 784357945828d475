//! The table `failures`: a row for each event that ended an incarnation by an error.

use std::collections::VecDeque;
use std::ffi::CStr;

use super::cells::{number, text, time};
use super::source::SqlSource;
use super::table::{ReadingWays, SqlColumn, SqlTable};
use super::walk::{EventWalk, WalkedEvent};
use super::wanted::{ColumnKey, NumberSpan, WantedRows};
use crate::chain::EventKind;
use crate::chain::cbor::Cbor;
use crate::chain::data::Failed;

pub(super) struct FailuresTable {
    wanted: WantedRows,
    actors: std::vec::IntoIter<usize>,
    of_one: VecDeque<WalkedEvent>,
}

/// What the event says; nothing where its data was dropped or damaged.
fn failed(source: &SqlSource, walked: &WalkedEvent) -> Option<Failed> {
    Failed::from_cbor(&source.with_data(&walked.event)?.data).ok()
}

/// The function of the transition that the failure ended, if it ended one.
fn function(source: &SqlSource, failure: &WalkedEvent) -> rusqlite::Result<Option<String>> {
    let Some(last) = failure.event.sequence.checked_sub(1) else { return Ok(None) };
    let (actors, sequences) = (Some([failure.actor].into()), NumberSpan { first: 0, last });
    let before = WantedRows { actors, sequences, ..WantedRows::everything(true, true) };
    let mut walk = EventWalk::new(source, before);
    while let Some(WalkedEvent { event, .. }) = walk.next(source, |_, _| true)? {
        match event.kind() {
            Some(EventKind::Call) => return Ok(Some(event.function().to_owned())),
            Some(EventKind::Intent | EventKind::HostCall) => {}
            // A start may go on with the transition that the chain ended within.
            Some(EventKind::Started) if resumes(&event.data) => {}
            Some(
                EventKind::Started | EventKind::Return | EventKind::Refused | EventKind::Failed | EventKind::Stopped,
            )
            | None => break,
        }
    }
    Ok(None)
}

fn resumes(started: &[u8]) -> bool {
    crate::chain::data::Started::from_cbor(started).is_ok_and(|started| started.resumes)
}

type FailureColumn = SqlColumn<WalkedEvent>;

impl SqlTable for FailuresTable {
    const NAME: &'static CStr = c"failures";
    const MEANING: &'static str = "the failures of all actors";
    const WAYS: ReadingWays = ReadingWays::ActorByActor;
    const COLUMNS: &'static [FailureColumn] = &[
        FailureColumn::integer("position", "its place in the order of all events", |source, walked| {
            Ok(number(walked.position(source)?))
        }),
        FailureColumn::text("actor", "the UUID of the actor that failed", |source, walked| {
            Ok(text(Some(source.actors[walked.actor].actor.id)))
        })
        .by(ColumnKey::Actor),
        FailureColumn::text("name", "the name of that actor", |source, walked| {
            Ok(text(Some(&source.actors[walked.actor].name)))
        })
        .by(ColumnKey::Name),
        FailureColumn::integer("sequence", "its place on the actor's chain", |_, walked| {
            Ok(number(Some(walked.event.sequence)))
        })
        .by(ColumnKey::Sequence),
        FailureColumn::text("time", "when it happened", |_, walked| Ok(time(Some(walked.event.timestamp)))),
        FailureColumn::integer("unix_ms", "the same, in milliseconds since the Unix epoch", |_, walked| {
            Ok(number(Some(walked.event.timestamp)))
        }),
        FailureColumn::text(
            "reason",
            "`trap`, `limit`, `deadline`, `panic`, `init`, `interrupted` or `restarts`",
            |source, walked| Ok(text(failed(source, walked).map(|failed| failed.reason))),
        ),
        FailureColumn::text("detail", "what the runtime says about it", |source, walked| {
            Ok(text(failed(source, walked).map(|failed| failed.detail)))
        }),
        FailureColumn::text("function", "the exported function that ran; NULL if none did", |source, walked| {
            Ok(text(function(source, walked)?))
        }),
        FailureColumn::integer("lost", "how many deliveries waited in the mailbox and are lost", |source, walked| {
            Ok(number(failed(source, walked).map(|failed| failed.dropped.len() as u64)))
        }),
    ];

    type Row = WalkedEvent;

    fn begin(source: &SqlSource, wanted: WantedRows) -> Self {
        let actors = wanted.places(source).into_iter();
        Self { wanted, actors, of_one: VecDeque::new() }
    }

    fn next(&mut self, source: &SqlSource) -> rusqlite::Result<Option<WalkedEvent>> {
        loop {
            while let Some(walked) = self.of_one.pop_front() {
                if self.wanted.sequences.has(walked.event.sequence) {
                    return Ok(Some(walked));
                }
            }
            let Some(actor) = self.actors.next() else { return Ok(None) };
            let failures = source.read(|reader| reader.failures(source.actors[actor].actor, 0..=u64::MAX))?;
            self.of_one = failures.into_iter().map(|event| WalkedEvent { actor, position: None, event }).collect();
        }
    }
}
