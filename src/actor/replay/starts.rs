//! What an incarnation begins with, compared with what the chain has come to: what the one before ended with, or, where a
//! restart begins anew, what the actor first began with; of a fork, what the chain it comes from says.

use serde_json::Value as Json;

use super::{ReplayError, differs, limits, tape::Tape};
use crate::chain::cbor::{Cbor, Value};
use crate::chain::data::{NamedState, StartReason, Started};
use crate::chain::{ChainEvent, StateOnChain};
use crate::handlers::INIT;
use crate::manifest::{Manifest, RestartState};

/// How the starts of one chain have to be.
pub(super) struct Starts {
    initial: NamedState,
    origin: Option<StateOnChain>,
    /// Whether its `init` has returned, as far as that was seen.
    was_up: bool,
    /// The incarnation has begun anew with another state than the one before left: its `init` has to come next.
    init_is_due: bool,
}

impl Starts {
    pub(super) fn of(tape: &Tape) -> Self {
        Self { initial: tape.initial.clone(), origin: tape.origin.clone(), was_up: false, init_is_due: false }
    }

    /// An incarnation begins at a boundary, where the state is `last`.
    pub(super) fn begins(&mut self, sequence: u64, started: &Started, last: Option<&[u8]>) -> Result<(), ReplayError> {
        let wrong = |why: &str| Err(ReplayError::Data { sequence, why: why.into() });
        self.init_is_due = false;
        if started.resumes {
            return wrong("it goes on with a transition, but none is open");
        }
        let is_first = sequence == 0;
        match started.reason {
            StartReason::Spawn | StartReason::Fork if !is_first => {
                wrong("only the first start can be a spawn or a fork")
            }
            StartReason::Restart | StartReason::Recovery if is_first => wrong("the first start is a spawn or a fork"),
            StartReason::Spawn => Ok(()),
            StartReason::Fork => {
                self.was_up = true;
                match &self.origin {
                    Some(StateOnChain::Named(origin)) if *origin != started.state => Err(other(sequence, started, origin)),
                    Some(StateOnChain::Named(_) | StateOnChain::Lost(_)) | None => Ok(()),
                }
            }
            StartReason::Restart | StartReason::Recovery => {
                let last = NamedState::of(last);
                if last == started.state {
                    return Ok(());
                }
                self.init_is_due = self.may_begin_anew(started) && started.state == self.initial;
                if self.init_is_due { Ok(()) } else { Err(other(sequence, started, &last)) }
            }
        }
    }

    fn may_begin_anew(&self, started: &Started) -> bool {
        let manifest = Manifest::recorded("".as_ref(), started.manifest.as_str().into(), &limits(started));
        let policy = manifest.map(|manifest| manifest.supervision.restart_state);
        // A manifest that is not understood any more was understood when it was recorded.
        started.reason == StartReason::Restart
            && (!self.was_up || policy.is_ok_and(|from| from == RestartState::Initial))
    }

    /// An incarnation goes on with a transition that began with the state `before`.
    pub(super) fn resumes(&self, event: &ChainEvent, before: Option<&[u8]>) -> Result<(), ReplayError> {
        let started = super::read::<Started>(event)?;
        let before = NamedState::of(before);
        if started.state == before { Ok(()) } else { Err(other(event.sequence, &started, &before)) }
    }

    /// A call follows.
    pub(super) fn calls(&mut self, call: &ChainEvent) -> Result<(), ReplayError> {
        if std::mem::take(&mut self.init_is_due) && call.function() != INIT.full {
            return Err(differs(call.sequence, "event_type", call.event_type.as_ref().into(), INIT.call.into()));
        }
        Ok(())
    }

    /// An export has returned.
    pub(super) fn returned(&mut self, function: &str) {
        self.was_up |= function == INIT.full;
    }
}

/// It begins with another state than the one that replay has come to.
fn other(sequence: u64, started: &Started, expected: &NamedState) -> ReplayError {
    differs(sequence, "data.state", shown(&started.state), shown(expected))
}

/// A state as people are shown it in an event.
fn shown(named: &NamedState) -> Json {
    Value::parse(&named.to_cbor()).map_or(Json::Null, |value| value.to_json())
}
