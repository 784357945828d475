//! The log in files of one directory: `log/00000001.log` and so on. The last one grows; the others are sealed.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::batch::{self, BatchBuilder, BatchHeader, RawBatch, Tip, TypeNames};
use super::bytes::Malformed;
use super::directory::Directory;
use super::entry::{Entry, EventEntry, Names, Payload};
use super::mark::{MarkFile, Marked, boot_id};
use super::segment::{self, SegmentBytes, SegmentHeader, Trailer, read_entry};
use super::{CommittedBatch, Log, LogError, Remains, SegmentSpan, StoredData, StoredEvent};
use crate::base::fail;
use crate::journal::durability::Durability;

/// A segment is sealed once it has so many bytes; in the unit tests so few that there are many.
const SEGMENT_BYTES: u64 = if cfg!(test) { 4 * 1024 } else { 64 * 1024 * 1024 };
/// Sealed segments whose directories are held, each about 2 MiB at most.
const OPEN_SEGMENTS: usize = 16;

/// The log of a directory.
pub(in crate::journal) struct Segments {
    dir: PathBuf,
    state: RwLock<State>,
    /// The sealed segments read last, the newest in front.
    opened: Mutex<VecDeque<Arc<Opened>>>,
    /// None where it is only read.
    pen: Option<Mutex<Pen>>,
}

/// What readers go by.
struct State {
    sealed: Vec<Sealed>,
    /// The segment that grows; none before the first batch.
    open: Option<Open>,
    tip: Tip,
}

struct Sealed {
    header: SegmentHeader,
    after: Tip,
    path: PathBuf,
    /// How often it was written anew.
    generation: u32,
}

struct Open {
    header: SegmentHeader,
    file: Arc<File>,
    path: PathBuf,
    length: u64,
    directory: Directory,
}

/// A sealed segment with its directory.
struct Opened {
    number: u32,
    generation: u32,
    file: File,
    directory: Directory,
}

/// What the one who appends has.
struct Pen {
    durability: Durability,
    journal: [u8; 16],
    /// None as long as nobody vouches for what is there, since something was lost.
    mark: Option<MarkFile>,
    /// What the segment that grows has names and large parts of.
    dictionary: Dictionary,
    room: Vec<u8>,
    /// An append failed: what is in the file behind the tip is unknown.
    has_failed: bool,
}

#[derive(Default)]
struct Dictionary {
    names: TypeNames,
    blobs: HashSet<[u8; 20]>,
}

/// A batch that is being put together for the segment that grows.
pub(in crate::journal) struct BatchBuilding {
    segment: u32,
    builder: BatchBuilder,
    dictionary: Dictionary,
    notes: Vec<(Note, usize)>,
}

/// What the directory will say of a record.
enum Note {
    Event,
    Name(String),
    Blob([u8; 20]),
    State(u64, u64),
}

impl State {
    /// The files of the segments that have batches behind this one, each with the number of its last.
    fn behind(&self, batch: u64) -> impl Iterator<Item = (PathBuf, u64)> {
        let sealed = self.sealed.iter().filter(move |sealed| sealed.after.batch > batch);
        let sealed = sealed.map(|sealed| (sealed.path.clone(), sealed.after.batch));
        sealed.chain(self.open.iter().map(|open| (open.path.clone(), self.tip.batch)))
    }
}

impl BatchBuilding {
    /// The segment that it will lie in.
    pub(in crate::journal) fn segment(&self) -> u32 {
        self.segment
    }

    /// The position of the next event.
    pub(in crate::journal) fn next_position(&self) -> u64 {
        self.builder.next_position()
    }

    pub(in crate::journal) fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    pub(in crate::journal) fn len(&self) -> usize {
        self.builder.len()
    }

    /// Appends a record. A large part that the segment has already is left out.
    pub(in crate::journal) fn push(&mut self, entry: &Entry<'_>) {
        let (note, code) = match entry {
            Entry::Event(event) => (Some(Note::Event), self.code_of(event.event_type)),
            Entry::Blob { name, .. } => {
                if !self.dictionary.blobs.insert(*name) {
                    return;
                }
                (Some(Note::Blob(*name)), 0)
            }
            Entry::State { actor, sequence, .. } => (Some(Note::State(*actor, *sequence)), 0),
            Entry::Name { text, .. } => (Some(Note::Name((*text).to_owned())), 0),
            Entry::Ended(_) | Entry::Survived(_) | Entry::Forgotten(_) | Entry::Dropped { .. } => (None, 0),
        };
        let at = self.builder.push(entry, code);
        if let Some(note) = note {
            self.notes.push((note, at));
        }
    }

