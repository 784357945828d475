//! The portable chain file: JSON Lines that a stranger can verify without a runtime and without the component.
//!
//! A header, the attachments (components, then large states), the events; the layout is specified in
//! `docs/chain-format.md`. What is read is an [`UnverifiedChain`]; only [`UnverifiedChain::verify`] turns one into a
//! [`VerifiedChain`]. A line has one spelling: whatever is read is written again and compared, so that no byte of a
//! file can change unnoticed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::cbor::Cbor;
use super::data::{NamedState, Return, Started, StateAfter};
use super::event::{ChainEvent, DroppedData, EventKind};
use super::hash::{ComponentDigest, EventHash, sha1};
use super::state_chain::{ChainBroken, Head, check_link};
use crate::base::id::{ActorId, Incarnation};

const FORMAT: &str = "theater-chain";
/// What is written: version 1 where all data is there, 2 where some was dropped.
const VERSION: u32 = 2;

/// A component that ran, as its bytes.
pub(crate) type Component = Vec<u8>;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine {
    format: String,
    version: u32,
    actor: String,
    component: String,
    attachments: u64,
    events: u64,
    head: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ComponentLine {
    component: String,
    data: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlobLine {
    blob: String,
    data: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine {
    sequence: u64,
    hash: String,
    parent_hash: Option<String>,
    event_type: String,
    data: String,
    timestamp: u64,
}

/// An event whose data was dropped. Version 2 only.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DroppedLine {
    sequence: u64,
    hash: String,
    parent_hash: Option<String>,
    event_type: String,
    data_length: u64,
    data_sha1: String,
    timestamp: u64,
}

/// A state that replay can begin with. Version 2 only.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateLine {
    state: u64,
    data: Option<String>,
}

/// The states of an actor behind some of its events.
pub(crate) type States = BTreeMap<u64, Option<Vec<u8>>>;

/// What a chain file says of itself in its first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) actor: ActorId,
    /// What the newest incarnation runs.
    pub(crate) component: ComponentDigest,
    pub(crate) attachments: u64,
    pub(crate) events: u64,
    pub(crate) head: EventHash,
    /// 1, or 2 where data was dropped.
    pub(crate) version: u32,
}

