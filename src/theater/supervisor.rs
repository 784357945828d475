//! The supervisor thread: it receives commands and reports, lets the supervision tree decide, and carries out what the
//! tree decides.
//!
//! The supervisor never waits for an actor: it orders actors by signals, sends verdicts through channels that have room,
//! and joins a thread only after the thread has reported that it ends.

mod admission;
mod failures;
mod sleep;
mod threads;
mod upgrades;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use self::sleep::Dormitory;
use self::threads::{Thread, Unstarted};
use super::command::{ChangeReply, Command};
use super::machine_budget::MachineBudget;
use super::tree::{Action, Input, Tree};
use crate::actor::{Report, ReportKind, Sleeper, Spec, Upgrade, Verdict};
use crate::base::clock;
use crate::base::fail;
use crate::base::id::ActorId;
use crate::base::rare::Rare;
use crate::base::wait;
use crate::chain::data::{FailureReason, StoppedBy};
use crate::journal::ActorKey;
use crate::system::{ActorStatus, LifecycleError, Order, OrderKind, StopSignal, TheaterHandle};

/// An actor as the supervisor knows it.
struct Supervised {
    actor: ActorKey,
    spec: Arc<Spec>,
    parent: Option<ActorId>,
    /// None while the actor sleeps, unless it has an order.
    stop: Option<Arc<StopSignal>>,
    thread: Option<Box<Thread>>,
    /// What is left of the actor while it sleeps.
    sleeper: Option<Box<Sleeper>>,
    /// The runtime that runs as soon as the system has a thread for it.
    unstarted: Option<Unstarted>,
    /// The build from before its newest upgrade, as long as there is a way back to it.
    before: Option<Arc<Spec>>,
    /// An upgrade that waits for a thread of the actor.
    upgrade: Option<Box<Upgrade>>,
    /// The number of the actor's newest thread.
    thread_number: u64,
    /// How the actor failed last.
    failure: Option<Box<(FailureReason, String)>>,
    /// The actor has ended, and its chain does not say so.
    is_unrecorded: bool,
    /// The callers who wait for the actor's end.
    stoppers: Rare<Vec<ChangeReply>>,
    /// The callers who wait until the actor is up again.
    restarters: Rare<Vec<ChangeReply>>,
}

/// The supervisor of one runtime.
pub(super) struct Supervisor {
    theater: TheaterHandle,
    commands: Receiver<Command>,
    /// A sender of commands, for the reports of the threads that the supervisor starts.
    to_self: Sender<Command>,
    tree: Tree,
    budget: MachineBudget,
    dormitory: Dormitory,
    /// Boxed, because a hash map keeps room for more than it holds.
    actors: HashMap<ActorId, Box<Supervised>>,
    /// When each timer is due, by the tree's clock.
    timers: BinaryHeap<Reverse<(u64, ActorId)>>,
    /// How many threads were started so far.
    threads: u64,
    /// The inputs that the tree has not decided about yet. Every action that one input leads to is carried out before the
    /// next input is decided.
    inputs: VecDeque<Input>,
    /// The tree's clock counts milliseconds since the Unix epoch. It was set to the system's time when the runtime was
    /// started, and runs steadily from there.
    began_ms: u64,
    started: Instant,
    suspending: bool,
    /// Rings when a root may have ended for good.
    root_ends: Sender<()>,
}

impl Supervised {
    /// Gives the actor a stop signal for the next incarnation on its thread.
    fn renew_signal(&mut self) -> Arc<StopSignal> {
        let renewed = Arc::new(self.signal().renewed());
        self.stop = Some(Arc::clone(&renewed));
        renewed
    }

    /// The actor's stop signal. One that sleeps gets one for the thread that it will have.
    fn signal(&mut self) -> Arc<StopSignal> {
        let sleeper = self.sleeper.as_ref();
        let new = || {
            let mailbox = &sleeper.expect("who does not sleep has a signal").mailbox;
            Arc::new(StopSignal::new(mailbox.unparker()))
        };
        Arc::clone(self.stop.get_or_insert_with(new))
    }
}

