//! The check of each `started` in replay: the state that it begins with must be the one that the chain has come to, or,
//! if a restart begins from the initial state, the one that the actor first began with. For a fork it must be the one
//! that the origin's chain names.

use serde_json::Value as Json;

use super::{ReplayError, differs, limits, tape::Tape};
use crate::chain::cbor::{Cbor, Value};
use crate::chain::data::{Call, NamedState, StartReason, Started};
use crate::chain::{ChainEvent, MIGRATE, StateOnChain, UpgradeCourse};
use crate::guest::Program;
use crate::handlers::INIT;
use crate::manifest::{Manifest, RestartState};

/// The rules for the starts of one chain, as far as it was replayed.
pub(super) struct Starts {
    initial: NamedState,
    origin: Option<StateOnChain>,
    /// The state that an upgrade began with, to which a further upgrade may go back. It is lost if the replay begins behind
    /// a recovery, because the upgrade may lie before that.
    upgraded: Option<StateOnChain>,
    /// Which upgrade is on trial; not known if the replay begins in the middle of the chain.
    upgrades: Option<UpgradeCourse>,
    /// Whether the actor's `init` has returned, as far as it was replayed; for a fork, the `init` of the other actor.
    was_up: bool,
    /// The incarnation began from the initial state, which is not the state that the previous one left. So its `init`
    /// must come next.
    init_is_due: bool,
}

impl Starts {
    pub(super) fn of(tape: &Tape) -> Self {
        let (initial, origin) = (tape.initial.clone(), tape.origin.clone());
        let upgraded = tape.start.as_ref().and_then(|start| match start.started.reason {
            StartReason::Upgrade => Some(StateOnChain::Named(start.started.state.clone())),
            StartReason::Recovery => Some(StateOnChain::Lost(start.head.sequence)),
            StartReason::Spawn | StartReason::Fork | StartReason::Restart => None,
        });
        Self { initial, origin, upgraded, upgrades: None, was_up: false, init_is_due: false }
    }

    /// Checks a `started` at a boundary, where the state is `last`.
    pub(super) fn begins(&mut self, sequence: u64, started: &Started, last: Option<&[u8]>) -> Result<(), ReplayError> {
        let wrong = |why: &str| Err(ReplayError::Data { sequence, why: why.into() });
        self.init_is_due = false;
        if started.resumes {
            return wrong("it goes on with a transition, but none is open");
        }
        let is_first = sequence == 0;
        match &mut self.upgrades {
            Some(upgrades) => upgrades.begins(sequence, started),
            None => self.upgrades = is_first.then(|| UpgradeCourse::within(sequence, started)),
        }
        match started.reason {
            StartReason::Spawn | StartReason::Fork if !is_first => {
                wrong("only the first start can be a spawn or a fork")
            }
            StartReason::Restart | StartReason::Recovery | StartReason::Upgrade if is_first => {
                wrong("the first start is a spawn or a fork")
            }
            StartReason::Spawn => Ok(()),
            StartReason::Fork => {
                self.was_up = true;
                match &self.origin {
                    Some(StateOnChain::Named(origin)) if *origin != started.state => {
                        Err(other(sequence, started, origin))
                    }
                    Some(StateOnChain::Named(_) | StateOnChain::Lost(_)) | None => Ok(()),
                }
            }
            StartReason::Upgrade => {
                let before = self.upgraded.replace(StateOnChain::Named(started.state.clone()));
                let goes_back = match before {
                    Some(StateOnChain::Named(before)) => before == started.state,
                    Some(StateOnChain::Lost(_)) => true,
                    None => false,
                };
                let last = NamedState::of(last);
                if goes_back || last == started.state { Ok(()) } else { Err(other(sequence, started, &last)) }
            }
            StartReason::Restart | StartReason::Recovery => {
                if started.reason == StartReason::Restart {
                    self.upgraded = None;
                }
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
        // A manifest that this version does not understand was understood when it was recorded, so it is not held
        // against the chain.
        started.reason == StartReason::Restart
            && (!self.was_up || policy.is_ok_and(|from| from == RestartState::Initial))
    }

    /// Checks a `started` that goes on with a transition which began with the state `before`.
    pub(super) fn resumes(&self, event: &ChainEvent, before: Option<&[u8]>) -> Result<(), ReplayError> {
        let started = super::read::<Started>(event)?;
        let before = NamedState::of(before);
        if started.state == before { Ok(()) } else { Err(other(event.sequence, &started, &before)) }
    }

    /// Checks that a state is migrated exactly if it is to be: by the first call, and with the component that made it.
    fn migrates(&self, event: &ChainEvent, call: &Call, program: &Program) -> Result<(), ReplayError> {
        let Some(upgrades) = &self.upgrades else { return Ok(()) };
        let from =
            upgrades.trial().and_then(|trial| trial.unmigrated).filter(|_| program.function(MIGRATE.full).is_some());
        let is_migrate = event.function() == MIGRATE.full;
        let params = from.map(|from| (from.to_string(),).to_cbor());
        match params {
            Some(params) if is_migrate && call.params.0 != params => {
                let why = "it migrates the state of another component than the one that made the state";
                Err(ReplayError::Data { sequence: event.sequence, why: why.into() })
            }
            Some(_) if !is_migrate && event.function() != INIT.full => {
                Err(differs(event.sequence, "event_type", event.event_type.as_ref().into(), MIGRATE.call.into()))
            }
            None if is_migrate => {
                let why = "it migrates a state that this component has made itself";
                Err(ReplayError::Data { sequence: event.sequence, why: why.into() })
            }
            _ => Ok(()),
        }
    }

    /// Checks a call, and whether it is the one that has to follow a `started`.
    pub(super) fn calls(&mut self, call: &ChainEvent, data: &Call, program: &Program) -> Result<(), ReplayError> {
        self.migrates(call, data, program)?;
        if std::mem::take(&mut self.init_is_due) && call.function() != INIT.full {
            return Err(differs(call.sequence, "event_type", call.event_type.as_ref().into(), INIT.call.into()));
        }
        Ok(())
    }

    /// Notes that an export has returned, or was refused.
    pub(super) fn closed(&mut self, function: &str, is_refused: bool) {
        self.was_up |= function == INIT.full && !is_refused;
        self.upgrades.iter_mut().for_each(|upgrades| upgrades.closes(function, is_refused));
    }
}

/// The error for a start with another state than the one that the replay has come to.
fn other(sequence: u64, started: &Started, expected: &NamedState) -> ReplayError {
    differs(sequence, "data.state", shown(&started.state), shown(expected))
}

/// A state, as people are shown it in an event.
fn shown(named: &NamedState) -> Json {
    Value::parse(&named.to_cbor()).map_or(Json::Null, |value| value.to_json())
}
