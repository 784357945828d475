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
//! The thread outlives a failure until the supervisor has said what is to become of the actor, so that its mailbox, and
//! what waits in it, survives a restart. An order to stop is answered the same way: the end is recorded once the
//! supervisor says that everything below is gone.

use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, select_biased};

use super::executor::{Executor, Transition};
use super::spec::Spec;
use crate::base::clock;
use crate::base::id::{ActorId, Incarnation};
use crate::chain::cbor::Cbor;
use crate::chain::data::{
    Caller, Failed, FailureReason, NamedLimits, NamedState, StartReason, Started, Stopped, StoppedBy,
};
use crate::chain::{EventKind, Head, Link, StateChain};
use crate::guest::wit::{ChildEvent, ChildEventKind};
use crate::guest::{Extensions, Guest, HostState, Interruption, Live, Recorder};
use crate::handlers::{ActorRef, HANDLE_CHILD_EVENT, INIT, Source};
use crate::journal::{ActorKey, ActorStarted, JournalDown, Record};
use crate::manifest::{RestartPolicy, RestartState};
use crate::system::{
    ActorStatus, Answer, Delivery, MailboxOwner, Order, OrderKind, Outcome, Registry, Reply, Spawned, StopSignal,
    TheaterHandle, WaitId,
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
    Failed { by_init: bool },
    /// The incarnation ended as ordered; the thread awaits a verdict.
    Down,
    /// The thread is about to end. `closing` is the actor's last event, where one was recorded.
    Ended { closing: Option<Link> },
}

/// What is to become of an actor whose incarnation is over.
pub(crate) enum Verdict {
    Restart { from: RestartState, stop: Arc<StopSignal>, reply: Option<SpawnReply> },
    End { by: StoppedBy, cause: Option<Link> },
}

/// Who waits for an actor to be up.
pub(crate) struct SpawnReply {
    to: Box<dyn FnOnce(Result<Spawned, String>) + Send>,
    /// The wait of the parent that spawns; taken back before it is answered.
    wait: Option<(ActorId, WaitId)>,
}

/// How the thread's first incarnation begins.
pub(crate) struct Beginning {
    pub(crate) reason: StartReason,
    pub(crate) chain: StateChain,
    pub(crate) incarnation: Incarnation,
    pub(crate) state: Option<Arc<[u8]>>,
    pub(crate) run_init: bool,
    /// The event of the parent that spawns.
    pub(crate) cause: Option<Link>,
    pub(crate) reply: Option<SpawnReply>,
    /// The chain ends in the middle of a transition, which is over.
    pub(crate) interrupted: bool,
}

/// How the chain of an actor that has lived before is to go on.
pub(crate) struct Again {
    pub(crate) reason: StartReason,
    pub(crate) from: RestartState,
    pub(crate) incarnation: Incarnation,
    pub(crate) reply: Option<SpawnReply>,
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
}

/// How an incarnation ended.
enum Down {
    Failed {
        reason: FailureReason,
        detail: String,
        by_init: bool,
        reply: Reply,
    },
    /// As ordered; `reply` is of the transition that was aborted for it.
    Ordered {
        order: Order,
        reply: Reply,
    },
    Suspended,
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
    pub(crate) fn run_again(self, again: Again) {
        match self.read_journal(&again) {
            Ok(beginning) => self.run(Beginning { reply: again.reply, ..beginning }),
            Err(why) => {
                log::error!("actor {} cannot go on: {why}", self.spec.manifest.name);
                self.mailbox.close();
                let detail = why.clone();
                self.set_status(ActorStatus::Failed { reason: FailureReason::Init, detail });
                if let Some(reply) = again.reply {
                    reply.answer(&self.theater.registry, Err(why));
                }
                self.refuse(self.mailbox.drain(), "failed", None);
                self.report(ReportKind::Ended { closing: None });
            }
        }
    }

