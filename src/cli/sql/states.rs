//! The table `states`: the states that the journal holds, the newest of each actor and those that are kept for good.

use std::collections::VecDeque;
use std::ffi::CStr;

use super::cells::{flag, json_of_bytes, number, text, time};
use super::source::SqlSource;
use super::table::{ReadingWays, SqlColumn, SqlTable};
use super::wanted::{ColumnKey, WantedRows};
use crate::chain::StateOnChain;

pub(super) struct StatesTable {
    wanted: WantedRows,
    actors: std::vec::IntoIter<usize>,
    of_one: VecDeque<StoredState>,
}

/// A state that the journal holds, without its bytes.
pub(super) struct StoredState {
    actor: usize,
    /// The event that led to it.
    sequence: u64,
    is_newest: bool,
    is_kept: bool,
}

impl StoredState {
    fn bytes(&self, source: &SqlSource) -> rusqlite::Result<Option<Vec<u8>>> {
        let actor = source.actors[self.actor].actor;
        if self.is_newest {
            return source.newest_state(actor);
        }
        Ok(source.read(|reader| reader.kept_state_at(actor, self.sequence))?.flatten())
    }

    fn unix_ms(&self, source: &SqlSource) -> rusqlite::Result<Option<u64>> {
        Ok(source.event(self.actor, self.sequence)?.map(|event| event.timestamp))
    }
}

impl StatesTable {
    /// The states of one actor, in the order of the events that led to them.
    fn of(source: &SqlSource, actor: usize) -> rusqlite::Result<VecDeque<StoredState>> {
        let key = source.actors[actor].actor;
        let newest = source.read(|reader| reader.newest_state_at(key))?;
        let kept = source.read(|reader| reader.kept_sequences(key))?;
        let apart = newest.filter(|newest| !kept.contains(newest));
        let stored = |sequence, is_kept| StoredState { actor, sequence, is_newest: newest == Some(sequence), is_kept };
        let mut states: Vec<StoredState> = kept.into_iter().map(|sequence| stored(sequence, true)).collect();
        states.extend(apart.map(|sequence| stored(sequence, false)));
        states.sort_by_key(|state| state.sequence);
        Ok(states.into())
    }
}

type StateColumn = SqlColumn<StoredState>;

impl SqlTable for StatesTable {
    const NAME: &'static CStr = c"states";
    const MEANING: &'static str = "the states that the journal holds: each actor's newest, and those that are kept";
    const WAYS: ReadingWays = ReadingWays::ActorByActor;
    const COLUMNS: &'static [StateColumn] = &[
        StateColumn::text("actor", "the UUID of the actor", |source, row| {
            Ok(text(Some(source.actors[row.actor].actor.id)))
        })
        .by(ColumnKey::Actor),
        StateColumn::text("name", "the name of the actor", |source, row| {
            Ok(text(Some(&source.actors[row.actor].name)))
        })
        .by(ColumnKey::Name),
        StateColumn::integer("sequence", "the event that led to the state", |_, row| Ok(number(Some(row.sequence))))
            .by(ColumnKey::Sequence),
        StateColumn::text("time", "when that event happened", |source, row| Ok(time(row.unix_ms(source)?))),
        StateColumn::integer("unix_ms", "the same, in milliseconds since the Unix epoch", |source, row| {
            Ok(number(row.unix_ms(source)?))
        }),
        StateColumn::integer("newest", "1 for the actor's newest state", |_, row| Ok(flag(row.is_newest))),
        StateColumn::integer("kept", "1 for a state that is kept for good, where a replay can begin", |_, row| {
            Ok(flag(row.is_kept))
        }),
        StateColumn::integer("named", "0 if no event names it, because data was dropped", |source, row| {
            let actor = source.actors[row.actor].actor;
            let on_chain = source.read(|reader| reader.vouched_at(actor, row.sequence))?;
            Ok(flag(matches!(on_chain, StateOnChain::Named(_))))
        }),
        StateColumn::integer("bytes", "its length in bytes; NULL for no state", |source, row| {
            Ok(number(row.bytes(source)?.map(|bytes| bytes.len() as u64)))
        }),
        StateColumn::text("state", "the state, as JSON; NULL for no state", |source, row| {
            Ok(json_of_bytes(row.bytes(source)?.as_deref()))
        }),
    ];

    type Row = StoredState;

    fn begin(source: &SqlSource, wanted: WantedRows) -> Self {
        let actors = wanted.places(source).into_iter();
        Self { wanted, actors, of_one: VecDeque::new() }
    }

    fn next(&mut self, source: &SqlSource) -> rusqlite::Result<Option<StoredState>> {
        loop {
            while let Some(state) = self.of_one.pop_front() {
                if self.wanted.sequences.has(state.sequence) {
                    return Ok(Some(state));
                }
            }
            let Some(actor) = self.actors.next() else { return Ok(None) };
            self.of_one = Self::of(source, actor)?;
        }
    }
}
