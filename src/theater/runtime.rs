//! A running theater, as an embedder holds it: configured, started, asked through its handle, and ended.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::command::{Comeback, Command, Newborn};
use super::control::LifecycleControl;
use super::recovery::{Recovered, recover};
use super::retention::{Retaining, Retention};
use super::supervisor::Supervisor;
use super::upgrade::upgrade;
use crate::actor::{SharedSpecs, SpawnReply, Spec};
use crate::base::id::ActorId;
use crate::base::limits::{ActorLimits, RuntimeLimits};
use crate::base::one_shot::{OneReceiver, one_shot};
use crate::base::places::Places;
use crate::base::thread::{self, JoinHandle};
use crate::base::wait;
use crate::guest::{GuestEngine, KeptFunctions, code_cache_within};
use crate::handlers::{Handler, Handlers};
use crate::journal::{DataDir, Durability, Journal, JournalError, JournalHandle, Listener, RemoteLog};
use crate::manifest::{ActorSource, Manifest, ManifestError};
use crate::system::{
    ActorInfo, ActorStatus, KeyedRequests, LifecycleError, Registry, SecretSource, Secrets, Spawned, Subscribers,
    TheaterHandle,
};

/// How a theater is to run. [`Config::new`] is a theater that keeps everything in a temporary directory; each method
/// changes one thing.
///
/// ```no_run
/// # fn main() -> Result<(), theater::TheaterError> {
/// use theater::{Config, TheaterRuntime};
///
/// let config = Config::new().data_dir("/var/lib/greeter").actor("greeter.toml");
/// let theater = TheaterRuntime::start(config)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// The directory of the journal. Without one, the journal lies in a temporary directory that is removed at the end.
    pub data_dir: Option<PathBuf>,
    /// The directory of the compiled code of components, which any number of runtimes of one user may share. Without one, it
    /// lies in the data directory.
    pub code_cache: Option<PathBuf>,
    /// How safe a change is against a crash once it is acknowledged.
    pub durability: Durability,
    /// What actors may use: the limits of an actor whose manifest names none, and the highest that a manifest may name.
    pub actor_limits: ActorLimits,
    /// The bounds of the runtime as a whole.
    pub limits: RuntimeLimits,
    /// What old data is dropped while the theater runs; by default none.
    pub retention: Retention,
    /// The actors to run. Each is resumed if the data directory has a root actor of its name, and started anew otherwise.
    pub actors: Vec<ActorSource>,
    /// The handlers that manifests may grant beside those that Theater brings.
    pub handlers: Handlers,
    /// The secrets that manifests may use; by default none.
    pub secrets: Secrets,
    /// Where compiled functions are kept, if builds of the same actors are to come.
    pub(crate) functions: Option<KeptFunctions>,
    /// The shared log of the realm that this runtime owns, if it is a realm's: the data directory holds a copy of that.
    pub(crate) shared_log: Option<Arc<dyn RemoteLog>>,
}

impl Config {
    /// A theater without actors, in a temporary directory, with default limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// Keeps the journal in `directory`, which is made if it is not there.
    #[must_use]
    pub fn data_dir(self, directory: impl Into<PathBuf>) -> Self {
        Self { data_dir: Some(directory.into()), ..self }
    }

    /// Keeps the compiled code of components in `directory`, which is made if it is not there.
    #[must_use]
    pub fn code_cache(self, directory: impl Into<PathBuf>) -> Self {
        Self { code_cache: Some(directory.into()), ..self }
    }

    /// Sets how safe a change is against a crash once it is acknowledged. The default is [`Durability::Commit`].
    #[must_use]
    pub fn durability(self, durability: Durability) -> Self {
        Self { durability, ..self }
    }

    /// Bounds what actors may use.
    #[must_use]
    pub fn actor_limits(self, actor_limits: ActorLimits) -> Self {
        Self { actor_limits, ..self }
    }

    /// Bounds the runtime as a whole.
    #[must_use]
    pub fn limits(self, limits: RuntimeLimits) -> Self {
        Self { limits, ..self }
    }

    /// Drops old data while the theater runs.
    #[must_use]
    pub fn retention(self, retention: Retention) -> Self {
        Self { retention, ..self }
    }

    /// Runs one more actor.
    #[must_use]
    pub fn actor(mut self, source: impl Into<ActorSource>) -> Self {
        self.actors.push(source.into());
        self
    }

    /// Lets manifests grant one more handler.
    #[must_use]
    pub fn handler(mut self, handler: impl Handler) -> Self {
        self.handlers.add(handler);
        self
    }

