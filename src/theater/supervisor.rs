//! The supervisor thread: takes commands and reports, asks the tree, and carries out what it says.
//!
//! It never waits for an actor: orders are signals, verdicts go through channels with room, a thread is joined once it
//! has said that it ends.

mod failures;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use parking_lot::Mutex;

use super::budget::{Budget, Cost};
use super::control::ChangeReply;
use super::tree::{Action, GivenUp, Input, Lately, Tree};
use crate::actor::{ActorRuntime, Again, Beginning, Open, Report, ReportKind, SpawnReply, Spec, Verdict};
use crate::base::clock;
use crate::base::fail;
use crate::base::id::{ActorId, Incarnation};
use crate::base::one_shot::OneSender;
use crate::base::thread::{self, JoinHandle};
use crate::base::wait;
use crate::chain::data::{FailureReason, StartReason, StoppedBy};
use crate::chain::{Link, StateChain};
use crate::guest::THREAD_STACK_BYTES;
use crate::guest::wit::ChildEventKind;
use crate::journal::ActorKey;
use crate::manifest::{RestartPolicy, RestartState};
use crate::system::{
    ActorEntry, ActorStatus, Delivery, Lane, LifecycleError, Mailbox, MailboxOwner, Order, OrderKind, Restored,
    Spawned, StopSignal, TheaterHandle,
};

/// What the thread is asked to do, or told.
pub(super) enum Command {
    Spawn(Box<Newborn>),
    /// The actors from before, parents before their children, and what is owed to them. The sender goes once all are
    /// listed.
    Recover(Vec<(Newborn, Return)>, Vec<(ActorId, Lane, Delivery)>, Sender<()>),
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
    /// An actor that has ended, with all below it, is listed no longer.
    Forget {
        id: ActorId,
        reply: OneSender<Result<Vec<ActorKey>, LifecycleError>>,
    },
    /// From the thread of this number: an actor's earlier one has nothing to say any more.
    Report(u64, Report),
    Shutdown,
}

/// An actor ready to be started.
pub(super) struct Newborn {
    pub(super) actor: ActorKey,
    pub(super) spec: Arc<Spec>,
    pub(super) parent: Option<ActorId>,
    /// The event it comes from: of the parent that spawns it, or the one that is forked.
    pub(super) cause: Option<Link>,
    /// It begins with another actor's state, and no `init` of its own.
    pub(super) is_fork: bool,
    /// It has lived before: its chain goes on.
    pub(super) again: Option<Before>,
    pub(super) reply: Option<SpawnReply>,
}

/// How an actor that has lived before goes on.
pub(super) struct Before {
    pub(super) reason: StartReason,
    pub(super) from: RestartState,
    /// The newest on its chain.
    pub(super) incarnation: Incarnation,
    /// Whether an incarnation of it has ever been up.
    pub(super) was_up: bool,
    /// Its chain says that it lives.
    pub(super) was_alive: bool,
    /// What its parent is told once it is up.
    pub(super) notice: Option<ChildEventKind>,
    pub(super) lately: Lately,
    pub(super) open: Option<Box<Open>>,
}

/// Whether an actor from before runs again.
pub(super) enum Return {
    Runs,
    /// It had stopped or failed: it is listed, and can be restarted.
    Listed(ActorStatus),
}

/// An actor that is registered and has no thread yet.
struct Registered {
    id: ActorId,
    mailbox: MailboxOwner,
    first: First,
    was_up: bool,
    /// Why it does not run now, though it is there: it is one from before, for which this machine has no room.
    left_out: Option<String>,
}

/// An actor as the supervisor knows it.
struct Supervised {
    actor: ActorKey,
    spec: Arc<Spec>,
    parent: Option<ActorId>,
    stop: Arc<StopSignal>,
    thread: Option<Thread>,
    /// What is to run once there is a thread for it.
    unstarted: Option<Unstarted>,
    /// Of its newest thread.
    thread_number: u64,
    /// How it failed last.
    failure: Option<(FailureReason, String)>,
    /// It is over, and its chain does not say so.
    is_unrecorded: bool,
    /// Who waits for its end.
    stoppers: Vec<ChangeReply>,
    /// Who waits for it to be up again.
    restarters: Vec<ChangeReply>,
}

