//! Answers that actors have put off: for each actor, the replies that it has taken over with `defer` and has not answered.
//!
//! Only the actor's own thread puts a reply here, and takes it. Whoever waits for the answer gives up by itself, when its
//! deadline passes. So an answer that nobody waits for any more stays here until the actor tries to give it, needs its place, or
//! ends.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;

use super::reply::Reply;
use crate::base::id::ActorId;

/// An answer that was put off.
#[derive(Debug)]
struct Deferral {
    reply: Reply,
    is_http: bool,
}

/// What is known of an answer that was put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenDeferral {
    /// Whether an HTTP client waits for it, and no message.
    pub(crate) is_http: bool,
    /// Whether somebody still waits for it.
    pub(crate) is_awaited: bool,
    /// The request has an idempotency key: who repeats it gets the answer.
    pub(crate) is_keyed: bool,
}

/// The answers of all actors that were put off, each by the sequence of the event that put it off.
#[derive(Debug, Default)]
pub(crate) struct Deferrals(Mutex<HashMap<ActorId, BTreeMap<u64, Deferral>>>);

impl Deferrals {
    /// Notes that the answer to `reply` was put off.
    pub(crate) fn put(&self, actor: ActorId, token: u64, reply: Reply, is_http: bool) {
        self.0.lock().entry(actor).or_default().insert(token, Deferral { reply, is_http });
    }

    /// What is known of an answer, if it was put off and not given.
    pub(crate) fn look(&self, actor: ActorId, token: u64) -> Option<OpenDeferral> {
        let all = self.0.lock();
        let Deferral { reply, is_http } = all.get(&actor)?.get(&token)?;
        Some(OpenDeferral { is_http: *is_http, is_awaited: reply.is_awaited(), is_keyed: reply.key().is_some() })
    }

    /// Takes the reply out.
    pub(crate) fn take(&self, actor: ActorId, token: u64) -> Option<Reply> {
        let mut all = self.0.lock();
        let own = all.get_mut(&actor)?;
        let taken = own.remove(&token);
        if own.is_empty() {
            all.remove(&actor);
        }
        taken.map(|deferral| deferral.reply)
    }

    /// Whether the actor may put off one more answer: the inner value is one that nobody waits for any more, whose place it
    /// takes. `None` if there is no room.
    pub(crate) fn room(&self, actor: ActorId, limit: u64) -> Option<Option<u64>> {
        let all = self.0.lock();
        let own = all.get(&actor);
        if own.map_or(0, |own| own.len() as u64) < limit {
            return Some(None);
        }
        own?.iter().find(|(_, deferral)| !deferral.reply.is_awaited()).map(|(token, _)| Some(*token))
    }

    /// The tokens of an actor's open answers, in the order in which they were put off.
    pub(crate) fn open(&self, actor: ActorId) -> Vec<u64> {
        self.0.lock().get(&actor).map_or(Vec::new(), |own| own.keys().copied().collect())
    }

    /// Takes all replies of an actor out.
    pub(crate) fn take_all(&self, actor: ActorId) -> Vec<Reply> {
        let taken = self.0.lock().remove(&actor).unwrap_or_default();
        taken.into_values().map(|deferral| deferral.reply).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_there_until_it_is_taken_and_one_that_nobody_awaits_gives_way() {
        let (deferrals, actor) = (Deferrals::default(), ActorId::random());
        let (reply, awaited) = Reply::outside();
        assert!(reply.claim());
        deferrals.put(actor, 3, reply, true);
        assert_eq!(deferrals.look(actor, 3), Some(OpenDeferral { is_http: true, is_awaited: true, is_keyed: false }));
        assert_eq!((deferrals.room(actor, 2), deferrals.room(actor, 1)), (Some(None), None));
        awaited.withdraw();
        assert_eq!(deferrals.look(actor, 3), Some(OpenDeferral { is_http: true, is_awaited: false, is_keyed: false }));
        assert_eq!(deferrals.room(actor, 1), Some(Some(3)));
        assert_eq!(deferrals.open(actor), [3]);
        assert!(deferrals.take(actor, 3).is_some() && deferrals.take(actor, 3).is_none());
        deferrals.put(actor, 4, Reply::Nobody, false);
        assert_eq!(deferrals.take_all(actor).len(), 1);
        assert!(deferrals.0.lock().is_empty());
        assert_eq!(deferrals.room(actor, 0), None);
    }
}