    /// Lets manifests use one more secret, by this name.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, source: SecretSource) -> Self {
        self.secrets.add(name, source);
        self
    }
}

/// Why a theater could not be started, or ended before it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TheaterError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A manifest is wrong.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// An actor that the configuration names could not be started or resumed.
    #[error("actor \"{name}\": {why}{note}")]
    NotStarted {
        /// The actor's name, from its manifest.
        name: String,
        /// Why it did not come up.
        why: LifecycleError,
        /// What else the operator should know, after a semicolon; often empty.
        note: String,
    },
    /// The actors of the data directory could not be brought back, or those of the configuration not be read.
    #[error(transparent)]
    Actors(LifecycleError),
    /// The sandbox or the supervisor could not be started.
    #[error("{0}")]
    Setup(String),
    /// The journal failed while the theater started or ran; the text says why, and what to do.
    #[error("{0}")]
    JournalFailed(String),
    /// The supervisor's thread panicked: a defect of Theater. The actors cannot be suspended any more.
    #[error(
        "{0}: this is a defect of Theater. What was acknowledged is on disk, and the next start goes on from there"
    )]
    SupervisorFailed(String),
    /// Another thread that the runtime needs panicked: a defect of Theater. The runtime can still be shut down.
    #[error("{0}: this is a defect of Theater. All actors were suspended, and go on at the next start")]
    ThreadFailed(String),
}

/// A running theater. Dropping it suspends every actor where it is, as [`TheaterRuntime::shutdown`] does.
pub struct TheaterRuntime {
    handle: TheaterHandle,
    supervisor: Option<JoinHandle>,
    retaining: Option<Retaining>,
    /// The thread that wakes actors for their timers.
    timers: Option<JoinHandle>,
    journal: Option<Journal>,
    journal_failed: Receiver<String>,
    thread_failed: Receiver<String>,
    /// A channel that is disconnected once the supervisor has ended; no item is ever sent.
    ended: Receiver<()>,
    /// The supervisor's panic, if it ended by one.
    panicked: Arc<OnceLock<String>>,
    /// Rings when a root may have ended for good.
    root_ended: Receiver<()>,
    not_resumed: Vec<NotResumed>,
}

impl TheaterRuntime {
    /// Starts a theater: opens the journal, resumes the actors that it holds, starts the configured actors that are new, and
    /// waits for their `init`.
    ///
    /// # Errors
    ///
    /// [`TheaterError`]; nothing runs then. A configured actor that does not come up is an error. An actor of the data
    /// directory that the configuration does not name, and that does not come up, is logged and listed as failed.
    /// But the manifest of every actor of the data directory that is not forgotten has to be understood: nothing runs if
    /// one of them grants a [`crate::Handler`] that the configuration does not have.
    pub fn start(config: Config) -> Result<Self, TheaterError> {
        Self::start_watched(config, |_| Ok(()))
    }

