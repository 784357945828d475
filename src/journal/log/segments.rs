//! The log in files of one directory: `log/00000001.log` and so on. The last one grows; the others are sealed.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::batch::{BatchBuilder, BatchHeader, Tip, TypeNames};
use super::building::{BatchBuilding, Dictionary, Note};
use super::bytes::Malformed;
use super::dir::{self, numbers_in, path_of, remove_unfinished};
use super::directory::SegmentDirectory;
use super::edited::Edited;
use super::entry::{Entry, EventEntry, Payload};
use super::forward::{CommittedSegments, ShowBatches};
use super::mark::{MarkFile, Marked};
use super::remote::{RemoteBatch, RemoteLog};
use super::segment::{self, FORMAT, SegmentBytes, SegmentHeader, Trailer, read_entry};
use super::state::{Found, Open, Sealed, State};
use super::walk::{SegmentWalk, ToRead};
use super::{
    BatchLog, CommittedBatch, LogError, LogPlace, Remains, SegmentSpan, StoredData, StoredEvent, Unsound, damaged_at,
    damaged_behind, io_at,
};
use crate::base::fail;
use crate::journal::durability::Durability;
use crate::journal::named::open_file;

/// A segment is sealed once it has so many bytes; in the unit tests so few that there are many.
const SEGMENT_BYTES: u64 = if cfg!(test) { 4 * 1024 } else { 64 * 1024 * 1024 };
/// The file of the segment that grows is made longer by so much at a time; in the unit tests, which damage it at every
/// length, not at all.
const RESERVED_BYTES: u64 = if cfg!(test) { 1 } else { 4 * 1024 * 1024 };
/// Sealed segments whose directories are held, each about 2 MiB at most.
const OPEN_SEGMENTS: usize = 16;

/// The log of a directory.
pub(in crate::journal) struct Segments {
    pub(super) dir: PathBuf,
    pub(super) state: RwLock<State>,
    /// The sealed segments read last, the newest in front.
    opened: Mutex<VecDeque<Arc<Opened>>>,
    /// None where it is only read.
    pub(super) pen: Option<Mutex<Pen>>,
}

/// A segment's file, as it was when the log was opened to be read.
pub(in crate::journal) struct HeldFile {
    pub(in crate::journal) path: PathBuf,
    /// None where there are too many segments to hold them all.
    pub(in crate::journal) file: Option<Arc<File>>,
    /// Of the segment that grows, as far as it is committed.
    pub(in crate::journal) length: Option<u64>,
}

/// A sealed segment with its directory.
struct Opened {
    number: u32,
    generation: u32,
    file: Arc<File>,
    directory: SegmentDirectory,
}

/// What the one who appends has.
pub(super) struct Pen {
    /// The shared log of a realm, which takes each batch first.
    pub(super) remote: Option<Arc<dyn RemoteLog>>,
    durability: Durability,
    pub(super) journal: [u8; 16],
    /// None before the first append, and as long as nobody vouches for what is there, since something was lost.
    mark: Option<MarkFile>,
    /// What the first append has to put in order before it. A start that refuses what it has found changes none of it.
    untidy: Option<Untidy>,
    /// What the segment that grows has names and large parts of.
    /// It is with the batch that is being put together, and anew where none came of that.
    pub(super) dictionary: Option<Dictionary>,
    room: Vec<u8>,
    /// How long the file of the segment that grows is: batches and zeros behind them.
    reserved: u64,
    /// The file system cannot reserve room.
    has_no_reserve: bool,
    /// An append failed: what is in the file behind the tip is unknown.
    has_failed: bool,
}

/// What earlier runtimes have left.
struct Untidy {
    /// Something was written behind the last good batch.
    is_to_be_cut: bool,
    /// A segment that was begun and holds nothing.
    stillborn: Option<PathBuf>,
    /// The mark is to vouch for what is there.
    is_vouched_for: bool,
}

