//! Changed files of a running actor: whether its manifest, its component or its `init_state` file on disk differs from
//! what the actor was started from. A restart uses the files as they were read at the start, and warns of files that
//! have changed since.

use std::path::PathBuf;
use std::sync::Arc;

use crate::base::limits::COMPONENT_BYTES;
use crate::chain::ComponentDigest;
use crate::manifest::read_bounded;

/// What an actor was started from, and in which files that lay.
#[derive(Debug)]
pub(crate) struct StartedFrom {
    /// No file held it, so no file can have changed.
    pub(crate) is_in_memory: bool,
    pub(crate) manifest: (PathBuf, Arc<str>),
    pub(crate) component: (PathBuf, ComponentDigest),
    /// The file that `init_state` names, and the state that the actor began with at first.
    pub(crate) init_state: Option<(PathBuf, Option<Arc<[u8]>>)>,
}

impl StartedFrom {
    /// Whether the manifest or the component, as the files are now, is another one.
    pub(crate) fn is_outdated(&self) -> bool {
        let differs = |path: &PathBuf, is_same: &dyn Fn(&[u8]) -> bool| {
            read_bounded(path, COMPONENT_BYTES).is_ok_and(|bytes| !is_same(&bytes))
        };
        let ((manifest, text), (component, digest)) = (&self.manifest, &self.component);
        !self.is_in_memory
            && (differs(manifest, &|bytes| bytes == text.as_bytes())
                || differs(component, &|bytes| ComponentDigest::of(bytes) == *digest))
    }

    /// For each file that has changed or cannot be read any more: a sentence that says so, and says what makes the
    /// actor use the new file, if anything does.
    pub(crate) fn changed(&self) -> Vec<String> {
        if self.is_in_memory {
            return Vec::new();
        }
        let (manifest, text) = &self.manifest;
        let (component, digest) = &self.component;
        let mut changed = Vec::new();
        let mut look = |path: &PathBuf, what: &str, taken_up: &str, is_same: &dyn Fn(&[u8]) -> bool| {
            let path_shown = path.display();
            match read_bounded(path, COMPONENT_BYTES) {
                Ok(bytes) if is_same(&bytes) => {}
                Ok(_) => changed.push(format!(
                    "its {what} {path_shown} has changed since then, which a restart does not take up; {taken_up}"
                )),
                Err(why) => changed.push(format!(
                    "its {what} {path_shown} cannot be read any more ({why}), which a restart does without, and \
                     \"theater run\" with its manifest does not"
                )),
            }
        };
        let by_run = "\"theater upgrade\" does, or \"theater run\" with its manifest, at the next start of the runtime";
        let by_none =
            "nothing does: an actor keeps its state (\"theater stop\" and \"theater forget\" it to begin anew)";
        look(manifest, "manifest", by_run, &|bytes| bytes == text.as_bytes());
        look(component, "component", by_run, &|bytes| ComponentDigest::of(bytes) == *digest);
        if let Some((path, state)) = &self.init_state {
            look(path, "init_state", by_none, &|bytes| state.as_deref() == Some(bytes));
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_that_has_changed_since_the_start_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path
        };
        let started_from = StartedFrom {
            is_in_memory: false,
            manifest: (file("a.toml", "name"), "name".into()),
            component: (file("a.wasm", "wasm"), ComponentDigest::of(b"wasm")),
            init_state: Some((file("a.json", "{}"), Some(Arc::from(b"{}".as_slice())))),
        };
        assert!(started_from.changed().is_empty() && !started_from.is_outdated());
        file("a.wasm", "another");
        file("a.json", "[]");
        let changed = started_from.changed();
        assert!(changed[0].starts_with("its component ") && changed[1].starts_with("its init_state "), "{changed:?}");
        file("a.toml", "names");
        assert!(started_from.is_outdated());
        assert_eq!(started_from.changed().len(), 3);
        std::fs::remove_file(dir.path().join("a.wasm")).expect("it was there");
        let changed = started_from.changed();
        assert_eq!(changed.len(), 3);
        assert!(changed[1].contains("a.wasm cannot be read any more (No such file"), "{changed:?}");
    }
}
