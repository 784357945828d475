//! The state of an actor after each event of its chain. A state is trusted only if an event names it, because only
//! events are covered by the chain's hashes.
//!
//! `started` names the state that an incarnation begins with. `return` names the new state, or says that it is
//! unchanged. `refused`, `failed` and `stopped` leave the state as it is. If the data of a `return` was dropped, the
//! state is unknown until a later event names one.

use super::cbor::Cbor;
use super::data::{NamedState, Return, StartReason, Started, StateAfter};
use super::event::{ChainEvent, EventKind};

/// What a chain says about the state after one of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Vouched {
    /// An event names this state.
    Named(NamedState),
    /// No event names the state. The data of this event, which set the state, was dropped or cannot be read.
    Lost(u64),
}

/// Follows the states of a chain, from its first event on.
#[derive(Clone, Debug)]
pub(crate) struct StateCourse {
    /// The state of the chain's first `started`, to which a restart may go back.
    initial: NamedState,
    now: Vouched,
}

impl StateCourse {
    /// Begins with the first `started` of a chain. The error says why that event cannot be the first.
    pub(crate) fn begin(first: &Started) -> Result<Self, String> {
        match first.reason {
            StartReason::Spawn | StartReason::Fork => {}
            StartReason::Restart | StartReason::Recovery => {
                return Err(format!("it is the first start of its chain, but its reason is {}", first.reason));
            }
        }
        Ok(Self { initial: first.state.clone(), now: Vouched::Named(first.state.clone()) })
    }

    /// The state after the last event seen.
    pub(crate) fn now(&self) -> &Vouched {
        &self.now
    }

    /// Takes a further `started`. It must begin with the current state or, for a restart, with the initial one; the
    /// error says what is wrong.
    pub(crate) fn start(&mut self, started: &Started) -> Result<(), String> {
        let from_initial = match started.reason {
            StartReason::Spawn | StartReason::Fork => {
                return Err(format!("its reason is {}, but it is not the first start of its chain", started.reason));
            }
            StartReason::Restart => !started.resumes && started.state == self.initial,
            StartReason::Recovery => false,
        };
        if let Vouched::Named(now) = &self.now
            && *now != started.state
            && !from_initial
        {
            return Err(format!("it begins with {}, but the chain has come to {now}", started.state));
        }
        self.now = Vouched::Named(started.state.clone());
        Ok(())
    }

    /// Takes an event of a kind other than `started`.
    pub(crate) fn pass(&mut self, event: &ChainEvent) {
        if let Some(now) = named_by_return(event) {
            self.now = now;
        }
    }

    /// Sets the state to what an event says.
    pub(crate) fn say(&mut self, now: Vouched) {
        self.now = now;
    }
}

/// What a `return` says about the state; `None` if it leaves the state unchanged, or if the event is of another kind.
pub(crate) fn named_by_return(event: &ChainEvent) -> Option<Vouched> {
    if event.kind() != Some(EventKind::Return) {
        return None;
    }
    if event.dropped.is_some() {
        return Some(Vouched::Lost(event.sequence));
    }
    match Return::from_cbor(&event.data).map(|returned| returned.state) {
        Ok(StateAfter::Now(named)) => Some(Vouched::Named(named)),
        Ok(StateAfter::Unchanged) => None,
        Err(_) => Some(Vouched::Lost(event.sequence)),
    }
}

/// What a chain says about the state after `event`, if it says `now` about the state before it.
pub(crate) fn vouched_after(now: Vouched, event: &ChainEvent) -> Vouched {
    match event.kind() {
        Some(EventKind::Started) => match Started::from_cbor(&event.data) {
            Ok(started) => Vouched::Named(started.state),
            Err(_) => Vouched::Lost(event.sequence),
        },
        _ => named_by_return(event).unwrap_or(now),
    }
}
