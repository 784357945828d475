//! Requests for a new actor, by a spawn or by a fork, and for an upgrade of one; and the answer to them.

use std::path::PathBuf;
use std::sync::Arc;

use super::label::Label;
use super::vouched::VouchedManifest;
use super::waits::WaitId;
use crate::base::id::ActorId;
use crate::chain::Link;
use crate::journal::ActorKey;
use crate::manifest::{ActorSource, ManifestChanges};

/// A new actor is wanted.
pub(crate) struct SpawnRequest {
    pub(crate) manifest: ActorSource,
    pub(crate) parentage: Option<Parentage>,
}

/// A request for a new actor that begins with another actor's earlier state.
pub(crate) struct ForkRequest {
    pub(crate) actor: ActorKey,
    /// The event after which it begins.
    pub(crate) at: u64,
    pub(crate) name: String,
    /// The manifest that the new actor is to run; without one, it runs what the other actor ran at that event.
    pub(crate) manifest: Option<ActorSource>,
    /// What is to be other than that manifest says.
    pub(crate) changes: ManifestChanges,
}

/// A request that an actor goes on with another manifest and component.
pub(crate) struct UpgradeRequest {
    pub(crate) actor: ActorKey,
    /// Without one, the manifest that the actor was started from is read again.
    pub(crate) manifest: Option<ActorSource>,
}

/// A new actor's place below another.
#[derive(Clone, Debug)]
pub(crate) struct Parentage {
    pub(crate) parent: ActorId,
    /// The id the child is to have.
    pub(crate) child: ActorId,
    /// The parent's event that spawns it.
    pub(crate) cause: Link,
    /// The parent's wait for the child's `init`.
    pub(crate) wait: WaitId,
    pub(crate) confinement: Confinement,
    pub(crate) named: Option<NamedChild>,
}

/// What a parent gives a child that it spawns with a label.
#[derive(Clone, Debug)]
pub(crate) struct NamedChild {
    pub(crate) label: Label,
    /// The state that the child begins with, in place of its manifest's.
    pub(crate) init_state: Option<Vec<u8>>,
}

/// From where an actor may spawn. The manifest and the files that it names must lie in or below one of these directories, and
/// not where any actor may write; or the operator vouches for them.
#[derive(Clone, Debug)]
pub(crate) struct Confinement {
    pub(crate) directories: Vec<PathBuf>,
    pub(crate) vouched: Arc<[VouchedManifest]>,
}

/// A new actor was spawned.
#[derive(Clone, Debug)]
pub(crate) struct Spawned {
    pub(crate) id: ActorId,
    /// The event that closed its `init`.
    pub(crate) closing: Option<Link>,
}
