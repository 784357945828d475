//! The end of an incarnation, before it is recorded: why the actor went down, and who waits for the answer to the
//! transition that was cut off.

use std::sync::Arc;

use super::context::ActorContext;
use super::executor::Transition;
use super::listeners::ChangedListeners;
use super::spec::Spec;
use super::upgrade::Upgrade;
use crate::base::fail;
use crate::chain::data::FailureReason;
use crate::guest::Interruption;
use crate::journal::JournalDown;
use crate::system::{ActorFailure, Answer, LifecycleError, Order, OrderKind, Outcome, Reply, StopSignal};

/// How an incarnation ended.
pub(super) enum Down {
    /// The actor failed; `reply` belongs to the delivery that it failed on.
    Failed { reason: FailureReason, detail: String, reply: Reply },
    /// The actor was ordered to end; `reply` belongs to the transition that was aborted for the order.
    Ordered { order: Order, reply: Reply },
    /// The actor has had nothing to do for a while, and gives its thread back. Its incarnation goes on when it wakes.
    Asleep,
    /// The actor goes on with another manifest and component, as it was asked to.
    Upgraded(Box<(Upgrade, ChangedListeners)>),
    /// The runtime is shutting down. The chain stays as it is, and the next start goes on from there.
    Suspended,
    /// The actor has finished the transition that an earlier process left open, and goes on with another manifest or
    /// component.
    Succeeded(Arc<Spec>),
    /// The journal takes no more records. Nothing that the actor does from here on can be recorded, so none of it may
    /// have an effect.
    Unrecorded,
}

impl From<JournalDown> for Down {
    fn from(JournalDown: JournalDown) -> Self {
        Self::Unrecorded
    }
}

impl Down {
    /// The end of an incarnation whose live recorder could not append an event.
    pub(super) fn by(interruption: Interruption) -> Self {
        debug_assert!(matches!(interruption, Interruption::JournalDown), "a live append can fail in no other way");
        Self::Unrecorded
    }

    /// The failure of an actor that could not be brought up.
    pub(super) fn failed_to_start(reason: FailureReason, detail: String) -> Self {
        Self::Failed { reason, detail, reply: Reply::Nobody }
    }

    /// The end that an interrupted transition leads to; `reply` belongs to the delivery of the transition.
    pub(super) fn interrupted(
        context: &ActorContext,
        stop: &StopSignal,
        interruption: Interruption,
        reply: Reply,
    ) -> Self {
        match interruption {
            Interruption::Ordered => {
                let order = stop.order().expect("interrupted by an order").clone();
                if order.kind == OrderKind::Fail {
                    return Self::failed_by_children(context, reply);
                }
                Self::Ordered { order, reply }
            }
            Interruption::Suspending => {
                context.answer_unrecorded(reply, Outcome::Stopped);
                Self::Suspended
            }
            Interruption::JournalDown => Self::Unrecorded,
            Interruption::Shortage(_) => {
                let (reason, detail) = (FailureReason::Interrupted, interruption.to_string());
                Self::Failed { reason, detail, reply }
            }
            Interruption::CpuTime(_)
            | Interruption::Memory(_)
            | Interruption::TooLarge(_)
            | Interruption::NoTable(_)
            | Interruption::RecordedEnd
            | Interruption::Unanswered(_)
            | Interruption::Diverged(_) => {
                unreachable!("the guest layer turns limits into failures; the rest is of replay and rehearsal")
            }
        }
    }

    /// The failure of a parent whose children were restarted more often than it allows.
    pub(super) fn failed_by_children(context: &ActorContext, reply: Reply) -> Self {
        let supervision = &context.spec.manifest.supervision;
        let within = supervision.within.as_millis();
        let detail = format!("more than max_restarts = {} within within_ms = {within}", supervision.max_restarts);
        Self::Failed { reason: FailureReason::Restarts, detail, reply }
    }

    /// The error for a caller who waits for the actor to be up.
    pub(super) fn told_to_spawner(&self) -> LifecycleError {
        match self {
            Self::Failed { reason, detail, .. } => LifecycleError::Failed(ActorFailure::new(*reason, detail.as_str())),
            Self::Ordered { .. } => "stopped before it was up".into(),
            // Who sleeps has been up.
            Self::Suspended | Self::Succeeded(_) | Self::Upgraded(_) | Self::Asleep => LifecycleError::ShuttingDown,
            Self::Unrecorded => JournalDown.into(),
        }
    }
}

/// Answers the sender of a delivery with the outcome of its transition; `Err` if the incarnation ends with that
/// transition.
pub(super) fn close(context: &ActorContext, stop: &StopSignal, end: Transition, reply: Reply) -> Result<(), Down> {
    match end {
        Transition::Closed { deferred: Some(put_off), .. } => {
            fail::point("deferred");
            fail::point_after("deferred-committed", || _ = context.theater.journal.flush());
            context.put_off(put_off, reply);
            Ok(())
        }
        Transition::Closed { outcome, closing, rests_on, deferred: None } => {
            fail::point("closed");
            fail::point_after("closed-committed", || _ = context.theater.journal.flush());
            context.answer_as_early(reply, Answer { outcome, closing: Some(closing) }, rests_on);
            fail::point("answered");
            Ok(())
        }
        Transition::Failed { reason, detail } => Err(Down::Failed { reason, detail, reply }),
        Transition::Interrupted(interruption) => Err(Down::interrupted(context, stop, interruption, reply)),
    }
}
