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
    /// The port of the new actor's listener; 0: any that is free
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Another value for a key of the manifest's [config], or of a handler: handlers.http-server.port=0; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = setting)]
    set: Vec<(String, String)>,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn fork(args: &ForkArgs) -> Done {
    let manifest = args.manifest.as_deref().map(from_anywhere).transpose()?;
    let mut client = connect(&args.remote)?;
    let id = find(&mut client, &args.actor)?.id;
    let (at, name) = (args.at, args.name.clone());
    let request = if args.port.is_none() && args.set.is_empty() {
        Request::ForkActor { id, at, name, manifest }
    } else {
        Request::ForkChangedActor { id, at, name, manifest, port: args.port, set: args.set.clone() }
    };
    let forked = ask(&mut client, &request).map_err(|failure| with_remedy(failure, args));
    let id = answered!(forked, Response::ActorForked { id } => id);
    if args.remote.json {
        print_json(&serde_json::json!({ "id": id }));
    } else {
        say!("{id}");
    }
    Ok(())
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it is written KEY=VALUE")?;
    match key.trim() {
        "" => Err("it is written KEY=VALUE".into()),
        key => Ok((key.to_owned(), value.to_owned())),
    }
}

/// A fork whose port is taken is listed, and has failed.
fn with_remedy(failure: Failure, ForkArgs { name, port, .. }: &ForkArgs) -> Failure {
    if port.is_some() || !failure.message.contains(" cannot listen on ") {
        return failure;
    }
    let why = failure.message;
    Failure::no(format!(
        "{why}; theater fork --port 0 gives it one; first, theater forget {name} takes this fork off the list"
    ))
}
