//! Actors in Rust: cargo builds a module for `wasm32-unknown-unknown`, and its linker makes a component of it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::error::{BuildError, at};
use super::project::Project;
use super::tools::{RUST, Tools};

const TARGET: &str = "wasm32-unknown-unknown";

/// Builds the project, and returns the component.
pub(super) fn build(project: &Project, tools: &Tools) -> Result<Vec<u8>, BuildError> {
    require_the_target(tools)?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(&project.root).args(["build", "--release", "--target", TARGET]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-component-ld");
    let messages = tools.run(&mut cargo, RUST)?;
    let component = component_of(&String::from_utf8_lossy(&messages), project)?;
    fs::read(&component).map_err(at(&component))
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
