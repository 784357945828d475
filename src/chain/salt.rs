//! Salts: 16 random bytes that are hashed in front of an event's data, and go when the data goes. Without them, data of
//! few possible values could be found again from its digest, which stays.

use std::fmt;
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use super::hash::lower_hex;
use crate::base::id::ActorId;

/// The salt of one event.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Salt(pub(crate) [u8; 16]);

impl Salt {
    /// The salt of the new event with this sequence on the actor's chain.
    pub(crate) fn draw(actor: ActorId, sequence: u64) -> Self {
        SALTS.salt(actor, sequence)
    }

    /// The salt of a large part of events that is kept beside them. In one era, the same part has the same salt.
    pub(crate) fn of_part(era: u64, part: &[u8]) -> Self {
        SALTS.of_part(era, part)
    }

    /// A salt for something that is kept once.
    pub(crate) fn random() -> Self {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).expect(RANDOMNESS);
        Self(salt)
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The salt that 32 lower-case hexadecimal digits stand for; none for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        lower_hex(text).map(Self)
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Draws salts: 16 bytes of the SHA-256 of a secret, the actor and the sequence. The secret is drawn once in a run of the
/// process and stored nowhere, so whoever knows other salts cannot compute a salt that was dropped.
///
/// The secret fills a block of SHA-256. What is kept is the hash behind that block, so a salt costs one block more.
struct Salts(Sha256);

static SALTS: LazyLock<Salts> = LazyLock::new(Salts::drawn);

const RANDOMNESS: &str = "the system has randomness once it is up";

impl Salts {
    fn drawn() -> Self {
        let mut secret = [0; 64];
        getrandom::fill(&mut secret).expect(RANDOMNESS);
        Self(Sha256::new().chain_update(secret))
    }

    fn salt(&self, actor: ActorId, sequence: u64) -> Salt {
        first_half(self.0.clone().chain_update(actor.as_bytes()).chain_update(sequence.to_be_bytes()))
    }

    fn of_part(&self, era: u64, part: &[u8]) -> Salt {
        // A salt of an event comes from 24 bytes behind the secret, so no part has the same input.
        const PART: &[u8] = b"theater: a large part of events";
        first_half(self.0.clone().chain_update(PART).chain_update(era.to_be_bytes()).chain_update(part))
    }
}

fn first_half(hash: Sha256) -> Salt {
    let hash: [u8; 32] = hash.finalize().into();
    Salt(*hash.first_chunk().expect("32 bytes begin with 16"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salt_has_one_spelling() {
        let salt = Salt(std::array::from_fn(|at| u8::try_from(at * 17).expect("a byte")));
        let text = salt.to_string();
        assert_eq!(Salt::parse(&text), Some(salt));
        for wrong in [&text[1..], &text[2..], &format!("{text}00"), &text.to_uppercase(), ""] {
            assert_eq!(Salt::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_event_of_every_actor_and_run_has_a_salt_of_its_own() {
        let actors = [ActorId::random(), ActorId::random()];
        let mut salts = std::collections::HashSet::new();
        for salt in [Salts::drawn(), Salts::drawn()] {
            for actor in actors {
                salts.extend((0..8).map(|sequence| salt.salt(actor, sequence)));
            }
        }
        salts.extend(actors.map(|actor| Salt::draw(actor, 0)));
        assert_eq!(salts.len(), 2 * 2 * 8 + 2);
    }
}