    fn code_of(&mut self, text: &str) -> u64 {
        if let Some(code) = self.dictionary.names.code(text) {
            return code;
        }
        let code = self.dictionary.names.add(text);
        self.push(&Entry::Name { code, text });
        code
    }
}

/// A walk over the batches of a log, one at a time.
pub(in crate::journal) struct SegmentWalk {
    /// The segments that are still to be read, each with the number of its last batch.
    paths: VecDeque<(PathBuf, u64)>,
    here: Option<Here>,
}

/// The segment that a walk is in.
struct Here {
    path: PathBuf,
    bytes: SegmentBytes,
    names: TypeNames,
    at: usize,
    reached: Tip,
}

impl SegmentWalk {
    /// Shows the next batch. Whether there was one.
    pub(in crate::journal) fn next(&mut self, show: &mut dyn FnMut(&CommittedBatch<'_>)) -> Result<bool, LogError> {
        loop {
            if self.here.is_none() {
                let Some((path, last)) = self.paths.pop_front() else { return Ok(false) };
                let damaged = |Malformed(why)| LogError::Damaged { path: path.clone(), why: why.to_owned() };
                let bytes = SegmentBytes::read_through(&path, last).map_err(io_at(&path))?.map_err(damaged)?;
                let reached = bytes.header.before;
                self.here = Some(Here { path, bytes, names: TypeNames::default(), at: segment::HEADER_BYTES, reached });
            }
            let here = self.here.as_mut().expect("it was just filled");
            let path = &here.path;
            let at = here.at;
            let damaged = |Malformed(why)| LogError::Damaged {
                path: path.clone(),
                why: format!("behind byte {at}: {why}"),
            };
            match here.bytes.batch_at(here.at, &here.reached).map_err(damaged)? {
                None => self.here = None,
                Some(batch) => {
                    show(&understand(&batch, &mut here.names).map_err(damaged)?);
                    here.at += batch.length();
                    here.reached = batch.header.tip();
                    return Ok(true);
                }
            }
        }
    }
}

/// How a log was found when it was opened.
pub(in crate::journal) struct Opening {
    pub(in crate::journal) log: Segments,
    /// Bytes behind the last good batch that were cut off; nobody was told of what was in them.
    pub(in crate::journal) cut: u64,
    /// Events that the mark promised and that are gone, as a power loss under `relaxed` may leave it.
    pub(in crate::journal) forgiven: Option<u64>,
}

/// The files of a log, as they were found.
struct Found {
    sealed: Vec<Sealed>,
    last: Option<(Open, Option<Malformed>)>,
    tip: Tip,
    /// A file that was begun and holds nothing yet.
    stillborn: Option<PathBuf>,
}

impl Segments {
    /// Opens the log in `dir` to append to it, or makes a new one. What follows the last good batch is cut off, if that is
    /// not before the mark.
    pub(in crate::journal) fn open(
        dir: &Path,
        durability: Durability,
        marked: Option<&Marked>,
    ) -> Result<Opening, LogError> {
        Self::open_if(dir, durability, marked, true)
    }

    /// The same, whatever was lost behind the last good batch. The mark stays as it is until [`Log::vouch`].
    pub(in crate::journal) fn open_despite_loss(dir: &Path) -> Result<Opening, LogError> {
        Self::open_if(dir, Durability::Commit, None, false)
    }

    /// Whether there is a log in `dir`.
    pub(in crate::journal) fn is_in(dir: &Path) -> bool {
        numbers_in(&dir.join("log")).is_ok_and(|numbers| !numbers.is_empty())
    }