impl Supervisor {
    pub(super) fn new(
        theater: TheaterHandle,
        to_self: Sender<Command>,
        commands: Receiver<Command>,
        root_ends: Sender<()>,
    ) -> Self {
        let budget = MachineBudget::of_this_machine(theater.limits.awake_actors);
        Self {
            theater,
            commands,
            to_self,
            tree: Tree::default(),
            budget,
            dormitory: Dormitory::default(),
            actors: HashMap::new(),
            timers: BinaryHeap::new(),
            threads: 0,
            inputs: VecDeque::new(),
            began_ms: clock::unix_ms(),
            started: clock::now(),
            suspending: false,
            root_ends,
        }
    }

    /// The thread's body: it returns after a shutdown, when the thread of every actor is joined.
    pub(super) fn run(mut self) {
        while !(self.suspending && self.actors.values().all(|actor| actor.thread.is_none())) {
            let now = self.now();
            let timer = self.timers.peek().map(|Reverse((at, _))| *at);
            let next = timer.into_iter().chain(self.dormitory.look_at()).min();
            let next = Duration::from_millis(next.map_or(60_000, |at| at.saturating_sub(now)));
            match wait::receive_within(&self.commands, next) {
                Ok(command) => self.apply(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the supervisor holds a sender itself"),
            }
            self.apply_due_timers();
            if self.dormitory.look_at().is_some_and(|at| at <= self.now()) {
                self.start_queued();
            }
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
            Command::Restart { id, reply, .. } if let Some(other) = self.successor_in_name(id) => {
                let why = format!("actor {other} has its name now: stop that one first");
                reply.give(Err(format!("actor {id} cannot be restarted: {why}").into()));
            }
            Command::Restart { id, by, cause, reply } => match self.actors.get_mut(&id) {
                Some(actor) => {
                    actor.restarters.push(reply);
                    self.decide(Input::Restart { id, by, cause });
                }
                None => reply.give(Err(LifecycleError::NoSuchActor(id))),
            },
            Command::Upgrade { id, spec, reply } => self.upgrade(id, Box::new(Upgrade { spec, reply })),
            Command::Forget { id, reply } => reply.give(self.forget(id)),
            Command::Report(thread, Report { id, kind }) => {
                if self.actors.get(&id).is_some_and(|actor| actor.thread_number == thread) {
                    self.hear(id, kind);
                }
            }
            Command::Wake(id) => self.wake(id),
            Command::Ping(reply) => _ = reply.try_send(()),
            Command::Shutdown => self.suspend(),
        }
    }

    /// Rings if this actor, whose status may have become that of an end, is a root.
    fn ring_for_root(&self, id: ActorId) {
        if self.actors.get(&id).is_some_and(|actor| actor.parent.is_none()) {
            // If the channel is full, who listens has yet to look.
            let _ = self.root_ends.try_send(());
        }
    }

    /// The living actor that has the name of an actor which has ended.
    fn successor_in_name(&self, id: ActorId) -> Option<ActorId> {
        let registry = &self.theater.registry;
        let has_ended = registry.entry(id, |entry| !entry.status.is_alive()).unwrap_or(false);
        if has_ended { registry.namesake(id) } else { None }
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

    /// Handles a report of an actor's thread.
    fn hear(&mut self, id: ActorId, kind: ReportKind) {
        match kind {
            ReportKind::Asleep(sleeper) => self.fell_asleep(id, sleeper),
            ReportKind::Up => {
                self.clear_failure(id);
                self.decide(Input::Up(id));
            }
            ReportKind::Upgraded { spec, before } => self.upgraded(id, spec, before),
            ReportKind::Proven => self.actors.get_mut(&id).into_iter().for_each(|actor| actor.before = None),
            ReportKind::Failed { reason, detail } => {
                self.note_failure(id, reason, detail);
                self.decide(Input::Failed(id));
            }
            ReportKind::Down => {
                self.clear_failure(id);
                self.decide(Input::Down(id));
            }
            ReportKind::Ended { closing } => {
                self.join(id);
                if !self.tree.is_ending(id) {
                    // The thread ended although nobody ordered it to: the actors below this one end first.
                    self.decide(Input::Ended(id));
                    return self.ring_for_root(id);
                }
                for stopper in self.actors.get_mut(&id).into_iter().flat_map(|actor| actor.stoppers.take()) {
                    stopper.give(Ok(closing.clone()));
                }
                self.decide(Input::Ended(id));
                self.ring_for_root(id);
                self.disappoint_restarters(id);
                self.disappoint_upgrader(id);
            }
            ReportKind::Died { detail } => {
                self.join(id);
                self.died(id, FailureReason::Panic, detail);
            }
        }
    }

    /// Tells the callers who wait for a restart of an actor whose thread has ended that it was stopped, unless another
    /// thread of the actor follows.
    fn disappoint_restarters(&mut self, id: ActorId) {
        if !self.tree.is_dead(id) {
            return;
        }
        for restarter in self.actors.get_mut(&id).into_iter().flat_map(|actor| actor.restarters.take()) {
            restarter.give(Err("it was stopped meanwhile".into()));
        }
    }

    /// The time of the tree's clock.
    fn now(&self) -> u64 {
        let elapsed = u64::try_from(clock::since(self.started).as_millis()).unwrap_or(u64::MAX);
        self.began_ms.saturating_add(elapsed)
    }

    fn decide(&mut self, input: Input) {
        self.inputs.push_back(input);
        if self.inputs.len() > 1 {
            // This input comes from an action that is being carried out now. It waits until the other actions of the same
            // decision are carried out, and the loop below then takes it.
            return;
        }
        while let Some(input) = self.inputs.front().cloned() {
            let actions = self.tree.apply(self.now(), input);
            // While the runtime is suspended, every thread ends by itself, so no action is carried out any more.
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
                self.send_verdict(id, Verdict::Restart { from, stop, reply });
            }
            Action::End { id, by, cause, given_up } => {
                let failure = given_up.and_then(|why| self.failure_by_limit(id, why));
                self.send_verdict(id, Verdict::End { by, cause, failure });
            }
            Action::Begin { id, from } => self.begin_again(id, from),
            Action::Timer { id, at, after, count } => {
                self.timers.push(Reverse((at, id)));
                self.announce_restart(id, after, count);
            }
            Action::GaveUp { id, why } => self.gave_up(id, why),
            Action::Gone(id) => self.gone(id),
            Action::Counted { supervisor, at } => {
                self.theater.registry.update(supervisor, |entry| entry.restarts = at.into())
            }
            Action::AlreadyStopped(id) => self.answer_stoppers(id),
            Action::NotRestarted { id, why } => {
                self.refuse_upgrade(id, why);
                // The refusal concerns the newest caller: earlier ones may be waiting for a restart that is under way.
                if let Some(restarter) = self.actors.get_mut(&id).and_then(|actor| actor.restarters.pop()) {
                    restarter.give(Err(format!("actor {id} cannot be restarted: {why}").into()));
                }
            }
        }
    }

    fn order(&mut self, id: ActorId, order: Order) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        if order.kind == OrderKind::Stop {
            self.theater.registry.update(id, |entry| {
                // The actor may have ended by itself since the tree decided.
                if entry.status.is_alive() {
                    entry.status = ActorStatus::Stopping;
                }
            });
        }
        actor.signal().give(order, actor.spec.manifest.limits.stop_grace());
        self.wake(id);
    }

