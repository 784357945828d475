//! The table `timers`: a row for each timer that is pending.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::CStr;

use super::cells::{json_of_bytes, number, text, time};
use super::owed_rows::{OwedRows, of_kind};
use super::source::SqlSource;
use super::table::{ReadingWays, SqlColumn, SqlTable};
use super::wanted::{ColumnKey, WantedRows};
use crate::chain::ChainEvent;
use crate::journal::Pending;
use crate::promise::{PromisedFiring, repeats};

pub(super) struct TimersTable(OwedRows<PendingRow>);

/// A timer that is pending.
pub(super) struct PendingRow {
    actor: usize,
    firing: PromisedFiring,
}

impl PendingRow {
    /// The host call that has set the timer.
    fn set(&self, source: &SqlSource) -> rusqlite::Result<Option<ChainEvent>> {
        source.event(self.actor, self.firing.of)
    }
}

/// The timers of each actor, in the order in which they are due.
fn pending(source: &SqlSource) -> rusqlite::Result<BTreeMap<usize, VecDeque<PendingRow>>> {
    let firing =
        |actor: usize, promise: &ChainEvent| PromisedFiring::of(promise).map(|firing| PendingRow { actor, firing });
    let mut pending = of_kind(source, Pending::is_timer, firing)?;
    for timers in pending.values_mut() {
        timers.make_contiguous().sort_by_key(|timer| (timer.firing.due, timer.firing.of));
    }
    Ok(pending)
}

type TimerColumn = SqlColumn<PendingRow>;

impl SqlTable for TimersTable {
    const NAME: &'static CStr = c"timers";
    const MEANING: &'static str = "the timers that are pending, of each actor in the order in which they are due";
    const WAYS: ReadingWays = ReadingWays::ActorByActor;
    const COLUMNS: &'static [TimerColumn] = &[
        TimerColumn::text("actor", "the UUID of the actor that has set it, and is called", |source, row| {
            Ok(text(Some(source.actors[row.actor].actor.id)))
        })
        .by(ColumnKey::Actor),
        TimerColumn::text("name", "the name of that actor", |source, row| {
            Ok(text(Some(&source.actors[row.actor].name)))
        })
        .by(ColumnKey::Name),
        TimerColumn::text("key", "its key", |_, row| Ok(text(Some(&row.firing.key)))),
        TimerColumn::text("due", "when it is due next", |_, row| Ok(time(Some(row.firing.due)))),
        TimerColumn::integer("due_ms", "the same, in milliseconds since the Unix epoch", |_, row| {
            Ok(number(Some(row.firing.due)))
        }),
        TimerColumn::integer("round", "which round that will be, from 1", |_, row| Ok(number(Some(row.firing.round)))),
        TimerColumn::text(
            "repeats",
            "`every 1000 ms`, or the cron expression and its zone; NULL for a timer that is due once",
            |source, row| Ok(text(row.set(source)?.and_then(|set| repeats(&set)))),
        ),
        TimerColumn::text("message", "its message, as JSON", |_, row| {
            Ok(json_of_bytes(Some(row.firing.message.as_slice())))
        }),
        TimerColumn::integer("sequence", "the event that set it, on the actor's chain", |_, row| {
            Ok(number(Some(row.firing.of)))
        }),
        TimerColumn::text("time", "when that event happened", |source, row| {
            Ok(time(row.set(source)?.map(|set| set.timestamp)))
        }),
    ];

    type Row = PendingRow;

    fn begin(source: &SqlSource, wanted: WantedRows) -> Self {
        Self(OwedRows::begin(source, wanted))
    }

    fn next(&mut self, source: &SqlSource) -> rusqlite::Result<Option<PendingRow>> {
        self.0.next(|| pending(source))
    }
}
