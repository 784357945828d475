//! The supervisor thread: takes commands and reports, asks the tree, and carries out what it says.
//!
//! It never waits for an actor: orders are signals, verdicts go through channels with room, a thread is joined once it
//! has said that it ends.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use super::budget::{Budget, Cost};
use super::control::ChangeReply;
use super::tree::{Action, Input, Lately, Tree};
use crate::actor::{ActorRuntime, Again, Beginning, Open, Report, ReportKind, SpawnReply, Spec, Verdict};
use crate::base::clock;
use crate::base::id::{ActorId, Incarnation};
use crate::base::thread::{self, JoinHandle};
use crate::chain::data::{FailureReason, StartReason, StoppedBy};
use crate::chain::{Link, StateChain};
use crate::guest::THREAD_STACK_BYTES;
use crate::guest::wit::ChildEventKind;
use crate::journal::ActorKey;
use crate::manifest::RestartState;
use crate::system::{
    ActorStatus, Delivery, Entry, Lane, Mailbox, MailboxOwner, Order, OrderKind, Restored, Spawned, StopSignal,
    TheaterHandle,
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
        reply: Sender<Result<Vec<ActorKey>, String>>,
    },
    Report(Report),
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
    /// Who waits for its end.
    stoppers: Vec<ChangeReply>,
    /// Who waits for it to be up again.
    restarters: Vec<ChangeReply>,
}

