//! Actors in Python: componentize-py makes a component of the sources and CPython.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{BuildError, at};
use super::project::Project;
use super::sdk;
use super::tools::{PYTHON, Tools};
use super::world::{self, World};

/// The package that builds, with its version: the name of the toolchain.
pub(super) const VERSIONS: &str = "python-componentize-py-0.25.1";
const REQUIREMENT: &str = "componentize-py==0.25.1";

pub(super) const USUAL_ENTRIES: [&str; 2] = ["src/main.py", "main.py"];

/// Builds the project, and returns the component, which wants WASI.
pub(super) fn build(project: &Project, world: &World, tools: &Tools) -> Result<Vec<u8>, BuildError> {
    let entry = PathBuf::from(project.entry(&USUAL_ENTRIES)?);
    let toolchain = tools.toolchain(VERSIONS, |directory| install(directory, tools))?;
    let scratch = project.scratch();
    let (wit, start, program) = (scratch.join("wit"), scratch.join("start"), scratch.join("program.wasm"));
    world.write(&wit)?;
    fs::create_dir_all(&start).map_err(at(&start))?;
    let module = entry.file_stem().unwrap_or_default().to_string_lossy();
    let start_file = start.join("theater_start.py");
    fs::write(&start_file, start_of(&module, world)).map_err(at(&start_file))?;
    let own = project.root.join(entry.parent().unwrap_or(Path::new("")));
    let mut command = Command::new(toolchain.join("venv/bin/componentize-py"));
    command.current_dir(&project.root).env_remove("VIRTUAL_ENV").arg("--quiet");
    command.arg("--wit-path").arg(&wit).args(["--world", world::NAME, "componentize", "theater_start"]);
    for path in [start, sdk::directory(project).join("python"), own].into_iter().chain(packages(&project.root)) {
        command.arg("--python-path").arg(path);
    }
    command.arg("--output").arg(&program);
    tools.run(&mut command, PYTHON)?;
    let bytes = fs::read(&program).map_err(at(&program))?;
    fs::remove_file(&program).map_err(at(&program))?;
    Ok(bytes)
}

fn install(directory: &Path, tools: &Tools) -> Result<(), BuildError> {
    let venv = directory.join("venv");
    tools.run(Command::new("python3").args(["-m", "venv"]).arg(&venv), PYTHON)?;
    let mut pip = Command::new(venv.join("bin/pip"));
    pip.args(["install", "--quiet", "--no-deps", "--only-binary", ":all:", REQUIREMENT]);
    tools.run(&mut pip, PYTHON).map(drop)
}

/// Where the packages of the project's own virtual environment lie, if it has one.
fn packages(root: &Path) -> Vec<PathBuf> {
    let libraries = fs::read_dir(root.join(".venv/lib")).into_iter().flatten().flatten();
    let mut packages: Vec<_> = libraries.map(|library| library.path().join("site-packages")).collect();
    packages.retain(|path| path.is_dir());
    packages.sort_unstable();
    packages
}

/// The module that a component starts from: it gives the actor's exports the names that the world has.
fn start_of(module: &str, world: &World) -> String {
    let classes: Vec<String> = world.exports.iter().map(|interface| class(interface)).collect();
    let lines: String = classes.iter().map(|class| format!("{class} = exports[\"{class}\"]\n")).collect();
    format!("from theater_actor.exports import exports_of\nimport {module}\n\nexports = exports_of({module})\n{lines}")
}

/// `http-server` as a Python class: `HttpServer`.
fn class(name: &str) -> String {
    name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}
