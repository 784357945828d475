//! Records and batches, byte by byte.

use proptest::prelude::*;

use crate::journal::log::batch::{BatchBuilder, RawBatch, TypeNames};
use crate::journal::log::bytes::Malformed;
use crate::journal::log::entry::{RawEntry, put_payload};
use crate::journal::log::{BeginsEntry, Entry, EventEntry, OwesEntry, Payload, Tip};

/// What an entry borrows from.
#[derive(Clone, Debug)]
struct Drawn {
    kind: u8,
    numbers: [u64; 4],
    flags: [bool; 6],
    hash: [u8; 20],
    id: [u8; 16],
    text: String,
    bytes: Vec<u8>,
    dropped: Option<u64>,
    settles: Vec<([u8; 16], u64)>,
}

impl Drawn {
    fn payload(&self) -> Payload<'_> {
        match self.dropped {
            Some(length) => Payload::Dropped { length, digest: &self.hash },
            None => Payload::Kept(&self.bytes),
        }
    }

    fn entry(&self) -> Entry<'_> {
        let [actor, sequence, back, timestamp] = self.numbers;
        let [names_state, keeps, ends, begins, owes, flag] = self.flags;
        match self.kind {
            0 => Entry::Name { code: actor, text: &self.text },
            1 => Entry::Blob { name: self.hash, is_state: flag, bytes: self.payload() },
            2 => Entry::State {
                actor,
                sequence,
                name: flag.then_some(self.hash),
                is_salted: flag && ends,
                state: self.payload(),
            },
            3 => Entry::Ended(actor),
            4 => Entry::Survived(actor),
            5 => Entry::Forgotten(actor),
            6 => Entry::Dropped { actor, from: sequence, upto: back, last: timestamp },
            7 => Entry::Row {
                actor,
                written: sequence,
                closed: back,
                hash: self.hash,
                name: self.hash,
                row: self.payload(),
            },
            8 => Entry::Paused { actor, is_paused: flag },
            _ => Entry::Event(EventEntry {
                is_salted: false,
                actor,
                sequence,
                back,
                timestamp,
                event_type: "failed",
                hash: self.hash,
                names_state,
                keeps,
                ends,
                begins: begins.then_some(BeginsEntry { id: self.id, attempts: back, manifest_path: &self.text }),
                owes: owes.then_some(OwesEntry { receiver: self.id, notice: &self.text }),
                settles: self.settles.clone(),
                key: ends.then_some(self.id),
                data: self.payload(),
            }),
        }
    }
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    let settles = proptest::collection::vec(any::<([u8; 16], u64)>(), 0..3);
    let ids = (any::<[u8; 20]>(), any::<[u8; 16]>());
    let dropped = proptest::option::of(0..u64::MAX >> 1);
    let drawn = (0..11u8, any::<[u64; 4]>(), any::<[bool; 6]>(), ids, ".{0,40}", bytes, dropped, settles);
    drawn.prop_map(|(kind, numbers, flags, (hash, id), text, bytes, dropped, settles)| Drawn {
        kind,
        numbers,
        flags,
        hash,
        id,
        text,
        bytes,
        dropped,
        settles,
    })
}

fn names() -> TypeNames {
    let mut names = TypeNames::default();
    names.add("started");
    names.add("failed");
    names
}

fn spell(entry: &Entry<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    entry.put_essence(&mut bytes, &mut Vec::new(), 1);
    put_payload(&entry.payload(), &mut bytes);
    bytes
}

