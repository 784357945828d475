//! An actor's thread: it begins incarnations, serves deliveries, and ends as the supervisor decides.
//!
//! ```text
//!            ┌──────────────────────── Verdict::Restart ───────────────────────┐
//!            ▼                                                                 │
//!   begin: started, listeners, init ──▶ serve ──▶ down ── report ──▶ wait for the verdict
//!                                                  │                           │
//!                                          suspended: nothing          Verdict::End: `stopped`
//!                                            is recorded              unless it failed; joined
//! ```
//!
//! The thread outlives a failure until the supervisor has decided what becomes of the actor, so that the mailbox, with
//! the deliveries that wait in it, survives a restart. An order to stop is handled the same way: the end is recorded once
//! the supervisor says that all actors below this one are gone.
//!
//! A panic on this thread outside of the guest is a defect of Theater, and a failure of this actor alone. The thread lives
//! on, with its mailbox, its listeners, and the callers who wait for the actor's end: it reads where the chain ends,
//! records `failed` there with the reason `panic`, and waits for the verdict as after any failure. A second panic before
//! the actor is up again ends the thread; the supervisor then starts another one if the actor's policy allows it.
//!
//! An actor that has had nothing to do for a while gives its thread back, if it may ([`sleeper`](super::sleeper)). The thread
//! that wakes it serves on in the same incarnation.
//!
//! An idle actor should cost little more than the stack frames in which it waits. So large values are built and taken apart
//! in functions that have returned by then (`#[inline(never)]` keeps their frames apart), and are boxed.

mod upgrades;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, bounded};
use parking_lot::Mutex;

use super::begin::Beginner;
use super::beginning::{Again, Beginning, read_on};
use super::context::ActorContext;
use super::down::Down;
use super::ending::{IncarnationEnd, Settled};
use super::executor::Executor;
use super::listeners::{ChangedListeners, Listeners};
use super::progress::Progress;
use super::serve::{Served, Upgrading, serve, take_from_aside};
use super::sleeper::{Sleeper, SleptAt};
use super::spec::Spec;
use super::trial::Trial;
use super::upgrade::{Upgrade, UpgradeSlot};
use super::verdict::{Report, ReportKind, SpawnReply, Verdict};
use crate::base::fail;
use crate::base::id::{ActorId, Incarnation};
use crate::base::thread::panic_message;
use crate::base::wait;
use crate::chain::data::{FailureReason, StartReason};
use crate::chain::{Head, Link, StateChain};
use crate::guest::wit::ChildEventKind;
use crate::guest::{Extensions, Guest, HostState, Live, Recorder};
use crate::journal::ActorKey;
use crate::manifest::RestartState;
use crate::system::{ActorStatus, Awaited, MailboxOwner, Reply, StopSignal, TheaterHandle};

/// Everything that an actor's thread owns.
pub(crate) struct ActorRuntime {
    context: ActorContext,
    mailbox: MailboxOwner,
    stop: Arc<StopSignal>,
    verdicts: Receiver<Verdict>,
    /// Where an upgrade waits for the thread.
    upgrades: Arc<UpgradeSlot>,
    /// The build from before the newest upgrade, as long as there is a way back to it.
    before: Option<Arc<Spec>>,
    listeners: Listeners,
    progress: Progress,
}

/// What is known of an actor's earlier incarnations when its thread begins.
pub(crate) struct Lived {
    /// Whether one of them has been up.
    pub(crate) was_up: bool,
    /// Whether the actor began with the state of another one.
    pub(crate) is_fork: bool,
    /// The newest incarnation on its chain; 0 before the first.
    pub(crate) recorded: Incarnation,
    /// The build from before its newest upgrade, as long as there is a way back to it.
    pub(crate) before: Option<Arc<Spec>>,
}

/// What the thread does after an incarnation.
enum Next {
    Begin(Box<Beginning>),
    /// Go on with an incarnation that slept.
    Wake(SleptAt),
    End {
        closing: Option<Link>,
    },
    Sleep(SleptAt),
}

/// What an incarnation leaves when it is over.
struct EndedIncarnation {
    recorder: Recorder,
    state: Option<Arc<[u8]>>,
    /// The last event at which the state was kept.
    kept_at: u64,
    down: Down,
    /// The caller who waits for the actor to be up, if it could not be answered yet.
    reply: Option<SpawnReply>,
}

