//! Where the value of a secret comes from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::limits::{
    SECRET_COMMAND_TIMEOUT_CEILING_MS, SECRET_COMMAND_TIMEOUT_MS, SECRET_KEEP_CEILING_MS, SECRET_KEEP_MS,
};

/// Where the value of a secret comes from: a file, an environment variable, or the output of a command. A source names the
/// place, and never holds the value.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretSource(pub(super) SecretPlace);

/// A file that decides about the value of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestsOn<'a> {
    /// It holds the value: whoever reads it has the secret.
    Value(&'a Path),
    /// It is run for the value: whoever writes it is run.
    Program(&'a Path),
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum SecretPlace {
    File(PathBuf),
    Environment(String),
    Command(SecretCommand),
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct SecretCommand {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) timeout: Duration,
    pub(super) keep: Duration,
}

impl SecretSource {
    /// The content of a file, which is read at each use. Others than the file's owner and group must have no right to it.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(SecretPlace::File(path.into()))
    }

    /// An environment variable of this process, which is read at each use.
    pub fn environment(name: impl Into<String>) -> Self {
        Self(SecretPlace::Environment(name.into()))
    }

    /// The standard output of a program, which is run without a shell, with this process's environment and working
    /// directory, and without input. It may take 5 s, and its output is used for 10 s, unless [`SecretSource::within`]
    /// and [`SecretSource::kept`] say otherwise.
    pub fn command(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        let (timeout, keep) = (Duration::from_millis(SECRET_COMMAND_TIMEOUT_MS), Duration::from_millis(SECRET_KEEP_MS));
        Self(SecretPlace::Command(SecretCommand { program: program.into(), arguments, timeout, keep }))
    }

    /// How long the command may take, from 1 ms to 30 s. No effect on other sources.
    #[must_use]
    pub fn within(mut self, timeout: Duration) -> Self {
        if let SecretPlace::Command(command) = &mut self.0 {
            command.timeout = timeout;
        }
        self
    }

    /// How long the output of the command is used before it is run again, up to an hour. No effect on other sources.
    #[must_use]
    pub fn kept(mut self, keep: Duration) -> Self {
        if let SecretPlace::Command(command) = &mut self.0 {
            command.keep = keep;
        }
        self
    }

    /// What cannot be a source; the text names what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        match &self.0 {
            SecretPlace::File(path) if path.as_os_str().is_empty() => Err("its \"file\" is empty: name a file".into()),
            SecretPlace::Environment(name) if name.is_empty() || name.contains(['=', '\0']) => {
                Err("its \"environment\" is not the name of an environment variable".into())
            }
            SecretPlace::Command(SecretCommand { program, .. }) if program.as_os_str().is_empty() => {
                Err("its \"command\" is empty: name a program, and its arguments".into())
            }
            SecretPlace::Command(SecretCommand { timeout, keep, .. }) => {
                let (least, most) =
                    (Duration::from_millis(1), Duration::from_millis(SECRET_COMMAND_TIMEOUT_CEILING_MS));
                if !(least..=most).contains(timeout) {
                    return Err(format!("its \"timeout_ms\" is from 1 to {SECRET_COMMAND_TIMEOUT_CEILING_MS}"));
                }
                if *keep > Duration::from_millis(SECRET_KEEP_CEILING_MS) {
                    return Err(format!("its \"keep_ms\" is from 0 to {SECRET_KEEP_CEILING_MS}"));
                }
                Ok(())
            }
            SecretPlace::File(_) | SecretPlace::Environment(_) => Ok(()),
        }
    }

    /// The file that decides about the value, if one does.
    pub(super) fn rests_on(&self) -> Option<RestsOn<'_>> {
        match &self.0 {
            SecretPlace::File(path) => Some(RestsOn::Value(path)),
            SecretPlace::Command(command) if command.program.components().count() > 1 => {
                Some(RestsOn::Program(&command.program))
            }
            SecretPlace::Environment(_) | SecretPlace::Command(_) => None,
        }
    }
}

/// The arguments of a command are not shown: one of them may be a secret too.
impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            SecretPlace::File(path) => write!(f, "file {}", path.display()),
            SecretPlace::Environment(name) => write!(f, "environment variable {name}"),
            SecretPlace::Command(SecretCommand { program, arguments, .. }) => {
                let more = if arguments.is_empty() { "" } else { " …" };
                write!(f, "command {}{more}", program.display())
            }
        }
    }
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretSource({self})")
    }
}