    fn read_journal(&self, again: &Again) -> Result<Beginning, String> {
        self.theater.journal.flush().map_err(|error| error.to_string())?;
        let reader = self.theater.journal.reader().map_err(|error| error.to_string())?;
        let unreadable = |error: rusqlite::Error| format!("its history cannot be read: {error}");
        let last = reader.last_event(self.actor).map_err(unreadable)?.ok_or("it has no history")?;
        let initial = again.from == RestartState::Initial;
        let state = if initial {
            self.spec.init_state.clone()
        } else {
            reader.newest_state(self.actor).map_err(unreadable)?.map(Arc::from)
        };
        let head = Head { sequence: last.sequence, hash: last.hash };
        Ok(Beginning {
            reason: again.reason,
            chain: StateChain::behind(self.actor.id, head),
            incarnation: again.incarnation,
            state,
            run_init: initial,
            cause: None,
            reply: None,
            interrupted: matches!(last.kind(), Some(EventKind::Call | EventKind::Intent | EventKind::HostCall)),
        })
    }

    /// The thread's body.
    pub(crate) fn run(mut self, beginning: Beginning) {
        let mut next = Some(beginning);
        let mut closing = None;
        while let Some(beginning) = next.take() {
            let incarnation = beginning.incarnation;
            let (mut recorder, state, down) = self.incarnation(beginning);
            closing = match self.settle(&mut recorder, down) {
                Settled::Await => match self.await_verdict(&mut recorder) {
                    Ok((from, reply)) => {
                        next = Some(self.again(recorder.chain().clone(), incarnation, state, from, reply));
                        None
                    }
                    Err(closing) => closing,
                },
                Settled::Over => None,
            };
        }
        // What they have accepted was answered above; closing them waits until the answers have left.
        self.sources.clear();
        self.theater.registry.update(self.actor.id, |entry| entry.addresses.clear());
        self.report(ReportKind::Ended { closing });
    }

    /// One incarnation, from `started` to its end, which is not recorded yet.
    fn incarnation(&mut self, mut beginning: Beginning) -> (Recorder, Option<Arc<[u8]>>, Down) {
        let journal = self.theater.journal.clone();
        let chain = beginning.chain.clone();
        let recorder = Recorder::live(chain, journal, self.actor);
        let reply = beginning.reply.take();
        let state = beginning.state.clone();
        self.recovering = beginning.reason == StartReason::Recovery;
        let host = HostState::new(recorder, self.spec.manifest.limits.clone(), Some(Arc::new(self.live())));
        let guest = Guest::new(Arc::clone(&self.spec.program), self.spec.manifest.reuse, host);
        let mut executor = Executor::new(guest, state);
        let up = self.begin(&mut executor, &beginning);
        let down = match up {
            Ok(closing) => {
                self.is_up(&beginning, closing, reply);
                self.serve(&mut executor)
            }
            Err(down) => {
                if let Some(reply) = reply {
                    reply.answer(&self.theater.registry, Err(down.for_whoever_spawned()));
                }
                down
            }
        };
        self.close_mailbox_unless_it_is_kept(&down);
        let (guest, state) = executor.into_parts();
        (guest.into_state().recorder, state, down)
    }

    fn live(&self) -> Live {
        let mut extensions = Extensions::default();
        self.spec.handlers.iter().for_each(|handler| handler.install(&mut extensions));
        Live {
            id: self.actor.id,
            name: self.spec.manifest.name.clone(),
            theater: self.theater.clone(),
            stop: Arc::clone(&self.stop),
            manifest_dir: self.spec.manifest.path().parent().unwrap_or(Path::new("")).to_owned(),
            extensions,
        }
    }

    /// Records the beginning, starts the listeners, runs `init` where it is due. Returns the event that closed it.
    fn begin(&mut self, executor: &mut Executor, beginning: &Beginning) -> Result<Option<Link>, Down> {
        self.record_started(executor, beginning)?;
        let failed = |reason, detail| Down::Failed { reason, detail, by_init: true, reply: Reply::Nobody };
        self.start_listeners().map_err(|why| failed(FailureReason::Init, why))?;
        if !beginning.run_init {
            return Ok(executor.recorder().chain().head_link());
        }
        let params = (self.actor.id.to_string(),).to_cbor();
        match executor.transition(INIT, params, Caller::Runtime, beginning.cause.clone()) {
            Transition::Closed { outcome: Outcome::Refused(message), .. } => Err(failed(FailureReason::Init, message)),
            Transition::Closed { closing, .. } => Ok(Some(closing)),
            Transition::Failed { reason, detail } => Err(failed(reason, detail)),
            Transition::Interrupted(interruption) => Err(self.interrupted(interruption, Reply::Nobody)),
        }
    }

