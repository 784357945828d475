//! What the command line has for proofs: keys, proofs for events and their verification, witnesses.

mod cosigning;
pub(super) mod key;
pub(super) mod prove;
pub(super) mod signing;
pub(super) mod verify;
pub(super) mod witness;
