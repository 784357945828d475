//! `theater upgrade`: an actor goes on with another manifest and component.

use std::path::{Path, PathBuf};

use clap::Args;

use super::connect::{answered, ask, connect, find, from_anywhere};
use super::show::{print_json, say};
use super::{Done, Failure, Remote};
use crate::server::Client;
use crate::server::protocol::{Request, Response};

#[derive(Args)]
pub(super) struct UpgradeArgs {
    /// The actor's name, its path, its id, or the beginning of name or id
    actor: String,
    /// The manifest that the actor goes on with [default: the one that it was started from, read again]
    manifest: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn upgrade(args: &UpgradeArgs) -> Done {
    let mut client = connect(&args.remote)?;
    let id = find(&mut client, &args.actor)?.id;
    upgrade_actor(&mut client, &id, args.manifest.as_deref())?;
    if args.remote.json {
        print_json(&serde_json::json!({ "upgraded": id }));
    } else {
        say!("upgraded {id}");
    }
    Ok(())
}

/// Lets the actor with this id go on with a manifest, or with the manifest that it was started from, and waits until it is up
/// with that. The error says why it goes on as before.
pub(super) fn upgrade_actor(client: &mut Client, id: &str, manifest: Option<&Path>) -> Result<(), Failure> {
    let manifest = manifest.map(from_anywhere).transpose()?;
    let request = Request::UpgradeActor { id: id.to_owned(), manifest };
    answered!(ask(client, &request), Response::ActorUpgraded { .. } => ());
    Ok(())
}