/// How a log was found when it was opened.
pub(in crate::journal) struct OpenedLog {
    pub(in crate::journal) log: Segments,
    /// Bytes behind the last good batch that were written; nobody was told of what is in them.
    pub(in crate::journal) cut: u64,
    /// Events that the mark promised and that are gone, as a power loss under `relaxed` may leave it.
    pub(in crate::journal) forgiven: Option<u64>,
}

impl Segments {
    /// Opens the log in `dir` to append to it, or makes a new one. What follows the last good batch is cut off by the first
    /// append, if that is not before the mark. Until then, no file is changed.
    pub(in crate::journal) fn open(
        dir: &Path,
        durability: Durability,
        marked: Option<&Marked>,
    ) -> Result<OpenedLog, LogError> {
        Self::open_if(dir, durability, marked, true, None)
    }

    /// The same, whatever was lost behind the last good batch. The mark stays as it is until [`BatchLog::close`].
    pub(in crate::journal) fn open_despite_loss(dir: &Path) -> Result<OpenedLog, LogError> {
        Self::open_if(dir, Durability::Commit, None, false, None)
    }

    /// Whether there is a log in `dir`.
    pub(in crate::journal) fn is_in(dir: &Path) -> Result<bool, LogError> {
        Ok(!numbers_in(&dir.join("log"))?.is_empty())
    }

    pub(super) fn open_if(
        dir: &Path,
        durability: Durability,
        marked: Option<&Marked>,
        is_checked: bool,
        named: Option<[u8; 16]>,
    ) -> Result<OpenedLog, LogError> {
        let log_dir = dir.join("log");
        let Found { mut state, cut, stillborn, last: _ } = Found::look(&log_dir)?;
        let mut forgiven = None;
        if is_checked && let Some(marked) = marked {
            forgiven = state.check(marked)?;
        }
        // A log that has no batch yet may have a mark.
        let known = state.journal().or(marked.map(|marked| marked.journal)).or(named);
        let journal = known.unwrap_or_else(|| *uuid::Uuid::new_v4().as_bytes());
        let mut reserved = 0;
        if let Some(open) = &mut state.open {
            let file = OpenOptions::new().read(true).write(true).open(&open.path).map_err(io_at(&open.path))?;
            reserved = file.metadata().map_err(io_at(&open.path))?.len();
            open.file = Arc::new(file);
        }
        let is_new = marked.is_none() || !log_dir.is_dir();
        let mut pen = Pen {
            remote: None,
            durability,
            journal,
            mark: None,
            untidy: Some(Untidy { is_to_be_cut: cut > 0, stillborn, is_vouched_for: is_checked }),
            dictionary: None,
            room: Vec::new(),
            reserved,
            has_no_reserve: false,
            has_failed: false,
        };
        if is_checked && is_new {
            pen.tidy(&log_dir, &state)?;
        }
        let log =
            Self { dir: log_dir, state: RwLock::new(state), opened: Mutex::default(), pen: Some(Mutex::new(pen)) };
        Ok(OpenedLog { log, cut: cut as u64, forgiven })
    }

    /// Opens the log in `dir` for reading alone, with or without a runtime at work on it.
    pub(in crate::journal) fn open_to_read(dir: &Path) -> Result<Self, LogError> {
        Ok(Self::open_to_walk(dir)?.0)
    }

    /// The same, with a walk over all that is committed. The segment that grows is read and checked once for both.
    pub(in crate::journal) fn open_to_walk(dir: &Path) -> Result<(Self, SegmentWalk), LogError> {
        Self::open_holding(dir, held_at_most())
    }

    /// The same, with so many sealed segments held open at most: those of them that are the last ones.
    pub(in crate::journal) fn open_holding(dir: &Path, most: usize) -> Result<(Self, SegmentWalk), LogError> {
        let log_dir = dir.join("log");
        let Found { state, mut last, .. } = Found::look_holding(&log_dir, most)?;
        let walk = SegmentWalk::over(state.segments().map(|segment| match segment.is_sealed {
            true => segment,
            false => ToRead { bytes: last.take(), ..segment },
        }));
        Ok((Self { dir: log_dir, state: RwLock::new(state), opened: Mutex::default(), pen: None }, walk))
    }

