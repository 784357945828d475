//! The manifest: a TOML file that names an actor, its component, the capabilities it is granted, and its limits.
//!
//! This room reads and checks a manifest without knowing any handler. A handler's table `config` stays unread until the
//! handler itself reads it with [`HandlerEntry::config`]. `docs/manifest.md` describes every key.

mod changes;
mod checks;
mod error;
mod handler;
mod init_state;
mod plain_errors;
mod plain_values;
mod reachable;
mod reads;
mod similar;
mod source;
mod supervision;
mod upgrade_failure;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeTable;

pub(crate) use changes::ManifestChanges;
pub use error::ManifestError;
pub(crate) use error::ManifestSource;
pub use handler::HandlerEntry;
pub(crate) use plain_values::PlainValues;
pub(crate) use reachable::Reachable;
pub(crate) use reads::Reads;
pub(crate) use similar::{beginning_with, nearest};
pub use source::ActorSource;
use source::SourceKind;
pub(crate) use supervision::{RestartPolicy, RestartState, Strategy, Supervision};
pub(crate) use upgrade_failure::UpgradeFailure;

use crate::base::limits::{ActorLimits, COMPONENT_BYTES, Limits, MANIFEST_BYTES};
use crate::base::opened::Opened;
use checks::{ReadLimits, check_name, check_reuse, check_sleep, check_top_level, read_limits, warnings};
use handler::read_handlers;
use init_state::{InitState, doubt};

/// A checked manifest.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    source: ManifestSource,
    /// The component of a manifest that has no file.
    in_memory: Option<Arc<[u8]>>,
    pub(crate) name: String,
    pub(crate) component_path: PathBuf,
    init_state: InitState,
    pub(crate) handlers: Vec<HandlerEntry>,
    /// The plain values that the guest may read.
    pub(crate) plain_values: PlainValues,
    pub(crate) limits: Arc<Limits>,
    /// How many transitions one instance serves.
    pub(crate) reuse: u32,
    /// After how long without anything to do the actor falls asleep; 0 if never, none if the runtime says.
    pub(crate) sleep_after_ms: Option<u64>,
    pub(crate) reads: Reads,
    pub(crate) reachable: Reachable,
    pub(crate) supervision: Supervision,
    /// What follows if the first call after an upgrade to this manifest fails.
    pub(crate) on_upgrade_failure: UpgradeFailure,
    /// Warnings about keys that were accepted and have no effect.
    pub(crate) warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Keys {
    name: Spanned<String>,
    component_path: Spanned<String>,
    init_state: Option<Spanned<toml::Value>>,
    init_data: Option<Spanned<toml::Value>>,
    reuse: Option<Spanned<u32>>,
    sleep_after_ms: Option<Spanned<u64>>,
    #[serde(default)]
    reads: Reads,
    #[serde(default)]
    reachable: Reachable,
    #[serde(default)]
    restart: RestartPolicy,
    #[serde(default)]
    restart_state: RestartState,
    restart_backoff_ms: Option<u32>,
    #[serde(default)]
    strategy: Strategy,
    max_restarts: Option<u32>,
    within_ms: Option<Spanned<u32>>,
    #[serde(default)]
    on_upgrade_failure: UpgradeFailure,
    #[serde(default, rename = "version")]
    _version: Option<String>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
}

impl Manifest {
    /// Reads and checks the manifest at `path`, for a runtime whose defaults and ceilings are `allowed`. Does not read
    /// the component.
    pub(crate) fn load(path: &Path, allowed: &ActorLimits) -> Result<Self, ManifestError> {
        Self::read(Opened::open(path).map_err(|why| cannot_read(path, &why))?, allowed)
    }

    /// Like [`Manifest::load`], for a source that may be in memory.
    pub(crate) fn of(source: &ActorSource, allowed: &ActorLimits) -> Result<Self, ManifestError> {
        match &source.0 {
            SourceKind::File(path) => Self::load(path, allowed),
            SourceKind::Memory { path, manifest, component } => {
                let manifest = Self::parse(path, Arc::clone(manifest), allowed)?;
                Ok(Self { in_memory: Some(Arc::clone(component)), ..manifest })
            }
        }
    }

    /// Whether no file holds the manifest and the component.
    pub(crate) fn is_in_memory(&self) -> bool {
        self.in_memory.is_some()
    }

    /// Like [`Manifest::load`], for a file that is already open.
    pub(crate) fn read(opened: Opened, allowed: &ActorLimits) -> Result<Self, ManifestError> {
        let (path, text) = read_text(opened)?;
        Self::parse(&path, text, allowed)
    }

