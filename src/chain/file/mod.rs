//! The portable chain file: JSON Lines that can be verified without a runtime and without the component.
//!
//! The file has a header, the attachments (components, then large states) and the events; `docs/chain-format.md`
//! specifies the layout. Reading gives an [`UnverifiedChain`]; only [`UnverifiedChain::verify`] turns it into a
//! [`VerifiedChain`]. Each line has exactly one spelling: a line that was read is written again and compared, so no
//! byte of a file can change unnoticed.

mod lines;
mod read;
mod stored;
mod verify;
mod write;

use std::collections::BTreeMap;
use std::io;

pub(crate) use stored::ChainFile;
pub(crate) use write::ChainFileWriter;

use super::dropped::DroppedEvents;
use super::event::ChainEvent;
use super::hash::{ComponentDigest, EventHash};
use super::state_chain::{ChainBroken, Head};
use crate::base::id::ActorId;

const FORMAT: &str = "theater-chain";
/// The highest version that is written: 1 if all data is present, 2 if some was dropped.
const VERSION: u32 = 2;

/// The bytes of a component that ran.
pub(crate) type Component = Vec<u8>;

/// The states of an actor after some of its events, by the sequence of the event.
pub(crate) type States = BTreeMap<u64, Option<Vec<u8>>>;

/// The header of a chain file: its first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) actor: ActorId,
    /// The component of the newest incarnation.
    pub(crate) component: ComponentDigest,
    pub(crate) attachments: u64,
    pub(crate) events: u64,
    pub(crate) head: EventHash,
    /// 1, or 2 if data was dropped.
    pub(crate) version: u32,
}

/// A fault in a chain file, and its place.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ChainFileError {
    #[error("cannot read the chain: {0}")]
    Io(#[from] io::Error),
    #[error("the file is empty")]
    Empty,
    #[error("line 1 is not the header of a chain file: {why}")]
    Header { why: String },
    #[error("the header is not followed by {what}")]
    Lacks { what: &'static str },
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

/// A chain as it was read from a file. Nothing in it is verified.
#[derive(Clone, Debug)]
pub struct UnverifiedChain {
    pub(crate) header: Header,
    pub(crate) components: BTreeMap<ComponentDigest, Component>,
    pub(crate) blobs: BTreeMap<[u8; 20], Vec<u8>>,
    /// The states, besides the initial one, from which a replay may begin.
    pub(crate) states: States,
    pub(crate) events: Vec<ChainEvent>,
}

/// What the verification of a chain file has found.
#[derive(Clone, Debug)]
pub(crate) struct ChainFileContents {
    pub(crate) header: Header,
    pub(crate) head: Head,
    /// The number of incarnations.
    pub(crate) incarnations: u64,
    /// The sequences of their `started` events.
    pub(crate) begun: Vec<u64>,
    /// The number of calls.
    pub(crate) calls: u64,
    /// The events whose data was dropped: their hashes are verified, their data cannot be.
    pub(crate) dropped: DroppedEvents,
    /// The events after which a replay can begin, in order: an event names the state there, and the file holds the
    /// state.
    pub(crate) starts: Vec<u64>,
    /// The events after which the file attaches a state that no event names, because data was dropped. Such a state is
    /// not used.
    pub(crate) unvouched: Vec<u64>,
}

/// A chain whose every hash, link and attachment was verified.
#[derive(Clone, Debug)]
pub struct VerifiedChain {
    chain: UnverifiedChain,
    contents: ChainFileContents,
}

impl VerifiedChain {
    /// The actor whose chain this is.
    pub fn actor(&self) -> ActorId {
        self.chain.header.actor
    }

    /// All events, from the first.
    pub fn events(&self) -> &[ChainEvent] {
        &self.chain.events
    }

    /// The hash of the last event.
    pub fn head(&self) -> EventHash {
        self.contents.head.hash
    }

    /// The number of incarnations.
    pub fn incarnations(&self) -> u64 {
        self.contents.incarnations
    }

    /// The number of events whose data was dropped: their hashes are verified, their data cannot be.
    pub fn dropped(&self) -> u64 {
        self.contents.dropped.count()
    }
}

#[cfg(test)]
mod tests;
