//! Foreseen refusals: `theater check` reports the manifests near an actor's own that the actor could not spawn as they
//! are. Which manifest an actor spawns is known only when it does, but the files in the directories that it may spawn
//! from are known before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::confinement::{Confined, kept_from_actors};
use crate::actor::Spec;
use crate::base::limits::{Limits, MANIFEST_BYTES};
use crate::handlers::{Grant, Handlers};
use crate::manifest::Manifest;
use crate::system::Confinement;

/// How many manifests are looked at in one directory.
const LOOKED_AT: usize = 256;

/// The refusals that spawns would get, with remedies.
pub(crate) fn foreseen_refusals(spec: &Spec) -> Vec<String> {
    let Some(allowed) = spec.handlers.iter().find_map(|handler| handler.spawns_from()) else { return Vec::new() };
    let own = spec.manifest.path();
    let directories: Vec<PathBuf> = own.parent().map(Path::to_owned).into_iter().chain(allowed.to_vec()).collect();
    let named = spec.handlers.iter().flat_map(|handler| handler.children()).cloned();
    let mut paths: Vec<PathBuf> = named.chain(directories.iter().flat_map(|it| manifests_in(it))).collect();
    let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    paths.sort();
    paths.dedup_by_key(|path| real(path));
    paths.retain(|path| real(path) != real(&own));
    let (mut children, mut wrong) = (Vec::new(), Vec::new());
    for path in paths {
        match Manifest::load_within(&path, &Limits::default())
            .and_then(|child| Handlers::new().granted(&child).map(|_| child))
        {
            Ok(child) => children.push(child),
            Err(why) if is_meant_as_one(&path) => {
                wrong.push(format!("a spawn of {} will be refused: {why}", path.display()));
            }
            // Other files may be called .toml too. A file that is no manifest of an actor is not reported.
            Err(_) => {}
        }
    }
    let confinement = Confinement { directories, vouched: spec.vouched.clone() };
    let more = outside(&children, &confinement).into_iter().chain(where_others_write(spec, &children, &confinement));
    wrong.into_iter().chain(more).collect()
}

/// Whether a file that cannot be read as a manifest is meant as one: no other kind of file names a component.
fn is_meant_as_one(path: &Path) -> bool {
    let text = crate::manifest::read_bounded(path, MANIFEST_BYTES).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().any(|line| line.trim_start().starts_with("component_path"))
}

fn manifests_in(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|kind| kind == "toml")).take(LOOKED_AT).collect()
}

/// The manifests whose component or `init_state` lies outside the allowed directories.
fn outside(children: &[Manifest], confinement: &Confinement) -> Vec<String> {
    let nobody = BTreeMap::new();
    let refused = children.iter().filter_map(|child| {
        let mut confined = Confined::new(confinement, &nobody);
        // The first of these files is the manifest itself.
        let mut refused = |(at, path): (usize, &PathBuf)| match at {
            0 => confined.open_manifest(path).err(),
            _ => confined.open(path).err(),
        };
        let why = files_of(child).iter().enumerate().filter(|(_, path)| path.exists()).find_map(&mut refused)?;
        Some(format!("a spawn of {} will be refused: {why}", child.path().display()))
    });
    refused.collect()
}

/// The actors that will keep others from being spawned once they run, because they may write where these others lie.
fn where_others_write(spec: &Spec, children: &[Manifest], confinement: &Confinement) -> Vec<String> {
    let writes =
        |handlers: &[Box<dyn Grant>]| handlers.iter().find_map(|handler| handler.writes_below()).map(Path::to_owned);
    let own = writes(&spec.handlers).map(|directory| (directory, spec.manifest.name.clone()));
    let granted = |child: &Manifest| writes(&Handlers::new().granted(child).ok()?);
    let others = children.iter().filter_map(|child| Some((granted(child)?, child.name.clone())));
    let mut told = Vec::new();
    for (directory, name) in own.into_iter().chain(others) {
        let written = BTreeMap::from([(directory, name.clone())]);
        let mut hit = children.iter().filter(|child| {
            let vouched = crate::system::vouched_for(&confinement.vouched, &child.path());
            vouched.is_none() && files_of(child).iter().any(|path| kept_from_actors(path, &written).is_err())
        });
        let Some(first) = hit.next() else { continue };
        let why = files_of(first).iter().find_map(|path| kept_from_actors(path, &written).err()).unwrap_or_default();
        let more = match hit.count() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        told.push(format!(
            "once {name} runs, a spawn of {}{more} will be refused: {why}; grant {name} its directory with mode = \
             \"read-only\", or name what is spawned: config = {{ children = [\"{}\"] }} of the handler supervisor",
            first.path().display(),
            first.path().file_name().unwrap_or_default().display()
        ));
    }
    told
}

fn files_of(manifest: &Manifest) -> Vec<PathBuf> {
    let files = [Some(manifest.path()), Some(manifest.component_path.clone())];
    files.into_iter().flatten().chain(manifest.init_state_path().map(Path::to_owned)).collect()
}
