//! Where in a segment its things stand: events by position, large parts by name, stored states by actor and sequence.
//!
//! It is the footer of a sealed segment, and comes from the records alone: where a footer is missing or damaged, a scan of
//! the segment makes it anew. Nobody else names places in files, so that a segment can be written anew with less in it.

use std::collections::{BTreeMap, HashMap};

use super::batch::TypeNames;
use super::bytes::{Bytes, Malformed, put_number, put_text};
use super::entry::Entry;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SegmentDirectory {
    /// The position of the first event.
    pub(super) first: u64,
    /// Where each event stands.
    pub(super) events: Vec<u32>,
    pub(super) names: TypeNames,
    pub(super) blobs: HashMap<[u8; 20], u32>,
    pub(super) states: BTreeMap<(u64, u64), u32>,
}

impl SegmentDirectory {
    pub(super) fn begin(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    /// Notes the record at `at`.
    pub(super) fn note(&mut self, entry: &Entry<'_>, at: u32) -> Result<(), Malformed> {
        match entry {
            Entry::Event(_) => self.events.push(at),
            Entry::Name { code, text } => self.names.learn((*code, text))?,
            Entry::Blob { name, .. } => _ = self.blobs.insert(*name, at),
            Entry::State { actor, sequence, .. } => _ = self.states.insert((*actor, *sequence), at),
            Entry::Ended(_)
            | Entry::Survived(_)
            | Entry::Forgotten(_)
            | Entry::Paused { .. }
            | Entry::Dropped { .. }
            | Entry::Row { .. } => {}
        }
        Ok(())
    }

    pub(super) fn event(&self, position: u64) -> Option<u32> {
        let index = position.checked_sub(self.first)?;
        self.events.get(usize::try_from(index).ok()?).copied()
    }

    pub(super) fn put(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.first.to_le_bytes());
        put_number(to, self.events.len() as u64);
        self.events.iter().for_each(|at| to.extend_from_slice(&at.to_le_bytes()));
        put_number(to, self.names.texts().len() as u64);
        self.names.texts().iter().for_each(|text| put_text(to, text));
        let mut blobs: Vec<_> = self.blobs.iter().collect();
        blobs.sort_unstable();
        put_number(to, blobs.len() as u64);
        for (name, at) in blobs {
            to.extend_from_slice(name);
            to.extend_from_slice(&at.to_le_bytes());
        }
        put_number(to, self.states.len() as u64);
        for ((actor, sequence), at) in &self.states {
            put_number(to, *actor);
            put_number(to, *sequence);
            to.extend_from_slice(&at.to_le_bytes());
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut read = Bytes { rest: bytes };
        let mut directory = Self::begin(read.u64()?);
        let events = read.length()?;
        let places = read.take(events.checked_mul(4).ok_or(Malformed("a directory is too large"))?)?;
        directory.events = places.as_chunks().0.iter().map(|place| u32::from_le_bytes(*place)).collect();
        for _ in 0..read.number()? {
            directory.names.add(read.text()?);
        }
        for _ in 0..read.number()? {
            directory.blobs.insert(read.array()?, read.u32()?);
        }
        for _ in 0..read.number()? {
            directory.states.insert((read.number()?, read.number()?), read.u32()?);
        }
        if read.rest.is_empty() { Ok(directory) } else { Err(Malformed("a directory says more than it has")) }
    }
}
