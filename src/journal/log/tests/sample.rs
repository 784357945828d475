//! A log with something of everything in it, the same each time.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use minicbor::Encoder;
use minicbor::data::Tag;
use sha1::{Digest, Sha1};

use crate::journal::durability::Durability;
use crate::journal::log::{
    BatchBuilding, BatchLog, BeginsEntry, Entry, EventEntry, Marked, OwesEntry, Payload, Segments, Tip,
};

pub(super) const JOURNAL: [u8; 16] = *b"a journal's name";

/// Something above 4,096 bytes, so that a segment of the unit tests is full with it.
pub(super) fn large_part() -> Vec<u8> {
    (0..4_100u32).map(|at| ((at * at) >> 3) as u8).collect()
}

/// Nothing yet, and known by [`JOURNAL`].
pub(super) fn new_log(dir: &Path) -> Segments {
    let marked = Marked {
        journal: JOURNAL,
        batch: 0,
        position: 0,
        digest: [0; 20],
        durability: Durability::Relaxed,
        boot: String::new(),
    };
    Segments::open(dir, Durability::Relaxed, Some(&marked)).expect("a new log").log
}

/// How far the chains of a sample have come.
#[derive(Default)]
pub(super) struct SampleChains {
    /// Sequence, hash and position of the last event of each actor.
    ends: HashMap<u64, (u64, [u8; 20], u64)>,
    /// The rows that are summed up, by the number of their table and their key: `docs/journal.md`, "The standing sum".
    rows: BTreeMap<(u8, [u64; 2]), u128>,
    /// Where the event stands that led to the newest state of an actor.
    states: HashMap<u64, u64>,
}

impl SampleChains {
    /// The next event of an actor; `whole` is its data with large parts in it, `stored` without them.
    pub(super) fn event<'a>(
        &mut self,
        batch: &BatchBuilding,
        actor: u64,
        event_type: &'a str,
        whole: &[u8],
        stored: &'a [u8],
    ) -> EventEntry<'a> {
        let end = self.ends.get(&actor).copied();
        let position = batch.next_position();
        let sequence = end.map_or(0, |(sequence, ..)| sequence + 1);
        let timestamp = 1_700_000_000_000 + position;
        let parent = end.map(|(_, hash, _)| hash);
        let hash = event_hash(sequence, parent.as_ref(), timestamp, event_type, whole);
        self.ends.insert(actor, (sequence, hash, position));
        let landmark = ["started", "failed"].into_iter().zip(0..).find(|(word, _)| *word == event_type);
        if let Some((_, code)) = landmark {
            self.row(4, [actor, sequence], &[&numbers(&[actor]), &[code], &numbers(&[sequence, position])]);
        }
        if event_type == "started" {
            self.states.insert(actor, position);
        }
        let state = self.states.get(&actor).copied().unwrap_or(u64::MAX);
        self.row(1, [actor, 0], &[&numbers(&[actor, position, sequence]), &hash, &numbers(&[state])]);
        EventEntry {
            is_salted: false,
            actor,
            sequence,
            back: end.map_or(0, |(.., before)| position - before),
            timestamp,
            event_type,
            hash,
            names_state: false,
            keeps: false,
            ends: false,
            begins: None,
            owes: None,
            settles: Vec::new(),
            key: None,
            data: Payload::Kept(stored),
        }
    }

    fn row(&mut self, table: u8, key: [u64; 2], columns: &[&[u8]]) {
        let digest = Sha1::digest([&[table][..], &columns.concat()].concat());
        self.rows.insert((table, key), u128::from_be_bytes(*digest.first_chunk().expect("20 bytes")));
    }

    fn sum(&self) -> [u8; 16] {
        self.rows.values().fold(0, |sum: u128, part| sum.wrapping_add(*part)).to_be_bytes()
    }
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// Section 2 of `docs/chain-format.md`.
fn event_hash(sequence: u64, parent: Option<&[u8; 20]>, timestamp: u64, event_type: &str, data: &[u8]) -> [u8; 20] {
    let mut text = b"theater-chain-event-v1\0".to_vec();
    text.extend_from_slice(&sequence.to_be_bytes());
    match parent {
        Some(parent) => {
            text.push(1);
            text.extend_from_slice(parent);
        }
        None => text.push(0),
    }
    text.extend_from_slice(&timestamp.to_be_bytes());
    text.extend_from_slice(&(event_type.len() as u32).to_be_bytes());
    text.extend_from_slice(event_type.as_bytes());
    text.extend_from_slice(&(data.len() as u64).to_be_bytes());
    text.extend_from_slice(&Sha1::digest(data));
    Sha1::digest(text).into()
}

