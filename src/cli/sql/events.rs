//! The table `events`: a row for each event of each chain.

use std::ffi::CStr;

use super::cells::{flag, json_of_data, number, text, time};
use super::source::Source;
use super::table::{Column, Relation, Ways};
use super::walk::{Walk, Walked};
use super::wanted::{Key, Wanted};

pub(super) struct EventsTable(Walk);

type EventColumn = Column<Walked>;

impl Relation for EventsTable {
    const NAME: &'static CStr = c"events";
    const MEANING: &'static str = "the events of all chains";
    const WAYS: Ways = Ways::InOrder;
    const COLUMNS: &'static [EventColumn] = &[
        EventColumn::integer("position", "its place in the order of all events, from 1", |source, walked| {
            Ok(number(walked.position(source)?))
        })
        .by(Key::Position),
        EventColumn::text("actor", "the UUID of its actor", |source, walked| {
            Ok(text(Some(source.actors[walked.actor].actor.id)))
        })
        .by(Key::Actor),
        EventColumn::text("name", "the name of its actor", |source, walked| {
            Ok(text(Some(&source.actors[walked.actor].name)))
        })
        .by(Key::Name),
        EventColumn::integer("sequence", "its place on its actor's chain, from 0", |_, walked| {
            Ok(number(Some(walked.event.sequence)))
        })
        .by(Key::Sequence),
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

    type Row = Walked;

    fn begin(source: &Source, wanted: Wanted) -> Self {
        Self(Walk::new(source, wanted))
    }

    fn next(&mut self, source: &Source) -> rusqlite::Result<Option<Walked>> {
        let Self(walk) = self;
        walk.next(source, |_, _| true)
    }
}
