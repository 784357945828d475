//! Comparison of what the journal stores beside the chains (the actors' rows, their states, the components, the owed
//! deliveries) with what the chains say.

use std::collections::HashMap;

use super::said::Said;
use super::{Auditor, ReadResult};
use crate::chain::data::{NamedState, Started, StateAfter};
use crate::chain::{ChainEvent, ComponentDigest, EventKind, StateCourse, StateOnChain, sha1};
use crate::journal::{ActorRow, JournalReader, Newest};

/// What the journal stores of one actor, compared while its chain is walked.
#[derive(Default)]
pub(super) struct Holdings {
    /// By the sequence of its event: whether a stored state is the newest one (`true`) or a kept one. It is compared
    /// when the walk reaches that event.
    stored: HashMap<u64, Vec<bool>>,
    /// The states that the chain names; none before its first event.
    states: Option<StateCourse>,
    newest_at: Option<u64>,
    last_named_at: u64,
    /// What is wrong with the component of the newest incarnation, and the event that names it. It is a finding as soon as
    /// somebody needs the component.
    lacks: Option<(u64, ComponentDigest, &'static str)>,
    /// The part of the actor's row that differs from its last start, if any.
    differs: Option<&'static str>,
}

impl Auditor<'_> {
    /// Compares what is stored for one more event, in the order of the chain.
    pub(super) fn holds(
        &mut self,
        reader: &JournalReader,
        course: usize,
        event: &ChainEvent,
        said: Said,
    ) -> ReadResult<()> {
        let row = &self.rows[course];
        let holdings = &mut self.courses[course].holdings;
        let returned = || event.kind() == Some(EventKind::Return);
        match said {
            Said::Started(started) => {
                let was_lost = holdings.is_lost();
                let begun = holdings.begins(event, &started);
                // The data of the event that led there was dropped. The start names the state again, so what is stored as the
                // newest one has to be this, unless a later event leads to another.
                if was_lost && holdings.newest_at.is_some_and(|at| at < event.sequence) {
                    holdings.stored.entry(event.sequence).or_default().push(true);
                }
                holdings.differs = row.differs_from(&started);
                if let Err(why) = begun {
                    self.finding(row, &format!("event {}: {why}", event.sequence));
                }
                self.component_of(reader, course, event, &started)?;
            }
            // A replay executes it again.
            Said::Call(_) => {
                if let Some(lacking) = holdings.lacks.take() {
                    self.lacks_component(row, lacking);
                }
            }
            Said::State(StateAfter::Now(named)) => holdings.names(event, named),
            Said::Gone | Said::Unreadable(_) if returned() => holdings.loses(event),
            Said::State(StateAfter::Unchanged)
            | Said::HostCall(_)
            | Said::DroppedDeliveries(_)
            | Said::Nothing
            | Said::Gone
            | Said::Unreadable(_) => {}
        }
        let holdings = &mut self.courses[course].holdings;
        if let Some(stored) = holdings.stored.remove(&event.sequence) {
            let now =
                holdings.states.as_ref().map_or(StateOnChain::Lost(event.sequence), |states| states.now().clone());
            stored.into_iter().for_each(|is_newest| self.state_of(reader, row, event, is_newest, &now));
        }
        Ok(())
    }

    /// Compares what only the end of the chain can tell: stored states that the chain never named, and the actor's row.
    pub(super) fn compare_at_end(
        &mut self,
        reader: &JournalReader,
        row: &ActorRow,
        holdings: Holdings,
    ) -> ReadResult<()> {
        if let Some(lacking) = holdings.lacks
            && !reader.is_forgotten(row.actor)?
        {
            self.lacks_component(row, lacking);
        }
        for sequence in holdings.stored.keys() {
            self.finding(row, &format!("a state is stored for event {sequence}, which is not on the chain"));
        }
        if holdings.is_named() && holdings.newest_at.is_none_or(|at| at < holdings.last_named_at) {
            let why = format!("event {} led to a state that is not stored", holdings.last_named_at);
            self.finding(row, &why);
        }
        if let Some(what) = holdings.differs {
            self.finding(row, &format!("its {what} in the table of actors is not what its last start says"));
        }
        Ok(())
    }

    fn lacks_component(&mut self, row: &ActorRow, (sequence, component, what): (u64, ComponentDigest, &str)) {
        self.finding(row, &format!("event {sequence}: the component {component} {what}"));
    }

