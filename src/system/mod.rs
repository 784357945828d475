//! What one actor may know of the others: who there is, how to reach them, who waits for whom, who listens.
//!
//! Two locks guard all of it, the registry's and the subscribers'. Both are private to their files; no guard leaves
//! them, and nothing is sent, joined, read or called while one is held. Nothing here knows of wasm or TOML.

mod delivery;
mod error;
mod handle;
mod mailbox;
mod on_disk;
mod pick;
mod registry;
mod reply;
mod signal;
mod status;
mod subscribers;
mod vouched;
mod waits;

pub(crate) use delivery::{Answer, Delivery, Outcome};
pub use error::{ActorFailure, LifecycleError, NotDelivered, OutcomeUnknown, RequestError};
pub use handle::{Address, TheaterHandle};
pub(crate) use handle::{Asked, Awaited, Confinement, Control, ForkRequest, Parentage, SpawnRequest, Spawned};
pub(crate) use mailbox::{Lane, Mailbox, MailboxOwner, Slot};
pub(crate) use on_disk::StartedFrom;
pub use pick::NotFound;
pub(crate) use pick::{Candidate, Picker};
pub use registry::{ActorInfo, Restarts};
pub(crate) use registry::{Entry, Refusal, Registry, Restored, StatusIsSet};
pub(crate) use reply::{AwaitedReply, NoAnswer, Reply};
pub(crate) use signal::{Order, OrderKind, StopSignal, Waited};
pub use status::ActorStatus;
pub(crate) use subscribers::{Following, ListenerId, Subscribers};
pub(crate) use vouched::{Contents, Vouched, vouched_for};
#[cfg(test)]
pub(crate) use waits::Waits;
pub(crate) use waits::{Wait, WaitId};
