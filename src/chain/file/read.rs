//! Reads a chain file line by line, with the checks that need only one line.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};

use rayon::prelude::*;

use super::lines::{
    BlobLine, ComponentLine, DroppedLine, EventLine, HeaderLine, RowLine, SaltedDroppedLine, SaltedLine, StateLine,
    Text, decode, parse_line,
};
use super::{ChainFileError, Component, FORMAT, FileRow, Header, States, UnverifiedChain, VERSION};
use crate::base::limits::{CHAIN_FILE_HEADER_BYTES, CHAIN_FILE_LINE_BYTES};
use crate::base::pool;
use crate::chain::event::{ChainEvent, DataDigest, DroppedData};
use crate::chain::hash::{ComponentDigest, EventHash, lower_hex};
use crate::chain::salt::Salt;

impl UnverifiedChain {
    /// Reads a chain file. Checks the spelling of each line and whether the file is truncated; nothing else.
    pub fn read(source: impl BufRead) -> Result<Self, ChainFileError> {
        let mut file = ChainFileReader::begin(source)?;
        let (components, blobs, states) = (BTreeMap::new(), BTreeMap::new(), States::new());
        let (rows, events) = (Vec::new(), Vec::new());
        let mut chain = Self { header: file.header.clone(), components, blobs, states, rows, events };
        while let Some((attachment, _)) = file.attachment()? {
            match attachment {
                Attachment::Component(digest, bytes) => _ = chain.components.insert(digest, bytes),
                Attachment::Blob(sha1, bytes) => _ = chain.blobs.insert(sha1, bytes),
                Attachment::State(sequence, state) => _ = chain.states.insert(sequence, state),
                Attachment::Row(sequence, row) => chain.rows.push((sequence, row)),
            }
        }
        while let Some(stretch) = file.events()? {
            chain.events.extend(stretch.events);
        }
        Ok(chain)
    }
}

/// One line of the attachments.
pub(super) enum Attachment {
    Component(ComponentDigest, Component),
    Blob([u8; 20], Vec<u8>),
    State(u64, Option<Vec<u8>>),
    Row(u64, FileRow),
}

impl Attachment {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with(COMPONENT) {
            let line: ComponentLine<'_> = parse_line(text)?;
            let digest = ComponentDigest::parse(&line.component).ok_or("\"component\" is not a SHA-256 in hex")?;
            return Ok(Self::Component(digest, decode(&line.data)?));
        }
        if text.starts_with(BLOB) {
            let line: BlobLine<'_> = parse_line(text)?;
            let digest = EventHash::parse(&line.blob).ok_or("\"blob\" is not a SHA-1 in hex")?.0;
            return Ok(Self::Blob(digest, decode(&line.data)?));
        }
        if text.starts_with(ROW) {
            let line: RowLine<'_> = parse_line(text)?;
            let hash = EventHash::parse(&line.hash).ok_or("\"hash\" is not a SHA-1 in hex")?;
            return Ok(Self::Row(line.row, FileRow { key: decode(&line.key)?, hash, value: decode(&line.data)? }));
        }
        let line: StateLine<'_> = parse_line(text)?;
        Ok(Self::State(line.state, line.data.as_deref().map(decode).transpose()?))
    }

    /// The sort key of the line: components first, then blobs, states and rows, each in the order of their names.
    fn rank(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Component(digest, _) => (0, digest.0.to_vec()),
            Self::Blob(sha1, _) => (1, sha1.to_vec()),
            Self::State(sequence, _) => (2, sequence.to_be_bytes().to_vec()),
            Self::Row(sequence, row) => (3, [&sequence.to_be_bytes()[..], &row.key].concat()),
        }
    }
}

const COMPONENT: &str = "{\"component\":";
const BLOB: &str = "{\"blob\":";
const STATE: &str = "{\"state\":";
const ROW: &str = "{\"row\":";

/// Consecutive events of a file.
pub(super) struct Events {
    pub(super) events: Vec<ChainEvent>,
    /// The offset in the file where the first line begins.
    pub(super) begin: u64,
    /// The end of each line, counted from `begin` without the line feeds.
    pub(super) ends: Vec<usize>,
}

/// Reads a chain file piece by piece: the header, each attachment, then groups of events.
pub(super) struct ChainFileReader<R> {
    pub(super) header: Header,
    lines: Lines<R>,
    last_attachment: Option<(u8, Vec<u8>)>,
    /// The first line that is not an attachment, and its offset in the file.
    first: Option<(String, u64)>,
    done: usize,
}

