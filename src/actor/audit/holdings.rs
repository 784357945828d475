//! What the journal holds beside the chains (the actors' rows, their states, the components, the deliveries that are
//! owed) against what the chains say of it.

use std::collections::HashMap;

use super::said::Said;
use super::{Auditor, Read};
use crate::chain::data::{NamedState, Started, StateAfter};
use crate::chain::{ChainEvent, ComponentDigest, sha1};
use crate::journal::{ActorRow, JournalReader};

/// One actor's holdings, compared while its chain is walked.
#[derive(Default)]
pub(super) struct Holdings {
    /// What each state that is stored is to be compared with once its event is reached: `true` for the newest.
    stored: HashMap<u64, Vec<bool>>,
    /// The state as the chain last named it; none where that cannot be known, because data was dropped.
    named: Option<NamedState>,
    newest_at: Option<u64>,
    last_named_at: u64,
    /// What of the actor's row is not what its last start says.
    differs: Option<&'static str>,
}

impl Auditor<'_> {
    /// One more event, in order.
    pub(super) fn holds(&mut self, reader: &JournalReader, course: usize, event: &ChainEvent, said: Said) -> Read<()> {
        let row = &self.rows[course];
        let holdings = &mut self.courses[course].holdings;
        match said {
            Said::Gone => holdings.named = None,
            Said::Started(started) => {
                holdings.names(event, started.state.clone());
                holdings.differs = row.differs_from(&started);
                self.component_of(reader, row, event, &started)?;
            }
            Said::State(StateAfter::Now(named)) => holdings.names(event, named),
            Said::State(StateAfter::Unchanged)
            | Said::Call(_)
            | Said::HostCall(_)
            | Said::DroppedDeliveries(_)
            | Said::Nothing
            | Said::Unreadable(_) => {}
        }
        let holdings = &mut self.courses[course].holdings;
        if let Some(stored) = holdings.stored.remove(&event.sequence) {
            let named = holdings.named.clone();
            stored.into_iter().for_each(|is_newest| self.state_of(reader, row, event, is_newest, named.as_ref()));
        }
        Ok(())
    }

    /// The chain is over.
    pub(super) fn holds_no_more(&mut self, row: &ActorRow, holdings: Holdings) {
        for sequence in holdings.stored.keys() {
            self.finding(row, &format!("a state is stored for event {sequence}, which is not on the chain"));
        }
        if holdings.named.is_some() && holdings.newest_at.is_none_or(|at| at < holdings.last_named_at) {
            let why = format!("event {} led to a state that is not stored", holdings.last_named_at);
            self.finding(row, &why);
        }
        if let Some(what) = holdings.differs {
            self.finding(row, &format!("its {what} in the table of actors is not what its last start says"));
        }
    }

    fn state_of(
        &mut self,
        reader: &JournalReader,
        row: &ActorRow,
        event: &ChainEvent,
        is_newest: bool,
        named: Option<&NamedState>,
    ) {
        let stored = if is_newest {
            reader.newest_state(row.actor)
        } else {
            reader.kept_state(row.actor, event.sequence + 1).map(|kept| kept.and_then(|(_, state)| state))
        };
        match stored {
            Ok(state) if named.is_none_or(|named| *named == NamedState::of(state.as_deref())) => {}
            Ok(_) => {
                let why = format!("the state stored for event {} is not the one that the chain names", event.sequence);
                self.finding(row, &why);
            }
            Err(error) => self.finding(row, &error.to_string()),
        }
    }

    /// What a start names beside the chain is there: its component, and its state where that is large.
    fn component_of(
        &mut self,
        reader: &JournalReader,
        row: &ActorRow,
        event: &ChainEvent,
        started: &Started,
    ) -> Read<()> {
        if self.components.insert(started.component) {
            let found = reader.component(started.component)?.map(|bytes| ComponentDigest::of(&bytes));
            if found != Some(started.component) {
                let what = if found.is_none() { "is not in the journal" } else { "was altered" };
                let why = format!("event {}: the component {} {what}", event.sequence, started.component);
                self.finding(row, &why);
            }
        }
        if let NamedState::Digest { sha1: name, .. } = &started.state
            && reader.blob(name)?.map(|bytes| sha1(&bytes)) != Some(*name)
        {
            self.finding(row, &format!("event {}: the state it begins with is not in the journal", event.sequence));
        }
        Ok(())
    }
}

impl Holdings {
    /// Nothing to compare with: what is stored could not be told.
    pub(super) fn unknown() -> Self {
        Self { newest_at: Some(u64::MAX), ..Self::default() }
    }

    pub(super) fn of(reader: &JournalReader, row: &ActorRow) -> Read<Self> {
        let mut stored: HashMap<u64, Vec<bool>> = HashMap::new();
        for sequence in reader.kept_sequences(row.actor)? {
            stored.entry(sequence).or_default().push(false);
        }
        let newest_at = reader.newest_state_at(row.actor)?;
        if let Some(at) = newest_at {
            stored.entry(at).or_default().push(true);
        }
        Ok(Self { stored, named: Some(NamedState::None), newest_at, last_named_at: 0, differs: None })
    }

    fn names(&mut self, event: &ChainEvent, state: NamedState) {
        // A start names the state again that is there; only another one has to be stored anew.
        if self.named.as_ref() != Some(&state) {
            self.last_named_at = event.sequence;
        }
        self.named = Some(state);
    }
}
