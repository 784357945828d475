//! The upgrades of a chain: which build an incarnation runs, whether the newest upgrade can still be taken back, and whether the
//! state is still to be migrated.
//!
//! An upgrade is *on trial* until a call returns under the new build. `migrate` is no such call: it makes the new build's state
//! of the old one.
//!
//! ```text
//!   started upgrade ── (call migrate ── return) ── on trial ── a call returns or is refused ──▶ kept
//!        │                    │                        │
//!        │                    └── refused, failed      └── failed
//!        └───────────────────────────┴─────────────────────┴──▶ failed ── started upgrade: the old build, the old state
//! ```
//!
//! All of this is read from the events, so that a crash anywhere in between loses nothing.

use super::data::{Failed, FailureReason, NamedState, StartReason, Started};
use super::event::{ChainEvent, EventKind};
use super::function::{Function, function};
use super::hash::ComponentDigest;
use super::table;

/// The export that turns the state of an earlier build into the state of this one.
pub(crate) const MIGRATE: &Function = function!("ntwk:theater/migration", "migrate");

/// What an incarnation runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Build {
    pub(crate) component: ComponentDigest,
    pub(crate) manifest: String,
}

impl UpgradeTrial {
    fn is_unmigrated(&self) -> bool {
        self.unmigrated.is_some()
    }
}

impl Build {
    fn of(started: &Started) -> Self {
        Self { component: started.component, manifest: started.manifest.clone() }
    }
}

/// An upgrade under whose build no call has returned yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UpgradeTrial {
    /// The build before the upgrade.
    pub(crate) before: Build,
    /// The `started` of the newest incarnation of that build.
    pub(crate) before_at: u64,
    /// The state that the upgrade began with, which is a state of the build before.
    pub(crate) state: NamedState,
    /// The component that made the state, if this is still the state: `migrate` is called next, if the new component exports it.
    pub(crate) unmigrated: Option<ComponentDigest>,
    /// `migrate` has written rows of the table. They cannot be taken back.
    pub(crate) has_written_rows: bool,
    /// How the newest incarnation has failed, if it failed in a call.
    pub(crate) fault: Option<TrialFault>,
}

/// In which call an incarnation on trial has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrialFault {
    /// In `migrate`: the upgrade is taken back.
    Migrate,
    /// In another call, and by its own fault: the upgrade is taken back if the manifest says so.
    Call,
}

/// Whether a failure in a call under a new build is the build's own.
pub(crate) fn is_own_fault(reason: FailureReason) -> bool {
    match reason {
        FailureReason::Trap | FailureReason::Limit | FailureReason::Deadline => true,
        FailureReason::Panic | FailureReason::Init | FailureReason::Interrupted | FailureReason::Restarts => false,
    }
}

/// The transition that a chain is in, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Nothing,
    Migrate { writes: bool },
    RefusedMigrate,
    Call,
}

/// Follows the upgrades of a chain, event by event.
#[derive(Clone, Debug)]
pub(crate) struct UpgradeCourse {
    now: Build,
    now_at: u64,
    trial: Option<UpgradeTrial>,
    within: Within,
}

impl UpgradeCourse {
    /// Begins behind a place of a chain where no upgrade is on trial, within the incarnation that `started`, event `at`, began.
    pub(crate) fn within(at: u64, started: &Started) -> Self {
        Self { now: Build::of(started), now_at: at, trial: None, within: Within::Nothing }
    }

    /// The upgrade that is on trial.
    pub(crate) fn trial(&self) -> Option<&UpgradeTrial> {
        self.trial.as_ref()
    }

    pub(crate) fn into_trial(self) -> Option<UpgradeTrial> {
        self.trial
    }