impl ActorRuntime {
    /// The runtime of an actor whose thread is not started yet. Reports go nowhere, and no verdict can come, until
    /// [`ActorRuntime::connect`].
    pub(crate) fn new(
        (actor, parent): (ActorKey, Option<ActorId>),
        spec: Arc<Spec>,
        theater: TheaterHandle,
        mailbox: MailboxOwner,
        stop: Arc<StopSignal>,
        Lived { was_up, is_fork, recorded, before }: Lived,
    ) -> Self {
        Self {
            context: ActorContext { actor, parent, spec, theater, report: Box::new(|_| ()), committed: Arc::default() },
            mailbox,
            stop,
            verdicts: bounded(0).1,
            upgrades: Arc::default(),
            before,
            listeners: Listeners::default(),
            progress: Progress::new(was_up, is_fork, recorded),
        }
    }

    /// Connects the runtime with the supervisor: `verdicts` come from it, and `report` takes reports to it.
    pub(crate) fn connect(&mut self, verdicts: Receiver<Verdict>, report: Box<dyn Fn(Report) + Send>) {
        (self.verdicts, self.context.report) = (verdicts, report);
    }

    /// Where an upgrade can be left for the thread.
    pub(crate) fn upgrades(&self) -> Arc<UpgradeSlot> {
        Arc::clone(&self.upgrades)
    }

    /// Lets the thread listen to another stop signal.
    pub(crate) fn listen_to(&mut self, stop: Arc<StopSignal>) {
        self.stop = stop;
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.context.spec
    }

    /// The thread's body for an actor that has lived before. The end of its chain is read from the journal here, so that
    /// the supervisor need not wait for the disk.
    pub(crate) fn run_again(mut self: Box<Self>, again: Again) {
        match self.read_on(again) {
            Some(beginning) => self.run(beginning),
            None => self.report_end(None),
        }
    }

    /// Reads from the journal where the chain goes on. `None` if that cannot be read; then all callers who wait have
    /// been told.
    #[inline(never)]
    fn read_on(&mut self, again: Again) -> Option<Box<Beginning>> {
        match read_on(&self.context, self.before.as_ref(), again) {
            Ok((beginning, trial)) => {
                self.progress.trial = trial;
                Some(beginning)
            }
            Err((why, reply)) => {
                self.cannot_go_on(&why);
                if let Some(reply) = reply {
                    reply.answer(&self.context.theater.registry, Err(why.into()));
                }
                None
            }
        }
    }

    /// The actor's history cannot be read: it fails, and its chain does not say so.
    fn cannot_go_on(&self, why: &str) {
        log::error!("actor {} cannot go on: {why}", self.context.name());
        self.mailbox.close();
        let detail = why.to_owned();
        self.context.set_status(ActorStatus::Failed { reason: FailureReason::Init, detail });
        self.context.refuse(self.mailbox.drain(), "failed", None);
    }

    /// The thread's body.
    pub(crate) fn run(self: Box<Self>, beginning: Box<Beginning>) {
        self.go_on(Next::Begin(beginning));
    }

    /// The body of the thread that wakes an actor.
    pub(crate) fn wake(self: Box<Self>, at: SleptAt) {
        self.go_on(Next::Wake(at));
    }

    fn go_on(mut self: Box<Self>, mut next: Next) {
        loop {
            let done = match next {
                Next::Begin(beginning) => catch_unwind(AssertUnwindSafe(|| {
                    let ended = self.incarnation(beginning);
                    self.after(*ended)
                })),
                Next::Wake(at) => catch_unwind(AssertUnwindSafe(|| match self.rest_of_incarnation(at) {
                    Ok(ended) => self.after(*ended),
                    Err(why) => {
                        self.cannot_go_on(&why);
                        Next::End { closing: None }
                    }
                })),
                Next::End { closing } => return self.report_end(closing),
                Next::Sleep(at) => return self.sleep(at),
            };
            next = done.unwrap_or_else(|panic| self.after_panic(panic));
        }
    }

    /// Reports that the actor sleeps, and hands over what the next thread needs.
    #[inline(never)]
    fn sleep(self: Box<Self>, at: SleptAt) {
        let Self { context, mailbox, stop, .. } = *self;
        drop(stop);
        let mailbox = mailbox.rest();
        let ActorContext { actor, report, .. } = context;
        report(Report { id: actor.id, kind: ReportKind::Asleep(Box::new(Sleeper { mailbox, at, is_called: false })) });
    }