    fn open_if(
        dir: &Path,
        durability: Durability,
        marked: Option<&Marked>,
        is_checked: bool,
    ) -> Result<Opening, LogError> {
        let log_dir = dir.join("log");
        let found = Found::look(&log_dir)?;
        let mut forgiven = None;
        if is_checked && let Some(marked) = marked {
            forgiven = found.check(marked)?;
        }
        let Found { sealed, last, tip, stillborn } = found;
        let journal = sealed.first().map(|first| first.header.journal);
        let journal = journal.or_else(|| last.as_ref().map(|(open, _)| open.header.journal));
        let journal = journal.unwrap_or_else(|| *uuid::Uuid::new_v4().as_bytes());
        // The mark is made before the directory: who copies a journal that grows, file by file in the order of their numbers
        // or names, copies the mark first, and then a log that holds at least what that vouches for.
        let begun = is_checked.then(|| MarkFile::begin(dir, &journal, &tip, durability));
        let mark = begun.transpose().map_err(io_at(dir))?;
        make_dir(&log_dir)?;
        if let Some(path) = stillborn {
            fs::remove_file(&path).map_err(io_at(&path))?;
        }
        remove_unfinished(&log_dir)?;
        let (mut dictionary, mut cut) = (Dictionary::default(), 0);
        let mut open = last.map(|(open, _)| open);
        if let Some(open) = &mut open {
            let file = OpenOptions::new().read(true).write(true).open(&open.path).map_err(io_at(&open.path))?;
            let bytes = file.metadata().map_err(io_at(&open.path))?.len();
            cut = bytes - open.length;
            if cut > 0 {
                file.set_len(open.length).and_then(|()| file.sync_all()).map_err(io_at(&open.path))?;
            }
            open.file = Arc::new(file);
            dictionary.names = open.directory.names.clone();
            dictionary.blobs = open.directory.blobs.keys().copied().collect();
        }
        let pen = Pen { durability, journal, mark, dictionary, room: Vec::new(), has_failed: false };
        let log = Self {
            dir: log_dir,
            state: RwLock::new(State { sealed, open, tip }),
            opened: Mutex::default(),
            pen: Some(Mutex::new(pen)),
        };
        Ok(Opening { log, cut, forgiven })
    }

    /// Opens the log in `dir` for reading alone, with or without a runtime at work on it.
    pub(in crate::journal) fn open_to_read(dir: &Path) -> Result<Self, LogError> {
        let log_dir = dir.join("log");
        let found = Found::look(&log_dir)?;
        let Found { sealed, last, tip, .. } = found;
        let state = State { sealed, open: last.map(|(open, _)| open), tip };
        Ok(Self { dir: log_dir, state: RwLock::new(state), opened: Mutex::default(), pen: None })
    }

    /// What the log is known by; none before the first batch.
    pub(in crate::journal) fn journal(&self) -> Option<[u8; 16]> {
        let state = self.state.read();
        let first = state.sealed.first().map(|first| first.header.journal);
        first.or_else(|| state.open.as_ref().map(|open| open.header.journal))
    }

    /// What is wrong, in comparison with a mark that was read before the log was opened.
    pub(in crate::journal) fn check(&self, marked: &Marked) -> Result<Option<u64>, LogError> {
        let state = self.state.read();
        let headers = state.sealed.iter().map(|sealed| (sealed.header, sealed.path.as_path()));
        let open = state.open.iter().map(|open| (open.header, open.path.as_path()));
        check_against(marked, state.tip, headers.chain(open).collect())
    }

    /// Where each sealed segment's file is, with its number; then the one that grows and its length.
    pub(in crate::journal) fn files(&self) -> Vec<(PathBuf, Option<u64>)> {
        let state = self.state.read();
        let sealed = state.sealed.iter().map(|sealed| (sealed.path.clone(), None));
        sealed.chain(state.open.iter().map(|open| (open.path.clone(), Some(open.length)))).collect()
    }

    /// Reads a segment whole and checks it against what the log goes by: its first fault, if it has one.
    pub(in crate::journal) fn fault_in(&self, number: u32) -> Result<Option<String>, LogError> {
        let (path, after, is_sealed) = {
            let state = self.state.read();
            match state.sealed.iter().find(|sealed| sealed.header.number == number) {
                Some(sealed) => (sealed.path.clone(), sealed.after, true),
                None => match &state.open {
                    Some(open) => (open.path.clone(), state.tip, false),
                    None => return Ok(None),
                },
            }
        };
        let bytes = match SegmentBytes::read_through(&path, after.batch).map_err(io_at(&path))? {
            Ok(bytes) => bytes,
            Err(Malformed(why)) => return Ok(Some(format!("{}: {why}", path.display()))),
        };
        let fault = |why: String| Some(format!("{}: {why}", path.display()));
        let (directory, walked) = match bytes.directory() {
            Ok(found) => found,
            Err(Malformed(why)) => return Ok(fault(why.to_owned())),
        };
        if walked.tip != after {
            let why = walked.fault.map_or("it ends too early", |Malformed(why)| why);
            return Ok(fault(format!("behind byte {} (batch {}): {why}", walked.end, walked.tip.batch)));
        }
        if !is_sealed {
            return Ok(None);
        }
        let opened = self.opened(number)?;
        let same = opened.as_ref().is_some_and(|opened| {
            (&opened.directory.events, &opened.directory.blobs, &opened.directory.states)
                == (&directory.events, &directory.blobs, &directory.states)
        });
        Ok(if same { None } else { fault("its directory is not what its records say".to_owned()) })
    }