    /// Takes a `started`.
    pub(crate) fn begins(&mut self, sequence: u64, started: &Started) {
        if started.resumes {
            return;
        }
        self.within = Within::Nothing;
        let build = Build::of(started);
        if let Some(trial) = &mut self.trial {
            trial.fault = None;
        }
        match started.reason {
            StartReason::Spawn | StartReason::Fork => self.trial = None,
            StartReason::Recovery => {}
            // What such a start began with is the actor's state for good, unless it is still to be migrated.
            StartReason::Restart => self.trial = self.trial.take().filter(UpgradeTrial::is_unmigrated),
            StartReason::Upgrade if self.trial.as_ref().is_some_and(|trial| trial.before == build) => self.trial = None,
            StartReason::Upgrade if self.now == build => {
                self.trial = self.trial.take().filter(UpgradeTrial::is_unmigrated);
            }
            StartReason::Upgrade => {
                // A build that has not even migrated the state is none to go back to.
                let (before, before_at, made_by) = match self.trial.take() {
                    Some(UpgradeTrial { before, before_at, unmigrated: Some(made_by), .. }) => {
                        (before, before_at, made_by)
                    }
                    _ => (self.now.clone(), self.now_at, self.now.component),
                };
                self.trial = Some(UpgradeTrial {
                    before,
                    before_at,
                    state: started.state.clone(),
                    unmigrated: (made_by != build.component).then_some(made_by),
                    has_written_rows: false,
                    fault: None,
                });
            }
        }
        (self.now, self.now_at) = (build, sequence);
    }

    /// Takes an event of a kind other than `started`.
    pub(crate) fn goes_on(&mut self, event: &ChainEvent) {
        let Some(trial) = &mut self.trial else { return };
        let is_migrate = || event.function() == MIGRATE.full;
        match event.kind() {
            Some(EventKind::Call) if is_migrate() => self.within = Within::Migrate { writes: false },
            Some(EventKind::Call) => self.within = Within::Call,
            Some(EventKind::HostCall) => {
                if let Within::Migrate { writes } = &mut self.within {
                    *writes |= table::may_write(&event.event_type);
                }
            }
            Some(EventKind::Return) => self.closes(event.function(), false),
            Some(EventKind::Refused) => self.closes(event.function(), true),
            Some(EventKind::Failed) => {
                let reason = event.read::<Failed>().map(|failed| failed.reason);
                trial.fault = match self.within {
                    Within::Migrate { .. } | Within::RefusedMigrate => Some(TrialFault::Migrate),
                    Within::Call if reason.is_ok_and(is_own_fault) => Some(TrialFault::Call),
                    // A further `failed` only adds to the one before it.
                    Within::Nothing => trial.fault,
                    Within::Call => None,
                };
                self.within = Within::Nothing;
            }
            Some(EventKind::Stopped) => self.within = Within::Nothing,
            Some(EventKind::Started | EventKind::Intent) | None => {}
        }
    }

    /// Takes a `return`, or a `refused`, of this function.
    pub(crate) fn closes(&mut self, function: &str, is_refused: bool) {
        let within = std::mem::replace(&mut self.within, Within::Nothing);
        match &mut self.trial {
            Some(_) if function == MIGRATE.full && is_refused => self.within = Within::RefusedMigrate,
            Some(trial) if function == MIGRATE.full => {
                trial.has_written_rows = within == Within::Migrate { writes: true };
                trial.unmigrated = None;
            }
            _ => self.trial = None,
        }
    }