    /// Takes back the mailbox of an actor that got no thread.
    pub(crate) fn into_mailbox(self) -> MailboxOwner {
        self.mailbox
    }

    #[inline(never)]
    fn report_end(&mut self, closing: Option<Link>) {
        self.listeners.close(&self.context);
        self.context.report(ReportKind::Ended { closing });
    }

    /// Runs one incarnation, from `started` to its end, which is not recorded yet.
    #[inline(never)]
    fn incarnation(&mut self, mut beginning: Box<Beginning>) -> Box<EndedIncarnation> {
        self.take_upgrade_up(&mut beginning);
        (self.progress.is_migrating, self.progress.takes_back) = (false, false);
        let mut executor = self.executor_of(&mut beginning);
        let Self { context, mailbox, stop, listeners, progress, .. } = &mut *self;
        let begun = Beginner { context, stop, progress, listeners }.begin(&mut executor, &mut beginning);
        let down = match begun {
            Ok(()) => {
                take_from_aside(context, mailbox);
                self.serve(&mut executor)
            }
            Err(down) => down,
        };
        self.taken_apart(executor, beginning.reply, down)
    }

    /// Takes deliveries until the incarnation is over, or until an upgrade can begin.
    fn serve(&mut self, executor: &mut Executor) -> Down {
        loop {
            let Self { context, mailbox, stop, upgrades, listeners, progress, .. } = &mut *self;
            let sleeps_after = if listeners.are_open() { None } else { context.sleeps_after() };
            let upgrading = Upgrading { slot: upgrades, is_on_trial: progress.trial.is_some() };
            match serve(context, mailbox, stop, executor, sleeps_after, &upgrading) {
                Served::Down(down) => return down,
                Served::Proven => self.end_trial(),
                Served::Upgrade(upgrade) => {
                    if let Some(prepared) = self.prepare(*upgrade) {
                        return Down::Upgraded(prepared);
                    }
                }
            }
        }
    }

    /// Runs the rest of an incarnation that slept.
    #[inline(never)]
    fn rest_of_incarnation(&mut self, SleptAt { head, kept_at }: SleptAt) -> Result<Box<EndedIncarnation>, String> {
        fail::point("waking");
        let ActorContext { actor, theater, committed, .. } = &self.context;
        let state = theater.control.newest_state(*actor);
        let state = state.map_err(|error| format!("its newest state cannot be read: {error}"))?.map(Arc::from);
        // Everything that was recorded before the actor fell asleep is on disk.
        committed.store(head.sequence + 1, Ordering::Release);
        let mut executor = self.executor(StateChain::after(actor.id, head), state, None);
        executor.kept_at(kept_at);
        if self.before.is_some() {
            let reader = self.context.theater.journal.reader().map_err(|error| error.to_string())?;
            self.progress.trial = Trial::on_chain(&self.context, &reader, self.before.as_ref())?;
        }
        let down = self.serve(&mut executor);
        Ok(self.taken_apart(executor, None, down))
    }

    fn executor_of(&mut self, beginning: &mut Beginning) -> Box<Executor> {
        let awaited = beginning.open.as_mut().and_then(|open| open.awaited.take());
        self.progress.recovering = beginning.reason == StartReason::Recovery;
        if beginning.reason == StartReason::Restart {
            self.context.metrics().iter().for_each(|metrics| metrics.restarts.add(1));
        }
        self.executor(beginning.chain.clone(), beginning.state.clone(), awaited)
    }

    #[inline(never)]
    fn executor(&self, chain: StateChain, state: Option<Arc<[u8]>>, awaited: Option<Awaited>) -> Box<Executor> {
        self.mailbox.serve_here();
        let ActorContext { actor, spec, theater, .. } = &self.context;
        let recorder = Recorder::live(chain, theater.journal.clone(), *actor);
        let live = Arc::new(self.live(awaited));
        let host = HostState::new(recorder, Arc::clone(&spec.manifest.limits), Some(live));
        let guest = Guest::new(Arc::clone(&spec.program), spec.manifest.reuse, host);
        Box::new(Executor::new(guest, state).measured(self.context.metrics(), &self.context.name()))
    }

