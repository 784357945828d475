//! What a build depends on, as one digest. If the digest and the component are those of the last build, there is nothing to
//! do. That matters more than time: the toolchains for JavaScript and Python give other bytes at each build, and other bytes
//! are another component in every journal.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::{BuildError, at};
use super::project::Project;
use super::world::World;
use super::{javascript, python, sdk};

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
    pub(super) fn of(project: &Project, component: &Path, world: &World) -> Result<Self, BuildError> {
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
        walk(&project.root, &is_source, &mut files)?;
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

fn is_same(file: &Path, other: &Path) -> bool {
    fs::canonicalize(file).ok().is_some_and(|file| fs::canonicalize(other).is_ok_and(|other| other == file))
}

/// The files of a directory that a person edits and a build or a runtime reads, the manifests among them.
pub(crate) fn files_to_watch(directory: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let mut files = Vec::new();
    walk(directory, &is_edited, &mut files)?;
    Ok(files)
}

/// Finds the files in a directory and below it. What is removed meanwhile is not among them.
fn walk(directory: &Path, is_wanted: &dyn Fn(&Path) -> bool, found: &mut Vec<PathBuf>) -> Result<(), BuildError> {
    for entry in fs::read_dir(directory).map_err(at(directory))? {
        let entry = entry.map_err(at(directory))?;
        let (path, name) = (entry.path(), entry.file_name());
        if NO_SOURCES.iter().any(|it| name == *it) {
            continue;
        }
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            walk(&path, is_wanted, found)?;
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
