//! The portable chain file: JSON Lines that a stranger can verify without a runtime and without the component.
//!
//! A header, the attachments (components, then large states), the events; the layout is specified in
//! `docs/chain-format.md`. What is read is an [`UnverifiedChain`]; only [`UnverifiedChain::verify`] turns one into a
//! [`VerifiedChain`]. A line has one spelling: whatever is read is written again and compared, so that no byte of a
//! file can change unnoticed.

mod export;
mod lines;
mod read;
mod stored;
mod verify;
mod write;

use std::collections::BTreeMap;
use std::io;

pub use export::{ExportError, Exported};
pub(crate) use export::{History, KeptState, export};
pub(crate) use stored::ChainFile;
pub(crate) use write::ChainFileWriter;

use super::dropped::DroppedEvents;
use super::event::ChainEvent;
use super::hash::{ComponentDigest, EventHash};
use super::state_chain::{ChainBroken, Head};
use crate::base::id::ActorId;

const FORMAT: &str = "theater-chain";
/// What is written: version 1 where all data is there, 2 where some was dropped.
const VERSION: u32 = 2;

/// A component that ran, as its bytes.
pub(crate) type Component = Vec<u8>;

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
#[non_exhaustive]
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

/// What a chain file turned out to hold when it was verified.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    pub(crate) header: Header,
    pub(crate) head: Head,
    /// How often the actor was started.
    pub(crate) incarnations: u64,
    /// Where they begin.
    pub(crate) begun: Vec<u64>,
    /// How often the actor was called.
    pub(crate) calls: u64,
    /// The events whose data was dropped: their hashes are verified, what they said is not.
    pub(crate) dropped: DroppedEvents,
    /// The events behind which a replay can begin, in order: an event names the state there, and the file has it.
    pub(crate) starts: Vec<u64>,
    /// The events behind which a state is attached that no event names, since data was dropped: nothing is built upon it.
    pub(crate) unvouched: Vec<u64>,
}

/// A chain whose every hash, link and attachment was checked.
#[derive(Clone, Debug)]
pub struct VerifiedChain {
    chain: UnverifiedChain,
    contents: Contents,
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
        self.contents.head.hash
    }

    /// How often the actor was started.
    pub fn incarnations(&self) -> u64 {
        self.contents.incarnations
    }

    /// How many events there are whose data was dropped: their hashes are verified, what they said is not.
    pub fn dropped(&self) -> u64 {
        self.contents.dropped.count()
    }
}

#[cfg(test)]
mod tests;
