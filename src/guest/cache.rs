//! Compiled code on disk, by the component's digest and the compiler's settings.
//!
//! Deserialising code runs it, so only what this program wrote is read back: each file carries the SHA-256 of its
//! contents, in a directory that belongs to the user alone. A file that is damaged, truncated or from another version
//! is compiled anew and replaced.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::chain::ComponentDigest;

const DIGEST_BYTES: usize = 32;

pub(super) struct CodeCache {
    dir: PathBuf,
    settings: u64,
}

impl CodeCache {
    /// The cache in `dir`, made where there is none.
    pub(super) fn open(dir: &Path, engine: &Engine) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { dir: dir.to_owned(), settings: hasher.finish() })
    }

    /// The compiled component, if it lies here intact.
    pub(super) fn load(&self, engine: &Engine, digest: ComponentDigest) -> Option<Component> {
        let path = self.path(digest);
        let contents = fs::read(&path).ok()?;
        let (sum, code) = contents.split_at_checked(DIGEST_BYTES)?;
        if Sha256::digest(code).as_slice() != sum {
            log::warn!("{} is damaged; the component is compiled anew", path.display());
            return None;
        }
        // SAFETY: the contents are what `store` wrote from a component this program compiled: the directory is the
        // user's own, and the digest excludes accidents.
        match unsafe { Component::deserialize(engine, code) } {
            Ok(component) => Some(component),
            Err(error) => {
                log::warn!("{} cannot be used ({error}); the component is compiled anew", path.display());
                None
            }
        }
    }

    /// Keeps a compiled component. Failing to is no more than a slower next start.
    pub(super) fn store(&self, digest: ComponentDigest, component: &Component) {
        let path = self.path(digest);
        let kept = component
            .serialize()
            .map_err(|error| error.to_string())
            .and_then(|code| replace(&path, &Sha256::digest(&code), &code).map_err(|error| error.to_string()));
        if let Err(error) = kept {
            log::warn!("cannot keep compiled code in {}: {error}", path.display());
        }
    }

    fn path(&self, digest: ComponentDigest) -> PathBuf {
        self.dir.join(format!("{digest}-{:016x}.cwasm", self.settings))
    }
}

/// Writes beside and renames, so that a reader sees the old file or the new one.
fn replace(path: &Path, sum: &[u8], code: &[u8]) -> io::Result<()> {
    let beside = path.with_extension(format!("tmp-{}", uuid::Uuid::new_v4()));
    let written = fs::File::create_new(&beside).and_then(|mut file| {
        file.write_all(sum)?;
        file.write_all(code)
    });
    let renamed = written.and_then(|()| fs::rename(&beside, path));
    if renamed.is_err() {
        let _ = fs::remove_file(&beside);
    }
    renamed
}
