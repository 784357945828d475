//! The shared log of a realm: a batch counts once it is there. The local log is a copy of it.
//!
//! ```text
//!   writer ── a batch ─▶ remote: one append, which is refused if another node owns the realm ─▶ local segments ─▶ releases
//! ```
//!
//! So nothing is released that the node which takes over will not find. The local files need not be synced: what they lose,
//! they get again from the shared log.

use std::fmt;
use std::time::Duration;

use crate::chain::ComponentDigest;

/// A batch as the shared log keeps it: its bytes are those of the segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RemoteBatch<'a> {
    /// The number of the batch; the one before it is the last that the log holds.
    pub(crate) number: u64,
    /// The segment that it lies in, and the format of that segment.
    pub(crate) segment: u32,
    pub(crate) format: u8,
    /// The position of the last event up to here, and the rolling digest behind it.
    pub(crate) position: u64,
    pub(crate) digest: [u8; 20],
    pub(crate) bytes: &'a [u8],
}

/// Why the shared log has not taken something. Whoever waits for it waits for ever.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum RemoteFault {
    /// Another node owns the realm: whatever this one still does, nobody is told.
    #[error("another node owns the realm {realm} now; nothing more is acknowledged here")]
    Fenced { realm: String },
    /// The shared log is not what it has to be.
    #[error("the shared log of the realm {realm}: {why}; nothing more is acknowledged")]
    Failed { realm: String, why: String },
}

/// What a journal appends to before its own segments. An append returns once the batch is as safe as the realm promises, or
/// is refused; while the servers cannot be reached, it waits.
pub(crate) trait RemoteLog: Send + Sync + fmt::Debug {
    /// Counts the owners of the realm, this one among them.
    fn epoch(&self) -> u32;

    /// For how long nothing was heard of it. Another node may own the realm by now.
    fn silent_for(&self) -> Duration;

    fn append(&self, batch: &RemoteBatch<'_>) -> Result<(), RemoteFault>;

    /// Puts batches of a sealed segment, from which data was dropped, in the place of those with their numbers.
    fn rewrite(&self, segment: u32, generation: u32, batches: &[(u64, &[u8])]) -> Result<(), RemoteFault>;

    /// Stores a component, if it is not there.
    fn store_component(&self, digest: ComponentDigest, bytes: &[u8]) -> Result<(), RemoteFault>;
}
