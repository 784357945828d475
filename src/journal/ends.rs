//! The events of a chain that ended an incarnation.

use std::collections::BTreeSet;

use super::error::ReadResult;
use super::index::Landmark;
use super::reader::{JournalReader, before, kind};
use super::record::{ActorKey, ActorRow, EventPlace};
use crate::base::id::ActorId;
use crate::chain::{ChainEvent, EventKind};

impl JournalReader {
    /// The `failed` and `stopped` events of a chain, the oldest first, except a `stopped` that another end follows before the
    /// next start: such a one names no delivery as dropped.
    pub(crate) fn ends(&self, actor: ActorKey) -> ReadResult<Vec<ChainEvent>> {
        let mut places: BTreeSet<(u64, u64)> = BTreeSet::new();
        let mut add = |place: EventPlace| _ = places.insert((place.sequence, place.position));
        self.chain_end(actor)?.iter().for_each(|end| add(end.last));
        for landmark in [Landmark::Failed, Landmark::Started] {
            let mut upto = Some(u64::MAX);
            while let Some(last) = upto
                && let Some(place) = self.landmark(actor, landmark, last)?
            {
                match landmark {
                    Landmark::Started => before(&self.stored_at(actor, place)?)?.into_iter().for_each(&mut add),
                    Landmark::Failed | Landmark::InitReturned => add(place),
                }
                upto = place.sequence.checked_sub(1);
            }
        }
        let mut ends = Vec::new();
        for (sequence, position) in places {
            let place = EventPlace { sequence, position };
            if matches!(kind(&self.stored_at(actor, place)?), Some(EventKind::Failed | EventKind::Stopped)) {
                ends.push(self.event_at(actor, place)?);
            }
        }
        Ok(ends)
    }

    /// The row of an actor, if it is in this journal.
    pub(crate) fn actor_of(&self, id: ActorId) -> ReadResult<Option<ActorRow>> {
        self.ask(|index| index.actor_by_id(id))
    }

    /// An event by its place in its chain.
    pub(crate) fn event_of(&self, actor: ActorKey, sequence: u64) -> ReadResult<Option<ChainEvent>> {
        let place = self.place(actor, sequence)?;
        place.map(|place| self.event_at(actor, place)).transpose()
    }
}
