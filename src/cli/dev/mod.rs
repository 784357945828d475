//! `theater dev`: builds actors, runs them, and at each change of a source builds again and upgrades the running actors.
//!
//! ```text
//!  build ──▶ run ──▶ watch ──▶ a file changes, and then none for a moment ──▶ build ──▶ upgrade ─┐
//!    │ fails           ▲                                                        │ fails          │
//!    └──▶ watch        └────────────────── the actors go on as they were ◀──────┴────────────────┘
//! ```

mod changes;
mod projects;
mod requests;

use std::path::PathBuf;

use clap::Args;

use self::changes::SourceTree;
use self::projects::Projects;
use super::config::{Flags, refused};
use super::serving::{self, Serving};
use super::show::line;
use super::toolchain::ToolchainArgs;
use super::{Done, Failure};
use crate::base::thread;
use crate::guest::KeptFunctions;
use crate::manifest::ActorSource;

#[derive(Args)]
pub(in crate::cli) struct DevArgs {
    /// Manifests of the actors to run, or a directory with one manifest
    ///
    /// The other manifests beside them are built as well: they may be those of children.
    #[arg(default_value = ".")]
    manifests: Vec<PathBuf>,
    /// Keep everything in a temporary directory that is removed at the end
    #[arg(long, conflicts_with = "data_dir")]
    ephemeral: bool,
    #[command(flatten)]
    toolchain: ToolchainArgs,
    #[command(flatten)]
    flags: Flags,
}

pub(in crate::cli) fn dev(args: &DevArgs) -> Done {
    let settings = args.flags.settings().map_err(refused)?;
    let mut projects = Projects::of(&args.manifests, args.toolchain.builder(false)?, settings.actor_limits())?;
    let watch = serving::prepare(&settings)?;
    let mut tree = SourceTree::new(projects.directories());
    while !projects.build_all() {
        line("waiting for a change");
        line(&tree.changed());
    }
    tree.also(projects.beyond());
    let actors: Vec<ActorSource> = projects.roots().iter().map(ActorSource::from).collect();
    let data_dir = (!args.ephemeral).then(|| settings.data_dir());
    let functions = Some(KeptFunctions::default());
    let Some(serving) = Serving::start(&settings, actors, data_dir, None, functions, &watch)? else { return Ok(()) };
    let theater = serving.handle();
    let requests = requests::show(&theater).map_err(Failure::no)?;
    projects.carry_over(&theater);
    // A directory that an actor may write to is there once the actor is.
    tree.except(projects.written());
    serving.announce()?;
    // Both threads go on until the process ends; nobody joins them.
    let watching = thread::spawn("sources", move || {
        loop {
            line(&tree.changed());
            if projects.build_all() {
                tree.also(projects.beyond());
                projects.carry_over(&theater);
                tree.except(projects.written());
            }
        }
    });
    let showing = thread::spawn("requests", requests);
    watching.and(showing).map(drop).map_err(|error| Failure::no(format!("cannot start a thread: {error}")))?;
    serving.until_it_ends()
}
