//! Reading the tables of actors, now or as they were, and copying one to a fork.

use std::sync::Arc;

use super::error::{JournalDown, ReadFault, ReadResult, unfit};
use super::reader::JournalReader;
use super::record::{ActorKey, Record};
use super::rows::{CarriedRow, KeyRange, Row, RowWrite, TableAt};
use super::{JournalHandle, PAGE_BYTES_OF_ROWS};
use crate::chain::FileRow;
use crate::chain::table::ReadDigest;

/// So many rows are read together where all of a table is read.
pub(super) const PAGE_ROWS: usize = 1_000;

impl JournalReader {
    /// The table of an actor after event `upto`, or as it is now.
    pub(crate) fn table_at(&self, actor: ActorKey, upto: Option<u64>) -> ReadResult<TableAt> {
        let upto = upto.unwrap_or(u64::MAX);
        let era = self.ask(|index| index.row_era(actor.key, upto))?;
        Ok(TableAt { actor: actor.key, era, upto })
    }

    pub(crate) fn row(&self, at: &TableAt, key: &[u8]) -> ReadResult<Option<Row>> {
        self.ask(|index| index.row(at, key))
    }

    /// Rows in the order of their keys, at most `limit`; and no more once these have so many bytes.
    pub(crate) fn rows(
        &self,
        at: &TableAt,
        range: KeyRange<'_>,
        limit: usize,
        max_bytes: u64,
    ) -> ReadResult<Vec<(Arc<[u8]>, Row)>> {
        self.ask(|index| index.rows(at, range, limit, max_bytes))
    }

    /// Visits all rows of a table in the order of their keys.
    pub(crate) fn each_row<E: From<ReadFault>>(
        &self,
        at: &TableAt,
        mut visit: impl FnMut(&Arc<[u8]>, &Row) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut behind: Option<Arc<[u8]>> = None;
        loop {
            let range = match &behind {
                Some(key) => KeyRange { from: key, is_behind: true, end: None },
                None => KeyRange::ALL,
            };
            let page = self.rows(at, range, PAGE_ROWS, PAGE_BYTES_OF_ROWS)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            page.iter().try_for_each(|(key, row)| visit(key, row))?;
            behind = Some(Arc::clone(last));
        }
    }

    /// Rows after an event as a chain file has them, those behind a key: a page of them.
    pub(crate) fn file_rows(&self, actor: ActorKey, after: u64, behind: Option<&[u8]>) -> ReadResult<Vec<FileRow>> {
        let range = KeyRange { from: behind.unwrap_or_default(), is_behind: behind.is_some(), end: None };
        let page = self.rows(&self.table_at(actor, Some(after))?, range, PAGE_ROWS, PAGE_BYTES_OF_ROWS)?;
        let row =
            |(key, row): (Arc<[u8]>, Row)| FileRow { key: key.to_vec(), hash: row.hash, value: row.value.to_vec() };
        Ok(page.into_iter().map(row).collect())
    }

    /// Whether the table after event `at` cannot be had any more: the last event before it whose data was dropped, where what
    /// that wrote is not known there.
    pub(crate) fn table_is_gone_at(&self, actor: ActorKey, at: u64) -> ReadResult<Option<u64>> {
        let dropped = self.dropped_events(actor)?;
        let Some(gap) = dropped.last_upto(at) else { return Ok(None) };
        let start = self.last_start(actor, gap, at)?;
        Ok(Some(gap).filter(|_| start.is_none()))
    }

    /// How many rows there are, if those of the keys `over` are there or not as it says. Where the actor has written since, they
    /// are counted one by one.
    pub(crate) fn row_count(&self, at: &TableAt, over: &[(Arc<[u8]>, bool)]) -> ReadResult<u64> {
        if let Some(count) = self.ask(|index| index.row_count(at, over))? {
            return Ok(count);
        }
        let mut count = 0_u64;
        self.each_row(at, |_, _| {
            count += 1;
            Ok::<_, ReadFault>(())
        })?;
        for (key, is) in over {
            let was = self.row(at, key)?.is_some();
            count = (count + u64::from(*is)).saturating_sub(u64::from(was));
        }
        Ok(count)
    }
}

impl JournalHandle {
    /// Writes the rows that a new actor begins with, before its first event. Returns the digest that names them; none if there
    /// are no rows.
    pub(crate) fn copy_rows(&self, from: &TableAt, to: ActorKey) -> Result<Option<[u8; 32]>, String> {
        let mut digest = None::<ReadDigest>;
        self.reader
            .each_row(from, |key, row| {
                let write =
                    RowWrite { key: Arc::clone(key), written: 0, hash: row.hash, value: Some(Arc::clone(&row.value)) };
                digest.get_or_insert_default().add(&row.hash);
                let record = Record::Row(to, Box::new(CarriedRow { closed: 0, write }));
                self.enqueue(record).map_err(|JournalDown| unfit(JournalDown.to_string()))
            })
            .map_err(|error| error.to_string())?;
        Ok(digest.map(ReadDigest::finish))
    }
}
