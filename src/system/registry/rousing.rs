//! Rousing: whoever has something for an actor that is asleep takes the mark away that says so, and has the actor woken.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Registry;
use crate::base::id::ActorId;
use crate::system::mailbox::Mailbox;

/// How actors are woken, and whether some wait for a thread.
#[derive(Default)]
pub(super) struct Rousing {
    wake: OnceLock<Wake>,
    is_crowded: AtomicBool,
}

type Wake = Box<dyn Fn(ActorId) + Send + Sync>;

impl std::fmt::Debug for Rousing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rousing").field("is_crowded", &self.is_crowded).finish_non_exhaustive()
    }
}

impl Registry {
    /// Sets what is done to wake an actor. It must not block: senders call it.
    pub(crate) fn wakes_by(&self, wake: impl Fn(ActorId) + Send + Sync + 'static) {
        // It is set once, before any actor is there.
        let _ = self.1.wake.set(Box::new(wake));
    }

    /// Has an actor woken whose mailbox said until now that it is asleep.
    pub(crate) fn wake(&self, id: ActorId) {
        if let Some(wake) = self.1.wake.get() {
            wake(id);
        }
    }

    /// Pauses an actor, or resumes it. Whether that changes anything; `None` if there is no such actor.
    pub(crate) fn set_paused(&self, id: ActorId, is_paused: bool) -> Option<bool> {
        // Under the lock: a restart may be about to give the actor another mailbox.
        let inner = self.0.write();
        let mailbox = &inner.actors.get(&id)?.mailbox;
        if mailbox.is_paused() == is_paused {
            return Some(false);
        }
        let was_asleep = if is_paused {
            mailbox.pause();
            false
        } else {
            mailbox.resume()
        };
        drop(inner);
        if was_asleep {
            self.wake(id);
        }
        Some(true)
    }

    pub(super) fn rouse(&self, id: ActorId, mailbox: &Mailbox) {
        if mailbox.rouse() {
            self.wake(id);
        }
    }

    /// Whether actors wait for a thread, and none that could give one back is idle: who may sleep does so at once when it has
    /// nothing to do.
    pub(crate) fn is_crowded(&self) -> bool {
        self.1.is_crowded.load(Ordering::Relaxed)
    }

    pub(crate) fn set_crowded(&self, is_crowded: bool) {
        self.1.is_crowded.store(is_crowded, Ordering::Relaxed);
    }
}
