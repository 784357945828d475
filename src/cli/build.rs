//! `theater build`: builds the components of a project's manifests.

use std::path::{Path, PathBuf};

use clap::Args;

use super::config::refused;
use super::show::{print_json, say};
use super::{Done, Failure, file_or_none};
use crate::build::{Builder, manifests_to_build, toolchains_of_the_user};
use crate::config::Settings;

#[derive(Args)]
pub(super) struct BuildArgs {
    /// A manifest, or a directory: every manifest in it is built, and those of the projects directly below it
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Build although nothing has changed
    #[arg(long)]
    force: bool,
    /// Show the commands that are run, and all that they print
    #[arg(long, short)]
    verbose: bool,
    /// Where toolchains are kept, and installed if they are missing [default: theater/toolchains among your caches]
    #[arg(long, value_name = "DIR", env = "THEATER_TOOLCHAINS")]
    toolchains: Option<PathBuf>,
    /// The configuration file whose limits apply [default: theater.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "THEATER_CONFIG", value_parser = file_or_none())]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn build(args: &BuildArgs) -> Done {
    let settings = Settings::of_environment(args.config.as_deref(), &[]).map_err(refused)?;
    let builder = Builder::new(toolchains(args.toolchains.as_deref())?, args.verbose, args.force);
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

/// The directory of the toolchains: the one that is named, or that of the user.
pub(super) fn toolchains(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let named = named.filter(|path| !path.as_os_str().is_empty()).map(Path::to_owned);
    named.or_else(toolchains_of_the_user).ok_or_else(|| {
        Failure::no("no directory for toolchains: set HOME or THEATER_TOOLCHAINS, or give --toolchains DIR")
    })
}