    /// Listeners outlive an incarnation: what they accept meanwhile waits in the mailbox for the next.
    fn start_listeners(&mut self) -> Result<(), String> {
        if !self.sources.is_empty() {
            return Ok(());
        }
        let actor = ActorRef {
            id: self.actor.id,
            name: self.spec.manifest.name.as_str().into(),
            limits: Arc::new(self.spec.manifest.limits.clone()),
            theater: self.theater.clone(),
        };
        for handler in &self.spec.handlers {
            let source = handler.start(&actor);
            self.sources
                .extend(source.map_err(|why| self.spec.manifest.handler_error(handler.name(), why).to_string())?);
        }
        let addresses = self.sources.iter().map(|source| source.address()).collect();
        self.theater.registry.update(self.actor.id, |entry| entry.addresses = addresses);
        Ok(())
    }

    fn record_started(&self, executor: &mut Executor, beginning: &Beginning) -> Result<(), Down> {
        let journal = &self.theater.journal;
        let (manifest, state) = (&self.spec.manifest, beginning.state.as_deref());
        journal.enqueue(Record::Component(self.spec.digest(), Arc::clone(self.spec.program.component())))?;
        let row = ActorStarted {
            name: manifest.name.clone(),
            parent: self.parent,
            incarnation: beginning.incarnation,
            component: self.spec.digest(),
            manifest: Arc::clone(manifest.text()),
            manifest_path: manifest.path().display().to_string(),
        };
        journal.enqueue(Record::Started(self.actor, row))?;
        // Counted from here on, whether or not it comes up.
        self.theater.registry.update(self.actor.id, |entry| entry.incarnation = beginning.incarnation);
        let recorder = executor.recorder();
        if beginning.interrupted {
            let detail = "the process ended while the guest ran".to_owned();
            let failed = Failed { detail, reason: FailureReason::Interrupted, dropped: Vec::new() };
            recorder.record("failed", failed.to_cbor(), None).map_err(down_by)?;
        }
        let named = NamedState::of(state);
        if let (NamedState::Digest { sha1, .. }, Some(state)) = (&named, &beginning.state) {
            journal.enqueue(Record::Blob(*sha1, Arc::clone(state)))?;
        }
        let started = Started {
            id: self.actor.id,
            name: manifest.name.clone(),
            state: named,
            limits: NamedLimits::of(manifest.limits.entries()),
            parent: self.parent,
            reason: beginning.reason,
            resumes: false,
            manifest: manifest.text().to_string(),
            component: self.spec.digest(),
            incarnation: beginning.incarnation,
        };
        // The newest state is this one: a restart from `initial` must not find a later one after a crash.
        let write = crate::journal::StateWrite { state: beginning.state.clone(), keep: true };
        recorder.record("started", started.to_cbor(), Some(write)).map_err(down_by)?;
        Ok(())
    }

    fn is_up(&mut self, beginning: &Beginning, closing: Option<Link>, reply: Option<SpawnReply>) {
        self.recovering = false;
        self.theater.registry.update(self.actor.id, |entry| {
            entry.since_ms = clock::unix_ms();
            // An order to stop may have come meanwhile; it stands.
            if matches!(entry.status, ActorStatus::Starting | ActorStatus::Restarting) {
                entry.status = ActorStatus::Running;
            }
        });
        match beginning.reason {
            StartReason::Spawn | StartReason::Fork => self.notify(ChildEventKind::Started, closing.clone()),
            StartReason::Restart => self.notify(ChildEventKind::Restarted, closing.clone()),
            StartReason::Recovery => {}
        }
        self.report(ReportKind::Up);
        if let Some(reply) = reply {
            reply.answer(&self.theater.registry, Ok(Spawned { id: self.actor.id, closing }));
        }
    }

