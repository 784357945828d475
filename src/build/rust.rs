//! Actors in Rust: cargo builds a module for `wasm32-unknown-unknown`, and its linker makes a component of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{BuildError, at};
use super::project::Project;
use super::tools::{RUST, Tools};

const TARGET: &str = "wasm32-unknown-unknown";

/// Builds the project. Returns the component, and which sources of it cargo has read outside the project's directory.
pub(super) fn build(project: &Project, tools: &Tools) -> Result<(Vec<u8>, Vec<PathBuf>), BuildError> {
    require_the_target(tools)?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&project.root).args(["build", "--release", "--target", TARGET]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-component-ld");
    let messages = tools.run(&mut cargo, RUST).map_err(for_people)?;
    let component = component_of(&String::from_utf8_lossy(&messages), project)?;
    let bytes = fs::read(&component).map_err(at(&component))?;
    Ok((bytes, sources_beyond(&project.root, &component)))
}

/// Takes away what cargo has said for programs, a line of JSON for each package.
fn for_people(error: BuildError) -> BuildError {
    match error {
        BuildError::Tool { what, status, said } => {
            let said = said.lines().filter(|line| !line.starts_with("{\"reason\":"));
            BuildError::Tool { what, status, said: said.collect::<Vec<_>>().join("\n") }
        }
        other => other,
    }
}

/// The sources outside `root` that the file beside the component lists, which cargo writes for other programs:
/// `component: source source`, with a backslash before a space that belongs to a name. Packages from a registry are not there.
fn sources_beyond(root: &Path, component: &Path) -> Vec<PathBuf> {
    let listed = fs::read_to_string(component.with_extension("d")).unwrap_or_default();
    let mut line = listed.lines().next().unwrap_or_default().replace("\\ ", "\0");
    let sources = line.find(": ").map_or(String::new(), |at| line.split_off(at + 2));
    let sources = sources.split(' ').filter(|name| !name.is_empty()).map(|name| PathBuf::from(name.replace('\0', " ")));
    sources.filter(|source| !source.starts_with(root)).collect()
}

fn require_the_target(tools: &Tools) -> Result<(), BuildError> {
    let libraries = tools.run(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]), RUST)?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&libraries).trim());
    if libraries.is_dir() {
        return Ok(());
    }
    let remedy = "add it with `rustup target add wasm32-unknown-unknown`";
    Err(BuildError::Missing { program: format!("Rust's standard library for {TARGET}"), remedy })
}

/// The component that cargo's messages name: that of the package in the project's directory.
fn component_of(messages: &str, project: &Project) -> Result<PathBuf, BuildError> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let own = project.root.join("Cargo.toml");
    let components = messages.filter(|message| {
        message["reason"] == "compiler-artifact" && message["manifest_path"].as_str().is_some_and(|it| own == *it)
    });
    let files = components.flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default());
    let is_wasm = |file: &String| file.ends_with(".wasm");
    files.filter_map(|file| file.as_str().map(str::to_owned)).find(is_wasm).map(PathBuf::from).ok_or_else(|| {
        let why = "the package makes no component: Cargo.toml needs [lib] with crate-type = [\"cdylib\"]";
        BuildError::Project(own, why.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_failed_build_a_person_sees_what_the_compiler_said() {
        let said = "   Compiling till v0.1.0\nerror[E0308]: mismatched types\n{\"reason\":\"build-finished\",\"success\":false}";
        let failed = BuildError::Tool { what: "cargo".into(), status: "exit status 101".into(), said: said.into() };
        let told = for_people(failed).to_string();
        assert!(told.ends_with("\nerror[E0308]: mismatched types"), "{told}");
    }

    #[test]
    fn the_sources_outside_the_project_are_read_from_what_cargo_lists() {
        let place = tempfile::tempdir().expect("a directory");
        let component = place.path().join("till.wasm");
        let listed = "/a/till.wasm: /a/src/lib.rs /b/my\\ lib/src/lib.rs /a/src/till.rs\n";
        fs::write(place.path().join("till.d"), listed).expect("written");
        assert_eq!(sources_beyond(Path::new("/a"), &component), [Path::new("/b/my lib/src/lib.rs")]);
        assert!(sources_beyond(Path::new("/a"), &place.path().join("other.wasm")).is_empty());
    }
}
