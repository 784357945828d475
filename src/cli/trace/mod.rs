//! `theater trace`: from any event, the call that led to it and everything that came of that call, across actors.
//!
//! [`trace`] gives the tree to whoever has the chains, an [`EventSource`](source::EventSource): a client of a running runtime
//! is one.

mod chains;
mod climb;
mod collect;
mod print;
mod source;
mod told;
mod tree;

use std::path::PathBuf;

use clap::Args;

pub(in crate::cli) use collect::trace;

use super::connect::{connect, find};
use super::past::find_row;
use super::realm_copy::readable_dir;
use super::show::print_json;
use super::{Done, Failure, Remote};
use crate::journal;

#[derive(Args)]
pub(super) struct TraceArgs {
    /// The actor's name, its id, or the beginning of either
    actor: String,
    /// Any event of it
    #[arg(value_name = "SEQUENCE")]
    event: u64,
    /// Read the data directory itself; no runtime needs to be running
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn show(args: &TraceArgs) -> Done {
    let tree = match &args.data_dir {
        Some(dir) => {
            let dir = &*readable_dir(dir)?;
            let reader = journal::open_to_read(dir).map_err(Failure::no)?;
            let actor = find_row(&reader, &args.actor, dir)?.actor.id;
            trace(&mut source::DirectoryEvents::of(reader)?, actor, args.event)?
        }
        None => {
            let mut client = connect(&args.remote)?;
            let actor = find(&mut client, &args.actor)?.id.parse().map_err(Failure::no)?;
            trace(&mut client, actor, args.event)?
        }
    };
    if args.remote.json {
        print_json(&tree)
    } else {
        print::print(&tree)
    }
    Ok(())
}
