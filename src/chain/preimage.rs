//! The hash of an event: SHA-1 over its fields, in the byte order that `docs/chain-format.md` specifies.
//!
//! The hash covers a digest of the data in place of the data. The digest is the data's SHA-1, or in version 3 the SHA-256
//! of salt and data; each has a domain of its own, so no event can be taken for one of another version.
//!
//! Live actors hash without collision detection. Verification computes each SHA-1 with collision detection, which
//! refuses inputs built to collide and takes about four times as long.

use sha1::{Digest, Sha1};
use sha2::Sha256;

use super::event::{ChainEvent, DataDigest, DroppedData};
use super::hash::{EventHash, sha1};
use super::salt::Salt;

const DOMAIN: &[u8] = b"theater-chain-event-v1\0";
const SALTED_DOMAIN: &[u8] = b"theater-chain-event-v3\0";

impl DataDigest {
    /// The digest of `data`, which has a salt in version 3.
    pub(crate) fn of(data: &[u8], salt: Option<Salt>) -> Self {
        match salt {
            None => Self::Plain(sha1(data)),
            Some(salt) => Self::Salted(salted(data, salt)),
        }
    }

    /// The digest of data that stands behind its salt.
    pub(super) fn of_both(salted: &[u8]) -> Self {
        Self::Salted(Sha256::digest(salted).into())
    }

    /// The same digest as [`Self::of`]; `None` if the data was built to collide. Nobody can build a collision of SHA-256.
    fn of_checked(data: &[u8], salt: Option<Salt>) -> Option<Self> {
        match salt {
            None => sha1_checked(|hasher| hasher.update(data)).map(Self::Plain),
            Some(salt) => Some(Self::Salted(salted(data, salt))),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain(sha1) => sha1,
            Self::Salted(sha256) => sha256,
        }
    }
}

impl EventHash {
    /// Computes the hash of `event` from its other fields.
    pub(crate) fn of(event: &ChainEvent) -> Self {
        let mut hasher = Sha1::new();
        preimage(event, DroppedData::of(event), &mut hasher);
        Self(hasher.finalize().into())
    }

    /// Computes the same hash; `None` if the data or the fields were built to collide.
    pub(crate) fn of_checked(event: &ChainEvent) -> Option<Self> {
        let data = match event.dropped {
            Some(dropped) => dropped,
            None => {
                let digest = DataDigest::of_checked(&event.data, event.salt)?;
                DroppedData { length: event.data.len() as u64, digest }
            }
        };
        sha1_checked(|hasher| preimage(event, data, hasher)).map(Self)
    }
}

/// Feeds a hasher with everything that an event's hash covers.
fn preimage(event: &ChainEvent, data: DroppedData, hasher: &mut impl Digest) {
    hasher.update(match data.digest {
        DataDigest::Plain(_) => DOMAIN,
        DataDigest::Salted(_) => SALTED_DOMAIN,
    });
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
    hasher.update(data.length.to_be_bytes());
    hasher.update(data.digest.bytes());
}

fn salted(data: &[u8], salt: Salt) -> [u8; 32] {
    Sha256::new().chain_update(salt.0).chain_update(data).finalize().into()
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

    fn stopped(salt: Option<Salt>) -> ChainEvent {
        ChainEvent {
            sequence: 3,
            hash: EventHash([0; 20]),
            parent_hash: Some(EventHash([7; 20])),
            event_type: "stopped".into(),
            data: vec![0xa0],
            salt,
            dropped: None,
            timestamp: 1_700_000_000_000,
        }
    }

    #[test]
    fn the_checked_hash_is_the_plain_hash_of_honest_input() {
        for salt in [None, Some(Salt([5; 16]))] {
            let event = stopped(salt);
            assert_eq!(EventHash::of_checked(&event), Some(EventHash::of(&event)));
        }
    }

    #[test]
    fn a_hash_is_computed_in_the_same_way_after_the_data_and_its_salt_were_dropped() {
        for salt in [None, Some(Salt([5; 16]))] {
            let event = stopped(salt);
            let dropped = Some(DroppedData::of(&event));
            let without = ChainEvent { data: Vec::new(), salt: None, dropped, ..event.clone() };
            assert_eq!(EventHash::of(&without), EventHash::of(&event));
            assert_eq!(EventHash::of_checked(&without), Some(EventHash::of(&event)));
            assert_eq!(without.is_salted(), salt.is_some());
        }
    }

    #[test]
    fn what_stays_of_salted_data_differs_from_salt_to_salt_and_is_no_digest_of_the_data_alone() {
        let [one, other] = [[5; 16], [6; 16]].map(|salt| DroppedData::of(&stopped(Some(Salt(salt)))));
        assert_ne!(one, other);
        for kept in [one, other] {
            assert_ne!(kept.digest.bytes(), Sha256::digest([0xa0]).as_slice());
        }
    }
}
