//! The threads of actors: the supervisor starts one for each actor that runs, starts another for an actor that runs again,
//! and joins each thread after it has said that it ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Supervisor;
use crate::actor::{
    ActorRuntime, Again, Beginning, Lived, Report, ReportKind, SleptAt, SpawnReply, UpgradeSlot, Verdict,
};
use crate::base::id::{ActorId, Incarnation};
use crate::base::thread::{self, JoinHandle};
use crate::chain::data::{FailureReason, StartReason};
use crate::guest::THREAD_STACK_BYTES;
use crate::guest::wit::ChildEventKind;
use crate::manifest::RestartState;
use crate::system::{ActorStatus, LifecycleError, Mailbox, MailboxOwner, Spawned, StopSignal};
use crate::theater::command::{ChangeReply, Command};
use crate::theater::machine_budget::Cost;
use crate::theater::tree::Input;
use crossbeam_channel::{Sender, unbounded};

/// The thread of an actor.
pub(super) struct Thread {
    handle: JoinHandle,
    /// What was taken out of the budget for it.
    pub(super) cost: Cost,
    /// Where an upgrade can be left for it.
    pub(super) upgrades: Arc<UpgradeSlot>,
    pub(super) verdicts: Sender<Verdict>,
}

/// What an actor's thread does first.
pub(super) enum First {
    /// Begin a new chain.
    Born(Box<Beginning>),
    /// Go on with a chain that is in the journal.
    Again(Box<Again>),
    /// Go on with an incarnation that slept.
    Woken(SleptAt),
}

/// A prepared runtime that has no thread yet: none was started, or the machine had no room for one.
pub(super) struct Unstarted {
    runtime: Box<ActorRuntime>,
    pub(super) first: First,
}

impl Unstarted {
    /// The body of the actor's thread. It is a function of its own, so that what it moves is no part of the stack frames of
    /// an actor that waits.
    #[inline(never)]
    fn run(self) {
        let Self { runtime, first } = self;
        match first {
            First::Born(beginning) => runtime.run(beginning),
            First::Again(again) => runtime.run_again(*again),
            First::Woken(at) => runtime.wake(at),
        }
    }

    pub(super) fn into_mailbox(self) -> MailboxOwner {
        self.runtime.into_mailbox()
    }

    /// The caller who waits for the actor, if there is one.
    pub(super) fn into_reply(self) -> Option<SpawnReply> {
        match self.first {
            First::Born(beginning) => beginning.reply,
            First::Again(again) => again.reply,
            First::Woken(_) => None,
        }
    }
}

/// Reports to the supervisor that the thread of an actor has panicked once more, and ends. The supervisor begins another
/// thread if the policy says so.
#[cold]
#[inline(never)]
fn report_death(supervisor: &Sender<Command>, number: u64, id: ActorId, detail: &str) {
    log::error!("the thread of actor {id} panicked again, and ends: {detail}");
    let kind = ReportKind::Died { detail: detail.to_owned() };
    let _ = supervisor.send(Command::Report(number, Report { id, kind }));
}

impl Supervisor {
    /// Starts a thread for an actor that has none. An actor that stopped or failed before continues its chain; an actor
    /// that the system had no thread for begins as it was to begin then.
    pub(super) fn begin_again(&mut self, id: ActorId, from: RestartState) {
        let may_wait = self.may_become_room();
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let spent = self.budget.spend(Cost::of(actor.spec.manifest.reuse));
        let has_room = spent.is_ok();
        if let Some(why) = spent.err().filter(|_| !may_wait) {
            log::error!(
                "actor {} ({id}) cannot be started: {why}",
                self.theater.registry.shown_name(id).unwrap_or_default()
            );
            for restarter in actor.restarters.take() {
                restarter.give(Err(why.as_str().into()));
            }
            return self.died(id, FailureReason::Interrupted, why);
        }
        actor.is_unrecorded = false;
        let (unstarted, reply) = (actor.unstarted.take(), self.restart_reply(id));
        if let Some(Unstarted { mut runtime, first: First::Again(mut again) }) = unstarted {
            again.reply = reply;
            if let Some(actor) = self.actors.get_mut(&id) {
                runtime.listen_to(actor.renew_signal());
            }
            self.theater.registry.update(id, |entry| (entry.status, entry.given_up) = (ActorStatus::Restarting, None));
            return self.start_if(has_room, id, Unstarted { runtime, first: First::Again(again) });
        }
        let Some(actor) = self.actors.get_mut(&id) else { return };
        let limits = &actor.spec.manifest.limits;
        let (mailbox, owner) = Mailbox::new(limits.mailbox_deliveries, limits.mailbox_bytes);
        actor.stop = Some(Arc::new(StopSignal::new(owner.unparker())));
        let mut incarnation = Incarnation::FIRST;
        self.theater.registry.update(id, |entry| {
            if entry.mailbox.is_paused() {
                mailbox.pause();
            }
            entry.mailbox = mailbox;
            entry.status = ActorStatus::Restarting;
            entry.given_up = None;
            incarnation = entry.incarnation.next();
        });
        let (reason, notice) = (StartReason::Restart, Some(ChildEventKind::Restarted));
        let again = Again { reason, from, incarnation, reply, notice, cause: None, open: None, successor: None };
        let unstarted = self.unstarted(id, owner, First::Again(Box::new(again)));
        self.start_if(has_room, id, unstarted);
    }

