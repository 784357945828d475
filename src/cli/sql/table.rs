//! A table of the journal as SQLite sees it: a virtual table whose rows are read when a statement asks for them.
//!
//! What differs between the tables is in the trait [`SqlTable`]; here is what SQLite asks of each of them: how it would read
//! the rows of a statement (`best_index`), then to read them (`filter`, `next`), and one cell of a row at a time.

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int};
use std::marker::PhantomData;
use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::types::{Value as Cell, ValueRef};
use rusqlite::vtab::{
    Context, Filters, IndexFlags, IndexInfo, Module, VTab, VTabConnection, VTabCursor, sqlite3_vtab,
    sqlite3_vtab_cursor,
};

use super::source::SqlSource;
use super::wanted::{ColumnKey, PushedComparison, PushedCondition, WantedRows};

/// One column: what SQLite and people are told of it, and its cell in a row.
pub(super) struct SqlColumn<R> {
    pub(super) name: &'static str,
    pub(super) sql_type: &'static str,
    pub(super) meaning: &'static str,
    /// What a condition on it says about where its rows are read.
    key: Option<ColumnKey>,
    cell: fn(&SqlSource, &R) -> rusqlite::Result<Cell>,
}

impl<R> SqlColumn<R> {
    pub(super) const fn text(
        name: &'static str,
        meaning: &'static str,
        cell: fn(&SqlSource, &R) -> rusqlite::Result<Cell>,
    ) -> Self {
        Self { name, sql_type: "TEXT", meaning, key: None, cell }
    }

    pub(super) const fn integer(
        name: &'static str,
        meaning: &'static str,
        cell: fn(&SqlSource, &R) -> rusqlite::Result<Cell>,
    ) -> Self {
        Self { name, sql_type: "INTEGER", meaning, key: None, cell }
    }

    /// The same column; conditions on it narrow down what is read.
    pub(super) const fn by(self, key: ColumnKey) -> Self {
        let Self { name, sql_type, meaning, cell, .. } = self;
        Self { name, sql_type, meaning, key: Some(key), cell }
    }
}

/// In which ways the rows of a table can be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadingWays {
    /// There are a few rows for each actor.
    ActorByActor,
    /// A row is known once an event far behind its first one was read, on another chain: so the journal is read in its own
    /// order.
    Journal,
    /// By the journal's order, or one chain after the other; the rows do not come in the order of their events.
    JournalOrChains,
    /// The same, and each event is a row: they come in their own order, or backwards.
    InOrder,
}

/// A table, and its rows while a statement reads them.
pub(super) trait SqlTable: Sized + 'static {
    const NAME: &'static CStr;
    const MEANING: &'static str;
    const COLUMNS: &'static [SqlColumn<Self::Row>];
    const WAYS: ReadingWays;

    type Row;

    /// Begins to read.
    fn begin(source: &SqlSource, wanted: WantedRows) -> Self;

    /// The next row, if there is one.
    fn next(&mut self, source: &SqlSource) -> rusqlite::Result<Option<Self::Row>>;
}

/// Makes a table known to a connection.
pub(super) fn add<R: SqlTable>(connection: &Connection, source: &Arc<SqlSource>) -> rusqlite::Result<()> {
    let module: &'static Module<'static, VirtualTable<R>> = const { &Module::eponymous_only_module() };
    connection.create_module(R::NAME, module, Some(Arc::clone(source)))
}

#[repr(C)]
struct VirtualTable<R> {
    /// SQLite's own part; it must come first.
    base: sqlite3_vtab,
    source: Arc<SqlSource>,
    relation: PhantomData<R>,
}

/// Some rows of a table, while a statement reads them.
#[repr(C)]
struct TableCursor<R: SqlTable> {
    /// SQLite's own part; it must come first.
    base: sqlite3_vtab_cursor,
    source: Arc<SqlSource>,
    reading: Option<R>,
    row: Option<R::Row>,
    /// Rows that were read, this one among them.
    read: i64,
}

