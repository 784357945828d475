//! The journal: the durable, totally ordered log of all chains of one runtime.
//!
//! ```text
//!   any thread ── enqueue(record) ──▶ [ FIFO, bounded in bytes ] ──▶ thread `journal`
//!                                                                     │ one batch of all that waited
//!                                                                     │ appended to the log, then the mark
//!                                                                     ├──────▶ index: in memory at once, in
//!                                                                     ▼        index.db by its own thread
//!                                                     release what waited · wake subscribers
//! ```
//!
//! *The order rule*: before another thread can see anything of an actor, `enqueue` of all its events so far has
//! returned. One queue feeds one writer, so every prefix of the journal is a consistent cut. The files are described
//! in `docs/journal.md`. Nothing here knows of wasm. `log/` knows bytes and `index/` knows SQLite; neither knows the other.

mod archive;
mod backup;
mod builds;
mod carry;
mod chains;
mod committed;
mod components;
mod dir;
mod drops;
mod durability;
mod ends;
mod error;
mod facts;
mod foresee;
mod forget;
mod format4;
mod index;
mod keyed;
mod log;
mod loss;
mod named;
mod newest;
mod ordered;
mod parts;
mod presence;
mod queue;
mod reader;
mod realm_file;
mod record;
mod replica;
mod retain;
mod room;
mod rows;
mod starts;
mod states;
mod survey;
mod table_reads;
mod trials;
mod upgrade;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use parking_lot::Mutex;

pub(crate) use backup::{bytes_in, copy, has_journal, is_data_directory, remove_copied};
pub(crate) use committed::{CommittedEvent, CommittedEvents};
pub(crate) use dir::{DataDir, remove_ephemeral};
pub use durability::Durability;
pub use error::{JournalDown, JournalError, ReadFault, UnsoundEnd};
pub(crate) use error::{ReadResult, is_unfit};
pub use foresee::DataToDrop;
pub(crate) use foresee::{foresee_prune, foresee_redaction};
pub use forget::{DataDropped, DropError, Shown};
pub(crate) use forget::{prune, redact};
pub(crate) use keyed::KeyedCall;
pub(crate) use log::{RemoteBatch, RemoteFault, RemoteLog};
pub(crate) use loss::{Loss, unsound_end};
pub(crate) use ordered::{Placed, StretchBounds};
pub(crate) use reader::JournalReader;
pub(crate) use realm_file::RealmFile;
pub(crate) use record::{
    ActorKey, ActorRow, ActorStarted, Attached, Cause, DEFERRED, MONITOR, Owed, Pending, REPLY, Record, STREAM,
    StateWrite, TIMER,
};
pub(crate) use replica::{ImportedLog, Replica, ReplicaTip};
pub(crate) use retain::{Pruner, Retained, Unfinished};
pub use room::DiskLow;
pub(crate) use rows::{KeyRange, Row, RowWrite, TableAt, behind_prefix, gone_table};
pub(crate) use states::Newest;
pub(crate) use survey::{Survey, Surveyed};
pub(crate) use upgrade::{begin_anew, convert, is_older, take_place, upgrade_dir};

use self::log::{BatchLog, MarkFile, OpenedLog, SegmentWalk, Segments};
use self::presence::FileWatch;
use crate::base::clock;
use crate::base::id::ActorId;
use crate::base::metrics::JournalMetrics;
use crate::base::thread::{self, JoinHandle};
use crate::base::wait;
use index::{Index, IndexThread, OpenedIndex, Standing};
use newest::NewestStates;
use queue::Queue;
use room::DiskRoom;
use upgrade::Readable;
use writer::Writer;

/// So many bytes of rows are read together where all of a table is read.
pub(crate) const PAGE_BYTES_OF_ROWS: u64 = 4 * 1024 * 1024;

/// What the journal tells the layers above, from its own thread; neither may block.
pub(crate) struct Listener {
    /// These actors have newly committed events.
    pub(crate) committed: Box<dyn Fn(&[ActorId]) + Send>,
    /// The journal cannot write any more; nothing will be acknowledged from here on.
    pub(crate) failed: Box<dyn FnOnce(&JournalError) + Send>,
}

/// The journal, open. Whoever has it closes it; everyone else has a [`JournalHandle`].
pub(crate) struct Journal {
    handle: JournalHandle,
    writer: JoinHandle,
    indexing: IndexThread,
    watch: JoinHandle,
    files: Arc<FileWatch>,
    /// Ends the watch when it is dropped.
    watching: Sender<()>,
    /// Held until the journal is closed, whoever still has a handle.
    dir: DataDir,
}

