//! A growing chain, and the check that consecutive events are linked.
//!
//! In memory a chain is only its head, the last event's sequence and hash; the earlier events are in the journal.

use std::borrow::Cow;

use rayon::prelude::*;

use super::event::{ChainEvent, EventType};
use super::hash::EventHash;
use super::salt::Salt;
use crate::base::id::ActorId;
use crate::base::pool;

/// A reference to one event of one actor, valid across chains.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// The actor whose chain holds the event.
    pub actor: ActorId,
    /// The event's place in that chain.
    pub sequence: u64,
    /// The event's hash, which covers all events before it.
    pub hash: EventHash,
}

/// The last event of a chain: its sequence and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) sequence: u64,
    pub(crate) hash: EventHash,
}

/// One actor's chain while its owner extends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StateChain {
    actor: ActorId,
    head: Option<Head>,
}

impl StateChain {
    /// The empty chain of a new actor.
    pub(crate) fn new(actor: ActorId) -> Self {
        Self { actor, head: None }
    }

    /// A chain that continues after `head`. The caller has `head` from a trusted journal or from events it has
    /// verified.
    pub(crate) fn after(actor: ActorId, head: Head) -> Self {
        Self { actor, head: Some(head) }
    }

    /// Whose chain it is.
    pub(crate) fn actor(&self) -> ActorId {
        self.actor
    }

    pub(crate) fn head(&self) -> Option<Head> {
        self.head
    }

    /// The sequence that the next event will have.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.head.map_or(0, |head| head.sequence + 1)
    }

    /// A link to the last event.
    pub(crate) fn head_link(&self) -> Option<Link> {
        self.head.map(|Head { sequence, hash }| Link { actor: self.actor, sequence, hash })
    }

    /// Continues the chain after `head`, an event whose hash the caller has verified.
    pub(crate) fn take(&mut self, head: Head) {
        self.head = Some(head);
    }

    /// Appends a new event after the head. It is of version 3, with a salt of its own.
    pub(crate) fn append(
        &mut self,
        event_type: impl Into<Cow<'static, str>>,
        data: Vec<u8>,
        timestamp: u64,
    ) -> ChainEvent {
        let salt = Salt::draw(self.actor, self.next_sequence());
        self.append_salted(event_type, data, timestamp, Some(salt))
    }

    /// Appends an event after the head that was recorded before: of version 3 if it has a salt, else of version 1.
    pub(crate) fn append_salted(
        &mut self,
        event_type: impl Into<Cow<'static, str>>,
        data: Vec<u8>,
        timestamp: u64,
        salt: Option<Salt>,
    ) -> ChainEvent {
        let mut event = ChainEvent {
            sequence: self.next_sequence(),
            hash: EventHash([0; 20]),
            parent_hash: self.head.map(|head| head.hash),
            event_type: event_type.into(),
            data,
            salt,
            dropped: None,
            timestamp,
        };
        event.hash = EventHash::of(&event);
        self.head = Some(Head { sequence: event.sequence, hash: event.hash });
        event
    }
}

