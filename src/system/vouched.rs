//! Vouched manifests: those that an operator's manifest names for its actor to spawn (`children`), each with the bytes
//! that it had when the operator's manifest was read. An actor that may write to their directory can change the files;
//! a changed file is not spawned.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::chain::ComponentDigest;

/// A manifest that another one names, and its contents at that time.
#[derive(Clone, Debug)]
pub(crate) struct VouchedManifest {
    /// The file, with every link followed.
    pub(crate) manifest: PathBuf,
    /// What the manifest contained; or why that could not be read.
    pub(crate) was: Result<ManifestContents, String>,
}

/// All that a manifest brings: its text, and the files that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ManifestContents {
    pub(crate) text: Arc<str>,
    pub(crate) component: ComponentDigest,
    pub(crate) init_state: Option<Arc<[u8]>>,
}

impl VouchedManifest {
    /// Compares `now`, which lies where an actor may write, with what was vouched for; the error says what has changed.
    pub(crate) fn check(&self, now: &ManifestContents) -> Result<(), String> {
        let was = self.was.as_ref().map_err(Clone::clone)?;
        let changed = if was.text != now.text {
            "the manifest"
        } else if was.component != now.component {
            "its component"
        } else if was.init_state != now.init_state {
            "its init_state"
        } else {
            return Ok(());
        };
        Err(format!("{changed} has changed since \"children\" was read: name the actor's manifest in a new start"))
    }
}

/// The vouched manifest at `path`, if there is one.
pub(crate) fn vouched_for<'a>(all: &'a [VouchedManifest], path: &Path) -> Option<&'a VouchedManifest> {
    let real = path.canonicalize().ok()?;
    all.iter().find(|vouched| vouched.manifest == real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_vouched_for_is_spawned_only_as_it_was() {
        let contents = |text: &str, component: &[u8], state: Option<&[u8]>| ManifestContents {
            text: text.into(),
            component: ComponentDigest::of(component),
            init_state: state.map(Arc::from),
        };
        let was = contents("name", b"wasm", Some(b"1"));
        let vouched = VouchedManifest { manifest: PathBuf::from("/a.toml"), was: Ok(was.clone()) };
        assert_eq!(vouched.check(&was), Ok(()));
        for (now, what) in [
            (contents("nome", b"wasm", Some(b"1")), "the manifest"),
            (contents("name", b"mine", Some(b"1")), "its component"),
            (contents("name", b"wasm", Some(b"2")), "its init_state"),
            (contents("name", b"wasm", None), "its init_state"),
        ] {
            assert!(vouched.check(&now).expect_err("it has changed").starts_with(what));
        }
        let unknown = VouchedManifest { was: Err("not read".into()), ..vouched };
        assert_eq!(unknown.check(&was), Err("not read".into()));
    }
}
