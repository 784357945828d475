//! Manifests that lie elsewhere by now, and manifests that name another actor by now.
//!
//! What a manifest grants by a path is meant from where the manifest lies. So an actor whose manifest is named on the
//! command line goes by that place, and its children, whose manifests nobody names, move along.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::base::id::ActorId;
use crate::journal::ActorRow;
use crate::manifest::Manifest;

/// The directories of manifests that have moved, before and now, by their actor.
#[derive(Default)]
pub(super) struct Moves(HashMap<ActorId, (PathBuf, PathBuf)>);

impl Moves {
    /// Has the row say where the actor's manifest lies now: where the command line names it, else where it lies if it
    /// has moved along with its parent's. Rows come parents first.
    pub(super) fn follow(&mut self, row: &mut ActorRow, named: Option<&Manifest>) {
        let before = PathBuf::from(&row.manifest_path);
        let along = || {
            let (from, to) = self.0.get(&row.parent?)?;
            Some(to.join(before.strip_prefix(from).ok()?))
        };
        let Some(now) = named.map(Manifest::path).or_else(along) else { return };
        if let (Some(from), Some(to)) = (before.parent(), now.parent())
            && from != to
        {
            self.0.insert(row.actor.id, (from.to_owned(), to.to_owned()));
        }
        row.manifest_path = now.display().to_string();
    }
}

/// What is to be said of a manifest whose actor is new, where an actor of another name came from the same file and is
/// there still.
pub(super) fn renamed<'a>(manifest: &Manifest, mut roots: impl Iterator<Item = &'a ActorRow>) -> Option<String> {
    let path = manifest.path();
    let old = roots.find(|row| is_same_file(Path::new(&row.manifest_path), &path))?;
    let (path, name, old) = (path.display(), &manifest.name, &old.name);
    Some(format!(
        "{path} names the actor \"{name}\" now, and named \"{old}\" before, which is there still: give the old name back \
         to go on with it, or end it (theater run without this manifest, theater stop {old}, theater forget {old})"
    ))
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    one == other || one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}
