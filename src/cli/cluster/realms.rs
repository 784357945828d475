//! `theater realms` and `theater realm move`: which node owns which realm, and handing one over.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::super::show::{line, print_json, say, visible};
use super::super::{Done, Failure};
use super::ClusterFlags;
use crate::base::{clock, wait};
use crate::realm::{self, Cluster, NodeRow, RealmName, RealmRow};

/// A node that was not heard of for so long takes part no more, as far as people are told.
const SILENT: Duration = Duration::from_secs(5);
/// How long a move may take before the command says that it did not come to an end.
const MOVE_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Args)]
pub(in crate::cli) struct RealmsArgs {
    #[command(flatten)]
    cluster: ClusterFlags,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(in crate::cli) struct RealmArgs {
    #[command(subcommand)]
    command: RealmCommand,
}

#[derive(Subcommand)]
enum RealmCommand {
    /// Have another node own a realm: the owner suspends its actors, and they go on there
    Move {
        /// The realm
        realm: String,
        /// The node that shall own it, one of those that follow it
        node: String,
        #[command(flatten)]
        cluster: ClusterFlags,
    },
}

pub(in crate::cli) fn realms(args: &RealmsArgs) -> Done {
    let realms = realm::survey(&args.cluster.cluster()?).map_err(Failure::no)?;
    if args.json {
        print_json(&realms.iter().map(as_json).collect::<Vec<_>>());
        return Ok(());
    }
    if realms.is_empty() {
        say!("no realms: `theater run --cluster URL --realm NAME MANIFEST` makes one");
    }
    for realm in &realms {
        line(&headline(realm));
        realm.nodes.iter().for_each(|node| line(&format!("  {}", node_line(realm, node))));
    }
    Ok(())
}

fn headline(realm: &RealmRow) -> String {
    let RealmRow { name, owner, epoch, batch, position, heir, .. } = realm;
    let owner = owner.as_deref().map_or("nobody owns it".into(), |owner| format!("owner {}", visible(owner)));
    let heir = heir.as_deref().map(|heir| format!(", to be handed over to {}", visible(heir))).unwrap_or_default();
    format!("{}  {owner}, epoch {epoch}, batch {batch}, position {position}{heir}", visible(name))
}

fn node_line(realm: &RealmRow, node: &NodeRow) -> String {
    let NodeRow { node: name, address, batch, heard } = node;
    let does = if realm.owner.as_ref() == Some(name) {
        format!("owns it, management at {}", visible(address))
    } else {
        format!("follows, {} batches behind", realm.batch.saturating_sub(*batch))
    };
    let heard = if *heard > SILENT { format!("; silent for {} s", heard.as_secs()) } else { String::new() };
    format!("{:<20} {does}{heard}", visible(name))
}

fn as_json(realm: &RealmRow) -> serde_json::Value {
    let node = |node: &NodeRow| {
        serde_json::json!({
            "node": node.node,
            "address": node.address,
            "owner": realm.owner.as_ref() == Some(&node.node),
            "batch": node.batch,
            "behind": realm.batch.saturating_sub(node.batch),
            "heard_ms": node.heard.as_millis(),
        })
    };
    serde_json::json!({
        "realm": realm.name,
        "owner": realm.owner,
        "epoch": realm.epoch,
        "batch": realm.batch,
        "position": realm.position,
        "heir": realm.heir,
        "taken_ms_ago": realm.taken.map(|taken| taken.as_millis()),
        "nodes": realm.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}

pub(in crate::cli) fn move_realm(args: &RealmArgs) -> Done {
    let RealmCommand::Move { realm: name, node, cluster } = &args.command;
    let name: RealmName = name.parse().map_err(Failure::usage)?;
    let cluster = cluster.cluster()?;
    check_can_take(&cluster, &name, node)?;
    let begun = clock::now();
    if !realm::move_to(&cluster, &name, node).map_err(Failure::no)? {
        return Err(Failure::no(format!("the realm {name} is owned by nobody at the moment; it is not moved")));
    }
    while clock::since(begun) < MOVE_WITHIN {
        if find(&cluster, &name)?.owner.as_ref() == Some(node) {
            say!("node {} owns the realm {name} after {} ms", visible(node), clock::since(begun).as_millis());
            return Ok(());
        }
        wait::sleep(LOOK_EVERY);
    }
    Err(Failure::no(format!(
        "node {node} does not own the realm {name} after {} s: see `theater realms`, and what both nodes log",
        MOVE_WITHIN.as_secs()
    )))
}

fn find(cluster: &Cluster, name: &RealmName) -> Result<RealmRow, Failure> {
    let realms = realm::survey(cluster).map_err(Failure::no)?;
    let found = realms.into_iter().find(|realm| realm.name == name.as_str());
    found.ok_or_else(|| Failure::no(format!("there is no realm {name}: see `theater realms`")))
}

fn check_can_take(cluster: &Cluster, name: &RealmName, node: &str) -> Done {
    let realm = find(cluster, name)?;
    if realm.owner.as_deref() == Some(node) {
        return Err(Failure::no(format!("node {node} owns the realm {name} already")));
    }
    match realm.nodes.iter().find(|row| row.node == node) {
        Some(row) if row.heard <= SILENT => Ok(()),
        Some(row) => Err(Failure::no(format!(
            "node {node} was not heard of for {} s: start it before it is to own a realm",
            row.heard.as_secs()
        ))),
        None => {
            let nodes: Vec<&str> = realm.nodes.iter().map(|row| row.node.as_str()).collect();
            Err(Failure::no(format!("no node {node} follows the realm {name}; there are {}", nodes.join(", "))))
        }
    }
}
