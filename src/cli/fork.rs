//! `theater fork`: starts a new actor from a past state of another.

use std::path::PathBuf;

use clap::Args;

use super::connect::{answered, ask, connect, find, from_anywhere};
use super::show::{print_json, say};
use super::{Done, Failure, Remote};
use crate::server::protocol::{Request, Response};

#[derive(Args)]
pub(super) struct ForkArgs {
    /// The actor's name, its id, or the beginning of either
    actor: String,
    /// The event after which the new actor begins; within a transition, it begins with the state before the transition
    #[arg(long, value_name = "SEQUENCE")]
    at: u64,
    /// The name of the new actor
    #[arg(long)]
    name: String,
    /// The manifest that the new actor runs, under the name given [default: what the other actor ran there]
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn fork(args: &ForkArgs) -> Done {
    let manifest = args.manifest.as_deref().map(from_anywhere).transpose()?;
    let mut client = connect(&args.remote)?;
    let id = find(&mut client, &args.actor)?.id;
    let request = Request::ForkActor { id, at: args.at, name: args.name.clone(), manifest };
    let id = answered!(ask(&mut client, &request), Response::ActorForked { id } => id);
    if args.remote.json {
        print_json(&serde_json::json!({ "id": id }));
    } else {
        say!("{id}");
    }
    Ok(())
}