    /// Takes an event of any kind. A `started` that cannot be read changes nothing.
    pub(crate) fn follow(&mut self, event: &ChainEvent) {
        if event.kind() != Some(EventKind::Started) {
            return self.goes_on(event);
        }
        if let Ok(started) = event.read::<Started>() {
            self.begins(event.sequence, &started);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::{ActorId, Incarnation};
    use crate::chain::StateChain;
    use crate::chain::cbor::Cbor;
    use crate::chain::data::NamedLimits;

    const CALL: &str = "call x:y/z.run";

    /// Follows a chain in a short notation, and says what is on trial: the build before, and the one that made the state if it is to
    /// be migrated. `u2` is an upgrade to build 2, `r2` a restart, `o2` a recovery of it; `m` calls `migrate`, `w` writes a row, `M`
    /// returns from it and `X` refuses it; `c` calls, `C` returns, `R` is refused; `t` traps, `i` is interrupted.
    fn trial(chain: &str) -> Option<(u8, Option<u8>)> {
        course(chain).map(|trial| (trial.before.component.0[0], trial.unmigrated.map(|made_by| made_by.0[0])))
    }

    fn course(chain: &str) -> Option<UpgradeTrial> {
        let id = ActorId::random();
        let mut events = StateChain::new(id);
        let mut course = UpgradeCourse::within(0, &started(id, StartReason::Spawn, 1));
        for word in chain.split(' ') {
            let failed = |reason| Failed { detail: "x".into(), reason, dropped: vec![] }.to_cbor();
            let begins = |reason| started(id, reason, word[1..].parse().expect("a build")).to_cbor();
            let (kind, data) = match &word[..1] {
                "u" => ("started", begins(StartReason::Upgrade)),
                "r" => ("started", begins(StartReason::Restart)),
                "o" => ("started", begins(StartReason::Recovery)),
                "m" => (MIGRATE.call, Vec::new()),
                "w" => (table::PUT.host_call, Vec::new()),
                "M" => (MIGRATE.returned, Vec::new()),
                "X" => (MIGRATE.refused, Vec::new()),
                "c" => (CALL, Vec::new()),
                "C" => ("return x:y/z.run", Vec::new()),
                "R" => ("refused x:y/z.run", Vec::new()),
                "t" => ("failed", failed(FailureReason::Trap)),
                _ => ("failed", failed(FailureReason::Interrupted)),
            };
            course.follow(&events.append(kind, data, 0));
        }
        course.into_trial()
    }

    fn started(id: ActorId, reason: StartReason, build: u8) -> Started {
        Started {
            id,
            fork: None,
            rows: None,
            name: String::new(),
            ended: false,
            label: None,
            state: NamedState::None,
            limits: NamedLimits(vec![]),
            parent: None,
            reason,
            resumes: false,
            manifest: String::new(),
            component: ComponentDigest([build; 32]),
            incarnation: Incarnation::FIRST,
        }
    }

    #[test]
    fn an_upgrade_is_on_trial_until_a_call_returns_and_its_state_is_migrated_once() {
        for (chain, expected) in [
            ("c C", None),
            ("u2", Some((1, Some(1)))),
            ("u2 o2", Some((1, Some(1)))),
            ("u2 m M", Some((1, None))),
            ("u2 m M c C", None),
            ("u2 m M c R", None),
            ("u2 m M c t", Some((1, None))),
            ("u2 m M r2", None),
            ("u2 r2", Some((1, Some(1)))),
            ("u2 m X t u1", None),
            ("u2 m M c t u1", None),
            ("u2 m X t u1 u2", Some((1, Some(1)))),
            ("u2 m M u3", Some((2, Some(2)))),
            ("u2 u3", Some((1, Some(1)))),
            ("u2 c C u1", Some((2, Some(2)))),
        ] {
            assert_eq!(trial(chain), expected, "{chain}");
        }
    }

    #[test]
    fn a_fault_of_the_new_build_is_told_from_others() {
        let fault = |chain: &str| course(chain).map(|trial| (trial.fault, trial.has_written_rows));
        assert_eq!(fault("u2 m t"), Some((Some(TrialFault::Migrate), false)));
        assert_eq!(fault("u2 m i"), Some((Some(TrialFault::Migrate), false)));
        assert_eq!(fault("u2 m X t"), Some((Some(TrialFault::Migrate), false)));
        assert_eq!(fault("u2 m w M c t"), Some((Some(TrialFault::Call), true)));
        assert_eq!(fault("u2 m M c i"), Some((None, false)));
        assert_eq!(fault("u2 m M t"), Some((None, false)), "not in a call");
        assert_eq!(fault("u2 m M c t o2"), Some((None, false)), "it has begun again since");
    }
}