    /// Like [`TheaterRuntime::start`]. `begins` is called before any actor begins, with the handle that can end the start. An error
    /// of it ends the start, and nothing was recorded then.
    pub(crate) fn start_watched(
        config: Config,
        begins: impl FnOnce(&TheaterHandle) -> Result<(), String>,
    ) -> Result<Self, TheaterError> {
        let manifests: Vec<Manifest> =
            config.actors.iter().map(|source| Manifest::of(source, &config.actor_limits)).collect::<Result<_, _>>()?;
        let dir = match &config.data_dir {
            Some(path) => DataDir::open(path)?,
            None => DataDir::ephemeral()?,
        };
        let own_cache = code_cache_within(dir.path());
        // What a temporary directory would keep goes with it: an ephemeral runtime has no cache of its own.
        let cache = config.code_cache.or_else(|| config.data_dir.is_some().then(|| own_cache.clone()));
        remove_unused_cache(&own_cache, cache.as_deref());
        let retention = config.retention;
        retention.check(dir.path()).map_err(TheaterError::Setup)?;
        if let Some(warning) = retention.warning() {
            log::warn!("{warning}");
        }
        let (journal, subscribers, journal_failed) =
            open_journal(dir, config.durability, config.limits.journal_queue_bytes, config.shared_log)?;
        journal.handle().keep_free(config.limits.min_free_bytes).map_err(TheaterError::Setup)?;
        if let Some(archive) = &retention.archive {
            journal.handle().archive_to(archive.clone());
        }
        let engine = GuestEngine::with(cache.as_deref(), config.functions.as_ref());
        let mut engine = engine.map_err(|error| TheaterError::Setup(error.to_string()))?;
        config.handlers.check().map_err(TheaterError::Setup)?;
        config.secrets.check().map_err(TheaterError::Setup)?;
        engine.extensions.insert(config.handlers);
        let (commands, received) = unbounded();
        let registry = Arc::new(Registry::default());
        let wakes = commands.clone();
        registry.wakes_by(move |actor| _ = wakes.send(Command::Wake(actor)));
        let specs = Arc::<SharedSpecs>::default();
        let control = LifecycleControl {
            engine: Arc::new(engine),
            commands: commands.clone(),
            journal: journal.handle().clone(),
            registry: Arc::clone(&registry),
            actor_limits: config.actor_limits,
            specs: Arc::clone(&specs),
        };
        let engine = Arc::clone(&control.engine);
        let (failed, thread_failed) = bounded(1);
        let handle = TheaterHandle {
            registry,
            journal: journal.handle().clone(),
            subscribers,
            control: Arc::new(control),
            pauses: Arc::default(),
            limits: config.limits,
            http_exchanges: Places::default(),
            secrets: config.secrets,
            keyed: KeyedRequests::default(),
            timers: Arc::default(),
            async_requests: Arc::default(),
            deferrals: Arc::default(),
            clients: Arc::default(),
            proofs: Arc::default(),
            telemetry: Arc::default(),
            failed,
        };
        let recovered = recover(&engine, &handle, &specs, manifests).map_err(|why| {
            why_the_journal_failed(&handle.journal, &journal_failed).unwrap_or(TheaterError::Actors(why))
        })?;
        // What an archive has of the actors' histories, nobody could execute again without them.
        let unneeded = if retention.archive.is_some() { Ok(0) } else { journal.remove_unneeded_components() };
        match unneeded {
            Ok(0) => {}
            Ok(removed) => log::info!("{removed} components that nothing needs any more are removed"),
            Err(why) => log::warn!("it is not known which components are needed, so all of them stay: {why}"),
        }
        let ((over, ended), panicked) = (bounded::<()>(0), Arc::<OnceLock<String>>::default());
        let why = Arc::clone(&panicked);
        let (root_ends, root_ended) = bounded(1);
        let supervisor = Supervisor::new(handle.clone(), commands.clone(), received, root_ends);
        let supervisor = thread::spawn_vital(
            "theater",
            || supervisor.run(),
            move |panicked| {
                panicked.into_iter().for_each(|panicked| _ = why.set(panicked.to_string()));
                drop(over);
            },
        );
        let no_thread = |error| TheaterError::Setup(format!("cannot start the supervisor's thread: {error}"));
        let supervisor = Some(supervisor.map_err(no_thread)?);
        let (journal, not_resumed) = (Some(journal), Vec::new());
        let mut runtime = Self {
            handle,
            supervisor,
            retaining: None,
            timers: None,
            journal,
            journal_failed,
            thread_failed,
            ended,
            panicked,
            root_ended,
            not_resumed,
        };

        let (timers, told) = (Arc::clone(&runtime.handle.timers), runtime.handle.clone());
        let registry = Arc::clone(&told.registry);
        let run = move || timers.run(&|actor| registry.wake(actor));
        let thread = thread::spawn_vital("timers", run, move |panicked| told.thread_failed(panicked));
        let no_thread = |error| TheaterError::Setup(format!("cannot start the thread of the timers: {error}"));
        runtime.timers = Some(thread.map_err(no_thread)?);
        begins(&runtime.handle).map_err(TheaterError::Setup)?;
        let brought_back = runtime.bring_back(&commands, recovered);
        // The caller is told that the theater runs once the starts are on disk. If the journal has failed, that is the reason
        // for whatever else went wrong.
        if let Some(failed) = why_the_journal_failed(&runtime.handle.journal, &runtime.journal_failed) {
            return Err(failed);
        }
        brought_back?;
        let no_thread = |error| TheaterError::Setup(format!("cannot start the thread of retention: {error}"));
        runtime.retaining = Retaining::start(runtime.handle.journal.clone(), retention).map_err(no_thread)?;
        Ok(runtime)
    }

