//! Nodes of a cluster, and what an operator asks of one: `theater run --cluster`, `theater cluster init`, `theater realms`,
//! `theater realm move`.

mod node;
mod realms;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

pub(super) use node::run_node;
pub(super) use realms::{RealmArgs, RealmsArgs, move_realm, realms};

use super::config::cluster_options;
use super::show::{line, print_json, say, visible};
use super::{Done, Failure, file_or_none};
use crate::config::ClusterOptions;
use crate::journal::{self, DataDir};
use crate::realm::{self, Cluster, Examined};

/// How to reach a cluster.
#[derive(Args, Clone)]
pub(super) struct ClusterFlags {
    /// The PostgreSQL servers of the cluster, as postgres://user@host,host/database [default: that of theater.toml]
    #[arg(long, value_name = "URL", help_heading = "Cluster")]
    cluster: Option<String>,
    /// The configuration file [default: theater.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "THEATER_CONFIG", value_parser = file_or_none(), help_heading = "Cluster")]
    config: Option<PathBuf>,
}

impl ClusterFlags {
    pub(super) fn cluster(&self) -> Result<Cluster, Failure> {
        Ok(cluster_options(self.cluster.clone(), self.config.as_deref(), None)?.cluster)
    }
}

#[derive(Args)]
pub(super) struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Subcommand)]
enum ClusterCommand {
    /// Make the tables of Theater in the database, if they are not there
    Init(ClusterFlags),
    /// Make a realm of a data directory that no runtime uses; the directory is a node's copy of the realm from then on
    Import {
        /// The data directory
        dir: PathBuf,
        /// The name of the realm to make
        #[arg(long, value_name = "NAME")]
        realm: String,
        #[command(flatten)]
        cluster: ClusterFlags,
    },
}

/// `theater doctor --cluster`: looks at the database servers.
pub(super) fn examine(url: &str, config: Option<&Path>, json: bool) -> Done {
    let ClusterOptions { cluster, .. } = cluster_options(Some(url.to_owned()), config, None)?;
    let examined = realm::examine(&cluster).map_err(Failure::no)?;
    let is_well = examined.iter().all(|one| one.is_well);
    if json {
        print_json(&serde_json::json!({ "well": is_well, "checks": examined }));
    } else {
        for Examined { what, found, remedy, .. } in &examined {
            line(&format!("{what:<28} {}", visible(found)));
            remedy.iter().for_each(|remedy| line(&format!("  {remedy}")));
        }
    }
    if is_well { Ok(()) } else { Err(Failure::no(format!("{cluster} does not keep what realms need kept"))) }
}

pub(super) fn cluster(args: &ClusterArgs) -> Done {
    match &args.command {
        ClusterCommand::Init(flags) => {
            let cluster = flags.cluster()?;
            match realm::init(&cluster).map_err(Failure::no)? {
                true => say!("{cluster}: the tables are made"),
                false => say!("{cluster}: the tables are there already"),
            }
        }
        ClusterCommand::Import { dir, realm, cluster } => {
            let (realm, cluster) = (realm.parse().map_err(Failure::usage)?, cluster.cluster()?);
            drop(journal::open_to_read(dir).map_err(Failure::no)?);
            let dir = DataDir::open(dir).map_err(Failure::no)?;
            let batches = realm::import(&cluster, &realm, dir).map_err(Failure::no)?;
            say!("{cluster}: the realm {realm} is made, with {batches} batches");
        }
    }
    Ok(())
}
