//! `theater test`: runs the tests of a project. It builds first, and then runs scripted tests, golden chains, and the tests
//! that the language itself has.

mod chains;
mod junit;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::config::refused;
use super::show::{line, print_json, say};
use super::toolchain::ToolchainArgs;
use super::{Done, Failure, file_or_none};
use crate::build::{BuildError, Builder, NativeTests, manifests_of, native_tests};
use crate::config::Settings;
use crate::guest::GuestEngine;
use crate::rehearsal::{Rehearser, TestFile, TestedScript};

#[derive(Args)]
pub(super) struct TestArgs {
    /// The project: the directory of its manifests, with the tests in tests/
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Run only the tests whose names contain this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Run the scripted tests, tests/*.toml [default: all kinds of tests]
    #[arg(long)]
    scripted: bool,
    /// Run the golden chains, tests/*.chain
    #[arg(long)]
    chains: bool,
    /// Run the tests of the language: cargo test, npm test, or pytest or unittest
    #[arg(long)]
    native: bool,
    /// Write the golden chains that come out otherwise anew, with what the present build does
    #[arg(long)]
    update: bool,
    /// Test the component that is there, without building
    #[arg(long)]
    no_build: bool,
    /// Write the outcome as JUnit XML too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    #[command(flatten)]
    toolchain: ToolchainArgs,
    /// The configuration file whose limits apply [default: theater.toml, if it exists]
    #[arg(long, value_name = "FILE", env = "THEATER_CONFIG", value_parser = file_or_none())]
    config: Option<PathBuf>,
    /// Print JSON: one object for each test
    #[arg(long)]
    json: bool,
}

/// The outcome of one test of any kind.
struct TestResult {
    /// The file that it stands in, below the project.
    file: String,
    name: String,
    line: Option<usize>,
    took: Duration,
    /// What is wrong, each a text of some lines; none if it has passed.
    failures: Vec<String>,
    logs: Vec<String>,
}

/// Prints each result as it comes, and keeps it.
struct Results<'a> {
    args: &'a TestArgs,
    all: Vec<TestResult>,
}

pub(super) fn test(args: &TestArgs) -> Done {
    if !args.dir.is_dir() {
        let why = "is no directory: name the directory of the project, with its manifest and tests/";
        return Err(Failure::usage(format!("{} {why}", args.dir.display())));
    }
    let settings = Settings::of_environment(args.config.as_deref(), &[]).map_err(refused)?;
    let manifests = match manifests_of(&args.dir) {
        Ok(manifests) => manifests,
        // The tests may name manifests elsewhere.
        Err(BuildError::Project(..)) => Vec::new(),
        Err(error) => return Err(Failure::no(error)),
    };
    let builder = args.toolchain.builder(false)?;
    if !args.no_build {
        for manifest in &manifests {
            builder.build(manifest, &settings.actor_limits()).map_err(|error| match error {
                BuildError::Project(..) => {
                    Failure::no(format!("{error}; --no-build tests the component that is there"))
                }
                _ => Failure::no(error),
            })?;
        }
    }
    let engine = GuestEngine::new(settings.code_cache().as_deref()).map_err(Failure::no)?;
    let mut results = Results { args, all: Vec::new() };
    let all_kinds = !(args.scripted || args.chains || args.native);
    if all_kinds || args.scripted {
        let limits = settings.actor_limits();
        scripted(&mut Rehearser::new(&engine, &limits), &manifests, &mut results)?;
    }
    if all_kinds || args.chains || args.update {
        let chains = files(&args.dir, "chain")?;
        chains::run(&engine, &manifests, &settings.actor_limits(), &chains, &mut results)?;
    }
    if all_kinds || args.native {
        native(&args.dir, &builder, &mut results)?;
    }
    results.conclude()
}

/// The files of this kind in the directory `tests` of the project, in the order of their names.
fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, Failure> {
    let tests = dir.join("tests");
    let unreadable = |error: std::io::Error| Failure::no(format!("cannot read {}: {error}", tests.display()));
    let mut found = Vec::new();
    match std::fs::read_dir(&tests) {
        Ok(entries) => {
            for entry in entries {
                let path = entry.map_err(unreadable)?.path();
                if path.extension().is_some_and(|it| it == extension) {
                    found.push(path);
                }
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(unreadable(error)),
    }
    found.sort_unstable();
    Ok(found)
}

fn scripted(rehearser: &mut Rehearser<'_>, manifests: &[PathBuf], results: &mut Results<'_>) -> Done {
    let manifest = match manifests {
        [one] => Ok(one.clone()),
        [] => Err("the project has no manifest: name one with manifest = \"…\", relative to the test file".to_owned()),
        several => {
            let names: Vec<_> = several.iter().filter_map(|it| it.file_name()?.to_str()).collect();
            Err(format!(
                "the project has several manifests ({}): name one with manifest = \"…\", relative to the test file",
                names.join(", ")
            ))
        }
    };
    for path in files(&results.args.dir, "toml")? {
        let name = name_of(&path);
        match TestFile::read(&path) {
            Ok(file) => {
                let filter = results.args.filter.clone();
                let is_wanted = |name: &str| filter.as_deref().is_none_or(|part| name.contains(part));
                rehearser.run(&file, &manifest, &is_wanted, &mut |tested: TestedScript| {
                    let TestedScript { name: test, line, took, failures, logs } = tested;
                    let result = TestResult { file: name.clone(), name: test, line: Some(line), took, failures, logs };
                    results.add(result);
                });
            }
            // A file with a mistake has no tests that can be told from one another.
            Err(mistake) => {
                let failures = vec![mistake.to_string()];
                results.add(TestResult::plain(name, "the file can be read".to_owned(), failures));
            }
        }
    }
    Ok(())
}

fn native(dir: &Path, builder: &Builder, results: &mut Results<'_>) -> Done {
    let Some(tests) = native_tests(dir).map_err(Failure::no)? else { return Ok(()) };
    let NativeTests { name, .. } = &tests;
    if !results.wants(name) {
        return Ok(());
    }
    let begun = crate::base::clock::now();
    let failures = tests.run(builder).err().into_iter().map(|error| error.to_string()).collect();
    let took = crate::base::clock::since(begun);
    results.add(TestResult { took, ..TestResult::plain(tests.file.to_owned(), name.clone(), failures) });
    Ok(())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl TestResult {
    fn plain(file: String, name: String, failures: Vec<String>) -> Self {
        Self { file, name, line: None, took: Duration::ZERO, failures, logs: Vec::new() }
    }
}

impl Results<'_> {
    fn wants(&self, name: &str) -> bool {
        self.args.filter.as_deref().is_none_or(|part| name.contains(part))
    }

    fn add(&mut self, result: TestResult) {
        let TestResult { file, name, line: at, took, failures, logs } = &result;
        let (is_ok, ms) = (failures.is_empty(), took.as_secs_f64() * 1000.0);
        if self.args.json {
            print_json(&serde_json::json!({
                "file": file, "name": name, "line": at, "ok": is_ok, "ms": ms, "failures": failures, "logs": logs,
            }));
        } else {
            let word = if is_ok { "ok" } else { "FAILED" };
            say!("{word:<7} {file}: {name} ({ms:.1} ms)");
            for failure in failures {
                failure.lines().for_each(|text| line(&format!("    {text}")));
            }
            if self.args.toolchain.verbose || !is_ok {
                let logged = logs.iter().flat_map(|text| text.lines());
                logged.for_each(|text| say!("    log: {text}"));
            }
        }
        self.all.push(result);
    }

    /// Sums up; the exit status is 1 if a test has failed.
    fn conclude(self) -> Done {
        let failed = self.all.iter().filter(|result| !result.failures.is_empty()).count();
        if let Some(path) = &self.args.junit {
            let written = std::fs::write(path, junit::report(&self.all));
            written.map_err(|error| Failure::no(format!("cannot write {}: {error}", path.display())))?;
        }
        let count = self.all.len();
        if count == 0 {
            return Err(Failure::no(match &self.args.filter {
                Some(part) => format!("no test has a name that contains {part:?}"),
                None => format!(
                    "{} has no tests: write scripted tests as tests/*.toml, or golden chains as tests/*.chain",
                    self.args.dir.display()
                ),
            }));
        }
        if failed > 0 {
            return Err(Failure::no(format!("{failed} of {count} tests failed")));
        }
        if !self.args.json {
            say!("{}", if count == 1 { "1 test passed".to_owned() } else { format!("{count} tests passed") });
        }
        Ok(())
    }
}
