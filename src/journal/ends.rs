//! Where the chains end that the writer is writing to, remembered from commit to commit.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use super::chains::{ChainEnd, EventPlace};
use super::reader::unfit;
use super::record::ActorKey;
use super::rows::Rows;
use crate::chain::ChainEvent;

type Result<T> = rusqlite::Result<T>;

/// Chains that are remembered, about 100 bytes each; in the unit tests so few that all are looked up now and then.
const REMEMBERED: usize = if cfg!(test) { 2 } else { 100_000 };

#[derive(Default)]
pub(super) struct Ends {
    known: HashMap<i64, Known>,
}

struct Known {
    end: ChainEnd,
    /// The newest state has a row of its own, because its event does not hold it.
    state_apart: bool,
}

impl Ends {
    /// The chain goes on with an event at `position`. Where the one before it stands.
    pub(super) fn go_on(
        &mut self,
        rows: &Rows<'_>,
        actor: ActorKey,
        event: &ChainEvent,
        position: u64,
    ) -> Result<Option<u64>> {
        let (sequence, hash) = (event.sequence, event.hash);
        let last = EventPlace { sequence, position };
        match self.known(rows, actor.key)? {
            Some(Known { end, .. }) if end.last.sequence + 1 == sequence => {
                let previous = end.last.position;
                (end.last, end.hash) = (last, hash);
                Ok(Some(previous))
            }
            None if sequence == 0 => {
                let end = ChainEnd { last, hash, state: None, dropped: None };
                self.known.insert(actor.key, Known { end, state_apart: false });
                Ok(None)
            }
            Some(_) | None => {
                Err(unfit(format!("event {sequence} of actor {} does not follow the last on its chain", actor.id)))
            }
        }
    }

    /// The chain's last event has led to a state. Whether the one before it stood apart.
    pub(super) fn leads_to_state(&mut self, actor: i64, apart: bool) -> bool {
        let known = self.known.get_mut(&actor).expect("the event was written just before");
        known.end.state = Some(known.end.last);
        std::mem::replace(&mut known.state_apart, apart)
    }

    /// The event that holds the newest state, if it is one of these; from here on the state stands apart.
    pub(super) fn take_state_apart(
        &mut self,
        rows: &Rows<'_>,
        actor: i64,
        events: &Range<u64>,
    ) -> Result<Option<EventPlace>> {
        let Some(known) = self.known(rows, actor)?.filter(|known| !known.state_apart) else { return Ok(None) };
        let holds = known.end.state.filter(|state| events.contains(&state.sequence));
        known.state_apart = holds.is_some();
        Ok(holds)
    }

    /// The data of events up to this one was dropped.
    pub(super) fn dropped(&mut self, rows: &Rows<'_>, actor: i64, last: u64) -> Result<()> {
        if let Some(known) = self.known(rows, actor)? {
            known.end.dropped = known.end.dropped.max(Some(last));
        }
        Ok(())
    }

    /// The end of a chain that was gone on with.
    pub(super) fn of(&self, actor: i64) -> &ChainEnd {
        &self.known[&actor].end
    }

    /// Forgets the ends if there are many of them. They can be looked up again: this commit has written them, and without it
    /// there is no later one.
    pub(super) fn forget_if_many(&mut self) {
        if self.known.len() > REMEMBERED {
            self.known.clear();
        }
    }

    /// Looked up where nothing was written to the chain lately.
    fn known(&mut self, rows: &Rows<'_>, actor: i64) -> Result<Option<&mut Known>> {
        match self.known.entry(actor) {
            Entry::Occupied(known) => Ok(Some(known.into_mut())),
            Entry::Vacant(unknown) => {
                let found = rows.chain_end(actor)?;
                Ok(found.map(|(end, state_apart)| unknown.insert(Known { end, state_apart })))
            }
        }
    }
}