/// The first place where a chain is broken, and the fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainBroken {
    /// An event is missing, or occurs twice.
    #[error("event {expected} is missing: event {found} stands in its place")]
    Gap {
        /// The expected value.
        expected: u64,
        /// The value that was found.
        found: u64,
    },
    /// An event names another parent than the event before it.
    #[error("event {sequence}: its parent is {found}, but event {} hashes to {expected}", sequence - 1)]
    WrongParent {
        /// The event.
        sequence: u64,
        /// The value that was found.
        found: EventHash,
        /// The expected value.
        expected: EventHash,
    },
    /// An event that is not the first names no parent.
    #[error("event {sequence}: it names no parent, but it is not the first")]
    NoParent {
        /// The event.
        sequence: u64,
    },
    /// The first event names a parent.
    #[error("event 0: it names the parent {found}, but it is the first")]
    FirstHasParent {
        /// The value that was found.
        found: EventHash,
    },
    /// An event was altered: its contents have another hash.
    #[error("event {sequence}: its hash is {found}, but its contents hash to {expected}")]
    WrongHash {
        /// The event.
        sequence: u64,
        /// The value that was found.
        found: EventHash,
        /// The expected value.
        expected: EventHash,
    },
    /// An event was built to collide under SHA-1.
    #[error("event {sequence}: its contents were built to collide under SHA-1")]
    Collision {
        /// The event.
        sequence: u64,
    },
    /// An event is of no kind that there is.
    #[error("event {sequence}: \"{found}\" is not an event type")]
    UnknownType {
        /// The event.
        sequence: u64,
        /// The value that was found.
        found: String,
    },
    /// An event of an earlier version stands after one of version 3.
    #[error("event {sequence}: it has no salt, but an event before it has one")]
    Unsalted {
        /// The event.
        sequence: u64,
    },
    /// The chain does not begin with a start.
    #[error("event 0 is of type \"{found}\", but a chain begins with \"started\"")]
    NotStarted {
        /// The value that was found.
        found: String,
    },
}

/// Checks that `event` follows `before`, and that its hash covers its contents.
pub(crate) fn check_link(before: Option<&Head>, event: &ChainEvent) -> Result<Head, ChainBroken> {
    let sequence = event.sequence;
    let expected = before.map_or(0, |head| head.sequence + 1);
    if sequence != expected {
        return Err(ChainBroken::Gap { expected, found: sequence });
    }
    if EventType::parse(&event.event_type).is_none() {
        return Err(ChainBroken::UnknownType { sequence, found: event.event_type.to_string() });
    }
    match (before, event.parent_hash) {
        (None, None) if event.event_type != "started" => {
            return Err(ChainBroken::NotStarted { found: event.event_type.to_string() });
        }
        (None, None) => {}
        (None, Some(found)) => return Err(ChainBroken::FirstHasParent { found }),
        (Some(_), None) => return Err(ChainBroken::NoParent { sequence }),
        (Some(head), Some(found)) if head.hash != found => {
            return Err(ChainBroken::WrongParent { sequence, found, expected: head.hash });
        }
        (Some(_), Some(_)) => {}
    }
    match EventHash::of_checked(event) {
        None => Err(ChainBroken::Collision { sequence }),
        Some(hash) if hash != event.hash => Err(ChainBroken::WrongHash { sequence, found: event.hash, expected: hash }),
        Some(hash) => Ok(Head { sequence, hash }),
    }
}

/// Whether the events of a chain went over to version 3: from then on, none is of version 1.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Salting(bool);

impl Salting {
    /// Takes the next event of the chain.
    pub(crate) fn follow(&mut self, event: &ChainEvent) -> Result<(), ChainBroken> {
        if self.0 && !event.is_salted() {
            return Err(ChainBroken::Unsalted { sequence: event.sequence });
        }
        self.0 = event.is_salted();
        Ok(())
    }

    /// Whether the last event is of version 3.
    pub(crate) fn has_begun(self) -> bool {
        self.0
    }
}

