//! An actor's thread: it begins incarnations, takes deliveries, and ends as it is told.
//!
//! ```text
//!            ┌──────────────────────── Verdict::Restart ───────────────────────┐
//!            ▼                                                                 │
//!   begin: started, listeners, init ──▶ serve ──▶ down ── report ──▶ await the verdict
//!                                                  │                           │
//!                                          suspended: nothing          Verdict::End: `stopped`
//!                                            is recorded              unless it failed; joined
//! ```
//!
//! A panic within an incarnation is a failure like any other (`panicked.rs`).
//!
//! The thread outlives a failure until the supervisor has said what is to become of the actor, so that its mailbox, and
//! what waits in it, survives a restart. An order to stop is answered the same way: the end is recorded once the
//! supervisor says that everything below is gone.
//!
//! An idle actor costs little more than the frames in which it waits, so what is large is made and taken apart in functions
//! that have returned by then, and is boxed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use parking_lot::Mutex;

use super::ending::Settled;
use super::executor::Executor;
use super::spec::Spec;
use crate::base::fail;
use crate::base::id::{ActorId, Incarnation};
use crate::base::one_shot::OneSender;
use crate::chain::data::{FailureReason, StartReason, StoppedBy};
use crate::chain::{ChainEvent, Link, StateChain};
use crate::guest::wit::ChildEventKind;
use crate::guest::{Extensions, Guest, HostState, Interruption, Live, Recorder};
use crate::handlers::Source;
use crate::journal::{ActorKey, JournalDown};
use crate::manifest::RestartState;
use crate::system::{
    ActorFailure, ActorStatus, Awaited, LifecycleError, MailboxOwner, Order, Registry, Reply, Spawned, StatusIsSet,
    StopSignal, TheaterHandle, Wait, WaitId,
};

/// What the supervisor hears of an actor.
pub(crate) struct Report {
    pub(crate) id: ActorId,
    pub(crate) kind: ReportKind,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum ReportKind {
    /// `init` is through, or was not needed.
    Up,
    /// The incarnation failed; the thread awaits a verdict.
    Failed { reason: FailureReason, detail: String },
    /// The incarnation ended as ordered; the thread awaits a verdict.
    Down,
    /// The thread is about to end. `closing` is the actor's last event, where one was recorded.
    Ended { closing: Option<Link> },
    /// The thread is about to end by a panic. What it left undone is not on the chain.
    Died { detail: String },
}

/// What is to become of an actor whose incarnation is over.
pub(crate) enum Verdict {
    Restart {
        from: RestartState,
        stop: Arc<StopSignal>,
        reply: Option<SpawnReply>,
    },
    /// `failure` where it failed, and is not restarted for a reason that its chain does not say yet.
    End {
        by: StoppedBy,
        cause: Option<Link>,
        failure: Option<(FailureReason, String)>,
    },
}

/// Who waits for an actor to be up.
///
/// Dropped without an answer, it says so: nobody is left waiting for an actor that has no thread, or whose thread died.
pub(crate) struct SpawnReply {
    to: Option<Box<dyn FnOnce(Result<Spawned, LifecycleError>) + Send>>,
    /// The wait of the parent that spawns.
    wait: Option<WaitId>,
}

/// How the thread's first incarnation begins.
pub(crate) struct Beginning {
    pub(crate) reason: StartReason,
    pub(crate) chain: StateChain,
    /// What its `started` will say. Where none is recorded, the number is still free.
    pub(crate) incarnation: Incarnation,
    pub(crate) state: Option<Arc<[u8]>>,
    pub(crate) run_init: bool,
    /// The event of the parent that spawns, or the event that is forked.
    pub(crate) cause: Option<Link>,
    pub(crate) reply: Option<SpawnReply>,
    /// What its parent is told once it is up.
    pub(crate) notice: Option<ChildEventKind>,
    /// The chain ends within a transition, which is over.
    pub(crate) interrupted: bool,
    /// The chain ends within a transition, which goes on.
    pub(crate) open: Option<Box<Open>>,
}

/// A transition that an earlier process left open.
pub(crate) struct Open {
    /// What is on the chain, from the last call that began on a new instance to the end; no `started`.
    pub(crate) script: Vec<ChainEvent>,
    /// The state before the first of these.
    pub(crate) base: Option<Arc<[u8]>>,
    /// Who waits for its end.
    pub(crate) reply: Reply,
    /// What recovery found of the host call it ends with.
    pub(crate) awaited: Option<Awaited>,
    /// The actor's wait for the answer of that.
    pub(crate) wait: Option<Wait>,
    /// How many starts in a row have resumed it and got no further.
    pub(crate) attempts: u64,
    /// The actor was asked for by name: where the transition cannot go on, the actor does.
    pub(crate) asked_for: bool,
    /// The actor goes on with this afterwards: its manifest or its component has changed.
    pub(crate) successor: Option<Arc<Spec>>,
}

/// How the chain of an actor that has lived before is to go on.
pub(crate) struct Again {
    pub(crate) reason: StartReason,
    pub(crate) from: RestartState,
    pub(crate) incarnation: Incarnation,
    pub(crate) reply: Option<SpawnReply>,
    pub(crate) notice: Option<ChildEventKind>,
    /// The parent's event that spawned it, where its `init` has never begun.
    pub(crate) cause: Option<Link>,
    pub(crate) open: Option<Box<Open>>,
}

/// The thread's own things.
pub(crate) struct ActorRuntime {
    pub(crate) actor: ActorKey,
    pub(crate) parent: Option<ActorId>,
    pub(crate) spec: Arc<Spec>,
    pub(crate) theater: TheaterHandle,
    pub(crate) mailbox: MailboxOwner,
    pub(crate) stop: Arc<StopSignal>,
    pub(crate) verdicts: Receiver<Verdict>,
    pub(crate) report: Box<dyn Fn(Report) + Send>,
    /// The runtime was started again, and the actor is not up yet: if it cannot be, the next start tries again.
    pub(crate) recovering: bool,
    pub(crate) sources: Vec<Box<dyn Source>>,
    /// What the event says that ended the last incarnation, once it is recorded.
    pub(crate) recorded_end: Option<ActorStatus>,
    /// An incarnation of it has been up: a failed `init` is no longer the end of it.
    pub(crate) was_up: bool,
    /// The newest incarnation on its chain; 0 before the first.
    pub(crate) recorded: Incarnation,
    /// It panicked, and has not been up since.
    pub(crate) panicked: bool,
    /// The transition resumed last has not survived so many starts.
    pub(crate) attempts: u64,
}

/// How an incarnation ended.
pub(super) enum Down {
    Failed {
        reason: FailureReason,
        detail: String,
        reply: Reply,
    },
    /// As ordered; `reply` is of the transition that was aborted for it.
    Ordered {
        order: Order,
        reply: Reply,
    },
    Suspended,
    /// It has finished what an earlier process left open, and goes on with another manifest or component.
    Succeeded(Arc<Spec>),
    /// The journal takes no more records: what happens from here on leaves no trace, and must have no effect.
    Unrecorded,
}

impl From<JournalDown> for Down {
    fn from(JournalDown: JournalDown) -> Self {
        Self::Unrecorded
    }
}

impl ActorRuntime {
    /// The thread's body for an actor that has lived before: what it needs is read from the journal, here, so that the
    /// supervisor need not wait for the disk.
    pub(crate) fn run_again(mut self: Box<Self>, again: Again) {
        match self.read_on(again) {
            Some(beginning) => self.run(beginning),
            None => self.say_that_it_ends(None),
        }
    }