impl<R: BufRead> ChainFileReader<R> {
    pub(super) fn begin(source: R) -> Result<Self, ChainFileError> {
        let mut lines = Lines { source, line: 0, offset: 0 };
        let header = read_header(&lines.next("header")?.ok_or(ChainFileError::Empty)?)?;
        Ok(Self { header, lines, last_attachment: None, first: None, done: 0 })
    }

    /// The next attachment, and the offset of its line; `None` when the events begin.
    pub(super) fn attachment(&mut self) -> Result<Option<(Attachment, u64)>, ChainFileError> {
        let begin = self.lines.offset;
        let Some(text) = self.lines.next("event 0")? else { return Ok(None) };
        let is_one = text.starts_with(COMPONENT)
            || text.starts_with(BLOB)
            || (self.header.version > 1 && text.starts_with(STATE))
            || (self.header.version > 2 && text.starts_with(ROW));
        if !is_one {
            self.first = Some((text, begin));
            return Ok(None);
        }
        let line = self.lines.line;
        let at = |why: String| ChainFileError::Line { line, what: "attachment".into(), why };
        let attachment = Attachment::parse(&text).map_err(at)?;
        let rank = attachment.rank();
        if self.last_attachment.as_ref().is_some_and(|last| *last >= rank) {
            return Err(at("attachments are not in the order of their names: components, blobs, states, rows".into()));
        }
        self.last_attachment = Some(rank);
        Ok(Some((attachment, begin)))
    }

    /// The next events, decoded on all cores; `None` at the end of the file. The error is that of the first wrong line,
    /// as if the lines were decoded one by one.
    pub(super) fn events(&mut self) -> Result<Option<Events>, ChainFileError> {
        pool::make_ready().map_err(std::io::Error::other)?;
        let mut stretch = Stretch::default();
        let begin = match self.first.take() {
            Some((text, begin)) => {
                stretch = Stretch::of(&text);
                begin
            }
            None => self.lines.offset,
        };
        let first_line = self.lines.line + 1 - stretch.ends.len() as u64;
        let filled = self.lines.fill(&mut stretch, self.done);
        let version = self.header.version;
        let read: Vec<_> = stretch.lines().into_par_iter().map(|text| read_event(text, version)).collect();
        let mut events = Vec::with_capacity(read.len());
        for (at, event) in read.into_iter().enumerate() {
            let (line, what) = (first_line + at as u64, event_name(self.done + at));
            events.push(event.map_err(|why| ChainFileError::Line { line, what, why })?);
        }
        filled?;
        if events.is_empty() {
            return Ok(None);
        }
        self.done += events.len();
        Ok(Some(Events { events, begin, ends: stretch.ends }))
    }
}

/// Consecutive lines, without their line feeds.
#[derive(Default)]
struct Stretch {
    bytes: Vec<u8>,
    /// The index in `bytes` after each line.
    ends: Vec<usize>,
}

impl Stretch {
    fn of(first: &str) -> Self {
        Self { bytes: first.as_bytes().to_vec(), ends: vec![first.len()] }
    }

    fn lines(&self) -> Vec<&[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.bytes[begin..*end]).collect()
    }
}

fn event_name(sequence: impl std::fmt::Display) -> String {
    format!("event {sequence}")
}

/// Reads lines, and distinguishes a complete line from a truncated one.
struct Lines<R> {
    source: R,
    line: u64,
    /// The offset where the next line begins.
    offset: u64,
}

impl<R: BufRead> Lines<R> {
    /// Adds lines until there is enough work for all cores, or no line is left. `done` events came before them.
    fn fill(&mut self, stretch: &mut Stretch, done: usize) -> Result<(), ChainFileError> {
        const STRETCH_BYTES: usize = 4 * 1024 * 1024;
        while stretch.bytes.len() < STRETCH_BYTES
            && self.append(&mut stretch.bytes, || event_name(done + stretch.ends.len()))?
        {
            stretch.ends.push(stretch.bytes.len());
        }
        Ok(())
    }

    fn next(&mut self, what: &str) -> Result<Option<String>, ChainFileError> {
        let mut bytes = Vec::new();
        if !self.append(&mut bytes, || what.to_owned())? {
            return Ok(None);
        }
        let text = text_of(&bytes).map(|text| Some(text.to_owned()));
        text.map_err(|why| ChainFileError::Line { line: self.line, what: what.to_owned(), why })
    }