    /// Whether the file with this number at `path` is the one that grows, where `path` is that one's.
    pub(in crate::journal) fn is_the_open_one(&self, path: &Path, number: u64) -> bool {
        use std::os::unix::fs::MetadataExt;
        let state = self.state.read();
        let open = state.open.as_ref().filter(|open| open.path == *path);
        open.is_none_or(|open| open.file.metadata().is_ok_and(|file| file.ino() == number))
    }

    /// Bytes of all segments.
    pub(in crate::journal) fn bytes(&self) -> u64 {
        self.files().iter().map(|(path, _)| fs::metadata(path).map_or(0, |file| file.len())).sum()
    }

    /// A walk over all batches that are committed now.
    pub(in crate::journal) fn walk(&self) -> SegmentWalk {
        let state = self.state.read();
        SegmentWalk { paths: state.behind(0).collect(), here: None }
    }

    /// The numbers of all segments.
    pub(in crate::journal) fn numbers(&self) -> Vec<u32> {
        let state = self.state.read();
        let sealed = state.sealed.iter().map(|sealed| sealed.header.number);
        sealed.chain(state.open.iter().map(|open| open.header.number)).collect()
    }

    /// A sealed segment, with its directory.
    fn opened(&self, number: u32) -> Result<Option<Arc<Opened>>, LogError> {
        let (path, generation) = {
            let state = self.state.read();
            let Some(sealed) = state.sealed.iter().find(|sealed| sealed.header.number == number) else {
                return Ok(None);
            };
            (sealed.path.clone(), sealed.generation)
        };
        let mut held = self.opened.lock();
        if let Some(at) = held.iter().position(|opened| (opened.number, opened.generation) == (number, generation)) {
            let opened = held.remove(at).expect("it was found there");
            held.push_front(Arc::clone(&opened));
            return Ok(Some(opened));
        }
        drop(held);
        let opened = Arc::new(open_sealed(&path, number, generation)?);
        held = self.opened.lock();
        held.retain(|other| other.number != number);
        held.push_front(Arc::clone(&opened));
        held.truncate(OPEN_SEGMENTS);
        Ok(Some(opened))
    }

    /// Reads the record that `find` finds in the directory of the segment with the event at `position`.
    fn entry_near<T>(
        &self,
        position: u64,
        find: impl Fn(&Directory) -> Option<u32>,
        show: impl FnOnce(&Directory, &Entry<'_>) -> T,
    ) -> Result<Option<T>, LogError> {
        let state = self.state.read();
        if let Some(open) = state.open.as_ref().filter(|open| position > open.header.before.position) {
            let Some(at) = find(&open.directory) else { return Ok(None) };
            return read_at(&open.file, &open.path, at, &open.directory, show).map(Some);
        }
        let behind = state.sealed.partition_point(|sealed| sealed.after.position < position);
        let Some(sealed) = state.sealed.get(behind) else { return Ok(None) };
        let (number, path) = (sealed.header.number, sealed.path.clone());
        drop(state);
        self.entry_in(number, &path, find, show)
    }

    fn entry_in<T>(
        &self,
        number: u32,
        path: &Path,
        find: impl Fn(&Directory) -> Option<u32>,
        show: impl FnOnce(&Directory, &Entry<'_>) -> T,
    ) -> Result<Option<T>, LogError> {
        let Some(opened) = self.opened(number)? else { return Ok(None) };
        let Some(at) = find(&opened.directory) else { return Ok(None) };
        read_at(&opened.file, path, at, &opened.directory, show).map(Some)
    }

    /// Makes the segment that grows a sealed one, and begins another.
    fn begin_segment(&self, pen: &mut Pen) -> Result<(), LogError> {
        let (tip, last) = {
            let state = self.state.read();
            let open = state.open.as_ref();
            let last = open.map(|open| open.header.number).or(state.sealed.last().map(|last| last.header.number));
            (state.tip, last.unwrap_or(0))
        };
        self.seal_open()?;
        let header = SegmentHeader { number: last + 1, journal: pen.journal, before: tip };
        let path = path_of(&self.dir, header.number);
        let made = OpenOptions::new().read(true).write(true).create_new(true).open(&path).and_then(|file| {
            file.write_all_at(&header.to_bytes(), 0)?;
            file.sync_all()?;
            segment::sync_dir(&path)?;
            Ok(file)
        });
        let file = Arc::new(made.map_err(io_at(&path))?);
        let directory = Directory::begin(tip.position + 1);
        pen.dictionary = Dictionary::default();
        self.state.write().open =
            Some(Open { header, file, path, length: segment::HEADER_BYTES as u64, directory });
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
            state.sealed.push(Sealed { header, after, path, generation: 0 });
        }
        Ok(())
    }
}

impl Log for Segments {
    fn tip(&self) -> Tip {
        self.state.read().tip
    }

