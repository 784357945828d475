//! What the index can be asked.

use std::collections::BTreeMap;
use std::ops::Range;

use super::delta::HeadPatch;
use super::fact::{
    ActorRow, Cause, ChainEnd, EventPlace, Kept, Landmark, Listing, Pending, Promised, Unsaid, milestone_at_or_after,
};
use super::{Index, IndexError, Peek, tables};
use crate::base::id::ActorId;
use crate::chain::KeyDigest;

type Result<T> = std::result::Result<T, IndexError>;

impl Index {
    /// Every actor, in the order in which they were first started.
    pub(in crate::journal) fn actors(&self) -> Result<Vec<ActorRow>> {
        self.ask(
            |delta| delta.actors(),
            |connection, above| {
                let mut rows = tables::actors(connection)?;
                for (actor, patch) in above {
                    if let Some(listing) = patch.over(rows.remove(&actor)) {
                        rows.insert(actor, listing);
                    }
                }
                Ok(rows.into_values().map(|listing| listing.row).collect())
            },
        )
    }

    pub(in crate::journal) fn actor(&self, actor: i64) -> Result<Option<ActorRow>> {
        Ok(self.listing(actor)?.map(|listing| listing.row))
    }

    pub(in crate::journal) fn actor_by_id(&self, id: ActorId) -> Result<Option<ActorRow>> {
        self.key_of(id)?.map_or(Ok(None), |actor| self.actor(actor))
    }

    /// The actor that has spawned this one.
    pub(in crate::journal) fn parent(&self, id: ActorId) -> Result<Option<ActorId>> {
        Ok(self.actor_by_id(id)?.and_then(|row| row.parent))
    }

    /// How many starts in a row have resumed the actor's open transition and got no further.
    pub(in crate::journal) fn attempts(&self, actor: i64) -> Result<u64> {
        Ok(self.unsaid(actor)?.map_or(0, |unsaid| unsaid.attempts))
    }

    /// Whether there is such an actor that was not forgotten.
    pub(in crate::journal) fn is_listed(&self, actor: i64) -> Result<bool> {
        Ok(self.unsaid(actor)?.is_some_and(|unsaid| unsaid.listed))
    }

    /// Whether an operator has the actor paused.
    pub(in crate::journal) fn is_paused(&self, actor: i64) -> Result<bool> {
        self.look_up(
            |delta| delta.paused(actor).map_or(Peek::Ask(()), Peek::Answer),
            |connection, ()| tables::is_paused(connection, actor),
        )
    }

    /// The key for the next actor.
    pub(in crate::journal) fn next_key(&self) -> Result<i64> {
        self.ask(
            |delta| delta.last_key(),
            |connection, above| Ok(tables::last_key(connection)?.max(above).map_or(1, |last| last.saturating_add(1))),
        )
    }

    fn key_of(&self, id: ActorId) -> Result<Option<i64>> {
        self.look_up(
            |delta| match delta.key_of(id) {
                Some(key) => Peek::Answer(Some(key)),
                None => Peek::Ask(()),
            },
            |connection, ()| tables::key_of(connection, id),
        )
    }

    fn listing(&self, actor: i64) -> Result<Option<Listing>> {
        self.look_up(
            |delta| {
                let patch = delta.actor(actor);
                if patch.begun.is_some() { Peek::Answer(patch.over(None)) } else { Peek::Ask(patch) }
            },
            |connection, patch| Ok(patch.over(tables::actor(connection, actor)?)),
        )
    }

    pub(super) fn unsaid(&self, actor: i64) -> Result<Option<Unsaid>> {
        self.look_up(
            |delta| {
                let patch = delta.actor(actor);
                match patch.over(None) {
                    Some(listing) => Peek::Answer(Some(listing.unsaid())),
                    None => Peek::Ask(patch),
                }
            },
            |connection, patch| {
                let mut unsaid = tables::unsaid(connection, actor)?;
                if let Some(Unsaid { alive, attempts, listed, .. }) = &mut unsaid {
                    patch.change(alive, attempts, listed);
                }
                Ok(unsaid)
            },
        )
    }

    /// Where the chain ends; none where there is no such actor.
    pub(in crate::journal) fn head(&self, actor: i64) -> Result<Option<ChainEnd>> {
        self.look_up(
            |delta| {
                let patch = delta.head(actor);
                if patch.is_whole() { Peek::Answer(patch.over(None)) } else { Peek::Ask(patch) }
            },
            |connection, patch: HeadPatch| Ok(patch.over(tables::head(connection, actor)?)),
        )
    }

    /// The first milestone from event `sequence` on: an event from which a walk back to that one can begin. It is at most 63
    /// events further, if the chain has come so far.
    pub(in crate::journal) fn milestone_from(&self, actor: i64, sequence: u64) -> Result<Option<EventPlace>> {
        self.look_up(
            |delta| match delta.milestone_from(actor, sequence) {
                Some(first) if first.sequence == milestone_at_or_after(sequence) => Peek::Answer(Some(first)),
                later => Peek::Ask(later),
            },
            |connection, later| Ok(tables::milestone_from(connection, actor, sequence)?.or(later)),
        )
    }

    /// The last landmark of this kind up to event `upto`.
    pub(in crate::journal) fn landmark(&self, actor: i64, landmark: Landmark, upto: u64) -> Result<Option<EventPlace>> {
        self.look_up(
            |delta| match delta.landmark(actor, landmark, upto) {
                Some(last) => Peek::Answer(Some(last)),
                None => Peek::Ask(()),
            },
            |connection, ()| tables::landmark(connection, actor, landmark, upto),
        )
    }

