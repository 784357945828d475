//! The builds of an actor from an earlier runtime: the one that it ran, the one before it, and the one that the command line
//! names.

use std::path::Path;
use std::sync::Arc;

use super::stored_spec::stored_spec;
use crate::actor::{SharedSpecs, Spec, recorded_limits};
use crate::base::limits::Limits;
use crate::chain::data::Started;
use crate::chain::{MIGRATE, TrialFault, UpgradeTrial};
use crate::guest::GuestEngine;
use crate::journal::{ActorRow, JournalError, JournalReader};
use crate::manifest::{Manifest, UpgradeFailure};

/// How an actor's builds follow each other at a start.
pub(super) struct Builds {
    /// No call has returned yet under the build that the actor ran.
    pub(super) is_on_trial: bool,
    /// The process ended before it could take an upgrade back: this start does.
    pub(super) takes_back: bool,
    /// The actor goes on with another build than the one that it ran.
    pub(super) is_upgraded: bool,
    /// The build that the actor can go back to.
    pub(super) before: Option<Arc<Spec>>,
}

/// What the journal says of the builds of one actor.
pub(super) struct BuildHistory<'a> {
    pub(super) made: (&'a GuestEngine, &'a SharedSpecs),
    pub(super) reader: &'a JournalReader,
    pub(super) dir: &'a Path,
    pub(super) row: &'a ActorRow,
    /// The limits of the newest incarnation.
    pub(super) limits: &'a Limits,
}

impl BuildHistory<'_> {
    /// The upgrade that is on trial.
    pub(super) fn trial(&self) -> Result<Option<UpgradeTrial>, String> {
        let unreadable = |error| JournalError::Read { path: self.dir.to_owned(), error }.to_string();
        self.reader.upgrade_trial(self.row.actor).map_err(unreadable)
    }

    /// The build before the upgrade that is on trial. If it cannot be had, there is no way back.
    pub(super) fn build_before(&self, trial: &UpgradeTrial) -> Option<Arc<Spec>> {
        let build = || {
            let unreadable = |error| JournalError::Read { path: self.dir.to_owned(), error }.to_string();
            let (actor, at) = (self.row.actor, trial.before_at);
            let gone = || "its start is not on the chain".to_owned();
            let started = self.reader.started_before(actor, at).map_err(unreadable)?.ok_or_else(gone)?;
            let started: Started = started.read().map_err(|error| error.to_string())?;
            let path = self.reader.manifest_path_at(actor, at).map_err(unreadable)?.ok_or_else(gone)?;
            // A manifest that has moved since has moved with what lies beside it.
            let has_moved = !Path::new(&path).exists() && Path::new(&self.row.manifest_path).exists();
            let manifest_path = if has_moved { self.row.manifest_path.clone() } else { path };
            let (component, manifest) = (started.component, started.manifest.clone());
            let row = ActorRow { component, manifest, manifest_path, ..self.row.clone() };
            stored_spec(self.made, self.reader, self.dir, &row, &recorded_limits(&started))
        };
        self.logged(build())
    }

    /// The build that the actor has run, if it could be needed once more after an upgrade to `named`.
    pub(super) fn way_back_from(&self, named: &Spec) -> Option<Arc<Spec>> {
        let migrates = named.program.function(MIGRATE.full).is_some() && named.digest() != self.row.component;
        let is_wanted = migrates || named.manifest.on_upgrade_failure == UpgradeFailure::Rollback;
        is_wanted.then(|| self.logged(stored_spec(self.made, self.reader, self.dir, self.row, self.limits))).flatten()
    }

    fn logged(&self, build: Result<Spec, String>) -> Option<Arc<Spec>> {
        let name = &self.row.name;
        let build = build.inspect_err(|why| log::warn!("there is no way back from the upgrade of actor {name}: {why}"));
        build.ok().map(Spec::kept)
    }

    /// Whether the newest incarnation has failed so that its upgrade is taken back.
    pub(super) fn takes_back(&self, trial: &UpgradeTrial) -> bool {
        let manifest =
            Manifest::recorded(Path::new(&self.row.manifest_path), self.row.manifest.as_str().into(), self.limits);
        let by_policy = manifest.is_ok_and(|manifest| manifest.on_upgrade_failure == UpgradeFailure::Rollback);
        match trial.fault {
            Some(TrialFault::Migrate) => true,
            Some(TrialFault::Call) => by_policy && !trial.has_written_rows,
            None => false,
        }
    }

    /// Whether `named` is another build than the one that the actor has run.
    pub(super) fn is_other(&self, named: &Spec) -> bool {
        named.digest() != self.row.component || **named.manifest.text() != *self.row.manifest
    }
}