/// An actor's thread that the machine has no room for, or that there is none for yet, as it is to begin.
struct Unstarted {
    runtime: Box<ActorRuntime>,
    first: First,
}

impl Unstarted {
    /// The body of the actor's thread. A function of its own, so that what it moves is no part of the frames of an actor
    /// that waits.
    #[inline(never)]
    fn run(self) {
        let Self { runtime, first } = self;
        match first {
            First::Born(beginning) => runtime.run(beginning),
            First::Again(again) => runtime.run_again(*again),
        }
    }
}

/// The thread of an actor has panicked once more: the supervisor begins another one where the policy says so.
#[cold]
#[inline(never)]
fn report_death(supervisor: &Sender<Command>, number: u64, id: ActorId, detail: &str) {
    log::error!("the thread of actor {id} panicked again, and ends: {detail}");
    let kind = ReportKind::Died { detail: detail.to_owned() };
    let _ = supervisor.send(Command::Report(number, Report { id, kind }));
}

struct Thread {
    handle: JoinHandle,
    verdicts: Sender<Verdict>,
}

pub(super) struct Supervisor {
    theater: TheaterHandle,
    commands: Receiver<Command>,
    /// For the reports of the threads it starts.
    to_self: Sender<Command>,
    tree: Tree,
    budget: Budget,
    /// Boxed, because a hash map keeps room for more than it holds.
    actors: HashMap<ActorId, Box<Supervised>>,
    /// By the tree's clock.
    timers: BinaryHeap<Reverse<(u64, ActorId)>>,
    /// Threads started so far.
    threads: u64,
    /// What has happened and is not decided yet. All that one input leads to is done before the next.
    inputs: VecDeque<Input>,
    /// The tree's clock: milliseconds since the Unix epoch when the runtime was started, steady from there on.
    began_ms: u64,
    started: Instant,
    suspending: bool,
}

impl Supervised {
    /// A signal for the next incarnation of its thread.
    fn renew_signal(&mut self) -> Arc<StopSignal> {
        self.stop = Arc::new(self.stop.renewed());
        Arc::clone(&self.stop)
    }
}

impl Supervisor {
    pub(super) fn new(theater: TheaterHandle, to_self: Sender<Command>, commands: Receiver<Command>) -> Self {
        Self {
            theater,
            commands,
            to_self,
            tree: Tree::default(),
            budget: Budget::of_this_machine(),
            actors: HashMap::new(),
            timers: BinaryHeap::new(),
            threads: 0,
            inputs: VecDeque::new(),
            began_ms: clock::unix_ms(),
            started: clock::now(),
            suspending: false,
        }
    }

