//! Promises of lifecycle notices: a parent is told that its child has started, restarted, stopped or failed.

use crate::base::id::ActorId;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Caller, Failed};
use crate::chain::{ChainEvent, EventKind, Function, Link, function};
use crate::guest::wit::{ChildEvent, ChildEventKind};
use crate::journal::Owed;
use crate::system::{Delivery, Registry, Reply, Slot, StatusIsSet};

pub(crate) const HANDLE_CHILD_EVENT: &Function = function!("ntwk:theater/supervisor-handlers", "handle-child-event");

/// A notice with a reserved place in the parent's mailbox. The event that causes the notice is not recorded yet.
pub(crate) struct Notice {
    slot: Slot,
    word: &'static str,
    params: Vec<u8>,
}

impl Notice {
    /// Reserves a place in the parent's lane for notices, if there is a parent that wants notices.
    pub(crate) fn reserve(registry: &Registry, child: ActorId, kind: ChildEventKind) -> Option<Self> {
        let word = kind.word();
        let params = params(child, kind);
        let slot = registry.reserve_notice(child, HANDLE_CHILD_EVENT, params.len())?;
        Some(Self { slot, word, params })
    }

    /// The row that is written together with the event that will be the notice's cause.
    pub(crate) fn owed(&self) -> Owed {
        Owed { receiver: self.slot.receiver, notice: Some(self.word), boot: None }
    }

    /// Delivers the notice. `_set` proves that the child's status is set, so that the parent can rely on it.
    pub(crate) fn fill(self, cause: Link, _set: StatusIsSet) {
        self.slot.fill(delivery(self.params, cause));
    }
}

pub(super) fn params(child: ActorId, kind: ChildEventKind) -> Vec<u8> {
    (ChildEvent { child_id: child.to_string(), kind },).to_cbor()
}

pub(super) fn delivery(params: Vec<u8>, cause: Link) -> Delivery {
    let (function, caller, cause) = (HANDLE_CHILD_EVENT, Caller::Runtime, Some(cause));
    Delivery { function, params, caller, cause, reply: Reply::Nobody }
}

/// The kind of notice that a word of `pending` stands for. Why a child failed is read from the event.
pub(super) fn kind(word: &str, event: &ChainEvent) -> Option<ChildEventKind> {
    let failed = || {
        let failed = Failed::from_cbor(&event.data).ok().filter(|_| event.kind() == Some(EventKind::Failed))?;
        Some(ChildEventKind::Failed(format!("{}: {}", failed.reason, failed.detail)))
    };
    match word {
        "started" => Some(ChildEventKind::Started),
        "restarted" => Some(ChildEventKind::Restarted),
        "stopped" => Some(ChildEventKind::Stopped),
        "failed" => failed(),
        _ => None,
    }
}

/// Whether an event of the child such as `event` leads to this kind of notice.
pub(super) fn is_told_by(kind: &ChildEventKind, event: &ChainEvent) -> bool {
    match kind {
        ChildEventKind::Started | ChildEventKind::Restarted => {
            matches!(event.kind(), Some(EventKind::Started | EventKind::Return))
        }
        ChildEventKind::Failed(_) => event.kind() == Some(EventKind::Failed),
        ChildEventKind::Stopped => event.kind() == Some(EventKind::Stopped),
    }
}
