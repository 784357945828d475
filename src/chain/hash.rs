//! Digests: the SHA-1 that links the events of a chain, and the SHA-256 that identifies components.
//!
//! The chain format specifies SHA-1; which bytes of an event it covers is in `preimage.rs`.

use std::fmt;

use sha1::{Digest, Sha1};
use sha2::Sha256;

/// The SHA-1 of an event. Because it covers the parent's hash, it covers all events before it too.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventHash(pub(crate) [u8; 20]);

impl EventHash {
    /// The 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The hash that 40 lower-case hexadecimal digits stand for; none for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        lower_hex(text).map(Self)
    }

    /// The first 8 bytes as a big-endian number; the WIT interface `runtime` shows a hash in this form.
    pub(crate) fn prefix(&self) -> u64 {
        u64::from_be_bytes(*self.0.first_chunk().expect("20 bytes begin with 8"))
    }
}

impl fmt::Display for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for EventHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The SHA-256 of a component's bytes, which identifies the component.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ComponentDigest(pub(crate) [u8; 32]);

impl ComponentDigest {
    /// The digest of a component's bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest that 64 lower-case hexadecimal digits stand for; none for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        lower_hex(text).map(Self)
    }
}

impl fmt::Display for ComponentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ComponentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Parses lower-case hex only, so a digest has one spelling.
pub(super) fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; N];
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

pub(crate) fn sha1(bytes: &[u8]) -> [u8; 20] {
    Sha1::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_one_spelling() {
        let hash = EventHash(std::array::from_fn(|at| u8::try_from(at * 13 % 256).expect("a byte")));
        let text = hash.to_string();
        assert_eq!(EventHash::parse(&text), Some(hash));
        for wrong in [&text[1..], &text[2..], &format!("{text}0"), &format!("{text}00"), &text.to_uppercase(), ""] {
            assert_eq!(EventHash::parse(wrong), None, "{wrong}");
        }
        assert_eq!(EventHash::parse(&text.replace('0', "g")), None);
    }
}
