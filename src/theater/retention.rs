//! Retention: the thread that drops old data, by age or by the size of the log.

use std::collections::HashSet;
use std::mem::{Discriminant, discriminant};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

use crate::base::clock;
use crate::base::thread::{self, JoinHandle};
use crate::base::wait;
use crate::journal::{DropError, JournalHandle, Pruner, Retained, Unfinished};

/// How often old data is looked for, unless it is said.
const EVERY: Duration = Duration::from_secs(60 * 60);
/// The segment that grows is sealed for the sake of old data at most so many times in the age that data may have.
const SEALS: u32 = 30;

/// What old data is dropped. [`Retention::new`] drops nothing; each method changes one thing.
///
/// Data is dropped as by [`crate::TheaterHandle::prune`]: behind kept states, with the hashes left, and never what a start
/// after a crash would need, or what a `get-chain` has shown its actor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Data that is older is dropped.
    pub keep_for: Option<Duration>,
    /// While the log has more bytes, the oldest data is dropped.
    pub keep_bytes: Option<u64>,
    /// The directory that segments of the log are copied to before a prune drops anything from them. It has to be there.
    /// Without one, they are not copied.
    pub archive: Option<PathBuf>,
    /// The time from one pass to the next; the first is made at the start.
    pub every: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { keep_for: None, keep_bytes: None, archive: None, every: EVERY }
    }
}

impl Retention {
    /// Drops nothing, and would look once an hour.
    pub fn new() -> Self {
        Self::default()
    }

    /// Drops data that is older than this.
    #[must_use]
    pub fn keep_for(self, age: Duration) -> Self {
        Self { keep_for: Some(age), ..self }
    }

    /// Drops the oldest data while the log has more bytes than this.
    #[must_use]
    pub fn keep_bytes(self, bytes: u64) -> Self {
        Self { keep_bytes: Some(bytes), ..self }
    }

    /// Copies each segment of the log to a directory before a prune drops anything from it.
    #[must_use]
    pub fn archive(self, directory: impl Into<PathBuf>) -> Self {
        Self { archive: Some(directory.into()), ..self }
    }

    /// Sets the time from one pass to the next.
    #[must_use]
    pub fn every(self, time: Duration) -> Self {
        Self { every: time, ..self }
    }

    /// Whether old data is dropped without being asked for.
    pub(crate) fn drops_by_itself(&self) -> bool {
        self.keep_for.is_some() || self.keep_bytes.is_some()
    }

    /// What the operator may not have meant, if there is something.
    pub(super) fn warning(&self) -> Option<String> {
        let archive = self.archive.as_ref().filter(|_| !self.drops_by_itself())?;
        Some(format!(
            "retention.archive is {}, and neither retention.keep_days nor retention.keep_bytes is set: nothing is dropped by \
             itself. Only what `theater prune` is about to drop is copied there",
            archive.display()
        ))
    }

    /// Whether the archive can be one for the journal in `data_dir`.
    pub(crate) fn check(&self, data_dir: &Path) -> Result<(), String> {
        let Some(archive) = &self.archive else { return Ok(()) };
        let shown = archive.display();
        match std::fs::metadata(archive) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(format!("retention.archive is {shown}, which is a file: name a directory")),
            Err(error) => {
                return Err(format!(
                    "retention.archive is {shown}, which cannot be used: {error}. Make the directory, or mount its disk"
                ));
            }
        }
        // A data directory that is not there yet contains nothing.
        if let (Ok(archive), Ok(data_dir)) = (archive.canonicalize(), data_dir.canonicalize())
            && archive.starts_with(&data_dir)
        {
            return Err(format!(
                "retention.archive is {shown}, which lies in the data directory {}: name a directory outside it, on another \
                 disk if there is one",
                data_dir.display()
            ));
        }
        Ok(())
    }
}

/// The thread at work.
pub(super) struct Retaining {
    thread: JoinHandle,
    /// Nothing is ever sent: the thread ends when this is dropped.
    over: Sender<()>,
}

