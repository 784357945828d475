//! The beginning of an incarnation: record `started`, run `init` if it is due or resume the transition that was left open,
//! then tell everyone who waits that the actor is up.

use std::sync::Arc;

use super::beginning::{Beginning, OpenTransition};
use super::context::ActorContext;
use super::down::Down;
use super::executor::{Executor, Job, Transition};
use super::listeners::Listeners;
use super::progress::Progress;
use super::resume::{resume, run_again_from};
use super::verdict::ReportKind;
use crate::base::clock;
use crate::base::fail;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Caller, Failed, FailureReason, NamedLimits, NamedState, StartReason, Started};
use crate::chain::{Link, MIGRATE};
use crate::guest::Interruption;
use crate::handlers::INIT;
use crate::journal::{ActorStarted, Attached, Cause, Record, StateWrite};
use crate::promise::{Notice, begun_anew};
use crate::system::{ActorFailure, ActorStatus, Answer, Outcome, Reply, Spawned, StopSignal};

/// How many starts in a row may resume the same transition without getting any further. After that the transition is
/// closed as failed, because a message that kills the process must not kill every start.
const ATTEMPTS: u64 = 5;

/// The parts of an actor's thread that are needed to begin an incarnation.
pub(super) struct Beginner<'a> {
    pub(super) context: &'a ActorContext,
    pub(super) stop: &'a StopSignal,
    pub(super) progress: &'a mut Progress,
    pub(super) listeners: &'a mut Listeners,
}