    /// Starts an actor whose cost was taken out of the budget, or else puts it into the queue for room.
    pub(super) fn start_if(&mut self, has_room: bool, id: ActorId, unstarted: Unstarted) {
        if has_room { self.run_on_a_thread(id, unstarted) } else { self.start_later(id, Some(unstarted)) }
    }

    /// Prepares the runtime of an actor that is registered.
    pub(super) fn unstarted(&mut self, id: ActorId, mailbox: MailboxOwner, first: First) -> Unstarted {
        let actor = self.actors.get_mut(&id).expect("the caller has registered it");
        let stop = actor.stop.get_or_insert_with(|| Arc::new(StopSignal::new(mailbox.unparker()))).clone();
        let (was_up, is_fork, before) = (self.tree.was_up(id), self.tree.is_fork(id), actor.before.clone());
        let recorded = self.theater.registry.entry(id, |entry| entry.incarnation);
        let recorded = recorded.filter(|_| !matches!(first, First::Born(_))).unwrap_or(Incarnation(0));
        let runtime = Box::new(ActorRuntime::new(
            (actor.actor, actor.parent),
            Arc::clone(&actor.spec),
            self.theater.clone(),
            mailbox,
            stop,
            Lived { was_up, is_fork, recorded, before },
        ));
        Unstarted { runtime, first }
    }

    pub(super) fn run_on_a_thread(&mut self, id: ActorId, Unstarted { mut runtime, first }: Unstarted) {
        let (verdicts, heard) = unbounded();
        self.threads += 1;
        let (number, reports) = (self.threads, self.to_self.clone());
        let (cost, upgrades) = (Cost::of(runtime.spec().manifest.reuse), runtime.upgrades());
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.thread_number = number;
            if let Some(upgrade) = actor.upgrade.take() {
                // The thread has not begun, so nothing waits for it yet.
                let _ = upgrades.put(upgrade);
            }
        }
        runtime.connect(heard, Box::new(move |report| _ = reports.send(Command::Report(number, report))));
        let name = format!("a-{}", runtime.spec().manifest.name);
        let last_words = self.to_self.clone();
        let body = move |unstarted: Unstarted| {
            // A panic that reaches this place ends the thread. The report makes sure that the actor does not seem to run.
            // Its chain stays as it is, and the next `started` on it says that the actor began again.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| unstarted.run())) {
                report_death(&last_words, number, id, &thread::panic_message(&*panic));
            }
        };
        match thread::spawn_with(&name, THREAD_STACK_BYTES, Unstarted { runtime, first }, body) {
            Ok(handle) => {
                let actor = self.actors.get_mut(&id).expect("the caller has registered it");
                actor.thread = Some(Box::new(Thread { handle, cost, upgrades, verdicts }));
                self.note_awake(id);
            }
            Err((error, unstarted)) => {
                self.budget.give_back(cost);
                if let Some(actor) = self.actors.get_mut(&id) {
                    actor.upgrade = upgrades.take();
                }
                let why = format!("this machine has no thread left for it: {error}");
                match unstarted.first {
                    First::Woken(at) => self.could_not_wake(id, unstarted, at, &why),
                    First::Born(_) | First::Again(_) => self.could_not_start(id, unstarted, why),
                }
            }
        }
    }

    /// Handles an actor that the system has no thread for. The caller who waits for the actor is told. An actor that has
    /// never begun is forgotten, as if it had not been asked for; for an actor that has lived before, its policy decides
    /// whether it is tried again.
    fn could_not_start(&mut self, id: ActorId, Unstarted { runtime, first }: Unstarted, detail: String) {
        log::error!(
            "actor {} ({id}) cannot be started: {detail}",
            self.theater.registry.shown_name(id).unwrap_or_default()
        );
        let reply = match first {
            First::Born(mut beginning) => {
                let reply = beginning.reply.take();
                drop(runtime);
                self.decide(Input::Ended(id));
                // This cannot be refused: an actor that has never begun has no children.
                let _ = self.forget(id);
                reply
            }
            First::Woken(_) => unreachable!("it is woken later"),
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

    /// Joins the thread of an actor. The thread's last act was to report that it ends, so this takes no time.
    pub(super) fn join(&mut self, id: ActorId) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        if let Some(Thread { handle, cost, upgrades, .. }) = actor.thread.take().map(|thread| *thread) {
            // A panic of the thread was logged and reported when it happened.
            let _ = handle.join();
            actor.upgrade = upgrades.take();
            self.budget.give_back(cost);
            self.dormitory.forget(id);
            self.start_queued();
        }
    }

    /// Hands the callers who wait for a restart over to the actor's thread, which answers them once the actor is up.
    pub(super) fn restart_reply(&mut self, id: ActorId) -> Option<SpawnReply> {
        let restarters: Vec<ChangeReply> = self.actors.get_mut(&id)?.restarters.take();
        if restarters.is_empty() {
            return None;
        }
        Some(SpawnReply::calling(move |answer: Result<Spawned, LifecycleError>| {
            for restarter in restarters {
                restarter.give(answer.clone().map(|spawned| spawned.closing));
            }
        }))
    }
}
