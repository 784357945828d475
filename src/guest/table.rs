//! An actor's table as its guest sees it: the rows that there were before, and over them what the actor has written since.
//!
//! ```text
//!   the open call's writes ──over──▶ the writes of calls that returned ──over──▶ the base
//! ```
//!
//! Live, the base is the journal's index, and the writes in between are those that may not be in the index yet. In replay, the
//! base is what the table was where the replay begins, and all that is written since is in between. The recorder is the only
//! one who asks.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::interruption::Interruption;
use crate::chain::EventHash;
use crate::journal::{ActorKey, JournalDown, JournalHandle, JournalReader, KeyRange, RowWrite, TableAt, behind_prefix};

/// What the calls since the last look may hold in memory before it is looked whether the index has it.
const HELD_ROWS: usize = 1_024;
const HELD_BYTES: usize = 4 * 1024 * 1024;

/// A row: its value, and the hash of the event that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) value: Arc<[u8]>,
    pub(crate) hash: EventHash,
}

/// Rows by their keys.
pub(crate) type Cells = BTreeMap<Arc<[u8]>, Cell>;

/// What a table is before anything is written.
#[derive(Clone)]
pub(crate) enum TableBase {
    Empty,
    /// The table of a live actor, in the index.
    Live {
        journal: JournalHandle,
        actor: ActorKey,
        moment: TableMoment,
    },
    /// A table at a moment of the past, in the index.
    Past {
        reader: JournalReader,
        at: TableAt,
    },
    /// The rows that a chain file brings.
    Given(Arc<Cells>),
}

/// Which of what the index holds counts for a live actor.
#[derive(Clone)]
pub(crate) enum TableMoment {
    /// What closed up to this event, or everything. It is not known yet which era that is.
    Unopened(Option<u64>),
    Opened(JournalReader, TableAt),
}

/// What one call that returned has made of a row.
struct Closed {
    /// The sequence of its `return`.
    at: u64,
    cell: Option<Cell>,
}

pub(crate) struct Table {
    base: TableBase,
    closed: BTreeMap<Arc<[u8]>, Closed>,
    /// Bytes of the keys and values in `closed`, and how many there may be before it is looked.
    held_bytes: usize,
    look_at: (usize, usize),
    open: BTreeMap<Arc<[u8]>, RowWrite>,
    /// The open call is `init`, which sees only what it has written itself.
    begins_empty: bool,
    /// How often the open call has written.
    writes: u64,
    /// How many rows there were when the open call began, if somebody has asked; and how many there are after it, if it returns.
    count: Option<u64>,
    counted: Option<u64>,
}

/// Some rows, and whether others follow.
pub(crate) struct CellPage {
    pub(crate) cells: Vec<(Arc<[u8]>, Cell)>,
    /// The hash of the event that wrote the row that follows, if one does.
    pub(crate) next: Option<EventHash>,
}

/// Why a table cannot be read.
pub(crate) enum Unread {
    Down,
    Fault(String),
}

impl From<crate::journal::ReadFault> for Unread {
    fn from(fault: crate::journal::ReadFault) -> Self {
        Self::Fault(fault.to_string())
    }
}

impl Table {
    pub(crate) fn new(base: TableBase, begins_empty: bool) -> Self {
        Self {
            base,
            closed: BTreeMap::new(),
            held_bytes: 0,
            look_at: (HELD_ROWS, HELD_BYTES),
            open: BTreeMap::new(),
            begins_empty,
            writes: 0,
            count: None,
            counted: None,
        }
    }

    /// A call begins. What an earlier call that did not return has written is undone.
    pub(crate) fn begin_call(&mut self, begins_empty: bool) {
        self.open.clear();
        (self.begins_empty, self.writes, self.counted) = (begins_empty, 0, None);
    }

    /// How often the open call has written.
    pub(crate) fn writes(&self) -> u64 {
        self.writes
    }

    /// What the open call has written, by its keys. From here on the index may hold it, so what comes of the count is computed now.
    pub(crate) fn written(&mut self) -> Vec<RowWrite> {
        self.counted = self.count.and_then(|_| self.count().ok());
        self.open.values().cloned().collect()
    }

    pub(crate) fn write(&mut self, write: RowWrite) {
        self.writes += 1;
        self.open.insert(Arc::clone(&write.key), write);
    }

    /// The open call has returned with the event `at`: what it has written counts.
    pub(crate) fn close(&mut self, at: u64) -> Result<(), Unread> {
        if self.begins_empty {
            (self.base, self.begins_empty) = (TableBase::Empty, false);
            self.closed.clear();
        }
        self.count = self.counted.take();
        for (key, write) in std::mem::take(&mut self.open) {
            let cell = write.value.map(|value| Cell { value, hash: write.hash });
            self.held_bytes += key.len() + cell.as_ref().map_or(0, |cell| cell.value.len());
            self.closed.insert(key, Closed { at, cell });
        }
        Ok(())
    }

