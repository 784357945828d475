//! Reading states. A state is what the last event that named one names, or its row is not what was written, and is not
//! given out. Where the data of that event was dropped, no event vouches for the state: who builds upon one asks
//! [`JournalReader::vouched_at`].

use std::ops::ControlFlow::{Break, Continue};

use rusqlite::{OptionalExtension, params};

use super::chains::{EventPlace, capped};
use super::reader::{JournalReader, kind, unfit, unsigned};
use super::record::ActorKey;
use super::rows::NEWEST_SLOT;
use crate::chain::cbor::Cbor;
use crate::chain::data::{NamedState, Return, Started, StateAfter};
use crate::chain::{ChainEvent, EventHash, EventKind, StateOnChain, named_by_return};

type Result<T> = rusqlite::Result<T>;

/// A state's bytes, or none.
type State = Option<Vec<u8>>;

impl JournalReader {
    /// The event that led to the newest state.
    pub(crate) fn newest_state_at(&self, actor: ActorKey) -> Result<Option<u64>> {
        Ok(self.chain_end(actor)?.and_then(|end| end.state).map(|led| led.sequence))
    }

    /// The actor's newest state: `None` where it has none. It stands in the event that led to it, or apart where it is large
    /// or that event's data was dropped.
    pub(crate) fn newest_state(&self, actor: ActorKey) -> Result<State> {
        let _moment = self.at_one_moment()?;
        let Some(led) = self.chain_end(actor)?.and_then(|end| end.state) else { return Ok(None) };
        let apart: Option<State> = self
            .rows()
            .prepare_cached("SELECT state FROM states WHERE actor = ?1 AND slot = ?2 AND sequence = ?3")?
            .query_row(params![actor.key, NEWEST_SLOT, capped(led.sequence)], |row| row.get(0))
            .optional()?;
        if let Some(state) = apart {
            return self.settled(actor, led.sequence, state);
        }
        match self.named_at(actor, led)? {
            Some(NamedState::None) => Ok(None),
            Some(NamedState::Inline(state)) => Ok(Some(state)),
            Some(NamedState::Digest { .. }) | None => {
                Err(unfit(format!("the state that event {} led to is not there", led.sequence)))
            }
        }
    }

    /// The event that led to the newest state, where its data was dropped: no event names the state then.
    pub(crate) fn newest_state_is_lost_at(&self, actor: ActorKey) -> Result<Option<u64>> {
        let Some(led) = self.newest_state_at(actor)? else { return Ok(None) };
        match self.vouched_at(actor, led)? {
            StateOnChain::Lost(at) => Ok(Some(at)),
            StateOnChain::Named(_) => Ok(None),
        }
    }

