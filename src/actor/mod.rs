//! One actor: what it runs, one call as one transition, its thread, and the replay of its chain.
//!
//! Nothing here knows of a parent's policy: the thread reports how an incarnation ended, and does what it is told.

mod audit;
mod executor;
mod replay;
mod runtime;
mod spec;

pub(crate) use audit::{Audit, audit};
pub(crate) use replay::replay;
pub use replay::{ReplayError, Replayed};
pub(crate) use runtime::{ActorRuntime, Again, Beginning, Report, ReportKind, SpawnReply, Verdict};
pub(crate) use spec::Spec;
