//! Rows of actors' tables, as the journal knows them. A table is the fold over the writes of the transitions that closed with a
//! `return`: they are on the chains, and the index holds what they come to.
//!
//! ```text
//!   host-call put ─┐
//!   host-call put ─┼─ return ──▶ the writes of the transition count, under the sequence of the `return`
//!   host-call …   ─┘  refused or failed: they do not
//! ```
//!
//! *Carried* rows stand in the log by records of their own: those whose events lose their data, and those that a fork begins
//! with.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::chain::table::TableWrite;
use crate::chain::{EventHash, Salt};

/// What a transition has written to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowWrite {
    pub(crate) key: Arc<[u8]>,
    /// The sequence of the event that wrote it, and its hash.
    pub(crate) written: u64,
    pub(crate) hash: EventHash,
    /// None: the row was deleted.
    pub(crate) value: Option<Arc<[u8]>>,
}

/// The writes of a transition, by their keys: the last to each key counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowWrites(BTreeMap<Arc<[u8]>, RowWrite>);

impl RowWrites {
    /// Takes in what an event writes.
    pub(crate) fn add(&mut self, sequence: u64, hash: EventHash, TableWrite { key, value }: TableWrite) {
        let key: Arc<[u8]> = key.into();
        let write = RowWrite { key: Arc::clone(&key), written: sequence, hash, value: value.map(Arc::from) };
        self.0.insert(key, write);
    }

    /// Takes in what an earlier event has written, where no later one has written to the same key.
    pub(crate) fn add_earlier(&mut self, sequence: u64, hash: EventHash, write: TableWrite) {
        if !self.0.contains_key(&*write.key) {
            self.add(sequence, hash, write);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn into_writes(self) -> Vec<RowWrite> {
        self.0.into_values().collect()
    }
}

/// A row, and the event that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) value: Arc<[u8]>,
    /// The sequence and the hash of that event. Of a row that a fork begins with, the event is on another chain, and the
    /// sequence is 0.
    pub(crate) written: u64,
    pub(crate) hash: EventHash,
    /// The sequence of the event that closed the transition.
    pub(crate) closed: u64,
}

/// A row that is written into the log by a record of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CarriedRow {
    pub(crate) closed: u64,
    pub(crate) write: RowWrite,
}

impl CarriedRow {
    /// The payload of its record: the salt; then 1 if there is a value, else 0; the length of the key, as LEB128; the key; the
    /// value.
    pub(super) fn payload(&self, salt: &Salt) -> Vec<u8> {
        let (key, value) = (&*self.write.key, self.write.value.as_deref());
        let mut payload = Vec::with_capacity(27 + key.len() + value.map_or(0, <[u8]>::len));
        payload.extend_from_slice(salt.as_bytes());
        payload.push(u8::from(value.is_some()));
        let mut length = key.len() as u64;
        while length > 0x7f {
            payload.push(0x80 | (length & 0x7f) as u8);
            length >>= 7;
        }
        payload.push(length as u8);
        payload.extend_from_slice(key);
        payload.extend_from_slice(value.unwrap_or_default());
        payload
    }

    /// Key and value, read from such a payload; none if it is not of this form.
    pub(super) fn read(payload: &[u8]) -> Option<TableWrite> {
        let (_salt, rest) = payload.split_first_chunk::<16>()?;
        let (has_value, mut rest) = rest.split_first()?;
        let (mut length, mut shift) = (0_u64, 0_u32);
        loop {
            let (byte, behind) = rest.split_first()?;
            rest = behind;
            length |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
        }
        let (key, value) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        match has_value {
            0 if value.is_empty() => Some(TableWrite { key: key.to_vec(), value: None }),
            1 => Some(TableWrite { key: key.to_vec(), value: Some(value.to_vec()) }),
            _ => None,
        }
    }
}

/// One actor's table at one moment of its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableAt {
    pub(crate) actor: i64,
    /// The `return` of the `init` that the table began with, empty; 0 where there is none.
    pub(crate) era: u64,
    /// What closed up to this event counts; `u64::MAX`: everything.
    pub(crate) upto: u64,
}

/// Keys in their order: those from `from` on, or those behind it, up to and without `end`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyRange<'a> {
    pub(crate) from: &'a [u8],
    pub(crate) is_behind: bool,
    pub(crate) end: Option<&'a [u8]>,
}

impl<'a> KeyRange<'a> {
    pub(crate) const ALL: KeyRange<'static> = KeyRange { from: &[], is_behind: false, end: None };

    /// The keys that begin with `prefix`, which end before `end`; those behind a key, if one is given.
    pub(crate) fn of(prefix: &'a [u8], end: Option<&'a [u8]>, behind: Option<&'a [u8]>) -> Self {
        let behind = behind.filter(|behind| *behind >= prefix);
        Self { from: behind.unwrap_or(prefix), is_behind: behind.is_some(), end }
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        let begins = if self.is_behind { key > self.from } else { key >= self.from };
        begins && self.end.is_none_or(|end| key < end)
    }
}

/// The first key behind all those that begin with `prefix`; none if there is none.
pub(crate) fn behind_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=kept].to_vec();
    end[kept] += 1;
    Some(end)
}

/// Why a table of the past cannot be had.
pub(crate) fn gone_table(at: u64, dropped: u64) -> String {
    format!(
        "the table after event {at} cannot be had: the data of event {dropped} was dropped, and no state is kept between the two"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carried_row_is_read_as_it_was_written_and_nothing_else_is_taken_for_one() {
        for (key, value) in [(vec![], None), (vec![7; 300], Some(vec![])), (b"k".to_vec(), Some(b"v".to_vec()))] {
            let mut writes = RowWrites::default();
            writes.add(3, EventHash([1; 20]), TableWrite { key: key.clone(), value: value.clone() });
            let write = writes.into_writes().remove(0);
            let payload = CarriedRow { closed: 4, write }.payload(&Salt([9; 16]));
            assert_eq!(CarriedRow::read(&payload), Some(TableWrite { key, value }));
            assert_eq!(CarriedRow::read(&payload[..16]), None);
        }
        assert_eq!(CarriedRow::read(&[&[0; 16][..], &[1, 0xff, 0xff]].concat()), None);
        assert_eq!(CarriedRow::read(&[&[0; 16][..], &[2, 0]].concat()), None);
    }

    #[test]
    fn the_keys_with_a_prefix_end_where_the_next_one_begins() {
        assert_eq!(behind_prefix(b"user/"), Some(b"user0".to_vec()));
        assert_eq!(behind_prefix(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(behind_prefix(&[255, 255]), None);
        assert_eq!(behind_prefix(b""), None);
    }
}
