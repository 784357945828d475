//! One actor: what it runs, one call as one transition, its thread, and the replay of its chain.
//!
//! Nothing here knows of a parent's policy: the thread reports how an incarnation ended, and does what it is told.

mod audit;
mod begin;
mod ending;
mod executor;
mod panicked;
mod refusals;
mod replay;
mod runtime;
mod serve;
mod spec;

pub(crate) use audit::grounds;
pub use audit::{Audit, audit};
pub(crate) use replay::{Boundary, Change, Recording, compare, limits as recorded_limits, replay, replay_until};
pub use replay::{ReplayError, Replayed};
pub(crate) use runtime::{ActorRuntime, Again, Beginning, Open, Report, ReportKind, SpawnReply, Verdict};
pub(crate) use spec::Spec;
