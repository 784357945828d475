//! Realms: a journal that lives in PostgreSQL, one node that owns it, and the others that follow it.
//!
//! ```text
//!    node A (owner)                     PostgreSQL                        node B (follower)
//!      actors ─▶ writer ── append ─▶  realms: epoch, head   ◀── look ──   replica: segments, index, components
//!                                     log: the batches      ── tail ──▶
//!      guard ──── beats ──────────▶   nodes: the beats      ◀── beats ─
//!                                                                          the owner's beat stands still for a lease:
//!                                     realms: epoch + 1     ◀── take ───   last batches, then the recovery of any start
//!      its next append is refused: it ends at once
//! ```
//!
//! *The fence*: an append is one statement, which counts only while the epoch is that of the node which appends, and the log
//! ends where that node has seen it end. Output waits for its append, so a former owner can answer nobody.
//!
//! Nothing here compares the clocks of two machines. Which statements there are is in `statements`; `docs/cluster.md` says
//! what an operator does, and what is promised.

#![cfg(feature = "cli")]

mod address;
mod cluster;
mod examine;
mod fetch;
mod follower;
mod guard;
mod import;
mod look;
mod schema;
mod shared_log;
mod statements;

pub(crate) use address::{Node, NodeId, RealmName};
pub(crate) use cluster::{Cluster, ClusterError};
pub(crate) use examine::{Examined, examine};
pub(crate) use fetch::copy_all;
pub(crate) use follower::{Followed, Follower, OwnerSeen};
pub(crate) use guard::{OwnerGuard, OwnerTold};
pub(crate) use import::import;
pub(crate) use look::{NodeRow, RealmRow, bury, move_to, release, survey};
pub(crate) use schema::{check_directory, init, journal_of, open_realm};
pub(crate) use shared_log::{RetryDelay, SharedLog, TakenRealm};
