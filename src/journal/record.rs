//! What can be enqueued.

use std::sync::Arc;

use crate::base::id::{ActorId, Incarnation};
use crate::chain::{ChainEvent, ComponentDigest};

/// An actor as its rows are keyed, and as everyone else knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ActorKey {
    pub(crate) key: i64,
    pub(crate) id: ActorId,
}

/// The actor's row at the start of an incarnation.
#[derive(Clone, Debug)]
pub(crate) struct ActorStarted {
    pub(crate) name: String,
    pub(crate) parent: Option<ActorId>,
    pub(crate) incarnation: Incarnation,
    pub(crate) component: ComponentDigest,
    pub(crate) manifest: Arc<str>,
    pub(crate) manifest_path: String,
}

/// The state an event led to.
#[derive(Clone, Debug)]
pub(crate) struct StateWrite {
    pub(crate) state: Option<Arc<[u8]>>,
    /// Whether this state is kept for good, beside being the newest.
    pub(crate) keep: bool,
}

/// One item of the queue.
pub(crate) enum Record {
    /// An incarnation begins; its `started` event follows.
    Started(ActorKey, ActorStarted),
    /// The actor has ended and is not to be resumed.
    Ended(ActorKey),
    /// One event, and the state it led to where that changed.
    Event(ActorKey, ChainEvent, Option<StateWrite>),
    /// A component's bytes; stored once.
    Component(ComponentDigest, Arc<[u8]>),
    /// Bytes named by their SHA-1; stored once.
    Blob([u8; 20], Arc<[u8]>),
    /// Run once everything before it is committed.
    Release(Box<dyn FnOnce() + Send>),
    /// Nothing follows.
    Close,
}

impl Record {
    /// What it counts for in the queue's bound: its payload and a little for its place.
    pub(super) fn weight(&self) -> usize {
        const PLACE: usize = 128;
        PLACE
            + match self {
                Self::Started(_, row) => row.manifest.len(),
                Self::Event(_, event, state) => {
                    let state = state.as_ref().and_then(|write| write.state.as_ref());
                    event.data.len() + state.map_or(0, |bytes| bytes.len())
                }
                Self::Component(_, bytes) | Self::Blob(_, bytes) => bytes.len(),
                Self::Ended(_) | Self::Release(_) | Self::Close => 0,
            }
    }
}
