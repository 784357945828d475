//! The table `async_requests`: a row for each request without an answer yet whose actor does not wait for it.

use std::ffi::CStr;

use super::cells::{number, text, time};
use super::owed_rows::{OwedRows, of_kind};
use super::source::SqlSource;
use super::table::{ReadingWays, SqlColumn, SqlTable};
use super::wanted::{ColumnKey, WantedRows};
use crate::base::id::ActorId;
use crate::chain::ChainEvent;
use crate::journal::Pending;
use crate::promise::{AskedMessage, asked_by};

pub(super) struct AsyncRequestsTable(OwedRows<RequestRow>);

/// A request whose answer is still to be told.
pub(super) struct RequestRow {
    actor: usize,
    to: ActorId,
    message: Vec<u8>,
    due: u64,
    /// The event that asked.
    sequence: u64,
    timestamp: u64,
}

impl RequestRow {
    /// The request that the event `asked` of an actor has made.
    fn of(actor: usize, asked: &ChainEvent) -> Option<Self> {
        let (sequence, timestamp) = (asked.sequence, asked.timestamp);
        let AskedMessage { to, message, within_ms } = asked_by(asked)?;
        Some(Self { actor, to, message, due: timestamp.saturating_add(within_ms), sequence, timestamp })
    }
}

type RequestColumn = SqlColumn<RequestRow>;

impl SqlTable for AsyncRequestsTable {
    const NAME: &'static CStr = c"async_requests";
    const MEANING: &'static str = "the requests that an actor does not wait for and whose answers it was not told of, of each actor in their order";
    const WAYS: ReadingWays = ReadingWays::ActorByActor;
    const COLUMNS: &'static [RequestColumn] = &[
        RequestColumn::text("actor", "the UUID of the actor that is to be told of the answer", |source, row| {
            Ok(text(Some(source.actors[row.actor].actor.id)))
        })
        .by(ColumnKey::Actor),
        RequestColumn::text("name", "the name of that actor", |source, row| {
            Ok(text(Some(&source.actors[row.actor].name)))
        })
        .by(ColumnKey::Name),
        RequestColumn::text("asked", "the UUID of the actor that is asked", |_, row| Ok(text(Some(row.to)))),
        RequestColumn::text("asked_name", "the name of that actor", |source, row| Ok(text(source.name_of(row.to)))),
        RequestColumn::text("message", "the message, as text", |_, row| {
            Ok(text(Some(String::from_utf8_lossy(&row.message))))
        }),
        RequestColumn::text("due", "when the answer is due at the latest, by the wall clock", |_, row| {
            Ok(time(Some(row.due)))
        }),
        RequestColumn::integer("sequence", "the event that asked, which is its token", |_, row| {
            Ok(number(Some(row.sequence)))
        }),
        RequestColumn::text("time", "when that event happened", |_, row| Ok(time(Some(row.timestamp)))),
    ];

    type Row = RequestRow;

    fn begin(source: &SqlSource, wanted: WantedRows) -> Self {
        Self(OwedRows::begin(source, wanted))
    }

    fn next(&mut self, source: &SqlSource) -> rusqlite::Result<Option<RequestRow>> {
        self.0.next(|| of_kind(source, Pending::is_reply, RequestRow::of))
    }
}
