//! What an embedder asks of an actor's table: the rows that are on disk.

use super::history::ReadError;
use crate::base::id::ActorId;
use crate::chain::EventHash;
use crate::journal::{self, ActorKey, JournalReader, KeyRange, behind_prefix};
use crate::system::TheaterHandle;

/// A row of an actor's table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableRow {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// The sequence of the actor's event that wrote it. A row that a fork began with has 0: its event is on another chain.
    pub written: u64,
    /// The hash of that event.
    pub hash: EventHash,
}

impl TableRow {
    pub(crate) fn of(key: Vec<u8>, row: &journal::Row) -> Self {
        Self { key, value: row.value.to_vec(), written: row.written, hash: row.hash }
    }
}

impl TheaterHandle {
    /// The row of a key, as far as it is on disk; with `after`, as it was after this event of the actor.
    ///
    /// # Errors
    ///
    /// As [`TheaterHandle::state`].
    pub fn table_row(&self, id: ActorId, key: &[u8], after: Option<u64>) -> Result<Option<TableRow>, ReadError> {
        let (actor, reader) = self.table_of(id, after)?;
        let row = reader.row(&reader.table_at(actor, after)?, key)?;
        Ok(row.map(|row| TableRow::of(key.to_vec(), &row)))
    }

    /// Rows whose keys begin with `prefix`, in the order of the keys, behind the key `behind`: at most `limit`, and no more
    /// once they have 4 MiB. `after` as in [`TheaterHandle::table_row`].
    ///
    /// # Errors
    ///
    /// As [`TheaterHandle::state`].
    pub fn table_rows(
        &self,
        id: ActorId,
        prefix: &[u8],
        behind: Option<&[u8]>,
        limit: usize,
        after: Option<u64>,
    ) -> Result<Vec<TableRow>, ReadError> {
        let (actor, reader) = self.table_of(id, after)?;
        let end = behind_prefix(prefix);
        let range = KeyRange::of(prefix, end.as_deref(), behind);
        let rows = reader.rows(&reader.table_at(actor, after)?, range, limit, journal::PAGE_BYTES_OF_ROWS)?;
        Ok(rows.into_iter().map(|(key, row)| TableRow::of(key.to_vec(), &row)).collect())
    }

    fn table_of(&self, id: ActorId, after: Option<u64>) -> Result<(ActorKey, JournalReader), ReadError> {
        let (actor, reader) = self.opened(id)?;
        let gone =
            after.map_or(Ok(None), |at| Ok::<_, ReadError>(reader.table_is_gone_at(actor, at)?.map(|it| (at, it))))?;
        match gone {
            Some((at, dropped)) => Err(ReadError::TableIsGone { at, dropped }),
            None => Ok((actor, reader)),
        }
    }

    /// How many rows the actor's table has on disk.
    ///
    /// # Errors
    ///
    /// As [`TheaterHandle::state`].
    pub fn table_count(&self, id: ActorId, after: Option<u64>) -> Result<u64, ReadError> {
        let (actor, reader) = self.table_of(id, after)?;
        Ok(reader.row_count(&reader.table_at(actor, after)?, &[])?)
    }
}
