//! What refusals carry, and the files only hand on.

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the disk is nearly full")]
pub struct DiskLow;
