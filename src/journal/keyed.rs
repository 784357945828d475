//! Finding the call that was made for an idempotency key, and what came of it.

use super::error::ReadResult;
use super::reader::JournalReader;
use super::record::ActorKey;
use crate::base::id::ActorId;
use crate::chain::{ChainEvent, EventKind, KeyDigest};

/// How many events of a transition are read at once.
const PAGE: u64 = 64;

/// A call with an idempotency key.
pub(crate) struct KeyedCall {
    pub(crate) call: ChainEvent,
    /// The event that ended it; none while the actor is at work.
    pub(crate) closing: Option<ChainEvent>,
}

impl JournalReader {
    /// The newest call of an actor with this key.
    pub(crate) fn keyed_call(&self, actor: ActorKey, key: KeyDigest) -> ReadResult<Option<KeyedCall>> {
        let Some(place) = self.ask(|index| index.keyed(key, actor.key))? else { return Ok(None) };
        let call = self.event_at(actor, place)?;
        let mut from = place.sequence + 1;
        loop {
            let events = self.events(actor, from, PAGE, usize::MAX)?;
            from += events.len() as u64;
            let is_last = events.is_empty();
            let closing = events.into_iter().find(|event| match event.kind() {
                Some(EventKind::Return | EventKind::Refused | EventKind::Failed | EventKind::Stopped) => true,
                // A start goes on with the transition.
                Some(EventKind::Started | EventKind::Call | EventKind::Intent | EventKind::HostCall) | None => false,
            });
            if closing.is_some() || is_last {
                return Ok(Some(KeyedCall { call, closing }));
            }
        }
    }

    /// An actor that was called with this key.
    pub(crate) fn holder_of(&self, key: KeyDigest) -> ReadResult<Option<ActorId>> {
        let Some(holder) = self.ask(|index| index.holder(key))? else { return Ok(None) };
        Ok(self.ask(|index| index.actor(holder))?.map(|row| row.actor.id))
    }
}
