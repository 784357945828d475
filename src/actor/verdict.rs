//! The messages between an actor's thread and the supervisor: the thread reports how its incarnation went, and the
//! supervisor answers the report of an end with a verdict.

use std::sync::Arc;

use super::sleeper::Sleeper;
use super::spec::Spec;
use crate::base::id::ActorId;
use crate::base::one_shot::OneSender;
use crate::chain::Link;
use crate::chain::data::{FailureReason, StoppedBy};
use crate::manifest::RestartState;
use crate::system::{LifecycleError, Registry, Spawned, StopSignal, WaitId};

/// A report of one actor's thread to the supervisor.
pub(crate) struct Report {
    pub(crate) id: ActorId,
    pub(crate) kind: ReportKind,
}

/// The news in a report.
pub(crate) enum ReportKind {
    /// The actor has fallen asleep, and the thread is about to end.
    Asleep(Box<Sleeper>),
    /// The actor takes deliveries: its `init` has returned, or no `init` was due.
    Up,
    /// The actor goes on with this manifest and component. `before` is the build that it can go back to.
    Upgraded { spec: Arc<Spec>, before: Option<Arc<Spec>> },
    /// A call has returned under the new build: there is no way back any more.
    Proven,
    /// The incarnation failed. The thread waits for a verdict.
    Failed { reason: FailureReason, detail: String },
    /// The incarnation ended because it was ordered to. The thread waits for a verdict.
    Down,
    /// The thread is about to end. `closing` is the actor's last event, if the thread recorded one.
    Ended { closing: Option<Link> },
    /// The thread is about to end because it panicked. The chain lacks the events that the thread had not recorded yet.
    Died { detail: String },
}

/// The supervisor's decision about an actor whose incarnation is over.
pub(crate) enum Verdict {
    /// Begin another incarnation, which listens to `stop`; `reply` tells the caller who asked for the restart.
    Restart { from: RestartState, stop: Arc<StopSignal>, reply: Option<SpawnReply> },
    /// End for good. `failure` is given if the actor failed and its chain does not yet say why it is not restarted.
    End { by: StoppedBy, cause: Option<Link>, failure: Option<(FailureReason, String)> },
}

/// The answer to the caller who waits until an actor is up: a parent that spawns it, or a client that restarts it.
///
/// If it is dropped without an answer, it sends an error. So a caller never waits for an actor that got no thread, or
/// whose thread died.
pub(crate) struct SpawnReply {
    to: Option<Box<dyn FnOnce(Result<Spawned, LifecycleError>) + Send>>,
    /// The registered wait of the parent that spawns the actor.
    wait: Option<WaitId>,
}

impl SpawnReply {
    pub(crate) fn new(to: OneSender<Result<Spawned, LifecycleError>>, wait: Option<WaitId>) -> Self {
        Self { to: Some(Box::new(move |answer| to.give(answer))), wait }
    }

    pub(crate) fn calling(to: impl FnOnce(Result<Spawned, LifecycleError>) + Send + 'static) -> Self {
        Self { to: Some(Box::new(to)), wait: None }
    }

    /// A reply that answers both callers.
    pub(crate) fn both(mut one: Self, mut other: Self) -> Self {
        let (wait, callers) = (one.wait.or(other.wait), [one.to.take(), other.to.take()]);
        let to = move |answer: Result<Spawned, LifecycleError>| {
            callers.into_iter().flatten().for_each(|caller| caller(answer.clone()));
        };
        Self { to: Some(Box::new(to)), wait }
    }

    /// A reply that tells the caller, once the actor is up, that it is not what was asked for.
    pub(crate) fn refusing(mut self, why: LifecycleError) -> Self {
        let to = self.to.take();
        let to = move |answer: Result<Spawned, LifecycleError>| {
            if let Some(to) = to {
                to(answer.and(Err(why)));
            }
        };
        Self { to: Some(Box::new(to)), wait: self.wait }
    }

    /// Answers the caller.
    ///
    /// If the child is up, the parent's wait ends before the answer: the child may send its parent a request at once,
    /// and that request would look like a circle of waits if the parent still counted as waiting for the child. If the
    /// spawn went wrong, the wait stays: the parent's own next event settles it.
    pub(crate) fn answer(mut self, registry: &Registry, answer: Result<Spawned, LifecycleError>) {
        if answer.is_ok() {
            self.wait.into_iter().for_each(|wait| registry.end_wait(wait));
        }
        if let Some(to) = self.to.take() {
            to(answer);
        }
    }
}

impl Drop for SpawnReply {
    fn drop(&mut self) {
        if let Some(to) = self.to.take() {
            let why = "outcome unknown: its thread has ended without an answer";
            to(Err(LifecycleError::OutcomeUnknown(why.to_owned())));
        }
    }
}
