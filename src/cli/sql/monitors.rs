//! The table `monitors`: a row for each monitor that is open.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::CStr;

use super::cells::{number, text, time};
use super::source::SqlSource;
use super::table::{ReadingWays, SqlColumn, SqlTable};
use super::wanted::{ColumnKey, WantedRows};
use crate::base::id::ActorId;
use crate::promise::watched_by;

pub(super) struct MonitorsTable {
    actors: std::vec::IntoIter<usize>,
    /// The open monitors of all actors, once they were read.
    open: Option<BTreeMap<usize, VecDeque<OpenRow>>>,
    of_one: VecDeque<OpenRow>,
}

/// A monitor that is open.
pub(super) struct OpenRow {
    actor: usize,
    watched: ActorId,
    /// The event that asked for it.
    sequence: u64,
    timestamp: u64,
}

impl MonitorsTable {
    /// The monitors of each actor, in the order in which it asked for them.
    fn read(source: &SqlSource) -> rusqlite::Result<BTreeMap<usize, VecDeque<OpenRow>>> {
        let mut open: BTreeMap<usize, VecDeque<OpenRow>> = BTreeMap::new();
        for row in source.read(|reader| reader.pending())?.into_iter().filter(|row| row.is_monitor()) {
            let Some(actor) = source.place_of(row.receiver) else { continue };
            let asked = source.read(|reader| reader.promise(source.actors[actor].actor, &row))?;
            let (sequence, timestamp) = (asked.sequence, asked.timestamp);
            let watched = watched_by(&asked).map(|watched| OpenRow { actor, watched, sequence, timestamp });
            open.entry(actor).or_default().extend(watched);
        }
        Ok(open)
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
        Self { actors: wanted.places(source).into_iter(), open: None, of_one: VecDeque::new() }
    }

    fn next(&mut self, source: &SqlSource) -> rusqlite::Result<Option<OpenRow>> {
        let open = match &mut self.open {
            Some(open) => open,
            unread => unread.insert(Self::read(source)?),
        };
        loop {
            if let Some(monitor) = self.of_one.pop_front() {
                return Ok(Some(monitor));
            }
            let Some(actor) = self.actors.next() else { return Ok(None) };
            self.of_one = open.remove(&actor).unwrap_or_default();
        }
    }
}