    /// Appends a line without its line feed to `bytes`; returns false at the end of the file.
    fn append(&mut self, bytes: &mut Vec<u8>, what: impl Fn() -> String) -> Result<bool, ChainFileError> {
        let most = if self.line == 0 { CHAIN_FILE_HEADER_BYTES } else { CHAIN_FILE_LINE_BYTES };
        // One byte more than a line may have, so that a line that is too long shows.
        let read = self.source.by_ref().take(most + 1).read_until(b'\n', bytes)?;
        if read == 0 {
            return Ok(false);
        }
        self.line += 1;
        if read as u64 > most {
            let why = format!("it is longer than {most} bytes");
            return Err(match self.line {
                1 => ChainFileError::Header { why },
                line => ChainFileError::Line { line, what: what(), why },
            });
        }
        self.offset += read as u64;
        match bytes.pop() {
            Some(b'\n') => Ok(true),
            _ => Err(ChainFileError::Truncated { line: self.line, what: what() }),
        }
    }
}

pub(super) fn text_of(line: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())
}

fn read_header(text: &str) -> Result<Header, ChainFileError> {
    let refused = |why: String| ChainFileError::Header { why };
    let line: HeaderLine<'_> = parse_line(text).map_err(refused)?;
    if *line.format != *FORMAT {
        return Err(refused(format!("the format is \"{}\", not \"{FORMAT}\"", &*line.format)));
    }
    if !(1..=VERSION).contains(&line.version) {
        return Err(ChainFileError::Version { found: line.version });
    }
    Ok(Header {
        actor: line.actor.parse().map_err(|error: crate::base::id::NotAnActorId| refused(error.to_string()))?,
        component: ComponentDigest::parse(&line.component)
            .ok_or_else(|| refused("\"component\" is not a SHA-256 in hex".into()))?,
        attachments: line.attachments,
        events: line.events,
        head: EventHash::parse(&line.head).ok_or_else(|| refused("\"head\" is not a SHA-1 in hex".into()))?,
        version: line.version,
    })
}

/// Reads the line of an event. Each form of line has a key that the others do not have; no text in a line can contain
/// such a key, because a quote within a text would be escaped.
pub(super) fn read_event(line: &[u8], version: u32) -> Result<ChainEvent, String> {
    let text = text_of(line)?;
    if version > 2 && text.contains(",\"salt\":") {
        let line: SaltedLine<'_> = parse_line(text)?;
        let salt = Salt::parse(&line.salt).ok_or("\"salt\" is not 16 bytes in hex")?;
        let event = event((line.sequence, line.timestamp), &line.hash, line.parent_hash, &line.event_type)?;
        return Ok(ChainEvent { data: decode(&line.data)?, salt: Some(salt), ..event });
    }
    if version > 2 && text.contains(",\"data_sha256\":") {
        let line: SaltedDroppedLine<'_> = parse_line(text)?;
        let digest = lower_hex(&line.data_sha256).ok_or("\"data_sha256\" is not a SHA-256 in hex")?;
        let event = event((line.sequence, line.timestamp), &line.hash, line.parent_hash, &line.event_type)?;
        let dropped = DroppedData { length: line.data_length, digest: DataDigest::Salted(digest) };
        return Ok(ChainEvent { dropped: Some(dropped), ..event });
    }
    if version > 1 && text.contains(",\"data_length\":") {
        let line: DroppedLine<'_> = parse_line(text)?;
        let digest = lower_hex(&line.data_sha1).ok_or("\"data_sha1\" is not a SHA-1 in hex")?;
        let event = event((line.sequence, line.timestamp), &line.hash, line.parent_hash, &line.event_type)?;
        let dropped = DroppedData { length: line.data_length, digest: DataDigest::Plain(digest) };
        return Ok(ChainEvent { dropped: Some(dropped), ..event });
    }
    let line: EventLine<'_> = parse_line(text)?;
    let event = event((line.sequence, line.timestamp), &line.hash, line.parent_hash, &line.event_type)?;
    Ok(ChainEvent { data: decode(&line.data)?, ..event })
}

/// The event that a line of a chain file stands for, whatever the version of the file.
pub(crate) fn event_of_line(line: &str) -> Result<ChainEvent, String> {
    read_event(line.as_bytes(), VERSION)
}

/// An event of what every line of an event has, without data.
fn event(
    (sequence, timestamp): (u64, u64),
    hash: &str,
    parent_hash: Option<Text<'_>>,
    event_type: &str,
) -> Result<ChainEvent, String> {
    let digest = |name: &str, text: &str| EventHash::parse(text).ok_or(format!("\"{name}\" is not a SHA-1 in hex"));
    Ok(ChainEvent {
        sequence,
        hash: digest("hash", hash)?,
        parent_hash: parent_hash.map(|text| digest("parent_hash", &text)).transpose()?,
        event_type: event_type.to_owned().into(),
        data: Vec::new(),
        salt: None,
        dropped: None,
        timestamp,
    })
}
