//! The rows of a table that come from what actors owe themselves (`pending`): all are read at once, and shown actor by actor.

use std::collections::{BTreeMap, VecDeque};

use super::source::SqlSource;
use super::wanted::WantedRows;
use crate::chain::ChainEvent;
use crate::journal::Pending;

/// The rows of the wanted actors.
pub(super) struct OwedRows<R> {
    actors: std::vec::IntoIter<usize>,
    /// The rows of all actors, once they were read.
    all: Option<BTreeMap<usize, VecDeque<R>>>,
    of_one: VecDeque<R>,
}

impl<R> OwedRows<R> {
    pub(super) fn begin(source: &SqlSource, wanted: WantedRows) -> Self {
        Self { actors: wanted.places(source).into_iter(), all: None, of_one: VecDeque::new() }
    }

    /// The next row; `read` reads all of them.
    pub(super) fn next(
        &mut self,
        read: impl FnOnce() -> rusqlite::Result<BTreeMap<usize, VecDeque<R>>>,
    ) -> rusqlite::Result<Option<R>> {
        let all = match &mut self.all {
            Some(all) => all,
            unread => unread.insert(read()?),
        };
        loop {
            if let Some(row) = self.of_one.pop_front() {
                return Ok(Some(row));
            }
            let Some(actor) = self.actors.next() else { return Ok(None) };
            self.of_one = all.remove(&actor).unwrap_or_default();
        }
    }
}

/// What actors owe themselves of the kind that `is_meant` picks: by the place of the actor, what `understand` makes of the event
/// that promised it.
pub(super) fn of_kind<R>(
    source: &SqlSource,
    is_meant: impl Fn(&Pending) -> bool,
    understand: impl Fn(usize, &ChainEvent) -> Option<R>,
) -> rusqlite::Result<BTreeMap<usize, VecDeque<R>>> {
    let mut found: BTreeMap<usize, VecDeque<R>> = BTreeMap::new();
    for row in source.read(|reader| reader.pending())?.into_iter().filter(is_meant) {
        let Some(actor) = source.place_of(row.receiver) else { continue };
        let promise = source.read(|reader| reader.promise(source.actors[actor].actor, &row))?;
        found.entry(actor).or_default().extend(understand(actor, &promise));
    }
    Ok(found)
}
