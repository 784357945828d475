//! How an incarnation begins: `started`, then `init` where it is due, or the transition that was left open; then the
//! actor is up.

use std::sync::Arc;

use super::executor::{Executor, Job, Transition};
use super::runtime::{ActorRuntime, Again, Beginning, Down, Open, ReportKind, down_by};
use crate::base::clock;
use crate::base::fail;
use crate::chain::cbor::Cbor;
use crate::chain::data::{Caller, Failed, FailureReason, NamedLimits, NamedState, StartReason, Started};
use crate::chain::{EventKind, Head, Link, StateChain};
use crate::guest::Interruption;
use crate::handlers::{ActorRef, INIT};
use crate::journal::{ActorStarted, Attached, Record, StateWrite};
use crate::manifest::RestartState;
use crate::promise::Notice;
use crate::system::{ActorFailure, ActorStatus, Answer, Outcome, Reply, Spawned};

/// Starts that may resume a transition and get no further with it. It is over then: a message that kills the process
/// must not kill every start.
const ATTEMPTS: u64 = 2;

impl ActorRuntime {
    pub(super) fn read_journal(&self, again: &Again) -> Result<Beginning, String> {
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
            notice: None,
            interrupted: again.open.is_none()
                && matches!(last.kind(), Some(EventKind::Call | EventKind::Intent | EventKind::HostCall)),
            open: None,
        })
    }

    /// Records the beginning, and does what is due before the actor takes deliveries.
    ///
    /// A transition left open that no start survives is closed here, as `failed`, in place of a beginning.
    #[inline(never)]
    pub(super) fn begin(&mut self, executor: &mut Executor, beginning: &mut Beginning) -> Result<(), Down> {
        fail::point("beginning");
        let mut open = beginning.open.take();
        executor.recorder().hold(open.as_mut().and_then(|open| open.wait.take()));
        if let Some(given_up) = open.take_if(|open| open.attempts >= ATTEMPTS) {
            self.give_up(executor, *given_up)?;
        }
        let Some(open) = open else { return self.begin_anew(executor, beginning) };
        self.attempts = open.attempts + 1;
        self.record_started(executor, beginning, None, true)?;
        // Marked before it is tried: else whatever kills the process would be tried for ever.
        executor.recorder().flush().map_err(down_by)?;
        if open.successor.is_none() {
            self.start_listeners().map_err(|why| failed_to_start(FailureReason::Init, why))?;
        }
        if !open.is_init() {
            let successor = open.successor.clone();
            if successor.is_none() {
                let closing = executor.recorder().chain().head_link();
                self.is_up(beginning, closing, None);
            }
            self.resume(executor, *open)?;
            return successor.map_or(Ok(()), |spec| Err(Down::Succeeded(spec)));
        }
        let successor = open.successor.clone();
        let mut notice = None;
        let kind = beginning.notice.take();
        let end = self.run_again_from(executor, *open, &mut || {
            notice = kind.clone().and_then(|kind| self.reserve_notice(kind));
            notice.as_ref().map(Notice::owed)
        });
        let closing = self.initialised(end)?;
        match successor {
            Some(spec) => {
                let set = self.set_status(ActorStatus::Running);
                notice.into_iter().for_each(|notice| notice.fill(closing.clone(), set));
                Err(Down::Succeeded(spec))
            }
            None => {
                self.is_up(beginning, Some(closing), notice);
                Ok(())
            }
        }
    }

    /// The open transition is over. Where the actor was not asked for, what becomes of it is the supervisor's to say.
    fn give_up(&mut self, executor: &mut Executor, open: Open) -> Result<(), Down> {
        let detail = format!("the process ended {ATTEMPTS} times while it was resumed");
        let reason = FailureReason::Interrupted;
        if !open.asked_for || open.is_init() {
            return Err(Down::Failed { reason, detail, reply: open.reply });
        }
        let outcome = Outcome::Failed(ActorFailure::new(reason, detail.clone()));
        let failed = Failed { detail, reason, dropped: Vec::new() };
        let closing = executor.recorder().record("failed", failed.to_cbor(), Attached::default()).map_err(down_by)?;
        self.answer(open.reply, Answer { outcome, closing: Some(closing) });
        Ok(())
    }

    fn begin_anew(&mut self, executor: &mut Executor, beginning: &mut Beginning) -> Result<(), Down> {
        let listening = self.start_listeners();
        let mut notice = None;
        if !beginning.run_init && listening.is_ok() {
            notice = beginning.notice.take().and_then(|kind| self.reserve_notice(kind));
        }
        self.record_started(executor, beginning, notice.as_ref(), false)?;
        listening.map_err(|why| failed_to_start(FailureReason::Init, why))?;
        if !beginning.run_init {
            let closing = executor.recorder().chain().head_link();
            self.is_up(beginning, closing, notice);
            return Ok(());
        }
        let kind = beginning.notice.take();
        let params = (self.actor.id.to_string(),).to_cbor();
        let job = Job { function: INIT, params, caller: Caller::Runtime, cause: beginning.cause.clone() };
        let end = executor.transition(job, &mut || {
            notice = kind.clone().and_then(|kind| self.reserve_notice(kind));
            notice.as_ref().map(Notice::owed)
        });
        let closing = self.initialised(end)?;
        self.is_up(beginning, Some(closing), notice);
        Ok(())
    }

    /// What `init` came to: the event that closed it, or the end of the actor.
    fn initialised(&self, end: Transition) -> Result<Link, Down> {
        match end {
            Transition::Closed { outcome: Outcome::Refused(message), .. } => {
                Err(failed_to_start(FailureReason::Init, message))
            }
            Transition::Closed { closing, .. } => Ok(closing),
            Transition::Failed { reason, detail } => Err(failed_to_start(reason, detail)),
            Transition::Interrupted(shortage @ Interruption::Shortage(_)) => {
                Err(failed_to_start(FailureReason::Interrupted, shortage.to_string()))
            }
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
            has_lived: self.was_up,
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

    fn record_started(
        &mut self,
        executor: &mut Executor,
        beginning: &Beginning,
        notice: Option<&Notice>,
        resumes: bool,
    ) -> Result<(), Down> {
        let journal = &self.theater.journal;
        let (manifest, state) = (Arc::clone(&self.spec), beginning.state.as_deref());
        let manifest = &manifest.manifest;
        journal.enqueue(Record::Component(self.spec.digest(), Arc::clone(self.spec.program.component())))?;
        let recorder = executor.recorder();
        if beginning.interrupted {
            let detail = "the thread ended while the guest ran".to_owned();
            let failed = Failed { detail, reason: FailureReason::Interrupted, dropped: Vec::new() };
            recorder.record("failed", failed.to_cbor(), Attached::default()).map_err(down_by)?;
        }
        let named = NamedState::of(state);
        if let (NamedState::Digest { sha1, .. }, Some(state)) = (&named, &beginning.state) {
            journal.enqueue(Record::Blob(*sha1, Arc::clone(state)))?;
        }
        let started = Started {
            id: self.actor.id,
            fork: beginning.cause.clone().filter(|_| beginning.reason == StartReason::Fork),
            name: manifest.name.clone(),
            state: named,
            limits: NamedLimits::of(manifest.limits.entries()),
            parent: self.parent,
            reason: beginning.reason,
            resumes,
            manifest: manifest.text().to_string(),
            component: self.spec.digest(),
            incarnation: beginning.incarnation,
        };
        let row = ActorStarted {
            name: manifest.name.clone(),
            parent: self.parent,
            incarnation: beginning.incarnation,
            component: self.spec.digest(),
            manifest: Arc::clone(manifest.text()),
            manifest_path: manifest.path().display().to_string(),
            attempts: if resumes { self.attempts } else { 0 },
        };
        let attached = Attached {
            begins: Some(Box::new(row)),
            // The newest state is this one: a restart from `initial` must not find a later one after a crash. Within a
            // transition it is that already, and no replay can begin there.
            state: (!resumes).then(|| StateWrite { state: beginning.state.clone(), named: true, keep: true }),
            owes: notice.map(Notice::owed),
            ..Attached::default()
        };
        let link = recorder.record("started", started.to_cbor(), attached).map_err(down_by)?;
        // Counted from here on, whether or not it comes up; and not before, or the chain would lack a number.
        self.recorded = beginning.incarnation;
        self.theater.registry.update(self.actor.id, |entry| {
            (entry.has_begun, entry.incarnation) = (true, beginning.incarnation);
        });
        if !resumes {
            executor.kept_at(link.sequence);
        }
        Ok(())
    }

    /// `closing` is the event that says so, and what the parent is told follows from.
    fn is_up(&mut self, beginning: &mut Beginning, closing: Option<Link>, notice: Option<Notice>) {
        (self.recovering, self.was_up, self.panicked) = (false, true, false);
        self.theater.registry.update(self.actor.id, |entry| entry.since_ms = clock::unix_ms());
        let set = self.set_status(ActorStatus::Running);
        if beginning.reason == StartReason::Restart {
            log::info!("actor {} runs again: incarnation {}", self.spec.manifest.name, self.recorded);
        }
        // The supervisor hears first: whoever is told may ask it at once for something else.
        self.report(ReportKind::Up);
        if let (Some(notice), Some(closing)) = (notice, &closing) {
            notice.fill(closing.clone(), set);
        }
        if let Some(reply) = beginning.reply.take() {
            reply.answer(&self.theater.registry, Ok(Spawned { id: self.actor.id, closing }));
        }
    }
}

fn failed_to_start(reason: FailureReason, detail: String) -> Down {
    Down::Failed { reason, detail, reply: Reply::Nobody }
}
