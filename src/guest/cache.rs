//! The cache of compiled code on disk, by the component's digest and the compiler's settings.
//!
//! Deserialised code is run, so only files that this program wrote are read: each file carries the SHA-256 of its
//! contents, and lies in a directory that belongs to the user alone. A file that is damaged, truncated or from another
//! version is compiled anew and replaced. When the cache has grown too large, the files that were not used for the
//! longest time are removed.

use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::base::{clock, dirs};
use crate::chain::ComponentDigest;

const DIGEST_BYTES: usize = 32;
/// The bytes of the whole cache: compiled code of all components, and leftovers of files that were being written.
const CODE_BYTES: u64 = 1024 * 1024 * 1024;
/// A file that nobody has used for so long goes.
const UNUSED_FOR: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// The cache of a data directory that is used when no other one is named.
pub(crate) fn code_cache_within(data_dir: &Path) -> PathBuf {
    data_dir.join("compiled")
}

pub(super) struct CodeCache {
    dir: PathBuf,
    settings: u64,
    most_bytes: u64,
}

impl CodeCache {
    /// Opens the cache in `dir`, and creates the directory if there is none.
    pub(super) fn open(dir: &Path, engine: &Engine) -> io::Result<Self> {
        dirs::make_all(dir)?;
        check_owner(dir)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { dir: dir.to_owned(), settings: hasher.finish(), most_bytes: CODE_BYTES })
    }

    /// Loads the compiled component, if an intact file of it is there.
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
            Ok(component) => {
                mark_as_used(&path);
                Some(component)
            }
            Err(error) => {
                log::warn!("{} cannot be used ({error}); the component is compiled anew", path.display());
                None
            }
        }
    }

    /// Stores a compiled component. If that fails, the next start takes longer; nothing else is lost.
    pub(super) fn store(&self, digest: ComponentDigest, component: &Component) {
        let path = self.path(digest);
        let kept = component
            .serialize()
            .map_err(|error| error.to_string())
            .and_then(|code| replace(&path, &Sha256::digest(&code), &code).map_err(|error| error.to_string()));
        if let Err(error) = kept {
            log::warn!("cannot keep compiled code in {}: {error}", path.display());
        }
        if let Err(error) = self.remove_unused() {
            log::warn!("cannot make room for compiled code in {}: {error}", self.dir.display());
        }
    }

    /// Removes files that were not used for [`UNUSED_FOR`], and then those first that were not used for the longest time,
    /// until the rest has no more than `most_bytes`. The file used last stays, whatever its size.
    fn remove_unused(&self) -> io::Result<()> {
        let long_ago = UNIX_EPOCH + Duration::from_millis(clock::unix_ms()).saturating_sub(UNUSED_FOR);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            // Another runtime may have removed the file in the meantime.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_file() && is_of_the_cache(&entry.path()) {
                files.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        files.sort_by(|one, other| other.cmp(one));
        let mut bytes = 0;
        for (at, (used, length, path)) in files.iter().enumerate() {
            bytes += length;
            if at > 0 && (bytes > self.most_bytes || *used < long_ago) {
                fs::remove_file(path).or_else(|error| match error.kind() {
                    io::ErrorKind::NotFound => Ok(()),
                    _ => Err(error),
                })?;
            }
        }
        Ok(())
    }

    fn path(&self, digest: ComponentDigest) -> PathBuf {
        self.dir.join(format!("{digest}-{:016x}.cwasm", self.settings))
    }
}

/// Whether a file is compiled code, or was going to be: others may keep their files in the same directory.
fn is_of_the_cache(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    extension == "cwasm" || extension.starts_with("tmp-")
}

/// Refuses a directory in which another user could put code that this process would run.
fn check_owner(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    let found = fs::metadata(dir)?;
    let why = if found.uid() != rustix::process::geteuid().as_raw() {
        "it belongs to another user"
    } else if found.mode() & WRITABLE_BY_OTHERS != 0 {
        "other users can write in it"
    } else {
        return Ok(());
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{why}, and compiled code is run as it is")))
}

/// Marks a file as used now. If that fails, the file counts as used when it was written.
fn mark_as_used(path: &Path) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
    let now = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
    };
    let _ = utimensat(CWD, path, &now, AtFlags::empty());
}

/// Writes a file under another name and renames it, so that a reader sees either the old file or the new one.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiled_code_that_was_not_used_for_longest_goes_when_there_is_too_much() {
        let dir = tempfile::tempdir().expect("a directory");
        let engine = Engine::default();
        let cache = CodeCache { most_bytes: 0, ..CodeCache::open(dir.path(), &engine).expect("a cache") };
        let bytes = wat::parse_str("(component)").expect("a component");
        let component = Component::new(&engine, bytes).expect("it compiles");
        let digests: Vec<ComponentDigest> = (0..3u8).map(|number| ComponentDigest::of(&[number])).collect();
        for (at, digest) in digests.iter().enumerate() {
            let keeping = CodeCache { dir: cache.dir.clone(), most_bytes: u64::MAX, ..cache };
            keeping.store(*digest, &component);
            let file = fs::File::open(cache.path(*digest)).expect("it is kept");
            let now = Duration::from_millis(clock::unix_ms());
            file.set_modified(UNIX_EPOCH + now - Duration::from_secs(100 - at as u64)).expect("older");
        }
        assert!(cache.load(&engine, digests[0]).is_some(), "the oldest is used");
        let length = fs::metadata(cache.path(digests[0])).expect("it is kept").len();
        CodeCache { dir: cache.dir.clone(), most_bytes: 2 * length, ..cache }.remove_unused().expect("removed");
        let kept = digests.iter().map(|digest| cache.path(*digest).exists()).collect::<Vec<_>>();
        assert_eq!(kept, [true, false, true]);
        cache.remove_unused().expect("removed");
        assert!(cache.path(digests[0]).exists() && !cache.path(digests[2]).exists(), "the one used last stays");
    }
}
