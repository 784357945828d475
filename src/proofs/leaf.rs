//! The entry of a leaf: the fields of one event, with the digest of its data in place of the data, so that it stays the same
//! when the data is dropped. `docs/proofs.md` specifies it byte by byte.

use super::tree::TreeHash;
use crate::base::id::ActorId;
use crate::chain::{ChainEvent, DataDigest, DroppedData, EventHash};

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LeafEntry<'a> {
    pub(crate) actor: ActorId,
    pub(crate) sequence: u64,
    pub(crate) timestamp: u64,
    pub(crate) parent: Option<EventHash>,
    pub(crate) hash: EventHash,
    pub(crate) event_type: &'a str,
    /// The length and the digest of the data.
    pub(crate) data: DroppedData,
}

impl<'a> LeafEntry<'a> {
    pub(crate) fn of(actor: ActorId, event: &'a ChainEvent) -> Self {
        Self {
            actor,
            sequence: event.sequence,
            timestamp: event.timestamp,
            parent: event.parent_hash,
            hash: event.hash,
            event_type: &event.event_type,
            data: DroppedData::of(event),
        }
    }

    /// The hash of the leaf. `room` is for the entry.
    pub(crate) fn hashed_in(&self, room: &mut Vec<u8>) -> TreeHash {
        room.clear();
        self.put(room);
        TreeHash::leaf(room)
    }

    pub(crate) fn hashed(&self) -> TreeHash {
        self.hashed_in(&mut Vec::new())
    }

    fn put(&self, to: &mut Vec<u8>) {
        // The tag is the version of the event: it says which digest the last field is.
        let (tag, digest): (u8, &[u8]) = match &self.data.digest {
            DataDigest::Plain(sha1) => (1, sha1),
            DataDigest::Salted(sha256) => (3, sha256),
        };
        to.push(tag);
        to.extend_from_slice(self.actor.as_bytes());
        to.extend_from_slice(&self.sequence.to_be_bytes());
        to.extend_from_slice(&self.timestamp.to_be_bytes());
        match &self.parent {
            None => to.push(0),
            Some(parent) => {
                to.push(1);
                to.extend_from_slice(parent.as_bytes());
            }
        }
        to.extend_from_slice(self.hash.as_bytes());
        let event_type = self.event_type.as_bytes();
        // The whole entry stays below 64 KiB, as `tlog-tiles` has entries.
        let length = u16::try_from(event_type.len()).expect("the name of a function is far shorter than 64 KiB");
        to.extend_from_slice(&length.to_be_bytes());
        to.extend_from_slice(event_type);
        to.extend_from_slice(&self.data.length.to_be_bytes());
        to.extend_from_slice(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Salt;

    fn event(salt: Option<Salt>) -> ChainEvent {
        let mut event = ChainEvent {
            sequence: 3,
            hash: EventHash([0; 20]),
            parent_hash: Some(EventHash([7; 20])),
            event_type: "stopped".into(),
            data: vec![0xa0],
            salt,
            dropped: None,
            timestamp: 1_700_000_000_000,
        };
        event.hash = EventHash::of(&event);
        event
    }

    #[test]
    fn an_entry_is_what_the_specification_has() {
        let actor: ActorId = "00112233-4455-6677-8899-aabbccddeeff".parse().expect("an id");
        let event = event(Some(Salt([5; 16])));
        let mut entry = Vec::new();
        LeafEntry::of(actor, &event).put(&mut entry);
        let DataDigest::Salted(digest) = DroppedData::of(&event).digest else { panic!("it has a salt") };
        let expected = format!(
            "0300112233445566778899aabbccddeeff00000000000000030000018bcfe5680001{}{}000773746f70706564{:016x}{}",
            "07".repeat(20),
            event.hash,
            1,
            hex::encode(digest)
        );
        assert_eq!(hex::encode(entry), expected);
    }

    #[test]
    fn an_entry_stays_the_same_when_the_data_is_dropped() {
        let actor = ActorId::random();
        for salt in [None, Some(Salt([5; 16]))] {
            let event = event(salt);
            let dropped = Some(DroppedData::of(&event));
            let bare = ChainEvent { data: Vec::new(), salt: None, dropped, ..event.clone() };
            assert_eq!(LeafEntry::of(actor, &bare), LeafEntry::of(actor, &event));
            assert_eq!(LeafEntry::of(actor, &bare).hashed(), LeafEntry::of(actor, &event).hashed());
        }
    }

    #[test]
    fn each_field_of_an_event_is_in_its_leaf() {
        let (actor, event) = (ActorId::random(), event(Some(Salt([5; 16]))));
        let mut hashes = vec![LeafEntry::of(actor, &event).hashed(), LeafEntry::of(ActorId::random(), &event).hashed()];
        for change in [
            |event: &mut ChainEvent| event.sequence += 1,
            |event: &mut ChainEvent| event.timestamp += 1,
            |event: &mut ChainEvent| event.parent_hash = None,
            |event: &mut ChainEvent| event.hash.0[19] ^= 1,
            |event: &mut ChainEvent| event.event_type = "failed".into(),
            |event: &mut ChainEvent| event.data.push(0),
            |event: &mut ChainEvent| event.salt = Some(Salt([6; 16])),
            |event: &mut ChainEvent| event.salt = None,
        ] {
            let mut other = event.clone();
            change(&mut other);
            hashes.push(LeafEntry::of(actor, &other).hashed());
        }
        let different: std::collections::HashSet<_> = hashes.iter().collect();
        assert_eq!(different.len(), hashes.len());
    }
}
