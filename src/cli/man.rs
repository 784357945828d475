//! `theater man`: writes the manual pages, one for the program and one for each command.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Command};

use super::{Done, Failure};

#[derive(Args)]
pub(super) struct ManArgs {
    /// The directory to write theater.1, theater-run.1 and the others into
    directory: PathBuf,
}

pub(super) fn man(args: &ManArgs, program: Command) -> Done {
    let mut program = program.disable_help_subcommand(true);
    program.build();
    fs::create_dir_all(&args.directory)
        .map_err(|error| Failure::no(format!("{}: {error}", args.directory.display())))?;
    page(&args.directory, &program, "theater")?;
    for command in program.get_subcommands().filter(|command| !command.is_hide_set()) {
        page(&args.directory, command, &format!("theater-{}", command.get_name()))?;
    }
    Ok(())
}

fn page(directory: &Path, command: &Command, name: &str) -> Done {
    let path = directory.join(format!("{name}.1"));
    let mut text = Vec::new();
    let rendered = clap_mangen::Man::new(command.clone()).title(name).render(&mut text);
    rendered.and_then(|()| fs::write(&path, text)).map_err(|error| Failure::no(format!("{}: {error}", path.display())))
}