    fn send_verdict(&self, id: ActorId, verdict: Verdict) {
        if let Some(thread) = self.actors.get(&id).and_then(|actor| actor.thread.as_ref()) {
            // Sending fails only if the thread has died, and then its last report tells the supervisor.
            let _ = thread.verdicts.send(verdict);
        }
    }

    fn apply_due_timers(&mut self) {
        while self.timers.peek().is_some_and(|Reverse((at, _))| *at <= self.now()) {
            let Some(Reverse((_, id))) = self.timers.pop() else { return };
            self.decide(Input::Timer(id));
        }
    }

    /// Leaves every actor where it is. The next start of the runtime goes on from there.
    fn suspend(&mut self) {
        self.suspending = true;
        self.theater.registry.suspend();
        for actor in self.actors.values_mut().filter(|actor| actor.sleeper.is_none()) {
            let order = Order { kind: OrderKind::Suspend, by: StoppedBy::Supervisor, cause: None };
            actor.signal().give(order, actor.spec.manifest.limits.stop_grace());
            if let Some(thread) = &mut actor.thread {
                // A thread that waits for a verdict sees its channel closed, and ends.
                thread.verdicts = unbounded().0;
            }
        }
        let waiting = self.actors.values_mut().filter_map(|actor| actor.upgrade.take());
        let waiting: Vec<_> = waiting.collect();
        for upgrade in waiting {
            upgrade.reply.answer(&self.theater.registry, Err(LifecycleError::ShuttingDown));
        }
        self.dismiss_queued();
    }
}