    /// Resumes the actors from an earlier runtime, and then starts the new ones, each until it is up. Old actors come
    /// first, so that a new actor takes no port that an old one listens on.
    fn bring_back(&mut self, commands: &Sender<Command>, recovered: Recovered) -> Result<(), TheaterError> {
        let Recovered { mut before, owed, asked_for, new } = recovered;
        let mut answers = Vec::new();
        for (newborn, _) in before.iter_mut().filter(|(_, how)| matches!(how, Comeback::Runs)) {
            // An actor whose parent waits for it answers that parent.
            if newborn.reply.is_none() {
                answers.push(Expected::of(newborn));
            }
        }
        let (listed, all_listed) = bounded::<()>(0);
        let _ = commands.send(Command::Recover(before, owed, listed));
        // Nothing is ever sent: the wait ends when the supervisor drops the sender.
        let _ = wait::receive(&all_listed);
        let mut refused = None;
        for Expected { id, name, answer } in answers {
            let Err(why) = answer.receive().unwrap_or_else(|_| Err("it could not be started".into())) else { continue };
            if asked_for.contains(&id) {
                refused = refused.or(Some(TheaterError::NotStarted { name, why, note: String::new() }));
            } else {
                // The configuration does not name it, so the other actors run all the same.
                log::error!("actor \"{name}\" was not resumed: {why}");
                self.not_resumed.push(NotResumed { id, name, why });
            }
        }
        refused.map_or(Ok(()), Err)?;
        self.begin_new(commands, new)
    }

