//! Reading states. A state is what the event that led to it names, or its row is not what was written, and is not given out.

use rusqlite::{OptionalExtension, params};

use super::reader::{JournalReader, unfit, unsigned};
use super::record::ActorKey;
use super::rows::NEWEST_SLOT;
use crate::chain::cbor::Cbor;
use crate::chain::data::{NamedState, Return, Started, StateAfter};
use crate::chain::{ChainEvent, EventKind};

type Result<T> = rusqlite::Result<T>;

/// A state's bytes, or none.
type State = Option<Vec<u8>>;

impl JournalReader {
    /// The event that led to the newest state.
    pub(crate) fn newest_state_at(&self, actor: ActorKey) -> Result<Option<u64>> {
        self.rows()
            .prepare_cached("SELECT sequence FROM states WHERE actor = ?1 AND slot = ?2")?
            .query_row(params![actor.key, NEWEST_SLOT], |row| unsigned(row, 0))
            .optional()
    }

    /// The actor's newest state: `None` where it has none.
    pub(crate) fn newest_state(&self, actor: ActorKey) -> Result<Option<Vec<u8>>> {
        Ok(self.state_in(actor, NEWEST_SLOT)?.and_then(|(_, state)| state))
    }

    fn state_in(&self, actor: ActorKey, slot: i64) -> Result<Option<(u64, State)>> {
        let found = self
            .rows()
            .prepare_cached(if self.version < 3 {
                "SELECT sequence, state, NULL FROM states WHERE actor = ?1 AND slot = ?2"
            } else {
                "SELECT sequence, state, sha1 FROM states WHERE actor = ?1 AND slot = ?2"
            })?
            .query_row(params![actor.key, slot], |row| Ok((unsigned(row, 0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        match found {
            None => Ok(None),
            Some((sequence, state, None)) => self.vouched_for(actor, sequence, state).map(Some),
            Some((sequence, _, Some(name))) => match self.blob(&name)? {
                Some(state) => self.vouched_for(actor, sequence, Some(state)).map(Some),
                None => Err(unfit(format!("the state behind event {sequence} is not there"))),
            },
        }
    }

    /// The newest state kept for good before event `sequence`, and the event that led to it.
    pub(crate) fn kept_state(&self, actor: ActorKey, before: u64) -> Result<Option<(u64, State)>> {
        let slot: Option<i64> = self
            .rows()
            .prepare_cached("SELECT max(slot) FROM states WHERE actor = ?1 AND slot > ?2 AND slot <= ?3")?
            .query_row(params![actor.key, NEWEST_SLOT, i64::try_from(before).unwrap_or(i64::MAX)], |row| row.get(0))?;
        slot.map_or(Ok(None), |slot| self.state_in(actor, slot))
    }

    /// A state is what the event that led to it names, or the row is not what was written.
    fn vouched_for(&self, actor: ActorKey, sequence: u64, state: State) -> Result<(u64, State)> {
        let named = match self.events(actor, sequence, 1, usize::MAX)?.pop() {
            Some(event) if event.sequence == sequence => names_state(&event),
            _ => return Err(unfit(format!("the state behind event {sequence} is there, but that event is not"))),
        };
        match named {
            Some(named) if named != NamedState::of(state.as_deref()) => {
                Err(unfit(format!("the state behind event {sequence} is not the one that the event names")))
            }
            Some(_) | None => Ok((sequence, state)),
        }
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
            .query_row(params![actor.key, i64::try_from(sequence).unwrap_or(i64::MAX - 1)], |row| {
                Ok(row.get::<_, Option<i64>>(0)?.map(i64::unsigned_abs))
            })
    }
}

/// What an event says the state is from here on; nothing where it does not say.
fn names_state(event: &ChainEvent) -> Option<NamedState> {
    match event.kind()? {
        EventKind::Started => Started::from_cbor(&event.data).ok().map(|started| started.state),
        EventKind::Return => match Return::from_cbor(&event.data).ok()?.state {
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
