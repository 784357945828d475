//! `theater build`: builds the components of a project's manifests.

use std::path::PathBuf;

use clap::Args;

use super::config::refused;
use super::show::{print_json, say};
use super::toolchain::ToolchainArgs;
use super::{Done, Failure, file_or_none};
use crate::build::manifests_to_build;
use crate::config::Settings;

#[derive(Args)]
pub(super) struct BuildArgs {
    /// A manifest, or a directory: every manifest in it is built, and those of the projects directly below it
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Build although nothing has changed
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    toolchain: ToolchainArgs,
    /// The configuration file whose limits apply [default: theater.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "THEATER_CONFIG", value_parser = file_or_none())]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn build(args: &BuildArgs) -> Done {
    let settings = Settings::of_environment(args.config.as_deref(), &[]).map_err(refused)?;
    let builder = args.toolchain.builder(args.force)?;
    for manifest in manifests_to_build(&args.path).map_err(Failure::no)? {
        let built = builder.build(&manifest, &settings.actor_limits()).map_err(Failure::no)?;
        let (component, language) = (built.component.display(), built.language.name());
        if args.json {
            print_json(&serde_json::json!({
                "manifest": manifest, "component": built.component, "language": language, "changed": built.changed,
            }));
        } else if built.changed {
            say!("{}: built {component} ({language})", manifest.display());
        } else {
            say!("{}: {component} is up to date ({language})", manifest.display());
        }
    }
    Ok(())
}