    /// Live, between two calls: what the index holds need not be held here.
    pub(crate) fn tidy(&mut self) -> Result<(), Unread> {
        let (rows, bytes) = self.look_at;
        let TableBase::Live { journal, actor, moment } = &mut self.base else { return Ok(()) };
        // What was executed again counts like everything else from here on.
        match moment {
            TableMoment::Unopened(upto) => *upto = None,
            TableMoment::Opened(_, at) => at.upto = u64::MAX,
        }
        if self.closed.len() < rows && self.held_bytes < bytes {
            return Ok(());
        }
        let reader = journal.reader().map_err(|error| Unread::Fault(error.to_string()))?;
        let indexed = reader.head(*actor)?.map(|head| head.sequence);
        self.closed.retain(|_, closed| Some(closed.at) > indexed);
        let held =
            |(key, closed): (&Arc<[u8]>, &Closed)| key.len() + closed.cell.as_ref().map_or(0, |it| it.value.len());
        self.held_bytes = self.closed.iter().map(held).sum();
        self.look_at = (HELD_ROWS.max(2 * self.closed.len()), HELD_BYTES.max(2 * self.held_bytes));
        Ok(())
    }

    /// Finds out which table of the index it is, once. What the actor has recorded before is in the index by then.
    fn open_base(&mut self) -> Result<(), Unread> {
        if let TableBase::Live { journal, actor, moment } = &mut self.base
            && let TableMoment::Unopened(upto) = moment
        {
            journal.flush().map_err(|JournalDown| Unread::Down)?;
            let reader = journal.reader().map_err(|error| Unread::Fault(error.to_string()))?;
            let at = reader.table_at(*actor, *upto)?;
            *moment = TableMoment::Opened(reader, at);
        }
        Ok(())
    }

    /// Whether there is nothing below what was written since.
    pub(crate) fn is_without_base(&self) -> bool {
        matches!(self.base, TableBase::Empty)
    }

    /// The base, where it is in an index.
    fn stored(&self) -> Option<(&JournalReader, TableAt)> {
        match &self.base {
            TableBase::Live { moment: TableMoment::Opened(reader, at), .. } | TableBase::Past { reader, at } => {
                Some((reader, *at))
            }
            TableBase::Live { .. } | TableBase::Empty | TableBase::Given(_) => None,
        }
    }

    /// The row of a key in the base alone.
    fn base_cell(&self, key: &[u8]) -> Result<Option<Cell>, Unread> {
        if let TableBase::Given(cells) = &self.base {
            return Ok(cells.get(key).cloned());
        }
        let Some((reader, at)) = self.stored() else { return Ok(None) };
        Ok(reader.row(&at, key)?.map(|row| Cell { value: row.value, hash: row.hash }))
    }

    /// The row of a key before the open call.
    fn cell_before(&self, key: &[u8]) -> Result<Option<Cell>, Unread> {
        if self.begins_empty {
            return Ok(None);
        }
        match self.closed.get(key) {
            Some(closed) => Ok(closed.cell.clone()),
            None => self.base_cell(key),
        }
    }

    /// The row of a key.
    pub(crate) fn cell(&mut self, key: &[u8]) -> Result<Option<Cell>, Unread> {
        self.open_base()?;
        match self.open.get(key) {
            Some(RowWrite { value, hash, .. }) => {
                Ok(value.as_ref().map(|value| Cell { value: Arc::clone(value), hash: *hash }))
            }
            None => self.cell_before(key),
        }
    }

    /// How many rows there are.
    pub(crate) fn count(&mut self) -> Result<u64, Unread> {
        self.open_base()?;
        let mut count = match self.count {
            _ if self.begins_empty => 0,
            Some(count) => count,
            None => {
                let count = self.count_closed()?;
                self.count = Some(count);
                count
            }
        };
        for (key, write) in &self.open {
            count = changed(count, self.cell_before(key)?.is_some(), write.value.is_some());
        }
        Ok(count)
    }

    /// How many rows there were when the open call began.
    fn count_closed(&self) -> Result<u64, Unread> {
        if let Some((reader, at)) = self.stored() {
            let over = self.closed.iter().map(|(key, closed)| (Arc::clone(key), closed.cell.is_some()));
            return Ok(reader.row_count(&at, &over.collect::<Vec<_>>())?);
        }
        let mut count = match &self.base {
            TableBase::Given(cells) => cells.len() as u64,
            TableBase::Empty | TableBase::Live { .. } | TableBase::Past { .. } => 0,
        };
        for (key, closed) in &self.closed {
            count = changed(count, self.base_cell(key)?.is_some(), closed.cell.is_some());
        }
        Ok(count)
    }

