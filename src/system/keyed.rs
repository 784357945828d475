//! Requests with an idempotency key that are under way.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::id::ActorId;
use crate::chain::KeyDigest;
use crate::journal::JournalHandle;

/// The keyed requests that are under way, by the actor that is asked.
#[derive(Clone, Default)]
pub(crate) struct KeyedRequests(Arc<Mutex<HashSet<(ActorId, KeyDigest)>>>);

/// One of them. Dropping it gives its place back; if it was delivered, once everything that was recorded so far is committed.
pub(crate) struct KeyedRequest {
    key: String,
    place: Option<KeyedPlace>,
    is_delivered: bool,
}

struct KeyedPlace {
    at: (ActorId, KeyDigest),
    all: KeyedRequests,
    journal: JournalHandle,
}

impl KeyedRequests {
    /// Takes the place of a key; none where it is taken.
    pub(crate) fn begin(
        &self,
        journal: &JournalHandle,
        actor: ActorId,
        digest: KeyDigest,
        key: &str,
    ) -> Option<KeyedRequest> {
        let at = (actor, digest);
        let is_free = self.0.lock().insert(at);
        let place = || KeyedPlace { at, all: self.clone(), journal: journal.clone() };
        is_free.then(|| KeyedRequest { key: key.to_owned(), place: Some(place()), is_delivered: false })
    }
}

impl KeyedPlace {
    fn give_back(&self) {
        self.all.0.lock().remove(&self.at);
    }
}

impl KeyedRequest {
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// From here on an actor may record something of it.
    pub(super) fn delivered(mut self) -> Self {
        self.is_delivered = true;
        self
    }

    /// Gives the place back at once: all that was recorded is committed.
    pub(crate) fn end(mut self) {
        self.place.take().iter().for_each(KeyedPlace::give_back);
    }
}

impl Drop for KeyedRequest {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        if !self.is_delivered {
            return place.give_back();
        }
        let journal = place.journal.clone();
        // The error of a journal that is down is ignored: nobody is delivered anything then.
        let _ = journal.release(move || place.give_back());
    }
}

impl std::fmt::Debug for KeyedRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("KeyedRequest").field(&self.key).finish()
    }
}