    /// What is wrong, in comparison with a mark that was read before the log was opened.
    pub(in crate::journal) fn check(&self, marked: &Marked) -> Result<Option<u64>, LogError> {
        self.state.read().check(marked)
    }

    /// What was found behind the last good batch when the log was opened.
    pub(in crate::journal) fn unsound_end(&self) -> Option<Unsound> {
        self.state.read().unsound_end()
    }

    /// The files as they were when the log was opened to be read: the sealed segments, and then the one that grows, with its
    /// length.
    pub(in crate::journal) fn held_files(&self) -> Vec<HeldFile> {
        let state = self.state.read();
        let sealed = state.sealed.iter().map(|sealed| HeldFile {
            path: sealed.path.clone(),
            file: sealed.file.clone(),
            length: None,
        });
        let open = state.open.iter().map(|open| HeldFile {
            path: open.path.clone(),
            file: Some(Arc::clone(&open.file)),
            length: Some(open.length),
        });
        sealed.chain(open).collect()
    }

    /// Where each sealed segment's file is, with its number; then the one that grows and its length.
    pub(in crate::journal) fn files(&self) -> Vec<(PathBuf, Option<u64>)> {
        let state = self.state.read();
        let sealed = state.sealed.iter().map(|sealed| (sealed.path.clone(), None));
        sealed.chain(state.open.iter().map(|open| (open.path.clone(), Some(open.length)))).collect()
    }

    /// Whether the file with this number at `path` is the one that grows, where `path` is that one's.
    pub(in crate::journal) fn is_the_open_one(&self, path: &Path, number: u64) -> bool {
        use std::os::unix::fs::MetadataExt;
        let state = self.state.read();
        let open = state.open.as_ref().filter(|open| open.path == *path);
        open.is_none_or(|open| open.file.metadata().is_ok_and(|file| file.ino() == number))
    }

    /// A walk over the segments that have a batch behind batch `after`.
    pub(super) fn walk_behind(&self, after: u64) -> SegmentWalk {
        let state = self.state.read();
        let segments = state.segments().filter(|segment| segment.upto.batch > after);
        // Who writes may drop data on the way.
        let is_to_be_as_it_was = self.pen.is_none();
        SegmentWalk::over(
            segments.map(|segment| ToRead { generation: segment.generation.filter(|_| is_to_be_as_it_was), ..segment }),
        )
    }