    /// Takes deliveries, one after the other, until something ends the incarnation.
    fn serve(&mut self, executor: &mut Executor) -> Down {
        loop {
            if let Some(order) = self.stop.order() {
                match order.kind {
                    OrderKind::Stop | OrderKind::Cycle => {
                        return Down::Ordered { order: order.clone(), reply: Reply::Nobody };
                    }
                    OrderKind::Fail => return self.failed_by_children(Reply::Nobody),
                    // What actors asked of each other before is still worked on, while there is time.
                    OrderKind::Suspend if self.mailbox.is_empty() || self.stop.overdue().is_some() => {
                        return Down::Suspended;
                    }
                    OrderKind::Suspend => {}
                }
            }
            let Some(delivery) = self.next_delivery() else { continue };
            self.mailbox.taken(&delivery);
            if !delivery.reply.claim() {
                continue;
            }
            let Delivery { function, params, caller, cause, reply } = delivery;
            match executor.transition(function, params, caller, cause) {
                Transition::Closed { outcome, closing } => {
                    self.answer(reply, Answer { outcome, closing: Some(closing) });
                }
                Transition::Failed { reason, detail } => {
                    return Down::Failed { reason, detail, by_init: false, reply };
                }
                Transition::Interrupted(interruption) => return self.interrupted(interruption, reply),
            }
        }
    }

    /// The next notice, else the next delivery; nothing where an order came first.
    fn next_delivery(&self) -> Option<Delivery> {
        let MailboxOwner { notices, mail, .. } = &self.mailbox;
        select_biased! {
            recv(self.stop.woken()) -> _ => None,
            recv(notices) -> delivery => delivery.ok(),
            recv(mail) -> delivery => delivery.ok(),
            default(std::time::Duration::from_millis(if self.stop.order().is_some() { 1 } else { 60_000 })) => None,
        }
    }

    fn interrupted(&self, interruption: Interruption, reply: Reply) -> Down {
        match interruption {
            Interruption::Ordered => {
                let order = self.stop.order().expect("interrupted by an order").clone();
                if order.kind == OrderKind::Fail {
                    return self.failed_by_children(reply);
                }
                Down::Ordered { order, reply }
            }
            Interruption::Suspending => {
                self.answer_now(reply, Outcome::Stopped);
                Down::Suspended
            }
            Interruption::JournalDown => Down::Unrecorded,
            Interruption::CpuTime(_)
            | Interruption::Memory(_)
            | Interruption::TooLarge(_)
            | Interruption::RecordedEnd
            | Interruption::Diverged(_) => {
                unreachable!("the guest layer turns limits into failures; the rest is replay's")
            }
        }
    }

    fn failed_by_children(&self, reply: Reply) -> Down {
        let supervision = &self.spec.manifest.supervision;
        let within = supervision.within.as_millis();
        let detail = format!("more than max_restarts = {} within within_ms = {within}", supervision.max_restarts);
        Down::Failed { reason: FailureReason::Restarts, detail, by_init: false, reply }
    }

    /// A restart keeps the queue; every other end refuses what comes from now on.
    fn close_mailbox_unless_it_is_kept(&self, down: &Down) {
        let kept = match down {
            Down::Failed { by_init, .. } => !by_init && self.may_be_restarted(),
            Down::Ordered { order, .. } => order.kind == OrderKind::Cycle,
            Down::Suspended | Down::Unrecorded => false,
        };
        if !kept {
            self.mailbox.close();
        }
    }

    fn may_be_restarted(&self) -> bool {
        match self.spec.manifest.supervision.restart {
            RestartPolicy::Temporary => false,
            RestartPolicy::Transient | RestartPolicy::Permanent => true,
        }
    }

