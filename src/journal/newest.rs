//! The newest states that are too large to stand in their events, and are not stored yet.
//!
//! To write such a state with each commit would be to write it a million times. It is stored when it is kept, when its actor
//! ends, before anything is dropped from its chain, and at an orderly end; until then it is here, for everyone in this
//! process who asks for it. After a crash the few transitions since the last stored state are executed again.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// By the actor's key: the event that led to the state, and the state.
#[derive(Default)]
pub(super) struct NewestStates(Mutex<HashMap<i64, (u64, Arc<[u8]>)>>);

impl NewestStates {
    /// An event has led to this state.
    pub(super) fn put(&self, actor: i64, sequence: u64, state: Arc<[u8]>) {
        self.0.lock().insert(actor, (sequence, state));
    }

    /// The actor's newest state is elsewhere from here on.
    pub(super) fn take(&self, actor: i64) {
        self.0.lock().remove(&actor);
    }

    /// The actor's newest state, if it is here.
    pub(super) fn newest(&self, actor: i64) -> Option<(u64, Arc<[u8]>)> {
        self.0.lock().get(&actor).cloned()
    }

    /// The state that the event led to, if it is here.
    pub(super) fn get(&self, actor: i64, sequence: u64) -> Option<Arc<[u8]>> {
        let states = self.0.lock();
        states.get(&actor).filter(|(at, _)| *at == sequence).map(|(_, state)| Arc::clone(state))
    }

    /// The actors that have one here, in order.
    pub(super) fn actors(&self) -> Vec<i64> {
        let mut actors: Vec<i64> = self.0.lock().keys().copied().collect();
        actors.sort_unstable();
        actors
    }
}
