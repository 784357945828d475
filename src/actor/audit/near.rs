//! The lookup of quoted events: first among the events of the last two pages, then in the journal. A quoted event was
//! committed before the event that quotes it, most often just before.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{ReadResult, Step};
use crate::chain::{ChainEvent, StateOnChain};
use crate::journal::{ActorKey, JournalReader, is_unfit};

pub(super) struct Near<'a> {
    reader: &'a JournalReader,
    /// The events of the last two pages, by actor and sequence.
    at_hand: HashMap<(usize, u64), &'a ChainEvent>,
}

impl<'a> Near<'a> {
    pub(super) fn new(reader: &'a JournalReader, pages: [&'a [Step]; 2], actors: usize) -> Self {
        // A single actor quotes no other, so nothing is collected.
        let pages = if actors > 1 { &pages[..] } else { &[] };
        let steps = pages.iter().copied().flatten();
        Self { reader, at_hand: steps.map(|step| ((step.course, step.event.sequence), &step.event)).collect() }
    }

    pub(super) fn event(
        &self,
        (course, actor): (usize, ActorKey),
        sequence: u64,
    ) -> ReadResult<Option<Cow<'a, ChainEvent>>> {
        if let Some(event) = self.at_hand.get(&(course, sequence)) {
            return Ok(Some(Cow::Borrowed(event)));
        }
        let found = match self.reader.events(actor, sequence, 1, usize::MAX) {
            // If the chain does not lead to that event, the event is missing. The broken chain itself is a finding of
            // its own.
            Err(error) if is_unfit(&error) => Vec::new(),
            found => found?,
        };
        Ok(found.into_iter().find(|event| event.sequence == sequence).map(Cow::Owned))
    }

    /// What a chain says of the state after one of its events.
    pub(super) fn state(&self, actor: ActorKey, sequence: u64) -> ReadResult<StateOnChain> {
        match self.reader.vouched_at(actor, sequence) {
            Err(error) if is_unfit(&error) => Ok(StateOnChain::Lost(sequence)),
            vouched => vouched,
        }
    }
}