    /// Rows in the order of their keys, and no more once these have so many bytes.
    pub(crate) fn scan(
        &mut self,
        prefix: &[u8],
        behind: Option<&[u8]>,
        limit: usize,
        max_bytes: u64,
    ) -> Result<CellPage, Unread> {
        self.open_base()?;
        let end = behind_prefix(prefix);
        let mut range = KeyRange::of(prefix, end.as_deref(), behind);
        let mut page = CellPage { cells: Vec::new(), next: None };
        let mut bytes = 0_u64;
        let mut last: Arc<[u8]>;
        loop {
            // One more than is wanted: it says whether a row follows.
            let wanted = limit.saturating_sub(page.cells.len()).saturating_add(1);
            let (mut rows, is_end) = self.base_page(range, wanted, max_bytes.saturating_sub(bytes).max(1))?;
            let upto = if is_end { None } else { rows.last_key_value().map(|(key, _)| Arc::clone(key)) };
            self.lay_over(&mut rows, range, upto.as_deref());
            for (key, cell) in rows {
                if page.cells.len() == limit || (bytes >= max_bytes && !page.cells.is_empty()) {
                    page.next = Some(cell.hash);
                    return Ok(page);
                }
                bytes = bytes.saturating_add((key.len() + cell.value.len()) as u64);
                page.cells.push((key, cell));
            }
            let Some(upto) = upto else { return Ok(page) };
            last = upto;
            range = KeyRange { from: &last, is_behind: true, end: end.as_deref() };
        }
    }

    /// Rows of the base, and whether these are all.
    fn base_page(&self, range: KeyRange<'_>, limit: usize, max_bytes: u64) -> Result<(Cells, bool), Unread> {
        if self.begins_empty {
            return Ok((Cells::new(), true));
        }
        if let TableBase::Given(cells) = &self.base {
            let within = cells.range::<[u8], _>((Bound::Included(range.from), Bound::Unbounded));
            let within = within.take_while(|(key, _)| range.end.is_none_or(|end| ***key < *end));
            let within = within.filter(|(key, _)| range.contains(key)).take(limit);
            let found: Cells = within.map(|(key, cell)| (Arc::clone(key), cell.clone())).collect();
            let is_end = found.len() < limit;
            return Ok((found, is_end));
        }
        let Some((reader, at)) = self.stored() else { return Ok((Cells::new(), true)) };
        let rows = reader.rows(&at, range, limit, max_bytes)?;
        // Fewer may have come because they are large.
        let is_end = rows.is_empty();
        Ok((rows.into_iter().map(|(key, row)| (key, Cell { value: row.value, hash: row.hash })).collect(), is_end))
    }

    /// Lays what was written since over rows of the base, within a range and up to a key.
    fn lay_over(&self, rows: &mut Cells, range: KeyRange<'_>, upto: Option<&[u8]>) {
        let is_within = |key: &[u8]| range.end.is_none_or(|end| key < end) && upto.is_none_or(|upto| key <= upto);
        let from = || {
            (if range.is_behind { Bound::Excluded(range.from) } else { Bound::Included(range.from) }, Bound::Unbounded)
        };
        let mut lay = |key: &Arc<[u8]>, cell: Option<Cell>| match cell {
            Some(cell) => _ = rows.insert(Arc::clone(key), cell),
            None => _ = rows.remove(key),
        };
        if !self.begins_empty {
            let closed = self.closed.range::<[u8], _>(from()).take_while(|(key, _)| is_within(key));
            closed.for_each(|(key, closed)| lay(key, closed.cell.clone()));
        }
        for (key, write) in self.open.range::<[u8], _>(from()).take_while(|(key, _)| is_within(key)) {
            lay(key, write.value.as_ref().map(|value| Cell { value: Arc::clone(value), hash: write.hash }));
        }
    }
}

fn changed(count: u64, was: bool, is: bool) -> u64 {
    count.saturating_add(u64::from(is)).saturating_sub(u64::from(was))
}

impl Unread {
    pub(crate) fn interruption(self, is_live: bool) -> Interruption {
        match self {
            Self::Down => Interruption::JournalDown,
            Self::Fault(why) if is_live => {
                log::error!("the table cannot be read: {why}");
                Interruption::JournalDown
            }
            Self::Fault(why) => Interruption::NoTable(why),
        }
    }
}