    /// The first landmark of this kind from event `from` on.
    pub(in crate::journal) fn next_landmark(
        &self,
        actor: i64,
        landmark: Landmark,
        from: u64,
    ) -> Result<Option<EventPlace>> {
        self.ask(
            |delta| delta.next_landmark(actor, landmark, from),
            |connection, above| Ok(tables::next_landmark(connection, actor, landmark, from)?.or(above)),
        )
    }

    /// The last call of an actor with this idempotency key.
    pub(in crate::journal) fn keyed(&self, key: KeyDigest, actor: i64) -> Result<Option<EventPlace>> {
        self.look_up(
            |delta| match delta.keyed(key, actor) {
                Some(last) => Peek::Answer(Some(last)),
                None => Peek::Ask(()),
            },
            |connection, ()| tables::keyed(connection, key, actor),
        )
    }

    /// An actor with a call of this idempotency key.
    pub(in crate::journal) fn holder(&self, key: KeyDigest) -> Result<Option<i64>> {
        self.look_up(
            |delta| match delta.holder(key) {
                Some(holder) => Peek::Answer(Some(holder)),
                None => Peek::Ask(()),
            },
            |connection, ()| tables::holder(connection, key),
        )
    }

    /// The last event before event `before` behind which a state is kept.
    pub(in crate::journal) fn kept_before(&self, actor: i64, before: u64) -> Result<Option<u64>> {
        self.ask(
            |delta| delta.kept(actor),
            |connection, above| {
                let mut below = tables::kept_before(connection, actor, before)?;
                while let Some(gone) = below.and_then(|sequence| above.gone_around(sequence)) {
                    below = tables::kept_before(connection, actor, gone.start)?;
                }
                Ok(below.max(above.rows.range(..before).next_back().map(|(sequence, _)| *sequence)))
            },
        )
    }

    /// The first event behind event `sequence` behind which a state is kept.
    pub(in crate::journal) fn kept_behind(&self, actor: i64, sequence: u64) -> Result<Option<u64>> {
        let Some(from) = sequence.checked_add(1) else { return Ok(None) };
        self.ask(
            |delta| delta.kept(actor),
            |connection, above| {
                let mut below = tables::kept_from(connection, actor, from)?;
                while let Some(gone) = below.and_then(|sequence| above.gone_around(sequence)) {
                    below = tables::kept_from(connection, actor, gone.end)?;
                }
                let above = above.rows.range(from..).next().map(|(sequence, _)| *sequence);
                Ok(below.into_iter().chain(above).min())
            },
        )
    }

    /// The events behind which a state is kept, in order.
    pub(in crate::journal) fn kept_sequences(&self, actor: i64) -> Result<Vec<u64>> {
        Ok(self.kept_within(actor, 0..u64::MAX)?.into_keys().collect())
    }

    /// Where the state is that is kept behind event `sequence`.
    pub(in crate::journal) fn kept(&self, actor: i64, sequence: u64) -> Result<Option<Kept>> {
        Ok(self.kept_within(actor, sequence..sequence.saturating_add(1))?.remove(&sequence))
    }

    pub(super) fn kept_within(&self, actor: i64, events: Range<u64>) -> Result<BTreeMap<u64, Kept>> {
        self.ask(
            |delta| delta.kept(actor),
            |connection, above| {
                let mut kept = tables::kept_within(connection, actor, events.clone())?;
                kept.retain(|sequence, _| above.gone_around(*sequence).is_none());
                kept.extend(above.rows.into_iter().filter(|(sequence, _)| events.contains(sequence)));
                Ok(kept)
            },
        )
    }

    /// Every delivery that is owed, in the order in which they were promised.
    pub(in crate::journal) fn owed(&self) -> Result<Vec<Pending>> {
        self.ask(
            |delta| delta.owed(),
            |connection, above| {
                let mut owed = Vec::new();
                tables::owed(connection, |cause, below| {
                    if !above.rows.contains_key(&cause) && !above.is_ended(&below) {
                        owed.push(below.pending(cause));
                    }
                })?;
                let newer = above.rows.into_iter().filter_map(|(cause, row)| Some(row?.pending(cause)));
                owed.extend(newer);
                owed.sort_by_key(|pending| pending.position);
                Ok(owed)
            },
        )
    }

    /// What is owed by this cause.
    pub(super) fn promised(&self, cause: Cause) -> Result<Option<Promised>> {
        self.ask_beneath(|connection, delta| match delta.promised(&cause) {
            Some(answer) => Ok(answer),
            None => Ok(tables::promised(connection, cause)?.filter(|below| !delta.is_ended(below))),
        })
    }

    /// What an actor owes itself.
    pub(super) fn owed_to_itself(&self, actor: i64) -> Result<Vec<(Cause, Promised)>> {
        self.ask_beneath(|connection, delta| {
            let mut owed = tables::owed_to_itself(connection, actor)?;
            owed.retain(|(cause, below)| delta.promised(cause).is_none() && !delta.is_ended(below));
            let above = delta.owed_to_itself(actor);
            owed.extend(above.into_iter().filter_map(|cause| Some((cause, delta.promised(&cause)??))));
            Ok(owed)
        })
    }
}