proptest! {
    #[test]
    fn a_record_reads_as_it_was_written(drawn in drawn()) {
        let (entry, names) = (drawn.entry(), names());
        let bytes = spell(&entry);
        let raw = RawEntry::first(&bytes).expect("a record");
        prop_assert_eq!(raw.length, bytes.len());
        prop_assert_eq!(raw.understand(names.texts()), Ok(entry));
    }

    #[test]
    fn a_record_that_is_cut_off_is_none(drawn in drawn(), cut in any::<prop::sample::Index>()) {
        let bytes = spell(&drawn.entry());
        prop_assert!(RawEntry::first(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let names = names();
        if let Ok(raw) = RawEntry::first(&bytes)
            && let Ok(entry) = raw.understand(names.texts())
            && !matches!(&entry, Entry::Event(_))
        {
            prop_assert_eq!(&spell(&entry)[..], &bytes[..raw.length], "it has another spelling");
        }
    }

    #[test]
    fn a_batch_reads_as_it_was_written(drawn in proptest::collection::vec(drawn(), 0..6)) {
        let before = Tip { batch: 4, position: 9, digest: [3; 20], sum: [0; 16] };
        let mut builder = BatchBuilder::begin(Vec::new(), before);
        let at: Vec<_> = drawn.iter().map(|drawn| builder.push(&drawn.entry(), 1)).collect();
        let (bytes, header) = builder.finish(7, 99, 3, [5; 16]);
        let batch = RawBatch::first(&bytes).expect("a batch");
        prop_assert_eq!(batch.check(&before, 7, 99), Ok(()));
        prop_assert_eq!((batch.header, batch.length()), (header, bytes.len()));
        prop_assert_eq!(header.tip().batch, 5);
        let names = names();
        let entries: Vec<_> = batch.entries().map(|entry| entry.expect("a record")).collect();
        prop_assert_eq!(entries.len(), drawn.len());
        for (((place, raw), at), drawn) in entries.iter().zip(at).zip(&drawn) {
            prop_assert_eq!(*place, at);
            prop_assert_eq!(raw.understand(names.texts()), Ok(drawn.entry()));
        }
    }
}

/// Whether a batch is there, in that segment of that journal, behind `before`.
fn checked(bytes: &[u8], before: &Tip, segment: u32, journal: u64) -> Result<(), Malformed> {
    RawBatch::first(bytes)?.check(before, segment, journal)
}

fn small_batch() -> (Vec<u8>, Tip) {
    let before = Tip { batch: 1, position: 2, digest: [3; 20], sum: [0; 16] };
    let mut builder = BatchBuilder::begin(Vec::new(), before);
    builder
        .push(&Entry::State { actor: 1, sequence: 2, name: None, is_salted: false, state: Payload::Kept(b"state") }, 0);
    builder.push(&Entry::Ended(300), 0);
    (builder.finish(7, 99, 3, [5; 16]).0, before)
}

#[test]
fn a_batch_refuses_each_flipped_bit_and_each_cut() {
    let (bytes, before) = small_batch();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(checked(&bytes, &before, 7, 99).is_err(), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(checked(&bytes[..length], &before, 7, 99).is_err(), "{length} bytes");
    }
}

#[test]
fn a_batch_belongs_to_one_place_in_one_log() {
    let (bytes, before) = small_batch();
    assert!(checked(&bytes, &before, 7, 99).is_ok());
    let elsewhere = Err(Malformed("a batch is of another segment or journal"));
    assert_eq!(checked(&bytes, &before, 8, 99), elsewhere);
    assert_eq!(checked(&bytes, &before, 7, 98), elsewhere);
    let later = Tip { batch: 2, ..before };
    let out_of_order = Err(Malformed("a batch does not follow the one before it"));
    assert_eq!(checked(&bytes, &later, 7, 99), out_of_order);
    let other = Tip { digest: [4; 20], ..before };
    assert!(checked(&bytes, &other, 7, 99).is_err());
}

#[test]
fn a_batch_says_in_which_epoch_of_its_realm_it_was_written() {
    let (bytes, before) = small_batch();
    assert_eq!(RawBatch::first(&bytes).expect("a batch").header.epoch, 3);
    assert_eq!(checked(&bytes, &before, 7, 99), Ok(()));
}

#[test]
fn a_record_has_no_payload_where_its_kind_has_none() {
    let names = names();
    // Its kind, then the length of its essence and the essence, then twice the length of the payload and the payload.
    for bytes in [&[2, 1, 0, 2, 9][..], &[5, 1, 1, 2, 9], &[6, 1, 1, 2, 9], &[7, 1, 1, 2, 9], &[10, 2, 1, 1, 2, 9]] {
        let raw = RawEntry::first(bytes).expect("a record");
        let refused = Err(Malformed("a record has a payload, and its kind has none"));
        assert_eq!(raw.understand(names.texts()).map(|_| ()), refused, "{bytes:?}");
    }
}
