//! The table `events`: a row for each event of each chain.

use std::ffi::CStr;

use super::cells::{flag, json_of_data, number, text, time};
use super::source::SqlSource;
use super::table::{ReadingWays, SqlColumn, SqlTable};
use super::walk::{EventWalk, WalkedEvent};
use super::wanted::{ColumnKey, WantedRows};

pub(super) struct EventsTable(EventWalk);

type EventColumn = SqlColumn<WalkedEvent>;

impl SqlTable for EventsTable {
    const NAME: &'static CStr = c"events";
    const MEANING: &'static str = "the events of all chains";
    const WAYS: ReadingWays = ReadingWays::InOrder;
    const COLUMNS: &'static [EventColumn] = &[
        EventColumn::integer("position", "its place in the order of all events, from 1", |source, walked| {
            Ok(number(walked.position(source)?))
        })
        .by(ColumnKey::Position),
        EventColumn::text("actor", "the UUID of its actor", |source, walked| {
            Ok(text(Some(source.actors[walked.actor].actor.id)))
        })
        .by(ColumnKey::Actor),
        EventColumn::text("name", "the name of its actor", |source, walked| {
            Ok(text(Some(&source.actors[walked.actor].name)))
        })
        .by(ColumnKey::Name),
        EventColumn::integer("sequence", "its place on its actor's chain, from 0", |_, walked| {
            Ok(number(Some(walked.event.sequence)))
        })
        .by(ColumnKey::Sequence),
        EventColumn::text("time", "when it happened", |_, walked| Ok(time(Some(walked.event.timestamp)))),
        EventColumn::integer("unix_ms", "the same, in milliseconds since the Unix epoch", |_, walked| {
            Ok(number(Some(walked.event.timestamp)))
        }),
        EventColumn::text("type", "its type: the kind, and for some kinds the function", |_, walked| {
            Ok(text(Some(&walked.event.event_type)))
        }),
        EventColumn::text(
            "kind",
            "`started`, `call`, `intent`, `host-call`, `return`, `refused`, `failed` or `stopped`",
            |_, walked| Ok(text(walked.event.kind().map(|kind| kind.word()))),
        ),
        EventColumn::text("function", "the function that is called, or has returned; else NULL", |_, walked| {
            Ok(text(Some(walked.event.function()).filter(|function| !function.is_empty())))
        }),
        EventColumn::text("data", "its data, as JSON; NULL if it was dropped", |source, walked| {
            Ok(text(source.with_data(&walked.event).map(json_of_data)))
        }),
        EventColumn::integer("bytes", "the length of its data in bytes, dropped or not", |_, walked| {
            let there = walked.event.data.len() as u64;
            Ok(number(Some(walked.event.dropped.map_or(there, |dropped| dropped.length))))
        }),
        EventColumn::integer("dropped", "1 if its data was dropped, by a prune or a redaction", |_, walked| {
            Ok(flag(walked.event.dropped.is_some()))
        }),
        EventColumn::text("hash", "its hash, in hex", |_, walked| Ok(text(Some(walked.event.hash)))),
        EventColumn::text("parent_hash", "the hash of the event before it on its chain", |_, walked| {
            Ok(text(walked.event.parent_hash))
        }),
    ];

    type Row = WalkedEvent;

    fn begin(source: &SqlSource, wanted: WantedRows) -> Self {
        Self(EventWalk::new(source, wanted))
    }

    fn next(&mut self, source: &SqlSource) -> rusqlite::Result<Option<WalkedEvent>> {
        let Self(walk) = self;
        walk.next(source, |_, _| true)
    }
}
