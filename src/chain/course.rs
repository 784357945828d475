//! Which state an actor has behind each event, as far as its chain names it: a state is believed where an event under the
//! hash names it, and nowhere else.
//!
//! `started` names the state it begins with, `return` the one it leads to, or that it is unchanged; `refused`, `failed`
//! and `stopped` leave it as it is. Where the data of a `return` was dropped, the state is unknown from there on, until
//! an event names one again.

use super::cbor::Cbor;
use super::data::{NamedState, Return, StartReason, Started, StateAfter};
use super::event::{ChainEvent, EventKind};

/// What a chain says of the state behind one of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StateOnChain {
    /// It is the one that an event names.
    Named(NamedState),
    /// Nothing: this event led to it, whose data was dropped or cannot be read.
    Lost(u64),
}

/// A chain's states, followed from its first event on.
#[derive(Clone, Debug)]
pub(crate) struct StateCourse {
    /// What the actor first began with, and begins with again when it is restarted from there.
    initial: NamedState,
    now: StateOnChain,
}

impl StateCourse {
    /// The course of a chain, and what is wrong with how it begins.
    pub(crate) fn begin(first: &Started) -> Result<Self, String> {
        match first.reason {
            StartReason::Spawn | StartReason::Fork => {}
            StartReason::Restart | StartReason::Recovery => {
                return Err(format!("it is the first start of its chain, but its reason is {}", first.reason));
            }
        }
        Ok(Self { initial: first.state.clone(), now: StateOnChain::Named(first.state.clone()) })
    }

    /// The state behind the events so far.
    pub(crate) fn now(&self) -> &StateOnChain {
        &self.now
    }

    /// A further start of the actor, which begins with what the chain has come to, or again with what it first began with.
    /// What is wrong with it.
    pub(crate) fn start(&mut self, started: &Started) -> Result<(), String> {
        let from_initial = match started.reason {
            StartReason::Spawn | StartReason::Fork => {
                return Err(format!("its reason is {}, but it is not the first start of its chain", started.reason));
            }
            StartReason::Restart => !started.resumes && started.state == self.initial,
            StartReason::Recovery => false,
        };
        if let StateOnChain::Named(now) = &self.now
            && *now != started.state
            && !from_initial
        {
            return Err(format!("it begins with {}, but the chain has come to {now}", started.state));
        }
        self.now = StateOnChain::Named(started.state.clone());
        Ok(())
    }

    /// An event that is no start.
    pub(crate) fn pass(&mut self, event: &ChainEvent) {
        if let Some(now) = named_by_return(event) {
            self.now = now;
        }
    }

    /// An event says what the state is.
    pub(crate) fn say(&mut self, now: StateOnChain) {
        self.now = now;
    }
}

/// What a `return` says of the state; nothing where it leaves it as it was, or where the event is of another kind.
pub(crate) fn named_by_return(event: &ChainEvent) -> Option<StateOnChain> {
    if event.kind() != Some(EventKind::Return) {
        return None;
    }
    if event.dropped.is_some() {
        return Some(StateOnChain::Lost(event.sequence));
    }
    match Return::from_cbor(&event.data).map(|returned| returned.state) {
        Ok(StateAfter::Now(named)) => Some(StateOnChain::Named(named)),
        Ok(StateAfter::Unchanged) => None,
        Err(_) => Some(StateOnChain::Lost(event.sequence)),
    }
}

/// What a chain says of the state behind `event`, where it says `now` of the one before.
pub(crate) fn vouched_after(now: StateOnChain, event: &ChainEvent) -> StateOnChain {
    match event.kind() {
        Some(EventKind::Started) => match Started::from_cbor(&event.data) {
            Ok(started) => StateOnChain::Named(started.state),
            Err(_) => StateOnChain::Lost(event.sequence),
        },
        _ => named_by_return(event).unwrap_or(now),
    }
}
