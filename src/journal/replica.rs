//! A node's copy of a realm's journal while another node owns the realm: it takes the batches of the shared log as they are,
//! and has the index hold what they say, so that a takeover finds both there.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::components;
use super::dir::DataDir;
use super::error::{JournalError, ReadFault};
use super::facts::{self, FactReader};
use super::index::{Index, IndexThread, OpenedIndex};
use super::log::{BatchLog, RemoteBatch, Segments, tip_of};
use super::named::named;
use super::realm_file::RealmFile;
use crate::base::dirs;
use crate::chain::ComponentDigest;

/// How far a copy has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplicaTip {
    /// The number of the last batch; 0 before the first.
    pub(crate) batch: u64,
    /// The position of the last event; 0 before the first.
    pub(crate) position: u64,
    /// The rolling digest behind it.
    pub(crate) digest: [u8; 20],
}

/// A copy that grows. Nobody else writes to it.
pub(crate) struct Replica {
    segments: Arc<Segments>,
    index: Arc<Index>,
    indexing: IndexThread,
    /// Up to which batch the index holds what the log does.
    indexed: u64,
    dir: DataDir,
}

impl Replica {
    /// Opens the copy in `dir`, or begins one.
    ///
    /// # Errors
    ///
    /// [`JournalError::OfAnother`] where the directory holds something else. Any other error says that the copy cannot be gone
    /// on with: all that it holds is in the shared log, too.
    pub(crate) fn open(dir: DataDir, file: &RealmFile) -> Result<Self, (DataDir, JournalError)> {
        match Self::open_parts(dir.path(), file) {
            Ok((segments, index, indexing, indexed)) => Ok(Self { segments, index, indexing, indexed, dir }),
            Err(error) => Err((dir, error)),
        }
    }

    fn open_parts(
        path: &Path,
        file: &RealmFile,
    ) -> Result<(Arc<Segments>, Arc<Index>, IndexThread, u64), JournalError> {
        let another =
            |found: String| JournalError::OfAnother { path: path.to_owned(), realm: file.realm.clone(), found };
        match RealmFile::read(path)? {
            Some(found) if found.realm != file.realm => {
                return Err(another(format!("holds the copy of the realm {}", found.realm)));
            }
            Some(found) if found.journal != file.journal => {
                return Err(another("holds the copy of another cluster's realm of that name".into()));
            }
            Some(_) => {}
            None if is_used(path)? => return Err(another("holds a journal of its own".into())),
            None => file.write(path).map_err(|error| JournalError::directory(path, error))?,
        }
        let opening = super::open_log(path, super::Durability::Relaxed, Some(file.journal))?;
        if opening.log.journal().is_some_and(|journal| journal != file.journal) {
            return Err(JournalError::Damaged { path: path.to_owned(), why: "its log is of another journal".into() });
        }
        let unreadable = |error: ReadFault| JournalError::Read { path: path.to_owned(), error };
        let OpenedIndex { index, indexed_to, .. } = Index::open(path).map_err(|error| unreadable(error.into()))?;
        let segments = Arc::new(opening.log);
        facts::bring_up(&*segments, &index, indexed_to).map_err(unreadable)?;
        let indexing = index.start_thread().map_err(JournalError::Thread)?;
        let indexed = segments.tip().batch;
        Ok((segments, index, indexing, indexed))
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn tip(&self) -> ReplicaTip {
        let tip = self.segments.tip();
        ReplicaTip { batch: tip.batch, position: tip.position, digest: tip.digest }
    }

    /// Takes the next batch.
    pub(crate) fn take(&self, bytes: &[u8], format: u8) -> Result<(), JournalError> {
        self.segments.append_copy(bytes, format).map(drop).map_err(|error| JournalError::of_log(self.dir(), error))
    }

    /// Has the index hold what was taken.
    pub(crate) fn index(&mut self) -> Result<(), JournalError> {
        let tip = self.segments.tip().batch;
        if tip > self.indexed {
            let index = &self.index;
            let read = FactReader::new(Some(index))
                .read(&*self.segments, self.indexed, &mut |facts, upto| index.feed(facts, upto));
            read.map_err(|error| JournalError::Read { path: self.dir().to_owned(), error })?;
            self.indexed = tip;
        }
        Ok(())
    }

    /// How often each sealed segment was written anew here.
    pub(crate) fn generations(&self) -> HashMap<u32, u32> {
        self.segments.generations().into_iter().collect()
    }

    /// Puts the batches of the shared log in the place of a sealed segment, after data was dropped from them.
    pub(crate) fn replace(&self, segment: u32, generation: u32, batches: &[Vec<u8>]) -> Result<(), JournalError> {
        let replaced = self.segments.replace(segment, generation, batches);
        replaced.map_err(|error| JournalError::of_log(self.dir(), error))
    }

    pub(crate) fn has_component(&self, digest: ComponentDigest) -> bool {
        components::path_of(self.dir(), digest).exists()
    }

    pub(crate) fn store_component(&self, digest: ComponentDigest, bytes: &[u8]) -> Result<(), JournalError> {
        components::store(self.dir(), digest, bytes).map_err(|error| JournalError::directory(self.dir(), error))
    }

    /// Whether these are the bytes of the batch that the copy ends with, whatever data was dropped from either.
    pub(crate) fn is_last(&self, bytes: &[u8]) -> bool {
        let tip = self.segments.tip();
        tip_of(bytes).is_some_and(|other| (other.batch, other.digest) == (tip.batch, tip.digest))
    }

    /// Closes the copy, and sets aside what it holds.
    pub(crate) fn set_aside(self) -> Result<DataDir, JournalError> {
        let Self { indexing, dir, .. } = self;
        indexing.close();
        Self::set_aside_in(dir)
    }

    /// Moves what a directory holds of the log into a directory of its own inside it, so that a copy can begin anew.
    pub(crate) fn set_aside_in(dir: DataDir) -> Result<DataDir, JournalError> {
        let path = dir.path();
        let numbered = (1..).map(|number| path.join(format!("set-aside-{number}")));
        let aside =
            numbered.into_iter().find(|aside| !aside.exists()).expect("there are more numbers than directories");
        let moved = || -> io::Result<()> {
            dirs::make(&aside)?;
            for name in ["log", "journal.mark", "journal.db", "index.db", "index.db-wal", "index.db-shm"] {
                match fs::rename(path.join(name), aside.join(name)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(named(&path.join(name))(error));
                    }
                    _ => {}
                }
            }
            Ok(())
        };
        moved().map_err(|error| JournalError::directory(path, error))?;
        ::log::warn!("what was there is set aside in {}", aside.display());
        Ok(dir)
    }