    /// Reads the manifest at `path` only to find the files it names; `limits` replace the manifest's own limits.
    pub(crate) fn load_within(path: &Path, limits: &Limits) -> Result<Self, ManifestError> {
        Self::read_within(Opened::open(path).map_err(|why| cannot_read(path, &why))?, limits)
    }

    /// Like [`Manifest::load_within`], for a file that is already open.
    pub(crate) fn read_within(opened: Opened, limits: &Limits) -> Result<Self, ManifestError> {
        let (path, text) = read_text(opened)?;
        Self::recorded(&path, text, limits)
    }

    /// Checks a manifest's text. `path` is the file it came from, for relative paths and for errors.
    pub(crate) fn parse(path: &Path, text: Arc<str>, allowed: &ActorLimits) -> Result<Self, ManifestError> {
        Self::understand(path, text, &|source, table| read_limits(source, table, allowed))
    }

    /// The manifest of an actor that was started earlier with `limits`, which still apply even if other limits are
    /// allowed now.
    pub(crate) fn recorded(path: &Path, text: Arc<str>, limits: &Limits) -> Result<Self, ManifestError> {
        Self::understand(path, text, &|_, _| Ok(limits.clone()))
    }

    fn understand(path: &Path, text: Arc<str>, limits: &ReadLimits<'_>) -> Result<Self, ManifestError> {
        let source = ManifestSource { path: path.to_owned(), text: Arc::clone(&text) };
        let table = DeTable::parse(&text).map_err(|error| source.toml_error(&error))?;
        check_top_level(&source, table.get_ref())?;
        let handlers = read_handlers(&source, table.get_ref())?;
        let plain_values = PlainValues::read(&source, table.get_ref())?;
        let warnings = warnings(&source, table.get_ref());
        let limits = limits(&source, table.get_ref())?;
        let keys =
            Keys::deserialize(toml::Deserializer::from(table)).map_err(|error| source.value_error("", &error))?;
        let warnings = warnings.into_iter().chain(doubt(&keys)).collect();
        Ok(Self {
            name: check_name(&source, &keys.name)?,
            component_path: beside(path, keys.component_path.get_ref()),
            init_state: InitState::of(&source, &keys)?,
            handlers,
            plain_values,
            reuse: check_reuse(&source, keys.reuse.as_ref())?,
            sleep_after_ms: check_sleep(&source, keys.sleep_after_ms.as_ref())?,
            reads: keys.reads,
            reachable: keys.reachable,
            supervision: Supervision {
                restart: keys.restart,
                restart_state: keys.restart_state,
                backoff: Duration::from_millis(keys.restart_backoff_ms.unwrap_or(100).into()),
                strategy: keys.strategy,
                max_restarts: keys.max_restarts.unwrap_or(1),
                within: Duration::from_millis(keys.within_ms.map_or(5_000, |within| *within.get_ref()).into()),
            },
            on_upgrade_failure: keys.on_upgrade_failure,
            limits: Arc::new(limits),
            warnings,
            source,
            in_memory: None,
        })
    }

    /// The same manifest with another actor name, also in its text, because the next start reads the text again.
    pub(crate) fn renamed(&self, name: &str) -> Result<Self, ManifestError> {
        let table = DeTable::parse(self.text()).map_err(|error| self.source.toml_error(&error))?;
        let value = table.get_ref().get("name").ok_or_else(|| self.error("it has no \"name\""))?;
        let mut text = self.text().to_string();
        text.replace_range(value.span(), &toml::Value::from(name).to_string());
        let renamed = Self::recorded(&self.source.path, text.into(), &self.limits)?;
        Ok(Self { in_memory: self.in_memory.clone(), ..renamed })
    }

