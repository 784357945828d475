//! What one actor may know of the others: who there is, how to reach them, who waits for whom, who follows them.
//!
//! Two locks guard all of it: the registry's and the subscribers'. Both are private to their files; no guard leaves
//! them, and nothing is sent, joined, read or called while one is held. Nothing here knows of wasm or TOML.
//!
//! The files use each other in one direction, from the end of this list to its beginning:
//!
//! - values that use no other file: `address`, `dry_run`, `label`, `status`, `pick`, `refusal`, `failure`, `waits`, `watches`, `on_disk`, `vouched`,
//!   `clients`;
//! - `secrets`, which the runtime adds to what actors send, and shows to nobody;
//! - `answer`, what became of a delivery; `error`, the errors of a handle;
//! - `async_requests`, where an actor finds the answers that it does not wait for;
//! - `reply`, where an answer is given and awaited; `deferrals`, the replies that actors have taken over; `signal`, the order to end;
//! - `delivery`, what a mailbox holds; `mailbox`;
//! - `registry`, which finds mailboxes by actor and refuses circles of waits; `subscribers`;
//! - `requests`, `awaited` and `control`, what the supervisor is asked for; `handle`, through which everyone asks.

mod address;
mod answer;
mod async_requests;
mod awaited;
mod clients;
mod control;
mod cron;
mod deferrals;
mod delivery;
mod dry_run;
mod error;
mod failure;
mod handle;
mod key_refusal;
mod keyed;
mod label;
mod mailbox;
mod on_disk;
mod once;
mod pick;
mod refusal;
mod registry;
mod reply;
mod requests;
mod schedule;
mod secrets;
mod signal;
mod status;
mod subscribers;
mod timers;
mod vouched;
mod waits;
mod watches;

#[cfg(test)]
mod tests;

pub use address::Address;
pub(crate) use answer::{Answer, NoAnswer, Outcome};
pub(crate) use async_requests::{ActorRequests, AsyncRequests, CameOf, DueReply};
pub(crate) use awaited::Awaited;
pub(crate) use clients::ClientKind;
pub(crate) use control::{Asked, Control};
pub(crate) use cron::{CRON_BYTES, Cron, check_lengths as check_cron_lengths};
pub(crate) use delivery::Delivery;
pub use dry_run::{ChangedOutcome, DryRun};
pub use error::{LifecycleError, NotDelivered, OutcomeUnknown, RequestError};
pub use failure::ActorFailure;
pub use handle::TheaterHandle;
pub(crate) use key_refusal::KeyRefusal;
pub(crate) use keyed::KeyedRequests;
pub(crate) use label::{Label, NoSuchAddress, NotALabel, is_addressable};
pub(crate) use mailbox::{Lane, Mailbox, MailboxOwner, RestingOwner, Slot};
pub(crate) use on_disk::StartedFrom;
pub(crate) use once::{Keyed, KeyedDelivery};
pub use pick::NotFound;
pub(crate) use pick::{Candidate, Picker};
pub(crate) use refusal::Refusal;
pub(crate) use registry::{ActorEntry, CommonEntry, Registry, Restored, StatusIsSet, Wait};
pub use registry::{ActorInfo, Restarts};
pub(crate) use reply::{AwaitedReply, Reply};
pub(crate) use requests::{Confinement, ForkRequest, NamedChild, Parentage, SpawnRequest, Spawned, UpgradeRequest};
pub(crate) use schedule::{DueTime, MissedRounds, Schedule};
pub(crate) use secrets::{RestsOn, SecretUnavailable, SecretValue, check as check_secret};
pub use secrets::{SecretSource, Secrets};
pub(crate) use signal::{Order, OrderKind, StopSignal, Waited};
pub use status::ActorStatus;
pub(crate) use subscribers::{Following, ListenerId, Subscribers};
pub(crate) use timers::{ActorTimers, DueTimer, NoTimer, Timer};
pub(crate) use vouched::{ManifestContents, VouchedManifest, vouched_for};
pub(crate) use waits::WaitId;
#[cfg(test)]
pub(crate) use waits::Waits;
#[cfg(test)]
pub(crate) use watches::Watches;
pub(crate) use watches::{DueWatch, RecordedEnd};