    /// Records how the incarnation ended, as far as that is settled, and reports it.
    fn settle(&mut self, recorder: &mut Recorder, down: Down) -> Settled {
        match down {
            Down::Failed { reason, detail, by_init, reply } => {
                let kept = !by_init && self.may_be_restarted();
                let dropped = match self.spec.manifest.supervision.restart_state {
                    _ if !kept => self.mailbox.drain(),
                    RestartState::Last => Vec::new(),
                    // What was meant for the state that is given up does not reach the new one.
                    RestartState::Initial => self.mailbox.take_waiting(),
                };
                let failed = Failed { detail: detail.clone(), reason, dropped: causes(&dropped) };
                log::warn!("actor {} failed: {reason}: {detail}", self.spec.manifest.name);
                let Ok(closing) = recorder.record("failed", failed.to_cbor(), None) else { return Settled::Over };
                let status = ActorStatus::Failed { reason, detail: detail.clone() };
                self.recorded_end = Some(status.clone());
                self.set_status(if kept { ActorStatus::Restarting } else { status });
                let outcome = Outcome::Failed(format!("{reason}: {detail}"));
                self.answer(reply, Answer { outcome, closing: Some(closing.clone()) });
                self.refuse(dropped, "failed", Some(&closing));
                self.notify(ChildEventKind::Failed(format!("{reason}: {detail}")), Some(closing));
                self.report(ReportKind::Failed { by_init });
                Settled::Await
            }
            Down::Ordered { order, reply } => {
                if order.kind == OrderKind::Cycle {
                    let stopped = Stopped { by: order.by, cause: order.cause, dropped: Vec::new() };
                    let Ok(closing) = recorder.record("stopped", stopped.to_cbor(), None) else { return Settled::Over };
                    self.recorded_end = Some(ActorStatus::Stopped);
                    self.set_status(ActorStatus::Restarting);
                    self.notify(ChildEventKind::Stopped, Some(closing));
                }
                self.answer(reply, Answer { outcome: Outcome::Stopped, closing: None });
                self.report(ReportKind::Down);
                Settled::Await
            }
            Down::Suspended | Down::Unrecorded => {
                for delivery in self.mailbox.drain() {
                    self.answer_now(delivery.reply, Outcome::Dropped("the runtime is shutting down".into()));
                }
                Settled::Over
            }
        }
    }

    /// Waits for the supervisor. `Err` is the end, with the last event.
    fn await_verdict(&mut self, recorder: &mut Recorder) -> Result<(RestartState, Option<SpawnReply>), Option<Link>> {
        match self.verdicts.recv() {
            Ok(Verdict::Restart { from, stop, reply }) => {
                self.stop = stop;
                self.recorded_end = None;
                Ok((from, reply))
            }
            Ok(Verdict::End { by, cause }) => Err(self.end(recorder, by, cause)),
            // The supervisor is gone: the runtime is suspended with this actor as it is.
            Err(_) => Err(None),
        }
    }

    /// Ends for good: what still waits is named and answered.
    fn end(&mut self, recorder: &mut Recorder, by: StoppedBy, cause: Option<Link>) -> Option<Link> {
        self.mailbox.close();
        let dropped = self.mailbox.drain();
        let mut closing = recorder.chain().head_link();
        match self.recorded_end.take() {
            // The end is on the chain, and nothing was lost since.
            Some(status) if dropped.is_empty() => self.set_status(status),
            Some(_) | None => {
                let stopped = Stopped { by, cause, dropped: causes(&dropped) };
                let Ok(stopped) = recorder.record("stopped", stopped.to_cbor(), None) else { return None };
                closing = Some(stopped.clone());
                self.set_status(ActorStatus::Stopped);
                self.notify(ChildEventKind::Stopped, Some(stopped));
            }
        }
        if !self.recovering && self.theater.journal.enqueue(Record::Ended(self.actor)).is_err() {
            return None;
        }
        self.refuse(dropped, "was stopped", closing.as_ref());
        closing
    }

    fn again(
        &self,
        chain: StateChain,
        before: Incarnation,
        last: Option<Arc<[u8]>>,
        from: RestartState,
        reply: Option<SpawnReply>,
    ) -> Beginning {
        let initial = from == RestartState::Initial;
        Beginning {
            reason: StartReason::Restart,
            chain,
            incarnation: before.next(),
            state: if initial { self.spec.init_state.clone() } else { last },
            run_init: initial,
            cause: None,
            reply,
            interrupted: false,
        }
    }

