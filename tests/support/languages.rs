//! Projects in Rust, TypeScript and Python, built by `theater build` with the real toolchains.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{self, Theater, text, theater};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Rust,
    TypeScript,
    Python,
}

pub use Language::{Python, Rust, TypeScript};

impl Language {
    pub fn name(self) -> &'static str {
        match self {
            Rust => "rust",
            TypeScript => "typescript",
            Python => "python",
        }
    }

    pub fn project(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/languages").join(self.name())
    }

    /// The directory of an example in this language.
    pub fn example(self, name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(self.name()).join(name)
    }

    /// The programs that the language's toolchain needs.
    pub fn tools(self) -> &'static [&'static str] {
        match self {
            Rust => &["cargo"],
            TypeScript => &["node", "npm"],
            Python => &["python3"],
        }
    }

    pub fn missing_tool(self) -> Option<&'static str> {
        let runs = |tool: &&str| Command::new(tool).arg("--version").output().is_ok_and(|it| it.status.success());
        self.tools().iter().find(|tool| !runs(tool)).copied()
    }

    /// Builds the project's manifest, and returns it; `None` if a tool is missing. Other tests of this file may build it at
    /// the same time: a build that finds nothing changed does nothing.
    pub fn built(self, manifest: &str) -> Option<PathBuf> {
        if let Some(tool) = self.missing_tool() {
            support::skipped(&format!("the actor in {}", self.name()), &format!("there is no {tool}"));
            return None;
        }
        let manifest = self.project().join(manifest);
        built(&manifest);
        Some(manifest)
    }
}

/// Builds, one at a time: what is built is shared by all tests of this file. The component is compiled into the code cache that all
/// tests share, because a start has to be ready in time, and a component in Python takes long to compile.
pub fn built(manifest: &Path) -> Value {
    static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let manifest = manifest.to_str().expect("UTF-8");
    let done = theater(&["build", manifest, "--json"], None);
    assert!(done.status.success(), "{}", text(&done.stderr));
    let checked = theater(&["check", manifest], None);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    serde_json::from_slice(&done.stdout).expect("JSON")
}

pub fn logged(running: &Theater, actor: &str) -> Vec<String> {
    let events = running.events(actor);
    let lines = support::data_of(&events, "host-call ntwk:theater/runtime.log");
    lines.iter().map(|data| data["params"][0].as_str().expect("text").to_owned()).collect()
}

/// Builds a manifest of an example, and returns its component; `None` if a tool is missing.
pub fn example(language: Language, example: &str, manifest: &str) -> Option<PathBuf> {
    if let Some(tool) = language.missing_tool() {
        support::skipped(&format!("the {example} in {}", language.name()), &format!("there is no {tool}"));
        return None;
    }
    let answer = built(&language.example(example).join(manifest));
    Some(answer["component"].as_str().expect("a path").into())
}
