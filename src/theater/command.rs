//! The commands to the supervisor thread, and the actors that they bring it.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::tree::Lately;
use crate::actor::{OpenTransition, Report, SleptAt, SpawnReply, Spec};
use crate::base::id::{ActorId, Incarnation};
use crate::base::one_shot::{OneReceiver, OneSender, one_shot};
use crate::chain::Link;
use crate::chain::data::{StartReason, StoppedBy};
use crate::guest::wit::ChildEventKind;
use crate::journal::ActorKey;
use crate::manifest::RestartState;
use crate::system::{ActorStatus, Delivery, Label, Lane, LifecycleError, RecordedEnd, Registry, WaitId};

/// What the supervisor thread is asked to do, or told.
pub(super) enum Command {
    Spawn(Box<Newborn>),
    /// The actors from an earlier runtime, parents before their children, and the deliveries that are owed to them. The
    /// sender is dropped once all of them are listed.
    Recover(Vec<(Newborn, Comeback)>, Vec<(ActorId, Lane, Delivery)>, Sender<()>),
    Stop {
        id: ActorId,
        by: StoppedBy,
        cause: Option<Link>,
        reply: ChangeReply,
    },
    Restart {
        id: ActorId,
        by: StoppedBy,
        cause: Option<Link>,
        reply: ChangeReply,
    },
    /// Let an actor go on with another manifest and component.
    Upgrade {
        id: ActorId,
        spec: Arc<Spec>,
        reply: SpawnReply,
    },
    /// Take an actor, and all actors below it, off the list; all of them have ended.
    Forget {
        id: ActorId,
        reply: OneSender<Result<Vec<ActorKey>, LifecycleError>>,
    },
    /// Somebody has roused an actor that was asleep.
    Wake(ActorId),
    /// A report from the thread of this number. Reports from an earlier thread of the same actor are ignored.
    Report(u64, Report),
    /// Somebody wants to know whether the supervisor works.
    Ping(Sender<()>),
    Shutdown,
}

/// An actor ready to be started.
pub(super) struct Newborn {
    pub(super) actor: ActorKey,
    pub(super) spec: Arc<Spec>,
    pub(super) parent: Option<ActorId>,
    /// The name that its parent gives it.
    pub(super) label: Option<Label>,
    /// The parent's event that spawns the actor; for a fork, the event that is forked.
    pub(super) cause: Option<Link>,
    /// The actor first begins, or first began, with another actor's state, and without an `init` of its own.
    pub(super) is_fork: bool,
    /// The digest of the rows that a fork begins with.
    pub(super) rows: Option<[u8; 32]>,
    /// The build from before its newest upgrade, as long as there is a way back to it.
    pub(super) before: Option<Arc<Spec>>,
    /// If the actor existed in an earlier runtime: how its chain goes on.
    pub(super) again: Option<FormerLife>,
    pub(super) reply: Option<SpawnReply>,
}

/// How an actor from an earlier runtime goes on.
pub(super) struct FormerLife {
    pub(super) reason: StartReason,
    pub(super) from: RestartState,
    /// The newest incarnation on the actor's chain.
    pub(super) incarnation: Incarnation,
    /// When that incarnation began, in milliseconds since the Unix epoch.
    pub(super) began_ms: u64,
    /// Whether an incarnation of the actor has ever been up.
    pub(super) was_up: bool,
    /// Whether the actor's chain says that the actor is alive.
    pub(super) was_alive: bool,
    /// Whether an operator has paused it.
    pub(super) is_paused: bool,
    /// How it has ended for good, if it has.
    pub(super) ended: Option<RecordedEnd>,
    /// The notice that the parent gets once the actor is up.
    pub(super) notice: Option<ChildEventKind>,
    pub(super) lately: Lately,
    pub(super) open: Option<Box<OpenTransition>>,
    /// The manifest and component that the actor goes on with after it has begun.
    pub(super) successor: Option<Arc<Spec>>,
}

/// Whether an actor from an earlier runtime runs again.
pub(super) enum Comeback {
    Runs,
    /// It has nothing to do, and may sleep. Nothing is recorded.
    Sleeps(SleptAt),
    /// The actor had stopped or failed. It is listed, and can be restarted.
    Listed(ActorStatus),
}

/// The answer to the caller who waits for a stop or a restart.
pub(super) struct ChangeReply {
    to: OneSender<Result<Option<Link>, LifecycleError>>,
    wait: Option<(WaitId, Arc<Registry>)>,
}

impl ChangeReply {
    /// A reply, and where the caller waits for it. `wait` is the registered wait of a parent that asks.
    pub(super) fn new(
        wait: Option<WaitId>,
        registry: &Arc<Registry>,
    ) -> (Self, OneReceiver<Result<Option<Link>, LifecycleError>>) {
        let (to, answer) = one_shot();
        (Self { to, wait: wait.map(|wait| (wait, Arc::clone(registry))) }, answer)
    }

    /// Answers the caller.
    ///
    /// If the change is done, the parent's wait ends before the answer: the child may send its parent a request at once,
    /// and that request would look like a circle of waits if the parent still counted as waiting for the child. If the
    /// change went wrong, the wait stays: the parent's own next event settles it.
    pub(super) fn give(self, answer: Result<Option<Link>, LifecycleError>) {
        if let Some((wait, registry)) = self.wait.filter(|_| answer.is_ok()) {
            registry.end_wait(wait);
        }
        self.to.give(answer);
    }
}
