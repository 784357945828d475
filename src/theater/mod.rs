//! Supervision: the supervisor thread and the tree that decides for it, the start of a runtime, recovery, forks.
//!
//! ```text
//!   handle, handlers ── Command ──▶ thread `theater` ── apply ──▶ Tree ── actions ──▶ orders, verdicts, threads
//!   actors' threads ─── Report ───▶      │
//!                                        └─ never waits for an actor, never compiles, never reads or writes the disk
//! ```

mod builds;
mod command;
mod confinement;
mod control;
mod dead_letters;
mod dry_run;
mod foresee;
mod fork;
mod former;
mod handle;
mod in_flight;
mod machine_budget;
mod recorded_ends;
mod recovery;
mod repair;
mod retention;
mod runtime;
mod stored_spec;
mod supervisor;
mod tree;
mod upgrade;
mod whereabouts;

pub(crate) use dead_letters::dead_letters;
pub use dead_letters::{DeadLetter, DeadLetterId};
pub(crate) use foresee::foreseen_refusals;
pub use handle::{ActorDescription, ChildBrief, GrantedHandler, OwedCall, PastFailure, RestartRules};
pub use handle::{ActorState, EventStream, EventsOf, FollowedEvent, ReadError, TableRow};
pub use handle::{CheckpointSigner, SigningError, new_signing_key};
pub(crate) use handle::{HealthCheck, Kinds, Members, measure};
pub(crate) use machine_budget::bounds;
pub(crate) use repair::{Damage, accept as accept_loss, assess as assess_loss};
pub use retention::Retention;
pub(crate) use runtime::NotResumed;
pub use runtime::{Config, TheaterError, TheaterRuntime};
pub(crate) use upgrade::upgrade;
