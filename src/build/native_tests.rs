//! The tests of an actor's own language: cargo test, the test script of package.json, pytest or unittest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Builder;
use super::error::{BuildError, at};
use super::tools::{NODE, PYTHON, RUST};

/// The tests of a project in its language.
#[derive(Debug)]
pub(crate) struct NativeTests {
    /// The file by which the project is known.
    pub(crate) file: &'static str,
    /// The command, as a person would type it.
    pub(crate) name: String,
    directory: PathBuf,
    remedy: &'static str,
}

/// The native tests of the project in `directory`; `None` if it has none.
pub(crate) fn native_tests(directory: &Path) -> Result<Option<NativeTests>, BuildError> {
    let found = |file, words: &str, remedy| {
        let (directory, name) = (directory.to_owned(), words.to_owned());
        Ok(Some(NativeTests { file, name, directory, remedy }))
    };
    if directory.join("Cargo.toml").is_file() {
        return found("Cargo.toml", "cargo test", RUST);
    }
    let package = directory.join("package.json");
    if package.is_file() {
        let text = fs::read_to_string(&package).map_err(at(&package))?;
        let package: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| BuildError::Project(package.clone(), format!("it is no JSON: {error}")))?;
        return match package["scripts"]["test"].as_str() {
            Some(_) => found("package.json", "npm test", NODE),
            None => Ok(None),
        };
    }
    let project = directory.join("pyproject.toml");
    if project.is_file() && has_python_tests(directory)? {
        let text = fs::read_to_string(&project).map_err(at(&project))?;
        let words = if text.contains("pytest") { "python3 -m pytest" } else { "python3 -m unittest discover -s tests" };
        return found("pyproject.toml", words, PYTHON);
    }
    Ok(None)
}

/// Whether `tests/` has a file of Python tests, `test_*.py`.
fn has_python_tests(directory: &Path) -> Result<bool, BuildError> {
    let tests = directory.join("tests");
    if !tests.is_dir() {
        return Ok(false);
    }
    for entry in fs::read_dir(&tests).map_err(at(&tests))? {
        let name = entry.map_err(at(&tests))?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("test_") && name.ends_with(".py") {
            return Ok(true);
        }
    }
    Ok(false)
}

impl NativeTests {
    /// Runs the tests. The error has all that they said.
    pub(crate) fn run(&self, builder: &Builder) -> Result<(), BuildError> {
        let mut words = self.name.split(' ');
        let program = words.next().unwrap_or_default();
        // Packages of the project's own are there, as for a build.
        let own = self.directory.join(".venv/bin").join(program);
        let mut command = Command::new(if own.is_file() { own.as_os_str() } else { program.as_ref() });
        command.args(words).current_dir(&self.directory);
        if self.file == "pyproject.toml" {
            let library = self.directory.join(".theater/sdk/python");
            let paths = std::env::join_paths([library, self.directory.join("src")]);
            command.env(
                "PYTHONPATH",
                paths.map_err(|error| BuildError::Project(self.directory.clone(), error.to_string()))?,
            );
        }
        builder.tools.run(&mut command, self.remedy).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests_of(files: &[(&str, &str)]) -> Option<String> {
        let project = tempfile::tempdir().expect("a directory");
        fs::create_dir(project.path().join("tests")).expect("a directory");
        files.iter().for_each(|(name, text)| fs::write(project.path().join(name), text).expect("written"));
        native_tests(project.path()).expect("read").map(|tests| tests.name)
    }

    #[test]
    fn the_tests_of_a_project_are_those_that_its_language_runs() {
        assert_eq!(tests_of(&[("Cargo.toml", "")]), Some("cargo test".into()));
        assert_eq!(tests_of(&[("package.json", "{\"scripts\":{\"test\":\"vitest run\"}}")]), Some("npm test".into()));
        assert_eq!(tests_of(&[("package.json", "{}")]), None);
        assert_eq!(tests_of(&[("pyproject.toml", "")]), None);
        let tests = ("tests/test_a.py", "");
        let unittest = "python3 -m unittest discover -s tests";
        assert_eq!(tests_of(&[("pyproject.toml", ""), tests]), Some(unittest.into()));
        let pytest = ("pyproject.toml", "[tool.pytest.ini_options]");
        assert_eq!(tests_of(&[pytest, tests]), Some("python3 -m pytest".into()));
        assert_eq!(tests_of(&[]), None);
    }
}