    #[inline(never)]
    pub(super) fn read_on(&self, again: Again) -> Option<Box<Beginning>> {
        match self.read_journal(&again) {
            Ok(beginning) => {
                let Again { reply, notice, cause, open, .. } = again;
                Some(Box::new(Beginning { reply, notice, cause, open, ..beginning }))
            }
            Err(why) => {
                log::error!("actor {} cannot go on: {why}", self.spec.manifest.name);
                self.mailbox.close();
                let detail = why.clone();
                self.set_status(ActorStatus::Failed { reason: FailureReason::Init, detail });
                if let Some(reply) = again.reply {
                    reply.answer(&self.theater.registry, Err(why.into()));
                }
                self.refuse(self.mailbox.drain(), "failed", None);
                None
            }
        }
    }

    /// The thread's body.
    pub(crate) fn run(mut self: Box<Self>, mut beginning: Box<Beginning>) {
        let closing = loop {
            let next = catch_unwind(AssertUnwindSafe(|| {
                let ended = self.incarnation(beginning);
                self.after(*ended)
            }));
            match next.unwrap_or_else(|panic| self.after_panic(panic)) {
                Next::Begin(next) => beginning = next,
                Next::End { closing } => break closing,
            }
        };
        self.say_that_it_ends(closing);
    }

    /// Records how an incarnation ended, and hears what is to become of the actor.
    #[inline(never)]
    fn after(&mut self, ended: Ended) -> Next {
        let Ended { mut recorder, state, down, mut reply } = ended;
        fail::point("ended");
        let why = down.for_whoever_spawned();
        let settled = self.settle(&mut recorder, down);
        // How it ended is on the chain before anyone hears of it.
        if !matches!(settled, Settled::Succeeded(_))
            && let Some(reply) = reply.take()
        {
            reply.answer(&self.theater.registry, Err(why));
        }
        match settled {
            Settled::Succeeded(spec) => {
                self.spec = spec;
                let chain = recorder.chain().clone();
                let again = self.again(chain, state, RestartState::Last, reply);
                Next::Begin(Box::new(Beginning { reason: StartReason::Recovery, notice: None, ..again }))
            }
            Settled::Await => match self.await_verdict(&mut recorder) {
                Ok((from, reply)) => {
                    let chain = recorder.chain().clone();
                    Next::Begin(Box::new(self.again(chain, state, from, reply)))
                }
                Err(closing) => Next::End { closing },
            },
            Settled::Over => Next::End { closing: None },
        }
    }