// SAFETY: the type is `repr(C)`, and its first field is SQLite's own part: that is all that the trait asks for.
unsafe impl<R: SqlTable> VTab<'_> for VirtualTable<R> {
    type Aux = Arc<SqlSource>;
    type Cursor = TableCursor<R>;

    fn connect(
        _: &mut VTabConnection,
        source: Option<&Arc<SqlSource>>,
        _: &[u8],
        _: &[u8],
        _: &[u8],
        _: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let source = source.ok_or_else(|| rusqlite::Error::ModuleError("a table without a journal".into()))?;
        let columns = R::COLUMNS.iter().map(|column| format!("{} {}", column.name, column.sql_type));
        let columns = columns.collect::<Vec<_>>().join(", ");
        let declaration = CString::new(format!("CREATE TABLE x ({columns})"))?;
        let table = Self { base: sqlite3_vtab::default(), source: Arc::clone(source), relation: PhantomData };
        Ok((Cow::Owned(declaration), table))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        let conditions = self.conditions(info)?;
        let mut plan = self.plan(info, &conditions)?;
        for (given, (at, _)) in conditions.iter().enumerate() {
            let given = c_int::try_from(given + 1).unwrap_or(c_int::MAX);
            info.constraint_usage(*at).set_argv_index(given);
        }
        let order: Vec<(c_int, bool)> =
            info.order_bys().map(|order| (order.column(), order.is_order_by_desc())).collect();
        if let [(column, is_backwards)] = order[..]
            && key_of::<R>(column).is_some_and(|key| plan.in_order_of.contains(&key))
        {
            plan.is_backwards = is_backwards;
            info.set_order_by_consumed(true);
        }
        info.set_idx_str(&plan.text(&conditions));
        info.set_estimated_cost(plan.cost);
        info.set_estimated_rows(plan.rows);
        if plan.rows <= 1 && plan.is_one_at_most {
            info.set_idx_flags(IndexFlags::SQLITE_INDEX_SCAN_UNIQUE);
        }
        Ok(true)
    }

    fn open(&mut self) -> rusqlite::Result<TableCursor<R>> {
        let source = Arc::clone(&self.source);
        Ok(TableCursor { base: sqlite3_vtab_cursor::default(), source, reading: None, row: None, read: 0 })
    }
}

/// How the rows are to be read; as text, it is what `EXPLAIN QUERY PLAN` shows and `filter` is told.
struct Plan {
    is_by_chain: bool,
    is_backwards: bool,
    /// By which columns the rows are ordered then.
    in_order_of: Vec<ColumnKey>,
    /// Events that are looked at, roughly.
    cost: f64,
    rows: i64,
    is_one_at_most: bool,
}

const BY_CHAIN: &str = "chains";
const BY_JOURNAL: &str = "journal";
const BACKWARDS: &str = "backwards";

impl Plan {
    fn text(&self, conditions: &[(usize, PushedCondition)]) -> String {
        let mut words = vec![if self.is_by_chain { BY_CHAIN.to_owned() } else { BY_JOURNAL.to_owned() }];
        words.extend(self.is_backwards.then(|| BACKWARDS.to_owned()));
        words.extend(conditions.iter().map(|(_, condition)| condition.word()));
        words.join(" ")
    }
}

fn key_of<R: SqlTable>(column: c_int) -> Option<ColumnKey> {
    R::COLUMNS.get(usize::try_from(column).ok()?)?.key
}

impl<R: SqlTable> VirtualTable<R> {
    /// The conditions that narrow down what is read, each with its place in SQLite's list.
    fn conditions(&self, info: &IndexInfo) -> rusqlite::Result<Vec<(usize, PushedCondition)>> {
        let mut conditions = Vec::new();
        for (at, constraint) in info.constraints().enumerate().filter(|(_, constraint)| constraint.is_usable()) {
            let Some(key) = key_of::<R>(constraint.column()) else { continue };
            let Some(condition) = PushedCondition::of(key, constraint.operator()) else { continue };
            // By another collation, more texts are equal than those that are the same.
            if key.is_number() || info.collation(at)? == "BINARY" {
                conditions.push((at, condition));
            }
        }
        Ok(conditions)
    }