    fn set_status(&self, status: ActorStatus) {
        self.theater.registry.update(self.actor.id, |entry| entry.status = status);
    }

    fn report(&self, kind: ReportKind) {
        (self.report)(Report { id: self.actor.id, kind });
    }

    /// Tells the parent, if it wants to know, through its lane for notices.
    fn notify(&self, kind: ChildEventKind, cause: Option<Link>) {
        let params = (ChildEvent { child_id: self.actor.id.to_string(), kind },).to_cbor();
        let slot = self.theater.registry.reserve_notice(self.actor.id, HANDLE_CHILD_EVENT, params.len());
        if let Some(slot) = slot {
            let (function, caller) = (HANDLE_CHILD_EVENT, Caller::Runtime);
            slot.fill(Delivery { function, params, caller, cause, reply: Reply::Nobody });
        }
    }

    fn refuse(&self, dropped: Vec<Delivery>, why: &str, closing: Option<&Link>) {
        for delivery in dropped {
            let outcome = Outcome::Dropped(why.to_owned());
            self.answer(delivery.reply, Answer { outcome, closing: closing.cloned() });
        }
    }

    /// Answers what the chain has an event for: actors at once, the outside after the commit.
    fn answer(&self, reply: Reply, answer: Answer) {
        match reply {
            Reply::Nobody => {}
            Reply::Actor { waiter, wait, to, .. } => {
                // The wait goes before the answer: else the answered actor's next request could look like a circle.
                self.theater.registry.end_wait(waiter, wait);
                if to.send(answer).is_err() {
                    log::info!("an answer of {} to {waiter} came after its deadline and is dropped", self.actor.id);
                }
            }
            Reply::Outside { to, .. } => {
                // Nobody may be left to hear it. A journal that is down drops the answer, as it must.
                let _ = self.theater.journal.release(move || _ = to.send(answer));
            }
        }
    }

    /// Answers something that leaves no trace: the runtime is being suspended.
    fn answer_now(&self, reply: Reply, outcome: Outcome) {
        match reply {
            Reply::Outside { to, .. } => _ = to.send(Answer { outcome, closing: None }),
            // An actor that waits is suspended itself; dropping its reply tells it.
            Reply::Actor { .. } | Reply::Nobody => {}
        }
    }
}

/// What remains to be done after an incarnation's end was settled.
enum Settled {
    Await,
    Over,
}

impl Down {
    fn for_whoever_spawned(&self) -> String {
        match self {
            Self::Failed { reason: FailureReason::Init, detail, .. } => detail.clone(),
            Self::Failed { reason, detail, .. } => format!("{reason}: {detail}"),
            Self::Ordered { .. } => "stopped before it was up".into(),
            Self::Suspended => "the runtime is shutting down".into(),
            Self::Unrecorded => JournalDown.to_string(),
        }
    }
}

impl SpawnReply {
    pub(crate) fn new(to: Sender<Result<Spawned, String>>, wait: Option<(ActorId, WaitId)>) -> Self {
        // Whoever asked may have stopped waiting.
        Self { to: Box::new(move |answer| _ = to.send(answer)), wait }
    }

    pub(crate) fn calling(to: impl FnOnce(Result<Spawned, String>) + Send + 'static) -> Self {
        Self { to: Box::new(to), wait: None }
    }

    /// Answers whoever waits; a parent's wait is taken back first, so that the child's next request to it is no circle.
    pub(crate) fn answer(self, registry: &Registry, answer: Result<Spawned, String>) {
        if let Some((parent, wait)) = self.wait {
            registry.end_wait(parent, wait);
        }
        (self.to)(answer);
    }
}

fn causes(dropped: &[Delivery]) -> Vec<Option<Link>> {
    dropped.iter().map(|delivery| delivery.cause.clone()).collect()
}

fn down_by(interruption: Interruption) -> Down {
    debug_assert!(matches!(interruption, Interruption::JournalDown), "a live append can fail in no other way");
    Down::Unrecorded
}
