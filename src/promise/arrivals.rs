//! The audit of sent messages: each message must have arrived. It was taken, named as dropped, or is still owed.
//!
//! Earlier versions of Theater wrote at a start the end of a child whose parent had ended while the child was busy.
//! Such an end named the deliveries in the child's mailbox without their causes: `dropped: [null, null]`. It accounts
//! for as many messages to the child as it has nulls, out of those that were sent before it and that nothing else
//! accounts for. An end that names causes, and an end that another actor or an operator asked for, accounts only for
//! what it names.

use std::collections::{HashMap, HashSet};

use crate::base::id::ActorId;
use crate::chain::Link;
use crate::chain::data::{Failed, FailureReason, Stopped, StoppedBy};

/// A send, as its sender recorded it.
pub(crate) struct Sent {
    pub(crate) from: ActorId,
    pub(crate) sequence: u64,
    pub(crate) to: ActorId,
    /// Its place in the order of all events, as far as that is known.
    pub(crate) at: u64,
}

/// The deliveries that an end names as dropped.
pub(crate) struct DroppedAtEnd {
    causes: Vec<Option<Link>>,
    /// Whether a start of an earlier version may have written the end, so that its nulls stand for messages.
    may_be_unnamed: bool,
}

impl From<Failed> for DroppedAtEnd {
    fn from(Failed { reason, dropped, .. }: Failed) -> Self {
        Self { may_be_unnamed: reason == FailureReason::Init, causes: dropped }
    }
}

impl From<Stopped> for DroppedAtEnd {
    fn from(Stopped { by, cause, dropped }: Stopped) -> Self {
        Self { may_be_unnamed: by == StoppedBy::Supervisor && cause.is_none(), causes: dropped }
    }
}

/// The outcome of each send, collected while the chains are read.
#[derive(Default)]
pub(crate) struct Arrivals {
    sent: Vec<Sent>,
    settled: HashSet<(ActorId, u64)>,
    /// By sender and receiver: the latest send that the receiver has taken.
    latest: HashMap<(ActorId, ActorId), u64>,
    /// Receivers whose data was dropped in part: they may have taken messages without a trace.
    forgetful: HashSet<ActorId>,
    /// By receiver: the place of each end that names no causes, once for each null in it.
    unnamed: HashMap<ActorId, Vec<u64>>,
}

impl Arrivals {
    pub(crate) fn sent(&mut self, sent: Sent) {
        self.sent.push(sent);
    }

    /// Notes that a message, or a round of a timer, was taken; `false` if it was taken or dropped before. The event that
    /// promised it may have lost its data.
    pub(crate) fn taken(&mut self, cause: &Link) -> bool {
        self.settled.insert((cause.actor, cause.sequence))
    }

    /// Notes that `receiver` took a send. Earlier sends of the same sender to it cannot arrive any more.
    pub(crate) fn send_taken(&mut self, receiver: ActorId, cause: &Link) {
        self.taken(cause);
        let latest = self.latest.entry((cause.actor, receiver)).or_default();
        *latest = cause.sequence.max(*latest);
    }

    /// Notes that an incarnation of `receiver` has ended, at the place `at` in the order of all events.
    pub(crate) fn dropped(
        &mut self,
        receiver: ActorId,
        at: u64,
        DroppedAtEnd { causes, may_be_unnamed }: &DroppedAtEnd,
    ) {
        self.settled.extend(causes.iter().flatten().map(|link| (link.actor, link.sequence)));
        if *may_be_unnamed && !causes.is_empty() && causes.iter().all(Option::is_none) {
            self.unnamed.entry(receiver).or_default().extend(causes.iter().map(|_| at));
        }
    }

    /// Notes that data of `receiver` was dropped. The messages that it took may have been in that data.
    pub(crate) fn cannot_be_seen(&mut self, receiver: ActorId) {
        self.forgetful.insert(receiver);
    }

    /// The sends that are lost, and the number of sends that are still on their way. `is_owed` is asked by sender and
    /// sequence; `is_known` says whether the receiver's chain is in the journal.
    pub(crate) fn missing(
        mut self,
        is_owed: impl Fn(&(ActorId, u64)) -> bool,
        is_known: impl Fn(&ActorId) -> bool,
    ) -> (Vec<Sent>, u64) {
        let (mut missing, mut on_their_way) = (Vec::new(), 0);
        for sent in std::mem::take(&mut self.sent) {
            let Sent { from, sequence, to, at } = sent;
            if self.settled.contains(&(from, sequence)) || self.forgetful.contains(&to) {
                continue;
            }
            let is_lost = !is_owed(&(from, sequence)) && is_known(&to);
            let is_overtaken = self.latest.get(&(from, to)).is_some_and(|latest| *latest > sequence);
            if !is_lost && !is_overtaken {
                on_their_way += 1;
            } else if !self.take_unnamed(to, at) {
                missing.push(sent);
            }
        }
        (missing, on_their_way)
    }

    /// Uses up one null of an end that `receiver` wrote after `at`, the earliest such end first; whether there was one.
    fn take_unnamed(&mut self, receiver: ActorId, at: u64) -> bool {
        let Some(ends) = self.unnamed.get_mut(&receiver) else { return false };
        let Some(found) = ends.iter().position(|end| *end >= at) else { return false };
        ends.remove(found);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::EventHash;

    fn link(actor: ActorId, sequence: u64) -> Link {
        Link { actor, sequence, hash: EventHash([0; 20]) }
    }

    fn by_supervisor(dropped: Vec<Option<Link>>) -> DroppedAtEnd {
        Stopped { by: StoppedBy::Supervisor, cause: None, dropped }.into()
    }

    /// Three sends, and then an end; how many are missing.
    fn missing_after(end: impl FnOnce(ActorId, ActorId) -> DroppedAtEnd) -> usize {
        let (from, to) = (ActorId::random(), ActorId::random());
        let mut arrivals = Arrivals::default();
        for sequence in [3, 4, 5] {
            arrivals.sent(Sent { from, sequence, to, at: sequence });
        }
        arrivals.send_taken(to, &link(from, 3));
        arrivals.dropped(to, 9, &end(from, to));
        let (missing, on_their_way) = arrivals.missing(|_| false, |_| true);
        assert_eq!(on_their_way, 0);
        missing.len()
    }

    #[test]
    fn an_end_that_an_earlier_start_wrote_accounts_for_as_many_messages_as_it_has_nulls() {
        assert_eq!(missing_after(|_, _| by_supervisor(vec![])), 2);
        assert_eq!(missing_after(|_, _| by_supervisor(vec![None])), 1);
        assert_eq!(missing_after(|_, _| by_supervisor(vec![None, None])), 0);
        assert_eq!(missing_after(|from, _| by_supervisor(vec![Some(link(from, 4)), Some(link(from, 5))])), 0);
    }

    #[test]
    fn an_end_that_names_causes_or_was_asked_for_or_came_before_accounts_for_nothing_else() {
        assert_eq!(missing_after(|from, _| by_supervisor(vec![Some(link(from, 4)), None])), 1);
        let asked = |by| Stopped { by, cause: None, dropped: vec![None, None] }.into();
        assert_eq!(missing_after(|_, _| asked(StoppedBy::Operator)), 2);
        let mut arrivals = Arrivals::default();
        let (from, to) = (ActorId::random(), ActorId::random());
        arrivals.dropped(to, 2, &by_supervisor(vec![None]));
        arrivals.sent(Sent { from, sequence: 3, to, at: 3 });
        assert_eq!(arrivals.missing(|_| false, |_| true).0.len(), 1);
    }
}
