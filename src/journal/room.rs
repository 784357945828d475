//! Whether the file system of the journal has room for new work. The thread `watch` looks; who takes work asks, which costs
//! one load.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::base::limits::RuntimeLimits;
use crate::base::metrics::JournalMetrics;

/// There is room again once so much more than the least is free, so that the answer does not change all the time: a
/// sixteenth.
const MARGIN: u64 = 16;
/// With less than so small a part of the least, actors are refused too what they want of each other: a half.
const WITHIN: u64 = 2;

/// The disk is nearly full: no new work is taken until there is room.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the disk is nearly full: {free} bytes are free where the data directory is, and min_free_bytes is {least}; nothing was \
     begun. Make room (`theater prune`, [retention], a larger disk) and try again"
)]
#[non_exhaustive]
pub struct DiskLow {
    /// Bytes that were free at the last look.
    pub free: u64,
    /// The limit `min_free_bytes`.
    pub least: u64,
}

/// The room of the file system that the journal lies in.
pub(crate) struct DiskRoom {
    dir: PathBuf,
    /// 0 where nothing is refused.
    least: AtomicU64,
    free: AtomicU64,
    is_low: AtomicBool,
}

impl DiskRoom {
    pub(super) fn of(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), least: 0.into(), free: u64::MAX.into(), is_low: false.into() }
    }

    /// The data directory.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Sets how many bytes are to stay free, and looks at once. A disk that is smaller would never have room; of the default, a
    /// small disk keeps a quarter.
    pub(super) fn keep_free(&self, least: u64, metrics: &JournalMetrics) -> Result<(), String> {
        let disk = rustix::fs::statvfs(&self.dir).ok();
        let all = disk.map_or(u64::MAX, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
        let is_default = least == RuntimeLimits::default().min_free_bytes;
        let least = if is_default { least.min(all / 4) } else { least };
        if least >= all {
            let dir = self.dir.display();
            return Err(format!(
                "min_free_bytes is {least}, but the whole disk of {dir} has {all} bytes, so no work would ever be taken: set \
                 limits.min_free_bytes to less, or to 0 to turn it off"
            ));
        }
        self.least.store(least, Ordering::Relaxed);
        self.look(metrics);
        Ok(())
    }

    /// Whether new work may be taken.
    pub(super) fn check(&self) -> Result<(), DiskLow> {
        if self.is_low.load(Ordering::Relaxed) { Err(self.low()) } else { Ok(()) }
    }

    /// Whether actors may ask something of each other. Between this and [`Self::check`] there is room for what is under way
    /// to come to its end; this is for work that never does.
    pub(super) fn check_within(&self) -> Result<(), DiskLow> {
        let DiskLow { free, least } = self.low();
        if free < least / WITHIN { self.check() } else { Ok(()) }
    }

    fn low(&self) -> DiskLow {
        DiskLow { free: self.free.load(Ordering::Relaxed), least: self.least.load(Ordering::Relaxed) }
    }

    /// Asks the file system. Where that cannot be told, it stays as it was: who writes meets the end.
    pub(super) fn look(&self, metrics: &JournalMetrics) {
        let Ok(disk) = rustix::fs::statvfs(&self.dir) else { return };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        self.note(free, metrics);
    }

    fn note(&self, free: u64, metrics: &JournalMetrics) {
        let least = self.least.load(Ordering::Relaxed);
        let was_low = self.is_low.load(Ordering::Relaxed);
        let is_low = is_low(was_low, free, least);
        self.free.store(free, Ordering::Relaxed);
        let has_changed = self.is_low.swap(is_low, Ordering::Relaxed) != is_low;
        metrics.free_bytes.set(free);
        metrics.refuses_work.set(is_low.into());
        let dir = self.dir.display();
        match (has_changed, is_low) {
            (true, true) => log::warn!(
                "the disk of {dir} is nearly full: {free} bytes are free, and min_free_bytes is {least}. New work is refused \
                 until there is room; what is under way goes on"
            ),
            (true, false) => log::info!("the disk of {dir} has room again: {free} bytes are free. New work is taken"),
            (false, _) => {}
        }
    }
}

fn is_low(was_low: bool, free: u64, least: u64) -> bool {
    free < least.saturating_add(if was_low { least / MARGIN } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> (tempfile::TempDir, DiskRoom, JournalMetrics) {
        let dir = tempfile::tempdir().expect("a directory");
        let room = DiskRoom::of(dir.path());
        (dir, room, JournalMetrics::default())
    }

    #[test]
    fn what_was_low_has_room_only_once_a_margin_is_free() {
        assert!(!is_low(false, 1_600, 1_600));
        assert!(is_low(false, 1_599, 1_600));
        assert!(is_low(true, 1_699, 1_600), "it is not far enough above");
        assert!(!is_low(true, 1_700, 1_600));
        assert!(!is_low(true, 0, 0), "it is turned off");
    }

    #[test]
    fn new_work_is_refused_first_and_what_follows_from_work_only_at_the_half() {
        let (_dir, room, metrics) = room();
        room.keep_free(1_600, &metrics).expect("a small amount");
        for (free, taken, within) in
            [(1_600, true, true), (1_599, false, true), (800, false, true), (799, false, false)]
        {
            room.note(free, &metrics);
            assert_eq!((room.check().is_ok(), room.check_within().is_ok()), (taken, within), "{free}");
            assert_eq!((metrics.free_bytes.read(), metrics.refuses_work.read()), (free, u64::from(!taken)));
        }
        assert_eq!(room.check(), Err(DiskLow { free: 799, least: 1_600 }));
        room.note(1_700, &metrics);
        assert_eq!((room.check(), room.check_within()), (Ok(()), Ok(())));
    }

    #[test]
    fn without_a_least_nothing_is_refused() {
        let (_dir, room, metrics) = room();
        room.note(0, &metrics);
        assert_eq!((room.check(), room.check_within()), (Ok(()), Ok(())));
    }

    #[test]
    fn more_than_the_whole_disk_cannot_stay_free() {
        let (_dir, room, metrics) = room();
        let why = room.keep_free(u64::MAX, &metrics).expect_err("nobody has so much");
        assert!(
            why.contains("min_free_bytes is 18446744073709551615") && why.contains("set limits.min_free_bytes"),
            "{why}"
        );
        assert_eq!(room.check(), Ok(()));
    }
}
