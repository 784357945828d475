//! The tables of actors in the index against a simple model: all versions that were ever written.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::chain::{EventHash, sha1};
use crate::journal::rows::{CarriedRow, KeyRange, RowWrite, TableAt};

/// Random numbers that are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        u64::from_be_bytes(*sha1(&self.0.to_be_bytes()).first_chunk().expect("8 bytes")) % below
    }
}

const ACTOR: i64 = 1;

/// By key and by the event that closed the transition, what was written.
type Versions = BTreeMap<(Vec<u8>, u64), Option<Vec<u8>>>;

fn at(versions: &Versions, upto: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut rows = BTreeMap::new();
    for ((key, closed), value) in versions {
        if *closed <= upto {
            match value {
                Some(value) => _ = rows.insert(key.clone(), value.clone()),
                None => _ = rows.remove(key),
            }
        }
    }
    rows
}

fn agree(index: &Index, versions: &Versions, upto: u64) {
    let (table, model) = (TableAt { actor: ACTOR, era: 0, upto }, at(versions, upto));
    let rows = index.rows(&table, KeyRange::ALL, usize::MAX, u64::MAX).expect("rows");
    let found: BTreeMap<_, _> = rows.iter().map(|(key, row)| (key.to_vec(), row.value.to_vec())).collect();
    assert!(rows.is_sorted_by_key(|(key, _)| key.clone()) && found.len() == rows.len(), "in order, and each once");
    assert_eq!(found, model, "after event {upto}");
    for key in 0..20_u8 {
        let row = index.row(&table, &[key]).expect("an answer");
        assert_eq!(row.map(|row| row.value.to_vec()).as_ref(), model.get(&vec![key]), "key {key} after event {upto}");
    }
    if let Some(count) = index.row_count(&table, &[]).expect("an answer") {
        assert_eq!(count, model.len() as u64, "after event {upto}");
    }
    let page =
        index.rows(&table, KeyRange { from: &[5], is_behind: true, end: Some(&[9]) }, 2, u64::MAX).expect("rows");
    let expected: Vec<_> = model.range(vec![6]..vec![9]).take(2).map(|(key, _)| key.clone()).collect();
    assert_eq!(page.iter().map(|(key, _)| key.to_vec()).collect::<Vec<_>>(), expected);
}

fn write(key: u8, closed: u64, value: Option<Vec<u8>>) -> RowWrite {
    let hash = EventHash(sha1(&closed.to_be_bytes()));
    RowWrite { key: Arc::from([key]), written: closed - 1, hash, value: value.map(Arc::from) }
}

#[test]
fn rows_are_those_of_the_model_now_and_at_any_event_wherever_the_layers_are() {
    for seed in 0..40 {
        let mut dice = Dice(seed << 32);
        let dir = tempfile::tempdir().expect("a directory");
        let index = Index::open(dir.path()).expect("an index").index;
        let mut versions = Versions::new();
        // What comes late: the log has it behind what came after it.
        let mut late: Vec<(u64, RowWrite)> = Vec::new();
        let (mut sequence, mut batch) = (1, 0);
        for _ in 0..60 {
            sequence += 1 + dice.roll(4);
            batch += 1;
            let mut writes = BTreeMap::new();
            for _ in 0..=dice.roll(4) {
                let (key, value) = (dice.roll(20) as u8, (dice.roll(3) > 0).then(|| sequence.to_be_bytes().to_vec()));
                writes.insert(key, write(key, sequence, value.clone()));
                versions.insert((vec![key], sequence), value);
            }
            let (now, then): (Vec<_>, Vec<_>) = writes.into_values().partition(|_| dice.roll(8) > 0);
            late.extend(then.into_iter().map(|write| (sequence, write)));
            let fact = Fact::Rows { actor: ACTOR, closed: sequence, writes: now };
            index.apply(vec![fact], IndexedTo { batch, position: sequence });
            if dice.roll(5) == 0 {
                index.fill();
            }
        }
        while !late.is_empty() {
            batch += 1;
            let (closed, write) = late.swap_remove(dice.roll(late.len() as u64) as usize);
            let row = Box::new(CarriedRow { closed, write });
            index.apply(vec![Fact::Carried { actor: ACTOR, row }], IndexedTo { batch, position: sequence });
            if dice.roll(3) == 0 {
                index.fill();
            }
        }
        for upto in (0..=sequence).step_by(7).chain([u64::MAX]) {
            agree(&index, &versions, upto);
        }
        index.fill();
        (0..=sequence).step_by(5).chain([u64::MAX]).for_each(|upto| agree(&index, &versions, upto));
        // After a prune, the tables from there on are as they were.
        let upto = sequence / 2;
        let dropped = Fact::StatesDropped { actor: ACTOR, events: 0..upto };
        index.apply(vec![dropped], IndexedTo { batch: batch + 1, position: sequence });
        index.fill();
        (upto..=sequence).step_by(3).chain([u64::MAX]).for_each(|upto| agree(&index, &versions, upto));
    }
}
