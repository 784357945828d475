//! Reading states. A state is what the last event that named one names, or its row is not what was written, and is not
//! given out. Where the data of that event was dropped, no event vouches for the state: who builds upon one asks
//! [`JournalReader::vouched_at`].

use std::ops::ControlFlow::{Break, Continue};

use super::error::{ReadResult, unfit};
use super::index::Kept;
use super::reader::{JournalReader, kind};
use super::record::{ActorKey, EventPlace};
use crate::chain::cbor::Cbor;
use crate::chain::data::{Call, NamedState, Return, Started, StateAfter};
use crate::chain::{ChainEvent, EventHash, EventKind, StateOnChain, named_by_return};

type Result<T> = ReadResult<T>;

/// A state's bytes, or none.
type State = Option<Vec<u8>>;

impl JournalReader {
    /// The event that led to the newest state.
    pub(crate) fn newest_state_at(&self, actor: ActorKey) -> Result<Option<u64>> {
        Ok(self.chain_end(actor)?.and_then(|end| end.state).map(|led| led.sequence))
    }

    /// The actor's newest state: `None` where it has none. [`Newest::Behind`] where it is not stored: whoever wants it
    /// executes what the chain has behind the last stored one.
    pub(crate) fn newest_state(&self, actor: ActorKey) -> Result<Newest> {
        loop {
            let Some(led) = self.chain_end(actor)?.and_then(|end| end.state) else { return Ok(Newest::Is(None)) };
            let named = self.named_at(actor, led)?;
            match named {
                Some(NamedState::None) => return Ok(Newest::Is(None)),
                Some(NamedState::Inline(state)) => return Ok(Newest::Is(Some(state))),
                Some(NamedState::Digest { .. }) | None => {}
            }
            if let Some(state) = self.newest.get(actor.key, led.sequence) {
                return self.settled(actor, led.sequence, Some(state.to_vec())).map(Newest::Is);
            }
            if let Some(stored) = self.stored_state(actor, led)? {
                return self.settled(actor, led.sequence, stored).map(Newest::Is);
            }
            // The writer may have stored it, or have gone on, since the first look.
            if self.chain_end(actor)?.and_then(|end| end.state) == Some(led) && self.stored_state(actor, led)?.is_none()
            {
                return match named {
                    Some(_) => Ok(Newest::Behind(led.sequence)),
                    None => Err(unfit(format!("the state that event {} led to is not there", led.sequence))),
                };
            }
        }
    }

    /// What is wrong with the newest state: it is what the newest event says that names one. Of the newest events, this looks at
    /// so many; where none of them names a state, the place of the one that does is covered by the standing sum.
    pub(crate) fn wrong_newest_state(&self, actor: ActorKey, most: usize) -> Result<Option<String>> {
        let newest = self.newest_state(actor)?;
        let Some((at, StateOnChain::Named(named))) = self.named_within(actor, u64::MAX, most)? else { return Ok(None) };
        let led = self.chain_end(actor)?.and_then(|end| end.state);
        let goes_on_with = match (newest, led) {
            (Newest::Is(state), _) => Some(NamedState::of(state.as_deref())),
            (Newest::Behind(_), Some(led)) => self.named_at(actor, led)?,
            (Newest::Behind(_), None) => None,
        };
        if goes_on_with.as_ref() == Some(&named) {
            return Ok(None);
        }
        let led = led.map_or("no event".to_owned(), |led| format!("event {}", led.sequence));
        Ok(Some(format!("{led} is said to have led to its newest state, but event {at} did")))
    }

