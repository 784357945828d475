//! A verified chain file that is read again from disk, piece by piece, so that a chain of any length is verified and
//! replayed in little memory. Data that is read again is compared with what was verified.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;

use super::read::{Attachment, ChainFileReader, read_event, text_of};
use super::verify::Verification;
use super::{ChainFileContents, ChainFileError, FileRow, KeptState};
use crate::chain::event::ChainEvent;
use crate::chain::hash::{ComponentDigest, sha1};

/// The index holds the offset of one event in this many.
const INDEXED: u64 = 256;

/// A source that can be read from any offset.
trait Source: Read + Seek + Send {}

impl<S: Read + Seek + Send> Source for S {}

/// Keeps what is read through it from a source that cannot be read twice.
struct Keeper {
    source: File,
    kept: Vec<u8>,
}

impl Read for Keeper {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.kept.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

/// The offsets of attachments and events in a file.
#[derive(Default)]
struct Index {
    /// The offset of each attachment's line.
    components: BTreeMap<ComponentDigest, u64>,
    blobs: BTreeMap<[u8; 20], u64>,
    states: BTreeMap<u64, u64>,
    /// The offset of the first of the rows after each event, and how many these are.
    rows: BTreeMap<u64, (u64, u64)>,
    /// The offset of the line of each event whose sequence is a multiple of [`INDEXED`].
    events: Vec<u64>,
}

/// An open, verified chain file.
pub(crate) struct ChainFile {
    contents: ChainFileContents,
    source: BufReader<Box<dyn Source>>,
    index: Index,
    /// The event whose line the source will read next, if known.
    next: Option<u64>,
}

impl ChainFile {
    /// Verifies a file that will not be read again.
    pub(crate) fn check(path: &Path) -> Result<ChainFileContents, ChainFileError> {
        Ok(read_through(BufReader::new(File::open(path)?))?.0)
    }

    /// Opens and verifies a file. A file that cannot be read twice, such as a pipe, is kept in memory; it
    /// is read no further than to its first fault.
    pub(crate) fn verify(path: &Path) -> Result<Self, ChainFileError> {
        let mut file = File::open(path)?;
        if !file.metadata()?.is_file() {
            let mut keeper = Keeper { source: file, kept: Vec::new() };
            let (contents, index) = read_through(BufReader::new(&mut keeper))?;
            let source: Box<dyn Source> = Box::new(Cursor::new(keeper.kept));
            return Ok(Self { contents, source: BufReader::new(source), index, next: None });
        }
        let (contents, index) = read_through(BufReader::new(&mut file))?;
        let source: Box<dyn Source> = Box::new(file);
        Ok(Self { contents, source: BufReader::new(source), index, next: None })
    }

    pub(crate) fn contents(&self) -> &ChainFileContents {
        &self.contents
    }

    /// The events from `from` on: at most `limit` events, and at most `max_bytes` of data after the first.
    pub(crate) fn events(&mut self, from: u64, limit: u64, max_bytes: usize) -> io::Result<Vec<ChainEvent>> {
        let count = self.contents.header.events;
        let mut page = Vec::new();
        if from >= count {
            return Ok(page);
        }
        self.go_to(from)?;
        let (mut at, mut bytes) = (from, 0usize);
        while at < count && (page.len() as u64) < limit && (bytes <= max_bytes || page.is_empty()) {
            let event = self.event()?;
            if event.sequence != at {
                return Err(altered());
            }
            bytes = bytes.saturating_add(event.data.len());
            page.push(event);
            at += 1;
        }
        self.next = Some(at);
        Ok(page)
    }