/// What is wrong with a chain file, and where.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ChainFileError {
    #[error("cannot read the chain: {0}")]
    Io(#[from] io::Error),
    #[error("the file is empty")]
    Empty,
    #[error("line 1 is not the header of a chain file: {why}")]
    Header { why: String },
    #[error("the file is a chain of format version {found}; this program reads versions 1 to {VERSION}")]
    Version { found: u32 },
    #[error("line {line} ({what}) is truncated: the file ends within it")]
    Truncated { line: u64, what: String },
    #[error("line {line} ({what}): {why}")]
    Line { line: u64, what: String, why: String },
    #[error(transparent)]
    Broken(#[from] ChainBroken),
    #[error("the header announces {announced} events, but the file has {found}: the last is event {last}", last = found - 1)]
    EventCount { announced: u64, found: u64 },
    #[error("the header announces {announced} attachments, but the file has {found}")]
    AttachmentCount { announced: u64, found: u64 },
    #[error("the header names the head {announced}, but event {sequence} has the hash {found}")]
    WrongHead { sequence: u64, announced: EventHash, found: EventHash },
    #[error("the header says {field} {announced}, but event {sequence} says {found}")]
    HeaderDisagrees { field: &'static str, announced: String, sequence: u64, found: String },
    #[error("attachment {name}: {why}")]
    Attachment { name: String, why: String },
    #[error("event {sequence}: {why}")]
    Data { sequence: u64, why: String },
}

/// A chain as it was read: nothing of it is to be believed yet.
#[derive(Clone, Debug)]
pub struct UnverifiedChain {
    pub(crate) header: Header,
    pub(crate) components: BTreeMap<ComponentDigest, Component>,
    pub(crate) blobs: BTreeMap<[u8; 20], Vec<u8>>,
    /// Where a replay may begin, beside the beginning.
    pub(crate) states: States,
    pub(crate) events: Vec<ChainEvent>,
}

/// A chain whose every hash, link and attachment was checked.
#[derive(Clone, Debug)]
pub struct VerifiedChain {
    chain: UnverifiedChain,
    head: Head,
}

impl VerifiedChain {
    /// Whose chain it is.
    pub fn actor(&self) -> ActorId {
        self.chain.header.actor
    }

    /// All events, from the first.
    pub fn events(&self) -> &[ChainEvent] {
        &self.chain.events
    }

    /// The hash of the last event.
    pub fn head(&self) -> EventHash {
        self.head.hash
    }

    /// How often the actor was started.
    pub fn incarnations(&self) -> usize {
        self.events().iter().filter(|event| event.kind() == Some(EventKind::Started)).count()
    }

    pub(crate) fn components(&self) -> &BTreeMap<ComponentDigest, Component> {
        &self.chain.components
    }

    /// Where a replay may begin, beside the beginning.
    pub(crate) fn states(&self) -> &States {
        &self.chain.states
    }

    pub(crate) fn blob(&self, sha1: &[u8; 20]) -> Option<&Vec<u8>> {
        self.chain.blobs.get(sha1)
    }
}

impl UnverifiedChain {
    /// Reads a chain file. What can be seen line by line is checked here: the spelling of each line, and truncation.
    pub fn read(source: impl BufRead) -> Result<Self, ChainFileError> {
        let mut lines = Lines { source, line: 0 };
        let header = read_header(&lines.next("header")?.ok_or(ChainFileError::Empty)?)?;
        let (components, blobs, states) = (BTreeMap::new(), BTreeMap::new(), States::new());
        let mut chain = Self { header, components, blobs, states, events: Vec::new() };
        let mut attachments_end = false;
        loop {
            let what = format!("event {}", chain.events.len());
            let Some(text) = lines.next(&what)? else { break };
            let at = |why: String| ChainFileError::Line { line: lines.line, what: what.clone(), why };
            if !attachments_end && text.starts_with("{\"component\":") && chain.blobs.is_empty() {
                chain.add_component(&text).map_err(at)?;
            } else if !attachments_end && text.starts_with("{\"blob\":") && chain.states.is_empty() {
                chain.add_blob(&text).map_err(at)?;
            } else if !attachments_end && chain.header.version > 1 && text.starts_with("{\"state\":") {
                chain.add_state(&text).map_err(at)?;
            } else {
                attachments_end = true;
                chain.events.push(read_event(&text, chain.header.version).map_err(at)?);
            }
        }
        Ok(chain)
    }

    fn add_component(&mut self, text: &str) -> Result<(), String> {
        let line: ComponentLine = parse_line(text)?;
        let digest = ComponentDigest::parse(&line.component).ok_or("\"component\" is not a SHA-256 in hex")?;
        in_order(self.components.last_key_value().map(|(last, _)| last), &digest)?;
        self.components.insert(digest, decode(&line.data)?);
        Ok(())
    }

    fn add_blob(&mut self, text: &str) -> Result<(), String> {
        let line: BlobLine = parse_line(text)?;
        let digest = EventHash::parse(&line.blob).ok_or("\"blob\" is not a SHA-1 in hex")?.0;
        in_order(self.blobs.last_key_value().map(|(last, _)| last), &digest)?;
        self.blobs.insert(digest, decode(&line.data)?);
        Ok(())
    }

    fn add_state(&mut self, text: &str) -> Result<(), String> {
        let line: StateLine = parse_line(text)?;
        in_order(self.states.last_key_value().map(|(last, _)| last), &line.state)?;
        self.states.insert(line.state, line.data.as_deref().map(decode).transpose()?);
        Ok(())
    }

    /// Checks everything: each hash and link, the header against the events, the attachments against their names.
    pub fn verify(self) -> Result<VerifiedChain, ChainFileError> {
        let mut head: Option<Head> = None;
        for event in &self.events {
            head = Some(check_link(head.as_ref(), event)?);
        }
        let found = self.events.len() as u64;
        let Some(head) = head else {
            return Err(ChainFileError::Header { why: "a chain has at least one event".into() });
        };
        if found != self.header.events {
            return Err(ChainFileError::EventCount { announced: self.header.events, found });
        }
        if head.hash != self.header.head {
            let (announced, found) = (self.header.head, head.hash);
            return Err(ChainFileError::WrongHead { sequence: head.sequence, announced, found });
        }
        if self.header.version > 1 && self.events.iter().all(|event| event.dropped.is_none()) {
            return Err(ChainFileError::Header { why: "it is of version 2, but all data is there".into() });
        }
        self.verify_header_and_attachments()?;
        Ok(VerifiedChain { chain: self, head })
    }

    fn verify_header_and_attachments(&self) -> Result<(), ChainFileError> {
        let found = (self.components.len() + self.blobs.len() + self.states.len()) as u64;
        if found != self.header.attachments {
            return Err(ChainFileError::AttachmentCount { announced: self.header.attachments, found });
        }
        let mut named_components = BTreeSet::new();
        let mut named_states = BTreeMap::new();
        let mut newest = None;
        let mut incarnation = Incarnation(0);
        for event in self.events.iter().filter(|event| event.kind() == Some(EventKind::Started)) {
            let started = Started::from_cbor(&event.data)
                .map_err(|error| ChainFileError::Data { sequence: event.sequence, why: error.to_string() })?;
            if started.id != self.header.actor {
                return Err(self.disagrees("actor", self.header.actor, event, started.id));
            }
            incarnation = incarnation.next();
            if started.incarnation != incarnation {
                let why = format!("it is incarnation {}, but {incarnation} is the next", started.incarnation);
                return Err(ChainFileError::Data { sequence: event.sequence, why });
            }
            named_components.insert(started.component);
            if let NamedState::Digest { sha1, len } = started.state {
                named_states.insert(sha1, len);
            }
            newest = Some((event, started.component));
        }
        if let Some((event, component)) = newest
            && component != self.header.component
        {
            return Err(self.disagrees("component", self.header.component, event, component));
        }
        self.verify_attachments(&named_components, &named_states)
    }

    fn verify_attachments(
        &self,
        components: &BTreeSet<ComponentDigest>,
        states: &BTreeMap<[u8; 20], u64>,
    ) -> Result<(), ChainFileError> {
        let check = |name: String, is_named: bool, matches: bool| match (is_named, matches) {
            (true, true) => Ok(()),
            (false, _) => Err(ChainFileError::Attachment { name, why: "no event names it".into() }),
            (true, false) => {
                Err(ChainFileError::Attachment { name, why: "its bytes are not the ones that are named".into() })
            }
        };
        for (sequence, state) in &self.states {
            self.verify_state(*sequence, state.as_deref())?;
        }
        for (digest, bytes) in &self.components {
            check(digest.to_string(), components.contains(digest), ComponentDigest::of(bytes) == *digest)?;
        }
        for (digest, bytes) in &self.blobs {
            let len = states.get(digest);
            let matches = sha1(bytes) == *digest && len == Some(&(bytes.len() as u64));
            check(hex::encode(digest), len.is_some(), matches)?;
        }
        Ok(())
    }

    /// A state is the one that its event names, where it names one and its data is there.
    fn verify_state(&self, sequence: u64, state: Option<&[u8]>) -> Result<(), ChainFileError> {
        let refused =
            |why: &str| Err(ChainFileError::Attachment { name: format!("state {sequence}"), why: why.into() });
        let event = usize::try_from(sequence).ok().and_then(|at| self.events.get(at));
        let named = match event.map(|event| (event.kind(), event)) {
            Some((Some(EventKind::Started), event)) => Started::from_cbor(&event.data).ok().map(|it| it.state),
            Some((Some(EventKind::Return), event)) => match Return::from_cbor(&event.data).map(|it| it.state) {
                Ok(StateAfter::Now(named)) => Some(named),
                Ok(StateAfter::Unchanged) | Err(_) => None,
            },
            Some((Some(EventKind::Refused), _)) => None,
            _ => return refused("no incarnation begins and no transition ends with that event"),
        };
        match named {
            Some(named) if named != NamedState::of(state) => refused("it is not the state that the event names"),
            _ => Ok(()),
        }
    }

    fn disagrees(
        &self,
        field: &'static str,
        announced: impl ToString,
        event: &ChainEvent,
        found: impl ToString,
    ) -> ChainFileError {
        let (announced, found) = (announced.to_string(), found.to_string());
        ChainFileError::HeaderDisagrees { field, announced, sequence: event.sequence, found }
    }
}

/// Takes lines, and tells a complete one from a truncated one.
struct Lines<R> {
    source: R,
    line: u64,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self, what: &str) -> Result<Option<String>, ChainFileError> {
        let mut bytes = Vec::new();
        if self.source.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        self.line += 1;
        if bytes.pop() != Some(b'\n') {
            return Err(ChainFileError::Truncated { line: self.line, what: what.to_owned() });
        }
        let what = what.to_owned();
        let text = String::from_utf8(bytes);
        text.map(Some).map_err(|_| ChainFileError::Line { line: self.line, what, why: "not UTF-8".into() })
    }
}

/// Parses a line and insists that it is spelled exactly as it would be written.
fn parse_line<T: Serialize + DeserializeOwned>(text: &str) -> Result<T, String> {
    let line: T = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let again = serde_json::to_string(&line).map_err(|error| error.to_string())?;
    if again == text { Ok(line) } else { Err("not in canonical form".into()) }
}

fn read_header(text: &str) -> Result<Header, ChainFileError> {
    let refused = |why: String| ChainFileError::Header { why };
    let line: HeaderLine = parse_line(text).map_err(refused)?;
    if line.format != FORMAT {
        return Err(refused(format!("the format is \"{}\", not \"{FORMAT}\"", line.format)));
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

fn read_event(text: &str, version: u32) -> Result<ChainEvent, String> {
    if version > 1 && text.contains(",\"data_length\":") {
        return read_dropped(text);
    }
    let line: EventLine = parse_line(text)?;
    let hash = |name: &str, text: &str| EventHash::parse(text).ok_or(format!("\"{name}\" is not a SHA-1 in hex"));
    Ok(ChainEvent {
        sequence: line.sequence,
        hash: hash("hash", &line.hash)?,
        parent_hash: line.parent_hash.as_deref().map(|text| hash("parent_hash", text)).transpose()?,
        event_type: line.event_type.into(),
        data: decode(&line.data)?,
        dropped: None,
        timestamp: line.timestamp,
    })
}

fn read_dropped(text: &str) -> Result<ChainEvent, String> {
    let line: DroppedLine = parse_line(text)?;
    let hash = |name: &str, text: &str| EventHash::parse(text).ok_or(format!("\"{name}\" is not a SHA-1 in hex"));
    let sha1 = hash("data_sha1", &line.data_sha1)?.0;
    Ok(ChainEvent {
        sequence: line.sequence,
        hash: hash("hash", &line.hash)?,
        parent_hash: line.parent_hash.as_deref().map(|text| hash("parent_hash", text)).transpose()?,
        event_type: line.event_type.into(),
        data: Vec::new(),
        dropped: Some(DroppedData { length: line.data_length, sha1 }),
        timestamp: line.timestamp,
    })
}

fn decode(data: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(data).map_err(|error| format!("\"data\" is not base64: {error}"))
}

/// Attachments stand in the order of their digests, each once.
fn in_order<T: Ord>(last: Option<&T>, next: &T) -> Result<(), String> {
    match last {
        Some(last) if last >= next => Err("attachments are not in the order of their digests".into()),
        _ => Ok(()),
    }
}

/// Writes a chain file, event by event, so that a long chain is never in memory.
pub(crate) struct ChainFileWriter<W: Write>(W);

impl<W: Write> ChainFileWriter<W> {
    /// Writes the header and the attachments; the caller has taken care that `header` tells what will follow.
    pub(crate) fn begin(
        sink: W,
        header: &Header,
        components: &BTreeMap<ComponentDigest, Component>,
        blobs: &BTreeMap<[u8; 20], Vec<u8>>,
        states: &States,
    ) -> io::Result<Self> {
        let mut writer = Self(sink);
        writer.line(&HeaderLine {
            format: FORMAT.into(),
            version: header.version,
            actor: header.actor.to_string(),
            component: header.component.to_string(),
            attachments: header.attachments,
            events: header.events,
            head: header.head.to_string(),
        })?;
        for (digest, bytes) in components {
            writer.line(&ComponentLine { component: digest.to_string(), data: BASE64.encode(bytes) })?;
        }
        for (digest, bytes) in blobs {
            writer.line(&BlobLine { blob: hex::encode(digest), data: BASE64.encode(bytes) })?;
        }
        for (sequence, state) in states {
            let data = state.as_ref().map(|bytes| BASE64.encode(bytes));
            writer.line(&StateLine { state: *sequence, data })?;
        }
        Ok(writer)
    }

    pub(crate) fn event(&mut self, event: &ChainEvent) -> io::Result<()> {
        if let Some(DroppedData { length, sha1 }) = event.dropped {
            return self.line(&DroppedLine {
                sequence: event.sequence,
                hash: event.hash.to_string(),
                parent_hash: event.parent_hash.map(|hash| hash.to_string()),
                event_type: event.event_type.to_string(),
                data_length: length,
                data_sha1: hex::encode(sha1),
                timestamp: event.timestamp,
            });
        }
        self.line(&EventLine {
            sequence: event.sequence,
            hash: event.hash.to_string(),
            parent_hash: event.parent_hash.map(|hash| hash.to_string()),
            event_type: event.event_type.to_string(),
            data: BASE64.encode(&event.data),
            timestamp: event.timestamp,
        })
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.0.flush()?;
        Ok(self.0)
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, line)?;
        self.0.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::data::{Call, Caller, Encoded, NamedLimits, Return, StartReason, StateAfter, Stopped, StoppedBy};
    use crate::chain::state_chain::StateChain;

    const COMPONENT: &[u8] = b"\0asm: a small component";

    fn large_state() -> Vec<u8> {
        vec![b'x'; 5_000]
    }

    fn events(actor: ActorId) -> Vec<ChainEvent> {
        let nothing = || Encoded(().to_cbor());
        let started = Started {
            id: actor,
            fork: None,
            name: "counter".into(),
            state: NamedState::of(Some(&large_state())),
            limits: NamedLimits(vec![]),
            parent: None,
            reason: StartReason::Spawn,
            resumes: false,
            manifest: String::new(),
            component: ComponentDigest::of(COMPONENT),
            incarnation: Incarnation::FIRST,
        };
        let call = Call { cause: None, fresh: true, caller: Caller::Runtime, params: nothing() };
        let returned = Return { state: StateAfter::Unchanged, result: nothing() };
        let stopped = Stopped { by: StoppedBy::Operator, cause: None, dropped: vec![] };
        let mut chain = StateChain::new(actor);
        vec![
            chain.append("started", started.to_cbor(), 1_000),
            chain.append("call ntwk:theater/actor.init", call.to_cbor(), 1_001),
            chain.append("return ntwk:theater/actor.init", returned.to_cbor(), 1_002),
            chain.append("stopped", stopped.to_cbor(), 1_003),
        ]
    }

    fn file() -> Vec<u8> {
        let actor = ActorId::random();
        let events = events(actor);
        let components = BTreeMap::from([(ComponentDigest::of(COMPONENT), COMPONENT.to_vec())]);
        let blobs = BTreeMap::from([(sha1(&large_state()), large_state())]);
        let header = Header {
            actor,
            component: ComponentDigest::of(COMPONENT),
            attachments: 2,
            events: events.len() as u64,
            version: 1,
            head: events.last().expect("four events").hash,
        };
        let mut writer =
            ChainFileWriter::begin(Vec::new(), &header, &components, &blobs, &States::new()).expect("memory");
        events.iter().for_each(|event| writer.event(event).expect("memory"));
        writer.finish().expect("memory")
    }

    fn verify(file: &[u8]) -> Result<VerifiedChain, ChainFileError> {
        UnverifiedChain::read(file)?.verify()
    }

    #[test]
    fn a_written_chain_verifies() {
        let chain = verify(&file()).expect("an honest file");
        assert_eq!((chain.events().len(), chain.incarnations()), (4, 1));
        assert_eq!(chain.components().values().next().map(Vec::as_slice), Some(COMPONENT));
    }

    #[test]
    fn no_byte_can_be_changed_unnoticed() {
        let honest = file();
        for at in 0..honest.len() {
            for bit in [0x01, 0x20, 0x80] {
                let mut altered = honest.clone();
                altered[at] ^= bit;
                assert!(verify(&altered).is_err(), "byte {at} with bit {bit:#x} flipped");
            }
        }
    }

    #[test]
    fn no_line_can_be_dropped_doubled_or_swapped_unnoticed() {
        let honest = file();
        let lines: Vec<&[u8]> = honest.split_inclusive(|byte| *byte == b'\n').collect();
        for at in 0..lines.len() {
            let without: Vec<u8> = [&lines[..at], &lines[at + 1..]].concat().concat();
            assert!(verify(&without).is_err(), "line {at} dropped");
            let doubled: Vec<u8> = [&lines[..=at], &lines[at..]].concat().concat();
            assert!(verify(&doubled).is_err(), "line {at} doubled");
            if at > 0 {
                let mut swapped = lines.clone();
                swapped.swap(at - 1, at);
                assert!(verify(&swapped.concat()).is_err(), "lines {} and {at} swapped", at - 1);
            }
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_refused_and_a_cut_line_is_called_truncated() {
        let honest = file();
        for length in 0..honest.len() {
            let error = verify(&honest[..length]).expect_err("a cut file");
            let at_line_end = length > 0 && honest[length - 1] == b'\n';
            assert_eq!(
                matches!(error, ChainFileError::Truncated { .. }),
                length > 0 && !at_line_end,
                "cut at {length}"
            );
        }
    }

    #[test]
    fn the_error_names_the_event() {
        let text = String::from_utf8(file()).expect("JSON");
        let altered = text.replace("\"timestamp\":1002", "\"timestamp\":1003");
        let message = verify(altered.as_bytes()).expect_err("an altered timestamp").to_string();
        assert!(message.starts_with("event 2: its hash is "), "{message}");
        let from_tomorrow = text.replace("\"version\":1", "\"version\":3");
        assert!(matches!(verify(from_tomorrow.as_bytes()), Err(ChainFileError::Version { found: 3 })));
    }
}
