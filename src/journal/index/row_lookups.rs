//! What the index can be asked of the actors' tables.

use std::sync::Arc;

use rusqlite::Connection;

use super::delta::Delta;
use super::fact::Landmark;
use super::row_tables::{self, LastWrite, StoredRow};
use super::{Index, IndexError};
use crate::journal::rows::{KeyRange, Row, TableAt};

type Result<T> = std::result::Result<T, IndexError>;

impl Index {
    /// The last `init` that returned up to event `upto`; 0 where there is none. A table begins with it.
    pub(in crate::journal) fn row_era(&self, actor: i64, upto: u64) -> Result<u64> {
        Ok(self.landmark(actor, Landmark::InitReturned, upto)?.map_or(0, |place| place.sequence))
    }

    pub(in crate::journal) fn row(&self, at: &TableAt, key: &[u8]) -> Result<Option<Row>> {
        self.ask_both(|connection, delta| Ok(last_write(connection, delta, at, key)?.and_then(|(_, row)| row)))
    }

    /// Rows in the order of their keys, at most `limit`; and no more once these have so many bytes.
    pub(in crate::journal) fn rows(
        &self,
        at: &TableAt,
        range: KeyRange<'_>,
        limit: usize,
        max_bytes: u64,
    ) -> Result<Vec<(Arc<[u8]>, Row)>> {
        let (mut found, mut bytes) = (Vec::<(Arc<[u8]>, Row)>::new(), 0_u64);
        // Whether there is room for more.
        let mut take = |key: Arc<[u8]>, row: Row| {
            bytes = bytes.saturating_add((key.len() + row.value.len()) as u64);
            found.push((key, row));
            found.len() < limit && bytes < max_bytes
        };
        if limit == 0 {
            return Ok(found);
        }
        self.ask_both(|connection, delta| {
            let mut above = delta.row_keys(at.actor, range).peekable();
            let mut is_full = false;
            // What the layers have up to a key of the tables, or up to the end; and whether they have that key.
            let mut pass = |upto: Option<&[u8]>, is_full: &mut bool, take: &mut dyn FnMut(Arc<[u8]>, Row) -> bool| {
                while let Some(key) = above.next_if(|key| !*is_full && upto.is_none_or(|upto| ***key <= *upto)) {
                    if let Some((_, Some(row))) = last_write(connection, delta, at, key)? {
                        *is_full = !take(Arc::clone(key), row);
                    }
                    if upto == Some(&**key) {
                        return Ok(true);
                    }
                }
                Ok::<_, rusqlite::Error>(false)
            };
            if is_newest(connection, delta, at)? {
                row_tables::each_now(connection, at, range, |key, row| {
                    if !pass(Some(key), &mut is_full, &mut take)? && !is_full {
                        is_full = !take(key.into(), row);
                    }
                    Ok(!is_full)
                })?;
            } else {
                row_tables::each_key(connection, at, range, |key| {
                    if !pass(Some(key), &mut is_full, &mut take)?
                        && !is_full
                        && let Some((_, Some(row))) = row_tables::last_write(connection, at, key, false)?
                    {
                        is_full = !take(key.into(), row);
                    }
                    Ok(!is_full)
                })?;
            }
            pass(None, &mut is_full, &mut take).map(drop)
        })?;
        Ok(found)
    }

    /// How many rows there are, if those of the given keys are there or not as it is said; none where they have to be counted,
    /// because more was written since. All of it is looked up at one moment: meanwhile the writer may add some of these rows.
    pub(in crate::journal) fn row_count(&self, at: &TableAt, over: &[(Arc<[u8]>, bool)]) -> Result<Option<u64>> {
        self.ask_both(|connection, delta| {
            if !is_newest(connection, delta, at)? {
                return Ok(None);
            }
            let stored = row_tables::count(connection, at.actor, at.era)?.map_or(0, |(rows, _)| rows);
            let mut count = i64::try_from(stored).unwrap_or(i64::MAX);
            for key in delta.row_keys(at.actor, KeyRange::ALL) {
                let newest = TableAt { upto: u64::MAX, ..*at };
                let was = row_tables::last_write(connection, &newest, key, false)?.is_some();
                let is = last_write(connection, delta, at, key)?.is_some_and(|(_, row)| row.is_some());
                count += i64::from(is) - i64::from(was);
            }
            for (key, is) in over {
                let was = last_write(connection, delta, at, key)?.is_some_and(|(_, row)| row.is_some());
                count += i64::from(*is) - i64::from(was);
            }
            Ok(Some(u64::try_from(count).unwrap_or(0)))
        })
    }

    /// Versions of an actor's rows that are in the tables and are there, behind one in the order of eras and keys; none at the
    /// end. What is in the layers only is not among them.
    pub(in crate::journal) fn stored_rows(&self, actor: i64, behind: Option<(u64, &[u8])>) -> Result<Vec<StoredRow>> {
        self.ask_both(|connection, _| row_tables::stored_now(connection, actor, behind))
    }

    /// The same for those that were there before something else was written.
    pub(in crate::journal) fn stored_past_rows(
        &self,
        actor: i64,
        behind: Option<(u64, &[u8], u64)>,
    ) -> Result<Vec<StoredRow>> {
        self.ask_both(|connection, _| row_tables::stored_past(connection, actor, behind))
    }

    /// Whether the actor has written to its table.
    pub(in crate::journal) fn has_rows(&self, actor: i64) -> Result<bool> {
        self.ask_both(|connection, delta| {
            Ok(delta.row_keys(actor, KeyRange::ALL).next().is_some() || row_tables::has_any(connection, actor)?)
        })
    }

    /// Writes what is in memory into the tables; whether that was possible.
    pub(in crate::journal) fn settle(&self) -> bool {
        self.fill();
        self.is_writable()
    }

    /// Sees to it that what was removed from the tables is in none of their files any more.
    pub(in crate::journal) fn settle_and_cut(&self) {
        self.fill();
        self.cut();
    }
}

/// Whether nothing was written behind the moment of the table.
fn is_newest(connection: &Connection, delta: &Delta, at: &TableAt) -> rusqlite::Result<bool> {
    if at.upto == u64::MAX {
        return Ok(true);
    }
    let last = row_tables::count(connection, at.actor, at.era)?.map_or(0, |(_, last)| last);
    Ok(last <= at.upto && !delta.writes_behind(at.actor, at.upto))
}

/// The newest thing that is known of a key, in the layers and in the tables.
fn last_write(connection: &Connection, delta: &Delta, at: &TableAt, key: &[u8]) -> rusqlite::Result<Option<LastWrite>> {
    match delta.last_version(at, key) {
        // What the tables have is older, or the same.
        Some((version, false)) => Ok(Some((version.closed, version.row()))),
        Some((version, true)) => {
            let below = row_tables::last_write(connection, at, key, true)?;
            let above = (version.closed, version.row());
            Ok(Some(below.filter(|below| below.0 > above.0).unwrap_or(above)))
        }
        None => row_tables::last_write(connection, at, key, false),
    }
}