    fn committed_segments(&self) -> CommittedSegments<'_> {
        CommittedSegments { dir: &self.dir, state: &self.state }
    }

    /// The numbers of all segments.
    pub(in crate::journal) fn numbers(&self) -> Vec<u32> {
        let state = self.state.read();
        let sealed = state.sealed.iter().map(|sealed| sealed.header.number);
        sealed.chain(state.open.iter().map(|open| open.header.number)).collect()
    }

    /// A sealed segment, with its directory.
    fn opened(&self, number: u32) -> Result<Option<Arc<Opened>>, LogError> {
        let (path, held, (after, generation)) = {
            let state = self.state.read();
            let Some(sealed) = state.sealed.iter().find(|sealed| sealed.header.number == number) else {
                return Ok(None);
            };
            (sealed.path.clone(), sealed.file.clone(), sealed.ends())
        };
        let mut recent = self.opened.lock();
        if let Some(at) = recent.iter().position(|opened| (opened.number, opened.generation) == (number, generation)) {
            let opened = recent.remove(at).expect("it was found there");
            recent.push_front(Arc::clone(&opened));
            return Ok(Some(opened));
        }
        drop(recent);
        let file = match held {
            Some(file) => file,
            None => Arc::new(open_file(&path).map_err(io_at(&path))?),
        };
        let trailer = Trailer::of(&file).map_err(io_at(&path))?;
        // Who writes knows what was dropped.
        if self.pen.is_none() && trailer.is_some_and(|trailer| trailer.generation != generation) {
            return Err(LogError::Rewritten { path });
        }
        let opened = Arc::new(open_sealed(&path, file, trailer, number, &after, generation)?);
        recent = self.opened.lock();
        recent.retain(|other| other.number != number);
        recent.push_front(Arc::clone(&opened));
        recent.truncate(OPEN_SEGMENTS);
        Ok(Some(opened))
    }

    /// The segment with the event at `position`, if there is one.
    fn holder_of(&self, position: u64) -> Option<u32> {
        let state = self.state.read();
        let behind = state.sealed.partition_point(|sealed| sealed.after.position < position);
        let sealed = state.sealed.get(behind).map(|sealed| sealed.header.number);
        sealed.or(state.open.as_ref().map(|open| open.header.number))
    }

    /// Reads the record that `find` finds in the directory of a segment.
    fn entry_in<T>(
        &self,
        number: u32,
        find: impl Fn(&SegmentDirectory) -> Option<u32>,
        show: impl FnOnce(&SegmentDirectory, &Entry<'_>) -> T,
    ) -> Result<Option<T>, LogError> {
        let state = self.state.read();
        if let Some(open) = state.open.as_ref().filter(|open| open.header.number == number) {
            let Some(at) = find(&open.directory) else { return Ok(None) };
            return read_at(&open.file, &open.path, at, &open.directory, show).map(Some);
        }
        drop(state);
        let Some(opened) = self.opened(number)? else { return Ok(None) };
        let Some(at) = find(&opened.directory) else { return Ok(None) };
        read_at(&opened.file, &path_of(&self.dir, number), at, &opened.directory, show).map(Some)
    }

    fn blob_in(&self, segment: u32, name: &[u8; 20]) -> Result<Option<Vec<u8>>, LogError> {
        let find = |directory: &SegmentDirectory| directory.blobs.get(name).copied();
        let found = self.entry_in(segment, find, |_, entry| match entry {
            Entry::Blob { bytes: Payload::Kept(bytes), .. } => Some(bytes.to_vec()),
            _ => None,
        })?;
        Ok(found.flatten())
    }

    /// Makes the segment that grows a sealed one, and begins another.
    pub(super) fn begin_segment(&self, pen: &mut Pen, format: u8) -> Result<(), LogError> {
        let (tip, last) = {
            let state = self.state.read();
            let open = state.open.as_ref();
            let last = open.map(|open| open.header.number).or(state.sealed.last().map(|last| last.header.number));
            (state.tip, last.unwrap_or(0))
        };
        pen.has_failed = true;
        self.trim(pen)?;
        self.seal_open()?;
        let header = SegmentHeader { format, number: last + 1, journal: pen.journal, before: tip };
        let path = path_of(&self.dir, header.number);
        let made = OpenOptions::new().read(true).write(true).create_new(true).open(&path).and_then(|file| {
            file.write_all_at(&header.to_bytes(), 0)?;
            file.sync_all()?;
            segment::sync_dir(&path)?;
            Ok(file)
        });
        let file = Arc::new(made.map_err(io_at(&path))?);
        let directory = SegmentDirectory::begin(tip.position + 1);
        let length = segment::HEADER_BYTES as u64;
        (pen.dictionary, pen.reserved) = (None, length);
        self.state.write().open = Some(Open { header, file, path, length, unsound: 0, directory });
        pen.has_failed = false;
        Ok(())
    }

    /// Writes a batch behind the others. `note` has the directory name what is in the batch, which begins at a place in the file.
    pub(super) fn write(
        &self,
        pen: &mut Pen,
        bytes: &[u8],
        head: &BatchHeader,
        note: impl FnOnce(&mut SegmentDirectory, u64) -> Result<(), LogError>,
    ) -> Result<Tip, LogError> {
        pen.has_failed = true;
        let (file, path, length) = {
            let state = self.state.read();
            let open = state.open.as_ref().expect("a batch was begun in it");
            (Arc::clone(&open.file), open.path.clone(), open.length)
        };
        // One that was cut short would be made as long again by the write, with a hole in it, and nobody would see that.
        if file.metadata().map_err(io_at(&path))?.len() < length {
            return Err(LogError::Damaged { path, why: "it was cut short".into() });
        }
        pen.reserve(&file, length + bytes.len() as u64);
        file.write_all_at(bytes, length).map_err(io_at(&path))?;
        fail::point("before-commit");
        if pen.durability == Durability::Commit {
            file.sync_data().map_err(io_at(&path))?;
        }
        fail::point("committed");
        let tip = head.tip();
        if let Some(mark) = &mut pen.mark {
            mark.write(&tip).map_err(io_at(&self.dir))?;
        }
        {
            let mut state = self.state.write();
            let open = state.open.as_mut().expect("nobody else begins or seals one");
            note(&mut open.directory, length)?;
            open.length += bytes.len() as u64;
            state.tip = tip;
        }
        pen.has_failed = false;
        Ok(tip)
    }

    /// Writes a sealed segment anew.
    pub(super) fn put_anew(&self, path: &Path, edited: &Edited) -> Result<(), LogError> {
        let Edited { header, batches, generation, .. } = edited;
        segment::write_anew(path, *header, batches, *generation).map_err(io_at(path))?;
        let mut state = self.state.write();
        if let Some(sealed) = state.sealed.iter_mut().find(|sealed| sealed.header.number == header.number) {
            sealed.generation = *generation;
        }
        drop(state);
        // Who still reads the old file holds it until then.
        self.opened.lock().retain(|opened| opened.number != header.number);
        Ok(())
    }

    /// Gives back what is reserved behind the last batch.
    fn trim(&self, pen: &mut Pen) -> Result<(), LogError> {
        let state = self.state.read();
        let Some(open) = state.open.as_ref().filter(|open| pen.reserved > open.length) else { return Ok(()) };
        open.file.set_len(open.length).map_err(io_at(&open.path))?;
        pen.reserved = open.length;
        Ok(())
    }

    fn seal_open(&self) -> Result<(), LogError> {
        let state = self.state.read();
        let Some(open) = &state.open else { return Ok(()) };
        let footer = segment::footer(&open.directory, 0, state.tip);
        let written = open.file.write_all_at(&footer, open.length).and_then(|()| open.file.sync_data());
        written.map_err(io_at(&open.path))?;
        drop(state);
        fail::point("sealed");
        let mut state = self.state.write();
        let after = state.tip;
        if let Some(Open { header, path, .. }) = state.open.take() {
            state.sealed.push(Sealed { header, after, path, generation: 0, file: None });
        }
        Ok(())
    }
}