    fn begin(&self) -> Result<BatchBuilding, LogError> {
        let mut pen = self.pen.as_ref().expect("who only reads begins no batch").lock();
        let is_full = self.state.read().open.as_ref().is_none_or(|open| open.length >= SEGMENT_BYTES);
        if is_full {
            self.begin_segment(&mut pen)?;
        }
        let state = self.state.read();
        let segment = state.open.as_ref().map_or(0, |open| open.header.number);
        let builder = BatchBuilder::begin(std::mem::take(&mut pen.room), state.tip);
        Ok(BatchBuilding { segment, builder, dictionary: std::mem::take(&mut pen.dictionary), notes: Vec::new() })
    }

    fn append(&self, batch: BatchBuilding, sum: [u8; 16]) -> Result<Tip, LogError> {
        let mut pen = self.pen.as_ref().expect("who only reads appends nothing").lock();
        let BatchBuilding { builder, dictionary, notes, segment: _ } = batch;
        let (file, path, length, header) = {
            let state = self.state.read();
            let open = state.open.as_ref().expect("a batch was begun in it");
            (Arc::clone(&open.file), open.path.clone(), open.length, open.header)
        };
        if pen.has_failed {
            return Err(LogError::Io { path, error: io::Error::other("an earlier write failed") });
        }
        let (bytes, head) = builder.finish(header.number, header.tag(), sum);
        pen.has_failed = true;
        file.write_all_at(&bytes, length).map_err(io_at(&path))?;
        fail::point("before-commit");
        if pen.durability == Durability::Commit {
            file.sync_data().map_err(io_at(&path))?;
        }
        fail::point("committed");
        let tip = head.tip();
        if let Some(mark) = &mut pen.mark {
            mark.write(&tip).map_err(io_at(&self.dir))?;
        }
        pen.has_failed = false;
        {
            let mut state = self.state.write();
            let open = state.open.as_mut().expect("nobody else begins or seals one");
            for (note, within) in notes {
                let at = u32::try_from(length + within as u64).expect("a segment is far below 4 GiB");
                match note {
                    Note::Event => open.directory.events.push(at),
                    Note::Name(text) => _ = open.directory.names.add(&text),
                    Note::Blob(name) => _ = open.directory.blobs.insert(name, at),
                    Note::State(actor, sequence) => _ = open.directory.states.insert((actor, sequence), at),
                }
            }
            open.length += bytes.len() as u64;
            state.tip = tip;
        }
        (pen.dictionary, pen.room) = (dictionary, bytes);
        Ok(tip)
    }

    fn read(
        &self,
        after: u64,
        show: &mut dyn FnMut(&CommittedBatch<'_>) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let paths = {
            let state = self.state.read();
            state.behind(after).collect::<Vec<_>>()
        };
        for (path, last) in paths {
            let damaged = |Malformed(why)| LogError::Damaged { path: path.clone(), why: why.to_owned() };
            let bytes = SegmentBytes::read_through(&path, last).map_err(io_at(&path))?.map_err(damaged)?;
            let mut names = TypeNames::default();
            let walked = bytes.walk(|_, batch, _| {
                let committed = understand(batch, &mut names).map_err(damaged)?;
                if committed.tip.batch <= after { Ok(()) } else { show(&committed) }
            })?;
            if let Some(fault) = walked.fault {
                let at = walked.end;
                return Err(LogError::Damaged { path, why: format!("behind byte {at}: {}", fault.0) });
            }
        }
        Ok(())
    }

