//! The state of an actor after each event of its chain. A state is trusted only if an event names it, because only
//! events are covered by the chain's hashes.
//!
//! `started` names the state that an incarnation begins with. `return` names the new state, or says that it is
//! unchanged. `refused`, `failed` and `stopped` leave the state as it is. If the data of a `return` was dropped, the
//! state is unknown until a later event names one.

use super::data::{NamedState, Return, StartReason, Started, StateAfter};
use super::event::{ChainEvent, EventKind};

/// What a chain says about the state after one of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StateOnChain {
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
    /// The state that an upgrade began with, to which a further upgrade may go back: the new build may have turned out bad.
    upgraded: Option<NamedState>,
    now: StateOnChain,
}

impl StateCourse {
    /// Begins with the first `started` of a chain. The error says why that event cannot be the first.
    pub(crate) fn begin(first: &Started) -> Result<Self, String> {
        match first.reason {
            StartReason::Spawn | StartReason::Fork => {}
            StartReason::Restart | StartReason::Recovery | StartReason::Upgrade => {
                return Err(format!("it is the first start of its chain, but its reason is {}", first.reason));
            }
        }
        Ok(Self { initial: first.state.clone(), upgraded: None, now: StateOnChain::Named(first.state.clone()) })
    }

    /// The state after the last event seen.
    pub(crate) fn now(&self) -> &StateOnChain {
        &self.now
    }

    /// Takes a further `started`. It must begin with the current state or, for a restart, with the initial one, or, for an
    /// upgrade, with the one that the upgrade before it began with; the error says what is wrong.
    pub(crate) fn start(&mut self, started: &Started) -> Result<(), String> {
        let goes_back = match started.reason {
            StartReason::Spawn | StartReason::Fork => {
                return Err(format!("its reason is {}, but it is not the first start of its chain", started.reason));
            }
            StartReason::Restart => !started.resumes && started.state == self.initial,
            StartReason::Recovery => false,
            StartReason::Upgrade if started.resumes => {
                return Err("it is an upgrade, but goes on with a transition".into());
            }
            StartReason::Upgrade => self.upgraded.as_ref() == Some(&started.state),
        };
        if let StateOnChain::Named(now) = &self.now
            && *now != started.state
            && !goes_back
        {
            return Err(format!("it begins with {}, but the chain has come to {now}", started.state));
        }
        match started.reason {
            StartReason::Recovery => {}
            StartReason::Upgrade => self.upgraded = Some(started.state.clone()),
            StartReason::Spawn | StartReason::Fork | StartReason::Restart => self.upgraded = None,
        }
        self.now = StateOnChain::Named(started.state.clone());
        Ok(())
    }

    /// Takes an event of a kind other than `started`.
    pub(crate) fn pass(&mut self, event: &ChainEvent) {
        if let Some(now) = named_by_return(event) {
            self.now = now;
        }
    }

    /// Sets the state to what an event says.
    pub(crate) fn say(&mut self, now: StateOnChain) {
        self.now = now;
    }
}

/// What a `return` says about the state; `None` if it leaves the state unchanged, or if the event is of another kind.
pub(crate) fn named_by_return(event: &ChainEvent) -> Option<StateOnChain> {
    if event.kind() != Some(EventKind::Return) {
        return None;
    }
    if event.dropped.is_some() {
        return Some(StateOnChain::Lost(event.sequence));
    }
    match event.read::<Return>().map(|returned| returned.state) {
        Ok(StateAfter::Now(named)) => Some(StateOnChain::Named(named)),
        Ok(StateAfter::Unchanged) => None,
        Err(_) => Some(StateOnChain::Lost(event.sequence)),
    }
}

/// What a chain says about the state after `event`, if it says `now` about the state before it.
pub(crate) fn vouched_after(now: StateOnChain, event: &ChainEvent) -> StateOnChain {
    match event.kind() {
        Some(EventKind::Started) => match event.read::<Started>() {
            Ok(started) => StateOnChain::Named(started.state),
            Err(_) => StateOnChain::Lost(event.sequence),
        },
        _ => named_by_return(event).unwrap_or(now),
    }
}