impl Beginner<'_> {
    /// Records the beginning, and does everything that is due before the actor takes deliveries.
    ///
    /// If too many starts have tried to resume the open transition in vain, the transition is closed here as `failed`.
    #[inline(never)]
    pub(super) fn begin(&mut self, executor: &mut Executor, beginning: &mut Beginning) -> Result<(), Down> {
        fail::point("beginning");
        fail::point_after("beginning-committed", || _ = self.context.theater.journal.flush());
        let mut open = beginning.open.take();
        executor.recorder().hold(open.as_mut().and_then(|open| open.wait.take()));
        if let Some(given_up) = open.take_if(|open| open.attempts >= ATTEMPTS) {
            self.give_up(executor, *given_up)?;
        }
        match open {
            Some(open) => self.begin_within(executor, beginning, *open),
            None => self.begin_anew(executor, beginning),
        }
    }

    /// Closes a transition that no start has survived. If the command line did not name the actor, the supervisor decides
    /// what becomes of it.
    fn give_up(&mut self, executor: &mut Executor, open: OpenTransition) -> Result<(), Down> {
        let detail = format!("the process ended {ATTEMPTS} times while it was resumed");
        let reason = FailureReason::Interrupted;
        if !open.asked_for || open.is_init() || open.is_migration() {
            self.progress.is_migrating = open.is_migration();
            self.progress.successor.clone_from(&open.successor);
            return Err(Down::Failed { reason, detail, reply: open.reply });
        }
        let outcome = Outcome::Failed(ActorFailure::new(reason, detail.clone()));
        let failed = Failed { detail, reason, dropped: Vec::new() };
        let closing = executor.recorder().record("failed", failed.to_cbor(), Attached::default()).map_err(Down::by)?;
        self.context.answer(open.reply, Answer { outcome, closing: Some(closing) });
        Ok(())
    }

    /// Begins an incarnation that goes on with the transition `open`.
    fn begin_within(
        &mut self,
        executor: &mut Executor,
        beginning: &mut Beginning,
        open: OpenTransition,
    ) -> Result<(), Down> {
        self.progress.attempts = open.attempts + 1;
        self.record_started(executor, beginning, None, true)?;
        // The attempt is on disk before it is made. Otherwise a transition that kills the process would leave no trace of
        // the attempt, and every start would try it again.
        executor.recorder().flush().map_err(Down::by)?;
        if open.successor.is_none() {
            self.start_listeners()?;
        }
        if open.is_init() || open.is_migration() {
            self.progress.is_migrating = open.is_migration();
            self.progress.successor.clone_from(&open.successor);
            return self.resume_first(executor, beginning, open);
        }
        let successor = open.successor.clone();
        if successor.is_none() {
            let closing = executor.recorder().chain().head_link();
            self.announce_up(beginning, closing, None);
        }
        resume(self.context, self.stop, executor, open)?;
        successor.map_or(Ok(()), |spec| Err(Down::Succeeded(spec)))
    }

    /// Goes on with an `init` or a `migrate`.
    fn resume_first(
        &mut self,
        executor: &mut Executor,
        beginning: &mut Beginning,
        open: OpenTransition,
    ) -> Result<(), Down> {
        let successor = open.successor.clone();
        let mut notice = None;
        let kind = beginning.notice.take();
        let end = run_again_from(self.context, executor, open, &mut |_| {
            notice = kind.clone().and_then(|kind| self.context.reserve_notice(kind));
            notice.as_ref().map(Notice::owed)
        });
        let closing = self.initialised(end)?;
        self.note_migrated(executor);
        match successor {
            Some(spec) => {
                let set = self.context.set_status(ActorStatus::Running);
                notice.into_iter().for_each(|notice| notice.fill(closing.clone(), set));
                Err(Down::Succeeded(spec))
            }
            None => {
                self.announce_up(beginning, Some(closing), notice);
                Ok(())
            }
        }
    }

    /// Begins an incarnation at a place in the chain where no transition is open.
    fn begin_anew(&mut self, executor: &mut Executor, beginning: &mut Beginning) -> Result<(), Down> {
        // What goes on with another build at once starts nothing that would not be its own.
        let listening = if beginning.successor.is_none() { self.start_listeners() } else { Ok(()) };
        let first = self.first_call(beginning);
        let mut notice = None;
        if first.is_none() && listening.is_ok() && beginning.successor.is_none() {
            notice = beginning.notice.take().and_then(|kind| self.context.reserve_notice(kind));
        }
        self.record_started(executor, beginning, notice.as_ref(), false)?;
        fail::point("begun");
        fail::point_after("begun-committed", || _ = self.context.theater.journal.flush());
        listening?;
        if let Some(successor) = beginning.successor.take() {
            return Err(Down::Succeeded(successor));
        }
        let Some(job) = first else {
            let closing = executor.recorder().chain().head_link();
            self.announce_up(beginning, closing, notice);
            return Ok(());
        };
        let kind = beginning.notice.take();
        self.progress.is_migrating = !beginning.run_init;
        let theater = &self.context.theater;
        let mut promises = |_: &[u8]| {
            notice = kind.clone().and_then(|kind| self.context.reserve_notice(kind));
            notice.as_ref().map(Notice::owed)
        };
        let end = executor.transition_taken(job, &mut promises, |_| {
            fail::point("first-called");
            fail::point_after("first-called-committed", || _ = theater.journal.flush());
        });
        let closing = self.initialised(end)?;
        self.note_migrated(executor);
        self.announce_up(beginning, Some(closing), notice);
        Ok(())
    }

    /// The call that is due before the actor takes deliveries: `init`, or `migrate`.
    fn first_call(&self, beginning: &Beginning) -> Option<Job> {
        if beginning.run_init {
            let params = (self.context.actor.id.to_string(),).to_cbor();
            return Some(Job::new(INIT, params, Caller::Runtime, beginning.cause.clone()));
        }
        let from = beginning.migrates_from?;
        Some(Job::new(MIGRATE, (from.to_string(),).to_cbor(), Caller::Runtime, None))
    }

    /// Notes that the actor's state is one of the build that it runs, if `migrate` has returned.
    fn note_migrated(&mut self, executor: &Executor) {
        if std::mem::take(&mut self.progress.is_migrating)
            && let Some(trial) = &mut self.progress.trial
        {
            (trial.made_by, trial.has_written_rows) = (None, executor.has_written_rows());
        }
    }

    /// The event that closed `init`, or the end of the actor if `init` went wrong.
    fn initialised(&self, end: Transition) -> Result<Link, Down> {
        match end {
            Transition::Closed { outcome: Outcome::Refused(message), .. } => {
                Err(Down::failed_to_start(FailureReason::Init, message))
            }
            Transition::Closed { closing, .. } => Ok(closing),
            Transition::Failed { reason, detail } => Err(Down::failed_to_start(reason, detail)),
            Transition::Interrupted(shortage @ Interruption::Shortage(_)) => {
                Err(Down::failed_to_start(FailureReason::Interrupted, shortage.to_string()))
            }
            Transition::Interrupted(interruption) => {
                Err(Down::interrupted(self.context, self.stop, interruption, Reply::Nobody))
            }
        }
    }

    fn start_listeners(&mut self) -> Result<(), Down> {
        // A fork goes on with what another actor has made, such as a granted directory.
        let has_lived = self.progress.was_up || self.progress.is_fork;
        let started = self.listeners.start(self.context, has_lived);
        started.map_err(|why| Down::failed_to_start(FailureReason::Init, why))
    }

    /// Records `started`, with the component and the state that it names. `notice` is what the parent is promised by this
    /// event; `resumes` says that the incarnation goes on with an open transition.
    fn record_started(
        &mut self,
        executor: &mut Executor,
        beginning: &Beginning,
        notice: Option<&Notice>,
        resumes: bool,
    ) -> Result<(), Down> {
        let ActorContext { actor, parent, spec, theater, .. } = self.context;
        let (journal, manifest, state) = (&theater.journal, &spec.manifest, beginning.state.as_deref());
        journal.enqueue(Record::Component(spec.digest(), Arc::clone(spec.program.component())))?;
        let recorder = executor.recorder();
        if beginning.interrupted {
            let detail = "the thread ended while the guest ran".to_owned();
            let failed = Failed { detail, reason: FailureReason::Interrupted, dropped: Vec::new() };
            recorder.record("failed", failed.to_cbor(), Attached::default()).map_err(Down::by)?;
        }
        let named = NamedState::of(state);
        let begins_with = match (&named, &beginning.state) {
            (NamedState::Digest { sha1, .. }, Some(state)) => Some((*sha1, Arc::clone(state))),
            _ => None,
        };
        let started = Started {
            id: actor.id,
            fork: beginning.cause.clone().filter(|_| beginning.reason == StartReason::Fork),
            name: manifest.name.clone(),
            rows: beginning.rows,
            ended: theater.registry.entry(actor.id, |entry| entry.ended.is_some()).unwrap_or(false),
            label: theater.registry.entry(actor.id, |entry| entry.label.as_ref().map(ToString::to_string)).flatten(),
            state: named,
            limits: NamedLimits::of(manifest.limits.entries()),
            parent: *parent,
            reason: beginning.reason,
            resumes,
            manifest: manifest.text().to_string(),
            component: spec.digest(),
            incarnation: beginning.incarnation,
        };
        let row = ActorStarted {
            name: manifest.name.clone(),
            parent: *parent,
            incarnation: beginning.incarnation,
            component: spec.digest(),
            manifest: Arc::clone(manifest.text()),
            manifest_path: manifest.path().display().to_string(),
            attempts: if resumes { self.progress.attempts } else { 0 },
        };
        // An actor that begins from its initial state has set no timers, monitors nobody, has asked for nothing, and owes nobody
        // an answer.
        let mut given_up = Vec::new();
        if beginning.run_init {
            given_up = theater.timers.promised_by(actor.id);
            given_up.extend(theater.registry.open_watches(actor.id));
            given_up.extend(theater.async_requests.open(actor.id));
            given_up.extend(theater.deferrals.open(actor.id));
        }
        let settles = given_up.into_iter().map(|sequence| Cause { actor: actor.id, sequence }).collect();
        let attached = Attached {
            begins: Some(Box::new(row)),
            // The journal stores this state as the newest, because an incarnation that begins from the initial state must
            // not find the state of an earlier incarnation after a crash. An incarnation that resumes a transition stores
            // nothing: the newest state is this one already, and no replay can begin in the middle of a transition.
            state: (!resumes).then(|| StateWrite { state: beginning.state.clone(), named: true, keep: true }),
            owes: notice.map(Notice::owed),
            begins_with,
            settles,
            ..Attached::default()
        };
        let link = recorder.record("started", started.to_cbor(), attached).map_err(Down::by)?;
        if beginning.run_init {
            theater.timers.clear(actor.id);
            theater.registry.clear_watches(actor.id);
            theater.async_requests.clear(actor.id);
            self.context.refuse_deferred(&begun_anew(link.clone()));
        }
        // The incarnation counts from here on, even if it never comes up. It must not count earlier: if the event were
        // not recorded, the chain would lack this number.
        self.progress.recorded = beginning.incarnation;
        if beginning.reason == StartReason::Upgrade {
            let before = self.progress.trial.as_ref().and_then(|trial| trial.before.clone());
            self.context.report(ReportKind::Upgraded { spec: Arc::clone(spec), before });
        }
        theater.registry.update(actor.id, |entry| {
            (entry.has_begun, entry.ended, entry.incarnation) = (true, None, beginning.incarnation);
            entry.ended_before = false;
        });
        if !resumes {
            executor.kept_at(link.sequence);
        }
        Ok(())
    }

    /// Tells everyone who waits that the actor is up. `closing` is the event that says so; the parent's `notice` names it
    /// as its cause.
    fn announce_up(&mut self, beginning: &mut Beginning, closing: Option<Link>, notice: Option<Notice>) {
        let context = self.context;
        let progress = &mut *self.progress;
        (progress.recovering, progress.was_up, progress.panicked) = (false, true, false);
        context.theater.registry.update(context.actor.id, |entry| entry.since_ms = clock::unix_ms());
        let set = context.set_status(ActorStatus::Running);
        match beginning.reason {
            StartReason::Restart => {
                log::info!("actor {} runs again: incarnation {}", context.name(), progress.recorded)
            }
            StartReason::Upgrade => {
                let digest = context.spec.digest();
                log::info!(
                    "actor {} runs the component {digest} now: incarnation {}",
                    context.name(),
                    progress.recorded
                );
            }
            StartReason::Spawn | StartReason::Fork | StartReason::Recovery => {}
        }
        // The supervisor is told first, because the parent and the spawner may ask it for another change as soon as they
        // hear of this one.
        context.report(ReportKind::Up);
        if let (Some(notice), Some(closing)) = (notice, &closing) {
            notice.fill(closing.clone(), set);
        }
        if let Some(reply) = beginning.reply.take() {
            reply.answer(&context.theater.registry, Ok(Spawned { id: context.actor.id, closing }));
        }
    }
}
