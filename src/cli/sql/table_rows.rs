//! The table `table_rows`: the rows of the actors' tables as they are now.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::sync::Arc;

use super::cells::{json_of_bytes, number, text};
use super::source::SqlSource;
use super::table::{ReadingWays, SqlColumn, SqlTable};
use super::wanted::{ColumnKey, WantedRows};
use crate::journal::{KeyRange, PAGE_BYTES_OF_ROWS, Row};

/// Rows in one page.
const PAGE: usize = 512;

pub(super) struct RowsTable {
    actors: VecDeque<usize>,
    behind: Option<Arc<[u8]>>,
    page: VecDeque<(Arc<[u8]>, Row)>,
}

/// A row of an actor's table.
pub(super) struct ShownRow {
    actor: usize,
    key: Arc<[u8]>,
    row: Row,
}

type RowColumn = SqlColumn<ShownRow>;

impl SqlTable for RowsTable {
    const NAME: &'static CStr = c"table_rows";
    const MEANING: &'static str =
        "the rows of the actors' tables as they are now, of each actor in the order of their keys";
    const WAYS: ReadingWays = ReadingWays::ActorByActor;
    const COLUMNS: &'static [RowColumn] = &[
        RowColumn::text("actor", "the UUID of the actor", |source, row| {
            Ok(text(Some(source.actors[row.actor].actor.id)))
        })
        .by(ColumnKey::Actor),
        RowColumn::text("name", "the name of the actor", |source, row| Ok(text(Some(&source.actors[row.actor].name))))
            .by(ColumnKey::Name),
        RowColumn::text("key", "the key, as text; NULL if it is not UTF-8", |_, row| {
            Ok(text(std::str::from_utf8(&row.key).ok()))
        }),
        RowColumn::text("key_hex", "the key in hexadecimal", |_, row| Ok(text(Some(hex::encode(&row.key))))),
        RowColumn::integer("bytes", "the length of the value in bytes", |_, row| {
            Ok(number(Some(row.row.value.len() as u64)))
        }),
        RowColumn::text("value", "the value, as JSON", |_, row| Ok(json_of_bytes(Some(&row.row.value)))),
        RowColumn::integer("written", "the event that wrote it; 0 for a row that a fork began with", |_, row| {
            Ok(number(Some(row.row.written)))
        }),
        RowColumn::text("hash", "the hash of that event", |_, row| Ok(text(Some(row.row.hash)))),
    ];

    type Row = ShownRow;

    fn begin(source: &SqlSource, wanted: WantedRows) -> Self {
        Self { actors: wanted.places(source).into(), behind: None, page: VecDeque::new() }
    }

    fn next(&mut self, source: &SqlSource) -> rusqlite::Result<Option<ShownRow>> {
        while let Some(actor) = self.actors.front().copied() {
            if self.page.is_empty() {
                let key = source.actors[actor].actor;
                let range = KeyRange {
                    from: self.behind.as_deref().unwrap_or_default(),
                    is_behind: self.behind.is_some(),
                    end: None,
                };
                let page =
                    source.read(|reader| reader.rows(&reader.table_at(key, None)?, range, PAGE, PAGE_BYTES_OF_ROWS))?;
                self.behind = page.last().map(|(key, _)| Arc::clone(key));
                self.page = page.into();
            }
            match self.page.pop_front() {
                Some((key, row)) => return Ok(Some(ShownRow { actor, key, row })),
                None => {
                    self.actors.pop_front();
                    self.behind = None;
                }
            }
        }
        Ok(None)
    }
}
