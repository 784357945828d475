//! Building actors: from the sources of a project in Rust, TypeScript, JavaScript or Python to the component that a manifest
//! names, and new projects from templates.
//!
//! The project file beside the manifest decides the language, and the manifest decides the WIT world: what it grants is
//! imported, and what it delivers is exported. The toolchains are programs of other projects, at versions that are fixed
//! here. An interpreter's component wants WASI; it is composed with a shim ([`compose`]), so that all that it learns from
//! outside is recorded.

#![cfg(feature = "cli")]

mod compose;
mod error;
mod inputs;
mod javascript;
mod native_tests;
mod project;
mod python;
mod rust;
mod sdk;
mod shims;
mod templates;
mod tools;
mod world;

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) use error::BuildError;
pub(crate) use inputs::{files_to_watch, written_by_actors};
pub(crate) use native_tests::{NativeTests, native_tests};
pub(crate) use project::{Language, manifests_of, manifests_to_build, project_directory};
pub(crate) use templates::{Dialect, NewProject, Template, create};

use crate::base::limits::ActorLimits;
use crate::manifest::Manifest;
use error::at;
use inputs::Inputs;
use project::Project;
use tools::Tools;
use world::World;

/// How to build.
pub(crate) struct Builder {
    tools: Tools,
    /// Whether to build although nothing has changed.
    force: bool,
}

/// What a build did.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) component: PathBuf,
    pub(crate) language: Language,
    /// False if the component was there, and nothing had changed since.
    pub(crate) changed: bool,
    /// Sources outside the project's directory.
    pub(crate) beyond: Vec<PathBuf>,
}

impl Builder {
    /// Builds with toolchains that lie in the directory `toolchains`, or are installed there. With `verbose`, shows the
    /// commands and all that they print.
    pub(crate) fn new(toolchains: PathBuf, verbose: bool, force: bool) -> Self {
        Self { tools: Tools::new(toolchains, verbose), force }
    }

    /// Builds the component of the manifest at `path`.
    pub(crate) fn build(&self, path: &Path, allowed: &ActorLimits) -> Result<Built, BuildError> {
        let manifest = Manifest::load(path, allowed).map_err(BuildError::Manifest)?;
        let mut world = World::of(&manifest).map_err(BuildError::Manifest)?;
        let project = Project::of(&manifest)?;
        let (language, component) = (project.language, manifest.component_path.clone());
        if language == Language::Rust {
            if !component.exists() {
                Tools::begins(&component, language);
            }
            let (bytes, beyond) = rust::build(&project, &self.tools)?;
            let changed = place(&component, &bytes)?;
            return Ok(Built { component, language, changed, beyond });
        }
        sdk::write(&project)?;
        let entry = match language {
            Language::JavaScript => project.entry(&javascript::USUAL_ENTRIES),
            _ => project.entry(&python::USUAL_ENTRIES),
        };
        let entry = project.root.join(entry?);
        world.choose(&fs::read_to_string(&entry).map_err(at(&entry))?);
        let inputs = Inputs::of(&project, &component, &world, allowed)?;
        if !self.force && inputs.made(&component) {
            return Ok(Built { component, language, changed: false, beyond: Vec::new() });
        }
        Tools::begins(&component, language);
        let program = match language {
            Language::JavaScript => javascript::build(&project, &world, &self.tools)?,
            _ => python::build(&project, &world, &self.tools)?,
        };
        let composed = shims::complete(&program, &world)?;
        place(&component, &composed)?;
        inputs.note(&component)?;
        Ok(Built { component, language, changed: true, beyond: Vec::new() })
    }
}

/// What every component begins with.
const WASM: &[u8] = b"\0asm";

/// Writes a component, unless the same one is there; tells whether it wrote. A manifest may name any path, so a file is
/// overwritten only if it is a component, or is called one: then it is damaged.
fn place(component: &Path, bytes: &[u8]) -> Result<bool, BuildError> {
    if fs::read(component).is_ok_and(|there| there == bytes) {
        return Ok(false);
    }
    let is_called_one = component.extension().is_some_and(|extension| extension == "wasm");
    if !is_called_one && fs::read(component).is_ok_and(|there| !there.starts_with(WASM)) {
        let why = "a file is there that is no component, and a build would overwrite it: component_path of the manifest names \
                   the file that a build makes, such as dist/NAME.wasm";
        return Err(BuildError::Project(component.to_owned(), why.into()));
    }
    let directory = component.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(at(directory))?;
    // A runtime that starts meanwhile reads the old component or the new one, and no part of one.
    let mut whole = tempfile_in(directory)?;
    std::io::Write::write_all(&mut whole.file, bytes).map_err(at(component))?;
    fs::rename(&whole.path, component).map_err(at(component))?;
    Ok(true)
}

/// A file that is being written beside its final place.
struct Partial {
    file: fs::File,
    path: PathBuf,
}

fn tempfile_in(directory: &Path) -> Result<Partial, BuildError> {
    let path = directory.join(format!(".theater-build-{}", std::process::id()));
    let file = fs::File::create(&path).map_err(at(&path))?;
    Ok(Partial { file, path })
}

/// Where toolchains are kept unless another directory is named: `theater/toolchains` among the user's caches.
pub(crate) fn toolchains_of_the_user() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(caches.join("theater").join("toolchains"))
}
