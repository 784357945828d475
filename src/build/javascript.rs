//! Actors in TypeScript and JavaScript: esbuild makes one file of the sources, and componentize-qjs a component that holds it
//! and QuickJS.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::error::{BuildError, at};
use super::project::Project;
use super::sdk;
use super::tools::{NODE, Tools};
use super::world::{self, World};

/// The packages that build, with their versions: the name of the toolchain.
pub(super) const VERSIONS: &str = "javascript-qjs-0.4.5-esbuild-0.28.2";

const PACKAGE: &str = include_str!("javascript/package.json");
/// The packages' digests, which npm checks.
const LOCK: &str = include_str!("javascript/package-lock.json");
const SCRIPT: &str = include_str!("javascript/build.mjs");

pub(super) const USUAL_ENTRIES: [&str; 4] = ["src/main.ts", "src/main.js", "main.ts", "main.js"];

/// Builds the project, and returns the component, which may want WASI.
pub(super) fn build(project: &Project, world: &World, tools: &Tools) -> Result<Vec<u8>, BuildError> {
    let entry = project.entry(&USUAL_ENTRIES)?;
    let toolchain = tools.toolchain(VERSIONS, |directory| install(directory, tools))?;
    let scratch = project.scratch();
    let (wit, start, program) = (scratch.join("wit"), scratch.join("start.js"), scratch.join("program.wasm"));
    world.write(&wit)?;
    fs::write(&start, start_of(&project.root.join(entry), world)).map_err(at(&start))?;
    let script = toolchain.join("build.mjs");
    fs::write(&script, SCRIPT).map_err(at(&script))?;
    let order = serde_json::json!({
        "start": start, "root": project.root, "sdk": sdk::directory(project).join("ts"), "wit": wit,
        "world": world::NAME, "imports": world.imports, "program": program,
    });
    tools.run(Command::new("node").current_dir(&project.root).arg(&script).arg(order.to_string()), NODE)?;
    let bytes = fs::read(&program).map_err(at(&program))?;
    fs::remove_file(&program).map_err(at(&program))?;
    Ok(bytes)
}

fn install(directory: &Path, tools: &Tools) -> Result<(), BuildError> {
    for (name, text) in [("package.json", PACKAGE), ("package-lock.json", LOCK)] {
        let path = directory.join(name);
        fs::write(&path, text).map_err(at(&path))?;
    }
    let args = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    tools.run(Command::new("npm").current_dir(directory).args(args), NODE).map(drop)
}

/// The file that a component starts from: first the prelude, then the actor, whose exports it gives their names.
fn start_of(entry: &Path, world: &World) -> String {
    let granted = |interface| if world.grants(interface) { "granted" } else { "withheld" };
    let (randomness, fetch) = (granted("random"), granted("http-client"));
    let entry = serde_json::Value::from(entry.to_string_lossy());
    let exports: Vec<String> = world.exports.iter().map(|interface| camel_case(interface)).collect();
    format!(
        "import 'theater-actor/prelude';\n\
         import 'theater-actor/randomness-{randomness}';\n\
         import 'theater-actor/fetch-{fetch}';\n\
         import * as module from {entry};\n\
         import {{ exportsOf }} from 'theater-actor/exports';\n\
         export const {{ {} }} = exportsOf(module.default);\n",
        exports.join(", ")
    )
}

/// `http-server` as JavaScript writes it: `httpServer`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}
