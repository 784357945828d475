//! A batch while it is put together: what its segment has already is left out.

use std::collections::HashSet;

use super::batch::{BatchBuilder, TypeNames};
use super::directory::SegmentDirectory;
use super::entry::Entry;

/// What the segment that grows has names and large parts of.
pub(super) struct Dictionary {
    pub(super) names: TypeNames,
    pub(super) blobs: HashSet<[u8; 20]>,
}

impl Dictionary {
    pub(super) fn of(directory: &SegmentDirectory) -> Self {
        Self { names: directory.names.clone(), blobs: directory.blobs.keys().copied().collect() }
    }
}

/// A batch that is being put together for the segment that grows.
pub(in crate::journal) struct BatchBuilding {
    pub(super) segment: u32,
    pub(super) builder: BatchBuilder,
    pub(super) dictionary: Dictionary,
    pub(super) notes: Vec<(Note, usize)>,
}

/// What the directory will say of a record.
pub(super) enum Note {
    Event,
    Name(String),
    Blob([u8; 20]),
    State(u64, u64),
}

impl BatchBuilding {
    /// The segment that it will lie in.
    pub(in crate::journal) fn segment(&self) -> u32 {
        self.segment
    }

    /// The position of the next event.
    pub(in crate::journal) fn next_position(&self) -> u64 {
        self.builder.next_position()
    }

    /// Appends a record. A large part that the segment has already is left out.
    pub(in crate::journal) fn push(&mut self, entry: &Entry<'_>) {
        let (note, code) = match entry {
            Entry::Event(event) => (Some(Note::Event), self.code_of(event.event_type)),
            Entry::Blob { name, .. } => {
                if !self.dictionary.blobs.insert(*name) {
                    return;
                }
                (Some(Note::Blob(*name)), 0)
            }
            Entry::State { actor, sequence, .. } => (Some(Note::State(*actor, *sequence)), 0),
            Entry::Name { text, .. } => (Some(Note::Name((*text).to_owned())), 0),
            Entry::Ended(_)
            | Entry::Survived(_)
            | Entry::Forgotten(_)
            | Entry::Paused { .. }
            | Entry::Dropped { .. }
            | Entry::Row { .. } => (None, 0),
        };
        let at = self.builder.push(entry, code);
        if let Some(note) = note {
            self.notes.push((note, at));
        }
    }

    pub(super) fn code_of(&mut self, text: &str) -> u64 {
        if let Some(code) = self.dictionary.names.code(text) {
            return code;
        }
        let code = self.dictionary.names.add(text);
        self.push(&Entry::Name { code, text });
        code
    }
}