impl BatchLog for Segments {
    fn tip(&self) -> Tip {
        self.state.read().tip
    }

    fn begin(&self) -> Result<BatchBuilding, LogError> {
        let mut pen = self.pen.as_ref().expect("who only reads begins no batch").lock();
        pen.check(&self.dir)?;
        pen.tidy(&self.dir, &self.state.read())?;
        // What is appended has the newest format, and a segment has one.
        let is_full = |open: &Open| open.length >= SEGMENT_BYTES || open.header.format < FORMAT;
        if self.state.read().open.as_ref().is_none_or(is_full) {
            self.begin_segment(&mut pen, FORMAT)?;
        }
        let state = self.state.read();
        let open = state.open.as_ref().expect("a full one has a successor");
        let builder = BatchBuilder::begin(std::mem::take(&mut pen.room), state.tip);
        let dictionary = pen.dictionary.take().unwrap_or_else(|| Dictionary::of(&open.directory));
        Ok(BatchBuilding { segment: open.header.number, builder, dictionary, notes: Vec::new() })
    }

    fn append(&self, batch: BatchBuilding, sum: [u8; 16]) -> Result<Tip, LogError> {
        let mut pen = self.pen.as_ref().expect("who only reads appends nothing").lock();
        pen.check(&self.dir)?;
        let BatchBuilding { builder, dictionary, notes, segment: _ } = batch;
        let header = self.state.read().open.as_ref().expect("a batch was begun in it").header;
        let epoch = pen.remote.as_ref().map_or(0, |remote| remote.epoch());
        let (bytes, head) = builder.finish(header.number, header.tag(), epoch, sum);
        pen.has_failed = true;
        if let Some(remote) = &pen.remote {
            let tip = head.tip();
            let (segment, format, position, digest) = (header.number, header.format, tip.position, tip.digest);
            let batch = RemoteBatch { number: tip.batch, segment, format, position, digest, bytes: &bytes };
            remote.append(&batch).map_err(LogError::Remote)?;
            fail::point("appended-remotely");
        }
        let tip = self.write(&mut pen, &bytes, &head, |directory, length| {
            for (note, within) in notes {
                let at = u32::try_from(length + within as u64).expect("a segment is far below 4 GiB");
                match note {
                    Note::Event => directory.events.push(at),
                    Note::Name(text) => _ = directory.names.add(&text),
                    Note::Blob(name) => _ = directory.blobs.insert(name, at),
                    Note::State(actor, sequence) => _ = directory.states.insert((actor, sequence), at),
                }
            }
            Ok(())
        })?;
        (pen.dictionary, pen.room) = (Some(dictionary), bytes);
        Ok(tip)
    }

