//! Reads the journal in its own order: the events of all actors, as they were committed.

use std::collections::HashMap;

use super::error::{ReadResult, unfit};
use super::reader::JournalReader;
use super::record::ActorKey;
use crate::base::id::ActorId;
use crate::chain::ChainEvent;

/// An event and its place among those of all actors.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) position: u64,
    pub(crate) actor: ActorId,
    pub(crate) event: ChainEvent,
}

/// A stretch of the journal.
#[derive(Debug, Default)]
pub(crate) struct Stretch {
    pub(crate) events: Vec<Placed>,
    /// Where the next stretch begins; as given where there was nothing.
    pub(crate) next: u64,
    /// Whether anything was looked at, wanted or not.
    pub(crate) advanced: bool,
}

/// How much one stretch may take.
pub(crate) struct StretchBounds {
    /// Events looked at.
    pub(crate) looked_at: u64,
    /// Bytes of data beyond the first event.
    pub(crate) bytes: usize,
}

impl JournalReader {
    /// The position behind the last committed event.
    pub(crate) fn end(&self) -> ReadResult<u64> {
        let last = self.log.tip().position;
        Ok(if last == 0 { 0 } else { last + 1 })
    }

    /// The wanted events from `position` on. The data of those that are not wanted is not put together.
    pub(crate) fn stretch(
        &self,
        position: u64,
        bounds: &StretchBounds,
        mut wanted: impl FnMut(ActorKey, &str) -> ReadResult<bool>,
    ) -> ReadResult<Stretch> {
        let mut found = Stretch { next: position, ..Stretch::default() };
        let (first, last) = (position.max(1), self.log.tip().position);
        let upto = last.min(first.saturating_add(bounds.looked_at.saturating_sub(1)));
        let (mut bytes, mut actors) = (0usize, HashMap::new());
        for position in first..=upto {
            let lost = || unfit(format!("the event at position {position} is not there"));
            let stored = self.log.event(position)?.ok_or_else(lost)?;
            let key = stored.actor.cast_signed();
            let actor = match actors.get(&key) {
                Some(actor) => *actor,
                None => {
                    let row = self.ask(|index| index.actor(key))?;
                    let actor = row.ok_or_else(|| unfit(format!("the actor of key {key} is not known")))?.actor;
                    actors.insert(key, actor);
                    actor
                }
            };
            if wanted(actor, &stored.event_type)? {
                let event = self.event(&stored, self.hash_before(actor, &stored)?)?;
                bytes = bytes.saturating_add(event.data.len());
                if bytes > bounds.bytes && !found.events.is_empty() {
                    break;
                }
                found.events.push(Placed { position, actor: actor.id, event });
            }
            (found.next, found.advanced) = (position + 1, true);
        }
        Ok(found)
    }

    /// The sequence of the last event of a chain.
    pub(crate) fn head_sequence(&self, actor: ActorKey) -> ReadResult<Option<u64>> {
        Ok(self.chain_end(actor)?.map(|end| end.last.sequence))
    }

    /// Whether an actor is listed no longer.
    pub(crate) fn is_forgotten(&self, actor: ActorKey) -> ReadResult<bool> {
        Ok(!self.ask(|index| index.is_listed(actor.key))?)
    }

    /// Whether an operator has the actor paused.
    pub(crate) fn is_paused(&self, actor: ActorKey) -> ReadResult<bool> {
        self.ask(|index| index.is_paused(actor.key))
    }

    /// The parent of an actor that has ever begun.
    pub(crate) fn parent(&self, actor: ActorId) -> ReadResult<Option<ActorId>> {
        self.ask(|index| index.parent(actor))
    }
}