    /// The thread's body: until a shutdown has joined every actor's thread.
    pub(super) fn run(mut self) {
        while !(self.suspending && self.actors.values().all(|actor| actor.thread.is_none())) {
            let now = self.now();
            let next = self.timers.peek().map_or(60_000, |Reverse((at, _))| at.saturating_sub(now));
            let next = Duration::from_millis(next);
            match wait::receive_within(&self.commands, next) {
                Ok(command) => self.apply(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the supervisor holds a sender itself"),
            }
            self.ring_timers();
        }
    }

    fn apply(&mut self, command: Command) {
        fail::point("supervising");
        match command {
            Command::Spawn(newborn) => self.spawn(*newborn),
            Command::Recover(newborns, owed, _listed) => self.recover(newborns, owed),
            Command::Stop { id, by, cause, reply } => match self.actors.get_mut(&id) {
                Some(actor) => {
                    actor.stoppers.push(reply);
                    self.decide(Input::Stop { id, by, cause });
                }
                None => reply.give(Err(LifecycleError::NoSuchActor(id))),
            },
            Command::Restart { id, by, cause, reply } => match self.actors.get_mut(&id) {
                Some(actor) => {
                    actor.restarters.push(reply);
                    self.decide(Input::Restart { id, by, cause });
                }
                None => reply.give(Err(LifecycleError::NoSuchActor(id))),
            },
            Command::Forget { id, reply } => reply.give(self.forget(id)),
            Command::Report(thread, Report { id, kind }) => {
                if self.actors.get(&id).is_some_and(|actor| actor.thread_number == thread) {
                    self.heard(id, kind);
                }
            }
            Command::Shutdown => self.suspend(),
        }
    }

    fn forget(&mut self, id: ActorId) -> Result<Vec<ActorKey>, LifecycleError> {
        if let Some(one) = self.unrecorded(id) {
            return Err(one.into());
        }
        let gone = self.tree.forget(id).map_err(|living| {
            let name = self.theater.registry.info(living).map_or_else(String::new, |info| info.name);
            let why = "has not ended: only what has ended is forgotten; stop it first";
            LifecycleError::from(format!("actor {name} ({living}) {why}"))
        })?;
        let forgotten = gone.iter().filter_map(|id| self.actors.remove(id)).map(|actor| actor.actor).collect();
        gone.into_iter().for_each(|id| self.theater.registry.remove(id));
        Ok(forgotten)
    }

    fn heard(&mut self, id: ActorId, kind: ReportKind) {
        match kind {
            ReportKind::Up => {
                self.has_not_failed(id);
                self.decide(Input::Up(id));
            }
            ReportKind::Failed { reason, detail } => {
                self.failed(id, reason, detail);
                self.decide(Input::Failed(id));
            }
            ReportKind::Down => {
                self.has_not_failed(id);
                self.decide(Input::Down(id));
            }
            ReportKind::Ended { closing } => {
                self.join(id);
                if !self.tree.is_ending(id) {
                    // Nobody has told it to: what is below it ends first.
                    return self.decide(Input::Ended(id));
                }
                for stopper in self.actors.get_mut(&id).into_iter().flat_map(|actor| actor.stoppers.drain(..)) {
                    stopper.give(Ok(closing.clone()));
                }
                self.decide(Input::Ended(id));
                self.is_over(id);
            }
            ReportKind::Died { detail } => {
                self.join(id);
                self.died(id, FailureReason::Panic, detail);
            }
        }
    }

    /// Of a thread that said so as its last act.
    fn join(&mut self, id: ActorId) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        if let Some(Thread { handle, .. }) = actor.thread.take() {
            // Its panic, if it had one, was logged and reported.
            let _ = handle.join();
            self.budget.give_back(Cost::of(actor.spec.manifest.reuse));
        }
    }

    /// Its thread has ended. Unless another one follows, whoever still waits for a restart waits in vain.
    fn is_over(&mut self, id: ActorId) {
        if !self.tree.is_dead(id) {
            return;
        }
        for restarter in self.actors.get_mut(&id).into_iter().flat_map(|actor| actor.restarters.drain(..)) {
            restarter.give(Err("it was stopped meanwhile".into()));
        }
    }

    /// The tree's clock.
    fn now(&self) -> u64 {
        let elapsed = u64::try_from(clock::since(self.started).as_millis()).unwrap_or(u64::MAX);
        self.began_ms.saturating_add(elapsed)
    }