    fn begin_new(&self, commands: &Sender<Command>, new: Vec<(Spec, Option<String>)>) -> Result<(), TheaterError> {
        let mut answers = Vec::new();
        for (spec, note) in new {
            if let Err(low) = self.handle.journal.has_room() {
                let (name, why) = (spec.manifest.name.clone(), low.into());
                return Err(TheaterError::NotStarted { name, why, note: String::new() });
            }
            let actor = self.handle.journal.new_actor(ActorId::random());
            let spec = Arc::new(spec);
            let mut newborn = Newborn {
                actor,
                spec,
                parent: None,
                label: None,
                cause: None,
                is_fork: false,
                rows: None,
                before: None,
                again: None,
                reply: None,
            };
            answers.push((Expected::of(&mut newborn), note));
            let _ = commands.send(Command::Spawn(Box::new(newborn)));
        }
        // Every answer is waited for, even if one of them is a refusal.
        let mut refused = None;
        for (Expected { id, name, answer }, note) in answers {
            match answer.receive().unwrap_or_else(|_| Err("it could not be started".into())) {
                Ok(_) => _ = note.inspect(|note| log::warn!("{note}")),
                Err(why) => {
                    self.list_no_longer(id);
                    let note = note.map(|note| format!("; {note}")).unwrap_or_default();
                    refused = refused.or(Some(TheaterError::NotStarted { name, why, note }));
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Removes a new actor that did not come up from the list, so that the next start begins it anew.
    fn list_no_longer(&self, id: ActorId) {
        if self.handle.registry.is_suspending() || self.handle.registry.info(id).is_none() {
            return;
        }
        if let Err(why) = self.handle.stop(id).and_then(|_| self.handle.forget(id)) {
            log::warn!("actor {id} stays listed: {why}");
        }
    }

    /// The actors from an earlier runtime that did not come up when the theater was started, and that the configuration
    /// does not name.
    pub(crate) fn not_resumed(&self) -> &[NotResumed] {
        &self.not_resumed
    }

    /// The handle by which the theater is asked anything.
    pub fn handle(&self) -> &TheaterHandle {
        &self.handle
    }

    /// Waits until the runtime ends: because [`TheaterHandle::shutdown`] was called, or because a part of it failed.
    ///
    /// # Errors
    ///
    /// [`TheaterError::JournalFailed`], [`TheaterError::SupervisorFailed`] or [`TheaterError::ThreadFailed`].
    pub fn wait(&self) -> Result<(), TheaterError> {
        let ends: [&dyn wait::Channel; 3] = [&self.ended, &self.thread_failed, &self.journal_failed];
        self.ended_by(wait::one_of(&ends, None))
    }

    /// Like [`TheaterRuntime::wait`], but no longer than until every root actor has ended and at least one of them has failed for
    /// good. Then it returns those that have failed; there are none if the runtime ends.
    pub(crate) fn wait_unless_roots_failed(&self) -> Result<Vec<ActorInfo>, TheaterError> {
        let ends: [&dyn wait::Channel; 4] = [&self.ended, &self.thread_failed, &self.journal_failed, &self.root_ended];
        loop {
            let failed = self.failed_roots();
            if !failed.is_empty() {
                return Ok(failed);
            }
            match wait::one_of(&ends, None) {
                // It is looked at above, after the bell was taken.
                Some(3) => _ = self.root_ended.try_recv(),
                by => return self.ended_by(by).map(|()| Vec::new()),
            }
        }
    }

    /// The roots that have failed for good, if every root has ended; else none.
    fn failed_roots(&self) -> Vec<ActorInfo> {
        let roots = self.handle.registry.roots();
        let any_alive = roots.iter().any(|root| root.status.is_alive());
        if any_alive || self.handle.registry.is_suspending() {
            return Vec::new();
        }
        let has_failed = |root: &ActorInfo| matches!(root.status, ActorStatus::Failed { .. });
        roots.into_iter().filter(|root| has_failed(root) && root.given_up.is_some()).collect()
    }

    fn ended_by(&self, channel: Option<usize>) -> Result<(), TheaterError> {
        match channel {
            Some(1) => self.thread_failed.try_recv().map_or(Ok(()), |why| Err(TheaterError::ThreadFailed(why))),
            Some(2) => self.journal_failed.try_recv().map_or(Ok(()), |why| Err(TheaterError::JournalFailed(why))),
            Some(_) | None => match self.panicked.get() {
                None => Ok(()),
                Some(why) => Err(TheaterError::SupervisorFailed(why.clone())),
            },
        }
    }

    /// Suspends every actor, commits, and joins every thread.
    pub fn shutdown(mut self) {
        self.end(|| ());
    }

    /// The same. `last` is called when no actor records anything any more, and before the journal is closed.
    pub(crate) fn shutdown_with(mut self, last: impl FnOnce()) {
        self.end(last);
    }

    fn end(&mut self, last: impl FnOnce()) {
        let Some(supervisor) = self.supervisor.take() else { return };
        self.handle.control.shutdown();
        // If the supervisor panicked, that was logged already. The journal is closed in any case.
        let _ = supervisor.join();
        self.handle.timers.end();
        // A panic was logged, and `wait` has said it.
        let _ = self.timers.take().map(JoinHandle::join);
        if let Some(retaining) = self.retaining.take() {
            retaining.end();
        }
        last();
        if let Some(journal) = self.journal.take() {
            journal.close();
        }
    }
}

/// An actor from an earlier runtime that did not come up when the theater was started.
pub(crate) struct NotResumed {
    pub(crate) id: ActorId,
    pub(crate) name: String,
    pub(crate) why: LifecycleError,
}

/// An actor that is to come up, and the channel of the answer.
struct Expected {
    id: ActorId,
    name: String,
    answer: OneReceiver<Result<Spawned, LifecycleError>>,
}

impl Expected {
    fn of(newborn: &mut Newborn) -> Self {
        let (to, answer) = one_shot();
        newborn.reply = Some(SpawnReply::new(to, None));
        Self { id: newborn.actor.id, name: newborn.spec.manifest.name.clone(), answer }
    }
}

impl Drop for TheaterRuntime {
    fn drop(&mut self) {
        self.end(|| ());
    }
}

/// Why the journal takes no more records, if it does not; else waits until everything enqueued so far is committed.
fn why_the_journal_failed(journal: &JournalHandle, failed: &Receiver<String>) -> Option<TheaterError> {
    journal.flush().err()?;
    // The writer says why as soon as it has ended.
    wait::receive(failed).ok().map(TheaterError::JournalFailed)
}

type OpenJournal = (Journal, Arc<Subscribers>, Receiver<String>);

/// Removes the code cache of the data directory, if another one is used: an older version filled it, and nothing would empty it.
fn remove_unused_cache(own: &Path, used: Option<&Path>) {
    let Some(used) = used else { return };
    let is_there = own.symlink_metadata().is_ok_and(|found| found.is_dir());
    if !is_there || own.canonicalize().ok() == used.canonicalize().ok() {
        return;
    }
    match std::fs::remove_dir_all(own) {
        Ok(()) => log::info!("removed {}: compiled code is in {} now", own.display(), used.display()),
        Err(error) => log::warn!("cannot remove {}, which is not used any more: {error}", own.display()),
    }
}

fn open_journal(
    dir: DataDir,
    durability: Durability,
    queue_bytes: usize,
    shared_log: Option<Arc<dyn RemoteLog>>,
) -> Result<OpenJournal, JournalError> {
    let subscribers = Arc::new(Subscribers::default());
    let (failed, journal_failed) = bounded(1);
    let woken = Arc::clone(&subscribers);
    let listener = Listener {
        committed: Box::new(move |actors| woken.wake(actors)),
        failed: Box::new(move |error| _ = failed.send(error.to_string())),
    };
    upgrade(dir.path())?;
    let journal = match shared_log {
        Some(shared_log) => Journal::open_realm(dir, shared_log, queue_bytes, listener)?,
        None => Journal::open(dir, durability, queue_bytes, listener)?,
    };
    Ok((journal, subscribers, journal_failed))
}
