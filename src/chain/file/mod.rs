//! The portable chain file: JSON Lines that can be verified without a runtime and without the component.
//!
//! The file has a header, the attachments (components, then large states) and the events; `docs/chain-format.md`
//! specifies the layout. Reading gives an [`UnverifiedChain`]; only [`UnverifiedChain::verify`] turns it into a
//! [`VerifiedChain`]. Each line has exactly one spelling: a line that was read is written again and compared, so no
//! byte of a file can change unnoticed.

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
pub(crate) use read::event_of_line;
pub(crate) use stored::ChainFile;
pub(crate) use write::{ChainFileWriter, event_line};

use super::dropped::DroppedEvents;
use super::event::ChainEvent;
use super::hash::{ComponentDigest, EventHash};
use super::state_chain::{ChainBroken, Head};
use crate::base::id::ActorId;

const FORMAT: &str = "theater-chain";
/// The highest version: 3 if an event has a salt; else 2 if some data was dropped; else 1.
const VERSION: u32 = 3;

/// The bytes of a component that ran.
pub(crate) type Component = Vec<u8>;

/// The states of an actor after some of its events, by the sequence of the event.
pub(crate) type States = BTreeMap<u64, Option<Vec<u8>>>;

/// A row that an actor's table has after an event from which a replay can begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileRow {
    pub(crate) key: Vec<u8>,
    /// The hash of the event that wrote it.
    pub(crate) hash: EventHash,
    pub(crate) value: Vec<u8>,
}

/// The header of a chain file: its first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) actor: ActorId,
    /// The component of the newest incarnation.
    pub(crate) component: ComponentDigest,
    pub(crate) attachments: u64,
    pub(crate) events: u64,
    pub(crate) head: EventHash,
    /// 1, 2 or 3.
    pub(crate) version: u32,
}

/// A fault in a chain file, and its place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainFileError {
    /// The file cannot be read.
    #[error("cannot read the chain: {0}")]
    Io(#[from] io::Error),
    /// The file is empty.
    #[error("the file is empty")]
    Empty,
    /// The first line is not a header.
    #[error("line 1 is not the header of a chain file: {why}")]
    Header {
        /// What is wrong with it.
        why: String,
    },
    /// The header lacks a part, or is not followed by a part that must come next.
    #[error("the header is not followed by {what}")]
    Lacks {
        /// What is missing.
        what: &'static str,
    },
    /// The file has a format version that this program does not know.
    #[error("the file is a chain of format version {found}; this program reads versions 1 to {VERSION}")]
    Version {
        /// What was found.
        found: u32,
    },
    /// The file ends within a line.
    #[error("line {line} ({what}) is truncated: the file ends within it")]
    Truncated {
        /// The line, counted from 1.
        line: u64,
        /// What the line holds, or was to hold.
        what: String,
    },
    /// A line does not have the form that it should have.
    #[error("line {line} ({what}): {why}")]
    Line {
        /// The line, counted from 1.
        line: u64,
        /// What the line holds, or was to hold.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The chain does not hold together.
    #[error(transparent)]
    Broken(#[from] ChainBroken),
    /// The header announces another number of events than there are.
    #[error("the header announces {announced} events, but the file has {found}: the last is event {last}", last = found - 1)]
    EventCount {
        /// What the header says.
        announced: u64,
        /// What was found.
        found: u64,
    },
    /// The header announces another number of attachments than there are.
    #[error("the header announces {announced} attachments, but the file has {found}")]
    AttachmentCount {
        /// What the header says.
        announced: u64,
        /// What was found.
        found: u64,
    },
    /// The header names another hash than that of the last event.
    #[error("the header names the head {announced}, but event {sequence} has the hash {found}")]
    WrongHead {
        /// The event.
        sequence: u64,
        /// What the header says.
        announced: EventHash,
        /// What was found.
        found: EventHash,
    },
    /// The header contradicts an event.
    #[error("the header says {field} {announced}, but event {sequence} says {found}")]
    HeaderDisagrees {
        /// The field of the header.
        field: &'static str,
        /// What the header says.
        announced: String,
        /// The event.
        sequence: u64,
        /// What was found.
        found: String,
    },
    /// An attached component or state is not what its name says.
    #[error("attachment {name}: {why}")]
    Attachment {
        /// The name of the attachment: a digest, or an event.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The data of an event is not what its kind takes.
    #[error("event {sequence}: {why}")]
    Data {
        /// The event.
        sequence: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// A chain as it was read from a file. Nothing in it is verified.
#[derive(Clone, Debug)]
pub struct UnverifiedChain {
    pub(crate) header: Header,
    pub(crate) components: BTreeMap<ComponentDigest, Component>,
    pub(crate) blobs: BTreeMap<[u8; 20], Vec<u8>>,
    /// The states, besides the initial one, from which a replay may begin.
    pub(crate) states: States,
    /// The rows of the actor's table there, by the sequence of the event, and in the order of their keys.
    pub(crate) rows: Vec<(u64, FileRow)>,
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