    fn decide(&mut self, input: Input) {
        self.inputs.push_back(input);
        if self.inputs.len() > 1 {
            // It has come of an action that is being carried out, and waits until those beside it are.
            return;
        }
        while let Some(input) = self.inputs.front().cloned() {
            let actions = self.tree.apply(self.now(), input);
            // While every thread is told to suspend, nothing else is to be done with any.
            if !self.suspending {
                actions.into_iter().for_each(|action| self.carry_out(action));
            }
            self.inputs.pop_front();
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Order { id, kind, by, cause } => self.order(id, Order { kind, by, cause }),
            Action::Restart { id, from } => {
                let Some(stop) = self.actors.get_mut(&id).map(|actor| actor.renew_signal()) else { return };
                let reply = self.restart_reply(id);
                self.tell(id, Verdict::Restart { from, stop, reply });
            }
            Action::End { id, by, cause, given_up } => {
                let failure = given_up.and_then(|why| self.failure_by_limit(id, why));
                self.tell(id, Verdict::End { by, cause, failure });
            }
            Action::Begin { id, from } => self.begin_again(id, from),
            Action::Timer { id, at, after, count } => {
                self.timers.push(Reverse((at, id)));
                self.is_to_be_restarted(id, after, count);
            }
            Action::GaveUp { id, why } => self.gave_up(id, why),
            Action::Gone(id) => self.gone(id),
            Action::Counted { supervisor, at } => self.theater.registry.update(supervisor, |entry| entry.restarts = at),
            Action::AlreadyStopped(id) => self.had_stopped(id),
            Action::NotRestarted { id, why } => {
                // The newest: those before it may still be waiting for the restart that is under way.
                if let Some(restarter) = self.actors.get_mut(&id).and_then(|actor| actor.restarters.pop()) {
                    restarter.give(Err(format!("actor {id} cannot be restarted: {why}").into()));
                }
            }
        }
    }

    fn order(&mut self, id: ActorId, order: Order) {
        let Some(actor) = self.actors.get(&id) else { return };
        if order.kind == OrderKind::Stop {
            self.theater.registry.update(id, |entry| {
                // It may have ended by itself meanwhile.
                if entry.status.is_alive() {
                    entry.status = ActorStatus::Stopping;
                }
            });
        }
        actor.stop.give(order, actor.spec.manifest.limits.stop_grace());
    }

    fn tell(&self, id: ActorId, verdict: Verdict) {
        if let Some(thread) = self.actors.get(&id).and_then(|actor| actor.thread.as_ref()) {
            // The thread waits for it; if it has died, joining it says so.
            let _ = thread.verdicts.send(verdict);
        }
    }

    /// Whoever waits for a restart is answered by the actor's own thread.
    fn restart_reply(&mut self, id: ActorId) -> Option<SpawnReply> {
        let restarters: Vec<ChangeReply> = self.actors.get_mut(&id)?.restarters.drain(..).collect();
        if restarters.is_empty() {
            return None;
        }
        Some(SpawnReply::calling(move |answer: Result<Spawned, LifecycleError>| {
            for restarter in restarters {
                restarter.give(answer.clone().map(|spawned| spawned.closing));
            }
        }))
    }

    /// All are there before any of them runs: whoever asks for another finds it.
    fn recover(&mut self, newborns: Vec<(Newborn, Return)>, owed: Vec<(ActorId, Lane, Delivery)>) {
        let mut ready = Vec::new();
        for (newborn, how) in newborns {
            match how {
                Return::Runs => ready.extend(self.admit(newborn)),
                Return::Listed(status) => self.list(newborn, status),
            }
        }
        for (to, lane, delivery) in owed {
            let function = delivery.function.full;
            match self.theater.registry.restore(to, lane, delivery) {
                Restored::Settled => {}
                Restored::KeptAside => log::warn!(
                    "actor {to} is owed a delivery to {function}, which it does not export now: it is kept until the \
                     actor exports that at a later start, or ends"
                ),
                Restored::NobodyThere => {
                    log::warn!("actor {to}, which could not be started, is owed a delivery: it waits in the journal");
                }
            }
        }
        ready.into_iter().for_each(|registered| self.start(registered));
    }

    fn spawn(&mut self, newborn: Newborn) {
        if let Some(registered) = self.admit(newborn) {
            self.start(registered);
        }
    }

