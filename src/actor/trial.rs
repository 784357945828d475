//! An upgrade on trial: no call has returned under the new build yet, so the actor can go back to the build before.

use std::sync::Arc;

use super::context::ActorContext;
use super::spec::Spec;
use crate::chain::data::NamedState;
use crate::chain::{ComponentDigest, MIGRATE};
use crate::guest::Program;
use crate::journal::JournalReader;

/// An upgrade on trial, as the actor's thread knows it.
pub(super) struct Trial {
    /// The build before; none if it cannot be had any more. Then there is no way back.
    pub(super) before: Option<Arc<Spec>>,
    /// The state that the upgrade began with.
    pub(super) state: Option<Arc<[u8]>>,
    /// The component that made this state, as long as it is the actor's state.
    pub(super) made_by: Option<ComponentDigest>,
    /// `migrate` has written rows of the table, which cannot be taken back.
    pub(super) has_written_rows: bool,
}

impl Trial {
    /// The trial that the chain of an actor is in, if it is in one. The build before is taken from `builds`.
    pub(super) fn on_chain<'a>(
        context: &ActorContext,
        reader: &JournalReader,
        builds: impl IntoIterator<Item = &'a Arc<Spec>>,
    ) -> Result<Option<Box<Self>>, String> {
        let unreadable = |error: crate::journal::ReadFault| error.to_string();
        let Some(trial) = reader.upgrade_trial(context.actor).map_err(unreadable)? else { return Ok(None) };
        let state = match trial.state {
            NamedState::None => None,
            NamedState::Inline(bytes) => Some(bytes),
            NamedState::Digest { sha1, .. } => {
                let blob = reader.sound_blob(&sha1).map_err(unreadable)?;
                Some(blob.ok_or("the state that its upgrade began with is not in the journal")?)
            }
        };
        let build = trial.before;
        let is_it = |spec: &&Arc<Spec>| spec.digest() == build.component && **spec.manifest.text() == *build.manifest;
        Ok(Some(Box::new(Self {
            before: builds.into_iter().find(is_it).cloned(),
            state: state.map(Arc::from),
            made_by: trial.unmigrated,
            has_written_rows: trial.has_written_rows,
        })))
    }

    /// Whether the state is not one of the new build yet.
    pub(super) fn is_unmigrated(&self) -> bool {
        self.made_by.is_some()
    }

    /// The component that made the state, if `program` is to migrate it.
    pub(super) fn migrates_from(&self, program: &Program) -> Option<ComponentDigest> {
        self.made_by.filter(|_| program.function(MIGRATE.full).is_some())
    }
}

/// What an upgrade begins with: the state, and the trial that it is on. `last` is the newest state, which the component
/// `component` of the build `old` has left; `trial` is the trial of that build, if it is on one.
pub(super) fn upgraded(
    new: &Arc<Spec>,
    (old, component): (Option<&Arc<Spec>>, ComponentDigest),
    last: Option<Arc<[u8]>>,
    trial: Option<Box<Trial>>,
) -> (Option<Arc<[u8]>>, Option<Box<Trial>>) {
    let is = |build: &Option<Arc<Spec>>| build.as_ref().is_some_and(|build| build.is_same_build(new));
    match trial {
        // It takes back the one that is on trial.
        Some(trial) if is(&trial.before) => (trial.state, None),
        trial if old.is_some_and(|old| old.is_same_build(new)) => (last, trial.filter(|trial| trial.is_unmigrated())),
        // A build that has not even migrated the state is none to go back to.
        Some(mut trial) if trial.is_unmigrated() => {
            trial.made_by.take_if(|made_by| *made_by == new.digest());
            trial.state.clone_from(&last);
            (last, Some(trial))
        }
        _ => {
            let made_by = (component != new.digest()).then_some(component);
            let trial = Trial { before: old.cloned(), state: last.clone(), made_by, has_written_rows: false };
            (last, Some(Box::new(trial)))
        }
    }
}
