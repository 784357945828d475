//! A sealed segment from which data was dropped, before it takes the place of the one on disk.

use super::batch::BatchHeader;
use super::remote::{RemoteFault, RemoteLog};
use super::segment::SegmentHeader;

/// A sealed segment, as it is to be written anew.
pub(super) struct Edited {
    pub(super) header: SegmentHeader,
    pub(super) batches: Vec<(BatchHeader, Vec<u8>)>,
    pub(super) generation: u32,
    /// Which of them are not what they were.
    pub(super) changed: Vec<bool>,
}

impl Edited {
    /// Puts what has changed into the shared log.
    pub(super) fn send(&self, remote: &dyn RemoteLog) -> Result<(), RemoteFault> {
        let changed = self.batches.iter().zip(&self.changed).filter(|(_, changed)| **changed);
        let batches: Vec<(u64, &[u8])> = changed.map(|((head, bytes), _)| (head.tip().batch, &bytes[..])).collect();
        remote.rewrite(self.header.number, self.generation, &batches)
    }
}
