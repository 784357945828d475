//! What is new in the actors' tables, in memory: the versions of rows by their keys.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use crate::chain::EventHash;
use crate::journal::rows::{KeyRange, Row, RowWrite};

/// What one transition has made of a row.
#[derive(Clone, Debug)]
pub(super) struct RowVersion {
    /// The sequence of the event that closed the transition.
    pub(super) closed: u64,
    pub(super) written: u64,
    pub(super) hash: EventHash,
    /// None: it was deleted.
    pub(super) value: Option<Arc<[u8]>>,
    /// It comes from a record of its own, so that later versions may be known already.
    pub(super) is_carried: bool,
}

impl RowVersion {
    pub(super) fn row(&self) -> Option<Row> {
        let Self { closed, written, hash, .. } = *self;
        self.value.as_ref().map(|value| Row { value: Arc::clone(value), written, hash, closed })
    }
}

pub(super) type VersionsByKey = BTreeMap<Arc<[u8]>, Vec<RowVersion>>;

/// What is new in the tables of all actors.
#[derive(Clone, Debug, Default)]
pub(super) struct RowsPatch {
    pub(super) written: HashMap<i64, VersionsByKey>,
    /// By actor, the event up to which nobody looks back any more.
    pub(super) pruned: HashMap<i64, u64>,
    /// By actor, events that are read by nobody any more. What is carried of them comes after.
    pub(super) redacted: Vec<(i64, Range<u64>)>,
    /// What the versions count for, as rows of an index.
    weight: usize,
}

impl RowsPatch {
    pub(super) fn take_in(&mut self, actor: i64, closed: u64, writes: Vec<RowWrite>, is_carried: bool) {
        let versions = self.written.entry(actor).or_default();
        for RowWrite { key, written, hash, value } in writes {
            self.weight += 1 + (key.len() + value.as_ref().map_or(0, |value| value.len())) / 1024;
            versions.entry(key).or_default().push(RowVersion { closed, written, hash, value, is_carried });
        }
    }

    pub(super) fn prune(&mut self, actor: i64, upto: u64) {
        let pruned = self.pruned.entry(actor).or_default();
        *pruned = upto.max(*pruned);
    }

    /// What these events have written is read by nobody any more, unless it is there now.
    pub(super) fn redact(&mut self, actor: i64, events: Range<u64>) {
        for versions in self.written.get_mut(&actor).into_iter().flat_map(BTreeMap::values_mut) {
            let newest = versions.iter().map(|version| version.closed).max();
            let stays = |it: &RowVersion| it.is_carried || Some(it.closed) == newest || !events.contains(&it.written);
            versions.retain(stays);
        }
        self.redacted.push((actor, events));
    }

    pub(super) fn weight(&self) -> usize {
        self.weight + self.pruned.len() + self.redacted.len()
    }

    /// The versions of a key.
    pub(super) fn versions(&self, actor: i64, key: &[u8]) -> impl Iterator<Item = &RowVersion> {
        self.written.get(&actor).and_then(|rows| rows.get(key)).into_iter().flatten()
    }

    /// The keys of an actor within a range, in order.
    pub(super) fn keys<'a>(&'a self, actor: i64, range: KeyRange<'a>) -> impl Iterator<Item = &'a Arc<[u8]>> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let from = if range.is_behind { Excluded(range.from) } else { Included(range.from) };
        let end = range.end.filter(|end| *end > range.from);
        let is_empty = range.end.is_some() && end.is_none();
        let rows = self.written.get(&actor).filter(|_| !is_empty);
        let end = end.map_or(Unbounded, Excluded);
        rows.into_iter().flat_map(move |rows| rows.range::<[u8], _>((from, end)).map(|(key, _)| key))
    }
}
