//! Where an actor comes from: a manifest file, or a manifest and a component that are in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What an actor is started from: the path of a manifest, or a manifest and its component in memory.
///
/// A path converts into a source, so [`crate::TheaterHandle::start`] takes either:
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let theater = theater::TheaterRuntime::start(theater::Config::new())?;
/// # let bytes = Vec::new();
/// use theater::ActorSource;
///
/// theater.handle().start("greeter.toml")?;
/// let manifest = "name = \"greeter\"\ncomponent_path = \"greeter.wasm\"\n";
/// theater.handle().start(ActorSource::in_memory(manifest, bytes))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ActorSource(pub(super) SourceKind);

#[derive(Clone)]
pub(super) enum SourceKind {
    File(PathBuf),
    Memory { path: PathBuf, manifest: Arc<str>, component: Arc<[u8]> },
}

impl std::fmt::Debug for SourceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Memory { path, component, .. } => {
                write!(f, "{} in memory, with a component of {} bytes", path.display(), component.len())
            }
        }
    }
}

impl ActorSource {
    /// The manifest file at `path`. The component is read from where the manifest says.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(SourceKind::File(path.into()))
    }

    /// The text of a manifest, and the bytes of the component that the actor runs.
    ///
    /// The manifest has the same keys as a manifest in a file. Its `component_path` is the component's name in
    /// messages; no file is read for it. Other relative paths in it start from the directory of the path that
    /// [`ActorSource::named`] gives.
    pub fn in_memory(manifest: impl Into<String>, component: impl Into<Vec<u8>>) -> Self {
        let (manifest, component) = (manifest.into().into(), component.into().into());
        Self(SourceKind::Memory { path: "actor-in-memory.toml".into(), manifest, component })
    }

    /// Gives a source in memory a path: messages use it as the manifest's name, and relative paths in the manifest
    /// start from its directory. Without this call, the path is `actor-in-memory.toml` in the working directory. A
    /// source that is a file is not changed.
    #[must_use]
    pub fn named(mut self, path: impl Into<PathBuf>) -> Self {
        if let SourceKind::Memory { path: own, .. } = &mut self.0 {
            *own = path.into();
        }
        self
    }

    /// The path of the manifest, or the path that [`ActorSource::named`] gave.
    pub fn path(&self) -> &Path {
        match &self.0 {
            SourceKind::File(path) | SourceKind::Memory { path, .. } => path,
        }
    }
}

impl From<PathBuf> for ActorSource {
    fn from(path: PathBuf) -> Self {
        Self::file(path)
    }
}

impl From<&PathBuf> for ActorSource {
    fn from(path: &PathBuf) -> Self {
        Self::file(path)
    }
}

impl From<&Path> for ActorSource {
    fn from(path: &Path) -> Self {
        Self::file(path)
    }
}

impl From<String> for ActorSource {
    fn from(path: String) -> Self {
        Self::file(path)
    }
}

impl From<&str> for ActorSource {
    fn from(path: &str) -> Self {
        Self::file(path)
    }
}
