//! The theater: the supervisor thread, and what it decides.
//!
//! ```text
//!   handle, handlers ── Command ──▶ thread `theater` ── apply ──▶ Tree ── actions ──▶ orders, verdicts, threads
//!   actors' threads ─── Report ───▶      │
//!                                        └─ never waits for an actor, never compiles, never touches the disk
//! ```

mod budget;
mod confinement;
mod control;
mod foresee;
mod fork;
mod handle;
mod in_flight;
mod recorded_ends;
mod recovery;
mod repair;
mod runtime;
mod supervisor;
mod tree;
mod whereabouts;

pub(crate) use budget::bounds;
pub(crate) use foresee::foreseen_refusals;
pub use handle::{ActorState, EventStream, EventsOf, FollowedEvent, ReadError};
pub(crate) use handle::{Kinds, Members, measure};
pub(crate) use repair::{Damage, accept as accept_loss, assess as assess_loss};
pub(crate) use runtime::NotResumed;
pub use runtime::{Config, TheaterError, TheaterRuntime};
