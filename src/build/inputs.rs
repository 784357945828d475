//! What a build depends on, as one digest. If the digest and the component are those of the last build, there is nothing to
//! do. That matters more than time: the toolchains for JavaScript and Python give other bytes at each build, and other bytes
//! are another component in every journal.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::{BuildError, at};
use super::project::Project;
use super::world::World;
use super::{javascript, manifests_to_build, python, sdk};
use crate::base::limits::ActorLimits;
use crate::handlers::Handlers;
use crate::journal::is_data_directory;
use crate::manifest::Manifest;

/// Directories that are no sources: what builds write, what package managers install, what version control keeps, what tests
/// are made of.
const NO_SOURCES: [&str; 10] =
    [".git", ".theater", ".venv", "__pycache__", "dist", "node_modules", "target", "tests", "theater-data", "venv"];

/// The digest of all that a build reads, and where the last one is noted.
pub(super) struct Inputs {
    digest: String,
    noted: PathBuf,
}

impl Inputs {
    pub(super) fn of(
        project: &Project,
        component: &Path,
        world: &World,
        limits: &ActorLimits,
    ) -> Result<Self, BuildError> {
        let mut digest = Sha256::new();
        let mut add = |part: &[u8]| {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        };
        for part in [env!("CARGO_PKG_VERSION"), javascript::VERSIONS, python::VERSIONS, &world.text()] {
            add(part.as_bytes());
        }
        add(sdk::digest()?.as_bytes());
        let mut files = Vec::new();
        walk(&project.root, &is_source, &written_by_actors(&project.root, limits), &mut files)?;
        files.sort_unstable();
        // A test is no part of the component.
        files.retain(|file| !file.starts_with(project.root.join("tests")));
        for file in files.iter().filter(|file| !is_same(file, component)) {
            let name = file.strip_prefix(&project.root).unwrap_or(file);
            add(name.as_os_str().as_encoded_bytes());
            add(&fs::read(file).map_err(at(file))?);
        }
        let name = component.file_name().unwrap_or_default().to_string_lossy();
        let noted = project.scratch().join(format!("{name}.built"));
        Ok(Self { digest: hex::encode(digest.finalize()), noted })
    }

    /// Whether the component is what these inputs made.
    pub(super) fn made(&self, component: &Path) -> bool {
        let made = fs::read(component).map(|bytes| self.line(&bytes));
        made.is_ok_and(|line| fs::read_to_string(&self.noted).is_ok_and(|noted| noted == line))
    }

    /// Notes that these inputs made the component.
    pub(super) fn note(&self, component: &Path) -> Result<(), BuildError> {
        let bytes = fs::read(component).map_err(at(component))?;
        fs::write(&self.noted, self.line(&bytes)).map_err(at(&self.noted))
    }

    fn line(&self, component: &[u8]) -> String {
        format!("{} {}\n", self.digest, hex::encode(Sha256::digest(component)))
    }
}

fn is_same(path: &Path, other: &Path) -> bool {
    fs::canonicalize(path).ok().is_some_and(|path| fs::canonicalize(other).is_ok_and(|other| other == path))
}

/// The files of a directory that a person edits and a build or a runtime reads, the manifests among them; nothing that lies in
/// one of the directories `but`.
pub(crate) fn files_to_watch(directory: &Path, but: &[PathBuf]) -> Result<Vec<PathBuf>, BuildError> {
    let mut files = Vec::new();
    walk(directory, &is_edited, but, &mut files)?;
    Ok(files)
}

/// The directories in a project that its actors may write to: what lies there is data, and no source. One that holds the whole
/// project is not among them. A manifest that is wrong grants nothing; who builds it says what is wrong.
pub(crate) fn written_by_actors(project: &Path, limits: &ActorLimits) -> Vec<PathBuf> {
    let manifests = manifests_to_build(project).unwrap_or_default();
    let manifests = manifests.iter().filter_map(|manifest| Manifest::load(manifest, limits).ok());
    let granted = manifests.filter_map(|manifest| Handlers::new().granted(&manifest).ok()).flatten();
    let written = granted.filter_map(|handler| fs::canonicalize(handler.writes_below()?).ok());
    let project = fs::canonicalize(project).unwrap_or_else(|_| project.to_owned());
    written.filter(|written| !project.starts_with(written)).collect()
}

/// Finds the files in a directory and below it, but not in the directories `but`. What is removed meanwhile is not among them.
fn walk(
    directory: &Path,
    is_wanted: &dyn Fn(&Path) -> bool,
    but: &[PathBuf],
    found: &mut Vec<PathBuf>,
) -> Result<(), BuildError> {
    for entry in fs::read_dir(directory).map_err(at(directory))? {
        let entry = entry.map_err(at(directory))?;
        let (path, name) = (entry.path(), entry.file_name());
        if NO_SOURCES.iter().any(|it| name == *it) {
            continue;
        }
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            if !but.iter().any(|other| is_same(&path, other)) && !is_data_directory(&path) {
                walk(&path, is_wanted, but, found)?;
            }
        } else if path.is_file() && is_wanted(&path) {
            found.push(path);
        }
    }
    Ok(())
}

/// A manifest is no source: what a build needs of it is the world.
fn is_source(path: &Path) -> bool {
    let is_manifest = || fs::read_to_string(path).is_ok_and(|text| text.contains("component_path"));
    is_edited(path) && !(path.extension().is_some_and(|it| it == "toml") && is_manifest())
}

/// A component, a history, a text for people, and what an editor keeps beside a file that it has open, are not built from.
fn is_edited(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
    !matches!(extension, "wasm" | "chain" | "md") && !name.starts_with('.') && !name.ends_with('~')
}
