//! The flags of commands that build, and the builder that they ask for.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::build::{Builder, toolchains_of_the_user};

#[derive(Args)]
pub(super) struct ToolchainArgs {
    /// Show the commands that are run, and all that they print; in tests, what the actors log too
    #[arg(long, short)]
    pub(super) verbose: bool,
    /// Where toolchains are kept, and installed if they are missing [default: theater/toolchains among your caches]
    #[arg(long, value_name = "DIR", env = "THEATER_TOOLCHAINS")]
    toolchains: Option<PathBuf>,
}

impl ToolchainArgs {
    /// A builder that builds what has changed, or with `force` everything.
    pub(super) fn builder(&self, force: bool) -> Result<Builder, Failure> {
        let named = self.toolchains.clone().filter(|path| !path.as_os_str().is_empty());
        let toolchains = named.or_else(toolchains_of_the_user).ok_or_else(|| {
            Failure::no("no directory for toolchains: set HOME or THEATER_TOOLCHAINS, or give --toolchains DIR")
        })?;
        Ok(Builder::new(toolchains, self.verbose, force))
    }
}
