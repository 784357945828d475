//! The hash of an event: SHA-1 over its fields, in the byte order that `docs/chain-format.md` specifies.
//!
//! Live actors hash without collision detection. Verification hashes with collision detection, which refuses inputs
//! built to collide and takes about four times as long.

use sha1::{Digest, Sha1};

use super::event::ChainEvent;
use super::hash::{EventHash, sha1};

const DOMAIN: &[u8] = b"theater-chain-event-v1\0";

impl EventHash {
    /// Computes the hash of `event` from its other fields.
    pub(crate) fn of(event: &ChainEvent) -> Self {
        let data = event.dropped.map_or_else(|| sha1(&event.data), |dropped| dropped.sha1);
        Self(preimage(event, data, Sha1::new()).finalize().into())
    }

    /// Computes the same hash; `None` if the data or the fields were built to collide.
    pub(crate) fn of_checked(event: &ChainEvent) -> Option<Self> {
        let data = match event.dropped {
            Some(dropped) => dropped.sha1,
            None => sha1_checked(|hasher| hasher.update(&event.data))?,
        };
        sha1_checked(|hasher| *hasher = preimage(event, data, std::mem::take(hasher))).map(Self)
    }
}

/// Feeds a hasher with everything that an event's hash covers.
fn preimage<H: Digest>(event: &ChainEvent, data_sha1: [u8; 20], mut hasher: H) -> H {
    hasher.update(DOMAIN);
    hasher.update(event.sequence.to_be_bytes());
    match &event.parent_hash {
        None => hasher.update([0]),
        Some(parent) => {
            hasher.update([1]);
            hasher.update(parent.0);
        }
    }
    hasher.update(event.timestamp.to_be_bytes());
    let event_type = event.event_type.as_bytes();
    let type_len = u32::try_from(event_type.len()).expect("an event type is shorter than 4 GiB");
    hasher.update(type_len.to_be_bytes());
    hasher.update(event_type);
    let data_len = event.dropped.map_or(event.data.len() as u64, |dropped| dropped.length);
    hasher.update(data_len.to_be_bytes());
    hasher.update(data_sha1);
    hasher
}

fn sha1_checked(feed: impl FnOnce(&mut sha1_checked::Sha1)) -> Option<[u8; 20]> {
    let mut hasher = sha1_checked::Sha1::builder().safe_hash(false).build();
    feed(&mut hasher);
    let result = hasher.try_finalize();
    (!result.has_collision()).then(|| (*result.hash()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_hash_is_the_plain_hash_of_honest_input() {
        let event = ChainEvent {
            sequence: 3,
            hash: EventHash([0; 20]),
            parent_hash: Some(EventHash([7; 20])),
            event_type: "stopped".into(),
            data: vec![0xa0],
            dropped: None,
            timestamp: 1_700_000_000_000,
        };
        assert_eq!(EventHash::of_checked(&event), Some(EventHash::of(&event)));
    }
}