    #[inline(never)]
    fn say_that_it_ends(&mut self, closing: Option<Link>) {
        // What they have accepted was answered above; closing them waits until the answers have left.
        self.sources.clear();
        self.theater.registry.update(self.actor.id, |entry| entry.addresses.clear());
        self.report(ReportKind::Ended { closing });
    }

    /// One incarnation, from `started` to its end, which is not recorded yet.
    #[inline(never)]
    fn incarnation(&mut self, mut beginning: Box<Beginning>) -> Box<Ended> {
        let mut executor = self.executor(&mut beginning);
        let begun = self.begin(&mut executor, &mut beginning);
        let down = match begun {
            Ok(()) => self.serve(&mut executor),
            Err(down) => down,
        };
        self.taken_apart(executor, beginning, down)
    }

    #[inline(never)]
    fn executor(&mut self, beginning: &mut Beginning) -> Box<Executor> {
        self.mailbox.serve_here();
        let recorder = Recorder::live(beginning.chain.clone(), self.theater.journal.clone(), self.actor);
        let awaited = beginning.open.as_mut().and_then(|open| open.awaited.take());
        self.recovering = beginning.reason == StartReason::Recovery;
        let live = Arc::new(self.live(awaited));
        let host = HostState::new(recorder, self.spec.manifest.limits.clone(), Some(live));
        let guest = Guest::new(Arc::clone(&self.spec.program), self.spec.manifest.reuse, host);
        let metrics = self.theater.registry.metrics(self.actor.id);
        if beginning.reason == StartReason::Restart {
            metrics.iter().for_each(|metrics| metrics.restarts.add(1));
        }
        Box::new(Executor::new(guest, beginning.state.clone()).measured(metrics, &self.spec.manifest.name))
    }

    #[inline(never)]
    fn taken_apart(&self, executor: Box<Executor>, beginning: Box<Beginning>, down: Down) -> Box<Ended> {
        self.close_mailbox_unless_it_is_kept(&down);
        let (guest, state) = executor.into_parts();
        let mut recorder = guest.into_state().recorder;
        recorder.go_live();
        Box::new(Ended { recorder, state, down, reply: beginning.reply })
    }

    fn live(&self, awaited: Option<Awaited>) -> Live {
        let mut extensions = Extensions::default();
        self.spec.handlers.iter().for_each(|handler| handler.install(&mut extensions));
        extensions.insert(Arc::clone(&self.spec.vouched));
        Live {
            id: self.actor.id,
            name: self.spec.manifest.name.clone(),
            theater: self.theater.clone(),
            stop: Arc::clone(&self.stop),
            manifest_dir: self.spec.manifest.path().parent().unwrap_or(Path::new("")).to_owned(),
            extensions,
            recovered: Mutex::new(awaited),
        }
    }

    fn again(
        &self,
        chain: StateChain,
        last: Option<Arc<[u8]>>,
        from: RestartState,
        reply: Option<SpawnReply>,
    ) -> Beginning {
        let initial = from == RestartState::Initial;
        Beginning {
            reason: StartReason::Restart,
            chain,
            incarnation: self.recorded.next(),
            state: if initial { self.spec.init_state.clone() } else { last },
            run_init: initial,
            cause: None,
            reply,
            notice: Some(ChildEventKind::Restarted),
            interrupted: false,
            open: None,
        }
    }

    pub(super) fn set_status(&self, status: ActorStatus) -> StatusIsSet {
        self.theater.registry.set_status(self.actor.id, status)
    }

    pub(super) fn report(&self, kind: ReportKind) {
        (self.report)(Report { id: self.actor.id, kind });
    }
}

/// What an incarnation leaves.
struct Ended {
    recorder: Recorder,
    state: Option<Arc<[u8]>>,
    down: Down,
    /// Whoever waits for the actor, where nothing could be said yet.
    reply: Option<SpawnReply>,
}

/// How it goes on behind an incarnation.
pub(super) enum Next {
    Begin(Box<Beginning>),
    End { closing: Option<Link> },
}

impl Down {
    fn for_whoever_spawned(&self) -> LifecycleError {
        match self {
            Self::Failed { reason, detail, .. } => LifecycleError::Failed(ActorFailure::new(*reason, detail.as_str())),
            Self::Ordered { .. } => "stopped before it was up".into(),
            Self::Suspended | Self::Succeeded(_) => LifecycleError::ShuttingDown,
            Self::Unrecorded => JournalDown.into(),
        }
    }
}

impl SpawnReply {
    pub(crate) fn new(to: OneSender<Result<Spawned, LifecycleError>>, wait: Option<WaitId>) -> Self {
        Self { to: Some(Box::new(move |answer| to.give(answer))), wait }
    }

    pub(crate) fn calling(to: impl FnOnce(Result<Spawned, LifecycleError>) + Send + 'static) -> Self {
        Self { to: Some(Box::new(to)), wait: None }
    }

    /// Answers whoever waits. Of a child that is up the parent's wait is ended first, so that the child's next request to
    /// it is no circle; what went wrong is settled by the parent's own next event.
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

pub(super) fn down_by(interruption: Interruption) -> Down {
    debug_assert!(matches!(interruption, Interruption::JournalDown), "a live append can fail in no other way");
    Down::Unrecorded
}
