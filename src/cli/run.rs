//! `theater run`: runs the runtime in the foreground until a signal or a shutdown.

use std::path::PathBuf;

use clap::Args;

use super::cluster;
use super::config::{Flags, refused};
use super::realm_copy::check_is_no_realm;
use super::serving::{self, Serving};
use super::{Done, Failure};
use crate::build::manifests_of;
use crate::manifest::ActorSource;

#[derive(Args)]
pub(super) struct RunArgs {
    /// Manifests of the actors to run; of a directory, every manifest in it
    manifests: Vec<PathBuf>,
    /// Keep everything in a temporary directory that is removed at the end
    #[arg(long, conflicts_with = "data_dir")]
    ephemeral: bool,
    /// Accept that the journal has lost its end or its mark, as `theater repair --accept-loss` does, and go on
    #[arg(long, conflicts_with = "ephemeral")]
    accept_loss: bool,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn run(args: &RunArgs) -> Done {
    let settings = args.flags.settings().map_err(refused)?;
    let watch = serving::prepare(&settings)?;
    let actors: Vec<ActorSource> = manifests(&args.manifests)?.iter().map(ActorSource::from).collect();
    let data_dir = (!args.ephemeral).then(|| settings.data_dir());
    if !args.ephemeral {
        check_is_no_realm(&settings.data_dir())?;
    }
    if let Some(realm) = settings.realm().map_err(refused)? {
        if args.ephemeral || args.accept_loss {
            let why = "a node of a cluster keeps a copy of its realm, and the cluster has what counts: --ephemeral and --accept-loss \
                       do not go with --cluster";
            return Err(Failure::usage(why));
        }
        return cluster::run_node(&settings, &realm, actors, &watch);
    }
    if args.accept_loss {
        super::repair::accept_what_is_lost(&settings.data_dir())?;
    }
    let Some(serving) = Serving::start(&settings, actors, data_dir, None, None, &watch)? else { return Ok(()) };
    serving.announce()?;
    serving.until_it_ends()
}

/// The manifests that these paths stand for.
fn manifests(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut manifests = Vec::new();
    for path in paths {
        if path.is_dir() {
            manifests.extend(manifests_of(path).map_err(Failure::no)?);
        } else {
            manifests.push(path.clone());
        }
    }
    Ok(manifests)
}
