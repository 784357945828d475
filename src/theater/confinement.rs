//! What an actor may spawn: a manifest, its component and its `init_state` file, each where the operator has allowed it,
//! and none where an actor could have written it, unless the operator's manifest names it among its `children`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::actor::Spec;
use crate::manifest::Opened;
use crate::system::{Confinement, VouchedManifest};

/// The directories that actors may write to, each with the name of one that may.
type Written = BTreeMap<PathBuf, String>;

/// One spawn that is judged.
pub(super) struct Confined<'a> {
    confinement: &'a Confinement,
    written: &'a Written,
    /// What the operator's manifest says of the one that is to be spawned.
    vouched: Option<&'a VouchedManifest>,
    /// A file of it that an actor could have written, and what is said of it.
    doubtful: Option<String>,
}

impl<'a> Confined<'a> {
    pub(super) fn new(confinement: &'a Confinement, written: &'a Written) -> Self {
        Self { confinement, written, vouched: None, doubtful: None }
    }

    /// Opens the manifest that is to be spawned. Whether it is vouched for is said of the file that is open.
    pub(super) fn open_manifest(&mut self, path: &Path) -> Result<Opened, String> {
        let (opened, real) = open(path)?;
        self.vouched = self.confinement.vouched.iter().find(|vouched| vouched.manifest == real);
        self.judge(path, &real)?;
        Ok(opened)
    }

    /// Opens another file of it.
    pub(super) fn open(&mut self, path: &Path) -> Result<Opened, String> {
        let (opened, real) = open(path)?;
        self.judge(path, &real)?;
        Ok(opened)
    }

    /// Whether the file at `path`, which with every link followed is `real`, lies in or below one of the allowed directories, or belongs to what is
    /// vouched for; and nowhere where an actor could have put it: what actors write for each other to spawn would grant
    /// them anything. What is vouched for may lie there, if it turns out to be what it was.
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

    /// Judged by the very bytes that were read, whatever lies there meanwhile.
    pub(super) fn is_what_was_vouched_for(&self, spec: &Spec) -> Result<(), String> {
        let (Some(doubtful), Some(vouched)) = (&self.doubtful, self.vouched) else { return Ok(()) };
        vouched.check(&spec.contents()).map_err(|why| format!("{doubtful}, and {why}"))
    }
}

const REMEDY: &str = "; spawn from elsewhere, grant that actor its directory with mode = \"read-only\", or name the manifest in the supervisor handler's config = { children = [\"child.toml\"] } of the spawning actor";

/// A file that is open, and where it lies.
fn open(path: &Path) -> Result<(Opened, PathBuf), String> {
    let opened = Opened::open(path).map_err(|why| format!("cannot find {}: {why}", path.display()))?;
    let real = opened.real_path().map_err(|why| format!("{}: {why}", path.display()))?;
    Ok((opened, real))
}

/// `Err` where an actor may write `path`.
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
