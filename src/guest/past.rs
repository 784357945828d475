//! The past of a replay: the events that it has passed, as far as `get-chain` may still show them to the guest. (A live
//! guest is shown events that are read from the journal.)

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::limits::{GUEST_CHAIN_BYTES, GUEST_CHAIN_EVENTS};
use crate::chain::data::Started;
use crate::chain::shown::shown_from;
use crate::chain::{ChainEvent, EventKind};

/// The events that a replay has passed, as far as a guest may still be shown them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    events: VecDeque<Arc<ChainEvent>>,
    bytes: usize,
}

impl Past {
    /// Adds the next event, and drops those that no guest can be shown any more. A start that goes on with an open
    /// transition drops nothing, because a host call that was recorded before it is still to be answered.
    pub(crate) fn push(&mut self, event: ChainEvent) {
        if self.last().is_some_and(|last| last >= event.sequence) {
            return;
        }
        if !resumes(&event) {
            self.trim();
        }
        self.bytes = self.bytes.saturating_add(event.data.len());
        self.events.push_back(Arc::new(event));
    }

    /// Drops all events that the next event could not show, if it were a call of `get-chain`.
    fn trim(&mut self) {
        while self.events.len() as u64 > GUEST_CHAIN_EVENTS || self.bytes > GUEST_CHAIN_BYTES {
            let Some(first) = self.events.pop_front() else { return };
            self.bytes -= first.data.len();
        }
    }

    /// The sequence of the newest event.
    pub(crate) fn last(&self) -> Option<u64> {
        self.events.back().map(|event| event.sequence)
    }

    /// The events that a call of `get-chain` which is event `upto` may show.
    pub(crate) fn before(&self, upto: u64) -> Vec<ChainEvent> {
        let before = self.events.iter().filter(|event| (shown_from(upto)..upto).contains(&event.sequence));
        before.map(|event| (**event).clone()).collect()
    }
}

/// Whether the event is a start that goes on with the open transition.
pub(crate) fn resumes(event: &ChainEvent) -> bool {
    event.kind() == Some(EventKind::Started) && event.read::<Started>().is_ok_and(|started| started.resumes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::ActorId;
    use crate::chain::StateChain;
    use crate::chain::shown::shown;

    /// A chain whose events have data of these sizes.
    fn chain(sizes: &[usize]) -> Vec<ChainEvent> {
        let mut chain = StateChain::new(ActorId::random());
        sizes.iter().map(|size| chain.append("call x.y", vec![0; *size], 0)).collect()
    }

    /// The sequences of the events that a live guest is shown: the newest ones before event `upto`.
    fn live(events: &[ChainEvent], upto: u64) -> Vec<u64> {
        let from = usize::try_from(shown_from(upto)).expect("a small number");
        let before = &events[from..usize::try_from(upto).expect("a small number")];
        before[before.len() - shown(before.iter())..].iter().map(|event| event.sequence).collect()
    }

    fn agrees_everywhere(sizes: &[usize]) {
        let events = chain(sizes);
        let mut past = Past::default();
        for event in &events {
            past.push(event.clone());
            // The call is on the chain by then, but is not shown itself.
            let upto = event.sequence;
            let before = past.before(upto);
            let replayed: Vec<u64> =
                before[before.len() - shown(before.iter())..].iter().map(|event| event.sequence).collect();
            assert_eq!(replayed, live(&events, upto), "at event {upto}");
        }
    }

    #[test]
    fn a_guest_is_shown_the_same_events_live_and_in_replay_whatever_the_length_of_its_chain() {
        agrees_everywhere(&[1; 2_100]);
        let around = GUEST_CHAIN_BYTES / 8;
        agrees_everywhere(&[around - 1, around, around + 1].repeat(12));
        agrees_everywhere(&[GUEST_CHAIN_BYTES, 1, GUEST_CHAIN_BYTES + 1, 1, 1, GUEST_CHAIN_BYTES - 1, 1, 1]);
    }
}