    /// Registers a new actor, or says why not.
    fn admit(&mut self, mut newborn: Newborn) -> Option<Registered> {
        let from_before = newborn.again.is_some();
        let refusal = if self.suspending {
            Some(LifecycleError::ShuttingDown)
        } else if newborn.parent.is_some_and(|parent| !self.tree.takes_children(parent)) {
            Some(if from_before { "its parent does not run" } else { "the parent is ending" }.into())
        } else {
            self.budget.spend(Cost::of(newborn.spec.manifest.reuse)).err().map(LifecycleError::from)
        };
        // One from before is listed all the same, and keeps what it has.
        let is_left_out = refusal.is_some() && from_before && !self.suspending;
        let (left_out, refusal) =
            if is_left_out { (refusal.map(|why| why.to_string()), None) } else { (None, refusal) };
        if let Some(why) = refusal {
            if let Some(reply) = newborn.reply.take() {
                reply.answer(&self.theater.registry, Err(why));
            }
            return None;
        }
        let (id, parent) = (newborn.actor.id, newborn.parent);
        let supervision = newborn.spec.manifest.supervision;
        let mailbox = self.register(&newborn, ActorStatus::Starting);
        // A fork goes on from where another was up.
        let was_up = newborn.is_fork || newborn.again.as_ref().is_some_and(|before| before.was_up);
        self.decide(match left_out {
            None => Input::Spawned { id, parent, supervision, was_up },
            Some(_) => Input::Listed { id, parent, supervision, was_up },
        });
        let Newborn { cause, is_fork, again, reply, .. } = newborn;
        let first = match again {
            Some(before) => {
                let Before { reason, from, incarnation, notice, open, lately, was_up: _, was_alive: _ } = before;
                self.decide(Input::Remembered { id, lately });
                let incarnation = incarnation.next();
                First::Again(Box::new(Again { reason, from, incarnation, reply, notice, cause, open }))
            }
            None => First::Born(Box::new(Beginning {
                reason: if is_fork { StartReason::Fork } else { StartReason::Spawn },
                chain: StateChain::new(id),
                incarnation: Incarnation::FIRST,
                state: self.actors[&id].spec.init_state.clone(),
                run_init: !is_fork,
                cause,
                reply,
                notice: Some(ChildEventKind::Started),
                interrupted: false,
                open: None,
            })),
        };
        Some(Registered { id, mailbox, first, was_up, left_out })
    }

    fn start(&mut self, Registered { id, mailbox, first, was_up, left_out }: Registered) {
        let unstarted = self.unstarted(id, mailbox, first, was_up);
        match left_out {
            None => self.run_on_a_thread(id, unstarted),
            Some(why) => self.leave_out(id, unstarted, why),
        }
    }

