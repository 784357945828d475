//! What is left of an actor that sleeps, beside its entry in the registry: its mailbox, and where its chain ends.
//!
//! Falling asleep and waking leave nothing on the chain: the incarnation goes on. A waking actor is what a resumed one is,
//! on a new thread, with its newest state from the journal and a new instance for its next call. What it had in memory
//! besides is either on disk by the time that it sleeps (its events and its state), or kept by others (its timers, its
//! monitors, what is counted of it), or worth nothing after a restart either.

use crate::chain::Head;
use crate::system::RestingOwner;

/// What is left of an actor that sleeps.
#[derive(Debug)]
pub(crate) struct Sleeper {
    pub(crate) mailbox: RestingOwner,
    pub(crate) at: SleptAt,
    /// Somebody has roused it, and it waits for a thread.
    pub(crate) is_called: bool,
}

/// Where the chain of an actor that sleeps goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SleptAt {
    pub(crate) head: Head,
    /// The last event at which the state was kept.
    pub(crate) kept_at: u64,
}