impl Retaining {
    /// Starts the thread, if there is something to do for it.
    pub(super) fn start(journal: JournalHandle, wanted: Retention) -> std::io::Result<Option<Self>> {
        if !wanted.drops_by_itself() {
            return Ok(None);
        }
        let (over, closing) = bounded(0);
        let ending: Receiver<()> = closing.clone();
        let is_over = move || matches!(ending.try_recv(), Err(TryRecvError::Disconnected));
        let pruner = Pruner::new(journal, is_over);
        let mut work = RetentionWork {
            wanted,
            pruner,
            closing,
            sealed: None,
            refused: Vec::new(),
            told: HashSet::new(),
            is_too_large: false,
        };
        let thread = thread::spawn("retention", move || work.run())?;
        Ok(Some(Self { thread, over }))
    }

    /// Ends the thread: between two segments, if it is writing one anew.
    pub(super) fn end(self) {
        drop(self.over);
        // A panic was logged.
        let _ = self.thread.join();
    }
}

struct RetentionWork {
    wanted: Retention,
    pruner: Pruner,
    closing: Receiver<()>,
    /// When old data in the segment that grows was dropped last, which seals it.
    sealed: Option<Instant>,
    /// The actors of which the last step of a pass could drop nothing more, and why.
    refused: Vec<(String, DropError)>,
    /// Of which actors it was said, and why, that nothing can be dropped.
    told: HashSet<(String, Discriminant<DropError>)>,
    /// It was said that the log stays too large.
    is_too_large: bool,
}

impl RetentionWork {
    fn run(&mut self) {
        loop {
            match self.pass() {
                Ok(()) => {}
                // Whoever waits for the journal says why it is down.
                Err(Unfinished::Over | Unfinished::Failed(DropError::Down(_))) => return,
                Err(Unfinished::Failed(why)) => log::warn!("retention: {why}"),
            }
            if !matches!(wait::receive_within(&self.closing, self.wanted.every), Err(RecvTimeoutError::Timeout)) {
                return;
            }
        }
    }

    fn pass(&mut self) -> Result<(), Unfinished> {
        if let Some(age) = self.wanted.keep_for {
            let now = clock::unix_ms();
            let old = self.pruner.older_than(now.saturating_sub(millis(age)), now)?;
            let sealed = self.pruner.sealed_upto();
            let may_seal = self.sealed.is_none_or(|sealed| clock::since(sealed) >= age / SEALS);
            if old > sealed && may_seal {
                self.sealed = Some(clock::now());
            }
            self.drop_upto(if may_seal { old } else { old.min(sealed) })?;
        }
        if let Some(most) = self.wanted.keep_bytes {
            self.shrink_to(most)?;
        }
        self.tell_of_refused();
        Ok(())
    }

    /// Drops from the oldest segments, as many at a time as have what is too much.
    fn shrink_to(&mut self, most: u64) -> Result<(), Unfinished> {
        let mut left = self.pruner.segments().into_iter();
        while let Some(excess) = self.excess(most) {
            let (mut reached, mut bytes) = (None, 0);
            while bytes < excess
                && let Some((last, size)) = left.next()
            {
                bytes += size;
                reached = Some(last);
            }
            let Some(position) = reached else { break };
            self.drop_upto(position)?;
        }
        self.tell_of_size(most);
        Ok(())
    }

    /// By how many bytes the log is too large.
    fn excess(&self, most: u64) -> Option<u64> {
        self.pruner.log_bytes().checked_sub(most).filter(|excess| *excess > 0)
    }

    fn drop_upto(&mut self, position: u64) -> Result<(), Unfinished> {
        let Retained { events, refused } = self.pruner.drop_upto(position)?;
        self.refused = refused;
        if events > 0 {
            let bytes = self.pruner.log_bytes();
            log::info!("retention: dropped the data of {events} events; the log has {bytes} bytes");
        }
        Ok(())
    }

    fn tell_of_refused(&mut self) {
        for (name, why) in self.refused.drain(..) {
            if self.told.insert((name.clone(), discriminant(&why))) {
                log::warn!("retention: nothing more of actor {name} can be dropped: {why}");
            }
        }
    }

    fn tell_of_size(&mut self, most: u64) {
        let was_too_large = self.is_too_large;
        self.is_too_large = self.excess(most).is_some();
        if self.is_too_large && !was_too_large {
            log::warn!(
                "retention: the log has {} bytes, more than keep_bytes ({most}), and nothing more can be dropped now: what is \
                 left are hashes, starts, and what actors did since their last kept states (`theater restart` keeps one)",
                self.pruner.log_bytes()
            );
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
