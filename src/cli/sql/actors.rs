//! The table `actors`: a row for each actor that ever began.

use std::ffi::CStr;

use super::cells::{flag, number, text, time};
use super::source::SqlSource;
use super::table::{ReadingWays, SqlColumn, SqlTable};
use super::wanted::{ColumnKey, WantedRows};
use crate::chain::ChainEvent;
use crate::journal::ActorRow;

/// Rows are the places of actors among the journal's actors.
pub(super) struct ActorsTable(std::vec::IntoIter<usize>);

fn row<'s>(source: &'s SqlSource, at: &usize) -> &'s ActorRow {
    &source.actors[*at]
}

fn head_sequence(source: &SqlSource, at: &usize) -> rusqlite::Result<Option<u64>> {
    let head = source.read(|reader| reader.head(row(source, at).actor))?;
    Ok(head.map(|head| head.sequence))
}

fn last(source: &SqlSource, at: &usize) -> rusqlite::Result<Option<ChainEvent>> {
    source.read(|reader| reader.last_event(row(source, at).actor))
}

fn started(source: &SqlSource, at: &usize, is_first: bool) -> rusqlite::Result<Option<u64>> {
    let actor = row(source, at).actor;
    let event =
        source.read(|reader| if is_first { reader.first_started(actor) } else { reader.newest_started(actor) })?;
    Ok(event.map(|event| event.timestamp))
}

type ActorColumn = SqlColumn<usize>;

impl SqlTable for ActorsTable {
    const NAME: &'static CStr = c"actors";
    const MEANING: &'static str = "the actors that ever began, in the order of their first starts";
    const WAYS: ReadingWays = ReadingWays::ActorByActor;
    const COLUMNS: &'static [ActorColumn] = &[
        ActorColumn::text("id", "its UUID", |source, at| Ok(text(Some(row(source, at).actor.id)))).by(ColumnKey::Actor),
        ActorColumn::text("name", "its name in the manifest; several actors may have the same", |source, at| {
            Ok(text(Some(&row(source, at).name)))
        })
        .by(ColumnKey::Name),
        ActorColumn::text("parent", "the UUID of the actor that spawned it; NULL for a root", |source, at| {
            Ok(text(row(source, at).parent))
        }),
        ActorColumn::integer("incarnation", "the number of its newest incarnation, from 1", |source, at| {
            Ok(number(Some(row(source, at).incarnation.0)))
        }),
        ActorColumn::integer("alive", "1 if the next start resumes it", |source, at| Ok(flag(row(source, at).alive))),
        ActorColumn::integer("listed", "0 if `theater forget` has removed it from the list", |source, at| {
            let is_forgotten = source.read(|reader| reader.is_forgotten(row(source, at).actor))?;
            Ok(flag(!is_forgotten))
        }),
        ActorColumn::integer("paused", "1 if it takes nothing until `theater resume`", |source, at| {
            let is_paused = source.read(|reader| reader.is_paused(row(source, at).actor))?;
            Ok(flag(is_paused))
        }),
        ActorColumn::integer("events", "how many events its chain has", |source, at| {
            Ok(number(head_sequence(source, at)?.map(|last| last.saturating_add(1))))
        }),
        ActorColumn::text("created", "when its first incarnation began", |source, at| {
            Ok(time(started(source, at, true)?))
        }),
        ActorColumn::text("started", "when its newest incarnation began", |source, at| {
            Ok(time(started(source, at, false)?))
        }),
        ActorColumn::text("last_type", "the type of its last event", |source, at| {
            Ok(text(last(source, at)?.map(|event| event.event_type)))
        }),
        ActorColumn::text("last_time", "when its last event happened", |source, at| {
            Ok(time(last(source, at)?.map(|event| event.timestamp)))
        }),
        ActorColumn::text("head", "the hash of its last event, in hex", |source, at| {
            let head = source.read(|reader| reader.head(row(source, at).actor))?;
            Ok(text(head.map(|head| head.hash)))
        }),
        ActorColumn::text("component", "the SHA-256 of the component that it runs, in hex", |source, at| {
            Ok(text(Some(row(source, at).component)))
        }),
        ActorColumn::text("manifest_path", "the path that its manifest was read from", |source, at| {
            Ok(text(Some(&row(source, at).manifest_path)))
        }),
        ActorColumn::text("manifest", "its manifest, as it was read", |source, at| {
            Ok(text(Some(&row(source, at).manifest)))
        }),
    ];

    type Row = usize;

    fn begin(source: &SqlSource, wanted: WantedRows) -> Self {
        Self(wanted.places(source).into_iter())
    }

    fn next(&mut self, _: &SqlSource) -> rusqlite::Result<Option<usize>> {
        Ok(self.0.next())
    }
}
