//! What an actor's thread does about upgrades: it takes one up between two incarnations, and takes it back if that is due.

use std::sync::Arc;

use super::ActorRuntime;
use crate::actor::beginning::Beginning;
use crate::actor::down::Down;
use crate::actor::listeners::ChangedListeners;
use crate::actor::spec::Spec;
use crate::actor::trial::upgraded;
use crate::actor::upgrade::Upgrade;
use crate::actor::verdict::{ReportKind, SpawnReply};
use crate::base::fail;
use crate::chain::data::StartReason;
use crate::chain::{ComponentDigest, StateChain, is_own_fault};
use crate::manifest::{RestartState, UpgradeFailure};
use crate::system::LifecycleError;

impl ActorRuntime {
    /// Starts the listeners that the actor has after an upgrade. If that cannot be done, the upgrade is refused.
    #[inline(never)]
    pub(super) fn prepare(&self, upgrade: Upgrade) -> Option<Box<(Upgrade, ChangedListeners)>> {
        fail::point("upgrading");
        match self.listeners.change(&self.context, &upgrade.spec) {
            Ok(changed) => Some(Box::new((upgrade, changed))),
            Err(why) => {
                upgrade.reply.answer(&self.context.theater.registry, Err(why.into()));
                None
            }
        }
    }

    /// There is no way back to the build from before any more.
    pub(super) fn end_trial(&mut self) {
        let (trial, before) = (self.progress.trial.take(), self.before.take());
        if trial.is_some() || before.is_some() {
            self.context.report(ReportKind::Proven);
        }
    }

    /// Begins with the upgrade that waits, if the actor is about to begin again anyway.
    #[inline(never)]
    pub(super) fn take_upgrade_up(&mut self, beginning: &mut Beginning) {
        if beginning.reason != StartReason::Restart || beginning.open.is_some() {
            return;
        }
        let Some(prepared) = self.upgrades.take().and_then(|upgrade| self.prepare(*upgrade)) else { return };
        let (Upgrade { spec, reply }, changed) = *prepared;
        self.adopt(&spec, changed);
        beginning.reply = Some(match beginning.reply.take() {
            Some(other) => SpawnReply::both(other, reply),
            None => reply,
        });
        if !beginning.run_init {
            let last = beginning.state.take();
            (beginning.state, beginning.migrates_from) = self.upgrade_state(last);
            beginning.reason = StartReason::Upgrade;
        }
    }

    /// The actor runs `spec` from here on. The build that it ran until now is kept in `before`.
    pub(super) fn adopt(&mut self, spec: &Spec, changed: ChangedListeners) {
        let spec = spec.beginning_with(self.context.spec.init_state.clone());
        let limits = &spec.manifest.limits;
        self.mailbox.bound(limits.mailbox_deliveries, limits.mailbox_bytes);
        self.context.theater.registry.adopt(self.context.actor.id, spec.common_entry());
        self.before = Some(std::mem::replace(&mut self.context.spec, spec));
        self.listeners.replace(&self.context, changed);
    }

    /// After [`ActorRuntime::adopt`]: the state that the upgrade begins with, and the component that made it, if it is to be
    /// migrated.
    pub(super) fn upgrade_state(&mut self, last: Option<Arc<[u8]>>) -> (Option<Arc<[u8]>>, Option<ComponentDigest>) {
        let old = self.before.take().expect("another build was adopted");
        let trial = self.progress.trial.take();
        let (state, trial) = upgraded(&self.context.spec, (Some(&old), old.digest()), last, trial);
        self.before = trial.as_ref().and_then(|trial| trial.before.clone());
        let migrates_from = trial.as_ref().and_then(|trial| trial.migrates_from(&self.context.spec.program));
        self.progress.trial = trial;
        (state, migrates_from)
    }

    /// Whether the upgrade that is on trial is taken back, because the incarnation has ended so.
    pub(super) fn is_to_be_taken_back(&self, down: &Down) -> bool {
        let (Down::Failed { reason, .. }, Some(trial)) = (down, &self.progress.trial) else { return false };
        let spec = &self.context.spec;
        let by_policy = spec.manifest.on_upgrade_failure == UpgradeFailure::Rollback && is_own_fault(*reason);
        let is_called = trial.migrates_from(&spec.program).is_none() && !trial.has_written_rows;
        trial.before.is_some() && (self.progress.is_migrating || by_policy && is_called)
    }

    /// The beginning of the build and the state from before the upgrade that is on trial.
    #[inline(never)]
    pub(super) fn taken_back(
        &mut self,
        chain: StateChain,
        reply: Option<SpawnReply>,
        why: &LifecycleError,
    ) -> Box<Beginning> {
        fail::point("taking-back");
        fail::point_after("taking-back-committed", || _ = self.context.theater.journal.flush());
        let name = self.context.name();
        log::error!("the upgrade of actor {name} is taken back, and it goes on with the build from before: {why}");
        let trial = self.progress.trial.take().expect("an upgrade is on trial");
        let before = trial.before.expect("there is a way back");
        match self.listeners.change(&self.context, &before) {
            Ok(changed) => self.adopt(&before, changed),
            // Its start says why, and its policy decides.
            Err(_) => {
                self.listeners.retire(&self.context);
                self.adopt(&before, ChangedListeners::default());
            }
        }
        self.before = None;
        self.progress.recorded_end = None;
        let told = format!("the upgrade was taken back, and the actor goes on with the build from before: {why}");
        let reply = reply.map(|reply| reply.refusing(told.into()));
        let successor = self.progress.successor.take();
        let again = self.again(chain, trial.state, RestartState::Last, reply);
        Box::new(Beginning { reason: StartReason::Upgrade, successor, ..again })
    }
}