    fn state_of(
        &mut self,
        reader: &JournalReader,
        row: &ActorRow,
        event: &ChainEvent,
        is_newest: bool,
        now: &StateOnChain,
    ) {
        let stored = if is_newest {
            match reader.newest_state(row.actor) {
                Ok(Newest::Is(state)) => Ok(state),
                // It is computed when it is wanted, and compared then.
                Ok(Newest::Behind(_)) => return,
                Err(error) => Err(error),
            }
        } else {
            reader.kept_state_at(row.actor, event.sequence).map(Option::flatten)
        };
        match (stored, now) {
            (Ok(_), StateOnChain::Lost(_)) => self.audit.unvouched += 1,
            (Ok(state), StateOnChain::Named(named)) if *named == NamedState::of(state.as_deref()) => {}
            (Ok(_), StateOnChain::Named(_)) => {
                let why = format!("the state stored for event {} is not the one that the chain names", event.sequence);
                self.finding(row, &why);
            }
            (Err(error), _) => self.finding(row, &error.to_string()),
        }
    }

    /// Checks that what a start names beside the chain is stored: its component, and its state if that is large.
    fn component_of(
        &mut self,
        reader: &JournalReader,
        course: usize,
        event: &ChainEvent,
        started: &Started,
    ) -> ReadResult<()> {
        let (row, component) = (&self.rows[course], started.component);
        let what = match self.components.get(&component) {
            Some(what) => *what,
            None => {
                let found = reader.component(component)?.map(|bytes| ComponentDigest::of(&bytes));
                let what = match found {
                    None => Some("is not in the journal"),
                    Some(found) => (found != component).then_some("was altered"),
                };
                self.components.insert(component, what);
                what
            }
        };
        self.courses[course].holdings.lacks = what.map(|what| (event.sequence, component, what));
        if let NamedState::Digest { sha1: name, .. } = &started.state
            && reader.blob(name)?.map(|bytes| sha1(&bytes)) != Some(*name)
        {
            self.finding(row, &format!("event {}: the state it begins with is not in the journal", event.sequence));
        }
        Ok(())
    }
}

impl Holdings {
    /// Holdings that could not be read: nothing is compared with them.
    pub(super) fn unknown() -> Self {
        Self { newest_at: Some(u64::MAX), ..Self::default() }
    }

    pub(super) fn of(reader: &JournalReader, row: &ActorRow) -> ReadResult<Self> {
        let mut stored: HashMap<u64, Vec<bool>> = HashMap::new();
        for sequence in reader.kept_sequences(row.actor)? {
            stored.entry(sequence).or_default().push(false);
        }
        let newest_at = reader.newest_state_at(row.actor)?;
        if let Some(at) = newest_at {
            stored.entry(at).or_default().push(true);
        }
        Ok(Self { stored, states: None, newest_at, last_named_at: 0, lacks: None, differs: None })
    }

    /// Whether the chain names the state that it has come to.
    fn is_named(&self) -> bool {
        self.states.as_ref().is_some_and(|states| matches!(states.now(), StateOnChain::Named(_)))
    }

    /// Whether nobody can tell from the chain what the state is, since data was dropped.
    fn is_lost(&self) -> bool {
        self.states.as_ref().is_some_and(|states| matches!(states.now(), StateOnChain::Lost(_)))
    }

    fn begins(&mut self, event: &ChainEvent, started: &Started) -> Result<(), String> {
        let before = self.states.as_ref().map_or(StateOnChain::Named(NamedState::None), |states| states.now().clone());
        let begun = match &mut self.states {
            Some(states) => states.start(started),
            None => StateCourse::begin(started).map(|states| self.states = Some(states)),
        };
        // A start names the state again that the chain has come to. Only another state has to be stored anew.
        if !matches!(before, StateOnChain::Lost(_)) && before != StateOnChain::Named(started.state.clone()) {
            self.last_named_at = event.sequence;
        }
        begun
    }

    fn loses(&mut self, event: &ChainEvent) {
        self.states.iter_mut().for_each(|states| states.say(StateOnChain::Lost(event.sequence)));
    }

    fn names(&mut self, event: &ChainEvent, state: NamedState) {
        let Some(states) = &mut self.states else { return };
        let named = StateOnChain::Named(state);
        if *states.now() != named {
            self.last_named_at = event.sequence;
        }
        states.say(named);
    }
}
