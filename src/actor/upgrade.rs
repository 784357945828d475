//! An upgrade that was asked for, and the place where the supervisor leaves it for the actor's thread.
//!
//! The thread takes it between two transitions. So nothing is aborted for an upgrade, and what waits for the actor, or what
//! the actor waits for, is not touched.

use std::sync::Arc;

use parking_lot::Mutex;

use super::spec::Spec;
use super::verdict::SpawnReply;

/// An upgrade that was asked for.
pub(crate) struct Upgrade {
    pub(crate) spec: Arc<Spec>,
    pub(crate) reply: SpawnReply,
}

/// Where an upgrade waits for its actor's thread.
#[derive(Default)]
pub(crate) struct UpgradeSlot(Mutex<Option<Box<Upgrade>>>);

impl UpgradeSlot {
    /// Leaves an upgrade for the thread. One that waits there already comes back.
    pub(crate) fn put(&self, upgrade: Box<Upgrade>) -> Result<(), Box<Upgrade>> {
        let mut slot = self.0.lock();
        if slot.is_some() {
            return Err(upgrade);
        }
        *slot = Some(upgrade);
        Ok(())
    }

    pub(crate) fn take(&self) -> Option<Box<Upgrade>> {
        self.0.lock().take()
    }

    pub(crate) fn is_waited_in(&self) -> bool {
        self.0.lock().is_some()
    }
}
