//! The hash chain: what an event is, how it is hashed, how a chain grows, how it is verified, how it travels.
//!
//! The formats are specified in `docs/chain-format.md`. Nothing here knows of wasm, threads or SQL.

pub(crate) mod cbor;
pub(crate) mod data;
mod event;
mod file;
mod function;
mod hash;
mod incarnations;
mod state_chain;
#[cfg(test)]
mod vectors;

pub use event::{ChainEvent, DroppedData, EventKind, EventType};
pub use file::{ChainFileError, UnverifiedChain, VerifiedChain};
pub(crate) use file::{ChainFileWriter, Header, States};
pub(crate) use function::{Function, function};
pub use hash::EventHash;
pub(crate) use hash::{ComponentDigest, sha1};
pub(crate) use incarnations::Incarnations;
pub use state_chain::{ChainBroken, Link};
pub(crate) use state_chain::{Head, StateChain, check_link};
