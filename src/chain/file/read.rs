//! Reading a chain file: line by line, with what can be seen of each line by itself.

use std::collections::BTreeMap;
use std::io::BufRead;

use rayon::prelude::*;

use super::lines::{BlobLine, ComponentLine, DroppedLine, EventLine, HeaderLine, StateLine, decode, parse_line};
use super::{ChainFileError, FORMAT, Header, States, UnverifiedChain, VERSION};
use crate::base::pool;
use crate::chain::event::{ChainEvent, DroppedData};
use crate::chain::hash::{ComponentDigest, EventHash};

impl UnverifiedChain {
    /// Reads a chain file. What can be seen line by line is checked here: the spelling of each line, and truncation.
    pub fn read(source: impl BufRead) -> Result<Self, ChainFileError> {
        let mut lines = Lines { source, line: 0 };
        let header = read_header(&lines.next("header")?.ok_or(ChainFileError::Empty)?)?;
        let (components, blobs, states) = (BTreeMap::new(), BTreeMap::new(), States::new());
        let mut chain = Self { header, components, blobs, states, events: Vec::new() };
        while let Some(text) = lines.next("event 0")? {
            let at = |why: String| ChainFileError::Line { line: lines.line, what: "event 0".into(), why };
            if text.starts_with("{\"component\":") && chain.blobs.is_empty() {
                chain.add_component(&text).map_err(at)?;
            } else if text.starts_with("{\"blob\":") && chain.states.is_empty() {
                chain.add_blob(&text).map_err(at)?;
            } else if chain.header.version > 1 && text.starts_with("{\"state\":") {
                chain.add_state(&text).map_err(at)?;
            } else {
                chain.add_events(text, lines)?;
                break;
            }
        }
        Ok(chain)
    }

    /// The rest of the file, taken in stretches and understood on all cores. The first line that is wrong is the error,
    /// as if they were understood one by one.
    fn add_events(&mut self, first: String, mut lines: Lines<impl BufRead>) -> Result<(), ChainFileError> {
        pool::make_ready();
        let mut stretch = Stretch::of(&first);
        loop {
            let (begin, done) = (lines.line + 1 - stretch.ends.len() as u64, self.events.len());
            let end = lines.fill(&mut stretch, done);
            let version = self.header.version;
            let events: Vec<_> = stretch.lines().into_par_iter().map(|text| read_event(text, version)).collect();
            self.events.reserve(events.len());
            for (at, event) in events.into_iter().enumerate() {
                let at = at as u64;
                let wrong = |why| ChainFileError::Line { line: begin + at, what: event_name(done as u64 + at), why };
                self.events.push(event.map_err(wrong)?);
            }
            if !end? {
                return Ok(());
            }
            stretch.clear();
        }
    }

    fn add_component(&mut self, text: &str) -> Result<(), String> {
        let line: ComponentLine<'_> = parse_line(text)?;
        let digest = ComponentDigest::parse(&line.component).ok_or("\"component\" is not a SHA-256 in hex")?;
        in_order(self.components.last_key_value().map(|(last, _)| last), &digest)?;
        self.components.insert(digest, decode(&line.data)?);
        Ok(())
    }

    fn add_blob(&mut self, text: &str) -> Result<(), String> {
        let line: BlobLine<'_> = parse_line(text)?;
        let digest = EventHash::parse(&line.blob).ok_or("\"blob\" is not a SHA-1 in hex")?.0;
        in_order(self.blobs.last_key_value().map(|(last, _)| last), &digest)?;
        self.blobs.insert(digest, decode(&line.data)?);
        Ok(())
    }

    fn add_state(&mut self, text: &str) -> Result<(), String> {
        let line: StateLine<'_> = parse_line(text)?;
        in_order(self.states.last_key_value().map(|(last, _)| last), &line.state)?;
        self.states.insert(line.state, line.data.as_deref().map(decode).transpose()?);
        Ok(())
    }
}

/// Consecutive lines, without what ends them.
struct Stretch {
    bytes: Vec<u8>,
    /// Where each line ends.
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

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

fn event_name(sequence: impl std::fmt::Display) -> String {
    format!("event {sequence}")
}

/// Takes lines, and tells a complete one from a truncated one.
struct Lines<R> {
    source: R,
    line: u64,
}

impl<R: BufRead> Lines<R> {
    /// Adds lines until there is work for all cores; whether there may be more. `done` events were before.
    fn fill(&mut self, stretch: &mut Stretch, done: usize) -> Result<bool, ChainFileError> {
        const STRETCH_BYTES: usize = 8 * 1024 * 1024;
        while stretch.bytes.len() < STRETCH_BYTES {
            if !self.append(&mut stretch.bytes, || event_name(done + stretch.ends.len()))? {
                return Ok(false);
            }
            stretch.ends.push(stretch.bytes.len());
        }
        Ok(true)
    }

    fn next(&mut self, what: &str) -> Result<Option<String>, ChainFileError> {
        let mut bytes = Vec::new();
        if !self.append(&mut bytes, || what.to_owned())? {
            return Ok(None);
        }
        let text = text_of(&bytes).map(|text| Some(text.to_owned()));
        text.map_err(|why| ChainFileError::Line { line: self.line, what: what.to_owned(), why })
    }

    /// Appends a line without its end to `bytes`; false where the file is over.
    fn append(&mut self, bytes: &mut Vec<u8>, what: impl Fn() -> String) -> Result<bool, ChainFileError> {
        if self.source.read_until(b'\n', bytes)? == 0 {
            return Ok(false);
        }
        self.line += 1;
        match bytes.pop() {
            Some(b'\n') => Ok(true),
            _ => Err(ChainFileError::Truncated { line: self.line, what: what() }),
        }
    }
}

fn text_of(line: &[u8]) -> Result<&str, String> {
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

fn read_event(line: &[u8], version: u32) -> Result<ChainEvent, String> {
    let text = text_of(line)?;
    if version > 1 && text.contains(",\"data_length\":") {
        return read_dropped(text);
    }
    let line: EventLine<'_> = parse_line(text)?;
    let hash = |name: &str, text: &str| EventHash::parse(text).ok_or(format!("\"{name}\" is not a SHA-1 in hex"));
    Ok(ChainEvent {
        sequence: line.sequence,
        hash: hash("hash", &line.hash)?,
        parent_hash: line.parent_hash.as_deref().map(|text| hash("parent_hash", text)).transpose()?,
        event_type: line.event_type.to_string().into(),
        data: decode(&line.data)?,
        dropped: None,
        timestamp: line.timestamp,
    })
}

fn read_dropped(text: &str) -> Result<ChainEvent, String> {
    let line: DroppedLine<'_> = parse_line(text)?;
    let hash = |name: &str, text: &str| EventHash::parse(text).ok_or(format!("\"{name}\" is not a SHA-1 in hex"));
    let sha1 = hash("data_sha1", &line.data_sha1)?.0;
    Ok(ChainEvent {
        sequence: line.sequence,
        hash: hash("hash", &line.hash)?,
        parent_hash: line.parent_hash.as_deref().map(|text| hash("parent_hash", text)).transpose()?,
        event_type: line.event_type.to_string().into(),
        data: Vec::new(),
        dropped: Some(DroppedData { length: line.data_length, sha1 }),
        timestamp: line.timestamp,
    })
}

/// Attachments stand in the order of their digests, each once.
fn in_order<T: Ord>(last: Option<&T>, next: &T) -> Result<(), String> {
    match last {
        Some(last) if last >= next => Err("attachments are not in the order of their digests".into()),
        _ => Ok(()),
    }
}
