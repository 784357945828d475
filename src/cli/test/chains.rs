//! Golden chains: recorded histories in `tests/*.chain`. The present build of the actor must come to the same outcomes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::outcomes::{described, each_change};
use super::super::past::read_verified;
use super::super::{Done, Failure};
use super::{Results, TestResult, name_of};
use crate::actor::{
    ComparedTransitions, OtherBuild, OutcomesCompared, Recording, compare_outcomes, program_to_compare, record_again,
};
use crate::base::clock;
use crate::base::limits::ActorLimits;
use crate::chain::ChainFile;
use crate::guest::{GuestEngine, Program};
use crate::manifest::Manifest;

/// Runs every golden chain.
pub(super) fn run(
    engine: &GuestEngine,
    manifests: &[PathBuf],
    allowed: &ActorLimits,
    chains: &[PathBuf],
    results: &mut Results<'_>,
) -> Done {
    let mut builds = Vec::new();
    for path in chains {
        let file = name_of(path);
        let name = "the present build comes to the recorded outcomes".to_owned();
        if !results.wants(&file) && !results.wants(&name) {
            continue;
        }
        let begun = clock::now();
        let mut failures = Vec::new();
        match judge(engine, manifests, allowed, path, &mut builds, results.args.update) {
            Ok(found) => failures.extend(found),
            Err(failure) => failures.push(failure.message),
        }
        let took = clock::since(begun);
        results.add(TestResult { took, ..TestResult::plain(file, name, failures) });
    }
    Ok(())
}

/// The present build of one manifest.
struct PresentBuild {
    name: String,
    program: Arc<Program>,
    other: OtherBuild,
}

impl PresentBuild {
    fn of(engine: &GuestEngine, path: &Path, allowed: &ActorLimits) -> Result<Self, Failure> {
        let manifest = Manifest::load(path, allowed).map_err(Failure::no)?;
        let component = manifest.read_component().map_err(Failure::no)?;
        let program = program_to_compare(engine, &component).map_err(Failure::no)?;
        let other =
            OtherBuild { config: Some(manifest.plain_values.all()), limits: Some(Arc::clone(&manifest.limits)) };
        Ok(Self { name: manifest.name.clone(), program, other })
    }
}

fn judge(
    engine: &GuestEngine,
    manifests: &[PathBuf],
    allowed: &ActorLimits,
    path: &Path,
    builds: &mut Vec<PresentBuild>,
    updates: bool,
) -> Result<Vec<String>, Failure> {
    if builds.is_empty() {
        for manifest in manifests {
            builds.push(PresentBuild::of(engine, manifest, allowed)?);
        }
    }
    let mut file = read_verified(path)?;
    let name = recorded_name(&mut file, path)?;
    let build = match &builds[..] {
        [one] => one,
        several => several.iter().find(|build| build.name == name).ok_or_else(|| {
            Failure::no(format!("no manifest of the project is of an actor \"{name}\", which the chain is of"))
        })?,
    };
    let recording = Recording::of_file(file);
    let mut changes = Vec::new();
    let mut changed = |change| changes.push(described(&change));
    let compared = compare_outcomes(&recording, ComparedTransitions::All, &build.program, &build.other, &mut changed);
    let OutcomesCompared { transitions, skipped, .. } = compared.map_err(Failure::no)?;
    let skips = || skipped.iter().map(|(sequence, why)| format!("event {sequence}: not compared: {why}"));
    if transitions == 0 {
        let why = "nothing of the chain could be compared".to_owned();
        return Ok([why].into_iter().chain(skips()).collect());
    }
    if updates && !changes.is_empty() {
        let again = record_again(&recording, &build.program, &build.other).map_err(Failure::no)?;
        write(path, |sink| again.write(sink))?;
        super::super::stderr::tell(&format!(
            "{}: written anew: {} of {transitions} calls",
            path.display(),
            changes.len()
        ));
        return Ok(Vec::new());
    }
    Ok(each_change(changes, transitions))
}

/// Writes a file under another name first, so that the old one is replaced as a whole, or stays.
fn write(path: &Path, fill: impl FnOnce(&mut std::fs::File) -> std::io::Result<()>) -> Done {
    let partial = path.with_extension("chain.partial");
    let done = std::fs::File::create(&partial).and_then(|mut file| fill(&mut file));
    let done = done.and_then(|()| std::fs::rename(&partial, path));
    done.map_err(|error| Failure::no(format!("cannot write {}: {error}", path.display())))
}

/// The name of the actor that a chain is of.
fn recorded_name(file: &mut ChainFile, path: &Path) -> Result<String, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| Failure::no(format!("{}: {error}", path.display()));
    let first = file.events(0, 1, 0).map_err(|error| unreadable(&error))?.pop();
    let first = first.ok_or_else(|| unreadable(&"the chain has no events"))?;
    let started = first.read::<crate::chain::data::Started>().map_err(|error| unreadable(&error))?;
    Ok(started.name)
}