    fn read(
        &self,
        after: u64,
        show: &mut dyn FnMut(&CommittedBatch<'_>) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let mut walk = self.walk_behind(after);
        while let Some(run) = walk.next_run()? {
            run.batches.iter().filter(|batch| batch.tip.batch > after).try_for_each(&mut *show)?;
            let shown = run.batches.len();
            walk.shown(shown);
        }
        Ok(())
    }

    fn place_before(&self, position: u64) -> Result<LogPlace, LogError> {
        self.committed_segments().place_before(position)
    }

    fn read_on(&self, place: &mut LogPlace, show: ShowBatches<'_>) -> Result<bool, LogError> {
        self.committed_segments().read_on(place, show)
    }

    fn sum_behind(&self, batch: u64) -> Result<Option<[u8; 16]>, LogError> {
        Ok(self.state.read().tip_behind(batch)?.map(|tip| tip.sum))
    }

    fn event(&self, position: u64) -> Result<Option<StoredEvent>, LogError> {
        let Some(segment) = self.holder_of(position) else { return Ok(None) };
        let event = self.entry_in(
            segment,
            |directory| directory.event(position),
            |_, entry| match entry {
                Entry::Event(event) => Some(stored(event, position)),
                _ => None,
            },
        )?;
        Ok(event.flatten())
    }

    fn manifest_path(&self, position: u64) -> Result<Option<String>, LogError> {
        let Some(segment) = self.holder_of(position) else { return Ok(None) };
        let path = self.entry_in(
            segment,
            |directory| directory.event(position),
            |_, entry| match entry {
                Entry::Event(event) => event.begins.map(|begins| begins.manifest_path.to_owned()),
                _ => None,
            },
        )?;
        Ok(path.flatten())
    }

    fn part(&self, position: u64, name: &[u8; 20]) -> Result<Option<Vec<u8>>, LogError> {
        self.holder_of(position).map_or(Ok(None), |segment| self.blob_in(segment, name))
    }

    fn blob(&self, name: &[u8; 20]) -> Result<Option<Vec<u8>>, LogError> {
        for segment in self.numbers().into_iter().rev() {
            if let Some(found) = self.blob_in(segment, name)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn state(&self, segment: u32, actor: u64, sequence: u64) -> Result<Option<Option<Vec<u8>>>, LogError> {
        let find = |directory: &SegmentDirectory| directory.states.get(&(actor, sequence)).copied();
        let found = self.entry_in(segment, find, |_, entry| match entry {
            Entry::State { name: None, .. } => Some(None),
            Entry::State { state: Payload::Kept(bytes), is_salted, .. } => {
                let salt = if *is_salted { 16 } else { 0 };
                bytes.get(salt..).map(|state| Some(state.to_vec()))
            }
            _ => None,
        })?;
        Ok(found.flatten())
    }

    fn states_in(&self, segment: u32, actor: u64, events: &Range<u64>) -> Result<Vec<u64>, LogError> {
        let Some(opened) = self.opened(segment)? else { return Ok(Vec::new()) };
        let found = opened.directory.states.range((actor, events.start)..(actor, events.end));
        Ok(found.map(|((_, sequence), _)| *sequence).collect())
    }

    fn sealed(&self) -> Vec<SegmentSpan> {
        let state = self.state.read();
        let span = |sealed: &Sealed| SegmentSpan {
            number: sealed.header.number,
            first: sealed.header.before.position + 1,
            last: sealed.after.position,
        };
        state.sealed.iter().map(span).collect()
    }

    fn close(&self) -> Result<(), LogError> {
        let mut pen = self.pen.as_ref().expect("who only reads closes nothing").lock();
        if pen.untidy.as_ref().is_some_and(|untidy| untidy.is_vouched_for) {
            return Ok(());
        }
        pen.tidy(&self.dir, &self.state.read())?;
        self.trim(&mut pen)?;
        if pen.mark.is_none() {
            let dir = self.dir.parent().expect("the log is in the data directory");
            let tip = self.state.read().tip;
            pen.mark = Some(MarkFile::begin(dir, &pen.journal, &tip, pen.durability).map_err(io_at(dir))?);
        }
        Ok(())
    }

    fn file(&self, segment: u32) -> PathBuf {
        path_of(&self.dir, segment)
    }

    fn bytes(&self) -> u64 {
        let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        self.files().iter().map(|(path, grown)| grown.unwrap_or_else(|| size(path))).sum()
    }

    fn journal(&self) -> Option<[u8; 16]> {
        self.state.read().journal()
    }

    fn seal(&self) -> Result<(), LogError> {
        let mut pen = self.pen.as_ref().expect("who only reads seals nothing").lock();
        pen.check(&self.dir)?;
        pen.tidy(&self.dir, &self.state.read())?;
        let has_any = |open: &Open| open.length > segment::HEADER_BYTES as u64;
        let is_due = self.state.read().open.as_ref().is_some_and(has_any);
        if is_due { self.begin_segment(&mut pen, FORMAT) } else { Ok(()) }
    }

    fn rewrite(&self, number: u32, edit: &mut dyn FnMut(&Entry<'_>) -> Option<Remains>) -> Result<(), LogError> {
        let path = path_of(&self.dir, number);
        let sealed = self.state.read().sealed.iter().find(|sealed| sealed.header.number == number).map(Sealed::ends);
        let (after, generation) = sealed.expect("only a sealed segment is written anew");
        let bytes = SegmentBytes::read(&path).map_err(io_at(&path))?.map_err(damaged_at(&path))?;
        let (mut names, mut batches, mut changed) = (TypeNames::default(), Vec::new(), Vec::new());
        let walked = bytes.walk(|_, batch| {
            let edited = segment::edited(batch, &mut names, edit)?;
            changed.push(edited.0.crc != batch.header.crc);
            batches.push(edited);
            Ok(())
        });
        let walked = walked.map_err(damaged_at(&path))?;
        if walked.tip != after {
            return Err(damaged_behind(&path, walked.end)(Malformed("a batch does not check")));
        }
        let edited = Edited { header: bytes.header, batches, generation: generation + 1, changed };
        let remote = self.pen.as_ref().and_then(|pen| pen.lock().remote.clone());
        if let Some(remote) = remote {
            edited.send(&*remote).map_err(LogError::Remote)?;
        }
        self.put_anew(&path, &edited)
    }
}

impl Pen {
    /// Puts in order what earlier runtimes have left in the directory of the segments, before the first append.
    pub(super) fn tidy(&mut self, log_dir: &Path, state: &State) -> Result<(), LogError> {
        let Some(Untidy { is_to_be_cut, stillborn, is_vouched_for }) = &self.untidy else { return Ok(()) };
        let dir = log_dir.parent().expect("the log is in the data directory");
        // The mark is made before the directory; see `dir::make`.
        if *is_vouched_for {
            let mark = MarkFile::begin(dir, &self.journal, &state.tip, self.durability);
            self.mark = Some(mark.map_err(io_at(dir))?);
        }
        dir::make(dir).map_err(io_at(log_dir))?;
        if let Some(path) = stillborn {
            fs::remove_file(path).map_err(io_at(path))?;
        }
        remove_unfinished(log_dir)?;
        if let Some(open) = state.open.as_ref().filter(|_| *is_to_be_cut) {
            open.file.set_len(open.length).and_then(|()| open.file.sync_all()).map_err(io_at(&open.path))?;
            self.reserved = open.length;
        }
        self.untidy = None;
        Ok(())
    }

    /// Has the file reach to `end` and further, so that most commits need not have its length synced, too. Where that cannot
    /// be had, on a full disk for instance, the write itself says what is wrong.
    fn reserve(&mut self, file: &File, end: u64) {
        if end <= self.reserved {
            return;
        }
        self.reserved = end;
        if self.has_no_reserve || !may_be_any_length() {
            return;
        }
        let length = end.next_multiple_of(RESERVED_BYTES);
        match fallocate(file, FallocateFlags::empty(), 0, length) {
            Ok(()) => self.reserved = length,
            Err(error) => self.has_no_reserve = matches!(error, Errno::OPNOTSUPP | Errno::NOSYS),
        }
    }

    pub(super) fn check(&self, dir: &Path) -> Result<(), LogError> {
        if self.has_failed { Err(io_at(dir)(io::Error::other("an earlier write failed"))) } else { Ok(()) }
    }
}

/// So many sealed segments are held open by one who reads: a quarter of the files that `ulimit -n` allows.
pub(in crate::journal) fn held_at_most() -> usize {
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(65_536);
    usize::try_from(allowed / 4).unwrap_or(usize::MAX)
}

/// Whether `ulimit -f` allows files of any length: to reserve beyond it would end the process.
fn may_be_any_length() -> bool {
    getrlimit(Resource::Fsize).current.is_none()
}

fn open_sealed(
    path: &Path,
    file: Arc<File>,
    trailer: Option<Trailer>,
    number: u32,
    after: &Tip,
    generation: u32,
) -> Result<Opened, LogError> {
    let footer = match trailer.filter(|trailer| trailer.after == *after) {
        Some(trailer) => segment::directory(&file, &trailer).map_err(io_at(path))?,
        None => Err(Malformed("it has no footer")),
    };
    if let Ok(directory) = footer {
        return Ok(Opened { number, generation, file, directory });
    }
    let bytes = segment::whole(&file).map_err(io_at(path))?.map_err(damaged_at(path))?;
    let (directory, walked) = bytes.directory().map_err(damaged_at(path))?;
    if walked.tip != *after {
        return Err(damaged_behind(path, walked.end)(Malformed("a batch does not check")));
    }
    Ok(Opened { number, generation, file, directory })
}

fn read_at<T>(
    file: &File,
    path: &Path,
    at: u32,
    directory: &SegmentDirectory,
    show: impl FnOnce(&SegmentDirectory, &Entry<'_>) -> T,
) -> Result<T, LogError> {
    let read = read_entry(file, at, |raw| Ok(show(directory, &raw.understand(directory.names.texts())?)));
    let read = read.map_err(io_at(path))?;
    read.map_err(|Malformed(why)| LogError::Damaged { path: path.to_owned(), why: format!("at byte {at}: {why}") })
}

fn stored(event: &EventEntry<'_>, position: u64) -> StoredEvent {
    StoredEvent {
        actor: event.actor,
        sequence: event.sequence,
        position,
        previous: (event.back > 0).then(|| position.saturating_sub(event.back)),
        timestamp: event.timestamp,
        event_type: event.event_type.into(),
        hash: event.hash,
        names_state: event.names_state,
        is_salted: event.is_salted,
        data: match event.data {
            Payload::Kept(bytes) => StoredData::Kept(bytes.to_vec()),
            Payload::Dropped { length, digest } => StoredData::Dropped { length, digest: digest.to_vec() },
        },
    }
}