    fn plan(&self, info: &IndexInfo, conditions: &[(usize, PushedCondition)]) -> rusqlite::Result<Plan> {
        /// A place on a chain is found by some steps back from the next one that is indexed.
        const STEPS: f64 = 64.0;
        let has = |key: ColumnKey, equal: bool| {
            conditions.iter().any(|(_, it)| it.key == key && (it.comparison == PushedComparison::Equal) == equal)
        };
        let is_between = |key: ColumnKey| {
            let has_one = |of: [PushedComparison; 2]| {
                conditions.iter().any(|(_, it)| it.key == key && of.contains(&it.comparison))
            };
            has_one([PushedComparison::AtLeast, PushedComparison::Above])
                && has_one([PushedComparison::AtMost, PushedComparison::Below])
        };
        let share = |key: ColumnKey| match (has(key, true), is_between(key), has(key, false)) {
            (true, ..) => 0.0,
            (_, true, _) => 1.0 / 16.0,
            (.., true) => 1.0 / 4.0,
            (.., false) => 1.0,
        };
        let is_one_actor = has(ColumnKey::Actor, true) || self.is_name_of_one(info, conditions)?;
        let is_of_some = is_one_actor || has(ColumnKey::Name, true);
        let actors = self.source.actors.len().max(1) as f64;
        let events = self.source.end as f64;
        let chains = if is_of_some { 1.0 } else { actors };
        let of_actors = chains / actors;
        let on_chains = (events * of_actors * share(ColumnKey::Sequence)).max(1.0);
        // An event that was come to on its chain does not say its position: each is looked up.
        let asks_for_positions = has(ColumnKey::Position, true) || has(ColumnKey::Position, false);
        let by_chain = chains * STEPS + on_chains * if asks_for_positions { STEPS } else { 1.0 };
        let by_journal = (events * share(ColumnKey::Position)).max(1.0);
        let (is_by_chain, cost) = match R::WAYS {
            ReadingWays::ActorByActor => (true, chains),
            ReadingWays::Journal => (false, by_journal),
            ReadingWays::JournalOrChains | ReadingWays::InOrder if by_chain < by_journal => (true, by_chain),
            ReadingWays::JournalOrChains | ReadingWays::InOrder => (false, by_journal),
        };
        let in_order_of = match (R::WAYS, is_by_chain) {
            (ReadingWays::InOrder, false) => vec![ColumnKey::Position],
            (ReadingWays::InOrder, true) if is_one_actor => vec![ColumnKey::Position, ColumnKey::Sequence],
            (ReadingWays::InOrder, true)
            | (ReadingWays::ActorByActor | ReadingWays::Journal | ReadingWays::JournalOrChains, _) => Vec::new(),
        };
        let is_one_at_most = R::WAYS == ReadingWays::InOrder
            && (has(ColumnKey::Position, true) || (has(ColumnKey::Actor, true) && has(ColumnKey::Sequence, true)));
        let rows = match R::WAYS {
            ReadingWays::ActorByActor => chains,
            _ => (events * of_actors * share(ColumnKey::Sequence) * share(ColumnKey::Position)).max(1.0),
        };
        // A count that is estimated needs no more than this.
        let rows = rows.min(1e15) as i64;
        Ok(Plan { is_by_chain, is_backwards: false, in_order_of, cost, rows, is_one_at_most })
    }

    /// Whether a name is asked for that one actor alone has, as far as SQLite knows the name already.
    fn is_name_of_one(&self, info: &IndexInfo, conditions: &[(usize, PushedCondition)]) -> rusqlite::Result<bool> {
        for (at, _) in conditions.iter().filter(|(_, condition)| condition.key == ColumnKey::Name) {
            if let Some(ValueRef::Text(name)) = info.rhs_value(*at)? {
                return Ok(self.source.of_name(&String::from_utf8_lossy(name)).len() <= 1);
            }
        }
        Ok(false)
    }
}

// SAFETY: as above.
unsafe impl<R: SqlTable> VTabCursor for TableCursor<R> {
    fn filter(&mut self, _: c_int, plan: Option<&str>, values: &Filters<'_>) -> rusqlite::Result<()> {
        let mut words = plan.unwrap_or_default().split(' ').peekable();
        let is_by_chain = words.next_if_eq(&BY_CHAIN).or_else(|| words.next_if_eq(&BY_JOURNAL)) == Some(BY_CHAIN);
        let is_backwards = words.next_if_eq(&BACKWARDS).is_some();
        let mut wanted = WantedRows::everything(is_by_chain, is_backwards);
        for (condition, value) in words.filter_map(PushedCondition::parse).zip(values.iter()) {
            wanted.narrow(&self.source, condition, value);
        }
        self.reading = Some(R::begin(&self.source, wanted));
        self.read = 0;
        self.next()
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.row = match &mut self.reading {
            Some(reading) => reading.next(&self.source)?,
            None => None,
        };
        self.read += 1;
        Ok(())
    }

    fn eof(&self) -> bool {
        self.row.is_none()
    }

    fn column(&self, to: &mut Context, column: c_int) -> rusqlite::Result<()> {
        let column = usize::try_from(column).ok().and_then(|at| R::COLUMNS.get(at));
        match (column, &self.row) {
            (Some(column), Some(row)) => to.set_result(&(column.cell)(&self.source, row)?),
            (Some(_) | None, _) => Ok(()),
        }
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(self.read)
    }
}