    /// An actor from before that does not run now: it is listed as failed and keeps what it has, so that it can be
    /// restarted; else the next start brings it back. Its policy is not asked, nor is its parent's: that would end a
    /// family for good because the machine is small today.
    fn leave_out(&mut self, id: ActorId, mut unstarted: Unstarted, why: String) {
        if let First::Again(again) = &mut unstarted.first
            && let Some(reply) = again.reply.take()
        {
            let left = format!("it is left as it was: {why}");
            reply.answer(&self.theater.registry, Err(left.into()));
        }
        self.is_left_out(id, why);
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.unstarted = Some(unstarted);
        }
    }

    fn list(&mut self, newborn: Newborn, status: ActorStatus) {
        let (id, parent) = (newborn.actor.id, newborn.parent);
        let supervision = newborn.spec.manifest.supervision;
        let is_temporary = supervision.restart == RestartPolicy::Temporary;
        let given_up = (is_temporary && matches!(status, ActorStatus::Failed { .. })).then_some(GivenUp::Temporary);
        drop(self.register(&newborn, status));
        self.theater.registry.update(id, |entry| entry.given_up = given_up.map(|why| why.to_string()));
        let (was_up, lately) = newborn.again.map(|before| (before.was_up, before.lately)).unwrap_or_default();
        self.decide(Input::Listed { id, parent, supervision, was_up });
        self.decide(Input::Remembered { id, lately });
    }

    fn register(&mut self, newborn: &Newborn, status: ActorStatus) -> MailboxOwner {
        let Newborn { actor, spec, parent, again, .. } = newborn;
        let limits = &spec.manifest.limits;
        let (mailbox, owner) = Mailbox::new(limits.mailbox_deliveries, limits.mailbox_bytes);
        let stop = Arc::new(StopSignal::new(owner.unparker()));
        self.theater.registry.add(ActorEntry {
            actor: *actor,
            name: spec.manifest.name.clone(),
            parent: *parent,
            children: Vec::new(),
            incarnation: again.as_ref().map_or(Incarnation::FIRST, |before| before.incarnation),
            status,
            has_begun: again.as_ref().is_some_and(|before| before.was_alive),
            exports: Arc::new(spec.program.export_names()),
            mailbox,
            addresses: Vec::new(),
            manifest_path: spec.manifest.path().display().to_string(),
            since_ms: clock::unix_ms(),
            limits: Arc::new(limits.clone()),
            writes_below: spec
                .handlers
                .iter()
                .find_map(|handler| handler.writes_below())
                .map(std::path::Path::to_owned),
            started_from: Arc::new(spec.started_from()),
            metrics: Arc::default(),
            supervision: spec.manifest.supervision,
            restarts: Vec::new(),
            given_up: None,
        });
        let supervised = Supervised {
            actor: *actor,
            spec: Arc::clone(spec),
            parent: *parent,
            stop,
            thread: None,
            unstarted: None,
            thread_number: 0,
            failure: None,
            is_unrecorded: false,
            stoppers: Vec::new(),
            restarters: Vec::new(),
        };
        self.actors.insert(actor.id, Box::new(supervised));
        owner
    }

    /// A thread for an actor that has none: stopped or failed before, it goes on behind its chain; one that there was no
    /// thread for goes on as it was to begin.
    fn begin_again(&mut self, id: ActorId, from: RestartState) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        if let Err(why) = self.budget.spend(Cost::of(actor.spec.manifest.reuse)) {
            log::error!("actor {} ({id}) cannot be started: {why}", actor.spec.manifest.name);
            for restarter in actor.restarters.drain(..) {
                restarter.give(Err(why.as_str().into()));
            }
            return self.died(id, FailureReason::Interrupted, why);
        }
        actor.is_unrecorded = false;
        let (unstarted, reply) = (actor.unstarted.take(), self.restart_reply(id));
        if let Some(Unstarted { mut runtime, first: First::Again(mut again) }) = unstarted {
            again.reply = reply;
            if let Some(actor) = self.actors.get_mut(&id) {
                runtime.stop = actor.renew_signal();
            }
            self.theater.registry.update(id, |entry| (entry.status, entry.given_up) = (ActorStatus::Restarting, None));
            return self.run_on_a_thread(id, Unstarted { runtime, first: First::Again(again) });
        }
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let limits = &actor.spec.manifest.limits;
        let (mailbox, owner) = Mailbox::new(limits.mailbox_deliveries, limits.mailbox_bytes);
        actor.stop = Arc::new(StopSignal::new(owner.unparker()));
        let mut incarnation = Incarnation::FIRST;
        self.theater.registry.update(id, |entry| {
            entry.mailbox = mailbox;
            entry.status = ActorStatus::Restarting;
            entry.given_up = None;
            incarnation = entry.incarnation.next();
        });
        let (reason, notice) = (StartReason::Restart, Some(ChildEventKind::Restarted));
        let again = Again { reason, from, incarnation, reply, notice, cause: None, open: None };
        let unstarted = self.unstarted(id, owner, First::Again(Box::new(again)), true);
        self.run_on_a_thread(id, unstarted);
    }

    fn unstarted(&self, id: ActorId, mailbox: MailboxOwner, first: First, was_up: bool) -> Unstarted {
        let actor = &self.actors[&id];
        let recorded = self.theater.registry.entry(id, |entry| entry.incarnation);
        let recorded = recorded.filter(|_| matches!(first, First::Again(_))).unwrap_or(Incarnation(0));
        let runtime = Box::new(ActorRuntime {
            actor: actor.actor,
            parent: actor.parent,
            spec: Arc::clone(&actor.spec),
            theater: self.theater.clone(),
            mailbox,
            stop: Arc::clone(&actor.stop),
            verdicts: unbounded().1,
            report: Box::new(|_| ()),
            recovering: false,
            sources: Vec::new(),
            recorded_end: None,
            was_up,
            recorded,
            panicked: false,
            attempts: 0,
        });
        Unstarted { runtime, first }
    }

    fn run_on_a_thread(&mut self, id: ActorId, Unstarted { mut runtime, first }: Unstarted) {
        let (verdicts, heard) = unbounded();
        self.threads += 1;
        let (number, reports) = (self.threads, self.to_self.clone());
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.thread_number = number;
        }
        runtime.verdicts = heard;
        runtime.report = Box::new(move |report| _ = reports.send(Command::Report(number, report)));
        let name = format!("a-{}", runtime.spec.manifest.name);
        let last_words = self.to_self.clone();
        // Handed over once there is a thread: else it would go with the thread that there is none for.
        let unstarted = Arc::new(Mutex::new(Some(Unstarted { runtime, first })));
        let handed_over = Arc::clone(&unstarted);
        let body = move || {
            let Some(unstarted) = handed_over.lock().take() else { return };
            drop(handed_over);
            // A panic must not leave an actor that seems to run. Its chain ends where it was; a restart says so.
            if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| unstarted.run())) {
                report_death(&last_words, number, id, &thread::panic_message(&*panic));
            }
        };
        match thread::spawn_sized(&name, THREAD_STACK_BYTES, body) {
            Ok(handle) => {
                let actor = self.actors.get_mut(&id).expect("the caller has registered it");
                actor.thread = Some(Thread { handle, verdicts });
            }
            Err(error) => {
                let unstarted = unstarted.lock().take().expect("no thread has taken it");
                self.budget.give_back(Cost::of(unstarted.runtime.spec.manifest.reuse));
                self.could_not_start(id, unstarted, format!("this machine has no thread left for it: {error}"));
            }
        }
    }

    /// The system has no thread left. Whoever waits for the actor is told. One that has never begun is as if it had not
    /// been asked for; of one from before its policy says whether it is tried again.
    fn could_not_start(&mut self, id: ActorId, Unstarted { runtime, first }: Unstarted, detail: String) {
        log::error!("actor {} ({id}) cannot be started: {detail}", runtime.spec.manifest.name);
        let reply = match first {
            First::Born(mut beginning) => {
                let reply = beginning.reply.take();
                drop(runtime);
                self.decide(Input::Ended(id));
                // Nothing is below it.
                let _ = self.forget(id);
                reply
            }
            First::Again(mut again) => {
                let reply = again.reply.take();
                if let Some(actor) = self.actors.get_mut(&id) {
                    actor.unstarted = Some(Unstarted { runtime, first: First::Again(again) });
                }
                self.died(id, FailureReason::Interrupted, detail.clone());
                reply
            }
        };
        if let Some(reply) = reply {
            reply.answer(&self.theater.registry, Err(detail.into()));
        }
    }

    fn ring_timers(&mut self) {
        while self.timers.peek().is_some_and(|Reverse((at, _))| *at <= self.now()) {
            let Some(Reverse((_, id))) = self.timers.pop() else { return };
            self.decide(Input::Timer(id));
        }
    }

    /// Leaves every actor where it is: the next start goes on from there.
    fn suspend(&mut self) {
        self.suspending = true;
        self.theater.registry.suspend();
        for actor in self.actors.values_mut() {
            let order = Order { kind: OrderKind::Suspend, by: StoppedBy::Supervisor, cause: None };
            actor.stop.give(order, actor.spec.manifest.limits.stop_grace());
            if let Some(thread) = &mut actor.thread {
                // A thread that waits for a verdict sees that none will come.
                thread.verdicts = unbounded().0;
            }
        }
    }
}

enum First {
    Born(Box<Beginning>),
    Again(Box<Again>),
}