impl Journal {
    /// Opens the journal in `dir`, or makes a new one, and starts its writer.
    ///
    /// Refuses a directory that another runtime holds, a newer format, and a journal that lost what its mark says was
    /// acknowledged.
    pub(crate) fn open(
        dir: DataDir,
        durability: Durability,
        queue_bytes: usize,
        listener: Listener,
    ) -> Result<Self, JournalError> {
        let path = dir.path();
        if let Some(RealmFile { realm, .. }) = RealmFile::read(path)? {
            return Err(JournalError::OfARealm { path: path.to_owned(), realm });
        }
        upgrade::finish(path)?;
        let opening = open_log(path, durability, None)?;
        if let Some(lost) = opening.forgiven {
            ::log::warn!(
                "the machine was restarted under durability \"relaxed\": the journal in {} ends at position {}, {lost} \
                 events before the last that was acknowledged",
                path.display(),
                opening.log.tip().position
            );
        }
        Self::begin(dir, opening, |segments| segments, queue_bytes, listener, None)
    }

    /// Opens the local copy of a realm's journal, which is all that the shared log holds, to go on from there: each batch goes to
    /// the shared log first.
    pub(crate) fn open_realm(
        dir: DataDir,
        remote: Arc<dyn RemoteLog>,
        queue_bytes: usize,
        listener: Listener,
    ) -> Result<Self, JournalError> {
        let path = dir.path();
        let of_realm = RealmFile::read(path)?;
        let opening = open_log(path, Durability::Relaxed, of_realm.map(|file| file.journal))?;
        opening.log.append_through(Arc::clone(&remote));
        Self::begin(dir, opening, |segments| segments, queue_bytes, listener, Some(remote))
    }

    /// Opens a journal that has lost something, to say so on its chains. Until it is closed in order, others still refuse it.
    pub(crate) fn open_despite_loss(
        dir: DataDir,
        queue_bytes: usize,
        listener: Listener,
    ) -> Result<Self, JournalError> {
        let path = dir.path();
        let opening = Segments::open_despite_loss(path).map_err(|error| JournalError::of_log(path, error))?;
        Self::begin(dir, opening, |segments| segments, queue_bytes, listener, None)
    }

    /// Starts the threads; `log_on` gives the log that is written and read.
    fn begin(
        dir: DataDir,
        opening: OpenedLog,
        log_on: impl FnOnce(Arc<Segments>) -> Arc<dyn BatchLog>,
        queue_bytes: usize,
        listener: Listener,
        remote: Option<Arc<dyn RemoteLog>>,
    ) -> Result<Self, JournalError> {
        let path: Arc<Path> = dir.path().into();
        let unreadable = |error: ReadFault| JournalError::Read { path: path.to_path_buf(), error };
        let opened = Index::open(&path).map_err(|error| unreadable(error.into()))?;
        let OpenedIndex { index, indexed_to, why_empty } = opened;
        if let Some(why) = why_empty.filter(|_| opening.log.tip().batch > 0) {
            ::log::info!("the journal's index is made anew: {why}");
        }
        if opening.cut > 0 {
            ::log::info!("{} bytes of the log that nobody was told of are cut off", opening.cut);
        }
        let segments = Arc::new(opening.log);
        let sum = facts::bring_up(&*segments, &index, indexed_to).map_err(unreadable)?;
        let standing = Standing::new(Arc::clone(&index), sum);
        let next_key = index.next_key().map_err(|error| unreadable(error.into()))?;
        let (queue, metrics) = (Arc::new(Queue::new(queue_bytes)), Arc::<JournalMetrics>::default());
        let newest = Arc::<NewestStates>::default();
        let (watching, closing) = bounded(0);
        let room = Arc::new(DiskRoom::of(&path));
        let (watch, watch_thread) =
            presence::watch(&room, Arc::clone(&segments), Arc::clone(&queue), Arc::clone(&metrics), closing)?;
        let log = log_on(segments);
        let reader = JournalReader {
            log: Arc::clone(&log),
            index: Arc::clone(&index),
            newest: Arc::clone(&newest),
            dir: Arc::clone(&path),
            readable: None,
        };
        let handle = JournalHandle {
            queue: Arc::clone(&queue),
            next_key: Arc::new(AtomicI64::new(next_key)),
            reader,
            rewriting: Arc::default(),
            era: Arc::default(),
            metrics: Arc::clone(&metrics),
            room,
            archive: Arc::default(),
            remote: remote.clone(),
        };
        let indexing = index.start_thread().map_err(JournalError::Thread)?;
        let path = path.to_path_buf();
        let files = Arc::clone(&watch);
        let writer = Writer { path, log, remote, index, standing, newest, queue, listener, watch, metrics };
        let writer = thread::spawn("journal", move || writer.run()).map_err(JournalError::Thread)?;
        Ok(Self { handle, writer, indexing, watch: watch_thread, files, watching, dir })
    }

