//! The libraries for actors in TypeScript, JavaScript and Python. They are parts of the program: a build writes the one that
//! fits into the project, below `.theater/sdk`, where editors find it, too.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::{BuildError, at};
use super::project::{Language, Project};

macro_rules! files {
    ($directory:literal: $($file:literal),* $(,)?) => {
        &[$((concat!($directory, "/", $file), include_str!(concat!("../../sdk/", $directory, "/", $file)))),*]
    };
}

const TYPESCRIPT: &[(&str, &str)] = files! { "ts":
    "actor.ts", "bytes.ts", "clock.ts", "config.ts", "connections.ts", "encoding.ts", "exports.ts", "fetch-granted.ts", "fetch.ts",
    "fetch-withheld.ts", "filesystem.ts", "globals.d.ts", "host-error.ts", "http-client.ts", "http.ts", "index.ts",
    "log.ts", "messages.ts", "monitors.ts", "ntwk.d.ts", "prelude.ts", "promise.ts", "random.ts",
    "randomness-granted.ts", "randomness-withheld.ts", "refusal.ts", "replies.ts", "router.ts", "runtime.ts",
    "shape.ts", "sse.ts", "stack.ts", "state.ts", "streams.ts", "supervisor.ts", "table.ts", "testing.ts",
    "testing/hooks.mjs", "testing/register.mjs", "testing/vitest.mjs", "timer.ts", "url.ts", "websocket.ts",
};

const PYTHON: &[(&str, &str)] = files! { "python":
    "theater_actor/__init__.py", "theater_actor/_outside.py", "theater_actor/actor.py", "theater_actor/clock.py",
    "theater_actor/config.py", "theater_actor/connections.py", "theater_actor/data.py", "theater_actor/exports.py",
    "theater_actor/filesystem.py", "theater_actor/host.py", "theater_actor/http.py", "theater_actor/http_client.py",
    "theater_actor/messages.py", "theater_actor/monitors.py", "theater_actor/output.py", "theater_actor/py.typed",
    "theater_actor/randomness.py", "theater_actor/refusal.py", "theater_actor/replies.py", "theater_actor/router.py",
    "theater_actor/runtime.py", "theater_actor/state.py", "theater_actor/streams.py",
    "theater_actor/streams_answer.py", "theater_actor/supervisor.py", "theater_actor/table.py",
    "theater_actor/testing.py", "theater_actor/timer.py", "theater_actor/websocket.py",
};

/// Where a project has the libraries.
pub(super) fn directory(project: &Project) -> PathBuf {
    project.scratch().join("sdk")
}

/// Writes the library for the project's language into the project.
pub(super) fn write(project: &Project) -> Result<(), BuildError> {
    let scratch = project.scratch();
    fs::create_dir_all(&scratch).map_err(at(&scratch))?;
    let ignored = scratch.join(".gitignore");
    fs::write(&ignored, "*\n").map_err(at(&ignored))?;
    let files = match project.language {
        Language::Rust => return Ok(()),
        Language::JavaScript => TYPESCRIPT,
        Language::Python => PYTHON,
    };
    for (name, text) in files {
        let path = directory(project).join(name);
        let text = current(name, text)?;
        // What an editor watches changes only if it has changed.
        if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
            continue;
        }
        let parent = path.parent().unwrap_or(&scratch);
        fs::create_dir_all(parent).map_err(at(parent))?;
        fs::write(&path, text.as_bytes()).map_err(at(&path))?;
    }
    Ok(())
}

/// The text of a file of the libraries. Who changes a library names its directory by the environment variable `THEATER_SDK`, and
/// need not build the program for each change.
fn current(name: &str, built_in: &'static str) -> Result<Cow<'static, str>, BuildError> {
    let Some(directory) = std::env::var_os("THEATER_SDK") else { return Ok(built_in.into()) };
    let path = Path::new(&directory).join(name);
    Ok(fs::read_to_string(&path).map_err(at(&path))?.into())
}

/// The digest of the libraries.
pub(super) fn digest() -> Result<String, BuildError> {
    let mut digest = Sha256::new();
    for (name, text) in TYPESCRIPT.iter().chain(PYTHON) {
        let text = current(name, text)?;
        digest.update(format!("{name} {}\n{text}", text.len()));
    }
    Ok(hex::encode(digest.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn below(directory: &Path, from: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(from).expect("below").display().to_string();
            if path.is_dir() && !name.ends_with("__pycache__") && !name.ends_with("tests") {
                below(&path, from, found);
            } else if path.is_file() {
                found.insert(name);
            }
        }
    }

    #[test]
    fn every_file_of_the_libraries_is_in_the_program() {
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk");
        let mut there = BTreeSet::new();
        for directory in ["ts", "python"] {
            below(&sdk.join(directory), &sdk, &mut there);
        }
        let here: BTreeSet<String> = TYPESCRIPT.iter().chain(PYTHON).map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(here, there, "the files that src/build/sdk.rs lists, and those of sdk/ts and sdk/python");
    }
}
