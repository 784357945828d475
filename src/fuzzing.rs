//! Fuzz targets: every place where the program decodes bytes from outside, as a function of those bytes alone, for the
//! fuzzers in `fuzz/` and for `tests/hostile.rs`. A target passes if it returns. It fails if it panics, does not end,
//! or accepts bytes that the program would write differently.

use std::path::Path;

use crate::base::id::ActorId;
use crate::base::limits::ActorLimits;
use crate::chain::UnverifiedChain;
use crate::chain::cbor::Value;
use crate::chain::data::{Call, Failed, HostCall, Intent, Refused, Return, Started, Stopped};
use crate::manifest::Manifest;
use crate::proofs::{AddCheckpoint, Checkpoint, ProofFile, PublicKey, SignedNote, Trusted};
use crate::{handlers, journal, server};

/// A target: its name, and the function that decodes the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 8] = [
    ("frames", server::hostile_frames),
    ("manifest", manifest),
    ("chain-file", chain_file),
    ("cbor", cbor),
    ("parts", journal::hostile_parts),
    ("http-head", handlers::hostile_http),
    ("guest-texts", guest_texts),
    ("proofs", proofs),
];

fn manifest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(manifest) = Manifest::parse(Path::new("/nowhere/fuzz.toml"), text.into(), &ActorLimits::default()) {
        // Let the handlers read their configuration too. Nothing is opened before an actor starts.
        let _ = handlers::Handlers::new().granted(&manifest);
    }
}

fn chain_file(bytes: &[u8]) {
    if let Ok(chain) = UnverifiedChain::read(bytes) {
        let _ = chain.verify();
    }
}

fn cbor(bytes: &[u8]) {
    let value = Value::parse(bytes);
    if let Ok(value) = &value {
        assert_eq!(value.to_bytes(), bytes, "one value has one encoding");
        value.to_json();
    }
    macro_rules! read_and_write_again {
        ($($data:ty)*) => {$(
            if let Ok(data) = <$data as crate::chain::cbor::Cbor>::from_cbor(bytes) {
                assert!(value.is_ok(), "what has a type is a value");
                assert_eq!(crate::chain::cbor::Cbor::to_cbor(&data), bytes, "what is read is written again");
            }
        )*};
    }
    read_and_write_again!(Started Call Intent HostCall Return Refused Failed Stopped);
}

fn guest_texts(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = text.parse::<ActorId>();
    handlers::hostile_texts(&text);
}

fn proofs(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let again = |written: String, what: &str| assert_eq!(written, text, "{what} has one spelling");
    let _ = ProofFile::parse(text).map(|proof| again(proof.to_string(), "a proof"));
    let _ = SignedNote::parse(text).map(|note| again(note.to_string(), "a note"));
    let _ = AddCheckpoint::parse(text).map(|asked| again(asked.to_string(), "a request to a witness"));
    let _ = Checkpoint::parse(text).map(|checkpoint| again(checkpoint.to_string(), "a checkpoint"));
    let _ = PublicKey::parse(text).map(|key| again(key.to_string(), "a key"));
    let _ = Trusted::parse(text);
}
