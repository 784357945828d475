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