    pub(crate) fn handle(&self) -> &JournalHandle {
        &self.handle
    }

    /// Writes what was enqueued, then ends the writer. What is enqueued afterwards is refused.
    pub(crate) fn close(self) {
        // A writer that failed is gone already and has said why.
        let _ = self.handle.queue.push(Record::Close);
        let _ = self.writer.join();
        self.indexing.close();
        drop(self.watching);
        let _ = self.watch.join();
        drop(self.dir);
    }
}

/// Enqueues and reads; cheap to clone.
#[derive(Clone)]
pub(crate) struct JournalHandle {
    queue: Arc<Queue>,
    next_key: Arc<AtomicI64>,
    reader: JournalReader,
    /// One at a time writes segments anew.
    rewriting: Arc<Mutex<()>>,
    /// How often data was dropped in this run of the process. A large part that comes again after that has another name, so
    /// that it cannot be recognised as the one that was dropped.
    era: Arc<AtomicU64>,
    /// What the writer counts.
    pub(crate) metrics: Arc<JournalMetrics>,
    room: Arc<DiskRoom>,
    /// Where segments are copied to before a prune takes something out of them.
    archive: Arc<OnceLock<PathBuf>>,
    /// The shared log of the realm, if the journal is a realm's.
    remote: Option<Arc<dyn RemoteLog>>,
}

impl JournalHandle {
    /// The key under which a new actor's rows will stand.
    pub(crate) fn new_actor(&self, id: ActorId) -> ActorKey {
        ActorKey { key: self.next_key.fetch_add(1, Ordering::Relaxed), id }
    }

    /// Puts a record behind all those enqueued before. Blocks while the disk is behind; once it has returned, the
    /// record cannot be overtaken.
    pub(crate) fn enqueue(&self, mut record: Record) -> Result<(), JournalDown> {
        // On the thread that has something to say: the writer is everybody's.
        if let Record::Event(_, event, attached) = &mut record {
            attached.parts = parts::take_out(&mut event.data, self.era.load(Ordering::Relaxed));
        }
        self.queue.push(record)
    }

    /// Gives large parts other names than before.
    fn begin_era(&self) {
        self.era.fetch_add(1, Ordering::Relaxed);
    }

    /// Has the writer run `release` once everything enqueued so far is committed. It must not block.
    pub(crate) fn release(&self, release: impl FnOnce() + Send + 'static) -> Result<(), JournalDown> {
        self.queue.push(Record::Release(Box::new(release)))
    }

    /// Waits until everything enqueued so far is committed.
    pub(crate) fn flush(&self) -> Result<(), JournalDown> {
        let (done, committed) = bounded::<()>(1);
        self.release(move || _ = done.try_send(()))?;
        wait::receive(&committed).map_err(|_| JournalDown)
    }

    /// Whether the writer works.
    pub(crate) fn is_up(&self) -> bool {
        !self.queue.is_closed()
    }

    /// How long the commit has taken so far that is under way; none if there is none.
    pub(crate) fn commit_under_way(&self) -> Option<Duration> {
        let began = Some(self.metrics.commit_began.read()).filter(|began| *began > 0)?;
        Some(Duration::from_millis(clock::boot_ms().saturating_sub(began)))
    }

    /// Sets the directory that segments are copied to before a prune takes something out of them.
    pub(crate) fn archive_to(&self, dir: PathBuf) {
        // It is set once, before anything is pruned.
        let _ = self.archive.set(dir);
    }

    /// Sets how many bytes are to stay free on the disk. The error says why that cannot be.
    pub(crate) fn keep_free(&self, least: u64) -> Result<(), String> {
        self.room.keep_free(least, &self.metrics)
    }

    /// Whether the disk has room for new work.
    pub(crate) fn has_room(&self) -> Result<(), DiskLow> {
        self.room.check()
    }

    /// Whether the disk has room for what follows from work that was taken before.
    pub(crate) fn has_room_within(&self) -> Result<(), DiskLow> {
        self.room.check_within()
    }

    /// A reader of what is committed; it does not hold up the writer.
    pub(crate) fn reader(&self) -> Result<JournalReader, JournalError> {
        Ok(self.reader.clone())
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.reader.dir
    }

    /// Whether the journal is a realm's: then another machine may go on with it, and has no other files of this one.
    pub(crate) fn is_of_a_realm(&self) -> bool {
        self.remote.is_some()
    }

    /// For how long the shared log of the realm was silent; none if the journal is no realm's.
    pub(crate) fn shared_log_silent_for(&self) -> Option<Duration> {
        self.remote.as_ref().map(|remote| remote.silent_for())
    }
}

