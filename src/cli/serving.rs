//! A runtime with its servers in this process: what `theater run` and `theater dev` have in common.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::config::refused;
use super::proofs::signing::{PreparedSigning, Signing};
use super::signals::Watch;
use super::{Done, ENDED, Failure, logging, service_manager, show, signals, stderr};
use crate::base::limits::LOG_LINE_CHARS;
use crate::base::text::one_line;
use crate::base::{futexes, memory, thread};
use crate::config::Settings;
use crate::guest::KeptFunctions;
use crate::handlers::Handlers;
use crate::journal::RemoteLog;
use crate::manifest::ActorSource;
use crate::server::{BoundListener, BoundMetrics, BoundServer, MetricsServer, ServingListener, TheaterServer};
use crate::system::{ActorInfo, TheaterHandle};
use crate::telemetry::{PreparedTelemetry, Telemetry};
use crate::theater::{Config, NotResumed, TheaterError, TheaterRuntime};

/// Makes the process fit for a runtime, and begins to watch for signals. It is called once, before anything else.
pub(super) fn prepare(settings: &Settings) -> Result<Watch, Failure> {
    logging::start(&settings.log_filter(), settings.logs_json());
    service_manager::begin()?;
    let watch = signals::watch().map_err(|error| Failure::no(format!("cannot watch for signals: {error}")))?;
    allow_more_files();
    memory::give_large_blocks_back();
    futexes::make_room_for_waiters();
    Ok(watch)
}

/// A runtime that is up, and its servers.
pub(super) struct Serving {
    theater: TheaterRuntime,
    server: TheaterServer,
    metrics: Option<MetricsServer>,
    listeners: Vec<ServingListener>,
    telemetry: Option<Telemetry>,
    proofs: Option<Signing>,
    /// Whether the runtime ends once every root has ended and one of them has failed.
    exits_when_roots_failed: bool,
}

impl Serving {
    /// Starts a runtime with these actors, in `data_dir`, or in a temporary directory if that is none. None if a signal ended
    /// it while it was starting.
    pub(super) fn start(
        settings: &Settings,
        actors: Vec<ActorSource>,
        data_dir: Option<PathBuf>,
        shared_log: Option<Arc<dyn RemoteLog>>,
        functions: Option<KeptFunctions>,
        watch: &Watch,
    ) -> Result<Option<Self>, Failure> {
        let config = Config {
            data_dir,
            code_cache: settings.code_cache(),
            durability: settings.durability(),
            actor_limits: settings.actor_limits(),
            limits: settings.runtime(),
            retention: settings.retention().map_err(refused)?,
            actors,
            handlers: Handlers::default(),
            secrets: settings.secrets(),
            functions,
            shared_log,
        };
        // The management server is bound before any actor begins: otherwise a runtime could start that nobody can control.
        let bound = BoundServer::bind(settings.server().map_err(refused)?).map_err(Failure::no)?;
        let metrics = settings.metrics().map(bind_metrics).transpose()?;
        let listeners = settings.listeners().iter().cloned().map(BoundListener::bind).collect::<Result<Vec<_>, _>>();
        let listeners = listeners.map_err(Failure::no)?;
        // Who asks is answered from now on: a start can take a while, and is no reason to end the process.
        let metrics = metrics.map(BoundMetrics::serve_early).transpose();
        let metrics = metrics.map_err(|error| Failure::no(format!("cannot start the metrics' threads: {error}")))?;
        let prepared = settings.telemetry().map_err(refused)?.map(PreparedTelemetry::new);
        let (prepared, mut telemetry) = (prepared.transpose().map_err(Failure::no)?, None);
        let prepared_proofs = settings.proofs().map_err(refused)?;
        let prepared_proofs = prepared_proofs.map(|proofs| PreparedSigning::new(proofs, &settings.secrets()));
        let (prepared_proofs, mut proofs) = (prepared_proofs.transpose()?, None);
        let begins = |handle: &TheaterHandle| {
            watch.steers(handle);
            metrics.iter().for_each(|metrics| metrics.begins(handle));
            telemetry = prepared.map(|prepared| prepared.start(handle));
            proofs = prepared_proofs.map(|prepared| prepared.start(handle)).transpose()?;
            Ok(())
        };
        let theater = match TheaterRuntime::start_watched(config, begins) {
            // Something may have been written by then: this is no refusal, but the end of a runtime.
            Err(error @ TheaterError::JournalFailed(_)) => return Err(Failure::ended(error)),
            Err(why) if watch.was_asked() => {
                log::info!("it was ended while it was starting: {why}");
                return Ok(None);
            }
            started => started.map_err(Failure::no)?,
        };
        let telemetry = telemetry.transpose().map_err(Failure::no)?;
        let handle = theater.handle();
        let server = bound.serve(handle.clone()).map_err(Failure::no)?;
        let limits = settings.actor_limits();
        let serve = |listener: BoundListener| listener.serve(handle.clone(), limits.defaults());
        let listeners = listeners.into_iter().map(serve).collect::<Result<Vec<_>, _>>();
        let listeners =
            listeners.map_err(|error| Failure::no(format!("cannot start the threads of a listener: {error}")))?;
        metrics.iter().for_each(MetricsServer::has_started);
        let exits_when_roots_failed = settings.exits_when_roots_failed();
        Ok(Some(Self { theater, server, metrics, listeners, telemetry, proofs, exits_when_roots_failed }))
    }