/// `{"params": part}`, whole and as it is stored.
pub(super) fn with_part(part: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut whole, mut stored) = (Vec::new(), Vec::new());
    let mut encoder = Encoder::new(&mut whole);
    encoder.map(1).and_then(|to| to.str("params")).and_then(|to| to.bytes(part)).expect(INFALLIBLE);
    let mut encoder = Encoder::new(&mut stored);
    encoder.tag(Tag::new(21_576)).and_then(|to| to.map(1)).and_then(|to| to.str("params")).expect(INFALLIBLE);
    encoder.tag(Tag::new(21_570)).and_then(|to| to.bytes(&Sha1::digest(part))).expect(INFALLIBLE);
    (whole, stored)
}

const INFALLIBLE: &str = "writing to memory cannot fail";

/// Appends a batch with something of everything in it.
pub(super) fn append_everything(log: &Segments, chains: &mut SampleChains) -> Tip {
    let mut batch = log.begin().expect("a batch");
    let begins = BeginsEntry { id: [7; 16], attempts: 1, manifest_path: "/srv/counter.toml" };
    let started = chains.event(&batch, 1, "started", b"\xa0", b"\xa0");
    batch.push(&Entry::Event(EventEntry { is_salted: false, begins: Some(begins), names_state: true, ..started }));
    let part = large_part();
    let (whole, stored) = with_part(&part);
    batch.push(&Entry::Blob { name: Sha1::digest(&part).into(), is_state: false, bytes: Payload::Kept(&part) });
    let sent = chains.event(&batch, 1, "intent ntwk:theater/runtime.send", &whole, &stored);
    let owes = OwesEntry { receiver: [8; 16], notice: "" };
    batch.push(&Entry::Event(EventEntry { is_salted: false, owes: Some(owes), ..sent }));
    let taken = chains.event(&batch, 2, "call ntwk:theater/actor.handle", &whole, &stored);
    batch.push(&Entry::Event(EventEntry { is_salted: false, settles: vec![([7; 16], 1)], ..taken }));
    let state = b"a state";
    let name = Some(Sha1::digest(state).into());
    batch.push(&Entry::State { actor: 2, sequence: 0, name, is_salted: false, state: Payload::Kept(state) });
    batch.push(&Entry::State { actor: 1, sequence: 1, name: None, is_salted: false, state: Payload::Kept(b"") });
    let failed = chains.event(&batch, 2, "failed", b"\xf6", b"\xf6");
    batch.push(&Entry::Event(EventEntry { is_salted: false, ends: true, keeps: true, ..failed }));
    batch.push(&Entry::Ended(2));
    batch.push(&Entry::Survived(1));
    batch.push(&Entry::Forgotten(2));
    batch.push(&Entry::Dropped { actor: 1, from: 0, upto: 300, last: 299 });
    // The first actor is listed, with no attempts since it survived; of the states, those of the second are kept.
    let (started, segment) = (chains.states[&1], batch.segment().into());
    let listed =
        [&numbers(&[1])[..], &[1], &numbers(&[0]), &[1], &numbers(&[started]), begins.manifest_path.as_bytes()];
    chains.row(2, [1, 0], &listed);
    chains.row(5, [2, 0], &[&numbers(&[2, 0, segment])]);
    chains.row(5, [2, 1], &[&numbers(&[2, 1, u64::MAX])]);
    log.append(batch, chains.sum()).expect("appended")
}

/// Appends a batch of one event of the first actor.
pub(super) fn append_event(log: &Segments, chains: &mut SampleChains, event_type: &str, data: &[u8]) -> Tip {
    let mut batch = log.begin().expect("a batch");
    let event = chains.event(&batch, 1, event_type, data, data);
    batch.push(&Entry::Event(event));
    log.append(batch, chains.sum()).expect("appended")
}

/// Makes a log of one sealed segment, and `batches` small batches in the one that grows.
pub(super) fn make(dir: &Path, batches: usize) -> Segments {
    let log = new_log(dir);
    let mut chains = SampleChains::default();
    append_everything(&log, &mut chains);
    for number in 0..batches {
        append_event(&log, &mut chains, "call ntwk:theater/actor.handle", &[number as u8; 30]);
    }
    log
}

/// Everything that a log says, as text, a batch a line.
pub(super) fn said(log: &Segments) -> Vec<String> {
    let mut lines = Vec::new();
    let shown = log.read(0, &mut |batch| {
        lines.push(format!("{} {} {:?} {:?}", batch.segment, batch.first, batch.entries, batch.tip));
        Ok(())
    });
    shown.expect("a log that can be read");
    lines
}

/// All faults that reading the whole log finds.
pub(super) fn faults(log: &Segments) -> Vec<String> {
    log.walk_behind(0).faults()
}