    fn sum_behind(&self, batch: u64) -> Result<Option<[u8; 16]>, LogError> {
        let path = {
            let state = self.state.read();
            if let Some(sealed) = state.sealed.iter().find(|sealed| sealed.after.batch == batch) {
                return Ok(Some(sealed.after.sum));
            }
            let sealed = state.sealed.iter().find(|sealed| sealed.after.batch > batch).map(|sealed| &sealed.path);
            match sealed.or(state.open.as_ref().map(|open| &open.path)) {
                Some(path) => path.clone(),
                None => return Ok(None),
            }
        };
        let damaged = |Malformed(why)| LogError::Damaged { path: path.clone(), why: why.to_owned() };
        let bytes = SegmentBytes::read(&path).map_err(io_at(&path))?.map_err(damaged)?;
        let mut sum = (bytes.header.before.batch == batch).then_some(bytes.header.before.sum);
        bytes.walk(|_, found, _| {
            let tip = found.header.tip();
            sum = sum.or((tip.batch == batch).then_some(tip.sum));
            Ok::<_, LogError>(())
        })?;
        Ok(sum)
    }

    fn event(&self, position: u64) -> Result<Option<StoredEvent>, LogError> {
        let event = self.entry_near(
            position,
            |directory| directory.event(position),
            |_, entry| match entry {
                Entry::Event(event) => Some(stored(event, position)),
                _ => None,
            },
        )?;
        Ok(event.flatten())
    }

    fn part(&self, position: u64, name: &[u8; 20]) -> Result<Option<Vec<u8>>, LogError> {
        let part = self.entry_near(position, |directory| directory.blobs.get(name).copied(), |_, entry| kept(entry))?;
        Ok(part.flatten())
    }

