//! The actors of `theater dev`: which manifests are built and run, and what the running actors have of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::base::clock;
use crate::base::limits::ActorLimits;
use crate::build::{Builder, manifests_of, manifests_to_build, project_directory, written_by_actors};
use crate::cli::show::{line, visible};
use crate::cli::{Failure, stderr};
use crate::manifest::{ActorSource, Manifest};
use crate::system::{ActorInfo, TheaterHandle};

pub(super) struct Projects {
    builder: Builder,
    limits: ActorLimits,
    /// The manifests of the actors that run.
    roots: Vec<PathBuf>,
    /// These, and the other manifests of the same projects, with the directory of the project; none if nothing builds the
    /// component but the person does.
    manifests: BTreeMap<PathBuf, Option<PathBuf>>,
    /// Files outside the directories of the projects that belong to them.
    beyond: BTreeSet<PathBuf>,
}

impl Projects {
    pub(super) fn of(paths: &[PathBuf], builder: Builder, limits: ActorLimits) -> Result<Self, Failure> {
        let (mut roots, mut manifests) = (Vec::new(), BTreeMap::new());
        for path in paths {
            let root = root_of(path)?;
            let root = fs::canonicalize(&root).map_err(|error| Failure::no(format!("{}: {error}", root.display())))?;
            let project = project_directory(&root).map_err(Failure::no)?;
            if let Some(project) = &project {
                let beside = manifests_to_build(root.parent().unwrap_or(project)).unwrap_or_default();
                for manifest in beside.iter().filter_map(|manifest| fs::canonicalize(manifest).ok()) {
                    let its = project_directory(&manifest).map_err(Failure::no)?;
                    if its.as_ref().is_some_and(|its| its.starts_with(project)) {
                        manifests.insert(manifest, its);
                    }
                }
            }
            manifests.insert(root.clone(), project);
            roots.push(root);
        }
        Ok(Self { builder, limits, roots, manifests, beyond: BTreeSet::new() })
    }

    pub(super) fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    pub(super) fn directories(&self) -> Vec<PathBuf> {
        self.manifests.values().flatten().cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The directories that actors write to while the projects are watched.
    pub(super) fn written(&self) -> Vec<PathBuf> {
        self.directories().iter().flat_map(|project| written_by_actors(project, &self.limits)).collect()
    }

    pub(super) fn beyond(&self) -> Vec<PathBuf> {
        self.beyond.iter().cloned().collect()
    }

    /// Builds what has changed. False if a build failed; the person has been told why.
    pub(super) fn build_all(&mut self) -> bool {
        self.beyond.clear();
        let mut whole = true;
        for (manifest, project) in &self.manifests {
            self.beyond.insert(manifest.clone());
            let begun = clock::now();
            if project.is_none() {
                let component = Manifest::load(manifest, &self.limits).map(|manifest| manifest.component_path);
                self.beyond.extend(component);
                continue;
            }
            match self.builder.build(manifest, &self.limits) {
                Ok(built) => {
                    self.beyond.extend(built.beyond);
                    if built.changed {
                        let took = clock::since(begun).as_secs_f64();
                        line(&format!("built {} in {took:.1} s", visible(&built.component.display().to_string())));
                    }
                }
                Err(why) => {
                    stderr::tell(&format!("theater: {why}"));
                    whole = false;
                }
            }
        }
        whole
    }

    /// Gives the actors that were started from these manifests the newest builds, where they have others.
    pub(super) fn carry_over(&self, theater: &TheaterHandle) {
        for actor in theater.actors() {
            let manifest = fs::canonicalize(&actor.manifest_path).ok();
            let Some(manifest) = manifest.filter(|manifest| self.manifests.contains_key(manifest)) else { continue };
            if theater.is_outdated(actor.id) {
                upgrade(theater, &actor, &manifest);
            }
        }
    }
}

/// Gives one actor the build of a manifest, and says what became of that.
fn upgrade(theater: &TheaterHandle, actor: &ActorInfo, manifest: &Path) {
    let (name, begun) = (visible(&actor.name), clock::now());
    match theater.upgrade(actor.id, Some(ActorSource::file(manifest))) {
        Ok(()) => {
            line(&format!("{name} goes on with the new build after {:.1} s", clock::since(begun).as_secs_f64()));
            let addresses = theater.actor(actor.id).map(|now| now.addresses).unwrap_or_default();
            for address in addresses.iter().filter(|address| !actor.addresses.contains(address)) {
                line(&format!("actor       {name:<12} {address}"));
            }
        }
        Err(why) => stderr::tell(&format!("theater: {name} goes on with the build that it has: {why}")),
    }
}

/// The manifest that a path stands for: itself, or the one in this directory.
fn root_of(path: &Path) -> Result<PathBuf, Failure> {
    let manifests = manifests_of(path).map_err(Failure::no)?;
    let [manifest] = &manifests[..] else {
        let names: Vec<_> = manifests.iter().map(|manifest| manifest.display().to_string()).collect();
        let why = "name the manifests of the actors to run; the others are built as well";
        return Err(Failure::usage(format!("{} has several manifests ({}): {why}", path.display(), names.join(", "))));
    };
    Ok(manifest.clone())
}
