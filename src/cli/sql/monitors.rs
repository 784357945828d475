//! The table `monitors`: a row for each monitor that is open.

use std::ffi::CStr;

use super::cells::{number, text, time};
use super::owed_rows::{OwedRows, of_kind};
use super::source::SqlSource;
use super::table::{ReadingWays, SqlColumn, SqlTable};
use super::wanted::{ColumnKey, WantedRows};
use crate::base::id::ActorId;
use crate::chain::ChainEvent;
use crate::journal::Pending;
use crate::promise::watched_by;

pub(super) struct MonitorsTable(OwedRows<OpenRow>);

/// A monitor that is open.
pub(super) struct OpenRow {
    actor: usize,
    watched: ActorId,
    /// The event that asked for it.
    sequence: u64,
    timestamp: u64,
}

impl OpenRow {
    /// The monitor that the event `asked` of an actor has asked for.
    fn of(actor: usize, asked: &ChainEvent) -> Option<Self> {
        let (sequence, timestamp) = (asked.sequence, asked.timestamp);
        watched_by(asked).map(|watched| Self { actor, watched, sequence, timestamp })
    }
}

type MonitorColumn = SqlColumn<OpenRow>;

impl SqlTable for MonitorsTable {
    const NAME: &'static CStr = c"monitors";
    const MEANING: &'static str = "the monitors that are open, of each actor in the order in which it asked for them";
    const WAYS: ReadingWays = ReadingWays::ActorByActor;
    const COLUMNS: &'static [MonitorColumn] = &[
        MonitorColumn::text("actor", "the UUID of the actor that is to be told of the end", |source, row| {
            Ok(text(Some(source.actors[row.actor].actor.id)))
        })
        .by(ColumnKey::Actor),
        MonitorColumn::text("name", "the name of that actor", |source, row| {
            Ok(text(Some(&source.actors[row.actor].name)))
        })
        .by(ColumnKey::Name),
        MonitorColumn::text("watched", "the UUID of the actor whose end is awaited", |_, row| {
            Ok(text(Some(row.watched)))
        }),
        MonitorColumn::text("watched_name", "the name of that actor", |source, row| {
            Ok(text(source.name_of(row.watched)))
        }),
        MonitorColumn::integer("sequence", "the event that asked for it, which is its reference", |_, row| {
            Ok(number(Some(row.sequence)))
        }),
        MonitorColumn::text("time", "when that event happened", |_, row| Ok(time(Some(row.timestamp)))),
    ];

    type Row = OpenRow;

    fn begin(source: &SqlSource, wanted: WantedRows) -> Self {
        Self(OwedRows::begin(source, wanted))
    }

    fn next(&mut self, source: &SqlSource) -> rusqlite::Result<Option<OpenRow>> {
        self.0.next(|| of_kind(source, Pending::is_monitor, OpenRow::of))
    }
}
