//! One actor: the manifest and component it runs, the execution of one call as one transition, the actor's thread, and
//! the replay of its chain.
//!
//! ```text
//!   runtime ──▶ begin ──▶ resume ──▶ executor          the thread, from `started` to its end
//!      │          └─────▶ executor
//!      ├──────▶ serve ──▶ executor                 clients: the deliveries of a listener's clients
//!      └──────▶ ending
//!   all of them use: context (who the actor is, how it speaks), down (why an incarnation ended), verdict (what thread
//!   and supervisor tell each other)
//! ```
//!
//! Nothing here knows a parent's policy: the thread reports how an incarnation ended, and does what the supervisor says.

mod audit;
mod begin;
mod beginning;
mod clients;
mod context;
mod down;
mod ending;
mod executor;
mod idling;
mod listeners;
mod newest_state;
mod progress;
mod refusals;
mod rehearse;
mod replay;
mod resume;
mod runtime;
mod serve;
mod sleeper;
mod spec;
mod trial;
mod upgrade;
mod verdict;

pub(crate) use audit::grounds;
pub use audit::{Audit, audit};
pub(crate) use beginning::{Again, Beginning, OpenTransition};
pub(crate) use newest_state::newest_state;
pub(crate) use rehearse::{RehearsalStart, RehearsedActor, RehearsedCall, RehearsedEnd};
pub(crate) use replay::{
    BehaviourChange, Boundary, ChangedPart, ComparedTransitions, OtherBuild, OutcomeChange, OutcomesCompared,
    PastState, Recording, compare, compare_outcomes, computed_state, dry_run, limits as recorded_limits, past_state,
    program_to_compare, record_again, replay, replay_until,
};
pub use replay::{ReplayError, Replayed};
pub(crate) use runtime::{ActorRuntime, Lived};
pub(crate) use sleeper::{Sleeper, SleptAt};
pub(crate) use spec::{SharedSpecs, Spec};
pub(crate) use upgrade::{Upgrade, UpgradeSlot};
pub(crate) use verdict::{Report, ReportKind, SpawnReply, Verdict};
