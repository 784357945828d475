//! The lookup of quoted events: first among the events of the last two pages, then in the journal. A quoted event was
//! committed before the event that quotes it, most often just before.

use std::borrow::Cow;

use super::{Page, ReadResult};
use crate::chain::{ChainEvent, StateOnChain};
use crate::journal::{ActorKey, JournalReader, is_unfit};

pub(super) struct Near<'a> {
    pub(super) reader: &'a JournalReader,
    pub(super) pages: [&'a Page; 2],
}

impl<'a> Near<'a> {
    pub(super) fn event(
        &self,
        (course, actor): (usize, ActorKey),
        sequence: u64,
    ) -> ReadResult<Option<Cow<'a, ChainEvent>>> {
        if let Some(event) = self.pages.iter().find_map(|page| page.event(course, sequence)) {
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