/// Applies [`check_link`] to consecutive events, on all cores. This works in parallel because hashing is most of the
/// work, and each hash needs only its own event and the recorded hash before it. Returns the first fault and its index.
pub(crate) fn first_broken(before: Option<&Head>, events: &[ChainEvent]) -> Option<(usize, ChainBroken)> {
    /// A shorter run is not worth distributing over threads.
    const SHARE: usize = 64;
    let broken_at = |at: usize| {
        let preceding = at.checked_sub(1).map(|at| &events[at]).map(|it| Head { sequence: it.sequence, hash: it.hash });
        let before = if at == 0 { before } else { preceding.as_ref() };
        check_link(before, &events[at]).err().map(|broken| (at, broken))
    };
    match pool::make_ready() {
        Ok(()) => (0..events.len()).into_par_iter().with_min_len(SHARE).find_map_first(broken_at),
        // Without a pool of threads, check one after the other, which takes longer.
        Err(_) => (0..events.len()).find_map(broken_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPES: [&str; 3] = ["started", "call ntwk:theater/actor.init", "return ntwk:theater/actor.init"];

    fn three_events_of_version_1() -> Vec<ChainEvent> {
        let mut chain = StateChain::new(ActorId::random());
        TYPES.into_iter().map(|event_type| chain.append_salted(event_type, vec![0xa0], 1_000, None)).collect()
    }

    fn three_events() -> Vec<ChainEvent> {
        let mut chain = StateChain::new(ActorId::random());
        TYPES.into_iter().map(|event_type| chain.append(event_type, vec![0xa0], 1_000)).collect()
    }

    fn check(events: &[ChainEvent]) -> Result<(), ChainBroken> {
        events.iter().try_fold(None, |head: Option<Head>, event| check_link(head.as_ref(), event).map(Some)).map(|_| ())
    }

    #[test]
    fn an_untouched_chain_holds_together() {
        assert_eq!(check(&three_events()), Ok(()));
        assert_eq!(check(&three_events_of_version_1()), Ok(()));
    }

    #[test]
    fn every_altered_field_shows_at_the_event_that_was_altered() {
        let alterations: [fn(&mut ChainEvent); 5] = [
            |event| event.hash.0[0] ^= 1,
            |event| event.parent_hash.as_mut().expect("not the first").0[19] ^= 1,
            |event| event.event_type = "call ntwk:theater/actor.exit".into(),
            |event| event.data.push(0),
            |event| event.timestamp += 1,
        ];
        let salt_alone: [fn(&mut ChainEvent); 2] =
            [|event| event.salt.as_mut().expect("a salted event").0[0] ^= 1, |event| event.salt = None];
        let salted = alterations.iter().chain(&salt_alone).map(|alter| (three_events(), alter));
        for (mut events, alter) in alterations.iter().map(|alter| (three_events_of_version_1(), alter)).chain(salted) {
            alter(&mut events[1]);
            let broken = check(&events).expect_err("an altered event");
            assert!(broken.to_string().starts_with("event 1: "), "{broken}");
        }
    }

    #[test]
    fn every_new_event_is_of_version_3_and_has_a_salt_of_its_own_also_on_a_chain_of_version_1() {
        let actor = ActorId::random();
        let mut chain = StateChain::new(actor);
        let older = chain.append_salted("started", vec![0xa0], 1_000, None);
        let newer = StateChain::after(actor, chain.head().expect("an event")).append("stopped", vec![0xa0], 1_000);
        assert_eq!((older.is_salted(), newer.is_salted()), (false, true));
        assert_eq!(newer.parent_hash, Some(older.hash));
        assert_eq!(check(&[older, newer]), Ok(()));

        let salts: std::collections::HashSet<_> = three_events().iter().filter_map(|event| event.salt).collect();
        assert_eq!(salts.len(), 3);
    }

    #[test]
    fn a_dropped_doubled_or_swapped_event_shows() {
        let events = three_events();
        let dropped = [events[0].clone(), events[2].clone()];
        assert_eq!(check(&dropped), Err(ChainBroken::Gap { expected: 1, found: 2 }));
        let doubled = [events[0].clone(), events[1].clone(), events[1].clone()];
        assert_eq!(check(&doubled), Err(ChainBroken::Gap { expected: 2, found: 1 }));
        let swapped = [events[0].clone(), events[2].clone(), events[1].clone()];
        assert_eq!(check(&swapped), Err(ChainBroken::Gap { expected: 1, found: 2 }));
        assert!(matches!(check(&events[1..]), Err(ChainBroken::Gap { expected: 0, found: 1 })));
    }

    #[test]
    fn a_chain_begins_with_started() {
        let mut chain = StateChain::new(ActorId::random());
        let event = chain.append("stopped", vec![0xa0], 0);
        assert_eq!(check(&[event]), Err(ChainBroken::NotStarted { found: "stopped".into() }));
    }
}