    /// Ends the copying, and leaves everything on disk as a journal begins with it. The directory is let go.
    pub(crate) fn close(self) -> Result<(), JournalError> {
        let closed = self.segments.close().map_err(|error| JournalError::of_log(self.dir.path(), error));
        self.indexing.close();
        closed
    }
}

/// The log of a data directory that becomes a realm's.
pub(crate) struct ImportedLog {
    segments: Segments,
    journal: [u8; 16],
    dir: DataDir,
}

impl ImportedLog {
    /// Opens a directory that nobody uses, and that has a whole journal of its own.
    pub(crate) fn open(dir: DataDir) -> Result<Self, JournalError> {
        let path = dir.path();
        if let Some(RealmFile { realm, .. }) = RealmFile::read(path)? {
            return Err(JournalError::OfARealm { path: path.to_owned(), realm });
        }
        super::check_is_there(path)?;
        let segments = super::open_log(path, super::Durability::Commit, None)?.log;
        let journal = segments.journal().ok_or_else(|| JournalError::Absent { path: path.to_owned() })?;
        Ok(Self { segments, journal, dir })
    }

    /// What all segments call the journal.
    pub(crate) fn journal(&self) -> [u8; 16] {
        self.journal
    }

    /// Shows each batch, until `show` says no. Where the log ends.
    pub(crate) fn each_batch(
        &self,
        show: &mut dyn FnMut(&RemoteBatch<'_>) -> bool,
    ) -> Result<ReplicaTip, JournalError> {
        let (mut next, mut is_wanted) = (1, true);
        let tip = self.segments.tip();
        let mut in_order = |batch: &RemoteBatch<'_>| {
            is_wanted = is_wanted && batch.number == next && show(batch);
            next += 1;
            is_wanted
        };
        let path = self.dir.path();
        self.segments.each_batch(&mut in_order).map_err(|error| JournalError::of_log(path, error))?;
        if is_wanted && next != tip.batch + 1 {
            let why = format!("batch {next} of its log does not check");
            return Err(JournalError::Damaged { path: path.to_owned(), why });
        }
        Ok(ReplicaTip { batch: tip.batch, position: tip.position, digest: tip.digest })
    }

    /// The components that lie beside the log.
    pub(crate) fn components(&self) -> Result<Vec<(ComponentDigest, Vec<u8>)>, JournalError> {
        let path = self.dir.path();
        let of = |error| JournalError::directory(path, error);
        let mut found = Vec::new();
        for file in components::files(path).map_err(of)? {
            let digest = file.file_stem().and_then(|name| name.to_str()).and_then(ComponentDigest::parse);
            let Some(digest) = digest else { continue };
            found.extend(components::read(path, digest).map_err(of)?.map(|bytes| (digest, bytes)));
        }
        Ok(found)
    }

    /// From now on the directory is a copy of the realm's journal.
    pub(crate) fn becomes_a_copy(&self, realm: &str) -> Result<(), JournalError> {
        let file = RealmFile { realm: realm.to_owned(), journal: self.journal };
        file.write(self.dir.path()).map_err(|error| JournalError::directory(self.dir.path(), error))
    }
}

/// Whether a journal is in the directory.
fn is_used(path: &Path) -> Result<bool, JournalError> {
    let has_log = Segments::is_in(path).map_err(|error| JournalError::of_log(path, error))?;
    Ok(has_log || super::is_older(path)? || path.join("journal.mark").exists())
}