    /// The text as it was read.
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.source.text
    }

    /// The absolute path of the manifest.
    pub(crate) fn path(&self) -> PathBuf {
        absolute(&self.source.path)
    }

    /// The state that a new actor begins with; reads it from its file if it is in one.
    pub(crate) fn read_init_state(&self) -> Result<Option<Vec<u8>>, ManifestError> {
        match (self.open_init_state()?, &self.init_state) {
            (Some(opened), _) => self.init_state_in(opened).map(Some),
            (None, InitState::Json(bytes)) => self.bounded_init_state(bytes.clone()).map(Some),
            (None, InitState::None | InitState::File { .. }) => Ok(None),
        }
    }

    /// Opens the file that `init_state` names, if it names one.
    pub(crate) fn open_init_state(&self) -> Result<Option<Opened>, ManifestError> {
        let opened = self.init_state_path().map(Opened::open).transpose();
        opened.map_err(|why| self.init_state_error(&why))
    }

    /// The state that a new actor begins with, read from its file, which is already open.
    pub(crate) fn init_state_in(&self, opened: Opened) -> Result<Vec<u8>, ManifestError> {
        let bytes = opened.read(self.limits.state_bytes).map_err(|why| self.init_state_error(&why))?;
        self.bounded_init_state(bytes)
    }

    /// Checks that a state is within the actor's limit.
    pub(crate) fn bounded_init_state(&self, bytes: Vec<u8>) -> Result<Vec<u8>, ManifestError> {
        let (size, limit) = (bytes.len(), self.limits.state_bytes);
        if size as u64 > limit {
            return Err(self.error(format!("\"init_state\" has {size} bytes; the limit state_bytes is {limit}")));
        }
        Ok(bytes)
    }

    fn init_state_error(&self, why: &str) -> ManifestError {
        let InitState::File { path, key, at } = &self.init_state else {
            unreachable!("a state that is no file is not read");
        };
        let path = path.display();
        let why = format!("\"{key}\": neither JSON nor the path of a file that can be read ({path}: {why})");
        self.source.error(Some(*at), why)
    }

    /// The path of the file that `init_state` names, if it names one.
    pub(crate) fn init_state_path(&self) -> Option<&Path> {
        match &self.init_state {
            InitState::File { path, .. } => Some(path),
            InitState::None | InitState::Json(_) => None,
        }
    }

    /// Reads the component's bytes.
    pub(crate) fn read_component(&self) -> Result<Vec<u8>, ManifestError> {
        match &self.in_memory {
            Some(component) if component.len() as u64 > COMPONENT_BYTES => {
                Err(self.component_error(&format!("it is longer than {COMPONENT_BYTES} bytes")))
            }
            Some(component) => Ok(component.to_vec()),
            None => self.component_in(self.open_component()?),
        }
    }

    pub(crate) fn open_component(&self) -> Result<Opened, ManifestError> {
        Opened::open(&self.component_path).map_err(|why| self.component_error(&why))
    }

    /// The component's bytes, read from its file, which is already open.
    pub(crate) fn component_in(&self, opened: Opened) -> Result<Vec<u8>, ManifestError> {
        opened.read(COMPONENT_BYTES).map_err(|why| self.component_error(&why))
    }

    fn component_error(&self, why: &str) -> ManifestError {
        let path = self.component_path.display();
        let remedy = if self.component_path.exists() { "" } else { "; is the component built?" };
        self.error(format!("\"component_path\": cannot read {path}: {why}{remedy}"))
    }

    /// An error about the entry of the handler `kind`.
    pub(crate) fn handler_error(&self, kind: &str, message: String) -> ManifestError {
        match self.handlers.iter().find(|entry| entry.kind == kind) {
            Some(entry) => entry.error(message),
            None => self.error(message),
        }
    }

    /// An error that is found only after the manifest was read, such as a component that lacks an export.
    pub(crate) fn error(&self, message: impl Into<String>) -> ManifestError {
        self.source.error(None, message)
    }
}

fn read_text(opened: Opened) -> Result<(PathBuf, Arc<str>), ManifestError> {
    let path = opened.path().to_owned();
    let text = opened.read(MANIFEST_BYTES).map_err(|why| cannot_read(&path, &why))?;
    let text = String::from_utf8(text)
        .map_err(|error| ManifestError::new(&path, None, format!("the manifest is not UTF-8 text: {error}")))?;
    Ok((path, text.into()))
}

fn cannot_read(path: &Path, why: &str) -> ManifestError {
    ManifestError::new(path, None, format!("cannot read the manifest: {why}"))
}

/// Resolves a path in a manifest: relative to the manifest's directory, independent of the working directory of later
/// runs.
fn beside(manifest: &Path, path: &str) -> PathBuf {
    absolute(manifest).parent().unwrap_or(Path::new("/")).join(path)
}

/// Makes a path absolute without following links. If the working directory is unreadable, the path stays as it is.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Reads a whole regular file. A pipe is refused at once: this does not wait for a writer.
pub(crate) fn read_bounded(path: &Path, at_most: u64) -> Result<Vec<u8>, String> {
    Opened::open(path)?.read(at_most)
}

#[cfg(test)]
mod tests;
