#![doc = include_str!("../docs/embedding.md")]
#![deny(missing_docs)]
#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports, reason = "the command line uses it"))]

mod base;
mod net;
mod chain;
mod manifest;
mod journal;
mod realm;
mod proofs;
mod system;
mod guest;
mod promise;
mod handlers;
mod actor;
mod theater;
mod server;
mod telemetry;
mod config;
mod build;
mod rehearsal;
#[cfg(feature = "cli")]
pub mod cli;
#[allow(dead_code, reason = "fuzzers and a test use it")]
mod fuzzing;

pub use actor::{Audit, ReplayError, Replayed, audit};
pub use base::id::{ActorId, Incarnation, NotAnActorId};
pub use base::limits::{ActorLimits, LimitRefused, Limits, LimitsError, ManagementLimits, RuntimeLimits};
pub use chain::data::FailureReason;
pub use chain::{
    ChainBroken, ChainEvent, ChainFileError, ComponentDigest, DataDigest, DroppedData, EventHash, EventKind, EventType,
};
pub use chain::{ExportError, Exported, Link, Salt, UnverifiedChain, VerifiedChain};
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use fuzzing::TARGETS as FUZZ_TARGETS;
pub use guest::Divergence;
pub use handlers::{BeyondLimit, CallContext, Handler, Handlers, HostFunctions, HostParams, HostResult, LinkError};
pub use journal::{
    DataDropped, DataToDrop, DiskLow, DropError, Durability, JournalDown, JournalError, Shown, UnsoundEnd,
};
pub use manifest::{ActorSource, HandlerEntry, ManifestError};
pub use server::{BoundMetrics, BoundServer, Client, ClientError, ClientOptions, Endpoint, NotAnEndpoint};
pub use server::{MetricsServer, ServerError, ServerOptions, TheaterServer, TlsFiles, Token, TokenError};
pub use system::{ActorFailure, ActorInfo, ActorStatus, Address, NotFound, Restarts, TheaterHandle};
pub use system::{ChangedOutcome, DryRun};
pub use system::{LifecycleError, NotDelivered, OutcomeUnknown, RequestError, SecretSource, Secrets};
pub use theater::measure::{
    ActorMetricsView, Counts, DistributionView, JournalMetricsView, MetricsView, ProcessView, TelemetryView, Totals,
};
pub use theater::{ActorDescription, ChildBrief, GrantedHandler, OwedCall, PastFailure, RestartRules};
pub use theater::{
    ActorState, Config, DeadLetter, DeadLetterId, EventStream, EventsOf, FollowedEvent, ReadError, TableRow,
};
pub use theater::{CheckpointSigner, Retention, SigningError, TheaterError, TheaterRuntime, new_signing_key};
