//! Theater runs WebAssembly components as supervised actors whose whole history is on disk, verifies and replays.
//!
//! A [`TheaterRuntime`] is a running theater; its [`TheaterHandle`] is how one asks it anything. [`TheaterServer`] does
//! the same over TCP, [`cli`] on a command line. An actor's history is a chain of [`ChainEvent`]s; from a file it is an
//! [`UnverifiedChain`] until it was verified. ARCHITECTURE.md is the map of the code.
//!
//! The modules are layers: each uses only those above it in this list.

mod base;
mod chain;
mod manifest;
mod journal;
mod system;
mod guest;
mod promise;
mod handlers;
mod actor;
mod theater;
mod server;
mod config;
pub mod cli;
#[doc(hidden)]
pub mod fuzzing;

pub use actor::{ReplayError, Replayed};
pub use base::id::{ActorId, Incarnation, NotAnActorId};
pub use base::limits::{ActorLimits, LimitRefused, Limits, LimitsError, ManagementLimits, RuntimeLimits};
pub use chain::{ChainBroken, ChainEvent, ChainFileError, DroppedData, EventHash, EventKind, EventType, Link};
pub use chain::{UnverifiedChain, VerifiedChain};
pub use guest::Divergence;
pub use journal::{Durability, JournalError};
pub use manifest::ManifestError;
pub use server::{BoundMetrics, BoundServer, Client, ClientError, ClientOptions, Endpoint};
pub use server::{MetricsServer, ServerError, ServerOptions, TheaterServer, TlsFiles, Token, TokenError};
pub use system::{ActorInfo, ActorStatus, Address, Restarts, TheaterHandle};
pub use theater::{Config, TheaterError, TheaterRuntime};
