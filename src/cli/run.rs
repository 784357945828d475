//! `theater run`: the runtime in the foreground.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::config::{Flags, refused};
use super::{Done, Failure, logging};
use crate::base::thread;
use crate::server::{BoundServer, MetricsServer, TheaterServer};
use crate::system::TheaterHandle;
use crate::theater::{Config, TheaterError, TheaterRuntime};

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
    allow_more_files();
    let config = Config {
        data_dir: (!args.ephemeral).then(|| settings.data_dir()),
        durability: settings.durability(),
        actor_limits: settings.actor_limits(),
        limits: settings.runtime(),
        manifests: args.manifests.clone(),
    };
    if args.accept_loss {
        super::repair::accept_what_is_lost(&settings.data_dir())?;
    }
    // Before any actor begins: who cannot be steered is not started.
    let bound = BoundServer::bind(settings.server().map_err(refused)?).map_err(Failure::no)?;
    let theater = TheaterRuntime::start(config).map_err(Failure::no)?;
    let handle = theater.handle();
    let server = bound.serve(handle.clone()).map_err(Failure::no)?;
    let metrics = settings.metrics().map(|address| metrics(address, handle)).transpose()?;
    watch_signals(handle.clone(), args.ephemeral)?;
    announce(&server, metrics.as_ref(), handle);
    let ended = theater.wait();
    if let Err(error @ TheaterError::JournalFailed(_)) = &ended {
        // What is in memory can no longer be made to last: nothing is left to do in order.
        eprintln!("theater: {error}");
        std::process::exit(3);
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

/// What a person needs to go on, on standard output, each on a line of its own.
fn announce(server: &TheaterServer, metrics: Option<&MetricsServer>, theater: &TheaterHandle) {
    let mut out = std::io::stdout().lock();
    // Standard output may be closed; the runtime runs all the same.
    if let Some(address) = server.address() {
        let _ = writeln!(out, "management  {address}");
    }
    if let Some(path) = server.socket() {
        let _ = writeln!(out, "socket      {}", path.display());
    }
    if let Some(metrics) = metrics {
        let _ = writeln!(out, "metrics     http://{}/metrics", metrics.address());
    }
    for actor in theater.actors() {
        for address in &actor.addresses {
            let _ = writeln!(out, "actor       {:<12} {address}", actor.name);
        }
        if actor.addresses.is_empty() && actor.parent.is_none() {
            let _ = writeln!(out, "actor       {:<12} {}", actor.name, actor.status);
        }
    }
    let _ = writeln!(out, "ready");
    let _ = out.flush();
}

/// The first SIGINT or SIGTERM ends in order, the second at once.
fn watch_signals(theater: TheaterHandle, ephemeral: bool) -> Done {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(Failure::ended)?;
    let watcher = thread::spawn("signals", move || {
        for (count, signal) in signals.forever().enumerate() {
            if count > 0 {
                eprintln!("theater: second signal: ending at once; the next start recovers");
                if ephemeral {
                    // Nobody will recover from this one, and nothing else will remove it.
                    let _ = std::fs::remove_dir_all(theater.journal.dir());
                }
                std::process::exit(128 + signal);
            }
            log::info!("shutting down: actors are suspended and go on at the next start; a second signal ends at once");
            theater.shutdown();
        }
    });
    // It watches until the process ends.
    watcher.map(drop).map_err(Failure::ended)
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