    pub(super) fn handle(&self) -> TheaterHandle {
        self.theater.handle().clone()
    }

    /// Prints the addresses and actors that a person needs to know, one a line; the last line is `ready`.
    pub(super) fn announce(&self) -> Done {
        service_manager::ready();
        announce(self.announcement())
    }

    /// Waits until the runtime ends, by a signal, a command, or a failure.
    pub(super) fn until_it_ends(self) -> Done {
        let Self { theater, server, metrics, listeners, telemetry, proofs, exits_when_roots_failed } = self;
        let ended = if exits_when_roots_failed {
            theater.wait_unless_roots_failed()
        } else {
            theater.wait().map(|()| Vec::new())
        };
        service_manager::stopping();
        if let Err(error @ (TheaterError::JournalFailed(_) | TheaterError::SupervisorFailed(_))) = &ended {
            // The journal takes no more records, so an orderly suspension would achieve nothing.
            signals::end_at_once(ENDED.into(), || stderr::last_words(&format!("theater: {error}")));
        }
        drop((server, metrics, listeners));
        // What a journal in a temporary directory says can be read only until it is closed.
        telemetry.into_iter().for_each(Telemetry::end);
        theater.shutdown_with(|| proofs.into_iter().for_each(Signing::end));
        match ended.map_err(Failure::ended)? {
            failed if failed.is_empty() => Ok(()),
            failed => Err(Failure::ended(roots_failed(&failed))),
        }
    }

    fn announcement(&self) -> String {
        let Self { theater, server, metrics, listeners, .. } = self;
        let dir = theater.handle().data_dir().to_owned();
        let dir = std::path::absolute(&dir).unwrap_or(dir).display().to_string();
        let mut lines = vec![format!("data        {}", show::visible(&dir))];
        lines.extend(server.address().map(|address| format!("management  {address}")));
        lines.extend(server.socket().map(|path| format!("socket      {}", path.display())));
        lines.extend(metrics.as_ref().map(|metrics| format!("metrics     http://{}/metrics", metrics.address())));
        let proofs = theater.handle().proofs.get();
        lines.extend(proofs.map(|proofs| format!("proofs      {} {}", proofs.origin(), proofs.public())));
        lines.extend(listeners.iter().map(|listener| format!("listener    {listener}")));
        let named = |name: &str, what: &str| format!("actor       {:<12} {}", show::visible(name), show::visible(what));
        for actor in theater.handle().actors() {
            lines.extend(actor.addresses.iter().map(|address| named(&actor.name, &address.to_string())));
            let is_up = theater.not_resumed().iter().all(|other| other.id != actor.id);
            if is_up && actor.addresses.is_empty() && actor.parent.is_none() {
                lines.push(named(&actor.name, &actor.status.to_string()));
            }
        }
        for NotResumed { name, why, .. } in theater.not_resumed() {
            lines.push(named(name, &format!("did not come up: {why}")));
        }
        lines.push("ready\n".into());
        lines.join("\n")
    }
}

/// Says that the runtime ends because of these roots.
fn roots_failed(failed: &[ActorInfo]) -> String {
    let named = |root: &ActorInfo| one_line(&format!("{} {}", root.name, root.status), LOG_LINE_CHARS);
    let named: Vec<String> = failed.iter().map(named).collect();
    format!("every root actor has ended, and not all of them in order: {} (exit_when_roots_failed)", named.join("; "))
}

pub(super) fn bind_metrics(address: SocketAddr) -> Result<BoundMetrics, Failure> {
    if !address.ip().is_loopback() {
        log::warn!("the metrics at {address} can be read by whoever reaches it");
    }
    let remedy = "stop what listens there, or give another address with --metrics-listen (port 0 takes any free one)";
    BoundMetrics::bind(address)
        .map_err(|error| Failure::no(format!("cannot listen on {address} for metrics: {error}; {remedy}")))
}

/// Prints the announcement on standard output from a thread of its own. A reader that does not read blocks this thread
/// alone, and the runtime runs even if standard output is closed.
fn announce(text: String) -> Done {
    let said = thread::spawn("announce", move || {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    });
    said.map(drop).map_err(|error| Failure::ended(format!("no thread to say on that it is ready: {error}")))
}

/// Raises the number of open files to the most that the system allows this user: every connection is an open file, and the
/// default of a shell is low.
fn allow_more_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current < maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        log::warn!("cannot raise the number of open files from {current:?} to {maximum:?}: {error}");
    }
}
