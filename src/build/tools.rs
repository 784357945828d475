//! The programs of other projects that a build runs, and the toolchains that their package managers install.
//!
//! A toolchain is a directory of its own, named after its versions, in a directory that all projects share. It is installed
//! once, by npm or pip, and never changed; a file in it says that it is whole.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use rustix::fs::{FlockOperation, flock};

use super::error::{BuildError, at};
use super::project::Language;

/// Runs programs, and keeps toolchains.
pub(super) struct Tools {
    toolchains: PathBuf,
    verbose: bool,
}

/// What must be installed for a language, and what to do if it is not.
pub(super) const RUST: &str = "install Rust, from https://rustup.rs or your system's packages";
pub(super) const NODE: &str =
    "install Node.js 20 or newer, with npm, from https://nodejs.org or your system's packages";
pub(super) const PYTHON: &str =
    "install Python 3.10 or newer, with venv and pip, from https://www.python.org or your system's packages";

impl Tools {
    pub(super) fn new(toolchains: PathBuf, verbose: bool) -> Self {
        Self { toolchains, verbose }
    }

    /// Runs a command to its end, and returns what it printed to standard output. If it fails, the error has all that it
    /// said.
    pub(super) fn run(&self, command: &mut Command, remedy: &'static str) -> Result<Vec<u8>, BuildError> {
        let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        // A tool's own backtrace tells nothing about the actor.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).env_remove("RUST_BACKTRACE");
        if self.verbose {
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
            say(&format!("$ {}\n", words.join(" ")));
            command.stderr(Stdio::inherit());
        }
        let done = command.output().map_err(|error| match error.kind() {
            ErrorKind::NotFound => BuildError::Missing { program: program.clone(), remedy },
            _ => BuildError::File(PathBuf::from(command.get_program()), error),
        })?;
        if self.verbose {
            say(&String::from_utf8_lossy(&done.stdout));
        }
        if done.status.success() {
            return Ok(done.stdout);
        }
        let said = [done.stderr, done.stdout].map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
        let said = said.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n");
        Err(BuildError::Tool { what: program, status: how(done.status), said })
    }

    /// Says that a build begins, which may take a while.
    pub(super) fn begins(component: &Path, language: Language) {
        say(&format!("building {} ({})\n", component.display(), language.name()));
    }

    /// The directory of a toolchain. If it is not there yet, `install` fills it.
    pub(super) fn toolchain(
        &self,
        name: &str,
        install: impl FnOnce(&Path) -> Result<(), BuildError>,
    ) -> Result<PathBuf, BuildError> {
        let directory = self.toolchains.join(name);
        let whole = directory.join("installed");
        if whole.is_file() {
            return Ok(directory);
        }
        fs::create_dir_all(&self.toolchains).map_err(at(&self.toolchains))?;
        // Two builds at a time install it once.
        let lock = self.toolchains.join(format!(".{name}.lock"));
        let lock_file = File::create(&lock).map_err(at(&lock))?;
        flock(&lock_file, FlockOperation::LockExclusive).map_err(|error| at(&lock)(error.into()))?;
        if !whole.is_file() {
            say(&format!("installing the toolchain {name} into {}\n", directory.display()));
            if directory.exists() {
                fs::remove_dir_all(&directory).map_err(at(&directory))?;
            }
            fs::create_dir_all(&directory).map_err(at(&directory))?;
            install(&directory)?;
            fs::write(&whole, "").map_err(at(&whole))?;
        }
        Ok(directory)
    }
}

fn how(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code}"))
}

/// Progress goes to standard error; that nobody reads it is no reason to fail.
fn say(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
}
