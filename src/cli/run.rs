//! `theater run` and `theater check`: the runtime in the foreground, and a look at a manifest.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Done, Failure};
use crate::actor::Spec;
use crate::base::thread;
use crate::guest::GuestEngine;
use crate::journal::Durability;
use crate::manifest::Manifest;
use crate::server::TheaterServer;
use crate::system::TheaterHandle;
use crate::theater::{Config, TheaterError, TheaterRuntime};

#[derive(Args)]
pub(super) struct RunArgs {
    /// Manifests of the actors to run
    manifests: Vec<PathBuf>,
    /// Where the journal lies
    #[arg(long, value_name = "DIR", env = "THEATER_DATA_DIR", default_value = "theater-data")]
    data_dir: PathBuf,
    /// Keep everything in a temporary directory that is removed at the end
    #[arg(long, conflicts_with = "data_dir")]
    ephemeral: bool,
    /// What is promised when something is acknowledged: `commit` survives power loss, `relaxed` survives kill -9
    #[arg(long, value_parser = ["commit", "relaxed"], default_value = "commit")]
    durability: String,
    /// Where the management server listens; port 0 takes any free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
}

pub(super) fn run(args: &RunArgs) -> Done {
    start_logging();
    allow_more_files();
    let config = Config {
        data_dir: (!args.ephemeral).then(|| args.data_dir.clone()),
        durability: Durability::parse(&args.durability).expect("clap has checked it"),
        manifests: args.manifests.clone(),
    };
    let theater = TheaterRuntime::start(config).map_err(Failure::no)?;
    let server = TheaterServer::start(args.listen, theater.handle().clone()).map_err(Failure::no)?;
    watch_signals(theater.handle().clone(), args.ephemeral)?;
    announce(&server, theater.handle());
    let ended = theater.wait();
    if let Err(error @ TheaterError::JournalFailed(_)) = &ended {
        // What is in memory can no longer be made to last: nothing is left to do in order.
        eprintln!("theater: {error}");
        std::process::exit(3);
    }
    drop(server);
    theater.shutdown();
    ended.map_err(Failure::ended)
}

/// What a person needs to go on, on standard output, each on a line of its own.
fn announce(server: &TheaterServer, theater: &TheaterHandle) {
    let mut out = std::io::stdout().lock();
    // Standard output may be closed; the runtime runs all the same.
    let _ = writeln!(out, "management  {}", server.address());
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

fn start_logging() {
    use std::io::Write as _;
    let env = env_logger::Env::default().default_filter_or("info");
    env_logger::Builder::from_env(env)
        .format(|to, record| {
            let thread = std::thread::current();
            let (time, name) = (to.timestamp_millis(), thread.name().unwrap_or("main").to_owned());
            let style = to.default_level_style(record.level());
            // One record is one line, whatever a guest puts into it.
            let message = record.args().to_string().replace('\n', "\\n").replace('\r', "\\r");
            let message: String = message.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
            writeln!(to, "{time} {style}{:<5}{style:#} {name:<15} {message}", record.level())
        })
        .init();
}

pub(super) fn check(path: &Path) -> Done {
    let manifest = Manifest::load(path).map_err(Failure::no)?;
    for warning in &manifest.warnings {
        eprintln!("warning: {warning}");
    }
    let engine = GuestEngine::new(None).map_err(Failure::no)?;
    let spec = Spec::load(&engine, manifest).map_err(Failure::no)?;
    println!("{}: actor \"{}\", component {}", path.display(), spec.manifest.name, spec.digest());
    let mut exports: Vec<_> = spec.program.export_names().into_iter().collect();
    exports.sort_unstable();
    exports.iter().for_each(|export| println!("  export {export}"));
    Ok(())
}