    fn go_to(&mut self, sequence: u64) -> io::Result<()> {
        if self.next.replace(sequence) == Some(sequence) {
            return Ok(());
        }
        let place =
            usize::try_from(sequence / INDEXED).ok().and_then(|at| self.index.events.get(at)).ok_or_else(altered)?;
        self.source.seek(SeekFrom::Start(*place))?;
        let mut line = Vec::new();
        for _ in 0..sequence % INDEXED {
            line.clear();
            self.source.read_until(b'\n', &mut line)?;
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.source.read_until(b'\n', &mut line)?;
        match line.pop() {
            Some(b'\n') => Ok(line),
            _ => Err(altered()),
        }
    }

    fn event(&mut self) -> io::Result<ChainEvent> {
        let line = self.line()?;
        read_event(&line, self.contents.header.version).map_err(|_| altered())
    }

    fn attachment(&mut self, at: Option<u64>) -> io::Result<Option<Attachment>> {
        let Some(at) = at else { return Ok(None) };
        self.next = None;
        self.source.seek(SeekFrom::Start(at))?;
        let line = self.line()?;
        let text = text_of(&line).map_err(|_| altered())?;
        Attachment::parse(text).map(Some).map_err(|_| altered())
    }

    pub(crate) fn component(&mut self, digest: ComponentDigest) -> io::Result<Option<Vec<u8>>> {
        match self.attachment(self.index.components.get(&digest).copied())? {
            None => Ok(None),
            Some(Attachment::Component(_, bytes)) if ComponentDigest::of(&bytes) == digest => Ok(Some(bytes)),
            Some(_) => Err(altered()),
        }
    }

    pub(crate) fn blob(&mut self, name: &[u8; 20]) -> io::Result<Option<Vec<u8>>> {
        match self.attachment(self.index.blobs.get(name).copied())? {
            None => Ok(None),
            Some(Attachment::Blob(_, bytes)) if sha1(&bytes) == *name => Ok(Some(bytes)),
            Some(_) => Err(altered()),
        }
    }

    /// The state that is attached after event `sequence`, if there is one. The caller must compare it with the chain.
    pub(crate) fn state(&mut self, sequence: u64) -> io::Result<Option<Option<Vec<u8>>>> {
        match self.attachment(self.index.states.get(&sequence).copied())? {
            None => Ok(None),
            Some(Attachment::State(at, state)) if at == sequence => Ok(Some(state)),
            Some(_) => Err(altered()),
        }
    }

    /// The first state that is attached after an event behind `sequence`, with that event. As with [`ChainFile::state`].
    pub(crate) fn state_behind(&mut self, sequence: u64) -> io::Result<Option<KeptState>> {
        let Some(from) = sequence.checked_add(1) else { return Ok(None) };
        let Some(at) = self.index.states.range(from..).next().map(|(at, _)| *at) else { return Ok(None) };
        Ok(self.state(at)?.map(|state| (at, state)))
    }
}

impl ChainFile {
    /// The rows that are attached after event `sequence`, in the order of their keys.
    pub(crate) fn rows(&mut self, sequence: u64) -> io::Result<Vec<FileRow>> {
        let Some((at, count)) = self.index.rows.get(&sequence).copied() else { return Ok(Vec::new()) };
        self.next = None;
        self.source.seek(SeekFrom::Start(at))?;
        let mut rows = Vec::new();
        for _ in 0..count {
            let line = self.line()?;
            let text = text_of(&line).map_err(|_| altered())?;
            match Attachment::parse(text).map_err(|_| altered())? {
                Attachment::Row(after, row) if after == sequence => rows.push(row),
                _ => return Err(altered()),
            }
        }
        Ok(rows)
    }
}

/// Reads a file once and verifies it; also builds the index.
fn read_through(source: impl BufRead) -> Result<(ChainFileContents, Index), ChainFileError> {
    let mut index = Index::default();
    let mut file = ChainFileReader::begin(source)?;
    let mut verification = Verification::new(file.header.clone());
    while let Some((attachment, at)) = file.attachment()? {
        verification.attachment(&attachment);
        match attachment {
            Attachment::Component(digest, _) => _ = index.components.insert(digest, at),
            Attachment::Blob(name, _) => _ = index.blobs.insert(name, at),
            Attachment::State(sequence, _) => _ = index.states.insert(sequence, at),
            Attachment::Row(sequence, _) => index.rows.entry(sequence).or_insert((at, 0)).1 += 1,
        }
    }
    while let Some(stretch) = file.events()? {
        verification.events(&stretch.events)?;
        let begins = std::iter::once(0).chain(stretch.ends.iter().copied());
        for (line, (event, begin)) in stretch.events.iter().zip(begins).enumerate() {
            if event.sequence.is_multiple_of(INDEXED) {
                // Each earlier line of this group is followed by one line feed.
                index.events.push(stretch.begin + begin as u64 + line as u64);
            }
        }
    }
    Ok((verification.finish()?, index))
}

fn altered() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file was altered while it was read")
}
