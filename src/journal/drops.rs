//! What is left of segments when data is dropped from them.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow::{Break, Continue};
use std::ops::Range;

use super::error::{ReadFault, ReadResult, unfit};
use super::index::Kept;
use super::log::{Entry, Payload, Remains, SegmentSpan, StoredData};
use super::parts;
use super::reader::{JournalReader, kind, place_of};
use super::record::{ActorKey, EventPlace};
use super::states::names_state;
use super::writer::digest_bytes;
use crate::chain::data::NamedState;
use crate::chain::{DroppedData, EventKind};

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

    /// Writes every segment anew that holds something of what is dropped.
    pub(super) fn write_anew(&self, actor: ActorKey, events: &Range<u64>, doomed: &[EventPlace]) -> ReadResult<()> {
        let key = actor.key.unsigned_abs();
        for span in self.log.sealed() {
            let here = doomed.iter().filter(|place| (span.first..=span.last).contains(&place.position));
            let mut remains: HashMap<u64, Remains> = HashMap::new();
            for place in here {
                let event = self.event(&self.stored_at(actor, *place)?, None)?;
                let DroppedData { length, digest, .. } = DroppedData::of(&event);
                remains.insert(place.sequence, (length, digest_bytes(digest)));
            }
            let states = self.doomed_states(actor, events, span.number)?;
            if remains.is_empty() && states.is_empty() {
                continue;
            }
            let needed = self.needed_blobs(&span, key, &remains)?;
            self.log.rewrite(span.number, &mut |entry| match entry {
                Entry::Event(event) if event.actor == key => remains.get(&event.sequence).cloned(),
                Entry::State { actor, sequence, name: Some(name), state: Payload::Kept(state), .. }
                    if *actor == key && states.contains(sequence) =>
                {
                    Some((state.len() as u64, name.to_vec()))
                }
                Entry::Blob { name, bytes: Payload::Kept(bytes), .. } if !needed.contains(name) => {
                    Some((bytes.len() as u64, name.to_vec()))
                }
                _ => None,
            })?;
        }
        Ok(())
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
    fn needed_blobs(
        &self,
        span: &SegmentSpan,
        actor: u64,
        dropped: &HashMap<u64, Remains>,
    ) -> ReadResult<HashSet<[u8; 20]>> {
        let mut needed = HashSet::new();
        for position in span.first..=span.last {
            let lost = || unfit(format!("the event at position {position} is not there"));
            let event = self.log.event(position)?.ok_or_else(lost)?;
            if event.actor == actor && dropped.contains_key(&event.sequence) {
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