/// Opens the log in a data directory to append to it, or makes one. `copied` names the journal where that is the copy of a
/// realm's.
fn open_log(path: &Path, durability: Durability, copied: Option<[u8; 16]>) -> Result<OpenedLog, JournalError> {
    let marked = MarkFile::read(path).map_err(|error| JournalError::directory(path, error))?;
    let marked = match marked {
        Some(Ok(marked)) => Some(marked),
        Some(Err(why)) if !is_only_begun(path)? => return Err(JournalError::Mark { path: path.to_owned(), why }),
        Some(Err(_)) | None => None,
    };
    let has_log = Segments::is_in(path).map_err(|error| JournalError::of_log(path, error))?;
    if marked.as_ref().is_some_and(|marked| marked.batch > 0) && !has_log {
        return Err(JournalError::NoLog { path: path.to_owned(), why: "but no log" });
    }
    if marked.is_none() && has_log {
        let log = Segments::open_to_read(path).map_err(|error| JournalError::of_log(path, error))?;
        // Made, but nothing was ever acknowledged.
        if log.tip().batch > 0 {
            return Err(JournalError::Mark { path: path.to_owned(), why: "the file is missing".into() });
        }
    }
    let opening = match copied {
        Some(journal) => Segments::open_copy(path, journal, marked.as_ref()),
        None => Segments::open(path, durability, marked.as_ref()),
    };
    let opening = opening.map_err(|error| JournalError::of_log(path, error))?;
    index::make_stub(path).map_err(|error| JournalError::directory(path, error))?;
    Ok(opening)
}

/// Opens the journal in `dir` for reading alone, with or without a runtime at work on it.
pub(crate) fn open_to_read(dir: &Path) -> Result<JournalReader, JournalError> {
    Ok(open_parts_to_read(&upgrade::readable(dir)?)?.reader)
}

/// A journal that is only read.
struct Opened {
    log: Arc<Segments>,
    walk: SegmentWalk,
    reader: JournalReader,
}

fn open_parts_to_read(readable: &Readable) -> Result<Opened, JournalError> {
    let dir = &*readable.dir;
    check_is_there(dir)?;
    let unreadable = |error: ReadFault| JournalError::Read { path: dir.to_owned(), error };
    // The index first: while a runtime is at work, the log is never behind it.
    let OpenedIndex { index, indexed_to, .. } = Index::open_to_read(dir).map_err(|error| unreadable(error.into()))?;
    let (log, walk) = Segments::open_to_walk(dir).map_err(|error| JournalError::of_log(dir, error))?;
    let log = Arc::new(log);
    facts::bring_up(&*log, &index, indexed_to).map_err(unreadable)?;
    let shared: Arc<dyn BatchLog> = Arc::<Segments>::clone(&log);
    let (newest, readable) = (Arc::default(), Some(readable.clone()));
    let reader = JournalReader { log: shared, index, newest, dir: dir.into(), readable };
    Ok(Opened { log, walk, reader })
}

/// Whether neither a batch nor a component is in `dir`, so that nothing was ever acknowledged: a process that is ended, or finds
/// the disk full, while it makes a new journal leaves a mark that says nothing.
fn is_only_begun(dir: &Path) -> Result<bool, JournalError> {
    let log = Segments::open_to_read(dir).map_err(|error| JournalError::of_log(dir, error))?;
    let components = components::files(dir).map_err(|error| JournalError::directory(dir, error))?;
    Ok(log.tip().batch == 0 && components.is_empty())
}

/// Whether there is a journal to read in `dir`.
fn check_is_there(dir: &Path) -> Result<(), JournalError> {
    let log = dir.join("log");
    match std::fs::metadata(&log) {
        Ok(found) if found.is_dir() => Ok(()),
        // A file of that name is somebody else's.
        Ok(_) => Err(JournalError::Absent { path: dir.to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(JournalError::Absent { path: dir.to_owned() })
        }
        Err(error) => Err(JournalError::directory(dir, named::named(&log)(error))),
    }
}

/// Data as an event might have it, and as a damaged row might hold it.
pub(crate) fn hostile_parts(bytes: &[u8]) {
    let mut stored = bytes.to_vec();
    let parts = parts::take_out(&mut stored, 0);
    let find = |name: &[u8; 20]| {
        let found = parts.iter().find(|(other, _)| other == name).map(|(_, part)| part.clone());
        Ok::<_, std::convert::Infallible>(found)
    };
    let back = parts::put_back(stored, find).expect("infallible");
    if !parts.is_empty() && crate::chain::cbor::Value::parse(bytes).is_ok() {
        assert_eq!(back.as_deref(), Ok(bytes), "what is put back is what was taken out");
    }
    parts::names(bytes);
}

#[cfg(test)]
mod tests;