    fn live(&self, awaited: Option<Awaited>) -> Live {
        let ActorContext { actor, spec, theater, .. } = &self.context;
        let mut extensions = Extensions::default();
        spec.handlers.iter().for_each(|handler| handler.install(&mut extensions));
        extensions.insert(Arc::clone(&spec.vouched));
        extensions.insert(spec.manifest.plain_values.clone());
        Live {
            id: actor.id,
            name: theater.registry.shown_name(actor.id).unwrap_or_else(|| spec.manifest.name.clone()),
            theater: theater.clone(),
            stop: Arc::clone(&self.stop),
            manifest_dir: spec.manifest.path().parent().unwrap_or(Path::new("")).to_owned(),
            extensions,
            recovered: Mutex::new(awaited),
        }
    }

    #[inline(never)]
    #[allow(
        clippy::boxed_local,
        reason = "the caller waits for long, and would hold in its frame what it passes by value"
    )]
    fn taken_apart(&mut self, executor: Box<Executor>, reply: Option<SpawnReply>, down: Down) -> Box<EndedIncarnation> {
        if executor.has_returned() {
            self.end_trial();
        }
        self.progress.takes_back = self.is_to_be_taken_back(&down);
        self.ending().close_mailbox_unless_restarted(&down);
        let kept_at = executor.last_kept();
        let (guest, state) = executor.into_parts();
        let mut recorder = guest.into_state().recorder;
        recorder.go_live();
        Box::new(EndedIncarnation { recorder, state, kept_at, down, reply })
    }

    fn ending(&mut self) -> IncarnationEnd<'_> {
        IncarnationEnd { context: &self.context, mailbox: &self.mailbox, progress: &mut self.progress }
    }

    /// Records how an incarnation ended, and waits for the supervisor's decision.
    #[inline(never)]
    fn after(&mut self, ended: EndedIncarnation) -> Next {
        let EndedIncarnation { mut recorder, state, kept_at, down, mut reply } = ended;
        fail::point("ended");
        let why = down.told_to_spawner();
        let settled = self.ending().settle(&mut recorder, down);
        // The spawner is answered after the end is recorded: nobody is told of an end that the chain does not have.
        if !matches!(settled, Settled::Succeeded(_) | Settled::TakenBack)
            && let Some(reply) = reply.take()
        {
            reply.answer(&self.context.theater.registry, Err(why.clone()));
        }
        match settled {
            Settled::Succeeded(spec) => {
                let chain = recorder.chain().clone();
                let reason =
                    if self.context.spec.is_same_build(&spec) { StartReason::Recovery } else { StartReason::Upgrade };
                self.adopt(&spec, ChangedListeners::default());
                let (state, migrates_from) = self.upgrade_state(state);
                let again = self.again(chain, state, RestartState::Last, reply);
                Next::Begin(Box::new(Beginning { reason, migrates_from, notice: None, ..again }))
            }
            Settled::Upgraded(prepared) => {
                let (Upgrade { spec, reply }, changed) = *prepared;
                let chain = recorder.chain().clone();
                self.adopt(&spec, changed);
                let (state, migrates_from) = self.upgrade_state(state);
                let again = self.again(chain, state, RestartState::Last, Some(reply));
                Next::Begin(Box::new(Beginning { reason: StartReason::Upgrade, migrates_from, notice: None, ..again }))
            }
            Settled::TakenBack => Next::Begin(self.taken_back(recorder.chain().clone(), reply, &why)),
            Settled::Await => match self.await_verdict(&mut recorder) {
                Ok((from, reply)) => {
                    let chain = recorder.chain().clone();
                    // What the actor begins with is its state for good, unless it is still to be migrated.
                    let is_over = |trial: &mut Box<Trial>| from == RestartState::Initial || !trial.is_unmigrated();
                    drop(self.progress.trial.take_if(is_over));
                    let program = &self.context.spec.program;
                    let migrates_from = self.progress.trial.as_ref().and_then(|trial| trial.migrates_from(program));
                    let again = self.again(chain, state, from, reply);
                    Next::Begin(Box::new(Beginning { migrates_from, ..again }))
                }
                Err(closing) => Next::End { closing },
            },
            Settled::Over => Next::End { closing: None },
            Settled::Asleep => {
                let head = recorder.chain().head().expect("an actor that was up has a history");
                Next::Sleep(SleptAt { head, kept_at })
            }
        }
    }

    /// Waits for the supervisor's verdict. `Err` means that the actor has ended, and holds its last event.
    fn await_verdict(&mut self, recorder: &mut Recorder) -> Result<(RestartState, Option<SpawnReply>), Option<Link>> {
        match wait::receive(&self.verdicts) {
            Ok(Verdict::Restart { from, stop, reply }) => {
                self.stop = stop;
                self.progress.recorded_end = None;
                // A client may have asked for the restart of an actor whose policy would not have restarted it, and
                // whose mailbox is therefore closed.
                self.mailbox.open();
                self.context.set_status(ActorStatus::Restarting);
                Ok((from, reply))
            }
            Ok(Verdict::End { by, cause, failure }) => Err(self.ending().end(recorder, by, cause, failure)),
            // The supervisor has dropped its sender: the runtime is shutting down, and the actor stays as it is.
            Err(_) => Err(None),
        }
    }

    /// The beginning of the incarnation that follows one that this thread has run.
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
            incarnation: self.progress.recorded.next(),
            state: if initial { self.context.spec.init_state.clone() } else { last },
            run_init: initial,
            migrates_from: None,
            successor: None,
            rows: None,
            cause: None,
            reply,
            notice: Some(ChildEventKind::Restarted),
            interrupted: false,
            open: None,
        }
    }

    /// Records a panic of this thread as the actor's failure, and waits for the supervisor's decision.
    #[inline(never)]
    fn after_panic(&mut self, panic: Box<dyn Any + Send>) -> Next {
        if std::mem::replace(&mut self.progress.panicked, true) {
            resume_unwind(panic);
        }
        let detail = panic_message(&*panic);
        log::error!("the thread of actor {} panicked: {detail}", self.context.name());
        let mut recorder = match self.recorder_at_the_end_of_the_chain() {
            Ok(recorder) => recorder,
            Err(why) => return self.end_unrecorded(detail, &why),
        };
        let down = Down::Failed { reason: FailureReason::Panic, detail, reply: Reply::Nobody };
        let why = down.told_to_spawner();
        self.progress.takes_back = self.is_to_be_taken_back(&down);
        self.ending().close_mailbox_unless_restarted(&down);
        match self.ending().settle(&mut recorder, down) {
            Settled::Await => {}
            Settled::TakenBack => return Next::Begin(self.taken_back(recorder.chain().clone(), None, &why)),
            Settled::Over | Settled::Succeeded(_) | Settled::Upgraded(_) | Settled::Asleep => {
                return Next::End { closing: None };
            }
        }
        let (from, reply) = match self.await_verdict(&mut recorder) {
            Ok(verdict) => verdict,
            Err(closing) => return Next::End { closing },
        };
        drop(recorder);
        let (reason, notice) = (StartReason::Restart, Some(ChildEventKind::Restarted));
        let incarnation = self.progress.recorded.next();
        let again =
            self.read_on(Again { reason, from, incarnation, reply, notice, cause: None, open: None, successor: None });
        again.map_or(Next::End { closing: None }, Next::Begin)
    }

    /// A recorder in place of the one that the panic destroyed. The chain ends with what the lost recorder had enqueued,
    /// because nothing else writes to this chain.
    fn recorder_at_the_end_of_the_chain(&self) -> Result<Recorder, String> {
        let ActorContext { actor, theater, .. } = &self.context;
        theater.journal.flush().map_err(|error| error.to_string())?;
        let reader = theater.journal.reader().map_err(|error| error.to_string())?;
        let last = reader.last_event(*actor).map_err(|error| error.to_string())?.ok_or("it has no history")?;
        let chain = StateChain::after(actor.id, Head { sequence: last.sequence, hash: last.hash });
        Ok(Recorder::live(chain, theater.journal.clone(), *actor))
    }

    fn end_unrecorded(&self, detail: String, why: &str) -> Next {
        log::error!("the end of actor {} cannot be recorded: {why}", self.context.name());
        self.mailbox.close();
        self.context.set_status(ActorStatus::Failed { reason: FailureReason::Panic, detail });
        self.context.refuse(self.mailbox.drain(), "failed", None);
        Next::End { closing: None }
    }
}
