//! Moved and renamed manifests: a manifest that lies in another place than before, and a manifest that names another
//! actor than before.
//!
//! Relative paths in a manifest start from the directory of the manifest. So an actor whose manifest is named on the
//! command line uses the place where it lies now, and its children, whose manifests nobody names, move with it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::base::id::ActorId;
use crate::journal::ActorRow;
use crate::manifest::Manifest;

/// By actor: the old and the new directory of a manifest that has moved.
#[derive(Default)]
pub(super) struct Moves(HashMap<ActorId, (PathBuf, PathBuf)>);

impl Moves {
    /// Sets the row's manifest path to the place where the manifest lies now: the place that the command line names, or
    /// else the place it has if it moved together with its parent's. Parents come before their children.
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

/// The note about a new manifest, if an actor of another name came from the same file and is still there.
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
