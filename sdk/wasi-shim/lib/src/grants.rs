//! What a manifest grants of the time and of randomness, or withholds.

use crate::bindings::ntwk::theater::{clock, random};
use crate::fail;

/// Gives the time.
pub trait Clock: 'static {
    /// Milliseconds since the Unix epoch.
    fn now() -> u64;
}

/// Gives the key of an instance's random stream.
pub trait Random: 'static {
    /// Whether the actor may have random bytes.
    const GRANTED: bool;

    /// 32 bytes, which differ from instance to instance.
    fn key() -> [u8; 32];
}

/// Asks the host, which records the answer.
pub struct Recorded;

/// The manifest grants no handler for it: asking fails. As this type asks the host for nothing, the component does not import
/// the interface, and needs no grant.
pub struct Withheld;

impl Clock for Recorded {
    fn now() -> u64 {
        clock::now()
    }
}

impl Clock for Withheld {
    fn now() -> u64 {
        fail("this actor has no clock: grant the handler `clock` in its manifest, and build it again")
    }
}

impl Random for Recorded {
    const GRANTED: bool = true;

    fn key() -> [u8; 32] {
        match random::bytes(32).try_into() {
            Ok(key) => key,
            Err(_) => fail("the host did not give the 32 random bytes that it was asked for"),
        }
    }
}

impl Random for Withheld {
    const GRANTED: bool = false;

    fn key() -> [u8; 32] {
        fail("this actor has no random numbers: grant the handler `random` in its manifest, and build it again")
    }
}