    /// The state behind an event, where it is stored: with the event, or in a record of its own.
    fn stored_state(&self, actor: ActorKey, led: EventPlace) -> Result<Option<State>> {
        match self.ask(|index| index.kept(actor.key, led.sequence))? {
            None => Ok(None),
            Some(Kept::InSegment(segment)) => match self.log.state(segment, actor.key.unsigned_abs(), led.sequence)? {
                Some(state) => Ok(Some(state)),
                None => Err(unfit(format!("the state behind event {} is not there", led.sequence))),
            },
            Some(Kept::InEvent) => match self.named_at(actor, led)? {
                Some(NamedState::None) => Ok(Some(None)),
                Some(NamedState::Inline(state)) => Ok(Some(Some(state))),
                Some(NamedState::Digest { sha1, .. }) => match self.log.part(led.position, &sha1)? {
                    Some(state) => Ok(Some(Some(state))),
                    None => Err(unfit(format!("the state behind event {} is not there", led.sequence))),
                },
                None => Ok(None),
            },
        }
    }

    /// The event that led to the newest state, where its data was dropped: no event names the state then.
    pub(crate) fn newest_state_is_lost_at(&self, actor: ActorKey) -> Result<Option<u64>> {
        let Some(led) = self.newest_state_at(actor)? else { return Ok(None) };
        match self.vouched_at(actor, led)? {
            StateOnChain::Lost(at) => Ok(Some(at)),
            StateOnChain::Named(_) => Ok(None),
        }
    }

    /// The newest state kept before event `sequence`, and the event behind which it is kept.
    pub(crate) fn kept_state(&self, actor: ActorKey, before: u64) -> Result<Option<(u64, State)>> {
        let Some(sequence) = self.last_kept_before(actor, before)? else { return Ok(None) };
        match self.kept_state_at(actor, sequence)? {
            Some(state) => Ok(Some((sequence, self.settled(actor, sequence, state)?))),
            None => Ok(None),
        }
    }

    /// The last event before event `before` behind which a state is kept, so that a replay can begin there.
    pub(crate) fn last_kept_before(&self, actor: ActorKey, mut before: u64) -> Result<Option<u64>> {
        while let Some(sequence) = self.ask(|index| index.kept_before(actor.key, before))? {
            if self.can_begin_behind(actor, sequence)? {
                return Ok(Some(sequence));
            }
            before = sequence;
        }
        Ok(None)
    }

    /// Whether what follows an event begins on a new instance. A state that was stored in the middle of an instance's life,
    /// because it was the newest, does not say what that instance's globals were.
    fn can_begin_behind(&self, actor: ActorKey, sequence: u64) -> Result<bool> {
        let next = self.events(actor, sequence.saturating_add(1), 1, usize::MAX)?.pop();
        Ok(next.is_none_or(|next| {
            next.kind() != Some(EventKind::Call)
                || next.dropped.is_some()
                || Call::from_cbor(&next.data).is_ok_and(|call| call.fresh)
        }))
    }

    /// The state kept behind event `sequence`. That event alone is asked whether it is this one: who knows what the chain
    /// names there compares it with that.
    pub(crate) fn kept_state_at(&self, actor: ActorKey, sequence: u64) -> Result<Option<State>> {
        if self.ask(|index| index.kept(actor.key, sequence))?.is_none() {
            return Ok(None);
        }
        let Some(led) = self.place(actor, sequence)? else {
            return Err(unfit(format!("a state is there that event {sequence} led to, but that event is not")));
        };
        let kept = self.stored_state(actor, led)?;
        kept.map(|state| self.vouched_for(actor, led, state)).transpose()
    }

    /// What the chain says of the state behind event `sequence`: the last event up to there that names one is sought.
    pub(crate) fn vouched_at(&self, actor: ActorKey, sequence: u64) -> Result<StateOnChain> {
        Ok(self.named_upto(actor, sequence)?.1)
    }

    /// The same, with the event that says it.
    pub(crate) fn named_upto(&self, actor: ActorKey, sequence: u64) -> Result<(u64, StateOnChain)> {
        Ok(self.named_within(actor, sequence, usize::MAX)?.unwrap_or((0, StateOnChain::Lost(0))))
    }