/// An actor's thread that the system had no room for, as it was to begin.
struct Unstarted {
    runtime: Box<ActorRuntime>,
    first: First,
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
    actors: HashMap<ActorId, Supervised>,
    timers: BinaryHeap<Reverse<(Instant, ActorId)>>,
    /// The tree's clock: milliseconds since the Unix epoch when the runtime was started, steady from there on.
    began_ms: u64,
    started: Instant,
    suspending: bool,
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
            began_ms: clock::unix_ms(),
            started: Instant::now(),
            suspending: false,
        }
    }

    /// The thread's body: until a shutdown has joined every actor's thread.
    pub(super) fn run(mut self) {
        while !(self.suspending && self.actors.values().all(|actor| actor.thread.is_none())) {
            let next = self
                .timers
                .peek()
                .map_or(Duration::from_secs(60), |Reverse((at, _))| at.saturating_duration_since(Instant::now()));
            match self.commands.recv_timeout(next) {
                Ok(command) => self.apply(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the supervisor holds a sender itself"),
            }
            self.ring_timers();
        }
    }

    fn apply(&mut self, command: Command) {
        match command {
            Command::Spawn(newborn) => self.spawn(*newborn),
            Command::Recover(newborns, owed, _listed) => self.recover(newborns, owed),
            Command::Stop { id, by, cause, reply } => match self.actors.get_mut(&id) {
                Some(actor) => {
                    actor.stoppers.push(reply);
                    self.decide(Input::Stop { id, by, cause });
                }
                None => reply.give(Err(format!("no such actor: {id}"))),
            },
            Command::Restart { id, by, cause, reply } => match self.actors.get_mut(&id) {
                Some(actor) => {
                    actor.restarters.push(reply);
                    self.decide(Input::Restart { id, by, cause });
                }
                None => reply.give(Err(format!("no such actor: {id}"))),
            },
            Command::Forget { id, reply } => _ = reply.send(self.forget(id)),
            Command::Report(Report { id, kind }) => self.heard(id, kind),
            Command::Shutdown => self.suspend(),
        }
    }

    fn forget(&mut self, id: ActorId) -> Result<Vec<ActorKey>, String> {
        let gone = self.tree.forget(id).map_err(|living| {
            let name = self.theater.registry.info(living).map_or_else(String::new, |info| info.name);
            format!("actor {name} ({living}) has not ended: only what has ended is forgotten; stop it first")
        })?;
        let forgotten = gone.iter().filter_map(|id| self.actors.remove(id)).map(|actor| actor.actor).collect();
        gone.into_iter().for_each(|id| self.theater.registry.remove(id));
        Ok(forgotten)
    }

    fn heard(&mut self, id: ActorId, kind: ReportKind) {
        match kind {
            ReportKind::Up => self.decide(Input::Up(id)),
            ReportKind::Failed { by_init } => self.decide(Input::Failed { id, by_init }),
            ReportKind::Down => self.decide(Input::Down(id)),
            ReportKind::Ended { closing } => {
                if let Some(actor) = self.actors.get_mut(&id) {
                    if let Some(Thread { handle, .. }) = actor.thread.take() {
                        // It said so as its last act; its panic, if it had one, was logged.
                        let _ = handle.join();
                        self.budget.give_back(Cost::of(actor.spec.manifest.reuse));
                    }
                    for stopper in actor.stoppers.drain(..) {
                        stopper.give(Ok(closing.clone()));
                    }
                    for restarter in actor.restarters.drain(..) {
                        restarter.give(Err("it was stopped meanwhile".into()));
                    }
                }
                self.decide(Input::Ended(id));
            }
        }
    }

    fn decide(&mut self, input: Input) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = self.began_ms.saturating_add(elapsed);
        let actions = self.tree.apply(now, input);
        if self.suspending {
            // Every thread was told to suspend; nothing else is to be done with any.
            return;
        }
        for action in actions {
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Order { id, kind, by, cause } => self.order(id, Order { kind, by, cause }),
            Action::Restart { id, from } if !self.has_thread(id) => self.start_again(id, from),
            Action::End { id, .. } if !self.has_thread(id) => self.end_without_thread(id),
            Action::Restart { id, from } => {
                let stop = self.new_signal(id);
                let reply = self.restart_reply(id);
                self.tell(id, Verdict::Restart { from, stop, reply });
            }
            Action::End { id, by, cause } => self.tell(id, Verdict::End { by, cause }),
            Action::Begin { id, from } => self.begin_again(id, from),
            Action::Timer { id, after } => self.timers.push(Reverse((Instant::now() + after, id))),
            Action::AlreadyStopped(id) => {
                for stopper in self.actors.get_mut(&id).into_iter().flat_map(|actor| actor.stoppers.drain(..)) {
                    stopper.give(Ok(None));
                }
            }
            Action::NotRestarted { id, why } => {
                for restarter in self.actors.get_mut(&id).into_iter().flat_map(|actor| actor.restarters.drain(..)) {
                    restarter.give(Err(format!("actor {id} cannot be restarted: {why}")));
                }
            }
        }
    }

    fn order(&mut self, id: ActorId, order: Order) {
        let Some(actor) = self.actors.get(&id) else { return };
        if order.kind == OrderKind::Stop {
            self.theater.registry.update(id, |entry| entry.status = ActorStatus::Stopping);
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
        Some(SpawnReply::calling(move |answer: Result<Spawned, String>| {
            for restarter in restarters {
                restarter.give(answer.clone().map(|spawned| spawned.closing));
            }
        }))
    }

    fn new_signal(&mut self, id: ActorId) -> Arc<StopSignal> {
        let signal = Arc::new(StopSignal::default());
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.stop = Arc::clone(&signal);
        }
        signal
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
        let refusal = if self.suspending {
            Some("the runtime is shutting down".to_owned())
        } else if newborn.parent.is_some_and(|parent| !self.tree.takes_children(parent)) {
            Some("the parent is ending".to_owned())
        } else {
            self.budget.spend(Cost::of(newborn.spec.manifest.reuse)).err()
        };
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
        self.decide(Input::Spawned { id, parent, supervision, was_up });
        let Newborn { cause, is_fork, again, reply, .. } = newborn;
        let first = match again {
            Some(before) => {
                let Before { reason, from, incarnation, notice, open, lately, was_up: _, was_alive: _ } = before;
                self.decide(Input::Remembered { id, lately });
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
        Some(Registered { id, mailbox, first, was_up })
    }

    fn start(&mut self, Registered { id, mailbox, first, was_up }: Registered) {
        self.start_thread(id, mailbox, first, was_up);
    }

    fn list(&mut self, newborn: Newborn, status: ActorStatus) {
        let (id, parent) = (newborn.actor.id, newborn.parent);
        let supervision = newborn.spec.manifest.supervision;
        drop(self.register(&newborn, status));
        let (was_up, lately) = newborn.again.map(|before| (before.was_up, before.lately)).unwrap_or_default();
        self.decide(Input::Listed { id, parent, supervision, was_up });
        self.decide(Input::Remembered { id, lately });
    }

    fn register(&mut self, newborn: &Newborn, status: ActorStatus) -> MailboxOwner {
        let Newborn { actor, spec, parent, again, .. } = newborn;
        let stop = Arc::new(StopSignal::default());
        let limits = &spec.manifest.limits;
        let (mailbox, owner) = Mailbox::new(limits.mailbox_deliveries, limits.mailbox_bytes);
        self.theater.registry.add(Entry {
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
        });
        let supervised = Supervised {
            actor: *actor,
            spec: Arc::clone(spec),
            parent: *parent,
            stop,
            thread: None,
            unstarted: None,
            stoppers: Vec::new(),
            restarters: Vec::new(),
        };
        self.actors.insert(actor.id, supervised);
        owner
    }

    /// A thread for an actor that has none: stopped or failed before, it goes on behind its chain.
    fn begin_again(&mut self, id: ActorId, from: RestartState) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        if let Err(why) = self.budget.spend(Cost::of(actor.spec.manifest.reuse)) {
            for restarter in actor.restarters.drain(..) {
                restarter.give(Err(why.clone()));
            }
            self.decide(Input::Ended(id));
            return;
        }
        let reply = self.restart_reply(id);
        self.new_signal(id);
        let Some(actor) = self.actors.get(&id) else { return };
        let limits = &actor.spec.manifest.limits;
        let (mailbox, owner) = Mailbox::new(limits.mailbox_deliveries, limits.mailbox_bytes);
        let mut incarnation = Incarnation::FIRST;
        self.theater.registry.update(id, |entry| {
            entry.mailbox = mailbox;
            entry.status = ActorStatus::Restarting;
            entry.has_begun = false;
            incarnation = entry.incarnation.next();
        });
        let (reason, notice) = (StartReason::Restart, Some(ChildEventKind::Restarted));
        let again = Again { reason, from, incarnation, reply, notice, cause: None, open: None };
        self.start_thread(id, owner, First::Again(Box::new(again)), true);
    }

    fn start_thread(&mut self, id: ActorId, mailbox: MailboxOwner, first: First, was_up: bool) {
        let actor = self.actors.get(&id).expect("the caller has registered it");
        let reports = self.to_self.clone();
        let runtime = Box::new(ActorRuntime {
            actor: actor.actor,
            parent: actor.parent,
            spec: Arc::clone(&actor.spec),
            theater: self.theater.clone(),
            mailbox,
            stop: Arc::clone(&actor.stop),
            verdicts: unbounded().1,
            report: Box::new(move |report| _ = reports.send(Command::Report(report))),
            recovering: false,
            sources: Vec::new(),
            recorded_end: None,
            was_up,
            attempts: 0,
        });
        self.run_on_a_thread(id, Unstarted { runtime, first });
    }

    fn run_on_a_thread(&mut self, id: ActorId, Unstarted { mut runtime, first }: Unstarted) {
        let (verdicts, heard) = unbounded();
        runtime.verdicts = heard;
        let name = format!("a-{}", runtime.spec.manifest.name);
        let (last_words, registry) = (self.to_self.clone(), Arc::clone(&self.theater.registry));
        // Handed over once there is a thread: else it would go with the thread that there is none for.
        let (hand_over, handed_over) = bounded(1);
        let taken = handed_over.clone();
        let _ = hand_over.send(Unstarted { runtime, first });
        let body = move || {
            let Ok(Unstarted { runtime, first }) = taken.recv() else { return };
            drop(taken);
            // A panic must not leave an actor that seems to run. Its chain ends where it was; a restart says so.
            let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match first {
                First::Born(beginning) => runtime.run(beginning),
                First::Again(again) => runtime.run_again(*again),
            }));
            if let Err(panic) = said {
                let detail = thread::panic_message(&*panic);
                log::error!("the thread of actor {id} panicked: {detail}");
                registry
                    .update(id, |entry| entry.status = ActorStatus::Failed { reason: FailureReason::Panic, detail });
                let kind = ReportKind::Ended { closing: None };
                let _ = last_words.send(Command::Report(Report { id, kind }));
            }
        };
        match thread::spawn_sized(&name, THREAD_STACK_BYTES, body) {
            Ok(handle) => {
                let actor = self.actors.get_mut(&id).expect("the caller has registered it");
                actor.thread = Some(Thread { handle, verdicts });
            }
            Err(error) => {
                let unstarted = handed_over.try_recv().expect("no thread has taken it");
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
                let (reason, reply) = (FailureReason::Init, again.reply.take());
                let status = ActorStatus::Failed { reason, detail: detail.clone() };
                self.theater.registry.update(id, |entry| entry.status = status);
                if let Some(actor) = self.actors.get_mut(&id) {
                    actor.unstarted = Some(Unstarted { runtime, first: First::Again(again) });
                }
                self.decide(Input::Failed { id, by_init: true });
                reply
            }
        };
        if let Some(reply) = reply {
            reply.answer(&self.theater.registry, Err(detail));
        }
    }

    fn has_thread(&self, id: ActorId) -> bool {
        self.actors.get(&id).is_some_and(|actor| actor.thread.is_some())
    }

    /// Another attempt to get a thread, for what was to run on it.
    fn start_again(&mut self, id: ActorId, from: RestartState) {
        let unstarted = self.actors.get_mut(&id).and_then(|actor| actor.unstarted.take());
        let Some(Unstarted { mut runtime, first: First::Again(mut again) }) = unstarted else {
            return self.begin_again(id, from);
        };
        if let Err(why) = self.budget.spend(Cost::of(runtime.spec.manifest.reuse)) {
            return self.could_not_start(id, Unstarted { runtime, first: First::Again(again) }, why);
        }
        runtime.stop = self.new_signal(id);
        again.reply = self.restart_reply(id);
        self.theater.registry.update(id, |entry| entry.status = ActorStatus::Restarting);
        self.run_on_a_thread(id, Unstarted { runtime, first: First::Again(again) });
    }

    /// Nothing of it runs, and nobody is there to record that: as far as its chain goes it has not ended.
    fn end_without_thread(&mut self, id: ActorId) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        drop(actor.unstarted.take());
        for stopper in actor.stoppers.drain(..) {
            let why = "it does not run, since the machine had no thread for it; its end could not be recorded, so the \
                       next start of the runtime brings it back";
            stopper.give(Err(format!("actor {id}: {why}")));
        }
        for restarter in actor.restarters.drain(..) {
            restarter.give(Err(format!("actor {id} cannot be restarted: the machine has no thread for it")));
        }
        self.decide(Input::Ended(id));
    }

    fn ring_timers(&mut self) {
        while self.timers.peek().is_some_and(|Reverse((at, _))| *at <= Instant::now()) {
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
