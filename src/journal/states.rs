//! Reading states. A state is what the event that led to it names, or its row is not what was written, and is not given out.

use rusqlite::{OptionalExtension, params};

use super::chains::{Place, capped};
use super::reader::{JournalReader, unfit, unsigned};
use super::record::ActorKey;
use super::rows::NEWEST_SLOT;
use crate::chain::cbor::Cbor;
use crate::chain::data::{NamedState, Return, Started, StateAfter};
use crate::chain::{EventHash, EventKind};

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
            return self.vouched_for(actor, led, state);
        }
        match self.named_at(actor, led)? {
            Some(NamedState::None) => Ok(None),
            Some(NamedState::Inline(state)) => Ok(Some(state)),
            Some(NamedState::Digest { .. }) | None => {
                Err(unfit(format!("the state that event {} led to is not there", led.sequence)))
            }
        }
    }

    fn state_in(&self, actor: ActorKey, slot: i64) -> Result<Option<(u64, State)>> {
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
        Ok(Some((sequence, self.vouched_for(actor, led, state)?)))
    }

    /// The newest state kept for good before event `sequence`, and the event that led to it.
    pub(crate) fn kept_state(&self, actor: ActorKey, before: u64) -> Result<Option<(u64, State)>> {
        let slot = self.kept_slot(actor, before)?;
        slot.map_or(Ok(None), |slot| self.state_in(actor, slot))
    }

    /// The event behind which that state is kept.
    pub(super) fn kept_sequence(&self, actor: ActorKey, before: u64) -> Result<Option<u64>> {
        Ok(self.kept_slot(actor, before)?.map(|slot| slot.unsigned_abs() - 1))
    }

    fn kept_slot(&self, actor: ActorKey, before: u64) -> Result<Option<i64>> {
        self.rows()
            .prepare_cached("SELECT max(slot) FROM states WHERE actor = ?1 AND slot > ?2 AND slot <= ?3")?
            .query_row(params![actor.key, NEWEST_SLOT, capped(before)], |row| row.get(0))
    }

    /// A state is what the event that led to it names, or the row is not what was written.
    fn vouched_for(&self, actor: ActorKey, led: Place, state: State) -> Result<State> {
        match self.named_at(actor, led)? {
            Some(named) if named != NamedState::of(state.as_deref()) => {
                Err(unfit(format!("the state behind event {} is not the one that the event names", led.sequence)))
            }
            Some(_) | None => Ok(state),
        }
    }

    /// What an event says the state is from there on.
    pub(super) fn named_at(&self, actor: ActorKey, place: Place) -> Result<Option<NamedState>> {
        let event = self.event_at(actor, place)?;
        if EventHash::of(&event) != event.hash {
            return Err(unfit(format!("event {}, which led to the state, is not what was written", place.sequence)));
        }
        Ok(event.kind().and_then(|kind| names_state(kind, &event.data)))
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
