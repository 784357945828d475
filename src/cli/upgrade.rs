//! `theater upgrade`: an actor goes on with another manifest and component.

use std::path::{Path, PathBuf};

use clap::Args;

use super::connect::{answered, ask, connect, find, from_anywhere};
use super::show::{line, print_json, say};
use super::{Done, Failure, Remote};
use crate::server::Client;
use crate::server::protocol::{OutcomeChangeView, Request, Response};

#[derive(Args)]
pub(super) struct UpgradeArgs {
    /// The actor's name, its path, its id, or the beginning of name or id
    actor: String,
    /// The manifest that the actor goes on with [default: the one that it was started from, read again]
    manifest: Option<PathBuf>,
    /// Change nothing: make the newest recorded calls again under the new build, and list what comes out otherwise
    #[arg(long)]
    dry_run: bool,
    /// How many recorded calls to make again [default: 100]
    #[arg(long, value_name = "CALLS", requires = "dry_run")]
    last: Option<u64>,
    #[command(flatten)]
    remote: Remote,
}

pub(super) fn upgrade(args: &UpgradeArgs) -> Done {
    let mut client = connect(&args.remote)?;
    let id = find(&mut client, &args.actor)?.id;
    if args.dry_run {
        return dry_run(args, &mut client, id);
    }
    upgrade_actor(&mut client, &id, args.manifest.as_deref())?;
    if args.remote.json {
        print_json(&serde_json::json!({ "upgraded": id }));
    } else {
        say!("upgraded {id}");
    }
    Ok(())
}

/// Lists what an upgrade would change.
fn dry_run(args: &UpgradeArgs, client: &mut Client, id: String) -> Done {
    let manifest = args.manifest.as_deref().map(from_anywhere).transpose()?;
    let request = Request::DryRunUpgrade { id, manifest, last: args.last };
    let (transitions, changed, changes) = answered!(
        ask(client, &request),
        Response::UpgradeDryRun { transitions, changed, changes, .. } => (transitions, changed, changes)
    );
    for change in changes {
        if args.remote.json {
            print_json(&change);
        } else {
            let OutcomeChangeView { sequence, export, what, pointer, recorded, actual } = change;
            let at = if pointer.is_empty() { String::new() } else { format!(" at {pointer}") };
            line(&format!("event {sequence} {export}: {what}{at}: {recorded} -> {actual}"));
        }
    }
    if changed > 0 {
        return Err(Failure::no(format!("{changed} of {transitions} transitions change")));
    }
    if args.remote.json {
        print_json(&serde_json::json!({ "transitions": transitions, "changes": 0 }));
    } else {
        say!("none of {transitions} transitions changes");
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
