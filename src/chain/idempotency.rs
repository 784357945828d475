//! Idempotency keys: the name that a client gives a request, so that it can repeat the request and is answered as before.

use sha2::{Digest, Sha256};

use super::data::Caller;

/// The longest key, in bytes.
pub(crate) const KEY_BYTES: usize = 255;

/// What the journal finds a call by: 16 bytes of the SHA-256 of who asked (the word of the caller) and the key. The key itself
/// goes with the call's data; this stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyDigest(pub(crate) [u8; 16]);

impl KeyDigest {
    pub(crate) fn of(caller: Caller, key: &str) -> Self {
        let digest = Sha256::new().chain_update(caller.word()).chain_update([0]).chain_update(key).finalize();
        Self(*digest.first_chunk().expect("32 bytes begin with 16"))
    }
}

/// Whether a client may give a request this key. A key of the runtime's own has a blank, so no client can give it.
pub(crate) fn is_key(text: &str) -> bool {
    (1..=KEY_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
