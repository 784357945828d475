//! The amount of data in a directory: an upper estimate, which is replaced by a measurement when it matters.
//!
//! The estimate grows with everything that the actor adds. Files that are removed, and files that others add, change
//! only the next measurement, which is made before any change is refused.

use std::io;

use cap_std::fs::Dir;

use crate::base::limits::{DIRECTORY_DEPTH, Limits};

/// The number of files and directories, and the bytes of the files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

impl Usage {
    pub(super) fn plus(self, more: Self) -> Self {
        Self { entries: self.entries.saturating_add(more.entries), bytes: self.bytes.saturating_add(more.bytes) }
    }

    pub(super) fn check(self, limits: &Limits) -> Result<(), String> {
        let (entries, bytes) = (limits.filesystem_entries, limits.filesystem_bytes);
        if self.entries > entries {
            return Err(format!("the directory is full: the limit filesystem_entries is {entries}"));
        }
        if self.bytes > bytes {
            return Err(format!("the directory is full: the limit filesystem_bytes is {bytes}"));
        }
        Ok(())
    }
}

/// Measures everything in `directory`, and stops soon after `most` entries.
pub(super) fn measure(directory: &Dir, most: u64) -> io::Result<Usage> {
    let mut usage = Usage::default();
    add(directory, most, DIRECTORY_DEPTH, &mut usage)?;
    Ok(usage)
}

fn add(directory: &Dir, most: u64, depth: usize, usage: &mut Usage) -> io::Result<()> {
    let deeper = depth.checked_sub(1).ok_or_else(too_deep)?;
    for entry in directory.entries()? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // Removed since the directory was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        usage.entries += 1;
        if usage.entries > most {
            return Ok(());
        }
        if metadata.is_dir() {
            add(&directory.open_dir(entry.file_name())?, most, deeper, usage)?;
        } else if metadata.is_file() {
            usage.bytes = usage.bytes.saturating_add(metadata.len());
        }
    }
    Ok(())
}

pub(super) fn too_deep() -> io::Error {
    io::Error::other(format!("more than {DIRECTORY_DEPTH} directories inside each other"))
}