    /// What stands in a slot, and behind which event; whether it is what was written is the caller's to ask.
    fn state_in(&self, actor: ActorKey, slot: i64) -> Result<Option<(EventPlace, State)>> {
        let found = self
            .rows()
            .prepare_cached("SELECT sequence, state, sha1 FROM states WHERE actor = ?1 AND slot = ?2")?
            .query_row(params![actor.key, slot], |row| Ok((unsigned(row, 0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((sequence, state, name)) = found else { return Ok(None) };
        let state = match name {
            None => state,
            Some(name) => match self.sound_blob(&name)? {
                Some(state) => Some(state),
                None => return Err(unfit(format!("the state behind event {sequence} is not there"))),
            },
        };
        let Some(led) = self.place(actor, sequence)? else {
            return Err(unfit(format!("a state is there that event {sequence} led to, but that event is not")));
        };
        Ok(Some((led, state)))
    }

    /// The newest state kept for good before event `sequence`, and the event behind which it is kept.
    pub(crate) fn kept_state(&self, actor: ActorKey, before: u64) -> Result<Option<(u64, State)>> {
        let Some(sequence) = self.last_kept_before(actor, before)? else { return Ok(None) };
        match self.state_in(actor, capped(sequence.saturating_add(1)))? {
            Some((led, state)) => Ok(Some((led.sequence, self.settled(actor, led.sequence, state)?))),
            None => Ok(None),
        }
    }

    /// The last event before event `before` behind which a state is kept for good.
    pub(crate) fn last_kept_before(&self, actor: ActorKey, before: u64) -> Result<Option<u64>> {
        let slot: Option<i64> = self
            .rows()
            .prepare_cached("SELECT max(slot) FROM states WHERE actor = ?1 AND slot > ?2 AND slot <= ?3")?
            .query_row(params![actor.key, NEWEST_SLOT, capped(before)], |row| row.get(0))?;
        Ok(slot.map(|slot| slot.unsigned_abs() - 1))
    }

    /// The state kept for good behind event `sequence`. That event alone is asked whether it is this one: who knows what the
    /// chain names there compares it with that.
    pub(crate) fn kept_state_at(&self, actor: ActorKey, sequence: u64) -> Result<Option<State>> {
        let kept = self.state_in(actor, capped(sequence.saturating_add(1)))?;
        let kept = kept.filter(|(led, _)| led.sequence == sequence);
        kept.map(|(led, state)| self.vouched_for(actor, led, state)).transpose()
    }

    /// What the chain says of the state behind event `sequence`: the last event up to there that names one is sought.
    pub(crate) fn vouched_at(&self, actor: ActorKey, sequence: u64) -> Result<StateOnChain> {
        Ok(self.named_upto(actor, sequence)?.1)
    }

    /// The same, with the event that says it.
    pub(super) fn named_upto(&self, actor: ActorKey, sequence: u64) -> Result<(u64, StateOnChain)> {
        let mut found = None;
        self.walk_from(actor, sequence, |place, row| {
            let names = matches!(kind(row)?, Some(EventKind::Started | EventKind::Return));
            if names {
                found = says(&self.intact(actor, place)?).map(|vouched| (place.sequence, vouched));
            }
            Ok(if found.is_some() { Break(()) } else { Continue(()) })
        })?;
        Ok(found.unwrap_or((0, StateOnChain::Lost(0))))
    }

    /// The state behind event `sequence`, unless the chain names another there.
    fn settled(&self, actor: ActorKey, sequence: u64, state: State) -> Result<State> {
        match self.named_upto(actor, sequence)? {
            (at, StateOnChain::Named(named)) if named != NamedState::of(state.as_deref()) => {
                let by = if at == sequence { "the event".into() } else { format!("event {at}") };
                Err(unfit(format!("the state behind event {sequence} is not the one that {by} names")))
            }
            (_, StateOnChain::Named(_) | StateOnChain::Lost(_)) => Ok(state),
        }
    }

    /// A state is what the event that led to it names, or the row is not what was written.
    fn vouched_for(&self, actor: ActorKey, led: EventPlace, state: State) -> Result<State> {
        match self.named_at(actor, led)? {
            Some(named) if named != NamedState::of(state.as_deref()) => {
                Err(unfit(format!("the state behind event {} is not the one that the event names", led.sequence)))
            }
            Some(_) | None => Ok(state),
        }
    }

    /// What an event says the state is from there on.
    pub(super) fn named_at(&self, actor: ActorKey, place: EventPlace) -> Result<Option<NamedState>> {
        let event = self.intact(actor, place)?;
        Ok(event.kind().and_then(|kind| names_state(kind, &event.data)))
    }

    /// An event whose hash covers what it says.
    fn intact(&self, actor: ActorKey, place: EventPlace) -> Result<ChainEvent> {
        let event = self.event_at(actor, place)?;
        if EventHash::of(&event) != event.hash {
            return Err(unfit(format!("event {}, which led to the state, is not what was written", place.sequence)));
        }
        Ok(event)
    }

    /// The events of an actor whose state is kept, in order.
    pub(crate) fn kept_sequences(&self, actor: ActorKey) -> Result<Vec<u64>> {
        self.rows()
            .prepare_cached("SELECT sequence FROM states WHERE actor = ?1 AND slot > ?2 ORDER BY slot")?
            .query_map(params![actor.key, NEWEST_SLOT], |row| unsigned(row, 0))?
            .collect()
    }

    /// The first event behind `sequence` whose state is kept.
    pub(crate) fn first_kept_behind(&self, actor: ActorKey, sequence: u64) -> Result<Option<u64>> {
        self.rows()
            .prepare_cached("SELECT min(sequence) FROM states WHERE actor = ?1 AND slot > ?2 + 1")?
            .query_row(params![actor.key, capped(sequence).min(i64::MAX - 1)], |row| {
                Ok(row.get::<_, Option<i64>>(0)?.map(i64::unsigned_abs))
            })
    }
}

/// What an event that may name a state says of it.
fn says(event: &ChainEvent) -> Option<StateOnChain> {
    match event.kind() {
        Some(EventKind::Started) => names_state(EventKind::Started, &event.data).map(StateOnChain::Named),
        _ => named_by_return(event),
    }
}

/// What an event says the state is from here on; nothing where it does not say.
pub(super) fn names_state(kind: EventKind, data: &[u8]) -> Option<NamedState> {
    match kind {
        EventKind::Started => Started::from_cbor(data).ok().map(|started| started.state),
        EventKind::Return => match Return::from_cbor(data).ok()?.state {
            StateAfter::Now(named) => Some(named),
            StateAfter::Unchanged => None,
        },
        EventKind::Call
        | EventKind::Intent
        | EventKind::HostCall
        | EventKind::Refused
        | EventKind::Failed
        | EventKind::Stopped => None,
    }
}
