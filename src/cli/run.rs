//! `theater run`: the runtime in the foreground.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::config::{Flags, refused};
use super::{Done, ENDED, Failure, logging, show, signals, stderr};
use crate::base::{memory, thread};
use crate::handlers::Handlers;
use crate::manifest::ActorSource;
use crate::server::{BoundServer, MetricsServer, TheaterServer};
use crate::system::TheaterHandle;
use crate::theater::{Config, NotResumed, TheaterError, TheaterRuntime};

#[derive(Args)]
pub(super) struct RunArgs {
    /// Manifests of the actors to run
    manifests: Vec<PathBuf>,
    /// Keep everything in a temporary directory that is removed at the end
    #[arg(long, conflicts_with = "data_dir")]
    ephemeral: bool,
    /// Go on with a journal that has lost its end or its mark: as `theater repair --accept-loss`, before anything else
    #[arg(long, conflicts_with = "ephemeral")]
    accept_loss: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(args: &RunArgs) -> Done {
    let settings = args.flags.settings().map_err(refused)?;
    logging::start(&settings.log_filter());
    let watch = signals::watch().map_err(|error| Failure::no(format!("cannot watch for signals: {error}")))?;
    allow_more_files();
    memory::give_large_blocks_back();
    let config = Config {
        data_dir: (!args.ephemeral).then(|| settings.data_dir()),
        durability: settings.durability(),
        actor_limits: settings.actor_limits(),
        limits: settings.runtime(),
        actors: args.manifests.iter().map(ActorSource::from).collect(),
        handlers: Handlers::default(),
    };
    if args.accept_loss {
        super::repair::accept_what_is_lost(&settings.data_dir())?;
    }
    // Before any actor begins: who cannot be steered is not started.
    let bound = BoundServer::bind(settings.server().map_err(refused)?).map_err(Failure::no)?;
    let theater = match TheaterRuntime::start_watched(config, |handle| watch.steers(handle)) {
        Err(why) if watch.was_asked() => {
            log::info!("it was ended while it was starting: {why}");
            return Ok(());
        }
        started => started.map_err(Failure::no)?,
    };
    let handle = theater.handle();
    let server = bound.serve(handle.clone()).map_err(Failure::no)?;
    let metrics = settings.metrics().map(|address| metrics(address, handle)).transpose()?;
    announce(announcement(&server, metrics.as_ref(), &theater))?;
    let ended = theater.wait();
    if let Err(error @ (TheaterError::JournalFailed(_) | TheaterError::SupervisorFailed(_))) = &ended {
        // What is in memory can no longer be made to last: nothing is left to do in order.
        signals::end_at_once(ENDED.into(), || stderr::last_words(&format!("theater: {error}")));
    }
    drop((server, metrics));
    theater.shutdown();
    ended.map_err(Failure::ended)
}

fn metrics(address: SocketAddr, theater: &TheaterHandle) -> Result<MetricsServer, Failure> {
    if !address.ip().is_loopback() {
        log::warn!("the metrics at {address} can be read by whoever reaches it");
    }
    MetricsServer::start(address, theater.clone())
        .map_err(|error| Failure::no(format!("cannot listen on {address} for metrics: {error}")))
}

/// What a person needs to go on, each on a line of its own; `ready` is the last.
fn announcement(server: &TheaterServer, metrics: Option<&MetricsServer>, theater: &TheaterRuntime) -> String {
    let mut lines = Vec::new();
    lines.extend(server.address().map(|address| format!("management  {address}")));
    lines.extend(server.socket().map(|path| format!("socket      {}", path.display())));
    lines.extend(metrics.map(|metrics| format!("metrics     http://{}/metrics", metrics.address())));
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

/// On standard output, from a thread of its own: a reader that does not read keeps nothing but this waiting, and the
/// runtime runs also where standard output is closed.
fn announce(text: String) -> Done {
    let said = thread::spawn("announce", move || {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    });
    said.map(drop).map_err(|error| Failure::ended(format!("no thread to say on that it is ready: {error}")))
}

/// Every connection is a file: takes what the system allows this user, rather than the shell's modest default.
fn allow_more_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current < maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        log::warn!("cannot raise the number of open files from {current:?} to {maximum:?}: {error}");
    }
}
