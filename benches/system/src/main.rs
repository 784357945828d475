//! Theater measured against the bare parts it is made of: `make bench`.
//!
//! Every row of the product stands beside its floor: the same work with nothing around it, written in `floor`, measured in
//! the same run and in turn with it. Nothing leaves the machine; what has an address has one of the loopback.

mod base;
mod child;
mod floor;
#[path = "../../../tests/support/forge.rs"]
#[allow(dead_code, reason = "the tests need all of it")]
mod forge;
mod history;
#[path = "../../../tests/support/log_file.rs"]
mod log_file;
mod load;
#[path = "../../../src/net/mod.rs"]
#[allow(dead_code, unused_imports, reason = "only the HTTP server is used here")]
mod net;
mod process;
mod product;
mod proofs;
mod report;
mod rows;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use load::Effort;
use report::Report;

/// Measures Theater against the bare parts it is made of.
#[derive(Parser)]
struct Args {
    /// Fewer and shorter samples: about 3 minutes
    #[arg(long)]
    quick: bool,
    /// Only the groups whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Where the JSON goes
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench.json"))]
    json: PathBuf,
    #[command(subcommand)]
    again: Option<Again>,
}

#[derive(Subcommand)]
enum Again {
    /// This program as a part of what it measures
    #[command(subcommand, hide = true)]
    Child(child::Role),
}

type Group = (&'static str, fn(&mut Report, &Effort));

const GROUPS: &[Group] = &[
    ("parts", rows::parts),
    ("layers", rows::layers_of_the_floor),
    ("one-actor", rows::one_actor),
    ("states", rows::states),
    ("many-actors", rows::many_actors),
    ("reads", rows::reads),
    ("actor-to-actor", rows::actor_to_actor),
    ("sends", rows::sends),
    ("instances", rows::instances),
    ("spawn", history::spawn),
    ("warm-start", process::warm_start),
    ("idle", process::idle),
    ("recovery", process::recovery),
    ("verify", history::verify),
    ("replay", history::replay),
    ("room", history::room),
    ("room", history::room_of_requests),
    ("proofs", proofs::proofs),
    ("http", process::http),
];

fn main() -> std::io::Result<()> {
    let args = Args::parse();
    if let Some(Again::Child(role)) = args.again {
        return role.run();
    }
    let effort = if args.quick { Effort::QUICK } else { Effort::FULL };
    let mut report = Report::default();
    println!("{:#}", report::machine());
    let wanted = |name: &str| args.only.as_deref().is_none_or(|only| name.contains(only));
    for (_, measure) in GROUPS.iter().filter(|(name, _)| wanted(name)) {
        measure(&mut report, &effort);
    }
    report.write(&args.json, args.quick)?;
    println!("\nWritten to {}", args.json.display());
    Ok(())
}
