//! Whether each message that was sent has arrived: taken, named as dropped, or owed still. For the audit of a journal.
//!
//! Earlier versions wrote, at a start, the end of a child whose parent had ended while it was busy, and named what had
//! waited in its mailbox without saying what it was: `dropped: [null, null]`. Such an end accounts for as many messages
//! to its actor as it has nulls, of those that were sent before it and that nothing else accounts for. An end that names
//! causes, or that another actor or an operator asked for, accounts for what it names and nothing else.

use std::collections::{HashMap, HashSet};

use crate::base::id::ActorId;
use crate::chain::Link;
use crate::chain::data::{Failed, FailureReason, Stopped, StoppedBy};

/// A send as its sender recorded it.
pub(crate) struct Sent {
    pub(crate) from: ActorId,
    pub(crate) sequence: u64,
    pub(crate) to: ActorId,
    /// Where it comes among all events, as far as that is known.
    pub(crate) at: u64,
}

/// What an end says of the deliveries that nobody will come to.
pub(crate) struct DroppedAtEnd {
    causes: Vec<Option<Link>>,
    /// A start may have written it for deliveries that had causes.
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

/// What became of sends, by sender and sequence, while chains are read.
#[derive(Default)]
pub(crate) struct Arrivals {
    sent: Vec<Sent>,
    settled: HashSet<(ActorId, u64)>,
    /// The latest event of each sender that each receiver has taken a send of.
    latest: HashMap<(ActorId, ActorId), u64>,
    /// Receivers that may have taken what nobody can see any more.
    forgetful: HashSet<ActorId>,
    /// Of each receiver: where an end stands that names nothing, once for each null in it.
    unnamed: HashMap<ActorId, Vec<u64>>,
}

impl Arrivals {
    pub(crate) fn sent(&mut self, sent: Sent) {
        self.sent.push(sent);
    }

    /// A message was taken, or a call quotes it whose data is gone.
    pub(crate) fn taken(&mut self, cause: &Link) {
        self.settled.insert((cause.actor, cause.sequence));
    }

    /// A send was taken by `receiver`: what the same sender sent it before cannot come any more.
    pub(crate) fn send_taken(&mut self, receiver: ActorId, cause: &Link) {
        self.taken(cause);
        let latest = self.latest.entry((cause.actor, receiver)).or_default();
        *latest = cause.sequence.max(*latest);
    }

    /// An incarnation of `receiver` has ended, at `at` among all events.
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

    /// Data of `receiver` was dropped: what it took may be among it.
    pub(crate) fn cannot_be_seen(&mut self, receiver: ActorId) {
        self.forgetful.insert(receiver);
    }

    /// The sends that have not arrived although nothing is in their way, and how many are on their way. `is_owed` by
    /// sender and sequence; `is_known` says whether the receiver's chain is there.
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

    /// One of the deliveries that an end behind `at` names without saying what it was; the first such end gives way.
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