    fn blob(&self, name: &[u8; 20]) -> Result<Option<Vec<u8>>, LogError> {
        if let Some(found) = self.part(u64::MAX, name)? {
            return Ok(Some(found));
        }
        for span in self.sealed().into_iter().rev() {
            let path = path_of(&self.dir, span.number);
            let find = |directory: &Directory| directory.blobs.get(name).copied();
            if let Some(found) = self.entry_in(span.number, &path, find, |_, entry| kept(entry))?.flatten() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn state(&self, segment: u32, actor: u64, sequence: u64) -> Result<Option<Option<Vec<u8>>>, LogError> {
        let find = |directory: &Directory| directory.states.get(&(actor, sequence)).copied();
        let show = |_: &Directory, entry: &Entry<'_>| match entry {
            Entry::State { name: None, .. } => Some(None),
            Entry::State { state: Payload::Kept(bytes), .. } => Some(Some(bytes.to_vec())),
            _ => None,
        };
        let is_open = self.state.read().open.as_ref().is_some_and(|open| open.header.number == segment);
        let found = if is_open {
            self.entry_near(u64::MAX, find, show)?
        } else {
            self.entry_in(segment, &path_of(&self.dir, segment), find, show)?
        };
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

    fn vouch(&self) -> Result<(), LogError> {
        let mut pen = self.pen.as_ref().expect("who only reads vouches for nothing").lock();
        if pen.mark.is_none() {
            let dir = self.dir.parent().expect("the log is in the data directory");
            let tip = self.state.read().tip;
            pen.mark = Some(MarkFile::begin(dir, &pen.journal, &tip, pen.durability).map_err(io_at(dir))?);
        }
        Ok(())
    }

    fn seal(&self) -> Result<(), LogError> {
        let mut pen = self.pen.as_ref().expect("who only reads seals nothing").lock();
        let has_any = |open: &Open| open.length > segment::HEADER_BYTES as u64;
        let is_due = self.state.read().open.as_ref().is_some_and(has_any);
        if is_due { self.begin_segment(&mut pen) } else { Ok(()) }
    }

    fn rewrite(
        &self,
        number: u32,
        edit: &mut dyn FnMut(&Entry<'_>) -> Option<Remains>,
    ) -> Result<(), LogError> {
        let path = path_of(&self.dir, number);
        let damaged = |Malformed(why)| LogError::Damaged { path: path.clone(), why: why.to_owned() };
        let generation = self.opened(number)?.map_or(0, |opened| opened.generation) + 1;
        let last = {
            let state = self.state.read();
            state.sealed.iter().find(|sealed| sealed.header.number == number).map_or(0, |sealed| sealed.after.batch)
        };
        let bytes = SegmentBytes::read_through(&path, last).map_err(io_at(&path))?.map_err(damaged)?;
        let (mut names, mut batches) = (TypeNames::default(), Vec::new());
        let walked = bytes.walk(|_, batch, _| {
            batches.push(segment::edited(batch, &mut names, edit)?);
            Ok(())
        });
        let walked = walked.map_err(damaged)?;
        if let Some(fault) = walked.fault {
            return Err(damaged(fault));
        }
        segment::write_anew(&path, bytes.header, &batches, generation).map_err(io_at(&path))?;
        let mut state = self.state.write();
        if let Some(sealed) = state.sealed.iter_mut().find(|sealed| sealed.header.number == number) {
            sealed.generation = generation;
        }
        drop(state);
        // Who still reads the old file holds it until then.
        self.opened.lock().retain(|opened| opened.number != number);
        Ok(())
    }
}

impl Found {
    fn look(dir: &Path) -> Result<Self, LogError> {
        let numbers = numbers_in(dir)?;
        let (mut sealed, mut tip): (Vec<Sealed>, _) = (Vec::new(), Tip::EMPTY);
        let found = |sealed, last, tip, stillborn| Ok(Self { sealed, last, tip, stillborn });
        for (index, number) in numbers.iter().copied().enumerate() {
            let (path, is_last) = (path_of(dir, number), index + 1 == numbers.len());
            let damaged = |why: String| LogError::Damaged { path: path.clone(), why };
            if number as usize != 1 + index {
                return Err(damaged(format!("the segment {} before it is missing", number - 1)));
            }
            let file = File::open(&path).map_err(io_at(&path))?;
            let header = match header_of(&file).map_err(io_at(&path))? {
                Ok(header) => header,
                // It was begun, and the header is not whole: nothing is in it.
                Err(_) if is_last && index > 0 => return found(sealed, None, tip, Some(path)),
                Err(_) if is_last && file.metadata().map_err(io_at(&path))?.len() <= segment::HEADER_BYTES as u64 => {
                    return found(sealed, None, tip, Some(path));
                }
                Err(Malformed(why)) => return Err(damaged(why.to_owned())),
            };
            if header.number != number {
                return Err(damaged(format!("it is the segment {}, under another's name", header.number)));
            }
            if let Some(first) = sealed.first()
                && first.header.journal != header.journal
            {
                return Err(damaged("it is a segment of another journal".to_owned()));
            }
            if header.before != tip {
                return Err(damaged("it does not go on where the segment before it ends".to_owned()));
            }
            let trailer = Trailer::of(&file).map_err(io_at(&path))?;
            if let Some(trailer) = trailer {
                tip = trailer.after;
                sealed.push(Sealed { header, after: tip, path, generation: trailer.generation });
                continue;
            }
            let bytes = SegmentBytes::read(&path).map_err(io_at(&path))?;
            let bytes = bytes.map_err(|Malformed(why)| damaged(why.to_owned()))?;
            let (directory, walked) = bytes.directory().map_err(|Malformed(why)| damaged(why.to_owned()))?;
            tip = walked.tip;
            if !is_last {
                // Its footer is damaged. The batches tell, or the next segment does not go on from there.
                log::warn!("the footer of {} is damaged; what it says is read from the records", path.display());
                sealed.push(Sealed { header, after: tip, path, generation: 0 });
                continue;
            }
            let open = Open { header, file: Arc::new(file), path, length: walked.end as u64, directory };
            return found(sealed, Some((open, walked.fault)), tip, None);
        }
        found(sealed, None, tip, None)
    }

    fn check(&self, marked: &Marked) -> Result<Option<u64>, LogError> {
        let headers = self.sealed.iter().map(|sealed| (sealed.header, sealed.path.as_path()));
        let open = self.last.iter().map(|(open, _)| (open.header, open.path.as_path()));
        check_against(marked, self.tip, headers.chain(open).collect())
    }
}

/// Whether the log that has come to `tip` has what its mark vouches for. How many events a power loss under `relaxed` has
/// taken, where that may be.
fn check_against(marked: &Marked, tip: Tip, headers: Vec<(SegmentHeader, &Path)>) -> Result<Option<u64>, LogError> {
    if let Some((first, _)) = headers.first()
        && first.journal != marked.journal
    {
        return Err(LogError::Altered { position: marked.position });
    }
    if tip.batch < marked.batch {
        let (found, promised) = (tip.position, marked.position);
        if marked.durability == Durability::Relaxed && marked.boot != boot_id() {
            return Ok(Some(promised - found));
        }
        return Err(LogError::Behind { found, promised });
    }
    let altered = Err(LogError::Altered { position: marked.position });
    let found = if tip.batch == marked.batch {
        Some(tip)
    } else {
        // The mark is older than the log: its batch is looked up.
        let holds = headers.iter().rev().find(|(header, _)| header.before.batch <= marked.batch);
        match holds {
            Some((header, _)) if header.before.batch == marked.batch => Some(header.before),
            Some((_, path)) => {
                let bytes = SegmentBytes::read(path).map_err(io_at(path))?;
                let Ok(bytes) = bytes else { return altered };
                let mut found = None;
                let Ok(_) = bytes.walk(|_, batch, _| {
                    found = Some(batch.header.tip()).filter(|tip| tip.batch == marked.batch).or(found);
                    Ok::<_, std::convert::Infallible>(())
                });
                found
            }
            None => None,
        }
    };
    match found {
        Some(found) if (found.position, found.digest) == (marked.position, marked.digest) => Ok(None),
        Some(_) | None => altered,
    }
}

fn header_of(file: &File) -> io::Result<Result<SegmentHeader, Malformed>> {
    let mut bytes = [0; segment::HEADER_BYTES];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(SegmentHeader::read(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Err(Malformed("it ends within its header"))),
        Err(error) => Err(error),
    }
}

fn open_sealed(path: &Path, number: u32, generation: u32) -> Result<Opened, LogError> {
    let damaged = |Malformed(why)| LogError::Damaged { path: path.to_owned(), why: why.to_owned() };
    let file = File::open(path).map_err(io_at(path))?;
    let trailer = Trailer::of(&file).map_err(io_at(path))?;
    let directory = match trailer {
        Some(trailer) => segment::directory(&file, &trailer).map_err(io_at(path))?,
        None => Err(Malformed("it has no footer")),
    };
    let directory = match directory {
        Ok(directory) => directory,
        Err(_) => SegmentBytes::read(path).map_err(io_at(path))?.and_then(|bytes| bytes.directory()).map_err(damaged)?.0,
    };
    Ok(Opened { number, generation, file, directory })
}

fn read_at<T>(
    file: &File,
    path: &Path,
    at: u32,
    directory: &Directory,
    show: impl FnOnce(&Directory, &Entry<'_>) -> T,
) -> Result<T, LogError> {
    let read = read_entry(file, at, |raw| Ok(show(directory, &raw.understand(&directory.names)?)));
    let read = read.map_err(io_at(path))?;
    read.map_err(|Malformed(why)| LogError::Damaged { path: path.to_owned(), why: format!("at byte {at}: {why}") })
}

fn kept(entry: &Entry<'_>) -> Option<Vec<u8>> {
    match entry {
        Entry::Blob { bytes: Payload::Kept(bytes), .. } => Some(bytes.to_vec()),
        _ => None,
    }
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
        data: match event.data {
            Payload::Kept(bytes) => StoredData::Kept(bytes.to_vec()),
            Payload::Dropped { length, digest } => StoredData::Dropped { length, digest: digest.to_vec() },
        },
    }
}

/// The records of a batch; the names of types that it brings are added to `names`.
fn understand<'a>(batch: &RawBatch<'a>, names: &'a mut TypeNames) -> Result<CommittedBatch<'a>, Malformed> {
    for entry in batch.entries() {
        if let Some(text) = entry?.1.name_of_type()? {
            names.add(text);
        }
    }
    let names: &'a dyn Names = names;
    let entries = batch.entries().map(|entry| entry?.1.understand(names)).collect::<Result<_, _>>()?;
    let BatchHeader { segment, first, .. } = batch.header;
    Ok(CommittedBatch { segment, first, entries, tip: batch.header.tip() })
}

fn path_of(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number:08}.log"))
}

/// The numbers of the segments in `dir`, in order.
fn numbers_in(dir: &Path) -> Result<Vec<u32>, LogError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(io_at(dir)(error)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(io_at(dir))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log")).filter(|digits| digits.len() >= 8);
        numbers.extend(number.and_then(|digits| digits.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Removes what a rewrite has left that did not come to its end.
fn remove_unfinished(dir: &Path) -> Result<(), LogError> {
    for entry in fs::read_dir(dir).map_err(io_at(dir))? {
        let path = entry.map_err(io_at(dir))?.path();
        if path.extension().is_some_and(|extension| extension == "new") {
            fs::remove_file(&path).map_err(io_at(&path))?;
        }
    }
    Ok(())
}

fn make_dir(dir: &Path) -> Result<(), LogError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.and_then(|()| segment::sync_dir(dir)).map_err(io_at(dir))
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> LogError {
    move |error| LogError::Io { path: path.to_owned(), error }
}

const _: () = assert!(batch::HEADER_BYTES == 88);