    /// The same among the last `most` events up to there; none where none of them says it.
    fn named_within(&self, actor: ActorKey, sequence: u64, most: usize) -> Result<Option<(u64, StateOnChain)>> {
        let (mut found, mut left) = (None, most);
        self.walk_from(actor, sequence, |event| {
            if left == 0 {
                return Ok(Break(()));
            }
            left -= 1;
            let names = matches!(kind(event), Some(EventKind::Started | EventKind::Return));
            if names {
                let place = EventPlace { sequence: event.sequence, position: event.position };
                found = says(&self.intact(actor, place)?).map(|vouched| (place.sequence, vouched));
            }
            Ok(if found.is_some() { Break(()) } else { Continue(()) })
        })?;
        Ok(found)
    }

    /// The state behind event `sequence`, unless the chain names another there.
    fn settled(&self, actor: ActorKey, sequence: u64, state: State) -> Result<State> {
        match self.named_upto(actor, sequence)? {
            (at, StateOnChain::Named(named)) if named != NamedState::of(state.as_deref()) => {
                let by = if at == sequence { "the event".into() } else { format!("event {at}") };
                Err(unfit(format!("the state behind event {sequence} is not the one that {by} names")))
            }
            (_, StateOnChain::Named(_) | StateOnChain::Lost(_)) => Ok(state),
        }
    }

    /// A state is what the event that led to it names, or the row is not what was written.
    fn vouched_for(&self, actor: ActorKey, led: EventPlace, state: State) -> Result<State> {
        match self.named_at(actor, led)? {
            Some(named) if named != NamedState::of(state.as_deref()) => {
                Err(unfit(format!("the state behind event {} is not the one that the event names", led.sequence)))
            }
            Some(_) | None => Ok(state),
        }
    }

    /// What an event says the state is from there on.
    pub(super) fn named_at(&self, actor: ActorKey, place: EventPlace) -> Result<Option<NamedState>> {
        let event = self.intact(actor, place)?;
        Ok(event.kind().and_then(|kind| names_state(kind, &event.data)))
    }

    /// An event whose hash covers what it says.
    fn intact(&self, actor: ActorKey, place: EventPlace) -> Result<ChainEvent> {
        let event = self.event_at(actor, place)?;
        if EventHash::of(&event) != event.hash {
            return Err(self.altered(actor, place));
        }
        Ok(event)
    }

    /// The events of an actor whose state is stored, in order.
    pub(crate) fn kept_sequences(&self, actor: ActorKey) -> Result<Vec<u64>> {
        self.ask(|index| index.kept_sequences(actor.key))
    }

    /// The first event behind `sequence` whose state is kept, so that a replay can begin there.
    pub(crate) fn first_kept_behind(&self, actor: ActorKey, mut sequence: u64) -> Result<Option<u64>> {
        while let Some(kept) = self.ask(|index| index.kept_behind(actor.key, sequence))? {
            if self.can_begin_behind(actor, kept)? {
                return Ok(Some(kept));
            }
            sequence = kept;
        }
        Ok(None)
    }
}

/// The newest state of an actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Newest {
    Is(Option<Vec<u8>>),
    /// It is behind this event, and not stored.
    Behind(u64),
}

/// What an event that may name a state says of it.
fn says(event: &ChainEvent) -> Option<StateOnChain> {
    match event.kind() {
        Some(EventKind::Started) => names_state(EventKind::Started, &event.data).map(StateOnChain::Named),
        _ => named_by_return(event),
    }
}

/// What an event says the state is from here on; nothing where it does not say.
pub(super) fn names_state(kind: EventKind, data: &[u8]) -> Option<NamedState> {
    match kind {
        EventKind::Started => Started::from_cbor(data).ok().map(|started| started.state),
        EventKind::Return => match Return::from_cbor(data).ok()?.state {
            StateAfter::Now(named) => Some(named),
            StateAfter::Unchanged => None,
        },
        EventKind::Call
        | EventKind::Intent
        | EventKind::HostCall
        | EventKind::Refused
        | EventKind::Failed
        | EventKind::Stopped => None,
    }
}
