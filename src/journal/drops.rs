//! What is left of segments when data is dropped from them.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow::{Break, Continue};
use std::ops::Range;

use super::error::{ReadFault, ReadResult, unfit};
use super::forget::Doomed;
use super::index::Kept;
use super::log::{Entry, Payload, Remains, SegmentSpan, StoredData};
use super::parts;
use super::reader::{JournalReader, kind, place_of};
use super::record::{ActorKey, EventPlace};
use super::states::names_state;
use super::writer::digest_bytes;
use crate::chain::data::NamedState;
use crate::chain::{DroppedData, EventKind};

/// An event, or the state stored behind it: the key of its actor, and its sequence.
type OneOf = (u64, u64);

impl Doomed {
    /// Those of its events that stand in a segment.
    fn within(&self, span: &SegmentSpan) -> &[EventPlace] {
        let from = self.places.partition_point(|place| place.position < span.first);
        let upto = self.places.partition_point(|place| place.position <= span.last);
        &self.places[from..upto]
    }
}

impl JournalReader {
    /// The events among these that have data which can be dropped, in order.
    pub(super) fn doomed(&self, actor: ActorKey, events: &Range<u64>) -> ReadResult<Vec<EventPlace>> {
        let Some(last) = events.end.checked_sub(1) else { return Ok(Vec::new()) };
        let mut doomed = Vec::new();
        self.walk_from(actor, last, |event| {
            if event.sequence < events.start {
                return Ok(Break(()));
            }
            if kind(event) != Some(EventKind::Started) && matches!(event.data, StoredData::Kept(_)) {
                doomed.push(place_of(event));
            }
            Ok(Continue(()))
        })?;
        doomed.reverse();
        Ok(doomed)
    }

    /// Whether some of this lies in the segment that grows.
    pub(super) fn reaches_the_end(&self, doomed: &[Doomed]) -> ReadResult<bool> {
        let sealed = self.log.sealed();
        let (last, number) = sealed.last().map_or((0, 0), |span| (span.last, span.number));
        for Doomed { actor, events, places, .. } in doomed {
            if places.last().is_some_and(|place| place.position > last) {
                return Ok(true);
            }
            for sequence in self.kept_sequences(*actor)?.into_iter().filter(|sequence| events.contains(sequence)) {
                let kept = self.ask(|index| index.kept(actor.key, sequence))?;
                if matches!(kept, Some(Kept::InSegment(segment)) if segment > number) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The sealed segments that hold something of this.
    pub(super) fn segments_with(&self, doomed: &[Doomed]) -> ReadResult<Vec<SegmentSpan>> {
        let mut found = Vec::new();
        for span in self.log.sealed() {
            for chain in doomed {
                if self.is_in(&span, chain)? {
                    found.push(span);
                    break;
                }
            }
        }
        Ok(found)
    }

    fn is_in(&self, span: &SegmentSpan, doomed: &Doomed) -> ReadResult<bool> {
        let Doomed { actor, events, places, .. } = doomed;
        // A state is never stored before the event that led to it. What was dropped before may have left some.
        if events.start > 0 && places.first().is_none_or(|first| span.last < first.position) {
            return Ok(false);
        }
        Ok(!doomed.within(span).is_empty()
            || !self.log.states_in(span.number, actor.key.unsigned_abs(), events)?.is_empty())
    }

    /// Writes these segments anew without what is dropped, oldest first. `is_over` may break it off between two of them;
    /// whether it came to its end.
    pub(super) fn write_anew(
        &self,
        segments: &[SegmentSpan],
        doomed: &[Doomed],
        is_over: &dyn Fn() -> bool,
    ) -> ReadResult<bool> {
        for span in segments {
            if is_over() {
                return Ok(false);
            }
            let mut remains: HashMap<OneOf, Remains> = HashMap::new();
            let mut states: HashSet<OneOf> = HashSet::new();
            for chain in doomed {
                let key = chain.actor.key.unsigned_abs();
                for place in chain.within(span) {
                    let event = self.event(&self.stored_at(chain.actor, *place)?, None)?;
                    let DroppedData { length, digest, .. } = DroppedData::of(&event);
                    remains.insert((key, place.sequence), (length, digest_bytes(digest)));
                }
                let doomed = self.doomed_states(chain.actor, &chain.events, span.number)?;
                states.extend(doomed.into_iter().map(|sequence| (key, sequence)));
            }
            if remains.is_empty() && states.is_empty() {
                continue;
            }
            let needed = self.needed_blobs(span, &remains)?;
            self.log.rewrite(span.number, &mut |entry| match entry {
                Entry::Event(event) => remains.get(&(event.actor, event.sequence)).cloned(),
                Entry::State { actor, sequence, name: Some(name), state: Payload::Kept(state), .. }
                    if states.contains(&(*actor, *sequence)) =>
                {
                    Some((state.len() as u64, name.to_vec()))
                }
                Entry::Blob { name, bytes: Payload::Kept(bytes), .. } if !needed.contains(name) => {
                    Some((bytes.len() as u64, name.to_vec()))
                }
                _ => None,
            })?;
        }
        Ok(true)
    }

    /// The states that a segment stores behind these events and that are kept no longer.
    fn doomed_states(&self, actor: ActorKey, events: &Range<u64>, segment: u32) -> ReadResult<Vec<u64>> {
        let mut doomed = Vec::new();
        for sequence in self.log.states_in(segment, actor.key.unsigned_abs(), events)? {
            // The newest state is stored anew behind the event that is dropped.
            if self.ask(|index| index.kept(actor.key, sequence))? != Some(Kept::InSegment(segment)) {
                doomed.push(sequence);
            }
        }
        Ok(doomed)
    }

    /// What the events of a segment still need once the data of these is dropped: large parts, and states that they name.
    fn needed_blobs(&self, span: &SegmentSpan, dropped: &HashMap<OneOf, Remains>) -> ReadResult<HashSet<[u8; 20]>> {
        let mut needed = HashSet::new();
        for position in span.first..=span.last {
            let lost = || unfit(format!("the event at position {position} is not there"));
            let event = self.log.event(position)?.ok_or_else(lost)?;
            if dropped.contains_key(&(event.actor, event.sequence)) {
                continue;
            }
            needed.extend(parts::names(event.unsalted()));
            let names = kind(&event).filter(|_| event.names_state || kind(&event) == Some(EventKind::Started));
            let named =
                names.map(|kind| Ok::<_, ReadFault>(names_state(kind, &self.data(&event)?))).transpose()?.flatten();
            if let Some(NamedState::Digest { sha1, .. }) = named {
                needed.insert(sha1);
            }
        }
        Ok(needed)
    }
}
