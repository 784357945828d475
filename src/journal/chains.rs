//! Where the events of one chain stand among those of all actors.
//!
//! ```text
//!   head ──▶ last event ──previous──▶ event ──previous──▶ … ──▶ first event
//!                                       ▲
//!                                   milestones
//! ```
//!
//! An event says where the one before it on its chain stands, and the index where the last one does. One event in 64 is a
//! milestone, which the index names, and whatever is sought is at most 63 steps from one, or from the last.
//!
//! Whoever walks checks each step, so that a place that is wrong is an error, and never another history.

use std::ops::ControlFlow;

use super::error::{ReadResult, unfit};
use super::index::Landmark;
use super::log::StoredEvent;
use super::reader::{JournalReader, before, place_of};
use super::record::{ActorKey, ChainEnd, EventPlace};

impl JournalReader {
    pub(super) fn chain_end(&self, actor: ActorKey) -> ReadResult<Option<ChainEnd>> {
        let end = self.ask(|index| index.head(actor.key))?;
        // A reader that has opened its log sees what that held then.
        let last = self.log.tip().position;
        let Some(end) = end.filter(|end| end.last.position > last) else { return Ok(end) };
        Err(unfit(format!(
            "the index says that a chain ends at position {}, but the log ends at {last}",
            end.last.position
        )))
    }

    /// The event that should stand at a place.
    pub(super) fn stored_at(&self, actor: ActorKey, place: EventPlace) -> ReadResult<StoredEvent> {
        let lost = || unfit(format!("event {} does not stand where it should", place.sequence));
        let event = self.log.event(place.position)?.ok_or_else(lost)?;
        if event.actor != actor.key.unsigned_abs() || event.sequence != place.sequence {
            return Err(lost());
        }
        Ok(event)
    }

    /// Goes back along a chain, from the event that stands at `from`.
    pub(super) fn walk_back(
        &self,
        actor: ActorKey,
        from: EventPlace,
        mut visit: impl FnMut(&StoredEvent) -> ReadResult<ControlFlow<()>>,
    ) -> ReadResult<()> {
        let mut next = Some(from);
        while let Some(place) = next {
            let event = self.stored_at(actor, place)?;
            if visit(&event)?.is_break() {
                return Ok(());
            }
            next = before(&event)?;
        }
        Ok(())
    }

    /// Goes back along the whole chain, from its end.
    pub(super) fn walk_from_the_end(
        &self,
        actor: ActorKey,
        visit: impl FnMut(&StoredEvent) -> ReadResult<ControlFlow<()>>,
    ) -> ReadResult<()> {
        match self.chain_end(actor)? {
            Some(end) => self.walk_back(actor, end.last, visit),
            None => Ok(()),
        }
    }

    /// Goes back along the chain, from event `sequence`, or from the last where it has not come so far.
    pub(super) fn walk_from(
        &self,
        actor: ActorKey,
        sequence: u64,
        mut visit: impl FnMut(&StoredEvent) -> ReadResult<ControlFlow<()>>,
    ) -> ReadResult<()> {
        let Some(from) = self.milestone_or_end(actor, sequence)? else { return Ok(()) };
        self.walk_back(actor, from, |event| match event.sequence <= sequence {
            true => visit(event),
            false => Ok(ControlFlow::Continue(())),
        })
    }

    /// The first milestone from event `sequence` on; the last event where there is none.
    fn milestone_or_end(&self, actor: ActorKey, sequence: u64) -> ReadResult<Option<EventPlace>> {
        // Milestones are not summed up: one that leads elsewhere is as good as none. If the event is there and cannot be
        // read, the walk from the end meets it.
        let milestone = self.ask(|index| index.milestone_from(actor.key, sequence))?;
        match milestone.filter(|milestone| self.stored_at(actor, *milestone).is_ok()) {
            Some(milestone) => Ok(Some(milestone)),
            None => Ok(self.chain_end(actor)?.map(|end| end.last)),
        }
    }

    /// The place of the last event of this kind up to `sequence`.
    pub(super) fn landmark(&self, actor: ActorKey, kind: Landmark, sequence: u64) -> ReadResult<Option<EventPlace>> {
        self.ask(|index| index.landmark(actor.key, kind, sequence))
    }

    /// Where event `sequence` stands.
    pub(super) fn place(&self, actor: ActorKey, sequence: u64) -> ReadResult<Option<EventPlace>> {
        let mut found = None;
        self.walk_from(actor, sequence, |event| {
            found = Some(place_of(event)).filter(|place| place.sequence == sequence);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(found)
    }

    /// The first event of the chain behind a position in the order of all; the one after the last where there is none.
    pub(crate) fn first_behind(&self, actor: ActorKey, position: u64) -> ReadResult<u64> {
        let Some(end) = self.chain_end(actor)? else { return Ok(0) };
        let (mut low, mut high) = (0, end.last.sequence + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.place(actor, middle)?.is_some_and(|place| place.position <= position) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(low)
    }

    /// The events from event `sequence` to the first milestone on or behind it, or to the end, the last first. None where
    /// there is no such event.
    pub(super) fn run_from(&self, actor: ActorKey, sequence: u64) -> ReadResult<Option<Vec<StoredEvent>>> {
        let to = self.milestone_or_end(actor, sequence)?;
        let Some(to) = to.filter(|to| to.sequence >= sequence) else { return Ok(None) };
        let mut run = Vec::new();
        self.walk_back(actor, to, |event| {
            run.push(event.clone());
            Ok(if event.sequence > sequence { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        Ok(Some(run))
    }
}
