//! The confinement of spawns: an actor may spawn a manifest, with its component and its `init_state` file, only if each
//! file lies where the operator has allowed it, and nowhere an actor could have written it. A manifest that the
//! operator's manifest names among its `children` is exempt.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::actor::Spec;
use crate::base::opened::Opened;
use crate::system::{Confinement, VouchedManifest};

/// The directories that actors may write to, each with the name of an actor that may.
type Written = BTreeMap<PathBuf, String>;

/// The judgement of one spawn.
pub(super) struct Confined<'a> {
    confinement: &'a Confinement,
    written: &'a Written,
    /// What the operator's manifest vouches for about the manifest that is to be spawned.
    vouched: Option<&'a VouchedManifest>,
    /// Why a file could have been written by an actor, if one could.
    doubtful: Option<String>,
}

impl<'a> Confined<'a> {
    pub(super) fn new(confinement: &'a Confinement, written: &'a Written) -> Self {
        Self { confinement, written, vouched: None, doubtful: None }
    }

    /// Opens the manifest that is to be spawned. Whether it is vouched for is decided by the file that is open.
    pub(super) fn open_manifest(&mut self, path: &Path) -> Result<Opened, String> {
        let (opened, real) = open(path)?;
        self.vouched = self.confinement.vouched.iter().find(|vouched| vouched.manifest == real);
        self.judge(path, &real)?;
        Ok(opened)
    }

    /// Opens another file that the manifest names.
    pub(super) fn open(&mut self, path: &Path) -> Result<Opened, String> {
        let (opened, real) = open(path)?;
        self.judge(path, &real)?;
        Ok(opened)
    }

    /// Judges the file at `path`; `real` is the same path with every link followed. The file must lie in or below an
    /// allowed directory, or belong to a manifest that is vouched for. And it must not lie where an actor could have
    /// written it, because actors could otherwise write manifests for each other that grant them anything. A file that
    /// is vouched for may lie there, if [`Confined::check_vouched`] finds it unchanged.
    fn judge(&mut self, path: &Path, real: &Path) -> Result<(), String> {
        if let Err(why) = out_of_actors_reach(path, real, self.written) {
            if self.vouched.is_none() {
                return Err(why + REMEDY);
            }
            self.doubtful.get_or_insert(why);
        }
        let mut allowed = self.confinement.directories.iter().filter_map(|directory| directory.canonicalize().ok());
        if self.vouched.is_some() || allowed.any(|directory| real.starts_with(directory)) {
            return Ok(());
        }
        Err(format!(
            "{} lies outside the directories this actor may spawn from; the supervisor handler's config = {{ allow = [\"dir\"] }} widens them, and children = [\"child.toml\"] names one manifest, wherever it lies",
            path.display()
        ))
    }

    /// Checks that what is vouched for is what was read. The bytes that were read are compared, because the file at the
    /// path may have changed since.
    pub(super) fn check_vouched(&self, spec: &Spec) -> Result<(), String> {
        let (Some(doubtful), Some(vouched)) = (&self.doubtful, self.vouched) else { return Ok(()) };
        vouched.check(&spec.contents()).map_err(|why| format!("{doubtful}, and {why}"))
    }
}

const REMEDY: &str = "; spawn from elsewhere, grant that actor its directory with mode = \"read-only\", or name the manifest in the supervisor handler's config = { children = [\"child.toml\"] } of the spawning actor";

/// Opens a file, and finds the place where it lies.
fn open(path: &Path) -> Result<(Opened, PathBuf), String> {
    let opened = Opened::open(path).map_err(|why| format!("cannot find {}: {why}", path.display()))?;
    let real = opened.real_path().map_err(|why| format!("{}: {why}", path.display()))?;
    Ok((opened, real))
}

/// Checks that no actor may write the file at `path`.
pub(super) fn kept_from_actors(path: &Path, written: &Written) -> Result<(), String> {
    let Ok(real) = path.canonicalize() else { return Ok(()) };
    out_of_actors_reach(path, &real, written)
}

fn out_of_actors_reach(path: &Path, real: &Path, written: &Written) -> Result<(), String> {
    let mut by = written.iter().filter(|(written, _)| written.canonicalize().is_ok_and(|it| real.starts_with(it)));
    match by.next() {
        None => Ok(()),
        Some((directory, name)) => Err(format!(
            "{} lies in {}, where the actor {name} may write: it could have written it itself",
            path.display(),
            directory.display()
        )),
    }
}
