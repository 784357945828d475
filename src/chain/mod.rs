//! The hash chain of an actor: events, their hashes, growth of a chain, verification, and the portable file.
//!
//! `docs/chain-format.md` specifies the formats. This room knows nothing of wasm, threads or SQL.

pub(crate) mod cbor;
mod course;
pub(crate) mod data;
pub(crate) mod dropped;
mod event;
mod file;
mod function;
mod hash;
pub(crate) mod idempotency;
mod incarnations;
mod preimage;
mod salt;
pub(crate) mod shown;
mod shown_data;
mod state_chain;
pub(crate) mod table;
mod upgrades;
#[cfg(test)]
mod vectors;

pub(crate) use course::{StateCourse, StateOnChain, named_by_return, vouched_after};
pub(crate) use dropped::DroppedEvents;
pub use event::{ChainEvent, DataDigest, DroppedData, EventKind, EventType};
pub(crate) use file::{
    ChainFile, ChainFileContents, ChainFileWriter, FileRow, Header as FileHeader, History, KeptState, event_line,
    event_of_line, export,
};
pub use file::{ChainFileError, ExportError, Exported, UnverifiedChain, VerifiedChain};
pub(crate) use function::{Function, function};
pub(crate) use hash::sha1;
pub use hash::{ComponentDigest, EventHash};
pub(crate) use idempotency::KeyDigest;
pub(crate) use incarnations::Incarnations;
pub use salt::Salt;
pub use state_chain::{ChainBroken, Link};
pub(crate) use state_chain::{Head, Salting, StateChain, check_link};
pub(crate) use upgrades::{MIGRATE, TrialFault, UpgradeCourse, UpgradeTrial, is_own_fault};
